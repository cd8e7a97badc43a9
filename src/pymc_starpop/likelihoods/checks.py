"""Refusal of parameters, priors and catalogs that could only give wrong numbers."""

import os
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
from pytensor import tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors, explicit_graph_inputs
from pytensor.tensor.random.op import RNGConsumerOp

from pymc_starpop.ages import AgeDistribution
from pymc_starpop.corrections import EmpiricalCorrections
from pymc_starpop.imf import InitialMassFunction
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.parameters import (
    ClusterOptions,
    ClusterParameters,
    SecondPopulation,
    is_zero,
)
from pymc_starpop.photometry import StarCatalog
from pymc_starpop.selection import MagnitudeLimits

__all__ = ["check_catalog", "check_cluster", "inside_support"]

_N_DRAW = 2000
_SEED = 20250101
# Above this share of a prior outside the grid the user is warned.
_TOLERATED = 0.01

# Frames that a warning passes over, to point at the line of the user.
_LIBRARIES = tuple(
    str(path) + os.sep for path in (Path(__file__).parents[1], Path(pm.__file__).parent)
)

_PARAMETERS = tuple(
    f.name
    for f in fields(ClusterParameters)
    if f.name not in ("imf", "corrections", "second_population")
)

Range = tuple[float, float]


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
        "fraction": ((0.0, 1.0), "a fraction"),
    }


def named_values(p: ClusterParameters) -> list[tuple[str, str, Any]]:
    """Return label, name in `parameter_ranges` and value of every parameter that was given."""
    found = [(name, name, getattr(p, name)) for name in _PARAMETERS]
    if p.second_population is not None:
        values = {"fraction": p.second_population.fraction, **p.second_population.own()}
        found += [(f"second_population.{name}", name, value) for name, value in values.items()]
    optional = ("distance_modulus", "distance_pc", "log_age")
    return [entry for entry in found if entry[2] is not None or entry[0] not in optional]


def inside_support(grid: IsochroneGrid, p: ClusterParameters, options: ClusterOptions) -> Any:
    """Whether every symbolic parameter lies in its range, as one boolean scalar."""
    inside: Any = pt.constant(np.array(True))
    ranges = parameter_ranges(grid)
    values = [(name, value) for _, name, value in named_values(p)]
    for _, member in p.populations():
        # The youngest and the oldest isochrone of a spread of ages.
        log_ages = member.ages(options)[1]
        values += [("log_age", log_ages[0]), ("log_age", log_ages[-1])]
    for name, value in values:
        (low, high), _ = ranges[name]
        if not isinstance(value, Variable):
            continue
        if np.isfinite(low):
            inside = inside & pt.all(value >= low)
        if np.isfinite(high):
            inside = inside & pt.all(value <= high)
    if p.corrections is not None and isinstance(p.corrections.msto_smooth, Variable):
        inside = inside & (p.corrections.msto_smooth > 0.0)
    return inside


def check_catalog(grid: IsochroneGrid, catalog: StarCatalog, options: ClusterOptions) -> None:
    """Check that the catalog fits the isochrones and the selection."""
    if not isinstance(catalog, StarCatalog):
        raise ValueError(
            f"catalog must be a StarCatalog, got {type(catalog).__name__}; make one with "
            "StarCatalog(mag, mag_err, bands=...) or StarCatalog.from_table(...)"
        )
    if not isinstance(grid, IsochroneGrid):
        raise ValueError(
            f"iso must be an IsochroneGrid, got {type(grid).__name__}; make one with "
            "psp.load_isochrones()"
        )
    selection, field = options.selection, options.field
    if not (selection is None or isinstance(selection, MagnitudeLimits)):
        raise ValueError(
            f"selection must be None or MagnitudeLimits, got {selection!r}; give "
            "psp.MagnitudeLimits(band, bright, faint)"
        )
    if not (hasattr(field, "log_density") or hasattr(field, "model_dependent")):
        raise ValueError(
            f"field must have a method log_density(catalog, selection), got {field!r}; give "
            "psp.UniformField(), another field model, or psp.FieldDensity(log densities)"
        )
    grid.check_bands(catalog.bands)
    if catalog.teff is not None and not grid.has_column("log_teff"):
        raise ValueError(
            "catalog has temperatures, but the isochrones have none; leave teff out of the catalog"
        )
    if selection is not None:
        selection.check(catalog)


