"""Binaries of which both stars are seen, in cells of nearly equal magnitudes."""

from typing import Any

import numpy as np

from pymc_starpop.hess.binaries import MassRatioBinaries
from pymc_starpop.hess.cell_grid import cell_grid
from pymc_starpop.hess.isochrone_points import Pieces, PieceSize, Track
from pymc_starpop.hess.systems import LONGEST_MAG, Cells, Population
from pymc_starpop.kernels.hess_cells import group_pieces
from pymc_starpop.kernels.hess_deposit import CUT
from pymc_starpop.kernels.hess_pairs import (
    BY_STAR,
    BY_SYSTEM,
    cell_moments,
    gather_pairs,
    merge_pieces,
)

__all__ = ["pair_cells_of"]

# Longest groups of primaries, and the largest change of a system within a run of companions, in
# standard deviations of the photometry, the bands added in quadrature. Two stars stand for each.
# Where the density is smooth, two stars per 2 sigma / sqrt(2) leave ripples of 3e-4 of it, of which
# next to nothing is left over all primaries.
_PRIMARY_LENGTH, _COMPANION_LENGTH = 1.0, 2.0
# Errors below this part of a bin need no shorter groups and runs.
_LEAST_OF_BIN = 0.2
# Logarithm of the largest ratio of masses in a run: two nodes integrate m^-2.3 to 2e-5.
_LONGEST_LN_MASS = 0.15
# Nodes of the tables over mass and over magnitude.
_N_MASS, _N_MAG = 4096, 512
# A piece of secondaries that holds less than this of all stars is not split further: evolved stars
# have companions of the main sequence, and two evolved stars are rare.
_LEAST_SHARE = 3e-6
# Pairs of one primary with less than this of all systems are not told apart.
_LEAST_PAIRS = 1e-10
# A pair of equal stars is this much brighter than one of them.
_EQUAL_PAIR = 2.5 * np.log10(2.0)


