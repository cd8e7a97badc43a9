"""Membership probabilities of the stars of a cluster."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from pymc.backends.arviz import apply_function_over_dataset
from pytensor import tensor as pt
from pytensor.tensor import TensorVariable

from pymc_starpop.likelihoods.single import single_logp
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.summaries.chosen import ChosenCluster, chosen_clusters, posterior_of

__all__ = ["membership"]


def membership(
    idata: Any,
    model: pm.Model | None = None,
    catalog: StarCatalog | None = None,
    *,
    name: str | None = None,
    cluster: str | None = None,
    progressbar: bool = True,
) -> xr.DataArray:
    """Probability that each star is a member, for every posterior draw.

    For star i, p_i = w_i L_c,i / [w_i L_c,i + (1 - w_i) F_i] with the terms of
    `pymc_starpop.cluster_logp`. The mean over chains and draws is the posterior probability of
    membership.

    Parameters
    ----------
    idata : xarray.DataTree or xarray.Dataset
        Result of `pm.sample`, or its posterior.
    model : pm.Model, optional
        The model that was sampled; by default the one of the surrounding ``with``.
    catalog : StarCatalog, optional
        Other stars in the same bands, by default those that were fitted. Stars beyond the limits
        of the selection are judged by the densities of members and field stars continued there.
    name : str, optional
        Name of the `ClusterPhotometry` variable, where the model has several.
    cluster : str, optional
        Name of a cluster, where the variable has several; by default all of them.
    progressbar : bool
        Whether to show progress.

    Returns
    -------
    xarray.DataArray
        Dimensions (chain, draw, star). Where the variable has several clusters there is a
        coordinate ``cluster`` of the stars.

    Raises
    ------
    ValueError
        If there is no model, the model has no such variable, the posterior lacks one of its
        parameters, or the catalog has other bands.
    """
    chosen = chosen_clusters(model, name, cluster, catalog)
    pymc_model = chosen[0].pymc_model
    posterior = posterior_of(idata, pymc_model)
    stars = np.concatenate([of.star if catalog is None else catalog.star for of in chosen])
    probability = membership_probability(chosen, catalog)
    function = pymc_model.compile_fn(
        inputs=pymc_model.free_RVs, outs=[probability], on_unused_input="ignore"
    )
    result = apply_function_over_dataset(
        function,
        posterior[[v.name for v in pymc_model.free_RVs]],
        output_var_names=["membership"],
        coords={"star": stars},
        dims={"membership": ["star"]},
        sample_dims=("chain", "draw"),
        progressbar=progressbar,
    )["membership"]
    if chosen[0].name is None:
        return result
    sizes = [of.star.size if catalog is None else catalog.n_star for of in chosen]
    return result.assign_coords(cluster=("star", np.repeat([of.name for of in chosen], sizes)))


def membership_probability(
    chosen: Sequence[ChosenCluster], catalog: StarCatalog | None
) -> TensorVariable:
    """Probability of membership (N,) in terms of the variables of the model."""
    first = chosen[0]
    if len(chosen) == 1:
        return _probability_of(first, catalog)
    op = first.rv.owner.op
    inputs = tuple(op.dist_params(first.rv.owner))
    return op.model.membership(pt.as_tensor(first.pymc_model.rvs_to_values[first.rv]), inputs)


def _probability_of(of: ChosenCluster, catalog: StarCatalog | None) -> TensorVariable:
    """Probability of membership (N,) of the stars of one cluster, or of a catalog of others."""
    terms, p, options = of.terms(catalog)
    return single_logp(of.cluster.iso, p, options, terms, membership=True)
