"""Star formation histories: fast fits, priors, and their place in a PyMC model."""

from pymc_starpop.sfh.fit import SFHFit, SFHMode, fit_sfh
from pymc_starpop.sfh.metallicity_models import (
    Epochs,
    FixedAMR,
    LinearAMR,
    LogarithmicAMR,
    MetallicityModel,
    MonotoneAMR,
    Parameter,
    PowerLawMZR,
)

__all__ = [
    "Epochs",
    "FixedAMR",
    "LinearAMR",
    "LogarithmicAMR",
    "MetallicityModel",
    "MonotoneAMR",
    "Parameter",
    "PowerLawMZR",
    "SFHFit",
    "SFHMode",
    "fit_sfh",
]
