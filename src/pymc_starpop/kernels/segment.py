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
Legendre quadrature over that window, which keeps its relative accuracy (1e-9) at any distance,
for the shortest segment and for the longest, where differences of error functions cancel.

Eight (star, segment) pairs are integrated at once, in explicit vectors; see `simd`.
"""

import math

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from pymc_starpop.kernels.quadrature import GL24_NODES, GL24_WEIGHTS
from pymc_starpop.kernels.simd import (
    LANES,
    address_of,
    largest_lane,
    load_rows,
    splat,
    store_rows,
    sum_lanes,
)

#: The window ends where the integrand has fallen to exp(-CUT) = 1.4e-11 of its maximum, 7.1
#: standard deviations on either side, where 24 points of Gauss-Legendre leave 1e-10.
CUT = 25.0

# Rows of a batch of eight pairs: what goes in (EXTRA is added to the log of the peak, SHRINK to
# KR are for the gradient only) ...
A, B, C, TILT, EXTRA, WEIGHT, SHRINK, KD, KR = range(9)
# ... and what comes out.
LOG_PEAK, I0, I1, I2, TILT_MOMENT = range(9, 14)
N_ROW = 14


def _power_integrals(a, slope, peak, low, width):
    """Integrals of t^k g(t) / g(peak), k = 0 to 3, over a window by quadrature."""
    sums = [0.0] * 4
    for node, weight in zip(GL24_NODES, GL24_WEIGHTS, strict=True):
        t = low + width * float(node)
        u = t - peak
        term = ((u * (a * u * -0.5 - slope)).exp()) * float(weight)
        for k in range(4):
            sums[k] = term + sums[k]
            term = term * t
    return [total * width for total in sums]


def _full_gaussian_integrals(a, peak):
    """Integrals of t^k g(t) / g(peak), k = 0 to 3, over all t."""
    variance = 1.0 / a
    norm = (variance * (2.0 * math.pi)).sqrt()
    square = peak * peak
    powers = (peak, square + variance, peak * (square + variance * 3.0))
    return [norm, *(norm * power for power in powers)]


def _moments(a, b, c, tilt):
    """Log g at its maximum on the segment, and I_0, I_1, I_2, T relative to it, of eight pairs."""
    peak = b.maximum(0.0).minimum(a) / a.maximum(1e-300)
    log_peak = (c - peak * (b * 2.0 - a * peak)).maximum(0.0) * -0.5
    slope = a * peak - b
    # Inside, the slope at the peak is 0 but for rounding.
    inside = b.builder.and_(peak.compare(">", 0.0), peak.compare("<", 1.0))
    slope = (slope * 0.0).where(inside, slope)
    reach = (2.0 * CUT) / (slope.abs() + (slope * slope + a * (2.0 * CUT)).sqrt())
    low = (peak - reach).maximum(0.0)
    high = (peak + reach).minimum(1.0)
    whole = b.builder.and_(low.compare(">", 0.0), high.compare("<", 1.0))
    whole = b.builder.and_(whole, inside)
    pieces = _power_integrals(a, slope, peak, low, high - low)
    full = _full_gaussian_integrals(a, peak)
    s0, s1, s2, s3 = (u.where(whole, v) for u, v in zip(full, pieces, strict=True))
    base = 1.0 - tilt * 0.5
    return (
        log_peak,
        base * s0 + tilt * s1,
        base * s1 + tilt * s2,
        base * s2 + tilt * s3,
        s1 - s0 * 0.5,
    )


@intrinsic
def integrate_pairs(typingctx, batch):
    """Fill the rows LOG_PEAK to TILT_MOMENT of a batch (N_ROW, 8) from the rows A to EXTRA.

    Returns the largest LOG_PEAK of those that have weight.
    """

    def codegen(context, builder, signature, args):
        a, b, c, tilt, extra = load_rows(builder, args[0], (A, B, C, TILT, EXTRA))
        peak, i0, i1, i2, dt = _moments(a, b, c, tilt)
        peak = peak + extra
        store_rows(builder, args[0], {LOG_PEAK: peak, I0: i0, I1: i1, I2: i2, TILT_MOMENT: dt})
        (weight,) = load_rows(builder, args[0], (WEIGHT,))
        return largest_lane(builder, peak.where(weight.compare(">", 0.0), -1e300))

    return types.float64(types.intp), codegen


@intrinsic
def sum_pairs(typingctx, batch, top):
    """Sum of weight x I_0 of a batch, relative to exp(top); leaves exp(LOG_PEAK - top)."""

    def codegen(context, builder, signature, args):
        weight, log_peak, i0 = load_rows(builder, args[0], (WEIGHT, LOG_PEAK, I0))
        # Above 0 only without weight, where the sum does not see it.
        below = (log_peak - splat(builder, args[1])).maximum(-700.0).minimum(700.0)
        relative = below.exp()
        store_rows(builder, args[0], {LOG_PEAK: relative})
        return sum_lanes(builder, weight * i0 * relative)

    return types.float64(types.intp, types.float64), codegen


@numba.njit(cache=True, error_model="numpy")
def segment_moments_many(a, b, c, tilt):
    """Return (log g at its maximum, I_0, I_1, I_2, T), moments relative to it, as (n, 5).

    Parameters
    ----------
    a, b, c : (n,)
        A = d'Pd >= 0, B = d'Pr, C = r'Pr, dimensionless.
    tilt : (n,)
        Relative slope of the mass density along the segment, between -2 and 2.
    """
    n = a.shape[0]
    out = np.empty((n, 5))
    batch = np.zeros((N_ROW, LANES))
    for start in range(0, n, LANES):
        size = min(LANES, n - start)
        batch[A, :size] = a[start : start + size]
        batch[B, :size] = b[start : start + size]
        batch[C, :size] = c[start : start + size]
        batch[TILT, :size] = tilt[start : start + size]
        integrate_pairs(address_of(batch, 0))
        out[start : start + size] = batch[LOG_PEAK : TILT_MOMENT + 1, :size].T
    return out


def segment_moments(a: float, b: float, c: float, tilt: float) -> tuple[float, ...]:
    """Return `segment_moments_many` of one pair as a tuple."""
    row = segment_moments_many(*(np.array([float(x)]) for x in (a, b, c, tilt)))[0]
    return tuple(float(x) for x in row)
