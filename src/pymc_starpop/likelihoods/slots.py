"""What stands for a parameter where a model is described without its variables."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pymc_starpop.cluster.parameters import ClusterOptions
from pymc_starpop.field import InflatedScatterField

__all__ = ["Slot", "map_field_scale"]


@dataclass(frozen=True)
class Slot:
    """Stands for a parameter in a template, of as many dimensions.

    Attributes
    ----------
    name : str
    ndim : dimensions of the parameter of one cluster
    axis : "star", "cluster" or "none": what the first axis runs along where there are several
        clusters
    differentiable : whether the parameter is an expression
    """

    name: str
    ndim: int = 0
    axis: str = "none"
    differentiable: bool = True
    owner: None = None  # what the variable has that it stands for


def map_field_scale(options: ClusterOptions, function: Callable[[str, Any], Any]) -> ClusterOptions:
    """Return options with the one parameter that a field model has replaced."""
    if not isinstance(options.field, InflatedScatterField):
        return options
    scale = function("field.scale", options.field.scale)
    return replace(options, field=replace(options.field, scale=scale))
