"""A star formation history as part of a PyMC model, in coordinates in which samplers do well.

One vector u holds ln R_j, the metallicity parameters, positive ones by their logarithms, and the
logarithms of amplitudes of backgrounds. Its prior is one multivariate normal. The sampler sees z
with u = mode + L z, L L' the covariance of the Gaussian approximation of the posterior: nearly
independent standard normals. Where the prior leaves masses uncertain by factors, mode + L z is not
ln R but a coordinate that is R itself away from 0.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from pymc.logprob.transforms import Transform
from pytensor import tensor as pt
from pytensor.tensor import TensorVariable
from scipy import linalg

from pymc_starpop.ops.namespace import TENSOR
from pymc_starpop.sfh.coordinates import Coordinates
from pymc_starpop.sfh.free import FreeCoefficients
from pymc_starpop.sfh.hierarchy import Hierarchy
from pymc_starpop.sfh.laplace import TURN, GaussianPrior, Laplace, find_mode
from pymc_starpop.sfh.metallicity import metallicity_weights
from pymc_starpop.sfh.metallicity_models import Parameter
from pymc_starpop.sfh.modes import find_modes, table_of_modes
from pymc_starpop.sfh.priors import AgeBins, ContinuityPrior, FlatPrior, SFRPrior
from pymc_starpop.sfh.result import HERE, SFHFit

__all__ = ["History", "StarFormationHistory", "Whiten"]


# Where the logarithm of a mass is less certain than this, all masses are softened: neighboring bins
# share what the data fix, and sums of exponentials bend.
_LARGE_ERROR = 0.7
# Rivals named in a warning.
_MAX_NAMED = 5
# Below this argument ln(1 + exp w) = exp w in double precision.
_FAR = -36.0


class Whiten(Transform):
    """The map from z to u: v = center + scale z, then ln(soft ln(1 + exp(v / soft))) where soft.

    Parameters
    ----------
    center : (P,)
    scale : (P, P)
        Lower triangle with a positive diagonal.
    soft : (P,), optional
        Masses at which the second map turns over, Msun; 0 where u = v.
    """

    name = "whiten"
    ndim_supp = 1

    def __init__(self, center: np.ndarray, scale: np.ndarray, soft: np.ndarray | None = None):
        self.center = np.asarray(center, dtype=float)
        self.scale = np.asarray(scale, dtype=float)
        self.inverse = linalg.solve_triangular(self.scale, np.eye(len(self.center)), lower=True)
        self.log_volume = float(np.sum(np.log(np.diag(self.scale))))
        soft = np.zeros(len(self.center)) if soft is None else np.asarray(soft, dtype=float)
        self.softened = np.flatnonzero(soft > 0.0)
        self.soft = soft[self.softened]

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Return z."""
        v = pt.as_tensor(value)
        if self.softened.size:
            x = pt.exp(v[..., self.softened]) / self.soft
            v = v[..., self.softened].set(self.soft * (x + pt.log1mexp(-x)))
        return pt.dot(v - self.center, self.inverse.T)

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Return u."""
        v = self.center + pt.dot(value, self.scale.T)
        if not self.softened.size:
            return v
        log_mass, _ = self._soften(v)
        return v[..., self.softened].set(log_mass)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Return ln |du/dz|."""
        volume = pt.zeros_like(value[..., 0]) + self.log_volume
        if not self.softened.size:
            return volume
        v = self.center + pt.dot(value, self.scale.T)
        log_mass, w = self._soften(v)
        return volume + pt.sum(-pt.softplus(-w) - log_mass, axis=-1)

    def _soften(self, v: Any) -> tuple[Any, Any]:
        """Return ln R and v / soft of the softened elements."""
        w = v[..., self.softened] / self.soft
        # Far below 0, ln(1 + exp w) is exp w.
        near = pt.log(pt.softplus(pt.maximum(w, _FAR)))
        return pt.switch(w > _FAR, near, w) + np.log(self.soft), w


