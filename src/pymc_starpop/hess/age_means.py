"""Means of templates over age bins, with as many ages as the isochrones need.

Stars of a bin form at a constant rate in time, so that with u = log10(age) the mean of the
templates T is

    int T(u) t(u) du / int t(u) du,   t = 10^u.

Ages are even in u, both edges of the bin included, so that neighboring bins share the template at
their common edge. Their number is doubled until the mean stands still.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

__all__ = ["LARGEST_ERROR", "BinMean", "age_means", "closed_weights", "shape_error"]

#: Error of a mean, as `shape_error` has it, at which no more ages are added: 10,000 stars of one
#: bin then move chi-square by less than 1.
LARGEST_ERROR = 1e-4
# One doubling of the ages lowers the error by more than this. Measured on bundled isochrones: by 8
# where the turn-off moves by several widths of a bin between two ages, by 50 to 200 below that.
_GAIN = 8.0
_MOST_AGES = 129
# Weights at the ends of 2, 3 and 5 even nodes: the trapezoidal rule, Simpson's and Boole's; from 9
# nodes on those of Gregory (Press et al. 2007, Numerical Recipes, eq. 4.1.14), 1 in between.
_FEW = {
    2: (0.5, 0.5),
    3: (1.0 / 3.0, 4.0 / 3.0, 1.0 / 3.0),
    5: tuple(np.array([7.0, 32.0, 12.0, 32.0, 7.0]) * 2.0 / 45.0),
}
_ENDS = (3.0 / 8.0, 7.0 / 6.0, 23.0 / 24.0)

# Takes log10(age / yr) and returns a template, or what `Finish` makes one of.
Raw = Callable[[float], np.ndarray]
# A linear map; several templates at a time (K, ...) cost less than one by one.
Finish = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class BinMean:
    """Mean over one age bin.

    Attributes
    ----------
    value : ndarray (N_mag, N_color)
        The mean.
    n_age : int
        Ages it was made of.
    error : float
        Estimate of its error, as `shape_error` has it.
    """

    value: np.ndarray
    n_age: int
    error: float


def closed_weights(log_age: np.ndarray) -> np.ndarray:
    """Weights (n,) of even ages, both ends included, in a mean over time that adds up to 1.

    Parameters
    ----------
    log_age : ndarray (n,)
        log10(age / yr), evenly spaced, n >= 2.
    """
    n = log_age.size
    if n in _FEW:
        rule = np.array(_FEW[n])
    else:
        rule = np.ones(n)
        if n >= 2 * len(_ENDS):
            rule[: len(_ENDS)], rule[-len(_ENDS) :] = _ENDS, _ENDS[::-1]
        else:
            rule[[0, -1]] = 0.5
    # Relative to the oldest: only their ratios count.
    weights = rule * 10.0 ** (log_age - log_age[-1])
    return weights / weights.sum()


def shape_error(one: np.ndarray, other: np.ndarray) -> float:
    """Chi-square between two templates, for each star expected.

    sum (a - b)^2 / m over sum m, with m their mean: n stars tell the two apart by about n times
    this. It is 0 where both are.
    """
    mean = 0.5 * (one + other)
    total = float(mean.sum())
    if total <= 0.0:
        return 0.0
    square = np.square(one - other)
    return float(np.divide(square, mean, out=np.zeros_like(mean), where=mean > 0.0).sum()) / total


def age_means(
    raw: Raw,
    finish: Finish,
    edges: np.ndarray,
    n_age: int | None = None,
    largest_error: float = LARGEST_ERROR,
) -> Iterator[BinMean]:
    """Yield the mean over each of several neighboring age bins.

    Parameters
    ----------
    raw, finish : callable
        ``finish(raw(log_age)[None])[0]`` is the template of an age, log10(age / yr); `finish` is
        linear, so that it is left to the end, and takes several, (K, ...).
    edges : ndarray (N + 1,)
        Edges of the bins, log10(age / yr), ascending.
    n_age : int, optional
        Ages in each bin, both edges included, 2 or more; by default as many as are needed.
    largest_error : float
        Error, as `shape_error` has it, at which no more ages are added.
    """
    first = raw(float(edges[0]))
    for low, high in pairwise(edges):
        last = raw(float(high))
        if n_age is None:
            yield _refined(raw, finish, np.array([low, high]), [first, last], largest_error)
        else:
            ages = np.linspace(low, high, n_age)
            values = [first, *(raw(float(age)) for age in ages[1:-1]), last]
            yield BinMean(finish(_mean(ages, values)[None])[0], n_age, np.nan)
        first = last


def _refined(
    raw: Raw, finish: Finish, ages: np.ndarray, values: list[np.ndarray], largest_error: float
) -> BinMean:
    """Return the mean over one bin from so many ages that one doubling more changes little."""
    coarse = _mean(ages, values)
    ages, values = _doubled(raw, ages, values)
    before, mean = finish(np.stack([coarse, _mean(ages, values)]))
    error = shape_error(before, mean) / _GAIN
    while not error <= largest_error and ages.size < _MOST_AGES:
        ages, values = _doubled(raw, ages, values)
        before, mean = mean, finish(_mean(ages, values)[None])[0]
        error = shape_error(before, mean) / _GAIN
    return BinMean(mean, ages.size, error)


def _doubled(
    raw: Raw, ages: np.ndarray, values: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return ages and templates with one more in the middle of every two."""
    middles = 0.5 * (ages[1:] + ages[:-1])
    between = [raw(float(age)) for age in middles]
    ages = np.insert(ages, np.arange(1, ages.size), middles)
    return ages, [v for pair in zip(values, between, strict=False) for v in pair] + values[-1:]


def _mean(log_age: np.ndarray, values: list[np.ndarray]) -> np.ndarray:
    total = np.zeros_like(values[0])
    for weight, value in zip(closed_weights(log_age), values, strict=True):
        total += weight * value
    return total
