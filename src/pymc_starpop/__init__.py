"""Likelihoods of stellar populations for PyMC."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pymc_starpop import reference, staged
from pymc_starpop.cluster.parameters import SecondPopulation
from pymc_starpop.distributions import (
    ClusterPhotometry,
    HessDiagram,
    correction_prior,
    correction_sigma,
)
from pymc_starpop.field import (
    ChiSquareField,
    ControlField,
    FieldDensity,
    InflatedScatterField,
    ProperMotionField,
    UniformField,
)
from pymc_starpop.hess import (
    ArtificialStars,
    Background,
    ErrorModel,
    ExponentialError,
    HessAxes,
    LogisticCompleteness,
    MassRatioBinaries,
    NoBinaries,
    RandomBinaryPairs,
    TemplateSet,
    background_template,
    bin_cmd,
    build_template,
    build_templates,
    load_templates,
    polygon_mask,
    read_dolphot,
    read_dolphot_artificial_stars,
    read_match_artificial_stars,
    read_match_photometry,
)
from pymc_starpop.isochrones import (
    Isochrone,
    IsochroneFileError,
    IsochroneGrid,
    load_isochrones,
    open_isochrones,
    passband_wavelength,
    read_basti,
    read_mist,
    read_mist_bc,
    read_parsec,
    read_table,
    save_isochrones,
)
from pymc_starpop.isochrones.corrections import Corrections
from pymc_starpop.isochrones.empirical_corrections import EmpiricalCorrections
from pymc_starpop.isochrones.magnitude_corrections import MagnitudeCorrections
from pymc_starpop.isochrones.sequence_knots import SequenceKnots
from pymc_starpop.likelihoods.function import cluster_function
from pymc_starpop.likelihoods.hess import hess_logp, plr
from pymc_starpop.likelihoods.logp import cluster_logp
from pymc_starpop.likelihoods.proper_motion import proper_motion_logp
from pymc_starpop.population.ages import AgeDistribution
from pymc_starpop.population.imf import (
    BrokenPowerLaw,
    Chabrier,
    Kroupa,
    LogNormal,
    PowerLaw,
    Salpeter,
)
from pymc_starpop.sfh import (
    AgeBins,
    ContinuityPrior,
    Epochs,
    FixedAMR,
    FlatPrior,
    GaussianProcessPrior,
    LinearAMR,
    LogarithmicAMR,
    LogNormalPrior,
    MetallicityModel,
    MonotoneAMR,
    Parameter,
    PowerLawMZR,
    SFHFit,
    SFRPrior,
    StarFormationHistory,
    fit_sfh,
)
from pymc_starpop.sfh.metallicity import (
    linear_amr,
    linear_amr_through,
    log_amr,
    log_amr_through,
    metallicity_weights,
    monotone_amr,
    power_law_mzr,
)
from pymc_starpop.simulate import (
    CompositePopulation,
    observe,
    recycled_fraction,
    simulate_cluster,
    simulate_cmd,
    surviving_fraction,
)
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.examples import load_example
from pymc_starpop.stars.gaia import GaiaReport
from pymc_starpop.stars.selection import MagnitudeLimits
from pymc_starpop.stars.stacked import StackedCatalog
from pymc_starpop.summaries import (
    check_cluster_fit,
    check_sampling,
    cluster_mass,
    drop_constant_bins,
    find_start,
    luminosity_function,
    membership,
    predict_cmd,
    sfh_draws,
    star_posterior,
    summarize_sfh,
    summarize_stars,
)

if TYPE_CHECKING:
    from pymc_starpop.plots import (
        plot_amr,
        plot_cluster_check,
        plot_cmd,
        plot_cumulative_sfh,
        plot_hess,
        plot_hess_residuals,
        plot_sfh,
    )

__all__ = [
    "AgeBins",
    "AgeDistribution",
    "ArtificialStars",
    "Background",
    "BrokenPowerLaw",
    "Chabrier",
    "ChiSquareField",
    "ClusterPhotometry",
    "CompositePopulation",
    "ContinuityPrior",
    "ControlField",
    "Corrections",
    "EmpiricalCorrections",
    "Epochs",
    "ErrorModel",
    "ExponentialError",
    "FieldDensity",
    "FixedAMR",
    "FlatPrior",
    "GaiaReport",
    "GaussianProcessPrior",
    "HessAxes",
    "HessDiagram",
    "InflatedScatterField",
    "Isochrone",
    "IsochroneFileError",
    "IsochroneGrid",
    "Kroupa",
    "LinearAMR",
    "LogNormal",
    "LogNormalPrior",
    "LogarithmicAMR",
    "LogisticCompleteness",
    "MagnitudeCorrections",
    "MagnitudeLimits",
    "MassRatioBinaries",
    "MetallicityModel",
    "MonotoneAMR",
    "NoBinaries",
    "Parameter",
    "PowerLaw",
    "PowerLawMZR",
    "ProperMotionField",
    "RandomBinaryPairs",
    "SFHFit",
    "SFRPrior",
    "Salpeter",
    "SecondPopulation",
    "SequenceKnots",
    "StackedCatalog",
    "StarCatalog",
    "StarFormationHistory",
    "TemplateSet",
    "UniformField",
    "background_template",
    "bin_cmd",
    "build_template",
    "build_templates",
    "check_cluster_fit",
    "check_sampling",
    "cluster_function",
    "cluster_logp",
    "cluster_mass",
    "correction_prior",
    "correction_sigma",
    "drop_constant_bins",
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
    "luminosity_function",
    "membership",
    "metallicity_weights",
    "monotone_amr",
    "observe",
    "open_isochrones",
    "passband_wavelength",
    "plot_amr",
    "plot_cluster_check",
    "plot_cmd",
    "plot_cumulative_sfh",
    "plot_hess",
    "plot_hess_residuals",
    "plot_sfh",
    "plr",
    "polygon_mask",
    "power_law_mzr",
    "predict_cmd",
    "proper_motion_logp",
    "read_basti",
    "read_dolphot",
    "read_dolphot_artificial_stars",
    "read_match_artificial_stars",
    "read_match_photometry",
    "read_mist",
    "read_mist_bc",
    "read_parsec",
    "read_table",
    "recycled_fraction",
    "reference",
    "save_isochrones",
    "sfh_draws",
    "simulate_cluster",
    "simulate_cmd",
    "staged",
    "star_posterior",
    "summarize_sfh",
    "summarize_stars",
    "surviving_fraction",
]


def __getattr__(name: str) -> Any:
    """Import what draws figures when it is asked for: Matplotlib takes seconds to import."""
    if name == "plots" or (name.startswith("plot_") and name in __all__):
        plots = import_module("pymc_starpop.plots")
        return plots if name == "plots" else getattr(plots, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
