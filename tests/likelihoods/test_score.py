"""The likelihood is the density of the simulated stars: its score has the mean 0 at the truth.

For stars drawn from p(x | theta), the mean of d ln p / d theta over them is 0 at the true theta,
within its standard error, whatever the parameter. A term that is missing, of the wrong norm or
taken elsewhere than in the simulation moves it. Hotelling's T^2 looks at all directions at once,
also those between parameters along which the likelihood is wide and a small slope is a large bias.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import stats

import pymc_starpop as psp
from cluster_fixtures import CatalogGraph

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "2MASS_Ks")
POSITION = {"feh": 0.03, "log_age": 9.05, "distance_modulus": 9.0, "av": 0.4}
LIMITS = psp.MagnitudeLimits(BANDS[0], 11.0, 17.0, error=0.03)
# Found less and less often, over a range wide beside every scatter.
FADING = psp.MagnitudeLimits(
    BANDS[0], faint=19.0, error=0.03, completeness=psp.LogisticCompleteness(0.95, 16.5, 0.6)
)
# Flux limit at a signal-to-noise ratio of 5 in G.
FAINT = psp.MagnitudeLimits(BANDS[0], faint=20.0, error=0.15)
FIELD = psp.UniformField(
    mag_range=(8.0, 19.0),
    color_ranges={(BANDS[1], BANDS[0]): (-0.3, 2.0), (BANDS[2], BANDS[0]): (-4.5, 0.3)},
    parallax_range=(0.0, 3.0),
    teff_range=(2500.0, 10000.0),
    feh_range=(-1.0, 1.0),
)  # fmt: skip
NOISE = {"mag_err": 0.03}
SCATTER = {"intrinsic_scatter": 0.02}
BINARIES = {"binary_fraction": 0.4, "intrinsic_scatter": 0.02}
MIXED = BINARIES | {"field_fraction": 0.3}
N_STAR = 100
N_BATCH, N_BATCH_SLOW = 40, 300
# Chance of a false alarm in a case; the seeds are fixed.
LEAST_P = 1e-3


@dataclass(frozen=True)
class Case:
    """A cluster: scalars whose score is taken, how they become arguments, noise and columns."""

    truth: dict
    build: Callable = dict
    noise: dict = field(default_factory=lambda: NOISE)
    bands: tuple = BANDS


def second(v, **own):
    """Arguments with a second population, from scalars whose names begin with ``second_``."""
    names = [name for name in v if name.startswith("second_")]
    given = {name.removeprefix("second_"): v[name] for name in names}
    return {k: v[k] for k in v if k not in names} | {"second_population": psp.SecondPopulation(
        **given, **own)}  # fmt: skip


def with_zero_points(v):
    """One zero point that is free."""
    symbolic = isinstance(v["zero_point"], pt.TensorVariable)
    points = [0.0, v["zero_point"], 0.0]
    others = {k: v[k] for k in v if k != "zero_point"}
    return others | {"zero_points": pt.stack(points) if symbolic else np.array(points)}


AV_OF_STARS = np.random.default_rng(4).uniform(0.2, 0.6, N_STAR)


def with_av_of_stars(v):
    """Known differences of A_V around a mean that is free."""
    return v | {"av": v["av"] + (AV_OF_STARS - AV_OF_STARS.mean())}


# A magnitude and a color of two other bands, and of the band of the magnitude and another.
COLOR = (BANDS[0], "Gaia_BP_EDR3 - Gaia_RP_EDR3")
SHARING = ("Gaia_RP_EDR3", "Gaia_BP_EDR3 - Gaia_RP_EDR3")
COLOR_FIELD = psp.UniformField(
    mag_range=(8.0, 19.0), color_ranges={("Gaia_BP_EDR3", "Gaia_RP_EDR3"): (-0.5, 4.0)}
)

AGES = psp.AgeDistribution([8.95, 9.0, 9.05], [1.0, 2.0, 1.0], 0.04)

CASES = {
    "single stars": Case(SCATTER),
    "binaries": Case(BINARIES | {"mass_ratio_slope": -0.4}),
    "extinction": Case({"av_scatter": 0.15, "rv": 3.3}),
    "selection": Case(BINARIES | {"av_scatter": 0.1}, lambda v: v | {"selection": LIMITS}),
    "field, selection and parallaxes": Case(
        MIXED | {"parallax_zero_point": -0.03},
        lambda v: v | {"selection": LIMITS, "field": FIELD}, NOISE | {"parallax_err": 0.1},
    ),
    "zero points": Case(SCATTER | {"zero_point": 0.05}, with_zero_points),
    "depth": Case(
        BINARIES | {"distance_modulus_scatter": 0.1}, lambda v: v | {"selection": LIMITS},
        NOISE | {"parallax_err": 0.05},
    ),
    "scatter with a shape": Case(
        BINARIES | {"grey_scatter": 0.1, "log_teff_scatter": 0.006},
        lambda v: v | {"selection": LIMITS}, NOISE | {"teff_err": 60.0, "parallax_err": 0.05},
    ),
    "scatter with a shape in flux": Case(
        MIXED | {"grey_scatter": 0.05, "log_teff_scatter": 0.004},
        lambda v: v | {"selection": FAINT, "field": FIELD}, {"flux_err": [1.5, 3.0, 30.0]},
    ),
    "age spread": Case(SCATTER | {"log_age_scatter": 0.06}, lambda v: v | {"selection": LIMITS}),
    "age distribution": Case(
        SCATTER, lambda v: {k: v[k] for k in v if k != "log_age"} | {"age_distribution": AGES}
    ),
    "two populations": Case(
        MIXED | {"second_fraction": 0.35, "second_feh": 0.25, "second_log_age": 9.3},
        lambda v: second(v) | {"selection": LIMITS, "field": FIELD},
    ),
    "completeness": Case(
        MIXED | {"av_scatter": 0.1}, lambda v: v | {"selection": FADING, "field": FIELD}
    ),
    "spectroscopy": Case(
        MIXED, lambda v: v | {"selection": LIMITS, "field": FIELD},
        NOISE | {"teff_err": 100.0, "feh_err": 0.1},
    ),
    "magnitude and color": Case(
        MIXED | {"av_scatter": 0.1}, lambda v: v | {"selection": FADING, "field": COLOR_FIELD},
        bands=COLOR,
    ),
    "magnitude and color of the same band": Case(
        {"intrinsic_scatter": 0.06, "field_fraction": 0.3},
        lambda v: v | {"selection": psp.MagnitudeLimits(SHARING[0], 11.0, 17.0, error=0.03),
                       "field": COLOR_FIELD},
        bands=SHARING,
    ),
    "extinction of each star": Case(SCATTER, with_av_of_stars),
    "extinction of each star, selection": Case(
        SCATTER, lambda v: with_av_of_stars(v) | {"selection": LIMITS}
    ),
    "outliers": Case(
        BINARIES | {"field_fraction": 0.3, "scale": 4.0},
        lambda v: {k: v[k] for k in v if k != "scale"}
        | {"selection": LIMITS, "field": psp.InflatedScatterField(v["scale"])},
    ),
    "fluxes": Case(
        MIXED | {"av_scatter": 0.1}, lambda v: v | {"field": FIELD, "selection": FAINT},
        {"flux_err": [1.5, 3.0, 30.0]},
    ),
    "fluxes, scatter of 0.08 mag": Case(
        {"intrinsic_scatter": 0.08}, lambda v: v | {"selection": FAINT},
        {"flux_err": [1.5, 3.0, 30.0]},
    ),
    "fluxes, extinction of each star": Case(
        SCATTER, lambda v: with_av_of_stars(v) | {"selection": FAINT},
        {"flux_err": [1.5, 3.0, 30.0]},
    ),
}  # fmt: skip


class Score:
    """Gradient of the log-likelihood of a catalog, compiled once for all catalogs of a kind."""

    def __init__(self, iso, catalogs, truth, build):
        self.names = list(truth)
        point = [np.float64(truth[name]) for name in self.names]
        inputs = {name: pt.dscalar(name) for name in self.names}
        self._graph = CatalogGraph(
            lambda catalog: psp.cluster_logp(iso, catalog, **build(inputs)), *catalogs[:2]
        )
        data = {variable: variable.type() for variable in self._graph.variables}
        gradient = pt.grad(self._graph.logp.sum(), list(inputs.values()))
        function = pytensor.function(
            [*inputs.values(), *data.values()], gradient, givens=data, mode="FAST_COMPILE"
        )
        self._function = partial(function, *point)

    def __call__(self, catalog):
        return np.array(self._function(*self._graph.values(catalog)))


def scores(iso, case, n_batch, simulated=None):
    """Names of the parameters, and the sum of the scores of each batch of stars."""
    truth = POSITION | case.truth
    if case.build(truth).get("log_age") is None:
        del truth["log_age"]
    drawn = case.build(truth) | (simulated or {})
    catalogs = [
        psp.simulate_cluster(iso, n_star=N_STAR, bands=case.bands, rng=seed, **drawn, **case.noise)
        for seed in range(n_batch)
    ]
    score = Score(iso, catalogs, truth, case.build)
    return score.names, np.array([score(catalog) for catalog in catalogs])


def probability(names, batches):
    """Chance of a mean score as far from 0 as that of batches (n, parameters): Hotelling's T^2.

    Prints the bias in standard deviations of a fit to 300 stars, for each parameter with the others
    free, and the scores in their standard errors.
    """
    n, n_parameter = batches.shape
    mean, covariance = batches.mean(axis=0), np.cov(batches.T)
    t2 = n * mean @ np.linalg.solve(covariance, mean)
    p = stats.f.sf(t2 * (n - n_parameter) / (n_parameter * (n - 1)), n_parameter, n - n_parameter)
    fisher = np.linalg.inv(covariance)
    bias = np.sqrt(300.0 / N_STAR) * (fisher @ mean) / np.sqrt(np.diag(fisher))
    z = mean / np.sqrt(np.diag(covariance) / n)
    print(f"p = {p:.2g};", ", ".join(
        f"{name} {b:+.2f} ({x:+.1f})" for name, b, x in zip(names, bias, z, strict=True)
    ))  # fmt: skip
    return p


QUICK = (
    "field, selection and parallaxes", "two populations", "completeness", "spectroscopy",
    "outliers", "fluxes", "magnitude and color", "scatter with a shape",
)  # fmt: skip


@pytest.mark.parametrize("name", QUICK)
def test_the_mean_score_is_zero(iso, name):
    assert probability(*scores(iso, CASES[name], N_BATCH)) > LEAST_P


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_mean_score_of_many_stars_is_zero(iso, name):
    assert probability(*scores(iso, CASES[name], N_BATCH_SLOW)) > LEAST_P


def test_a_likelihood_without_the_selection_is_found_out(iso):
    wrong = scores(iso, Case(BINARIES), N_BATCH, simulated={"selection": LIMITS})
    assert probability(*wrong) < LEAST_P
