"""Constant tables as shared variables, one set in a process for the same content."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from pytensor.compile.sharedvalue import SharedVariable, shared
from pytensor.graph.basic import Constant, Variable

# Held weakly: the tables live as long as some graph uses them.
_SHARED: WeakValueDictionary[str, SharedVariable] = WeakValueDictionary()


def shared_input(name: str, value: Any, n_any: int = 1) -> Variable:
    """Return numbers as a shared variable, and everything else as it is.

    A constant would be part of the compiled code, which other numbers then could not use.

    Parameters
    ----------
    name : str
    value : array or expression
    n_any : int
        The first so many lengths may differ.
    """
    if isinstance(value, Constant):
        value = value.data
    if isinstance(value, Variable):
        return value
    dtype = np.int64 if np.asarray(value).dtype.kind == "i" else np.float64
    array = np.array(value, dtype=dtype, order="C")
    digest = hashlib.blake2b(array, digest_size=12, salt=array.dtype.str.encode()).hexdigest()
    full_name = f"{name}_{'x'.join(map(str, array.shape))}_{digest}"
    found = _SHARED.get(full_name)
    if found is None:
        shape = (None,) * min(n_any, array.ndim) + array.shape[n_any:]
        found = _SHARED[full_name] = shared(array, name=full_name, borrow=True, shape=shape)
    return found


def shared_tables(
    key: tuple[str, ...], names: Sequence[str], arrays: Callable[[], Sequence[np.ndarray]]
) -> list[SharedVariable]:
    """Return shared variables of constant arrays, the same ones for the same key.

    Inputs rather than attributes or constants of an Op, so that no Op holds data that PyTensor
    cannot compare and no table is hashed or copied when a function is compiled.

    Parameters
    ----------
    key : tuple of str
        Identifies the content.
    names : sequence of str
        What each array is called; the variables' names add a hash of the key.
    arrays : callable
        Returns the arrays. They are shared, not copied.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=6).hexdigest()
    full_names = [f"{name}_{digest}" for name in names]
    variables = [_SHARED.get(name) for name in full_names]
    if any(variable is None for variable in variables):
        for k, value in enumerate(arrays()):
            if variables[k] is None:
                made = shared(value, name=full_names[k], borrow=True, shape=value.shape)
                variables[k] = _SHARED[full_names[k]] = made
    return variables
