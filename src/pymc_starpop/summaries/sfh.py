"""What a star formation history says: rates, times, metallicities, with intervals."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.hess import TemplateSet
from pymc_starpop.summaries.sfh_arrays import (
    formation_time,
    formed_fraction,
    merge_matrix,
    star_formation_rate,
)
from pymc_starpop.summaries.sfh_background import background_quantities
from pymc_starpop.summaries.sfh_input import SFHInput, read_sfh
from pymc_starpop.summaries.sfh_metallicity import metallicity_quantities

__all__ = ["sfh_draws", "summarize_sfh"]

_GYR = {"units": "Gyr", "long_name": "lookback time"}


def summarize_sfh(
    result: Any,
    tmpl: TemplateSet | None = None,
    *,
    t_max_gyr: float | None = None,
    fractions: Sequence[float] = (0.5, 0.9),
    bins_gyr: Any = None,
    intervals: Sequence[float] = (0.68, 0.95),
    variables: Mapping[str, Any] | None = None,
    rng: np.random.Generator | int | None = None,
) -> xr.Dataset:
    """Summarize a star formation history by medians and intervals.

    Every quantity is computed draw by draw, so that fractions, differences of times and merged
    bins have the uncertainty that the correlations of the age bins leave them.

    Parameters
    ----------
    result : xarray.DataTree, xarray.Dataset or fit
        A posterior, or what `fit_sfh` returns, of which draws are taken. See `sfh_draws` for
        the variables that are read.
    tmpl : TemplateSet, optional
        The templates of the fit: needed for the distributions of metallicity.
    t_max_gyr : float, optional
        Where the oldest age bin ends, Gyr, if the result does not say.
    fractions : sequence of float
        Fractions of the mass, above 0 and at most 1: 0.5 makes ``tau_50``.
    bins_gyr : array-like, optional
        Ascending edges, Gyr, of wider age bins, in which the rate is averaged.
    intervals : sequence of float
        Probabilities of the intervals around the median, with equal tails.
    variables : mapping, optional
        Names of the variables in the posterior, see `sfh_draws`.
    rng : numpy.random.Generator or int, optional
        Source of randomness or seed for the draws from a fit.

    Returns
    -------
    xarray.Dataset
        The variables of `sfh_draws` with the dimension ``quantile`` in place of ``sample``, and
        for ``bins_gyr`` the correlations ``bin_sfr_correlation`` (age_bin, age_bin_2).

    Raises
    ------
    ValueError
        As `sfh_draws`, and for intervals outside 0 to 1.

    Examples
    --------
    Two age bins, 1 to 5 and 5 to 13 Gyr, with 4e6 Msun each:

    >>> import numpy as np, xarray as xr, pymc_starpop as psp
    >>> masses = xr.DataArray(np.full((1, 1, 2), 4e6), dims=("chain", "draw", "log_age"),
    ...                       coords={"log_age": np.log10([1e9, 5e9])})
    >>> summary = psp.summarize_sfh(xr.Dataset({"mass_formed": masses}), t_max_gyr=13.0)
    >>> summary["sfr"].sel(quantile=0.5).values
    array([0.001 , 0.0005])
    >>> float(summary["tau_50"].sel(quantile=0.5)), float(summary["tau_90"].sel(quantile=0.5))
    (5.0, 1.8)
    """
    levels = _quantile_levels(intervals)
    draws = sfh_draws(
        result, tmpl, t_max_gyr=t_max_gyr, fractions=fractions, bins_gyr=bins_gyr,
        variables=variables, rng=rng,
    )  # fmt: skip
    # The mean metallicity of a bin in which nothing formed is no number.
    summary = draws.quantile(levels, dim="sample", keep_attrs=True, skipna=_has_gaps(draws))
    summary = summary.assign_coords(quantile=levels)
    if "bin_sfr" in draws:
        summary["bin_sfr_correlation"] = _correlation(draws["bin_sfr"])
    return summary.assign_attrs(draws.attrs, n_draws=draws.sizes["sample"])


def sfh_draws(
    result: Any,
    tmpl: TemplateSet | None = None,
    *,
    t_max_gyr: float | None = None,
    fractions: Sequence[float] = (0.5, 0.9),
    bins_gyr: Any = None,
    variables: Mapping[str, Any] | None = None,
    rng: np.random.Generator | int | None = None,
) -> xr.Dataset:
    """Derive the quantities of a star formation history for every draw.

    Parameters
    ----------
    result : xarray.DataTree, xarray.Dataset or fit
        A posterior with ``mass_formed`` (log_age), Msun, or (log_age, mh) where the coefficients
        are free; ``mh_mean`` (log_age), dex, and ``sigma``, dex, if there are any. Or what
        `fit_sfh` returns, of which 4,000 draws are taken; ``fit.draws(n, rng)`` takes another
        number.
    tmpl : TemplateSet, optional
        The templates: needed for the distributions of metallicity.
    t_max_gyr : float, optional
        Where the oldest age bin ends, Gyr, if the result does not say.
    fractions : sequence of float
        Fractions of the mass, above 0 and at most 1.
    bins_gyr : array-like, optional
        Ascending edges, Gyr, of wider age bins. One below the youngest template stands for its age.
    variables : mapping, optional
        The names of ``mass_formed``, ``mh_mean`` and ``sigma`` in the posterior, where they are
        others: ``{"mass_formed": "my_masses"}``. For sigma also a number, where it was not fitted.
    rng : numpy.random.Generator or int, optional
        Source of randomness or seed for the draws from a fit.

    Returns
    -------
    xarray.Dataset
        With the dimension ``sample``:

        - ``mass_formed`` (log_age), Msun, and ``sfr`` (log_age), Msun/yr; coordinates
          ``age_young_gyr`` and ``age_old_gyr`` are the edges of the bins;
        - ``total_mass``, Msun formed;
        - ``cumulative`` (age_edge): fraction of the mass formed by that lookback time, Gyr;
        - ``tau_50``, ``tau_90``, ...: lookback time, Gyr, by which that percentage of the mass
          had formed, with a constant rate inside an age bin;
        - ``tau_50_minus_tau_90``, ...: their differences;
        - with ``bins_gyr``: ``bin_mass``, ``bin_sfr`` (age_bin), with ``bin_young_gyr`` and
          ``bin_old_gyr``;
        - ``mh_mean`` (log_age), dex, if there is one, and ``sigma``;
        - with ``tmpl`` and metallicities: ``mdf_mass`` (mh), the part of the mass formed at each
          metallicity, ``mdf_number`` (mh), that of the stars expected in the diagram (all its
          bins, as observed: after incompleteness), and the means of the two, ``mh_by_mass``
          and ``mh_by_number``;
        - where amplitudes of backgrounds were fitted: ``background_stars`` (background), their
          stars in the bins that count, and ``background_amplitude``; the coordinate
          ``background`` holds their names, after that of the diagram where they are those of
          `HessDiagram`.

    Raises
    ------
    ValueError
        For a result that is none of these or lacks variables, masses that are negative, not
        finite or zero in all bins, an unknown ``t_max_gyr``, and fractions or bins that make no
        sense.

    Examples
    --------
    >>> import numpy as np, xarray as xr, pymc_starpop as psp
    >>> masses = xr.DataArray([[[4e6, 4e6], [0.0, 1e6]]], dims=("chain", "draw", "log_age"),
    ...                       coords={"log_age": np.log10([1e9, 5e9])})
    >>> draws = psp.sfh_draws(xr.Dataset({"mass_formed": masses}), t_max_gyr=13.0)
    >>> draws["tau_50"].values
    array([5., 9.])
    """
    history = read_sfh(result, tmpl, t_max_gyr, variables, rng)
    out = _rates(history)
    out |= _times(history, _check_fractions(fractions))
    if bins_gyr is not None:
        out |= _merged(history, _check_bins(bins_gyr, history.age_edges))
    out |= metallicity_quantities(history, tmpl)
    out |= background_quantities(history.backgrounds)
    edges = history.age_edges
    coords: dict[str, Any] = {
        "log_age": ("log_age", history.log_age, {"units": "log10(yr)"}),
        "age_young_gyr": ("log_age", edges[:-1], _GYR),
        "age_old_gyr": ("log_age", edges[1:], _GYR),
        "age_edge": ("age_edge", edges, _GYR),
    }
    return xr.Dataset(out, coords=coords, attrs={"t_max_gyr": float(edges[-1])})


def _rates(history: SFHInput) -> dict[str, Any]:
    mass, edges = history.mass, history.age_edges
    return {
        "mass_formed": (("sample", "log_age"), mass, {"units": "Msun"}),
        "sfr": (("sample", "log_age"), star_formation_rate(mass, edges), {"units": "Msun/yr"}),
        "total_mass": ("sample", mass.sum(axis=-1), {"units": "Msun"}),
        "cumulative": (("sample", "age_edge"), formed_fraction(mass), {"units": "1"}),
    }


def _times(history: SFHInput, fractions: np.ndarray) -> dict[str, Any]:
    times = formation_time(history.mass, history.age_edges, fractions)
    named = {f"tau_{100 * f:.10g}": times[:, i] for i, f in enumerate(fractions)}
    differences = {f"{a}_minus_{b}": named[a] - named[b] for a, b in combinations(named, 2)}
    units = {"units": "Gyr"}
    return {name: ("sample", values, units) for name, values in (named | differences).items()}


def _merged(history: SFHInput, bins: np.ndarray) -> dict[str, Any]:
    mass = history.mass @ merge_matrix(history.age_edges, bins).T
    centers = xr.Variable("age_bin", 0.5 * (bins[:-1] + bins[1:]), _GYR)
    dims = ("sample", "age_bin")
    return {
        "bin_mass": (dims, mass, {"units": "Msun"}),
        "bin_sfr": (dims, star_formation_rate(mass, bins), {"units": "Msun/yr"}),
        "age_bin": centers,
        "bin_young_gyr": ("age_bin", bins[:-1], _GYR),
        "bin_old_gyr": ("age_bin", bins[1:], _GYR),
    }


def _correlation(rates: xr.DataArray) -> xr.DataArray:
    """Return correlations between bins over the draws; NaN for a bin that is the same in all."""
    values = rates.transpose("sample", "age_bin").values
    varied = np.ptp(values, axis=0) > 1e-12 * values.max(axis=0)
    scaled = values - values.mean(axis=0)
    spread = np.sqrt((scaled**2).mean(axis=0))
    scaled = np.divide(scaled, spread, out=np.full_like(scaled, np.nan), where=varied)
    return xr.DataArray(
        scaled.T @ scaled / len(scaled),
        dims=("age_bin", "age_bin_2"),
        coords={"age_bin_2": rates["age_bin"].values},
        attrs={"units": "1"},
    )


def _has_gaps(draws: xr.Dataset) -> bool:
    return "mh_mean" in draws and bool(draws["mh_mean"].isnull().any())


def _quantile_levels(intervals: Sequence[float]) -> np.ndarray:
    values = np.atleast_1d(np.asarray(intervals, dtype=float))
    if values.ndim != 1 or not ((values > 0) & (values < 1)).all():
        raise ValueError(
            f"intervals must be probabilities between 0 and 1 such as (0.68, 0.95), got "
            f"{intervals!r}."
        )
    tails = 0.5 * (1.0 - values)
    # Rounded so that .sel(quantile=0.16) finds 0.16.
    return np.unique(np.round(np.concatenate([tails, [0.5], 1.0 - tails]), 12))


def _check_fractions(fractions: Sequence[float]) -> np.ndarray:
    values = np.atleast_1d(np.asarray(fractions, dtype=float))
    if values.ndim != 1 or not ((values > 0) & (values <= 1)).all():
        raise ValueError(
            f"fractions must be above 0 and at most 1 such as (0.5, 0.9), got {fractions!r}."
        )
    return np.unique(values)


def _check_bins(bins_gyr: Any, age_edges: np.ndarray) -> np.ndarray:
    values = np.asarray(bins_gyr, dtype=float)
    if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
        raise ValueError(
            f"bins_gyr must be two or more finite numbers in one dimension, got shape "
            f"{values.shape}."
        )
    if values[0] < 0 or values[-1] > age_edges[-1] * (1.0 + 1e-12):
        raise ValueError(
            f"bins_gyr must lie between 0 and t_max_gyr = {age_edges[-1]:g}, got {values[0]:g} to "
            f"{values[-1]:g}."
        )
    values = np.maximum(values, age_edges[0])
    if np.any(np.diff(values) <= 0):
        raise ValueError(
            f"bins_gyr must ascend, with at most one edge below {age_edges[0]:g} Gyr, the age of "
            f"the youngest template."
        )
    return values
