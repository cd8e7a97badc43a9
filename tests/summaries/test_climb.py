"""Climbs on surfaces whose maxima are known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from pymc_starpop.summaries.climb import climb, follow

ONES = np.ones(2)


def gaussian(center, sd, allowed=lambda x: True):
    """Log density without its norm, minus infinity where `allowed` says no, and its gradient."""

    def evaluate(x):
        if not allowed(x):
            return -np.inf, np.full(x.size, np.nan)
        deviation = (x - center) / sd
        return -0.5 * float(deviation @ deviation), -deviation / sd

    return evaluate


@pytest.mark.parametrize("width", [1e-3, 1.0, 1e3])
def test_finds_the_maximum_whatever_the_scale_is_worth(width):
    center, sd = np.array([0.7, -0.3]), width * np.array([1.0, 0.01])
    summit = follow(climb(np.zeros(2), ONES), gaussian(center, sd))
    assert summit.converged
    assert_allclose((summit.position - center) / sd, 0.0, atol=0.05)
    assert summit.logp == pytest.approx(0.0, abs=1e-3)


def test_steps_that_leave_the_support_are_shortened():
    """The start and the maximum lie in a corridor narrower than the first step is long."""
    corridor = gaussian(
        np.array([0.3, 0.0]), np.array([0.02, 0.005]), lambda x: abs(x[1] - 0.1 * x[0]) < 0.04
    )
    summit = follow(climb(np.array([-2.0, -0.17]), ONES), corridor)
    assert summit.converged
    assert_allclose(summit.position, [0.3, 0.0], atol=1e-3)


def test_a_bend_is_followed():
    """Rosenbrock's valley, narrow as a posterior, with a forbidden half plane beside it."""

    def evaluate(x):
        if x[1] < x[0] ** 2 - 0.3:
            return -np.inf, np.zeros(2)
        bend = x[1] - x[0] ** 2
        gradient = np.array([4e4 * bend * x[0] + 200.0 * (1.0 - x[0]), -2e4 * bend])
        return -(1e4 * bend**2 + 100.0 * (1.0 - x[0]) ** 2), gradient

    summit = follow(climb(np.array([-1.2, 1.3]), ONES), evaluate)
    assert summit.converged
    assert_allclose(summit.position, [1.0, 1.0], atol=2e-3)


def test_the_edge_of_the_support_is_no_maximum():
    """There the density rises to the very edge, and the report says so."""
    cut = gaussian(np.ones(2), np.full(2, 0.1), lambda x: x[0] < 0.5)
    summit = follow(climb(np.zeros(2), ONES), cut)
    assert not summit.converged
    assert_allclose(summit.position, [0.5, 1.0], atol=1e-2)


def test_a_saddle_is_left():
    """At the start the gradient vanishes, but it is a minimum along the first axis."""

    def evaluate(x):
        value = -((x[0] ** 2 - 0.25) ** 2) * 50.0 - 0.5 * x[1] ** 2
        return value, np.array([-200.0 * x[0] * (x[0] ** 2 - 0.25), -x[1]])

    summit = follow(climb(np.zeros(2), ONES), evaluate)
    assert summit.converged
    assert_allclose(np.abs(summit.position), [0.5, 0.0], atol=1e-2)


def test_a_plane_has_no_maximum():
    """A ridge without an end: no curvature along it."""

    def evaluate(x):
        return -0.5 * x[0] ** 2, np.array([-x[0], 0.0])

    assert not follow(climb(np.ones(2), ONES), evaluate).converged


def test_a_start_outside_the_support_is_refused():
    assert follow(climb(np.zeros(2), ONES), gaussian(0.0, 1.0, lambda x: False)) is None


def counted(evaluate, climbing):
    """Where a climb ends, and after how many evaluations."""
    calls = []

    def count(x):
        calls.append(x)
        return evaluate(x)

    return follow(climbing, count), len(calls)


def test_a_climb_ends_early_at_an_optimum_that_is_known():
    surface = gaussian(np.array([0.7, -0.3]), np.array([0.1, 0.01]))
    first, n_first = counted(surface, climb(np.zeros(2), ONES))
    second, n_second = counted(surface, climb(np.array([2.0, -1.0]), ONES, [first]))
    assert second is first
    assert n_second < n_first
    assert_allclose(first.covariance, np.diag([0.01, 0.0001]), rtol=1e-6, atol=1e-9)


def test_an_optimum_beside_a_known_one_is_another():
    """Two maxima four widths apart, of the same height."""

    def evaluate(x):
        terms = np.array([-0.5 * (x[0] + 2.0) ** 2, -0.5 * (x[0] - 2.0) ** 2])
        shares = np.exp(terms - np.logaddexp(*terms))
        slope = -shares @ (x[0] - np.array([-2.0, 2.0]))
        return float(np.logaddexp(*terms)) - 0.5 * x[1] ** 2, np.array([slope, -x[1]])

    left = follow(climb(np.array([-3.0, 1.0]), ONES), evaluate)
    right = follow(climb(np.array([3.0, 1.0]), ONES, [left]), evaluate)
    assert_allclose([left.position[0], right.position[0]], [-2.0, 2.0], atol=0.01)
