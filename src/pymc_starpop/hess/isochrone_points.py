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
from pymc_starpop.kernels.hess_measured import LARGEST_SIGMA
from pymc_starpop.kernels.hess_segments import segment_lengths, split_segments

__all__ = ["PieceSize", "Pieces", "Track", "isochrone_track"]

# A piece with less than this of the stars is not split further: well below a star of 1e7 Msun.
LEAST_SHARE = 3e-9


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
        self,
        size: "PieceSize",
        mass_table: tuple[float, float, np.ndarray],
        least_share: float = LEAST_SHARE,
    ) -> "Pieces":
        """Split the segments in pieces.

        Parameters
        ----------
        size : PieceSize
            How long pieces may be.
        mass_table : tuple
            The mass function, as `table_at` takes it: segments that hold next to no stars are
            split less.
        least_share : float
            Part of all stars; a piece that holds less is not split further.
        """
        limits = size.in_sigma, size.in_mag, size.in_ln_mass, size.least_sigma, least_share
        length, number, closed = segment_lengths(
            self.mass, self.mag, self.sigma, self.joined, limits, mass_table
        )
        return Pieces(*split_segments(self.mass, self.mag, closed, number, length))


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
    in_ln_mass : float
        Natural logarithm of the mass.
    """

    in_sigma: float
    in_mag: float
    least_sigma: float
    in_ln_mass: float


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
