"""Arithmetic on eight neighbors at once, as explicit vector instructions.

LLVM does not vectorize these short loops by itself, because it cannot know that the arrays do not
overlap. Each function below emits the loop over bands with vectors of eight float64; LLVM turns
them into whatever the processor has. All arrays are C-contiguous with eight lanes on the last
axis; addresses are those of `address_of`.
"""

import math
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

_LOG2E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
# Adding 1.5 * 2^52 leaves the nearest integer in the low bits of the mantissa.
_ROUND_TO_INTEGER = 6755399441055744.0


class Vector:
    """Float64 lanes in code that is being emitted, with the operators of arithmetic."""

    def __init__(self, builder, value):
        self.builder = builder
        self.value = value

    def _lift(self, other):
        if isinstance(other, Vector):
            return other.value
        kind = self.value.type
        lanes = other if isinstance(kind, ir.DoubleType) else [other] * kind.count
        return ir.Constant(kind, lanes)

    def _apply(self, method, left, right):
        return Vector(self.builder, method(left, right, flags=_FLAGS))

    def __add__(self, other):
        return self._apply(self.builder.fadd, self.value, self._lift(other))

    def __sub__(self, other):
        return self._apply(self.builder.fsub, self.value, self._lift(other))

    def __rsub__(self, other):
        return self._apply(self.builder.fsub, self._lift(other), self.value)

    def __mul__(self, other):
        return self._apply(self.builder.fmul, self.value, self._lift(other))

    def __truediv__(self, other):
        return self._apply(self.builder.fdiv, self.value, self._lift(other))

    def __rtruediv__(self, other):
        return self._apply(self.builder.fdiv, self._lift(other), self.value)

    __radd__ = __add__
    __rmul__ = __mul__

    def compare(self, relation, other):
        """Lanes of booleans."""
        return self.builder.fcmp_ordered(relation, self.value, self._lift(other))

    def maximum(self, other):
        """The larger one in each lane."""
        return self.where(self.compare(">", other), other)

    def minimum(self, other):
        """The smaller one in each lane."""
        return self.where(self.compare("<", other), other)

    def where(self, condition, other):
        """Lanes of `self` where the condition holds, of the other elsewhere."""
        chosen = self.builder.select(condition, self.value, self._lift(other))
        return Vector(self.builder, chosen)

    def _call(self, name):
        kind = self.value.type
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(kind, [kind]), f"llvm.{name}.v{kind.count}f64"
        )
        return Vector(self.builder, self.builder.call(function, [self.value]))

    def sqrt(self):
        """Square root."""
        return self._call("sqrt")

    def abs(self):
        """Absolute value."""
        return self._call("fabs")

    def exp(self):
        """exp(x) for -700 <= x <= 700 to 1e-14 relative.

        Range reduction by ln 2 in two parts (Cody & Waite 1980) and the Taylor series of
        degree 11.
        """
        builder, bits = self.builder, ir.VectorType(ir.IntType(64), self.value.type.count)
        shifted = self * _LOG2E + _ROUND_TO_INTEGER
        n = shifted - _ROUND_TO_INTEGER
        r = (self - n * _LN2_HIGH) - n * _LN2_LOW
        series = r * (1.0 / math.factorial(11)) + 1.0 / math.factorial(10)
        for k in range(9, -1, -1):
            series = series * r + 1.0 / math.factorial(k)
        exponent = builder.add(
            builder.bitcast(shifted.value, bits), ir.Constant(bits, [1023] * bits.count)
        )
        power = builder.shl(exponent, ir.Constant(bits, [52] * bits.count))
        return series * Vector(builder, builder.bitcast(power, self.value.type))


def splat(builder, scalar):
    """Vector of eight copies of a scalar."""
    return Vector(builder, _splat(builder, scalar))


def _larger(builder, a, b):
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _smaller(builder, a, b):
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


def _reduce(builder, vector, combine):
    """Combine the lanes pairwise into a scalar, halves of the vector first."""
    value, lanes = vector.value, vector.value.type.count
    while lanes > 1:
        lanes //= 2
        halves = [
            builder.shuffle_vector(
                value,
                value,
                ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(at, at + lanes))),
            )
            for at in (0, lanes)
        ]
        value = combine(builder, *halves)
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


def sum_lanes(builder, vector):
    """Sum of the eight lanes, a scalar."""
    return _reduce(builder, vector, lambda builder, a, b: builder.fadd(a, b))


def largest_lane(builder, vector):
    """Largest of the eight lanes, a scalar."""
    return _reduce(builder, vector, _larger)


def load_rows(builder, address, rows):
    """Vectors of eight at the given rows of a table (rows, 8)."""
    return [
        Vector(builder, _load_row(builder, address, ir.Constant(address.type, row))) for row in rows
    ]


