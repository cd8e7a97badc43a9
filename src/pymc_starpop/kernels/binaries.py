"""From single stars to the tracks of a population with unresolved binaries, and their weights.

A primary of mass M and a secondary of mass q M of the same isochrone have the magnitude

    y = y_1 - 2.5 log10(1 + 10^(-0.4 (y_2 - y_1))),

where y_2 is read off the isochrone at mass q M, linearly in mass between its nodes. With the
share of light rho = F_2 / (F_1 + F_2), dy = (1 - rho) dy_1 + rho dy_2, and the same average
holds for directions: derivatives of the magnitudes, such as the reddening dm/dA_V. Rows that hold
no light, such as a temperature, keep the value of the primary.

The points of all tracks lie one after the other: the E nodes of the single stars, then for each of
Q mass ratios the E_b nodes of primaries that may have a companion, from the lowest mass to the
last node that can be a primary. The ratios of a node are

    q = lowest + (1 - lowest) x,   x = u + curve u (1 - u),   u = j / (Q - 1),

and of the binaries at that node ratio j holds the share

    p_j = (1 - dark) c_j q_j^slope / sum_k c_k q_k^slope,   c_j = rule_j dx/du.

The slow twins are in `pymc_starpop.population.track_weights` and
`pymc_starpop.reference`.
"""

from typing import NamedTuple

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from pymc_starpop.kernels.binary_light import set_magnitudes
from pymc_starpop.kernels.simd import (
    LANES,
    address_of,
    load,
    splat,
    still_needed,
    store,
)


class BinaryLaw(NamedTuple):
    """How the mass function is shared between single stars and binaries.

    Attributes
    ----------
    weight, density : (E - 1,), (E,) mass function over the segments and at the nodes
    lowest, dark : (E,) smallest mass ratio that shines, share of the binaries below it
    curve : (E,) how the ratios are spaced: above 0 closer to each other towards 1, below 0 towards
        the lowest
    rule : (Q,) weights of the quadrature over u
    fraction, slope : float, binary fraction and exponent of the mass-ratio law
    """

    weight: np.ndarray
    density: np.ndarray
    lowest: np.ndarray
    dark: np.ndarray
    curve: np.ndarray
    rule: np.ndarray
    fraction: float
    slope: float


class Saved(NamedTuple):
    """What the pullback needs again.

    Attributes
    ----------
    position : (Q, E_b) place of the secondary, counted in nodes from the lowest mass on
    power : (Q, E_b) q^slope
    share : (L, Q, E_b) share of the light that the secondary has, in the rows of light
    """

    position: np.ndarray
    power: np.ndarray
    share: np.ndarray


def ratio_lanes(builder, lowest, curve, u):
    """Mass ratios of eight nodes, from addresses and the place u."""
    lowest, curve, u = load(builder, lowest), load(builder, curve), splat(builder, u)
    return lowest + (1.0 - lowest) * (u + curve * u * (1.0 - u))


@numba.njit(error_model="numpy", inline="always")
def mass_ratio(law, e, u):
    """Mass ratio at node e and place u."""
    return law.lowest[e] + (1.0 - law.lowest[e]) * (u + law.curve[e] * u * (1.0 - u))


@numba.njit(error_model="numpy", inline="always")
def coefficient(law, j, e):
    """Weight of ratio j in the quadrature at node e."""
    return law.rule[j] * (1.0 + law.curve[e] * (1.0 - 2.0 * j / (law.rule.shape[0] - 1)))


@intrinsic
def _power_of_ratio(typingctx, lowest, curve, u, slope, out):
    """Store q^slope of eight nodes."""

    def codegen(context, builder, signature, args):
        lowest, curve, u, slope, out = args
        q = ratio_lanes(builder, lowest, curve, u)
        power = (q.log() * splat(builder, slope)).maximum(-700.0).minimum(700.0).exp()
        store(builder, power, out)
        return context.get_dummy_value()

    return types.void(*([types.intp] * 2), types.float64, types.float64, types.intp), codegen


@numba.njit(cache=True, error_model="numpy")
def first_node(mass, mass_min, last):
    """Return the node at which the track starts: the last one not above mass_min."""
    first = 0
    while first < last - 1 and mass[first + 1] <= mass_min:
        first += 1
    return first


