"""Hess diagrams: bins, photometric errors, templates."""

from pymc_starpop.hess.axes import HessAxes, bin_cmd, polygon_mask
from pymc_starpop.hess.template_set import TemplateSet

__all__ = ["HessAxes", "TemplateSet", "bin_cmd", "polygon_mask"]
