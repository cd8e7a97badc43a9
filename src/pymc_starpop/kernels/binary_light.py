"""The light of secondaries added to that of primaries, in all bands, and its derivatives.

For the formulas see `pymc_starpop.kernels.binaries`. Eight points of a track are taken at once.
The secondaries of neighboring points lie between other nodes: their magnitudes are read from a
table of nodes in which the eight lanes are bands, and turned around to lanes that are points.
"""

import math

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pymc_starpop.kernels.simd import (
    LANES,
    Vector,
    address_of,
    aligned_empty,
    constant,
    load,
    load_rows,
    load_scalar,
    offset,
    polynomial,
    splat,
    still_needed,
    store,
    store_rows,
    store_scalar,
    sum_lanes,
    transposed,
)
from pymc_starpop.kernels.star_vectors import row_of

MAG_TO_LN = 0.4 * math.log(10.0)


def _log1p_coefficients(degree):
    """Polynomial in 18 s^2 - 1 for 2 artanh(s) / s, s^2 <= 1/9; degree 7 leaves 7e-14."""

    def scaled(y):
        s = np.sqrt((y + 1.0) / 18.0)
        return 2.0 * np.arctanh(s) / s

    chebyshev = np.polynomial.chebyshev
    return chebyshev.cheb2poly(chebyshev.chebinterpolate(scaled, degree))


_LOG1P = _log1p_coefficients(7)


def band_of(builder, track, stride, band):
    """Address of the same point in another band."""
    return offset(builder, track, builder.mul(band, stride))


def added_light(first, second):
    """Total magnitudes of pairs of stars, and the second one's shares of the light.

    With u <= 1 the ratio of the fainter to the brighter, log(1 + u) = 2 artanh(u / (2 + u)), and
    the share of the fainter is u / (1 + u): one division serves both.
    """
    difference = second - first
    u = (difference.abs() * -MAG_TO_LN).maximum(-700.0).exp()
    by_log, by_share = u + 2.0, u + 1.0
    scaled = u / (by_log * by_share)
    s, fainter = scaled * by_share, scaled * by_log
    series = polynomial(s * s * 18.0 - 1.0, _LOG1P)
    total = first.minimum(second) - s * series * (1.0 / MAG_TO_LN)
    return total, fainter.where(difference.compare(">=", 0.0), 1.0 - fainter)


def _place(builder, positions, lane, last):
    """Node before the position of one of eight points, at most `last`, and the way to the next."""
    position = load_scalar(builder, offset(builder, positions, lane))
    whole = builder.fptosi(position, ir.IntType(64))
    node = builder.select(builder.icmp_signed("<", whole, last), whole, last)
    way = builder.fsub(position, builder.sitofp(node, ir.DoubleType()))
    return node, splat(builder, way)


@intrinsic
def _add_secondaries(
    typingctx, n_band, nodes, last, positions, primary, primary_stride, table, tracks,
    track_stride, share, share_stride,
):  # fmt: skip
    """Store total magnitudes and shares of eight binaries in up to eight bands.

    All but `n_band`, the last node `last` and the strides are addresses; those of `nodes` are
    bands of one node, `table` is room for (8, 8).
    """

    def codegen(context, builder, signature, args):
        (
            n_band, nodes, last, positions, primary, primary_stride, table, tracks, track_stride,
            share, share_stride,
        ) = args  # fmt: skip
        secondaries = []
        for lane in range(LANES):
            node, way = _place(builder, positions, lane, last)
            at = row_of(builder, nodes, node)
            before, after = load_rows(builder, at, (0, 1))
            secondaries.append(before + way * (after - before))
        store_rows(builder, table, dict(enumerate(transposed(builder, secondaries))))
        with cgutils.for_range(builder, n_band) as loop:
            band = loop.index
            total, of_second = added_light(
                load(builder, band_of(builder, primary, primary_stride, band)),
                load(builder, row_of(builder, table, band)),
            )
            store(builder, total, band_of(builder, tracks, track_stride, band))
            store(builder, of_second, band_of(builder, share, share_stride, band))
        return context.get_dummy_value()

    return types.void(*([types.intp] * 11)), codegen


