"""Checks of what templates are made of."""

from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

import numpy as np

from pymc_starpop.hess.axes import HessAxes
from pymc_starpop.hess.binaries import is_number
from pymc_starpop.population.imf import InitialMassFunction

__all__ = [
    "check_axes",
    "check_extinction",
    "check_finite",
    "check_grid",
    "check_imf",
    "check_isochrone",
    "check_jobs",
    "check_numbers",
    "check_part",
    "check_whole",
]


def check_axes(axes: Any) -> HessAxes:
    """Return the bins of a Hess diagram, or raise."""
    if not isinstance(axes, HessAxes):
        raise ValueError(f"axes must be a HessAxes, got {type(axes).__name__}.")
    return axes


def check_imf(imf: Any) -> InitialMassFunction:
    """Return a mass function, or raise."""
    if not isinstance(imf, InitialMassFunction):
        raise ValueError(f"imf must be a mass function such as Kroupa(), got {imf!r}.")
    return imf


def check_isochrone(
    initial_mass: Any, abs_mag: Any, bands: Sequence[str], needed: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Masses (E,) and magnitudes (E, B) in the needed bands."""
    mass, mag = np.array(initial_mass, dtype=float), np.array(abs_mag, dtype=float)
    names = (bands,) if isinstance(bands, str) else tuple(bands)
    if mass.ndim != 1 or mass.size < 2:
        raise ValueError(
            f"initial_mass must hold two or more masses in one dimension, got {mass.shape}."
        )
    if mag.shape != (mass.size, len(names)):
        raise ValueError(
            f"abs_mag must have shape (E, B) = {(mass.size, len(names))} for {mass.size} masses "
            f"and the bands {', '.join(map(str, names))}, got {mag.shape}."
        )
    for band in needed:
        if names.count(band) != 1:
            raise ValueError(
                f"bands must hold {band!r} of the axes once, got {', '.join(map(str, names))}."
            )
    mag = np.ascontiguousarray(mag[:, [names.index(band) for band in needed]])
    if not (np.isfinite(mass).all() and (mass > 0.0).all()):
        raise ValueError("initial_mass must be finite and positive (Msun); leave out other points.")
    if not np.isfinite(mag).all():
        bad = np.flatnonzero(~np.isfinite(mag).all(axis=1))
        raise ValueError(
            f"abs_mag must be finite, got {bad.size} points that are not, the first at index "
            f"{bad[0]}; leave out these points."
        )
    if not (np.diff(mass) > 0.0).any():
        raise ValueError(
            "initial_mass never increases from one point to the next, so that no stars are left; "
            "order the points by evolutionary phase."
        )
    return mass, mag


def check_finite(name: str, value: SupportsFloat) -> float:
    """Return one finite number, or raise."""
    if np.shape(value) != () or not np.isfinite(float(value)):  # type: ignore[call-overload]
        raise ValueError(f"{name} must be one finite number (mag), got {value!r}.")
    return float(value)


def check_extinction(
    av: SupportsFloat, extinction: Mapping[str, float] | None, bands: tuple[str, ...]
) -> np.ndarray:
    """A_b / A_V (B,) of the bands."""
    if extinction is None:
        if float(av) != 0.0:
            raise ValueError(
                f"av={float(av):g} needs extinction= with A_b / A_V for each of "
                f"{', '.join(bands)}; arrays do not say how their bands redden."
            )
        return np.zeros(len(bands))
    missing = [band for band in bands if band not in extinction]
    if missing:
        raise ValueError(f"extinction lacks {', '.join(missing)}: give A_b / A_V for every band.")
    ratios = np.array([float(extinction[band]) for band in bands])
    if not np.isfinite(ratios).all():
        raise ValueError(f"extinction must be finite, got {dict(extinction)}.")
    return ratios


def check_numbers(name: str, values: Any) -> np.ndarray:
    """Return finite numbers in one dimension, or raise."""
    numbers = np.array(values, dtype=float)
    if numbers.ndim != 1 or not numbers.size or not np.isfinite(numbers).all():
        raise ValueError(
            f"{name} must be finite numbers in one dimension, got shape {numbers.shape}."
        )
    return numbers


def check_grid(name: str, values: Any, limits: tuple[float, float], unit: str) -> np.ndarray:
    """Return ascending ages or metallicities within the isochrones, or raise."""
    grid = np.atleast_1d(np.array(values, dtype=float))
    if grid.ndim != 1 or not grid.size or not (np.diff(grid) > 0.0).all():
        raise ValueError(
            f"{name} must ascend without repeats in one dimension, got shape {grid.shape}; try "
            f"numpy.unique({name})."
        )
    # Written so that NaN fails too.
    outside = grid[~((grid >= limits[0]) & (grid <= limits[1]))]
    if outside.size:
        raise ValueError(
            f"{name}={outside[0]:g} is outside the isochrones: expected {limits[0]:g} to "
            f"{limits[1]:g} {unit}."
        )
    return grid


def check_part(part_gyr: Any) -> float | None:
    """Return the longest part of an age bin, Gyr, or None, or raise."""
    if part_gyr is None:
        return None
    if not is_number(part_gyr) or not part_gyr > 0.0:
        raise ValueError(
            f"part_gyr must be a positive number of Gyr, or None to divide no age bin, got "
            f"{part_gyr!r}."
        )
    return float(part_gyr)


def check_jobs(n_jobs: Any) -> int:
    """Return a number of processes, or raise."""
    jobs = check_whole("n_jobs", n_jobs)
    if jobs is None:
        raise ValueError("n_jobs must be a whole number of processes from 1 up, got None.")
    return jobs


def check_whole(name: str, value: Any) -> int | None:
    """Return a whole number from 1 up, or None where nothing was given."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1 up, got {value!r}.")
    return int(value)
