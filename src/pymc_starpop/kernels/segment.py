"""The integral of one Gaussian along one straight piece of the isochrone.

Along the segment from node a to node b the model track is y(t) = y_a + t d with d = y_b - y_a
and 0 <= t <= 1. With r = x - y_a and the inverse covariance P of the star, the Gaussian without
its norm is

    g(t) = exp(-(A t^2 - 2 B t + C) / 2),   A = d'Pd,  B = d'Pr,  C = r'Pr.

The mass function changes along the segment; its density relative to the mean is
1 + tilt (t - 1/2). What the likelihood and its gradient need are the moments

    I_k = int_0^1 t^k (1 + tilt (t - 1/2)) g(t) dt,  k = 0, 1, 2,
    T   = int_0^1 (t - 1/2) g(t) dt = dI_0 / dtilt.

With z_0 = |B| / sqrt(2 A), z_1 = |A - B| / sqrt(2 A), g relative to its largest value on the
segment and t_k = g(k) erfcx(z_k),

    I_0 = sqrt(pi / 2A) (2 - t_0 - t_1) with the peak inside, else sqrt(pi / 2A) |t_0 - t_1|,

and the higher moments follow by parts: A J_{k+1} = B J_k + k J_{k-1} - (t^k g at 1 minus at 0).
For short segments (A below 0.1), and for those as seen from more than 30 of their lengths away,
these differences lose digits. There the integral is Gauss-Legendre quadrature over the window
where g is within exp(-CUT) of its maximum, which keeps its relative accuracy at any distance.

Eight (star, segment) pairs are integrated at once, in explicit vectors; see `simd`.
"""

import math

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from scipy import special

from pymc_starpop.kernels.quadrature import GL24_NODES, GL24_WEIGHTS
from pymc_starpop.kernels.simd import (
    LANES,
    Vector,
    address_of,
    bits_of_lanes,
    largest_lane,
    load_rows,
    polynomial,
    splat,
    store_rows,
    sum_lanes,
)

# Above this A, and seen from at most so many lengths away, the closed form is good to 1e-11.
_SHORTEST, _FARTHEST = 0.1, 30.0
#: The window of the quadrature ends where the integrand has fallen to exp(-CUT) = 1.4e-11 of its
#: maximum; 24 points of Gauss-Legendre leave 4e-9 of it, or 1e-10 where it does not hold both ends.
CUT = 25.0

# Rows of a batch of eight pairs: what goes in ...
A, B, C, TILT, WEIGHT = range(5)
# ... and what comes out.
LOG_PEAK, I0, I1, I2, TILT_MOMENT = range(5, 10)
#: A derivative by what has no share yet grows to exp of this and no further.
MOST_LOG_DERIVATIVE = 600.0
N_ROW = 10


# Exponents below add nothing; they are cut off long before products are too small for a float64 in
# normal form, with which processors take a hundred times as long.
_LEAST = -200.0
# Where the variable of the polynomial for erfcx is 0.
_ERFCX_SHIFT = 3.75
_ZERO = ir.Constant(ir.IntType(64), 0)


def _erfcx_coefficients(degree):
    """Polynomial in (x - 3.75) / (x + 3.75) for (1 + 2 x) erfcx(x), x >= 0.

    The variable is that of Shepherd & Laframboise (1981); degree 20 leaves 4e-15.
    """
    shift = _ERFCX_SHIFT

    def scaled(y):
        x = shift * (1.0 + y) / (1.0 - y)
        return (1.0 + 2.0 * x) * special.erfcx(x)

    chebyshev = np.polynomial.chebyshev
    return chebyshev.cheb2poly(chebyshev.chebinterpolate(scaled, degree))


_ERFCX = _erfcx_coefficients(20)


def _erfcx_of_both(first, second):
    """exp(x^2) erfc(x) for two vectors x >= 0.

    One division serves all four quotients: vectors are divided slowly.
    """
    low = [x + _ERFCX_SHIFT for x in (first, second)]
    line = [x * 2.0 + 1.0 for x in (first, second)]
    below = [a * b for a, b in zip(low, line, strict=True)]
    inverse = 1.0 / (below[0] * below[1])
    found = []
    for x, a, b, other in zip((first, second), low, line, below[::-1], strict=True):
        by_both = inverse * other
        y = (x - _ERFCX_SHIFT) * b * by_both
        found.append(polynomial(y, _ERFCX) * a * by_both)
    return found


