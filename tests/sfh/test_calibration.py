"""Whether intervals mean what they say: galaxies drawn from the prior, simulated star by star.

If truths are drawn from the prior and stars from the model, a 68 % interval holds the truth in 68 %
of the galaxies (Cook, Gelman & Rubin 2006). Both parts are tested here: the templates against
simulated stars, and the posterior against its own truth. The stars have continuous ages, and their
metallicity follows the age of each, also inside the bins.
"""

from functools import cache
from typing import ClassVar

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy import stats

import pymc_starpop as psp
from pymc_starpop.simulate.sampler import GalaxyModel, GalaxySampler
from pymc_starpop.summaries.sfh_arrays import formation_time, formed_fraction

T_MAX = 13.7
TOTAL_MASS = 3e6
LEVEL_SD = 0.2
PARAMETER_PRIORS = {"alpha": (0.1, 0.02), "beta": (-1.7, 0.15), "sigma": (0.2, 0.2)}
NOISE = {
    "Bessell_V": psp.ExponentialError(1.03, 15, 36, 0.02, 0.4),
    "Bessell_I": psp.ExponentialError(1.03, 15, 35, 0.02, 0.4),
}
COMPLETENESS = {
    "Bessell_V": psp.LogisticCompleteness(1.0, 28.5, 0.7),
    "Bessell_I": psp.LogisticCompleteness(1.0, 27.5, 0.7),
}
AXES = psp.HessAxes(
    ("Bessell_V", "Bessell_I"), "Bessell_I", np.linspace(-0.5, 2.5, 61), np.linspace(20.0, 28, 81)
)
# Beyond these magnitudes no star gets into the axes: five standard deviations in I.
FAINT_LIMIT = {"Bessell_V": 33.0, "Bessell_I": 30.0}
# Isochrones of the simulation, dex: half a step is 0.03 mag at the turn-off, where errors are more.
AGE_STEP = 0.025


@cache
def make_isochrones():
    return psp.load_isochrones()


@cache
def make_templates():
    return psp.build_templates(
        make_isochrones(), AXES, log_age=np.round(np.arange(8.5, 10.11, 0.1), 2),
        mh=np.round(np.arange(-2.4, 0.41, 0.2), 2), distance_modulus=25.0, noise=NOISE,
        completeness=COMPLETENESS, t_max_gyr=T_MAX, progress=False,
    )  # fmt: skip


def prior(tmpl):
    years = 1e9 * np.diff(tmpl.age_edges(T_MAX))
    return psp.ContinuityPrior(0.3, median=TOTAL_MASS / years.sum(), level_sd=LEVEL_SD), years


def draw_galaxy(tmpl, rng):
    """Masses formed (N_age,), Msun, from the prior, and the Hess diagram of the stars."""
    continuity, years = prior(tmpl)
    walk = np.cumsum(continuity.scale * rng.normal(size=years.size))
    log_sfr = np.log(continuity.median) + LEVEL_SD * rng.normal() + walk - walk.mean()
    mass = years * np.exp(log_sfr)
    alpha, beta = (rng.normal(*PARAMETER_PRIORS[name]) for name in ("alpha", "beta"))
    median, width = PARAMETER_PRIORS["sigma"]
    sigma = median * np.exp(width * rng.normal())
    galaxy = psp.CompositePopulation.from_bins(
        tmpl.age_edges(T_MAX), mass, lambda age_gyr: beta + alpha * (T_MAX - age_gyr), sigma,
        mh_grid=tmpl.mh, age_step=AGE_STEP,
    )  # fmt: skip
    return mass, observe_galaxy(galaxy, rng)


class RepeatedSampler(GalaxySampler):
    """A sampler that keeps its isochrones: those of all galaxies here are the same."""

    kept: ClassVar[dict] = {}

    def sampler(self, index, node):
        key = float(self.nodes[index].log_age[node]), float(self.nodes[index].mh[node])
        if key not in self.kept:
            self.kept[key] = super().sampler(index, node)
        return self.kept[key]


