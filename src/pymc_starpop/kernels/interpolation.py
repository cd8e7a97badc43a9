"""C1 cubic interpolation in isochrone grids and in tables of bolometric corrections.

Along each axis the interpolant is the cubic Hermite polynomial whose derivatives at the nodes are
those of the parabola through three neighboring nodes (one-sided at the two ends). It is continuous
with its first derivative, exact for quadratics, passes through every node, and is linear in the
table: four weights per axis. More axes are tensor products. Outside its axis a coordinate is
clamped and the derivative in it is zero, so that every number stays finite; whoever calls decides
what lies outside the grid.

The NumPy twins are in `pymc_starpop.kernels.reference_interpolation`.
"""

import numpy as np
from numba import njit

# "numpy": a division by zero gives inf or nan instead of raising inside a sampler. No fast-math:
# a kernel inlined into a larger function would round differently from the same kernel called from
# Python, and these loops vectorize without it.
NUMBA_OPTIONS = {"cache": True, "error_model": "numpy", "nogil": True}

N_WEIGHT = 4


@njit(**NUMBA_OPTIONS)
def _add_node_derivative(axis, node, i0, scale, weights):
    """Add scale times the weights of dy/dx at a node, from the parabola through three nodes."""
    p = min(max(node - 1, 0), axis.size - 3)
    x, a, b, c = axis[node], axis[p], axis[p + 1], axis[p + 2]
    k = p - i0
    weights[k] += scale * (2.0 * x - b - c) / ((a - b) * (a - c))
    weights[k + 1] += scale * (2.0 * x - a - c) / ((b - a) * (b - c))
    weights[k + 2] += scale * (2.0 * x - a - b) / ((c - a) * (c - b))


@njit(**NUMBA_OPTIONS)
def _interval(axis, x):
    """Index j with axis[j] <= x < axis[j + 1], the last interval for the last node."""
    low, high = 0, axis.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if x >= axis[middle]:
            low = middle
        else:
            high = middle
    return low


@njit(**NUMBA_OPTIONS)
def fill_hermite_weights(axis, x, w, dw):
    """Write weights and derivative weights into w (4,) and dw (4,), return the first index."""
    n = axis.size
    w[:] = 0.0
    dw[:] = 0.0
    if n == 1:
        w[0] = 1.0
        return 0
    # Written so that NaN too ends on the axis.
    inside = x >= axis[0] and x <= axis[n - 1]
    if not inside:
        x = axis[n - 1] if x > axis[n - 1] else axis[0]
    j = _interval(axis, x)
    h = axis[j + 1] - axis[j]
    u = (x - axis[j]) / h
    v = 1.0 - u
    if n == 2:
        w[0], w[1] = v, u
        dw[0], dw[1] = -1.0 / h, 1.0 / h
    else:
        i0 = max(min(j - 1, n - N_WEIGHT), 0)
        w[j - i0] = (1.0 + 2.0 * u) * v * v
        w[j + 1 - i0] = u * u * (3.0 - 2.0 * u)
        dw[j - i0] = -6.0 * u * v / h
        dw[j + 1 - i0] = 6.0 * u * v / h
        _add_node_derivative(axis, j, i0, h * u * v * v, w)
        _add_node_derivative(axis, j + 1, i0, -h * u * u * v, w)
        _add_node_derivative(axis, j, i0, v * (1.0 - 3.0 * u), dw)
        _add_node_derivative(axis, j + 1, i0, u * (3.0 * u - 2.0), dw)
        if not inside:
            dw[:] = 0.0
        return i0
    if not inside:
        dw[:] = 0.0
    return 0


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
    i0 = fill_hermite_weights(axis, x, w, dw)
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


