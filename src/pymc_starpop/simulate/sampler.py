"""Sampler of the systems of a galaxy: populations, isochrones, and what is seen of them."""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from pymc_starpop.hess.binaries import BinaryModel, NoBinaries, check_binaries
from pymc_starpop.hess.template_checks import check_imf
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.population.imf import InitialMassFunction, Kroupa
from pymc_starpop.simulate.light import flux_per_mass
from pymc_starpop.simulate.nodes import IsochroneNodes, population_nodes
from pymc_starpop.simulate.population import CompositePopulation
from pymc_starpop.simulate.systems import Systems, SystemSampler
from pymc_starpop.simulate.tracks import StarTrack

__all__ = ["GalaxyModel", "GalaxySampler", "isochrone_arrays"]

CHUNK = 1_000_000  # systems drawn at a time: 100 MB of work space
_LOST_WARNING = 0.01
_ROUNDING = 1e-9  # dex
_PACKAGE = str(Path(__file__).parents[1])  # warnings point at the code that calls this package

Chunk = tuple[dict[str, np.ndarray], float]


@dataclass(frozen=True, eq=False)
class GalaxyModel:
    """Where the stars of a simulation come from and how they are seen.

    Parameters
    ----------
    bands : tuple of str
        B bands.
    distance_modulus : float
        Mag.
    av, rv : float
        Extinction in V (mag) and its law, for an isochrone grid.
    imf : InitialMassFunction
    binaries : BinaryModel
    faint_limit : mapping of str to float
        Faintest apparent magnitude by band, mag.
    """

    bands: tuple[str, ...]
    distance_modulus: float
    av: float = 0.0
    rv: float = 3.1
    imf: InitialMassFunction = field(default_factory=Kroupa)
    binaries: BinaryModel = field(default_factory=NoBinaries)
    faint_limit: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bands = tuple(self.bands)
        if isinstance(self.bands, str) or not bands or len(set(bands)) != len(bands):
            raise ValueError(f"bands must be distinct names, at least one, got {self.bands!r}.")
        object.__setattr__(self, "bands", bands)
        if not np.isfinite(self.distance_modulus):
            raise ValueError(f"distance_modulus must be finite, got {self.distance_modulus!r}.")
        check_binaries(self.binaries)
        check_imf(self.imf)
        for band, limit in self.faint_limit.items():
            if band not in bands or not np.isfinite(limit):
                raise ValueError(
                    f"faint_limit must give a finite magnitude for some of {', '.join(bands)}, "
                    f"got {band!r}: {limit!r}."
                )


