"""Star formation histories as arrays: masses formed in, rates, fractions and times out.

Ages are lookback times, bins ascend from young to old: bin j lies between ``age_edges[j]`` and
``age_edges[j + 1]``, and the star formation rate is constant inside it. Leading axes of the masses
are draws.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import softmax

__all__ = [
    "formation_time",
    "formed_fraction",
    "merge_matrix",
    "metallicity_distribution",
    "spread_over_metallicity",
    "star_formation_rate",
]

# Draws that are worked on at a time where each needs a table of ages and metallicities.
_CHUNK = 256


def star_formation_rate(mass: np.ndarray, age_edges: np.ndarray) -> np.ndarray:
    """Return rates (..., N_age), Msun/yr, of masses formed (..., N_age), Msun, in bins of Gyr."""
    return mass / (1e9 * np.diff(age_edges))


def formed_fraction(mass: np.ndarray) -> np.ndarray:
    """Return the fraction (..., N_age + 1) of the mass that had formed by each edge.

    It is 1 at the youngest edge, 0 at the oldest one, and linear in between.
    """
    older = np.flip(np.cumsum(np.flip(mass, -1), axis=-1), -1)
    older = np.concatenate([older, np.zeros_like(older[..., :1])], axis=-1)
    return older / older[..., :1]


def formation_time(mass: np.ndarray, age_edges: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Return the lookback times (..., N_fraction), Gyr, by which fractions of the mass had formed.

    tau_f is the earliest time at which the mass formed so far reaches f times the total. Where
    nothing formed for a while just at that level, that is the beginning of the gap, and tau_1 is
    the young end of the youngest bin in which stars formed.

    Parameters
    ----------
    mass : ndarray (..., N_age)
        Mass formed in each bin, Msun, not negative, with a positive sum.
    age_edges : ndarray (N_age + 1,)
        Lookback time, Gyr, ascending.
    fractions : ndarray (N_fraction,)
        Above 0, at most 1.
    """
    edges = np.flip(age_edges)
    formed = np.cumsum(np.flip(mass, -1), axis=-1)
    formed = np.concatenate([np.zeros_like(formed[..., :1]), formed], axis=-1)
    times = []
    for fraction in fractions:
        target = fraction * formed[..., -1:]
        # Edges at which less than the target has formed: the first, and none of those that reach
        # it, so that the mass of the bin in between is positive.
        last = np.sum(formed < target, axis=-1, keepdims=True) - 1
        before = np.take_along_axis(formed, last, -1)
        after = np.take_along_axis(formed, last + 1, -1)
        inside = (target - before) / (after - before)
        times.append(edges[last] + inside * (edges[last + 1] - edges[last]))
    return np.concatenate(times, axis=-1)


def merge_matrix(age_edges: np.ndarray, new_edges: np.ndarray) -> np.ndarray:
    """Return the part (N_new, N_age) of each age bin that lies in each new bin."""
    low = np.maximum(new_edges[:-1, None], age_edges[None, :-1])
    high = np.minimum(new_edges[1:, None], age_edges[None, 1:])
    return np.clip(high - low, 0.0, None) / np.diff(age_edges)


def spread_over_metallicity(
    mass: np.ndarray, mh_mean: np.ndarray, sigma: np.ndarray, grid: np.ndarray
) -> np.ndarray:
    """Return masses (..., N_age, N_mh), Msun, spread by a Gaussian over a grid of metallicity.

    r_jk = R_j A_jk / sum_k A_jk with A_jk = exp(-((MH_k - mu_j)/sigma)^2 / 2): Garling et al.
    (2025), eq. 8, with the 1/2 that the printed equation lacks.

    Parameters
    ----------
    mass, mh_mean : ndarray (..., N_age)
        Mass formed, Msun, and mean metallicity, dex, of each age bin.
    sigma : ndarray (..., N_age) or (..., 1)
        Dispersion, dex.
    grid : ndarray (N_mh,)
        Metallicities, dex.
    """
    offset = (grid - mh_mean[..., None]) / sigma[..., None]
    return mass[..., None] * softmax(-0.5 * offset**2, axis=-1)


def metallicity_distribution(
    weights: np.ndarray, stars_per_mass: np.ndarray | None = None
) -> np.ndarray:
    """Return the part (..., N_mh) of the mass, or of the stars, at each metallicity.

    NaN where no stars are expected.

    Parameters
    ----------
    weights : ndarray (..., N_age, N_mh)
        Mass formed at each age and metallicity, Msun.
    stars_per_mass : ndarray (N_age, N_mh), optional
        Stars per Msun formed: then stars are counted.
    """
    if stars_per_mass is not None:
        weights = weights * stars_per_mass
    by_metallicity = weights.sum(axis=-2)
    total = by_metallicity.sum(axis=-1, keepdims=True)
    return np.divide(
        by_metallicity, total, out=np.full_like(by_metallicity, np.nan), where=total > 0
    )


def chunks(n_sample: int) -> Iterator[slice]:
    """Yield slices of a manageable number of draws."""
    for start in range(0, n_sample, _CHUNK):
        yield slice(start, min(start + _CHUNK, n_sample))
