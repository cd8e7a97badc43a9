"""Find the segments that matter to one star, and integrate them.

Rows, groups, blocks and segments are kept while an upper bound of their contribution is above
exp(LOG_TOLERANCE) of what the star already has, from its best segment or from the field.

The loops of one star stay inside one compiled function: passing arrays between compiled
functions costs reference counts, which at this grain would cost more than the arithmetic.
"""

import math
from typing import NamedTuple

import numba
import numpy as np

from pymc_starpop.kernels.blocks import LANES
from pymc_starpop.kernels.segment import (
    EXTRA,
    KD,
    KR,
    N_ROW,
    SHRINK,
    TILT,
    WEIGHT,
    A,
    B,
    C,
    integrate_pairs,
    sum_pairs,
)
from pymc_starpop.kernels.simd import (
    address_of,
    bound_boxes,
    bound_segments,
    lowest_bit,
    quadratic_forms,
    reddening_forms,
)

#: A (star, segment) pair below exp(-18) = 1.5e-8 of the star's likelihood is left out. A hundred
#: of them, all at the bound, would move a log-likelihood by 1.5e-6.
LOG_TOLERANCE = -18.0
_TWO_PI = 2.0 * math.pi

# Rows of the quadratic forms of a block, after A, B, C, k'Dk, k'Dd, k'Dr.
BOUND = 6
N_FORM = 7
# Lanes of a batch that hold no pair lie this far from the star.
_FAR = 1e6
# The lowest threshold: finite, so that padding, which is at -inf, never passes.
_LOWEST = -1e300


class StarView(NamedTuple):
    """One star, each (B,): magnitude, inverse variance, inverse variance that boxes may use."""

    mag: np.ndarray
    inverse: np.ndarray
    box_inverse: np.ndarray


class Workspace(NamedTuple):
    """Room for one star.

    Attributes
    ----------
    bound : (8,) bounds of boxes
    order : (K,) indices of the blocks that may matter
    form : (K, 7, 8) A, B, C, k'Dk, k'Dd, k'Dr and the bound of their segments
    mask : (K,) bits of the segments above the threshold
    """

    bound: np.ndarray
    order: np.ndarray
    form: np.ndarray
    mask: np.ndarray


class Survivors(NamedTuple):
    """Pairs kept for one star, in batches of eight.

    Attributes
    ----------
    track, segment : (M, 8) where the pair lies
    batch : (M, N_ROW, 8) the rows of `segment`
    """

    track: np.ndarray
    segment: np.ndarray
    batch: np.ndarray


@numba.njit(cache=True, error_model="numpy")
def new_survivors(n_batch):
    """Allocate room for `n_batch` batches of pairs."""
    return Survivors(
        np.zeros((n_batch, LANES), dtype=np.int64),
        np.zeros((n_batch, LANES), dtype=np.int64),
        np.zeros((n_batch, N_ROW, LANES)),
    )


@numba.njit(cache=True, error_model="numpy")
def new_workspace(blocks):
    """Allocate the workspace for these blocks."""
    n_block = blocks.track.shape[0]
    return Workspace(
        np.empty(LANES), np.empty(n_block, dtype=np.int64),
        np.empty((n_block, N_FORM, LANES)), np.empty(n_block, dtype=np.int64),
    )  # fmt: skip


@numba.njit(error_model="numpy", inline="always")
def _with_differential_extinction(av_variance, form):
    """Turn A, B, C of eight segments into those under S = D^-1 + av_variance kk'.

    Sherman-Morrison: P = D - shrink (Dk)(Dk)', shrink = av_variance / (1 + av_variance k'Dk).
    """
    for lane in range(LANES):
        shrink = av_variance / (1.0 + av_variance * form[3, lane])
        kd, kr = form[4, lane], form[5, lane]
        form[0, lane] = max(form[0, lane] - shrink * kd * kd, 0.0)
        form[1, lane] -= shrink * kd * kr
        form[2, lane] = max(form[2, lane] - shrink * kr * kr, 0.0)


