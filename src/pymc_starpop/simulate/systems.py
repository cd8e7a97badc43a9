"""Systems of one or two stars drawn on an isochrone, all of them or only those bright enough.

Leaving out what is too faint is exact thinning: a pair is brighter than its brighter star by at
most 2.5 log10 2 = 0.753 mag, so that one of its stars must come up to the limit plus that. Such
systems are drawn in the number that a Poisson process gives them, and those that still miss the
limit are dropped.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pymc_starpop.hess.binaries import BinaryModel, MassRatioBinaries, RandomBinaryPairs
from pymc_starpop.simulate.tracks import Run, StarTrack

__all__ = ["SystemSampler", "Systems"]

PAIR_GAIN = 2.5 * np.log10(2.0)  # mag
_LN_FLUX = 0.4 * np.log(10.0)


@dataclass(frozen=True, eq=False)
class Systems:
    """Systems of one population.

    Attributes
    ----------
    initial_mass : ndarray (n,)
        Initial mass of the more massive star, Msun.
    companion_mass : ndarray (n,)
        That of the other, 0 for single stars.
    mag : ndarray (n, C)
        Magnitudes of the system as one source, infinite where it gives no light.
    """

    initial_mass: np.ndarray
    companion_mass: np.ndarray
    mag: np.ndarray

    def select(self, which: np.ndarray) -> "Systems":
        """Systems of a mask or of indices."""
        return Systems(self.initial_mass[which], self.companion_mass[which], self.mag[which])


class SystemSampler:
    """Draws the systems of a population on one isochrone.

    Parameters
    ----------
    track : StarTrack
    binaries : BinaryModel
    limits : mapping of int to float
        Faintest magnitude wanted, by column of the track.
    """

    def __init__(self, track: StarTrack, binaries: BinaryModel, limits: Mapping[int, float]):
        self.track = track
        self.binaries = binaries
        self.limits = dict(limits)
        self._bright: tuple[Run, ...] = track.runs
        self._faint: tuple[Run, ...] = ()
        splits = (track.split(c, m + PAIR_GAIN) for c, m in self.limits.items())
        for bright, faint in splits:  # the limit that leaves the fewest stars
            if _total(bright) < _total(self._bright):
                self._bright, self._faint = bright, faint
        self._p_bright = _total(self._bright)
        dark = sum(track.probability(*limits) for limits in track.dark_ranges)
        self._p_other = _total(self._faint) + dark
        self.per_mass = binaries.systems_per_mass(track.imf)

    def draw_poisson(
        self, mass_formed: float, rng: np.random.Generator, chunk_size: int
    ) -> Iterator[tuple[Systems, float]]:
        """Yield the lit systems within the limits of a mass formed (Msun), in chunks.

        The number of systems is Poisson with the mean that the mass makes. Each chunk comes with
        the part of the work that it was, 0 to 1.
        """
        kinds = self._kinds()
        counts = [int(rng.poisson(mass_formed * self.per_mass * share)) for share, _ in kinds]
        for (_, draw), count in zip(kinds, counts, strict=True):
            for start in range(0, count, chunk_size):
                n = min(chunk_size, count - start)
                systems = draw(n, rng)
                yield systems.select(self.passes(systems.mag)), n / sum(counts)

    def draw(self, n: int, rng: np.random.Generator) -> Systems:
        """Draw n systems, whether or not they give light, without limits."""
        imf = self.track.imf
        mass = imf.sample(n, imf.mass_min, imf.mass_max, rng)
        is_pair = rng.random(n) < self.binaries.fraction
        second = np.zeros(n)
        if isinstance(self.binaries, RandomBinaryPairs):
            second[is_pair] = imf.sample(int(is_pair.sum()), imf.mass_min, imf.mass_max, rng)
        elif isinstance(self.binaries, MassRatioBinaries):
            ratio = self.binaries.mass_ratio_quantile(rng.random(int(is_pair.sum())))
            mass[is_pair] /= 1.0 + ratio
            second[is_pair] = ratio * mass[is_pair]
        mag = self.track.place(mass, rng)
        mag[is_pair] = _add(mag[is_pair], self.track.place(second[is_pair], rng))
        return _ordered(mass, second, mag)

    def passes(self, mag: np.ndarray) -> np.ndarray:
        """Whether systems of these magnitudes (n, C) give light and reach the limits."""
        passes = np.isfinite(mag[:, 0])
        for column, limit in self.limits.items():
            passes &= mag[:, column] <= limit
        return passes

    def _kinds(self) -> list[tuple[float, Callable[[int, np.random.Generator], Systems]]]:
        """Kinds of systems that may be bright enough: their share of all systems, and a draw."""
        f, p = self.binaries.fraction, self._p_bright
        kinds: list[tuple[float, Callable[[int, np.random.Generator], Systems]]]
        kinds = [((1.0 - f) * p, self._singles)]
        if isinstance(self.binaries, RandomBinaryPairs):
            # Either star, or both; where runs overlap in mass the two add to more than 1.
            other = self._p_other
            kinds += [(f * p * (p + other), self._bright_and_any)]
            kinds += [(f * p * other, self._bright_and_other)]
        elif isinstance(self.binaries, MassRatioBinaries):
            kinds.append((f * self.track.probability(*self._system_mass_range()), self._by_ratio))
        return [(share, draw) for share, draw in kinds if share > 0.0]

    def _singles(self, n: int, rng: np.random.Generator) -> Systems:
        mass, mag = self.track.draw(n, self._bright, rng)
        return Systems(mass, np.zeros(n), mag)

    def _bright_and_any(self, n: int, rng: np.random.Generator) -> Systems:
        mass, mag = self.track.draw(n, self._bright, rng)
        second, mag2 = self.track.draw(n, self.track.runs, rng, dark=True)
        return _ordered(mass, second, _add(mag, mag2))

    def _bright_and_other(self, n: int, rng: np.random.Generator) -> Systems:
        mass, mag = self.track.draw(n, self._bright, rng)
        second, mag2 = self.track.draw(n, self._faint, rng, dark=True)
        return _ordered(mass, second, _add(mag, mag2))

    def _by_ratio(self, n: int, rng: np.random.Generator) -> Systems:
        assert isinstance(self.binaries, MassRatioBinaries)
        total = self.track.imf.sample(n, *self._system_mass_range(), rng)
        ratio = self.binaries.mass_ratio_quantile(rng.random(n))
        first = total / (1.0 + ratio)
        second = ratio * first
        mag = _add(self.track.place(first, rng), self.track.place(second, rng))
        return Systems(first, second, mag)

    def _system_mass_range(self) -> tuple[float, float]:
        """Masses of pairs (Msun) of which a star can be bright enough."""
        assert isinstance(self.binaries, MassRatioBinaries)
        imf, ratio = self.track.imf, self.binaries.mass_ratio_min
        lowest = min((run.mass[0] for run in self._bright), default=imf.mass_max)
        highest = max((run.mass[-1] for run in self._bright), default=imf.mass_max)
        lowest = max(float(lowest), imf.mass_min)
        return lowest, max(min(float(highest) * (1.0 + ratio) / ratio, imf.mass_max), lowest)


def _total(runs: tuple[Run, ...]) -> float:
    return sum(run.probability for run in runs)


def _add(mag: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Magnitude of two sources as one; an infinite one gives no light."""
    with np.errstate(invalid="ignore"):  # infinite minus infinite: both are dark
        apart = np.abs(mag - other)
    fainter = np.exp(-_LN_FLUX * np.where(np.isnan(apart), np.inf, apart))
    return np.minimum(mag, other) - np.log1p(fainter) / _LN_FLUX


def _ordered(mass: np.ndarray, second: np.ndarray, mag: np.ndarray) -> Systems:
    return Systems(np.maximum(mass, second), np.minimum(mass, second), mag)