@dataclass(frozen=True, eq=False)
class History:
    """Variables of a star formation history in a PyMC model.

    Attributes
    ----------
    mass_formed, sfr, mh_mean : TensorVariable (N_age,)
        Msun, Msun/yr, dex.
    parameters : dict
        Metallicity parameters and the dispersion by name.
    weights : TensorVariable (N_part, N_mh)
        Mass formed at each age and metallicity, Msun, in the parts of the age bins (see
        `TemplateSet.parts`): for `HessDiagram` and `hess_logp`.
    background : TensorVariable (N_mag, N_color), list of them, or None
        Expected stars of the fit's backgrounds, for `HessDiagram`; a list where there are several
        diagrams, with None for those without a background.
    laplace : Laplace
        The mode and the covariance that whiten the sampler's coordinates.
    modes : xarray.Dataset
        Modes of the posterior within 10 nats of the best, best first, along ``mode``:
        ``log_posterior`` (of the random vector, up to a constant), ``below_best`` (nats),
        ``n_start`` (searches that ended there), ``tau_50`` (Gyr), ``total_mass`` (Msun),
        ``mass_formed`` and ``mh_mean`` (log_age). ``print(sfh.modes.to_dataframe())`` shows it.
    """

    mass_formed: TensorVariable
    sfr: TensorVariable
    mh_mean: TensorVariable
    parameters: dict[str, Any]
    weights: TensorVariable
    background: Any
    laplace: Laplace
    modes: xr.Dataset
    _vector: TensorVariable
    _starts: tuple[np.ndarray, ...]

    def initvals(self, chains: int = 4) -> list[dict[str, np.ndarray]]:
        """Return starting values that spread chains over the modes.

        For ``pm.sample(initvals=sfh.initvals(4), chains=4, nuts_sampler="pymc")``. Chains that stay
        in different modes show in r_hat; how many draws each mode gets then says nothing of its
        probability. nutpie takes no list: all its chains start near the best mode.

        Parameters
        ----------
        chains : int
            Number of chains; the modes take turns, best first.
        """
        if isinstance(chains, bool) or not isinstance(chains, int | np.integer) or chains < 1:
            raise ValueError(f"chains must be a whole number, 1 or more, got {chains!r}.")
        n = len(self._starts)
        return [{str(self._vector.name): self._starts[i % n]} for i in range(chains)]


