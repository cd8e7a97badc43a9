"""The mass of simulated clusters."""

from dataclasses import replace

import numpy as np
import pytensor
import pytest
from scipy import integrate

import pymc_starpop as psp
from after_fit_fixtures import FIXED, FREE, LIMITS, N_LIVING, simulate_living, system_mass
from pymc_starpop.simulate import draw_mass_ratio
from pymc_starpop.summaries.chosen import chosen_clusters
from pymc_starpop.summaries.cluster_draws import ClusterDraws
from pymc_starpop.summaries.cluster_mass import weigh

pytestmark = pytest.mark.usefixtures("python_vm")

N_CLUSTER = 40
N_DRAW = 30


@pytest.fixture(scope="module")
def draw(seen_model, at_truth):
    """The model at the truth."""
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        draws = ClusterDraws(at_truth.isel(chain=[0], draw=[0]), chosen_clusters(seen_model)[0])
        return next(iter(draws.evaluate("", False)))[1]


def of_catalog(draw, catalog):
    """The same model with other stars, all of them members."""
    n, variance = catalog.n_star, catalog.mag_err**2 + FIXED["intrinsic_scatter"] ** 2
    return replace(
        draw, values=catalog.mag, variance=variance, star_values=catalog.mag,
        star_variance=variance, member=np.ones(n),
        log_member=np.zeros(n), log_field=np.full(n, -50.0), logp=np.zeros(n),
    )  # fmt: skip


def test_masses_of_simulated_clusters_are_within_their_errors(cluster_iso, draw):
    """Numbers and masses of the living are unbiased, with the scatter that their draws have."""
    pulls = []
    for seed in range(N_CLUSTER):
        rng = np.random.default_rng(100 + seed)
        living = simulate_living(cluster_iso, rng)
        catalog = living.select(LIMITS.mask(living))
        truth = {
            "n_system": N_LIVING,
            "mass": system_mass(living).sum(),
            "mass_member": system_mass(catalog).sum(),
        }
        found = [weigh(of_catalog(draw, catalog), rng) for _ in range(N_DRAW)]
        draws = {name: np.array([f[name] for f in found]) for name in truth}
        pulls.append([(draws[k].mean() - truth[k]) / draws[k].std(ddof=1) for k in truth])
        assert all(f["n_member"] == catalog.n_star for f in found)
    pulls = np.array(pulls)
    # Four standard errors of the mean, and of the standard deviation of 40 pulls.
    assert np.all(np.abs(pulls.mean(axis=0)) < 4.0 / np.sqrt(N_CLUSTER))
    assert np.all((pulls.std(axis=0) > 0.55) & (pulls.std(axis=0) < 1.5))


def test_the_share_that_is_seen(draw, living, seen):
    expected = seen.n_star / living.n_star
    spread = np.sqrt(expected * (1.0 - expected) / living.n_star)
    assert abs(draw.detection - expected) < 4.0 * spread


def test_dark_companions_have_their_mass(draw, rng):
    """Their mean mass along the single track, against drawn binaries."""
    ratio = draw_mass_ratio(2_000_000, 0.0, 0.1, rng)
    fraction = FREE["binary_fraction"]
    singles = draw.mass[: int(draw.starts[1])]
    for wanted in (0.12, 0.2, 0.5, 0.8):
        point = int(np.abs(singles[:60] - wanted).argmin())
        mass = singles[point]
        is_dark = ratio * mass < 0.1
        assert is_dark.any()
        dark = fraction * is_dark.mean()
        expected = dark * ratio[is_dark].mean() * mass / (1.0 - fraction + dark)
        np.testing.assert_allclose(draw.dark_mass[point], expected, rtol=0.03)  # of drawn binaries
    assert np.all(draw.dark_mass[int(draw.starts[1]) :] == 0.0)


def test_the_dead_are_those_above_the_last_point(draw):
    imf = psp.Kroupa()
    top = draw.mass[int(draw.starts[1]) - 1]
    living = integrate.quad(imf.density, 0.1, top, points=[0.5])[0]
    number = integrate.quad(imf.density, top, 100.0)[0] / living
    mass = integrate.quad(lambda m: m * imf.density(m), top, 100.0)[0] / living
    square = integrate.quad(lambda m: m**2 * imf.density(m), top, 100.0)[0] / living
    # Of q from 0.1 to 1: the mean is 0.55, that of the square 0.37.
    f = FREE["binary_fraction"]
    expected = [number, mass * (1.0 + 0.55 * f), square * (1.0 + 1.1 * f + 0.37 * f)]
    np.testing.assert_allclose(draw.dead, expected, rtol=1e-6)


def test_all_draws_of_a_posterior(seen_model, at_truth, seen):
    result = psp.cluster_mass(at_truth, seen_model, thin=4, random_seed=1, progressbar=False)
    assert result["mass"].dims == ("chain", "draw")
    assert result.sizes == {"chain": 2, "draw": 3}
    assert np.all(result["n_member"] == seen.n_star)
    assert np.all(result["mass"] > result["mass_member"])
    assert np.all(result["mass_born"] > result["mass"])
    assert np.all(result["n_born"] >= result["n_system"])
    assert result["mass"].attrs["units"] == "Msun"
    again = psp.cluster_mass(at_truth, seen_model, thin=4, random_seed=1, progressbar=False)
    np.testing.assert_array_equal(result["mass"], again["mass"])


def test_a_catalog_without_members_weighs_nothing(draw, rng):
    none = replace(
        of_catalog(draw, psp.StarCatalog([[12.0, 11.0]], [[0.1, 0.1]], bands=["a", "b"])),
        member=np.zeros(1), logp=np.full(1, -50.0),
    )  # fmt: skip
    result = weigh(none, rng)
    assert result["n_system"] == result["mass"] == result["mass_born"] == 0.0


def test_without_a_selection_all_living_stars_are_seen(draw, rng):
    every = replace(draw, detected=np.ones_like(draw.detected))
    result = weigh(every, rng)
    assert result["n_system"] == result["n_member"]
    assert result["mass"] == result["mass_member"]
    assert result["n_born"] > result["n_system"]
