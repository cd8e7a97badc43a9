"""From stars as they are to stars as they are found, by artificial stars.

The stars of a population go onto a fine grid of input color and magnitude, spread by a small part
of the photometric scatter, so that the grid and the artificial stars leave no ripples. For each
cell of that grid the artificial stars near it give the bins in which its stars are found: their
shifts are moved and scaled to the cell by smooth trends of bias and scatter (less what the small
spread has done already), and the completeness is smooth too. Bias, wings and the correlation of
color and magnitude are those of the artificial stars.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from pymc_starpop.hess.artificial_stars import ArtificialStars
from pymc_starpop.hess.ast_curves import BRIGHT_WARNING, BandCurve, band_curves
from pymc_starpop.hess.ast_trends import SIGMA_FLOOR, Trends, measure_trends, pools_of
from pymc_starpop.hess.axes import HessAxes
from pymc_starpop.hess.errors import ErrorModel
from pymc_starpop.kernels.hess_transfer import apply_transfer, transfer_rows

__all__ = ["FEW_STARS", "TOTAL_SCATTER", "Transfer", "build_transfer"]

FEW_STARS = 10
_LEAST_COUNT = 1e-4  # part of the fullest bin below which bins do not count

# The part of the scatter by which stars are spread before they are moved.
_SPREAD = 0.35
#: All scatter in units of that spread, 1 / 0.35: longer cells change 8e-5 of a template.
TOTAL_SCATTER = 2.8
# Cells: a part of the scatter, but no less than a part of a bin, and no more than this (mag).
_CELL, _CELL_OF_BIN, _WIDEST = 0.35, 0.25, 0.1
_LEAST_SPREAD = 0.2  # smallest spread, in cells
_PER_CELL = 400  # artificial stars that one cell takes; its neighbors take others near it
# Slopes of the completeness are taken over twice this (mag), down to this completeness.
_SLOPE_STEP, _LEAST_COMPLETE = 0.1, 1e-4
# Part of the artificial stars in the axes that may come from beyond the grid.
_BEYOND = 2e-4
_EDGE = 4.0  # standard deviations from which stars beyond the axes come at least

_PACKAGE = str(Path(__file__).parents[1])


@dataclass(frozen=True, eq=False)
class Transfer:
    """Probability that a star of an input cell is found in a bin of a Hess diagram.

    Attributes
    ----------
    axes : HessAxes
        The bins.
    grid : HessAxes
        Fine grid of input color and magnitude.
    errors : ErrorModel
        Small errors with which a population is put on the grid, without loss or bias.
    group : ndarray of int (N_mag, N_color)
        Cell of each place of the grid: where errors are large, places share a cell.
    start, column, value : ndarray
        The matrix, cells by bins, in compressed rows.
    n_near : ndarray of int (N_mag, N_color)
        Artificial stars that were found in a bin, or within the scatter of its center.
    brightest : float
        Input magnitude of the brightest artificial star.
    description : str
        What was used, for the record.
    """

    axes: HessAxes
    grid: HessAxes
    errors: ErrorModel
    group: np.ndarray
    start: np.ndarray
    column: np.ndarray
    value: np.ndarray
    n_near: np.ndarray
    brightest: float
    description: str

    def apply(self, number: np.ndarray) -> np.ndarray:
        """Return what is found in the bins (..., N_mag, N_color) of stars on the grid.

        Several templates at a time share the way through the matrix.
        """
        group, n_cell = self.group.ravel(), self.start.size - 1
        cells = np.stack(
            [
                np.bincount(group, weights=one, minlength=n_cell)
                for one in number.reshape(-1, group.size)
            ]
        )
        counts = np.zeros((cells.shape[0], self.axes.shape[0] * self.axes.shape[1]))
        apply_transfer(self.start, self.column, self.value, cells, counts)
        return counts.reshape(*number.shape[:-2], *self.axes.shape)

    @cached_property
    def matrix(self) -> sparse.csr_array:
        """The matrix, cells by bins."""
        shape = self.start.size - 1, self.axes.shape[0] * self.axes.shape[1]
        return sparse.csr_array((self.value, self.column, self.start), shape=shape)

    def few_stars(self, counts: np.ndarray) -> tuple[float, float]:
        """Return the part of the bins, and of the stars in them, with few artificial stars.

        Parameters
        ----------
        counts : ndarray (N_mag, N_color)
            Expected stars. Bins with less than 1e-4 of the fullest do not count.
        """
        reached = counts > _LEAST_COUNT * counts.max() if counts.size else counts > 0
        few = reached & (self.n_near < FEW_STARS)
        total = counts[reached].sum()
        if not total > 0.0:
            return 0.0, 0.0
        return float(few.sum() / reached.sum()), float(counts[few].sum() / total)

    def warn_if_bright(self, counts: np.ndarray) -> None:
        """Warn where bins (..., N_mag, N_color) that stars are in are far from artificial stars."""
        bright = self.axes.mag_edges[1:] < self.brightest - BRIGHT_WARNING
        if (counts[..., bright, :] > _LEAST_COUNT * counts.max()).any():
            warnings.warn(
                f"the brightest artificial stars, {self.brightest:.2f} mag in {self.axes.mag}, "
                f"stand for stars that are more than {BRIGHT_WARNING:g} mag brighter.",
                skip_file_prefixes=(_PACKAGE,),
            )


def build_transfer(stars: ArtificialStars, axes: HessAxes) -> Transfer:
    """Measure the transfer to the bins of a Hess diagram.

    Parameters
    ----------
    stars : ArtificialStars
        In the bands of the axes, at least.
    axes : HessAxes

    Raises
    ------
    ValueError
        For a band that is missing, and too few recovered stars.
    """
    stars = stars.select_bands(axes.bands)
    trends = measure_trends(stars, axes)
    grid, merged = _grid(trends, stars, axes)
    finest = min(float(np.diff(e).min()) for e in (grid.color_edges, grid.mag_edges))
    curves = [_small_errors(stars, band, _LEAST_SPREAD * finest) for band in axes.bands]
    group, cells, places = _cells(grid, merged)
    values = _cell_values(trends, curves, axes, places)
    pool_of, pools = pools_of(trends, places)
    start, column, value = transfer_rows(
        np.concatenate([cells, values], axis=1), pool_of, pools,
        max(round(pools.shape[1] / _PER_CELL), 1), trends.residual, trends.to_shift,
        axes.color_edges.copy(), axes.mag_edges.copy(),
    )  # fmt: skip
    brightest = float(stars.mag[:, axes.bands.index(axes.mag)].min())
    return Transfer(
        axes=axes, grid=grid, errors=ErrorModel(dict(zip(axes.bands, curves, strict=True))),
        group=group, start=start, column=column, value=value,
        n_near=_near_each_bin(trends, stars, axes), brightest=brightest,
        description=f"{stars!r}, {pools.shape[1]} of them a cell",
    )  # fmt: skip


def _scatters(trends: Trends, color: np.ndarray, mag: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scatter of color and of magnitude at places of one shape, without their wings."""
    squares = [np.square(table(color, mag)) for table in trends.scatter]
    first, second = (
        np.sqrt(row[0] ** 2 * squares[0] + row[1] ** 2 * squares[1]) for row in trends.to_shift
    )
    return first, second


