"""Compiled functions that others call by address.

numba puts the code of a function into every function that calls it, directly or not, and optimizes
and translates it there again. What is large is compiled once here, for contiguous arrays, and stays
behind a symbol of the process, whose name tells its code apart. A function that calls it holds the
name alone, also on disk. The symbol must have an address before such a function is loaded:
PyTensor asks for the function of each Op before it loads that of a graph, and what is kept here on
disk names the kernels that it calls.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import cgutils, types
from numba.core.compiler import CompileResult
from numba.core.errors import TypingError
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from pytensor.graph.basic import Apply
from pytensor.link.numba.cache import compile_numba_function_src
from pytensor.link.numba.dispatch.basic import numba_njit

__all__ = [
    "Kernel", "array_types", "linked", "linked_from", "linked_kernel", "machine_code",
    "noted_kernels",
]  # fmt: skip

# Functions that call what is behind a symbol. Its code lives as long as the process: compiled
# callers hold its address.
_CALLERS: dict[str, Callable[..., Any]] = {}
_COMPILED: dict[str, CompileResult] = {}
_NOTED: list[dict[str, "Kernel"]] = []


@dataclass(frozen=True)
class Kernel:
    """A kernel of an Op, compiled for some types of arrays."""

    module: str
    name: str
    key: str
    types: tuple[types.Array, ...]

    def link(self) -> Callable[..., Any]:
        """Compile the kernel, or load it, and return a function that calls it by its address."""
        function = getattr(import_module(self.module), self.name)
        symbol, caller = linked(function, self.types, self.key)
        for noted in _NOTED:
            noted[symbol] = self
        return caller


@contextmanager
def noted_kernels() -> Iterator[dict[str, Kernel]]:
    """Note the kernels that are linked meanwhile."""
    noted: dict[str, Kernel] = {}
    _NOTED.append(noted)
    try:
        yield noted
    finally:
        _NOTED.pop()


def array_types(variables: Sequence[Any]) -> tuple[types.Array, ...]:
    """Return numba's types of contiguous arrays of the dtypes and dimensions of some tensors."""
    return tuple(
        types.Array(numba.from_dtype(v.type.numpy_dtype), v.type.ndim, "C") for v in variables
    )


def linked_kernel(function: Callable[..., Any], node: Apply, version: int) -> Callable[..., Any]:
    """Return a kernel of an Op, compiled for its inputs, as a function that calls it by address.

    Parameters
    ----------
    function : numba function of arrays
    node : Apply
        Its inputs give the types of the arrays.
    version : int
        From `source_version`.
    """
    key = f"{function.__module__}.{function.__name__} {version}"
    return Kernel(function.__module__, function.__name__, key, array_types(node.inputs)).link()


def linked(
    function: Any, signature: tuple[types.Array, ...], key: str
) -> tuple[str, Callable[..., Any]]:
    """Compile a function; return its symbol, and a function that calls it, of any memory layout.

    Parameters
    ----------
    function : numba function
    signature : tuple of numba array types
        Those of `array_types`.
    key : str
        What tells the code of the function apart from others, in this process and on disk. For
        other signatures it may be the same.
    """
    arguments = ",".join(f"{t.dtype}x{t.ndim}" for t in signature)
    symbol = f"starpop_{sha256(f'{key}({arguments})'.encode()).hexdigest()[:32]}"
    if symbol not in _CALLERS:
        function.compile(signature)
        _link(symbol, function.overloads[signature])
    return symbol, _CALLERS[symbol]


def machine_code(symbol: str) -> tuple[Any, ...] | None:
    """Return the code behind a symbol as what can be pickled, None where it is of this process."""
    compiled = _COMPILED[symbol]
    return None if compiled.library.has_dynamic_globals or compiled.lifted else compiled._reduce()


def linked_from(symbol: str, code: tuple[Any, ...]) -> Callable[..., Any]:
    """Load code from `machine_code`; return a function that calls it by its address."""
    if symbol not in _CALLERS:
        _link(symbol, CompileResult._rebuild(cpu_target.target_context, *code))
    return _CALLERS[symbol]


def _link(symbol: str, compiled: CompileResult) -> None:
    """Give a symbol its address, and make a function that calls it."""
    llvm.add_symbol(
        symbol, compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    )
    _COMPILED[symbol] = compiled
    _CALLERS[symbol] = _caller(symbol, compiled.signature)


def _caller(symbol: str, signature: Any) -> Callable[..., Any]:
    """Return a numba function that calls the function behind a symbol."""
    names = [f"x{i}" for i in range(len(signature.args))]
    listed = ", ".join(names)
    call: dict[str, Any] = {"typed": _typed(symbol, signature)}
    exec(f"def call(context, {listed}): return typed(({listed},))", call)
    contiguous = ", ".join(
        f"np.ascontiguousarray({name})" if t.ndim else f"np.asarray({name}.item())"
        for name, t in zip(names, signature.args, strict=True)
    )
    source = f"def {symbol}({listed}):\n    return by_address({contiguous})"
    known = {"__name__": __name__, "np": np, "by_address": intrinsic(call["call"])}
    return numba_njit(compile_numba_function_src(source, symbol, known))


def _typed(symbol: str, signature: Any) -> Callable[[tuple[Any, ...]], Any]:
    """Return what tells numba the types and the code of a call of a symbol."""

    def typed(given: tuple[Any, ...]) -> Any:
        for place, (got, expected) in enumerate(zip(given, signature.args, strict=True)):
            # That an array may not be written to makes no difference to its form.
            if (got.dtype, got.ndim, got.layout) != (expected.dtype, expected.ndim, "C"):
                raise TypingError(f"argument {place} is {got}, expected {expected}")
        return signature.return_type(*given), code

    def code(context: Any, builder: Any, _: Any, args: Sequence[Any]) -> Any:
        convention = context.call_conv
        result_type, argument_types = signature.return_type, signature.args
        function = cgutils.get_or_insert_function(
            builder.module, convention.get_function_type(result_type, argument_types), symbol
        )
        status, result = convention.call_function(
            builder, function, result_type, argument_types, args
        )
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return result

    return typed
