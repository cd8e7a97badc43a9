"""Binaries gathered in the cells of a grid over color and magnitude, with weight, mean, covariance.

Binaries fill a plane of primaries and companions. For each primary the companions are run through
in pieces that move the magnitudes of the system by little: a faint companion hardly changes them,
so that its pieces are long. They come from a binary tree whose nodes are runs of 2^level pieces,
each with two stars that stand for it. Every pair falls in a cell, so that the number of cells is
bounded by the area of the diagram and not by the number of pairs.
"""

import math

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from pymc_starpop.kernels.hess_cells import TWO_NODES
from pymc_starpop.kernels.interpolation import NUMBA_OPTIONS
from pymc_starpop.kernels.simd import LANES, address_of, load, offset, still_needed, store

_MAG_PER_LN = 2.5 / math.log(10.0)

# Largest error of the mean flux at two nodes, in parts of the range of fluxes in a run.
_LARGEST_SHIFT = 0.03

#: What a pair weighs, besides a factor of each star: nothing more, or a function of the total mass.
BY_STAR, BY_SYSTEM = 0, 1


@njit(**NUMBA_OPTIONS)
def merge_pieces(mass, mag, joined, longest):
    """Build the tree of companions: level l holds runs of 2^l pieces.

    Parameters
    ----------
    mass, mag : ndarray (2, P), (2, P, B)
        Mass (Msun) and magnitudes at the two ends of P pieces; both are linear between them.
    joined : ndarray of bool (P,)
        Whether a piece begins where the one before it ends.
    longest : float
        Logarithm of the largest ratio of masses in a run.

    Returns
    -------
    first : ndarray of int (L + 1,)
        Where each level begins in the other arrays, and their length K.
    ends : ndarray (K, 2)
        Smallest and largest mass, Msun.
    node_mass, node_flux : ndarray (K, 2), (K, 2, B)
        Mass and flux, 10^(-0.4 mag), at the two Gauss-Legendre nodes in mass; the fluxes of runs
        are shifted so that their mean over mass is that of their pieces.
    flux_range : ndarray (K, 2, B)
        Smallest and largest flux.
    whole : ndarray of bool (K,)
        Whether two stars can stand for the run: it has no gap, is short enough, and its flux is
        near enough to a straight line in mass. Other runs have no nodes.
    """
    n_piece, n_band = joined.size, mag.shape[2]
    n_level = 1
    while (1 << (n_level - 1)) < n_piece:
        n_level += 1
    first = np.zeros(n_level + 1, dtype=np.int64)
    for level in range(n_level):
        first[level + 1] = first[level] + ((n_piece - 1) >> level) + 1
    n = first[n_level]
    ends, node_mass = np.empty((n, 2)), np.ones((n, 2))
    node_flux, flux_range = np.ones((n, 2, n_band)), np.empty((n, 2, n_band))
    whole, mean_flux = np.empty(n, dtype=np.bool_), np.zeros((n, n_band))
    for level in range(n_level):
        for j in range(first[level + 1] - first[level]):
            k = first[level] + j
            start = j << level
            stop = min((j + 1) << level, n_piece)
            if level == 0:
                whole[k] = True
                ends[k] = mass[:, j]
                for b in range(n_band):
                    flux_range[k, 0, b] = math.exp(-max(mag[0, j, b], mag[1, j, b]) / _MAG_PER_LN)
                    flux_range[k, 1, b] = math.exp(-min(mag[0, j, b], mag[1, j, b]) / _MAG_PER_LN)
            else:
                left = first[level - 1] + 2 * j
                right = min(left + 1, first[level] - 1)
                middle = (2 * j + 1) << (level - 1)
                ends[k, 0] = min(ends[left, 0], ends[right, 0])
                ends[k, 1] = max(ends[left, 1], ends[right, 1])
                whole[k] = whole[left] and whole[right]
                if whole[k] and middle < n_piece:
                    whole[k] = joined[middle] and math.log(ends[k, 1] / ends[k, 0]) <= longest
                for b in range(n_band):
                    flux_range[k, 0, b] = min(flux_range[left, 0, b], flux_range[right, 0, b])
                    flux_range[k, 1, b] = max(flux_range[left, 1, b], flux_range[right, 1, b])
            if whole[k]:
                p = start
                for i in range(2):
                    m = ends[k, 0] + TWO_NODES[i] * (ends[k, 1] - ends[k, 0])
                    while p < stop - 1 and mass[1, p] < m:
                        p += 1
                    t = (m - mass[0, p]) / (mass[1, p] - mass[0, p])
                    node_mass[k, i] = m
                    for b in range(n_band):
                        at = mag[0, p, b] + t * (mag[1, p, b] - mag[0, p, b])
                        node_flux[k, i, b] = math.exp(-at / _MAG_PER_LN)
                if level > 0:
                    share = (ends[left, 1] - ends[left, 0]) / (ends[k, 1] - ends[k, 0])
                    for b in range(n_band):
                        mean = share * mean_flux[left, b] + (1.0 - share) * mean_flux[right, b]
                        shift = mean - 0.5 * (node_flux[k, 0, b] + node_flux[k, 1, b])
                        largest = _LARGEST_SHIFT * (flux_range[k, 1, b] - flux_range[k, 0, b])
                        whole[k] = whole[k] and abs(shift) <= largest
                        node_flux[k, 0, b] += shift
                        node_flux[k, 1, b] += shift
                for b in range(n_band):
                    mean_flux[k, b] = 0.5 * (node_flux[k, 0, b] + node_flux[k, 1, b])
    return first, ends, node_mass, node_flux, flux_range, whole


