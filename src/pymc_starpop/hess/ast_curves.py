"""Photometric errors from artificial stars, as functions of one magnitude or of two.

Stars are put into the images with known magnitudes (in) and measured like the others (out). Where
they are recovered, the median of out - in is the bias and 1.4826 times the median absolute
deviation from it is the standard deviation, which outliers hardly move.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from pymc_starpop.hess.artificial_stars import MIN_RECOVERED, ArtificialStars
from pymc_starpop.hess.rounding import center as median_of
from pymc_starpop.hess.rounding import scatter as scatter_of
from pymc_starpop.hess.tables import check_edges

__all__ = ["BandCurve", "PairTable", "band_curves", "pair_tables"]

N_BINS = 40
N_CELLS = 400  # patches that hold as many stars as a node of a `PairTable` has neighbors
NEIGHBORS = 50, 400
FAINT_FADE = 0.5  # mag over which the completeness falls to 0 beyond the faintest star
FAINT_WARNING = 0.1  # completeness of the faintest artificial stars
BRIGHT_WARNING = 1.0  # mag

_PACKAGE = str(Path(__file__).parents[1])  # warnings point at the code that calls this package


@dataclass(frozen=True, eq=False)
class BandCurve:
    """A function of one magnitude, linear between points, constant beyond the first and last.

    Attributes
    ----------
    band : str
        The band of the magnitude.
    mag, value : ndarray (K,)
        Points; magnitudes ascend.
    limits : (float, float)
        Brightest and faintest artificial star, mag.
    fades : bool
        Whether the function falls to 0 within 0.5 mag beyond the faintest artificial star.
    """

    band: str
    mag: np.ndarray
    value: np.ndarray
    limits: tuple[float, float]
    fades: bool = False

    def __call__(self, mag: Any) -> np.ndarray:
        """Evaluate at magnitudes of any shape."""
        mag = np.asarray(mag, dtype=float)
        value = np.interp(mag, self.mag, self.value)
        if not self.fades:
            return value
        _warn_if_bright(self.band, mag, self.limits)
        return value * _fade(mag, self.limits)

    def __repr__(self) -> str:
        return (
            f"<BandCurve in {self.band}: {self.mag.size} points from artificial stars of "
            f"{self.limits[0]:g} to {self.limits[1]:g} mag>"
        )


@dataclass(frozen=True, eq=False)
class PairTable:
    """A function of two magnitudes, bilinear between nodes in color and magnitude.

    Attributes
    ----------
    bands : (str, str)
        The bands whose magnitudes the function takes; the color is the first minus the second.
    color, mag : ndarray (K,), (L,)
        Nodes in color and in the second magnitude, evenly spaced.
    value : ndarray (L, K)
        Values at the nodes. Beyond them those at the edge count.
    limits : ((float, float), (float, float))
        Brightest and faintest artificial star in each band, mag.
    fades : bool
        Whether the function falls to 0 within 0.5 mag beyond the faintest artificial star of
        either band.
    """

    bands: tuple[str, str]
    color: np.ndarray
    mag: np.ndarray
    value: np.ndarray
    limits: tuple[tuple[float, float], tuple[float, float]]
    fades: bool = False

    def __call__(self, first: Any, second: Any) -> np.ndarray:
        """Evaluate at magnitudes in the two bands, each (N,)."""
        first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
        i, s = _position(second, self.mag)
        j, t = _position(first - second, self.color)
        v = self.value
        value = (1 - s) * ((1 - t) * v[i, j] + t * v[i, j + 1])
        value = value + s * ((1 - t) * v[i + 1, j] + t * v[i + 1, j + 1])
        if not self.fades:
            return value
        for band, mag, limits in zip(self.bands, (first, second), self.limits, strict=True):
            _warn_if_bright(band, mag, limits)
            value = value * _fade(mag, limits)
        return value

    def __repr__(self) -> str:
        return (
            f"<PairTable of {self.value.shape[0]} x {self.value.shape[1]} nodes from artificial "
            f"stars in {self.bands[0]} and {self.bands[1]}>"
        )


def band_curves(
    stars: ArtificialStars, band: str, edges: Any, stars_per_bin: int | None, sigma_floor: float
) -> tuple[BandCurve, BandCurve, BandCurve]:
    """Return noise, completeness and bias of one band as functions of its magnitude.

    Parameters
    ----------
    stars : ArtificialStars
    band : str
    edges : array-like (K + 1,), optional
        Edges of the bins, mag; bins of equal numbers of stars by default.
    stars_per_bin : int, optional
        Stars in each of these bins.
    sigma_floor : float
        Smallest standard deviation, mag.
    """
    index = stars.bands.index(band)
    mag, shift = stars.mag[:, index], stars.shift[:, index]
    recovered, step = stars.recovered[:, index], float(stars.step[index])
    limits = float(mag.min()), float(mag.max())
    given = edges is not None
    edges = (
        check_edges(f"mag_edges of {band}", edges) if given else _equal_counts(mag, stars_per_bin)
    )
    bins = np.searchsorted(edges, mag, side="right") - 1
    bins = np.where(mag == edges[-1], edges.size - 2, bins)
    center, complete, center_seen, bias = [], [], [], []
    members = [np.flatnonzero(bins == k) for k in range(edges.size - 1)]
    members = [m for m in members if m.size >= MIN_RECOVERED]
    seen = [m[recovered[m]] for m in members]
    seen = [m for m in seen if m.size >= MIN_RECOVERED]
    if not seen:
        raise ValueError(
            f"{band}: no bin in magnitude holds {MIN_RECOVERED} recovered artificial stars; "
            f"{'widen mag_edges' if given else 'give more artificial stars'}."
        )
    for m in members:
        center.append(mag[m].mean())
        complete.append(recovered[m].mean())
    for m in seen:
        center_seen.append(mag[m].mean())
        bias.append(median_of(shift[m][None], step)[0])
    bias_curve = BandCurve(band, np.array(center_seen), np.array(bias), limits)
    # About the curve, not about the bin's own median, or the slope of the bias adds to the scatter.
    residual = shift - bias_curve(mag)
    sigma = np.array([scatter_of(residual[m][None], step)[0] for m in seen])
    noise = BandCurve(band, bias_curve.mag, np.maximum(sigma, sigma_floor), limits)
    completeness = BandCurve(band, np.array(center), np.array(complete), limits, fades=True)
    _warn_if_deep(band, limits, complete[-1])
    return noise, completeness, bias_curve


def pair_tables(
    stars: ArtificialStars, stars_per_bin: int | None, sigma_floor: float
) -> dict[str, Any]:
    """Return noise and bias of two bands, and the completeness in both, as functions of both.

    At each node of a grid in color and magnitude they come from the nearest stars, so that the
    patch that is averaged shrinks where there are many. Keys: ``noise`` and ``bias`` (each a
    tuple of two `PairTable`), ``completeness``.
    """
    n_star = len(stars.mag)
    n_near = stars_per_bin or int(np.clip(n_star // N_CELLS, *NEIGHBORS))
    places = np.stack([stars.mag[:, 0] - stars.mag[:, 1], stars.mag[:, 1]], axis=1)
    both = stars.recovered.all(axis=1)
    if both.sum() < MIN_RECOVERED:
        raise ValueError(
            f"detected: {int(both.sum())} artificial stars were recovered in both bands; at least "
            f"{MIN_RECOVERED} are needed."
        )
    color, mag = (_nodes(column, n_star / n_near) for column in places.T)
    nodes = np.stack(np.meshgrid(color, mag), axis=-1).reshape(-1, 2)
    limits = tuple((float(m.min()), float(m.max())) for m in stars.mag.T)
    shape = mag.size, color.size
    bands = stars.bands

    def table(values: np.ndarray, fades: bool = False) -> PairTable:
        return PairTable(bands, color, mag, values.reshape(shape), limits, fades)  # type: ignore[arg-type]

    complete = both[_nearest(places, nodes, n_near)].mean(axis=1)
    near = _nearest(places[both], nodes, min(n_near, int(both.sum())))
    noise, bias = [], []
    for index, band in enumerate(bands):
        shift, step = stars.shift[both, index], float(stars.step[index])
        bias.append(table(median_of(shift[near], step)))
        residual = shift - bias[-1](*stars.mag[both].T)
        sigma = scatter_of(residual[near], step)
        noise.append(table(np.maximum(sigma, sigma_floor)))
        faintest = np.argsort(stars.mag[:, index])[-max(n_star // N_BINS, MIN_RECOVERED) :]
        _warn_if_deep(band, limits[index], float(both[faintest].mean()))
    return {"noise": tuple(noise), "bias": tuple(bias), "completeness": table(complete, True)}


def _nearest(places: np.ndarray, nodes: np.ndarray, n_near: int) -> np.ndarray:
    """Indices (n_node, n_near) of the stars nearest to each node."""
    return KDTree(places).query(nodes, k=np.arange(1, n_near + 1))[1]


def _nodes(values: np.ndarray, n_cell: float) -> np.ndarray:
    """Evenly spaced nodes over the range of values, about two for each patch of stars."""
    # Stars fill the plane more thinly than the box: sqrt(n_cell) patches along each axis, and
    # the magnitude is much the longer one.
    low, high = float(values.min()), float(values.max())
    step = max(0.05, (high - low) / (4.0 * np.sqrt(n_cell)))
    return np.linspace(low, max(high, low + 1e-3), max(2, 1 + int(np.ceil((high - low) / step))))


def _position(values: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the node below and the fraction of the way to the next, held to the grid."""
    at = (values - nodes[0]) / (nodes[1] - nodes[0])
    at = np.clip(at, 0.0, nodes.size - 1.0)
    index = np.minimum(np.nan_to_num(at).astype(np.int64), nodes.size - 2)
    return index, at - index


