"""What a fast fit returns: the optimum, and the Gaussian approximation around the mode."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.sfh.amplitudes import amplitude_prior
from pymc_starpop.sfh.free import FreeCoefficients
from pymc_starpop.sfh.laplace import GaussianPrior, Laplace, find_mode
from pymc_starpop.sfh.refits import N_REFITS, draw_refits
from pymc_starpop.sfh.trust import Gaussian, find_gaussian

__all__ = ["HERE", "SFHFit", "SFHMode", "history_of"]

# Widths of the normal priors that keep parameters finite of which the data say nothing, in widths
# of their default priors: a parameter known to 1 of these is moved by 1e-3 of its error.
_WIDENED = 30.0
_YEARS_PER_GYR = 1e9
_TINY = 1e-300
# By which a step into the inside is shortened where it leaves the model's domain.
_LESS = 0.1
#: Warnings point at the line outside this package that led to them.
HERE = (str(Path(__file__).parents[1]),)


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
    background_amplitudes : dict
        Amplitudes of the backgrounds by name.
    n_iterations, converged :
        Of the search.
    """

    nll: float
    mass_formed: np.ndarray
    sfr: np.ndarray
    mh_mean: np.ndarray
    parameters: dict[str, Any]
    weights: np.ndarray
    background_amplitudes: dict[str, float]
    n_iterations: int
    converged: bool


