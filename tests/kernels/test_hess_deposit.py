import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from pymc_starpop.kernels.hess_deposit import deposit_gaussians, normal_cdf
from pymc_starpop.kernels.reference import hess as reference_hess
from tolerances import TOLERANCE, assert_close

EDGES = np.linspace(0.0, 2.0, 41), np.linspace(20.0, 24.0, 51)


def deposit(gaussians, edges=EDGES, kernel=deposit_gaussians):
    """Bins of (weight, color, mag, S_cc, S_cm, S_mm)."""
    table = np.atleast_2d(np.asarray(gaussians, dtype=float))
    counts = np.zeros((edges[1].size - 1, edges[0].size - 1))
    columns = (table[:, 0], table[:, 1:3], table[:, 3:])
    kernel(*(np.ascontiguousarray(c) for c in columns), *edges, counts)
    return counts


def two_filter(sigma_1, sigma_2):
    """Covariance of the color m1 - m2 with m2."""
    return sigma_1**2 + sigma_2**2, -(sigma_2**2), sigma_2**2


def test_normal_cdf():
    x = np.concatenate([np.linspace(-8.0, 8.0, 4001), [-30.0, 30.0]])
    assert_close(normal_cdf(x), special.ndtr(x), "normal_cdf")


@pytest.mark.parametrize("sigma_over_bin", [0.05, 0.1, 0.3, 1.0, 3.0])
def test_flux_anywhere_in_a_bin(sigma_over_bin):
    wide = np.arange(-60.0, 61.0) * 0.05, 22.0 + np.arange(-60.0, 61.0) * 0.08
    covariance = two_filter(sigma_over_bin * 0.05, sigma_over_bin * 0.08)
    places = np.linspace(0.0, 1.0, 11)
    for x in places:
        for y in places:
            total = deposit([1.0, 0.05 * x, 22.0 + 0.08 * y, *covariance], wide).sum()
            assert abs(total - 1.0) < TOLERANCE["template_flux"].rtol


@pytest.mark.parametrize("ratio", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("sigma_over_bin", [0.05, 0.3, 1.0, 3.0])
def test_against_quadrature(sigma_over_bin, ratio, rng):
    edges = np.sort(rng.uniform(0.0, 2.0, 41)), np.sort(rng.uniform(20.0, 24.0, 51))
    sigma = 0.06 * sigma_over_bin
    for covariance in (
        two_filter(sigma, ratio * sigma),
        (sigma**2, 0.5 * ratio * sigma**2, (ratio * sigma) ** 2),
        (sigma**2, 0.0, (ratio * sigma) ** 2),
    ):
        one = [2.0, rng.uniform(0.5, 1.5), rng.uniform(21.0, 23.0), *covariance]
        fast, slow = deposit(one, edges), deposit(one, edges, reference_hess.deposit_gaussians)
        assert np.abs(fast - slow).sum() < TOLERANCE["template"].rtol * slow.sum()
        seen = slow > 1e-4 * slow.max()
        np.testing.assert_allclose(fast[seen], slow[seen], rtol=TOLERANCE["template_bin"].rtol)


def test_edges_and_outside():
    tiny = (1e-12, 0.0, 1e-12)
    corner = deposit([1.0, EDGES[0][10], EDGES[1][10], *tiny])
    np.testing.assert_allclose(corner[9:11, 9:11], 0.25, rtol=1e-6)
    # On the border of the diagram one half is lost, in its corner three quarters.
    assert deposit([1.0, 0.0, 22.0, *tiny]).sum() == pytest.approx(0.5, rel=1e-6)
    assert deposit([1.0, 2.0, 24.0, *tiny]).sum() == pytest.approx(0.25, rel=1e-6)
    for far in ([1.0, -1.0, 22.0], [1.0, 3.0, 22.0], [1.0, 1.0, 19.0], [1.0, 1.0, 25.0]):
        assert deposit([*far, *two_filter(0.05, 0.05)]).sum() == 0.0
    assert deposit([1.0, 1e300, 22.0, *tiny]).sum() == 0.0


def test_what_holds_nothing_is_skipped():
    rows = [[w, 1.0, 22.0, *two_filter(0.1, 0.1)] for w in (0.0, -1.0, np.nan)]
    assert deposit(rows).sum() == 0.0
    assert deposit([[1.0, np.nan, 22.0, *two_filter(0.1, 0.1)]]).sum() == 0.0
    assert deposit(np.empty((0, 6))).sum() == 0.0


def test_a_scatter_wider_than_the_diagram():
    wide = deposit([1.0, 1.0, 22.0, *two_filter(300.0, 300.0)])
    slow = deposit(
        [1.0, 1.0, 22.0, *two_filter(300.0, 300.0)], EDGES, reference_hess.deposit_gaussians
    )
    np.testing.assert_allclose(wide, slow, rtol=1e-4)


def test_nearly_singular_covariance():
    sigma = 0.2
    for correlation in (0.9999, -0.9999):
        one = [1.0, 1.0, 22.0, sigma**2, correlation * sigma**2, sigma**2]
        fast, slow = deposit(one), deposit(one, EDGES, reference_hess.deposit_gaussians)
        assert np.abs(fast - slow).sum() < TOLERANCE["template"].rtol


def test_adds_to_what_is_there_and_bins_add_up():
    one = [3.0, 0.97, 22.03, *two_filter(0.04, 0.03)]
    fine = deposit(one)
    coarse = deposit(one, (EDGES[0][::2], EDGES[1][::5]))
    merged = fine.reshape(10, 5, 20, 2).sum(axis=(1, 3))
    np.testing.assert_allclose(merged, coarse, atol=3.0 * TOLERANCE["template"].rtol)
    np.testing.assert_allclose(deposit([one, one]), 2.0 * fine, rtol=1e-12, atol=1e-15)


@given(
    color=st.floats(0.3, 1.7),
    mag=st.floats(20.5, 23.5),
    sigma=st.tuples(st.floats(1e-3, 0.08), st.floats(1e-3, 0.08)),
    correlation=st.floats(-0.99, 0.99),
)
def test_no_flux_is_lost_or_negative(color, mag, sigma, correlation):
    covariance = sigma[0] ** 2, correlation * sigma[0] * sigma[1], sigma[1] ** 2
    counts = deposit([1.0, color, mag, *covariance])
    assert (counts >= 0.0).all()
    if abs(color - 1.0) < 0.5 and abs(mag - 22.0) < 1.4:
        assert abs(counts.sum() - 1.0) < TOLERANCE["template_flux"].rtol
