"""The extinction law of Cardelli, Clayton & Mathis (1989, ApJ 345, 245), "CCM89".

A(lambda)/A(V) = a(x) + b(x)/R_V, with x = 1/lambda in 1/micron (their eq. 1 to 4). A change of R_V
at fixed A(V) therefore changes A(lambda) by A(V) b(x) (1/R_V' - 1/R_V).
"""

from typing import Any

import numpy as np

__all__ = ["ccm89_a", "ccm89_rv_slope"]

_POWER = 1.61  # eq. 2, infrared, 0.3 to 1.1 per micron
_INFRARED_A, _INFRARED_B = 0.574, -0.527
# eq. 3, optical, 1.1 to 3.3 per micron: polynomials in x - 1.82, constant first.
_OPTICAL_A = (1.0, 0.17699, -0.50447, -0.02427, 0.72085, 0.01979, -0.77530, 0.32999)
_OPTICAL_B = (0.0, 1.41338, 2.28305, 1.07233, -5.38434, -0.62251, 5.30260, -2.09002)
_X_OPTICAL, _X_ULTRAVIOLET, _X_MAX = 1.1, 3.3, 8.0


def ccm89_a(wavelength_micron: Any) -> np.ndarray:
    """Return the part a(x) of A(lambda)/A(V) = a(x) + b(x)/R_V.

    Parameters
    ----------
    wavelength_micron : array-like
        Wavelengths, micron, any shape, 0.125 or longer. Beyond 3.33 micron, where the paper ends,
        the infrared power law x^1.61 goes on.

    Returns
    -------
    ndarray
        Same shape, dimensionless.

    Raises
    ------
    ValueError
        For wavelengths that are not finite or shorter than 0.125 micron.

    Examples
    --------
    >>> float(ccm89_a(2.2).round(3))
    0.161
    """
    x = _inverse_micron(wavelength_micron)
    bump = -0.104 / ((x - 4.67) ** 2 + 0.341)
    ultraviolet = 1.752 - 0.316 * x + bump + _far(x, -0.04473, -0.009779)
    return _join(x, _INFRARED_A, _OPTICAL_A, ultraviolet)


def ccm89_rv_slope(wavelength_micron: Any) -> np.ndarray:
    """Return the part b(x) of A(lambda)/A(V) = a(x) + b(x)/R_V, its slope in 1/R_V.

    Parameters
    ----------
    wavelength_micron : array-like
        Wavelengths, micron, any shape, 0.125 or longer. Beyond 3.33 micron, where the paper ends,
        the infrared power law x^1.61 goes on.

    Returns
    -------
    ndarray
        Same shape, dimensionless.

    Raises
    ------
    ValueError
        For wavelengths that are not finite or shorter than 0.125 micron.

    Examples
    --------
    >>> float(ccm89_rv_slope(2.2).round(3))
    -0.148
    """
    x = _inverse_micron(wavelength_micron)
    bump = 1.206 / ((x - 4.62) ** 2 + 0.263)
    ultraviolet = -3.090 + 1.825 * x + bump + _far(x, 0.2130, 0.1207)
    return _join(x, _INFRARED_B, _OPTICAL_B, ultraviolet)


def _inverse_micron(wavelength_micron: Any) -> np.ndarray:
    wavelength = np.asarray(wavelength_micron, dtype=float)
    bad = ~(np.isfinite(wavelength) & (wavelength >= 1.0 / _X_MAX))
    if bad.any():
        raise ValueError(
            f"wavelength_micron must be finite and at least {1.0 / _X_MAX} micron, got "
            f"{wavelength[bad][0]}; convert from Angstrom or nanometers first."
        )
    return 1.0 / wavelength


def _far(x: np.ndarray, square: float, cube: float) -> np.ndarray:
    """F_a or F_b of eq. 4, zero below 5.9 per micron."""
    beyond = np.maximum(x - 5.9, 0.0)
    return square * beyond**2 + cube * beyond**3


def _join(
    x: np.ndarray, infrared: float, optical: tuple[float, ...], ultraviolet: np.ndarray
) -> np.ndarray:
    polynomial = np.polynomial.polynomial.polyval(x - 1.82, optical)
    long_side = np.where(x < _X_OPTICAL, infrared * x**_POWER, polynomial)
    return np.where(x < _X_ULTRAVIOLET, long_side, ultraviolet)
