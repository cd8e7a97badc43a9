"""Ranges of field stars: given, or taken from a catalog."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.colors import pair_of
from pymc_starpop.stars.selection import MagnitudeLimits

__all__ = [
    "MEASURED",
    "Range",
    "check_color_ranges",
    "check_range",
    "check_reference",
    "data_range",
    "given_range",
    "log_column_density",
    "overlap",
]

Range = tuple[float, float]

MEASURED = ("parallax", "teff", "feh")  # columns of a catalog in which field stars are uniform


def data_range(
    name: str, values: np.ndarray | None, owner: str, required: bool = True
) -> Range | None:
    """Return the least and greatest value; no width is an error where it is required."""
    finite = np.empty(0) if values is None else values[np.isfinite(values)]
    if finite.size and finite.max() > finite.min():
        return float(finite.min()), float(finite.max())
    if not required:
        return None
    raise ValueError(
        f"{name} of {owner} cannot be taken from the catalog, whose {finite.size} values "
        f"there have no width; give {name} as (low, high)."
    )


def overlap(
    mag_range: Range | None, selection: MagnitudeLimits, limits: tuple[Any, Any]
) -> tuple[Any, Any]:
    """Return the part of a range that passes limits, numbers or arrays (N,)."""
    low, high = mag_range or (-math.inf, math.inf)
    low, high = np.maximum(low, limits[0]), np.minimum(high, limits[1])
    if np.any(low >= high):
        raise ValueError(
            f"mag_range of UniformField is {mag_range} mag in {selection.band}, expected a range "
            f"that overlaps the selection, {selection.bright} to {selection.faint} mag; widen "
            f"mag_range, or leave it out for the limits of the selection."
        )
    return low, high


def given_range(name: str, limits: Range | None, owner: str) -> Range:
    """Return a range that drawing needs, or say how to give it."""
    if limits is None:
        raise ValueError(
            f"{name} of {owner} is needed to draw field stars and was not given; give it as "
            "(low, high), or take all ranges from a catalog with field.frozen(catalog)."
        )
    return limits


def log_column_density(
    catalog: StarCatalog, ranges: Mapping[str, Range | None], owner: str
) -> np.ndarray:
    """Log density (N,) of parallax, temperature and [Fe/H], uniform where they are measured.

    ``ranges`` holds what was given by name of the column; None takes it from the catalog.
    """
    log_density = np.zeros(catalog.n_star)
    for name in MEASURED:
        values = getattr(catalog, name)
        if values is None or not np.isfinite(values).any():
            continue
        limits = ranges[name] or data_range(f"{name}_range", values, owner)
        assert limits is not None  # a range that is required is there or an error
        log_density[np.isfinite(values)] -= math.log(limits[1] - limits[0])
    return log_density


def check_color_ranges(
    color_ranges: Mapping[tuple[str, str], Range],
) -> dict[tuple[str, str], Range]:
    """Color ranges must have pairs of different bands as keys."""
    checked = {}
    for key, limits in dict(color_ranges).items():
        if not isinstance(key, tuple) or len(key) != 2 or key[0] == key[1]:
            raise ValueError(
                f"color_ranges must have pairs of different bands as keys, got {key!r}; "
                f"write (band, reference band)."
            )
        checked[key] = check_range(f"color_ranges[{key!r}]", limits)
    return checked


def check_reference(reference: str | None) -> None:
    """The reference band is one of a magnitude."""
    if reference is not None and pair_of(reference) is not None:
        raise ValueError(
            f"reference is the color {reference!r}, expected the band of a magnitude; leave it out "
            "for the first one of the catalog."
        )


def check_range(name: str, limits: Any) -> Range:
    """A range must be two finite numbers that ascend."""
    pair = tuple(limits) if isinstance(limits, Iterable) else (limits,)
    if len(pair) != 2 or not (math.isfinite(pair[0]) and math.isfinite(pair[1])):
        raise ValueError(f"{name} must be two finite numbers (low, high), got {limits!r}.")
    if not pair[0] < pair[1]:
        raise ValueError(
            f"{name} must ascend, got {limits!r}; put the smaller number first, "
            f"and give a range of some width."
        )
    return float(pair[0]), float(pair[1])
