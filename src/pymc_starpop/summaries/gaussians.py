"""Gaussians nearest to densities of separate variables, all fitted with the same evaluations.

The Gaussian of mean m and covariance S = L L' nearest to a density p has

    E[d log p] = 0,   E[d2 log p] = -S^-1,

with means over the Gaussian (Opper & Archambeau 2009, Neural Comput. 21, 786). The means are sums
over m and m +- r L e_j, which with r = sqrt(3) are exact along each axis for polynomials to the
fifth order (Julier & Uhlmann 2004, Proc. IEEE 92, 401). So a gradient of log p at each gives both.
A step of the Gaussian that lowers E[log p] plus the entropy, its bound on log of the integral of p,
is halved.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Gaussians", "Parts", "Sweep", "fit_gaussians", "step"]

# Distances of the points from the mean. The shorter ones are for densities that end.
_RADII = (float(np.sqrt(3.0)), 1.0, 0.5, 0.1)
# The covariance changes by no more than this factor at a time, and the mean by so many widths an
# axis.
_MOST_WIDER, _LONGEST = 10.0, 2.0
_MAX_SWEEPS = 10
# A step that has been halved so often has ended, or once if it promised less than so many nats: a
# density may be rough. A loss of so many nats is rounding.
_MAX_HALVED, _PROMISE, _ROUNDING = 3, 0.05, 1e-6

# From a position of each density to their values, their gradients, and the value and gradient of
# what comes with them.
Parts = Callable[[Sequence[np.ndarray]], tuple[np.ndarray, list[np.ndarray], float, np.ndarray]]


@dataclass(frozen=True)
class Gaussians:
    """Means, Cholesky factors of the covariances, and distance of the points that are taken."""

    means: tuple[np.ndarray, ...]
    factors: tuple[np.ndarray, ...]
    radius: float = _RADII[0]

    def shifted(self, axis: int, sign: float) -> list[np.ndarray]:
        """Return the points on one side along an axis; the mean where there is no axis."""
        return [
            mean + sign * self.radius * factor[:, axis] if axis < mean.size else mean
            for mean, factor in zip(self.means, self.factors, strict=True)
        ]


@dataclass(frozen=True)
class Sweep:
    """Means over Gaussians.

    Attributes
    ----------
    values : numpy.ndarray
        Of each log density, plus the entropy of its Gaussian (C,). Where the density is a Gaussian
        it is the logarithm of its integral; -inf where it is zero at any of the points.
    gradients : tuple of numpy.ndarray
        Of the gradient of each.
    curvatures : tuple of numpy.ndarray
        Minus the mean of the second derivatives, in units of the Gaussian: the identity where that
        is the nearest.
    value, gradient
        Sum of the values, with that of what came with them; and the gradient that came with them.
    """

    values: np.ndarray
    gradients: tuple[np.ndarray, ...]
    curvatures: tuple[np.ndarray, ...]
    value: float
    gradient: np.ndarray


def fit_gaussians(
    parts: Parts, start: Gaussians, gain: float, change: float, most: int = _MAX_SWEEPS
) -> tuple[Gaussians, Sweep] | None:
    """Fit the Gaussians from a first guess.

    Parameters
    ----------
    parts : callable
    start : Gaussians
    gain : float
        Gain of a step of a mean, nats, that is not worth it.
    change : float
        Relative change of a covariance that is not worth it.
    most : int
        Number of sweeps at the most.

    Returns
    -------
    (Gaussians, Sweep) or None
        None if a density is zero at the mean of its Gaussian.
    """
    first = _first_sweep(parts, start)
    if first is None:
        return None
    best, found = first
    ahead, whole = step(best, found), True
    done = _is_near(best, found, gain, change)
    halved = np.zeros(done.size, dtype=int)
    for _ in range(most - 1):
        if done.all():
            break
        trial = _chosen(~done, ahead, best)
        tried = _sweep(parts, trial)
        better = done | (tried.values >= found.values - _ROUNDING)
        little = better & (tried.values - found.values < gain)
        whole = bool(better.all())
        best = _chosen(better, trial, best)
        found = tried if whole else _kept(better, tried, found)
        ahead = _chosen(better, step(best, found), _between(best, ahead))
        halved = np.where(better, 0, halved + 1)
        promise = _promise(best, found)
        stuck = ~better & ((promise < _PROMISE) | (halved > _MAX_HALVED))
        done |= little | stuck | (better & _is_near(best, found, gain, change))
    return best, found if whole else _sweep(parts, best)


def step(at: Gaussians, found: Sweep) -> Gaussians:
    """Take Newton's step of the means, and the covariances of the mean curvatures."""
    means, factors = [], []
    for mean, factor, gradient, curvature in zip(
        at.means, at.factors, found.gradients, found.curvatures, strict=True
    ):
        roots, axes = np.linalg.eigh(curvature)
        roots = np.clip(np.abs(roots), 1.0 / _MOST_WIDER, _MOST_WIDER)
        move = axes @ ((axes.T @ (factor.T @ gradient)) / roots)
        longest = max(1.0, float(np.linalg.norm(move)) / (_LONGEST * np.sqrt(mean.size)))
        means.append(mean + factor @ (move / longest))
        wide = factor @ (axes / np.sqrt(roots))
        factors.append(np.linalg.cholesky(wide @ wide.T))
    return replace(at, means=tuple(means), factors=tuple(factors))


