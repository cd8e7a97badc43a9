"""Likelihoods of stellar populations for PyMC."""

from pymc_starpop import reference
from pymc_starpop.corrections import EmpiricalCorrections
from pymc_starpop.distributions import ClusterPhotometry, HessDiagram
from pymc_starpop.examples_data import load_example
from pymc_starpop.field import UniformField
from pymc_starpop.hess import (
    ErrorModel,
    ExponentialError,
    HessAxes,
    LogisticCompleteness,
    MassRatioBinaries,
    NoBinaries,
    RandomBinaryPairs,
    TemplateSet,
    bin_cmd,
    load_templates,
    polygon_mask,
)
from pymc_starpop.imf import BrokenPowerLaw, Chabrier, Kroupa, LogNormal, PowerLaw, Salpeter
from pymc_starpop.isochrones import Isochrone, IsochroneGrid, load_isochrones
from pymc_starpop.likelihoods.cluster import cluster_logp
from pymc_starpop.likelihoods.hess import hess_logp, plr
from pymc_starpop.metallicity import (
    linear_amr,
    linear_amr_through,
    log_amr,
    log_amr_through,
    metallicity_weights,
    monotone_amr,
    power_law_mzr,
)
from pymc_starpop.photometry import StarCatalog
from pymc_starpop.plots import (
    plot_amr,
    plot_cmd,
    plot_cumulative_sfh,
    plot_hess,
    plot_hess_residuals,
    plot_sfh,
)
from pymc_starpop.selection import MagnitudeLimits
from pymc_starpop.sfh import (
    Epochs,
    FixedAMR,
    LinearAMR,
    LogarithmicAMR,
    MetallicityModel,
    MonotoneAMR,
    Parameter,
    PowerLawMZR,
    SFHFit,
    fit_sfh,
)
from pymc_starpop.simulate import (
    CompositePopulation,
    observe,
    recycled_fraction,
    simulate_cluster,
    simulate_cmd,
    surviving_fraction,
)
from pymc_starpop.summaries import find_start, membership, sfh_draws, summarize_sfh

__all__ = [
    "BrokenPowerLaw",
    "Chabrier",
    "ClusterPhotometry",
    "CompositePopulation",
    "EmpiricalCorrections",
    "Epochs",
    "ErrorModel",
    "ExponentialError",
    "FixedAMR",
    "HessAxes",
    "HessDiagram",
    "Isochrone",
    "IsochroneGrid",
    "Kroupa",
    "LinearAMR",
    "LogNormal",
    "LogarithmicAMR",
    "LogisticCompleteness",
    "MagnitudeLimits",
    "MassRatioBinaries",
    "MetallicityModel",
    "MonotoneAMR",
    "NoBinaries",
    "Parameter",
    "PowerLaw",
    "PowerLawMZR",
    "RandomBinaryPairs",
    "SFHFit",
    "Salpeter",
    "StarCatalog",
    "TemplateSet",
    "UniformField",
    "bin_cmd",
    "cluster_logp",
    "find_start",
    "fit_sfh",
    "hess_logp",
    "linear_amr",
    "linear_amr_through",
    "load_example",
    "load_isochrones",
    "load_templates",
    "log_amr",
    "log_amr_through",
    "membership",
    "metallicity_weights",
    "monotone_amr",
    "observe",
    "plot_amr",
    "plot_cmd",
    "plot_cumulative_sfh",
    "plot_hess",
    "plot_hess_residuals",
    "plot_sfh",
    "plr",
    "polygon_mask",
    "power_law_mzr",
    "recycled_fraction",
    "reference",
    "sfh_draws",
    "simulate_cluster",
    "simulate_cmd",
    "summarize_sfh",
    "surviving_fraction",
]
