"""Every field model, with selection, fluxes, differential extinction and two populations.

The likelihood that is sampled against the staged form on fine grids; the gradients of the same
options are checked in tests/likelihoods/test_cluster_options.py.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special

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
    scattered,
    staged_logp,
)
from tolerances import NATS_STAGED_WORST

CLUSTER = CLUSTERS["middle"]
SECOND = {"fraction": 0.3, "feh": 0.1, "log_age": 9.2}
BINARIES = {"binary_fraction": 0.3, "mass_ratio_slope": 0.4}
AV_SCATTER, SCALE, FIELD_FRACTION = 0.15, 4.0, 0.25
LN_PER_MAG = 0.4 * np.log(10.0)


@pytest.fixture(scope="module")
def magnitudes(iso):
    """The brighter half of a catalog, as limits in one band leave it."""
    catalog = make_catalog(iso, CLUSTER)
    faint = float(np.nanmedian(catalog.mag[:, 0]))
    limits = psp.MagnitudeLimits(BANDS[0], CLUSTER["distance_modulus"] - 1.0, faint, error=0.1)
    catalog = catalog.select(limits.mask(catalog))
    assert 5 < catalog.n_star < 20
    return catalog, limits


@pytest.fixture(scope="module")
def fluxes(magnitudes):
    """The same stars in flux, and one with a flux below zero."""
    catalog, limits = magnitudes
    flux = 10.0 ** (-0.4 * (catalog.mag - 22.5))
    error = LN_PER_MAG * flux * catalog.mag_err
    flux[4, 2] = -0.5 * error[4, 2]
    columns = {k: getattr(catalog, k) for k in ("parallax", "parallax_err", "membership_prior")}
    return psp.StarCatalog.from_flux(flux, error, bands=BANDS, **columns), limits


@pytest.fixture(scope="module")
def population(iso):
    """Two populations with companions, and how they move with A_V."""
    own = {k: v for k, v in SECOND.items() if k != "fraction"}
    shares = (0.7, CLUSTER), (0.3, CLUSTER | own)
    options = BINARIES | {"directions": ["av", "distance_modulus"]}
    return mixed(*((w, fine_population(iso, BANDS, **c, **options)) for w, c in shares))


def control_field(catalog):
    """Learned from 300 stars with colors of their own; fluxes are those of the same stars."""
    rng = np.random.default_rng(3)
    mag = rng.uniform(9.0, 16.0, (300, 1)) + [0.0, 0.6, -1.5] + 0.3 * rng.normal(size=(300, 3))
    error = np.full(mag.shape, 0.05)
    if not catalog.is_flux:
        return psp.ControlField(psp.StarCatalog(mag, error, bands=BANDS))
    flux = 10.0 ** (-0.4 * (mag - 22.5))
    control = psp.StarCatalog.from_flux(flux, LN_PER_MAG * flux * error, bands=BANDS)
    return psp.ControlField(control)


FIELDS = {
    "uniform": lambda catalog: psp.UniformField(),
    "chi-square": lambda catalog: psp.ChiSquareField(),
    "inflated scatter": lambda catalog: psp.InflatedScatterField(SCALE),
    "control field": control_field,
    "log densities": lambda catalog: np.linspace(-9.0, -5.0, catalog.n_star),
}


def staged_field(field, catalog, limits, detection):
    """Log density of field stars, at each star or at each point and star."""
    if isinstance(field, np.ndarray):
        return lambda population: field
    if isinstance(field, psp.ChiSquareField):
        variance = np.column_stack([catalog.errors**2, catalog.parallax_err**2])
        log_norm = 0.5 * np.nansum(np.log(variance), axis=1)
        n_measured = np.isfinite(variance).sum(axis=1)
        return lambda population: field.log_constant(n_measured) - log_norm
    if isinstance(field, psp.InflatedScatterField):
        width = np.log(np.ptp(catalog.parallax))
        gaussian = inflated_field(catalog.values, catalog.errors, SCALE, [AV_SCATTER, 0.0])
        passed = detection(np.sqrt(1.0 + SCALE**2))
        return lambda population: (
            gaussian(population) - np.log(population.weight @ passed(population)) - width
        )
    return lambda population: field.log_density(catalog, limits)


def flux_detection(limits, error, spread, inflation=1.0):
    """Probability that a point passes limits on the observed flux of the first band."""
    ends = [10.0 ** (-0.4 * (m - 22.5)) for m in (limits.faint, limits.bright)]

    def probability(population):
        flux, along = population.grid["photometry"][:, 0], population.directions[0][:, 0]
        low, high = (
            special.ndtr(
                (flux - end) / (inflation * np.hypot(LN_PER_MAG * error * end, spread * along))
            )
            for end in ends
        )
        return low - high

    return probability


def fused(iso, catalog, limits, field, **options):
    second = psp.SecondPopulation(**SECOND)
    parameters = CLUSTER | BINARIES | {"field_fraction": FIELD_FRACTION, "field": field}
    logp = psp.cluster_logp(
        iso, catalog, **parameters, selection=limits, second_population=second, **options
    )
    return logp.eval(mode="FAST_COMPILE")


@pytest.mark.parametrize("name", FIELDS)
def test_in_magnitudes(iso, magnitudes, population, name):
    catalog, limits = magnitudes
    field = FIELDS[name](catalog)

    def detection(inflation=1.0):
        spread = [AV_SCATTER * inflation]
        return magnitude_detection(0, limits.bright, limits.faint, 0.1 * inflation, spread)

    got = fused(iso, catalog, limits, field, av_scatter=AV_SCATTER)
    expected = staged_logp(
        catalog.mag, catalog.mag_err, population, field_fraction=FIELD_FRACTION,
        field=staged_field(field, catalog, limits, detection), spread=[AV_SCATTER, 0.0],
        membership_prior=catalog.membership_prior, detection=detection(),
        log_member=log_parallax(catalog, CLUSTER),
    )  # fmt: skip
    print(f"{name}: worst star {np.abs(got - expected).max():.4f} nat")
    assert np.abs(got - expected).max() < NATS_STAGED_WORST


@pytest.mark.parametrize("name", FIELDS)
def test_in_flux(iso, fluxes, population, name):
    catalog, limits = fluxes
    field, spread = FIELDS[name](catalog), [AV_SCATTER, 0.0]

    def detection(inflation=1.0):
        return flux_detection(limits, 0.1, AV_SCATTER, inflation)

    got = fused(iso, catalog, limits, field, av_scatter=AV_SCATTER)
    mean = in_flux(population, spread=spread)
    expected = staged_logp(
        catalog.flux, catalog.flux_err, mean, field_fraction=FIELD_FRACTION,
        field=staged_field(field, catalog, limits, detection), spread=spread,
        membership_prior=catalog.membership_prior, detection=detection(),
        log_member=log_parallax(catalog, CLUSTER),
    )  # fmt: skip
    print(f"{name}, in flux: worst star {np.abs(got - expected).max():.4f} nat")
    assert np.abs(got - expected).max() < NATS_STAGED_WORST


@pytest.mark.parametrize("units", ["magnitudes", "flux"])
def test_differential_extinction_is_a_sum_over_extinctions(
    request, iso, magnitudes, population, units
):
    """No direction and no covariance: every point once for each of nine values of A_V."""
    catalog, limits = magnitudes if units == "magnitudes" else request.getfixturevalue("fluxes")
    sums = scattered(population, AV_SCATTER)
    if catalog.is_flux:
        sums, detection = in_flux(sums), flux_detection(limits, 0.1, 0.0)
    else:
        detection = magnitude_detection(0, limits.bright, limits.faint, 0.1)
    got = fused(iso, catalog, limits, psp.UniformField(), av_scatter=AV_SCATTER)
    expected = staged_logp(
        catalog.values, catalog.errors, sums, field_fraction=FIELD_FRACTION,
        field=staged_field(psp.UniformField(), catalog, limits, None), detection=detection,
        membership_prior=catalog.membership_prior, log_member=log_parallax(catalog, CLUSTER),
    )  # fmt: skip
    print(f"sum over A_V, in {units}: worst star {np.abs(got - expected).max():.4f} nat")
    assert np.abs(got - expected).max() < NATS_STAGED_WORST


def test_completeness(iso, magnitudes, population):
    """Within the integral, and in its normalization; the uniform field follows it as well."""
    catalog, limits = magnitudes
    curve = psp.LogisticCompleteness(0.9, limits.faint - 1.0, 0.5)
    limits = replace(limits, completeness=curve)
    passed = magnitude_detection(0, limits.bright, limits.faint, 0.1, [0.0])

    def inside(population):
        return curve(population.grid["photometry"][:, 0])

    got = fused(iso, catalog, limits, psp.UniformField())
    expected = staged_logp(
        catalog.mag, catalog.mag_err, population, field_fraction=FIELD_FRACTION,
        field=staged_field(psp.UniformField(), catalog, limits, None), inside=inside,
        membership_prior=catalog.membership_prior, log_member=log_parallax(catalog, CLUSTER),
        detection=lambda population: passed(population) * inside(population),
    )  # fmt: skip
    assert np.abs(got - expected).max() < NATS_STAGED_WORST


def test_depth_along_the_line_of_sight(iso, magnitudes, population):
    """Parallaxes apart, which follow the distance of each star."""
    catalog, limits = magnitudes
    catalog = replace(catalog, parallax=None, parallax_err=None)
    scatter = [AV_SCATTER, 0.1]
    got = fused(
        iso, catalog, limits, psp.UniformField(), av_scatter=scatter[0],
        distance_modulus_scatter=scatter[1],
    )  # fmt: skip
    expected = staged_logp(
        catalog.mag, catalog.mag_err, population, field_fraction=FIELD_FRACTION,
        field=staged_field(psp.UniformField(), catalog, limits, None), spread=scatter,
        membership_prior=catalog.membership_prior,
        detection=magnitude_detection(0, limits.bright, limits.faint, 0.1, scatter),
    )  # fmt: skip
    assert np.abs(got - expected).max() < NATS_STAGED_WORST


def test_an_age_spread_is_many_isochrones(iso, magnitudes):
    """Nine smeared isochrones against a Gaussian of 61 ages."""
    catalog, limits = magnitudes
    catalog = replace(catalog, parallax=None, parallax_err=None)
    sigma = 0.04
    places = np.linspace(-4.0, 4.0, 61)
    shares = np.exp(-0.5 * places**2)
    each = [
        (w, fine_population(iso, BANDS, **(CLUSTER | {"log_age": CLUSTER["log_age"] + x * sigma})))
        for w, x in zip(shares / shares.sum(), places, strict=True)
    ]
    expected = staged_logp(
        catalog.mag, catalog.mag_err, mixed(*each), field_fraction=FIELD_FRACTION,
        field=staged_field(psp.UniformField(), catalog, limits, None),
        membership_prior=catalog.membership_prior,
        detection=magnitude_detection(0, limits.bright, limits.faint, 0.1),
    )  # fmt: skip
    parameters = CLUSTER | {"log_age_scatter": sigma, "field_fraction": FIELD_FRACTION}
    got = psp.cluster_logp(iso, catalog, selection=limits, **parameters).eval(mode="FAST_COMPILE")
    print(f"age spread: worst star {np.abs(got - expected).max():.4f} nat")
    assert np.abs(got - expected).max() < NATS_STAGED_WORST
