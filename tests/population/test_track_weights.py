"""Weights of the tracks: mass function, cut at the lowest mass, mass ratios, binaries."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate

import pymc_starpop as psp
from pymc_starpop._namespace import NUMPY
from pymc_starpop.ops.namespace import TENSOR
from pymc_starpop.population import track_weights
from tolerances import assert_close

MASS = np.concatenate([[0.05, 0.08], np.geomspace(0.11, 1.9, 40), [1.9, 1.8, 1.95]])


def density_of_mass_ratio(q, slope, lowest):
    if slope == -1.0:
        return 1.0 / (q * np.log(1.0 / lowest))
    return (1.0 + slope) * q**slope / (1.0 - lowest ** (1.0 + slope))


def test_the_track_starts_exactly_at_the_lowest_mass():
    shift, mass = track_weights.cut_at_mass(MASS, 0.1)
    assert_close(mass[1], 0.1, "same_formula")
    assert_array_equal(mass[2:], MASS[2:])
    assert_array_equal(shift[[0, *range(2, shift.size)]], [1.0, *np.zeros(shift.size - 2)])
    column = np.log(MASS)
    expected = np.interp(0.1, MASS[:3], column[:3])
    assert_close(track_weights.shifted(column, shift)[1], expected, "same_formula")
    both = track_weights.shifted(np.stack([column, -column]), shift)
    assert_close(both[:, 1], [expected, -expected], "same_formula")


@given(st.floats(0.0601, 0.1099))
def test_the_start_follows_the_lowest_mass_without_steps(lowest):
    masses = [track_weights.cut_at_mass(MASS, lowest + d)[1] for d in (-1e-9, 1e-9)]
    weights = [
        track_weights.mass_weights(m, psp.Kroupa(), lowest + d)[0]
        for m, d in zip(masses, (-1e-9, 1e-9), strict=True)
    ]
    assert_allclose(weights[0], weights[1], atol=1e-7)


def test_nothing_to_cut():
    shift, mass = track_weights.cut_at_mass(MASS, 0.05)
    assert_array_equal(shift, 0.0)
    assert_array_equal(mass, MASS)


@pytest.mark.parametrize("imf", [psp.Kroupa(), psp.Salpeter(), psp.Chabrier()])
def test_weights_of_the_mass_function_sum_to_one(imf):
    _, mass = track_weights.cut_at_mass(np.geomspace(0.07, 2.0, 60), 0.1)
    weight, density = track_weights.mass_weights(mass, imf, 0.1)
    assert_close(weight.sum(), 1.0, "same_formula")
    total = integrate.quad(lambda m: imf.density(m), 0.1, 2.0, points=[0.5, 1.0], epsrel=1e-11)[0]
    assert_close(density, imf.density(mass) / total, "quadrature")
    part = integrate.quad(imf.density, mass[30], mass[31])[0] / total
    assert_close(weight[30], part, "quadrature")


def test_segments_below_the_lowest_mass_and_of_falling_mass_have_no_weight():
    weight, _ = track_weights.mass_weights(MASS, psp.Kroupa(), 0.1)
    assert_array_equal(np.flatnonzero(weight == 0.0), [0, MASS.size - 4, MASS.size - 3])
    # Not cut beforehand, the segment that crosses the lowest mass counts from there on.
    imf = psp.Kroupa()
    total = imf.integral(0.1, 1.95)
    assert_close(weight[1], imf.integral(0.1, 0.11) / total, "same_formula")
    # Between 1.8 and 1.9 Msun the isochrone has two places for a star.
    assert_close(weight.sum(), 1.0 + imf.integral(1.8, 1.9) / total, "same_formula")


@pytest.mark.parametrize("n", [2, 3, 5, 6, 7, 21, 61])
def test_quadrature_weights_sum_to_one_and_are_exact_for_low_powers(n):
    weights, x = track_weights.quadrature_weights(n), np.linspace(0.0, 1.0, n)
    assert_close(weights.sum(), 1.0, "same_formula")
    for power in range(4 if n >= 6 else 2):
        assert_close(weights @ x**power, 1.0 / (power + 1.0), "same_formula")
    assert_array_equal(weights, weights[::-1])


@pytest.mark.parametrize("slope", [-1.0, -0.5, 0.0, 1.0, 2.5])
def test_mass_ratios_follow_their_law(slope):
    mass = np.array([0.1, 0.15, 0.4, 1.0, 1.7])
    ratio, probability, dark = track_weights.mass_ratios(mass, slope, 401, 0.1, 0.1)
    assert_close(probability.sum(axis=0), 1.0 - dark, "same_formula")
    lowest = np.array([1.0, 2.0 / 3.0, 0.25, 0.1, 0.1])
    assert_close(ratio[0], lowest, "same_formula")
    assert_close(ratio[-1], 1.0, "same_formula")
    for e, low in enumerate(lowest):
        p_dark = integrate.quad(density_of_mass_ratio, 0.1, low, (slope, 0.1))[0]
        assert_close(dark[e], p_dark, "quadrature")
        mean = integrate.quad(lambda q: q * density_of_mass_ratio(q, slope, 0.1), low, 1.0)[0]
        assert_allclose((ratio[:, e] * probability[:, e]).sum(), mean, rtol=2e-6, atol=1e-9)


@given(st.floats(-3.0, 3.0), st.floats(0.02, 0.5), st.integers(2, 30))
def test_mass_ratios_are_probabilities(slope, lowest, n):
    mass = np.array([0.1, 0.100001, 0.3, 5.0])
    ratio, probability, dark = track_weights.mass_ratios(mass, slope, n, lowest, 0.1)
    assert (ratio >= lowest * (1.0 - 1e-12)).all()
    assert (ratio <= 1.0).all()
    assert (probability >= 0.0).all()
    assert ((dark >= 0.0) & (dark <= 1.0)).all()
    assert_close(dark[0], 1.0, "kernel")
    assert_close(probability.sum(axis=0) + dark, 1.0, "same_formula")


def test_the_law_is_smooth_through_a_slope_of_minus_one():
    mass = np.array([0.2, 0.7])
    below, at, above = (track_weights.mass_ratios(mass, s, 11, 0.1, 0.1)[2]
                        for s in (-1.0 - 1e-5, -1.0, -1.0 + 1e-5))  # fmt: skip
    assert_allclose(0.5 * (below + above), at, rtol=1e-9)


def test_the_spacing_of_mass_ratios_keeps_their_order():
    mass = np.geomspace(0.1, 20.0, 300)
    ratio, _, _ = track_weights.mass_ratios(mass, 0.0, 45, 0.1, 0.1)
    above = mass > 0.1
    assert (np.diff(ratio[:, above], axis=0) > 0.0).all()
    curve = track_weights.ratio_spacing(mass)
    assert (np.abs(curve) < 1.0).all()
    assert np.abs(np.diff(curve)).max() < 0.05


@pytest.mark.parametrize("binary_fraction", [0.0, 0.3, 1.0])
def test_tracks_share_the_mass_function(binary_fraction):
    _, mass = track_weights.cut_at_mass(np.geomspace(0.09, 2.0, 40), 0.1)
    weight, density = track_weights.mass_weights(mass, psp.Kroupa(), 0.1)
    _, probability, dark = track_weights.mass_ratios(mass, 0.4, 9, 0.1, 0.1)
    weights, tilts, scale = track_weights.mix_tracks(
        weight, density, binary_fraction, probability, dark, 30
    )
    assert weights.shape == tilts.shape == scale.shape == (10, 39)
    assert_close(weights.sum(), 1.0, "same_formula")
    assert_close(weights.sum(axis=0), weight, "same_formula")
    assert_array_equal(weights[1:, 30:], 0.0)
    assert_close(weights[0, 30:], weight[30:], "same_formula")
    # Some companions are dark, and those systems count as single.
    start = np.flatnonzero(weight)[0]
    assert weights[0, start] >= (1.0 - binary_fraction) * weight[start]
    assert (weights[0, start] > (1.0 - binary_fraction) * weight[start]) == (binary_fraction > 0.0)
    assert (np.abs(tilts) <= 2.0).all()
    # Pruning needs a weight where the derivative by the binary fraction is not 0.
    lit = (probability[:, :-1] + probability[:, 1:] > 0.0) & (weight > 0.0)
    lit[:, 30:] = False
    assert_array_equal(scale[1:] > 0.0, lit)
    assert (scale >= weights - 1e-15).all()


def test_tilted_line_has_the_ratio_of_the_density_at_the_ends():
    density = psp.Salpeter().density(np.geomspace(0.1, 2.0, 10))
    tilt = track_weights.relative_tilt(density)
    ratio = (1.0 + 0.5 * tilt) / (1.0 - 0.5 * tilt)
    assert_close(ratio, density[1:] / density[:-1], "same_formula")


def test_reddening_is_the_derivative_of_the_magnitude(rng):
    coefficients, log_l = rng.normal(size=(5, 2, 4)), rng.normal(size=5)
    rv_term = np.array([0.02, -0.01])

    def mag(av):
        return track_weights.reddened(coefficients, log_l, av, rv_term)[0]

    numeric = (mag(0.8 + 1e-5) - mag(0.8 - 1e-5)) / 2e-5
    assert_close(
        track_weights.reddened(coefficients, log_l, 0.8, rv_term)[1], numeric, "quadrature"
    )
    assert_close(mag(0.0), 4.74 - 2.5 * log_l[:, None] - coefficients[..., 0], "same_formula")


def test_tensors_give_what_arrays_give():
    mass, slope = pt.dvector("mass"), pt.dscalar("slope")
    imf = psp.Kroupa()

    def steps(mass, slope, xp):
        shift, cut = track_weights.cut_at_mass(mass, 0.1, xp)
        weight, density = track_weights.mass_weights(cut, imf, 0.1, xp)
        tilt = track_weights.relative_tilt(density, xp)
        ratios = track_weights.lit_ratios(cut, slope, 0.1, 0.1, xp)
        return [shift, cut, weight, density, tilt, *ratios, track_weights.ratio_spacing(cut, xp)]

    function = pytensor.function([mass, slope], steps(mass, slope, TENSOR), mode="FAST_COMPILE")
    for point in ((MASS, 0.4), (MASS, -1.0), (MASS, 0.0)):
        expected = steps(*point, NUMPY)
        for got, wanted in zip(function(*point), expected, strict=True):
            assert_close(got, wanted, "same_formula")
