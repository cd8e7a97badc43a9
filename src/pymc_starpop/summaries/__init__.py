"""What comes before and after sampling: starting points, stars, masses, formation histories."""

from pymc_starpop.summaries.bins import drop_constant_bins
from pymc_starpop.summaries.check_cluster_fit import ClusterCheck, check_cluster_fit
from pymc_starpop.summaries.check_sampling import SamplingReport, check_sampling
from pymc_starpop.summaries.cluster_mass import cluster_mass
from pymc_starpop.summaries.luminosity import luminosity_function
from pymc_starpop.summaries.membership import membership
from pymc_starpop.summaries.predict_cmd import predict_cmd
from pymc_starpop.summaries.sfh import sfh_draws, summarize_sfh
from pymc_starpop.summaries.star_posterior import star_posterior, summarize_stars
from pymc_starpop.summaries.start import Start, find_start

__all__ = [
    "ClusterCheck",
    "SamplingReport",
    "Start",
    "check_cluster_fit",
    "check_sampling",
    "cluster_mass",
    "drop_constant_bins",
    "find_start",
    "luminosity_function",
    "membership",
    "predict_cmd",
    "sfh_draws",
    "star_posterior",
    "summarize_sfh",
    "summarize_stars",
]
