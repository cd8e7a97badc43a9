"""The variables and the log density of a model of many clusters, cluster by cluster."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.pytensorf import compile as compile_function
from pymc.pytensorf import join_nonshared_inputs, rewrite_pregrad

from pymc_starpop.distributions.cluster import ClusterPhotometryRV
from pymc_starpop.distributions.stacked_model import StackedPhotometryModel
from pymc_starpop.summaries.log_density import Coordinates

__all__ = ["BlockDensity", "Blocks", "find_blocks", "is_independent", "is_stacked"]

# A shift of one cluster's variables, in spreads of the prior, and what rounding leaves of its
# effect where there is none.
_SHIFT, _ROUNDING = 1e-3, 1e-9


@dataclass(frozen=True)
class Blocks:
    """Which variables belong to which cluster.

    Attributes
    ----------
    names : tuple of str
        Names of the C clusters.
    members : tuple of numpy.ndarray
        Places of the variables of each cluster in the vector of all unconstrained variables.
    shared : numpy.ndarray
        Places of the variables that belong to no cluster.
    groups : dict of str to numpy.ndarray
        Cluster of each entry along the dimensions that have to do with clusters.
    """

    names: tuple[str, ...]
    members: tuple[np.ndarray, ...]
    shared: np.ndarray
    groups: dict[str, np.ndarray]


def is_stacked(model: pm.Model) -> bool:
    """Whether the model has an observed variable with the stars of several clusters."""
    return bool(_stacks(model))


def _stacks(model: pm.Model) -> list[Any]:
    """Return the observed variables of several clusters."""
    return [
        rv
        for rv in model.observed_RVs
        if rv.owner is not None
        and isinstance(rv.owner.op, ClusterPhotometryRV)
        and isinstance(rv.owner.op.model, StackedPhotometryModel)
    ]


def find_blocks(model: pm.Model, coordinates: Coordinates) -> Blocks | None:
    """Find the variables that have the dimension of the clusters, or that of their stars.

    None if there are no two clusters, or if a transform has changed the length of the dimension.
    """
    names, groups = _groups(model)
    if len(names) < 2:
        return None
    parts: list[list[np.ndarray]] = [[] for _ in names]
    shared, first = [], 0
    places = dict(zip(coordinates.names, coordinates.shapes, strict=True))
    for value in model.value_vars:
        shape = places[value.name]
        size = int(np.prod(shape))
        own = np.arange(first, first + size).reshape(shape)
        first += size
        axis, cluster = _axis(model, model.values_to_rvs[value], groups)
        if axis is None:
            shared.append(own.ravel())
            continue
        if axis >= own.ndim or own.shape[axis] != cluster.size:
            return None
        for k in range(len(names)):
            parts[k].append(np.compress(cluster == k, own, axis).ravel())
    if not any(parts):
        return None
    members = tuple(np.concatenate(part) for part in parts)
    return Blocks(names, members, np.concatenate([np.array([], dtype=int), *shared]), groups)


def _groups(model: pm.Model) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Names of the clusters, and the cluster of each entry by dimension."""
    stacks = _stacks(model)
    named = {rv.owner.op.model.cluster_names for rv in stacks}
    if not named and model.coords.get("cluster") is not None:
        named = {tuple(map(str, model.coords["cluster"]))}
    if len(named) != 1:
        return (), {}
    (names,) = named
    groups = {
        dim: np.arange(len(names))
        for dim, labels in model.coords.items()
        if labels is not None and tuple(map(str, labels)) == names
    }
    for rv in stacks:
        sizes = [
            member.rows.stop - member.rows.start for member in rv.owner.op.model.likelihood.members
        ]
        dim = model.named_vars_to_dims[rv.name][0]
        groups[dim] = np.repeat(np.arange(len(names)), sizes)
    return names, groups


