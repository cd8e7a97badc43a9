"""Hess diagrams and how far a model is from them."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize

from pymc_starpop.hess import HessAxes, TemplateSet
from pymc_starpop.plots.bins import DrawnBins, find_bins
from pymc_starpop.plots.figures import add_colorbar, axes_or_new

__all__ = ["plot_hess", "plot_hess_residuals"]

_SIZE = (5.0, 6.0)  # inches
_BAR = 0.06  # share of the width that goes to the scale of colors
# Where bins do not count: white is for those without stars.
_MASKED_COLOR = "0.85"
_COUNT_MAP = "viridis"
_RESIDUAL_MAP = "RdBu_r"
# Of the largest value of a model: with less, most colors would go to bins without stars.
_DYNAMIC_RANGE = 1e-4


def plot_hess(
    hess: Any,
    axes: HessAxes | TemplateSet | None = None,
    *,
    mask: Any = None,
    log: bool = True,
    limits: tuple[float | None, float | None] = (None, None),
    colorbar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Plot a Hess diagram: stars in bins of color and magnitude, brighter upwards.

    Bins without stars are white, masked ones gray.

    Parameters
    ----------
    hess : DataArray or array-like, shape (N_mag, N_color)
        Stars in each bin, observed or expected.
    axes : HessAxes or TemplateSet, optional
        The bins. Needed for arrays without labels and for bins of unequal width; else they follow
        from the centers in `hess`.
    mask : DataArray or array-like of bool, shape (N_mag, N_color), optional
        True where a bin counts.
    log : bool
        Whether colors follow the logarithm of the number of stars.
    limits : (float, float)
        Ends of the color scale, stars. By default those of the data; where values are not whole
        numbers and `log`, the lower end is at least 1e-4 of the largest value. Bins below the lower
        end are white.
    colorbar : bool
        Whether to add a scale of the colors.
    ax : matplotlib.axes.Axes, optional
        Where to plot; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        For values that are not finite, negative or do not fit the bins, a diagram without stars
        on a logarithmic scale, and bins that are not known.

    Examples
    --------
    >>> import numpy as np, pymc_starpop as psp
    >>> axes = psp.HessAxes(("Bessell_V", "Bessell_I"), "Bessell_I",
    ...                     np.linspace(-0.5, 2.5, 31), np.linspace(18, 28, 51))
    >>> rng = np.random.default_rng(1)
    >>> i = rng.uniform(20.0, 27.0, 1000)
    >>> hess = psp.bin_cmd({"Bessell_I": i, "Bessell_V": i + rng.normal(1.0, 0.2, 1000)}, axes)
    >>> ax = psp.plot_hess(hess)
    >>> ax.get_ylabel()
    'Bessell $I$ (mag)'
    """
    bins = find_bins(axes, hess)
    counted = bins.mask(mask)
    values = bins.values("hess", hess, counted)
    shown = np.where(counted & (values > 0), values, np.nan)
    low, high = limits
    if not np.isfinite(shown).any():
        if log:
            raise ValueError("hess holds no stars in the bins that count; use log=False.")
        shown = np.where(counted, values, np.nan)
    elif log and low is None:
        low = _lowest(shown)
    norm = (LogNorm if log else Normalize)(low, high)
    cmap = colormaps[_COUNT_MAP].with_extremes(under="white", bad=(0, 0, 0, 0))
    ax = axes_or_new(ax, _SIZE)
    mesh = _draw(ax, shown, counted, bins, {"norm": norm, "cmap": cmap})
    if colorbar:
        add_colorbar(ax, mesh, "stars per bin", fraction=_BAR)
    return ax


