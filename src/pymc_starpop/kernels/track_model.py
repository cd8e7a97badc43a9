"""The arguments of the kernels that compare stars with tracks, checked and completed."""

from typing import NamedTuple

import numba
import numpy as np

from pymc_starpop.kernels.pair_vectors import MOST_DIRECTIONS
from pymc_starpop.kernels.simd import LANES, address_of, still_needed
from pymc_starpop.kernels.star_vectors import zeros_of


class StarData(NamedTuple):
    """What was measured of N stars in B bands (or other rows, each in its own unit).

    Attributes
    ----------
    mag : (N, B) magnitudes, any number where not measured
    variance : (N, B) of the measurement and of intrinsic scatter; infinite where not measured
    offset : (N, K) displacement of each star's model along the directions; (0, K) for none
    """

    mag: np.ndarray
    variance: np.ndarray
    offset: np.ndarray


class TrackModel(NamedTuple):
    """What the isochrone predicts, for T tracks of P points in all, one after the other.

    Segment p runs from point p to point p + 1; those that lead from one track to the next are
    never used.

    Attributes
    ----------
    tracks : (B, P) apparent magnitudes
    directions : (K, B, P) derivatives of the tracks by what differs from star to star, K <= 3
    weights, tilts : (P - 1,) integral of the mass function over each segment, its tilt
    scale : (P - 1,) what pruning takes for the weight, positive also where a fraction is 0
    starts : (T + 1,) first point of each track, and P
    spread : (K,) standard deviation between stars along each direction
    """

    tracks: np.ndarray
    directions: np.ndarray
    weights: np.ndarray
    tilts: np.ndarray
    scale: np.ndarray
    starts: np.ndarray
    spread: np.ndarray


@numba.njit(cache=True, error_model="numpy")
def check_shapes(data, model):
    """Raise where arrays do not fit together; the kernels read from addresses, unchecked."""
    n_star, n_band = data.mag.shape
    n_direction = model.spread.shape[0]
    if data.variance.shape != data.mag.shape:
        raise ValueError("variance: expected the shape (star, band) of mag")
    if model.tracks.shape[0] != n_band:
        raise ValueError("tracks: expected shape (band, point), with the bands of mag")
    if n_direction > MOST_DIRECTIONS:
        raise ValueError("spread: more than 3 directions; give at most 3")
    if model.directions.shape[0] != n_direction:
        raise ValueError("directions: expected shape (direction, band, point), one for each spread")
    if n_direction > 0 and model.directions.shape[1:] != model.tracks.shape:
        raise ValueError("directions: expected shape (direction, band, point), as tracks has them")
    if has_offsets(data) and data.offset.shape != (n_star, n_direction):
        raise ValueError("offset: expected shape (star, direction), or (0, direction) for none")


@numba.njit(cache=True, error_model="numpy")
def all_finite(values):
    """Whether all of a contiguous array are finite numbers."""
    flat = values.reshape(-1)
    n_vector = flat.shape[0] // LANES
    total = zeros_of(n_vector, address_of(flat, 0))
    for k in range(n_vector * LANES, flat.shape[0]):
        total += 0.0 * flat[k]
    still_needed(flat)
    return total == 0.0


@numba.njit(cache=True, error_model="numpy")
def has_offsets(data):
    """Whether the models of single stars are displaced."""
    return data.offset.shape[0] > 0 and data.offset.shape[1] > 0


@numba.njit(cache=True, error_model="numpy")
def typical_inverse(data):
    """Return the mean inverse variance in each band, (B,)."""
    n_star, n_band = data.variance.shape
    unit = np.zeros(n_band)
    for i in range(n_star):
        for b in range(n_band):
            unit[b] += 1.0 / data.variance[i, b]
    return unit / max(n_star, 1)


@numba.njit(cache=True, error_model="numpy")
def active_directions(data, model):
    """Return the number of directions, 0 where neither scatter nor offset asks for any."""
    n_direction = model.spread.shape[0]
    if has_offsets(data):
        return n_direction
    for k in range(n_direction):
        if model.spread[k] != 0.0:
            return n_direction
    return 0


@numba.njit(cache=True, error_model="numpy")
def with_mean_directions(data, model):
    """Return the model with the mean direction of each segment at its first point.

    As `model` is where directions have no effect.
    """
    if active_directions(data, model) == 0:
        return model
    n_direction, n_band, n_point = model.directions.shape
    means = np.zeros((n_direction, n_band, n_point))
    for k in range(n_direction):
        for b in range(n_band):
            for p in range(n_point - 1):
                means[k, b, p] = 0.5 * (model.directions[k, b, p] + model.directions[k, b, p + 1])
    return TrackModel(
        model.tracks, means, model.weights, model.tilts, model.scale, model.starts, model.spread
    )
