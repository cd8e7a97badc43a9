"""From a mass function and binaries to the weights of a cluster's model tracks.

Everything here works on NumPy arrays and on PyTensor tensors alike (keyword ``xp``). Shapes: E
nodes along the isochrone, E - 1 segments between them, Q mass ratios; the tracks are the single
stars first, then one for each mass ratio: T = Q + 1.
"""

import math
from typing import Any

import numpy as np

from pymc_starpop._namespace import NUMPY, Namespace, expm1_ratio
from pymc_starpop.isochrones.bolometric import reddened
from pymc_starpop.population.imf import InitialMassFunction

# Primary masses (Msun), and how the mass ratios are spaced below the first and above the second.
_SPACING = ((0.3, -0.3), (0.9, 0.7))

# Share of the stars, for each isochrone, that places a node at which there are none.
_NO_STARS = 1e-12

__all__ = [
    "age_rule",
    "cut_at_mass",
    "lit_ratios",
    "mass_ratios",
    "mass_weights",
    "mix_tracks",
    "quadrature_weights",
    "ratio_spacing",
    "reddened",
    "relative_slope",
    "relative_tilt",
    "shares_of_ages",
    "shifted",
    "subdivide",
]


def cut_at_mass(mass: Any, mass_min: float, xp: Namespace = NUMPY) -> tuple[Any, Any]:
    """Find how far each node moves towards the next so that the track starts at `mass_min`.

    Returns
    -------
    shift : array (..., E - 1)
        0 where the node stays, 1 where it falls onto the next one, between them for the node
        that comes to lie exactly at `mass_min`.
    cut_mass : array (..., E)
        Initial masses after the shift, Msun.
    """
    start = mass[..., :-1]
    step = mass[..., 1:] - start
    below = start < mass_min
    # The division sees a harmless 1 where nodes share a mass or stay.
    safe = xp.where(below & (step > 0.0), step, 1.0)
    partial = xp.minimum((mass_min - start) / safe, 1.0)
    shift = xp.where(below & (step > 0.0), partial, 0.0)
    return shift, shifted(mass, shift, xp)


def shifted(column: Any, shift: Any, xp: Namespace = NUMPY) -> Any:
    """Apply the shift of `cut_at_mass` to values (..., E) at the nodes."""
    start = column[..., :-1]
    moved = start + shift * (column[..., 1:] - start)
    return xp.concatenate([moved, column[..., -1:]], axis=-1)


def mass_weights(
    mass: Any, imf: InitialMassFunction, mass_min: float, xp: Namespace = NUMPY
) -> tuple[Any, Any]:
    """Integrate the mass function over the segments.

    Parameters
    ----------
    mass : array (..., E)
        Initial mass (Msun), cut at `mass_min`.

    Returns
    -------
    weight : array (..., E - 1)
        Share of the stars, normalized from `mass_min` to the last mass; 0 where the mass does not
        increase. Where masses fall and rise again some are there twice, and the sum is above 1.
    density : array (..., E)
        Mass function at the nodes, 1/Msun, in the same normalization.
    """
    low = xp.maximum(mass[..., :-1], mass_min)
    # A segment whose mass falls gets its own lower end twice: weight and gradient are 0.
    high = xp.maximum(mass[..., 1:], low)
    total = imf.integral(mass_min, mass[..., -1], xp)[..., None]
    return imf.integral(low, high, xp) / total, imf.density(mass, xp) / total


def age_rule(smear: float) -> tuple[float, float, float]:
    """Weights of three ages, a step apart, that have the moments of a Gaussian of width `smear`.

    The width, in steps, is at most 1. The rule is exact for polynomials of third order.
    """
    side = 0.5 * smear * smear
    return side, 1.0 - 2.0 * side, side


def shares_of_ages(weights: list[Any], smear: float, xp: Namespace = NUMPY) -> list[Any]:
    """Find how many of the stars at each node of a smeared isochrone have which of three ages.

    At a fixed evolutionary point the mass changes with age, and so does the number of stars there:
    the stars at a node are on average not of the age in the middle.

    Parameters
    ----------
    weights : list of 3 arrays (..., E - 1)
        From `mass_weights`, a step before, at and after the age in the middle.
    smear : float
        Standard deviation of the ages in steps, at most 1.

    Returns
    -------
    list of 3 arrays (..., E)
        Their sum is 1, also at nodes where no stars are.
    """
    numbers = []
    for rule, weight in zip(age_rule(smear), weights, strict=True):
        none = 0.0 * weight[..., :1]
        both = xp.concatenate([none, weight], axis=-1) + xp.concatenate([weight, none], axis=-1)
        numbers.append(rule * (0.5 * both + _NO_STARS))
    total = numbers[0] + numbers[1] + numbers[2]
    return [number / total for number in numbers]


def quadrature_weights(n: int) -> np.ndarray:
    """Weights (n,) of an integral over [0, 1] from n >= 2 equidistant values.

    The trapezoidal rule with Gregory's end corrections of third order where n allows it: exact
    for smooth ends, and 1 in the interior, where a narrow peak is integrated best.
    """
    weights = np.ones(n)
    ends = np.array([3.0 / 8.0, 7.0 / 6.0, 23.0 / 24.0]) if n >= 6 else np.array([0.5])
    weights[: ends.size] = ends
    weights[n - ends.size :] = ends[::-1]
    return weights / (n - 1)


