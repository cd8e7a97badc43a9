"""Gaussian shares of the metallicities and their derivatives."""

import numpy as np
import pytest

from pymc_starpop.hess.metallicity_models import metallicity_shares
from pymc_starpop.sfh.fit import WIDEST_SPACING
from pymc_starpop.sfh.shares import metallicity_shares_with_derivatives
from tolerances import assert_close, assert_gradient_close

GRID = np.linspace(-2.5, 0.5, 13)
# Within the grid, on a node, at its edge and beyond.
MEAN = np.array([-1.3, -1.0, 0.45, 0.9, -3.1])
STEP = 1e-5


def shares(mean=0.0, sigma=0.0):
    return metallicity_shares_with_derivatives(MEAN + mean, 0.2 + sigma, GRID)


def test_shares_are_those_of_the_symbolic_models():
    expected = metallicity_shares(MEAN, np.asarray(0.2), GRID)
    assert_close(shares().w, expected, "same_formula")


@pytest.mark.parametrize(
    ("name", "of", "by"),
    [
        ("mean", "w", "mean"),
        ("sigma", "w", "sigma"),
        ("mean_mean", "mean", "mean"),
        ("mean_sigma", "mean", "sigma"),
        ("sigma_sigma", "sigma", "sigma"),
    ],
)
def test_derivatives_are_central_differences(name, of, by):
    ahead, behind = getattr(shares(**{by: STEP}), of), getattr(shares(**{by: -STEP}), of)
    assert_gradient_close(getattr(shares(), name), (ahead - behind) / (2.0 * STEP))


def test_window_holds_all_shares_that_matter():
    found = shares()
    for w, (first, last) in zip(found.w, found.window, strict=True):
        assert last > first
        outside = np.concatenate([w[:first], w[last:]])
        assert (outside <= 1e-10).all()


def test_a_narrow_dispersion_far_from_the_grid_stays_finite():
    found = metallicity_shares_with_derivatives(np.array([-9.0, 9.0]), 1e-3, GRID)
    np.testing.assert_array_equal(found.w[:, [0, -1]], np.eye(2))
    assert np.isfinite(found.stacked()).all()


def test_spacing_that_is_warned_of_is_where_the_mean_goes_wrong():
    """At the limit the mean is off by 0.8 % of the dispersion, and by 21 % at a spacing of 2.5."""

    def worst(spacing):
        grid = np.arange(-40, 41) * spacing
        mean = np.linspace(0.0, spacing, 101)
        w = metallicity_shares_with_derivatives(mean, 1.0, grid).w
        return np.abs(w @ grid - mean).max()

    assert worst(WIDEST_SPACING) == pytest.approx(0.008, abs=2e-4)
    assert worst(2.5) == pytest.approx(0.214, abs=1e-3)
