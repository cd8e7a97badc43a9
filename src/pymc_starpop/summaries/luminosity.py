"""The luminosity function of a cluster, as seen and corrected for what the catalog lacks."""

from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from scipy import special

from pymc_starpop.kernels.selection import selection_integral
from pymc_starpop.likelihoods.stars import Limits
from pymc_starpop.stars.colors import pair_of
from pymc_starpop.summaries.chosen import ChosenCluster, chosen_clusters, joined
from pymc_starpop.summaries.cluster_draws import ClusterDraw, ClusterDraws
from pymc_starpop.summaries.tracks import at_points

__all__ = ["luminosity_function"]

_ATTRIBUTES = {
    "observed": {"long_name": "members in the catalog, by observed magnitude"},
    "predicted": {"long_name": "members in the catalog that the model predicts"},
    "corrected": {"long_name": "living systems, by magnitude without errors"},
}
_ZERO_POINT = 22.5  # magnitude of a flux of 1
_LN_FLUX = 0.4 * np.log(10.0)
# Stars whose median error stands for the error at an edge.
_NEAREST = 20
# Standard deviation that stands for none, mag.
_NO_ERROR = 1e-9
# Segments that more than this share passes, and fails, the limits are cut into pieces.
_ALMOST = 1e-6
_N_PIECE = 16


def luminosity_function(
    idata: Any,
    band: str,
    edges: Any,
    model: pm.Model | None = None,
    *,
    name: str | None = None,
    cluster: str | None = None,
    thin: int = 1,
    progressbar: bool = True,
) -> xr.Dataset:
    """Members by apparent magnitude, as seen and as the model predicts, for every draw.

    With membership probabilities p_i, n = sum_i p_i, Z the share of the living systems that the
    catalog can hold, and w the weights of the tracks,

        observed_k  = sum of p_i over the stars observed in bin k,
        predicted_k = n / Z x (share of the systems that are seen, and seen in bin k),
        corrected_k = n / Z x (share of the systems whose magnitude without errors lies in bin k).

    Magnitudes are those of systems, both stars of a binary together. Numbers are expected ones:
    counts scatter around ``predicted`` as Poisson numbers do.

    Parameters
    ----------
    idata : xarray.DataTree or xarray.Dataset
        Result of `pm.sample`, or its posterior.
    band : str
        One of the bands of the catalog of which it has magnitudes.
    edges : array-like (K + 1,)
        Ascending edges of the bins, apparent mag.
    model : pm.Model, optional
        The model that was sampled; by default the one of the surrounding ``with``.
    name : str, optional
        Name of the `ClusterPhotometry` variable, where the model has several.
    cluster : str, optional
        Name of a cluster, where the variable has several; by default all of them.
    thin : int
        Every how many draws of each chain to use.
    progressbar : bool
        Whether to show progress.

    Returns
    -------
    xarray.Dataset
        Dimensions (chain, draw, bin), and cluster where the variable has several: ``observed``,
        ``predicted``, ``corrected``; coordinates ``mag`` (middle of the bin),
        ``mag_low`` and ``mag_high``.

    Raises
    ------
    ValueError
        For an unknown band, edges that do not ascend, and as `pymc_starpop.star_posterior`.
    """
    chosen = chosen_clusters(model, name, cluster)
    if pair_of(band) is not None:
        raise ValueError(f"band={band!r} is a color; give a band of which there are magnitudes")
    for of in chosen:
        if band not in of.cluster.bands:
            single = of.name is None
            whose = "the catalog's" if single else f"those of the cluster {of.name!r}"
            remedy = (
                "" if single else ", or choose clusters that have it, one by one, with cluster="
            )
            raise ValueError(
                f"band={band!r} is none of {whose}: {', '.join(of.cluster.bands)}; give one of "
                f"these{remedy}"
            )
    edges = np.asarray(edges, dtype=float)
    if edges.ndim != 1 or edges.size < 2 or not np.all(np.diff(edges) > 0.0):
        raise ValueError(f"edges must be at least two ascending magnitudes, got {edges}")
    coords = {
        "mag": ("bin", 0.5 * (edges[1:] + edges[:-1]), {"units": "mag"}),
        "mag_low": ("bin", edges[:-1]),
        "mag_high": ("bin", edges[1:]),
    }
    variables = {v: (("bin",), attributes) for v, attributes in _ATTRIBUTES.items()}

    def counts_of(of: ChosenCluster) -> xr.Dataset:
        draws = ClusterDraws(idata, of, thin=thin)
        return draws.collect(
            lambda draw: _counts(draws, draw, band, edges), variables, coords,
            {"bin": edges.size - 1}, "Counting stars", progressbar,
        )  # fmt: skip

    return joined([counts_of(of) for of in chosen], chosen, "cluster").assign_attrs(band=band)


