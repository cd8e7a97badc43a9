"""The symbolic likelihood against the slow one, for every option and way to give a parameter."""

from dataclasses import replace

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.testing import assert_array_equal

import pymc_starpop as psp
from cluster_fixtures import BANDS, FULL_POINT, LIMITS, OPTIONS, SINGLE_POINT, TRUTH
from tolerances import assert_close

# Each on top of TRUTH, which has single stars and no field.
CASES = {
    "single stars": {},
    "binaries": {"binary_fraction": 0.4, "mass_ratio_slope": -0.4},
    "only binaries": {"binary_fraction": 1.0, "mass_ratio_min": 0.3, "binary_eep_max": 353},
    "selection": {"selection": LIMITS, "intrinsic_scatter": 0.03, "av_scatter": 0.1},
    "a limit on one side": {"selection": psp.MagnitudeLimits(BANDS[0], -np.inf, 19.0)},
    "field": {"field_fraction": 0.3},
    "field with given ranges": {
        "field_fraction": 0.3,
        "field": psp.UniformField(mag_range=(5.0, 25.0), parallax_range=(-1.0, 9.0)),
    },
    "field stars only": {"field_fraction": 1.0},
    "zero point": {"parallax_zero_point": 0.03, "field_fraction": 0.01},
    "differential extinction": {"av_scatter": 0.05, "binary_fraction": 0.2},
    "corrections": {"corrections": psp.EmpiricalCorrections()},
    "another mass function": {"imf": psp.BrokenPowerLaw((0.4, 1.1), (0.5, 1.6, 2.9))},
    "lognormal mass function": {"imf": psp.Chabrier()},
    "another extinction law": {"rv": 4.4},
    "scatter by band": {"intrinsic_scatter": np.array([0.0, 0.01, 0.02, 0.05])},
    "mass and EEP limits": {"mass_min": 0.25, "eep_max": 605, "selection": LIMITS},
}


def value(iso, catalog, **parameters):
    logp = psp.cluster_logp(iso, catalog, **parameters)
    assert logp.type.shape == (catalog.n_star,)
    return pytensor.function([], logp, mode="FAST_COMPILE")()


@pytest.fixture(scope="module")
def nodes(coarse):
    return coarse.with_nodes(np.union1d(coarse.eep, [353, 480, 605]))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_value_is_that_of_the_slow_likelihood(nodes, stars, case):
    parameters = {**TRUTH, **OPTIONS, **case}
    got = value(nodes, stars, **parameters)
    expected = psp.reference.cluster_logp(nodes, stars, **parameters)
    assert_close(got, expected, "pruned")


def test_membership_priors(coarse, stars):
    """From 0, a field star whatever it looks like, to 1."""
    prior = np.linspace(0.0, 1.0, stars.n_star)
    catalog = replace(stars, membership_prior=prior)
    for parameters in (TRUTH, TRUTH | {"field_fraction": 0.2}):
        got = value(coarse, catalog, **parameters)
        assert_close(got, psp.reference.cluster_logp(coarse, catalog, **parameters), "pruned")
        assert_close(got[0], psp.UniformField().log_density(catalog)[0], "same_formula")


def test_without_parallaxes(coarse, stars):
    catalog = replace(stars, parallax=None, parallax_err=None)
    got = value(coarse, catalog, **TRUTH)
    assert_close(got, psp.reference.cluster_logp(coarse, catalog, **TRUTH), "pruned")
    with_parallax = value(coarse, stars, **TRUTH)
    no_parallax = np.isnan(stars.parallax)
    assert_close(got[no_parallax], with_parallax[no_parallax], "same_formula")
    assert (got[~no_parallax] != with_parallax[~no_parallax]).all()


def test_both_ways_to_give_the_distance(coarse, stars):
    """An old function of a number must not be computed in single precision."""
    distance = {"distance_pc": 10.0 ** (0.2 * TRUTH["distance_modulus"] + 1.0)}
    others = {k: v for k, v in TRUTH.items() if k != "distance_modulus"}
    by_modulus = value(coarse, stars, **TRUTH)
    assert_close(value(coarse, stars, **others, **distance), by_modulus, "kernel")


def test_expressions_and_numbers_give_the_same(full, single, coarse, stars):
    for compiled, point in ((full, FULL_POINT), (single, SINGLE_POINT)):
        symbolic = compiled.value(point)
        assert_close(symbolic, compiled.reference(point), "pruned")
        assert_close(symbolic, value(coarse, stars, **compiled.build(point)), "pruned")


