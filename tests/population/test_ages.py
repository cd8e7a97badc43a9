"""Isochrones that stand for a distribution of ages."""

import numpy as np
import pytest
from scipy import stats

from pymc_starpop.population.ages import AgeDistribution, spread_nodes
from pymc_starpop.population.track_weights import age_rule, shares_of_ages


def density(nodes, x):
    """Density of the sum of smeared isochrones."""
    width = nodes.smear * nodes.half_step
    parts = stats.norm.pdf(x[:, None], np.asarray(nodes.position), width)
    return parts @ np.asarray(nodes.weight)


@pytest.mark.parametrize("n", [3, 5, 9, 21])
def test_nodes_of_a_spread_are_a_gaussian(n):
    nodes, x = spread_nodes(n), np.linspace(-6.0, 6.0, 4001)
    got = density(nodes, x)
    step = x[1] - x[0]
    assert got.sum() * step == pytest.approx(1.0, abs=1e-6)
    assert (got * x**2).sum() * step == pytest.approx(1.0, abs=1e-6)
    # The outermost nodes stand for what lies beyond three standard deviations.
    assert np.abs(got - stats.norm.pdf(x)).max() < 0.02


@pytest.mark.parametrize("width", [0.01, 0.0301, 0.04, 0.1])
def test_a_distribution_keeps_its_density_whatever_its_width(width):
    """Wide Gaussians are sums of narrow ones."""
    ages = AgeDistribution([9.0, 9.03, 9.2], [1.0, 0.0, 2.0], width)
    nodes, x = ages.nodes(), np.linspace(8.0, 10.2, 4001)
    assert nodes.smear * nodes.half_step <= 0.03 + 1e-12
    assert sum(nodes.weight) == pytest.approx(1.0)
    expected = stats.norm.pdf(x[:, None], [9.0, 9.2], width) @ [1.0 / 3.0, 2.0 / 3.0]
    assert np.abs(density(nodes, x) - expected).max() < 0.003 * expected.max()


@pytest.mark.parametrize("smear", [0.3, 0.75, 1.0])
def test_three_ages_have_the_moments_of_a_gaussian(smear):
    x, rule = np.array([-1.0, 0.0, 1.0]), np.array(age_rule(smear))
    moments = [(rule * x**k).sum() for k in range(4)]
    np.testing.assert_allclose(moments, [1.0, 0.0, smear**2, 0.0], atol=1e-15)


def test_shares_follow_the_number_of_stars():
    """Twice as many stars a step later; and none at all at the last nodes."""
    weights = [np.array([w, w, 0.0, 0.0]) for w in (0.1, 0.2, 0.4)]
    shares = np.array(shares_of_ages(weights, 0.75))
    np.testing.assert_allclose(shares.sum(axis=0), 1.0)
    rule = np.array(age_rule(0.75))
    expected = rule * [0.1, 0.2, 0.4] / (rule @ [0.1, 0.2, 0.4])
    np.testing.assert_allclose(shares[:, :3], expected[:, None] * np.ones(3), rtol=1e-10)
    np.testing.assert_allclose(shares[:, 3:], rule[:, None] * np.ones(2))