class GalaxySampler:
    """Draws the systems of a galaxy population by population, in chunks.

    Parameters
    ----------
    iso : IsochroneGrid, isochrone, or list of isochrones
    sfh : CompositePopulation
    model : GalaxyModel
    light_band : str, optional
        Band in which light is counted; a further column of the tracks, without extinction.
    """

    def __init__(
        self, iso: Any, sfh: CompositePopulation, model: GalaxyModel, light_band: str | None = None
    ):
        self.sfh = sfh
        self.model = model
        is_grid = isinstance(iso, IsochroneGrid)
        self._iso = iso if is_grid else isochrone_arrays(iso, len(model.bands))
        self._light_band = light_band
        if not is_grid and (model.av != 0.0 or sfh.mh_sigma.any()):
            raise ValueError(
                "av and mh_sigma need an IsochroneGrid; redden the magnitudes of an isochrone "
                "yourself, and give one isochrone for each metallicity."
            )
        if light_band is not None and not is_grid and light_band not in model.bands:
            raise ValueError(f"abs_mag: no band {light_band!r}, there are {model.bands}.")
        if not is_grid and len(self._iso) != len(sfh):
            raise ValueError(
                f"sfh has {len(sfh)} populations for {len(self._iso)} isochrones; give as many."
            )
        _check_ages(iso, sfh)
        limits = iso.feh_range if is_grid else (-np.inf, np.inf)
        self.nodes = [population_nodes(sfh, k, limits) for k in range(len(sfh))]
        lost = np.dot([n.lost for n in self.nodes], sfh.mass_formed) / sfh.total_mass
        if lost > _LOST_WARNING:
            warnings.warn(
                f"{100 * lost:.1f} % of the mass lies outside the isochrones in [M/H], "
                f"{limits[0]:g} to {limits[1]:g} dex; the others take its place.",
                skip_file_prefixes=(_PACKAGE,),
            )

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns of `chunks`."""
        others = ("initial_mass", "companion_mass", "log_age", "mh", "population")
        return (*self.model.bands, *others)

    def sampler(self, index: int, node: int) -> SystemSampler:
        """Sampler of one population on one of its isochrones."""
        model = self.model
        limits = {model.bands.index(b): m for b, m in model.faint_limit.items()}
        return SystemSampler(self.track(index, node), model.binaries, limits)

    def track(self, index: int, node: int) -> StarTrack:
        """One of the isochrones of a population, with the band of the light as a last column."""
        model = self.model
        if isinstance(self._iso, IsochroneGrid):
            nodes = self.nodes[index]
            at = {"feh": nodes.mh[node], "log_age": nodes.log_age[node]}
            one = self._iso.at(**at, bands=model.bands, av=model.av, rv=model.rv)
            mass, mag = one.initial_mass, one.abs_mag
            if self._light_band is not None:
                light = self._iso.at(**at, bands=[self._light_band]).abs_mag
                mag = np.concatenate([mag, light - model.distance_modulus], axis=1)
        else:
            mass, mag = self._iso[index]
            if self._light_band is not None:
                light = mag[:, [model.bands.index(self._light_band)]]
                mag = np.concatenate([mag, light - model.distance_modulus], axis=1)
        return StarTrack(mass, mag + model.distance_modulus, model.imf)

    def flux_per_mass(self) -> np.ndarray:
        """Flux 10^(-0.4 M) in the light band for each Msun formed, by population (K,)."""
        column = len(self.model.bands)
        return np.array(
            [
                sum(
                    share * flux_per_mass(self.track(k, j), column, self.model.binaries)
                    for j, share in enumerate(nodes.share)
                )
                for k, nodes in enumerate(self.nodes)
            ]
        )

    def with_masses(self, mass_formed: np.ndarray) -> "GalaxySampler":
        """Return the same galaxy with other masses formed (K,), Msun."""
        other = copy.copy(self)
        other.sfh = self.sfh.with_masses(mass_formed)
        return other

    def chunks(self, rng: np.random.Generator) -> Iterator[Chunk]:
        """Yield systems whose number is Poisson with the mean that the mass makes.

        Columns of the table, and the part of all the work that they were.
        """
        for k, nodes in enumerate(self.nodes):
            for j, share in enumerate(nodes.share):
                mass = share * self.sfh.mass_formed[k]
                if mass == 0.0:
                    continue
                for systems, part in self.sampler(k, j).draw_poisson(mass, rng, CHUNK):
                    log_age = nodes.draw_log_age(j, systems.initial_mass.size, rng)
                    columns = self.columns(systems, k, log_age, nodes.mh[j])
                    yield columns, part * mass / self.sfh.total_mass

    def chunks_to_target(
        self, target: np.ndarray, by_light: bool, rng: np.random.Generator
    ) -> Iterator[Chunk]:
        """Yield systems until each population has its mass (Msun) or its flux (K,).

        The last system of each population is the one that reaches the target.
        """
        unit = self.flux_per_mass() if by_light else np.ones(len(self.sfh))
        for k, nodes in enumerate(self.nodes):
            # All isochrones of a wide range of ages would fill the memory.
            sampler_at = lru_cache(maxsize=128)(partial(self.sampler, k))
            left = float(target[k])
            while left > 0.0:
                expected = left / unit[k] * sampler_at(0).per_mass
                n = int(min(expected + 3.0 * np.sqrt(expected) + 10.0, CHUNK))
                which = rng.choice(len(nodes), size=n, p=nodes.share)
                systems = _draw_mixed(sampler_at, which, rng)
                gain = systems.initial_mass + systems.companion_mass
                if by_light:
                    gain = 10.0 ** (-0.4 * systems.mag[:, -1])
                reached = np.cumsum(gain)
                stop = min(int(np.searchsorted(reached, left)) + 1, n)
                left -= float(reached[stop - 1])
                seen = np.flatnonzero(sampler_at(0).passes(systems.mag[:stop]))
                log_age = _draw_ages(nodes, which[seen], rng)
                part = min(reached[stop - 1] / target[k], 1.0) / len(self.sfh)
                systems = systems.select(seen)
                yield self.columns(systems, k, log_age, nodes.mh[which[seen]]), part

    def columns(
        self, systems: Systems, index: int, log_age: np.ndarray, mh: Any
    ) -> dict[str, np.ndarray]:
        """Columns of the table for systems of one population."""
        n = systems.initial_mass.size
        columns = {band: systems.mag[:, i] for i, band in enumerate(self.model.bands)}
        return columns | {
            "initial_mass": systems.initial_mass,
            "companion_mass": systems.companion_mass,
            "log_age": log_age,
            "mh": np.broadcast_to(mh, n),
            "population": np.full(n, index, dtype=np.int32),
        }


def isochrone_arrays(iso: Any, n_band: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Initial masses (E,) and magnitudes (E, B) of one isochrone, or of each in a list."""
    if isinstance(iso, list):
        return [pair for one in iso for pair in isochrone_arrays(one, n_band)]
    if hasattr(iso, "initial_mass") and hasattr(iso, "abs_mag"):
        iso = (iso.initial_mass, iso.abs_mag)
    if not (isinstance(iso, tuple) and len(iso) == 2):
        raise ValueError(
            f"iso must be an IsochroneGrid, what its `at` gives, a tuple (initial_mass, abs_mag), "
            f"or a list of these, got {type(iso).__name__}."
        )
    mass, mag = (np.asarray(values, dtype=float) for values in iso)
    if mag.ndim != 2 or mag.shape != (mass.size, n_band):
        raise ValueError(
            f"abs_mag must have shape (E, B) = {(mass.size, n_band)}, one row for each mass and "
            f"one column for each band, got {mag.shape}."
        )
    return [(mass, mag)]


