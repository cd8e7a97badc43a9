"""The first step: models of all primary masses and mass ratios of a population."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.bolometric import TABLE_RV
from pymc_starpop.isochrones.corrections import ModelNodes
from pymc_starpop.isochrones.empirical_corrections import EmpiricalCorrections
from pymc_starpop.population import track_weights
from pymc_starpop.population.imf_base import InitialMassFunction
from pymc_starpop.staged._arguments import accept_own_names, check_axis, check_columns

__all__ = ["in_magnitudes", "population_grid", "smf_spacing"]

# The default grid of brutus 1.2.0.
_SMF_GRID = (0.0, 1.0, 21)
_EEP_GRID = (202.0, 808.0, 1000)


@dataclass(frozen=True)
class _Track:
    """One isochrone between its nodes: straight lines in mass and magnitude over EEP.

    Attributes
    ----------
    eep, mass : (E,) nodes and initial masses, Msun
    mag : (E, B) apparent magnitudes
    """

    eep: np.ndarray
    mass: np.ndarray
    mag: np.ndarray

    def mass_at(self, eep: np.ndarray) -> np.ndarray:
        return np.interp(eep, self.eep, self.mass, left=np.nan, right=np.nan)

    def mag_at(self, eep: np.ndarray) -> np.ndarray:
        columns = [np.interp(eep, self.eep, m, left=np.nan, right=np.nan) for m in self.mag.T]
        return np.stack(columns, axis=1)


@accept_own_names
def population_grid(
    iso: IsochroneGrid,
    feh: float,
    loga: float,
    av: float,
    rv: float,
    dist: float,
    smf_grid: Any = None,
    eep_grid: Any = None,
    mini_bound: float = 0.08,
    eep_binary_max: float = 480.0,
    corr_params: Any = None,
    bands: Sequence[str] | None = None,
    imf: InitialMassFunction | None = None,
) -> dict[str, Any]:
    """Model fluxes of a population over primary mass and mass ratio, one row for each point.

    The points are those of brutus 1.2.0, in its order: the EEPs of `eep_grid` once for each mass
    ratio ("secondary mass fraction", smf). Beyond `eep_binary_max` stars have no companion: those
    points are there once, after those of the first mass ratio, and carry the full measure of the
    mass ratios. Points whose mass does not increase are left out; those below `mini_bound` have no
    photometry (NaN). A companion adds its flux if it lies on the grid at or below `eep_binary_max`
    and has at least `mini_bound`; a system whose companion does not shines as its primary alone.
    Between the nodes of `iso` mass and magnitude are linear in EEP.

    Parameters
    ----------
    iso : IsochroneGrid
        In the place of brutus' StellarPop.
    feh : float
        [Fe/H], dex.
    loga : float
        log10(age / yr); also ``log_age``.
    av, rv : float
        A_V (mag) and R_V.
    dist : float
        Distance, pc; also ``distance_pc``, or ``distance_modulus`` in mag.
    smf_grid : array-like (S,), optional
        Mass ratios from 0 to 1, ascending; 21 from 0 to 1 by default.
    eep_grid : array-like (E,), optional
        EEPs, ascending, also between nodes; 1,000 from 202 to 808 by default.
    mini_bound : float
        Lowest initial mass with a model, Msun; also ``mass_min``.
    eep_binary_max : float
        Last EEP of stars with companions, and of companions; also ``binary_eep_max``.
    corr_params : EmpiricalCorrections or sequence of 4 floats, optional
        (dtdm, drdm, msto_smooth, feh_scale), applied at the nodes; also ``corrections``. By
        default models are raw.
    bands : sequence of str, optional
        Names from ``iso.bands``; all of them by default.
    imf : InitialMassFunction, optional
        By default ``mass_jacobians`` are spacings of the masses, so that sums over the grid are
        flat in mass, as in brutus. With a mass function they are the share of the primaries around
        each point, between `mini_bound` and the last mass: what `pymc_starpop.cluster_logp`
        integrates over.

    Returns
    -------
    dict
        ``photometry`` (G, B), fluxes 10^(-0.4 mag); ``masses`` (G,), Msun; ``smf_values`` (G,),
        mass ratios, without meaning beyond `eep_binary_max`; ``mass_jacobians``,
        ``smf_jacobians`` (G,), the weights of the two integrals; ``eep`` (G,); ``grid_info`` with
        ``smf_grid``, ``eep_grid``, ``n_total_points`` and ``bands``.

    Raises
    ------
    ValueError
        For numbers outside `iso`, unknown bands, grids that do not ascend, and where no point is
        left.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> grid = psp.staged.population_grid(
    ...     psp.load_isochrones(), 0.0, 9.4, 0.1, 3.1, 300.0, bands=["Gaia_G_EDR3", "2MASS_J"]
    ... )
    >>> grid["photometry"].shape[1], bool(grid["mass_jacobians"].min() > 0.0)
    (2, True)
    """
    smf = check_axis("smf_grid", np.linspace(*_SMF_GRID) if smf_grid is None else smf_grid, (0, 1))
    everywhere = (-math.inf, math.inf)
    eep = np.linspace(*_EEP_GRID) if eep_grid is None else eep_grid
    eep = check_axis("eep_grid", eep, everywhere)
    if not (np.isfinite(dist) and dist > 0.0):
        raise ValueError(f"dist must be a positive distance in pc, got {dist}.")
    bands = tuple(iso.bands if bands is None else bands)
    track = _isochrone(iso, feh, loga, av, rv, dist, corr_params, bands)
    mass, mag = track.mass_at(eep), track.mag_at(eep)
    mag[~(mass >= mini_bound)] = np.nan
    mass_jacobians = _spacing(mass) if imf is None else _imf_shares(mass, mini_bound, imf)
    smf_jacobians = smf_spacing(smf)
    with np.errstate(invalid="ignore"):
        exists = mass_jacobians > 0.0
    if not exists.any():
        raise ValueError(
            f"eep_grid ({eep[0]:g} to {eep[-1]:g}) has no point whose mass increases; the nodes "
            f"of iso lie between EEP {track.eep[0]:g} and {track.eep[-1]:g}, with "
            f"{track.mass.min():.3g} to {track.mass.max():.3g} Msun, and mini_bound is "
            f"{mini_bound:g} Msun."
        )
    before, after = exists & (eep <= eep_binary_max), exists & (eep > eep_binary_max)
    blocks = []
    for i, ratio in enumerate(smf):
        system = _with_companion(track, eep, mass, mag, ratio, mini_bound, eep_binary_max)
        blocks.append((before, system, i, smf_jacobians[i]))
        if i == 0:
            blocks.append((after, mag, i, smf_jacobians.sum()))
    n_points = [int(keep.sum()) for keep, *_ in blocks]
    return {
        "photometry": np.concatenate([10.0 ** (-0.4 * m[keep]) for keep, m, _, _ in blocks]),
        "masses": np.concatenate([mass[keep] for keep, *_ in blocks]),
        "smf_values": np.repeat([smf[i] for _, _, i, _ in blocks], n_points),
        "mass_jacobians": np.concatenate([mass_jacobians[keep] for keep, *_ in blocks]),
        "smf_jacobians": np.repeat([measure for *_, measure in blocks], n_points),
        "eep": np.concatenate([eep[keep] for keep, *_ in blocks]),
        "grid_info": {
            "smf_grid": smf,
            "eep_grid": eep,
            "n_total_points": sum(n_points),
            "bands": bands,
        },
    }


def in_magnitudes(grid: Mapping[str, Any]) -> dict[str, Any]:
    """Return a grid whose photometry is in magnitudes, -2.5 log10(flux).

    The stages compare what is observed with the grid by subtraction alone. With this grid they take
    magnitudes and their errors in the place of fluxes, and are densities in magnitudes.

    Parameters
    ----------
    grid : mapping
        From `population_grid`.

    Returns
    -------
    dict
        The same columns but for ``photometry`` (G, B), mag.

    Examples
    --------
    >>> import numpy as np
    >>> in_magnitudes({"photometry": np.array([[1.0, 100.0]])})["photometry"].tolist()
    [[0.0, -5.0]]
    """
    (flux,) = check_columns(grid, ("photometry",))
    if (flux <= 0.0).any():
        raise ValueError(
            "grid['photometry'] holds fluxes of 0 or less, which have no magnitude; it may be in "
            "magnitudes already."
        )
    return {**grid, "photometry": -2.5 * np.log10(flux) + 0.0}


def smf_spacing(smf: np.ndarray) -> np.ndarray:
    """Weight (S,) of each mass ratio: the spacing of the grid, 1 for a single one."""
    return _spacing(smf)


def _spacing(values: np.ndarray) -> np.ndarray:
    return np.gradient(values) if len(values) > 1 else np.ones(1)


def _isochrone(
    iso: IsochroneGrid, feh: float, loga: float, av: float, rv: float, dist: float,
    corr_params: Any, bands: tuple[str, ...],
) -> _Track:  # fmt: skip
    """Nodes of the isochrone with apparent magnitudes, corrected where that is asked for."""
    one, eep = iso.at(feh, loga, bands, av=av, rv=rv), iso.eep_at(feh, loga)
    mag = one.abs_mag
    if corr_params is not None:
        corrections = _corrections(corr_params)
        at = corrections.theory(
            ModelNodes(one.initial_mass, eep, one.feh, one.log_teff, one.log_g, one.log_l)
        )
        coefficients = iso.bolometric(bands).interpolate(at.log_teff, at.log_g, one.feh)
        rv_term = iso.rv_slope(bands) * (1.0 / rv - 1.0 / TABLE_RV)
        mag, _ = track_weights.reddened(coefficients, at.log_l, av, rv_term)
    return _Track(eep, one.initial_mass, mag + 5.0 * np.log10(dist) - 5.0)


def _corrections(corr_params: Any) -> EmpiricalCorrections:
    if isinstance(corr_params, EmpiricalCorrections):
        return corr_params
    values = np.asarray(corr_params, dtype=float)
    if values.shape != (4,):
        raise ValueError(
            f"corr_params must be EmpiricalCorrections or its four numbers (dtdm, drdm, "
            f"msto_smooth, feh_scale), got {corr_params!r}."
        )
    return EmpiricalCorrections(*values.tolist())


def _with_companion(
    track: _Track, eep: np.ndarray, mass: np.ndarray, mag: np.ndarray, ratio: float,
    mini_bound: float, eep_binary_max: float,
) -> np.ndarray:  # fmt: skip
    """Magnitudes (E, B) of systems with one mass ratio."""
    if ratio == 0.0:
        return mag
    has_companion = eep <= eep_binary_max
    if ratio == 1.0:
        return np.where(has_companion[:, None], mag - 2.5 * np.log10(2.0), mag)
    # As in brutus: the companion's EEP from the masses at the points of the grid.
    known = np.isfinite(mass)
    order = np.argsort(mass[known])
    eep2 = np.interp(ratio * mass, mass[known][order], eep[known][order], left=np.nan, right=np.nan)
    lit = has_companion & (eep2 <= eep_binary_max)
    lit &= track.mass_at(eep2) >= mini_bound
    mag2 = track.mag_at(eep2)
    lit &= np.isfinite(mag2).all(axis=1)
    flux = 10.0 ** (-0.4 * mag[lit]) + 10.0 ** (-0.4 * mag2[lit])
    system = mag.copy()
    system[lit] = -2.5 * np.log10(flux)
    return system


def _imf_shares(mass: np.ndarray, mini_bound: float, imf: InitialMassFunction) -> np.ndarray:
    """Share (E,) of the mass function around each point; 0 below `mini_bound` and without mass.

    Each interval between points goes to its ends half by half in mass. The part between
    `mini_bound` and the first point above goes to that point. As in the likelihood itself,
    intervals along which the mass does not increase have no share.
    """
    if not isinstance(imf, InitialMassFunction):
        raise ValueError(
            f"imf must be a mass function such as psp.Kroupa(), or None for spacings in mass, got "
            f"{imf!r}."
        )
    shares = np.zeros(mass.size)
    used = np.flatnonzero(mass >= mini_bound)  # False for NaN
    if used.size == 0:
        return shares
    first = used[0]
    start = mini_bound if first > 0 and np.isfinite(mass[first - 1]) else mass[first]
    low, high = mass[used][:-1], mass[used][1:]
    high = np.maximum(low, high)
    middle = 0.5 * (low + high)
    shares[first] += float(imf.integral(start, mass[first]))
    shares[used[:-1]] += imf.integral(low, middle)
    shares[used[1:]] += imf.integral(middle, high)
    return shares / float(imf.integral(start, mass[used[-1]]))
