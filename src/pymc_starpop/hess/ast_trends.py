"""What artificial stars say as smooth functions of the place in a Hess diagram.

A place is (color, magnitude) as put in. Shifts are looked at in two coordinates in which the errors
are nearly independent: the magnitudes of the two bands where the diagram has two, color and
magnitude where its magnitude is a third band.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from pymc_starpop.hess.artificial_stars import MIN_RECOVERED, ArtificialStars
from pymc_starpop.hess.ast_curves import FAINT_FADE
from pymc_starpop.hess.axes import HessAxes
from pymc_starpop.hess.plane_fit import PlaneFit, fit_chance, fit_values
from pymc_starpop.hess.rounding import center, scatter

__all__ = ["SIGMA_FLOOR", "PlaneTable", "Trends", "measure_trends", "pools_of"]

SIGMA_FLOOR = 0.001  # smallest scatter, mag

# Stars of a patch, at least; a patch has one median and one scatter.
_PATCH = 100
# Relative variances of a median and of a median absolute deviation, of one star (Gaussian).
_VARIANCE_CENTER, _VARIANCE_SCATTER = 1.57, 1.36
# Each time the trends found before are taken out of the patches.
_N_TREND = 3
# Beyond this part of the recovered stars, in each coordinate, bias and scatter are not followed.
_OUTMOST = 1e-3
# Stars this near to each other (mag) count together for the completeness.
_TOGETHER = 0.1
# Steps of the tables, mag, and the most nodes.
_STEP, _MOST_NODES = 0.05, 250
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
    inverse = np.linalg.inv(to_shift).T
    at = found @ inverse
    patches = _patches(at)
    tables = [_trends_of(at, patches, shift[:, k], float(step[k]), inverse, nodes) for k in (0, 1)]
    (first_bias, first_scatter), (second_bias, second_scatter) = tables
    off = [(shift[:, k] - tables[k][0](*found.T)) / tables[k][1](*found.T) for k in (0, 1)]
    complete = _completeness(place @ inverse, seen)
    return Trends(
        to_shift, found, np.stack(off, axis=1), _table(nodes, inverse, complete),
        (first_bias, second_bias), (first_scatter, second_scatter), faintest,
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


def _nodes(place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spaced nodes in color and magnitude."""
    axes = []
    for low, high in zip(place.min(axis=0), place.max(axis=0), strict=True):
        number = int(np.clip(np.ceil((high - low) / _STEP), 1, _MOST_NODES - 1)) + 1
        axes.append(np.linspace(low, max(high, low + 1e-3), number))
    return axes[0], axes[1]


def _table(
    nodes: tuple[np.ndarray, np.ndarray],
    inverse: np.ndarray,
    function: Callable[[np.ndarray], np.ndarray],
) -> PlaneTable:
    """Table over color and magnitude of a function of places (N, 2) in the two coordinates."""
    places = np.stack(np.meshgrid(*nodes), axis=-1).reshape(-1, 2)
    value = function(places @ inverse)
    return PlaneTable(*nodes, value.reshape(nodes[1].size, nodes[0].size))


def _trends_of(
    at: np.ndarray,
    patches: np.ndarray,
    shift: np.ndarray,
    step: float,
    inverse: np.ndarray,
    nodes: tuple[np.ndarray, np.ndarray],
) -> tuple[PlaneTable, PlaneTable]:
    """Bias and scatter of shifts (N,) of recovered stars at places (N, 2) in the coordinates.

    Patches have medians and scatters of shifts in units of the scatter at each star, so that a
    patch may be as long as the scatter grows.
    """
    centers = at[patches].mean(axis=1)
    limits = np.quantile(at, [_OUTMOST, 1.0 - _OUTMOST], axis=0)
    n_star = patches.shape[1]
    scale = np.ones(len(at))
    for _ in range(_N_TREND):
        unit = np.exp(np.log(scale[patches]).mean(axis=1))
        part = shift[patches] / scale[patches]
        middle = center(part * unit[:, None], step) / unit
        bias = fit_values(centers, middle, _VARIANCE_CENTER / n_star, limits)
        off = (part - bias(at)[patches]) * unit[:, None]
        found = np.maximum(scatter(off, step), SIGMA_FLOOR)
        width = fit_values(centers, np.log(found), _VARIANCE_SCATTER / n_star, limits)
        scale = np.exp(width(at))
    return (
        _table(nodes, inverse, lambda places: bias(places) * np.exp(width(places))),
        _table(nodes, inverse, lambda places: np.exp(width(places))),
    )


def _patches(at: np.ndarray) -> np.ndarray:
    """Indices (P, K) of stars at places (N, 2) near each other, each in one patch or in none."""
    patches = [np.arange(len(at))]
    while len(patches[0]) >= 2 * _PATCH:
        halves = []
        for members in patches:
            longest = int(np.argmax(np.ptp(at[members], axis=0)))
            order = members[np.argsort(at[members, longest], kind="stable")]
            halves += [order[: order.size // 2], order[order.size // 2 :]]
        patches = halves
    size = min(len(members) for members in patches)
    return np.stack([members[:size] for members in patches])


def _completeness(at: np.ndarray, seen: np.ndarray) -> PlaneFit:
    """Chance that stars at places (N, 2) in the two coordinates are recovered."""
    _, group = np.unique(np.floor(at / _TOGETHER), axis=0, return_inverse=True)
    group = group.ravel()
    number = np.bincount(group).astype(float)
    mean = np.stack([np.bincount(group, column) / number for column in at.T], axis=1)
    found = np.bincount(group, seen)
    return fit_chance(mean, number, found, np.stack([at.min(axis=0), at.max(axis=0)]))


def _position(values: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the node below and the fraction of the way to the next, held to the grid."""
    at = np.clip((values - nodes[0]) / (nodes[1] - nodes[0]), 0.0, nodes.size - 1.0)
    index = np.minimum(at.astype(np.int64), nodes.size - 2)
    return index, at - index
