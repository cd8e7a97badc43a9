"""Slow, obvious forms of the kernels of Hess diagrams: every star by itself, fine quadrature.

Stars are points, many to a photometric error; each has its own noise, bias and completeness, and
its Gaussian is integrated over each bin by quadrature over the magnitude.
"""

import numpy as np
from scipy import special

__all__ = [
    "cell_of",
    "deposit_gaussians",
    "gather_points",
    "measured_moments",
    "pair_points",
    "single_points",
]


def deposit_gaussians(weight, center, covariance, color_edges, mag_edges, counts, n_node=6):
    """Add weighted Gaussians, integrated over the bins, to `counts` (N_mag, N_color).

    Arguments as those of `hess_deposit.deposit_gaussians`. Rows are cut in panels over which the
    distribution of the color moves by a quarter of its width, with `n_node` nodes each.
    """
    nodes, shares = np.polynomial.legendre.leggauss(n_node)
    for w, (color, mag), (cc, cm, mm) in zip(weight, center, covariance, strict=True):
        beta, s_mag = cm / mm, np.sqrt(mm)
        s_color = np.sqrt(cc - beta * cm)
        panel = 0.25 * min(s_mag, s_color / max(abs(beta), 1e-9))
        for row in range(counts.shape[0]):
            low = max(mag_edges[row], mag - 8.0 * s_mag)
            high = min(mag_edges[row + 1], mag + 8.0 * s_mag)
            if w <= 0.0 or high <= low:
                continue
            ends = np.linspace(low, high, int(np.ceil((high - low) / panel)) + 1)
            half = 0.5 * np.diff(ends)[:, None]
            y = (ends[:-1, None] + half * (1.0 + nodes)).ravel()
            density = np.exp(-0.5 * ((y - mag) / s_mag) ** 2) / (s_mag * np.sqrt(2.0 * np.pi))
            at = color + beta * (y - mag)
            cdf = special.ndtr((color_edges - at[:, None]) / s_color)
            counts[row] += w * ((half * shares).ravel() * density) @ np.diff(cdf, axis=1)


def single_points(mass, mag, density, step):
    """Stars along an isochrone: number (P,) and magnitudes (P, B).

    Parameters
    ----------
    mass, mag : ndarray (E,), (E, B)
        Isochrone; what lies between two points with no increase in mass holds no stars.
    density : callable
        Stars per Msun at masses (n,).
    step : float
        Largest distance between points in any band, mag.
    """
    found = [_segment_points(mass, mag, e, step) for e in range(mass.size - 1)]
    star_mass = np.concatenate([m for m, _, _ in found])
    width = np.concatenate([w for _, w, _ in found])
    return density(star_mass) * width, np.concatenate([x for _, _, x in found])


def pair_points(mass, mag, density, lowest, step, scale):
    """Systems of two stars of an isochrone: number (P,) and magnitudes (P, B).

    Parameters
    ----------
    mass, mag : ndarray (E,), (E, B)
        Isochrone.
    density : callable
        Systems per Msun^2 at a mass of the primary (a number) and masses of the secondary (n,).
    lowest : callable
        Mass of the secondary, Msun, below which there is none, at a mass of the primary.
    step : float
        Largest distance between primaries in any band, mag.
    scale : float
        Secondaries are as close as moves the magnitudes of the system by this, mag.
    """
    numbers, mags = [], []
    primaries = [_segment_points(mass, mag, e, step) for e in range(mass.size - 1)]
    for m1, w1, x1 in zip(*(np.concatenate(c) for c in zip(*primaries, strict=True)), strict=True):
        for e in range(mass.size - 1):
            low, high = max(mass[e], lowest(m1)), min(mass[e + 1], m1)
            if not high > low:
                continue
            t = (np.array([low, high]) - mass[e]) / (mass[e + 1] - mass[e])
            ends = mag[e] + t[:, None] * (mag[e + 1] - mag[e])
            moved = np.abs(np.diff(_add(x1, ends), axis=0)).max()
            m2, w2, x2 = _segment_points(np.array([low, high]), ends, 0, None, moved / scale)
            numbers.append(w1 * w2 * density(m1, m2))
            mags.append(_add(x1, x2))
    return np.concatenate(numbers), np.concatenate(mags)


