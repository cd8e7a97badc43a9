"""Interpolation of isochrones as a PyTensor Op."""

from typing import Any

import numpy as np
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key
from pytensor.tensor import TensorVariable

from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.source import THEORY
from pymc_starpop.kernels import interpolation, simd
from pymc_starpop.ops._linked import linked_kernel
from pymc_starpop.ops._numba import KernelOp, Shape, kernel_inputs, outputs_of, source_version
from pymc_starpop.ops._tables import shared_tables

KERNEL_VERSION = source_version(interpolation, simd)


class IsochroneInterpolation(KernelOp):
    """Theory at fixed EEP, ``(4, E)``, with its derivatives in [Fe/H] and log age.

    Inputs are feh, log_age, feh_axis (F,), age_axis (A,) and table (F, A, E, 4); outputs are value,
    d_feh and d_age, see `pymc_starpop.kernels.interpolation.interpolate_theory`.
    """

    n_differentiable = 2

    def make_node(self, feh: Any, log_age: Any, feh_axis: Any, age_axis: Any, table: Any) -> Apply:
        """Check the inputs and make the node."""
        arguments = {
            "feh": feh,
            "log_age": log_age,
            "feh_axis": feh_axis,
            "age_axis": age_axis,
            "table": table,
        }
        inputs = kernel_inputs(arguments, (0, 0, 1, 1, 4))
        n_node, n_quantity = inputs[4].type.shape[2:]
        return Apply(self, inputs, outputs_of((n_quantity, n_node), 3))

    def infer_shape(self, node: Apply, shapes: list[Shape]) -> list[Shape]:
        """All outputs are (Q, E)."""
        return [(shapes[4][3], shapes[4][2])] * 3

    def kernel(
        self,
        feh: np.ndarray,
        log_age: np.ndarray,
        feh_axis: np.ndarray,
        age_axis: np.ndarray,
        table: np.ndarray,
    ) -> tuple[np.ndarray, ...]:
        """Call the numba kernel."""
        return interpolation.interpolate_theory(
            feh.item(), log_age.item(), feh_axis, age_axis, table
        )


@register_funcify_default_op_cache_key(IsochroneInterpolation)
def _numba_isochrone_interpolation(op: Op, node: Apply, **kwargs: Any) -> tuple[Any, int]:
    return linked_kernel(interpolation.interpolate_theory_0d, node, KERNEL_VERSION), KERNEL_VERSION


_isochrone_interpolation = IsochroneInterpolation()


def isochrone_theory(
    grid: IsochroneGrid, feh: Any, log_age: Any
) -> tuple[TensorVariable, TensorVariable, TensorVariable, TensorVariable]:
    """Interpolate an isochrone at the grid's EEP nodes, differentiably.

    Outside the grid the coordinates are clamped, so that numbers stay finite: whoever builds a
    log-density sets it to -inf there.

    Parameters
    ----------
    grid : IsochroneGrid
        The isochrones.
    feh : float or TensorVariable
        [Fe/H] (dex), scalar.
    log_age : float or TensorVariable
        log10(age / yr), scalar.

    Returns
    -------
    log10_mass, log_teff, log_g, log_l : TensorVariable (E,)
        log10 of initial mass (Msun), T_eff (K), surface gravity (cgs), luminosity (Lsun).

    Raises
    ------
    ValueError
        If feh or log_age is not a scalar.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> log10_mass, *_ = isochrone_theory(psp.load_isochrones(), 0.0, 9.6)
    >>> log10_mass.type.shape
    (808,)
    """
    value = isochrone_columns(grid, THEORY, feh, log_age)
    return value[0], value[1], value[2], value[3]


def isochrone_columns(
    grid: IsochroneGrid, columns: tuple[str, ...], feh: Any, log_age: Any
) -> TensorVariable:
    """Interpolate columns of the grid at its EEP nodes, differentiably.

    Parameters
    ----------
    grid : IsochroneGrid
        The isochrones.
    columns : tuple of str
        Of log10_mass, log_teff, log_g and log_l, then bands that the library tabulates.
    feh, log_age : float or TensorVariable
        [Fe/H] (dex) and log10(age / yr), scalar.

    Returns
    -------
    TensorVariable (Q, E)

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> isochrone_columns(psp.load_isochrones(), ("log10_mass", "log_teff"), 0.0, 9.6).type.shape
    (2, 808)
    """
    tables = shared_tables(
        (grid.fingerprint, "columns", *columns),
        ("feh", "log_age", "theory"),
        lambda: grid.column_arrays(columns),
    )
    return _isochrone_interpolation(feh, log_age, *tables)
