"""Neighboring stars of an isochrone gathered in cells, with weight, mean and covariance.

A cell is short against the photometric error, so that a Gaussian of its own mean and covariance,
added to that of the photometry, stands for the stars in it. Along an isochrone the cells are
consecutive pieces of it; binaries, which fill a plane, are gathered by `hess_pairs`.
"""

import math

import numpy as np
from numba import njit

from pymc_starpop.kernels.interpolation import NUMBA_OPTIONS


@njit(**NUMBA_OPTIONS)
def group_pieces(length, joined):
    """Number consecutive pieces so that those of one number are at most 1 long together.

    Parameters
    ----------
    length : ndarray (P,)
        Length of each piece, in units of the longest group.
    joined : ndarray of bool (P,)
        Whether a piece begins where the one before it ends.

    Returns
    -------
    group : ndarray of int (P,)
        Ascending from 0.
    """
    group = np.empty(length.size, dtype=np.int64)
    number, total = -1, 0.0
    for p in range(length.size):
        total += length[p]
        if p == 0 or not joined[p] or total > 1.0:
            number += 1
            total = length[p]
        group[p] = number
    return group


@njit(**NUMBA_OPTIONS)
def group_moments(group, weight, mag):
    """Weight, mean and covariance of the points of each group.

    Parameters
    ----------
    group : ndarray of int (P,)
        Number of the group of each piece, ascending from 0.
    weight : ndarray (P, 2)
        Weights of two points of each piece.
    mag : ndarray (P, 2, B)
        Their magnitudes.

    Returns
    -------
    total, mean, covariance : ndarray (N,), (N, B), (N, B, B)
    """
    n_piece, _, n_band = mag.shape
    n = group[n_piece - 1] + 1 if n_piece else 0
    total, mean = np.zeros(n), np.zeros((n, n_band))
    covariance = np.zeros((n, n_band, n_band))
    for p in range(n_piece):
        for k in range(2):
            total[group[p]] += weight[p, k]
            for b in range(n_band):
                mean[group[p], b] += weight[p, k] * mag[p, k, b]
    for g in range(n):
        if total[g] > 0.0:
            for b in range(n_band):
                mean[g, b] /= total[g]
    for p in range(n_piece):
        g = group[p]
        if total[g] > 0.0:
            for k in range(2):
                share = weight[p, k] / total[g]
                for b in range(n_band):
                    for c in range(n_band):
                        product = (mag[p, k, b] - mean[g, b]) * (mag[p, k, c] - mean[g, c])
                        covariance[g, b, c] += share * product
    return total, mean, covariance


@njit(**NUMBA_OPTIONS)
def cell_rows(color_size, mag_size, color_bin, mag_bin):
    """Rows of cells in color and magnitude, as `hess_pairs.cell_of` takes them.

    A cell is a whole number of bins, or a bin holds a whole number of cells.

    Parameters
    ----------
    color_size, mag_size : ndarray (T,)
        Longest cells in each strip of magnitude, mag.
    color_bin, mag_bin : float
        Width of a bin; that in magnitude is a strip.

    Returns
    -------
    first : ndarray of int (T,)
        First row of each strip; neighboring strips can share one.
    parts : ndarray (T,)
        Number of rows in which each strip is cut.
    width : ndarray (R,)
        Width of the cells in color, for each row, mag.
    """
    n_strip = mag_size.size
    first, parts = np.empty(n_strip, dtype=np.int64), np.ones(n_strip)
    for strip in range(n_strip):
        parts[strip] = max(math.ceil(mag_bin / mag_size[strip]), 1)
    width = np.empty(int(parts.sum()))
    row = strip = 0
    while strip < n_strip:
        together = max(int(mag_size[strip] / mag_bin), 1)
        stop = min(strip + together, n_strip)
        number = int(parts[strip]) if together == 1 else 1
        wide = color_size[strip:stop].min()
        in_bins = int(wide / color_bin)
        wide = color_bin * in_bins if in_bins else color_bin / math.ceil(color_bin / wide)
        width[row : row + number] = wide
        first[strip:stop], parts[strip:stop] = row, number
        row, strip = row + number, stop
    return first, parts, width[:row].copy()
