"""Masses and mass ratios of stars, held to simulated ones."""

import numpy as np
import pytensor
import pytest
import xarray as xr
from scipy import stats

import pymc_starpop as psp
from after_fit_fixtures import BANDS, FIXED, FREE, build_model
from pymc_starpop.cluster.parameters import split_arguments
from pymc_starpop.reference.tracks import single_star_track
from pymc_starpop.summaries.chosen import chosen_clusters
from pymc_starpop.summaries.cluster_draws import ClusterDraws
from tolerances import assert_close

pytestmark = pytest.mark.usefixtures("python_vm")


@pytest.fixture(scope="module")
def stars(seen_model, at_truth):
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        return psp.star_posterior(at_truth, seen_model, random_seed=1, progressbar=False)


def ranks(draws, truth, rng):
    """Rank of the truth among the draws, 0 to 1, by chance among equal values."""
    draws = draws.stack(sample=("chain", "draw")).transpose("sample", "star").values
    below, equal = (draws < truth).sum(axis=0), (draws == truth).sum(axis=0)
    return (below + rng.random(truth.size) * (equal + 1)) / (len(draws) + 1)


def lit_ratio(catalog):
    """True mass ratio, 0 where the companion gives no light."""
    mass, ratio = catalog.extra["initial_mass"], catalog.extra["mass_ratio"]
    return np.where(mass * ratio >= 0.1, ratio, 0.0)


@pytest.mark.parametrize("variable", ["initial_mass", "mass_ratio"])
def test_the_truth_is_one_more_draw(stars, seen, rng, variable):
    truth = seen.extra["initial_mass"] if variable == "initial_mass" else lit_ratio(seen)
    found = ranks(stars[variable], truth, rng)
    assert stats.kstest(found, "uniform").pvalue > 0.005
    # Wrong by 1 percent of the mass, or with companions of other stars, it would be seen.
    other = truth * 1.01 if variable == "initial_mass" else rng.permutation(truth)
    assert stats.kstest(ranks(stars[variable], other, rng), "uniform").pvalue < 1e-6


def test_probabilities_of_companions_are_frequencies(stars, seen):
    companion = psp.summarize_stars(stars)["companion"].values
    is_binary = lit_ratio(seen) > 0.0
    for low, high in ((0.0, 0.2), (0.2, 0.8), (0.8, 1.01)):
        chosen = (companion >= low) & (companion < high)
        spread = np.sqrt((companion[chosen] * (1.0 - companion[chosen])).sum() + 1.0)
        assert chosen.sum() > 30
        assert abs(is_binary[chosen].sum() - companion[chosen].sum()) < 4.0 * spread


def test_dimensions_and_membership(stars, seen, seen_model, at_truth):
    assert stars["initial_mass"].dims == ("chain", "draw", "star")
    np.testing.assert_array_equal(stars["star"], seen.star)
    assert stars["initial_mass"].attrs["units"] == "Msun"
    expected = psp.membership(at_truth, seen_model, progressbar=False)
    assert_close(stars["membership"].values, expected.values, "same_formula")


def test_thinned_draws_seed_and_other_stars(seen_model, at_truth, living):
    few = living.select(np.arange(20))
    arguments = {"thin": 5, "random_seed": 7, "progressbar": False}
    with seen_model:
        one, two = (psp.star_posterior(at_truth, catalog=few, **arguments) for _ in range(2))
    xr.testing.assert_identical(one, two)
    assert one["mass_ratio"].shape == (2, 3, 20)
    np.testing.assert_array_equal(one["draw"], [0, 5, 10])


def test_refusals(seen_model, at_truth, living):
    with pytest.raises(ValueError, match="thin must be a whole number of at least 1, got 0"):
        psp.star_posterior(at_truth, seen_model, thin=0)
    other = psp.StarCatalog(living.mag[:, :1], living.mag_err[:, :1], bands=living.bands[:1])
    with pytest.raises(ValueError, match=r"the model .*; give the same bands"):
        psp.star_posterior(at_truth, seen_model, other)


def test_field_stars_have_low_membership(cluster_iso, seen, at_truth):
    mag = seen.mag[:60].copy()
    mag[40:, 1] += 1.5
    catalog = psp.StarCatalog(mag, seen.mag_err[:60], bands=seen.bands)
    model = build_model(cluster_iso, catalog, field_fraction=0.3)
    draws = at_truth.isel(draw=[0, 1])
    stars = psp.star_posterior(draws, model, random_seed=1, progressbar=False)
    expected = psp.membership(draws, model, progressbar=False)
    assert_close(stars["membership"].values, expected.values, "same_formula")
    summary = psp.summarize_stars(stars)
    assert np.all(summary["membership"][40:] < 0.01)
    assert np.median(summary["membership"][:40]) > 0.9


