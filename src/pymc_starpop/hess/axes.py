"""Hess diagrams: the bins of color and magnitude, stars counted in them, and masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.hess.tables import check_edges, column_names, numbers
from pymc_starpop.stars.catalog import StarCatalog

__all__ = ["HessAxes", "bin_cmd", "check_hess", "check_mask", "color_and_mag", "polygon_mask"]


@dataclass(frozen=True, eq=False)
class HessAxes:
    """Bins of a Hess diagram: a color against a magnitude.

    Parameters
    ----------
    color : (str, str)
        Bands whose difference, first minus second, is the color.
    mag : str
        Band of the magnitude: one of the two of the color, or a third one.
    color_edges : array-like, shape (N_color + 1,)
        Ascending edges of the bins in color, mag.
    mag_edges : array-like, shape (N_mag + 1,)
        Ascending edges of the bins in apparent magnitude, mag.

    Raises
    ------
    ValueError
        For a color that is not two different bands, and edges that are not finite and ascending.

    Examples
    --------
    >>> import numpy as np, pymc_starpop as psp
    >>> axes = psp.HessAxes(color=("Bessell_V", "Bessell_I"), mag="Bessell_I",
    ...                     color_edges=np.linspace(-0.5, 2.5, 61),
    ...                     mag_edges=np.linspace(18, 28, 101))
    >>> axes.shape, axes.bands
    ((100, 60), ('Bessell_V', 'Bessell_I'))
    """

    color: tuple[str, str]
    mag: str
    color_edges: np.ndarray
    mag_edges: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "color", _check_color(self.color))
        if not isinstance(self.mag, str):
            raise ValueError(f"mag must be the name of a band, got {self.mag!r}.")
        for name in ("color_edges", "mag_edges"):
            edges = check_edges(name, getattr(self, name))
            edges.flags.writeable = False
            object.__setattr__(self, name, edges)

    @property
    def bands(self) -> tuple[str, ...]:
        """The distinct bands: the two of the color, and that of the magnitude if it is a third."""
        return self.color if self.mag in self.color else (*self.color, self.mag)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of bins in magnitude and in color."""
        return self.mag_edges.size - 1, self.color_edges.size - 1

    def coords(self) -> dict[str, np.ndarray]:
        """Centers of the bins, ``mag`` (N_mag,) and ``color`` (N_color,), mag."""
        return {"mag": _centers(self.mag_edges), "color": _centers(self.color_edges)}

    def wrap(self, values: np.ndarray, name: str | None = None) -> xr.DataArray:
        """Label an array (N_mag, N_color) with the centers of the bins."""
        attrs = {"color_bands": list(self.color), "mag_band": self.mag}
        return xr.DataArray(
            values, coords=self.coords(), dims=("mag", "color"), name=name, attrs=attrs
        )

    def matrix(self) -> np.ndarray:
        """Coefficients (2, N_band) that make color and magnitude from the magnitudes in `bands`."""
        matrix = np.zeros((2, len(self.bands)))
        matrix[0, 0], matrix[0, 1] = 1.0, -1.0
        matrix[1, self.bands.index(self.mag)] = 1.0
        return matrix

    def difference(self, other: "HessAxes") -> str | None:
        """Say in what two axes differ, or None where they are the same."""
        for name in ("color", "mag"):
            mine, its = getattr(self, name), getattr(other, name)
            if mine != its:
                return f"{name} {mine!r} and {its!r}"
        for name in ("color_edges", "mag_edges"):
            mine, its = getattr(self, name), getattr(other, name)
            if mine.shape != its.shape:
                return f"{mine.size} and {its.size} {name}"
            if not np.allclose(mine, its, rtol=0.0, atol=1e-9):
                return f"{name} that are up to {np.abs(mine - its).max():g} mag apart"
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HessAxes) and self.difference(other) is None

    def __hash__(self) -> int:
        return hash((self.color, self.mag, self.shape))