@intrinsic
def _pull_secondaries(
    typingctx, n_band, nodes, last, positions, g_tracks, track_stride, share, share_stride, table,
    g_primary, primary_stride, g_nodes, g_position,
):  # fmt: skip
    """Add the derivatives of what `_add_secondaries` stores; `table` has zeros beyond the bands."""

    def codegen(context, builder, signature, args):
        (
            n_band, nodes, last, positions, g_tracks, track_stride, share, share_stride, table,
            g_primary, primary_stride, g_nodes, g_position,
        ) = args  # fmt: skip
        with cgutils.for_range(builder, n_band) as loop:
            band = loop.index
            g = load(builder, band_of(builder, g_tracks, track_stride, band))
            second = g * load(builder, band_of(builder, share, share_stride, band))
            at = band_of(builder, g_primary, primary_stride, band)
            store(builder, load(builder, at) + (g - second), at)
            store(builder, second, row_of(builder, table, band))
        rows = transposed(builder, load_rows(builder, table, range(LANES)))
        for lane, second in enumerate(rows):
            node, way = _place(builder, positions, lane, last)
            before, after = load_rows(builder, row_of(builder, nodes, node), (0, 1))
            at = row_of(builder, g_nodes, node)
            g_before, g_after = load_rows(builder, at, (0, 1))
            of_after = second * way
            store_rows(builder, at, {0: g_before + (second - of_after), 1: g_after + of_after})
            place = offset(builder, g_position, lane)
            moved = sum_lanes(builder, second * (after - before))
            store_scalar(builder, builder.fadd(load_scalar(builder, place), moved), place)
        return context.get_dummy_value()

    return types.void(*([types.intp] * 13)), codegen


@intrinsic
def _any_of(typingctx, n_band, values, stride):
    """Whether any of eight numbers in up to eight bands differs from 0."""

    def codegen(context, builder, signature, args):
        n_band, values, stride = args
        total = cgutils.alloca_once_value(builder, constant(builder, 0.0).value)
        builder.store(constant(builder, 0.0).value, total)
        with cgutils.for_range(builder, n_band) as loop:
            found = load(builder, band_of(builder, values, stride, loop.index)).abs()
            builder.store((Vector(builder, builder.load(total)) + found).value, total)
        found = sum_lanes(builder, Vector(builder, builder.load(total)))
        return builder.fcmp_unordered("!=", found, ir.Constant(found.type, 0.0))

    return types.boolean(*([types.intp] * 3)), codegen


@numba.njit(cache=True, error_model="numpy")
def _by_node(mag, first_band):
    """Return up to eight bands of magnitudes (R, E) as a table (E, 8), zeros beyond the bands."""
    n_band = min(mag.shape[0] - first_band, LANES)
    out = aligned_empty(mag.shape[1] * LANES).reshape((mag.shape[1], LANES))
    out[:] = 0.0
    for b in range(n_band):
        for e in range(mag.shape[1]):
            out[e, b] = mag[first_band + b, e]
    return out


