"""Whether stars lie beside the fitted isochrone: residual colors along the main sequence."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.stars.colors import bands_of, color_name, pair_of
from pymc_starpop.summaries.fit_draws import FitDraws, Simulated, color_of, known_moments
from pymc_starpop.summaries.fit_rows import DOUBT, FINE, UNKNOWN, CheckRow
from pymc_starpop.summaries.posterior_tracks import build_track

__all__ = [
    "Diagram",
    "beside_model",
    "choose_diagram",
    "mean_isochrones",
    "residual_colors",
    "sequence_rows",
    "star_table",
]

# A bin is beside the isochrone if it is so by more than both, mag and standard errors.
LEAST_RESIDUAL, LEAST_ERRORS = 0.01, 3.0
# Stars further from the isochrone in color (mag) are of the field or not on the main sequence.
_WINDOW = 0.3
_MOST_BINS, _STARS_A_BIN, _FEWEST = 8, 30, 5
# The weight of a star is 0 beyond so many times its color error, which is taken to be no smaller
# than the second number (mag): about the width of a sequence of mmag photometry.
_REACH, _LEAST_WIDTH = 4.0, 0.01
_ROUNDS = 15
# Isochrones to be shown.
_N_SHOWN = 15


@dataclass(frozen=True)
class Diagram:
    """What the color-magnitude diagram of the check shows: bands of the color, and a magnitude."""

    color: tuple[str, str]
    mag: str


def choose_diagram(fit: FitDraws, color: tuple[str, str] | None, mag: str | None) -> Diagram:
    """Return the diagram that was asked for, or that in which the sequence is known best.

    The magnitude is that of the selection, or else the first; the color that with the largest range
    along the main sequence in units of the errors, red minus blue at its faint end.

    Raises
    ------
    ValueError
        For bands that the catalog lacks, and a catalog without a magnitude or a color.
    """
    columns = fit.columns
    bands = [name for name in columns if pair_of(name) is None]
    colors = [pair for pair in map(pair_of, columns) if pair is not None]
    if mag is None:
        selection = fit.parameters(0)[1].selection
        mag = selection.band if selection is not None else (bands[0] if bands else None)
    if mag not in bands:
        raise ValueError(
            f"mag={mag!r} is no magnitude of the catalog, whose columns are {', '.join(columns)}; "
            "give the band by which stars are to be sorted"
        )
    pairs = colors + [(one, two) for one in bands for two in bands if one != two]
    if color is not None:
        if tuple(color) not in pairs:
            raise ValueError(
                f"color={color!r} must be two different bands of the catalog, or one of its "
                f"colors; its columns are {', '.join(columns)}"
            )
        return Diagram((color[0], color[1]), mag)
    if not pairs:
        raise ValueError(
            f"the catalog has the single column {columns[0]}, which makes no color; "
            "check_cluster_fit needs two bands"
        )
    best = max(pairs, key=lambda pair: _contrast(fit, Diagram((pair[0], pair[1]), mag)))
    return Diagram((best[0], best[1]), mag)


def _contrast(fit: FitDraws, shown: Diagram) -> float:
    """Range of the color along the sequence of the stars, in units of its error."""
    color, mag, error = star_places(fit, shown)
    known = np.isfinite(color) & np.isfinite(mag)
    if known.sum() < 0.5 * known.size:
        return -np.inf
    ridge = single_sequence(fit, 0, shown)
    ends = np.interp(np.quantile(mag[known], [0.1, 0.9]), *ridge)
    return float((ends[1] - ends[0]) / np.median(error[known]))


def star_places(fit: FitDraws, shown: Diagram) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Color, magnitude and error of the color (N,) of the stars."""
    name = color_name(*shown.color)
    err = fit.mag_err
    if name in fit.columns:
        error = err[:, fit.columns.index(name)]
    else:
        error = np.hypot(*(err[:, fit.columns.index(band)] for band in shown.color))
    color = color_of(fit.mag, fit.columns, shown.color)
    return color, fit.mag[:, fit.columns.index(shown.mag)], error


def star_table(fit: FitDraws, shown: Diagram) -> xr.Dataset:
    """Color, magnitude and mean probability of membership of the stars."""
    color, mag, _ = star_places(fit, shown)
    columns = {"color": color, "mag": mag, "membership": fit.membership.mean(axis=0)}
    return xr.Dataset(
        {name: ("star", column) for name, column in columns.items()},
        coords={"star": np.asarray(fit.of.star)},
    )


