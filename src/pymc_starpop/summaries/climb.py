"""Climb to a local maximum of a log density that is minus infinity outside its support.

The climb is a generator: it yields a position and is sent the log density there with its gradient.
So many can go on side by side, each with a part of what one evaluation gives.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Ask", "Evaluate", "Summit", "climb", "descend", "follow"]

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
# A climb is at a known optimum if a step of Newton with the curvature known there leads to it, up
# to the second number of nats, and gains less than the first, that is, from within 2.4 widths. The
# gain must be that which is left, too.
_NEAR, _ARRIVED = 4.0, 0.5

Evaluate = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Summit:
    """Where a climb ended: log density, position, and whether it is a local maximum.

    `converged` means that the Hessian there, by differences of the gradient, is negative definite
    and that a Newton step would gain less than 0.001 nat. `log_volume` is the logarithm of the
    integral of exp(logp(x) - logp) over the Gaussian with that Hessian, `covariance` that of the
    Gaussian; NaN and None without a maximum.
    """

    logp: float
    position: np.ndarray
    converged: bool
    log_volume: float
    covariance: np.ndarray | None = None

    def leads_here(self, position: np.ndarray, logp: float, gradient: np.ndarray) -> bool:
        """Whether Newton's step with the curvature here would end here."""
        if self.covariance is None or not -_ARRIVED < self.logp - logp < 2.0 * _NEAR:
            return False
        step = self.covariance @ gradient
        gain = 0.5 * gradient @ step
        missed = np.linalg.solve(self.covariance, position + step - self.position)
        miss = 0.5 * (position + step - self.position) @ missed
        left = abs(self.logp - logp - gain)
        return bool(gain < _NEAR and miss < _ARRIVED and left < _ARRIVED + 0.25 * gain)


@dataclass(frozen=True)
class _Point:
    """Position, minus log density and its gradient, in units of the scales."""

    x: np.ndarray
    value: float
    gradient: np.ndarray


# What a generator of positions returns when it is done.
type Ask[T] = Generator[np.ndarray, tuple[float, np.ndarray], T]
type _Ask[T] = Generator[np.ndarray, _Point, T]


def follow[T](asking: Ask[T], evaluate: Evaluate) -> T:
    """Give a generator of positions what it asks for, to its end."""
    try:
        position = next(asking)
        while True:
            position = asking.send(evaluate(position))
    except StopIteration as end:
        return end.value


def climb(start: np.ndarray, scale: np.ndarray, known: Sequence[Summit] = ()) -> Ask[Summit | None]:
    """Climb by BFGS, whose line search bisects wherever the log density is not finite.

    Parameters
    ----------
    start : numpy.ndarray
        Position (N,) at which to begin.
    scale : numpy.ndarray
        Positive length (N,) of a long step in each variable, such as the spread of its prior.
    known : sequence of Summit
        Optima known already. The climb ends early where it is about to arrive at one.

    Yields
    ------
    numpy.ndarray
        A position (N,); to be sent the log density and its gradient (N,) there.

    Returns
    -------
    Summit or None
        One of the known if that is where it leads. None if the log density at the start is not
        finite.
    """
    return (yield from _in_units(scale, _climb(start / scale, scale, known)))


def descend(
    start: np.ndarray, scale: np.ndarray, gain: float
) -> Ask[tuple[np.ndarray, np.ndarray] | None]:
    """Climb by BFGS until a step promises less than so many nats, without a look at the curvature.

    Parameters
    ----------
    start, scale : numpy.ndarray
        As in `climb`.
    gain : float
        Gain of a step, in nats, that is not worth it.

    Yields
    ------
    numpy.ndarray
        A position (N,); to be sent the log density and its gradient (N,) there.

    Returns
    -------
    (position, covariance) or None
        The covariance (N, N) is minus the inverse of the Hessian as BFGS knows it.
    """

    def descent() -> _Ask[tuple[np.ndarray, np.ndarray] | None]:
        point = yield start / scale
        if not np.isfinite(point.value):
            return None
        free = np.ones(start.size, dtype=bool)
        found = yield from _descend(point, None, free, lambda _: None, gain)
        assert not isinstance(found, Summit)
        return found[0].x * scale, found[1] * np.outer(scale, scale)

    return (yield from _in_units(scale, descent()))


def _in_units[T](scale: np.ndarray, asking: _Ask[T]) -> Ask[T]:
    """Ask for positions in the variables' own units instead of the scales'."""
    try:
        x = next(asking)
        while True:
            value, gradient = yield x * scale
            finite = np.isfinite(value) and np.all(np.isfinite(gradient))
            value = -float(value) if finite else np.inf
            x = asking.send(_Point(x, value, -np.asarray(gradient) * scale))
    except StopIteration as end:
        return end.value


