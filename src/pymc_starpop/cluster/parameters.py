"""What a cluster likelihood is built from: parameters that may be symbolic, and fixed options."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from pymc_starpop._namespace import NUMPY, Namespace
from pymc_starpop.field import FieldDensity, UniformField
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.corrections import Corrections, parts_of
from pymc_starpop.population.ages import ONE_AGE, AgeDistribution, AgeNodes, spread_nodes
from pymc_starpop.population.imf import InitialMassFunction, Kroupa
from pymc_starpop.stars.selection import MagnitudeLimits

__all__ = [
    "BY_BAND",
    "Axes",
    "ClusterOptions",
    "ClusterParameters",
    "SecondPopulation",
    "is_vector",
    "is_zero",
    "split_arguments",
]

# What the dimensions of a parameter of one cluster run along, where it is not a scalar: "band",
# "star", or a fixed number of entries.
Axes = tuple[str | int, ...]

# Parameters that may have one value for each band.
BY_BAND = ("intrinsic_scatter", "zero_points")
_AXES: dict[str, Axes] = {"av": ("star",), "intrinsic_scatter": ("band",), "zero_points": ("band",)}


@dataclass(frozen=True)
class SecondPopulation:
    """A second population of the cluster: what differs from the first one.

    Parameters
    ----------
    fraction : float or PyTensor scalar
        Share of the second population among all systems born with primaries in the mass range,
        0 to 1.
    feh, log_age, binary_fraction, mass_ratio_slope : float or PyTensor scalar, optional
        Its own [Fe/H] (dex), log10(age / yr), binary fraction and exponent of the mass-ratio
        distribution; those of the first population unless given.

    Raises
    ------
    ValueError
        Where nothing differs, and for arrays of two and more dimensions.

    Examples
    --------
    >>> SecondPopulation(0.3, feh=0.1).own()
    {'feh': 0.1}
    """

    fraction: Any
    feh: Any = None
    log_age: Any = None
    binary_fraction: Any = None
    mass_ratio_slope: Any = None

    def __post_init__(self) -> None:
        """Refuse a population that is the first one again."""
        if not self.own():
            raise ValueError(
                "SecondPopulation differs in nothing from the first; give it a feh, log_age, "
                "binary_fraction or mass_ratio_slope of its own"
            )
        for name, value in {"fraction": self.fraction, **self.own()}.items():
            ndim = value.ndim if hasattr(value, "ndim") else np.ndim(value)
            if ndim > 1:
                raise ValueError(
                    f"{name} of SecondPopulation must be one number or a PyTensor scalar, or a "
                    f"vector with one value for each cluster, got {value!r}; only two populations "
                    "can be fitted"
                )

    def own(self) -> dict[str, Any]:
        """Return the parameters that were given, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "fraction"}
        return {name: value for name, value in values.items() if value is not None}


# What holds parameters of its own.
_HOLDERS = (InitialMassFunction, Corrections, SecondPopulation)


@dataclass(frozen=True)
class ClusterParameters:
    """Parameters of a cluster; each a number or a PyTensor expression.

    Attributes
    ----------
    feh : [Fe/H], dex
    log_age : log10(age / yr); None where the options hold an age distribution
    distance_modulus, distance_pc : true distance modulus (mag) or distance (pc), one of them
    av, rv : extinction A_V (mag; one number, or one for each star) and R_V
    field_fraction : fraction of field stars among the cataloged stars
    binary_fraction : fraction of the born systems that are binaries
    mass_ratio_slope : exponent of the mass-ratio distribution
    intrinsic_scatter : scatter of the magnitudes around the isochrone, mag; scalar or (band,)
    av_scatter : standard deviation of A_V between stars, mag
    parallax_zero_point : added to the parallax that the distance predicts, mas
    zero_points : added to the magnitudes of the models, mag; scalar or (band,)
    distance_modulus_scatter : standard deviation of the distance modulus between stars, mag
    log_age_scatter : standard deviation of log10 age between stars, dex
    grey_scatter : standard deviation of a shift between stars common to all bands, mag
    log_teff_scatter : standard deviation of log10 T_eff between stars of one luminosity, dex
    second_population : what differs in a second population, or None
    imf : the mass function
    corrections : corrections of the models: None, one, or several that follow each other
    """

    feh: Any
    log_age: Any = None
    distance_modulus: Any = None
    distance_pc: Any = None
    av: Any = 0.0
    rv: Any = 3.1
    field_fraction: Any = 0.0
    binary_fraction: Any = 0.0
    mass_ratio_slope: Any = 0.0
    intrinsic_scatter: Any = 0.0
    av_scatter: Any = 0.0
    parallax_zero_point: Any = 0.0
    zero_points: Any = 0.0
    distance_modulus_scatter: Any = 0.0
    log_age_scatter: Any = 0.0
    grey_scatter: Any = 0.0
    log_teff_scatter: Any = 0.0
    second_population: SecondPopulation | None = None
    imf: InitialMassFunction = field(default_factory=Kroupa)
    corrections: Corrections | tuple[Corrections, ...] | None = None

    def axes(self) -> dict[str, Axes]:
        """Axes of the parameters that need not be scalars, by the names of `map_values`."""
        found = dict(_AXES)
        for index, part in enumerate(parts_of(self.corrections)):
            prefix = "corrections" if part is self.corrections else f"corrections.{index}"
            found |= {f"{prefix}.{name}": axes for name, axes in part.axes.items()}
        return found

    def true_distance_modulus(self, xp: Namespace = NUMPY) -> Any:
        """Return the distance modulus (mag), from whichever distance was given."""
        if self.distance_modulus is not None:
            return self.distance_modulus
        return 5.0 * xp.log(self.distance_pc) / math.log(10.0) - 5.0

    def populations(self) -> list[tuple[Any, "ClusterParameters"]]:
        """Return the share of the systems born in each population, and its parameters."""
        if self.second_population is None:
            return [(1.0, self)]
        fraction = self.second_population.fraction
        other = replace(self, **self.second_population.own())
        return [(1.0 - fraction, self), (fraction, other)]

    def ages(self, options: "ClusterOptions") -> tuple[AgeNodes, list[Any]]:
        """Return the isochrones that stand for the ages of a population, and their log ages.

        The log ages are those of `AgeNodes.places`.
        """
        if self.log_age is None:
            assert options.age_distribution is not None  # checked in split_arguments
            nodes = options.age_distribution.nodes()
            return nodes, list(nodes.places()[0])
        if is_zero(self.log_age_scatter):
            return ONE_AGE, [self.log_age]
        nodes = spread_nodes(options.age_nodes)
        return nodes, [self.log_age + x * self.log_age_scatter for x in nodes.places()[0]]

    def map_values(self, function: Callable[[str, Any], Any]) -> "ClusterParameters":
        """Return a copy with `function(name, value)` in place of every parameter that is given.

        Names of the parameters of the mass function, of the corrections and of the second
        population carry a prefix, such as ``imf.high_slope``; of a tuple, its index:
        ``imf.slopes.0``, ``corrections.1.coefficients``.
        """
        changes: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None:
                changes[f.name] = _mapped(f.name, value, function)
        return replace(self, **changes)


