"""The share of a cluster's stars that a catalog can hold, symbolically."""

from dataclasses import replace
from typing import Any

import numpy as np
from pytensor import tensor as pt

from pymc_starpop.likelihoods.stars import MAG_TO_LN, StarTerms
from pymc_starpop.likelihoods.track import ModelTracks
from pymc_starpop.ops.namespace import TENSOR
from pymc_starpop.ops.selection import selection_integral
from pymc_starpop.population.track_weights import relative_slope

__all__ = ["log_detection", "thinned"]

# Below this probability that a member passes the limits, 1 / Z would overflow.
_LEAST_DETECTION = 1e-280


def thinned(model: ModelTracks, terms: StarTerms) -> ModelTracks:
    """Multiply the weights of a model, in magnitudes, with the completeness of the catalog.

    The completeness is that at the magnitude of the model, linear along a segment.
    """
    if terms.limits is None or terms.limits.completeness is None:
        return model
    mag = model.tracks[terms.layout.bands.index(terms.limits.band)]
    found = interpolated(terms.limits.completeness, mag)
    start, end = found[:-1], found[1:]
    # The mean over a segment of (1 + tilt (t - 1/2)) times a straight line.
    mean = 0.5 * (start + end) + model.tilts * (end - start) / 12.0
    half = 0.5 * model.tilts
    tilts = relative_slope(start * (1.0 - half), end * (1.0 + half), TENSOR)
    return replace(model, weights=model.weights * mean, tilts=tilts)


def interpolated(table: Any, mag: Any) -> Any:
    """Interpolate a `pymc_starpop.stars.selection.CompletenessTable` at magnitudes (P,).

    Its numbers may be expressions, and its arrays longer than its last node.
    """
    place = pt.clip((mag - table.start) / table.step, 0.0, table.last)
    cell = pt.minimum(pt.floor(place), table.last - 1.0).astype("int64")
    t = place - cell
    u = 1.0 - t
    value, slope = (pt.as_tensor(a, dtype="float64") for a in (table.value, table.slope))
    left, right = value[cell], value[cell + 1]
    slopes = slope[cell] * t * u**2 - slope[cell + 1] * t**2 * u
    return left * (1.0 + 2.0 * t) * u**2 + right * t**2 * (3.0 - 2.0 * t) + table.step * slopes


def log_detection(model: ModelTracks, terms: StarTerms, scatter: Any, inflation: Any = 1.0) -> Any:
    """Log of the share of all stars on the tracks that pass the limits, if there are any.

    Without limits it is that of all of them, which is a little above 0 where masses fall and rise
    again along the isochrone. Where the limits let none pass it is infinite: no star of the
    catalog can be a member then.

    Parameters
    ----------
    model : ModelTracks
        In the space of the data, with weights from `thinned`.
    terms : StarTerms
    scatter : TensorVariable (K,)
        Intrinsic scatter of the columns, mag.
    inflation : scalar
        Factor on all variances, those of the measurements too.
    """
    limits = terms.limits
    if limits is None or not limits.is_cut:
        return pt.log(model.weights.sum())
    b = terms.layout.columns.index(limits.band)
    sign = -1.0 if terms.is_flux else 1.0
    variance = segment_variance(model, b)
    z = 0.0
    # Each side has its own scatter in flux.
    for side in range(2):
        if not limits.sides[side]:
            continue
        added = (scatter[b] * _flux_factor(terms, limits.ends[side])) ** 2
        error = limits.errors[side]
        ends = (-np.inf, limits.ends[side])
        total = (variance + added + error**2) * inflation - error**2
        passed = selection_integral(
            sign * model.tracks[b], model.weights, model.tilts, model.scale, total,
            limits=ends, errors=(error, error),
        )  # fmt: skip
        z = z + passed if side else z - passed
    if not limits.sides[1]:
        z = z + model.weights.sum()
    some = z > _LEAST_DETECTION
    return pt.switch(some, pt.log(pt.switch(some, z, 1.0)), np.inf)


def segment_variance(model: ModelTracks, band: int) -> Any:
    """Variance (P - 1,) that differences between stars add to one row of the data."""
    if not model.names:
        return pt.zeros_like(model.weights)
    along = 0.5 * (model.directions[:, band, :-1] + model.directions[:, band, 1:])
    spread = model.spread**2
    if model.offset is not None:
        # Stars displaced by known amounts: the variance of these.
        spread = spread + (model.offset**2).mean(axis=0)
    return (spread[:, None] * along**2).sum(axis=0)


def _flux_factor(terms: StarTerms, limit: Any) -> Any:
    """Standard deviation in flux of a scatter of 1 mag at a limit; 1 in magnitudes."""
    return MAG_TO_LN * abs(limit) if terms.is_flux else 1.0
