"""Gaussians in color and magnitude, integrated over the bins of a Hess diagram.

For a Gaussian of mean (c_0, m_0) and covariance S, the color at a given magnitude m is normal with
mean c_0 + beta (m - m_0), beta = S_cm / S_mm, and variance S_cc - beta S_cm. Each row of bins is
cut into slices of magnitude, narrow against the magnitude over which beta moves the color by its
scatter. In a slice the probability, mean and variance of the magnitude are those of the truncated
normal distribution; the color gets the mean and variance that follow, and its probability in each
bin is a difference of two normal distribution functions. A slice is exact where it is a whole row
of a Gaussian that no edge cuts, or where color and magnitude are independent.
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from scipy import special

from pymc_starpop.kernels.interpolation import NUMBA_OPTIONS
from pymc_starpop.kernels.simd import (
    LANES,
    Vector,
    address_of,
    load,
    offset,
    polynomial,
    splat,
    still_needed,
    store,
)

#: A Gaussian ends where its density has fallen to exp(-CUT^2 / 2) = 3e-8 of its maximum.
CUT = 5.9
#: Standard deviations of the color by which the mean color may move within a slice. Over 0.4 the
#: fourth cumulant that is left out changes the density by 1e-3 at four standard deviations.
LARGEST_SHIFT = 0.4
# Slices grow with their distance y to the center by the factor 0.2 + 0.4 |y|, from 2 standard
# deviations on.
_GROWTH_START, _GROWTH = 0.2, 0.4
# With less than this over a standard deviation in magnitude, a truncated row needs no slices.
_NEGLIGIBLE_SHIFT = 0.05
# More slices than any real covariance asks for.
_MOST_SLICES = 4096
# Probabilities below this are left out.
_LEAST_SHARE = 1e-11
#: A Gaussian ends where it adds less than this to a bin.
LEAST_COUNT = 1e-12
# Rows of the working table: edges of slices in standard deviations, normal distribution function
# and density there, and for each slice its probability, the mean color, one over the scatter of
# the color, and the colors where it ends.
Y, CDF, GAUSS, SHARE, AT, INVERSE, LOW, HIGH = range(8)
N_WORK = 8

# Where the variable of the polynomial in `_normal_cdf` is 0, and the largest argument.
_CDF_SHIFT = 5.3
_LAST = 8.0


def _cdf_coefficients(degree):
    """Polynomial in y = (x - 5.3) / (x + 5.3) for (1 + 2 x) erfcx(x / sqrt 2) / 2, 0 <= x <= 8.

    The variable is that of Shepherd & Laframboise (1981); degree 12 leaves 1e-12.
    """
    shift = _CDF_SHIFT
    top = (_LAST - shift) / (_LAST + shift)

    def scaled(u):
        y = 0.5 * (u + 1.0) * (top + 1.0) - 1.0
        x = shift * (1.0 + y) / (1.0 - y)
        return (1.0 + 2.0 * x) * 0.5 * special.erfcx(x * math.sqrt(0.5))

    chebyshev = np.polynomial.Chebyshev(
        np.polynomial.chebyshev.chebinterpolate(scaled, degree), domain=[-1.0, top]
    )
    return chebyshev.convert(kind=np.polynomial.Polynomial).coef


_CDF = _cdf_coefficients(12)


def _normal_cdf(x):
    """Normal distribution function and exp(-x^2 / 2), to 1e-12; x is clipped to -8 to 8."""
    z = x.abs().minimum(_LAST)
    # One division for both (z - 5.3) / (z + 5.3) and 1 / (1 + 2 z).
    low, high = z + _CDF_SHIFT, z * 2.0 + 1.0
    inverse = 1.0 / (low * high)
    y = (z - _CDF_SHIFT) * high * inverse
    gauss = (z * z * -0.5).exp()
    tail = gauss * polynomial(y, _CDF) * low * inverse
    return tail.where(x.compare("<", 0.0), 1.0 - tail), gauss


@intrinsic
def _fill_normal(typingctx, n, x, cdf, gauss):
    """Write the normal distribution function and exp(-x^2 / 2) of 8 n numbers; addresses."""

    def codegen(context, builder, signature, args):
        n, x, cdf, gauss = args
        with cgutils.for_range(builder, n) as loop:
            skip = builder.mul(loop.index, ir.Constant(loop.index.type, LANES))
            probability, density = _normal_cdf(load(builder, offset(builder, x, skip)))
            store(builder, probability, offset(builder, cdf, skip))
            store(builder, density, offset(builder, gauss, skip))
        return context.get_dummy_value()

    return types.void(*([types.intp] * 4)), codegen


@intrinsic
def _fill_slices(typingctx, n, work, stride, cut, mean, scatter, shift):
    """Fill the rows SHARE to HIGH of a table from the rows Y to GAUSS, 8 n slices.

    The table has rows of `stride` numbers and lies at an address. Slice i is that between the
    edges i and i + 1. A Gaussian has `mean` color, the variance `scatter` at fixed magnitude, and
    the color moves by `shift` with one standard deviation of the magnitude.
    """

    def codegen(context, builder, signature, args):
        n, work, stride, *scalars = args
        cut, center, scatter, shift = (splat(builder, scalar) for scalar in scalars)

        def place(row, skip):
            words = builder.mul(stride, ir.Constant(stride.type, row))
            return offset(builder, work, builder.add(words, skip))

        with cgutils.for_range(builder, n) as loop:
            skip = builder.mul(loop.index, ir.Constant(loop.index.type, LANES))
            above = builder.add(skip, ir.Constant(skip.type, 1))
            a, cdf_a, gauss_a = (load(builder, place(row, skip)) for row in (Y, CDF, GAUSS))
            b, cdf_b, gauss_b = (load(builder, place(row, above)) for row in (Y, CDF, GAUSS))
            share = cdf_b - cdf_a
            scale = 1.0 / (share.maximum(_LEAST_SHARE) * math.sqrt(2.0 * math.pi))
            # Mean and variance of the truncated normal distribution; rounding may lead outside.
            y = ((gauss_a - gauss_b) * scale).maximum(a).minimum(b)
            variance = (a * gauss_a - b * gauss_b) * scale + 1.0 - y * y
            variance = variance.maximum(0.0).minimum(1.0)
            sigma = (scatter + shift * shift * variance).sqrt()
            at = center + shift * y
            near = a.maximum(b * -1.0).maximum(0.0)
            reach = sigma * (cut * cut - near * near).maximum(1.0).sqrt()
            rows = {SHARE: share, AT: at, INVERSE: 1.0 / sigma, LOW: at - reach, HIGH: at + reach}
            for row, vector in rows.items():
                store(builder, vector, place(row, skip))
        return context.get_dummy_value()

    return types.void(*([types.intp] * 3), *([types.float64] * 4)), codegen


@intrinsic
def _add_normal(typingctx, n, edges, mean, inverse, weight, out):
    """Add weight times a normal distribution, integrated between 7 n + 1 edges, to 7 n bins.

    The address `edges` is that of the first edge, `out` that of the bin above it. Reads 7 n + 1
    edges and reads and writes 7 n + 1 bins, the last unchanged.
    """

    def codegen(context, builder, signature, args):
        n, edges, mean, inverse, weight, out = args
        mean, inverse, weight = (splat(builder, scalar) for scalar in (mean, inverse, weight))
        order = [*range(1, LANES), LANES - 1]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), order)
        with cgutils.for_range(builder, n) as loop:
            # Eight edges are those of seven bins.
            skip = builder.mul(loop.index, ir.Constant(loop.index.type, LANES - 1))
            x = (load(builder, offset(builder, edges, skip)) - mean) * inverse
            cdf, _ = _normal_cdf(x)
            above = Vector(builder, builder.shuffle_vector(cdf.value, cdf.value, mask))
            share = (above - cdf).maximum(0.0)
            place = offset(builder, out, skip)
            store(builder, load(builder, place) + weight * share, place)
        return context.get_dummy_value()

    return types.void(
        types.intp, types.intp, types.float64, types.float64, types.float64, types.intp
    ), codegen


@njit(**NUMBA_OPTIONS)
def normal_cdf(x):
    """Normal distribution function of an array (n,), to 1e-12 absolute; for tests."""
    n = (x.size + LANES - 1) // LANES
    work = np.zeros((3, n * LANES))
    work[0, : x.size] = x
    _fill_normal(
        n, address_of(work, 0), address_of(work, n * LANES), address_of(work, 2 * n * LANES)
    )
    still_needed(work)
    return work[1, : x.size].copy()


@njit(**NUMBA_OPTIONS)
def _bin_of(edges, n, inverse_width, x):
    """Index 0 to n - 1 of the bin that holds x, the nearest one for x outside."""
    j = min(max(int((x - edges[0]) * inverse_width), 0), n - 1) if x > edges[0] else 0
    while j > 0 and x < edges[j]:
        j -= 1
    while j < n - 1 and x >= edges[j + 1]:
        j += 1
    return j


@njit(**NUMBA_OPTIONS)
def _slice_width(shift, largest_shift):
    """Width of slices at the center, in standard deviations of the magnitude.

    `shift` is what one standard deviation of the magnitude moves the mean color, in units of the
    scatter of the color at fixed magnitude.
    """
    if shift < _NEGLIGIBLE_SHIFT:
        return 2.0 * CUT
    return max(min(largest_shift / shift, 1.0), 2.0 * CUT / _MOST_SLICES)


@njit(**NUMBA_OPTIONS)
def _cut_of(weight, area, area_of_bin):
    """Standard deviations at which a Gaussian ends: later the more it holds.

    `area` is 2 pi times the product of its standard deviations.
    """
    most = weight * min(area_of_bin / area, 1.0) / LEAST_COUNT
    return min(math.sqrt(2.0 * math.log(most)), CUT) if most > 2.0 else 1.0


@njit(**NUMBA_OPTIONS)
def _cut_rows(rows, mag_edges, gaussian, cut, width, work, n_slice):
    """Cut rows of bins, the first to the last, in slices.

    Writes the edges of all slices to work[Y], in standard deviations of the magnitude, and the
    number of slices to n_slice, by row; returns their number. The Gaussian has a mean magnitude and
    a standard deviation, and ends `cut` of them away. Slices are wider far out, where it holds
    little.
    """
    mag, s_mag = gaussian
    n = 0
    for row in range(rows[0], rows[1] + 1):
        start = max((mag_edges[row] - mag) / s_mag, -cut)
        stop = min((mag_edges[row + 1] - mag) / s_mag, cut)
        # A row that holds all magnitudes needs no slices.
        whole = stop - start >= 2.0 * cut
        first, y = n, start
        work[Y, n] = start
        n += 1
        while not whole:
            # From the end that is nearer to the center.
            far = max(y, -min(y + width, stop))
            step = width * max(1.0, _GROWTH_START + _GROWTH * far)
            left = math.ceil((stop - y) / step)
            if left <= 1:
                break
            y += (stop - y) / left if left < 4 else step
            work[Y, n] = y
            n += 1
        n_slice[row] = n - first
        work[Y, n] = stop
    return n


@njit(**NUMBA_OPTIONS)
def _add_to_column(rows, n_slice, share, weight, column):
    """Add what the slices hold to one column of bins."""
    n = 0
    for row in range(rows[0], rows[1] + 1):
        for i in range(n, n + n_slice[row]):
            column[row] += weight * max(share[i], 0.0)
        n += n_slice[row]


@njit(**NUMBA_OPTIONS)
def deposit_gaussians(
    weight, center, covariance, color_edges, mag_edges, counts, largest_shift=LARGEST_SHIFT
):
    """Add weighted Gaussians, integrated over the bins, to a Hess diagram.

    What a Gaussian adds to a bin beyond `CUT` standard deviations, or less than `LEAST_COUNT`, is
    left out.

    Parameters
    ----------
    weight : ndarray (N,)
        What each Gaussian holds in total. Those that are not positive are skipped.
    center : ndarray (N, 2)
        Means (color, magnitude), mag.
    covariance : ndarray (N, 3)
        Variance of the color, covariance, variance of the magnitude, mag^2; positive definite.
    color_edges, mag_edges : ndarray (N_color + 1,), (N_mag + 1,)
        Ascending edges, mag.
    counts : ndarray (N_mag, N_color)
        Added to.
    largest_shift : float
        Scatters of the color by which the mean color may move within a slice.
    """
    n_mag, n_color = counts.shape
    # Room for what the last vector reads and writes beyond the last bin.
    stride = n_color + 2 * LANES
    table = np.zeros((n_mag, stride))
    edges = np.empty(stride + LANES)
    edges[: n_color + 1] = color_edges
    edges[n_color + 1 :] = color_edges[n_color] + 1e6
    n_work = n_mag + _MOST_SLICES + 3 * LANES
    work = np.empty((N_WORK, n_work))
    n_slice = np.empty(n_mag, dtype=np.int64)
    to_edges, to_table, to_work = address_of(edges, 0), address_of(table, 0), address_of(work, 0)
    per_color = n_color / (color_edges[n_color] - color_edges[0])
    per_mag = n_mag / (mag_edges[n_mag] - mag_edges[0])
    for k in range(weight.size):
        color, mag = center[k, 0], center[k, 1]
        s_color, s_mag = math.sqrt(covariance[k, 0]), math.sqrt(covariance[k, 2])
        beta = covariance[k, 1] / covariance[k, 2]
        at_mag = max(covariance[k, 0] - beta * covariance[k, 1], 1e-12 * covariance[k, 0])
        area = 2.0 * math.pi * s_mag * math.sqrt(at_mag)
        cut = _cut_of(weight[k], area, 1.0 / (per_color * per_mag))
        low, high = color - cut * s_color, color + cut * s_color
        bright, faint = mag - cut * s_mag, mag + cut * s_mag
        # Written so that a NaN ends here.
        if not (
            weight[k] > LEAST_COUNT
            and high > color_edges[0]
            and low < color_edges[n_color]
            and faint > mag_edges[0]
            and bright < mag_edges[n_mag]
        ):
            continue
        first = _bin_of(mag_edges, n_mag, per_mag, bright)
        last = _bin_of(mag_edges, n_mag, per_mag, faint)
        column = _bin_of(edges, n_color, per_color, low)
        # Nothing is to be shared where all colors lie in one column.
        one_column = low >= edges[column] and high < edges[column + 1]
        shift = beta * s_mag
        width = (
            2.0 * cut if one_column else _slice_width(abs(shift) / math.sqrt(at_mag), largest_shift)
        )
        rows = (first, last)
        n = _cut_rows(rows, mag_edges, (mag, s_mag), cut, width, work, n_slice)
        to_rows = address_of(work, CDF * n_work), address_of(work, GAUSS * n_work)
        _fill_normal(n // LANES + 1, to_work, *to_rows)
        _fill_slices((n - 1) // LANES + 1, to_work, n_work, cut, color, at_mag, shift)
        if one_column:
            _add_to_column(rows, n_slice, work[SHARE], weight[k], table[:, column])
            continue
        n = 0
        for row in range(first, last + 1):
            for i in range(n, n + n_slice[row]):
                share, low, high = work[SHARE, i], work[LOW, i], work[HIGH, i]
                if share < _LEAST_SHARE or high <= edges[0] or low >= edges[n_color]:
                    continue
                j0 = _bin_of(edges, n_color, per_color, low)
                j1 = _bin_of(edges, n_color, per_color, high)
                n_vector = (j1 - j0) // (LANES - 1) + 1
                to_bins = to_table + 8 * (row * stride + j0)
                mean, inverse = work[AT, i], work[INVERSE, i]
                _add_normal(n_vector, to_edges + 8 * j0, mean, inverse, weight[k] * share, to_bins)
            n += n_slice[row]
    still_needed(edges)
    still_needed(table)
    still_needed(work)
    counts += table[:, :n_color]
