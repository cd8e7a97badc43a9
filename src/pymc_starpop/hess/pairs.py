"""Binaries of which both stars are seen, in cells of nearly equal magnitudes."""

from typing import Any

import numpy as np

from pymc_starpop.hess.binaries import MassRatioBinaries
from pymc_starpop.hess.cell_grid import cell_grid
from pymc_starpop.hess.isochrone_points import Pieces, PieceSize, Track
from pymc_starpop.hess.systems import LONGEST_MAG, Cells, Population, single_density
from pymc_starpop.kernels.hess_cells import group_moments, group_pieces
from pymc_starpop.kernels.hess_companions import merge_pieces
from pymc_starpop.kernels.hess_deposit import CUT
from pymc_starpop.kernels.hess_pairs import (
    BY_STAR,
    BY_SYSTEM,
    cell_moments,
    gather_pairs,
    moment_sums,
)

__all__ = ["binary_cells"]

# Longest groups of primaries, and the largest change of a system within a run of companions, in
# standard deviations of the photometry, the bands added in quadrature. A Gaussian of their own
# covariance stands for each. Where the density is smooth, ripples of 2e-5 of it are left of runs of
# 1.4 standard deviations, of which next to nothing is left over all primaries. Groups of primaries
# are also the cells of single stars. Runs are longer where all is scattered once more: the total
# error of templates from artificial stars is the same with 1.4.
_PRIMARY_LENGTH, _COMPANION_LENGTH, _COMPANION_BEFORE_SCATTER = 1.0, 1.0, 2.0
# Errors below this part of a bin need no shorter groups and runs.
_LEAST_OF_BIN = 0.2
# Systems that lie within this many standard deviations of their primaries are added to these.
_NEAR = 0.5
# Parts of the total mass by which it may change in a run of companions: with two nodes its factor
# is good to 5e-5.
_GROWTH = 0.15
# Nodes of the table over magnitude.
_N_MAG = 512
# A piece of secondaries that holds less than this of all stars is not split further: evolved stars
# have companions of the main sequence, and two evolved stars are rare.
_LEAST_SHARE = 3e-6
# Pairs of one primary with less than this of all systems are not told apart; the second number
# where all is scattered once more.
_LEAST_PAIRS, _LEAST_PAIRS_BEFORE_SCATTER = 3e-11, 1e-10
# A pair of equal stars is this much brighter than one of them.
_EQUAL_PAIR = 2.5 * np.log10(2.0)


def binary_cells(population: Population, track: Track) -> Cells:
    """Return the cells of all systems, among them binaries of which both stars are seen.

    Systems that lie next to their primaries share cells with single stars.

    Parameters
    ----------
    population : Population
        With a binary model whose fraction is above 0.
    track : Track
        The isochrone.
    """
    floor = _LEAST_OF_BIN * population.least_bin
    size = population.piece_size(_PRIMARY_LENGTH, floor)
    pieces = track.split(size, population.mass_table)
    group = group_pieces(pieces.length, pieces.joined)
    primaries = _primaries(population, pieces, group)
    table = _scale_table(population, track)
    chosen = _in_reach(population, pieces, primaries, table, float(np.abs(track.bias).max()))
    singles = moment_sums(*_singles(population, track, pieces, group))
    mass, factor, mag, spread, limits = (np.ascontiguousarray(array[chosen]) for array in primaries)
    step = population.total_scatter * np.maximum(_scale_at(table, mag - _EQUAL_PAIR), floor)
    scattered = population.total_scatter >= 2.0
    length = _COMPANION_BEFORE_SCATTER if scattered else _COMPANION_LENGTH
    least = _LEAST_PAIRS_BEFORE_SCATTER if scattered else _LEAST_PAIRS
    step = length * np.minimum(step, 1.5 * LONGEST_MAG)
    companions = _companions(population, track, size)
    law = _law(population)
    grid = cell_grid(population, track)
    sums = gather_pairs(
        (mass, factor, mag, spread, limits, step, _least_factor(law, mass, factor, least)),
        companions,
        merge_pieces(companions),
        law,
        tuple(map(tuple, population.matrix.tolist())),
        grid,
        (_GROWTH, _NEAR / length),
        np.zeros(int(grid[-1][-1] + grid[-2][-1]), dtype=np.int32),
        singles[chosen],
    )
    return Cells(*cell_moments(sums[sums[:, 0] > 0.0], track.mag.shape[2]))


