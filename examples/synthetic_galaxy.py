"""Simulate a galaxy and recover its star formation history with NUTS.

The galaxy of section 3 of Garling et al. (2025): 1e7 Msun formed at a constant rate over 13.7 Gyr,
with [M/H] = 0.1 (13.7 - t) - 1.87 at lookback time t in Gyr and a dispersion of 0.1 dex. It is seen
in Bessell V and I at a distance modulus of 25, with the errors and the completeness of the paper's
example, on the bundled isochrones.

- Ages of the stars are continuous, from 4 Myr to 13.7 Gyr. [M/H] follows the age of each star, with
  a Gaussian that is not restricted to the grid of the templates.
- Each age bin of 0.05 dex is one free mass; its template is the mean over the ages of the bin.
- A background of one star spread over the whole diagram, known and fixed: noise may put a star
  where no template expects any.
- The prior is the default one: rates change by N(0, 0.3) in ln SFR from one bin to the next.

Run: ``python examples/synthetic_galaxy.py``. Figures and a table go to examples/output.
"""

import logging
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import xarray as xr

import pymc_starpop as psp

OUTPUT = Path(__file__).parent / "output"
BANDS = ("Bessell_V", "Bessell_I")
DISTANCE_MODULUS, T_MAX = 25.0, 13.7
TOTAL_MASS, ALPHA, BETA, SIGMA = 1e7, 0.1, -1.87, 0.1
LOG_AGE = np.round(np.arange(6.6, 10.11, 0.05), 2)
MH = np.round(np.arange(-2.5, 0.11, 0.1), 1)
AXES = psp.HessAxes(BANDS, "Bessell_I", np.linspace(-0.6, 2.6, 81), np.linspace(18.0, 28.4, 209))
NOISE = {
    "Bessell_V": psp.ExponentialError(1.03, 15, 36, 0.02, 0.4),
    "Bessell_I": psp.ExponentialError(1.03, 15, 35, 0.02, 0.4),
}
COMPLETENESS = {
    "Bessell_V": psp.LogisticCompleteness(1, 28.5, 0.7),
    "Bessell_I": psp.LogisticCompleteness(1, 27.5, 0.7),
}
BACKGROUND = psp.Background(1.0 / np.prod(AXES.shape), fixed=True)
PARAMETERS = {"alpha": ALPHA, "beta": BETA, "sigma": SIGMA}


def true_metallicity(age_gyr: np.ndarray) -> np.ndarray:
    """Mean [M/H] of the stars that formed at this lookback time."""
    return BETA + ALPHA * (T_MAX - age_gyr)


def true_masses() -> np.ndarray:
    """Mass formed in each age bin, Msun, at a constant rate."""
    widths = np.diff(age_edges())
    return TOTAL_MASS * widths / widths.sum()


def age_edges() -> np.ndarray:
    """Edges of the age bins, Gyr."""
    return np.append(10.0 ** (LOG_AGE - 9.0), T_MAX)


def simulate(iso: psp.IsochroneGrid, seed: int) -> xr.DataArray:
    """Hess diagram of the galaxy as it is observed."""
    rng = np.random.default_rng(seed)
    # One range of ages, so that nothing in the galaxy knows the bins of the templates.
    ends = age_edges()[[0, -1]]
    population = psp.CompositePopulation.from_bins(ends, [TOTAL_MASS], true_metallicity, SIGMA)
    # Beyond these limits less than one star in a thousand is recovered.
    faint = {"Bessell_V": 34.0, "Bessell_I": 32.5}
    stars = psp.simulate_cmd(
        iso, population, bands=BANDS, distance_modulus=DISTANCE_MODULUS, faint_limit=faint, rng=rng
    )
    return psp.bin_cmd(psp.observe(stars, NOISE, COMPLETENESS, rng=rng), AXES)


def sample(tmpl: psp.TemplateSet, hess: xr.DataArray, seed: int) -> tuple:
    """Fast fit, and the posterior under the default prior."""
    fit = psp.fit_sfh(tmpl, hess, "linear_amr", T_MAX, background=BACKGROUND)
    with pm.Model(coords=tmpl.coords()):
        sfh = psp.StarFormationHistory("sfh", fit)
        psp.HessDiagram("hess", tmpl, sfh.weights, background=BACKGROUND, observed=hess)
        idata = pm.sample(
            1000, tune=500, chains=4, cores=2, random_seed=seed, nuts_sampler="pymc",
            init="adapt_diag",
        )  # fmt: skip
    return fit, idata


