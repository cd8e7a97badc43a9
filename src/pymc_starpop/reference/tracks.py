"""Tracks of the slow cluster likelihood, in magnitudes or fluxes as the catalog."""

import math
from dataclasses import dataclass, replace

import numpy as np

from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters, is_zero
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.bolometric import extinguished
from pymc_starpop.isochrones.magnitudes import Interpolation, model_magnitudes
from pymc_starpop.kernels.reference.interpolation import (
    interpolate_bolometric,
    interpolate_theory,
)
from pymc_starpop.population import track_weights
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.colors import combination

__all__ = [
    "MAG_TO_LN",
    "Tracks",
    "binary_tracks",
    "model_tracks",
    "parallax_of",
    "single_star_track",
    "spreads_of",
]

MAG_TO_LN = 0.4 * math.log(10.0)
_LN10_FIFTH = 0.2 * math.log(10.0)


@dataclass(frozen=True)
class Tracks:
    """Single stars, then one track for each mass ratio, of one age of one population.

    Attributes
    ----------
    rows : (T, E, D) what the data are compared with: columns, T_eff, [Fe/H], parallax
    changes : dict of (T, E, D), their change with A_V, distance modulus, brightness, log10 T_eff
        (where stars scatter in it), and age
    weights, tilts : (T, E - 1)
    """

    rows: np.ndarray
    changes: dict[str, np.ndarray]
    weights: np.ndarray
    tilts: np.ndarray


def model_tracks(
    iso: IsochroneGrid, catalog: StarCatalog, p: ClusterParameters, options: ClusterOptions
) -> list[Tracks]:
    """Tracks of every age of every population, in magnitudes or fluxes as the catalog."""
    found = []
    for share, member in p.populations():
        nodes, ages = member.ages(options)
        for weight, around in zip(nodes.weight, nodes.places()[1], strict=True):
            three = [ages[i] for i in around]
            tracks = _tracks_of_age(iso, catalog, member, options, three, nodes.smear)
            found.append(replace(tracks, weights=tracks.weights * share * weight))
    return found


def _tracks_of_age(iso, catalog, p, options, ages, smear):
    """Tracks of stars around the second of three ages."""
    p = replace(p, av=np.mean(p.av))
    has_binaries = np.ndim(p.binary_fraction) > 0 or p.binary_fraction != 0
    nodes = [
        _nodes_of_age(iso, catalog, replace(p, log_age=age), options, has_binaries) for age in ages
    ]
    eep = nodes[1].eep
    weights = [track_weights.mass_weights(one.mass, p.imf, options.mass_min) for one in nodes]
    shares = track_weights.shares_of_ages([w for w, _ in weights], smear)

    def mean(columns):
        return sum(s * c for s, c in zip(shares, columns, strict=True))

    mass, rows = mean([one.mass for one in nodes]), mean([one.rows for one in nodes])
    changes = {name: mean([one.changes[name] for one in nodes]) for name in nodes[1].changes}
    changes["age"] = 0.5 * smear * (nodes[2].rows - nodes[0].rows)
    rule = track_weights.age_rule(smear)
    weight = sum(r * w for r, (w, _) in zip(rule, weights, strict=True))
    density = mean([d for _, d in weights])
    if not has_binaries:
        tracks = Tracks(
            rows.T[None], {name: c.T[None] for name, c in changes.items()}, weight[None],
            track_weights.relative_tilt(density)[None],
        )  # fmt: skip
    else:
        ratio, probability, dark = track_weights.mass_ratios(
            mass, p.mass_ratio_slope, options.mass_ratio_nodes, options.mass_ratio_min,
            options.mass_min,
        )  # fmt: skip
        last = int(np.searchsorted(eep, options.binary_eep_max, side="right")) - 1
        weights, tilts, _ = track_weights.mix_tracks(
            weight, density, p.binary_fraction, probability, dark, last
        )
        both, moved = binary_tracks(
            mass, rows.T, {name: c.T for name, c in changes.items()}, ratio,
            (options.mass_min, last, len(catalog.model_bands)),
        )  # fmt: skip
        tracks = Tracks(both, moved, weights, tilts)
    tracks = _thinned(tracks, catalog, p, options)
    return _in_data_space(tracks, catalog, p)


