"""The kernel of the Poisson likelihood ratio against its slow twin, and where they may differ."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plr_fixtures import make_galaxy
from pymc_starpop.hess.rows import hess_rows
from pymc_starpop.kernels import plr
from pymc_starpop.kernels.plr_vectors import BLOCK
from pymc_starpop.kernels.reference import plr as reference_plr
from tolerances import TOLERANCE, assert_close


def problem(n_row, shape, seed=0, empty=0.3):
    """Random templates, a part of which are 0, stars, coefficients and a background."""
    rng = np.random.default_rng(seed)
    n_column = shape[0] * shape[1]
    counts = rng.gamma(0.3, size=(n_row, n_column)) * (rng.random((n_row, n_column)) > empty)
    counts = counts.astype(np.float32)
    totals = counts.sum(axis=0, dtype=float).reshape(shape) + 0.1
    observed = rng.integers(1, 30, n_row).astype(float)
    r = rng.gamma(0.5, size=shape) + 1e-3
    return counts, observed, totals, r, rng.random(n_row) + 1e-3


def both(counts, observed, totals, r, background, kernel=plr.plr_full):
    """Results of a kernel and of the twin, flat."""
    value, *gradient = kernel(r, background, plr.pack_rows(counts), observed, totals)
    expected = reference_plr.plr_value_and_gradient(counts, observed, totals, r, background)
    return (value[0], *gradient), expected


def assert_same(results, expected):
    """Values and gradients, the latter relative to their largest element."""
    assert_close(results[0], expected[0], "kernel")
    for result, twin in zip(results[1:], expected[1:], strict=True):
        scale = max(1.0, np.abs(twin).max(initial=0.0))
        assert_close(result / scale, twin / scale, "same_formula")


@pytest.mark.parametrize("n_row", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 150])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 4), (3, 3), (5, 29)])
def test_value_and_gradient_are_those_of_the_twin(n_row, shape):
    assert_same(*both(*problem(n_row, shape, seed=n_row)))


@given(st.integers(1, 80), st.integers(1, 5), st.integers(1, 12), st.integers(0, 10**6))
def test_value_and_gradient_at_random(n_row, n_age, n_mh, seed):
    assert_same(*both(*problem(n_row, (n_age, n_mh), seed=seed)))


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e12])
def test_any_scale_of_masses(scale):
    counts, observed, totals, r, background = problem(70, (3, 5))
    results, expected = both(counts, observed, totals * 1e-3, r * scale, background * scale)
    assert np.isfinite(expected[0])
    assert_same(results, expected)


@pytest.mark.parametrize("kind", ["full", "windowed"])
def test_value_alone_is_the_same(kind):
    counts, observed, totals, r, background = problem(100, (4, 9))
    arguments = (r, background, plr.pack_rows(counts), observed, totals)
    value = getattr(plr, f"plr_value_{kind}")(*arguments)
    assert_close(value, getattr(plr, f"plr_{kind}")(*arguments)[0], "same_formula")


def test_any_memory_layout():
    counts, observed, totals, r, background = problem(40, (4, 9))
    packed = plr.pack_rows(counts)
    expected = plr.plr_full(r, background, packed, observed, totals)
    strided = np.repeat(observed, 2)[::2], np.asfortranarray(totals)
    results = plr.plr_full(np.asfortranarray(r), background, packed, *strided)
    assert_same([results[0][0], *results[1:]], [expected[0][0], *expected[1:]])


def test_gradient_is_that_of_the_value():
    counts, observed, totals, r, background = problem(50, (2, 5))
    packed = plr.pack_rows(counts)
    _, d_r, d_b = plr.plr_full(r, background, packed, observed, totals)
    rng = np.random.default_rng(3)
    v, u = rng.standard_normal(r.shape), rng.standard_normal(background.shape)

    def value(step):
        moved = r + step * v * r, background + step * u * background
        return plr.plr_value_full(*moved, packed, observed, totals)[0]

    slope = (value(1e-6) - value(-1e-6)) / 2e-6
    expected = np.sum(d_r * v * r) + np.sum(d_b * u * background)
    np.testing.assert_allclose(slope, expected, rtol=TOLERANCE["gradient"].rtol)


@pytest.mark.parametrize("n_row", [0, 1, 33, 100])
def test_curvature_is_that_of_the_twin(n_row):
    counts, observed, _, r, background = problem(n_row, (3, 7))
    rng = np.random.default_rng(4)
    direction = rng.standard_normal(r.shape), rng.standard_normal(n_row)
    results = plr.plr_curvature(r, background, plr.pack_rows(counts), observed, *direction)
    expected = reference_plr.plr_curvature(counts, observed, r, background, *direction)
    assert_same([0.0, *results], [0.0, *expected])


@pytest.mark.parametrize("bad", [-1e-12, -np.inf, np.nan, np.inf])
@pytest.mark.parametrize("kernel", [plr.plr_full, plr.plr_windowed])
def test_coefficients_outside_the_support(bad, kernel):
    counts, observed, totals, r, background = problem(40, (3, 5))
    r[1, 2] = bad
    results, expected = both(counts, observed, totals, r, background, kernel)
    assert results[0] == expected[0] == -np.inf
    assert not np.any(results[1])
    assert not np.any(results[2])


@pytest.mark.parametrize("fill", [0.0, -0.5, np.nan])
@pytest.mark.parametrize("kernel", [plr.plr_full, plr.plr_windowed])
def test_stars_where_none_are_expected(fill, kernel):
    """The value is -inf; the gradient is that of the other rows."""
    counts, observed, totals, r, background = problem(40, (3, 5))
    counts[7] = 0.0
    background[7] = fill
    results, expected = both(counts, observed, totals, r, background, kernel)
    assert expected[0] == -np.inf
    assert_same(results, expected)
    assert results[2][7] == 0.0


def test_ages_without_stars_keep_their_gradient():
    counts, observed, totals, r, background = problem(60, (4, 6))
    r[2] = 0.0
    assert_same(*both(counts, observed, totals, r, background, plr.plr_windowed))


def windowed_problem(stars=1e4):
    """Coefficients Gaussian in metallicity and narrow, in units that expect so many stars."""
    counts, observed, totals, _, _ = problem(120, (6, 29), empty=0.0)
    mh = np.linspace(-2.0, 0.8, 29)
    offset = (mh - np.linspace(-1.9, 0.2, 6)[:, None]) / 0.1
    r = np.exp(-0.5 * offset**2)
    r *= stars / np.sum(r * totals)
    return counts, observed, totals, r, np.zeros(len(observed))


@pytest.mark.parametrize("stars", [1.0, 1e4, 1e8])
def test_window_leaves_out_what_does_not_matter(stars):
    counts, observed, totals, r, background = windowed_problem(stars)
    observed = np.round(observed * stars / observed.sum()) + 1.0
    results, expected = both(counts, observed, totals, r, background, plr.plr_windowed)
    np.testing.assert_allclose(results[0], expected[0], rtol=0.0, atol=2e-5)
    part = r / r.sum(axis=1, keepdims=True)
    kept = part >= 1e-10
    assert 0.2 < kept.mean() < 0.8
    scale = np.abs(expected[1]).max()
    assert_close(results[1][kept] / scale, expected[1][kept] / scale, "kernel")
    # What it adds to the gradient by anything upstream is r d/dr.
    np.testing.assert_allclose(results[1] * r, expected[1] * r, rtol=0.0, atol=1e-4)
    assert np.any(results[1] == -totals) or stars > 1e6


def test_row_that_only_templates_outside_the_window_reach():
    """Leaving them out would make the value -inf, and a false minimum."""
    counts, observed, totals, r, background = windowed_problem()
    counts[50] = 0.0
    last = r.shape[1] - 1
    assert r[0, last] < 1e-12 * r[0].sum()
    counts[50, last] = 1.0
    observed[50] = 1.0
    results, expected = both(counts, observed, totals, r, background, plr.plr_windowed)
    assert expected[0] < -50.0
    assert_same((results[0],), (expected[0],))
    assert_close(results[1][0, last], expected[1][0, last], "kernel")


def test_precision_of_the_stored_templates():
    """Single precision costs less than 1e-4 nat near the maximum, at any number of stars."""
    for mass in (1e5, 1e7, 1e9):
        galaxy = make_galaxy(mass)
        rows = hess_rows(galaxy.tmpl, galaxy.hess)
        shape = rows.shape
        flat = galaxy.tmpl.counts.reshape(shape[0] * shape[1], -1)
        exact, _, _ = reference_plr.plr_value_and_gradient(
            flat[:, rows.bins].T, rows.observed, flat.sum(axis=1).reshape(shape), galaxy.r, 0.0
        )
        packed, background = plr.pack_rows(rows.counts), np.zeros(len(rows.bins))
        for kernel in (plr.plr_value_full, plr.plr_value_windowed):
            value = kernel(galaxy.r, background, packed, rows.observed, rows.totals.reshape(shape))
            assert abs(value[0] - exact) < 1e-4


def test_packed_rows_hold_the_templates():
    counts = np.random.default_rng(0).random((70, 9)).astype(np.float32)
    packed = plr.pack_rows(counts)
    assert packed.shape == (3, 9, BLOCK)
    assert packed.dtype == np.float32
    assert packed.ctypes.data % 64 == 0
    unpacked = packed.transpose(0, 2, 1).reshape(-1, 9)
    np.testing.assert_array_equal(unpacked[:70], counts)
    assert not unpacked[70:].any()
