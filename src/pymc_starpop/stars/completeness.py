"""Completeness as a function of magnitude: checked values, a smooth table, and its integral."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator

__all__ = ["CompletenessIntegral", "CompletenessTable", "evaluate_completeness", "tabulate"]

_STEP_OF_INTEGRAL = 0.005  # mag; of a logistic function of width 0.2 mag the error is below 1e-8


def evaluate_completeness(completeness: Callable[[Any], Any], mag: np.ndarray) -> np.ndarray:
    """Return the completeness at magnitudes of any shape, checked to be finite and in 0 to 1."""
    mag = np.asarray(mag, dtype=float)
    values = np.asarray(completeness(mag), dtype=float)
    if values.shape != mag.shape:
        raise ValueError(
            f"completeness must return one value for each magnitude, got shape {values.shape} for "
            f"{mag.shape}; write it with NumPy, or wrap it in numpy.vectorize."
        )
    bad = ~((values >= 0.0) & (values <= 1.0))
    if bad.any():
        raise ValueError(
            f"completeness must be finite and lie in 0 to 1, got {values[bad].flat[0]} at "
            f"{mag[bad].flat[0]:.3f} mag; it is the probability that a star of that true magnitude "
            f"is in the catalog, at every magnitude."
        )
    return values


@dataclass(frozen=True, eq=False)
class CompletenessTable:
    """Completeness at equal steps of magnitude, with slopes for a smooth cubic between them.

    Between the nodes k and k + 1, with t = (m - m_k) / step from 0 to 1,

        c = c_k (1 + 2t)(1 - t)^2 + c_(k+1) t^2 (3 - 2t)
            + step [s_k t (1 - t)^2 - s_(k+1) t^2 (1 - t)]

    The slopes s are those of Fritsch & Carlson (1980, SIAM J. Numer. Anal. 17, 238), which keep
    the cubic between its two nodes and so within 0 to 1; at both ends of the table they are 0, and
    beyond it the completeness is constant. The function and its slope are continuous everywhere.

    Attributes
    ----------
    start, step : float
        First node and distance of the nodes, mag.
    value : (K,) completeness
    slope : (K,) its derivative, 1/mag
    """

    start: float
    step: float
    value: np.ndarray
    slope: np.ndarray

    @property
    def last(self) -> float:
        """Place of the last node, counted from 0."""
        return len(self.value) - 1.0

    def __call__(self, mag: Any) -> np.ndarray:
        """Interpolate the completeness at magnitudes of any shape."""
        x = (np.asarray(mag, dtype=float) - self.start) / self.step
        x = np.clip(x, 0.0, self.last)
        k = np.minimum(x.astype(int), len(self.value) - 2)
        t = x - k
        u = 1.0 - t
        left, right = self.value[k], self.value[k + 1]
        slopes = self.slope[k] * t * u**2 - self.slope[k + 1] * t**2 * u
        return left * (1.0 + 2.0 * t) * u**2 + right * t**2 * (3.0 - 2.0 * t) + self.step * slopes


def tabulate(
    completeness: Callable[[Any], Any], brightest: float, faintest: float, step: float
) -> CompletenessTable:
    """Tabulate a completeness function from the brightest to the faintest magnitude."""
    if not (np.isfinite(brightest) and np.isfinite(faintest) and brightest < faintest):
        raise ValueError(
            f"brightest and faintest must be finite and ascend (mag), got {brightest} and "
            f"{faintest}; they are the ends of the table."
        )
    if not (np.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite (mag), got {step}; 0.01 is usual.")
    n = max(int(np.ceil((faintest - brightest) / step)), 2)
    mag = np.linspace(brightest, faintest, n + 1)
    value = evaluate_completeness(completeness, mag)
    slope = PchipInterpolator(mag, value)(mag, 1)
    slope[[0, -1]] = 0.0
    return CompletenessTable(float(brightest), (faintest - brightest) / n, value, slope)


class CompletenessIntegral:
    """The integral of a completeness function over a range of magnitude.

    Parameters
    ----------
    completeness : callable
        Completeness at magnitudes (n,).
    low, high : float
        Range, mag.
    """

    def __init__(self, completeness: Callable[[Any], Any], low: float, high: float):
        n = max(int(np.ceil((high - low) / _STEP_OF_INTEGRAL)), 2)
        self._mag = np.linspace(low, high, n + 1)
        values = evaluate_completeness(completeness, self._mag)
        self._total = PchipInterpolator(self._mag, values).antiderivative()

    def between(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return the integral from ``low`` to ``high``, mag."""
        return self._total(high) - self._total(low)

    def draw(self, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a magnitude between ``low`` and ``high`` with the completeness as its density."""
        first, last = self._total(low), self._total(high)
        wanted = first + rng.random(np.shape(first)) * (last - first)
        return np.clip(np.interp(wanted, self._total(self._mag), self._mag), low, high)
