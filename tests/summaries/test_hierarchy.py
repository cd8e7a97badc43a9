"""Starts of models of many clusters, where the posterior is known."""

import numpy as np
import pymc as pm
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

import pymc_starpop as psp
from pymc_starpop.summaries.blocks import BlockDensity
from pymc_starpop.summaries.gaussians import Gaussians, fit_gaussians


def coords(n):
    return {"cluster": [f"c{k}" for k in range(n)]}


def population(y, error, *, centred):
    """theta ~ N(mu, tau) for each cluster, y ~ N(theta, error)."""
    with pm.Model(coords=coords(len(y))) as model:
        mu, tau = pm.Normal("mu", 0.0, 2.0), pm.HalfNormal("tau", 1.0)
        if centred:
            theta = pm.Normal("theta", mu, tau, dims="cluster")
        else:
            theta = mu + tau * pm.Normal("z", 0.0, 1.0, dims="cluster")
        pm.Normal("y", theta, error, observed=y, dims="cluster")
    return model


def moments(log_density, *axes):
    """Mean and covariance of a density on a grid."""
    places = np.meshgrid(*axes, indexing="ij")
    weight = np.exp(log_density - log_density.max())
    points = np.array([place.ravel() for place in places])
    return np.average(points, axis=1, weights=weight.ravel()), np.cov(
        points, aweights=weight.ravel()
    )


@pytest.mark.parametrize("centred", [True, False])
def test_the_posterior_of_what_clusters_share_is_that_of_a_grid(centred):
    """The joint density of the centred form has no maximum: it grows as the scatter vanishes."""
    rng = np.random.default_rng(3)
    error = np.full(30, 0.2)
    y = rng.normal(1.0, 0.5, 30) + rng.normal(0.0, error)
    start = psp.find_start(3, model=population(y, error, centred=centred), progressbar=False)
    mu, log_tau = np.linspace(0.3, 1.7, 141), np.linspace(-2.0, 0.5, 151)
    grid_mu, grid_log = np.meshgrid(mu, log_tau, indexing="ij")
    tau = np.exp(grid_log)
    expected = norm.logpdf(grid_mu, 0.0, 2.0) + norm.logpdf(tau) + grid_log
    for value, own in zip(y, error, strict=True):
        expected = expected + norm.logpdf(value, grid_mu, np.hypot(tau, own))
    mean, covariance = moments(expected, mu, log_tau)
    assert start.shared["parameter"].values.tolist() == ["mu", "tau_log__"]
    sd = np.sqrt(np.diag(covariance))
    assert_allclose((start.shared["mean"] - mean) / sd, 0.0, atol=0.05)
    assert_allclose(np.sqrt(np.diag(start.shared["covariance"])) / sd, 1.0, atol=0.05)
    assert abs(float(start.shared["covariance"][0, 1])) < 0.05 * sd.prod()
    # In the model's own space, where the exponential of a Gaussian is known.
    tau_mean = np.exp(mean[1] + 0.5 * covariance[1, 1])
    assert start.shared["variable"].values.tolist() == ["mu", "tau"]
    assert float(start.shared["value_mean"][1]) == pytest.approx(tau_mean, rel=0.02)
    assert float(start.shared["value_sd"][1]) == pytest.approx(tau_mean * sd[1], rel=0.1)
    assert float(start["tau"]) == pytest.approx(float(np.exp(start.shared["mean"][1])))
    # The clusters are at their maxima given that.
    shrunk = (y / error**2 + float(start["mu"]) / float(start["tau"]) ** 2) / (
        1.0 / error**2 + 1.0 / float(start["tau"]) ** 2
    )
    found = start["theta"] if centred else start["mu"] + start["tau"] * start["z"]
    assert_allclose(found, shrunk, atol=2e-3)
    assert start.optima["cluster"].values.tolist() == coords(30)["cluster"]
    assert "tau = " in str(start)