@dataclass(frozen=True)
class _Nodes:
    """EEP and mass (E,), magnitudes and T_eff (R, E), and their changes (R, E)."""

    eep: np.ndarray
    mass: np.ndarray
    rows: np.ndarray
    changes: dict[str, np.ndarray]


def _nodes_of_age(iso, catalog, p, options, has_binaries):
    with_slope = not is_zero(p.log_teff_scatter)
    eep, mass, mag, reddening, teff, slope = _uncut_track(
        iso, catalog.model_bands, p, options, with_slope
    )
    same = np.ones_like(mag)
    changes = {"av": reddening, "distance": same, "grey": same} | (
        {"teff": slope} if with_slope else {}
    )
    columns = {name: change.T for name, change in changes.items()}
    columns["rows"] = mag.T
    if catalog.teff is not None:
        nothing = np.zeros(len(eep))
        added = {"rows": teff, "teff": math.log(10.0) * teff}
        columns = {
            name: np.vstack([column, added.get(name, nothing)]) for name, column in columns.items()
        }
    shift, mass = track_weights.cut_at_mass(mass, options.mass_min)
    columns = {name: track_weights.shifted(column, shift) for name, column in columns.items()}
    columns |= {"eep": eep.astype(float), "mass": mass}
    if has_binaries:
        pieces = options.node_pieces
        columns = {name: track_weights.subdivide(c, pieces) for name, c in columns.items()}
    eep, mass, rows = (columns.pop(name) for name in ("eep", "mass", "rows"))
    return _Nodes(eep, mass, rows, columns)


def _columns(grid, names, feh, log_age):
    return interpolate_theory(feh, log_age, *grid.column_arrays(names))[0]


def _bolometric(part, bands, log_teff, log_g, feh, av, n_order):
    table = part.table(bands)
    coefficients = interpolate_bolometric(
        log_teff, log_g, feh, table.log_teff, table.log_g, table.feh, table.coefficients
    )[0]
    return extinguished(coefficients, av)[:n_order]


_SLOW = Interpolation(_columns, _bolometric)


