"""The reading of table columns for a `StarCatalog`."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from pymc_starpop._photometry_checks import as_floats

__all__ = ["bands_and_errors", "column", "optional_columns"]


def bands_and_errors(
    table: Any, names: Mapping[str, str], errors: Mapping[str, str | float], what: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return what was measured and its errors, both (N, B), from columns by band.

    ``what`` is "mag" or "flux", for the messages; an error may be one number for all stars.
    """
    if not names:
        raise ValueError(f"{what} is empty; map at least one band to a column of the table.")
    if set(names) != set(errors):
        raise ValueError(
            f"{what}_err must name the same bands as {what}, got {sorted(errors)} for "
            f"{sorted(names)}; give every band a column or a number."
        )
    columns = [number_column(table, name, f"{what}[{band!r}]") for band, name in names.items()]
    given = [
        _column_or_number(table, errors[band], f"{what}_err[{band!r}]", len(values))
        for band, values in zip(names, columns, strict=True)
    ]
    expected = columns[0].shape
    for band, values, error in zip(names, columns, given, strict=True):
        for name, array in ((what, values), (f"{what}_err", error)):
            if array.shape != expected or array.ndim != 1:
                raise ValueError(
                    f"{name}[{band!r}] must be a column of length {len(columns[0])}, got shape "
                    f"{array.shape}; all columns must describe the same stars."
                )
    return np.stack(columns, axis=1), np.stack(given, axis=1)


def optional_columns(table: Any, names: Mapping[str, Any], n_star: int) -> dict[str, Any]:
    """Return the columns of what a catalog may hold; numbers serve all stars, None stays None."""
    return {
        name: None if given is None else _column_or_number(table, given, name, n_star)
        for name, given in names.items()
    }


def _column_or_number(table: Any, given: Any, argument: str, n_star: int) -> np.ndarray:
    if isinstance(given, Real):
        return np.full(n_star, float(given))
    return number_column(table, given, argument)


def column(table: Any, name: str, argument: str) -> np.ndarray:
    """Return a column as an array; masked numbers become NaN, units are dropped."""
    try:
        values = table[name]
    except (KeyError, ValueError) as error:
        known = getattr(table, "colnames", None) or list(getattr(table, "columns", table))
        raise ValueError(
            f"{argument} names the column {name!r}, which the table lacks; "
            f"its columns are {', '.join(map(str, known))}."
        ) from error
    if hasattr(type(values), "value"):  # astropy: Column, MaskedColumn, Quantity
        values = values.value
    mask = getattr(values, "mask", None) if hasattr(type(values), "mask") else None
    if hasattr(type(values), "filled"):  # numpy.ma and astropy's Masked
        data = np.asarray(getattr(values, "unmasked", getattr(values, "data", None)))
        mask = np.broadcast_to(np.asarray(mask), data.shape)
        if not mask.any():
            return data
        return np.where(mask, np.nan if data.dtype.kind in "iuf" else "", data)
    return np.asarray(values)


def number_column(table: Any, name: Any, argument: str) -> np.ndarray:
    """Return a column of numbers as floats, NaN where it is masked or missing."""
    if not isinstance(name, str):
        raise ValueError(f"{argument} must be the name of a column, got {name!r}; write a string.")
    values = column(table, name, argument)
    if values.dtype == object:  # pandas' nullable types come as objects with its NA
        values = np.array([np.nan if _is_missing(v) else v for v in values], dtype=object)
    return as_floats(f"{argument} (column {name!r})", values)


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in {"NAType", "MaskedConstant"}