def _segment_points(mass, mag, e, step, pieces=None):
    """Two Gauss-Legendre points in each of equal pieces of one segment: mass, width, magnitudes."""
    low, high = mass[e], mass[e + 1]
    if pieces is None:
        pieces = np.abs(mag[e + 1] - mag[e]).max() / step
    n = max(int(np.ceil(pieces)), int(np.ceil(np.log(high / low) / 0.02)), 1) if high > low else 0
    t = np.repeat(np.arange(n), 2) + np.tile([0.5 - np.sqrt(1 / 12), 0.5 + np.sqrt(1 / 12)], n)
    t = t / max(n, 1)
    width = np.full(2 * n, 0.5 * (high - low) / max(n, 1))
    return low + t * (high - low), width, mag[e] + t[:, None] * (mag[e + 1] - mag[e])


def _add(first, second):
    """Magnitudes of two stars together."""
    return -2.5 * np.log10(10.0 ** (-0.4 * first) + 10.0 ** (-0.4 * second))


def measured_moments(weight, mean, offset, covariance, errors, matrix):
    """Stars recovered, and mean (2,) and covariance (2, 2) of color and magnitude, of one cell.

    The cell is two equal halves at mean - offset and mean + offset; each of them is shifted,
    thinned out and scattered by its own errors, and what `covariance` (B, B) holds beyond the two
    places stays.

    Parameters
    ----------
    weight : float
        Stars in the cell.
    mean, offset : ndarray (B,)
        Mean magnitudes, and half the distance of the two places.
    covariance : ndarray (B, B)
        Of the magnitudes in the cell.
    errors : callable
        Standard deviations (B,), biases (B,) and completeness at magnitudes (B,).
    matrix : ndarray (2, B)
        Makes color and magnitude from magnitudes.
    """
    recovered, at, scatter = [], [], []
    for sign in (-1.0, 1.0):
        sigma, bias, completeness = errors(mean + sign * offset)
        recovered.append(0.5 * weight * completeness)
        at.append(mean + sign * offset + bias)
        scatter.append(covariance - np.outer(offset, offset) + np.diag(sigma**2))
    share = np.array(recovered) / sum(recovered)
    center = share[0] * at[0] + share[1] * at[1]
    total = sum(
        s * (c + np.outer(x - center, x - center))
        for s, c, x in zip(share, scatter, at, strict=True)
    )
    return sum(recovered), matrix @ center, matrix @ total @ matrix.T


def cell_of(grid, color, mag):
    """Index of the cell that holds a color and magnitude, -1 outside: a search, row by row.

    Arguments as those of `hess_pairs.cell_of`.
    """
    color_start, mag_start, per_mag, strip_row, strip_parts, per_color, row_size, row_start = grid
    for strip, (row, parts) in enumerate(zip(strip_row, strip_parts, strict=True)):
        edges = mag_start + (strip + np.arange(parts + 1) / parts) / per_mag
        inside = np.flatnonzero((edges[:-1] <= mag) & (mag < edges[1:]))
        if inside.size:
            chosen = row + inside[0]
            ends = color_start + np.arange(row_size[chosen] + 1) / per_color[chosen]
            column = np.flatnonzero((ends[:-1] <= color) & (color < ends[1:]))
            return int(row_start[chosen] + column[0]) if column.size else -1
    return -1


def gather_points(number, mag, spread, matrix, grid):
    """Weight, mean (B,) and covariance (B, B) of the points in each cell, by cell.

    Parameters
    ----------
    number, mag, spread : ndarray (P,), (P, B), (P, B, B)
        Systems, and their own covariance about these magnitudes.
    matrix : ndarray (2, B)
        Makes color and magnitude from magnitudes.
    grid : tuple
        As `cell_of` takes it.
    """
    cells = np.array([cell_of(grid, *(matrix @ x)) for x in mag])
    found = {}
    for cell in np.unique(cells[cells >= 0]):
        w, x = number[cells == cell], mag[cells == cell]
        mean = w @ x / w.sum()
        second = (w[:, None] * (x - mean)).T @ (x - mean)
        second += np.tensordot(w, spread[cells == cell], axes=1)
        found[int(cell)] = w.sum(), mean, second / w.sum()
    return found
