"""Isochrone files of MIST: ``.iso`` (theory) and ``.iso.cmd`` (theory and magnitudes).

The format: comment lines with the version, the photometric system and the abundances; the number of
isochrones; then for each age a comment with the numbers of EEPs and columns, one that numbers the
columns, one that names them, and a row for each EEP (Choi et al. 2016; Dotter 2016).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pymc_starpop.isochrones.readers.extinction_comments import speaks_of_extinction
from pymc_starpop.isochrones.readers.raw import (
    ROUNDING,
    RawIsochrone,
    check_values,
    choose_columns,
)
from pymc_starpop.isochrones.readers.text import PathLike, TextFile, number, number_block
from pymc_starpop.isochrones.readers.theory_names import is_theory

__all__ = ["parse_mist"]

_EEP, _LOG_AGE, _AGE = "EEP", "log10_isochrone_age_yr", "isochrone_age_yr"
_MASS, _TEFF, _G, _L = "initial_mass", "log_Teff", "log_g", "log_L"
_PHASE = "phase"
_READ = {_EEP, _LOG_AGE, _AGE, _MASS, _TEFF, _G, _L, _PHASE}
# Further columns of ``.iso.cmd`` that are no magnitudes; version 1.0 has Z_surf in place of [Fe/H].
_CMD_THEORY = _READ | {"star_mass", "log_R", "[Fe/H]_init", "[Fe/H]", "Z_surf"}
# What one grid must have in common, of the line of abundances.
_PHYSICS = ("[a/Fe]", "v/vcrit")

_SIZE = re.compile(r"number of EEPs,\s*cols\s*=\s*(\d{1,9})\s+(\d{1,9})\s*$")
_COUNT = re.compile(r"number of isochrones\s*=\s*(\d{1,9})\s*$")
_SYSTEM = re.compile(r"photometric system\s*=\s*(.+?)\s*$")
_VERSION = re.compile(r"MIST version number\s*=\s*(\S+)")
_MESA = re.compile(r"MESA revision number\s*=\s*(\S+)")


@dataclass
class _Header:
    feh: float | None = None
    count: int | None = None
    count_line: int = 0
    system: str | None = None
    system_line: int | None = None
    has_extinction: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    physics: dict[str, tuple[str, int]] = field(default_factory=dict)


def parse_mist(path: PathLike, bands: Sequence[str] | None = None) -> list[RawIsochrone]:
    """Read the isochrones of one MIST file, row by row as they are there.

    Parameters
    ----------
    path : path-like
        A ``.iso`` or ``.iso.cmd`` file, plain or gzip.
    bands : sequence of str, optional
        Columns to take as magnitudes; all that are not theory by default.

    Returns
    -------
    list of RawIsochrone
        One for each age; without bands for ``.iso``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    IsochroneFileError
        For a file that is truncated, damaged or of another kind; names file and line.
    """
    file = TextFile.read(path)
    starts = [k for k, line in enumerate(file.lines) if line.startswith("#") and _SIZE.search(line)]
    if not starts:
        raise file.error(
            0, "this is no isochrone file of MIST: no line '# number of EEPs, cols = ...'"
        )
    header = _read_header(file, starts[0])
    ends = [*starts[1:], len(file.lines)]
    found = [
        _read_block(file, header, start, end, bands)
        for start, end in zip(starts, ends, strict=True)
    ]
    if header.count is not None and header.count != len(found):
        raise file.error(
            len(file.lines) - 1,
            f"the file ends after {len(found)} of the {header.count} isochrones that line "
            f"{header.count_line} promises",
        )
    return found


def _read_header(file: TextFile, stop: int) -> _Header:
    header = _Header()
    for k, line in enumerate(file.lines[:stop]):
        if not line.startswith("#"):
            if line.strip():
                raise file.error(k, f"expected a comment of the header, got {line[:40]!r}")
            continue
        header.has_extinction |= speaks_of_extinction(file, k)
        if match := _COUNT.search(line):
            header.count, header.count_line = int(match.group(1)), k + 1
        elif match := _SYSTEM.search(line):
            header.system, header.system_line = match.group(1), k + 1
        elif match := _VERSION.search(line):
            header.values["version"] = match.group(1)
            header.physics["version"] = (match.group(1), k + 1)
        elif match := _MESA.search(line):
            header.physics["MESA revision"] = (match.group(1), k + 1)
        elif "[Fe/H]" in line and "Zinit" in line:
            _read_abundances(file, header, k)
    if header.feh is None:
        raise file.error(0, "the header has no line with Yinit, Zinit and [Fe/H]")
    return header


def _read_abundances(file: TextFile, header: _Header, k: int) -> None:
    names = file.lines[k].lstrip("#").split()
    values = file.lines[k + 1].lstrip("#").split() if k + 1 < len(file.lines) else []
    try:
        numbers = dict(zip(names, map(number, values), strict=True))
    except ValueError:
        raise file.error(k + 1, f"expected a number for each of {' '.join(names)}") from None
    if "[Fe/H]" not in numbers:
        raise file.error(k, "expected a column [Fe/H]")
    header.feh = numbers["[Fe/H]"]
    header.values |= numbers
    header.physics |= {name: (f"{numbers[name]:g}", k + 2) for name in _PHYSICS if name in numbers}
    # Helium and metals follow from [Fe/H] and [a/Fe]: files of one [Fe/H] must agree in them.
    header.physics |= {
        f"{name} of [Fe/H] = {header.feh:g}": (f"{numbers[name]:g}", k + 2)
        for name in ("Yinit", "Zinit")
        if name in numbers
    }


def _read_block(
    file: TextFile, header: _Header, start: int, end: int, wanted: Sequence[str] | None
) -> RawIsochrone:
    """Read one isochrone, from the line with its size to before that of the next."""
    match = _SIZE.search(file.lines[start])
    assert match is not None
    n_row, n_column = int(match.group(1)), int(match.group(2))
    names: list[str] = []
    rows: list[int] = []
    for k in range(start + 1, end):
        line = file.lines[k]
        if line.startswith("#"):
            fields = line.lstrip("#").split()
            if fields[:1] == [_EEP] and not rows:
                names = fields
        elif line.strip():
            rows.append(k)
    _check_names(file, start, names, n_column)
    bands = _bands(file, start, header, names, wanted)
    used = {k for k, name in enumerate(names) if name in _READ or name in bands}
    table = number_block(file, rows, n_column, names, used=used, bands=bands)
    if len(rows) != n_row:
        last = rows[-1] if rows else start
        raise file.error(
            last,
            f"the isochrone has {len(rows)} rows where line {start + 1} promises {n_row}; the file "
            "is truncated or damaged",
        )
    column = {name: np.ascontiguousarray(table[:, k]) for k, name in enumerate(names)}
    lines = np.array(rows) + 1
    return check_values(
        RawIsochrone(
            path=Path(file.path),
            lines=lines,
            feh=float(header.feh),  # type: ignore[arg-type]
            log_age=_one_age(file, column, rows),
            bands=bands,
            initial_mass=column[_MASS],
            mag=np.column_stack([column[band] for band in bands])
            if bands
            else np.empty((len(rows), 0)),
            eep=_whole(file, column[_EEP], rows, _EEP),
            phase=_whole(file, column[_PHASE], rows, _PHASE) if _PHASE in column else None,
            log_teff=column.get(_TEFF),
            log_g=column.get(_G),
            log_l=column.get(_L),
            system=header.system,
            system_line=header.system_line,
            header=header.values,
            physics=header.physics,
        )
    )


def _check_names(file: TextFile, start: int, names: list[str], n_column: int) -> None:
    if len(names) != n_column:
        raise file.error(
            start, f"this line promises {n_column} columns, the names below it are {len(names)}"
        )
    ages = [name for name in (_LOG_AGE, _AGE) if name in names]
    lacking = [name for name in (_EEP, _MASS, _TEFF, _G, _L) if name not in names]
    lacking += [] if ages else [_LOG_AGE]
    if lacking:
        raise file.error(start, f"the isochrone has no column {', '.join(lacking)}")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise file.error(start, f"the column {', '.join(repeated)} is there twice")


def _bands(
    file: TextFile, start: int, header: _Header, names: list[str], wanted: Sequence[str] | None
) -> tuple[str, ...]:
    """Magnitudes: all that is no theory, whether or not the header speaks of them."""
    own = [name for name in names if not (name in _CMD_THEORY or is_theory(name, names))]
    if not own:
        if header.system is not None or header.has_extinction or "[Fe/H]" in names:
            raise file.error(start, "there are no magnitudes")
        if wanted is not None:
            raise file.error(
                start, "there are no magnitudes; leave bands out, iso.at chooses among them"
            )
    return choose_columns(file, start, names, own, wanted, _CMD_THEORY)


def _one_age(file: TextFile, column: dict[str, np.ndarray], rows: list[int]) -> float:
    name = _LOG_AGE if _LOG_AGE in column else _AGE
    age = column[name]
    if not age.size:
        raise file.error(None, "an isochrone has no rows")
    if name == _AGE and not (age > 0.0).all():
        row = int(np.argmin(age > 0.0))
        raise file.error(rows[row], f"{name} is {age[row]:g}, expected a positive age")
    log_age = age if name == _LOG_AGE else np.log10(age)
    other = np.flatnonzero(np.abs(log_age - log_age[0]) > ROUNDING)
    if other.size:
        row = int(other[0])
        raise file.error(
            rows[row],
            f"{name} is {age[row]:g} here and {age[0]:g} in the rows above: one isochrone, one age",
        )
    return float(log_age[0])


def _whole(file: TextFile, values: np.ndarray, rows: list[int], name: str) -> np.ndarray:
    wrong = np.flatnonzero((values != np.rint(values)) | (np.abs(values) > 1e6))
    if wrong.size:
        row = int(wrong[0])
        raise file.error(rows[row], f"{name} is {values[row]:g}, expected a whole number")
    return values.astype(np.int64)
