"""Simulated clusters: catalogs of stars drawn from the model that the likelihood integrates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_starpop.cluster.checks import check_numbers, check_structure
from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters, split_arguments
from pymc_starpop.field import InflatedScatterField
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.simulate.members import ClusterSampler, draw_observed
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.checks import check_bands, check_colors
from pymc_starpop.stars.colors import bands_of
from pymc_starpop.stars.fluxes import flux_of_mag

__all__ = ["draw_photometry", "simulate_cluster"]

# Measurements of one number a star, and their units.
_MEASUREMENTS = {"parallax": "mas", "teff": "K", "feh": "dex"}


@dataclass(frozen=True)
class Noise:
    """Errors of everything that is measured.

    Attributes
    ----------
    photometry : one number, one by band, an array (N, B), or a function of what is measured
    is_flux : whether fluxes are measured
    columns : dict
        Error of parallax (mas), teff (K), feh (dex), (N,) or None; NaN where not measured.
    """

    photometry: Any
    is_flux: bool
    columns: dict[str, np.ndarray | None]

    def of(self, true: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Photometric errors (n, B) at true magnitudes or fluxes (n, B) of the rows (n,)."""
        name = "flux_err" if self.is_flux else "mag_err"
        if callable(self.photometry):
            errors = np.asarray(self.photometry(true), dtype=float)
        else:
            errors = np.asarray(self.photometry, dtype=float)
            if errors.ndim == 2:
                errors = errors[index]
        errors = np.broadcast_to(errors, true.shape)
        if not np.all((errors > 0.0) & np.isfinite(errors)):
            raise ValueError(
                f"{name} must be positive and finite for every star and band, got "
                f"{np.min(errors) if errors.size else errors}; give standard deviations of the "
                "noise"
            )
        return errors


def simulate_cluster(
    iso: IsochroneGrid,
    *,
    n_star: int,
    bands: Sequence[str],
    mag_err: float | Sequence[float] | Callable[[np.ndarray], np.ndarray] = 0.01,
    flux_err: float | Sequence[float] | Callable[[np.ndarray], np.ndarray] | None = None,
    parallax_err: float | Sequence[float] | None = None,
    teff_err: float | Sequence[float] | None = None,
    feh_err: float | Sequence[float] | None = None,
    rng: np.random.Generator | int | None = None,
    **parameters: Any,
) -> StarCatalog:
    """Draw a catalog of a cluster and its field.

    Parameters
    ----------
    iso : IsochroneGrid
    n_star : int
        Number of cataloged stars N, members and field together.
    bands : sequence of str
        B bands, or colors such as "Gaia_BP_EDR3 - Gaia_RP_EDR3" among them.
    mag_err : float, sequence of float, array (N, B), or callable
        Photometric errors, mag: one number, one for each band, one for each star and band, or a
        function of the magnitudes (n, B) that returns errors (n, B).
    flux_err : float, sequence of float, array (N, B), or callable, optional
        Errors of fluxes, in the unit in which 1 is magnitude 22.5, in the same forms, a function
        being one of the fluxes. The noise then is Gaussian in flux and the catalog one of fluxes.
    parallax_err, teff_err, feh_err : float or array (N,), optional
        Errors of parallaxes (mas), spectroscopic T_eff (K; of the primary) and [Fe/H] (dex);
        without one there are no such measurements, and none of a star where it is NaN.
    rng : numpy.random.Generator or int, optional
        Source of randomness or a seed.
    **parameters
        As for `pymc_starpop.cluster_logp`, all numbers. A field fraction above 0 needs a field
        that can be drawn: one with ranges, such as ``UniformField(mag_range=...,
        color_ranges=...)``, a `ControlField`, a `FieldDensity` with a sampler, or an
        `InflatedScatterField`. A selection needs ``error`` only where errors are a function. Its
        completeness counts at the true apparent magnitude, with extinction, distance and scatter
        of the star, before noise.

    Returns
    -------
    StarCatalog
        With the truth in ``extra``: initial_mass (Msun, NaN for field stars), mass_ratio,
        is_field, and where they differ between stars population (0 or 1; -1 for field stars),
        log_age, av, distance_modulus, grey_shift (mag) and log_teff_shift (dex). Field stars
        without a density of temperatures or [Fe/H] have none measured.

    Raises
    ------
    ValueError
        Where parameters are out of range, field stars cannot be drawn, or hardly any star passes
        the selection.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> cat = psp.simulate_cluster(psp.load_isochrones(), n_star=5, bands=["TESS"], rng=1,
    ...                            feh=0.0, log_age=9.0, distance_modulus=10.0)
    >>> cat.mag.shape
    (5, 1)
    """
    p, options = split_arguments(parameters, iso)
    if not (isinstance(n_star, int | np.integer) and n_star >= 1):
        raise ValueError(
            f"n_star must be a whole number of at least 1, got {n_star!r}; give a number of stars"
        )
    if options.member_logp is not None or options.field_logp is not None:
        raise ValueError(
            "member_logp and field_logp are of stars that were observed, got them for a "
            "simulation; leave them out, and draw further data of the simulated stars yourself"
        )
    check_structure(iso, p, options)
    bands = check_bands(bands)
    check_colors(bands)
    iso.check_bands(bands_of(bands))
    if flux_err is not None and bands != bands_of(bands):
        raise ValueError(
            f"bands holds colors, {', '.join(bands)}, of which there are none in fluxes; give "
            "bands alone, or mag_err in place of flux_err"
        )
    check_numbers(iso, p, options, bands, n_star)
    errors = {"parallax": parallax_err, "teff": teff_err, "feh": feh_err}
    noise = Noise(
        mag_err if flux_err is None else flux_err,
        flux_err is not None,
        {name: _column_errors(name, error, n_star) for name, error in errors.items()},
    )
    rng = np.random.default_rng(rng)
    is_field = rng.random(n_star) < p.field_fraction
    members = _draw_members(
        ClusterSampler(iso, bands, p, options), np.flatnonzero(~is_field), noise, rng
    )
    parts = [(~is_field, members)]
    if is_field.any():
        rows = np.flatnonzero(is_field)
        parts.append((is_field, _draw_field(iso, bands, p, options, rows, noise, rng)))
    columns = {name: _assemble(parts, name) for name in members if name not in _TRUTH}
    truth = {name: _assemble(parts[:1], name) for name in _told(p, options)}
    truth["is_field"] = is_field
    return _catalog(columns, truth, bands, noise)


