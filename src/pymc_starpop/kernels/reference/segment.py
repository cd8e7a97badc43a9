"""The integral of a Gaussian along a segment, slow and obvious; the twin of `segment`."""

import math

import numpy as np
from scipy import special

__all__ = ["log_segment_integral"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)
_NODES, _WEIGHTS = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS


def log_segment_integral(a, b, c, tilt):
    """Log of int_0^1 (1 + tilt (t - 1/2)) exp(-(a t^2 - 2 b t + c) / 2) dt, elementwise."""
    short = a + np.abs(b) < 20.0
    # Short segments by quadrature; the others see a harmless a = 1 there.
    t = _NODES
    g = np.exp(-0.5 * (a[..., None] * t * t - 2.0 * b[..., None] * t) * short[..., None])
    by_quadrature = -0.5 * c + np.log((_WEIGHTS * (1.0 + tilt[..., None] * (t - 0.5)) * g).sum(-1))
    a_safe = np.where(short | (a <= 0.0), 1.0, a)
    peak = b / a_safe
    low, high = -np.sqrt(a_safe) * peak, np.sqrt(a_safe) * (1.0 - peak)
    flip = low > 0.0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    # From the end that is nearer to the peak: squares of high and low would lose their digits.
    outside = high < 0.0
    at_end = np.where(flip, 0.0, b - 0.5 * a_safe)
    tails = [special.erfcx(np.where(outside, -x, 1.0) / math.sqrt(2.0)) for x in (high, low)]
    ratio = tails[1] / tails[0] * np.exp(np.minimum(0.5 * (low - high) * (-low - high), 0.0))
    with np.errstate(divide="ignore"):
        log_outside = at_end + np.log(0.5 * tails[0] * (1.0 - ratio))
        log_inside = 0.5 * b * peak + np.log(special.ndtr(high) - special.ndtr(low))
    log_i = np.where(outside, log_outside, log_inside)
    log_i += -0.5 * c + 0.5 * np.log(2.0 * np.pi / a_safe)
    at_start, at_end = np.exp(-0.5 * c - log_i), np.exp(-0.5 * (c - 2.0 * b + a) - log_i)
    mean_t = np.clip(peak + (at_start - at_end) / a_safe, 0.0, 1.0)
    # Far from the peak the difference loses its digits; there, from the end that is nearer.
    beyond = -np.minimum(high, -1e3)
    from_end = (1.0 - 2.0 / beyond**2) / (beyond * np.sqrt(a_safe))
    far = np.where(flip, from_end, 1.0 - from_end)
    mean_t = np.where(high < -1e3, far, mean_t)
    with np.errstate(divide="ignore"):
        by_formula = log_i + np.log1p(tilt * (mean_t - 0.5))
    return np.where(short, by_quadrature, by_formula)
