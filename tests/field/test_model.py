"""Field models that are made of the cluster model."""

import numpy as np
import pytest
from pytensor import tensor as pt
from scipy import stats

from pymc_starpop.field import ChiSquareField, InflatedScatterField
from tolerances import assert_close

N = np.arange(1, 12)


@pytest.mark.parametrize("cut", [1e-8, 1e-5, 0.05, 0.9])
@pytest.mark.parametrize("reduction", [0, 1, 3])
def test_density_is_gaussian_at_the_tail(cut, reduction):
    """The density of a standard Gaussian at a distance that the share `cut` of stars exceeds."""
    got = ChiSquareField(cut, reduction).log_constant(N)
    for n, value in zip(N, got, strict=True):
        if n <= reduction:
            assert value == -np.inf
            continue
        distance = np.sqrt(stats.chi2(n - reduction).isf(cut))
        at_distance = np.zeros(n)
        at_distance[0] = distance
        assert_close(value, stats.norm.logpdf(at_distance).sum(), "same_formula")


def test_quantile_is_that_of_brutus():
    """Brutus gives the density in chi-square at its quantile; the quantile is the same."""
    photometry = pytest.importorskip("brutus.utils.photometry")
    for reduction in (0, 2):
        for n in range(reduction + 1, 12):
            flux = np.ones((1, n))
            theirs = photometry.chisquare_outlier_loglike(
                flux, flux, p_value_cut=1e-5, dof_reduction=reduction
            )[0]
            constant = ChiSquareField(1e-5, reduction).log_constant(n)
            quantile = -2.0 * constant - n * np.log(2.0 * np.pi)
            ours = stats.chi2(n - reduction).logpdf(quantile)
            assert_close(ours, theirs, "other_code")


def test_scale_is_a_number_or_symbolic():
    assert InflatedScatterField(3).scale == 3
    assert InflatedScatterField(np.float64(3.0)).model_dependent
    scale = pt.scalar("scale")
    assert InflatedScatterField(scale).scale is scale
    assert not ChiSquareField().model_dependent


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf, "5", [1.0, 2.0], None, True])
def test_bad_scales(scale):
    with pytest.raises(ValueError, match="scale must be a positive finite number, a scalar tensor"):
        InflatedScatterField(scale)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"p_value_cut": 0.0}, "p_value_cut must lie between 0 and 1, got 0.0"),
        ({"p_value_cut": 1.0}, "p_value_cut must lie between 0 and 1"),
        ({"p_value_cut": np.nan}, "p_value_cut must lie between 0 and 1"),
        ({"dof_reduction": -1}, "dof_reduction must be a whole number"),
        ({"dof_reduction": 0.5}, "dof_reduction must be a whole number"),
    ],
)
def test_bad_chi_square(arguments, words):
    with pytest.raises(ValueError, match=words):
        ChiSquareField(**arguments)


def test_nothing_is_drawn_from_a_chi_square():
    with pytest.raises(ValueError, match=r"no density; use psp\.UniformField"):
        ChiSquareField().draw(3, ["G"], np.random.default_rng(1), None)