def check_cluster(
    grid: IsochroneGrid, p: ClusterParameters, options: ClusterOptions, catalog: StarCatalog
) -> None:
    """Check the parameters that are numbers, the priors of the others, and the options."""
    _check_distance(p)
    _check_types(p)
    _check_options(grid, options)
    for amount in (p.av, p.av_scatter):
        grid.check_extinction(catalog.bands, amount, p.rv)
    _check_ages(grid, p, options)
    ranges = parameter_ranges(grid)
    lengths = {"intrinsic_scatter": "band", "zero_points": "band", "av": "star"}
    sizes = {"band": len(catalog.bands), "star": catalog.n_star}
    for label, name, value in named_values(p):
        limits, meaning = ranges[name]
        per = lengths.get(label)
        _check_shape(label, value, per, sizes.get(per or ""))
        number = constant_value(label, value)
        if number is not None:
            _check_number(label, number, limits, meaning)
        else:
            _check_prior(label, value, limits, meaning)


def _check_ages(grid: IsochroneGrid, p: ClusterParameters, options: ClusterOptions) -> None:
    """Check what can be known of the ages before any parameter has a value."""
    distribution = options.age_distribution
    if distribution is not None and not isinstance(distribution, AgeDistribution):
        raise ValueError(
            f"age_distribution must be None or an AgeDistribution, got {distribution!r}; give "
            "psp.AgeDistribution(log_age, weight)"
        )
    if distribution is not None and (p.log_age is not None or not is_zero(p.log_age_scatter)):
        raise ValueError(
            "give either log_age (with log_age_scatter for a spread of ages) or "
            "age_distribution, got both; they are alternatives"
        )
    if distribution is None and p.log_age is None:
        constant_value("log_age", p.log_age)
    low, high = grid.log_age_range
    for _, member in p.populations():
        ages = [a for a in member.ages(options)[1] if not isinstance(a, Variable)]
        outside = [a for a in ages if not low <= a <= high]
        if outside and len(ages) > 1:
            raise ValueError(
                f"a spread of ages needs isochrones at log_age {min(ages):.3f} to "
                f"{max(ages):.3f}, beyond those of the grid, {low:g} to {high:g}; lower the width "
                "or move the ages inward"
            )


def constant_value(name: str, value: Any) -> np.ndarray | None:
    """Return the value of a number or a constant, None for an expression."""
    if isinstance(value, Constant):
        return np.asarray(value.data, dtype=np.float64)
    if isinstance(value, Variable):
        return None
    if value is None or np.asarray(value).dtype.kind not in "iuf":
        raise ValueError(
            f"{name} must be a number or a PyTensor expression, got {value!r} of type "
            f"{type(value).__name__}; give a number, a random variable of the model, or leave "
            f"{name} out where it has a default"
        )
    return np.asarray(value, dtype=np.float64)


def _check_distance(p: ClusterParameters) -> None:
    given = [n for n in ("distance_modulus", "distance_pc") if getattr(p, n) is not None]
    if len(given) != 1:
        got = "both" if given else "neither"
        raise ValueError(
            f"give either distance_modulus (mag) or distance_pc (pc), got {got}; they are "
            "alternatives: distance_modulus = 5 log10(distance_pc) - 5"
        )


def _check_types(p: ClusterParameters) -> None:
    if not isinstance(p.imf, InitialMassFunction):
        raise ValueError(
            f"imf must be a mass function, got {p.imf!r}; give an instance such as psp.Kroupa()"
        )
    second = p.second_population
    if second is not None and not isinstance(second, SecondPopulation):
        raise ValueError(
            f"second_population must be None or a SecondPopulation, got {second!r}; give "
            "psp.SecondPopulation(fraction, feh=...)"
        )
    if p.corrections is not None and not isinstance(p.corrections, EmpiricalCorrections):
        raise ValueError(
            f"corrections must be None or EmpiricalCorrections, got {p.corrections!r}; give "
            "psp.EmpiricalCorrections() for the published ones"
        )
    if p.corrections is not None:
        for field in fields(p.corrections):  # numbers were checked when they were given
            constant_value(f"corrections.{field.name}", getattr(p.corrections, field.name))


