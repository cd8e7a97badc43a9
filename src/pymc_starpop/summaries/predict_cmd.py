"""Stars that the posterior of a cluster predicts: magnitudes, masses and companions."""

from typing import Any

import numpy as np
import pymc as pm
import xarray as xr

from pymc_starpop.summaries.chosen import ChosenCluster, chosen_clusters, joined
from pymc_starpop.summaries.cluster_draws import ClusterDraw, ClusterDraws
from pymc_starpop.summaries.tracks import at_points

__all__ = ["predict_cmd"]

_VARIABLES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "mag": (("system", "band"), {"units": "mag"}),
    "observed_mag": (("system", "band"), {"units": "mag"}),
    "initial_mass": (("system",), {"units": "Msun"}),
    "mass_ratio": (("system",), {}),
}
_ZERO_POINT = 22.5  # magnitude of a flux of 1
_LN_FLUX = 0.4 * np.log(10.0)
# Segments of which less is seen are not drawn from.
_LEAST_DETECTION = 1e-9
_MAX_ROUNDS, _CHUNK = 1000, 200_000


def predict_cmd(
    idata: Any,
    n_system: int | None = None,
    model: pm.Model | None = None,
    *,
    selected: bool = True,
    name: str | None = None,
    cluster: str | None = None,
    thin: int = 1,
    random_seed: np.random.Generator | int | None = None,
    progressbar: bool = True,
) -> xr.Dataset:
    """Draw new members of the cluster, for every posterior draw.

    Systems are drawn from the tracks of the model, with everything in which stars differ: masses,
    companions, ages, extinction, distances, intrinsic scatter. Errors are those of cataloged stars
    of like magnitude. Field stars are not drawn; ``pm.sample_posterior_predictive`` draws catalogs
    with them.

    Parameters
    ----------
    idata : xarray.DataTree or xarray.Dataset
        Result of `pm.sample`, or its posterior.
    n_system : int, optional
        Systems for each draw; by default as many as there are stars in the catalog.
    model : pm.Model, optional
        The model that was sampled; by default the one of the surrounding ``with``.
    selected : bool
        Whether systems are those that the catalog can hold, or all living ones above the lowest
        mass.
    name : str, optional
        Name of the `ClusterPhotometry` variable, where the model has several.
    cluster : str, optional
        Name of a cluster, where the variable has several; by default all of them.
    thin : int
        Every how many draws of each chain to use.
    random_seed : numpy.random.Generator or int, optional
        Source of randomness or a seed.
    progressbar : bool
        Whether to show progress.

    Returns
    -------
    xarray.Dataset
        Dimensions (chain, draw, system) and band (colors too, where the catalog has such), and
        cluster where the variable has several, with NaN beyond their systems and bands: ``mag``,
        apparent magnitudes without errors, ``observed_mag`` with errors (NaN for a negative flux),
        ``initial_mass`` (Msun),
        ``mass_ratio`` (0: single, or a dark companion).

    Raises
    ------
    ValueError
        As `pymc_starpop.star_posterior`, for an `n_system` below 1, and where hardly any system
        passes the selection.
    """
    chosen = chosen_clusters(model, name, cluster)
    if not (n_system is None or (isinstance(n_system, int | np.integer) and n_system >= 1)):
        raise ValueError(f"n_system must be a whole number of at least 1, got {n_system!r}")
    rng = np.random.default_rng(random_seed)

    def systems_of(of: ChosenCluster) -> xr.Dataset:
        draws = ClusterDraws(idata, of, thin=thin)
        n = draws.star.size if n_system is None else n_system
        return draws.collect(
            lambda draw: _draw_systems(draws, draw, n, selected, rng), _VARIABLES,
            {"band": list(draws.bands)}, {"system": n, "band": len(draws.bands)},
            "Drawing systems", progressbar,
        )  # fmt: skip

    return joined([systems_of(of) for of in chosen], chosen, "cluster")


