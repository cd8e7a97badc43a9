"""Find the segments that matter to one star, and integrate them.

Groups, then blocks, then segments are kept while an upper bound of their contribution is above
exp(LOG_TOLERANCE) of what the star already has, from its best segment or from the field.

The loops of one star stay inside one compiled function: passing arrays between compiled
functions costs reference counts, which at this grain would cost more than the arithmetic.
"""

import math
from typing import NamedTuple

import numba
import numpy as np

from pymc_starpop.kernels.blocks import LANES
from pymc_starpop.kernels.fastmath import FAST
from pymc_starpop.kernels.segment import segment_moments
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

# Columns of the table of survivors.
LOG_PEAK, I0, I1, I2, TILT_MOMENT, SHRINK, KD, KR = range(8)
N_COLUMN = 8


class StarView(NamedTuple):
    """One star, each (B,): magnitude, inverse variance, inverse variance that boxes may use."""

    mag: np.ndarray
    inverse: np.ndarray
    box_inverse: np.ndarray


class Workspace(NamedTuple):
    """Room for one star: bounds of groups (G / 8, 8) and of blocks, candidates, quadratic forms."""

    group_bound: np.ndarray
    bound: np.ndarray
    order: np.ndarray
    order_bound: np.ndarray
    form: np.ndarray


class Survivors(NamedTuple):
    """Segments kept for one star: (capacity, 2) block and lane, (capacity, 8) moments."""

    index: np.ndarray
    moment: np.ndarray


@numba.njit(cache=True, error_model="numpy")
def new_survivors(capacity):
    """Allocate room for `capacity` segments."""
    return Survivors(np.empty((capacity, 2), dtype=np.int64), np.empty((capacity, N_COLUMN)))


