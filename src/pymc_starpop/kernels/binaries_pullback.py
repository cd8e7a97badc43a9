"""Derivatives of the tracks of a population with binaries and of their weights.

For the formulas see `pymc_starpop.kernels.binaries`; each function here adds what belongs to the
function of the same name there.
"""

from typing import NamedTuple

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from pymc_starpop.kernels.binaries import (
    BinaryLaw,
    Saved,
    between,
    coefficient,
    first_node,
    main_part,
    mass_ratio,
    normalization,
    ratio_lanes,
    set_shares,
)
from pymc_starpop.kernels.binary_light import MAG_TO_LN, pull_magnitudes
from pymc_starpop.kernels.simd import (
    LANES,
    address_of,
    load,
    still_needed,
    sum_lanes,
)


@intrinsic
def _sum_with_log_ratio(typingctx, lowest, curve, u, values):
    """Sum of eight values times log q."""

    def codegen(context, builder, signature, args):
        lowest, curve, u, values = args
        q = ratio_lanes(builder, lowest, curve, u)
        return sum_lanes(builder, load(builder, values) * q.log())

    return types.float64(*([types.intp] * 2), types.float64, types.intp), codegen


class BinaryGradient(NamedTuple):
    """Derivatives by the arguments of `population_tracks`; fraction and slope are (1,)."""

    mass: np.ndarray
    mag: np.ndarray
    directions: np.ndarray
    weight: np.ndarray
    density: np.ndarray
    lowest: np.ndarray
    dark: np.ndarray
    curve: np.ndarray
    fraction: np.ndarray
    slope: np.ndarray


@numba.njit(error_model="numpy", inline="always")
def _slopes_of_tilt(a, b):
    """Derivatives of 2 (b - a) / (a + b) by a and b."""
    total = a + b
    if not total > 0.0:
        return 0.0, 0.0
    return -4.0 * b / total**2, 4.0 * a / total**2


@numba.njit(cache=True, error_model="numpy")
def _pull_singles(law, last, g_weights, g_tilts, grad):
    """Add the derivatives of what `_set_singles` sets."""
    for s in range(law.weight.shape[0]):
        if s >= last:
            grad.weight[s] += g_weights[s]
            da, db = _slopes_of_tilt(law.density[s], law.density[s + 1])
            grad.density[s] += g_tilts[s] * da
            grad.density[s + 1] += g_tilts[s] * db
            continue
        share_a = 1.0 + law.fraction * (law.dark[s] - 1.0)
        share_b = 1.0 + law.fraction * (law.dark[s + 1] - 1.0)
        grad.weight[s] += g_weights[s] * 0.5 * (share_a + share_b)
        da, db = _slopes_of_tilt(share_a * law.density[s], share_b * law.density[s + 1])
        grad.density[s] += g_tilts[s] * da * share_a
        grad.density[s + 1] += g_tilts[s] * db * share_b
        half = 0.5 * g_weights[s] * law.weight[s]
        at_a = half + g_tilts[s] * da * law.density[s]
        at_b = half + g_tilts[s] * db * law.density[s + 1]
        grad.dark[s] += law.fraction * at_a
        grad.dark[s + 1] += law.fraction * at_b
        grad.fraction[0] += at_a * (law.dark[s] - 1.0) + at_b * (law.dark[s + 1] - 1.0)


@numba.njit(cache=True, error_model="numpy")
def _pull_binaries(law, power, norm, g_weights, g_tilts, grad, g_share):
    """Add the derivatives of what `_set_binaries` sets; those by the shares p_j into g_share."""
    n_ratio, n_main = power.shape
    share = np.empty(n_main)
    for j in range(n_ratio):
        set_shares(law, power, norm, j, share)
        at, by_fraction = j * n_main, 0.0
        for e in range(n_main - 1):
            g_weight, g_tilt = g_weights[at + e], g_tilts[at + e]
            mean = 0.5 * (share[e] + share[e + 1])
            grad.weight[e] += g_weight * law.fraction * mean
            by_fraction += g_weight * law.weight[e] * mean
            half = 0.5 * g_weight * law.fraction * law.weight[e]
            g_share[j, e] += half
            g_share[j, e + 1] += half
            # The tilts of most segments matter to no star.
            if g_tilt == 0.0:
                continue
            da, db = _slopes_of_tilt(share[e] * law.density[e], share[e + 1] * law.density[e + 1])
            grad.density[e] += g_tilt * da * share[e]
            grad.density[e + 1] += g_tilt * db * share[e + 1]
            g_share[j, e] += g_tilt * da * law.density[e]
            g_share[j, e + 1] += g_tilt * db * law.density[e + 1]
        grad.fraction[0] += by_fraction


