"""Kernels of C1 cubic interpolation: against their twins, on nodes, at ends, for quadratics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pymc_starpop.kernels import interpolation
from pymc_starpop.kernels.reference import interpolation as reference_interpolation

AXIS = np.array([-2.5, -2.0, -1.75, -1.5, -1.0, -0.25, 0.0, 0.5])


def random_axis(rng, n):
    return np.cumsum(rng.uniform(0.1, 1.0, n))


def combine(weights, i0, y):
    n = min(4, len(y))
    return weights[:n] @ y[i0 : i0 + n]


def coordinates(axis):
    """Points inside, nodes, ends, and the neighboring floating-point numbers of nodes."""
    middles = 0.3 * axis[:-1] + 0.7 * axis[1:]
    return np.r_[axis, np.nextafter(axis[1:], -10), np.nextafter(axis[:-1], 10), middles]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8])
def test_weights_match_the_twin(n):
    rng = np.random.default_rng(n)
    axis, y = random_axis(rng, n), rng.normal(size=n)
    for x in np.r_[coordinates(axis), axis[0] - 1.0, axis[-1] + 1.0]:
        i0, w, dw = interpolation.hermite_weights(axis, x)
        value, slope = reference_interpolation.hermite(axis, y, x)
        assert_allclose(combine(w, i0, y), value, atol=1e-12)
        assert_allclose(combine(dw, i0, y), slope, atol=1e-11)


@pytest.mark.parametrize("n", [3, 4, 5, 8])
def test_exact_for_quadratics_everywhere(n):
    axis = AXIS[:n]
    for x in coordinates(axis):
        i0, w, dw = interpolation.hermite_weights(axis, x)
        assert_allclose(
            combine(w, i0, 1.0 - axis + 0.7 * axis**2), 1.0 - x + 0.7 * x**2, atol=1e-13
        )
        assert_allclose(combine(dw, i0, 1.0 - axis + 0.7 * axis**2), -1.0 + 1.4 * x, atol=1e-12)


@given(x=st.floats(-2.5, 0.5))
@settings(deadline=None, max_examples=50)
def test_weights_sum_to_one_and_derivative_weights_to_zero(x):
    i0, w, dw = interpolation.hermite_weights(AXIS, x)
    assert 0 <= i0 <= AXIS.size - 4
    assert_allclose(w.sum(), 1.0, atol=1e-14)
    assert_allclose(dw.sum(), 0.0, atol=1e-12)


def test_a_node_returns_its_own_value():
    y = np.random.default_rng(0).normal(size=AXIS.size)
    for x, expected in zip(AXIS, y, strict=True):
        i0, w, _ = interpolation.hermite_weights(AXIS, x)
        assert combine(w, i0, y) == expected


def test_value_and_derivative_are_continuous_at_nodes():
    y = np.random.default_rng(0).normal(size=AXIS.size)
    for x in AXIS[1:-1]:
        sides = []
        for point in (np.nextafter(x, -10), x, np.nextafter(x, 10)):
            i0, w, dw = interpolation.hermite_weights(AXIS, point)
            sides.append((combine(w, i0, y), combine(dw, i0, y)))
        assert_allclose(sides[0], sides[1], rtol=1e-9, atol=1e-9)
        assert_allclose(sides[2], sides[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("x", [-np.inf, -9.0, 9.0, np.inf, np.nan])
def test_outside_is_clamped_and_flat(x):
    i0, w, dw = interpolation.hermite_weights(AXIS, x)
    end = AXIS[-1] if x > 0 else AXIS[0]
    assert combine(w, i0, AXIS) == end
    assert_array_equal(dw, 0.0)


def theory_case(rng, n_feh=6, n_age=7):
    feh, age = random_axis(rng, n_feh), random_axis(rng, n_age)
    return feh, age, rng.normal(size=(n_feh, n_age, 11, 4))


def test_theory_matches_the_twin():
    rng = np.random.default_rng(1)
    feh, age, table = theory_case(rng)
    points = [*zip(rng.uniform(feh[0], feh[-1], 20), rng.uniform(age[0], age[-1], 20), strict=True)]
    points += [(f, a) for f in feh for a in age] + [(feh[0] - 1.0, age[2]), (feh[1], age[-1] + 1.0)]
    for point in points:
        got = interpolation.interpolate_theory(*point, feh, age, table)
        expected = reference_interpolation.interpolate_theory(*point, feh, age, table)
        for a, b in zip(got, expected, strict=True):
            assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_theory_on_a_node_is_the_table():
    feh, age, table = theory_case(np.random.default_rng(2))
    value, _, _ = interpolation.interpolate_theory(feh[3], age[-1], feh, age, table)
    assert_array_equal(value, table[3, -1].T)


@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 2, 3), (4, 3, 4)])
def test_bolometric_matches_the_twin(shape):
    rng = np.random.default_rng(3)
    feh, teff, g = (random_axis(rng, n) for n in shape)
    table = rng.normal(size=(*shape, 3, 4))
    log_teff = np.r_[rng.uniform(teff[0], teff[-1], 30), teff, teff[0] - 1.0, teff[-1] + 1.0]
    log_g = np.r_[rng.uniform(g[0] - 0.2, g[-1] + 0.2, log_teff.size - 2), g[0], g[-1]]
    for x in (feh[0], feh[-1], rng.uniform(feh[0], feh[-1]), feh[shape[0] // 2]):
        arguments = (log_teff, log_g, x, teff, g, feh, table)
        got = interpolation.interpolate_bolometric(*arguments)
        expected = reference_interpolation.interpolate_bolometric(*arguments)
        for a, b in zip(got, expected, strict=True):
            assert_allclose(a, b, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("n_order", [1, 2])
@pytest.mark.parametrize("shape", [(5, 6, 7, 3, 4), (1, 2, 3, 9, 4), (4, 3, 4, 1, 2)])
def test_corrections_with_extinction_are_the_polynomials(shape, n_order):
    rng = np.random.default_rng(5)
    feh, teff, g = (random_axis(rng, n) for n in shape[:3])
    table = rng.normal(size=shape)
    log_teff = np.r_[rng.uniform(teff[0], teff[-1], 20), teff, teff[0] - 1.0, teff[-1] + 1.0]
    log_g = rng.uniform(g[0] - 0.2, g[-1] + 0.2, log_teff.size)
    x, av = rng.uniform(feh[0], feh[-1]), 0.8
    got = interpolation.interpolate_reddened(log_teff, log_g, x, av, teff, g, feh, table, n_order)
    *moved, _ = got
    twin = reference_interpolation.interpolate_bolometric(log_teff, log_g, x, teff, g, feh, table)

    def derivative(coefficients, order):
        polynomial = np.polynomial.Polynomial
        last = coefficients.reshape(-1, shape[-1])
        values = [polynomial(c).deriv(order)(av) if order else polynomial(c)(av) for c in last]
        return np.reshape(values, coefficients.shape[:-1])

    for found, coefficients in zip(moved, twin, strict=True):
        expected = [derivative(coefficients, order) for order in range(n_order)]
        assert_allclose(found, expected, rtol=1e-10, atol=1e-9)
    expected = [derivative(twin[0], order + 1) for order in range(n_order)]
    assert_allclose(got[-1], expected, rtol=1e-10, atol=1e-9)


def test_bolometric_takes_tables_that_are_not_contiguous():
    rng = np.random.default_rng(4)
    axes = [random_axis(rng, n) for n in (5, 6, 7)]
    table = rng.normal(size=(5, 6, 7, 3, 8))[..., ::2]
    arguments = (axes[0][1:4], axes[1][1:4], axes[2][2], axes[1], axes[2], axes[0])
    got = interpolation.interpolate_bolometric(*arguments, table)
    expected = interpolation.interpolate_bolometric(*arguments, table.copy())
    for a, b in zip(got, expected, strict=True):
        assert_allclose(a, b, rtol=1e-12, atol=1e-13)
