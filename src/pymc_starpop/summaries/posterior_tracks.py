"""The isochrones that a plot shows: parameters from draws and numbers, and the track of each."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.cluster.checks import check_corrections, check_shape
from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters
from pymc_starpop.field.given import without_constant
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.corrections import Corrections, parts_of
from pymc_starpop.isochrones.grid import RV_RANGE
from pymc_starpop.reference.tracks import single_star_track

# Lighter stars (Msun) pass from the tip of the red giant branch to core helium burning by the
# helium flash, too fast to be seen.
_MASS_FLASH = 2.1

_PARAMETERS = ("feh", "log_age", "distance_modulus", "distance_pc", "av", "rv")
_DISTANCES = ("distance_modulus", "distance_pc")
_SAMPLE_DIMS = ("chain", "draw", "sample")


def track_parameters(
    iso: IsochroneGrid | None,
    samples: Any,
    parameters: Mapping[str, float] | None,
    corrections: Corrections | tuple[Corrections, ...] | None,
    n_samples: int,
    rng: np.random.Generator | int | None,
    of_bands: Sequence[str],
) -> list[ClusterParameters]:
    """Parameters of each track to draw; none without samples and parameters.

    Corrections with one number a band have those of `of_bands`.
    """
    check_corrections(corrections)
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
    parts = parts_of(corrections)
    corrected = [_correction_names(part) for part in parts]
    wanted = {name for names in corrected for name in names.values()}
    if samples is not None:
        drawn = _draw(_posterior(samples), (*_PARAMETERS, *sorted(wanted)), n_samples, rng)
    _check_complete(drawn, fixed, wanted)
    n_track = len(next(iter(drawn.values()))) if drawn else 1
    tracks = []
    for k in range(n_track):
        own = {name: values[k] for name, values in drawn.items()}
        values = fixed | {name: float(own[name]) for name in own if name not in wanted}
        _check_range(iso, values)
        moved = tuple(
            _with_draws(part, names, own, len(of_bands))
            for part, names in zip(parts, corrected, strict=True)
        )
        tracks.append(ClusterParameters(corrections=moved or None, **values))  # type: ignore[arg-type]
    return tracks


def build_track(
    iso: IsochroneGrid, p: ClusterParameters, bands: tuple[str, str, str], of_bands: Sequence[str]
) -> np.ndarray:
    """EEP, color and magnitude of a single-star track (E, 3), with NaN at a helium flash.

    Corrections with one number a band have those of `of_bands`.
    """
    options, unique = ClusterOptions(**iso.option_defaults), tuple(dict.fromkeys(bands))
    shown = [of_bands.index(band) for band in unique]
    moved = tuple(_of_bands(part, shown) for part in parts_of(p.corrections))
    p = replace(p, corrections=moved or None)
    eep, mass, mag, _ = single_star_track(iso, unique, p, options)
    blue, red, ordinate = (mag[:, unique.index(band)] for band in bands)
    track = np.column_stack([eep, blue - red, ordinate])
    # The node moved to the lowest mass is there up to rounding.
    keep = mass >= options.mass_min * (1.0 - 1e-9)
    if iso.flash_eeps is None:
        return track[keep]
    tip, helium = iso.flash_eeps
    flash = (eep > tip) & (mass < _MASS_FLASH)
    track = track[keep & ~(flash & (eep < helium))]
    if not flash.any():
        return track
    gap = np.searchsorted(track[:, 0], tip, side="right")
    return np.insert(track, gap, [tip, np.nan, np.nan], axis=0)


def of_cluster(samples: Any, place: int, names: Sequence[str]) -> xr.Dataset | None:
    """Return the posterior of one of several clusters.

    Parameters
    ----------
    samples : xarray.Dataset or xarray.DataTree, or None
    place : int
        Which of the clusters.
    names : sequence of str
        Names of all C clusters: variables with a dimension that has these as its labels, or C
        entries without labels and the name "cluster", have one value for each.
    """
    if samples is None:
        return None
    posterior = _posterior(samples)
    for dim, size in posterior.sizes.items():
        labels = posterior.coords[dim].to_numpy().tolist() if dim in posterior.coords else None
        if labels == list(names) or (labels is None and dim == "cluster" and size == len(names)):
            return posterior.isel({dim: place}, drop=True)
    return posterior


def corrections_of_cluster(corrections: Any, place: int, n_cluster: int) -> Any:
    """Return the corrections of one of several clusters, where they are numbers by cluster."""
    check_corrections(corrections)

    def own(part: Corrections) -> Corrections:
        def take(name: str, value: Any) -> Any:
            number = _as_number(value)
            is_array = isinstance(number, np.ndarray)
            by_cluster = is_array and number.ndim == 1 + len(part.axes.get(name, ()))
            return number[place] if by_cluster and len(number) == n_cluster else value

        return part.with_parameters(take)

    return tuple(own(part) for part in parts_of(corrections)) or None


def _of_bands(part: Corrections, bands: Sequence[int]) -> Corrections:
    """Return corrections with their numbers for some of the bands."""
    if not any("band" in axes for axes in part.axes.values()):
        return part

    def take(name: str, value: Any) -> Any:
        axes = part.axes.get(name, ())
        has_bands = "band" in axes and np.ndim(value) > 0
        return np.take(value, bands, axis=axes.index("band")) if has_bands else value

    return part.with_parameters(take)


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
        inner = [d for d in posterior[name].dims if d not in dims]
        if (inner and name in _PARAMETERS) or len(inner) + len(dims) != posterior[name].ndim:
            raise ValueError(
                f"{name} in samples has dimensions {posterior[name].dims}, expected one number "
                f"for each of {tuple(dims) or _SAMPLE_DIMS[:2]}; select one cluster first, such "
                "as samples.isel(cluster=0)"
            )
        array = posterior[name].transpose(*dims, *inner).to_numpy()
        values[name] = array.reshape(-1, *array.shape[len(dims) :])
    if not values:
        return values
    total = len(values[present[0]])
    chosen = np.random.default_rng(rng).permutation(total)[:n_samples]
    return {name: value[chosen] for name, value in values.items()}


def _with_draws(
    part: Corrections, names: Mapping[str, str], drawn: Mapping[str, Any], n_band: int
) -> Corrections:
    """Return corrections with a draw of the parameters that are variables."""

    def take(field: str, value: Any) -> Any:
        number = drawn[names[field]] if field in names else _as_number(value)
        axes = part.axes.get(field, ())
        check_shape(f"corrections.{field}", np.shape(number), axes, n_band, n_star=0)
        return number

    return part.with_parameters(take)


def _as_number(value: Any) -> Any:
    """Return numbers without labels and constants; anything else as it is."""
    if isinstance(value, list | tuple | xr.DataArray):
        return np.asarray(value)
    return without_constant(value)


def _correction_names(corrections: Corrections) -> dict[str, str]:
    """Field -> name in the samples, of the corrections that are variables of a model."""
    names = {}
    for field, value in corrections.parameters().items():
        if isinstance(_as_number(value), int | float | np.number | np.ndarray):
            continue
        if not getattr(value, "name", None):
            raise ValueError(
                f"corrections: {field} is {value!r}, which has no name to look up in "
                "samples; give a number, or wrap the expression in pm.Deterministic"
            )
        names[field] = value.name
    return names


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
    drawn: Mapping[str, Any], fixed: Mapping[str, Any], corrected: Collection[str]
) -> None:
    """Check that every parameter is given, and only once."""
    given = [{"distance" if name in _DISTANCES else name for name in n} for n in (drawn, fixed)]
    if twice := sorted(given[0] & given[1]):
        raise ValueError(
            f"{', '.join(twice)} is in samples and in parameters; parameters is for what samples "
            "lacks"
        )
    needed = {"feh": "feh", "log_age": "log_age", "distance": "distance_modulus or distance_pc"}
    needed |= {name: f"{name} (of the corrections)" for name in sorted(corrected)}
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
