"""The log-likelihood of the stars of a cluster as a PyTensor expression.

The steps, each a function of its own: theory at the EEP nodes, empirical corrections, magnitudes
with extinction, the cut at the lowest mass, weights of the mass function and of binaries, the
tracks of binaries, the selection, what each star adds (parallax, field), and the integral.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from pytensor import tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor import TensorVariable

from pymc_starpop import population
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.bolometric import TABLE_RV, content_hash
from pymc_starpop.likelihoods.checks import check_catalog, check_cluster, inside_support
from pymc_starpop.ops._tables import shared_tables
from pymc_starpop.ops.binaries import population_tracks
from pymc_starpop.ops.bolometric import bolometric_coefficients
from pymc_starpop.ops.cluster import cluster_likelihood
from pymc_starpop.ops.isochrone import isochrone_theory
from pymc_starpop.ops.namespace import TENSOR
from pymc_starpop.ops.selection import selection_integral
from pymc_starpop.parameters import ClusterOptions, ClusterParameters, split_arguments
from pymc_starpop.photometry import StarCatalog

__all__ = ["cluster_logp"]

# Below this probability that a member passes the limits, 1 / Z would overflow.
_LEAST_DETECTION = 1e-280


@dataclass(frozen=True)
class StarTerms:
    """What the likelihood takes from the catalog, each with one row a star.

    Attributes
    ----------
    mag, variance : (N, B) magnitude (0 where not measured) and variance (infinite there)
    parallax, parallax_err : (N,) mas, an infinite error where there is none; or None
    membership_prior : (N,) or None
    log_field : (N,) log of the field density
    limit_errors : photometric errors at the bright and the faint limit, mag; or None
    bands : names of the bands
    """

    mag: Any
    variance: Any
    parallax: Any
    parallax_err: Any
    membership_prior: Any
    log_field: Any
    limit_errors: tuple[float, float] | None
    bands: tuple[str, ...]


@dataclass(frozen=True)
class ModelTracks:
    """Tracks of single stars and of binaries, P points one after the other.

    Attributes
    ----------
    tracks : (B, P) apparent magnitudes
    directions : (K, B, P) dm/dA_V where A_V has scatter; (0, B, P) where it has not
    weights, tilts, scale : (P - 1,) as `pymc_starpop.kernels.cluster.TrackModel` has them
    starts : (T + 1,) first point of each track, and P
    """

    tracks: Any
    directions: Any
    weights: Any
    tilts: Any
    scale: Any
    starts: Any


def is_zero(value: Any) -> bool:
    """Whether a parameter is the number 0, so that its part of the model can be left out."""
    return isinstance(value, int | float | np.number) and value == 0


def as_float64(name: str, value: Any) -> Any:
    """Return numbers as float64: PyTensor would compute functions of a float in float32."""
    if isinstance(value, Variable):
        return value if value.type.dtype == "float64" else value.astype("float64")
    return np.float64(value) if np.ndim(value) == 0 else np.asarray(value, dtype=np.float64)


def star_arrays(
    catalog: StarCatalog, parameters: ClusterParameters, options: ClusterOptions
) -> dict[str, np.ndarray]:
    """Arrays of the catalog by the names of `StarTerms`, without NaN."""
    needs_field = not is_zero(parameters.field_fraction) or catalog.membership_prior is not None
    log_field = np.zeros(catalog.n_star)
    if needs_field:
        log_field = np.asarray(options.field.log_density(catalog, options.selection))
    arrays = {
        "mag": np.where(catalog.measured, catalog.mag, 0.0),
        "variance": np.where(catalog.measured, catalog.mag_err**2, np.inf),
        "log_field": log_field,
    }
    if catalog.parallax is not None and catalog.parallax_err is not None:
        measured = np.isfinite(catalog.parallax) & np.isfinite(catalog.parallax_err)
        arrays["parallax"] = np.where(measured, catalog.parallax, 0.0)
        arrays["parallax_err"] = np.where(measured, catalog.parallax_err, np.inf)
    if catalog.membership_prior is not None:
        arrays["membership_prior"] = np.asarray(catalog.membership_prior, dtype=np.float64)
    return arrays


def star_terms(
    catalog: StarCatalog, parameters: ClusterParameters, options: ClusterOptions
) -> StarTerms:
    """Put what the catalog holds into shared variables."""
    arrays = star_arrays(catalog, parameters, options)
    key = ("catalog", content_hash(*arrays.values(), tuple(arrays)))
    shared = dict(
        zip(arrays, shared_tables(key, list(arrays), lambda: list(arrays.values())), strict=True)
    )
    selection = options.selection
    return StarTerms(
        mag=shared["mag"],
        variance=shared["variance"],
        parallax=shared.get("parallax"),
        parallax_err=shared.get("parallax_err"),
        membership_prior=shared.get("membership_prior"),
        log_field=shared["log_field"],
        limit_errors=None if selection is None else selection.errors(catalog),
        bands=catalog.bands,
    )


def single_star_track(
    grid: IsochroneGrid, bands: tuple[str, ...], p: ClusterParameters, options: ClusterOptions
) -> tuple[Any, Any, Any]:
    """Mass (E,), apparent magnitude (E, B) and dm/dA_V (E, B), cut at both ends."""
    n = int(np.searchsorted(grid.eep, options.eep_max, side="right"))
    columns = [column[:n] for column in isochrone_theory(grid, p.feh, p.log_age)]
    log10_mass, log_teff, log_g, log_l = columns
    mass = 10.0**log10_mass
    if p.corrections is not None:
        eep = grid.eep[:n].astype(np.float64)
        log_teff, log_g, log_l = p.corrections.apply(
            mass, eep, p.feh, log_teff, log_g, log_l, TENSOR
        )
    coefficients = bolometric_coefficients(grid, bands, log_teff, log_g, p.feh)
    rv_term = grid.rv_slope(bands) * (1.0 / p.rv - 1.0 / TABLE_RV)
    mag, reddening = population.reddened(coefficients, log_l, p.av, rv_term)
    mag = mag + p.true_distance_modulus(TENSOR)
    shift, mass = population.cut_at_mass(mass, options.mass_min, TENSOR)
    mag = population.shifted(mag, shift, TENSOR)
    if is_zero(p.av_scatter):
        return mass, mag, pt.zeros((0, len(bands)))
    return mass, mag, population.shifted(reddening, shift, TENSOR)


def model_tracks(
    grid: IsochroneGrid, bands: tuple[str, ...], p: ClusterParameters, options: ClusterOptions
) -> ModelTracks:
    """Put single stars and binaries on tracks, with the share of the stars along them."""
    mass, mag, reddening = single_star_track(grid, bands, p, options)
    eep = grid.eep[grid.eep <= options.eep_max].astype(np.float64)
    has_binaries = not is_zero(p.binary_fraction)
    if has_binaries:
        pieces = options.node_pieces
        eep = population.subdivide(eep, pieces)
        mass, mag = (population.subdivide(x, pieces, TENSOR) for x in (mass, mag))
        if not is_zero(p.av_scatter):
            reddening = population.subdivide(reddening, pieces, TENSOR)
    directions = pt.zeros((0, len(bands), 0)) if is_zero(p.av_scatter) else reddening.T[None]
    weight, density = population.mass_weights(mass, p.imf, options.mass_min, TENSOR)
    if not has_binaries:
        tilt = population.relative_tilt(density, TENSOR)
        return ModelTracks(mag.T, directions, weight, tilt, weight, np.array([0, eep.size]))
    lowest, dark = population.lit_ratios(
        mass, p.mass_ratio_slope, options.mass_ratio_min, options.mass_min, TENSOR
    )
    last = int(np.searchsorted(eep, options.binary_eep_max, side="right")) - 1
    parts = population_tracks(
        mass=mass, mag=mag.T, directions=directions, weight=weight, density=density,
        lowest=lowest, dark=dark, curve=population.ratio_spacing(mass, TENSOR),
        rule=population.quadrature_weights(options.mass_ratio_nodes),
        fraction=p.binary_fraction, slope=p.mass_ratio_slope, mass_min=options.mass_min, last=last,
        n_light=len(bands),
    )  # fmt: skip
    return ModelTracks(*parts)


def log_detection(
    model: ModelTracks, scatter: Any, p: ClusterParameters, options: ClusterOptions,
    terms: StarTerms,
) -> Any:  # fmt: skip
    """Log of the share of all stars on the tracks that pass the magnitude limits, if there are any.

    Without limits it is that of all of them, which is a little above 0 where masses fall and rise
    again along the isochrone. Where the limits let none pass it is infinite: no star of the
    catalog can be a member then.
    """
    selection = options.selection
    if selection is None:
        return pt.log(model.weights.sum())
    b = terms.bands.index(selection.band)
    variance = scatter[b] ** 2 * pt.ones_like(model.weights)
    if not is_zero(p.av_scatter):
        red = model.directions[0, b]
        variance += (p.av_scatter * 0.5 * (red[1:] + red[:-1])) ** 2
    z = selection_integral(
        model.tracks[b], model.weights, model.tilts, model.scale, variance,
        limits=(selection.bright, selection.faint), errors=terms.limit_errors,
    )  # fmt: skip
    some = z > _LEAST_DETECTION
    return pt.switch(some, pt.log(pt.switch(some, z, 1.0)), np.inf)


def log_parallax(p: ClusterParameters, terms: StarTerms) -> Any:
    """Log density (N,) of the measured parallaxes at the cluster's distance; 0 without."""
    if terms.parallax is None:
        return 0.0
    expected = 100.0 * 10.0 ** (-0.2 * p.true_distance_modulus(TENSOR)) + p.parallax_zero_point
    deviation = (terms.parallax - expected) / terms.parallax_err
    log_norm = pt.log(terms.parallax_err) + 0.5 * math.log(2.0 * math.pi)
    measured = pt.isfinite(log_norm)
    return pt.switch(measured, -0.5 * deviation**2 - pt.switch(measured, log_norm, 0.0), 0.0)


