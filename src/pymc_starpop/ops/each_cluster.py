"""One graph of the likelihood of a cluster, evaluated for every cluster by one Op.

Clusters of one kind differ in numbers alone: in their stars, their parameters, their cuts. Their
likelihood is one graph (`ClusterGraph`), compiled once; the Op runs it over the clusters, one after
the other, so that memory is that of one cluster and compiling takes no longer for many.

As for one cluster, `_merge` makes one node of that of the value and that of the gradient.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np
import pytensor
from pytensor import tensor as pt
from pytensor.compile.aliasing import add_supervisor_to_fgraph, insert_deepcopy
from pytensor.compile.io import In, Out
from pytensor.compile.mode import get_mode
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import Op
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import explicit_graph_inputs, graph_inputs
from pytensor.link.numba.cache import compile_numba_function_src
from pytensor.link.numba.dispatch.basic import (
    numba_funcify_ensure_cache,
    numba_njit,
    register_funcify_and_cache_key,
)
from pytensor.tensor import TensorVariable

from pymc_starpop.ops._merge import MergedOp
from pymc_starpop.ops._numba import NoSecondDerivative, Shape

__all__ = ["Axis", "ClusterGraph", "ClusterInput", "each_cluster"]


class Axis(Enum):
    """What the first axis of an input or output of the Op runs along."""

    STAR = "star"  # the stars of all clusters, those of a cluster together
    CLUSTER = "cluster"
    NONE = "none"  # the same for all clusters


@dataclass(frozen=True)
class ClusterInput:
    """An input of the graph of one cluster.

    Attributes
    ----------
    variable : what stands for it in the graph of one cluster
    axis : how the clusters share the input of the Op
    differentiable : whether the Op has a derivative by it
    """

    variable: TensorVariable
    axis: Axis
    differentiable: bool = False

    @property
    def ndim(self) -> int:
        """Dimensions of the input of the Op."""
        return self.variable.type.ndim + (self.axis is Axis.CLUSTER)


@dataclass(frozen=True, eq=False, repr=False)
class ClusterGraph:
    """The log-likelihood of the stars of one cluster as a graph of its inputs.

    Shared variables in the graph, such as the tables of isochrones, are the same for all clusters.

    Attributes
    ----------
    key : tuple of str
        What tells two graphs apart: those of one key have the same nodes.
    inputs : tuple of ClusterInput
        The first has an axis of stars.
    logp, membership : TensorVariable (n,)
        Log-likelihood of each star, and its probability of membership.
    """

    key: tuple[str, ...]
    inputs: tuple[ClusterInput, ...]
    logp: TensorVariable
    membership: TensorVariable
    tables: tuple[Variable, ...] = field(init=False)
    _functions: dict[str, Callable[..., Any]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Find the shared variables."""
        known = {i.variable for i in self.inputs}
        found = [self.logp, self.membership]
        shared = [v for v in graph_inputs(found) if hasattr(v, "get_value")]
        object.__setattr__(self, "tables", tuple(dict.fromkeys(shared)))
        unknown = [v for v in explicit_graph_inputs(found) if v not in known]
        if unknown:
            raise ValueError(f"the graph depends on {unknown}, which are no inputs; name them")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClusterGraph) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"ClusterGraph({sha256(repr(self.key).encode()).hexdigest()[:8]})"

    @property
    def differentiable(self) -> tuple[int, ...]:
        """Places of the inputs by which there is a derivative."""
        return tuple(i for i, x in enumerate(self.inputs) if x.differentiable)

    @cached_property
    def _graphs(self) -> dict[str, tuple[list[Variable], list[Variable]]]:
        """Inputs and outputs of the graph of each part of the Op, without shared variables."""
        cotangent = pt.dvector("cotangent")
        wanted = [self.inputs[i].variable for i in self.differentiable]
        gradient = pt.grad(
            (cotangent * self.logp).sum(), wanted, disconnected_inputs="ignore",
            return_disconnected="zero",
        )  # fmt: skip
        own = [i.variable for i in self.inputs]
        fresh = [table.type(name=table.name) for table in self.tables]
        outputs = clone_replace(
            [self.membership, self.logp, *gradient],
            replace=dict(zip(self.tables, fresh, strict=True)),
        )
        inputs = [*own, *fresh]
        return {
            "membership": (inputs, outputs[:1]),
            "value": (inputs, outputs[1:2]),
            "gradient": ([*inputs, cotangent], outputs[2:]),
            "both": ([*inputs, cotangent], outputs[1:]),
        }

    def virtual_machine(self, part: str) -> Callable[..., Any]:
        """Return a part for one cluster as a function that takes seconds to make."""
        if part not in self._functions:
            inputs, outputs = self._graphs[part]
            self._functions[part] = pytensor.function(
                inputs, outputs, mode="FAST_COMPILE", on_unused_input="ignore"
            )
        return self._functions[part]

    def function_graph(self, part: str) -> FunctionGraph:
        """Return the graph of a part, rewritten for numba; inputs are left as they are."""
        inputs, outputs = self._graphs[part]
        graph = FunctionGraph(inputs, outputs, clone=True)
        specs = [In(x, borrow=True, mutable=False) for x in graph.inputs]
        add_supervisor_to_fgraph(fgraph=graph, input_specs=specs, accept_inplace=True)
        get_mode("NUMBA").optimizer.rewrite(graph)
        results = [Out(x, borrow=False) for x in graph.outputs]
        insert_deepcopy(graph, wrapped_inputs=specs, wrapped_outputs=results)
        return graph


