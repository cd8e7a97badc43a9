"""The Poisson log-likelihood of every bin of a Hess diagram as a PyTensor Op.

`BinLogLikelihood` is what leave-one-out comparison needs and reads all templates. A model asks for
its sum: a rewrite, done before gradients are taken, replaces the sum over all bins by the
likelihood ratio of `ops.hess`, which reads only the bins that hold stars. The pullback does so
where its cotangent is one number for all bins, too. Everything else goes over all bins.
"""

from typing import NamedTuple

from pytensor import tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type, grad
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.rewriting.basic import copy_stack_trace, node_rewriter
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key
from pytensor.scalar.basic import Second
from pytensor.tensor import TensorVariable
from pytensor.tensor.basic import Alloc
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.math import Sum
from pytensor.tensor.rewriting.basic import register_canonicalize
from pytensor.tensor.shape import Reshape

from pymc_starpop.kernels import hess_bins as kernels
from pymc_starpop.ops._numba import PlainKernelOp, source_version
from pymc_starpop.ops.hess import likelihood_ratio

__all__ = ["BinLogLikelihood", "HessInputs", "sum_of_bins"]

# PyTensor's cache cannot see into the kernels.
KERNEL_VERSION = source_version(kernels)


class HessInputs(NamedTuple):
    """Templates and stars as variables.

    Attributes
    ----------
    templates : (N_age * N_mh, N_bin) stars per Msun
    all_observed : (N_bin,) stars, 0 in masked bins
    counted : (N_bin,) bool, which bins count
    log_factorial : (N_bin,) ln Gamma(n + 1)
    packed, observed, totals : the bins that hold stars, see `pymc_starpop.kernels.plr`
    bins : (N_row,) int64, which bins these are
    constant : () sum over bins of the log-likelihood minus ln PLR
    """

    templates: Variable
    all_observed: Variable
    counted: Variable
    log_factorial: Variable
    packed: Variable
    observed: Variable
    totals: Variable
    bins: Variable
    constant: Variable


def sum_of_bins(r, background, data: HessInputs, *, windowed=False) -> TensorVariable:
    """Return ln PLR from the bins with stars; the log-likelihood is this and `data.constant`.

    Parameters
    ----------
    r : TensorVariable (N_age, N_mh)
        Coefficients, Msun.
    background : TensorVariable (N_bin,) or None
        Expected stars of other origin; where negative in a bin that counts, the result is -inf.
    data : HessInputs
    windowed : bool
        Whether tiny coefficients of an age may be left out.
    """
    arguments = (data.packed, data.observed, data.totals)
    if background is None or (isinstance(background, Constant) and not background.data.any()):
        rows = pt.zeros_like(data.observed)
        return likelihood_ratio(r, rows, *arguments, windowed=windowed)
    counted = pt.switch(data.counted, background, 0.0)
    value = likelihood_ratio(r, background[data.bins], *arguments, windowed=windowed)
    return pt.switch(pt.all(counted >= 0.0), value - pt.sum(counted), -float("inf"))


class BinLogLikelihood(PlainKernelOp):
    """Poisson log-likelihood (N_bin,); inputs r, background (N_bin,) and those of `HessInputs`."""

    __props__ = ("windowed",)  # type: ignore[assignment]

    def __init__(self, windowed=False):
        self.windowed = windowed

    def make_node(self, r, background, *data) -> Apply:
        """Make the node."""
        variables = [pt.as_tensor(i) for i in (r, background, *HessInputs(*data))]
        if [v.type.ndim for v in variables[:2]] != [2, 1]:
            raise ValueError(
                f"expected r (N_age, N_mh) and background (N_bin,), got {variables[:2]}"
            )
        output = pt.tensor(dtype="float64", shape=HessInputs(*variables[2:]).counted.type.shape)
        return Apply(self, variables, [output])

    def infer_shape(self, node, shapes):
        """One number a bin."""
        return [HessInputs(*shapes[2:]).counted]

    def connection_pattern(self, node):
        """The data have no derivative."""
        return [[True], [True]] + [[False]] * len(HessInputs._fields)

    def pullback(self, inputs, outputs, cotangents):
        """Take the gradient of the sum where the cotangent is one number, of all bins elsewhere."""
        (cotangent,) = cotangents
        if isinstance(cotangent.type, DisconnectedType):
            return [disconnected_type() for _ in inputs]
        r, background, *data = inputs
        data = HessInputs(*data)
        same = _one_number(cotangent)
        if same is None:
            gradient = BinPullback()(r, background, *data[:3], cotangent)
        else:
            total = sum_of_bins(r, background, data, windowed=self.windowed)
            gradient = [
                same * g for g in grad(total, [r, background], disconnected_inputs="ignore")
            ]
        return [*gradient, *[disconnected_type() for _ in data]]

    def kernel(self, r, background, *data):
        """Call the numba kernel."""
        return (kernels.bin_log_likelihood_op(r, background, *data),)


