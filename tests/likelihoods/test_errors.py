"""Bad input: each error names the argument, what came, what was expected, and the remedy."""

import re
import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

import pymc_starpop as psp
from cluster_fixtures import BANDS, LIMITS, TRUTH

NAN = float("nan")
MAG, ERR = np.full((3, 2), 15.0), np.full((3, 2), 0.01)
TWO = ["Gaia_G_EDR3", "2MASS_Ks"]

# What is changed -> words for the argument, what came, what was expected, the remedy.
PARAMETERS = {
    "feh above": ({"feh": 0.9}, ["feh=0.9", "-2.5 to 0.5", "give"]),
    "feh below": ({"feh": -2.7}, ["feh=-2.7", "-2.5 to 0.5", "give"]),
    "age in years": ({"log_age": 2.5e9}, ["log_age=2500000000", "6.5 to 10.3", "log10", "give"]),
    "extinction": ({"av": 40.0}, ["av=40", "0 to 4", "give"]),
    "negative extinction": ({"av": -0.1}, ["av=-0.1", "0 to 4", "give"]),
    "R_V": ({"rv": 0.0}, ["rv=0", "1 to 10", "give"]),
    "NaN": ({"feh": NAN}, ["feh=nan", "-2.5 to 0.5", "give"]),
    "NaN distance": ({"distance_modulus": NAN}, ["distance_modulus=nan", "finite", "give"]),
    "field fraction": ({"field_fraction": 1.2}, ["field_fraction=1.2", "0 to 1", "give"]),
    "binary fraction": ({"binary_fraction": -0.2}, ["binary_fraction=-0.2", "0 to 1", "give"]),
    "scatter": ({"intrinsic_scatter": -0.01}, ["intrinsic_scatter=-0.01", "0 to inf", "give"]),
    "extinction scatter": ({"av_scatter": -1.0}, ["av_scatter=-1", "0 to inf", "give"]),
    "both distances": ({"distance_pc": 100.0}, ["distance_modulus", "distance_pc", "both", "give"]),
    "no distance": (
        {"distance_modulus": None},
        ["distance_modulus", "distance_pc", "neither", "give"],
    ),
    "negative distance": (
        {"distance_modulus": None, "distance_pc": -1.0},
        ["distance_pc=-1", "0.001", "give"],
    ),
    "constant": ({"feh": pt.constant(3.0)}, ["feh=3", "-2.5 to 0.5", "give"]),
    "list": ({"feh": [0.1, 0.2]}, ["feh", "scalar", "1 dimension", "index"]),
    "vector": ({"log_age": pt.dvector("age")}, ["log_age", "scalar", "1 dimension", "index"]),
    "scatter for other bands": (
        {"intrinsic_scatter": np.array([0.1, 0.2])},
        ["intrinsic_scatter", "2 values", "4 bands", "give"],
    ),
    "text": ({"feh": "solar"}, ["feh", "'solar'", "str", "number", "give"]),
    "masked": ({"av": np.ma.masked}, ["av", "masked", "give numbers"]),
    "none": ({"av": None}, ["av", "None", "number", "give"]),
    "mass function": ({"imf": "Kroupa"}, ["imf", "'Kroupa'", "mass function", "give"]),
    "class of mass function": ({"imf": psp.Kroupa}, ["imf", "Kroupa", "psp.Kroupa()", "give"]),
    "corrections": (
        {"corrections": True},
        ["corrections", "True", "psp.EmpiricalCorrections", "give"],
    ),
    "one mass ratio": ({"mass_ratio_nodes": 1}, ["mass_ratio_nodes=1", "at least 2", "give"]),
    "half a mass ratio": ({"mass_ratio_nodes": 7.5}, ["mass_ratio_nodes=7.5", "whole", "give"]),
    "a float of mass ratios": (
        {"mass_ratio_nodes": 45.0},
        ["mass_ratio_nodes=45.0", "whole", "give"],
    ),
    "no mass ratios": ({"mass_ratio_nodes": None}, ["mass_ratio_nodes=None", "whole", "give"]),
    "no pieces": ({"node_pieces": 0}, ["node_pieces=0", "at least 1", "give"]),
    "half a piece": ({"node_pieces": 1.5}, ["node_pieces=1.5", "whole", "give"]),
    "no lowest mass ratio": ({"mass_ratio_min": 0.0}, ["mass_ratio_min=0", "between", "give"]),
    "last EEP": ({"eep_max": 807.5}, ["eep_max=807.5", "node", "1 to 808", "give"]),
    "last EEP of binaries": (
        {"eep_max": 353, "binary_eep_max": 480},
        ["eep_max=353", "binary_eep_max=480", "lower"],
    ),
    "lowest mass": ({"mass_min": 0.01}, ["mass_min=0.01", "0.1 to 0.5", "give"]),
    "selection": ({"selection": (6, 16)}, ["selection", "(6, 16)", "MagnitudeLimits", "give"]),
    "field": ({"field": 0.1}, ["field", "0.1", "UniformField", "give"]),
}


