"""Checks of the arguments of isochrone grids."""

import operator
from collections.abc import Sequence
from typing import Any, SupportsFloat

import numpy as np

__all__ = ["check_count", "check_nodes", "check_number", "read_only"]


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a view that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def check_count(n_nodes: Any) -> int:
    """Return a number of nodes after checking that it is whole."""
    try:
        return operator.index(n_nodes)
    except TypeError:
        raise ValueError(f"n_nodes={n_nodes!r}: expected a whole number of nodes") from None


def check_nodes(eep: Sequence[int] | np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the nodes as int64 after checking that they ascend and exist."""
    nodes = np.asarray(eep)
    if nodes.ndim != 1 or nodes.size < 2 or not np.issubdtype(nodes.dtype, np.integer):
        raise ValueError(
            f"nodes: expected at least two EEPs in a 1-D integer array, got shape {nodes.shape} "
            f"of {nodes.dtype}"
        )
    if np.any(np.diff(nodes) <= 0):
        raise ValueError("nodes: EEPs must ascend without repeats; try numpy.unique(nodes)")
    missing = nodes[~np.isin(nodes, known)]
    if missing.size:
        raise ValueError(
            f"nodes: no EEP {missing[:5].tolist()} in the grid, which has {known[0]} to {known[-1]}"
        )
    return nodes.astype(np.int64)


def check_number(name: str, value: SupportsFloat, limits: tuple[float, float], unit: str) -> float:
    """Return one number after checking that it is within its limits."""
    if np.shape(value) != ():  # type: ignore[call-overload]
        raise ValueError(f"{name}: expected one number, got {value!r}; call once for each")
    number = float(value)
    # Written so that NaN fails too.
    if not limits[0] <= number <= limits[1]:
        raise ValueError(
            f"{name}={number:g} is outside the grid: expected {limits[0]:g} to {limits[1]:g} {unit}"
        )
    return number
