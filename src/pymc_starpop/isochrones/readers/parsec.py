"""Isochrone tables of PARSEC: output of the CMD web page, and plain tables of one isochrone.

Output of CMD: comments (release, photometric system), a line of column names, which may be there
again before each isochrone, and the rows of all metallicities and ages one after the other with
columns ``MH``, ``logAge``, ``Mini``, ``label`` and magnitudes whose names end in ``mag`` (Bressan
et al. 2012; Marigo et al. 2017). `parsec_columns` knows the names of older output.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pymc_starpop.isochrones.readers.extinction_comments import speaks_of_extinction
from pymc_starpop.isochrones.readers.parsec_columns import Layout, find_layout, same_names
from pymc_starpop.isochrones.readers.raw import (
    RawIsochrone,
    check_values,
    snap,
    surface_gravity,
)
from pymc_starpop.isochrones.readers.text import PathLike, TextFile, number_block

__all__ = ["parse_parsec"]

_WHITE_DWARF = 9  # label of what is left after the asymptotic giant branch, a single row
_TERMINATOR = "isochrone terminated"
_LEAST_YEARS = 1e4
# Lines of the header of which one grid must have the same.
_PHYSICS = {
    "release of the models": re.compile(r"isochrones based on", re.IGNORECASE),
    "rotation": re.compile(r"omega_?i|rotation", re.IGNORECASE),
    "mass loss": re.compile(r"mass loss", re.IGNORECASE),
    "thermal pulses": re.compile(r"thermal pulse", re.IGNORECASE),
    "bolometric corrections": re.compile(r"bolometric corrections", re.IGNORECASE),
    "dust of O-rich stars": re.compile(r"O-rich circumstellar", re.IGNORECASE),
    "dust of C-rich stars": re.compile(r"C-rich circumstellar", re.IGNORECASE),
}


@dataclass(frozen=True)
class _Header:
    system: str | None
    system_line: int | None
    physics: dict[str, tuple[str, int]]


def parse_parsec(
    path: PathLike,
    feh: float | None = None,
    log_age: float | None = None,
    bands: Sequence[str] | None = None,
) -> list[RawIsochrone]:
    """Read the isochrones of one PARSEC table, row by row as they are there.

    Parameters
    ----------
    path : path-like
        Output of the CMD web page, or a table with a line of column names, plain or gzip.
    feh, log_age : float, optional
        [M/H] (dex) and log10(age / yr) of a table that has no such columns.
    bands : sequence of str, optional
        Columns to take as magnitudes. By default those whose names end in ``mag``, or without any
        such all that are not theory.

    Returns
    -------
    list of RawIsochrone
        One for each metallicity and age, in the order of the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    IsochroneFileError
        For a file that is truncated, damaged or of another kind; names file and line.
    """
    file = TextFile.read(path)
    layout = find_layout(file, bands)
    for k in range(layout.line):
        speaks_of_extinction(file, k)
    rows = []
    for k in range(layout.line + 1, len(file.lines)):
        line = file.lines[k].lstrip()
        if not line or line[0] == "#":
            speaks_of_extinction(file, k)
            if line and not same_names(line, layout.names):
                raise file.error(k, "other columns from here on; give each table in its own file")
        else:
            rows.append(k)
    used = {*layout.column.values(), *map(layout.names.index, layout.bands)}
    table = number_block(file, rows, len(layout.names), layout.names, used=used, bands=layout.bands)
    if not rows:
        raise file.error(len(file.lines) - 1, "the table has no rows")
    metallicity = _given(file, layout, table, "feh", feh, "[M/H] as feh (dex)")
    age = _ages(file, layout, table, rows, log_age)
    if "feh" not in layout.column:
        _check_one_metallicity(file, layout, table, rows)
    metallicity, age = snap(metallicity), snap(age)
    header = _Header(*_system(file, layout.line), _physics(file, layout.line))
    found = []
    for first, last in _groups(metallicity, age):
        found.append(
            _isochrone(
                file, layout, table[first:last], np.array(rows[first:last]) + 1,
                (float(metallicity[first]), float(age[first])), header,
            )
        )  # fmt: skip
    _check_end(file, found)
    return found


def _given(
    file: TextFile, layout: Layout, table: np.ndarray, key: str, value: float | None, meaning: str
) -> np.ndarray:
    """Column (n,) of the metallicity or the age, from the table or as given."""
    if key in layout.column:
        if value is not None:
            name = layout.names[layout.column[key]]
            raise file.error(
                layout.line, f"{key} was given, but the table has a column {name}; leave it out"
            )
        return table[:, layout.column[key]]
    if value is None:
        raise file.error(layout.line, f"the table does not say {meaning}: give it as an argument")
    return np.full(len(table), float(value))


def _ages(
    file: TextFile, layout: Layout, table: np.ndarray, rows: list[int], given: float | None
) -> np.ndarray:
    """log10 of the ages (n,) in years: of old tables, which have them in years, too."""
    key = "log_age"
    if key not in layout.column and "age" in layout.column:
        name, years = layout.names[layout.column["age"]], table[:, layout.column["age"]]
        is_years = (years >= _LEAST_YEARS).all()
        if given is None and not is_years:
            row = int(np.argmax(years < _LEAST_YEARS))
            raise file.error(
                rows[row],
                f"{name} is {years[row]:g}, which is no age in years; give log_age (log10 of the "
                "age in years) as an argument",
            )
        if given is None:
            return np.log10(years)
        if is_years:
            raise file.error(
                layout.line, f"{key} was given, but the table has a column {name}; leave it out"
            )
    return _given(file, layout, table, key, given, "log_age (log10 of the age in years)")


def _check_one_metallicity(
    file: TextFile, layout: Layout, table: np.ndarray, rows: list[int]
) -> None:
    """Refuse several metallicities in a table for which one [M/H] was given."""
    if "metals" not in layout.column or layout.names[layout.column["metals"]] in layout.bands:
        return
    metals = table[:, layout.column["metals"]]
    other = np.flatnonzero(metals != metals[0])
    if other.size:
        row = int(other[0])
        raise file.error(
            rows[row],
            f"{layout.names[layout.column['metals']]} is {metals[row]:g} here and {metals[0]:g} in "
            "the rows above, but the table has no column of [M/H]; give each metallicity in a file "
            "of its own, with its feh",
        )


def _physics(file: TextFile, stop: int) -> dict[str, tuple[str, int]]:
    """What the header says of the models, by the words that begin or mark the line."""
    found = {}
    for k, line in enumerate(file.lines[:stop]):
        text = " ".join(line.strip(" \t#").split())
        for name, pattern in _PHYSICS.items():
            if line.lstrip().startswith("#") and pattern.search(text):
                found[name] = (text, k + 1)
    return found


def _groups(feh: np.ndarray, log_age: np.ndarray) -> list[tuple[int, int]]:
    """First and last + 1 of the rows of equal metallicity and age."""
    new = np.flatnonzero((np.diff(feh) != 0.0) | (np.diff(log_age) != 0.0)) + 1
    edges = [0, *new.tolist(), len(feh)]
    return list(itertools.pairwise(edges))


def _isochrone(
    file: TextFile,
    layout: Layout,
    table: np.ndarray,
    lines: np.ndarray,
    node: tuple[float, float],
    header: _Header,
) -> RawIsochrone:
    column = {key: np.ascontiguousarray(table[:, k]) for key, k in layout.column.items()}
    phase = column.get("phase")
    keep = np.ones(len(table), dtype=bool)
    if phase is not None:
        wrong = np.flatnonzero((phase != np.rint(phase)) | (phase < 0) | (phase > 20))
        if wrong.size:
            row = int(wrong[0])
            name = layout.names[layout.column["phase"]]
            raise file.error(
                int(lines[row]) - 1, f"{name} is {phase[row]:g}, expected a whole number up to 9"
            )
        keep = phase != _WHITE_DWARF
    if not keep.any():
        raise file.error(int(lines[0]) - 1, "the isochrone holds no star before the white dwarfs")
    theory = {
        key: column[key][keep] if key in column else None
        for key in ("mass", "log_teff", "log_g", "log_l")
    }
    mass = theory.pop("mass")
    if theory["log_g"] is None:
        theory["log_g"] = surface_gravity(mass, theory["log_l"], theory["log_teff"])
    return check_values(
        RawIsochrone(
            path=Path(file.path),
            lines=lines[keep],
            feh=node[0],
            log_age=node[1],
            bands=layout.bands,
            initial_mass=column["initial_mass"][keep],
            mag=table[keep][:, [layout.names.index(band) for band in layout.bands]],
            phase=None if phase is None else phase[keep].astype(np.int64),
            system=header.system,
            system_line=header.system_line,
            header={"columns": tuple(layout.names)},
            physics=header.physics,
            **theory,
        )
    )


def _check_end(file: TextFile, found: list[RawIsochrone]) -> None:
    """Refuse a last isochrone that lacks phases which all others have: the file was cut off."""
    if len(found) < 3 or found[0].phase is None:
        return
    if any(_TERMINATOR in line for line in file.lines[-3:]):
        return
    reached = [int(one.phase.max()) for one in found if one.phase is not None]
    if reached[-1] < min(reached[:-1]):
        raise file.error(
            len(file.lines) - 1,
            f"the last isochrone ends in phase {reached[-1]}, all others reach "
            f"{min(reached[:-1])}: the file is truncated",
        )


def _system(file: TextFile, stop: int) -> tuple[str | None, int | None]:
    for k, line in enumerate(file.lines[:stop]):
        if "Photometric system:" in line:
            text = line.split("Photometric system:", 1)[1].strip()
            return text.replace("<i>", "").replace("</i>", ""), k + 1
    return None, None
