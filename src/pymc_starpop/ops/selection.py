"""The normalization of magnitude limits as a PyTensor Op."""

from pytensor import tensor as pt
from pytensor.graph.basic import Apply
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key
from pytensor.tensor import TensorVariable

from pymc_starpop.kernels import quadrature
from pymc_starpop.kernels import selection as kernels
from pymc_starpop.ops._numba import KernelOp, kernel_inputs, source_version

# PyTensor's cache cannot see into the kernels.
KERNEL_VERSION = source_version(kernels, quadrature)

_NAMES = (
    "mag", "reddening", "weights", "tilts", "scatter", "av_scatter", "scale", "bright", "faint",
    "sigma_bright", "sigma_faint",
)  # fmt: skip


class SelectionIntegral(KernelOp):
    """Probability (1,) that a member passes the limits, with its derivatives.

    Inputs are mag (P,), reddening (P,) or (0,), weights and tilts (P - 1,), scatter, av_scatter,
    and what has no derivative: scale (P - 1,), bright, faint, sigma_bright, sigma_faint; see
    `pymc_starpop.kernels.selection`.
    """

    n_differentiable = 6

    def make_node(self, *inputs) -> Apply:
        """Check the inputs and make the node."""
        arguments = dict(zip(_NAMES, inputs, strict=True))
        variables = kernel_inputs(arguments, (1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0))
        scalar = pt.tensor(dtype="float64", shape=(1,)).type
        outputs = [scalar(), *[i.type() for i in variables[:4]], scalar(), scalar()]
        return Apply(self, variables, outputs)

    def infer_shape(self, node, shapes):
        """One number, and derivatives of the shapes of the inputs."""
        return [(1,), *shapes[:4], (1,), (1,)]

    def contract(self, cotangent, derivative, variable):
        """Scale the derivative."""
        product = cotangent[0] * derivative
        return product[0] if variable.type.ndim == 0 else product

    def kernel(self, *arrays):
        """Call the numba kernel."""
        return kernels.selection_integral_0d(*arrays)


@register_funcify_default_op_cache_key(SelectionIntegral)
def _numba_selection_integral(op, node, **kwargs):
    return kernels.selection_integral_0d, KERNEL_VERSION


_selection_integral = SelectionIntegral()


def selection_integral(
    mag, reddening, weights, tilts, scale, scatter, av_scatter, *, limits, errors
) -> TensorVariable:
    """Probability that a member of the cluster passes magnitude limits, differentiably.

    Parameters
    ----------
    mag, reddening : TensorVariable (P,)
        Magnitude in the band of the limits and its dm/dA_V; the latter (0,) where A_V is the
        same for all stars.
    weights, tilts, scale : TensorVariable (P - 1,)
        Integral of the mass function over each segment, its tilt, and 0 in `scale` where a
        segment is not part of the model.
    scatter, av_scatter : TensorVariable ()
        Standard deviations of the intrinsic scatter and of A_V, mag.
    limits, errors : (float, float)
        Bright and faint limit and the photometric errors there, mag.
    """
    inputs = (mag, reddening, weights, tilts, scatter, av_scatter, scale, *limits, *errors)
    return _selection_integral(*inputs)[0]
