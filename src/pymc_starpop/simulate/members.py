"""Members of a simulated cluster: systems drawn as the likelihood integrates over them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.simulate.member_tracks import MemberTracks
from pymc_starpop.stars.colors import bands_of, combination
from pymc_starpop.stars.fluxes import flux_of_mag

__all__ = ["ClusterSampler", "Population", "draw_mass_ratio", "draw_observed"]

_LN_FLUX = 0.4 * np.log(10.0)
_MAX_ROUNDS = 1000
# Masses drawn anew where they are beyond the end of a star's own isochrone.
_MAX_MASS_ROUNDS = 10_000

Errors = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Population:
    """Stars that differ in age alone: their share of the systems born, and their parameters."""

    share: float
    parameters: ClusterParameters


class ClusterSampler:
    """Draws members of one cluster: mass, companion, extinction, magnitudes without noise.

    Parameters
    ----------
    iso : IsochroneGrid
    columns : tuple of str
        K columns of what is observed: bands and colors. The B ``bands`` are theirs.
    parameters : ClusterParameters
        Numbers only; ``av`` may have one value for each row of the catalog.
    options : ClusterOptions
    inflation : float
        Factor on the standard deviation of every scatter but that of ages, and of the noise in
        `draw_observed`: 1 for members, sqrt(1 + scale^2) for `InflatedScatterField`.
    """

    def __init__(
        self,
        iso: IsochroneGrid,
        columns: tuple[str, ...],
        parameters: ClusterParameters,
        options: ClusterOptions,
        inflation: float = 1.0,
    ):
        self.parameters = parameters
        self.options = options
        self.columns = columns
        self.bands = bands_of(columns)
        self.inflation = inflation
        self._iso = iso
        self.populations = _populations(parameters)
        self._tracks: dict[int, MemberTracks] = {}

    def draw(
        self, n: int, rng: np.random.Generator, index: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Draw n systems.

        Parameters
        ----------
        n : int
        rng : numpy.random.Generator
        index : ndarray of int (n,), optional
            Rows of the catalog that they fill; needed where ``av`` has one value for each.

        Returns
        -------
        dict
            By star (n,): ``initial_mass`` (Msun), ``mass_ratio`` (0: single), ``population``,
            ``log_age``, ``av`` and ``distance_modulus`` (mag), ``grey_shift`` (mag) and
            ``log_teff_shift`` (dex), ``teff`` (K) and ``feh`` (dex); and ``mag`` (n, B), without
            noise.
        """
        p = self.parameters
        drawn: dict[str, np.ndarray] = {
            name: np.empty(n) for name in ("initial_mass", "mass_ratio", "log_age", "teff", "feh")
        }
        av = np.asarray(p.av, dtype=float)
        av = np.full(n, float(av)) if av.ndim == 0 else av[np.arange(n) if index is None else index]
        drawn["population"] = np.zeros(n, dtype=int)
        if len(self.populations) > 1:
            drawn["population"] = (rng.random(n) < self.populations[1].share).astype(int)
        light = np.empty((2 + (p.log_teff_scatter > 0.0), n, len(self.bands)))
        for number in range(len(self.populations)):
            here = np.flatnonzero(drawn["population"] == number)
            if here.size:
                found = self._draw_population(number, av[here], rng)
                light[:, here] = found.pop("light")
                for name, values in found.items():
                    drawn[name][here] = values
        extinction = self.inflation * p.av_scatter * rng.normal(size=n)
        depth, grey, warmth = (
            self._shifts(scatter, n, rng)
            for scatter in (p.distance_modulus_scatter, p.grey_scatter, p.log_teff_scatter)
        )
        mag = light[0]
        mag += extinction[:, None] * light[1] + (depth + grey)[:, None]
        if len(light) > 2:
            mag += warmth[:, None] * light[2]
            drawn["teff"] *= 10.0**warmth
        scatter = self.inflation * np.asarray(p.intrinsic_scatter)
        mag += p.zero_points + scatter * rng.normal(size=mag.shape)
        drawn["av"], drawn["distance_modulus"] = av + extinction, p.true_distance_modulus() + depth
        return drawn | {"grey_shift": grey, "log_teff_shift": warmth, "mag": mag}

    def _shifts(self, scatter: float, n: int, rng: np.random.Generator) -> np.ndarray:
        """Differences between stars (n,) of a standard deviation."""
        return self.inflation * scatter * rng.normal(size=n) if scatter > 0.0 else np.zeros(n)

    def _draw_population(
        self, number: int, av: np.ndarray, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Systems of one population, before differences between stars of the same age."""
        p, options, n = self.populations[number].parameters, self.options, av.size
        log_age = self._draw_ages(p, n, rng)
        tracks = self._tracks_of(number, p, log_age)
        top, limit = tracks.mass_range(log_age)
        mass = self._draw_masses(p, top, rng)
        ratio = np.zeros(n)
        is_binary = (rng.random(n) < p.binary_fraction) & (mass <= limit)
        ratio[is_binary] = draw_mass_ratio(
            int(is_binary.sum()), p.mass_ratio_slope, options.mass_ratio_min, rng
        )
        light, teff = tracks.look_up(mass, log_age, av)
        lit = ratio * mass >= options.mass_min
        other, _ = tracks.look_up(ratio[lit] * mass[lit], log_age[lit], av[lit])
        flux_ratio = np.exp(-_LN_FLUX * (other[0] - light[0, lit]))
        share = flux_ratio / (1.0 + flux_ratio)
        light[0, lit] -= np.log1p(flux_ratio) / _LN_FLUX
        # Both stars of a system are moved alike.
        light[1:, lit] += share * (other[1:] - light[1:, lit])
        return {
            "initial_mass": mass, "mass_ratio": ratio, "log_age": log_age, "teff": teff,
            "feh": np.full(n, float(p.feh)), "light": light,
        }  # fmt: skip

    def _draw_ages(self, p: ClusterParameters, n: int, rng: np.random.Generator) -> np.ndarray:
        """Ages (n,), log10(age / yr), within the isochrones."""
        low, high = self._iso.log_age_range
        ages = np.full(n, np.nan)
        while (todo := np.flatnonzero(~((ages >= low) & (ages <= high)))).size:
            if p.log_age is not None:
                mean, width = np.full(todo.size, float(p.log_age)), float(p.log_age_scatter)
            else:
                distribution: Any = self.options.age_distribution
                mean = rng.choice(distribution.log_age, size=todo.size, p=distribution.weight)
                width = float(distribution.width)
            ages[todo] = mean + width * rng.normal(size=todo.size) if width else mean
        return ages

    def _tracks_of(self, number: int, p: ClusterParameters, log_age: np.ndarray) -> MemberTracks:
        """Isochrones that hold these ages."""
        if number not in self._tracks:
            has_one_age = p.log_age is not None and float(p.log_age_scatter) == 0.0
            self._tracks[number] = MemberTracks(self._iso, self.bands, p, self.options, has_one_age)
        self._tracks[number].reach(log_age)
        return self._tracks[number]

    def _draw_masses(
        self, p: ClusterParameters, top: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Masses (n,), each below the end of the star's own isochrone."""
        lowest = self.options.mass_min
        mass = p.imf.sample(top.size, lowest, float(top.max()), rng)
        for _ in range(_MAX_MASS_ROUNDS):
            beyond = np.flatnonzero(mass > top)
            if not beyond.size:
                return mass
            mass[beyond] = p.imf.sample(beyond.size, lowest, float(top[beyond].max()), rng)
        raise AssertionError("masses below the end of the isochrone are drawn in every round")


def _populations(p: ClusterParameters) -> list[Population]:
    """The first population, and the second where there is one."""
    first = replace(p, second_population=None)
    if p.second_population is None:
        return [Population(1.0, first)]
    fraction = float(p.second_population.fraction)
    second = replace(first, **p.second_population.own())
    return [Population(1.0 - fraction, first), Population(fraction, second)]


def draw_mass_ratio(n: int, slope: float, lowest: float, rng: np.random.Generator) -> np.ndarray:
    """Draw n mass ratios from p(q) proportional to q^slope on [lowest, 1]."""
    exponent = 1.0 + slope
    u = rng.random(n)
    span = np.log(1.0 / lowest)
    if abs(exponent * span) < 1e-9:
        return lowest * np.exp(u * span)
    return lowest * np.exp(np.log1p(u * np.expm1(exponent * span)) / exponent)


def draw_observed(
    sampler: ClusterSampler,
    index: np.ndarray,
    sigma: Errors,
    rng: np.random.Generator,
    is_flux: bool = False,
) -> dict[str, np.ndarray]:
    """Draw members with noise, one for each index, again where one fails the selection.

    The completeness counts at the true apparent magnitude, after extinction and distance and with
    every scatter between stars, before noise; the limits at the observed one.

    Parameters
    ----------
    sampler : ClusterSampler
    index : ndarray of int (n,)
        Rows of the catalog that the members fill.
    sigma : callable
        Photometric errors (k, K) from columns (k, K) and rows (k,); with ``is_flux`` errors of
        fluxes from fluxes, in the unit in which 1 is magnitude 22.5.
    rng : numpy.random.Generator
    is_flux : bool
        Whether the noise is Gaussian in flux.

    Returns
    -------
    dict
        What `ClusterSampler.draw` returns, with noise in ``mag`` (n, K), and ``mag_err``; with
        ``is_flux`` the values there are fluxes.

    Raises
    ------
    ValueError
        Where hardly any star passes the selection.
    """
    n = index.size
    result: dict[str, np.ndarray] = {}
    todo = np.arange(n)
    for _ in range(_MAX_ROUNDS):
        drawn = sampler.draw(todo.size, rng, index[todo])
        found = _is_found(drawn["mag"], sampler, rng)
        true = drawn["mag"]
        if is_flux:
            true = flux_of_mag(true)
        elif sampler.columns != sampler.bands:
            true = true @ combination(sampler.columns).T
        drawn["mag_err"] = np.asarray(sigma(true, index[todo]))
        noise = sampler.inflation * drawn["mag_err"] * rng.normal(size=true.shape)
        drawn["mag"] = true + noise
        passed = found & _passes(drawn["mag"], sampler, is_flux)
        for name, values in drawn.items():
            if name not in result:
                result[name] = np.empty((n, *values.shape[1:]), dtype=values.dtype)
            result[name][todo[passed]] = values[passed]
        todo = todo[~passed]
        if not todo.size:
            return result
    selection = sampler.options.selection
    assert selection is not None  # without one, every star passes in the first round
    raise ValueError(
        f"selection: {todo.size} of {n} stars found no place between {selection.bright} and "
        f"{selection.faint} mag in {_MAX_ROUNDS} rounds; widen the limits or move the cluster"
    )


def _is_found(mag: np.ndarray, sampler: ClusterSampler, rng: np.random.Generator) -> np.ndarray:
    """Whether stars of true magnitudes (n, B) are found at all."""
    selection = sampler.options.selection
    if selection is None or selection.completeness is None:
        return np.ones(len(mag), dtype=bool)
    probability = selection.completeness_at(mag[:, sampler.bands.index(selection.band)])
    return np.asarray(rng.random(len(mag)) < probability)


def _passes(values: np.ndarray, sampler: ClusterSampler, is_flux: bool) -> np.ndarray:
    """Whether observed magnitudes or fluxes (n, K) lie within the limits."""
    selection = sampler.options.selection
    if selection is None:
        return np.ones(len(values), dtype=bool)
    observed = values[:, sampler.columns.index(selection.band)]
    if not is_flux:
        return np.asarray((observed >= selection.bright) & (observed <= selection.faint))
    # Without a faint limit, fluxes below zero pass.
    low = float(flux_of_mag(selection.faint)) if np.isfinite(selection.faint) else -np.inf
    return np.asarray((observed >= low) & (observed <= flux_of_mag(selection.bright)))
