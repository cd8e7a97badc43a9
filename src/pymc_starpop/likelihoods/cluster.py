"""The log-likelihood of the stars of a cluster as a PyTensor expression.

The steps: tracks of the models (`track`), the catalog (`stars`), both in the space of the data
(`data_space`), completeness and the share of detected stars (`detection`), the density of the field
(`field`), and here what they are put together to.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pytensor import tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor import TensorVariable

from pymc_starpop.cluster.parameters import (
    ClusterOptions,
    ClusterParameters,
    is_zero,
    split_arguments,
)
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.likelihoods.checks import check_catalog, check_cluster, inside_support
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
from pymc_starpop.likelihoods.stars import StarTerms, star_terms
from pymc_starpop.likelihoods.track import ModelTracks, model_tracks
from pymc_starpop.ops.cluster import cluster_likelihood
from pymc_starpop.ops.namespace import TENSOR
from pymc_starpop.stars.catalog import StarCatalog

__all__ = ["ClusterParts", "cluster_logp", "cluster_parts"]


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
        parallaxes that are no rows of the data, and the Jacobian and norm of `stars`
    log_field : (N,) log density of field stars
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
    if terms.membership_prior is not None:
        member = member * terms.membership_prior
    apart = 0.0 * ones
    if terms.parallax is not None and not has_parallax_row(terms, model):
        apart = log_normal(terms, parallax_of(p))
    apart = sum((x for x in (stars.log_jacobian, stars.log_norm) if x is not None), apart)
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
    # The kernel leaves out what is not near a star, and would leave out NaN as well.
    numbers = (model.tracks, model.directions, model.spread, model.weights, scatter)
    known = pt.isfinite(
        sum(part.sum() for part in numbers) + p.true_distance_modulus(TENSOR)
        + p.parallax_zero_point
    )  # fmt: skip
    logp = pt.switch(inside_support(grid, p, options), pt.switch(known, logp, np.nan), -np.inf)
    return ClusterParts(logp, model, scatter, data, stars, member, log_z, apart, log_field)


def cluster_logp(iso: IsochroneGrid, catalog: StarCatalog, **parameters: Any) -> TensorVariable:
    """Log-likelihood of each star of a cluster, differentiable in every parameter.

    For star i with membership w_i = c_i (1 - field_fraction), c_i the catalog's prior,

        L_i = int dM dq pi(M) pi(q) [w_i c(m) N(x_i | y(M, q), S_i) / Z + (1 - w_i) F_i]

    with the data x_i (magnitudes or fluxes; T_eff, [Fe/H] and parallax where the catalog has
    them), the completeness c and the normalization Z of the selection. It is the mixture of brutus
    (Speagle et al. 2025) with the integral taken along the isochrone. Outside the support of a
    parameter, or of the isochrones, the log-likelihood is -inf.

    Parameters
    ----------
    iso : IsochroneGrid
        Isochrones; their nodes are the nodes of the integral.
    catalog : StarCatalog
        N stars in B bands.
    **parameters
        Parameters, each a number or a PyTensor expression, scalar unless said otherwise, and fixed
        options, as listed here with their defaults.

        - ``feh``: [Fe/H], dex.
        - ``log_age``: log10(age / yr). Left out with an ``age_distribution``.
        - ``distance_modulus`` (mag, without extinction) or ``distance_pc`` (pc): one of them.
        - ``av`` (0): extinction A_V, mag; or a vector (N,) with that of each star.
        - ``rv`` (3.1): A_V / E(B - V).
        - ``field_fraction`` (0): share of field stars in the catalog, 0 to 1.
        - ``binary_fraction`` (0): share of binaries among the systems born, 0 to 1.
        - ``mass_ratio_slope`` (0): exponent gamma of p(q) ~ q^gamma.
        - ``intrinsic_scatter`` (0): scatter about the isochrone, mag; scalar or (B,), by
          ``catalog.model_bands``, so that that of a color is that of both of its bands.
        - ``zero_points`` (0): added to the magnitudes of the models, mag; scalar or (B,), likewise.
        - ``av_scatter`` (0): standard deviation of A_V between stars, mag.
        - ``distance_modulus_scatter`` (0): standard deviation of the distance modulus between
          stars, mag; parallaxes follow it.
        - ``log_age_scatter`` (0): standard deviation of log10 age between stars, dex.
        - ``parallax_zero_point`` (0): added to the parallax that the distance predicts, mas.
        - ``second_population`` (None): a `SecondPopulation`.
        - ``imf`` (`Kroupa()`): mass function of primaries, whose parameters may be expressions.
        - ``corrections`` (None): an `EmpiricalCorrections`, likewise.

        Options, which are no expressions:

        - ``field`` (`UniformField()`): density of field stars: also `ControlField`,
          `InflatedScatterField` (its scale may be an expression), `ChiSquareField`,
          `FieldDensity`, or a vector (N,) of log densities, which may be an expression.
        - ``selection`` (None): `MagnitudeLimits` and completeness of the catalog.
        - ``age_distribution`` (None): `AgeDistribution` of the stars in place of ``log_age``.
        - ``age_nodes`` (9): isochrones for ``log_age_scatter``, odd.
        - ``mass_min`` (0.1): lowest mass of the mass function, Msun.
        - ``eep_max`` (808), ``binary_eep_max`` (480): last evolutionary point, and the last one at
          which a primary has a companion. These three defaults are ``iso.option_defaults``.
        - ``mass_ratio_min`` (0.1): lowest mass ratio of a binary.
        - ``mass_ratio_nodes`` (45), ``node_pieces`` (1): mass ratios in the integral over q, and
          pieces of each segment for binaries; 71 and 2 are the finer setting of the page on
          accuracy.

    Returns
    -------
    TensorVariable
        Shape (N,), natural log of 1/mag^(bands of the star), of 1/flux^bands for a catalog of
        fluxes, and of 1/mas with a parallax, 1/K and 1/dex with T_eff and [Fe/H].

    Raises
    ------
    ValueError
        For numbers and priors outside the grid, fractions outside 0 to 1, no or two distances or
        ages, unknown bands, vectors of another length, stars outside the selection. The message
        says which, and what to do.
    TypeError
        For a name that is none of these.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> iso, cat = psp.load_isochrones(), psp.load_example("ruprecht147")
    >>> logp = psp.cluster_logp(iso, cat, feh=0.1, log_age=9.4, distance_pc=305.0, av=0.3,
    ...                         field_fraction=0.1, intrinsic_scatter=0.02)
    >>> logp.eval().shape
    (440,)
    """
    p, options = split_arguments(parameters, iso)
    check_catalog(iso, catalog, options)
    check_cluster(iso, p, options, catalog)
    p = p.map_values(as_float64)
    return cluster_parts(iso, p, options, star_terms(catalog, p, options)).logp
