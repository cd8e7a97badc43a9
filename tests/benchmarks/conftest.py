"""The grid of astro-brutus on our isochrones, for comparisons of speed."""

from types import ModuleType

import numpy as np
import pytest

LN_FLUX = 0.4 * np.log(10.0)


class StubStellarPop:
    """Serves our isochrones in the form that brutus asks of its own ``StellarPop``.

    brutus' neural networks and isochrone files are downloads; the time that is compared starts
    from a ready-made grid, so only its shape matters.
    """

    def __init__(self, iso, bands):
        self.iso = iso.with_nodes()
        self.bands = bands

    def get_seds(
        self, *, feh, loga, av, rv, eep, binary_fraction, dist, mini_bound, eep_binary_max,
        corr_params,
    ):  # fmt: skip
        """Magnitudes (E, B) at `eep`, parameters of the primaries, and of the secondaries."""
        one = self.iso.at(feh, loga, self.bands, av=av, rv=rv)
        mass = np.interp(eep, one.eep, one.initial_mass)
        mag = np.stack([np.interp(eep, one.eep, m) for m in one.abs_mag.T], axis=1)
        secondary_mass = binary_fraction * mass
        lit = (secondary_mass >= mini_bound) & (eep <= eep_binary_max)
        # Up to the turn-off the mass grows with EEP.
        young = one.eep <= eep_binary_max
        companions = [
            np.interp(secondary_mass[lit], one.initial_mass[young], m) for m in one.abs_mag[young].T
        ]
        secondary = np.stack(companions, axis=1)
        mag[lit] = -np.logaddexp(-LN_FLUX * mag[lit], -LN_FLUX * secondary) / LN_FLUX
        mag += 5.0 * np.log10(dist) - 5.0
        return mag, {"mini": mass}, {"mini": secondary_mass}


@pytest.fixture(scope="session")
def brutus() -> ModuleType:
    """The population module of the version whose speed is compared with."""
    package = pytest.importorskip("brutus", reason="astro-brutus is not installed")
    if package.__version__ != "1.2.0":
        pytest.skip(f"needs astro-brutus 1.2.0, found {package.__version__}")
    from brutus.analysis import populations

    return populations


@pytest.fixture(scope="session")
def brutus_grid(brutus, iso):
    """Return a function that builds brutus' default grid, 1,000 EEPs x 21 mass ratios."""

    def build(bands, feh, log_age, av, distance_modulus):
        distance = 10.0 ** (0.2 * distance_modulus + 1.0)
        return brutus.generate_isochrone_population_grid(
            StubStellarPop(iso, bands), feh, log_age, av, 3.1, distance
        )

    return build
