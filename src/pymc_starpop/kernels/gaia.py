"""Formulas of the photometry of Gaia EDR3 and DR3."""

import numpy as np

__all__ = ["corrected_excess", "ecliptic_latitude", "excess_scatter", "magnitude_error"]

_OBLIQUITY = np.deg2rad(84381.406 / 3600.0)  # of the ecliptic of J2000, IAU 2006
_MAG_PER_LN = 2.5 / np.log(10.0)


def corrected_excess(bp_rp: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """Corrected flux excess factor C* = C - f(BP - RP), 0 for well-measured stars.

    Riello et al. 2021, A&A 649, A3, equation 6 with the polynomials of table 2.

    Parameters
    ----------
    bp_rp : ndarray (N,)
        Color BP - RP, mag.
    excess : ndarray (N,)
        ``phot_bp_rp_excess_factor``.
    """
    blue = 1.154360 + bp_rp * (0.033772 + bp_rp * 0.032277)
    middle = 1.162004 + bp_rp * (0.011464 + bp_rp * (0.049255 - bp_rp * 0.005879))
    red = 1.057572 + bp_rp * 0.140537
    return excess - np.where(bp_rp < 0.5, blue, np.where(bp_rp < 4.0, middle, red))


def excess_scatter(g: np.ndarray) -> np.ndarray:
    """Standard deviation of C* of well-measured stars of G magnitude (N,).

    Riello et al. 2021, equation 18.
    """
    return 0.0059898 + 8.817481e-12 * np.asarray(g) ** 7.618399


def magnitude_error(flux_over_error: np.ndarray, zero_point_error: float) -> np.ndarray:
    """Standard deviation of a magnitude, mag: 2.5/ln(10) error/flux with that of the zero point."""
    return np.hypot(_MAG_PER_LN / flux_over_error, zero_point_error)


def ecliptic_latitude(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Ecliptic latitude from right ascension and declination, all degrees."""
    alpha, delta = np.deg2rad(ra), np.deg2rad(dec)
    sine = np.sin(delta) * np.cos(_OBLIQUITY)
    sine = sine - np.cos(delta) * np.sin(_OBLIQUITY) * np.sin(alpha)
    return np.rad2deg(np.arcsin(sine))