def assemble_logp(
    grid: IsochroneGrid, p: ClusterParameters, options: ClusterOptions, terms: StarTerms
) -> TensorVariable:
    """Put the steps together; arguments have been checked."""
    model = model_tracks(grid, terms.bands, p, options)
    scatter = pt.as_tensor(p.intrinsic_scatter, dtype="float64") * pt.ones(len(terms.bands))
    log_z = log_detection(model, scatter, p, options, terms)
    ones = pt.ones_like(terms.log_field)
    member = (1.0 - p.field_fraction) * ones
    if terms.membership_prior is not None:
        member = member * terms.membership_prior
    spread = pt.zeros(0) if is_zero(p.av_scatter) else pt.as_tensor(p.av_scatter)[None]
    logp = cluster_likelihood(
        mag=terms.mag,
        variance=terms.variance + scatter**2,
        **vars(model),
        spread=spread,
        offset=pt.zeros((0, 0)),
        member=member,
        log_member=(log_parallax(p, terms) - log_z) * ones,
        log_field=terms.log_field,
    )
    # The kernel leaves out what is not near a star, and would leave out NaN as well.
    known = pt.isfinite(
        model.tracks[0].sum() + model.weights.sum() + p.true_distance_modulus(TENSOR)
        + p.parallax_zero_point
    )  # fmt: skip
    return pt.switch(inside_support(grid, p), pt.switch(known, logp, np.nan), -np.inf)


