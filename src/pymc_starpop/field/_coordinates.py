"""The magnitudes in which field densities are written, for catalogs of magnitudes and of fluxes.

A catalog of fluxes has the asinh magnitudes whose softening is the star's own flux error: they
exist for negative fluxes, and the density of a flux is that of its asinh magnitude times
|dmu/df|, exactly.
"""

from collections.abc import Iterator

import numpy as np

from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.fluxes import asinh_mag, flux_of_mag, log_asinh_slope
from pymc_starpop.stars.selection import MagnitudeLimits

__all__ = ["limits_of_stars", "log_slope", "magnitudes", "stars_of_same_bands"]


def magnitudes(catalog: StarCatalog) -> np.ndarray:
    """Return magnitudes (N, B), asinh magnitudes for fluxes; NaN where not measured."""
    if catalog.flux is None or catalog.flux_err is None:
        return catalog.mag
    return asinh_mag(catalog.flux, catalog.flux_err)


def log_slope(catalog: StarCatalog) -> np.ndarray:
    """Return the log (N,) of the change from a density in magnitudes to one in what was measured.

    It is 0 for a catalog of magnitudes, and the sum of ln |dmu/df| over the bands of a star else.
    """
    if catalog.flux is None or catalog.flux_err is None:
        return np.zeros(catalog.n_star)
    slopes = log_asinh_slope(catalog.flux, catalog.flux_err)
    return np.where(catalog.measured, slopes, 0.0).sum(axis=1)


def stars_of_same_bands(catalog: StarCatalog) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows of the stars that were measured in the same columns, and these columns."""
    patterns, which = np.unique(catalog.measured, axis=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        yield np.flatnonzero(which.ravel() == index), np.flatnonzero(pattern)


def limits_of_stars(
    selection: MagnitudeLimits, softening: np.ndarray | None
) -> tuple[np.ndarray | float, np.ndarray | float]:
    """Return the bright and the faint limit in magnitude, or in the asinh magnitude of each star.

    ``softening`` (n,) holds flux errors in the band of the selection; None is for magnitudes.
    """
    if softening is None:
        return selection.bright, selection.faint
    infinite = np.full(len(softening), np.inf)
    bright, faint = -infinite, infinite
    if np.isfinite(selection.bright):
        bright = asinh_mag(flux_of_mag(selection.bright), softening)
    if np.isfinite(selection.faint):
        faint = asinh_mag(flux_of_mag(selection.faint), softening)
    return bright, faint
