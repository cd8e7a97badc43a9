"""Text files of isochrones: lines with their numbers, blocks of numbers, one kind of error."""

import gzip
import io
import math
import os
import re
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["IsochroneFileError", "TextFile", "as_paths", "number", "number_block"]

PathLike = str | os.PathLike[str]

_GZIP_MAGIC = b"\x1f\x8b"
# What some editors put before the first line.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A file larger than this (bytes, unpacked) is none of these tables.
_MOST_BYTES = 4_000_000_000


class IsochroneFileError(ValueError):
    """A file of isochrones that cannot be read as what it should be.

    Attributes
    ----------
    path : str
        The file.
    line : int or None
        Number of the line at fault, counted from 1; None where no line is.

    Examples
    --------
    >>> print(IsochroneFileError("my.iso", 7, "expected 16 columns, got 15"))
    my.iso, line 7: expected 16 columns, got 15
    """

    def __init__(self, path: PathLike, line: int | None, message: str):
        where = f"{path}" if line is None else f"{path}, line {line}"
        super().__init__(f"{where}: {message}")
        self.path, self.line, self._message = str(path), line, message

    def __reduce__(self) -> tuple[type, tuple[str, int | None, str]]:
        return type(self), (self.path, self.line, self._message)


@dataclass(frozen=True, eq=False)
class TextFile:
    """Lines of a text file, plain or gzip.

    Attributes
    ----------
    path : Path
    lines : list of str
        Without their ends.
    whole : bool
        Whether the last line ends with a line feed.
    """

    path: Path
    lines: list[str]
    whole: bool

    @classmethod
    def read(cls, path: PathLike) -> "TextFile":
        """Read a file.

        Raises
        ------
        FileNotFoundError
            If there is none.
        IsochroneFileError
            If it is empty or its compression is damaged.
        """
        source = Path(path)
        data = source.read_bytes()
        if data.startswith(_GZIP_MAGIC):
            data = _unpack(source, data)
        # Latin-1 decodes any byte: names in comments may have accents, numbers have none.
        text = data.removeprefix(_BYTE_ORDER_MARK).decode("latin-1").replace("\r\n", "\n")
        if not text.strip():
            raise cls._empty(source)
        lines = text.split("\n")
        whole = lines[-1] == ""
        return cls(source, lines[:-1] if whole else lines, whole)

    @staticmethod
    def _empty(source: Path) -> IsochroneFileError:
        return IsochroneFileError(source, 1, "the file is empty; download it again")

    def error(self, index: int | None, message: str) -> IsochroneFileError:
        """Make the error for the line of an index (from 0) into `lines`."""
        return IsochroneFileError(self.path, None if index is None else index + 1, message)


def as_paths(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    """Return one path or several as a list.

    Raises
    ------
    ValueError
        For an empty sequence, for what is no path, and for a folder.
    FileNotFoundError
        If one of the files does not exist.
    """
    if isinstance(paths, bytes | io.IOBase) or not isinstance(paths, str | os.PathLike | Iterable):
        raise ValueError(f"paths: expected file names, got {paths!r}")
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise ValueError("paths is empty: expected at least one file")
    for path in given:
        if not isinstance(path, str | os.PathLike):
            raise ValueError(f"paths: expected file names, got {path!r}")
    files = [Path(path) for path in given]
    for file in files:
        if file.is_dir():
            raise ValueError(
                f"paths: {file} is a folder; give its files, as in sorted(Path({str(file)!r}).glob"
                "('*'))"
            )
        if not file.is_file():
            raise FileNotFoundError(f"paths: there is no file {file}")
    return files


def number(text: str) -> float:
    """Return the number that a text is.

    Raises
    ------
    ValueError
        Where it is none, and for Python's underscores between digits.
    """
    if "_" in text:
        raise ValueError(f"{text!r} is no number")
    return float(text)


def number_block(
    file: TextFile,
    rows: Sequence[int],
    n_column: int,
    names: Sequence[str] = (),
    used: Collection[int] | None = None,
    bands: Sequence[str] = (),
) -> np.ndarray:
    """Numbers (n, n_column) of some lines, finite in the columns that are used.

    Parameters
    ----------
    file : TextFile
    rows : sequence of int
        Indices of the lines.
    n_column : int
        How many columns each must have.
    names : sequence of str
        Names of the columns, for messages.
    used : collection of int, optional
        Columns that must be finite; all by default. What is no number in others is NaN.
    bands : sequence of str
        Names of the columns that are magnitudes, of which the user may choose others.

    Raises
    ------
    IsochroneFileError
        For lines with another number of columns, and for values that are no finite numbers in
        columns that are used.
    """
    if not rows:
        return np.empty((0, n_column))
    needed = sorted(range(n_column) if used is None else used)
    lines = [file.lines[row] for row in rows]
    _check_last_line(file, rows)
    together = " ".join(lines)
    whole = "_" not in together and all(len(line.split()) == n_column for line in lines)
    if whole:
        try:
            # Not np.loadtxt, which skips what it takes for a blank line.
            table = np.array(together.split(), dtype=np.float64).reshape(len(rows), n_column)
        except ValueError:
            whole = False
    if whole and np.isfinite(table[:, needed]).all():
        return table
    return np.array([_numbers(file, row, n_column, names, needed, bands) for row in rows])


def _check_last_line(file: TextFile, rows: Sequence[int]) -> None:
    """Refuse a last line that ends early: a number that lost digits would still be a number."""
    if file.whole or rows[-1] != len(file.lines) - 1 or len(rows) < 2:
        return
    last, before = (file.lines[row].rstrip() for row in (rows[-1], rows[-2]))
    if _decimals(last) < _decimals(before):
        raise file.error(rows[-1], "the file ends within this line; download it again")


def _decimals(line: str) -> int:
    """Characters after the point of the last number."""
    match = re.search(r"\.(\S*)$", line)
    return len(match.group(1)) if match else 0


def _numbers(
    file: TextFile,
    row: int,
    n_column: int,
    names: Sequence[str],
    needed: Sequence[int],
    bands: Sequence[str],
) -> list[float]:
    """Numbers of one line, field by field."""
    fields = file.lines[row].split()
    if len(fields) != n_column:
        raise file.error(
            row,
            f"expected {n_column} columns, got {len(fields)}; the file is truncated or damaged",
        )
    values = [_number_or_nan(field) for field in fields]
    for k in needed:
        if not math.isfinite(values[k]):
            name = names[k] if k < len(names) else f"column {k + 1}"
            remedy = f"; if {name} is not needed, name the columns that are: bands=[...]"
            raise file.error(
                row,
                f"{name} is {fields[k][:40]!r}, expected a finite number"
                + (remedy if name in bands else ""),
            )
    return values


def _number_or_nan(text: str) -> float:
    try:
        return number(text)
    except ValueError:
        return math.nan


def _unpack(source: Path, data: bytes) -> bytes:
    try:
        with gzip.open(source) as file:
            return file.read(_MOST_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        line = _n_line_unpacked(data)
        raise IsochroneFileError(
            source, line, f"the gzip compression is damaged ({error}); download the file again"
        ) from error


def _n_line_unpacked(data: bytes) -> int:
    """Number, from 1, of the line at which damaged gzip data stop."""
    unpacking = zlib.decompressobj(wbits=31)
    n_line = 1
    for start in range(0, len(data), 4096):
        try:
            n_line += unpacking.decompress(data[start : start + 4096]).count(b"\n")
        except zlib.error:
            break
    return n_line
