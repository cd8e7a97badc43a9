"""Likelihoods against log age of stars that the models cannot fit exactly have one maximum."""

import numpy as np
import pytest

from ripple_scans import (
    PLACES,
    Profile,
    build_model,
    deepest_dip,
    n_maximum,
    simulate,
)

DIP = 0.5  # nat
# How far a rival of another phase of evolution has to be below, in nats.
FAR_BELOW = 20.0


def profile_of(place, n_star, seed):
    return Profile(build_model(simulate(place, n_star, seed), place))


def test_a_profile_over_three_ages_of_the_grid_has_one_maximum():
    """Near the age of the Pleiades, between grid ages 0.05 dex apart.

    With points at equal EEP instead of nearly equal mass there is a dip of 1.2 nats.
    """
    place = PLACES[5]
    scan = profile_of(place, 300, 5).scan(place[0], np.linspace(-0.06, 0.06, 13))
    assert np.isfinite(scan).all()
    assert deepest_dip(scan) < DIP
    assert n_maximum(scan, DIP) == 1


@pytest.mark.slow
@pytest.mark.parametrize("k", range(len(PLACES)), ids=lambda k: "{} {:+}".format(*PLACES[k]))
def test_profiles_have_one_maximum(k):
    """At 401 ages within 0.1 dex, all other parameters and corrections at their optimum."""
    offsets = np.linspace(-0.1, 0.1, 401)
    scan = profile_of(PLACES[k], 300, k).scan(PLACES[k][0], offsets)
    dip = deepest_dip(scan)
    print(f"\n{PLACES[k]}: dip {dip:.3f}, highest at {offsets[scan.argmax()]:+.4f}")
    assert np.isfinite(scan).all()
    assert dip < DIP
    assert n_maximum(scan, DIP) == 1


@pytest.mark.slow
def test_ages_before_the_main_sequence_are_no_rivals():
    """A cluster of 700 Myr: without corrections of real ones the best age may be 60 Myr."""
    place = (8.85, 0.0)
    profile = profile_of(place, 300, 50)
    first = 0.1 * np.eye(profile.start.size)
    best, at_best, factor = profile.top(place[0], profile.start, first, with_curvature=True)
    for age in np.arange(7.2, 8.55, 0.1):
        starts = ((profile.start, first), (at_best, factor))
        rival = max(profile.top(age, *start, with_curvature=True)[0] for start in starts)
        print(f"{age:.1f}: {rival - best:.1f}")
        assert rival < best - FAR_BELOW


def test_dips_and_maxima_of_curves():
    bumps = np.array([0.0, 2.0, 1.2, 3.0, 2.9, 2.95, 1.0])
    assert deepest_dip(bumps) == pytest.approx(0.8)
    assert n_maximum(bumps, 0.5) == 2
    assert n_maximum(bumps, 0.04) == 3
    assert deepest_dip(np.array([0.0, 1.0, 0.5])) == 0.0
    assert n_maximum(np.array([0.0, 1.0, 0.5]), 0.1) == 1