def StarFormationHistory(
    name: str,
    fit: SFHFit,
    prior: SFRPrior | FlatPrior | None = None,
    *,
    parameter_priors: Mapping[str, tuple[float, float]] | None = None,
) -> History:
    """Add a star formation history with its metallicity to the PyMC model of the context.

    Its variables are ``mass_formed``, ``sfr`` and ``mh_mean`` with dim ``log_age``, the parameters
    of the metallicity model by their names, and ``sigma``. They are functions of one random
    vector, `name`. Where amplitudes of backgrounds were fitted, they belong to it, with the priors
    of the fit: ``background_amplitude`` and ``background_stars``, with dim ``background``. Hand
    ``background=sfh.background`` to `HessDiagram` then. For several galaxies in one model, give
    each its own ``pm.Model(name=...)`` inside.

    Parameters
    ----------
    name : str
        Name of the random vector.
    fit : SFHFit
        The fast fit of the same data with the same metallicity model; from it come the ages and
        the coordinates of the sampler. Its starting point is the mode under this prior.
    prior : SFRPrior or FlatPrior, optional
        Prior on the rates: ``ContinuityPrior(0.3)`` by default.
    parameter_priors : mapping, optional
        By name of a parameter, the median and the scale of its prior, as in `Parameter`: mean and
        standard deviation of a normal prior; for a positive parameter the scale is that of its
        natural logarithm. Others keep the priors of their `Parameter`.

    Returns
    -------
    History

    Raises
    ------
    ValueError
        For a fit with free coefficients or without mass, an unknown parameter, values that are no
        prior, and a posterior without a value where the search for its mode begins.

    Warns
    -----
    UserWarning
        Where the posterior has other modes within 10 nats of the best.

    Examples
    --------
    >>> import numpy as np, pymc as pm, pymc_starpop as psp
    >>> axes = psp.HessAxes(("V", "I"), "I", color_edges=[0, 1, 2], mag_edges=[18, 20, 22])
    >>> counts = np.array([[[[4.0, 1], [0, 1]]], [[[0, 1], [1, 5]]]]) * 1e-3
    >>> tmpl = psp.TemplateSet.from_arrays(counts, axes, log_age=[9.0, 10.0], mh=[-1.0])
    >>> fit = psp.fit_sfh(tmpl, np.array([[40, 20], [10, 60]]), psp.FixedAMR([-1, -1]), sigma=0.1)
    >>> with pm.Model(coords=tmpl.coords()) as model:
    ...     sfh = psp.StarFormationHistory("sfh", fit, prior=psp.ContinuityPrior(0.3))
    >>> [v.name for v in model.deterministics]
    ['mass_formed', 'sfr', 'mh_mean']
    """
    if isinstance(fit.problem, FreeCoefficients):
        raise ValueError(
            "fit: free coefficients have no metallicity model; fit with one, or give the "
            "coefficients priors of your own."
        )
    if not fit.mass_formed.any():
        raise ValueError(
            "fit: no mass is left, as the background explains all stars; there is no history."
        )
    # Priors keep the metallicities where they belong, and the sampler has no other bound.
    problem: Hierarchy = replace(fit.problem, bounded=False)
    prior = ContinuityPrior() if prior is None else prior
    priors = _parameter_priors(problem.parameters, parameter_priors)
    others = problem.data.backgrounds
    priors += [
        (float(np.log(m)), float(s), 1) for m, s in zip(others.median, others.sigma, strict=True)
    ]
    gaussian, covariance = _joint_prior(fit, prior, priors)
    flat = isinstance(prior, FlatPrior)
    expected, best = (_start(fit, gaussian, flat, likeliest) for likeliest in (False, True))
    found = find_modes(problem, gaussian, expected, best)
    modes = table_of_modes(problem, found, fit.age_edges_gyr)
    _warn_of_rivals(modes)
    laplace, soft = _whitening(problem, gaussian, found[0].u)
    model = pm.modelcontext(None)
    if "log_age" not in model.coords:
        model.add_coord("log_age", fit.log_age)
    u = _random_vector(name, gaussian, covariance, Whiten(laplace.mode, laplace.cholesky, soft))
    return _variables(fit, u, laplace, modes, tuple(mode.u for mode in found))


def _parameter_priors(
    parameters: tuple[Parameter, ...], given: Mapping[str, tuple[float, float]] | None
) -> list[tuple[float, float, int]]:
    """Mean and standard deviation in coordinates without bounds, and number of elements."""
    given = {} if given is None else dict(given)
    unknown = sorted(set(given) - {p.name for p in parameters})
    if unknown:
        raise ValueError(
            f"parameter_priors: no parameter {', '.join(unknown)}; there are "
            f"{', '.join(p.name for p in parameters) or 'none'}."
        )
    priors = []
    for p in parameters:
        # The checks are those of a Parameter.
        center, scale = given.get(p.name, (p.start, p.scale))
        checked = replace(p, start=float(center), scale=float(scale))
        priors.append((checked.unbounded_start, checked.scale, p.n))
    return priors


