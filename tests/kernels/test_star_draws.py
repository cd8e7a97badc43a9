"""Draws of single stars against direct quadrature of the integral along the segments."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate

from pymc_starpop.kernels.star_draws import draw_stars, place_on_segment
from tolerances import assert_close
from track_fixtures import KINDS, dense_value, make_problem

# Equally spaced numbers instead of random ones: what is left is the error of the midpoint rule,
# in the choice of the segment and of the place on it.
N_SEGMENT, N_PLACE = 1_000, 30


def with_masses(rng, kind):
    """A problem where every star is a member, with masses and mass ratios at the points."""
    p = make_problem(rng, kind=kind)
    ones, zeros = np.ones(len(p.mag)), np.zeros(len(p.mag))
    p = replace(p, member=ones, log_member=zeros, log_field=zeros)
    mass = np.sort(rng.uniform(0.2, 2.0, p.tracks.shape[:2]))
    ratio = rng.uniform(0.0, 1.0, p.tracks.shape[:2])
    return p, mass, ratio


def draw(p, mass, ratio, uniforms, star=None):
    """Draw for every star, or many times for one."""
    arguments = p.arguments()[:10]
    if star is not None:
        for k in (0, 1, 9):
            if len(arguments[k]):
                arguments[k] = np.repeat(arguments[k][star : star + 1], len(uniforms), axis=0)
    return draw_stars(*arguments, mass.ravel(), ratio.ravel(), uniforms)


def moments(p, star, values):
    """Mean and mean square of linear functions (T, E) over the posterior of a star, and shares."""
    nodes, share = np.polynomial.legendre.leggauss(60)
    n_piece = 20
    t = ((np.arange(n_piece)[:, None] + 0.5 + 0.5 * nodes) / n_piece).ravel()
    share = np.tile(0.5 * share / n_piece, n_piece)
    b = np.isfinite(p.variance[star])
    offset = p.offset[star] if p.offset.size else np.zeros(len(p.spread))
    logs, means, tracks = [], [], []
    for j, s in np.argwhere(p.weights > 0.0):
        u = 0.5 * (p.directions[:, j, s, b] + p.directions[:, j, s + 1, b])
        covariance = np.diag(p.variance[star, b]) + (u.T * p.spread**2) @ u
        start, end = p.tracks[j, s : s + 2, b].T
        r = p.mag[star, b] - offset @ u - (start + t[:, None] * (end - start))
        log_g = -0.5 * np.einsum("ni,ij,nj->n", r, np.linalg.inv(covariance), r)
        log_g += np.log(p.weights[j, s]) - 0.5 * np.linalg.slogdet(covariance)[1]
        logs.append(log_g + np.log((1.0 + p.tilts[j, s] * (t - 0.5)) * share))
        means.append([(1.0 - t) * v[j, s] + t * v[j, s + 1] for v in values])
        tracks.append(j)
    density = np.exp(np.array(logs) - np.max(logs))
    density /= density.sum()
    means = np.array(means)
    first = np.einsum("sn,svn->v", density, means)
    second = np.einsum("sn,svn->v", density, means**2)
    return first, second, np.bincount(tracks, density.sum(axis=1), minlength=len(p.tracks))


@pytest.mark.parametrize("kind", KINDS)
def test_moments_of_many_draws_are_those_of_the_posterior(rng, kind):
    p, mass, ratio = with_masses(rng, kind)
    sides = [(np.arange(n) + 0.5) / n for n in (N_SEGMENT, N_PLACE)]
    uniforms = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)
    for star in range(len(p.mag)):
        got_mass, got_ratio, track, _ = draw(p, mass, ratio, uniforms, star)
        first, second, shares = moments(p, star, (mass, ratio))
        got = np.array([got_mass, got_ratio])
        assert_close(got.mean(axis=1), first, "draws")
        assert_close((got**2).mean(axis=1), second, "draws")
        assert_close(np.bincount(track, minlength=3) / len(track), shares, "draws")


@pytest.mark.parametrize("kind", KINDS)
def test_the_integral_is_that_of_the_likelihood(rng, kind):
    p, mass, ratio = with_masses(rng, kind)
    log_member = draw(p, mass, ratio, rng.uniform(size=(len(p.mag), 3)))[3]
    assert_close(log_member, dense_value(p), "pruned")


def test_mass_and_ratio_lie_on_the_track(rng):
    """A mass that encodes the place among the points gives the segment and the track back."""
    p, mass, _ = with_masses(rng, "one")
    place = np.arange(mass.size, dtype=float).reshape(mass.shape)
    number = np.repeat(np.arange(len(mass), dtype=float), mass.shape[1]).reshape(mass.shape)
    drawn, ratio, track, _ = draw(p, place, number, rng.uniform(size=(len(p.mag), 2)))
    assert np.array_equal(ratio, track)
    segment = np.minimum(drawn.astype(int) % mass.shape[1], mass.shape[1] - 2)
    assert np.all(p.weights[track, segment] > 0.0)


def test_a_model_without_weight_gives_no_star(rng):
    p, mass, ratio = with_masses(rng, "no direction")
    p = replace(p, weights=0.0 * p.weights, scale=0.0 * p.scale)
    got_mass, got_ratio, track, log_member = draw(p, mass, ratio, np.full((len(p.mag), 2), 0.5))
    assert np.isnan(got_mass).all()
    assert np.isnan(got_ratio).all()
    assert np.all(track == -1)
    assert np.all(log_member == -np.inf)


MOST_SIGMAS = 1e5
UNIFORMS = [1e-6, 0.03, 0.5, 0.9, 1.0 - 1e-6]


@pytest.mark.parametrize("a", [0.0, 1e-4, 0.5, 30.0, 1e4, 1e8])
@pytest.mark.parametrize("foot", [-1e3, -1.0, -0.01, 0.0, 0.4, 0.999, 1.0, 1.2, 300.0])
@pytest.mark.parametrize("tilt", [-2.0, 0.0, 1.3])
def test_place_has_the_share_of_the_segment_before_it(a, foot, tilt):
    b = a * foot
    if foot > 1.0 and b > MOST_SIGMAS * np.sqrt(a):
        return  # there t itself cannot be resolved next to 1 in double precision
    t = [place_on_segment(a, b, tilt, u) for u in UNIFORMS]
    assert np.all(np.diff(t) > 0.0)
    peak = min(max(foot, 0.0), 1.0)
    reach = 60.0 / (abs(a * peak - b) + np.sqrt((a * peak - b) ** 2 + 60.0 * a) + 1e-300)

    def density(x):
        u = x - peak
        return (1.0 + tilt * (x - 0.5)) * np.exp(-u * (0.5 * a * u + a * peak - b))

    low, high = max(peak - 2.0 * reach, 0.0), min(peak + 2.0 * reach, 1.0)
    edges = np.linspace(low, high, 60)

    def mass_to(x):
        points = np.append(edges[edges < x], x)
        return sum(
            integrate.fixed_quad(density, *ends, n=12)[0] for ends in itertools.pairwise(points)
        )

    assert_close(np.array([mass_to(x) for x in t]) / mass_to(high), UNIFORMS, "kernel")


@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (50.0, 20.0), (1e6, -1e7), (1e6, 1e8)])
def test_ends_of_the_uniform_numbers_stay_on_the_segment(a, b):
    first, last = (place_on_segment(a, b, 0.8, u) for u in (0.0, 1.0))
    assert 0.0 <= first < last <= 1.0


def test_shapes_that_do_not_fit_are_refused(rng):
    p, mass, ratio = with_masses(rng, "one")
    uniforms = rng.uniform(size=(len(p.mag), 2))
    with pytest.raises(ValueError, match="one number for each point"):
        draw(p, mass[:1], ratio, uniforms)
    with pytest.raises(ValueError, match="uniforms"):
        draw(p, mass, ratio, uniforms[:3])
    with pytest.raises(ValueError, match="offset"):
        draw(replace(p, offset=np.zeros((2, 1))), mass, ratio, uniforms)
