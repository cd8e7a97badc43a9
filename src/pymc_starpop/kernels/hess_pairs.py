"""Binaries gathered in the cells of a grid over color and magnitude, with weight, mean, covariance.

Binaries fill a plane of primaries and companions. It is cut in boxes, of a group of neighboring
primaries and a run of companions, that move the magnitudes of the system by little: a faint
companion hardly changes them, so that its run is long. A box has a weight, a mean and a covariance,
see `hess_boxes`. Runs come from the tree of `hess_companions`; eight neighboring groups of
primaries share them. A box that lies next to its primaries is added to these, the others to the
cell they fall in, so that the number of cells is bounded by the area of the diagram and not by the
number of boxes.
"""

import math

import numpy as np
from numba import njit

from pymc_starpop.kernels.hess_boxes import (
    COLOR,
    FACTOR,
    INVERSE,
    MAG,
    MASS,
    MASS_SPREAD,
    N_BOX,
    OFF,
    OWN_MAG,
    STEP,
    WEIGHT,
    WITH_MASS,
    fill_boxes,
    fill_cut_boxes,
)
from pymc_starpop.kernels.hess_companions import MAG_PER_LN, moments_between, packed
from pymc_starpop.kernels.interpolation import NUMBA_OPTIONS
from pymc_starpop.kernels.simd import LANES, address_of, get, get_integer, still_needed

#: What a pair weighs, besides a factor of each star: nothing more, or a function of the total mass.
BY_STAR, BY_SYSTEM = 0, 1
# Runs of companions that are made boxes of at a time: their tables stay in the fast memory.
_BATCH = 32


@njit(**NUMBA_OPTIONS)
def cell_of(grid, color, mag):
    """Index of the cell of a grid that holds a color and magnitude; -1 outside.

    Parameters
    ----------
    grid : tuple
        ``color_start``, ``mag_start`` and ``per_mag``, the origin and the strips in a magnitude;
        ``strip_row`` and ``strip_parts`` (T,), for each strip of magnitude its first row of cells
        and the number of rows it is cut in (neighboring strips can share a row); ``per_color``,
        ``row_size`` and ``row_start`` (R,), for each row the cells in a magnitude of color, their
        number, and the index of the first.
    color, mag : float
    """
    cell = _cell_at(_addresses(grid), color, mag)
    still_needed(grid)
    return cell


@njit(**NUMBA_OPTIONS)
def _addresses(grid):
    """The grid with the number of its strips and the addresses of its arrays in their place.

    Counting references to the arrays takes longer than finding a cell.
    """
    color_start, mag_start, per_mag, strip_row, strip_parts, per_color, row_size, row_start = grid
    return (
        color_start, mag_start, per_mag, strip_row.size, address_of(strip_row, 0),
        address_of(strip_parts, 0), address_of(per_color, 0), address_of(row_size, 0),
        address_of(row_start, 0),
    )  # fmt: skip


@njit(**NUMBA_OPTIONS)
def _cell_at(grid, color, mag):
    """`cell_of` for a grid with addresses."""
    color_start, mag_start, per_mag, n_strip, strip_row, parts, per_color, size, start = grid
    u = (mag - mag_start) * per_mag
    # Written so that NaN is outside.
    if not (u >= 0.0 and u < n_strip):
        return -1
    strip = int(u)
    row = get_integer(strip_row, strip) + int((u - strip) * get(parts, strip))
    v = (color - color_start) * get(per_color, row)
    if not (v >= 0.0 and v < get_integer(size, row)):
        return -1
    return get_integer(start, row) + int(v)


@njit(**NUMBA_OPTIONS)
def _with_room(sums, n):
    """The sums with room for a batch more than n cells."""
    most = n + _BATCH * LANES
    if most <= sums.shape[0]:
        return sums
    more = np.zeros((most + n + 4096, sums.shape[1]))
    more[:n] = sums[:n]
    return more


