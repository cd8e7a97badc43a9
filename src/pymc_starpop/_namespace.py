"""The array functions that code for both NumPy arrays and PyTensor tensors may use.

Such code takes a keyword ``xp`` that holds a `Namespace`. It assigns nothing in place, indexes with
no booleans, and branches on values only through ``xp.where``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

__all__ = ["NUMPY", "Namespace", "expm1_ratio"]

# Taylor coefficients 1/(k + 1)! of expm1(x)/x; the first one left out, x^9/10!, is below 1e-18.
_EXPM1_RATIO_SERIES = tuple(1.0 / float(special.factorial(k + 1)) for k in range(9))
_EXPM1_RATIO_SWITCH = 0.05


@dataclass(frozen=True)
class Namespace:
    """Elementwise functions and reductions with NumPy's names and signatures.

    Examples
    --------
    >>> float(NUMPY.exp(0.0))
    1.0
    """

    exp: Callable[..., Any]
    log: Callable[..., Any]
    expm1: Callable[..., Any]
    log1p: Callable[..., Any]
    sqrt: Callable[..., Any]
    erf: Callable[..., Any]
    where: Callable[..., Any]
    minimum: Callable[..., Any]
    maximum: Callable[..., Any]
    abs: Callable[..., Any]
    clip: Callable[..., Any]
    stack: Callable[..., Any]
    concatenate: Callable[..., Any]
    sum: Callable[..., Any]
    cumsum: Callable[..., Any]
    softmax: Callable[..., Any]


NUMPY = Namespace(
    exp=np.exp,
    log=np.log,
    expm1=np.expm1,
    log1p=np.log1p,
    sqrt=np.sqrt,
    erf=special.erf,
    where=np.where,
    minimum=np.minimum,
    maximum=np.maximum,
    abs=np.abs,
    clip=np.clip,
    stack=np.stack,
    concatenate=np.concatenate,
    sum=np.sum,
    cumsum=np.cumsum,
    softmax=special.softmax,
)


def expm1_ratio(x: Any, xp: Any = NUMPY) -> Any:
    """Return (exp(x) - 1)/x, with value 1 and slope 1/2 at x = 0.

    Below 0.05 in absolute value a series takes over, so that the automatic gradient is exact
    there too; each branch sees a harmless argument where the other one is taken.

    Parameters
    ----------
    x : array or tensor
        Any shape, dimensionless.
    xp : Namespace
        The functions to use.

    Examples
    --------
    >>> float(expm1_ratio(0.0))
    1.0
    """
    near_zero = xp.abs(x) < _EXPM1_RATIO_SWITCH
    small = xp.where(near_zero, x, 0.0)
    series = _EXPM1_RATIO_SERIES[-1]
    for coefficient in _EXPM1_RATIO_SERIES[-2::-1]:
        series = coefficient + small * series
    large = xp.where(near_zero, 1.0, x)
    return xp.where(near_zero, series, xp.expm1(large) / large)
