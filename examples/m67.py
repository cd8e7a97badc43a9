"""Fit the old open cluster M67 with NUTS, and compare models of its stars by LOO.

The data are 1,585 stars with Gaia DR2 photometry and parallaxes that a clustering algorithm
(HDBSCAN) took for members, the example of astro-brutus (Speagle et al. 2025). They do not come with
this package: give the file with ``--data``, or keep it as ``../shared/data/m67_ngc2682.csv`` beside
the checkout. What the model says, and why:

- Bands: Gaia G, BP and RP in the revised passbands of DR2. Their errors in the file are
  placeholders; a floor of 0.005 mag takes their place, and a scatter around the isochrone is
  fitted.
- Magnitudes: 10 <= G <= 17, with the selection normalized. Brighter giants are redder than the
  models, and fainter dwarfs bluer, corrections or not. With limits of 16, 16.5, 17 and 17.5 the
  maximum is at log age 9.561, 9.567, 9.568 and 9.571.
- The empirical corrections of brutus: raw models are too blue below 0.8 Msun.
- Priors: [Fe/H] = 0.0 +- 0.1 (spectroscopy of Heiter et al. 2014, A&A 561, A93, quote 0.00 +- 0.06;
  the rest is for the models), A_V = 0.13 +- 0.05 (E(B-V) = 0.041, Taylor 2007, AJ 133, 370).
- Parallaxes: DR2's are too small by 0.03 to 0.08 mas (Lindegren et al. 2018, A&A 616, A2; Zinn et
  al. 2019, ApJ 878, 136): a zero point of -0.05 +- 0.02 mas is fitted. Errors are 1.08 times larger
  than stated, and 0.02 mas are added for what changes from place to place.
- Blue stragglers and stars that are no members stay: the field fraction is there for them.

The same stars are then fitted with the raw models, and with those of BaSTI (Hidalgo et al. 2018,
ApJ 856, 125) where the package ``lachesis-grids`` of the Python Package Index is installed, which
carries them; magnitudes come from the same bolometric corrections. Leave-one-out cross-validation
compares the three: the corrected models are ahead of BaSTI by 310 +- 35 nats, and of the raw ones
by 360 +- 34. Both others want A_V near 0 and high [Fe/H], to make their dwarfs red.

Run: ``python examples/m67.py``. Figures go to examples/output.
"""

import argparse
import importlib.util
import logging
import sys
from pathlib import Path

import arviz_base as azb
import arviz_plots as azp
import arviz_stats as azs
import h5py
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import xarray as xr

import pymc_starpop as psp

OUTPUT = Path(__file__).parent / "output"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "m67_ngc2682.csv"
BANDS = ("Gaia_G_DR2Rev", "Gaia_BP_DR2Rev", "Gaia_RP_DR2Rev")
LIMITS = psp.MagnitudeLimits("Gaia_G_DR2Rev", 10.0, 17.0)
LOG_AGE_RANGE = (9.35, 9.85)  # of the prior
ERROR_FLOOR = 0.005  # mag
NAMES = [
    "feh", "log_age", "age_gyr", "distance_pc", "av", "field_fraction", "binary_fraction",
    "intrinsic_scatter", "parallax_zero_point",
]  # fmt: skip


def read_catalog(path: Path) -> psp.StarCatalog:
    """All stars of the file that are measured in G."""
    table = np.genfromtxt(
        path, delimiter=",", names=True, dtype=None, encoding="utf-8", deletechars=""
    )
    columns = {name: table[name] for name in (*BANDS, "Parallax", "HDBscan_MemProb", "Gaia_DR2_ID")}
    columns["parallax_err"] = np.hypot(1.08 * table["Parallax_Err"], 0.02)
    return psp.StarCatalog.from_table(
        columns,
        mag={band: band for band in BANDS},
        mag_err=dict.fromkeys(BANDS, ERROR_FLOOR),
        parallax="Parallax",
        parallax_err="parallax_err",
        star="Gaia_DR2_ID",
        extra=["HDBscan_MemProb"],
    )


