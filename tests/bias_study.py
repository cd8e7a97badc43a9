"""Simulated clusters with field stars and a magnitude limit, fitted with and without the terms.

The true parameters of each cluster are drawn from the priors of its fit, so that pulls,
(posterior mean - truth) / posterior standard deviation, have a mean of 0 and a standard deviation
of about 1 where the likelihood is that of the simulation.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import nutpie
import pymc as pm
import pytensor.tensor as pt
from pytensor.graph.replace import graph_replace

import pymc_starpop as psp
from cluster_fixtures import CatalogGraph
from pymc_starpop.summaries.climb import climb, follow

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3", "2MASS_J", "2MASS_Ks")
FAINT = 17.0
FIELD_FRACTION = 0.3
NAMES = ("log_age", "feh", "binary_fraction")
# Error of the photometry at bright magnitudes, and magnitudes at which another 0.01 mag come on
# top: about those of Gaia DR3 and 2MASS.
FLOOR = np.array([0.004, 0.006, 0.006, 0.02, 0.02])
TURN = np.array([19.5, 17.0, 17.0, 14.5, 13.5])
FIELD = psp.UniformField(
    mag_range=(9.0, FAINT),
    color_ranges={
        (BANDS[1], BANDS[0]): (-0.2, 1.3), (BANDS[2], BANDS[0]): (-1.3, 0.1),
        (BANDS[3], BANDS[0]): (-2.8, 0.2), (BANDS[4], BANDS[0]): (-4.0, 0.3),
    },
)  # fmt: skip
# Half-widths of the priors around a center of each cluster (what the literature would say).
WIDTHS = {"log_age": 0.15, "feh": 0.15, "distance_modulus": 0.15, "av": 0.1}
BINARY_RANGE = (0.05, 0.85)
SCATTER = (np.log(0.01), 0.4)
FIELD_PRIOR = (6.0, 14.0)  # of a Beta distribution with the mean 0.3
# Chains whose log density differs by more (nats) are at different maxima; two must agree.
_RIVAL = 15.0
_MAX_ATTEMPTS = 4


def photometric_errors(mag, floor=FLOOR):
    """Errors (n, 5) at magnitudes (n, 5), mag."""
    return np.minimum(np.hypot(floor, 0.01 * 10.0 ** (0.3 * (mag - TURN))), 0.3)


def selection(floor=FLOOR):
    """The cut, with the error at the limit."""
    at_limit = photometric_errors(np.full(len(BANDS), FAINT), floor)[0]
    return psp.MagnitudeLimits(BANDS[0], -np.inf, FAINT, error=float(at_limit))


@dataclass(frozen=True)
class Cluster:
    """A catalog, its true parameters, and the centers of the priors."""

    catalog: psp.StarCatalog
    truth: dict[str, float]
    center: dict[str, float]


def draw_cluster(iso, n_star, rng, floor=FLOOR):
    """Draw centers, true parameters around them, and stars."""
    center = {
        "log_age": rng.uniform(8.6, 9.7),
        "feh": rng.uniform(-0.4, 0.2),
        "distance_modulus": rng.uniform(8.0, 11.0),
        "av": rng.uniform(0.4, 1.0),
    }
    truth = {k: center[k] + WIDTHS[k] * rng.normal() for k in center}
    truth["binary_fraction"] = rng.uniform(*BINARY_RANGE)
    truth["intrinsic_scatter"] = np.exp(rng.normal(*SCATTER))
    catalog = psp.simulate_cluster(
        iso, n_star=n_star, bands=BANDS, mag_err=lambda m: photometric_errors(m, floor),
        field=FIELD, field_fraction=FIELD_FRACTION, selection=selection(floor), rng=rng, **truth,
    )  # fmt: skip
    return Cluster(catalog, truth, center)


def cleaned(iso, cluster):
    """Stars in a generous band around the true sequence: what a cut by eye would keep."""
    t = cluster.truth
    one = iso.at(t["feh"], t["log_age"], BANDS, av=t["av"])
    keep = (one.eep <= 808) & (one.initial_mass >= 0.1)
    track = one.abs_mag[keep] + t["distance_modulus"]
    mag = cluster.catalog.mag
    below = mag[:, None, 0] - track[None, :, 0]
    near = (below > -0.9) & (below < 0.15)  # up to an equal binary, and a little fainter
    color = (mag - mag[:, :1])[:, None] - (track - track[:, :1])[None]
    away = np.abs(color)[..., 1:].max(axis=-1)
    return cluster.catalog.select((np.where(near, away, np.inf) < 0.2).any(axis=1))


class Study:
    """A posterior compiled once, for many catalogs.

    Parameters
    ----------
    iso : IsochroneGrid
    first, second : Cluster
        Any two, whose catalogs differ: what differs between the two graphs is the data.
    with_field : bool
        Whether the likelihood has field stars.
    selection : MagnitudeLimits or None
        The cut that the likelihood knows of.
    mode : str, optional
        How `laplace` compiles: "FAST_COMPILE" is compiled sooner and runs slower.
    options : dict
        Further options of the likelihood.
    """

    def __init__(self, iso, first, second, *, with_field=True, selection=None, mode=None):
        self.iso, self.mode = iso, mode
        self.options = {"field": FIELD, "selection": selection}
        with pm.Model() as self.model:
            v = _priors(first.center, with_field)
            self._inputs = {k: pt.dscalar(k) for k in v}
            self._graph = CatalogGraph(self._logp, first.catalog, second.catalog)
            given = {
                variable: pm.Data(f"stars_{i}", variable.get_value())
                for i, variable in enumerate(self._graph.variables)
            }
            given |= {self._inputs[k]: v[k] for k in v}
            pm.Potential("stars", graph_replace(self._graph.logp, given).sum())

    def _logp(self, catalog):
        return psp.cluster_logp(self.iso, catalog, **self._inputs, **self.options)

    def data(self, catalog, center):
        """Values of the model's data by name."""
        values = {f"stars_{i}": value for i, value in enumerate(self._graph.values(catalog))}
        return values | {f"center_{k}": np.float64(center[k]) for k in WIDTHS}

    @cached_property
    def _density(self):
        function = self.model.logp_dlogp_function(ravel_inputs=True, mode=self.mode)
        function.set_extra_values({})
        return function

    def summit(self, catalog, center, seed=0, n_start=3):
        """The best of the optima that are climbed to from the center and `n_start` other places."""
        with self.model:
            pm.set_data(self.data(catalog, center))
        names = [v.name for v in self.model.value_vars]
        rng = np.random.default_rng(seed)
        starts = np.concatenate([np.zeros((1, len(names))), rng.normal(size=(n_start, len(names)))])
        starts[:, names.index("intrinsic_scatter_log__")] += SCATTER[0]
        summits = [follow(climb(x, np.ones(len(names))), self._evaluate) for x in starts]
        return max((s for s in summits if s is not None), key=lambda s: s.logp)

    def laplace(self, catalog, center, seed=0, n_start=3, n_draw=4000):
        """Draws (n_draw,) by name from the Gaussian at the best of several optima."""
        mode = self.summit(catalog, center, seed, n_start).position
        names = [v.name for v in self.model.value_vars]
        normal = np.random.default_rng(seed).standard_normal((n_draw, len(names)))
        u = mode + normal @ np.linalg.cholesky(self._covariance(mode)).T
        columns = dict(zip(names, u.T, strict=True))
        low, high = BINARY_RANGE
        share = 1.0 / (1.0 + np.exp(-columns["binary_fraction_interval__"]))
        scaled = {k: center[k] + WIDTHS[k] * columns[f"{k}_z"] for k in WIDTHS}
        return scaled | {"binary_fraction": low + (high - low) * share}

    def _evaluate(self, x):
        value, gradient = self._density(x)
        return float(value), np.asarray(gradient)

    def _covariance(self, mode):
        """Inverse of the negative Hessian, from differences of the gradient in two rounds."""
        step = np.full(mode.size, 1e-3)
        for _ in range(2):
            ends = [
                [self._evaluate(mode + side * h * unit)[1] for side in (-1.0, 1.0)]
                for h, unit in zip(step, np.eye(mode.size), strict=True)
            ]
            hessian = np.array([(b - a) / (2.0 * h) for (a, b), h in zip(ends, step, strict=True)])
            covariance = np.linalg.inv(-0.5 * (hessian + hessian.T))
            step = 0.3 * np.sqrt(np.abs(np.diag(covariance)))
        return covariance

    @cached_property
    def _compiled(self):
        return nutpie.compile_pymc_model(self.model)

    def sample(self, catalog, center, seed=0, draws=400, tune=400, chains=2):
        """Draws by name from the sampler.

        A chain that stayed at a rival maximum, far below the best optimum, is left out;
        `psp.find_start` is what a user has against that.
        """
        summit = self.summit(catalog, center, seed, n_start=2)
        compiled = self._compiled.with_data(**self.data(catalog, center))
        for attempt in range(_MAX_ATTEMPTS):
            trace = nutpie.sample(
                compiled, draws=draws, tune=tune, chains=chains, cores=1,
                seed=seed + 1000 * attempt, progress_bar=False,
            )  # fmt: skip
            level = trace.sample_stats["logp"].mean("draw").values
            good = np.flatnonzero(level > summit.logp - _RIVAL)
            if good.size:
                return {k: trace.posterior[k].values[good].ravel() for k in NAMES}
        raise AssertionError(
            f"all chains are {summit.logp - level.max():.0f} nats below the optimum"
        )


