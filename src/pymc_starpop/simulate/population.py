"""What a galaxy is made of: populations of one age or a range of ages, with metallicities."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pymc_starpop.hess.template_checks import check_numbers

__all__ = ["CompositePopulation", "as_population"]

_COLUMNS = ("log_age", "mh", "mass_formed")
_OPTIONS = ("mh_sigma", "mh_grid", "mh_step", "log_age_old", "age_step")


@dataclass(frozen=True, eq=False)
class CompositePopulation:
    """Populations of one age or of a range of ages, their metallicities and the masses formed.

    Parameters
    ----------
    log_age : array-like (K,)
        log10(age / yr) of each population; with ``log_age_old`` the age of its youngest stars.
    mh : array-like (K,) or callable
        Mean metallicity [M/H] of each, dex. A function takes ages (N,) in Gyr and returns as many
        metallicities: [M/H] then follows the age of the stars inside each range of ages, and ``mh``
        of the object holds its values at the middle of the ranges, in time.
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
        Spacing of the isochrones that stand for the Gaussian, dex. In a range of ages each age has
        isochrones up to half a dispersion apart, shifted from age to age, so that all together
        are as fine as that.
    log_age_old : float or array-like (K,), optional
        Age of the oldest stars of each population, log10(age / yr); stars form at a constant rate
        from there to ``log_age``. By default all have the age ``log_age``.
    age_step : float
        Spacing of the isochrones that stand for a range of ages, dex. A star has an age of its
        own, and the magnitudes of the nearest isochrone. With errors of 0.02 mag and one [M/H] the
        diagram of a bin of 0.1 dex is off by at most 0.15 % of its stars (0.23 % of those above the
        turn-off) at the default, by a fifth of that at half of it.

    Attributes
    ----------
    mh_of_age : callable or None
        The function of the age, where ``mh`` was one.

    Raises
    ------
    ValueError
        For lengths that differ, values that are not finite, negative masses or dispersions, and
        ranges of ages that end before they begin.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> sfh = psp.CompositePopulation([9.0, 10.0], [-0.5, -1.2], [1e5, 4e5], mh_sigma=0.1)
    >>> len(sfh), sfh.total_mass
    (2, 500000.0)

    The same masses formed from 1 to 1.26 and from 10 to 12.6 Gyr ago, with [M/H] that rises:

    >>> sfh = psp.CompositePopulation([9.0, 10.0], lambda t: -0.4 - 0.08 * t, [1e5, 4e5],
    ...                               mh_sigma=0.1, log_age_old=[9.1, 10.1])
    >>> sfh.mh.round(2)
    array([-0.49, -1.3 ])
    """

    log_age: np.ndarray
    mh: Any
    mass_formed: np.ndarray
    mh_sigma: Any = 0.0
    mh_grid: np.ndarray | None = None
    mh_step: float = 0.02
    log_age_old: Any = None
    age_step: float = 0.01
    mh_of_age: Callable[[np.ndarray], Any] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._set_columns(("log_age", "mass_formed"))
        n = len(self)
        for name, default in (("mh_sigma", 0.0), ("log_age_old", self.log_age)):
            values = getattr(self, name)
            values = np.asarray(default if values is None else values, dtype=float)
            object.__setattr__(
                self, name, np.full(n, float(values)) if values.ndim == 0 else values
            )
        self._set_columns(("log_age", "mh_sigma", "log_age_old"))
        if (self.log_age_old < self.log_age).any():
            k = int(np.argmax(self.log_age_old < self.log_age))
            raise ValueError(
                f"log_age_old must not be below log_age, got {self.log_age_old[k]:g} and "
                f"{self.log_age[k]:g}; log_age is the age of the youngest stars."
            )
        if callable(self.mh):
            object.__setattr__(self, "mh_of_age", self.mh)
            object.__setattr__(self, "mh", self._evaluate(self._middle()))
        self._set_columns(_COLUMNS)
        for name in ("mass_formed", "mh_sigma"):
            if (getattr(self, name) < 0).any():
                raise ValueError(f"{name} must not be negative, got {getattr(self, name).min():g}.")
        if not self.mass_formed.any():
            raise ValueError("mass_formed is 0 everywhere; give at least one population a mass.")
        if self.mh_grid is not None:
            object.__setattr__(self, "mh_grid", check_numbers("mh_grid", self.mh_grid))
        for name in ("mh_step", "age_step"):
            step = getattr(self, name)
            if not (isinstance(step, int | float) and 0.0 < step < math.inf):
                raise ValueError(f"{name} must be positive (dex), got {step!r}.")

    def _set_columns(self, names: tuple[str, ...]) -> None:
        """Make arrays of some arguments and check them."""
        n = np.size(self.mass_formed)
        for name in names:
            values = np.atleast_1d(np.asarray(getattr(self, name), dtype=float))
            if values.shape != (n,) or n == 0:
                raise ValueError(
                    f"{name} must have one value for each of {n} populations, got shape "
                    f"{values.shape}; CompositePopulation.from_grid takes masses (N_age, N_mh)."
                )
            if not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite, got {values[~np.isfinite(values)][0]}.")
            object.__setattr__(self, name, values)

    def _middle(self) -> np.ndarray:
        """Ages (K,) in the middle of the ranges, Gyr."""
        return np.asarray(0.5 * (10.0 ** (self.log_age - 9.0) + 10.0 ** (self.log_age_old - 9.0)))

    def _evaluate(self, age_gyr: np.ndarray) -> np.ndarray:
        """Mean [M/H] (N,) at ages (N,) in Gyr, from the function."""
        assert self.mh_of_age is not None
        values = np.asarray(self.mh_of_age(age_gyr), dtype=float)
        if values.shape not in (age_gyr.shape, ()) or not np.isfinite(values).all():
            raise ValueError(
                f"mh must return one finite number for each of {age_gyr.size} ages, got "
                f"{values.size} numbers, {np.isfinite(values).sum()} of them finite."
            )
        return np.broadcast_to(values, age_gyr.shape).copy()

    def mean_mh(self, index: int, log_age: np.ndarray) -> np.ndarray:
        """Mean [M/H] (N,), dex, of stars of one population at ages (N,), log10(age / yr)."""
        if self.mh_of_age is None:
            return np.full(log_age.shape, self.mh[index])
        return self._evaluate(10.0 ** (log_age - 9.0))

    @classmethod
    def from_grid(
        cls, log_age: Any, mh: Any, mass_formed: Any, log_age_old: Any = None, **options: Any
    ) -> "CompositePopulation":
        """Make populations of a grid of masses, such as ``metallicity_weights`` gives.

        Parameters
        ----------
        log_age : array-like (N_age,)
        mh : array-like (N_mh,)
        mass_formed : array-like (N_age, N_mh)
            Mass formed at each age and [M/H], Msun. Where it is 0 no population is made.
        log_age_old : array-like (N_age,), optional
            Ages to which the populations reach, as in the class.
        **options
            ``age_step``, as in the class.

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
        if log_age_old is not None:
            old = np.asarray(log_age_old, dtype=float)
            if old.shape != age.shape:
                raise ValueError(
                    f"log_age_old must have shape (N_age,) = {age.shape}, got {old.shape}."
                )
            log_age_old = old[i]
        return cls(age[i], metallicity[j], mass[i, j], log_age_old=log_age_old, **options)

    @classmethod
    def from_bins(
        cls, age_edges_gyr: Any, mass_formed: Any, mh: Any, mh_sigma: Any = 0.0, **options: Any
    ) -> "CompositePopulation":
        """Make populations of neighboring age bins, each with a constant rate.

        Parameters
        ----------
        age_edges_gyr : array-like (K + 1,)
            Edges of the bins, Gyr, ascending and positive; ``tmpl.age_edges()`` are those of
            templates.
        mass_formed : array-like (K,)
            Mass formed in each bin, Msun.
        mh : float, array-like (K,) or callable
            Mean [M/H], dex: of all, of each bin, or as a function of the age in Gyr.
        mh_sigma : float or array-like (K,)
            Gaussian dispersion of [M/H], dex.
        **options
            ``mh_grid``, ``mh_step`` and ``age_step``, as in the class.

        Raises
        ------
        ValueError
            For edges that are not positive or do not ascend, a number of masses that does not go
            with them, and what the class refuses.

        Examples
        --------
        >>> import numpy as np, pymc_starpop as psp
        >>> edges = np.array([0.1, 1.0, 5.0, 13.0])
        >>> sfh = psp.CompositePopulation.from_bins(
        ...     edges, 1e5 * np.diff(edges), lambda t: -0.3 - 0.1 * t, mh_sigma=0.1
        ... )
        >>> sfh.log_age_old.round(2), sfh.mh.round(3)
        (array([ 9.  ,  9.7 , 10.11]), array([-0.355, -0.6  , -1.2  ]))
        """
        edges = np.asarray(age_edges_gyr, dtype=float)
        n = np.size(mass_formed)
        if edges.shape != (n + 1,) or not (np.isfinite(edges).all() and (edges > 0).all()):
            raise ValueError(
                f"age_edges_gyr must be {n + 1} positive numbers for {n} masses, got "
                f"{edges.tolist() if edges.size < 5 else edges.shape}; begin the youngest bin at "
                f"the youngest isochrone, not at 0."
            )
        if not (np.diff(edges) > 0).all():
            raise ValueError("age_edges_gyr must ascend, from young to old; sort them.")
        log_age = np.log10(edges) + 9.0
        if not callable(mh) and np.ndim(mh) == 0:
            mh = np.full(n, float(mh))
        return cls(
            log_age[:-1], mh, np.atleast_1d(mass_formed), mh_sigma, log_age_old=log_age[1:],
            **options,
        )  # fmt: skip

    def __len__(self) -> int:
        return int(self.mass_formed.size)

    @property
    def total_mass(self) -> float:
        """Mass formed in all populations, Msun."""
        return float(self.mass_formed.sum())

    def with_masses(self, mass_formed: np.ndarray) -> "CompositePopulation":
        """Return the same populations with other masses (K,), Msun."""
        other = copy.copy(self)
        object.__setattr__(other, "mass_formed", mass_formed)
        other.__post_init__()
        return other


def as_population(sfh: Any) -> CompositePopulation:
    """Return a composite population from itself or from a mapping of its arguments."""
    if isinstance(sfh, CompositePopulation):
        return sfh
    if not isinstance(sfh, Mapping):
        raise ValueError(
            f"sfh must be a CompositePopulation or a mapping with log_age, mh and mass_formed, got "
            f"{type(sfh).__name__}."
        )
    given = {str(name): value for name, value in sfh.items()}
    missing = [name for name in _COLUMNS if name not in given]
    unknown = [name for name in given if name not in (*_COLUMNS, *_OPTIONS)]
    if missing or unknown:
        raise ValueError(
            f"sfh must have log_age, mh and mass_formed, and may have {', '.join(_OPTIONS)}; got "
            f"{', '.join(given)}."
        )
    if np.ndim(given["mass_formed"]) == 2:
        extra = [name for name in given if name.startswith("mh_")]
        if extra:
            raise ValueError(
                f"sfh: {extra[0]} does not go with masses (N_age, N_mh), which already say how the "
                f"metallicities spread."
            )
        return CompositePopulation.from_grid(**given)
    return CompositePopulation(**given)
