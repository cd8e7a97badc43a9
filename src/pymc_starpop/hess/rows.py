"""The part of the templates that a likelihood needs: the bins that hold stars.

With m = C r + b the expected and n the observed counts, and T and B the sums of C and b over all
bins that count, the Poisson likelihood ratio (Garling et al. 2025, eq. 6) is

    ln PLR = sum over n > 0 of [n ln(m / n) + n] - T r - B,

so that only the rows of C with n > 0 are needed. They are kept in single precision and arithmetic
is done in double. T is summed from the rounded rows: then the rounding enters as (1 - n/m) dm, not
as n/m dm, which is smaller by the Poisson error of a bin near the maximum.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_starpop.hess.axes import check_hess, check_mask
from pymc_starpop.hess.template_set import TemplateSet

__all__ = ["HessRows", "hess_rows"]


@dataclass(frozen=True, eq=False)
class HessRows:
    """Templates and data in the bins that hold stars, of one diagram or of several.

    Attributes
    ----------
    counts : ndarray of float32 (N_row, N_age * N_mh), C-contiguous
        Templates in the bins with stars, ages one after another, stars per Msun.
    observed : ndarray (N_row,)
        Stars, all positive.
    totals : ndarray (N_age * N_mh,)
        Sum of each template over all bins that count.
    constant : float
        Sum of n - n ln n over the rows.
    bins : ndarray of int (N_row,)
        Flat index of each row in its diagram (mag, color).
    shape : (int, int)
        N_age and N_mh.
    """

    counts: np.ndarray
    observed: np.ndarray
    totals: np.ndarray
    constant: float
    bins: np.ndarray
    shape: tuple[int, int]


def hess_rows(templates: TemplateSet, hess: Any, mask: Any = None) -> HessRows:
    """Gather the bins that hold stars.

    Parameters
    ----------
    templates : TemplateSet
        N_age x N_mh templates.
    hess : DataArray or array (N_mag, N_color)
        Stars in each bin.
    mask : DataArray or array of bool (N_mag, N_color), optional
        True where a bin counts; all by default.

    Raises
    ------
    ValueError
        For counts or a mask that do not fit the axes of the templates.
    """
    counted = check_mask(mask, templates.axes).ravel()
    observed = check_hess(hess, templates.axes, counted.reshape(templates.axes.shape)).ravel()
    bins = np.flatnonzero(counted & (observed > 0))
    matrix = templates.counts.reshape(templates.n_age * templates.n_mh, -1)
    rows = np.ascontiguousarray(matrix[:, bins].T, dtype=np.float32)
    empty = np.flatnonzero(counted & (observed == 0))
    stars = observed[bins]
    return HessRows(
        counts=rows,
        observed=stars,
        totals=rows.sum(axis=0, dtype=float) + matrix[:, empty].sum(axis=1),
        constant=float(np.sum(stars - stars * np.log(stars))),
        bins=bins,
        shape=(templates.n_age, templates.n_mh),
    )
