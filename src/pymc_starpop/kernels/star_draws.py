"""Draw mass and mass ratio of single stars from their posterior at one point of the parameters.

For star i the member part of the likelihood is a sum over segments of weight x I_0 (see `cluster`
and `segment`). A draw chooses a segment with these weights, among those that the pruning keeps, and
a place t on it from the density

    (1 + tilt (t - 1/2)) exp(-(A t^2 - 2 B t) / 2),   0 <= t <= 1,

by the inverse of its distribution function.
"""

import math

import numba
import numpy as np

from pymc_starpop.kernels.blocks import build_blocks
from pymc_starpop.kernels.cluster import prepare_star
from pymc_starpop.kernels.scan import scan_star
from pymc_starpop.kernels.segment import CUT, I0, LOG_PEAK, TILT, WEIGHT, A, B
from pymc_starpop.kernels.simd import LANES, WORD, address_of, get, get_integer, still_needed
from pymc_starpop.kernels.star_room import addresses_of, new_arrays
from pymc_starpop.kernels.tiles import build_tiles, segment_of
from pymc_starpop.kernels.track_model import (
    StarData,
    TrackModel,
    active_directions,
    check_shapes,
    has_offsets,
    typical_inverse,
    with_mean_directions,
)

# Pieces of the window around the maximum, and points of Gauss-Legendre (half of them) in each:
# over a seventh of a standard deviation or of the length of decay they are exact to 1e-15.
_N_PIECE = 50
_HALF_NODES = np.polynomial.legendre.leggauss(4)[0][2:]
_HALF_WEIGHTS = np.polynomial.legendre.leggauss(4)[1][2:]
_MOST_STEPS = 60


@numba.njit(error_model="numpy", inline="always")
def _density(t, a, slope, peak, tilt):
    """Density at t relative to that of the Gaussian at its peak on the segment."""
    u = t - peak
    return (1.0 + tilt * (t - 0.5)) * math.exp(-u * (0.5 * a * u + slope))


@numba.njit(error_model="numpy")
def _mass_between(low, high, a, slope, peak, tilt):
    """Integral of the density from low to high."""
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    total = 0.0
    for node, weight in zip(_HALF_NODES, _HALF_WEIGHTS):  # noqa: B905 (numba has no strict)
        before = _density(middle - half * node, a, slope, peak, tilt)
        total += weight * (before + _density(middle + half * node, a, slope, peak, tilt))
    return half * total


@numba.njit(cache=True, error_model="numpy")
def place_on_segment(a, b, tilt, uniform):
    """Return t with distribution function `uniform`, for A = a >= 0 and B = b.

    Nothing is lost far from the star: the window where the Gaussian is within exp(-CUT) of its
    maximum on the segment is all that is looked at.
    """
    peak = min(max(b, 0.0), a) / max(a, 1e-300)
    if a <= 0.0:
        peak = 1.0 if b > 0.0 else 0.0
    slope = 0.0 if 0.0 < b < a else a * peak - b
    root = abs(slope) + math.sqrt(slope * slope + 2.0 * CUT * a)
    reach = 2.0 * CUT / root if root > 0.0 else 1.0
    low, high = max(peak - reach, 0.0), min(peak + reach, 1.0)
    width = (high - low) / _N_PIECE
    masses = np.empty(_N_PIECE)
    for k in range(_N_PIECE):
        masses[k] = _mass_between(low + k * width, low + (k + 1) * width, a, slope, peak, tilt)
    wanted = uniform * masses.sum()
    piece = 0
    while piece < _N_PIECE - 1 and wanted > masses[piece]:
        wanted -= masses[piece]
        piece += 1
    # Newton's method, held between the bounds by bisection.
    start = low + piece * width
    left, right = start, start + width
    t = start + width * min(wanted / masses[piece], 1.0) if masses[piece] > 0.0 else start
    for _ in range(_MOST_STEPS):
        excess = _mass_between(start, t, a, slope, peak, tilt) - wanted
        if excess > 0.0:
            right = t
        else:
            left = t
        density = _density(t, a, slope, peak, tilt)
        moved = t - excess / density if density > 0.0 else 0.5 * (left + right)
        if not left <= moved <= right:
            moved = 0.5 * (left + right)
        if abs(moved - t) <= 1e-13 * width:
            break
        t = moved
    return min(max(t, 0.0), 1.0)


