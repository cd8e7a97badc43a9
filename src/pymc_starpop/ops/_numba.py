"""Helpers to run kernels as PyTensor Ops, in numba and in the Python virtual machine."""

import inspect
import zlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.tensor import TensorVariable, as_tensor_variable, tensor

Shape = tuple[Any, ...]  # symbolic lengths, as PyTensor hands them to infer_shape

NO_SECOND_DERIVATIVE = (
    "{}: second derivatives are not available; use a method that needs first derivatives only "
    "(NUTS, L-BFGS), or a Hessian by finite differences of the gradient"
)


def kernel_inputs(
    arguments: dict[str, object], ndims: Sequence[int], integers: Sequence[str] = ()
) -> list[TensorVariable]:
    """Return the arguments as tensor variables after checking their dimensions.

    All are float64, but for those named in `integers`, which are int64.
    """
    variables = []
    for (name, argument), ndim in zip(arguments.items(), ndims, strict=True):
        variable = as_tensor_variable(argument)
        if variable.type.ndim != ndim:
            raise ValueError(
                f"{name}: expected {ndim} dimension(s), got {variable.type.ndim} ({variable})"
            )
        dtype = "int64" if name in integers else "float64"
        if variable.type.dtype != dtype:
            variable = variable.astype(dtype)
        variables.append(variable)
    return variables


class PlainKernelOp(Op):
    """An Op whose `perform` calls the kernel that the numba backend compiles."""

    __props__ = ()

    def kernel(self, *args: Any, **kwargs: Any) -> tuple[np.ndarray, ...]:
        """Arrays in, arrays out."""
        raise NotImplementedError

    def perform(
        self, node: Apply, inputs: Sequence[np.ndarray], output_storage: list[list[Any]]
    ) -> None:
        """Store what the kernel returns."""
        for storage, result in zip(output_storage, self.kernel(*inputs), strict=True):
            storage[0] = result


class KernelOp(PlainKernelOp):
    """An Op that returns a value (output 0) and its derivatives (the other outputs).

    Derivative k belongs to differentiable input k; axes and tables come last and are constants.
    The pullback multiplies derivatives by the cotangent of the value, so that value and gradient
    are one evaluation. Second derivatives are refused: left out silently they would give a wrong
    Hessian.
    """

    default_output = 0
    n_differentiable: int

    def contract(
        self, cotangent: TensorVariable, derivative: TensorVariable, variable: TensorVariable
    ) -> TensorVariable:
        """Cotangent of one differentiable input."""
        return (cotangent * derivative).sum()

    def pullback(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        cotangents: Sequence[Variable],
    ) -> list[Variable]:
        """Multiply the derivatives by the cotangent of the value."""
        value_cotangent, *others = cotangents
        if not all(isinstance(other.type, DisconnectedType) for other in others):
            raise NotImplementedError(NO_SECOND_DERIVATIVE.format(type(self).__name__))
        constants = [disconnected_type() for _ in inputs[self.n_differentiable :]]
        derivatives = outputs[1 : self.n_differentiable + 1]
        pairs = zip(derivatives, inputs[: self.n_differentiable], strict=True)
        if isinstance(value_cotangent.type, DisconnectedType):
            return [disconnected_type() for _ in inputs]
        return [self.contract(value_cotangent, *pair) for pair in pairs] + constants

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Outputs depend differentiably on the first inputs only."""
        return [[k < self.n_differentiable] * len(node.outputs) for k in range(len(node.inputs))]


def source_version(*modules: ModuleType) -> int:
    """Version number of kernels for PyTensor's cache: a hash of their modules' source.

    PyTensor cannot see into a kernel: with a number kept by hand, forgotten once, its cache would
    go on serving the old code.
    """
    source = "".join(inspect.getsource(module) for module in modules)
    return zlib.crc32(source.encode())


def outputs_of(shape: tuple[int | None, ...], n_output: int) -> list[TensorVariable]:
    """Float64 output variables of one static shape."""
    return [tensor(dtype="float64", shape=shape) for _ in range(n_output)]


class NoSecondDerivative:
    """Refuses a pullback: a derivative left out silently would give a wrong Hessian."""

    def pullback(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        cotangents: Sequence[Variable],
    ) -> list[Variable]:
        """Raise."""
        raise NotImplementedError(NO_SECOND_DERIVATIVE.format(type(self).__name__))
