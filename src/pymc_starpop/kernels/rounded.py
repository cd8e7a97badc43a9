"""Median and scatter of normal numbers of which only the interval is known.

A number that was rounded to a step lies within half a step of what is written. For a normal
distribution of mean a and standard deviation s, the part of an interval that lies below a, or
within s / 1.4826 of it, follows from the distribution function. a and s are such that these parts,
averaged over all intervals, are one half: the median and the median absolute deviation, as they
would be without rounding. The roots are found by false position (Illinois variant).
"""

import math

import numpy as np
from numba import njit

from pymc_starpop.kernels.interpolation import NUMBA_OPTIONS

__all__ = ["normal_center", "normal_scatter"]

# Phi^-1(3/4): the median absolute deviation of a standard normal distribution.
_MAD = 0.6744897501960817
_ROOT_HALF = math.sqrt(0.5)
# An interval that begins this many standard deviations out lies at its nearer end.
_FAR = 8.0
_MOST_STEPS = 60
_ENOUGH = 1e-7  # of the width of the first interval of the root


@njit(**NUMBA_OPTIONS)
def _cdf(x):
    return 0.5 * math.erfc(-x * _ROOT_HALF)


@njit(**NUMBA_OPTIONS)
def _share(low, high, first, last):
    """Part of the standard normal distribution from `low` to `high` that is in first to last."""
    if low > 0.0:  # on the side of small probabilities, where differences keep their digits
        low, high, first, last = -high, -low, -last, -first
    if high < -_FAR:
        return 1.0 if first <= high <= last else 0.0
    if low >= last or high <= first:
        return 0.0
    if low >= first and high <= last:
        return 1.0
    at_low, at_high = _cdf(low), _cdf(high)
    top = at_high if high <= last else _cdf(last)
    bottom = at_low if low >= first else _cdf(first)
    return (top - bottom) / (at_high - at_low)


@njit(**NUMBA_OPTIONS)
def _excess(values, at, sigma, step, below):
    """Mean share of the intervals below `at`, or within its median deviation, less one half."""
    total = 0.0
    for i in range(values.size):
        low = (values[i] - at - 0.5 * step) / sigma
        high = (values[i] - at + 0.5 * step) / sigma
        total += _share(low, high, -math.inf, 0.0) if below else _share(low, high, -_MAD, _MAD)
    return total / values.size - 0.5


@njit(**NUMBA_OPTIONS)
def _root(values, low, high, at, sigma, step, below):
    """Root in `at` (below) or in `sigma`, which the excess rises with, between two ends."""
    enough = _ENOUGH * (high - low)
    f_low = _excess(values, low if below else at, sigma if below else low, step, below)
    f_high = _excess(values, high if below else at, sigma if below else high, step, below)
    x, last = 0.5 * (low + high), 0
    for _ in range(_MOST_STEPS):
        width = f_high - f_low
        share = -f_low / width if width > 0.0 else 0.5
        x = low + min(max(share, 0.01), 0.99) * (high - low)
        f = _excess(values, x if below else at, sigma if below else x, step, below)
        if f < 0.0:
            low, f_low = x, f
            f_high = 0.5 * f_high if last < 0 else f_high
            last = -1
        else:
            high, f_high = x, f
            f_low = 0.5 * f_low if last > 0 else f_low
            last = 1
        if high - low < enough or f == 0.0:
            break
    return x


@njit(**NUMBA_OPTIONS)
def normal_center(values, start, sigma, step):
    """Median of rows of rounded numbers.

    Parameters
    ----------
    values : ndarray (K, N)
        Numbers, mag.
    start : ndarray (K,)
        A median within one step of the result.
    sigma : ndarray (K,)
        Standard deviations, positive.
    step : float
        What the numbers were rounded to.

    Returns
    -------
    ndarray (K,)
    """
    result = np.empty(values.shape[0])
    for k in range(values.shape[0]):
        low, high = start[k] - step, start[k] + step
        result[k] = _root(values[k], low, high, 0.0, sigma[k], step, True)
    return result


@njit(**NUMBA_OPTIONS)
def normal_scatter(residuals, top, step):
    """Standard deviation of rows of rounded numbers about 0, from their median absolute value.

    Parameters
    ----------
    residuals : ndarray (K, N)
        Numbers less their median, mag.
    top : ndarray (K,)
        Above the result.
    step : float
        What the numbers were rounded to.

    Returns
    -------
    ndarray (K,)
        0 where all intervals hold 0 and no scatter is seen.
    """
    result = np.empty(residuals.shape[0])
    for k in range(residuals.shape[0]):
        least = 1e-6 * step
        sigma = _root(residuals[k], least, top[k], 0.0, 1.0, step, False)
        result[k] = sigma if sigma > 2e-2 * step else 0.0
    return result