@njit(**NUMBA_OPTIONS)
def _interpolate(x, start, step, values):
    """Linear interpolation in an evenly spaced table, clamped at its ends."""
    u = min(max((x - start) / step, 0.0), values.size - 1.001)
    k = int(u)
    return values[k] + (u - k) * (values[k + 1] - values[k])


@intrinsic
def _log_in_place(typingctx, n, values):
    """Take the logarithm of 8 n positive numbers that lie at an address."""

    def codegen(context, builder, signature, args):
        n, values = args
        with cgutils.for_range(builder, n) as loop:
            place = offset(builder, values, builder.mul(loop.index, loop.index.type(LANES)))
            store(builder, load(builder, place).log(), place)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


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
    color_start, mag_start, per_mag, strip_row, strip_parts, per_color, row_size, row_start = grid
    u = (mag - mag_start) * per_mag
    # Written so that NaN is outside.
    if not (u >= 0.0 and u < strip_row.size):
        return -1
    strip = int(u)
    row = strip_row[strip] + int((u - strip) * strip_parts[strip])
    v = (color - color_start) * per_color[row]
    if not (v >= 0.0 and v < row_size[row]):
        return -1
    return row_start[row] + int(v)


@njit(**NUMBA_OPTIONS)
def _add_to_cell(sums, cell, weight, mag):
    """Add a system to the sums of a cell: weight, a first place, and moments about it."""
    n_band = mag.size
    if sums[cell, 0] == 0.0:
        for b in range(n_band):
            sums[cell, 1 + b] = mag[b]
    sums[cell, 0] += weight
    at = 1 + 2 * n_band
    for b in range(n_band):
        x = weight * (mag[b] - sums[cell, 1 + b])
        sums[cell, 1 + n_band + b] += x
        for c in range(b + 1):
            sums[cell, at] += x * (mag[c] - sums[cell, 1 + c])
            at += 1


@njit(**NUMBA_OPTIONS)
def _moves_little(inverse, flux_range, k, step, i):
    """Whether the companions of run k move the system of primary i by less than its steps."""
    total = 0.0
    for b in range(inverse.size):
        low, high = flux_range[k, 0, b] * inverse[b], flux_range[k, 1, b] * inverse[b]
        moved = (high - low) / ((1.0 + low) * step[i, b])
        total += moved * moved
    return total <= 1.0


@njit(**NUMBA_OPTIONS)
def _list_run(k, tree, primary, n, work):
    """List the two pairs of one primary with a run of companions as `_list_pairs` does."""
    _, _, node_mass, node_flux, _, _, node_factor = tree
    mass1, inverse = primary
    for j in range(2):
        work[0, n + j] = node_factor[k, j]
        work[1, n + j] = mass1 + node_mass[k, j]
        for b in range(inverse.size):
            work[2 + b, n + j] = 1.0 + node_flux[k, j, b] * inverse[b]


@njit(**NUMBA_OPTIONS)
def _list_part(p, ends, pieces, primary, n, work):
    """List the two pairs with the part of a piece between two masses."""
    mass, mag, slope, table = pieces
    mass1, inverse = primary
    for j in range(2):
        m = ends[0] + (ends[1] - ends[0]) * TWO_NODES[j]
        t = (m - mass[0, p]) / (mass[1, p] - mass[0, p])
        value = _interpolate(math.log(m), table[0], table[1], table[2])
        work[0, n + j] = 0.5 * (ends[1] - ends[0]) * value * m**slope
        work[1, n + j] = mass1 + m
        for b in range(inverse.size):
            at = mag[0, p, b] + t * (mag[1, p, b] - mag[0, p, b])
            work[2 + b, n + j] = 1.0 + math.exp(-at / _MAG_PER_LN) * inverse[b]


@njit(**NUMBA_OPTIONS)
def _list_pairs(i, primaries, pieces, tree, inverse, work):
    """List the pairs of one primary; returns their number.

    Writes for each a factor (without that of the primary), the total mass, and the flux in each
    band, in units of that of the primary, 1 / inverse.
    """
    mass1, _, _, limits, step, least = primaries
    first, ends, _, _, flux_range, whole, node_factor = tree
    n_piece, top = pieces[0].shape[1], first.size - 2
    primary = mass1[i], inverse
    # From the longest run on, halved until it has no more to be told apart.
    p, level, n = 0, top, 0
    while p < n_piece:
        k = first[level] + (p >> level)
        left, right = max(ends[k, 0], limits[i, 0]), min(ends[k, 1], limits[i, 1])
        if right > left:
            inside = left == ends[k, 0] and right == ends[k, 1]
            if level > 0 and not (
                inside
                and whole[k]
                and (
                    node_factor[k, 0] + node_factor[k, 1] < least[i]
                    or _moves_little(inverse, flux_range, k, step, i)
                )
            ):
                level -= 1
                continue
            if inside:
                _list_run(k, tree, primary, n, work)
            else:
                _list_part(p, (left, right), pieces, primary, n, work)
            n += 2
        p = ((p >> level) + 1) << level
        # The longest run that begins here.
        while level < top and (p >> level) & 1 == 0:
            level += 1
    return n


