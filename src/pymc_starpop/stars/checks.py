"""Checks of what a `StarCatalog` is made of."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pymc_starpop.stars.colors import combination, pair_of

__all__ = [
    "as_floats",
    "check_agreement",
    "check_bands",
    "check_colors",
    "check_dimensions",
    "check_errors",
    "check_floor_names",
    "check_keywords",
    "check_labels",
    "check_length",
    "check_measured_column",
    "check_photometry",
    "check_prior",
    "check_proper_motion",
    "check_sentinels",
    "check_shapes",
    "check_zero_point",
    "named_rows",
    "row_indices",
]

_MAX_NAMED = 5  # rows named in an error message
_SENTINEL = 90.0  # mag
_BOUND_COLOR = 20.0  # mag, beyond those of all stars: 99.99 less a magnitude is more

_LEAST_TEFF = 300.0  # K, below that of the coolest brown dwarfs


def named_rows(where: np.ndarray) -> str:
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


def check_dimensions(**dims: str) -> None:
    """Dimensions must have different names."""
    if len(set(dims.values())) < len(dims):
        given = ", ".join(f"{argument}={name!r}" for argument, name in dims.items())
        raise ValueError(f"the dimensions have one name twice, {given}; give different names.")


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


def check_colors(columns: tuple[str, ...]) -> None:
    """Colors must be differences of two bands, next to a magnitude, none of which follows."""
    pairs = {column: pair for column in columns if (pair := pair_of(column)) is not None}
    for column, pair in pairs.items():
        if pair[0] == pair[1] or not all(pair) or pair_of(pair[1]) is not None:
            raise ValueError(
                f"bands holds the color {column!r}, expected two different bands with one ' - ' "
                "between them, such as 'Gaia_BP_EDR3 - Gaia_RP_EDR3'."
            )
    if len(pairs) == len(columns):
        raise ValueError(
            f"bands holds colors alone, {', '.join(columns)}; give the magnitude of at least one "
            "band, without which there is no distance."
        )
    if pairs and np.linalg.matrix_rank(combination(columns)) < len(columns):
        raise ValueError(
            f"the columns {', '.join(columns)} follow from each other and would count twice; leave "
            f"out {' or '.join(pairs)}."
        )


def check_shapes(
    value: np.ndarray, error: np.ndarray, bands: tuple[str, ...], name: str = "mag"
) -> None:
    """Magnitudes (or fluxes) and their errors must have shape (star, band)."""
    if value.ndim != 2 or value.shape[1] != len(bands) or not len(value):
        raise ValueError(
            f"{name} must have shape (stars, {len(bands)}) for {len(bands)} bands, got "
            f"{value.shape}; one row is one star, one column one band."
        )
    if error.shape != value.shape:
        raise ValueError(
            f"{name}_err must have the shape of {name}, {value.shape}, got {error.shape}; "
            f"numpy.broadcast_to repeats one error for all stars."
        )


def check_photometry(
    value: np.ndarray, error: np.ndarray, bands: tuple[str, ...], name: str = "mag"
) -> None:
    """Values must be finite or NaN, with a positive error and at least one band a star."""
    check_errors(value, error, bands, name)
    empty = ~np.isfinite(value).any(axis=1)
    if empty.any():
        raise ValueError(
            f"{name} has no measured band in {named_rows(empty)}; leave such stars out of the "
            "catalog."
        )


def check_errors(
    value: np.ndarray, error: np.ndarray, bands: tuple[str, ...], name: str = "mag"
) -> None:
    """Values must be finite or NaN, with a positive error where they are finite."""
    if np.isinf(value).any():
        raise ValueError(
            f"{name} is infinite in {named_rows(np.isinf(value).any(axis=1))}; "
            f"use NaN where a star was not measured."
        )
    measured = np.isfinite(value)
    bad = measured & ~(np.isfinite(error) & (error > 0))
    if bad.any():
        names = [band for band, wrong in zip(bands, bad.any(axis=0), strict=True) if wrong]
        raise ValueError(
            f"{name}_err must be positive and finite where {name} is finite, got {error[bad][0]} "
            f"in {named_rows(bad.any(axis=1))} of {', '.join(names)}; "
            f"give an error there or set {name} to NaN."
        )


def check_sentinels(mag: np.ndarray, bands: tuple[str, ...]) -> None:
    """No star has a magnitude of 90, or a color of 20; such numbers stand for "not measured"."""
    is_color = np.array([pair_of(band) is not None for band in bands])
    colors = tuple(band for band, color in zip(bands, is_color, strict=True) if color)
    _check_color_values(mag[:, is_color], colors)
    bad = np.abs(mag) >= _SENTINEL
    if bad.any():
        names = [band for band, wrong in zip(bands, bad.any(axis=0), strict=True) if wrong]
        raise ValueError(
            f"mag must lie within -{_SENTINEL:g} and {_SENTINEL:g}, got {mag[bad][0]} in "
            f"{named_rows(bad.any(axis=1))} of {', '.join(names)}; 99 and -999 stand for "
            '"not measured" in many tables and should be NaN: '
            f"numpy.where(numpy.abs(mag) >= {_SENTINEL:g}, numpy.nan, mag)."
        )


def _check_color_values(color: np.ndarray, names: tuple[str, ...]) -> None:
    """No star has a color of 20 mag; such numbers are differences with a sentinel."""
    bad = np.abs(color) >= _BOUND_COLOR
    if bad.any():
        wrong = [name for name, column in zip(names, bad.any(axis=0), strict=True) if column]
        raise ValueError(
            f"color must lie within -{_BOUND_COLOR:g} and {_BOUND_COLOR:g} mag, got "
            f"{color[bad][0]:g} in {named_rows(bad.any(axis=1))} of {', '.join(wrong)}; 99 and "
            '-999 stand for "not measured" in many tables, and a difference with one is no color. '
            "Set it to NaN: numpy.where(numpy.abs(magnitude) >= "
            f"{_SENTINEL:g}, numpy.nan, magnitude) before the difference, or numpy.where("
            f"numpy.abs(color) >= {_BOUND_COLOR:g}, numpy.nan, color)."
        )


def check_floor_names(
    names: Iterable[str], columns: Sequence[str], magnitudes: Sequence[str] = ()
) -> None:
    """A floor must not name a color of which the catalog holds the magnitudes of both bands.

    `magnitudes` are those that a table had: the others were made of its colors.
    """
    for name in names:
        pair = pair_of(name)
        if name in columns or pair is None or not {*pair} <= {*columns}:
            continue
        made = tuple(band for band in pair if band not in magnitudes) or pair
        raise ValueError(
            f"floor names the color {name!r}, but the catalog holds the magnitudes of both bands: "
            "with color_errors='difference' a color becomes the magnitude of the other band. Name "
            f"{' or '.join(map(repr, made))}, whose error it is added to, or give "
            "color_errors='independent', which keeps the color."
        )


def check_zero_point(zero_point: Any, n_band: int) -> np.ndarray:
    """Magnitudes of unit flux, one number or one by band."""
    values = as_floats("zero_point", zero_point)
    if values.shape not in ((), (n_band,)) or not np.isfinite(values).all():
        raise ValueError(
            f"zero_point must be one finite number or {n_band}, one by band (mag), got "
            f"{zero_point!r}; it is the magnitude of a flux of 1."
        )
    return values


def check_keywords(given: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """Return keywords that are known; others are a TypeError, as for any function."""
    unknown = [name for name in given if name not in known]
    if unknown:
        raise TypeError(f"unknown argument(s) {', '.join(unknown)}; known are {', '.join(known)}")
    return given


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
    if star.dtype.kind == "O":
        # Numbers next to text cannot be sorted.
        label, count = Counter(star.tolist()).most_common(1)[0]
    else:
        labels, counts = np.unique(star, return_counts=True)
        label, count = labels[np.argmax(counts)], int(counts.max())
    if count > 1:
        raise ValueError(
            f"star must hold each label once, got {label!r} {count} times; drop repeated stars or "
            "leave star out."
        )


def check_measured_column(
    name: str, value: Any, error: Any, n_star: int, unit: str, positive: bool = False
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """A measured column needs errors, positive and finite where its value is finite."""
    if (value is None) != (error is None):
        given, missing = name, f"{name}_err"
        if value is None:
            given, missing = missing, given
        raise ValueError(f"{given} was given without {missing}; give both ({unit}) or neither.")
    if value is None:
        return None, None
    values = check_length(name, as_floats(name, value), n_star)
    errors = check_length(f"{name}_err", as_floats(f"{name}_err", error), n_star)
    if values.ndim != 1 or errors.ndim != 1:
        raise ValueError(
            f"{name} and {name}_err must have shape ({n_star},), got {values.shape} and "
            f"{errors.shape}; give one number a star."
        )
    if np.isinf(values).any():
        raise ValueError(
            f"{name} is infinite in {named_rows(np.isinf(values))}; use NaN where it was not "
            "measured."
        )
    if positive and (values <= 0).any():
        raise ValueError(
            f"{name} must be positive ({unit}), got {values[values <= 0][0]} in "
            f"{named_rows(values <= 0)}; use NaN where it was not measured."
        )
    if name == "teff" and (values < _LEAST_TEFF).any():
        cold = values < _LEAST_TEFF
        raise ValueError(
            f"teff is {values[cold][0]:g} K in {named_rows(cold)}, colder than any star; give K, "
            "not log10 of it."
        )
    bad = np.isfinite(values) & ~(np.isfinite(errors) & (errors > 0))
    if bad.any():
        raise ValueError(
            f"{name}_err must be positive and finite where {name} is finite, got "
            f"{errors[bad][0]} in {named_rows(bad)}; give an error there ({unit}) or set {name} to "
            "NaN."
        )
    return values, np.where(np.isnan(values), np.nan, errors)


def check_proper_motion(
    pmra: np.ndarray | None, pmdec: np.ndarray | None, pm_corr: Any, n_star: int
) -> np.ndarray | None:
    """Return the correlations of the errors (N,); both components must be there, or none."""
    if pmra is None or pmdec is None:
        lacking = "pmdec" if pmdec is None else "pmra"
        given = {"pmra": pmra, "pmdec": pmdec, "pm_corr": pm_corr}
        found = [name for name, value in given.items() if value is not None]
        if not found:
            return None
        raise ValueError(
            f"{' and '.join(found)} came without {lacking}, but a proper motion has two "
            "components; give pmra, pmra_err, pmdec and pmdec_err (mas/yr), or none of them."
        )
    measured = np.isfinite(pmra)
    one = measured != np.isfinite(pmdec)
    if one.any():
        raise ValueError(
            f"one of pmra and pmdec is NaN in {named_rows(one)}, but a proper motion has two "
            "components; set both to NaN where it was not measured."
        )
    corr = as_floats("pm_corr", 0.0 if pm_corr is None else pm_corr)
    corr = np.full(n_star, corr) if corr.ndim == 0 else corr
    if corr.shape != (n_star,):
        raise ValueError(
            f"pm_corr must be one number or have shape ({n_star},), got {corr.shape}; select the "
            "same stars as for mag."
        )
    bad = measured & ~(np.abs(corr) < 1.0)
    if bad.any():
        raise ValueError(
            f"pm_corr must lie between -1 and 1, got {corr[bad][0]} in {named_rows(bad)}; it is "
            "the correlation of the errors of pmra and pmdec, not their covariance: use 0 where it "
            "is not known."
        )
    return np.where(measured, corr, np.nan)


def check_agreement(name: str, given: np.ndarray, derived: np.ndarray) -> None:
    """What was given beside fluxes must be what follows from them."""
    if given.shape != derived.shape or not np.allclose(
        given, derived, rtol=1e-6, atol=1e-6, equal_nan=True
    ):
        raise ValueError(
            f"{name} of a catalog of fluxes must be what follows from the fluxes; make the catalog "
            f"with StarCatalog.from_flux(flux, flux_err, bands=...), which computes it."
        )


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
            f"membership_prior must lie in 0 to 1, got {prior[bad][0]} in {named_rows(bad)}; "
            f"use 1 (or leave it out) where nothing is known."
        )
    return prior


def row_indices(which: Any, n_star: int) -> np.ndarray:
    """Return row indices from a bool mask or from row indices, checked."""
    which = np.atleast_1d(np.asarray(which))
    if which.dtype == bool:
        if which.shape != (n_star,):
            raise ValueError(
                f"a mask must have shape ({n_star},), got {which.shape}; "
                f"compute it from this catalog."
            )
        which = np.flatnonzero(which)
    if which.size == 0:
        raise ValueError("the selection holds no star; widen it.")
    if which.ndim != 1 or not np.issubdtype(which.dtype, np.integer):
        raise ValueError(
            f"which must be a bool mask or a list of row indices, got dtype {which.dtype} "
            f"and shape {which.shape}; use numpy.flatnonzero for a list of rows."
        )
    if which.min() < -n_star or which.max() >= n_star:
        raise ValueError(
            f"row indices must lie in 0 to {n_star - 1}, got up to {which.max()} "
            f"and down to {which.min()}; select by rows, not by labels."
        )
    return which
