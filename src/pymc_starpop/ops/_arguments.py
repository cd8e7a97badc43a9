"""What a user gives as numbers, arrays or variables, as checked tensor variables."""

from typing import Any

import numpy as np
from pytensor import tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor import TensorVariable

__all__ = ["as_tensor", "number_of", "short", "values_of"]


def values_of(value: Any) -> Any:
    """Tensor of a labeled one (`pymc.dims`, xarray), everything else as it is."""
    return value if isinstance(value, np.ndarray) else getattr(value, "values", value)


def number_of(value: Any) -> np.ndarray | None:
    """Array of what is known when the model is built, None for what is not."""
    if isinstance(value, Constant):
        return np.asarray(value.data, dtype=float)
    return None if isinstance(value, Variable) else np.asarray(value, dtype=float)


def as_tensor(name: str, value: Any, ndims: tuple[int, ...], bound: str = "") -> TensorVariable:
    """Float64 variable after checking dimensions and, of numbers, that they keep to the bound.

    The bound is ``"positive"``, ``"not negative"`` or none; all numbers must be finite.
    """
    value = values_of(value)
    number = number_of(value)
    if number is not None:
        inside = number > 0 if bound == "positive" else number >= 0 if bound else True
        if not np.all(np.isfinite(number) & inside):
            expected = f"finite and {bound}" if bound else "finite"
            raise ValueError(f"{name}: must be {expected}, got {short(number)}.")
    variable = pt.as_tensor(value)
    if variable.type.ndim not in ndims:
        expected = " or ".join(map(str, ndims))
        raise ValueError(
            f"{name}: expected {expected} dimension(s), got {variable.type.ndim} ({variable})."
        )
    return variable.astype("float64")


def short(number: np.ndarray) -> str:
    return f"{float(number):g}" if number.ndim == 0 else f"{number.min():g} to {number.max():g}"
