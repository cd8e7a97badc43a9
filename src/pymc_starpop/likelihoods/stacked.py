"""The log-likelihood of the stars of several clusters as a PyTensor expression.

The parameters of each cluster are read off those of all (`axes`), clusters of one kind are put
together (`kinds`), and one Op (`pymc_starpop.ops.each_cluster`) evaluates a kind.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pytensor import tensor as pt
from pytensor.graph.basic import Variable
from pytensor.raise_op import CheckAndRaise
from pytensor.tensor import TensorVariable

from pymc_starpop.cluster.checks import check_types
from pymc_starpop.cluster.parameters import (
    Axes,
    ClusterOptions,
    ClusterParameters,
    is_vector,
    split_arguments,
)
from pymc_starpop.field import FieldDensity, InflatedScatterField
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.likelihoods.axes import Parameter, resolved, sizes_of
from pymc_starpop.likelihoods.checks import (
    OPTIONS_BY_NAME,
    check_catalog,
    check_priors,
    check_values,
    warn_if_degenerate,
)
from pymc_starpop.likelihoods.cluster import as_float64
from pymc_starpop.likelihoods.kinds import STARS, ClusterKind, LimitsKind, kind_of, limit_numbers
from pymc_starpop.likelihoods.labels import dims_of, few
from pymc_starpop.likelihoods.slots import Slot, map_field_scale
from pymc_starpop.likelihoods.stars import (
    FURTHER,
    called,
    further_data,
    known_length,
    layout_of,
    limits_of,
    needs_field,
    star_arrays,
)
from pymc_starpop.ops._tables import shared_input
from pymc_starpop.ops.each_cluster import each_cluster
from pymc_starpop.stars.stacked import StackedCatalog

__all__ = ["Stack", "StackedModel", "checked_stack", "stacked_logp", "stacked_model"]


@dataclass(frozen=True, eq=False)
class Member:
    """One cluster of a stack.

    Attributes
    ----------
    name : str
    kind : ClusterKind
    numbers : dict of str to ndarray
        Inputs of the graph of the kind that are numbers and belong to the cluster alone.
    rows : slice
        Its stars among those of all clusters.
    columns, bands : tuple of int
        Its columns of the photometry among those of all clusters, and its bands.
    """

    name: str
    kind: ClusterKind
    numbers: dict[str, np.ndarray]
    rows: slice
    columns: tuple[int, ...]
    bands: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class StackedModel:
    """All of a model of several clusters but its data and its symbolic parameters.

    Attributes
    ----------
    members : tuple of Member
        The C clusters, in the order of the catalogs.
    axes : dict of str to tuple
        Axes of each symbolic parameter by name.
    n_column : int
        Columns of the photometry of all clusters.
    """

    members: tuple[Member, ...]
    axes: dict[str, Axes]
    n_column: int

    @property
    def n_star(self) -> int:
        """Number of stars N."""
        return self.members[-1].rows.stop

    @cached_property
    def groups(self) -> list[list[int]]:
        """Places of the clusters of each kind."""
        found: dict[tuple[str, ...], list[int]] = {}
        for place, member in enumerate(self.members):
            found.setdefault(member.kind.key, []).append(place)
        return list(found.values())

    def logp(
        self, stars: Mapping[str, Any], values: Mapping[str, Any], membership: bool = False
    ) -> TensorVariable:
        """Log-likelihood of the stars (N,), or their probabilities of membership.

        Parameters
        ----------
        stars : mapping of str to array
            ``values`` and ``variance`` (N, K) with the columns of all clusters, and the other
            arrays of `pymc_starpop.likelihoods.stars.star_arrays` (N,), with any number where a
            cluster has none.
        values : mapping of str to expression
            The symbolic parameters.
        membership : bool
            Whether probabilities are wanted in place of the likelihood.
        """
        parts = [self._logp_of(group, stars, values, membership) for group in self.groups]
        if len(parts) == 1:
            return parts[0]
        order = np.argsort(np.concatenate([self._rows(group) for group in self.groups]))
        return pt.concatenate(parts)[order]

    def _rows(self, group: Sequence[int]) -> np.ndarray:
        """Rows of the stars of some clusters."""
        slices = [self.members[place].rows for place in group]
        return np.concatenate([np.arange(rows.start, rows.stop) for rows in slices])

    def _logp_of(
        self, group: Sequence[int], stars: Mapping[str, Any], values: Mapping[str, Any],
        membership: bool,
    ) -> TensorVariable:  # fmt: skip
        """Log-likelihood of the stars of the clusters of one kind, one cluster after the other."""
        members = [self.members[place] for place in group]
        first = members[0]
        sizes = [member.rows.stop - member.rows.start for member in members]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        rows = None if len(group) == len(self.members) else self._rows(group)

        def of_stars(array: Any) -> Any:
            return array if rows is None else array[rows]

        def columns_of(array: Any) -> Any:
            """Columns of the clusters, which may have them in different orders."""
            whole = tuple(range(self.n_column))
            if all(member.columns == whole for member in members):
                return array
            if len({member.columns for member in members}) == 1:
                return array[:, list(first.columns)]
            place = np.repeat([member.columns for member in members], sizes, axis=0)
            return array[np.arange(len(place))[:, None], place]

        def input_of(name: str) -> Any:
            if name.startswith(STARS):
                array = of_stars(stars[name.removeprefix(STARS)])
                return array if array.ndim == 1 else columns_of(array)
            if name in first.numbers:
                numbers = _stacked([member.numbers[name] for member in members])
                return shared_input(name, numbers, n_any=2)
            value, axes = values[name], self.axes[name]
            if axes == ("star",):
                return of_stars(value)
            if "band" in axes:
                bands = np.array([member.bands for member in members])
                return value[np.array(group)[:, None], bands] if "cluster" in axes else value[bands]
            if "cluster" in axes:
                return value if len(group) == len(self.members) else value[list(group)]
            return value

        inputs = [input_of(name) for name in first.kind.input_names]
        return each_cluster(first.kind.graph, shared_input("starts", starts), inputs, membership)


def _stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Put arrays of one number of dimensions below each other, filled up to one length."""
    if arrays[0].ndim == 0:
        return np.array(arrays, dtype=np.float64)
    longest = max(array.size for array in arrays)
    return np.array([np.pad(array, (0, longest - array.size)) for array in arrays])


