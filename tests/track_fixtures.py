"""Small problems for the kernels of single stars, and their likelihood by a plain sum."""

from dataclasses import dataclass

import numpy as np
from numpy.testing import assert_array_equal
from scipy.special import logsumexp

from pymc_starpop.kernels import cluster

# Gauss-Legendre points in each of equal pieces of a segment.
N_POINT, N_PIECE = 40, 20


def points(array):
    """Tracks (T, E, B) as the kernel wants them: (B, P), one track after the other."""
    return np.ascontiguousarray(array.reshape(-1, array.shape[2]).T)


def segments(array):
    """Values (T, E - 1) of the segments as (P - 1,), with one more between two tracks."""
    # The kernel must not use what lies between tracks, so that any number will do there.
    return np.pad(array, ((0, 0), (0, 1)), constant_values=0.7).ravel()[:-1]


@dataclass
class Problem:
    """The arguments of the kernel, with T tracks of E nodes each and K directions (K, T, E, B)."""

    mag: np.ndarray
    variance: np.ndarray
    tracks: np.ndarray
    directions: np.ndarray
    weights: np.ndarray
    tilts: np.ndarray
    scale: np.ndarray
    spread: np.ndarray
    offset: np.ndarray
    member: np.ndarray
    log_member: np.ndarray
    log_field: np.ndarray

    def arguments(self):
        n_track, n_node, n_band = self.tracks.shape
        starts = n_node * np.arange(n_track + 1)
        directions = [points(direction) for direction in self.directions]
        return [
            self.mag, self.variance, points(self.tracks),
            np.array(directions).reshape(-1, n_band, n_track * n_node),
            *[segments(array) for array in (self.weights, self.tilts, self.scale)], starts,
            self.spread, self.offset, self.member, self.log_member, self.log_field,
        ]  # fmt: skip

    def value(self):
        return cluster.cluster_value(*self.arguments())

    def gradient(self, cotangent):
        """The gradient in the shapes of this problem."""
        flat = cluster.cluster_value_and_gradient(*self.arguments(), cotangent)[1]
        shape, n_node = self.tracks.shape, self.tracks.shape[1]
        by_point = {
            "tracks": flat.tracks.T.reshape(shape),
            "directions": np.swapaxes(flat.directions, 1, 2).reshape(self.directions.shape),
        }
        by_segment = {
            name: np.append(getattr(flat, name), 0.0).reshape(-1, n_node)[:, :-1]
            for name in ("weights", "tilts")
        }
        between = np.append(flat.weights, 0.0).reshape(-1, n_node)[:, -1]
        assert_array_equal(between, np.zeros(len(self.tracks)))
        return flat._replace(**by_point, **by_segment)


# Standard deviations between stars along the directions, and whether stars have offsets.
KINDS = {
    "no direction": ((), False),
    "one": ((0.15,), False),
    "two": ((0.15, 0.1), False),
    "three": ((0.15, 0.1, 0.05), False),
    "one and offsets": ((0.1,), True),
    "offsets without scatter": ((0.0, 0.0), True),
    "three and offsets": ((0.15, 0.0, 0.05), True),
}


def make_problem(rng, n_star=9, n_track=3, n_node=12, n_band=3, kind="no direction"):
    """Curved tracks with a segment of no length and one without weight; stars near and far."""
    spread, with_offset = KINDS[kind]
    n_direction = len(spread)
    x = np.sort(rng.uniform(0.0, 1.0, n_node))
    bend = rng.normal(size=(3, n_band))
    shift = 0.2 * rng.normal(size=(n_track, 1, n_band))
    tracks = 15.0 - 4.0 * x[:, None] + bend[0] * x[:, None] ** 2 + shift
    tracks[:, 4] = tracks[:, 3]
    weights = rng.dirichlet(np.ones(n_track * (n_node - 1))).reshape(n_track, n_node - 1)
    weights[:, 7] = 0.0
    t, e = rng.integers(n_track, size=n_star), rng.integers(n_node, size=n_star)
    variance = rng.uniform(0.01, 0.06, (n_star, n_band)) ** 2
    directions = rng.uniform(0.1, 1.0, (n_direction, *tracks.shape))
    directions[1:2] = 1.0  # a distance moves all magnitudes alike
    offset = np.zeros((0, n_direction))
    if with_offset:
        offset = rng.uniform(-0.8, 0.8, (n_star, n_direction))
    mag = tracks[t, e] + rng.normal(size=(n_star, n_band)) * np.sqrt(variance)
    if with_offset:
        mag += np.einsum("nk,knb->nb", offset, directions[:, t, e])
    # At least 50 sigma from everything, and not along a direction.
    mag[0] += 2.0 * (-1.0) ** np.arange(n_band)
    variance[0] = 0.02**2
    # Not measured: any number with an infinite variance.
    mag[1, 1:], variance[1, 1:] = -7.0, np.inf
    mag[2, 0], variance[2, 0] = 0.0, np.inf
    return Problem(
        mag=mag,
        variance=variance + rng.uniform(0.0, 0.03, n_band) ** 2,
        tracks=tracks,
        directions=directions,
        weights=weights,
        tilts=rng.uniform(-1.5, 1.5, weights.shape),
        scale=weights.copy(),
        spread=np.array(spread),
        offset=offset,
        member=rng.uniform(0.2, 0.9, n_star),
        log_member=rng.normal(size=n_star),
        log_field=rng.normal(size=n_star) - 4.0,
    )


def dense_value(p):
    """Log-likelihood (N,) from points along every segment with full covariance matrices."""
    nodes, share = np.polynomial.legendre.leggauss(N_POINT)
    t = ((np.arange(N_PIECE)[:, None] + 0.5 + 0.5 * nodes) / N_PIECE).ravel()
    share = np.tile(0.5 * share / N_PIECE, N_PIECE)
    mean_direction = 0.5 * (p.directions[:, :, 1:] + p.directions[:, :, :-1])
    offset = p.offset if p.offset.size else np.zeros((len(p.mag), len(p.spread)))
    out = []
    for i in range(len(p.mag)):
        b = np.isfinite(p.variance[i])
        logs = []
        for j, s in np.argwhere(p.weights > 0.0):
            u = mean_direction[:, j, s, b]
            covariance = np.diag(p.variance[i, b]) + (u.T * p.spread**2) @ u
            start, end = p.tracks[j, s : s + 2, b].T
            r = p.mag[i, b] - offset[i] @ u - (start + t[:, None] * (end - start))
            chi2 = np.einsum("ni,ij,nj->n", r, np.linalg.inv(covariance), r)
            density = p.weights[j, s] * (1.0 + p.tilts[j, s] * (t - 0.5)) * share
            norm = np.linalg.slogdet(2.0 * np.pi * covariance)[1]
            logs.append(logsumexp(-0.5 * (chi2 + norm), b=density))
        with np.errstate(divide="ignore"):
            log_cluster = np.log(p.member[i]) + p.log_member[i] + logsumexp(logs)
            out.append(np.logaddexp(log_cluster, np.log1p(-p.member[i]) + p.log_field[i]))
    return np.array(out)
