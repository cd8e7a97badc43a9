"""Tables of the Gaia archive: files and objects, and their columns whatever their case."""

import csv
import gzip
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pymc_starpop.stars.checks import as_floats, named_rows
from pymc_starpop.stars.tables import column

__all__ = ["GaiaTable", "opened"]

_FORMATS = {
    ".vot": "votable", ".votable": "votable", ".xml": "votable", ".ecsv": "ascii.ecsv",
    ".fits": "fits", ".fit": "fits",
}  # fmt: skip
# How tables in text say that there is no value.
_MISSING = frozenset({"", "null", "none", "nan", "--", "n/a", "<na>", "masked"})
_LARGEST_EXACT = 2**53  # integers up to here are exact as floats


def opened(table: Any) -> Any:
    """Return a table from the path of a file, and other tables as they are.

    Raises
    ------
    ImportError
        For a VOTable, ECSV or FITS file where astropy is not installed.
    ValueError
        For a file of another kind.
    """
    if not isinstance(table, str | os.PathLike):
        return table
    path = Path(table)
    suffix = [part.lower() for part in path.suffixes if part.lower() != ".gz"][-1:]
    kind = suffix[0] if suffix else ""
    if kind == ".csv":
        return _read_csv(path)
    if kind not in _FORMATS:
        raise ValueError(
            f"table is the file {path.name!r}, whose name does not end in .csv, "
            f"{', '.join(_FORMATS)} or one of these with .gz; rename it, or read it yourself and "
            "give the table"
        )
    if find_spec("astropy") is None:
        raise ImportError(
            f"astropy, which reads {kind} files, is not installed: pip install "
            "'pymc-starpop[gaia]', or give a .csv file"
        )
    from astropy.table import Table

    return Table.read(path, format=_FORMATS[kind])


def _read_csv(path: Path) -> dict[str, np.ndarray]:
    """Read a file of values with commas between them as columns of text."""
    reader = gzip.open if path.suffix.lower() == ".gz" else open
    with reader(path, "rt", encoding="utf-8-sig", newline="") as handle:
        rows = [row for row in csv.reader(line for line in handle if line[:1] != "#") if row]
    if not rows:
        raise ValueError(f"table is the file {path.name!r}, which is empty; give another")
    header, *rest = rows
    wrong = [i for i, row in enumerate(rest) if len(row) != len(header)]
    if wrong:
        raise ValueError(
            f"table is the file {path.name!r}, whose row {wrong[0]} has {len(rest[wrong[0]])} "
            f"values for {len(header)} columns; write it with commas between values"
        )
    values = np.array(rest, dtype=object).reshape(len(rest), len(header))
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ValueError(
            f"table is the file {path.name!r}, in which {', '.join(twice)} names several columns; "
            "give each a name of its own"
        )
    return {name: values[:, k] for k, name in enumerate(header)}


