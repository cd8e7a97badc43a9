"""Tracks of binaries against their slow twin, and the pullback against differences."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pymc_starpop import reference
from pymc_starpop.kernels import binaries
from pymc_starpop.parameters import ClusterOptions
from tolerances import assert_close, assert_gradient_close

N_NODE, N_BAND, N_RATIO = 30, 3, 5
MASS_MIN = 0.1
LAST = 22
STEP = 1e-6


def make_problem(rng, monotone=True):
    """A track that begins below the lowest mass and goes on past the last primary."""
    mass = np.exp(np.linspace(np.log(0.06), np.log(2.0), N_NODE))
    mass[:4] = np.minimum(mass[:4], MASS_MIN)
    mass[4] = MASS_MIN
    if not monotone:
        mass[12:15] = mass[[13, 12, 12]]  # falls, then stays
        mass[20] = mass[18]
    mag = 14.0 - 6.0 * np.log10(mass)[:, None] + 0.3 * rng.normal(size=(N_NODE, N_BAND))
    reddening = rng.uniform(0.2, 1.1, mag.shape)
    lowest = np.minimum(np.maximum(MASS_MIN / mass, 0.1), 1.0)
    ratio = lowest + (1.0 - lowest) * np.linspace(0.0, 1.0, N_RATIO)[:, None]
    return mass, mag, reddening, ratio


@pytest.mark.parametrize("monotone", [True, False])
def test_tracks_are_those_of_the_slow_twin(rng, monotone):
    mass, mag, reddening, ratio = make_problem(rng, monotone)
    tracks, red, _ = binaries.binary_tracks(mass, mag, reddening, ratio, MASS_MIN, LAST)
    options = ClusterOptions(mass_min=MASS_MIN, binary_eep_max=LAST)
    slow_tracks, slow_red = reference._binaries(
        mass, mag, reddening, ratio, options, np.arange(N_NODE)
    )
    assert_close(tracks, slow_tracks, "same_formula")
    assert_close(red, slow_red, "same_formula")


def test_equal_stars_are_twice_as_bright(rng):
    mass, mag, reddening, _ = make_problem(rng)
    equal = np.ones((1, N_NODE))
    tracks, red, share = binaries.binary_tracks(mass, mag, reddening, equal, MASS_MIN, LAST)
    assert_array_equal(tracks[0], mag)
    assert_close(tracks[1, 4 : LAST + 1], mag[4 : LAST + 1] - 2.5 * np.log10(2.0), "same_formula")
    assert_close(red[1], reddening, "same_formula")
    assert_close(share[0, 4 : LAST + 1], 0.5, "same_formula")
    # Above the last primary the single track goes on.
    assert_array_equal(tracks[1, LAST + 1 :], mag[LAST + 1 :])


def test_a_faint_secondary_hardly_adds_light(rng):
    mass, mag, reddening, _ = make_problem(rng)
    mag[:5] += 40.0
    ratio = np.maximum(MASS_MIN / mass, 0.0)[None]
    tracks, _, share = binaries.binary_tracks(mass, mag, reddening, ratio, MASS_MIN, LAST)
    assert_close(tracks[1, 6:], mag[6:], "same_formula")
    assert_allclose(share[0, 6:], 0.0, atol=1e-15)


def test_without_reddening_there_is_none(rng):
    mass, mag, reddening, ratio = make_problem(rng)
    empty = np.zeros((0, N_BAND))
    tracks, red, _ = binaries.binary_tracks(mass, mag, empty, ratio, MASS_MIN, LAST)
    assert red.shape == (0, N_NODE, N_BAND)
    assert_array_equal(
        tracks, binaries.binary_tracks(mass, mag, reddening, ratio, MASS_MIN, LAST)[0]
    )


@pytest.mark.parametrize("with_reddening", [True, False])
@pytest.mark.parametrize("monotone", [True, False])
def test_pullback_against_differences(rng, monotone, with_reddening):
    arrays = list(make_problem(rng, monotone))
    # Off the nodes: where a secondary comes to lie on a node the tracks have a kink.
    arrays[3] = arrays[3] * rng.uniform(0.95, 0.999, arrays[3].shape)
    if not with_reddening:
        arrays[2] = np.zeros((0, N_BAND))
    tracks, red, share = binaries.binary_tracks(*arrays, MASS_MIN, LAST)
    g_tracks, g_red = rng.normal(size=tracks.shape), rng.normal(size=red.shape)
    exact = binaries.binary_tracks_pullback(*arrays, MASS_MIN, LAST, share, g_tracks, g_red)

    def total(k, entry, by):
        moved = [a.copy() for a in arrays]
        moved[k][entry] += by
        tracks, red, _ = binaries.binary_tracks(*moved, MASS_MIN, LAST)
        return (g_tracks * tracks).sum() + (g_red * red).sum()

    for k, gradient in enumerate(exact):
        assert gradient.shape == arrays[k].shape
        for entry in np.ndindex(gradient.shape):
            numeric = (total(k, entry, STEP) - total(k, entry, -STEP)) / (2.0 * STEP)
            if k == 0 and _starts_or_ties(arrays[0], entry[0]):
                continue
            assert_gradient_close(gradient[entry], numeric)


def _starts_or_ties(mass, e):
    """Whether moving this mass changes where the track starts or the order of the masses."""
    return e <= 4 or np.min(np.abs(np.delete(mass, e) - mass[e])) < 10.0 * STEP
