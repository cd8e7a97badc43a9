"""The Poisson likelihood ratio of a Hess diagram as a PyTensor Op with second derivatives.

`PoissonLikelihoodRatio` returns the value with its gradient, so that a graph which asks for both
runs the kernel once; its pullback multiplies the gradient by the cotangent, and where a derivative
is differentiated again calls `LikelihoodRatioCurvature`. Where nothing uses the gradient a late
rewrite puts `LikelihoodRatioValue` in its place. Templates and data are inputs.
"""

from pytensor import tensor as pt
from pytensor.compile.mode import optdb
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply
from pytensor.graph.rewriting.basic import in2out, node_rewriter
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key
from pytensor.tensor import TensorVariable

from pymc_starpop.kernels import plr as kernels
from pymc_starpop.kernels import plr_vectors, simd
from pymc_starpop.ops._numba import NoSecondDerivative, PlainKernelOp, source_version

__all__ = ["PoissonLikelihoodRatio", "likelihood_ratio"]

# PyTensor's cache cannot see into the kernels.
KERNEL_VERSION = source_version(kernels, plr_vectors, simd)

# Inputs: r (N_age, N_mh), background (N_row,), packed, observed (N_row,), totals (N_age, N_mh).
_NDIMS = (2, 1, 3, 1, 2)
_N_DIFFERENTIABLE = 2
_N_CONSTANT = len(_NDIMS) - _N_DIFFERENTIABLE


def _checked(inputs):
    """Tensor variables of the right type; only the packed templates are in single precision."""
    variables = []
    for i, ndim in zip(inputs, _NDIMS, strict=True):
        variable = pt.as_tensor(i)
        if variable.type.ndim != ndim:
            raise ValueError(f"expected {ndim} dimension(s), got {variable.type.ndim} ({variable})")
        variables.append(variable.astype("float32" if ndim == 3 else "float64"))
    return variables


class _RatioOp(PlainKernelOp):
    """What value and gradient share: whether tiny coefficients may be left out."""

    __props__ = ("windowed",)  # type: ignore[assignment]

    def __init__(self, windowed=False):
        self.windowed = windowed


class PoissonLikelihoodRatio(_RatioOp):
    """ln PLR (1,) without the background's sum, d/dr (N_age, N_mh) and d/db (N_row,).

    Inputs are those of `pymc_starpop.kernels.plr`: r, background, packed, observed, totals.
    """

    default_output = 0

    def make_node(self, *inputs) -> Apply:
        """Check the inputs and make the node."""
        variables = _checked(inputs)
        value = pt.tensor(dtype="float64", shape=(1,))
        return Apply(self, variables, [value, *[v.type() for v in variables[:2]]])

    def infer_shape(self, node, shapes):
        """One number and the shapes of what the derivatives are taken by."""
        return [(1,), *shapes[:2]]

    def connection_pattern(self, node):
        """The data have no derivative."""
        differentiable = [[True] * 3] * _N_DIFFERENTIABLE
        return differentiable + [[False] * 3] * _N_CONSTANT

    def pullback(self, inputs, outputs, cotangents):
        """Multiply the gradient by the cotangent; add the curvature times those of the gradient."""
        r, background, packed, observed, _ = inputs
        value, *gradient = cotangents
        result = []
        if not isinstance(value.type, DisconnectedType):
            result.append([value[0] * derivative for derivative in outputs[1:]])
        if not all(isinstance(c.type, DisconnectedType) for c in gradient):
            direction = [
                pt.zeros_like(variable) if isinstance(c.type, DisconnectedType) else c
                for c, variable in zip(gradient, inputs[:2], strict=True)
            ]
            result.append(_curvature(r, background, packed, observed, *direction))
        constants = [disconnected_type() for _ in range(_N_CONSTANT)]
        if not result:
            return [disconnected_type() for _ in range(_N_DIFFERENTIABLE)] + constants
        return [sum(parts[1:], start=parts[0]) for parts in zip(*result, strict=True)] + constants

    def kernel(self, r, background, packed, observed, totals):
        """Call the numba kernel."""
        kernel = kernels.plr_windowed if self.windowed else kernels.plr_full
        return kernel(r, background, packed, observed, totals)


class LikelihoodRatioValue(NoSecondDerivative, _RatioOp):
    """The first output of `PoissonLikelihoodRatio` alone."""

    def make_node(self, *inputs) -> Apply:
        """Make the node."""
        return Apply(self, _checked(inputs), [pt.tensor(dtype="float64", shape=(1,))])

    def infer_shape(self, node, shapes):
        """One number."""
        return [(1,)]

    def kernel(self, r, background, packed, observed, totals):
        """Call the numba kernel."""
        kernel = kernels.plr_value_windowed if self.windowed else kernels.plr_value_full
        return (kernel(r, background, packed, observed, totals),)


class LikelihoodRatioCurvature(NoSecondDerivative, PlainKernelOp):
    """Second derivatives of ln PLR times a direction (v, u) in (r, background)."""

    def make_node(self, *inputs) -> Apply:
        """Inputs are r, background, packed, observed, v, u."""
        variables = [pt.as_tensor(i) for i in inputs]
        return Apply(self, variables, [v.type() for v in variables[:2]])

    def infer_shape(self, node, shapes):
        """Shapes of r and of the background."""
        return shapes[:2]

    def kernel(self, r, background, packed, observed, v, u):
        """Call the numba kernel."""
        return kernels.plr_curvature(r, background, packed, observed, v, u)


@register_funcify_default_op_cache_key(PoissonLikelihoodRatio)
def _numba_likelihood_ratio(op, node, **kwargs):
    return kernels.plr_windowed if op.windowed else kernels.plr_full, KERNEL_VERSION


@register_funcify_default_op_cache_key(LikelihoodRatioValue)
def _numba_likelihood_ratio_value(op, node, **kwargs):
    return kernels.plr_value_windowed if op.windowed else kernels.plr_value_full, KERNEL_VERSION


@register_funcify_default_op_cache_key(LikelihoodRatioCurvature)
def _numba_likelihood_ratio_curvature(op, node, **kwargs):
    return kernels.plr_curvature, KERNEL_VERSION


_curvature = LikelihoodRatioCurvature()


def likelihood_ratio(r, background, packed, observed, totals, *, windowed=False) -> TensorVariable:
    """Return ln PLR of a Hess diagram without the sum of the background, differentiably twice.

    Parameters
    ----------
    r : TensorVariable (N_age, N_mh)
        Coefficients, Msun.
    background : TensorVariable (N_row,)
        Expected stars of other origin in the bins that hold stars.
    packed, observed, totals : TensorVariable
        Templates and stars, see `pymc_starpop.kernels.plr`.
    windowed : bool
        Whether tiny coefficients of an age may be left out.
    """
    return PoissonLikelihoodRatio(windowed)(r, background, packed, observed, totals)[0]


@node_rewriter([PoissonLikelihoodRatio])
def drop_unused_gradient(fgraph, node):
    """Compute the value alone where nothing uses the gradient."""
    if any(fgraph.clients[output] for output in node.outputs[1:]):
        return None
    return {node.outputs[0]: LikelihoodRatioValue(node.op.windowed)(*node.inputs)}


# After the last merge of equal nodes (49), before in-place rewrites (50).
optdb.register(
    "starpop_drop_unused_gradient",
    in2out(drop_unused_gradient, ignore_newtrees=True, name="starpop_drop_unused_gradient"),
    "fast_run",
    "fast_compile",
    position=49.6,
)
