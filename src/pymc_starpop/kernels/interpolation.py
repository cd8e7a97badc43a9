"""C1 cubic interpolation in isochrone grids and in tables of bolometric corrections.

Along each axis the interpolant is the cubic Hermite polynomial whose derivatives at the nodes are
those of the parabola through three neighboring nodes (one-sided at the two ends). It is continuous
with its first derivative, exact for quadratics, passes through every node, and is linear in the
table: four weights per axis. More axes are tensor products. Outside its axis a coordinate is
clamped and the derivative in it is zero, so that every number stays finite; whoever calls decides
what lies outside the grid.

The NumPy twins are in `pymc_starpop.kernels.reference.interpolation`.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from pymc_starpop.kernels.simd import (
    LANES,
    add,
    address_of,
    constant,
    get,
    load,
    load_scalar,
    offset,
    put,
    splat,
    still_needed,
    store,
)

# "numpy": a division by zero gives inf or nan instead of raising inside a sampler. No fast-math:
# a kernel inlined into a larger function would round differently from the same kernel called from
# Python, and these loops vectorize without it.
NUMBA_OPTIONS = {"cache": True, "error_model": "numpy", "nogil": True}

N_WEIGHT = 4


@njit(**NUMBA_OPTIONS)
def _add_node_derivative(axis, n, node, i0, scale, weights):
    """Add scale times the weights of dy/dx at a node, from the parabola through three nodes."""
    p = min(max(node - 1, 0), n - 3)
    x, a, b, c = get(axis, node), get(axis, p), get(axis, p + 1), get(axis, p + 2)
    k = p - i0
    add(weights, k, scale * (2.0 * x - b - c) / ((a - b) * (a - c)))
    add(weights, k + 1, scale * (2.0 * x - a - c) / ((b - a) * (b - c)))
    add(weights, k + 2, scale * (2.0 * x - a - b) / ((c - a) * (c - b)))


@njit(**NUMBA_OPTIONS)
def _interval(axis, n, x):
    """Index j with axis[j] <= x < axis[j + 1], the last interval for the last node."""
    low, high = 0, n - 1
    while high - low > 1:
        middle = (low + high) // 2
        if x >= get(axis, middle):
            low = middle
        else:
            high = middle
    return low


@njit(**NUMBA_OPTIONS)
def _fill_hermite_weights(axis, n, x, w, dw):
    """Write four weights and derivative weights to w and dw, return the first index.

    The axis of n nodes, w and dw are addresses: this runs twice for every node of an isochrone,
    and counting references to arrays would take most of its time.
    """
    for k in range(N_WEIGHT):
        put(w, k, 0.0)
        put(dw, k, 0.0)
    if n == 1:
        put(w, 0, 1.0)
        return 0
    # Written so that NaN too ends on the axis.
    inside = x >= get(axis, 0) and x <= get(axis, n - 1)
    if not inside:
        x = get(axis, n - 1) if x > get(axis, n - 1) else get(axis, 0)
    j = _interval(axis, n, x)
    h = get(axis, j + 1) - get(axis, j)
    u = (x - get(axis, j)) / h
    v = 1.0 - u
    i0 = 0
    if n == 2:
        put(w, 0, v)
        put(w, 1, u)
        put(dw, 0, -1.0 / h)
        put(dw, 1, 1.0 / h)
    else:
        i0 = max(min(j - 1, n - N_WEIGHT), 0)
        put(w, j - i0, (1.0 + 2.0 * u) * v * v)
        put(w, j + 1 - i0, u * u * (3.0 - 2.0 * u))
        put(dw, j - i0, -6.0 * u * v / h)
        put(dw, j + 1 - i0, 6.0 * u * v / h)
        _add_node_derivative(axis, n, j, i0, h * u * v * v, w)
        _add_node_derivative(axis, n, j + 1, i0, -h * u * u * v, w)
        _add_node_derivative(axis, n, j, i0, v * (1.0 - 3.0 * u), dw)
        _add_node_derivative(axis, n, j + 1, i0, u * (3.0 * u - 2.0), dw)
    if not inside:
        for k in range(N_WEIGHT):
            put(dw, k, 0.0)
    return i0


@njit(**NUMBA_OPTIONS)
def hermite_weights(axis, x):
    """Weights of C1 cubic interpolation along one axis.

    y(x) = sum_k w[k] y[i0 + k] and dy/dx = sum_k dw[k] y[i0 + k].

    Parameters
    ----------
    axis : ndarray (n,)
        Strictly ascending nodes. With n < 4 only the first n weights count: a parabola through
        three nodes, a straight line through two, a constant for one.
    x : float
        Coordinate; outside the axis it is clamped, with zero derivative weights.

    Returns
    -------
    i0 : int
        Index of the first node used.
    w, dw : ndarray (4,)
        Weights of the value and of the derivative.

    Examples
    --------
    >>> i0, w, dw = hermite_weights(np.arange(6.0), 2.5)
    >>> int(i0), w.tolist()
    (1, [-0.0625, 0.5625, 0.5625, -0.0625])
    """
    w = np.empty(N_WEIGHT)
    dw = np.empty(N_WEIGHT)
    nodes = np.ascontiguousarray(axis)
    i0 = _fill_hermite_weights(
        address_of(nodes, 0), nodes.size, x, address_of(w, 0), address_of(dw, 0)
    )
    still_needed(nodes)
    return i0, w, dw


@njit(**NUMBA_OPTIONS)
def interpolate_theory(feh, log_age, feh_axis, age_axis, table):
    """Interpolate an isochrone at fixed EEP, with its derivatives in [Fe/H] and log age.

    Parameters
    ----------
    feh : float
        [Fe/H] (dex).
    log_age : float
        log10(age / yr).
    feh_axis : ndarray (F,)
        Ascending [Fe/H] of the grid.
    age_axis : ndarray (A,)
        Ascending log10(age / yr) of the grid.
    table : ndarray (F, A, E, Q)
        Q quantities (log10 of mass, T_eff, gravity and luminosity) at E EEP nodes.

    Returns
    -------
    value, d_feh, d_age : ndarray (Q, E)
        Quantities and their derivatives.
    """
    n_feh, n_age, n_node, n_quantity = table.shape
    n_row = n_node * n_quantity
    rows = np.ascontiguousarray(table).reshape((n_feh, n_age, n_row))
    f0, wf, df = hermite_weights(feh_axis, feh)
    a0, wa, da = hermite_weights(age_axis, log_age)
    flat = np.zeros((3, n_row))
    value, d_feh, d_age = flat[0], flat[1], flat[2]
    for i in range(min(N_WEIGHT, n_feh)):
        for j in range(min(N_WEIGHT, n_age)):
            w, w_feh, w_age = wf[i] * wa[j], df[i] * wa[j], wf[i] * da[j]
            if w == 0.0 and w_feh == 0.0 and w_age == 0.0:
                continue
            row = rows[f0 + i, a0 + j]
            for k in range(n_row):
                value[k] += w * row[k]
                d_feh[k] += w_feh * row[k]
                d_age[k] += w_age * row[k]
    out = np.empty((3, n_quantity, n_node))
    for m in range(3):
        for e in range(n_node):
            for q in range(n_quantity):
                out[m, q, e] = flat[m, e * n_quantity + q]
    return out[0], out[1], out[2]


@intrinsic
def _add_row(typingctx, n, scale, row, out):
    """Add `scale` times a row to out, eight numbers `n` times; both are addresses."""

    def codegen(context, builder, signature, args):
        n, scale, row, out = args
        factor = splat(builder, scale)
        with cgutils.for_range(builder, n) as loop:
            skip = builder.mul(loop.index, ir.Constant(loop.index.type, LANES))
            target = offset(builder, out, skip)
            total = load(builder, target) + factor * load(builder, offset(builder, row, skip))
            store(builder, total, target)
        return context.get_dummy_value()

    return types.void(types.intp, types.float64, types.intp, types.intp), codegen


@intrinsic
def _add_cells(typingctx, n, cells, stride, wt, dt, wg, dg, out, out_stride):
    """Add four by four cells of (T_eff, log g), times their weights, to four sums.

    Parameters
    ----------
    n : int
        Rows are `n` times eight numbers long.
    cells : address
        First cell: the row of the value, and behind it that of its slope in [Fe/H]. The next cell
        in log g follows; the next one in T_eff lies `stride` numbers further.
    wt, dt, wg, dg : addresses of the four weights and derivative weights in T_eff and log g
    out : address of the first of four rows, `out_stride` numbers apart: value, derivatives in
        T_eff, log g and [Fe/H]
    """

    def codegen(context, builder, signature, args):
        n, cells, stride, wt, dt, wg, dg, out, out_stride = args
        weights = [
            [load_scalar(builder, offset(builder, address, k)) for k in range(N_WEIGHT)]
            for address in (wt, dt, wg, dg)
        ]
        (wt, dt, wg, dg) = ([splat(builder, w) for w in four] for four in weights)
        row = builder.mul(n, ir.Constant(n.type, LANES))
        with cgutils.for_range(builder, n) as loop:
            skip = builder.mul(loop.index, ir.Constant(loop.index.type, LANES))
            sums = [constant(builder, 0.0) for _ in range(4)]
            for i in range(N_WEIGHT):
                at = builder.add(skip, builder.mul(stride, ir.Constant(stride.type, i)))
                parts = [constant(builder, 0.0) for _ in range(3)]
                for j in range(N_WEIGHT):
                    place = builder.add(at, builder.mul(row, ir.Constant(row.type, 2 * j)))
                    plain = load(builder, offset(builder, cells, place))
                    slope = load(builder, offset(builder, cells, builder.add(place, row)))
                    terms = (plain * wg[j], plain * dg[j], slope * wg[j])
                    parts = [part + term for part, term in zip(parts, terms, strict=True)]
                value, d_g, d_feh = parts
                terms = (value * wt[i], value * dt[i], d_g * wt[i], d_feh * wt[i])
                sums = [total + term for total, term in zip(sums, terms, strict=True)]
            for k, total in enumerate(sums):
                place = builder.add(skip, builder.mul(out_stride, ir.Constant(row.type, k)))
                store(builder, total, offset(builder, out, place))
        return context.get_dummy_value()

    return types.void(*([types.intp] * 9)), codegen


@njit(**NUMBA_OPTIONS)
def _interpolate_corrections(log_teff, log_g, feh, teff_axis, g_axis, feh_axis, table, combined):
    """Interpolate K combinations of the polynomials' coefficients in B bands.

    The [Fe/H] axis and the powers are contracted once for each (T_eff, log g) cell that some node
    needs.

    Parameters
    ----------
    log_teff, log_g, feh, teff_axis, g_axis, feh_axis, table
        As for `interpolate_bolometric`.
    combined : ndarray (P, K)
        Combination k is the sum over p of combined[p, k] times coefficient p.

    Returns
    -------
    ndarray (4, E, at least K B)
        Combinations, the bands of the first one first, and their derivatives in log_teff, log_g
        and feh.
    """
    n_feh, n_teff, n_g, n_band, n_power = table.shape
    n_node, n_sum = log_teff.size, combined.shape[1]
    n_value = n_band * n_sum
    # Rows as long as whole vectors, and always four neighbors on each axis.
    n_vector = (n_value + LANES - 1) // LANES
    n_row = n_vector * LANES
    rows = np.ascontiguousarray(table)
    padded = np.zeros(n_row)
    f0, wf, df = hermite_weights(feh_axis, feh)
    n_column = max(n_g, N_WEIGHT)
    cells = np.empty((max(n_teff, N_WEIGHT), n_column, 2, n_row))
    cells[n_teff:] = 0.0
    cells[:, n_g:] = 0.0
    ready = np.zeros((n_teff, n_g), dtype=np.bool_)
    found = np.empty((4, n_node, n_row))
    four = np.zeros((4, N_WEIGHT))
    teff_nodes, g_nodes = np.ascontiguousarray(teff_axis), np.ascontiguousarray(g_axis)
    to_rows, to_padded = address_of(rows, 0), address_of(padded, 0)
    to_teff, to_g = address_of(teff_nodes, 0), address_of(g_nodes, 0)
    wt, dt = address_of(four, 0), address_of(four, N_WEIGHT)
    wg, dg = address_of(four, 2 * N_WEIGHT), address_of(four, 3 * N_WEIGHT)
    last_t, last_g = -1, -1
    for e in range(n_node):
        t0 = _fill_hermite_weights(to_teff, n_teff, log_teff[e], wt, dt)
        g0 = _fill_hermite_weights(to_g, n_g, log_g[e], wg, dg)
        # Neighbors mostly need the same cells.
        n_new = 0 if t0 == last_t and g0 == last_g else N_WEIGHT
        last_t, last_g = t0, g0
        for t in range(t0, min(t0 + n_new, n_teff)):
            for g in range(g0, min(g0 + n_new, n_g)):
                if ready[t, g]:
                    continue
                ready[t, g] = True
                into = address_of(cells, (t * n_column + g) * 2 * n_row)
                for v in range(2 * n_row):
                    put(into, v, 0.0)
                for i in range(min(N_WEIGHT, n_feh)):
                    place = (((f0 + i) * n_teff + t) * n_g + g) * n_band * n_power
                    for k in range(n_sum):
                        for b in range(n_band):
                            total = 0.0
                            for p in range(n_power):
                                total += combined[p, k] * get(to_rows, place + b * n_power + p)
                            put(to_padded, k * n_band + b, total)
                    _add_row(n_vector, wf[i], to_padded, into)
                    _add_row(n_vector, df[i], to_padded, into + 8 * n_row)
        _add_cells(
            n_vector, address_of(cells, (t0 * n_column + g0) * 2 * n_row), n_column * 2 * n_row,
            wt, dt, wg, dg, address_of(found, e * n_row), n_node * n_row,
        )  # fmt: skip
    still_needed(teff_nodes)
    still_needed(g_nodes)
    still_needed(four)
    still_needed(rows)
    still_needed(padded)
    return found


@njit(**NUMBA_OPTIONS)
def _orders(rows, first, n_order, n_band):
    """Return combinations (M, E, B), from the first of M on, out of rows (E, at least K B)."""
    out = np.empty((n_order, rows.shape[0], n_band))
    for k in range(n_order):
        for e in range(rows.shape[0]):
            for b in range(n_band):
                out[k, e, b] = rows[e, (first + k) * n_band + b]
    return out


@njit(**NUMBA_OPTIONS)
def interpolate_bolometric(log_teff, log_g, feh, teff_axis, g_axis, feh_axis, table):
    """Interpolate bolometric-correction coefficients, with derivatives in all three coordinates.

    Parameters
    ----------
    log_teff : ndarray (E,)
        log10(T_eff / K) of the isochrone's nodes.
    log_g : ndarray (E,)
        log10 of surface gravity (cgs).
    feh : float
        [Fe/H] (dex).
    teff_axis, g_axis, feh_axis : ndarray (T,), (G,), (Fb,)
        Ascending axes of the table.
    table : ndarray (Fb, T, G, B, P)
        P polynomial coefficients in A_V of the correction in B bands.

    Returns
    -------
    value, d_teff, d_g, d_feh : ndarray (E, B, P)
        Coefficients and their derivatives in log_teff, log_g and feh.
    """
    n_band, n_power = table.shape[3:]
    found = _interpolate_corrections(
        log_teff, log_g, feh, teff_axis, g_axis, feh_axis, table, np.eye(n_power)
    )
    out = np.empty((4, found.shape[1], n_band, n_power))
    for m in range(4):
        for p in range(n_power):
            for e in range(found.shape[1]):
                for b in range(n_band):
                    out[m, e, b, p] = found[m, e, p * n_band + b]
    return out[0], out[1], out[2], out[3]


@njit(**NUMBA_OPTIONS)
def interpolate_reddened(
    log_teff, log_g, feh, av, teff_axis, g_axis, feh_axis, table, n_order
):  # fmt: skip
    """Bolometric corrections at one A_V and their derivatives in it.

    Parameters
    ----------
    log_teff, log_g, feh, teff_axis, g_axis, feh_axis, table
        As for `interpolate_bolometric`.
    av : float
        A_V, mag.
    n_order : int
        M: 1 for the correction BC alone, 2 for BC and dBC/dA_V.

    Returns
    -------
    value, d_teff, d_g, d_feh, d_av : ndarray (M, E, B)
        BC and its derivatives in A_V, and what these change by with each of the coordinates.
    """
    n_power = table.shape[4]
    combined = np.zeros((n_power, n_order + 1))
    for k in range(n_order + 1):
        for p in range(k, n_power):
            factor = 1.0
            for lower in range(k):
                factor *= p - lower
            combined[p, k] = factor * av ** (p - k)
    found = _interpolate_corrections(
        log_teff, log_g, feh, teff_axis, g_axis, feh_axis, table, combined
    )
    n_band = table.shape[3]
    return (
        _orders(found[0], 0, n_order, n_band), _orders(found[1], 0, n_order, n_band),
        _orders(found[2], 0, n_order, n_band), _orders(found[3], 0, n_order, n_band),
        _orders(found[0], 1, n_order, n_band),
    )  # fmt: skip


@njit(**NUMBA_OPTIONS)
def interpolate_theory_0d(feh, log_age, feh_axis, age_axis, table):
    """`interpolate_theory` for 0-d arrays feh and log_age, as PyTensor passes scalars."""
    return interpolate_theory(feh.item(), log_age.item(), feh_axis, age_axis, table)


@njit(**NUMBA_OPTIONS)
def interpolate_reddened_0d(
    log_teff, log_g, feh, av, teff_axis, g_axis, feh_axis, table, n_order
):  # fmt: skip
    """`interpolate_reddened` for 0-d arrays in place of the scalars, as PyTensor passes them."""
    return interpolate_reddened(
        log_teff, log_g, feh.item(), av.item(), teff_axis, g_axis, feh_axis, table, n_order.item()
    )
