"""Magnitudes from theory: bolometric corrections with extinction, on a table of atmospheres."""

import difflib
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pymc_starpop.isochrones.extinction import ccm89_rv_slope
from pymc_starpop.kernels.interpolation import interpolate_bolometric

SOLAR_MBOL = 4.74  # absolute bolometric magnitude at 1 nominal solar luminosity, IAU 2015 B2
TABLE_RV = 3.1  # R_V of the tabulated extinction
TABLE_AV_RANGE = (0.0, 4.0)  # range over which the polynomials in A_V were fitted (mag)
# F606W, F150W2, F850LP, "JWST/NIRCam.F090W", ACS_F814W.
_SPACE_TELESCOPE = re.compile(
    r"(?<![A-Za-z0-9])F\d{3,4}(W2?|N|M|LP|X)(mag)?(?![A-Za-z0-9])"
    r"|HST|JWST|NIRCam|NIRISS|MIRI|WFPC2|WFC3|(?<![A-Za-z0-9])ACS(?![A-Za-z0-9])",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class BolometricTable:
    """Polynomial coefficients in A_V of the bolometric corrections in some bands.

    ``BC(A_V) = sum_p coefficients[..., p] A_V**p`` for 0 <= A_V <= 4 mag at R_V = 3.1.

    Attributes
    ----------
    feh : ndarray (Fb,)
        [Fe/H] axis (dex).
    log_teff : ndarray (T,)
        log10(T_eff / K) axis.
    log_g : ndarray (G,)
        log10 surface gravity axis (cgs).
    coefficients : ndarray (Fb, T, G, B, 4)
        Coefficients (mag / mag**p). Kernels and Ops share these arrays: do not write into them.
    bands : tuple of str
        The B bands, in order.
    """

    feh: np.ndarray
    log_teff: np.ndarray
    log_g: np.ndarray
    coefficients: np.ndarray
    bands: tuple[str, ...]

    def interpolate(self, log_teff: np.ndarray, log_g: np.ndarray, feh: float) -> np.ndarray:
        """Coefficients (E, B, 4) at log_teff (E,), log_g (E,) and one [Fe/H]."""
        return interpolate_bolometric(
            log_teff, log_g, feh, self.log_teff, self.log_g, self.feh, self.coefficients
        )[0]


@dataclass(frozen=True, eq=False)
class BolometricPhotometry:
    """Photometry of a grid whose magnitudes come from bolometric corrections.

    With A_V the extinction in V, c_p the coefficients and b_b the CCM89 slope of a band,

        M_b = 4.74 - 2.5 log10(L/Lsun) - BC_b(A_V) + A_V b_b (1/R_V - 1/3.1)

    (Cardelli, Clayton & Mathis 1989: A_b/A_V is linear in 1/R_V).

    Attributes
    ----------
    everything : BolometricTable
        The table of all bands.
    wavelength : ndarray (B,)
        Effective wavelengths (micron), for the dependence on R_V; NaN where they are not known.
    system : tuple of str
        "Vega" or "AB" for each band.
    av_range : tuple of float
        Smallest and largest A_V (mag) that the polynomials cover; (0, 0) without extinction.
    """

    everything: BolometricTable
    wavelength: np.ndarray
    system: tuple[str, ...]
    av_range: tuple[float, float] = TABLE_AV_RANGE

    @property
    def parts(self) -> tuple["BolometricPhotometry", ...]:
        """The photometries of one kind that this is made of: itself."""
        return (self,)

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of all bands."""
        return self.everything.bands

    def check_bands(self, bands: Sequence[str]) -> tuple[str, ...]:
        """Return the bands as a tuple after checking that they exist and differ."""
        return check_bands(bands, self.bands)

    def table(self, bands: Sequence[str]) -> BolometricTable:
        """Table of the chosen bands, the same object for those asked for last."""
        bands = self.check_bands(bands)
        # Read once: another thread may ask for other bands meanwhile.
        last = self._last[0]
        if last is not None and last.bands == bands:
            return last
        index = [self.bands.index(band) for band in bands]
        full = self.everything
        # `take` and not [..., index, :], whose result need not be C-contiguous.
        chosen = np.take(full.coefficients, index, axis=3)
        table = BolometricTable(full.feh, full.log_teff, full.log_g, chosen, bands)
        self._last[0] = table
        return table

    @cached_property
    def _last(self) -> list[BolometricTable | None]:
        """The table asked for last: many isochrones are taken in the same bands."""
        return [None]

    def rv_slope(self, bands: Sequence[str]) -> np.ndarray:
        """CCM89 slopes b_b (B,) of A_b/A_V in 1/R_V, 0 where the wavelength is not known."""
        index = [self.bands.index(band) for band in self.check_bands(bands)]
        wavelength = self.wavelength[index]
        known = np.isfinite(wavelength)
        return np.where(known, ccm89_rv_slope(np.where(known, wavelength, 1.0)), 0.0)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the table, its bands and wavelengths."""
        full = self.everything
        arrays = (full.feh, full.log_teff, full.log_g, full.coefficients, self.wavelength)
        return content_hash(*arrays, self.bands, self.system, self.av_range)


def extinguished(coefficients: Any, av: Any) -> tuple[Any, Any]:
    """Bolometric corrections (E, B) at one A_V (mag) from polynomials (E, B, 4), and dBC/dA_V."""
    c0, c1, c2, c3 = (coefficients[..., k] for k in range(4))
    slope = (3.0 * c3 * av + 2.0 * c2) * av + c1
    return c0 + ((c3 * av + c2) * av + c1) * av, slope


def absolute_magnitudes(correction: Any, log_l: Any, av: Any, rv_term: Any) -> Any:
    """Turn luminosities into absolute magnitudes with extinction.

        M_b = 4.74 - 2.5 log10(L/Lsun) - BC_b(A_V) + A_V b_b (1/R_V - 1/3.1)

    (the last term from Cardelli, Clayton & Mathis 1989: A_b/A_V is linear in 1/R_V).

    Parameters
    ----------
    correction : array (E, B)
        BC at A_V and R_V = 3.1, mag.
    log_l : array (E,)
    av : scalar
        A_V, mag.
    rv_term : array (B,)
        b_b (1/R_V - 1/3.1).

    Returns
    -------
    array (E, B)
    """
    return SOLAR_MBOL - 2.5 * log_l[:, None] - correction + rv_term * av


def reddened(coefficients: Any, log_l: Any, av: Any, rv_term: Any) -> tuple[Any, Any]:
    """Absolute magnitudes and their derivatives dM/dA_V, (E, B) both.

    From the polynomials (E, B, 4) of `extinguished`, and what `absolute_magnitudes` takes.
    """
    correction, slope = extinguished(coefficients, av)
    return absolute_magnitudes(correction, log_l, av, rv_term), rv_term - slope


def check_bands(bands: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return `bands` as a tuple, or raise a ValueError that says what is wrong with them."""
    if isinstance(bands, str) or not isinstance(bands, Iterable):
        raise ValueError(f"bands={bands!r}: expected a sequence of band names, e.g. [{bands!r}]")
    bands = tuple(bands)
    if not bands:
        raise ValueError("bands is empty: expected at least one band name; iso.bands lists all")
    for band in bands:
        if band not in known:
            close = difflib.get_close_matches(str(band), known, n=5, cutoff=0.4)
            hint = f"close matches: {', '.join(close)}; " if close else ""
            raise ValueError(
                f"bands: unknown band {band!r}; {hint}iso.bands lists all {len(known)}"
                + _space_telescope(str(band))
            )
    repeated = sorted({band for band in bands if bands.count(band) > 1})
    if repeated:
        raise ValueError(
            f"bands: each band may be given once, got {', '.join(repeated)} repeatedly"
        )
    return bands


def _space_telescope(band: str) -> str:
    """What to say besides of an unknown band that is named like one of HST or JWST."""
    if not _SPACE_TELESCOPE.search(band):
        return ""
    return (
        "; bands of HST and JWST come from tables of bolometric corrections: "
        "iso.with_bolometric(psp.read_mist_bc([...]))"
    )


def content_hash(*parts: object) -> str:
    """Hexadecimal hash of arrays (dtype, shape and bytes) and of the repr of anything else."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part))
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()