@njit(**NUMBA_OPTIONS)
def _rows_of_boxes(n, boxes, near, group, grid, index, rows, n_row):
    """Write the rows of the sums to which n tables of boxes belong, -1 for none.

    `group` holds the numbers of the eight primaries. Returns the number of rows in use.
    """
    for k in range(n):
        for lane in range(LANES):
            row = -1
            if boxes[k, WEIGHT, lane] > 0.0:
                row = group[lane]
                if not boxes[k, OFF, lane] < near:
                    cell = _cell_at(grid, boxes[k, COLOR, lane], boxes[k, MAG, lane])
                    row = -1
                    if cell >= 0:
                        if index[cell] == 0:
                            n_row += 1
                            index[cell] = n_row
                        row = index[cell] - 1
            rows[k, lane] = row
    return n_row


@njit(**NUMBA_OPTIONS)
def _add_boxes(n, boxes, rows, matrix, sums):
    """Add n tables of boxes to the rows of the sums."""
    n_band = len(matrix[0])
    for k in range(n):
        for lane in range(LANES):
            row = rows[k, lane]
            if row >= 0:
                sums[row, 0] += boxes[k, WEIGHT, lane]
                for j in range(n_band + n_band * (n_band + 1) // 2):
                    sums[row, 1 + j] += boxes[k, N_BOX + j, lane]


@njit(**NUMBA_OPTIONS)
def _load_group(primaries, group, table, ranges):
    """Fill the table of eight primaries, as `hess_boxes` has it, and the masses of companions.

    Numbers below 0 stand for no primary. Returns what the runs of all must keep: the largest of one
    over the flux in each band, the smallest steps, the smallest mass and the smallest of `least`.
    """
    mass1, factor1, mag1, spread1, limits, step, least = primaries
    n_band = mag1.shape[1]
    inverse, steps = np.zeros(n_band), np.full(n_band, math.inf)
    mass, smallest = math.inf, math.inf
    table[:] = 0.0
    table[MASS] = 1.0
    for lane in range(LANES):
        i = group[lane]
        ranges[0, lane], ranges[1, lane] = math.inf, -math.inf
        if i < 0:
            continue
        ranges[0, lane], ranges[1, lane] = limits[i, 0], limits[i, 1]
        table[MASS, lane], table[FACTOR, lane] = mass1[i], factor1[i]
        table[MASS_SPREAD, lane] = spread1[i, 0, 0]
        mass, smallest = min(mass, mass1[i]), min(smallest, least[i])
        for b in range(n_band):
            first, per_flux = 3 + 4 * b, math.exp(mag1[i, b] / MAG_PER_LN)
            inverse[b], steps[b] = max(inverse[b], per_flux), min(steps[b], step[i, b])
            table[first + INVERSE, lane], table[first + OWN_MAG, lane] = per_flux, mag1[i, b]
            table[first + STEP, lane] = 1.0 / step[i, b] ** 2
            table[first + WITH_MASS, lane] = spread1[i, b + 1, 0]
            for c in range(b + 1):
                table[3 + 4 * n_band + packed(b, c), lane] = spread1[i, b + 1, c + 1]
    return inverse, steps, mass, smallest


@njit(**NUMBA_OPTIONS)
def _cut_moments(p, pieces, tree, ranges, out):
    """Write the moments of the part of piece p that each of eight primaries has, (.., 8)."""
    ends, moments = tree[1], tree[3]
    n = moments.shape[1]
    part = np.empty(n)
    for lane in range(LANES):
        left, right = max(ends[p, 0], ranges[0, lane]), min(ends[p, 1], ranges[1, lane])
        if right > left and (left > ends[p, 0] or right < ends[p, 1]):
            moments_between(p, left, right, pieces, part)
            for j in range(n):
                out[j, lane] = part[j]
            continue
        for j in range(n):
            out[j, lane] = moments[p, j]
        if not right > left:
            out[0, lane] = 0.0


@njit(**NUMBA_OPTIONS)
def _list_runs(p, level, bounds, ranges, growth, tree, runs):
    """List runs of companions from piece p on, beginning with one of this level.

    Ends where the list is full, after a piece of which not all primaries have all, or after the
    last piece. Returns the number of runs, that piece or -1, and where to go on.
    """
    inverse, steps, mass, least = bounds
    first, ends, flux_range, moments = tree
    n_piece, top, n_band = first[1], first.size - 2, inverse.size
    low, low_of_all, high_of_all, high = ranges
    n = 0
    while p < n_piece and n < runs.size:
        k = first[level] + (p >> level)
        start, stop = ends[k, 0], ends[k, 1]
        reached = min(stop, high) > max(start, low)
        whole = start >= low_of_all and stop <= high_of_all
        if reached and level > 0:
            together = whole
            if whole and moments[k, 0] >= least:
                # A sum of squares of fractions, without a division.
                top_sum, bottom = 0.0, 1.0
                for b in range(n_band):
                    dark = flux_range[k, 0, b] * inverse[b]
                    moved = flux_range[k, 1, b] * inverse[b] - dark
                    most = (1.0 + dark) * steps[b]
                    most *= most
                    top_sum, bottom = top_sum * most + moved * moved * bottom, bottom * most
                together = top_sum <= bottom and stop - start <= growth * (mass + start)
            if not together:
                level -= 1
                continue
        piece = p
        p = ((p >> level) + 1) << level
        # The longest run that begins here.
        while level < top and (p >> level) & 1 == 0:
            level += 1
        if reached:
            if not whole:
                return n, piece, p, level
            runs[n] = k
            n += 1
    return n, -1, p, level


@njit(**NUMBA_OPTIONS)
def _together(ranges):
    """Smallest and largest mass of the companions of any of eight primaries, and of all of them.

    In ascending order for primaries that are alike: of any, of all, of all, of any.
    """
    low, low_of_all, high_of_all, high = math.inf, -math.inf, math.inf, -math.inf
    for lane in range(LANES):
        # An empty range is that of no primary.
        if ranges[1, lane] > ranges[0, lane]:
            low, low_of_all = min(low, ranges[0, lane]), max(low_of_all, ranges[0, lane])
            high, high_of_all = max(high, ranges[1, lane]), min(high_of_all, ranges[1, lane])
    return low, low_of_all, high_of_all, high


@njit(**NUMBA_OPTIONS)
def _next_group(i, primaries, group):
    """Write the numbers of the next eight primaries that have companions; returns where to go on.

    Numbers of none are -1.
    """
    factor1, limits = primaries[1], primaries[4]
    group[:] = -1
    n = 0
    while i < factor1.size and n < LANES:
        if factor1[i] > 0.0 and limits[i, 1] > limits[i, 0]:
            group[n] = i
            n += 1
        i += 1
    return i


@njit(**NUMBA_OPTIONS)
def gather_pairs(primaries, pieces, tree, law, matrix, grid, limits, index, sums):
    """Add all boxes of pairs to the sums of the cells they fall in, or of their primaries.

    Parameters
    ----------
    primaries : tuple
        Of N groups of primaries the mean ``mass`` (N,) in Msun, ``factor`` (N,), the mean ``mag``
        (N, B) and the covariance of mass and magnitudes ``spread`` (N, B + 1, B + 1); ``limits``
        (N, 2), the masses between which their companions lie; ``step`` (N, B), by how much a run
        of companions may move the system, mag; and ``least`` (N,): a run with less weight may move
        it further.
    pieces, tree : tuple
        As given to `merge_pieces`, and what it returns.
    law : tuple
        ``kind``, `BY_STAR` or `BY_SYSTEM`, and ``start``, ``step``, ``values``: the factor of a
        system (`BY_SYSTEM`) as a table over the logarithm of its mass in Msun. For `BY_STAR` it
        must be 1.
    matrix : tuple of two tuples of B floats
        Makes color and magnitude from magnitudes. Of a tuple the compiler knows the length.
    grid : tuple
        As `cell_of` takes it.
    limits : tuple of two floats
        ``growth``, parts of the total mass by which it may change within a run; and ``near``, parts
        of a step: systems that are closer to their primaries are added to these.
    index : ndarray of int32 (C,)
        Zeros; filled with 1 + the row of each cell in the sums.
    sums : ndarray (N, 1 + B + B (B + 1) / 2)
        What lies where the primaries are, with the columns of the result.

    Returns
    -------
    sums : ndarray (N + N_cell, 1 + B + B (B + 1) / 2)
        For the places of the primaries, and for each cell: the sums of the weights w, of w times
        the magnitudes and of w times their second moments, packed.
    """
    n_band = len(matrix[0])
    moments, (growth, near) = tree[3], limits
    _, start, law_step, values = law
    table = start, 1.0 / law_step, values.size - 1.001, address_of(values, 0)
    places, n_row = _addresses(grid), primaries[1].size
    group = np.empty(LANES, dtype=np.int64)
    of_group = np.empty((3 + 4 * n_band + n_band * (n_band + 1) // 2, LANES))
    ranges = np.empty((2, LANES))
    runs = np.empty(_BATCH, dtype=np.int64)
    cut = np.empty((moments.shape[1], LANES))
    rows = np.empty((_BATCH, LANES), dtype=np.int64)
    boxes = np.empty((_BATCH, N_BOX - 1 + sums.shape[1], LANES))
    to_runs, to_cut, to_boxes = address_of(runs, 0), address_of(cut, 0), address_of(boxes, 0)
    to_moments, to_group = address_of(moments, 0), address_of(of_group, 0)
    i = 0
    while i < primaries[1].size:
        i = _next_group(i, primaries, group)
        bounds = _load_group(primaries, group, of_group, ranges)
        together = _together(ranges)
        p, level = 0, tree[0].size - 2
        while p < tree[0][1] and group[0] >= 0:
            n, piece, p, level = _list_runs(p, level, bounds, together, growth, tree, runs)
            sums = _with_room(sums, n_row)
            fill_boxes(n, to_runs, to_moments, to_group, table, matrix, to_boxes)
            n_row = _rows_of_boxes(n, boxes, near * near, group, places, index, rows, n_row)
            _add_boxes(n, boxes, rows, matrix, sums)
            if piece >= 0:
                sums = _with_room(sums, n_row)
                _cut_moments(piece, pieces, tree, ranges, cut)
                fill_cut_boxes(1, to_runs, to_cut, to_group, table, matrix, to_boxes)
                n_row = _rows_of_boxes(1, boxes, near * near, group, places, index, rows, n_row)
                _add_boxes(1, boxes, rows, matrix, sums)
    still_needed(runs)
    still_needed(of_group)
    still_needed(cut)
    still_needed(boxes)
    still_needed(moments)
    still_needed(values)
    still_needed(grid)
    return sums[:n_row]


@njit(**NUMBA_OPTIONS)
def moment_sums(weight, mean, covariance):
    """Sums as `gather_pairs` takes them, the inverse of `cell_moments`."""
    n, n_band = mean.shape
    sums = np.empty((n, 1 + n_band + n_band * (n_band + 1) // 2))
    for i in range(n):
        sums[i, 0] = weight[i]
        for b in range(n_band):
            sums[i, 1 + b] = weight[i] * mean[i, b]
            for c in range(b + 1):
                second = covariance[i, b, c] + mean[i, b] * mean[i, c]
                sums[i, 1 + n_band + packed(b, c)] = weight[i] * second
    return sums


@njit(**NUMBA_OPTIONS)
def cell_moments(sums, n_band):
    """Weight, mean and covariance from the sums of cells.

    Parameters
    ----------
    sums : ndarray (N, 1 + B + B (B + 1) / 2)
        From `gather_pairs`; all weights must be positive.
    n_band : int
        B.

    Returns
    -------
    weight, mean, covariance : ndarray (N,), (N, B), (N, B, B)
    """
    n = sums.shape[0]
    weight, mean = np.empty(n), np.empty((n, n_band))
    covariance = np.empty((n, n_band, n_band))
    for i in range(n):
        row = sums[i]
        weight[i] = row[0]
        for b in range(n_band):
            mean[i, b] = row[1 + b] / row[0]
            for c in range(b + 1):
                value = row[1 + n_band + packed(b, c)] / row[0] - mean[i, b] * mean[i, c]
                covariance[i, b, c] = covariance[i, c, b] = value
            covariance[i, b, b] = max(covariance[i, b, b], 0.0)
    return weight, mean, covariance
