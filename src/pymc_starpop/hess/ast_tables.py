"""Tables of artificial stars, as arrays with one column a band."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["check_bands", "detected_table", "magnitude_table"]


def check_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """Return the bands, distinct names."""
    names = (bands,) if isinstance(bands, str) else tuple(bands)
    if not names or len(set(names)) != len(names) or not all(isinstance(b, str) for b in names):
        raise ValueError(f"bands must be distinct names, at least one, got {names}.")
    return names


def magnitude_table(name: str, table: Any, bands: tuple[str, ...]) -> np.ndarray:
    """Return columns (N, B) of an array, or of what gives a band as ``table[band]``."""
    names = getattr(table, "columns", None) if not isinstance(table, Mapping) else table
    if names is not None and not isinstance(table, np.ndarray):
        missing = [band for band in bands if band not in names]
        if missing:
            raise ValueError(
                f"{name} lacks the band {missing[0]!r}, it has {', '.join(map(str, names))}."
            )
        columns = [np.ma.filled(np.ma.asarray(table[b], dtype=float), np.nan) for b in bands]
        if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
            raise ValueError(
                f"{name} must have one value a star in every band, got shapes "
                f"{', '.join(str(c.shape) for c in columns)}."
            )
        return np.stack(columns, axis=1)
    values = np.ma.filled(np.ma.asarray(table, dtype=float), np.nan)
    if values.ndim == 1 and len(bands) == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] != len(bands):
        raise ValueError(
            f"{name} must have shape (N, {len(bands)}), one column for each of "
            f"{', '.join(bands)}, got {values.shape}."
        )
    return values


def detected_table(detected: Any, shape: tuple[int, ...], bands: tuple[str, ...]) -> np.ndarray:
    """Return booleans (N,) or (N, B)."""
    if isinstance(detected, Mapping) or hasattr(detected, "columns"):
        detected = np.stack([np.asarray(detected[band]) for band in bands], axis=1)
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
