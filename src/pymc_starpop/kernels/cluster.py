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
from pymc_starpop.kernels.scan import StarView, new_survivors, new_workspace, scan_star
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
from pymc_starpop.kernels.simd import add_pair, address_of

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


@numba.njit(error_model="numpy", inline="always")
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


@numba.njit(error_model="numpy", inline="always")
def _add_star(base, n_pair, kept, star, model, grad):
    """Add the derivatives of one star, times `base`, where the covariance is diagonal."""
    n_node, n_band = model.tracks.shape[1:]
    to_mag, to_inverse = address_of(star.mag, 0), address_of(star.inverse, 0)
    to_scatter = address_of(grad.scatter, 0)
    batch = kept.batch
    for n in range(n_pair):
        m, j = n // LANES, n % LANES
        t, s = kept.track[m, j], kept.segment[m, j]
        factor = base * batch[m, LOG_PEAK, j]
        grad.weights[t, s] += factor * batch[m, I0, j]
        scale = factor * batch[m, WEIGHT, j]
        grad.tilts[t, s] += scale * batch[m, TILT_MOMENT, j]
        at = (t * n_node + s) * n_band
        add_pair(
            n_band, to_mag, to_inverse, address_of(model.tracks, at), scale * batch[m, I0, j],
            scale * batch[m, I1, j], scale * batch[m, I2, j], address_of(grad.tracks, at),
            to_scatter,
        )  # fmt: skip


@numba.njit(error_model="numpy", fastmath={"contract"}, inline="always")
def _add_star_reddened(base, n_pair, kept, star, model, grad):
    """Do the same as `_add_star` where the extinction differs from star to star."""
    mag, inverse, batch = star.mag, star.inverse, kept.batch
    av_variance = model.av_scatter**2
    for n in range(n_pair):
        m, j = n // LANES, n % LANES
        t, s = kept.track[m, j], kept.segment[m, j]
        start, end = model.tracks[t, s], model.tracks[t, s + 1]
        factor = base * batch[m, LOG_PEAK, j]
        grad.weights[t, s] += factor * batch[m, I0, j]
        scale = factor * batch[m, WEIGHT, j]
        grad.tilts[t, s] += scale * batch[m, TILT_MOMENT, j]
        i0, i1, i2 = scale * batch[m, I0, j], scale * batch[m, I1, j], scale * batch[m, I2, j]
        shrink, kd, kr = batch[m, SHRINK, j], batch[m, KD, j], batch[m, KR, j]
        # Products with P = D - shrink (Dk)(Dk)' are those with D times 1 - shrink k'Dk.
        kdk = 0.0
        for b in range(mag.shape[0]):
            red = 0.5 * (model.reddening[t, s, b] + model.reddening[t, s + 1, b])
            kdk += inverse[b] * red**2
        left = 1.0 - shrink * kdk
        k_both = left * (kr * i0 - kd * i1)
        k_end = left * (kr * i1 - kd * i2)
        grad.av_scatter[0] += 0.5 * (left * (kr * k_both - kd * k_end) - left * kdk * i0)
        for b in range(mag.shape[0]):
            red = 0.5 * (model.reddening[t, s, b] + model.reddening[t, s + 1, b])
            pk = inverse[b] * red
            pd = inverse[b] * (end[b] - start[b]) - shrink * kd * pk
            pr = inverse[b] * (mag[b] - start[b]) - shrink * kr * pk
            at_end = pr * i1 - pd * i2
            at_both = pr * i0 - pd * i1
            grad.tracks[t, s, b] += at_both - at_end
            grad.tracks[t, s + 1, b] += at_end
            diagonal = inverse[b] - shrink * pk * pk
            grad.scatter[b] += 0.5 * (pr * at_both - pd * at_end - diagonal * i0)
            half = 0.5 * av_variance * (pr * k_both - pd * k_end - left * pk * i0)
            grad.reddening[t, s, b] += half
            grad.reddening[t, s + 1, b] += half


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
    kept = new_survivors(blocks.track.shape[0])
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
        n_pair, top, total = scan_star(
            star, blocks, model.weights, model.tilts, av_variance,
            rest + log_field - log_member - log_norm, prior, work, kept,
        )  # fmt: skip
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
            _add_star_reddened(c * probability / total, n_pair, kept, star, model, grad)
        elif probability > 0.0:
            _add_star(c * probability / total, n_pair, kept, star, model, grad)
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
    nothing = TrackModel(
        tracks[:0], reddening[:0], weights[:0], tilts[:0], scale[:0], scatter[:0], av_scatter
    )
    cluster_kernel(
        StarData(mag, variance), model, Mixture(member, log_member, log_field),
        np.empty(0), new_gradient(nothing, 0), False, out,
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
