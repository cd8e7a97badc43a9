"""Interpolation of bolometric corrections as a PyTensor Op."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key
from pytensor.tensor import TensorVariable

from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.bolometric import BolometricTable
from pymc_starpop.kernels import interpolation
from pymc_starpop.ops._linked import linked_kernel
from pymc_starpop.ops._numba import KernelOp, Shape, kernel_inputs, outputs_of, source_version
from pymc_starpop.ops._tables import shared_tables

KERNEL_VERSION = source_version(interpolation)


class BolometricInterpolation(KernelOp):
    """Coefficients of bolometric corrections, ``(E, B, P)``, with three derivatives.

    Inputs are log_teff (E,), log_g (E,), feh, teff_axis (T,), g_axis (G,), feh_axis (Fb,) and table
    (Fb, T, G, B, P); outputs are value, d_teff, d_g and d_feh, see
    `pymc_starpop.kernels.interpolation.interpolate_bolometric`.
    """

    n_differentiable = 3

    def make_node(
        self,
        log_teff: Any,
        log_g: Any,
        feh: Any,
        teff_axis: Any,
        g_axis: Any,
        feh_axis: Any,
        table: Any,
    ) -> Apply:
        """Check the inputs and make the node."""
        arguments = {
            "log_teff": log_teff,
            "log_g": log_g,
            "feh": feh,
            "teff_axis": teff_axis,
            "g_axis": g_axis,
            "feh_axis": feh_axis,
            "table": table,
        }
        inputs = kernel_inputs(arguments, (1, 1, 0, 1, 1, 1, 5))
        (n_node,) = inputs[0].type.shape
        return Apply(self, inputs, outputs_of((n_node, *inputs[6].type.shape[3:]), 4))

    def infer_shape(self, node: Apply, shapes: list[Shape]) -> list[Shape]:
        """All outputs are (E, B, P)."""
        return [(shapes[0][0], shapes[6][3], shapes[6][4])] * 4

    def contract(
        self, cotangent: TensorVariable, derivative: TensorVariable, variable: TensorVariable
    ) -> TensorVariable:
        """Sum over bands and powers for each node, and over nodes too for [Fe/H]."""
        product = cotangent * derivative
        return product.sum() if variable.type.ndim == 0 else product.sum(axis=(1, 2))

    def kernel(
        self,
        log_teff: np.ndarray,
        log_g: np.ndarray,
        feh: np.ndarray,
        teff_axis: np.ndarray,
        g_axis: np.ndarray,
        feh_axis: np.ndarray,
        table: np.ndarray,
    ) -> tuple[np.ndarray, ...]:
        """Call the numba kernel."""
        return interpolation.interpolate_bolometric(
            log_teff, log_g, feh.item(), teff_axis, g_axis, feh_axis, table
        )


@register_funcify_default_op_cache_key(BolometricInterpolation)
def _numba_bolometric_interpolation(op: Op, node: Apply, **kwargs: Any) -> tuple[Any, int]:
    return linked_kernel(
        interpolation.interpolate_bolometric_0d, node, KERNEL_VERSION
    ), KERNEL_VERSION


_bolometric_interpolation = BolometricInterpolation()


def bolometric_coefficients(
    grid: IsochroneGrid, bands: Sequence[str], log_teff: Any, log_g: Any, feh: Any
) -> TensorVariable:
    """Interpolate the A_V polynomials of bolometric corrections, differentiably.

    ``BC(A_V) = sum_p c[..., p] A_V**p`` at R_V = 3.1, 0 <= A_V <= 4 mag. Outside the table of
    atmospheres the coordinates are clamped.

    Parameters
    ----------
    grid : IsochroneGrid
        The isochrones whose photometry to use.
    bands : sequence of str
        B band names, each once.
    log_teff : TensorVariable (E,)
        log10(T_eff / K).
    log_g : TensorVariable (E,)
        log10 surface gravity (cgs).
    feh : float or TensorVariable
        [Fe/H] (dex), scalar.

    Returns
    -------
    TensorVariable (E, B, 4)
        Coefficients c.

    Raises
    ------
    ValueError
        For unknown or repeated bands and wrong dimensions.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> iso = psp.load_isochrones()
    >>> from pymc_starpop.ops.isochrone import isochrone_theory
    >>> _, log_teff, log_g, _ = isochrone_theory(iso, 0.0, 9.6)
    >>> bolometric_coefficients(iso, ["2MASS_J"], log_teff, log_g, 0.0).type.shape
    (808, 1, 4)
    """
    return table_coefficients(
        grid.bolometric(bands), grid.bolometric_fingerprint(bands), log_teff, log_g, feh
    )


def table_coefficients(
    table: BolometricTable, fingerprint: str, log_teff: Any, log_g: Any, feh: Any
) -> TensorVariable:
    """Interpolate the polynomials of one table, which the fingerprint and its bands identify."""
    tables = shared_tables(
        (fingerprint, "bolometric", *table.bands),
        ("bc_log_teff", "bc_log_g", "bc_feh", "bc"),
        lambda: (table.log_teff, table.log_g, table.feh, table.coefficients),
    )
    return _bolometric_interpolation(log_teff, log_g, feh, *tables)
