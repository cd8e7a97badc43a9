"""A prior on corrections of magnitudes, as wide as isochrones of different authors differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
from pytensor.graph.basic import Constant, Variable

from pymc_starpop.cluster.checks import number_of
from pymc_starpop.field.given import without_constant
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.magnitude_corrections import MagnitudeCorrections
from pymc_starpop.isochrones.sequence_knots import SequenceKnots

__all__ = ["correction_prior", "correction_sigma"]

# Root mean square differences of magnitudes (mag) at equal mass and age between MIST v2.5 and
# PARSEC v1.2S (tables of `uwastro465isos` 0.1.0 in UBVRIJHK; [M/H] -1, -0.5 and 0; log ages 7.5 to
# 10; giants at equal gravity), times 0.7 for the mean over both and BaSTI-IAC, whose isochrone of
# 3 Gyr in the bands of Gaia is nearer by that. Columns: B, V, R, I, J, Ks.
_WAVELENGTH = np.array([0.44, 0.55, 0.65, 0.79, 1.24, 2.16])
_DWARFS = {
    3.50: (0.85, 0.76, 0.53, 0.34, 0.14, 0.15),
    3.55: (0.43, 0.37, 0.26, 0.13, 0.08, 0.10),
    3.60: (0.26, 0.22, 0.14, 0.06, 0.04, 0.06),
    3.66: (0.08, 0.07, 0.03, 0.03, 0.03, 0.03),
    3.74: (0.04, 0.03, 0.03, 0.03, 0.03, 0.03),
    3.88: (0.04, 0.04, 0.03, 0.04, 0.04, 0.05),
    4.10: (0.06, 0.06, 0.06, 0.06, 0.06, 0.06),
}
_GIANTS = {
    3.58: (0.27, 0.32, 0.22, 0.09, 0.04, 0.06),
    3.62: (0.17, 0.13, 0.08, 0.05, 0.04, 0.04),
    3.66: (0.09, 0.08, 0.04, 0.03, 0.03, 0.03),
    3.72: (0.05, 0.05, 0.03, 0.03, 0.03, 0.03),
}


def correction_sigma(
    iso: IsochroneGrid, bands: Sequence[str], knots: SequenceKnots | None = None
) -> np.ndarray:
    """By how much isochrones of different authors differ, (B, K) in mag.

    Parameters
    ----------
    iso : IsochroneGrid
        Knows the effective wavelengths of the bands.
    bands : sequence of str
        B bands.
    knots : SequenceKnots, optional
        K knots.

    Raises
    ------
    ValueError
        For no isochrones, unknown bands and bands without a wavelength.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> correction_sigma(psp.load_isochrones(), ["2MASS_Ks"]).shape
    (1, 12)
    """
    bands, knots = _checked(bands, knots)
    if not isinstance(iso, IsochroneGrid):
        raise ValueError(
            f"iso must be an IsochroneGrid, whose bands have wavelengths, got {type(iso).__name__};"
            " give one such as psp.load_isochrones(), of a mapping any that has all bands, or sigma"
        )
    wavelength = iso.effective_wavelength(bands)
    unknown = [band for band, x in zip(bands, wavelength, strict=True) if not np.isfinite(x)]
    if unknown:
        raise ValueError(
            f"the wavelength of {', '.join(unknown)} is not known, by which the width of the prior "
            "goes; give sigma, or iso.with_extinction(wavelength={...}) (micron), for bolometric "
            "corrections of your own iso.with_bolometric(..., wavelength={...})"
        )
    n_dwarf, n_evolved = len(knots.dwarfs), len(knots.turn_off)
    tables = [_DWARFS] * (n_dwarf + n_evolved) + [_GIANTS] * len(knots.giants)
    columns = [_interpolated(t, x, wavelength) for t, x in zip(tables, knots.log_teff, strict=True)]
    return np.stack(columns, axis=1)


def _checked(
    bands: Sequence[str], knots: SequenceKnots | None
) -> tuple[tuple[str, ...], SequenceKnots]:
    """Return bands and knots as corrections take them."""
    given: Any = bands
    without = MagnitudeCorrections(0.0, given, SequenceKnots() if knots is None else knots)
    return without.bands, without.knots


def _interpolated(
    table: Mapping[float, Sequence[float]], log_teff: float, wavelength: np.ndarray
) -> np.ndarray:
    """Values (B,) of a table at a temperature, linear in both logarithms, constant beyond it."""
    rows = np.array(list(table.values()))
    row = [np.interp(log_teff, list(table), column) for column in rows.T]
    return np.interp(np.log(wavelength), np.log(_WAVELENGTH), row)


def correction_prior(
    name: str,
    iso: IsochroneGrid,
    bands: Sequence[str],
    knots: SequenceKnots | None = None,
    *,
    sigma: Any = None,
    deviation: Any = None,
) -> MagnitudeCorrections:
    """Add corrections of magnitudes with a Gaussian prior to the model on the context stack.

    The coefficients are N(0, sigma^2), independent, in the variable ``name`` with the dimensions
    ``{name}_band`` and ``{name}_knot``, whose coordinates are added to the model.

    Parameters
    ----------
    name : str
        Name of the variable.
    iso : IsochroneGrid
        Only needed for the default of `sigma`.
    bands : sequence of str
        B bands, such as ``cat.model_bands``.
    knots : SequenceKnots, optional
        K knots along the sequence, by default 12.
    sigma : float, array (B, K) or PyTensor variable, optional
        Width, mag; by default what isochrones of different authors differ by
        (`correction_sigma`).
    deviation : float or PyTensor variable, optional
        For several clusters: the width (mag) by which those of each cluster deviate from what all
        share. ``{name}_deviation`` with the dimension ``cluster`` of the model holds them in units
        of it, and ``{name}_cluster`` (cluster, band, knot) the sum.

    Returns
    -------
    MagnitudeCorrections
        For ``corrections=`` of the likelihoods.

    Raises
    ------
    ValueError
        For bands without a wavelength where `sigma` is not given, a deviation in a model without
        the coordinate ``cluster``, and widths that are not positive or of another shape.

    Examples
    --------
    >>> import pymc as pm
    >>> import pymc_starpop as psp
    >>> iso, cat = psp.load_isochrones(), psp.load_example("ruprecht147")
    >>> with pm.Model(coords=cat.coords()):
    ...     corrections = psp.correction_prior("offset", iso, cat.model_bands)
    >>> corrections.bands[0]
    'Gaia_G_EDR3'
    """
    model = pm.modelcontext(None)
    bands, knots = _checked(bands, knots)
    shape = (len(bands), len(knots))
    width = correction_sigma(iso, bands, knots) if sigma is None else _width("sigma", sigma, shape)
    if deviation is not None:
        deviation = _width("deviation", deviation, ())
        if "cluster" not in model.coords:
            raise ValueError(
                "deviation: the model has no coordinate 'cluster'; build it with "
                "coords=cats.coords() of a stack, or leave deviation out"
            )
    dims = (f"{name}_band", f"{name}_knot")
    model.add_coord(dims[0], list(bands))
    model.add_coord(dims[1], list(knots.labels))
    shared = pm.Normal(name, 0.0, width, dims=dims)
    if deviation is None:
        return MagnitudeCorrections(shared, bands, knots)
    by_cluster = ("cluster", *dims)
    own = pm.Normal(f"{name}_deviation", 0.0, 1.0, dims=by_cluster)
    of_cluster = pm.Deterministic(f"{name}_cluster", shared + deviation * own, dims=by_cluster)
    return MagnitudeCorrections(of_cluster, bands, knots)


def _width(name: str, value: Any, shape: tuple[int, ...]) -> Any:
    """Return a width, which is one number or has a shape, and is positive."""
    is_symbolic = isinstance(value, Variable) and not isinstance(value, Constant)
    given: Any = value if is_symbolic else number_of(name, without_constant(value))
    found = given.type.shape if is_symbolic else given.shape
    fits = len(found) == len(shape) and all(
        n in (None, length) for n, length in zip(found, shape, strict=True)
    )
    if found and not fits:
        or_else = f", or numbers of the shape {shape} (band, knot)" if shape else ""
        raise ValueError(
            f"{name} has the shape {found}, expected one number{or_else}; give one of these"
        )
    if not is_symbolic and not np.all((given > 0.0) & np.isfinite(given)):
        raise ValueError(
            f"{name} must be positive and finite (mag), got {value!r}; give a width, or leave "
            f"{name} out"
        )
    return given
