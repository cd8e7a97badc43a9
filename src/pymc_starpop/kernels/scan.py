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

#: A (star, segment) pair below exp(-20) = 2e-9 of the star's likelihood is left out; ten
#: thousand of them, all at the bound, would move a log-likelihood by 2e-5.
LOG_TOLERANCE = -20.0
# The density along a segment is at most twice its mean.
_LOG_TILT = math.log(2.0)

# Columns of the table of survivors.
LOG_PEAK, I0, I1, I2, TILT_MOMENT, SHRINK, KD, KR = range(8)
N_COLUMN = 8


class StarView(NamedTuple):
    """One star, each (B,): magnitude, inverse variance, inverse variance that boxes may use."""

    mag: np.ndarray
    inverse: np.ndarray
    box_inverse: np.ndarray


class Survivors(NamedTuple):
    """Segments kept for one star: (capacity, 2) block and lane, (capacity, 8) moments."""

    index: np.ndarray
    moment: np.ndarray


@numba.njit(cache=True, error_model="numpy")
def new_survivors(capacity):
    """Allocate room for `capacity` segments."""
    return Survivors(np.empty((capacity, 2), dtype=np.int64), np.empty((capacity, N_COLUMN)))


@numba.njit(error_model="numpy", inline="always")
def _bound_boxes(mag, inverse, low, high, weight, bound):
    """Set bound[j] = weight_j - chi2(star, box_j) / 2 for boxes low, high (B, J)."""
    for j in range(bound.shape[0]):
        bound[j] = 0.0
    for b in range(low.shape[0]):
        x, p = mag[b], inverse[b]
        for j in range(bound.shape[0]):
            away = max(max(low[b, j] - x, x - high[b, j]), 0.0)
            bound[j] += away * away * p
    for j in range(bound.shape[0]):
        bound[j] = weight[j] - 0.5 * bound[j]


@numba.njit(error_model="numpy", inline="always")
def _quadratic_forms(mag, inverse, start, step, form):
    """Set A, B, C of eight segments into rows 0 to 2; start, step are (B, 8)."""
    for row in range(3):
        for lane in range(LANES):
            form[row, lane] = 0.0
    for b in range(start.shape[0]):
        x, p = mag[b], inverse[b]
        for lane in range(LANES):
            d = step[b, lane]
            r = x - start[b, lane]
            form[0, lane] += p * d * d
            form[1, lane] += p * d * r
            form[2, lane] += p * r * r


@numba.njit(error_model="numpy", inline="always")
def _reddening_forms(mag, inverse, start, step, reddening, form):
    """Set k'Dk, k'Dd, k'Dr of eight segments into rows 3 to 5 (D the diagonal inverse)."""
    for row in range(3, 6):
        for lane in range(LANES):
            form[row, lane] = 0.0
    for b in range(start.shape[0]):
        x, p = mag[b], inverse[b]
        for lane in range(LANES):
            pk = p * reddening[b, lane]
            form[3, lane] += pk * reddening[b, lane]
            form[4, lane] += pk * step[b, lane]
            form[5, lane] += pk * (x - start[b, lane])


@numba.njit(error_model="numpy", inline="always")
def _with_differential_extinction(form, lane, av_variance):
    """Return A, B, C under S = D^-1 + av_variance kk', the log of its norm, and the shrinkage.

    Sherman-Morrison: P = D - shrink (Dk)(Dk)', and log|S| grows by log1p(av_variance k'Dk).
    """
    excess = av_variance * form[3, lane]
    shrink = av_variance / (1.0 + excess)
    kd, kr = form[4, lane], form[5, lane]
    a = max(form[0, lane] - shrink * kd * kd, 0.0)
    b = form[1, lane] - shrink * kd * kr
    c = max(form[2, lane] - shrink * kr * kr, 0.0)
    return a, b, c, -0.5 * math.log1p(excess), shrink


