"""Plots. They take and return Matplotlib axes."""

from pymc_starpop.plots.cluster_check import plot_cluster_check
from pymc_starpop.plots.cmd import plot_cmd
from pymc_starpop.plots.hess import plot_hess, plot_hess_residuals
from pymc_starpop.plots.sfh import plot_amr, plot_cumulative_sfh, plot_sfh

__all__ = [
    "plot_amr",
    "plot_cluster_check",
    "plot_cmd",
    "plot_cumulative_sfh",
    "plot_hess",
    "plot_hess_residuals",
    "plot_sfh",
]
