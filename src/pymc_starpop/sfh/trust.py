"""Whether a Gaussian approximation agrees with the optimum that it came from."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_starpop.sfh.coordinates import Coordinates
from pymc_starpop.sfh.free import FreeCoefficients
from pymc_starpop.sfh.laplace import GaussianPrior, Laplace, soften
from pymc_starpop.sfh.refits import expected_stars

__all__ = ["Gaussian", "find_gaussian"]

# The Gaussian approximation in ln R is no more than a guess for an age whose error in ln R is as
# large as this; it is not trusted where that holds for more than this part of the ages.
_LARGE_ERROR, _MANY = 0.7, 0.25
# A parameter is loose where its error exceeds that many widths of its default prior.
_LOOSE = 3.0
# Draws that are compared with the optimum, and the part of them that must be possible.
_N_DRAWS, _MOST_IMPOSSIBLE = 400, 0.2
# How far the mean of the expected stars may be from the optimum's, in Poisson errors or as a
# fraction, whichever is more, and the median of the cumulative history in standard deviations, and
# as a fraction on top of that. A prior flat in the masses adds about a star for each of them.
_STARS_OFF, _HISTORY_OFF, _FRACTION_OFF = 1.0, 2.0, 0.02


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A Gaussian approximation to draw from.

    Attributes
    ----------
    problem : Hierarchy or FreeCoefficients
    laplace : Laplace
        In `coordinates`.
    coordinates : Coordinates
    trouble : str or None
        Why it must not be used.
    """

    problem: Any
    laplace: Laplace
    coordinates: Coordinates
    trouble: str | None

    def draw_all(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw vectors (n, P), whether the model may have them or not."""
        normal = rng.standard_normal((n, self.laplace.mode.size))
        return self.coordinates.natural(self.laplace.mode + normal @ self.laplace.cholesky.T)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw vectors (n, P) that the model may have; most are, or it is in trouble."""
        found = np.empty((0, self.laplace.mode.size))
        while len(found) < n:
            x = self.draw_all(n, rng)
            found = np.concatenate([found, x[_possible(self.problem, x)]])
        return found[:n]


def find_gaussian(
    problem: Any, point: np.ndarray, prior: GaussianPrior, laplace: Laplace
) -> Gaussian:
    """Find the approximation that draws are taken from, and what is wrong with it.

    Parameters
    ----------
    problem : Hierarchy or FreeCoefficients
    point : (P,)
        The optimum.
    prior, laplace : GaussianPrior, Laplace
        Around the mode of a prior flat in the masses, in the coordinates of the problem.
    """
    trouble = _trouble(problem, point, laplace)
    if trouble is not None:
        return Gaussian(problem, laplace, problem.coordinates, trouble)
    n_mass = _n_mass(problem)
    softened, soft = soften(problem, prior, laplace, n_mass)
    ours = problem.coordinates
    coordinates = Coordinates(ours.positive, ours.soft + soft)
    found = Gaussian(problem, softened, coordinates, None)
    if not softened.converged:
        trouble = "the search for the mode did not converge"
    else:
        trouble = _contradiction(found, point)
    return Gaussian(problem, softened, coordinates, trouble)


def _n_mass(problem: Any) -> int:
    return int(problem.n_history if isinstance(problem, FreeCoefficients) else problem.n_age)


def _trouble(problem: Any, point: np.ndarray, laplace: Laplace) -> str | None:
    """Return what the errors say against the approximation."""
    if not laplace.converged:
        return "the search for the mode did not converge"
    n_mass = _n_mass(problem)
    errors = np.sqrt(np.diag(laplace.covariance))
    large = errors[:n_mass] > _LARGE_ERROR
    if large.mean() > _MANY:
        return (
            f"{int(large.sum())} of {n_mass} masses formed are so near 0 that their logarithm is "
            f"uncertain by more than {_LARGE_ERROR}"
        )
    if isinstance(problem, FreeCoefficients):
        return None
    scales = np.array([p.scale for p in problem.parameters for _ in range(p.n)])
    loose = np.flatnonzero(errors[n_mass : n_mass + scales.size] > _LOOSE * scales)
    if loose.size:
        names = ", ".join(problem.names[n_mass + i] for i in loose)
        return (
            f"the data hardly constrain {names}, with an error of more than {_LOOSE:g} times the "
            f"width of its prior"
        )
    return None


def _possible(problem: Any, x: np.ndarray) -> np.ndarray:
    """Return which vectors (N_draw, P) have finite metallicities within their bounds."""
    if isinstance(problem, FreeCoefficients):
        return np.ones(len(x), dtype=bool)
    return np.array([problem.is_possible(row) for row in x])


def _contradiction(found: Gaussian, point: np.ndarray) -> str | None:
    """Compare draws with the optimum."""
    problem = found.problem
    x = found.draw_all(_N_DRAWS, np.random.default_rng(0))
    possible = _possible(problem, x)
    if (~possible).mean() > _MOST_IMPOSSIBLE:
        return (
            f"{100 * (~possible).mean():.0f} % of its draws have metallicities that the model or "
            f"the templates cannot have"
        )
    x = x[possible]
    stars, best = expected_stars(problem, x), expected_stars(problem, point[None])[0]
    n_star = float(problem.data.observed.sum())
    if not abs(stars.mean() - best) < max(_STARS_OFF * np.sqrt(n_star), _FRACTION_OFF * n_star):
        return (
            f"its draws expect {stars.mean():.4g} stars on average where the optimum has {best:.4g}"
        )
    histories, optimum = _cumulative(problem, x), _cumulative(problem, point[None])[0]
    spread = _HISTORY_OFF * histories.std(axis=0) + _FRACTION_OFF
    if (np.abs(np.median(histories, axis=0) - optimum) > spread).any():
        return "its cumulative history is not that of the optimum"
    return None


def _cumulative(problem: Any, x: np.ndarray) -> np.ndarray:
    """Return the part of the mass that formed at each age or before (N_draw, N_age)."""
    mass = np.array([problem.coefficients(row).sum(axis=1) for row in x])
    older = np.cumsum(mass[:, ::-1], axis=1)[:, ::-1]
    return older / np.maximum(older[:, :1], 1e-300)
