"""Small Hess diagrams and the likelihood of their stars, written out in the obvious way."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import pymc_starpop as psp

LOG_AGE = np.linspace(8.5, 10.0, 5)
MH = np.linspace(-2.0, 0.0, 9)
T_MAX_GYR = 12.0
AXES = psp.HessAxes(
    color=("V", "I"),
    mag="I",
    color_edges=np.linspace(-0.5, 2.5, 21),
    mag_edges=np.linspace(19, 26, 31),
)


def make_templates(axes=AXES, log_age=LOG_AGE, mh=MH, floor=1e-9):
    """Gaussian tracks, redder with age and metallicity, with more stars where it is fainter."""
    centers = axes.coords()
    mag, color = centers["mag"][:, None], centers["color"]
    counts = np.empty((len(log_age), len(mh), *axes.shape))
    for j, age in enumerate(log_age):
        for k, metals in enumerate(mh):
            turn_off = 18.5 + 3.0 * (age - 8.5)
            ridge = 0.6 + 0.3 * (age - 8.5) + 0.25 * metals + 0.1 * (mag - 22.0)
            width = 0.05 + 0.02 * (mag - 19.0)
            number = 1e-5 * 10 ** (0.3 * (mag - 26.0)) / (1.0 + np.exp(-(mag - turn_off) / 0.2))
            counts[j, k] = number * (np.exp(-0.5 * ((color - ridge) / width) ** 2) + floor)
    return psp.TemplateSet.from_arrays(counts, axes, log_age, mh)


@dataclass
class Galaxy:
    """Templates, true coefficients (N_age, N_mh) and the stars drawn from them."""

    tmpl: psp.TemplateSet
    r: np.ndarray
    hess: Any

    @property
    def shape(self):
        return self.r.shape


def make_galaxy(mass=3e6, sigma=0.15, seed=1, **kwargs):
    """Constant star formation and a linear age-metallicity relation."""
    tmpl = make_templates(**kwargs)
    duration = np.diff(tmpl.age_edges(T_MAX_GYR))
    formed = mass * duration / duration.sum()
    mean = -0.3 - 0.1 * tmpl.age_gyr
    shares = np.exp(-0.5 * ((tmpl.mh - mean[:, None]) / sigma) ** 2)
    r = formed[:, None] * shares / shares.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    return Galaxy(tmpl, r, tmpl.axes.wrap(rng.poisson(tmpl.composite(r).values).astype(float)))


def log_plr(tmpl, r, hess, background=0.0, mask=None):
    """ln PLR by its formula, over all bins, in double precision."""
    n = np.asarray(hess, dtype=float)
    m = np.einsum("jk,jkyx->yx", r, tmpl.counts) + background
    terms = np.where(n > 0, n - m + n * np.log(np.where(n > 0, m / np.where(n > 0, n, 1), 1)), -m)
    return terms.sum() if mask is None else terms[np.asarray(mask)].sum()


def central_differences(function, x, step=1e-5):
    """Gradient of a scalar function by central differences, relative steps."""
    x = np.asarray(x, dtype=float)
    gradient = np.empty(x.size)
    for i in range(x.size):
        h = step * max(abs(x.flat[i]), 1e-3)
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved.flat[i] += sign * h
            ends.append(function(moved))
        gradient[i] = (ends[0] - ends[1]) / (2 * h)
    return gradient.reshape(x.shape)
