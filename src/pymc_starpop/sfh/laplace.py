"""The mode of a posterior and its Gaussian approximation, in coordinates without bounds.

A prior is Gaussian in u, or flat in x, which is dx/du in u. With D = dx/du the objective has

    gradient  D g + ...,    Hessian  D H D + diag(g d2x/du2) + ...,

g and H those of -ln PLR in x and the dots those of the prior.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy import linalg

from pymc_starpop.sfh.box_newton import minimize_in_box
from pymc_starpop.sfh.coordinates import Coordinates

__all__ = ["GaussianPrior", "Laplace", "Likelihood", "find_mode", "flat_prior"]


class Likelihood(Protocol):
    """-ln PLR of a vector of parameters in their own units."""

    @property
    def coordinates(self) -> Coordinates:
        """The coordinates u (P,) without bounds."""

    def evaluate(self, x: np.ndarray) -> Any:
        """Return a state with value, gradient(), hessian() and exact_hessian()."""


@dataclass(frozen=True)
class GaussianPrior:
    """-ln prior = (u - mean)' precision (u - mean) / 2, or flat in x, up to a constant.

    Attributes
    ----------
    mean : (P,)
    precision : (P, P), with rows of zeros where the prior is flat
    flat : (P,) bool, which elements have a prior that is flat in x
    """

    mean: np.ndarray
    precision: np.ndarray
    flat: np.ndarray


def flat_prior(size: int) -> GaussianPrior:
    """Flat in every parameter."""
    return GaussianPrior(np.zeros(size), np.zeros((size, size)), np.ones(size, dtype=bool))


@dataclass(frozen=True, eq=False)
class Laplace:
    """A Gaussian approximation N(mode, covariance) in coordinates without bounds.

    Attributes
    ----------
    mode : (P,) in u
    covariance : (P, P) of u
    cholesky : (P, P) lower triangle with covariance = cholesky cholesky'
    value : -ln PLR at the mode
    n_iterations, converged : of the search
    """

    mode: np.ndarray
    covariance: np.ndarray
    cholesky: np.ndarray
    value: float
    n_iterations: int
    converged: bool


@dataclass(eq=False)
class _State:
    """The posterior at one point."""

    u: np.ndarray
    inner: Any
    coordinates: Coordinates
    prior: GaussianPrior
    value: float

    def gradient(self) -> np.ndarray:
        """Gradient (P,)."""
        first, _ = self.coordinates.derivatives(self.u)
        _, volume, _ = self.coordinates.log_volume(self.u)
        of_prior = self.prior.precision @ (self.u - self.prior.mean)
        return first * self.inner.gradient() + of_prior - np.where(self.prior.flat, volume, 0.0)

    def hessian(self) -> np.ndarray:
        """A positive semidefinite Hessian (P, P).

        At the mode of a prior flat in x = exp(u), D g = 1.
        """
        bend, volume = self._bends()
        least = np.where(self.prior.flat & self.coordinates.logarithmic, 1.0, 0.0)
        return self._assemble(self.inner.hessian(), np.maximum(bend, least) + volume)

    def exact_hessian(self) -> np.ndarray:
        """Hessian (P, P)."""
        return self._assemble(self.inner.exact_hessian(), sum(self._bends()))

    def _bends(self) -> tuple[np.ndarray, np.ndarray]:
        """Curvature (P,) from that of the coordinates: of the likelihood, and of a flat prior."""
        _, second = self.coordinates.derivatives(self.u)
        _, _, volume = self.coordinates.log_volume(self.u)
        return second * self.inner.gradient(), np.where(self.prior.flat, -volume, 0.0)

    def _assemble(self, inner: np.ndarray, bend: Any) -> np.ndarray:
        first, _ = self.coordinates.derivatives(self.u)
        return first[:, None] * inner * first + self.prior.precision + np.diag(bend)


def find_mode(
    likelihood: Likelihood, prior: GaussianPrior, start: np.ndarray, tolerance: float = 1e-7
) -> Laplace:
    """Find the mode of the posterior and its covariance there.

    Parameters
    ----------
    likelihood : Likelihood
    prior : GaussianPrior
    start : (P,)
        Where to start, in u.
    tolerance : float
        Nats that a further step may promise.
    """
    coordinates = likelihood.coordinates

    def evaluate(u: np.ndarray) -> _State:
        if not coordinates.inside(u):
            return _State(u, None, coordinates, prior, np.inf)
        inner = likelihood.evaluate(coordinates.natural(u))
        away = u - prior.mean
        volume = np.where(prior.flat, coordinates.log_volume(u)[0], 0.0).sum()
        value = inner.value - volume + 0.5 * away @ prior.precision @ away
        return _State(u, inner, coordinates, prior, float(value))

    found = minimize_in_box(evaluate, start, np.full(start.size, -np.inf), tolerance=tolerance)
    state: Any = found.state
    covariance, cholesky = _invert(state.exact_hessian(), state.hessian())
    return Laplace(
        found.point, covariance, cholesky, float(state.inner.value), found.n_iterations,
        found.converged,
    )  # fmt: skip


def _invert(exact: np.ndarray, safe: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariance and its Cholesky factor from the Hessian, or from the safe one where need be."""
    for hessian in (exact, safe, safe + 1e-10 * np.diag(np.diag(safe))):
        scale = np.sqrt(np.maximum(np.diag(hessian), 1e-300))
        values = linalg.eigh(hessian / np.outer(scale, scale), eigvals_only=True)
        if values[0] > 1e-13 * values[-1]:
            break
    # Factor in reverse order, so that the factor of the inverse is a lower triangle.
    reverse = linalg.cholesky(hessian[::-1, ::-1], lower=True)
    inverse = linalg.solve_triangular(reverse, np.eye(len(hessian)), lower=True)
    cholesky = np.ascontiguousarray(inverse.T[::-1, ::-1])
    return cholesky @ cholesky.T, cholesky
