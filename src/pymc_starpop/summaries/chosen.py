"""Which cluster of which model is to be summarized, and results of several put together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from pytensor import tensor as pt
from pytensor.tensor import TensorVariable

from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters
from pymc_starpop.distributions.cluster import ClusterPhotometryRV
from pymc_starpop.distributions.cluster_model import ClusterModel
from pymc_starpop.distributions.stacked_model import StackedPhotometryModel
from pymc_starpop.field import FieldDensity
from pymc_starpop.likelihoods.stars import FURTHER, StarTerms, star_arrays
from pymc_starpop.likelihoods.track import differs_between_stars
from pymc_starpop.stars.catalog import StarCatalog

__all__ = ["ChosenCluster", "chosen_clusters", "joined", "posterior_of"]


@dataclass(frozen=True, eq=False)
class ChosenCluster:
    """One cluster of a PyMC model.

    Attributes
    ----------
    pymc_model : pm.Model
    rv : TensorVariable
        The `ClusterPhotometry` variable.
    place : place of the cluster in the stack of the variable, None for a single one
    """

    pymc_model: pm.Model
    rv: TensorVariable
    place: int | None

    @property
    def name(self) -> str | None:
        """Name of a cluster of a stack."""
        return None if self.place is None else self._model.cluster_names[self.place]

    @property
    def _model(self) -> Any:
        return self.rv.owner.op.model

    @property
    def cluster(self) -> ClusterModel:
        """The model of the cluster."""
        return self._model if self.place is None else self._model.clusters[self.place]

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The inputs of the model, in terms of the variables of the PyMC model."""
        given = tuple(self.rv.owner.op.dist_params(self.rv.owner))
        return given if self.place is None else self._model.inputs_of(self.place, given)

    @property
    def values(self) -> Any:
        """The data (N, K)."""
        given = pt.as_tensor(self.pymc_model.rvs_to_values[self.rv])
        return given if self.place is None else self._model.columns_of(self.place, given)

    @property
    def star(self) -> np.ndarray:
        """Labels of the stars (N,)."""
        dim = self.pymc_model.named_vars_to_dims[self.rv.name][0]
        labels = np.asarray(self.pymc_model.coords[dim])
        return labels if self.place is None else labels[self._model.rows_of(self.place)]

    def terms(
        self, catalog: StarCatalog | None = None
    ) -> tuple[StarTerms, ClusterParameters, ClusterOptions]:
        """What the likelihood takes from the stars, or from others, with parameters and options."""
        cluster, values = self.cluster, self.values
        variance, stars, slots = cluster.split(self.inputs)
        p, options = cluster.fill(slots)
        if catalog is not None:
            # What the model holds of each star; `check_other_stars` has seen that it is these.
            is_own = isinstance(options.field, FieldDensity)
            names = [*FURTHER, "log_field"] if is_own else FURTHER
            held = {name: stars[name] for name in names if name in stars}
            stars = star_arrays(catalog, p, replace(options, field=None) if is_own else options)
            stars = {name: pt.as_tensor(array) for name, array in stars.items()} | held
            values, variance = stars.pop("values"), stars.pop("variance")
        return cluster.terms(values, variance, stars), p, options

    def check_other_stars(self, catalog: StarCatalog | None) -> None:
        """Refuse stars in other bands, and other stars than those to which vectors belong."""
        if catalog is None:
            return
        if not isinstance(catalog, StarCatalog):
            raise ValueError(
                f"catalog must be a StarCatalog with stars of one cluster, got "
                f"{type(catalog).__name__}; leave it out for the fitted stars, or take the stars "
                "of one cluster out of a stack: cats[name]"
            )
        cluster = self.cluster
        if tuple(catalog.bands) != cluster.bands:
            raise ValueError(
                f"catalog has the bands {catalog.bands}, the model {cluster.bands}; give the same "
                "bands in the same order, with NaN where a star has no measurement"
            )
        p, options = cluster.fill(cluster.split(self.inputs)[2])
        by_star = {
            "av": differs_between_stars(p.av),
            "field": isinstance(options.field, FieldDensity),
            **{name: name in cluster.star_names for name in FURTHER},
        }
        names = [name for name, given in by_star.items() if given]
        if names and not np.array_equal(self.star, np.asarray(catalog.star)):
            raise ValueError(
                f"catalog has other stars than the model, whose {' and '.join(names)} hold one "
                "value for each star; give the fitted stars in their order, or leave catalog out"
            )


