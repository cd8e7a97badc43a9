"""The likelihoods once more, slow and obvious, in NumPy and SciPy: the truth in tests.

Nothing here is pruned, compiled or differentiated. The integral along a segment uses normal
distribution functions in place of the quadrature of the kernels.
"""

import math
from typing import Any

import numpy as np
from scipy import special

from pymc_starpop import population
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.bolometric import TABLE_RV
from pymc_starpop.kernels.reference_interpolation import (
    interpolate_bolometric,
    interpolate_theory,
)
from pymc_starpop.parameters import ClusterOptions, ClusterParameters, split_arguments
from pymc_starpop.photometry import StarCatalog

__all__ = ["cluster_logp"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)
_NODES, _WEIGHTS = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS


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
    p, options = split_arguments(parameters)
    tracks, reddening, weights, tilts = model_tracks(iso, catalog.bands, p, options)
    scatter = np.broadcast_to(np.asarray(p.intrinsic_scatter, float), len(catalog.bands))
    log_cluster = np.array(
        [
            _star_integral(mag, err, tracks, reddening, weights, tilts, scatter, p.av_scatter)
            for mag, err in zip(catalog.mag, catalog.mag_err, strict=True)
        ]
    )
    z = float(weights.sum())
    if options.selection is not None:
        b = catalog.bands.index(options.selection.band)
        z = _selection(
            tracks[..., b], reddening[..., b], weights, tilts, scatter[b], p, options, catalog
        )
    # Where the limits let nobody pass, no star of the catalog can be a member.
    log_cluster = log_cluster - (math.log(z) if z > 0.0 else math.inf)
    if catalog.parallax is not None and catalog.parallax_err is not None:
        expected = 1000.0 / 10.0 ** (0.2 * p.true_distance_modulus() + 1.0) + p.parallax_zero_point
        deviation = (catalog.parallax - expected) / catalog.parallax_err
        log_density = -0.5 * deviation**2 - np.log(catalog.parallax_err * math.sqrt(2 * math.pi))
        log_cluster = log_cluster + np.where(np.isfinite(catalog.parallax), log_density, 0.0)
    prior = 1.0 if catalog.membership_prior is None else catalog.membership_prior
    member = (1.0 - p.field_fraction) * prior * np.ones(catalog.n_star)
    if np.all(member == 1.0):
        return log_cluster
    log_field = options.field.log_density(catalog, options.selection)
    with np.errstate(divide="ignore"):
        return np.logaddexp(np.log(member) + log_cluster, np.log1p(-member) + log_field)