def _draw_systems(
    draws: ClusterDraws, draw: ClusterDraw, n: int, selected: bool, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Systems of one posterior draw: mag, observed_mag (n, B), initial_mass, mass_ratio (n,)."""
    weights = draw.weights * (draw.detected > _LEAST_DETECTION) if selected else draw.living
    tilts = draw.tilts if selected else draw.living_tilts
    probability = weights / weights.sum()
    # The share of what is drawn that passes, to draw about as many as are wanted.
    passing = (weights * draw.detected).sum() / weights.sum() if selected else 1.0
    parts: list[tuple[np.ndarray, ...]] = []
    found = 0
    for _ in range(_MAX_ROUNDS):
        if found >= n:
            break
        size = int(min((n - found) / max(passing, 1e-3) * 1.1 + 10.0, _CHUNK))
        segment = rng.choice(weights.size, size=size, p=probability)
        t = tilted(tilts[segment], rng)
        true = _values(draws, draw, segment, t, rng)
        seen = _with_errors(draws, draw, true, rng)
        passed = _passes(draws, seen) if selected else np.ones(size, dtype=bool)
        parts.append(tuple(column[passed] for column in (segment, t, true, seen)))
        found += int(passed.sum())
    else:
        raise ValueError(
            f"selection: only {found} of {n} systems found a place within it in {_MAX_ROUNDS} "
            "rounds; check the limits of the model"
        )
    segment, t, true, seen = (np.concatenate(columns)[:n] for columns in zip(*parts, strict=True))
    return {
        "mag": _magnitudes(draws, true),
        "observed_mag": _magnitudes(draws, seen),
        "initial_mass": at_points(draw.mass, segment, t),
        "mass_ratio": at_points(draw.ratio, segment, t),
    }


def tilted(tilt: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw t in [0, 1] from 1 + tilt (t - 1/2), |tilt| <= 2."""
    u = rng.random(tilt.size)
    # Root of t + tilt (t^2 - t) / 2 = u, in the form that a tilt of 0 does not spoil.
    p = 1.0 - 0.5 * tilt
    return 2.0 * u / (p + np.sqrt(np.maximum(p * p + 2.0 * tilt * u, 0.0)))


def _values(
    draws: ClusterDraws, draw: ClusterDraw, segment: np.ndarray, t: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Magnitudes or fluxes (n, B) at places of the tracks, with all scatter but errors."""
    n_band = len(draws.bands)
    values = at_points(draw.tracks[:n_band], segment, t)
    along = draw.directions[:, :n_band]
    change = 0.5 * (along[..., segment] + along[..., segment + 1])
    if draws.is_flux:
        # In magnitudes, all of these are Gaussian.
        change = change / (-_LN_FLUX * values)
    size = draw.spread[:, None] * rng.normal(size=(draw.spread.size, t.size))
    if len(draw.offset):
        size += draw.offset[rng.integers(len(draw.offset), size=t.size)].T
    moved = (size[:, None, :] * change).sum(axis=0).T
    moved += draw.scatter * rng.normal(size=moved.shape)
    if not draws.is_flux:
        return np.asarray(values.T + moved)
    # The fluxes of the tracks are means.
    variance = draw.scatter**2 + ((draw.spread[:, None, None] * change) ** 2).sum(axis=0).T
    return np.asarray(values.T * np.exp(-_LN_FLUX * moved - 0.5 * _LN_FLUX**2 * variance))


def _with_errors(
    draws: ClusterDraws, draw: ClusterDraw, values: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Add errors, in each band those of the cataloged stars that are nearest in value."""
    result = values.copy()
    for b in range(values.shape[1]):
        measured = np.isfinite(draw.variance[:, b])
        if not measured.any():
            result[:, b] = np.nan
            continue
        data, variance = draw.values[measured, b], draw.variance[measured, b]
        added = draw.scatter[b] ** 2
        if draws.is_flux:
            added = added * (_LN_FLUX * np.maximum(data, 0.0)) ** 2
        order = np.argsort(data)
        sigma = np.sqrt(np.maximum(variance - added, 0.0))[order]
        middle = 0.5 * (data[order][1:] + data[order][:-1])
        nearest = sigma[np.searchsorted(middle, values[:, b])]
        result[:, b] += nearest * rng.normal(size=len(values))
    return result


def _passes(draws: ClusterDraws, values: np.ndarray) -> np.ndarray:
    """Whether values (n, B) lie within the limits of the catalog."""
    limits = draws.limits
    if limits is None or not limits.is_cut:
        return np.ones(len(values), dtype=bool)
    v = values[:, draws.bands.index(limits.band)] * (-1.0 if draws.is_flux else 1.0)
    return (v >= limits.ends[0]) & (v <= limits.ends[1])


def _magnitudes(draws: ClusterDraws, values: np.ndarray) -> np.ndarray:
    """Magnitudes of values, NaN for negative fluxes."""
    if not draws.is_flux:
        return values
    positive = values > 0.0
    mag = _ZERO_POINT - 2.5 * np.log10(np.where(positive, values, 1.0))
    return np.where(positive, mag, np.nan)
