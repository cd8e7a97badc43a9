"""What the mass functions of `imf.py` share: pieces, moments, draws and checks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from scipy import special

from pymc_starpop._namespace import NUMPY, expm1_ratio

__all__ = [
    "InitialMassFunction",
    "LogNormalPiece",
    "PowerPiece",
    "as_double",
    "as_tuple",
    "check_breaks",
    "check_parameter",
    "log_normal_piece",
    "power_pieces",
]

# Gauss-Legendre rule on [0, 1]. Over less than one standard deviation of a Gaussian its error is
# below 1e-15 relative, where the difference of two erf would lose the digits of a short interval.
_RULE = np.polynomial.legendre.leggauss(8)
_NODES, _WEIGHTS = tuple((_RULE[0] + 1.0) / 2.0), tuple(_RULE[1] / 2.0)


@dataclass(frozen=True)
class PowerPiece:
    """amplitude (m / anchor)^-slope between ``lower`` and ``upper`` (None: no limit)."""

    lower: Any
    upper: Any
    log_amplitude: Any
    anchor: Any
    slope: Any

    def log_density(self, mass: Any, xp: Any) -> Any:
        """Logarithm of the density at masses."""
        return self.log_amplitude - self.slope * xp.log(mass / self.anchor)

    def integral(self, lower: Any, upper: Any, power: int, xp: Any) -> Any:
        """Integral of m^power density: f(lo) lo L (e^(gL) - 1)/(gL) with L = ln(hi/lo)."""
        log_ratio = xp.log1p((upper - lower) / lower)
        exponent = power + 1.0 - self.slope
        at_lower = xp.exp(self.log_density(lower, xp) + (power + 1.0) * xp.log(lower))
        return at_lower * log_ratio * expm1_ratio(exponent * log_ratio, xp)

    def quantile(self, fraction: np.ndarray, lower: float, upper: float) -> np.ndarray:
        """Masses below which there are these fractions of what lies between two masses."""
        exponent = 1.0 - self.slope
        log_ratio = math.log(upper / lower)
        if abs(exponent * log_ratio) < 1e-9:  # 1/m: uniform in ln m to that accuracy
            return lower * np.exp(fraction * log_ratio)
        if exponent > 0:  # expm1 of a large positive number may overflow: start from the upper end
            remainder = np.log1p((1.0 - fraction) * math.expm1(-exponent * log_ratio))
            return upper * np.exp(remainder / exponent)
        return lower * np.exp(np.log1p(fraction * math.expm1(exponent * log_ratio)) / exponent)


@dataclass(frozen=True)
class LogNormalPiece:
    """exp(log_amplitude) / m exp(-(ln m - center)^2 / (2 width^2)), natural logarithms."""

    lower: Any
    upper: Any
    log_amplitude: Any
    center: Any
    width: Any

    def log_density(self, mass: Any, xp: Any) -> Any:
        """Logarithm of the density at masses."""
        log_mass = xp.log(mass)
        deviation = (log_mass - self.center) / self.width
        return self.log_amplitude - log_mass - 0.5 * deviation * deviation

    def integral(self, lower: Any, upper: Any, power: int, xp: Any) -> Any:
        """Integral of m^power density, a Gaussian in ln m about center + power width^2."""
        center = self.center + power * self.width**2
        log_scale = self.log_amplitude + power * (self.center + 0.5 * power * self.width**2)
        log_ratio = xp.log1p((upper - lower) / lower)
        start = (xp.log(lower) - center) / self.width
        step = log_ratio / self.width
        quadrature = sum(
            weight * xp.exp(-0.5 * (start + node * step) ** 2)
            for node, weight in zip(_NODES, _WEIGHTS, strict=True)
        )
        root_half = math.sqrt(0.5)
        closed = math.sqrt(math.pi / 2.0) * (
            xp.erf((start + step) * root_half) - xp.erf(start * root_half)
        )
        narrow = step < 1.0
        return xp.exp(log_scale) * xp.where(narrow, log_ratio * quadrature, self.width * closed)

    def quantile(self, fraction: np.ndarray, lower: float, upper: float) -> np.ndarray:
        """Masses below which there are these fractions of what lies between two masses."""
        start = (math.log(lower) - self.center) / self.width
        stop = (math.log(upper) - self.center) / self.width
        # The normal CDF keeps its digits in the lower tail only, so mirror the upper half.
        if start + stop > 0:
            start, stop, fraction, sign = -stop, -start, 1.0 - fraction, -1.0
        else:
            sign = 1.0
        below, above = special.ndtr(start), special.ndtr(stop)
        deviation = sign * special.ndtri(below + fraction * (above - below))
        return np.clip(np.exp(self.center + self.width * deviation), lower, upper)


class InitialMassFunction:
    """Base of the mass functions; a subclass says of which pieces it consists.

    ``mass_min`` and ``mass_max`` (Msun) are the range over which the mass function counts all
    stars formed, for normalization per unit of mass formed. They do not truncate the density.
    """

    mass_min: float
    mass_max: float
    _parameters: ClassVar[tuple[str, ...]] = ()  # fields that may be tensors

    def _pieces(self, xp: Any) -> tuple[Any, ...]:
        raise NotImplementedError

    @property
    def break_masses(self) -> tuple[Any, ...]:
        """Masses (Msun) where the slope of the density jumps, ascending."""
        return ()

    def density(self, mass: Any, xp: Any = NUMPY) -> Any:
        """Return the relative number of stars per unit of initial mass.

        Parameters
        ----------
        mass : array or tensor
            Initial mass, Msun, positive, any shape.
        xp : Namespace
            The functions to use: NumPy's unless given.

        Returns
        -------
        array or tensor
            Shape of ``mass``, 1/Msun, with one fixed normalization.
        """
        mass = _as_array(mass, xp)
        *others, last = self._pieces(xp)
        log_density = last.log_density(mass, xp)
        for piece in reversed(others):
            below = mass < piece.upper
            log_density = xp.where(below, piece.log_density(mass, xp), log_density)
        return xp.exp(log_density)

    def integral(self, lower: Any, upper: Any, xp: Any = NUMPY) -> Any:
        """Return the integral of ``density`` from ``lower`` to ``upper``, 0 where upper <= lower.

        Parameters
        ----------
        lower, upper : array or tensor
            Ends of the intervals, Msun, positive, shapes that broadcast.
        xp : Namespace
            The functions to use: NumPy's unless given.

        Returns
        -------
        array or tensor
            The broadcast shape; exact to rounding for intervals of any length.

        Examples
        --------
        >>> from pymc_starpop.population.imf import Kroupa
        >>> imf = Kroupa()
        >>> round(float(imf.integral(0.5, 100.0) / imf.integral(0.08, 100.0)), 3)
        0.239
        """
        return self._moment(lower, upper, 0, xp)

    def mass_integral(self, lower: Any, upper: Any, xp: Any = NUMPY) -> Any:
        """Return the integral of mass times ``density``; arguments as in `integral`.

        Examples
        --------
        >>> from pymc_starpop.population.imf import Kroupa
        >>> imf = Kroupa()
        >>> mean = imf.mass_integral(0.08, 100.0) / imf.integral(0.08, 100.0)
        >>> round(float(mean), 2)
        0.57
        """
        return self._moment(lower, upper, 1, xp)

    def sample(self, n: int, lower: float, upper: float, rng: np.random.Generator) -> np.ndarray:
        """Draw masses from the density between two limits by the exact inverse distribution.

        Parameters
        ----------
        n : int
            Number of draws.
        lower, upper : float
            Limits, Msun, 0 < lower < upper.
        rng : numpy.random.Generator
            Source of the draws.

        Returns
        -------
        ndarray
            Shape (n,), Msun.

        Raises
        ------
        ValueError
            For limits that are not 0 < lower < upper, and for parameters that are tensors.

        Examples
        --------
        >>> from pymc_starpop.population.imf import Salpeter
        >>> Salpeter().sample(3, 1.0, 10.0, np.random.default_rng(1)).shape
        (3,)
        """
        if not 0 < lower < upper < math.inf:
            raise ValueError(
                f"lower and upper must be finite with 0 < lower < upper (Msun), "
                f"got lower={lower}, upper={upper}; give the smaller mass first."
            )
        pieces = self._numeric_pieces()
        ends = [_inside_piece(piece, lower, upper, NUMPY) for piece in pieces]
        weights = np.array(
            [float(p.integral(lo, hi, 0, NUMPY)) for p, (lo, hi) in zip(pieces, ends, strict=True)]
        )
        chosen = rng.choice(len(pieces), size=n, p=weights / weights.sum())
        fraction = rng.random(n)
        masses = np.empty(n)
        for index, (piece, (lo, hi)) in enumerate(zip(pieces, ends, strict=True)):
            here = chosen == index
            if here.any():
                masses[here] = piece.quantile(fraction[here], float(lo), float(hi))
        return np.clip(masses, lower, upper)

    def _moment(self, lower: Any, upper: Any, power: int, xp: Any) -> Any:
        lower, upper = _as_array(lower, xp), _as_array(upper, xp)
        # At upper == lower the derivative to each end is the density, as for a short interval.
        upper = xp.where(upper >= lower, upper, lower)
        total = 0.0
        for piece in self._pieces(xp):
            start, stop = _inside_piece(piece, lower, upper, xp)
            total = total + piece.integral(start, stop, power, xp)
        return total

    def _numeric_pieces(self) -> tuple[Any, ...]:
        for name in self._parameters:
            values = getattr(self, name)
            for value in values if isinstance(values, tuple) else (values,):
                if value is not None and not _is_number(value):
                    raise ValueError(
                        f"{name} of {type(self).__name__} must be a number to draw masses, got "
                        f"{type(value).__name__}; replace it with dataclasses.replace first."
                    )
        return self._pieces(NUMPY)

    def _check_mass_range(self) -> None:
        if not 0 < self.mass_min < self.mass_max < math.inf:
            raise ValueError(
                f"mass_min and mass_max must be finite with 0 < mass_min < mass_max (Msun), got "
                f"mass_min={self.mass_min}, mass_max={self.mass_max}; swap or change them."
            )


def power_pieces(
    breaks: tuple[Any, ...], slopes: tuple[Any, ...], log_amplitude: Any, xp: Any
) -> tuple[PowerPiece, ...]:
    """Continuous power laws; the density at the first break is exp(log_amplitude)."""
    breaks = tuple(as_double(value) for value in breaks)
    pieces = [PowerPiece(None, breaks[0], log_amplitude, breaks[0], slopes[0])]
    uppers = (*breaks[1:], None)
    for lower, upper, slope in zip(breaks, uppers, slopes[1:], strict=True):
        log_amplitude = pieces[-1].log_density(lower, xp)
        pieces.append(PowerPiece(lower, upper, log_amplitude, lower, slope))
    return tuple(pieces)


def log_normal_piece(upper: Any, peak_mass: Any, sigma: Any, xp: Any) -> LogNormalPiece:
    """Return a lognormal with a peak in dN/dlog10 M (Msun) and a standard deviation in dex."""
    center = xp.log(as_double(peak_mass))
    return LogNormalPiece(None, upper, 0.0, center, as_double(sigma) * math.log(10.0))


def _inside_piece(piece: Any, lower: Any, upper: Any, xp: Any) -> tuple[Any, Any]:
    """Clip an interval to a piece.

    An end exactly on a break belongs to one piece only, or its automatic gradient would count
    twice there (or not at all).
    """
    return _clip_mass(piece, lower, xp), _clip_mass(piece, upper, xp)


def _clip_mass(piece: Any, mass: Any, xp: Any) -> Any:
    if piece.upper is not None:
        mass = xp.where(mass < piece.upper, mass, piece.upper)
    if piece.lower is not None:
        mass = xp.where(mass < piece.lower, piece.lower, mass)
    return mass


def _as_array(mass: Any, xp: Any) -> Any:
    known = (int, float, list, tuple, np.number, np.ndarray)
    return np.asarray(mass, dtype=float) if xp is NUMPY or isinstance(mass, known) else mass


def as_double(value: Any) -> Any:
    """Turn a number into float64; PyTensor takes log(0.5) of a Python float in single precision."""
    return np.float64(value) if _is_number(value) else value


def _is_number(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return bool(value.ndim == 0 and np.issubdtype(value.dtype, np.number))
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def check_parameter(name: str, value: Any, positive: bool = False) -> None:
    """Numbers must be finite (and positive); tensors pass unchecked.

    Tensors are scalars, or vectors with one value for each of several clusters.
    """
    if not _is_number(value):
        if isinstance(value, np.ndarray) or getattr(value, "ndim", None) not in (0, 1):
            raise ValueError(
                f"{name} must be a number, a scalar tensor, or for several clusters a tensor with "
                f"one value for each, got {value!r}; give one value, or one mass function per "
                f"population."
            )
        return
    if not math.isfinite(value) or (positive and value <= 0):
        expected = "positive and finite" if positive else "finite"
        raise ValueError(f"{name} must be {expected}, got {value}; change it or leave it out.")


def check_breaks(breaks: tuple[Any, ...]) -> None:
    """Break masses must be positive and ascending; tensors pass unchecked."""
    for index, value in enumerate(breaks):
        check_parameter(f"breaks[{index}]", value, positive=True)
    numeric = [float(value) for value in breaks if _is_number(value)]
    if any(high <= low for low, high in pairwise(numeric)):
        raise ValueError(
            f"breaks must ascend (Msun), got {numeric}; sort them and their slopes together."
        )


def as_tuple(name: str, values: Any) -> tuple[Any, ...]:
    """Any sequence as a tuple; a single value is a ValueError."""
    # A tensor says that it can be iterated over, but its length is not known here.
    is_array = isinstance(values, np.ndarray)
    if isinstance(values, str) or not (is_array or isinstance(values, Sequence)):
        raise ValueError(
            f"{name} must be a sequence of numbers or scalar tensors, got {values!r}; "
            f"write a tuple, ({values!r},) for a single one and (x[0], x[1]) for a vector x."
        )
    return tuple(values)
