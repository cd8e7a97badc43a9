"""Companions of binaries: a binary tree whose nodes hold the moments of runs of pieces.

A run is 2^level neighboring pieces of an isochrone, with a weight and the mean and covariance of
the mass and of the fluxes of the stars in it. `hess_pairs` says which runs a primary needs.
"""

import math

import numpy as np
from numba import njit

from pymc_starpop.kernels.hess_segments import TWO_NODES
from pymc_starpop.kernels.interpolation import NUMBA_OPTIONS
from pymc_starpop.kernels.mass_table import table_at

#: Magnitudes in a factor e of flux.
MAG_PER_LN = 2.5 / math.log(10.0)


@njit(**NUMBA_OPTIONS)
def packed(row, column):
    """Place of an element of a symmetric matrix, row by row up to the diagonal."""
    return row * (row + 1) // 2 + column


@njit(**NUMBA_OPTIONS)
def moments_between(p, low, high, pieces, out):
    """Write the moments of the companions of piece p between two masses.

    They are those of two Gauss-Legendre nodes: weight; means of the mass and of the flux in each
    band; their covariance, packed.
    """
    mass, mag, slope, table = pieces
    n_band = mag.shape[2]
    m0 = low + (high - low) * TWO_NODES[0]
    m1 = low + (high - low) * TWO_NODES[1]
    w0 = table_at(math.log(m0), table) * m0**slope
    w1 = table_at(math.log(m1), table) * m1**slope
    share = w1 / (w0 + w1) if w0 + w1 > 0.0 else 0.5
    out[0] = 0.5 * (high - low) * (w0 + w1)
    out[1] = m0 + share * (m1 - m0)
    width, both = mass[1, p] - mass[0, p], share * (1.0 - share)
    covariance = out[2 + n_band :]
    covariance[0] = both * (m1 - m0) ** 2
    for b in range(n_band):
        slope_mag = (mag[1, p, b] - mag[0, p, b]) / width
        f0 = math.exp(-(mag[0, p, b] + slope_mag * (m0 - mass[0, p])) / MAG_PER_LN)
        f1 = math.exp(-(mag[0, p, b] + slope_mag * (m1 - mass[0, p])) / MAG_PER_LN)
        out[2 + b] = f0 + share * (f1 - f0)
        with_mass = both * (m1 - m0) * (f1 - f0)
        covariance[packed(b + 1, 0)] = with_mass
        for c in range(b + 1):
            other = covariance[packed(c + 1, 0)]
            covariance[packed(b + 1, c + 1)] = (
                with_mass * other / covariance[0] if covariance[0] > 0.0 else 0.0
            )


@njit(**NUMBA_OPTIONS)
def _merge_moments(left, right, n, out):
    """Write the moments of two runs together, of the mass and fluxes: n quantities."""
    out[0] = left[0] + right[0]
    share = right[0] / out[0] if out[0] > 0.0 else 0.5
    for b in range(n):
        for c in range(b + 1):
            at = 1 + n + packed(b, c)
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
    moments : ndarray (K, 1 + (B + 1) + (B + 1) (B + 2) / 2)
        Weight; means of the mass and of the flux in each band; their covariance row by row up to
        the diagonal.
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
    moments = np.empty((n, 2 + n_band + (n_band + 1) * (n_band + 2) // 2))
    for k in range(n_piece):
        ends[k] = mass[:, k]
        for b in range(n_band):
            flux_range[k, 0, b] = math.exp(-max(mag[0, k, b], mag[1, k, b]) / MAG_PER_LN)
            flux_range[k, 1, b] = math.exp(-min(mag[0, k, b], mag[1, k, b]) / MAG_PER_LN)
        moments_between(k, ends[k, 0], ends[k, 1], pieces, moments[k])
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
