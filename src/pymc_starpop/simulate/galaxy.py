"""Simulated galaxies: the stars of a star formation history, without noise."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import xarray as xr
from rich.progress import Progress

from pymc_starpop.hess.binaries import BinaryModel, NoBinaries
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.population.imf import InitialMassFunction, Kroupa
from pymc_starpop.simulate.population import CompositePopulation, as_population
from pymc_starpop.simulate.sampler import Chunk, GalaxyModel, GalaxySampler, isochrone_arrays

__all__ = ["simulate_cmd"]

PROGRESS_FROM = 5_000_000  # systems from which a progress bar is shown


def simulate_cmd(
    iso: Any,
    sfh: Any,
    *,
    bands: Sequence[str] | None = None,
    distance_modulus: float,
    av: float = 0.0,
    rv: float = 3.1,
    imf: InitialMassFunction | None = None,
    binaries: BinaryModel | None = None,
    total_mass: float | None = None,
    abs_mag: Mapping[str, float] | None = None,
    fractions: str = "mass",
    faint_limit: Mapping[str, float] | None = None,
    counts: str = "poisson",
    rng: np.random.Generator | int | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Draw the stars of a galaxy: intrinsic apparent magnitudes, without noise.

    Masses come from the exact inverse of the mass function, magnitudes from the isochrone, linear
    between its points. Stars too low in mass for the isochrone, or dead, are formed and count in
    the mass, but give no light; systems without light are not in the table.

    Parameters
    ----------
    iso : IsochroneGrid, isochrone, or list of isochrones
        An isochrone is what ``iso.at`` gives, or a tuple of initial_mass (E,), Msun, and abs_mag
        (E, B) in the order of ``bands``. A list has one for each population.
    sfh : CompositePopulation, mapping, or float
        Ages or ranges of ages, metallicities and masses formed, or a mapping of the arguments of
        `CompositePopulation`; with ``mass_formed`` of shape (N_age, N_mh) those of its
        ``from_grid``. For one isochrone the mass formed (Msun) will do, for a list one mass each.
    bands : sequence of str
        B bands. What ``iso.at`` gives has its own.
    distance_modulus : float
        Mag.
    av, rv : float
        Extinction in V (mag) and A_V / E(B - V), with an isochrone grid only.
    imf : InitialMassFunction, optional
        `Kroupa` by default.
    binaries : binary model, optional
        `NoBinaries` by default.
    total_mass : float, optional
        Mass formed in all populations, Msun; the masses of `sfh` then are relative.
    abs_mag : mapping of str to float, optional
        One band and the absolute magnitude of all stars in it, without extinction, in place of
        ``total_mass``.
    fractions : {"mass", "light"}
        Whether relative masses are fractions of the mass formed or of the light in the band of
        ``abs_mag``.
    faint_limit : mapping of str to float, optional
        Faintest apparent magnitude in some of the bands, mag: fainter systems are left out, and
        most of them never drawn. Give one beyond which completeness is nil.
    counts : {"poisson", "reach"}
        With "poisson" the number of systems is a Poisson number whose mean the mass makes, so that
        stars in any bin of a diagram are Poisson numbers too. With "reach" systems are drawn one
        by one until the mass (or light) of each population is reached.
    rng : numpy.random.Generator or int, optional
        Source of randomness or a seed.
    progress : bool
        Whether to show a bar from 5 million systems on.

    Returns
    -------
    xarray.Dataset
        One row a system along ``star``: each band (mag), initial_mass of the more massive star and
        companion_mass (Msun, 0 for single stars), log_age of the stars, mh (dex, that of the
        isochrone used), and population, the index in `sfh`. Rows are in the order of the draws,
        population by population, not a random one. `bin_cmd` and `observe` take the table as it is.

    Raises
    ------
    ValueError
        For arguments that do not go together, numbers outside the isochrone grid, and isochrones
        without ascending masses.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> iso = psp.load_isochrones()
    >>> sfh = psp.CompositePopulation([9.0, 10.0], [-0.5, -1.2], [1e3, 4e3], mh_sigma=0.1)
    >>> stars = psp.simulate_cmd(iso, sfh, bands=["Bessell_V", "Bessell_I"],
    ...                          distance_modulus=25.0, faint_limit={"Bessell_I": 30.0}, rng=1)
    >>> sorted(stars.data_vars)[:3], bool((stars["Bessell_I"] <= 30.0).all())
    (['Bessell_I', 'Bessell_V', 'companion_mass'], True)
    """
    if bands is None and not isinstance(iso, IsochroneGrid):
        bands = getattr(iso, "bands", None)
    if bands is None:
        raise ValueError("bands must name the bands to simulate, got None.")
    model = GalaxyModel(
        tuple(bands), distance_modulus, av, rv,
        Kroupa() if imf is None else imf, NoBinaries() if binaries is None else binaries,
        faint_limit or {},
    )  # fmt: skip
    _check_choices(counts, fractions, total_mass, abs_mag)
    population = _population(iso, sfh, model.bands)
    light_band = None if abs_mag is None else next(iter(abs_mag))
    sampler = GalaxySampler(iso, population, model, light_band)
    masses, flux = _scale(sampler, total_mass, abs_mag, fractions)
    sampler = sampler.with_masses(masses)
    rng = np.random.default_rng(rng)
    if counts == "poisson":
        chunks = sampler.chunks(rng)
    else:
        target = masses if flux is None else flux
        chunks = sampler.chunks_to_target(target, flux is not None, rng)
    n_formed = masses.sum() * model.binaries.systems_per_mass(model.imf)
    return _table(chunks, sampler, progress and n_formed > PROGRESS_FROM)


