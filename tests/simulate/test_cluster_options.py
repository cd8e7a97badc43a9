"""Simulated clusters with stars that differ: moments of every option."""

import numpy as np
import pytensor.tensor as pt
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import pymc_starpop as psp
from pymc_starpop.isochrones import magnitudes

BANDS = ("Gaia_G_EDR3", "2MASS_Ks")
TRUTH = {"feh": -0.1, "log_age": 9.2, "distance_modulus": 9.0}
FIELD = psp.UniformField(
    mag_range=(10.0, 18.0), color_ranges={("2MASS_Ks", "Gaia_G_EDR3"): (-4.0, 0.0)},
    parallax_range=(-1.0, 3.0), teff_range=(3000.0, 7000.0), feh_range=(-1.0, 1.0),
)  # fmt: skip
# Chance of a false alarm of each statistical test; the seeds are fixed.
LEAST_P = 1e-3
QUIET = 1e-9


def simulate(iso, n_star=3000, rng=5, **options):
    return psp.simulate_cluster(iso, n_star=n_star, bands=BANDS, rng=rng, **(TRUTH | options))


def residuals(iso, cat, truth=TRUTH, **at):
    """Magnitudes (n, B) less those of a single star of the same mass, and where masses are fit."""
    one = iso.at(truth["feh"], truth["log_age"], BANDS, **at)
    rising = one.eep < 450
    mass = cat.extra["initial_mass"]
    model = [np.interp(mass, one.initial_mass[rising], m) for m in one.abs_mag[rising].T]
    inner = (mass > 0.12) & (mass < 1.3)
    return (cat.mag - np.transpose(model) - TRUTH["distance_modulus"])[inner], inner


def test_zero_points(coarse):
    plain, moved = simulate(coarse), simulate(coarse, zero_points=[0.1, -0.2])
    assert_allclose(moved.mag - plain.mag, np.broadcast_to([0.1, -0.2], plain.mag.shape))


def test_depth_moves_magnitudes_and_parallaxes_together(coarse):
    cat = simulate(coarse, distance_modulus_scatter=0.2, mag_err=QUIET, parallax_err=QUIET)
    away, inner = residuals(coarse, cat)
    assert_allclose(away[:, 0], away[:, 1], atol=1e-6)
    assert stats.kstest(away[:, 0] / 0.2, "norm").pvalue > LEAST_P
    modulus = cat.extra["distance_modulus"]
    assert_allclose(modulus[inner] - TRUTH["distance_modulus"], away[:, 0], atol=1e-6)
    assert_allclose(cat.parallax, 100.0 * 10.0 ** (-0.2 * modulus), rtol=1e-6)


def test_brightness_scatters_without_the_distance(coarse):
    cat = simulate(coarse, grey_scatter=0.03, mag_err=QUIET, parallax_err=QUIET)
    away, inner = residuals(coarse, cat)
    assert_allclose(away[:, 0], away[:, 1], atol=1e-6)
    assert stats.kstest(away[:, 0] / 0.03, "norm").pvalue > LEAST_P
    assert_allclose(cat.extra["grey_shift"][inner], away[:, 0], atol=1e-6)
    assert_allclose(cat.parallax, 100.0 * 10.0 ** (-0.2 * TRUTH["distance_modulus"]), rtol=1e-6)
    assert "distance_modulus" not in cat.extra


def test_temperature_scatters_at_fixed_luminosity(coarse):
    """Residuals of each band along the change of the corrections, temperatures with them."""
    cat = simulate(coarse, log_teff_scatter=0.004, mag_err=QUIET, teff_err=QUIET)
    shift = cat.extra["log_teff_shift"]
    assert stats.kstest(shift / 0.004, "norm").pvalue > LEAST_P
    away, inner = residuals(coarse, cat)
    one = coarse.at(TRUTH["feh"], TRUTH["log_age"], BANDS)
    low, high = (
        coarse.bolometric(BANDS).interpolate(one.log_teff + d, one.log_g, TRUTH["feh"])[..., 0]
        for d in (-0.01, 0.01)
    )
    rising, mass = one.eep < 450, cat.extra["initial_mass"][inner]
    slope = [np.interp(mass, one.initial_mass[rising], s[rising]) for s in ((low - high) / 0.02).T]
    assert_allclose(away, shift[inner, None] * np.transpose(slope), atol=1e-6)
    teff = np.interp(mass, one.initial_mass[rising], 10.0 ** one.log_teff[rising])
    assert_allclose(cat.teff[inner], teff * 10.0 ** shift[inner], rtol=1e-6)


