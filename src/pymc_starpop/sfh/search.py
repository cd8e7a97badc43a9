"""The search for the maximum of the likelihood."""

from dataclasses import replace
from typing import Any, cast

import numpy as np

from pymc_starpop.sfh.amplitudes import WithAmplitudes
from pymc_starpop.sfh.box_newton import Optimum, State, minimize_in_box
from pymc_starpop.sfh.hierarchy import Hierarchy, keeps_expecting

__all__ = ["maximize", "maximize_from"]

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
    """Maximize the likelihood, and within the bound of the metallicities where it leaves that."""
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
