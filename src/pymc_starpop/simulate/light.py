"""Light of a population for each Msun formed, and the mass that is still in stars."""

from typing import Any

import numpy as np

from pymc_starpop.hess.binaries import (
    BinaryModel,
    MassRatioBinaries,
    NoBinaries,
    check_binaries,
)
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.population.imf import InitialMassFunction, Kroupa
from pymc_starpop.simulate.tracks import StarTrack

__all__ = ["flux_per_mass", "recycled_fraction", "surviving_fraction"]

_LN_FLUX = 0.4 * np.log(10.0)


def _unit_rule(n: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 * (nodes + 1.0), 0.5 * weights


# Along a piece of an isochrone the flux is an exponential over a few magnitudes at most; over
# mass ratios everything is smooth.
_PIECE_RULE = _unit_rule(10)
_RATIO_RULE = _unit_rule(48)


def flux_per_mass(track: StarTrack, column: int, binaries: BinaryModel) -> float:
    """Mean flux 10^(-0.4 m) in one column for each Msun formed.

    Flux adds up, so that random pairs make no difference; with a law for the mass ratio the stars
    of pairs have another mass function than the systems.
    """
    if not isinstance(binaries, MassRatioBinaries):
        return _mean_flux(track, column, 1.0) * NoBinaries().systems_per_mass(track.imf)
    ratio, weight = _ratios(binaries)
    pairs = sum(
        w * (_mean_flux(track, column, 1.0 + q) + _mean_flux(track, column, (1.0 + q) / q))
        for q, w in zip(ratio, weight, strict=True)
    )
    f = binaries.fraction
    mean = (1.0 - f) * _mean_flux(track, column, 1.0) + f * pairs
    return mean * binaries.systems_per_mass(track.imf)


def surviving_fraction(
    iso: Any,
    log_age: float | None = None,
    mh: float | None = None,
    *,
    imf: InitialMassFunction | None = None,
    binaries: BinaryModel | None = None,
) -> float:
    """Fraction of the mass formed that is still in living stars.

    A star lives if its initial mass is not above that of the end of the isochrone; it counts with
    its initial mass. Remnants are not counted: what they hold belongs to the rest, as does what
    was returned to the gas. Stars of less mass than the isochrone covers live.

    Parameters
    ----------
    iso : IsochroneGrid, or array-like (E,)
        The grid, with ``log_age`` and ``mh``, or the initial masses of one isochrone, Msun.
    log_age, mh : float, optional
        log10(age / yr) and [M/H] (dex), for a grid.
    imf : InitialMassFunction, optional
        `Kroupa` by default; stars are formed from ``mass_min`` to ``mass_max``.
    binaries : binary model, optional
        `NoBinaries` by default. Random pairs make no difference; in the pairs of
        `MassRatioBinaries` stars have less mass and live longer.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For a grid without age and metallicity, and numbers outside the grid.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> iso = psp.load_isochrones()
    >>> round(psp.surviving_fraction(iso, 10.0, -1.0), 2)
    0.42
    """
    imf = Kroupa() if imf is None else imf
    binaries = check_binaries(NoBinaries() if binaries is None else binaries)
    last = _last_mass(iso, log_age, mh)
    if not isinstance(binaries, MassRatioBinaries):
        return _mass_below(imf, last)
    ratio, weight = _ratios(binaries)
    pairs = sum(
        w
        * (_mass_below(imf, last * (1.0 + q)) + q * _mass_below(imf, last * (1.0 + q) / q))
        / (1.0 + q)
        for q, w in zip(ratio, weight, strict=True)
    )
    f = binaries.fraction
    return (1.0 - f) * _mass_below(imf, last) + f * float(pairs)


def recycled_fraction(
    iso: Any,
    log_age: float | None = None,
    mh: float | None = None,
    *,
    imf: InitialMassFunction | None = None,
    binaries: BinaryModel | None = None,
) -> float:
    """Fraction of the mass formed that is no longer in living stars, remnants included.

    One minus `surviving_fraction`, with the same arguments.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> round(psp.recycled_fraction([0.1, 0.5, 1.0, 100.0]), 2)
    0.0
    """
    return 1.0 - surviving_fraction(iso, log_age, mh, imf=imf, binaries=binaries)


def _mean_flux(track: StarTrack, column: int, scale: float) -> float:
    """Mean flux over the mass function of the star that has 1 / scale of a drawn mass."""
    imf = track.imf
    nodes, weights = _PIECE_RULE
    total = 0.0
    for run in track.runs:
        cuts = np.array([imf.mass_min, *imf.break_masses, imf.mass_max], dtype=float) / scale
        inner = cuts[(cuts > run.mass[0]) & (cuts < run.mass[-1])]
        steps = np.sort(np.concatenate([np.unique(run.mass), inner]))
        mass = steps[:-1, None] + nodes * np.diff(steps)[:, None]
        drawn = mass * scale
        formed = (drawn > imf.mass_min) & (drawn < imf.mass_max)
        density = np.where(formed, imf.density(drawn), 0.0) * scale
        flux = np.exp(-_LN_FLUX * np.interp(mass, run.mass, run.mag[:, column]))
        total += float((weights * density * flux * np.diff(steps)[:, None]).sum())
    return total / float(imf.integral(imf.mass_min, imf.mass_max))


def _mass_below(imf: InitialMassFunction, mass: float) -> float:
    """Fraction of the mass drawn that is in objects below a mass (Msun)."""
    upper = min(max(mass, imf.mass_min), imf.mass_max)
    total = imf.mass_integral(imf.mass_min, imf.mass_max)
    return float(imf.mass_integral(imf.mass_min, upper) / total)


def _last_mass(iso: Any, log_age: float | None, mh: float | None) -> float:
    if isinstance(iso, IsochroneGrid):
        if log_age is None or mh is None:
            raise ValueError("an isochrone grid needs log_age and mh.")
        masses = iso.at(feh=mh, log_age=log_age, bands=iso.bands[:1]).initial_mass
    else:
        masses = np.asarray(getattr(iso, "initial_mass", iso), dtype=float)
        if masses.ndim != 1 or masses.size < 2 or not np.isfinite(masses).all():
            raise ValueError(
                f"iso must be an IsochroneGrid or the initial masses (E,) of one isochrone, got "
                f"shape {masses.shape}."
            )
    return float(masses.max())


def _ratios(binaries: MassRatioBinaries) -> tuple[np.ndarray, np.ndarray]:
    """Mass ratios and their probabilities, for integrals over the law."""
    probability, weights = _RATIO_RULE
    return binaries.mass_ratio_quantile(probability), weights
