"""Density estimators of SciPy, scikit-learn and others, told apart by their attributes."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import gaussian_kde

from pymc_starpop.field._mixture import Mixture

__all__ = ["fitted_estimator", "log_density_of", "mixture_of"]

# Ratio of the variances along the axes of the stars' distribution; more leaves a Gaussian density
# no digits.
_LARGEST_CONDITION = 1e12


def fitted_estimator(estimator: Any, features: np.ndarray) -> Any:
    """Return the estimator, a fitted copy of one that is not fitted, or SciPy's KDE for None."""
    if estimator is None:
        covariance = np.cov(features.T)
        if np.linalg.cond(np.atleast_2d(covariance)) > _LARGEST_CONDITION:
            raise ValueError(
                "catalog: the stars of the control field lie on a line or plane in magnitude and "
                "colors, so that no kernel density can be made of them; leave out bands that "
                "repeat others, or give an estimator."
            )
        return gaussian_kde(features.T)
    if not hasattr(estimator, "fit") or _is_fitted(estimator):
        return estimator
    return copy.deepcopy(estimator).fit(features)


def _is_fitted(estimator: Any) -> bool:
    # What scikit-learn learns has a name that ends in an underscore.
    return any(
        n.endswith("_") and not n.startswith("_") for n in getattr(estimator, "__dict__", ())
    )


def mixture_of(estimator: Any) -> Mixture | None:
    """Return the Gaussians of a Gaussian mixture or of a Gaussian KDE; None for other kinds."""
    if hasattr(estimator, "means_") and hasattr(estimator, "covariance_type"):
        return Mixture(estimator.means_, _full_covariances(estimator), estimator.weights_)
    if hasattr(estimator, "dataset") and hasattr(estimator, "covariance"):  # SciPy
        return Mixture(estimator.dataset.T, estimator.covariance[None], estimator.weights)
    kind = (getattr(estimator, "kernel", None), getattr(estimator, "metric", None))
    if kind == ("gaussian", "euclidean") and hasattr(estimator, "tree_"):  # scikit-learn
        points = np.asarray(estimator.tree_.data)
        weights = estimator.tree_.sample_weight
        weights = np.ones(len(points)) if weights is None else np.asarray(weights)
        covariance = estimator.bandwidth_**2 * np.eye(points.shape[1])
        return Mixture(points, covariance[None], weights)
    return None


def _full_covariances(estimator: Any) -> np.ndarray:
    """Covariances (K, B, B) of scikit-learn's GaussianMixture."""
    given = np.asarray(estimator.covariances_)
    n, n_band = np.shape(estimator.means_)
    kind = estimator.covariance_type
    if kind == "full":
        return given
    if kind == "tied":
        return given[None]
    if kind == "diag":
        return given[:, :, None] * np.eye(n_band)
    return given.reshape(n, 1, 1) * np.eye(n_band)  # spherical


def log_density_of(estimator: Any) -> Callable[[np.ndarray], Any]:
    """Return the function of features (n, B) that gives the log density (n,)."""
    for name in ("score_samples", "logpdf"):
        if hasattr(estimator, name):
            return getattr(estimator, name)
    raise ValueError(
        f"estimator must have a method score_samples or logpdf, got {type(estimator).__name__}; "
        f"give a Gaussian mixture or kernel density of scikit-learn or SciPy, or None."
    )
