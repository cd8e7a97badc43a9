"""Light for each mass formed, and the mass still in stars, against drawn stars."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

import pymc_starpop as psp
from pymc_starpop.simulate.light import flux_per_mass
from pymc_starpop.simulate.tracks import StarTrack
from tolerances import assert_close

MASS, MAG = np.array([0.1, 0.4, 0.8, 0.85]), np.array([[12.0], [8.0], [4.0], [-3.0]])
IMFS = [psp.Kroupa(), psp.Chabrier("2003-system"), psp.Salpeter(mass_min=0.2, mass_max=50.0)]


@pytest.mark.parametrize("imf", IMFS)
def test_flux_of_single_stars(imf):
    def integrand(m):
        return float(imf.density(m)) * 10 ** (-0.4 * np.interp(m, MASS, MAG[:, 0]))

    ends = [max(imf.mass_min, 0.1), 0.4, 0.5, 0.8, 0.85]
    flux = sum(quad(integrand, a, b, epsrel=1e-11)[0] for a, b in pairwise(ends))
    flux /= float(imf.mass_integral(imf.mass_min, imf.mass_max))
    track = StarTrack(MASS, MAG, imf)
    assert_close(flux_per_mass(track, 0, psp.NoBinaries()), flux, "quadrature")
    assert_close(flux_per_mass(track, 0, psp.RandomBinaryPairs(0.4)), flux, "quadrature")


@pytest.mark.parametrize("imf", IMFS)
def test_surviving_mass(imf):
    def mass_between(a, b):
        points = [x for x in (0.5, 1.0) if a < x < b]
        return quad(lambda m: m * float(imf.density(m)), a, b, points=points, epsrel=1e-11)[0]

    expected = mass_between(imf.mass_min, 0.85) / mass_between(imf.mass_min, imf.mass_max)
    for binaries in (None, psp.RandomBinaryPairs(0.7)):
        fraction = psp.surviving_fraction(MASS, imf=imf, binaries=binaries)
        assert_close(fraction, expected, "quadrature")
        recycled = psp.recycled_fraction(MASS, imf=imf, binaries=binaries)
        assert_close(fraction + recycled, 1.0, "same_formula")


def test_stars_in_pairs_of_a_system_mass(rng):
    imf, binaries = psp.Kroupa(), psp.MassRatioBinaries(0.7, 0.2, -0.5)
    n = 1_000_000
    total = imf.sample(n, imf.mass_min, imf.mass_max, rng)
    ratio = np.where(rng.random(n) < 0.7, binaries.mass_ratio_quantile(rng.random(n)), 0.0)
    stars = np.stack([total / (1 + ratio), total * ratio / (1 + ratio)])
    alive = np.where(stars <= 0.85, stars, 0.0).sum(axis=0)
    lit = (stars >= 0.1) & (stars <= 0.85)
    flux = np.where(lit, 10 ** (-0.4 * np.interp(stars, MASS, MAG[:, 0])), 0.0).sum(axis=0)
    mean = total.mean()  # the ratio of means: its spread is that of x - r total
    for drawn, value in (
        (alive, psp.surviving_fraction(MASS, binaries=binaries)),
        (flux, flux_per_mass(StarTrack(MASS, MAG, imf), 0, binaries)),
    ):
        spread = (drawn - value * total).std() / np.sqrt(n) / mean
        assert abs(drawn.mean() / mean - value) < 4 * spread


def test_older_populations_have_less_mass_in_stars(coarse):
    fractions = [psp.surviving_fraction(coarse, age, -1.0) for age in (7.0, 8.0, 9.0, 10.0)]
    assert np.all(np.diff(fractions) < 0)
    assert 0.0 < fractions[-1] < fractions[0] < 1.0
    one = coarse.at(-1.0, 9.0, ["Bessell_V"])
    assert psp.surviving_fraction(one) == fractions[2]


def test_refused(coarse):
    with pytest.raises(ValueError, match="needs log_age and mh"):
        psp.surviving_fraction(coarse)
    with pytest.raises(ValueError, match="initial masses"):
        psp.surviving_fraction([[0.1, 0.2]])
    with pytest.raises(ValueError, match="NoBinaries"):
        psp.surviving_fraction(MASS, binaries=0.3)
