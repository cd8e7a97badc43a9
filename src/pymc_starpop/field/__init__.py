"""Densities of field stars, normalized over the region of the catalog."""

from pymc_starpop.field.control import ControlField
from pymc_starpop.field.given import FieldDensity
from pymc_starpop.field.model import ChiSquareField, InflatedScatterField
from pymc_starpop.field.proper_motion import ClusterMotion, ProperMotionField
from pymc_starpop.field.uniform import UniformField

__all__ = [
    "ChiSquareField",
    "ClusterMotion",
    "ControlField",
    "FieldDensity",
    "InflatedScatterField",
    "ProperMotionField",
    "UniformField",
]
