"""Refusal of parameters, priors and catalogs that could only give wrong numbers."""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
from pytensor import tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors, explicit_graph_inputs
from pytensor.tensor.random.op import RNGConsumerOp

from pymc_starpop.cluster.checks import (
    Range,
    check_direction_bands,
    check_number,
    check_options,
    check_shape,
    check_spread,
    check_structure,
    number_of,
    ranged_values,
)
from pymc_starpop.cluster.parameters import (
    ClusterOptions,
    ClusterParameters,
    is_zero,
    split_arguments,
)
from pymc_starpop.field import ChiSquareField
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.corrections import parts_of
from pymc_starpop.kernels.pair_vectors import MOST_DIRECTIONS
from pymc_starpop.likelihoods.labels import few, without_labels
from pymc_starpop.likelihoods.slots import map_field_scale
from pymc_starpop.likelihoods.stars import FURTHER, further_data
from pymc_starpop.likelihoods.track import differs_between_stars, directions_of
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.colors import shared_bands

__all__ = [
    "OPTIONS_BY_NAME",
    "check_catalog",
    "check_priors",
    "check_values",
    "checked_cluster",
    "inside_support",
    "warn_if_degenerate",
]

# Options of which each cluster of a stack may have its own, as a mapping by names.
OPTIONS_BY_NAME = ("selection", "field", "age_distribution", *FURTHER)

_N_DRAW = 2000
_SEED = 20250101
# The arguments that make stars differ along the directions.
_SOURCES = {
    "av": "av_scatter", "distance": "distance_modulus_scatter", "grey": "grey_scatter",
    "teff": "log_teff_scatter", "age": "a spread of ages",
}  # fmt: skip
# Above this share of a prior outside the grid the user is warned.
_TOLERATED = 0.01

# Frames that a warning passes over, to point at the line of the user.
_LIBRARIES = tuple(
    str(path) + os.sep for path in (Path(__file__).parents[1], Path(pm.__file__).parent)
)


def inside_support(grid: IsochroneGrid, p: ClusterParameters, options: ClusterOptions) -> Any:
    """Whether every symbolic parameter lies in its range, as one boolean scalar."""
    inside: Any = pt.constant(np.array(True))
    values = [(value, limits) for _, value, (limits, _) in ranged_values(grid, p)]
    for _, member in p.populations():
        # The youngest and the oldest isochrone of a spread of ages.
        log_ages = member.ages(options)[1]
        values += [(log_ages[0], grid.log_age_range), (log_ages[-1], grid.log_age_range)]
    for value, (low, high) in values:
        if not isinstance(value, Variable):
            continue
        if np.isfinite(low):
            inside = inside & pt.all(value >= low)
        if np.isfinite(high):
            inside = inside & pt.all(value <= high)
    for part in parts_of(p.corrections):
        for name in part.positive:
            value = getattr(part, name)
            inside = inside & pt.all(value > 0.0) if isinstance(value, Variable) else inside
    return inside


def checked_cluster(
    iso: Any, catalog: Any, arguments: Mapping[str, Any]
) -> tuple[ClusterParameters, ClusterOptions]:
    """Check the arguments of a likelihood of one cluster and sort them.

    Parameters
    ----------
    iso : IsochroneGrid
    catalog : StarCatalog
    arguments : mapping
        As `pymc_starpop.cluster_logp` takes them.
    """
    _check_single(iso, catalog, arguments)
    p, options = split_arguments(without_labels(arguments, catalog), iso)
    check_catalog(iso, catalog, options)
    check_values(iso, p, options, catalog)
    check_priors(iso, p)
    warn_if_degenerate(p, [catalog])
    return p, options


def _check_single(iso: Any, catalog: Any, parameters: Mapping[str, Any]) -> None:
    """Refuse mappings by the name of a cluster with a catalog that is no stack."""
    if isinstance(catalog, Mapping | list | tuple):
        raise ValueError(
            f"catalog must be a StarCatalog or a StackedCatalog, got {type(catalog).__name__}; "
            'stack several catalogs with psp.StarCatalog.stack({"a": catalog, ...})'
        )
    given = {"iso": iso, **{name: parameters.get(name) for name in OPTIONS_BY_NAME}}
    for name, value in given.items():
        if isinstance(value, Mapping):
            raise ValueError(
                f"{name} is a mapping by cluster, but catalog is a {type(catalog).__name__}, which "
                "has no names of clusters; give the one value, or stack the catalogs with "
                'psp.StarCatalog.stack({"a": catalog, ...})'
            )


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
    check_options(grid, options)
    selection = options.selection
    grid.check_bands(catalog.model_bands)
    if catalog.teff is not None and not grid.has_column("log_teff"):
        raise ValueError(
            "catalog has temperatures, but the isochrones have none; leave teff out of the catalog"
        )
    if selection is not None:
        selection.check(catalog)


def check_values(
    grid: IsochroneGrid, p: ClusterParameters, options: ClusterOptions, catalog: StarCatalog
) -> None:
    """Check shapes, the parameters that are numbers, and the options."""
    check_structure(grid, p, options)
    ranged = ranged_values(grid, p)
    for name, value, _ in ranged:
        check_shape(
            name, _shape(value), p.axes().get(name, ()), len(catalog.model_bands), catalog.n_star
        )

    def check_held(name: str, value: Any) -> Any:
        """Refuse other shapes of what a mass function, corrections and the like hold."""
        if "." in name:
            axes = p.axes().get(name, ())
            check_shape(name, _shape(value), axes, len(catalog.model_bands), catalog.n_star)
        return value

    p.map_values(check_held)
    map_field_scale(options, check_held)
    for name in FURTHER:
        if getattr(options, name) is not None:
            further_data(name, getattr(options, name), catalog.n_star)
    check_spread(grid, p, options)
    _check_directions(p, options, catalog)
    numbers = [constant_value(name, value) for name, value, _ in ranged]
    check_direction_bands(grid, p, catalog.model_bands)
    for (name, _, (limits, meaning)), number in zip(ranged, numbers, strict=True):
        if number is not None:
            check_number(name, number, limits, meaning)
    _check_corrections(p.corrections)