def test_integers_single_precision_and_constants_are_taken(coarse, stars):
    expected = value(coarse, stars, **(TRUTH | {"feh": 0.0, "log_age": 9.5}))
    single_precision = pt.constant(np.float32(9.5))
    got = value(coarse, stars, **(TRUTH | {"feh": 0, "log_age": single_precision}))
    assert_array_equal(got, expected)


def test_one_star_and_one_band(coarse):
    catalog = psp.StarCatalog([[14.0]], [[0.02]], bands=["TESS"])
    got = value(coarse, catalog, **TRUTH)
    assert_close(got, psp.reference.cluster_logp(coarse, catalog, **TRUTH), "pruned")


OUTSIDE = {
    "feh": [-2.6, 0.51, np.nan],
    "log_age": [6.4, 10.31, np.inf],
    "av": [-1e-6, 4.5],
    "rv": [0.5],
    "distance_pc": [-10.0],
    "field_fraction": [-1e-9, 1.1],
    "binary_fraction": [-0.1, 1.1],
    "intrinsic_scatter": [-0.01],
    "av_scatter": [-0.01],
    "corrections.msto_smooth": [-30.0],
}


def test_outside_the_support_is_minus_infinity_with_a_finite_gradient(full):
    for name, values in OUTSIDE.items():
        for v in values:
            point = FULL_POINT | {name: v}
            assert_array_equal(full.value(point), np.full(12, -np.inf), err_msg=f"{name}={v}")
            if not np.isfinite(v) or name == "distance_pc":
                continue  # there the expressions before the likelihood are not defined
            for by, derivative in full.jacobian(point).items():
                assert np.isfinite(derivative).all(), f"{name}={v}, derivative by {by}"


def test_the_edges_of_the_grid_belong_to_it(full, coarse):
    for name, edges in (("feh", coarse.feh_range), ("log_age", coarse.log_age_range)):
        for edge in edges:
            assert np.isfinite(full.value(FULL_POINT | {name: edge})).all(), f"{name}={edge}"


def test_stars_do_not_influence_each_other(full, coarse, stars):
    some = stars.select([5, 0, 7])
    # The ranges of the field and the errors at the limits come from the catalog: give them.
    field = psp.UniformField().frozen(stars, LIMITS)
    limits = replace(LIMITS, error=LIMITS.errors(stars))
    arguments = full.build(FULL_POINT) | {"field": field, "selection": limits}
    assert_close(value(coarse, some, **arguments), full.value(FULL_POINT)[[5, 0, 7]], "kernel")


def test_a_field_of_the_users_own(coarse, stars):
    """Anything with `log_density` will do, here three times the uniform one."""

    class Denser:
        def log_density(self, catalog, selection=None):
            return psp.UniformField().log_density(catalog, selection) + np.log(3.0)

    parameters = TRUTH | {"field_fraction": 1.0}
    plain, dense = (value(coarse, stars, **parameters, field=f) for f in
                    (psp.UniformField(), Denser()))  # fmt: skip
    assert_close(dense - plain, np.full(stars.n_star, np.log(3.0)), "kernel")


def distance_function(iso, stars, **parameters):
    """Log-likelihoods and the gradient of their sum by a symbolic distance modulus."""
    modulus = pt.dscalar("distance_modulus")
    others = {k: v for k, v in TRUTH.items() if not k.startswith("distance")}
    logp = psp.cluster_logp(iso, stars, **others, **parameters, distance_modulus=modulus)
    gradient = pt.grad(logp.sum(), modulus)
    return pytensor.function([modulus], [logp, gradient], mode="FAST_COMPILE")


@pytest.mark.parametrize("modulus", [-30.0, 60.0])
def test_where_no_member_passes_the_limits_the_field_remains(coarse, stars, modulus):
    parameters = {**OPTIONS, "selection": LIMITS, "field_fraction": 0.3}
    logp, gradient = distance_function(coarse, stars, **parameters)(modulus)
    field = psp.UniformField().log_density(stars, LIMITS)
    assert_close(logp, np.log(0.3) + field, "same_formula")
    assert gradient == 0.0
    others = {k: v for k, v in TRUTH.items() if not k.startswith("distance")}
    with np.errstate(divide="ignore"):
        slow = psp.reference.cluster_logp(
            coarse, stars, **others, **parameters, distance_modulus=modulus
        )
    assert_close(slow, logp, "same_formula")


def test_a_distance_that_is_not_a_number_does_not_become_one(coarse, stars):
    logp, _ = distance_function(coarse, stars, **OPTIONS, field_fraction=0.3)(np.nan)
    assert np.isnan(logp).all()
