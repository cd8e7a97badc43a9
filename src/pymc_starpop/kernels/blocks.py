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

LANES = 8
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
    true_weight, tilt : (K, 8) weight and tilt of each segment
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
    true_weight: np.ndarray
    tilt: np.ndarray
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


@numba.njit(cache=True, error_model="numpy")
def _fill_block(blocks, k, model, with_reddening):
    """Copy the segments of block k from the tracks and set its box."""
    tracks, reddening, scale = model.tracks, model.reddening, model.scale
    n_segment = scale.shape[1]
    n_band = tracks.shape[2]
    t = blocks.track[k]
    g, lane_in_group = k // LANES, k % LANES
    for b in range(n_band):
        blocks.block_low[g, b, lane_in_group] = np.inf
        blocks.block_high[g, b, lane_in_group] = -np.inf
    blocks.block_weight[g, lane_in_group] = -np.inf
    largest = 0.0
    for lane in range(LANES):
        s = blocks.first[k] + lane
        alive = t >= 0 and s < n_segment and scale[max(t, 0), min(s, n_segment - 1)] > 0.0
        blocks.weight[k, lane] = 0.0 if alive else -np.inf
        if alive:
            largest = max(largest, scale[t, s])
            blocks.true_weight[k, lane] = model.weights[t, s]
            blocks.tilt[k, lane] = model.tilts[t, s]
        for b in range(n_band):
            low = tracks[t, s, b] if alive else 0.0
            high = tracks[t, s + 1, b] if alive else 0.0
            blocks.start[k, b, lane] = low
            blocks.step[k, b, lane] = high - low
            if with_reddening:
                mean = 0.5 * (reddening[t, s, b] + reddening[t, s + 1, b]) if alive else 0.0
                blocks.reddening[k, b, lane] = mean
                blocks.reddening_max[b] = max(blocks.reddening_max[b], abs(mean))
            if alive:
                blocks.block_low[g, b, lane_in_group] = min(
                    blocks.block_low[g, b, lane_in_group], min(low, high)
                )
                blocks.block_high[g, b, lane_in_group] = max(
                    blocks.block_high[g, b, lane_in_group], max(low, high)
                )
    if largest > 0.0:
        # One logarithm for the block: its segments have similar weights.
        bound = np.log(largest) + _LOG_TILT
        blocks.block_weight[g, lane_in_group] = bound
        for lane in range(LANES):
            blocks.weight[k, lane] += bound


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
        np.zeros((n_block, LANES)),
        np.zeros((n_block, LANES)),
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


@numba.njit(cache=True, error_model="numpy")
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