def observe_galaxy(galaxy, rng):
    """Hess diagram of the stars of a galaxy, as `simulate_cmd` draws them."""
    model = GalaxyModel(AXES.bands, 25.0, faint_limit=FAINT_LIMIT)
    chunks = [
        columns for columns, _ in RepeatedSampler(make_isochrones(), galaxy, model).chunks(rng)
    ]
    stars = {band: np.concatenate([columns[band] for columns in chunks]) for band in AXES.bands}
    return psp.bin_cmd(psp.observe(stars, NOISE, COMPLETENESS, rng=rng), AXES)


def build_model(tmpl, hess):
    fit = psp.fit_sfh(tmpl, hess, t_max_gyr=T_MAX)
    assert fit.converged
    with pm.Model(coords=tmpl.coords()) as model:
        history = psp.StarFormationHistory(
            "sfh", fit, prior(tmpl)[0], parameter_priors=PARAMETER_PRIORS
        )
        psp.HessDiagram("hess", tmpl, history.weights, observed=hess)
    return model, history


def draw_laplace(tmpl, hess, seed):
    """Masses (4000, N_age) from the Gaussian approximation of the posterior."""
    _, history = build_model(tmpl, hess)
    normal = np.random.default_rng(seed).standard_normal((4000, history.laplace.mode.size))
    u = history.laplace.mode + normal @ history.laplace.cholesky.T
    return np.exp(u[:, : tmpl.n_age])


def draw_nuts(tmpl, hess, seed):
    """Masses (1600, N_age) from the sampler."""
    model, _ = build_model(tmpl, hess)
    idata = pm.sample(
        400, tune=300, chains=4, cores=1, model=model, random_seed=seed, progressbar=False,
        compute_convergence_checks=False,
    )  # fmt: skip
    assert int(idata.sample_stats["diverging"].sum()) <= 2
    return idata.posterior["mass_formed"].stack(sample=("chain", "draw")).values.T


def rank_of(truth, draws):
    """Part of the draws below the truth."""
    return np.mean(draws < truth, axis=0)


def calibrate(n_galaxy, draw_posterior, seed):
    """Ranks of the truth of tau_50 (n,), tau_90 (n,) and the cumulative SFH (n, N_age - 1)."""
    tmpl = make_templates()
    edges = tmpl.age_edges(T_MAX)
    rows = []
    for i, rng in enumerate(np.random.default_rng(seed).spawn(n_galaxy)):
        mass, hess = draw_galaxy(tmpl, rng)
        draws = draw_posterior(tmpl, hess, seed + i)
        fractions = np.array([0.5, 0.9])
        tau = rank_of(
            formation_time(mass, edges, fractions), formation_time(draws, edges, fractions)
        )
        cumulative = rank_of(formed_fraction(mass), formed_fraction(draws))[1:-1]
        rows.append({"tau_50": tau[0], "tau_90": tau[1], "cumulative": ("edge", cumulative)})
    return xr.concat([xr.Dataset(row) for row in rows], dim="galaxy")


def coverage(ranks, probability=0.68):
    """Part of the ranks inside the interval with equal tails."""
    return float(np.mean(np.abs(ranks - 0.5) < 0.5 * probability))


def check(ranks, n_galaxy):
    """The coverage is within the central 99 % of the binomial distribution."""
    low, high = stats.binom.interval(0.99, n_galaxy, 0.68)
    for name in ("tau_50", "tau_90", "cumulative"):
        covered = coverage(ranks[name].values)
        print(f"{name}: 68 % intervals hold the truth in {100 * covered:.1f} % of {n_galaxy}")
        assert low / n_galaxy <= covered <= high / n_galaxy, name


def test_intervals_of_the_gaussian_approximation_hold_the_truth_as_often_as_they_say():
    ranks = calibrate(20, draw_laplace, seed=2025)
    check(ranks, 20)


@pytest.mark.slow
@pytest.mark.parametrize("draw_posterior", [draw_laplace, draw_nuts])
def test_fifty_galaxies(draw_posterior):
    ranks = calibrate(50, draw_posterior, seed=50)
    check(ranks, 50)
