"""Time to draw the stars of a galaxy, printed.

Run with ``pytest -m benchmark -s``. Only the number of stars is asserted: a clock must not fail a
test.
"""

import time

import numpy as np
import pytest

import pymc_starpop as psp

pytestmark = pytest.mark.benchmark

N_SYSTEM = 10_000_000
BANDS = ("Bessell_V", "Bessell_I")
BINARIES = {
    "single": psp.NoBinaries(),
    "random pairs": psp.RandomBinaryPairs(0.7),
    "mass ratios": psp.MassRatioBinaries(0.7),
}
# At distance modulus 25, M_I = 2 and -1: below the turn-off of old stars, and red giants.
LIMITS = {"all": {}, "I < 27": {"Bessell_I": 27.0}, "I < 24": {"Bessell_I": 24.0}}


@pytest.mark.parametrize("name", BINARIES)
def test_stars_per_second(iso, name):
    binaries = BINARIES[name]
    one = iso.at(-1.0, 10.0, BANDS)
    mass = N_SYSTEM / binaries.systems_per_mass(psp.Kroupa())
    for limit, faint in LIMITS.items():
        seconds = []
        for seed in range(3):
            start = time.perf_counter()
            stars = psp.simulate_cmd(
                one, mass, distance_modulus=25.0, binaries=binaries, faint_limit=faint, rng=seed,
                progress=False,
            )  # fmt: skip
            seconds.append(time.perf_counter() - start)
        best = min(seconds)
        print(
            f"\n{name}, {limit}: {N_SYSTEM:.0e} systems formed, {stars.star.size} in the table, "
            f"{1e3 * best:.0f} ms, {N_SYSTEM / best:.2g} formed a second"
        )
        assert stars.star.size > 0


def test_observed_stars_per_second():
    n = 2_000_000
    mags = {"V": np.linspace(22.0, 28.0, n), "I": np.linspace(21.0, 27.0, n)}
    noise = dict.fromkeys("VI", psp.ExponentialError(1.03, 15, 36, 0.02, 0.4))
    completeness = dict.fromkeys("VI", psp.LogisticCompleteness(1.0, 27.0, 0.5))
    start = time.perf_counter()
    seen = psp.observe(mags, noise, completeness, rng=1)
    print(f"\nobserve: {n / (time.perf_counter() - start):.2g} stars a second")
    assert 0 < seen["V"].size < n