@numba.njit(cache=True, error_model="numpy")
def _pull_shares(law, power, norm, g_share, grad):
    """Add the derivatives of the shares p_j by their law; those by q replace g_share."""
    n_ratio, n_main = power.shape
    lowest, curve = np.ones(n_main + LANES), np.zeros(n_main + LANES)
    lowest[:n_main] = law.lowest
    curve[:n_main] = law.curve
    at_power = np.zeros(n_main + LANES)
    sums = np.zeros(n_main)
    for j in range(n_ratio):
        for e in range(n_main):
            sums[e] += g_share[j, e] * coefficient(law, j, e) * power[j, e]
    for e in range(n_main):
        sums[e] *= norm[e]
        grad.dark[e] -= sums[e]
    for j in range(n_ratio):
        u = j / (n_ratio - 1)
        bend = law.rule[j] * (1.0 - 2.0 * u)
        for e in range(n_main):
            # By c_j q_j^slope: of its own share, and of the sum that divides all of them.
            g = (1.0 - law.dark[e]) * norm[e] * (g_share[j, e] - sums[e])
            grad.curve[e] += g * bend * power[j, e]
            at_power[e] = g * coefficient(law, j, e) * power[j, e]
            g_share[j, e] = at_power[e] * law.slope / mass_ratio(law, e, u)
        for k in range(0, n_main, LANES):
            grad.slope[0] += _sum_with_log_ratio(
                address_of(lowest, k), address_of(curve, k), u, address_of(at_power, k)
            )
    still_needed(lowest)
    still_needed(curve)
    still_needed(at_power)


@numba.njit(cache=True, error_model="numpy")
def _pull_primary(g_binaries, n_ratio, g_row):
    """Add the derivatives of what `_set_primary` sets."""
    n_main = g_row.shape[0]
    for j in range(n_ratio):
        g_row += g_binaries[j * n_main : (j + 1) * n_main]


@numba.njit(cache=True, error_model="numpy")
def _pull_direction(mag, direction, position, share, g_binaries, g_mag, g_direction, g_position):
    """Add the derivatives of what `_set_direction` sets, for one direction and band."""
    n_ratio, n_main = position.shape
    for j in range(n_ratio):
        for e in range(n_main):
            g, rho = g_binaries[j * n_main + e], share[j, e]
            # Most points matter to no star.
            if g == 0.0:
                continue
            i, t = between(position[j, e], n_main)
            slope = direction[i + 1] - direction[i]
            second = direction[i] + t * slope
            # The share of light moves with both magnitudes.
            bend = g * (second - direction[e]) * rho * (1.0 - rho) * MAG_TO_LN
            g_mag[e] += bend
            g_mag[i] -= bend * (1.0 - t)
            g_mag[i + 1] -= bend * t
            g_direction[e] += (1.0 - rho) * g
            g_direction[i] += rho * g * (1.0 - t)
            g_direction[i + 1] += rho * g * t
            g_position[j, e] += rho * g * slope - bend * (mag[i + 1] - mag[i])


@numba.njit(cache=True, error_model="numpy")
def _pull_ratios(mass, law, position, g_position, g_ratio, grad):
    """Add the derivatives of where the secondaries lie, and those by q of the law."""
    n_ratio, n_main = position.shape
    for j in range(n_ratio):
        u = j / (n_ratio - 1)
        for e in range(n_main):
            g_q = g_ratio[j, e]
            if g_position[j, e] != 0.0:
                i, t = between(position[j, e], n_main)
                q = mass_ratio(law, e, u)
                width = mass[i + 1] - mass[i]
                # A secondary below the track has the light of its end, whatever its mass.
                if width > 0.0 and mass[i] <= q * mass[e] <= mass[i + 1]:
                    g_mass = g_position[j, e] / width
                    g_q += g_mass * mass[e]
                    grad.mass[e] += g_mass * q
                    grad.mass[i] -= g_mass * (1.0 - t)
                    grad.mass[i + 1] -= g_mass * t
            curved = u * (1.0 - u)
            grad.lowest[e] += g_q * (1.0 - u - law.curve[e] * curved)
            grad.curve[e] += g_q * (1.0 - law.lowest[e]) * curved