def _for_each[T](cats: StackedCatalog, function: Callable[[int], T]) -> list[T]:
    """Return ``function(place)`` for the place of each cluster; an error names its clusters."""
    found = []
    for place in range(cats.n_cluster):
        try:
            found.append(function(place))
        except ValueError as error:
            later = range(place + 1, cats.n_cluster)
            places = [place, *(i for i in later if _error_of(function, i) == str(error))]
            named = few([repr(cats.cluster_names[i]) for i in places])
            raise ValueError(f"cluster{'s' * (len(places) > 1)} {named}: {error}") from error
    return found


def _error_of(function: Callable[[int], Any], place: int) -> str | None:
    """Return what is wrong with a cluster."""
    try:
        function(place)
    except ValueError as error:
        return str(error)
    return None


def _of_lengths(
    name: str, value: Any, axes: Axes, sizes: Mapping[str | int, int], owner: str = ""
) -> Any:
    """Return an expression that fails where its axes turn out to have other lengths.

    Compiled code would read past their ends.
    """
    if not isinstance(value, Variable):
        return value
    for place, axis in enumerate(axes):
        length = sizes.get(axis, axis)
        if value.type.shape[place] is None:
            each = f"one for each {axis}" if axis in sizes else f"on axis {place}"
            text = f"{owner}{name} must have {length} values, {each}, and has others"
            value = CheckAndRaise(ValueError, text)(value, pt.eq(value.shape[place], length))
    return value