def test_a_parameter_that_clusters_share_in_their_likelihood():
    """The error of all measurements, with the clusters' own means integrated out."""
    rng = np.random.default_rng(5)
    y = rng.normal(0.0, 1.0, (8, 1)) + rng.normal(0.0, 0.3, (8, 5))
    with pm.Model(coords=coords(8) | {"measurement": range(5)}) as model:
        sigma = pm.HalfNormal("sigma", 1.0)
        theta = pm.Normal("theta", 0.0, 1.0, dims="cluster")
        pm.Normal("y", theta[:, None], sigma, observed=y, dims=("cluster", "measurement"))
    start = psp.find_start(3, model=model, progressbar=False)
    log_sigma = np.linspace(-2.5, 0.0, 501)
    variance = np.exp(2.0 * log_sigma)
    means, squares = y.mean(1), ((y - y.mean(1, keepdims=True)) ** 2).sum()
    expected = norm.logpdf(np.exp(log_sigma)) + log_sigma
    expected = expected - 0.5 * (8 * 4 * np.log(variance) + squares / variance)
    for value in means:
        expected = expected + norm.logpdf(value, 0.0, np.sqrt(1.0 + variance / 5))
    mean, variance = moments(expected, log_sigma)
    assert_allclose((start.shared["mean"] - mean) / np.sqrt(variance), 0.0, atol=0.05)
    assert_allclose(start.shared["covariance"].values.item() / variance, 1.0, atol=0.1)


def two_wells(depths):
    """Each cluster has wells at 2 and at -2, the second less deep, and shares their place."""
    with pm.Model(coords=coords(len(depths))) as model:
        shift = pm.Normal("shift", 0.0, 0.01)
        x = pm.Normal("x", 0.0, 5.0, dims="cluster")
        wells = [-0.5 * ((x - shift - at) / 0.1) ** 2 for at in (2.0, -2.0)]
        pm.Potential("wells", pm.math.logaddexp(wells[0], wells[1] - depths), dims="cluster")
    return model


def test_optima_of_single_clusters_are_starts_of_other_chains():
    depths = np.array([1.0, 30.0, 2.0])
    start = psp.find_start(8, model=two_wells(depths), progressbar=False)
    assert_allclose(start["x"], 2.0, atol=0.01)
    table = start.optima.to_dataframe()
    assert list(table["cluster"]) == ["c0", "c0", "c1", "c1", "c2", "c2"]
    assert (table.groupby("cluster")["n_start"].sum() == 8).all()
    assert table["converged"].all()
    expected = np.exp(-depths[[0, 2]]) / (1.0 + np.exp(-depths[[0, 2]]))
    assert_allclose(table["weight"].to_numpy()[[1, 5]], expected, rtol=0.02)
    # The second well of c1 has no weight.
    (rival,) = start.rivals
    assert_allclose(rival["x"], [-2.0, 2.0, -2.0], atol=0.01)
    assert rival["shift"] == start["shift"]


def test_evaluations_do_not_grow_with_the_number_of_clusters(monkeypatch):
    calls = []
    evaluate = BlockDensity.evaluate
    monkeypatch.setattr(
        BlockDensity, "evaluate", lambda self, x: calls.append(1) or evaluate(self, x)
    )

    def count(n):
        calls.clear()
        y = np.random.default_rng(1).normal(1.0, 0.5, n)
        psp.find_start(2, model=population(y, np.full(n, 0.2), centred=True), progressbar=False)
        return len(calls)

    assert count(60) < 2 * count(6)


def test_clusters_that_share_nothing_are_single_ones():
    with pm.Model(coords=coords(3)):
        pm.Normal("x", [1.0, 2.0, 3.0], 0.5, dims="cluster")
        start = psp.find_start(2, progressbar=False)
    assert start.shared is None
    assert_allclose(start["x"], [1.0, 2.0, 3.0], atol=1e-3)
    assert_allclose(start.optima["weight"], 1.0)


