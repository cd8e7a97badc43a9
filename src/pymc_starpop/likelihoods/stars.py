"""What the cluster likelihood takes from a star catalog."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable

from pymc_starpop.cluster.checks import number_of
from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters, is_zero
from pymc_starpop.field.given import without_constant
from pymc_starpop.likelihoods.track import Layout
from pymc_starpop.ops._tables import shared_input
from pymc_starpop.stars.catalog import StarCatalog

__all__ = [
    "FURTHER",
    "STAR_ARRAYS",
    "Limits",
    "StarTerms",
    "further_data",
    "limits_of",
    "star_arrays",
    "star_terms",
]

#: d flux = - flux x this x d mag
MAG_TO_LN = 0.4 * np.log(10.0)
# How far the completeness is tabulated beyond the stars on the bright and on the faint side, mag.
_BRIGHTER, _FAINTER = 10.0, 15.0


@dataclass(frozen=True)
class Limits:
    """The selection of a catalog in the space of its values.

    Attributes
    ----------
    band : str
    sides : whether there is a limit on the bright and on the faint side
    ends : the limits: magnitudes, or fluxes times -1; numbers or scalars, infinite for none
    errors : errors of the values at these limits, likewise
    completeness : table of the completeness against true magnitude, or None; its numbers may be
        expressions
    """

    band: str
    sides: tuple[bool, bool]
    ends: tuple[Any, Any]
    errors: tuple[Any, Any]
    completeness: Any = None

    @property
    def is_cut(self) -> bool:
        """Whether there is a limit on either side."""
        return any(self.sides)


@dataclass(frozen=True)
class StarTerms:
    """What the likelihood takes from the catalog, each with one row a star.

    Attributes
    ----------
    values, variance : (N, B) magnitude or flux (0 if not measured), variance (infinite there)
    parallax, parallax_err : (N,) mas, an infinite error where there is none; or None
    teff, teff_err, feh, feh_err : (N,) K and dex, likewise; or None
    membership_prior : (N,) or None
    member_logp, field_logp : (N,) log densities of further data, of members and of field stars; or
        None
    log_field : (N,) log of the part of the field density that no parameter changes
    limits : the selection in the space of the values, or None
    is_flux : whether the values are fluxes
    layout : the rows that the model predicts
    """

    values: Any
    variance: Any
    limits: Limits | None
    is_flux: bool
    layout: Layout
    log_field: Any
    parallax: Any = None
    parallax_err: Any = None
    teff: Any = None
    teff_err: Any = None
    feh: Any = None
    feh_err: Any = None
    membership_prior: Any = None
    member_logp: Any = None
    field_logp: Any = None


#: Names of the arrays of `StarTerms` with one row a star.
STAR_ARRAYS = (
    "values", "variance", "log_field", "parallax", "parallax_err", "teff", "teff_err", "feh",
    "feh_err", "membership_prior", "member_logp", "field_logp",
)  # fmt: skip


#: Options that hold log densities of further data of the stars.
FURTHER = ("member_logp", "field_logp")


def called(name: str) -> str:
    """Return what users call an array of stars."""
    return "field" if name == "log_field" else name


def needs_field(catalog: StarCatalog, p: ClusterParameters) -> bool:
    """Whether any star may be a field star."""
    return not is_zero(p.field_fraction) or catalog.membership_prior is not None


def star_arrays(
    catalog: StarCatalog, parameters: ClusterParameters, options: ClusterOptions
) -> dict[str, Any]:
    """Arrays of the catalog by the names of `StarTerms`, without NaN."""
    log_field: Any = np.zeros(catalog.n_star)
    if needs_field(catalog, parameters) and hasattr(options.field, "log_density"):
        log_field = options.field.log_density(catalog, options.selection)
    if isinstance(log_field, Variable):
        _check_length("field", log_field, catalog.n_star)
    arrays = {
        "values": np.where(catalog.measured, catalog.values, 0.0),
        "variance": np.where(catalog.measured, catalog.errors**2, np.inf),
        "log_field": log_field,
    }
    for name in ("parallax", "teff", "feh"):
        value, error = getattr(catalog, name), getattr(catalog, f"{name}_err")
        if value is not None and error is not None:
            measured = np.isfinite(value) & np.isfinite(error)
            arrays[name] = np.where(measured, value, 0.0)
            arrays[f"{name}_err"] = np.where(measured, error, np.inf)
    if catalog.membership_prior is not None:
        arrays["membership_prior"] = np.asarray(catalog.membership_prior, dtype=np.float64)
    for name in FURTHER:
        value = getattr(options, name)
        if value is not None:
            arrays[name] = further_data(name, value, catalog.n_star)
    return arrays


def known_length(values: Any) -> int | None:
    """Return how many values a vector holds, None where that is not known yet."""
    if isinstance(values, SharedVariable):
        return len(values.get_value(borrow=True))
    return values.type.shape[0] if isinstance(values, Variable) else len(values)


def further_data(name: str, value: Any, n_star: int) -> Any:
    """Return log densities of further data of the stars, (N,), after a look at them.

    Raises
    ------
    ValueError
        For another length, and for numbers that are not finite.
    """
    value = without_constant(value)
    if isinstance(value, Variable):
        if value.ndim != 1:
            raise ValueError(
                f"{name} must be a vector, one log density a star, got {value.ndim} dimension(s); "
                "add up what was measured of each star"
            )
        _check_length(name, value, n_star)
        return value if value.type.dtype == "float64" else value.astype("float64")
    numbers = number_of(name, value)
    if numbers.shape != (n_star,):
        raise ValueError(
            f"{name} has the shape {numbers.shape} for {n_star} stars; give one log density for "
            "each star of the catalog"
        )
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        raise ValueError(
            f"{name} must be finite, got {numbers[bad[0]]} for the star in row {bad[0]} "
            f"({bad.size} in all); where a star has no such measurement give 0 in member_logp and "
            "in field_logp"
        )
    return numbers


def _check_length(name: str, log_density: Variable, n_star: int) -> None:
    """Check how many log densities there are, as far as it is known."""
    length = known_length(log_density)
    if length not in (None, n_star):
        raise ValueError(
            f"{name} holds {length} log densities for {n_star} stars; give one for each star of "
            "the catalog"
        )


def layout_of(catalog: StarCatalog) -> Layout:
    """Return the rows that the model has to predict for a catalog."""
    return Layout(catalog.bands, catalog.teff is not None, catalog.feh is not None)


def limits_of(catalog: StarCatalog, options: ClusterOptions) -> Limits | None:
    """Return the selection in the space of the catalog's values."""
    selection = options.selection
    if selection is None:
        return None
    table = None
    if selection.completeness is not None:
        mag = catalog.mag[:, catalog.band_index(selection.band)]
        mag = mag[np.isfinite(mag)]
        table = selection.completeness_table(mag.min() - _BRIGHTER, mag.max() + _FAINTER)
    if catalog.is_flux:
        flux = selection.flux_limits(catalog)
        ends, errors = (-flux.high, -flux.low), (flux.high_error, flux.low_error)
    else:
        ends, errors = (selection.bright, selection.faint), selection.errors(catalog)
    bright, faint = (bool(np.isfinite(end)) for end in ends)
    return Limits(selection.band, (bright, faint), ends, errors, table)


def star_terms(
    catalog: StarCatalog, parameters: ClusterParameters, options: ClusterOptions
) -> StarTerms:
    """Put what the catalog holds into shared variables."""
    arrays = star_arrays(catalog, parameters, options)
    return StarTerms(
        limits=limits_of(catalog, options),
        is_flux=catalog.is_flux,
        layout=layout_of(catalog),
        **{name: shared_input(name, array) for name, array in arrays.items()},
    )
