"""The mass matrix of many clusters against matrices of all variables by all."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import chi2

from pymc_starpop.summaries.blocks import Blocks
from pymc_starpop.summaries.gaussians import Gaussians
from pymc_starpop.summaries.mass_matrix import ClustersPotential, join_gaussians


class GaussianDensity:
    """A log density of clusters that is a Gaussian: its precision is an arrow."""

    def __init__(self, sizes, n_shared, seed):
        rng = np.random.default_rng(seed)
        n = sum(sizes) + n_shared
        places = rng.permutation(n)
        ends = np.cumsum([0, *sizes])
        members = tuple(places[a:b] for a, b in itertools.pairwise(ends))
        self.blocks = Blocks(
            tuple(f"c{k}" for k in range(len(sizes))), members, places[ends[-1] :], {}
        )
        self.precision = np.zeros((n, n))
        shared = self.blocks.shared
        self.precision[np.ix_(shared, shared)] += np.eye(n_shared)
        for own in members:
            # Of each cluster a positive matrix of its variables and the shared ones.
            both = np.concatenate([own, shared])
            root = rng.normal(size=(both.size, both.size))
            self.precision[np.ix_(both, both)] += root @ root.T + 0.1 * np.eye(both.size)
        self.center = rng.normal(size=n)

    def evaluate(self, x):
        return 0.0, np.zeros(len(self.blocks.members)), -self.precision @ (x - self.center)


@pytest.fixture(params=[((3, 3, 3), 2), ((1, 4, 2), 3), ((2, 2), 0)], ids=str)
def joined(request):
    """A density, its covariance, and the same from the Gaussians of its clusters."""
    density = GaussianDensity(*request.param, seed=3)
    covariance = np.linalg.inv(density.precision)
    members, shared = density.blocks.members, density.blocks.shared
    given = [np.linalg.inv(density.precision[np.ix_(own, own)]) for own in members]
    gaussians = Gaussians(
        tuple(density.center[own] for own in members), tuple(map(np.linalg.cholesky, given))
    )
    of_shared = covariance[np.ix_(shared, shared)]
    return covariance, join_gaussians(density, density.center, gaussians, of_shared)


def matrix(function, n):
    return np.transpose([function(column) for column in np.eye(n)])


def test_the_covariance_is_that_of_the_whole(joined):
    covariance, gaussian = joined
    assert gaussian.size == len(covariance)
    spread = matrix(gaussian.spread, gaussian.size)
    assert_allclose(spread @ spread.T, covariance, rtol=1e-7, atol=1e-9)
    transposed = matrix(gaussian.spread_transposed, gaussian.size)
    assert_allclose(transposed, spread.T, atol=1e-12)
    back = matrix(gaussian.gathered, gaussian.size)
    assert_allclose(back @ spread, np.eye(gaussian.size), atol=1e-8)
    assert_allclose(matrix(gaussian.gathered_transposed, gaussian.size), back.T, atol=1e-8)


def test_the_potential_is_what_nuts_asks_for(joined):
    covariance, gaussian = joined
    potential = ClustersPotential(gaussian, rng=1)
    momentum = potential.random()
    velocity = np.empty_like(momentum)
    energy = potential.velocity_energy(momentum, velocity)
    assert_allclose(velocity, covariance @ momentum, rtol=1e-6)
    assert energy == pytest.approx(potential.energy(momentum))
    assert energy == pytest.approx(0.5 * momentum @ covariance @ momentum)
    drawn = 2.0 * np.array([potential.energy(potential.random()) for _ in range(400)])
    # The sum of 400 squares of standard normal vectors.
    low, high = chi2.ppf([1e-4, 1.0 - 1e-4], 400 * gaussian.size)
    assert low < drawn.sum() < high


def test_the_draws_of_the_tuning_change_variances_in_units_of_the_gaussian(joined):
    covariance, gaussian = joined
    potential = ClustersPotential(gaussian, rng=1)
    rng = np.random.default_rng(2)
    # Draws that are twice as wide as the Gaussian.
    for _ in range(1500):
        draw = gaussian.center + gaussian.spread(2.0 * rng.normal(size=gaussian.size))
        potential.update(draw, np.zeros(gaussian.size), True)
    found = matrix(potential.velocity, gaussian.size)
    scales = np.sqrt(np.diag(covariance))
    # Variances of 101 draws, to 14 % each.
    assert_allclose(np.diag(found), 4.0 * np.diag(covariance), rtol=0.6)
    difference = (found - 4.0 * covariance) / np.outer(scales, scales)
    assert np.abs(difference).max() < 2.5
    assert np.trace(found @ np.linalg.inv(covariance)) == pytest.approx(
        4.0 * gaussian.size, rel=0.2
    )
