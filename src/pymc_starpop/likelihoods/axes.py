"""Along what the parameters of several clusters run: clusters, stars, bands.

The length of a vector mostly says it. Where it does not, dimensions do: those that a variable has
in the PyMC model, or those of an `xarray.DataArray`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytensor
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import explicit_graph_inputs

from pymc_starpop.cluster.checks import number_of
from pymc_starpop.cluster.parameters import Axes
from pymc_starpop.likelihoods.labels import dims_of, few
from pymc_starpop.stars.stacked import StackedCatalog

__all__ = ["Parameter", "resolved", "sizes_of"]


@dataclass(frozen=True)
class Parameter:
    """A parameter of several clusters.

    Attributes
    ----------
    value : number, array or PyTensor expression
    axes : tuple
        Of "cluster", "star", "band" and numbers of entries, one for each dimension.
    """

    value: Any
    axes: Axes

    @property
    def is_symbolic(self) -> bool:
        """Whether the value is an expression."""
        return isinstance(self.value, Variable)

    def of_cluster(self, index: int, rows: slice, bands: Sequence[int]) -> Any:
        """Return the value for one cluster, of which rows of stars and bands are given."""
        value, axes = self.value, self.axes
        if axes[:1] == ("cluster",):
            value, axes = value[index], axes[1:]
        if axes[:1] in (("star",), ("band",)):
            value = value[rows if axes[0] == "star" else list(bands)]
        return value


def resolved(name: str, value: Any, cats: StackedCatalog, own: Axes = ()) -> Parameter:
    """Return a parameter with its axes, where those that it has for one cluster are given.

    Raises
    ------
    ValueError
        For a shape that fits none, or several; the message says how to label it.
    """
    if isinstance(value, Mapping):
        raise ValueError(
            f"{name} must be a number, a PyTensor expression or a vector, got a mapping; give one "
            f"value for each cluster in the order of the stack, {few(cats.cluster_names)}"
        )
    value = number_of(name, value) if isinstance(value, list | tuple) else value
    value, dims = dims_of(name, value, cats, sum(isinstance(axis, int) for axis in own))
    if isinstance(value, Constant):
        value = value.data
    if isinstance(value, np.ndarray):
        value = number_of(name, value)
    ndim = value.ndim if isinstance(value, Variable) else np.ndim(value)
    if not ndim:
        return Parameter(value, ())
    shape = _shape_of(value)
    sizes = sizes_of(cats)
    possible = _possible(own)
    if ("cluster", "band") in possible and ndim == 2 and 1 in shape:
        value, shape, dims = _squeezed(value, shape, dims, sizes)
    found = [axes for axes in possible if _fits(shape, dims, axes, sizes)]
    if not found:
        raise ValueError(
            f"{name} has the shape {_shown(shape)}{_dims_shown(dims)} for {_sizes_shown(sizes)}; "
            f"give one number, or {_shapes_shown(possible)}"
        )
    if len(found) > 1 and not _means_the_same(found, sizes):
        raise ValueError(
            f"{name} has the shape {_shown(shape)}, which could mean {_shapes_shown(found)}, for "
            f"{_sizes_shown(sizes)}; {_how_to_label(name, own)}"
        )
    return Parameter(value, found[0])


def _possible(own: Axes) -> list[Axes]:
    """Return the axes that a parameter may have, from those that it has for one cluster."""
    if own == ("star",):
        return [("cluster",), own]
    # What has entries of its own has them in every cluster.
    scalar: list[Axes] = [("cluster",)] if own in ((), ("band",)) else []
    return [*scalar, own, ("cluster", *own)] if own else scalar


def sizes_of(cats: StackedCatalog) -> dict[str | int, int]:
    """Return how many clusters, stars and bands there are."""
    return {"cluster": cats.n_cluster, "star": cats.n_star, "band": len(cats.model_bands)}


def _fits(
    shape: tuple[int | None, ...], dims: tuple[str | None, ...], axes: Axes,
    sizes: Mapping[str | int, int],
) -> bool:  # fmt: skip
    """Whether a shape and what is known of its dimensions agree with axes."""
    return len(shape) == len(axes) and all(
        n in (None, sizes.get(axis, axis)) and (dim in (None, axis) or isinstance(axis, int))
        for n, dim, axis in zip(shape, dims, axes, strict=True)
    )


def _means_the_same(found: list[Axes], sizes: Mapping[str | int, int]) -> bool:
    """Whether it makes no difference: one star in each cluster, or one of everything."""
    one_each = sizes["cluster"] == sizes["star"] and found == [("cluster",), ("star",)]
    return one_each or (sizes["cluster"] == 1 == sizes["band"])


def _squeezed(value: Any, shape: tuple[Any, ...], dims: tuple[Any, ...], sizes: Any) -> Any:
    """Take a vector by band, (1, B), or by cluster, (C, 1), out of its two dimensions."""
    if shape[0] == 1 != sizes["cluster"] and shape[1] in (None, sizes["band"]):
        return value[0], shape[1:], (dims[1] or "band",)
    if shape[1] == 1 != sizes["band"] and shape[0] in (None, sizes["cluster"]):
        return value[:, 0], shape[:1], (dims[0] or "cluster",)
    return value, shape, dims


def _shape_of(value: Any) -> tuple[int | None, ...]:
    """Lengths of the axes, None where inputs decide that have no value yet."""
    if not isinstance(value, Variable):
        return np.shape(value)
    if None not in value.type.shape or list(explicit_graph_inputs([value])):
        return value.type.shape
    # The lengths of dimensions of a model are shared variables.
    lengths = pytensor.function([], value.shape, mode="FAST_COMPILE")()
    return tuple(int(n) for n in lengths)


def _shown(shape: tuple[int | None, ...]) -> str:
    """Show a shape."""
    lengths = ", ".join("?" if n is None else str(n) for n in shape)
    return f"({lengths}{',' if len(shape) == 1 else ''})"


def _dims_shown(dims: tuple[str | None, ...]) -> str:
    return f", by {' and '.join(d or '?' for d in dims)}," if any(dims) else ""


def _sizes_shown(sizes: Mapping[str | int, int]) -> str:
    """Show how many there are."""
    return ", ".join(f"{n} {axis}{'' if n == 1 else 's'}" for axis, n in sizes.items())


def _shapes_shown(possible: Sequence[Axes]) -> str:
    """Show what shapes may be."""
    return " or ".join(f"one for each {_axes_shown(axes)}" for axes in possible)


def _axes_shown(axes: Axes) -> str:
    named = [axis for axis in axes if isinstance(axis, str)]
    entries = " x ".join(str(axis) for axis in axes if isinstance(axis, int))
    return " and ".join([*named, f"of {entries} entries"] if entries else named)


def _how_to_label(name: str, own: Axes) -> str:
    if own == ("star",):
        return (
            f'give {name} dims in the model (dims="cluster" or dims="star"), or a length, such as '
            "pt.specify_shape(x, n)"
        )
    return (
        f'give {name} dims in the model (dims="cluster" or dims="band"), or write x[:, None] '
        "for one value for each cluster and x[None, :] for one for each band"
    )
