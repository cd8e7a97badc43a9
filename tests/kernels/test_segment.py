"""Moments along one segment against adaptive quadrature, from the shortest to the longest."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate

from pymc_starpop.kernels.segment import segment_moments, segment_moments_many
from tolerances import TOLERANCE, assert_close

# T changes its sign along the segment: there quad cannot reach a relative precision, and says so.
pytestmark = pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")


def moments_by_quadrature(a, b, tilt):
    """Log of the largest g for C = 0, and I_0, I_1, I_2, T relative to it.

    The window within which g exceeds exp(-60) of its maximum is cut where the integrand bends.
    """
    peak = np.clip(b / a, 0.0, 1.0) if a > 0.0 else float(b > 0.0)
    log_peak = -0.5 * (a * peak**2 - 2.0 * b * peak)
    slope = abs(a * peak - b)
    reach = 120.0 / (slope + np.sqrt(slope**2 + 120.0 * a)) if a > 0.0 or slope > 0.0 else 1.0
    edges = np.unique(np.clip(peak + reach * np.linspace(-1.0, 1.0, 41), 0.0, 1.0))

    def g(t):
        return np.exp(-(t - peak) * (0.5 * a * (t - peak) + a * peak - b))

    def integral(f):
        pieces = itertools.pairwise(edges)
        return sum(
            integrate.quad(f, low, high, epsabs=0.0, epsrel=1e-11)[0] for low, high in pieces
        )

    tilted = [integral(lambda t, k=k: t**k * (1.0 + tilt * (t - 0.5)) * g(t)) for k in range(3)]
    return log_peak, *tilted, integral(lambda t: (t - 0.5) * g(t))


def compare(a, b, c, tilt):
    """Check one segment; C only shifts the log."""
    got = segment_moments(a, b, c, tilt)
    log_peak, *expected = moments_by_quadrature(a, b, tilt)
    assert_allclose(got[0], log_peak - 0.5 * c, rtol=1e-12, atol=1e-9)
    # The density of a tilt of 2 vanishes at one end: what counts is the scale of the integral.
    scale = expected[0] + abs(tilt * expected[3])
    tolerance = TOLERANCE["segment"]
    assert_allclose(
        np.array(got[1:]) / scale, np.array(expected) / scale, rtol=0.0, atol=tolerance.atol
    )


LENGTHS = [0.0, 1e-6, 1e-3, 0.3, 0.999, 1.001, 10.0, 63.0, 65.0, 1e3, 1e4, 1e6]
# Where the foot of the star lies along the segment, from far before it to far beyond.
FEET = [-1e3, -30.0, -1.0, -0.01, 0.0, 0.3, 0.5, 0.999, 1.0, 1.01, 3.0, 1e3]
MOST_SIGMAS = 1e5


@pytest.mark.parametrize("a", LENGTHS)
@pytest.mark.parametrize("tilt", [0.0, 0.7, -2.0])
def test_moments_for_every_length_and_foot(a, tilt):
    for foot in FEET:
        b = a * foot
        if abs(b) > MOST_SIGMAS * np.sqrt(a):
            continue  # there t itself cannot be resolved in double precision
        compare(a, b, b * b / a if a > 0.0 else 0.0, tilt)


def test_moments_at_random(rng):
    for _ in range(150):
        a = 10.0 ** rng.uniform(-6.0, 6.0)
        # Up to 1,000 standard deviations along the segment and across it.
        b = np.sqrt(a) * rng.choice([-1.0, 1.0]) * 10.0 ** rng.uniform(-3.0, 3.0)
        compare(a, b, b * b / a + 10.0 ** rng.uniform(-3.0, 6.0), rng.uniform(-2.0, 2.0))


def test_a_star_on_a_segment_of_no_length_sees_a_point():
    log_peak, i0, i1, i2, dt = segment_moments(0.0, 0.0, 9.0, 0.4)
    expected = [-4.5, 1.0, 0.5 + 0.4 / 12.0, 1.0 / 3.0 + 0.4 / 12.0, 0.0]
    assert_close([log_peak, i0, i1, i2, dt], expected, "same_formula")


def test_reversing_a_segment_changes_nothing(rng):
    """t -> 1 - t: A stays, B becomes A - B, C becomes C - 2 B + A, the tilt changes its sign."""
    a = 10.0 ** rng.uniform(-3.0, 5.0, 100)
    b = np.sqrt(a) * rng.normal(scale=10.0, size=100)
    c = b * b / a + rng.uniform(0.0, 100.0, 100)
    tilt = rng.uniform(-2.0, 2.0, 100)
    forward = segment_moments_many(a, b, c, tilt)
    back = segment_moments_many(a, a - b, c - 2.0 * b + a, -tilt)
    tolerance = TOLERANCE["segment"]
    value, other = (np.exp(m[:, 0] + 0.5 * c) * m[:, 1] for m in (forward, back))
    keep = value > 1e-200
    assert_allclose(value[keep], other[keep], rtol=10.0 * tolerance.rtol)


def test_tilt_moment_is_the_derivative_by_the_tilt(rng):
    a, b = 40.0, 25.0
    up, down = (segment_moments(a, b, 20.0, t)[1] for t in (0.5 + 1e-3, 0.5 - 1e-3))
    assert_close(segment_moments(a, b, 20.0, 0.5)[4], (up - down) / 2e-3, "kernel")
