"""What the columns of PARSEC tables are, by their names in every version of the CMD web page.

CMD 3.2 and later: ``Zini MH logAge Mini int_IMF Mass logL logTe logg label McoreTP C_O period0 ...
mbolmag``; 3.0 and 3.1: ``Zini Age Mini Mass ...`` with the age in years; 2.x: ``Z log(age/yr) M_ini
M_act logL/Lo logTe logG mbol ... C/O M_hec period pmode logMdot int_IMF stage``, whose magnitudes
have the names of the bands alone; before 2.0 ``Mbol Mu Mb Mv ... Flum``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pymc_starpop.isochrones.readers.raw import choose_columns
from pymc_starpop.isochrones.readers.text import TextFile
from pymc_starpop.isochrones.readers.theory_names import find_meanings, is_theory, theory_of

__all__ = ["Layout", "find_layout", "same_names"]

# The initial mass as CMD writes it; other spellings count where the line names as many columns as
# the rows have, since comments may speak of an initial mass.
_MASS_NAMES = ("Mini", "M_ini", "m_ini", "initial_mass")


@dataclass(frozen=True)
class Layout:
    """Where the columns of a table are.

    Attributes
    ----------
    names : list of str
        All columns.
    line : int
        Index of the line that names them.
    column : dict
        Meaning to the index of its column, as in `theory_names`.
    bands : tuple of str
        Columns that are read as magnitudes.
    """

    names: list[str]
    line: int
    column: dict[str, int]
    bands: tuple[str, ...]


def find_layout(file: TextFile, wanted: Sequence[str] | None) -> Layout:
    """Find the line that names the columns: the first with an initial mass, before any number.

    Raises
    ------
    IsochroneFileError
        If there is none, or if it cannot be that of a table of PARSEC.
    """
    line, names = _named(file)
    if "EEP" in names:
        raise file.error(
            line, "this is no table of PARSEC: it has a column EEP; read_mist reads files of MIST"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise file.error(line, f"the column {', '.join(repeated)} is there twice")
    _check_index(file, line, names)
    column = find_meanings(names)
    bands = [name for name in names if name.endswith("mag")]
    bands = bands or [name for name in names if not is_theory(name, names)]
    chosen = choose_columns(file, line, names, bands, wanted)
    if not chosen:
        raise file.error(line, "the table has no magnitudes")
    return Layout(names, line, column, chosen)


def same_names(line: str, names: Sequence[str]) -> bool:
    """Whether a comment within the table may stand there."""
    found = _fields(line)
    return not _names_columns(found, len(names)) or found == list(names)


def _fields(line: str) -> list[str]:
    return line.lstrip(" \t#").split()


def _has(names: Sequence[str], meaning: str) -> bool:
    return any(theory_of(name) == meaning for name in names)


def _names_columns(names: Sequence[str], n_column: int) -> bool:
    if any(name in names for name in _MASS_NAMES):
        return True
    return len(names) == n_column and _has(names, "initial_mass")


def _named(file: TextFile) -> tuple[int, list[str]]:
    n_column = _width(file)
    for k, line in enumerate(file.lines):
        names = _fields(line)
        if _names_columns(names, n_column):
            return k, names
        if len(names) == n_column and _has(names, "mass"):
            raise file.error(k, _no_names(line))
        if line.strip() and not line.lstrip().startswith("#"):
            raise file.error(k, _no_names(line))
    raise file.error(len(file.lines) - 1, _no_names(""))


def _width(file: TextFile) -> int:
    """How many columns the first row of numbers has."""
    for line in file.lines:
        fields = line.split()
        if fields and re.match(r"[+-]?\.?\d", fields[0]):
            return len(fields)
    return 0


def _no_names(line: str) -> str:
    """Say why a line does not name the columns."""
    split = [name.strip(" \"'#") for name in re.split(r"[,;|]", line)]
    if len(split) > 1 and _has(split, "initial_mass"):
        return _TABLE + "its columns are not separated by spaces" + _READ_TABLE
    present = [name for name in _fields(line) if theory_of(name) == "mass"]
    if present:
        return (
            f"the table has present masses ({present[0]}) and no initial ones ({_MASSES}), which "
            "mass functions need"
        )
    return f"this is no table of PARSEC: no line names the columns ({_MASSES}, ...)"


_MASSES = "Mini, M_ini or m_ini"
_TABLE = "this is no file of the CMD web page but a table that another program saved: "
_READ_TABLE = (
    "; read it with pandas.read_csv and give it to psp.read_table(frame, initial_mass='Mini', "
    "feh='MH', log_age='logAge', bands=[...], columns={'phase': 'label'})"
)


def _check_index(file: TextFile, line: int, names: Sequence[str]) -> None:
    """Refuse a table whose rows begin with their number, which has no name."""
    for k in range(line + 1, len(file.lines)):
        fields = file.lines[k].split()
        if not fields or fields[0].startswith("#"):
            continue
        if len(fields) == len(names) + 1 and fields[0] == "0":
            raise file.error(k, _TABLE + "its rows begin with their number" + _READ_TABLE)
        return
