"""Profiles of the likelihood in log age, of stars that the models cannot fit exactly.

Stars are simulated with colors that are off by 0.03 mag, smoothly along the sequence, and errors of
1 to 5 mmag. At each age of a scan all other parameters, the coefficients of the default prior on
corrections among them, are at their optimum.
"""

from dataclasses import dataclass

import numpy as np
import pymc as pm
from pymc.blocking import DictToArrayBijection

import pymc_starpop as psp
from pymc_starpop.summaries.climb import climb, descend, follow

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3")
DISTANCE_MODULUS, AV = 8.0, 0.2
LIMITS = psp.MagnitudeLimits(BANDS[0], 3.0, 17.0, error=0.002)
# log age and [Fe/H]: 30 Myr to 10 Gyr, -2 to +0.4.
PLACES = (
    (7.48, 0.0), (7.60, 0.4), (7.75, -0.3), (7.90, 0.1), (8.03, 0.0), (8.08, 0.1), (8.22, -0.6),
    (8.37, 0.3), (8.50, 0.0), (8.66, -1.0), (8.80, 0.15), (8.95, 0.0), (9.08, -0.35), (9.23, 0.4),
    (9.38, 0.1), (9.52, -1.4), (9.60, 0.0), (9.74, -0.8), (9.90, -2.0), (9.99, 0.2),
)  # fmt: skip
# Colors off by that much, mag; over 0.3 dex in T_eff they go through a whole wave.
OFFSET, WAVE = 0.03, 0.3
# What isochrones miss between the knots of the corrections, in each band and in all, mag: those of
# MIST and PARSEC differ by 0.01 to 0.03 there.
SCATTER, GREY = 0.01, 0.03
LAST_EEP = 808
# Every so many ages the curvature is computed anew; a top is better if it is by so many nats; and
# scans go to and fro at most so often.
CURVED, BETTER, MOST_SWEEPS = 4, 1e-3, 8
GAIN = 1e-4  # nats that another step of a climb would bring


@dataclass(frozen=True)
class Off(psp.Corrections):
    """Bluer and redder models, in a wave along the sequence; G stays as it is."""

    phase: float = 0.0

    def magnitudes(self, at, mag, bands, xp=np):
        """Return magnitudes (E, B) with half of the offset added in BP and taken from RP."""
        wave = np.sin(2.0 * np.pi * at.log_teff / WAVE + self.phase)
        share = np.array([0.5 if "BP" in band else -0.5 if "RP" in band else 0.0 for band in bands])
        return mag + OFFSET * wave[:, None] * share


def photometric_errors(mag):
    """Errors (n, 3) of 1 to 5 mmag at magnitudes (n, 3)."""
    return 0.001 + 0.004 * np.clip((mag - 11.0) / 6.0, 0.0, 1.0)


def simulate(place, n_star, seed):
    """Draw stars of a cluster at a log age and [Fe/H] whose colors are off."""
    log_age, feh = place
    return psp.simulate_cluster(
        psp.load_isochrones(), n_star=n_star, bands=BANDS, mag_err=photometric_errors,
        parallax_err=0.03, rng=seed, feh=feh, log_age=log_age, distance_modulus=DISTANCE_MODULUS,
        av=AV, binary_fraction=0.3, selection=LIMITS, corrections=Off(seed), eep_max=LAST_EEP,
    )  # fmt: skip


def build_model(catalog, place, n_nodes=None):
    """Make the model of the scans, in which log age is data."""
    iso = psp.load_isochrones(n_nodes)
    with pm.Model(coords=catalog.coords()) as model:
        psp.ClusterPhotometry(
            "stars", iso, feh=pm.Normal("feh", place[1], 0.05),
            log_age=pm.Data("log_age", place[0]),
            distance_modulus=pm.Normal("distance_modulus", DISTANCE_MODULUS, 0.1),
            av=pm.LogNormal("av", np.log(AV), 0.5),
            field_fraction=pm.Beta("field_fraction", 1.5, 30.0, initval=0.03),
            binary_fraction=pm.Beta("binary_fraction", 2.0, 2.0, initval=0.3),
            intrinsic_scatter=SCATTER, grey_scatter=GREY,
            corrections=psp.correction_prior("offset", iso, catalog.model_bands),
            selection=LIMITS, eep_max=LAST_EEP, mass_ratio_nodes=15, observed=catalog,
        )  # fmt: skip
    return model