@numba.njit(cache=True, error_model="numpy")
def main_part(law, first, last):
    """Cut out of the law what concerns nodes `first` to `last`."""
    return BinaryLaw(
        law.weight[first:last], law.density[first : last + 1], law.lowest[first : last + 1],
        law.dark[first : last + 1], law.curve[first : last + 1], law.rule, law.fraction,
        law.slope,
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def _locate(mass, by_width, law, u, position):
    """Set where between the nodes the secondaries of one mass ratio lie.

    `by_width` are 1 over the masses from one node to the next, 0 where they do not rise. The search
    goes on from the last answer; where masses fall along the isochrone it starts again.
    """
    i, previous = 0, 0.0
    for e in range(mass.shape[0]):
        wanted = mass_ratio(law, e, u) * mass[e]
        if wanted < previous:
            i = 0
        previous = wanted
        while i < mass.shape[0] - 2 and mass[i + 1] < wanted:
            i += 1
        t = (wanted - mass[i]) * by_width[i]
        # So that a mass that is no number has a place, too.
        position[e] = i + (min(t, 1.0) if t > 0.0 else 0.0)


@numba.njit(error_model="numpy", inline="always")
def between(position, n_main):
    """Node before a position and the way to the next one."""
    i = min(int(position), n_main - 2)
    return i, position - i


@numba.njit(cache=True, error_model="numpy")
def _set_singles(law, last, weights, tilts, scale):
    """Set the segments of the single track, which dark companions join."""
    for s in range(law.weight.shape[0]):
        a, b = law.density[s], law.density[s + 1]
        mean = 1.0
        if s < last:
            share_a = 1.0 + law.fraction * (law.dark[s] - 1.0)
            share_b = 1.0 + law.fraction * (law.dark[s + 1] - 1.0)
            mean = 0.5 * (share_a + share_b)
            a *= share_a
            b *= share_b
        weights[s] = law.weight[s] * mean
        scale[s] = law.weight[s]
        tilts[s] = 2.0 * (b - a) / (a + b) if a + b > 0.0 else 0.0


@numba.njit(cache=True, error_model="numpy")
def normalization(law, power):
    """Return 1 / sum_k c_k q_k^slope for each node."""
    n_ratio, n_main = power.shape
    total = np.zeros(n_main)
    for j in range(n_ratio):
        for e in range(n_main):
            total[e] += coefficient(law, j, e) * power[j, e]
    return 1.0 / total


@numba.njit(cache=True, error_model="numpy")
def set_shares(law, power, norm, j, share):
    """Set the shares p_j of the binaries that have ratio j, (E_b,)."""
    for e in range(share.shape[0]):
        share[e] = coefficient(law, j, e) * power[j, e] * norm[e] * (1.0 - law.dark[e])


@numba.njit(cache=True, error_model="numpy")
def _set_binaries(law, power, norm, weights, tilts, scale):
    """Set the segments of the binary tracks, (Q * E_b - 1,)."""
    n_ratio, n_main = power.shape
    share = np.empty(n_main)
    for j in range(n_ratio):
        set_shares(law, power, norm, j, share)
        at = j * n_main
        for e in range(n_main - 1):
            mean = 0.5 * (share[e] + share[e + 1])
            a, b = share[e] * law.density[e], share[e + 1] * law.density[e + 1]
            scale[at + e] = law.weight[e] * mean
            weights[at + e] = law.fraction * law.weight[e] * mean
            tilts[at + e] = 2.0 * (b - a) / (a + b) if a + b > 0.0 else 0.0


@numba.njit(cache=True, error_model="numpy")
def _set_direction(direction, position, share, out):
    """Set a direction in one band on the binary tracks, (Q * E_b,), weighted with the light."""
    n_ratio, n_main = position.shape
    for j in range(n_ratio):
        for e in range(n_main):
            i, t = between(position[j, e], n_main)
            second = direction[i] + t * (direction[i + 1] - direction[i])
            mixed = direction[e] + share[j, e] * (second - direction[e])
            out[j * n_main + e] = mixed


@numba.njit(cache=True, error_model="numpy")
def _set_primary(row, n_ratio, out):
    """Set a row of the binary tracks, (Q * E_b,), that only the primary decides."""
    n_main = row.shape[0]
    for j in range(n_ratio):
        out[j * n_main : (j + 1) * n_main] = row


@numba.njit(cache=True, error_model="numpy")
def _set_ratios(mass, law, position, power_room):
    """Set where the secondaries lie, (Q, E_b), and q^slope, (Q * E_b + 8,)."""
    n_ratio, n_main = position.shape
    by_width = np.zeros(n_main)
    for e in range(n_main - 1):
        width = mass[e + 1] - mass[e]
        by_width[e] = 1.0 / width if width > 0.0 else 0.0
    lowest, curve = np.ones(n_main + LANES), np.zeros(n_main + LANES)
    lowest[:n_main] = law.lowest
    curve[:n_main] = law.curve
    for j in range(n_ratio):
        u = j / (n_ratio - 1)
        _locate(mass, by_width, law, u, position[j])
        if law.slope == 0.0:
            power_room[j * n_main : (j + 1) * n_main] = 1.0
            continue
        # What the last eight write too much, the next ratio overwrites.
        for e in range(0, n_main, LANES):
            _power_of_ratio(
                address_of(lowest, e), address_of(curve, e), u, law.slope,
                address_of(power_room, j * n_main + e),
            )  # fmt: skip
    still_needed(curve)
    still_needed(lowest)


@numba.njit(cache=True, error_model="numpy")
def _directions(directions, n_row, n_light, n_point, first, last, position, share):
    """Return the directions on all tracks, (K, R, P)."""
    n_direction, n_node = directions.shape[0], directions.shape[2]
    out = np.empty((n_direction, n_row, n_point))
    for k in range(n_direction):
        out[k, :, :n_node] = directions[k]
        for b in range(n_row):
            main, rest = directions[k, b, first : last + 1], out[k, b, n_node:]
            if b < n_light:
                _set_direction(main, position, share[b], rest)
            else:
                _set_primary(main, position.shape[0], rest)
    return out


@numba.njit(cache=True, error_model="numpy", nogil=True)
def population_tracks(mass, mag, directions, n_light, law, mass_min, last):
    """Return the tracks of single stars and of binaries, their weights, and `Saved`.

    Parameters
    ----------
    mass : (E,) initial mass, Msun
    mag : (R, E) magnitudes of single stars, and from row n_light on what has no light
    directions : (K, R, E) derivatives of `mag` along K directions; any shape where K is 0
    n_light : int
    law : BinaryLaw
    mass_min : float
        Lowest mass (Msun); the track has been cut so that a node lies exactly there.
    last : int
        Last node that can be a primary, at least 1.

    Returns
    -------
    tracks : (R, P)
        P = E + Q E_b points.
    directions : (K, R, P)
    weights, tilts, scale : (P - 1,)
    starts : (Q + 2,)
        As `pymc_starpop.kernels.track_model.TrackModel` has them; weights are 0 between tracks.
    saved : Saved
    """
    first = first_node(mass, mass_min, last)
    n_row, n_node = mag.shape
    n_ratio, n_main = law.rule.shape[0], last + 1 - first
    n_binary = n_ratio * n_main
    n_point = n_node + n_binary
    main = main_part(law, first, last)
    position_room = np.zeros(n_binary + LANES)
    position = position_room[:n_binary].reshape((n_ratio, n_main))
    power_room = np.zeros(n_binary + LANES)
    _set_ratios(mass[first : last + 1], main, position, power_room)
    power = power_room[:n_binary].reshape((n_ratio, n_main))
    segments = np.zeros((3, n_point - 1))
    weights, tilts, scale = segments[0], segments[1], segments[2]
    _set_singles(law, last, weights, tilts, scale)
    norm = normalization(main, power)
    _set_binaries(main, power, norm, weights[n_node:], tilts[n_node:], scale[n_node:])
    tracks, share_room = np.empty((n_row, n_point)), np.empty((n_light, n_binary))
    tracks[:n_light, :n_node] = mag[:n_light]
    set_magnitudes(mag[:n_light, first : last + 1], position_room, tracks, share_room)
    share = share_room.reshape((n_light, n_ratio, n_main))
    for b in range(n_light, n_row):
        tracks[b, :n_node] = mag[b]
        _set_primary(mag[b, first : last + 1], n_ratio, tracks[b, n_node:])
    directed = _directions(directions, n_row, n_light, n_point, first, last, position, share)
    starts = np.zeros(n_ratio + 2, dtype=np.int64)
    starts[1:] = n_node + n_main * np.arange(n_ratio + 1)
    return tracks, directed, weights, tilts, scale, starts, Saved(position, power, share)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def population_tracks_0d(
    mass, mag, directions, weight, density, lowest, dark, curve, rule, fraction, slope,
    mass_min, last, n_light,
):  # fmt: skip
    """`population_tracks`, flat, for any memory layout and 0-d arrays for the scalars."""
    law = BinaryLaw(weight, density, lowest, dark, curve, rule, fraction.item(), slope.item())
    tracks, directed, weights, tilts, scale, starts, saved = population_tracks(
        mass, np.ascontiguousarray(mag), np.ascontiguousarray(directions), n_light.item(), law,
        mass_min.item(), last.item(),
    )  # fmt: skip
    return (
        tracks, directed, weights, tilts, scale, starts, saved.position, saved.power, saved.share
    )  # fmt: skip
