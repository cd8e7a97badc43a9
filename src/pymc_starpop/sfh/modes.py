"""Several searches for the mode of a star formation history under its prior.

With templates that resemble each other and a wide prior a posterior may have several modes, and one
search ends in the nearest. So searches start from the rates that the prior expects, from the
maximum of the likelihood, from the modes of narrower priors, and from bursts in single and
neighboring age bins; those that fall behind after a few steps are given up.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.sfh.box_newton import Optimum
from pymc_starpop.sfh.hierarchy import Hierarchy
from pymc_starpop.sfh.laplace import GaussianPrior, climb

__all__ = ["Mode", "find_modes", "table_of_modes"]

# Rivals so many nats below the best are reported.
_RIVAL = 10.0
# Modes are the same if the fractions formed by each age differ by less, and the mean [M/H] by less.
_SAME_FRACTION, _SAME_MH = 0.02, 0.05
# Bursts that are left, and steps that each takes, round by round; the last go to the end.
_ROUNDS = ((24, 3), (10, 8), (4, 200))
# Part of the stars that a burst leaves to all other ages.
_OUTSIDE_BURST = 0.01
# Widths of the narrower priors in units of the prior's.
_NARROWER = (0.1, 0.3)


@dataclass(frozen=True, eq=False)
class Mode:
    """One maximum of the posterior.

    Attributes
    ----------
    u : (P,) in coordinates without bounds
    log_posterior : float, up to a constant
    n_start : searches that ended there
    """

    u: np.ndarray
    log_posterior: float
    n_start: int


def find_modes(
    problem: Hierarchy, prior: GaussianPrior, expected: np.ndarray, best: np.ndarray
) -> list[Mode]:
    """Find the modes of the posterior within 10 nats of the best, best first.

    Parameters
    ----------
    problem : Hierarchy
    prior : GaussianPrior
    expected, best : (P,)
        Starts in coordinates without bounds: with the rates that the prior expects, and the
        maximum of the likelihood.
    """
    ends = [climb(problem, prior, u) for u in (expected, best)]
    ends += _continued(problem, prior, expected)
    rivals = [Optimum(u, _at(problem, prior, u), 0, False) for u in _bursts(problem, best)]
    for n_kept, n_step in _ROUNDS:
        rivals = sorted(rivals, key=lambda o: float(o.state.value))[:n_kept]
        rivals = [climb(problem, prior, o.point, n_step) for o in rivals]
    return _distinct(problem, sorted([*ends, *rivals], key=lambda o: float(o.state.value)))


def _at(problem: Hierarchy, prior: GaussianPrior, u: np.ndarray) -> Any:
    """The posterior at one point."""
    return climb(problem, prior, u, 0).state


def _continued(problem: Hierarchy, prior: GaussianPrior, start: np.ndarray) -> list[Optimum]:
    """Search from the modes of narrower priors on the masses."""
    n_age, ends = problem.n_age, []
    if prior.flat[:n_age].any():
        return []
    for width in _NARROWER:
        precision = prior.precision.copy()
        precision[:n_age, :n_age] /= width**2
        narrow = climb(problem, replace(prior, precision=precision), start)
        ends.append(climb(problem, prior, narrow.point))
    return ends


def _bursts(problem: Hierarchy, best: np.ndarray) -> list[np.ndarray]:
    """Histories of a burst in one age bin or two neighbors, with the best parameters."""
    n_age = problem.n_age
    x = problem.coordinates.natural(best)
    of_bins = problem.stars_of_bins(x)
    stars, per_mass = float(of_bins.sum()), of_bins / np.maximum(x[:n_age], 1e-300)
    points = []
    for width in (1, 2):
        for j in range(n_age - width + 1):
            share = np.full(n_age, _OUTSIDE_BURST / n_age)
            share[j : j + width] += (1.0 - _OUTSIDE_BURST) / width
            u = best.copy()
            u[:n_age] = np.log(share * stars / np.maximum(per_mass, 1e-300))
            if np.isfinite(problem.evaluate(problem.coordinates.natural(u)).value):
                points.append(u)
    return points


def _distinct(problem: Hierarchy, found: list[Optimum]) -> list[Mode]:
    """Merge searches that ended in the same place, and leave out what is far below the best."""
    modes: list[Mode] = []
    marks: list[tuple[np.ndarray, float]] = []
    for o in found:
        value = float(o.state.value)
        if modes and -value < modes[0].log_posterior - _RIVAL:
            break
        mark = _mark(problem, o.point)
        for k, (formed, mh) in enumerate(marks):
            near = np.abs(formed - mark[0]).max() < _SAME_FRACTION
            if near and abs(mh - mark[1]) < _SAME_MH:
                modes[k] = replace(modes[k], n_start=modes[k].n_start + 1)
                break
        else:
            if o.converged:
                modes.append(Mode(o.point, -value, 1))
                marks.append(mark)
    if not modes:
        modes = [Mode(found[0].point, -float(found[0].state.value), 1)]
    return modes


def _mark(problem: Hierarchy, u: np.ndarray) -> tuple[np.ndarray, float]:
    """Fraction formed by each age (N_age,), and the mean [M/H] of the mass."""
    weights = problem.coefficients(problem.coordinates.natural(u))
    older = np.cumsum(weights.sum(axis=1)[::-1])[::-1]
    return older / older[0], float(np.sum(weights @ problem.data.mh) / weights.sum())


def table_of_modes(problem: Hierarchy, modes: list[Mode], edges: np.ndarray) -> xr.Dataset:
    """Tabulate modes; `edges` (N_age + 1,) are those of the age bins, Gyr."""
    x = [problem.coordinates.natural(mode.u) for mode in modes]
    mass = np.array([point[: problem.n_age] for point in x])
    older = np.cumsum(mass[:, ::-1], axis=1) / mass.sum(axis=1, keepdims=True)
    tau = [np.interp(0.5, np.append(0.0, formed), edges[::-1]) for formed in older]
    log_posterior = np.array([mode.log_posterior for mode in modes])
    age = ("mode", "log_age")
    return xr.Dataset(
        {
            "log_posterior": ("mode", log_posterior),
            "below_best": ("mode", log_posterior[0] - log_posterior),
            "n_start": ("mode", [mode.n_start for mode in modes]),
            "tau_50": ("mode", np.array(tau), {"units": "Gyr"}),
            "total_mass": ("mode", mass.sum(axis=1), {"units": "Msun"}),
            "mass_formed": (age, mass, {"units": "Msun"}),
            "mh_mean": (age, np.array([problem.mean_metallicity(p) for p in x]), {"units": "dex"}),
        },
        coords={"log_age": problem.data.log_age},
    )
