"""Initial mass functions: density, exact integrals, and draws.

Every mass function is a chain of pieces, each a power law or a lognormal, joined continuously. The
integrals are closed forms that keep their relative precision over intervals as short as a segment
of an isochrone, and work on NumPy arrays and, with ``xp``, on PyTensor tensors. Densities are
relative: any fixed normalization, so divide by ``integral`` over the range that you need.
"""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

from pymc_starpop.population.imf_base import (
    InitialMassFunction,
    PowerPiece,
    as_double,
    as_tuple,
    check_breaks,
    check_parameter,
    log_normal_piece,
    power_pieces,
)

__all__ = [
    "BrokenPowerLaw",
    "Chabrier",
    "InitialMassFunction",
    "Kroupa",
    "LogNormal",
    "PowerLaw",
    "Salpeter",
]


@dataclass(frozen=True)
class PowerLaw(InitialMassFunction):
    """One power law, dN/dM proportional to M^-slope.

    Parameters
    ----------
    slope : float or scalar tensor
        Positive for more low-mass stars; Salpeter's is 2.35.
    mass_min, mass_max : float
        Range for normalizations per mass formed, Msun.

    Raises
    ------
    ValueError
        If the slope is a number that is not finite, or the mass range is not ascending.

    Examples
    --------
    >>> float(PowerLaw(2.0).integral(1.0, 2.0))
    0.5
    """

    slope: Any
    _: KW_ONLY
    mass_min: float = 0.08
    mass_max: float = 100.0
    _parameters: ClassVar[tuple[str, ...]] = ("slope",)

    def __post_init__(self) -> None:
        check_parameter("slope", self.slope)
        self._check_mass_range()

    def _pieces(self, xp: Any) -> tuple[Any, ...]:
        return (PowerPiece(None, None, 0.0, 1.0, self.slope),)


@dataclass(frozen=True)
class Salpeter(PowerLaw):
    """Power law with the slope 2.35 of Salpeter (1955, ApJ 121, 161, eq. 5).

    Examples
    --------
    >>> Salpeter().slope
    2.35
    """

    slope: Any = 2.35


@dataclass(frozen=True)
class BrokenPowerLaw(InitialMassFunction):
    """Power laws dN/dM proportional to M^-slope that join continuously at break masses.

    Parameters
    ----------
    breaks : sequence of float or scalar tensor
        Masses of the breaks, Msun, ascending, at least one.
    slopes : sequence of float or scalar tensor
        One more than breaks, from low to high mass.
    mass_min, mass_max : float
        Range for normalizations per mass formed, Msun.

    Raises
    ------
    ValueError
        For a wrong number of slopes, breaks that are not positive and ascending, or slopes that
        are not finite. Tensors are not checked.

    Examples
    --------
    >>> imf = BrokenPowerLaw((0.08, 0.5), (0.3, 1.3, 2.3))
    >>> bool(imf.density(0.1) > imf.density(0.5))
    True
    """

    breaks: tuple[Any, ...]
    slopes: tuple[Any, ...]
    _: KW_ONLY
    mass_min: float = 0.08
    mass_max: float = 100.0
    _parameters: ClassVar[tuple[str, ...]] = ("breaks", "slopes")

    def __post_init__(self) -> None:
        object.__setattr__(self, "breaks", as_tuple("breaks", self.breaks))
        object.__setattr__(self, "slopes", as_tuple("slopes", self.slopes))
        if not self.breaks or len(self.slopes) != len(self.breaks) + 1:
            raise ValueError(
                f"slopes must hold one value more than breaks, and breaks at least one, got "
                f"{len(self.slopes)} slopes and {len(self.breaks)} breaks; "
                f"use PowerLaw for a single slope."
            )
        for index, slope in enumerate(self.slopes):
            check_parameter(f"slopes[{index}]", slope)
        check_breaks(self.breaks)
        self._check_mass_range()

    @property
    def break_masses(self) -> tuple[Any, ...]:
        """Masses (Msun) where the slope of the density jumps, ascending."""
        return self.breaks

    def _pieces(self, xp: Any) -> tuple[Any, ...]:
        return power_pieces(self.breaks, self.slopes, 0.0, xp)


@dataclass(frozen=True)
class Kroupa(InitialMassFunction):
    """Two power laws of Kroupa (2001, MNRAS 322, 231, eq. 2), for stars of 0.08 to 100 Msun.

    Parameters
    ----------
    low_slope : float or scalar tensor
        Slope below ``break_mass``, 1.3 +- 0.5.
    high_slope : float or scalar tensor
        Slope above ``break_mass``, 2.3 +- 0.3.
    break_mass : float or scalar tensor
        Msun.
    mass_min, mass_max : float
        Range for normalizations per mass formed, Msun.

    Raises
    ------
    ValueError
        If a number is not finite, the break is not positive, or the mass range is not ascending.

    Examples
    --------
    >>> imf = Kroupa(high_slope=2.7)
    >>> imf.break_masses
    (0.5,)
    """

    low_slope: Any = 1.3
    high_slope: Any = 2.3
    break_mass: Any = 0.5
    _: KW_ONLY
    mass_min: float = 0.08
    mass_max: float = 100.0
    _parameters: ClassVar[tuple[str, ...]] = ("low_slope", "high_slope", "break_mass")

    def __post_init__(self) -> None:
        check_parameter("low_slope", self.low_slope)
        check_parameter("high_slope", self.high_slope)
        check_parameter("break_mass", self.break_mass, positive=True)
        self._check_mass_range()

    @property
    def break_masses(self) -> tuple[Any, ...]:
        """Masses (Msun) where the slope of the density jumps, ascending."""
        return (self.break_mass,)

    def _pieces(self, xp: Any) -> tuple[Any, ...]:
        return power_pieces(self.break_masses, (self.low_slope, self.high_slope), 0.0, xp)