def test_bands_scatter_together(coarse):
    """The covariance of the residuals of stars like one another: a grey part and one by slope."""
    scatter = {"grey_scatter": 0.03, "log_teff_scatter": 0.01, "intrinsic_scatter": 0.01}
    cat = simulate(coarse, n_star=30_000, mag_err=QUIET, **scatter)
    away, inner = residuals(coarse, cat)
    mass = cat.extra["initial_mass"][inner]
    near = np.abs(mass - 0.8) < 0.05
    found = np.cov(away[near].T)
    track = magnitudes.model_magnitudes(
        coarse, BANDS, (TRUTH["feh"], TRUTH["log_age"]), with_teff_slope=True
    )
    place = np.argmin(np.abs(10.0**track.log10_mass - 0.8)[coarse.eep < 450])
    u = track.teff_slope[place]
    expected = 0.03**2 + 0.01**2 * np.outer(u, u) + 0.01**2 * np.eye(2)
    # Of variances from n stars, and along the slope between 0.75 and 0.85 Msun.
    error = np.sqrt(2.0 / near.sum()) * 0.06**2
    assert_allclose(found, expected, atol=5.0 * error)
    assert abs(found[0, 1] - 0.03**2) > 5.0 * error


def test_both_stars_of_a_binary_scatter_alike(coarse):
    """Where they are twins, a binary moves as one of them does."""
    cat = simulate(
        coarse, log_teff_scatter=0.004, grey_scatter=0.02, mag_err=QUIET, binary_fraction=1.0,
        mass_ratio_min=0.999,
    )  # fmt: skip
    single = simulate(coarse, log_teff_scatter=0.004, grey_scatter=0.02, mag_err=QUIET)
    double = 2.5 * np.log10(2.0)

    def by_shift(cat, offset):
        away, inner = residuals(coarse, cat)
        mass = cat.extra["initial_mass"][inner]
        near = np.abs(mass - 0.5) < 0.05
        warm = cat.extra["log_teff_shift"][inner][near]
        grey = cat.extra["grey_shift"][inner][near]
        return np.polyfit(warm, away[near, 0] + offset - grey, 1)[0]

    assert_allclose(by_shift(cat, double), by_shift(single, 0.0), rtol=0.03)


def test_extinction_of_each_star(coarse):
    """Every star is as red as an isochrone at its own A_V, also where extinction is not linear."""
    av = np.random.default_rng(2).uniform(0.0, 3.5, 400)
    cat = simulate(coarse, n_star=400, av=av, mag_err=QUIET)
    assert_array_equal(cat.extra["av"], av)
    for row in range(0, 400, 40):
        away, inner = residuals(coarse, cat.select([row]), av=av[row])
        if inner.any():
            assert_allclose(away, 0.0, atol=1e-6)
    # Also where stars are drawn again.
    limits = psp.MagnitudeLimits(BANDS[0], 12.0, 17.0)
    cut = simulate(coarse, n_star=400, av=av, mag_err=QUIET, selection=limits, field_fraction=0.3,
                   field=FIELD)  # fmt: skip
    members = ~cut.extra["is_field"]
    assert_array_equal(cut.extra["av"][members], av[members])
    limits.check(cut)


def test_differential_extinction_is_told(coarse):
    cat = simulate(coarse, av=1.0, av_scatter=0.1)
    assert stats.kstest((cat.extra["av"] - 1.0) / 0.1, "norm").pvalue > LEAST_P


def test_age_spread(coarse):
    cat = simulate(coarse, log_age_scatter=0.1, mag_err=QUIET)
    ages = cat.extra["log_age"]
    assert stats.kstest((ages - TRUTH["log_age"]) / 0.1, "norm").pvalue > LEAST_P
    for row in np.argsort(cat.extra["initial_mass"])[::300]:
        away, _ = residuals(coarse, cat.select([row]), TRUTH | {"log_age": ages[row]})
        # Between isochrones 0.01 dex apart a straight line is good to about a thousandth.
        assert_allclose(away, 0.0, atol=3e-3)
    tops = {a: coarse.at(TRUTH["feh"], a, BANDS) for a in np.unique(ages.round(1))}
    for age, one in tops.items():
        near = np.abs(ages - age) < 0.01
        top = one.initial_mass[one.eep <= 808].max()
        assert cat.extra["initial_mass"][near].max(initial=0.0) < 1.03 * top


