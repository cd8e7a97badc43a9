"""The cluster likelihood as a PyTensor Op whose value and gradient are one evaluation.

`ClusterLikelihood` gives the value and `ClusterGradient` what its pullback needs. Where a graph
asks for both, a late rewrite (`_merge`) puts `ClusterValueAndGradient` in the place of the pair. It
may do so only where the cotangent does not depend on the value: for sums over stars, plain or
weighted, not for, say, the log of a sum of two such likelihoods, where both Ops stay.
"""

from pytensor import tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key
from pytensor.tensor import TensorVariable

from pymc_starpop.kernels import (
    blocks,
    capsules,
    pair_vectors,
    quadrature,
    scan,
    segment,
    simd,
    star_room,
    star_vectors,
    tile_vectors,
    tiles,
    track_model,
)
from pymc_starpop.kernels import cluster as kernels
from pymc_starpop.ops._linked import linked_kernel
from pymc_starpop.ops._merge import MergedOp
from pymc_starpop.ops._numba import (
    NoSecondDerivative,
    PlainKernelOp,
    kernel_inputs,
    source_version,
)

# PyTensor's cache cannot see into the kernels.
KERNEL_VERSION = source_version(
    blocks, capsules, kernels, pair_vectors, quadrature, scan, segment, simd, star_room,
    star_vectors, tile_vectors, tiles, track_model,
)  # fmt: skip

_NAMES = (
    "mag", "variance", "tracks", "directions", "weights", "tilts", "scale", "starts", "spread",
    "offset", "member", "log_member", "log_field",
)  # fmt: skip
_NDIMS = (2, 2, 2, 3, 1, 1, 1, 1, 1, 2, 1, 1, 1)
# The scale of the pruning and where tracks start have no derivative.
_DIFFERENTIABLE = (0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12)
_INTEGERS = ("starts",)
_N_INPUT = len(_NAMES)


class ClusterLikelihood(PlainKernelOp):
    """Log-likelihood of each star (N,); for the inputs see `pymc_starpop.kernels.cluster`."""

    def make_node(self, *inputs) -> Apply:
        """Check the inputs and make the node."""
        arguments = dict(zip(_NAMES, inputs, strict=True))
        variables = kernel_inputs(arguments, _NDIMS, integers=_INTEGERS)
        return Apply(
            self, variables, [pt.tensor(dtype="float64", shape=variables[0].type.shape[:1])]
        )

    def infer_shape(self, node, shapes):
        """One number a star."""
        return [(shapes[0][0],)]

    def connection_pattern(self, node):
        """The scale of the pruning and where tracks start have no derivative."""
        return [[i in _DIFFERENTIABLE] for i in range(_N_INPUT)]

    def pullback(self, inputs, outputs, cotangents):
        """Make the gradient node, which the rewrite below merges with this one."""
        (cotangent,) = cotangents
        result = [disconnected_type() for _ in inputs]
        if not isinstance(cotangent.type, DisconnectedType):
            for i, gradient in zip(
                _DIFFERENTIABLE, _cluster_gradient(*inputs, cotangent), strict=True
            ):
                result[i] = gradient
        return result

    def kernel(self, *arrays):
        """Call the numba kernel."""
        return (kernels.cluster_value_0d(*arrays),)


class ClusterGradient(NoSecondDerivative, PlainKernelOp, MergedOp):
    """Gradient of sum_i cotangent_i log L_i; inputs of `ClusterLikelihood` and cotangent (N,)."""

    def value_op(self):
        """Return the Op of the likelihood alone."""
        return _cluster_likelihood

    def both_op(self):
        """Return the Op of both."""
        return _cluster_value_and_gradient

    def make_node(self, *inputs) -> Apply:
        """Make the node."""
        variables = [pt.as_tensor(i) for i in inputs]
        return Apply(self, variables, [variables[i].type() for i in _DIFFERENTIABLE])

    def infer_shape(self, node, shapes):
        """Shapes of what the derivatives are taken by."""
        return [shapes[i] for i in _DIFFERENTIABLE]

    def kernel(self, *arrays):
        """Call the numba kernel."""
        return kernels.cluster_gradient_0d(*arrays)


class ClusterValueAndGradient(NoSecondDerivative, PlainKernelOp):
    """Outputs of `ClusterLikelihood` and of `ClusterGradient` from one pass over the stars."""

    def make_node(self, *inputs) -> Apply:
        """Make the node."""
        variables = [pt.as_tensor(i) for i in inputs]
        value = pt.tensor(dtype="float64", shape=variables[0].type.shape[:1])
        gradient = [variables[i].type() for i in _DIFFERENTIABLE]
        return Apply(self, variables, [value, *gradient])

    def infer_shape(self, node, shapes):
        """One number a star, and the shapes of what the derivatives are taken by."""
        return [(shapes[0][0],), *[shapes[i] for i in _DIFFERENTIABLE]]

    def kernel(self, *arrays):
        """Call the numba kernel."""
        return kernels.cluster_value_and_gradient_0d(*arrays)


@register_funcify_default_op_cache_key(ClusterLikelihood)
def _numba_cluster_likelihood(op, node, **kwargs):
    return linked_kernel(kernels.cluster_value_0d, node, KERNEL_VERSION), KERNEL_VERSION


@register_funcify_default_op_cache_key(ClusterGradient)
def _numba_cluster_gradient(op, node, **kwargs):
    return linked_kernel(kernels.cluster_gradient_0d, node, KERNEL_VERSION), KERNEL_VERSION


@register_funcify_default_op_cache_key(ClusterValueAndGradient)
def _numba_cluster_value_and_gradient(op, node, **kwargs):
    return linked_kernel(
        kernels.cluster_value_and_gradient_0d, node, KERNEL_VERSION
    ), KERNEL_VERSION


_cluster_likelihood = ClusterLikelihood()
_cluster_gradient = ClusterGradient()
_cluster_value_and_gradient = ClusterValueAndGradient()


def cluster_likelihood(**inputs) -> TensorVariable:
    """Log-likelihood of each star, differentiably.

    Parameters
    ----------
    **inputs
        mag, variance (N, B), the variance infinite where not measured; tracks (B, P); directions
        (K, B, P), K <= 3; weights, tilts, scale (P - 1,); starts (T + 1,); spread (K,); offset
        (N, K), or (0, K) for none; member, log_member, log_field (N,). All but scale and
        starts have derivatives. See `pymc_starpop.kernels.cluster`.
    """
    return _cluster_likelihood(*[inputs[name] for name in _NAMES])