class Profile:
    """Optimum over all parameters but log age."""

    def __init__(self, model):
        self.model = model
        self.logp = model.logp_dlogp_function(ravel_inputs=True)
        self.logp.set_extra_values({})
        point = model.initial_point()
        names = [value.name for value in model.value_vars]
        self.start = DictToArrayBijection.map({name: point[name] for name in names}).data

    def at(self, log_age, x):
        """Return the log density and its gradient at a log age."""
        self.model["log_age"].set_value(float(log_age))
        value, gradient = self.logp(x)
        return float(value), gradient

    def top(self, log_age, start, factor, with_curvature=False):
        """Return the highest log density, where it is, and the curvature there as a factor."""

        def evaluate(z):
            value, gradient = self.at(log_age, start + factor @ z)
            return value, factor.T @ gradient

        z, ones = np.zeros(start.size), np.ones(start.size)
        if with_curvature:
            found = follow(climb(z, ones), evaluate)
            if found.covariance is None:
                return found.logp, start + factor @ found.position, factor
            cov = factor @ found.covariance @ factor.T
            return found.logp, start + factor @ found.position, np.linalg.cholesky(cov)
        z, cov = follow(descend(z, ones, GAIN), evaluate)
        return evaluate(z)[0], start + factor @ z, factor

    def scan(self, center, offsets):
        """Profile log-likelihood at a center plus ascending offsets.

        The scan goes outwards from the middle, then to and fro, each time from the tops of the
        neighbors, until nothing gets better: where there are several optima the best counts.
        """
        n = len(offsets)
        middle = int(np.abs(offsets).argmin())
        best, tops = np.full(n, -np.inf), [self.start] * n
        factors = [0.1 * np.eye(self.start.size)] * n

        def visit(k, start, factor):
            if not np.isfinite(self.at(center + offsets[k], start)[0]):
                return
            value, x, own = self.top(center + offsets[k], start, factor, k % CURVED == 0)
            if value > best[k] + BETTER:
                best[k], tops[k], factors[k] = value, x, own

        best[middle], tops[middle], factors[middle] = self.top(
            center + offsets[middle], self.start, factors[middle], True
        )
        for order, step in ((range(middle + 1, n), 1), (range(middle - 1, -1, -1), -1)):
            for k in order:
                visit(k, tops[k - step], factors[k - step])
        for sweep in range(MOST_SWEEPS):
            before = best.copy()
            step = 1 if sweep % 2 else -1
            for k in range(n) if step == 1 else range(n - 1, -1, -1):
                if 0 <= k - step < n:
                    visit(k, tops[k - step], factors[k - step])
            if sweep and np.all(best - before < 10.0 * BETTER):
                break
        return best


def deepest_dip(profile):
    """Depth (nat) of the deepest dip: by how much both sides rise above its bottom."""
    left = np.maximum.accumulate(profile)
    right = np.maximum.accumulate(profile[::-1])[::-1]
    return float(np.max(np.minimum(left, right) - profile))


def n_maximum(profile, least=0.0):
    """Number of maxima that stand out by more than so many nats."""
    count, low, high, rising = 0, profile[0], profile[0], True
    for value in profile[1:]:
        if rising:
            high = max(high, value)
            if value < high - least:
                count, rising, low = count + 1, False, value
        else:
            low = min(low, value)
            if value > low + least:
                rising, high = True, value
    return count + rising
