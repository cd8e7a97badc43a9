"""Age bins of templates, and the parts into which long ones are divided."""

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np

__all__ = ["age_edges", "isochrone_ages", "part_edges"]

_HERE = str(Path(__file__).parents[1])  # warnings point at the code that calls this package
# Part of the oldest bin that may lie beyond the isochrones without a word.
_LARGEST_GAP = 0.05
# A bin that is longer than its part by rounding alone is not divided.
_ROUNDING = 1e-9


def age_edges(log_age: np.ndarray, t_max_gyr: float | None) -> np.ndarray:
    """Edges (N_age + 1,) of the bins, log10(age / yr).

    Parameters
    ----------
    log_age : ndarray (N_age,)
        Young edges, log10(age / yr).
    t_max_gyr : float or None
        Old edge of the oldest bin, Gyr; None for templates of single ages.
    """
    return np.append(log_age, log_age[-1] if t_max_gyr is None else np.log10(t_max_gyr) + 9.0)


def part_edges(edges: np.ndarray, longest_gyr: float | None) -> np.ndarray:
    """Edges (N_part + 1,) with bins that last too long divided evenly in time, log10(age / yr).

    Parameters
    ----------
    edges : ndarray (N_age + 1,)
        Edges of the bins, log10(age / yr); all of them are edges of parts.
    longest_gyr : float or None
        The longest that a part may last, Gyr; None leaves all bins whole.
    """
    if longest_gyr is None:
        return edges
    out = [edges[:1]]
    for low, high in pairwise(edges):
        young, old = 10.0 ** (np.array([low, high]) - 9.0)
        n_part = max(1, int(np.ceil((old - young) / longest_gyr - _ROUNDING)))
        inside = np.linspace(young, old, n_part + 1)[1:-1]
        out.append(np.append(np.log10(inside) + 9.0, high))
    return np.concatenate(out)


def isochrone_ages(edges: np.ndarray, oldest_bin: float, last: float) -> np.ndarray:
    """Ages (N_part + 1,) of the isochrones that stand for the edges of parts, log10(age / yr).

    Where the isochrones end within the oldest bin, it is taken up to their end, and the edges of
    its parts move in proportion.

    Parameters
    ----------
    edges : ndarray (N_part + 1,)
        Edges of the parts, log10(age / yr).
    oldest_bin : float
        Young edge of the oldest bin, log10(age / yr).
    last : float
        Oldest isochrone, log10(age / yr).

    Warns
    -----
    UserWarning
        Where more than 5 % of the oldest bin lie beyond the isochrones.
    """
    if edges[-1] <= last:
        return edges
    young, end, old = 10.0 ** (np.array([oldest_bin, last, edges[-1]]) - 9.0)
    missing = (old - end) / (old - young)
    if missing > _LARGEST_GAP:
        warnings.warn(
            f"t_max_gyr={old:g}: the isochrones end at {end:.4g} Gyr, so that the oldest template "
            f"lacks {100.0 * missing:.0f} % of its bin, {young:.4g} to {old:g} Gyr; its stars "
            f"count as formed in all of it. Take older isochrones or a smaller t_max_gyr.",
            skip_file_prefixes=(_HERE,),
        )
    within = young + (10.0 ** (edges - 9.0) - young) * (1.0 - missing)
    moved = np.log10(np.maximum(within, young)) + 9.0
    moved[-1] = last
    return np.where(edges > oldest_bin, moved, edges)
