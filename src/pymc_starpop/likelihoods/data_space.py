"""Models and stars where they are compared: in the columns of the catalog, with the parallax.

Colors are differences of magnitudes, after all light has been added up.


A spread of magnitudes is log-normal in flux. The covariance matrix takes a Gaussian with the same
mean and, to first order, the same covariances. The same holds for a spread of distance moduli and
the parallax.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pytensor import tensor as pt

from pymc_starpop.cluster.parameters import ClusterParameters, is_zero
from pymc_starpop.likelihoods.stars import MAG_TO_LN, StarTerms
from pymc_starpop.likelihoods.track import Layout, ModelTracks
from pymc_starpop.ops.namespace import TENSOR
from pymc_starpop.stars.colors import combination, pair_of, shared_bands
from pymc_starpop.stars.fluxes import FLUX_ZERO_POINT, log_flux_norm

__all__ = [
    "Comparison",
    "compared",
    "data_rows",
    "has_parallax_row",
    "in_columns",
    "in_data_space",
    "parallax_of",
]

# d ln(parallax) = - this x d(distance modulus)
_MODULUS_TO_LN = 0.5 * MAG_TO_LN


@dataclass(frozen=True)
class Comparison:
    """What the kernel compares.

    Attributes
    ----------
    model : ModelTracks
    values, variance : (N, D) data with all independent scatter
    log_jacobian : (N,) log of the density of the data for each density of `values`, or None for 0
    log_norm : (N,) log of what normalizes the density of members, or None for 0
    """

    model: ModelTracks
    values: Any
    variance: Any
    log_jacobian: Any = None
    log_norm: Any = None


def has_parallax_row(terms: StarTerms, model: ModelTracks) -> bool:
    """Whether the parallax is a row of the data: where stars have distances of their own."""
    return terms.parallax is not None and "distance" in model.names


def parallax_of(p: ClusterParameters) -> Any:
    """Parallax that the distance of the cluster predicts, mas."""
    return 100.0 * 10.0 ** (-0.2 * p.true_distance_modulus(TENSOR)) + p.parallax_zero_point


def in_columns(
    model: ModelTracks, p: ClusterParameters, layout: Layout, scatter: Any
) -> tuple[ModelTracks, Any]:
    """Turn magnitudes in bands, and their scatter, into those of the columns of the catalog.

    The scatter of a band that several columns hold moves these together: it is a direction of the
    covariance. That of other bands is independent in each column.

    Parameters
    ----------
    model : ModelTracks
        In magnitudes (B bands).
    p : ClusterParameters
    layout : Layout
    scatter : TensorVariable (B,)
        Intrinsic scatter of the bands, mag.

    Returns
    -------
    model : ModelTracks
        With K columns in place of the bands.
    scatter : TensorVariable (K,)
        Scatter of the columns that is independent in each, mag.
    """
    if layout.columns == layout.bands:
        return model, scatter
    matrix, shared = combination(layout.columns), shared_bands(layout.columns)
    tracks, along = (_in_columns(rows, layout) for rows in (model.tracks, model.directions))
    model = replace(model, tracks=tracks, directions=along)
    own = np.array([b not in shared for b in range(len(layout.bands))], dtype=float)
    variance = pt.dot(matrix**2 * own, scatter**2)
    # The root of 0 would have no derivative.
    some = variance > 0.0
    of_columns = pt.switch(some, pt.sqrt(pt.switch(some, variance, 1.0)), 0.0)
    if not shared or is_zero(p.intrinsic_scatter):
        return model, of_columns
    return _with_scatter(model, matrix, scatter, shared), of_columns


def _in_columns(rows: Any, layout: Layout) -> Any:
    """Put columns in the place of the bands, the first rows of an array (..., R, P)."""

    def magnitude(band: str) -> Any:
        return rows[..., layout.bands.index(band), :]

    found = []
    for column in layout.columns:
        first, *others = pair_of(column) or (column,)
        found.append(sum((-magnitude(second) for second in others), magnitude(first)))
    columns = pt.stack(found, axis=rows.ndim - 2)
    return pt.concatenate([columns, rows[..., len(layout.bands) :, :]], axis=rows.ndim - 2)


def _with_scatter(
    model: ModelTracks, matrix: np.ndarray, scatter: Any, shared: tuple[int, ...]
) -> ModelTracks:
    """Add the scatter of some bands as directions, each the same all along the tracks."""
    n_column, n = matrix.shape[0], len(shared)
    columns = matrix[:, shared].T[:, :, None] * pt.ones_like(model.tracks[None, :n_column])
    others = pt.zeros_like(model.tracks[None, n_column:]) * np.ones((n, 1, 1))
    offset = model.offset
    if offset is not None:
        offset = pt.concatenate([offset, pt.zeros((offset.shape[0], n))], axis=1)
    return replace(
        model,
        directions=pt.concatenate([model.directions, pt.concatenate([columns, others], axis=1)]),
        spread=pt.concatenate([model.spread, scatter[list(shared)]]),
        offset=offset,
        names=(*model.names, *("scatter" for _ in shared)),
    )


def in_data_space(
    model: ModelTracks, p: ClusterParameters, terms: StarTerms, scatter: Any
) -> ModelTracks:
    """Turn magnitudes into fluxes where the data are such, and add the row of the parallax.

    Parameters
    ----------
    model : ModelTracks
        From `in_columns`.
    p : ClusterParameters
    terms : StarTerms
    scatter : TensorVariable (K,)
        Intrinsic scatter of the columns, mag.
    """
    tracks, along = model.tracks, model.directions
    if terms.is_flux:
        n_band = len(terms.layout.columns)
        change = along[:, :n_band]
        spread = scatter[:, None] ** 2 + ((model.spread[:, None, None] * change) ** 2).sum(axis=0)
        # The mean of a log-normal distribution.
        log_mean = 0.5 * MAG_TO_LN**2 * spread
        flux = pt.exp(MAG_TO_LN * (FLUX_ZERO_POINT - tracks[:n_band]) + log_mean)
        tracks = pt.concatenate([flux, tracks[n_band:]])
        along = pt.concatenate([-MAG_TO_LN * flux * change, along[:, n_band:]], axis=1)
    if has_parallax_row(terms, model):
        log_mean = 0.5 * (_MODULUS_TO_LN * p.distance_modulus_scatter) ** 2
        mean = (parallax_of(p) - p.parallax_zero_point) * pt.exp(log_mean)
        row = pt.ones_like(tracks[:1]) * mean
        by_name = {"distance": -_MODULUS_TO_LN * row}
        nothing = pt.zeros_like(row)
        changes = pt.stack([by_name.get(name, nothing) for name in model.names])
        tracks = pt.concatenate([tracks, row + p.parallax_zero_point])
        along = pt.concatenate([along, changes], axis=1)
    return replace(model, tracks=tracks, directions=along)


def data_rows(terms: StarTerms, scatter: Any, model: ModelTracks) -> tuple[Any, Any]:
    """Values and variances (N, D) in the rows of the model, the scatter of the columns added.

    In flux a scatter of s mag has the standard deviation 0.4 ln(10) s times the observed flux of
    the star, or 0 where that is negative.
    """
    added = scatter**2
    if terms.is_flux:
        added = added * (MAG_TO_LN * pt.maximum(terms.values, 0.0)) ** 2
    values, variance = [terms.values], [terms.variance + added]
    names = [name for name in ("teff", "feh") if getattr(terms, name) is not None]
    if has_parallax_row(terms, model):
        names.append("parallax")
    for name in names:
        values.append(getattr(terms, name)[:, None])
        variance.append(getattr(terms, f"{name}_err")[:, None] ** 2)
    if not names:
        return values[0], variance[0]
    return pt.concatenate(values, axis=1), pt.concatenate(variance, axis=1)


def compared(
    model: ModelTracks, p: ClusterParameters, terms: StarTerms, data: tuple[Any, Any], scatter: Any
) -> Comparison:
    """Return what the kernel compares; in magnitudes, the rows of the data and the model.

    In flux, the scatter grows with the observed flux, so that a star too bright has more of it than
    one too faint, and the mean of (x - y) / V(x) is -V'(y) / V(y): the data move by V'(x), and
    `log_flux_norm` does the same for the scatter itself.

    Parameters
    ----------
    model : ModelTracks
        From `in_data_space`.
    p : ClusterParameters
    terms : StarTerms
    data : pair of TensorVariable (N, D)
        From `data_rows`.
    scatter : TensorVariable (K,)
        Intrinsic scatter of the columns, mag.
    """
    values, variance = data
    if not terms.is_flux:
        return Comparison(model, values, variance)
    flux = terms.values
    moved = flux + 2.0 * (MAG_TO_LN * scatter) ** 2 * pt.maximum(flux, 0.0)
    is_used = pt.isfinite(terms.variance) & (flux > 0.0)
    # Infinite times a parameter would have no derivative.
    error = pt.switch(is_used, pt.sqrt(terms.variance), 1.0) / pt.switch(is_used, flux, 1.0)
    norms = log_flux_norm((MAG_TO_LN * scatter) ** 2, error**2, TENSOR)
    log_norm = pt.switch(is_used, norms, 0.0).sum(axis=1)
    stars = Comparison(model, _with_bands(values, moved), variance, log_norm=log_norm)
    return stars if model.offset is None else _at_mean_extinction(stars, p, terms)


def _at_mean_extinction(stars: Comparison, p: ClusterParameters, terms: StarTerms) -> Comparison:
    """Move fluxes of stars with a known A_V to the mean one, by a factor each.

    A straight line covers only how the reddening differs along the track.
    """
    model, n_band = stars.model, len(terms.layout.columns)
    av = model.names.index("av")
    track = model.tracks[:n_band]
    reddening = model.directions[av, :n_band] / (-MAG_TO_LN * track)
    middle = 0.5 * (reddening[:, :-1] + reddening[:, 1:])
    mean = (model.weights * middle).sum(axis=1) / model.weights.sum()
    log_factor = MAG_TO_LN * model.offset[:, av, None] * mean
    spread = stars.variance[:, :n_band]
    measured = pt.isfinite(spread)
    scaled = pt.switch(measured, spread, 1.0) * pt.exp(2.0 * log_factor)
    rest = -MAG_TO_LN * track * (reddening - mean[:, None])
    rest = pt.concatenate([rest, pt.zeros_like(model.directions[av, n_band:])])
    # Without a scatter in A_V, nothing else moves along its direction.
    keep = np.flatnonzero([k != av or not is_zero(p.av_scatter) for k in range(len(model.names))])
    displaced = replace(
        model,
        directions=pt.concatenate([model.directions[keep], rest[None]]),
        spread=pt.concatenate([model.spread[keep], np.zeros(1)]),
        offset=pt.concatenate([0.0 * model.offset[:, keep], model.offset[:, av, None]], axis=1),
        names=(*(model.names[k] for k in keep), "av of stars"),
    )
    return replace(
        stars,
        model=displaced,
        values=_with_bands(stars.values, stars.values[:, :n_band] * pt.exp(log_factor)),
        variance=_with_bands(stars.variance, pt.switch(measured, scaled, math.inf)),
        log_jacobian=pt.switch(measured, log_factor, 0.0).sum(axis=1),
    )


def _with_bands(rows: Any, bands: Any) -> Any:
    """Put bands (N, B) in the place of the first of the rows (N, D)."""
    return pt.concatenate([bands, rows[:, bands.shape[1] :]], axis=1)
