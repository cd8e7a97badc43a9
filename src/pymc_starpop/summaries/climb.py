"""Climb to a local maximum of a log density that is minus infinity outside its support."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Evaluate", "Summit", "climb"]

# No single step moves a variable further than this many of its scales: the climb is to the
# nearest maximum, and the first direction says nothing about the distance.
_LONGEST_STEP = 1.0
# Sufficient increase and weak curvature condition (Lewis & Overton 2013, Math. Program. 141, 135).
_INCREASE, _CURVATURE = 1e-4, 0.9
_MAX_BISECTIONS = 40
# BFGS stops where it expects to gain less than the first number of nats. A maximum is a place where
# the true curvature promises less than the second; a restart that gains less is the last but one.
_EXPECTED_GAIN = 1e-6
_CONVERGED = 1e-3
_MAX_ITERATIONS = 1000
_MAX_RESTARTS = 20
# So many steps in a row that the edge of the support has cut: on along the edge, if at all.
_MAX_CUT = 3
# Differences of the gradient, in widths of the optimum along each axis.
_DIFFERENCE = 1e-2
# A curvature that small beside the largest is none: differences leave as much.
_FLAT = 1e-10

Evaluate = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Summit:
    """Where a climb ended: log density, position, and whether it is a local maximum.

    `converged` means that the Hessian there, by differences of the gradient, is negative definite
    and that a Newton step would gain less than 0.001 nat. `log_volume` is the logarithm of the
    integral of exp(logp(x) - logp) over the Gaussian with that Hessian; NaN without a maximum.
    """

    logp: float
    position: np.ndarray
    converged: bool
    log_volume: float


@dataclass(frozen=True)
class _Point:
    """Position, minus log density and its gradient, in units of the scales."""

    x: np.ndarray
    value: float
    gradient: np.ndarray


_At = Callable[[np.ndarray], _Point]


def climb(evaluate: Evaluate, start: np.ndarray, scale: np.ndarray) -> Summit | None:
    """Climb by BFGS, whose line search bisects wherever the log density is not finite.

    Parameters
    ----------
    evaluate : callable
        Takes a position (N,), returns the log density and its gradient (N,).
    start : numpy.ndarray
        Position (N,) at which to begin.
    scale : numpy.ndarray
        Positive length (N,) of a long step in each variable, such as the spread of its prior.

    Returns
    -------
    Summit or None
        None if the log density at the start is not finite.
    """

    def at(x: np.ndarray) -> _Point:
        value, gradient = evaluate(x * scale)
        finite = np.isfinite(value) and np.all(np.isfinite(gradient))
        return _Point(x, -float(value) if finite else np.inf, -np.asarray(gradient) * scale)

    point = at(start / scale)
    if not np.isfinite(point.value):
        return None
    inverse, converged = None, False
    free, values = np.ones(start.size, dtype=bool), [point.value]
    for _ in range(_MAX_RESTARTS):
        point, widths, beyond = _descend(at, point, inverse, free)
        values.append(point.value)
        inverse, direction, converged = _judge(at, point, widths)
        if converged or (len(values) > 3 and values[-3] - point.value < _CONVERGED):
            break
        if direction is not None and beyond is None:
            point = _leave_saddle(at, point, direction)
        free = _free_axes(at, point, beyond)
    log_volume = np.nan
    if converged and inverse is not None:
        log_det = np.linalg.slogdet(2.0 * np.pi * inverse)[1]
        log_volume = float(0.5 * log_det + np.log(scale).sum())
    return Summit(-point.value, point.x * scale, converged, log_volume)


def _descend(
    at: _At, point: _Point, inverse: np.ndarray | None, free: np.ndarray
) -> tuple[_Point, np.ndarray, np.ndarray | None]:
    """BFGS in the free variables.

    Returns the last point, the width of the optimum along each axis as BFGS knows it, and, if the
    edge of the support ended the search, the step that went beyond it.
    """
    known = inverse is not None
    inverse = np.eye(point.x.size) if inverse is None else inverse
    n_cut, beyond = 0, None
    for _ in range(_MAX_ITERATIONS):
        direction = -np.where(free, inverse @ np.where(free, point.gradient, 0.0), 0.0)
        if -0.5 * point.gradient @ direction < _EXPECTED_GAIN:
            beyond = None
            break
        following, beyond = _search_line(at, point, direction)
        n_cut = 0 if beyond is None else n_cut + 1
        if following is None:
            break
        step, change = following.x - point.x, following.gradient - point.gradient
        point = following
        if step @ change > 1e-10 * np.linalg.norm(step) * np.linalg.norm(change):
            if not known:
                inverse, known = inverse * (step @ change) / (change @ change), True
            inverse = _update(inverse, step, change)
        if n_cut == _MAX_CUT:
            break
    return point, np.sqrt(np.maximum(np.diag(inverse), 1e-16)), beyond


def _update(inverse: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Inverse Hessian after a step that changed the gradient (Nocedal & Wright 2006, eq. 6.17)."""
    rho = 1.0 / (step @ change)
    mapped = inverse @ change
    return (
        inverse
        + (rho + rho**2 * (change @ mapped)) * np.outer(step, step)
        - rho * (np.outer(mapped, step) + np.outer(step, mapped))
    )


