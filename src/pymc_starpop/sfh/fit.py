"""Fast fits of star formation histories by maximum likelihood."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from pymc_starpop.hess.template_set import check_t_max
from pymc_starpop.sfh.fit_data import FitData, fit_data
from pymc_starpop.sfh.formula_check import check_formula
from pymc_starpop.sfh.free import FreeCoefficients, fit_free
from pymc_starpop.sfh.grid_bound import N_DISPERSIONS
from pymc_starpop.sfh.hierarchy import DISPERSION, Hierarchy
from pymc_starpop.sfh.metallicity_models import MetallicityModel, as_metallicity_model
from pymc_starpop.sfh.result import HERE, SFHFit, history_of
from pymc_starpop.sfh.search import maximize

__all__ = ["fit_sfh"]

# At this spacing in units of the dispersion, the mean of the discrete shares is off by 0.8 % of the
# dispersion and the dispersion by 1.5 %, and both grow fast: at 2.5 by 21 and 29 %.
WIDEST_SPACING = 1.7
# Age of the universe, Gyr; that of Garling et al. (2025), section 3.
DEFAULT_T_MAX = 13.7


def fit_sfh(
    tmpl: Any,
    hess: Any,
    metallicity: str | MetallicityModel = "linear_amr",
    t_max_gyr: float | None = None,
    *,
    sigma: float | None = None,
    background: Any = None,
    mask: Any = None,
    start: Mapping[str, Any] | None = None,
) -> SFHFit:
    """Fit a star formation history to one Hess diagram or several of the same galaxy.

    Maximizes ln PLR (Garling et al. 2025, eq. 6) over the masses formed R_j >= 0, the parameters of
    the metallicity model and the dispersion, by damped Gauss-Newton steps within the bounds.
    The mean [M/H] of an age with stars is kept within two dispersions of the templates, beyond
    which nothing is known of it. Amplitudes of backgrounds are fitted too: what is maximized then
    is ln PLR plus their log-normal priors, as Gaussians in ln a; ``fit.nll`` is -ln PLR there,
    without the priors. Errors, draws and the mode in ln R are computed when they are first asked
    for.

    Parameters
    ----------
    tmpl : TemplateSet, or list of them
        Templates. Those of several diagrams need the same ages and metallicities.
    hess : DataArray or array (N_mag, N_color), or list of them
        Stars in each bin.
    metallicity : str or MetallicityModel
        ``"linear_amr"``, ``"log_amr"``, ``"power_law_mzr"``, ``"monotone_amr"``, a model such as
        ``FixedAMR(mh)`` or your own, or ``"free"``: a coefficient for every age and metallicity.
    t_max_gyr : float, optional
        End of the oldest age bin, Gyr, and origin of the time of the metallicity models. By default
        that of the templates, or 13.7 where they have none.
    sigma : float, optional
        Dispersion of [M/H] at fixed age, dex; fitted by default.
    background : float, array (N_mag, N_color), Background, mapping, or list of them, optional
        Stars that are not the galaxy's: how many are expected in each bin, one number for all bins
        or a diagram, or a mapping from names to such. Each has an amplitude that is fitted, with
        the prior of `Background`; ``Background(..., fixed=True)`` is known. A list has one entry
        for each diagram, whose amplitudes are its own; None where there is no background.
    mask : array of bool (N_mag, N_color), or list, optional
        True where a bin counts.
    start : mapping, optional
        Starting values by name: ``mass_formed`` (N_age,), Msun, and parameters; with free
        coefficients ``weights`` (N_age, N_mh), Msun.

    Returns
    -------
    SFHFit

    Raises
    ------
    ValueError
        For a metallicity model whose formula is not analytic or depends on masses without saying
        so, for data that do not fit the templates, no stars, templates that are all zero, stars
        where every template is zero, a background as in `Background` or with no stars in any bin
        that counts, an unknown metallicity model, ``t_max_gyr`` within the oldest
        bin, and starting values that are negative or not finite.

    Warns
    -----
    UserWarning
        Where the metallicities of the templates are too far apart for the dispersion, where a mean
        [M/H] or the dispersion is held at its bound, where the oldest template is a mean up to
        another age than ``t_max_gyr``, where `build_templates` made templates of single ages, and
        where the search does not converge.

    Examples
    --------
    >>> import numpy as np, pymc_starpop as psp
    >>> axes = psp.HessAxes(("V", "I"), "I", color_edges=[0, 1, 2], mag_edges=[18, 20, 22])
    >>> counts = np.array([[[[4.0, 1], [0, 1]]], [[[0, 1], [1, 5]]]]) * 1e-3
    >>> tmpl = psp.TemplateSet.from_arrays(counts, axes, log_age=[9.0, 10.0], mh=[-1.0])
    >>> hess = np.array([[40, 20], [10, 60]])
    >>> fit = psp.fit_sfh(tmpl, hess, metallicity="free")
    >>> fit.mass_formed.round(-2)
    array([10000., 10000.])
    """
    free = isinstance(metallicity, str) and metallicity == "free"
    model = None if free else as_metallicity_model(metallicity)
    divided = model is not None and not model.per_bin
    data = fit_data(tmpl, hess, background, mask, divided)
    t_max_gyr = _end_of_bins(data, t_max_gyr)
    edges = data.diagrams[0].templates.age_edges(t_max_gyr)
    start = {} if start is None else dict(start)
    _check_sigma(sigma)
    problem: Any
    if model is None:
        if sigma is not None:
            raise ValueError("sigma: free coefficients have no dispersion; leave it out.")
        problem = FreeCoefficients(data, t_max_gyr)
        _check_start(start, {"weights": data.shape})
        first = start.get("weights")
        found: Any = fit_free(problem, None if first is None else np.ravel(first))
    else:
        problem = Hierarchy(data, model, t_max_gyr, sigma)
        _check_hierarchy(problem)
        point = _with_stars(problem, _first_point(problem, np.diff(edges), start))
        found = maximize(problem, point)
    history = history_of(problem, found.point)
    fit = SFHFit(
        nll=data.exact_nll(
            problem.part_coefficients(found.point), history["background_amplitudes"]
        ),
        log_age=data.log_age,
        mh=data.mh,
        age_edges_gyr=edges,
        n_iterations=found.n_iterations,
        converged=found.converged,
        problem=problem,
        point=found.point,
        **history,
    )
    _warn(fit)
    return fit


def _end_of_bins(data: FitData, t_max_gyr: float | None) -> float:
    """Return the end of the oldest age bin, Gyr."""
    of_templates = data.diagrams[0].templates.t_max_gyr
    if any(d.templates.metadata.get("n_ages") == [1, 1] for d in data.diagrams):
        warnings.warn(
            "the templates have the single ages of the young edges of their bins, over which a fit "
            "spreads the mass: ages come out 5 to 15 % too old. Build them without ages_per_bin=1.",
            skip_file_prefixes=HERE,
        )
    if t_max_gyr is None:
        return DEFAULT_T_MAX if of_templates is None else of_templates
    t_max_gyr = check_t_max(t_max_gyr, data.log_age)
    if of_templates is not None and not np.isclose(t_max_gyr, of_templates, rtol=1e-6):
        warnings.warn(
            f"t_max_gyr={t_max_gyr:g}: the oldest templates are means over ages from "
            f"{10.0 ** (data.log_age[-1] - 9.0):.4g} to {of_templates:g} Gyr, of a bin that ends "
            f"elsewhere here; build them with build_templates(..., t_max_gyr={t_max_gyr:g}).",
            skip_file_prefixes=HERE,
        )
    return t_max_gyr


def _first_point(problem: Hierarchy, widths: np.ndarray, start: dict[str, Any]) -> np.ndarray:
    """Return where to begin: a constant rate that gives as many stars as there are.

    Amplitudes of backgrounds start between what the stars and their priors say.
    """
    shapes: dict[str, tuple[int, ...]] = {"mass_formed": (problem.n_age,)}
    shapes |= {p.name: () if p.size is None else (p.size,) for p in problem.parameters}
    _check_start(start, shapes)
    values = {p.name: start.get(p.name, np.full(p.n, p.start)) for p in problem.parameters}
    if DISPERSION.name in shapes and DISPERSION.name not in start:
        values[DISPERSION.name] = max(DISPERSION.start, np.diff(problem.data.mh).max())
    for p in problem.parameters:
        if p.positive and np.min(values[p.name]) <= 0:
            raise ValueError(f"start: {p.name} must be positive, got {values[p.name]}.")
    mass = np.asarray(start.get("mass_formed", widths / widths.sum()), dtype=float)
    amplitudes = problem.data.first_amplitudes()
    point = problem.join(mass, values, amplitudes)
    _, theta, _ = problem.split(point)
    check_formula(problem.model, theta, problem.epochs(mass))
    if "mass_formed" in start:
        return point
    expected = float(problem.stars_of_bins(point).sum())
    return problem.join(mass * problem.data.observed.sum() / expected, values, amplitudes)


def _with_stars(problem: Hierarchy, point: np.ndarray) -> np.ndarray:
    """Return a point that expects stars in every bin that holds one, with a wider dispersion.

    A star that only templates far from the first guess of the metallicity can explain would leave
    the search without a value to begin with.
    """
    point = point.copy()
    widest = float(np.ptp(problem.data.mh))
    while not np.isfinite(problem.evaluate(point).value):
        if problem.fixed_sigma is not None or point[problem.n_history - 1] > widest:
            raise ValueError(
                "start: at the starting values some bins that hold stars expect none; give values "
                "in start= that are nearer to the galaxy's, a background= or a mask=, or let sigma "
                "be fitted."
            )
        point[problem.n_history - 1] *= 1.5
    return point


def _check_start(start: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
    unknown = sorted(set(start) - set(shapes))
    if unknown:
        raise ValueError(
            f"start: no parameter {', '.join(unknown)}; there are {', '.join(shapes)}."
        )
    for name, value in start.items():
        array = np.asarray(value, dtype=float)
        if array.shape != shapes[name] or not np.isfinite(array).all():
            raise ValueError(
                f"start: {name} must be finite with shape {shapes[name]}, got shape {array.shape}."
            )
        if name in ("mass_formed", "weights") and ((array < 0).any() or not array.any()):
            raise ValueError(
                f"start: {name} must not be negative, nor all zero, got {array.min():g} to "
                f"{array.max():g}."
            )


def _check_sigma(sigma: float | None) -> None:
    if sigma is not None and not (np.isfinite(sigma) and sigma > 0):
        raise ValueError(
            f"sigma must be a positive dispersion in dex, or None to fit it, got {sigma}."
        )


def _check_hierarchy(problem: Hierarchy) -> None:
    """Refuse models that the templates cannot hold."""
    problem.model.check(problem.data.age_gyr)
    if problem.data.mh.size == 1 and problem.parameters:
        raise ValueError(
            "tmpl: with one metallicity nothing can be learned about "
            f"{', '.join(p.name for p in problem.parameters)}; use metallicity='free', or "
            "FixedAMR with a number for sigma."
        )


def _warn(fit: SFHFit) -> None:
    if not fit.converged:
        warnings.warn(
            f"the fit did not converge in {fit.n_iterations} iterations, as happens where the data "
            f"leave parameters open. The likelihood hardly rises any more along these; the masses "
            f"may be right. Fix the metallicity with FixedAMR or sigma=, merge age bins, or try "
            f"other values in start=.",
            skip_file_prefixes=HERE,
        )
    _warn_of_bound(fit)
    sigma = fit.parameters.get("sigma")
    if sigma is None or fit.mh.size == 1:
        return
    spacing = float(np.diff(fit.mh).max())
    if spacing > WIDEST_SPACING * sigma:
        warnings.warn(
            f"the metallicities of the templates are up to {spacing:.3g} dex apart, more than "
            f"{WIDEST_SPACING} times the dispersion of {sigma:.3g} dex, so that the shares do not "
            f"follow the mean metallicity; build templates on a finer grid.",
            skip_file_prefixes=HERE,
        )


def _warn_of_bound(fit: SFHFit) -> None:
    """Say where stars are more metal-poor or metal-rich than the templates, or more spread."""
    problem = fit.problem
    if isinstance(problem, FreeCoefficients) or not problem.parameters or fit.mh.size == 1:
        return
    sigma, bound = fit.parameters["sigma"], problem.bound
    held = problem.is_held(fit.point)
    wide = problem.fixed_sigma is None and bound.too_wide(sigma) > 0.0
    what = []
    if held.any():
        ages = ", ".join(f"{a:g}" for a in fit.log_age[held])
        what.append(
            f"the mean [M/H] at log_age {ages} is held about {N_DISPERSIONS:g} dispersions outside "
            f"the templates"
        )
    if wide:
        what.append("the dispersion is held at the width of the templates' grid")
    if what:
        warnings.warn(
            f"{' and '.join(what)}, which reach from {fit.mh[0]:g} to {fit.mh[-1]:g}: the data "
            f"want more than they can say, and the parameters of the metallicity and their errors "
            f"mean little. Build templates of more metallicities, or fix the metallicity.",
            skip_file_prefixes=HERE,
        )
