"""One graph of the likelihood of a cluster, evaluated for every cluster by one Op.

Clusters of one kind differ in numbers alone: in their stars, their parameters, their cuts. Their
likelihood is one graph (`ClusterGraph`), compiled once; the Op runs it over the clusters, one after
the other, so that memory is that of one cluster and compiling takes no longer for many.

As for one cluster, `_merge` makes one node of that of the value and that of the gradient.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, lru_cache
from hashlib import sha256
from itertools import pairwise
from typing import Any
from uuid import uuid4

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
    numba_funcify_and_cache_key,
    numba_njit,
    register_funcify_and_cache_key,
)
from pytensor.tensor import TensorVariable

from pymc_starpop.ops._kept import kept_name, load_kept, save_kept
from pymc_starpop.ops._linked import (
    Kernel,
    array_types,
    linked,
    linked_from,
    machine_code,
    noted_kernels,
)
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
    is_described : bool
        Whether the key also holds in other processes: whether all that it describes is code of this
        package and numbers.
    """

    key: tuple[str, ...]
    inputs: tuple[ClusterInput, ...]
    logp: TensorVariable
    membership: TensorVariable
    is_described: bool = False
    tables: tuple[Variable, ...] = field(init=False)

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
        return _virtual_machine(self, part)

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


@lru_cache(maxsize=32)
def _virtual_machine(graph: ClusterGraph, part: str) -> Callable[..., Any]:
    """Make a part of a graph as a function, once for graphs of one key."""
    inputs, outputs = graph._graphs[part]
    return pytensor.function(inputs, outputs, mode="FAST_COMPILE", on_unused_input="ignore")


def _wrong_length(name: str, axis: Axis) -> str:
    """What is wrong with an input of another length."""
    return (
        f"{name}: its length is not the number of {axis.value}s; give one value for each "
        f"{axis.value}, in the order of the catalog"
    )


def _loop_source(
    inputs: Sequence[tuple[Axis, int]], outputs: Sequence[tuple[Axis, int, int]],
    described: Sequence[str],
) -> str:  # fmt: skip
    """Source of the loop over clusters.

    Parameters
    ----------
    inputs : sequence of (Axis, int)
        Axis and dimensions of each input of the Op, after the first rows of the clusters.
    described : sequence of str
        What they are called in messages.
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
    lengths = {Axis.STAR: "starts[-1]", Axis.CLUSTER: "starts.shape[0] - 1"}
    for name, (axis, _), called in zip(names, inputs, described, strict=True):
        if axis in lengths:
            lines.append(f"    if {name}.shape[0] != {lengths[axis]}:")
            lines.append(f"        raise ValueError({_wrong_length(called, axis)!r})")
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
    def input_names(self) -> list[str]:
        """What the inputs of `input_axes` are called."""
        names = [str(i.variable.name) for i in self.graph.inputs]
        names += ["table"] * len(self.graph.tables)
        return [*names, "cotangent"] if self.part in ("gradient", "both") else names

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

    def compiled(self, node: Apply) -> tuple[Callable[..., Any], str | None]:
        """Return the numba function of the loop and what tells it apart in PyTensor's cache."""
        key = (self.part, self.graph.key)
        if key not in _COMPILED:
            _COMPILED[key] = self._kept_or_compiled(array_types(node.inputs))
        return _COMPILED[key]

    def _kept_or_compiled(self, types: tuple[Any, ...]) -> tuple[Callable[..., Any], str | None]:
        """Load the loop from the disk, or compile it and keep it there."""
        source = _loop_source(self.input_axes, self.output_axes, self.input_names)
        described = None
        if self.graph.is_described:
            described = kept_name(self.part, self.graph.key, source)
            # The name of the code of a graph that was seen to have this description.
            name = load_kept(described)
            kept = None if name is None else load_kept(name)
            if kept is not None:
                return _linked_from(kept), name
        graph = self.graph.function_graph(self.part)
        with noted_kernels() as kernels:
            one_cluster, key = numba_funcify_and_cache_key(graph, fgraph_name="one_cluster")
        # Versions of the kernels are part of the key.
        name = None if key is None else kept_name(self.part, key, source, files="ops/*.py")
        kept = None if name is None else load_kept(name)
        if kept is None:
            unique = name or uuid4().hex
            own, one = linked(one_cluster, array_types(graph.inputs), f"one_cluster {unique}")
            known = {"__name__": __name__, "np": np, "one_cluster": one}
            loop = numba_njit(compile_numba_function_src(source, "each_cluster", known))
            whole, each = linked(loop, types, f"each_cluster {unique}")
            codes = {symbol: machine_code(symbol) for symbol in (own, whole)}
            if name is None or not all(codes.values()):
                return each, name
            save_kept(name, (list(kernels.values()), codes))
        else:
            each = _linked_from(kept)
        if described is not None:
            save_kept(described, name)
        return each, name

    def perform(self, node: Apply, inputs: Sequence[np.ndarray], output_storage: Any) -> None:
        """Run the graph over the clusters in PyTensor's virtual machine."""
        starts, *arrays = inputs
        lengths = {Axis.STAR: starts[-1], Axis.CLUSTER: len(starts) - 1}
        for x, (axis, _), name in zip(arrays, self.input_axes, self.input_names, strict=True):
            if axis in lengths and len(x) != lengths[axis]:
                raise ValueError(_wrong_length(name, axis))
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


def _linked_from(kept: tuple[Sequence[Kernel], Mapping[str, Any]]) -> Callable[..., Any]:
    """Return a loop that was kept on disk, after the functions that it calls."""
    kernels, codes = kept
    for kernel in kernels:
        kernel.link()
    functions = [linked_from(symbol, code) for symbol, code in codes.items()]
    return functions[-1]


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
    return op.compiled(node)


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
