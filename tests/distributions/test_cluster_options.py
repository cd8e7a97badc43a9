"""The distribution with parameters of single stars, fluxes, spectra, fields and populations."""

from dataclasses import replace

import numpy as np
import pymc as pm
import pytest
from pytensor import tensor as pt

import pymc_starpop as psp
from cluster_fixtures import BANDS, LIMITS, OPTIONS, TRUTH
from tolerances import assert_close

FIELD = psp.UniformField(
    mag_range=(9.0, 19.0),
    color_ranges={(b, BANDS[0]): (-3.0, 3.0) for b in BANDS[1:]},
    parallax_range=(0.0, 3.0),
)


@pytest.fixture(scope="module")
def catalog(stars):
    """Without the star that is 50 sigma from everything, and with temperatures of some stars."""
    catalog = stars.select(np.arange(1, stars.n_star))
    teff = np.where(
        np.arange(catalog.n_star) % 2, np.linspace(5000.0, 6500.0, catalog.n_star), np.nan
    )
    return replace(catalog, teff=teff, teff_err=np.full(catalog.n_star, 200.0))


@pytest.fixture(scope="module")
def fluxes(catalog):
    flux = 10.0 ** (-0.4 * (catalog.mag - 22.5))
    error = catalog.mag_err * flux * 0.4 * np.log(10.0)
    flux[3, 1] = -error[3, 1]
    return psp.StarCatalog.from_flux(flux, error, bands=BANDS)


def extinction_of_stars(catalog):
    av = pm.Normal("av", 0.35, 0.05, dims="star")
    return {"av": av, "av_scatter": pm.HalfNormal("av_scatter", 0.05)}


def inflated_scatter(catalog):
    scale = pm.HalfNormal("scale", 5.0)
    return {"field": psp.InflatedScatterField(scale), "field_fraction": 0.2, "selection": LIMITS}


def densities_of_the_user(catalog):
    level = pm.Normal("level", -6.0, 1.0)

    def sampler(n, bands, rng, selection):
        return rng.uniform(10.0, 16.0, (n, len(bands)))

    field = psp.FieldDensity(level + pt.zeros(catalog.n_star), sampler)
    return {"field": field, "field_fraction": 0.3}


def populations(catalog):
    fraction = pm.Uniform("fraction")
    second = psp.SecondPopulation(fraction, feh=pm.Normal("feh_2", 0.0, 0.1))
    return {"second_population": second, "field": FIELD, "field_fraction": 0.1}


def differences(catalog):
    return {
        "log_age_scatter": pm.HalfNormal("age_spread", 0.02),
        "age_nodes": 3,
        "distance_modulus_scatter": pm.HalfNormal("depth", 0.05),
        "zero_points": pm.Normal("zero_points", 0.0, 0.02, dims="band"),
    }


def shaped_scatter(catalog):
    return {
        "grey_scatter": pm.HalfNormal("grey", 0.03),
        "log_teff_scatter": pm.HalfNormal("warmth", 0.005),
        "field_fraction": 0.1,
        "field": FIELD,
    }


CASES = [
    extinction_of_stars, inflated_scatter, densities_of_the_user, populations, differences,
    shaped_scatter,
]  # fmt: skip


def check(iso, catalog, case):
    """Log-probability as that of the function, and draws with what the catalog measured."""
    plain = {k: v for k, v in TRUTH.items() if k != "av"} | OPTIONS
    with pm.Model(coords=catalog.coords()) as model:
        parameters = plain | {"av": TRUTH["av"]} | case(catalog)
        stars = psp.ClusterPhotometry("stars", iso, observed=catalog, **parameters)
        logp = psp.cluster_logp(iso, catalog, **parameters)
    point = model.initial_point()
    outs = [model.logp(stars, sum=False)[0], *model.replace_rvs_by_values([logp])]
    of_model, of_function = model.compile_fn(outs, mode="FAST_COMPILE")(point)
    assert_close(of_model, of_function, "kernel")
    assert np.isfinite(of_model).all()
    drawn = pm.draw(stars, random_seed=4, mode="FAST_COMPILE")
    assert (np.isfinite(drawn) == catalog.measured).all()
    return drawn


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_of_magnitudes(coarse, catalog, case):
    drawn = check(coarse, catalog, case)
    # From the giants to stars of 0.1 Msun.
    assert (np.abs(drawn[catalog.measured] - 17.0) < 10.0).all()


@pytest.mark.parametrize(
    "case", [inflated_scatter, differences, shaped_scatter], ids=lambda case: case.__name__
)
def test_of_fluxes(coarse, fluxes, case):
    check(coarse, fluxes, case)


def test_membership_under_a_field_that_depends_on_the_model(coarse, catalog):
    with pm.Model(coords=catalog.coords()) as model:
        plain = {k: v for k, v in TRUTH.items() if k != "av"} | OPTIONS
        psp.ClusterPhotometry(
            "stars", coarse, observed=catalog, av=pm.Uniform("av", 0.0, 1.0), **plain,
            field=psp.InflatedScatterField(5.0), field_fraction=0.2,
        )  # fmt: skip
    posterior = pm.sample_prior_predictive(2, model=model, var_names=["av"], random_seed=1).prior
    probability = psp.membership(posterior, model, progressbar=False)
    assert probability.shape == (1, 2, catalog.n_star)
    assert ((probability >= 0.0) & (probability <= 1.0)).all()
