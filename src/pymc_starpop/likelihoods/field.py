"""Densities of field stars that depend on the model of the cluster, symbolically."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from pytensor import tensor as pt

from pymc_starpop.field import ChiSquareField, InflatedScatterField
from pymc_starpop.likelihoods.data_space import Comparison, has_parallax_row
from pymc_starpop.likelihoods.detection import log_detection
from pymc_starpop.likelihoods.stars import StarTerms
from pymc_starpop.likelihoods.track import ModelTracks
from pymc_starpop.ops.cluster import cluster_likelihood

__all__ = ["log_field_density", "log_member_density", "log_normal", "offset_of"]


def log_field_density(
    field: Any, terms: StarTerms, model: ModelTracks, stars: Comparison, scatter: Any
) -> Any:
    """Log of the density (N,) of field stars at each star.

    Parameters
    ----------
    field : field model
        What no parameter changes of it is in `terms.log_field` already.
    terms : StarTerms
    model : ModelTracks
        In the space of the data.
    stars : Comparison
        The data with the intrinsic scatter.
    scatter : TensorVariable (K,)
        Intrinsic scatter of the columns, mag.
    """
    by_itself = terms.parallax is not None and not has_parallax_row(terms, model)
    variance = stars.variance
    jacobian = 0.0 if stars.log_jacobian is None else stars.log_jacobian
    if isinstance(field, ChiSquareField):
        # The variances alone: reddening, which av_scatter multiplies, differs along the track.
        if by_itself:
            variance = pt.concatenate([variance, terms.parallax_err[:, None] ** 2], axis=1)
        measured = pt.isfinite(variance)
        # Bands, T_eff, [Fe/H] and parallax at most.
        constants = field.log_constant(np.arange(len(terms.layout.columns) + 4))
        n_measured = measured.sum(axis=1)
        log_norm = 0.5 * pt.log(pt.switch(measured, variance, 1.0)).sum(axis=1)
        return pt.as_tensor(constants)[n_measured] - log_norm + jacobian
    if isinstance(field, InflatedScatterField):
        inflation = 1.0 + field.scale**2
        n_band = len(terms.layout.columns)
        in_bands = replace(
            stars.model,
            tracks=stars.model.tracks[:n_band],
            directions=stars.model.directions[:, :n_band],
            spread=stars.model.spread * pt.sqrt(inflation),
        )
        bands = variance[:, :n_band]
        # Infinite times a parameter would have no derivative.
        measured = pt.isfinite(bands)
        inflated = pt.switch(measured, pt.switch(measured, bands, 1.0) * inflation, np.inf)
        values = stars.values[:, :n_band]
        log_density = log_member_density(in_bands, values, inflated, terms.log_field)
        log_z = log_detection(model, terms, scatter, inflation)
        return terms.log_field + log_density + jacobian - log_z
    return terms.log_field


def log_normal(terms: StarTerms, parallax: Any) -> Any:
    """Log density (N,) of the measured parallaxes at a parallax (mas); 0 where there is none."""
    variance = terms.parallax_err**2
    measured = pt.isfinite(variance)
    log_norm = 0.5 * pt.log(2.0 * math.pi * pt.switch(measured, variance, 1.0))
    deviation = terms.parallax - parallax
    return pt.switch(measured, -0.5 * deviation**2 / variance - log_norm, 0.0)


def log_member_density(model: ModelTracks, values: Any, variance: Any, per_star: Any) -> Any:
    """Log of the integral (N,) of the mass function times the Gaussian of each star.

    Parameters
    ----------
    model : ModelTracks
    values, variance : TensorVariable (N, D)
    per_star : TensorVariable (N,)
        Any array with one entry a star.
    """
    ones = pt.ones_like(per_star)
    return cluster_likelihood(
        mag=values, variance=variance, tracks=model.tracks, directions=model.directions,
        weights=model.weights, tilts=model.tilts, scale=model.scale, starts=model.starts,
        spread=model.spread, offset=offset_of(model), member=ones,
        log_member=0.0 * ones, log_field=np.float64(0.0) * ones,
    )  # fmt: skip


def offset_of(model: ModelTracks) -> Any:
    """Displacements (N, K) as the Op takes them: (0, K) where there are none."""
    return pt.zeros((0, len(model.names))) if model.offset is None else model.offset