def _loop_source(
    inputs: Sequence[tuple[Axis, int]], outputs: Sequence[tuple[Axis, int, int]]
) -> str:
    """Source of the loop over clusters.

    Parameters
    ----------
    inputs : sequence of (Axis, int)
        Axis and dimensions of each input of the Op, after the first rows of the clusters.
    outputs : sequence of (Axis, int, int)
        Axis and dimensions of each output, and the input whose shape it has.
    """
    names = [f"x{i}" for i in range(len(inputs))]
    lines = [f"def each_cluster(starts, {', '.join(names)}):"]
    lines += [
        f"    {name} = np.ascontiguousarray({name})"
        for name, (_, ndim) in zip(names, inputs, strict=True)
        if ndim
    ]
    for k, (axis, ndim, like) in enumerate(outputs):
        shape = f"x{like}.shape[0]" if axis is Axis.STAR else f"x{like}.shape"
        lines.append(f"    y{k} = np.zeros({shape})" if ndim else f"    y{k} = 0.0")
    one = {
        Axis.STAR: lambda name, ndim: f"{name}[first:end]",
        Axis.CLUSTER: lambda name, ndim: f"{name}[c]" if ndim > 1 else f"np.asarray({name}[c])",
        Axis.NONE: lambda name, ndim: name,
    }
    given = [one[axis](name, ndim) for name, (axis, ndim) in zip(names, inputs, strict=True)]
    found = [f"r{k}" for k in range(len(outputs))]
    lines += [
        "    for c in range(starts.shape[0] - 1):",
        "        first, end = starts[c], starts[c + 1]",
        f"        ({', '.join(found)},) = one_cluster({', '.join(given)})",
    ]
    for k, (axis, ndim, _) in enumerate(outputs):
        if axis is Axis.STAR:
            lines.append(f"        y{k}[first:end] = r{k}")
        elif axis is Axis.CLUSTER:
            lines.append(f"        y{k}[c] = r{k}" + (".item()" if ndim == 1 else ""))
        else:
            lines.append(f"        y{k} += r{k}" + ("" if ndim else ".item()"))
    results = [f"y{k}" if ndim else f"np.asarray(y{k})" for k, (_, ndim, _) in enumerate(outputs)]
    # A single output is no tuple in PyTensor's numba functions.
    lines.append(f"    return {', '.join(results)}")
    return "\n".join(lines)


