"""Straight segments of an isochrone: how long they are for the photometry, and their pieces."""

import math

import numpy as np
from numba import njit

from pymc_starpop.kernels.interpolation import NUMBA_OPTIONS
from pymc_starpop.kernels.mass_table import table_at

#: Gauss-Legendre nodes of two points on [0, 1]; both weights are 1/2.
TWO_NODES = (0.5 - math.sqrt(1.0 / 12.0), 0.5 + math.sqrt(1.0 / 12.0))
# The mass function is smooth over this much of ln M.
_LONGEST_LN_MASS = 0.1
# Longest pieces at the ends of a sequence, relative to those inside, and its growth with the
# distance in pieces. There the error of a cell is not made up for by that of the next one.
_END_LENGTH, _END_GROWTH = 0.25, 0.25
# A gap shorter than this, in lengths of pieces, is no end: masses that are equal by rounding.
_SMALL_GAP = 0.3
# Keeps an absurd request (errors of 1e-6 mag) from filling the memory.
_MOST_PIECES = 20_000


@njit(**NUMBA_OPTIONS)
def segment_lengths(mass, mag, sigma, joined, size, table):
    """Lengths of segments and the pieces in which they are to be split.

    Parameters
    ----------
    mass : ndarray (2, S)
        At the two ends of each segment, Msun.
    mag, sigma : ndarray (2, S, B)
        Magnitudes there, and their photometric errors.
    joined : ndarray of bool (S,)
        Whether a segment begins where the one before it ends.
    size : tuple of five floats
        ``in_sigma``, the longest piece in standard deviations, the bands added in quadrature;
        ``in_mag``, the longest in any band, mag; ``in_ln_mass``, the longest in ln M;
        ``least_sigma``, smaller errors count as this, mag; ``least_share``, a piece that holds less
        of the stars is not split further.
    table : tuple
        The mass function as `table_at` takes it.

    Returns
    -------
    length : ndarray (S,)
        In units of the longest piece.
    number : ndarray of int (S,)
        Pieces, at least 1.
    closed : ndarray of bool (S,)
        As `joined`, gaps that are no longer than a part of a piece closed.
    """
    in_sigma, in_mag, in_ln_mass, least_sigma, least_share = size
    n, n_band = joined.size, mag.shape[2]
    length, held, closed = np.empty(n), np.empty(n), np.empty(n, dtype=np.bool_)
    for s in range(n):
        square, most, gap = 0.0, 0.0, 0.0
        for b in range(n_band):
            scale = in_sigma * max(min(sigma[0, s, b], sigma[1, s, b]), least_sigma)
            step = abs(mag[1, s, b] - mag[0, s, b])
            square, most = square + (step / scale) ** 2, max(most, step)
            if s > 0:
                gap += ((mag[0, s, b] - mag[1, s - 1, b]) / scale) ** 2
        in_mass = math.log(mass[1, s] / mass[0, s]) / in_ln_mass
        length[s] = max(math.sqrt(square), most / in_mag, in_mass)
        closed[s] = joined[s] or (s > 0 and gap < _SMALL_GAP**2)
        middle = math.log(0.5 * (mass[0, s] + mass[1, s]))
        held[s] = (mass[1, s] - mass[0, s]) * table_at(middle, table)
    _shorten_ends(length, closed)
    least = least_share * max(held.sum(), 1e-300)
    number = np.empty(n, dtype=np.int64)
    for s in range(n):
        length[s] = min(length[s], held[s] / least)
        pieces = max(length[s], math.log(mass[1, s] / mass[0, s]) / _LONGEST_LN_MASS)
        number[s] = math.ceil(min(max(pieces, 1.0), _MOST_PIECES))
    return length, number, closed


@njit(**NUMBA_OPTIONS)
def _shorten_ends(length, closed):
    """Lengthen segments near the ends of sequences, so that they are split in shorter pieces."""
    start = 0
    while start < length.size:
        stop = start + 1
        while stop < length.size and closed[stop]:
            stop += 1
        behind, before = 0.0, length[start:stop].sum()
        for s in range(start, stop):
            before -= length[s]
            distance = max(min(behind, before), 0.0)
            behind += length[s]
            length[s] /= min(_END_LENGTH + _END_GROWTH * distance, 1.0)
        start = stop


@njit(**NUMBA_OPTIONS)
def split_segments(mass, mag, joined, number, length):
    """Split straight segments in equal pieces.

    Parameters
    ----------
    mass, mag : ndarray (2, S), (2, S, B)
        At the two ends of each segment.
    joined : ndarray of bool (S,)
        Whether a segment begins where the one before it ends.
    number : ndarray of int (S,)
        Pieces of each segment, at least 1.
    length : ndarray (S,)
        Length of each segment.

    Returns
    -------
    mass, mag, joined, length : ndarray (2, P), (2, P, B), (P,), (P,)
        The same for the pieces.
    node_mass, node_mag : ndarray (P, 2), (P, 2, B)
        At the Gauss-Legendre nodes of each piece.
    """
    n_band, n = mag.shape[2], number.sum()
    ends, mags = np.empty((2, n)), np.empty((2, n, n_band))
    follows, lengths = np.ones(n, dtype=np.bool_), np.empty(n)
    node_mass, node_mag = np.empty((n, 2)), np.empty((n, 2, n_band))
    p = 0
    for s in range(number.size):
        follows[p] = joined[s]
        for i in range(number[s]):
            lengths[p] = length[s] / number[s]
            for k in range(2):
                t = (i + k) / number[s]
                u = (i + TWO_NODES[k]) / number[s]
                ends[k, p] = mass[0, s] + t * (mass[1, s] - mass[0, s])
                node_mass[p, k] = mass[0, s] + u * (mass[1, s] - mass[0, s])
                for b in range(n_band):
                    step = mag[1, s, b] - mag[0, s, b]
                    mags[k, p, b] = mag[0, s, b] + t * step
                    node_mag[p, k, b] = mag[0, s, b] + u * step
            p += 1
    return ends, mags, follows, lengths, node_mass, node_mag
