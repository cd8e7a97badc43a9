"""Moving eight times eight numbers between rows of tracks and columns of tiles.

The eight values of each of eight tracks, which lie `across` words apart, are turned around, so that
the eight lanes of a vector are the tracks. Addresses come from `address_of`; see `tiles`.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pymc_starpop.kernels.simd import (
    LANES,
    WORD,
    Vector,
    bits_of_lanes,
    constant,
    gather,
    lanes_of,
    lanes_of_bits,
    load,
    load_scalar,
    offset,
    pointer,
    store,
    store_scalar,
    sum_lanes,
    transposed,
)


def _lines(builder, address, apart):
    """Eight addresses, `apart` words from each other."""
    return [
        offset(builder, address, builder.mul(apart, ir.Constant(apart.type, k)))
        for k in range(LANES)
    ]


def _turn(builder, tracks, outs):
    """Store the eight points at each of eight addresses as eight vectors; return the points."""
    rows = [load(builder, track) for track in tracks]
    for row, out in zip(transposed(builder, rows), outs, strict=True):
        store(builder, row, out)
    return rows


@intrinsic
def turn_tile(typingctx, track, across, out, apart):
    """Store the points of eight tracks as eight vectors, `apart` words from each other."""

    def codegen(context, builder, signature, args):
        track, across, out, apart = args
        _turn(builder, _lines(builder, track, across), _lines(builder, out, apart))
        return context.get_dummy_value()

    return types.void(*([types.intp] * 4)), codegen


@intrinsic
def add_tile(typingctx, table, apart, track, across):
    """Add eight vectors, `apart` words from each other, to the points of eight tracks."""

    def codegen(context, builder, signature, args):
        table, apart, track, across = args
        rows = transposed(builder, [load(builder, line) for line in _lines(builder, table, apart)])
        for row, line in zip(rows, _lines(builder, track, across), strict=True):
            store(builder, load(builder, line) + row, line)
        return context.get_dummy_value()

    return types.void(*([types.intp] * 4)), codegen


@intrinsic
def turn_nodes(typingctx, track, across, out, apart, low, high):
    """Store nine points of eight tracks as nine vectors, and the boxes of the segments between.

    Vectors lie `apart` words from each other; at `low` and `high` are the smallest and the largest
    value of all tracks on each of the eight segments.
    """

    def codegen(context, builder, signature, args):
        track, across, out, apart, low, high = args
        tracks, outs = _lines(builder, track, across), _lines(builder, out, apart)
        rows = _turn(builder, tracks, outs)
        ninth = [load_scalar(builder, offset(builder, line, LANES)) for line in tracks]
        store(builder, gather(builder, ninth), offset(builder, outs[-1], apart))
        ends = [load(builder, offset(builder, line, 1)) for line in tracks]
        bottom = top = rows[0]
        for points in (*rows[1:], *ends):
            bottom, top = bottom.minimum(points), top.maximum(points)
        store(builder, bottom, low)
        store(builder, top, high)
        return context.get_dummy_value()

    return types.void(*([types.intp] * 6)), codegen


@intrinsic
def turn_segments(
    typingctx, weights, tilts, scale, across, lanes, blocks, out_weights, out_tilts, alive, largest
):
    """Store what eight segments of eight tracks hold as eight blocks.

    Parameters
    ----------
    weights, tilts, scale, across
        Addresses of the first segment, and words from one track to the next.
    lanes, blocks
        Bits of the tracks and of the segments that count.
    out_weights, out_tilts
        Addresses of eight vectors in a row; weights of what does not count are 0.
    alive
        Address of eight integers: bits of the lanes that count and have a scale above 0.
    largest
        Address of the largest scale in each block, 0 where no lane counts.
    """
    signature = types.void(*([types.intp] * 4), types.int64, types.int64, *([types.intp] * 4))

    def codegen(context, builder, signature, args):
        weights, tilts, scale, across, lanes, blocks, out_weights, out_tilts, alive, largest = args
        columns = [
            [load(builder, line) for line in _lines(builder, start, across)]
            for start in (weights, tilts, scale)
        ]
        every, counts = lanes_of_bits(builder, lanes), lanes_of_bits(builder, blocks)
        top = constant(builder, 0.0)
        for k, column in enumerate(columns[2]):
            mine = builder.extract_element(every, ir.Constant(ir.IntType(32), k))
            top = top.maximum(Vector(builder, builder.select(mine, column.value, top.value)))
        store(builder, top.where(counts, 0.0), largest)
        turned = [transposed(builder, rows) for rows in columns]
        for k, (weight, tilt, size) in enumerate(zip(*turned, strict=True)):
            count = builder.extract_element(counts, ir.Constant(ir.IntType(32), k))
            live = builder.and_(size.compare(">", 0.0), every)
            bits = bits_of_lanes(builder, live)
            bits = builder.select(count, bits, ir.Constant(bits.type, 0))
            place = pointer(builder, offset(builder, alive, k), bits.type)
            builder.store(bits, place, align=WORD)
            of_block = weight.where(lanes_of_bits(builder, bits), 0.0)
            store(builder, of_block, offset(builder, out_weights, LANES * k))
            store(builder, tilt, offset(builder, out_tilts, LANES * k))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def clear_rows(typingctx, table, n_row):
    """Set a table (n_row, 8) to 0."""

    def codegen(context, builder, signature, args):
        table, n_row = args
        with cgutils.for_range(builder, n_row) as loop:
            row = builder.mul(loop.index, ir.Constant(loop.index.type, LANES))
            store(builder, constant(builder, 0.0), offset(builder, table, row))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


@intrinsic
def add_column(typingctx, vector, track, across):
    """Add a vector to one point of each of eight tracks."""

    def codegen(context, builder, signature, args):
        vector, track, across = args
        lanes = lanes_of(builder, load(builder, vector))
        for value, line in zip(lanes, _lines(builder, track, across), strict=True):
            store_scalar(builder, builder.fadd(load_scalar(builder, line), value), line)
        return context.get_dummy_value()

    return types.void(*([types.intp] * 3)), codegen


@intrinsic
def copy_lanes(typingctx, begin, out):
    """Copy eight numbers."""

    def codegen(context, builder, signature, args):
        store(builder, load(builder, args[0]), args[1])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


@intrinsic
def clear_lanes(typingctx, bits, values):
    """Set those of eight numbers to 0 whose bits are not set."""

    def codegen(context, builder, signature, args):
        bits, values = args
        store(builder, load(builder, values).where(lanes_of_bits(builder, bits), 0.0), values)
        return context.get_dummy_value()

    return types.void(types.int64, types.intp), codegen


@intrinsic
def sum_of(typingctx, values):
    """Sum of eight numbers."""

    def codegen(context, builder, signature, args):
        return sum_lanes(builder, load(builder, args[0]))

    return types.float64(types.intp), codegen