def report(fit: psp.SFHFit, idata: xr.DataTree, summary: xr.Dataset) -> None:
    """Print results against the truth, and what says whether the sampling can be trusted."""
    truth = psp.summarize_sfh(_as_posterior(true_masses()), t_max_gyr=T_MAX).sel(quantile=0.5)
    posterior = idata["posterior"].dataset
    print(f"\n{'':22}{'truth':>9}{'fit':>9}{'median':>9}   68 %")
    for name, value in PARAMETERS.items():
        best = fit.parameters[name]
        low, middle, high = posterior[name].quantile([0.16, 0.5, 0.84]).values
        sds = abs(float(posterior[name].mean()) - value) / float(posterior[name].std())
        print(
            f"{name:22}{value:9.4f}{best:9.4f}{middle:9.4f}   {low:.4f} to {high:.4f}, "
            f"{sds:.1f} standard deviations from the truth"
        )
    for name in ("total_mass", "tau_50", "tau_90", "tau_50_minus_tau_90"):
        low, middle, high = summary[name].sel(quantile=[0.16, 0.5, 0.84]).values
        print(f"{name:22}{float(truth[name]):9.4g}{'':9}{middle:9.4g}   {low:.4g} to {high:.4g}")
    for width in (0.68, 0.95, 0.997):
        tail = round(0.5 * (1.0 - width), 12)
        low, high = summary["cumulative"].sel(quantile=[tail, 1.0 - tail], method="nearest").values
        # The history is 1 and 0 at the two ends by definition.
        inside = ((truth["cumulative"] >= low) & (truth["cumulative"] <= high))[1:-1]
        part = 100.0 * float(inside.mean())
        print(f"cumulative history in the {100 * width:g} % band at {part:.0f} % of the ages")
    names = ["mass_formed", *PARAMETERS]
    print(f"\n{psp.check_sampling(idata, var_names=names)}\n")
    stats = idata["sample_stats"].dataset
    print(f"leapfrog steps a draw: {float(stats['n_steps'].mean()):.1f}")


def _as_posterior(mass: np.ndarray) -> xr.Dataset:
    """One draw that holds these masses."""
    masses = xr.DataArray(mass[None, None], dims=("chain", "draw", "log_age"))
    return xr.Dataset({"mass_formed": masses.assign_coords(log_age=LOG_AGE)})


def draw(fit: psp.SFHFit, hess: xr.DataArray, summary: xr.Dataset) -> None:
    """Write the diagram with its residuals, and the history."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 6.0), layout="constrained")
    psp.plot_hess(hess, AXES, ax=left)
    psp.plot_hess_residuals(hess, fit, AXES, ax=right)
    figure.savefig(OUTPUT / "synthetic_galaxy_hess.png", dpi=150)
    figure, axes = plt.subplots(2, 2, figsize=(10.0, 7.0), layout="constrained")
    psp.plot_sfh(summary, truth=true_masses(), label="posterior", ax=axes[0, 0])
    psp.plot_sfh(summary, truth=true_masses(), merged=True, ax=axes[0, 1])
    psp.plot_cumulative_sfh(summary, truth=true_masses(), ax=axes[1, 0])
    psp.plot_amr(summary, truth=true_metallicity, ax=axes[1, 1])
    figure.savefig(OUTPUT / "synthetic_galaxy_sfh.png", dpi=150)


def main() -> None:
    """Run everything from stars to figures."""
    logging.getLogger("pymc").setLevel(logging.WARNING)
    OUTPUT.mkdir(exist_ok=True)
    iso = psp.load_isochrones()
    clock = Clock()
    hess = simulate(iso, seed=1)
    clock.tell(f"{int(hess.sum())} stars observed of {TOTAL_MASS:g} Msun")
    tmpl = psp.build_templates(
        iso, AXES, log_age=LOG_AGE, mh=MH, t_max_gyr=T_MAX, distance_modulus=DISTANCE_MODULUS,
        noise=NOISE, completeness=COMPLETENESS,
    )  # fmt: skip
    clock.tell(f"{tmpl.n_age * tmpl.n_mh} templates built")
    fit, idata = sample(tmpl, hess, seed=2)
    clock.tell("fit and sampled")
    summary = psp.summarize_sfh(
        idata, tmpl, bins_gyr=[0, 1, 2, 4, 6, 8, 10, T_MAX], intervals=(0.68, 0.95, 0.997)
    )
    report(fit, idata, summary)
    draw(fit, hess, summary)
    summary.to_netcdf(OUTPUT / "synthetic_galaxy_summary.nc")
    clock.tell(f"figures and summary in {OUTPUT}")


class Clock:
    """Prints what is done with the time that it took."""

    def __init__(self) -> None:
        self.last = time.perf_counter()

    def tell(self, what: str) -> None:
        now = time.perf_counter()
        print(f"[{now - self.last:5.1f} s] {what}", flush=True)
        self.last = now


if __name__ == "__main__":
    main()
