"""The probability to pass magnitude limits against dense sums, and its derivatives."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from scipy.special import ndtr

from pymc_starpop.kernels import selection
from tolerances import assert_close, assert_gradient_close

N_POINT, N_PIECE = 20, 200
STEP = 1e-4


def segments(array):
    """Values (T, E - 1) of the segments as (P - 1,), with 0 between two tracks."""
    return np.pad(array, ((0, 0), (0, 1))).ravel()[:-1]


@dataclass
class Problem:
    """The arguments of the kernel, with T tracks of E nodes each."""

    mag: np.ndarray
    weights: np.ndarray
    tilts: np.ndarray
    variance: np.ndarray
    bright: float = 12.0
    faint: float = 16.0
    sigma_bright: float = 0.01
    sigma_faint: float = 0.05

    def result(self):
        """What the kernel returns, in the shapes of this problem."""
        weights, tilts = segments(self.weights), segments(self.tilts)
        # Everything that has weight or could have is in the model, but not what joins tracks.
        scale = segments(np.ones_like(self.weights))
        limits = [getattr(self, f.name) for f in fields(self)][4:]
        z, mag, *others = selection.selection_integral(
            self.mag.ravel(), weights, tilts, segments(self.variance), scale, *limits
        )
        by_segment = [np.append(x, 0.0).reshape(self.mag.shape)[:, :-1] for x in others]
        return [z, mag.reshape(self.mag.shape), *by_segment]

    def z(self):
        return float(self.result()[0][0])


def make_problem(rng, scatter=0.03, **limits):
    """Three tracks across both limits, with segments of no length and ends next to a limit."""
    mag = np.linspace(19.0, 10.0, 14) + 0.3 * rng.normal(size=(3, 14))
    mag[:, 4] = mag[:, 3]
    mag[1, 5], mag[1, 6] = 16.001, 15.999
    weights = rng.dirichlet(np.ones(3 * 13)).reshape(3, 13)
    weights[2, 8] = 0.0
    tilts = rng.uniform(-1.5, 1.5, weights.shape)
    variance = (scatter * rng.uniform(0.5, 1.5, weights.shape)) ** 2
    return Problem(mag, weights, tilts, variance, **limits)


def dense(p):
    nodes, share = np.polynomial.legendre.leggauss(N_POINT)
    t = ((np.arange(N_PIECE)[:, None] + 0.5 + 0.5 * nodes) / N_PIECE).ravel()
    share = np.tile(0.5 * share / N_PIECE, N_PIECE)
    m = p.mag[:, :-1, None] + t * np.diff(p.mag)[..., None]
    passed = ndtr((p.faint - m) / np.sqrt(p.sigma_faint**2 + p.variance)[..., None])
    passed -= ndtr((p.bright - m) / np.sqrt(p.sigma_bright**2 + p.variance)[..., None])
    mean = ((1.0 + p.tilts[..., None] * (t - 0.5)) * passed * share).sum(axis=-1)
    return float((p.weights * mean).sum())


LIMITS = {
    "both": {},
    "faint only": {"bright": -np.inf},
    "bright only": {"faint": np.inf},
    "narrow": {"bright": 15.99, "faint": 16.0},
    "wide errors": {"sigma_bright": 2.0, "sigma_faint": 3.0},
    "sharp": {"sigma_bright": 1e-3, "sigma_faint": 1e-3},
}
SCATTER = pytest.mark.parametrize("scatter", [0.0, 0.1], ids=["equal stars", "scatter"])


@SCATTER
@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS.keys())
def test_probability_is_the_integral_along_the_segments(rng, limits, scatter):
    p = make_problem(rng, scatter, **limits)
    assert_close(p.z(), dense(p), "quadrature")


def test_without_limits_everything_passes(rng):
    p = make_problem(rng, bright=-np.inf, faint=np.inf)
    assert_close(p.z(), p.weights.sum(), "same_formula")


@pytest.mark.parametrize(("bright", "faint"), [(40.0, 60.0), (-60.0, -40.0)])
def test_far_limits_let_nothing_pass(rng, bright, faint):
    p = make_problem(rng, bright=bright, faint=faint)
    assert p.z() == 0.0
    for part in p.result():
        assert np.isfinite(part).all()


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS.keys())
@SCATTER
def test_derivatives_against_differences(rng, limits, scatter):
    p = make_problem(rng, scatter, **limits)
    result = dict(zip(("mag", "weights", "tilts", "variance"), p.result()[1:], strict=True))
    for name, exact in result.items():
        step = STEP * min(1.0, p.sigma_bright / 0.01)
        if name == "variance":
            step *= p.sigma_bright
        values = getattr(p, name)
        for entry in np.ndindex(values.shape):

            def moved(by, name=name, values=values, entry=entry):
                other = values.copy()
                other[entry] += by
                return replace(p, **{name: other}).z()

            numeric = (
                8.0 * (moved(step) - moved(-step)) - (moved(2.0 * step) - moved(-2.0 * step))
            ) / (12.0 * step)
            assert_gradient_close(exact[entry], numeric)


def test_closed_form_and_quadrature_meet(rng):
    """The kernel changes its formula where the argument changes by 1 along a segment."""
    z = []
    for change in (1.0 - 1e-9, 1.0 + 1e-9):
        tau = np.hypot(0.05, 0.02)
        mag = np.array([[16.0 - 0.4 * tau, 16.0 - 0.4 * tau + change * tau]])
        p = Problem(mag, np.ones((1, 1)), np.full((1, 1), 0.8), np.full((1, 1), 0.02**2))
        z.append([float(np.ravel(part)[0]) for part in p.result() if np.size(part)])
        assert_close(p.z(), dense(p), "quadrature")
    assert_close(z[0], z[1], "quadrature")