def test_a_star_that_can_be_no_member_has_no_mass():
    values = {"initial_mass": np.nan, "mass_ratio": np.nan, "membership": 0.0}
    dims = ("chain", "draw", "star")
    stars = xr.Dataset({k: (dims, np.full((1, 3, 2), v)) for k, v in values.items()})
    summary = psp.summarize_stars(stars)
    assert np.isnan(summary["initial_mass"]).all()
    assert np.isnan(summary["companion"]).all()
    np.testing.assert_array_equal(summary["membership"], 0.0)


def test_draws_count_with_the_membership_in_them():
    dims = ("chain", "draw", "star")
    stars = xr.Dataset(
        {
            "initial_mass": (dims, np.array([[[1.0], [2.0]]])),
            "mass_ratio": (dims, np.array([[[0.0], [0.5]]])),
            "membership": (dims, np.array([[[0.75], [0.25]]])),
        }
    )
    summary = psp.summarize_stars(stars, quantiles=[0.5])
    np.testing.assert_allclose(summary["initial_mass"][0, :2], [1.25, np.sqrt(0.75 * 0.25)])
    assert list(summary["statistic"].values) == ["mean", "sd", "q0.5"]
    assert float(summary["companion"][0]) == 0.25
    with pytest.raises(ValueError, match="quantiles must be numbers between 0 and 1"):
        psp.summarize_stars(stars, quantiles=[50])
    with pytest.raises(ValueError, match="stars lacks membership; give what"):
        psp.summarize_stars(stars.drop_vars("membership"))


def magnitudes_at(iso, mass, ratio):
    """Magnitudes (P, B) of systems of given masses, from the slow track of single stars."""
    p, options = split_arguments(FREE | FIXED)
    _, track_mass, mag, _ = single_star_track(iso, BANDS, p, options)
    first = np.flatnonzero(track_mass >= 0.1 * (1.0 - 1e-12))[0]
    track_mass, mag = track_mass[first:], mag[first:]
    flux = sum(
        10.0 ** (-0.4 * np.stack([np.interp(m, track_mass, c) for c in mag.T], axis=1)) * lit
        for m, lit in ((mass, 1.0), (mass * ratio, (ratio > 0.0)[:, None]))
    )
    return -2.5 * np.log10(flux)


def test_masses_along_the_tracks_give_their_magnitudes(cluster_iso, seen_model, at_truth):
    draws = ClusterDraws(at_truth.isel(chain=[0], draw=[0]), chosen_clusters(seen_model)[0])
    _, draw = next(iter(draws.evaluate("", False)))
    assert draw.mass.shape == draw.ratio.shape == draw.tracks.shape[1:]
    # Later on masses are equal or fall, and nodes below the lowest mass carry no weight.
    n, point = int(draw.starts[1]), np.arange(draw.mass.size)
    on_track = (point >= n) | ((point < 60) & (draw.mass >= 0.1))
    found = magnitudes_at(cluster_iso, draw.mass[on_track], draw.ratio[on_track])
    assert_close(draw.tracks[:2, on_track].T, found, "kernel")


def test_masses_of_two_populations_and_an_age_spread(cluster_iso, seen, at_truth):
    second = psp.SecondPopulation(0.3, log_age=8.8, binary_fraction=0.0)
    model = build_model(
        cluster_iso, seen.select(np.arange(5)), second_population=second, log_age_scatter=0.05,
        mass_ratio_nodes=4, age_nodes=3,
    )  # fmt: skip
    draws = ClusterDraws(at_truth.isel(chain=[0], draw=[0]), chosen_clusters(model)[0])
    _, draw = next(iter(draws.evaluate("", False)))
    # Three ages: five tracks each in the first population, one each in the second.
    assert draw.starts.size == 3 * 5 + 3 + 1
    assert draw.mass.shape == draw.ratio.shape == draw.dark_mass.shape == draw.tracks.shape[1:]
    ratio = [draw.ratio[draw.starts[k]] for k in range(18)]
    np.testing.assert_array_equal(np.flatnonzero(np.array(ratio) == 0.0), [0, 5, 10, 15, 16, 17])
    assert np.all(draw.dead > 0.0)
