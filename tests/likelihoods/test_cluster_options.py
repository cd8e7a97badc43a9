"""Spread between stars, spectra, fluxes, fields, completeness: against the slow likelihood."""

from dataclasses import replace

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.testing import assert_allclose

import pymc_starpop as psp
from cluster_fixtures import BANDS, LIMITS, OPTIONS, TRUTH, check_with_slow
from tolerances import NATS_STAGED_WORST, assert_close

CURVE = psp.LogisticCompleteness(0.95, 16.0, 0.4)
AGES = psp.AgeDistribution([9.28, 9.33, 9.38], [1.0, 3.0, 2.0])

# On top of TRUTH. Every number is a free parameter, and the gradient by it is checked.
CASES = {
    "depth along the line of sight": {"distance_modulus_scatter": 0.04},
    "depth and differential extinction": {
        "distance_modulus_scatter": 0.04, "av_scatter": 0.05, "selection": LIMITS,
        "field_fraction": 0.2,
    },
    "age spread": {"log_age_scatter": 0.03, "age_nodes": 3},
    "everything differs": {
        "log_age_scatter": 0.02, "age_nodes": 3, "av_scatter": 0.05, "field_fraction": 0.2,
        "distance_modulus_scatter": 0.03, "binary_fraction": 0.3, "selection": LIMITS,
    },
    "two populations": {
        "second_population.fraction": 0.3, "second_population.feh": -0.05,
        "second_population.log_age": 9.25, "binary_fraction": 0.3,
        "second_population.binary_fraction": 0.5,
    },
    "an age spread in one of two populations": {
        "second_population.fraction": 0.4, "second_population.feh": 0.0, "log_age_scatter": 0.03,
        "age_nodes": 3, "selection": LIMITS,
    },
    "zero points": {"zero_points": np.array([0.01, -0.02, 0.0, 0.03])},
    "inflated scatter": {
        "field_fraction": 0.2, "field.scale": 5.0, "selection": LIMITS, "av_scatter": 0.05,
        "binary_fraction": 0.3,
    },
    "chi-square": {
        "field_fraction": 0.2, "field": psp.ChiSquareField(), "intrinsic_scatter": 0.01,
    },
    "log densities of the user": {"field_fraction": 0.2, "field": np.linspace(-6.0, -4.0, 12)},
    "completeness": {
        "selection": psp.MagnitudeLimits(BANDS[0], completeness=CURVE), "binary_fraction": 0.3,
        "field_fraction": 0.2,
    },
    "completeness within limits": {
        "selection": psp.MagnitudeLimits(BANDS[0], 9.0, 19.0, completeness=CURVE),
        "zero_points": 0.02,
    },
}  # fmt: skip


AV_OF_STARS = TRUTH["av"] + np.linspace(-0.2, 0.3, 12)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_value_and_gradient_are_those_of_the_slow_likelihood(coarse, stars, case):
    check_with_slow(coarse, stars, case)


@pytest.fixture(scope="module")
def spectra(stars):
    """Half of the stars have temperatures, and another half [Fe/H]."""
    rng = np.random.default_rng(8)
    teff = np.where(np.arange(stars.n_star) % 2, rng.uniform(5000.0, 6500.0, stars.n_star), np.nan)
    feh = np.where(np.arange(stars.n_star) < 6, rng.normal(0.07, 0.05, stars.n_star), np.nan)
    errors = {"teff_err": np.full(stars.n_star, 120.0), "feh_err": np.full(stars.n_star, 0.05)}
    return replace(stars, teff=teff, feh=feh, **errors)


@pytest.mark.parametrize(
    "case",
    [
        {"binary_fraction": 0.4},
        {"distance_modulus_scatter": 0.03, "av_scatter": 0.04, "field_fraction": 0.2},
        CASES["age spread"],
        CASES["two populations"],
        CASES["inflated scatter"] | {"distance_modulus_scatter": 0.03},
        CASES["chi-square"],
    ],
    ids=["binaries", "depth", "age spread", "two populations", "inflated scatter", "chi-square"],
)
def test_spectroscopy(coarse, spectra, case):
    check_with_slow(coarse, spectra, case)


@pytest.fixture(scope="module")
def fluxes(stars):
    """The same stars in flux, two with a flux below zero."""
    flux = 10.0 ** (-0.4 * (stars.mag - 22.5))
    error = stars.mag_err * flux * 0.4 * np.log(10.0)
    flux[4, 3], error[4, 3] = -0.3 * error[4, 3], error[4, 3]
    flux[5, 1], error[5, 1] = -2.0, 5.0
    return psp.StarCatalog.from_flux(
        flux, error, bands=BANDS, parallax=stars.parallax, parallax_err=stars.parallax_err
    )


