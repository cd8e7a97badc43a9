"""Lines of quadrature between the tracks of neighboring mass ratios.

The integral over the mass ratio is a sum over lines at equal steps. Magnitudes of binaries are
smooth in the mass ratio, so that only every `refine`-th line needs the addition of fluxes: the
others are interpolated linearly between two tracks. Line l stands for the share `shift` of the way
from track `track` to the next one and has the quadrature weight `weight`.
"""

from typing import NamedTuple

import numba
import numpy as np

from pymc_starpop.kernels.fastmath import FAST


class Lines(NamedTuple):
    """Each (L,): first of the two tracks (int64), share of the second, quadrature weight."""

    track: np.ndarray
    shift: np.ndarray
    weight: np.ndarray


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def expand(lines, values, weighted):
    """Interpolate values (T, M) of the tracks to lines (L, M), times the weight if `weighted`."""
    n_line, n_value = lines.track.shape[0], values.shape[1]
    out = np.empty((n_line, n_value))
    for line in range(n_line):
        t, v = lines.track[line], lines.shift[line]
        c = lines.weight[line] if weighted else 1.0
        if v == 0.0:
            for m in range(n_value):
                out[line, m] = c * values[t, m]
        else:
            a, b = c * (1.0 - v), c * v
            for m in range(n_value):
                out[line, m] = a * values[t, m] + b * values[t + 1, m]
    return out


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def contract(lines, gradient, n_track, weighted):
    """Return the derivative (T, M) by the tracks from that by the lines (L, M)."""
    n_line, n_value = gradient.shape
    out = np.zeros((n_track, n_value))
    for line in range(n_line):
        t, v = lines.track[line], lines.shift[line]
        c = lines.weight[line] if weighted else 1.0
        a, b = c * (1.0 - v), c * v
        for m in range(n_value):
            out[t, m] += a * gradient[line, m]
        if v != 0.0:
            for m in range(n_value):
                out[t + 1, m] += b * gradient[line, m]
    return out