def draw_photometry(
    iso: IsochroneGrid, bands: tuple[str, ...], p: ClusterParameters, options: ClusterOptions,
    errors: Any, is_flux: bool, is_field: np.ndarray, rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Draw the observed magnitudes or fluxes (N, B) of a new catalog; arguments were checked.

    Parameters
    ----------
    iso : IsochroneGrid
    bands : tuple of str
        B bands and colors.
    p : ClusterParameters
        Numbers.
    options : ClusterOptions
    errors : ndarray (N, B), or callable
        Standard deviations of the noise, mag or flux; or a function that gives them (n, B) from
        what is measured (n, B).
    is_flux : bool
        Whether the noise is Gaussian in flux.
    is_field : ndarray of bool (N,)
        Which are field stars.
    rng : numpy.random.Generator
    """
    noise = Noise(errors, is_flux, {})
    drawn = np.empty((is_field.size, len(bands)))
    sampler = ClusterSampler(iso, bands, p, options)
    drawn[~is_field] = _draw_members(sampler, np.flatnonzero(~is_field), noise, rng)["mag"]
    if is_field.any():
        rows = np.flatnonzero(is_field)
        drawn[is_field] = _draw_field(iso, bands, p, options, rows, noise, rng)["mag"]
    return drawn


_TRUTH = (
    "initial_mass", "mass_ratio", "population", "log_age", "av", "distance_modulus", "grey_shift",
    "log_teff_shift",
)  # fmt: skip


def _told(p: ClusterParameters, options: ClusterOptions) -> list[str]:
    """Names of what differs between the members."""
    second = p.second_population
    differs = {
        "initial_mass": True,
        "mass_ratio": True,
        "population": second is not None,
        "log_age": options.age_distribution is not None
        or p.log_age_scatter > 0.0
        or (second is not None and second.log_age is not None),
        "av": p.av_scatter > 0.0 or np.ndim(p.av) > 0,
        "distance_modulus": p.distance_modulus_scatter > 0.0,
        "grey_shift": p.grey_scatter > 0.0,
        "log_teff_shift": p.log_teff_scatter > 0.0,
    }
    return [name for name in _TRUTH if differs[name]]


def _column_errors(name: str, error: Any, n_star: int) -> np.ndarray | None:
    """Errors (N,) of a measurement, or None."""
    if error is None:
        return None
    errors = np.asarray(error, dtype=float)
    if errors.shape not in ((), (n_star,)):
        raise ValueError(
            f"{name}_err must be one number or one for each of {n_star} stars "
            f"({_MEASUREMENTS[name]}), got shape {errors.shape}; give one of these"
        )
    if np.any(errors <= 0.0) or np.any(np.isinf(errors)) or np.isnan(errors).all():
        raise ValueError(
            f"{name}_err must be positive ({_MEASUREMENTS[name]}), or NaN where not measured, got "
            f"{error!r}; leave it out for no measurements"
        )
    return np.broadcast_to(errors, n_star)


def _draw_members(
    sampler: ClusterSampler, rows: np.ndarray, noise: Noise, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Everything about the members that fill these rows of the catalog."""
    drawn = draw_observed(sampler, rows, noise.of, rng, noise.is_flux)
    distance_pc = 10.0 ** (0.2 * drawn["distance_modulus"] + 1.0)
    drawn["parallax"] = 1000.0 / distance_pc + sampler.parameters.parallax_zero_point
    for name, errors in noise.columns.items():
        if errors is None:
            del drawn[name]
        else:
            drawn[name] += sampler.inflation * errors[rows] * rng.normal(size=rows.size)
    return drawn


def _draw_field(
    iso: IsochroneGrid, bands: tuple[str, ...], p: ClusterParameters, options: ClusterOptions,
    rows: np.ndarray, noise: Noise, rng: np.random.Generator,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Everything about the field stars that fill these rows of the catalog."""
    field = options.field
    if isinstance(field, InflatedScatterField):
        # Members of the cluster with a wider scatter around its sequence.
        inflation = float(np.sqrt(1.0 + field.scale**2))
        return _draw_members(ClusterSampler(iso, bands, p, options, inflation), rows, noise, rng)
    if not hasattr(field, "draw"):
        raise ValueError(
            f"field stars cannot be drawn from {field!r}; give psp.UniformField with its ranges, "
            "psp.ControlField, psp.InflatedScatterField or psp.FieldDensity with a sampler"
        )
    drawn = {"mag": field.draw(rows.size, bands, rng, options.selection)}
    if noise.is_flux:
        drawn["mag"] = flux_of_mag(drawn["mag"])
    drawn["mag_err"] = noise.of(drawn["mag"], rows)
    if noise.is_flux and hasattr(field, "draw_flux"):
        # Its density depends on the errors of the fluxes.
        drawn["mag"] = field.draw_flux(drawn["mag_err"], bands, rng, options.selection)
    for name, errors in noise.columns.items():
        if errors is not None:
            draw = getattr(field, f"draw_{name}", None)
            drawn[name] = np.full(rows.size, np.nan) if draw is None else draw(rows.size, rng)
    return drawn


def _assemble(parts: list[tuple[np.ndarray, dict[str, np.ndarray]]], name: str) -> np.ndarray:
    """Put a column of members and field stars into the order of the catalog."""
    first = parts[0][1][name]
    whole: np.ndarray = np.full(
        (parts[0][0].size, *first.shape[1:]), -1 if first.dtype.kind == "i" else np.nan, first.dtype
    )
    for which, drawn in parts:
        whole[which] = drawn[name]
    return whole


def _catalog(
    columns: dict[str, np.ndarray], truth: dict[str, np.ndarray], bands: tuple[str, ...],
    noise: Noise,
) -> StarCatalog:  # fmt: skip
    """Build the catalog, without the measurements that are not made."""
    measured: dict[str, Any] = {"extra": truth}
    for name, errors in noise.columns.items():
        if errors is not None:
            known = np.isfinite(errors) & np.isfinite(columns[name])
            if known.any():
                measured[name] = np.where(known, columns[name], np.nan)
                measured[f"{name}_err"] = np.where(known, errors, np.nan)
    if noise.is_flux:
        return StarCatalog.from_flux(columns["mag"], columns["mag_err"], bands=bands, **measured)
    return StarCatalog(columns["mag"], columns["mag_err"], bands=bands, **measured)