@numba.njit(error_model="numpy", inline="always")
def _largest(values):
    """Return the index of the largest of eight values."""
    best = 0
    for lane in range(1, LANES):
        if values[lane] > values[best]:
            best = lane
    return best


@numba.njit(error_model="numpy", inline="always")
def _bound_candidates(
    order, n_order, mag, inverse, start, step, weight, reddening, av_variance, threshold, form,
    mask,
):  # fmt: skip
    """Set quadratic forms and bounds of the listed blocks, and the bits above the threshold.

    No branch depends on the data here, so that the processor works on several blocks at once.
    """
    n_band = mag.shape[0]
    to_mag, to_inverse = address_of(mag, 0), address_of(inverse, 0)
    for n in range(n_order):
        k = order[n]
        at = k * n_band * LANES
        to_form = address_of(form, n * N_FORM * LANES)
        quadratic_forms(
            n_band, to_mag, to_inverse, address_of(start, at), address_of(step, at), to_form
        )
        if av_variance > 0.0:
            reddening_forms(
                n_band, to_mag, to_inverse, address_of(start, at), address_of(step, at),
                address_of(reddening, at), to_form,
            )  # fmt: skip
            _with_differential_extinction(av_variance, form[n])
        mask[n] = bound_segments(
            to_form, address_of(weight, k * LANES), threshold, to_form + 8 * BOUND * LANES
        )


@numba.njit(error_model="numpy", inline="always")
def _collect(order, n_order, blocks, weights, tilts, av_variance, threshold, form, mask, kept):
    """Copy the segments whose bits are set and that matter into batches; return their number."""
    n = 0
    for place in range(n_order):
        k = order[place]
        bits = mask[place]
        track, first = blocks.track[k], blocks.first[k]
        while bits != 0:
            lane = lowest_bit(bits)
            bits &= bits - 1
            bound, a = form[place, BOUND, lane], form[place, 0, lane]
            # The integral is at most that of the whole Gaussian.
            near = bound < threshold + 3.0 and a > _TWO_PI
            if near and bound - 0.5 * math.log(a / _TWO_PI) < threshold:
                continue
            m, j = n // LANES, n % LANES
            kept.track[m, j] = track
            kept.segment[m, j] = first + lane
            batch = kept.batch
            batch[m, A, j] = a
            batch[m, B, j] = form[place, 1, lane]
            batch[m, C, j] = form[place, 2, lane]
            batch[m, TILT, j] = tilts[track, first + lane]
            batch[m, WEIGHT, j] = weights[track, first + lane]
            if av_variance > 0.0:
                spread = 1.0 + av_variance * form[place, 3, lane]
                batch[m, EXTRA, j] = -0.5 * math.log(spread)
                batch[m, SHRINK, j] = av_variance / spread
                batch[m, KD, j] = form[place, 4, lane]
                batch[m, KR, j] = form[place, 5, lane]
            n += 1
    return n


@numba.njit(error_model="numpy", inline="always")
def _integrate(n_pair, batch):
    """Integrate the pairs; return the log of the largest Gaussian and the sum relative to it.

    Leaves exp(log_peak - largest) in the row LOG_PEAK.
    """
    n_batch = (n_pair + LANES - 1) // LANES
    for j in range(n_pair, n_batch * LANES):
        m, lane = j // LANES, j % LANES
        batch[m, A, lane], batch[m, B, lane], batch[m, C, lane] = 0.0, 0.0, _FAR
        batch[m, TILT, lane], batch[m, WEIGHT, lane], batch[m, EXTRA, lane] = 0.0, 0.0, 0.0
    top = -np.inf
    for m in range(n_batch):
        top = max(top, integrate_pairs(address_of(batch, m * N_ROW * LANES)))
    total = 0.0
    for m in range(n_batch):
        total += sum_pairs(address_of(batch, m * N_ROW * LANES), top)
    return top, total