def test_a_given_age_distribution(coarse):
    ages = psp.AgeDistribution([8.9, 9.4], [1.0, 3.0], width=0.02)
    cat = simulate(coarse, log_age=None, age_distribution=ages)
    drawn = cat.extra["log_age"]
    old = drawn > 9.15
    assert stats.binomtest(int(old.sum()), old.size, 0.75).pvalue > LEAST_P
    assert stats.kstest((drawn[old] - 9.4) / 0.02, "norm").pvalue > LEAST_P
    assert stats.kstest((drawn[~old] - 8.9) / 0.02, "norm").pvalue > LEAST_P


def test_two_populations(coarse):
    second = psp.SecondPopulation(0.3, feh=0.2, log_age=9.0, binary_fraction=1.0)
    cat = simulate(coarse, second_population=second, feh_err=1e-6, field_fraction=0.2, field=FIELD)
    member = ~cat.extra["is_field"]
    number = cat.extra["population"]
    assert_array_equal(number == -1, ~member)
    assert stats.binomtest(int((number == 1).sum()), int(member.sum()), 0.3).pvalue > LEAST_P
    assert_allclose(cat.feh[member], np.where(number[member] == 1, 0.2, -0.1), atol=1e-4)
    assert stats.kstest((cat.feh[~member] + 1.0) / 2.0, "uniform").pvalue > LEAST_P
    assert_array_equal(cat.extra["log_age"][member], np.where(number[member] == 1, 9.0, 9.2))
    low = member & (cat.extra["initial_mass"] < 1.5)
    assert_array_equal(cat.extra["mass_ratio"][low] > 0.0, number[low] == 1)


def test_completeness_counts_before_noise(coarse):
    """With a step at the true magnitude, noise carries stars beyond it."""
    step = psp.MagnitudeLimits(BANDS[0], completeness=lambda m: np.where(m < 15.0, 1.0, 0.0))
    cat = simulate(coarse, selection=step, mag_err=0.1)
    assert cat.mag[:, 0].max() > 15.05
    assert (simulate(coarse, selection=step, mag_err=QUIET).mag[:, 0] < 15.0).all()
    half = psp.MagnitudeLimits(BANDS[0], completeness=lambda m: np.where(m < 15.0, 1.0, 0.5))
    free, thin = simulate(coarse, n_star=20000), simulate(coarse, n_star=20000, selection=half)
    odds = [(c.mag[:, 0] < 15.0).mean() / (c.mag[:, 0] >= 15.0).mean() for c in (free, thin)]
    assert_allclose(odds[1] / odds[0], 2.0, rtol=0.1)


def test_spectroscopy(coarse):
    errors = np.where(np.arange(3000) % 2 == 0, 50.0, np.nan)
    cat = simulate(coarse, teff_err=errors, feh_err=0.1, field_fraction=0.3, field=FIELD)
    member = ~cat.extra["is_field"]
    assert_array_equal(np.isfinite(cat.teff), np.isfinite(errors))
    assert np.isfinite(cat.feh).all()
    assert stats.kstest((cat.feh[member] + 0.1) / 0.1, "norm").pvalue > LEAST_P
    field = ~member & np.isfinite(errors)
    assert stats.kstest((cat.teff[field] - 3000.0) / 4000.0, "uniform").pvalue > LEAST_P


def test_temperatures_are_those_of_the_primaries(coarse):
    cat = simulate(coarse, teff_err=1e-3, binary_fraction=0.5)
    mass, order = cat.extra["initial_mass"], np.argsort(cat.extra["initial_mass"])
    # Binaries and single stars on one relation of temperature and mass, which the Sun is close to.
    steps = np.abs(np.diff(cat.teff[order]))[mass[order][1:] < 1.4]
    assert np.median(steps) < 10.0
    assert steps.max() < 200.0
    assert 5500.0 < np.interp(1.0, mass[order], cat.teff[order]) < 6200.0


def test_fluxes(coarse):
    mags, flux = simulate(coarse, mag_err=QUIET), simulate(coarse, flux_err=5.0)
    assert flux.is_flux
    assert_array_equal(flux.flux_err, 5.0)
    assert (flux.flux < 0.0).any()
    noise = (flux.flux - 10.0 ** (-0.4 * (mags.mag - 22.5))) / 5.0
    assert stats.kstest(noise.ravel(), "norm").pvalue > LEAST_P
    by_flux = simulate(coarse, flux_err=lambda f: 0.01 * f + 1.0)
    assert_allclose(by_flux.flux_err, 0.01 * by_flux.flux + 1.0, rtol=0.2)
    cut = psp.MagnitudeLimits(BANDS[0], faint=19.0, error=0.2)
    limited = simulate(coarse, flux_err=5.0, selection=cut, field_fraction=0.3, field=FIELD)
    cut.check(limited)


