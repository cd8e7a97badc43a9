"""The loops over bands that one star runs through, for eight boxes or segments at a time.

Boxes, nodes and quadratic forms are tables (rows, 8). The starts of eight segments in all bands are
B rows, and their ends the next B. Whatever is called an address comes from `address_of`.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pymc_starpop.kernels.simd import (
    LANES,
    accumulate,
    bits_of_lanes,
    constant,
    lanes_of_bits,
    largest_lane,
    load,
    load_rows,
    load_scalar,
    offset,
    smallest_lane,
    splat,
    store,
    store_scalar,
    sum_lanes,
)

# A lower bound that padding never reaches.
_NOTHING = -1e300


def row_of(builder, table, band):
    """Address of the row of a band in a table (B, 8)."""
    return offset(builder, table, builder.mul(band, ir.Constant(band.type, LANES)))


def ends_of(builder, nodes, n_band, band):
    """Where eight segments start and end in a band, from the address of their rows of nodes."""
    return [load(builder, row_of(builder, nodes, row)) for row in (band, builder.add(n_band, band))]


def star_in(builder, mag, inverse, band):
    """Magnitude and inverse variance of the star in one band, in all lanes."""
    return [
        splat(builder, load_scalar(builder, offset(builder, address, band)))
        for address in (mag, inverse)
    ]


@intrinsic
def block_box(typingctx, n_band, nodes, alive, low, high):
    """Store the box of those of eight segments whose bits are set, from their rows of nodes.

    Addresses low and high are those of one lane of boxes (B, 8).
    """
    signature = types.void(types.intp, types.intp, types.int64, types.intp, types.intp)

    def codegen(context, builder, signature, args):
        n_band, nodes, alive, low, high = args
        live = lanes_of_bits(builder, alive)
        with cgutils.for_range(builder, n_band) as loop:
            begin, end = ends_of(builder, nodes, n_band, loop.index)
            bottom = smallest_lane(builder, begin.minimum(end).where(live, 1e300))
            top = largest_lane(builder, begin.maximum(end).where(live, -1e300))
            store_scalar(builder, bottom, row_of(builder, low, loop.index))
            store_scalar(builder, top, row_of(builder, high, loop.index))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def enclose_boxes(typingctx, n_band, low, high, weight, out_low, out_high):
    """Store the box around those of eight boxes (B, 8) that have weight; return the largest one.

    Addresses out_low and out_high are those of one lane of boxes (B, 8).
    """
    signature = types.float64(*([types.intp] * 6))

    def codegen(context, builder, signature, args):
        n_band, low, high, weight, out_low, out_high = args
        weights = load(builder, weight)
        live = weights.compare(">", _NOTHING)
        with cgutils.for_range(builder, n_band) as loop:
            boxes = [load(builder, row_of(builder, box, loop.index)) for box in (low, high)]
            bottom = smallest_lane(builder, boxes[0].where(live, 1e300))
            top = largest_lane(builder, boxes[1].where(live, -1e300))
            store_scalar(builder, bottom, row_of(builder, out_low, loop.index))
            store_scalar(builder, top, row_of(builder, out_high, loop.index))
        return largest_lane(builder, weights)

    return signature, codegen


@intrinsic
def logs_where_positive(typingctx, values):
    """Replace eight numbers by their logarithms, those that are not above 0 by -inf."""

    def codegen(context, builder, signature, args):
        (values,) = args
        numbers = load(builder, values)
        positive = numbers.compare(">", 0.0)
        logs = numbers.where(positive, 1.0).log().where(positive, float("-inf"))
        store(builder, logs, values)
        return context.get_dummy_value()

    return types.void(types.intp), codegen


@intrinsic
def bound_boxes(typingctx, n_band, mag, inverse, low, high, weight, threshold, out):
    """out[j] = weight[j] - chi2(star, box j) / 2 for eight boxes low, high (B, 8).

    Returns the bits of the boxes whose bound is at least the threshold.
    """
    signature = types.int64(*([types.intp] * 6), types.float64, types.intp)

    def codegen(context, builder, signature, args):
        n_band, mag, inverse, low, high, weight, threshold, out = args

        def step(band, totals):
            x, p = star_in(builder, mag, inverse, band)
            below = load(builder, row_of(builder, low, band)) - x
            above = x - load(builder, row_of(builder, high, band))
            away = below.maximum(above).maximum(0.0)
            return [totals[0] + away * away * p]

        (chi2,) = accumulate(builder, n_band, [constant(builder, 0.0)], step)
        bound = load(builder, weight) - chi2 * 0.5
        store(builder, bound, out)
        return bits_of_lanes(builder, bound.compare(">=", splat(builder, threshold)))

    return signature, codegen


def nearest(a, b, c):
    """Where on [0, 1] the segments come closest to the star, and chi2 there."""
    t = b.maximum(0.0).minimum(a) / a.maximum(1e-300)
    return t, c - t * (b * 2.0 - a * t)


@intrinsic
def bound_segments(typingctx, form, weight, out):
    """out[j] = weight - (smallest chi2 on segment j) / 2, from rows 0 to 2 of form."""

    def codegen(context, builder, signature, args):
        form, weight, out = args
        _, chi2 = nearest(*load_rows(builder, form, range(3)))
        store(builder, splat(builder, weight) - chi2 * 0.5, out)
        return context.get_dummy_value()

    return types.void(types.intp, types.float64, types.intp), codegen


@intrinsic
def bits_above(typingctx, values, threshold):
    """Bits of those among eight numbers that are at least the threshold."""

    def codegen(context, builder, signature, args):
        least = splat(builder, args[1])
        return bits_of_lanes(builder, load(builder, args[0]).compare(">=", least))

    return types.int64(types.intp, types.float64), codegen


@intrinsic
def largest_of(typingctx, values):
    """Largest of eight numbers."""

    def codegen(context, builder, signature, args):
        return largest_lane(builder, load(builder, args[0]))

    return types.float64(types.intp), codegen


@intrinsic
def estimate_segments(typingctx, form, weights, tilts, alive):
    """Log of what the best of eight segments contributes at least, -1e300 where none has weight.

    With s = A t - B >= 0 the slope at the nearest point t, int_0^1 g >= g(t) / (1 + |s| + sqrt A);
    the tilted density is taken at t.
    """
    signature = types.float64(types.intp, types.intp, types.intp, types.int64)

    def codegen(context, builder, signature, args):
        form, weights, tilts, alive = args
        a, b, c = load_rows(builder, form, range(3))
        t, chi2 = nearest(a, b, c)
        width = (a * t - b).abs() + a.sqrt() + 1.0
        share = load(builder, weights) * (load(builder, tilts) * (t - 0.5) + 1.0) / width
        positive = builder.and_(share.compare(">", 0.0), lanes_of_bits(builder, alive))
        logs = share.where(positive, 1.0).log() - chi2 * 0.5
        return largest_lane(builder, logs.where(positive, _NOTHING))

    return signature, codegen


@intrinsic
def zeros_of(typingctx, n, address):
    """Sum of 0 x over 8 n numbers at an address: 0, or NaN where one is no number or infinite."""

    def codegen(context, builder, signature, args):
        n, address = args

        def step(index, totals):
            at = offset(builder, address, builder.mul(index, ir.Constant(index.type, LANES)))
            return [totals[0] + load(builder, at) * 0.0]

        (total,) = accumulate(builder, n, [constant(builder, 0.0)], step)
        return sum_lanes(builder, total)

    return types.float64(types.intp, types.intp), codegen
