"""The prior on amplitudes of backgrounds in the search for the maximum.

The search works on masses and metallicity parameters in their own units, with bounds, and on the
logarithm of each amplitude, in which its prior is Gaussian. -ln PLR of x = exp(u) has the slope
x g and the curvature x H x + x g in u; the last term is left out where it is negative.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_starpop.sfh.laplace import GaussianPrior, flat_prior

__all__ = ["WithAmplitudes", "amplitude_prior"]

# Largest logarithm of an amplitude over its median that is tried: beyond, counts overflow.
_WIDEST = 300.0


def amplitude_prior(problem: Any) -> GaussianPrior:
    """Return the prior that is flat in all of x but the amplitudes, and theirs."""
    others, first = problem.data.backgrounds, problem.n_history
    prior = flat_prior(first + others.n)
    prior.flat[first:] = False
    prior.mean[first:] = np.log(others.median)
    prior.precision[first:, first:] = np.diag(others.sigma**-2.0)
    return prior


@dataclass(frozen=True, eq=False)
class WithAmplitudes:
    """-ln PLR of a problem minus the ln prior of the amplitudes of its backgrounds.

    The vector y is that of the problem with the logarithms of the amplitudes.
    """

    problem: Any

    def logarithms(self, x: np.ndarray) -> np.ndarray:
        """Return y of x."""
        y = x.copy()
        y[self.problem.n_history :] = np.log(x[self.problem.n_history :])
        return y

    def natural(self, y: np.ndarray) -> np.ndarray:
        """Return x of y."""
        x = y.copy()
        x[self.problem.n_history :] = np.exp(y[self.problem.n_history :])
        return x

    def lower(self) -> np.ndarray:
        """Lower bounds of y."""
        lower = self.problem.lower()
        lower[self.problem.n_history :] = -np.inf
        return lower

    def evaluate(self, y: np.ndarray) -> "AmplitudeState":
        """Return the objective at y; its value is infinite where the model has none."""
        others = self.problem.data.backgrounds
        away = y[self.problem.n_history :] - np.log(others.median)
        if not (np.abs(away) < _WIDEST).all():
            return AmplitudeState(self, y, None, np.inf, away)
        inner = self.problem.evaluate(self.natural(y))
        value = inner.value + 0.5 * float(np.sum((away / others.sigma) ** 2))
        return AmplitudeState(self, y, inner, value, away)


@dataclass(frozen=True, eq=False)
class AmplitudeState:
    """The objective at one point y; `inner` is the problem's own state."""

    objective: WithAmplitudes
    y: np.ndarray
    inner: Any
    value: float
    away: np.ndarray

    def _slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return dx/dy (P,), and the precision of the priors (K,)."""
        problem = self.objective.problem
        slope = np.ones(self.y.size)
        slope[problem.n_history :] = np.exp(self.y[problem.n_history :])
        return slope, problem.data.backgrounds.sigma**-2.0

    def gradient(self) -> np.ndarray:
        """Gradient (P,)."""
        slope, precision = self._slopes()
        gradient = slope * self.inner.gradient()
        gradient[self.objective.problem.n_history :] += precision * self.away
        return gradient

    def hessian(self) -> np.ndarray:
        """A positive semidefinite Hessian (P, P)."""
        slope, precision = self._slopes()
        bend = np.maximum(slope * self.inner.gradient(), 0.0)
        bend[: self.objective.problem.n_history] = 0.0
        bend[self.objective.problem.n_history :] += precision
        return slope[:, None] * self.inner.hessian() * slope + np.diag(bend)
