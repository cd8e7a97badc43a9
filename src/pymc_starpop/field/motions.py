"""The proper motions of the stars of a catalog as arrays without NaN."""

from dataclasses import dataclass

import numpy as np

from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.stacked import StackedCatalog

__all__ = ["Motions", "motions_of"]

_COLUMNS = ("pmra", "pmdec", "pmra_err", "pmdec_err", "pm_corr")


@dataclass(frozen=True)
class Motions:
    """Proper motions of N stars, with 0 and errors of 1 where there are none.

    Attributes
    ----------
    values, errors : ndarray (N, 2)
        In right ascension, with the cosine of the declination, and in declination, mas/yr.
    corr : ndarray (N,)
        Correlations of the errors.
    measured : ndarray of bool (N,)
    """

    values: np.ndarray
    errors: np.ndarray
    corr: np.ndarray
    measured: np.ndarray

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return both values, both errors, the correlation and what was measured, each (N,)."""
        return *self.values.T, *self.errors.T, self.corr, self.measured.astype(float)


def motions_of(catalog: StarCatalog | StackedCatalog) -> Motions:
    """Return the proper motions of a catalog.

    Raises
    ------
    ValueError
        For anything but a catalog, and for one of which no star has a proper motion.
    """
    if not isinstance(catalog, StarCatalog | StackedCatalog):
        raise ValueError(
            f"catalog must be a StarCatalog or a StackedCatalog, got {type(catalog).__name__}; "
            "make one with StarCatalog(mag, mag_err, bands=..., pmra=...) or StarCatalog.from_gaia"
        )
    if isinstance(catalog, StarCatalog):
        found = [getattr(catalog, name) for name in _COLUMNS]
    else:
        found = [catalog.column(name) for name in _COLUMNS]
    if any(column is None for column in found) or not np.isfinite(found[0]).any():
        raise ValueError(
            "catalog has no star with a proper motion; give pmra, pmra_err, pmdec and pmdec_err "
            "(mas/yr) when it is made"
        )
    measured = np.isfinite(found[0])
    pmra, pmdec, pmra_err, pmdec_err, corr = (
        np.where(measured, column, fill)
        for column, fill in zip(found, (0.0, 0.0, 1.0, 1.0, 0.0), strict=True)
    )
    return Motions(
        np.column_stack([pmra, pmdec]), np.column_stack([pmra_err, pmdec_err]), corr, measured
    )
