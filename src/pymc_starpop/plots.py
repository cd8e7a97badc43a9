"""Plots: color-magnitude diagrams with model tracks. They take and return Matplotlib axes."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from pymc_starpop.corrections import EmpiricalCorrections
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.grid import RV_RANGE
from pymc_starpop.parameters import ClusterOptions, ClusterParameters
from pymc_starpop.photometry import StarCatalog
from pymc_starpop.reference import single_star_track

__all__ = ["plot_cmd"]

# Two stars of one luminosity: 2.5 log10(2).
EQUAL_MASS_OFFSET = 2.5 * np.log10(2.0)
# The tip of the red giant branch and the start of core helium burning (Dotter 2016, table 2).
# Stars lighter than about 2.1 Msun pass between them by the helium flash, too fast to be seen.
_EEP_TIP, _EEP_HELIUM, _MASS_FLASH = 605, 631, 2.1

_PARAMETERS = ("feh", "log_age", "distance_modulus", "distance_pc", "av", "rv")
_DISTANCES = ("distance_modulus", "distance_pc")
_SAMPLE_DIMS = ("chain", "draw", "sample")

_TRACK_COLOR = "#d1495b"
_STAR_COLOR = "0.35"
# Reversed, so that likely members stand out on white.
_MEMBERSHIP_MAP = "viridis_r"

# Prefixes of band names, with what stands for them on an axis.
_SYSTEMS = dict.fromkeys(("Gaia", "2MASS", "SDSS", "Bessell", "WISE")) | {"PS": "Pan-STARRS1"}
_SYMBOLS = {"BP": r"G_\mathrm{BP}", "RP": r"G_\mathrm{RP}", "Ks": r"K_\mathrm{s}"}


def plot_cmd(
    catalog: StarCatalog,
    color: Sequence[str],
    mag: str,
    *,
    iso: IsochroneGrid | None = None,
    samples: xr.Dataset | xr.DataTree | None = None,
    parameters: Mapping[str, float] | None = None,
    corrections: EmpiricalCorrections | None = None,
    membership: Any = None,
    binary_sequence: bool = False,
    error_bars: bool = False,
    n_samples: int = 50,
    rng: np.random.Generator | int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the color-magnitude diagram of a catalog, with isochrones if they are asked for.

    The limits follow the stars. An isochrone begins at 0.1 Msun, is broken at the helium flash,
    and holds extinction, distance and empirical corrections as the cluster likelihood does.

    Parameters
    ----------
    catalog : StarCatalog
        N stars; those that lack one of the bands are left out.
    color : (str, str)
        Bands whose difference, first minus second, is the abscissa (mag).
    mag : str
        Band of the ordinate (mag), brighter upwards.
    iso : IsochroneGrid, optional
        Isochrones; needed with `samples` and `parameters`.
    samples : xarray.Dataset or xarray.DataTree, optional
        A posterior, or a tree with a group "posterior", that holds any of ``feh`` (dex),
        ``log_age`` (log10 yr), ``distance_modulus`` (mag), ``distance_pc``, ``av`` (mag), ``rv``,
        one number a draw: `n_samples` draws become thin lines.
    parameters : mapping of str to float, optional
        The same names: what `samples` lacks, or, without `samples`, one isochrone. ``av`` is 0 and
        ``rv`` 3.1 unless given.
    corrections : EmpiricalCorrections, optional
        Numbers, or variables of the model, whose values are looked up in `samples` by name.
    membership : array-like, shape (N,), optional
        Probability of membership, 0 to 1, shown by color.
    binary_sequence : bool
        Whether to add a dashed line for binaries of equal mass on the main sequence, 0.753 mag
        above the isochrone (the middle draw, for `samples`).
    error_bars : bool
        Whether to draw the photometric errors.
    n_samples : int
        Number of draws, at most as many as there are.
    rng : numpy.random.Generator or int, optional
        Which draws: a source of randomness or a seed.
    ax : matplotlib.axes.Axes, optional
        Where to plot; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

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
    bands = _check_cmd_bands(catalog, color, mag)
    draws = _track_parameters(iso, samples, parameters, corrections, n_samples, rng)
    tracks = [_track(iso, p, bands) for p in draws] if iso is not None else []
    rows = _complete_rows(catalog, bands)
    probability = _check_membership(membership, catalog.n_star)
    if ax is None:
        ax = plt.subplots(figsize=(6.0, 6.5), layout="constrained")[1]
    shown = None if probability is None else probability[rows]
    _plot_stars(ax, catalog.select(rows), bands, shown, error_bars)
    if not ax.yaxis_inverted():
        ax.invert_yaxis()
    if tracks:
        _plot_tracks(ax, tracks, draws, binary_sequence)
    ax.set_xlabel(_color_label(bands[0], bands[1]))
    ax.set_ylabel(f"{_band_label(bands[2])} (mag)")
    return ax


def _complete_rows(catalog: StarCatalog, bands: tuple[str, str, str]) -> np.ndarray:
    """Rows of the stars that were measured in all bands."""
    columns = [catalog.band_index(band) for band in bands]
    rows = np.flatnonzero(catalog.measured[:, columns].all(axis=1))
    if not rows.size:
        raise ValueError(
            f"no star of the catalog has all of {', '.join(dict.fromkeys(bands))}; choose other "
            "bands"
        )
    return rows


def _plot_stars(
    ax: Axes,
    stars: StarCatalog,
    bands: tuple[str, str, str],
    membership: np.ndarray | None,
    error_bars: bool,
) -> None:
    blue, red, ordinate = (stars.band_index(band) for band in bands)
    color, mag = stars.mag[:, blue] - stars.mag[:, red], stars.mag[:, ordinate]
    if error_bars:
        err = stars.mag_err
        ax.errorbar(
            color, mag, err[:, ordinate], np.hypot(err[:, blue], err[:, red]),
            fmt="none", ecolor="0.75", elinewidth=0.6, zorder=1.5,
        )  # fmt: skip
    if membership is None:
        ax.scatter(color, mag, s=9, c=_STAR_COLOR, linewidths=0, zorder=2)
        return
    # Likely members last, so that field stars do not hide them.
    order = np.argsort(membership, kind="stable")
    scatter = ax.scatter(
        color[order], mag[order], c=membership[order], s=14, vmin=0.0, vmax=1.0,
        cmap=_MEMBERSHIP_MAP, edgecolors="0.3", linewidths=0.25, zorder=2,
    )  # fmt: skip
    ax.get_figure(root=True).colorbar(  # type: ignore[union-attr]
        scatter, ax=ax, label="membership probability", fraction=0.05, pad=0.02, aspect=30
    )


def _plot_tracks(
    ax: Axes, tracks: list[np.ndarray], draws: list[ClusterParameters], binary_sequence: bool
) -> None:
    """Add tracks, each (E, 3) of EEP, color and magnitude, without moving the limits."""
    many = len(tracks) > 1
    lines = LineCollection(
        [track[:, 1:] for track in tracks], colors=_TRACK_COLOR, zorder=3,
        linewidths=0.7 if many else 1.3, alpha=float(np.clip(5.0 / len(tracks), 0.1, 1.0)),
        label=f"isochrones, {len(tracks)} posterior draws" if many else "isochrone",
    )  # fmt: skip
    handles: list[Any] = [lines]
    ax.add_collection(lines, autolim=False)
    if binary_sequence:
        # The draw in the middle by distance: one dashed line says what fifty would.
        middle = np.argsort([p.true_distance_modulus() for p in draws])[len(draws) // 2]
        track = tracks[middle]
        single = track[track[:, 0] <= ClusterOptions().binary_eep_max]
        binaries = LineCollection(
            [single[:, 1:] - [0.0, EQUAL_MASS_OFFSET]], colors=_TRACK_COLOR, linestyles="--",
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


def _track(iso: IsochroneGrid, p: ClusterParameters, bands: tuple[str, str, str]) -> np.ndarray:
    """EEP, color and magnitude of a single-star track (E, 3), with NaN at a helium flash."""
    options, unique = ClusterOptions(), tuple(dict.fromkeys(bands))
    eep, mass, mag, _ = single_star_track(iso, unique, p, options)
    blue, red, ordinate = (mag[:, unique.index(band)] for band in bands)
    track = np.column_stack([eep, blue - red, ordinate])
    # The node moved to the lowest mass is there up to rounding.
    keep = mass >= options.mass_min * (1.0 - 1e-9)
    flash = (eep > _EEP_TIP) & (mass < _MASS_FLASH)
    track = track[keep & ~(flash & (eep < _EEP_HELIUM))]
    if not flash.any():
        return track
    gap = np.searchsorted(track[:, 0], _EEP_TIP, side="right")
    return np.insert(track, gap, [_EEP_TIP, np.nan, np.nan], axis=0)


def _track_parameters(
    iso: IsochroneGrid | None,
    samples: Any,
    parameters: Mapping[str, float] | None,
    corrections: EmpiricalCorrections | None,
    n_samples: int,
    rng: np.random.Generator | int | None,
) -> list[ClusterParameters]:
    """Parameters of each track to draw; none without samples and parameters."""
    if samples is None and parameters is None:
        if iso is not None:
            raise ValueError(
                "iso was given without samples or parameters; give a posterior, or such as "
                "parameters={'feh': 0.0, 'log_age': 9.4, 'distance_pc': 300.0, 'av': 0.1}"
            )
        return []
    if iso is None:
        raise ValueError(
            "iso is needed to draw samples or parameters; give iso=psp.load_isochrones()"
        )
    fixed = _check_fixed(parameters or {})
    drawn: dict[str, np.ndarray] = {}
    corrected = {} if corrections is None else _correction_names(corrections)
    if samples is not None:
        drawn = _draw(_posterior(samples), (*_PARAMETERS, *corrected.values()), n_samples, rng)
    _check_complete(drawn, fixed, corrected)
    n_track = len(next(iter(drawn.values()))) if drawn else 1
    tracks = []
    for k in range(n_track):
        values = fixed | {name: float(values[k]) for name, values in drawn.items()}
        changed = {field: values.pop(name) for field, name in corrected.items()}
        _check_range(iso, values)
        moved = None if corrections is None else replace(corrections, **changed)
        tracks.append(ClusterParameters(corrections=moved, **values))  # type: ignore[arg-type]
    return tracks


def _posterior(samples: Any) -> xr.Dataset:
    if isinstance(samples, xr.DataTree):
        node = samples["posterior"] if "posterior" in samples.children else samples
        return node.to_dataset()
    if isinstance(samples, xr.Dataset):
        return samples
    raise ValueError(
        "samples must be an xarray.Dataset of the posterior or an xarray.DataTree with a group "
        f"'posterior', got {type(samples).__name__}; pass what pm.sample returned"
    )


def _draw(
    posterior: xr.Dataset, names: Sequence[str], n_samples: int, rng: Any
) -> dict[str, np.ndarray]:
    """Values of the parameters that the posterior holds, `n_samples` of each."""
    if not (isinstance(n_samples, int | np.integer) and n_samples >= 1):
        raise ValueError(f"n_samples must be a whole number of at least 1, got {n_samples!r}")
    dims = [d for d in _SAMPLE_DIMS if d in posterior.dims]
    present = [name for name in names if name in posterior]
    if {*_DISTANCES} <= {*present}:
        # The one is a function of the other.
        present.remove("distance_pc")
    values = {}
    for name in present:
        if set(posterior[name].dims) != set(dims):
            raise ValueError(
                f"{name} in samples has dimensions {posterior[name].dims}, expected one number "
                f"for each of {tuple(dims) or _SAMPLE_DIMS[:2]}; select one cluster first, such "
                "as samples.isel(cluster=0)"
            )
        values[name] = posterior[name].transpose(*dims).to_numpy().ravel()
    if not values:
        return values
    total = len(values[present[0]])
    chosen = np.random.default_rng(rng).permutation(total)[:n_samples]
    return {name: value[chosen] for name, value in values.items()}


def _correction_names(corrections: EmpiricalCorrections) -> dict[str, str]:
    """Field -> name in the samples, of the corrections that are variables of a model."""
    names = {}
    for field in fields(corrections):
        value = getattr(corrections, field.name)
        if isinstance(value, int | float | np.number):
            continue
        if not getattr(value, "name", None):
            raise ValueError(
                f"corrections: {field.name} is {value!r}, which has no name to look up in "
                "samples; give a number, or wrap the expression in pm.Deterministic"
            )
        names[field.name] = value.name
    return names


def _check_cmd_bands(catalog: StarCatalog, color: Any, mag: Any) -> tuple[str, str, str]:
    if isinstance(color, str) or len(color) != 2:
        raise ValueError(
            f"color must be two band names, got {color!r}; for the first minus the second give "
            f"such as ({catalog.bands[0]!r}, {catalog.bands[-1]!r})"
        )
    for argument, band in (("color", color[0]), ("color", color[1]), ("mag", mag)):
        if band not in catalog.bands:
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


def _check_fixed(parameters: Mapping[str, float]) -> dict[str, float]:
    for name, value in parameters.items():
        if name not in _PARAMETERS:
            raise ValueError(
                f"parameters: {name!r} moves no isochrone; expected some of "
                f"{', '.join(_PARAMETERS)}"
            )
        if np.ndim(value) != 0 or not np.isfinite(value):
            raise ValueError(f"parameters: {name} must be one finite number, got {value!r}")
    if {*_DISTANCES} <= {*parameters}:
        raise ValueError(
            "parameters holds both distance_modulus and distance_pc; leave one of them out"
        )
    return {name: float(value) for name, value in parameters.items()}


def _check_complete(
    drawn: Mapping[str, Any], fixed: Mapping[str, Any], corrected: Mapping[str, str]
) -> None:
    """Check that every parameter is given, and only once."""
    given = [{"distance" if name in _DISTANCES else name for name in n} for n in (drawn, fixed)]
    if twice := sorted(given[0] & given[1]):
        raise ValueError(
            f"{', '.join(twice)} is in samples and in parameters; parameters is for what samples "
            "lacks"
        )
    needed = {"feh": "feh", "log_age": "log_age", "distance": "distance_modulus or distance_pc"}
    needed |= {name: f"{name} (of the corrections)" for name in corrected.values()}
    if missing := [text for name, text in needed.items() if name not in given[0] | given[1]]:
        raise ValueError(
            f"samples and parameters lack {', '.join(missing)}, which an isochrone needs; add to "
            "parameters such as {'feh': 0.0, 'log_age': 9.4, 'distance_pc': 300.0}"
        )


def _check_range(iso: IsochroneGrid, values: Mapping[str, float]) -> None:
    ranges = {
        "feh": iso.feh_range,
        "log_age": iso.log_age_range,
        "av": iso.av_range,
        "rv": RV_RANGE,
        "distance_pc": (1e-3, np.inf),
    }
    for name, (low, high) in ranges.items():
        if name in values and not low <= values[name] <= high:
            raise ValueError(
                f"{name}={values[name]:g} is out of range: expected {low:g} to {high:g}"
            )


def _split_band(band: str) -> tuple[str, str]:
    """Photometric system (may be empty) and symbol of a band, for axis labels."""
    prefix, _, rest = band.partition("_")
    if prefix not in _SYSTEMS or not rest:
        return "", band.replace("_", " ")
    name, _, release = rest.partition("_")
    # EDR3 passbands are those of DR3; older ones are named.
    system = (_SYSTEMS[prefix] or prefix) + (" DR2" if release.startswith("DR2") else "")
    symbol = _SYMBOLS.get(name, name if len(name) == 1 else rf"\mathrm{{{name}}}")
    return system, f"${symbol}$"


def _band_label(band: str) -> str:
    return " ".join(filter(None, _split_band(band)))


def _color_label(blue: str, red: str) -> str:
    """Symbols alone where both bands are of one system, else full names."""
    (system_blue, symbol_blue), (system_red, symbol_red) = _split_band(blue), _split_band(red)
    if system_blue and system_blue == system_red:
        return f"{symbol_blue} $-$ {symbol_red} (mag)"
    return f"{_band_label(blue)} $-$ {_band_label(red)} (mag)"
