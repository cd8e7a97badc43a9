"""Simulated clusters: stars drawn from the model that the likelihood integrates over."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.parameters import ClusterOptions, ClusterParameters, split_arguments
from pymc_starpop.photometry import StarCatalog
from pymc_starpop.reference import single_star_track

__all__ = ["ClusterSampler", "simulate_cluster"]

_LN_FLUX = 0.4 * np.log(10.0)
_MAX_ROUNDS = 1000


class ClusterSampler:
    """Draws members of one cluster: mass, companion, extinction, magnitudes without noise.

    Parameters
    ----------
    iso : IsochroneGrid
    bands : tuple of str
        B bands.
    parameters : ClusterParameters
        Numbers only.
    options : ClusterOptions
    """

    def __init__(
        self,
        iso: IsochroneGrid,
        bands: tuple[str, ...],
        parameters: ClusterParameters,
        options: ClusterOptions,
    ):
        self.parameters = parameters
        self.options = options
        self.bands = bands
        self._eep, mass, mag, reddening = single_star_track(iso, bands, parameters, options)
        # Where the mass does not increase there are no stars; what is left is a function of mass.
        keep = np.concatenate([[True], mass[1:] > np.maximum.accumulate(mass)[:-1]])
        keep &= mass >= options.mass_min * (1.0 - 1e-12)
        self._eep, self._mass = self._eep[keep], mass[keep]
        self._columns = np.concatenate([mag[keep], reddening[keep]], axis=1)
        self._n_band = len(bands)

    def _look_up(self, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Magnitude and reddening (n, B) on the single-star track."""
        columns = np.stack([np.interp(mass, self._mass, c) for c in self._columns.T], axis=1)
        return columns[:, : self._n_band], columns[:, self._n_band :]

    def draw(self, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw n systems: ``initial_mass`` (Msun), ``mass_ratio`` (0: single), ``mag`` (n, B)."""
        p, options = self.parameters, self.options
        mass = p.imf.sample(n, self._mass[0], self._mass[-1], rng)
        ratio = np.zeros(n)
        limit = self._mass[np.searchsorted(self._eep, options.binary_eep_max, side="right") - 1]
        is_binary = (rng.random(n) < p.binary_fraction) & (mass <= limit)
        ratio[is_binary] = draw_mass_ratio(
            int(is_binary.sum()), p.mass_ratio_slope, options.mass_ratio_min, rng
        )
        mag, reddening = self._look_up(mass)
        lit = ratio * mass >= options.mass_min
        mag2, reddening2 = self._look_up(ratio[lit] * mass[lit])
        flux_ratio = np.exp(-_LN_FLUX * (mag2 - mag[lit]))
        share = flux_ratio / (1.0 + flux_ratio)
        mag[lit] -= np.log1p(flux_ratio) / _LN_FLUX
        reddening[lit] += share * (reddening2 - reddening[lit])
        mag += p.av_scatter * rng.normal(size=(n, 1)) * reddening
        mag += np.asarray(p.intrinsic_scatter) * rng.normal(size=mag.shape)
        return {"initial_mass": mass, "mass_ratio": ratio, "mag": mag}


def draw_mass_ratio(n: int, slope: float, lowest: float, rng: np.random.Generator) -> np.ndarray:
    """Draw n mass ratios from p(q) proportional to q^slope on [lowest, 1]."""
    exponent = 1.0 + slope
    u = rng.random(n)
    span = np.log(1.0 / lowest)
    if abs(exponent * span) < 1e-9:
        return lowest * np.exp(u * span)
    return lowest * np.exp(np.log1p(u * np.expm1(exponent * span)) / exponent)


def simulate_cluster(
    iso: IsochroneGrid,
    *,
    n_star: int,
    bands: Sequence[str],
    mag_err: float | Sequence[float] | Callable[[np.ndarray], np.ndarray] = 0.01,
    parallax_err: float | None = None,
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
        B bands.
    mag_err : float, sequence of float, array (N, B), or callable
        Photometric errors, mag: one number, one for each band, one for each star and band, or a
        function of the magnitudes (n, B) that returns errors (n, B).
    parallax_err : float, optional
        Error of the parallaxes, mas; no parallaxes by default.
    rng : numpy.random.Generator or int, optional
        Source of randomness or a seed.
    **parameters
        As for `pymc_starpop.cluster_logp`, all numbers. A field fraction above 0 needs a field
        with ranges, such as ``UniformField(mag_range=..., color_ranges=...)``; a selection needs
        ``error`` only where `mag_err` is a function.

    Returns
    -------
    StarCatalog
        With the truth in ``extra``: initial_mass (Msun, NaN for field stars), mass_ratio,
        is_field.

    Raises
    ------
    ValueError
        Where parameters are out of range, or hardly any star passes the selection.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> cat = psp.simulate_cluster(psp.load_isochrones(), n_star=5, bands=["TESS"], rng=1,
    ...                            feh=0.0, log_age=9.0, distance_modulus=10.0)
    >>> cat.mag.shape
    (5, 1)
    """
    p, options = split_arguments(parameters, iso)
    _check_numbers(iso, p, n_star)
    rng = np.random.default_rng(rng)
    bands = iso.check_bands(bands)
    for amount in (p.av, p.av_scatter):
        iso.check_extinction(bands, amount, p.rv)
    is_field = rng.random(n_star) < p.field_fraction
    in_field = np.flatnonzero(is_field)
    sampler = ClusterSampler(iso, bands, p, options)
    members = draw_observed(
        sampler, np.flatnonzero(~is_field), lambda m, i: _errors(mag_err, m, i), rng
    )
    truth = {"is_field": is_field}
    for name in ("initial_mass", "mass_ratio"):
        truth[name] = np.full(n_star, np.nan)
        truth[name][~is_field] = members[name]
    mag, err = np.empty((n_star, len(bands))), np.empty((n_star, len(bands)))
    mag[~is_field], err[~is_field] = members["mag"], members["mag_err"]
    if in_field.size:
        mag[is_field] = options.field.draw(in_field.size, bands, rng, options.selection)
        err[is_field] = _errors(mag_err, mag[is_field], in_field)
    parallax = None
    if parallax_err is not None:
        expected = 1000.0 / 10.0 ** (0.2 * p.true_distance_modulus() + 1.0)
        parallax = expected + p.parallax_zero_point + parallax_err * rng.normal(size=n_star)
        if in_field.size:
            parallax[is_field] = options.field.draw_parallax(in_field.size, rng)
    return StarCatalog(
        mag, err, bands=bands, parallax=parallax,
        parallax_err=None if parallax is None else np.full(n_star, parallax_err), extra=truth,
    )  # fmt: skip


def draw_observed(
    sampler: ClusterSampler,
    index: np.ndarray,
    sigma: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Draw members with noise, one for each index, again where one fails the selection.

    Parameters
    ----------
    sampler : ClusterSampler
    index : ndarray of int (n,)
        Rows of the catalog that the members fill.
    sigma : callable
        Photometric errors (k, B) from magnitudes (k, B) and rows (k,).
    rng : numpy.random.Generator

    Returns
    -------
    dict
        initial_mass and mass_ratio (n,), mag and mag_err (n, B).

    Raises
    ------
    ValueError
        Where hardly any star passes the selection.
    """
    n, n_band = index.size, len(sampler.bands)
    result = {
        "initial_mass": np.empty(n),
        "mass_ratio": np.empty(n),
        "mag": np.empty((n, n_band)),
        "mag_err": np.empty((n, n_band)),
    }
    todo = np.arange(n)
    for _ in range(_MAX_ROUNDS):
        if not todo.size:
            return result
        drawn = sampler.draw(todo.size, rng)
        drawn["mag_err"] = sigma(drawn["mag"], index[todo])
        drawn["mag"] = drawn["mag"] + drawn["mag_err"] * rng.normal(size=drawn["mag"].shape)
        passed = _passes(drawn["mag"], sampler.bands, sampler.options)
        for name, values in result.items():
            values[todo[passed]] = drawn[name][passed]
        todo = todo[~passed]
    selection = sampler.options.selection
    assert selection is not None  # without one, every star passes in the first round
    raise ValueError(
        f"selection: {todo.size} of {n} stars found no place between {selection.bright} and "
        f"{selection.faint} mag in {_MAX_ROUNDS} rounds; widen the limits or move the cluster"
    )


def _check_numbers(iso: IsochroneGrid, p: ClusterParameters, n_star: int) -> None:
    if not (isinstance(n_star, int | np.integer) and n_star >= 1):
        raise ValueError(f"n_star must be a whole number of at least 1, got {n_star!r}")
    if (p.distance_modulus is None) == (p.distance_pc is None):
        raise ValueError("give either distance_modulus (mag) or distance_pc (pc), and only one")
    ranges = {
        "feh": iso.feh_range,
        "log_age": iso.log_age_range,
        "av": iso.av_range,
        "field_fraction": (0.0, 1.0),
        "binary_fraction": (0.0, 1.0),
        "intrinsic_scatter": (0.0, np.inf),
        "av_scatter": (0.0, np.inf),
    }
    for name, (low, high) in ranges.items():
        value = np.asarray(getattr(p, name), dtype=float)
        if not np.all((value >= low) & (value <= high)):
            raise ValueError(f"{name}={value} is out of range: expected {low:g} to {high:g}")


def _errors(mag_err: Any, mag: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Photometric errors (n, B) of the stars with these indices."""
    if callable(mag_err):
        errors = np.asarray(mag_err(mag), dtype=float)
    else:
        errors = np.asarray(mag_err, dtype=float)
        if errors.ndim == 2:
            errors = errors[index]
    errors = np.broadcast_to(errors, mag.shape)
    if not np.all(errors > 0.0):
        raise ValueError("mag_err must be positive (mag) for every star and band")
    return errors


def _passes(mag: np.ndarray, bands: tuple[str, ...], options: ClusterOptions) -> np.ndarray:
    """Whether observed magnitudes lie within the selection."""
    if options.selection is None:
        return np.ones(len(mag), dtype=bool)
    m = mag[:, bands.index(options.selection.band)]
    return (m >= options.selection.bright) & (m <= options.selection.faint)
