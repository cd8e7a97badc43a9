"""What a galaxy is made of: populations of one age each, with a spread of metallicity."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtr

__all__ = ["CompositePopulation", "as_population", "metallicity_nodes"]

_LEAST_SHARE = 1e-12


@dataclass(frozen=True, eq=False)
class CompositePopulation:
    """Populations of one age each, with their metallicities and the masses formed.

    Parameters
    ----------
    log_age : array-like (K,)
        log10(age / yr) of each population.
    mh : array-like (K,)
        Mean metallicity [M/H] of each, dex.
    mass_formed : array-like (K,)
        Mass formed in each, Msun, dead stars included; or relative amounts where the total is
        given elsewhere. Not negative, at least one positive.
    mh_sigma : float or array-like (K,)
        Gaussian dispersion of [M/H], dex; 0 by default.
    mh_grid : array-like (N_mh,), optional
        Metallicities to which stars are restricted, with weights
        exp(-((grid - mh) / mh_sigma)^2 / 2) that add to 1, as in `metallicity_weights`. By
        default [M/H] is drawn from the Gaussian and rounded to steps of ``mh_step``.
    mh_step : float
        Spacing of the isochrones that stand for the Gaussian, dex.

    Raises
    ------
    ValueError
        For lengths that differ, values that are not finite, negative masses or dispersions.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> sfh = psp.CompositePopulation([9.0, 10.0], [-0.5, -1.2], [1e5, 4e5], mh_sigma=0.1)
    >>> len(sfh), sfh.total_mass
    (2, 500000.0)
    """

    log_age: np.ndarray
    mh: np.ndarray
    mass_formed: np.ndarray
    mh_sigma: Any = 0.0
    mh_grid: np.ndarray | None = None
    mh_step: float = 0.02

    def __post_init__(self) -> None:
        names = ("log_age", "mh", "mass_formed")
        columns = {name: np.atleast_1d(np.asarray(getattr(self, name), float)) for name in names}
        n = columns["mass_formed"].size
        sigma = np.asarray(self.mh_sigma, dtype=float)
        columns["mh_sigma"] = np.full(n, float(sigma)) if sigma.ndim == 0 else sigma
        for name, values in columns.items():
            if values.shape != (n,) or n == 0:
                raise ValueError(
                    f"{name} must have one value for each of {n} populations, got shape "
                    f"{values.shape}; CompositePopulation.from_grid takes masses (N_age, N_mh)."
                )
            if not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite, got {values[~np.isfinite(values)][0]}.")
            object.__setattr__(self, name, values)
        for name in ("mass_formed", "mh_sigma"):
            if (columns[name] < 0).any():
                raise ValueError(f"{name} must not be negative, got {columns[name].min():g}.")
        if not columns["mass_formed"].any():
            raise ValueError("mass_formed is 0 everywhere; give at least one population a mass.")
        if self.mh_grid is not None:
            object.__setattr__(self, "mh_grid", _check_grid(self.mh_grid))
        if not (isinstance(self.mh_step, int | float) and 0.0 < self.mh_step < math.inf):
            raise ValueError(f"mh_step must be positive (dex), got {self.mh_step!r}.")

    @classmethod
    def from_grid(cls, log_age: Any, mh: Any, mass_formed: Any) -> "CompositePopulation":
        """Make populations of a grid of masses, such as ``metallicity_weights`` gives.

        Parameters
        ----------
        log_age : array-like (N_age,)
        mh : array-like (N_mh,)
        mass_formed : array-like (N_age, N_mh)
            Mass formed at each age and [M/H], Msun. Where it is 0 no population is made.

        Raises
        ------
        ValueError
            For shapes that do not agree.

        Examples
        --------
        >>> import pymc_starpop as psp
        >>> len(psp.CompositePopulation.from_grid([9.0, 10.0], [-1.0, 0.0], [[0, 1e5], [2e5, 0]]))
        2
        """
        age, metallicity = np.atleast_1d(log_age), np.atleast_1d(mh)
        mass = np.asarray(mass_formed, dtype=float)
        if mass.shape != (age.size, metallicity.size):
            raise ValueError(
                f"mass_formed must have shape (N_age, N_mh) = {(age.size, metallicity.size)}, got "
                f"{mass.shape}."
            )
        i, j = np.nonzero(mass)
        return cls(age[i], metallicity[j], mass[i, j])

    def __len__(self) -> int:
        return int(self.mass_formed.size)

    @property
    def total_mass(self) -> float:
        """Mass formed in all populations, Msun."""
        return float(self.mass_formed.sum())

    def with_masses(self, mass_formed: np.ndarray) -> "CompositePopulation":
        """Return the same populations with other masses (K,), Msun."""
        return replace(self, mass_formed=mass_formed)


def as_population(sfh: Any) -> CompositePopulation:
    """Return a composite population from itself or from a mapping of its arguments."""
    if isinstance(sfh, CompositePopulation):
        return sfh
    if not isinstance(sfh, Mapping):
        raise ValueError(
            f"sfh must be a CompositePopulation or a mapping with log_age, mh and mass_formed, got "
            f"{type(sfh).__name__}."
        )
    known = ("log_age", "mh", "mass_formed", "mh_sigma", "mh_grid", "mh_step")
    given = {str(name): value for name, value in sfh.items()}
    missing = [name for name in known[:3] if name not in given]
    unknown = [name for name in given if name not in known]
    if missing or unknown:
        raise ValueError(
            f"sfh must have log_age, mh and mass_formed, and may have {', '.join(known[3:])}; got "
            f"{', '.join(given)}."
        )
    if np.ndim(given["mass_formed"]) == 2:
        extra = [name for name in given if name not in known[:3]]
        if extra:
            raise ValueError(
                f"sfh: {extra[0]} does not go with masses (N_age, N_mh), which already say how the "
                f"metallicities spread."
            )
        return CompositePopulation.from_grid(**given)
    return CompositePopulation(**given)


def metallicity_nodes(
    sfh: CompositePopulation, index: int, limits: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Metallicities of the isochrones of one population, and how its mass is shared among them.

    Without a grid, each isochrone holds the part of the Gaussian that lies nearest to it; what
    lies outside the limits is shared among the others.

    Returns
    -------
    mh : ndarray (J,)
        [M/H], dex.
    share : ndarray (J,)
        Shares of the mass, adding to 1.
    lost : float
        Part of the Gaussian outside the limits.
    """
    mean, sigma = float(sfh.mh[index]), float(sfh.mh_sigma[index])
    if sigma == 0.0:
        return np.array([mean]), np.array([1.0]), 0.0
    lost = 0.0
    if sfh.mh_grid is not None:
        exponent = -0.5 * ((sfh.mh_grid - mean) / sigma) ** 2
        share, nodes = np.exp(exponent - exponent.max()), sfh.mh_grid
    else:
        half = int(np.ceil(4.5 * sigma / sfh.mh_step))
        nodes = mean + sfh.mh_step * np.arange(-half, half + 1)
        edges = 0.5 * (nodes[1:] + nodes[:-1])
        share = np.diff(np.concatenate([[0.0], ndtr((edges - mean) / sigma), [1.0]]))
        inside = (nodes >= limits[0]) & (nodes <= limits[1])
        if not inside.any():
            raise ValueError(
                f"mh={mean:g} with dispersion {sigma:g} lies outside the isochrones, "
                f"{limits[0]:g} to {limits[1]:g} dex."
            )
        lost = float(share[~inside].sum())
        nodes, share = nodes[inside], share[inside]
    kept = share > _LEAST_SHARE * share.sum()
    return nodes[kept], share[kept] / share[kept].sum(), lost


def _check_grid(grid: Any) -> np.ndarray:
    values = np.asarray(grid, dtype=float)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(
            f"mh_grid must be finite numbers in one dimension, got shape {values.shape}."
        )
    return values