def model_tracks(
    iso: IsochroneGrid, bands: tuple[str, ...], p: ClusterParameters, options: ClusterOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Tracks and reddening (T, E, B), weights and tilts (T, E - 1)."""
    eep, mass, mag, reddening = single_star_track(iso, bands, p, options)
    has_binaries = np.ndim(p.binary_fraction) > 0 or p.binary_fraction != 0
    if has_binaries:
        columns = (eep.astype(float), mass, mag, reddening)
        eep, mass, mag, reddening = (
            population.subdivide(column, options.node_pieces) for column in columns
        )
    weight, density = population.mass_weights(mass, p.imf, options.mass_min)
    if not has_binaries:
        return mag[None], reddening[None], weight[None], population.relative_tilt(density)[None]
    ratio, probability, dark = population.mass_ratios(
        mass, p.mass_ratio_slope, options.mass_ratio_nodes, options.mass_ratio_min,
        options.mass_min,
    )  # fmt: skip
    last = int(np.searchsorted(eep, options.binary_eep_max, side="right")) - 1
    weights, tilts, _ = population.mix_tracks(
        weight, density, p.binary_fraction, probability, dark, last
    )
    tracks, red = _binaries(mass, mag, reddening, ratio, options.mass_min, last)
    return tracks, red, weights, tilts


def single_star_track(
    iso: IsochroneGrid, bands: tuple[str, ...], p: ClusterParameters, options: ClusterOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """EEP and initial mass (E,), apparent magnitude and dm/dA_V (E, B), cut at both ends."""
    keep = iso.eep <= options.eep_max
    eep = iso.eep[keep]
    theory = interpolate_theory(p.feh, p.log_age, *iso.theory_arrays())[0][:, keep]
    log10_mass, log_teff, log_g, log_l = theory
    mass = 10.0**log10_mass
    if p.corrections is not None:
        log_teff, log_g, log_l = p.corrections.apply(mass, eep, p.feh, log_teff, log_g, log_l)
    table = iso.bolometric(bands)
    coefficients = interpolate_bolometric(
        log_teff, log_g, p.feh, table.log_teff, table.log_g, table.feh, table.coefficients
    )[0]
    rv_term = iso.rv_slope(bands) * (1.0 / p.rv - 1.0 / TABLE_RV)
    mag, reddening = population.reddened(coefficients, log_l, p.av, rv_term)
    mag = mag + p.true_distance_modulus()
    shift, mass = population.cut_at_mass(mass, options.mass_min)
    shifted = [population.shifted(column, shift) for column in (mag, reddening)]
    return eep, mass, *shifted


def _binaries(mass, mag, reddening, ratio, mass_min, last):
    """Add fluxes of primary and secondary, node by node."""
    above = np.flatnonzero(mass > mass_min * (1.0 + 1e-12))
    first = above[0] - 1
    tracks = np.repeat(mag[None], len(ratio) + 1, axis=0)
    red = np.repeat(reddening[None], len(ratio) + 1, axis=0)
    for j, ratios in enumerate(ratio):
        for e in range(first, last + 1):
            secondary = ratios[e] * mass[e]
            reached = np.flatnonzero(mass[first + 1 :] >= secondary)
            i = first + reached[0]
            t = np.clip((secondary - mass[i]) / (mass[i + 1] - mass[i]), 0.0, 1.0)
            flux1 = 10.0 ** (-0.4 * mag[e])
            flux2 = 10.0 ** (-0.4 * (mag[i] + t * (mag[i + 1] - mag[i])))
            red2 = reddening[i] + t * (reddening[i + 1] - reddening[i])
            tracks[j + 1, e] = -2.5 * np.log10(flux1 + flux2)
            red[j + 1, e] = (flux1 * reddening[e] + flux2 * red2) / (flux1 + flux2)
    return tracks, red


def _star_integral(mag, mag_err, tracks, reddening, weights, tilts, scatter, av_scatter):
    """Log of the integral of mass function times Gaussian over all segments, for one star."""
    b = np.isfinite(mag)
    start, end = tracks[:, :-1, b], tracks[:, 1:, b]
    covariance = np.diag(mag_err[b] ** 2 + scatter[b] ** 2)
    if av_scatter > 0.0:
        k = 0.5 * (reddening[:, :-1, b] + reddening[:, 1:, b])
        covariance = covariance + av_scatter**2 * k[..., :, None] * k[..., None, :]
    precision = np.linalg.inv(covariance)
    r, d = mag[b] - start, end - start
    quad = [
        np.einsum("tsi,...ij,tsj->ts", x, precision, y)
        if av_scatter == 0.0
        else np.einsum("tsi,tsij,tsj->ts", x, precision, y)
        for x, y in ((d, d), (d, r), (r, r))
    ]
    log_norm = -0.5 * np.linalg.slogdet(2.0 * np.pi * covariance)[1]
    log_integral = log_norm + log_segment_integral(*quad, tilts)
    with np.errstate(divide="ignore"):
        return special.logsumexp(np.log(weights) + log_integral)


def log_segment_integral(a, b, c, tilt):
    """Log of int_0^1 (1 + tilt (t - 1/2)) exp(-(a t^2 - 2 b t + c) / 2) dt, elementwise."""
    short = a + np.abs(b) < 1.0
    # Short segments by quadrature; the others see a harmless a = 1 there.
    t = _NODES
    g = np.exp(-0.5 * (a[..., None] * t * t - 2.0 * b[..., None] * t) * short[..., None])
    by_quadrature = -0.5 * c + np.log((_WEIGHTS * (1.0 + tilt[..., None] * (t - 0.5)) * g).sum(-1))
    a_safe = np.where(short, 1.0, a)
    a_safe = np.where(a_safe > 0.0, a_safe, 1.0)
    peak = b / a_safe
    low, high = -np.sqrt(a_safe) * peak, np.sqrt(a_safe) * (1.0 - peak)
    flip = low > 0.0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    log_high, log_low = special.log_ndtr(high), special.log_ndtr(low)
    log_i = log_high + np.log1p(-np.exp(np.minimum(log_low - log_high, -1e-300)))
    log_i += -0.5 * (c - b * b / a_safe) + 0.5 * np.log(2.0 * np.pi / a_safe)
    at_start, at_end = np.exp(-0.5 * c - log_i), np.exp(-0.5 * (c - 2.0 * b + a) - log_i)
    mean_t = peak + (at_start - at_end) / a_safe
    with np.errstate(invalid="ignore", divide="ignore"):
        by_formula = log_i + np.log1p(tilt * (mean_t - 0.5))
    return np.where(short, by_quadrature, by_formula)


def _selection(mag, reddening, weights, tilts, scatter, p, options, catalog):
    """Probability that a member passes the magnitude limits, by fine midpoints."""
    selection = options.selection
    sigma_bright, sigma_faint = selection.errors(catalog)
    red = 0.5 * (reddening[:, :-1] + reddening[:, 1:])
    extra = scatter**2 + (p.av_scatter * red) ** 2
    t = (np.arange(2000) + 0.5) / 2000
    m = mag[:, :-1, None] + t * (mag[:, 1:] - mag[:, :-1])[..., None]
    passed = special.ndtr((selection.faint - m) / np.sqrt(sigma_faint**2 + extra)[..., None])
    passed -= special.ndtr((selection.bright - m) / np.sqrt(sigma_bright**2 + extra)[..., None])
    density = 1.0 + tilts[..., None] * (t - 0.5)
    return float((weights * (density * passed).mean(axis=-1)).sum())
