"""Isochrone files of BaSTI-IAC, ``.isc`` (Hidalgo et al. 2018, ApJ 856, 125).

One isochrone a file: comment lines with the mixture, the photometric system, the number of points,
[M/H] and the age in Myr, the names of the columns, and a row for each point.

The 2,100 points of an isochrone are homologous: the tracks were normalized to as many points with
the same number between key points of the evolution (Hidalgo et al. 2018, table 4), and in the files
the spacing of the initial masses changes at just these rows.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pymc_starpop.isochrones.readers.extinction_comments import speaks_of_extinction
from pymc_starpop.isochrones.readers.raw import (
    RawIsochrone,
    check_values,
    choose_columns,
    surface_gravity,
)
from pymc_starpop.isochrones.readers.text import PathLike, TextFile, number, number_block
from pymc_starpop.isochrones.readers.theory_names import is_theory
from pymc_starpop.isochrones.source import EepScale

__all__ = ["BASTI_SCALE", "parse_basti"]

# Rows (from 1) of an isochrone of 2,100 points at which the spacing of the masses changes: central
# H at 0.30; the turn-off; the end of central H; the base, the bump (brightest and faintest point)
# and the tip of the red giant branch; quiescent He burning; then central He down to its end.
KEY_POINTS = (300, 360, 420, 490, 860, 890, 1290, 1300, 1450, 1550, 1650, 1730, 1810, 1950, 2100)
# 420 ends central hydrogen burning.
BASTI_SCALE = EepScale("BaSTI", 420, 2100, KEY_POINTS, (1290, 1300))

_HEADER = re.compile(r"\bNp\s*=")
_VALUE = re.compile(r"(Np|\[M/H\]|\[Fe/H\]|Z|Y|Age\s*\(Myr\))\s*=\s*([^\s\[]+)")
_MASS, _LOG_L, _LOG_TEFF = "M/Mo(ini)", "log(L/Lo)", "logTe"
_PRESENT_MASS = "M/Mo(fin)"
_THEORY = (_MASS, _PRESENT_MASS, _LOG_L, _LOG_TEFF)


def parse_basti(path: PathLike, bands: Sequence[str] | None = None) -> list[RawIsochrone]:
    """Read the isochrone of one BaSTI file, row by row as it is there.

    Parameters
    ----------
    path : path-like
        A ``.isc`` file, plain or gzip.
    bands : sequence of str, optional
        Columns to take as magnitudes; all that are not theory by default.

    Returns
    -------
    list of RawIsochrone
        Just one; its EEPs are the numbers of the rows, from 1.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    IsochroneFileError
        For a file that is truncated, damaged or of another kind; names file and line.
    """
    file = TextFile.read(path)
    headers = [k for k, line in enumerate(file.lines) if _is_comment(line) and _HEADER.search(line)]
    if not headers:
        raise file.error(0, "this is no isochrone file of BaSTI: no line '# Np = ... [M/H] = ...'")
    if len(headers) > 1:
        raise file.error(
            headers[1], "a second isochrone begins here; give each in a file of its own"
        )
    for k, line in enumerate(file.lines):
        if _is_comment(line):
            speaks_of_extinction(file, k)
    values = _read_header(file, headers[0])
    names, named_at = _column_names(file)
    rows = [k for k, line in enumerate(file.lines) if line.strip() and not _is_comment(line)]
    if rows and rows[0] < named_at:
        raise file.error(rows[0], "numbers before the line that names the columns")
    magnitudes = [name for name in names if not (name in _THEORY or is_theory(name, names))]
    chosen = choose_columns(file, named_at, names, magnitudes, bands, _THEORY)
    used = {k for k, name in enumerate(names) if name in _THEORY or name in chosen}
    table = number_block(file, rows, len(names), names, used=used, bands=chosen)
    if len(rows) != values["Np"]:
        raise file.error(
            rows[-1] if rows else headers[0],
            f"the isochrone has {len(rows)} rows where line {headers[0] + 1} promises "
            f"{values['Np']:g}; the file is truncated or damaged",
        )
    column = {name: np.ascontiguousarray(table[:, k]) for k, name in enumerate(names)}
    system, system_line, physics = _system(file, headers[0])
    mixture = {name: values[name] for name in ("Z", "Y") if name in values}
    # Helium is part of the physics: files of one metallicity must agree in it.
    physics |= {
        f"{name} of [M/H] = {values['[M/H]']:g}": (f"{value:g}", headers[0] + 1)
        for name, value in mixture.items()
    }
    one = RawIsochrone(
        path=Path(file.path),
        lines=np.array(rows) + 1,
        feh=values.get("[Fe/H]", values["[M/H]"]),
        log_age=math.log10(values["Age"]) + 6.0,
        bands=chosen,
        initial_mass=column[_MASS],
        mag=np.column_stack([column[band] for band in chosen]) if chosen else table[:, :0],
        eep=np.arange(1, len(rows) + 1),
        log_teff=column[_LOG_TEFF],
        log_g=surface_gravity(column.get(_PRESENT_MASS), column[_LOG_L], column[_LOG_TEFF]),
        log_l=column[_LOG_L],
        system=system,
        system_line=system_line,
        header=values,
        physics=physics,
    )
    return [check_values(one)]


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _read_header(file: TextFile, k: int) -> dict[str, Any]:
    values = {}
    for name, text in _VALUE.findall(file.lines[k]):
        try:
            values[name.split()[0].split("(")[0]] = number(text)
        except ValueError:
            raise file.error(k, f"{name} is {text!r}, expected a number") from None
    lacking = [name for name in ("Np", "[M/H]", "Age") if name not in values]
    if lacking:
        raise file.error(k, f"the header does not give {', '.join(lacking)}")
    if not values["Age"] > 0.0 or not np.isfinite(list(values.values())).all():
        raise file.error(k, "the header has an age or another number that cannot be")
    return values


def _column_names(file: TextFile) -> tuple[list[str], int]:
    for k, line in enumerate(file.lines):
        names = line.lstrip(" #").split()
        if _is_comment(line) and _MASS in names:
            lacking = [name for name in (_LOG_L, _LOG_TEFF) if name not in names]
            if lacking:
                raise file.error(k, f"there is no column {', '.join(lacking)}")
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise file.error(k, f"the column {', '.join(repeated)} is there twice")
            if not set(names) - set(_THEORY):
                raise file.error(k, "there are no magnitudes")
            return names, k
    raise file.error(0, f"no line names the columns, the first of which is {_MASS}")


def _system(file: TextFile, stop: int) -> tuple[str | None, int | None, dict[str, tuple[str, int]]]:
    """The system and the mixture: ``# Scaled solar models & transformations - GAIA``."""
    for k, line in enumerate(file.lines[:stop]):
        if "transformations" in line and "-" in line:
            before, after = line.rsplit("transformations", 1)
            mixture = " ".join(before.strip(" #\t&").split())
            return after.strip(" -\t"), k + 1, {"mixture": (mixture, k + 1)} if mixture else {}
    return None, None, {}
