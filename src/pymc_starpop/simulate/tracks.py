"""Stars placed on one isochrone: masses drawn from a mass function, magnitudes along the points.

Mass and magnitudes are linear between neighboring points, and pieces on which the mass does not
increase hold no stars. What is left are runs of ascending mass, nearly always one. Where runs
overlap in mass, each holds the stars of the mass function, as in the templates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pymc_starpop.population.imf import InitialMassFunction

__all__ = ["Run", "StarTrack"]

_Slice = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Run:
    """Neighboring points of an isochrone whose masses ascend, where equal masses are a jump.

    Attributes
    ----------
    mass : ndarray (K,)
        Initial mass, Msun.
    mag : ndarray (K, C)
        Columns to interpolate: magnitudes.
    probability : float
        Probability that a star formed has such a mass.
    """

    mass: np.ndarray
    mag: np.ndarray
    probability: float

    def at(self, mass: np.ndarray) -> np.ndarray:
        """Magnitudes (n, C) at masses (n,) within the run."""
        return np.stack([np.interp(mass, self.mass, column) for column in self.mag.T], axis=1)


class StarTrack:
    """One isochrone, populated by a mass function.

    Parameters
    ----------
    mass : array-like (E,)
        Initial mass along the isochrone, Msun.
    mag : array-like (E, C)
        Magnitudes.
    imf : InitialMassFunction
        Stars are formed from its ``mass_min`` to its ``mass_max``.

    Raises
    ------
    ValueError
        For shapes that do not agree, values that are not finite, masses that are not positive,
        and masses that nowhere ascend.
    """

    def __init__(self, mass: Any, mag: Any, imf: InitialMassFunction):
        mass, mag = np.asarray(mass, dtype=float), np.asarray(mag, dtype=float)
        if mass.ndim != 1 or mag.ndim != 2 or len(mag) != mass.size or mass.size < 2:
            raise ValueError(
                f"an isochrone needs initial_mass (E,) and abs_mag (E, B) of at least two points, "
                f"got shapes {mass.shape} and {mag.shape}."
            )
        if not (np.isfinite(mass).all() and (mass > 0).all() and np.isfinite(mag).all()):
            raise ValueError(
                "initial_mass must be positive and abs_mag finite at every point of an isochrone; "
                "leave out the other points."
            )
        self.imf = imf
        self.n_column = mag.shape[1]
        self._norm = float(imf.integral(imf.mass_min, imf.mass_max))
        self.runs = self._populate(_slices(mass, mag, np.diff(mass) >= 0.0))
        if not self.runs:
            raise ValueError(
                "initial_mass: no two neighboring points ascend; sort the isochrone by phase."
            )

    @cached_property
    def dark_ranges(self) -> tuple[tuple[float, float], ...]:
        """Ranges of mass (Msun) that are formed but give no light: too low, or dead."""
        edges = [(self.imf.mass_min, min(run.mass[0] for run in self.runs))]
        edges.append((max(run.mass[-1] for run in self.runs), self.imf.mass_max))
        return tuple((float(a), float(b)) for a, b in edges if b > a)

    def probability(self, lower: float, upper: float) -> float:
        """Probability that a star formed has a mass between two limits (Msun)."""
        lower, upper = max(lower, self.imf.mass_min), min(upper, self.imf.mass_max)
        return float(self.imf.integral(lower, upper)) / self._norm if upper > lower else 0.0

    def split(self, column: int, limit: float) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
        """Split the runs in pieces that come up to a magnitude in one column, and those fainter."""
        bright: list[_Slice] = []
        faint: list[_Slice] = []
        for run in self.runs:
            mag = run.mag[:, column]
            reaches = np.minimum(mag[1:], mag[:-1]) <= limit
            bright += _slices(run.mass, run.mag, reaches)
            faint += _slices(run.mass, run.mag, ~reaches)
        runs = self._populate(bright + faint)
        return runs[: len(bright)], runs[len(bright) :]

    def draw(
        self, n: int, runs: Sequence[Run], rng: np.random.Generator, dark: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw stars on some of the runs, run after run, or mixed with those that give no light.

        Parameters
        ----------
        n : int
            Number of stars.
        runs : sequence of Run
        rng : numpy.random.Generator
        dark : bool
            Whether to draw the masses in `dark_ranges` too, with infinite magnitudes, and to give
            all stars in random order, as companions need it.

        Returns
        -------
        mass : ndarray (n,)
        mag : ndarray (n, C)
        """
        ranges = self.dark_ranges if dark else ()
        weights = [run.probability for run in runs] + [self.probability(*r) for r in ranges]
        counts = rng.multinomial(n, np.array(weights) / sum(weights))
        masses, mags = [], []
        for run, count in zip(runs, counts, strict=False):
            if count:
                masses.append(self._sample(count, run.mass[0], run.mass[-1], rng))
                mags.append(run.at(masses[-1]))
        for (low, high), count in zip(ranges, counts[len(runs) :], strict=True):
            masses.append(self._sample(count, low, high, rng))
            mags.append(np.full((count, self.n_column), np.inf))
        if not masses:
            return np.empty(0), np.empty((0, self.n_column))
        if len(masses) == 1:
            return masses[0], mags[0]
        mass, mag = np.concatenate(masses), np.concatenate(mags)
        if not dark:
            return mass, mag
        order = rng.permutation(n)
        return mass[order], mag[order]

    def place(self, mass: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Magnitudes (n, C) of stars of given masses (n,), infinite where they give no light.

        A mass that several runs hold is placed on one of them by chance.
        """
        mag = np.full((mass.size, self.n_column), np.inf)
        held = [(mass >= run.mass[0]) & (mass <= run.mass[-1]) for run in self.runs]
        skip = np.zeros(mass.size)
        if len(held) > 1:
            skip = np.floor(rng.random(mass.size) * np.sum(held, axis=0))
        for run, inside in zip(self.runs, held, strict=True):
            here = inside & (skip == 0)
            mag[here] = run.at(mass[here])
            skip -= inside
        return mag

    def _sample(self, n: int, low: float, high: float, rng: np.random.Generator) -> np.ndarray:
        low, high = max(low, self.imf.mass_min), min(high, self.imf.mass_max)
        return self.imf.sample(int(n), float(low), float(high), rng)

    def _populate(self, slices: Sequence[_Slice]) -> tuple[Run, ...]:
        """Make runs of slices of the isochrone: the mass function is asked once for all."""
        if not slices:
            return ()
        ends = np.array([(mass[0], mass[-1]) for mass, _ in slices])
        ends = np.clip(ends, self.imf.mass_min, self.imf.mass_max)
        probability = np.asarray(self.imf.integral(ends[:, 0], ends[:, 1])) / self._norm
        return tuple(Run(*one, float(p)) for one, p in zip(slices, probability, strict=True))


def _slices(mass: np.ndarray, mag: np.ndarray, good: np.ndarray) -> list[_Slice]:
    """Each unbroken stretch of good pieces on which the mass rises."""
    return [(mass[a:b], mag[a:b]) for a, b in _stretches(good) if mass[b - 1] > mass[a]]


def _stretches(good: np.ndarray) -> list[tuple[int, int]]:
    """Slices of the points that bound each unbroken stretch of good pieces."""
    padded = np.concatenate([[False], good, [False]]).astype(np.int8)
    steps = np.diff(padded)
    starts, stops = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return [(int(a), int(b) + 1) for a, b in zip(starts, stops, strict=True)]
