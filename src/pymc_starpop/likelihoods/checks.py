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

from pymc_starpop.corrections import EmpiricalCorrections
from pymc_starpop.imf import InitialMassFunction
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.parameters import ClusterOptions, ClusterParameters
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
    }


def inside_support(grid: IsochroneGrid, p: ClusterParameters) -> Any:
    """Whether every symbolic parameter lies in its range, as one boolean scalar."""
    inside: Any = pt.constant(np.array(True))
    for name, ((low, high), _) in parameter_ranges(grid).items():
        value = getattr(p, name)
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
    if not hasattr(field, "log_density"):
        raise ValueError(
            f"field must have a method log_density(catalog, selection), got {field!r}; give "
            "psp.UniformField()"
        )
    grid.bolometric(catalog.bands)
    if selection is not None:
        selection.check(catalog)


def check_cluster(
    grid: IsochroneGrid, p: ClusterParameters, options: ClusterOptions, bands: tuple[str, ...]
) -> None:
    """Check the parameters that are numbers, the priors of the others, and the options."""
    _check_distance(p)
    _check_types(p)
    _check_options(grid, options)
    for name, (limits, meaning) in parameter_ranges(grid).items():
        value = getattr(p, name)
        if value is None and name in ("distance_modulus", "distance_pc"):
            continue
        _check_shape(name, value, len(bands))
        number = constant_value(name, value)
        if number is not None:
            _check_number(name, number, limits, meaning)
        else:
            _check_prior(name, value, limits, meaning)


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
    if p.corrections is not None and not isinstance(p.corrections, EmpiricalCorrections):
        raise ValueError(
            f"corrections must be None or EmpiricalCorrections, got {p.corrections!r}; give "
            "psp.EmpiricalCorrections() for the published ones"
        )
    if p.corrections is not None:
        for field in fields(p.corrections):  # numbers were checked when they were given
            constant_value(f"corrections.{field.name}", getattr(p.corrections, field.name))


def _check_shape(name: str, value: Any, n_band: int) -> None:
    ndim = value.ndim if isinstance(value, Variable) else np.ndim(value)
    if ndim == 0 or (name == "intrinsic_scatter" and ndim == 1):
        if ndim == 1:
            length = value.type.shape[0] if isinstance(value, Variable) else np.shape(value)[0]
            if length not in (None, n_band):
                raise ValueError(
                    f"{name} has {length} values for {n_band} bands; give one number or one for "
                    "each band"
                )
        return
    raise ValueError(
        f"{name} must be a scalar, got {ndim} dimension(s); index it, or build one likelihood for "
        "each cluster"
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
    rules = {
        "mass_min": (0.1 <= options.mass_min < 0.5, "0.1 to 0.5 Msun, where the models begin"),
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
