"""Draws of a star formation history out of a posterior or a fit, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.hess import TemplateSet
from pymc_starpop.summaries.sfh_background import BackgroundDraws, read_backgrounds

__all__ = ["N_FIT_DRAWS", "SFHInput", "read_sfh"]

# Draws taken from a fit: a 95 % interval then has tails of 100 draws.
N_FIT_DRAWS = 4000

_ROLES = ("mass_formed", "mh_mean", "sigma")


@dataclass(frozen=True, eq=False)
class SFHInput:
    """Draws of the variables that a star formation history is made of.

    Attributes
    ----------
    mass : ndarray (N_sample, N_age)
        Mass formed in each age bin, Msun.
    age_edges : ndarray (N_age + 1,)
        Edges of the age bins, Gyr.
    log_age : ndarray (N_age,)
        log10(age / yr) of the young edges.
    mass_by_mh : ndarray (N_sample, N_age, N_mh) or None
        Mass formed at each metallicity too, where these are free.
    mh_mean : ndarray (N_sample, N_age) or None
        Mean metallicity, dex.
    sigma : ndarray (N_sample,) or (N_sample, N_age), or None
        Dispersion, dex.
    backgrounds : BackgroundDraws or None
        Stars of backgrounds whose amplitudes were fitted.
    """

    mass: np.ndarray
    age_edges: np.ndarray
    log_age: np.ndarray
    mass_by_mh: np.ndarray | None
    mh_mean: np.ndarray | None
    sigma: np.ndarray | None
    backgrounds: BackgroundDraws | None


def read_sfh(
    result: Any,
    tmpl: TemplateSet | None,
    t_max_gyr: float | None,
    variables: Mapping[str, Any] | None,
    rng: np.random.Generator | int | None,
) -> SFHInput:
    """Gather and check draws; see `sfh_draws` for the arguments."""
    names = _check_variables(variables)
    draws = _draws(result, rng)
    mass = _variable(draws, names["mass_formed"])
    if mass is None:
        raise ValueError(
            f"result has no variable {names['mass_formed']!r}, only {_listed(draws)}; name yours "
            f"with variables={{'mass_formed': ...}}."
        )
    values, log_age, mass_by_mh = _read_mass(mass, tmpl)
    t_max = _find_t_max(result, draws, mass, t_max_gyr)
    mh_mean = _variable(draws, names["mh_mean"])
    sigma = names["sigma"]
    sigma = _variable(draws, sigma) if isinstance(sigma, str) else xr.DataArray(sigma)
    return SFHInput(
        mass=values,
        age_edges=_age_edges(log_age, t_max),
        log_age=log_age,
        mass_by_mh=mass_by_mh,
        mh_mean=None if mh_mean is None else _read_mean(mh_mean, values),
        sigma=None if sigma is None else _read_sigma(sigma, values.shape),
        backgrounds=read_backgrounds(draws, str(mass.name)),
    )


def _draws(result: Any, rng: np.random.Generator | int | None) -> xr.Dataset:
    """Return a dataset whose draws are along ``sample``."""
    if isinstance(result, xr.DataTree):
        result = (result["posterior"] if "posterior" in result.children else result).dataset
    elif callable(getattr(result, "draws", None)):
        result = result.draws(N_FIT_DRAWS, np.random.default_rng(rng))
    if not isinstance(result, xr.Dataset):
        raise ValueError(
            f"result must be a posterior (xarray.DataTree or Dataset) or what fit_sfh returns, "
            f"got {type(result).__name__}."
        )
    if "sample" in result.dims:
        return result
    along = [dim for dim in ("chain", "draw") if dim in result.dims]
    if not along:
        raise ValueError(
            f"result has the dimensions {tuple(result.dims)}; draws must be along (chain, draw) or "
            f"along sample. A summary cannot be summarized again."
        )
    return result.stack(sample=along, create_index=False)


def _listed(draws: xr.Dataset) -> str:
    return ", ".join(map(str, draws)) or "none"


def _variable(draws: xr.Dataset, name: str) -> xr.DataArray | None:
    return draws[name] if name in draws.data_vars else None


def _read_mass(
    mass: xr.DataArray, tmpl: TemplateSet | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Masses (N_sample, N_age), ages, and masses (N_sample, N_age, N_mh) if there are any."""
    by_mh = "mh" in mass.dims
    expected = ("sample", "log_age", "mh") if by_mh else ("sample", "log_age")
    if set(mass.dims) != set(expected):
        raise ValueError(
            f"{mass.name} must have the dimensions {expected[1:]} besides the draws, got "
            f"{mass.dims}; declare it with dims='log_age' in pm.Model(coords=tmpl.coords()), and "
            f"take one history with .isel where there are several."
        )
    if "log_age" in mass.coords:
        log_age = mass["log_age"].values.astype(float)
    elif tmpl is not None and tmpl.n_age == mass.sizes["log_age"]:
        log_age = tmpl.log_age
    else:
        raise ValueError(
            f"{mass.name} has no coordinate log_age; build the model with "
            f"pm.Model(coords=tmpl.coords())."
        )
    if tmpl is not None and not _same(log_age, tmpl.log_age):
        raise ValueError(
            f"tmpl has {tmpl.n_age} ages from log_age {tmpl.log_age[0]:g} to "
            f"{tmpl.log_age[-1]:g}, the result {log_age.size} from {log_age[0]:g} to "
            f"{log_age[-1]:g}; give the templates of the fit."
        )
    if by_mh and tmpl is not None and mass.sizes["mh"] != tmpl.n_mh:
        raise ValueError(
            f"tmpl has {tmpl.n_mh} metallicities, the result {mass.sizes['mh']}; give the "
            f"templates of the fit."
        )
    values = mass.transpose(*expected).values.astype(float)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ValueError(f"{mass.name} must be finite, got {bad} values that are not.")
    if (values < 0).any():
        raise ValueError(f"{mass.name} must not be negative, got {values.min():g}.")
    total = values.sum(axis=-1) if by_mh else values
    empty = int((total.sum(axis=-1) == 0).sum())
    if empty:
        raise ValueError(
            f"{mass.name} is zero in all age bins in {empty} of {len(total)} draws; leave them out."
        )
    return total, log_age, values if by_mh else None