def mean_isochrones(fit: FitDraws, shown: Diagram) -> xr.DataArray:
    """Isochrones (sample, point, axis) of some draws, of mean extinction and age of the stars."""
    chosen = np.unique(np.linspace(0, len(fit.tracks) - 1, _N_SHOWN).astype(int))
    tracks = []
    for k in chosen:
        p, options = fit.parameters(k)
        ages = options.age_distribution
        log_age = p.log_age if ages is None else np.average(ages.log_age, weights=ages.weight)
        flat = replace(p, av=float(np.mean(p.av)), log_age=log_age, zero_points=0.0)
        track = build_track(
            fit.cluster.iso, flat, (*shown.color, shown.mag), bands_of(fit.columns)
        )[:, 1:]
        tracks.append(track + _offsets(p.zero_points, fit.columns, shown))
    length = max(len(track) for track in tracks)
    filled = [np.pad(t, ((0, length - len(t)), (0, 0)), constant_values=np.nan) for t in tracks]
    return xr.DataArray(
        np.array(filled), dims=("sample", "point", "axis"), coords={"axis": ["color", "mag"]}
    )


def _offsets(zero_points: Any, columns: tuple[str, ...], shown: Diagram) -> np.ndarray:
    """Change of color and magnitude (2,) by the zero points of the bands."""
    bands = bands_of(columns)
    moved = np.broadcast_to(zero_points, len(bands))
    blue, red, mag = (moved[bands.index(band)] for band in (*shown.color, shown.mag))
    return np.array([blue - red, mag])


