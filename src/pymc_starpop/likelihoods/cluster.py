"""The log-likelihood of the stars of a cluster as a PyTensor expression.

The steps: tracks of the models (`track`), the catalog (`stars`), both in the space of the data
(`data_space`), completeness and the share of detected stars (`detection`), the density of the field
(`field`), and here what they are put together to.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pytensor import tensor as pt
from pytensor.graph.basic import Constant, Variable

from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters, is_zero
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.likelihoods.checks import inside_support
from pymc_starpop.likelihoods.data_space import (
    Comparison,
    compared,
    data_rows,
    has_parallax_row,
    in_columns,
    in_data_space,
    parallax_of,
)
from pymc_starpop.likelihoods.detection import log_detection, thinned
from pymc_starpop.likelihoods.field import log_field_density, log_normal, offset_of
from pymc_starpop.likelihoods.stars import StarTerms
from pymc_starpop.likelihoods.track import ModelTracks, model_tracks
from pymc_starpop.ops.cluster import cluster_likelihood
from pymc_starpop.ops.namespace import TENSOR

__all__ = ["ClusterParts", "as_float64", "cluster_parts", "membership_of"]


@dataclass(frozen=True)
class ClusterParts:
    """The likelihood of the stars of a cluster and what it is made of.

    Attributes
    ----------
    logp : (N,) log-likelihood of each star
    model : the tracks, in the space of the data
    scatter : (K,) intrinsic scatter of each column of the catalog, mag
    data : (N, D) each: rows of the data, and variances with the scatter
    stars : what each star is compared with
    member : (N,) probability of membership before the photometry
    log_detection : log of the share Z of all stars that the catalog can hold
    log_apart : (N,) log of the factors of the members' density that no place on the tracks changes:
        parallaxes that are no rows of the data, further data, and the Jacobian and norm of `stars`
    log_field : (N,) log density of field stars, with that of further data
    """

    logp: Any
    model: ModelTracks
    scatter: Any
    data: tuple[Any, Any]
    stars: Comparison
    member: Any
    log_detection: Any
    log_apart: Any
    log_field: Any


def as_float64(name: str, value: Any) -> Any:
    """Return numbers as float64: PyTensor would compute functions of a float in float32."""
    if isinstance(value, Constant):
        value = value.data
    if isinstance(value, Variable):
        return value if value.type.dtype == "float64" else value.astype("float64")
    return np.float64(value) if np.ndim(value) == 0 else np.asarray(value, dtype=np.float64)


def cluster_parts(
    grid: IsochroneGrid, p: ClusterParameters, options: ClusterOptions, terms: StarTerms
) -> ClusterParts:
    """Put the steps together; arguments have been checked."""
    scatter = pt.as_tensor(p.intrinsic_scatter, dtype="float64") * pt.ones(len(terms.layout.bands))
    model = thinned(model_tracks(grid, terms.layout, p, options), terms)
    model, scatter = in_columns(model, p, terms.layout, scatter)
    model = in_data_space(model, p, terms, scatter)
    log_z = log_detection(model, terms, scatter)
    data = data_rows(terms, scatter, model)
    stars = compared(model, p, terms, data, scatter)
    ones = pt.ones_like(terms.log_field)
    member = (1.0 - p.field_fraction) * ones
    log_field = terms.log_field
    if not is_zero(p.field_fraction) or terms.membership_prior is not None:
        log_field = log_field_density(options.field, terms, model, stars, scatter)
    if terms.field_logp is not None:
        log_field = log_field + terms.field_logp
    if terms.membership_prior is not None:
        member = member * terms.membership_prior
    apart = 0.0 * ones
    if terms.parallax is not None and not has_parallax_row(terms, model):
        apart = log_normal(terms, parallax_of(p))
    factors = (stars.log_jacobian, stars.log_norm, terms.member_logp)
    apart = sum((x for x in factors if x is not None), apart)
    logp = cluster_likelihood(
        mag=stars.values,
        variance=stars.variance,
        tracks=stars.model.tracks,
        directions=stars.model.directions,
        weights=stars.model.weights,
        tilts=stars.model.tilts,
        scale=stars.model.scale,
        starts=stars.model.starts,
        spread=stars.model.spread,
        offset=offset_of(stars.model),
        member=member,
        log_member=apart - log_z,
        log_field=log_field,
    )
    # Tracks and weights that are no numbers make NaN in the kernel. The others may meet no star.
    known = pt.isfinite(
        model.spread.sum() + scatter.sum() + p.true_distance_modulus(TENSOR)
        + p.parallax_zero_point
    )  # fmt: skip
    logp = pt.switch(inside_support(grid, p, options), pt.switch(known, logp, np.nan), -np.inf)
    return ClusterParts(logp, model, scatter, data, stars, member, log_z, apart, log_field)


def membership_of(parts: ClusterParts) -> Any:
    """Probability (N,) that each star is a member."""
    # In logs: without a field, and for a star beyond hope, 0 times infinity would be no number.
    can_be_field = parts.member < 1.0
    rest = pt.log(pt.switch(can_be_field, 1.0 - parts.member, 1.0))
    share = pt.exp(pt.minimum(rest + parts.log_field - parts.logp, 0.0))
    return 1.0 - pt.switch(can_be_field, share, 0.0)
