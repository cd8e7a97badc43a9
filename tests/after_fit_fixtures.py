"""A simulated cluster with binaries, a field and a selection, and a posterior at the truth."""

import numpy as np
import pymc as pm
import xarray as xr

import pymc_starpop as psp

BANDS = ("Gaia_G_EDR3", "2MASS_Ks")
LIMITS = psp.MagnitudeLimits("Gaia_G_EDR3", 11.0, 18.0, error=0.03)
FREE = {"log_age": 9.0, "distance_modulus": 8.0, "binary_fraction": 0.4}
FIXED = {"feh": 0.0, "intrinsic_scatter": 0.01}
N_LIVING = 3000
N_DRAW = 24


def simulate_living(iso, seed):
    """All systems of a cluster, seen or not, with the truth."""
    return psp.simulate_cluster(
        iso, n_star=N_LIVING, bands=BANDS, mag_err=0.03, rng=seed, **FREE, **FIXED
    )


def system_mass(catalog):
    """Mass of each system, Msun."""
    return catalog.extra["initial_mass"] * (1.0 + catalog.extra["mass_ratio"])


def build_model(iso, catalog, **changes):
    """A model with three free variables; changes are further arguments."""
    with pm.Model(coords=catalog.coords()) as model:
        free = {
            "log_age": pm.Uniform("log_age", 8.5, 9.5),
            "distance_modulus": pm.Normal("distance_modulus", 8.0, 0.3),
            "binary_fraction": pm.Beta("binary_fraction", 2.0, 2.0),
        }
        arguments = {"selection": LIMITS, **FIXED, **free, **changes}
        psp.ClusterPhotometry("stars", iso, observed=catalog, **arguments)
    return model


def posterior_at_truth(n_draw=N_DRAW):
    """Draws that all are the truth, so that only the stars themselves are uncertain."""
    return xr.Dataset(
        {name: (("chain", "draw"), np.full((2, n_draw // 2), v)) for name, v in FREE.items()},
        coords={"chain": [0, 1], "draw": np.arange(n_draw // 2)},
    )
