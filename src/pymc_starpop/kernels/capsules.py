"""Pruning for stars that scatter along directions: capsules around blocks of segments.

Boxes (`blocks`) compare band by band, which says little where the magnitudes of a star may move
together. Here each block of eight segments, and each group of eight blocks, has a chord from point
s to point e, in every band the largest distance rho_b of what it holds from the chord, and the
middle m_k and half range h_k of each direction. With N^2 the smallest chi2 of any segment in the
capsule and c^2 that of the chord with the directions m_k,

    N >= (c - R) / (1 + kappa),   R^2     = sum_b (rho_b + sum_k |o_k| h_kb)^2 / sigma_b^2,
                                  kappa^2 = (sum_k spread_k |h_k / sigma|)^2,

because chi2 is the smallest squared norm of (residual after a displacement z along the directions,
z / spread), in which |z_k| <= spread_k N: what a direction differs from the middle one moves the
residual by at most kappa N.

A table of capsules (3 + 2 K, B, 8) holds s, e, rho, then the K middles, then the K half ranges, of
eight neighbors.
"""

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pymc_starpop.kernels.pair_vectors import MOST_DIRECTIONS, eliminate, gram_pairs, scalars
from pymc_starpop.kernels.simd import (
    LANES,
    accumulate,
    address_of,
    bits_of_lanes,
    constant,
    lanes_of_bits,
    largest_lane,
    load,
    load_scalar,
    lowest_bit,
    offset,
    smallest_lane,
    splat,
    store,
    store_scalar,
)
from pymc_starpop.kernels.star_vectors import ends_of, nearest, row_of, star_in

_NOTHING = -1e300


def n_field(n_direction):
    """Tables (B, 8) that a capsule takes; none where there is no direction."""
    return 3 + 2 * n_direction if n_direction > 0 else 0


def _field(builder, table, n_band, field):
    """Address of one of the tables (B, 8) of capsules."""
    return row_of(builder, table, builder.mul(n_band, ir.Constant(n_band.type, field)))


def _emit_bound(builder, n_direction, args):
    """Bound eight capsules and return the bits of those above the threshold."""
    n_band, mag, inverse, capsules, weight, displacement, spread, threshold, out = args
    fields = [_field(builder, capsules, n_band, i) for i in range(n_field(n_direction))]
    moved, pairs = scalars(builder, displacement, n_direction), gram_pairs(n_direction)

    def step(band, totals):
        x, p = star_in(builder, mag, inverse, band)
        start, end, tube, *rest = (load(builder, row_of(builder, f, band)) for f in fields)
        u, half = rest[:n_direction], rest[n_direction:]
        d, r = end - start, x - start
        for k in range(n_direction):
            r = r - moved[k] * u[k]
            tube = tube + moved[k].abs() * half[k]
        pd, pr, pu = p * d, p * r, [p * v for v in u]
        terms = [pd * d, pd * r, pr * r, *[pd * v for v in u], *[pr * v for v in u]]
        terms += [pu[j] * u[k] for j, k in pairs]
        terms += [tube * tube * p, *[h * h * p for h in half]]
        return [total + term for total, term in zip(totals, terms, strict=True)]

    n_total = 4 + 3 * n_direction + len(pairs)
    totals = accumulate(builder, n_band, [constant(builder, 0.0)] * n_total, step)
    forms, rest = totals[:3], totals[3:]
    by_d, by_r = rest[:n_direction], rest[n_direction : 2 * n_direction]
    radius, *ranges = rest[2 * n_direction + len(pairs) :]
    gram = dict(zip(pairs, rest[2 * n_direction :], strict=False))
    spreads = scalars(builder, spread, n_direction)
    eliminate(forms, (by_d, by_r, gram), spreads)
    _, chi2 = nearest(forms[0].maximum(0.0), forms[1], forms[2])
    looser = constant(builder, 1.0)
    for variance, square in zip(spreads, ranges, strict=True):
        looser = looser + (variance * square).sqrt()
    distance = (chi2.maximum(0.0).sqrt() - radius.sqrt()).maximum(0.0) / looser
    bound = load(builder, weight) - distance * distance * 0.5
    store(builder, bound, out)
    return bits_of_lanes(builder, bound.compare(">=", splat(builder, threshold)))


