"""Star formation histories: rates, cumulative histories, age-metallicity relations."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from pymc_starpop.plots.figures import axes_or_new
from pymc_starpop.summaries.sfh import summarize_sfh
from pymc_starpop.summaries.sfh_arrays import formed_fraction, star_formation_rate

__all__ = ["plot_amr", "plot_cumulative_sfh", "plot_sfh"]

_SIZE = (6.0, 4.0)  # inches
_COLOR = "#2a6f97"
_TRUTH: dict[str, Any] = {
    "color": "black",
    "linestyle": "--",
    "linewidth": 1.2,
    "label": "truth",
    "zorder": 4,
}
# Of the bands, from the widest to the narrowest.
_ALPHAS = {1: (0.3,), 2: (0.18, 0.3), 3: (0.12, 0.18, 0.3)}


def plot_sfh(
    result: Any,
    *,
    t_max_gyr: float | None = None,
    truth: Any = None,
    merged: bool = False,
    log_time: bool = False,
    color: str = _COLOR,
    label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the star formation rate against lookback time: median and intervals, past on the left.

    Parameters
    ----------
    result : xarray.Dataset, xarray.DataTree or fit
        What `summarize_sfh` returns, with the intervals to draw; or a posterior or a fit, which
        are summarized with its defaults.
    t_max_gyr : float, optional
        Where the oldest age bin ends, Gyr, for a posterior or fit that does not say.
    truth : array-like, shape (N_age,), optional
        Masses formed, Msun, to compare with.
    merged : bool
        Whether to plot the wider bins of a summary made with ``bins_gyr``.
    log_time : bool
        Whether time is on a logarithmic scale.
    color : str
        Color of line and bands.
    label : str, optional
        Name in the legend.
    ax : matplotlib.axes.Axes, optional
        Where to plot; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        As `summarize_sfh`; for a truth of another length, and `merged` without merged bins.

    Examples
    --------
    >>> import numpy as np, xarray as xr, pymc_starpop as psp
    >>> masses = np.random.default_rng(1).lognormal(14.0, 0.3, (2, 100, 3))
    >>> posterior = xr.Dataset({"mass_formed": (("chain", "draw", "log_age"), masses)},
    ...                        coords={"log_age": [8.0, 9.0, 9.7]})
    >>> ax = psp.plot_sfh(posterior, t_max_gyr=13.0)
    >>> ax.get_xlabel()
    'lookback time (Gyr)'
    """
    summary = _summary(result, t_max_gyr)
    edges = _age_edges(summary, merged)
    rate = summary["bin_sfr" if merged else "sfr"]
    true_rate = None
    if truth is not None:
        ages = _age_edges(summary, False)
        true_rate = ages, star_formation_rate(_check_truth(truth, ages.size - 1), ages)
    ax = axes_or_new(ax, _SIZE)
    for low, high, alpha in _bands(rate):
        # `stairs` fills between two curves where its baseline is the other one.
        ax.stairs(high, edges, baseline=low, fill=True, color=color, alpha=alpha, linewidth=0)
    # The lines at the ends would go down to zero.
    ax.stairs(_median(rate), edges, baseline=None, color=color, linewidth=1.5, label=label)
    if true_rate is not None:
        ax.stairs(true_rate[1], true_rate[0], baseline=None, **_TRUTH)
    ax.set_ylabel(r"star formation rate ($M_\odot$ yr$^{-1}$)")
    _finish(ax, edges, log_time, legend=label is not None or truth is not None)
    ax.set_ylim(bottom=0.0, auto=None)  # a second history on these axes may be higher
    return ax


