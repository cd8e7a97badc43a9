"""The figure of the checks of a cluster fit."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator

from pymc_starpop.plots.cmd import MEMBERSHIP_MAP, TRACK_COLOR
from pymc_starpop.plots.figures import add_colorbar
from pymc_starpop.plots.labels import color_label, mag_label
from pymc_starpop.summaries import ClusterCheck
from pymc_starpop.summaries.fit_rows import DOUBT, NOTE, UNKNOWN
from pymc_starpop.summaries.fit_sensitivity import LIMIT
from pymc_starpop.summaries.fit_sequence import LEAST_RESIDUAL, beside_model

__all__ = ["plot_cluster_check"]

_PANELS = ("cmd", "residual", "sensitivity", "priors")
_LAYOUT = [["cmd", "residual", "sensitivity"], ["cmd", "residual", "priors"]]
_SIZE = (13.0, 7.0)
_VERDICT_COLORS = {DOUBT: TRACK_COLOR, NOTE: "#edae49", UNKNOWN: "0.85"}
_FINE_COLOR = "#66a182"
_PART_COLORS = ("#00798c", "#66a182", "#edae49")
_OF_PRIORS = ("grid edge", "prior bound", "prior width", "prior conflict")
_NAMES = {"log_age": "log age", "distance_modulus": r"$\mu$", "av": "$A_V$", "feh": "[Fe/H]"}
_MOST_BARS = 16
_LONGEST = 2.0  # of a bar, in units of the limit
_WIDEST = 0.3  # mag: residuals beyond are at the edge of their panel


def plot_cluster_check(check: ClusterCheck, *, axes: Sequence[Axes] | None = None) -> np.ndarray:
    """Plot what `pymc_starpop.check_cluster_fit` found.

    Four panels: the color-magnitude diagram with isochrones of some draws; the residual color of
    single stars along the main sequence, with standard errors; by how much the answer moves where
    a third of the stars counts more; edges and priors, in units of their limits. Gray bands are
    what passes.

    Parameters
    ----------
    check : ClusterCheck
        What `check_cluster_fit` returned.
    axes : sequence of 4 matplotlib.axes.Axes, optional
        Where to plot; a new figure by default.

    Returns
    -------
    ndarray of matplotlib.axes.Axes (4,)
        Diagram, residuals, magnitude ranges, priors.

    Raises
    ------
    ValueError
        For something else than a `ClusterCheck`, and another number of axes.
    """
    if not isinstance(check, ClusterCheck):
        raise ValueError(
            f"check must be what psp.check_cluster_fit returned, got {type(check).__name__}"
        )
    if axes is None:
        figure = plt.figure(figsize=_SIZE, layout="constrained")
        panels = figure.subplot_mosaic(_LAYOUT, width_ratios=(1.2, 0.8, 1.2))  # type: ignore[arg-type]
        axes = [panels[name] for name in _PANELS]
        axes[1].sharey(axes[0])
    if len(axes) != len(_PANELS):
        raise ValueError(f"axes must be {len(_PANELS)}, got {len(axes)}; or leave them out")
    _plot_diagram(axes[0], check)
    _plot_residuals(axes[1], check)
    _plot_sensitivity(axes[2], check)
    _plot_priors(axes[3], check.table)
    return np.array(axes)


def _plot_diagram(ax: Axes, check: ClusterCheck) -> None:
    """Stars by membership, and isochrones."""
    stars = check.stars.sortby("membership")
    shown = ax.scatter(
        stars["color"], stars["mag"], c=stars["membership"], s=14, vmin=0.0, vmax=1.0,
        cmap=MEMBERSHIP_MAP, edgecolors="0.3", linewidths=0.25, zorder=2,
    )  # fmt: skip
    tracks = check.isochrones.sel(axis=["color", "mag"]).values
    alpha = float(np.clip(5.0 / len(tracks), 0.1, 1.0))
    lines = LineCollection(list(tracks), colors=TRACK_COLOR, linewidths=0.7, alpha=alpha, zorder=3)
    ax.add_collection(lines, autolim=False)
    if not ax.yaxis_inverted():
        ax.invert_yaxis()
    ax.set_xlabel(color_label(*check.color))
    ax.set_ylabel(mag_label(check.mag))
    ax.set_title("stars and isochrones of the posterior", loc="left", fontsize="medium")
    add_colorbar(ax, shown, "membership probability", location="bottom", aspect=40)


def _plot_residuals(ax: Axes, check: ClusterCheck) -> None:
    """Residual color against magnitude."""
    ax.axvspan(-LEAST_RESIDUAL, LEAST_RESIDUAL, color="0.92", zorder=0)
    ax.axvline(0.0, color="0.6", linewidth=0.8, zorder=1)
    ax.set_title("residual color", loc="left", fontsize="medium")
    ax.set_xlabel(f"data $-$ model, {color_label(*check.color)}")
    ax.tick_params(labelleft=False)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    if not ax.yaxis_inverted():
        ax.invert_yaxis()
    if check.residuals is None:
        _say(ax, "not known")
        return
    r = check.residuals
    low, high = r["mag_low"].values, r["mag_high"].values
    value, error = r["color_residual"].values, r["color_error"].values
    off = beside_model(r)
    for k in range(value.size):
        middle = 0.5 * (low[k] + high[k])
        ax.errorbar(
            value[k], middle, xerr=error[k], yerr=0.5 * (high[k] - low[k]), fmt="o", markersize=5,
            color=TRACK_COLOR if off[k] else "0.25", elinewidth=1.2, zorder=3,
        )  # fmt: skip
    reach = np.nanmax(np.abs(value) + error)
    half = float(np.clip(1.2 * reach, 3.0 * LEAST_RESIDUAL, _WIDEST))
    ax.set_xlim(-half, half)


def _plot_sensitivity(ax: Axes, check: ClusterCheck) -> None:
    """Shift of each parameter where a third of the stars counts more."""
    ax.set_title("if a third of the stars counts more", loc="left", fontsize="medium")
    moved = check.sensitivity
    if moved is None:
        _say(ax, "no parameter varies")
        return
    ax.axhspan(-LIMIT, LIMIT, color="0.92", zorder=0)
    ax.axhline(0.0, color="0.6", linewidth=0.8)
    places = np.arange(moved.sizes["parameter"])
    for k, color in enumerate(_PART_COLORS):
        part = moved.isel(part=k)
        label = f"{part['part'].values!s}, {float(part['mag_low']):.1f} to "
        ax.bar(
            places + 0.27 * (k - 1), part["shift"], width=0.25, color=color, zorder=2,
            label=label + f"{float(part['mag_high']):.1f} mag",
        )  # fmt: skip
    ax.set_xticks(places, [_NAMES.get(str(n), str(n)) for n in moved["parameter"].values])
    reach = float(np.abs(moved["shift"]).max())
    # Room for the legend.
    ax.set_ylim(-1.2 * max(reach, LIMIT), 2.4 * max(reach, LIMIT))
    ax.set_ylabel("shift (standard deviations)")
    ax.legend(frameon=False, fontsize="small", ncols=1, loc="upper right")


def _plot_priors(ax: Axes, table: pd.DataFrame) -> None:
    """Edges and priors in units of their limits, the largest of each variable and check."""
    ax.set_title("edges and priors", loc="left", fontsize="medium")
    rows = table[table["check"].isin(_OF_PRIORS)]
    if rows.empty:
        _say(ax, "nothing to show")
        return
    share = rows["value"] / rows["limit"]
    rows = rows.assign(share=share).sort_values("share", ascending=False)[:_MOST_BARS][::-1]
    colors = [_VERDICT_COLORS.get(verdict, _FINE_COLOR) for verdict in rows["verdict"]]
    places = [float(k) for k in range(len(rows))]
    ax.barh(places, np.minimum(rows["share"], _LONGEST), color=colors, height=0.8)
    ax.axvline(1.0, color="0.4", linestyle="--", linewidth=1.0, zorder=0.5)
    for place, row in zip(places, rows.itertuples(), strict=True):
        # Inside a long bar, beside a short one.
        inside = row.share > 0.5 * _LONGEST
        ax.text(
            0.03 if inside else row.share + 0.03, place, f"{row.check}: {row.of}", va="center",
            fontsize="small", color="0.1",
        )  # fmt: skip
    ax.set_yticks([])
    ax.set_xlim(0.0, _LONGEST)
    ax.set_xlabel("found / limit")


def _say(ax: Axes, text: str) -> None:
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="0.4")
