"""A simulated cluster, its posterior as a Gaussian about the maximum, and faults to be found."""

import numpy as np
import pymc as pm
import pytensor
import xarray as xr

import pymc_starpop as psp
from pymc_starpop.summaries.climb import climb, follow
from pymc_starpop.summaries.log_density import Coordinates, constrained_values, log_density

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3")
LIMITS = psp.MagnitudeLimits("Gaia_G_EDR3", 9.0, 17.0, error=0.01)
TRUE = {"log_age": 9.0, "distance_modulus": 8.0, "av": 0.3}
SHARES = {"field_fraction": 0.1, "binary_fraction": 0.3}
FIELD = psp.UniformField(
    mag_range=(9.0, 17.0),
    color_ranges={
        ("Gaia_BP_EDR3", "Gaia_G_EDR3"): (-0.2, 1.2), ("Gaia_RP_EDR3", "Gaia_G_EDR3"): (-1.4, 0.1),
    },
)  # fmt: skip
N_STAR, N_CHAIN, N_DRAW = 300, 4, 500


def simulate(iso, seed=1, n_star=N_STAR, **changes):
    """Stars with a field; changes are other parameters."""
    return psp.simulate_cluster(
        iso, n_star=n_star, bands=BANDS, mag_err=0.01, rng=seed, selection=LIMITS, field=FIELD,
        **{"feh": 0.0, "intrinsic_scatter": 0.01, **TRUE, **SHARES, **changes},
    )  # fmt: skip


def moved(cat, offsets, rows=slice(None)):
    """The catalog with other magnitudes: offsets (B,) or (n, B) of some rows."""
    mag = cat.mag.copy()
    mag[rows] += offsets
    return psp.StarCatalog(mag, cat.mag_err, bands=cat.bands)


def build(iso, cat, **changes):
    """Five free parameters; changes are further arguments or other priors, as functions."""
    with pm.Model(coords=cat.coords()) as model:
        priors = {
            "log_age": lambda: pm.Uniform("log_age", 8.5, 9.5),
            "distance_modulus": lambda: pm.Normal("distance_modulus", 8.0, 0.3),
            "av": lambda: pm.TruncatedNormal("av", 0.3, 0.2, lower=0.0, upper=2.0),
            "field_fraction": lambda: pm.Beta("field_fraction", 1.5, 5.0),
            "binary_fraction": lambda: pm.Beta("binary_fraction", 2.0, 2.0),
            "feh": 0.0, "intrinsic_scatter": 0.01, "mass_ratio_nodes": 12,
        } | changes  # fmt: skip
        given = {name: value() if callable(value) else value for name, value in priors.items()}
        psp.ClusterPhotometry("stars", iso, selection=LIMITS, field=FIELD, observed=cat, **given)
    return model


def gaussian_posterior(model, start=None, seed=1, n_draw=N_DRAW):
    """Independent draws of the Gaussian about the maximum near the truth, which a sampler finds."""
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        point = model.initial_point()
        coordinates = Coordinates(model, point)
        begin = {**TRUE, **SHARES, **(start or {})}
        first = [
            model.rvs_to_transforms[rv].forward(begin[rv.name], *rv.owner.inputs).eval()
            if model.rvs_to_transforms[rv] is not None
            else np.asarray(begin[rv.name])
            for rv in model.free_RVs
        ]
        first = np.array([float(x) for x in first])
        summit = follow(climb(first, np.full(first.size, 0.02)), log_density(model, point))
        rng = np.random.default_rng(seed)
        drawn = rng.multivariate_normal(summit.position, summit.covariance, N_CHAIN * n_draw)
        own = constrained_values(model, coordinates, list(drawn))
    shape = (N_CHAIN, n_draw)
    return xr.Dataset(
        {
            name: (("chain", "draw"), np.array([values[name] for values in own]).reshape(shape))
            for name in own[0]
        },
        coords={"chain": np.arange(N_CHAIN), "draw": np.arange(n_draw)},
    )


def doubted(check):
    """Names of the checks that are a reason to doubt."""
    return sorted(set(check.problems["check"]))
