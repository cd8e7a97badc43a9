"""PyMC distributions."""

from pymc_starpop.distributions.cluster import ClusterPhotometry
from pymc_starpop.distributions.correction_prior import correction_prior, correction_sigma
from pymc_starpop.distributions.hess import HessDiagram

__all__ = ["ClusterPhotometry", "HessDiagram", "correction_prior", "correction_sigma"]
