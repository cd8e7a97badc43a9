"""Functions of two coordinates that are as smooth as the data let them be.

A function is a sum of one of each coordinate and one of both,

    f(x, y) = a(x) + b(y) + c(x, y),

in cubic B-splines (P-splines, Eilers & Marx 1996, Stat. Sci. 11, 89). Second differences of the
coefficients of a and b and first differences of those of c have normal priors, whose precisions
are those of greatest marginal likelihood (Wood & Fasiolo 2017, Biometrics 73, 1071). Where the data
do not ask for it, c vanishes: what depends on one coordinate is learned from all stars along the
other one, and places without stars follow their neighbors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

__all__ = ["PlaneFit", "fit_chance", "fit_values"]

# Pieces of the functions of one coordinate, no shorter than this (mag), and of that of both.
_PIECES, _LEAST_PIECE, _PIECES_BOTH = 24, 0.25, 8
# Coefficients are held to 0 and slopes, 1/mag, to 0 by normal priors of these precisions: they only
# move what is not known. Slopes of logits are larger than those of biases and scatters.
_HOLD, _HOLD_LOGIT, _HOLD_SLOPE, _HOLD_SLOPE_LOGIT, _HOLD_BOTH = 1e-4, 1e-3, 1.0, 0.02, 1e-3
_PRECISION = 1e-4, 1e6  # least and greatest, of the differences of coefficients
_MOST_CHANGE = 10.0  # of a precision, in one round
_SHORTEST = 1e-3  # part of a step
_N_ROUND = 60
_CLOSE, _STILL = 0.01, 2  # rounds in which no coefficient moves by more, before the last
_TINY = 1e-10


@dataclass(frozen=True, eq=False)
class _Splines:
    """Uniform cubic B-splines of one coordinate."""

    start: float
    step: float
    n_piece: int

    @property
    def size(self) -> int:
        return self.n_piece + 3

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First of the four splines that are not 0 (N,), and their values (N, 4)."""
        at = (x - self.start) / self.step
        first = np.clip(at.astype(np.int64), 0, self.n_piece - 1)
        t = at - first
        u = 1.0 - t
        square = t * t
        values = np.stack(
            [u**3, (3 * t - 6) * square + 4, ((-3 * t + 3) * t + 3) * t + 1, t * square], axis=1
        )
        return first, values / 6.0