def _by_name(name: str, value: Any, cats: StackedCatalog) -> list[Any]:
    """Return one value for each cluster, from one for all or a mapping by name."""
    if not isinstance(value, Mapping):
        return [value] * cats.n_cluster
    missing = [cluster for cluster in cats.cluster_names if cluster not in value]
    unknown = [str(key) for key in value if key not in cats.cluster_names]
    if missing or unknown:
        wrong = {"lacks": missing, "has unknown": unknown}
        said = " and ".join(f"{which} {', '.join(of)}" for which, of in wrong.items() if of)
        raise ValueError(
            f"{name} {said}; as a mapping it needs one value for each of the clusters "
            f"{', '.join(cats.cluster_names)} and no other"
        )
    return [value[cluster] for cluster in cats.cluster_names]


def _split_further(name: str, value: Any, cats: StackedCatalog) -> Any:
    """Split further data of the stars of all clusters; return mappings as they are."""
    if value is None or isinstance(value, Mapping):
        return value
    value, _ = dims_of(name, value, cats)
    value = further_data(name, value, cats.n_star)
    value = _of_lengths(name, value, ("star",), sizes_of(cats))
    return {cluster: value[cats.rows(cluster)] for cluster in cats.cluster_names}


def _split_field(field: Any, cats: StackedCatalog) -> Any:
    """Split log densities of the stars of all clusters; return other fields as they are."""
    density = FieldDensity(field) if is_vector(field) else field
    if not isinstance(density, FieldDensity):
        return field
    length = known_length(density.values)
    if length not in (None, cats.n_star):
        raise ValueError(
            f"field holds {length} log densities for {cats.n_star} stars of {cats.n_cluster} "
            "clusters; give one for each star, in the order of the stack, or a mapping by cluster"
        )
    values = _of_lengths("field", density.values, ("star",), sizes_of(cats))
    return {
        name: FieldDensity(values[cats.rows(name)], density.sampler) for name in cats.cluster_names
    }


@dataclass(frozen=True, eq=False)
class Stack:
    """Checked arguments of a likelihood of several clusters.

    Attributes
    ----------
    cats : StackedCatalog
    grids, options : one for each of the C clusters
    arguments : ClusterParameters
        As given, with the values of all clusters.
    parameters : dict of str to Parameter
        The same by name, and ``field.scale``.
    """

    cats: StackedCatalog
    grids: list[IsochroneGrid]
    options: list[ClusterOptions]
    arguments: ClusterParameters
    parameters: dict[str, Parameter]

    def value(self, name: str, place: int) -> Any:
        """Return a parameter of one cluster."""
        cluster = self.cats.cluster_names[place]
        bands = _places(self.cats.model_bands, self.cats[cluster].model_bands)
        return self.parameters[name].of_cluster(place, self.cats.rows(cluster), bands)

    def of_cluster(self, place: int) -> tuple[ClusterParameters, ClusterOptions]:
        """Return the parameters and options of one cluster."""

        def take(name: str, _: Any) -> Any:
            return self.value(name, place)

        p = self.arguments.map_values(take)
        return p, map_field_scale(self.options[place], take)

    def check(self, place: int) -> None:
        """Check the arguments of one cluster."""
        grid, catalog = self.grids[place], self.cats[self.cats.cluster_names[place]]
        p, options = self.of_cluster(place)
        check_catalog(grid, catalog, options)
        check_values(grid, p, options, catalog)