def chosen_clusters(
    model: pm.Model | None,
    name: str | None = None,
    cluster: str | None = None,
    catalog: StarCatalog | None = None,
) -> list[ChosenCluster]:
    """Return the clusters of a variable: all of a stack, or the one that is named.

    Parameters
    ----------
    model : pm.Model, optional
        By default the one of the surrounding ``with``.
    name : str, optional
        Name of the variable, where the model has several.
    cluster : str, optional
        Name of a cluster of a stack.
    catalog : StarCatalog, optional
        Other stars than those that were fitted, of one cluster.

    Raises
    ------
    ValueError
        Where there is no model, no such variable or cluster, or a catalog that does not fit.
    """
    found = pm.Model.get_context(error_if_none=False) if model is None else model
    if found is None:
        raise ValueError("model=None: there is no surrounding model; call it within `with model:`")
    rv = _variable(found, name)
    own = rv.owner.op.model
    if not isinstance(own, StackedPhotometryModel):
        if cluster is not None:
            raise ValueError(
                f"cluster={cluster!r}: the variable {rv.name!r} has the stars of one cluster, "
                "without a name; leave cluster out"
            )
        places: Sequence[int | None] = [None]
    elif cluster is None:
        if catalog is not None:
            raise ValueError(
                "catalog holds stars of one cluster, but no cluster= says of which; give "
                f"cluster= one of {', '.join(own.cluster_names)}, and a StarCatalog of its stars, "
                "or leave catalog out for the fitted ones"
            )
        places = range(len(own.clusters))
    elif cluster in own.cluster_names:
        places = [own.cluster_names.index(cluster)]
    else:
        raise ValueError(
            f"cluster={cluster!r} is none of the clusters of {rv.name!r}: "
            f"{', '.join(own.cluster_names)}"
        )
    chosen = [ChosenCluster(found, rv, place) for place in places]
    for of in chosen:
        of.check_other_stars(catalog)
    return chosen


def _variable(model: pm.Model, name: str | None) -> TensorVariable:
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


def posterior_of(idata: Any, model: pm.Model) -> xr.Dataset:
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


def joined(results: Sequence[xr.Dataset], chosen: Sequence[ChosenCluster], dim: str) -> xr.Dataset:
    """Put results of clusters together.

    Parameters
    ----------
    results : sequence of xarray.Dataset
        One for each cluster.
    chosen : sequence of ChosenCluster
    dim : {"star", "cluster"}
        Along the stars, which then have a coordinate ``cluster``, or along the clusters, with NaN
        where one has fewer entries or lacks a band.
    """
    names = [of.name for of in chosen]
    if names == [None]:
        return results[0]
    if dim == "star":
        labeled = [
            result.assign_coords(cluster=("star", [name] * result.sizes["star"]))
            for result, name in zip(results, names, strict=True)
        ]
        return xr.concat(labeled, dim="star", combine_attrs="override")
    numbered = [
        result.assign_coords({"system": np.arange(result.sizes["system"])})
        if "system" in result.sizes
        else result
        for result in results
    ]
    whole = xr.concat(numbered, dim="cluster", join="outer", combine_attrs="override")
    if "band" in whole.coords:
        bands = [band for result in results for band in result["band"].to_numpy()]
        whole = whole.reindex(band=list(dict.fromkeys(bands)))
    whole = whole.drop_vars("system", errors="ignore").assign_coords(cluster=names)
    return whole.transpose("chain", "draw", "cluster", ...)
