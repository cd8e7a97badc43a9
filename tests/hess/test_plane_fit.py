"""Smooth functions of two coordinates."""

import numpy as np
import pytest
from scipy.special import expit

from pymc_starpop.hess.plane_fit import fit_chance, fit_values

LIMITS = np.array([[20.0, 19.0], [28.0, 27.0]])


@pytest.fixture
def places(rng):
    return rng.uniform(*LIMITS, (400, 2))


def additive(at):
    return np.exp((at[:, 0] - 26.0) / 1.1) + 0.3 * np.sin(at[:, 1])


def test_sum_of_one_function_of_each_coordinate(rng, places):
    noise = 0.1
    value = additive(places) + noise * rng.normal(size=len(places))
    fit = fit_values(places, value, noise**2, LIMITS)
    other = rng.uniform(LIMITS[0] + 0.5, LIMITS[1] - 0.5, (2000, 2))
    assert np.sqrt(np.mean(np.square(fit(other) - additive(other)))) < 0.05
    # A function of two coordinates that were free would take up most of the noise.
    assert fit.freedom < 45.0


def test_function_of_both(rng, places):
    def truth(at):
        return 0.2 * (at[:, 0] - 24.0) * (at[:, 1] - 23.0)

    fit = fit_values(places, truth(places) + 0.05 * rng.normal(size=len(places)), 0.05**2, LIMITS)
    other = rng.uniform(LIMITS[0] + 0.5, LIMITS[1] - 0.5, (2000, 2))
    assert np.sqrt(np.mean(np.square(fit(other) - truth(other)))) < 0.08


def test_places_without_data_follow_their_neighbors(rng):
    """A corner is known where each coordinate is."""
    at = rng.uniform(*LIMITS, (2000, 2))
    at = at[np.abs(at[:, 0] - at[:, 1] - 1.0) < 1.5][:400]
    fit = fit_values(at, additive(at) + 0.05 * rng.normal(size=len(at)), 0.05**2, LIMITS)
    corner = np.array([[27.0, 21.0], [22.0, 26.0]])
    np.testing.assert_allclose(fit(corner), additive(corner), atol=0.15)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_values(rng, n):
    fit = fit_values(rng.uniform(*LIMITS, (n, 2)), np.full(n, 0.7), 0.1**2, LIMITS)
    np.testing.assert_allclose(fit(rng.uniform(*LIMITS, (50, 2))), 0.7, atol=0.1)


def test_beyond_the_limits_the_values_at_them(places):
    fit = fit_values(places, additive(places), 0.01, LIMITS)
    np.testing.assert_array_equal(fit(LIMITS + np.array([[-3.0], [3.0]])), fit(LIMITS))


@pytest.mark.parametrize("in_both", [True, False])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_chance_of_both_bands(seed, in_both):
    """The second band may have no losses: nothing is known of where they would begin."""
    rng = np.random.default_rng(seed)

    def truth(at):
        first = 0.98 * expit((26.3 - at[:, 0]) / 0.35)
        return first * (0.98 * expit((25.3 - at[:, 1]) / 0.3) if in_both else 1.0)

    at = rng.uniform(*LIMITS, (30_000, 2))
    found = (rng.random(len(at)) < truth(at)).astype(float)
    fit = fit_chance(at[:20_000], np.ones(20_000), found[:20_000], LIMITS)
    other = at[20_000:]
    chance, expected = fit(other), truth(other)
    assert abs(chance - expected).mean() < 0.01
    for low, high, most in ((0.01, 0.05, 0.3), (0.05, 0.3, 0.12), (0.3, 1.0, 0.03)):
        inside = (expected > low) & (expected < high)
        assert abs(chance[inside].mean() / expected[inside].mean() - 1.0) < most


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_or_none_found(places, share):
    number = np.full(len(places), 5.0)
    fit = fit_chance(places, number, share * number, LIMITS)
    np.testing.assert_allclose(fit(places), share, atol=0.01)
