"""Absolute magnitudes along an isochrone as PyTensor expressions."""

from collections.abc import Sequence
from typing import Any

from pymc_starpop.isochrones import IsochroneGrid, magnitudes
from pymc_starpop.isochrones.bolometric import TABLE_RV, BolometricPhotometry
from pymc_starpop.isochrones.magnitudes import AbsoluteTrack, Interpolation
from pymc_starpop.ops.bolometric import table_coefficients
from pymc_starpop.ops.isochrone import isochrone_columns
from pymc_starpop.ops.namespace import TENSOR

__all__ = ["model_magnitudes"]


def _bolometric(
    part: BolometricPhotometry, bands: tuple[str, ...], log_teff: Any, log_g: Any, feh: Any
) -> Any:
    return table_coefficients(part.table(bands), part.fingerprint, log_teff, log_g, feh)


_SYMBOLIC = Interpolation(isochrone_columns, _bolometric)


def model_magnitudes(
    grid: IsochroneGrid,
    bands: Sequence[str],
    node: tuple[Any, Any],
    extinction: tuple[Any, Any] = (0.0, TABLE_RV),
    corrections: Any = None,
    n_node: int | None = None,
) -> AbsoluteTrack:
    """Absolute magnitudes of single stars, differentiable in every parameter.

    The NumPy twin is `pymc_starpop.isochrones.magnitudes.model_magnitudes`.

    Parameters
    ----------
    grid : IsochroneGrid
        With bolometric corrections, with magnitudes of its own, or with both.
    bands : sequence of str
        B bands, each once.
    node : tuple
        [Fe/H] (dex) and log10(age / yr), numbers or scalars; or a tuple of M ages, whose points
        then follow one another (M E in place of E).
    extinction : tuple
        A_V (mag) and R_V, numbers or scalars.
    corrections : EmpiricalCorrections, optional
        Only for bands that come from bolometric corrections.
    n_node : int, optional
        Leave out the nodes from this one on.

    Returns
    -------
    AbsoluteTrack
        ``log10_mass`` (E,), ``log_teff`` (E,) or None, ``mag`` and ``reddening`` (E, B).

    Raises
    ------
    ValueError
        For unknown bands, for extinction in bands where it is not known, and for corrections where
        magnitudes are tabulated.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> model_magnitudes(psp.load_isochrones(), ["2MASS_J"], (0.0, 9.6)).mag.type.shape
    (808, 1)
    """
    return magnitudes.model_magnitudes(
        grid, bands, node, extinction, corrections, n_node, _SYMBOLIC, TENSOR
    )