@numba.njit(error_model="numpy", inline="always")
def _choose_pair(at, n_kept, total, uniform):
    """Place of the block and lane that a share `uniform` of the integral reaches, -1 for none."""
    wanted, place, lane = uniform * total, -1, 0
    for m in range(n_kept):
        batch = at.batch + get_integer(at.kept, m) * at.batch_bytes
        for k in range(LANES):
            pair = batch + WORD * k
            share = get(pair, WEIGHT * LANES) * get(pair, I0 * LANES) * get(pair, LOG_PEAK * LANES)
            if share > 0.0:
                place, lane = get_integer(at.kept, m), k
                wanted -= share
                if wanted < 0.0:
                    return place, lane
    return place, lane


@numba.njit(cache=True, error_model="numpy", nogil=True)
def draw_stars(
    mag, variance, tracks, directions, weights, tilts, scale, starts, spread, offset, point_mass,
    point_ratio, uniforms,
):  # fmt: skip
    """Draw one mass and mass ratio for each star, given that it is a member.

    Parameters
    ----------
    mag, variance, tracks, directions, weights, tilts, scale, starts, spread, offset
        As `pymc_starpop.kernels.cluster` has them, for N stars and P points.
    point_mass, point_ratio : (P,)
        Initial mass (of the primary) and mass ratio at the points of the tracks.
    uniforms : (N, 2) or more columns
        Random numbers from 0 to 1: the first chooses the segment, the second the place on it.

    Returns
    -------
    mass, ratio : (N,)
        Linear between points; NaN where no segment has weight.
    track : (N,)
        Index of the track; -1 where no segment has weight.
    log_member : (N,)
        Log of the integral over all segments.
    """
    data = StarData(mag, variance, offset)
    model = TrackModel(tracks, directions, weights, tilts, scale, starts, spread)
    check_shapes(data, model)
    if point_mass.shape[0] != tracks.shape[1] or point_ratio.shape[0] != tracks.shape[1]:
        raise ValueError("point_mass, point_ratio: expected one number for each point of tracks")
    if uniforms.shape[0] != mag.shape[0] or uniforms.shape[1] < 2:
        raise ValueError("uniforms: expected shape (star, 2), or more columns")
    n_star, n_band = mag.shape
    model = with_mean_directions(data, model)
    mass, ratio, log_member = np.empty(n_star), np.empty(n_star), np.empty(n_star)
    track = np.empty(n_star, dtype=np.int64)
    n_direction, with_offset = active_directions(data, model), has_offsets(data)
    tiles = build_tiles(model, n_direction)
    blocks = build_blocks(tiles, n_direction, typical_inverse(data))
    arrays = new_arrays(tiles, n_band, n_direction)
    arrays.scatter[:] = model.spread[:n_direction] ** 2
    at = addresses_of(tiles, blocks, arrays)
    for i in range(n_star):
        log_norm = prepare_star(
            at, address_of(mag, i * n_band), address_of(variance, i * n_band),
            address_of(offset, i * n_direction), with_offset,
        )  # fmt: skip
        n_kept, top, total = scan_star(at, -np.inf, 0.0)
        place, lane = _choose_pair(at, n_kept, total, uniforms[i, 0])
        if place < 0:
            mass[i], ratio[i], track[i], log_member[i] = np.nan, np.nan, -1, -np.inf
            continue
        log_member[i] = log_norm + top + math.log(total)
        pair = at.batch + place * at.batch_bytes + WORD * lane
        s = segment_of(tiles, get_integer(at.order, place), lane)
        t = place_on_segment(
            get(pair, A * LANES), get(pair, B * LANES), get(pair, TILT * LANES), uniforms[i, 1]
        )
        mass[i] = (1.0 - t) * point_mass[s] + t * point_mass[s + 1]
        ratio[i] = (1.0 - t) * point_ratio[s] + t * point_ratio[s + 1]
        track[i] = np.searchsorted(starts, s, side="right") - 1
    still_needed(tiles)
    still_needed(blocks)
    still_needed(arrays)
    return mass, ratio, track, log_member
