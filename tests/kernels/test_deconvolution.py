"""Log densities of proper motions and extreme deconvolution, against slow and obvious forms."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from pymc_starpop.kernels.deconvolution import Data, Gaussians, em_step, log_density, log_terms
from pymc_starpop.kernels.proper_motion import motion_logp
from tolerances import assert_close


def covariance_of(errors, corr):
    both = corr * errors[0] * errors[1]
    return np.array([[errors[0] ** 2, both], [both, errors[1] ** 2]])


def matrix(triple):
    return np.array([[triple[0], triple[1]], [triple[1], triple[2]]])


@pytest.fixture
def mixture():
    return Gaussians(
        np.array([0.5, 0.3, 0.2]),
        np.array([[-2.0, 1.0], [3.0, -4.0], [0.5, 0.5]]),
        np.array([[9.0, 2.0, 4.0], [1.0, -0.6, 2.0], [0.04, 0.0, 0.04]]),
    )


def drawn(mixture, n, rng):
    """Points of a mixture with errors, as they are measured."""
    of = rng.choice(len(mixture.weights), size=n, p=mixture.weights)
    errors, corr = rng.uniform(0.05, 0.8, (n, 2)), rng.uniform(-0.8, 0.8, n)
    values = [
        rng.multivariate_normal(
            mixture.means[k], matrix(mixture.covariances[k]) + covariance_of(e, c)
        )
        for k, e, c in zip(of, errors, corr, strict=True)
    ]
    return Data(np.array(values), errors, corr)


def slow_step(data, mixture, is_round):
    """The same step, one point and one component after the other, with matrices."""
    n, n_component = len(data.values), len(mixture.weights)
    q, b, total = np.empty((n, n_component)), np.empty((n, n_component, 2)), 0.0
    spread = np.empty((n, n_component, 2, 2))
    for i in range(n):
        noise = covariance_of(data.errors[i], data.corr[i])
        for j in range(n_component):
            v, m = matrix(mixture.covariances[j]), mixture.means[j]
            density = multivariate_normal(m, v + noise).pdf(data.values[i])
            q[i, j] = mixture.weights[j] * density
            drawn_back = v @ np.linalg.inv(v + noise)
            b[i, j] = m + drawn_back @ (data.values[i] - m)
            spread[i, j] = v - drawn_back @ v
        total += np.log(q[i].sum())
        q[i] /= q[i].sum()
    means = np.array([np.average(b[:, j], axis=0, weights=q[:, j]) for j in range(n_component)])
    covariances = []
    for j in range(n_component):
        off = b[:, j] - means[j]
        each = off[:, :, None] * off[:, None, :] + spread[:, j]
        covariance = np.average(each, axis=0, weights=q[:, j])
        if is_round[j]:
            covariance = 0.5 * np.trace(covariance) * np.eye(2)
        covariances.append(covariance[[0, 0, 1], [0, 1, 1]])
    return Gaussians(q.mean(axis=0), means, np.array(covariances)), total


def test_log_density_against_scipy(mixture, rng):
    data = drawn(mixture, 20, rng)
    expected = [
        [
            np.log(w) + multivariate_normal(m, matrix(v) + covariance_of(e, c)).logpdf(x)
            for w, m, v in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
        ]
        for x, e, c in zip(data.values, data.errors, data.corr, strict=True)
    ]
    assert_close(log_terms(data, mixture), expected, "kernel")
    assert_close(log_density(data, mixture), np.log(np.exp(expected).sum(axis=1)), "kernel")
    one = motion_logp((0.3, -0.2), (0.1, 0.2), 0.5, (0.01, 0.0, 0.01))
    wanted = multivariate_normal(cov=covariance_of((0.1, 0.2), 0.5) + 0.01 * np.eye(2))
    assert_close(one, wanted.logpdf([0.3, -0.2]), "kernel")


def test_a_step_against_the_slow_one(mixture, rng):
    data, is_round = drawn(mixture, 30, rng), np.array([False, False, True])
    found, total = em_step(data, mixture, is_round, np.zeros(3))
    expected, wanted = slow_step(data, mixture, is_round)
    assert_close(total, wanted, "kernel")
    for name in ("weights", "means", "covariances"):
        assert_close(getattr(found, name), getattr(expected, name), "kernel")


@pytest.mark.parametrize("least", [0.0, 1.2])
def test_the_likelihood_never_falls(mixture, rng, least):
    data, is_round = drawn(mixture, 400, rng), np.array([False, False, True])
    least_width = np.array([least, least, 0.0])
    at = Gaussians(np.full(3, 1 / 3), data.values[:3], np.array([[4.0, 0.0, 4.0]] * 3))
    totals = []
    for _ in range(60):
        at, total = em_step(data, at, is_round, least_width)
        totals.append(total)
        eigenvalues = [np.linalg.eigvalsh(matrix(v)).min() for v in at.covariances]
        assert np.all(np.array(eigenvalues) >= least_width**2 - 1e-12)
    assert np.all(np.diff(totals) > -1e-9)
    assert totals[-1] > totals[0] + 50.0


def test_no_weight_is_no_error(mixture, rng):
    data = drawn(mixture, 10, rng)
    lost = Gaussians(np.array([0.6, 0.4, 0.0]), mixture.means, mixture.covariances)
    found, total = em_step(data, lost, np.zeros(3, dtype=bool), np.zeros(3))
    assert np.isfinite(total)
    assert found.weights[2] == 0.0
    assert np.isfinite(found.means).all()
