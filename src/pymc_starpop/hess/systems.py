"""The systems of a population, singles and binaries, in cells of nearly equal magnitudes.

Weights are numbers of systems relative to one system formed. A star outside the masses of the
isochrone gives no light, and its companion is seen alone.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pymc_starpop.hess.axes import HessAxes
from pymc_starpop.hess.binaries import BinaryModel, MassRatioBinaries, RandomBinaryPairs
from pymc_starpop.hess.errors import ErrorModel
from pymc_starpop.hess.isochrone_points import PieceSize, Track, isochrone_track
from pymc_starpop.kernels.hess_cells import group_moments, group_pieces
from pymc_starpop.kernels.hess_deposit import CUT
from pymc_starpop.kernels.mass_table import seen_alone
from pymc_starpop.population.imf import InitialMassFunction

__all__ = ["LONGEST_MAG", "Cells", "Population", "single_cells", "single_density"]

# Longest cells, in standard deviations of the photometry and in magnitudes (completeness and noise
# change over such lengths). Uniform over one standard deviation, a cell differs from a Gaussian by
# a fourth cumulant of 1/120, most of which neighbors cancel.
_LENGTH = 1.0
LONGEST_MAG = 0.1
# Errors below this part of a bin look alike.
_LEAST_OF_BIN = 0.02
# Standard deviations, with a margin for their change along a segment, at which nothing arrives.
_REACH = 1.2 * CUT
# Masses of the table of stars that are seen alone, even in their logarithm, for a law of mass
# ratios as wide as a factor e, and the most for narrower ones. Times the mass squared, their
# density changes little from one to the next: 1e-5 of all stars is wrong.
_N_ALONE, _MOST_ALONE = 128, 8192
# Longest groups of primaries in ln M, for such a law: the companions of all have the range of those
# of the mean mass.
_LONGEST_LN_MASS = 0.05
# Masses of the table of the mass function, even in their logarithm: of a slope of -2.35 over a
# factor of 1,000, linear interpolation makes an error of 2e-6.
_N_MASS = 4096


@dataclass(frozen=True, eq=False)
class Cells:
    """Systems of nearly equal magnitudes.

    Attributes
    ----------
    weight : ndarray (N,)
        Systems in each cell, relative to one formed.
    mean : ndarray (N, B)
        Mean intrinsic apparent magnitudes.
    covariance : ndarray (N, B, B)
        Their covariance, mag^2.
    """

    weight: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True, eq=False)
class Population:
    """Everything that makes a template but the isochrone.

    Attributes
    ----------
    axes : HessAxes
    errors : ErrorModel
    imf : InitialMassFunction
    binaries : BinaryModel
    total_scatter : float
        All scatter that the stars will have, in units of that of `errors` and of the bins: above 1
        where the template is scattered once more, so that its cells may be longer.
    """

    axes: HessAxes
    errors: ErrorModel
    imf: InitialMassFunction
    binaries: BinaryModel
    total_scatter: float = 1.0

    @cached_property
    def cuts(self) -> tuple[float, ...]:
        """Masses at which the mass function breaks or ends, Msun."""
        imf = self.imf
        return (float(imf.mass_min), float(imf.mass_max), *(float(m) for m in imf.break_masses))

    @cached_property
    def norm(self) -> float:
        """Integral of the mass function over all systems formed."""
        return float(self.imf.integral(self.imf.mass_min, self.imf.mass_max))

    @cached_property
    def ratio_width(self) -> float:
        """Range of ln q over which the law of mass ratios changes by much, at most 1."""
        return min(getattr(self.binaries, "width", 1.0), 1.0)

    @cached_property
    def mass_table(self) -> tuple[float, float, np.ndarray]:
        """Mass function, normalized over all systems formed, 1/Msun, as `table_at` takes it."""
        start, stop = math.log(self.imf.mass_min), math.log(self.imf.mass_max)
        log_mass = np.linspace(start, stop, _N_MASS)
        values = self.imf.density(np.exp(log_mass)) / self.norm
        return start, (stop - start) / (_N_MASS - 1), values

    @cached_property
    def system_table(self) -> tuple[float, float, np.ndarray]:
        """The same times the mass."""
        start, step, values = self.mass_table
        return start, step, values * np.exp(start + step * np.arange(values.size))

    def density(self, mass: np.ndarray) -> np.ndarray:
        """Mass function, normalized over all systems formed and 0 outside, 1/Msun."""
        formed = (mass >= self.imf.mass_min) & (mass <= self.imf.mass_max)
        return np.where(formed, self.imf.density(mass), 0.0) / self.norm

    def track(self, mass: np.ndarray, mag: np.ndarray) -> Track:
        """Return the segments of an isochrone whose stars can belong to a system that is formed.

        Parameters
        ----------
        mass, mag : ndarray (E,), (E, B)
            Initial masses (Msun) and apparent magnitudes along the isochrone.
        """
        formed = mass < self.imf.mass_max
        if not isinstance(self.binaries, MassRatioBinaries):
            # There the mass function is that of systems, and a star can be less massive.
            formed &= mass > self.imf.mass_min
        inside = np.flatnonzero(formed)
        if not inside.size:
            # Two points may lie on either side of all masses that are formed.
            inside = np.array([0, mass.size - 1])
        # The errors need not be known for points beyond these, and their neighbors.
        used = slice(max(inside[0] - 1, 0), inside[-1] + 2)
        track = isochrone_track(mass[used], mag[used], self.errors, self.cuts)
        chosen = track.mass[0] < self.imf.mass_max
        if not isinstance(self.binaries, MassRatioBinaries):
            chosen &= track.mass[1] > self.imf.mass_min
        return track if chosen.all() else track.select(chosen)

    @cached_property
    def systems_per_mass(self) -> float:
        """Systems formed per Msun formed."""
        return self.binaries.systems_per_mass(self.imf)

    @cached_property
    def matrix(self) -> np.ndarray:
        """Makes color and magnitude from magnitudes, (2, B)."""
        return self.axes.matrix()

    @cached_property
    def limits(self) -> np.ndarray:
        """First and last edges (2, 2) in color and magnitude."""
        edges = (self.axes.color_edges, self.axes.mag_edges)
        return np.array([[e[k] for e in edges] for k in (0, -1)])

    @cached_property
    def least_bin(self) -> float:
        """Smallest width of a bin in color or magnitude, mag."""
        edges = (self.axes.color_edges, self.axes.mag_edges)
        return min(float(np.diff(e).min()) for e in edges)

    @cached_property
    def least_sigma(self) -> float:
        """Errors smaller than this (mag) need no shorter cells of single stars."""
        return _LEAST_OF_BIN * self.least_bin

    def size(self, in_sigma: float) -> PieceSize:
        """Longest pieces, given in standard deviations of all scatter."""
        return self.piece_size(in_sigma, self.least_sigma)

    def piece_size(self, in_sigma: float, least_sigma: float) -> PieceSize:
        """Longest pieces, where errors below `least_sigma` (mag) count as this."""
        in_ln_mass = _LONGEST_LN_MASS * self.ratio_width
        return PieceSize(in_sigma * self.total_scatter, LONGEST_MAG, least_sigma, in_ln_mass)


def single_cells(population: Population, track: Track) -> Cells:
    """Return the cells of all systems of which one star is seen."""
    near = track.select(_in_reach(population, track))
    pieces = near.split(population.size(_LENGTH), population.mass_table)
    # What is dark depends on the whole isochrone, not only on what is near the axes.
    density = single_density(population, pieces.node_mass, track.mass_range)
    group = group_pieces(pieces.length, pieces.joined)
    return Cells(*group_moments(group, pieces.node_width * density, pieces.node_mag))


def _in_reach(population: Population, track: Track) -> np.ndarray:
    """Whether stars of a segment (S,) can be scattered into the axes."""
    matrix = population.matrix.T
    at = (track.mag + track.bias) @ matrix
    reach = _REACH * np.sqrt((np.square(track.sigma) @ np.square(matrix)).max(axis=0))
    low, high = at.min(axis=0) - reach, at.max(axis=0) + reach
    first, last = population.limits
    return ((high > first) & (low < last)).all(axis=1)


def single_density(
    population: Population, mass: np.ndarray, mass_range: tuple[float, float]
) -> np.ndarray:
    """Systems per Msun of which a star of this mass is all that is seen; shape of `mass`.

    A star that is outside of `mass_range` (Msun) gives no light.
    """
    binaries = population.binaries
    if isinstance(binaries, MassRatioBinaries):
        law = (
            float(binaries.mass_ratio_density(1.0)),
            *map(float, (binaries.slope, binaries.mass_ratio_min)),
        )
        formed = float(population.imf.mass_min), float(population.imf.mass_max)
        fraction, table = float(binaries.fraction), population.mass_table
        n_node = min(round(_N_ALONE / population.ratio_width), _MOST_ALONE)
        return seen_alone(mass, n_node, fraction, formed, mass_range, law, table)
    density = population.density(mass)
    if isinstance(binaries, RandomBinaryPairs):
        low, high = mass_range
        imf = population.imf
        dark = float(imf.integral(imf.mass_min, low) + imf.integral(high, imf.mass_max))
        # Either of the two may be the one that is seen.
        beside_dark = 2.0 * dark / population.norm
        return density * (1.0 - binaries.fraction + binaries.fraction * beside_dark)
    return density
