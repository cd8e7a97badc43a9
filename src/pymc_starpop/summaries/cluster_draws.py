"""The model of a cluster as arrays, for one posterior draw after the other."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import xarray as xr
from pymc.progress_bar import create_simple_progress
from pytensor import tensor as pt

from pymc_starpop.likelihoods.cluster import cluster_parts
from pymc_starpop.likelihoods.detection import segment_variance
from pymc_starpop.likelihoods.field import offset_of
from pymc_starpop.likelihoods.masses import track_masses
from pymc_starpop.likelihoods.stars import Limits
from pymc_starpop.likelihoods.track import Layout, model_tracks
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.summaries.chosen import ChosenCluster, posterior_of

__all__ = ["ClusterDraw", "ClusterDraws"]

# The Python virtual machine runs the same kernels, which take most of the time, and needs seconds
# to compile what numba would compile for minutes.
_MODE = "FAST_COMPILE"


@dataclass(frozen=True)
class ClusterDraw:
    """One posterior draw of the model of a cluster, all as arrays.

    P points on T tracks, N stars, D rows of data (the B bands first), K directions; see
    `pymc_starpop.kernels.cluster`.

    Attributes
    ----------
    tracks, directions : (D, P), (K, D, P) in the space of the data
    weights, tilts, scale : (P - 1,) of the stars that completeness leaves
    starts : (T + 1,)
    spread, offset : (K,), (N, K) or (0, K)
    values, variance : (N, D) data, and variances with the intrinsic scatter
    star_values, star_variance : (N, D) the same where they are compared with the tracks
    star_directions, star_spread, star_offset : as `directions`, `spread` and `offset`, for these
    member, log_member, log_field : (N,)
    logp : (N,)
    living, living_tilts : (P - 1,) weights and tilts of all systems, seen or not
    detected : (P - 1,) probability that what is on a segment passes the limits
    segment_variance : (B, P - 1) variance that differences between stars add to each band
    scatter : (B,) intrinsic scatter, mag
    mass, ratio, dark_mass, dead : (P,), (3,) as `pymc_starpop.likelihoods.masses.TrackMasses`
    """

    tracks: np.ndarray
    directions: np.ndarray
    weights: np.ndarray
    tilts: np.ndarray
    scale: np.ndarray
    starts: np.ndarray
    spread: np.ndarray
    offset: np.ndarray
    values: np.ndarray
    variance: np.ndarray
    star_values: np.ndarray
    star_variance: np.ndarray
    star_directions: np.ndarray
    star_spread: np.ndarray
    star_offset: np.ndarray
    member: np.ndarray
    log_member: np.ndarray
    log_field: np.ndarray
    logp: np.ndarray
    living: np.ndarray
    living_tilts: np.ndarray
    detected: np.ndarray
    segment_variance: np.ndarray
    scatter: np.ndarray
    mass: np.ndarray
    ratio: np.ndarray
    dark_mass: np.ndarray
    dead: np.ndarray

    @property
    def detection(self) -> float:
        """Share of the living systems that the catalog can hold."""
        return float((self.weights * self.detected).sum() / self.living.sum())

    @property
    def membership(self) -> np.ndarray:
        """Probability (N,) that each star is a member."""
        with np.errstate(divide="ignore"):
            log_rest = np.log(1.0 - self.member) + self.log_field - self.logp
        return 1.0 - np.exp(np.minimum(log_rest, 0.0))


class ClusterDraws:
    """A cluster of a model, evaluated at posterior draws.

    Parameters
    ----------
    idata : xarray.DataTree or xarray.Dataset
        Result of `pm.sample`, or its posterior.
    of : ChosenCluster
    catalog : StarCatalog, optional
        Other stars than those that were fitted.
    thin : int
        Every how many draws of a chain to take.

    Raises
    ------
    ValueError
        For a posterior that lacks a parameter, and a `thin` that is no whole number above 0.
    """

    def __init__(
        self, idata: Any, of: ChosenCluster, catalog: StarCatalog | None = None, *, thin: int = 1
    ):
        cluster = of.cluster
        if not (isinstance(thin, int | np.integer) and thin >= 1):
            raise ValueError(f"thin must be a whole number of at least 1, got {thin!r}")
        self.model = of.pymc_model
        self.bands: tuple[str, ...] = cluster.bands
        self.is_flux: bool = cluster.is_flux
        self.limits: Limits | None = cluster.limits
        self.layout: Layout = cluster.layout
        self.star: np.ndarray = np.asarray(of.star if catalog is None else catalog.star)
        self.posterior = posterior_of(idata, self.model).isel(draw=slice(None, None, thin))
        self._outputs = _outputs(of, catalog)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of chains and of draws in each."""
        return self.posterior.sizes["chain"], self.posterior.sizes["draw"]

    def evaluate(
        self, description: str, progressbar: bool = True, mode: Any = _MODE
    ) -> Iterator[tuple[tuple[int, int], ClusterDraw]]:
        """Yield the place of each draw, (chain, draw), and its arrays."""
        variables = self.model.free_RVs
        names = [f.name for f in fields(ClusterDraw)]
        function = self.model.compile_fn(
            inputs=variables, outs=[pt.as_tensor(self._outputs[name]) for name in names],
            on_unused_input="ignore", point_fn=False, mode=mode,
        )  # fmt: skip
        values = [
            self.posterior[v.name].transpose("chain", "draw", ...).to_numpy() for v in variables
        ]
        progress = create_simple_progress(progressbar)
        with progress:
            task = progress.add_task(description, completed=0, total=self.shape[0] * self.shape[1])
            for place in np.ndindex(*self.shape):
                result = function(*(value[place] for value in values))
                yield place, ClusterDraw(**dict(zip(names, result, strict=True)))
                progress.advance(task)

    def collect(
        self,
        measure: Callable[[ClusterDraw], Mapping[str, Any]],
        variables: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]],
        coords: Mapping[str, Any],
        sizes: Mapping[str, int],
        description: str,
        progressbar: bool,
    ) -> xr.Dataset:
        """Return what is measured in every draw.

        Parameters
        ----------
        measure : callable
            From a draw to the values of each variable.
        variables : mapping of str to (tuple of str, mapping)
            Dimensions besides chain and draw, and attributes.
        coords : mapping
            Coordinates of these dimensions.
        sizes : mapping of str to int
            How long they are.
        description : str
            What stands beside the progress.
        progressbar : bool
        """
        arrays = {
            name: np.empty((*self.shape, *(sizes[dim] for dim in dims)))
            for name, (dims, _) in variables.items()
        }
        for place, draw in self.evaluate(description, progressbar):
            for name, values in measure(draw).items():
                arrays[name][place] = values
        samples = ("chain", "draw")
        return xr.Dataset(
            {
                name: ((*samples, *dims), arrays[name], attributes)
                for name, (dims, attributes) in variables.items()
            },
            coords={dim: self.posterior[dim].values for dim in samples} | dict(coords),
        )


