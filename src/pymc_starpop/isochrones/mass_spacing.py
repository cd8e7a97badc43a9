"""Points of isochrones at nearly the same masses for every age and [Fe/H], up to the main sequence.

Points of equal EEP are what interpolation between isochrones mixes. On the main sequence and before
it their masses differ by 7 %, at some by 26 %, from one age to the next, and tracks of MIST are
0.05 Msun apart: EEPs against mass have kinks there. Mixed at equal EEP, isochrones of low-mass
stars are off by up to 0.05 mag in the middle between two ages, and the luminosity function has
spikes; a profile in log age then ripples with the period of the grid. At equal mass they are off by
a tenth to a half of that. Later phases move through the masses with age: there the EEPs are right
and stay.
"""

import numpy as np
from scipy.interpolate import PchipInterpolator

__all__ = ["spaced_by_mass"]

# Below the lowest mass of the likelihoods, so that one point is left to cut at it, Msun.
_LOWEST_MASS = 0.095
# Width in ln M that the points would have if the last of them had the same mass everywhere. Of 1.8
# to 2.6, and of second to sixth powers below, the errors of isochrones predicted from their
# neighbors (every second age left out) are the same within a tenth.
_WIDTH = np.log(10.0)


def spaced_by_mass(
    theory: np.ndarray, filled: np.ndarray, eep: np.ndarray, n_point: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Space the first points of isochrones by mass.

    The points x = 0 ... 1 have ln M = ln 0.095 + 2.3 x + r x^2, where r is such that the last one
    stays where it is: at equal x masses differ with age and [Fe/H] only by the square of x. Between
    the points of the source columns are monotone cubics in ln M.

    Parameters
    ----------
    theory : ndarray (F, A, E, Q)
        Columns by [Fe/H], age and EEP; the first is log10 of the initial mass.
    filled : ndarray of bool (F, A, E)
        Which points are not those of the source.
    eep : ndarray (E,)
        EEPs of the source.
    n_point : int
        How many points to space: up to about the middle of the main sequence.

    Returns
    -------
    theory, filled : ndarray
        New arrays. A point between two, one of which is filled, counts as filled.
    eep : ndarray (F, A, E)
        Where the points are along the isochrones of the source.
    """
    theory, filled = theory.copy(), filled.copy()
    numbers = np.broadcast_to(eep.astype(np.float64), filled.shape).copy()
    x = np.linspace(0.0, 1.0, n_point)
    for place in np.ndindex(theory.shape[:2]):
        points = theory[place][:n_point]
        ln_mass = points[:, 0] * np.log(10.0)
        rest = ln_mass[-1] - np.log(_LOWEST_MASS) - _WIDTH
        new = np.log(_LOWEST_MASS) + _WIDTH * x + rest * x**2
        new[-1] = ln_mass[-1]
        # A few points of the source have the mass of the point before.
        rises = ln_mass > np.concatenate([[-np.inf], np.maximum.accumulate(ln_mass)[:-1]])
        # At the last point cubics are off by rounding.
        nodes, own = ln_mass[rises], filled[place][:n_point][rises]
        columns = PchipInterpolator(nodes, points[rises])(new)
        columns[:, 0], columns[-1] = new / np.log(10.0), points[-1]
        numbers[place][:n_point] = np.interp(new, nodes, eep[:n_point][rises])
        after = np.clip(np.searchsorted(nodes, new), 1, nodes.size - 1)
        theory[place][:n_point] = columns
        filled[place][:n_point] = own[after] | own[after - 1]
    return theory, filled, numbers
