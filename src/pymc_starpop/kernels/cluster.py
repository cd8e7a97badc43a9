"""The likelihood of every star of a cluster and its gradient, in one pass.

For star i with magnitudes x_i and covariance S_i along the model tracks (one track for single
stars, one for each mass ratio),

    L_i = w_i A_i int dM dq pi(M) pi(q) N(x_i | y(M, q), S_i) + (1 - w_i) F_i,
    S_i = diag(sigma_ib^2 + scatter_b) + av_variance k k',

where the integral is a sum over segments of weight x norm x I_0 (see `segment`), A_i holds what
multiplies the member density (parallax, selection) and F_i is the field density.
The gradient costs no further exponential: with P = S^-1 and the moments I_k,

    dI/dy_a = P [r (I_0 - I_1) - d (I_1 - I_2)],   dI/dy_b = P [r I_1 - d I_2],
    dI/dS   = [P (rr' I_0 - (rd' + dr') I_1 + dd' I_2) P - P I_0] / 2.

The arithmetic of the pruning is in `scan`, of one segment in `segment`; `reference` holds the
slow twin of the whole.
"""

import math
from typing import NamedTuple

import numba
import numpy as np

from pymc_starpop.kernels.blocks import MIN_POINT, build_blocks
from pymc_starpop.kernels.scan import (
    BATCH_BYTES,
    ROW_BYTES,
    WORD,
    addresses_of,
    new_arrays,
    scan_star,
)
from pymc_starpop.kernels.segment import (
    I0,
    I1,
    I2,
    KD,
    KR,
    LOG_PEAK,
    SHRINK,
    TILT_MOMENT,
    WEIGHT,
)
from pymc_starpop.kernels.simd import LANES, add, address_of, get, get_integer, put, still_needed
from pymc_starpop.kernels.star_vectors import add_pairs

_TWO_PI = 2.0 * math.pi


class StarData(NamedTuple):
    """Magnitudes (N, B), any number where not measured, and variances (N, B), infinite there."""

    mag: np.ndarray
    variance: np.ndarray


class TrackModel(NamedTuple):
    """What the isochrone predicts, for T tracks of P points in all, one after the other.

    Segment p runs from point p to point p + 1; those that lead from one track to the next are
    never used.

    Attributes
    ----------
    tracks : (B, P) apparent magnitudes
    reddening : (B, P) dm / dA_V; any shape where av_scatter is 0
    weights, tilts : (P - 1,) integral of the mass function over each segment, its tilt
    scale : (P - 1,) what pruning takes for the weight, positive also where a fraction is 0
    starts : (T + 1,) first point of each track, and P
    scatter : (B,) standard deviation added in quadrature, mag
    av_scatter : float, standard deviation of A_V between stars, mag
    """

    tracks: np.ndarray
    reddening: np.ndarray
    weights: np.ndarray
    tilts: np.ndarray
    scale: np.ndarray
    starts: np.ndarray
    scatter: np.ndarray
    av_scatter: float


class Mixture(NamedTuple):
    """Per star (N,): member probability w_i, log of what multiplies L_c, log field density."""

    member: np.ndarray
    log_member: np.ndarray
    log_field: np.ndarray


class ClusterGradient(NamedTuple):
    """Derivatives with respect to the fields of `TrackModel` and `Mixture`."""

    tracks: np.ndarray
    reddening: np.ndarray
    weights: np.ndarray
    tilts: np.ndarray
    scatter: np.ndarray
    av_scatter: np.ndarray
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
    """Addresses of the arrays of `ClusterGradient` that every pair adds to."""

    tracks: int
    reddening: int
    weights: int
    tilts: int
    scatter: int
    av_scatter: int


