"""Metallicity models: values by hand, exact gradients, what is refused."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import pymc_starpop as psp
from plr_fixtures import central_differences
from pymc_starpop.hess import metallicity_models as formulas
from pymc_starpop.sfh.metallicity import is_from_weights
from tolerances import assert_close, assert_gradient_close

AGE = np.array([0.1, 1.0, 4.0, 9.0, 13.0])
GRID = np.linspace(-2.5, 0.5, 31)
T_MAX = 13.7


def evaluate(variable):
    return variable.eval(mode="FAST_COMPILE")


def test_linear_relation():
    mh = psp.linear_amr(AGE, 0.1, -1.87, T_MAX)
    assert_close(evaluate(mh), -1.87 + 0.1 * (T_MAX - AGE), "same_formula")


def test_logarithmic_relation():
    """By the definition of [M/H], with the constants of StarFormationHistories.jl."""
    alpha, beta = 8e-4, 1e-4
    z = beta + alpha * (T_MAX - AGE)
    x = 1.0 - (0.2485 + 1.78 * z) - z
    sun = 0.01524 / (1.0 - (0.2485 + 1.78 * 0.01524) - 0.01524)
    assert sun == pytest.approx(0.0215, abs=2e-5)
    expected = np.log10(z / x) - np.log10(sun)
    assert_close(evaluate(psp.log_amr(AGE, alpha, beta, T_MAX)), expected, "same_formula")


def test_solar_values_of_the_logarithmic_relation():
    y_p, gamma, sun = 0.249, 1.5, 0.0207
    z = 0.01
    mh = psp.log_amr([T_MAX], 0.0, z, T_MAX, y_p=y_p, gamma=gamma, z_over_x_sun=sun)
    x = 1.0 - y_p - (1.0 + gamma) * z
    assert_close(evaluate(mh), [np.log10(z / x / sun)], "same_formula")


@given(st.floats(-2.4, 0.3), st.floats(0.01, 1.0), st.floats(0.0, 12.0), st.floats(0.1, 1.5))
def test_relations_through_two_points(mh, rise, age, older):
    first, second = (mh + rise, age), (mh, age + older)
    alpha, beta = psp.linear_amr_through(first, second, T_MAX)
    found = formulas.linear_amr(np.array([age, age + older]), alpha, beta, T_MAX)
    assert_close(found, [mh + rise, mh], "kernel")
    # Anchored at the time of the first stars, where Z cannot be negative.
    alpha, beta = psp.log_amr_through((mh + rise, age), (mh, T_MAX), T_MAX)
    found = formulas.log_amr(np.array([age, T_MAX]), alpha, beta, T_MAX)
    assert_close(found, [mh + rise, mh], "kernel")


@pytest.mark.parametrize("through", [psp.linear_amr_through, psp.log_amr_through])
def test_symbolic_points(through):
    points = [pt.dscalar(name) for name in ("young", "old")]
    pair = through((points[0], 1.0), (points[1], 12.0), T_MAX)
    function = pytensor.function(points, list(pair), mode="FAST_COMPILE")
    expected = through((-0.3, 1.0), (-1.0, 12.0), T_MAX)
    assert all(isinstance(number, float) for number in expected)
    assert_close(function(-0.3, -1.0), expected, "same_formula")


def test_mass_metallicity_relation():
    mass = np.array([6e5, 3e5, 0.0, 1e5])
    mh = evaluate(psp.power_law_mzr(mass, 0.3, -1.2, m0=1e6))
    expected = -1.2 + 0.3 * np.log10([1.0, 0.4, 0.1, 0.1])
    assert_close(mh, expected, "same_formula")


def test_mass_metallicity_relation_before_the_first_stars():
    """No mass yet: a number, and weights and gradients without NaN."""
    mass = pt.dvector("mass")
    mh = psp.power_law_mzr(mass, 0.3, -1.2)
    r = psp.metallicity_weights(mass, mh, 0.1, GRID)
    function = pytensor.function([mass], [mh, r, pt.grad(pt.sum(r**2), mass)], mode="FAST_COMPILE")
    for result in function([1e5, 1e3, 0.0, 0.0]):
        assert np.isfinite(result).all()


def test_monotone_relation():
    mh = evaluate(psp.monotone_amr(AGE, -2.0, [0.1, 0.0, 0.3, 0.4]))
    assert_close(mh, [-1.2, -1.3, -1.3, -1.6, -2.0], "same_formula")
    assert evaluate(psp.monotone_amr([3.0], -2.0, [])).tolist() == [-2.0]


@given(st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4), st.floats(-3.0, 0.0))
def test_monotone_relation_never_falls_with_time(steps, oldest):
    mh = formulas.monotone_amr(np.float64(oldest), np.array(steps))
    assert (np.diff(mh) <= 0.0).all()


@given(st.floats(0.02, 2.0), st.floats(-4.0, 2.0))
def test_weights_share_the_mass(sigma, mean):
    shares = formulas.metallicity_shares(np.array([mean]), np.float64(sigma), GRID)
    assert_close(shares.sum(), 1.0, "same_formula")
    assert GRID[np.argmax(shares)] == pytest.approx(np.clip(mean, -2.5, 0.5), abs=0.0501)


def test_weights_are_the_formula():
    mass, mean, sigma = np.array([1e6, 3e5]), np.array([-1.0, -0.33]), np.array([0.1, 0.25])
    a = np.exp(-0.5 * ((GRID - mean[:, None]) / sigma[:, None]) ** 2)
    expected = mass[:, None] * a / a.sum(axis=1, keepdims=True)
    assert_close(evaluate(psp.metallicity_weights(mass, mean, sigma, GRID)), expected, "kernel")


def test_weights_of_one_metallicity_for_all_ages():
    r = evaluate(psp.metallicity_weights([1.0, 2.0], -1.0, 0.1, GRID))
    assert r.shape == (2, 31)
    assert_close(2.0 * r[0], r[1], "same_formula")


def test_weights_far_outside_the_grid_stay_numbers():
    r = evaluate(psp.metallicity_weights([1.0, 1.0], [-40.0, 40.0], 0.1, GRID))
    assert_close(r[0, 0], 1.0, "same_formula")
    assert_close(r[1, -1], 1.0, "same_formula")


def test_only_the_variable_itself_is_known_as_weights():
    mass = pt.dvector("mass")
    r = psp.metallicity_weights(mass, [-1.0, -0.5], 0.1, GRID)
    with pm.Model():
        named = pm.Deterministic("r", r)
    assert is_from_weights(r)
    assert is_from_weights(named)
    for other in (2.0 * r, r[:1], r + 0.0, mass):
        assert not is_from_weights(other)


def linear(x):
    return psp.linear_amr(AGE, x[5], x[6], T_MAX), [0.1, -1.8]


def logarithmic(x):
    return psp.log_amr(AGE, x[5], x[6], T_MAX), [8e-4, 2e-4]


def mass_metallicity(x):
    return psp.power_law_mzr(pt.exp(x[:5]), x[5], x[6]), [0.4, -1.1]


def monotone(x):
    return psp.monotone_amr(AGE, x[5], pt.exp(x[6:10])), [-2.0, -1.5, -3.0, -0.8, -2.0]


def through_points(x):
    alpha, beta = psp.log_amr_through((x[5], 0.0), (x[6], 13.5), T_MAX)
    return psp.log_amr(AGE, alpha, beta, T_MAX), [-0.2, -1.4]


@pytest.mark.parametrize(
    "relation", [linear, logarithmic, mass_metallicity, monotone, through_points]
)
def test_gradients_against_central_differences(relation):
    """Of the mean metallicities and of the weights, by masses, relation and dispersion."""
    x = pt.dvector("x")
    mean, parameters = relation(x)
    at = np.concatenate([np.log([3e5, 2e5, 5e4, 1e5, 2e6]), parameters, [np.log(0.15)]])
    r = psp.metallicity_weights(pt.exp(x[:5]), mean, pt.exp(x[-1]), GRID)
    rng = np.random.default_rng(1)
    weights = rng.standard_normal(5), 1e-5 * rng.standard_normal((5, 31))
    totals = [pt.sum(mean * weights[0]), pt.sum(r * weights[1])]
    values = pytensor.function([x], totals, mode="FAST_COMPILE")
    gradients = pytensor.function(
        [x], [pt.grad(t, x, disconnected_inputs="ignore") for t in totals], mode="FAST_COMPILE"
    )
    for k, gradient in enumerate(gradients(at)):
        differences = central_differences(lambda y, k=k: values(y)[k], at)
        assert np.abs(differences).max() > 0.01
        assert_gradient_close(gradient, differences)


@pytest.mark.parametrize(
    ("function", "point"),
    [
        (lambda x: psp.log_amr(AGE, x, 1e-4, T_MAX), -1e-3),
        (lambda x: psp.log_amr(AGE, 0.0, x, T_MAX), 0.0),
        (lambda x: psp.log_amr(AGE, x, 0.0, T_MAX), 0.1),
        (lambda x: psp.monotone_amr(AGE, -2.0, pt.stack([x, 0.1, 0.1, 0.1])), -0.1),
        (lambda x: psp.metallicity_weights([1.0], [-1.0], x, GRID), -0.1),
        (lambda x: psp.metallicity_weights([1.0], [-1.0], x, GRID), 0.0),
    ],
)
def test_symbolic_parameters_outside_the_range_are_not_numbers(function, point):
    x = pt.dscalar("x")
    assert np.isnan(pytensor.function([x], function(x), mode="FAST_COMPILE")(point)).any()


def test_labeled_arguments():
    age = xr.DataArray(AGE, dims="log_age")
    mh = psp.linear_amr(age, 0.1, -1.87, T_MAX)
    r = psp.metallicity_weights(xr.ones_like(age), mh, 0.1, xr.DataArray(GRID, dims="mh"))
    assert evaluate(r).shape == (5, 31)


WEIGHTS = {"mass_formed": [1.0, 2.0], "mh": [-1.0, -0.5], "sigma": 0.1, "grid": GRID}


@pytest.mark.parametrize(
    ("function", "change", "message"),
    [
        (psp.linear_amr, {"t_max_gyr": 12.9}, "t_max_gyr: 12.9 Gyr is below an age, 13 Gyr"),
        (psp.linear_amr, {"t_max_gyr": -1.0}, "t_max_gyr: must be finite and positive, got -1"),
        (psp.linear_amr, {"age_gyr": [-1.0]}, "age_gyr: must be finite and not negative"),
        (psp.linear_amr, {"alpha": np.nan}, "alpha: must be finite, got nan"),
        (psp.linear_amr, {"alpha": [1.0, 2.0]}, r"alpha: expected 0 dimension"),
        (psp.log_amr, {"alpha": -0.1}, "alpha: must be finite and not negative, got -0.1"),
        (psp.log_amr, {"beta": -0.1}, "beta: must be finite and not negative"),
        (psp.log_amr, {"y_p": 1.5}, "y_p: expected a number from 0 to 1, got 1.5"),
        (psp.log_amr, {"z_over_x_sun": 0.0}, "z_over_x_sun: expected"),
    ],
)
def test_refusals_of_relations(function, change, message):
    given = {"age_gyr": AGE, "alpha": 1e-4, "beta": 1e-4, "t_max_gyr": T_MAX} | change
    with pytest.raises(ValueError, match=message):
        function(**given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": 0.0}, "sigma: must be finite and positive, got 0"),
        ({"sigma": [0.1, -0.1]}, "sigma: must be finite and positive, got -0.1 to 0.1"),
        ({"sigma": [0.1, 0.1, 0.1]}, "one value for each age, got mass_formed: 2"),
        ({"mh": [-1.0]}, "one value for each age"),
        ({"mh": [-1.0, np.nan]}, "mh: must be finite"),
        ({"mass_formed": [-1.0, 2.0]}, "mass_formed: must be finite and not negative"),
        ({"mass_formed": 1.0}, r"mass_formed: expected 1 dimension\(s\), got 0"),
        ({"grid": [0.0, -1.0]}, "grid: must ascend"),
    ],
)
def test_refusals_of_weights(change, message):
    with pytest.raises(ValueError, match=message):
        psp.metallicity_weights(**(WEIGHTS | change))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: psp.monotone_amr(AGE, -2.0, [0.1, 0.1]), "steps: expected 4 for 5 ages, got 2"),
        (lambda: psp.monotone_amr(AGE, -2.0, [0.1, 0.1, 0.1, -0.1]), "steps: must be finite and"),
        (lambda: psp.monotone_amr(AGE[::-1], -2.0, [0.1] * 4), "age_gyr: must ascend"),
        (lambda: psp.power_law_mzr([1.0], 0.1, -1.0, m0=0.0), "m0: must be finite and positive"),
        (lambda: psp.power_law_mzr([-1.0], 0.1, -1.0), "mass_formed: must be finite"),
        (lambda: psp.linear_amr_through((-1.0, 5.0), (-2.0, 5.0), T_MAX), "both are at the age 5"),
        (lambda: psp.linear_amr_through(-1.0, (-2.0, 5.0), T_MAX), "first: expected"),
        (lambda: psp.log_amr_through((-2.0, 0.0), (-1.0, 12.0), T_MAX), "must not be negative"),
        (lambda: psp.log_amr_through((-0.6, 1.0), (-1.7, 12.0), T_MAX), "before t_max_gyr"),
    ],
)
def test_other_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("through", [psp.linear_amr_through, psp.log_amr_through])
def test_points_in_the_other_order_are_refused(through):
    with pytest.raises(
        ValueError, match=r"an age from 0 to t_max_gyr = 13\.7 Gyr, got an age of -2"
    ):
        through((12.0, -2.0), (1.0, -0.5), 13.7)
