"""Products of templates with vectors, for 32 bins at a time, as explicit vector instructions.

Templates are stored in single precision in blocks of `BLOCK` bins, (N_block, N_column, BLOCK): the
bins of a block for one template are two lines of the cache, so that a template that is left out
costs no traffic. Arithmetic is in double precision. Time goes into fetching the templates from
memory: while a block is worked on, its successor, `ahead` bytes further, is asked for. `columns`
holds the byte offsets of the templates in a block, a multiple of `GROUP` of them, to which those
with a coefficient of 0 may be repeated. Addresses are those of `simd.address_of`.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pymc_starpop.kernels.simd import (
    LANES,
    Vector,
    accumulate,
    constant,
    load,
    load_scalar,
    offset,
    pointer,
    splat,
    store,
    sum_lanes,
)

BLOCK = 32
GROUP = 8
# Bytes of the templates of a block that belong to one column.
COLUMN_BYTES = 4 * BLOCK

_VECTORS = BLOCK // LANES
_LINE = 64  # bytes of a cache line
_AT_ONCE = 2  # columns that are summed side by side, so that one addition need not wait for another
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)
_INT = ir.IntType(64)
_BYTE = ir.IntType(8).as_pointer()
# Smallest normal float64: the logarithm of `simd` takes nothing below.
_SMALLEST = 2.2250738585072014e-308


def _bytes_further(builder, address, number):
    return builder.add(address, ir.Constant(address.type, number))


def _load_floats(builder, address):
    """Eight float32 as float64."""
    single = builder.load(builder.inttoptr(address, _FLOATS.as_pointer()), align=4)
    return Vector(builder, builder.fpext(single, _DOUBLES))


def _column(builder, block, columns, index):
    """Address of the bins of a block for the column at an index of the list."""
    at = builder.load(pointer(builder, offset(builder, columns, index), _INT), align=8)
    return builder.add(block, at)


def _ask_for(builder, address, part):
    """Fetch the first (0) or second (1) half of the bins of a column into the cache."""
    number = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [_BYTE, number, number, number])
    prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch")
    half = COLUMN_BYTES // 2
    for at in range(part * half, (part + 1) * half, _LINE):
        where = builder.inttoptr(_bytes_further(builder, address, at), _BYTE)
        # For reading, into all levels of the data cache.
        builder.call(prefetch, [where, number(0), number(3), number(1)])


def _sums_of_eight(builder, vectors):
    """Vector of the sums over the lanes of eight vectors."""

    def pick(left, right, lanes):
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), lanes)
        return builder.shuffle_vector(left, right, mask)

    def join(values, lanes):
        """Add the lanes that `lanes` names in each pair to those `step` further."""
        step = LANES // len(values)
        return [
            builder.fadd(
                pick(left, right, lanes), pick(left, right, [lane + step for lane in lanes])
            )
            for left, right in zip(values[::2], values[1::2], strict=True)
        ]

    values = [vector.value for vector in vectors]
    values = join(values, [0, 8, 2, 10, 4, 12, 6, 14])
    values = join(values, [0, 1, 8, 9, 4, 5, 12, 13])
    values = join(values, [0, 1, 2, 3, 8, 9, 10, 11])
    return Vector(builder, values[0])


@intrinsic
def add_counts(typingctx, block, columns, n_column, coefficients, counts, ahead):
    """Add templates times coefficients to the counts (BLOCK,) of the bins of a block."""

    def codegen(context, builder, signature, args):
        block, columns, n_column, coefficients, counts, ahead = args
        starts = [load(builder, offset(builder, counts, LANES * v)) for v in range(_VECTORS)]
        starts += [constant(builder, 0.0)] * ((_AT_ONCE - 1) * _VECTORS)

        def step(index, totals):
            result = []
            for k in range(_AT_ONCE):
                i = builder.add(builder.mul(index, _INT(_AT_ONCE)), _INT(k))
                address = _column(builder, block, columns, i)
                _ask_for(builder, builder.add(address, ahead), 0)
                coefficient = splat(builder, load_scalar(builder, offset(builder, coefficients, i)))
                for v in range(_VECTORS):
                    bins = _load_floats(builder, _bytes_further(builder, address, 4 * LANES * v))
                    result.append(bins * coefficient + totals[k * _VECTORS + v])
            return result

        totals = accumulate(builder, builder.udiv(n_column, _INT(_AT_ONCE)), starts, step)
        for v in range(_VECTORS):
            total = totals[v]
            for k in range(1, _AT_ONCE):
                total = total + totals[k * _VECTORS + v]
            store(builder, total, offset(builder, counts, LANES * v))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), codegen


@intrinsic
def add_projections(typingctx, block, columns, n_column, weights, result, ahead):
    """Add to `result` (n_column,) the sums over the bins of a block of templates times weights."""

    def codegen(context, builder, signature, args):
        block, columns, n_column, weights, result, ahead = args
        weight = [load(builder, offset(builder, weights, LANES * v)) for v in range(_VECTORS)]
        with cgutils.for_range(builder, builder.udiv(n_column, _INT(GROUP))) as loop:
            first = builder.mul(loop.index, _INT(GROUP))
            sums = []
            for k in range(GROUP):
                address = _column(builder, block, columns, builder.add(first, _INT(k)))
                _ask_for(builder, builder.add(address, ahead), 1)
                total = _load_floats(builder, address) * weight[0]
                for v in range(1, _VECTORS):
                    bins = _load_floats(builder, _bytes_further(builder, address, 4 * LANES * v))
                    total = bins * weight[v] + total
                sums.append(total)
            place = offset(builder, result, first)
            store(builder, load(builder, place) + _sums_of_eight(builder, sums), place)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), codegen


@intrinsic
def log_ratios(typingctx, counts, observed, ratios):
    """Store n/m of the bins of a block and return the sum of n ln(m/n) + n; NaN unless all m > 0.

    Bins with n = 0, which fill up the last block, add nothing.
    """

    def codegen(context, builder, signature, args):
        counts, observed, ratios = args
        total = constant(builder, 0.0)
        for v in range(_VECTORS):
            m, n = (load(builder, offset(builder, at, LANES * v)) for at in (counts, observed))
            used = n.compare(">", 0.0)
            ratio = n / m
            # Ordered comparisons are false for NaN.
            valid = builder.and_(
                builder.and_(m.compare(">", 0.0), ratio.compare(">=", _SMALLEST)),
                ratio.compare("<", float("inf")),
            )
            logarithm = ratio.where(valid, constant(builder, 1.0)).log()
            term = (n - n * logarithm).where(valid, constant(builder, float("nan")))
            total = total + term.where(used, constant(builder, 0.0))
            kept = builder.and_(used, valid)
            store(
                builder,
                ratio.where(kept, constant(builder, 0.0)),
                offset(builder, ratios, LANES * v),
            )
        return sum_lanes(builder, total)

    return types.float64(*[types.intp] * 3), codegen