def _bounds_with(n_direction):
    """Make the intrinsic for a number of directions."""

    @intrinsic
    def bound(
        typingctx, n_band, mag, inverse, capsules, weight, displacement, spread, threshold, out
    ):
        signature = types.int64(*([types.intp] * 7), types.float64, types.intp)

        def codegen(context, builder, signature, args):
            return _emit_bound(builder, n_direction, args)

        return signature, codegen

    return bound


#: out[j] = weight[j] - N_j^2 / 2 for eight capsules, by the number of directions.
_, capsules_1, capsules_2, capsules_3 = (_bounds_with(n) for n in range(MOST_DIRECTIONS + 1))


def _positions(builder, n_band, unit, chord, points_of):
    """Where on the chord the points lie, in units of `unit`; one vector for each kind of point."""

    def step(band, totals):
        start, d = chord(band)
        weighted = splat(builder, load_scalar(builder, offset(builder, unit, band))) * d
        return [
            totals[0] + weighted * d,
            *[
                total + weighted * (y - start)
                for total, y in zip(totals[1:], points_of(band), strict=True)
            ],
        ]

    length, *along = accumulate(builder, n_band, [constant(builder, 0.0)] * 3, step)
    return [(x / length.maximum(1e-300)).maximum(0.0).minimum(1.0) for x in along]


def _store_tube(builder, n_band, tube, chord, points_of, positions, live, more):
    """Store the largest distance of the points from the chord in every band."""
    with cgutils.for_range(builder, n_band) as loop:
        start, d = chord(loop.index)
        far = more(loop.index)
        away = [
            (y - start - d * t).abs() + far
            for y, t in zip(points_of(loop.index), positions, strict=True)
        ]
        widest = largest_lane(builder, away[0].maximum(away[1]).where(live, 0.0))
        store_scalar(builder, widest, row_of(builder, tube, loop.index))


def _store_range(builder, low, high, live, middle, half):
    """Store middle and half range of the live lanes of low and high at two addresses."""
    bottom = smallest_lane(builder, low.where(live, 1e300))
    top = largest_lane(builder, high.where(live, -1e300))
    by_half = ir.Constant(ir.DoubleType(), 0.5)
    store_scalar(builder, builder.fmul(builder.fadd(bottom, top), by_half), middle)
    store_scalar(builder, builder.fmul(builder.fsub(top, bottom), by_half), half)