def _priors(center, with_field):
    """Priors on the parameters of a cluster, around centers that are data."""
    centers = {k: pm.Data(f"center_{k}", np.float64(center[k])) for k in WIDTHS}
    v = {k: pm.Deterministic(k, centers[k] + WIDTHS[k] * pm.Normal(f"{k}_z")) for k in WIDTHS}
    v["binary_fraction"] = pm.Uniform("binary_fraction", *BINARY_RANGE)
    v["intrinsic_scatter"] = pm.LogNormal("intrinsic_scatter", *SCATTER)
    if with_field:
        v["field_fraction"] = pm.Beta("field_fraction", *FIELD_PRIOR)
    return v


def pulls(draws, truth):
    """Posterior mean less the truth in posterior standard deviations, in the order of `NAMES`."""
    return np.array([(draws[k].mean() - truth[k]) / draws[k].std() for k in NAMES])


def shifts(draws, others):
    """Difference of two posterior means in standard deviations of the second."""
    return np.array([(draws[k].mean() - others[k].mean()) / others[k].std() for k in NAMES])


def table(title, values):
    """Mean and standard deviation of pulls (n, 3), as lines of text."""
    lines = [f"{title}: {len(values)} clusters"]
    for name, column in zip(NAMES, np.transpose(values), strict=True):
        lines.append(f"  {name:16s} mean {column.mean():+.2f}  sd {column.std(ddof=1):.2f}")
    return "\n".join(lines)