def _check_ages(iso: Any, sfh: CompositePopulation) -> None:
    """Ranges of ages lie within the isochrones."""
    if (sfh.log_age == sfh.log_age_old).all():
        return
    if not isinstance(iso, IsochroneGrid):
        raise ValueError(
            "log_age_old needs an IsochroneGrid; give one isochrone for each of the ages instead."
        )
    lowest, highest = iso.log_age_range
    young, old = float(sfh.log_age.min()), float(sfh.log_age_old.max())
    if young < lowest - _ROUNDING or old > highest + _ROUNDING:
        raise ValueError(
            f"log_age to log_age_old reach from {young:g} to {old:g}, the isochrones from "
            f"{lowest:g} to {highest:g}; cut the ranges."
        )


def _draw_ages(nodes: IsochroneNodes, which: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ages (n,) of systems on the isochrones that the indices name, log10(age / yr)."""
    order = np.argsort(which, kind="stable")
    drawn = [
        nodes.draw_log_age(int(j), int(count), rng)
        for j, count in zip(*np.unique(which, return_counts=True), strict=True)
    ]
    ages = np.empty(which.size)
    ages[order] = np.concatenate([np.empty(0), *drawn])
    return ages


def _draw_mixed(
    sampler_at: Callable[[int], SystemSampler], which: np.ndarray, rng: np.random.Generator
) -> Systems:
    """Draw one system from the sampler that each index names."""
    indices, counts = np.unique(which, return_counts=True)
    drawn = [sampler_at(int(i)).draw(int(n), rng) for i, n in zip(indices, counts, strict=True)]
    if len(drawn) == 1:
        return drawn[0]
    order = np.argsort(np.argsort(which, kind="stable"))
    names = ("initial_mass", "companion_mass", "mag")
    return Systems(*(np.concatenate([getattr(d, name) for d in drawn])[order] for name in names))