def single_sequence(fit: FitDraws, k: int, shown: Diagram) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude, ascending, and color of single stars from the bluest one down."""
    track = fit.tracks[k].T
    mag, color = track[:, fit.columns.index(shown.mag)], color_of(track, fit.columns, shown.color)
    # By mass: up to where stars get no brighter any more.
    back = np.flatnonzero(~(np.diff(mag) < 0.0))
    end = back[0] + 1 if back.size else mag.size
    end = int(np.argmin(color[:end])) + 1
    return mag[:end][::-1], color[:end][::-1]


def residual_colors(
    fit: FitDraws, shown: Diagram, catalogs: Simulated, rng: np.random.Generator
) -> xr.Dataset | None:
    """Color of the sequence of the stars minus that of the model, in bins of magnitude.

    In each draw and bin the location of the stars' colors relative to the isochrone of single stars
    (Tukey's biweight, which binaries and field stars hardly move) is compared with the same
    location of stars that are simulated from the draw, with its binaries, field stars, selection
    and errors: what these do to the location is in both.

    Returns
    -------
    xarray.Dataset or None
        By ``bin``: ``color_residual``, ``color_error`` and ``mag_residual`` (mag; at one color,
        what the residual is in magnitude), ``mag_low``, ``mag_high``, ``n_star``. None where hardly
        any star is near the sequence.
    """
    color, mag, error = star_places(fit, shown)
    middle = len(fit.tracks) // 2
    beside = _beside(color, mag, single_sequence(fit, middle, shown))
    near = np.isfinite(beside)
    if near.sum() < _STARS_A_BIN:
        return None
    n_bin = int(np.clip(near.sum() // _STARS_A_BIN, 1, _MOST_BINS))
    edges = np.quantile(mag[near], np.linspace(0.0, 1.0, n_bin + 1))
    scatter = [_color_scatter(fit, k, shown) for k in (0, -1)]
    place = np.clip(np.searchsorted(edges, mag, side="right") - 1, 0, n_bin - 1)
    reach = np.array([
        _REACH * np.hypot(np.median(error[near & (place == b)]), max(_LEAST_WIDTH, *scatter))
        for b in range(n_bin)
    ])  # fmt: skip
    # Three locations each: of the stars, of as many of them drawn with repetition, and simulated.
    found = np.full((3, len(fit.tracks), n_bin), np.nan)
    for k in range(len(fit.tracks)):
        ridge = single_sequence(fit, k, shown)
        drawn = catalogs[k][0]
        again = rng.integers(color.size, size=color.size)
        simulated = color_of(drawn, fit.columns, shown.color)
        places = (
            (color, mag),
            (color[again], mag[again]),
            (simulated, drawn[:, fit.columns.index(shown.mag)]),
        )
        for which, (c, m) in enumerate(places):
            found[which, k] = _locations(_beside(c, m, ridge), m, edges, reach)
    return _residuals(found, edges, near, place, single_sequence(fit, middle, shown))


def _beside(color: np.ndarray, mag: np.ndarray, ridge: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Colors relative to the isochrone (n,), NaN off its main sequence or far from it."""
    result = color - np.interp(mag, *ridge, left=np.nan, right=np.nan)
    return np.where(np.abs(result) < _WINDOW, result, np.nan)


def _color_scatter(fit: FitDraws, k: int, shown: Diagram) -> float:
    """Intrinsic scatter of the color, mag."""
    bands = bands_of(fit.columns)
    scatter = np.broadcast_to(fit.parameters(k)[0].intrinsic_scatter, len(bands))
    return float(np.hypot(*(scatter[bands.index(band)] for band in shown.color)))


def _locations(
    beside: np.ndarray, mag: np.ndarray, edges: np.ndarray, reach: np.ndarray
) -> np.ndarray:
    """Location of the sequence in each bin, NaN where there are too few stars."""
    result = np.full(reach.size, np.nan)
    for b, width in enumerate(reach):
        inside = np.isfinite(beside) & (mag >= edges[b]) & (mag <= edges[b + 1])
        if inside.sum() >= _FEWEST:
            result[b] = biweight_location(beside[inside], width)
    return result


def biweight_location(values: np.ndarray, reach: float) -> float:
    """Location with weights (1 - u^2)^2, u = (x - location) / reach, 0 beyond.

    Beaton & Tukey 1974, Technometrics 16, 147, by iteration from the median.
    """
    location = np.median(values)
    for _ in range(_ROUNDS):
        u = np.minimum(np.abs(values - location) / reach, 1.0)
        weight = (1.0 - u * u) ** 2
        total = weight.sum()
        if total == 0.0:
            break
        location = (weight * values).sum() / total
    return float(location)


def _residuals(
    found: np.ndarray, edges: np.ndarray, near: np.ndarray, place: np.ndarray,
    ridge: tuple[np.ndarray, np.ndarray],
) -> xr.Dataset:  # fmt: skip
    """Put together what `residual_colors` returns."""
    stars, again, simulated = found
    difference = stars - simulated
    residual, error = known_moments(difference)
    # Real stars may scatter more than simulated ones.
    error = np.fmax(error, known_moments(again)[1])
    low, high = edges[:-1], edges[1:]
    step = 0.05 * (high - low)
    center = 0.5 * (low + high)
    change = np.interp(center + step, *ridge) - np.interp(center - step, *ridge)
    columns = {
        "color_residual": residual,
        "color_error": error,
        "mag_residual": -residual * 2.0 * step / change,
        "mag_low": low,
        "mag_high": high,
        "n_star": np.bincount(place[near], minlength=low.size),
    }
    return xr.Dataset({name: ("bin", column) for name, column in columns.items()})


def beside_model(residuals: xr.Dataset) -> np.ndarray:
    """Whether the stars of each bin (bin,) are beside the model."""
    value, error = residuals["color_residual"].values, residuals["color_error"].values
    far = np.abs(value) > np.maximum(LEAST_RESIDUAL, LEAST_ERRORS * error)
    return np.asarray(far)


def sequence_rows(residuals: xr.Dataset | None, shown: Diagram) -> list[CheckRow]:
    """What the residual colors say, a row for the worst bin and each other that is beside."""
    name = color_name(*shown.color)
    if residuals is None or not np.isfinite(residuals["color_residual"]).any():
        advice = (
            f"fewer than {_STARS_A_BIN} stars are within {_WINDOW} mag of the fitted main sequence "
            f"in {name}, or none can be simulated from its field; look at plot_cmd"
        )
        return [CheckRow("residual color", name, np.nan, LEAST_RESIDUAL, UNKNOWN, advice)]
    value = residuals["color_residual"].values
    errors = np.abs(value) / residuals["color_error"].values
    beside = beside_model(residuals)
    shown_bins = np.flatnonzero(beside) if beside.any() else [int(np.nanargmax(errors))]
    rows = []
    for b in shown_bins:
        of = f"{shown.mag} {residuals['mag_low'][b]:.1f} to {residuals['mag_high'][b]:.1f}"
        side = "redder" if value[b] > 0.0 else "bluer"
        advice = (
            f"single stars are {abs(value[b]):.3f} mag {side} in {name} than the model, "
            f"{errors[b]:.0f} standard errors: the isochrone misses the sequence here, and age, "
            "extinction and [Fe/H] move to make up for it; fit corrections "
            "(MagnitudeCorrections) or zero points, or leave these magnitudes out"
        )
        verdict = DOUBT if beside[b] else FINE
        rows.append(
            CheckRow(
                "residual color", of, float(value[b]), LEAST_RESIDUAL, verdict,
                advice if beside[b] else "",
            )
        )  # fmt: skip
    return rows