def assert_says(error, words):
    message = str(error.value)
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"


@pytest.fixture(scope="module")
def nodes(coarse):
    return coarse.with_nodes(np.union1d(coarse.eep, [353, 480]))


@pytest.mark.parametrize(("change", "words"), PARAMETERS.values(), ids=PARAMETERS.keys())
def test_parameters_and_options(nodes, stars, change, words):
    with pytest.raises(ValueError, match=r".") as error:
        psp.cluster_logp(nodes, stars, **(TRUTH | change))
    assert_says(error, words)


def test_stars_in_flux_differ_in_three_ways_at_most(nodes, stars):
    flux = 10.0 ** (-0.4 * (stars.mag - 22.5))
    in_flux = psp.StarCatalog.from_flux(flux, 0.02 * flux, bands=stars.bands)
    ways = {
        "av": np.full(stars.n_star, 0.35), "av_scatter": 0.05, "distance_modulus_scatter": 0.02,
        "log_age_scatter": 0.02,
    }  # fmt: skip
    words = r"4 ways, by an av of each star, av_scatter, .* a spread of ages.*or give magnitudes"
    with pytest.raises(ValueError, match=words):
        psp.cluster_logp(nodes, in_flux, **(TRUTH | ways))
    psp.cluster_logp(nodes, in_flux, **(TRUTH | ways | {"av_scatter": 0.0}))
    psp.cluster_logp(nodes, stars, **(TRUTH | ways))


def test_unknown_names_are_a_type_error(nodes, stars):
    with pytest.raises(TypeError, match=r"unknown argument\(s\) age; parameters are") as error:
        psp.cluster_logp(nodes, stars, **TRUTH, age=2.5)
    assert_says(error, ["log_age", "selection"])


CATALOGS = {
    "shapes": (
        lambda: psp.StarCatalog(MAG, ERR[:2], bands=TWO),
        ["mag", "mag_err", "(3, 2)", "(2, 2)"],
    ),
    "bands for other columns": (
        lambda: psp.StarCatalog(MAG, ERR, bands=["Gaia_G_EDR3"]),
        ["bands", "1", "2"],
    ),
    "zero errors": (
        lambda: psp.StarCatalog(MAG, 0.0 * ERR, bands=TWO),
        ["mag_err", "positive", "0"],
    ),
    "negative errors": (lambda: psp.StarCatalog(MAG, -ERR, bands=TWO), ["mag_err", "positive"]),
    "a star without any band": (
        lambda: psp.StarCatalog(np.where(np.arange(3)[:, None] == 1, NAN, MAG), ERR, bands=TWO),
        ["1", "band"],
    ),
    "parallax without error": (
        lambda: psp.StarCatalog(MAG, ERR, bands=TWO, parallax=np.ones(3)),
        ["parallax", "parallax_err"],
    ),
    "membership": (
        lambda: psp.StarCatalog(MAG, ERR, bands=TWO, membership_prior=1.3),
        ["membership_prior", "1.3", "0"],
    ),
}


@pytest.mark.parametrize(("build", "words"), CATALOGS.values(), ids=CATALOGS.keys())
def test_catalogs(build, words):
    with pytest.raises(ValueError, match=r".") as error:
        build()
    assert_says(error, words)
    # A remedy is an imperative after the last semicolon.
    assert re.search(r"; \w+", str(error.value)), str(error.value)


def test_unknown_band(nodes):
    catalog = psp.StarCatalog(MAG, ERR, bands=["Gaia_G_EDR3", "K"])
    with pytest.raises(ValueError, match="'K'") as error:
        psp.cluster_logp(nodes, catalog, **TRUTH)
    assert_says(error, ["bands", "unknown", "iso.bands"])


def test_something_else_than_a_catalog(nodes):
    with pytest.raises(ValueError, match="catalog must be a StarCatalog, got ndarray") as error:
        psp.cluster_logp(nodes, MAG, **TRUTH)
    assert_says(error, ["StarCatalog(mag, mag_err, bands=...)"])
    with pm.Model(), pytest.raises(ValueError, match="observed must be a StarCatalog") as error:
        psp.ClusterPhotometry("stars", nodes, **TRUTH, observed=MAG)
    assert_says(error, ["got ndarray", "StarCatalog(mag, mag_err, bands=...)"])


