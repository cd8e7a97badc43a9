"""Median and scatter of rounded numbers against the slow form, and against the truth."""

import numpy as np
import pytest

from pymc_starpop.hess.rounding import center, rounding_step, scatter
from pymc_starpop.kernels import rounded
from pymc_starpop.kernels.reference import rounded as reference_rounded

STEP = 0.01


@pytest.mark.parametrize("sigma", [0.004, 0.01, 0.03])
def test_against_the_slow_form(sigma):
    rng = np.random.default_rng(3)
    values = np.round(0.003 + sigma * rng.normal(size=(2, 100)), 2)
    start, spread = np.full(2, 0.0021), np.full(2, sigma)
    fast = rounded.normal_center(values, start, spread, STEP)
    slow = reference_rounded.normal_center(values, start, spread, STEP)
    np.testing.assert_allclose(fast, slow, atol=1e-8)
    residuals = values - 0.0027
    top = np.full(2, 3.0 * sigma + STEP)
    fast = rounded.normal_scatter(residuals, top, STEP)
    slow = reference_rounded.normal_scatter(residuals, top, STEP)
    np.testing.assert_allclose(fast, slow, atol=1e-8)


@pytest.mark.parametrize("step", [0.01, 0.001])
@pytest.mark.parametrize("in_steps", [0.4, 0.7, 1.2, 1.6, 3.0, 12.0, 39.0, 50.0])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.5])
def test_truth(step, in_steps, place):
    """As if nothing were rounded: 1.17 / sqrt(n) of the deviation, 1.25 / sqrt(n) of the median."""
    rng = np.random.default_rng(4)
    sigma = in_steps * step
    exact = place * step + sigma * rng.normal(size=(8, 4000))
    values = step * np.round(exact / step)
    middle = center(values, step)
    spread = scatter(values - middle[:, None], step)
    limit = 4.0 * 1.25 / np.sqrt(exact.size)
    assert abs((middle.mean() - place * step) / sigma) < limit + 0.03 * (in_steps < 0.5)
    assert abs(spread.mean() / sigma - 1.0) < limit + 0.01 * (in_steps < 0.5)


def test_outliers_move_it_as_without_rounding():
    rng = np.random.default_rng(5)
    exact = 0.006 * rng.normal(size=(8, 4000))
    exact[:, :200] -= 1.0  # 5 % on one side
    values = np.round(exact, 2)
    middle, plain = center(values, STEP), center(exact)
    assert np.abs(middle - plain).max() < 4.0 * 1.25 * 0.006 / np.sqrt(4000)
    ratio = scatter(values - middle[:, None], STEP) / scatter(exact - plain[:, None])
    assert abs(ratio.mean() - 1.0) < 0.03


def test_step():
    rng = np.random.default_rng(6)
    values = rng.uniform(15.0, 30.0, 5000)
    for step in (0.1, 0.05, 0.01, 0.005, 0.001):
        written = step * np.round(values / step)
        assert rounding_step(written) == step
        assert rounding_step(written.astype(np.float32).astype(float)) == step
    assert rounding_step(values) == 0.0
    assert rounding_step(values[:0]) == 0.0