def test_outliers_with_inflated_scatter(coarse):
    """Field stars scatter sqrt(1 + 3^2) times as widely as members."""
    options = {"mag_err": 0.02, "intrinsic_scatter": 0.01, "distance_modulus_scatter": 0.05,
               "parallax_err": 0.1}  # fmt: skip
    member = simulate(coarse, **options)
    field = simulate(
        coarse, rng=8, field_fraction=1.0, field=psp.InflatedScatterField(3.0), **options
    )
    assert np.isnan(field.extra["initial_mass"]).all()
    assert_array_equal(field.mag_err, 0.02)
    # The color does not know of the distance: away from the isochrone by noise alone.
    one = coarse.at(TRUTH["feh"], TRUTH["log_age"], BANDS)
    rising = (one.eep > 200) & (one.eep < 400)
    mag, color = one.abs_mag[rising, 0] + 9.0, np.diff(one.abs_mag[rising])[:, 0]
    wide = []
    for cat in (member, field):
        inner = (cat.mag[:, 0] > 14.0) & (cat.mag[:, 0] < 15.5)
        away = np.diff(cat.mag)[inner, 0] - np.interp(cat.mag[inner, 0], mag[::-1], color[::-1])
        wide.append([np.subtract(*np.percentile(away, [84, 16])), cat.parallax.std()])
    assert_allclose(np.divide(*wide[::-1]), np.sqrt(10.0), rtol=0.1)


def test_fields_with_a_sampler(coarse):
    def sampler(n, bands, rng, selection):
        return rng.normal(15.0, 0.1, (n, len(bands)))

    field = psp.FieldDensity(np.zeros(100), sampler)
    cat = simulate(coarse, n_star=100, field_fraction=0.5, field=field, parallax_err=0.1)
    is_field = cat.extra["is_field"]
    assert np.abs(cat.mag[is_field] - 15.0).max() < 0.5
    assert np.isnan(cat.parallax[is_field]).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rv": 0.0}, "rv=0.0 is out of range: expected 1 to 10"),
        ({"mass_min": 50.0}, "mass_min=50.0 is not possible: expected 0.1 to 0.5"),
        ({"mass_min": "low"}, "mass_min=low is not possible"),
        ({"mass_ratio_slope": np.nan}, "mass_ratio_slope=nan is out of range"),
        ({"mass_ratio_min": 0.0}, "mass_ratio_min=0.0 is not possible"),
        ({"eep_max": 10.5}, "eep_max=10.5 is not possible"),
        ({"selection": psp.MagnitudeLimits("TESS", 5.0, 15.0)}, "band 'TESS', expected one of"),
        ({"selection": (5.0, 15.0)}, "selection must be None or MagnitudeLimits"),
        ({"intrinsic_scatter": [0.1, 0.2, 0.3]}, "3 values for 2 bands"),
        ({"av": [0.1, 0.2]}, "av has 2 values for 20 stars"),
        ({"av": [-0.1] * 20}, "out of range: expected 0 to 4"),
        ({"feh": "solar"}, "feh must be a number"),
        ({"log_age_scatter": 0.6}, "isochrones from log_age 7.239 to 11.161"),
        ({"age_distribution": psp.AgeDistribution([9.0], [1.0], 0.1)}, "got both"),
        ({"second_population": 0.3}, "second_population must be None or SecondPopulation"),
        (
            {"second_population": psp.SecondPopulation(1.5, feh=0.1)},
            "second_population.fraction=1.5 is out of range",
        ),
        ({"age_nodes": 4}, "age_nodes=4 is not possible: expected an odd"),
        ({"imf": "Kroupa"}, "imf must be a mass function"),
        ({"parallax_err": -0.1}, "parallax_err must be positive"),
        ({"teff_err": [50.0]}, "teff_err must be one number or one for each of 20 stars"),
        ({"flux_err": 0.0}, "flux_err must be positive"),
        ({"mag_err": np.inf}, "mag_err must be positive and finite"),
        ({"field_fraction": 0.5, "field": psp.ChiSquareField()}, "cannot be drawn from"),
        ({"field": 0.1}, "field must be a model of field stars"),
        (
            {"field": psp.InflatedScatterField(pt.as_tensor([3.0, 4.0]))},
            "scale of InflatedScatterField must be a number",
        ),
        ({"eep_max": [480, 600]}, "eep_max=.480, 600. is not possible"),
    ],
)
def test_bad_input(coarse, options, words):
    with pytest.raises(ValueError, match=words):
        simulate(coarse, **({"n_star": 20} | options))
