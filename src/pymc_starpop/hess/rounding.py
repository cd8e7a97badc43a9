"""Median and scatter of numbers that were rounded to steps, such as 0.01 mag.

A rounded number stands for an interval as wide as the step. Where the step is narrow against the
scatter, a number is spread evenly over its interval; where it is wide, like the normal
distribution that is sought, so that the answer is right for it at any step.
"""

from collections.abc import Callable

import numpy as np

from pymc_starpop.kernels.rounded import normal_center, normal_scatter

__all__ = ["MAD_TO_SIGMA", "center", "rounding_step", "scatter"]

MAD_TO_SIGMA = 1.4826  # 1 / Phi^-1(3/4): sigma of a Gaussian from its median absolute deviation

# What magnitudes are rounded to, mag. A step that is finer hides in any scatter.
_STEPS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
# How far from a multiple of the step, in steps: what single precision leaves of 30 mag at 0.001.
_OFF_STEP = 0.01
_MOST_OFF = 1e-3  # part of the numbers that may be off the steps
_WIDE = 1.5  # a step is wide below this many of it to a standard deviation
_NARROW = 40.0  # and does not matter above this many
# With a smaller scatter than this many steps the place within an interval cannot be known.
_LEAST = 0.3
_N_STEP = 9


def rounding_step(values: np.ndarray) -> float:
    """Return the step (mag) to which numbers were rounded; 0 for none or one below 0.001.

    Parameters
    ----------
    values : ndarray (N,)
        Finite numbers.
    """
    if not values.size:
        return 0.0
    for step in _STEPS:
        multiple = values / step
        if (np.abs(multiple - np.round(multiple)) > _OFF_STEP).mean() <= _MOST_OFF:
            return step
    return 0.0


def center(values: np.ndarray, step: float = 0.0) -> np.ndarray:
    """Return the medians (K,) of rows of numbers (K, N) that were rounded to a step."""
    middle = np.median(values, axis=1)
    if step == 0.0:
        return middle
    sigma = MAD_TO_SIGMA * np.median(np.abs(values - middle[:, None]), axis=1)
    rows = np.flatnonzero(sigma < _NARROW * step)
    middle[rows] = _even_center(values[rows], middle[rows], step)
    rows = np.flatnonzero(sigma < _WIDE * step)
    some, at = np.ascontiguousarray(values[rows]), middle[rows]
    for _ in range(2):
        spread = scatter(some - at[:, None], step)
        at = normal_center(some, at, np.maximum(spread, _LEAST * step), step)
    middle[rows] = at
    return middle


def scatter(residuals: np.ndarray, step: float = 0.0) -> np.ndarray:
    """Return 1.4826 times the median absolute value (K,) of rows of numbers (K, N).

    Parameters
    ----------
    residuals : ndarray (K, N)
        Numbers less their median, which need not be a multiple of the step.
    step : float
        What the numbers were rounded to, mag; the variance of rounding is not in the result.
    """
    sigma = MAD_TO_SIGMA * np.median(np.abs(residuals), axis=1)
    if step == 0.0:
        return sigma
    rows = np.flatnonzero((sigma < _NARROW * step) & (sigma >= _WIDE * step))
    # Rounding, and spreading over the step, add the variance of a uniform distribution each.
    even = MAD_TO_SIGMA * _even_deviation(residuals[rows], step)
    sigma[rows] = np.sqrt(np.maximum(even**2 - step**2 / 6.0, 0.0))
    rows = np.flatnonzero(sigma < _WIDE * step)
    top = sigma[rows] + MAD_TO_SIGMA * step
    sigma[rows] = normal_scatter(np.ascontiguousarray(residuals[rows]), top, step)
    return sigma


def _root(
    low: np.ndarray, high: np.ndarray, excess: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return where a rising function is 0 between ends (K,): false position, Illinois variant."""
    f_low, f_high = excess(low), excess(high)
    at = 0.5 * (low + high)
    last = np.zeros(low.shape)
    for _ in range(_N_STEP):
        width = f_high - f_low
        share = np.where(width > 0.0, -f_low / np.where(width > 0.0, width, 1.0), 0.5)
        # Never so near to an end that the other one stays.
        at = low + np.clip(share, 0.01, 0.99) * (high - low)
        f_at = excess(at)
        below = f_at < 0.0
        low, f_low = np.where(below, at, low), np.where(below, f_at, f_low)
        high, f_high = np.where(below, high, at), np.where(below, f_high, f_at)
        side = np.where(below, -1.0, 1.0)
        f_high = np.where(below & (last < 0.0), 0.5 * f_high, f_high)
        f_low = np.where(~below & (last > 0.0), 0.5 * f_low, f_low)
        last = side
    return at


def _even_center(values: np.ndarray, start: np.ndarray, step: float) -> np.ndarray:
    def excess(at: np.ndarray) -> np.ndarray:
        share = np.clip((at[:, None] - values) / step + 0.5, 0.0, 1.0)
        return share.mean(axis=1) - 0.5

    return _root(start - step, start + step, excess)


def _even_deviation(residuals: np.ndarray, step: float) -> np.ndarray:
    size = np.abs(residuals)

    def excess(limit: np.ndarray) -> np.ndarray:
        top = np.minimum(size + 0.5 * step, limit[:, None])
        bottom = np.maximum(size - 0.5 * step, -limit[:, None])
        return np.clip(top - bottom, 0.0, None).mean(axis=1) / step - 0.5

    start = np.median(size, axis=1)
    return _root(np.zeros(start.shape), start + step, excess)