class EachCluster(Op):
    """Run a part of a `ClusterGraph` over clusters.

    Inputs are the first row of each cluster and, last, the number of rows, (C + 1,); then those of
    the graph; its tables; and the cotangent (N,) for a gradient.
    """

    __props__ = ("graph",)
    part = "value"

    def __init__(self, graph: ClusterGraph):
        self.graph = graph

    @property
    def input_axes(self) -> list[tuple[Axis, int]]:
        """Axis and dimensions of the inputs, without the rows of the clusters."""
        own = [(i.axis, i.ndim) for i in self.graph.inputs]
        own += [(Axis.NONE, table.type.ndim) for table in self.graph.tables]
        return [*own, (Axis.STAR, 1)] if self.part in ("gradient", "both") else own

    @property
    def output_axes(self) -> list[tuple[Axis, int, int]]:
        """Axis and dimensions of the outputs, and the input whose shape each has."""
        value = [(Axis.STAR, 1, 0)]
        if self.part in ("value", "membership"):
            return value
        inputs = [(i, self.graph.inputs[i]) for i in self.graph.differentiable]
        gradient = [(x.axis, x.ndim, i) for i, x in inputs]
        return gradient if self.part == "gradient" else value + gradient

    def make_node(self, *inputs: Any) -> Apply:
        """Check the inputs and make the node."""
        starts, *arrays = [pt.as_tensor(i) for i in inputs]
        if starts.type.dtype != "int64":
            starts = starts.astype("int64")
        variables = []
        for x, (_, ndim) in zip(arrays, self.input_axes, strict=True):
            if x.type.ndim != ndim:
                raise ValueError(f"{x}: expected {ndim} dimension(s), got {x.type.ndim}")
            variables.append(x if x.type.dtype == "float64" else x.astype("float64"))
        outputs = [
            pt.tensor(dtype="float64", shape=variables[like].type.shape[:1])
            if axis is Axis.STAR and like == 0
            else variables[like].type()
            for axis, _, like in self.output_axes
        ]
        return Apply(self, [starts, *variables], outputs)

    def infer_shape(self, node: Apply, shapes: list[Shape]) -> list[Shape]:
        """One number a star, and the shapes of what the derivatives are taken by."""
        of_inputs = shapes[1:]
        return [
            of_inputs[like][:1] if axis is Axis.STAR else of_inputs[like]
            for axis, _, like in self.output_axes
        ]

    def compiled(self) -> tuple[Callable[..., Any], str | None]:
        """Return the numba function of the loop and what tells it apart in PyTensor's cache."""
        key = (self.part, self.graph.key)
        if key not in _COMPILED:
            one_cluster, inner_key = numba_funcify_ensure_cache(
                self.graph.function_graph(self.part), fgraph_name="one_cluster"
            )
            source = _loop_source(self.input_axes, self.output_axes)
            loop = compile_numba_function_src(
                source, "each_cluster", {"np": np, "one_cluster": one_cluster}
            )
            outer = None
            if inner_key is not None:
                outer = sha256(f"{inner_key}, {source}".encode()).hexdigest()
            _COMPILED[key] = numba_njit(loop), outer
        return _COMPILED[key]

    def perform(self, node: Apply, inputs: Sequence[np.ndarray], output_storage: Any) -> None:
        """Run the graph over the clusters in PyTensor's virtual machine."""
        starts, *arrays = inputs
        one_cluster = self.graph.virtual_machine(self.part)
        found = []
        for c, (first, end) in enumerate(pairwise(starts)):
            places: dict[Axis, Any] = {
                Axis.STAR: slice(first, end),
                Axis.CLUSTER: c,
                Axis.NONE: ...,
            }
            axes = zip(arrays, self.input_axes, strict=True)
            found.append(one_cluster(*(np.asarray(x[places[axis]]) for x, (axis, _) in axes)))
        for storage, parts, (axis, _, _) in zip(
            output_storage, zip(*found, strict=True), self.output_axes, strict=True
        ):
            if axis is Axis.STAR:
                storage[0] = np.concatenate(parts)
            else:
                storage[0] = np.stack(parts) if axis is Axis.CLUSTER else np.asarray(sum(parts))


# Loops of this process by part and key of the graph.
_COMPILED: dict[tuple[str, tuple[str, ...]], tuple[Callable[..., Any], str | None]] = {}


class EachClusterValue(EachCluster):
    """Log-likelihood (N,) of the stars of all clusters."""

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Tables and data have no derivative."""
        places = {1 + i for i in self.graph.differentiable}
        return [[i in places] for i in range(len(node.inputs))]

    def pullback(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable],
        cotangents: Sequence[Variable],
    ) -> list[Variable]:  # fmt: skip
        """Make the gradient node, which `_merge` merges with this one."""
        (cotangent,) = cotangents
        result: list[Variable] = [disconnected_type() for _ in inputs]
        places = self.graph.differentiable
        if places and not isinstance(cotangent.type, DisconnectedType):
            found = EachClusterGradient(self.graph)(*inputs, cotangent, return_list=True)
            for i, gradient in zip(places, found, strict=True):
                result[1 + i] = gradient
        return result


class EachClusterMembership(NoSecondDerivative, EachCluster):
    """Probability of membership (N,) of the stars of all clusters."""

    part = "membership"


class EachClusterGradient(NoSecondDerivative, EachCluster, MergedOp):
    """Gradient of the sum of cotangent times log-likelihood by what can be differentiated."""

    part = "gradient"

    def value_op(self) -> Op:
        """Return the Op of the likelihood alone."""
        return EachClusterValue(self.graph)

    def both_op(self) -> Op:
        """Return the Op of both."""
        return EachClusterValueAndGradient(self.graph)


class EachClusterValueAndGradient(NoSecondDerivative, EachCluster):
    """Outputs of `EachClusterValue` and `EachClusterGradient` from one run over the clusters."""

    part = "both"


@register_funcify_and_cache_key(EachCluster)
def _numba_each_cluster(op: EachCluster, node: Apply, **kwargs: Any) -> Any:
    return op.compiled()


def each_cluster(
    graph: ClusterGraph, starts: Any, inputs: Sequence[Any], membership: bool = False
) -> TensorVariable:
    """Log-likelihood of the stars of all clusters (N,), differentiably, or their membership.

    Parameters
    ----------
    graph : ClusterGraph
    starts : (C + 1,) int
        First row of each of the C clusters, and N.
    inputs : sequence of array-like
        Those of the graph: with an axis of N stars or of C clusters before their own, or as they
        are.
    membership : bool
        Whether probabilities of membership are wanted in place of the likelihood.
    """
    op = EachClusterMembership(graph) if membership else EachClusterValue(graph)
    return op(starts, *inputs, *graph.tables)