@dataclass(frozen=True, eq=False)
class SFHFit:
    """A star formation history of maximum likelihood; made by `fit_sfh`.

    Attributes
    ----------
    nll : float
        -ln PLR (Garling et al. 2025, eq. 6) at the optimum, in double precision, without the priors
        of the amplitudes of backgrounds.
    mass_formed : ndarray (N_age,)
        Mass formed in each age bin, Msun; many are 0 at the optimum.
    mh_mean : ndarray (N_age,)
        Mean metallicity, dex; with free coefficients weighted by mass, NaN where there is none.
    parameters : dict
        Metallicity parameters by name, and ``sigma``, the dispersion in dex.
    weights : ndarray (N_age, N_mh)
        Mass formed at each age and metallicity, Msun.
    background_amplitudes : dict
        Amplitudes of the backgrounds by name, also of known ones; `background_stars` are the stars
        that they stand for.
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
    background_amplitudes: dict[str, float]
    log_age: np.ndarray
    mh: np.ndarray
    age_edges_gyr: np.ndarray
    n_iterations: int
    converged: bool
    problem: Any
    point: np.ndarray
    # The search for the mode is made when it is first asked for, as are refits for the errors.
    _found: list[Laplace] = field(default_factory=list, repr=False)
    _draw: list[Gaussian] = field(default_factory=list, repr=False)
    _refitted: list[np.ndarray] = field(default_factory=list, repr=False)

    def __repr__(self) -> str:
        values = ", ".join(
            f"{k} {np.array2string(np.asarray(v), precision=4)}" for k, v in self.parameters.items()
        )
        return (
            f"<SFHFit: {self.log_age.size} ages (log_age {self.log_age[0]:g} to "
            f"{self.log_age[-1]:g}), -ln PLR {self.nll:.2f}, {self.mass_formed.sum():.4g} Msun"
            f"{', ' if values else ''}{values}{'' if self.converged else ', not converged'}>"
        )

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

    @property
    def model(self) -> Any:
        """Expected stars in each bin (mag, color); a list where there are several diagrams."""
        coefficients = self.problem.part_coefficients(self.point)
        models = self.problem.data.model(coefficients, self.background_amplitudes)
        return models[0] if len(models) == 1 else models

    @property
    def background(self) -> Any:
        """Expected stars of all backgrounds in each bin, as part of `model`; 0 without any.

        A list where there are several diagrams.
        """
        counts = self.problem.data.background_counts(self.background_amplitudes)
        return counts[0] if len(counts) == 1 else counts

    @property
    def background_stars(self) -> dict[str, float]:
        """Expected stars of each background, by name, in the bins that count."""
        return self.problem.data.background_stars(self.background_amplitudes)

    @property
    def names(self) -> list[str]:
        """Names (P,) of the rows of `covariance`, with the coordinate that stands for each.

        ``ln x`` for masses and most positive parameters, ``soft x`` for softened ones.
        """
        coordinates = self.problem.coordinates
        kinds = np.where(coordinates.logarithmic, "ln ", "")
        kinds = np.where(coordinates.soft > 0.0, "soft ", kinds)
        return [kind + name for kind, name in zip(kinds, self.problem.names, strict=True)]

    @property
    def laplace(self) -> Laplace:
        """Gaussian approximation of the posterior with flat priors, in the coordinates `names`."""
        if not self._found:
            self._found.append(self._find_mode())
            self._draw.append(self._find_draws())
            self._warn_of_errors()
        return self._found[0]

    @property
    def is_gaussian(self) -> bool:
        """Whether errors and draws are those of the Gaussian approximation.

        It is not used where many masses are so near 0 or a parameter so loose that it cannot hold,
        and where its draws contradict the optimum. Errors and draws are then made of fits of the
        same diagram with its stars weighted at random.
        """
        return self._gaussian.trouble is None

    @property
    def _gaussian(self) -> Gaussian:
        _ = self.laplace
        return self._draw[0]

    @property
    def covariance(self) -> np.ndarray:
        """Covariance (P, P) at the mode, in the coordinates `names`."""
        return self.laplace.covariance

    @property
    def map(self) -> SFHMode:
        """The mode of the posterior with flat priors, in ln R and in the parameters."""
        x = self.problem.coordinates.natural(self.laplace.mode)
        history = history_of(self.problem, x)
        return SFHMode(
            nll=self.problem.data.exact_nll(
                self.problem.part_coefficients(x), history["background_amplitudes"]
            ),
            sfr=history["mass_formed"] / self.bin_years,
            n_iterations=self.laplace.n_iterations,
            converged=self.laplace.converged,
            **history,
        )

    @property
    def errors(self) -> dict[str, Any]:
        """Standard errors by name, at the mode: of ``mass_formed`` and of each parameter.

        In linear order: of x = exp(u), the error of u times x. Where the fit `is_gaussian` no
        longer, the standard deviations of 100 draws. Where amplitudes were fitted,
        ``background_amplitudes`` and ``background_stars`` hold theirs by name.
        """
        if not self.is_gaussian:
            return self._errors_of_draws()
        coordinates, mode = self.problem.coordinates, self.laplace.mode
        x, (slope, _) = coordinates.natural(mode), coordinates.derivatives(mode)
        error = np.sqrt(np.diag(self.laplace.covariance)) * slope
        others = self._background_errors(self.problem.amplitudes(error))
        if isinstance(self.problem, FreeCoefficients):
            shape = self.problem.data.shape
            n = self.problem.n_history
            covariance = self.covariance[:n, :n] * np.outer(x[:n], x[:n])
            by_age = covariance.reshape(*shape, *shape).sum(axis=(1, 3))
            return {
                "mass_formed": np.sqrt(np.diag(by_age)),
                "weights": error[:n].reshape(shape),
                **others,
            }
        return {**self._by_name(error), **others}

    def _background_errors(self, error: np.ndarray) -> dict[str, Any]:
        """Errors of amplitudes (K,) by name, and of the stars that they stand for."""
        b = self.problem.data.backgrounds
        if b.n == 0:
            return {}
        return {
            "background_amplitudes": dict(zip(b.names, map(float, error), strict=True)),
            "background_stars": dict(zip(b.names, map(float, error * b.totals), strict=True)),
        }

    def draws(self, n: int = 1000, rng: Any = None) -> xr.Dataset:
        """Draw star formation histories, from the Gaussian approximation where it holds.

        It is taken in coordinates that are the masses themselves away from 0, so that sums of
        masses come out right. Draws that the model of the metallicity or the templates cannot have
        are left out. Where the approximation does not hold (`is_gaussian`), draws are fits of the
        diagram with random weights of the stars (Newton & Raftery 1994): at most 100 different
        ones, with a small random mass where a fit has none.

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
            Where amplitudes were fitted, ``background_amplitude`` and ``background_stars``, the
            stars in the bins that count, with the dim background, whose coordinate is the names.
        """
        if n < 1:
            raise ValueError(f"n must be 1 or more, got {n}.")
        rng = np.random.default_rng(rng)
        if self.is_gaussian:
            x = self._gaussian.draw(n, rng)
        else:
            x = draw_refits(self.problem, self.point, n, rng)
        data, coords = self._variables(x)
        others = self.problem.data.backgrounds
        if others.n:
            amplitudes = self.problem.amplitudes(x)[None]
            dims = ("chain", "draw", "background")
            data["background_amplitude"] = (dims, amplitudes)
            data["background_stars"] = (dims, amplitudes * others.totals)
            coords["background"] = list(others.names)
        coords |= {"chain": [0], "draw": np.arange(n)}
        return xr.Dataset(data, coords=coords, attrs={"t_max_gyr": self.t_max_gyr})

    def _variables(self, x: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return variables with their dims, and coordinates, of vectors (N_draw, P)."""
        age = ("chain", "draw", "log_age")
        data: dict[str, Any]
        if isinstance(self.problem, FreeCoefficients):
            weights = x[:, : self.problem.n_history].reshape(1, -1, *self.problem.data.shape)
            mass = weights.sum(axis=-1)
            data = {
                "mass_formed": ((*age, "mh"), weights),
                "sfr": (age, mass / self.bin_years),
                "mh_mean": (age, _mean_of(weights, self.mh)),
            }
            return data, {"log_age": self.log_age, "mh": self.mh}
        mass = x[None, :, : self.problem.n_age]
        data = {
            "mass_formed": (age, mass),
            "sfr": (age, mass / self.bin_years),
            "mh_mean": (age, np.array([self.problem.mean_metallicity(row) for row in x])[None]),
        }
        values = [_plain(self.problem.values(row)) for row in x]
        for name, value in self.parameters.items():
            dims = ("chain", "draw", f"{name}_dim_0")[: 2 + np.ndim(value)]
            data[name] = (dims, np.array([v[name] for v in values])[None])
        return data, {"log_age": self.log_age}

    def _errors_of_draws(self) -> dict[str, Any]:
        """Standard deviations of draws by name."""
        if not self._refitted:
            rng = np.random.default_rng(0)
            self._refitted.append(draw_refits(self.problem, self.point, N_REFITS, rng))
        x = self._refitted[0]
        errors, n = x.std(axis=0), self.problem.n_history
        others = self._background_errors(errors[n:])
        if isinstance(self.problem, FreeCoefficients):
            shape = self.problem.data.shape
            by_age = x[:, :n].reshape(-1, *shape).sum(axis=-1).std(axis=0)
            return {"mass_formed": by_age, "weights": errors[:n].reshape(shape), **others}
        return {**self._by_name(errors), **others}

    def _by_name(self, errors: np.ndarray) -> dict[str, Any]:
        """Split errors (P,) of a hierarchical model."""
        mass, theta, sigma = self.problem.split(errors)
        fitted = {} if self.problem.fixed_sigma is not None else {"sigma": sigma}
        return {"mass_formed": mass, **_plain(self.problem.model.split(theta)), **fitted}

    def _find_mode(self) -> Laplace:
        """Search the mode from the optimum."""
        problem = self.problem
        start = problem.coordinates.unbounded(self._inside())
        return find_mode(problem, self._flat_prior(), start)

    def _find_draws(self) -> Gaussian:
        """Find what draws are taken from."""
        return find_gaussian(self.problem, self.point, self._flat_prior(), self._found[0])

    def _inside(self) -> np.ndarray:
        """Return a point near the optimum where everything that must be positive is."""
        problem, state = self.problem, self.problem.evaluate(self.point)
        # Where the optimum is 0, the mode is near 1 / gradient, and no more than typical values.
        reach = np.abs(state.gradient()) + np.sqrt(np.diag(state.hessian())) + _TINY
        reach = np.minimum(1.0 / reach, self._typical())
        x = np.where(problem.coordinates.positive, np.maximum(self.point, reach), self.point)
        added = x - self.point
        while not np.isfinite(problem.evaluate(x).value):
            added *= _LESS
            x = self.point + added
        return x

    def _typical(self) -> np.ndarray:
        """Return masses that alone explain all stars, and the first values of parameters (P,)."""
        problem, data = self.problem, self.problem.data
        stars = data.observed.sum()
        if isinstance(problem, FreeCoefficients):
            totals = data.totals.ravel()
            masses = np.where(totals > 0.0, stars / np.maximum(totals, _TINY), 1.0)
            return np.concatenate([masses, data.backgrounds.median])
        mass = stars / data.mean_over_bins(data.totals.mean(axis=1))
        return problem.join(mass, {p.name: np.full(p.n, p.start) for p in problem.parameters})

    def _flat_prior(self) -> GaussianPrior:
        """Flat in masses and parameters, but for wide priors that keep parameters finite."""
        prior, first = amplitude_prior(self.problem), self.mass_formed.size
        if isinstance(self.problem, FreeCoefficients):
            return prior
        for p in self.problem.parameters:
            index = np.arange(first, first + p.n)
            prior.mean[index] = p.unbounded_start
            prior.precision[index, index] = (_WIDENED * p.scale) ** -2
            first += p.n
        return prior

    def _warn_of_errors(self) -> None:
        reason = self._draw[0].trouble
        if reason is not None:
            warnings.warn(
                f"Hessian errors cannot be trusted: {reason}. Errors and draws come from "
                f"{N_REFITS} fits of the same stars with random weights instead. Merge age bins, "
                f"fix parameters, or sample with StarFormationHistory, where the prior counts.",
                skip_file_prefixes=HERE,
            )


def history_of(problem: Any, x: np.ndarray) -> dict[str, Any]:
    """Masses, mean metallicities, parameters, coefficients and amplitudes of a vector."""
    weights = problem.coefficients(x)
    mass = weights.sum(axis=1)
    if isinstance(problem, FreeCoefficients):
        mean = _mean_of(weights, problem.data.mh)
    else:
        mass, mean = x[: problem.n_age], problem.mean_metallicity(x)
    return {
        "mass_formed": mass,
        "mh_mean": mean,
        "parameters": _plain(problem.values(x)),
        "weights": weights,
        "background_amplitudes": problem.data.amplitudes(problem.amplitudes(x)),
    }


def _mean_of(weights: np.ndarray, mh: np.ndarray) -> np.ndarray:
    """Mean metallicity (..., N_age) of free coefficients, NaN where nothing formed."""
    mass = weights.sum(axis=-1)
    return np.divide(weights @ mh, mass, out=np.full_like(mass, np.nan), where=mass > 0.0)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as floats, vectors as arrays of their own."""
    return {k: float(v) if np.ndim(v) == 0 else np.array(v) for k, v in values.items()}
