"""Neighboring stars of an isochrone gathered in cells, with weight, mean and covariance.

A cell is short against the photometric error, so that a Gaussian of its own mean and covariance,
added to that of the photometry, stands for the stars in it. Along an isochrone the cells are
consecutive pieces of it. Binaries fill a plane of primaries and secondaries: for each group of
primaries the secondaries are run through, and consecutive ones share a cell for as long as the
magnitudes of the system stay close together.
"""

import math

import numpy as np
from numba import njit

from pymc_starpop.kernels.interpolation import NUMBA_OPTIONS

#: Gauss-Legendre nodes of two points on [0, 1]; both weights are 1/2.
TWO_NODES = (0.5 - math.sqrt(1.0 / 12.0), 0.5 + math.sqrt(1.0 / 12.0))
_MAG_PER_LN = 2.5 / math.log(10.0)

#: What a pair weighs, besides a factor of each star: nothing more, or a function of the total mass.
BY_STAR, BY_SYSTEM = 0, 1


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
def _interpolate(x, start, step, values):
    """Linear interpolation in an evenly spaced table, clamped at its ends."""
    u = min(max((x - start) / step, 0.0), values.size - 1.001)
    k = int(u)
    return values[k] + (u - k) * (values[k + 1] - values[k])


@njit(**NUMBA_OPTIONS)
def _flush(n, sums, origin, total, mean, covariance):
    """Write the moments of one cell, and empty the sums; returns the next number."""
    n_band = origin.size
    weight = sums[0]
    if weight > 0.0:
        total[n] = weight
        for b in range(n_band):
            mean[n, b] = origin[b] + sums[1 + b] / weight
        for b in range(n_band):
            for c in range(n_band):
                square = sums[1 + n_band + b * n_band + c] / weight
                covariance[n, b, c] = square - sums[1 + b] * sums[1 + c] / (weight * weight)
        n += 1
    sums[:] = 0.0
    return n


@njit(**NUMBA_OPTIONS)
def _stays_close(box, mag, n_point, scale, longest):
    """Widen a box by points, and tell whether it is still short against the errors; else not."""
    n_band = box.shape[1]
    total = 0.0
    wide = 0.0
    for b in range(n_band):
        low, high = box[0, b], box[1, b]
        for i in range(n_point):
            low, high = min(low, mag[i, b]), max(high, mag[i, b])
        total += ((high - low) / scale[b]) ** 2
        wide = max(wide, high - low)
    if total > 1.0 or wide > longest:
        return False
    for b in range(n_band):
        for i in range(n_point):
            box[0, b], box[1, b] = min(box[0, b], mag[i, b]), max(box[1, b], mag[i, b])
    return True


