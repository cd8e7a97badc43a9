"""Quadratic forms of eight segments as one star sees them, and what eight pairs add to a gradient.

Stars may scatter along up to three directions: with u_k the mean of direction k at both ends of a
segment, the model of star i is displaced by sum_k o_ik u_k and its covariance is

    S = D^-1 + sum_k v_k u_k u_k',

D the diagonal inverse variances and v_k = spread_k^2. The precision P = S^-1 comes from one step of
Sherman & Morrison (1950) for each direction: with P_0 = D and p_k = P_(k-1) u_k,

    P_k = P_(k-1) - s_k p_k p_k',   s_k = v_k / (1 + v_k u_k'p_k),

and |S| D grows by the factor 1 + v_k u_k'p_k. In sum P = D - D U Q U'D with a matrix Q of as many
rows as there are directions, for which v_k P u_k = D U Q e_k and v_k u_k'P x = (Q U'D x)_k.

The eight segments are a block of `tiles`: `nodes` is the address of the rows of its starts (B, 8),
which those of its ends follow, and `directions` that of the means u_k (K, B, 8). The functions for
0, 1, 2 and 3 directions are written by the same emitters.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pymc_starpop.kernels.segment import I0, I1, I2, LOG_PEAK, TILT_MOMENT, WEIGHT
from pymc_starpop.kernels.simd import (
    accumulate,
    constant,
    load,
    load_rows,
    load_scalar,
    offset,
    splat,
    store,
    store_rows,
    store_scalar,
    sum_lanes,
)
from pymc_starpop.kernels.star_vectors import ends_of, row_of, star_in

#: More directions than this have no function here.
MOST_DIRECTIONS = 3


def n_extra(n_direction):
    """Rows that each pair has for its directions: s_k, u_k'Pd, u_k'Pr, and the factors below."""
    return 3 * n_direction + n_direction * (n_direction - 1) // 2


def _pairs(n_direction):
    """Pairs of different directions j < k."""
    return [(j, k) for k in range(n_direction) for j in range(k)]


def gram_pairs(n_direction):
    """Pairs of directions j <= k."""
    return [(j, k) for k in range(n_direction) for j in range(k + 1)]


def _direction_at(builder, directions, n_band, band, k):
    """Address of direction k in a band."""
    row = builder.add(builder.mul(n_band, ir.Constant(n_band.type, k)), band)
    return row_of(builder, directions, row)


def scalars(builder, address, n):
    """The first n float64 at an address, each in all lanes."""
    return [splat(builder, load_scalar(builder, offset(builder, address, k))) for k in range(n)]


def eliminate(forms, cross, spread):
    """Turn the forms under D into those under P; return the rows to save and |S| D.

    `forms` (A, B, C) is changed; `cross` holds u_j'Dd, u_j'Dr and (for j <= k) u_j'Du_k.
    """
    by_d, by_r, gram = cross
    n = len(spread)
    rows, factors, determinant = [], {}, None
    for k, v in enumerate(spread):
        growth = v * gram[k, k] + 1.0
        s = v / growth
        determinant = growth if determinant is None else determinant * growth
        d, r = by_d[k], by_r[k]
        sd, sr = s * d, s * r
        forms[0] = forms[0] - sd * d
        forms[1] = forms[1] - sd * r
        forms[2] = forms[2] - sr * r
        rows += [s, d, r]
        for j in range(k + 1, n):
            factors[k, j] = s * gram[k, j]
            by_d[j] = by_d[j] - factors[k, j] * d
            by_r[j] = by_r[j] - factors[k, j] * r
            for i in range(k + 1, j + 1):
                gram[i, j] = gram[i, j] - factors[k, i] * gram[k, j]
    return rows + [factors[pair] for pair in _pairs(n)], determinant


def _emit_forms(builder, n_direction, args):
    """Store A, B, C and the rows of `n_extra`; log |S| D is added to C."""
    n_band, mag, inverse, nodes, directions, displacement, spread, out, extra = args
    moved = scalars(builder, displacement, n_direction)
    gram_of = gram_pairs(n_direction)

    def step(band, totals):
        x, p = star_in(builder, mag, inverse, band)
        start, end = ends_of(builder, nodes, n_band, band)
        d, r = end - start, x - start
        u = []
        for k in range(n_direction):
            u.append(load(builder, _direction_at(builder, directions, n_band, band, k)))
            r = r - moved[k] * u[k]
        pd, pr, pu = p * d, p * r, [p * x for x in u]
        terms = [pd * d, pd * r, pr * r, *[pd * x for x in u], *[pr * x for x in u]]
        terms += [pu[j] * u[k] for j, k in gram_of]
        return [total + term for total, term in zip(totals, terms, strict=True)]

    starts = [constant(builder, 0.0)] * (3 + 2 * n_direction + len(gram_of))
    totals = accumulate(builder, n_band, starts, step)
    forms, rest = totals[:3], totals[3:]
    if n_direction:
        by_d, by_r = rest[:n_direction], rest[n_direction : 2 * n_direction]
        gram = dict(zip(gram_of, rest[2 * n_direction :], strict=True))
        spreads = scalars(builder, spread, n_direction)
        rows, determinant = eliminate(forms, (by_d, by_r, gram), spreads)
        forms[0] = forms[0].maximum(0.0)
        forms[2] = forms[2].maximum(0.0) + determinant.log()
        store_rows(builder, extra, dict(enumerate(rows)))
    store_rows(builder, out, dict(enumerate(forms)))


def _forms_with(n_direction):
    """Make the intrinsic for a number of directions."""

    @intrinsic
    def forms(typingctx, n_band, mag, inverse, nodes, directions, displacement, spread, out, extra):
        signature = types.void(*([types.intp] * 9))

        def codegen(context, builder, signature, args):
            _emit_forms(builder, n_direction, args)
            return context.get_dummy_value()

        return signature, codegen

    return forms


def _correction(rows, n_direction):
    """Q and the vectors Q U'Dd, Q U'Dr from the rows of `n_extra`."""
    n = n_direction
    s, d, r = ([rows[3 * k + i] for k in range(n)] for i in range(3))
    factors = dict(zip(_pairs(n), rows[3 * n :], strict=True))
    # p_k = D U g_k, with 1 at place k of g_k and 0 beyond.
    g = {}
    for k in range(n):
        for i in range(k):
            g[k, i] = factors[i, k] * -1.0
            for j in range(i + 1, k):
                g[k, i] = g[k, i] - factors[j, k] * g[j, i]

    def weighted(values, i):
        """Sum over k of values_k g_ki."""
        total = values[i]
        for k in range(i + 1, n):
            total = total + values[k] * g[k, i]
        return total

    by_d, by_r = ([weighted([s[k] * x[k] for k in range(n)], i) for i in range(n)] for x in (d, r))
    q = {}
    for j in range(n):
        column = [s[k] * g[k, j] if k > j else s[k] for k in range(n)]
        for i in range(j + 1):
            # Terms with k < j vanish: g_kj is 0 there.
            total = column[j] * g[j, i] if i < j else column[j]
            for k in range(j + 1, n):
                total = total + column[k] * g[k, i]
            q[i, j] = q[j, i] = total
    return by_d, by_r, q


def _add_lanes(builder, address, vector):
    """Add to the eight float64 at an address."""
    store(builder, load(builder, address) + vector, address)


def _add_to(builder, address, index, scalar):
    """Add to the float64 `index` words from an address."""
    target = offset(builder, address, index)
    store_scalar(builder, builder.fadd(load_scalar(builder, target), scalar), target)


def _emit_pairs(builder, n_direction, args):
    """Add what eight pairs contribute; with G as in `cluster`, 2 v_k G u_k goes to direction k."""
    (
        n_band, mag, inverse, nodes, directions, displacement, batch, extra, base, g_nodes,
        g_directions, g_weights, g_tilts, g_mag, g_variance, g_spread, g_offset,
    ) = args  # fmt: skip
    peak, weight, tilt_moment, *moments = load_rows(
        builder, batch, (LOG_PEAK, WEIGHT, TILT_MOMENT, I0, I1, I2)
    )
    # In this order a pair without weight gives 0 also where its peak is beyond all others.
    scale = (peak * weight) * splat(builder, base)
    _add_lanes(builder, g_weights, (peak * moments[0]) * splat(builder, base))
    _add_lanes(builder, g_tilts, scale * tilt_moment)
    i0, i1, i2 = (scale * moment for moment in moments)
    moved = scalars(builder, displacement, n_direction)
    by_d, by_r, q = _correction(load_rows(builder, extra, range(n_extra(n_direction))), n_direction)
    # v_k u_k'(Pr I0 - Pd I1) and v_k u_k'(Pr I1 - Pd I2)
    both = [by_r[k] * i0 - by_d[k] * i1 for k in range(n_direction)]
    ends = [by_r[k] * i1 - by_d[k] * i2 for k in range(n_direction)]

    def step(band, totals):
        x, p = star_in(builder, mag, inverse, band)
        start, end = ends_of(builder, nodes, n_band, band)
        d, r = end - start, x - start
        u = []
        for k in range(n_direction):
            u.append(load(builder, _direction_at(builder, directions, n_band, band, k)))
            r = r - moved[k] * u[k]
        # v_k P u_k / D
        pu = []
        for k in range(n_direction):
            r, d = r - u[k] * by_r[k], d - u[k] * by_d[k]
            total = u[0] * q[0, k]
            for j in range(1, n_direction):
                total = total + u[j] * q[j, k]
            pu.append(total * p)
        pd, pr, diagonal = p * d, p * r, p
        for k in range(n_direction):
            diagonal = diagonal - pu[k] * u[k] * p
        at_end, at_both = pr * i1 - pd * i2, pr * i0 - pd * i1
        _add_lanes(builder, row_of(builder, g_nodes, band), at_both - at_end)
        _add_lanes(builder, row_of(builder, g_nodes, builder.add(n_band, band)), at_end)
        # A star that moves is the model that moves the other way.
        _add_lanes(builder, row_of(builder, g_mag, band), at_both * -1.0)
        half = (pr * at_both - pd * at_end - diagonal * i0) * 0.5
        _add_lanes(builder, row_of(builder, g_variance, band), half)
        for k in range(n_direction):
            spread = pr * both[k] - pd * ends[k] - pu[k] * i0
            of = _direction_at(builder, g_directions, n_band, band, k)
            _add_lanes(builder, of, spread + moved[k] * at_both)
            totals[2 * k] = totals[2 * k] + u[k] * spread
            totals[2 * k + 1] = totals[2 * k + 1] + u[k] * at_both
        return totals

    totals = accumulate(builder, n_band, [constant(builder, 0.0)] * (2 * n_direction), step)
    for k in range(n_direction):
        _add_to(builder, g_spread, k, sum_lanes(builder, totals[2 * k]))
        _add_to(builder, g_offset, k, sum_lanes(builder, totals[2 * k + 1]))


def _pairs_with(n_direction):
    """Make the intrinsic for a number of directions."""

    @intrinsic
    def pairs(
        typingctx, n_band, mag, inverse, nodes, directions, displacement, batch, extra, base,
        g_nodes, g_directions, g_weights, g_tilts, g_mag, g_variance, g_spread, g_offset,
    ):  # fmt: skip
        signature = types.void(*([types.intp] * 8), types.float64, *([types.intp] * 8))

        def codegen(context, builder, signature, args):
            _emit_pairs(builder, n_direction, args)
            return context.get_dummy_value()

        return signature, codegen

    return pairs


#: Rows of quadratic forms, by the number of directions.
forms_0, forms_1, forms_2, forms_3 = (_forms_with(n) for n in range(MOST_DIRECTIONS + 1))
#: Derivatives of eight pairs, times `base`; what is added is at the addresses of the same names.
pairs_0, pairs_1, pairs_2, pairs_3 = (_pairs_with(n) for n in range(MOST_DIRECTIONS + 1))
