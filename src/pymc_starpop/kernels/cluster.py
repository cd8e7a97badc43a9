"""The likelihood of every star of a cluster and its gradient, in one pass.

For star i with magnitudes x_i and covariance S_i along the model tracks (one track for single
stars, one for each mass ratio),

    L_i = w_i A_i int dM dq pi(M) pi(q) N(x_i | y(M, q) + sum_k o_ik u_k, S_i) + (1 - w_i) F_i,
    S_i = diag(variance_i) + sum_k spread_k^2 u_k u_k',

where the integral is a sum over segments of weight x norm x I_0 (see `segment`), u_k is the mean of
direction k at both ends of the segment, A_i holds what multiplies the member density (selection)
and F_i is the field density.
The gradient costs no further exponential: with P = S^-1, the moments I_k, d and r as in `segment`,
and G half of what stands in brackets,

    dI/dy_a = P [r (I_0 - I_1) - d (I_1 - I_2)],   dI/dy_b = P [r I_1 - d I_2],
    dI/dx   = - P [r I_0 - d I_1],
    dI/dS   = G = [P (rr' I_0 - (rd' + dr') I_1 + dd' I_2) P - P I_0] / 2,
    dI/du_k = 2 spread_k^2 G u_k + o_k P (r I_0 - d I_1).

The arithmetic of the pruning is in `scan`, of one segment in `segment`, of the directions in
`pair_vectors`; `reference` holds the slow twin of the whole.
"""

import math
from typing import NamedTuple

import numba
import numpy as np

from pymc_starpop.kernels.blocks import build_blocks
from pymc_starpop.kernels.pair_vectors import pairs_0, pairs_1, pairs_2, pairs_3
from pymc_starpop.kernels.scan import scan_star
from pymc_starpop.kernels.segment import MOST_LOG_DERIVATIVE, N_ROW
from pymc_starpop.kernels.simd import (
    LANES,
    WORD,
    add,
    address_of,
    get,
    get_integer,
    put,
    put_integer,
    still_needed,
)
from pymc_starpop.kernels.star_room import ROW_BYTES, addresses_of, new_arrays
from pymc_starpop.kernels.tile_vectors import clear_rows, sum_of
from pymc_starpop.kernels.tiles import add_tiles, build_tiles, new_tile_gradient
from pymc_starpop.kernels.track_model import (
    StarData,
    TrackModel,
    active_directions,
    all_finite,
    check_shapes,
    has_offsets,
    typical_inverse,
    with_mean_directions,
)

_TWO_PI = 2.0 * math.pi


class Mixture(NamedTuple):
    """Per star (N,): member probability w_i, log of what multiplies L_c, log field density."""

    member: np.ndarray
    log_member: np.ndarray
    log_field: np.ndarray


class ClusterGradient(NamedTuple):
    """Derivatives with respect to the fields of `StarData`, `TrackModel` and `Mixture`."""

    mag: np.ndarray
    variance: np.ndarray
    tracks: np.ndarray
    directions: np.ndarray
    weights: np.ndarray
    tilts: np.ndarray
    spread: np.ndarray
    offset: np.ndarray
    member: np.ndarray
    log_member: np.ndarray
    log_field: np.ndarray


@numba.njit(cache=True, error_model="numpy")
def _log_mixture(log_member, log_field):
    """Return log(exp(log_member) + exp(log_field)), -inf where both are."""
    top = max(log_member, log_field)
    if top == -np.inf:
        return top
    return top + math.log1p(math.exp(min(log_member, log_field) - top))


class GradientAddresses(NamedTuple):
    """Addresses of the arrays of `TileGradient`."""

    nodes: int
    along: int
    weights: int
    tilts: int
    touched: int


@numba.njit(error_model="numpy", inline="always")
def prepare_star(at, mag, variance, offset, with_offset):
    """Put a star in place and return the log norm of its Gaussian.

    `mag`, `variance` and `offset` are addresses.
    """
    if with_offset:
        for k in range(at.n_direction):
            put(at.displacement, k, get(offset, k))
    norm, product = 0.0, 1.0
    for b in range(at.n_band):
        put(at.mag, b, get(mag, b))
        total = get(variance, b)
        if total == np.inf:
            put(at.inverse, b, 0.0)
            continue
        put(at.inverse, b, 1.0 / total)
        product *= _TWO_PI * total
        # One logarithm for several bands, taken before their product gets too small or large.
        if not 1e-200 < product < 1e200:
            norm -= 0.5 * math.log(product)
            product = 1.0
    return norm - 0.5 * math.log(product)


