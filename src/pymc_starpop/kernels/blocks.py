"""Segments of the model tracks in blocks of eight, with the boxes that let most be skipped.

A star is compared with boxes before segments: a *group* holds eight blocks, a *block* eight
consecutive segments of one track. Each level stores the smallest and the largest magnitude in
every band and the largest log weight, so that

    max over the box of log(weight x g)  <=  log weight_max - chi2(star, box) / 2

is an upper bound. The last axis of every array runs over eight neighbors, which is what LLVM
turns into vector instructions.
"""

from typing import NamedTuple

import numba
import numpy as np

from pymc_starpop.kernels.simd import LANES, address_of, copy_segments

# The density along a segment is at most twice its mean.
_LOG_TILT = np.log(2.0)


class Blocks(NamedTuple):
    """Segments and boxes; G groups, K = 8 G blocks, B bands, last axis always 8 lanes.

    Attributes
    ----------
    row_low, row_high, row_weight : (R / 8, B, 8), (R / 8, 8) boxes of rows of eight groups
    group_low, group_high : (R, B, 8) magnitudes, R = G / 8 rounded up
    group_weight : (R, 8) log of the largest scale in the group
    block_low, block_high : (G, B, 8) magnitudes
    block_weight : (G, 8)
    start, step : (K, B, 8) y_a and d of each segment, magnitudes
    weight : (K, 8) log of twice the largest scale in the block; -inf where there is no segment
    track, first : (K,) track index and first segment of each block; track -1 where padding
    reddening : (K, B, 8) mean dm/dA_V of each segment
    reddening_max : (B,) largest |dm/dA_V| of any segment
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
    start: np.ndarray
    step: np.ndarray
    weight: np.ndarray
    track: np.ndarray
    first: np.ndarray
    reddening: np.ndarray
    reddening_max: np.ndarray


@numba.njit(cache=True, error_model="numpy")
def _list_blocks(scale):
    """List the (track, first segment) of blocks that carry weight, neighbors next to each other.

    The first track is cut along the isochrone; the others (mass ratios) are taken eight tracks
    at a time at the same place along the isochrone, where they lie close to each other.
    """
    n_track, n_segment = scale.shape
    n_block = (n_segment + LANES - 1) // LANES
    track = np.empty(n_track * n_block + (n_track + 8) * LANES, dtype=np.int64)
    first = np.empty_like(track)
    n = 0
    group_start = 0
    while group_start < n_track:
        group_end = 1 if group_start == 0 else min(group_start + LANES, n_track)
        for k in range(n_block):
            for t in range(group_start, group_end):
                alive = False
                for s in range(k * LANES, min((k + 1) * LANES, n_segment)):
                    alive |= scale[t, s] > 0.0
                if alive:
                    track[n] = t
                    first[n] = k * LANES
                    n += 1
        while n % LANES != 0:
            track[n] = -1
            first[n] = 0
            n += 1
        group_start = group_end
    return track[:n].copy(), first[:n].copy()


@numba.njit(error_model="numpy", inline="always")
def _set_weights(blocks, k, scale):
    """Set the bounds of the weights of block k and of its segments."""
    t, first = blocks.track[k], blocks.first[k]
    n_alive = min(LANES, scale.shape[1] - first)
    largest = 0.0
    for lane in range(n_alive):
        largest = max(largest, scale[t, first + lane])
    # One logarithm for the block: its segments have similar weights.
    bound = np.log(largest) + _LOG_TILT
    blocks.block_weight[k // LANES, k % LANES] = bound
    for lane in range(n_alive):
        blocks.weight[k, lane] = bound if scale[t, first + lane] > 0.0 else -np.inf
    for lane in range(n_alive, LANES):
        blocks.weight[k, lane] = -np.inf


@numba.njit(error_model="numpy", inline="always")
def _set_reddening(blocks, k, reddening):
    """Set the mean reddening of the segments of block k and update its largest values."""
    t, first = blocks.track[k], blocks.first[k]
    for lane in range(LANES):
        s = min(first + lane, reddening.shape[1] - 2)
        for b in range(reddening.shape[2]):
            mean = 0.5 * (reddening[t, s, b] + reddening[t, s + 1, b])
            blocks.reddening[k, b, lane] = mean
            blocks.reddening_max[b] = max(blocks.reddening_max[b], abs(mean))


@numba.njit(error_model="numpy", inline="always")
def _fill_block(blocks, k, model, with_reddening):
    """Copy the segments of block k from the tracks and set its box."""
    g, lane = k // LANES, k % LANES
    t, first = blocks.track[k], blocks.first[k]
    if t < 0:
        blocks.block_weight[g, lane] = -np.inf
        blocks.weight[k, :] = -np.inf
        blocks.block_low[g, :, lane] = 0.0
        blocks.block_high[g, :, lane] = 0.0
        blocks.start[k] = 0.0
        blocks.step[k] = 0.0
        if with_reddening:
            blocks.reddening[k] = 0.0
        return
    n_node, n_band = model.tracks.shape[1:]
    box = g * n_band * LANES + lane
    copy_segments(
        n_band, n_node - first, address_of(model.tracks, (t * n_node + first) * n_band),
        address_of(blocks.start, k * n_band * LANES), address_of(blocks.step, k * n_band * LANES),
        address_of(blocks.block_low, box), address_of(blocks.block_high, box),
    )  # fmt: skip
    _set_weights(blocks, k, model.scale)
    if with_reddening:
        _set_reddening(blocks, k, model.reddening)


@numba.njit(error_model="numpy", inline="always")
def _enclose(low, high, weight, out_low, out_high, out_weight, lane):
    """Put the box around eight boxes into a lane of the next level; those of no weight left out."""
    for b in range(low.shape[0]):
        bottom, top = np.inf, -np.inf
        for j in range(LANES):
            if weight[j] > -np.inf:
                bottom = min(bottom, low[b, j])
                top = max(top, high[b, j])
        out_low[b, lane] = bottom
        out_high[b, lane] = top
    out_weight[lane] = weight.max()


@numba.njit(cache=True, error_model="numpy")
def build_blocks(model, with_reddening):
    """Arrange the segments of a `TrackModel` into blocks and groups."""
    n_band = model.tracks.shape[2]
    track, first = _list_blocks(model.scale)
    n_block = track.shape[0]
    n_group = n_block // LANES
    n_row = (n_group + LANES - 1) // LANES
    n_red = n_block if with_reddening else 0
    n_top = (n_row + LANES - 1) // LANES
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
        np.empty((n_block, n_band, LANES)),
        np.empty((n_block, n_band, LANES)),
        np.empty((n_block, LANES)),
        track,
        first,
        np.empty((n_red, n_band, LANES)),
        np.zeros(n_band),
    )
    for k in range(n_block):
        _fill_block(blocks, k, model, with_reddening)
    for g in range(n_group):
        _enclose(
            blocks.block_low[g], blocks.block_high[g], blocks.block_weight[g],
            blocks.group_low[g // LANES], blocks.group_high[g // LANES],
            blocks.group_weight[g // LANES], g % LANES,
        )  # fmt: skip
    for r in range(n_row):
        _enclose(
            blocks.group_low[r], blocks.group_high[r], blocks.group_weight[r],
            blocks.row_low[r // LANES], blocks.row_high[r // LANES],
            blocks.row_weight[r // LANES], r % LANES,
        )  # fmt: skip
    return blocks
