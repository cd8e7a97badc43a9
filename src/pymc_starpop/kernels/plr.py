"""The Poisson likelihood ratio of a Hess diagram, its gradient and its curvature.

With C the templates (stars per bin per Msun), r the coefficients (Msun), b a background, n the
observed and m = C r + b the expected counts (Garling et al. 2025, eq. 6),

    ln PLR = sum over n > 0 of [n ln(m/n) + n] - T r - B,
    d/dr = C' (n/m) - T,    d/db = n/m - 1,    H v = -C' [(n/m^2) C v],

where T = sum of C and B = sum of b over all bins that count, so that only the bins with n > 0 need
m: these are the rows. B and what depends on b in the other bins is left to the caller. Value and
gradient are one pass over the templates, a block of rows at a time; see `plr_vectors`.

Where r is negative, NaN or infinite, or a row has m <= 0, the value is -inf. The gradient is then
finite: 0 in the first case, and without the rows of m <= 0 in the second.

Many coefficients are tiny where r comes from a Gaussian in metallicity. With `windowed` those of
each age that are below 1e-10 of its sum are left out, and so is their gradient (T alone is
subtracted). The part is smaller for large r, so that what is left out, d expected stars in the
whole diagram, stays near 1e-6 or below. It changes the value by at most d times the largest n/m:
blocks where that exceeds 1e-5 are computed again with all templates.

`reference/plr.py` holds the slow twins.
"""

import math

import numba
import numpy as np

from pymc_starpop.kernels.plr_vectors import (
    BLOCK,
    COLUMN_BYTES,
    GROUP,
    add_counts,
    add_projections,
    log_ratios,
)
from pymc_starpop.kernels.simd import address_of, still_needed

__all__ = [
    "pack_rows",
    "plr_curvature",
    "plr_full",
    "plr_value_full",
    "plr_value_windowed",
    "plr_windowed",
]

_LINE = 64  # bytes of a cache line
# Largest part of the sum of an age that a template which is left out may have, and the number of
# stars that the parts left out may come to.
_LEAST_PART = 1e-10
_STARS_LEFT_OUT = 1e-6
# Error of ln PLR, in nats, above which a block is computed with all templates.
_LARGEST_ERROR = 1e-5