def _singles(
    population: Population, track: Track, pieces: Pieces, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weight, mean and covariance of systems of which one star is seen, for each group."""
    density = single_density(population, pieces.node_mass, track.mass_range)
    return group_moments(group, pieces.node_width * density, pieces.node_mag)


def _law(population: Population) -> tuple[Any, ...]:
    """What a pair weighs besides a factor of each star, as `gather_pairs` takes it.

    For a law of mass ratios that is xi(M) M of the total mass M, for random pairs nothing.
    """
    if isinstance(population.binaries, MassRatioBinaries):
        return BY_SYSTEM, *population.system_table
    return BY_STAR, 0.0, 1.0, np.ones(2)


def _least_factor(
    law: tuple[Any, ...], mass: np.ndarray, factor: np.ndarray, least: float
) -> np.ndarray:
    """Sum of the factors of companions that gives `least` pairs, for each primary (N,)."""
    kind, start, step, values = law
    if kind == BY_SYSTEM:
        factor = factor * np.interp(np.log(mass), start + step * np.arange(values.size), values)
    return least / np.maximum(factor, 1e-300)


def _companions(population: Population, track: Track, size: PieceSize) -> tuple[Any, ...]:
    """Companions as `merge_pieces` takes them."""
    pieces = track.split(size, population.mass_table, least_share=_LEAST_SHARE)
    if isinstance(population.binaries, MassRatioBinaries):
        return pieces.mass, pieces.mag, float(population.binaries.slope), (0.0, 1.0, np.ones(2))
    return pieces.mass, pieces.mag, 0.0, population.mass_table


def _primaries(population: Population, pieces: Pieces, group: np.ndarray) -> tuple[np.ndarray, ...]:
    """Groups of primaries (G,): mass, factor, magnitudes, their spread, range of secondaries."""
    imf, binaries = population.imf, population.binaries
    if isinstance(binaries, MassRatioBinaries):
        # p(M2 / M1) xi(M1 + M2) (M1 + M2) / M1^2; what depends on M2 follows later.
        factor = binaries.fraction * float(binaries.mass_ratio_density(1.0))
        number = factor * pieces.node_mass ** (-binaries.slope - 2.0)
    else:
        # Two stars are drawn alike, and the secondary is the less massive one.
        number = 2.0 * binaries.fraction / population.norm * imf.density(pieces.node_mass)
    points = np.concatenate([pieces.node_mass[..., None], pieces.node_mag], axis=2)
    number, mean, spread = group_moments(group, pieces.node_width * number, points)
    mass = mean[:, 0]
    if isinstance(binaries, MassRatioBinaries):
        low = np.maximum(binaries.mass_ratio_min * mass, imf.mass_min - mass)
        limits = np.stack([low, np.minimum(mass, imf.mass_max - mass)], axis=1)
    else:
        limits = np.stack([np.zeros(mass.shape), mass], axis=1)
    return mass, number, mean[:, 1:], spread, limits


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
    mass1, mag1 = primaries[0], primaries[2][:, band]
    # The brightest companion that is not more massive.
    order = np.argsort(pieces.mass[0])
    brightest = np.minimum.accumulate(pieces.mag[:, :, band].min(axis=0)[order])
    index = np.searchsorted(pieces.mass[0][order], mass1, side="right") - 1
    companion = brightest[np.maximum(index, 0)]
    # A group is no longer than this.
    faint, bright = mag1 + LONGEST_MAG, np.minimum(mag1, companion) - LONGEST_MAG - _EQUAL_PAIR
    start, step, sigma = table
    grid = start + step * np.arange(sigma.shape[1])
    reach = np.maximum(np.interp(faint, grid, sigma[band]), np.interp(bright, grid, sigma[band]))
    reach = 1.2 * CUT * reach + bias
    return (faint + reach > axes.mag_edges[0]) & (bright - reach < axes.mag_edges[-1])
