"""PyMC distributions."""

from pymc_starpop.distributions.cluster import ClusterPhotometry

__all__ = ["ClusterPhotometry"]
