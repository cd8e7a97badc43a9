"""Scatter that bands share: of brightness (`grey_scatter`) and of T_eff (`log_teff_scatter`)."""

import warnings
from dataclasses import replace

import numpy as np
import pytensor.tensor as pt
import pytest
from numpy.testing import assert_array_equal
from scipy.optimize import minimize

import pymc_starpop as psp
from cluster_fixtures import BANDS, LIMITS, OPTIONS, TRUTH, check_with_slow
from tolerances import assert_close

SHAPE = {"grey_scatter": 0.02, "log_teff_scatter": 0.004}
BINARIES = {"binary_fraction": 0.3, "field_fraction": 0.2}
CURVE = psp.LogisticCompleteness(0.95, 16.0, 0.4)
FADING = psp.MagnitudeLimits(BANDS[0], 9.0, 19.0, completeness=CURVE)

# On top of TRUTH. Every number is a free parameter, and the gradient by it is checked.
CASES = {
    "grey": {"grey_scatter": 0.03},
    "temperature": {"log_teff_scatter": 0.005},
    "both, binaries, selection": SHAPE | BINARIES | {"selection": LIMITS},
    "brightness apart from distance": {"grey_scatter": 0.03, "distance_modulus_scatter": 0.04},
    "extinction too": SHAPE | {"av_scatter": 0.05, "binary_fraction": 0.3},
    "ages": SHAPE | {"log_age_scatter": 0.03, "age_nodes": 3, "selection": FADING},
    "two populations": SHAPE | {
        "second_population.fraction": 0.3, "second_population.feh": -0.05, "binary_fraction": 0.3,
    },
    "inflated field": SHAPE | BINARIES | {"field.scale": 5.0, "selection": LIMITS},
    "chi-square": SHAPE | {"field_fraction": 0.2, "field": psp.ChiSquareField()},
}  # fmt: skip


SLOW = ("ages", "two populations", "inflated field")


@pytest.mark.parametrize(
    "name", [n if n not in SLOW else pytest.param(n, marks=pytest.mark.slow) for n in CASES]
)
def test_value_and_gradient_are_those_of_the_slow_likelihood(coarse, stars, name):
    also = ("log_age", "feh", "av") if name == "temperature" else ("log_age",)
    check_with_slow(coarse, stars, CASES[name], also=also)


def test_spectroscopic_temperatures_follow(coarse, stars):
    teff = np.linspace(5000.0, 6500.0, stars.n_star)
    spectra = replace(stars, teff=teff, teff_err=np.full(stars.n_star, 60.0))
    check_with_slow(coarse, spectra, SHAPE | BINARIES)


def in_flux(stars):
    flux = 10.0 ** (-0.4 * (stars.mag - 22.5))
    return psp.StarCatalog.from_flux(
        flux, stars.mag_err * flux * 0.4 * np.log(10.0), bands=BANDS, parallax=stars.parallax,
        parallax_err=stars.parallax_err,
    )  # fmt: skip


AV_OF_STARS = TRUTH["av"] + np.linspace(-0.2, 0.3, 12)


@pytest.mark.parametrize(
    "case",
    [SHAPE | BINARIES | {"selection": psp.MagnitudeLimits(BANDS[0], faint=19.0)},
     SHAPE | {"av": AV_OF_STARS}],
    ids=["binaries", "extinction of stars"],
)  # fmt: skip
def test_fluxes(coarse, stars, case):
    check_with_slow(coarse, in_flux(stars), case)


COLOR = ("Gaia_G_EDR3", "Gaia_BP_EDR3 - Gaia_RP_EDR3")
SHARING = ("Gaia_RP_EDR3", "Gaia_BP_EDR3 - Gaia_RP_EDR3")


@pytest.mark.parametrize("columns", [COLOR, SHARING], ids=["other bands", "shared band"])
def test_colors(coarse, columns):
    cat = psp.simulate_cluster(coarse, n_star=12, bands=columns, mag_err=0.01, rng=3, **TRUTH)
    check_with_slow(coarse, cat, SHAPE | BINARIES | {"intrinsic_scatter": 0.01})


def evaluate(iso, catalog, **arguments):
    return psp.cluster_logp(iso, catalog, **(TRUTH | OPTIONS | arguments)).eval(mode="FAST_COMPILE")


def test_without_parallaxes_brightness_is_distance(coarse, stars):
    alone = replace(stars, parallax=None, parallax_err=None)
    expected = evaluate(coarse, alone, distance_modulus_scatter=0.05)
    assert_array_equal(evaluate(coarse, alone, grey_scatter=0.05), expected)
    both = evaluate(coarse, alone, grey_scatter=0.03, distance_modulus_scatter=0.04)
    assert_close(both, expected, "pruned")


def test_zero_is_the_likelihood_without(coarse, stars):
    zero = evaluate(coarse, stars, grey_scatter=0.0, log_teff_scatter=0.0, binary_fraction=0.3)
    assert_array_equal(zero, evaluate(coarse, stars, binary_fraction=0.3))
    symbolic = evaluate(coarse, stars, grey_scatter=pt.constant(0.0) * pt.ones(()))
    assert_close(symbolic, evaluate(coarse, stars), "pruned")


def test_brightness_is_a_sum_over_shifts(coarse):
    """Each star against the isochrone shifted by many amounts, its parallax left where it is."""
    drawn = psp.simulate_cluster(
        coarse, n_star=12, bands=BANDS, rng=2, mag_err=0.03, parallax_err=0.02, **TRUTH,
        grey_scatter=0.05,
    )  # fmt: skip
    x = np.linspace(-8.0, 8.0, 161)
    share = np.exp(-0.5 * x**2) / np.exp(-0.5 * x**2).sum()
    f = psp.cluster_function(
        coarse, drawn, [f"zero_points.{band}" for band in BANDS], mode="FAST_COMPILE", **TRUTH
    )
    each = np.array([f.per_star(np.full(4, 0.05 * step)) for step in x])
    assert_close(evaluate(coarse, drawn, grey_scatter=0.05), np.log(share @ np.exp(each)), "pruned")


