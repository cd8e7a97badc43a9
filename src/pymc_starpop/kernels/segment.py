"""The integral of one Gaussian along one straight piece of the isochrone.

Along the segment from node a to node b the model track is y(t) = y_a + t d with d = y_b - y_a
and 0 <= t <= 1. With r = x - y_a and the inverse covariance P of the star, the Gaussian without
its norm is

    g(t) = exp(-(A t^2 - 2 B t + C) / 2),   A = d'Pd,  B = d'Pr,  C = r'Pr.

The mass function changes along the segment; its density relative to the mean is
1 + tilt (t - 1/2). What the likelihood and its gradient need are the moments

    I_k = int_0^1 t^k (1 + tilt (t - 1/2)) g(t) dt,  k = 0, 1, 2,
    T   = int_0^1 (t - 1/2) g(t) dt = dI_0 / dtilt.

The integral is taken where g is within exp(-CUT) of its largest value on the segment. A peak
that lies wholly inside has the closed form of the full Gaussian; everything else is Gauss-
Legendre quadrature over that window, which keeps its relative accuracy (1e-7) at any distance,
for the shortest segment and for the longest, where differences of error functions cancel.
"""

import math

import numba
import numpy as np

from pymc_starpop.kernels.fastmath import (
    FAST,
    GL16_NODES,
    GL16_WEIGHTS,
    exp_nonpositive,
)

#: The window ends where the integrand has fallen to exp(-CUT) = 1e-7 of its maximum, 5.7 standard
#: deviations on either side, where 16 points of Gauss-Legendre leave the same error.
CUT = 16.0


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def _quadrature(a, slope, peak, low, width, tilt):
    """Sum the four moments over a window by quadrature, relative to g at the peak."""
    i0 = 0.0
    i1 = 0.0
    i2 = 0.0
    dt = 0.0
    for k in range(16):
        t = low + width * GL16_NODES[k]
        u = t - peak
        g = GL16_WEIGHTS[k] * exp_nonpositive(-u * (0.5 * a * u + slope))
        centered = t - 0.5
        dt += centered * g
        tilted = g + g * tilt * centered
        i0 += tilted
        i1 += t * tilted
        i2 += t * t * tilted
    return i0 * width, i1 * width, i2 * width, dt * width


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def segment_moments(a, b, c, tilt):
    """Return (log g at its maximum on the segment, I_0, I_1, I_2, T), moments relative to it.

    Parameters
    ----------
    a, b, c : float
        A = d'Pd >= 0, B = d'Pr, C = r'Pr, dimensionless.
    tilt : float
        Relative slope of the mass density along the segment, between -2 and 2.
    """
    if b <= 0.0:
        peak = 0.0
    elif b >= a:
        peak = 1.0
    else:
        peak = b / a
    log_peak = -0.5 * max(c - peak * (2.0 * b - a * peak), 0.0)
    slope = a * peak - b
    if 0.0 < peak < 1.0:
        slope = 0.0
    reach = 2.0 * CUT / (abs(slope) + math.sqrt(slope * slope + 2.0 * CUT * a))
    low = max(0.0, peak - reach)
    high = min(1.0, peak + reach)
    if low > 0.0 and high < 1.0 and slope == 0.0:
        g = math.sqrt(2.0 * math.pi / a)
        variance = 1.0 / a
        j1 = peak
        j2 = peak * peak + variance
        j3 = peak * (peak * peak + 3.0 * variance)
        base = 1.0 - 0.5 * tilt
        return (
            log_peak,
            g * (base + tilt * j1),
            g * (base * j1 + tilt * j2),
            g * (base * j2 + tilt * j3),
            g * (j1 - 0.5),
        )
    width = high - low
    i0, i1, i2, dt = _quadrature(a, slope, peak, low, width, tilt)
    return log_peak, i0, i1, i2, dt


@numba.njit(cache=True, error_model="numpy")
def segment_moments_many(a, b, c, tilt):
    """Apply `segment_moments` to arrays of shape (n,) and return an array (n, 5)."""
    out = np.empty((a.shape[0], 5))
    for i in range(a.shape[0]):
        out[i, 0], out[i, 1], out[i, 2], out[i, 3], out[i, 4] = segment_moments(
            a[i], b[i], c[i], tilt[i]
        )
    return out
