"""Boxes of binaries, of a run of companions and eight neighboring primaries at once.

A box has a weight, a mean and a covariance of its magnitudes, from the moments of its two sides to
second order. The function of the total mass is taken at two nodes, one standard deviation before
and behind the mean; its change between them in parts of it, the tilt in 1/Msun, moves the means of
both sides.

Tables have rows of eight, one for each primary. Rows of primaries: `MASS`, `FACTOR`, `MASS_SPREAD`
(the variance of the mass), then for each band those of `in_band`, then the packed covariance of the
magnitudes. Rows of boxes: `WEIGHT`, `COLOR`, `MAG`, `OFF` (squared distance to the primary, in
steps), then the weight times each of: the mean magnitudes, and their packed second moments.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pymc_starpop.kernels.hess_companions import MAG_PER_LN
from pymc_starpop.kernels.simd import (
    LANES,
    constant,
    gather,
    load_rows,
    load_scalar,
    offset,
    pointer,
    splat,
    store_rows,
)

MASS, FACTOR, MASS_SPREAD = range(3)
#: One over the flux, the magnitude, one over the squared step, the covariance with the mass.
INVERSE, OWN_MAG, STEP, WITH_MASS = range(4)
WEIGHT, COLOR, MAG, OFF = range(4)
N_BOX = 4


def packed_index(row, column):
    """Place of an element of a symmetric matrix, row by row up to the diagonal."""
    return row * (row + 1) // 2 + column


def n_moment(n_band):
    """Columns of the moments of companions."""
    return 2 + n_band + (n_band + 1) * (n_band + 2) // 2


def _table_at(builder, table, x):
    """Linear interpolation in an evenly spaced table, clamped at its ends, for eight numbers."""
    start, per_step, last, values = table
    u = ((x - start) * per_step).maximum(0.0).minimum(last)
    index, part = u.split()
    below, above = [], []
    for lane in range(LANES):
        at = offset(
            builder, values, builder.extract_element(index, ir.Constant(ir.IntType(32), lane))
        )
        below.append(load_scalar(builder, at))
        above.append(load_scalar(builder, offset(builder, at, 1)))
    low, high = gather(builder, below), gather(builder, above)
    return low + part * (high - low)


def _weights(builder, primary, run, table):
    """Weight and tilt of eight boxes."""
    total = primary[MASS] + run[1]
    # A run with next to no weight can have any length.
    s = (primary[MASS_SPREAD] + run["cov", 0, 0]).sqrt().minimum(total * 0.5)
    s = s.maximum(total * 1e-9)
    low, high = (_table_at(builder, table, x) for x in (total - s).log_with(total + s))
    both = low + high
    tilt = (high - low) / (both * s).maximum(1e-300)
    return both * 0.5 * primary[FACTOR] * run[0], tilt


def _boxes(builder, n_band, primary, run, table, matrix):
    """Rows of eight boxes."""
    weight, tilt = _weights(builder, primary, run, table)
    k = MAG_PER_LN
    off, at = None, [constant(builder, 0.0)] * 2
    shares, means, spread = [], [], {}
    for b in range(n_band):
        inverse, own_mag, step, with_mass = (primary["band", b, row] for row in range(4))
        ratio = (run[2 + b] + tilt * run["cov", b + 1, 0]) * inverse
        brighter = ratio + 1.0
        share = 1.0 / brighter
        shares.append(share)
        for c in range(b + 1):
            both = inverse * primary["band", c, INVERSE] * (k * k)
            of_second = both * run["cov", b + 1, c + 1]
            spread[b, c] = share * shares[c] * (primary["cov", b, c] + of_second)
        # Magnitudes bend over the box. What is left of the loop is the variance of band b.
        bend = share * share * (of_second - ratio * primary["cov", b, b])
        moved = share * tilt * with_mass - brighter.log() * k + bend * (0.5 / k)
        mag = own_mag + moved
        squared = moved * moved * step
        off = squared if off is None else off + squared
        at = [place + mag * row[b] for place, row in zip(at, matrix, strict=True)]
        means.append(mag)
    rows = {WEIGHT: weight, COLOR: at[0], MAG: at[1], OFF: off}
    for b in range(n_band):
        rows[N_BOX + b] = weight * means[b]
        for c in range(b + 1):
            second = spread[b, c] + means[b] * means[c]
            rows[N_BOX + n_band + packed_index(b, c)] = weight * second
    return rows


def _primary(builder, n_band, address):
    """The rows of eight primaries by name."""
    first = 3 + 4 * n_band
    rows = load_rows(builder, address, range(first + n_band * (n_band + 1) // 2))
    named = dict(enumerate(rows[:3]))
    for b in range(n_band):
        for row in range(4):
            named["band", b, row] = rows[3 + 4 * b + row]
        for c in range(b + 1):
            named["cov", b, c] = rows[first + packed_index(b, c)]
    return named


def _run(n_band, columns):
    """The columns of a run by name."""
    named = dict(enumerate(columns[: 2 + n_band]))
    for b in range(n_band + 1):
        for c in range(b + 1):
            named["cov", b, c] = columns[2 + n_band + packed_index(b, c)]
    return named


def _fill_boxes(one_by_one):
    """Make the intrinsic for runs of the same companions, or of other ones for each primary."""

    @intrinsic
    def fill(typingctx, n, runs, moments, primary, table, matrix, out):
        n_band = matrix.dtype.count

        def codegen(context, builder, signature, args):
            n, runs, moments, primary_at, table, matrix, out = args
            start, per_step, last, values = cgutils.unpack_tuple(builder, table, 4)
            table = (*(splat(builder, x) for x in (start, per_step, last)), values)
            matrix = [
                [splat(builder, x) for x in cgutils.unpack_tuple(builder, row, n_band)]
                for row in cgutils.unpack_tuple(builder, matrix, 2)
            ]
            n_row = N_BOX + n_band + n_band * (n_band + 1) // 2
            with cgutils.for_range(builder, n) as loop:
                if one_by_one:
                    columns = load_rows(builder, moments, range(n_moment(n_band)))
                else:
                    place = pointer(builder, offset(builder, runs, loop.index), ir.IntType(64))
                    row = builder.mul(
                        builder.load(place, align=8), ir.Constant(ir.IntType(64), n_moment(n_band))
                    )
                    at = offset(builder, moments, row)
                    columns = [
                        splat(builder, load_scalar(builder, offset(builder, at, column)))
                        for column in range(n_moment(n_band))
                    ]
                primary = _primary(builder, n_band, primary_at)
                rows = _boxes(builder, n_band, primary, _run(n_band, columns), table, matrix)
                skip = builder.mul(loop.index, ir.Constant(loop.index.type, n_row * LANES))
                store_rows(builder, offset(builder, out, skip), rows)
            return context.get_dummy_value()

        arguments = types.intp, types.intp, types.intp, types.intp, table, matrix, types.intp
        return types.void(*arguments), codegen

    return fill


#: Fill n tables of boxes from n rows of the moments of runs, given by their numbers. Takes n, the
#: addresses of the numbers (int64), the moments and the primaries, a table of the function of the
#: total mass over its logarithm (start, one over the step, largest index, address), the matrix as
#: tuples, and the address of the tables.
fill_boxes = _fill_boxes(one_by_one=False)
#: The same for one run that differs from primary to primary: the moments are a table of rows.
fill_cut_boxes = _fill_boxes(one_by_one=True)