@numba.njit(cache=True, error_model="numpy")
def _main_gradient(grad, first, last):
    """Cut out of the gradient what concerns nodes `first` to `last`; it shares the memory."""
    end = last + 1
    return BinaryGradient(
        grad.mass[first:end], grad.mag[:, first:end], grad.directions[:, :, first:end],
        grad.weight[first:last], grad.density[first:end], grad.lowest[first:end],
        grad.dark[first:end], grad.curve[first:end], grad.fraction, grad.slope,
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def _pull_directions(mag, directions, n_ratio, saved, g_binaries, into, g_position):
    """Add the derivatives of the directions on the binary tracks, (K, R, Q * E_b)."""
    n_light = saved.share.shape[0]
    for k in range(directions.shape[0]):
        for b in range(mag.shape[0]):
            if b < n_light:
                _pull_direction(
                    mag[b], directions[k, b], saved.position, saved.share[b], g_binaries[k, b],
                    into.mag[b], into.directions[k, b], g_position,
                )  # fmt: skip
            else:
                _pull_primary(g_binaries[k, b], n_ratio, into.directions[k, b])


@numba.njit(cache=True, error_model="numpy", nogil=True)
def population_tracks_pullback(
    mass, mag, directions, law, mass_min, last, saved, g_tracks, g_directions, g_weights, g_tilts
):
    """Return the `BinaryGradient` of the sum of the outputs times their cotangents.

    `saved` is the last result of `population_tracks` for the same arguments; the scale has no
    derivative.
    """
    first = first_node(mass, mass_min, last)
    n_row, n_node = mag.shape
    n_light, n_ratio, _ = saved.share.shape
    grad = BinaryGradient(
        np.zeros(n_node), g_tracks[:, :n_node].copy(), np.zeros_like(directions),
        np.zeros(n_node - 1), np.zeros(n_node), np.zeros(n_node), np.zeros(n_node),
        np.zeros(n_node), np.zeros(1), np.zeros(1),
    )  # fmt: skip
    _pull_singles(law, last, g_weights, g_tilts, grad)
    end = last + 1
    main, into = main_part(law, first, last), _main_gradient(grad, first, last)
    norm = normalization(main, saved.power)
    n_binary = saved.power.size
    g_share, room = np.zeros(saved.power.shape), np.zeros((2, n_binary + LANES))
    g_position = room[0, :n_binary].reshape(saved.power.shape)
    room[1, :n_binary] = saved.position.reshape(n_binary)
    _pull_binaries(main, saved.power, norm, g_weights[n_node:], g_tilts[n_node:], into, g_share)
    _pull_shares(main, saved.power, norm, g_share, into)
    pull_magnitudes(
        mag[:n_light, first:end], room[1], saved.share.reshape((n_light, n_binary)), g_tracks,
        into.mag, room[0],
    )  # fmt: skip
    for b in range(n_light, n_row):
        _pull_primary(g_tracks[b, n_node:], n_ratio, into.mag[b])
    if directions.shape[0] > 0:
        grad.directions[:] = g_directions[:, :, :n_node]
        _pull_directions(
            mag[:, first:end], directions[:, :, first:end], n_ratio, saved,
            g_directions[:, :, n_node:], into, g_position,
        )  # fmt: skip
    _pull_ratios(mass[first:end], main, saved.position, g_position, g_share, into)
    return grad


@numba.njit(cache=True, error_model="numpy", nogil=True)
def population_tracks_pullback_0d(
    mass, mag, directions, weight, density, lowest, dark, curve, rule, fraction, slope,
    mass_min, last, n_light, position, power, share, g_tracks, g_directions, g_weights, g_tilts,
):  # fmt: skip
    """`population_tracks_pullback`, flat, for any memory layout and 0-d arrays for the scalars."""
    law = BinaryLaw(weight, density, lowest, dark, curve, rule, fraction.item(), slope.item())
    saved = Saved(
        np.ascontiguousarray(position), np.ascontiguousarray(power), np.ascontiguousarray(share)
    )
    grad = population_tracks_pullback(
        mass, np.ascontiguousarray(mag), np.ascontiguousarray(directions), law, mass_min.item(),
        last.item(), saved, np.ascontiguousarray(g_tracks),
        np.ascontiguousarray(g_directions), np.ascontiguousarray(g_weights),
        np.ascontiguousarray(g_tilts),
    )  # fmt: skip
    return (
        grad.mass, grad.mag, grad.directions, grad.weight, grad.density, grad.lowest, grad.dark,
        grad.curve, grad.fraction, grad.slope,
    )  # fmt: skip
