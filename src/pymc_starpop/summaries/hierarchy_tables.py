"""What was found of a model of many clusters, in the model's own variables."""

from collections.abc import Sequence

import numpy as np
import pymc as pm
import xarray as xr
from pymc.pytensorf import compile as compile_function

from pymc_starpop.summaries.blocks import Blocks
from pymc_starpop.summaries.hierarchy import Hierarchy
from pymc_starpop.summaries.log_density import Coordinates, constrained_values
from pymc_starpop.summaries.optima import RIVAL, columns

__all__ = ["cluster_starts", "cluster_table", "shared_variables"]

# Draws of the Gaussian from which means and deviations of transformed variables are taken: to 3 %.
_N_DRAWS = 1000


def cluster_starts(
    model: pm.Model, coordinates: Coordinates, blocks: Blocks, found: Hierarchy
) -> list[dict[str, np.ndarray]]:
    """Return starting values: all clusters at their best optima, at their second of weight, ...

    A cluster without so many optima of weight begins at its best.
    """
    of_weight = [np.flatnonzero(optima.weights >= RIVAL) for optima in found.clusters]
    turns = [
        [int(own[k]) if k < own.size else 0 for own in of_weight]
        for k in range(max(1, *(own.size for own in of_weight)))
    ]
    positions = [_position(blocks, found, chosen) for chosen in turns]
    return constrained_values(model, coordinates, positions)


def cluster_table(
    model: pm.Model, coordinates: Coordinates, blocks: Blocks, found: Hierarchy
) -> xr.Dataset:
    """Put the optima of all clusters together, a row an optimum, those of a cluster in order."""
    counts = [len(optima.summits) for optima in found.clusters]
    positions = [
        _position(blocks, found, [min(k, count - 1) for count in counts])
        for k in range(max(counts))
    ]
    values = constrained_values(model, coordinates, positions)
    axes = _cluster_axes(model, blocks)
    rows = [
        {name: np.take(values[k][name], c, axis) for name, axis in axes.items()}
        for c, count in enumerate(counts)
        for k in range(count)
    ]
    logp = [[summit.logp for summit in optima.summits] for optima in found.clusters]
    columns_of_all = {
        "cluster": np.repeat(blocks.names, counts),
        "logp": np.concatenate(logp),
        "below_best": np.concatenate([max(own) - np.array(own) for own in logp]),
        "weight": np.concatenate([optima.weights for optima in found.clusters]),
        "n_start": [count for optima in found.clusters for count in optima.counts],
        "converged": [s.converged for optima in found.clusters for s in optima.summits],
    }
    n_without = sum(optima.n_without for optima in found.clusters)
    return columns(columns_of_all, rows).assign_attrs(n_without_density=n_without)


def shared_variables(
    model: pm.Model, coordinates: Coordinates, blocks: Blocks, found: Hierarchy
) -> xr.Dataset:
    """Return the Gaussian of the shared variables; see `Start.shared`."""
    labels = np.concatenate([
        _labels(name, shape)
        for name, shape in zip(coordinates.names, coordinates.shapes, strict=True)
    ])[blocks.shared]  # fmt: skip
    owners = {
        model.values_to_rvs[v] for v in model.value_vars if _is_shared(v, coordinates, blocks)
    }
    own = [rv for rv in model.free_RVs if rv in owners]
    transform = compile_function(
        model.value_vars, model.replace_rvs_by_values(own), on_unused_input="ignore"
    )
    base = _position(blocks, found, [0] * len(blocks.names))
    rng = np.random.default_rng(0)
    steps = (
        rng.standard_normal((_N_DRAWS, found.mean.size)) @ np.linalg.cholesky(found.covariance).T
    )
    drawn = []
    for eta in [found.mean, *(found.mean + steps)]:
        base[blocks.shared] = eta
        drawn.append(np.concatenate([
            np.ravel(value) for value in transform(**coordinates.unflatten(base))
        ]))  # fmt: skip
    shapes = [np.shape(value) for value in transform(**coordinates.unflatten(base))]
    names = np.concatenate([_labels(rv.name, s) for rv, s in zip(own, shapes, strict=True)])
    return xr.Dataset(
        {
            "mean": ("parameter", found.mean),
            "covariance": (("parameter", "parameter_bis"), found.covariance),
            "value": ("variable", drawn[0]),
            "value_mean": ("variable", np.mean(drawn[1:], axis=0)),
            "value_sd": ("variable", np.std(drawn[1:], axis=0)),
        },
        coords={"parameter": labels, "parameter_bis": labels, "variable": names},
    )


def _position(blocks: Blocks, found: Hierarchy, chosen: Sequence[int]) -> np.ndarray:
    """Vector of all variables, with one of its optima for each cluster."""
    x = np.empty(sum(own.size for own in blocks.members) + blocks.shared.size)
    x[blocks.shared] = found.mean
    for own, optima, k in zip(blocks.members, found.clusters, chosen, strict=True):
        x[own] = optima.summits[k].position
    return x


def _is_shared(value: object, coordinates: Coordinates, blocks: Blocks) -> bool:
    """Whether a variable belongs to no cluster."""
    place = coordinates.names.index(value.name)  # type: ignore[attr-defined]
    first = sum(int(np.prod(shape)) for shape in coordinates.shapes[:place])
    return bool(first in blocks.shared)


def _cluster_axes(model: pm.Model, blocks: Blocks) -> dict[str, int]:
    """Axis of the clusters of the free variables that have it."""
    axes = {}
    for rv in model.free_RVs:
        for axis, dim in enumerate(model.named_vars_to_dims.get(rv.name, ())):
            if dim in blocks.groups and blocks.groups[dim].size == len(blocks.names):
                axes[rv.name] = axis
                break
    return axes


def _labels(name: str, shape: tuple[int, ...]) -> list[str]:
    """Name of each element of a variable."""
    return [
        f"{name}[{', '.join(map(str, index))}]" if index else name for index in np.ndindex(shape)
    ]
