"""Tracks and weights of single stars and unresolved binaries as a PyTensor Op."""

from pytensor import tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key
from pytensor.tensor import TensorVariable

from pymc_starpop.kernels import binaries as kernels
from pymc_starpop.kernels import binaries_pullback, binary_light, simd, star_vectors
from pymc_starpop.ops._linked import linked_kernel
from pymc_starpop.ops._numba import (
    NoSecondDerivative,
    PlainKernelOp,
    kernel_inputs,
    source_version,
)

# PyTensor's cache cannot see into the kernels.
KERNEL_VERSION = source_version(binaries_pullback, binary_light, kernels, simd, star_vectors)

_NAMES = (
    "mass", "mag", "directions", "weight", "density", "lowest", "dark", "curve", "rule",
    "fraction", "slope", "mass_min", "last", "n_light",
)  # fmt: skip
_NDIMS = (1, 2, 3, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0)
_N_INPUT = len(_NAMES)
_DIFFERENTIABLE = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10)
_OUTPUT = (
    "tracks", "directions", "weights", "tilts", "scale", "starts", "position", "power", "share",
)  # fmt: skip
# The others are for the pruning and what the pullback needs again.
_N_DIFFERENTIABLE_OUTPUT = 4


class PopulationTracks(PlainKernelOp):
    """Tracks, their directions, weights, tilts, scale, starts, and what the pullback needs again.

    For inputs and outputs see `pymc_starpop.kernels.binaries.population_tracks`.
    """

    def make_node(self, *inputs) -> Apply:
        """Check the inputs and make the node."""
        arguments = dict(zip(_NAMES, inputs, strict=True))
        variables = kernel_inputs(arguments, _NDIMS, integers=("last", "n_light"))
        ndims = (2, 3, 1, 1, 1, 1, 2, 2, 3)
        outputs = [
            pt.tensor(dtype="int64" if name == "starts" else "float64", shape=(None,) * ndim)
            for name, ndim in zip(_OUTPUT, ndims, strict=True)
        ]
        return Apply(self, variables, outputs)

    def connection_pattern(self, node):
        """Nothing is differentiated by the rule, by mass_min, last or n_light."""
        return [
            [k in _DIFFERENTIABLE and o < _N_DIFFERENTIABLE_OUTPUT for o in range(len(_OUTPUT))]
            for k in range(_N_INPUT)
        ]

    def pullback(self, inputs, outputs, cotangents):
        """Call the pullback kernel, which uses again what the value kernel saved."""
        given = [
            pt.zeros_like(output) if isinstance(cotangent.type, DisconnectedType) else cotangent
            for output, cotangent in zip(outputs, cotangents, strict=True)
        ][:_N_DIFFERENTIABLE_OUTPUT]
        saved = outputs[_OUTPUT.index("position") :]
        gradient = _population_tracks_pullback(*inputs, *saved, *given)
        result = [disconnected_type() for _ in inputs]
        for i, derivative in zip(_DIFFERENTIABLE, gradient, strict=True):
            result[i] = derivative[0] if inputs[i].type.ndim == 0 else derivative
        return result

    def kernel(self, *arrays):
        """Call the numba kernel."""
        return kernels.population_tracks_0d(*arrays)


class PopulationTracksPullback(NoSecondDerivative, PlainKernelOp):
    """Derivatives of the outputs of `PopulationTracks`, contracted with cotangents."""

    def make_node(self, *inputs) -> Apply:
        """Make the node; the inputs come from `PopulationTracks.pullback`."""
        variables = [pt.as_tensor(i) for i in inputs]
        one = pt.tensor(dtype="float64", shape=(1,)).type
        outputs = [
            one() if variables[i].type.ndim == 0 else variables[i].type() for i in _DIFFERENTIABLE
        ]
        return Apply(self, variables, outputs)

    def infer_shape(self, node, shapes):
        """The derivatives have the shapes of what they are taken by."""
        return [shapes[i] if shapes[i] else (1,) for i in _DIFFERENTIABLE]

    def kernel(self, *arrays):
        """Call the numba kernel."""
        return binaries_pullback.population_tracks_pullback_0d(*arrays)


@register_funcify_default_op_cache_key(PopulationTracks)
def _numba_population_tracks(op, node, **kwargs):
    return linked_kernel(kernels.population_tracks_0d, node, KERNEL_VERSION), KERNEL_VERSION


@register_funcify_default_op_cache_key(PopulationTracksPullback)
def _numba_population_tracks_pullback(op, node, **kwargs):
    return linked_kernel(
        binaries_pullback.population_tracks_pullback_0d, node, KERNEL_VERSION
    ), KERNEL_VERSION


_population_tracks = PopulationTracks()
_population_tracks_pullback = PopulationTracksPullback()


def population_tracks(**inputs) -> tuple[TensorVariable, ...]:
    """Add the light of secondaries to single stars and share the mass function, differentiably.

    Parameters
    ----------
    **inputs
        mass, density, lowest, dark, curve (E,); mag (R, E), magnitudes in the first `n_light` rows
        and what the primary alone decides (a temperature) in the others; directions (K, R, E),
        derivatives of `mag`, any shape where K is 0; weight (E - 1,); rule (Q,); fraction, slope,
        mass_min, last, n_light (). See `pymc_starpop.kernels.binaries`.

    Returns
    -------
    tracks : TensorVariable (R, P)
        P = E + Q E_b points: the single-star track, then one for each mass ratio, of the nodes
        from the lowest mass to `last`.
    directions : TensorVariable (K, R, P)
    weights, tilts, scale : TensorVariable (P - 1,)
    starts : TensorVariable (Q + 2,)
        First point of each track, and P.
    """
    return tuple(_population_tracks(*[inputs[name] for name in _NAMES])[:6])