@numba.njit(cache=True, error_model="numpy")
def set_magnitudes(mag, position, tracks, share):
    """Set the magnitudes of binaries in all bands, and the shares of the secondaries.

    Parameters
    ----------
    mag : (L, E_b) magnitudes of single stars
    position : (Q E_b + 8,) where the secondaries lie, ratio by ratio
    tracks : (L, P) contiguous; the last Q E_b points of each row are set
    share : (L, Q E_b) contiguous; set
    """
    n_light, n_main = mag.shape
    n_point, n_binary = tracks.shape[1], share.shape[1]
    n_ratio = n_binary // n_main
    primary = np.zeros((n_light, n_main + LANES))
    primary[:, :n_main] = mag
    table, rest = np.zeros((LANES, LANES)), np.zeros((2, LANES, LANES))
    whole = n_main - n_main % LANES
    for first_band in range(0, n_light, LANES):
        n_band = min(n_light - first_band, LANES)
        nodes = _by_node(mag, first_band)
        for j in range(n_ratio):
            at = j * n_main
            for e in range(0, n_main, LANES):
                # The points left over by eights: into a table first.
                is_rest = e >= whole
                into = n_point - n_binary + at + e
                _add_secondaries(
                    n_band, address_of(nodes, 0), n_main - 2, address_of(position, at + e),
                    address_of(primary, first_band * (n_main + LANES) + e), n_main + LANES,
                    address_of(table, 0),
                    address_of(rest, 0) if is_rest else
                    address_of(tracks, first_band * n_point + into),
                    LANES if is_rest else n_point,
                    address_of(rest, LANES * LANES) if is_rest else
                    address_of(share, first_band * n_binary + at + e),
                    LANES if is_rest else n_binary,
                )  # fmt: skip
                if is_rest:
                    for b in range(n_band):
                        for k in range(n_main - whole):
                            tracks[first_band + b, into + k] = rest[0, b, k]
                            share[first_band + b, at + e + k] = rest[1, b, k]
        still_needed(nodes)
    still_needed(primary)
    still_needed(table)
    still_needed(position)


@numba.njit(cache=True, error_model="numpy")
def pull_magnitudes(mag, position, share, g_tracks, g_mag, g_position):
    """Add the derivatives of what `set_magnitudes` sets.

    Parameters
    ----------
    mag : (L, E_b)
    position : (Q E_b + 8,)
    share : (L, Q E_b) contiguous
    g_tracks : (R, P) contiguous, R >= L; of each row the last Q E_b count
    g_mag : (L, E_b), added to
    g_position : (Q E_b + 8,), added to
    """
    n_light, n_main = mag.shape
    n_point, n_binary = g_tracks.shape[1], share.shape[1]
    n_ratio = n_binary // n_main
    whole = n_main - n_main % LANES
    # Of the points left over by eights: derivatives, and shares.
    rest = np.zeros((2, LANES, LANES))
    for first_band in range(0, n_light, LANES):
        n_band = min(n_light - first_band, LANES)
        nodes, table = _by_node(mag, first_band), np.zeros((LANES, LANES))
        g_nodes, g_primary = np.zeros((n_main, LANES)), np.zeros((n_band, n_main + LANES))
        for j in range(n_ratio):
            at = j * n_main
            for e in range(0, n_main, LANES):
                is_rest = e >= whole
                start = n_point - n_binary + at + e
                if is_rest:
                    for b in range(n_band):
                        for k in range(n_main - whole):
                            rest[0, b, k] = g_tracks[first_band + b, start + k]
                            rest[1, b, k] = share[first_band + b, at + e + k]
                g = (
                    address_of(rest, 0) if is_rest else
                    address_of(g_tracks, first_band * n_point + start)
                )  # fmt: skip
                stride = LANES if is_rest else n_point
                # Most points matter to no star.
                if _any_of(n_band, g, stride):
                    _pull_secondaries(
                        n_band, address_of(nodes, 0), n_main - 2, address_of(position, at + e), g,
                        stride,
                        address_of(rest, LANES * LANES) if is_rest else
                        address_of(share, first_band * n_binary + at + e),
                        LANES if is_rest else n_binary, address_of(table, 0),
                        address_of(g_primary, e), n_main + LANES, address_of(g_nodes, 0),
                        address_of(g_position, at + e),
                    )  # fmt: skip
        for b in range(n_band):
            for e in range(n_main):
                g_mag[first_band + b, e] += g_nodes[e, b] + g_primary[b, e]
        still_needed(nodes)
        still_needed(table)
        still_needed(g_nodes)
        still_needed(g_primary)
    still_needed(rest)
    still_needed(position)
    still_needed(share)
    still_needed(g_tracks)
    still_needed(g_position)
