"""Thirty open clusters of a disc in one model: what a cluster of few stars learns from the others.

The disc is simulated from the model that is fitted, with a seed. What the model says:

- [Fe/H] of a cluster at the galactocentric radius R (known) with the age t is normal around
  ``feh_sun + feh_gradient (R - 8 kpc) + feh_age (log10(t / yr) - 9)`` with the scatter
  ``feh_scatter``: a radial metallicity gradient and an age-metallicity relation.
- The logit of the binary fraction is normal around that of ``binary_mean``, with the scatter
  ``binary_scatter``.
- The slope of the mass ratios and the scatter around the isochrone are one for all.
- Each cluster has its age, distance, extinction and fraction of field stars. Distances and
  extinctions have priors of 0.03 and 0.05 mag around what others have measured with such errors.

Clusters have 40 to 160 stars brighter than G = 17 in five bands. The same stars are then fitted
with clusters that know nothing of each other: the same priors on ages, distances, extinctions and
field stars, and wide ones on [Fe/H], binary fraction, slope and scatter of each. What the hierarchy
gains is the difference.

Run: ``python examples/hierarchy.py``. Draws, figures and a table go to examples/output.
``--small`` is a disc of three clusters and few draws, to see that it runs; ``--sampler pymc`` takes
PyMC's NUTS in place of nutpie, and ``--non-centred`` the other form of the hierarchy, which
docs/many_clusters.md compares with the centred one.
"""

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import arviz_base as azb
import arviz_stats as azs
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import xarray as xr

import pymc_starpop as psp

OUTPUT = Path(__file__).parent / "output"
BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3", "2MASS_J", "2MASS_Ks")
# Errors of bright stars, and magnitudes at which another 0.02 mag come on top.
FLOOR = np.array([0.01, 0.01, 0.01, 0.025, 0.025])
TURN = np.array([19.0, 17.0, 17.0, 14.5, 13.5])
FAINT = 17.0
FIELD = psp.UniformField(
    mag_range=(8.0, FAINT),
    color_ranges={
        (BANDS[1], BANDS[0]): (-0.2, 1.5), (BANDS[2], BANDS[0]): (-1.3, 0.1),
        (BANDS[3], BANDS[0]): (-2.8, 0.2), (BANDS[4], BANDS[0]): (-4.0, 0.3),
    },
)  # fmt: skip
# The hyperparameters of the disc that is simulated.
TRUTH = {
    "feh_sun": 0.03, "feh_gradient": -0.06, "feh_age": -0.15, "feh_scatter": 0.05,
    "binary_mean": 0.35, "binary_scatter": 0.5, "mass_ratio_slope": 0.3,
    "intrinsic_scatter": 0.015,
}  # fmt: skip
HYPER = tuple(TRUTH)
# Errors of what others have measured, mag: parallaxes of many stars, and maps of dust.
LITERATURE = {"distance_modulus": 0.03, "av": 0.05}
LOG_AGE_RANGE = (8.1, 9.7)
NAMES = {"feh": "[Fe/H]", "log_age": "log age", "binary_fraction": "binary fraction"}


@dataclass(frozen=True)
class Disc:
    """Simulated clusters, and what was put in.

    Attributes
    ----------
    cats : the stars
    radius_kpc : galactocentric radii (cluster,)
    literature : distance moduli and extinctions (cluster,) that others measured
    truth : hyperparameters, and parameters (cluster,) by name
    iso : isochrones of simulation and fit
    """

    cats: psp.StackedCatalog
    radius_kpc: np.ndarray
    literature: dict[str, np.ndarray]
    truth: dict[str, Any]
    iso: psp.IsochroneGrid


def photometric_errors(mag: np.ndarray) -> np.ndarray:
    """Errors (n, 5) at magnitudes (n, 5), mag."""
    return np.minimum(np.hypot(FLOOR, 0.02 * 10.0 ** (0.3 * (mag - TURN))), 0.3)


LIMITS = psp.MagnitudeLimits(
    BANDS[0], -np.inf, FAINT, error=float(photometric_errors(np.full((1, 5), FAINT))[0, 0])
)


def mean_feh(v: Mapping[str, Any], radius_kpc: Any, log_age: Any) -> Any:
    """[Fe/H] that the disc has on average at a radius and an age, dex."""
    return (
        v["feh_sun"]
        + v["feh_gradient"] * (radius_kpc - 8.0)
        + v["feh_age"] * (log_age - 9.0)
    )  # fmt: skip


