"""Magnitudes that a library tabulates along its isochrones, and photometry of several kinds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pymc_starpop.isochrones.bolometric import (
    TABLE_RV,
    BolometricPhotometry,
    check_bands,
    content_hash,
)
from pymc_starpop.isochrones.corrections import number_of
from pymc_starpop.isochrones.extinction import ccm89_a, ccm89_rv_slope

__all__ = ["CombinedPhotometry", "Photometry", "TabulatedPhotometry", "check_extinction"]


@dataclass(frozen=True, eq=False)
class TabulatedPhotometry:
    """Magnitudes of a grid as its library gives them.

    With k_b the extinction A_b/A_V at R_V = 3.1 and b_b the CCM89 slope of a band,

        M_b = table_b([Fe/H], age, EEP) + A_V [k_b + b_b (1/R_V - 1/3.1)].

    Attributes
    ----------
    bands : tuple of str
        The B bands.
    magnitudes : ndarray (F, A, E, B)
        Absolute magnitudes without extinction.
    extinction : ndarray (B,)
        A_b/A_V at R_V = 3.1; NaN where it is not known.
    slope : ndarray (B,)
        Change of A_b/A_V with 1/R_V; NaN where it is not known.
    system : tuple of str
        Photometric system of each band, as the library calls it; "" where it does not.
    """

    bands: tuple[str, ...]
    magnitudes: np.ndarray
    extinction: np.ndarray
    slope: np.ndarray
    system: tuple[str, ...]

    @property
    def parts(self) -> tuple["TabulatedPhotometry", ...]:
        """The photometries of one kind that this is made of: itself."""
        return (self,)

    @property
    def av_range(self) -> tuple[float, float]:
        """Smallest and largest A_V (mag): the law is linear."""
        return (0.0, np.inf)

    def check_bands(self, bands: Sequence[str]) -> tuple[str, ...]:
        """Return the bands as a tuple after checking that they exist and differ."""
        return check_bands(bands, self.bands)

    def index(self, bands: Sequence[str]) -> list[int]:
        """Position of each band."""
        return [self.bands.index(band) for band in bands]

    def with_extinction(
        self, extinction: Mapping[str, float], wavelength: Mapping[str, float]
    ) -> "TabulatedPhotometry":
        """Return a copy that knows the extinction of the named bands that it has."""
        factor, slope = self.extinction.copy(), self.slope.copy()
        for band, micron in wavelength.items():
            if band in self.bands:
                k = self.bands.index(band)
                slope[k] = ccm89_rv_slope(micron)
                factor[k] = ccm89_a(micron) + slope[k] / TABLE_RV
        for band, value in extinction.items():
            if band in self.bands:
                k = self.bands.index(band)
                factor[k] = value
                if band not in wavelength:
                    slope[k] = np.nan
        return replace(self, extinction=factor, slope=slope)

    def rv_slope(self, bands: Sequence[str]) -> np.ndarray:
        """Slopes (B,) of A_b/A_V in 1/R_V, 0 where they are not known."""
        return np.nan_to_num(self.slope[self.index(bands)])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of magnitudes, bands and extinction."""
        return content_hash(self.magnitudes, self.extinction, self.slope, self.bands, self.system)


@dataclass(frozen=True, eq=False)
class CombinedPhotometry:
    """Bands of several kinds in one grid; of two bands of one name the later part's counts.

    Attributes
    ----------
    parts : tuple of BolometricPhotometry and TabulatedPhotometry
    """

    parts: tuple["BolometricPhotometry | TabulatedPhotometry", ...]

    @cached_property
    def bands(self) -> tuple[str, ...]:
        """Names of all bands."""
        return tuple(dict.fromkeys(band for part in self.parts for band in part.bands))

    @property
    def system(self) -> tuple[str, ...]:
        """Photometric system of each band."""
        return tuple(
            part.system[part.bands.index(band)]
            for band in self.bands
            for part in [self.part_of(band)]
        )

    @property
    def av_range(self) -> tuple[float, float]:
        """Smallest and largest A_V (mag) in all bands."""
        ranges = [part.av_range for part in self.parts]
        return max(low for low, _ in ranges), min(high for _, high in ranges)

    def part_of(self, band: str) -> "BolometricPhotometry | TabulatedPhotometry":
        """Return the part that gives a band."""
        return next(part for part in reversed(self.parts) if band in part.bands)

    def check_bands(self, bands: Sequence[str]) -> tuple[str, ...]:
        """Return the bands as a tuple after checking that they exist and differ."""
        return check_bands(bands, self.bands)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the parts."""
        return content_hash(*(part.fingerprint for part in self.parts))


Photometry = BolometricPhotometry | TabulatedPhotometry | CombinedPhotometry


def split_bands(
    photometry: Photometry, bands: Sequence[str]
) -> list[tuple[BolometricPhotometry | TabulatedPhotometry, tuple[str, ...]]]:
    """Return each part that gives some of the bands, with these bands."""
    bands = photometry.check_bands(bands)
    if not isinstance(photometry, CombinedPhotometry):
        return [(photometry, bands)]
    groups = []
    for part in photometry.parts:
        own = tuple(band for band in bands if photometry.part_of(band) is part)
        if own:
            groups.append((part, own))
    return groups


def check_extinction(part: Any, bands: Sequence[str], av: Any, rv: Any) -> None:
    """Refuse an extinction, or an R_V, of which a band knows nothing.

    Raises
    ------
    ValueError
        Naming the bands, and what to give.
    """
    if number_of(av) == 0.0:
        return
    index = [part.bands.index(band) for band in bands]
    if isinstance(part, TabulatedPhotometry):
        unknown, slope = np.isnan(part.extinction[index]), part.slope[index]
    else:
        unknown = np.full(len(bands), part.av_range[1] == 0.0)
        slope = part.wavelength[index]
    if unknown.any():
        names = [band for band, lacks in zip(bands, unknown, strict=True) if lacks]
        raise ValueError(
            f"av: the extinction in {', '.join(names)} is not known; give effective wavelengths or "
            f"A_b/A_V, e.g. iso.with_extinction(wavelength={{{names[0]!r}: 0.64}}) (micron), or "
            "leave av at 0"
        )
    if number_of(rv) != TABLE_RV and np.isnan(slope).any():
        names = [band for band, b in zip(bands, slope, strict=True) if np.isnan(b)]
        raise ValueError(
            f"rv: how the extinction in {', '.join(names)} depends on R_V is not known; give "
            f"iso.with_extinction(wavelength={{{names[0]!r}: 0.64}}) (micron), or leave rv at 3.1"
        )