def _check_shape(label: str, value: Any, per: str | None, size: int | None) -> None:
    ndim = value.ndim if isinstance(value, Variable) else np.ndim(value)
    if ndim == 0:
        return
    if per is None or ndim > 1:
        raise ValueError(
            f"{label} must be a scalar, got {ndim} dimension(s); index it, or build one likelihood "
            "for each cluster"
        )
    length = value.type.shape[0] if isinstance(value, Variable) else np.shape(value)[0]
    if length not in (None, size):
        raise ValueError(
            f"{label} has {length} values for {size} {per}s; give one number or one for each {per}"
        )


def _check_number(name: str, number: np.ndarray, limits: Range, meaning: str) -> None:
    low, high = limits
    # Written so that NaN fails too.
    if not np.all(np.isfinite(number) & (number >= low) & (number <= high)):
        unbounded = not (np.isfinite(low) or np.isfinite(high))
        expected = "a finite number" if unbounded else f"{low:g} to {high:g}"
        raise ValueError(
            f"{name}={number} is out of range: expected {expected} ({meaning}); give a number "
            "inside"
        )


def _check_prior(name: str, value: Variable, limits: Range, meaning: str) -> None:
    """Compare draws of a random parameter with its range."""
    low, high = limits
    if not (np.isfinite(low) or np.isfinite(high)) or not _can_be_drawn(value):
        return
    try:
        draws = np.asarray(pm.draw(value, _N_DRAW, random_seed=_SEED, mode="FAST_COMPILE"))
    except NotImplementedError:
        return  # pm.Flat and its like have a density but no draws
    outside = ~((draws >= low) & (draws <= high))
    share = float(np.mean(outside))
    span = f"its draws span {np.min(draws):g} to {np.max(draws):g}"
    if share == 1.0:
        raise ValueError(
            f"{name}: the prior of {value} lies outside {low:g} to {high:g} ({meaning}); {span}; "
            "move or bound the prior"
        )
    if share > _TOLERATED:
        warnings.warn(
            f"{name}: {100 * share:.0f} % of the prior of {value} lies outside {low:g} to "
            f"{high:g} ({meaning}), where the likelihood is 0; {span}; bound the prior to silence "
            "this warning",
            UserWarning,
            skip_file_prefixes=_LIBRARIES,
        )


def _can_be_drawn(value: Variable) -> bool:
    """Whether a variable follows from random variables and constants alone."""
    nodes = [v.owner for v in ancestors([value]) if v.owner is not None]
    if not any(isinstance(node.op, RNGConsumerOp) for node in nodes):
        return False
    return not list(explicit_graph_inputs([value]))


def _is_whole(value: Any, least: int) -> bool:
    """Whether a value is an integer, not below `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and int(value) >= least


def _check_options(grid: IsochroneGrid, options: ClusterOptions) -> None:
    first, last = int(grid.eep[0]), int(grid.eep[-1])
    lowest = grid.option_defaults["mass_min"]
    rules = {
        "mass_min": (
            lowest <= options.mass_min < 0.5,
            f"{lowest:g} to 0.5 Msun, where the models begin",
        ),
        "eep_max": (options.eep_max in grid.eep, f"a node of the isochrones, {first} to {last}"),
        "binary_eep_max": (
            options.binary_eep_max in grid.eep,
            f"a node of the isochrones, {first} to {last}",
        ),
        "mass_ratio_min": (0.0 < options.mass_ratio_min < 1.0, "between 0 and 1"),
        "mass_ratio_nodes": (
            _is_whole(options.mass_ratio_nodes, 2),
            "a whole number of at least 2",
        ),
        "node_pieces": (_is_whole(options.node_pieces, 1), "a whole number of at least 1"),
        "age_nodes": (
            _is_whole(options.age_nodes, 1) and options.age_nodes % 2 == 1,
            "an odd whole number",
        ),
    }
    for name, (valid, expected) in rules.items():
        if not valid:
            raise ValueError(
                f"{name}={getattr(options, name)} is not possible: expected {expected}; give such "
                f"a {name} or leave it out"
            )
    if options.eep_max < options.binary_eep_max:
        raise ValueError(
            f"eep_max={options.eep_max} is below binary_eep_max={options.binary_eep_max}; lower "
            "binary_eep_max too"
        )
