"""What artificial stars say as smooth functions of the place in a Hess diagram.

A place is (color, magnitude) as put in. Shifts are looked at in two coordinates in which the errors
are nearly independent: the magnitudes of the two bands where the diagram has two, color and
magnitude where its magnitude is a third band.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree
from scipy.special import expit

from pymc_starpop.hess.artificial_stars import MIN_RECOVERED, ArtificialStars
from pymc_starpop.hess.ast_curves import FAINT_FADE
from pymc_starpop.hess.axes import HessAxes
from pymc_starpop.hess.rounding import center, scatter

__all__ = ["SIGMA_FLOOR", "PlaneTable", "Trends", "measure_trends", "pools_of"]

SIGMA_FLOOR = 0.001  # smallest scatter, mag

# Nodes of tables over the plane, and how many patches of nearest stars the plane is cut into.
_N_PATCH = 400
_NEIGHBORS = 50, 400
_LEAST_STEP = 0.05  # mag
# The logit of the completeness is nearly a plane over some tenths of a magnitude.
_NEIGHBORS_COMPLETE = 300, 600
# The logit and its slopes, 1/mag, are held as if by normal priors of these precisions: where all
# stars were found, or none, the data say nothing of them.
_HOLD_LEVEL, _HOLD_SLOPE = 0.1, 0.1
_NEWTON_STEPS, _LONGEST_STEP = 8, 2.0
# Bias and scatter are smoothed over about so many artificial stars, by a kernel this wide in color
# as a multiple of magnitude, and at least and at most this wide (mag).
_SMOOTH_STARS, _SMOOTH_COLOR, _SMOOTH_WIDTH = 3000, 1.5, (0.1, 0.6)
# Beyond the last patches by more than this many kernels their trend is not followed.
_FARTHEST = 1.0
# Errors change with the magnitudes of both bands: distances in color count a little less.
_COLOR_SCALE = 0.7
# Artificial stars that stand for those at one place: a part of all recovered, within limits. Since
# they are moved and scaled, many can be used: only the form of the distribution changes across
# them, and that with the magnitude more than with the color.
_POOL_SHARE, _POOL, _POOL_COLOR = 0.2, (300, 8000), 0.4
_POOL_STEP = 0.3, 0.15  # mag; places within this share their artificial stars


@dataclass(frozen=True, eq=False)
class PlaneTable:
    """A function of color and magnitude, bilinear between evenly spaced nodes.

    Attributes
    ----------
    color, mag : ndarray (K,), (L,)
        Nodes. Beyond them the values at the edge count.
    value : ndarray (L, K)
    """

    color: np.ndarray
    mag: np.ndarray
    value: np.ndarray

    def __call__(self, color: np.ndarray, mag: np.ndarray) -> np.ndarray:
        """Evaluate at places of one shape."""
        i, s = _position(mag, self.mag)
        j, t = _position(color, self.color)
        v = self.value
        low = (1 - t) * v[i, j] + t * v[i, j + 1]
        return (1 - s) * low + s * ((1 - t) * v[i + 1, j] + t * v[i + 1, j + 1])


@dataclass(frozen=True, eq=False)
class Trends:
    """Artificial stars in the plane of a Hess diagram, with what is smooth in it.

    Attributes
    ----------
    to_shift : ndarray (2, 2)
        Makes shifts in color and magnitude from those in the two coordinates.
    place : ndarray (N, 2)
        Color and magnitude as put in, mag, of the stars that were recovered.
    residual : ndarray (N, 2)
        Their shifts in the two coordinates, less the bias, in units of the scatter.
    completeness : PlaneTable
        Part that was recovered, without the fall beyond the faintest stars.
    bias, scatter : tuple of PlaneTable
        Median and scatter of the shifts in the two coordinates, mag.
    faintest : ndarray (2,)
        Faintest input in the two coordinates, mag; infinite where that is a color.
    """

    to_shift: np.ndarray
    place: np.ndarray
    residual: np.ndarray
    completeness: PlaneTable
    bias: tuple[PlaneTable, PlaneTable]
    scatter: tuple[PlaneTable, PlaneTable]
    faintest: np.ndarray

    def completeness_at(self, color: np.ndarray, mag: np.ndarray) -> np.ndarray:
        """Part recovered at places of one shape, 0 beyond the artificial stars by 0.5 mag."""
        value = np.clip(self.completeness(color, mag), 0.0, 1.0)
        inverse = np.linalg.inv(self.to_shift)
        for row, limit in zip(inverse, self.faintest, strict=True):
            if np.isfinite(limit):
                at = row[0] * color + row[1] * mag
                value = value * np.clip(1.0 - (at - limit) / FAINT_FADE, 0.0, 1.0)
        return value


def measure_trends(stars: ArtificialStars, axes: HessAxes) -> Trends:
    """Measure completeness, bias and scatter over the plane of a Hess diagram.

    Parameters
    ----------
    stars : ArtificialStars
        In the bands of the axes, in their order.
    axes : HessAxes
    """
    matrix = axes.matrix()
    place = stars.mag @ matrix.T
    seen = stars.recovered.all(axis=1)
    if seen.sum() < MIN_RECOVERED:
        raise ValueError(
            f"artificial_stars: {int(seen.sum())} stars were recovered in all of "
            f"{', '.join(axes.bands)}; at least {MIN_RECOVERED} are needed."
        )
    two = len(axes.bands) == 2
    to_shift = matrix if two else np.eye(2)
    shift = (stars.shift[seen] @ matrix.T) @ np.linalg.inv(to_shift).T
    step = stars.step if two else _steps(axes, stars.step)
    faintest = stars.mag.max(axis=0) if two else np.array([np.inf, place[:, 1].max()])
    nodes = _nodes(place)
    found = place[seen]
    near = _nearest(found, nodes, min(_number(len(place), _NEIGHBORS), len(found)))
    smooth = _smoother(nodes, found, near)
    bias = [center(shift[near, k], float(step[k])) for k in (0, 1)]
    # The bias grows with the scatter, and in units of it it is nearly linear.
    rough = [
        np.maximum(scatter(shift[near, k] - bias[k][:, None], float(step[k])), SIGMA_FLOOR)
        for k in (0, 1)
    ]
    rough = [np.exp(smooth(np.log(r))) for r in rough]
    tables = tuple(_table(nodes, r * smooth(b / r)) for b, r in zip(bias, rough, strict=True))
    off = shift - np.stack([t(*found.T) for t in tables], axis=1)
    scale = [np.maximum(scatter(off[near, k], float(step[k])), SIGMA_FLOOR) for k in (0, 1)]
    scales = tuple(_table(nodes, np.exp(smooth(np.log(r)))) for r in scale)
    residual = off / np.stack([t(*found.T) for t in scales], axis=1)
    return Trends(
        to_shift, found, residual, _table(nodes, _completeness(place, seen, nodes)),
        tables, scales, faintest,  # type: ignore[arg-type]
    )  # fmt: skip


def pools_of(trends: Trends, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pool of each place (N,), and the artificial stars (P, K) of each pool.

    Parameters
    ----------
    trends : Trends
    places : ndarray (N, 2)
        Color and magnitude, mag.
    """
    number = min(int(np.clip(_POOL_SHARE * len(trends.place), *_POOL)), len(trends.place))
    nodes, pool_of = np.unique(np.round(places / _POOL_STEP), axis=0, return_inverse=True)
    scale = np.array([_POOL_COLOR, 1.0])
    tree = KDTree(trends.place * scale)
    pools = tree.query(nodes * _POOL_STEP * scale, k=np.arange(1, number + 1))[1]
    return pool_of.ravel(), np.ascontiguousarray(pools)


