"""Fluxes, magnitudes and asinh magnitudes of the same stars.

A flux of 1 is the magnitude 22.5 in the band's own system (the nanomaggy of SDSS, where that
system is AB). The asinh magnitude of Lupton, Gunn & Szalay (1999, AJ 118, 1406, eq. 3) with the
softening b in the same unit is

    mu = 22.5 - a [asinh(f / 2b) + ln b],   a = 2.5 / ln 10,   |dmu/df| = a / sqrt(f^2 + 4 b^2).

It is defined for every flux, and for f >> b it is the magnitude.
"""

from typing import Any

import numpy as np

from pymc_starpop._namespace import NUMPY, Namespace

__all__ = [
    "FLUX_ZERO_POINT",
    "MAG_PER_LN",
    "asinh_mag",
    "flux_of_asinh_mag",
    "flux_of_mag",
    "log_asinh_slope",
    "log_flux_norm",
    "mag_of_flux",
]

FLUX_ZERO_POINT = 22.5  # magnitude of a flux of 1
MAG_PER_LN = 2.5 / np.log(10.0)  # magnitudes for a factor e of flux


def mag_of_flux(flux: np.ndarray, flux_err: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return magnitudes and their errors to first order, NaN where the flux is not positive."""
    positive = np.where(flux > 0, flux, np.nan)
    return FLUX_ZERO_POINT - MAG_PER_LN * np.log(positive), MAG_PER_LN * flux_err / positive


def flux_of_mag(mag: np.ndarray | float) -> np.ndarray:
    """Return the flux of a magnitude; 0 for infinity, infinity for minus infinity."""
    return np.exp((FLUX_ZERO_POINT - np.asarray(mag, dtype=float)) / MAG_PER_LN)


def asinh_mag(flux: np.ndarray, softening: np.ndarray) -> np.ndarray:
    """Return the asinh magnitude of a flux; the softening is in the unit of the flux."""
    return FLUX_ZERO_POINT - MAG_PER_LN * (np.arcsinh(0.5 * flux / softening) + np.log(softening))


def flux_of_asinh_mag(mag: np.ndarray, softening: np.ndarray) -> np.ndarray:
    """Return the flux whose asinh magnitude is given."""
    return 2.0 * softening * np.sinh((FLUX_ZERO_POINT - mag) / MAG_PER_LN - np.log(softening))


def log_asinh_slope(flux: np.ndarray, softening: np.ndarray) -> np.ndarray:
    """Return ln |dmu/df|, the change from a density in asinh magnitude to one in flux."""
    return np.log(MAG_PER_LN) - np.log(np.hypot(flux, 2.0 * softening))


def log_flux_norm(scatter: Any, error: Any, xp: Namespace = NUMPY) -> Any:
    """Log of the norm of a Gaussian in flux whose variance was taken at the observed flux.

    The likelihood of a mean flux m is h(x) N(x + V'(x) | m, V(x)), V(x) = s x^2 + e x^2, with the
    observed x also in the variance. To the first order in s the mean score of the scatter is 0 for
    log-normal fluxes with Gaussian noise if, with k = s / (s + e) and L = ln(1 + s / e),

        ln h = s/4 + 2 e L - 5/4 e k + 3 e k^2.

    It is s for small s / e, and s / 4 where noise is negligible.

    Parameters
    ----------
    scatter : array
        s, the variance of the scatter in ln flux.
    error : array
        e, the squared ratio of photometric error and observed flux.
    """
    share = scatter / (scatter + error)
    log_ratio = xp.log1p(scatter / error)
    return 0.25 * scatter + error * (2.0 * log_ratio - 1.25 * share + 3.0 * share * share)
