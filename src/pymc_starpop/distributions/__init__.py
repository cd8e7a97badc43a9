"""PyMC distributions."""

from pymc_starpop.distributions.cluster import ClusterPhotometry
from pymc_starpop.distributions.hess import HessDiagram

__all__ = ["ClusterPhotometry", "HessDiagram"]
