"""Densities in magnitudes: mixtures of Gaussians, and densities known by their value alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, ndtr

__all__ = ["Mixture", "SampledDensity"]

_CHUNK = 2_000_000  # pairs of star and component at a time: 16 MB
_N_SAMPLE = 10_000  # draws that normalize a density known by its value alone
_WIDER = 2.0  # variance of the proposal over that of the kernels, for tails of the other density
# A density whose integral by importance sampling is farther than this from 1 is not normalized.
_OFF_ONE = 0.2


class Mixture:
    """A mixture of K Gaussians in B magnitudes.

    Parameters
    ----------
    means : ndarray (K, B)
    covariances : ndarray (K, B, B), or (1, B, B) where all components share it
    weights : ndarray (K,)
        Sum 1.
    """

    complete_only = False

    def __init__(self, means: np.ndarray, covariances: np.ndarray, weights: np.ndarray):
        self.means = np.asarray(means, dtype=float)
        self.covariances = np.asarray(covariances, dtype=float)
        self.weights = np.asarray(weights, dtype=float) / np.sum(weights)

    def transformed(self, matrix: np.ndarray) -> "Mixture":
        """Return the mixture of ``matrix @ x`` with |det| = 1."""
        covariances = matrix @ self.covariances @ matrix.T
        return Mixture(self.means @ matrix.T, covariances, self.weights)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return what tells two mixtures apart."""
        return self.means, self.covariances, self.weights

    def log_density(self, mags: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Log density (n,) of magnitudes (n, b) in some of the bands, the others integrated out."""
        means = self.means[:, columns]
        covariances = self.covariances[:, columns][:, :, columns]
        step = max(_CHUNK // len(means), 1)
        parts = [
            self._log_density(mags[i : i + step], means, covariances)
            for i in range(0, len(mags), step)
        ]
        return np.concatenate(parts)

    def _log_density(
        self, mags: np.ndarray, means: np.ndarray, covariances: np.ndarray
    ) -> np.ndarray:
        if len(covariances) == 1:
            root = np.linalg.cholesky(covariances[0])
            white = (solve_triangular(root, x.T, lower=True).T for x in (mags, means))
            distance = cdist(*white, "sqeuclidean")
            log_det = np.log(np.diag(root)).sum()
        else:
            roots = np.linalg.cholesky(covariances)
            distance = np.stack(
                [
                    (solve_triangular(root, (mags - mean).T, lower=True) ** 2).sum(axis=0)
                    for root, mean in zip(roots, means, strict=True)
                ],
                axis=1,
            )
            log_det = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
        log_norm = log_det + 0.5 * mags.shape[1] * np.log(2.0 * np.pi)
        return logsumexp(-0.5 * distance - log_norm, b=self.weights, axis=1)

    def share(self, column: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Share (n,) of the stars that lie between limits (n,) in one magnitude."""
        mean = self.means[:, column]
        sigma = np.sqrt(self.covariances[:, column, column])

        def below(limit: np.ndarray) -> np.ndarray:
            return ndtr((limit[:, None] - mean) / sigma) @ self.weights

        step = max(_CHUNK // len(mean), 1)
        chunks = range(0, len(low), step)
        return np.concatenate(
            [below(high[i : i + step]) - below(low[i : i + step]) for i in chunks]
        )

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw magnitudes (n, B)."""
        component = rng.choice(len(self.means), size=n, p=self.weights)
        roots = np.linalg.cholesky(self.covariances)
        roots = roots[0] if len(roots) == 1 else roots[component]
        noise = rng.normal(size=(n, self.means.shape[1], 1))
        return self.means[component] + (roots @ noise)[:, :, 0]


class SampledDensity:
    """A density of B magnitudes that gives its value alone, with draws by importance sampling.

    Parameters
    ----------
    log_density : callable
        Log density (n,) of magnitudes (n, B), normalized over all of them.
    proposal : Mixture
        Roughly the same density, from the same stars.
    """

    complete_only = True

    def __init__(self, log_density: Callable[[np.ndarray], Any], proposal: Mixture):
        self._log_density = log_density
        wide = Mixture(proposal.means, _WIDER * proposal.covariances, proposal.weights)
        # The seed is fixed: the density of a star must not change from call to call.
        self._draws = wide.draw(_N_SAMPLE, np.random.default_rng(0))
        columns = np.arange(self._draws.shape[1])
        ratio = self.log_density(self._draws, columns) - wide.log_density(self._draws, columns)
        self._weights = np.exp(ratio) / _N_SAMPLE
        total = self._weights.sum()
        if not abs(total - 1.0) <= _OFF_ONE:
            raise ValueError(
                f"estimator does not integrate to 1 over the reference magnitude and the colors "
                f"(estimate {total:.3g}); it must give the natural log of a normalized density, "
                f"without a scaling of its inputs."
            )

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return what tells two densities apart."""
        return self._draws, self._weights

    def log_density(self, mags: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Log density (n,) of magnitudes (n, B) in all of the bands."""
        values = np.asarray(self._log_density(mags), dtype=float)
        if values.shape != (len(mags),) or np.isnan(values).any():
            raise ValueError(
                f"estimator must give one log density for each of {len(mags)} stars, got shape "
                f"{values.shape} with {np.isnan(values).sum()} NaN; see ControlField."
            )
        return values

    def share(self, column: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Share (n,) of the stars that lie between limits (n,) in one magnitude."""
        order = np.argsort(self._draws[:, column])
        total = np.concatenate([[0.0], np.cumsum(self._weights[order])])
        first, last = (np.searchsorted(self._draws[order, column], x) for x in (low, high))
        return total[last] - total[first]

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw magnitudes (n, B) from the weighted draws."""
        return self._draws[rng.choice(len(self._draws), n, p=self._weights / self._weights.sum())]
