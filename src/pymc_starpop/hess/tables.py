"""Tables of magnitudes by band, whatever holds them, as arrays of numbers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = [
    "check_bands",
    "check_edges",
    "column_names",
    "detected_table",
    "magnitude_table",
    "numbers",
]


def check_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """Return the bands, distinct names."""
    if not isinstance(bands, Iterable):
        raise ValueError(f"bands must be distinct names, at least one, got {bands!r}.")
    names = (bands,) if isinstance(bands, str) else tuple(bands)
    if not names or len(set(names)) != len(names) or not all(isinstance(b, str) for b in names):
        raise ValueError(f"bands must be distinct names, at least one, got {names}.")
    return names


def magnitude_table(name: str, table: Any, bands: tuple[str, ...]) -> np.ndarray:
    """Return columns (N, B) of an array, or of what gives a band as ``table[band]``."""
    names = column_names(table)
    if names is not None:
        _check_names(name, names, bands)
        columns = [numbers(f"{name}[{band!r}]", table[band]) for band in bands]
        if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
            raise ValueError(
                f"{name} must have one value a star in every band, got shapes "
                f"{', '.join(str(c.shape) for c in columns)}."
            )
        return np.stack(columns, axis=1)
    values = numbers(name, table)
    if values.ndim == 1 and len(bands) == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] != len(bands):
        raise ValueError(
            f"{name} must have shape (N, {len(bands)}), one column for each of "
            f"{', '.join(bands)}, got {values.shape}."
        )
    return values


def column_names(table: Any) -> Any:
    """Names of the columns of a table, None for a plain array."""
    if isinstance(table, Mapping):
        return table
    if isinstance(table, np.ndarray):
        return table.dtype.names
    return getattr(table, "columns", None)


def _check_names(name: str, names: Any, bands: tuple[str, ...]) -> None:
    missing = [band for band in bands if band not in names]
    if missing:
        raise ValueError(
            f"{name} lacks the band {missing[0]!r}, it has {', '.join(map(str, names))}."
        )


def numbers(name: str, values: Any) -> np.ndarray:
    """Return float64, NaN where masked; a quantity counts in its unit, magnitudes."""
    if hasattr(values, "unit") and hasattr(values, "value"):
        values = values.value
    try:
        return np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)
    except (TypeError, ValueError):
        what = repr(values) if isinstance(values, str) else f"{type(values).__name__} with others"
        raise ValueError(
            f"{name} must hold numbers, got {what}; write NaN where there is none, and give "
            f"arrays, or a table with a column a band."
        ) from None


def check_edges(name: str, edges: Any) -> np.ndarray:
    """Return edges of bins, two or more finite numbers that ascend."""
    values = np.array(numbers(name, edges))
    if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
        raise ValueError(
            f"{name} must be two or more finite numbers in one dimension, got {edges!r}."
        )
    if np.any(np.diff(values) <= 0):
        raise ValueError(f"{name} must ascend; numpy.sort or [::-1] may help.")
    return values


def detected_table(detected: Any, shape: tuple[int, ...], bands: tuple[str, ...]) -> np.ndarray:
    """Return booleans (N,) or (N, B)."""
    names = column_names(detected)
    if names is not None:
        _check_names("detected", names, bands)
        columns = [np.asarray(detected[band]) for band in bands]
        if len({column.shape for column in columns}) != 1:
            raise ValueError(
                f"detected must have one value a star in every band, got shapes "
                f"{', '.join(str(c.shape) for c in columns)}."
            )
        detected = np.stack(columns, axis=1)
    values = np.asarray(detected)
    if values.dtype != bool:
        raise ValueError(
            f"detected must be booleans, got {values.dtype}; compare, such as "
            f"abs(mag_out - mag_in) < 9."
        )
    if values.shape not in (shape[:1], shape):
        raise ValueError(
            f"detected must have shape {shape[:1]} or {shape}, as mag_in, got {values.shape}."
        )
    return values