def _climb(start: np.ndarray, scale: np.ndarray, known: Sequence[Summit]) -> _Ask[Summit | None]:
    """Climb in units of the scales."""
    point = yield start
    if not np.isfinite(point.value):
        return None

    def arrived(at: _Point) -> Summit | None:
        where = at.x * scale, -at.value, -at.gradient / scale
        return next((summit for summit in known if summit.leads_here(*where)), None)

    inverse, converged = None, False
    free, values = np.ones(start.size, dtype=bool), [point.value]
    for _ in range(_MAX_RESTARTS):
        found = yield from _descend(point, inverse, free, arrived)
        if isinstance(found, Summit):
            return found
        point, inverse, beyond = found
        values.append(point.value)
        widths = np.sqrt(np.maximum(np.diag(inverse), 1e-16))
        inverse, direction, converged = yield from _judge(point, widths)
        if converged or (len(values) > 3 and values[-3] - point.value < _CONVERGED):
            break
        if direction is not None and beyond is None:
            point = yield from _leave_saddle(point, direction)
        free = yield from _free_axes(point, beyond)
    if not converged or inverse is None:
        return Summit(-point.value, point.x * scale, converged, np.nan)
    covariance = inverse * np.outer(scale, scale)
    log_volume = float(0.5 * np.linalg.slogdet(2.0 * np.pi * inverse)[1] + np.log(scale).sum())
    return Summit(-point.value, point.x * scale, converged, log_volume, covariance)


def _descend(
    point: _Point,
    inverse: np.ndarray | None,
    free: np.ndarray,
    arrived: Callable[[_Point], Summit | None],
    enough: float = _EXPECTED_GAIN,
) -> _Ask[tuple[_Point, np.ndarray, np.ndarray | None] | Summit]:
    """BFGS in the free variables.

    Returns the last point, the inverse of the Hessian as BFGS knows it, and, if the edge of the
    support ended the search, the step that went beyond it; or the known optimum to which it leads.
    """
    known = inverse is not None
    inverse = np.eye(point.x.size) if inverse is None else inverse
    n_cut, beyond = 0, None
    for _ in range(_MAX_ITERATIONS):
        summit = arrived(point)
        if summit is not None:
            return summit
        direction = -np.where(free, inverse @ np.where(free, point.gradient, 0.0), 0.0)
        if -0.5 * point.gradient @ direction < enough:
            beyond = None
            break
        following, beyond = yield from _search_line(point, direction)
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
    return point, inverse, beyond


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
    point: _Point, direction: np.ndarray
) -> _Ask[tuple[_Point | None, np.ndarray | None]]:
    """Return a point that is enough lower and less steep, None if nothing lower was found.

    Outside the support nothing but the infinite value is used: the step is halved. The second
    result is the shortest step that left the support, None if none did.
    """
    slope = point.gradient @ direction
    longest = _LONGEST_STEP / np.max(np.abs(direction))
    lower, upper, lowest, beyond = 0.0, np.inf, None, None
    length = min(1.0, longest)
    for _ in range(_MAX_BISECTIONS):
        trial = yield point.x + length * direction
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
    point: _Point, widths: np.ndarray
) -> _Ask[tuple[np.ndarray | None, np.ndarray | None, bool]]:
    """Inverse of the Hessian made positive, axis along which it is not, and whether that is a peak.

    The inverse is None where the Hessian cannot be had, the axis where there is none.
    """
    hessian = yield from _hessian(point, widths)
    if hessian is None:
        return None, None, False
    roots, axes = np.linalg.eigh(hessian)
    inverse = (axes / np.maximum(np.abs(roots), 1e-12)) @ axes.T
    if roots[0] <= _FLAT * roots[-1]:
        return inverse, axes[:, 0], False
    gain = 0.5 * point.gradient @ inverse @ point.gradient
    return inverse, None, bool(gain < _CONVERGED)


def _hessian(point: _Point, widths: np.ndarray) -> _Ask[np.ndarray | None]:
    """Central differences of the gradient, shorter near the edge of the support; None at it."""
    rows = []
    for axis, width in enumerate(_DIFFERENCE * np.minimum(widths, 1.0)):
        shift = np.zeros_like(point.x)
        for shorter in (1.0, 1e-1, 1e-2, 1e-3):
            shift[axis] = width * shorter
            above = yield point.x + shift
            below = yield point.x - shift
            if np.isfinite(above.value + below.value):
                break
        else:
            return None
        rows.append((above.gradient - below.gradient) / (2.0 * shift[axis]))
    hessian = np.array(rows)
    return 0.5 * (hessian + hessian.T)


def _leave_saddle(point: _Point, axis: np.ndarray) -> _Ask[_Point]:
    """Lowest point along the axis of negative curvature, or the point itself."""
    lengths = [sign * length for length in (1.0, 0.3, 0.1, 0.03) for sign in (1.0, -1.0)]
    lowest = point
    for length in lengths:
        trial = yield point.x + length * axis
        lowest = min(lowest, trial, key=lambda p: p.value)
    return lowest


def _free_axes(point: _Point, beyond: np.ndarray | None) -> _Ask[np.ndarray]:
    """Which variables can move, each alone, without leaving the support as the step did."""
    every = np.ones(point.x.size, dtype=bool)
    if beyond is None:
        return every
    free = np.empty(point.x.size, dtype=bool)
    for k, part in enumerate(np.diag(beyond)):
        trial = yield point.x + part
        free[k] = np.isfinite(trial.value)
    # With an oblique edge all may be stuck: then the inverse Hessian has to point along it.
    return free if free.any() else every
