"""Climbs on surfaces whose maxima are known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from pymc_starpop.summaries.climb import climb

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
    summit = climb(gaussian(center, sd), np.zeros(2), ONES)
    assert summit.converged
    assert_allclose((summit.position - center) / sd, 0.0, atol=0.05)
    assert summit.logp == pytest.approx(0.0, abs=1e-3)


def test_steps_that_leave_the_support_are_shortened():
    """The start and the maximum lie in a corridor narrower than the first step is long."""
    corridor = gaussian(
        np.array([0.3, 0.0]), np.array([0.02, 0.005]), lambda x: abs(x[1] - 0.1 * x[0]) < 0.04
    )
    summit = climb(corridor, np.array([-2.0, -0.17]), ONES)
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

    summit = climb(evaluate, np.array([-1.2, 1.3]), ONES)
    assert summit.converged
    assert_allclose(summit.position, [1.0, 1.0], atol=2e-3)


def test_the_edge_of_the_support_is_no_maximum():
    """There the density rises to the very edge, and the report says so."""
    cut = gaussian(np.ones(2), np.full(2, 0.1), lambda x: x[0] < 0.5)
    summit = climb(cut, np.zeros(2), ONES)
    assert not summit.converged
    assert_allclose(summit.position, [0.5, 1.0], atol=1e-2)


def test_a_saddle_is_left():
    """At the start the gradient vanishes, but it is a minimum along the first axis."""

    def evaluate(x):
        value = -((x[0] ** 2 - 0.25) ** 2) * 50.0 - 0.5 * x[1] ** 2
        return value, np.array([-200.0 * x[0] * (x[0] ** 2 - 0.25), -x[1]])

    summit = climb(evaluate, np.zeros(2), ONES)
    assert summit.converged
    assert_allclose(np.abs(summit.position), [0.5, 0.0], atol=1e-2)


def test_a_plane_has_no_maximum():
    """A ridge without an end: no curvature along it."""

    def evaluate(x):
        return -0.5 * x[0] ** 2, np.array([-x[0], 0.0])

    assert not climb(evaluate, np.ones(2), ONES).converged


def test_a_start_outside_the_support_is_refused():
    assert climb(gaussian(0.0, 1.0, lambda x: False), np.zeros(2), ONES) is None