def simulate(
    n_cluster: int = 30,
    seed: int = 1,
    hyper: Mapping[str, float] = TRUTH,
    n_star: tuple[int, int] = (40, 160),
    n_nodes: int = 200,
) -> Disc:
    """Draw a disc: radii, parameters of the clusters given the hyperparameters, and stars."""
    iso = psp.load_isochrones(n_nodes)
    rng = np.random.default_rng(seed)
    radius = rng.uniform(5.0, 12.0, n_cluster)
    log_age = rng.uniform(8.4, 9.4, n_cluster)
    logit = rng.normal(
        np.log(hyper["binary_mean"] / (1.0 - hyper["binary_mean"])), hyper["binary_scatter"],
        n_cluster,
    )  # fmt: skip
    each = {
        "feh": rng.normal(mean_feh(hyper, radius, log_age), hyper["feh_scatter"]),
        "log_age": log_age,
        "distance_modulus": rng.uniform(8.5, 11.5, n_cluster),
        "av": rng.uniform(0.3, 1.0, n_cluster),
        "field_fraction": rng.uniform(0.05, 0.3, n_cluster),
        "binary_fraction": 1.0 / (1.0 + np.exp(-logit)),
    }
    sizes = np.exp(rng.uniform(*np.log(n_star), n_cluster)).astype(int)
    shared = {name: hyper[name] for name in ("mass_ratio_slope", "intrinsic_scatter")}
    cats = psp.StarCatalog.stack({
        f"cluster {k + 1}": psp.simulate_cluster(
            iso, n_star=int(sizes[k]), bands=BANDS, mag_err=photometric_errors, field=FIELD,
            selection=LIMITS, rng=rng, **shared, **{name: at[k] for name, at in each.items()},
        )
        for k in range(n_cluster)
    })  # fmt: skip
    literature = {name: rng.normal(each[name], error) for name, error in LITERATURE.items()}
    return Disc(cats, radius, literature, dict(hyper) | each, iso)


def common_priors(disc: Disc) -> dict[str, Any]:
    """Priors of each cluster that both fits have."""
    measured = {
        name: pm.Normal(name, disc.literature[name], error, dims="cluster")
        for name, error in LITERATURE.items()
    }
    return measured | {
        "log_age": pm.Uniform("log_age", *LOG_AGE_RANGE, dims="cluster"),
        "field_fraction": pm.Beta("field_fraction", 2.0, 8.0, dims="cluster"),
    }


def add_stars(disc: Disc, parameters: Mapping[str, Any]) -> None:
    """Add the likelihood of all stars to the model."""
    with warnings.catch_warnings():
        # A few draws of the prior, and none of the posterior, are beyond the isochrones.
        warnings.filterwarnings("ignore", message=".* of the prior of feh lies outside")
        psp.ClusterPhotometry(
            "stars", disc.iso, field=FIELD, selection=LIMITS, mass_ratio_nodes=11,
            observed=disc.cats, **parameters,
        )  # fmt: skip


def around(name: str, mean: Any, scatter: Any, centred: bool) -> Any:
    """Normal values of the clusters around a mean that is itself fitted."""
    if centred:
        return pm.Normal(name, mean, scatter, dims="cluster")
    return pm.Deterministic(
        name, mean + scatter * pm.Normal(f"{name}_offset", dims="cluster"), dims="cluster"
    )


def build_hierarchy(disc: Disc, centred: bool = True) -> pm.Model:
    """Clusters of one disc."""
    with pm.Model(coords=disc.cats.coords()) as model:
        v = {
            "feh_sun": pm.Normal("feh_sun", 0.0, 0.1),
            "feh_gradient": pm.Normal("feh_gradient", -0.04, 0.04),
            "feh_age": pm.Normal("feh_age", 0.0, 0.2),
            "binary_mean": pm.Beta("binary_mean", 2.0, 2.0),
        }
        # Log-normal: a scatter of zero is no disc.
        feh_scatter = pm.LogNormal("feh_scatter", np.log(0.06), 0.5)
        binary_scatter = pm.LogNormal("binary_scatter", np.log(0.5), 0.5)
        each = common_priors(disc)
        mean = mean_feh(v, disc.radius_kpc, each["log_age"])
        each["feh"] = around("feh", mean, feh_scatter, centred)
        logit = around("binary_logit", pm.math.logit(v["binary_mean"]), binary_scatter, centred)
        each["binary_fraction"] = pm.Deterministic(
            "binary_fraction", pm.math.sigmoid(logit), dims="cluster"
        )
        each["mass_ratio_slope"] = pm.Normal("mass_ratio_slope", 0.0, 0.5)
        each["intrinsic_scatter"] = pm.LogNormal("intrinsic_scatter", np.log(0.015), 0.5)
        add_stars(disc, each)
    return model


