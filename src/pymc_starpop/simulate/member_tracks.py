"""Isochrones on which the members of a simulated cluster are placed."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.parameters import ClusterOptions, ClusterParameters
from pymc_starpop.reference import single_star_nodes

__all__ = ["MemberTracks"]

# Ages between which stars are interpolated at fixed EEP, dex.
_AGE_STEP = 0.01
# Magnitudes are cubic in A_V: four values of it give them exactly.
_N_AV = 4
# Stars placed at a time where each has an isochrone of its own.
_CHUNK = 2000


class MemberTracks:
    """Mass, magnitudes, reddening and T_eff along isochrones of one population.

    Where ages differ between stars, each star has its own isochrone, interpolated at fixed EEP
    between two that are 0.01 dex apart.

    Parameters
    ----------
    iso : IsochroneGrid
    bands : tuple of str
        B bands.
    parameters : ClusterParameters
        Numbers; ``log_age`` is not used.
    options : ClusterOptions
    log_age : ndarray (n,)
        Ages of the stars, log10(age / yr).
    """

    def __init__(
        self,
        iso: IsochroneGrid,
        bands: tuple[str, ...],
        parameters: ClusterParameters,
        options: ClusterOptions,
        log_age: np.ndarray,
    ):
        self._grid, self._bands, self._options = iso, bands, options
        self._parameters = parameters
        low, high = float(log_age.min()), float(log_age.max())
        n_cell = int(np.ceil((high - low) / _AGE_STEP)) if high > low else 0
        self._ages = np.linspace(low, high, n_cell + 1)
        av = np.atleast_1d(np.asarray(parameters.av, dtype=float))
        self._av = np.linspace(*iso.av_range, _N_AV) if av.size > 1 else av
        tracks = [self._track(age) for age in self._ages]
        self._eep = iso.eep[iso.eep <= options.eep_max]
        self._mass = np.array([mass for mass, _ in tracks])
        self._columns = np.array([columns for _, columns in tracks])

    def _track(self, log_age: float) -> tuple[np.ndarray, np.ndarray]:
        """Mass (E,), and the magnitudes and reddening at each A_V with T_eff (E, C)."""
        p = replace(self._parameters, log_age=log_age)
        parts: list[np.ndarray] = []
        for av in self._av:
            at_av = replace(p, av=float(av), zero_points=0.0, second_population=None)
            _, mass, mag, reddening, teff = single_star_nodes(
                self._grid, self._bands, at_av, self._options
            )
            parts += [mag, reddening]
        teff = np.full(mass.shape, np.nan) if teff is None else teff
        return mass, np.concatenate([*parts, teff[:, None]], axis=1)

    def mass_range(self, log_age: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Highest mass (n,) on the isochrone of each star, and of primaries with companions."""
        last = int(np.searchsorted(self._eep, self._options.binary_eep_max, side="right")) - 1
        top, limit = self._mass.max(axis=1), self._mass[:, : last + 1].max(axis=1)
        return np.interp(log_age, self._ages, top), np.interp(log_age, self._ages, limit)

    def look_up(
        self, mass: np.ndarray, log_age: np.ndarray, av: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Magnitude and reddening (n, B) and T_eff (n,) of single stars, each at its own A_V."""
        columns = self._look_up_columns(mass, log_age)
        n_band = len(self._bands)
        shares = _lagrange(self._av, av)
        by_av = columns[:, :-1].reshape(mass.size, self._av.size, 2, n_band)
        mag, reddening = np.einsum("nk,nkcb->cnb", shares, by_av)
        return mag, reddening, columns[:, -1]

    @cached_property
    def _ascending(self) -> tuple[np.ndarray, np.ndarray]:
        """Mass (K,) and columns (K, C) of the only isochrone where the mass increases."""
        keep = _is_record(self._mass)[0]
        return self._mass[0, keep], self._columns[0, keep]

    def _look_up_columns(self, mass: np.ndarray, log_age: np.ndarray) -> np.ndarray:
        if self._ages.size == 1:
            known, columns = self._ascending
            return np.stack([np.interp(mass, known, c) for c in columns.T], axis=1)
        found = np.empty((mass.size, self._columns.shape[2]))
        for first in range(0, mass.size, _CHUNK):
            part = slice(first, first + _CHUNK)
            found[part] = self._look_up_by_age(mass[part], log_age[part])
        return found

    def _look_up_by_age(self, mass: np.ndarray, log_age: np.ndarray) -> np.ndarray:
        """Columns (n, C) of stars with an isochrone each."""
        step = self._ages[1] - self._ages[0]
        place = np.clip((log_age - self._ages[0]) / step, 0.0, self._ages.size - 1.0)
        cell = np.minimum(place.astype(int), self._ages.size - 2)
        share = (place - cell)[:, None]
        masses = (1.0 - share) * self._mass[cell] + share * self._mass[cell + 1]
        # Neighbors on the part of the isochrone along which the mass increases.
        record = _is_record(masses)
        number = np.arange(masses.shape[1])
        last_record = np.maximum.accumulate(np.where(record, number, 0), axis=1)
        highest = np.take_along_axis(masses, last_record, axis=1)
        after = np.clip((highest < mass[:, None]).sum(axis=1), 1, masses.shape[1] - 1)
        rows = np.arange(mass.size)
        before = last_record[rows, after - 1]
        after = last_record[rows, after]
        start, end = masses[rows, before], masses[rows, after]
        t = np.clip((mass - start) / np.where(end > start, end - start, 1.0), 0.0, 1.0)[:, None]

        def at(node: np.ndarray) -> np.ndarray:
            return (1.0 - share) * self._columns[cell, node] + share * self._columns[cell + 1, node]

        return (1.0 - t) * at(before) + t * at(after)


def _is_record(mass: np.ndarray) -> np.ndarray:
    """Where masses (..., E) exceed all before them, and the last of those cut at one mass."""
    mass = np.atleast_2d(mass)
    before = np.maximum.accumulate(mass, axis=1)[:, :-1]
    return np.concatenate([np.ones((len(mass), 1), bool), mass[:, 1:] > before], axis=1)


def _lagrange(nodes: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Weights (n, K) of a polynomial through K nodes at x (n,)."""
    weights = np.ones((x.size, nodes.size))
    for k, node in enumerate(nodes):
        for other in np.delete(nodes, k):
            weights[:, k] *= (x - other) / (node - other)
    return weights
