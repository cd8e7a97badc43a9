"""What the steps refuse where brutus goes on."""

import numpy as np
import pytest

import pymc_starpop as psp

staged = psp.staged


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": 0.5}, "mask must have shape"),
        ({"mask": np.full((23, 5), 0.5)}, "mask must hold 1 .use. and 0"),
        ({"parallax": None}, "parallax was not given"),
        ({"parallax_err": None}, "parallax_err was not given"),
        ({"parallax": 2.0}, "parallax and parallax_err must have shape .23,., one for each star"),
        ({"distance": None}, "distance was not given; parallaxes need"),
        ({"distance": 0.0}, "distance must be one positive number"),
        ({"distance": [490.0]}, "distance must be one positive number"),
        ({"obs_flux": [1.0, 2.0]}, "one star is a single row"),
        ({"grid": [[1.0]]}, "grid must be a mapping such as population_grid returns, got list"),
        ({"grid": {}}, "grid lacks photometry; it has no keys"),
        ({"grid": {"photometry": np.ones(5)}}, r"grid\['photometry'\] must have 2 dimension"),
        ({"grid": {"photometry": np.ones((2, 4))}}, "has 4 bands and obs_flux 5"),
    ],
)
def test_cluster_loglike(given, change, message):
    arguments = {"obs_flux": given.obs, "obs_err": given.err, "grid": given.grid}
    arguments |= {"distance": given.distance, **given.parallax} | change
    with pytest.raises(ValueError, match=message):
        staged.cluster_loglike(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "gaussian"}, "model must be 'chi-square', 'uniform', 'inflated scatter' or a"),
        ({"model": 3}, "model must be the name of a model or a callable, got 3"),
        ({"sigma_clip": 3.0}, "'chisquare' has no option sigma_clip; it has p_value_cut"),
        ({"p_value_cut": 0.0}, "p_value_cut must lie between 0 and 1"),
        ({"model": "uniform", "sigma_clip": -1.0}, "sigma_clip must be 0 or more"),
        ({"model": "inflated"}, "its chi-square would lack the parallax"),
        ({"model": "inflated", "scale": np.inf}, "scale must be a finite number"),
        ({"model": "inflated", "grid": None}, "grid is needed by the outlier model"),
        ({"model": lambda *_, **__: np.zeros(3)}, r"returned shape \(3,\), expected \(23,\)"),
        ({"grid": {"masses": [1.0]}}, "grid lacks smf_values"),
        ({"grid": {"masses": [1.0], "smf_values": [1.0, 2.0]}}, "as many rows as there are points"),
    ],
)
def test_outlier_loglike(given, change, message):
    arguments = {"obs_flux": given.obs, "obs_err": given.err, "grid": given.grid}
    with pytest.raises(ValueError, match=message):
        staged.outlier_loglike(**arguments | given.parallax | change)


def test_inflated_scatter_needs_a_range_of_parallaxes(given):
    with pytest.raises(ValueError, match=r"parallax has no range \(1 measured, all 2\.0 mas\)"):
        staged.outlier_loglike(
            given.obs[:1], given.err[:1], given.grid, [2.0], [0.1], False, model="inflated"
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.0]], [[0.0], [0.0]], 0.9, 0.1), "must have the same shape, got .1, 1. and .2, 1."),
        (([0.0], [[0.0]], 0.9, 0.1), "lnl_cluster must have shape .points of the grid, stars."),
        (([[0.0]], [[0.0]], [0.9, 0.8], 0.1), "cluster_prob must be one number or have shape .1,."),
        (([[0.0]], [[0.0]], 0.9, -0.1), "field_fraction must lie between 0 and 1, got -0.1"),
        (([[0.0]], [[0.0]], np.nan, 0.1), "cluster_prob must lie between 0 and 1, got nan"),
    ],
)
def test_mixture(arguments, message):
    with pytest.raises(ValueError, match=message):
        staged.mixture(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.0], [0.0]], [1.0], [1.0, 1.0]), "mass_jacobians must have shape .2,., one for each"),
        (([[0.0]], [1.0], [-1.0]), "smf_jacobians must not be negative, got -1"),
        (([[0.0]], [1.0], [1.0], [-1.0]), "smf_prior must not be negative"),
        (([0.0], [1.0], [1.0]), "lnl_mixture must have shape"),
    ],
)
def test_marginalize(arguments, message):
    with pytest.raises(ValueError, match=message):
        staged.marginalize(*arguments)
