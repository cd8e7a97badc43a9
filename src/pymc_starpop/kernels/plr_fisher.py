"""Counts of a hierarchical model and their Jacobian, in one pass over the bins with stars.

Stars of age j have metallicity k with weight w_jk, so that R_j Msun formed give the counts

    m_i = b_i + sum_j R_j P_ij,    P_ij = sum_k C_ijk w_jk.

With Q_ij = sum_k C_ijk dw_jk/dmu_j and S_i = sum_j R_j sum_k C_ijk dw_jk/dsigma, the Jacobian of m
with respect to the masses, the mean metallicities and their dispersion is P, R Q and S. The
Gaussian weights (Garling et al. 2025, eq. 8) vanish away from the mean, so that each age needs
only a window of columns.

Here the templates are stored one after another, (N_age * N_mh, N_row): the innermost loops then run
over bins, which vectorizes whatever the width of a window.
"""

import numba
import numpy as np

__all__ = ["free_counts", "gather_templates", "hierarchical_counts", "template_pull"]

# Sums may be taken in any order, which lets the compiler use vector instructions.
_FAST = {"reassoc", "contract", "nsz", "arcp"}
# Bins that are worked on together: their sums stay in the first-level cache.
_CHUNK = 512


@numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=_FAST)
def gather_templates(matrix, bins, empty, rows, totals):
    """Copy the bins with stars in single precision, and add up each template.

    As in `pymc_starpop.hess.rows`, the totals are summed from the rounded values.

    Parameters
    ----------
    matrix : (N_template, N_bin)
        Templates, stars per Msun.
    bins, empty : (N_row,), (N_empty,) int
        Bins that count: with stars, and without.
    rows : (N_template, N_row) float32
        Filled with the bins that hold stars.
    totals : (N_template,)
        What is in the bins that count is added to it.
    """
    for k in range(matrix.shape[0]):
        template, row = matrix[k], rows[k]
        total = 0.0
        for i in range(bins.size):
            rounded = np.float32(template[bins[i]])
            row[i] = rounded
            total += np.float64(rounded)
        for i in range(empty.size):
            total += template[empty[i]]
        totals[k] += total


@numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=_FAST)
def _add_three(weights, row, first, second, third):
    """Add a template with three weights to three sums over the bins of one chunk."""
    a, b, c = weights[0], weights[1], weights[2]
    for i in range(row.size):
        value = np.float64(row[i])
        first[i] += a * value
        second[i] += b * value
        third[i] += c * value


@numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=_FAST)
def _dot(row, ratio):
    """Return the sum of a template times the ratio of observed and expected counts."""
    total = 0.0
    for i in range(row.size):
        total += ratio[i] * np.float64(row[i])
    return total


@numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=_FAST)
def hierarchical_counts(rows, observed, background, weights, window, mass):
    """Return expected counts, their derivatives, and the pull of the data on each template.

    Parameters
    ----------
    rows : (N_age * N_mh, N_row) float32
        Templates in the bins with stars, ages one after another, stars per Msun.
    observed, background : (N_row,)
        Stars, all positive, and expected counts that belong to no template.
    weights : (N_age, N_mh, 3)
        w, dw/dmu and dw/dsigma; not read outside the windows.
    window : (N_age, 2) int
        First column and one past the last of each age.
    mass : (N_age,)
        Mass formed at each age, Msun.

    Returns
    -------
    expected : (N_row,)
        m.
    per_mass, per_mean : (N_age, N_row)
        P and Q.
    per_sigma : (N_row,)
        S.
    pull : (N_age, N_mh)
        sum_i C_ijk n_i / m_i inside the windows, 0 elsewhere; not finite where an m_i is 0.
    """
    n_row, n_age, n_mh = observed.size, weights.shape[0], weights.shape[1]
    expected, ratio = background.copy(), np.empty(n_row)
    per_mass, per_mean = np.zeros((n_age, n_row)), np.zeros((n_age, n_row))
    per_sigma, pull = np.zeros(n_row), np.zeros((n_age, n_mh))
    spread = np.empty(_CHUNK)
    for start in range(0, n_row, _CHUNK):
        stop = min(start + _CHUNK, n_row)
        chunk = slice(start, stop)
        third = spread[: stop - start]
        for j in range(n_age):
            first, second = per_mass[j, chunk], per_mean[j, chunk]
            third[:] = 0.0
            for k in range(window[j, 0], window[j, 1]):
                _add_three(weights[j, k], rows[j * n_mh + k, chunk], first, second, third)
            for i in range(stop - start):
                expected[start + i] += mass[j] * first[i]
                per_sigma[start + i] += mass[j] * third[i]
        for i in range(start, stop):
            ratio[i] = observed[i] / expected[i]
        # The templates of this chunk are still in the cache.
        for j in range(n_age):
            for k in range(window[j, 0], window[j, 1]):
                pull[j, k] += _dot(rows[j * n_mh + k, chunk], ratio[chunk])
    return expected, per_mass, per_mean, per_sigma, pull


@numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=_FAST)
def free_counts(rows, background, coefficients):
    """Return the counts (N_row,) of free coefficients (N_template,), Msun; zeros are skipped."""
    n_row = background.size
    expected = background.copy()
    for start in range(0, n_row, _CHUNK):
        stop = min(start + _CHUNK, n_row)
        for k in range(rows.shape[0]):
            amount, row = coefficients[k], rows[k, start:stop]
            if amount != 0.0:
                for i in range(stop - start):
                    expected[start + i] += amount * np.float64(row[i])
    return expected


@numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=_FAST)
def template_pull(rows, ratio):
    """Return the sum (N_template,) over the bins of each template times a ratio (N_row,)."""
    pull = np.zeros(rows.shape[0])
    for start in range(0, ratio.size, _CHUNK):
        chunk = slice(start, min(start + _CHUNK, ratio.size))
        for k in range(rows.shape[0]):
            pull[k] += _dot(rows[k, chunk], ratio[chunk])
    return pull
