"""Boxes around blocks of eight segments, that let most of the model be skipped.

A star is compared with boxes before segments: a *row* holds eight groups, a *group* eight blocks
(a tile of `tiles`), a *block* eight segments. Each level stores the smallest and the largest
magnitude in every band and the largest log weight, so that

    max over the box of log(weight x g)  <=  log weight_max - chi2(star, box) / 2

is an upper bound. The last axis of every array runs over eight neighbors, which the functions of
`star_vectors` take at once.
"""

from typing import NamedTuple

import numba
import numpy as np

from pymc_starpop.kernels.capsules import n_field, set_capsules
from pymc_starpop.kernels.simd import LANES, address_of, aligned_empty
from pymc_starpop.kernels.star_vectors import enclose_boxes, logs_where_positive

# The density along a segment is at most twice its mean.
_LARGEST_TILT = 2.0

_n_field = numba.njit(n_field, error_model="numpy")


class Blocks(NamedTuple):
    """Boxes of R rows, G groups and 8 G blocks in B bands, last axis of 8 lanes.

    Attributes
    ----------
    row_low, row_high, row_weight : (R / 8, B, 8), (R / 8, 8) magnitudes and log weights of rows
    group_low, group_high, group_weight : (R, B, 8), (R, 8) the same of groups
    block_low, block_high, block_weight : (G, B, 8), (G, 8) the same of blocks
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
    group_capsules: np.ndarray
    block_capsules: np.ndarray


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
def _table(n_box, n_band, value):
    """Allocate (n_box, n_band, 8) numbers of one value."""
    flat = aligned_empty(n_box * n_band * LANES)
    flat[:] = value
    return flat.reshape((n_box, n_band, LANES))


@numba.njit(cache=True, error_model="numpy")
def build_blocks(tiles, n_direction, unit):
    """Enclose the blocks of tiles.

    Directions only count where `n_direction` is not 0; `unit` (B,) are typical inverse variances.
    """
    n_group, n_band = tiles.low.shape[:2]
    n_row = (n_group + LANES - 1) // LANES
    n_top = (n_row + LANES - 1) // LANES
    size = _n_field(n_direction)
    blocks = Blocks(
        _table(n_top, n_band, 0.0),
        _table(n_top, n_band, 0.0),
        _table(n_top, 1, -np.inf).reshape((n_top, LANES)),
        _table(n_row, n_band, 0.0),
        _table(n_row, n_band, 0.0),
        _table(n_row, 1, -np.inf).reshape((n_row, LANES)),
        tiles.low,
        tiles.high,
        _LARGEST_TILT * tiles.largest,
        np.zeros((n_row, size, n_band, LANES)),
        np.zeros((n_group, size, n_band, LANES)),
    )
    for g in range(n_group):
        logs_where_positive(address_of(blocks.block_weight, g * LANES))
    _enclose(
        blocks.block_low, blocks.block_high, blocks.block_weight, blocks.group_low,
        blocks.group_high, blocks.group_weight,
    )  # fmt: skip
    _enclose(
        blocks.group_low, blocks.group_high, blocks.group_weight, blocks.row_low, blocks.row_high,
        blocks.row_weight,
    )  # fmt: skip
    if n_direction > 0:
        set_capsules(blocks, tiles, unit)
    return blocks