def _search_line(
    at: _At, point: _Point, direction: np.ndarray
) -> tuple[_Point | None, np.ndarray | None]:
    """Return a point that is enough lower and less steep, None if nothing lower was found.

    Outside the support nothing but the infinite value is used: the step is halved. The second
    result is the shortest step that left the support, None if none did.
    """
    slope = point.gradient @ direction
    longest = _LONGEST_STEP / np.max(np.abs(direction))
    lower, upper, lowest, beyond = 0.0, np.inf, None, None
    length = min(1.0, longest)
    for _ in range(_MAX_BISECTIONS):
        trial = at(point.x + length * direction)
        if not np.isfinite(trial.value):
            beyond = length * direction
        if not trial.value <= point.value + _INCREASE * length * slope:
            upper = length
        elif (
            # Closer to the edge there would be no room for the next step.
            beyond is None and length < longest and trial.gradient @ direction < _CURVATURE * slope
        ):
            lower, lowest = length, trial
        else:
            return trial, beyond
        length = 0.5 * (lower + upper) if np.isfinite(upper) else min(2.0 * lower, longest)
    return lowest, beyond


def _judge(
    at: _At, point: _Point, widths: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None, bool]:
    """Inverse of the Hessian made positive, axis along which it is not, and whether that is a peak.

    The inverse is None where the Hessian cannot be had, the axis where there is none.
    """
    hessian = _hessian(at, point, widths)
    if hessian is None:
        return None, None, False
    roots, axes = np.linalg.eigh(hessian)
    inverse = (axes / np.maximum(np.abs(roots), 1e-12)) @ axes.T
    if roots[0] <= _FLAT * roots[-1]:
        return inverse, axes[:, 0], False
    gain = 0.5 * point.gradient @ inverse @ point.gradient
    return inverse, None, bool(gain < _CONVERGED)


def _hessian(at: _At, point: _Point, widths: np.ndarray) -> np.ndarray | None:
    """Central differences of the gradient, shorter near the edge of the support; None at it."""
    rows = []
    for axis, width in enumerate(_DIFFERENCE * np.minimum(widths, 1.0)):
        shift = np.zeros_like(point.x)
        for shorter in (1.0, 1e-1, 1e-2, 1e-3):
            shift[axis] = width * shorter
            above, below = at(point.x + shift), at(point.x - shift)
            if np.isfinite(above.value + below.value):
                break
        else:
            return None
        rows.append((above.gradient - below.gradient) / (2.0 * shift[axis]))
    hessian = np.array(rows)
    return 0.5 * (hessian + hessian.T)


def _leave_saddle(at: _At, point: _Point, axis: np.ndarray) -> _Point:
    """Lowest point along the axis of negative curvature, or the point itself."""
    lengths = [sign * length for length in (1.0, 0.3, 0.1, 0.03) for sign in (1.0, -1.0)]
    return min([point, *(at(point.x + length * axis) for length in lengths)], key=lambda p: p.value)


def _free_axes(at: _At, point: _Point, beyond: np.ndarray | None) -> np.ndarray:
    """Which variables can move, each alone, without leaving the support as the step did."""
    every = np.ones(point.x.size, dtype=bool)
    if beyond is None:
        return every
    free = np.array([np.isfinite(at(point.x + part).value) for part in np.diag(beyond)])
    # With an oblique edge all may be stuck: then the inverse Hessian has to point along it.
    return free if free.any() else every