@numba.njit(error_model="numpy", inline="always")
def _prepare_star(at, mag, variance, scatter, spread, reddening_max):
    """Put a star in place and return the log norm of its Gaussian; all arguments are addresses.

    `spread` is the variance of A_V times the sum of `reddening_max`.
    """
    norm, product = 0.0, 1.0
    for b in range(at.n_band):
        put(at.mag, b, get(mag, b))
        if get(variance, b) == np.inf:
            put(at.inverse, b, 0.0)
            put(at.box_inverse, b, 0.0)
            continue
        total = get(variance, b) + get(scatter, b) ** 2
        put(at.inverse, b, 1.0 / total)
        # kk' <= diag(k_b sum(k)): the boxes may use a diagonal covariance.
        put(at.box_inverse, b, 1.0 / (total + spread * get(reddening_max, b)))
        product *= _TWO_PI * total
        # One logarithm for several bands, taken before their product gets too small or large.
        if not 1e-200 < product < 1e200:
            norm -= 0.5 * math.log(product)
            product = 1.0
    return norm - 0.5 * math.log(product)


@numba.njit(error_model="numpy", inline="always")
def _add_star(at, base, n_pair, into):
    """Add the derivatives of one star, times `base`, where the covariance is diagonal."""
    for m in range((n_pair + LANES - 1) // LANES):
        add_pairs(
            at.n_band, at.mag, at.inverse, at.tracks, at.n_point, at.segment + m * ROW_BYTES,
            at.batch + m * BATCH_BYTES, base, into.tracks, into.weights, into.tilts, into.scatter,
        )  # fmt: skip


@numba.njit(error_model="numpy", fastmath={"contract"}, inline="always")
def _add_star_reddened(at, base, n_pair, into, av_variance):
    """Do the same as `_add_star` where the extinction differs from star to star."""
    for n in range(n_pair):
        pair = at.batch + (n // LANES) * BATCH_BYTES + WORD * (n % LANES)
        s = get_integer(at.segment, n)
        factor = base * get(pair, LOG_PEAK * LANES)
        add(into.weights, s, factor * get(pair, I0 * LANES))
        scale = factor * get(pair, WEIGHT * LANES)
        add(into.tilts, s, scale * get(pair, TILT_MOMENT * LANES))
        i0, i1 = scale * get(pair, I0 * LANES), scale * get(pair, I1 * LANES)
        i2 = scale * get(pair, I2 * LANES)
        shrink, kd = get(pair, SHRINK * LANES), get(pair, KD * LANES)
        kr = get(pair, KR * LANES)
        # Products with P = D - shrink (Dk)(Dk)' are those with D times 1 - shrink k'Dk.
        kdk = 0.0
        for b in range(at.n_band):
            p = b * at.n_point + s
            red = 0.5 * (get(at.reddening, p) + get(at.reddening, p + 1))
            kdk += get(at.inverse, b) * red**2
        left = 1.0 - shrink * kdk
        k_both = left * (kr * i0 - kd * i1)
        k_end = left * (kr * i1 - kd * i2)
        add(into.av_scatter, 0, 0.5 * (left * (kr * k_both - kd * k_end) - left * kdk * i0))
        for b in range(at.n_band):
            p = b * at.n_point + s
            red = 0.5 * (get(at.reddening, p) + get(at.reddening, p + 1))
            inverse, start = get(at.inverse, b), get(at.tracks, p)
            pk = inverse * red
            pd = inverse * (get(at.tracks, p + 1) - start) - shrink * kd * pk
            pr = inverse * (get(at.mag, b) - start) - shrink * kr * pk
            at_end = pr * i1 - pd * i2
            at_both = pr * i0 - pd * i1
            add(into.tracks, p, at_both - at_end)
            add(into.tracks, p + 1, at_end)
            diagonal = inverse - shrink * pk * pk
            add(into.scatter, b, 0.5 * (pr * at_both - pd * at_end - diagonal * i0))
            half = 0.5 * av_variance * (pr * k_both - pd * k_end - left * pk * i0)
            add(into.reddening, p, half)
            add(into.reddening, p + 1, half)


@numba.njit(cache=True, error_model="numpy")
def _addresses_of_gradient(grad):
    """Collect the addresses of the arrays that every pair adds to."""
    return GradientAddresses(
        address_of(grad.tracks, 0), address_of(grad.reddening, 0), address_of(grad.weights, 0),
        address_of(grad.tilts, 0), address_of(grad.scatter, 0), address_of(grad.av_scatter, 0),
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def cluster_kernel(data, model, mixture, cotangent, grad, with_gradient, log_likelihood):
    """Fill `log_likelihood` (N,) and, if wanted, add sum_i cotangent_i dlogL_i into `grad`.

    Parameters
    ----------
    data : StarData
    model : TrackModel
        Of at least `MIN_POINT` points.
    mixture : Mixture
    cotangent : (N,)
    grad : ClusterGradient
        Zeroed by the caller; not touched where `with_gradient` is False.
    """
    n_star, n_band = data.mag.shape
    av_variance = model.av_scatter**2
    with_reddening = av_variance > 0.0
    blocks = build_blocks(model, with_reddening)
    arrays = new_arrays(blocks, n_band)
    at, into = addresses_of(model, blocks, arrays), _addresses_of_gradient(grad)
    all_mag, all_variance = address_of(data.mag, 0), address_of(data.variance, 0)
    scatter, reddening_max = address_of(model.scatter, 0), address_of(blocks.reddening_max, 0)
    spread = av_variance * blocks.reddening_max.sum()
    all_member = address_of(mixture.member, 0)
    all_log_member = address_of(mixture.log_member, 0)
    all_log_field = address_of(mixture.log_field, 0)
    out, weight = address_of(log_likelihood, 0), address_of(cotangent, 0)
    g_member, g_log_member = address_of(grad.member, 0), address_of(grad.log_member, 0)
    g_log_field = address_of(grad.log_field, 0)
    member, prior, rest = np.nan, 0.0, 0.0
    for i in range(n_star):
        skip = WORD * i * n_band
        log_norm = _prepare_star(
            at, all_mag + skip, all_variance + skip, scatter, spread, reddening_max
        )
        # Neighbors mostly share the prior, and logarithms are slow.
        if get(all_member, i) != member:
            member = get(all_member, i)
            prior = math.log(member) if member > 0.0 else -np.inf
            rest = math.log1p(-member) if member < 1.0 else -np.inf
        log_member, log_field = get(all_log_member, i), get(all_log_field, i)
        n_pair, top, total = scan_star(
            at, av_variance, rest + log_field - log_member - log_norm, prior
        )
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
        add(g_member, i, c * (math.exp(log_cluster - value) - math.exp(log_field - value)))
        if probability > 0.0 and with_reddening:
            _add_star_reddened(at, c * probability / total, n_pair, into, av_variance)
        elif probability > 0.0:
            _add_star(at, c * probability / total, n_pair, into)
    still_needed(blocks)
    still_needed(arrays)
    if with_gradient:
        # The sums above are derivatives with respect to variances.
        for b in range(n_band):
            grad.scatter[b] *= 2.0 * model.scatter[b]
        grad.av_scatter[0] *= 2.0 * model.av_scatter


@numba.njit(cache=True, error_model="numpy")
def _lengthened(model):
    """Return the model with `MIN_POINT` points, those added without weight."""
    n_band, n_point = model.tracks.shape
    tracks = np.zeros((n_band, MIN_POINT))
    tracks[:, :n_point] = model.tracks
    reddening = np.zeros((n_band, MIN_POINT))
    if model.av_scatter > 0.0:
        reddening[:, :n_point] = model.reddening
    segments = np.zeros((3, MIN_POINT - 1))
    segments[0, : n_point - 1] = model.weights
    segments[1, : n_point - 1] = model.tilts
    segments[2, : n_point - 1] = model.scale
    return TrackModel(
        tracks, reddening, segments[0], segments[1], segments[2], model.starts, model.scatter,
        model.av_scatter,
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def new_gradient(model, n_star):
    """Allocate a gradient of zeros for the shapes of `model`."""
    return ClusterGradient(
        np.zeros_like(model.tracks),
        np.zeros_like(model.reddening),
        np.zeros_like(model.weights),
        np.zeros_like(model.weights),
        np.zeros_like(model.scatter),
        np.zeros(1),
        np.zeros(n_star),
        np.zeros(n_star),
        np.zeros(n_star),
    )


@numba.njit(cache=True, error_model="numpy", nogil=True)
def cluster_value(
    mag, variance, tracks, reddening, weights, tilts, scale, starts, scatter, av_scatter,
    member, log_member, log_field,
):  # fmt: skip
    """Return log L (N,); the arguments are the fields of the named tuples above, in order."""
    model = TrackModel(tracks, reddening, weights, tilts, scale, starts, scatter, av_scatter)
    if tracks.shape[1] < MIN_POINT:
        model = _lengthened(model)
    out = np.empty(mag.shape[0])
    nothing = TrackModel(
        tracks[:0], reddening[:0], weights[:0], tilts[:0], scale[:0], starts, scatter[:0],
        av_scatter,
    )  # fmt: skip
    cluster_kernel(
        StarData(mag, variance), model, Mixture(member, log_member, log_field),
        np.empty(0), new_gradient(nothing, 0), False, out,
    )  # fmt: skip
    return out


@numba.njit(cache=True, error_model="numpy", nogil=True)
def cluster_value_and_gradient(
    mag, variance, tracks, reddening, weights, tilts, scale, starts, scatter, av_scatter,
    member, log_member, log_field, cotangent,
):  # fmt: skip
    """Return log L (N,) and the `ClusterGradient` of sum_i cotangent_i log L_i."""
    model = TrackModel(tracks, reddening, weights, tilts, scale, starts, scatter, av_scatter)
    n_point = tracks.shape[1]
    if n_point < MIN_POINT:
        model = _lengthened(model)
    out = np.empty(mag.shape[0])
    grad = new_gradient(model, mag.shape[0])
    cluster_kernel(
        StarData(mag, variance), model, Mixture(member, log_member, log_field),
        cotangent, grad, True, out,
    )  # fmt: skip
    if n_point < MIN_POINT:
        reddened = reddening.shape == tracks.shape
        grad = ClusterGradient(
            grad.tracks[:, :n_point].copy(),
            grad.reddening[:, :n_point].copy() if reddened else np.zeros_like(reddening),
            grad.weights[: n_point - 1], grad.tilts[: n_point - 1], grad.scatter,
            grad.av_scatter, grad.member, grad.log_member, grad.log_field,
        )  # fmt: skip
    return out, grad


@numba.njit(cache=True, error_model="numpy", nogil=True)
def cluster_value_0d(
    mag, variance, tracks, reddening, weights, tilts, scale, starts, scatter, av_scatter,
    member, log_member, log_field,
):  # fmt: skip
    """`cluster_value` for any memory layout and a 0-d array `av_scatter`."""
    return cluster_value(
        np.ascontiguousarray(mag), np.ascontiguousarray(variance), np.ascontiguousarray(tracks),
        np.ascontiguousarray(reddening), np.ascontiguousarray(weights),
        np.ascontiguousarray(tilts), np.ascontiguousarray(scale), np.ascontiguousarray(starts),
        np.ascontiguousarray(scatter), av_scatter.item(), np.ascontiguousarray(member),
        np.ascontiguousarray(log_member), np.ascontiguousarray(log_field),
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy", nogil=True)
def cluster_value_and_gradient_0d(
    mag, variance, tracks, reddening, weights, tilts, scale, starts, scatter, av_scatter,
    member, log_member, log_field, cotangent,
):  # fmt: skip
    """Flat tuple of log L and the gradient, for any memory layout."""
    value, g = cluster_value_and_gradient(
        np.ascontiguousarray(mag), np.ascontiguousarray(variance), np.ascontiguousarray(tracks),
        np.ascontiguousarray(reddening), np.ascontiguousarray(weights),
        np.ascontiguousarray(tilts), np.ascontiguousarray(scale), np.ascontiguousarray(starts),
        np.ascontiguousarray(scatter), av_scatter.item(), np.ascontiguousarray(member),
        np.ascontiguousarray(log_member), np.ascontiguousarray(log_field),
        np.ascontiguousarray(cotangent),
    )  # fmt: skip
    return (
        value, g.tracks, g.reddening, g.weights, g.tilts, g.scatter, g.av_scatter, g.member,
        g.log_member, g.log_field,
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy", nogil=True)
def cluster_gradient_0d(
    mag, variance, tracks, reddening, weights, tilts, scale, starts, scatter, av_scatter,
    member, log_member, log_field, cotangent,
):  # fmt: skip
    """Flat tuple of the gradient, for any memory layout."""
    return cluster_value_and_gradient_0d(
        mag, variance, tracks, reddening, weights, tilts, scale, starts, scatter, av_scatter,
        member, log_member, log_field, cotangent,
    )[1:]  # fmt: skip
