"""The photometry of a star cluster as a PyMC distribution."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pymc as pm
from pymc.distributions.distribution import Distribution, _support_point
from pymc.logprob.abstract import _logprob
from pytensor import tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor import TensorVariable
from pytensor.tensor.random.op import RandomVariable

from pymc_starpop.cluster.checks import ranged_values
from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters, split_arguments
from pymc_starpop.field import FieldDensity, InflatedScatterField
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.likelihoods.checks import check_catalog, check_cluster
from pymc_starpop.likelihoods.cluster import ClusterParts, as_float64, cluster_parts
from pymc_starpop.likelihoods.stars import (
    Limits,
    StarTerms,
    layout_of,
    limits_of,
    star_arrays,
)
from pymc_starpop.likelihoods.track import Layout
from pymc_starpop.simulate import draw_photometry
from pymc_starpop.stars.catalog import StarCatalog

__all__ = ["ClusterPhotometry"]

# Parameters that may have one value for each band; of the others, vectors go with the stars.
_BY_BAND = ("intrinsic_scatter", "zero_points")


@dataclass(frozen=True)
class Slot:
    """Stands for a symbolic parameter in a template, of as many dimensions."""

    name: str
    ndim: int = 0
    owner: None = None  # what the variable has that it stands for


@dataclass(frozen=True, eq=False)
class ClusterModel:
    """All of a cluster model but its data and its symbolic parameters.

    Attributes
    ----------
    iso : IsochroneGrid
    template : ClusterParameters
        Numbers, and a `Slot` for each symbolic parameter.
    options : ClusterOptions
    layout : the rows that the model predicts
    limits : the selection in the space of the data, or None
    is_flux : whether the data are fluxes
    star_names : names of the arrays with one entry a star that follow the variances
    slot_names : names of the symbolic parameters, in the order of the inputs
    """

    iso: IsochroneGrid
    template: ClusterParameters
    options: ClusterOptions
    layout: Layout
    limits: Limits | None
    is_flux: bool
    star_names: tuple[str, ...]
    slot_names: tuple[str, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """What tells two models apart."""
        parts = (
            self.iso.fingerprint, self.template, self.options, self.layout, self.limits,
            self.is_flux, self.star_names, self.slot_names,
        )  # fmt: skip
        return tuple(repr(part) for part in parts)

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the columns of the catalog: bands and colors."""
        return self.layout.columns

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClusterModel) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def fill(self, values: tuple[Any, ...]) -> tuple[ClusterParameters, ClusterOptions]:
        """Return parameters and options with values in place of the slots.

        Beside the stars, a parameter that is the same for all has a leading axis of length 1.
        """
        given = dict(zip(self.slot_names, values, strict=True))

        def take(name: str, value: Any) -> Any:
            if not isinstance(value, Slot):
                return value
            found = given[name]
            return found[0] if found.ndim > value.ndim else found

        return self.template.map_values(take), _map_field_scale(self.options, take)

    def split(self, inputs: tuple[Any, ...]) -> tuple[Any, dict[str, Any], tuple[Any, ...]]:
        """Sort the inputs of the random variable into variances, star arrays and slots."""
        n = 1 + len(self.star_names)
        return inputs[0], dict(zip(self.star_names, inputs[1:n], strict=True)), inputs[n:]

    def terms(self, values: Any, variance: Any, stars: dict[str, Any]) -> StarTerms:
        """What the likelihood takes from the stars."""
        return StarTerms(
            values=values, variance=variance, limits=self.limits, is_flux=self.is_flux,
            layout=self.layout, **stars,
        )  # fmt: skip

    def parts(self, values: Any, inputs: tuple[Any, ...]) -> ClusterParts:
        """Build the likelihood from the data (N, B) and the inputs of the random variable."""
        variance, stars, slots = self.split(inputs)
        p, options = self.fill(slots)
        return cluster_parts(self.iso, p, options, self.terms(values, variance, stars))


def _map_field_scale(
    options: ClusterOptions, function: Callable[[str, Any], Any]
) -> ClusterOptions:
    """Return options with the one parameter that a field model has replaced."""
    if not isinstance(options.field, InflatedScatterField):
        return options
    scale = function("field.scale", options.field.scale)
    return replace(options, field=replace(options.field, scale=scale))


