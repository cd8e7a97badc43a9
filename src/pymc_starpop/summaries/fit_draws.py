"""A fitted cluster and its stars at some draws of the posterior, to be checked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from pymc.progress_bar import create_simple_progress
from pytensor import tensor as pt

from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters
from pymc_starpop.distributions.cluster_model import ClusterModel
from pymc_starpop.field import ChiSquareField, FieldDensity
from pymc_starpop.likelihoods.cluster import cluster_parts, membership_of
from pymc_starpop.stars.colors import color_name
from pymc_starpop.stars.fluxes import flux_of_mag, mag_of_flux
from pymc_starpop.summaries.chosen import ChosenCluster, posterior_of

__all__ = ["FitDraws", "Simulated", "color_of", "evaluate_fit", "known_moments"]

# The Python virtual machine runs the same kernels and needs seconds to compile what numba would
# compile for minutes.
_MODE = "FAST_COMPILE"

# Fewer say little of edges, and too few are in the tail that Pareto's k is fitted to.
FEWEST_DRAWS = 100

# Catalogs drawn from the model, one a draw: magnitudes (N, K), and which are field stars (N,).
type Simulated = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class FitDraws:
    """A cluster at S draws: N stars in K columns.

    Attributes
    ----------
    of : ChosenCluster
    posterior : xarray.Dataset
        The draws that were taken, of all variables.
    mag, mag_err : ndarray (N, K)
        The data; NaN where not measured.
    membership, logp : ndarray (S, N)
    tracks : list of S ndarray (K, P)
        Magnitudes and colors of single stars, by ascending mass.
    inputs : list of S tuple
        Inputs of the model of the cluster, as numbers.
    """

    of: ChosenCluster
    posterior: xr.Dataset
    mag: np.ndarray
    mag_err: np.ndarray
    membership: np.ndarray
    logp: np.ndarray
    tracks: list[np.ndarray]
    inputs: list[tuple[Any, ...]]

    @property
    def cluster(self) -> ClusterModel:
        """The model of the cluster."""
        return self.of.cluster

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns: bands and colors."""
        return self.cluster.bands

    def parameters(self, k: int) -> tuple[ClusterParameters, ClusterOptions]:
        """Parameters and options of a draw, as numbers."""
        return self.cluster.fill(self.cluster.split(self.inputs[k])[2])

    def scalars(self, name: str) -> np.ndarray | None:
        """Return the values (S,) of a parameter of the likelihood; None if none or not scalar."""
        values = [getattr(self.parameters(k)[0], name) for k in range(len(self.inputs))]
        if values[0] is None or np.ndim(values[0]):
            return None
        return np.array(values, dtype=float)

    @property
    def has_field(self) -> bool:
        """Whether there is anything but members."""
        fraction = np.max([np.max(self.parameters(k)[0].field_fraction) for k in (0, -1)])
        return bool(fraction > 0.0) or "membership_prior" in self.cluster.star_names

    @property
    def can_simulate(self) -> bool:
        """Whether field stars can be drawn, or there are none."""
        field = self.parameters(0)[1].field
        without = isinstance(field, ChiSquareField) or (
            isinstance(field, FieldDensity) and field.sampler is None
        )
        return not (self.has_field and without)

    def simulate(self, rng: np.random.Generator) -> Simulated:
        """Draw a catalog from the model of each draw.

        Errors are those of cataloged stars of like magnitude; nothing is missing.
        """
        given = flux_of_mag(self.mag) if self.cluster.is_flux else self.mag
        errors = _errors_like(given, np.sqrt(self.inputs[0][0]))
        found = []
        for inputs in self.inputs:
            drawn, is_field = self.cluster.draw_catalog(inputs, errors, rng)
            found.append((_magnitudes(drawn) if self.cluster.is_flux else drawn, is_field))
        return found