def check_priors(grid: IsochroneGrid, p: ClusterParameters, clusters: Sequence[str] = ()) -> None:
    """Compare draws of the parameters that are random with their ranges.

    Vectors with an entry for each of some clusters are told by their length.
    """
    for name, value, (limits, meaning) in ranged_values(grid, p):
        if constant_value(name, value) is None:
            _check_prior(name, value, limits, meaning, clusters)


def _shape(value: Any) -> tuple[int | None, ...]:
    return value.type.shape if isinstance(value, Variable) else np.shape(value)


def _check_directions(p: ClusterParameters, options: ClusterOptions, catalog: StarCatalog) -> None:
    """Refuse more ways for stars to differ than there are kernels for."""
    names = [_SOURCES[direction.name] for direction in directions_of(p, options)]
    shared = [] if is_zero(p.intrinsic_scatter) else shared_bands(catalog.bands)
    bands = " and ".join(catalog.model_bands[b] for b in shared)
    # A displacement shares the direction of the scatter, but in flux they are two.
    apart = catalog.is_flux and differs_between_stars(p.av) and not is_zero(p.av_scatter)
    if differs_between_stars(p.av):
        names[:1] = ["an av of each star", "av_scatter"] if apart else ["an av of each star"]
    if len(names) + len(shared) > MOST_DIRECTIONS:
        held = [f"the intrinsic_scatter of {bands}, which several columns hold"] if shared else []
        other = "colors" if shared else "fluxes"
        remedy = f", or give magnitudes in place of {other}" if shared or apart else ""
        raise ValueError(
            f"stars differ in {len(names) + len(shared)} ways, by {', '.join(names + held)}, "
            f"expected {MOST_DIRECTIONS} at most; leave one out{remedy}"
        )
    if shared and isinstance(options.field, ChiSquareField):
        raise ValueError(
            f"ChiSquareField takes columns that scatter independently, but the intrinsic_scatter "
            f"of {bands} moves several columns; give magnitudes in place of colors, or "
            "psp.UniformField()"
        )


def warn_if_degenerate(p: ClusterParameters, catalogs: Sequence[StarCatalog]) -> None:
    """Warn of two fitted scatters of which the data can tell the sum of squares alone."""
    both = (p.distance_modulus_scatter, p.grey_scatter)
    fitted = all(isinstance(x, Variable) and not isinstance(x, Constant) for x in both)
    if fitted and all(catalog.parallax is None for catalog in catalogs):
        warnings.warn(
            "distance_modulus_scatter and grey_scatter are both fitted, and without parallaxes in "
            "the catalog only the sum of their squares is measured: how it is shared is the prior; "
            "give one of them alone, or one of them as a number, to silence this warning",
            UserWarning,
            skip_file_prefixes=_LIBRARIES,
        )


def constant_value(name: str, value: Any) -> np.ndarray | None:
    """Return the value of a number or a constant, None for an expression."""
    if isinstance(value, Constant):
        return np.asarray(value.data, dtype=np.float64)
    return None if isinstance(value, Variable) else number_of(name, value)


def _check_corrections(corrections: Any) -> None:
    """Check that the corrections hold numbers or expressions; their range was checked before."""
    for part in parts_of(corrections):
        for name, value in part.parameters().items():
            number = constant_value(f"corrections.{name}", value)
            if number is not None and not np.all(np.isfinite(number)):
                raise ValueError(f"corrections.{name} must be finite, got {value!r}; give numbers")


def _check_prior(
    name: str, value: Variable, limits: Range, meaning: str, clusters: Sequence[str] = ()
) -> None:
    """Compare draws of a random parameter with its range."""
    low, high = limits
    if not (np.isfinite(low) or np.isfinite(high)) or not _can_be_drawn(value):
        return
    try:
        draws = np.asarray(pm.draw(value, _N_DRAW, random_seed=_SEED, mode="FAST_COMPILE"))
    except NotImplementedError:
        return  # pm.Flat and its like have a density but no draws
    outside = ~((draws >= low) & (draws <= high))
    # Of a vector, the worst entry decides.
    shares = np.mean(outside, axis=0)
    share = float(np.max(shares))
    if share <= _TOLERATED:
        return
    if clusters and shares.shape == (len(clusters),):
        wrong = np.flatnonzero(shares == 1.0 if share == 1.0 else shares > _TOLERATED)
        named = few([repr(clusters[int(place)]) for place in wrong])
        name = f"cluster{'s' * (wrong.size > 1)} {named}: {name}"
        draws = draws[:, wrong]
    span = f"its draws span {np.min(draws):g} to {np.max(draws):g}"
    if share == 1.0:
        raise ValueError(
            f"{name}: the prior of {value} lies outside {low:g} to {high:g} ({meaning}); {span}; "
            "move or bound the prior"
        )
    up_to = "up to " if np.min(shares) < share else ""
    warnings.warn(
        f"{name}: {up_to}{100 * share:.0f} % of the prior of {value} lies outside {low:g} to "
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
