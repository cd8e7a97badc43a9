"""Star formation histories as arrays, against cases computed by hand and by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pymc_starpop.summaries.sfh_arrays import (
    formation_time,
    formed_fraction,
    merge_matrix,
    metallicity_distribution,
    spread_over_metallicity,
    star_formation_rate,
)
from tolerances import assert_close

EDGES = np.array([0.5, 1.0, 3.0, 7.0, 13.0])


def tau(mass, fraction, edges=EDGES):
    return formation_time(np.asarray(mass, dtype=float), edges, np.array([fraction]))[..., 0]


def test_rate_is_mass_over_time():
    assert_close(star_formation_rate(np.full(4, 1e6), EDGES), [2e-3, 5e-4, 2.5e-4, 1e-3 / 6],
                 "same_formula")  # fmt: skip


def test_fraction_formed_by_each_edge():
    assert_close(formed_fraction(np.array([1.0, 2.0, 3.0, 4.0])), [1, 0.9, 0.7, 0.4, 0],
                 "same_formula")  # fmt: skip


def test_times_by_hand():
    mass = [1.0, 2.0, 3.0, 4.0]
    # The oldest bin forms 0.4 over 6 Gyr, the next 0.3 over 4 Gyr.
    assert_close(tau(mass, 0.1), 13.0 - 1.5, "same_formula")
    assert_close(tau(mass, 0.4), 7.0, "same_formula")
    assert_close(tau(mass, 0.5), 7.0 - 4.0 / 3.0, "same_formula")
    assert_close(tau(mass, 0.9), 1.0, "same_formula")
    assert_close(tau(mass, 1.0), 0.5, "same_formula")


def test_a_gap_at_the_level_counts_from_its_beginning():
    assert_close(tau([1.0, 0.0, 0.0, 1.0], 0.5), 7.0, "same_formula")
    assert_close(tau([1.0, 0.0, 0.0, 1.0], 0.5 + 1e-12), 1.0, "same_formula")
    assert_close(tau([0.0, 0.0, 2.0, 0.0], 0.25), 6.0, "same_formula")
    assert_close(tau([0.0, 0.0, 2.0, 0.0], 1.0), 3.0, "same_formula")
    # One bin, however small, holds everything.
    assert_close(tau([0.0, 1e-300, 0.0, 0.0], 0.5), 2.0, "same_formula")


def test_a_constant_rate_is_linear_in_time():
    mass = np.diff(EDGES) * 1e6
    for fraction in (1e-9, 0.3, 0.5, 0.9, 1.0):
        assert_close(tau(mass, fraction), 13.0 - 12.5 * fraction, "same_formula")


@given(
    hnp.arrays(float, (3, 4), elements=st.sampled_from([0.0, 1e-12, 0.1, 1.0, 1e8])),
    st.floats(0.01, 1.0),
)
def test_times_are_those_of_the_cumulative_history(mass, fraction):
    mass[:, 1] += mass.sum(axis=1) == 0
    times = tau(mass, fraction)
    assert np.isfinite(times).all()
    for row, time in zip(mass, times, strict=True):
        formed = formed_fraction(row)
        assert abs(np.interp(time, EDGES, formed) - fraction) < 1e-9
        # By a scan: at no time up to then had more formed.
        scan = np.linspace(EDGES[0], EDGES[-1], 20001)
        exceeded = scan[np.interp(scan, EDGES, formed) > fraction + 1e-9]
        assert time >= exceeded.max(initial=EDGES[0])


def test_merged_bins_share_bins_that_straddle():
    mass = np.array([1.0, 2.0, 4.0, 6.0])
    merged = merge_matrix(EDGES, np.array([0.5, 2.0, 5.0, 13.0])) @ mass
    assert_close(merged, [1.0 + 1.0, 1.0 + 2.0, 2.0 + 6.0], "same_formula")
    assert_close(merge_matrix(EDGES, np.array([1.0, 3.0])) @ mass, [2.0], "same_formula")


def test_spread_is_gaussian_and_keeps_the_mass(rng):
    grid = np.linspace(-2.5, 0.5, 31)
    mass = rng.uniform(0.0, 1e6, (5, 4))
    mean = rng.uniform(-2.0, 0.0, (5, 4))
    sigma = rng.uniform(0.15, 0.3, (5, 4))
    weights = spread_over_metallicity(mass, mean, sigma, grid)
    assert_close(weights.sum(axis=-1) / mass, np.ones((5, 4)), "same_formula")
    kernel = np.exp(-0.5 * ((grid - mean[2, 3]) / sigma[2, 3]) ** 2)
    assert_close(weights[2, 3] / mass[2, 3], kernel / kernel.sum(), "same_formula")


def test_spread_far_outside_the_grid_and_narrower_than_it_is_finite():
    grid = np.array([-2.0, -1.0, 0.0])
    weights = spread_over_metallicity(
        np.ones((1, 2)), np.array([[40.0, -0.9]]), np.array([[1e-3]]), grid
    )
    assert_close(weights[0], [[0, 0, 1], [0, 1, 0]], "same_formula")


def test_distributions_by_mass_and_by_stars():
    weights = np.array([[2.0, 0.0], [1.0, 1.0]])
    assert_close(metallicity_distribution(weights), [0.75, 0.25], "same_formula")
    stars = np.array([[1.0, 5.0], [2.0, 4.0]])
    assert_close(metallicity_distribution(weights, stars), [0.5, 0.5], "same_formula")
    assert np.isnan(metallicity_distribution(weights, np.zeros((2, 2)))).all()


@pytest.mark.parametrize("scale", [1e-280, 1.0, 1e280])
def test_the_scale_of_the_masses_does_not_matter(scale):
    mass = np.array([1.0, 0.0, 3.0, 4.0])
    assert_close(tau(mass * scale, 0.7), tau(mass, 0.7), "same_formula")
    assert_close(formed_fraction(mass * scale), formed_fraction(mass), "same_formula")