def build_separate(disc: Disc) -> pm.Model:
    """Clusters that know nothing of each other, side by side."""
    with pm.Model(coords=disc.cats.coords()) as model:
        each = common_priors(disc)
        each["feh"] = pm.TruncatedNormal("feh", 0.0, 0.25, lower=-1.0, upper=0.45, dims="cluster")
        each["binary_fraction"] = pm.Beta("binary_fraction", 1.5, 1.5, dims="cluster")
        each["mass_ratio_slope"] = pm.Normal("mass_ratio_slope", 0.0, 0.5, dims="cluster")
        each["intrinsic_scatter"] = pm.LogNormal(
            "intrinsic_scatter", np.log(0.015), 0.5, dims="cluster"
        )
        add_stars(disc, each)
    return model


def sample(
    model: pm.Model, sampler: str, draws: int, tune: int, chains: int = 4, seed: int = 1
) -> tuple[xr.DataTree, float]:
    """Find where to begin, sample, and return the draws with the minutes that it took."""
    began = time.perf_counter()
    with model:
        start = psp.find_start(4, random_seed=seed, progressbar=False)
        idata = pm.sample(
            draws, tune=tune, cores=min(chains, 2), random_seed=seed, progressbar=False,
            **start.sample_kwargs(sampler, chains=chains),
        )  # fmt: skip
    return idata, (time.perf_counter() - began) / 60.0


def pulls(posterior: xr.Dataset, truth: Mapping[str, float]) -> dict[str, float]:
    """(Mean - truth) / standard deviation of the hyperparameters."""
    return {
        name: float((posterior[name].mean() - truth[name]) / posterior[name].std())
        for name in HYPER
    }


def shrinkage(separate: xr.Dataset, together: xr.Dataset, disc: Disc) -> list[dict[str, Any]]:
    """Errors and widths of the clusters, fitted one by one and in one model.

    Returns
    -------
    list of dict
        For [Fe/H], log age and binary fraction, of all clusters and of those with no more stars
        than the median: root mean square of mean - truth, and mean standard deviation.
    """
    n_star = np.array([disc.cats[name].n_star for name in disc.cats])
    rows = []
    for quantity in NAMES:
        for which, chosen in (("all", n_star > 0), ("poor", n_star <= np.median(n_star))):
            row: dict[str, Any] = {"quantity": quantity, "clusters": which}
            for fit, posterior in (("separate", separate), ("together", together)):
                middle, width = _means(posterior, quantity)
                off = (middle - disc.truth[quantity])[chosen]
                row[f"rms_{fit}"] = float(np.sqrt((off**2).mean()))
                row[f"width_{fit}"] = float(width[chosen].mean())
            rows.append(row)
    return rows