def _outputs(of: ChosenCluster, catalog: StarCatalog | None) -> dict[str, Any]:
    """Expressions of what a `ClusterDraw` holds, in terms of the variables of the model."""
    cluster = of.cluster
    terms, p, options = of.terms(catalog)
    parts = cluster_parts(cluster.iso, p, options, terms)
    seen = parts.model
    every = model_tracks(cluster.iso, cluster.layout, p, options)
    masses = track_masses(cluster.iso, cluster.layout, p, options, every.starts)
    n_band = len(cluster.bands)
    (data, data_variance), stars_of = parts.data, parts.stars
    result: dict[str, Any] = {
        name: getattr(seen, name)
        for name in ("tracks", "directions", "weights", "tilts", "scale", "starts", "spread")
    }
    return result | {
        "offset": offset_of(seen),
        "values": data,
        "variance": data_variance,
        "star_values": stars_of.values,
        "star_variance": stars_of.variance,
        "star_directions": stars_of.model.directions,
        "star_spread": stars_of.model.spread,
        "star_offset": offset_of(stars_of.model),
        "member": parts.member,
        "log_member": parts.log_apart - parts.log_detection,
        "log_field": parts.log_field,
        "logp": parts.logp,
        "living": every.weights,
        "living_tilts": every.tilts,
        # The share of detected stars is linear in the weights.
        "detected": pt.grad(pt.exp(parts.log_detection), seen.weights),
        "segment_variance": pt.stack([segment_variance(seen, b) for b in range(n_band)]),
        "scatter": parts.scatter,
        **vars(masses),
    }
