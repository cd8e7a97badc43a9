"""Checks of what a `StarCatalog` is made of, and the reading of table columns."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = [
    "as_floats",
    "check_bands",
    "check_column_lengths",
    "check_labels",
    "check_length",
    "check_parallax",
    "check_photometry",
    "check_prior",
    "check_shapes",
    "column",
    "number_column",
]

_MAX_NAMED = 5  # rows named in an error message


def _rows(where: np.ndarray) -> str:
    """Name the first rows where a condition holds."""
    found = np.flatnonzero(where)
    named = ", ".join(str(row) for row in found[:_MAX_NAMED])
    more = f" and {found.size - _MAX_NAMED} more" if found.size > _MAX_NAMED else ""
    return f"row {named}" if found.size == 1 else f"rows {named}{more}"


def as_floats(name: str, values: Any) -> np.ndarray:
    """Return a new array of floats, with NaN where the values are masked."""
    try:
        if isinstance(values, np.ma.MaskedArray):
            return np.array(np.ma.filled(values.astype(float), np.nan))
        return np.array(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must hold numbers in rows of equal length, got {type(values).__name__} that "
            f"does not convert ({error}); use NaN where a value is missing."
        ) from error


def check_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """Band names must be strings, each once."""
    if isinstance(bands, str):
        raise ValueError(
            f"bands must be a sequence of names, got the string {bands!r}; write a list."
        )
    names = tuple(bands)
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"bands must hold at least one name, all strings, got {names!r}.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"bands must name each band once, got {', '.join(twice)} more than once; "
            f"average repeated measurements first."
        )
    return tuple(str(name) for name in names)


def check_shapes(mag: np.ndarray, mag_err: np.ndarray, bands: tuple[str, ...]) -> None:
    """``mag`` and ``mag_err`` must have shape (star, band)."""
    if mag.ndim != 2 or mag.shape[1] != len(bands) or not len(mag):
        raise ValueError(
            f"mag must have shape (stars, {len(bands)}) for {len(bands)} bands, got {mag.shape}; "
            f"one row is one star, one column one band."
        )
    if mag_err.shape != mag.shape:
        raise ValueError(
            f"mag_err must have the shape of mag, {mag.shape}, got {mag_err.shape}; "
            f"numpy.broadcast_to repeats one error for all stars."
        )


def check_photometry(mag: np.ndarray, mag_err: np.ndarray, bands: tuple[str, ...]) -> None:
    """Magnitudes must be finite or NaN, with a positive error and at least one band a star."""
    if np.isinf(mag).any():
        raise ValueError(
            f"mag is infinite in {_rows(np.isinf(mag).any(axis=1))}; "
            f"use NaN where a star was not measured."
        )
    measured = np.isfinite(mag)
    bad = measured & ~(np.isfinite(mag_err) & (mag_err > 0))
    if bad.any():
        names = [band for band, wrong in zip(bands, bad.any(axis=0), strict=True) if wrong]
        example = mag_err[bad][0]
        raise ValueError(
            f"mag_err must be positive and finite where mag is finite, got {example} in "
            f"{_rows(bad.any(axis=1))} of {', '.join(names)}; "
            f"give an error there or set mag to NaN."
        )
    empty = ~measured.any(axis=1)
    if empty.any():
        raise ValueError(
            f"mag has no measured band in {_rows(empty)}; leave such stars out of the catalog."
        )


def check_length(name: str, values: np.ndarray, n_star: int) -> np.ndarray:
    """A column must have one value a star."""
    if values.shape[:1] != (n_star,):
        raise ValueError(
            f"{name} must have one value for each of the {n_star} stars, got shape {values.shape}; "
            f"select the same stars as for mag."
        )
    return values


def check_labels(star: np.ndarray, n_star: int) -> None:
    """Labels must be one a star and each once."""
    check_length("star", star, n_star)
    if star.ndim != 1:
        raise ValueError(
            f"star must have shape ({n_star},), got {star.shape}; give one label a star."
        )
    labels, counts = np.unique(star, return_counts=True)
    if counts.max() > 1:
        raise ValueError(
            f"star must hold each label once, got {labels[counts > 1][0]!r} "
            f"{counts.max()} times; drop repeated stars or leave star out."
        )


def check_parallax(
    parallax: Any, parallax_err: Any, n_star: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Parallaxes need errors, positive and finite where the parallax is finite."""
    if (parallax is None) != (parallax_err is None):
        given, missing = "parallax", "parallax_err"
        if parallax is None:
            given, missing = missing, given
        raise ValueError(f"{given} was given without {missing}; give both (mas) or neither.")
    if parallax is None:
        return None, None
    value = check_length("parallax", as_floats("parallax", parallax), n_star)
    error = check_length("parallax_err", as_floats("parallax_err", parallax_err), n_star)
    if value.ndim != 1 or error.ndim != 1:
        raise ValueError(
            f"parallax and parallax_err must have shape ({n_star},), got {value.shape} and "
            f"{error.shape}; give one number a star."
        )
    if np.isinf(value).any():
        raise ValueError(
            f"parallax is infinite in {_rows(np.isinf(value))}; use NaN where it was not measured."
        )
    bad = np.isfinite(value) & ~(np.isfinite(error) & (error > 0))
    if bad.any():
        raise ValueError(
            f"parallax_err must be positive and finite where parallax is finite, got "
            f"{error[bad][0]} in {_rows(bad)}; give an error there (mas) or set parallax to NaN."
        )
    return value, np.where(np.isnan(value), np.nan, error)


def check_prior(membership_prior: Any, n_star: int) -> np.ndarray | None:
    """Membership probabilities must lie in [0, 1]; one number serves all stars."""
    if membership_prior is None:
        return None
    prior = as_floats("membership_prior", membership_prior)
    prior = np.full(n_star, prior) if prior.ndim == 0 else prior
    if prior.shape != (n_star,):
        raise ValueError(
            f"membership_prior must be one number or have shape ({n_star},), got {prior.shape}; "
            f"select the same stars as for mag."
        )
    bad = ~((prior >= 0) & (prior <= 1))
    if bad.any():
        raise ValueError(
            f"membership_prior must lie in 0 to 1, got {prior[bad][0]} in {_rows(bad)}; "
            f"use 1 (or leave it out) where nothing is known."
        )
    return prior


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


def check_column_lengths(
    mag: Mapping[str, str], mags: list[np.ndarray], errors: list[np.ndarray]
) -> None:
    """All magnitude columns of a table must be as long as the first."""
    expected = mags[0].shape
    for band, values, error in zip(mag, mags, errors, strict=True):
        for name, array in (("mag", values), ("mag_err", error)):
            if array.shape != expected or array.ndim != 1:
                raise ValueError(
                    f"{name}[{band!r}] must be a column of length {len(mags[0])}, got shape "
                    f"{array.shape}; all columns must describe the same stars."
                )
