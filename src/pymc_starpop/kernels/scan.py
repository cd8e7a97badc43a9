"""Find the blocks of segments that matter to one star, and integrate them.

Rows, groups, blocks and segments are kept while an upper bound of their contribution is above
exp(LOG_TOLERANCE) of what the star already has, from its best segment or from the field.
All functions work on the addresses of `star_room`.
"""

import numba
import numpy as np

from pymc_starpop.kernels.capsules import capsules_1, capsules_2, capsules_3, n_field
from pymc_starpop.kernels.pair_vectors import forms_0, forms_1, forms_2, forms_3
from pymc_starpop.kernels.segment import LOG_PEAK, N_ROW, TILT, WEIGHT, integrate_pairs, sum_pairs
from pymc_starpop.kernels.simd import (
    LANES,
    get,
    get_integer,
    lowest_bit,
    put_integer,
)
from pymc_starpop.kernels.star_room import ROW_BYTES
from pymc_starpop.kernels.star_vectors import (
    bits_above,
    bound_boxes,
    bound_segments,
    estimate_segments,
    largest_of,
)
from pymc_starpop.kernels.tile_vectors import copy_lanes

#: A (star, segment) pair below exp(-18) = 1.5e-8 of the star's likelihood is left out. A hundred
#: of them, all at the bound, would move a log-likelihood by 1.5e-6.
LOG_TOLERANCE = -18.0
# The lowest threshold: finite, so that padding, which is at -inf, never passes.
_LOWEST = -1e300
# Bounds of the segments of a batch lie where the logs of their peaks will.
_BOUND_BYTES = LOG_PEAK * ROW_BYTES

_n_field = numba.njit(n_field, error_model="numpy")


@numba.njit(error_model="numpy", inline="always")
def _set_forms(at, block, batch):
    """Set the quadratic forms of a block's segments."""
    n, mag, inverse, moved, scatter = at.n_band, at.mag, at.inverse, at.displacement, at.scatter
    nodes = at.nodes + get_integer(at.row, block) * at.node_bytes
    along, extra = at.along + block * at.along_bytes, batch + N_ROW * ROW_BYTES
    if at.n_direction == 0:
        forms_0(n, mag, inverse, nodes, along, moved, scatter, batch, extra)
    elif at.n_direction == 1:
        forms_1(n, mag, inverse, nodes, along, moved, scatter, batch, extra)
    elif at.n_direction == 2:
        forms_2(n, mag, inverse, nodes, along, moved, scatter, batch, extra)
    else:
        forms_3(n, mag, inverse, nodes, along, moved, scatter, batch, extra)


@numba.njit(error_model="numpy", inline="always")
def _bound_candidates(at, n_order):
    """Set quadratic forms and bounds of the listed blocks.

    No branch depends on the data here, so that the processor works on several blocks at once.
    """
    for n in range(n_order):
        block = get_integer(at.order, n)
        batch = at.batch + n * at.batch_bytes
        _set_forms(at, block, batch)
        bound_segments(batch, get(at.block_weight, block), batch + _BOUND_BYTES)


@numba.njit(error_model="numpy", inline="always")
def _estimate_block(at, block, batch):
    """Log of a lower bound of what a block contributes to the star, from its forms."""
    skip = block * ROW_BYTES
    return estimate_segments(
        batch, at.weights + skip, at.tilts + skip, get_integer(at.alive, block)
    )


@numba.njit(error_model="numpy", inline="always")
def _estimate(at, block):
    """Log of a lower bound of what a block contributes to the star."""
    _set_forms(at, block, at.batch)
    return _estimate_block(at, block, at.batch)


@numba.njit(error_model="numpy", inline="always")
def _keep(at, n_order, threshold):
    """List the places of the blocks of which a segment matters; return their number."""
    n = 0
    for place in range(n_order):
        bounds = at.batch + place * at.batch_bytes + _BOUND_BYTES
        alive = get_integer(at.alive, get_integer(at.order, place))
        above = bits_above(bounds, threshold) & alive
        put_integer(at.kept, n, place)
        n += 1 if above != 0 else 0
    for m in range(n):
        place = get_integer(at.kept, m)
        batch, skip = at.batch + place * at.batch_bytes, get_integer(at.order, place) * ROW_BYTES
        copy_lanes(at.weights + skip, batch + WEIGHT * ROW_BYTES)
        copy_lanes(at.tilts + skip, batch + TILT * ROW_BYTES)
    return n


@numba.njit(error_model="numpy", inline="always")
def _estimate_candidates(at, n_order):
    """Log of a lower bound of what the candidate with the highest bound contributes."""
    best, best_bound = 0, -np.inf
    for n in range(n_order):
        bound = largest_of(at.batch + n * at.batch_bytes + _BOUND_BYTES)
        if bound > best_bound:
            best, best_bound = n, bound
    return _estimate_block(at, get_integer(at.order, best), at.batch + best * at.batch_bytes)


@numba.njit(error_model="numpy", inline="always")
def _integrate(at, n_kept):
    """Integrate the blocks kept; return the log of the largest Gaussian and the sum relative to it.

    Leaves exp(log_peak - largest) in the row LOG_PEAK.
    """
    top, total = -np.inf, 0.0
    for m in range(n_kept):
        batch = at.batch + get_integer(at.kept, m) * at.batch_bytes
        top = max(top, integrate_pairs(batch))
    for m in range(n_kept):
        batch = at.batch + get_integer(at.kept, m) * at.batch_bytes
        total += sum_pairs(batch, top)
    return top, total


