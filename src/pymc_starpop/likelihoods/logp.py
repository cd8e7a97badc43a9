"""The log-likelihood of the stars of one cluster, or of several."""

from collections.abc import Mapping
from typing import Any

from pytensor import tensor as pt
from pytensor.tensor import TensorVariable

from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.likelihoods.checks import checked_cluster
from pymc_starpop.likelihoods.cluster import as_float64
from pymc_starpop.likelihoods.single import single_logp
from pymc_starpop.likelihoods.stacked import stacked_logp
from pymc_starpop.likelihoods.stars import star_terms
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.stacked import StackedCatalog

__all__ = ["cluster_logp", "logp_of_stars"]


def cluster_logp(
    iso: IsochroneGrid | Mapping[str, IsochroneGrid],
    catalog: StarCatalog | StackedCatalog,
    **parameters: Any,
) -> TensorVariable:
    """Log-likelihood of each star of a cluster, or of several, differentiable in every parameter.

    For star i with membership w_i = c_i (1 - field_fraction), c_i the catalog's prior,

        L_i = int dM dq pi(M) pi(q) [w_i c(m) N(x_i | y(M, q), S_i) / Z + (1 - w_i) F_i]

    with the data x_i (magnitudes or fluxes; T_eff, [Fe/H] and parallax where the catalog has
    them), the completeness c and the normalization Z of the selection. It is the mixture of brutus
    (Speagle et al. 2025) with the integral taken along the isochrone. Outside the support of a
    parameter, or of the isochrones, the log-likelihood is -inf.

    Parameters
    ----------
    iso : IsochroneGrid, or a mapping of them by cluster
        Isochrones; their nodes are the nodes of the integral.
    catalog : StarCatalog or StackedCatalog
        N stars in B bands; of C clusters where it is a stack.
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
        - ``grey_scatter`` (0): standard deviation of a shift between stars that is the same in all
          bands, mag; parallaxes do not follow it.
        - ``log_teff_scatter`` (0): standard deviation of log10 T_eff between stars of one
          luminosity, dex; each band moves as the bolometric corrections have it, and so do
          spectroscopic temperatures.
        - ``log_age_scatter`` (0): standard deviation of log10 age between stars, dex.
        - ``parallax_zero_point`` (0): added to the parallax that the distance predicts, mas.
        - ``second_population`` (None): a `SecondPopulation`.
        - ``imf`` (`Kroupa()`): mass function of primaries, whose parameters may be expressions.
        - ``corrections`` (None): `MagnitudeCorrections` or `EmpiricalCorrections`, likewise, one of
          your own (`Corrections`), or a tuple of several, applied in that order.

        Options, which are no expressions:

        - ``field`` (`UniformField()`): density of field stars: also `ControlField`,
          `InflatedScatterField` (its scale may be an expression), `ChiSquareField`,
          `FieldDensity`, or a vector (N,) of log densities, which may be an expression.
        - ``member_logp``, ``field_logp`` (None): vectors (N,) of log densities of further data of
          the stars, such as `proper_motion_logp`, for members and for field stars; numbers or
          expressions, 0 where a star has none.
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

        With a stack of C clusters every parameter is a scalar, the same for all, or a vector (C,)
        in the order of ``catalog.cluster_names``; also those of ``imf``, ``corrections``,
        ``second_population`` and ``InflatedScatterField``. ``intrinsic_scatter`` and
        ``zero_points`` are (C,), (B,) or (C, B), ``av`` (C,) or (N,), coefficients of
        `MagnitudeCorrections` (band, knot) or (cluster, band, knot). Of ``iso``, ``field``,
        ``selection`` and ``age_distribution`` there is one for all, or a mapping by the name of
        the cluster; of ``member_logp`` and ``field_logp`` a vector (N,) or such a mapping.

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
        says which, and what to do; of a stack, in which cluster. For more than three ways in which
        stars differ (a scatter of A_V, distance, brightness or T_eff, a spread of ages), and for
        ``log_teff_scatter`` in bands with tabulated magnitudes. For a vector whose length fits
        clusters and bands it says how to label it. For corrections without one of the bands, and
        log densities of further data that are not finite or of another length.
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

    Two clusters, of different ages and of one [Fe/H]:

    >>> young = psp.simulate_cluster(iso, n_star=20, bands=cat.bands, mag_err=0.02, rng=1, feh=0.1,
    ...                              log_age=8.5, distance_pc=800.0)
    >>> both = psp.StarCatalog.stack({"ngc 1": young, "rup 147": cat})
    >>> logp = psp.cluster_logp(iso, both, feh=0.1, log_age=[8.5, 9.4], distance_pc=[800.0, 305.0],
    ...                         field_fraction=0.1, intrinsic_scatter=0.02)
    >>> logp.eval().shape
    (460,)
    """
    return pt.specify_shape(logp_of_stars(iso, catalog, parameters), catalog.n_star)


def logp_of_stars(
    iso: Any, catalog: StarCatalog | StackedCatalog, parameters: Mapping[str, Any]
) -> TensorVariable:
    """Return `cluster_logp` without the number of stars in its type.

    A number of stars in the graph would be compiled into the code; this code serves any number.
    """
    if isinstance(catalog, StackedCatalog):
        return stacked_logp(iso, catalog, parameters)
    p, options = checked_cluster(iso, catalog, parameters)
    p = p.map_values(as_float64)
    return single_logp(iso, p, options, star_terms(catalog, p, options))
