"""Models of the photometry of a cluster, without their variables: for random variables."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pytensor.graph.basic import Variable
from scipy.special import expit

from pymc_starpop.cluster.checks import ranged_values
from pymc_starpop.cluster.parameters import Axes, ClusterOptions, ClusterParameters
from pymc_starpop.field import FieldDensity
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.likelihoods.kinds import classes_of
from pymc_starpop.likelihoods.single import single_logp
from pymc_starpop.likelihoods.slots import Slot, map_field_scale
from pymc_starpop.likelihoods.stars import Limits, StarTerms, layout_of, limits_of, star_arrays
from pymc_starpop.likelihoods.track import Layout
from pymc_starpop.simulate import draw_photometry
from pymc_starpop.stars.catalog import StarCatalog

__all__ = ["ClusterModel", "cluster_model", "core_of"]

# Names of core dimensions; the stars are the batch, and colors have more bands than columns.
_CORE_NAMES: dict[str | int, str] = {"cluster": "k", "band": "c"}


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
            self.is_flux, self.star_names, self.slot_names, classes_of(self.template),
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

        return self.template.map_values(take), map_field_scale(self.options, take)

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

    def draw(self, inputs: tuple[Any, ...], rng: np.random.Generator) -> np.ndarray:
        """Draw members from the isochrone and field stars from the field model, (N, K).

        The inputs are numbers; outside of their ranges the draws are NaN.
        """
        sigma = np.sqrt(inputs[0])
        measured = np.isfinite(sigma)
        drawn, _ = self.draw_catalog(inputs, np.where(measured, sigma, 1.0), rng)
        return np.where(measured, drawn, np.nan)

    def draw_catalog(
        self, inputs: tuple[Any, ...], errors: Any, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the stars of a new catalog (N, K), and which are field stars (N,).

        Errors (N, K), or a function that gives those of what is measured, are positive and finite.
        """
        variance, stars, slots = self.split(inputs)
        p, options = self.fill(tuple(np.asarray(s) for s in slots))
        if not _within_ranges(self.iso, p):
            return np.full(variance.shape, np.nan), np.zeros(len(variance), dtype=bool)
        member = stars.get("membership_prior", 1.0) * (1.0 - p.field_fraction)
        if "member_logp" in stars or "field_logp" in stars:
            # What else is known of the star has its say before its photometry is drawn.
            odds = stars.get("field_logp", 0.0) - stars.get("member_logp", 0.0)
            with np.errstate(divide="ignore"):
                member = expit(np.log(member) - np.log1p(-member) - odds)
        is_field = rng.random(len(variance)) >= member
        drawn = draw_photometry(
            self.iso, self.bands, p, options, errors, self.is_flux, is_field, rng
        )
        return drawn, is_field

    def logp(self, values: Any, inputs: tuple[Any, ...]) -> Any:
        """Log-likelihood of each star (N,), from the data (N, K) and the inputs."""
        variance, stars, slots = self.split(inputs)
        p, options = self.fill(slots)
        return single_logp(self.iso, p, options, self.terms(values, variance, stars))


def _within_ranges(iso: IsochroneGrid, p: ClusterParameters) -> bool:
    """Whether all numbers lie where the model is defined."""
    for _, value, ((low, high), _) in ranged_values(iso, p):
        if not np.all((value >= low) & (value <= high)):
            return False
    return True


def core_of(axes: Axes) -> str:
    """Return the part of a signature of a parameter with these axes."""
    names = [_CORE_NAMES.get(axis, f"n{axis}") for axis in axes if axis != "star"]
    return f"({','.join(names)})"


def cluster_model(
    iso: IsochroneGrid, catalog: StarCatalog, p: ClusterParameters, options: ClusterOptions
) -> tuple[ClusterModel, list[Any], list[str]]:
    """Take the data and the symbolic parameters out of a model.

    Parameters
    ----------
    iso : IsochroneGrid
    catalog : StarCatalog
    p : ClusterParameters
        Checked; numbers as float64.
    options : ClusterOptions

    Returns
    -------
    model : ClusterModel
    inputs : list
        Of the random variable: variances (N, K), the arrays (N,) of `ClusterModel.star_names`, and
        the symbolic parameters.
    cores : list of str
        Their part of the signature of the random variable, whose output is (b).
    """
    stars = star_arrays(catalog, p, options)
    if hasattr(options.field, "frozen"):
        options = replace(options, field=options.field.frozen(catalog, options.selection))
    options = replace(options, member_logp=None, field_logp=None)
    slots: dict[str, Variable] = {}

    def take(name: str, value: Any) -> Any:
        if not isinstance(value, Variable):
            return value
        slots[name] = value
        return Slot(name, value.ndim)

    template = p.map_values(take)
    options = map_field_scale(options, take)
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
    axes = p.axes()
    of_slots = [
        core_of(axes.get(name, ()) if value.type.ndim else ()) for name, value in slots.items()
    ]
    inputs = [variance, *stars.values(), *slots.values()]
    return model, inputs, ["(b)", *["()"] * len(stars), *of_slots]