def read_basti() -> psp.IsochroneGrid | None:
    """The isochrones of BaSTI in ``lachesis-grids``, or None where that is not installed."""
    package = importlib.util.find_spec("lachesis_grids")
    if package is None or not package.submodule_search_locations:
        return None
    path = Path(package.submodule_search_locations[0]) / "grids" / "basti.h5"
    with h5py.File(path) as file:
        names = [name if isinstance(name, str) else name.decode() for name in file.attrs["columns"]]
        values = file["values"][:].astype(float)
        lengths = file["lengths"][:].ravel()
        axes = (file["feh_values"][:].astype(float), file["age_values"][:].astype(float))
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    feh, log_age = np.repeat(nodes, lengths, axis=0).T
    table = {name: values[:, k] for k, name in enumerate(names)}
    low, high = LOG_AGE_RANGE
    # Lines are numbered by phase. The tip of the giant branch is line 1290; giants below it are
    # beyond the bright limit, and beyond line 500 nobody has a companion.
    wanted = (feh > -0.6) & (log_age > low - 0.1) & (log_age < high + 0.1) & (table["eep"] <= 1300)
    rows = {name: column[wanted] for name, column in table.items()}
    return psp.read_table(
        rows | {"feh": feh[wanted].round(3), "log_age": log_age[wanted]},
        initial_mass="initial_mass",
        feh="feh",
        log_age="log_age",
        columns={"eep": "eep", "log_teff": "log_Teff", "log_g": "log_g", "log_l": "log_L"},
        eep_scale=(500, 1300),
    ).with_nodes(450)


def build_model(
    iso: psp.IsochroneGrid, stars: psp.StarCatalog, corrections: psp.EmpiricalCorrections | None
) -> pm.Model:
    """Priors and likelihood of the cluster."""
    with pm.Model(coords=stars.coords()) as model:
        log_age = pm.Uniform("log_age", *LOG_AGE_RANGE)
        pm.Deterministic("age_gyr", 10.0 ** (log_age - 9.0))
        psp.ClusterPhotometry(
            "stars",
            iso,
            feh=pm.Normal("feh", 0.0, 0.1),
            log_age=log_age,
            distance_pc=pm.Normal("distance_pc", 860.0, 60.0),
            av=pm.TruncatedNormal("av", 0.13, 0.05, lower=0.0, upper=1.0),
            field_fraction=pm.Beta("field_fraction", 1.5, 6.0),
            binary_fraction=pm.Beta("binary_fraction", 2.0, 2.0),
            intrinsic_scatter=pm.HalfNormal("intrinsic_scatter", 0.03),
            parallax_zero_point=pm.Normal("parallax_zero_point", -0.05, 0.02),
            selection=LIMITS,
            corrections=corrections,
            mass_ratio_nodes=21,
            observed=stars,
        )
    return model


def fit(
    iso: psp.IsochroneGrid,
    stars: psp.StarCatalog,
    corrections: psp.EmpiricalCorrections | None = None,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
) -> tuple[pm.Model, xr.DataTree]:
    """Find the maximum, sample, and add the log-likelihood of each star."""
    model = build_model(iso, stars, corrections)
    with model:
        start = psp.find_start(4, random_seed=1)
        print(f"\nOptima that were found, best first:\n{start}\n", flush=True)
        # PyMC's own sampler reuses the function that find_start compiled; nutpie compiles anew.
        idata = pm.sample(
            draws, tune=tune, cores=2, random_seed=67, **start.sample_kwargs("pymc", chains=chains)
        )  # fmt: skip
        pm.compute_log_likelihood(idata, progressbar=False)
    return model, idata


