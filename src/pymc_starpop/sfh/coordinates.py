"""Coordinates without bounds for parameters that must be positive.

Masses and scales go by their logarithm, u = ln x. Where data fix sums of several positive
parameters better than each of them, logarithms bend the posterior; such parameters take
x = soft ln(1 + exp(u / soft)), which is u itself where x is well above `soft`.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

__all__ = ["Coordinates"]

# ln of the largest and smallest mass that is tried: beyond, the counts overflow.
_WIDEST = 300.0


@dataclass(frozen=True, eq=False)
class Coordinates:
    """The map from u to x, element by element.

    Attributes
    ----------
    positive : (P,) bool
        Which elements must be positive; the others are u themselves.
    soft : (P,)
        Where the softened map is taken, the x at which it turns over; else 0.
    """

    positive: np.ndarray
    soft: np.ndarray

    @property
    def logarithmic(self) -> np.ndarray:
        """Which elements go by their logarithm (P,)."""
        return self.positive & (self.soft == 0.0)

    @property
    def _softened(self) -> np.ndarray:
        return self.positive & (self.soft > 0.0)

    def _scale(self) -> np.ndarray:
        return np.where(self._softened, self.soft, 1.0)

    def inside(self, u: np.ndarray) -> bool:
        """Whether no logarithm is beyond what can be computed."""
        return bool((np.abs(u[self.logarithmic]) <= _WIDEST).all())

    def natural(self, u: np.ndarray) -> np.ndarray:
        """Return x, along the last axis."""
        exponential = np.exp(np.where(self.logarithmic, u, 0.0))
        softened = self._scale() * np.logaddexp(0.0, u / self._scale())
        return np.where(self.logarithmic, exponential, np.where(self._softened, softened, u))

    def unbounded(self, x: np.ndarray) -> np.ndarray:
        """Return u of x (P,), which must be positive where it has to be."""
        logarithm = np.log(np.where(self.logarithmic, x, 1.0))
        v = np.where(self._softened, x, 1.0) / self._scale()
        softened = self._scale() * (v + np.log(-np.expm1(-v)))
        return np.where(self.logarithmic, logarithm, np.where(self._softened, softened, x))

    def derivatives(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return dx/du and d2x/du2 (P,)."""
        exponential = np.exp(np.where(self.logarithmic, u, 0.0))
        part = special.expit(u / self._scale())
        first = np.where(self.logarithmic, exponential, np.where(self._softened, part, 1.0))
        bent = part * (1.0 - part) / self._scale()
        second = np.where(self.logarithmic, exponential, np.where(self._softened, bent, 0.0))
        return first, second

    def log_volume(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ln dx/du, and its first and second derivative (P,)."""
        scale = self._scale()
        part = special.expit(u / scale)
        value = np.where(
            self.logarithmic, u, np.where(self._softened, special.log_expit(u / scale), 0.0)
        )
        first = np.where(self.logarithmic, 1.0, np.where(self._softened, (1.0 - part) / scale, 0.0))
        second = np.where(self._softened, -part * (1.0 - part) / scale**2, 0.0)
        return value, first, second