def test_something_else_than_isochrones(stars):
    with pytest.raises(ValueError, match="iso must be an IsochroneGrid, got str") as error:
        psp.cluster_logp("MIST", stars, **TRUTH)
    assert_says(error, ["load_isochrones()"])


def test_a_star_outside_the_selection(nodes, stars):
    limits = psp.MagnitudeLimits(LIMITS.band, 9.0, 14.0)
    with pytest.raises(ValueError, match="selection says") as error:
        psp.cluster_logp(nodes, stars, **TRUTH, selection=limits)
    assert_says(error, ["9.0 <= Gaia_G_EDR3 <= 14.0", "rows", "select"])


def test_a_star_without_the_band_of_the_selection(nodes, stars):
    limits = psp.MagnitudeLimits(BANDS[1], 5.0, 30.0)
    with pytest.raises(ValueError, match="selection says") as error:
        psp.cluster_logp(nodes, stars, **TRUTH, selection=limits)
    assert_says(error, ["1 of 12", "lack the band", "select"])


def test_a_selection_in_another_band(nodes, stars):
    with pytest.raises(ValueError, match="TESS") as error:
        psp.cluster_logp(nodes, stars, **TRUTH, selection=psp.MagnitudeLimits("TESS", 5.0, 30.0))
    assert_says(error, ["band", "Gaia_G_EDR3"])


OUTSIDE_PRIORS = {
    "feh": (lambda: pm.Uniform("feh", 0.7, 0.9), ["feh", "-2.5 to 0.5", "0.7", "bound"]),
    "log_age": (lambda: pm.Uniform("log_age", 1.0, 5.0), ["log_age", "6.5 to 10.3", "bound"]),
    "av": (lambda: pm.Uniform("av", -3.0, -1.0), ["av", "0 to 4", "bound"]),
    "field_fraction": (lambda: pm.Uniform("f", 2.0, 3.0), ["field_fraction", "0 to 1", "bound"]),
}


def make(as_distribution, iso, catalog, parameters):
    if as_distribution:
        psp.ClusterPhotometry("stars", iso, **parameters, observed=catalog)
    else:
        psp.cluster_logp(iso, catalog, **parameters)


@pytest.mark.parametrize("name", OUTSIDE_PRIORS)
@pytest.mark.parametrize("as_distribution", [False, True])
def test_priors_wholly_outside(nodes, stars, name, as_distribution):
    build, words = OUTSIDE_PRIORS[name]
    with pm.Model():
        parameters = TRUTH | {name: build()}
        with pytest.raises(ValueError, match="outside") as error:
            make(as_distribution, nodes, stars, parameters)
    assert_says(error, words)


@pytest.mark.parametrize("as_distribution", [False, True])
def test_priors_partly_outside_warn_once_and_name_the_range(nodes, stars, as_distribution):
    with pm.Model():
        parameters = TRUTH | {
            "feh": pm.Normal("feh", 0.4, 0.2),
            "log_age": pm.Uniform("log_age", 8.0, 9.0),
            "av": pm.HalfNormal("av", 0.3),
        }
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make(as_distribution, nodes, stars, parameters)
    ours = [w for w in caught if issubclass(w.category, UserWarning)]
    assert len(ours) == 1, [str(w.message) for w in ours]
    message = str(ours[0].message)
    for word in ("feh", " % of the prior", "-2.5 to 0.5", "bound"):
        assert word in message
    # It points at the user's line, not into the package.
    assert ours[0].filename == __file__


def test_transformed_and_shared_priors_are_looked_at_too(nodes, stars):
    with pm.Model():
        age_gyr = pm.Uniform("age_gyr", 20.0, 30.0)
        log_age = pm.Deterministic("log_age", pt.log10(age_gyr) + 9.0)
        with pytest.raises(ValueError, match=r"log_age: the prior of log_age lies outside"):
            psp.cluster_logp(nodes, stars, **(TRUTH | {"log_age": log_age}))


def test_variables_that_are_no_priors_are_not_drawn(nodes, stars):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        psp.cluster_logp(nodes, stars, **(TRUTH | {"feh": pt.dscalar("feh")}))


def test_coordinates_of_another_catalog(nodes, stars):
    with (
        pm.Model(coords={"star": np.arange(3)}),
        pytest.raises(ValueError, match="coordinate 'star'") as error,
    ):
        psp.ClusterPhotometry("stars", nodes, **TRUTH, observed=stars)
    assert_says(error, ["observed", "3", "12", "coords=catalog.coords()"])
