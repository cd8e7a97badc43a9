"""The cut on one observed magnitude that made a catalog."""

import math
from dataclasses import dataclass

import numpy as np

from pymc_starpop.photometry import StarCatalog

__all__ = ["MagnitudeLimits"]

_NEAREST = 20  # stars whose median error stands for the error at a limit


@dataclass(frozen=True)
class MagnitudeLimits:
    """Stars entered the catalog because their observed magnitude lies between two limits.

    A star of true magnitude m then is in the catalog with the probability
    Phi((faint - m)/sigma_faint) - Phi((bright - m)/sigma_bright).

    Parameters
    ----------
    band : str
        Band of the cut, one of the catalog's.
    bright, faint : float
        Limits, mag, bright < faint. Infinity means no limit on that side.
    error : float or (float, float), optional
        Photometric error at the limits, mag: one number, or at ``bright`` and at ``faint``. By
        default the median error of the 20 stars nearest each limit (see `errors`).

    Raises
    ------
    ValueError
        For limits that are not ascending and errors that are not positive and finite.

    Examples
    --------
    >>> from pymc_starpop.photometry import StarCatalog
    >>> cat = StarCatalog([[12.1], [17.0]], [[0.01], [0.02]], bands=["Gaia_G_EDR3"])
    >>> limits = MagnitudeLimits("Gaia_G_EDR3", 6.0, 16.0)
    >>> len(cat.select(limits.mask(cat)))
    1
    """

    band: str
    bright: float
    faint: float
    error: float | tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check the limits and errors."""
        if not isinstance(self.band, str):
            raise ValueError(f"band must be the name of a band, got {self.band!r}.")
        if not self.bright < self.faint:
            raise ValueError(
                f"bright must be less than faint (mag), got bright={self.bright}, "
                f"faint={self.faint}; the smaller magnitude is the bright limit."
            )
        if self.error is None:
            return
        pair = (self.error,) * 2 if isinstance(self.error, int | float) else tuple(self.error)
        if len(pair) != 2 or not all(math.isfinite(e) and e > 0 for e in pair):
            raise ValueError(
                f"error must be one positive number or a pair (at bright, at faint) in mag, got "
                f"{self.error!r}; leave it out to take it from the catalog."
            )
        object.__setattr__(self, "error", (float(pair[0]), float(pair[1])))

    def errors(self, catalog: StarCatalog) -> tuple[float, float]:
        """Return the photometric errors at the bright and the faint limit, mag.

        They are ``error`` where that was given, else the median error in the band of the 20
        measured stars whose magnitudes are nearest each limit (an infinite limit: the stars at
        that end).

        Parameters
        ----------
        catalog : StarCatalog

        Returns
        -------
        (float, float)
            sigma at bright, sigma at faint.

        Raises
        ------
        ValueError
            If the catalog lacks the band or has no star measured in it.

        Examples
        --------
        >>> from pymc_starpop.photometry import StarCatalog
        >>> cat = StarCatalog([[12.1]], [[0.01]], bands=["TESS"])
        >>> MagnitudeLimits("TESS", 10, 15).errors(cat)
        (0.01, 0.01)
        """
        index = catalog.band_index(self.band)
        if isinstance(self.error, tuple):
            return self.error
        measured = catalog.measured[:, index]
        if not measured.any():
            raise ValueError(
                f"error cannot be taken from the catalog: no star is measured in {self.band}; "
                f"give error= in mag."
            )
        mag = catalog.mag[measured, index]
        mag_err = catalog.mag_err[measured, index]

        def at_limit(limit: float) -> float:
            inside = np.clip(limit, mag.min(), mag.max())
            nearest = np.argsort(np.abs(mag - inside), kind="stable")[:_NEAREST]
            return float(np.median(mag_err[nearest]))

        return at_limit(self.bright), at_limit(self.faint)

    def mask(self, catalog: StarCatalog) -> np.ndarray:
        """Return which stars are measured in the band and lie within the limits, bool, shape (N,).

        Examples
        --------
        >>> from pymc_starpop.photometry import StarCatalog
        >>> cat = StarCatalog([[12.1], [17.0]], [[0.01], [0.02]], bands=["TESS"])
        >>> MagnitudeLimits("TESS", 10, 15).mask(cat).tolist()
        [True, False]
        """
        mag = catalog.mag[:, catalog.band_index(self.band)]
        return (mag >= self.bright) & (mag <= self.faint)  # False for NaN

    def check(self, catalog: StarCatalog) -> None:
        """Raise a ValueError if a star lies outside the limits or lacks the band.

        Examples
        --------
        >>> from pymc_starpop.photometry import StarCatalog
        >>> cat = StarCatalog([[12.1]], [[0.01]], bands=["TESS"])
        >>> MagnitudeLimits("TESS", 10, 15).check(cat)
        """
        outside = np.flatnonzero(~self.mask(catalog))
        if outside.size:
            mag = catalog.mag[:, catalog.band_index(self.band)]
            named = ", ".join(f"{row} ({mag[row]:.3f})" for row in outside[:5])
            raise ValueError(
                f"selection says that every star has {self.bright} <= {self.band} <= "
                f"{self.faint}, but {outside.size} of {catalog.n_star} stars do not or lack the "
                f"band, rows {named}; use catalog.select(limits.mask(catalog))."
            )
