"""Slow, obvious twins of `plr`: whole matrices in double precision, no windows."""

import numpy as np

__all__ = ["plr_curvature", "plr_value_and_gradient"]


def plr_value_and_gradient(counts, observed, totals, r, background):
    """Value, d/dr and d/db of the sum over rows of [n ln(m/n) + n] minus T r.

    counts is (N_row, N_age * N_mh), the other arguments as in `plr`. Where r is negative or not
    finite the value is -inf and the gradient 0; rows of m <= 0 make it -inf and have no gradient.
    """
    if not np.all((r >= 0.0) & np.isfinite(r)):
        return -np.inf, np.zeros_like(totals), np.zeros_like(observed)
    m = counts.astype(float) @ np.ravel(r) + background
    positive = m > 0.0
    ratio = np.zeros_like(m)
    ratio[positive] = observed[positive] / m[positive]
    gradient = (counts.astype(float).T @ ratio).reshape(totals.shape) - totals
    if not positive.all():
        return -np.inf, gradient, ratio
    value = np.sum(observed * np.log(m / observed) + observed) - np.sum(totals * r)
    return value, gradient, ratio


def plr_curvature(counts, observed, r, background, v, u):
    """Products (H v) for directions v in r and u in the background, as in `plr`."""
    matrix = counts.astype(float)
    m = matrix @ np.ravel(r) + background
    weights = -observed / m**2 * (matrix @ np.ravel(v) + u)
    return (matrix.T @ weights).reshape(r.shape), weights