def _axis(model: pm.Model, rv: Any, groups: dict[str, np.ndarray]) -> tuple[int | None, np.ndarray]:
    """Which axis of a variable has to do with clusters, and the cluster of each entry along it."""
    dims = model.named_vars_to_dims.get(rv.name, ())
    for axis, dim in enumerate(dims):
        if dim in groups:
            return axis, groups[dim]
    return None, np.array([], dtype=int)


class BlockDensity:
    """Log density of each cluster's own variables and data, and of the rest, with the gradient.

    Parameters
    ----------
    model : pm.Model
    point : dict
        A value of each unconstrained variable.
    coordinates : Coordinates
    blocks : Blocks
    """

    def __init__(
        self,
        model: pm.Model,
        point: dict[str, np.ndarray],
        coordinates: Coordinates,
        blocks: Blocks,
    ):
        self.blocks = blocks
        self.size = coordinates.size
        rest, own = rewrite_pregrad(_by_cluster(model, blocks))
        value_vars = model.value_vars
        gradients = pt.grad(rest + own.sum(), value_vars, disconnected_inputs="ignore")
        gradient = pt.concatenate([pt.as_tensor(g).ravel() for g in gradients])
        outputs, joined = join_nonshared_inputs(
            point=point, inputs=value_vars, outputs=[rest, own, gradient]
        )
        self._function = compile_function([joined], outputs)
        self._function.trust_input = True

    def evaluate(self, x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return what no cluster has part in, the parts of the clusters (C,), and the gradient."""
        rest, own, gradient = self._function(x)
        return float(rest), np.asarray(own), np.asarray(gradient)


def _by_cluster(model: pm.Model, blocks: Blocks) -> list[Any]:
    """Sum the factors of the log density over everything but clusters."""
    n_cluster = len(blocks.names)
    rest, own = pt.as_tensor(0.0), pt.zeros(n_cluster)
    factors = model.logp(sum=False)
    named = model.free_RVs + model.observed_RVs + model.potentials
    for rv, given in zip(named, factors, strict=True):
        factor = pt.as_tensor(given, allow_xtensor_conversion=True)
        axis, cluster = _axis(model, rv, blocks.groups)
        if axis is None and rv.name not in model.named_vars_to_dims:
            # Without names of its dimensions: data of the clusters have as many entries. Whether
            # they belong to the clusters is looked at with numbers.
            lengths = enumerate(factor.type.shape)
            axis = next((k for k, length in lengths if length == n_cluster), None)
            cluster = np.arange(n_cluster)
        if axis is None or axis >= factor.ndim:
            rest = rest + factor.sum()
            continue
        along = (
            factor.sum([k for k in range(factor.ndim) if k != axis]) if factor.ndim > 1 else factor
        )
        if not np.array_equal(cluster, np.arange(n_cluster)):
            along = pt.inc_subtensor(pt.zeros(n_cluster)[cluster], along)
        own = own + along
    return [rest, own]


def is_independent(density: BlockDensity, x: np.ndarray, spread: np.ndarray) -> bool:
    """Whether a cluster's variables change its own part alone.

    The clusters are moved in groups, by the binary digits of their numbers, so that any two are
    told apart.

    Parameters
    ----------
    density : BlockDensity
    x : numpy.ndarray
        Position (N,) of a finite log density.
    spread : numpy.ndarray
        Spread of the prior (N,).
    """
    members = density.blocks.members
    numbers = np.arange(len(members))
    rest, own, _ = density.evaluate(x)
    for digit in range(int(numbers[-1]).bit_length()):
        for side in (0, 1):
            moved = (numbers >> digit) & 1 == side
            shifted = x.copy()
            for k in numbers[moved]:
                shifted[members[k]] += _SHIFT * spread[members[k]]
            now_rest, now_own, _ = density.evaluate(shifted)
            still = np.append(own[~moved], rest)
            now = np.append(now_own[~moved], now_rest)
            # Where the density is zero before and after, nothing is seen.
            known = np.isfinite(still) & np.isfinite(now)
            change = np.abs(now[known] - still[known])
            if np.any(change > _ROUNDING * (1.0 + np.abs(still[known]))):
                return False
    return True