def _counts(
    draws: ClusterDraws, draw: ClusterDraw, band: str, edges: np.ndarray
) -> dict[str, np.ndarray]:
    """Numbers in the bins (K,) for one posterior draw."""
    b, membership = draws.bands.index(band), draw.membership
    # Everything in what ascends with magnitude: magnitudes, or fluxes times -1.
    sign = -1.0 if draws.is_flux else 1.0
    edges = -_flux(edges) if draws.is_flux else edges
    measured = np.isfinite(draw.variance[:, b])
    data = sign * draw.values[measured, b]
    observed = np.histogram(data, edges, weights=membership[measured])[0]
    systems = membership.sum() / draw.detection / draw.living.sum()
    track = sign * draw.tracks[b]
    exact = np.full((edges.size, draw.living.size), _NO_ERROR**2)
    corrected = _cumulative(track, draw.living, draw.living_tilts, edges, exact)
    limits, cut = draws.limits, edges
    seen = (track, draw.weights, draw.tilts, draw.segment_variance[b])
    if limits is not None and limits.is_cut and limits.band == band:
        cut = np.clip(edges, *limits.ends)
    elif limits is not None and limits.is_cut:
        seen = _thinned(draws, draw, limits, b)
    scatter = draw.scatter[b] ** 2 * ((_LN_FLUX * cut) ** 2 if draws.is_flux else 1.0)
    variance = _error_variance(draws, draw, b, cut) + scatter
    predicted = _cumulative(*seen[:3], cut, seen[3] + variance[:, None])
    return {
        "observed": observed,
        "predicted": systems * np.diff(predicted),
        "corrected": systems * np.diff(corrected),
    }


def _thinned(
    draws: ClusterDraws, draw: ClusterDraw, limits: Limits, b: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Track in band b with the weights of what passes limits in another band.

    Errors of two bands are independent. Segments on which some stars pass and others do not are
    cut into pieces; between two segments stands one without weight.

    Returns
    -------
    track : ndarray (2 S,)
    weights, tilts, variance : ndarray (2 S - 1,)
    """
    sign = -1.0 if draws.is_flux else 1.0
    other = draws.bands.index(limits.band)
    split = (draw.detected > _ALMOST) & (draw.detected < 1.0 - _ALMOST) & (draw.weights > 0.0)
    count = np.where(split, _N_PIECE, 1)
    segment = np.repeat(np.arange(count.size), count)
    piece = np.arange(segment.size) - np.repeat(np.cumsum(count) - count, count)
    low, high = piece / count[segment], (piece + 1) / count[segment]
    density = 1.0 + draw.tilts[segment] * (0.5 * (low + high) - 0.5)
    middle = sign * at_points(draw.tracks[other], segment, 0.5 * (low + high))
    passed = np.zeros(segment.size)
    for side, end in zip((-1.0, 1.0), limits.ends, strict=True):
        if not np.isfinite(end):
            passed += float(side > 0.0)
            continue
        scatter = draw.scatter[other] * (_LN_FLUX * abs(end) if draws.is_flux else 1.0)
        variance = draw.segment_variance[other][segment] + scatter**2
        variance = variance + limits.errors[int(side > 0.0)] ** 2
        passed += side * special.ndtr((end - middle) / np.sqrt(variance))
    passed = np.where(split[segment], passed, draw.detected[segment])

    def spaced(column: np.ndarray) -> np.ndarray:
        result = np.zeros(2 * segment.size - 1)
        result[::2] = column
        return result

    ends = [sign * at_points(draw.tracks[b], segment, t) for t in (low, high)]
    return (
        np.stack(ends, axis=1).ravel(),
        spaced(draw.weights[segment] / count[segment] * density * np.maximum(passed, 0.0)),
        spaced(draw.tilts[segment] / count[segment] / density),
        spaced(draw.segment_variance[b][segment]),
    )


def _flux(mag: np.ndarray) -> np.ndarray:
    return 10.0 ** (0.4 * (_ZERO_POINT - mag))


def _cumulative(
    track: np.ndarray, weights: np.ndarray, tilts: np.ndarray, edges: np.ndarray,
    variance: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Sum of weights that is observed below each edge (K + 1,), with variances (K + 1, P - 1)."""
    used = (weights > 0.0).astype(float)
    return np.array(
        [
            selection_integral(track, weights, tilts, v, used, -np.inf, edge, 0.0, 0.0)[0][0]
            for edge, v in zip(edges, variance, strict=True)
        ]
    )


def _error_variance(
    draws: ClusterDraws, draw: ClusterDraw, b: int, edges: np.ndarray
) -> np.ndarray:
    """Variance (K + 1,) of the measurements near each edge."""
    measured = np.isfinite(draw.variance[:, b])
    data, variance = draw.values[measured, b], draw.variance[measured, b]
    added = draw.scatter[b] ** 2
    if draws.is_flux:
        added = added * (_LN_FLUX * np.maximum(data, 0.0)) ** 2
        data = -data
    error = np.sqrt(np.maximum(variance - added, 0.0))
    nearest = np.argsort(np.abs(data - edges[:, None]), axis=1)[:, :_NEAREST]
    return np.median(error[nearest], axis=1) ** 2