@numba.njit(error_model="numpy", inline="always")
def _smallest_chi2(a, b, c):
    """Return the smallest chi-square on the segment."""
    nearest = min(max(b, 0.0), a) / a if a > 0.0 else 0.0
    return c - nearest * (2.0 * b - a * nearest)


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def _scan_block(
    k, mag, inverse, start, step, weight, reddening, true_weight, tilt, av_variance,
    threshold, form, index, moment, n_kept,
):  # fmt: skip
    """Integrate the segments of block k above the threshold; return (n_kept, best log term)."""
    _quadratic_forms(mag, inverse, start[k], step[k], form)
    if av_variance > 0.0:
        _reddening_forms(mag, inverse, start[k], step[k], reddening[k], form)
    best = -np.inf
    for lane in range(LANES):
        a, b, c, extra, shrink = form[0, lane], form[1, lane], form[2, lane], 0.0, 0.0
        if av_variance > 0.0:
            a, b, c, extra, shrink = _with_differential_extinction(form, lane, av_variance)
        bound = weight[k, lane] - 0.5 * _smallest_chi2(a, b, c) + extra + _LOG_TILT
        if not (bound >= threshold) or weight[k, lane] == -np.inf:
            continue
        log_peak, i0, i1, i2, dt = segment_moments(a, b, c, tilt[k, lane])
        index[n_kept, 0] = k
        index[n_kept, 1] = lane
        row = moment[n_kept]
        row[LOG_PEAK] = log_peak + extra
        row[I0] = i0
        row[I1] = i1
        row[I2] = i2
        row[TILT_MOMENT] = dt
        if av_variance > 0.0:
            row[SHRINK] = shrink
            row[KD] = form[4, lane]
            row[KR] = form[5, lane]
        n_kept += 1
        if true_weight[k, lane] > 0.0 and i0 > 0.0:
            best = max(best, log_peak + extra + math.log(true_weight[k, lane] * i0))
    return n_kept, best


@numba.njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def scan_star(star, blocks, av_variance, floor, log_prior, group_bound, form, kept):
    """Collect the segments that matter to one star and return their number.

    Parameters
    ----------
    floor : float
        Log of the field part in units of the member sum.
    log_prior : float
        Log of the prior probability of membership; -inf where that is 0.
    """
    n_group = group_bound.shape[0]
    if n_group == 0:
        return 0
    mag, inverse, box_inverse = star.mag, star.inverse, star.box_inverse
    start, step, weight, reddening = blocks.start, blocks.step, blocks.weight, blocks.reddening
    true_weight, tilt = blocks.true_weight, blocks.tilt
    low, high, block_weight = blocks.block_low, blocks.block_high, blocks.block_weight
    index, moment = kept.index, kept.moment
    bound = form[6]
    _bound_boxes(
        mag, box_inverse, blocks.group_low, blocks.group_high, blocks.group_weight, group_bound
    )
    g = np.argmax(group_bound)
    _bound_boxes(mag, box_inverse, low[g], high[g], block_weight[g], bound)
    seed = g * LANES + np.argmax(bound)
    # The seed is integrated whatever its bound, to have something to compare with.
    n_kept, best = _scan_block(
        seed, mag, inverse, start, step, weight, reddening, true_weight, tilt, av_variance,
        -np.inf, form, index, moment, 0,
    )  # fmt: skip
    threshold = LOG_TOLERANCE + max(floor, log_prior + best)
    for g in range(n_group):
        if group_bound[g] + _LOG_TILT < threshold:
            continue
        _bound_boxes(mag, box_inverse, low[g], high[g], block_weight[g], bound)
        for j in range(LANES):
            k = g * LANES + j
            if k == seed or bound[j] + _LOG_TILT < threshold:
                continue
            n_kept, found = _scan_block(
                k, mag, inverse, start, step, weight, reddening, true_weight, tilt, av_variance,
                threshold, form, index, moment, n_kept,
            )  # fmt: skip
            if found > best:
                best = found
                threshold = LOG_TOLERANCE + max(floor, log_prior + best)
    return n_kept
