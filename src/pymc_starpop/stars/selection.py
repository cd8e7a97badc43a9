"""What made a catalog: a cut on one observed magnitude, and completeness."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.colors import pair_of
from pymc_starpop.stars.completeness import CompletenessTable, evaluate_completeness, tabulate
from pymc_starpop.stars.fluxes import MAG_PER_LN, flux_of_mag
from pymc_starpop.stars.stacked import StackedCatalog

__all__ = ["CompletenessTable", "FluxLimits", "MagnitudeLimits"]

_NEAREST = 20  # stars whose median error stands for the error at a limit
_N_CHECKED = 101  # magnitudes between the limits at which a completeness function is checked


class FluxLimits(NamedTuple):
    """Limits of a catalog of fluxes, in the catalog's unit (1 is magnitude 22.5).

    Attributes
    ----------
    low, high : flux at the faint limit (-inf without one) and at the bright limit (inf)
    low_error, high_error : error of the flux there
    """

    low: float
    high: float
    low_error: float
    high_error: float


@dataclass(frozen=True)
class MagnitudeLimits:
    """Stars entered the catalog because their observed magnitude lies between two limits.

    A star of true magnitude m then is in the catalog with the probability
    c(m) [Phi((faint - m)/sigma_faint) - Phi((bright - m)/sigma_bright)], with the completeness c.

    Parameters
    ----------
    band : str
        Band of the cut, one of the catalog's.
    bright, faint : float
        Limits, mag, bright < faint. Infinity means no limit on that side, the default.
    error : float or (float, float), optional
        Photometric error at the limits, mag: one number, or at ``bright`` and at ``faint``. By
        default the median error of the 20 stars nearest each limit (see `errors`).
    completeness : callable, optional
        Probability, 0 to 1, that a star is found at all, as a function of its true apparent
        magnitude in the band: takes and returns NumPy arrays of one shape. For example
        `LogisticCompleteness`, or a curve from artificial stars. It should not be 0 where
        the catalog has stars.

    Raises
    ------
    ValueError
        For a color in place of a band, limits that are not ascending, neither a limit nor a
        completeness, errors that are not positive and finite, and a completeness outside 0 to 1.

    Examples
    --------
    >>> from pymc_starpop.stars.catalog import StarCatalog
    >>> cat = StarCatalog([[12.1], [17.0]], [[0.01], [0.02]], bands=["Gaia_G_EDR3"])
    >>> limits = MagnitudeLimits("Gaia_G_EDR3", 6.0, 16.0)
    >>> len(cat.select(limits.mask(cat)))
    1
    """

    band: str
    bright: float = -math.inf
    faint: float = math.inf
    error: float | tuple[float, float] | None = None
    completeness: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        """Check the limits and errors."""
        if not isinstance(self.band, str):
            raise ValueError(f"band must be the name of a band, got {self.band!r}.")
        if pair_of(self.band) is not None:
            raise ValueError(
                f"band is the color {self.band!r}, but limits are those of a magnitude; select by "
                "the magnitude of a band of the catalog."
            )
        if not self.bright < self.faint:
            raise ValueError(
                f"bright must be less than faint (mag), got bright={self.bright}, "
                f"faint={self.faint}; the smaller magnitude is the bright limit."
            )
        for name in ("bright", "faint"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.error is not None:
            object.__setattr__(self, "error", _check_error(self.error))
        if self.completeness is None:
            if math.isinf(self.bright) and math.isinf(self.faint):
                raise ValueError(
                    f"MagnitudeLimits({self.band!r}) has neither bright nor faint nor completeness "
                    f"and selects nothing; give one of them, or selection=None."
                )
        elif not callable(self.completeness):
            raise ValueError(
                f"completeness must be a function of magnitude, got {self.completeness!r}; give "
                f"for example psp.LogisticCompleteness(1.0, 20.0, 0.3)."
            )
        elif math.isfinite(self.bright) and math.isfinite(self.faint):
            self.completeness_at(np.linspace(self.bright, self.faint, _N_CHECKED))

    def completeness_at(self, mag: Any) -> np.ndarray:
        """Return the completeness at true magnitudes of any shape; 1 where none was given.

        Raises
        ------
        ValueError
            For values that are not finite or outside 0 to 1, or of another shape.

        Examples
        --------
        >>> MagnitudeLimits("TESS", 10, 15, completeness=np.ones_like).completeness_at([12.0])
        array([1.])
        """
        mag = np.asarray(mag, dtype=float)
        if self.completeness is None:
            return np.ones_like(mag)
        return evaluate_completeness(self.completeness, mag)

    def completeness_table(
        self, brightest: float, faintest: float, step: float = 0.01
    ) -> CompletenessTable:
        """Tabulate the completeness at equal steps, for smooth interpolation.

        Parameters
        ----------
        brightest, faintest : float
            First and last magnitude; beyond them the table is constant.
        step : float
            Largest distance of the nodes, mag.

        Returns
        -------
        CompletenessTable
            ``start`` and ``step`` (mag), ``value`` and ``slope`` (K,); a call interpolates.

        Raises
        ------
        ValueError
            As `completeness_at`, and for ends that are not finite and ascending.

        Examples
        --------
        >>> import pymc_starpop as psp
        >>> curve = psp.LogisticCompleteness(1.0, 20.0, 0.3)
        >>> table = MagnitudeLimits("TESS", faint=21, completeness=curve).completeness_table(15, 23)
        >>> bool(abs(table(20.003) - curve(20.003)) < 1e-6)
        True
        """
        return tabulate(self.completeness_at, brightest, faintest, step)

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
        >>> from pymc_starpop.stars.catalog import StarCatalog
        >>> cat = StarCatalog([[12.1]], [[0.01]], bands=["TESS"])
        >>> MagnitudeLimits("TESS", 10, 15).errors(cat)
        (0.01, 0.01)
        """
        index = catalog.band_index(self.band)
        if isinstance(self.error, tuple):
            return self.error
        mag, mag_err = catalog.mag[:, index], catalog.mag_err[:, index]
        return self._nearby_error(mag, mag_err, self.bright), self._nearby_error(
            mag, mag_err, self.faint
        )

    def flux_limits(self, catalog: StarCatalog) -> FluxLimits:
        """Return the limits and the errors there in flux, for a catalog of fluxes.

        Errors are those given (mag) times the flux of the limit, or the median flux error of the 20
        stars whose fluxes are nearest (an infinite limit: of those at that end).

        Parameters
        ----------
        catalog : StarCatalog

        Returns
        -------
        FluxLimits

        Raises
        ------
        ValueError
            For a catalog of magnitudes, and as `errors`.

        Examples
        --------
        >>> from pymc_starpop.stars.catalog import StarCatalog
        >>> cat = StarCatalog.from_flux([[100.0]], [[1.5]], bands=["TESS"])
        >>> limits = MagnitudeLimits("TESS", faint=20.0).flux_limits(cat)
        >>> limits.low, limits.high, limits.low_error
        (10.0, inf, 1.5)
        """
        index = catalog.band_index(self.band)
        if catalog.flux is None or catalog.flux_err is None:
            raise ValueError(
                "flux_limits needs a catalog of fluxes, got one of magnitudes; use errors(catalog)."
            )
        flux, flux_err = catalog.flux[:, index], catalog.flux_err[:, index]
        given = self.error if isinstance(self.error, tuple) else (None, None)
        low = float(flux_of_mag(self.faint)) if math.isfinite(self.faint) else -math.inf
        high = float(flux_of_mag(self.bright))

        def error(limit: float, mag_error: float | None) -> float:
            if mag_error is not None and math.isfinite(limit):
                return mag_error * limit / MAG_PER_LN
            return self._nearby_error(flux, flux_err, limit)

        return FluxLimits(low, high, error(low, given[1]), error(high, given[0]))

    def _nearby_error(self, values: np.ndarray, errors: np.ndarray, limit: float) -> float:
        """Median error of the stars nearest a limit, in magnitude or in flux."""
        measured = np.isfinite(values)
        if not measured.any():
            raise ValueError(
                f"error cannot be taken from the catalog: no star is measured in {self.band}; "
                f"give error= in mag."
            )
        values, errors = values[measured], errors[measured]
        inside = np.clip(limit, values.min(), values.max())
        nearest = np.argsort(np.abs(values - inside), kind="stable")[:_NEAREST]
        return float(np.median(errors[nearest]))

    def mask(self, catalog: StarCatalog | StackedCatalog) -> np.ndarray:
        """Return which stars are measured in the band and lie within the limits, bool, shape (N,).

        Of a stack of catalogs, those of all clusters.

        Examples
        --------
        >>> from pymc_starpop.stars.catalog import StarCatalog
        >>> cat = StarCatalog([[12.1], [17.0]], [[0.01], [0.02]], bands=["TESS"])
        >>> MagnitudeLimits("TESS", 10, 15).mask(cat).tolist()
        [True, False]
        """
        if isinstance(catalog, StackedCatalog):
            return np.concatenate([self.mask(own) for own in catalog.clusters.values()])
        index = catalog.band_index(self.band)
        if catalog.flux is not None:
            # Without a faint limit, fluxes below zero pass.
            low = float(flux_of_mag(self.faint)) if math.isfinite(self.faint) else -math.inf
            flux = catalog.flux[:, index]
            return (flux >= low) & (flux <= flux_of_mag(self.bright))
        mag = catalog.mag[:, index]
        return (mag >= self.bright) & (mag <= self.faint)  # False for NaN

    def check(self, catalog: StarCatalog) -> None:
        """Raise a ValueError if a star lies outside the limits or lacks the band.

        Examples
        --------
        >>> from pymc_starpop.stars.catalog import StarCatalog
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


def _check_error(error: Any) -> tuple[float, float]:
    """One positive number, or one at each limit, mag; 0-d arrays count as numbers."""
    pair = (error,) * 2 if np.ndim(error) == 0 else tuple(error)
    if len(pair) != 2 or not all(_is_positive(e) for e in pair):
        raise ValueError(
            f"error must be one positive number or a pair (at bright, at faint) in mag, got "
            f"{error!r}; leave it out to take it from the catalog."
        )
    return float(pair[0]), float(pair[1])


def _is_positive(value: Any) -> bool:
    array = np.asarray(value)
    return array.ndim == 0 and array.dtype.kind in "iuf" and bool(0 < array < np.inf)
