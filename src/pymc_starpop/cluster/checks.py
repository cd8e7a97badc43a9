"""Refusal of numbers and options from which no likelihood and no simulation can be made.

What is symbolic is passed over here; `pymc_starpop.likelihoods.checks` looks at it.
"""

from dataclasses import fields
from typing import Any

import numpy as np

from pymc_starpop.cluster.parameters import (
    Axes,
    ClusterOptions,
    ClusterParameters,
    SecondPopulation,
    is_zero,
)
from pymc_starpop.field import InflatedScatterField
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.corrections import Corrections, parts_of
from pymc_starpop.isochrones.magnitudes import check_teff_slope
from pymc_starpop.population.ages import AgeDistribution
from pymc_starpop.population.imf import InitialMassFunction
from pymc_starpop.stars.colors import bands_of
from pymc_starpop.stars.selection import MagnitudeLimits

__all__ = [
    "Range",
    "check_corrections",
    "check_direction_bands",
    "check_number",
    "check_numbers",
    "check_options",
    "check_shape",
    "check_spread",
    "check_structure",
    "check_types",
    "number_of",
    "parameter_ranges",
    "ranged_values",
]

Range = tuple[float, float]

_ONE_FOR_ALL = (
    "one for all clusters; what differs between them are its parameters, tensors with a value for "
    "each"
)


def parameter_ranges(grid: IsochroneGrid) -> dict[str, tuple[Range, str]]:
    """Closed range in which each parameter has a likelihood, and the reason for it."""
    infinity = float("inf")
    return {
        "feh": (grid.feh_range, "dex, the range of the isochrones"),
        "log_age": (grid.log_age_range, "log10(age / yr), the range of the isochrones"),
        "distance_pc": ((1e-3, infinity), "pc"),
        "distance_modulus": ((-infinity, infinity), "mag"),
        "av": (grid.av_range, "mag, the range of the bolometric corrections"),
        "rv": ((1.0, 10.0), "A_V / E(B - V)"),
        "field_fraction": ((0.0, 1.0), "a fraction"),
        "binary_fraction": ((0.0, 1.0), "a fraction"),
        "mass_ratio_slope": ((-20.0, 20.0), "an exponent"),
        "intrinsic_scatter": ((0.0, infinity), "mag"),
        "av_scatter": ((0.0, infinity), "mag"),
        "parallax_zero_point": ((-infinity, infinity), "mas"),
        "zero_points": ((-infinity, infinity), "mag"),
        "distance_modulus_scatter": ((0.0, infinity), "mag"),
        "log_age_scatter": ((0.0, infinity), "dex"),
        "grey_scatter": ((0.0, infinity), "mag"),
        "log_teff_scatter": ((0.0, infinity), "dex"),
    }


def ranged_values(
    grid: IsochroneGrid, p: ClusterParameters
) -> list[tuple[str, Any, tuple[Range, str]]]:
    """Name, value and range of every parameter, those of a second population included.

    The distance that was not given is left out, and so is ``log_age`` where it is None.
    """
    ranges = parameter_ranges(grid)
    optional = ("distance_modulus", "distance_pc", "log_age")
    values = [
        (name, getattr(p, name), limits)
        for name, limits in ranges.items()
        if not (name in optional and getattr(p, name) is None)
    ]
    second = p.second_population
    if second is not None:
        values.append(("second_population.fraction", second.fraction, ((0.0, 1.0), "a fraction")))
        values += [(f"second_population.{n}", v, ranges[n]) for n, v in second.own().items()]
    return values


def number_of(name: str, value: Any) -> np.ndarray:
    """Return a parameter as floats; a ValueError where it is none."""
    if np.ma.is_masked(value):
        raise ValueError(
            f"{name} has masked entries, got {value!r}; give numbers, or leave {name} out where it "
            "has a default"
        )
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{name} must be numbers in rows of one length, got {value!r}; give each row as many"
        ) from error
    if value is None or array.dtype.kind not in "iuf":
        raise ValueError(
            f"{name} must be a number or a PyTensor expression, got {value!r} of type "
            f"{type(value).__name__}; give a number, a random variable of the model, or leave "
            f"{name} out where it has a default"
        )
    return array.astype(np.float64)


def check_structure(grid: IsochroneGrid, p: ClusterParameters, options: ClusterOptions) -> None:
    """Check what no number is: which parameters were given, types, options."""
    if not isinstance(grid, IsochroneGrid):
        raise ValueError(
            f"iso must be an IsochroneGrid, got {type(grid).__name__}; make one with "
            "psp.load_isochrones()"
        )
    _check_distance(p)
    _check_ages(p, options)
    check_types(p)
    check_options(grid, options)


