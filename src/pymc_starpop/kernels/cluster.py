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

from pymc_starpop.kernels.blocks import LANES, build_blocks
from pymc_starpop.kernels.scan import (
    I0,
    I1,
    I2,
    KD,
    KR,
    LOG_PEAK,
    SHRINK,
    TILT_MOMENT,
    StarView,
    new_survivors,
    new_workspace,
    scan_star,
)

_LOG_2PI = math.log(2.0 * math.pi)


class StarData(NamedTuple):
    """Magnitudes (N, B), any number where not measured, and variances (N, B), infinite there."""

    mag: np.ndarray
    variance: np.ndarray


class TrackModel(NamedTuple):
    """What the isochrone predicts, for T tracks of E nodes.

    Attributes
    ----------
    tracks : (T, E, B) apparent magnitudes
    reddening : (T, E, B) dm / dA_V; any shape where av_scatter is 0
    weights, tilts : (T, E - 1) integral of the mass function over each segment, its tilt
    scale : (T, E - 1) what pruning takes for the weight, positive also where a fraction is 0
    scatter : (B,) standard deviation added in quadrature, mag
    av_scatter : float, standard deviation of A_V between stars, mag
    """

    tracks: np.ndarray
    reddening: np.ndarray
    weights: np.ndarray
    tilts: np.ndarray
    scale: np.ndarray
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


@numba.njit(cache=True, error_model="numpy")
def _prepare_star(star, i, mag, variance, scatter, av_variance, reddening_max):
    """Set the inverse variances of star i and return the log norm of its Gaussian."""
    norm = 0.0
    spread = 0.0
    if av_variance > 0.0:
        spread = av_variance * reddening_max.sum()
    for b in range(mag.shape[1]):
        star.mag[b] = mag[i, b]
        if np.isinf(variance[i, b]):
            star.inverse[b] = 0.0
            star.box_inverse[b] = 0.0
        else:
            total = variance[i, b] + scatter[b] ** 2
            star.inverse[b] = 1.0 / total
            # kk' <= diag(k_b sum(k)): the boxes may use a diagonal covariance.
            star.box_inverse[b] = 1.0 / (total + spread * reddening_max[b])
            norm -= 0.5 * (_LOG_2PI + math.log(total))
    return norm


@numba.njit(cache=True, error_model="numpy")
def _member_sum(n_kept, index, moment, true_weight):
    """Return the log of the largest Gaussian and sum of weight x I_0 relative to it.

    Leaves exp(log_peak - largest) in the column of log_peak.
    """
    top = -np.inf
    for n in range(n_kept):
        top = max(top, moment[n, LOG_PEAK])
    total = 0.0
    for n in range(n_kept):
        relative = math.exp(moment[n, LOG_PEAK] - top)
        moment[n, LOG_PEAK] = relative
        total += true_weight[index[n, 0], index[n, 1]] * moment[n, I0] * relative
    return top, total


@numba.njit(cache=True, error_model="numpy", fastmath={"contract"})
def _add_star(
    base, n_kept, index, moment, mag, inverse, start, step, true_weight, track, first,
    g_tracks, g_weights, g_tilts, g_scatter,
):  # fmt: skip
    """Add the derivatives of one star, times `base`, where the covariance is diagonal."""
    for n in range(n_kept):
        k, lane = index[n, 0], index[n, 1]
        t, s = track[k], first[k] + lane
        factor = base * moment[n, LOG_PEAK]
        g_weights[t, s] += factor * moment[n, I0]
        scale = factor * true_weight[k, lane]
        g_tilts[t, s] += scale * moment[n, TILT_MOMENT]
        i0, i1, i2 = scale * moment[n, I0], scale * moment[n, I1], scale * moment[n, I2]
        for b in range(mag.shape[0]):
            p = inverse[b]
            pd = p * step[k, b, lane]
            pr = p * (mag[b] - start[k, b, lane])
            at_end = pr * i1 - pd * i2
            at_both = pr * i0 - pd * i1
            g_tracks[t, s, b] += at_both - at_end
            g_tracks[t, s + 1, b] += at_end
            g_scatter[b] += 0.5 * (pr * at_both - pd * at_end - p * i0)


