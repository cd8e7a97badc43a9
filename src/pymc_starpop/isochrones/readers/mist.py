"""Isochrone files of MIST: ``.iso`` (theory) and ``.iso.cmd`` (theory and magnitudes).

The format: comment lines with the version, the photometric system and the abundances; the number of
isochrones; then for each age a comment with the numbers of EEPs and columns, one that numbers the
columns, one that names them, and a row for each EEP (Choi et al. 2016; Dotter 2016).
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pymc_starpop.isochrones.readers.raw import RawIsochrone, check_values
from pymc_starpop.isochrones.readers.text import PathLike, TextFile, number, number_block

__all__ = ["parse_mist"]

_EEP, _LOG_AGE, _AGE = "EEP", "log10_isochrone_age_yr", "isochrone_age_yr"
_MASS, _TEFF, _G, _L = "initial_mass", "log_Teff", "log_g", "log_L"
_PHASE = "phase"
# Columns of ``.iso.cmd`` that are no magnitudes; all after `[Fe/H]` but the phase are.
_LAST_THEORY = "[Fe/H]"

_SIZE = re.compile(r"number of EEPs,\s*cols\s*=\s*(\d{1,9})\s+(\d{1,9})\s*$")
_COUNT = re.compile(r"number of isochrones\s*=\s*(\d{1,9})\s*$")
_SYSTEM = re.compile(r"photometric system\s*=\s*(.+?)\s*$")
_VERSION = re.compile(r"MIST version number\s*=\s*(\S+)")
_EXTINCTION = re.compile(r"extinction:\s*Av\s*=\s*(\S+)")


@dataclass
class _Header:
    feh: float | None = None
    count: int | None = None
    count_line: int = 0
    system: str | None = None
    system_line: int | None = None
    values: dict[str, Any] = field(default_factory=dict)


def parse_mist(path: PathLike) -> list[RawIsochrone]:
    """Read the isochrones of one MIST file, row by row as they are there.

    Parameters
    ----------
    path : path-like
        A ``.iso`` or ``.iso.cmd`` file, plain or gzip.

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
    found = [_read_block(file, header, start, end) for start, end in zip(starts, ends, strict=True)]
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
        if match := _COUNT.search(line):
            header.count, header.count_line = int(match.group(1)), k + 1
        elif match := _SYSTEM.search(line):
            header.system, header.system_line = match.group(1), k + 1
        elif match := _VERSION.search(line):
            header.values["version"] = match.group(1)
        elif match := _EXTINCTION.search(line):
            _check_extinction(file, k, match.group(1))
        elif "[Fe/H]" in line and "Zinit" in line:
            _read_abundances(file, header, k)
    if header.feh is None:
        raise file.error(0, "the header has no line with Yinit, Zinit and [Fe/H]")
    return header


def _check_extinction(file: TextFile, k: int, text: str) -> None:
    try:
        av = number(text)
    except ValueError:
        raise file.error(k, f"Av is {text!r}, expected a number") from None
    if av != 0.0:
        raise file.error(
            k, f"the magnitudes have an extinction Av = {av:g}; download them with Av = 0"
        )


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


def _read_block(file: TextFile, header: _Header, start: int, end: int) -> RawIsochrone:
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
    table = number_block(file, rows, n_column, names)
    if len(rows) != n_row:
        last = rows[-1] if rows else start
        raise file.error(
            last,
            f"the isochrone has {len(rows)} rows where line {start + 1} promises {n_row}; the file "
            "is truncated or damaged",
        )
    column = {name: np.ascontiguousarray(table[:, k]) for k, name in enumerate(names)}
    bands = _bands(names)
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


def _bands(names: list[str]) -> tuple[str, ...]:
    """Columns between [Fe/H] and the phase in ``.iso.cmd``; none in ``.iso``."""
    if _LAST_THEORY not in names:
        return ()
    after = names[names.index(_LAST_THEORY) + 1 :]
    return tuple(name for name in after if name != _PHASE)


def _one_age(file: TextFile, column: dict[str, np.ndarray], rows: list[int]) -> float:
    name = _LOG_AGE if _LOG_AGE in column else _AGE
    age = column[name]
    other = np.flatnonzero(age != age[0]) if age.size else np.empty(0, int)
    if other.size:
        row = int(other[0])
        raise file.error(
            rows[row],
            f"{name} is {age[row]:g} here and {age[0]:g} in the rows above: one isochrone, one age",
        )
    if name == _AGE and age[0] <= 0.0:
        raise file.error(rows[0], f"{name} is {age[0]:g}, expected a positive age")
    return float(np.log10(age[0])) if name == _AGE else float(age[0])


def _whole(file: TextFile, values: np.ndarray, rows: list[int], name: str) -> np.ndarray:
    wrong = np.flatnonzero((values != np.rint(values)) | (np.abs(values) > 1e6))
    if wrong.size:
        row = int(wrong[0])
        raise file.error(rows[row], f"{name} is {values[row]:g}, expected a whole number")
    return values.astype(np.int64)
