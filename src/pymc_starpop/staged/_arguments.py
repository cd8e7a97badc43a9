"""Checks of what the stages are given, and the package's own names for brutus' arguments."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

# This package's name: brutus' name, and how the value becomes that of brutus.
_SAME = {
    "log_age": "loga",
    "distance_pc": "dist",
    "mass_min": "mini_bound",
    "binary_eep_max": "eep_binary_max",
    "corrections": "corr_params",
    "model": "outlier_model_func",
}


def accept_own_names[Function: Callable[..., Any]](function: Function) -> Function:
    """Let a function with brutus' argument names also take those of `pymc_starpop.cluster_logp`."""
    known = tuple(inspect.signature(function).parameters)
    names = {own: name for own, name in _SAME.items() if name in known}

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        given = dict(zip(known, args, strict=False)) | kwargs
        if "dist" in known and "distance_modulus" in kwargs:
            modulus = float(kwargs.pop("distance_modulus"))
            _check_once("distance_modulus", "dist", given)
            kwargs["dist"] = given["dist"] = 10.0 ** (0.2 * modulus + 1.0)
        for own, name in names.items():
            if own in kwargs:
                _check_once(own, name, given)
                kwargs[name] = given[name] = kwargs.pop(own)
        return function(*args, **kwargs)

    return cast(Function, wrapper)


def _check_once(own: str, name: str, given: Mapping[str, Any]) -> None:
    if name in given:
        raise ValueError(
            f"{own} and {name} are two names of one argument, and both were given; leave one out."
        )


@dataclass(frozen=True)
class Stars:
    """Observed fluxes (or magnitudes) with harmless numbers where they are not used.

    Attributes
    ----------
    flux, err : (N, B) 0 and 1 where not used
    use : (N, B) 1.0 where a value counts, else 0.0
    """

    flux: np.ndarray
    err: np.ndarray
    use: np.ndarray


@dataclass(frozen=True)
class Parallaxes:
    """Measured parallaxes.

    Attributes
    ----------
    value, err : (N,) mas, 0 and 1 where not measured
    measured : (N,) bool
    """

    value: np.ndarray
    err: np.ndarray
    measured: np.ndarray


def check_stars(obs_flux: Any, obs_err: Any, mask: Any) -> Stars:
    """Check the photometry; a band counts where flux and error are finite and the error above 0."""
    flux, err = np.asarray(obs_flux, dtype=float), np.asarray(obs_err, dtype=float)
    if flux.ndim != 2 or flux.shape != err.shape or flux.size == 0:
        raise ValueError(
            f"obs_flux and obs_err must both have shape (stars, bands), got {flux.shape} and "
            f"{err.shape}; one star is a single row, such as obs_flux[None, :]."
        )
    use = np.isfinite(flux) & np.isfinite(err) & (err > 0.0)
    if mask is not None:
        use &= check_mask(mask, flux.shape)
    return Stars(np.where(use, flux, 0.0), np.where(use, err, 1.0), use.astype(float))


def check_mask(mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return a mask of 0 and 1 as bool (N, B)."""
    values = np.asarray(mask)
    if values.shape not in (shape, shape[1:]):
        raise ValueError(
            f"mask must have shape (stars, bands) = {shape}, or one number for each band, got "
            f"{values.shape}."
        )
    values = np.broadcast_to(values, shape)
    if not np.isin(values, (0, 1)).all():
        raise ValueError(
            "mask must hold 1 (use) and 0 (leave out), got other values; weigh a band by its error."
        )
    return values.astype(bool)


def check_parallaxes(parallax: Any, parallax_err: Any, n_star: int) -> Parallaxes | None:
    """Check parallaxes, which may be missing for some stars (NaN) or for all (None)."""
    if parallax is None and parallax_err is None:
        return None
    if parallax is None or parallax_err is None:
        missing = "parallax" if parallax is None else "parallax_err"
        raise ValueError(
            f"{missing} was not given; parallax and parallax_err (mas) belong together."
        )
    value, err = np.asarray(parallax, dtype=float), np.asarray(parallax_err, dtype=float)
    if value.shape != (n_star,) or err.shape != (n_star,):
        raise ValueError(
            f"parallax and parallax_err must have shape ({n_star},), one for each star, got "
            f"{value.shape} and {err.shape}; NaN stands for a star without."
        )
    measured = np.isfinite(value) & np.isfinite(err) & (err > 0.0)
    return Parallaxes(np.where(measured, value, 0.0), np.where(measured, err, 1.0), measured)


def check_columns(grid: Any, names: tuple[str, ...]) -> list[np.ndarray]:
    """Return columns of a grid as arrays of floats, all with one row for each point."""
    if not isinstance(grid, Mapping):
        raise ValueError(
            f"grid must be a mapping such as population_grid returns, got {type(grid).__name__}."
        )
    missing = [name for name in names if name not in grid]
    if missing:
        raise ValueError(
            f"grid lacks {', '.join(missing)}; it has {', '.join(map(str, grid)) or 'no keys'}."
        )
    columns = [np.asarray(grid[name], dtype=float) for name in names]
    for name, column in zip(names, columns, strict=True):
        n_dim = 2 if name == "photometry" else 1
        if column.ndim != n_dim or len(column) != len(columns[0]) or len(column) == 0:
            raise ValueError(
                f"grid[{name!r}] must have {n_dim} dimension(s) and as many rows as there are "
                f"points ({len(np.atleast_1d(columns[0]))}), at least one, got {column.shape}."
            )
    return columns


def check_table(name: str, values: Any) -> np.ndarray:
    """Return log-likelihoods (G, N) as an array."""
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(
            f"{name} must have shape (points of the grid, stars), got {table.shape}; for one "
            f"point write {name}[None, :]."
        )
    return table


def check_fraction(name: str, value: Any, n_star: int) -> np.ndarray:
    """Return a probability, one or one for each star."""
    values = np.asarray(value, dtype=float)
    if values.shape not in ((), (n_star,)):
        raise ValueError(
            f"{name} must be one number or have shape ({n_star},), got {values.shape}."
        )
    if not ((values >= 0.0) & (values <= 1.0)).all():  # False for NaN
        raise ValueError(f"{name} must lie between 0 and 1, got {values}.")
    return values


def check_axis(name: str, values: Any, limits: tuple[float, float]) -> np.ndarray:
    """Return ascending numbers within limits."""
    axis = np.asarray(values, dtype=float)
    low, high = limits
    inside = axis.size > 0 and bool(((axis >= low) & (axis <= high)).all())
    if axis.ndim != 1 or not inside or not (np.diff(axis) > 0.0).all():
        raise ValueError(
            f"{name} must be a 1-D array of ascending numbers from {low:g} to {high:g}, each once, "
            f"got {values!r}."
        )
    return axis
