"""Symbolic model tracks of a cluster: what the isochrones predict for the rows of the data.

The steps, each a function of its own: theory at the EEP nodes, empirical corrections, magnitudes
with extinction, the cut at the lowest mass, weights of the mass function and of binaries, tracks of
binaries; then the tracks of all ages and populations one after the other.

The data of a star are *rows*: its bands, and further measurements that a model predicts (T_eff,
[Fe/H], the parallax where distances differ from star to star). Along a *direction* the stars of a
cluster differ from each other: extinction, distance, brightness, temperature, age.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from pytensor import tensor as pt

from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters, is_zero
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.ops.binaries import population_tracks
from pymc_starpop.ops.namespace import TENSOR
from pymc_starpop.ops.photometry import model_magnitudes
from pymc_starpop.population import track_weights
from pymc_starpop.population.ages import AgeNodes
from pymc_starpop.stars.colors import bands_of

__all__ = ["Layout", "ModelTracks", "model_tracks"]

_LN10 = math.log(10.0)


@dataclass(frozen=True)
class Layout:
    """The rows of the data.

    Attributes
    ----------
    columns : tuple of str
        The K columns of the photometry, first: bands, and colors of two of them.
    has_teff, has_feh : bool
        Whether spectroscopic T_eff (K) and [Fe/H] (dex) follow.
    """

    columns: tuple[str, ...]
    has_teff: bool = False
    has_feh: bool = False

    @property
    def bands(self) -> tuple[str, ...]:
        """The B bands of the columns, whose magnitudes the model predicts."""
        return bands_of(self.columns)


@dataclass(frozen=True)
class ModelTracks:
    """Tracks of single stars and of binaries, P points one after the other.

    Attributes
    ----------
    tracks : (D, P) apparent magnitudes, then the other rows
    directions : (K, D, P) their change along each direction
    weights, tilts, scale : (P - 1,) as `pymc_starpop.kernels.cluster.TrackModel` has them
    starts : (T + 1,) first point of each track, and P
    spread : (K,) standard deviation between the stars along each direction
    offset : (N, K) displacement of each star along each direction, or None
    names : what each direction is: "av", "distance", "grey", "teff" or "age", or "scatter" of a
        band that several columns hold
    """

    tracks: Any
    directions: Any
    weights: Any
    tilts: Any
    scale: Any
    starts: Any
    spread: Any
    offset: Any
    names: tuple[str, ...]


@dataclass(frozen=True)
class Direction:
    """A direction in which stars differ: standard deviation, and displacements (N,) or None."""

    name: str
    spread: Any
    offset: Any = None


def differs_between_stars(value: Any) -> bool:
    """Whether a parameter is a vector with one entry a star."""
    return np.ndim(value) == 1 if not hasattr(value, "ndim") else value.ndim == 1


def directions_of(p: ClusterParameters, options: ClusterOptions) -> list[Direction]:
    """Name the directions in which the stars of the cluster differ."""
    found = []
    by_star = differs_between_stars(p.av)
    if by_star or not is_zero(p.av_scatter):
        offset = p.av - mean_extinction(p) if by_star else None
        found.append(Direction("av", p.av_scatter, offset))
    if not is_zero(p.distance_modulus_scatter):
        found.append(Direction("distance", p.distance_modulus_scatter))
    if not is_zero(p.grey_scatter):
        found.append(Direction("grey", p.grey_scatter))
    if not is_zero(p.log_teff_scatter):
        found.append(Direction("teff", p.log_teff_scatter))
    if any(member.ages(options)[0].smear > 0.0 for _, member in p.populations()):
        # The change along it is scaled by the smearing, which populations need not share.
        found.append(Direction("age", np.float64(1.0)))
    return found


def mean_extinction(p: ClusterParameters) -> Any:
    """Return the A_V (mag) of the isochrone: with one for each star, their mean."""
    return pt.mean(p.av) if differs_between_stars(p.av) else p.av


@dataclass(frozen=True)
class IsochroneNodes:
    """J isochrones of one population: E nodes, R rows, K directions.

    Attributes
    ----------
    mass : (J, E) initial mass, Msun
    rows : (J, R, E) apparent magnitudes and T_eff
    directions : (J, K, R, E)
    weight : (J, E - 1) share of the stars of the age on each segment
    density : (J, E) mass function, 1/Msun
    """

    mass: Any
    rows: Any
    directions: Any
    weight: Any
    density: Any


def isochrone_nodes(
    grid: IsochroneGrid, layout: Layout, p: ClusterParameters, options: ClusterOptions,
    directions: list[Direction],
) -> IsochroneNodes:  # fmt: skip
    """Predict magnitudes at the nodes of every isochrone of a population, cut at both ends."""
    nodes, log_ages = p.ages(options)
    # The change with age comes last, when the isochrones are smeared.
    names = [d.name for d in directions if d.name != "age"]
    mass, mag, by_name, teff = photometry_at(grid, layout, p, options, log_ages, names)
    mag = mag + p.true_distance_modulus(TENSOR)
    rows = pt.concatenate([mag, teff[:, None, :]], axis=1) if layout.has_teff else mag
    everywhere = pt.ones_like(mag)
    changes = [by_name.get(name, everywhere) for name in names]
    if layout.has_teff:
        nothing = pt.zeros_like(mag[:, :1])
        of_teff = {"teff": _LN10 * teff[:, None, :]}
        changes = [
            pt.concatenate([change, of_teff.get(name, nothing)], axis=1)
            for name, change in zip(names, changes, strict=True)
        ]
    along = pt.stack(changes, axis=1) if changes else pt.zeros_like(rows)[:, None][:, :0]
    shift, mass = track_weights.cut_at_mass(mass, options.mass_min, TENSOR)
    rows = track_weights.shifted(rows, shift[:, None, :], TENSOR)
    along = track_weights.shifted(along, shift[:, None, None, :], TENSOR)
    if not is_zero(p.binary_fraction):
        pieces = options.node_pieces
        mass, rows, along = (
            track_weights.subdivide(x, pieces, TENSOR) for x in (mass, rows, along)
        )
    weight, density = track_weights.mass_weights(mass, p.imf, options.mass_min, TENSOR)
    every_age = IsochroneNodes(mass, rows, along, weight, density)
    return smeared(every_age, nodes) if any(d.name == "age" for d in directions) else every_age


def smeared(of_age: IsochroneNodes, nodes: AgeNodes) -> IsochroneNodes:
    """Smear isochrones in age, from those of all ages that are needed for it.

    The number of stars on a segment is the mean over ages, the place of a node the mean over the
    stars there, and the change with age the last direction.
    """
    around = nodes.places()[1].T

    def ages(column: Any) -> list[Any]:
        return [column[index] for index in around]

    shares = track_weights.shares_of_ages(ages(of_age.weight), nodes.smear, TENSOR)

    def mean(column: Any) -> Any:
        between = (slice(None), *(None,) * (column.ndim - 2))
        return sum(s[between] * c for s, c in zip(shares, ages(column), strict=True))

    before, _, after = ages(of_age.rows)
    change = 0.5 * nodes.smear * (after - before)
    rule = track_weights.age_rule(nodes.smear)
    return IsochroneNodes(
        mass=mean(of_age.mass),
        rows=mean(of_age.rows),
        directions=pt.concatenate([mean(of_age.directions), change[:, None]], axis=1),
        weight=sum(r * w for r, w in zip(rule, ages(of_age.weight), strict=True)),
        density=mean(of_age.density),
    )


def photometry_at(
    grid: IsochroneGrid, layout: Layout, p: ClusterParameters, options: ClusterOptions,
    log_ages: list[Any], names: list[str],
) -> tuple[Any, Any, dict[str, Any], Any]:  # fmt: skip
    """Mass (M, E), absolute magnitude and its changes (M, B, E), T_eff (M, E) or None.

    The changes are those of `names` that are not the same in all bands.
    """
    n, n_age = int(np.searchsorted(grid.eep, options.eep_max, side="right")), len(log_ages)
    track = model_magnitudes(
        grid, layout.bands, (p.feh, tuple(log_ages)), (mean_extinction(p), p.rv), p.corrections, n,
        "av" in names, "teff" in names,
    )  # fmt: skip

    def by_age(column: Any) -> Any:
        return column.reshape((n_age, n, len(layout.bands))).transpose(0, 2, 1)

    teff = None if track.log_teff is None else (10.0**track.log_teff).reshape((n_age, n))
    mass = (10.0**track.log10_mass).reshape((n_age, n))
    changes = {"av": track.reddening, "teff": track.teff_slope}
    by_name = {name: by_age(change) for name, change in changes.items() if name in names}
    return mass, by_age(track.mag), by_name, teff


def population_parts(
    grid: IsochroneGrid, layout: Layout, p: ClusterParameters, options: ClusterOptions,
    directions: list[Direction],
) -> list[tuple[Any, ...]]:  # fmt: skip
    """Tracks, directions, weights, tilts, scale and starts of each age of a population."""
    nodes = isochrone_nodes(grid, layout, p, options, directions)
    eep = grid.eep[grid.eep <= options.eep_max].astype(np.float64)
    has_binaries = not is_zero(p.binary_fraction)
    mass, rows, along = nodes.mass, nodes.rows, nodes.directions
    weight, density = nodes.weight, nodes.density
    n_age = len(p.ages(options)[0].position)
    if not has_binaries:
        tilt = track_weights.relative_tilt(density, TENSOR)
        starts = np.array([0, eep.size])
        return [(rows[j], along[j], weight[j], tilt[j], weight[j], starts) for j in range(n_age)]
    lowest, dark = track_weights.lit_ratios(
        mass, p.mass_ratio_slope, options.mass_ratio_min, options.mass_min, TENSOR
    )
    curve = track_weights.ratio_spacing(mass, TENSOR)
    eep = track_weights.subdivide(eep, options.node_pieces)
    last = int(np.searchsorted(eep, options.binary_eep_max, side="right")) - 1
    return [
        population_tracks(
            mass=mass[j], mag=rows[j], directions=along[j], weight=weight[j], density=density[j],
            lowest=lowest[j], dark=dark[j], curve=curve[j],
            rule=track_weights.quadrature_weights(options.mass_ratio_nodes),
            fraction=p.binary_fraction, slope=p.mass_ratio_slope, mass_min=options.mass_min,
            last=last, n_light=len(layout.bands),
        )
        for j in range(n_age)
    ]  # fmt: skip


def model_tracks(
    grid: IsochroneGrid, layout: Layout, p: ClusterParameters, options: ClusterOptions
) -> ModelTracks:
    """Put all populations, ages and mass ratios on tracks, with the share of the stars along them.

    Parameters
    ----------
    grid : IsochroneGrid
    layout : Layout
        The rows that the data have.
    p : ClusterParameters
        Checked; numbers as float64.
    options : ClusterOptions

    Returns
    -------
    ModelTracks
        Rows in the order of `Layout`, magnitudes with the zero points added.
    """
    directions = directions_of(p, options)
    pieces, shares = [], []
    for share, member in p.populations():
        parts = population_parts(grid, layout, member, options, directions)
        if layout.has_feh:
            parts = [_with_feh(part, member.feh) for part in parts]
        pieces += parts
        shares += [share * w for w in member.ages(options)[0].weight]
    tracks, along, weights, tilts, scale, starts = _join(pieces, shares)
    n_band = len(layout.bands)
    if not is_zero(p.zero_points):
        zero_points = pt.as_tensor(p.zero_points) * pt.ones(n_band)
        moved = tracks[:n_band] + zero_points[:, None]
        tracks = pt.concatenate([moved, tracks[n_band:]])
    names = tuple(direction.name for direction in directions)
    return ModelTracks(
        tracks, along, weights, tilts, scale, starts, *_between_stars(directions), names
    )


def _with_feh(part: tuple[Any, ...], feh: Any) -> tuple[Any, ...]:
    """Append a row of [Fe/H], the same all along the tracks."""
    tracks, along, *rest = part
    constant = pt.ones_like(tracks[:1]) * feh
    nothing = pt.zeros_like(along[:, :1])
    tracks = pt.concatenate([tracks, constant])
    return (tracks, pt.concatenate([along, nothing], axis=1), *rest)


def _join(pieces: list[tuple[Any, ...]], shares: list[Any]) -> tuple[Any, ...]:
    """Put tracks one after the other, with a segment without weight between them."""
    if len(pieces) == 1:
        return pieces[0]
    tracks, along, weights, tilts, scales, starts = zip(*pieces, strict=True)

    def chain(columns: Any) -> Any:
        parts: list[Any] = [columns[0]]
        for column in columns[1:]:
            parts += [np.zeros(1), column]
        return pt.concatenate(parts)

    first, places = 0, []
    for piece, start in zip(tracks, starts, strict=True):
        places.append(first + start[:-1])
        first = first + piece.shape[1]
    places.append(pt.atleast_1d(first))
    return (
        pt.concatenate(list(tracks), axis=1),
        pt.concatenate(list(along), axis=2),
        chain([share * w for share, w in zip(shares, weights, strict=True)]),
        chain(tilts),
        # Positive also where a share is 0: pruning must not leave out what has a derivative.
        chain(scales),
        pt.concatenate(places),
    )


def _between_stars(directions: list[Direction]) -> tuple[Any, Any]:
    """Spread (K,) and offset (N, K), or None where no star is displaced."""
    if not directions:
        return pt.zeros(0), None
    spread = pt.stack([pt.as_tensor(d.spread, dtype="float64") for d in directions])
    given = [d.offset for d in directions if d.offset is not None]
    if not given:
        return spread, None
    columns = [pt.zeros_like(given[0]) if d.offset is None else d.offset for d in directions]
    return spread, pt.stack(columns, axis=1)