def _range(trends: Trends, stars: ArtificialStars, axes: HessAxes) -> np.ndarray:
    """First and last (2, 2) color and magnitude from which stars get into the axes."""
    edges = axes.color_edges, axes.mag_edges
    seen = stars.recovered.all(axis=1)
    out = trends.place + (stars.shift[seen] @ axes.matrix().T)
    inside = np.all([(out[:, k] > e[0]) & (out[:, k] < e[-1]) for k, e in enumerate(edges)], axis=0)
    limits = np.array([[e[0] for e in edges], [e[-1] for e in edges]])
    # Scatter along the edges.
    corners = np.stack(np.meshgrid(*(np.linspace(e[0], e[-1], 50) for e in edges)), axis=-1)
    for k, s in enumerate(_scatters(trends, corners[..., 0], corners[..., 1])):
        first, last = (s[:, 0], s[:, -1]) if k == 0 else (s[0], s[-1])
        limits[0, k] -= _EDGE * float(np.median(first))
        limits[1, k] += _EDGE * float(np.median(last))
    if inside.sum() > 10:
        come = np.quantile(trends.place[inside], [_BEYOND, 1.0 - _BEYOND], axis=0)
        limits = np.stack([np.minimum(limits[0], come[0]), np.maximum(limits[1], come[1])])
    return limits


def _grid(trends: Trends, stars: ArtificialStars, axes: HessAxes) -> tuple[HessAxes, np.ndarray]:
    """Fine grid, and how many of its colors share a cell, for each of its magnitudes."""
    limits = _range(trends, stars, axes)
    bins = [float(np.diff(e).min()) for e in (axes.color_edges, axes.mag_edges)]
    # The smallest scatter at any color, as a function of magnitude.
    mag = np.linspace(limits[0, 1], limits[1, 1], 400)
    color = np.linspace(limits[0, 0], limits[1, 0], 40)
    least = [s.min(axis=1) for s in _scatters(trends, *np.meshgrid(color, mag))]
    sizes = [
        np.clip(_CELL * s, min(_CELL_OF_BIN * b, _WIDEST), _WIDEST)
        for s, b in zip(least, bins, strict=True)
    ]
    edges = [limits[0, 1]]
    while edges[-1] < limits[1, 1]:
        edges.append(edges[-1] + float(np.interp(edges[-1], mag, sizes[1])))
    step = float(sizes[0].min())
    n_color = int(np.ceil((limits[1, 0] - limits[0, 0]) / step))
    colors = limits[0, 0] + step * np.arange(n_color + 1)
    grid = HessAxes(axes.color, axes.mag, colors, np.array(edges))
    wide = np.interp(grid.coords()["mag"], mag, sizes[0])
    return grid, np.maximum((wide / step * (1.0 + 1e-9)).astype(np.int64), 1)


