"""The transfer of artificial stars against points that are moved one by one."""

import numpy as np

from pymc_starpop.kernels import hess_transfer
from pymc_starpop.kernels.reference import transfer as reference_transfer

COLOR, MAG = np.array([-0.2, 0.0, 0.15, 0.4, 0.9]), np.array([19.0, 19.4, 20.0, 20.2])


def example():
    """Cells of several sizes, pools and shifts, some of them beyond the bins."""
    rng = np.random.default_rng(8)
    n_cell, n_star = 40, 60
    cells = np.column_stack([
        rng.uniform(-0.4, 1.1, n_cell), rng.uniform(18.7, 20.5, n_cell),
        rng.uniform(0.01, 0.3, (n_cell, 2)), rng.uniform(0.0, 1.0, n_cell),
        rng.normal(0.0, 0.02, (n_cell, 2)), rng.uniform(0.02, 0.2, (n_cell, 2)),
    ])  # fmt: skip
    cells[3, 4] = 0.0  # nothing is recovered
    pools = np.stack([rng.permutation(n_star)[:17] for _ in range(3)])
    residual = rng.normal(size=(n_star, 2))
    residual[::9] *= 20.0  # wings
    to_shift = np.array([[1.0, -1.0], [0.0, 1.0]])
    return cells, rng.integers(0, 3, n_cell), pools, 3, residual, to_shift, COLOR, MAG


def test_against_the_slow_form():
    arguments = example()
    start, column, value = hess_transfer.transfer_rows(*arguments)
    dense = np.zeros((len(arguments[0]), (MAG.size - 1) * (COLOR.size - 1)))
    for k in range(len(dense)):
        assert np.unique(column[start[k] : start[k + 1]]).size == start[k + 1] - start[k]
        dense[k, column[start[k] : start[k + 1]]] = value[start[k] : start[k + 1]]
    slow = reference_transfer.transfer_matrix(*arguments, n_point=200)
    # The edge of a bin cuts 200 x 200 points to half a point in either direction.
    np.testing.assert_allclose(dense.reshape(slow.shape), slow, atol=3e-3)
    assert abs(dense.sum() / slow.sum() - 1.0) < 1e-3
    assert not dense[3].any()


def test_it_adds_what_the_matrix_says():
    start, column, value = hess_transfer.transfer_rows(*example())
    number = np.random.default_rng(1).uniform(0.0, 3.0, (2, start.size - 1))
    number[0, ::4] = number[1, 1::4] = 0.0
    counts = np.full((2, 12), 0.5)
    hess_transfer.apply_transfer(start, column, value, number, counts)
    expected = np.full((2, 12), 0.5)
    for one, stars in zip(expected, number, strict=True):
        np.add.at(one, column, np.repeat(stars, np.diff(start)) * value)
    np.testing.assert_allclose(counts, expected, rtol=1e-12)