def check_numbers(
    grid: IsochroneGrid,
    p: ClusterParameters,
    options: ClusterOptions,
    columns: tuple[str, ...],
    n_star: int,
) -> None:
    """Check a cluster all of whose parameters are numbers.

    Parameters
    ----------
    grid : IsochroneGrid
    p : ClusterParameters
    options : ClusterOptions
    columns : tuple of str
        K columns of the photometry: bands and colors.
    n_star : int
        Number of stars of the catalog.

    Raises
    ------
    ValueError
        For the first parameter or option that is not possible; the message names it.
    """
    check_structure(grid, p, options)
    bands = bands_of(columns)
    for name, value, (limits, meaning) in ranged_values(grid, p):
        number = _of_simulation(name, value)
        check_shape(name, number.shape, p.axes().get(name, ()), len(bands), n_star)
        check_number(name, number, limits, meaning)
    _check_held(p, len(bands), n_star)
    if isinstance(options.field, InflatedScatterField):
        _of_simulation("scale of InflatedScatterField", options.field.scale)
    check_spread(grid, p, options)
    check_direction_bands(grid, p, bands)
    selection = options.selection
    if selection is not None and selection.band not in columns:
        raise ValueError(
            f"selection is in the band {selection.band!r}, expected one of {', '.join(columns)}; "
            "add the band, or select in another"
        )


def check_direction_bands(
    grid: IsochroneGrid, p: ClusterParameters, bands: tuple[str, ...]
) -> None:
    """Check that it is known how bands change with extinction and T_eff, where stars differ so."""
    for amount in (p.av, p.av_scatter):
        grid.check_extinction(bands, amount, p.rv)
    if not is_zero(p.log_teff_scatter):
        check_teff_slope(grid, bands)


def check_shape(
    name: str, shape: tuple[int | None, ...], axes: Axes, n_band: int, n_star: int
) -> None:
    """Check the shape of a parameter, of which some lengths may be unknown (None)."""
    if not shape:
        return
    sizes = {"band": n_band, "star": n_star}
    if len(shape) == len(axes):
        expected = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in axes)
        if all(length in (None, n) for length, n in zip(shape, expected, strict=True)):
            return
        if len(axes) == 1 and isinstance(axes[0], str):
            raise ValueError(
                f"{name} has {shape[0]} values for {expected[0]} {axes[0]}s; give one number or "
                f"one for each {axes[0]}"
            )
        meaning = ", ".join(axis if isinstance(axis, str) else "entry" for axis in axes)
        raise ValueError(f"{name} has the shape {shape}, expected {expected}, by ({meaning})")
    may_be = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in axes)
    or_else = f" or have the shape {may_be}" if axes else ""
    raise ValueError(
        f"{name} must be a scalar{or_else}, got {len(shape)} dimension(s); index it, or give the "
        "catalogs of several clusters as StarCatalog.stack"
    )


def check_number(name: str, number: np.ndarray, limits: Range, meaning: str) -> None:
    """Check that a number lies in its range."""
    low, high = limits
    # Written so that NaN fails too.
    if not np.all(np.isfinite(number) & (number >= low) & (number <= high)):
        unbounded = not (np.isfinite(low) or np.isfinite(high))
        expected = "a finite number" if unbounded else f"{low:g} to {high:g}"
        raise ValueError(
            f"{name}={number} is out of range: expected {expected} ({meaning}); give a number "
            "inside"
        )


def check_options(grid: IsochroneGrid, options: ClusterOptions) -> None:
    """Check the fixed choices."""
    selection, field = options.selection, options.field
    if not (selection is None or isinstance(selection, MagnitudeLimits)):
        raise ValueError(
            f"selection must be None or MagnitudeLimits, got {selection!r}; give "
            "psp.MagnitudeLimits(band, bright, faint)"
        )
    is_model = hasattr(field, "log_density") or hasattr(field, "model_dependent")
    if isinstance(field, type) or not is_model:
        raise ValueError(
            f"field must be a model of field stars with a method log_density, or a vector of log "
            f"densities, got {field!r}; give psp.UniformField(), or to several clusters a mapping "
            "of models by name"
        )
    first, last = int(grid.eep[0]), int(grid.eep[-1])
    lowest = grid.option_defaults["mass_min"]
    nodes = f"a node of the isochrones, {first} to {last}"
    rules = {
        "mass_min": (
            _is_number(options.mass_min) and lowest <= options.mass_min < 0.5,
            f"{lowest:g} to 0.5 Msun, where the models begin",
        ),
        "eep_max": (_is_node(options.eep_max, grid), nodes),
        "binary_eep_max": (_is_node(options.binary_eep_max, grid), nodes),
        "mass_ratio_min": (
            _is_number(options.mass_ratio_min) and 0.0 < options.mass_ratio_min < 1.0,
            "between 0 and 1",
        ),
        "mass_ratio_nodes": (
            _is_whole(options.mass_ratio_nodes, 2),
            "a whole number of at least 2",
        ),
        "node_pieces": (_is_whole(options.node_pieces, 1), "a whole number of at least 1"),
        "age_nodes": (
            _is_whole(options.age_nodes, 1) and options.age_nodes % 2 == 1,
            "an odd whole number of at least 1",
        ),
        "age_distribution": (
            options.age_distribution is None
            or isinstance(options.age_distribution, AgeDistribution),
            "None or a psp.AgeDistribution",
        ),
    }
    for name, (valid, expected) in rules.items():
        if not valid:
            raise ValueError(
                f"{name}={getattr(options, name)} is not possible: expected {expected}; give "
                f"another {name} or leave it out"
            )
    if options.eep_max < options.binary_eep_max:
        raise ValueError(
            f"eep_max={options.eep_max} is below binary_eep_max={options.binary_eep_max}; lower "
            "binary_eep_max too"
        )


