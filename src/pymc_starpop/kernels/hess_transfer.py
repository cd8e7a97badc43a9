"""Transfer of stars from cells of input color and magnitude to the bins of a Hess diagram.

A cell is a rectangle that is evenly filled. Its stars are moved by shifts, one for each artificial
star that stands for them: the rectangle moves, widened for shifts far out, and its parts fall into
bins.
"""

import math

import numpy as np
from numba import njit

from pymc_starpop.kernels.interpolation import NUMBA_OPTIONS

__all__ = ["apply_transfer", "transfer_rows", "wing_width"]

#: Smear of the wings, and between which sizes of the residual it sets in.
WING_WIDTH, WING_FROM, WING_TO = 0.35, 1.5, 4.0


@njit(**NUMBA_OPTIONS)
def _bin_at(start, inverse, edges, x):
    """Index of the bin that holds x, -1 below the first edge, the number of bins above the last."""
    n = edges.size - 1
    if not x >= edges[0]:
        return -1
    if x >= edges[n]:
        return n
    i = min(max(int((x - start) * inverse), 0), n - 1)
    while i > 0 and x < edges[i]:
        i -= 1
    while i < n - 1 and x >= edges[i + 1]:
        i += 1
    return i


@njit(**NUMBA_OPTIONS)
def wing_width(first, second):
    """Half width of the smear of a shift, as a part of the shift: 0 in the core.

    Artificial stars far out are few. Each stands for shifts that are somewhat larger and smaller.
    """
    size = math.sqrt(first * first + second * second)
    return WING_WIDTH * min(max((size - WING_FROM) / (WING_TO - WING_FROM), 0.0), 1.0)


@njit(**NUMBA_OPTIONS)
def transfer_rows(cells, pool_of, pools, stride, residual, to_shift, color_edges, mag_edges):
    """Rows of the transfer matrix, one for each cell, in compressed form.

    Parameters
    ----------
    cells : ndarray (N, 9)
        Color and magnitude of the center, half widths in color and magnitude, completeness, bias
        in two coordinates, and scale of the residuals in these.
    pool_of : ndarray of int (N,)
        Which pool of artificial stars stands for each cell.
    pools : ndarray of int (P, K)
        Indices of artificial stars.
    stride : int
        Each cell takes every so many of its pool; neighboring cells take different ones.
    residual : ndarray (S, 2)
        Shifts of artificial stars in the two coordinates, less bias, in units of the scatter.
    to_shift : ndarray (2, 2)
        Makes shifts in color and magnitude from those in the two coordinates.
    color_edges, mag_edges : ndarray (N_color + 1,), (N_mag + 1,)
        Edges of the bins.

    Returns
    -------
    start : ndarray of int (N + 1,)
        Where each row begins.
    column : ndarray of int32 (M,)
        Flat index of the bin (mag, color).
    value : ndarray (M,)
        Probability that a star of the cell is found in the bin.
    """
    n_color, n_mag = color_edges.size - 1, mag_edges.size - 1
    per_color = n_color / (color_edges[n_color] - color_edges[0])
    per_mag = n_mag / (mag_edges[n_mag] - mag_edges[0])
    n_cell, n_near = cells.shape[0], pools.shape[1]
    start = np.zeros(n_cell + 1, dtype=np.int64)
    capacity = 1 << 16
    column, value = np.empty(capacity, dtype=np.int32), np.empty(capacity)
    share = np.zeros(n_mag * n_color)
    touched = np.empty(n_mag * n_color, dtype=np.int32)
    n = 0
    for k in range(n_cell):
        color, mag, half_color, half_mag = cells[k, 0], cells[k, 1], cells[k, 2], cells[k, 3]
        n_touched = 0
        first_star = k % stride
        weight = cells[k, 4] / ((n_near - first_star + stride - 1) // stride)
        for j in range(first_star, n_near if weight > 0.0 else 0, stride):
            s = pools[pool_of[k], j]
            first = cells[k, 5] + cells[k, 7] * residual[s, 0]
            second = cells[k, 6] + cells[k, 8] * residual[s, 1]
            at_color = color + to_shift[0, 0] * first + to_shift[0, 1] * second
            at_mag = mag + to_shift[1, 0] * first + to_shift[1, 1] * second
            far = wing_width(residual[s, 0], residual[s, 1])
            wide_color = half_color + far * abs(at_color - color)
            wide_mag = half_mag + far * abs(at_mag - mag)
            left, right = at_color - wide_color, at_color + wide_color
            bright, faint = at_mag - wide_mag, at_mag + wide_mag
            density = weight / ((right - left) * (faint - bright))
            j0 = _bin_at(color_edges[0], per_color, color_edges, left)
            j1 = _bin_at(color_edges[0], per_color, color_edges, right)
            i0 = _bin_at(mag_edges[0], per_mag, mag_edges, bright)
            i1 = _bin_at(mag_edges[0], per_mag, mag_edges, faint)
            for i in range(max(i0, 0), min(i1, n_mag - 1) + 1):
                high = min(faint, mag_edges[i + 1]) - max(bright, mag_edges[i])
                for c in range(max(j0, 0), min(j1, n_color - 1) + 1):
                    wide = min(right, color_edges[c + 1]) - max(left, color_edges[c])
                    part = density * high * wide
                    if part > 0.0:
                        b = i * n_color + c
                        if share[b] == 0.0:
                            touched[n_touched] = b
                            n_touched += 1
                        share[b] += part
        if n + n_touched > capacity:
            capacity = 2 * (n + n_touched)
            more_column, more_value = np.empty(capacity, dtype=np.int32), np.empty(capacity)
            more_column[:n], more_value[:n] = column[:n], value[:n]
            column, value = more_column, more_value
        for t in range(n_touched):
            column[n], value[n] = touched[t], share[touched[t]]
            share[touched[t]] = 0.0
            n += 1
        start[k + 1] = n
    return start, column[:n].copy(), value[:n].copy()


@njit(**NUMBA_OPTIONS)
def apply_transfer(start, column, value, number, counts):
    """Add the stars of cells, as they are found, to bins; cells without stars cost nothing.

    Parameters
    ----------
    start, column, value : ndarray
        From `transfer_rows`.
    number : ndarray (T, N)
        Stars in the cells of T templates.
    counts : ndarray (T, M)
        Stars in the bins, added to.
    """
    n_template, n_cell = number.shape
    for k in range(n_cell):
        # The rows of a cell stay in the fast memory from one template to the next.
        for t in range(n_template):
            stars = number[t, k]
            if stars != 0.0:
                for n in range(start[k], start[k + 1]):
                    counts[t, column[n]] += stars * value[n]
