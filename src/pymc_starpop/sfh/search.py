"""The search for the maximum of the likelihood."""

from dataclasses import replace
from typing import Any

import numpy as np

from pymc_starpop.sfh.amplitudes import WithAmplitudes
from pymc_starpop.sfh.box_newton import Optimum, minimize_in_box
from pymc_starpop.sfh.hierarchy import Hierarchy, keeps_expecting

__all__ = ["maximize", "maximize_from"]


def maximize_from(
    problem: Any, start: np.ndarray, tolerance: float = 1e-6, max_iterations: int = 200
) -> Optimum:
    """Maximize the likelihood, times the prior of the amplitudes, from a point (P,)."""
    limits: dict[str, Any] = {"tolerance": tolerance, "max_iterations": max_iterations}
    keeps = keeps_expecting if isinstance(problem, Hierarchy) else None
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
    return maximize_from(problem, start)
