"""Magnitudes of unresolved binaries: flux addition along one isochrone.

A primary of mass M and a secondary of mass q M of the same isochrone have the magnitude

    y = y_1 - 2.5 log10(1 + 10^(-0.4 (y_2 - y_1))),

where y_2 is read off the isochrone at mass q M, linearly in mass between its nodes. With the
share of light rho = F_2 / (F_1 + F_2), dy = (1 - rho) dy_1 + rho dy_2, and the same average
holds for the reddening dm/dA_V.
"""

import math

import numba
import numpy as np

from pymc_starpop.kernels.fastmath import FAST, exp_nonpositive, log1p_unit

_MAG_TO_LN = 0.4 * math.log(10.0)


@numba.njit(cache=True, error_model="numpy")
def _locate(mass, first, last, wanted, i, previous):
    """Return i such that i + 1 is the first node after `first` with mass >= wanted.

    The search goes on from the last answer `i`, for a mass `previous` that was not larger; where
    masses fall along the isochrone it starts again.
    """
    if wanted < previous:
        i = first
    while i < last - 1 and mass[i + 1] < wanted:
        i += 1
    return i


@numba.njit(cache=True, error_model="numpy")
def _position(mass, i, wanted):
    """Return where `wanted` lies between nodes i and i + 1, 0 to 1."""
    width = mass[i + 1] - mass[i]
    if width <= 0.0:
        return 0.0
    return min(max((wanted - mass[i]) / width, 0.0), 1.0)


@numba.njit(cache=True, error_model="numpy")
def _first_node(mass, mass_min, last):
    """Return the node at which the track starts: the last one not above mass_min."""
    first = 0
    while first < last - 1 and mass[first + 1] <= mass_min:
        first += 1
    return first


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def _add_light(mag1, mag2_then_share, total):
    """Set total magnitudes (M,), and the share of the light that the second stars (M,) have."""
    for m in range(mag1.shape[0]):
        difference = _MAG_TO_LN * (mag2_then_share[m] - mag1[m])
        # The ratio of fainter to brighter, at most 1.
        ratio = exp_nonpositive(max(-abs(difference), -700.0))
        total[m] = min(mag1[m], mag2_then_share[m]) - log1p_unit(ratio) / _MAG_TO_LN
        fainter = ratio / (1.0 + ratio)
        mag2_then_share[m] = fainter if difference >= 0.0 else 1.0 - fainter


@numba.njit(cache=True, error_model="numpy", nogil=True)
def binary_tracks(mass, mag, reddening, mass_ratio, mass_min, last):
    """Return tracks (Q + 1, E, B), their reddening, and the secondary's share of the light.

    Parameters
    ----------
    mass : (E,) initial mass, Msun
    mag, reddening : (E, B) magnitude and dm/dA_V of single stars; reddening may be (0, B)
    mass_ratio : (Q, E) q at each node, 0 < q <= 1
    mass_min : float
        Lowest mass (Msun); the track has been cut so that a node lies exactly there.
    last : int
        Last node that can be a primary; above it the binary tracks repeat the single one and
        carry no weight.
    """
    first = _first_node(mass, mass_min, last)
    n_ratio = mass_ratio.shape[0]
    n_node, n_band = mag.shape
    with_reddening = reddening.shape[0] > 0
    tracks = np.empty((n_ratio + 1, n_node, n_band))
    share = np.zeros((n_ratio, n_node, n_band))
    red = np.empty((n_ratio + 1 if with_reddening else 0, n_node, n_band))
    for t in range(n_ratio + 1):
        tracks[t] = mag
        if with_reddening:
            red[t] = reddening
    for j in range(n_ratio):
        i, previous = first, 0.0
        for e in range(first, last + 1):
            secondary = mass_ratio[j, e] * mass[e]
            i = _locate(mass, first, last, secondary, i, previous)
            previous = secondary
            t = _position(mass, i, secondary)
            for b in range(n_band):
                share[j, e, b] = mag[i, b] + t * (mag[i + 1, b] - mag[i, b])
                if with_reddening:
                    red2 = reddening[i, b] + t * (reddening[i + 1, b] - reddening[i, b])
                    red[j + 1, e, b] = red2 - reddening[e, b]
        part = slice(first, last + 1)
        _add_light(np.ravel(mag[part]), np.ravel(share[j, part]), np.ravel(tracks[j + 1, part]))
        if with_reddening:
            red[j + 1, part] = reddening[part] + share[j, part] * red[j + 1, part]
    return tracks, red, share


