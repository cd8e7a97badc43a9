"""An isochrone as short straight pieces that hold stars.

Mass and magnitudes are linear between neighboring points, and a piece on which the mass does not
increase holds no stars: the jump from the tip of the red giant branch to the horizontal branch is
no sequence. Segments are cut where the mass function breaks or ends, and split until they are short
against the photometric errors.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from pymc_starpop.imf import InitialMassFunction
from pymc_starpop.kernels.hess_cells import TWO_NODES

__all__ = ["Pieces", "Track", "isochrone_track"]

# The mass function is smooth over this much of ln M.
_LONGEST_LN_MASS = 0.1
# A piece with less than this of all stars is not split further: 1e-3 stars of 1e7.
LEAST_SHARE = 1e-10
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
    joined : ndarray of bool (S,)
        Whether a segment begins where the one before it ends.
    """

    mass: np.ndarray
    mag: np.ndarray
    joined: np.ndarray

    @property
    def mass_range(self) -> tuple[float, float]:
        """Smallest and largest mass, Msun; stars outside give no light."""
        return float(self.mass[0].min()), float(self.mass[1].max())

    def select(self, chosen: np.ndarray) -> Self:
        """Return some of the segments."""
        index = np.flatnonzero(chosen)
        neighbors = np.diff(index, prepend=-2) == 1
        return type(self)(self.mass[:, index], self.mag[:, index], self.joined[index] & neighbors)

    def split(
        self,
        scale: np.ndarray,
        longest: float,
        imf: InitialMassFunction,
        least_share: float = LEAST_SHARE,
    ) -> "Pieces":
        """Split the segments in pieces.

        Parameters
        ----------
        scale : ndarray (S, B)
            Longest extent of a piece in units of which the bands add in quadrature, mag.
        longest : float
            Longest extent in any band, mag.
        imf : InitialMassFunction
            Segments that hold next to no stars are split less.
        least_share : float
            Part of all stars; a piece that holds less is not split further.
        """
        d_mass, d_mag = self.mass[1] - self.mass[0], self.mag[1] - self.mag[0]
        length = np.sqrt(np.square(d_mag / scale).sum(axis=1))
        joined = self._closed(scale)
        length = np.maximum(length, np.abs(d_mag).max(axis=1) / longest)
        length /= _end_factor(length, joined)
        number = np.maximum(length, np.log(self.mass[1] / self.mass[0]) / _LONGEST_LN_MASS)
        held = d_mass * imf.density(0.5 * (self.mass[0] + self.mass[1]))
        allowed = held / (least_share * max(held.sum(), 1e-300))
        number = np.ceil(np.minimum(number, np.minimum(allowed, _MOST_PIECES)))
        number = np.maximum(number, 1.0).astype(np.int64)
        segment = np.repeat(np.arange(number.size), number)
        piece = np.arange(segment.size) - np.repeat(np.cumsum(number) - number, number)
        t = np.stack([piece, piece + 1.0]) / number[segment]
        joined = np.where(piece == 0, joined[segment], True)
        return Pieces(
            self.mass[0, segment] + t * d_mass[segment],
            self.mag[0, segment] + t[..., None] * d_mag[segment],
            joined,
            (length / number)[segment],
        )

    def _closed(self, scale: np.ndarray) -> np.ndarray:
        """Whether a segment (S,) begins where the one before it ends, but for a small gap."""
        gap = np.zeros(self.joined.size)
        gap[1:] = np.sqrt(np.square((self.mag[0, 1:] - self.mag[1, :-1]) / scale[1:]).sum(axis=1))
        gap[:1] = np.inf
        return self.joined | (gap < _SMALL_GAP)


@dataclass(frozen=True, eq=False)
class Pieces(Track):
    """Short pieces of a `Track`.

    Attributes
    ----------
    length : ndarray (S,)
        Length of each piece, in units of the longest group of pieces.
    """

    length: np.ndarray

    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Mass (S, 2) and magnitudes (S, 2, B) at two Gauss-Legendre nodes of each piece."""
        t = np.array(TWO_NODES)
        mass = self.mass[0][:, None] + t * (self.mass[1] - self.mass[0])[:, None]
        step = (self.mag[1] - self.mag[0])[:, None]
        return mass, self.mag[0][:, None] + t[:, None] * step


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


def isochrone_track(mass: np.ndarray, mag: np.ndarray, cuts: tuple[float, ...]) -> Track:
    """Return the segments of an isochrone that hold stars.

    Parameters
    ----------
    mass : ndarray (E,)
        Initial mass at the points, Msun.
    mag : ndarray (E, B)
        Apparent magnitudes.
    cuts : tuple of float
        Masses at which segments are cut, Msun.
    """
    for cut in cuts:
        inside = np.flatnonzero((mass[:-1] < cut) & (cut < mass[1:]))
        if not inside.size:
            continue
        t = (cut - mass[inside]) / (mass[inside + 1] - mass[inside])
        between = mag[inside] + t[:, None] * (mag[inside + 1] - mag[inside])
        mass = np.insert(mass, inside + 1, cut)
        mag = np.insert(mag, inside + 1, between, axis=0)
    everything = Track(
        np.stack([mass[:-1], mass[1:]]),
        np.stack([mag[:-1], mag[1:]]),
        np.arange(mass.size - 1) > 0,
    )
    return everything.select(everything.mass[1] > everything.mass[0])
