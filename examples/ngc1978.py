"""Star formation history of a field of the Large Magellanic Cloud around the cluster NGC 1978.

HST/ACS photometry in F555W and F814W with artificial stars, from the example data of MATCH. They
are not part of this package: where ../shared/data is absent the example says so and ends.

- The bundled isochrones have no HST bands. Bessell V and I stand in for F555W and F814W, after a
  linear color term: V = F555W - 0.085 (V - I), I = F814W - 0.01 (V - I), which the passbands make
  of black bodies of 4,300 to 8,000 K. Stars are no black bodies: some 0.01 mag may be left, so
  that ages and metallicities are those of a demonstration, not of a measurement.
- Templates are made of the artificial stars themselves, with what crowding does to them: losses,
  bias, wings and the correlation of the bands.
- Stars above I = 17.8 or V = 18.3 are close to saturation, and those below I = 24 and V = 25.2 are
  few of those that were there; both are left out by a mask.
- Distance modulus 18.5 and A_V 0.2 are fixed, and 35 % of the systems are binaries with any mass
  ratio from 0.1 up.
- The background is uniform and its amplitude fitted: galaxies, the Galaxy in front, and what the
  isochrones lack.

The cluster is about 2 Gyr old with [Fe/H] near -0.4 (Mucciarelli et al. 2007, AJ 133, 2053).

Run: ``python examples/ngc1978.py``. Figures go to examples/output.
"""

import logging
from pathlib import Path

import arviz_base as azb
import arviz_stats as azs
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import xarray as xr

import pymc_starpop as psp

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
OUTPUT = Path(__file__).parent / "output"
# Stand-ins for F555W and F814W.
BANDS = ("Bessell_V", "Bessell_I")
FILTERS = ("F555W", "F814W")
COLOR_TERMS = np.array([0.085, 0.01])
DISTANCE_MODULUS, AV, T_MAX = 18.5, 0.2, 13.7
LOG_AGE = np.round(np.arange(7.5, 10.11, 0.05), 2)
MH = np.round(np.arange(-2.0, 0.21, 0.1), 1)
AXES = psp.HessAxes(BANDS, "Bessell_I", np.linspace(-0.5, 2.0, 84), np.linspace(17.5, 24.0, 131))
# Corners (color, magnitude) of what counts: V from 18.3 to 25.2 on the slanted sides.
USED = [(-0.5, 18.8), (0.5, 17.8), (2.0, 17.8), (2.0, 23.2), (1.2, 24.0), (-0.5, 24.0)]


def to_bessell(mag: np.ndarray) -> np.ndarray:
    """Return V and I (N, 2) from F555W and F814W (N, 2)."""
    color = (mag[:, 0] - mag[:, 1]) / (1.0 + COLOR_TERMS[0] - COLOR_TERMS[1])
    return mag - color[:, None] * COLOR_TERMS


def read_stars() -> dict[str, np.ndarray]:
    """Magnitudes by band; NaN where not measured."""
    stars = psp.read_match_photometry(DATA / "ngc1978_f555w_f814w.phot.dat.gz", FILTERS)
    return dict(zip(BANDS, to_bessell(stars.mag).T, strict=True))


def read_artificial_stars() -> psp.ArtificialStars:
    """Artificial stars in V and I."""
    stars = psp.read_match_artificial_stars(
        DATA / "ngc1978_f555w_f814w.asts.dat.gz", FILTERS, shift_sign="in - out"
    )
    mag_out = to_bessell(stars.mag + stars.shift)  # NaN where a star was lost in one of the bands
    return psp.ArtificialStars(to_bessell(stars.mag), mag_out, bands=BANDS)


def build(log_age: np.ndarray, mh: np.ndarray, n_jobs: int = 1) -> psp.TemplateSet:
    """Templates made of the artificial stars, for young edges of age bins and metallicities."""
    return psp.build_templates(
        psp.load_isochrones(), AXES, log_age=log_age, mh=mh, distance_modulus=DISTANCE_MODULUS,
        av=AV, artificial_stars=read_artificial_stars(), binaries=psp.MassRatioBinaries(0.35),
        t_max_gyr=T_MAX, n_jobs=n_jobs, progress=n_jobs > 1,
    )  # fmt: skip


