"""Optima of a model of many clusters: each given what they share, and that by its own posterior.

The joint density has no useful maximum: with the scatter of a population it grows without bound as
all clusters become the same. So what clusters share climbs its marginal posterior, in which each
cluster's variables are integrated over the Gaussian nearest to their density.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_starpop.summaries.blocks import BlockDensity
from pymc_starpop.summaries.climb import Ask, Summit, climb, descend, follow
from pymc_starpop.summaries.gaussians import Gaussians, Parts, fit_gaussians, step
from pymc_starpop.summaries.mass_matrix import ClustersGaussian, join_gaussians
from pymc_starpop.summaries.optima import distinct, search, weights

__all__ = ["ClusterOptima", "Hierarchy", "fit_hierarchy"]

# Gains of a step, nats, and changes of a relative covariance that are not worth it: of clusters,
# whose sum the shared variables see; in the climb of these, which only begins the fit of their
# Gaussian; in that fit. 0.01 nats are 0.14 standard deviations.
_CLUSTERS = (2e-4, 0.03)
_CLIMB = 0.1
_SHARED = (1e-2, 0.1)
_MAX_SHARED_SWEEPS = 6
# Sweeps of the clusters' Gaussians for each place of the shared variables, in that climb and in
# that fit. They begin with those of the nearest known place, which goes on where it was left; what
# further ones gain is rough densities.
_CLIMB_SWEEPS, _FIT_SWEEPS = 4, 3
# Other optima of a cluster that a new place of the shared variables favors by more than this, in
# nats, begin the climb of these once more, so many times.
_FAVORED, _MAX_ROUNDS = 0.5, 3
# Where the density has no curvature, the width of a Gaussian in spreads of the prior.
_UNKNOWN_WIDTH = 0.1


@dataclass(frozen=True)
class ClusterOptima:
    """Optima of one cluster given the shared variables, best first.

    Attributes
    ----------
    summits : tuple of Summit
    counts : tuple of int
        Searches that ended at each.
    n_without : int
        Starting points without a finite log density.
    """

    summits: tuple[Summit, ...]
    counts: tuple[int, ...]
    n_without: int

    @property
    def weights(self) -> np.ndarray:
        """Share of the cluster's posterior of each."""
        return weights(self.summits)


@dataclass(frozen=True)
class Hierarchy:
    """What was found.

    Attributes
    ----------
    clusters : tuple of ClusterOptima
    joint : ClustersGaussian
        The Gaussian nearest to the posterior of all variables.
    """

    clusters: tuple[ClusterOptima, ...]
    joint: ClustersGaussian

    @property
    def mean(self) -> np.ndarray:
        """Mean of the Gaussian of the P shared variables (P,)."""
        return self.joint.center[self.joint.shared]

    @property
    def covariance(self) -> np.ndarray:
        """Its covariance (P, P)."""
        return self.joint.factor @ self.joint.factor.T


def fit_hierarchy(
    density: BlockDensity,
    start: np.ndarray,
    positions: Sequence[np.ndarray],
    spread: np.ndarray,
    n_starts: int,
    advance: Callable[[str], None],
) -> Hierarchy:
    """Find the optima of the clusters and the posterior of what they share.

    Parameters
    ----------
    density : BlockDensity
    start : numpy.ndarray
        Position (N,) at which the shared variables begin.
    positions : sequence of numpy.ndarray
        Where the clusters' climbs begin, (N,) each.
    spread : numpy.ndarray
        Spread of the prior (N,).
    n_starts : int
        Climbs for each cluster.
    advance : callable
        Told what has been done.

    Raises
    ------
    ValueError
        If a cluster has no finite log density at any of the positions.
    """
    finder = _Finder(density, positions, spread, n_starts, advance)
    optima = finder.search(start)
    if not density.blocks.shared.size:
        joint = join_gaussians(density, start, finder.gaussians(optima), np.empty((0, 0)))
        return Hierarchy(optima, joint)
    marginal = _Marginal(density, start, spread, finder.gaussians(optima), advance)
    eta, covariance = start[density.blocks.shared], None
    for _ in range(_MAX_ROUNDS):
        found = follow(descend(eta, marginal.spread, _CLIMB), marginal.evaluate)
        if found is None:
            break
        eta, covariance = found
        at, gaussians = marginal.at(eta)
        optima, favored = finder.search_again(at, gaussians, optima)
        if not favored:
            break
        marginal = _Marginal(density, at, spread, finder.gaussians(optima), advance)
    if covariance is None:
        covariance = np.diag((_UNKNOWN_WIDTH * marginal.spread) ** 2)
    mean, covariance = marginal.fit(eta, covariance)
    at, gaussians = marginal.at(mean)
    joint = join_gaussians(density, at, gaussians, covariance)
    return Hierarchy(finder.follow_up(at, gaussians, optima), joint)


