"""The zero point of Gaia's parallaxes."""

from importlib.util import find_spec
from numbers import Real
from typing import Any

import numpy as np

from pymc_starpop.kernels.gaia import ecliptic_latitude
from pymc_starpop.stars.gaia_table import GaiaTable

__all__ = ["QUASARS", "lindegren", "zero_point_of"]

#: Median parallax of quasars, mas (Lindegren et al. 2021, A&A 649, A2).
QUASARS = -0.017
# Where the formulas hold (Lindegren et al. 2021, A&A 649, A4): G; effective wavenumber of solutions
# with five parameters and pseudocolor of those with six, 1/micron. Ends are outside.
_RANGES = {"g": (6.0, 21.0), "nu_eff": (1.1, 1.9), "pseudocolour": (1.24, 1.72)}
_FIVE, _SIX = 31, 95  # ``astrometric_params_solved``
_INSIDE = 1e-6  # of the ends
_COLUMNS = (
    "phot_g_mean_mag", "nu_eff_used_in_astrometry", "pseudocolour", "astrometric_params_solved",
)  # fmt: skip


def zero_point_of(
    table: GaiaTable, given: float | str | None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Zero point (N,) of each parallax, mas, and which rows (N,) got a stand-in for their own.

    Raises
    ------
    ImportError
        For "lindegren" without gaiadr3-zeropoint.
    ValueError
        For anything but None, a finite number or "lindegren", and for columns that it lacks.
    """
    if isinstance(given, str):
        if given != "lindegren":
            raise ValueError(
                f"parallax_zero_point must be None, a number (mas) or 'lindegren', got {given!r}"
            )
        table.require("parallax_zero_point='lindegren'", *_COLUMNS)
        if not table.has("ecl_lat"):
            table.require("parallax_zero_point='lindegren' without ecl_lat", "ra", "dec")
        latitude = (
            table.floats("ecl_lat")
            if table.has("ecl_lat")
            else ecliptic_latitude(table.floats("ra"), table.floats("dec"))
        )
        g, nu_eff, pseudocolour, solved = (table.floats(name) for name in _COLUMNS)
        return lindegren(g, nu_eff, pseudocolour, solved, latitude)
    value = 0.0 if given is None else given
    if not (isinstance(value, Real) and np.isfinite(value)):
        raise ValueError(
            f"parallax_zero_point must be a finite number (mas), got {given!r}; None is none"
        )
    return np.full(table.n_row, float(value)), {}


def lindegren(
    g: np.ndarray, nu_eff: np.ndarray, pseudocolour: np.ndarray, solved: np.ndarray,
    latitude: np.ndarray,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:  # fmt: skip
    """Zero points (N,) of Lindegren et al. 2021, mas, and which rows (N,) got a stand-in.

    The package gaiadr3-zeropoint has three answers to one star out of range: NaN from its wrapper
    for pandas, a number with a warning from arrays, and a TypeError from Python floats. It is
    given arrays of stars within its range alone: values out of it are moved to its end, where
    the formulas would extrapolate, and stars of which a value is missing get the median of
    quasars. Stars whose solution has two parameters have no parallax.
    """
    five, six = solved == _FIVE, solved == _SIX
    color = np.where(five, nu_eff, np.where(six, pseudocolour, np.nan))
    low, high = (
        np.where(five, _RANGES["nu_eff"][end], _RANGES["pseudocolour"][end]) for end in (0, 1)
    )
    complete = np.isfinite(g) & np.isfinite(color) & np.isfinite(latitude)
    at_g = np.clip(g, _RANGES["g"][0] + _INSIDE, _RANGES["g"][1] - _INSIDE)
    at_color = np.clip(color, low + _INSIDE, high - _INSIDE)
    moved = complete & ((at_g != g) | (at_color != color))
    zero = np.full(g.shape, QUASARS)
    if complete.any():
        here = complete
        zero[here] = _formulas()(
            at_g[here], at_color[here], at_color[here], latitude[here], solved[here].astype(int)
        )
    return zero, {"at the end of its range": moved, "of quasars": (five | six) & ~complete}


def _formulas() -> Any:
    """The function of gaiadr3-zeropoint, with its tables."""
    if find_spec("zero_point") is None:
        raise ImportError(
            "gaiadr3-zeropoint is not installed: pip install 'pymc-starpop[gaia]', or give "
            "parallax_zero_point a number (mas)"
        )
    from zero_point import zpt

    zpt.load_tables()
    return zpt.get_zpt
