"""Completeness tables, integrals and draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from scipy.interpolate import CubicHermiteSpline

from pymc_starpop.hess import LogisticCompleteness
from pymc_starpop.stars.completeness import CompletenessIntegral, tabulate
from tolerances import assert_close

CURVE = LogisticCompleteness(0.95, 20.0, 0.3)


def step(mag):
    """Return a completeness that falls from 1 to 0.2 at once."""
    return np.where(np.asarray(mag) < 18.0, 1.0, 0.2)


def wavy(mag):
    """Return a completeness with extrema."""
    return 0.5 + 0.4 * np.sin(3.0 * np.asarray(mag))


def test_table_is_the_curve_to_a_millionth():
    table = tabulate(CURVE, 14.0, 24.0, 0.01)
    mag = np.random.default_rng(1).uniform(14.02, 23.98, 5000)
    assert_close(table(mag), CURVE(mag), "completeness_table")
    assert table.start == 14.0
    assert_close(table.step, 0.01, "same_formula")


def test_table_is_the_cubic_of_scipy():
    """The formula by hand against SciPy's Hermite spline with the same slopes."""
    table = tabulate(wavy, 14.0, 16.0, 0.3)
    assert table.step <= 0.3
    nodes = table.start + table.step * np.arange(table.value.size)
    assert_close([nodes[0], nodes[-1]], [14.0, 16.0], "same_formula")
    spline = CubicHermiteSpline(nodes, table.value, table.slope)
    mag = np.concatenate([nodes, np.linspace(14.0, 16.0, 777)])
    assert_close(table(mag), spline(mag), "same_formula")


@pytest.mark.parametrize("curve", [CURVE, step, wavy])
def test_table_is_smooth_within_bounds_and_constant_beyond(curve):
    table = tabulate(curve, 17.0, 21.0, 0.05)
    mag = np.linspace(16.0, 22.0, 60_001)
    values = table(mag)
    rounding = 4 * np.finfo(float).eps
    assert values.min() >= min(table.value) - rounding
    assert values.max() <= max(table.value) + rounding
    slopes = np.diff(values) / np.diff(mag)
    # No jump of the slope: its change over 1e-4 mag is small beside the largest slope.
    assert np.abs(np.diff(slopes)).max() < 0.02 * np.abs(slopes).max()
    assert set(values[mag < 17.0]) == {table.value[0]}
    assert set(values[mag > 21.0]) == {table.value[-1]}


@given(low=st.floats(15.0, 22.0), width=st.floats(0.01, 5.0))
def test_integral_is_that_of_quadrature(low, width):
    integral = CompletenessIntegral(CURVE, 15.0, 27.0)
    expected = integrate.quad(CURVE, low, low + width, points=[20.0])[0]
    assert_close(integral.between(low, low + width), expected, "quadrature")


@pytest.mark.parametrize("curve", [CURVE, step, wavy])
def test_draws_have_the_completeness_as_density(curve):
    low, high = np.full(4000, 17.0), np.full(4000, 21.0)
    integral = CompletenessIntegral(curve, 17.0, 21.0)
    drawn = np.sort(integral.draw(low, high, np.random.default_rng(2)))
    total = integral.between(low, drawn) / integral.between(low, high)
    # Kolmogorov's distance, at a chance of 1e-6 of being larger.
    assert np.abs(total - np.arange(0.5, 4000) / 4000).max() < 2.7 / np.sqrt(4000)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((20.0, 10.0, 0.01), "finite and ascend"),
        ((-np.inf, 10.0, 0.01), "finite and ascend"),
        ((10.0, 20.0, 0.0), "step must be positive"),
        ((10.0, 20.0, np.nan), "step must be positive"),
    ],
)
def test_bad_tables(arguments, words):
    with pytest.raises(ValueError, match=words):
        tabulate(CURVE, *arguments)