@dataclass(frozen=True)
class ClusterOptions:
    """Fixed choices of a cluster likelihood.

    Attributes
    ----------
    field : density of field stars; an array or tensor (N,) stands for `FieldDensity`
    selection : magnitude limits and completeness of the catalog, or None
    mass_min : lowest mass of the mass function, Msun
    eep_max : last EEP of the track
    binary_eep_max : last EEP at which a primary has a companion
    mass_ratio_min : lowest mass ratio of a binary
    mass_ratio_nodes : number of mass ratios in the integral over q
    node_pieces : pieces into which the segments of the isochrone are cut for binaries
    age_distribution : ages of the stars in place of ``log_age``, or None
    age_nodes : number of isochrones that stand for a spread of ages
    member_logp, field_logp : log densities of further data of each star, as a member and as a field
        star, numbers or an expression, or None
    """

    field: Any = field(default_factory=UniformField)
    selection: MagnitudeLimits | None = None
    mass_min: float = 0.1
    eep_max: int = 808
    binary_eep_max: int = 480
    mass_ratio_min: float = 0.1
    mass_ratio_nodes: int = 45
    node_pieces: int = 1
    age_distribution: AgeDistribution | None = None
    age_nodes: int = 9
    member_logp: Any = None
    field_logp: Any = None


def is_zero(value: Any) -> bool:
    """Whether a parameter is the number 0, so that its part of the model can be left out."""
    return isinstance(value, int | float | np.number) and value == 0


def split_arguments(
    arguments: dict[str, Any], grid: IsochroneGrid | None = None
) -> tuple[ClusterParameters, ClusterOptions]:
    """Sort keyword arguments into parameters and options, whose defaults are those of the grid.

    Raises
    ------
    TypeError
        For a missing or an unknown name, as for any function.
    """
    option_names = {f.name for f in fields(ClusterOptions)}
    options = {k: v for k, v in arguments.items() if k in option_names}
    parameters = {k: v for k, v in arguments.items() if k not in option_names}
    known = {f.name for f in fields(ClusterParameters)}
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise TypeError(
            f"unknown argument(s) {', '.join(unknown)}; parameters are {', '.join(sorted(known))}, "
            f"options are {', '.join(sorted(option_names))}"
        )
    if "feh" not in parameters:
        raise TypeError("missing argument feh, [Fe/H] in dex")
    if "log_age" not in parameters and options.get("age_distribution") is None:
        raise TypeError("missing argument log_age, log10(age / yr), or age_distribution")
    if "field" in options and is_vector(options["field"]):
        options["field"] = FieldDensity(options["field"])
    if isinstance(parameters.get("corrections"), list):
        parameters["corrections"] = tuple(parameters["corrections"])
    if isinstance(grid, IsochroneGrid):
        options = grid.option_defaults | options
    return ClusterParameters(**parameters), ClusterOptions(**options)


def is_vector(field: Any) -> bool:
    """Whether a field was given as log densities of the stars."""
    if isinstance(field, list | tuple) and any(hasattr(entry, "log_density") for entry in field):
        return False
    return isinstance(field, np.ndarray | list | tuple) or hasattr(field, "owner")


def _mapped(name: str, value: Any, function: Callable[[str, Any], Any]) -> Any:
    """Return what `function` makes of a parameter, or of those that a value holds."""
    if isinstance(value, tuple):
        return tuple(_mapped(f"{name}.{i}", v, function) for i, v in enumerate(value))
    if not isinstance(value, _HOLDERS):
        return function(name, value)
    holder: Any = value
    names = getattr(holder, "_parameters", None) or [f.name for f in fields(holder)]
    own = {key: getattr(holder, key) for key in names}
    given = {key: part for key, part in own.items() if part is not None}
    changes = {key: _mapped(f"{name}.{key}", part, function) for key, part in given.items()}
    return replace(holder, **changes)