def checked_stack(iso: Any, cats: StackedCatalog, arguments: Mapping[str, Any]) -> Stack:
    """Check the arguments of a likelihood of several clusters and sort them.

    Parameters
    ----------
    iso : IsochroneGrid, or a mapping of them by cluster
    cats : StackedCatalog
    arguments : mapping
        As `pymc_starpop.cluster_logp` takes them.

    Raises
    ------
    ValueError
        As for one cluster, with the name of the cluster; for mappings that lack a cluster or name
        an unknown one; and for vectors whose length fits nothing, or several things.
    """
    given = dict(arguments)
    if "field" in given:
        given["field"] = _split_field(given["field"], cats)
    for name in FURTHER:
        if name in given:
            given[name] = _split_further(name, given[name], cats)
    named = [name for name in OPTIONS_BY_NAME if name in given]
    chosen = {name: _by_name(name, given.pop(name), cats) for name in named}
    grids = _by_name("iso", iso, cats)
    if "age_distribution" in chosen:
        _check_ages(chosen["age_distribution"], cats)

    def split_of(place: int) -> tuple[ClusterParameters, ClusterOptions]:
        own = {name: of[place] for name, of in chosen.items()}
        return split_arguments(given | own, grids[place])

    split = _for_each(cats, split_of)
    options = [of for _, of in split]
    parameters: dict[str, Parameter] = {}

    def note(name: str, value: Any) -> Any:
        parameters[name] = resolved(name, value, cats, axes.get(name, ()))
        return value

    check_types(split[0][0])
    axes = split[0][0].axes()
    p = split[0][0].map_values(note)
    scale = _field_scale(options, cats)
    if scale is not None:
        parameters["field.scale"] = scale
    stack = Stack(cats, grids, options, p, parameters)
    _for_each(cats, stack.check)
    _check_all_priors(stack)
    warn_if_degenerate(p, [cats[name] for name in cats.cluster_names])
    return stack


def _check_ages(distributions: Sequence[Any], cats: StackedCatalog) -> None:
    """Refuse clusters with an age next to clusters with a distribution of ages."""
    named = zip(cats.cluster_names, distributions, strict=True)
    without = [name for name, of in named if of is None]
    if without and len(without) < cats.n_cluster:
        raise ValueError(
            f"age_distribution is None for {few(without)}, expected a distribution for every "
            "cluster: a stack has log_age for all clusters, or age_distribution for all; give "
            "those of one age a narrow distribution, or give log_age with log_age_scatter to all"
        )


def _check_all_priors(stack: Stack) -> None:
    """Compare the priors with the ranges of the isochrones of their clusters."""
    grids = {id(grid): grid for grid in stack.grids}
    for key, grid in grids.items():
        places = [place for place, own in enumerate(stack.grids) if id(own) == key]

        def take(name: str, value: Any, places: list[int] = places) -> Any:
            parameter = stack.parameters[name]
            by_cluster = parameter.axes[:1] == ("cluster",)
            everyone = len(places) == len(stack.grids)
            return parameter.value[places] if by_cluster and not everyone else value

        names = [stack.cats.cluster_names[place] for place in places]
        check_priors(grid, stack.arguments.map_values(take), names)


def _places(names: Sequence[str], chosen: Sequence[str]) -> tuple[int, ...]:
    """Places of some names among others."""
    return tuple(names.index(name) for name in chosen)


def _field_scale(options: Sequence[ClusterOptions], cats: StackedCatalog) -> Parameter | None:
    """Return the scale of the fields that have one."""
    fields = [of.field for of in options]
    scales = [field.scale if isinstance(field, InflatedScatterField) else None for field in fields]
    given = [scale for scale in scales if scale is not None]
    if not given:
        return None
    if all(scale is given[0] for scale in scales):
        return resolved("field.scale", given[0], cats)
    # Of other fields no scale is read.
    numbers = [1.0 if scale is None else scale for scale in scales]
    for name, scale in zip(cats.cluster_names, numbers, strict=True):
        if np.ndim(scale):
            raise ValueError(
                f"cluster {name!r}: the scale of an InflatedScatterField of a mapping must be one "
                f"number or a scalar tensor, got {scale!r}; index it, or give one field for all "
                "clusters, not a mapping"
            )
    symbolic = any(isinstance(scale, Variable) for scale in numbers)
    if symbolic:
        parts = [pt.as_tensor(scale, dtype="float64") for scale in numbers]
        return Parameter(pt.stack(parts), ("cluster",))
    return Parameter(np.array(numbers, dtype=np.float64), ("cluster",))