def _cells(grid: HessAxes, merged: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cell of each place of the grid; centers and half widths (N, 4); and the centers (N, 2)."""
    n_mag, n_color = grid.shape
    column = np.arange(n_color) // merged[:, None]
    per_row = column[:, -1] + 1
    first = np.cumsum(per_row) - per_row
    group = first[:, None] + column
    row = np.repeat(np.arange(n_mag), per_row)
    start = (np.arange(row.size) - first[row]) * merged[row]
    stop = np.minimum(start + merged[row], n_color)
    low, high = grid.color_edges[start], grid.color_edges[stop]
    mag, size = grid.coords()["mag"][row], np.diff(grid.mag_edges)[row]
    cells = np.stack([0.5 * (low + high), mag, 0.5 * (high - low), 0.5 * size], axis=1)
    return group, cells, cells[:, :2]


@dataclass(frozen=True, eq=False)
class _SmallErrors:
    """A part of the scatter of one band as a function of its magnitude."""

    curve: BandCurve
    least: float

    def __call__(self, mag: Any) -> np.ndarray:
        return np.maximum(_SPREAD * self.curve(mag), self.least)


def _small_errors(stars: ArtificialStars, band: str, least: float) -> _SmallErrors:
    noise, _, _ = band_curves(stars, band, None, None, SIGMA_FLOOR)
    return _SmallErrors(noise, least)


def _cell_values(
    trends: Trends, curves: list[_SmallErrors], axes: HessAxes, places: np.ndarray
) -> np.ndarray:
    """Completeness, bias and scale of the residuals in two coordinates, for each cell (N, 5)."""
    color, mag = places.T
    bias = [table(color, mag) for table in trends.bias]
    scatter = [table(color, mag) for table in trends.scatter]
    if len(axes.bands) == 2:
        coordinates = places @ np.linalg.inv(trends.to_shift).T
        spread = [curve(at) for curve, at in zip(curves, coordinates.T, strict=True)]
    else:
        spread = [
            np.maximum(_SPREAD * s, curves[0].least * factor)
            for s, factor in zip(scatter, (np.sqrt(2.0), 1.0), strict=True)
        ]
    # What the small spread has done is taken off; never all of it, or no wings were left.
    scale = [
        np.sqrt(np.maximum(s**2 - e**2, (0.3 * s) ** 2))
        for s, e in zip(scatter, spread, strict=True)
    ]
    # Stars that were spread to where more are found are found more often. Where the completeness is
    # nearly exponential over the spread, that is made good by a lower one and another bias.
    complete = trends.completeness_at(color, mag)
    for k, e in enumerate(spread):
        slope, bend = _log_slope(trends, places, k)
        complete = complete * np.exp(-0.5 * e**2 * bend)
        bias[k] = bias[k] - e**2 * slope
    return np.stack([complete, *bias, *scale], axis=1)


def _log_slope(trends: Trends, places: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivative of the completeness in one coordinate, over itself."""
    low, middle, high = (
        np.maximum(trends.completeness(*(places + at * trends.to_shift[:, k]).T), _LEAST_COMPLETE)
        for at in (-_SLOPE_STEP, 0.0, _SLOPE_STEP)
    )
    slope = (high - low) / (2.0 * _SLOPE_STEP * middle)
    return slope, (high - 2.0 * middle + low) / (_SLOPE_STEP**2 * middle)


def _near_each_bin(trends: Trends, stars: ArtificialStars, axes: HessAxes) -> np.ndarray:
    """Artificial stars found in each bin, or within the scatter of its center (N_mag, N_color)."""
    seen = stars.recovered.all(axis=1)
    out = trends.place + stars.shift[seen] @ axes.matrix().T
    centers = axes.coords()
    color, mag = np.meshgrid(centers["color"], centers["mag"])
    fine, half = [], []
    for edges, s in zip(
        (axes.color_edges, axes.mag_edges), _scatters(trends, color, mag), strict=True
    ):
        width = float(np.diff(edges).min())
        margin = float(s.max())
        fine.append(np.arange(edges[0] - margin, edges[-1] + margin + width, 0.25 * width))
        half.append(np.maximum(s, 0.5 * width))
    table = np.zeros((fine[1].size, fine[0].size))
    table[1:, 1:] = np.histogram2d(out[:, 1], out[:, 0], bins=(fine[1], fine[0]))[0]
    table = table.cumsum(axis=0).cumsum(axis=1)
    ends = [
        [np.clip(np.round((at + sign * h - f[0]) / (f[1] - f[0])), 0, f.size - 1).astype(np.int64)
         for sign in (-1.0, 1.0)]
        for at, h, f in zip((color, mag), half, fine, strict=True)
    ]  # fmt: skip
    (left, right), (bright, faint) = ends
    total = table[faint, right] - table[bright, right] - table[faint, left] + table[bright, left]
    return np.round(total).astype(np.int64)
