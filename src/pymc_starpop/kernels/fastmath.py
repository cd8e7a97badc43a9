"""Arithmetic that LLVM can vectorize: an exponential and the quadrature points that use it."""

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

#: Flags under which sums may be reordered and vectorized; NaN and infinity keep their meaning.
FAST = {"reassoc", "contract", "nsz", "arcp"}

_LOG2E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
# Adding 1.5 * 2^52 leaves the nearest integer in the low bits of the mantissa.
_ROUND_TO_INTEGER = 6755399441055744.0


@intrinsic
def _bits_of(typingctx, value):
    """Return the bit pattern of a float64 as an int64."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@intrinsic
def _float_of(typingctx, bits):
    """Return the float64 with the given int64 bit pattern."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


# No `reassoc` here: it would cancel the rounding constant.
@numba.njit(cache=True, error_model="numpy", fastmath={"contract"}, inline="never")
def exp_nonpositive(x: float) -> float:
    """Return exp(x) for -700 <= x <= 0 to 3e-16 relative, without a branch or a table.

    Range reduction by ln 2 in two parts (Cody & Waite 1980) and the Taylor series of degree 12.
    """
    shifted = x * _LOG2E + _ROUND_TO_INTEGER
    n = shifted - _ROUND_TO_INTEGER
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return p * _float_of((_bits_of(shifted) + 1023) << 52)


def _unit_gauss_legendre(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes and weights of Gauss-Legendre quadrature on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 * (nodes + 1.0), 0.5 * weights


GL16_NODES, GL16_WEIGHTS = _unit_gauss_legendre(16)
GL24_NODES, GL24_WEIGHTS = _unit_gauss_legendre(24)


_SQRT2 = 1.4142135623730951
_LN2 = 0.6931471805599453


@numba.njit(cache=True, error_model="numpy", fastmath={"contract"}, inline="never")
def log1p_unit(x: float) -> float:
    """Return log(1 + x) for 0 <= x <= 1 to 1e-16 relative, without a branch or a table.

    The series of 2 artanh(s) with s = x / (2 + x), or with s = (x - 1) / (x + 3) above
    sqrt(2) - 1 where log(1 + x) = ln 2 + log((1 + x) / 2).
    """
    above = x > _SQRT2 - 1.0
    s = (x - 1.0) / (x + 3.0) if above else x / (2.0 + x)
    s2 = s * s
    p = 2.0 / 21.0
    p = p * s2 + 2.0 / 19.0
    p = p * s2 + 2.0 / 17.0
    p = p * s2 + 2.0 / 15.0
    p = p * s2 + 2.0 / 13.0
    p = p * s2 + 2.0 / 11.0
    p = p * s2 + 2.0 / 9.0
    p = p * s2 + 2.0 / 7.0
    p = p * s2 + 2.0 / 5.0
    p = p * s2 + 2.0 / 3.0
    p = p * s2 + 2.0
    return s * p + (_LN2 if above else 0.0)
