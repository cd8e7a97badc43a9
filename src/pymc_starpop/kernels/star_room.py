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
from pymc_starpop.kernels.simd import LANES, address_of

# Rows of the quadratic forms of a block, after A, B, C; those of the directions follow.
BOUND = 3
N_FORM = 4
WORD = 8
ROW_BYTES = WORD * LANES

_n_extra = numba.njit(n_extra, error_model="numpy")


class Arrays(NamedTuple):
    """Room for one star, used again by the next one, in D dimensions with K directions.

    Attributes
    ----------
    mag, inverse : (D,) magnitude and inverse variance
    displacement : (K,) how far the model of the star is displaced along the directions
    scatter : (K,) variance along the directions, the same for all stars
    bound : (R, 8) bounds of boxes or of the capsules of groups
    block_bound : (8,) bounds of capsules of blocks
    order : (M,) indices of the blocks that may matter
    form : (M, 4 + E, 8) A, B, C and the bound of their segments, E rows of directions
    mask : (M,) bits of the segments above the threshold
    segment : (M, 8) first points of the pairs kept, in batches of eight
    batch : (M, N_ROW + E, 8) the rows of `segment` and of directions for these pairs
    """

    mag: np.ndarray
    inverse: np.ndarray
    displacement: np.ndarray
    scatter: np.ndarray
    bound: np.ndarray
    block_bound: np.ndarray
    order: np.ndarray
    form: np.ndarray
    mask: np.ndarray
    segment: np.ndarray
    batch: np.ndarray


class Addresses(NamedTuple):
    """Sizes, and addresses of the arrays of the same names in model, `Blocks` and `Arrays`.

    `form_bytes` and `batch_bytes` are the sizes of one block's forms and of one batch.
    """

    n_band: int
    n_point: int
    n_direction: int
    n_extra: int
    n_top: int
    n_row: int
    n_block: int
    form_bytes: int
    batch_bytes: int
    tracks: int
    directions: int
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
    first: int
    alive: int
    group_capsules: int
    block_capsules: int
    mag: int
    inverse: int
    displacement: int
    scatter: int
    bound: int
    block_bound: int
    order: int
    form: int
    mask: int
    segment: int
    batch: int


@numba.njit(cache=True, error_model="numpy")
def new_arrays(blocks, n_band, n_direction):
    """Allocate the room for one star: for far more pairs than most stars ever touch."""
    n_block, n_more = blocks.first.shape[0], _n_extra(n_direction)
    return Arrays(
        np.empty(n_band), np.empty(n_band), np.zeros(n_direction), np.zeros(n_direction),
        np.empty((max(blocks.group_weight.shape[0], 1), LANES)), np.empty(LANES),
        np.empty(n_block, dtype=np.int64), np.empty((n_block, N_FORM + n_more, LANES)),
        np.empty(n_block, dtype=np.int64), np.empty((n_block, LANES), dtype=np.int64),
        np.empty((n_block, N_ROW + n_more, LANES)),
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def addresses_of(model, blocks, arrays):
    """Collect sizes and addresses."""
    n_direction = arrays.scatter.shape[0]
    return Addresses(
        model.tracks.shape[0], model.tracks.shape[1], n_direction, _n_extra(n_direction),
        blocks.row_weight.shape[0], blocks.group_weight.shape[0], blocks.first.shape[0],
        ROW_BYTES * arrays.form.shape[1], ROW_BYTES * arrays.batch.shape[1],
        address_of(model.tracks, 0), address_of(model.directions, 0),
        address_of(model.weights, 0), address_of(model.tilts, 0),
        address_of(blocks.row_low, 0), address_of(blocks.row_high, 0),
        address_of(blocks.row_weight, 0), address_of(blocks.group_low, 0),
        address_of(blocks.group_high, 0), address_of(blocks.group_weight, 0),
        address_of(blocks.block_low, 0), address_of(blocks.block_high, 0),
        address_of(blocks.block_weight, 0), address_of(blocks.first, 0),
        address_of(blocks.alive, 0), address_of(blocks.group_capsules, 0),
        address_of(blocks.block_capsules, 0), address_of(arrays.mag, 0),
        address_of(arrays.inverse, 0),
        address_of(arrays.displacement, 0), address_of(arrays.scatter, 0),
        address_of(arrays.bound, 0), address_of(arrays.block_bound, 0),
        address_of(arrays.order, 0), address_of(arrays.form, 0),
        address_of(arrays.mask, 0), address_of(arrays.segment, 0), address_of(arrays.batch, 0),
    )  # fmt: skip
