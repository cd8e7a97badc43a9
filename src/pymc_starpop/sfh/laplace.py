"""The mode of a posterior and its Gaussian approximation, in coordinates without bounds.

Masses and other positive parameters enter by their logarithms u = ln x. A prior is flat in x, which
is exp(u) in u, or Gaussian in u. With D = dx/du the objective has

    gradient  D g + ...,    Hessian  D H D + diag(D g) + ...,

g and H those of -ln PLR in x and the dots those of the prior.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy import linalg

from pymc_starpop.sfh.box_newton import minimize_in_box

__all__ = ["GaussianPrior", "Laplace", "Likelihood", "find_mode", "flat_prior"]

# ln of the largest and smallest mass that is tried: beyond, the counts overflow.
_WIDEST = 300.0


class Likelihood(Protocol):
    """-ln PLR of a vector of parameters in their own units."""

    @property
    def positive(self) -> np.ndarray:
        """Which elements (P,) must be positive."""

    def evaluate(self, x: np.ndarray) -> Any:
        """Return a state with value, gradient(), hessian() and exact_hessian()."""


@dataclass(frozen=True)
class GaussianPrior:
    """-ln prior = (u - mean)' precision (u - mean) / 2 + slope.u, up to a constant.

    Attributes
    ----------
    mean : (P,)
    precision : (P, P), with rows of zeros where the prior is flat
    slope : (P,), -1 for a positive parameter with a prior flat in x, else 0
    """

    mean: np.ndarray
    precision: np.ndarray
    slope: np.ndarray


def flat_prior(positive: np.ndarray) -> GaussianPrior:
    """Flat in every parameter; in ln x of the positive ones that is a slope."""
    n = positive.size
    return GaussianPrior(np.zeros(n), np.zeros((n, n)), np.where(positive, -1.0, 0.0))


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
    derivative: np.ndarray
    positive: np.ndarray
    prior: GaussianPrior
    value: float

    def _pull(self) -> np.ndarray:
        return self.derivative * self.inner.gradient()

    def gradient(self) -> np.ndarray:
        """Gradient (P,)."""
        prior = self.prior
        return self._pull() + prior.slope + prior.precision @ (self.u - prior.mean)

    def hessian(self) -> np.ndarray:
        """A positive semidefinite Hessian (P, P); at the mode of a flat prior, D g = 1."""
        bend = np.where(self.positive, np.maximum(self._pull(), -self.prior.slope), 0.0)
        return self._assemble(self.inner.hessian(), bend)

    def exact_hessian(self) -> np.ndarray:
        """Hessian (P, P)."""
        bend = np.where(self.positive, self._pull(), 0.0)
        return self._assemble(self.inner.exact_hessian(), bend)

    def _assemble(self, inner: np.ndarray, bend: np.ndarray) -> np.ndarray:
        scaled = self.derivative[:, None] * inner * self.derivative
        return scaled + self.prior.precision + np.diag(bend)


def to_natural(u: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return x from u, along the last axis."""
    return np.where(positive, np.exp(np.where(positive, u, 0.0)), u)


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
    positive = likelihood.positive

    def evaluate(u: np.ndarray) -> _State:
        if np.abs(np.where(positive, u, 0.0)).max() > _WIDEST:
            return _State(u, None, u, positive, prior, np.inf)
        x = to_natural(u, positive)
        inner = likelihood.evaluate(x)
        away = u - prior.mean
        value = inner.value + prior.slope @ u + 0.5 * away @ prior.precision @ away
        return _State(u, inner, np.where(positive, x, 1.0), positive, prior, value)

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