class BinPullback(PlainKernelOp):
    """Gradient of sum_i c_i ln L_i.

    Inputs are r, background, templates, observed, counted and the cotangent c (N_bin,).
    """

    def make_node(self, *inputs) -> Apply:
        """Make the node."""
        variables = [pt.as_tensor(i) for i in inputs]
        return Apply(self, variables, [variables[0].type(), variables[1].type()])

    def infer_shape(self, node, shapes):
        """Shapes of what the derivatives are taken by."""
        return shapes[:2]

    def connection_pattern(self, node):
        """The data have no derivative."""
        return [[True, True]] * 2 + [[False, False]] * 3 + [[True, True]]

    def pullback(self, inputs, outputs, cotangents):
        """Differentiate sum_i c_i (n_i/m_i - 1) dm_i with dm = C v + u in plain PyTensor."""
        r, background, templates, observed, counted, cotangent = inputs
        v, u = (
            pt.zeros_like(x) if isinstance(c.type, DisconnectedType) else c
            for c, x in zip(cotangents, (r, background), strict=True)
        )
        expected = pt.dot(r.ravel(), templates) + background
        change = pt.switch(counted, pt.dot(v.ravel(), templates) + u, 0.0)
        positive = expected > 0.0
        ratio = pt.switch(positive, observed / pt.switch(positive, expected, 1.0), 0.0)
        curvature = -cotangent * ratio / pt.switch(positive, expected, 1.0) * change
        d_r = pt.dot(templates, curvature).reshape(r.shape)
        constants = [disconnected_type() for _ in range(3)]
        return [d_r, curvature, *constants, (ratio - 1.0) * change]

    def kernel(self, *arrays):
        """Call the numba kernel."""
        return kernels.bin_pullback(*arrays)


@register_funcify_default_op_cache_key(BinLogLikelihood)
def _numba_bin_log_likelihood(op, node, **kwargs):
    return kernels.bin_log_likelihood_op, KERNEL_VERSION


@register_funcify_default_op_cache_key(BinPullback)
def _numba_bin_pullback(op, node, **kwargs):
    return kernels.bin_pullback, KERNEL_VERSION


def _one_number(variable):
    """The scalar that all elements of a tensor are, where the graph shows it; or None."""
    if all(variable.type.broadcastable):
        return variable.reshape(())
    if variable.owner is None:
        return None
    op, inputs = variable.owner.op, variable.owner.inputs
    if isinstance(op, Elemwise) and isinstance(op.scalar_op, Second):
        return _one_number(inputs[1])
    if isinstance(op, DimShuffle | Reshape | Alloc):
        return _one_number(inputs[0])
    return None


@register_canonicalize("starpop_sum_of_bins")
@node_rewriter([Sum])
def sum_bins_by_rows(fgraph, node):
    """Replace the sum over all bins of a diagram by its likelihood ratio and a constant."""
    (summed,) = node.inputs
    # The distribution gives its bins the shape of the diagram.
    while summed.owner is not None and isinstance(summed.owner.op, Reshape | DimShuffle):
        summed = summed.owner.inputs[0]
    if summed.owner is None or not isinstance(summed.owner.op, BinLogLikelihood):
        return None
    if node.outputs[0].type.ndim != 0:
        return None
    r, background, *inputs = summed.owner.inputs
    data = HessInputs(*inputs)
    total = sum_of_bins(r, background, data, windowed=summed.owner.op.windowed) + data.constant
    copy_stack_trace(node.outputs[0], total)
    return [total]