def _joint_prior(
    fit: SFHFit, prior: SFRPrior | FlatPrior, priors: list[tuple[float, float, int]]
) -> tuple[GaussianPrior, np.ndarray | None]:
    """Prior of u, and its covariance (P, P) where it is proper."""
    n_age, years = fit.log_age.size, fit.bin_years
    mean_of_parameters = np.array([mean for mean, _, n in priors for _ in range(n)])
    variances = np.array([sd**2 for _, sd, n in priors for _ in range(n)])
    size = n_age + variances.size
    precision = np.zeros((size, size))
    precision[n_age:, n_age:] = np.diag(1.0 / variances)
    mean, flat = np.zeros(size), np.zeros(size, dtype=bool)
    mean[n_age:] = mean_of_parameters
    if isinstance(prior, FlatPrior):
        flat[:n_age] = True
        return GaussianPrior(mean, precision, flat), None
    if not isinstance(prior, SFRPrior):
        raise ValueError(
            f"prior must be FlatPrior() or an SFRPrior such as ContinuityPrior(0.3), got {prior!r}."
        )
    bins = AgeBins(fit.log_age, years, float(fit.mass_formed.sum() / years.sum()))
    log_sfr, of_masses = prior.moments(bins)
    mean[:n_age] = log_sfr + np.log(years)
    precision[:n_age, :n_age] = linalg.inv(of_masses)
    covariance = linalg.block_diag(of_masses, np.diag(variances))
    return GaussianPrior(mean, 0.5 * (precision + precision.T), flat), covariance


def _start(fit: SFHFit, prior: GaussianPrior, flat: bool, likeliest: bool) -> np.ndarray:
    """Where to look for the mode: the best parameters, with the rates that the prior expects.

    Or, likeliest, with the rates of the maximum of the likelihood.
    """
    problem, n_age = fit.problem, fit.problem.n_age
    # A positive parameter may be 0 at the optimum.
    coordinates = problem.coordinates
    middle = coordinates.natural(prior.mean)
    x = np.where(coordinates.positive, np.maximum(fit.point, 1e-3 * middle), fit.point)
    least = 1e-3 * fit.mass_formed.mean()
    x[:n_age] = np.maximum(fit.mass_formed, least)
    if not (flat or likeliest):
        x[:n_age] = fit.mass_formed.sum() / fit.bin_years.sum() * fit.bin_years
    if not np.isfinite(problem.evaluate(x).value):
        # The formula may have no value there; at the center of the priors it has.
        x[n_age:] = middle[n_age:]
    return coordinates.unbounded(x)


def _warn_of_rivals(modes: xr.Dataset) -> None:
    """Say that the posterior has several modes."""
    n = modes.sizes["mode"] - 1
    if n == 0:
        return
    named = ", ".join(
        f"{float(m.tau_50):.3g} Gyr {float(m.below_best):.1f} nats below"
        for m in (modes.isel(mode=i + 1) for i in range(min(n, _MAX_NAMED)))
    )
    warnings.warn(
        f"the posterior has {n} other mode{'s' if n > 1 else ''} within 10 nats of the best, where "
        f"half of the mass had formed {float(modes.tau_50[0]):.3g} Gyr ago: {named}. A chain may "
        f"stay in one; see History.modes, and start chains with initvals=History.initvals(chains).",
        skip_file_prefixes=HERE,
    )


def _whitening(
    problem: Hierarchy, prior: GaussianPrior, start: np.ndarray
) -> tuple[Laplace, np.ndarray]:
    """Return the Gaussian approximation in the sampler's coordinates, and where they soften."""
    laplace, coordinates = find_mode(problem, prior, start), problem.coordinates
    errors = np.sqrt(np.diag(laplace.covariance))
    error = errors[: problem.n_age]
    soft = np.zeros(start.size)
    # An amplitude of few stars: ln a falls far below one star, above it the likelihood is a wall.
    few = errors[problem.n_history :] > _LARGE_ERROR
    soft[problem.n_history :][few] = 1.0 / problem.data.backgrounds.totals[few]
    if (error > _LARGE_ERROR).any():
        mass = np.exp(laplace.mode[: problem.n_age])
        soft[: problem.n_age] = TURN * error * mass
    if not soft.any():
        return laplace, soft
    softened = Coordinates(coordinates.positive, coordinates.soft + soft)
    again = softened.unbounded(coordinates.natural(laplace.mode))
    return find_mode(problem, prior, again, softened), soft


