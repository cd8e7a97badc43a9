"""Starting points: searches that the edge of the support used to end."""

import numpy as np
import pymc as pm
import pytest
from numpy.testing import assert_allclose

import pymc_starpop as psp


@pytest.fixture(scope="module")
def narrow_start():
    """A narrow optimum in a support so small that a step of unit length leaves it."""
    with pm.Model():
        x = pm.Normal("x", 0.0, 0.1, shape=3)
        outside = pm.math.ge(pm.math.abs(x).max(), 0.45)
        peak = -0.5 * (((x - 0.3) / 0.003) ** 2).sum()
        pm.Potential("peak", pm.math.switch(outside, -np.inf, peak))
        return psp.find_start(5, progressbar=False)


def test_climbs_from_several_starts_agree(narrow_start):
    assert narrow_start.optima.sizes["optimum"] == 1
    assert int(narrow_start.optima["n_start"][0]) == 5
    # The mean of two Gaussians, weighted by their precisions.
    expected = 0.3 / (1.0 + (0.003 / 0.1) ** 2)
    assert_allclose(narrow_start["x"], expected, atol=1e-4)


def test_optima_say_whether_they_are_maxima(narrow_start):
    assert bool(narrow_start.optima["converged"][0])
    heading, row = str(narrow_start).splitlines()
    assert "converged" in heading
    assert "yes" in row


def test_an_optimum_at_the_edge_of_the_support_is_not_called_a_maximum():
    with pm.Model():
        x = pm.Normal("x", 0.0, 1.0)
        pm.Potential("rise", pm.math.switch(x < 1.0, 20.0 * x, -np.inf))
        start = psp.find_start(1, progressbar=False)
    assert not bool(start.optima["converged"][0])
    assert float(start["x"]) == pytest.approx(1.0, abs=1e-3)
    assert "no" in str(start).splitlines()[1]


def test_one_climb_draws_nothing():
    """So a prior that cannot be drawn from is no obstacle."""
    with pm.Model():
        x = pm.Flat("x")
        pm.Potential("peak", -0.5 * ((x - 50.0) / 0.01) ** 2)
        start = psp.find_start(1, progressbar=False)
    assert float(start["x"]) == pytest.approx(50.0, abs=1e-3)