@njit(**NUMBA_OPTIONS)
def gather_pairs(primaries, pieces, tree, law, matrix, grid, sums, touched):
    """Add all pairs to the sums of the cells they fall in.

    Parameters
    ----------
    primaries : tuple
        Of N primaries ``mass`` (N,) in Msun, ``factor`` (N,) and ``mag`` (N, B); ``limits``
        (N, 2), the masses between which their companions lie; ``step`` (N, B), by how much a run
        of companions may move the system, mag; and ``least`` (N,): a run with less weight may move
        it further.
    pieces : tuple
        ``mass`` (2, P) and ``mag`` (2, P, B) as given to `merge_pieces`, and ``slope`` and
        ``table``: the factor per Msun of a companion of mass m is m^slope times a table
        (start, step, values) over ln m.
    tree : tuple
        What `merge_pieces` returns, and ``factor`` (K, 2), the integral for which each node stands.
    law : tuple
        ``kind``, `BY_STAR` or `BY_SYSTEM`, and ``start``, ``step``, ``values``: the factor of a
        system (`BY_SYSTEM`) as a table over the logarithm of its mass in Msun.
    matrix : ndarray (2, B)
        Makes color and magnitude from magnitudes.
    grid : tuple
        As `cell_of` takes it.
    sums : ndarray (C, 1 + 2 B + B (B + 1) / 2)
        Zeros; see `cell_moments`.
    touched : ndarray of int (C,)
        Filled with the indices of the cells that hold pairs.

    Returns
    -------
    n : int
        Number of these cells.
    """
    factor1, mag1 = primaries[1], primaries[2]
    kind, start, law_step, values = law
    n_band = mag1.shape[1]
    inverse, mag = np.empty(n_band), np.empty(n_band)
    # Two pairs a piece at most, and room for the last vector; each row begins on a vector.
    size = (2 * pieces[0].shape[1] // LANES + 1) * LANES
    work = np.ones((2 + n_band, size))
    to_work = address_of(work, 0)
    n = 0
    for i in range(factor1.size):
        if not factor1[i] > 0.0:
            continue
        for b in range(n_band):
            inverse[b] = math.exp(mag1[i, b] / _MAG_PER_LN)
        n_pair = _list_pairs(i, primaries, pieces, tree, inverse, work)
        for row in range(1, 2 + n_band):
            if row > 1 or kind == BY_SYSTEM:
                _log_in_place((n_pair + LANES - 1) // LANES, to_work + 8 * row * size)
        for k in range(n_pair):
            weight = factor1[i] * work[0, k]
            if kind == BY_SYSTEM:
                weight *= _interpolate(work[1, k], start, law_step, values)
            color_at, mag_at = 0.0, 0.0
            for b in range(n_band):
                mag[b] = mag1[i, b] - _MAG_PER_LN * work[2 + b, k]
                color_at += matrix[0, b] * mag[b]
                mag_at += matrix[1, b] * mag[b]
            cell = cell_of(grid, color_at, mag_at)
            if cell < 0 or not weight > 0.0:
                continue
            if sums[cell, 0] == 0.0:
                touched[n] = cell
                n += 1
            _add_to_cell(sums, cell, weight, mag)
        # What the last vector takes beyond the list stays a positive number.
        work[1:, : n_pair + LANES] = 1.0
    still_needed(work)
    return n


@njit(**NUMBA_OPTIONS)
def cell_moments(sums, cells, n_band):
    """Weight, mean and covariance from the sums of cells.

    Parameters
    ----------
    sums : ndarray (C, 1 + 2 B + B (B + 1) / 2)
        For each cell the sum of the weights w; a place o (B,) in it; the sums of w (x - o), and of
        w (x - o) (x - o)^T row by row up to the diagonal.
    cells : ndarray of int (N,)
        Cells with a positive weight.
    n_band : int
        B.

    Returns
    -------
    weight, mean, covariance : ndarray (N,), (N, B), (N, B, B)
    """
    n = cells.size
    weight, mean = np.empty(n), np.empty((n, n_band))
    covariance = np.empty((n, n_band, n_band))
    for i in range(n):
        row = sums[cells[i]]
        weight[i] = row[0]
        at = 1 + 2 * n_band
        for b in range(n_band):
            off = row[1 + n_band + b] / row[0]
            mean[i, b] = row[1 + b] + off
            for c in range(b + 1):
                value = row[at] / row[0] - off * row[1 + n_band + c] / row[0]
                covariance[i, b, c] = covariance[i, c, b] = value
                at += 1
            covariance[i, b, b] = max(covariance[i, b, b], 0.0)
    return weight, mean, covariance