@numba.njit(error_model="numpy", inline="always")
def _clear_tile(at, into, g):
    """Set the derivatives by what a tile holds to 0."""
    first, last = g * LANES, g * LANES + LANES - 1
    row = get_integer(at.row, first)
    n_row = get_integer(at.row, last) + 2 - row
    clear_rows(into.nodes + row * at.node_bytes, n_row * at.n_band)
    clear_rows(into.along + first * at.along_bytes, LANES * at.n_band * at.n_direction)
    clear_rows(into.weights + first * ROW_BYTES, LANES)
    clear_rows(into.tilts + first * ROW_BYTES, LANES)
    put_integer(into.touched, g, 1)


@numba.njit(error_model="numpy", inline="always")
def _add_star(at, base, n_kept, into, g_mag, variance, spread, offset):
    """Add the derivatives of one star, times `base`; its own at the last four addresses."""
    n, mag, inverse, moved = at.n_band, at.mag, at.inverse, at.displacement
    by_mag, by_variance = at.by_star, at.by_star + n * ROW_BYTES
    clear_rows(at.by_star, 2 * n)
    for m in range(n_kept):
        place = get_integer(at.kept, m)
        block = get_integer(at.order, place)
        if get_integer(into.touched, block // LANES) == 0:
            _clear_tile(at, into, block // LANES)
        batch = at.batch + place * at.batch_bytes
        extra = batch + N_ROW * ROW_BYTES
        at_nodes, at_along = get_integer(at.row, block) * at.node_bytes, block * at.along_bytes
        at_block = block * ROW_BYTES
        nodes, along = at.nodes + at_nodes, at.along + at_along
        if at.n_direction == 0:
            pairs_0(
                n, mag, inverse, nodes, along, moved, batch, extra, base, into.nodes + at_nodes,
                into.along + at_along, into.weights + at_block, into.tilts + at_block, by_mag,
                by_variance, spread, offset,
            )  # fmt: skip
        elif at.n_direction == 1:
            pairs_1(
                n, mag, inverse, nodes, along, moved, batch, extra, base, into.nodes + at_nodes,
                into.along + at_along, into.weights + at_block, into.tilts + at_block, by_mag,
                by_variance, spread, offset,
            )  # fmt: skip
        elif at.n_direction == 2:
            pairs_2(
                n, mag, inverse, nodes, along, moved, batch, extra, base, into.nodes + at_nodes,
                into.along + at_along, into.weights + at_block, into.tilts + at_block, by_mag,
                by_variance, spread, offset,
            )  # fmt: skip
        else:
            pairs_3(
                n, mag, inverse, nodes, along, moved, batch, extra, base, into.nodes + at_nodes,
                into.along + at_along, into.weights + at_block, into.tilts + at_block, by_mag,
                by_variance, spread, offset,
            )  # fmt: skip
    for b in range(n):
        put(g_mag, b, sum_of(by_mag + b * ROW_BYTES))
        put(variance, b, sum_of(by_variance + b * ROW_BYTES))


@numba.njit(cache=True, error_model="numpy")
def _to_both_ends(derivative):
    """Turn derivatives by the means of segments into those by points, in place."""
    before = 0.0
    for p in range(derivative.shape[0]):
        half = 0.5 * derivative[p]
        derivative[p] = before + half
        before = half


@numba.njit(cache=True, error_model="numpy")
def _addresses_of_gradient(tables):
    """Collect the addresses of the arrays that every pair adds to."""
    return GradientAddresses(
        address_of(tables.nodes, 0), address_of(tables.along, 0), address_of(tables.weights, 0),
        address_of(tables.tilts, 0), address_of(tables.touched, 0),
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def cluster_kernel(data, model, mixture, cotangent, grad, log_likelihood):
    """Fill `log_likelihood` (N,) and, if wanted, add sum_i cotangent_i dlogL_i into `grad`.

    Parameters
    ----------
    data : StarData
    model : TrackModel
    mixture : Mixture
    cotangent : (N,), or (0,) where the gradient is not wanted
    grad : ClusterGradient
        Zeroed by the caller; not touched where it is not wanted.

    Where a track, a direction or a weight is not finite, every log-likelihood is NaN and the
    gradient stays 0.
    """
    # Pruning leaves out what is not near a star, and would leave out NaN as well.
    finite = all_finite(model.tracks) and all_finite(model.weights)
    if not (finite and all_finite(model.directions)):
        log_likelihood[:] = np.nan
        return
    with_gradient = cotangent.shape[0] > 0
    model = with_mean_directions(data, model)
    n_star, n_band = data.mag.shape
    n_direction, with_offset = active_directions(data, model), has_offsets(data)
    tiles = build_tiles(model, n_direction)
    blocks = build_blocks(tiles, n_direction, typical_inverse(data))
    arrays = new_arrays(tiles, n_band, n_direction)
    arrays.scatter[:] = model.spread[:n_direction] ** 2
    tables = new_tile_gradient(tiles, with_gradient)
    at, into = addresses_of(tiles, blocks, arrays), _addresses_of_gradient(tables)
    all_mag, all_variance = address_of(data.mag, 0), address_of(data.variance, 0)
    all_offset = address_of(data.offset, 0)
    all_member = address_of(mixture.member, 0)
    all_log_member = address_of(mixture.log_member, 0)
    all_log_field = address_of(mixture.log_field, 0)
    out, weight = address_of(log_likelihood, 0), address_of(cotangent, 0)
    nowhere = np.zeros(n_direction)
    g_mag, g_variance = address_of(grad.mag, 0), address_of(grad.variance, 0)
    g_offset, g_spread = address_of(nowhere, 0), address_of(grad.spread, 0)
    g_member, g_log_member = address_of(grad.member, 0), address_of(grad.log_member, 0)
    g_log_field = address_of(grad.log_field, 0)
    member, prior, rest = np.nan, 0.0, 0.0
    for i in range(n_star):
        skip = WORD * i * n_band
        log_norm = prepare_star(
            at, all_mag + skip, all_variance + skip, all_offset + WORD * i * n_direction,
            with_offset,
        )  # fmt: skip
        if with_offset and with_gradient:
            g_offset = address_of(grad.offset, i * n_direction)
        # Neighbors mostly share the prior, and logarithms are slow.
        if get(all_member, i) != member:
            member = get(all_member, i)
            prior = math.log(member) if member > 0.0 else -np.inf
            rest = math.log1p(-member) if member < 1.0 else -np.inf
        log_member, log_field = get(all_log_member, i), get(all_log_field, i)
        n_kept, top, total = scan_star(at, rest + log_field - log_member - log_norm, prior)
        log_cluster = log_member + log_norm + top + math.log(total) if total > 0.0 else -np.inf
        value = _log_mixture(prior + log_cluster, rest + log_field)
        put(out, i, value)
        if not with_gradient or value == -np.inf:
            continue
        c = get(weight, i)
        if c == 0.0:
            continue
        probability = math.exp(prior + log_cluster - value)
        add(g_log_member, i, c * probability)
        add(g_log_field, i, c * math.exp(rest + log_field - value))
        by_member = math.exp(min(log_cluster - value, MOST_LOG_DERIVATIVE))
        by_field = math.exp(min(log_field - value, MOST_LOG_DERIVATIVE))
        add(g_member, i, c * (by_member - by_field))
        if probability > 0.0:
            _add_star(
                at, c * probability / total, n_kept, into, g_mag + skip, g_variance + skip,
                g_spread, g_offset,
            )  # fmt: skip
    still_needed(tiles)
    still_needed(tables)
    still_needed(blocks)
    still_needed(arrays)
    still_needed(nowhere)
    if with_gradient:
        add_tiles(tiles, tables, grad)
        # The sums above are 2 spread^2 u'Gu, and the derivative is 2 spread u'Gu.
        for k in range(n_direction):
            grad.spread[k] = grad.spread[k] / model.spread[k] if model.spread[k] != 0.0 else 0.0
            for b in range(n_band):
                _to_both_ends(grad.directions[k, b])


@numba.njit(cache=True, error_model="numpy")
def new_gradient(data, model):
    """Allocate a gradient of zeros for the shapes of `data` and `model`."""
    n_star = data.mag.shape[0]
    return ClusterGradient(
        np.zeros_like(data.mag), np.zeros_like(data.variance), np.zeros_like(model.tracks),
        np.zeros_like(model.directions), np.zeros_like(model.weights),
        np.zeros_like(model.weights), np.zeros_like(model.spread), np.zeros_like(data.offset),
        np.zeros(n_star), np.zeros(n_star), np.zeros(n_star),
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy", nogil=True)
def cluster_value(
    mag, variance, tracks, directions, weights, tilts, scale, starts, spread, offset, member,
    log_member, log_field,
):  # fmt: skip
    """Return log L (N,); the arguments are the fields of the named tuples above."""
    data = StarData(mag, variance, offset)
    model = TrackModel(tracks, directions, weights, tilts, scale, starts, spread)
    check_shapes(data, model)
    out = np.empty(mag.shape[0])
    no_model = TrackModel(
        tracks[:0], directions[:0], weights[:0], tilts[:0], scale[:0], starts, spread[:0]
    )
    nothing = new_gradient(StarData(mag[:0], variance[:0], offset[:0]), no_model)
    mixture = Mixture(member, log_member, log_field)
    cluster_kernel(data, model, mixture, np.empty(0), nothing, out)
    return out


@numba.njit(cache=True, error_model="numpy", nogil=True)
def cluster_value_and_gradient(
    mag, variance, tracks, directions, weights, tilts, scale, starts, spread, offset, member,
    log_member, log_field, cotangent,
):  # fmt: skip
    """Return log L (N,) and the `ClusterGradient` of sum_i cotangent_i log L_i."""
    data = StarData(mag, variance, offset)
    model = TrackModel(tracks, directions, weights, tilts, scale, starts, spread)
    check_shapes(data, model)
    out = np.empty(mag.shape[0])
    grad = new_gradient(data, model)
    mixture = Mixture(member, log_member, log_field)
    cluster_kernel(data, model, mixture, cotangent, grad, out)
    return out, grad


@numba.njit(cache=True, error_model="numpy", nogil=True)
def cluster_value_0d(
    mag, variance, tracks, directions, weights, tilts, scale, starts, spread, offset, member,
    log_member, log_field,
):  # fmt: skip
    """`cluster_value` for any memory layout."""
    return cluster_value(
        np.ascontiguousarray(mag), np.ascontiguousarray(variance), np.ascontiguousarray(tracks),
        np.ascontiguousarray(directions), np.ascontiguousarray(weights),
        np.ascontiguousarray(tilts), np.ascontiguousarray(scale), np.ascontiguousarray(starts),
        np.ascontiguousarray(spread), np.ascontiguousarray(offset), np.ascontiguousarray(member),
        np.ascontiguousarray(log_member), np.ascontiguousarray(log_field),
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy", nogil=True)
def cluster_value_and_gradient_0d(
    mag, variance, tracks, directions, weights, tilts, scale, starts, spread, offset, member,
    log_member, log_field, cotangent,
):  # fmt: skip
    """Flat tuple of log L and the gradient, for any memory layout."""
    value, g = cluster_value_and_gradient(
        np.ascontiguousarray(mag), np.ascontiguousarray(variance), np.ascontiguousarray(tracks),
        np.ascontiguousarray(directions), np.ascontiguousarray(weights),
        np.ascontiguousarray(tilts), np.ascontiguousarray(scale), np.ascontiguousarray(starts),
        np.ascontiguousarray(spread), np.ascontiguousarray(offset), np.ascontiguousarray(member),
        np.ascontiguousarray(log_member), np.ascontiguousarray(log_field),
        np.ascontiguousarray(cotangent),
    )  # fmt: skip
    return (
        value, g.mag, g.variance, g.tracks, g.directions, g.weights, g.tilts, g.spread,
        g.offset, g.member, g.log_member, g.log_field,
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy", nogil=True)
def cluster_gradient_0d(
    mag, variance, tracks, directions, weights, tilts, scale, starts, spread, offset, member,
    log_member, log_field, cotangent,
):  # fmt: skip
    """Flat tuple of the gradient, for any memory layout."""
    return cluster_value_and_gradient_0d(
        mag, variance, tracks, directions, weights, tilts, scale, starts, spread, offset, member,
        log_member, log_field, cotangent,
    )[1:]  # fmt: skip
