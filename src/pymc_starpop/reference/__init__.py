"""The cluster likelihood once more, slow and obvious, in NumPy and SciPy: the truth in tests.

Nothing here is pruned, compiled or differentiated. The integral along a segment uses normal
distribution functions in place of the quadrature of the kernels, and every segment has the full
covariance matrix of every star.
"""

import math
from typing import Any

import numpy as np

from pymc_starpop.cluster.parameters import is_zero, split_arguments
from pymc_starpop.field import ChiSquareField, InflatedScatterField
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.reference.members import data_of, detected_share, log_member_density
from pymc_starpop.reference.tracks import model_tracks
from pymc_starpop.stars.catalog import StarCatalog

__all__ = ["cluster_logp"]


def cluster_logp(iso: IsochroneGrid, catalog: StarCatalog, **parameters: Any) -> np.ndarray:
    """Log-likelihood (N,) of each star; arguments as `pymc_starpop.cluster_logp`, all numbers.

    Parameters
    ----------
    iso : IsochroneGrid
    catalog : StarCatalog
        N stars in B bands.
    **parameters
        As for `pymc_starpop.cluster_logp`. They are not checked here.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> iso, cat = psp.load_isochrones(), psp.load_example("ruprecht147").select([0, 1])
    >>> psp.reference.cluster_logp(iso, cat, feh=0.1, log_age=9.4, distance_pc=305.0).shape
    (2,)
    """
    if not isinstance(catalog, StarCatalog):
        raise ValueError(
            f"catalog must be a StarCatalog, got {type(catalog).__name__}; of a stack give each "
            "cluster with its own numbers: cats[name]"
        )
    p, options = split_arguments(parameters, iso)
    tracks = model_tracks(iso, catalog, p, options)
    log_cluster = log_member_density(catalog, tracks, p)
    z = detected_share(catalog, tracks, p, options)
    # Where the limits let nobody pass, no star of the catalog can be a member.
    log_cluster = log_cluster - (math.log(z) if z > 0.0 else math.inf)
    if options.member_logp is not None:
        log_cluster = log_cluster + np.asarray(options.member_logp)
    prior = 1.0 if catalog.membership_prior is None else catalog.membership_prior
    member = (1.0 - p.field_fraction) * prior * np.ones(catalog.n_star)
    if np.all(member == 1.0):
        return log_cluster
    log_field = _log_field(catalog, tracks, p, options)
    if options.field_logp is not None:
        log_field = log_field + np.asarray(options.field_logp)
    with np.errstate(divide="ignore"):
        return np.logaddexp(np.log(member) + log_cluster, np.log1p(-member) + log_field)


def _log_field(catalog, tracks, p, options):
    """Log density (N,) of field stars."""
    field = options.field
    if isinstance(field, InflatedScatterField):
        inflation = 1.0 + field.scale**2
        z = detected_share(catalog, tracks, p, options, inflation)
        log_density = log_member_density(catalog, tracks, p, inflation) - math.log(z)
        return log_density + field.log_density(catalog, options.selection)
    if isinstance(field, ChiSquareField):
        variance = np.diagonal(data_of(catalog, p)[1], axis1=1, axis2=2)
        if catalog.parallax is not None and is_zero(p.distance_modulus_scatter):
            variance = np.column_stack([variance, catalog.parallax_err**2])
        log_norm = 0.5 * np.nansum(np.log(variance), axis=1)
        return field.log_constant(np.isfinite(variance).sum(axis=1)) - log_norm
    return field.log_density(catalog, options.selection)
