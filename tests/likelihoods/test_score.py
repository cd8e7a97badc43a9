"""The likelihood is the density of the simulated stars: its score has the mean 0 at the truth.

For stars drawn from p(x | theta), the mean of d ln p / d theta over them is 0 at the true theta,
within its standard error, whatever the parameter. A term that is missing, of the wrong norm or
taken elsewhere than in the simulation moves it.
"""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.traversal import graph_inputs
from scipy import stats

import pymc_starpop as psp

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "2MASS_Ks")
POSITION = {"feh": 0.03, "log_age": 9.05, "distance_modulus": 9.0, "av": 0.4}
LIMITS = psp.MagnitudeLimits(BANDS[0], 11.0, 17.0, error=0.03)
FIELD = psp.UniformField(
    mag_range=(8.0, 19.0),
    color_ranges={(BANDS[1], BANDS[0]): (-0.3, 2.0), (BANDS[2], BANDS[0]): (-4.5, 0.3)},
    parallax_range=(0.0, 3.0),
)  # fmt: skip
NOISE = {"mag_err": 0.03}
N_BATCH, N_STAR = 25, 400
# Chance of a false alarm in any of the parameters of a case; the seeds are fixed.
LEAST_P = 1e-3

# Scalars of each case, what they become beside the tensor of a name, and the noise.
CASES = {
    "single stars": ({"intrinsic_scatter": 0.02}, {}, NOISE),
    "binaries": (
        {"binary_fraction": 0.5, "mass_ratio_slope": -0.4, "intrinsic_scatter": 0.02}, {}, NOISE,
    ),
    "extinction": ({"av_scatter": 0.15, "rv": 3.3}, {}, NOISE),
    "selection": (
        {"binary_fraction": 0.4, "intrinsic_scatter": 0.02, "av_scatter": 0.1},
        {"selection": LIMITS}, NOISE,
    ),
    "field, selection and parallaxes": (
        {"binary_fraction": 0.4, "field_fraction": 0.3, "parallax_zero_point": -0.03},
        {"selection": LIMITS, "field": FIELD}, NOISE | {"parallax_err": 0.1},
    ),
}  # fmt: skip


class Score:
    """Gradient of the log-likelihood of a catalog, compiled once for all catalogs of a kind."""

    def __init__(self, iso, catalogs, truth, options):
        self.names = list(truth)
        self.iso, self.options = iso, options
        self._point = [np.float64(truth[name]) for name in self.names]
        self._inputs = {name: pt.dscalar(name) for name in self.names}
        logp, shared = self._graph(catalogs[0])
        _, others = self._graph(catalogs[1])
        # Tables of the isochrones are the same variable in both; the rest is data.
        pairs = enumerate(zip(shared, others, strict=True))
        self._places = [i for i, (a, b) in pairs if a is not b]
        data = {shared[i]: shared[i].type() for i in self._places}
        gradient = pt.grad(logp.sum(), list(self._inputs.values()))
        self._function = pytensor.function(
            [*self._inputs.values(), *data.values()], gradient, givens=data, mode="FAST_COMPILE"
        )

    def _graph(self, catalog):
        logp = psp.cluster_logp(self.iso, catalog, **self._inputs, **self.options)
        return logp, [x for x in graph_inputs([logp]) if isinstance(x, SharedVariable)]

    def __call__(self, catalog):
        _, shared = self._graph(catalog)
        return np.array(
            self._function(*self._point, *(shared[i].get_value() for i in self._places))
        )


def scores(iso, truth, options, noise, simulated=None, n_batch=N_BATCH):
    """Mean score of a star by name, in standard errors."""
    drawn = {**truth, **options} | (simulated or {})
    catalogs = [
        psp.simulate_cluster(iso, n_star=N_STAR, bands=BANDS, rng=seed, **drawn, **noise)
        for seed in range(n_batch)
    ]
    score = Score(iso, catalogs, truth, options)
    batches = np.array([score(catalog) for catalog in catalogs])
    z = batches.mean(axis=0) / (batches.std(axis=0, ddof=1) / np.sqrt(n_batch))
    return dict(zip(score.names, z, strict=True))


def check(z, n_batch=N_BATCH):
    """Students t with n - 1 degrees of freedom, for the largest of so many."""
    print(", ".join(f"{name} {value:.1f}" for name, value in z.items()))
    worst = max(abs(value) for value in z.values())
    assert 2.0 * stats.t.sf(worst, n_batch - 1) * len(z) > LEAST_P, z


@pytest.mark.parametrize("name", CASES)
def test_the_mean_score_is_zero(iso, name):
    truth, options, noise = CASES[name]
    check(scores(iso, POSITION | truth, options, noise))
