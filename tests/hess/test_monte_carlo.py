"""Templates against counts of simulated stars: Fig. 3 of Garling et al. (2025), and binaries.

The isochrone and settings are those of the paper. In a bin that is expected to hold T stars, the
significance (n - T) / sqrt(T) of the number n that was drawn has mean 0 and standard deviation 1.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

import pymc_starpop as psp
from pymc_starpop.simulate.sampler import GalaxyModel, GalaxySampler

BANDS = ("F090W", "F150W")
NOISE = {
    "F090W": psp.ExponentialError(1.03, 15, 36, 0.02, 0.4),
    "F150W": psp.ExponentialError(1.03, 15, 35, 0.02, 0.4),
}
COMPLETENESS = {
    "F090W": psp.LogisticCompleteness(1.0, 28.5, 0.7),
    "F150W": psp.LogisticCompleteness(1.0, 27.5, 0.7),
}
# Bins are used where a template of this mass holds a star.
REFERENCE_MASS = 1e7
# Chosen before the first run; the realizations that are averaged take this seed and the next ones.
# Over 3,410 (single) and 6,500 bins the standard error of the mean is 0.017 and 0.012, as large as
# what is asked for: the mean of several realizations says whether a template is off, not one.
SEED = 20250101


@dataclass(frozen=True)
class Setting:
    """One diagram: binaries, distance, bins, and the faintest magnitude that can reach them."""

    quick_mass: float  # Msun, for the quick test
    n_realization: int  # of 1e9 Msun, for the slow test
    binaries: object
    distance_modulus: float
    color_edges: np.ndarray
    mag_edges: np.ndarray
    faint_limit: float

    @property
    def axes(self):
        return psp.HessAxes(BANDS, "F150W", self.color_edges, self.mag_edges)


# Systems beyond the limits are not drawn: 2.5 standard deviations of 0.4 mag beyond 30 mag, where
# less than 1e-3 of the stars are recovered, and all of the isochrone (to 28.4 mag).
FAR = (25.0, np.linspace(-0.2, 1.2, 75), np.linspace(19.0, 30.0, 200), 31.0)
NEAR = (17.5, np.linspace(0.4, 1.1, 75), np.linspace(18.0, 27.5, 200), 29.0)
SETTINGS = {
    "single": Setting(3e7, 4, psp.NoBinaries(), *FAR),
    "random pairs": Setting(1e7, 1, psp.RandomBinaryPairs(0.7), *NEAR),
    "mass ratios": Setting(1e7, 1, psp.MassRatioBinaries(0.7), *NEAR),
}


@pytest.fixture(scope="module")
def isochrone(shared_data):
    """Initial mass (E,), absolute magnitudes (E, 2) of 12.6 Gyr and [M/H] = -2.8."""
    table = np.loadtxt(shared_data / "parsec_12p6gyr_mh-2p8_nircam.txt", skiprows=1)
    return table[:, 0], table[:, 1:3]


@pytest.fixture(scope="module", params=SETTINGS)
def diagram(request, isochrone):
    """A setting with its template (N_mag, N_color), stars per Msun."""
    setting = SETTINGS[request.param]
    template = psp.build_template(
        *isochrone, BANDS, setting.axes, distance_modulus=setting.distance_modulus, noise=NOISE,
        completeness=COMPLETENESS, binaries=setting.binaries,
    )  # fmt: skip
    return setting, template.values


def draw_counts(isochrone, setting, mass, seed):
    """Stars in the bins, drawn and binned chunk by chunk."""
    limit = {"F150W": setting.faint_limit}
    model = GalaxyModel(
        BANDS, setting.distance_modulus, binaries=setting.binaries, faint_limit=limit
    )
    sampler = GalaxySampler(isochrone, psp.CompositePopulation(10.1, -2.8, mass), model)
    rng = np.random.default_rng(seed)
    counts = np.zeros(setting.axes.shape)
    for columns, _ in sampler.chunks(rng):
        mags = {band: columns[band] for band in BANDS}
        counts += psp.bin_cmd(psp.observe(mags, NOISE, COMPLETENESS, rng=rng), setting.axes).values
    return counts


def significance(counts, expected, used):
    return (counts[used] - expected[used]) / np.sqrt(expected[used])


def test_template_matches_simulated_stars(isochrone, diagram):
    setting, template = diagram
    mass = setting.quick_mass
    counts = draw_counts(isochrone, setting, mass, SEED)
    z = significance(counts, template * mass, template * REFERENCE_MASS > 1.0)
    # The fourth moment of a Poisson number adds 1/T to the variance of z^2.
    spread = np.sqrt((2.0 + REFERENCE_MASS / mass) / z.size)
    assert abs(z.mean()) < 4.0 / np.sqrt(z.size)
    assert abs((z**2).mean() - 1.0) < 4.0 * spread
    # Sums over colors and over magnitudes see errors that single bins hide.
    for axis in (0, 1):
        total = (template * mass).sum(axis=axis)
        z = significance(counts.sum(axis=axis), total, total > 20.0)
        assert stats.chi2.sf((z**2).sum(), z.size) > 1e-3
    total = template.sum() * mass
    assert abs(counts.sum() - total) < 4.0 * np.sqrt(total)


@pytest.mark.slow
def test_template_matches_1e9_solar_masses(isochrone, diagram):
    setting, template = diagram
    used = template * REFERENCE_MASS > 1.0
    z = []
    for seed in range(SEED, SEED + setting.n_realization):
        counts = draw_counts(isochrone, setting, 1e9, seed)
        z.append(significance(counts, template * 1e9, used))
        print(f"\n{setting.binaries}, seed {seed}: {used.sum()} bins, mean {z[-1].mean():+.4f}, "
              f"std {z[-1].std():.4f}", end="")  # fmt: skip
        assert 0.98 - 0.02 <= z[-1].std() <= 1.03 + 0.02
    assert abs(np.mean(z)) <= 0.02
    assert 0.98 <= np.sqrt(np.mean(np.square(z))) <= 1.03
