"""Clusters of one kind: those whose likelihood is one graph and differs in numbers alone.

What is a number in the graph of one cluster and differs from cluster to cluster (a parameter, a
limit of the selection, the stars) is an input of the graph of the kind. What decides of what nodes
the graph is made (bands, which measurements there are, ages, whether a parameter is 0) belongs to
the kind.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from pytensor import tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor import TensorVariable

from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters
from pymc_starpop.field import ChiSquareField, InflatedScatterField
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.corrections import parts_of
from pymc_starpop.likelihoods.cluster import cluster_parts, membership_of
from pymc_starpop.likelihoods.slots import Slot, map_field_scale
from pymc_starpop.likelihoods.stars import Limits, StarTerms, called
from pymc_starpop.likelihoods.track import Layout
from pymc_starpop.ops.each_cluster import Axis, ClusterGraph, ClusterInput

__all__ = ["STARS", "ClusterKind", "LimitsKind", "classes_of", "kind_of", "limit_numbers"]

_PACKAGE = __name__.partition(".")[0]
_PREFIX = "limits."
# Before the names of arrays of the stars, of which some are those of parameters, too.
STARS = "stars."


@dataclass(frozen=True)
class LimitsKind:
    """The selections of clusters of one kind.

    Attributes
    ----------
    band : str
    sides : whether there is a limit on the bright and on the faint side
    has_completeness : whether there is a completeness
    """

    band: str
    sides: tuple[bool, bool]
    has_completeness: bool

    @classmethod
    def of(cls, limits: Limits | None) -> "LimitsKind | None":
        """Return the kind of a selection."""
        if limits is None:
            return None
        return cls(limits.band, limits.sides, limits.completeness is not None)

    def filled(self, numbers: Mapping[str, Any]) -> Limits:
        """Return the selection with its numbers, as `limit_numbers` names them."""
        ends, errors = numbers[f"{_PREFIX}ends"], numbers[f"{_PREFIX}errors"]
        table = None
        if self.has_completeness:
            start, step, last = (numbers[f"{_PREFIX}nodes"][i] for i in range(3))
            value, slope = numbers[f"{_PREFIX}value"], numbers[f"{_PREFIX}slope"]
            table = _Table(start, step, last, value, slope)
        return Limits(self.band, self.sides, (ends[0], ends[1]), (errors[0], errors[1]), table)


@dataclass(frozen=True)
class _Table:
    """A `CompletenessTable` whose numbers are expressions, with more nodes than are used."""

    start: Any
    step: Any
    last: Any
    value: Any
    slope: Any


def limit_numbers(limits: Limits | None) -> dict[str, np.ndarray]:
    """Numbers of a selection by name; the tables of a completeness end at their last node."""
    if limits is None:
        return {}
    # What no limit has is not read.
    numbers = {
        f"{_PREFIX}ends": np.where(limits.sides, limits.ends, 0.0),
        f"{_PREFIX}errors": np.where(limits.sides, limits.errors, 1.0),
    }
    table = limits.completeness
    if table is not None:
        numbers[f"{_PREFIX}nodes"] = np.array([table.start, table.step, table.last])
        numbers[f"{_PREFIX}value"] = np.asarray(table.value, dtype=float)
        numbers[f"{_PREFIX}slope"] = np.asarray(table.slope, dtype=float)
    return numbers


@dataclass(frozen=True, eq=False)
class ClusterKind:
    """All that the graph of a cluster is made of but its numbers.

    Attributes
    ----------
    iso : IsochroneGrid
    template : ClusterParameters
        Numbers that clusters of the kind share, and a `Slot` for each other parameter.
    options : ClusterOptions
        Without a selection, and with a field only where it depends on the model.
    layout : the rows that the model predicts
    limits : the kind of the selection, or None
    is_flux : whether the data are fluxes
    star_names : names of the arrays with one row a star besides the values and variances
    fitted : names of those of them that are expressions
    """

    iso: IsochroneGrid
    template: ClusterParameters
    options: ClusterOptions
    layout: Layout
    limits: LimitsKind | None
    is_flux: bool
    star_names: tuple[str, ...]
    fitted: tuple[str, ...] = ()

    @cached_property
    def key(self) -> tuple[str, ...]:
        """What tells two kinds apart."""
        parts = (
            self.iso.fingerprint, self.template, self.options, self.layout, self.limits,
            self.is_flux, self.star_names, self.fitted, classes_of(self.template),
        )  # fmt: skip
        return tuple(repr(part) for part in parts)

    @cached_property
    def slots(self) -> dict[str, Slot]:
        """The slots of the template and of the field by name."""
        found: dict[str, Slot] = {}

        def note(name: str, value: Any) -> Any:
            if isinstance(value, Slot):
                found[name] = value
            return value

        self.template.map_values(note)
        map_field_scale(self.options, note)
        return found

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs of the graph, in their order."""
        return tuple(self._inputs)

    @cached_property
    def _inputs(self) -> dict[str, ClusterInput]:
        n_column = len(self.layout.columns)
        matrix = pt.TensorType("float64", (None, n_column))
        inputs = {}
        for name in ("values", "variance"):
            inputs[f"{STARS}{name}"] = ClusterInput(matrix(name), Axis.STAR)
        for name in self.star_names:
            inputs[f"{STARS}{name}"] = ClusterInput(
                pt.dvector(called(name)), Axis.STAR, name in self.fitted
            )
        if self.limits is not None:
            names = ["ends", "errors"]
            names += ["nodes", "value", "slope"] if self.limits.has_completeness else []
            for name in names:
                variable = pt.dvector(f"{_PREFIX}{name}")
                inputs[f"{_PREFIX}{name}"] = ClusterInput(variable, Axis.CLUSTER)
        lengths = {"star": None, "band": len(self.layout.bands)}
        axes = self.template.axes()
        for name, slot in self.slots.items():
            own = axes[name] if slot.ndim else ()
            shape = tuple(lengths[axis] if isinstance(axis, str) else axis for axis in own)
            variable = pt.tensor(name, dtype="float64", shape=shape)
            inputs[name] = ClusterInput(variable, Axis(slot.axis), slot.differentiable)
        return inputs

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClusterKind) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def graph(self) -> ClusterGraph:
        """The graph of the log-likelihood."""
        return _graph_of(self)

    def _graph(self) -> ClusterGraph:
        variables: dict[str, TensorVariable] = {k: i.variable for k, i in self._inputs.items()}

        def take(name: str, value: Any) -> Any:
            return variables[name] if isinstance(value, Slot) else value

        p, options = self.template.map_values(take), map_field_scale(self.options, take)
        terms = StarTerms(
            values=variables[f"{STARS}values"],
            variance=variables[f"{STARS}variance"],
            limits=None if self.limits is None else self.limits.filled(variables),
            is_flux=self.is_flux,
            layout=self.layout,
            **{name: variables[f"{STARS}{name}"] for name in self.star_names},
        )
        parts = cluster_parts(self.iso, p, options, terms)
        inputs = tuple(self._inputs.values())
        described = _is_described(self.template) and _is_described(self.options)
        return ClusterGraph(self.key, inputs, parts.logp, membership_of(parts), described)


