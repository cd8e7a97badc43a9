"""Brute-force templates: every star by itself, from the slow forms of the kernels.

Pairs are so many that the fast kernel deposits them, one Gaussian a pair; it has tests of its own.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import pymc_starpop as psp
from pymc_starpop.hess.errors import as_error_model
from pymc_starpop.kernels.hess_deposit import deposit_gaussians
from pymc_starpop.kernels.reference import hess as reference_hess

PAPER_BANDS = ("F090W", "F150W")


@dataclass(frozen=True)
class Case:
    """An isochrone, the axes and the photometry of a template."""

    mass: np.ndarray
    mag: np.ndarray
    axes: psp.HessAxes
    distance_modulus: float
    noise: dict[str, Any]
    completeness: dict[str, Any] | None = None
    bias: dict[str, Any] | None = None
    imf: Any = field(default_factory=psp.Kroupa)

    @property
    def bands(self):
        return self.axes.bands

    def template(self, binaries=None, **changes):
        """What the package makes of it (N_mag, N_color)."""
        options = {
            "distance_modulus": self.distance_modulus, "noise": self.noise,
            "completeness": self.completeness, "bias": self.bias, "imf": self.imf,
        }  # fmt: skip
        options |= changes
        return psp.build_template(
            self.mass, self.mag, self.bands, self.axes, binaries=binaries, **options
        ).values

    def density(self, mass):
        """Mass function, normalized over all that is formed."""
        imf = self.imf
        formed = (mass >= imf.mass_min) & (mass <= imf.mass_max)
        norm = float(imf.integral(imf.mass_min, imf.mass_max))
        return np.where(formed, imf.density(mass) / norm, 0.0)

    def cut_isochrone(self):
        """Isochrone in apparent magnitudes, with a point at each break of the mass function."""
        mass, mag = self.mass, self.mag + self.distance_modulus
        for cut in (*self.imf.break_masses, self.imf.mass_min):
            inside = np.flatnonzero((mass[:-1] < cut) & (mass[1:] > cut))
            t = (cut - mass[inside]) / (mass[inside + 1] - mass[inside])
            between = mag[inside] + t[:, None] * (mag[inside + 1] - mag[inside])
            mass, mag = (
                np.insert(mass, inside + 1, cut),
                np.insert(mag, inside + 1, between, axis=0),
            )
        return mass, mag

    def deposit(self, number, mag, kernel=reference_hess.deposit_gaussians):
        """Bins of stars (P,) with true apparent magnitudes (P, B)."""
        model = as_error_model(self.bands, self.noise, self.completeness, self.bias)
        errors, matrix = model.at(mag), self.axes.matrix()
        covariance = np.einsum("ib,nb,jb->nij", matrix, errors.sigma**2, matrix)
        counts = np.zeros(self.axes.shape)
        # The scale keeps each of very many stars above what the fast kernel leaves out.
        number = 1e8 * number * errors.completeness
        seen = number > 1e-14 * number.sum()
        center = (mag + errors.bias) @ matrix.T
        moments = covariance[:, [0, 0, 1], [0, 1, 1]]
        edges = self.axes.color_edges.copy(), self.axes.mag_edges.copy()
        kernel(number[seen], center[seen], moments[seen], *edges, counts)
        return 1e-8 * counts

    def brute_singles(self, step, density=None):
        """Template of single stars, per system formed."""
        stars = reference_hess.single_points(*self.cut_isochrone(), density or self.density, step)
        return self.deposit(*stars)


def brute_random_pairs(case, fraction, step):
    """Template with `RandomBinaryPairs`."""
    mass, mag = case.cut_isochrone()
    pairs = reference_hess.pair_points(
        mass, mag, lambda m1, m2: 2.0 * case.density(m1) * case.density(m2), lambda m1: 0.0,
        step, step,
    )  # fmt: skip
    imf = case.imf
    norm = float(imf.integral(imf.mass_min, imf.mass_max))
    lit = imf.integral(max(mass.min(), imf.mass_min), min(mass.max(), imf.mass_max)) / norm
    alone = 1.0 - fraction + 2.0 * fraction * (1.0 - float(lit))
    counts = alone * case.brute_singles(step) + fraction * case.deposit(*pairs, deposit_gaussians)
    return counts * psp.RandomBinaryPairs(fraction).systems_per_mass(imf)


def brute_mass_ratios(case, law, step):
    """Template with `MassRatioBinaries`."""
    mass, mag = case.cut_isochrone()

    def pair_density(m1, m2):
        total = m1 + m2
        return law.mass_ratio_density(m2 / m1) * case.density(total) * total / m1**2

    def lowest(m1):
        return max(law.mass_ratio_min * m1, case.imf.mass_min - m1)

    pairs = reference_hess.pair_points(mass, mag, pair_density, lowest, step, step)
    grid = np.unique(np.concatenate([np.geomspace(mass.min(), mass.max(), 2000), mass]))
    alone = np.array([_beside_dark(case, law, m, mass.min(), mass.max()) for m in grid])

    def single_density(m):
        beside_dark = np.interp(m, grid, alone)
        return (1.0 - law.fraction) * case.density(m) + law.fraction * beside_dark

    counts = case.brute_singles(step, single_density) + law.fraction * case.deposit(
        *pairs, deposit_gaussians
    )
    return counts * law.systems_per_mass(case.imf)


def _beside_dark(case, law, mass, lowest, highest, n=20_000):
    """Binaries per Msun of which a star of this mass is all that is seen: a plain sum over q."""
    q = law.mass_ratio_min + (np.arange(n) + 0.5) / n * (1.0 - law.mass_ratio_min)
    share = law.mass_ratio_density(q) * (1.0 - law.mass_ratio_min) / n
    as_primary = np.where(q * mass < lowest, case.density(mass * (1.0 + q)) * (1.0 + q), 0.0)
    growth = 1.0 + 1.0 / q
    as_secondary = np.where(mass / q > highest, case.density(mass * growth) * growth, 0.0)
    return (share * (as_primary + as_secondary)).sum()


def paper_case(shared_data, near=False):
    """The example of Garling et al. (2025), Fig. 2 and 3; `near` is that with binaries."""
    table = np.loadtxt(shared_data / "parsec_12p6gyr_mh-2p8_nircam.txt", skiprows=1)
    color, mag = (
        (np.linspace(0.4, 1.1, 75), np.linspace(18.0, 27.5, 200))
        if near
        else (np.linspace(-0.2, 1.2, 75), np.linspace(19.0, 30.0, 200))
    )
    return Case(
        mass=table[:, 0],
        mag=table[:, 1:3],
        axes=psp.HessAxes(PAPER_BANDS, "F150W", color, mag),
        distance_modulus=17.5 if near else 25.0,
        noise={
            "F090W": psp.ExponentialError(1.03, 15, 36, 0.02, 0.4),
            "F150W": psp.ExponentialError(1.03, 15, 35, 0.02, 0.4),
        },
        completeness={
            "F090W": psp.LogisticCompleteness(1, 28.5, 0.7),
            "F150W": psp.LogisticCompleteness(1, 27.5, 0.7),
        },
    )


def small_case(**changes):
    """A short isochrone with a turn-off, a jump and a giant branch, and large errors."""
    mass = np.array([0.15, 0.3, 0.6, 0.8, 0.88, 0.9, 0.905, 0.905, 0.908])
    blue = np.array([10.0, 8.5, 6.3, 4.8, 3.9, 2.5, 0.0, 1.2, 0.8])
    color = np.array([1.6, 1.4, 0.9, 0.6, 0.55, 0.85, 1.2, 0.3, 0.5])
    options = {
        "mass": mass,
        "mag": np.stack([blue, blue - color], axis=1),
        "axes": psp.HessAxes(("V", "I"), "I", np.linspace(-0.5, 2.5, 41), np.linspace(19, 29, 51)),
        "distance_modulus": 20.0,
        "noise": {"V": psp.ExponentialError(1.05, 12, 33, 0.12, 0.4), "I": 0.15},
        "completeness": {"V": psp.LogisticCompleteness(0.95, 28.0, 0.5), "I": 0.9},
    }
    return Case(**(options | changes))


def errors_of(counts, truth, mass=1e7):
    """Total error, and the worst relative one in bins with more than one star at `mass` (Msun)."""
    seen = truth * mass > 1.0
    worst = np.abs(counts[seen] / truth[seen] - 1.0).max()
    return np.abs(counts - truth).sum() / truth.sum(), worst
