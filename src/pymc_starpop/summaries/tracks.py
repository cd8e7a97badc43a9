"""Places on the tracks of a cluster: of its stars, and of systems that it could have."""

import numpy as np

from pymc_starpop.kernels.star_draws import draw_stars
from pymc_starpop.summaries.cluster_draws import ClusterDraw

__all__ = ["at_points", "draw_on_tracks", "segment_mean"]


def at_points(column: np.ndarray, segment: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Interpolate values (..., P) at the points to places along segments (n,)."""
    start = column[..., segment]
    return start + t * (column[..., segment + 1] - start)


def segment_mean(column: np.ndarray, tilts: np.ndarray) -> np.ndarray:
    """Mean (P - 1,) of values (P,) along segments with the density 1 + tilt (t - 1/2)."""
    start, end = column[:-1], column[1:]
    return start + (end - start) * (0.5 + tilts / 12.0)


def draw_on_tracks(
    draw: ClusterDraw, first: np.ndarray, second: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the place of each star on the tracks from the member part of its integrand.

    Parameters
    ----------
    draw : ClusterDraw
    first, second : ndarray (P,)
        What is asked for, at the points of the tracks.
    rng : numpy.random.Generator

    Returns
    -------
    first, second : ndarray (N,)
        NaN for a star that can be no member.
    """
    arrays = (
        draw.star_values, draw.star_variance, draw.tracks, draw.star_directions, draw.weights,
        draw.tilts, draw.scale, draw.starts, draw.star_spread, draw.star_offset, first, second,
        rng.random((len(draw.values), 2)),
    )  # fmt: skip
    drawn = draw_stars(*(np.ascontiguousarray(array) for array in arrays))
    return drawn[0], drawn[1]