def side_by_side(density: BlockDensity, x: np.ndarray, askings: Sequence[Ask[Any]]) -> list[Any]:
    """Give one generator of positions a cluster what it asks for, all with the same evaluations."""
    members, now = density.blocks.members, x.copy()
    results: list[Any] = [None] * len(askings)
    answers: dict[int, Any] = dict.fromkeys(range(len(askings)))
    while answers:
        asked = {}
        for k, answer in answers.items():
            try:
                asked[k] = askings[k].send(answer)
            except StopIteration as end:
                results[k] = end.value
        if not asked:
            break
        for k, position in asked.items():
            now[members[k]] = position
        _, own, gradient = density.evaluate(now)
        answers = {k: (own[k], gradient[members[k]]) for k in asked}
    return results


class _Finder:
    """Searches for the optima of all clusters, given the shared variables."""

    def __init__(
        self,
        density: BlockDensity,
        positions: Sequence[np.ndarray],
        spread: np.ndarray,
        n_starts: int,
        advance: Callable[[str], None],
    ):
        self._density, self._n_starts, self._advance = density, n_starts, advance
        members = density.blocks.members
        self._positions = [[x[m] for x in positions] for m in members]
        self._spreads = [spread[m] for m in members]

    def search(self, x: np.ndarray) -> tuple[ClusterOptima, ...]:
        """Climb from the positions."""
        return self._search(x, self._positions)[0]

    def search_again(
        self, x: np.ndarray, gaussians: Gaussians, before: Sequence[ClusterOptima]
    ) -> tuple[tuple[ClusterOptima, ...], bool]:
        """Climb from the Gaussians, the optima of elsewhere, and the positions.

        Also says whether the best is another than that of the Gaussian for any cluster.
        """
        first = self._from(gaussians, before)
        positions = [[*a, *b] for a, b in zip(first, self._positions, strict=True)]
        optima, own = self._search(x, positions)
        favored = any(
            len(distinct([found.summits[0], here], spread)) > 1
            and _mass(found.summits[0]) - _mass(here) > _FAVORED
            for found, here, spread in zip(optima, own, self._spreads, strict=True)
        )
        return optima, favored

    def follow_up(
        self, x: np.ndarray, gaussians: Gaussians, before: Sequence[ClusterOptima]
    ) -> tuple[ClusterOptima, ...]:
        """Where the optima are when the shared variables have moved a little."""
        askings = [
            _climb_from(*both)
            for both in zip(self._from(gaussians, before), self._spreads, strict=True)
        ]
        again = []
        for found, old, spread in zip(
            side_by_side(self._density, x, askings), before, self._spreads, strict=True
        ):
            # No search but this one began at the Gaussian.
            counted = zip(found, (0, *old.counts), strict=True)
            known = [(summit, count) for summit, count in counted if summit is not None]
            if not known:
                again.append(old)
                continue
            summits, counts = zip(*known, strict=True)
            again.append(_ordered(distinct(summits, spread, counts), old.n_without))
        return tuple(again)

    def gaussians(self, optima: Sequence[ClusterOptima]) -> Gaussians:
        """Gaussians at the best optima."""
        means, factors = [], []
        for found, spread in zip(optima, self._spreads, strict=True):
            best = found.summits[0]
            means.append(best.position)
            known = best.covariance
            factors.append(
                np.diag(_UNKNOWN_WIDTH * spread) if known is None else np.linalg.cholesky(known)
            )
        return Gaussians(tuple(means), tuple(factors))

    def _from(
        self, gaussians: Gaussians, before: Sequence[ClusterOptima]
    ) -> list[list[np.ndarray]]:
        """The means of the Gaussians and the optima that were known."""
        return [
            [mean, *(summit.position for summit in old.summits)]
            for mean, old in zip(gaussians.means, before, strict=True)
        ]

    def _search(
        self, x: np.ndarray, positions: Sequence[Iterable[np.ndarray]]
    ) -> tuple[tuple[ClusterOptima, ...], list[Summit]]:
        """Optima of each cluster, and where its first climb ended."""
        askings = [
            search(own, spread, self._n_starts, lambda: self._advance("climb"))
            for own, spread in zip(positions, self._spreads, strict=True)
        ]
        optima, first = [], []
        found = side_by_side(self._density, x, askings)
        for name, spread, (summits, n_without) in zip(
            self._density.blocks.names, self._spreads, found, strict=True
        ):
            if not summits:
                raise ValueError(
                    f"cluster {name!r}: none of {n_without} starting points has a finite log "
                    "density; narrow its priors so that they lie within the isochrones, or raise "
                    "n_starts"
                )
            optima.append(_ordered(distinct(summits, spread), n_without))
            first.append(summits[0])
        return tuple(optima), first


