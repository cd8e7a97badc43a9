"""Draws where a Gaussian says nothing: fits of the same diagram with its stars drawn anew.

Each star gets a weight from the exponential distribution and the history is fitted again (Newton &
Raftery 1994, J. R. Stat. Soc. B 56, 3, the weighted likelihood bootstrap; the stars of a bin
together have a weight from a gamma distribution). All draws are then optima themselves: masses of 0
stay possible, metallicities stay within their bounds, and the expected number of stars is that of
the data, with its Poisson uncertainty.

What such a fit cannot know is how much may have formed in bins where it finds nothing. Where the
gradient is g and the curvature h, a mass of 0 is uncertain by about 1 / (g + sqrt(h)); it is drawn
from a gamma distribution with that scale, and all masses are then scaled back to the same stars.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from pymc_starpop.sfh.free import FreeCoefficients
from pymc_starpop.sfh.search import maximize_from

__all__ = ["N_REFITS", "draw_refits"]

#: Different fits that draws are made of; more draws repeat them, with other masses instead of 0.
N_REFITS = 100
# Nats that a further step of a fit may promise.
_TOLERANCE = 0.03
_MAX_ITERATIONS = 10
# Shape of the gamma distribution of a mass of 0: that of Jeffreys' prior for a Poisson mean, or
# less, such that these masses together make no more than this part of the Poisson error.
_SHAPE, _MOST_ADDED = 0.5, 0.5
# A free coefficient takes part in the fits if its slope is not steeper than so many of its errors,
# and if it is among so many with the lowest slopes.
_STEEPEST, _MOST_FREE = 3.0, 300
_LEAST_WEIGHT = 1e-12


def draw_refits(problem: Any, point: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw vectors (n, P) of parameters around the optimum `point` (P,)."""
    state = problem.evaluate(point)
    gradient, curvature = state.gradient(), np.diag(state.hessian())
    n_fits = min(n, N_REFITS)
    if isinstance(problem, FreeCoefficients):
        fits = _refit_free(problem, point, gradient, curvature, n_fits, rng)
    else:
        fits = _refit(problem, point, n_fits, rng)
    x = fits[np.arange(n) % n_fits]
    n_mass = problem.n_history if isinstance(problem, FreeCoefficients) else problem.n_age
    rate = np.maximum(gradient, 0.0)[:n_mass] + np.sqrt(np.maximum(curvature, 0.0))[:n_mass]
    return _fill(problem, x, n_mass, rate, rng)


def _weighted(problem: Any, away: np.ndarray, rng: np.random.Generator) -> Any:
    """Return the same problem with stars of random weights, and priors that lie elsewhere."""
    data, others = problem.data, problem.data.backgrounds
    stars = np.maximum(rng.standard_gamma(data.observed), _LEAST_WEIGHT)
    median = others.median * np.exp(others.sigma * away)
    return replace(
        problem, data=replace(data, observed=stars, backgrounds=replace(others, median=median))
    )


def _refit(problem: Any, point: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    away = rng.standard_normal((n, problem.data.backgrounds.n))
    if n > 1:
        # So that a hundred of them have the width of the prior.
        away = (away - away.mean(axis=0)) / away.std(axis=0)
    found = [
        maximize_from(_weighted(problem, a, rng), point, _TOLERANCE, _MAX_ITERATIONS) for a in away
    ]
    return np.array([f.point for f in found])


def _refit_free(
    problem: FreeCoefficients,
    point: np.ndarray,
    gradient: np.ndarray,
    curvature: np.ndarray,
    n: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Refit the coefficients that may be positive, and amplitudes; other coefficients stay 0."""
    data, n_mass = problem.data, problem.n_history
    steepness = (gradient / np.sqrt(np.maximum(curvature, 1e-300)))[:n_mass]
    used = point[:n_mass] > 0.0
    steepness[used] = -np.inf
    lowest = np.argsort(steepness)[: max(_MOST_FREE, int(used.sum()))]
    chosen = lowest[steepness[lowest] < _STEEPEST]
    few = replace(
        problem,
        data=replace(
            data, rows=np.ascontiguousarray(data.rows[chosen]),
            totals=data.totals.ravel()[chosen][:, None],
        ),
    )  # fmt: skip
    every = np.concatenate([chosen, np.arange(n_mass, point.size)])
    out = np.zeros((n, point.size))
    out[:, every] = _refit(few, point[every], n, rng)
    return out


def _fill(
    problem: Any, x: np.ndarray, n_mass: int, rate: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Replace masses of 0 by small ones, and scale all to the same number of stars."""
    x = x.copy()
    mass = x[:, :n_mass]
    empty = mass <= 0.0
    n_empty = np.maximum(empty.sum(axis=1, keepdims=True), 1)
    most = _MOST_ADDED * np.sqrt(problem.data.observed.sum())
    shape = np.minimum(_SHAPE, most / n_empty)
    added = rng.standard_gamma(np.broadcast_to(shape, mass.shape)) / np.maximum(rate, 1e-300)
    before = expected_stars(problem, x)
    x[:, :n_mass] = np.where(empty, added, mass)
    after = expected_stars(problem, x)
    # Where a background explains all stars, what is added is all there is.
    scale = np.divide(before, after, out=np.ones_like(before), where=before > 0.0)
    x[:, :n_mass] *= scale[:, None]
    return x


def expected_stars(problem: Any, x: np.ndarray) -> np.ndarray:
    """Return the stars (N_draw,) that templates are expected to put into the bins that count."""
    return np.array([float(problem.stars_of_bins(row).sum()) for row in x])
