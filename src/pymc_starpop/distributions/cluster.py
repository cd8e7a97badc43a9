"""The photometry of a star cluster as a PyMC distribution."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pymc as pm
from pymc.distributions.distribution import Distribution, _support_point
from pymc.logprob.abstract import _logprob
from pytensor import tensor as pt
from pytensor.tensor import TensorVariable
from pytensor.tensor.random.op import RandomVariable

from pymc_starpop.distributions.cluster_model import ClusterModel, cluster_model
from pymc_starpop.distributions.stacked_model import StackedPhotometryModel, photometry_of_stack
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.likelihoods.checks import checked_cluster
from pymc_starpop.likelihoods.cluster import as_float64
from pymc_starpop.likelihoods.stacked import checked_stack
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.stacked import StackedCatalog

__all__ = ["ClusterPhotometry"]


class ClusterPhotometryRV(RandomVariable):
    """Magnitudes (N, B) of the stars of a cluster, a draw for each star.

    Inputs are variances (N, B), arrays (N,), and parameters: scalars, or with one value for each
    band or each cluster.
    """

    name = "cluster_photometry"
    dtype = "float64"
    __props__ = ("name", "signature", "dtype", "inplace", "model")
    _print_name = ("ClusterPhotometry", r"\operatorname{ClusterPhotometry}")

    def __init__(self, model: ClusterModel | StackedPhotometryModel, signature: str, **kwargs: Any):
        self.model = model
        super().__init__(signature=signature, **{"dtype": "float64", **kwargs})

    def __str__(self) -> str:
        """Return the name alone: warnings of PyTensor show it, and the model has much to say."""
        return type(self).__name__

    def rng_fn(self, rng, *args):
        """Draw members from the isochrone and field stars from the field model."""
        *inputs, _ = args
        return self.model.draw(tuple(inputs), rng)


@_logprob.register(ClusterPhotometryRV)
def _cluster_logprob(op, values, rng, size, *inputs, **kwargs):
    return op.model.logp(values[0], inputs)


@_support_point.register(ClusterPhotometryRV)
def _cluster_support_point(op, rv, rng, size, *inputs):
    return pt.zeros_like(rv)


class ClusterPhotometry(Distribution):
    """Photometry of a star cluster, or of several: the distribution of its stars' magnitudes.

    The log-probability is one number a star, that of `pymc_starpop.cluster_logp`; draws are new
    magnitudes with the errors of the catalog. Dimensions are star and band, whose coordinates
    `StarCatalog.coords` gives.

    Parameters
    ----------
    name : str
        Name of the variable.
    iso : IsochroneGrid, or a mapping of them by cluster
        Isochrones.
    observed : StarCatalog or StackedCatalog
        The stars; of several clusters where it is a stack.
    dims : tuple of two str
        Names of the dimensions, ("star", "band") by default. Several catalogs in one model need
        their own; ``catalog.coords(star=..., band=...)`` gives their coordinates.
    **parameters
        As for `pymc_starpop.cluster_logp`; priors, numbers or any PyTensor expression.

    Raises
    ------
    ValueError
        As `pymc_starpop.cluster_logp`.

    Examples
    --------
    >>> import pymc as pm, pymc_starpop as psp
    >>> iso = psp.load_isochrones()
    >>> cat = psp.simulate_cluster(iso, n_star=20, bands=["Gaia_G_EDR3", "2MASS_Ks"], rng=1,
    ...                            feh=0.0, log_age=9.0, distance_modulus=10.0)
    >>> with pm.Model(coords=cat.coords()) as model:
    ...     age = pm.Uniform("log_age", 8.5, 9.5)
    ...     stars = psp.ClusterPhotometry("stars", iso, feh=0.0, log_age=age,
    ...                                   distance_modulus=10.0, observed=cat)
    >>> model.named_vars_to_dims["stars"]
    ('star', 'band')
    """

    rv_type = ClusterPhotometryRV
    rv_op = ClusterPhotometryRV

    def __new__(
        cls, name: str, iso: IsochroneGrid | Mapping[str, IsochroneGrid], *,
        observed: StarCatalog | StackedCatalog,
        dims: tuple[str, str] = ("star", "band"), **kwargs: Any,
    ):  # fmt: skip
        """Add the variable to the model on the context stack."""
        model = pm.modelcontext(None)
        _check_observed(observed)
        star, band = _check_dims(dims)
        if "cluster" in (star, band) and isinstance(observed, StackedCatalog):
            raise ValueError(
                f"dims={dims!r}: 'cluster' is the dimension of the clusters of the stack; give the "
                'stars and bands others, such as ("star", "band")'
            )
        for dim, labels in observed.coords(star=star, band=band).items():
            if dim not in model.coords:
                model.add_coord(dim, labels)
            elif not _serves(dim, list(model.coords[dim]), list(labels)):
                raise ValueError(
                    f"observed: the model's coordinate {dim!r} has {len(model.coords[dim])} "
                    f"labels that are not those of the catalog ({len(labels)}); build the model "
                    "with coords=catalog.coords(), or give a second catalog dimensions of its "
                    f'own: dims=("{star}_2", "{band}_2")'
                )
        values = np.where(observed.measured, observed.values, 0.0)
        return super().__new__(
            cls, name, iso, observed, observed=values, dims=(star, band), **kwargs
        )

    @classmethod
    def dist(
        cls, iso: IsochroneGrid | Mapping[str, IsochroneGrid],
        catalog: StarCatalog | StackedCatalog, **kwargs: Any,
    ) -> TensorVariable:  # fmt: skip
        """Return the random variable without adding it to a model.

        Parameters
        ----------
        iso : IsochroneGrid
            Isochrones.
        catalog : StarCatalog
            Gives the bands, errors, parallaxes and membership priors.
        **kwargs
            Parameters and options of `pymc_starpop.cluster_logp`.
        """
        return_next_rng = kwargs.pop("return_next_rng", False)
        rng = kwargs.pop("rng", None) or pt.random.shared_rng(seed=None)
        kwargs.pop("shape", None)
        _check_observed(catalog)
        model: ClusterModel | StackedPhotometryModel
        if isinstance(catalog, StackedCatalog):
            model, inputs, cores = photometry_of_stack(checked_stack(iso, catalog, kwargs))
        else:
            grid: Any = iso
            p, options = checked_cluster(grid, catalog, kwargs)
            model, inputs, cores = cluster_model(grid, catalog, p.map_values(as_float64), options)
        op = ClusterPhotometryRV(model, f"{','.join(cores)}->(b)")
        next_rng, rv = op(*inputs, rng=rng, return_next_rng=True)
        return (next_rng, rv) if return_next_rng else rv


def _serves(dim: str, present: list[Any], labels: list[Any]) -> bool:
    """Whether a coordinate of the model can be that of a catalog.

    A model with two stacks has the clusters of the first as its coordinate.
    """
    return present == labels or (dim == "cluster" and not set(present) & set(labels))


def _check_dims(dims: Any) -> tuple[str, str]:
    """Two different names."""
    named = isinstance(dims, tuple | list) and all(isinstance(dim, str) and dim for dim in dims)
    if not named or len(dims) != 2 or dims[0] == dims[1]:
        raise ValueError(
            f"dims must be the names of two dimensions, of stars and of bands, got {dims!r}; "
            'give for instance ("star", "band")'
        )
    return dims[0], dims[1]


def _check_observed(catalog: Any) -> None:
    if not isinstance(catalog, StarCatalog | StackedCatalog):
        raise ValueError(
            f"observed must be a StarCatalog, got {type(catalog).__name__}; make one with "
            "psp.StarCatalog(mag, mag_err, bands=...) or psp.StarCatalog.from_table(...), or of "
            "several clusters with psp.StarCatalog.stack({name: catalog, ...})"
        )
