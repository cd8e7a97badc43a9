"""The loops over bands that one star runs through, for eight boxes or segments at a time.

Tracks are stored band by band, (B, P): the starts of eight neighboring segments are eight numbers
in a row, and their ends the same row one further. `stride` is the number of points P. Boxes and
quadratic forms are tables (rows, 8). Whatever is called an address comes from `address_of`.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pymc_starpop.kernels.segment import I0, I1, I2, LOG_PEAK, TILT_MOMENT, WEIGHT
from pymc_starpop.kernels.simd import (
    LANES,
    accumulate,
    bits_of_lanes,
    constant,
    gather,
    lanes_of,
    lanes_of_bits,
    largest_lane,
    load,
    load_rows,
    load_scalar,
    offset,
    pointer,
    smallest_lane,
    splat,
    store,
    store_rows,
    store_scalar,
    sum_lanes,
)

# A lower bound that padding never reaches.
_NOTHING = -1e300


def _row(builder, table, band):
    """Address of the row of a band in a table (B, 8)."""
    return offset(builder, table, builder.mul(band, ir.Constant(band.type, LANES)))


def _band(builder, track, stride, band):
    """Address of the same point in another band."""
    return offset(builder, track, builder.mul(band, stride))


def _star(builder, mag, inverse, band):
    """Magnitude and inverse variance of the star in one band, in all lanes."""
    return [
        splat(builder, load_scalar(builder, offset(builder, address, band)))
        for address in (mag, inverse)
    ]


@intrinsic
def live_segments(typingctx, scale):
    """Bits of those among eight segments whose scale is above 0."""

    def codegen(context, builder, signature, args):
        return bits_of_lanes(builder, load(builder, args[0]).compare(">", 0.0))

    return types.int64(types.intp), codegen


@intrinsic
def segment_box(typingctx, n_band, track, stride, scale, alive, low, high):
    """Store the box of those of eight segments whose bits are set; return their largest scale.

    Addresses low and high are those of one lane of boxes (B, 8).
    """
    signature = types.float64(*([types.intp] * 4), types.int64, types.intp, types.intp)

    def codegen(context, builder, signature, args):
        n_band, track, stride, scale, alive, low, high = args
        live = lanes_of_bits(builder, alive)
        with cgutils.for_range(builder, n_band) as loop:
            at = _band(builder, track, stride, loop.index)
            begin, end = load(builder, at), load(builder, offset(builder, at, 1))
            bottom = smallest_lane(builder, begin.minimum(end).where(live, 1e300))
            top = largest_lane(builder, begin.maximum(end).where(live, -1e300))
            store_scalar(builder, bottom, _row(builder, low, loop.index))
            store_scalar(builder, top, _row(builder, high, loop.index))
        return largest_lane(builder, load(builder, scale).where(live, 0.0))

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
            boxes = [load(builder, _row(builder, box, loop.index)) for box in (low, high)]
            bottom = smallest_lane(builder, boxes[0].where(live, 1e300))
            top = largest_lane(builder, boxes[1].where(live, -1e300))
            store_scalar(builder, bottom, _row(builder, out_low, loop.index))
            store_scalar(builder, top, _row(builder, out_high, loop.index))
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
            x, p = _star(builder, mag, inverse, band)
            below = load(builder, _row(builder, low, band)) - x
            above = x - load(builder, _row(builder, high, band))
            away = below.maximum(above).maximum(0.0)
            return [totals[0] + away * away * p]

        (chi2,) = accumulate(builder, n_band, [constant(builder, 0.0)], step)
        bound = load(builder, weight) - chi2 * 0.5
        store(builder, bound, out)
        return bits_of_lanes(builder, bound.compare(">=", splat(builder, threshold)))

    return signature, codegen


@intrinsic
def quadratic_forms(typingctx, n_band, mag, inverse, track, stride, out):
    """Rows 0 to 2 of out (>= 3, 8): A = d'Pd, B = d'Pr, C = r'Pr of eight segments."""
    signature = types.void(*([types.intp] * 6))

    def codegen(context, builder, signature, args):
        n_band, mag, inverse, track, stride, out = args

        def step(band, totals):
            x, p = _star(builder, mag, inverse, band)
            at = _band(builder, track, stride, band)
            start = load(builder, at)
            d, r = load(builder, offset(builder, at, 1)) - start, x - start
            pd, pr = p * d, p * r
            return [totals[0] + pd * d, totals[1] + pd * r, totals[2] + pr * r]

        forms = accumulate(builder, n_band, [constant(builder, 0.0)] * 3, step)
        store_rows(builder, out, dict(enumerate(forms)))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def reddening_forms(typingctx, n_band, mag, inverse, track, reddening, stride, out):
    """Rows 3 to 5 of out (>= 6, 8): k'Dk, k'Dd, k'Dr of eight segments, k the mean of its ends."""
    signature = types.void(*([types.intp] * 7))

    def codegen(context, builder, signature, args):
        n_band, mag, inverse, track, reddening, stride, out = args

        def step(band, totals):
            x, p = _star(builder, mag, inverse, band)
            at, red = (_band(builder, array, stride, band) for array in (track, reddening))
            start = load(builder, at)
            d, r = load(builder, offset(builder, at, 1)) - start, x - start
            k = (load(builder, red) + load(builder, offset(builder, red, 1))) * 0.5
            pk = p * k
            return [totals[0] + pk * k, totals[1] + pk * d, totals[2] + pk * r]

        forms = accumulate(builder, n_band, [constant(builder, 0.0)] * 3, step)
        store_rows(builder, out, {row + 3: form for row, form in enumerate(forms)})
        return context.get_dummy_value()

    return signature, codegen


