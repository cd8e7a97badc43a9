"""Free coefficients: a mass for every age and metallicity, each at least 0.

The objective is convex, and at its optimum most coefficients are 0. So each step works only on
those that are not and on those that would gain most by becoming so. All templates together, with an
amplitude of their own, make the start; the amplitude falls to 0 as single templates take over.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg.blas import dsyrk

from pymc_starpop.kernels.plr_fisher import free_counts, template_pull
from pymc_starpop.sfh.box_newton import solve_box_quadratic
from pymc_starpop.sfh.coordinates import Coordinates
from pymc_starpop.sfh.fit_data import FitData, root_curvature

__all__ = ["FreeCoefficients", "FreeOptimum", "fit_free"]

# Templates that may join at each step.
_N_JOIN = 60
# Part of the common amplitude that one step may take away, until it is below _SPENT.
_LARGEST_FALL, _SPENT = 0.95, 1e-3
# Cost of the common amplitude, in nats: where single templates do as well, they do it.
_COST = 0.01
_FLOOR = 1e-12


@dataclass(frozen=True, eq=False)
class FreeCoefficients:
    """A galaxy's data with free coefficients: the vector x is r_jk, ages one after another."""

    data: FitData
    t_max_gyr: float

    @property
    def coordinates(self) -> Coordinates:
        """Logarithms (P,)."""
        size = self.data.totals.size
        return Coordinates(np.ones(size, dtype=bool), np.zeros(size))

    @property
    def names(self) -> list[str]:
        """Names (P,) of the elements of the vector."""
        n_age, n_mh = self.data.shape
        return [f"mass[{j}, {k}]" for j in range(n_age) for k in range(n_mh)]

    def coefficients(self, x: np.ndarray) -> np.ndarray:
        """Mass formed at each age and metallicity (N_age, N_mh), Msun."""
        return x.reshape(self.data.shape)

    def values(self, x: np.ndarray) -> dict[str, Any]:
        """There are no further parameters."""
        return {}

    def evaluate(self, x: np.ndarray) -> "FreeState":
        """Return the objective at x."""
        expected = free_counts(self.data.rows, self.data.background, x)
        value = self.data.negative_log_ratio(expected, float(x @ self.data.totals.ravel()))
        return FreeState(self.data, value, expected)


@dataclass(eq=False)
class FreeState:
    """-ln PLR at one point, its gradient and its Hessian."""

    data: FitData
    value: float
    expected: np.ndarray

    def gradient(self) -> np.ndarray:
        """Gradient (P,)."""
        return self.data.totals.ravel() - template_pull(
            self.data.rows, self.data.observed / self.expected
        )

    def hessian(self) -> np.ndarray:
        """Hessian (P, P), less curved where the model is far below the data."""
        weight = root_curvature(self.data.observed, self.expected)
        return _weighted_square(self.data.rows * weight)

    def exact_hessian(self) -> np.ndarray:
        """Hessian (P, P)."""
        return _weighted_square(self.data.rows * (np.sqrt(self.data.observed) / self.expected))


@dataclass(frozen=True)
class FreeOptimum:
    """Coefficients (P,) of the maximum likelihood, and how they were found."""

    point: np.ndarray
    n_iterations: int
    converged: bool


def _weighted_square(jacobian: np.ndarray) -> np.ndarray:
    """Return J J' of a C-ordered array (P, N)."""
    upper = dsyrk(1.0, np.asarray(jacobian, dtype=float).T, trans=1)
    return np.triu(upper) + np.triu(upper, 1).T


def fit_free(
    problem: FreeCoefficients,
    start: np.ndarray | None = None,
    tolerance: float = 1e-6,
    max_iterations: int = 500,
) -> FreeOptimum:
    """Maximize the likelihood of free coefficients.

    Parameters
    ----------
    problem : FreeCoefficients
    start : (P,), optional
        Coefficients to start from, Msun; all templates alike by default.
    tolerance : float
        Ends when a step promises to gain less, in nats.
    max_iterations : int
        Largest number of steps to try.
    """
    search = _Search(problem.data, start)
    for iteration in range(1, max_iterations + 1):
        promised = search.step()
        if search.damping <= 1e-2 and promised < tolerance and not search.hindered:
            return FreeOptimum(search.coefficients(), iteration, True)
        if search.damping > 1e10:
            break
    return FreeOptimum(search.coefficients(), iteration, False)


