"""Hess diagrams: bins, photometric errors, templates."""

from pymc_starpop.hess.artificial_stars import ArtificialStars
from pymc_starpop.hess.axes import HessAxes, bin_cmd, polygon_mask
from pymc_starpop.hess.background import Background
from pymc_starpop.hess.binaries import MassRatioBinaries, NoBinaries, RandomBinaryPairs
from pymc_starpop.hess.control_field import background_template
from pymc_starpop.hess.errors import ErrorModel, ExponentialError, LogisticCompleteness
from pymc_starpop.hess.readers import (
    read_dolphot,
    read_dolphot_artificial_stars,
    read_match_artificial_stars,
    read_match_photometry,
)
from pymc_starpop.hess.template_set import TemplateSet, load_templates
from pymc_starpop.hess.templates import build_template, build_templates

__all__ = [
    "ArtificialStars",
    "Background",
    "ErrorModel",
    "ExponentialError",
    "HessAxes",
    "LogisticCompleteness",
    "MassRatioBinaries",
    "NoBinaries",
    "RandomBinaryPairs",
    "TemplateSet",
    "background_template",
    "bin_cmd",
    "build_template",
    "build_templates",
    "load_templates",
    "polygon_mask",
    "read_dolphot",
    "read_dolphot_artificial_stars",
    "read_match_artificial_stars",
    "read_match_photometry",
]