def bin_cmd(mags: Any, axes: HessAxes, weights: Any = None) -> xr.DataArray:
    """Count stars in the bins of a Hess diagram.

    Parameters
    ----------
    mags : StarCatalog, table, or mapping of str to array (N,)
        Apparent magnitudes by band, mag. Stars without a magnitude (NaN) in one of the bands of
        the axes and stars outside the edges are not counted. As in `numpy.histogram`, a bin holds
        its lower edge, and the last one its upper edge too.
    axes : HessAxes
        The bins.
    weights : array-like, shape (N,), optional
        What each star counts, finite and not negative; 1 by default.

    Returns
    -------
    xarray.DataArray
        Stars in each bin, dims ``mag`` and ``color``.

    Raises
    ------
    ValueError
        For a band that is missing, magnitudes that are infinite or differ in number, and weights
        that are not finite, negative, or differ in number from the stars.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> axes = psp.HessAxes(("V", "I"), "I", color_edges=[0.0, 1.0, 2.0], mag_edges=[18, 20, 22])
    >>> psp.bin_cmd({"V": [20.0, 21.5, 30.0], "I": [19.5, 20.0, 29.0]}, axes).values
    array([[1., 0.],
           [0., 1.]])
    """
    color, mag = color_and_mag(mags, axes)
    measured = np.isfinite(color) & np.isfinite(mag)
    if weights is not None:
        weights = _check_weights(weights, color.size)[measured]
    counts, _, _ = np.histogram2d(
        mag[measured], color[measured], bins=(axes.mag_edges, axes.color_edges), weights=weights
    )
    return axes.wrap(counts, name="stars")


def color_and_mag(mags: Any, axes: HessAxes) -> tuple[np.ndarray, np.ndarray]:
    """Color and magnitude (N,) of the stars that `bin_cmd` takes, NaN where not measured."""
    columns = {band: _magnitudes(mags, band) for band in axes.bands}
    sizes = {column.size for column in columns.values()}
    if len(sizes) != 1:
        lengths = ", ".join(f"{band}: {column.size}" for band, column in columns.items())
        raise ValueError(f"mags must have one value a star in every band, got {lengths}.")
    return columns[axes.color[0]] - columns[axes.color[1]], columns[axes.mag]


