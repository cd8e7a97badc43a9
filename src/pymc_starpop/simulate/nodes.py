"""Isochrones that stand for the ages and metallicities of a population, with their shares."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from pymc_starpop.simulate.population import CompositePopulation

__all__ = ["IsochroneNodes", "population_nodes"]

_LEAST_SHARE = 1e-12
_LEAST_SHARE_OF_AGE = 1e-6  # of one of many ages: less than lies beyond the reach of the Gaussian
_GAUSSIAN_REACH = 4.5  # standard deviations
# Multiples of the golden ratio are spread evenly, however many there are.
_GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)


@dataclass(frozen=True, eq=False)
class IsochroneNodes:
    """The J isochrones of one population.

    Attributes
    ----------
    log_age, mh : ndarray (J,)
        log10(age / yr) and [M/H] (dex) of the isochrones.
    share : ndarray (J,)
        Shares of the mass, adding to 1.
    young, old : ndarray (J,)
        Ends of the ages for which each stands, log10(age / yr); equal where all stars have one.
    lost : float
        Part of the mass whose [M/H] is outside the isochrones.
    """

    log_age: np.ndarray
    mh: np.ndarray
    share: np.ndarray
    young: np.ndarray
    old: np.ndarray
    lost: float

    def __len__(self) -> int:
        return int(self.share.size)

    def draw_log_age(self, index: int, n: int, rng: np.random.Generator) -> np.ndarray:
        """Ages (n,) of stars on one of the isochrones, log10(age / yr), uniform in time."""
        young, old = self.young[index], self.old[index]
        if young == old:
            return np.full(n, young)
        # From 0 to the width, so that narrow intervals keep their digits.
        excess = np.expm1(np.log(10.0) * (old - young)) * rng.random(n)
        return np.minimum(young + np.log1p(excess) / np.log(10.0), old)


def population_nodes(
    sfh: CompositePopulation, index: int, limits: tuple[float, float]
) -> IsochroneNodes:
    """Isochrones of one population within limits of [M/H] (dex).

    An age interval is cut in steps of equal length in log age, each of which has the isochrone of
    its middle in time. The metallicities of neighboring steps are shifted against each other.

    Parameters
    ----------
    sfh : CompositePopulation
    index : int
    limits : (float, float)
    """
    young, old = float(sfh.log_age[index]), float(sfh.log_age_old[index])
    n_step = max(int(np.ceil((old - young) / sfh.age_step - 1e-9)), 1)
    edges = np.linspace(young, old, n_step + 1)
    if young == old:
        log_age, part = edges[:1], np.ones(1)
    else:
        years = 10.0 ** (edges - young)
        log_age = young + np.log10(0.5 * (years[1:] + years[:-1]))
        part = np.diff(years) / (years[-1] - years[0])
    mean = sfh.mean_mh(index, log_age)
    cells = [_metallicities(sfh, index, mean[i], limits, i, n_step) for i in range(n_step)]
    count = [mh.size for mh, _, _ in cells]
    return IsochroneNodes(
        log_age=np.repeat(log_age, count),
        mh=np.concatenate([mh for mh, _, _ in cells]),
        share=np.concatenate([p * share for p, (_, share, _) in zip(part, cells, strict=True)]),
        young=np.repeat(edges[:-1], count),
        old=np.repeat(edges[1:], count),
        lost=float(part @ [lost for _, _, lost in cells]),
    )


def _metallicities(
    sfh: CompositePopulation,
    index: int,
    mean: float,
    limits: tuple[float, float],
    step: int,
    n_step: int,
) -> tuple[np.ndarray, np.ndarray, float]:
    """[M/H] (J,) of the isochrones of one age, shares of its mass, and the part outside the limits.

    What lies outside the limits is shared among the others.
    """
    sigma, lost = float(sfh.mh_sigma[index]), 0.0
    if sigma == 0.0:
        return np.array([mean]), np.array([1.0]), 0.0
    if sfh.mh_grid is not None:
        exponent = -0.5 * ((sfh.mh_grid - mean) / sigma) ** 2
        share, nodes = np.exp(exponent - exponent.max()), sfh.mh_grid
    else:
        make = _nearest if n_step == 1 else _shifted
        nodes, share = make(sfh.mh_step, mean, sigma, step, n_step)
        inside = (nodes >= limits[0]) & (nodes <= limits[1])
        if not inside.any():
            raise ValueError(
                f"mh={mean:g} with dispersion {sigma:g} lies outside the isochrones, "
                f"{limits[0]:g} to {limits[1]:g} dex."
            )
        lost = float(share[~inside].sum())
        nodes, share = nodes[inside], share[inside]
    least = _LEAST_SHARE if n_step == 1 else _LEAST_SHARE_OF_AGE
    kept = share > least * share.sum()
    return nodes[kept], share[kept] / share[kept].sum(), lost


def _nearest(
    mh_step: float, mean: float, sigma: float, step: int, n_step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each isochrone holds the part of the Gaussian that lies nearest to it."""
    half = int(np.ceil(_GAUSSIAN_REACH * sigma / mh_step))
    nodes = mean + mh_step * np.arange(-half, half + 1)
    edges = 0.5 * (nodes[1:] + nodes[:-1])
    return nodes, np.diff(np.concatenate([[0.0], ndtr((edges - mean) / sigma), [1.0]]))


def _shifted(
    mh_step: float, mean: float, sigma: float, step: int, n_step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Isochrones so far apart that those of all ages together are ``mh_step`` apart.

    The sum over a Gaussian at distances of half a standard deviation has its integral and its
    variance to rounding, wherever the points are.
    """
    distance = min(0.5 * sigma, n_step * mh_step)
    shift = (step * _GOLDEN) % 1.0 - 0.5
    half = int(np.ceil(_GAUSSIAN_REACH * sigma / distance))
    nodes = mean + distance * (np.arange(-half, half + 1) + shift)
    share = np.exp(-0.5 * ((nodes - mean) / sigma) ** 2)
    return nodes, share / share.sum()