@numba.njit(cache=True, error_model="numpy", nogil=True)
def binary_tracks_pullback(
    mass, mag, reddening, mass_ratio, mass_min, last, share, g_tracks, g_red
):  # fmt: skip
    """Return the derivatives of sum(g_tracks tracks) + sum(g_red red) by mass, mag, reddening, q.

    `share` is the third result of `binary_tracks` for the same arguments.
    """
    first = _first_node(mass, mass_min, last)
    n_ratio = mass_ratio.shape[0]
    n_node, n_band = mag.shape
    with_reddening = reddening.shape[0] > 0
    d_mass = np.zeros(n_node)
    d_mag = np.zeros((n_node, n_band))
    d_red = np.zeros(reddening.shape)
    d_ratio = np.zeros((n_ratio, n_node))
    d_mag += g_tracks[0]
    if with_reddening:
        d_red += g_red[0]
    for j in range(n_ratio):
        i, previous = first, 0.0
        for e in range(n_node):
            if e < first or e > last:
                for b in range(n_band):
                    d_mag[e, b] += g_tracks[j + 1, e, b]
                    if with_reddening:
                        d_red[e, b] += g_red[j + 1, e, b]
                continue
            q = mass_ratio[j, e]
            i = _locate(mass, first, last, q * mass[e], i, previous)
            previous = q * mass[e]
            t = _position(mass, i, q * mass[e])
            g_t = 0.0
            for b in range(n_band):
                rho = share[j, e, b]
                g1 = (1.0 - rho) * g_tracks[j + 1, e, b]
                g2 = rho * g_tracks[j + 1, e, b]
                if with_reddening:
                    g = g_red[j + 1, e, b]
                    slope = reddening[i + 1, b] - reddening[i, b]
                    red2 = reddening[i, b] + t * slope
                    bend = g * (red2 - reddening[e, b]) * rho * (1.0 - rho) * _MAG_TO_LN
                    g1 += bend
                    g2 -= bend
                    d_red[e, b] += (1.0 - rho) * g
                    d_red[i, b] += rho * g * (1.0 - t)
                    d_red[i + 1, b] += rho * g * t
                    g_t += rho * g * slope
                d_mag[e, b] += g1
                d_mag[i, b] += g2 * (1.0 - t)
                d_mag[i + 1, b] += g2 * t
                g_t += g2 * (mag[i + 1, b] - mag[i, b])
            width = mass[i + 1] - mass[i]
            # A secondary below the track has the light of its end, whatever its mass.
            if width > 0.0 and mass[i] <= q * mass[e] <= mass[i + 1]:
                g_mass = g_t / width
                d_ratio[j, e] += g_mass * mass[e]
                d_mass[e] += g_mass * q
                d_mass[i] -= g_mass * (1.0 - t)
                d_mass[i + 1] -= g_mass * t
    return d_mass, d_mag, d_red, d_ratio


@numba.njit(cache=True, error_model="numpy", nogil=True)
def binary_tracks_0d(mass, mag, reddening, mass_ratio, mass_min, last):
    """`binary_tracks` with 0-d arrays for the scalars, as PyTensor passes them."""
    return binary_tracks(mass, mag, reddening, mass_ratio, mass_min.item(), last.item())


@numba.njit(cache=True, error_model="numpy", nogil=True)
def binary_tracks_pullback_0d(
    mass, mag, reddening, mass_ratio, mass_min, last, share, g_tracks, g_red
):  # fmt: skip
    """`binary_tracks_pullback` with 0-d arrays for the scalars."""
    return binary_tracks_pullback(
        mass, mag, reddening, mass_ratio, mass_min.item(), last.item(), share, g_tracks, g_red
    )
