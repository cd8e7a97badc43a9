"""Isochrones on which the members of a simulated cluster are placed."""

from functools import cached_property

import numpy as np

from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.magnitudes import model_magnitudes

__all__ = ["MemberTracks"]

# Ages between which stars are interpolated at fixed EEP, dex.
_AGE_STEP = 0.01
# Magnitudes are cubic in A_V: four values of it give them exactly.
_N_AV = 4
# Stars placed at a time where each has an isochrone of its own.
_CHUNK = 2000


class MemberTracks:
    """Mass, magnitudes, their changes and T_eff along isochrones of one population.

    Where ages differ between stars, each star has its own isochrone, interpolated at fixed EEP
    between two that are 0.01 dex apart.

    Parameters
    ----------
    iso : IsochroneGrid
    bands : tuple of str
        B bands.
    parameters : ClusterParameters
        Numbers.
    options : ClusterOptions
    has_one_age : bool
        Whether all stars have the age of the parameters.
    """

    def __init__(
        self,
        iso: IsochroneGrid,
        bands: tuple[str, ...],
        parameters: ClusterParameters,
        options: ClusterOptions,
        has_one_age: bool,
    ):
        self._grid, self._bands, self._options = iso, bands, options
        self._parameters = parameters
        self._has_one_age = has_one_age
        self._has_slope = parameters.log_teff_scatter > 0.0
        self._known: dict[float, tuple[np.ndarray, np.ndarray]] = {}
        av = np.atleast_1d(np.asarray(parameters.av, dtype=float))
        self._av = np.linspace(*iso.av_range, _N_AV) if av.size > 1 else av
        self._eep = iso.eep[iso.eep <= options.eep_max]
        self._set_ages(np.array([parameters.log_age]) if has_one_age else np.zeros(0))

    def reach(self, log_age: np.ndarray) -> None:
        """Make the isochrones that stars of these ages (n,) need."""
        if self._has_one_age or not log_age.size:
            return
        ages = [*self._ages, *log_age]
        first, last = np.floor(min(ages) / _AGE_STEP), np.floor(max(ages) / _AGE_STEP) + 1.0
        nodes = _AGE_STEP * np.arange(first, last + 1.0)
        wanted = np.unique(np.clip(nodes, *self._grid.log_age_range))
        if wanted.size != self._ages.size:
            self._set_ages(wanted)

    def _set_ages(self, log_ages: np.ndarray) -> None:
        for age in map(float, log_ages):
            if age not in self._known:
                self._known[age] = self._track(age)
        self._ages = log_ages
        self._mass = np.array([self._known[float(age)][0] for age in log_ages])
        self._columns = np.array([self._known[float(age)][1] for age in log_ages])

    def _track(self, log_age: float) -> tuple[np.ndarray, np.ndarray]:
        """Mass (E,), and magnitude and its changes at each A_V with T_eff (E, C)."""
        p, parts = self._parameters, []
        for av in self._av:
            track = model_magnitudes(
                self._grid, self._bands, (p.feh, log_age), (float(av), p.rv), p.corrections,
                self._eep.size, with_teff_slope=self._has_slope,
            )  # fmt: skip
            parts += [track.mag + p.true_distance_modulus(), track.reddening]
            parts += [track.teff_slope] if self._has_slope else []
        mass = np.asarray(10.0**track.log10_mass)
        teff = np.full(mass.size, np.nan) if track.log_teff is None else 10.0**track.log_teff
        return mass, np.concatenate([*parts, teff[:, None]], axis=1)

    def mass_range(self, log_age: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Highest mass (n,) on the isochrone of each star, and of primaries with companions."""
        last = int(np.searchsorted(self._eep, self._options.binary_eep_max, side="right")) - 1
        top, limit = self._mass.max(axis=1), self._mass[:, : last + 1].max(axis=1)
        return np.interp(log_age, self._ages, top), np.interp(log_age, self._ages, limit)

    def look_up(
        self, mass: np.ndarray, log_age: np.ndarray, av: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Light and T_eff (n,) of single stars, each at its own A_V.

        The light (C, n, B) is the magnitude, its change with A_V, and where T_eff scatters that
        with log10 T_eff.
        """
        columns = self._look_up_columns(mass, log_age)
        shares = _lagrange(self._av, av)
        kinds = 2 + self._has_slope
        by_av = columns[:, :-1].reshape(mass.size, self._av.size, kinds, len(self._bands))
        return np.einsum("nk,nkcb->cnb", shares, by_av), columns[:, -1]

    @cached_property
    def _ascending(self) -> tuple[np.ndarray, np.ndarray]:
        """Mass (K,) and columns (K, C) of the only isochrone where the mass increases."""
        keep = _is_record(self._mass)[0]
        return self._mass[0, keep], self._columns[0, keep]

    def _look_up_columns(self, mass: np.ndarray, log_age: np.ndarray) -> np.ndarray:
        if self._has_one_age:
            known, columns = self._ascending
            return np.stack([np.interp(mass, known, c) for c in columns.T], axis=1)
        found = np.empty((mass.size, self._columns.shape[2]))
        for first in range(0, mass.size, _CHUNK):
            part = slice(first, first + _CHUNK)
            found[part] = self._look_up_by_age(mass[part], log_age[part])
        return found

    def _look_up_by_age(self, mass: np.ndarray, log_age: np.ndarray) -> np.ndarray:
        """Columns (n, C) of stars with an isochrone each."""
        cell = np.clip(np.searchsorted(self._ages, log_age) - 1, 0, self._ages.size - 2)
        width = self._ages[cell + 1] - self._ages[cell]
        share = np.clip((log_age - self._ages[cell]) / width, 0.0, 1.0)[:, None]
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
