"""Simulated clusters follow the laws that they are drawn from."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import pymc_starpop as psp
from pymc_starpop.simulate import draw_mass_ratio
from tolerances import assert_close

BANDS = ("Gaia_G_EDR3", "2MASS_Ks")
TRUTH = {"feh": -0.1, "log_age": 9.2, "distance_modulus": 9.0}
FIELD = psp.UniformField(
    mag_range=(10.0, 18.0), color_ranges={("2MASS_Ks", "Gaia_G_EDR3"): (-4.0, 0.0)},
    parallax_range=(-1.0, 3.0),
)  # fmt: skip
# Chance of a false alarm of each statistical test; the seeds are fixed.
LEAST_P = 1e-3


def simulate(iso, n_star=4000, rng=5, **options):
    return psp.simulate_cluster(iso, n_star=n_star, bands=BANDS, rng=rng, **(TRUTH | options))


def test_seeds_are_reproducible(coarse):
    options = {"n_star": 50, "binary_fraction": 0.4, "av_scatter": 0.1, "parallax_err": 0.1}
    a, b, c = (simulate(coarse, rng=r, **options) for r in (7, np.random.default_rng(7), 8))
    assert_array_equal(a.mag, b.mag)
    assert_array_equal(a.parallax, b.parallax)
    assert (a.mag != c.mag).all()


def test_the_truth_comes_along(coarse):
    cat = simulate(coarse, field_fraction=0.25, field=FIELD, binary_fraction=0.5)
    is_field = cat.extra["is_field"]
    assert is_field.dtype == bool
    for name in ("initial_mass", "mass_ratio"):
        assert_array_equal(np.isnan(cat.extra[name]), is_field)
    ratio = cat.extra["mass_ratio"][~is_field]
    assert ((ratio == 0.0) | ((ratio >= 0.1) & (ratio <= 1.0))).all()
    assert cat.bands == BANDS
    assert cat.parallax is None


@pytest.mark.parametrize("fraction", [0.0, 0.25, 1.0])
def test_fractions(coarse, fraction):
    cat = simulate(coarse, field_fraction=fraction, field=FIELD)
    count = int(cat.extra["is_field"].sum())
    assert stats.binomtest(count, cat.n_star, fraction).pvalue > LEAST_P
    cat = simulate(coarse, binary_fraction=fraction)
    # Binaries are born with a fraction of the primaries on the main sequence.
    young = cat.extra["initial_mass"] < 1.5
    count = int((cat.extra["mass_ratio"] > 0.0)[young].sum())
    assert stats.binomtest(count, int(young.sum()), fraction).pvalue > LEAST_P


@pytest.mark.parametrize("imf", [psp.Kroupa(), psp.Salpeter(), psp.Chabrier()])
def test_the_mass_function_is_recovered(coarse, imf):
    mass = simulate(coarse, imf=imf, mass_min=0.15).extra["initial_mass"]
    top = coarse.at(TRUTH["feh"], TRUTH["log_age"], BANDS).initial_mass[coarse.eep <= 808].max()
    assert mass.min() >= 0.15
    assert mass.max() <= top
    cumulative = imf.integral(0.15, mass) / imf.integral(0.15, top)
    assert stats.kstest(cumulative, "uniform").pvalue > LEAST_P


@pytest.mark.parametrize("slope", [-1.0, -0.3, 0.0, 2.0])
def test_the_law_of_mass_ratios(coarse, slope):
    drawn = draw_mass_ratio(4000, slope, 0.2, np.random.default_rng(3))
    if slope == -1.0:
        cumulative = np.log(drawn / 0.2) / np.log(5.0)
    else:
        cumulative = (drawn ** (1.0 + slope) - 0.2 ** (1.0 + slope)) / (1.0 - 0.2 ** (1.0 + slope))
    assert stats.kstest(cumulative, "uniform").pvalue > LEAST_P
    cat = simulate(
        coarse, n_star=2000, binary_fraction=1.0, mass_ratio_slope=slope, mass_ratio_min=0.2
    )
    ratio = cat.extra["mass_ratio"]
    assert stats.ks_2samp(ratio[ratio > 0.0], drawn).pvalue > LEAST_P


def test_stars_lie_on_the_isochrone(coarse):
    """Without scatter, and with errors of nothing, at the mass that is told."""
    cat = simulate(coarse, n_star=300, av=0.4, rv=2.9, mag_err=1e-9)
    one = coarse.at(TRUTH["feh"], TRUTH["log_age"], BANDS, av=0.4, rv=2.9)
    grows = np.concatenate([[True], np.diff(np.maximum.accumulate(one.initial_mass)) > 0.0])
    for b in range(2):
        expected = np.interp(
            cat.extra["initial_mass"], one.initial_mass[grows], one.abs_mag[grows, b]
        )
        assert_allclose(cat.mag[:, b], expected + TRUTH["distance_modulus"], atol=1e-6)


def test_equal_binaries_are_brighter_by_half(coarse):
    single = simulate(coarse, n_star=200, mag_err=1e-9)
    binary = simulate(
        coarse, n_star=200, mag_err=1e-9, binary_fraction=1.0, mass_ratio_min=1.0 - 1e-12
    )
    young = (binary.extra["mass_ratio"] > 0.9) & (binary.extra["initial_mass"] < 1.2)
    order = np.argsort(single.extra["initial_mass"])
    expected = np.interp(
        binary.extra["initial_mass"][young], single.extra["initial_mass"][order],
        single.mag[order, 0],
    )  # fmt: skip
    assert_allclose(np.median(binary.mag[young, 0] - expected), -2.5 * np.log10(2.0), atol=0.02)


def test_dark_companions_add_no_light(coarse):
    """Primaries near the lowest mass: nearly all of their companions are dark."""
    cat = simulate(coarse, binary_fraction=1.0, mag_err=1e-9)
    mass, ratio = cat.extra["initial_mass"], cat.extra["mass_ratio"]
    dark = (ratio > 0.0) & (ratio * mass < 0.1)
    assert dark.sum() > 100
    one = coarse.at(TRUTH["feh"], TRUTH["log_age"], BANDS)
    young = one.eep < 400
    expected = np.interp(mass[dark], one.initial_mass[young], one.abs_mag[young, 0])
    assert_allclose(cat.mag[dark, 0], expected + TRUTH["distance_modulus"], atol=1e-6)


def test_scatter_and_errors(coarse):
    """Every part of the covariance, from the same stars without it."""
    quiet = simulate(coarse, mag_err=1e-9)
    mass = quiet.extra["initial_mass"]
    order = np.argsort(mass)

    def residual(**options):
        cat = simulate(coarse, rng=6, **options)
        model = [np.interp(cat.extra["initial_mass"], mass[order], m[order]) for m in quiet.mag.T]
        inner = (cat.extra["initial_mass"] > 0.12) & (cat.extra["initial_mass"] < 1.5)
        return (cat.mag - np.transpose(model))[inner]

    noise = residual(mag_err=[0.1, 0.2])
    assert_allclose(noise.std(axis=0), [0.1, 0.2], rtol=0.05)
    scatter = residual(mag_err=1e-9, intrinsic_scatter=0.15)
    assert_allclose(scatter.std(axis=0), [0.15, 0.15], rtol=0.05)
    assert abs(np.corrcoef(scatter.T)[0, 1]) < 0.06
    reddened = residual(mag_err=1e-9, av_scatter=0.2)
    # In G about 0.8 of A_V and in Ks about 0.12, together.
    assert_allclose(reddened.std(axis=0), [0.16, 0.023], rtol=0.15)
    assert np.corrcoef(reddened.T)[0, 1] > 0.95


def test_errors_of_every_form(coarse):
    table = np.random.default_rng(1).uniform(0.01, 0.1, (30, 2))
    assert_array_equal(simulate(coarse, n_star=30, mag_err=table).mag_err, table)
    assert_array_equal(simulate(coarse, n_star=3, mag_err=[0.1, 0.2]).mag_err, [[0.1, 0.2]] * 3)
    limits = psp.MagnitudeLimits(BANDS[0], 12.0, 18.0)
    by_mag = simulate(coarse, n_star=30, mag_err=lambda m: 0.001 * m, selection=limits)
    assert_allclose(by_mag.mag_err, 0.001 * by_mag.mag, rtol=0.05)
    # A table belongs to the rows, also where stars are drawn again and some are of the field.
    kept = simulate(
        coarse, n_star=30, mag_err=table, selection=limits, field_fraction=0.4, field=FIELD
    )
    assert_array_equal(kept.mag_err, table)


def test_the_selection_is_respected(coarse):
    limits = psp.MagnitudeLimits(BANDS[0], 13.0, 16.5)
    cat = simulate(coarse, selection=limits, field_fraction=0.2, field=FIELD, mag_err=0.05)
    limits.check(cat)
    # Members keep the shape of an unselected cluster within the limits.
    free = simulate(coarse, n_star=20000, mag_err=0.05)
    inside = free.mag[limits.mask(free), 0]
    members = cat.mag[~cat.extra["is_field"], 0]
    assert stats.ks_2samp(members, inside).pvalue > LEAST_P


def test_parallaxes(coarse):
    cat = simulate(
        coarse, parallax_err=0.1, parallax_zero_point=-0.03, field_fraction=0.3, field=FIELD
    )
    is_field = cat.extra["is_field"]
    expected = 100.0 * 10.0 ** (-0.2 * TRUTH["distance_modulus"]) - 0.03
    pull = (cat.parallax[~is_field] - expected) / 0.1
    assert stats.kstest(pull, "norm").pvalue > LEAST_P
    assert stats.kstest((cat.parallax[is_field] + 1.0) / 4.0, "uniform").pvalue > LEAST_P
    assert_array_equal(cat.parallax_err, 0.1)


def test_field_stars_follow_their_ranges(coarse):
    cat = simulate(coarse, field_fraction=1.0, field=FIELD)
    assert stats.kstest((cat.mag[:, 0] - 10.0) / 8.0, "uniform").pvalue > LEAST_P
    color = cat.mag[:, 1] - cat.mag[:, 0]
    assert stats.kstest((color + 4.0) / 4.0, "uniform").pvalue > LEAST_P


def test_distance_in_pc(coarse):
    others = {k: v for k, v in TRUTH.items() if k != "distance_modulus"}
    pc = 10.0 ** (0.2 * TRUTH["distance_modulus"] + 1.0)
    by_pc = psp.simulate_cluster(coarse, n_star=9, bands=BANDS, rng=5, distance_pc=pc, **others)
    assert_close(by_pc.mag, simulate(coarse, n_star=9).mag, "same_formula")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_star": 0}, "n_star must be a whole number of at least 1, got 0"),
        ({"feh": 3.0}, "feh=3.0 is out of range: expected -2.5 to 0.5"),
        ({"binary_fraction": 1.5}, "binary_fraction=1.5 is out of range: expected 0 to 1"),
        ({"distance_pc": 10.0}, "either distance_modulus .* or distance_pc"),
        ({"mag_err": 0.0}, "mag_err must be positive"),
        ({"field_fraction": 0.5}, "UniformField is needed to draw field stars"),
        ({"selection": psp.MagnitudeLimits(BANDS[0], 1.0, 2.0)}, "widen the limits"),
    ],
)
def test_bad_input(coarse, options, words):
    with pytest.raises(ValueError, match=words):
        simulate(coarse, **({"n_star": 20} | options))
