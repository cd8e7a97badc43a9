"""Binaries of which both stars are seen, in cells of nearly equal magnitudes."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from pymc_starpop.hess.binaries import MassRatioBinaries
from pymc_starpop.hess.isochrone_points import Pieces, Track
from pymc_starpop.hess.systems import LONGEST_MAG, Cells, Population
from pymc_starpop.kernels.hess_cells import BY_STAR, BY_SYSTEM, group_pieces, pair_cells
from pymc_starpop.kernels.hess_deposit import CUT

__all__ = ["pair_cells_of"]

# Longest groups of primaries and longest cells, in standard deviations of the photometry.
_PRIMARY_LENGTH, _CELL_LENGTH = 1.0, 1.0
# Nodes of the tables over mass and over magnitude.
_N_MASS, _N_MAG = 4096, 512
# A piece of secondaries that holds less than this of all stars is not split further: evolved stars
# have companions of the main sequence, and two evolved stars are rare.
_LEAST_SHARE = 1e-5
# Cells in memory at once.
_CAPACITY = 65_536
# A pair of equal stars is this much brighter than one of them.
_EQUAL_PAIR = 2.5 * np.log10(2.0)
_LN_FLUX = 0.4 * np.log(10.0)


def pair_cells_of(population: Population, track: Track) -> Iterator[Cells]:
    """Yield the cells of all binaries of which both stars are seen.

    Parameters
    ----------
    population : Population
        With a binary model whose fraction is above 0.
    track : Track
        The isochrone.
    """
    size = population.size(_PRIMARY_LENGTH)
    pieces = track.split(size, population.imf)
    companions = track.split(size, population.imf, least_share=_LEAST_SHARE)
    table = _scale_table(population, track)
    law = _law(population, track)
    primaries = _primaries(population, pieces)
    reach = (table, float(np.abs(track.bias).max()))
    near = _in_reach(population, pieces, primaries, *reach)
    primaries = tuple(np.ascontiguousarray(array[near]) for array in primaries)
    secondaries = _secondaries(population, companions)
    start, step, sigma = table
    scales = (start, step, _CELL_LENGTH * sigma, 1.5 * LONGEST_MAG)
    n_band, n_group = track.mag.shape[2], len(primaries[0])
    capacity = max(_CAPACITY, 2 * (companions.length.size + 1))
    first = 0
    while first < n_group:
        weight, mean = np.empty(capacity), np.empty((capacity, n_band))
        covariance = np.empty((capacity, n_band, n_band))
        n, first = pair_cells(primaries, secondaries, law, scales, first, weight, mean, covariance)
        yield Cells(weight[:n], mean[:n], covariance[:n])


def _law(population: Population, track: Track) -> tuple[Any, ...]:
    """What a pair weighs besides a factor of each star, as `pair_cells` takes it.

    For a law of mass ratios that is xi(M) M of the total mass M, for random pairs nothing. The
    table is over the logarithm of mass.
    """
    low, high = track.mass_range
    log_mass = np.linspace(np.log(low), np.log(2.0 * high), _N_MASS)
    values = population.imf.density(np.exp(log_mass)) / population.norm
    start, step = float(log_mass[0]), float(log_mass[1] - log_mass[0])
    if isinstance(population.binaries, MassRatioBinaries):
        slope = float(population.binaries.slope)
        return BY_SYSTEM, slope, start, step, values * np.exp(log_mass)
    return BY_STAR, 0.0, start, step, values


def _primaries(population: Population, pieces: Pieces) -> tuple[np.ndarray, ...]:
    """Two primaries for each group of pieces: mass, factor, magnitudes, range of secondaries."""
    imf, binaries = population.imf, population.binaries
    number = pieces.node_width * imf.density(pieces.node_mass)
    mass, mag, number = _two_stars_each(pieces, number)
    number *= binaries.fraction / population.norm
    if isinstance(binaries, MassRatioBinaries):
        # p(M2 / M1) xi(M1 + M2) (M1 + M2) / M1^2, where the number of primaries holds xi(M1).
        factor = number * float(binaries.mass_ratio_density(1.0)) * population.norm
        factor *= mass ** (-binaries.slope - 2.0) / imf.density(mass)
        lowest = np.maximum(binaries.mass_ratio_min * mass, imf.mass_min - mass)
        return mass, factor, mag, lowest, np.minimum(mass, imf.mass_max - mass)
    # Two stars are drawn alike, and the secondary is the less massive one.
    return mass, 2.0 * number, mag, np.zeros(mass.shape), mass


def _secondaries(population: Population, pieces: Pieces) -> tuple[np.ndarray, ...]:
    """Pieces of secondaries as `pair_cells` takes them."""
    mass = pieces.node_mass
    if isinstance(population.binaries, MassRatioBinaries):
        factor = mass**population.binaries.slope
    else:
        factor = population.imf.density(mass) / population.norm
    arrays = (*pieces.mass, *pieces.mag, factor, np.exp(-_LN_FLUX * pieces.node_mag))
    return tuple(np.ascontiguousarray(array) for array in arrays)


def _two_stars_each(
    pieces: Pieces, number: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mass (G, 2), magnitudes (G, 2, B) and number (G, 2) of two stars for each group of pieces.

    Along the isochrone they have the first four moments of the stars of the group: the Gaussian
    quadrature of two nodes.
    """
    group = group_pieces(pieces.length, pieces.joined)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    # Where all magnitudes stand still the mass still orders the stars.
    step = pieces.length + 1e-6 * (pieces.mass[1] / pieces.mass[0] - 1.0)
    begin = np.cumsum(step) - step
    nodes = np.array([0.5 - np.sqrt(1.0 / 12.0), 0.5 + np.sqrt(1.0 / 12.0)])
    along = begin[:, None] + nodes * step[:, None] - begin[starts][group][:, None]

    def total(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values.sum(axis=1), starts)

    count = total(number)
    mean = total(number * along) / count
    off = along - mean[group][:, None]
    variance, third = total(number * off**2) / count, total(number * off**3) / count
    skew = third / variance
    root = np.sqrt(skew**2 + 4.0 * variance)
    x = 0.5 * (skew[:, None] + np.stack([-root, root], axis=1))
    share = np.stack([x[:, 1], -x[:, 0]], axis=1) / root[:, None]
    at = begin[starts][:, None] + mean[:, None] + x
    piece = np.searchsorted(begin, at, side="right") - 1
    stops = np.append(starts[1:], group.size) - 1
    piece = np.clip(piece, starts[:, None], stops[:, None])
    t = np.clip((at - begin[piece]) / step[piece], 0.0, 1.0)
    low, high = pieces.mass
    mass = low[piece] + t * (high - low)[piece]
    mag = pieces.mag[0][piece] + t[..., None] * (pieces.mag[1] - pieces.mag[0])[piece]
    return mass, mag, count[:, None] * share


