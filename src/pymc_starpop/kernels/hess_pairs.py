"""Binaries gathered in the cells of a grid over color and magnitude, with weight, mean, covariance.

Binaries fill a plane of primaries and companions. It is cut in boxes, of a group of neighboring
primaries and a run of companions, that move the magnitudes of the system by little: a faint
companion hardly changes them, so that its run is long. A box has a weight, a mean and a covariance,
from the moments of its two sides to second order. Runs come from a binary tree whose nodes hold the
moments of 2^level pieces. A box that lies next to its primaries is added to these, the others to
the cell they fall in, so that the number of cells is bounded by the area of the diagram and not by
the number of boxes.
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

#: What a pair weighs, besides a factor of each star: nothing more, or a function of the total mass.
BY_STAR, BY_SYSTEM = 0, 1


@njit(**NUMBA_OPTIONS)
def _interpolate(x, start, step, values):
    """Linear interpolation in an evenly spaced table, clamped at its ends."""
    u = min(max((x - start) / step, 0.0), values.size - 1.001)
    k = int(u)
    return values[k] + (u - k) * (values[k + 1] - values[k])


@njit(**NUMBA_OPTIONS)
def _packed(row, column):
    """Place of an element of a symmetric matrix, row by row up to the diagonal."""
    return row * (row + 1) // 2 + column


@njit(**NUMBA_OPTIONS)
def _moments_between(p, low, high, pieces, out):
    """Write the moments of the companions of piece p between two masses.

    They are those of two Gauss-Legendre nodes: weight; means of the mass and of the flux in each
    band; their covariance, packed.
    """
    mass, mag, slope, table = pieces
    n_band = mag.shape[2]
    m0 = low + (high - low) * TWO_NODES[0]
    m1 = low + (high - low) * TWO_NODES[1]
    w0 = _interpolate(math.log(m0), table[0], table[1], table[2]) * m0**slope
    w1 = _interpolate(math.log(m1), table[0], table[1], table[2]) * m1**slope
    share = w1 / (w0 + w1) if w0 + w1 > 0.0 else 0.5
    out[0] = 0.5 * (high - low) * (w0 + w1)
    out[1] = m0 + share * (m1 - m0)
    width, both = mass[1, p] - mass[0, p], share * (1.0 - share)
    covariance = out[2 + n_band :]
    covariance[0] = both * (m1 - m0) ** 2
    for b in range(n_band):
        slope_mag = (mag[1, p, b] - mag[0, p, b]) / width
        f0 = math.exp(-(mag[0, p, b] + slope_mag * (m0 - mass[0, p])) / _MAG_PER_LN)
        f1 = math.exp(-(mag[0, p, b] + slope_mag * (m1 - mass[0, p])) / _MAG_PER_LN)
        out[2 + b] = f0 + share * (f1 - f0)
        with_mass = both * (m1 - m0) * (f1 - f0)
        covariance[_packed(b + 1, 0)] = with_mass
        for c in range(b + 1):
            other = covariance[_packed(c + 1, 0)]
            covariance[_packed(b + 1, c + 1)] = (
                with_mass * other / covariance[0] if covariance[0] > 0.0 else 0.0
            )


@njit(**NUMBA_OPTIONS)
def _merge_moments(left, right, n, out):
    """Write the moments of two runs together, of the mass and fluxes: n quantities."""
    out[0] = left[0] + right[0]
    share = right[0] / out[0] if out[0] > 0.0 else 0.5
    for b in range(n):
        for c in range(b + 1):
            at = 1 + n + _packed(b, c)
            between = (right[1 + b] - left[1 + b]) * (right[1 + c] - left[1 + c])
            out[at] = left[at] + share * (right[at] - left[at]) + share * (1.0 - share) * between
    for b in range(n):
        out[1 + b] = left[1 + b] + share * (right[1 + b] - left[1 + b])


@njit(**NUMBA_OPTIONS)
def merge_pieces(pieces):
    """Build the tree of companions: level l holds runs of 2^l pieces.

    Parameters
    ----------
    pieces : tuple
        ``mass`` (2, P) and ``mag`` (2, P, B), the mass (Msun) and magnitudes at the two ends of P
        pieces, both linear between them, and ``slope`` and ``table``: the number per Msun of
        companions of mass m is m^slope times a table (start, step, values) over ln m.

    Returns
    -------
    first : ndarray of int (L + 1,)
        Where each level begins in the other arrays, and their length K.
    ends : ndarray (K, 2)
        Smallest and largest mass, Msun.
    flux_range : ndarray (K, 2, B)
        Smallest and largest flux, 10^(-0.4 mag).
    moments : ndarray (K + P, 1 + (B + 1) + (B + 1) (B + 2) / 2)
        Weight; means of the mass and of the flux in each band; their covariance row by row up to
        the diagonal. The last P rows are empty, for `gather_pairs`.
    """
    mass, mag = pieces[0], pieces[1]
    n_piece, n_band = mass.shape[1], mag.shape[2]
    n_level = 1
    while (1 << (n_level - 1)) < n_piece:
        n_level += 1
    first = np.zeros(n_level + 1, dtype=np.int64)
    for level in range(n_level):
        first[level + 1] = first[level] + ((n_piece - 1) >> level) + 1
    n = first[n_level]
    ends, flux_range = np.empty((n, 2)), np.empty((n, 2, n_band))
    moments = np.empty((n + n_piece, 2 + n_band + (n_band + 1) * (n_band + 2) // 2))
    for k in range(n_piece):
        ends[k] = mass[:, k]
        for b in range(n_band):
            flux_range[k, 0, b] = math.exp(-max(mag[0, k, b], mag[1, k, b]) / _MAG_PER_LN)
            flux_range[k, 1, b] = math.exp(-min(mag[0, k, b], mag[1, k, b]) / _MAG_PER_LN)
        _moments_between(k, ends[k, 0], ends[k, 1], pieces, moments[k])
    for level in range(1, n_level):
        for k in range(first[level], first[level + 1]):
            left = first[level - 1] + 2 * (k - first[level])
            right = min(left + 1, first[level] - 1)
            ends[k, 0] = min(ends[left, 0], ends[right, 0])
            ends[k, 1] = max(ends[left, 1], ends[right, 1])
            for b in range(n_band):
                flux_range[k, 0, b] = min(flux_range[left, 0, b], flux_range[right, 0, b])
                flux_range[k, 1, b] = max(flux_range[left, 1, b], flux_range[right, 1, b])
            if right > left:
                _merge_moments(moments[left], moments[right], n_band + 1, moments[k])
            else:
                moments[k] = moments[left]
    return first, ends, flux_range, moments


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
def _with_room(sums, n):
    """The sums with room for one more than n cells."""
    if n < sums.shape[0]:
        return sums
    more = np.zeros((2 * n + 4096, sums.shape[1]))
    more[:n] = sums
    return more


@njit(**NUMBA_OPTIONS)
def _add_to_cell(sums, cell, weight, mag, spread):
    """Add a box to the sums of a cell: weight, a first place, and moments about it."""
    n_band = mag.size
    if sums[cell, 0] == 0.0:
        for b in range(n_band):
            sums[cell, 1 + b] = mag[b]
    sums[cell, 0] += weight
    for b in range(n_band):
        off = mag[b] - sums[cell, 1 + b]
        sums[cell, 1 + n_band + b] += weight * off
        for c in range(b + 1):
            at = _packed(b, c)
            product = off * (mag[c] - sums[cell, 1 + c]) + spread[at]
            sums[cell, 1 + 2 * n_band + at] += weight * product


@njit(**NUMBA_OPTIONS)
def _moves_little(inverse, flux_range, k, step, i):
    """Whether the companions of run k move the system of primary i by less than its steps."""
    # A sum of squares of fractions, without a division.
    top, bottom = 0.0, 1.0
    for b in range(inverse.size):
        low, high = flux_range[k, 0, b] * inverse[b], flux_range[k, 1, b] * inverse[b]
        moved, most = (high - low) ** 2, ((1.0 + low) * step[i, b]) ** 2
        top, bottom = top * most + moved * bottom, bottom * most
    return top <= bottom


@njit(**NUMBA_OPTIONS)
def _list_runs(i, primaries, pieces, tree, inverse, growth, runs):
    """List the runs of companions of primary i, as rows of the moments; returns their number."""
    mass1, _, _, _, limits, step, least = primaries
    first, ends, flux_range, moments = tree
    n_piece, top = pieces[0].shape[1], first.size - 2
    # From the longest run on, halved until it has no more to be told apart.
    p, level, n, part = 0, top, 0, ends.shape[0]
    while p < n_piece:
        k = first[level] + (p >> level)
        left, right = max(ends[k, 0], limits[i, 0]), min(ends[k, 1], limits[i, 1])
        if right > left:
            inside = left == ends[k, 0] and right == ends[k, 1]
            if level > 0 and not (
                inside
                and (
                    moments[k, 0] < least[i]
                    or (
                        right - left <= growth * (mass1[i] + left)
                        and _moves_little(inverse, flux_range, k, step, i)
                    )
                )
            ):
                level -= 1
                continue
            if inside:
                runs[n] = k
            else:
                _moments_between(p, left, right, pieces, moments[part])
                runs[n] = part
                part += 1
            n += 1
        p = ((p >> level) + 1) << level
        # The longest run that begins here.
        while level < top and (p >> level) & 1 == 0:
            level += 1
    return n


@njit(**NUMBA_OPTIONS)
def _weigh(i, primaries, moments, law, runs, n, work):
    """Write weight and tilt of n boxes to the first two rows of the working table.

    The function of the total mass is taken at two nodes, one standard deviation before and behind
    the mean. Its change between them in parts of it, the tilt in 1/Msun, moves the means of both
    sides.
    """
    mass1, factor1, _, spread1 = primaries[0], primaries[1], primaries[2], primaries[3]
    kind, start, law_step, values = law
    n_band = spread1.shape[1] - 1
    if kind == BY_STAR:
        for k in range(n):
            work[0, k], work[1, k] = factor1[i] * moments[runs[k], 0], 0.0
        return
    for k in range(n):
        total = mass1[i] + moments[runs[k], 1]
        s = math.sqrt(spread1[i, 0, 0] + moments[runs[k], 2 + n_band])
        # A run with next to no weight can have any length.
        s = min(s, 0.5 * total)
        work[0, k], work[1, k] = s, total
        work[2, k], work[3, k] = total - s, total + s
    size = work.shape[1]
    n_vector, to_work = (n + LANES - 1) // LANES, address_of(work, 0)
    _log_in_place(n_vector, to_work + 8 * 2 * size)
    _log_in_place(n_vector, to_work + 8 * 3 * size)
    still_needed(work)
    for k in range(n):
        low = _interpolate(work[2, k], start, law_step, values)
        high = _interpolate(work[3, k], start, law_step, values)
        s = work[0, k]
        work[0, k] = 0.5 * (low + high) * factor1[i] * moments[runs[k], 0]
        tilted = s > 0.0 and low + high > 0.0
        work[1, k] = (high - low) / ((low + high) * s) if tilted else 0.0


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
        system (`BY_SYSTEM`) as a table over the logarithm of its mass in Msun.
    matrix : tuple of two tuples of B floats
        Makes color and magnitude from magnitudes. Of a tuple the compiler knows the length.
    grid : tuple
        As `cell_of` takes it.
    limits : tuple of two floats
        ``growth``, parts of the total mass by which it may change within a run; and ``near``, parts
        of a step: systems that are closer to their primaries are added to these.
    index : ndarray of int32 (C,)
        Zeros; filled with 1 + the row of each cell in the sums.
    sums : ndarray (N, 1 + 2 B + B (B + 1) / 2)
        What lies where the primaries are, with the columns of the result.

    Returns
    -------
    sums : ndarray (N + N_cell, 1 + 2 B + B (B + 1) / 2)
        For the places of the primaries, and for each cell: the sum of the weights w; a place o (B,)
        in it; the sums of w (x - o), and of w times the second moments about o, packed.
    """
    factor1, mag1, spread1, step = primaries[1], primaries[2], primaries[3], primaries[5]
    moments, (growth, near) = tree[3], limits
    n_band = len(matrix[0])
    n_sum = n_band * (n_band + 1) // 2
    # Where the covariances of runs begin.
    first = 2 + n_band
    inverse, share, mag = np.empty(n_band), np.empty(n_band), np.empty(n_band)
    scale, spread = np.empty(n_sum), np.empty(n_sum)
    n_piece = pieces[0].shape[1]
    runs = np.empty(n_piece, dtype=np.int64)
    # Room for the last vector; each row begins on one. What it takes beyond the list stays
    # positive.
    work = np.ones((2 + 2 * n_band, (n_piece // LANES + 1) * LANES))
    row_bytes = 8 * work.shape[1]
    n_row = sums.shape[0]
    for i in range(factor1.size):
        if not factor1[i] > 0.0:
            continue
        for b in range(n_band):
            inverse[b] = math.exp(mag1[i, b] / _MAG_PER_LN)
            for c in range(b + 1):
                scale[_packed(b, c)] = inverse[b] * inverse[c] * _MAG_PER_LN * _MAG_PER_LN
        n = _list_runs(i, primaries, pieces, tree, inverse, growth, runs)
        _weigh(i, primaries, moments, law, runs, n, work)
        for k in range(n):
            for b in range(n_band):
                flux = moments[runs[k], 2 + b]
                flux += work[1, k] * moments[runs[k], first + _packed(b + 1, 0)]
                work[2 + b, k] = work[2 + n_band + b, k] = 1.0 + flux * inverse[b]
        for b in range(n_band):
            _log_in_place((n + LANES - 1) // LANES, address_of(work, 0) + (2 + b) * row_bytes)
        still_needed(work)
        for k in range(n):
            run = runs[k]
            color_at, mag_at, off = 0.0, 0.0, 0.0
            for b in range(n_band):
                brighter = work[2 + n_band + b, k]
                share[b] = 1.0 / brighter
                for c in range(b + 1):
                    own = spread1[i, b + 1, c + 1]
                    others = scale[_packed(b, c)] * moments[run, first + _packed(b + 1, c + 1)]
                    spread[_packed(b, c)] = share[b] * share[c] * (own + others)
                # Magnitudes bend over the box.
                bend = share[b] * share[b] * (others - (brighter - 1.0) * own)
                mag[b] = mag1[i, b] + share[b] * work[1, k] * spread1[i, b + 1, 0]
                mag[b] -= _MAG_PER_LN * work[2 + b, k] - 0.5 * bend / _MAG_PER_LN
                color_at += matrix[0][b] * mag[b]
                mag_at += matrix[1][b] * mag[b]
                off += ((mag[b] - mag1[i, b]) / step[i, b]) ** 2
            if not work[0, k] > 0.0:
                continue
            if off < near * near:
                _add_to_cell(sums, i, work[0, k], mag, spread)
                continue
            cell = cell_of(grid, color_at, mag_at)
            if cell < 0:
                continue
            if index[cell] == 0:
                sums = _with_room(sums, n_row)
                n_row += 1
                index[cell] = n_row
            _add_to_cell(sums, index[cell] - 1, work[0, k], mag, spread)
    return sums[:n_row]


def moment_sums(weight, mean, covariance):
    """Sums as `gather_pairs` takes them, the inverse of `cell_moments`."""
    rows, columns = np.tril_indices(mean.shape[1])
    second = weight[:, None] * covariance[:, rows, columns]
    return np.concatenate([weight[:, None], mean, np.zeros(mean.shape), second], axis=1)


@njit(**NUMBA_OPTIONS)
def cell_moments(sums, n_band):
    """Weight, mean and covariance from the sums of cells.

    Parameters
    ----------
    sums : ndarray (N, 1 + 2 B + B (B + 1) / 2)
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
            off = row[1 + n_band + b] / row[0]
            mean[i, b] = row[1 + b] + off
            for c in range(b + 1):
                value = row[1 + 2 * n_band + _packed(b, c)] / row[0]
                value -= off * row[1 + n_band + c] / row[0]
                covariance[i, b, c] = covariance[i, c, b] = value
            covariance[i, b, b] = max(covariance[i, b, b], 0.0)
    return weight, mean, covariance