@numba.njit(cache=True, error_model="numpy", fastmath={"contract"})
def _add_star_reddened(
    base, n_kept, index, moment, mag, inverse, start, step, reddening, true_weight, track, first,
    av_variance, g_tracks, g_reddening, g_weights, g_tilts, g_scatter, g_av,
):  # fmt: skip
    """Do the same as `_add_star` where the extinction differs from star to star."""
    for n in range(n_kept):
        k, lane = index[n, 0], index[n, 1]
        t, s = track[k], first[k] + lane
        factor = base * moment[n, LOG_PEAK]
        g_weights[t, s] += factor * moment[n, I0]
        scale = factor * true_weight[k, lane]
        g_tilts[t, s] += scale * moment[n, TILT_MOMENT]
        i0, i1, i2 = scale * moment[n, I0], scale * moment[n, I1], scale * moment[n, I2]
        shrink, kd, kr = moment[n, SHRINK], moment[n, KD], moment[n, KR]
        # Products with P = D - shrink (Dk)(Dk)' are those with D times 1 - shrink k'Dk.
        kdk = 0.0
        for b in range(mag.shape[0]):
            kdk += inverse[b] * reddening[k, b, lane] ** 2
        left = 1.0 - shrink * kdk
        k_both = left * (kr * i0 - kd * i1)
        k_end = left * (kr * i1 - kd * i2)
        g_av[0] += 0.5 * (left * (kr * k_both - kd * k_end) - left * kdk * i0)
        for b in range(mag.shape[0]):
            pk = inverse[b] * reddening[k, b, lane]
            pd = inverse[b] * step[k, b, lane] - shrink * kd * pk
            pr = inverse[b] * (mag[b] - start[k, b, lane]) - shrink * kr * pk
            at_end = pr * i1 - pd * i2
            at_both = pr * i0 - pd * i1
            g_tracks[t, s, b] += at_both - at_end
            g_tracks[t, s + 1, b] += at_end
            diagonal = inverse[b] - shrink * pk * pk
            g_scatter[b] += 0.5 * (pr * at_both - pd * at_end - diagonal * i0)
            half = 0.5 * av_variance * (pr * k_both - pd * k_end - left * pk * i0)
            g_reddening[t, s, b] += half
            g_reddening[t, s + 1, b] += half


@numba.njit(cache=True, error_model="numpy")
def cluster_kernel(data, model, mixture, cotangent, grad, with_gradient, log_likelihood):
    """Fill `log_likelihood` (N,) and, if wanted, add sum_i cotangent_i dlogL_i into `grad`.

    Parameters
    ----------
    data : StarData
    model : TrackModel
    mixture : Mixture
    cotangent : (N,)
    grad : ClusterGradient
        Zeroed by the caller; not touched where `with_gradient` is False.
    """
    n_star, n_band = data.mag.shape
    av_variance = model.av_scatter**2
    with_reddening = av_variance > 0.0
    blocks = build_blocks(model, with_reddening)
    kept = new_survivors(blocks.track.shape[0] * LANES)
    star = StarView(np.empty(n_band), np.empty(n_band), np.empty(n_band))
    work = new_workspace(blocks)
    for i in range(n_star):
        log_norm = _prepare_star(
            star, i, data.mag, data.variance, model.scatter, av_variance, blocks.reddening_max
        )
        member = mixture.member[i]
        log_member, log_field = mixture.log_member[i], mixture.log_field[i]
        prior = math.log(member) if member > 0.0 else -np.inf
        rest = math.log1p(-member) if member < 1.0 else -np.inf
        n_kept = scan_star(
            star, blocks, av_variance, rest + log_field - log_member - log_norm, prior,
            work, kept,
        )  # fmt: skip
        top, total = _member_sum(n_kept, kept.index, kept.moment, blocks.true_weight)
        log_cluster = log_member + log_norm + top + math.log(total) if total > 0.0 else -np.inf
        value = _log_mixture(prior + log_cluster, rest + log_field)
        log_likelihood[i] = value
        if not with_gradient or cotangent[i] == 0.0 or value == -np.inf:
            continue
        c = cotangent[i]
        probability = math.exp(prior + log_cluster - value)
        grad.log_member[i] += c * probability
        grad.log_field[i] += c * math.exp(rest + log_field - value)
        grad.member[i] += c * (math.exp(log_cluster - value) - math.exp(log_field - value))
        if probability > 0.0 and with_reddening:
            _add_star_reddened(
                c * probability / total, n_kept, kept.index, kept.moment, star.mag, star.inverse,
                blocks.start, blocks.step, blocks.reddening, blocks.true_weight, blocks.track,
                blocks.first, av_variance, grad.tracks, grad.reddening, grad.weights, grad.tilts,
                grad.scatter, grad.av_scatter,
            )  # fmt: skip
        elif probability > 0.0:
            _add_star(
                c * probability / total, n_kept, kept.index, kept.moment, star.mag, star.inverse,
                blocks.start, blocks.step, blocks.true_weight, blocks.track, blocks.first,
                grad.tracks, grad.weights, grad.tilts, grad.scatter,
            )  # fmt: skip
    if with_gradient:
        # The sums above are derivatives with respect to variances.
        for b in range(n_band):
            grad.scatter[b] *= 2.0 * model.scatter[b]
        grad.av_scatter[0] *= 2.0 * model.av_scatter


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
    mag, variance, tracks, reddening, weights, tilts, scale, scatter, av_scatter,
    member, log_member, log_field,
):  # fmt: skip
    """Return log L (N,); the arguments are the fields of the named tuples above, in order."""
    model = TrackModel(tracks, reddening, weights, tilts, scale, scatter, av_scatter)
    out = np.empty(mag.shape[0])
    cluster_kernel(
        StarData(mag, variance), model, Mixture(member, log_member, log_field),
        np.empty(0), new_gradient(model, 0), False, out,
    )  # fmt: skip
    return out