def _scale_table(population: Population, track: Track) -> tuple[float, float, np.ndarray]:
    """Errors (B, K) on even magnitudes, as along the isochrone: their start, step and values."""
    n_band = track.mag.shape[2]
    mag, sigma = track.mag.reshape(-1, n_band), track.sigma.reshape(-1, n_band)
    grid = np.linspace(mag.min() - _EQUAL_PAIR, mag.max(), _N_MAG)
    order = np.argsort(mag, axis=0)
    values = [np.interp(grid, mag[order[:, b], b], sigma[order[:, b], b]) for b in range(n_band)]
    floored = np.maximum(np.array(values), population.least_sigma)
    return float(grid[0]), float(grid[1] - grid[0]), floored


def _in_reach(
    population: Population,
    pieces: Pieces,
    primaries: tuple[np.ndarray, ...],
    table: tuple[float, float, np.ndarray],
    bias: float,
) -> np.ndarray:
    """Whether systems of a group of primaries (G,) can be scattered into the axes' magnitudes."""
    axes = population.axes
    band = axes.bands.index(axes.mag)
    mass1, mag1 = primaries[0].max(axis=1), primaries[2][..., band]
    # The brightest companion that is not more massive.
    order = np.argsort(pieces.mass[0])
    brightest = np.minimum.accumulate(pieces.mag[:, :, band].min(axis=0)[order])
    index = np.searchsorted(pieces.mass[0][order], mass1, side="right") - 1
    companion = brightest[np.maximum(index, 0)]
    faint, bright = mag1.max(axis=1), np.minimum(mag1.min(axis=1), companion) - _EQUAL_PAIR
    start, step, sigma = table
    grid = start + step * np.arange(sigma.shape[1])
    reach = np.maximum(np.interp(faint, grid, sigma[band]), np.interp(bright, grid, sigma[band]))
    reach = 1.2 * CUT * reach + bias
    return (faint + reach > axes.mag_edges[0]) & (bright - reach < axes.mag_edges[-1])
