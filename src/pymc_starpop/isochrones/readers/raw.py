"""One isochrone as a file has it, and the checks that every library's must pass."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pymc_starpop.isochrones.readers.text import IsochroneFileError, TextFile
from pymc_starpop.isochrones.readers.theory_names import refused_as_band

__all__ = ["ROUNDING", "RawIsochrone", "check_values", "choose_columns", "snap", "surface_gravity"]

# What any star has, with room: a value outside is a damaged file. Masses Msun; K, cgs and Lsun as
# log10; magnitudes absolute, in any band (carbon stars within their dust pass 90 in U).
PLAUSIBLE = {
    "initial_mass": (1e-3, 1e3),
    "log_teff": (2.0, 6.5),
    "log_g": (-5.0, 10.0),
    "log_l": (-10.0, 9.0),
    "magnitude": (-30.0, 200.0),
    "feh": (-10.0, 3.0),
    "log_age": (3.0, 10.5),
}
# Magnitudes that stand for "not computed" in tables, with either sign.
_SENTINELS = (99.0, 99.9, 99.99, 99.999, 99.9999, 999.0, 999.9, 999.99, 9999.0)
# Initial masses rise along an isochrone, but for rounding: none is less than this share of the
# largest before it, and neighbors of a library's isochrone differ by less than this factor.
_LEAST_SHARE, _LARGEST_RISE = 0.98, 3.0
# Ages (dex) and metallicities that differ by less are the same, rounded.
ROUNDING = 2e-5
# Gravity at log M = log L = 0 and the solar T_eff: nominal values of IAU 2015 resolution B3,
# (GM)_sun = 1.3271244e20 m3/s2, R_sun = 6.957e8 m, T_sun = 5772 K.
_LOG_G_SUN = math.log10(100.0 * 1.3271244e20 / 6.957e8**2)
_LOG_TEFF_SUN = math.log10(5772.0)


@dataclass(frozen=True, eq=False)
class RawIsochrone:
    """The rows of one isochrone, as a file has them.

    Attributes
    ----------
    path : Path
        The file.
    lines : ndarray of int (n,)
        Number, from 1, of the line of each row.
    feh, log_age : float
        [Fe/H] (or [M/H], dex) and log10(age / yr).
    bands : tuple of str
        The B bands.
    initial_mass : ndarray (n,)
        Msun.
    mag : ndarray (n, B)
        Absolute magnitudes.
    eep : ndarray of int (n,) or None
        Equivalent evolutionary points, where the library has them.
    phase : ndarray of int (n,) or None
        The library's labels of evolutionary phases.
    log_teff, log_g, log_l : ndarray (n,) or None
        log10 of K, cgs and Lsun, where the file has them.
    system : str or None
        Photometric system, as the header says it.
    system_line : int or None
        The line that says it.
    header : mapping
        Further values of the header.
    physics : mapping
        What the models of a grid must have in common, as far as the header says it: name to the
        value and its line.
    """

    path: Path
    lines: np.ndarray
    feh: float
    log_age: float
    bands: tuple[str, ...]
    initial_mass: np.ndarray
    mag: np.ndarray
    eep: np.ndarray | None = None
    phase: np.ndarray | None = None
    log_teff: np.ndarray | None = None
    log_g: np.ndarray | None = None
    log_l: np.ndarray | None = None
    system: str | None = None
    system_line: int | None = None
    header: Mapping[str, Any] = field(default_factory=dict)
    physics: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.initial_mass.size

    def error(self, message: str, row: int | None = None) -> IsochroneFileError:
        """Make the error for the isochrone, or for one of its rows."""
        row = 0 if row is None else row
        line = int(self.lines[row]) if len(self.lines) else None
        return IsochroneFileError(self.path, line, message)

    def columns(self) -> np.ndarray:
        """Columns (n, 4 + B): log10 mass, log T_eff, log g, log L, NaN if not there; magnitudes."""
        missing = np.full(len(self), np.nan)
        theory = [missing if c is None else c for c in (self.log_teff, self.log_g, self.log_l)]
        return np.column_stack([np.log10(self.initial_mass), *theory, self.mag])


def choose_columns(
    file: TextFile,
    line: int,
    names: Sequence[str],
    bands: Sequence[str],
    wanted: Sequence[str] | None,
    theory: Collection[str] = (),
) -> tuple[str, ...]:
    """Columns that are read as magnitudes: those that the user named, or `bands`.

    Parameters
    ----------
    file : TextFile
    line : int
        Index of the line that names the columns.
    names : sequence of str
        All columns.
    bands : sequence of str
        Those that are magnitudes by their name or place.
    wanted : sequence or mapping of str, optional
        What the user chose.
    theory : collection of str
        Further names that are no magnitudes, besides those known of every library.

    Raises
    ------
    IsochroneFileError
        For a column that is not there, or is theory.
    """
    if wanted is None:
        return tuple(bands)
    lacking = [name for name in wanted if name not in names]
    if lacking:
        raise file.error(
            line, f"there is no column {', '.join(map(str, lacking))}; there are {', '.join(bands)}"
        )
    known = [name for name in wanted if name in theory or refused_as_band(name, names)]
    if known:
        raise file.error(
            line,
            f"{', '.join(known)} is theory, no magnitude; leave it out of bands. There are "
            f"{', '.join(bands)}",
        )
    return tuple(wanted)


def snap(values: np.ndarray) -> np.ndarray:
    """Values (n,) of which those equal but for rounding have become equal.

    Of neighbors within `ROUNDING` the one with the fewest digits counts, whatever their order.
    """
    unique = np.unique(values)
    group = np.concatenate([[0], np.cumsum(np.diff(unique) > ROUNDING)])
    best: dict[int, float] = {}
    for k, value in zip(group.tolist(), unique.tolist(), strict=True):
        if k not in best or len(repr(value)) < len(repr(best[k])):
            best[k] = value
    chosen = np.array([best[k] for k in group.tolist()])
    return chosen[np.searchsorted(unique, values)]


def surface_gravity(
    mass: np.ndarray | None, log_l: np.ndarray | None, log_teff: np.ndarray | None
) -> np.ndarray | None:
    """log10 of the surface gravity (n,), cgs, by ``g = 4 pi sigma G M T_eff^4 / L``.

    Parameters
    ----------
    mass : ndarray (n,) or None
        Present mass, Msun.
    log_l, log_teff : ndarray (n,) or None
        log10 of Lsun and K. Without one of them there is no gravity.
    """
    if mass is None or log_l is None or log_teff is None or not (mass > 0.0).all():
        return None
    return _LOG_G_SUN + np.log10(mass) - log_l + 4.0 * (log_teff - _LOG_TEFF_SUN)


def check_values(one: RawIsochrone, largest_rise: float = _LARGEST_RISE) -> RawIsochrone:
    """Return the isochrone after checking that its values can be those of stars.

    Parameters
    ----------
    one : RawIsochrone
    largest_rise : float
        The largest ratio of the masses of neighbors; infinite for tables of the user's own, which
        may be as coarse as their user likes.

    Raises
    ------
    IsochroneFileError
        With the line of the first value that cannot be, and for fewer than two rows.
    """
    for name in ("feh", "log_age"):
        low, high = PLAUSIBLE[name]
        if not low <= getattr(one, name) <= high:
            raise one.error(f"{name} is {getattr(one, name):g}, expected {low:g} to {high:g}")
    if len(one) < 2:
        raise one.error(f"the isochrone has {len(one)} rows, expected at least two")
    columns = {name: getattr(one, name) for name in ("initial_mass", "log_teff", "log_l", "log_g")}
    columns |= {band: one.mag[:, k] for k, band in enumerate(one.bands)}
    for name, values in columns.items():
        if values is None:
            continue
        low, high = PLAUSIBLE.get(name, PLAUSIBLE["magnitude"])
        bad = ~((values >= low) & (values <= high))
        if bad.any():
            row = int(np.argmax(bad))
            _refuse_absent(one, name, values)
            raise one.error(
                f"{name} is {values[row]:g}, expected {low:g} to {high:g}" + _remedy(one, name), row
            )
    for band, values in zip(one.bands, one.mag.T, strict=True):
        _refuse_absent(one, band, values)
    if one.eep is not None:
        back = np.flatnonzero(np.diff(one.eep) <= 0)
        if back.size:
            row = int(back[0]) + 1
            raise one.error(f"EEP {one.eep[row]} follows {one.eep[row - 1]}; they must ascend", row)
    _check_masses(one, largest_rise)
    if not (np.diff(one.initial_mass) > 0.0).any():
        raise one.error("initial_mass nowhere increases")
    return one


def _remedy(one: RawIsochrone, name: str) -> str:
    """What to do about a band of which a value is no magnitude."""
    if name not in one.bands:
        return ""
    return f"; if {name} is no magnitude, or not needed, name the columns that are: bands=[...]"


def _refuse_absent(one: RawIsochrone, band: str, values: np.ndarray) -> None:
    """Refuse numbers that stand for magnitudes that were not computed."""
    if band not in one.bands:
        return
    absent = np.isclose(np.abs(values)[:, None], _SENTINELS, rtol=0.0, atol=1e-9).any(axis=1)
    if absent.any():
        row = int(np.argmax(absent))
        raise one.error(
            f"{band} is {values[row]:g}, which stands for no magnitude; leave out the rows where "
            f"abs({band}) >= 99, or choose other bands with bands=[...]",
            row,
        )


def _check_masses(one: RawIsochrone, largest_rise: float) -> None:
    """Refuse masses that jump, or fall as no initial masses do."""
    mass = one.initial_mass
    largest = np.maximum.accumulate(mass)
    falls = mass < _LEAST_SHARE * largest
    jumps = np.concatenate([[False], mass[1:] > largest_rise * mass[:-1]])
    if not (falls | jumps).any():
        return
    row = int(np.argmax(falls | jumps))
    if jumps[row]:
        raise one.error(
            f"initial_mass {mass[row]:g} Msun follows {mass[row - 1]:g}; a row is damaged or rows "
            "are missing",
            row,
        )
    raise one.error(
        f"initial_mass {mass[row]:g} Msun follows {largest[row]:g}: initial masses rise along an "
        "isochrone; a row is damaged, isochrones are mixed, or these are present masses, which "
        "fall with mass loss: take the column of initial ones (Mini, M_ini)",
        row,
    )