@pytest.mark.parametrize(
    "case",
    [
        {"binary_fraction": 0.4, "intrinsic_scatter": 0.01},
        {"av_scatter": 0.05, "selection": psp.MagnitudeLimits(BANDS[0], faint=19.0)},
        CASES["depth and differential extinction"] | {"selection": None},
        CASES["inflated scatter"],
        CASES["completeness"],
        {"av": AV_OF_STARS, "distance_modulus_scatter": 0.03, "intrinsic_scatter": 0.01}
        | {"field_fraction": 0.2},
        {"av": AV_OF_STARS, "av_scatter": 0.05, "binary_fraction": 0.3}
        | {"field_fraction": 0.2, "field.scale": 5.0},
        {"av": AV_OF_STARS, "field_fraction": 0.2, "field": psp.ChiSquareField()},
    ],
    ids=[
        "binaries", "differential extinction", "depth", "inflated scatter", "completeness",
        "extinction of stars", "extinction of stars, inflated scatter",
        "extinction of stars, chi-square",
    ],
)  # fmt: skip
def test_fluxes(coarse, fluxes, case):
    check_with_slow(coarse, fluxes, case)


def test_known_extinction_of_bright_stars_is_the_same_in_flux(iso):
    """Displacements of up to 0.5 mag, errors of 2 %: the densities differ by their Jacobian."""
    own = TRUTH | {"av": TRUTH["av"] + np.linspace(-0.3, 0.5, 12)}
    drawn = psp.simulate_cluster(iso, n_star=12, bands=BANDS, rng=3, mag_err=0.02, **own)
    flux = 10.0 ** (-0.4 * (drawn.mag - 22.5))
    slope = 0.4 * np.log(10.0) * flux
    in_flux = psp.StarCatalog.from_flux(flux, 0.02 * slope, bands=BANDS)
    expected, got, without = (
        psp.cluster_logp(iso, catalog, **parameters).eval(mode="FAST_COMPILE")
        for catalog, parameters in ((drawn, own), (in_flux, own), (drawn, TRUTH))
    )
    got = got + np.log(slope).sum(axis=1)
    print(f"worst star: {np.abs(got - expected).max():.3f} nat")
    assert np.abs(got - expected).max() < 0.3
    assert np.abs(without - expected).max() > 3.0


def test_depth_with_parallaxes_is_a_sum_over_distances(coarse):
    """A spread of 0.05 mag at 760 pc, where parallaxes to 0.05 mas hardly tell."""
    drawn = psp.simulate_cluster(
        coarse, n_star=12, bands=BANDS, rng=2, mag_err=0.03, parallax_err=0.05,
        distance_modulus_scatter=0.05, **TRUTH,
    )  # fmt: skip
    got = psp.cluster_logp(coarse, drawn, **TRUTH, distance_modulus_scatter=0.05)
    modulus = pt.dscalar("distance_modulus")
    one = psp.cluster_logp(coarse, drawn, **(TRUTH | {"distance_modulus": modulus}))
    function = pytensor.function([modulus], one, mode="FAST_COMPILE")
    x = np.linspace(-5.0, 5.0, 81)
    share = np.exp(-0.5 * x**2) / np.exp(-0.5 * x**2).sum()
    each = np.array([function(TRUTH["distance_modulus"] + 0.05 * step) for step in x])
    expected = np.log(share @ np.exp(each))
    difference = np.abs(got.eval(mode="FAST_COMPILE") - expected)
    print(f"depth with parallaxes: worst star {difference.max():.4f} nat")
    assert difference.max() < NATS_STAGED_WORST
    flat = psp.cluster_logp(coarse, drawn, **TRUTH).eval(mode="FAST_COMPILE")
    assert np.abs(flat - expected).max() > 1.0


def test_a_given_distribution_of_ages(coarse, stars):
    parameters = {k: v for k, v in TRUTH.items() if k != "log_age"} | OPTIONS
    parameters |= {"age_distribution": AGES, "binary_fraction": 0.2}
    got = psp.cluster_logp(coarse, stars, **parameters).eval(mode="FAST_COMPILE")
    assert_close(got, psp.reference.cluster_logp(coarse, stars, **parameters), "pruned")


def test_extinction_of_single_stars(coarse, stars):
    av = TRUTH["av"] + np.linspace(-0.2, 0.3, stars.n_star)
    check_with_slow(coarse, stars, {"av": av, "av_scatter": 0.02, "selection": LIMITS})


def test_extinction_of_single_stars_is_that_of_the_tables(iso, stars):
    """To first order around the mean; the second one is 1 mmag at 0.3 mag."""
    own = np.full(stars.n_star, TRUTH["av"])
    own[5:] += 0.2
    catalog = replace(stars, mag_err=np.full(stars.mag.shape, 0.05))
    exact = np.concatenate(
        [
            psp.cluster_logp(iso, catalog.select(slice_), **(TRUTH | {"av": av})).eval(
                mode="FAST_COMPILE"
            )
            for slice_, av in ((np.arange(5), TRUTH["av"]), (np.arange(5, 12), TRUTH["av"] + 0.2))
        ]
    )
    together = psp.cluster_logp(iso, catalog, **(TRUTH | {"av": own})).eval(mode="FAST_COMPILE")
    assert_allclose(together[1:], exact[1:], atol=0.05)
