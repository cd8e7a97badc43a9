"""Newton steps within bounds: a quadratic model under lower bounds, and the damped iteration.

Many star formation rates are exactly 0 at the optimum. Each step therefore minimizes the quadratic
model of the objective over the box, by block principal pivoting (Portugal, Judice & Vicente 1994,
Math. Comp. 63, 625), so that a step may put any number of variables on their bounds and take others
off. Steps are damped as in Levenberg-Marquardt.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy import linalg

__all__ = ["Optimum", "State", "minimize_in_box", "solve_box_quadratic"]

# Exchanges of whole blocks that may fail to lower the number of violated conditions before
# variables are exchanged one by one, which always ends.
_MAX_BLOCK_FAILURES = 5
_MAX_PIVOTS = 2000
# Relative to the diagonal, so that templates that nearly repeat each other can be solved for.
_FLOOR = 1e-13
# Damping up to which a step that promises little means that little can be gained.
_LIGHT = 1e-2
# Parts of a step to try, one after the other.
_PARTS = (1.0, 0.5, 0.25, 0.1)


class State(Protocol):
    """The objective at one point."""

    value: float

    def gradient(self) -> np.ndarray:
        """Return the gradient (P,)."""

    def hessian(self) -> np.ndarray:
        """Return a positive semidefinite Hessian (P, P)."""


@dataclass(frozen=True)
class Optimum:
    """Where an iteration ended.

    Attributes
    ----------
    point : (P,) the best point
    state : the objective there
    n_iterations : number of steps that were tried
    converged : whether the next step promised less than the tolerance
    """

    point: np.ndarray
    state: State
    n_iterations: int
    converged: bool


def solve_box_quadratic(
    hessian: np.ndarray, gradient: np.ndarray, lowest: np.ndarray, bound: np.ndarray
) -> np.ndarray:
    """Minimize g.d + d.H d / 2 over steps d >= lowest.

    Parameters
    ----------
    hessian : (P, P)
        H, positive definite.
    gradient : (P,)
        g.
    lowest : (P,)
        Lower bounds of the step, 0 or negative; -inf where there is none.
    bound : (P,) bool
        First guess of the variables that end on their bounds.

    Returns
    -------
    step : (P,)
    """
    limited = np.isfinite(lowest)
    active = bound & limited
    step, slope = np.empty_like(gradient), np.empty_like(gradient)
    best, failures = gradient.size + 1, 0
    tiny = 1e-12 * (np.abs(gradient).max() + 1e-300)
    for _ in range(_MAX_PIVOTS):
        free = ~active
        step[active] = lowest[active]
        _solve_free(hessian, gradient, free, step)
        slope[:] = gradient + hessian @ step
        violated = (free & limited & (step < lowest)) | (active & (slope < -tiny))
        count = int(violated.sum())
        if count == 0:
            break
        if count < best:
            best, failures = count, 0
        else:
            failures += 1
        if failures > _MAX_BLOCK_FAILURES:
            last = np.flatnonzero(violated)[-1]
            active[last] = not active[last]
        else:
            active ^= violated
    return np.maximum(step, lowest)


def _solve_free(
    hessian: np.ndarray, gradient: np.ndarray, free: np.ndarray, step: np.ndarray
) -> None:
    """Fill in the step of the variables that are not on their bounds."""
    inside, outside = np.flatnonzero(free), np.flatnonzero(~free)
    if inside.size == 0:
        return
    rows = hessian[inside]
    right = -gradient[inside]
    if outside.size:
        right -= rows[:, outside] @ step[outside]
    factor = linalg.cho_factor(rows[:, inside], lower=True, check_finite=False, overwrite_a=True)
    step[inside] = linalg.cho_solve(factor, right, check_finite=False)


def minimize_in_box(
    evaluate: Callable[[np.ndarray], State],
    start: np.ndarray,
    lower: np.ndarray,
    *,
    allowed: Callable[[Any, Any], bool] | None = None,
    least_scale: np.ndarray | None = None,
    tolerance: float = 1e-6,
    max_iterations: int = 200,
) -> Optimum:
    """Minimize a smooth function with variables bounded from below.

    Parameters
    ----------
    evaluate : callable
        Returns the `State` at a point (P,); its value may be infinite or NaN outside the domain.
    start, lower : (P,)
        Where to start, at a finite value, and lower bounds, -inf where there is none.
    allowed : callable, optional
        Whether a step may lead from one state to another; steps that may not, and those that leave
        the domain, are shortened first and damped then.
    least_scale : (P,), optional
        Least curvatures that damping goes by, so that steps in variables of which the objective
        hardly depends here are held without those of others; it never changes the optimum.
    tolerance : float
        Ends when a step promises to lower the value by less.
    max_iterations : int
        Largest number of steps to try.

    Raises
    ------
    ValueError
        For a start where the objective has no value.
    """
    point = np.maximum(start, lower)
    state = evaluate(point)
    if not np.isfinite(state.value):
        raise ValueError(f"start: the objective is {state.value} where the search is to begin.")
    damping, growth = 1e-3, 2.0
    least = np.zeros(point.size) if least_scale is None else least_scale
    gradient, hessian, scale = _model(state, least)
    for iteration in range(1, max_iterations + 1):
        lowest = lower - point
        step = _damped_step(hessian, gradient, scale, lowest, damping)
        promised = -(gradient @ step + 0.5 * step @ hessian @ step)
        if promised < tolerance and damping <= _LIGHT:
            return Optimum(point, state, iteration, True)
        taken = _shorten(evaluate, state, point, step, lower, allowed)
        if taken is not None:
            trial, part = taken
            promised = -part * (gradient @ step + 0.5 * part * step @ hessian @ step)
            gained = state.value - trial.value
            if gained > 0:
                point, state = np.maximum(point + part * step, lower), trial
                gradient, hessian, scale = _model(state, least)
                quality = gained / max(promised, 1e-300)
                damping *= max(0.1, 1.0 - (2.0 * min(quality, 1.5) - 1.0) ** 3)
                damping, growth = max(damping, 1e-12), 2.0
                continue
            if abs(promised) < tolerance and abs(gained) < tolerance:
                # A heavily damped step promises little anywhere.
                longer = _damped_step(hessian, gradient, scale, lowest, _LIGHT)
                if -(gradient @ longer + 0.5 * longer @ hessian @ longer) < tolerance:
                    return Optimum(point, state, iteration, True)
        if damping > 1e12:
            return Optimum(point, state, iteration, False)
        damping, growth = max(damping, 1e-6) * growth, 2.0 * growth
    return Optimum(point, state, max_iterations, False)


def _damped_step(
    hessian: np.ndarray,
    gradient: np.ndarray,
    scale: np.ndarray,
    lowest: np.ndarray,
    damping: float,
) -> np.ndarray:
    """Return the step (P,) of Levenberg and Marquardt within the bounds."""
    damped = hessian + np.diag((damping + _FLOOR) * scale)
    return solve_box_quadratic(damped, gradient, lowest, (lowest == 0) & (gradient > 0))


def _shorten(
    evaluate: Callable[[np.ndarray], State],
    state: State,
    point: np.ndarray,
    step: np.ndarray,
    lower: np.ndarray,
    allowed: Callable[[Any, Any], bool] | None,
) -> tuple[State, float] | None:
    """Return the objective after the longest part of a step that may be taken, and that part."""
    for part in _PARTS:
        trial = evaluate(np.maximum(point + part * step, lower))
        if np.isfinite(trial.value) and (allowed is None or allowed(state, trial)):
            return trial, part
    return None


def _model(state: State, least: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradient, Hessian, and its diagonal with zeros lifted."""
    hessian = state.hessian()
    diagonal = np.diag(hessian)
    scale = np.maximum(diagonal, np.maximum(least, 1e-12 * diagonal.max()))
    return state.gradient(), hessian, scale