@numba.njit(error_model="numpy", inline="always")
def _bound(mag, inverse, low, high, weight, index, threshold, out):
    """Bound eight boxes low[index], high[index]; return the bits of those above the threshold."""
    at = index * mag.shape[0] * LANES
    return bound_boxes(
        mag.shape[0], address_of(mag, 0), address_of(inverse, 0), address_of(low, at),
        address_of(high, at), address_of(weight, index * LANES), threshold, address_of(out, 0),
    )  # fmt: skip


@numba.njit(error_model="numpy", inline="always")
def _list_candidates(mag, inverse, threshold, blocks, bound, order):
    """List the blocks whose bound is above the threshold, through rows and groups."""
    n = 0
    for top in range(blocks.row_low.shape[0]):
        rows = _bound(
            mag, inverse, blocks.row_low, blocks.row_high, blocks.row_weight, top, threshold, bound
        )
        while rows != 0:
            r = top * LANES + lowest_bit(rows)
            rows &= rows - 1
            groups = _bound(
                mag, inverse, blocks.group_low, blocks.group_high, blocks.group_weight, r,
                threshold, bound,
            )  # fmt: skip
            while groups != 0:
                g = r * LANES + lowest_bit(groups)
                groups &= groups - 1
                bits = _bound(
                    mag, inverse, blocks.block_low, blocks.block_high, blocks.block_weight, g,
                    threshold, bound,
                )  # fmt: skip
                while bits != 0:
                    order[n] = g * LANES + lowest_bit(bits)
                    bits &= bits - 1
                    n += 1
    return n


@numba.njit(error_model="numpy", inline="always")
def _find_seed(mag, inverse, blocks, bound):
    """Return the block that promises most, in the group and the row that do."""
    best, best_bound = 0, -np.inf
    for top in range(blocks.row_low.shape[0]):
        bits = _bound(
            mag, inverse, blocks.row_low, blocks.row_high, blocks.row_weight, top, best_bound, bound
        )
        if bits != 0:
            j = _largest(bound)
            best, best_bound = top * LANES + j, bound[j]
    _bound(
        mag, inverse, blocks.group_low, blocks.group_high, blocks.group_weight, best, -np.inf, bound
    )
    best = best * LANES + _largest(bound)
    _bound(
        mag, inverse, blocks.block_low, blocks.block_high, blocks.block_weight, best, -np.inf, bound
    )
    return best * LANES + _largest(bound)


@numba.njit(error_model="numpy", inline="always")
def scan_star(star, blocks, weights, tilts, av_variance, floor, log_prior, work, kept):
    """Collect and integrate the segments that matter to one star.

    Parameters
    ----------
    weights, tilts : (T, E - 1) of the `TrackModel`
    floor : float
        Log of the field part in units of the member sum.
    log_prior : float
        Log of the prior probability of membership; -inf where that is 0.

    Returns
    -------
    n_pair : int
    top, total : float
        The integral is exp(top) times total.
    """
    mag, inverse, box_inverse = star.mag, star.inverse, star.box_inverse
    n_pair, top, total, threshold = 0, -np.inf, 0.0, _LOWEST
    n_order = min(blocks.track.shape[0], 1)
    if n_order > 0:
        work.order[0] = _find_seed(mag, box_inverse, blocks, work.bound)
    # The first pass integrates one block whatever its bounds, to have something to compare with.
    for final in range(2):
        if final == 1 and n_order > 0:
            best = top + math.log(total) if total > 0.0 else -np.inf
            threshold = max(LOG_TOLERANCE + max(floor, log_prior + best), _LOWEST)
            n_order = _list_candidates(mag, box_inverse, threshold, blocks, work.bound, work.order)
        _bound_candidates(
            work.order, n_order, mag, inverse, blocks.start, blocks.step, blocks.weight,
            blocks.reddening, av_variance, threshold, work.form, work.mask,
        )  # fmt: skip
        n_pair = _collect(
            work.order, n_order, blocks, weights, tilts, av_variance, threshold, work.form,
            work.mask, kept,
        )  # fmt: skip
        top, total = _integrate(n_pair, kept.batch)
    return n_pair, top, total