class GaiaTable:
    """Columns of a table by the names of the Gaia archive.

    Parameters
    ----------
    table : mapping, pandas.DataFrame, astropy.table.Table or path
    columns : mapping of str to str
        Name in the archive to name in the table, of those that differ.
    """

    def __init__(self, table: Any, columns: Mapping[str, str] | None = None):
        self.table = opened(table)
        # Names of a table of astropy or NumPy, of a data frame, of a mapping.
        names = getattr(getattr(self.table, "dtype", None), "names", None)
        names = getattr(self.table, "columns", self.table) if names is None else names
        try:
            self.names = [str(name) for name in names]
        except TypeError:
            raise ValueError(
                f"table must be a file or a table with named columns, got "
                f"{type(table).__name__}; give a path, an astropy Table, a pandas DataFrame, or a "
                "dict of arrays"
            ) from None
        self.columns = {key.lower(): name for key, name in (columns or {}).items()}
        for key, name in self.columns.items():
            if name not in self.names:
                raise ValueError(
                    f"columns says that {key} is {name!r}, which the table lacks; its columns are "
                    f"{', '.join(self.names)}"
                )
        self.n_row = len(self._values(self.names[0])) if self.names else 0
        if not self.n_row:
            raise ValueError("table has no row; give one with stars")

    def find(self, name: str) -> str | None:
        """Return the name of a column in the table, None where there is none.

        Raises
        ------
        ValueError
            Where several columns differ from the name in upper and lower case alone.
        """
        if name in self.columns:
            return self.columns[name]
        if name in self.names:
            return name
        alike = [known for known in self.names if known.lower() == name.lower()]
        if len(alike) > 1:
            raise ValueError(
                f"table has the columns {', '.join(alike)}, all of which could be {name}; say "
                f"which with columns={{{name!r}: ...}}"
            )
        return alike[0] if alike else None

    def has(self, *names: str) -> bool:
        """Whether there are columns of all these names."""
        return all(self.find(name) is not None for name in names)

    def require(self, what: str, *names: str) -> None:
        """Refuse a table without some of these columns, which an option needs."""
        lacking = [name for name in names if self.find(name) is None]
        if lacking:
            raise ValueError(
                f"{what} needs the column{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}, "
                "which the table lacks; add to the query what is missing, or say which columns "
                "they are with columns={archive name: name in the table}"
            )

    def _values(self, found: str) -> np.ndarray:
        values = column(self.table, found, found)
        # FITS holds the bytes of a number in the other order.
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    def floats(self, name: str) -> np.ndarray:
        """Return a column as floats (N,), NaN where it is masked, empty or not there."""
        found = self.find(name)
        if found is None:
            return np.full(self.n_row, np.nan)
        values = self._values(found)
        if values.dtype.kind in "OUS":
            values = np.array([_number_text(v) for v in values.tolist()], dtype=object)
        numbers = as_floats(f"{name} (column {found!r})", values)
        return np.where(np.isfinite(numbers), numbers, np.nan)

    def texts(self, name: str) -> list[str]:
        """Return a column as text, empty where it is masked."""
        found = self.find(name)
        if found is None:
            return [""] * self.n_row
        return ["" if _is_missing(v) else _text(v) for v in self._values(found).tolist()]

    def kept(self, name: str) -> np.ndarray:
        """Return a column as it is, of numbers where all its values are."""
        found = self.find(name)
        if found is None:
            self.require("extra", name)
        values = self._values(str(found))
        if values.dtype.kind != "O":
            return values
        try:
            return self.floats(name)
        except ValueError:
            return np.array(["" if _is_missing(v) else _text(v) for v in values.tolist()])

    def labels(self, name: str) -> np.ndarray | None:
        """Return a column of identifiers (N,), whole numbers with all their digits, or text.

        Raises
        ------
        ValueError
            For missing ones, and for floats beyond 2^53, which have lost digits.
        """
        found = self.find(name)
        if found is None:
            return None
        values = self._values(found)
        missing = np.array([_is_missing(v) for v in values.tolist()])
        if missing.any():
            raise ValueError(
                f"{name} is missing in {named_rows(missing)}; leave these rows out of the table, "
                "or give them an identifier"
            )
        if values.dtype.kind in "iu":
            return values
        if values.dtype.kind == "f":
            if np.abs(values).max() > _LARGEST_EXACT or np.any(values != np.round(values)):
                raise ValueError(
                    f"{name} came as floats, in which identifiers beyond 2^53 lose their last "
                    "digits; read the column as integers, in pandas with "
                    f"dtype={{{found!r}: 'int64'}}, or give the path of the file"
                )
            return values.astype(np.int64)
        texts = [_text(v) for v in values.tolist()]
        if all(text.isdecimal() for text in texts):
            return np.array([int(text) for text in texts], dtype=np.int64)
        return np.array(texts)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value).strip()


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in {"NAType", "MaskedConstant"}:
        return True
    if isinstance(value, float):
        return bool(np.isnan(value))
    return isinstance(value, str | bytes) and _text(value).lower() in _MISSING


def _number_text(value: Any) -> Any:
    """A value that is converted to a float; NaN where it stands for none."""
    if _is_missing(value):
        return np.nan
    return _text(value) if isinstance(value, str | bytes) else value
