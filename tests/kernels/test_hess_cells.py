import numpy as np
import pytest

from pymc_starpop.kernels.hess_cells import (
    cell_rows,
    group_moments,
    group_pieces,
)
from pymc_starpop.kernels.hess_measured import cell_places, measured_gaussians
from pymc_starpop.kernels.reference import hess as reference_hess
from tolerances import assert_close


def test_groups_end_at_their_length_and_at_gaps():
    length = np.array([0.4, 0.5, 0.4, 0.3, 0.2, 2.0, 0.1])
    joined = np.array([True, True, True, True, False, True, True])
    assert group_pieces(length, joined).tolist() == [0, 0, 1, 1, 2, 3, 4]
    assert group_pieces(np.empty(0), np.empty(0, dtype=bool)).size == 0


def test_moments_of_groups(rng):
    group = np.array([0, 0, 1, 2, 2, 2])
    weight, mag = rng.random((6, 2)), 1e3 + rng.normal(size=(6, 2, 3))
    weight[2] = 0.0
    total, mean, covariance = group_moments(group, weight, mag)
    for g in range(3):
        w, x = weight[group == g].ravel(), mag[group == g].reshape(-1, 3)
        assert_close(total[g], w.sum(), "same_formula")
        if g != 1:
            assert_close(mean[g], np.average(x, axis=0, weights=w), "same_formula")
            assert_close(covariance[g], np.cov(x.T, aweights=w, ddof=0), "kernel")


@pytest.mark.parametrize("matrix", [[[1.0, -1.0], [0.0, 1.0]], [[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]]])
def test_measured_cells_against_two_halves(matrix, rng):
    matrix = np.array(matrix)
    n, n_band = 6, matrix.shape[1]
    root = 0.05 * rng.normal(size=(n, n_band, n_band))
    covariance = root @ root.transpose(0, 2, 1)
    covariance[0] = 0.0  # a single star
    weight, mean = rng.random(n), rng.uniform(20.0, 25.0, (n, n_band))

    def errors(mag):
        sigma = 0.02 + 0.01 * (mag - 20.0) ** 2
        return sigma, 0.1 * (mag - 22.0), 1.0 / (1.0 + np.exp(mag - 24.0)).prod(axis=-1)

    places = cell_places(mean, covariance)
    found = measured_gaussians(weight, covariance, places, *errors(places), matrix)
    for i, (recovered, center, moments) in enumerate(zip(*found, strict=True)):
        offset = 0.5 * (places[1, i] - places[0, i])
        expected = reference_hess.measured_moments(
            weight[i], mean[i], offset, covariance[i], errors, matrix
        )
        assert_close(recovered, expected[0], "same_formula")
        assert_close(center, expected[1], "same_formula")
        assert_close(moments, expected[2][[0, 0, 1], [0, 1, 1]], "kernel")
        # The two places have the variance of the band that varies most.
        widest = np.argmax(np.diag(covariance[i]))
        assert_close(offset[widest] ** 2, covariance[i, widest, widest], "kernel")


def test_cells_that_are_not_recovered_hold_nothing():
    zero = np.zeros((2, 1, 2))
    found = measured_gaussians(
        np.ones(1), np.zeros((1, 2, 2)), zero, zero + 0.1, zero, np.zeros((2, 1)), np.eye(2)
    )
    assert found[0].tolist() == [0.0]


def test_rows_of_cells_against_a_loop(rng):
    """Cells are no longer than asked, whole bins or whole parts of bins; short rows come alone."""
    sizes = np.concatenate([rng.uniform(0.011, 0.09, 30), rng.uniform(0.2, 0.5, 21)])
    colors = rng.uniform(0.008, 0.2, 51)
    first, parts, width = cell_rows(colors, sizes, 0.04, 0.1)
    row = strip = 0
    while strip < 51:
        together = max(int(sizes[strip] / 0.1), 1)
        strips = range(strip, min(strip + together, 51))
        number = int(np.ceil(0.1 / sizes[strip])) if together == 1 else 1
        longest = min(colors[s] for s in strips)
        assert {(int(first[s]), int(parts[s])) for s in strips} == {(row, number)}
        for wide in width[row : row + number]:
            ratio = wide / 0.04 if wide >= 0.04 else 0.04 / wide
            assert ratio == pytest.approx(round(ratio))
            assert 0.5 * min(longest, 0.04) < wide <= longest * (1.0 + 1e-12)
        row, strip = row + number, strips[-1] + 1
    assert row == width.size
    assert (parts == 1).any()
    assert (parts > 2).any()
