"""An isochrone as short straight pieces that hold stars.

Mass and magnitudes are linear between neighboring points, and a piece on which the mass does not
increase holds no stars: the jump from the tip of the red giant branch to the horizontal branch is
no sequence. Segments are cut where the mass function breaks or ends, and split until they are short
against the photometric errors.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pymc_starpop.hess.errors import ErrorModel
from pymc_starpop.imf import InitialMassFunction
from pymc_starpop.kernels.hess_cells import split_segments
from pymc_starpop.kernels.hess_measured import LARGEST_SIGMA

__all__ = ["PieceSize", "Pieces", "Track", "isochrone_track"]

# The mass function is smooth over this much of ln M.
_LONGEST_LN_MASS = 0.1
# A piece with less than this of the stars is not split further: well below a star of 1e7 Msun.
LEAST_SHARE = 3e-9
# Longest pieces at the ends of a sequence, relative to those inside, and its growth with the
# distance in pieces. There the error of a cell is not made up for by that of the next one.
_END_LENGTH, _END_GROWTH = 0.25, 0.25
# A gap shorter than this, in lengths of pieces, is no end: masses that are equal by rounding.
_SMALL_GAP = 0.3
# Keeps an absurd request (errors of 1e-6 mag) from filling the memory.
_MOST_PIECES = 20_000


@dataclass(frozen=True, eq=False)
class Track:
    """Straight segments of an isochrone on which the mass increases.

    Attributes
    ----------
    mass : ndarray (2, S)
        Initial mass at the two ends of S segments, Msun.
    mag : ndarray (2, S, B)
        Apparent magnitudes at the ends, in B bands.
    sigma, bias : ndarray (2, S, B)
        Photometric errors there, mag.
    joined : ndarray of bool (S,)
        Whether a segment begins where the one before it ends.
    """

    mass: np.ndarray
    mag: np.ndarray
    sigma: np.ndarray
    bias: np.ndarray
    joined: np.ndarray

    @cached_property
    def mass_range(self) -> tuple[float, float]:
        """Smallest and largest mass, Msun; stars outside give no light."""
        return float(self.mass[0].min()), float(self.mass[1].max())

    def select(self, chosen: np.ndarray) -> "Track":
        """Return some of the segments."""
        joined = self.joined.copy()
        joined[1:] &= chosen[:-1]
        mass, mag, sigma, bias = (
            array[:, chosen] for array in (self.mass, self.mag, self.sigma, self.bias)
        )
        return Track(mass, mag, sigma, bias, joined[chosen])

    def split(
        self, size: "PieceSize", imf: InitialMassFunction, least_share: float = LEAST_SHARE
    ) -> "Pieces":
        """Split the segments in pieces.

        Parameters
        ----------
        size : PieceSize
            How long pieces may be.
        imf : InitialMassFunction
            Segments that hold next to no stars are split less.
        least_share : float
            Part of all stars; a piece that holds less is not split further.
        """
        d_mass, d_mag = self.mass[1] - self.mass[0], self.mag[1] - self.mag[0]
        scale = size.in_sigma * np.maximum(self.sigma.min(axis=0), size.least_sigma)
        length = np.sqrt(np.square(d_mag / scale).sum(axis=1))
        joined = self._closed(scale)
        length = np.maximum(length, np.abs(d_mag).max(axis=1) / size.in_mag)
        length /= _end_factor(length, joined)
        held = d_mass * imf.density(0.5 * (self.mass[0] + self.mass[1]))
        length = np.minimum(length, held / (least_share * max(held.sum(), 1e-300)))
        number = np.maximum(length, np.log(self.mass[1] / self.mass[0]) / _LONGEST_LN_MASS)
        number = np.ceil(np.clip(number, 1.0, _MOST_PIECES)).astype(np.int64)
        return Pieces(*split_segments(self.mass, self.mag, joined, number, length))

    def _closed(self, scale: np.ndarray) -> np.ndarray:
        """Whether a segment (S,) begins where the one before it ends, but for a small gap."""
        gap = np.full(self.joined.size, np.inf)
        step = (self.mag[0, 1:] - self.mag[1, :-1]) / scale[1:]
        gap[1:] = np.sqrt(np.square(step).sum(axis=1))
        return self.joined | (gap < _SMALL_GAP)


@dataclass(frozen=True)
class PieceSize:
    """How long pieces and groups of them may be.

    Attributes
    ----------
    in_sigma : float
        Standard deviations of the photometry, the bands added in quadrature.
    in_mag : float
        Magnitudes in any band.
    least_sigma : float
        Errors smaller than this count as this, mag.
    """

    in_sigma: float
    in_mag: float
    least_sigma: float


@dataclass(frozen=True, eq=False)
class Pieces:
    """Short pieces of a `Track`.

    Attributes
    ----------
    mass : ndarray (2, P)
        Initial mass at the two ends, Msun.
    mag : ndarray (2, P, B)
        Apparent magnitudes at the ends.
    joined : ndarray of bool (P,)
        Whether a piece begins where the one before it ends.
    length : ndarray (P,)
        Length, in units of the longest group of pieces.
    node_mass, node_mag : ndarray (P, 2), (P, 2, B)
        At two Gauss-Legendre nodes of each piece.
    """

    mass: np.ndarray
    mag: np.ndarray
    joined: np.ndarray
    length: np.ndarray
    node_mass: np.ndarray
    node_mag: np.ndarray

    @property
    def node_width(self) -> np.ndarray:
        """Mass (P, 1) for which each of the two nodes stands, Msun."""
        return 0.5 * (self.mass[1] - self.mass[0])[:, None]


def _end_factor(length: np.ndarray, joined: np.ndarray) -> np.ndarray:
    """How much shorter pieces must be near ends (S,), where no neighbor makes up for them."""
    stop = np.cumsum(length)
    start = stop - length
    starts = np.flatnonzero(~joined)
    if not starts.size:
        return np.ones(0)
    chain = np.cumsum(~joined) - 1
    from_start = start - start[starts][chain]
    from_stop = stop[np.append(starts[1:], length.size) - 1][chain] - stop
    distance = np.maximum(np.minimum(from_start, from_stop), 0.0)
    return np.minimum(_END_LENGTH + _END_GROWTH * distance, 1.0)


def isochrone_track(
    mass: np.ndarray, mag: np.ndarray, errors: ErrorModel, cuts: tuple[float, ...]
) -> Track:
    """Return the segments of an isochrone that hold stars.

    Parameters
    ----------
    mass : ndarray (E,)
        Initial mass at the points, Msun.
    mag : ndarray (E, B)
        Apparent magnitudes.
    errors : ErrorModel
        For the same bands.
    cuts : tuple of float
        Masses at which segments are cut, Msun.
    """
    found = errors.at(mag)
    columns = np.concatenate([mag, np.minimum(found.sigma, LARGEST_SIGMA), found.bias], axis=1)
    for cut in cuts:
        inside = np.flatnonzero((mass[:-1] < cut) & (cut < mass[1:]))
        if inside.size:
            t = (cut - mass[inside]) / (mass[inside + 1] - mass[inside])
            between = columns[inside] + t[:, None] * (columns[inside + 1] - columns[inside])
            mass = np.insert(mass, inside + 1, cut)
            columns = np.insert(columns, inside + 1, between, axis=0)
    up = mass[1:] > mass[:-1]
    joined = np.concatenate([[False], up[:-1]])[up]
    ends = np.stack([columns[:-1][up], columns[1:][up]])
    mags, sigmas, biases = np.split(ends, 3, axis=2)
    return Track(np.stack([mass[:-1][up], mass[1:][up]]), mags, sigmas, biases, joined)
