"""Tracks of unresolved binaries as a PyTensor Op."""

from pytensor import tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key
from pytensor.tensor import TensorVariable

from pymc_starpop.kernels import binaries as kernels
from pymc_starpop.kernels import fastmath
from pymc_starpop.ops._numba import (
    NoSecondDerivative,
    PlainKernelOp,
    float64_inputs,
    outputs_of,
    source_version,
)

# PyTensor's cache cannot see into the kernels.
KERNEL_VERSION = source_version(kernels, fastmath)


class BinaryTracks(PlainKernelOp):
    """Tracks (Q + 1, E, B), their reddening and the secondary's share of light (Q, E, B).

    Inputs are mass (E,), mag (E, B), reddening (E, B) or (0, B), mass_ratio (Q, E), mass_min and
    the index of the last node that can be a primary; see `pymc_starpop.kernels.binaries`.
    """

    def make_node(self, mass, mag, reddening, mass_ratio, mass_min, last) -> Apply:
        """Check the inputs and make the node."""
        arguments = {
            "mass": mass,
            "mag": mag,
            "reddening": reddening,
            "mass_ratio": mass_ratio,
            "mass_min": mass_min,
        }
        inputs = float64_inputs(arguments, (1, 2, 2, 2, 0))
        n_ratio, n_node = inputs[3].type.shape
        n_band = inputs[1].type.shape[1]
        n_track = None if n_ratio is None else n_ratio + 1
        n_red = inputs[2].type.shape[0]
        outputs = [
            *outputs_of((n_track, n_node, n_band), 1),
            *outputs_of((0 if n_red == 0 else n_track, n_node, n_band), 1),
            *outputs_of((n_ratio, n_node, n_band), 1),
        ]
        return Apply(self, [*inputs, pt.as_tensor(last, dtype="int64")], outputs)

    def infer_shape(self, node, shapes):
        """Shapes of the tracks, their reddening and the share of light."""
        n_ratio, n_node = shapes[3]
        n_band = shapes[1][1]
        n_red = pt.switch(pt.eq(shapes[2][0], 0), 0, n_ratio + 1)
        return [(n_ratio + 1, n_node, n_band), (n_red, n_node, n_band), (n_ratio, n_node, n_band)]

    def connection_pattern(self, node):
        """All outputs depend on the arrays; nothing is differentiated by mass_min or last."""
        return [[k < 4] * 3 for k in range(6)]

    def pullback(self, inputs, outputs, cotangents):
        """Call the pullback kernel, which reuses the share of light."""
        tracks, red, share = outputs
        g_tracks, g_red, g_share = cotangents
        if not isinstance(g_share.type, DisconnectedType):
            raise NotImplementedError("BinaryTracks: the share of light is not differentiable")
        if isinstance(g_tracks.type, DisconnectedType):
            g_tracks = pt.zeros_like(tracks)
        if isinstance(g_red.type, DisconnectedType):
            g_red = pt.zeros_like(red)
        gradient = _binary_tracks_pullback(*inputs, share, g_tracks, g_red)
        return [*gradient, disconnected_type(), disconnected_type()]

    def kernel(self, mass, mag, reddening, mass_ratio, mass_min, last):
        """Call the numba kernel."""
        return kernels.binary_tracks(mass, mag, reddening, mass_ratio, mass_min.item(), last.item())


class BinaryTracksPullback(NoSecondDerivative, PlainKernelOp):
    """Derivatives of the tracks, contracted with cotangents, by mass, mag, reddening and q."""

    def make_node(self, *inputs) -> Apply:
        """Make the node; the inputs come from `BinaryTracks.pullback`."""
        variables = [pt.as_tensor(i) for i in inputs]
        return Apply(self, variables, [i.type() for i in variables[:4]])

    def infer_shape(self, node, shapes):
        """The derivatives have the shapes of what they are taken by."""
        return shapes[:4]

    def kernel(self, mass, mag, reddening, mass_ratio, mass_min, last, share, g_tracks, g_red):
        """Call the numba kernel."""
        return kernels.binary_tracks_pullback(
            mass, mag, reddening, mass_ratio, mass_min.item(), last.item(), share, g_tracks, g_red
        )


@register_funcify_default_op_cache_key(BinaryTracks)
def _numba_binary_tracks(op, node, **kwargs):
    return kernels.binary_tracks_0d, KERNEL_VERSION


@register_funcify_default_op_cache_key(BinaryTracksPullback)
def _numba_binary_tracks_pullback(op, node, **kwargs):
    return kernels.binary_tracks_pullback_0d, KERNEL_VERSION


_binary_tracks = BinaryTracks()
_binary_tracks_pullback = BinaryTracksPullback()


def binary_tracks(
    mass, mag, reddening, mass_ratio, mass_min, last: int
) -> tuple[TensorVariable, TensorVariable]:
    """Add the light of secondaries to single-star magnitudes, differentiably.

    Parameters
    ----------
    mass : TensorVariable (E,)
        Initial mass (Msun) of the nodes, cut at `mass_min`.
    mag, reddening : TensorVariable (E, B)
        Magnitudes and dm/dA_V; `reddening` may have shape (0, B) where it is not wanted.
    mass_ratio : TensorVariable (Q, E)
        Mass ratios of the binary tracks at each node, between 0 and 1.
    mass_min : float
        Lowest mass (Msun).
    last : int
        Index of the last node that can be a primary.

    Returns
    -------
    tracks, reddening : TensorVariable (Q + 1, E, B)
        The single-star track first. Reddening is (0, E, B) where it was not given.
    """
    tracks, red, _ = _binary_tracks(mass, mag, reddening, mass_ratio, mass_min, last)
    return tracks, red
