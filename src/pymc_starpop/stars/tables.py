"""The reading of table columns for a `StarCatalog`."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from pymc_starpop.stars.checks import (
    as_floats,
    check_colors,
    check_errors,
    check_sentinels,
    named_rows,
)
from pymc_starpop.stars.colors import color_name, pair_of, shared_bands

__all__ = ["bands_and_errors", "column", "optional_columns", "with_colors"]

# Values and errors (N,) by name of the column.
Columns = dict[str, tuple[np.ndarray, np.ndarray]]


def bands_and_errors(
    table: Any, names: Mapping[Any, str], errors: Mapping[Any, str | float], what: str
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


def with_colors(
    table: Any,
    mags: tuple[tuple[str, ...], np.ndarray, np.ndarray],
    color: Mapping[tuple[str, str], str],
    color_err: Mapping[tuple[str, str], str | float],
    color_errors: str,
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Add the colors of a table to names (K), values and errors (N, K) of its magnitudes."""
    if color_errors not in ("difference", "independent"):
        raise ValueError(
            f"color_errors must be 'difference' or 'independent', got {color_errors!r}; other "
            "correlations of a color with a magnitude cannot be given: if the errors of the bands "
            "are known, give their magnitudes instead of the color."
        )
    if not color and not color_err:
        return mags
    for key in color:
        if not (isinstance(key, tuple) and len(key) == 2 and all(isinstance(k, str) for k in key)):
            raise ValueError(
                f"color must map pairs of bands to columns, got the key {key!r}; write "
                "('Gaia_BP_EDR3', 'Gaia_RP_EDR3') for the first minus the second."
            )
    values, errors = bands_and_errors(table, color, color_err, "color")
    bands, mag, mag_err = mags
    if len(values) != len(mag):
        raise ValueError(
            f"color has columns of length {len(values)}, mag of length {len(mag)}; all columns "
            "must describe the same stars."
        )
    names = tuple(color_name(*key) for key in color)
    check_colors((*bands, *names))
    check_errors(values, errors, names, "color")
    check_sentinels(values, names)
    columns: Columns = {
        name: (value, error)
        for name, value, error in zip(
            (*bands, *names), [*mag.T, *values.T], [*mag_err.T, *errors.T], strict=True
        )
    }
    if color_errors == "difference":
        columns = _without_shared_errors(columns)
    return (
        tuple(columns),
        np.stack([value for value, _ in columns.values()], axis=1),
        np.stack([error for _, error in columns.values()], axis=1),
    )


def _without_shared_errors(columns: Columns) -> Columns:
    """Put a magnitude in the place of each color of which one band has a magnitude.

    For m_1 and c = m_2 - m_1 of independent m_1 and m_2, whose errors have e_c^2 = e_1^2 + e_2^2,
    the density of (m_1, c) is that of (m_1, m_2): the Jacobian is 1.
    """
    known = {name: pair for name, pair in columns.items() if pair_of(name) is None}
    colors = {name: pair for name, pair in columns.items() if pair_of(name) is not None}
    while found := [name for name in colors if any(b in known for b in pair_of(name) or ())]:
        name = found[0]
        first, second = pair_of(name) or ("", "")
        anchor, other, sign = (second, first, 1.0) if second in known else (first, second, -1.0)
        known[other] = _other_band(known[anchor], colors.pop(name), sign, (anchor, name))
    if shared_bands(tuple(colors)):
        raise ValueError(
            f"the colors {', '.join(colors)} share a band of which no magnitude is given, so that "
            "their errors cannot be taken apart; give its magnitude, or color_errors='independent' "
            "if the errors of the colors are independent."
        )
    return known | colors


def _other_band(
    magnitude: tuple[np.ndarray, np.ndarray],
    color: tuple[np.ndarray, np.ndarray],
    sign: float,
    names: tuple[str, str],
) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude and error of the other band of a color whose band `names[0]` is known."""
    (mag, mag_err), (value, error) = magnitude, color
    remedy = "or color_errors='independent' if the errors of color and magnitude are independent."
    lacking = np.isfinite(value) & ~np.isfinite(mag)
    if lacking.any():
        raise ValueError(
            f"color {names[1]} has values without a magnitude in {names[0]} in "
            f"{named_rows(lacking)}, so that its error cannot be taken apart; set the color to NaN "
            f"there, {remedy}"
        )
    variance = error**2 - mag_err**2
    bad = np.isfinite(value) & ~(variance > 0.0)
    if bad.any():
        raise ValueError(
            f"color_err of {names[1]} is not above mag_err of {names[0]} in {named_rows(bad)} "
            f"({error[bad][0]:g} and {mag_err[bad][0]:g} mag), but the error of a difference is; "
            f"give errors with more digits, {remedy}"
        )
    return mag + sign * value, np.sqrt(np.where(bad | np.isnan(value), np.nan, variance))


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
