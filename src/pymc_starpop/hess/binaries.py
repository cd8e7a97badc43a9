"""Binary models: how stars are paired in systems that no telescope resolves.

A star whose mass lies outside the isochrone, too low or dead, gives no light, and its companion is
seen alone. The definitions are those of StarFormationHistories.jl (Garling et al. 2025).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_starpop.population.imf import InitialMassFunction

__all__ = [
    "BinaryModel",
    "MassRatioBinaries",
    "NoBinaries",
    "RandomBinaryPairs",
    "check_binaries",
    "is_number",
    "mean_initial_mass",
]


# As for the mass ratios of clusters. A slope of 20 leaves 1 % of the ratios below 0.8.
_STEEPEST = 20.0


@dataclass(frozen=True)
class NoBinaries:
    """Every system is a single star, its mass drawn from the mass function.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> round(psp.NoBinaries().systems_per_mass(psp.Kroupa()), 3)
    1.744
    """

    @property
    def fraction(self) -> float:
        """Fraction of the systems that are binaries."""
        return 0.0

    def systems_per_mass(self, imf: InitialMassFunction) -> float:
        """Systems formed per Msun formed: 1 / <M>."""
        return 1.0 / mean_initial_mass(imf)


@dataclass(frozen=True)
class RandomBinaryPairs:
    """Binaries of two stars that are both drawn from the mass function of single stars.

    Parameters
    ----------
    fraction : float
        Fraction f of the systems that are binaries, 0 to 1. There are 1 / (<M> (1 + f)) systems
        per Msun formed.

    Raises
    ------
    ValueError
        If the fraction is not between 0 and 1.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> round(psp.RandomBinaryPairs(0.5).systems_per_mass(psp.Kroupa()), 3)
    1.162
    """

    fraction: float

    def __post_init__(self) -> None:
        _check_fraction(self.fraction)

    def systems_per_mass(self, imf: InitialMassFunction) -> float:
        """Systems formed per Msun formed: 1 / (<M> (1 + f))."""
        return 1.0 / (mean_initial_mass(imf) * (1.0 + self.fraction))


@dataclass(frozen=True)
class MassRatioBinaries:
    """Binaries with a law for the mass ratio; the mass function is that of the system mass.

    A system of mass M, drawn from the mass function, is a single star of mass M or a pair of
    M1 = M / (1 + q) and M2 = q M1, where q has the density

        p(q) = (1 + slope) q^slope / (1 - q_min^(1 + slope)) on [q_min, 1],

    and 1 / (q ln(1 / q_min)) for a slope of -1.

    Parameters
    ----------
    fraction : float
        Fraction of the systems that are binaries, 0 to 1.
    mass_ratio_min : float
        Smallest mass ratio q_min, above 0 and below 1.
    slope : float
        Slope of the mass-ratio law, -20 to 20; 0 for uniform.

    Raises
    ------
    ValueError
        If the fraction, the smallest mass ratio or the slope is out of range.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> round(psp.MassRatioBinaries(0.5).systems_per_mass(psp.Kroupa()), 3)
    1.744
    """

    fraction: float
    mass_ratio_min: float = 0.1
    slope: float = 0.0

    def __post_init__(self) -> None:
        _check_fraction(self.fraction)
        if not (is_number(self.mass_ratio_min) and 0.0 < self.mass_ratio_min < 1.0):
            raise ValueError(
                f"mass_ratio_min must be above 0 and below 1, got {self.mass_ratio_min!r}; "
                f"0.1 is the usual choice."
            )
        if not (is_number(self.slope) and abs(self.slope) <= _STEEPEST):
            raise ValueError(
                f"slope must be a number from {-_STEEPEST:g} to {_STEEPEST:g}, got {self.slope!r}; "
                f"0 is uniform, and pairs of nearly equal stars have a mass_ratio_min near 1."
            )

    def systems_per_mass(self, imf: InitialMassFunction) -> float:
        """Systems formed per Msun formed: 1 / <M>, M the mass of a system."""
        return 1.0 / mean_initial_mass(imf)

    @property
    def width(self) -> float:
        """Range of ln q over which the law changes by much: that of all ratios, or a factor e."""
        exponent = abs(1.0 + self.slope)
        return min(-math.log(self.mass_ratio_min), 1.0 / exponent if exponent > 0.0 else math.inf)

    def mass_ratio_density(self, ratio: Any) -> np.ndarray:
        """Density p(q) of the mass ratios, 0 outside [q_min, 1]; shape of `ratio`."""
        q = np.asarray(ratio, dtype=float)
        inside = (q >= self.mass_ratio_min) & (q <= 1.0)
        power = np.where(inside, q, 1.0) ** self.slope
        return np.where(inside, power / self._power_integral(1.0), 0.0)

    def mass_ratio_cdf(self, ratio: Any) -> np.ndarray:
        """Probability of a mass ratio below `ratio`; shape of `ratio`."""
        q = np.clip(np.asarray(ratio, dtype=float), self.mass_ratio_min, 1.0)
        return self._power_integral(q) / self._power_integral(1.0)

    def mass_ratio_quantile(self, probability: Any) -> np.ndarray:
        """Mass ratio below which the law holds this probability; shape of `probability`."""
        u = np.asarray(probability, dtype=float)
        exponent, span = 1.0 + self.slope, -math.log(self.mass_ratio_min)
        if abs(exponent * span) < 1e-9:  # 1/q to that accuracy
            ratio = self.mass_ratio_min * np.exp(u * span)
        else:
            growth = np.log1p(u * math.expm1(exponent * span))
            ratio = self.mass_ratio_min * np.exp(growth / exponent)
        return np.clip(ratio, self.mass_ratio_min, 1.0)

    def _power_integral(self, upper: Any) -> np.ndarray:
        """Integral of q^slope from q_min to `upper`."""
        exponent = 1.0 + self.slope
        span = np.log(np.asarray(upper, dtype=float) / self.mass_ratio_min)
        if exponent == 0.0:
            return span
        return self.mass_ratio_min**exponent * np.expm1(exponent * span) / exponent


BinaryModel = NoBinaries | RandomBinaryPairs | MassRatioBinaries


def mean_initial_mass(imf: InitialMassFunction) -> float:
    """Mean mass <M> (Msun) over all stars formed, from ``imf.mass_min`` to ``imf.mass_max``."""
    limits = imf.mass_min, imf.mass_max
    return float(imf.mass_integral(*limits) / imf.integral(*limits))


def check_binaries(binaries: Any) -> BinaryModel:
    """Return a binary model, or raise where it is something else."""
    if not isinstance(binaries, BinaryModel):
        raise ValueError(
            f"binaries must be NoBinaries(), RandomBinaryPairs(fraction) or "
            f"MassRatioBinaries(fraction, ...), got {binaries!r}."
        )
    return binaries


def _check_fraction(fraction: Any) -> None:
    if not (is_number(fraction) and 0.0 <= fraction <= 1.0):
        raise ValueError(f"fraction of binaries must be a number from 0 to 1, got {fraction!r}.")


def is_number(value: Any) -> bool:
    """Whether this is one number, no text, truth value or array."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
