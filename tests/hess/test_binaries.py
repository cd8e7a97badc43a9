"""Binary models: systems per mass, mass-ratio law, refused numbers."""

import numpy as np
import pytest
from scipy.integrate import quad

import pymc_starpop as psp
from pymc_starpop.hess.binaries import check_binaries, mean_initial_mass
from tolerances import assert_close

LAWS = [(0.1, 0.0), (0.1, -1.0), (0.02, -0.4), (0.3, 1.7), (0.1, -1.0 + 1e-11), (0.5, -3.0)]


def test_mean_mass_of_a_power_law():
    # <M> = int m^-1 / int m^-2 on 1 to 10 Msun
    imf = psp.PowerLaw(2.0, mass_min=1.0, mass_max=10.0)
    assert_close(mean_initial_mass(imf), np.log(10.0) / 0.9, "same_formula")


@pytest.mark.parametrize("imf", [psp.Kroupa(), psp.Salpeter(mass_min=0.2), psp.Chabrier()])
def test_systems_per_mass_from_drawn_masses(imf, rng):
    mass = imf.sample(400_000, imf.mass_min, imf.mass_max, rng)
    standard_error = mass.std() / np.sqrt(mass.size)
    is_binary = rng.random(mass.size // 2) < 0.3
    pairs = mass[: mass.size // 2] + np.where(is_binary, mass[mass.size // 2 :], 0.0)
    for systems, binaries in [
        (mass, psp.NoBinaries()),
        (mass, psp.MassRatioBinaries(0.3)),
        (pairs, psp.RandomBinaryPairs(0.3)),
    ]:
        expected = 1.0 / binaries.systems_per_mass(imf)
        assert abs(systems.mean() - expected) < 5.0 * standard_error * 1.5


@pytest.mark.parametrize(("lowest", "slope"), LAWS)
def test_mass_ratio_law(lowest, slope):
    law = psp.MassRatioBinaries(0.5, lowest, slope)
    q = np.linspace(lowest, 1.0, 7)
    integrals = [quad(law.mass_ratio_density, lowest, x)[0] for x in q]
    assert_close(law.mass_ratio_cdf(q), integrals, "quadrature")
    assert_close(integrals[-1], 1.0, "quadrature")
    assert_close(law.mass_ratio_quantile(law.mass_ratio_cdf(q)), q, "kernel")
    assert_close(law.mass_ratio_density([lowest / 2, 1.1]), [0.0, 0.0], "same_formula")
    assert_close(law.mass_ratio_cdf([lowest / 2, 1.1]), [0.0, 1.0], "same_formula")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: psp.RandomBinaryPairs(1.2), "fraction of binaries.*0 to 1.*1.2"),
        (lambda: psp.RandomBinaryPairs(float("nan")), "fraction"),
        (lambda: psp.RandomBinaryPairs("0.7"), "fraction"),
        (lambda: psp.MassRatioBinaries(-0.1), "fraction"),
        (lambda: psp.MassRatioBinaries(0.5, 0.0), "mass_ratio_min"),
        (lambda: psp.MassRatioBinaries(0.5, 1.0), "mass_ratio_min"),
        (lambda: psp.MassRatioBinaries(0.5, slope=np.inf), "slope"),
        (lambda: psp.MassRatioBinaries(0.5, slope=20.5), "slope must be a number from -20 to 20"),
        (lambda: check_binaries(0.7), "NoBinaries"),
        (lambda: check_binaries(psp.NoBinaries), "NoBinaries"),
    ],
)
def test_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