def store_rows(builder, address, values):
    """Store vectors of eight, given by row, into a table (rows, 8)."""
    for row, vector in values.items():
        _store_row(builder, vector.value, address, row)


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
            away = _larger(builder, _larger(builder, below, above), _constant(0.0))
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
        inside = _smaller(builder, _larger(builder, b, _constant(0.0)), a)
        nearest = builder.fdiv(inside, _larger(builder, a, _constant(1e-300)))
        drop = builder.fsub(builder.fmul(b, _constant(2.0)), builder.fmul(a, nearest))
        half = builder.fmul(builder.fsub(c, builder.fmul(nearest, drop)), _constant(0.5))
        first = ir.Constant(weight.type, 0)
        bound = builder.fsub(_load_row(builder, weight, first), half)
        _store_row(builder, bound, out, 0)
        return _mask_at_least(builder, bound, threshold)

    return signature, codegen


@intrinsic
def copy_segments(typingctx, n_band, n_node, track, start, step, low, high):
    """Turn nodes (n_node, B) into the starts and steps (B, 8) of eight segments, and their box.

    The segments after the last node have no length. Addresses low and high are those of one lane
    of boxes (B, 8).
    """
    signature = types.void(*([types.intp] * 7))

    def codegen(context, builder, signature, args):
        n_band, n_node, track, start, step, low, high = args
        kind = n_band.type
        last = builder.sub(n_node, ir.Constant(kind, 1))
        nodes = []
        for j in range(LANES + 1):
            place = ir.Constant(kind, j)
            place = builder.select(builder.icmp_signed("<", place, last), place, last)
            nodes.append(builder.mul(builder.mul(place, n_band), ir.Constant(kind, 8)))
        nodes = [builder.add(track, node) for node in nodes]
        with cgutils.for_range(builder, n_band) as loop:
            values = [_load_scalar(builder, node, loop.index) for node in nodes]
            begin, end = (_gather(builder, part) for part in (values[:-1], values[1:]))
            row = builder.mul(loop.index, ir.Constant(kind, _ROW_BYTES))
            store_rows(builder, builder.add(start, row), {0: begin})
            store_rows(builder, builder.add(step, row), {0: end - begin})
            bottom = _reduce(builder, begin.minimum(end), _smaller)
            top = _reduce(builder, begin.maximum(end), _larger)
            builder.store(bottom, _pointer(builder, builder.add(low, row), _DOUBLE), align=8)
            builder.store(top, _pointer(builder, builder.add(high, row), _DOUBLE), align=8)
        return context.get_dummy_value()

    return signature, codegen


def _gather(builder, scalars):
    """Vector of the given scalars."""
    vector = ir.Constant(ir.VectorType(_DOUBLE, len(scalars)), ir.Undefined)
    for lane, scalar in enumerate(scalars):
        vector = builder.insert_element(vector, scalar, ir.Constant(ir.IntType(32), lane))
    return Vector(builder, vector)


def _add_bands(builder, star, nodes, moments, targets):
    """Add the derivatives of one pair for a run of bands; see `add_pair`."""
    mag, inverse = star
    y_a, y_b = nodes
    i0, i1, i2 = moments
    pd = inverse * (y_b - y_a)
    pr = inverse * (mag - y_a)
    at_end = pr * i1 - pd * i2
    at_both = pr * i0 - pd * i1
    sums = (at_both - at_end, at_end, (pr * at_both - pd * at_end - inverse * i0) * 0.5)
    for target, term in zip(targets, sums, strict=True):
        total = Vector(builder, builder.load(target, align=8)) + term
        builder.store(total.value, target, align=8)


@intrinsic
def add_pair(typingctx, n_band, mag, inverse, track, i0, i1, i2, g_track, g_scatter):
    """Add dI/dy_a, dI/dy_b and dI/dS_bb of one pair; see `cluster` for the formulas.

    `track` and `g_track` are the addresses of node a (B,), which node b follows; the bands are
    taken eight at a time, then four, two and one.
    """
    signature = types.void(
        types.intp, types.intp, types.intp, types.intp, types.float64, types.float64,
        types.float64, types.intp, types.intp,
    )  # fmt: skip

    def codegen(context, builder, signature, args):
        n_band, mag, inverse, track, i0, i1, i2, g_track, g_scatter = args
        node = builder.mul(n_band, ir.Constant(n_band.type, 8))
        done = ir.Constant(n_band.type, 0)
        for width in (8, 4, 2, 1):
            kind = ir.VectorType(_DOUBLE, width)
            moments = [_gather(builder, [i] * width) for i in (i0, i1, i2)]
            count = builder.udiv(builder.sub(n_band, done), ir.Constant(n_band.type, width))
            with cgutils.for_range(builder, count) as loop:
                band = builder.add(done, builder.mul(loop.index, ir.Constant(done.type, width)))
                offset = builder.mul(band, ir.Constant(band.type, 8))

                def at(*addresses, offset=offset, kind=kind):
                    address = offset
                    for other in addresses:
                        address = builder.add(address, other)
                    return _pointer(builder, address, kind)

                def read(*addresses, at=at):
                    return Vector(builder, builder.load(at(*addresses), align=8))

                star = read(mag), read(inverse)
                nodes = read(track), read(track, node)
                targets = at(g_track), at(g_track, node), at(g_scatter)
                _add_bands(builder, star, nodes, moments, targets)
            done = builder.add(done, builder.mul(count, ir.Constant(done.type, width)))
        return context.get_dummy_value()

    return signature, codegen