def _first_sweep(parts: Parts, start: Gaussians) -> tuple[Gaussians, Sweep] | None:
    """Take the means at the largest distance at which no density is zero."""
    for radius in _RADII:
        if radius <= start.radius:
            at = replace(start, radius=radius)
            found = _sweep(parts, at)
            if np.isfinite(found.value):
                return at, found
    return None


@np.errstate(invalid="ignore")  # Where a density is zero, which the value says in the end.
def _sweep(parts: Parts, at: Gaussians) -> Sweep:
    """Take the means over the Gaussians."""
    center = parts(at.means)
    values, gradients, rest, extra = center[0].copy(), [*center[1]], center[2], center[3].copy()
    share = 0.5 / at.radius**2
    rows: list[list[np.ndarray]] = [[] for _ in at.means]
    for axis in range(max(mean.size for mean in at.means)):
        above, below = parts(at.shifted(axis, 1.0)), parts(at.shifted(axis, -1.0))
        values += share * (above[0] + below[0] - 2.0 * center[0])
        rest += share * (above[2] + below[2] - 2.0 * center[2])
        extra += share * (above[3] + below[3] - 2.0 * center[3])
        for k, mean in enumerate(at.means):
            if axis < mean.size:
                up, down = above[1][k], below[1][k]
                gradients[k] = gradients[k] + share * (up + down - 2.0 * center[1][k])
                rows[k].append((down - up) / (2.0 * at.radius))
    curvatures = [np.array(row) @ factor for row, factor in zip(rows, at.factors, strict=True)]
    for k, factor in enumerate(at.factors):
        # Of a Gaussian, so that the value is the logarithm of an integral.
        values[k] += np.log(np.diag(factor)).sum() + 0.5 * len(factor) * np.log(2.0 * np.pi * np.e)
        if not np.isfinite(np.sum(gradients[k]) + np.sum(curvatures[k])):
            values[k] = -np.inf
    values[~np.isfinite(values)] = -np.inf
    symmetric = tuple(0.5 * (curvature + curvature.T) for curvature in curvatures)
    value = float(values.sum() + rest) if np.isfinite(extra).all() else -np.inf
    return Sweep(values, tuple(gradients), symmetric, value, extra)


def _promise(at: Gaussians, found: Sweep) -> np.ndarray:
    """Gain of a step of each mean, nats (C,)."""
    slopes = [factor.T @ slope for factor, slope in zip(at.factors, found.gradients, strict=True)]
    return np.array([0.5 * slope @ slope for slope in slopes])


def _is_near(at: Gaussians, found: Sweep, gain: float, change: float) -> np.ndarray:
    """Whether a step would neither gain nor change as much, bool (C,)."""
    differs = [np.abs(own - np.eye(len(own))).max() for own in found.curvatures]
    return (_promise(at, found) < gain) & (np.array(differs) < change)


def _chosen(which: np.ndarray, first: Gaussians, second: Gaussians) -> Gaussians:
    """Take the Gaussian of each density from the first or the second."""
    means = [a if w else b for w, a, b in zip(which, first.means, second.means, strict=True)]
    factors = [a if w else b for w, a, b in zip(which, first.factors, second.factors, strict=True)]
    return replace(first, means=tuple(means), factors=tuple(factors))


def _kept(which: np.ndarray, first: Sweep, second: Sweep) -> Sweep:
    """Take what is known of each density from the first or the second; not of all together."""
    gradients = zip(which, first.gradients, second.gradients, strict=True)
    curvatures = zip(which, first.curvatures, second.curvatures, strict=True)
    return replace(
        first,
        values=np.where(which, first.values, second.values),
        gradients=tuple(a if w else b for w, a, b in gradients),
        curvatures=tuple(a if w else b for w, a, b in curvatures),
    )


def _between(back: Gaussians, ahead: Gaussians) -> Gaussians:
    """Halve a step."""
    means = [0.5 * (a + b) for a, b in zip(back.means, ahead.means, strict=True)]
    factors = [0.5 * (a + b) for a, b in zip(back.factors, ahead.factors, strict=True)]
    return replace(back, means=tuple(means), factors=tuple(factors))
