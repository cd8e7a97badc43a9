"""Columns of numbers of large text files, plain or gzip, with a progress bar."""

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from rich.progress import Progress

from pymc_starpop.hess.binaries import is_number

__all__ = ["PathLike", "check_number", "column_count", "read_columns"]

PathLike = str | os.PathLike[str]

_GZIP_MAGIC = b"\x1f\x8b"
_LARGE = 20_000_000  # bytes on the disk from which a bar is shown
_BLOCK = 8_000_000  # bytes of text at a time


def check_number(name: str, value: Any, least: float) -> None:
    """Refuse what is no number from `least` up."""
    if not is_number(value):
        raise ValueError(f"{name} must be a number, got {value!r}.")
    # Written so that NaN is refused.
    if not value >= least:
        raise ValueError(f"{name} must be a number from {least:g} up, got {value!r}.")


def column_count(path: PathLike, expected: int, what: str, exactly: bool = False) -> int:
    """Return how many columns a file has, after checking that they are as many as expected.

    Parameters
    ----------
    path : path-like
    expected : int
        Columns, at least.
    what : str
        What they are, after their number in the message.
    exactly : bool
        Whether there may be no more.
    """
    found = _first_numbers(Path(path))
    if found < expected or (exactly and found != expected):
        raise ValueError(f"{path}: has {found} columns, but {expected} are {what}.")
    return found


def _first_numbers(source: Path) -> int:
    """Columns of the first line with numbers."""
    for number, line in _numbered(source):
        fields = line.split()
        if fields and not line.lstrip().startswith(b"#"):
            _check_line(source, number, fields, [len(fields) - 1], len(fields))
            return len(fields)
    raise ValueError(f"{source}: the file holds no stars.")


def read_columns(
    path: PathLike, columns: Sequence[int], n_column: int, progress: bool | None = None
) -> np.ndarray:
    """Return some columns (N, K) of a file.

    Parameters
    ----------
    path : path-like
        Numbers apart by blanks; blank lines and such that begin with # do not count.
    columns : sequence of int
        Which columns, from 0.
    n_column : int
        How many a line must have.
    progress : bool, optional
        Whether to show a bar; by default from 20 MB on.

    Raises
    ------
    ValueError
        For a line with another number of columns, and for what is no number; names file and line.
    FileNotFoundError
        If there is no such file.
    """
    source = Path(path)
    size = source.stat().st_size
    blocks = []
    with _text(source) as (text, raw), Progress(disable=not _shown(progress, size)) as bar:
        task = bar.add_task(source.name, total=size)
        number = 1
        for lines in _blocks(source, text):
            blocks.append(_parse(source, number, lines, list(columns), n_column))
            number += len(lines)
            bar.update(task, completed=raw.tell())
    table = np.concatenate(blocks) if blocks else np.empty((0, len(columns)))
    if not len(table):
        raise ValueError(f"{source}: the file holds no stars.")
    return table


def _shown(progress: bool | None, size: int) -> bool:
    return size >= _LARGE if progress is None else progress


@contextmanager
def _text(source: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Give the text, and the file whose position tells how far the reading is."""
    with source.open("rb") as raw:
        packed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        if not packed:
            yield raw, raw
            return
        with gzip.open(raw) as text:
            yield text, raw  # type: ignore[misc]


def _blocks(source: Path, text: IO[bytes]) -> Iterator[list[bytes]]:
    while True:
        try:
            lines = text.readlines(_BLOCK)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(
                f"{source}: the gzip compression is damaged ({error}); get the file again."
            ) from error
        if not lines:
            return
        yield lines


def _numbered(source: Path) -> Iterator[tuple[int, bytes]]:
    with _text(source) as (text, _):
        number = 1
        for lines in _blocks(source, text):
            yield from enumerate(lines, number)
            number += len(lines)


def _parse(
    source: Path, first: int, lines: list[bytes], columns: list[int], n_column: int
) -> np.ndarray:
    """Numbers (n, K) of some lines, of which the first has this number in the file."""
    # The last column too: a line that ends early must not pass.
    wanted = [*columns, n_column - 1]
    text = [line for line in lines if line.strip() and not line.lstrip().startswith(b"#")]
    if not text:
        return np.empty((0, len(columns)))
    try:
        table = np.loadtxt(text, usecols=wanted, ndmin=2, comments=None)
    except ValueError:
        table = None
    counts_agree = n_column > 20 or all(len(line.split()) == n_column for line in text)
    if table is not None and len(table) == len(text) and counts_agree:
        return table[:, :-1]
    for number, line in enumerate(lines, first):
        fields = line.split()
        if fields and not line.lstrip().startswith(b"#"):
            _check_line(source, number, fields, wanted, n_column)
    raise ValueError(f"{source}: the lines from {first} on cannot be read.")


def _check_line(
    source: Path, number: int, fields: list[bytes], columns: list[int], n_column: int
) -> None:
    if len(fields) != n_column:
        raise ValueError(
            f"{source}, line {number}: expected {n_column} columns, got {len(fields)}; the file is "
            f"damaged, or of another kind."
        )
    for column in columns:
        try:
            float(fields[column])
        except ValueError:
            word = fields[column].decode("latin-1")[:40]
            raise ValueError(
                f"{source}, line {number}: column {column + 1} is {word!r}, expected a number."
            ) from None