def kind_of(
    iso: IsochroneGrid, template: ClusterParameters, options: ClusterOptions,
    take: Callable[[str, Any], Any], has_field: bool, stars: Mapping[str, Any], **data: Any,
) -> ClusterKind:  # fmt: skip
    """Return the kind of a cluster.

    Parameters
    ----------
    iso, template
        As `ClusterKind` has them.
    options : ClusterOptions
        Those of the cluster.
    take : callable
        From the name and the value of a parameter to a number or a `Slot`.
    has_field : bool
        Whether any star may be a field star.
    stars : mapping of str to array or expression
        Those of `pymc_starpop.likelihoods.stars.star_arrays`.
    **data
        The layout, the kind of the limits and whether the data are fluxes, as `ClusterKind` has
        them.
    """
    field: Any = options.field if has_field and isinstance(options.field, ChiSquareField) else None
    if has_field and isinstance(options.field, InflatedScatterField):
        field = InflatedScatterField(take("field.scale", options.field.scale))
    fixed = Constant | SharedVariable
    fitted = [k for k, a in stars.items() if isinstance(a, Variable) and not isinstance(a, fixed)]
    return ClusterKind(
        iso=iso,
        template=template,
        options=replace(options, field=field, selection=None, member_logp=None, field_logp=None),
        star_names=tuple(name for name in stars if name not in ("values", "variance")),
        fitted=tuple(name for name in fitted if name not in ("values", "variance")),
        **data,
    )


# Classes of users in the order in which they were met. They are kept, so that no number is used
# twice.
_CLASSES: dict[type, int] = {}


def classes_of(p: ClusterParameters) -> tuple[int, ...]:
    """Return numbers of the classes of the user's own mass function and corrections.

    A class that is written anew, as in a notebook, is another one with the same text.
    """
    kinds = [type(part) for part in (p.imf, *parts_of(p.corrections))]
    own = [kind for kind in kinds if not kind.__module__.startswith(f"{_PACKAGE}.")]
    return tuple(_CLASSES.setdefault(kind, len(_CLASSES)) for kind in own)


@lru_cache(maxsize=32)
def _graph_of(kind: ClusterKind) -> ClusterGraph:
    """Make the graph of a kind, once: PyMC asks for that of a model several times."""
    return kind._graph()


def _is_described(part: Any) -> bool:
    """Whether the text of a part of a kind tells it apart in every process.

    That of a mass function or a field of the user's own need not, as its code may change.
    """
    if part is None or isinstance(part, bool | int | float | str | np.number):
        return True
    if isinstance(part, tuple):
        return all(_is_described(entry) for entry in part)
    is_ours = is_dataclass(part) and type(part).__module__.startswith(f"{_PACKAGE}.")
    return is_ours and all(_is_described(getattr(part, f.name)) for f in fields(part))
