"""The memory that one star after the other uses, and the addresses of everything in it.

The loop over stars works on addresses, not on arrays: references to arrays are counted with
atomic instructions, which at this grain would cost more than twice the arithmetic. `Arrays` owns
the memory and has to live as long as the `Addresses` made from it are used.
"""

from typing import NamedTuple

import numba
import numpy as np

from pymc_starpop.kernels.pair_vectors import n_extra
from pymc_starpop.kernels.segment import N_ROW
from pymc_starpop.kernels.simd import LANES, WORD, address_of, aligned_empty

ROW_BYTES = WORD * LANES

_n_extra = numba.njit(n_extra, error_model="numpy")


class Arrays(NamedTuple):
    """Room for one star, used again by the next one, in D dimensions with K directions.

    Attributes
    ----------
    mag, inverse : (D,) magnitude and inverse variance
    displacement : (K,) how far the model of the star is displaced along the directions
    scatter : (K,) variance along the directions, the same for all stars
    by_star : (2 B, 8) derivatives by the magnitudes and variances of the star, lane by lane
    bound : (R, 8) bounds of boxes or of the capsules of groups
    block_bound : (8,) bounds of capsules of blocks
    order : (M,) indices of the blocks that may matter
    kept : (M,) places in `order` of the blocks that do matter
    batch : (M, N_ROW + E, 8) the rows of `segment` of each block in `order`, and of directions
    """

    mag: np.ndarray
    inverse: np.ndarray
    displacement: np.ndarray
    scatter: np.ndarray
    by_star: np.ndarray
    bound: np.ndarray
    block_bound: np.ndarray
    order: np.ndarray
    kept: np.ndarray
    batch: np.ndarray


class Addresses(NamedTuple):
    """Sizes, and addresses of the arrays of the same names in `Tiles`, `Blocks` and `Arrays`.

    In bytes: `batch_bytes`, `node_bytes` and `along_bytes` are the sizes of one batch, of the nodes
    (B, 8) of one row, and of the directions of one block.
    """

    n_band: int
    n_direction: int
    n_top: int
    n_row: int
    n_block: int
    batch_bytes: int
    node_bytes: int
    along_bytes: int
    row: int
    alive: int
    nodes: int
    along: int
    weights: int
    tilts: int
    row_low: int
    row_high: int
    row_weight: int
    group_low: int
    group_high: int
    group_weight: int
    block_low: int
    block_high: int
    block_weight: int
    group_capsules: int
    block_capsules: int
    mag: int
    inverse: int
    displacement: int
    scatter: int
    by_star: int
    bound: int
    block_bound: int
    order: int
    kept: int
    batch: int


@numba.njit(cache=True, error_model="numpy")
def new_arrays(tiles, n_band, n_direction):
    """Allocate the room for one star: for far more pairs than most stars ever touch."""
    n_block, n_row = tiles.alive.shape[0], (tiles.start.shape[0] + LANES - 1) // LANES
    n_batch = N_ROW + _n_extra(n_direction)
    return Arrays(
        np.empty(n_band), np.empty(n_band), np.zeros(n_direction), np.zeros(n_direction),
        aligned_empty(2 * n_band * LANES).reshape((2 * n_band, LANES)),
        np.empty((max(n_row, 1), LANES)), np.empty(LANES), np.empty(n_block, dtype=np.int64),
        np.empty(n_block, dtype=np.int64),
        aligned_empty(n_block * n_batch * LANES).reshape((n_block, n_batch, LANES)),
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def addresses_of(tiles, blocks, arrays):
    """Collect sizes and addresses."""
    n_band, n_direction = arrays.mag.shape[0], arrays.scatter.shape[0]
    return Addresses(
        n_band, n_direction, blocks.row_weight.shape[0],
        blocks.group_weight.shape[0], tiles.alive.shape[0], ROW_BYTES * arrays.batch.shape[1],
        ROW_BYTES * n_band, ROW_BYTES * n_band * n_direction, address_of(tiles.row, 0),
        address_of(tiles.alive, 0), address_of(tiles.nodes, 0), address_of(tiles.along, 0),
        address_of(tiles.weights, 0), address_of(tiles.tilts, 0),
        address_of(blocks.row_low, 0), address_of(blocks.row_high, 0),
        address_of(blocks.row_weight, 0), address_of(blocks.group_low, 0),
        address_of(blocks.group_high, 0), address_of(blocks.group_weight, 0),
        address_of(blocks.block_low, 0), address_of(blocks.block_high, 0),
        address_of(blocks.block_weight, 0), address_of(blocks.group_capsules, 0),
        address_of(blocks.block_capsules, 0), address_of(arrays.mag, 0),
        address_of(arrays.inverse, 0), address_of(arrays.displacement, 0),
        address_of(arrays.scatter, 0), address_of(arrays.by_star, 0), address_of(arrays.bound, 0),
        address_of(arrays.block_bound, 0), address_of(arrays.order, 0),
        address_of(arrays.kept, 0), address_of(arrays.batch, 0),
    )  # fmt: skip