def subdivide(column: Any, n_piece: int, xp: Namespace = NUMPY) -> Any:
    """Cut every segment of values (..., E) at the nodes into `n_piece` equal pieces."""
    if n_piece == 1:
        return column
    start = column[..., :-1, None]
    inner = start + np.arange(n_piece) / n_piece * (column[..., 1:, None] - start)
    shape = [column.shape[k] for k in range(column.ndim - 1)]
    inner = inner.reshape((*shape, (column.shape[-1] - 1) * n_piece))
    return xp.concatenate([inner, column[..., -1:]], axis=-1)


def lit_ratios(
    mass: Any, slope: Any, mass_ratio_min: float, mass_min: float, xp: Namespace = NUMPY
) -> tuple[Any, Any]:
    """Find the smallest mass ratio of a secondary that shines, and how many binaries lie below.

    p(q) = (1 + slope) q^slope / (1 - q_min^(1 + slope)) on [q_min, 1]. A secondary below
    `mass_min` is dark, so the lit ones span [max(q_min, mass_min / M), 1].

    Parameters
    ----------
    mass : array (..., E)
        Primary mass (Msun), at least `mass_min` where it matters.
    slope : scalar
        Exponent of the mass-ratio distribution.

    Returns
    -------
    lowest : array (..., E)
        Smallest lit mass ratio.
    dark : array (..., E)
        Probability that the secondary of a binary is dark.
    """
    lowest = xp.minimum(xp.maximum(mass_min / mass, mass_ratio_min), 1.0)
    exponent = 1.0 + slope
    span = math.log(1.0 / mass_ratio_min)
    log_lowest = xp.log(lowest / mass_ratio_min)
    dark = (
        log_lowest * expm1_ratio(exponent * log_lowest, xp)
        / (span * expm1_ratio(exponent * span, xp))
    )  # fmt: skip
    # Rounding may leave it above 1 where every secondary is dark.
    dark = xp.minimum(dark, 1.0)
    return lowest, dark


def ratio_spacing(mass: Any, xp: Namespace = NUMPY) -> Any:
    """How closely the mass ratios of a primary (..., E) lie towards 1: x = u + curve u (1 - u).

    The light of a faint secondary hardly matters to a bright primary, but that of one near its
    own mass does, most of all next to the turn-off; for the lowest masses it is the other way
    round. The curve passes smoothly from one to the other.
    """
    (low, at_low), (high, at_high) = _SPACING
    position = xp.minimum(xp.maximum((mass - low) / (high - low), 0.0), 1.0)
    return at_low + (at_high - at_low) * position * position * (3.0 - 2.0 * position)


def mass_ratios(
    mass: np.ndarray, slope: float, n_ratio: int, mass_ratio_min: float, mass_min: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place mass ratios between the faintest lit secondary and 1, with their probabilities.

    Parameters are those of `lit_ratios`, and the number Q of ratios.

    Returns
    -------
    ratio : ndarray (Q, E)
    probability : ndarray (Q, E)
        Of each ratio, given a binary; sums to 1 - dark.
    dark : ndarray (E,)
        Probability that the secondary of a binary is dark.
    """
    unit = np.linspace(0.0, 1.0, n_ratio)[:, None]
    lowest, dark = lit_ratios(mass, slope, mass_ratio_min, mass_min)
    curve = ratio_spacing(mass)
    ratio = lowest + (1.0 - lowest) * (unit + curve * unit * (1.0 - unit))
    density = 1.0 + curve * (1.0 - 2.0 * unit)
    power = quadrature_weights(n_ratio)[:, None] * density * ratio**slope
    return ratio, power * (1.0 - dark) / power.sum(axis=0), dark


def mix_tracks(
    weight: np.ndarray, density: np.ndarray, binary_fraction: float, probability: np.ndarray,
    dark: np.ndarray, last: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Share the mass function between single stars and binaries.

    Systems with a dark secondary join the single track.

    Parameters
    ----------
    weight, density : ndarray (E - 1,), (E,)
        From `mass_weights`.
    probability, dark : ndarray (Q, E), (E,)
        From `mass_ratios`.
    last : int
        Last node whose stars may have companions.

    Returns
    -------
    weights, tilts, scale : ndarray (Q + 1, E - 1)
        Integral over each segment, relative slope of its density, and the weight that pruning may
        rely on, which is positive also where a fraction is 0.
    """
    has_binaries = np.arange(weight.shape[0]) < last
    single, single_tilt = _segment_means(1.0 + binary_fraction * (dark - 1.0), density)
    lit, lit_tilt = _segment_means(probability, density)
    plain_tilt = relative_slope(density[:-1], density[1:], NUMPY)
    singles = weight * np.where(has_binaries, single, 1.0)
    binaries = weight * np.where(has_binaries, lit, 0.0)
    weights = np.concatenate([singles[None, :], binary_fraction * binaries])
    tilts = np.concatenate([np.where(has_binaries, single_tilt, plain_tilt)[None, :], lit_tilt])
    return weights, tilts, np.concatenate([weight[None, :], binaries])


def relative_tilt(density: Any, xp: Namespace = NUMPY) -> Any:
    """Slope (..., E - 1) of a density (..., E) along segments, relative to its mean there."""
    return relative_slope(density[..., :-1], density[..., 1:], xp)


def relative_slope(start: Any, end: Any, xp: Namespace) -> Any:
    """Slope of a density from one end of a segment to the other, relative to its mean."""
    total = start + end
    return 2.0 * (end - start) / xp.where(total > 0.0, total, 1.0)


def _segment_means(share: np.ndarray, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of a share (..., E) over each segment, and the slope of share times density."""
    at_nodes = share * density
    mean = 0.5 * (share[..., :-1] + share[..., 1:])
    return mean, relative_slope(at_nodes[..., :-1], at_nodes[..., 1:], NUMPY)
