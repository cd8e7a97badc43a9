"""The normalization of magnitude limits as a PyTensor Op."""

from pytensor import tensor as pt
from pytensor.graph.basic import Apply
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key
from pytensor.tensor import TensorVariable

from pymc_starpop.kernels import quadrature
from pymc_starpop.kernels import selection as kernels
from pymc_starpop.ops._linked import linked_kernel
from pymc_starpop.ops._numba import KernelOp, kernel_inputs, source_version

# PyTensor's cache cannot see into the kernels.
KERNEL_VERSION = source_version(kernels, quadrature)

_NAMES = (
    "mag", "weights", "tilts", "variance", "scale", "bright", "faint", "sigma_bright",
    "sigma_faint",
)  # fmt: skip


class SelectionIntegral(KernelOp):
    """Probability (1,) that a member passes the limits, with its derivatives.

    Inputs are mag (P,), weights, tilts and variance (P - 1,), and what has no derivative: scale
    (P - 1,), bright, faint, sigma_bright, sigma_faint; see `pymc_starpop.kernels.selection`.
    """

    n_differentiable = 4

    def make_node(self, *inputs) -> Apply:
        """Check the inputs and make the node."""
        arguments = dict(zip(_NAMES, inputs, strict=True))
        variables = kernel_inputs(arguments, (1, 1, 1, 1, 1, 0, 0, 0, 0))
        value = pt.tensor(dtype="float64", shape=(1,))
        return Apply(self, variables, [value, *[i.type() for i in variables[:4]]])

    def infer_shape(self, node, shapes):
        """One number, and derivatives of the shapes of the inputs."""
        return [(1,), *shapes[:4]]

    def contract(self, cotangent, derivative, variable):
        """Scale the derivative."""
        return cotangent[0] * derivative

    def kernel(self, *arrays):
        """Call the numba kernel."""
        return kernels.selection_integral_0d(*arrays)


@register_funcify_default_op_cache_key(SelectionIntegral)
def _numba_selection_integral(op, node, **kwargs):
    return linked_kernel(kernels.selection_integral_0d, node, KERNEL_VERSION), KERNEL_VERSION


_selection_integral = SelectionIntegral()


def selection_integral(mag, weights, tilts, scale, variance, *, limits, errors) -> TensorVariable:
    """Probability that a member of the cluster passes magnitude limits, differentiably.

    Parameters
    ----------
    mag : TensorVariable (P,)
        Magnitude in the band of the limits.
    weights, tilts, scale : TensorVariable (P - 1,)
        Integral of the mass function over each segment, its tilt, and 0 in `scale` where a
        segment is not part of the model.
    variance : TensorVariable (P - 1,)
        What is added to the squared errors at the limits, mag^2: intrinsic scatter, and whatever
        else makes the magnitudes of equal stars differ.
    limits, errors : (float, float)
        Bright and faint limit and the photometric errors there, mag.
    """
    inputs = (mag, weights, tilts, variance, scale, *limits, *errors)
    return _selection_integral(*inputs)[0]
