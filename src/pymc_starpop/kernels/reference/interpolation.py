"""Slow NumPy twins of `pymc_starpop.kernels.interpolation`: the truth in tests."""

from typing import Any

import numpy as np


def hermite(axis: np.ndarray, y: np.ndarray, x: float) -> tuple[np.ndarray, np.ndarray]:
    """C1 cubic Hermite interpolation along the first axis of y, with its derivative.

    ``y(x) = h00 y0 + h01 y1 + h (h10 m0 + h11 m1)`` on an interval of length h, where the slopes m
    come from parabolas through three nodes (``np.gradient`` with ``edge_order=2``).

    Parameters
    ----------
    axis : ndarray (n,)
        Strictly ascending nodes.
    y : ndarray (n, ...)
        Values at the nodes.
    x : float
        Coordinate, clamped to the axis, with zero derivative outside.

    Returns
    -------
    value, slope : ndarray (...)
    """
    if axis.size == 1:
        return y[0], np.zeros_like(y[0])
    inside = axis[0] <= x <= axis[-1]
    x = np.clip(x, axis[0], axis[-1])
    edge_order: Any = min(2, axis.size - 1)
    m = np.gradient(y, axis, axis=0, edge_order=edge_order)
    j = np.clip(np.searchsorted(axis, x, side="right") - 1, 0, axis.size - 2)
    h = axis[j + 1] - axis[j]
    u = (x - axis[j]) / h
    value = (
        (2 * u**3 - 3 * u**2 + 1) * y[j]
        + (u**3 - 2 * u**2 + u) * h * m[j]
        + (3 * u**2 - 2 * u**3) * y[j + 1]
        + (u**3 - u**2) * h * m[j + 1]
    )
    slope = (
        6 * (u**2 - u) * (y[j] - y[j + 1]) / h
        + (3 * u**2 - 4 * u + 1) * m[j]
        + (3 * u**2 - 2 * u) * m[j + 1]
    )
    return value, slope if inside else np.zeros_like(slope)


def interpolate_theory(
    feh: float,
    log_age: float,
    feh_axis: np.ndarray,
    age_axis: np.ndarray,
    table: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Twin of `interpolation.interpolate_theory`: one axis after the other, on the whole table."""
    at_feh, slope_feh = hermite(feh_axis, table, feh)
    value, d_age = hermite(age_axis, at_feh, log_age)
    d_feh, _ = hermite(age_axis, slope_feh, log_age)
    return value.T, d_feh.T, d_age.T


def interpolate_bolometric(
    log_teff: np.ndarray,
    log_g: np.ndarray,
    feh: float,
    teff_axis: np.ndarray,
    g_axis: np.ndarray,
    feh_axis: np.ndarray,
    table: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Twin of `interpolation.interpolate_bolometric`: node by node, axis after axis."""
    at_feh, slope_feh = hermite(feh_axis, table, feh)
    nodes = []
    for t, g in zip(log_teff, log_g, strict=True):
        at_teff, slope_teff = hermite(teff_axis, at_feh, t)
        value, d_g = hermite(g_axis, at_teff, g)
        d_teff, _ = hermite(g_axis, slope_teff, g)
        d_feh, _ = hermite(g_axis, hermite(teff_axis, slope_feh, t)[0], g)
        nodes.append((value, d_teff, d_g, d_feh))
    return tuple(np.stack(parts) for parts in zip(*nodes, strict=True))