def _steps(axes: HessAxes, step: np.ndarray) -> np.ndarray:
    """Rounding of color and magnitude: the coarser of the two bands counts for the color."""
    by_band = dict(zip(axes.bands, step, strict=True))
    return np.array([max(by_band[b] for b in axes.color), by_band[axes.mag]])


def _number(n_star: int, limits: tuple[int, int]) -> int:
    return int(np.clip(n_star // _N_PATCH, *limits))


def _nodes(place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spaced nodes in color and magnitude, fewer than two for each patch of stars."""
    n_patch = len(place) / _number(len(place), _NEIGHBORS)
    axes = []
    for low, high in zip(place.min(axis=0), place.max(axis=0), strict=True):
        step = max(_LEAST_STEP, (high - low) / (2.0 * np.sqrt(n_patch)))
        number = max(2, 1 + int(np.ceil((high - low) / step)))
        axes.append(np.linspace(low, max(high, low + 1e-3), number))
    return axes[0], axes[1]


def _scaled(place: np.ndarray) -> np.ndarray:
    return place * np.array([_COLOR_SCALE, 1.0])


def _grid(nodes: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(np.meshgrid(*nodes), axis=-1).reshape(-1, 2)


def _nearest(place: np.ndarray, nodes: Sequence[np.ndarray], number: int) -> np.ndarray:
    """Indices (n_node, number) of the stars nearest to each node."""
    return KDTree(_scaled(place)).query(_scaled(_grid(nodes)), k=np.arange(1, number + 1))[1]


def _table(nodes: tuple[np.ndarray, np.ndarray], values: np.ndarray) -> PlaneTable:
    return PlaneTable(*nodes, values.reshape(nodes[1].size, nodes[0].size))


def _smoother(
    nodes: tuple[np.ndarray, np.ndarray], place: np.ndarray, near: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes values at nodes of those of the patches of nearest stars.

    A plane with a curve along the magnitude is fitted to the patches near a node. A patch stands
    where its stars are on average: near the limit most of them are brighter than the node whose
    nearest they are. The kernel is as wide as holds `_SMOOTH_STARS` artificial stars, within
    limits.
    """
    grid, centers = _grid(nodes), place[near].mean(axis=1)
    farthest = np.sqrt(np.square(_scaled(place)[near] - _scaled(centers)[:, None]).sum(axis=2))
    density = near.shape[1] / (np.pi * np.maximum(farthest.max(axis=1), 1e-3) ** 2)
    # A Gaussian kernel of widths h and r h holds 4 pi r h^2 stars.
    width = np.sqrt(_SMOOTH_STARS / (4.0 * np.pi * _SMOOTH_COLOR * density))
    width = np.clip(width, *_SMOOTH_WIDTH)[:, None]
    at = _held(grid, centers, width)
    offset = (centers[None, :, :] - at[:, None, :]) / np.stack([_SMOOTH_COLOR * width, width], -1)
    square = np.square(offset).sum(axis=2)
    weight = np.exp(-0.5 * (square - square.min(axis=1, keepdims=True))) * density
    terms = np.concatenate(
        [np.ones((*weight.shape, 1)), offset, np.square(offset[..., 1:])], axis=2
    )
    moments = np.einsum("nk,nki,nkj->nij", weight, terms, terms, optimize=True)
    moments[:, range(4), range(4)] += 1e-3 * weight.sum(axis=1)[:, None]
    rows = np.linalg.solve(moments, np.broadcast_to(np.eye(4)[0], (len(grid), 4))[..., None])
    smooth = np.einsum("nki,ni,nk->nk", terms, rows[..., 0], weight, optimize=True)
    smooth /= smooth.sum(axis=1, keepdims=True)
    return lambda values: smooth @ values


def _held(grid: np.ndarray, centers: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Nodes (K, 2), those far from all patches moved to within `_FARTHEST` kernels of one."""
    distance, index = KDTree(_scaled(centers)).query(_scaled(grid))
    part = np.minimum(_FARTHEST * width[:, 0] / np.maximum(distance, 1e-9), 1.0)[:, None]
    nearest = centers[index]
    return nearest + part * (grid - nearest)


def _completeness(
    place: np.ndarray, seen: np.ndarray, nodes: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Completeness at each node from a logistic regression over the nearest stars.

    Its logit is a plane there: a plane for the completeness itself would be too high in the tail
    near the limit.
    """
    near = _nearest(place, nodes, min(_number(len(place), _NEIGHBORS_COMPLETE), len(place)))
    offset = _scaled(place)[near] - _scaled(_grid(nodes))[:, None, :]
    distance = np.sqrt(np.square(offset).sum(axis=2))
    weight = 1.0 - (distance / (1.01 * distance.max(axis=1, keepdims=True))) ** 2
    terms = np.concatenate([np.ones((*near.shape, 1)), offset], axis=2)
    found = seen[near].astype(float)
    # Half a star more of either kind keeps the logit finite where all or none were found.
    total = weight.sum(axis=1)
    share = ((weight * found).sum(axis=1) + 0.5) / (total + 1.0)
    middle = np.log(share / (1.0 - share))
    plane = np.stack([middle, np.zeros(len(near)), np.zeros(len(near))], axis=1)
    held = np.broadcast_to([_HOLD_LEVEL, _HOLD_SLOPE, _HOLD_SLOPE], plane.shape)
    for _ in range(_NEWTON_STEPS):
        chance = expit(np.einsum("nki,ni->nk", terms, plane))
        pull = np.einsum("nk,nki,nk->ni", weight, terms, found - chance)
        away = plane - np.stack([middle, 0.0 * middle, 0.0 * middle], axis=1)
        bend = np.einsum("nk,nki,nkj->nij", weight * chance * (1.0 - chance), terms, terms)
        bend[:, range(3), range(3)] += held
        step = np.linalg.solve(bend, (pull - held * away)[..., None])[..., 0]
        plane += np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
    return expit(plane[:, 0])


def _position(values: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the node below and the fraction of the way to the next, held to the grid."""
    at = np.clip((values - nodes[0]) / (nodes[1] - nodes[0]), 0.0, nodes.size - 1.0)
    index = np.minimum(at.astype(np.int64), nodes.size - 2)
    return index, at - index
