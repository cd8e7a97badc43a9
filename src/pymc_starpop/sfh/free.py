"""Free coefficients: a mass for every age and metallicity, each at least 0.

The objective is convex, and at its optimum most coefficients are 0. So each step works only on
those that are not and on those that would gain most by becoming so. All templates together, with an
amplitude of their own, make the start; the amplitude falls to 0 as single templates take over.
Amplitudes of backgrounds are steps in their logarithm, in which their priors are Gaussian.
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
# What one step may take from the logarithm of the amplitude of a background.
_LARGEST_LOG_FALL = 3.0
# Beyond, counts overflow.
_LARGEST_LOG = 300.0


@dataclass(frozen=True, eq=False)
class FreeCoefficients:
    """A galaxy's data with free coefficients.

    The vector x is r_jk, ages one after another, and the amplitudes of backgrounds.
    """

    data: FitData
    t_max_gyr: float

    @property
    def coordinates(self) -> Coordinates:
        """Logarithms (P,)."""
        size = self.n_history + self.data.backgrounds.n
        return Coordinates(np.ones(size, dtype=bool), np.zeros(size))

    @property
    def n_history(self) -> int:
        """Number of elements of the vector before the amplitudes of backgrounds."""
        return self.data.totals.size

    @property
    def names(self) -> list[str]:
        """Names (P,) of the elements of the vector."""
        n_age, n_mh = self.data.shape
        names = [f"mass[{j}, {k}]" for j in range(n_age) for k in range(n_mh)]
        return names + [f"background_amplitude[{name}]" for name in self.data.backgrounds.names]

    def lower(self) -> np.ndarray:
        """Lower bounds (P,): 0."""
        return np.zeros(self.n_history + self.data.backgrounds.n)

    def coefficients(self, x: np.ndarray) -> np.ndarray:
        """Mass formed at each age and metallicity (N_age, N_mh), Msun."""
        return x[: self.n_history].reshape(self.data.shape)

    # Ages are not divided where each has coefficients of its own.
    part_coefficients = coefficients

    def stars_of_bins(self, x: np.ndarray) -> np.ndarray:
        """Return the stars (N_age,) that each age gives in the bins that count."""
        return np.sum(self.coefficients(x) * self.data.totals, axis=1)

    def amplitudes(self, x: np.ndarray) -> np.ndarray:
        """Return the amplitudes of backgrounds (K,), of a vector or along the last axis."""
        return x[..., self.n_history :]

    def values(self, x: np.ndarray) -> dict[str, Any]:
        """There are no further parameters."""
        return {}

    def evaluate(self, x: np.ndarray) -> "FreeState":
        """Return the objective at x."""
        others, amplitudes = self.data.backgrounds, self.amplitudes(x)
        background = self.data.background + amplitudes @ others.rows
        coefficients = np.ascontiguousarray(x[: self.n_history])
        expected = free_counts(self.data.rows, background, coefficients)
        total = float(coefficients @ self.data.totals.ravel() + amplitudes @ others.totals)
        value = self.data.negative_log_ratio(expected, total)
        return FreeState(self.data, value, expected)


@dataclass(eq=False)
class FreeState:
    """-ln PLR at one point, its gradient and its Hessian."""

    data: FitData
    value: float
    expected: np.ndarray

    def gradient(self) -> np.ndarray:
        """Gradient (P,)."""
        others, ratio = self.data.backgrounds, self.data.observed / self.expected
        of_masses = self.data.totals.ravel() - template_pull(self.data.rows, ratio)
        return np.concatenate([of_masses, others.totals - others.rows @ ratio])

    def hessian(self) -> np.ndarray:
        """Hessian (P, P), less curved where the model is far below the data."""
        weight = root_curvature(self.data.observed, self.expected)
        return _weighted_square(self._every_row() * weight)

    def exact_hessian(self) -> np.ndarray:
        """Hessian (P, P)."""
        return _weighted_square(self._every_row() * (np.sqrt(self.data.observed) / self.expected))

    def _every_row(self) -> np.ndarray:
        """Templates and backgrounds (P, N_row)."""
        others = self.data.backgrounds
        return self.data.rows if others.n == 0 else np.vstack([self.data.rows, others.rows])


@dataclass(frozen=True)
class FreeOptimum:
    """Coefficients and amplitudes (P,) of the maximum, and how they were found."""

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
    """Maximize the likelihood of free coefficients, times the prior of amplitudes.

    Parameters
    ----------
    problem : FreeCoefficients
    start : (N_age * N_mh,), optional
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
            return FreeOptimum(search.point(), iteration, True)
        if search.damping > 1e10:
            break
    return FreeOptimum(search.point(), iteration, False)


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
        self.logs = np.log(data.first_amplitudes())
        self.damping, self.growth = 1e-3, 2.0
        self.value, self.expected = self._evaluate(self.amounts, self.amplitude, self.logs)
        self._expand()

    def point(self) -> np.ndarray:
        """Coefficients, Msun, and amplitudes of backgrounds (P,)."""
        coefficients = self.amounts * self.unit + self.amplitude * self.common
        return np.concatenate([coefficients, np.exp(self.logs)])

    def _evaluate(
        self, amounts: np.ndarray, amplitude: float, logs: np.ndarray
    ) -> tuple[float, np.ndarray]:
        coefficients, others = amounts * self.unit, self.data.backgrounds
        if (np.abs(logs) > _LARGEST_LOG).any():
            return np.inf, self.expected
        background = self.data.background + np.exp(logs) @ others.rows
        expected = free_counts(self.data.rows, background, coefficients)
        expected += amplitude * self.common_row
        total = coefficients @ self.data.totals.ravel() + amplitude * self.common_total
        value = self.data.negative_log_ratio(expected, float(total + np.exp(logs) @ others.totals))
        of_prior = 0.5 * np.sum(((logs - np.log(others.median)) / others.sigma) ** 2)
        return value + _COST * amplitude + float(of_prior), expected

    def _expand(self) -> None:
        """Choose the templates to work on, with the gradient and the Hessian of these."""
        ratio = self.data.observed / self.expected
        slope = (self.data.totals.ravel() - template_pull(self.data.rows, ratio)) * self.unit
        used = np.flatnonzero(self.amounts > 0.0)
        gaining = np.flatnonzero((self.amounts == 0.0) & (slope < 0.0))
        joining = gaining[np.argsort(slope[gaining])[:_N_JOIN]]
        self.chosen = np.concatenate([used, joining])
        weight = root_curvature(self.data.observed, self.expected)
        others, amplitudes, n = self.data.backgrounds, np.exp(self.logs), self.chosen.size
        jacobian = np.empty((n + 1 + others.n, weight.size))
        np.multiply(self.data.rows[self.chosen], weight, out=jacobian[:n])
        jacobian[:n] *= self.unit[self.chosen, None]
        jacobian[n] = self.common_row * weight
        jacobian[n + 1 :] = others.rows * weight * amplitudes[:, None]
        of_common = self.common_total - self.common_row @ ratio + _COST
        of_others = amplitudes * (others.totals - others.rows @ ratio)
        of_priors = (self.logs - np.log(others.median)) / others.sigma**2
        self.gradient = np.concatenate([slope[self.chosen], [of_common], of_others + of_priors])
        bend = np.zeros(self.gradient.size)
        bend[n + 1 :] = np.maximum(of_others, 0.0) + others.sigma**-2.0
        self.hessian = _weighted_square(jacobian) + np.diag(bend)

    def step(self) -> float:
        """Take a step where it gains, and return what it promised, in nats."""
        fall = 1.0 if self.amplitude < _SPENT else _LARGEST_FALL
        self.hindered = fall < 1.0
        n = self.chosen.size
        falls = np.full(self.logs.size, _LARGEST_LOG_FALL)
        lowest = -np.concatenate([self.amounts[self.chosen], [fall * self.amplitude], falls])
        diagonal = np.maximum(np.diag(self.hessian), 1e-300)
        damped = self.hessian + np.diag((self.damping + _FLOOR) * diagonal)
        bound = (lowest == 0.0) & (self.gradient > 0.0)
        step = solve_box_quadratic(damped, self.gradient, lowest, bound)
        promised = float(-(self.gradient @ step + 0.5 * step @ self.hessian @ step))
        amounts, amplitude = self.amounts.copy(), max(0.0, self.amplitude + step[n])
        amounts[self.chosen] = np.maximum(amounts[self.chosen] + step[:n], 0.0)
        logs = self.logs + step[n + 1 :]
        value, expected = self._evaluate(amounts, amplitude, logs)
        gained = self.value - value
        if np.isfinite(value) and gained > 0.0:
            quality = min(gained / max(promised, 1e-300), 1.5)
            self.damping = max(1e-12, self.damping * max(0.1, 1 - (2 * quality - 1) ** 3))
            self.growth = 2.0
            self.amounts, self.amplitude, self.logs = amounts, amplitude, logs
            self.value, self.expected = value, expected
            self._expand()
        elif promised >= 1e-9:
            self.damping = max(self.damping, 1e-6) * self.growth
            self.growth *= 2.0
        return promised
