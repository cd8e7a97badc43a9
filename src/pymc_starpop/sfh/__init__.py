"""Star formation histories: fast fits, priors, and their place in a PyMC model."""

from pymc_starpop.sfh.fit import fit_sfh
from pymc_starpop.sfh.history import History, StarFormationHistory
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
from pymc_starpop.sfh.priors import (
    AgeBins,
    ContinuityPrior,
    FlatPrior,
    GaussianProcessPrior,
    LogNormalPrior,
    SFRPrior,
)
from pymc_starpop.sfh.result import SFHFit, SFHMode

__all__ = [
    "AgeBins",
    "ContinuityPrior",
    "Epochs",
    "FixedAMR",
    "FlatPrior",
    "GaussianProcessPrior",
    "History",
    "LinearAMR",
    "LogNormalPrior",
    "LogarithmicAMR",
    "MetallicityModel",
    "MonotoneAMR",
    "Parameter",
    "PowerLawMZR",
    "SFHFit",
    "SFHMode",
    "SFRPrior",
    "StarFormationHistory",
    "fit_sfh",
]
