"""Ages of the stars of one population: a spread around one age, or a given distribution.

A spread of ages is a mixture of isochrones. A sum over few of them would be a comb wherever the
photometric errors are smaller than the distance between neighbors, so each isochrone is smeared
along its own change with age: a Gaussian in log age whose width is that of the gaps, which adds a
term of rank one to the covariance of every star.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import optimize

__all__ = ["ONE_AGE", "AgeDistribution", "AgeNodes", "spread_nodes"]

# Smearing in units of the distance between nodes: the sum of such Gaussians is flat to
# 2 exp(-2 pi^2 0.75^2) = 3e-5.
_OVERLAP = 0.75
# The outermost nodes lie at so many standard deviations of what smearing does not cover.
_REACH = 3.0
# Smearing follows a straight line; over more than this (dex) the isochrones bend away from it.
_WIDEST = 0.03
# A Gaussian that is a sum of narrower ones, at most so much narrower: it is right to 0.2 %.
_NARROWER = 0.6


@dataclass(frozen=True)
class AgeNodes:
    """Isochrones that stand for a distribution of log age.

    Attributes
    ----------
    position : tuple of float (J,)
        Places of the isochrones, in units of the spread around the mean age, or log10(age / yr).
    weight : tuple of float (J,)
        Shares of the stars, with sum 1.
    half_step : float
        Half the distance, in the units of `position`, over which the change of an isochrone with
        age is taken.
    smear : float
        Standard deviation of the smearing in units of that change.
    """

    position: tuple[float, ...]
    weight: tuple[float, ...]
    half_step: float
    smear: float

    @property
    def reach(self) -> float:
        """Largest distance from 0 of a place where an isochrone is needed."""
        return max(abs(x) for x in self.places()[0])

    def places(self) -> tuple[tuple[float, ...], np.ndarray]:
        """Return where isochrones are needed, and which: before, at and after each node (J, 3)."""
        position = np.asarray(self.position)[:, None]
        wanted = position + self.half_step * np.array([-1.0, 0.0, 1.0])
        places, index = np.unique(np.round(wanted, 9), return_inverse=True)
        return tuple(places.tolist()), index.reshape(wanted.shape)


#: One age for all stars.
ONE_AGE = AgeNodes((0.0,), (1.0,), 0.0, 0.0)


def spread_nodes(n: int) -> AgeNodes:
    """Place n isochrones for a Gaussian spread of unit width.

    With h the distance between nodes and s = 0.75 h the smearing, nodes with Gaussian weights and a
    variance of 1 - s^2 make a Gaussian of variance 1.

    Parameters
    ----------
    n : int
        Number of isochrones, odd. With 1 the isochrone moves along a straight line.

    Returns
    -------
    AgeNodes
        In units of the spread.

    Examples
    --------
    >>> nodes = spread_nodes(9)
    >>> variance = sum(w * x * x for w, x in zip(nodes.weight, nodes.position, strict=True))
    >>> round(variance + (nodes.smear * nodes.half_step) ** 2, 9)
    1.0
    """
    if n == 1:
        return AgeNodes((0.0,), (1.0,), 1.0, 1.0)
    ratio = _REACH * _OVERLAP / (0.5 * (n - 1))
    smear = ratio / math.sqrt(1.0 + ratio * ratio)
    step = smear / _OVERLAP
    position = step * (np.arange(n) - 0.5 * (n - 1))

    def weights(inverse: float) -> np.ndarray:
        weight = np.exp(-0.5 * position**2 * inverse)
        return np.asarray(weight / weight.sum())

    def excess(inverse: float) -> float:
        return float(weights(inverse) @ position**2) - (1.0 - smear**2)

    # The outermost nodes cut the tails: a little wider than 1 - s^2 makes up for it.
    weight = weights(optimize.brentq(excess, 0.0, 100.0))
    return AgeNodes(tuple(position.tolist()), tuple(weight.tolist()), step, _OVERLAP)


@dataclass(frozen=True)
class AgeDistribution:
    """A given distribution of the ages of stars: a mixture of Gaussians in log age.

    Parameters
    ----------
    log_age : sequence of float (J,)
        Centers, log10(age / yr), ascending.
    weight : sequence of float (J,)
        Shares of the systems born, positive or 0; they are divided by their sum.
    width : float, optional
        Standard deviation of every Gaussian, dex. By default 0.75 of the mean distance between
        centers, which makes a smooth sum.

    Raises
    ------
    ValueError
        For ages that do not ascend, weights that are negative or all 0, shapes that differ.

    Examples
    --------
    >>> AgeDistribution([9.0, 9.1], [3.0, 1.0]).weight
    (0.75, 0.25)
    """

    log_age: Any
    weight: Any
    width: float | None = None

    def __post_init__(self) -> None:
        """Check and convert the columns."""
        ages, weights = np.asarray(self.log_age, float), np.asarray(self.weight, float)
        if ages.ndim != 1 or ages.shape != weights.shape or not ages.size:
            raise ValueError(
                f"AgeDistribution needs as many weights as log_age, at least one of each, got "
                f"shapes {weights.shape} and {ages.shape}; give two sequences of equal length"
            )
        if not np.all(np.isfinite(ages)) or np.any(np.diff(ages) <= 0.0):
            raise ValueError(
                f"log_age of AgeDistribution must be finite and ascend, got {ages.tolist()}; sort "
                "the ages together with their weights"
            )
        if not np.all(np.isfinite(weights) & (weights >= 0.0)) or weights.sum() <= 0.0:
            raise ValueError(
                f"weight of AgeDistribution must not be negative and not 0 everywhere, got "
                f"{weights.tolist()}; give shares of the systems born"
            )
        if self.width is None and ages.size == 1:
            raise ValueError(
                "width of AgeDistribution cannot be taken from a single age; give it in dex"
            )
        width = _OVERLAP * float(np.diff(ages).mean()) if self.width is None else float(self.width)
        if not (math.isfinite(width) and width > 0.0):
            raise ValueError(
                f"width of AgeDistribution must be positive (dex), got {self.width!r}; leave it "
                "out for 0.75 of the distance between ages"
            )
        object.__setattr__(self, "log_age", tuple(ages.tolist()))
        object.__setattr__(self, "weight", tuple((weights / weights.sum()).tolist()))
        object.__setattr__(self, "width", width)

    @classmethod
    def from_bins(
        cls, log_age_edges: Sequence[float], weight: Sequence[float], n_piece: int = 4
    ) -> Self:
        """Return the distribution of a star formation history in bins of log age.

        Parameters
        ----------
        log_age_edges : sequence of float (J + 1,)
            Edges of the bins, log10(age / yr), ascending.
        weight : sequence of float (J,)
            Systems born in each bin (or the mass formed there), spread evenly over its log age.
        n_piece : int
            Gaussians for each bin.

        Returns
        -------
        AgeDistribution

        Raises
        ------
        ValueError
            For edges that do not ascend and numbers of weights that do not fit.

        Examples
        --------
        >>> AgeDistribution.from_bins([9.0, 9.2, 9.4], [1.0, 3.0], n_piece=1).log_age
        (9.1, 9.3)
        """
        edges, weights = np.asarray(log_age_edges, float), np.asarray(weight, float)
        if edges.ndim != 1 or weights.shape != (edges.size - 1,):
            raise ValueError(
                f"log_age_edges needs one number more than weight, got shapes {edges.shape} and "
                f"{weights.shape}"
            )
        if not np.all(np.isfinite(edges)) or np.any(np.diff(edges) <= 0.0):
            raise ValueError(f"log_age_edges must be finite and ascend, got {edges.tolist()}")
        if not (isinstance(n_piece, int | np.integer) and n_piece >= 1):
            raise ValueError(f"n_piece must be a whole number of at least 1, got {n_piece!r}")
        middle = (np.arange(n_piece) + 0.5) / n_piece
        centers = edges[:-1, None] + np.diff(edges)[:, None] * middle
        shares = np.repeat(weights / n_piece, n_piece)
        width = _OVERLAP * float(np.diff(edges).mean()) / n_piece
        return cls(centers.ravel(), shares, width)

    def nodes(self) -> AgeNodes:
        """Return the isochrones that stand for the distribution, at log10(age / yr).

        Gaussians of up to 0.03 dex are isochrones that are smeared; wider ones are sums of such.
        """
        assert self.width is not None  # set when it was checked
        if self.width <= _WIDEST:
            return AgeNodes(self.log_age, self.weight, self.width, 1.0)
        smear = min(_WIDEST, _NARROWER * self.width)
        step, rest = smear / _OVERLAP, math.sqrt(self.width**2 - smear**2)
        first, last = self.log_age[0] - _REACH * rest, self.log_age[-1] + _REACH * rest
        n = math.ceil((last - first) / step) + 1
        position = 0.5 * (first + last) + step * (np.arange(n) - 0.5 * (n - 1))
        distance = (position[:, None] - np.asarray(self.log_age)) / rest
        weight = np.exp(-0.5 * distance**2) @ np.asarray(self.weight)
        weight /= weight.sum()
        return AgeNodes(tuple(position.tolist()), tuple(weight.tolist()), step, _OVERLAP)
