"""Mean metallicity against age, and the share of each metallicity: formulas, NumPy or PyTensor.

Nothing is checked here: `pymc_starpop.sfh.metallicity` does that for symbolic models. Outside the
range of a formula (a metal content that is not positive, a fall where none may be) the result is
NaN, which the likelihood turns into -inf.
"""

import math
from typing import Any

from pymc_starpop._namespace import NUMPY

__all__ = [
    "MZR_MASS",
    "Z_OVER_X_SUN",
    "linear_amr",
    "linear_amr_through",
    "log_amr",
    "log_amr_through",
    "metal_content",
    "metallicity_shares",
    "monotone_amr",
    "power_law_mzr",
]

# Primordial helium and its gain with metals, and the solar metal content, as the PARSEC library
# takes them (Bressan et al. 2012, MNRAS 427, 127, section 4).
Y_PRIMORDIAL = 0.2485
HELIUM_GAIN = 1.78
Z_SUN = 0.01524
Z_OVER_X_SUN = Z_SUN / (1.0 - Y_PRIMORDIAL - (1.0 + HELIUM_GAIN) * Z_SUN)
# Mass at which `mh0` of the mass-metallicity relation is given, Msun.
MZR_MASS = 1e6
# Below this part of m0 the mass formed counts as that: a galaxy without stars has no metallicity.
_LEAST_MASS = 1e-30
_LN10 = math.log(10.0)


def _log10(x: Any, xp: Any) -> Any:
    return xp.log(x) / _LN10


def linear_amr(age_gyr: Any, alpha: Any, beta: Any, t_max_gyr: Any) -> Any:
    """[M/H] = beta + alpha (t_max - t), dex; Garling et al. (2025, eq. 9)."""
    return beta + alpha * (t_max_gyr - age_gyr)


def linear_amr_through(first: Any, second: Any, t_max_gyr: Any) -> tuple[Any, Any]:
    """Return (alpha, beta) of the linear relation through two points ([M/H], age in Gyr)."""
    (mh_1, age_1), (mh_2, age_2) = first, second
    alpha = (mh_1 - mh_2) / (age_2 - age_1)
    return alpha, mh_1 - alpha * (t_max_gyr - age_1)


def log_amr(
    age_gyr: Any,
    alpha: Any,
    beta: Any,
    t_max_gyr: Any,
    *,
    y_p: float = Y_PRIMORDIAL,
    gamma: float = HELIUM_GAIN,
    z_over_x_sun: float = Z_OVER_X_SUN,
    xp: Any = NUMPY,
) -> Any:
    """[M/H] of a metal content Z = beta + alpha (t_max - t), dex; Z > 0 and X > 0, else NaN.

    [M/H] = log10(Z / X) - log10((Z / X)sun), X = 1 - Y - Z, Y = y_p + gamma Z.
    """
    z = beta + alpha * (t_max_gyr - age_gyr)
    x = 1.0 - y_p - (1.0 + gamma) * z
    inside = (z > 0.0) & (x > 0.0)
    ratio = xp.where(inside, z, 1.0) / xp.where(inside, x, 1.0)
    return xp.where(inside, _log10(ratio, xp) - math.log10(z_over_x_sun), math.nan)


def metal_content(
    mh: Any,
    *,
    y_p: float = Y_PRIMORDIAL,
    gamma: float = HELIUM_GAIN,
    z_over_x_sun: float = Z_OVER_X_SUN,
    xp: Any = NUMPY,
) -> Any:
    """Metal content Z of [M/H] in dex, the inverse of the formula in `log_amr`."""
    ratio = z_over_x_sun * xp.exp(_LN10 * mh)
    return ratio * (1.0 - y_p) / (1.0 + (1.0 + gamma) * ratio)


def log_amr_through(
    first: Any, second: Any, t_max_gyr: Any, *, xp: Any = NUMPY, **solar: float
) -> tuple[Any, Any]:
    """Return (alpha, beta) of `log_amr` through two points ([M/H], age in Gyr)."""
    points = [(metal_content(mh, xp=xp, **solar), age) for mh, age in (first, second)]
    return linear_amr_through(points[0], points[1], t_max_gyr)


def power_law_mzr(
    mass_formed: Any, alpha: Any, mh0: Any, *, m0: float = MZR_MASS, xp: Any = NUMPY
) -> Any:
    """[M/H] = mh0 + alpha log10(M*(t) / m0), M* the mass formed up to and including time t.

    Ages ascend, so the sum runs from the last element, the oldest, down. Before any star has formed
    M* / m0 counts as 1e-30, which weighs nothing in a diagram.
    """
    formed = xp.cumsum(mass_formed[::-1])[::-1]
    return mh0 + alpha * _log10(xp.maximum(formed / m0, _LEAST_MASS), xp)


def monotone_amr(mh_oldest: Any, steps: Any, *, xp: Any = NUMPY) -> Any:
    """[M/H] (N_age,) that rises by steps >= 0 (N_age - 1,) from each age to the next younger one.

    ``steps[j]`` is the rise from age j + 1 to age j; a negative one makes all ages NaN from there.
    """
    rises = xp.where(steps >= 0.0, steps, math.nan)
    start = xp.stack([mh_oldest])
    return xp.cumsum(xp.concatenate([start, rises[::-1]]))[::-1]


def metallicity_shares(mh: Any, sigma: Any, grid: Any, *, xp: Any = NUMPY) -> Any:
    """Share of each metallicity in the stars of an age (N_age, N_mh), summing to 1 over the grid.

    A_jk = exp(-((grid_k - mh_j) / sigma_j)^2 / 2) over its sum (Garling et al. 2025, eq. 8, with
    the 1/2 that its code has), as a softmax. sigma is one number or one an age; NaN where it is not
    positive.
    """
    width = xp.where(sigma > 0.0, sigma, math.nan)
    offset = (grid[None, :] - mh[:, None]) / (width[:, None] if width.ndim else width)
    return xp.softmax(-0.5 * offset**2, axis=1)