def test_clusters_of_a_stack_have_scatters_of_their_own(coarse, stars):
    far = stars.select(np.arange(4, 12))
    cats = psp.StarCatalog.stack({"near": stars, "far": far})
    each = {"grey_scatter": [0.02, 0.05], "log_teff_scatter": [0.0, 0.004]}
    found = evaluate(coarse, cats, **each)
    singles = [
        evaluate(coarse, cats[name], **{key: value[place] for key, value in each.items()})
        for place, name in enumerate(cats)
    ]
    assert_close(found, np.concatenate(singles), "stacked")
    symbolic = {name: pt.constant(value) + pt.zeros(2) for name, value in each.items()}
    assert_close(evaluate(coarse, cats, **symbolic), found, "pruned")


TOO_MANY = {"av_scatter": 0.1, "distance_modulus_scatter": 0.1} | SHAPE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"grey_scatter": -0.1}, r"grey_scatter=-0.1 .* 0 to inf \(mag\); give"),
        ({"log_teff_scatter": -0.1}, r"log_teff_scatter=-0.1 .* 0 to inf \(dex\); give"),
        ({"grey_scatter": [0.1, 0.2, 0.1, 0.1]}, "grey_scatter must be a scalar.*index it"),
        (TOO_MANY, "4 ways, by av_scatter, distance_modulus_scatter, grey_scatter, log_teff_scatter"
                   ", expected 3 at most; leave one out"),
    ],
)  # fmt: skip
def test_errors(coarse, stars, changes, words):
    with pytest.raises(ValueError, match=words):
        psp.cluster_logp(coarse, stars, **TRUTH, **changes)


def test_tabulated_magnitudes_do_not_follow_temperature():
    table = {"m": [0.1, 0.5, 1.0], "V": [12.0, 8.0, 4.0]}
    iso = psp.read_table(table, initial_mass="m", feh=0.0, log_age=9.5, bands=["V"])
    cat = psp.StarCatalog([[10.0]], [[0.1]], bands=["V"])
    where = {"feh": 0.0, "log_age": 9.5, "distance_modulus": 0.0, "eep_max": 2}
    where |= {"binary_eep_max": 2}
    words = "log_teff_scatter: the magnitudes in V are tabulated.*with_bolometric.*grey_scatter"
    with pytest.raises(ValueError, match=words):
        psp.cluster_logp(iso, cat, **where, log_teff_scatter=0.01)
    with pytest.raises(ValueError, match=words):
        psp.simulate_cluster(iso, n_star=3, bands=["V"], **where, log_teff_scatter=0.01)
    both = psp.StarCatalog.stack({"a": cat, "b": cat})
    with pytest.raises(ValueError, match=f"clusters 'a', 'b': {words}"):
        psp.cluster_logp(iso, both, **where, log_teff_scatter=pt.dscalar())
    psp.cluster_logp(iso, cat, **where, grey_scatter=0.1)


def test_two_scatters_that_no_parallax_tells_apart_are_warned_of(coarse, stars):
    alone = replace(stars, parallax=None, parallax_err=None)
    fitted = {name: pt.dscalar(name) for name in ("grey_scatter", "distance_modulus_scatter")}
    stack = psp.StarCatalog.stack({"a": alone, "b": alone})
    for catalog in (alone, stack):
        with pytest.warns(UserWarning, match="only the sum of their squares is measured"):
            psp.cluster_logp(coarse, catalog, **TRUTH, **fitted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        psp.cluster_logp(coarse, stars, **TRUTH, **fitted)
        psp.cluster_logp(coarse, alone, **TRUTH, **(fitted | {"grey_scatter": 0.02}))
        psp.cluster_logp(coarse, psp.StarCatalog.stack({"a": alone, "b": stars}), **TRUTH, **fitted)


def fitted(iso, catalog, names):
    """Scatters at the highest likelihood, from equal guesses, and their standard errors."""
    f = psp.cluster_function(iso, catalog, names, mode="FAST_COMPILE", binary_fraction=0.3, **TRUTH)

    def falling(log_scatter):
        value, gradient = f(np.exp(log_scatter))
        return -value, -gradient * np.exp(log_scatter)

    found = minimize(falling, np.log(np.full(len(names), 0.01)), jac=True, method="BFGS")
    scatter = np.exp(found.x)
    return scatter, scatter * np.sqrt(np.diag(found.hess_inv))


SHAPES = [
    {"grey_scatter": 0.08, "log_teff_scatter": 0.003, "intrinsic_scatter": 0.004},
    {"grey_scatter": 0.03, "intrinsic_scatter": 0.004},
    {"log_teff_scatter": 0.004, "intrinsic_scatter": 0.004},
]


@pytest.mark.parametrize("truth", SHAPES, ids=["both", "grey", "temperature"])
def test_an_optimum_finds_the_shape_of_the_scatter(coarse, truth):
    cat = psp.simulate_cluster(
        coarse, n_star=400, bands=BANDS, rng=11, mag_err=0.006, binary_fraction=0.3, **TRUTH,
        **truth,
    )  # fmt: skip
    scatter, error = fitted(coarse, cat, list(truth))
    print({n: f"{s:.5f} +- {e:.5f}" for n, s, e in zip(truth, scatter, error, strict=True)})
    assert np.all(np.abs(scatter - list(truth.values())) < 4.0 * error)
    assert np.all(error < 0.3 * scatter)
