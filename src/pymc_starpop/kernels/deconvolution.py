"""Mixtures of Gaussians in two dimensions, deconvolved from the errors of each datum.

Extreme deconvolution: Bovy, Hogg & Roweis 2011, Ann. Appl. Stat. 5, 1657. A covariance is three
numbers, those of xx, xy and yy, so that all data and components are one array.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from pymc_starpop.kernels.proper_motion import motion_logp

__all__ = ["Data", "Gaussians", "em_step", "log_density", "log_terms"]


@dataclass(frozen=True)
class Data:
    """N points with errors.

    Attributes
    ----------
    values, errors : ndarray (N, 2)
    corr : ndarray (N,)
        Correlations of the errors.
    """

    values: np.ndarray
    errors: np.ndarray
    corr: np.ndarray

    def columns(self) -> tuple[Any, ...]:
        """Return both values, both errors and the correlation, each (N, 1)."""
        return (*self.values.T[:, :, None], *self.errors.T[:, :, None], self.corr[:, None])


@dataclass(frozen=True)
class Gaussians:
    """K Gaussians.

    Attributes
    ----------
    weights : ndarray (K,)
        Sum 1.
    means : ndarray (K, 2)
    covariances : ndarray (K, 3)
        Of xx, xy and yy, without the errors.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


def log_terms(data: Data, mixture: Gaussians) -> np.ndarray:
    """Log of weight times density (N, K) of each point under each Gaussian and its own errors."""
    x, y, ex, ey, corr = data.columns()
    mx, my = mixture.means.T
    with np.errstate(divide="ignore"):  # a component that lost its weight
        log_weights = np.log(mixture.weights)
    variance = tuple(mixture.covariances.T)
    return log_weights + motion_logp((x - mx, y - my), (ex, ey), corr, variance)


def log_density(data: Data, mixture: Gaussians) -> np.ndarray:
    """Log density (N,) of each point under the mixture and its own errors."""
    return logsumexp(log_terms(data, mixture), axis=1)


def em_step(
    data: Data, mixture: Gaussians, is_round: np.ndarray, least_width: np.ndarray
) -> tuple[Gaussians, float]:
    """Return the mixture after a step that never lowers the likelihood, and the likelihood before.

    Equations 16 of Bovy et al. 2011: with the share q_ij of component j in point i, the expected
    place b_ij of the point without its error and its variance B_ij, weights are means of q, means
    those of b, and covariances those of (b - m)(b - m)^T + B.

    Parameters
    ----------
    data : Data
    mixture : Gaussians
    is_round : ndarray of bool (K,)
        Components whose covariance is a number times the identity.
    least_width : ndarray (K,)
        Least standard deviation in any direction: smaller eigenvalues are raised to its square,
        which is the maximum of the step's objective under that bound.

    Returns
    -------
    Gaussians
    float
        Sum of the log densities under the mixture that was given.
    """
    x, y, ex, ey, corr = data.columns()
    terms = log_terms(data, mixture)
    total = logsumexp(terms, axis=1, keepdims=True)
    share = np.exp(terms - total)
    vxx, vxy, vyy = mixture.covariances.T
    txx, tyy, txy = ex**2 + vxx, ey**2 + vyy, corr * ex * ey + vxy
    det = txx * tyy - txy**2
    # V T^-1, by which a difference is drawn back to the component.
    gxx, gxy = (vxx * tyy - vxy * txy) / det, (vxy * txx - vxx * txy) / det
    gyx, gyy = (vxy * tyy - vyy * txy) / det, (vyy * txx - vxy * txy) / det
    mx, my = mixture.means.T
    bx, by = mx + gxx * (x - mx) + gxy * (y - my), my + gyx * (x - mx) + gyy * (y - my)
    count = share.sum(axis=0)
    held = np.maximum(count, np.finfo(float).tiny)
    mean_x, mean_y = (share * bx).sum(axis=0) / held, (share * by).sum(axis=0) / held
    parts = (
        (bx - mean_x) ** 2 + vxx - gxx * vxx - gxy * vxy,
        (bx - mean_x) * (by - mean_y) + vxy - gxx * vxy - gxy * vyy,
        (by - mean_y) ** 2 + vyy - gyx * vxy - gyy * vyy,
    )
    covariances = np.stack([(share * part).sum(axis=0) / held for part in parts], axis=1)
    covariances = _bounded(_rounded(covariances, is_round), least_width)
    means = np.stack([mean_x, mean_y], axis=1)
    return Gaussians(count / len(x), means, covariances), float(total.sum())


def _rounded(covariances: np.ndarray, is_round: np.ndarray) -> np.ndarray:
    """Replace the covariances of some components by the mean variance of both directions."""
    mean = 0.5 * (covariances[:, 0] + covariances[:, 2])
    alike = np.stack([mean, np.zeros_like(mean), mean], axis=1)
    return np.where(is_round[:, None], alike, covariances)


def _bounded(covariances: np.ndarray, least_width: np.ndarray) -> np.ndarray:
    """Raise eigenvalues below the square of a least width to it."""
    matrices = covariances[:, [0, 1, 1, 2]].reshape(-1, 2, 2)
    values, vectors = np.linalg.eigh(matrices)
    if np.all(values >= least_width[:, None] ** 2):
        return covariances
    values = np.maximum(values, least_width[:, None] ** 2)
    raised = (vectors * values[:, None, :]) @ vectors.transpose(0, 2, 1)
    return raised.reshape(-1, 4)[:, [0, 1, 3]]
