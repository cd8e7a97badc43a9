"""Densities of the slow cluster likelihood: of members, and the share that is detected."""

import math

import numpy as np
from scipy import special

from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters, is_zero
from pymc_starpop.kernels.reference.segment import log_segment_integral
from pymc_starpop.reference.tracks import MAG_TO_LN, Tracks, parallax_of, spreads_of
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.colors import combination
from pymc_starpop.stars.fluxes import log_flux_norm

__all__ = ["data_of", "detected_share", "log_member_density"]


def data_of(catalog: StarCatalog, p: ClusterParameters) -> tuple[np.ndarray, np.ndarray]:
    """Values (N, D) in the rows of the model and covariances (N, D, D), NaN if not measured."""
    scatter = np.broadcast_to(np.asarray(p.intrinsic_scatter, float), len(catalog.model_bands))
    if catalog.is_flux:
        # Without NaN, which would pass from a band that was not measured to the others.
        scatter = scatter * MAG_TO_LN * np.maximum(np.nan_to_num(catalog.values), 0.0)
    matrix = combination(catalog.bands)
    of_bands = np.einsum("kb,...b,lb->...kl", matrix, scatter**2, matrix)
    values, variance = [catalog.values], [catalog.errors**2]
    names = [name for name in ("teff", "feh") if getattr(catalog, name) is not None]
    if catalog.parallax is not None and not is_zero(p.distance_modulus_scatter):
        names.append("parallax")
    for name in names:
        values.append(getattr(catalog, name)[:, None])
        variance.append(getattr(catalog, f"{name}_err")[:, None] ** 2)
    variances = np.concatenate(variance, axis=1)
    covariance = variances[:, :, None] * np.eye(variances.shape[1])
    n_column = len(catalog.bands)
    covariance[:, :n_column, :n_column] += of_bands
    return np.concatenate(values, axis=1), covariance


def log_member_density(
    catalog: StarCatalog, tracks: list[Tracks], p: ClusterParameters, inflation: float = 1.0
) -> np.ndarray:
    """Log of the integral (N,) of the mass function times the Gaussian, parallax included.

    With an `inflation`, a factor on all variances, the magnitudes or fluxes alone.
    """
    values, covariance = data_of(catalog, p)
    offsets = (np.asarray(p.av) - np.mean(p.av)) * np.ones(catalog.n_star)
    log_density = np.zeros(catalog.n_star)
    displacements = [t.changes["av"] for t in tracks]
    if catalog.is_flux:
        n_band = len(catalog.bands)
        flux = values[:, :n_band]
        scatter = MAG_TO_LN * np.asarray(p.intrinsic_scatter)
        with np.errstate(divide="ignore", invalid="ignore"):
            norm = log_flux_norm(scatter**2, (catalog.errors / catalog.values) ** 2)
        if inflation == 1.0:
            log_density += np.where(catalog.values > 0.0, norm, 0.0).sum(axis=1)
        values[:, :n_band] = flux + 2.0 * scatter**2 * np.maximum(flux, 0.0)
        mean = _mean_reddening(tracks, n_band)
        displacements = [_from_mean(t, mean) for t in tracks]
        factor = np.exp(MAG_TO_LN * offsets[:, None] * mean)
        values[:, :n_band] *= factor
        all_factors = np.ones_like(values)
        all_factors[:, :n_band] = factor
        covariance = covariance * all_factors[:, :, None] * all_factors[:, None, :]
        log_density += np.where(np.isfinite(flux), np.log(factor), 0.0).sum(axis=1)
    if inflation != 1.0:
        n_column = len(catalog.bands)
        values, covariance = values[:, :n_column], covariance[:, :n_column, :n_column]
    log_density += np.array(
        [
            special.logsumexp(
                [
                    _star_integral(x, v, t, spreads_of(p), offset * displacement, inflation)
                    for t, displacement in zip(tracks, displacements, strict=True)
                ]
            )
            for x, v, offset in zip(values, covariance, offsets, strict=True)
        ]
    )
    by_itself = is_zero(p.distance_modulus_scatter) and inflation == 1.0
    if by_itself and catalog.parallax is not None and catalog.parallax_err is not None:
        sigma = catalog.parallax_err
        deviation = (catalog.parallax - parallax_of(p)) / sigma
        by_parallax = -0.5 * deviation**2 - np.log(sigma * math.sqrt(2 * math.pi))
        log_density = log_density + np.where(np.isfinite(catalog.parallax), by_parallax, 0.0)
    return log_density


def _mean_reddening(tracks, n_band):
    """Mean of dm/dA_V (B,) over the stars, from tracks in flux."""
    total, number = np.zeros(n_band), 0.0
    for t in tracks:
        reddening = t.changes["av"][..., :n_band] / (-MAG_TO_LN * t.rows[..., :n_band])
        middle = 0.5 * (reddening[:, :-1] + reddening[:, 1:])
        total += (t.weights[..., None] * middle).sum(axis=(0, 1))
        number += t.weights.sum()
    return total / number


def _from_mean(tracks, mean):
    """Change with A_V (T, E, D) of tracks in flux, without that of the mean reddening (B,)."""
    change = tracks.changes["av"].copy()
    n_band = mean.size
    change[..., :n_band] += MAG_TO_LN * tracks.rows[..., :n_band] * mean
    return change


def _star_integral(values, of_data, tracks, spreads, displacement, inflation):
    """Log of the integral of mass function times Gaussian over all segments, for one star."""
    d = np.flatnonzero(np.isfinite(values))
    moved = 0.5 * (displacement[:, :-1, d] + displacement[:, 1:, d])
    start, end = tracks.rows[:, :-1, d] + moved, tracks.rows[:, 1:, d] + moved
    covariance = np.zeros((*start.shape, d.size)) + of_data[np.ix_(d, d)]
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
    of_bands = np.broadcast_to(np.asarray(p.intrinsic_scatter, float), len(catalog.model_bands))
    scatter = of_bands[catalog.model_bands.index(selection.band)]
    if catalog.is_flux:
        low, high, low_error, high_error = selection.flux_limits(catalog)
        sides = [(-high, high_error, -1.0), (-low, low_error, 1.0)]
        sign, factor = -1.0, MAG_TO_LN * scatter
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
            spread = spreads_of(p)[name] ** 2 + (offset_variance if name == "av" else 0.0)
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