def polygon_mask(axes: HessAxes, vertices: Any) -> xr.DataArray:
    """Return which bins of a Hess diagram have their center inside a polygon.

    Parameters
    ----------
    axes : HessAxes
        The bins.
    vertices : array-like, shape (N, 2)
        Corners (color, magnitude), mag, at least three; the last is joined to the first. With
        sides that cross, a point is inside if a line from it crosses the sides an odd number of
        times. ``~mask`` is the outside.

    Returns
    -------
    xarray.DataArray of bool
        Dims ``mag`` and ``color``.

    Raises
    ------
    ValueError
        For fewer than three corners, or corners that are not two finite numbers each.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> axes = psp.HessAxes(("V", "I"), "I", color_edges=[0.0, 1.0, 2.0], mag_edges=[18, 20, 22])
    >>> psp.polygon_mask(axes, [(-1, 17), (1, 17), (1, 23), (-1, 23)]).values
    array([[ True, False],
           [ True, False]])
    """
    corners = numbers("vertices", vertices)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise ValueError(
            f"vertices must have shape (N, 2) with at least 3 corners (color, magnitude), got "
            f"{corners.shape}."
        )
    if not np.isfinite(corners).all():
        raise ValueError("vertices must be finite; a large number stands for an open side.")
    centers = axes.coords()
    x, y = np.meshgrid(centers["color"], centers["mag"])
    inside = np.zeros(axes.shape, dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crossed = (y0 > y) != (y1 > y)
        inside ^= crossed & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return axes.wrap(inside, name="mask")


def check_hess(hess: Any, axes: HessAxes, counted: np.ndarray | None = None) -> np.ndarray:
    """Return counts (N_mag, N_color) after checking that they can be data on these axes.

    Bins that do not count, False in `counted`, hold any number and are set to 0.
    """
    counts = np.array(on_axes("hess", hess, axes), dtype=float)
    if counted is not None:
        counts[~counted] = 0.0
    if np.isnan(counts).any():
        raise ValueError(
            f"hess: {int(np.isnan(counts).sum())} bins are NaN; leave them out with mask=."
        )
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError(
            f"hess: counts must be finite and not negative, got {counts.min():g} to "
            f"{counts.max():g}; make them with bin_cmd."
        )
    return counts


def check_mask(mask: Any, axes: HessAxes) -> np.ndarray:
    """Return which bins count (N_mag, N_color): all of them where the mask is None."""
    if mask is None:
        return np.ones(axes.shape, dtype=bool)
    values = on_axes("mask", mask, axes)
    if values.dtype != bool:
        raise ValueError(
            f"mask: expected booleans, True where a bin counts, got {values.dtype}; compare with "
            f"== 1 or use polygon_mask."
        )
    if not values.any():
        raise ValueError("mask: no bin is left; True must stand for the bins that count.")
    return np.array(values)


def on_axes(name: str, values: Any, axes: HessAxes) -> np.ndarray:
    """Return an array in the order (mag, color), after checking its shape and bin centers."""
    if isinstance(values, xr.DataArray):
        if set(values.dims) != {"mag", "color"}:
            raise ValueError(f"{name}: expected dims (mag, color), got {values.dims}.")
        values = values.transpose("mag", "color")
        for dim, centers in axes.coords().items():
            if dim not in values.coords or values[dim].size != centers.size:
                continue
            apart = np.abs(values[dim].values - centers).max()
            if apart > 1e-9:
                raise ValueError(
                    f"{name}: its bins in {dim} are centered up to {apart:g} mag away from those "
                    f"of the axes; bin it with the same HessAxes."
                )
    array = np.asarray(values)
    if array.shape != axes.shape:
        raise ValueError(
            f"{name}: expected shape (N_mag, N_color) = {axes.shape} of the axes, got "
            f"{array.shape}; bin it with the same HessAxes."
        )
    return array


def _magnitudes(mags: Any, band: str) -> np.ndarray:
    """One band of a catalog or table."""
    if isinstance(mags, StarCatalog):
        if band not in mags.bands:
            raise ValueError(f"mags: no band {band!r} in the catalog, which has {mags.bands}.")
        return mags.mag[:, mags.bands.index(band)]
    names = column_names(mags)
    known = [] if names is None else list(names)
    if not known:
        raise ValueError(
            f"mags: expected a StarCatalog, a table or a mapping of bands to magnitudes, got "
            f"{type(mags).__name__} without names; write {{band: column, ...}}."
        )
    if band not in known:
        raise ValueError(f"mags: no band {band!r}, there are {', '.join(map(str, known))}.")
    column = numbers(f"mags[{band!r}]", mags[band])
    if column.ndim != 1 or np.isinf(column).any():
        raise ValueError(
            f"mags: {band} must be finite numbers in one dimension, got shape {column.shape}"
            f"{' with infinities' if np.isinf(column).any() else ''}; use NaN where not measured."
        )
    return column


def _check_weights(weights: Any, n_star: int) -> np.ndarray:
    values = numbers("weights", weights)
    if values.shape != (n_star,):
        raise ValueError(
            f"weights must have one value for each of {n_star} stars, got {values.shape}."
        )
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("weights must be finite and not negative.")
    return values


def _check_color(color: Sequence[str]) -> tuple[str, str]:
    names = () if isinstance(color, str) else tuple(color)
    if len(names) != 2 or not all(isinstance(n, str) for n in names) or names[0] == names[1]:
        raise ValueError(f"color must be two different bands (first minus second), got {color!r}.")
    return names[0], names[1]


def _centers(edges: np.ndarray) -> np.ndarray:
    return 0.5 * (edges[1:] + edges[:-1])
