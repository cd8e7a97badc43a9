"""Isochrone tables of PARSEC: output of the CMD web page, and plain tables of one isochrone.

Output of CMD: comments (release, photometric system), a line of column names, which may be there
again before each isochrone, and the rows of all metallicities and ages one after the other with
columns ``MH``, ``logAge``, ``Mini``, ``label`` and magnitudes whose names end in ``mag`` (Bressan
et al. 2012; Marigo et al. 2017). Older output has ``log(age/yr)``, ``M_ini`` and ``stage``.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pymc_starpop.isochrones.readers.raw import RawIsochrone, check_values
from pymc_starpop.isochrones.readers.text import PathLike, TextFile, number_block

__all__ = ["parse_parsec"]

_NAMES = {
    "initial_mass": ("Mini", "M_ini", "m_ini", "initial_mass"),
    "log_age": ("logAge", "log(age/yr)"),
    "feh": ("MH", "[M/H]"),
    "log_teff": ("logTe", "logTeff"),
    "log_g": ("logg", "logG"),
    "log_l": ("logL", "logL/Lo"),
    "phase": ("label", "stage"),
}
# Columns of a plain table that are no magnitudes.
_NO_BANDS = {"Zini", "Z", "int_IMF", "Mass", "M_act", "mass", "flum"} | {
    name for names in _NAMES.values() for name in names
}
_WHITE_DWARF = 9  # label of what is left after the asymptotic giant branch, a single row
_TERMINATOR = "isochrone terminated"


@dataclass(frozen=True)
class _Layout:
    names: list[str]
    line: int
    column: dict[str, int]
    bands: tuple[str, ...]


def parse_parsec(
    path: PathLike, feh: float | None = None, log_age: float | None = None
) -> list[RawIsochrone]:
    """Read the isochrones of one PARSEC table, row by row as they are there.

    Parameters
    ----------
    path : path-like
        Output of the CMD web page, or a table with a line of column names, plain or gzip.
    feh, log_age : float, optional
        [M/H] (dex) and log10(age / yr) of a table that has no such columns.

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
    layout = _layout(file)
    rows = []
    for k in range(layout.line + 1, len(file.lines)):
        line = file.lines[k].lstrip()
        if not line or line[0] == "#":
            if line and not _same_names(line, layout.names):
                raise file.error(k, "other columns from here on; give each table in its own file")
        else:
            rows.append(k)
    table = number_block(file, rows, len(layout.names), layout.names)
    if not rows:
        raise file.error(len(file.lines) - 1, "the table has no rows")
    metallicity = _given(file, layout, table, "feh", feh, "[M/H] as feh (dex)")
    age = _given(file, layout, table, "log_age", log_age, "log_age (log10 of the age in years)")
    system, system_line = _system(file, layout.line)
    found = []
    for first, last in _groups(metallicity, age):
        found.append(
            _isochrone(
                file, layout, table[first:last], np.array(rows[first:last]) + 1,
                (float(metallicity[first]), float(age[first])), system, system_line,
            )
        )  # fmt: skip
    _check_end(file, found)
    return found


def _layout(file: TextFile) -> _Layout:
    """Find the line that names the columns: the last one before the first numbers."""
    named: tuple[int, list[str]] | None = None
    for k, line in enumerate(file.lines):
        names = line.lstrip(" \t#").split()
        if any(name in names for name in _NAMES["initial_mass"]):
            named = (k, names)
            break
        if line.strip() and not line.lstrip().startswith("#"):
            raise file.error(
                k, "this is no table of PARSEC: no line names the columns (Mini or m_ini, ...)"
            )
    if named is None:
        raise file.error(
            len(file.lines) - 1,
            "this is no table of PARSEC: no line names the columns (Mini or m_ini, ...)",
        )
    k, names = named
    if "EEP" in names:
        raise file.error(
            k, "this is no table of PARSEC: it has a column EEP; read_mist reads files of MIST"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise file.error(k, f"the column {', '.join(repeated)} is there twice")
    column = {
        key: names.index(name) for key, known in _NAMES.items() for name in known if name in names
    }
    bands = tuple(name for name in names if name.endswith("mag"))
    if not bands:
        bands = tuple(name for name in names if name not in _NO_BANDS)
    if not bands:
        raise file.error(k, "the table has no magnitudes")
    return _Layout(names, k, column, bands)


def _same_names(line: str, names: Sequence[str]) -> bool:
    """Whether a comment within the table may stand there."""
    found = line.lstrip(" \t#").split()
    is_header = any(name in found for name in _NAMES["initial_mass"])
    return not is_header or found == list(names)


def _given(
    file: TextFile, layout: _Layout, table: np.ndarray, key: str, value: float | None, meaning: str
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


def _groups(feh: np.ndarray, log_age: np.ndarray) -> list[tuple[int, int]]:
    """First and last + 1 of the rows of equal metallicity and age."""
    new = np.flatnonzero((np.diff(feh) != 0.0) | (np.diff(log_age) != 0.0)) + 1
    edges = [0, *new.tolist(), len(feh)]
    return list(itertools.pairwise(edges))


def _isochrone(
    file: TextFile,
    layout: _Layout,
    table: np.ndarray,
    lines: np.ndarray,
    node: tuple[float, float],
    system: str | None,
    system_line: int | None,
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
        key: column[key][keep] if key in column else None for key in ("log_teff", "log_g", "log_l")
    }
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
            system=system,
            system_line=system_line,
            header={"columns": tuple(layout.names)},
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
