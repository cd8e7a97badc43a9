"""A node for a value and one for its gradient become one node, evaluated once."""

from pytensor.compile.mode import optdb
from pytensor.graph.features import ReplaceValidate
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import GraphRewriter
from pytensor.graph.traversal import ancestors

__all__ = ["MergedOp"]


class MergedOp(Op):
    """An Op for a gradient, which an evaluation of the value gives as well.

    Its inputs are those of the value and then the cotangent.
    """

    def value_op(self) -> Op:
        """Return the Op of the value alone."""
        raise NotImplementedError

    def both_op(self) -> Op:
        """Return the Op whose outputs are the value and the gradient; inputs as of this Op."""
        raise NotImplementedError


class MergeValueAndGradient(GraphRewriter):
    """Replace a value node and a gradient node of the same inputs by one node for both."""

    def add_requirements(self, fgraph: FunctionGraph) -> None:
        """Ask for validated replacement."""
        fgraph.attach_feature(ReplaceValidate())

    def apply(self, fgraph: FunctionGraph) -> None:
        """Merge every pair whose cotangent does not depend on the value."""
        nodes = fgraph.toposort()
        gradients = [node for node in nodes if isinstance(node.op, MergedOp)]
        if not gradients:
            return
        wanted = {node.op.value_op() for node in gradients}
        values = {(node.op, *node.inputs): node for node in nodes if node.op in wanted}
        for node in gradients:
            *inputs, cotangent = node.inputs
            value = values.pop((node.op.value_op(), *inputs), None)
            if value is None or value.outputs[0] in set(ancestors([cotangent])):
                continue
            both = node.op.both_op()(*node.inputs, return_list=True)
            pairs = zip([*value.outputs, *node.outputs], both, strict=True)
            fgraph.replace_all_validate(list(pairs), reason="merge_value_and_gradient")


# After the last merge of equal nodes (49), before in-place rewrites (50).
optdb.register(
    "starpop_merge_value_and_gradient",
    MergeValueAndGradient(),
    "fast_run",
    "fast_compile",
    position=49.5,
)
