"""A background from the stars of a control field, smoothed."""

from typing import Any

import numpy as np
from scipy.spatial import KDTree
from scipy.special import ndtr

from pymc_starpop.hess.axes import HessAxes, check_mask, color_and_mag
from pymc_starpop.hess.background import Background
from pymc_starpop.hess.binaries import is_number
from pymc_starpop.hess.template_checks import check_axes

__all__ = ["background_template"]

# Fewer stars have no shape to speak of.
_LEAST_STARS = 10
# The width at a star is the distance to its k-th neighbor, k = _PER_ROOT sqrt(N). For a foreground
# of two plumes with galaxies, of 100, 1,000, 10,000 and 50,000 stars, the template is nearest to
# the truth with k = 3, 8, 25 and 50.
_PER_ROOT, _LEAST_NEIGHBORS = 0.25, 3
# Least width, in bins, where stars have the same magnitudes.
_LEAST_WIDTH = 0.25
# Stars that are worked on at a time.
_CHUNK = 10_000


def background_template(
    stars: Any,
    axes: HessAxes,
    *,
    area_ratio: float,
    area_ratio_error: float = 0.0,
    mask: Any = None,
    n_neighbors: int | None = None,
) -> Background:
    """Make a background from the stars of a control field beside the galaxy.

    Each star is spread by a Gaussian as wide as its distance to its k-th neighbor, with distances
    in bins: narrow where stars are many, wide where they are few. It is cut off at the edges and
    integrated over the bins, so that the template holds as many stars as were counted, times the
    ratio of the areas. Of N stars one in N + 1 is spread evenly: so many more could be anywhere
    without having shown up among N. No bin is therefore impossible.

    Parameters
    ----------
    stars : StarCatalog, table, or mapping of str to array (N,)
        Apparent magnitudes of the control field, as for `bin_cmd`, observed to the same depth as
        the galaxy: the template has the completeness and the errors of these stars.
    axes : HessAxes
        The bins.
    area_ratio : float
        Area of the galaxy's field over that of the control field.
    area_ratio_error : float
        Its standard error.
    mask : DataArray or array of bool (N_mag, N_color), optional
        True where a bin counts. Stars elsewhere are left out, and the template is 0 there.
    n_neighbors : int, optional
        k; by default sqrt(N) / 4, at least 3.

    Returns
    -------
    Background
        Expected stars in each bin of the galaxy's diagram, and as its prior width the relative
        error of their number, sqrt(1/N + (area_ratio_error / area_ratio)^2).

    Raises
    ------
    ValueError
        As `bin_cmd`; for fewer than 10 stars in the bins that count, an area ratio that is not
        positive, a negative error, and a number of neighbors that is not whole or not within 1 and
        N - 1.

    Examples
    --------
    >>> import numpy as np, pymc_starpop as psp
    >>> axes = psp.HessAxes(("V", "I"), "I", np.linspace(0, 3, 31), np.linspace(18, 26, 41))
    >>> rng = np.random.default_rng(1)
    >>> i = rng.uniform(18.0, 26.0, 400)
    >>> control = {"I": i, "V": i + rng.normal(2.0, 0.2, 400)}
    >>> sky = psp.background_template(control, axes, area_ratio=0.25)
    >>> sky
    Background(amplitude=1.0, sigma=0.05, fixed=False)
    >>> float(sky.template.sum().round(6))
    100.0
    """
    check_axes(axes)
    if not (is_number(area_ratio) and 0.0 < area_ratio < np.inf):
        raise ValueError(
            f"area_ratio must be positive, the area of the galaxy's field over that of the control "
            f"field, got {area_ratio!r}."
        )
    if not (is_number(area_ratio_error) and 0.0 <= area_ratio_error < np.inf):
        raise ValueError(f"area_ratio_error must not be negative, got {area_ratio_error!r}.")
    counted = check_mask(mask, axes)
    mag, color = _inside(stars, axes, counted)
    widths = _widths(mag, color, axes, n_neighbors)
    smooth = _smooth(mag, color, widths, axes, counted)
    even = 1.0 / (mag.size + 1.0)
    area = np.outer(np.diff(axes.mag_edges), np.diff(axes.color_edges)) * counted
    shape = (1.0 - even) * smooth + even * area / area.sum()
    sigma = float(np.hypot(mag.size**-0.5, area_ratio_error / area_ratio))
    return Background(axes.wrap(mag.size * area_ratio * shape, "stars"), sigma=sigma)


def _inside(stars: Any, axes: HessAxes, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes and colors of the stars in the bins that count, as `bin_cmd` counts them."""
    color, mag = color_and_mag(stars, axes)
    index = []
    for values, edges in ((mag, axes.mag_edges), (color, axes.color_edges)):
        # NaN is beyond all edges.
        i = np.searchsorted(edges, values, side="right") - 1
        index.append(np.where(values == edges[-1], edges.size - 2, i))
    y, x = index
    inside = (y >= 0) & (y < counted.shape[0]) & (x >= 0) & (x < counted.shape[1])
    inside[inside] = counted[y[inside], x[inside]]
    n = int(inside.sum())
    if n < _LEAST_STARS:
        raise ValueError(
            f"stars: {n} of {mag.size} are in the bins that count, too few for a template; "
            f"expected {_LEAST_STARS} or more. Give background=psp.Background(number of stars in a "
            f"bin) instead."
        )
    return mag[inside], color[inside]


def _widths(
    mag: np.ndarray, color: np.ndarray, axes: HessAxes, n_neighbors: int | None
) -> np.ndarray:
    """Return the width (N, 2) of each star's Gaussian in magnitude and color, mag."""
    n = mag.size
    k = max(_LEAST_NEIGHBORS, round(_PER_ROOT * n**0.5)) if n_neighbors is None else n_neighbors
    whole = isinstance(k, int | np.integer) and not isinstance(k, bool)
    if not whole or not 1 <= k < n:
        raise ValueError(
            f"n_neighbors must be a whole number, 1 to {n - 1} for {n} stars, got {k!r}; leave it "
            "out for sqrt(N) / 4."
        )
    bins = np.array([np.median(np.diff(e)) for e in (axes.mag_edges, axes.color_edges)])
    points = np.stack([mag, color], axis=-1) / bins
    distance, _ = KDTree(points).query(points, [k + 1])
    return np.maximum(distance, _LEAST_WIDTH) * bins


def _smooth(
    mag: np.ndarray, color: np.ndarray, widths: np.ndarray, axes: HessAxes, counted: np.ndarray
) -> np.ndarray:
    """Return the part of the stars (N_mag, N_color) in each bin that counts."""
    total = np.zeros(axes.shape)
    for start in range(0, mag.size, _CHUNK):
        some = slice(start, start + _CHUNK)
        in_mag = _in_bins(mag[some], widths[some, 0], axes.mag_edges)
        in_color = _in_bins(color[some], widths[some, 1], axes.color_edges)
        kept = np.sum((in_mag @ counted) * in_color, axis=1)
        total += (in_mag / kept[:, None]).T @ in_color
    return total * counted / mag.size


def _in_bins(values: np.ndarray, widths: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the part (N, N_bin) of each star's Gaussian between edges."""
    return np.diff(ndtr((edges - values[:, None]) / widths[:, None]), axis=1)
