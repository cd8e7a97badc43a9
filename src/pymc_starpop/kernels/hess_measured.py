"""Cells of stars as they are measured: noise, bias and completeness folded into Gaussians.

Errors are functions of the true magnitudes, which users write in Python, so they are evaluated in
one call for all cells, at two places of each: one standard deviation before and behind its mean
along its longest extent. That is Gaussian quadrature, exact for functions cubic along a line.
"""

import math

import numpy as np
from numba import njit

from pymc_starpop.kernels.interpolation import NUMBA_OPTIONS

# Standard deviations (mag) beyond those of any axes, whose squares are numbers.
LARGEST_SIGMA = 1e3


@njit(**NUMBA_OPTIONS)
def cell_places(mean, covariance):
    """Two places for each cell, at mean - offset and mean + offset.

    The offset is the regression of all bands on the one with the largest variance, over one
    standard deviation of it.

    Parameters
    ----------
    mean, covariance : ndarray (N, B), (N, B, B)
        Of the magnitudes in each cell.

    Returns
    -------
    places : ndarray (2, N, B)
    """
    n, n_band = mean.shape
    places = np.empty((2, n, n_band))
    for i in range(n):
        widest = 0
        for b in range(1, n_band):
            if covariance[i, b, b] > covariance[i, widest, widest]:
                widest = b
        # A cell of one star has no extent.
        scale = 1.0 / math.sqrt(max(covariance[i, widest, widest], 1e-30))
        for b in range(n_band):
            offset = covariance[i, widest, b] * scale
            places[0, i, b] = mean[i, b] - offset
            places[1, i, b] = mean[i, b] + offset
    return places


@njit(**NUMBA_OPTIONS)
def measured_gaussians(weight, covariance, places, sigma, bias, completeness, matrix):
    """Weight, mean and covariance of color and magnitude of each cell as it is measured.

    Parameters
    ----------
    weight, covariance : ndarray (N,), (N, B, B)
        Stars in each cell, and the covariance of their magnitudes.
    places : ndarray (2, N, B)
        From `cell_places`.
    sigma, bias : ndarray (2, N, B)
        Standard deviation and mean of measured minus true magnitudes at these places.
    completeness : ndarray (2, N)
        Probability of recovery there.
    matrix : ndarray (2, B)
        Makes color and magnitude from the magnitudes in B bands.

    Returns
    -------
    recovered : ndarray (N,)
        Stars recovered.
    center : ndarray (N, 2)
        Mean (color, magnitude).
    moments : ndarray (N, 3)
        Variance of the color, covariance, variance of the magnitude.
    """
    n, n_band = places.shape[1:]
    recovered, center, moments = np.zeros(n), np.zeros((n, 2)), np.zeros((n, 3))
    full = np.empty((n_band, n_band))
    for i in range(n):
        both = completeness[0, i] + completeness[1, i]
        if not both > 0.0:
            continue
        recovered[i] = 0.5 * both * weight[i]
        first, second = completeness[0, i] / both, completeness[1, i] / both
        for b in range(n_band):
            at0, at1 = places[0, i, b] + bias[0, i, b], places[1, i, b] + bias[1, i, b]
            mean = first * at0 + second * at1
            center[i, 0] += matrix[0, b] * mean
            center[i, 1] += matrix[1, b] * mean
            for c in range(n_band):
                # What the two places stand for is replaced by where they are measured.
                true = (places[1, i, b] - places[0, i, b]) * (places[1, i, c] - places[0, i, c])
                seen = at1 - at0
                seen *= places[1, i, c] + bias[1, i, c] - places[0, i, c] - bias[0, i, c]
                full[b, c] = covariance[i, b, c] - 0.25 * true + first * second * seen
            noise0 = min(sigma[0, i, b], LARGEST_SIGMA) ** 2
            full[b, b] += first * noise0 + second * min(sigma[1, i, b], LARGEST_SIGMA) ** 2
        for b in range(n_band):
            for c in range(n_band):
                moments[i, 0] += matrix[0, b] * full[b, c] * matrix[0, c]
                moments[i, 1] += matrix[0, b] * full[b, c] * matrix[1, c]
                moments[i, 2] += matrix[1, b] * full[b, c] * matrix[1, c]
    return recovered, center, moments