@numba.njit(cache=True, error_model="numpy", nogil=True)
def cluster_value_and_gradient(
    mag, variance, tracks, reddening, weights, tilts, scale, scatter, av_scatter,
    member, log_member, log_field, cotangent,
):  # fmt: skip
    """Return log L (N,) and the `ClusterGradient` of sum_i cotangent_i log L_i."""
    model = TrackModel(tracks, reddening, weights, tilts, scale, scatter, av_scatter)
    out = np.empty(mag.shape[0])
    grad = new_gradient(model, mag.shape[0])
    cluster_kernel(
        StarData(mag, variance), model, Mixture(member, log_member, log_field),
        cotangent, grad, True, out,
    )  # fmt: skip
    return out, grad


@numba.njit(cache=True, error_model="numpy", nogil=True)
def cluster_value_0d(
    mag, variance, tracks, reddening, weights, tilts, scale, scatter, av_scatter,
    member, log_member, log_field,
):  # fmt: skip
    """`cluster_value` for any memory layout and a 0-d array `av_scatter`."""
    return cluster_value(
        np.ascontiguousarray(mag), np.ascontiguousarray(variance), np.ascontiguousarray(tracks),
        np.ascontiguousarray(reddening), np.ascontiguousarray(weights),
        np.ascontiguousarray(tilts), np.ascontiguousarray(scale), np.ascontiguousarray(scatter),
        av_scatter.item(), np.ascontiguousarray(member), np.ascontiguousarray(log_member),
        np.ascontiguousarray(log_field),
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy", nogil=True)
def cluster_value_and_gradient_0d(
    mag, variance, tracks, reddening, weights, tilts, scale, scatter, av_scatter,
    member, log_member, log_field, cotangent,
):  # fmt: skip
    """Flat tuple of log L and the gradient, for any memory layout."""
    value, g = cluster_value_and_gradient(
        np.ascontiguousarray(mag), np.ascontiguousarray(variance), np.ascontiguousarray(tracks),
        np.ascontiguousarray(reddening), np.ascontiguousarray(weights),
        np.ascontiguousarray(tilts), np.ascontiguousarray(scale), np.ascontiguousarray(scatter),
        av_scatter.item(), np.ascontiguousarray(member), np.ascontiguousarray(log_member),
        np.ascontiguousarray(log_field), np.ascontiguousarray(cotangent),
    )  # fmt: skip
    return (
        value, g.tracks, g.reddening, g.weights, g.tilts, g.scatter, g.av_scatter, g.member,
        g.log_member, g.log_field,
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy", nogil=True)
def cluster_gradient_0d(
    mag, variance, tracks, reddening, weights, tilts, scale, scatter, av_scatter,
    member, log_member, log_field, cotangent,
):  # fmt: skip
    """Flat tuple of the gradient, for any memory layout."""
    return cluster_value_and_gradient_0d(
        mag, variance, tracks, reddening, weights, tilts, scale, scatter, av_scatter,
        member, log_member, log_field, cotangent,
    )[1:]  # fmt: skip