class _Search:
    """The state of the iteration: coefficients in units in which each template gives all stars."""

    def __init__(self, data: FitData, start: np.ndarray | None):
        self.data = data
        totals = data.totals.ravel()
        self.unit = np.zeros_like(totals)
        np.divide(data.observed.sum(), totals, out=self.unit, where=totals > 0.0)
        common = self.unit / totals.size if start is None else start
        self.common = np.asarray(common, dtype=float)
        self.common_row = free_counts(data.rows, np.zeros_like(data.background), self.common)
        self.common_total = float(self.common @ totals)
        self.amounts, self.amplitude = np.zeros_like(totals), 1.0
        self.damping, self.growth = 1e-3, 2.0
        self.value, self.expected = self._evaluate(self.amounts, self.amplitude)
        self._expand()

    def coefficients(self) -> np.ndarray:
        """Coefficients (P,), Msun."""
        return self.amounts * self.unit + self.amplitude * self.common

    def _evaluate(self, amounts: np.ndarray, amplitude: float) -> tuple[float, np.ndarray]:
        coefficients = amounts * self.unit
        expected = free_counts(self.data.rows, self.data.background, coefficients)
        expected += amplitude * self.common_row
        total = coefficients @ self.data.totals.ravel() + amplitude * self.common_total
        value = self.data.negative_log_ratio(expected, float(total))
        return value + _COST * amplitude, expected

    def _expand(self) -> None:
        """Choose the templates to work on, with the gradient and the Hessian of these."""
        ratio = self.data.observed / self.expected
        slope = (self.data.totals.ravel() - template_pull(self.data.rows, ratio)) * self.unit
        used = np.flatnonzero(self.amounts > 0.0)
        gaining = np.flatnonzero((self.amounts == 0.0) & (slope < 0.0))
        joining = gaining[np.argsort(slope[gaining])[:_N_JOIN]]
        self.chosen = np.concatenate([used, joining])
        weight = root_curvature(self.data.observed, self.expected)
        jacobian = np.empty((self.chosen.size + 1, weight.size))
        np.multiply(self.data.rows[self.chosen], weight, out=jacobian[:-1])
        jacobian[:-1] *= self.unit[self.chosen, None]
        jacobian[-1] = self.common_row * weight
        self.hessian = _weighted_square(jacobian)
        of_common = self.common_total - self.common_row @ ratio + _COST
        self.gradient = np.append(slope[self.chosen], of_common)

    def step(self) -> float:
        """Take a step where it gains, and return what it promised, in nats."""
        fall = 1.0 if self.amplitude < _SPENT else _LARGEST_FALL
        self.hindered = fall < 1.0
        lowest = -np.append(self.amounts[self.chosen], fall * self.amplitude)
        diagonal = np.maximum(np.diag(self.hessian), 1e-300)
        damped = self.hessian + np.diag((self.damping + _FLOOR) * diagonal)
        bound = (lowest == 0.0) & (self.gradient > 0.0)
        step = solve_box_quadratic(damped, self.gradient, lowest, bound)
        promised = float(-(self.gradient @ step + 0.5 * step @ self.hessian @ step))
        amounts, amplitude = self.amounts.copy(), max(0.0, self.amplitude + step[-1])
        amounts[self.chosen] = np.maximum(amounts[self.chosen] + step[:-1], 0.0)
        value, expected = self._evaluate(amounts, amplitude)
        gained = self.value - value
        if np.isfinite(value) and gained > 0.0:
            quality = min(gained / max(promised, 1e-300), 1.5)
            self.damping = max(1e-12, self.damping * max(0.1, 1 - (2 * quality - 1) ** 3))
            self.growth = 2.0
            self.amounts, self.amplitude = amounts, amplitude
            self.value, self.expected = value, expected
            self._expand()
        elif promised >= 1e-9:
            self.damping = max(self.damping, 1e-6) * self.growth
            self.growth *= 2.0
        return promised
