"""Membership probabilities of the stars of a cluster."""

from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from pymc.backends.arviz import apply_function_over_dataset
from pytensor import tensor as pt
from pytensor.tensor import TensorVariable

from pymc_starpop.distributions.cluster import ClusterPhotometryRV
from pymc_starpop.field import FieldDensity
from pymc_starpop.likelihoods.cluster import ClusterParts, cluster_parts
from pymc_starpop.likelihoods.stars import star_arrays
from pymc_starpop.likelihoods.track import differs_between_stars
from pymc_starpop.stars.catalog import StarCatalog

__all__ = ["membership"]


def membership(
    idata: Any,
    model: pm.Model | None = None,
    catalog: StarCatalog | None = None,
    *,
    name: str | None = None,
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
    progressbar : bool
        Whether to show progress.

    Returns
    -------
    xarray.DataArray
        Dimensions (chain, draw, star).

    Raises
    ------
    ValueError
        If there is no model, the model has no such variable, the posterior lacks one of its
        parameters, or the catalog has other bands.
    """
    model = _model_of(model)
    rv = _cluster_variable(model, name)
    _check_other_stars(model, rv, catalog)
    probability = membership_probability(model, rv, catalog)
    posterior = _posterior(idata, model)
    stars = np.asarray(model.coords["star"]) if catalog is None else catalog.star
    function = model.compile_fn(inputs=model.free_RVs, outs=[probability], on_unused_input="ignore")
    result = apply_function_over_dataset(
        function,
        posterior[[v.name for v in model.free_RVs]],
        output_var_names=["membership"],
        coords={"star": stars},
        dims={"membership": ["star"]},
        sample_dims=("chain", "draw"),
        progressbar=progressbar,
    )
    return result["membership"]


def membership_probability(
    model: pm.Model, rv: TensorVariable, catalog: StarCatalog | None
) -> TensorVariable:
    """Probability of membership (N,) in terms of the variables of the model."""
    parts = parts_of(model, rv, catalog)
    # In logs: without a field, and for a star beyond hope, 0 times infinity would be no number.
    can_be_field = parts.member < 1.0
    rest = pt.log(pt.switch(can_be_field, 1.0 - parts.member, 1.0))
    share = pt.exp(pt.minimum(rest + parts.log_field - parts.logp, 0.0))
    return 1.0 - pt.switch(can_be_field, share, 0.0)


def parts_of(
    model: pm.Model, rv: TensorVariable, catalog: StarCatalog | None = None
) -> ClusterParts:
    """Build the likelihood of a cluster variable, in terms of the variables of the model.

    Parameters
    ----------
    model : pm.Model
    rv : TensorVariable
        The `ClusterPhotometry` variable.
    catalog : StarCatalog, optional
        Other stars than those that were fitted.
    """
    cluster, inputs = rv.owner.op.model, tuple(rv.owner.op.dist_params(rv.owner))
    if catalog is None:
        return cluster.parts(pt.as_tensor(model.rvs_to_values[rv]), inputs)
    p, options = cluster.fill(cluster.split(inputs)[2])
    stars = {name: pt.as_tensor(a) for name, a in star_arrays(catalog, p, options).items()}
    terms = cluster.terms(stars.pop("values"), stars.pop("variance"), stars)
    return cluster_parts(cluster.iso, p, options, terms)


def _cluster_variable(model: pm.Model, name: str | None) -> TensorVariable:
    """Find the cluster's variable in the model."""
    found = {
        rv.name: rv
        for rv in model.observed_RVs
        if rv.owner is not None and isinstance(rv.owner.op, ClusterPhotometryRV)
    }
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name in found:
        return found[name]
    listed = ", ".join(found) or "none"
    raise ValueError(
        f"name={name!r}: the model's ClusterPhotometry variables are: {listed}; give the name of "
        "one of them"
    )


def _check_other_stars(model: pm.Model, rv: TensorVariable, catalog: StarCatalog | None) -> None:
    """Refuse stars in other bands, and other stars than those to which vectors belong."""
    cluster = rv.owner.op.model
    if catalog is None:
        return
    if tuple(catalog.bands) != cluster.bands:
        raise ValueError(
            f"catalog has the bands {catalog.bands}, the model {cluster.bands}; give the same "
            "bands in the same order, with NaN where a star has no measurement"
        )
    p, options = cluster.fill(cluster.split(tuple(rv.owner.op.dist_params(rv.owner)))[2])
    by_star = {
        "av": differs_between_stars(p.av),
        "field": isinstance(options.field, FieldDensity),
    }
    names = [name for name, given in by_star.items() if given]
    if names and not np.array_equal(np.asarray(model.coords["star"]), np.asarray(catalog.star)):
        raise ValueError(
            f"catalog has other stars than the model, whose {' and '.join(names)} hold one value "
            "for each star; give the fitted stars in their order, or leave catalog out"
        )


def _model_of(model: pm.Model | None) -> pm.Model:
    """Return the model, or the one of the surrounding ``with``."""
    found = pm.Model.get_context(error_if_none=False) if model is None else model
    if found is None:
        raise ValueError("model=None: there is no surrounding model; call it within `with model:`")
    return found


def _posterior(idata: Any, model: pm.Model) -> xr.Dataset:
    """Return the posterior of the parameters of a model as a dataset."""
    if isinstance(idata, xr.DataTree):
        found = (idata["posterior"] if "posterior" in idata.children else idata).dataset
    elif isinstance(idata, xr.Dataset):
        found = idata
    else:
        raise ValueError(
            f"idata must be an xarray.DataTree from pm.sample or its posterior Dataset, got "
            f"{type(idata).__name__}"
        )
    lacking = [v.name for v in model.free_RVs if v.name not in found]
    if lacking:
        raise ValueError(
            f"idata: the posterior has no {', '.join(lacking)}, which the model has; give what "
            "pm.sample returned for this model"
        )
    return found
