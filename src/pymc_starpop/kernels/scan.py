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

#: A (star, segment) pair below exp(-17) = 4e-8 of the star's likelihood is left out. A hundred
#: of them, all at the bound, would move a log-likelihood by 4e-6.
LOG_TOLERANCE = -17.0
_TWO_PI = 2.0 * math.pi

# Columns of the table of survivors.
LOG_PEAK, I0, I1, I2, TILT_MOMENT, SHRINK, KD, KR = range(8)
N_COLUMN = 8
# Rows of the quadratic forms of a block, after A, B, C, k'Dk, k'Dd, k'Dr.
BOUND = 6
N_FORM = 7


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
def _integrate_candidates(
    order, n_order, true_weight, tilt, av_variance, floor, log_prior, best, form, mask, index,
    moment,
):  # fmt: skip
    """Integrate the segments whose bits are set and that matter; return (n_kept, best log)."""
    n_kept = 0
    threshold = LOG_TOLERANCE + max(floor, log_prior + best)
    for n in range(n_order):
        k = order[n]
        bits = mask[n]
        while bits != 0:
            lane = lowest_bit(bits)
            bits &= bits - 1
            bound = form[n, BOUND, lane]
            if bound < threshold or bound == -np.inf:
                continue
            a, b, c, extra = form[n, 0, lane], form[n, 1, lane], form[n, 2, lane], 0.0
            # The integral is at most that of the whole Gaussian.
            near = bound < threshold + 3.0 and a > _TWO_PI
            if near and bound - 0.5 * math.log(a / _TWO_PI) < threshold:
                continue
            if av_variance > 0.0:
                extra = -0.5 * math.log1p(av_variance * form[n, 3, lane])
            log_peak, i0, i1, i2, dt = segment_moments(a, b, c, tilt[k, lane])
            index[n_kept, 0] = k
            index[n_kept, 1] = lane
            moment[n_kept, LOG_PEAK] = log_peak + extra
            moment[n_kept, I0] = i0
            moment[n_kept, I1] = i1
            moment[n_kept, I2] = i2
            moment[n_kept, TILT_MOMENT] = dt
            if av_variance > 0.0:
                moment[n_kept, SHRINK] = av_variance / (1.0 + av_variance * form[n, 3, lane])
                moment[n_kept, KD] = form[n, 4, lane]
                moment[n_kept, KR] = form[n, 5, lane]
            n_kept += 1
            if bound > best and true_weight[k, lane] > 0.0 and i0 > 0.0:
                term = log_peak + extra + math.log(true_weight[k, lane] * i0)
                if term > best:
                    best = term
                    threshold = LOG_TOLERANCE + max(floor, log_prior + best)
    return n_kept, best


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
    mag, inverse, box_inverse = star.mag, star.inverse, star.box_inverse
    work.order[0] = _find_seed(mag, box_inverse, blocks, work.bound)
    # One segment is integrated whatever its bound, to have something to compare with.
    _bound_candidates(
        work.order, 1, mag, inverse, blocks.start, blocks.step, blocks.weight, blocks.reddening,
        av_variance, -np.inf, work.form, work.mask,
    )  # fmt: skip
    work.mask[0] = 1 << _largest(work.form[0, BOUND])
    _, best = _integrate_candidates(
        work.order, 1, blocks.true_weight, blocks.tilt, av_variance, -np.inf, 0.0, -np.inf,
        work.form, work.mask, kept.index, kept.moment,
    )  # fmt: skip
    threshold = LOG_TOLERANCE + max(floor, log_prior + best)
    n_order = _list_candidates(mag, box_inverse, threshold, blocks, work.bound, work.order)
    _bound_candidates(
        work.order, n_order, mag, inverse, blocks.start, blocks.step, blocks.weight,
        blocks.reddening, av_variance, threshold, work.form, work.mask,
    )  # fmt: skip
    return _integrate_candidates(
        work.order, n_order, blocks.true_weight, blocks.tilt, av_variance, floor, log_prior, best,
        work.form, work.mask, kept.index, kept.moment,
    )[0]  # fmt: skip