def cluster_logp(iso: IsochroneGrid, catalog: StarCatalog, **parameters: Any) -> TensorVariable:
    """Log-likelihood of each star of a cluster, differentiable in every parameter.

    For star i with membership w_i = c_i (1 - field_fraction), c_i the catalog's prior,

        L_i = w_i / Z int dM dq pi(M) pi(q) N(x_i | y(M, q), S_i) N(parallax_i) + (1 - w_i) F_i

    (the mixture of brutus, Speagle et al. 2025, with the integral taken along the isochrone and
    the normalization Z of the selection). The point outside the support of a parameter, or of the
    isochrones, has log-likelihood -inf.

    Parameters
    ----------
    iso : IsochroneGrid
        Isochrones; their nodes are the nodes of the integral.
    catalog : StarCatalog
        N stars in B bands.
    **parameters
        Numbers or PyTensor expressions: ``feh`` (dex), ``log_age`` (log10 yr), either
        ``distance_modulus`` (mag) or ``distance_pc``, ``av`` (mag, default 0), ``rv`` (3.1),
        ``field_fraction`` (0), ``binary_fraction`` (0), ``mass_ratio_slope`` (0),
        ``intrinsic_scatter`` (mag, 0; a scalar or one for each band), ``av_scatter`` (mag, 0),
        ``parallax_zero_point`` (mas, 0), ``imf`` (`Kroupa()`), ``corrections`` (None, or
        `EmpiricalCorrections`). Fixed options: ``field`` (`UniformField()`), ``selection`` (None,
        or `MagnitudeLimits`), ``mass_min`` (0.1 Msun), ``eep_max`` (808), ``binary_eep_max``
        (480), ``mass_ratio_min`` (0.1), ``mass_ratio_nodes`` (45) and
        ``node_pieces`` (1; 71 and 2 are the finer setting of the page on accuracy).

    Returns
    -------
    TensorVariable
        Shape (N,), natural log of 1/mag^(bands of the star), and 1/mas with a parallax.

    Raises
    ------
    ValueError
        For numbers and priors outside the grid, fractions outside 0 to 1, no or two distances,
        unknown bands, stars outside the selection. The message says which, and what to do.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> iso, cat = psp.load_isochrones(), psp.load_example("ruprecht147")
    >>> logp = psp.cluster_logp(iso, cat, feh=0.1, log_age=9.4, distance_pc=305.0, av=0.3,
    ...                         field_fraction=0.1, intrinsic_scatter=0.02)
    >>> logp.eval().shape
    (440,)
    """
    p, options = split_arguments(parameters)
    check_catalog(iso, catalog, options)
    check_cluster(iso, p, options, bands=catalog.bands)
    p = p.map_values(as_float64)
    return assemble_logp(iso, p, options, star_terms(catalog, p, options))
