"""The Poisson log-likelihood of every bin of a Hess diagram, and its pullback, over all bins.

With m = C r + b the expected and n the observed counts of a bin,

    ln L = n ln m - m - ln Gamma(n + 1),    d/dm = n/m - 1.

A bin with n = 0 = m has ln L = 0; one with m = 0 < n, or m < 0 or b < 0, has -inf and no gradient.
Bins that are masked have 0. The sum over the bins is done faster by `plr`.
"""

import math

import numba
import numpy as np

__all__ = ["bin_log_likelihood", "bin_log_likelihood_op", "bin_pullback"]


@numba.njit(cache=True, error_model="numpy")
def _expected(r, background, templates):
    """Expected counts of all bins (N_bin,), NaN where r is negative or not finite."""
    flat = np.ascontiguousarray(r).reshape(-1)
    valid = True
    for value in flat:
        valid &= 0.0 <= value < math.inf
    if not valid:
        return np.full(templates.shape[1], math.nan)
    return np.dot(flat, np.ascontiguousarray(templates)) + np.ascontiguousarray(background)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def bin_log_likelihood(r, background, templates, observed, counted, log_factorial):
    """Log-likelihood of each bin.

    Parameters
    ----------
    r : (N_age, N_mh)
        Coefficients, Msun.
    background : (N_bin,)
        Stars expected besides.
    templates : (N_age * N_mh, N_bin)
        Stars per Msun.
    observed : (N_bin,)
        Stars.
    counted : (N_bin,) bool
        Which bins count.
    log_factorial : (N_bin,)
        ln Gamma(n + 1).

    Returns
    -------
    (N_bin,)
    """
    m = _expected(r, background, templates)
    result = np.zeros(m.size)
    for i in range(m.size):
        if not counted[i]:
            continue
        if background[i] >= 0.0 and m[i] > 0.0:
            result[i] = observed[i] * math.log(m[i]) - m[i] - log_factorial[i]
        elif not (background[i] >= 0.0 and m[i] == 0.0 and observed[i] == 0.0):
            result[i] = -math.inf
    return result


@numba.njit(cache=True, error_model="numpy", nogil=True)
def bin_log_likelihood_op(
    r, background, templates, all_observed, counted, log_factorial, packed, observed, totals, bins,
    constant,
):  # fmt: skip
    """`bin_log_likelihood` with the inputs of its Op; the last five serve the sum of the bins."""
    return bin_log_likelihood(r, background, templates, all_observed, counted, log_factorial)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def bin_pullback(r, background, templates, observed, counted, cotangent):
    """Gradient of sum_i cotangent_i ln L_i by r (N_age, N_mh) and by the background (N_bin,)."""
    m = _expected(r, background, templates)
    slope = np.zeros(m.size)
    for i in range(m.size):
        if counted[i] and m[i] > 0.0:
            slope[i] = cotangent[i] * (observed[i] / m[i] - 1.0)
        elif counted[i] and m[i] == 0.0 and observed[i] == 0.0:
            slope[i] = -cotangent[i]
    return np.dot(np.ascontiguousarray(templates), slope).reshape(r.shape), slope