@dataclass(frozen=True)
class LogNormal(InitialMassFunction):
    """dN/dlog10 M proportional to exp(-(log10 M - log10 peak_mass)^2 / (2 sigma^2)).

    Parameters
    ----------
    peak_mass : float or scalar tensor
        Msun, where the number per unit of log M is highest.
    sigma : float or scalar tensor
        Standard deviation in log10 M, dex.
    mass_min, mass_max : float
        Range for normalizations per mass formed, Msun.

    Raises
    ------
    ValueError
        If a number is not positive and finite, or the mass range is not ascending.

    Examples
    --------
    >>> imf = LogNormal(peak_mass=0.2, sigma=0.5)
    >>> bool(imf.density(0.01) < imf.density(0.1))
    True
    """

    peak_mass: Any
    sigma: Any
    _: KW_ONLY
    mass_min: float = 0.08
    mass_max: float = 100.0
    _parameters: ClassVar[tuple[str, ...]] = ("peak_mass", "sigma")

    def __post_init__(self) -> None:
        check_parameter("peak_mass", self.peak_mass, positive=True)
        check_parameter("sigma", self.sigma, positive=True)
        self._check_mass_range()

    def _pieces(self, xp: Any) -> tuple[Any, ...]:
        return (log_normal_piece(None, self.peak_mass, self.sigma, xp),)


ChabrierKind = Literal["2003-single", "2003-system", "2001"]

# kind -> (peak mass, sigma, slope above the break). Chabrier (2003, PASP 115, 763): eq. 17 and
# Table 1 (single stars of the disk), eq. 18 (unresolved systems), both with x = 1.3 in dN/dlog M
# above 1 Msun, which is 2.3 in dN/dM. Chabrier (2001, ApJ 554, 1274): the lognormal form ("IMF2",
# xi(log m) = 0.141 exp(-(log m - log 0.1)^2 / (2 x 0.627^2))), used there up to 100 Msun; his
# two-segment power law and his exponential form are different fits to the same counts.
_CHABRIER: dict[str, tuple[float, float, float | None]] = {
    "2003-single": (0.079, 0.69, 2.3),
    "2003-system": (0.22, 0.57, 2.3),
    "2001": (0.1, 0.627, None),
}


@dataclass(frozen=True)
class Chabrier(InitialMassFunction):
    """Lognormal below 1 Msun and a power law above, joined continuously (Chabrier 2003).

    Parameters
    ----------
    kind : {"2003-single", "2003-system", "2001"}
        The published values: Chabrier (2003, PASP 115, 763) for single stars (eq. 17, Table 1)
        or for unresolved systems (eq. 18), or the lognormal form of Chabrier (2001, ApJ 554,
        1274), which holds at all masses and has no power law.
    peak_mass, sigma : float or scalar tensor, optional
        Msun and dex, as in `LogNormal`; the values of ``kind`` unless given.
    high_slope : float or scalar tensor, optional
        Slope of dN/dM above ``break_mass``; that of ``kind`` unless given.
    break_mass : float or scalar tensor
        Msun.
    mass_min, mass_max : float
        Range for normalizations per mass formed, Msun.

    Raises
    ------
    ValueError
        For an unknown kind, numbers that are not finite or not positive, or a mass range that is
        not ascending.

    Examples
    --------
    >>> Chabrier("2003-system").peak_mass
    0.22
    """

    kind: ChabrierKind = "2003-single"
    peak_mass: Any = None
    sigma: Any = None
    high_slope: Any = None
    break_mass: Any = 1.0
    _: KW_ONLY
    mass_min: float = 0.08
    mass_max: float = 100.0
    _parameters: ClassVar[tuple[str, ...]] = ("peak_mass", "sigma", "high_slope", "break_mass")

    def __post_init__(self) -> None:
        if self.kind not in _CHABRIER:
            raise ValueError(
                f"kind must be one of {', '.join(_CHABRIER)}, got {self.kind!r}; "
                f"for other values use LogNormal or BrokenPowerLaw."
            )
        names = ("peak_mass", "sigma", "high_slope")
        for name, published in zip(names, _CHABRIER[self.kind], strict=True):
            if getattr(self, name) is None:
                object.__setattr__(self, name, published)
        check_parameter("peak_mass", self.peak_mass, positive=True)
        check_parameter("sigma", self.sigma, positive=True)
        check_parameter("break_mass", self.break_mass, positive=True)
        if self.high_slope is not None:
            check_parameter("high_slope", self.high_slope)
        self._check_mass_range()

    @property
    def break_masses(self) -> tuple[Any, ...]:
        """Masses (Msun) where the slope of the density jumps, ascending."""
        return () if self.high_slope is None else (self.break_mass,)

    def _pieces(self, xp: Any) -> tuple[Any, ...]:
        if self.high_slope is None:
            return (log_normal_piece(None, self.peak_mass, self.sigma, xp),)
        edge = as_double(self.break_mass)
        low = log_normal_piece(edge, self.peak_mass, self.sigma, xp)
        high = PowerPiece(edge, None, low.log_density(edge, xp), edge, self.high_slope)
        return (low, high)
