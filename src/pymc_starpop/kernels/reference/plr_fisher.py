"""Slow, obvious twins of `plr_fisher`: whole matrices in double precision, no windows."""

import numpy as np

__all__ = ["hierarchical_counts"]


def hierarchical_counts(rows, observed, background, weights, window, mass):
    """Counts, P, Q, S and the pull of the data, as in `plr_fisher`; the window limits the pull."""
    n_age, n_mh = weights.shape[:2]
    counts = rows.astype(float).reshape(n_age, n_mh, -1)
    per_mass = np.einsum("jki,jk->ji", counts, weights[:, :, 0])
    per_mean = np.einsum("jki,jk->ji", counts, weights[:, :, 1])
    per_sigma = np.einsum("jki,jk,j->i", counts, weights[:, :, 2], mass)
    expected = background + mass @ per_mass
    pull = counts @ (observed / expected)
    column = np.arange(n_mh)
    inside = (column >= window[:, :1]) & (column < window[:, 1:])
    return expected, per_mass, per_mean, per_sigma, np.where(inside, pull, 0.0)
