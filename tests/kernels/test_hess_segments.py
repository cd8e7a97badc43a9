"""Lengths of segments against a loop over sequences, and their pieces."""

import numpy as np
import pytest

from pymc_starpop.kernels.hess_segments import segment_lengths, split_segments
from pymc_starpop.kernels.mass_table import table_at
from tolerances import assert_close

# A mass function of slope -2, as a table.
LOG_MASS = np.linspace(np.log(0.1), np.log(10.0), 4096)
TABLE = float(LOG_MASS[0]), float(LOG_MASS[1] - LOG_MASS[0]), np.exp(-2.0 * LOG_MASS)


def lengths(mass, mag, sigma, joined, size):
    """The same with arrays, one rule after another."""
    in_sigma, in_mag, in_ln_mass, least_sigma, least_share = size
    scale = in_sigma * np.maximum(sigma.min(axis=0), least_sigma)
    step = mag[1] - mag[0]
    length = np.sqrt(np.square(step / scale).sum(axis=1))
    length = np.maximum(length, np.abs(step).max(axis=1) / in_mag)
    length = np.maximum(length, np.log(mass[1] / mass[0]) / in_ln_mass)
    closed = joined.copy()
    for s in range(1, joined.size):
        gap = np.sqrt(np.square((mag[0, s] - mag[1, s - 1]) / scale[s]).sum())
        closed[s] |= gap < 0.3
    starts = np.flatnonzero(~closed)
    for start, stop in zip(starts, [*starts[1:], closed.size], strict=True):
        inside = length[start:stop].copy()
        ends = np.cumsum(inside)
        distance = np.minimum(ends - inside, ends[-1] - ends)
        length[start:stop] = inside / np.minimum(0.25 + 0.25 * np.maximum(distance, 0.0), 1.0)
    held = (mass[1] - mass[0]) * (0.5 * (mass[0] + mass[1])) ** -2.0
    length = np.minimum(length, held / (least_share * held.sum()))
    number = np.ceil(np.clip(np.maximum(length, np.log(mass[1] / mass[0]) / 0.1), 1.0, 20_000))
    return length, number.astype(int), closed


def segments(rng):
    """Three sequences, with a small gap in the first one."""
    mass = np.cumsum(rng.uniform(0.001, 0.3, 31))
    mag = np.cumsum(rng.normal(0.0, 0.2, (31, 2)), axis=0)
    ends = np.stack([mass[:-1] + 0.1, mass[1:] + 0.1]), np.stack([mag[:-1], mag[1:]])
    joined = np.ones(30, dtype=bool)
    joined[[0, 6, 12, 13]] = False
    ends[1][:, 12:] += 3.0
    ends[1][:, 13:] -= 1.0
    ends[1][:, 6:] += 0.001
    return *ends, rng.uniform(0.005, 0.1, (2, 30, 2)), joined


@pytest.mark.parametrize("size", [(1.0, 0.1, 0.1, 0.01, 3e-9), (2.0, 0.1, 0.002, 0.05, 0.02)])
def test_lengths_against_arrays(size, rng):
    mass, mag, sigma, joined = segments(rng)
    length, number, closed = segment_lengths(mass, mag, sigma, joined, size, TABLE)
    expected = lengths(mass, mag, sigma, joined, size)
    assert np.flatnonzero(~closed).tolist() == [0, 12, 13]
    np.testing.assert_array_equal(closed, expected[2])
    np.testing.assert_allclose(length, expected[0], rtol=1e-5)  # of the table
    np.testing.assert_array_equal(number, expected[1])


def test_no_segments():
    nothing = np.empty((2, 0, 2))
    size = (1.0, 0.1, 0.1, 0.01, 3e-9)
    found = segment_lengths(
        np.empty((2, 0)), nothing, nothing, np.empty(0, dtype=bool), size, TABLE
    )
    assert all(array.size == 0 for array in found)


def test_errors_near_zero_do_not_fill_the_memory(rng):
    mass, mag, sigma, joined = segments(rng)
    size = (1.0, 0.1, 0.1, 1e-12, 1e-30)
    _, number, _ = segment_lengths(mass, mag, sigma * 1e-9, joined, size, TABLE)
    assert number.max() == 20_000


def test_a_table_is_linear_and_clamped():
    table = np.log(2.0), 0.5, np.array([1.0, 3.0, 2.0])
    for place, value in [(0.25, 1.5), (1.5, 2.5), (-3.0, 1.0)]:
        assert_close(table_at(np.log(2.0) + 0.5 * place, table), value, "same_formula")
    # A thousandth of a step before the end.
    assert table_at(9.0, table) == pytest.approx(2.0, abs=2e-3)


def test_pieces_of_segments():
    mass = np.array([[1.0, 2.0], [2.0, 2.6]])
    mag = np.array([[[5.0, 4.0], [3.0, 3.5]], [[3.0, 3.5], [0.0, 0.5]]])
    joined = np.array([False, True])
    ends, mags, follows, length, node_mass, node_mag = split_segments(
        mass, mag, joined, np.array([2, 3]), np.array([1.0, 3.0])
    )
    assert_close(ends, [[1.0, 1.5, 2.0, 2.2, 2.4], [1.5, 2.0, 2.2, 2.4, 2.6]], "same_formula")
    assert_close(mags[0, :, 0], [5.0, 4.0, 3.0, 2.0, 1.0], "same_formula")
    assert_close(length, [0.5, 0.5, 1.0, 1.0, 1.0], "same_formula")
    assert follows.tolist() == [False, True, True, True, True]
    # The rule of two points integrates cubics.
    width = 0.5 * (ends[1] - ends[0])[:, None]
    assert_close((width * node_mass**3).sum(), (2.6**4 - 1.0) / 4.0, "same_formula")
    assert_close(node_mag.mean(axis=1), mags.mean(axis=0), "same_formula")