def _climb_from(positions: Sequence[np.ndarray], spread: np.ndarray) -> Ask[list[Summit | None]]:
    """Climb from every position; None where there is no density."""
    found: list[Summit | None] = []
    for position in positions:
        known = [summit for summit in found if summit is not None]
        found.append((yield from climb(position, spread, known)))
    return found


def _mass(summit: Summit) -> float:
    """Logarithm of the share of the posterior, as far as it is known."""
    return summit.logp + (summit.log_volume if np.isfinite(summit.log_volume) else 0.0)


def _ordered(found: Sequence[tuple[Summit, int]], n_without: int) -> ClusterOptima:
    """The optimum with the largest share of the posterior first."""
    shares = weights([summit for summit, _ in found])
    order = np.argsort(-shares, kind="stable")
    summits, counts = zip(*(found[k] for k in order), strict=True)
    return ClusterOptima(summits, counts, n_without)


class _Marginal:
    """Log density of the shared variables, the clusters' integrated over Gaussians."""

    def __init__(
        self,
        density: BlockDensity,
        x: np.ndarray,
        spread: np.ndarray,
        gaussians: Gaussians,
        advance: Callable[[str], None],
    ):
        self._density, self._x, self._advance = density, x, advance
        self.spread = spread[density.blocks.shared]
        self._scale, self._n_sweep = self.spread, _CLIMB_SWEEPS
        self._known = [(x[density.blocks.shared], gaussians)]

    def evaluate(self, eta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the log density and its gradient.

        At the Gaussians that fit best the gradient is the mean of that of the joint density
        (Fisher's identity), since to first order the Gaussians need not move.
        """
        distances = [np.linalg.norm((eta - known) / self._scale) for known, _ in self._known]
        _, nearest = self._known[int(np.argmin(distances))]
        found = fit_gaussians(self._parts(eta), nearest, *_CLUSTERS, self._n_sweep)
        self._advance("shared")
        if found is None or not np.isfinite(found[1].value):
            return -np.inf, np.full(eta.size, np.nan)
        gaussians, sweep = found
        self._known.append((eta.copy(), gaussians))
        return sweep.value, sweep.gradient

    def at(self, eta: np.ndarray) -> tuple[np.ndarray, Gaussians]:
        """Position with these shared variables, and the clusters' Gaussians there."""
        self.evaluate(eta)
        x = self._x.copy()
        x[self._density.blocks.shared] = eta
        return x, self._known[-1][1]

    def fit(self, eta: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of the nearest Gaussian, from a first guess."""
        self._scale, self._n_sweep = np.sqrt(np.diag(covariance)), _FIT_SWEEPS

        def parts(
            positions: Sequence[np.ndarray],
        ) -> tuple[np.ndarray, list[np.ndarray], float, np.ndarray]:
            value, gradient = self.evaluate(positions[0])
            return np.array([value]), [gradient], 0.0, np.empty(0)

        first = Gaussians((eta,), (np.linalg.cholesky(covariance),))
        found = fit_gaussians(parts, first, *_SHARED, _MAX_SHARED_SWEEPS)
        last = first if found is None else step(*found)
        return last.means[0], last.factors[0] @ last.factors[0].T

    def _parts(self, eta: np.ndarray) -> Parts:
        """What is evaluated of the clusters, with these shared variables."""
        members, shared = self._density.blocks.members, self._density.blocks.shared
        x = self._x.copy()
        x[shared] = eta

        def parts(
            positions: Sequence[np.ndarray],
        ) -> tuple[np.ndarray, list[np.ndarray], float, np.ndarray]:
            for own, position in zip(members, positions, strict=True):
                x[own] = position
            rest, own_values, gradient = self._density.evaluate(x)
            return own_values, [gradient[own] for own in members], rest, gradient[shared]

        return parts
