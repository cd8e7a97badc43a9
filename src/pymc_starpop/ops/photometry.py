"""Absolute magnitudes along an isochrone as PyTensor expressions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pytensor.graph.basic import Constant, Variable

from pymc_starpop.isochrones import IsochroneGrid, magnitudes
from pymc_starpop.isochrones.bolometric import (
    TABLE_RV,
    BolometricPhotometry,
    content_hash,
    extinguished,
)
from pymc_starpop.isochrones.corrections import number_of, parts_of
from pymc_starpop.isochrones.magnitudes import (
    NUMPY_INTERPOLATION,
    AbsoluteTrack,
    Interpolation,
)
from pymc_starpop.ops._tables import shared_tables
from pymc_starpop.ops.bolometric import table_corrections
from pymc_starpop.ops.isochrone import isochrone_columns
from pymc_starpop.ops.namespace import TENSOR

__all__ = ["model_magnitudes"]


def _bolometric(
    part: BolometricPhotometry, bands: tuple[str, ...], log_teff: Any, log_g: Any, feh: Any,
    av: Any, n_order: int,
) -> tuple[Any, ...]:  # fmt: skip
    found = table_corrections(
        part.table(bands), part.fingerprint, log_teff, log_g, feh, av, n_order
    )
    return tuple(found[k] for k in range(n_order))


def _share(name: str, values: np.ndarray) -> Any:
    """A shared variable of an array, the same one for the same content.

    Not a constant: large ones are copied into what PyTensor compiles, which then serves no other
    isochrone.
    """
    values = np.ascontiguousarray(values)
    return shared_tables((name, content_hash(values)), [name], lambda: [values])[0]


def _fixed_bolometric(
    part: BolometricPhotometry, bands: tuple[str, ...], log_teff: Any, log_g: Any, feh: Any,
    av: Any, n_order: int,
) -> tuple[Any, ...]:  # fmt: skip
    known = part.table(bands).interpolate(
        np.ascontiguousarray(log_teff), np.ascontiguousarray(log_g), float(feh)
    )
    return extinguished(_share("bolometric", known), av)[:n_order]


def _fixed_columns(grid: IsochroneGrid, names: tuple[str, ...], feh: Any, log_age: Any) -> Any:
    return _share("nodes", NUMPY_INTERPOLATION.columns(grid, names, feh, log_age))


def _known(values: Sequence[Any]) -> bool:
    """Whether no value is an expression."""
    return not any(isinstance(v, Variable) and not isinstance(v, Constant) for v in values)


def _choose(node: tuple[Any, Any], corrections: Any) -> tuple[Interpolation, tuple[Any, Any], Any]:
    """Choose how to interpolate; constants become numbers where nothing is left to interpolate."""
    feh, log_age = node
    log_ages = log_age if isinstance(log_age, tuple) else (log_age,)
    if not _known([feh, *log_ages]):
        return _SYMBOLIC, node, corrections
    fixed = number_of(feh), tuple(number_of(age) for age in log_ages)
    parts = parts_of(corrections)
    moves = [part for part in parts if part.changes_theory]
    if not all(_known(list(part.parameters().values())) for part in moves):
        return _FIXED_NODES, fixed, corrections
    return _FIXED, fixed, tuple(part.with_parameters(_as_number) for part in parts)


def _as_number(name: str, value: Any) -> Any:
    """Return a constant as a number or an array, anything else as it is."""
    return value.data if isinstance(value, Constant) else value


_SYMBOLIC = Interpolation(isochrone_columns, _bolometric)
# No isochrone is interpolated when the likelihood is evaluated, or nothing at all.
_FIXED_NODES = Interpolation(_fixed_columns, _bolometric)
_FIXED = Interpolation(NUMPY_INTERPOLATION.columns, _fixed_bolometric, _share)


def model_magnitudes(
    grid: IsochroneGrid,
    bands: Sequence[str],
    node: tuple[Any, Any],
    extinction: tuple[Any, Any] = (0.0, TABLE_RV),
    corrections: Any = None,
    n_node: int | None = None,
    with_reddening: bool = True,
    with_teff_slope: bool = False,
) -> AbsoluteTrack:
    """Absolute magnitudes of single stars, differentiable in every parameter.

    Where [Fe/H], ages and corrections are numbers the isochrones are computed here, once. The NumPy
    twin is `pymc_starpop.isochrones.magnitudes.model_magnitudes`.

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
    corrections : Corrections or tuple of them, optional
        Those that change the theory only for bands that come from bolometric corrections.
    n_node : int, optional
        Leave out the nodes from this one on.
    with_reddening, with_teff_slope : bool
        Whether ``reddening`` and ``teff_slope`` are wanted.

    Returns
    -------
    AbsoluteTrack
        ``log10_mass`` (E,), ``log_teff`` (E,) or None, ``mag`` (E, B), and ``reddening`` and
        ``teff_slope`` (E, B) or None.

    Raises
    ------
    ValueError
        For unknown bands, for extinction in bands where it is not known, and for corrections or a
        ``teff_slope`` where magnitudes are tabulated.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> model_magnitudes(psp.load_isochrones(), ["2MASS_J"], (0.0, 9.6)).mag.type.shape
    (808, 1)
    """
    how, node, corrections = _choose(node, corrections)
    return magnitudes.model_magnitudes(
        grid, bands, node, extinction, corrections, n_node, with_reddening, with_teff_slope, how,
        TENSOR,
    )  # fmt: skip