def report(disc: Disc, separate: xr.DataTree, together: xr.DataTree) -> None:
    """Print the hyperparameters against the truth, and what the clusters gained."""
    posterior = together["posterior"].dataset
    with azb.rc_context({"stats.round_to": "4g"}):
        table = azs.summary(posterior, var_names=list(HYPER))
    table.insert(0, "truth", [disc.truth[name] for name in HYPER])
    table["pull"] = [round(pull, 2) for pull in pulls(posterior, disc.truth).values()]
    print(f"\n{table.to_string()}\n")
    for name, idata in (("in one model", together), ("one by one", separate)):
        print(f"clusters {name}: {psp.check_sampling(idata)}\n")
    print("error (rms) and mean posterior width of the clusters, one by one and in one model:")
    rows = shrinkage(separate["posterior"].dataset, posterior, disc)
    lines = [",".join(rows[0])]
    for row in rows:
        numbers = [f"{value:.4f}" for value in list(row.values())[2:]]
        lines.append(",".join([row["quantity"], row["clusters"], *numbers]))
        print(
            f"{NAMES[row['quantity']]:>16}, {row['clusters']:4}: "
            f"error {row['rms_separate']:.3f} -> {row['rms_together']:.3f}, "
            f"width {row['width_separate']:.3f} -> {row['width_together']:.3f}"
        )
    (OUTPUT / "hierarchy_shrinkage.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


_SEPARATE = {
    "fmt": "o", "color": "0.6", "markersize": 3.5, "elinewidth": 0.8, "zorder": 1,
    "label": "one by one",
}  # fmt: skip
_TOGETHER = {
    "fmt": "o", "color": "#1d3557", "markersize": 4.5, "elinewidth": 1.2, "zorder": 3,
    "label": "in one model",
}  # fmt: skip
_TRUE = "#d1495b"


def _means(posterior: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means and standard deviations (cluster,)."""
    draws = posterior[name]
    return draws.mean(("chain", "draw")).values, draws.std(("chain", "draw")).values


def draw_relations(disc: Disc, separate: xr.Dataset, together: xr.Dataset) -> plt.Figure:
    """[Fe/H] against radius, moved to 1 Gyr, and against age, moved to 8 kpc."""
    figure, axes = plt.subplots(1, 2, figsize=(10.0, 4.2), layout="constrained", sharey=True)
    some = together.stack(sample=("chain", "draw")).isel(sample=slice(None, None, 20))
    draws = {name: some[name].values[:, None] for name in HYPER}
    found = {name: float(together[name].mean()) for name in HYPER}
    radii, ages = np.linspace(4.7, 12.3, 60), np.linspace(8.2, 9.5, 60)
    for ax, line in ((axes[0], (radii, 9.0)), (axes[1], (8.0, ages))):
        x = radii if ax is axes[0] else ages
        low, high = np.quantile(mean_feh(draws, *line) + 0.0 * x, [0.16, 0.84], axis=0)
        ax.fill_between(x, low, high, color="#a8c5da", zorder=0, label="68 % of the mean relation")
        ax.plot(x, mean_feh(disc.truth, *line), color=_TRUE, zorder=2, label="truth")
    for posterior, style in ((separate, _SEPARATE), (together, _TOGETHER)):
        feh, width = _means(posterior, "feh")
        log_age, age_width = _means(posterior, "log_age")
        above = feh - mean_feh(found, disc.radius_kpc, log_age)
        axes[0].errorbar(
            disc.radius_kpc, above + mean_feh(found, disc.radius_kpc, 9.0), width, **style
        )
        axes[1].errorbar(log_age, above + mean_feh(found, 8.0, log_age), width, age_width, **style)
    axes[0].set(xlabel="galactocentric radius (kpc)", ylabel="[Fe/H] (dex), moved to 1 Gyr")
    axes[1].set(xlabel="log10(age / yr)", ylabel="[Fe/H] (dex), moved to 8 kpc")
    axes[0].legend(frameon=False, fontsize="small")
    return figure


def draw_shrinkage(disc: Disc, separate: xr.Dataset, together: xr.Dataset) -> plt.Figure:
    """How far each cluster moves, from its own fit to that in one model, against the truth."""
    figure, axes = plt.subplots(1, 3, figsize=(12.0, 4.2), layout="constrained")
    for ax, (name, label) in zip(axes, NAMES.items(), strict=True):
        truth = disc.truth[name]
        before, width = _means(separate, name)
        after, _ = _means(together, name)
        ax.axhline(0.0, color=_TRUE, linewidth=1.0)
        ax.scatter(width, before - truth, s=14, color="0.6", label="one by one")
        ax.quiver(
            width, before - truth, np.zeros(width.size), after - before, angles="xy",
            scale_units="xy", scale=1.0, width=0.004, color="#1d3557", headwidth=4.0,
        )  # fmt: skip
        ax.scatter(width, after - truth, s=14, color="#1d3557", label="in one model", zorder=3)
        ax.set_xlabel("standard deviation, one by one")
        ax.set_ylabel(f"{label}: mean - truth")
    axes[0].legend(frameon=False, fontsize="small")
    return figure


def main(arguments: list[str] | None = None) -> int:
    """Run everything from the simulation to figures."""
    parser = argparse.ArgumentParser(description="Fit a simulated disc of open clusters.")
    parser.add_argument("--small", action="store_true", help="three clusters, few draws")
    parser.add_argument("--sampler", choices=("nutpie", "pymc"), default="nutpie")
    parser.add_argument("--non-centred", action="store_true", help="offsets in units of scatter")
    parser.add_argument("--seed", type=int, default=1, help="of simulation and sampler")
    given = parser.parse_args(arguments)
    logging.getLogger("pymc").setLevel(logging.WARNING)
    OUTPUT.mkdir(exist_ok=True)
    if given.small:
        disc, length = simulate(3, given.seed, n_star=(10, 15), n_nodes=100), (15, 15, 1)
    else:
        disc, length = simulate(seed=given.seed), (500, 600, 4)
    print(f"{disc.cats.n_cluster} clusters, {disc.cats.n_star} stars")
    print("Compiling the models; the first run on a machine takes minutes.", flush=True)
    model = build_hierarchy(disc, centred=not given.non_centred)
    fits = {}
    for name, fitted in (("in one model", model), ("one by one", build_separate(disc))):
        fits[name], minutes = sample(fitted, given.sampler, *length, seed=given.seed)
        fits[name].to_netcdf(OUTPUT / f"hierarchy_{name.replace(' ', '_')}.nc")
        print(f"{name}: {minutes:.1f} minutes", flush=True)
    together, separate = fits.values()
    report(disc, separate, together)
    posteriors = separate["posterior"].dataset, together["posterior"].dataset
    draw_relations(disc, *posteriors).savefig(OUTPUT / "hierarchy_relations.png", dpi=110)
    draw_shrinkage(disc, *posteriors).savefig(OUTPUT / "hierarchy_shrinkage.png", dpi=110)
    print(f"figures and table: {OUTPUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