def plot_hess_residuals(
    hess: Any,
    model: Any,
    axes: HessAxes | TemplateSet | None = None,
    *,
    mask: Any = None,
    limit: float = 5.0,
    colorbar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Plot by how many standard deviations observed and expected numbers of stars differ.

    For n stars observed and m expected that is (n - m)/sqrt(m). Bins with neither and masked bins
    are left blank; stars where none is expected have the color of the largest excess.

    Parameters
    ----------
    hess : DataArray or array-like, shape (N_mag, N_color)
        Stars observed in each bin.
    model : DataArray or array-like, shape (N_mag, N_color), or fit
        Stars expected, such as ``tmpl.composite(weights)`` or a mean over posterior draws; or what
        `fit_sfh` returns for one diagram, whose backgrounds are then named with their stars.
    axes : HessAxes or TemplateSet, optional
        The bins, see `plot_hess`.
    mask : DataArray or array-like of bool, shape (N_mag, N_color), optional
        True where a bin counts.
    limit : float
        Standard deviations at both ends of the color scale.
    colorbar : bool
        Whether to add a scale of the colors.
    ax : matplotlib.axes.Axes, optional
        Where to plot; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        For values that are not finite, negative or do not fit the bins, bins that are not known,
        and a limit that is not positive.

    Examples
    --------
    >>> import numpy as np, pymc_starpop as psp
    >>> axes = psp.HessAxes(("V", "I"), "I", np.linspace(0, 2, 21), np.linspace(18, 24, 31))
    >>> model = np.full((30, 20), 4.0)
    >>> ax = psp.plot_hess_residuals(np.random.default_rng(1).poisson(model), model, axes)
    >>> ax.get_xlabel()
    'V $-$ I (mag)'
    """
    if not limit > 0:
        raise ValueError(f"limit must be positive, got {limit!r}.")
    fit = None
    if not isinstance(model, xr.DataArray) and hasattr(model, "model"):
        fit, model = model, model.model
    bins = find_bins(axes, hess, model)
    counted = bins.mask(mask)
    observed = bins.values("hess", hess, counted)
    expected = bins.values("model", model, counted)
    lit = counted & ((observed > 0) | (expected > 0))
    residual = _significance(np.where(lit, observed, np.nan), np.where(lit, expected, np.nan))
    ax = axes_or_new(ax, _SIZE)
    style = {"vmin": -limit, "vmax": limit, "cmap": _RESIDUAL_MAP}
    # Matplotlib takes an infinite excess for a missing value.
    shown = np.where(np.isinf(residual), 1e300, residual)
    mesh = _draw(ax, shown, counted, bins, style)
    if colorbar:
        label = r"(observed $-$ expected) / $\sqrt{\mathrm{expected}}$"
        add_colorbar(ax, mesh, label, extend="both", fraction=_BAR)
    _name_backgrounds(ax, getattr(fit, "background_stars", {}))
    return ax


def _name_backgrounds(ax: Axes, stars: dict[str, float]) -> None:
    """Say how many of the expected stars are those of each background."""
    lines = [f"{name}: {n:.{0 if n >= 100 else 1}f} stars" for name, n in stars.items()]
    if lines:
        ax.text(
            0.97, 0.97, "\n".join(lines), transform=ax.transAxes, ha="right", va="top",
            fontsize="small", bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0},
        )  # fmt: skip


def _significance(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return (n - m)/sqrt(m): NaN where both are 0 or either is NaN, +inf where only m is 0."""
    excess = np.full_like(observed, np.nan)
    excess[(expected == 0) & (observed > 0)] = np.inf
    return np.divide(observed - expected, np.sqrt(expected), out=excess, where=expected > 0)


def _draw(
    ax: Axes,
    values: np.ndarray,
    counted: np.ndarray,
    bins: DrawnBins,
    style: dict[str, Any],
) -> QuadMesh:
    mag_edges, color_edges = bins.mag_edges, bins.color_edges
    if not counted.all():
        gray = np.where(counted, np.nan, 1.0)
        gray_map = colormaps["gray"].with_extremes(over=_MASKED_COLOR)
        ax.pcolormesh(color_edges, mag_edges, gray, cmap=gray_map, vmin=-1.0, vmax=0.0, zorder=0)
    mesh = ax.pcolormesh(color_edges, mag_edges, np.ma.masked_invalid(values), **style)
    mesh.set_rasterized(True)
    ax.set_xlim(color_edges[0], color_edges[-1])
    ax.set_ylim(mag_edges[-1], mag_edges[0])
    ax.set_xlabel(bins.color_label)
    ax.set_ylabel(bins.mag_label)
    return mesh


def _lowest(values: np.ndarray) -> float:
    """Return the lower end of a logarithmic scale."""
    positive = values[np.isfinite(values)]
    if np.array_equal(positive, np.round(positive)):
        return float(positive.min())
    return float(max(positive.min(), _DYNAMIC_RANGE * positive.max()))