def stacked_model(stack: Stack) -> tuple[StackedModel, dict[str, Any], dict[str, Any]]:
    """Put clusters of one kind together.

    Returns
    -------
    model : StackedModel
    stars : dict of str to array
        What `StackedModel.logp` takes: numbers, but for a fitted field.
    values : dict of str to expression
        The parameters that are inputs of the graphs.
    """
    found = _for_each(stack.cats, lambda place: _member(stack, place))
    members = tuple(member for member, _ in found)
    slots = {name for member in members for name in member.kind.slots}
    numbers = {name for member in members for name in member.numbers}
    used = {name: of for name, of in stack.parameters.items() if name in slots - numbers}
    sizes = sizes_of(stack.cats)
    values = {
        name: _of_lengths(name, as_float64(name, of.value), of.axes, sizes)
        for name, of in used.items()
    }
    axes = {name: of.axes for name, of in used.items()}
    model = StackedModel(members, axes, stack.cats.n_band)
    return model, _star_arrays_of_all(stack.cats, members, [arrays for _, arrays in found]), values


def _member(stack: Stack, place: int) -> tuple[Member, dict[str, Any]]:
    """Return one cluster, and the arrays of its stars."""
    cats = stack.cats
    name = cats.cluster_names[place]
    catalog = cats[name]
    own, options = stack.of_cluster(place)
    numbers: dict[str, np.ndarray] = {}

    def take(parameter: str, _: Any) -> Any:
        given = stack.parameters[parameter]
        value = stack.value(parameter, place)
        if given.is_symbolic or given.axes == ("star",):
            is_none = not given.is_symbolic and not np.any(value)
            by_cluster = "cluster" in given.axes
            # Of the bands a cluster has its own ones.
            axis = "cluster" if by_cluster or "band" in given.axes else "none"
            axis = "star" if "star" in given.axes else axis
            slot = Slot(parameter, len(given.axes) - by_cluster, axis, given.is_symbolic)
            return np.float64(0.0) if is_none else slot
        if not given.axes or not np.any(value):
            # Numbers of all clusters, and parts of the model that a cluster does without.
            return np.float64(value if not given.axes else 0.0)
        numbers[parameter] = np.asarray(value, dtype=np.float64)
        return Slot(parameter, np.ndim(value), "cluster", differentiable=False)

    template = own.map_values(take)
    arrays = star_arrays(catalog, own, options)
    limits = limits_of(catalog, options)
    kind = kind_of(
        stack.grids[place], template, options, take, needs_field(catalog, own), arrays,
        layout=layout_of(catalog), limits=LimitsKind.of(limits), is_flux=catalog.is_flux,
    )  # fmt: skip
    columns = _places(cats.bands, catalog.bands)
    bands = _places(cats.model_bands, catalog.model_bands)
    numbers |= limit_numbers(limits)
    return Member(name, kind, numbers, cats.rows(name), columns, bands), arrays


def _star_arrays_of_all(
    cats: StackedCatalog, members: Sequence[Member], arrays: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Arrays of the stars of all clusters, with 0 (variances: infinity) where one has none."""
    whole: dict[str, Any] = {
        "values": np.zeros((cats.n_star, cats.n_band)),
        "variance": np.full((cats.n_star, cats.n_band), np.inf),
    }
    for member, own in zip(members, arrays, strict=True):
        for name in whole:
            whole[name][member.rows, list(member.columns)] = own[name]
    for name in dict.fromkeys(n for own in arrays for n in own if n not in ("values", "variance")):
        sizes = [member.rows.stop - member.rows.start for member in members]
        parts = [own.get(name, np.zeros(n)) for own, n in zip(arrays, sizes, strict=True)]
        symbolic = any(isinstance(part, Variable) for part in parts)
        parts = [
            _of_lengths(called(name), part, ("star",), {"star": n}, f"cluster {member.name!r}: ")
            for part, n, member in zip(parts, sizes, members, strict=True)
        ]
        whole[name] = pt.concatenate(parts) if symbolic else np.concatenate(parts)
    return whole


def stacked_logp(iso: Any, cats: StackedCatalog, arguments: Mapping[str, Any]) -> TensorVariable:
    """Log-likelihood of the stars of several clusters (N,); see `cluster_logp`."""
    model, stars, values = stacked_model(checked_stack(iso, cats, arguments))
    fixed = {name: array for name, array in stars.items() if isinstance(array, np.ndarray)}
    return model.logp(stars | {name: shared_input(name, a) for name, a in fixed.items()}, values)