def evaluate_fit(idata: Any, of: ChosenCluster, n_draws: int, progressbar: bool = True) -> FitDraws:
    """Evaluate a cluster at draws that are spread over all chains.

    Parameters
    ----------
    idata : xarray.DataTree or xarray.Dataset
        Result of `pm.sample`, or its posterior.
    of : ChosenCluster
    n_draws : int
        About how many draws to take.
    progressbar : bool

    Raises
    ------
    ValueError
        For a posterior that lacks a parameter, and a number of draws that is none.
    """
    if not (isinstance(n_draws, int | np.integer) and n_draws >= FEWEST_DRAWS):
        raise ValueError(
            f"n_draws must be a whole number of at least {FEWEST_DRAWS}, got {n_draws!r}; fewer "
            "say too little of edges and of weights"
        )
    posterior = posterior_of(idata, of.pymc_model)
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    if total < FEWEST_DRAWS:
        raise ValueError(
            f"idata: the posterior has {total} draws in all, fewer than {FEWEST_DRAWS}; sample more"
        )
    posterior = posterior.isel(draw=slice(None, None, max(1, round(total / n_draws))))
    terms, p, options = of.terms()
    parts = cluster_parts(of.cluster.iso, p, options, terms)
    single = parts.model.tracks[: len(of.cluster.bands), : parts.model.starts[1]]
    outs = [parts.logp, membership_of(parts), single, of.values, *of.inputs]
    variables = of.pymc_model.free_RVs
    function = of.pymc_model.compile_fn(
        inputs=variables, outs=[pt.as_tensor(x) for x in outs], on_unused_input="ignore",
        point_fn=False, mode=_MODE,
    )  # fmt: skip
    arrays = [posterior[v.name].transpose("chain", "draw", ...).to_numpy() for v in variables]
    places = list(np.ndindex(posterior.sizes["chain"], posterior.sizes["draw"]))
    found = []
    progress = create_simple_progress(progressbar)
    with progress:
        task = progress.add_task("Checking the fit", completed=0, total=len(places))
        for place in places:
            found.append(function(*(array[place] for array in arrays)))
            progress.advance(task)
    logp, membership, tracks, values, *inputs = zip(*found, strict=True)
    return FitDraws(
        of, posterior, *_measured(values[0], np.sqrt(inputs[0][0]), of.cluster.is_flux),
        np.array(membership), np.array(logp),
        [_magnitudes(t) if of.cluster.is_flux else np.asarray(t) for t in tracks],
        list(zip(*inputs, strict=True)),
    )  # fmt: skip


def _measured(
    values: np.ndarray, sigma: np.ndarray, is_flux: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes and errors (N, K), NaN where there are none."""
    known = np.isfinite(sigma)
    values, sigma = (np.where(known, array, np.nan) for array in (values, sigma))
    return mag_of_flux(values, sigma) if is_flux else (values, sigma)


def _magnitudes(flux: np.ndarray) -> np.ndarray:
    """Magnitudes of fluxes, NaN where they are not positive."""
    return mag_of_flux(flux, np.zeros(1))[0]


def _errors_like(values: np.ndarray, sigma: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return errors as a function of values: in each column of the cataloged star nearest by."""
    tables = []
    for column, errors in zip(values.T, sigma.T, strict=True):
        known = np.isfinite(column) & np.isfinite(errors)
        order = np.argsort(column[known])
        column, errors = column[known][order], errors[known][order]
        # A column without data is never looked at.
        errors = errors if errors.size else np.ones(1)
        tables.append((0.5 * (column[1:] + column[:-1]), errors))

    def errors_of(true: np.ndarray) -> np.ndarray:
        found = [
            errors[np.searchsorted(middle, column)]
            for column, (middle, errors) in zip(true.T, tables, strict=True)
        ]
        return np.column_stack(found)

    return errors_of


def color_of(mag: np.ndarray, columns: tuple[str, ...], color: tuple[str, str]) -> np.ndarray:
    """Return the color (..., ) of magnitudes (..., K): its own column, or a difference of two."""
    name = color_name(*color)
    if name in columns:
        return np.asarray(mag[..., columns.index(name)])
    return np.asarray(mag[..., columns.index(color[0])] - mag[..., columns.index(color[1])])


def known_moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the first axis of what is no NaN; NaN where all are."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        mean = np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)
        square = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0) / known.sum(axis=0)
    return mean, np.sqrt(square)
