"""The bins of a Hess diagram for drawing: edges, values on them, names of the axes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.hess import HessAxes, TemplateSet
from pymc_starpop.plots.labels import color_label, mag_label

__all__ = ["DrawnBins", "find_bins"]

_DIMS = ("mag", "color")


@dataclass(frozen=True, eq=False)
class DrawnBins:
    """Edges of bins, and what stands on the axes.

    Attributes
    ----------
    mag_edges : ndarray (N_mag + 1,)
    color_edges : ndarray (N_color + 1,)
    mag_label, color_label : str
    """

    mag_edges: np.ndarray
    color_edges: np.ndarray
    mag_label: str
    color_label: str

    @property
    def shape(self) -> tuple[int, int]:
        """Number of bins in magnitude and in color."""
        return self.mag_edges.size - 1, self.color_edges.size - 1

    def values(self, name: str, values: Any, counted: np.ndarray | None = None) -> np.ndarray:
        """Return values (N_mag, N_color) after checking those that count; 0 in the others."""
        if isinstance(values, xr.DataArray):
            _check_dims(name, values)
            values = values.transpose(*_DIMS)
        array = np.array(values)
        if array.shape != self.shape:
            raise ValueError(
                f"{name} must have the shape (N_mag, N_color) = {self.shape} of the bins, got "
                f"{array.shape}; bin it with the same HessAxes."
            )
        if counted is None:
            return array
        array = np.where(counted, array.astype(float), 0.0)
        bad = int((~np.isfinite(array)).sum())
        if bad:
            raise ValueError(f"{name} must be finite, {bad} bins are not; leave them out by mask=.")
        if (array < 0).any():
            raise ValueError(f"{name} must not be negative, got {array.min():g}.")
        return array

    def mask(self, mask: Any) -> np.ndarray:
        """Return which bins count (N_mag, N_color)."""
        if mask is None:
            return np.ones(self.shape, dtype=bool)
        array = self.values("mask", mask)
        if array.dtype != bool:
            raise ValueError(
                f"mask must be booleans, True where a bin counts, got {array.dtype}; compare with "
                f"== 1 or use polygon_mask."
            )
        return array


def find_bins(axes: HessAxes | TemplateSet | None, *diagrams: Any) -> DrawnBins:
    """Return the bins that are given, or else those of the first diagram with labels."""
    if isinstance(axes, TemplateSet):
        axes = axes.axes
    if isinstance(axes, HessAxes):
        return DrawnBins(
            axes.mag_edges,
            axes.color_edges,
            mag_label(axes.mag),
            color_label(*axes.color),
        )
    if axes is not None:
        raise ValueError(
            f"axes must be a HessAxes or a TemplateSet, got {type(axes).__name__}; a Matplotlib "
            f"axes is given as ax=."
        )
    labeled = [d for d in diagrams if isinstance(d, xr.DataArray)]
    if not labeled:
        raise ValueError(
            "axes is needed for arrays without labels; give the HessAxes or the templates."
        )
    hess = labeled[0]
    _check_dims("hess", hess)
    bands = hess.attrs.get("color_bands")
    return DrawnBins(
        _edges(hess, "mag"),
        _edges(hess, "color"),
        mag_label(hess.attrs["mag_band"]) if "mag_band" in hess.attrs else "magnitude",
        color_label(*bands) if bands is not None else "color (mag)",
    )


def _check_dims(name: str, hess: xr.DataArray) -> None:
    if set(hess.dims) != set(_DIMS):
        raise ValueError(
            f"{name} must have the dimensions {_DIMS}, got {hess.dims}; average over draws first."
        )


def _edges(hess: xr.DataArray, dim: str) -> np.ndarray:
    """Return the edges of bins of equal width from their centers."""
    if dim not in hess.coords or hess.sizes[dim] < 2:
        raise ValueError(f"axes is needed: the centers in {dim} do not tell the edges of the bins.")
    centers = hess[dim].values
    widths = np.diff(centers)
    if (widths <= 0).any() or np.ptp(widths) > 1e-6 * widths.max():
        raise ValueError(
            f"axes is needed: bins of unequal width in {dim} do not follow from their centers."
        )
    first = centers[0] - 0.5 * widths[0]
    return np.linspace(first, centers[-1] + 0.5 * widths[-1], centers.size + 1)