@numba.njit(cache=True, error_model="numpy")
def new_workspace(blocks):
    """Allocate the workspace for these blocks."""
    n_block = blocks.track.shape[0]
    return Workspace(
        np.empty(blocks.group_weight.shape), np.empty(LANES),
        np.empty(n_block + 1, dtype=np.int64), np.empty(n_block + 1), np.empty((7, LANES)),
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
def _scan_blocks(
    order, order_bound, n_order, mag, inverse, start, step, weight, reddening, true_weight, tilt,
    av_variance, floor, log_prior, best, form, index, moment, only_best,
):  # fmt: skip
    """Integrate the segments of the listed blocks that matter; return (n_kept, best log term).

    With `only_best`, just the most promising segment of each block.
    """
    n_kept = 0
    threshold = LOG_TOLERANCE + max(floor, log_prior + best)
    n_band = mag.shape[0]
    to_mag, to_inverse = address_of(mag, 0), address_of(inverse, 0)
    to_form, to_bound = address_of(form, 0), address_of(form, 6 * LANES)
    for n in range(n_order):
        k = order[n]
        if order_bound[n] < threshold:
            continue
        at = k * n_band * LANES
        quadratic_forms(
            n_band, to_mag, to_inverse, address_of(start, at), address_of(step, at), to_form
        )
        if av_variance > 0.0:
            reddening_forms(
                n_band, to_mag, to_inverse, address_of(start, at), address_of(step, at),
                address_of(reddening, at), to_form,
            )  # fmt: skip
            _with_differential_extinction(av_variance, form)
        mask = bound_segments(to_form, address_of(weight, k * LANES), threshold, to_bound)
        if only_best:
            mask = 1 << _largest(form[6])
        while mask != 0:
            lane = lowest_bit(mask)
            mask &= mask - 1
            bound = form[6, lane]
            if bound < threshold or bound == -np.inf:
                continue
            a, b, c, extra = form[0, lane], form[1, lane], form[2, lane], 0.0
            # The integral is at most that of the whole Gaussian.
            if a > _TWO_PI and bound - 0.5 * math.log(a / _TWO_PI) < threshold:
                continue
            if av_variance > 0.0:
                extra = -0.5 * math.log1p(av_variance * form[3, lane])
            log_peak, i0, i1, i2, dt = segment_moments(a, b, c, tilt[k, lane])
            index[n_kept, 0] = k
            index[n_kept, 1] = lane
            moment[n_kept, LOG_PEAK] = log_peak + extra
            moment[n_kept, I0] = i0
            moment[n_kept, I1] = i1
            moment[n_kept, I2] = i2
            moment[n_kept, TILT_MOMENT] = dt
            if av_variance > 0.0:
                moment[n_kept, SHRINK] = av_variance / (1.0 + av_variance * form[3, lane])
                moment[n_kept, KD] = form[4, lane]
                moment[n_kept, KR] = form[5, lane]
            n_kept += 1
            if true_weight[k, lane] > 0.0 and i0 > 0.0:
                term = log_peak + extra + math.log(true_weight[k, lane] * i0)
                if term > best:
                    best = term
                    threshold = LOG_TOLERANCE + max(floor, log_prior + best)
    return n_kept, best


@numba.njit(error_model="numpy", inline="always")
def _list_candidates(
    mag, inverse, threshold, group_bound, low, high, weight, bound, order, order_bound
):
    """List the blocks whose bound is above the threshold."""
    n = 0
    n_band = mag.shape[0]
    to_mag, to_inverse, to_bound = address_of(mag, 0), address_of(inverse, 0), address_of(bound, 0)
    for g in range(low.shape[0]):
        if group_bound[g // LANES, g % LANES] < threshold:
            continue
        at = g * n_band * LANES
        mask = bound_boxes(
            n_band, to_mag, to_inverse, address_of(low, at), address_of(high, at),
            address_of(weight, g * LANES), threshold, to_bound,
        )  # fmt: skip
        while mask != 0:
            j = lowest_bit(mask)
            mask &= mask - 1
            order[n] = g * LANES + j
            order_bound[n] = bound[j]
            n += 1
    return n


@numba.njit(error_model="numpy", inline="always")
def _find_seed(mag, inverse, group_bound, g_low, g_high, g_weight, low, high, weight, bound):
    """Bound all groups and return the block that promises most."""
    best, best_bound = 0, -np.inf
    n_band = mag.shape[0]
    to_mag, to_inverse = address_of(mag, 0), address_of(inverse, 0)
    for row in range(g_low.shape[0]):
        at = row * n_band * LANES
        mask = bound_boxes(
            n_band, to_mag, to_inverse, address_of(g_low, at), address_of(g_high, at),
            address_of(g_weight, row * LANES), best_bound, address_of(group_bound, row * LANES),
        )  # fmt: skip
        if mask != 0:
            j = _largest(group_bound[row])
            best, best_bound = row * LANES + j, group_bound[row, j]
    at = best * n_band * LANES
    bound_boxes(
        n_band, to_mag, to_inverse, address_of(low, at), address_of(high, at),
        address_of(weight, best * LANES), best_bound, address_of(bound, 0),
    )  # fmt: skip
    return best * LANES + _largest(bound)


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def scan_star(star, blocks, av_variance, floor, log_prior, work, kept):
    """Collect the segments that matter to one star and return their number.

    Parameters
    ----------
    floor : float
        Log of the field part in units of the member sum.
    log_prior : float
        Log of the prior probability of membership; -inf where that is 0.
    """
    if blocks.track.shape[0] == 0:
        return 0
    work.order[0] = _find_seed(
        star.mag, star.box_inverse, work.group_bound, blocks.group_low, blocks.group_high,
        blocks.group_weight, blocks.block_low, blocks.block_high, blocks.block_weight, work.bound,
    )  # fmt: skip
    work.order_bound[0] = np.inf
    # One segment is integrated whatever its bound, to have something to compare with.
    _, best = _scan_blocks(
        work.order, work.order_bound, 1, star.mag, star.inverse, blocks.start, blocks.step,
        blocks.weight, blocks.reddening, blocks.true_weight, blocks.tilt, av_variance, -np.inf,
        0.0, -np.inf, work.form, kept.index, kept.moment, True,
    )  # fmt: skip
    threshold = LOG_TOLERANCE + max(floor, log_prior + best)
    n_order = _list_candidates(
        star.mag, star.box_inverse, threshold, work.group_bound, blocks.block_low,
        blocks.block_high, blocks.block_weight, work.bound, work.order, work.order_bound,
    )  # fmt: skip
    return _scan_blocks(
        work.order, work.order_bound, n_order, star.mag, star.inverse, blocks.start, blocks.step,
        blocks.weight, blocks.reddening, blocks.true_weight, blocks.tilt, av_variance, floor,
        log_prior, best, work.form, kept.index, kept.moment, False,
    )[0]  # fmt: skip
