"""Tiles hold every segment of the tracks once, and derivatives by them come back to the tracks."""

import numpy as np
import pytest

from pymc_starpop.kernels.cluster import new_gradient
from pymc_starpop.kernels.simd import LANES
from pymc_starpop.kernels.tiles import (
    add_tiles,
    build_tiles,
    new_tile_gradient,
    segment_of,
)
from pymc_starpop.kernels.track_model import StarData, TrackModel

N_BAND = 3
# Points of each track: runs of equal ones of eight and more, fewer, and more than a multiple.
TRACKS = {
    "one track": [40], "shortest": [2], "singles": [9, 30, 17], "seven ratios": [50, *[20] * 7],
    "eight ratios": [50, *[20] * 8], "short ratios": [50, *[8] * 20], "nine points": [9] * 9,
    "many ratios": [70, *[29] * 45], "ages": [*[30] * 11], "two populations": [33, *[17] * 11] * 2,
}  # fmt: skip


def random_model(lengths, n_direction, rng):
    """Tracks of random numbers, with some segments without weight."""
    starts = np.concatenate([[0], np.cumsum(lengths)])
    n_point = starts[-1]
    scale = rng.uniform(0.1, 1.0, n_point - 1) * (rng.random(n_point - 1) < 0.8)
    scale[starts[1:-1] - 1] = 0.0
    return TrackModel(
        rng.normal(size=(N_BAND, n_point)), rng.normal(size=(n_direction, N_BAND, n_point)),
        scale * rng.uniform(size=n_point - 1), rng.normal(size=n_point - 1), scale,
        starts.astype(np.int64), np.ones(n_direction),
    )  # fmt: skip


def live_lanes(tiles):
    """Block, lane and segment of every lane that counts."""
    return [
        (k, lane, segment_of(tiles, k, lane))
        for k, bits in enumerate(tiles.alive)
        for lane in range(LANES)
        if bits >> lane & 1
    ]


@pytest.mark.parametrize("n_direction", [0, 2])
@pytest.mark.parametrize("case", TRACKS)
def test_every_segment_is_in_one_lane(case, n_direction, rng):
    model = random_model(TRACKS[case], n_direction, rng)
    tiles = build_tiles(model, n_direction)
    found = live_lanes(tiles)
    assert sorted(s for _, _, s in found) == list(np.flatnonzero(model.scale > 0.0))
    for k, lane, s in found:
        row, g, e = tiles.row[k], k // LANES, k % LANES
        start, end = tiles.nodes[row, :, lane], tiles.nodes[row + 1, :, lane]
        np.testing.assert_array_equal(start, model.tracks[:, s])
        np.testing.assert_array_equal(end, model.tracks[:, s + 1])
        np.testing.assert_array_equal(tiles.along[k, :, :, lane], model.directions[:, :, s])
        assert tiles.weights[k, lane] == model.weights[s]
        assert tiles.tilts[k, lane] == model.tilts[s]
        assert (tiles.low[g, :, e] <= np.minimum(start, end)).all()
        assert (tiles.high[g, :, e] >= np.maximum(start, end)).all()
    for k, bits in enumerate(tiles.alive):
        dead = [lane for lane in range(LANES) if not bits >> lane & 1]
        assert (tiles.weights[k, dead] == 0.0).all()
        sizes = [model.scale[s] for block, _, s in found if block == k]
        assert tiles.largest[k // LANES, k % LANES] == max(sizes, default=0.0)
    assert np.isfinite(tiles.nodes).all()


@pytest.mark.parametrize("n_direction", [0, 2])
@pytest.mark.parametrize("case", TRACKS)
def test_derivatives_come_back(case, n_direction, rng):
    """What is added in every lane that counts arrives at its segment, and at both of its ends."""
    model = random_model(TRACKS[case], n_direction, rng)
    tiles = build_tiles(model, n_direction)
    nothing = StarData(np.zeros((0, N_BAND)), np.zeros((0, N_BAND)), np.zeros((0, n_direction)))
    grad, into = new_gradient(nothing, model), new_tile_gradient(tiles, True)
    into.touched[:] = 1
    for table in into[:4]:
        table[...] = 0.0
    # What a lane that does not count would give to a weight is no derivative.
    into.weights[...] = 1e9
    tracks, directions = np.zeros_like(model.tracks), np.zeros_like(model.directions)
    weights, tilts = np.zeros_like(model.weights), np.zeros_like(model.tilts)
    for k, lane, s in live_lanes(tiles):
        row = tiles.row[k]
        start, end, along = (rng.normal(size=n) for n in (N_BAND, N_BAND, (n_direction, N_BAND)))
        into.nodes[row, :, lane] += start
        into.nodes[row + 1, :, lane] += end
        into.along[k, :, :, lane] = along
        into.weights[k, lane], into.tilts[k, lane] = weights[s], tilts[s] = rng.normal(size=2)
        tracks[:, s] += start
        tracks[:, s + 1] += end
        directions[:, :, s] += along
    add_tiles(tiles, into, grad)
    np.testing.assert_allclose(grad.tracks, tracks, atol=1e-13)
    np.testing.assert_array_equal(grad.directions, directions)
    np.testing.assert_array_equal(grad.weights, weights)
    np.testing.assert_array_equal(grad.tilts, tilts)


def test_tiles_that_no_star_touched_are_left_out(rng):
    model = random_model([70, *[29] * 45], 0, rng)
    tiles = build_tiles(model, 0)
    nothing = StarData(np.zeros((0, N_BAND)), np.zeros((0, N_BAND)), np.zeros((0, 0)))
    grad, into = new_gradient(nothing, model), new_tile_gradient(tiles, True)
    for table in into[:4]:
        table[...] = np.nan
    add_tiles(tiles, into, grad)
    assert not any(part.any() for part in grad)
