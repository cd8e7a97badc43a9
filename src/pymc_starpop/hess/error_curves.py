"""Closed forms for the error and the completeness of photometry as functions of magnitude."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Curve", "ExponentialError", "LogisticCompleteness"]

Curve = Callable[..., Any] | float


@dataclass(frozen=True)
class ExponentialError:
    """Photometric error min(a^(b (m - c)) + d, cap) at magnitude m.

    Parameters
    ----------
    a : float
        Base, positive.
    b : float
        Growth with magnitude, 1/mag.
    c : float
        Magnitude at which the first term is 1 mag.
    d : float
        Floor, mag, not negative.
    cap : float
        Largest error, mag; none by default.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> sigma = psp.ExponentialError(1.03, 15, 36, 0.02, cap=0.4)
    >>> [round(float(s), 3) for s in sigma([20.0, 27.0, 40.0])]
    [0.021, 0.038, 0.4]
    """

    a: float
    b: float
    c: float
    d: float
    cap: float = math.inf

    def __post_init__(self) -> None:
        _check_finite(self, ("a", "b", "c", "d"))
        if self.a <= 0.0 or self.d < 0.0 or not self.cap > 0.0:
            raise ValueError(
                f"expected a > 0, d >= 0 and cap > 0 (mag), got a={self.a}, d={self.d}, "
                f"cap={self.cap}."
            )

    def __call__(self, mag: Any) -> np.ndarray:
        """Standard deviation at magnitudes of any shape, mag."""
        exponent = self.b * (np.asarray(mag, dtype=float) - self.c) * math.log(self.a)
        # e^700 is the largest power that fits; the cap comes long before.
        return np.minimum(np.exp(np.minimum(exponent, 700.0)) + self.d, self.cap)


@dataclass(frozen=True)
class LogisticCompleteness:
    """Completeness A / (1 + exp((m - m50) / rho)) at magnitude m.

    Parameters
    ----------
    A : float
        Completeness of bright stars, above 0 and at most 1.
    m50 : float
        Magnitude at which it has fallen to A/2.
    rho : float
        Width of the fall, mag, positive.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> float(psp.LogisticCompleteness(1.0, 28.5, 0.7)(28.5))
    0.5
    """

    A: float
    m50: float
    rho: float

    def __post_init__(self) -> None:
        _check_finite(self, ("A", "m50", "rho"))
        if not (0.0 < self.A <= 1.0 and self.rho > 0.0):
            raise ValueError(
                f"expected 0 < A <= 1 and rho > 0 (mag), got A={self.A}, rho={self.rho}."
            )

    def __call__(self, mag: Any) -> np.ndarray:
        """Probability of recovery at magnitudes of any shape."""
        x = (np.asarray(mag, dtype=float) - self.m50) / self.rho
        return self.A / (1.0 + np.exp(np.minimum(x, 700.0)))


def _check_finite(instance: Any, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(instance, name)
        if not (isinstance(value, int | float | np.number) and math.isfinite(value)):
            raise ValueError(f"{name} must be a finite number, got {value!r}.")
