"""Clusters with field stars and a magnitude limit are recovered without bias; without terms, not.

The numbers of the slow tests are in docs/bias_study.md.
"""

import numpy as np
import pytest

from bias_study import (
    NAMES,
    Cluster,
    Study,
    cleaned,
    draw_cluster,
    pulls,
    selection,
    shifts,
    table,
)

N_CLUSTER, N_STAR = 30, 300
SEED = 2027
# Bounds for 30 clusters: about three standard errors of a mean and of a standard deviation.
MEAN_PULL = 0.55
SD_PULL = (0.65, 1.4)
# The small version: errors so large that a Gaussian approximates the posterior.
N_SMALL, FLOOR_SMALL = 5, np.full(5, 0.04)
# The Gaussian at the mode is narrower than the posterior: the pulls of twelve such clusters had a
# standard deviation of up to 1.34. Three standard errors of a mean of five.
MEAN_PULL_SMALL = 1.8


def draw_clusters(iso, n, seed, **options):
    return [
        draw_cluster(iso, N_STAR, rng, **options) for rng in np.random.default_rng(seed).spawn(n)
    ]


@pytest.fixture(scope="module")
def small(iso):
    """Draws of the posteriors of five clusters, with and without the selection."""
    clusters = draw_clusters(iso, N_SMALL, 7, floor=FLOOR_SMALL)
    draws = []
    for known in (selection(FLOOR_SMALL), None):
        study = Study(iso, *clusters[:2], selection=known, mode="FAST_COMPILE")
        draws.append([study.laplace(c.catalog, c.center, n_start=1) for c in clusters])
    return clusters, draws


def test_five_clusters_are_recovered(small):
    clusters, (draws, _) = small
    values = np.array([pulls(d, c.truth) for d, c in zip(draws, clusters, strict=True)])
    print(table("small", values))
    assert (np.abs(values.mean(axis=0)) < MEAN_PULL_SMALL).all(), values


def test_without_the_selection_they_are_not(small):
    """[Fe/H] too low and too many binaries in each of them."""
    clusters, (draws, without) = small
    _, feh, binaries = np.transpose([shifts(b, a) for a, b in zip(draws, without, strict=True)])
    print(f"shifts of [Fe/H] {feh.round(2)}, of the binary fraction {binaries.round(2)}")
    assert (feh < -1.0).all()
    assert (binaries > 0.3).all()
    values = np.array([pulls(d, c.truth) for d, c in zip(without, clusters, strict=True)])
    assert abs(values[:, NAMES.index("feh")].mean()) > MEAN_PULL_SMALL


def run(study, clusters, how="sample"):
    """Draws of the posterior of each cluster, from the sampler or a Gaussian."""
    found = []
    for number, cluster in enumerate(clusters):
        found.append(getattr(study, how)(cluster.catalog, cluster.center, seed=number))
        print(number, pulls(found[-1], cluster.truth).round(2), flush=True)
    return found


@pytest.fixture(scope="module")
def thirty(iso):
    """Clusters, and draws of their posteriors with every term."""
    clusters = draw_clusters(iso, N_CLUSTER, SEED)
    return clusters, run(Study(iso, *clusters[:2], selection=selection()), clusters)


@pytest.mark.slow
def test_thirty_clusters_are_recovered(thirty):
    clusters, draws = thirty
    values = np.array([pulls(d, c.truth) for d, c in zip(draws, clusters, strict=True)])
    print(table("field model and selection", values))
    assert (np.abs(values.mean(axis=0)) < MEAN_PULL).all(), values.mean(axis=0)
    spread = values.std(axis=0, ddof=1)
    assert ((spread > SD_PULL[0]) & (spread < SD_PULL[1])).all(), spread


WITHOUT = {
    "without selection": {},
    "without field model": {"with_field": False, "selection": selection()},
    "without either, cleaned": {"with_field": False},
}
N_WITHOUT = 12


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT)
def test_what_each_term_is_for(iso, thirty, name):
    """Shifts of the same clusters without one term, or cut by eye and without any."""
    clusters, draws = (part[:N_WITHOUT] for part in thirty)
    if "cleaned" in name:
        catalogs = [cleaned(iso, c) for c in clusters]
        # As many stars of each, for what was compiled for the first: rows are in no order.
        rows = np.arange(min(map(len, catalogs)))
        clusters = [
            Cluster(catalog.select(rows), c.truth, c.center)
            for catalog, c in zip(catalogs, clusters, strict=True)
        ]
    # A posterior that field stars pull about takes the sampler many minutes.
    how = "laplace" if name == "without field model" else "sample"
    without = run(Study(iso, *clusters[:2], **WITHOUT[name]), clusters, how)
    print(
        table(name, np.array([pulls(d, c.truth) for d, c in zip(without, clusters, strict=True)]))
    )
    shift = np.array([shifts(b, a) for a, b in zip(draws, without, strict=True)])
    mean, error = shift.mean(axis=0), shift.std(axis=0, ddof=1) / np.sqrt(N_WITHOUT)
    print("  mean shift", dict(zip(NAMES, mean.round(2), strict=True)), "+-", error.round(2))
    if name == "without field model":
        # Field stars pull every cluster somewhere else.
        assert (shift.std(axis=0) > SD_PULL[1]).all(), shift.std(axis=0)
    else:
        # Too metal-poor, and too many binaries.
        assert mean[1] < -4.0 * error[1], (mean, error)
        assert mean[2] > 4.0 * error[2], (mean, error)
