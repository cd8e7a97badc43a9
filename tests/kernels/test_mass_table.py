"""Stars of binaries that are seen alone, against integrals by SciPy."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate

import pymc_starpop as psp
from pymc_starpop.kernels.mass_table import beside_dark, seen_alone

FORMED, SEEN = (0.08, 100.0), (0.15, 0.9)
IMF = psp.Kroupa()
LOG_MASS = np.linspace(*np.log(FORMED), 4096)
TABLE = float(LOG_MASS[0]), float(LOG_MASS[1] - LOG_MASS[0]), IMF.density(np.exp(LOG_MASS))
LAWS = [(0.1, 0.0), (0.1, -1.0), (0.05, 2.0), (0.6, 0.0), (0.01, -2.5)]


def as_kernel(binaries):
    return float(binaries.mass_ratio_density(1.0)), binaries.slope, binaries.mass_ratio_min


def expected(mass, binaries):
    """Over every ratio, with a step at which the companion is seen or the system not formed."""

    def density(log_ratio, secondary):
        q = np.exp(log_ratio)
        other = mass / q if secondary else mass * q
        system = mass + other
        dark = other > SEEN[1] if secondary else other < SEEN[0]
        if not (dark and FORMED[0] <= system <= FORMED[1]):
            return 0.0
        per_mass = float(binaries.mass_ratio_density(q)) * q * system / mass
        return per_mass * float(IMF.density(system))

    total = 0.0
    for secondary in (False, True):
        steps = [mass / SEEN[1]] if secondary else [SEEN[0] / mass]
        for end in FORMED:
            steps.append(mass / (end - mass) if secondary else (end - mass) / mass)
        # The kink of the mass function.
        steps.append(mass / (0.5 - mass) if secondary else (0.5 - mass) / mass)
        inside = sorted(s for s in steps if binaries.mass_ratio_min < s < 1.0)
        places = np.log([binaries.mass_ratio_min, *inside, 1.0])
        for low, high in pairwise(places):
            # Inside, so that a step at the end is on one side.
            total += integrate.quad(density, low + 1e-12, high - 1e-12, (secondary,))[0]
    return total


@pytest.mark.parametrize(("least", "slope"), LAWS)
@pytest.mark.parametrize("mass", [0.15, 0.1501, 0.3, 0.7, 0.9])
def test_beside_dark_against_scipy(least, slope, mass):
    binaries = psp.MassRatioBinaries(0.5, least, slope)
    found = beside_dark(mass, FORMED, SEEN, as_kernel(binaries), TABLE)
    # Eight nodes over a range with a kink of the mass function.
    assert found == pytest.approx(expected(mass, binaries), rel=2e-3, abs=1e-12)


@pytest.mark.parametrize(("least", "slope"), LAWS[:3])
def test_seen_alone_by_a_table(least, slope, rng):
    binaries = psp.MassRatioBinaries(0.5, least, slope)
    mass = rng.uniform(*SEEN, (50, 2))
    found = seen_alone(mass, 128, 0.3, FORMED, SEEN, as_kernel(binaries), TABLE)
    alone = [
        [beside_dark(m, FORMED, SEEN, as_kernel(binaries), TABLE) for m in row] for row in mass
    ]
    np.testing.assert_allclose(found, 0.7 * IMF.density(mass) + 0.3 * np.array(alone), rtol=1e-3)


def test_a_star_outside_the_masses_formed_is_no_single():
    law = as_kernel(psp.MassRatioBinaries(0.5))
    found = seen_alone(np.array([[0.05, 0.07]]), 128, 0.0, FORMED, (0.04, 0.9), law, TABLE)
    np.testing.assert_array_equal(found, 0.0)