def _fade(mag: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return np.clip(1.0 - (mag - limits[1]) / FAINT_FADE, 0.0, 1.0)


def _warn_if_bright(band: str, mag: np.ndarray, limits: tuple[float, float]) -> None:
    if mag.size and np.nanmin(mag) < limits[0] - BRIGHT_WARNING:
        # The same words for every isochrone, so that they are shown once.
        warnings.warn(
            f"errors and completeness of the brightest artificial stars, {limits[0]:.2f} mag in "
            f"{band}, are used for stars that are more than {BRIGHT_WARNING:g} mag brighter.",
            skip_file_prefixes=(_PACKAGE,),
        )


def _warn_if_deep(band: str, limits: tuple[float, float], completeness: float) -> None:
    if completeness > FAINT_WARNING:
        warnings.warn(
            f"{100 * completeness:.0f} % of the faintest artificial stars in {band} "
            f"({limits[1]:.2f} mag) were recovered: all stars beyond "
            f"{limits[1] + FAINT_FADE:.2f} mag are taken to be lost; fainter artificial stars "
            f"would tell.",
            skip_file_prefixes=(_PACKAGE,),
        )


def _equal_counts(mag: np.ndarray, stars_per_bin: int | None) -> np.ndarray:
    per_bin = stars_per_bin or max(50, mag.size // N_BINS)
    n_bin = max(1, mag.size // per_bin)
    return np.unique(np.quantile(mag, np.linspace(0.0, 1.0, n_bin + 1)))