def _random_vector(
    name: str, prior: GaussianPrior, covariance: np.ndarray | None, whiten: Whiten
) -> TensorVariable:
    """Return u with its prior, in whitened coordinates and starting from the mode."""
    mode = whiten.backward(np.zeros_like(prior.mean)).eval()
    if covariance is not None:
        return pm.MvNormal(
            name, mu=prior.mean, chol=linalg.cholesky(covariance, lower=True),
            initval=mode, default_transform=None, transform=whiten,
        )  # fmt: skip
    u = pm.Flat(name, shape=prior.mean.shape, initval=mode, transform=whiten)
    proper = np.flatnonzero(np.diag(prior.precision) > 0.0)
    # Flat in R = exp(u).
    log_prior = u[np.flatnonzero(prior.flat)].sum()
    if proper.size:
        sd = np.diag(prior.precision)[proper] ** -0.5
        log_prior += pm.logp(pm.Normal.dist(prior.mean[proper], sd), u[proper]).sum()
    pm.Potential(f"{name}_prior", log_prior)
    return u


def _variables(
    fit: SFHFit, u: TensorVariable, laplace: Laplace, modes: xr.Dataset, starts: Any
) -> History:
    """Return the variables of the history as functions of u."""
    problem: Hierarchy = fit.problem
    n_age = problem.n_age
    mass = pm.Deterministic("mass_formed", pt.exp(u[:n_age]), dims="log_age")
    sfr = pm.Deterministic("sfr", mass / fit.bin_years, dims="log_age")
    parameters: dict[str, Any] = {}
    first = n_age
    for p in problem.parameters:
        value = u[first] if p.size is None else u[first : first + p.size]
        parameters[p.name] = pm.Deterministic(p.name, p.natural(value, TENSOR))
        first += p.n
    background = _background(problem, str(u.name), pt.exp(u[first:]))
    epochs, data = problem.epochs(mass), problem.data
    mean = pt.as_tensor(problem.model.mean(parameters, epochs, TENSOR))
    mean = pt.broadcast_to(mean, (epochs.age_gyr.size,))
    mh_mean = pm.Deterministic("mh_mean", pt.dot(data.averaging, mean), dims="log_age")
    sigma = parameters.get("sigma", problem.fixed_sigma)
    pm.Data("t_max_gyr", fit.t_max_gyr)
    weights = metallicity_weights(epochs.mass_formed, mean, sigma, fit.mh)
    # So that `HessDiagram` can tell where they were forgotten.
    weights.tag.sfh_backgrounds = tuple(
        d.templates for d in problem.data.diagrams if not all(b.fixed for b in d.backgrounds)
    )
    return History(mass, sfr, mh_mean, parameters, weights, background, laplace, modes, u, starts)


def _background(problem: Hierarchy, name: str, amplitudes: TensorVariable) -> Any:
    """Return the expected stars of each diagram's backgrounds, and name the amplitudes."""
    data, others = problem.data, problem.data.backgrounds
    if others.n:
        model, dim = pm.modelcontext(None), "background"
        if model.coords.get(dim, others.names) != others.names:
            dim = f"{name}_background_name"
        if dim not in model.coords:
            model.add_coord(dim, others.names)
        pm.Deterministic("background_amplitude", amplitudes, dims=dim)
        pm.Deterministic("background_stars", amplitudes * others.totals, dims=dim)
    counts: list[Any] = []
    for d in data.diagrams:
        expected = pt.as_tensor(d.known) if d.backgrounds else None
        for b in d.backgrounds:
            if not b.fixed:
                expected += amplitudes[others.names.index(b.name)] * b.template.ravel()
        counts.append(None if expected is None else expected.reshape(d.templates.axes.shape))
    return counts[0] if len(counts) == 1 else counts
