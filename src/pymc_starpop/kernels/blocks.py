"""Segments of the model tracks in blocks of eight, with the boxes that let most be skipped.

A star is compared with boxes before segments: a *row* holds eight groups, a *group* eight blocks,
a *block* eight consecutive segments of one track. Each level stores the smallest and the largest
magnitude in every band and the largest log weight, so that

    max over the box of log(weight x g)  <=  log weight_max - chi2(star, box) / 2

is an upper bound. The last axis of every array runs over eight neighbors, which the functions of
`star_vectors` take at once.
"""

from typing import NamedTuple

import numba
import numpy as np

from pymc_starpop.kernels.capsules import n_field, set_capsules
from pymc_starpop.kernels.simd import LANES, address_of
from pymc_starpop.kernels.star_vectors import (
    enclose_boxes,
    live_segments,
    logs_where_positive,
    segment_box,
)

# The density along a segment is at most twice its mean.
_LARGEST_TILT = 2.0
#: The fewest points a model may have: eight segments are read at once.
MIN_POINT = LANES + 1

_n_field = numba.njit(n_field, error_model="numpy")


class Blocks(NamedTuple):
    """Boxes of R rows, G groups and K = 8 G blocks in B bands, last axis of 8 lanes.

    Attributes
    ----------
    row_low, row_high, row_weight : (R / 8, B, 8), (R / 8, 8) magnitudes and log weights of rows
    group_low, group_high, group_weight : (R, B, 8), (R, 8) the same of groups
    block_low, block_high, block_weight : (G, B, 8), (G, 8) the same of blocks
    first : (K,) first of the eight segments of each block
    alive : (K,) bits of those that belong to the block and carry weight; 0 where padding
    group_capsules, block_capsules : (R, F, B, 8), (G, F, B, 8) see `capsules`
    """

    row_low: np.ndarray
    row_high: np.ndarray
    row_weight: np.ndarray
    group_low: np.ndarray
    group_high: np.ndarray
    group_weight: np.ndarray
    block_low: np.ndarray
    block_high: np.ndarray
    block_weight: np.ndarray
    first: np.ndarray
    alive: np.ndarray
    group_capsules: np.ndarray
    block_capsules: np.ndarray


@numba.njit(cache=True, error_model="numpy")
def _list_blocks(scale, starts):
    """List the first segments of blocks that carry weight, neighbors next to each other.

    The first track is cut along the isochrone; the others (mass ratios) are taken eight tracks
    at a time at the same place along the isochrone, where they lie close to each other.
    """
    n_track = starts.shape[0] - 1
    last = scale.shape[0] - LANES
    n_most = (scale.shape[0] + LANES - 1) // LANES + n_track
    first = np.zeros(n_most + (n_track + LANES) * LANES, dtype=np.int64)
    alive = np.zeros_like(first)
    n = 0
    group_start = 0
    while group_start < n_track:
        group_end = 1 if group_start == 0 else min(group_start + LANES, n_track)
        longest = 0
        for t in range(group_start, group_end):
            longest = max(longest, starts[t + 1] - 1 - starts[t])
        for step in range(0, longest, LANES):
            for t in range(group_start, group_end):
                begin, end = starts[t] + step, starts[t + 1] - 1
                if begin >= end:
                    continue
                # The last block of all begins earlier, so that eight can be read.
                at = min(begin, last)
                mine = (1 << min(end - at, LANES)) - (1 << (begin - at))
                bits = live_segments(address_of(scale, at)) & mine
                if bits != 0:
                    first[n] = at
                    alive[n] = bits
                    n += 1
        while n % LANES != 0:
            n += 1
        group_start = group_end
    return first[:n].copy(), alive[:n].copy()


@numba.njit(cache=True, error_model="numpy")
def _enclose(low, high, weight, out_low, out_high, out_weight):
    """Set the boxes of a level (R, B, 8) around those of the level below (G, B, 8)."""
    n_band = low.shape[1]
    for g in range(weight.shape[0]):
        box = g * n_band * LANES
        out = (g // LANES) * n_band * LANES + g % LANES
        out_weight[g // LANES, g % LANES] = enclose_boxes(
            n_band, address_of(low, box), address_of(high, box), address_of(weight, g * LANES),
            address_of(out_low, out), address_of(out_high, out),
        )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def _set_boxes(blocks, tracks, scale):
    """Set the boxes of blocks, groups and rows."""
    n_band, n_point = tracks.shape
    for k in range(blocks.first.shape[0]):
        g, lane = k // LANES, k % LANES
        box = g * n_band * LANES + lane
        # A block of padding gets the box (1e300, -1e300) and the weight 0.
        blocks.block_weight[g, lane] = _LARGEST_TILT * segment_box(
            n_band, address_of(tracks, blocks.first[k]), n_point,
            address_of(scale, blocks.first[k]), blocks.alive[k],
            address_of(blocks.block_low, box), address_of(blocks.block_high, box),
        )  # fmt: skip
    for g in range(blocks.block_weight.shape[0]):
        logs_where_positive(address_of(blocks.block_weight, g * LANES))
    _enclose(
        blocks.block_low, blocks.block_high, blocks.block_weight, blocks.group_low,
        blocks.group_high, blocks.group_weight,
    )  # fmt: skip
    _enclose(
        blocks.group_low, blocks.group_high, blocks.group_weight, blocks.row_low, blocks.row_high,
        blocks.row_weight,
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def build_blocks(model, n_direction, unit):
    """Arrange the segments of a `TrackModel` of at least `MIN_POINT` points into blocks.

    Directions only count where `n_direction` is not 0; `unit` (B,) are typical inverse variances.
    """
    n_band = model.tracks.shape[0]
    first, alive = _list_blocks(model.scale, model.starts)
    n_group = first.shape[0] // LANES
    n_row = (n_group + LANES - 1) // LANES
    n_top = (n_row + LANES - 1) // LANES
    size = _n_field(n_direction)
    blocks = Blocks(
        np.zeros((n_top, n_band, LANES)),
        np.zeros((n_top, n_band, LANES)),
        np.full((n_top, LANES), -np.inf),
        np.zeros((n_row, n_band, LANES)),
        np.zeros((n_row, n_band, LANES)),
        np.full((n_row, LANES), -np.inf),
        np.empty((n_group, n_band, LANES)),
        np.empty((n_group, n_band, LANES)),
        np.empty((n_group, LANES)),
        first,
        alive,
        np.zeros((n_row, size, n_band, LANES)),
        np.zeros((n_group, size, n_band, LANES)),
    )
    _set_boxes(blocks, model.tracks, model.scale)
    if n_direction > 0:
        set_capsules(blocks, model.tracks, model.directions, model.starts[1], unit)
    return blocks
