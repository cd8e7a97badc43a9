"""The probability that a member of the cluster passes the magnitude limits.

A star of magnitude m enters the catalog with probability P = Phi((faint - m)/s_f) -
Phi((bright - m)/s_b). Along a segment m is linear, and the mean of P weighted with the tilted
mass function is a difference of the integrals of Phi, with quadrature where m hardly changes.
"""

import math

import numba
import numpy as np

from pymc_starpop.kernels.quadrature import GL6_NODES, GL6_WEIGHTS

_ROOT_HALF = math.sqrt(0.5)
_ROOT_2PI = math.sqrt(2.0 * math.pi)
# Beyond this many standard deviations Phi is 0 or 1 to double precision.
_FAR = 8.3
# Below this change of the argument along the segment, quadrature of six nodes is exact to 1e-15;
# above, the differences of the closed form lose no more than that.
_FLAT = 0.5


@numba.njit(cache=True, error_model="numpy")
def _phi(u):
    """Return the normal density."""
    return math.exp(-0.5 * u * u) / _ROOT_2PI


@numba.njit(cache=True, error_model="numpy")
def _cdf(u):
    """Return the normal distribution function."""
    return 0.5 * math.erfc(-_ROOT_HALF * u)


@numba.njit(cache=True, error_model="numpy")
def _mean_cdf(ua, ub, tilt):
    """Return the mean of Phi(u) with density 1 + tilt (t - 1/2) for u from ua to ub, and slopes.

    Returns
    -------
    mean, d_mean/d_ua, d_mean/d_ub, d_mean/d_tilt : float
    """
    h = ub - ua
    m0, m1, da, db, da1, db1 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if abs(h) < _FLAT:
        for k in range(GL6_NODES.shape[0]):
            t, w = GL6_NODES[k], GL6_WEIGHTS[k]
            u = ua + t * h
            p, f = w * _cdf(u), w * _phi(u)
            m0 += p
            m1 += (t - 0.5) * p
            da += (1.0 - t) * f
            db += t * f
            da1 += (t - 0.5) * (1.0 - t) * f
            db1 += (t - 0.5) * t * f
        return m0 + tilt * m1, da + tilt * da1, db + tilt * db1, m1
    ca, cb, fa, fb = _cdf(ua), _cdf(ub), _phi(ua), _phi(ub)
    # int Phi = u Phi + phi;  int u Phi = ((u^2 - 1) Phi + u phi) / 2
    first = (ub * cb + fb - ua * ca - fa) / h
    second = 0.5 * ((ub * ub - 1.0) * cb + ub * fb - (ua * ua - 1.0) * ca - ua * fa) / h
    m0 = first
    m1 = (second - ua * first) / h - 0.5 * first
    # Moments of phi along the segment, int t^k phi(u) dt, by parts.
    p0 = (cb - ca) / h
    p1 = (-(fb - fa) / h - ua * p0) / h
    p2 = ((cb - ca - (ub * fb - ua * fa)) / h - ua * (2.0 * h * p1 + ua * p0)) / (h * h)
    da, db = p0 - p1, p1
    da1, db1 = -p2 + 1.5 * p1 - 0.5 * p0, p2 - 0.5 * p1
    return m0 + tilt * m1, da + tilt * da1, db + tilt * db1, m1


@numba.njit(cache=True, error_model="numpy", nogil=True)
def selection_integral(
    mag, weights, tilts, variance, scale, bright, faint, sigma_bright, sigma_faint
):
    """Return Z = sum of weight x mean P and its derivatives.

    Parameters
    ----------
    mag : (P,) magnitude in the band of the limits
    weights, tilts, variance, scale : (P - 1,)
        Of the segments: integral of the mass function, its tilt, variance of the magnitude between
        stars (mag^2, for all that differs from star to star), and 0 in `scale` where a segment is
        not part of the model.
    bright, faint, sigma_bright, sigma_faint : float
        Limits and the photometric errors at them, mag.

    Returns
    -------
    z : (1,)
    d_mag, d_weights, d_tilts, d_variance : as the arguments
    """
    z = np.zeros(1)
    d_mag = np.zeros_like(mag)
    d_weights = np.zeros_like(weights)
    d_tilts = np.zeros_like(weights)
    d_variance = np.zeros_like(weights)
    limits, squared_errors = (faint, bright), (sigma_faint**2, sigma_bright**2)
    # Nothing is cut off where there is no limit on the bright side.
    n_side = 1 if bright == -np.inf else 2
    total = 0.0
    for s in range(weights.shape[0]):
        if not scale[s] > 0.0:
            continue
        passed = 0.0
        for side in range(n_side):
            sign = 1.0 - 2.0 * side
            from_a, from_b = limits[side] - mag[s], limits[side] - mag[s + 1]
            square = squared_errors[side] + variance[s]
            # Most segments are far from the limit, and need neither roots nor error functions.
            nearest, most = min(abs(from_a), abs(from_b)), _FAR * _FAR * square
            if nearest * nearest > most and (from_a > 0.0) == (from_b > 0.0):
                passed += sign if from_a > 0.0 else 0.0
                continue
            tau = math.sqrt(square)
            ua, ub = from_a / tau, from_b / tau
            mean, da, db, dt = _mean_cdf(ua, ub, tilts[s])
            passed += sign * mean
            d_tilts[s] += sign * weights[s] * dt
            if da != 0.0 or db != 0.0:
                d_mag[s] -= sign * weights[s] * da / tau
                d_mag[s + 1] -= sign * weights[s] * db / tau
                d_tau = -sign * weights[s] * (ua * da + ub * db) / tau
                d_variance[s] += 0.5 * d_tau / tau
        total += weights[s] * passed
        d_weights[s] = passed
    z[0] = total
    return z, d_mag, d_weights, d_tilts, d_variance


@numba.njit(cache=True, error_model="numpy", nogil=True)
def selection_integral_0d(
    mag, weights, tilts, variance, scale, bright, faint, sigma_bright, sigma_faint
):
    """`selection_integral` with 0-d arrays for the scalars, as PyTensor passes them."""
    return selection_integral(
        mag, weights, tilts, variance, scale, bright.item(), faint.item(), sigma_bright.item(),
        sigma_faint.item(),
    )  # fmt: skip
