"""The likelihood that is sampled against the staged form on grids finer than the errors."""

import numpy as np
import pytensor
import pytest
from pytensor import tensor as pt

import pymc_starpop as psp
from staged_fixtures import (
    BANDS,
    CLUSTERS,
    fine_population,
    in_flux,
    inflated_field,
    log_parallax,
    magnitude_detection,
    make_catalog,
    mixed,
    staged_logp,
    uniform_field,
)
from tolerances import NATS_STAGED_WORST, assert_close, assert_gradient_close

FREE = (*CLUSTERS["middle"], "field_fraction", "binary_fraction", "mass_ratio_slope")


@pytest.fixture(scope="module")
def catalogs(iso):
    return {name: make_catalog(iso, cluster) for name, cluster in CLUSTERS.items()}


def compile_logp(iso, catalog, **options):
    variables = {name: pt.dscalar(name) for name in FREE}
    logp = psp.cluster_logp(iso, catalog, **variables, **options)
    function = pytensor.function(list(variables.values()), logp, mode="FAST_COMPILE")
    return lambda point: function(*(point[name] for name in FREE))


@pytest.mark.parametrize("binary_fraction", [0.0, 0.4], ids=["single", "binaries"])
@pytest.mark.parametrize("name", CLUSTERS)
def test_likelihood_is_the_staged_form(iso, catalogs, name, binary_fraction):
    cluster, catalog = CLUSTERS[name], catalogs[name]
    binaries = {"binary_fraction": binary_fraction, "mass_ratio_slope": 0.4}
    point = cluster | binaries | {"field_fraction": 0.25}
    fused = compile_logp(iso, catalog)(point)
    population = fine_population(iso, BANDS, **cluster, **binaries)
    expected = staged_logp(
        catalog.mag, catalog.mag_err, population, field=uniform_field(catalog),
        field_fraction=0.25, membership_prior=catalog.membership_prior,
        log_member=log_parallax(catalog, cluster),
    )  # fmt: skip
    assert np.abs(fused - expected).max() < NATS_STAGED_WORST


@pytest.mark.parametrize("name", ["middle", "old"])
def test_selection_and_differential_extinction(iso, catalogs, name):
    """The share of members that pass the limits, and a covariance that follows the grid."""
    cluster, catalog = CLUSTERS[name], catalogs[name]
    faint = float(np.nanmedian(catalog.mag[:, 0]))
    limits = psp.MagnitudeLimits(BANDS[0], cluster["distance_modulus"] - 1.0, faint, error=0.1)
    catalog = catalog.select(limits.mask(catalog))
    assert 5 < catalog.n_star < 20
    binaries = {"binary_fraction": 0.3, "mass_ratio_slope": -0.5}
    point = cluster | binaries | {"field_fraction": 0.25}
    options = {"av_scatter": 0.15, "intrinsic_scatter": 0.03, "selection": limits}
    fused = compile_logp(iso, catalog, **options)(point)
    population = fine_population(iso, BANDS, **cluster, **binaries, directions=["av"])
    error_at_limit = np.hypot(0.1, 0.03)
    expected = staged_logp(
        catalog.mag, np.hypot(catalog.mag_err, 0.03), population, field_fraction=0.25,
        field=uniform_field(catalog, limits), membership_prior=catalog.membership_prior,
        log_member=log_parallax(catalog, cluster), spread=[0.15],
        detection=magnitude_detection(0, limits.bright, faint, error_at_limit, [0.15]),
    )  # fmt: skip
    assert np.abs(fused - expected).max() < NATS_STAGED_WORST


def test_two_populations_on_one_grid_are_the_mixture_of_both(iso, catalogs):
    """The integral over both is the sum of the integrals."""
    catalog = catalogs["middle"]
    shares = [(0.3, CLUSTERS["middle"]), (0.7, CLUSTERS["middle"] | {"feh": 0.2})]
    both = [(share, fine_population(iso, BANDS, **cluster)) for share, cluster in shares]
    stars = catalog.mag, catalog.mag_err
    each = [np.log(share) + staged_logp(*stars, population) for share, population in both]
    assert_close(staged_logp(*stars, mixed(*both)), np.logaddexp(*each), "kernel")


def test_no_scatter_is_no_covariance(iso, catalogs):
    """A grid with directions and a spread of zero gives what the grid alone does."""
    catalog = catalogs["old"]
    population = fine_population(
        iso, BANDS, **CLUSTERS["old"], directions=["av", "distance_modulus"], step=0.1
    )
    stars = catalog.mag, catalog.mag_err, population
    plain = staged_logp(*stars)
    nothing = np.zeros_like(population.grid["photometry"])
    with_zeros = staged_logp(*stars, spread=[0.0, 0.0], variance=nothing)
    assert_close(with_zeros, plain, "kernel")
    wide = inflated_field(catalog.mag, catalog.mag_err, 0.0)
    assert_close(staged_logp(*stars, field=wide, field_fraction=0.4), plain, "kernel")
    more = staged_logp(catalog.mag, catalog.mag_err, population, variance=nothing + 0.1**2)
    errors = np.hypot(catalog.mag_err, 0.1)
    assert_close(more, staged_logp(catalog.mag, errors, population), "kernel")
    one = iso.at(CLUSTERS["old"]["feh"], CLUSTERS["old"]["log_age"], BANDS, av=0.05)
    more = iso.at(one.feh, one.log_age, BANDS, av=0.06)
    slopes = (more.abs_mag - one.abs_mag) / 0.01
    points = np.searchsorted(population.grid["eep"], [300, 450, 700])
    eep = iso.eep_at(one.feh, one.log_age)
    nodes = np.searchsorted(eep, population.grid["eep"][points])
    np.testing.assert_allclose(population.directions[0][points], slopes[nodes], rtol=0.02)


def test_fluxes_of_a_population(iso):
    """Fluxes are 1 at the zero point, and so are their derivatives those of fluxes."""
    population = fine_population(iso, BANDS, **CLUSTERS["old"], directions=["av"], step=0.1)
    in_fluxes = in_flux(population, zero_point=21.0)
    flux, mag = in_fluxes.grid["photometry"], population.grid["photometry"]
    assert_close(-2.5 * np.log10(flux) + 21.0, mag, "same_formula")
    above, below = (
        10.0 ** (-0.4 * (mag + h * population.directions - 21.0)) for h in (1e-5, -1e-5)
    )
    assert_gradient_close(in_fluxes.directions, (above - below) / 2e-5)