def plot_cumulative_sfh(
    result: Any,
    *,
    t_max_gyr: float | None = None,
    truth: Any = None,
    log_time: bool = False,
    color: str = _COLOR,
    label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the fraction of the mass that had formed by each lookback time, with intervals.

    Parameters
    ----------
    result : xarray.Dataset, xarray.DataTree or fit
        A summary, a posterior or a fit, see `plot_sfh`.
    t_max_gyr : float, optional
        Where the oldest age bin ends, Gyr, for a posterior or fit that does not say.
    truth : array-like, shape (N_age,), optional
        Masses formed, Msun, to compare with.
    log_time : bool
        Whether time is on a logarithmic scale.
    color : str
        Color of line and bands.
    label : str, optional
        Name in the legend.
    ax : matplotlib.axes.Axes, optional
        Where to plot; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        As `summarize_sfh`, and for a truth of another length.

    Examples
    --------
    >>> import numpy as np, xarray as xr, pymc_starpop as psp
    >>> masses = np.random.default_rng(1).lognormal(14.0, 0.3, (2, 100, 3))
    >>> posterior = xr.Dataset({"mass_formed": (("chain", "draw", "log_age"), masses)},
    ...                        coords={"log_age": [8.0, 9.0, 9.7]})
    >>> psp.plot_cumulative_sfh(posterior, t_max_gyr=13.0).get_ylabel()
    'fraction of the mass formed'
    """
    summary = _summary(result, t_max_gyr)
    edges, formed = _age_edges(summary, False), summary["cumulative"]
    true_fraction = None
    if truth is not None:
        true_fraction = formed_fraction(_check_truth(truth, edges.size - 1))
    ax = axes_or_new(ax, _SIZE)
    for low, high, alpha in _bands(formed):
        ax.fill_between(edges, low, high, color=color, alpha=alpha, linewidth=0)
    ax.plot(edges, _median(formed), color=color, linewidth=1.5, label=label)
    if true_fraction is not None:
        ax.plot(edges, true_fraction, **_TRUTH)
    ax.set_ylabel("fraction of the mass formed")
    _finish(ax, edges, log_time, legend=label is not None or truth is not None)
    ax.set_ylim(0.0, 1.0)
    return ax


def plot_amr(
    result: Any,
    *,
    t_max_gyr: float | None = None,
    truth: Any = None,
    dispersion: bool = True,
    log_time: bool = False,
    color: str = _COLOR,
    label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the mean metallicity against lookback time, with intervals.

    Parameters
    ----------
    result : xarray.Dataset, xarray.DataTree or fit
        A summary, a posterior or a fit, see `plot_sfh`, with ``mh_mean``.
    t_max_gyr : float, optional
        Where the oldest age bin ends, Gyr, for a posterior or fit that does not say.
    truth : callable or array-like, shape (N_age,), optional
        Mean metallicity, dex, to compare with: a function of the age in Gyr, or one value for
        each template.
    dispersion : bool
        Whether to draw, if ``sigma`` is known, dotted lines by its median above and below.
    log_time : bool
        Whether time is on a logarithmic scale.
    color : str
        Color of line and bands.
    label : str, optional
        Name in the legend.
    ax : matplotlib.axes.Axes, optional
        Where to plot; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        As `summarize_sfh`; for a result without metallicities, and a truth of another length.

    Examples
    --------
    >>> import numpy as np, xarray as xr, pymc_starpop as psp
    >>> rng = np.random.default_rng(1)
    >>> dims, log_age = ("chain", "draw", "log_age"), [8.0, 9.0, 9.7]
    >>> masses = rng.lognormal(14.0, 0.3, (2, 100, 3))
    >>> mh = rng.normal([-0.5, -0.8, -1.5], 0.1, (2, 100, 3))
    >>> posterior = xr.Dataset({"mass_formed": (dims, masses), "mh_mean": (dims, mh)},
    ...                        coords={"log_age": log_age})
    >>> ax = psp.plot_amr(posterior, t_max_gyr=13.0, truth=lambda age_gyr: -0.5 - 0.15 * age_gyr)
    >>> ax.get_ylabel()
    '[M/H]'
    """
    summary = _summary(result, t_max_gyr)
    if "mh_mean" not in summary:
        raise ValueError(
            "result has no mh_mean: register the mean metallicity in the model with "
            "pm.Deterministic('mh_mean', ..., dims='log_age'), or name yours for summarize_sfh."
        )
    # The metallicity of a bin is that of its middle, as in its template.
    ages = 0.5 * (summary["age_young_gyr"].values + summary["age_old_gyr"].values)
    mh = summary["mh_mean"]
    true_mh = None
    if truth is not None:
        values = [truth(age) for age in ages] if callable(truth) else truth
        true_mh = _check_truth(values, ages.size)
    ax = axes_or_new(ax, _SIZE)
    for low, high, alpha in _bands(mh):
        ax.fill_between(ages, low, high, color=color, alpha=alpha, linewidth=0)
    middle = _median(mh)
    ax.plot(ages, middle, color=color, linewidth=1.5, label=label)
    if dispersion and "sigma" in summary:
        sigma = _median(summary["sigma"])
        for sign in (-1.0, 1.0):
            ax.plot(ages, middle + sign * sigma, color=color, linewidth=1.0, linestyle=":")
    if true_mh is not None:
        ax.plot(ages, true_mh, **_TRUTH)
    ax.set_ylabel("[M/H]")
    _finish(ax, _age_edges(summary, False), log_time, legend=label is not None or truth is not None)
    return ax


def _summary(result: Any, t_max_gyr: float | None) -> xr.Dataset:
    if isinstance(result, xr.Dataset) and "quantile" in result.dims:
        return result
    return summarize_sfh(result, t_max_gyr=t_max_gyr)


def _age_edges(summary: xr.Dataset, merged: bool) -> np.ndarray:
    if not merged:
        return summary["age_edge"].values
    if "bin_sfr" not in summary:
        raise ValueError("merged: the summary has no merged bins; make it with bins_gyr=.")
    return np.append(summary["bin_young_gyr"].values, summary["bin_old_gyr"].values[-1])


def _median(values: xr.DataArray) -> np.ndarray:
    return values.sel(quantile=0.5).values


def _bands(values: xr.DataArray) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Yield the ends of the intervals from the widest to the narrowest, and their opacity."""
    levels = values["quantile"].values
    low = levels[levels < 0.5]
    alphas = _ALPHAS.get(low.size, np.linspace(0.1, 0.3, low.size))
    for level, alpha in zip(low, alphas, strict=True):
        other = float(levels[np.argmin(np.abs(levels - (1.0 - level)))])
        yield values.sel(quantile=level).values, values.sel(quantile=other).values, float(alpha)


def _check_truth(truth: Any, n_age: int) -> np.ndarray:
    values = np.asarray(truth, dtype=float)
    if values.shape != (n_age,):
        raise ValueError(
            f"truth must have one value for each of the {n_age} age bins, got {values.shape}."
        )
    return values


def _finish(ax: Axes, edges: np.ndarray, log_time: bool, legend: bool) -> None:
    """Time axis with the past on the left."""
    if log_time:
        ax.set_xscale("log")
    ax.set_xlim(edges[-1], edges[0] if log_time else 0.0)
    ax.set_xlabel("lookback time (Gyr)")
    if legend:
        ax.legend(frameon=False)