@numba.njit(error_model="numpy", inline="always")
def _bound(at, low, high, weight, index, threshold):
    """Bound eight boxes low[index], high[index]; return the bits of those above the threshold."""
    skip = index * at.n_band * ROW_BYTES
    return bound_boxes(
        at.n_band, at.mag, at.inverse, low + skip, high + skip, weight + index * ROW_BYTES,
        threshold, at.bound,
    )  # fmt: skip


@numba.njit(error_model="numpy", inline="always")
def _list_candidates(at, threshold):
    """List the blocks whose bound is above the threshold, through rows and groups."""
    n = 0
    for top in range(at.n_top):
        rows = _bound(at, at.row_low, at.row_high, at.row_weight, top, threshold)
        while rows != 0:
            r = top * LANES + lowest_bit(rows)
            rows &= rows - 1
            groups = _bound(at, at.group_low, at.group_high, at.group_weight, r, threshold)
            while groups != 0:
                g = r * LANES + lowest_bit(groups)
                groups &= groups - 1
                bits = _bound(at, at.block_low, at.block_high, at.block_weight, g, threshold)
                while bits != 0:
                    put_integer(at.order, n, g * LANES + lowest_bit(bits))
                    bits &= bits - 1
                    n += 1
    return n


@numba.njit(error_model="numpy", inline="always")
def _largest(values):
    """Return the index of the largest of eight values."""
    best = 0
    for lane in range(1, LANES):
        if get(values, lane) > get(values, best):
            best = lane
    return best


@numba.njit(error_model="numpy", inline="always")
def _find_seed(at):
    """Return the block that promises most, in the group and the row that do."""
    best, best_bound = 0, -np.inf
    for top in range(at.n_top):
        bits = _bound(at, at.row_low, at.row_high, at.row_weight, top, best_bound)
        if bits != 0:
            j = _largest(at.bound)
            best, best_bound = top * LANES + j, get(at.bound, j)
    _bound(at, at.group_low, at.group_high, at.group_weight, best, -np.inf)
    best = best * LANES + _largest(at.bound)
    _bound(at, at.block_low, at.block_high, at.block_weight, best, -np.inf)
    return best * LANES + _largest(at.bound)


@numba.njit(error_model="numpy", inline="always")
def _bound_capsules(at, tables, weight, index, threshold, out):
    """Do the same as `_bound` with eight capsules, tables[index]; leave the bounds at `out`."""
    n, mag, inverse, moved, scatter = at.n_band, at.mag, at.inverse, at.displacement, at.scatter
    table = tables + index * _n_field(at.n_direction) * n * ROW_BYTES
    weights = weight + index * ROW_BYTES
    if at.n_direction == 1:
        return capsules_1(n, mag, inverse, table, weights, moved, scatter, threshold, out)
    if at.n_direction == 2:
        return capsules_2(n, mag, inverse, table, weights, moved, scatter, threshold, out)
    return capsules_3(n, mag, inverse, table, weights, moved, scatter, threshold, out)


@numba.njit(error_model="numpy", inline="always")
def _find_seed_in_capsules(at):
    """Return the block that promises most, in the group that does; leave the bounds of groups."""
    best, best_bound = 0, -np.inf
    for r in range(at.n_row):
        bounds = at.bound + r * ROW_BYTES
        if _bound_capsules(at, at.group_capsules, at.group_weight, r, best_bound, bounds) != 0:
            j = _largest(bounds)
            best, best_bound = r * LANES + j, get(bounds, j)
    _bound_capsules(at, at.block_capsules, at.block_weight, best, -np.inf, at.block_bound)
    return best * LANES + _largest(at.block_bound)


@numba.njit(error_model="numpy", inline="always")
def _list_candidates_in_capsules(at, threshold):
    """List the blocks whose bound is above the threshold, in the groups of which that is so."""
    n, capsules, weights = 0, at.block_capsules, at.block_weight
    for g in range(at.n_row * LANES):
        if get(at.bound, g) < threshold:
            continue
        bits = _bound_capsules(at, capsules, weights, g, threshold, at.block_bound)
        while bits != 0:
            put_integer(at.order, n, g * LANES + lowest_bit(bits))
            bits &= bits - 1
            n += 1
    return n


@numba.njit(error_model="numpy", inline="always")
def scan_star(at, floor, log_prior):
    """List and integrate the blocks that matter to one star.

    Parameters
    ----------
    at : Addresses
        With the star in place.
    floor : float
        Log of the field part in units of the member sum.
    log_prior : float
        Log of the prior probability of membership; -inf where that is 0.

    Returns
    -------
    n_kept : int
        Blocks in `kept`.
    top, total : float
        The integral is exp(top) times total.
    """
    n_order, threshold = 0, _LOWEST
    if at.n_block > 0:
        # A lower bound from the most promising block gives the rest something to beat.
        seed = _find_seed(at) if at.n_direction == 0 else _find_seed_in_capsules(at)
        best = _estimate(at, seed)
        threshold = max(LOG_TOLERANCE + max(floor, log_prior + best), _LOWEST)
        if at.n_direction == 0:
            n_order = _list_candidates(at, threshold)
        else:
            n_order = _list_candidates_in_capsules(at, threshold)
    _bound_candidates(at, n_order)
    if n_order > 0:
        best = log_prior + _estimate_candidates(at, n_order)
        threshold = max(threshold, LOG_TOLERANCE + best)
    n_kept = _keep(at, n_order, threshold)
    top, total = _integrate(at, n_kept)
    return n_kept, top, total
