"""Metallicities of a star formation history, draw by draw."""

from typing import Any

import numpy as np

from pymc_starpop.hess import TemplateSet
from pymc_starpop.summaries.sfh_arrays import (
    chunks,
    metallicity_distribution,
    spread_over_metallicity,
)
from pymc_starpop.summaries.sfh_input import SFHInput

__all__ = ["metallicity_quantities"]


def metallicity_quantities(history: SFHInput, tmpl: TemplateSet | None) -> dict[str, Any]:
    """Return what can be said of metallicities, as variables of a dataset."""
    out: dict[str, Any] = {}
    dex, one = {"units": "dex"}, {"units": "1"}
    mh_mean = history.mh_mean
    if mh_mean is None and history.mass_by_mh is not None and tmpl is not None:
        mh_mean = _mean_of_free(history.mass_by_mh, tmpl.mh)
    if mh_mean is not None:
        out["mh_mean"] = (("sample", "log_age"), mh_mean, dex)
    if history.sigma is not None:
        out["sigma"] = (("sample", "log_age")[: history.sigma.ndim], history.sigma, dex)
    known = history.mass_by_mh is not None or (
        history.mh_mean is not None and history.sigma is not None
    )
    if tmpl is None or not known:
        return out
    by_mass, by_number = _distributions(history, tmpl)
    out["mh"] = ("mh", tmpl.mh, dex)
    for name, values in (("mass", by_mass), ("number", by_number)):
        out[f"mdf_{name}"] = (("sample", "mh"), values, one)
        out[f"mh_by_{name}"] = ("sample", values @ tmpl.mh, dex)
    return out


def _distributions(history: SFHInput, tmpl: TemplateSet) -> tuple[np.ndarray, np.ndarray]:
    """Distributions (N_sample, N_mh) of the mass formed and of the stars expected."""
    stars_per_mass = tmpl.counts.sum(axis=(-1, -2))
    n_sample = len(history.mass)
    by_mass, by_number = np.empty((2, n_sample, tmpl.n_mh))
    for part in chunks(n_sample):
        if history.mass_by_mh is not None:
            weights = history.mass_by_mh[part]
        else:
            # Where nothing formed the mean may be no number, and any will do.
            mean = np.nan_to_num(np.asarray(history.mh_mean)[part])
            sigma = np.asarray(history.sigma)[part]
            sigma = sigma if sigma.ndim == 2 else sigma[:, None]
            weights = spread_over_metallicity(history.mass[part], mean, sigma, tmpl.mh)
        by_mass[part] = metallicity_distribution(weights)
        by_number[part] = metallicity_distribution(weights, stars_per_mass)
    return by_mass, by_number


def _mean_of_free(mass_by_mh: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Mean metallicities (N_sample, N_age) of free coefficients, NaN where nothing formed."""
    total = mass_by_mh.sum(axis=-1)
    empty = np.full_like(total, np.nan)
    return np.divide(mass_by_mh @ grid, total, out=empty, where=total > 0)