@njit(**NUMBA_OPTIONS)
def _contract_feh(rows, t, g, f0, wf, df, value, slope):
    """Write value and d/d[Fe/H], each (K,), of one (T_eff, log g) cell."""
    value[:] = 0.0
    slope[:] = 0.0
    for i in range(min(N_WEIGHT, rows.shape[0])):
        _add_scaled(rows[f0 + i, t, g], wf[i], value)
        _add_scaled(rows[f0 + i, t, g], df[i], slope)


@njit(**NUMBA_OPTIONS)
def _add_scaled(row, w, out):
    for k in range(out.size):
        out[k] += w * row[k]


@njit(**NUMBA_OPTIONS)
def _add_four(cells, scale, w, out):
    """Add scale * sum_j w[j] cells[j] to out (K,); one output a loop lets LLVM vectorize it."""
    w0, w1, w2, w3 = scale * w[0], scale * w[1], scale * w[2], scale * w[3]
    c0, c1, c2, c3 = cells[0], cells[1], cells[2], cells[3]
    for k in range(out.size):
        out[k] += w0 * c0[k] + w1 * c1[k] + w2 * c2[k] + w3 * c3[k]


@njit(**NUMBA_OPTIONS)
def interpolate_bolometric(log_teff, log_g, feh, teff_axis, g_axis, feh_axis, table):
    """Interpolate bolometric-correction coefficients, with derivatives in all three coordinates.

    The [Fe/H] axis is contracted once for each (T_eff, log g) cell that some node needs.

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
    n_feh, n_teff, n_g, n_band, n_power = table.shape
    n_node, n_row = log_teff.size, n_band * n_power
    rows = np.ascontiguousarray(table).reshape((n_feh, n_teff, n_g, n_row))
    f0, wf, df = hermite_weights(feh_axis, feh)
    # Cells hold value and d/d[Fe/H]; padded so that four neighbors in log g can always be read.
    cells = np.empty((n_teff, 2, max(n_g, N_WEIGHT), n_row))
    cells[:, :, n_g:] = 0.0
    ready = np.zeros((n_teff, n_g), dtype=np.bool_)
    out = np.zeros((4, n_node, n_row))
    wt, dt = np.empty(N_WEIGHT), np.empty(N_WEIGHT)
    wg, dg = np.empty(N_WEIGHT), np.empty(N_WEIGHT)
    for e in range(n_node):
        t0 = fill_hermite_weights(teff_axis, log_teff[e], wt, dt)
        g0 = fill_hermite_weights(g_axis, log_g[e], wg, dg)
        for i in range(min(N_WEIGHT, n_teff)):
            t = t0 + i
            for g in range(g0, min(g0 + N_WEIGHT, n_g)):
                if not ready[t, g]:
                    _contract_feh(rows, t, g, f0, wf, df, cells[t, 0, g], cells[t, 1, g])
                    ready[t, g] = True
            plain, slope = cells[t, 0, g0:], cells[t, 1, g0:]
            _add_four(plain, wt[i], wg, out[0, e])
            _add_four(plain, dt[i], wg, out[1, e])
            _add_four(plain, wt[i], dg, out[2, e])
            _add_four(slope, wt[i], wg, out[3, e])
    shape = (n_node, n_band, n_power)
    return (
        out[0].reshape(shape),
        out[1].reshape(shape),
        out[2].reshape(shape),
        out[3].reshape(shape),
    )


@njit(**NUMBA_OPTIONS)
def interpolate_theory_0d(feh, log_age, feh_axis, age_axis, table):
    """`interpolate_theory` for 0-d arrays feh and log_age, as PyTensor passes scalars."""
    return interpolate_theory(feh.item(), log_age.item(), feh_axis, age_axis, table)


@njit(**NUMBA_OPTIONS)
def interpolate_bolometric_0d(log_teff, log_g, feh, teff_axis, g_axis, feh_axis, table):
    """`interpolate_bolometric` for a 0-d array feh, as PyTensor passes scalars."""
    return interpolate_bolometric(log_teff, log_g, feh.item(), teff_axis, g_axis, feh_axis, table)