def _check_distance(p: ClusterParameters) -> None:
    given = [n for n in ("distance_modulus", "distance_pc") if getattr(p, n) is not None]
    if len(given) != 1:
        got = "both" if given else "neither"
        raise ValueError(
            f"give either distance_modulus (mag) or distance_pc (pc), got {got}; they are "
            "alternatives: distance_modulus = 5 log10(distance_pc) - 5"
        )


def _check_ages(p: ClusterParameters, options: ClusterOptions) -> None:
    if (p.log_age is None) == (options.age_distribution is None):
        got = "neither" if p.log_age is None else "both"
        raise ValueError(
            f"give either log_age, log10(age / yr), or age_distribution, got {got}; a distribution "
            "stands in place of one age"
        )
    if p.log_age is None and not is_zero(p.log_age_scatter):
        raise ValueError(
            "log_age_scatter is the spread around log_age, got one with an age_distribution; give "
            "the distribution its width, or log_age in its place"
        )


def check_types(p: ClusterParameters) -> None:
    """Check that no parameter is text or missing, and the types of what holds parameters."""
    if not isinstance(p.imf, InitialMassFunction):
        raise ValueError(
            f"imf must be a mass function, got {p.imf!r}; give an instance such as psp.Kroupa(), "
            f"{_ONE_FOR_ALL}"
        )
    check_corrections(p.corrections)
    if p.second_population is not None and not isinstance(p.second_population, SecondPopulation):
        raise ValueError(
            f"second_population must be None or SecondPopulation, got {p.second_population!r}; "
            f"give psp.SecondPopulation(fraction, feh=...), {_ONE_FOR_ALL}"
        )
    values = {f.name: getattr(p, f.name) for f in fields(p) if f.default is not None}
    if p.second_population is not None:
        own = p.second_population.own() | {"fraction": p.second_population.fraction}
        values |= {f"second_population.{name}": value for name, value in own.items()}
    for name, value in values.items():
        if value is None or isinstance(value, str):
            number_of(name, value)


def check_corrections(corrections: Any) -> None:
    """Check that corrections are such."""
    for part in parts_of(corrections):
        if not isinstance(part, Corrections):
            is_class = isinstance(part, type) and issubclass(part, Corrections)
            instance = f"an instance, {part.__name__}(...)" if is_class else "such"
            raise ValueError(
                f"corrections must be None, psp.Corrections such as EmpiricalCorrections or "
                f"MagnitudeCorrections, or a tuple of them, got {part!r}; give {instance}, or "
                f"psp.EmpiricalCorrections() for the published ones, {_ONE_FOR_ALL}"
            )


def _check_held(p: ClusterParameters, n_band: int, n_star: int) -> None:
    """Check the numbers that the mass function and the corrections hold."""
    axes = p.axes()

    def check(name: str, value: Any) -> Any:
        if name.startswith(("imf.", "corrections.")):
            number = _of_simulation(name, value)
            check_shape(name, number.shape, axes.get(name, ()), n_band, n_star)
            check_number(name, number, (-np.inf, np.inf), "of the models")
        return value

    p.map_values(check)


def _of_simulation(name: str, value: Any) -> np.ndarray:
    """Return a parameter of a simulation as floats; a ValueError where it is an expression."""
    if hasattr(value, "owner"):
        raise ValueError(
            f"{name} must be a number, from which simulations draw, got the expression {value}; "
            "give one, such as a draw or the mean of its posterior"
        )
    return number_of(name, value)


def check_spread(grid: IsochroneGrid, p: ClusterParameters, options: ClusterOptions) -> None:
    """Check that the isochrones reach far enough for a spread of ages, where that is numbers."""
    low, high = grid.log_age_range
    for _, member in p.populations():
        ages = [age for age in member.ages(options)[1] if not hasattr(age, "owner")]
        if len(ages) > 1 and not (low <= min(ages) and max(ages) <= high):
            name = "age_distribution" if member.log_age is None else "log_age_scatter"
            raise ValueError(
                f"{name} needs isochrones from log_age {min(ages):.3f} to {max(ages):.3f}, "
                f"expected them within {low:g} to {high:g}; give a smaller width or other ages"
            )


def _is_whole(value: Any, least: int) -> bool:
    """Whether a value is an integer, not below `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and int(value) >= least


def _is_node(value: Any, grid: IsochroneGrid) -> bool:
    """Whether a value is the number of a node of the isochrones."""
    return _is_number(value) and value in grid.eep


def _is_number(value: Any) -> bool:
    """Whether a value is a plain number."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
