"""What the labels of a value say about its dimensions: whose values it holds, in which order.

Labels are those of a `pandas.Series`, of an `xarray.DataArray`, or of the dimensions of a variable
of the PyMC model. Values are taken by their place, so that labels in another order, or those of
others, would give wrong numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.stacked import StackedCatalog

__all__ = ["dims_of", "few", "without_labels"]


def dims_of(
    name: str, value: Any, catalog: StarCatalog | StackedCatalog, n_own: int = 0
) -> tuple[Any, tuple[str | None, ...]]:
    """Return a value without labels, and its axes, None where nothing is known of one.

    Parameters
    ----------
    name : str
        Of the parameter, for messages.
    value : number, array, Series, DataArray or PyTensor expression
    catalog : StarCatalog or StackedCatalog
    n_own : int
        How many of its last dimensions are its own: their labels may be any, such as the bands of
        corrections, which may be more than those of the catalog and in another order.

    Raises
    ------
    ValueError
        For labels in another order than the catalog has them, and for labels of others.
    """
    if isinstance(value, pd.Series):
        value = value.to_xarray()
    if isinstance(value, xr.DataArray):
        labels = {dim: value.coords[dim].to_numpy() for dim in value.dims if dim in value.coords}
        first = value.dims[: max(value.ndim - n_own, 0)]
        found = [_axis_of(name, str(d), labels.get(d), catalog, are_sure=True) for d in first]
        return value.to_numpy(), (*found, *(None,) * (value.ndim - len(first)))
    ndim = value.ndim if hasattr(value, "ndim") else np.ndim(value)
    model = pm.modelcontext(None) if pm.Model.get_context(error_if_none=False) else None
    called = getattr(value, "name", None)
    if model is None or called is None or model.named_vars.get(called) is not value:
        return value, (None,) * ndim
    dims = model.named_vars_to_dims.get(called, (None,) * ndim)
    first = dims[: max(ndim - n_own, 0)]
    found = [
        None if d is None else _axis_of(name, str(d), model.coords.get(d), catalog) for d in first
    ]
    return value, (*found, *(None,) * (ndim - len(first)))


def without_labels(parameters: Mapping[str, Any], catalog: StarCatalog) -> dict[str, Any]:
    """Return the parameters of one cluster with arrays in place of labeled ones, after a look."""
    found = {}
    for name, value in parameters.items():
        is_labeled = isinstance(value, pd.Series | xr.DataArray) or hasattr(value, "owner")
        found[name] = dims_of(name, value, catalog)[0] if is_labeled else value
    return found


def few(labels: Sequence[Any]) -> str:
    """Show the first labels."""
    shown = ", ".join(str(label) for label in labels[:4])
    return shown + (", ..." if len(labels) > 4 else "")


def _labels_of(catalog: StarCatalog | StackedCatalog) -> dict[str, list[Any]]:
    """Return the labels of each axis."""
    own = {"band": list(catalog.model_bands), "star": np.asarray(catalog.star).tolist()}
    if isinstance(catalog, StackedCatalog):
        return {"cluster": list(catalog.cluster_names), **own}
    return own


def _axis_of(
    name: str, dim: str, labels: Any, catalog: StarCatalog | StackedCatalog, are_sure: bool = False
) -> str | None:
    """Return the axis that a dimension is, by its labels or else by its name.

    ``are_sure`` says that the labels belong to the values; dimensions of a model may be the user's
    own, for other things.
    """
    own = _labels_of(catalog)
    given: Any = None if labels is None else list(labels)
    texts = set(map(str, given or ()))
    for key, expected in own.items():
        if given == expected:
            return key
        permuted = given is not None and 1 < len(given) == len(expected)
        if permuted and texts == set(map(str, expected)):
            raise ValueError(
                f"{name} has the dimension {dim!r} with the labels of the {key}s in another "
                f"order, {few(given)}; expected {few(expected)}: sort it as the catalog is"
            )
    plain = dim.removeprefix("model_")
    axis = plain if plain in own else None
    if given is None or (axis is None and given == list(range(len(given)))):
        return axis
    known = [label for expected in own.values() for label in expected]
    if axis is None and not are_sure and not texts & set(map(str, known)):
        return None
    what = f"those of the {axis}s, {few(own[axis])}" if axis else f"those of the {_all_of(own)}"
    raise ValueError(
        f"{name} has the dimension {dim!r} with the labels {few(given)}, expected {what}; build "
        "the model with coords=catalog.coords(), and give values without labels (.to_numpy()) in "
        "the order of the catalog"
    )


def _all_of(own: Mapping[str, list[Any]]) -> str:
    """Show the labels of each axis."""
    return ", or of the ".join(f"{axis}s, {few(labels)}" for axis, labels in own.items())
