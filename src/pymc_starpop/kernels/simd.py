"""Arithmetic on eight neighbors at once, as explicit vector instructions.

LLVM does not vectorize these short loops by itself, because it cannot know that the arrays do not
overlap. Each function below emits the loop over bands with vectors of eight float64; LLVM turns
them into whatever the processor has. All arrays are C-contiguous with eight lanes on the last
axis; addresses are those of `address_of`.
"""

from collections.abc import Callable

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8
_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, LANES)
_ROW_BYTES = 8 * LANES
# Contraction to fused multiply-add; nothing that touches NaN or infinity.
_FLAGS = ("contract",)


@numba.njit(inline="always")
def address_of(array, offset):
    """Address of the element that lies `offset` elements of float64 into a contiguous array."""
    return types.intp(array.ctypes.data) + 8 * offset


def _pointer(builder, address, kind):
    return builder.inttoptr(address, kind.as_pointer())


def _splat(builder, scalar):
    """Copy a scalar into all lanes."""
    zero = ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), scalar, zero)
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, one, mask)


def _constant(value):
    return ir.Constant(_VECTOR, [value] * LANES)


def _maximum(builder, a, b):
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _minimum(builder, a, b):
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


def _load_scalar(builder, address, index):
    offset = builder.mul(index, ir.Constant(index.type, 8))
    return builder.load(_pointer(builder, builder.add(address, offset), _DOUBLE), align=8)


def _load_row(builder, address, index):
    offset = builder.mul(index, ir.Constant(index.type, _ROW_BYTES))
    return builder.load(_pointer(builder, builder.add(address, offset), _VECTOR), align=8)


def _store_row(builder, value, address, row):
    target = builder.add(address, ir.Constant(address.type, row * _ROW_BYTES))
    builder.store(value, _pointer(builder, target, _VECTOR), align=8)


def _mask_at_least(builder, values, threshold):
    """Bits of the lanes whose value is at least the threshold, as an int64."""
    passed = builder.fcmp_ordered(">=", values, _splat(builder, threshold))
    bits = builder.bitcast(passed, ir.IntType(LANES))
    return builder.zext(bits, ir.IntType(64))


def _accumulate(builder, n_band, n_sum, terms: Callable):
    """Sum vectors over bands: terms(index of the band) gives one vector for each sum."""
    sums = [cgutils.alloca_once_value(builder, _constant(0.0)) for _ in range(n_sum)]
    for total in sums:
        builder.store(_constant(0.0), total)
    with cgutils.for_range(builder, n_band) as loop:
        for total, term in zip(sums, terms(loop.index), strict=True):
            builder.store(builder.fadd(builder.load(total), term, flags=_FLAGS), total)
    return [builder.load(total) for total in sums]


@intrinsic
def lowest_bit(typingctx, mask):
    """Index of the lowest bit that is set, in a mask that is not 0."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen


@intrinsic
def bound_boxes(typingctx, n_band, mag, inverse, low, high, weight, threshold, out):
    """out[j] = weight[j] - chi2(star, box j) / 2 for eight boxes low, high (B, 8).

    Returns the bits of the boxes whose bound is at least the threshold.
    """
    signature = types.int64(
        types.intp, types.intp, types.intp, types.intp, types.intp, types.intp, types.float64,
        types.intp,
    )  # fmt: skip

    def codegen(context, builder, signature, args):
        n_band, mag, inverse, low, high, weight, threshold, out = args

        def terms(b):
            x = _splat(builder, _load_scalar(builder, mag, b))
            p = _splat(builder, _load_scalar(builder, inverse, b))
            below = builder.fsub(_load_row(builder, low, b), x)
            above = builder.fsub(x, _load_row(builder, high, b))
            away = _maximum(builder, _maximum(builder, below, above), _constant(0.0))
            return [builder.fmul(builder.fmul(away, away, flags=_FLAGS), p, flags=_FLAGS)]

        (chi2,) = _accumulate(builder, n_band, 1, terms)
        first = ir.Constant(weight.type, 0)
        half = builder.fmul(chi2, _constant(0.5))
        bound = builder.fsub(_load_row(builder, weight, first), half)
        _store_row(builder, bound, out, 0)
        return _mask_at_least(builder, bound, threshold)

    return signature, codegen


@intrinsic
def quadratic_forms(typingctx, n_band, mag, inverse, start, step, out):
    """Rows 0 to 2 of out (>= 3, 8): A = d'Pd, B = d'Pr, C = r'Pr of eight segments (B, 8)."""
    signature = types.void(*([types.intp] * 6))

    def codegen(context, builder, signature, args):
        n_band, mag, inverse, start, step, out = args

        def terms(b):
            x = _splat(builder, _load_scalar(builder, mag, b))
            p = _splat(builder, _load_scalar(builder, inverse, b))
            d = _load_row(builder, step, b)
            r = builder.fsub(x, _load_row(builder, start, b))
            pd = builder.fmul(p, d, flags=_FLAGS)
            pr = builder.fmul(p, r, flags=_FLAGS)
            pairs = ((pd, d), (pd, r), (pr, r))
            return [builder.fmul(u, v, flags=_FLAGS) for u, v in pairs]

        for row, form in enumerate(_accumulate(builder, n_band, 3, terms)):
            _store_row(builder, form, out, row)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def reddening_forms(typingctx, n_band, mag, inverse, start, step, reddening, out):
    """Rows 3 to 5 of out (>= 6, 8): k'Dk, k'Dd, k'Dr of eight segments (B, 8)."""
    signature = types.void(*([types.intp] * 7))

    def codegen(context, builder, signature, args):
        n_band, mag, inverse, start, step, reddening, out = args

        def terms(b):
            x = _splat(builder, _load_scalar(builder, mag, b))
            p = _splat(builder, _load_scalar(builder, inverse, b))
            k = _load_row(builder, reddening, b)
            r = builder.fsub(x, _load_row(builder, start, b))
            pk = builder.fmul(p, k, flags=_FLAGS)
            return [builder.fmul(pk, v, flags=_FLAGS) for v in (k, _load_row(builder, step, b), r)]

        for row, form in enumerate(_accumulate(builder, n_band, 3, terms)):
            _store_row(builder, form, out, row + 3)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def bound_segments(typingctx, form, weight, threshold, out):
    """out[j] = weight[j] - (smallest chi2 on segment j) / 2, from rows 0 to 2 of form.

    Returns the bits of the segments whose bound is at least the threshold.
    """
    signature = types.int64(types.intp, types.intp, types.float64, types.intp)

    def codegen(context, builder, signature, args):
        form, weight, threshold, out = args
        a, b, c = (_load_row(builder, form, ir.Constant(form.type, i)) for i in range(3))
        inside = _minimum(builder, _maximum(builder, b, _constant(0.0)), a)
        nearest = builder.fdiv(inside, _maximum(builder, a, _constant(1e-300)))
        drop = builder.fsub(builder.fmul(b, _constant(2.0)), builder.fmul(a, nearest))
        half = builder.fmul(builder.fsub(c, builder.fmul(nearest, drop)), _constant(0.5))
        first = ir.Constant(weight.type, 0)
        bound = builder.fsub(_load_row(builder, weight, first), half)
        _store_row(builder, bound, out, 0)
        return _mask_at_least(builder, bound, threshold)

    return signature, codegen
