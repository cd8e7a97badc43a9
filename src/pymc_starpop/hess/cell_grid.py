"""A grid of cells over color and magnitude in which binaries are gathered.

Cells are short against the photometric errors, or against the bins where these are wider. There
they are fractions of bins, so that a cell lies in one bin: what a Gaussian in its place takes
across an edge, its neighbor on the other side brings back.
"""

from typing import Any

import numpy as np

from pymc_starpop.hess.isochrone_points import Track
from pymc_starpop.hess.systems import LONGEST_MAG, Population
from pymc_starpop.kernels.hess_cells import cell_rows
from pymc_starpop.kernels.hess_deposit import CUT

__all__ = ["cell_grid"]

# Longest cells in standard deviations of the photometry, and errors, in parts of a bin, below which
# they need not be shorter.
CELL_LENGTH = 0.55
LEAST_OF_BIN = 0.65
# Points of the table of errors over magnitude.
_N_MAG = 512
_EQUAL_PAIR = 2.5 * np.log10(2.0)


def cell_grid(population: Population, track: Track) -> tuple[Any, ...]:
    """Return the grid for the systems of an isochrone, as `kernels.hess_pairs.cell_of` takes it."""
    axes = population.axes
    bins = [float(np.diff(edges).min()) for edges in (axes.color_edges, axes.mag_edges)]
    mag, scales, reach = _scales(population, track)
    low, high = population.limits
    # What lies farther outside does not arrive in the axes, and a pair is not redder, bluer or
    # fainter than both of its stars.
    at = (track.mag @ population.matrix.T).reshape(-1, 2)
    lowest, highest = at.min(axis=0) - [1e-6, _EQUAL_PAIR + 1e-6], at.max(axis=0) + 1e-6
    first = np.floor((np.maximum(low - reach, lowest) - low) / bins)
    last = np.ceil((np.minimum(high + reach, highest) - low) / bins)
    n_color, n_mag = np.maximum(last - first, 1.0).astype(np.int64)
    color_start, mag_start = low + first * bins
    strips = mag_start + bins[1] * np.arange(n_mag + 1)
    size = np.stack([np.interp(strips, mag, scale) for scale in scales])
    size = np.minimum(size[:, 1:], size[:, :-1])
    floor = LEAST_OF_BIN * np.array(bins)[:, None]
    size = CELL_LENGTH * population.total_scatter * np.maximum(size, floor)
    size = np.minimum(size, 1.5 * LONGEST_MAG)
    row, parts, width = cell_rows(size[0], size[1], bins[0], bins[1])
    n_in_row = np.ceil(n_color * bins[0] / width - 1e-9).astype(np.int64)
    start = np.cumsum(n_in_row) - n_in_row
    origin = float(color_start), float(mag_start)
    return *origin, 1.0 / bins[1], row, parts, 1.0 / width, n_in_row, start


def _scales(
    population: Population, track: Track
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Errors of color and magnitude as tables over the magnitude, and what they reach (2,)."""
    matrix = population.matrix
    n_band = track.mag.shape[2]
    sigma = track.sigma.reshape(-1, n_band)
    at = track.mag.reshape(-1, n_band) @ matrix[1]
    # The magnitude of a star fixes that of one band; the color scatters at fixed magnitude.
    color = np.sqrt(np.square(sigma) @ np.where(matrix[1] != 0.0, 0.0, np.square(matrix[0])))
    mag = np.sqrt(np.square(sigma) @ np.square(matrix[1]))
    order = np.argsort(at)
    grid = np.linspace(at[order[0]] - _EQUAL_PAIR, at[order[-1]], _N_MAG)
    scales = [np.interp(grid, at[order], values[order]) for values in (color, mag)]
    full = np.sqrt(np.square(sigma) @ np.square(matrix).T).max(axis=0)
    bias = np.abs(track.bias.reshape(-1, n_band) @ matrix.T).max(axis=0)
    return grid, scales, np.minimum(1.2 * CUT * full + bias, 20.0)