def pair_cells_of(population: Population, track: Track) -> Cells:
    """Return the cells of all binaries of which both stars are seen.

    Parameters
    ----------
    population : Population
        With a binary model whose fraction is above 0.
    track : Track
        The isochrone.
    """
    floor = _LEAST_OF_BIN * population.least_bin
    size = PieceSize(_PRIMARY_LENGTH * population.total_scatter, LONGEST_MAG, floor)
    pieces = track.split(size, population.imf)
    companions = track.split(size, population.imf, least_share=_LEAST_SHARE)
    table = _scale_table(population, track)
    law = _law(population, track)
    primaries = _primaries(population, pieces)
    near = _in_reach(population, pieces, primaries, table, float(np.abs(track.bias).max()))
    mass, factor, mag, low, high = (
        np.ascontiguousarray(array[near]).reshape(-1, *array.shape[2:]) for array in primaries
    )
    tree, factor2, slope, factor_table = _companions(population, track, companions)
    step = population.total_scatter * np.maximum(_scale_at(table, mag - _EQUAL_PAIR), floor)
    step = _COMPANION_LENGTH * np.minimum(step, 1.5 * LONGEST_MAG)
    least = _least_factor(law, mass, factor)
    grid = cell_grid(population, track)
    n_band, n_cell = track.mag.shape[2], int(grid[-1][-1] + grid[-2][-1])
    sums = np.zeros((n_cell, 1 + 2 * n_band + n_band * (n_band + 1) // 2))
    touched = np.empty(n_cell, dtype=np.int64)
    n = gather_pairs(
        (mass, factor, mag, np.stack([low, high], axis=1), step, least),
        (companions.mass, companions.mag, slope, factor_table),
        (*tree, factor2),
        law,
        population.matrix,
        grid,
        sums,
        touched,
    )
    return Cells(*cell_moments(sums, touched[:n], n_band))


def _law(population: Population, track: Track) -> tuple[Any, ...]:
    """What a pair weighs besides a factor of each star, as `gather_pairs` takes it.

    For a law of mass ratios that is xi(M) M of the total mass M, for random pairs nothing.
    """
    if isinstance(population.binaries, MassRatioBinaries):
        start, step, density = _mass_table(population, track)
        return BY_SYSTEM, start, step, density * np.exp(start + step * np.arange(density.size))
    return BY_STAR, 0.0, 1.0, np.ones(2)


def _mass_table(population: Population, track: Track) -> tuple[float, float, np.ndarray]:
    """Mass function over all systems, 1/Msun, as a table over the logarithm of mass."""
    low, high = track.mass_range
    log_mass = np.linspace(np.log(low), np.log(2.0 * high), _N_MASS)
    density = population.imf.density(np.exp(log_mass)) / population.norm
    return float(log_mass[0]), float(log_mass[1] - log_mass[0]), density


def _least_factor(law: tuple[Any, ...], mass: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Sum of the factors of companions that gives `_LEAST_PAIRS`, for each primary (N,)."""
    kind, start, step, values = law
    if kind == BY_SYSTEM:
        factor = factor * np.interp(np.log(mass), start + step * np.arange(values.size), values)
    return _LEAST_PAIRS / np.maximum(factor, 1e-300)


def _companions(
    population: Population, track: Track, pieces: Pieces
) -> tuple[tuple[np.ndarray, ...], np.ndarray, float, tuple[float, float, np.ndarray]]:
    """Tree of companions, the integral for each of its nodes, and the factor in closed form."""
    tree = merge_pieces(pieces.mass, pieces.mag, pieces.joined, _LONGEST_LN_MASS)
    ends, node_mass = tree[1:3]
    width = 0.5 * (ends[:, 1] - ends[:, 0])[:, None]
    if isinstance(population.binaries, MassRatioBinaries):
        slope = float(population.binaries.slope)
        return tree, width * node_mass**slope, slope, (0.0, 1.0, np.ones(2))
    factor = population.imf.density(node_mass) / population.norm
    return tree, width * factor, 0.0, _mass_table(population, track)


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


def _two_stars_each(
    pieces: Pieces, number: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mass (G, 2), magnitudes (G, 2, B) and number (G, 2) of two stars for each group of pieces.

    Along the isochrone they have the first four moments of the stars of the group: the Gaussian
    quadrature of two nodes. Their mean magnitudes are those of the stars, along a bend too.
    """
    group = group_pieces(pieces.length, pieces.joined & ~_turns_back(pieces))
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
    weighted = (number[..., None] * pieces.node_mag).sum(axis=1)
    true = np.add.reduceat(weighted, starts) / count[:, None]
    mag += (true - (share[..., None] * mag).sum(axis=1))[:, None]
    return mass, mag, count[:, None] * share


def _turns_back(pieces: Pieces) -> np.ndarray:
    """Whether magnitudes turn back from one piece (P,) to the next: no group holds both."""
    step = pieces.mag[1] - pieces.mag[0]
    turns = np.zeros(len(step), dtype=bool)
    turns[1:] = (step[1:] * step[:-1]).sum(axis=1) < 0.0
    return turns


def _scale_table(population: Population, track: Track) -> tuple[float, float, np.ndarray]:
    """Errors (B, K) on even magnitudes, as along the isochrone: their start, step and values."""
    n_band = track.mag.shape[2]
    mag, sigma = track.mag.reshape(-1, n_band), track.sigma.reshape(-1, n_band)
    grid = np.linspace(mag.min() - _EQUAL_PAIR, mag.max(), _N_MAG)
    order = np.argsort(mag, axis=0)
    values = [np.interp(grid, mag[order[:, b], b], sigma[order[:, b], b]) for b in range(n_band)]
    floored = np.maximum(np.array(values), population.least_sigma)
    return float(grid[0]), float(grid[1] - grid[0]), floored


def _scale_at(table: tuple[float, float, np.ndarray], mag: np.ndarray) -> np.ndarray:
    """Errors (N, B) at magnitudes (N, B), from the table."""
    start, step, sigma = table
    grid = start + step * np.arange(sigma.shape[1])
    return np.stack([np.interp(m, grid, s) for m, s in zip(mag.T, sigma, strict=True)], axis=1)


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
