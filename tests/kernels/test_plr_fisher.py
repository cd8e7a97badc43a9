"""The kernels of the fast fit against their slow twins."""

import numpy as np
import pytest

from pymc_starpop.kernels import plr_fisher
from pymc_starpop.kernels.reference import plr_fisher as reference_plr_fisher
from tolerances import assert_close


def make_rows(rng, n_age, n_mh, n_row):
    rows = rng.random((n_age * n_mh, n_row)).astype(np.float32)
    return rows, rng.integers(1, 20, n_row).astype(float), rng.random(n_row)


def make_weights(rng, n_age, n_mh, window):
    weights = rng.normal(size=(n_age, n_mh, 3))
    column = np.arange(n_mh)
    inside = (column >= window[:, :1]) & (column < window[:, 1:])
    return np.where(inside[:, :, None], weights, 0.0)


# One row, part of a chunk, exactly one chunk, and two with a rest.
@pytest.mark.parametrize("n_row", [1, 100, 512, 1100])
@pytest.mark.parametrize("narrow", [False, True])
def test_hierarchical_counts_are_those_of_the_slow_twin(rng, n_row, narrow):
    n_age, n_mh = 5, 11
    window = np.tile([0, n_mh], (n_age, 1))
    if narrow:
        window = np.array([[0, 1], [10, 11], [2, 9], [4, 4], [0, 11]])
    rows, observed, background = make_rows(rng, n_age, n_mh, n_row)
    weights = make_weights(rng, n_age, n_mh, window)
    mass = np.array([3.0, 0.0, 1e-30, 2.0, 1.0])
    background += 50.0  # the random weights are negative too
    arguments = (rows, observed, background, weights, window, mass)
    fast = plr_fisher.hierarchical_counts(*arguments)
    slow = reference_plr_fisher.hierarchical_counts(*arguments)
    for name, got, expected in zip(
        ("expected", "per_mass", "per_mean", "per_sigma", "pull"), fast, slow, strict=True
    ):
        scale = np.abs(expected).max() + 1e-300
        assert_close(got / scale, expected / scale, "same_formula")
        assert got.dtype == np.float64, name


def test_weights_outside_the_window_are_not_read(rng):
    rows, observed, background = make_rows(rng, 2, 6, 40)
    window = np.array([[1, 3], [2, 6]])
    weights = np.abs(make_weights(rng, 2, 6, window))
    clean = plr_fisher.hierarchical_counts(rows, observed, background, weights, window, np.ones(2))
    weights[0, 4], weights[1, 0] = np.nan, np.nan
    spoiled = plr_fisher.hierarchical_counts(
        rows, observed, background, weights, window, np.ones(2)
    )
    for one, other in zip(clean, spoiled, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n_row", [1, 512, 700])
def test_free_counts_and_pull_are_matrix_products(rng, n_row):
    rows, observed, background = make_rows(rng, 3, 4, n_row)
    coefficients = rng.random(12)
    coefficients[[2, 7]] = 0.0
    matrix = rows.astype(float)
    expected = plr_fisher.free_counts(rows, background, coefficients)
    assert_close(expected, background + coefficients @ matrix, "same_formula")
    assert_close(plr_fisher.template_pull(rows, observed), matrix @ observed, "same_formula")


def test_gather_copies_rounded_rows_and_adds_to_the_totals(rng):
    matrix = rng.random((6, 30))
    bins, empty = np.array([3, 4, 20]), np.array([0, 7, 29])
    rows, totals = np.empty((6, 3), dtype=np.float32), np.ones(6)
    plr_fisher.gather_templates(matrix, bins, empty, rows, totals)
    rounded = matrix[:, bins].astype(np.float32)
    np.testing.assert_array_equal(rows, rounded)
    total = 1.0 + rounded.astype(float).sum(axis=1) + matrix[:, empty].sum(axis=1)
    assert_close(totals, total, "same_formula")
