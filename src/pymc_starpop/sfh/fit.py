"""Fast fits of star formation histories: maximum likelihood, and a Gaussian approximation."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.sfh.box_newton import minimize_in_box
from pymc_starpop.sfh.fit_data import fit_data
from pymc_starpop.sfh.free import FreeCoefficients, fit_free
from pymc_starpop.sfh.hierarchy import DISPERSION, Hierarchy
from pymc_starpop.sfh.laplace import Laplace, find_mode, flat_prior, to_natural
from pymc_starpop.sfh.metallicity_models import MetallicityModel, as_metallicity_model

__all__ = ["SFHFit", "SFHMode", "fit_sfh"]

# At this spacing in units of the dispersion, the mean of the discrete shares is off by 0.8 % of the
# dispersion and the dispersion by 1.5 %, and both grow fast: at 2.5 by 21 and 29 %.
WIDEST_SPACING = 1.7
# The Gaussian approximation in ln R is no more than a guess for an age whose error in ln R is as
# large as this; it is said where that holds for more than this part of the ages.
_LARGE_ERROR, _MANY = 0.7, 0.25
_YEARS_PER_GYR = 1e9
# Warnings point at the line outside this package that led to them.
_HERE = (str(Path(__file__).parent),)


@dataclass(frozen=True, eq=False)
class SFHMode:
    """Star formation history at the mode of the posterior that is flat in the parameters.

    With masses R_j and other positive parameters expressed by their logarithms, the flat prior
    becomes a factor R_j for each, so that the mode lies at R_j > 0.

    Attributes
    ----------
    nll : float
        -ln PLR there.
    mass_formed, sfr, mh_mean : ndarray (N_age,)
        Msun, Msun/yr, dex.
    parameters : dict
        Metallicity parameters and the dispersion by name.
    weights : ndarray (N_age, N_mh)
        Mass formed at each age and metallicity, Msun.
    n_iterations, converged :
        Of the search.
    """

    nll: float
    mass_formed: np.ndarray
    sfr: np.ndarray
    mh_mean: np.ndarray
    parameters: dict[str, Any]
    weights: np.ndarray
    n_iterations: int
    converged: bool


@dataclass(frozen=True, eq=False)
class SFHFit:
    """A star formation history of maximum likelihood; made by `fit_sfh`.

    Attributes
    ----------
    nll : float
        -ln PLR (Garling et al. 2025, eq. 6) at the optimum, in double precision.
    mass_formed : ndarray (N_age,)
        Mass formed in each age bin, Msun; many are 0 at the optimum.
    mh_mean : ndarray (N_age,)
        Mean metallicity, dex; with free coefficients weighted by mass, NaN where there is none.
    parameters : dict
        Metallicity parameters by name, and ``sigma``, the dispersion in dex.
    weights : ndarray (N_age, N_mh)
        Mass formed at each age and metallicity, Msun.
    log_age, mh : ndarray
        Grid of the templates.
    age_edges_gyr : ndarray (N_age + 1,)
        Edges of the age bins, Gyr.
    n_iterations : int
    converged : bool
    problem : Hierarchy or FreeCoefficients
        Data and model, for further fits of the same.
    point : ndarray (P,)
        The optimum as one vector, its elements named by `names`.
    """

    nll: float
    mass_formed: np.ndarray
    mh_mean: np.ndarray
    parameters: dict[str, Any]
    weights: np.ndarray
    log_age: np.ndarray
    mh: np.ndarray
    age_edges_gyr: np.ndarray
    n_iterations: int
    converged: bool
    problem: Any
    point: np.ndarray

    @property
    def sfr(self) -> np.ndarray:
        """Star formation rate (N_age,), Msun/yr."""
        return self.mass_formed / self.bin_years

    @property
    def t_max_gyr(self) -> float:
        """End of the oldest age bin, Gyr."""
        return float(self.age_edges_gyr[-1])

    @property
    def bin_years(self) -> np.ndarray:
        """Widths of the age bins (N_age,), yr."""
        return np.diff(self.age_edges_gyr) * _YEARS_PER_GYR

    @cached_property
    def model(self) -> Any:
        """Expected stars in each bin (mag, color); a list where there are several diagrams."""
        models = self.problem.data.model(self.weights)
        return models[0] if len(models) == 1 else models

    @property
    def names(self) -> list[str]:
        """Names (P,) of the rows of `covariance`; positive ones stand for their logarithm."""
        return [
            f"ln {name}" if positive else name
            for name, positive in zip(self.problem.names, self.problem.positive, strict=True)
        ]

    @cached_property
    def laplace(self) -> Laplace:
        """Gaussian approximation of the posterior with flat priors, in the coordinates `names`."""
        state = self.problem.evaluate(self.point)
        positive = self.problem.positive
        # Where the optimum is 0, the mode is near 1 / gradient.
        reach = np.abs(state.gradient()) + np.sqrt(np.diag(state.hessian())) + 1e-300
        x = np.maximum(self.point, 1.0 / reach)
        start = np.where(positive, np.log(np.where(positive, x, 1.0)), self.point)
        found = find_mode(self.problem, flat_prior(positive), start)
        self._warn_of_errors(found)
        return found

    @property
    def covariance(self) -> np.ndarray:
        """Covariance (P, P) at the mode, in the coordinates `names`."""
        return self.laplace.covariance

    @cached_property
    def map(self) -> SFHMode:
        """The mode of the posterior with flat priors, in ln R and in the parameters."""
        x = to_natural(self.laplace.mode, self.problem.positive)
        history = _history(self.problem, x)
        return SFHMode(
            nll=self.problem.data.exact_nll(history["weights"]),
            sfr=history["mass_formed"] / self.bin_years,
            n_iterations=self.laplace.n_iterations,
            converged=self.laplace.converged,
            **history,
        )

    @cached_property
    def errors(self) -> dict[str, Any]:
        """Standard errors by name, at the mode: of ``mass_formed`` and of each parameter.

        In linear order: the error of ln x times x.
        """
        positive = self.problem.positive
        x = to_natural(self.laplace.mode, positive)
        error = np.sqrt(np.diag(self.laplace.covariance)) * np.where(positive, x, 1.0)
        if isinstance(self.problem, FreeCoefficients):
            shape = self.problem.data.shape
            covariance = self.covariance * np.outer(x, x)
            by_age = covariance.reshape(*shape, *shape).sum(axis=(1, 3))
            return {
                "mass_formed": np.sqrt(np.diag(by_age)),
                "weights": error.reshape(shape),
            }
        mass, theta, sigma = self.problem.split(error)
        fitted = {} if self.problem.fixed_sigma is not None else {"sigma": sigma}
        return {"mass_formed": mass, **_plain(self.problem.model.split(theta)), **fitted}

    def draws(self, n: int = 1000, rng: Any = None) -> xr.Dataset:
        """Draw star formation histories from the Gaussian approximation.

        Parameters
        ----------
        n : int
            Number of draws.
        rng : numpy.random.Generator or int, optional
            Source of random numbers.

        Returns
        -------
        xarray.Dataset
            ``mass_formed`` (Msun), ``sfr`` (Msun/yr) and ``mh_mean`` (dex) with dims chain, draw,
            log_age, and the parameters. With free coefficients ``mass_formed`` has the dim mh too.
        """
        if n < 1:
            raise ValueError(f"n must be 1 or more, got {n}.")
        normal = np.random.default_rng(rng).standard_normal((n, self.laplace.mode.size))
        u = self.laplace.mode + normal @ self.laplace.cholesky.T
        histories = [_history(self.problem, x) for x in to_natural(u, self.problem.positive)]

        def gather(name: str) -> np.ndarray:
            return np.array([history[name] for history in histories])[None]

        age = ("chain", "draw", "log_age")
        mass = gather("mass_formed")
        data: dict[str, Any] = {
            "mass_formed": (age, mass),
            "sfr": (age, mass / self.bin_years),
            "mh_mean": (age, gather("mh_mean")),
        }
        coords: dict[str, Any] = {"chain": [0], "draw": np.arange(n), "log_age": self.log_age}
        if isinstance(self.problem, FreeCoefficients):
            data["mass_formed"] = ((*age, "mh"), gather("weights"))
            coords["mh"] = self.mh
        for name, value in self.parameters.items():
            values = np.array([history["parameters"][name] for history in histories])[None]
            data[name] = (("chain", "draw", f"{name}_dim_0")[: 2 + np.ndim(value)], values)
        return xr.Dataset(data, coords=coords, attrs={"t_max_gyr": self.t_max_gyr})

    def _warn_of_errors(self, found: Laplace) -> None:
        n_mass = self.mass_formed.size
        if isinstance(self.problem, FreeCoefficients):
            n_mass = self.point.size
        large = np.sqrt(np.diag(found.covariance))[:n_mass] > _LARGE_ERROR
        if large.mean() > _MANY:
            warnings.warn(
                f"Hessian errors cannot be trusted: {int(large.sum())} of {n_mass} masses formed "
                f"are so near 0 that their logarithm is uncertain by more than {_LARGE_ERROR}. "
                f"Merge age bins, or sample with StarFormationHistory.",
                skip_file_prefixes=_HERE,
            )


def fit_sfh(
    tmpl: Any,
    hess: Any,
    metallicity: str | MetallicityModel = "linear_amr",
    t_max_gyr: float = 13.7,
    *,
    sigma: float | None = None,
    background: Any = None,
    mask: Any = None,
    start: Mapping[str, Any] | None = None,
) -> SFHFit:
    """Fit a star formation history to one Hess diagram or several of the same galaxy.

    Maximizes ln PLR (Garling et al. 2025, eq. 6) over the masses formed R_j >= 0, the parameters of
    the metallicity model and the dispersion, by damped Gauss-Newton steps within the bounds.
    Errors, draws and the mode in ln R are computed when they are first asked for.

    Parameters
    ----------
    tmpl : TemplateSet, or list of them
        Templates. Those of several diagrams need the same ages and metallicities.
    hess : DataArray or array (N_mag, N_color), or list of them
        Stars in each bin.
    metallicity : str or MetallicityModel
        ``"linear_amr"``, ``"log_amr"``, ``"power_law_mzr"``, ``"monotone_amr"``, a model such as
        ``FixedAMR(mh)`` or your own, or ``"free"``: a coefficient for every age and metallicity.
    t_max_gyr : float
        End of the oldest age bin, Gyr, and origin of the time of the metallicity models.
    sigma : float, optional
        Dispersion of [M/H] at fixed age, dex; fitted by default.
    background : array (N_mag, N_color), or list, optional
        Expected stars in each bin that are not the galaxy's.
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
        For data that do not fit the templates, no stars, templates that are all zero, stars where
        every template is zero, an unknown metallicity model, ``t_max_gyr`` within the oldest bin,
        and starting values that are negative or not finite.

    Warns
    -----
    UserWarning
        Where the metallicities of the templates are too far apart for the dispersion, and where
        the search does not converge.

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
    data = fit_data(tmpl, hess, background, mask)
    edges = data.diagrams[0].templates.age_edges(t_max_gyr)
    start = {} if start is None else dict(start)
    _check_sigma(sigma)
    problem: Any
    if isinstance(metallicity, str) and metallicity == "free":
        if sigma is not None:
            raise ValueError("sigma: free coefficients have no dispersion; leave it out.")
        problem = FreeCoefficients(data, t_max_gyr)
        _check_start(start, {"weights": data.shape})
        first = start.get("weights")
        found: Any = fit_free(problem, None if first is None else np.ravel(first))
    else:
        problem = Hierarchy(data, as_metallicity_model(metallicity), t_max_gyr, sigma)
        _check_hierarchy(problem)
        point = _first_point(problem, np.diff(edges), start)
        found = minimize_in_box(problem.evaluate, point, problem.lower())
    history = _history(problem, found.point)
    fit = SFHFit(
        nll=data.exact_nll(history["weights"]),
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


def _history(problem: Any, x: np.ndarray) -> dict[str, Any]:
    """Masses, mean metallicities, parameters and coefficients of a vector."""
    weights = problem.coefficients(x)
    mass = weights.sum(axis=1)
    if isinstance(problem, FreeCoefficients):
        mean = np.full(mass.size, np.nan)
        np.divide(weights @ problem.data.mh, mass, out=mean, where=mass > 0.0)
    else:
        mass, mean = x[: problem.n_age], problem.mean_metallicity(x)
    return {
        "mass_formed": mass,
        "mh_mean": mean,
        "parameters": _plain(problem.values(x)),
        "weights": weights,
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as floats, vectors as arrays of their own."""
    return {k: float(v) if np.ndim(v) == 0 else np.array(v) for k, v in values.items()}


def _first_point(problem: Hierarchy, widths: np.ndarray, start: dict[str, Any]) -> np.ndarray:
    """Return where to begin: a constant rate that gives as many stars as there are."""
    shapes: dict[str, tuple[int, ...]] = {"mass_formed": (problem.n_age,)}
    shapes |= {p.name: () if p.size is None else (p.size,) for p in problem.parameters}
    _check_start(start, shapes)
    values = {p.name: start.get(p.name, np.full(p.n, p.start)) for p in problem.parameters}
    if DISPERSION.name in shapes and DISPERSION.name not in start:
        values[DISPERSION.name] = max(DISPERSION.start, np.diff(problem.data.mh).max())
    for p in problem.parameters:
        if p.positive and np.min(values[p.name]) <= 0:
            raise ValueError(f"start: {p.name} must be positive, got {values[p.name]}.")
    if "mass_formed" in start:
        return problem.join(np.asarray(start["mass_formed"], dtype=float), values)
    mass = widths / widths.sum()
    coefficients = problem.coefficients(problem.join(mass, values))
    expected = float(np.sum(coefficients * problem.data.totals))
    return problem.join(mass * problem.data.observed.sum() / expected, values)


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
            f"the fit did not converge in {fit.n_iterations} iterations; try other values in "
            f"start=.",
            skip_file_prefixes=_HERE,
        )
    sigma = fit.parameters.get("sigma")
    if sigma is None or fit.mh.size == 1:
        return
    spacing = float(np.diff(fit.mh).max())
    if spacing > WIDEST_SPACING * sigma:
        warnings.warn(
            f"the metallicities of the templates are up to {spacing:.3g} dex apart, more than "
            f"{WIDEST_SPACING} times the dispersion of {sigma:.3g} dex, so that the shares do not "
            f"follow the mean metallicity; build templates on a finer grid.",
            skip_file_prefixes=_HERE,
        )