@intrinsic
def _enclose_segments(
    typingctx, n_band, n_direction, nodes, directions, alive, begin, end, unit, out
):
    """Store the capsule of the segments whose bits are set, at one lane of a table of capsules.

    The chord leads from the start of segment `begin` to the end of segment `end`.
    """
    signature = types.void(*([types.intp] * 4), types.int64, *([types.intp] * 4))

    def codegen(context, builder, signature, args):
        n_band, n_direction, nodes, directions, alive, begin, end, unit, out = args
        live = lanes_of_bits(builder, alive)
        fields = [_field(builder, out, n_band, i) for i in range(4)]

        def ends(band):
            rows = band, builder.add(n_band, band)
            return [
                load_scalar(builder, offset(builder, row_of(builder, nodes, row), lane))
                for row, lane in zip(rows, (begin, end), strict=True)
            ]

        def chord(band):
            start, stop = (splat(builder, value) for value in ends(band))
            return start, stop - start

        def points_of(band):
            return ends_of(builder, nodes, n_band, band)

        positions = _positions(builder, n_band, unit, chord, points_of)
        nothing = constant(builder, 0.0)
        _store_tube(
            builder, n_band, fields[2], chord, points_of, positions, live, lambda band: nothing
        )
        with cgutils.for_range(builder, n_band) as loop:
            for field, value in zip(fields[:2], ends(loop.index), strict=True):
                store_scalar(builder, value, row_of(builder, field, loop.index))
        n_row = builder.mul(n_band, n_direction)
        halves = row_of(builder, fields[3], n_row)
        with cgutils.for_range(builder, n_row) as loop:
            u = load(builder, row_of(builder, directions, loop.index))
            to = (row_of(builder, table, loop.index) for table in (fields[3], halves))
            _store_range(builder, u, u, live, *to)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _enclose_capsules(typingctx, n_band, n_direction, capsules, weight, begin, end, unit, out):
    """Store the capsule around those of eight that have weight, at one lane of a table.

    They follow each other along the tracks: the chord leads from the start of number `begin` to the
    end of number `end`.
    """
    signature = types.void(*([types.intp] * 8))

    def codegen(context, builder, signature, args):
        n_band, n_direction, capsules, weight, begin, end, unit, out = args
        live = load(builder, weight).compare(">", _NOTHING)
        inner = [_field(builder, capsules, n_band, i) for i in range(4)]
        outer = [_field(builder, out, n_band, i) for i in range(4)]
        with cgutils.for_range(builder, n_band) as loop:
            for table, to, lane in zip(inner[:2], outer[:2], (begin, end), strict=True):
                row = row_of(builder, table, loop.index)
                value = load_scalar(builder, offset(builder, row, lane))
                store_scalar(builder, value, row_of(builder, to, loop.index))

        def chord(band):
            start, stop = (
                splat(builder, load_scalar(builder, row_of(builder, table, band)))
                for table in outer[:2]
            )
            return start, stop - start

        def points_of(band):
            return [load(builder, row_of(builder, table, band)) for table in inner[:2]]

        positions = _positions(builder, n_band, unit, chord, points_of)
        _store_tube(
            builder, n_band, outer[2], chord, points_of, positions, live,
            lambda band: load(builder, row_of(builder, inner[2], band)),
        )  # fmt: skip
        n_row = builder.mul(n_band, n_direction)
        inner_half, outer_half = (row_of(builder, t[3], n_row) for t in (inner, outer))
        with cgutils.for_range(builder, n_row) as loop:
            middle, spread = (
                load(builder, row_of(builder, table, loop.index))
                for table in (inner[3], inner_half)
            )
            to = (row_of(builder, table, loop.index) for table in (outer[3], outer_half))
            _store_range(builder, middle - spread, middle + spread, live, *to)
        return context.get_dummy_value()

    return signature, codegen


@numba.njit(error_model="numpy", inline="always")
def _highest_bit(bits):
    """Index of the highest of eight bits, of which one is set."""
    lane = LANES - 1
    while not bits >> lane & 1:
        lane -= 1
    return lane


@numba.njit(cache=True, error_model="numpy")
def set_capsules(blocks, tiles, unit):
    """Set the capsules of blocks and of groups.

    Parameters
    ----------
    blocks : Blocks
        With their weights.
    tiles : Tiles
    unit : (B,)
        Typical inverse variances, which make bands comparable.
    """
    n_direction, n_band = tiles.along.shape[1:3]
    scales = address_of(unit, 0)
    size = blocks.block_capsules.shape[1] * n_band * LANES
    for k in range(tiles.alive.shape[0]):
        alive = tiles.alive[k]
        if alive == 0:
            continue
        _enclose_segments(
            n_band, n_direction, address_of(tiles.nodes, tiles.row[k] * n_band * LANES),
            address_of(tiles.along, k * n_direction * n_band * LANES), alive, lowest_bit(alive),
            _highest_bit(alive), scales,
            address_of(blocks.block_capsules, k // LANES * size + k % LANES),
        )  # fmt: skip
    for g in range(blocks.block_weight.shape[0]):
        bits = 0
        for lane in range(LANES):
            if tiles.alive[g * LANES + lane] != 0:
                bits |= 1 << lane
        if bits == 0:
            continue
        _enclose_capsules(
            n_band, n_direction, address_of(blocks.block_capsules, g * size),
            address_of(blocks.block_weight, g * LANES), lowest_bit(bits), _highest_bit(bits),
            scales, address_of(blocks.group_capsules, g // LANES * size + g % LANES),
        )  # fmt: skip
