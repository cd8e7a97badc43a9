"""The cluster likelihood once more, slow and obvious, in NumPy and SciPy: the truth in tests.

Nothing here is pruned, compiled or differentiated. The integral along a segment uses normal
distribution functions in place of the quadrature of the kernels, and every segment has the full
covariance matrix of every star.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from pymc_starpop import population
from pymc_starpop.field import ChiSquareField, InflatedScatterField
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.magnitudes import Interpolation, model_magnitudes
from pymc_starpop.kernels.reference_interpolation import (
    interpolate_bolometric,
    interpolate_theory,
)
from pymc_starpop.parameters import ClusterOptions, ClusterParameters, is_zero, split_arguments
from pymc_starpop.photometry import StarCatalog

__all__ = ["cluster_logp"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)
_NODES, _WEIGHTS = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS
_MAG_TO_LN = 0.4 * math.log(10.0)
_LN10_FIFTH = 0.2 * math.log(10.0)


@dataclass(frozen=True)
class Tracks:
    """Single stars, then one track for each mass ratio, of one age of one population.

    Attributes
    ----------
    rows : (T, E, D) what the data are compared with: bands, T_eff, [Fe/H], parallax
    changes : dict of (T, E, D), their change with A_V, distance modulus, and age
    weights, tilts : (T, E - 1)
    """

    rows: np.ndarray
    changes: dict[str, np.ndarray]
    weights: np.ndarray
    tilts: np.ndarray


def cluster_logp(iso: IsochroneGrid, catalog: StarCatalog, **parameters: Any) -> np.ndarray:
    """Log-likelihood (N,) of each star; arguments as `pymc_starpop.cluster_logp`, all numbers.

    Parameters
    ----------
    iso : IsochroneGrid
    catalog : StarCatalog
        N stars in B bands.
    **parameters
        As for `pymc_starpop.cluster_logp`. They are not checked here.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> iso, cat = psp.load_isochrones(), psp.load_example("ruprecht147").select([0, 1])
    >>> psp.reference.cluster_logp(iso, cat, feh=0.1, log_age=9.4, distance_pc=305.0).shape
    (2,)
    """
    p, options = split_arguments(parameters, iso)
    tracks = model_tracks(iso, catalog, p, options)
    log_cluster = log_member_density(catalog, tracks, p)
    z = detected_share(catalog, tracks, p, options)
    # Where the limits let nobody pass, no star of the catalog can be a member.
    log_cluster = log_cluster - (math.log(z) if z > 0.0 else math.inf)
    prior = 1.0 if catalog.membership_prior is None else catalog.membership_prior
    member = (1.0 - p.field_fraction) * prior * np.ones(catalog.n_star)
    if np.all(member == 1.0):
        return log_cluster
    log_field = _log_field(catalog, tracks, p, options)
    with np.errstate(divide="ignore"):
        return np.logaddexp(np.log(member) + log_cluster, np.log1p(-member) + log_field)


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
    weights = [population.mass_weights(one.mass, p.imf, options.mass_min) for one in nodes]
    shares = population.shares_of_ages([w for w, _ in weights], smear)

    def mean(columns):
        return sum(s * c for s, c in zip(shares, columns, strict=True))

    mass, rows = mean([one.mass for one in nodes]), mean([one.rows for one in nodes])
    changes = {name: mean([one.changes[name] for one in nodes]) for name in nodes[1].changes}
    changes["age"] = 0.5 * smear * (nodes[2].rows - nodes[0].rows)
    rule = population.age_rule(smear)
    weight = sum(r * w for r, (w, _) in zip(rule, weights, strict=True))
    density = mean([d for _, d in weights])
    if not has_binaries:
        tracks = Tracks(
            rows.T[None], {name: c.T[None] for name, c in changes.items()}, weight[None],
            population.relative_tilt(density)[None],
        )  # fmt: skip
    else:
        ratio, probability, dark = population.mass_ratios(
            mass, p.mass_ratio_slope, options.mass_ratio_nodes, options.mass_ratio_min,
            options.mass_min,
        )  # fmt: skip
        last = int(np.searchsorted(eep, options.binary_eep_max, side="right")) - 1
        weights, tilts, _ = population.mix_tracks(
            weight, density, p.binary_fraction, probability, dark, last
        )
        both, moved = _binaries(
            mass, rows.T, {name: c.T for name, c in changes.items()}, ratio,
            (options.mass_min, last, len(catalog.bands)),
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
    eep, mass, mag, reddening, teff = _uncut_track(iso, catalog.bands, p, options)
    rows, av, distance = mag.T, reddening.T, np.ones_like(mag.T)
    if catalog.teff is not None:
        nothing = np.zeros((1, len(eep)))
        rows = np.concatenate([rows, teff[None]])
        av, distance = np.concatenate([av, nothing]), np.concatenate([distance, nothing])
    shift, mass = population.cut_at_mass(mass, options.mass_min)
    rows, av, distance = (population.shifted(column, shift) for column in (rows, av, distance))
    columns = [eep.astype(float), mass, rows, av, distance]
    if has_binaries:
        columns = [population.subdivide(column, options.node_pieces) for column in columns]
    eep, mass, rows, av, distance = columns
    return _Nodes(eep, mass, rows, {"av": av, "distance": distance})


def _columns(grid, names, feh, log_age):
    return interpolate_theory(feh, log_age, *grid.column_arrays(names))[0]


def _bolometric(part, bands, log_teff, log_g, feh):
    table = part.table(bands)
    return interpolate_bolometric(
        log_teff, log_g, feh, table.log_teff, table.log_g, table.feh, table.coefficients
    )[0]


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
    eep, mass, mag, reddening, teff = _uncut_track(iso, bands, p, options)
    shift, mass = population.cut_at_mass(mass, options.mass_min)
    mag, reddening = (population.shifted(column.T, shift).T for column in (mag, reddening))
    teff = None if teff is None else np.asarray(population.shifted(teff, shift))
    return eep, mass, mag, reddening, teff


def _uncut_track(iso, bands, p, options):
    """EEP and mass (E,), magnitude and dm/dA_V (E, B), T_eff (E,) at the nodes."""
    keep = iso.eep <= options.eep_max
    eep = iso.eep[keep]
    track = model_magnitudes(
        iso, bands, (p.feh, p.log_age), (p.av, p.rv), p.corrections, int(keep.sum()), _SLOW
    )
    mag = track.mag + p.true_distance_modulus() + p.zero_points
    mass = 10.0**track.log10_mass
    teff = None if track.log_teff is None else 10.0**track.log_teff
    return eep, mass, mag, track.reddening, teff


def _binaries(mass, rows, changes, ratio, limits):
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
    band = catalog.bands.index(options.selection.band)
    found = options.selection.completeness_at(tracks.rows[..., band])
    start, end, tilt = found[:, :-1], found[:, 1:], tracks.tilts
    t = (np.arange(1000) + 0.5)[:, None, None] / 1000
    mean = ((1.0 + tilt * (t - 0.5)) * (start + t * (end - start))).mean(axis=0)
    start, end = start * (1.0 - 0.5 * tilt), end * (1.0 + 0.5 * tilt)
    tilts = 2.0 * (end - start) / np.where(start + end > 0.0, start + end, 1.0)
    return replace(tracks, weights=tracks.weights * mean, tilts=tilts)


def _in_data_space(tracks, catalog, p):
    """Turn magnitudes into fluxes if the data are, and add the rows of [Fe/H] and parallax."""
    n_band = len(catalog.bands)
    rows, changes, spreads = tracks.rows, dict(tracks.changes), _spreads(p)
    if catalog.is_flux:
        variance = np.asarray(p.intrinsic_scatter) ** 2 + sum(
            (spreads[name] * change[..., :n_band]) ** 2 for name, change in changes.items()
        )
        flux = 10.0 ** (-0.4 * (rows[..., :n_band] - 22.5))
        flux = flux * np.exp(0.5 * _MAG_TO_LN**2 * variance)
        rows = np.concatenate([flux, rows[..., n_band:]], axis=-1)
        for name, change in changes.items():
            moved = -_MAG_TO_LN * flux * change[..., :n_band]
            changes[name] = np.concatenate([moved, change[..., n_band:]], axis=-1)
    more, slopes = [], []
    if catalog.feh is not None:
        more.append(p.feh)
        slopes.append(0.0)
    if catalog.parallax is not None and not is_zero(p.distance_modulus_scatter):
        log_mean = 0.5 * (_LN10_FIFTH * spreads["distance"]) ** 2
        parallax = (_parallax(p) - p.parallax_zero_point) * math.exp(log_mean)
        more.append(parallax + p.parallax_zero_point)
        slopes.append(-_LN10_FIFTH * parallax)
    if more:
        shape = (*rows.shape[:-1], len(more))
        rows = np.concatenate([rows, np.broadcast_to(more, shape)], axis=-1)
        for name, change in changes.items():
            added = np.broadcast_to(slopes if name == "distance" else np.zeros(len(more)), shape)
            changes[name] = np.concatenate([change, added], axis=-1)
    return replace(tracks, rows=rows, changes=changes)


def _parallax(p):
    return 1000.0 / 10.0 ** (0.2 * p.true_distance_modulus() + 1.0) + p.parallax_zero_point


def data_of(catalog: StarCatalog, p: ClusterParameters) -> tuple[np.ndarray, np.ndarray]:
    """Values and variances (N, D) in the rows of the model, NaN where not measured."""
    scatter = np.broadcast_to(np.asarray(p.intrinsic_scatter, float), len(catalog.bands))
    if catalog.is_flux:
        scatter = scatter * _MAG_TO_LN * np.maximum(catalog.values, 0.0)
    values, variance = [catalog.values], [catalog.errors**2 + scatter**2]
    names = [name for name in ("teff", "feh") if getattr(catalog, name) is not None]
    if catalog.parallax is not None and not is_zero(p.distance_modulus_scatter):
        names.append("parallax")
    for name in names:
        values.append(getattr(catalog, name)[:, None])
        variance.append(getattr(catalog, f"{name}_err")[:, None] ** 2)
    return np.concatenate(values, axis=1), np.concatenate(variance, axis=1)


def _spreads(p):
    return {"av": p.av_scatter, "distance": p.distance_modulus_scatter, "age": 1.0}


def log_member_density(
    catalog: StarCatalog, tracks: list[Tracks], p: ClusterParameters, inflation: float = 1.0
) -> np.ndarray:
    """Log of the integral (N,) of the mass function times the Gaussian, parallax included.

    With an `inflation`, a factor on all variances, the magnitudes or fluxes alone.
    """
    values, variance = data_of(catalog, p)
    offsets = (np.asarray(p.av) - np.mean(p.av)) * np.ones(catalog.n_star)
    log_density = np.zeros(catalog.n_star)
    displacements = [t.changes["av"] for t in tracks]
    if catalog.is_flux:
        n_band = len(catalog.bands)
        flux = values[:, :n_band]
        scatter = _MAG_TO_LN * np.asarray(p.intrinsic_scatter)
        values[:, :n_band] = flux + 2.0 * scatter**2 * np.maximum(flux, 0.0)
        mean = _mean_reddening(tracks, n_band)
        displacements = [_from_mean(t, mean) for t in tracks]
        factor = np.exp(_MAG_TO_LN * offsets[:, None] * mean)
        values[:, :n_band] *= factor
        variance[:, :n_band] *= factor**2
        log_density += np.where(np.isfinite(flux), np.log(factor), 0.0).sum(axis=1)
    if inflation != 1.0:
        values, variance = (x[:, : len(catalog.bands)] for x in (values, variance))
    log_density += np.array(
        [
            special.logsumexp(
                [
                    _star_integral(x, v, t, _spreads(p), offset * displacement, inflation)
                    for t, displacement in zip(tracks, displacements, strict=True)
                ]
            )
            for x, v, offset in zip(values, variance, offsets, strict=True)
        ]
    )
    by_itself = is_zero(p.distance_modulus_scatter) and inflation == 1.0
    if by_itself and catalog.parallax is not None and catalog.parallax_err is not None:
        sigma = catalog.parallax_err
        deviation = (catalog.parallax - _parallax(p)) / sigma
        by_parallax = -0.5 * deviation**2 - np.log(sigma * math.sqrt(2 * math.pi))
        log_density = log_density + np.where(np.isfinite(catalog.parallax), by_parallax, 0.0)
    return log_density


def _mean_reddening(tracks, n_band):
    """Mean of dm/dA_V (B,) over the stars, from tracks in flux."""
    total, number = np.zeros(n_band), 0.0
    for t in tracks:
        reddening = t.changes["av"][..., :n_band] / (-_MAG_TO_LN * t.rows[..., :n_band])
        middle = 0.5 * (reddening[:, :-1] + reddening[:, 1:])
        total += (t.weights[..., None] * middle).sum(axis=(0, 1))
        number += t.weights.sum()
    return total / number


def _from_mean(tracks, mean):
    """Change with A_V (T, E, D) of tracks in flux, without that of the mean reddening (B,)."""
    change = tracks.changes["av"].copy()
    n_band = mean.size
    change[..., :n_band] += _MAG_TO_LN * tracks.rows[..., :n_band] * mean
    return change


def _star_integral(values, variance, tracks, spreads, displacement, inflation):
    """Log of the integral of mass function times Gaussian over all segments, for one star."""
    d = np.flatnonzero(np.isfinite(values))
    moved = 0.5 * (displacement[:, :-1, d] + displacement[:, 1:, d])
    start, end = tracks.rows[:, :-1, d] + moved, tracks.rows[:, 1:, d] + moved
    covariance = np.zeros((*start.shape, d.size)) + np.diag(variance[d])
    for name, change in tracks.changes.items():
        k = 0.5 * (change[:, :-1, d] + change[:, 1:, d])
        covariance = covariance + spreads[name] ** 2 * k[..., :, None] * k[..., None, :]
    covariance = covariance * inflation
    precision = np.linalg.inv(covariance)
    r, step = values[d] - start, end - start
    quad = [
        np.einsum("tsi,tsij,tsj->ts", x, precision, y) for x, y in ((step, step), (step, r), (r, r))
    ]
    log_norm = -0.5 * np.linalg.slogdet(2.0 * np.pi * covariance)[1]
    log_integral = log_norm + log_segment_integral(*quad, tracks.tilts)
    with np.errstate(divide="ignore"):
        return special.logsumexp(np.log(tracks.weights) + log_integral)


def log_segment_integral(a, b, c, tilt):
    """Log of int_0^1 (1 + tilt (t - 1/2)) exp(-(a t^2 - 2 b t + c) / 2) dt, elementwise."""
    short = a + np.abs(b) < 20.0
    # Short segments by quadrature; the others see a harmless a = 1 there.
    t = _NODES
    g = np.exp(-0.5 * (a[..., None] * t * t - 2.0 * b[..., None] * t) * short[..., None])
    by_quadrature = -0.5 * c + np.log((_WEIGHTS * (1.0 + tilt[..., None] * (t - 0.5)) * g).sum(-1))
    a_safe = np.where(short | (a <= 0.0), 1.0, a)
    peak = b / a_safe
    low, high = -np.sqrt(a_safe) * peak, np.sqrt(a_safe) * (1.0 - peak)
    flip = low > 0.0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    # From the end that is nearer to the peak: squares of high and low would lose their digits.
    outside = high < 0.0
    at_end = np.where(flip, 0.0, b - 0.5 * a_safe)
    tails = [special.erfcx(np.where(outside, -x, 1.0) / math.sqrt(2.0)) for x in (high, low)]
    ratio = tails[1] / tails[0] * np.exp(np.minimum(0.5 * (low - high) * (-low - high), 0.0))
    with np.errstate(divide="ignore"):
        log_outside = at_end + np.log(0.5 * tails[0] * (1.0 - ratio))
        log_inside = 0.5 * b * peak + np.log(special.ndtr(high) - special.ndtr(low))
    log_i = np.where(outside, log_outside, log_inside)
    log_i += -0.5 * c + 0.5 * np.log(2.0 * np.pi / a_safe)
    at_start, at_end = np.exp(-0.5 * c - log_i), np.exp(-0.5 * (c - 2.0 * b + a) - log_i)
    mean_t = np.clip(peak + (at_start - at_end) / a_safe, 0.0, 1.0)
    # Far from the peak the difference loses its digits; there, from the end that is nearer.
    beyond = -np.minimum(high, -1e3)
    from_end = (1.0 - 2.0 / beyond**2) / (beyond * np.sqrt(a_safe))
    far = np.where(flip, from_end, 1.0 - from_end)
    mean_t = np.where(high < -1e3, far, mean_t)
    with np.errstate(divide="ignore"):
        by_formula = log_i + np.log1p(tilt * (mean_t - 0.5))
    return np.where(short, by_quadrature, by_formula)


def detected_share(
    catalog: StarCatalog, tracks: list[Tracks], p: ClusterParameters, options: ClusterOptions,
    inflation: float = 1.0,
) -> float:  # fmt: skip
    """Probability Z that a member passes the selection, by fine midpoints."""
    selection = options.selection
    total = float(sum(t.weights.sum() for t in tracks))
    if selection is None or not np.isfinite([selection.bright, selection.faint]).any():
        return total
    b = catalog.bands.index(selection.band)
    scatter = np.broadcast_to(np.asarray(p.intrinsic_scatter, float), len(catalog.bands))[b]
    if catalog.is_flux:
        low, high, low_error, high_error = selection.flux_limits(catalog)
        sides = [(-high, high_error, -1.0), (-low, low_error, 1.0)]
        sign, factor = -1.0, _MAG_TO_LN * scatter
        added = [(factor * limit) ** 2 if np.isfinite(limit) else 0.0 for limit, _, _ in sides]
    else:
        errors = selection.errors(catalog)
        sides = [(selection.bright, errors[0], -1.0), (selection.faint, errors[1], 1.0)]
        sign, added = 1.0, [scatter**2] * 2
    offset_variance = np.mean((np.asarray(p.av) - np.mean(p.av)) ** 2)
    z = 0.0 if np.isfinite(sides[1][0]) else total
    for track in tracks:
        extra = np.zeros_like(track.weights)
        for name, change in track.changes.items():
            k = 0.5 * (change[:, :-1, b] + change[:, 1:, b])
            spread = _spreads(p)[name] ** 2 + (offset_variance if name == "av" else 0.0)
            extra = extra + spread * k**2
        rows = sign * track.rows[..., b]
        t = (np.arange(2000) + 0.5) / 2000
        m = rows[:, :-1, None] + t * (rows[:, 1:] - rows[:, :-1])[..., None]
        density = 1.0 + track.tilts[..., None] * (t - 0.5)
        for (limit, error, side), more in zip(sides, added, strict=True):
            if np.isfinite(limit):
                tau = np.sqrt((error**2 + more + extra) * inflation)
                passed = special.ndtr((limit - m) / tau[..., None])
                z += side * float((track.weights * (density * passed).mean(axis=-1)).sum())
    return z


def _log_field(catalog, tracks, p, options):
    """Log density (N,) of field stars."""
    field = options.field
    if isinstance(field, InflatedScatterField):
        inflation = 1.0 + field.scale**2
        z = detected_share(catalog, tracks, p, options, inflation)
        log_density = log_member_density(catalog, tracks, p, inflation) - math.log(z)
        return log_density + field.log_density(catalog, options.selection)
    if isinstance(field, ChiSquareField):
        _, variance = data_of(catalog, p)
        if catalog.parallax is not None and is_zero(p.distance_modulus_scatter):
            variance = np.column_stack([variance, catalog.parallax_err**2])
        log_norm = 0.5 * np.nansum(np.log(variance), axis=1)
        return field.log_constant(np.isfinite(variance).sum(axis=1)) - log_norm
    return field.log_density(catalog, options.selection)
