"""Starting values of which each chain takes the next."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

__all__ = ["take_turns"]


class _Turn(Op):
    """Number of the start whose turn it is: the next one at every evaluation."""

    def __init__(self, n_start: int):
        self._turns = itertools.cycle(range(n_start))

    def make_node(self) -> Apply:
        return Apply(self, [], [pt.lscalar()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        output_storage[0][0] = np.asarray(next(self._turns), dtype=np.int64)

    def do_constant_folding(self, fgraph: Any, node: Apply) -> bool:
        return False


def take_turns(starts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Initial values, which PyMC takes as variables, that are those of the next start each time."""
    turn = _Turn(len(starts))()
    return {
        name: pt.constant(np.stack([np.asarray(start[name]) for start in starts]))[turn]
        for name in starts[0]
    }
