"""Log densities of proper motions, for NumPy arrays and for tensors alike."""

from typing import Any

import numpy as np

from pymc_starpop._namespace import NUMPY

__all__ = ["motion_logp"]

_LOG_2PI = float(np.log(2.0 * np.pi))


def motion_logp(difference: Any, errors: Any, corr: Any, variance: Any, xp: Any = NUMPY) -> Any:
    """Log density of a difference of two components under errors and an intrinsic covariance.

    ln N(d | 0, S) with S = [[e_x^2, r e_x e_y], [r e_x e_y, e_y^2]] + V,

        -0.5 [(S_yy d_x^2 - 2 S_xy d_x d_y + S_xx d_y^2) / det S + ln det S] - ln 2 pi.

    Parameters
    ----------
    difference, errors : pair of arrays or tensors
        Measured less expected, and standard deviations of the errors, in both components, mas/yr;
        shapes that broadcast.
    corr : array or tensor
        Correlation of the errors, between -1 and 1.
    variance : triple of arrays or tensors
        V_xx, V_xy and V_yy, (mas/yr)^2.
    xp : Namespace
        The functions to use.

    Returns
    -------
    array or tensor
        Log of a density per (mas/yr)^2.

    Examples
    --------
    >>> round(float(motion_logp((0.0, 0.0), (1.0, 1.0), 0.0, (0.0, 0.0, 0.0))), 4)
    -1.8379
    """
    (dx, dy), (ex, ey), (vxx, vxy, vyy) = difference, errors, variance
    sxx, syy = ex**2 + vxx, ey**2 + vyy
    sxy = corr * ex * ey + vxy
    det = sxx * syy - sxy**2
    square = (syy * dx**2 - 2.0 * sxy * dx * dy + sxx * dy**2) / det
    return -0.5 * (square + xp.log(det)) - _LOG_2PI
