"""Models of the photometry of several clusters, without their variables."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pymc_starpop.distributions.cluster_model import ClusterModel, cluster_model, core_of
from pymc_starpop.isochrones.bolometric import content_hash
from pymc_starpop.likelihoods.axes import Parameter
from pymc_starpop.likelihoods.cluster import as_float64
from pymc_starpop.likelihoods.stacked import Stack, StackedModel, stacked_model
from pymc_starpop.ops._tables import shared_input

__all__ = ["StackedPhotometryModel", "photometry_of_stack"]


@dataclass(frozen=True, eq=False)
class StackedPhotometryModel:
    """All of a model of several clusters but its data and its symbolic parameters.

    Attributes
    ----------
    likelihood : StackedModel
    clusters : tuple of ClusterModel
        The model of each of the C clusters, to draw from it and for what comes after the fit.
    star_names : names of the arrays with one entry a star that follow the variances
    slot_names : names of the symbolic parameters, in the order of the inputs
    """

    likelihood: StackedModel
    clusters: tuple[ClusterModel, ...]
    star_names: tuple[str, ...]
    slot_names: tuple[str, ...]

    @property
    def cluster_names(self) -> tuple[str, ...]:
        """Names of the clusters."""
        return tuple(member.name for member in self.likelihood.members)

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """What tells two models apart."""
        members = [
            (m.name, m.kind.key, content_hash(*m.numbers.values(), tuple(m.numbers)), m.columns,
             m.bands, m.rows.start, m.rows.stop)
            for m in self.likelihood.members
        ]  # fmt: skip
        axes = tuple(self.likelihood.axes.items())
        own = tuple(cluster.key for cluster in self.clusters)
        return (*members, axes, own, self.star_names, self.slot_names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StackedPhotometryModel) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def split(self, inputs: tuple[Any, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Sort the inputs of the random variable into arrays of the stars and parameters.

        Beside the stars, a parameter that is the same for all has a leading axis of length 1.
        """
        n = 1 + len(self.star_names)
        stars = dict(zip(("variance", *self.star_names), inputs[:n], strict=True))
        values = {}
        for name, value in zip(self.slot_names, inputs[n:], strict=True):
            values[name] = value[0] if value.ndim > len(self.likelihood.axes[name]) else value
        return stars, values

    def logp(self, values: Any, inputs: tuple[Any, ...]) -> Any:
        """Log-likelihood of each star (N,), from the data (N, K) and the inputs."""
        stars, parameters = self.split(inputs)
        return self.likelihood.logp(self._as_inputs(values, stars), parameters)

    def membership(self, values: Any, inputs: tuple[Any, ...]) -> Any:
        """Probability of membership of each star (N,)."""
        stars, parameters = self.split(inputs)
        return self.likelihood.logp(self._as_inputs(values, stars), parameters, membership=True)

    @staticmethod
    def _as_inputs(values: Any, stars: dict[str, Any]) -> dict[str, Any]:
        """Arrays of the stars, none of them a constant of the compiled code."""
        arrays = {"values": values} | stars
        return {name: shared_input(name, array) for name, array in arrays.items()}

    def inputs_of(self, place: int, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the inputs of the `ClusterModel` of one cluster."""
        stars, parameters = self.split(inputs)
        member, cluster = self.likelihood.members[place], self.clusters[place]
        own = [stars[name][member.rows] for name in cluster.star_names]
        slots = [
            Parameter(parameters[name], self.likelihood.axes[name]).of_cluster(
                place, member.rows, member.bands
            )
            for name in cluster.slot_names
        ]
        return (self.columns_of(place, stars["variance"]), *own, *slots)

    def rows_of(self, place: int) -> slice:
        """Return the rows of the stars of one cluster."""
        return self.likelihood.members[place].rows

    def columns_of(self, place: int, photometry: Any) -> Any:
        """Return the rows and columns of one cluster of an array (N, K)."""
        member = self.likelihood.members[place]
        return photometry[member.rows][:, list(member.columns)]

    def draw(self, inputs: tuple[Any, ...], rng: np.random.Generator) -> np.ndarray:
        """Draw the stars of all clusters (N, K)."""
        drawn = np.full(inputs[0].shape, np.nan)
        for place, (cluster, member) in enumerate(
            zip(self.clusters, self.likelihood.members, strict=True)
        ):
            own = cluster.draw(self.inputs_of(place, inputs), rng)
            drawn[member.rows, list(member.columns)] = own
        return drawn


def photometry_of_stack(stack: Stack) -> tuple[StackedPhotometryModel, list[Any], list[str]]:
    """Take the data and the symbolic parameters out of a model of several clusters.

    Returns
    -------
    model : StackedPhotometryModel
    inputs : list
        Of the random variable: variances (N, K), arrays (N,), and the parameters.
    cores : list of str
        Their part of the signature of the random variable, whose output is (b).
    """
    likelihood, stars, values = stacked_model(stack)
    clusters = []
    for place, name in enumerate(stack.cats.cluster_names):
        p, options = stack.of_cluster(place)
        catalog = stack.cats[name]
        model, _, _ = cluster_model(stack.grids[place], catalog, p.map_values(as_float64), options)
        clusters.append(model)
    del stars["values"]
    variance = stars.pop("variance")
    model_of_all = StackedPhotometryModel(likelihood, tuple(clusters), tuple(stars), tuple(values))
    cores = ["(b)", *["()"] * len(stars), *[core_of(likelihood.axes[name]) for name in values]]
    return model_of_all, [variance, *stars.values(), *values.values()], cores
