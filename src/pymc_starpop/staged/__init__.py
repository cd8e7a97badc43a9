"""The cluster likelihood in the six steps of brutus, as plain functions on NumPy arrays.

`population_grid`, `cluster_loglike`, `outlier_loglike`, `mixture`, `marginalize`, and all of them
in `population_loglike`: for looking inside, for outlier models of one's own, and for tests. Grids
are mappings with the keys of brutus (Speagle et al. 2025); with its conventions every step gives
the numbers of astro-brutus 1.2.0. Shapes: N stars, B bands, G points of the grid.
"""

from pymc_starpop.staged.grid import in_magnitudes, population_grid
from pymc_starpop.staged.likelihood import cluster_loglike
from pymc_starpop.staged.outliers import outlier_loglike
from pymc_starpop.staged.priors import BinaryPrior, mass_ratio_prior
from pymc_starpop.staged.total import marginalize, mixture, population_loglike

__all__ = [
    "BinaryPrior",
    "cluster_loglike",
    "in_magnitudes",
    "marginalize",
    "mass_ratio_prior",
    "mixture",
    "outlier_loglike",
    "population_grid",
    "population_loglike",
]
