"""Gaussian shares of the metallicities at each age, with derivatives, in NumPy."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Shares", "metallicity_shares_with_derivatives"]

#: Shares below this are left out: 1e-10 of the stars of an age.
NEGLIGIBLE_SHARE = 1e-10


@dataclass(frozen=True)
class Shares:
    """Shares w_jk and their derivatives, each (N_age, N_mh).

    Attributes
    ----------
    w : shares, each age summing to 1
    mean, sigma : first derivatives with respect to mu_j (1/dex) and the dispersion (1/dex)
    mean_mean, mean_sigma, sigma_sigma : second derivatives, 1/dex^2
    window : (N_age, 2) first column with a share that matters, and one past the last
    """

    w: np.ndarray
    mean: np.ndarray
    sigma: np.ndarray
    mean_mean: np.ndarray
    mean_sigma: np.ndarray
    sigma_sigma: np.ndarray
    window: np.ndarray

    def stacked(self) -> np.ndarray:
        """Shares and first derivatives (N_age, N_mh, 3), as the kernel takes them."""
        return np.stack([self.w, self.mean, self.sigma], axis=-1)

    def outside(self) -> np.ndarray:
        """Shares outside the windows (N_age, N_mh), 0 inside."""
        column = np.arange(self.w.shape[1])
        inside = (column >= self.window[:, :1]) & (column < self.window[:, 1:])
        return np.where(inside, 0.0, self.w)


def metallicity_shares_with_derivatives(mean: np.ndarray, sigma: float, grid: np.ndarray) -> Shares:
    """Return exp(-((grid_k - mu_j)/sigma)^2 / 2) over its sum, as Garling et al. (2025, eq. 8).

    With a the exponent, ln w = a - ln sum exp a, so that the derivatives of ln w are those of a
    less their means, and less covariances in the second order.

    Parameters
    ----------
    mean : (N_age,)
        Mean metallicity mu_j, dex.
    sigma : float
        Dispersion, dex.
    grid : (N_mh,)
        Metallicities of the templates, dex.
    """
    # In units of the dispersion, whose powers would leave the range of numbers.
    z = (grid - mean[:, None]) / sigma
    exponent = -0.5 * z**2
    w = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    w /= w.sum(axis=1, keepdims=True)

    def centered(x: np.ndarray) -> np.ndarray:
        return x - np.sum(w * x, axis=1, keepdims=True)

    by_mean, by_sigma = centered(z), centered(z**2)

    def covariance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.sum(w * x * y, axis=1, keepdims=True)

    mean_mean = by_mean**2 - covariance(by_mean, by_mean)
    mean_sigma = by_mean * by_sigma - covariance(by_mean, by_sigma) + centered(-2.0 * z)
    sigma_sigma = by_sigma**2 - covariance(by_sigma, by_sigma) + centered(-3.0 * z**2)
    matters = w > NEGLIGIBLE_SHARE
    window = np.stack(
        [matters.argmax(axis=1), w.shape[1] - matters[:, ::-1].argmax(axis=1)], axis=1
    )
    once, twice = w / sigma, w / sigma / sigma
    return Shares(
        w, once * by_mean, once * by_sigma, twice * mean_mean, twice * mean_sigma,
        twice * sigma_sigma, window,
    )  # fmt: skip