@dataclass(frozen=True, eq=False)
class _Basis:
    """Splines of each coordinate, alone and for that of both."""

    alone: tuple[_Splines, _Splines]
    both: tuple[_Splines, _Splines]
    limits: np.ndarray

    @property
    def parts(self) -> list[slice]:
        """Coefficients of the three functions."""
        sizes = [*(s.size for s in self.alone), self.both[0].size * self.both[1].size]
        ends = np.cumsum(sizes)
        return [slice(int(e) - n, int(e)) for e, n in zip(ends, sizes, strict=True)]

    def values(self, at: np.ndarray, coefficients: np.ndarray) -> list[np.ndarray]:
        """The three functions, (N,) each, at places (N, 2); beyond the limits those at them."""
        one, two, both = self._columns(at)
        return [
            np.einsum("nk,nk->n", weight, coefficients[part][column])
            for part, (column, weight) in zip(self.parts, (one, two, both), strict=True)
        ]

    def terms(self, at: np.ndarray) -> list[np.ndarray]:
        """Matrices (N, K) that make the three functions of their coefficients."""
        matrices = []
        for part, (column, weight) in zip(self.parts, self._columns(at), strict=True):
            matrix = np.zeros((len(at), part.stop - part.start))
            np.put_along_axis(matrix, column, weight, axis=1)
            matrices.append(matrix)
        return matrices

    def _columns(self, at: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        coordinates = np.clip(at, *self.limits).T
        four = np.arange(4)
        found = []
        for splines, x in zip(self.alone, coordinates, strict=True):
            first, weight = splines(x)
            found.append((first[:, None] + four, weight))
        (i, v), (j, w) = (s(x) for s, x in zip(self.both, coordinates, strict=True))
        column = (i[:, None] + four)[:, :, None] * self.both[1].size + (j[:, None] + four)[:, None]
        weight = v[:, :, None] * w[:, None, :]
        found.append((column.reshape(len(at), 16), weight.reshape(len(at), 16)))
        return found


@dataclass(frozen=True, eq=False)
class PlaneFit:
    """A function that was fitted.

    Attributes
    ----------
    coefficients : ndarray (K,)
        Of its splines.
    freedom : float
        Effective number of parameters.
    """

    basis: _Basis
    coefficients: np.ndarray
    freedom: float
    link: Callable[[Sequence[np.ndarray]], np.ndarray]

    def __call__(self, at: np.ndarray) -> np.ndarray:
        """Evaluate at places (N, 2)."""
        return self.link(self.basis.values(at, self.coefficients))


def fit_values(at: np.ndarray, value: np.ndarray, variance: float, limits: np.ndarray) -> PlaneFit:
    """Fit values.

    Parameters
    ----------
    at, value : ndarray (N, 2), (N,)
        Places, mag, and what is known there.
    variance : float
        Of the values.
    limits : ndarray (2, 2)
        Lowest and highest coordinates; beyond them the function keeps its value.
    """
    basis = _basis_of(limits)
    terms = np.concatenate(basis.terms(at), axis=1)
    matrix, right = terms.T @ terms / variance, terms.T @ value / variance

    def misfit(c: np.ndarray) -> float:
        return float(0.5 * c @ matrix @ c - right @ c)

    held = _held(basis, _HOLD, _HOLD_SLOPE)
    coefficients, freedom = _fit(basis, lambda _: (matrix, right), misfit, held)
    return PlaneFit(basis, coefficients, freedom, sum)  # type: ignore[arg-type]


def fit_chance(
    at: np.ndarray, number: np.ndarray, found: np.ndarray, limits: np.ndarray
) -> PlaneFit:
    """Fit the chance to be found, a product of a chance for each coordinate.

    The logits of these are a + c / 2 and b + c / 2: with c = 0 each coordinate has losses of its
    own, as stars have in two bands that are measured apart.

    Parameters
    ----------
    at : ndarray (N, 2)
        Places, mag.
    number, found : ndarray (N,)
        Stars put in there, and those of them that were found.
    limits : ndarray (2, 2)
        As in `fit_values`.
    """
    basis = _basis_of(limits)
    first, second, both = basis.terms(at)
    parts = basis.parts

    def logits(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        half = 0.5 * (both @ c[parts[2]])
        return first @ c[parts[0]] + half, second @ c[parts[1]] + half

    def misfit(c: np.ndarray) -> float:
        chance = np.clip(np.multiply(*(expit(x) for x in logits(c))), _TINY, 1.0 - _TINY)
        return -float(found @ np.log(chance) + (number - found) @ np.log1p(-chance))

    def newton(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p, q = (expit(x) for x in logits(c))
        chance = np.clip(p * q, _TINY, 1.0 - _TINY)
        # Derivatives of ln chance.
        of_each = (1.0 - p, first), (1.0 - q, second), (1.0 - 0.5 * (p + q), both)
        slope = np.concatenate([factor[:, None] * terms for factor, terms in of_each], axis=1)
        information = number * chance / (1.0 - chance)
        matrix = slope.T @ (slope * information[:, None])
        return matrix, matrix @ c + slope.T @ ((found - number * chance) / (1.0 - chance))

    held = _held(basis, _HOLD_LOGIT, _HOLD_SLOPE_LOGIT)
    coefficients, freedom = _fit(basis, newton, misfit, held)
    return PlaneFit(basis, coefficients, freedom, _chance)


def _chance(values: Sequence[np.ndarray]) -> np.ndarray:
    first, second, both = values
    return expit(first + 0.5 * both) * expit(second + 0.5 * both)


def _basis_of(limits: np.ndarray) -> _Basis:
    alone, both = [], []
    for low, high in limits.T:
        width = max(float(high - low), 1e-3)
        n_piece = int(np.clip(width / _LEAST_PIECE, 1, _PIECES))
        alone.append(_Splines(float(low), width / n_piece, n_piece))
        n_piece = min(n_piece, _PIECES_BOTH)
        both.append(_Splines(float(low), width / n_piece, n_piece))
    return _Basis((alone[0], alone[1]), (both[0], both[1]), limits)


# Where coefficients are: the matrix and the right side of the equations for better ones.
_Newton = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def _fit(
    basis: _Basis, newton: _Newton, misfit: Callable[[np.ndarray], float], fixed: np.ndarray
) -> tuple[np.ndarray, float]:
    """Coefficients, and how many of them are free in effect."""
    parts, penalties = basis.parts, _penalties(basis)
    ranks = [np.linalg.matrix_rank(s) for s in penalties]
    precision, c, still = np.ones(3), np.zeros(len(fixed)), 0
    for _ in range(_N_ROUND):
        held = fixed.copy()
        for part, penalty, p in zip(parts, penalties, precision, strict=True):
            held[part, part] += p * penalty
        matrix, right = newton(c)
        inverse = np.linalg.inv(matrix + held)
        better = _downhill(c, inverse @ right, held, misfit)
        still = still + 1 if np.abs(better - c).max() < _CLOSE else 0
        c, before, precision = better, precision, np.empty(3)
        for k, (part, penalty, rank) in enumerate(zip(parts, penalties, ranks, strict=True)):
            # As many differences as the data tell of, to the sum of their squares.
            told = rank - before[k] * np.sum(inverse[part, part] * penalty)
            precision[k] = max(told, _TINY) / max(c[part] @ penalty @ c[part], _TINY)
        precision = np.clip(precision, before / _MOST_CHANGE, before * _MOST_CHANGE)
        precision = np.clip(precision, *_PRECISION)
        if still == _STILL:
            break
    return c, float(np.sum(inverse * matrix))


def _downhill(
    c: np.ndarray, aim: np.ndarray, held: np.ndarray, misfit: Callable[[np.ndarray], float]
) -> np.ndarray:
    """Go from coefficients to others, or so far towards them that it is downhill."""
    start = misfit(c) + 0.5 * c @ held @ c
    part = 1.0
    while part > _SHORTEST:
        there = c + part * (aim - c)
        if misfit(there) + 0.5 * there @ held @ there <= start:
            return there
        part *= 0.5
    return c


def _penalties(basis: _Basis) -> list[np.ndarray]:
    """Squares of differences of the coefficients of each function."""
    found = []
    for splines in basis.alone:
        second = np.diff(np.eye(splines.size), 2, axis=0)
        found.append(second.T @ second)
    one, two = (np.eye(s.size) for s in basis.both)
    d, e = np.diff(one, axis=0), np.diff(two, axis=0)
    both = np.kron(d.T @ d, two) + np.kron(one, e.T @ e)
    return [*found, both + _HOLD_BOTH * np.eye(len(both))]


def _held(basis: _Basis, hold: float, hold_slope: float) -> np.ndarray:
    """Precisions of the priors that hold what is not known."""
    parts = basis.parts
    fixed = hold * np.eye(parts[-1].stop)
    for part, splines in zip(parts, basis.alone, strict=False):
        slope = np.diff(np.eye(splines.size), axis=0) / splines.step
        fixed[part, part] += hold_slope / len(slope) * slope.T @ slope
    return fixed