def single_star_track(
    iso: IsochroneGrid, bands: tuple[str, ...], p: ClusterParameters, options: ClusterOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """EEP and initial mass (E,), apparent magnitude and dm/dA_V (E, B), cut at both ends."""
    return single_star_nodes(iso, bands, p, options)[:4]


def single_star_nodes(
    iso: IsochroneGrid, bands: tuple[str, ...], p: ClusterParameters, options: ClusterOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """As `single_star_track`, and T_eff (E,), K, or None where the isochrones have none."""
    eep, mass, mag, reddening, teff, _ = _uncut_track(iso, bands, p, options)
    shift, mass = track_weights.cut_at_mass(mass, options.mass_min)
    mag, reddening = (track_weights.shifted(column.T, shift).T for column in (mag, reddening))
    teff = None if teff is None else np.asarray(track_weights.shifted(teff, shift))
    return eep, mass, mag, reddening, teff


def _uncut_track(iso, bands, p, options, with_slope=False):
    """EEP and mass (E,), magnitude and dm/dA_V (E, B), T_eff (E,), dm/dlog10 T_eff at the nodes."""
    keep = iso.eep <= options.eep_max
    eep = iso.eep[keep]
    track = model_magnitudes(
        iso, bands, (p.feh, p.log_age), (p.av, p.rv), p.corrections, int(keep.sum()),
        with_teff_slope=with_slope, how=_SLOW,
    )  # fmt: skip
    mag = track.mag + p.true_distance_modulus() + p.zero_points
    mass = 10.0**track.log10_mass
    teff = None if track.log_teff is None else 10.0**track.log_teff
    return eep, mass, mag, track.reddening, teff, track.teff_slope


def binary_tracks(mass, rows, changes, ratio, limits):
    """Add fluxes of primary and secondary to rows (E, R) and changes (E, R), node by node.

    The rows after the bands stay those of the primary.
    """
    mass_min, last, n_band = limits
    above = np.flatnonzero(mass > mass_min * (1.0 + 1e-12))
    first = above[0] - 1
    tracks = np.repeat(rows[None], len(ratio) + 1, axis=0)
    moved = {name: np.repeat(c[None], len(ratio) + 1, axis=0) for name, c in changes.items()}
    mag = rows[:, :n_band]
    for j, ratios in enumerate(ratio):
        for e in range(first, last + 1):
            secondary = ratios[e] * mass[e]
            reached = np.flatnonzero(mass[first + 1 :] >= secondary)
            i = first + reached[0]
            t = np.clip((secondary - mass[i]) / (mass[i + 1] - mass[i]), 0.0, 1.0)
            flux1 = 10.0 ** (-0.4 * mag[e])
            flux2 = 10.0 ** (-0.4 * (mag[i] + t * (mag[i + 1] - mag[i])))
            tracks[j + 1, e, :n_band] = -2.5 * np.log10(flux1 + flux2)
            for name, change in changes.items():
                own, low, high = (change[k, :n_band] for k in (e, i, i + 1))
                other = low + t * (high - low)
                moved[name][j + 1, e, :n_band] = (flux1 * own + flux2 * other) / (flux1 + flux2)
    return tracks, moved


def _thinned(tracks, catalog, p, options):
    """Multiply the weights with the completeness, a straight line along each segment."""
    if options.selection is None or options.selection.completeness is None:
        return tracks
    band = catalog.model_bands.index(options.selection.band)
    found = options.selection.completeness_at(tracks.rows[..., band])
    start, end, tilt = found[:, :-1], found[:, 1:], tracks.tilts
    t = (np.arange(1000) + 0.5)[:, None, None] / 1000
    mean = ((1.0 + tilt * (t - 0.5)) * (start + t * (end - start))).mean(axis=0)
    start, end = start * (1.0 - 0.5 * tilt), end * (1.0 + 0.5 * tilt)
    tilts = 2.0 * (end - start) / np.where(start + end > 0.0, start + end, 1.0)
    return replace(tracks, weights=tracks.weights * mean, tilts=tilts)


def _in_data_space(tracks, catalog, p):
    """Turn magnitudes into what was measured, and add the rows of [Fe/H] and parallax."""
    n_band = len(catalog.model_bands)
    spreads, matrix = spreads_of(p), combination(catalog.bands).T

    def in_columns(column):
        return np.concatenate([column[..., :n_band] @ matrix, column[..., n_band:]], axis=-1)

    rows = in_columns(tracks.rows)
    changes = {name: in_columns(change) for name, change in tracks.changes.items()}
    if catalog.is_flux:
        variance = np.asarray(p.intrinsic_scatter) ** 2 + sum(
            (spreads[name] * change[..., :n_band]) ** 2 for name, change in changes.items()
        )
        flux = 10.0 ** (-0.4 * (rows[..., :n_band] - 22.5))
        flux = flux * np.exp(0.5 * MAG_TO_LN**2 * variance)
        rows = np.concatenate([flux, rows[..., n_band:]], axis=-1)
        for name, change in changes.items():
            moved = -MAG_TO_LN * flux * change[..., :n_band]
            changes[name] = np.concatenate([moved, change[..., n_band:]], axis=-1)
    more, slopes = [], []
    if catalog.feh is not None:
        more.append(p.feh)
        slopes.append(0.0)
    if catalog.parallax is not None and not is_zero(p.distance_modulus_scatter):
        log_mean = 0.5 * (_LN10_FIFTH * spreads["distance"]) ** 2
        parallax = (parallax_of(p) - p.parallax_zero_point) * math.exp(log_mean)
        more.append(parallax + p.parallax_zero_point)
        slopes.append(-_LN10_FIFTH * parallax)
    if more:
        shape = (*rows.shape[:-1], len(more))
        rows = np.concatenate([rows, np.broadcast_to(more, shape)], axis=-1)
        for name, change in changes.items():
            added = np.broadcast_to(slopes if name == "distance" else np.zeros(len(more)), shape)
            changes[name] = np.concatenate([change, added], axis=-1)
    return replace(tracks, rows=rows, changes=changes)


def parallax_of(p):
    """Parallax that the distance of the cluster predicts, mas."""
    return 1000.0 / 10.0 ** (0.2 * p.true_distance_modulus() + 1.0) + p.parallax_zero_point


def spreads_of(p):
    """Return the standard deviation between stars along each direction."""
    return {
        "av": p.av_scatter, "distance": p.distance_modulus_scatter, "grey": p.grey_scatter,
        "teff": p.log_teff_scatter, "age": 1.0,
    }  # fmt: skip