class ClusterPhotometryRV(RandomVariable):
    """Magnitudes (N, B) of the stars of a cluster, a draw for each star.

    Inputs are variances (N, B), arrays (N,), and scalar parameters (or one for each band).
    """

    name = "cluster_photometry"
    dtype = "float64"
    __props__ = ("name", "signature", "dtype", "inplace", "model")
    _print_name = ("ClusterPhotometry", r"\operatorname{ClusterPhotometry}")

    def __init__(self, model: ClusterModel, signature: str, **kwargs: Any):
        self.model = model
        super().__init__(signature=signature, **{"dtype": "float64", **kwargs})

    def rng_fn(self, rng, *args):
        """Draw members from the isochrone and field stars from the field model."""
        *inputs, _ = args
        model = self.model
        variance, stars, slots = model.split(tuple(inputs))
        p, options = model.fill(tuple(np.asarray(s) for s in slots))
        sigma = np.sqrt(variance)
        measured = np.isfinite(sigma)
        if not _within_ranges(model.iso, p):
            return np.full(variance.shape, np.nan)
        prior = stars.get("membership_prior", 1.0)
        is_field = rng.random(len(variance)) >= prior * (1.0 - p.field_fraction)
        errors = np.where(measured, sigma, 1.0)
        drawn = draw_photometry(
            model.iso, model.bands, p, options, errors, model.is_flux, is_field, rng
        )
        return np.where(measured, drawn, np.nan)


def _within_ranges(iso: IsochroneGrid, p: ClusterParameters) -> bool:
    """Whether all numbers lie where the model is defined."""
    for _, value, ((low, high), _) in ranged_values(iso, p):
        if not np.all((value >= low) & (value <= high)):
            return False
    return True


@_logprob.register(ClusterPhotometryRV)
def _cluster_logprob(op, values, rng, size, *inputs, **kwargs):
    return op.model.parts(values[0], inputs).logp


@_support_point.register(ClusterPhotometryRV)
def _cluster_support_point(op, rv, rng, size, *inputs):
    return pt.zeros_like(rv)


class ClusterPhotometry(Distribution):
    """Photometry of a star cluster: the distribution of its stars' magnitudes.

    The log-probability is one number a star, that of `pymc_starpop.cluster_logp`; draws are new
    magnitudes with the errors of the catalog. Dimensions are star and band, whose coordinates
    `StarCatalog.coords` gives.

    Parameters
    ----------
    name : str
        Name of the variable.
    iso : IsochroneGrid
        Isochrones.
    observed : StarCatalog
        The stars.
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
        cls, name: str, iso: IsochroneGrid, *, observed: StarCatalog,
        dims: tuple[str, str] = ("star", "band"), **kwargs: Any,
    ):  # fmt: skip
        """Add the variable to the model on the context stack."""
        model = pm.modelcontext(None)
        _check_observed(observed)
        star, band = _check_dims(dims)
        for dim, labels in observed.coords(star=star, band=band).items():
            if dim not in model.coords:
                model.add_coord(dim, labels)
            elif list(model.coords[dim]) != list(labels):
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
    def dist(cls, iso: IsochroneGrid, catalog: StarCatalog, **kwargs: Any) -> TensorVariable:
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
        p, options = split_arguments(kwargs, iso)
        _check_observed(catalog)
        check_catalog(iso, catalog, options)
        check_cluster(iso, p, options, catalog)
        p = p.map_values(as_float64)
        stars = star_arrays(catalog, p, options)
        if hasattr(options.field, "frozen"):
            options = replace(options, field=options.field.frozen(catalog, options.selection))
        slots: dict[str, Variable] = {}

        def take(name: str, value: Any) -> Any:
            if not isinstance(value, Variable):
                return value
            slots[name] = value
            return Slot(name, value.ndim)

        template = p.map_values(take)
        options = _map_field_scale(options, take)
        if isinstance(options.field, FieldDensity) and options.field.is_symbolic:
            # The densities are an input of the variable; the model keeps what draws them.
            options = replace(options, field=FieldDensity(np.zeros(0), options.field.sampler))
        del stars["values"]
        variance = stars.pop("variance")
        model = ClusterModel(
            iso=iso,
            template=template,
            options=options,
            layout=layout_of(catalog),
            limits=limits_of(catalog, options),
            is_flux=catalog.is_flux,
            star_names=tuple(stars),
            slot_names=tuple(slots),
        )
        params = [variance, *stars.values(), *slots.values()]
        core = ["(b)"] + ["()"] * len(stars)
        # Colors have more bands than there are columns.
        core += ["(c)" if name in _BY_BAND and v.type.ndim else "()" for name, v in slots.items()]
        op = ClusterPhotometryRV(model, ",".join(core) + "->(b)")
        next_rng, rv = op(*params, rng=rng, return_next_rng=True)
        return (next_rng, rv) if return_next_rng else rv


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
    if not isinstance(catalog, StarCatalog):
        raise ValueError(
            f"observed must be a StarCatalog, got {type(catalog).__name__}; make one with "
            "psp.StarCatalog(mag, mag_err, bands=...) or psp.StarCatalog.from_table(...)"
        )