def _read_mean(mh_mean: xr.DataArray, mass: np.ndarray) -> np.ndarray:
    """Mean metallicities (N_sample, N_age), NaN where nothing formed; fixed ones have no draws."""
    if "log_age" not in mh_mean.dims or not set(mh_mean.dims) <= {"sample", "log_age"}:
        raise ValueError(
            f"{mh_mean.name} must have the dimension log_age besides the draws, got {mh_mean.dims}."
        )
    values = mh_mean.transpose(..., "log_age").values.astype(float)
    if values.shape[-1] != mass.shape[-1]:
        raise ValueError(f"{mh_mean.name} has {values.shape[-1]} ages, expected {mass.shape[-1]}.")
    values = np.where(mass > 0, values, np.where(np.isfinite(values), values, np.nan))
    if not np.isfinite(values[mass > 0]).all():
        raise ValueError(f"{mh_mean.name} must be finite wherever stars formed.")
    return values


def _read_sigma(sigma: xr.DataArray, shape: tuple[int, ...]) -> np.ndarray:
    """Dispersions, one a draw or one for each draw and age; a fixed one has no draws."""
    if not set(sigma.dims) <= {"sample", "log_age"}:
        raise ValueError(f"sigma must be one number a draw or an age, got dims {sigma.dims}.")
    values = sigma.transpose("sample", "log_age", missing_dims="ignore").values.astype(float)
    if not np.isfinite(values).all() or (values <= 0).any():
        raise ValueError(f"sigma must be positive and finite, got {values.min():g}.")
    return np.broadcast_to(values, shape if "log_age" in sigma.dims else shape[:1])


def _find_t_max(result: Any, draws: xr.Dataset, mass: xr.DataArray, given: float | None) -> float:
    """Return the end of the oldest bin: as given, or as the fit, the data or the model say."""
    if given is not None:
        return float(given)
    constants = result.children.get("constant_data") if isinstance(result, xr.DataTree) else None
    candidates = [
        getattr(result, "t_max_gyr", None),
        mass.attrs.get("t_max_gyr"),
        draws.attrs.get("t_max_gyr"),
        constants.dataset.get("t_max_gyr") if constants is not None else None,
    ]
    for value in candidates:
        if value is not None:
            return float(value)
    raise ValueError(
        "t_max_gyr is needed: the result does not say at which lookback time (Gyr) the oldest age "
        "bin ends; give the one of the fit, such as t_max_gyr=13.7."
    )


def _age_edges(log_age: np.ndarray, t_max_gyr: float) -> np.ndarray:
    ages = 10.0 ** (log_age - 9.0)
    if np.any(np.diff(ages) <= 0):
        raise ValueError("log_age of the result must ascend.")
    if not t_max_gyr > ages[-1] or not np.isfinite(t_max_gyr):
        raise ValueError(
            f"t_max_gyr={t_max_gyr:g}: the oldest age bin begins at {ages[-1]:g} Gyr and must end "
            f"later; give the one of the fit."
        )
    return np.append(ages, t_max_gyr)


def _check_variables(variables: Mapping[str, Any] | None) -> dict[str, Any]:
    given = dict(variables or {})
    unknown = [name for name in given if name not in _ROLES]
    if unknown:
        raise ValueError(
            f"variables has {', '.join(map(repr, unknown))}; expected some of {', '.join(_ROLES)}."
        )
    return {role: given.get(role, role) for role in _ROLES}


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=0.0, atol=1e-9)