def report(idata: xr.DataTree) -> None:
    """Print the summary of one fit."""
    posterior = idata["posterior"].dataset
    # ArviZ's two digits would make of an age only "9.3".
    with azb.rc_context({"stats.round_to": "5g"}):
        print(azs.summary(posterior, var_names=NAMES).to_string())
    print(f"\n{psp.check_sampling(idata)}\n", flush=True)


def compare(fits: dict[str, xr.DataTree]) -> None:
    """Print the comparison by leave-one-out cross-validation, and how far it can be trusted."""
    print("\nLeave-one-out cross-validation, best first:")
    print(azs.compare(fits, var_name="stars").to_string())
    for name, idata in fits.items():
        loo = azs.loo(idata, var_name="stars", pointwise=True)
        k, age = loo.pareto_k, idata["posterior"]["log_age"]
        print(
            f"{name}: log age {float(age.mean()):.4f} +- {float(age.std()):.4f}; "
            f"{int((k > loo.good_k).sum())} of {k.size} stars with Pareto k > {loo.good_k:.2f}, "
            f"largest {float(k.max()):.2f}"
        )


def draw(
    iso: psp.IsochroneGrid,
    catalog: psp.StarCatalog,
    idata: xr.DataTree,
    members: xr.DataArray,
    corrections: psp.EmpiricalCorrections | None,
) -> None:
    """Write the color-magnitude diagram with posterior isochrones, and the rank plot."""
    figure, ax = plt.subplots(figsize=(7.0, 8.0), layout="constrained")
    psp.plot_cmd(
        catalog, BANDS[1:], BANDS[0], iso=iso, samples=idata, corrections=corrections,
        membership=members, ax=ax, rng=np.random.default_rng(1),
    )  # fmt: skip
    for limit in (LIMITS.bright, LIMITS.faint):
        ax.axhline(limit, color="0.6", linestyle=":", linewidth=1.0)
    figure.savefig(OUTPUT / "m67_cmd.png", dpi=150)
    plt.close(figure)
    size = {"figsize": (13.0, 9.0), "layout": "constrained"}
    ranks = azp.plot_rank(idata, var_names=NAMES, figure_kwargs=size)
    ranks.savefig(OUTPUT / "m67_rank.png")


def main(arguments: list[str] | None = None) -> int:
    """Run the fits from data to figures."""
    parser = argparse.ArgumentParser(description="Fit M67 and compare models of its stars.")
    parser.add_argument("--data", type=Path, default=DATA, help="table of the stars")
    path = parser.parse_args(arguments).data
    if not path.is_file():
        print(f"no file {path}: give the table of M67 with --data", file=sys.stderr)
        return 2
    logging.getLogger("pymc").setLevel(logging.WARNING)
    OUTPUT.mkdir(exist_ok=True)
    catalog = read_catalog(path)
    stars = catalog.select(LIMITS.mask(catalog))
    print(f"{stars.n_star} of {catalog.n_star} stars with {LIMITS.bright} <= G <= {LIMITS.faint}")
    print("Compiling the model; the first run on a machine takes a minute or two.", flush=True)
    iso = psp.load_isochrones(450)
    corrections = psp.EmpiricalCorrections()
    model, idata = fit(iso, stars, corrections)
    report(idata)
    members = psp.membership(idata, model=model, catalog=catalog).mean(("chain", "draw"))
    draw(psp.load_isochrones(), catalog, idata, members, corrections)
    print(f"members (p > 0.5) of the {stars.n_star}: "
          f"{int((members.sel(star=stars.star) > 0.5).sum())}")  # fmt: skip
    fits = {"MIST, corrected": idata, "MIST": fit(iso, stars, draws=500, chains=2)[1]}
    basti = read_basti()
    if basti is None:
        print("\nBaSTI is left out: install lachesis-grids to compare with it")
    else:
        fits["BaSTI"] = fit(basti, stars, draws=500, chains=2)[1]
    compare(fits)
    print(f"figures: {OUTPUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
