"""Color-magnitude diagrams with model tracks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from pymc_starpop.cluster.parameters import ClusterParameters
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.corrections import Corrections
from pymc_starpop.plots.figures import add_colorbar, axes_or_new, panels
from pymc_starpop.plots.labels import color_label, mag_label
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.colors import color_name
from pymc_starpop.stars.stacked import StackedCatalog
from pymc_starpop.summaries.posterior_tracks import (
    build_track,
    corrections_of_cluster,
    of_cluster,
    track_parameters,
)

__all__ = ["plot_cmd"]

# Two stars of one luminosity: 2.5 log10(2).
EQUAL_MASS_OFFSET = 2.5 * np.log10(2.0)

TRACK_COLOR = "#d1495b"
_STAR_COLOR = "0.35"
# Reversed, so that likely members stand out on white.
MEMBERSHIP_MAP = "viridis_r"


def plot_cmd(
    catalog: StarCatalog | StackedCatalog,
    color: Sequence[str] | Mapping[str, Sequence[str]],
    mag: str | Mapping[str, str],
    *,
    iso: IsochroneGrid | Mapping[str, IsochroneGrid] | None = None,
    samples: xr.Dataset | xr.DataTree | None = None,
    parameters: Mapping[str, Any] | None = None,
    corrections: Corrections | tuple[Corrections, ...] | None = None,
    membership: Any = None,
    binary_sequence: bool = False,
    error_bars: bool = False,
    n_samples: int = 50,
    rng: np.random.Generator | int | None = None,
    cluster: str | None = None,
    ax: Any = None,
) -> Any:
    """Plot the color-magnitude diagram of a catalog, with isochrones if they are asked for.

    The limits follow the stars. An isochrone begins at 0.1 Msun, is broken at the helium flash,
    and holds extinction, distance and empirical corrections as the cluster likelihood does.

    Parameters
    ----------
    catalog : StarCatalog or StackedCatalog
        N stars; those that lack one of the bands are left out. Of a stack there is a panel for
        each cluster.
    color : (str, str)
        Bands whose difference, first minus second, is the abscissa (mag). Where the catalog has
        a column of this color, that is shown. Of a stack also a mapping by cluster, where they
        have different bands.
    mag : str
        Band of the ordinate (mag), brighter upwards; likewise.
    iso : IsochroneGrid, optional
        Isochrones; needed with `samples` and `parameters`. Of a stack also a mapping by cluster.
    samples : xarray.Dataset or xarray.DataTree, optional
        A posterior, or a tree with a group "posterior", that holds any of ``feh`` (dex),
        ``log_age`` (log10 yr), ``distance_modulus`` (mag), ``distance_pc``, ``av`` (mag), ``rv``,
        one number a draw: `n_samples` draws become thin lines. Of a stack, one number a draw or
        one for each cluster.
    parameters : mapping of str to float, optional
        The same names: what `samples` lacks, or, without `samples`, one isochrone. ``av`` is 0 and
        ``rv`` 3.1 unless given. Of a stack also vectors, one number for each cluster.
    corrections : Corrections or tuple of them, optional
        Numbers, or variables of the model, whose values are looked up in `samples` by name. Of a
        stack, those of all clusters or of each, as the likelihood takes them.
    membership : array-like, shape (N,), optional
        Probability of membership, 0 to 1, shown by color. With `cluster` also of its stars alone.
    binary_sequence : bool
        Whether to add a dashed line for binaries of equal mass on the main sequence, 0.753 mag
        above the isochrone (the middle draw, for `samples`).
    error_bars : bool
        Whether to draw the photometric errors.
    n_samples : int
        Number of draws, at most as many as there are.
    rng : numpy.random.Generator or int, optional
        Which draws: a source of randomness or a seed.
    cluster : str, optional
        Name of a cluster of a stack, by default all of them.
    ax : matplotlib.axes.Axes, optional
        Where to plot; a new figure by default. For several clusters, one for each.

    Returns
    -------
    matplotlib.axes.Axes
        For several clusters an array of them (C,).

    Raises
    ------
    ValueError
        For unknown bands, no star with all of them, missing or unknown parameters or numbers
        outside the isochrones, and probabilities outside 0 to 1.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> from pymc_starpop.plots import plot_cmd
    >>> ax = plot_cmd(psp.load_example("ruprecht147"), ("Gaia_BP_EDR3", "Gaia_RP_EDR3"),
    ...               "Gaia_G_EDR3", iso=psp.load_isochrones(),
    ...               parameters={"feh": 0.1, "log_age": 9.4, "distance_pc": 305.0, "av": 0.3})
    >>> ax.get_ylabel()
    'Gaia $G$ (mag)'
    """
    options: dict[str, Any] = {
        "binary_sequence": binary_sequence, "error_bars": error_bars, "n_samples": n_samples,
    }  # fmt: skip
    if isinstance(catalog, StackedCatalog):
        return _plot_clusters(
            catalog, color, mag, cluster, ax, iso=iso, samples=samples, parameters=parameters,
            corrections=corrections, membership=membership, rng=rng, **options,
        )  # fmt: skip
    if cluster is not None:
        raise ValueError(
            f"cluster={cluster!r}: the catalog has the stars of one cluster, without a name; leave "
            "cluster out"
        )
    bands = _check_cmd_bands(catalog, color, mag)
    return _plot_cluster(
        catalog, bands, ax, of_bands=catalog.model_bands, iso=iso, samples=samples,
        parameters=parameters, corrections=corrections, membership=membership, rng=rng, **options,
    )  # fmt: skip


def _plot_cluster(
    catalog: StarCatalog, bands: tuple[str, str, str], ax: Axes | None, *,
    of_bands: tuple[str, ...], iso: Any,
    samples: Any, parameters: Mapping[str, float] | None, corrections: Any,
    membership: Any, binary_sequence: bool, error_bars: bool, n_samples: int, rng: Any,
) -> Axes:  # fmt: skip
    """Plot one cluster, in the two bands of the color and in the third one."""
    draws = track_parameters(iso, samples, parameters, corrections, n_samples, rng, of_bands)
    tracks = [build_track(iso, p, bands, of_bands) for p in draws] if iso is not None else []
    rows = _complete_rows(catalog, bands)
    probability = _check_membership(membership, catalog.n_star)
    ax = axes_or_new(ax, (6.0, 6.5))
    shown = None if probability is None else probability[rows]
    _plot_stars(ax, catalog.select(rows), bands, shown, error_bars)
    if not ax.yaxis_inverted():
        ax.invert_yaxis()
    if tracks and iso is not None:
        _plot_tracks(ax, tracks, draws, iso.main_sequence_eep if binary_sequence else None)
    ax.set_xlabel(color_label(bands[0], bands[1]))
    ax.set_ylabel(mag_label(bands[2]))
    return ax


def _plot_clusters(
    catalog: StackedCatalog, color: Any, mag: Any, cluster: str | None, ax: Any, *,
    iso: Any, samples: Any, parameters: Mapping[str, Any] | None, corrections: Any,
    membership: Any, **options: Any,
) -> Any:  # fmt: skip
    """Plot the clusters of a stack, or the one that is named, each in a panel."""
    names = catalog.cluster_names if cluster is None else (cluster,)
    unknown = [name for name in names if name not in catalog.cluster_names]
    if unknown:
        raise ValueError(
            f"cluster={cluster!r} is none of the clusters of the catalog: "
            f"{', '.join(catalog.cluster_names)}"
        )
    shown = {name: _check_bands_of(catalog, name, color, mag) for name in names}
    n_own = catalog[names[0]].n_star
    own = cluster is not None and np.shape(membership) == (n_own,)
    probability = _check_membership(membership, n_own if own else catalog.n_star)
    several = cluster is None
    new = ax is None and several
    axes = list(panels(len(names)) if new else np.ravel(np.array(ax, dtype=object)))
    if len(axes) != len(names):
        raise ValueError(
            f"ax holds {len(axes)} axes for {len(names)} clusters; give one for each, or leave it "
            "out"
        )
    for k, name in enumerate(names):
        place = catalog.cluster_names.index(name)
        rows = slice(None) if own else catalog.rows(name)
        axes[k] = _plot_cluster(
            catalog[name], shown[name], axes[k], of_bands=catalog.model_bands,
            corrections=corrections_of_cluster(corrections, place, catalog.n_cluster),
            iso=_own("iso", iso, name),
            samples=of_cluster(samples, place, catalog.cluster_names),
            parameters=None if parameters is None else {
                key: np.ravel(value)[place] if np.ndim(value) else value
                for key, value in parameters.items()
            },
            membership=None if probability is None else probability[rows],
            **options,
        )  # fmt: skip
        axes[k].set_title(name, loc="left", fontsize="medium")
    return np.array(axes) if several else axes[0]


def _own(argument: str, value: Any, name: str) -> Any:
    """Return what a cluster has of an argument that may be a mapping by cluster."""
    if not isinstance(value, Mapping):
        return value
    if name not in value:
        raise ValueError(
            f"{argument} lacks {name}; as a mapping it needs one value for each cluster that is "
            "shown"
        )
    return value[name]


def _check_bands_of(
    catalog: StackedCatalog, name: str, color: Any, mag: Any
) -> tuple[str, str, str]:
    """Return the bands to show of one cluster of a stack."""
    color, mag = _own("color", color, name), _own("mag", mag, name)
    try:
        return _check_cmd_bands(catalog[name], color, mag)
    except ValueError as error:
        raise ValueError(
            f"cluster {name!r}: {error}; clusters with other bands take color and mag as mappings "
            "by their names, or choose one with cluster="
        ) from error


def _complete_rows(catalog: StarCatalog, bands: tuple[str, str, str]) -> np.ndarray:
    """Rows of the stars that were measured in all bands."""
    columns = [catalog.band_index(name) for name in (*_color_columns(catalog, bands), bands[2])]
    rows = np.flatnonzero(catalog.measured[:, columns].all(axis=1))
    if not rows.size:
        raise ValueError(
            f"no star of the catalog has all of {', '.join(dict.fromkeys(bands))}; choose other "
            "bands"
        )
    return rows


def _color_columns(catalog: StarCatalog, bands: tuple[str, str, str]) -> tuple[str, ...]:
    """Columns of the catalog that make the color: the color itself, or two magnitudes."""
    color = color_name(bands[0], bands[1])
    return (color,) if color in catalog.bands else bands[:2]


def _plot_stars(
    ax: Axes,
    stars: StarCatalog,
    bands: tuple[str, str, str],
    membership: np.ndarray | None,
    error_bars: bool,
) -> None:
    of_color = [stars.band_index(name) for name in _color_columns(stars, bands)]
    ordinate = stars.band_index(bands[2])
    color = stars.mag[:, of_color[0]] - stars.mag[:, of_color[1:]].sum(axis=1)
    mag = stars.mag[:, ordinate]
    if error_bars:
        err = stars.mag_err
        ax.errorbar(
            color, mag, err[:, ordinate], np.linalg.norm(err[:, of_color], axis=1),
            fmt="none", ecolor="0.75", elinewidth=0.6, zorder=1.5,
        )  # fmt: skip
    if membership is None:
        ax.scatter(color, mag, s=9, c=_STAR_COLOR, linewidths=0, zorder=2)
        return
    # Likely members last, so that field stars do not hide them.
    order = np.argsort(membership, kind="stable")
    scatter = ax.scatter(
        color[order], mag[order], c=membership[order], s=14, vmin=0.0, vmax=1.0,
        cmap=MEMBERSHIP_MAP, edgecolors="0.3", linewidths=0.25, zorder=2,
    )  # fmt: skip
    add_colorbar(ax, scatter, "membership probability")


def _plot_tracks(
    ax: Axes, tracks: list[np.ndarray], draws: list[ClusterParameters], binary_eep: int | None
) -> None:
    """Add tracks, each (E, 3) of EEP, color and magnitude, without moving the limits.

    Up to `binary_eep` binaries of equal mass are shown too, unless it is None.
    """
    many = len(tracks) > 1
    lines = LineCollection(
        [track[:, 1:] for track in tracks], colors=TRACK_COLOR, zorder=3,
        linewidths=0.7 if many else 1.3, alpha=float(np.clip(5.0 / len(tracks), 0.1, 1.0)),
        label=f"isochrones, {len(tracks)} posterior draws" if many else "isochrone",
    )  # fmt: skip
    handles: list[Any] = [lines]
    ax.add_collection(lines, autolim=False)
    if binary_eep is not None:
        # The draw in the middle by distance: one dashed line says what fifty would.
        middle = np.argsort([p.true_distance_modulus() for p in draws])[len(draws) // 2]
        track = tracks[middle]
        single = track[track[:, 0] <= binary_eep]
        binaries = LineCollection(
            [single[:, 1:] - [0.0, EQUAL_MASS_OFFSET]], colors=TRACK_COLOR, linestyles="--",
            linewidths=1.0, alpha=0.9, zorder=3, label="binaries of equal mass",
        )  # fmt: skip
        ax.add_collection(binaries, autolim=False)
        handles.append(binaries)
    # Above the axes: inside, any corner may hold stars.
    legend = ax.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False
    )
    for handle in legend.legend_handles:
        # A translucent line cannot be seen alone.
        if handle is not None:
            handle.set_alpha(1.0)


def _check_cmd_bands(catalog: StarCatalog, color: Any, mag: Any) -> tuple[str, str, str]:
    if isinstance(color, str) or len(color) != 2:
        raise ValueError(
            f"color must be two band names, got {color!r}; for the first minus the second give "
            f"such as ({catalog.bands[0]!r}, {catalog.bands[-1]!r})"
        )
    has_color = color_name(*color) in catalog.bands
    for argument, band in (("color", color[0]), ("color", color[1]), ("mag", mag)):
        if band not in catalog.bands and not (has_color and argument == "color"):
            raise ValueError(
                f"{argument} names {band!r}, which the catalog lacks; its bands are "
                f"{', '.join(catalog.bands)}"
            )
    return color[0], color[1], mag


def _check_membership(membership: Any, n_star: int) -> np.ndarray | None:
    if membership is None:
        return None
    values = np.asarray(membership, dtype=float)
    if values.shape != (n_star,):
        raise ValueError(
            f"membership must have one probability for each of the {n_star} stars, got shape "
            f"{values.shape}; average over chains and draws first"
        )
    # Written so that NaN fails too.
    bad = np.flatnonzero(~((values >= 0.0) & (values <= 1.0)))
    if bad.size:
        raise ValueError(
            f"membership must be 0 to 1, got {values[bad[0]]} in row {bad[0]} ({bad.size} in "
            "all); give probabilities"
        )
    return values
