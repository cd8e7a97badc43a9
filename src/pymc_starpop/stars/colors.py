"""Columns of a catalog that are colors: differences of two bands, linear in the magnitudes.

A catalog of K columns holds y = A m + noise of the magnitudes m in the B bands of its columns: a
row of A has a 1 for a magnitude, and 1 and -1 for a color. A color goes by the name "BP - RP".
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["bands_of", "color_name", "column_name", "combination", "pair_of", "shared_bands"]

_MINUS = " - "


def color_name(first: str, second: str) -> str:
    """Return the name of the color of two bands, the first minus the second."""
    return f"{first}{_MINUS}{second}"


def column_name(key: str | tuple[str, str]) -> str:
    """Return the name of a column from a band, or from the pair of bands of a color."""
    return key if isinstance(key, str) else color_name(*key)


def pair_of(column: str) -> tuple[str, str] | None:
    """Return the two bands of a color, None for a magnitude."""
    first, minus, second = column.partition(_MINUS)
    return (first, second) if minus else None


def bands_of(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the bands that columns are made of, each once, in the order in which they appear."""
    bands = [band for column in columns for band in pair_of(column) or (column,)]
    return tuple(dict.fromkeys(bands))


def combination(columns: Sequence[str]) -> np.ndarray:
    """Return the matrix A (K, B) from magnitudes in `bands_of` columns to the columns."""
    bands = bands_of(columns)
    matrix = np.zeros((len(columns), len(bands)))
    for row, column in zip(matrix, columns, strict=True):
        first, *others = pair_of(column) or (column,)
        row[bands.index(first)] = 1.0
        for second in others:
            row[bands.index(second)] = -1.0
    return matrix


def shared_bands(columns: Sequence[str]) -> tuple[int, ...]:
    """Return the indices of the bands that several columns depend on, which ties these together."""
    used = (combination(columns) != 0.0).sum(axis=0)
    return tuple(int(b) for b in np.flatnonzero(used > 1))
