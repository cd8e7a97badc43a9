"""Interpolation of bolometric corrections as a PyTensor Op."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pytensor.graph.basic import Apply, Constant
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key
from pytensor.tensor import TensorVariable

from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.bolometric import BolometricTable
from pymc_starpop.kernels import interpolation, simd
from pymc_starpop.ops._linked import linked_kernel
from pymc_starpop.ops._numba import KernelOp, Shape, kernel_inputs, outputs_of, source_version
from pymc_starpop.ops._tables import shared_tables

KERNEL_VERSION = source_version(interpolation, simd)

_NAMES = (
    "log_teff", "log_g", "feh", "av", "teff_axis", "g_axis", "feh_axis", "table", "n_order",
)  # fmt: skip


class BolometricInterpolation(KernelOp):
    """Bolometric corrections at one A_V and their derivatives in it, ``(M, E, B)``.

    Inputs are log_teff (E,), log_g (E,), feh, av, teff_axis (T,), g_axis (G,), feh_axis (Fb,),
    table (Fb, T, G, B, P) and the number of orders M; outputs are value, d_teff, d_g, d_feh and
    d_av, see `pymc_starpop.kernels.interpolation.interpolate_reddened`.
    """

    n_differentiable = 4

    def make_node(self, *inputs: Any) -> Apply:
        """Check the inputs and make the node."""
        arguments = dict(zip(_NAMES, inputs, strict=True))
        variables = kernel_inputs(arguments, (1, 1, 0, 0, 1, 1, 1, 5, 0), integers=("n_order",))
        (n_node,), n_band = variables[0].type.shape, variables[7].type.shape[3]
        n_order = variables[8]
        known = int(n_order.data) if isinstance(n_order, Constant) else None
        return Apply(self, variables, outputs_of((known, n_node, n_band), 5))

    def infer_shape(self, node: Apply, shapes: list[Shape]) -> list[Shape]:
        """All outputs are (M, E, B)."""
        return [(node.inputs[8], shapes[0][0], shapes[7][3])] * 5

    def contract(
        self, cotangent: TensorVariable, derivative: TensorVariable, variable: TensorVariable
    ) -> TensorVariable:
        """Sum over orders and bands for each node, and over nodes too for [Fe/H] and A_V."""
        product = cotangent * derivative
        return product.sum() if variable.type.ndim == 0 else product.sum(axis=(0, 2))

    def kernel(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Call the numba kernel."""
        return interpolation.interpolate_reddened_0d(*arrays)


@register_funcify_default_op_cache_key(BolometricInterpolation)
def _numba_bolometric_interpolation(op: Op, node: Apply, **kwargs: Any) -> tuple[Any, int]:
    kernel = linked_kernel(interpolation.interpolate_reddened_0d, node, KERNEL_VERSION)
    return kernel, KERNEL_VERSION


_bolometric_interpolation = BolometricInterpolation()


def bolometric_corrections(
    grid: IsochroneGrid,
    bands: Sequence[str],
    log_teff: Any,
    log_g: Any,
    feh: Any,
    av: Any = 0.0,
    n_order: int = 1,
) -> TensorVariable:
    """Interpolate bolometric corrections with extinction, differentiably.

    At R_V = 3.1 and 0 <= A_V <= 4 mag. Outside the table of atmospheres the coordinates are
    clamped.

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
    av : float or TensorVariable
        A_V (mag), scalar.
    n_order : int
        1 for the corrections alone, 2 for these and their derivatives in A_V.

    Returns
    -------
    TensorVariable (n_order, E, B)
        BC (mag), and dBC/dA_V.

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
    >>> bolometric_corrections(iso, ["2MASS_J"], log_teff, log_g, 0.0, 0.3).type.shape
    (1, 808, 1)
    """
    return table_corrections(
        grid.bolometric(bands), grid.bolometric_fingerprint(bands), log_teff, log_g, feh, av,
        n_order,
    )  # fmt: skip


def table_corrections(
    table: BolometricTable, fingerprint: str, log_teff: Any, log_g: Any, feh: Any, av: Any,
    n_order: int,
) -> TensorVariable:  # fmt: skip
    """Interpolate one table, which the fingerprint and its bands identify."""
    tables = shared_tables(
        (fingerprint, "bolometric", *table.bands),
        ("bc_log_teff", "bc_log_g", "bc_feh", "bc"),
        lambda: (table.log_teff, table.log_g, table.feh, table.coefficients),
    )
    return _bolometric_interpolation(log_teff, log_g, feh, av, *tables, np.int64(n_order))