def _population(iso: Any, sfh: Any, bands: tuple[str, ...]) -> CompositePopulation:
    """Populations, also where isochrones come with masses only."""
    is_number = np.ndim(sfh) <= 1 and not isinstance(sfh, CompositePopulation | Mapping)
    if isinstance(iso, IsochroneGrid) or not is_number:
        return as_population(sfh)
    isochrones = iso if isinstance(iso, list) else [iso]
    isochrone_arrays(isochrones, len(bands))
    log_age = np.array([float(getattr(one, "log_age", 0.0)) for one in isochrones])
    mh = np.array([float(getattr(one, "feh", 0.0)) for one in isochrones])
    return CompositePopulation(log_age, mh, np.atleast_1d(np.asarray(sfh, dtype=float)))


def _scale(
    sampler: GalaxySampler,
    total_mass: float | None,
    abs_mag: Mapping[str, float] | None,
    fractions: str,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Masses formed (K,), Msun, and with an absolute magnitude the fluxes (K,)."""
    relative = sampler.sfh.mass_formed / sampler.sfh.total_mass
    if abs_mag is None:
        return sampler.sfh.mass_formed if total_mass is None else relative * total_mass, None
    flux = 10.0 ** (-0.4 * next(iter(abs_mag.values())))
    per_mass = sampler.flux_per_mass()
    if fractions == "light":
        if not np.all(per_mass[relative > 0] > 0):
            raise ValueError("fractions: a population gives no light; leave it out.")
        masses = relative * flux / np.where(relative > 0, per_mass, 1.0)
    else:
        masses = relative * flux / (relative @ per_mass)
    return masses, masses * per_mass


def _table(chunks: Iterable[Chunk], sampler: GalaxySampler, progress: bool) -> xr.Dataset:
    """Join the chunks to one table, with a bar of the part that is done."""
    parts: dict[str, list[np.ndarray]] = {}
    empty = np.empty(0)
    with Progress() if progress else nullcontext() as bar:
        task = bar.add_task("simulate_cmd", total=1.0) if bar else None
        for columns, part in chunks:
            for name, values in columns.items():
                parts.setdefault(name, []).append(values)
            if bar and task is not None:
                bar.advance(task, part)
    # Column by column, so that one column at a time is in memory twice.
    table = {}
    for name in sampler.column_names:
        table[name] = ("star", np.concatenate(parts.pop(name, [empty])))
    model = sampler.model
    attributes = {
        "bands": list(model.bands),
        "distance_modulus": model.distance_modulus,
        "av": model.av,
        "rv": model.rv,
        "mass_formed": sampler.sfh.total_mass,
        "imf": repr(model.imf),
        "binaries": repr(model.binaries),
    }
    return xr.Dataset(table, attrs=attributes)


def _check_choices(
    counts: str, fractions: str, total_mass: float | None, abs_mag: Mapping[str, float] | None
) -> None:
    if counts not in ("poisson", "reach"):
        raise ValueError(f"counts must be 'poisson' or 'reach', got {counts!r}.")
    if fractions not in ("mass", "light"):
        raise ValueError(f"fractions must be 'mass' or 'light', got {fractions!r}.")
    if total_mass is not None and abs_mag is not None:
        raise ValueError("give total_mass or abs_mag, not both.")
    if total_mass is not None and not 0.0 < total_mass < np.inf:
        raise ValueError(f"total_mass must be positive and finite (Msun), got {total_mass!r}.")
    if abs_mag is None:
        if fractions == "light":
            raise ValueError("fractions='light' needs abs_mag={band: magnitude}.")
        return
    if not (isinstance(abs_mag, Mapping) and len(abs_mag) == 1):
        raise ValueError(f"abs_mag must map one band to a magnitude, got {abs_mag!r}.")
    if not np.isfinite(next(iter(abs_mag.values()))):
        raise ValueError(f"abs_mag must be finite (mag), got {abs_mag!r}.")