def fit_history(tmpl: psp.TemplateSet, hess: xr.DataArray, mask: xr.DataArray) -> psp.SFHFit:
    """Fit masses, a logarithmic age-metallicity relation and a uniform background."""
    return psp.fit_sfh(tmpl, hess, "log_amr", T_MAX, background=0.05, mask=mask)


def report(idata: xr.DataTree, summary: xr.Dataset) -> None:
    """Print what was found."""
    names = ["alpha", "beta", "sigma"]
    posterior = idata["posterior"].dataset
    # ArviZ's two digits would make of -0.46 and -0.44 the same.
    with azb.rc_context({"stats.round_to": "5g"}):
        print(azs.summary(posterior, var_names=names).to_string())
    print(f"\n{psp.check_sampling(idata, var_names=['mass_formed', *names])}\n")
    rate = summary["sfr"].sel(quantile=0.5)
    peak = int(np.argmax(rate.values))
    young, old = (float(summary[f"age_{edge}_gyr"][peak]) for edge in ("young", "old"))
    print(f"largest rate between {young:.2f} and {old:.2f} Gyr: {float(rate[peak]):.2e} Msun/yr")
    low, middle, high = summary["mh_mean"].sel(quantile=[0.025, 0.5, 0.975])[:, peak].values
    print(f"[M/H] there: {middle:.2f} ({low:.2f} to {high:.2f})")
    for name in ("total_mass", "tau_50", "tau_90"):
        low, middle, high = summary[name].sel(quantile=[0.16, 0.5, 0.84]).values
        print(f"{name}: {middle:.4g} ({low:.4g} to {high:.4g})")


def draw(hess: xr.DataArray, mask: xr.DataArray, fit: psp.SFHFit, summary: xr.Dataset) -> None:
    """Write the diagram, the model with its residuals, and the history."""
    figure, axes = plt.subplots(1, 3, figsize=(14.0, 6.0), layout="constrained")
    psp.plot_hess(hess, AXES, mask=mask, limits=(1.0, None), ax=axes[0])
    psp.plot_hess(fit.model, AXES, mask=mask, limits=(0.1, None), ax=axes[1])
    psp.plot_hess_residuals(hess, fit, AXES, mask=mask, ax=axes[2])
    figure.savefig(OUTPUT / "ngc1978_hess.png", dpi=150)
    figure, axes = plt.subplots(1, 3, figsize=(14.0, 4.0), layout="constrained")
    psp.plot_sfh(summary, log_time=True, ax=axes[0])
    psp.plot_cumulative_sfh(summary, ax=axes[1])
    psp.plot_amr(summary, ax=axes[2])
    figure.savefig(OUTPUT / "ngc1978_sfh.png", dpi=150)


def main() -> None:
    """Run everything from the data to figures."""
    if not (DATA / "ngc1978_f555w_f814w.phot.dat.gz").is_file():
        print(f"Nothing to do: the data of NGC 1978 are not in {DATA}.")
        return
    logging.getLogger("pymc").setLevel(logging.WARNING)
    OUTPUT.mkdir(exist_ok=True)
    hess = psp.bin_cmd(read_stars(), AXES)
    mask = psp.polygon_mask(AXES, USED)
    tmpl = build(LOG_AGE, MH, n_jobs=2)
    print(tmpl)
    tmpl.save(OUTPUT / "ngc1978_templates.nc")
    fit = fit_history(tmpl, hess, mask)
    n_other, n_star = sum(fit.background_stars.values()), hess.values[mask.values].sum()
    print(f"-ln PLR: {fit.nll:.1f}, background: {n_other:.0f} of {n_star:.0f} stars")
    with pm.Model(coords=tmpl.coords()):
        # The rate of a cluster changes at once: a wider prior than for a whole galaxy.
        sfh = psp.StarFormationHistory("sfh", fit, prior=psp.ContinuityPrior(1.0))
        psp.HessDiagram(
            "hess", tmpl, sfh.weights, background=sfh.background, mask=mask, observed=hess
        )
        idata = pm.sample(
            500, tune=700, chains=4, cores=2, random_seed=1978, nuts_sampler="pymc",
            init="adapt_diag", target_accept=0.95, progressbar=False,
        )  # fmt: skip
    summary = psp.summarize_sfh(idata, tmpl)
    report(idata, summary)
    draw(hess, mask, fit, summary)
    print(f"figures: {OUTPUT}")


if __name__ == "__main__":
    main()