def test_clusters_that_depend_on_each_other_climb_together():
    """Through the order of a transform, and through a term that belongs to none."""
    ordered = pm.distributions.transforms.ordered
    with pm.Model(coords=coords(2)):
        x = pm.Normal("x", 0.0, 1.0, dims="cluster", transform=ordered, initval=[-1.0, 1.0])
        pm.Normal("y", x, 0.1, observed=[0.0, 1.0], dims="cluster")
        start = psp.find_start(3, progressbar=False)
    assert start.shared is None
    assert start.optima.sizes["x_dim_0"] == 2
    with pm.Model(coords=coords(2)):
        x = pm.Normal("x", 0.0, 1.0, dims="cluster")
        pm.Potential("sum", -0.5 * ((x.sum() - 2.0) / 0.01) ** 2)
        start = psp.find_start(3, progressbar=False)
    assert_allclose(start["x"], 1.0, atol=0.01)


def test_a_cluster_without_density_is_named():
    with pm.Model(coords=coords(2)):
        x = pm.Normal("x", 0.0, 1.0, dims="cluster")
        far = pm.math.switch(x > np.array([-50.0, 50.0]), 0.0, -np.inf)
        pm.Potential("far", far, dims="cluster")
        with pytest.raises(ValueError, match="cluster 'c1': none of 50 starting points has a fin"):
            psp.find_start(2, progressbar=False)


def separate(*densities):
    """Parts of densities of their own, each a function that returns value and gradient."""

    def parts(positions):
        found = [density(x) for density, x in zip(densities, positions, strict=True)]
        return np.array([f[0] for f in found]), [f[1] for f in found], 0.0, np.zeros(1)

    return parts


def test_the_nearest_gaussian_is_found():
    """That of a Gaussian is itself; of exp(x) a gamma density the moments of its logarithm."""
    precision = np.array([[2.0, 0.9], [0.9, 1.0]])
    center = np.array([3.0, -1.0])

    def gaussian(x):
        return -0.5 * (x - center) @ precision @ (x - center), -precision @ (x - center)

    def log_gamma(x):
        return (20.0 * x - np.exp(x)).sum(), 20.0 - np.exp(x)

    first = Gaussians((np.zeros(2), np.full(1, 2.0)), (np.eye(2), 0.1 * np.eye(1)))
    found, sweep = fit_gaussians(separate(gaussian, log_gamma), first, 1e-6, 1e-3)
    assert_allclose(found.means[0], center, atol=1e-3)
    assert_allclose(found.factors[0] @ found.factors[0].T, np.linalg.inv(precision), atol=1e-3)
    assert sweep.values[0] == pytest.approx(np.log(2.0 * np.pi) - 0.5 * np.log(1.19), abs=1e-3)
    # Digamma and trigamma of 20; the logarithm of its factorial less one.
    assert found.means[1][0] == pytest.approx(2.9705, abs=0.01)
    assert found.factors[1][0, 0] == pytest.approx(np.sqrt(0.05127), rel=0.02)
    assert sweep.values[1] == pytest.approx(39.33988, abs=0.01)


def test_points_beyond_the_end_of_a_density_are_drawn_in():
    def ends(x):
        inside = x[0] < 0.5
        return (-0.5 * x[0] ** 2, -x) if inside else (-np.inf, np.full(1, np.nan))

    found, _ = fit_gaussians(separate(ends), Gaussians((np.zeros(1),), (np.eye(1),)), 1e-4, 1e-2)
    assert found.radius == 0.1
    assert_allclose(found.means[0], 0.0, atol=0.02)
    assert_allclose(found.factors[0], 1.0, atol=0.02)

    def nowhere(x):
        return -np.inf, np.full(1, np.nan)

    start = Gaussians((np.zeros(1),), (np.eye(1),))
    assert fit_gaussians(separate(nowhere), start, 1e-4, 1e-2) is None
