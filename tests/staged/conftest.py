"""astro-brutus on our isochrones, and random input of every kind."""

from types import SimpleNamespace

import numpy as np
import pytest

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "2MASS_J", "2MASS_Ks")


@pytest.fixture(scope="session")
def brutus():
    """The population module of the version whose numbers are reproduced."""
    package = pytest.importorskip("brutus", reason="astro-brutus is not installed")
    if package.__version__ != "1.2.0":
        pytest.skip(f"needs astro-brutus 1.2.0, found {package.__version__}")
    from brutus.analysis import populations

    return populations


class ServedIsochrone:
    """Our isochrones as brutus asks of its own ``Isochrone``: everything linear in EEP.

    The magnitudes are needed as well, since brutus' networks are downloads; they come by EEP, which
    travels in the place of a quantity that only the network would use.
    """

    predictions = ("mini", "logt", "logg", "logl", "feh_surf", "afe_surf")

    def __init__(self, iso, bands, corrections):
        self.iso, self.bands, self.corrections = iso, bands, corrections
        self.eep_u = np.asarray(iso.eep, dtype=float)

    def get_predictions(self, feh, afe, loga, eep, apply_corr, corr_params):
        self.feh, self.log_age, self.corr_params = feh, loga, corr_params
        self.eep_u = self.iso.eep_at(feh, loga)
        mass = self.iso.at(feh, loga, self.bands).initial_mass
        columns = np.full((len(eep), len(self.predictions)), np.nan)
        columns[:, 0] = self.interpolate(eep, mass)
        columns[:, 3] = eep
        return columns

    def interpolate(self, eep, column):
        return np.interp(eep, self.eep_u, column, left=np.nan, right=np.nan)

    def magnitudes(self, eep, av, rv):
        """Apparent magnitudes at 10 pc, with brutus' corrections at the nodes."""
        one = self.iso.at(self.feh, self.log_age, self.bands, av=av, rv=rv)
        log_teff, log_g, log_l = one.log_teff, one.log_g, one.log_l
        mag = one.abs_mag
        if self.corr_params is not None:
            dlog_t, dlog_r = self.corrections(
                None, one.initial_mass, self.feh, self.eep_u, self.corr_params
            ).T
            coefficients = self.iso.bolometric(self.bands).interpolate(
                log_teff + dlog_t, log_g - 2.0 * dlog_r, self.feh
            )
            extinction = av * self.iso.rv_slope(self.bands) * (1.0 / rv - 1.0 / 3.1)
            mag = 4.74 - 2.5 * (log_l + 2.0 * dlog_r)[:, None] + extinction
            mag = mag - coefficients @ av ** np.arange(4.0)
        return np.stack([self.interpolate(eep, m) for m in mag.T], axis=1)


class ServedPhotometry:
    """In the place of brutus' ``FastNNPredictor``."""

    def __init__(self, isochrone):
        self.isochrone = isochrone
        self.NFILT = len(isochrone.bands)

    def sed_batch(self, *, logt, logg, feh_surf, logl, afe, av, rv, dist):
        return self.isochrone.magnitudes(logl, av, rv) + 5.0 * np.log10(dist / 10.0)


@pytest.fixture(scope="session")
def stellar_pop(brutus):
    """Return brutus' own StellarPop, with its own binaries, on our isochrones."""
    from brutus.core.populations import Isochrone, StellarPop

    def make(iso, bands=BANDS):
        pop = StellarPop.__new__(StellarPop)  # its constructor looks for the network's file
        pop.isochrone = ServedIsochrone(iso, bands, Isochrone._apply_corrections)
        pop.predictor = ServedPhotometry(pop.isochrone)
        return pop

    return make


def random_input(rng, n_star=23, n_band=5, n_point=90):
    """Stars near a random grid, with everything that can be missing."""
    flux = 10.0 ** rng.uniform(-1.0, 1.0, (n_point, n_band))
    flux[rng.choice(n_point, 7, replace=False), rng.integers(0, n_band, 7)] = np.nan
    flux[3, 1] = np.inf
    smf = np.linspace(0.0, 1.0, 6)
    grid = {
        "photometry": flux,
        "masses": np.sort(rng.uniform(0.1, 2.0, n_point)),
        "smf_values": smf[rng.integers(0, 6, n_point)],
        "mass_jacobians": 10.0 ** rng.uniform(-3.0, 0.0, n_point),
        "smf_jacobians": rng.uniform(0.1, 1.0, n_point),
        "grid_info": {"smf_grid": smf, "eep_grid": np.arange(n_point), "n_total_points": n_point},
    }
    near = rng.choice(np.flatnonzero(np.isfinite(flux).all(axis=1)), n_star)
    err = flux[near] * rng.uniform(0.02, 0.2, (n_star, n_band))
    obs = flux[near] + err * rng.normal(size=err.shape)
    obs[1, 2], obs[2, :3], obs[3] = np.nan, np.nan, np.nan
    err[4, 0], err[5, 1], err[6, 2] = 0.0, -1.0, np.inf
    obs[7, 3] = np.inf
    mask = (rng.random(obs.shape) < 0.8).astype(float)
    mask[8] = 0.0
    parallax = 2.0 + 0.1 * rng.normal(size=n_star)
    parallax_err = rng.uniform(0.05, 0.2, n_star)
    parallax[[3, 9]], parallax_err[10], parallax_err[11] = np.nan, np.nan, 0.0
    return SimpleNamespace(
        obs=obs, err=err, mask=mask, grid=grid, distance=490.0,
        parallax={"parallax": parallax, "parallax_err": parallax_err},
        prior=rng.uniform(0.0, 1.0, n_star),
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_input():
    """Return a function of a seed that makes random input."""
    return lambda seed: random_input(np.random.default_rng(seed))


@pytest.fixture
def given(rng):
    """Random input, new for every test."""
    return random_input(rng)
