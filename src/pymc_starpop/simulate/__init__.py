"""Simulated star clusters and galaxies."""

from pymc_starpop.simulate.cluster import draw_photometry, simulate_cluster
from pymc_starpop.simulate.galaxy import simulate_cmd
from pymc_starpop.simulate.light import recycled_fraction, surviving_fraction
from pymc_starpop.simulate.members import ClusterSampler, draw_mass_ratio, draw_observed
from pymc_starpop.simulate.observe import observe
from pymc_starpop.simulate.population import CompositePopulation

__all__ = [
    "ClusterSampler",
    "CompositePopulation",
    "draw_mass_ratio",
    "draw_observed",
    "draw_photometry",
    "observe",
    "recycled_fraction",
    "simulate_cluster",
    "simulate_cmd",
    "surviving_fraction",
]
