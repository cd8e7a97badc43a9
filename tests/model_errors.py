"""Clusters that the isochrones miss, fitted with corrections of the magnitudes and without."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pymc as pm

import pymc_starpop as psp

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3")
LIMITS = psp.MagnitudeLimits(BANDS[0], 4.0, 17.0, error=0.01)
ERROR, SCATTER, DISTANCE_MODULUS = 0.005, 0.01, 8.0
# Offsets at the knots are drawn from these, with either sign, mag; their rms is the prior's width.
SMALLEST, LARGEST = 0.05, 0.15
WIDTH = np.sqrt((LARGEST**3 - SMALLEST**3) / (3.0 * (LARGEST - SMALLEST)))
NAMES = ("log_age", "feh", "distance_modulus", "av", "binary_fraction")
KNOTS = psp.SequenceKnots()


@dataclass(frozen=True)
class Cluster:
    """Stars, what they were drawn with, and the offsets that the models do not have."""

    catalog: psp.StarCatalog
    truth: dict[str, float] = field(repr=False)
    offsets: np.ndarray = field(repr=False)


def draw_offsets(rng: np.random.Generator) -> np.ndarray:
    """Offsets (B, K) of 0.05 to 0.15 mag."""
    shape = (len(BANDS), len(KNOTS))
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(SMALLEST, LARGEST, shape)


def draw_cluster(iso: Any, seed: int, n_star: int = 300, offsets: Any = None) -> Cluster:
    """Draw one cluster whose stars are off by offsets, its own where none are given."""
    rng = np.random.default_rng([seed, 29])
    own = draw_offsets(rng) if offsets is None else offsets
    truth = {
        "log_age": rng.uniform(8.0, 9.6), "feh": np.clip(rng.normal(0.0, 0.1), -0.3, 0.3),
        "distance_modulus": DISTANCE_MODULUS + rng.normal(0.0, 0.1),
        "av": rng.uniform(0.1, 0.6), "binary_fraction": rng.beta(5.0, 8.0),
    }  # fmt: skip
    cat = psp.simulate_cluster(
        iso, n_star=n_star, bands=BANDS, mag_err=ERROR, parallax_err=0.05, rng=rng,
        selection=LIMITS, corrections=psp.MagnitudeCorrections(own, BANDS),
        intrinsic_scatter=SCATTER, field_fraction=0.05, **truth,
    )  # fmt: skip
    return Cluster(cat, truth, own)


def build_model(iso: Any, cluster: Cluster, with_corrections: bool) -> pm.Model:
    """Priors of the study, from which truths are drawn, and the likelihood."""
    cat = cluster.catalog
    with pm.Model(coords=cat.coords()) as model:
        options = {}
        if with_corrections:
            options["corrections"] = psp.correction_prior("offset", iso, BANDS, sigma=WIDTH)
        psp.ClusterPhotometry(
            "stars", iso, observed=cat, selection=LIMITS, mass_ratio_nodes=21,
            log_age=pm.Uniform("log_age", 7.7, 9.9), feh=pm.Normal("feh", 0.0, 0.1),
            distance_modulus=pm.Normal("distance_modulus", DISTANCE_MODULUS, 0.1),
            av=pm.Uniform("av", 0.0, 1.0), field_fraction=pm.Beta("field_fraction", 1.5, 20.0),
            binary_fraction=pm.Beta("binary_fraction", 5.0, 8.0), intrinsic_scatter=SCATTER,
            **options,
        )  # fmt: skip
    return model


def sample(model: pm.Model, seed: int, draws: int = 500, n_starts: int = 4):
    """Draws of NUTS from the best of several optima."""
    with model:
        start = psp.find_start(n_starts, random_seed=seed, progressbar=False)
        return pm.sample(
            draws, tune=draws, cores=1, random_seed=seed, progressbar=False,
            compute_convergence_checks=False, **start.sample_kwargs("pymc", chains=2),
        )  # fmt: skip
