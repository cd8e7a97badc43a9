"""What keeps the mean metallicities of a fit near those of the templates.

Beyond the templates the shares no longer change: the likelihood is flat there, and a search runs on
without end. So stars cost something where the mean of their age lies nearly two
dispersions outside the grid: with e the distance beyond 1.8, in dispersions,

    penalty = stiffness sum_j W(N_j) e_j^3,    W(N) = N^2 / (N + 1),

with N_j = R_j T_j the stars of age j, and the same for a dispersion wider than the grid. It is 0
inside, so that an optimum there stays where it is. An age without stars costs nothing, and W has no
slope at N = 0, so that it may gain some where the mean itself depends on the masses.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["N_DISPERSIONS", "BoundTerm", "GridBound"]

#: Dispersions by which the mean [M/H] of an age with stars may lie outside the templates.
N_DISPERSIONS = 2.0
# The penalty begins a little inside and rises with the third power, so that its curvature sets in
# smoothly for Newton steps, and its slope holds the mean within the bound.
_ONSET = N_DISPERSIONS - 0.2
# Nats a star at a distance of one dispersion. A star gains at most 1 nat a dispersion, which the
# penalty balances at 0.17 dispersions beyond its onset, or less than a tenth of that for most.
_STIFFNESS = 200.0
# Part by which a dispersion may be wider than the grid.
_TOO_WIDE = 0.2


@dataclass(frozen=True, eq=False)
class BoundTerm:
    """The penalty at one point y = (masses, means, dispersion).

    Attributes
    ----------
    value : float, nats
    gradient : (2 N_age + 1,)
    rising : (2 N_age + 1, 2 N_age + 1) the part of the Hessian that is never negative
    terms : what the rest of the Hessian is made of
    """

    value: float
    gradient: np.ndarray
    rising: np.ndarray
    terms: Any

    def exact(self) -> np.ndarray:
        """Return the whole Hessian (2 N_age + 1, 2 N_age + 1)."""
        first, stiff, e, of_mean, of_sigma, sigma = self.terms
        n = e.size
        index, out = np.arange(n), np.zeros_like(self.rising)
        out[index, n + index] = 3.0 * first * e**2 * of_mean
        out[index, -1] = 3.0 * first * e**2 * of_sigma
        # The second derivatives of e.
        bent = 3.0 * stiff * e**2 / sigma
        out[n + index, -1] = -bent * of_mean
        out += out.T
        out[-1, -1] -= 2.0 * np.sum(bent * of_sigma)
        return self.rising + out


@dataclass(frozen=True, eq=False)
class GridBound:
    """The bound of one set of templates.

    Attributes
    ----------
    low, high : float
        Lowest and highest [M/H] of the templates, dex.
    stars_per_mass : (N_age,)
        Stars per Msun, T, averaged over the metallicities.
    n_star : float
        Stars observed, which a dispersion that is too wide costs.
    """

    low: float
    high: float
    stars_per_mass: np.ndarray
    n_star: float

    def beyond(self, mean: np.ndarray, sigma: float) -> np.ndarray:
        """Return e (N_age,): dispersions beyond the onset, 0 inside."""
        return self._beyond(mean, sigma)[0]

    def _beyond(self, mean: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
        """Return e, and on which side: 1 above, -1 below, 0 inside."""
        above, below = (mean - self.high) / sigma - _ONSET, (self.low - mean) / sigma - _ONSET
        side = np.where(above > 0.0, 1.0, np.where(below > 0.0, -1.0, 0.0))
        return np.maximum(np.maximum(above, below), 0.0), side

    def is_outside(self, mean: np.ndarray, sigma: float) -> np.ndarray:
        """Return which means (N_age,) are beyond the bound itself."""
        return self.beyond(mean, sigma) > N_DISPERSIONS - _ONSET

    def too_wide(self, sigma: float) -> float:
        """Return by which part the dispersion is wider than the grid, 0 inside."""
        return max(0.0, sigma / (self.high - self.low) - 1.0)

    def holds(self, mass: np.ndarray, mean: np.ndarray, sigma: float, fitted: bool) -> bool:
        """Whether every age with more than one star is within the bound; see `evaluate`."""
        many = mass * self.stars_per_mass > 1.0
        return not self.is_outside(mean, sigma)[many].any() and not (
            fitted and self.too_wide(sigma) > _TOO_WIDE
        )

    def evaluate(
        self, mass: np.ndarray, mean: np.ndarray, sigma: float, fitted: bool
    ) -> BoundTerm | None:
        """Return the penalty, or None where there is none.

        Parameters
        ----------
        mass, mean : (N_age,)
            Mass formed, Msun, and mean [M/H], dex.
        sigma : float
            Dispersion, dex.
        fitted : bool
            Whether it is a parameter, and must be no wider than the grid.
        """
        e, side = self._beyond(mean, sigma)
        wide = self.too_wide(sigma) if fitted else 0.0
        if not (e.any() or wide):
            return None
        n, size = mass.size, 2 * mass.size + 1
        index = np.arange(n)
        stars = mass * self.stars_per_mass
        # The stiffness of each age, and its derivatives with respect to the mass.
        stiff = _STIFFNESS * stars**2 / (stars + 1.0)
        first = _STIFFNESS * stars * (stars + 2.0) / (stars + 1.0) ** 2 * self.stars_per_mass
        second = 2.0 * _STIFFNESS / (stars + 1.0) ** 3 * self.stars_per_mass**2
        # e depends on the mean by 1/sigma, and on the dispersion by -(e + onset)/sigma.
        of_mean, of_sigma = side / sigma, np.where(e > 0.0, -(e + _ONSET) / sigma, 0.0)
        gradient = np.zeros(size)
        gradient[:n] = first * e**3
        gradient[n:-1] = 3.0 * stiff * e**2 * of_mean
        gradient[-1] = np.sum(3.0 * stiff * e**2 * of_sigma)
        rising = np.zeros((size, size))
        rising[index, index] = second * e**3
        rising[n + index, n + index] = 6.0 * stiff * e * of_mean**2
        rising[n + index, -1] = rising[-1, n + index] = 6.0 * stiff * e * of_mean * of_sigma
        rising[-1, -1] = np.sum(6.0 * stiff * e * of_sigma**2)
        value = float(np.sum(stiff * e**3))
        if wide:
            cost, span = _STIFFNESS * self.n_star, self.high - self.low
            value += cost * wide**3
            gradient[-1] += 3.0 * cost * wide**2 / span
            rising[-1, -1] += 6.0 * cost * wide / span**2
        terms = (first, stiff, e, of_mean, of_sigma, sigma)
        return BoundTerm(value, gradient, rising, terms)