def pack_rows(counts):
    """Return templates (N_row, N_column) as blocks (N_block, N_column, BLOCK), float32.

    Rows of zeros fill up the last block. Blocks begin at a line of the cache.
    """
    n_row, n_column = counts.shape
    shape = (-(-n_row // BLOCK), n_column, BLOCK)
    size = math.prod(shape)
    buffer = np.zeros(size + _LINE // 4, dtype=np.float32)
    start = -buffer.ctypes.data % _LINE // 4
    packed = buffer[start : start + size].reshape(shape)
    for block in range(shape[0]):
        rows = counts[block * BLOCK : (block + 1) * BLOCK]
        packed[block, :, : len(rows)] = rows.T
    return packed


@numba.njit(cache=True, error_model="numpy")
def _is_valid(r):
    """Whether all coefficients are finite and not negative."""
    valid = True
    for value in r.flat:
        valid &= 0.0 <= value < math.inf
    return valid


@numba.njit(cache=True, error_model="numpy")
def _all_columns(r):
    """Byte offsets and coefficients of all columns, filled up to a multiple of GROUP."""
    n = r.size
    n_filled = -(-n // GROUP) * GROUP
    columns = np.zeros(n_filled, dtype=np.int64)
    coefficients = np.zeros(n_filled)
    for i in range(n):
        columns[i] = i * COLUMN_BYTES
    coefficients[:n] = r.ravel()
    return columns, coefficients


@numba.njit(cache=True, error_model="numpy")
def _window(r, totals):
    """Indices of the columns that matter, and the expected stars in those left out."""
    n_age, n_mh = r.shape
    stars = 0.0
    for j in range(n_age):
        for k in range(n_mh):
            stars += r[j, k] * totals[j, k]
    part = _LEAST_PART
    if stars * part > _STARS_LEFT_OUT:
        part = _STARS_LEFT_OUT / stars
    kept = np.empty(r.size, dtype=np.int64)
    n_kept = 0
    left_out = 0.0
    for j in range(n_age):
        least = part * r[j].sum()
        for k in range(n_mh):
            if r[j, k] >= least:
                kept[n_kept] = j * n_mh + k
                n_kept += 1
            else:
                left_out += r[j, k] * totals[j, k]
    return kept[:n_kept], left_out


@numba.njit(cache=True, error_model="numpy")
def _window_columns(r, kept):
    """Byte offsets and coefficients of the columns kept, filled up to a multiple of GROUP."""
    n_filled = -(-kept.size // GROUP) * GROUP
    columns = np.zeros(n_filled, dtype=np.int64)
    coefficients = np.zeros(n_filled)
    flat = r.ravel()
    for i in range(kept.size):
        columns[i] = kept[i] * COLUMN_BYTES
        coefficients[i] = flat[kept[i]]
    return columns, coefficients


@numba.njit(cache=True, error_model="numpy")
def _fill(block, values, result):
    """Copy the rows of a block into `result` (BLOCK,), zeros after the last row."""
    first = block * BLOCK
    n = min(BLOCK, values.size - first)
    result[:n] = values[first : first + n]
    result[n:] = 0.0
    return n


@numba.njit(cache=True, error_model="numpy")
def _largest(values):
    largest = 0.0
    for value in values:
        largest = max(largest, value)
    return largest


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _scan(packed, observed, totals, r, background, windowed, with_gradient):
    """Value, d/dr (N_age, N_mh) and d/db (N_row,) of the rows' part; see the module."""
    d_r = np.zeros(r.shape)
    ratios = np.zeros(observed.size)
    if not _is_valid(r):
        return -math.inf, d_r, ratios
    kept, left_out = _window(r, totals) if windowed else (np.empty(0, dtype=np.int64), 0.0)
    every, every_r = _all_columns(r)
    columns, coefficients = _window_columns(r, kept) if windowed else (every, every_r)
    every_d = np.zeros(every.size)
    d = np.zeros(columns.size)
    n, m, w = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    at_n, at_m, at_w = address_of(n, 0), address_of(m, 0), address_of(w, 0)
    at_columns, at_r, at_d = address_of(columns, 0), address_of(coefficients, 0), address_of(d, 0)
    size = packed.shape[1] * COLUMN_BYTES
    address = address_of(packed, 0)
    value = 0.0
    for block in range(packed.shape[0]):
        # The last block has no successor and asks for itself.
        ahead = size if block + 1 < packed.shape[0] else 0
        n_row = _fill(block, observed, n)
        _fill(block, background, m)
        add_counts(address, at_columns, columns.size, at_r, at_m, ahead)
        term = log_ratios(at_m, at_n, at_w)
        exact = not windowed or (term == term and left_out * _largest(w) <= _LARGEST_ERROR)
        if not exact:
            _fill(block, background, m)
            add_counts(address, address_of(every, 0), every.size, address_of(every_r, 0), at_m, 0)
            term = log_ratios(at_m, at_n, at_w)
        value += term
        ratios[block * BLOCK : block * BLOCK + n_row] = w[:n_row]
        if with_gradient and exact:
            add_projections(address, at_columns, columns.size, at_w, at_d, ahead)
        elif with_gradient:
            to = address_of(every_d, 0)
            add_projections(address, address_of(every, 0), every.size, at_w, to, 0)
        address += size
    for array in (n, m, w, d, every_d, every_r, coefficients):
        still_needed(array)
    still_needed(packed)
    still_needed(columns)
    still_needed(every)
    flat = d_r.ravel()
    if windowed:
        flat[:] = every_d[: r.size]
        for i in range(kept.size):
            flat[kept[i]] += d[i]
    else:
        flat[:] = d[: r.size]
    for j in range(r.shape[0]):
        for k in range(r.shape[1]):
            value -= r[j, k] * totals[j, k]
            d_r[j, k] -= totals[j, k]
    return value if value == value else -math.inf, d_r, ratios


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _curve(packed, observed, r, background, v, u):
    """H v for a direction v (N_age, N_mh) in r and u (N_row,) in the background."""
    h_r = np.zeros(r.shape)
    h_b = np.zeros(observed.size)
    if not _is_valid(r):
        return h_r, h_b
    columns, coefficients = _all_columns(r)
    _, direction = _all_columns(v)
    d = np.zeros(columns.size)
    n, m, c, w = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    at_m, at_c, at_w = address_of(m, 0), address_of(c, 0), address_of(w, 0)
    at_columns, at_r, at_v = (
        address_of(columns, 0),
        address_of(coefficients, 0),
        address_of(direction, 0),
    )
    size = packed.shape[1] * COLUMN_BYTES
    address = address_of(packed, 0)
    for block in range(packed.shape[0]):
        ahead = size if block + 1 < packed.shape[0] else 0
        n_row = _fill(block, observed, n)
        _fill(block, background, m)
        _fill(block, u, c)
        add_counts(address, at_columns, columns.size, at_r, at_m, ahead)
        add_counts(address, at_columns, columns.size, at_v, at_c, 0)
        for i in range(BLOCK):
            w[i] = -n[i] / m[i] / m[i] * c[i] if n[i] > 0.0 and m[i] > 0.0 else 0.0
        h_b[block * BLOCK : block * BLOCK + n_row] = w[:n_row]
        add_projections(address, at_columns, columns.size, at_w, address_of(d, 0), ahead)
        address += size
    for array in (n, m, c, w, d, coefficients, direction):
        still_needed(array)
    still_needed(packed)
    still_needed(columns)
    h_r.ravel()[:] = d[: r.size]
    return h_r, h_b


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _scan_any_layout(r, background, packed, observed, totals, windowed, with_gradient):
    """`_scan` with the value as (1,), for any memory layout."""
    value, d_r, d_b = _scan(
        np.ascontiguousarray(packed), np.ascontiguousarray(observed), totals,
        np.ascontiguousarray(r), np.ascontiguousarray(background), windowed, with_gradient,
    )  # fmt: skip
    return np.full(1, value), d_r, d_b


@numba.njit(cache=True, error_model="numpy", nogil=True)
def plr_full(r, background, packed, observed, totals):
    """Logarithm of the Poisson likelihood ratio, without B, and its gradient in one pass.

    Parameters
    ----------
    r : (N_age, N_mh)
        Coefficients, Msun.
    background : (N_row,)
        Stars expected in the rows besides.
    packed : (N_block, N_age * N_mh, BLOCK) float32
        Templates in the rows, from `pack_rows`, stars per Msun.
    observed : (N_row,)
        Stars in the rows, all positive.
    totals : (N_age, N_mh)
        Sum of each template over all bins that count, stars per Msun.

    Returns
    -------
    value : (1,)
    d_r : (N_age, N_mh)
    d_background : (N_row,)
        n/m, the part of the rows.
    """
    return _scan_any_layout(r, background, packed, observed, totals, False, True)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def plr_windowed(r, background, packed, observed, totals):
    """`plr_full` where tiny coefficients of an age may be left out."""
    return _scan_any_layout(r, background, packed, observed, totals, True, True)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def plr_value_full(r, background, packed, observed, totals):
    """The value (1,) of `plr_full` alone."""
    return _scan_any_layout(r, background, packed, observed, totals, False, False)[0]


@numba.njit(cache=True, error_model="numpy", nogil=True)
def plr_value_windowed(r, background, packed, observed, totals):
    """The value (1,) of `plr_windowed` alone."""
    return _scan_any_layout(r, background, packed, observed, totals, True, False)[0]


@numba.njit(cache=True, error_model="numpy", nogil=True)
def plr_curvature(r, background, packed, observed, v, u):
    """Product of the second derivatives of ln PLR with a direction.

    Parameters
    ----------
    r, background, packed, observed
        As for `plr_full`.
    v : (N_age, N_mh)
        Direction in r.
    u : (N_row,)
        Direction in the background.

    Returns
    -------
    h_r : (N_age, N_mh)
    h_background : (N_row,)
    """
    return _curve(
        np.ascontiguousarray(packed), np.ascontiguousarray(observed), np.ascontiguousarray(r),
        np.ascontiguousarray(background), np.ascontiguousarray(v), np.ascontiguousarray(u),
    )  # fmt: skip