@njit(**NUMBA_OPTIONS)
def pair_cells(primaries, secondaries, law, scales, first, total, mean, covariance):
    """Fill cells of the plane of primaries and secondaries until they are full.

    Parameters
    ----------
    primaries : tuple
        ``mass`` (G, 2) in Msun, ``factor`` (G, 2) and ``mag`` (G, 2, B) of two stars for each of
        G groups of primaries; ``lowest`` and ``highest`` (G, 2), masses of their secondaries.
    secondaries : tuple
        ``low``, ``high`` (P,) in Msun and ``mag_low``, ``mag_high`` (P, B) at the ends of P
        pieces; ``factor`` (P, 2) per Msun and ``flux`` (P, 2, B) at their two Gauss-Legendre
        nodes.
    law : tuple
        ``kind``: `BY_STAR` or `BY_SYSTEM`; ``slope``, the power of the secondary's mass in its
        factor (`BY_SYSTEM`); ``start``, ``step`` and ``values``, a table over the logarithm of
        mass (Msun): the factor of a secondary (`BY_STAR`) or that of a system of this mass.
    scales : tuple
        ``start``, ``step`` and ``values`` (B, K): longest extent of a cell as a function of the
        magnitude in a band, mag; and ``longest``, that in any band.
    first : int
        First group of primaries.
    total, mean, covariance : ndarray (N,), (N, B), (N, B, B)
        Filled with the weight, mean magnitudes and covariance of each cell.

    Returns
    -------
    n : int
        Number of cells that were filled.
    next : int
        First group of primaries for which there was no more room.
    """
    mass1, factor1, mag1, lowest, highest = primaries
    low, high, mag_low, mag_high, factor2, flux2 = secondaries
    kind, slope, start, step, values = law
    scale_start, scale_step, scale_values, longest = scales
    n_band = mag_low.shape[1]
    n_piece = low.size
    mag, weight = np.empty((4, n_band)), np.empty(4)
    flux, inverse = np.empty((2, n_band)), np.empty((2, n_band))
    box, scale, origin = np.empty((2, n_band)), np.empty(n_band), np.empty(n_band)
    sums = np.zeros(1 + n_band + n_band * n_band)
    n = 0
    for g in range(first, mass1.shape[0]):
        if n + n_piece + 1 > total.size:
            return n, g
        for i in range(2):
            for b in range(n_band):
                inverse[i, b] = math.exp(mag1[g, i, b] / _MAG_PER_LN)
        empty = True
        for p in range(n_piece):
            n_point = 0
            for i in range(2):
                left, right = max(low[p], lowest[g, i]), min(high[p], highest[g, i])
                if right <= left or factor1[g, i] <= 0.0:
                    continue
                cut = left > low[p] or right < high[p]
                for k in range(2):
                    m2 = left + (right - left) * TWO_NODES[k]
                    if cut:
                        t = (m2 - low[p]) / (high[p] - low[p])
                        for b in range(n_band):
                            at = mag_low[p, b] + t * (mag_high[p, b] - mag_low[p, b])
                            flux[k, b] = math.exp(-at / _MAG_PER_LN)
                        if kind == BY_STAR:
                            factor = _interpolate(math.log(m2), start, step, values)
                        else:
                            factor = m2**slope
                    else:
                        factor = factor2[p, k]
                        for b in range(n_band):
                            flux[k, b] = flux2[p, k, b]
                    if kind == BY_SYSTEM:
                        factor *= _interpolate(math.log(mass1[g, i] + m2), start, step, values)
                    weight[n_point] = factor1[g, i] * factor * 0.5 * (right - left)
                    for b in range(n_band):
                        ratio = flux[k, b] * inverse[i, b]
                        # The series leaves 3e-13.
                        gain = ratio * (1.0 - ratio * (0.5 - ratio / 3.0))
                        if ratio > 1e-3:
                            gain = math.log(1.0 + ratio)
                        mag[n_point, b] = mag1[g, i, b] - _MAG_PER_LN * gain
                    n_point += 1
            if n_point == 0:
                continue
            if empty or not _stays_close(box, mag, n_point, scale, longest):
                if not empty:
                    n = _flush(n, sums, origin, total, mean, covariance)
                empty = False
                for b in range(n_band):
                    origin[b] = mag[0, b]
                    box[0, b], box[1, b] = mag[0, b], mag[0, b]
                    scale[b] = _interpolate(mag[0, b], scale_start, scale_step, scale_values[b])
                # The first piece of a cell belongs to it however wide it is.
                for b in range(n_band):
                    for i in range(n_point):
                        box[0, b] = min(box[0, b], mag[i, b])
                        box[1, b] = max(box[1, b], mag[i, b])
            for i in range(n_point):
                sums[0] += weight[i]
                for b in range(n_band):
                    x = mag[i, b] - origin[b]
                    sums[1 + b] += weight[i] * x
                    for c in range(n_band):
                        y = mag[i, c] - origin[c]
                        sums[1 + n_band + b * n_band + c] += weight[i] * x * y
        n = _flush(n, sums, origin, total, mean, covariance)
    return n, mass1.shape[0]
