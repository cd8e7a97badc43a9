"""The optima that several climbs find: search, share of the posterior, and the table of them."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.summaries.climb import Ask, Summit, climb

__all__ = ["RIVAL", "check_number", "columns", "distinct", "search", "weights"]

_HERE = str(Path(__file__).parents[1])  # warnings point at the code that calls this package

# Two searches have found the same optimum if their log densities and every parameter, in units of
# the spread of the prior draws, differ by less than this.
_SAME_LOGP = 0.5
_SAME_POSITION = 0.05
# Share of the posterior that makes a rival optimum a start of other chains.
RIVAL = 0.01


def search(
    positions: Iterable[np.ndarray],
    spread: np.ndarray,
    n_starts: int,
    advance: Callable[[], None],
) -> Ask[tuple[list[Summit], int]]:
    """Climb from the first positions with a finite log density.

    Parameters
    ----------
    positions : iterable of numpy.ndarray
        Where to begin, (N,) each.
    spread : numpy.ndarray
        Length (N,) of a long step in each variable.
    n_starts : int
        Number of climbs that are wanted.
    advance : callable
        Called after each.

    Yields
    ------
    numpy.ndarray
        A position; to be sent the log density and its gradient there.

    Returns
    -------
    (list of Summit, int)
        Where the climbs ended, and how many positions have no finite log density.
    """
    found: list[Summit] = []
    n_without = 0
    for position in positions:
        summit = None
        if np.isfinite(position).all():
            summit = yield from climb(position, spread, found)
        if summit is None:
            n_without += 1
            continue
        found.append(summit)
        advance()
        if len(found) == n_starts:
            break
    return found, n_without


def check_number(n_found: int, n_without: int, n_starts: int) -> None:
    """Some climb must have begun; that fewer did than were wanted is a warning."""
    remedy = "narrow the priors so that they lie within the isochrones"
    if not n_found:
        raise ValueError(
            f"none of {n_without} starting points has a finite log density; {remedy}, or raise "
            "n_starts"
        )
    if n_found < n_starts:
        warnings.warn(
            f"{n_found} climbs began, not n_starts = {n_starts}: {n_without} other starting points "
            f"have no finite log density; {remedy} and in the order that a transform asks for",
            skip_file_prefixes=(_HERE,),
        )


def distinct(
    found: Sequence[Summit], spread: np.ndarray, counts: Sequence[int] | None = None
) -> list[tuple[Summit, int]]:
    """Merge searches that ended in the same place, counting them; best first.

    `counts` are the searches that each stands for, one by default.
    """
    optima: list[tuple[Summit, int]] = []
    pairs = zip(found, [1] * len(found) if counts is None else counts, strict=True)
    for summit, more in sorted(pairs, key=lambda pair: -pair[0].logp):
        for k, (known, count) in enumerate(optima):
            near = np.all(np.abs(summit.position - known.position) <= _SAME_POSITION * spread)
            if known.logp - summit.logp < _SAME_LOGP and near:
                optima[k] = (known, count + more)
                break
        else:
            optima.append((summit, more))
    return optima


def weights(summits: Sequence[Summit]) -> np.ndarray:
    """Shares of the posterior by Laplace's approximation (Tierney & Kadane 1986, JASA 81, 82)."""
    volumes = np.array([summit.log_volume for summit in summits])
    known = volumes[np.isfinite(volumes)]
    # Rather too much than too little: chains in a place of no weight show in r_hat.
    volumes[~np.isfinite(volumes)] = known.max() if known.size else 0.0
    log_mass = np.array([summit.logp for summit in summits]) + volumes
    shares = np.exp(log_mass - log_mass.max())
    return shares / shares.sum()


def columns(found: dict[str, Any], values: Sequence[dict[str, np.ndarray]]) -> xr.Dataset:
    """Put the model's own variables beside what was found of the optima, a row an optimum."""
    data: dict[str, Any] = {name: ("optimum", column) for name, column in found.items()}
    for name in values[0]:
        stacked = np.stack([value[name] for value in values])
        dims = [f"{name}_dim_{i}" for i in range(stacked.ndim - 1)]
        # A mixture may well have a variable of the name of a column.
        column = f"{name} (variable)" if name in data else name
        data[column] = (["optimum", *dims], stacked)
    return xr.Dataset(data)
