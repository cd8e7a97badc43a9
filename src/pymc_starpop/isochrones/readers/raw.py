"""One isochrone as a file has it, and the checks that every library's must pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pymc_starpop.isochrones.readers.text import IsochroneFileError

__all__ = ["RawIsochrone", "check_values"]

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
# Magnitudes that stand for "not computed" in tables.
_SENTINELS = (99.0, 99.9, 99.99, 99.999, 99.9999)
# Neighbors on a library's isochrone: masses fall by much less, and rise by less than this factor.
_LEAST_RISE, _LARGEST_RISE = 0.95, 3.0


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
    columns = {name: getattr(one, name) for name in ("initial_mass", "log_teff", "log_g", "log_l")}
    columns |= {band: one.mag[:, k] for k, band in enumerate(one.bands)}
    for name, values in columns.items():
        if values is None:
            continue
        low, high = PLAUSIBLE.get(name, PLAUSIBLE["magnitude"])
        bad = ~((values >= low) & (values <= high))
        if bad.any():
            row = int(np.argmax(bad))
            raise one.error(f"{name} is {values[row]:g}, expected {low:g} to {high:g}", row)
    for band, values in zip(one.bands, one.mag.T, strict=True):
        absent = np.isclose(np.abs(values)[:, None], _SENTINELS, rtol=0.0, atol=1e-9).any(axis=1)
        if absent.any():
            row = int(np.argmax(absent))
            raise one.error(f"{band} is {values[row]:g}, which stands for no magnitude", row)
    if one.eep is not None:
        back = np.flatnonzero(np.diff(one.eep) <= 0)
        if back.size:
            row = int(back[0]) + 1
            raise one.error(f"EEP {one.eep[row]} follows {one.eep[row - 1]}; they must ascend", row)
    _check_masses(one, largest_rise)
    if not (np.diff(one.initial_mass) > 0.0).any():
        raise one.error("initial_mass nowhere increases")
    return one


def _check_masses(one: RawIsochrone, largest_rise: float) -> None:
    """Refuse masses that jump, or fall by more than any isochrone does."""
    rise = one.initial_mass[1:] / one.initial_mass[:-1]
    bad = np.flatnonzero((rise < _LEAST_RISE) | (rise > largest_rise))
    if bad.size:
        row = int(bad[0]) + 1
        before, here = one.initial_mass[row - 1 : row + 1]
        raise one.error(
            f"initial_mass {here:g} Msun follows {before:g}; a row is damaged or rows are missing",
            row,
        )