def _closed_integrals(a, b, inverse, peak, slope, inside):
    """Integrals of t^k g(t) / g(peak), k = 0 to 3, over the segment by error functions."""
    root = (inverse * 0.5).sqrt()
    at_start = (peak * (a * peak * -0.5 + slope)).maximum(_LEAST).exp()
    rest = 1.0 - peak
    at_end = (rest * (a * rest * -0.5 - slope)).maximum(_LEAST).exp()
    tails = _erfcx_of_both(b.abs() * root, (a - b).abs() * root)
    start, end = at_start * tails[0], at_end * tails[1]
    j0 = (2.0 - start - end).where(inside, (start - end).abs()) * (root * math.sqrt(math.pi))
    j1 = (b * j0 - (at_end - at_start)) * inverse
    j2 = (j0 + b * j1 - at_end) * inverse
    j3 = (j1 * 2.0 + b * j2 - at_end) * inverse
    return [j0, j1, j2, j3]


def _quadrature_integrals(a, peak, slope):
    """Integrals of t^k g(t) / g(peak), k = 0 to 3, over the segment by quadrature."""
    reach = (2.0 * CUT) / (slope.abs() + (slope * slope + a * (2.0 * CUT)).sqrt())
    low = (peak - reach).maximum(0.0)
    width = (peak + reach).minimum(1.0) - low
    sums = [0.0] * 4
    for node, weight in zip(GL24_NODES, GL24_WEIGHTS, strict=True):
        t = low + width * float(node)
        u = t - peak
        term = ((u * (a * u * -0.5 - slope)).exp()) * float(weight)
        for k in range(4):
            sums[k] = term + sums[k]
            term = term * t
    return [total * width for total in sums]


def _moments(a, b, c, tilt):
    """Log g at its maximum on the segment, and I_0, I_1, I_2, T relative to it, of eight pairs."""
    builder = a.builder
    inverse = 1.0 / a.maximum(1e-300)
    # A product may round to more than 1.
    peak = (b.maximum(0.0).minimum(a) * inverse).minimum(1.0)
    log_peak = (c - peak * (b * 2.0 - a * peak)).maximum(0.0) * -0.5
    # Inside, the slope at the peak is 0 but for rounding.
    inside = builder.and_(b.compare(">", 0.0), b.compare("<", a))
    slope = (a * 0.0).where(inside, a * peak - b)
    far = (slope.abs()).compare(">", a * _FARTHEST)
    awkward = builder.or_(a.compare("<", _SHORTEST), far)
    slots = [cgutils.alloca_once_value(builder, a.value) for _ in range(4)]
    none = builder.icmp_unsigned("==", bits_of_lanes(builder, awkward), _ZERO)
    with builder.if_else(none) as (then, other):
        with then:
            closed = _closed_integrals(a, b, inverse, peak, slope, inside)
            for slot, j in zip(slots, closed, strict=True):
                builder.store(j.value, slot)
        with other:
            # One awkward pair among eight, and all of them go the long way.
            long, short = a.maximum(_SHORTEST), inverse.minimum(1.0 / _SHORTEST)
            closed = _closed_integrals(long, b, short, peak, slope, inside)
            summed = _quadrature_integrals(a, peak, slope)
            for slot, exact, j in zip(slots, closed, summed, strict=True):
                builder.store(j.where(awkward, exact).value, slot)
    j0, j1, j2, j3 = (Vector(builder, builder.load(slot)) for slot in slots)
    base = 1.0 - tilt * 0.5
    return (
        log_peak,
        base * j0 + tilt * j1,
        base * j1 + tilt * j2,
        base * j2 + tilt * j3,
        j1 - j0 * 0.5,
    )


@intrinsic
def integrate_pairs(typingctx, batch):
    """Fill the rows LOG_PEAK to TILT_MOMENT of a batch (N_ROW, 8) from the rows A to TILT.

    Returns the largest LOG_PEAK of those that have weight.
    """

    def codegen(context, builder, signature, args):
        a, b, c, tilt = load_rows(builder, args[0], (A, B, C, TILT))
        peak, i0, i1, i2, dt = _moments(a, b, c, tilt)
        store_rows(builder, args[0], {LOG_PEAK: peak, I0: i0, I1: i1, I2: i2, TILT_MOMENT: dt})
        (weight,) = load_rows(builder, args[0], (WEIGHT,))
        return largest_lane(builder, peak.where(weight.compare(">", 0.0), -1e300))

    return types.float64(types.intp), codegen


@intrinsic
def sum_pairs(typingctx, batch, top):
    """Sum of weight x I_0 of a batch, relative to exp(top); leaves exp(LOG_PEAK - top)."""

    def codegen(context, builder, signature, args):
        weight, log_peak, i0 = load_rows(builder, args[0], (WEIGHT, LOG_PEAK, I0))
        # Above 0 only without weight, where the sum does not see it; the derivative by that weight
        # stays finite, also when it is summed over stars and multiplied.
        below = (log_peak - splat(builder, args[1])).minimum(MOST_LOG_DERIVATIVE)
        relative = below.maximum(_LEAST).exp().where(below.compare(">", _LEAST), 0.0)
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
