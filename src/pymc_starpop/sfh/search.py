"""The search for the maximum of the likelihood."""

from dataclasses import replace
from typing import Any, cast

import numpy as np

from pymc_starpop.sfh.amplitudes import WithAmplitudes
from pymc_starpop.sfh.box_newton import Optimum, State, minimize_in_box
from pymc_starpop.sfh.hierarchy import Hierarchy, keeps_expecting
from pymc_starpop.sfh.metallicity_starts import other_starts

__all__ = ["maximize", "maximize_from"]

# Steps from other metallicities, and nats above an optimum, after which a search is given up.
_TRIAL_STEPS = 5
_NEAR = 2.0
# Searches that end within this of the best, nats, have found the same optimum.
_SAME = 1e-4
# Nats that may be lost with stars at ages that the templates cannot follow.
_TRACE = 0.1


def maximize_from(
    problem: Any, start: np.ndarray, tolerance: float = 1e-6, max_iterations: int = 200
) -> Optimum:
    """Maximize the likelihood, times the prior of the amplitudes, from a point (P,)."""
    limits: dict[str, Any] = {"tolerance": tolerance, "max_iterations": max_iterations}
    keeps = None
    if isinstance(problem, Hierarchy):
        keeps, limits["least_scale"] = keeps_expecting, problem.least_scale()
    if problem.data.backgrounds.n == 0:
        return minimize_in_box(problem.evaluate, start, problem.lower(), allowed=keeps, **limits)
    objective: Any = WithAmplitudes(problem)

    def allowed(state: Any, trial: Any) -> bool:
        return keeps is None or keeps(state.inner, trial.inner)

    found = minimize_in_box(
        objective.evaluate, objective.logarithms(start), objective.lower(), allowed=allowed,
        **limits,
    )  # fmt: skip
    return replace(found, point=objective.natural(found.point))


def maximize(problem: Hierarchy, start: np.ndarray) -> Optimum:
    """Maximize the likelihood within the bound of the metallicities.

    The likelihood may have several optima, above all where the data say little of the metallicity.
    So other metallicities are tried as starts; those that do not come near the optimum in a few
    steps are given up, unless that optimum is doubtful itself. The best is kept.
    """
    found = _maximize_bounded(problem, start)
    if problem.model.n_parameter == 0 or problem.data.mh.size == 1:
        return found
    doubtful, ends, free = _is_doubtful(problem, found), [found], replace(problem, bounded=False)
    for first in other_starts(problem, start):
        point = first
        if not doubtful:
            trial = maximize_from(free, point, max_iterations=_TRIAL_STEPS)
            if trial.state.value > found.state.value + _NEAR:
                continue
            point = trial.point
        ends.append(_maximize_bounded(problem, point))
    best = min(o.state.value for o in ends)
    same = [o for o in ends if o.state.value <= best + _SAME]
    return next((o for o in same if o.converged), same[0])


def _is_doubtful(problem: Hierarchy, found: Optimum) -> bool:
    """Whether the search did not converge, or a parameter is at its bound or a mean beyond."""
    first, last = problem.n_age, problem.n_history
    at_bound = found.point[first:last] <= problem.lower()[first:last]
    return bool(not found.converged or at_bound.any() or problem.is_beyond(found.point).any())


def _maximize_bounded(problem: Hierarchy, start: np.ndarray) -> Optimum:
    """Maximize from one point, first without the bound, which few need."""
    found = maximize_from(replace(problem, bounded=False), start)
    state: Any = problem.evaluate(found.point)
    if state.penalty is None or state.penalty.value == 0.0:
        return found
    return _without_traces(problem, maximize_from(problem, start))


def _without_traces(problem: Hierarchy, found: Optimum) -> Optimum:
    """Return the optimum without parts of a star at ages whose means are beyond the bound."""
    outside = problem.is_held(found.point, at_bound=True)
    if not outside.any():
        return found
    point = found.point.copy()
    point[: problem.n_age][outside] = 0.0
    state = problem.evaluate(point)
    if not state.value < problem.evaluate(found.point).value + _TRACE:
        return found
    return replace(found, point=point, state=cast(State, state))
