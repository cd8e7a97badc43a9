"""Arithmetic on eight neighbors at once, as explicit vector instructions.

LLVM does not vectorize short loops by itself, because it cannot know that the arrays do not
overlap. The intrinsics of `star_vectors`, `segment` and `binaries` are written with the vectors of
eight float64 of this module instead; LLVM turns them into whatever the processor has. Addresses
are those of `address_of`, in bytes, and need no alignment beyond that of a float64.
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8
_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, LANES)
_INTEGERS = ir.VectorType(ir.IntType(64), LANES)
WORD = 8  # bytes of a float64
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
        return other.value if isinstance(other, Vector) else ir.Constant(_VECTOR, [other] * LANES)

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
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(_VECTOR, [_VECTOR]), f"llvm.{name}.v{LANES}f64"
        )
        return Vector(self.builder, self.builder.call(function, [self.value]))

    def sqrt(self):
        """Square root."""
        return self._call("sqrt")

    def abs(self):
        """Absolute value."""
        return self._call("fabs")

    def log(self):
        """log(x) for finite positive normal x to 1e-16 absolute.

        The exponent times ln 2, and the series of 2 artanh(s), s = (m - 1) / (m + 1), of the
        mantissa m between sqrt(1/2) and sqrt(2).
        """
        power, m = self._exponent()
        return _log_of(power, (m - 1.0) / (m + 1.0))

    def log_with(self, other):
        """log(x) and log(y), of one and another vector, with one division for both."""
        power, m = self._exponent()
        other_power, other_m = other._exponent()
        low, other_low = m + 1.0, other_m + 1.0
        inverse = 1.0 / (low * other_low)
        return (
            _log_of(power, (m - 1.0) * other_low * inverse),
            _log_of(other_power, (other_m - 1.0) * low * inverse),
        )

    def _exponent(self):
        """Exponent, and mantissa between sqrt(1/2) and sqrt(2), of positive normal numbers."""
        builder = self.builder
        bits = builder.bitcast(self.value, _INTEGERS)
        # Without a conversion, which many processors do number by number: the exponent in the low
        # bits of the mantissa of 2^52.
        exponent = builder.or_(builder.lshr(bits, _integers(52)), _integers(1075 << 52))
        mantissa = builder.or_(builder.and_(bits, _integers((1 << 52) - 1)), _integers(1023 << 52))
        power = Vector(builder, builder.bitcast(exponent, _VECTOR)) - (2.0**52 + 1023.0)
        m = Vector(builder, builder.bitcast(mantissa, _VECTOR))
        large = m.compare(">", math.sqrt(2.0))
        return (power + 1.0).where(large, power), (m * 0.5).where(large, m)

    def split(self):
        """A near whole number as lanes of int64, and what is left, for 0 <= x < 2^31.

        The number is the nearest to x - 1/2: what is left is between 0 and 1, both included.
        """
        shifted = self - 0.5 + _ROUND_TO_INTEGER
        whole = shifted - _ROUND_TO_INTEGER
        bits = self.builder.bitcast(shifted.value, _INTEGERS)
        return self.builder.and_(bits, _integers((1 << 32) - 1)), self - whole

    def exp(self):
        """exp(x) for -700 <= x <= 700 to 1e-14 relative.

        Range reduction by ln 2 in two parts (Cody & Waite 1980) and the Taylor series of
        degree 11.
        """
        builder = self.builder
        shifted = self * _LOG2E + _ROUND_TO_INTEGER
        n = shifted - _ROUND_TO_INTEGER
        r = (self - n * _LN2_HIGH) - n * _LN2_LOW
        series = polynomial(r, [1.0 / math.factorial(k) for k in range(12)])
        exponent = builder.add(builder.bitcast(shifted.value, _INTEGERS), _integers(1023))
        power = builder.shl(exponent, _integers(52))
        return series * Vector(builder, builder.bitcast(power, _VECTOR))


def polynomial(x, coefficients):
    """Sum of coefficients[k] x^k, by the scheme of Estrin (1960).

    Neighbors are joined in pairs, with x, x^2, x^4 ...: a chain of a few steps that depend on each
    other, where Horner's scheme has one for each coefficient, and the processor waits.
    """
    terms = [float(c) for c in coefficients]
    while len(terms) > 1:
        pairs = [x * high + low for low, high in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
        x = x * x
    return terms[0]


def _log_of(power, s):
    """Logarithm from the exponent and s = (m - 1) / (m + 1) of the mantissa m."""
    series = polynomial(s * s, [2.0 / k for k in range(1, 22, 2)])
    return power * math.log(2.0) + s * series


def _integers(number):
    return ir.Constant(_INTEGERS, [number] * LANES)


def splat(builder, scalar):
    """Vector of eight copies of a scalar."""
    zero = ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), scalar, zero)
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return Vector(builder, builder.shuffle_vector(one, one, mask))


def constant(builder, number):
    """Vector of eight times a number known when the code is emitted."""
    return Vector(builder, ir.Constant(_VECTOR, [number] * LANES))


def gather(builder, scalars):
    """Vector of eight given scalars."""
    vector = ir.Constant(_VECTOR, ir.Undefined)
    for lane, scalar in enumerate(scalars):
        vector = builder.insert_element(vector, scalar, ir.Constant(ir.IntType(32), lane))
    return Vector(builder, vector)


def lanes_of(builder, vector):
    """The eight lanes as scalars."""
    return [
        builder.extract_element(vector.value, ir.Constant(ir.IntType(32), lane))
        for lane in range(LANES)
    ]


def transposed(builder, rows):
    """Eight vectors as the columns of a table of which eight vectors are the rows."""
    index = ir.VectorType(ir.IntType(32), LANES)
    values = [row.value for row in rows]
    # Halves of pairs that lie 4, 2 and 1 apart change places.
    for width in (4, 2, 1):
        low = [lane if not lane & width else lane - width + LANES for lane in range(LANES)]
        high = [lane + width if not lane & width else lane + LANES for lane in range(LANES)]
        for k in range(LANES):
            if not k & width:
                pair = values[k], values[k + width]
                values[k] = builder.shuffle_vector(*pair, ir.Constant(index, low))
                values[k + width] = builder.shuffle_vector(*pair, ir.Constant(index, high))
    return [Vector(builder, value) for value in values]


def _reduce(builder, vector, combine):
    """Combine the lanes pairwise into a scalar, halves of the vector first."""
    value, lanes = vector.value, LANES
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
        value = combine(*halves)
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


def sum_lanes(builder, vector):
    """Sum of the eight lanes, a scalar."""
    return _reduce(builder, vector, builder.fadd)


def largest_lane(builder, vector):
    """Largest of the eight lanes, a scalar."""
    return _reduce(
        builder, vector, lambda a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b)
    )


def smallest_lane(builder, vector):
    """Smallest of the eight lanes, a scalar."""
    return _reduce(
        builder, vector, lambda a, b: builder.select(builder.fcmp_ordered("<", a, b), a, b)
    )


def bits_of_lanes(builder, condition):
    """Eight booleans as the lowest bits of an int64."""
    return builder.zext(builder.bitcast(condition, ir.IntType(LANES)), ir.IntType(64))


def lanes_of_bits(builder, bits):
    """Eight booleans from the lowest bits of an int64."""
    return builder.bitcast(
        builder.trunc(bits, ir.IntType(LANES)), ir.VectorType(ir.IntType(1), LANES)
    )


def pointer(builder, address, kind=_DOUBLE):
    """Pointer from an address."""
    return builder.inttoptr(address, kind.as_pointer())


def offset(builder, address, words):
    """Address that lies a number of float64 further; `words` is a Python int or an IR integer."""
    if isinstance(words, int):
        return builder.add(address, ir.Constant(address.type, WORD * words))
    return builder.add(address, builder.mul(words, ir.Constant(words.type, WORD)))


def load_scalar(builder, address):
    """The float64 at an address."""
    return builder.load(pointer(builder, address), align=WORD)


def store_scalar(builder, value, address):
    """Store a float64."""
    builder.store(value, pointer(builder, address), align=WORD)


def load(builder, address):
    """Vector of the eight float64 at an address."""
    return Vector(builder, builder.load(pointer(builder, address, _VECTOR), align=WORD))


def store(builder, vector, address):
    """Store eight float64."""
    builder.store(vector.value, pointer(builder, address, _VECTOR), align=WORD)


def load_rows(builder, address, rows):
    """Vectors of eight at the given rows of a table (rows, 8)."""
    return [load(builder, offset(builder, address, LANES * row)) for row in rows]


def store_rows(builder, address, values):
    """Store vectors of eight, given by row, into a table (rows, 8)."""
    for row, vector in values.items():
        store(builder, vector, offset(builder, address, LANES * row))


def accumulate(builder, n_step, starts, step):
    """Loop n_step times over vectors: totals = step(index, totals), from the given vectors."""
    slots = [cgutils.alloca_once_value(builder, start.value) for start in starts]
    for slot, start in zip(slots, starts, strict=True):
        builder.store(start.value, slot)
    with cgutils.for_range(builder, n_step) as loop:
        totals = step(loop.index, [Vector(builder, builder.load(slot)) for slot in slots])
        for slot, total in zip(slots, totals, strict=True):
            builder.store(total.value, slot)
    return [Vector(builder, builder.load(slot)) for slot in slots]


@intrinsic
def address_of(typingctx, array, start):
    """Address of the element that lies `start` elements of 8 bytes into a contiguous array.

    The array must live on for as long as the address is used. No reference is counted: atomic
    counting costs more than the arithmetic of one star.
    """
    if not isinstance(array, types.Array) or array.layout != "C":
        return None

    def codegen(context, builder, signature, args):
        struct = context.make_array(signature.args[0])(context, builder, args[0])
        begin = builder.ptrtoint(struct.data, ir.IntType(64))
        return builder.add(begin, builder.mul(args[1], ir.Constant(ir.IntType(64), WORD)))

    return types.intp(array, types.intp), codegen


@njit(cache=True, error_model="numpy")
def aligned_empty(n):
    """Allocate n float64 that begin at a line of the cache: vectors then lie in one line each."""
    room = np.empty(n + LANES)
    skip = -(address_of(room, 0) // WORD) % LANES
    return room[skip : skip + n]


@njit(cache=True, inline="never")
def still_needed(array):
    """Keep an array alive up to here, where only its address was used before."""


@intrinsic
def get(typingctx, address, index):
    """The float64 that lies `index` words from an address."""

    def codegen(context, builder, signature, args):
        return load_scalar(builder, offset(builder, *args))

    return types.float64(types.intp, types.intp), codegen


@intrinsic
def put(typingctx, address, index, value):
    """Store a float64 `index` words from an address."""

    def codegen(context, builder, signature, args):
        store_scalar(builder, args[2], offset(builder, args[0], args[1]))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.float64), codegen


@intrinsic
def add(typingctx, address, index, value):
    """Add to the float64 that lies `index` words from an address."""

    def codegen(context, builder, signature, args):
        target = offset(builder, args[0], args[1])
        store_scalar(builder, builder.fadd(load_scalar(builder, target), args[2]), target)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.float64), codegen


@intrinsic
def get_integer(typingctx, address, index):
    """The int64 that lies `index` words from an address."""

    def codegen(context, builder, signature, args):
        place = pointer(builder, offset(builder, *args), ir.IntType(64))
        return builder.load(place, align=WORD)

    return types.int64(types.intp, types.intp), codegen


@intrinsic
def put_integer(typingctx, address, index, value):
    """Store an int64 `index` words from an address."""

    def codegen(context, builder, signature, args):
        place = pointer(builder, offset(builder, args[0], args[1]), ir.IntType(64))
        builder.store(args[2], place, align=WORD)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.int64), codegen


@intrinsic
def lowest_bit(typingctx, mask):
    """Index of the lowest bit that is set, in a mask that is not 0."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen
