"""Segments of the model tracks, arranged as stars are compared with them.

A star is compared with a *block* of eight segments at a time, which therefore should lie close to
each other. A *tile* is eight blocks. Where at least eight tracks of equally many points follow each
other (mass ratios, ages), the lanes of a block are the same segment of eight neighboring tracks,
and the blocks of a tile follow along them. Else a block is eight segments of one track in a row,
and a tile 64 of them. At the ends of tracks, and where their number is no multiple of eight, a tile
begins earlier and what it shares with another one is no segment of it: bits say which lanes count.

Points are copied to *rows* (B, 8): the starts of a block's segments are one row, the ends the next.
"""

from typing import NamedTuple

import numba
import numpy as np

from pymc_starpop.kernels.simd import LANES, address_of, aligned_empty, still_needed
from pymc_starpop.kernels.star_vectors import block_box
from pymc_starpop.kernels.tile_vectors import (
    add_column,
    add_tile,
    clear_lanes,
    turn_nodes,
    turn_segments,
    turn_tile,
)

_ALL = (1 << LANES) - 1
#: Segments of a tile.
_SIZE = LANES * LANES


class Tiles(NamedTuple):
    """Tables of G tiles, 8 G blocks, in B bands with D directions.

    Attributes
    ----------
    start : (G,) segment of the first lane of the first block
    across : (G,) segments from one track to the next, 0 where a tile belongs to one track
    end : (G,) the segment behind the last one of the (first) track
    row : (8 G,) row that holds the starts of the block's segments
    alive : (8 G,) bits of the lanes that belong to the block and carry weight
    nodes : (R, B, 8) magnitudes
    along : (8 G, D, B, 8) mean directions of the segments; empty without directions
    weights, tilts : (8 G, 8) as the model has them; weights 0 in lanes that do not count
    low, high : (G, B, 8) smallest and largest magnitude of each block; (1e300, -1e300) where empty
    largest : (G, 8) largest scale of a segment of each block; 0 where empty
    """

    start: np.ndarray
    across: np.ndarray
    end: np.ndarray
    row: np.ndarray
    alive: np.ndarray
    nodes: np.ndarray
    along: np.ndarray
    weights: np.ndarray
    tilts: np.ndarray
    low: np.ndarray
    high: np.ndarray
    largest: np.ndarray


class TileGradient(NamedTuple):
    """Derivatives by the tables of the same names, of tiles that a star has touched.

    The others hold anything.
    """

    nodes: np.ndarray
    along: np.ndarray
    weights: np.ndarray
    tilts: np.ndarray
    touched: np.ndarray


@numba.njit(cache=True, error_model="numpy")
def _end_of_run(starts, track):
    """Return the track behind those that share tiles with this one."""
    n_track, end = starts.shape[0] - 1, track + 1
    length = starts[track + 1] - starts[track]
    while end < n_track and starts[end + 1] - starts[end] == length:
        end += 1
    return end if end - track >= LANES and length > LANES else track + 1


@numba.njit(cache=True, error_model="numpy")
def _list_tiles(starts):
    """List the tiles: start, across, end, and bits of the lanes and blocks that are theirs."""
    n_track = starts.shape[0] - 1
    # A tile has segments of its own: at least eight, but for the last ones of a track.
    most = starts[n_track] // LANES + 2 * n_track + 1
    out = np.empty((most, 5), dtype=np.int64)
    n, track = 0, 0
    while track < n_track:
        run = _end_of_run(starts, track)
        begin, end = starts[track], starts[track + 1] - 1
        if run == track + 1:
            for s in range(begin, end, _SIZE):
                out[n] = s, 0, end, _ALL, _ALL
                n += 1
            track = run
            continue
        across = end + 1 - begin
        for t in range(track, run, LANES):
            first = min(t, run - LANES)
            lanes = _ALL & ~((1 << (t - first)) - 1)
            for s in range(begin, end, LANES):
                early = min(s, end - LANES)
                blocks = _ALL & ~((1 << (s - early)) - 1)
                skip = (first - track) * across
                out[n] = early + skip, across, end + skip, lanes, blocks
                n += 1
        track = run
    return out[:n].copy()


@numba.njit(cache=True, error_model="numpy")
def _fill_lines(tiles, model):
    """Fill the tiles of one track."""
    n_band = model.tracks.shape[0]
    n_direction = tiles.along.shape[1]
    for k in range(tiles.alive.shape[0]):
        g = k // LANES
        if tiles.across[g] != 0:
            continue
        s, end = tiles.start[g] + (k % LANES) * LANES, tiles.end[g]
        row, bits, largest = tiles.row[k], 0, 0.0
        for lane in range(LANES):
            # Lanes that do not count hold the last segment.
            p = min(s + lane, end - 1)
            for b in range(n_band):
                tiles.nodes[row, b, lane] = model.tracks[b, p]
                tiles.nodes[row + 1, b, lane] = model.tracks[b, p + 1]
            for d in range(n_direction):
                for b in range(n_band):
                    tiles.along[k, d, b, lane] = model.directions[d, b, p]
            counts = s + lane < end and model.scale[p] > 0.0
            tiles.weights[k, lane] = model.weights[p] if counts else 0.0
            tiles.tilts[k, lane] = model.tilts[p]
            if counts:
                bits |= 1 << lane
                largest = max(largest, model.scale[p])
        tiles.alive[k] = bits
        tiles.largest[g, k % LANES] = largest
        box = g * n_band * LANES + k % LANES
        block_box(
            n_band, address_of(tiles.nodes, row * n_band * LANES), bits,
            address_of(tiles.low, box), address_of(tiles.high, box),
        )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def _fill_sheets(tiles, model, plan):
    """Fill the tiles of eight tracks."""
    n_band, n_point = model.tracks.shape
    n_direction, by_row = tiles.along.shape[1], n_band * LANES
    for g in range(tiles.start.shape[0]):
        start, across, first = tiles.start[g], tiles.across[g], g * LANES
        if across == 0:
            continue
        for b in range(n_band):
            box = (g * n_band + b) * LANES
            turn_nodes(
                address_of(model.tracks, b * n_point + start), across,
                address_of(tiles.nodes, tiles.row[first] * by_row + b * LANES), by_row,
                address_of(tiles.low, box), address_of(tiles.high, box),
            )  # fmt: skip
        for d in range(n_direction * n_band):
            turn_tile(
                address_of(model.directions, d * n_point + start), across,
                address_of(tiles.along, (first * n_direction * n_band + d) * LANES),
                n_direction * by_row,
            )  # fmt: skip
        turn_segments(
            address_of(model.weights, start), address_of(model.tilts, start),
            address_of(model.scale, start), across, plan[g, 3], plan[g, 4],
            address_of(tiles.weights, first * LANES), address_of(tiles.tilts, first * LANES),
            address_of(tiles.alive, first), address_of(tiles.largest, first),
        )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def build_tiles(model, n_direction):
    """Copy the segments of a `TrackModel` to tiles.

    Directions, of which the model then holds the means of segments, only count where `n_direction`
    is not 0.
    """
    n_band = model.tracks.shape[0]
    plan = _list_tiles(model.starts)
    n_tile = plan.shape[0]
    row, n_row = np.empty(n_tile * LANES, dtype=np.int64), 0
    for g in range(n_tile):
        is_line = plan[g, 1] == 0
        for e in range(LANES):
            row[g * LANES + e] = n_row + (2 * e if is_line else e)
        # In a tile of eight tracks a block ends where the next one starts.
        n_row += 2 * LANES if is_line else LANES + 1
    n_block = n_tile * LANES
    tiles = Tiles(
        plan[:, 0].copy(), plan[:, 1].copy(), plan[:, 2].copy(), row,
        np.empty(n_block, dtype=np.int64),
        aligned_empty(n_row * n_band * LANES).reshape((n_row, n_band, LANES)),
        aligned_empty(n_block * n_direction * n_band * LANES).reshape(
            (n_block, n_direction, n_band, LANES)
        ),
        aligned_empty(n_block * LANES).reshape((n_block, LANES)),
        aligned_empty(n_block * LANES).reshape((n_block, LANES)),
        aligned_empty(n_block * n_band).reshape((n_tile, n_band, LANES)),
        aligned_empty(n_block * n_band).reshape((n_tile, n_band, LANES)),
        aligned_empty(n_block).reshape((n_tile, LANES)),
    )  # fmt: skip
    _fill_lines(tiles, model)
    _fill_sheets(tiles, model, plan)
    still_needed(model)
    still_needed(tiles)
    return tiles


@numba.njit(error_model="numpy", inline="always")
def segment_of(tiles, block, lane):
    """Segment of the model that a lane of a block is."""
    g = block // LANES
    if tiles.across[g] == 0:
        return tiles.start[g] + (block % LANES) * LANES + lane
    return tiles.start[g] + block % LANES + lane * tiles.across[g]


@numba.njit(cache=True, error_model="numpy")
def new_tile_gradient(tiles, wanted):
    """Allocate derivatives by the tables; a tile has to be cleared when a star first touches it."""
    if not wanted:
        nothing = tiles.weights[:0]
        return TileGradient(tiles.nodes[:0], tiles.along[:0], nothing, nothing, tiles.row[:0])
    return TileGradient(
        aligned_empty(tiles.nodes.size).reshape(tiles.nodes.shape),
        aligned_empty(tiles.along.size).reshape(tiles.along.shape),
        aligned_empty(tiles.weights.size).reshape(tiles.weights.shape),
        aligned_empty(tiles.tilts.size).reshape(tiles.tilts.shape),
        np.zeros(tiles.start.shape[0], dtype=np.int64),
    )


@numba.njit(cache=True, error_model="numpy")
def _add_lines(tiles, into, grad):
    """Add the derivatives by tiles of one track."""
    n_band = grad.tracks.shape[0]
    n_direction = tiles.along.shape[1]
    for k in range(tiles.alive.shape[0]):
        g = k // LANES
        if into.touched[g] == 0 or tiles.across[g] != 0:
            continue
        row, s = tiles.row[k], tiles.start[g] + (k % LANES) * LANES
        for lane in range(min(LANES, tiles.end[g] - s)):
            p = s + lane
            for b in range(n_band):
                grad.tracks[b, p] += into.nodes[row, b, lane]
                grad.tracks[b, p + 1] += into.nodes[row + 1, b, lane]
            for d in range(n_direction):
                for b in range(n_band):
                    grad.directions[d, b, p] += into.along[k, d, b, lane]
            grad.weights[p] += into.weights[k, lane]
            grad.tilts[p] += into.tilts[k, lane]


@numba.njit(cache=True, error_model="numpy")
def _add_sheets(tiles, into, grad):
    """Add the derivatives by tiles of eight tracks."""
    n_band, n_point = grad.tracks.shape
    n_direction, by_row = tiles.along.shape[1], n_band * LANES
    for g in range(tiles.start.shape[0]):
        start, across, first = tiles.start[g], tiles.across[g], g * LANES
        if into.touched[g] == 0 or across == 0:
            continue
        for b in range(n_band):
            at = tiles.row[first] * by_row + b * LANES
            add_tile(
                address_of(into.nodes, at), by_row,
                address_of(grad.tracks, b * n_point + start), across,
            )  # fmt: skip
            add_column(
                address_of(into.nodes, at + LANES * by_row),
                address_of(grad.tracks, b * n_point + start + LANES), across,
            )  # fmt: skip
        for d in range(n_direction * n_band):
            add_tile(
                address_of(into.along, (first * n_direction * n_band + d) * LANES),
                n_direction * by_row, address_of(grad.directions, d * n_point + start), across,
            )  # fmt: skip
        at = first * LANES
        add_tile(address_of(into.weights, at), LANES, address_of(grad.weights, start), across)
        add_tile(address_of(into.tilts, at), LANES, address_of(grad.tilts, start), across)


@numba.njit(cache=True, error_model="numpy")
def add_tiles(tiles, into, grad):
    """Add the derivatives by tiles to those by the model (`ClusterGradient`)."""
    # The derivative by a weight is not 0 where a lane does not count.
    for k in range(tiles.alive.shape[0]):
        if into.touched[k // LANES] != 0:
            clear_lanes(tiles.alive[k], address_of(into.weights, k * LANES))
    _add_lines(tiles, into, grad)
    _add_sheets(tiles, into, grad)
    still_needed(tiles)
    still_needed(into)
    still_needed(grad)