def _nearest(a, b, c):
    """Where on [0, 1] the segments come closest to the star, and chi2 there."""
    t = b.maximum(0.0).minimum(a) / a.maximum(1e-300)
    return t, c - t * (b * 2.0 - a * t)


@intrinsic
def bound_segments(typingctx, form, weight, alive, threshold, out):
    """out[j] = weight - (smallest chi2 on segment j) / 2, from rows 0 to 2 of form.

    Returns the bits of the segments, among those alive, whose bound is at least the threshold.
    """
    signature = types.int64(types.intp, types.float64, types.int64, types.float64, types.intp)

    def codegen(context, builder, signature, args):
        form, weight, alive, threshold, out = args
        _, chi2 = _nearest(*load_rows(builder, form, range(3)))
        bound = splat(builder, weight) - chi2 * 0.5
        store(builder, bound, out)
        near = bits_of_lanes(builder, bound.compare(">=", splat(builder, threshold)))
        return builder.and_(near, alive)

    return signature, codegen


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
        t, chi2 = _nearest(a, b, c)
        width = (a * t - b).abs() + a.sqrt() + 1.0
        share = load(builder, weights) * (load(builder, tilts) * (t - 0.5) + 1.0) / width
        positive = builder.and_(share.compare(">", 0.0), lanes_of_bits(builder, alive))
        logs = share.where(positive, 1.0).log() - chi2 * 0.5
        return largest_lane(builder, logs.where(positive, _NOTHING))

    return signature, codegen


def _add_lanes(builder, base, places, vector):
    """Add the lanes to the float64 that lie `places` words from an address, one by one."""
    for place, value in zip(places, lanes_of(builder, vector), strict=True):
        target = pointer(builder, offset(builder, base, place))
        builder.store(builder.fadd(builder.load(target, align=8), value), target, align=8)


@intrinsic
def add_pairs(
    typingctx, n_band, mag, inverse, track, stride, segments, batch, base, g_track, g_weights,
    g_tilts, g_scatter,
):  # fmt: skip
    """Add the derivatives of eight pairs of a batch, times `base`; see `cluster`.

    `segments` is the address of the eight indices (int64) of the first points. Lanes without a
    pair have weight 0 and any index.
    """
    signature = types.void(*([types.intp] * 7), types.float64, *([types.intp] * 4))

    def codegen(context, builder, signature, args):
        (
            n_band, mag, inverse, track, stride, segments, batch, base, g_track, g_weights,
            g_tilts, g_scatter,
        ) = args  # fmt: skip
        indices = pointer(builder, segments, ir.VectorType(ir.IntType(64), LANES))
        vector = builder.load(indices, align=8)
        places = [
            builder.extract_element(vector, ir.Constant(ir.IntType(32), lane))
            for lane in range(LANES)
        ]
        peak, weight = load_rows(builder, batch, (LOG_PEAK, WEIGHT))
        factor = peak * splat(builder, base)
        scale = factor * weight
        moments = load_rows(builder, batch, (I0, I1, I2))
        (tilt_moment,) = load_rows(builder, batch, (TILT_MOMENT,))
        _add_lanes(builder, g_weights, places, factor * moments[0])
        _add_lanes(builder, g_tilts, places, scale * tilt_moment)
        i0, i1, i2 = (scale * moment for moment in moments)
        with cgutils.for_range(builder, n_band) as loop:
            x, p = _star(builder, mag, inverse, loop.index)
            at, target = (_band(builder, array, stride, loop.index) for array in (track, g_track))
            y_a, y_b = (
                gather(builder, [load_scalar(builder, offset(builder, start, k)) for k in places])
                for start in (at, offset(builder, at, 1))
            )
            pd, pr = p * (y_b - y_a), p * (x - y_a)
            at_end = pr * i1 - pd * i2
            at_both = pr * i0 - pd * i1
            _add_lanes(builder, target, places, at_both - at_end)
            _add_lanes(builder, offset(builder, target, 1), places, at_end)
            spread = sum_lanes(builder, (pr * at_both - pd * at_end - p * i0) * 0.5)
            into = offset(builder, g_scatter, loop.index)
            store_scalar(builder, builder.fadd(load_scalar(builder, into), spread), into)
        return context.get_dummy_value()

    return signature, codegen
