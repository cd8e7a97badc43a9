"""Every step of the staged form against astro-brutus 1.2.0 on random input."""

import numpy as np
import pytest

import pymc_starpop as psp
from tolerances import assert_close

staged = psp.staged
SWITCH = {"argvalues": [False, True], "ids": ["off", "on"]}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dim_prior", **SWITCH)
@pytest.mark.parametrize("masked", **SWITCH)
@pytest.mark.parametrize("with_parallax", **SWITCH)
def test_all_steps_are_those_of_brutus(brutus, make_input, seed, dim_prior, masked, with_parallax):
    given = make_input(seed)
    common = {"dim_prior": dim_prior, "mask": given.mask if masked else None}
    common |= given.parallax if with_parallax else {}
    photometry = given.obs, given.err, given.grid
    distance = {"distance": given.distance}
    cluster = staged.cluster_loglike(*photometry, **common, **distance)
    other_cluster = brutus.compute_isochrone_cluster_loglike(*photometry, **common, **distance)
    assert np.isnan(cluster).any()
    assert np.isfinite(cluster).mean() > 0.5
    assert_close(cluster, other_cluster, "other_code")

    outlier = staged.outlier_loglike(*photometry, **common)
    other_outlier = brutus.compute_isochrone_outlier_loglike(*photometry, **common)
    assert outlier.shape == cluster.shape
    assert_close(outlier, other_outlier, "other_code")

    weights = given.grid["mass_jacobians"], given.grid["smf_jacobians"]
    for prior in (0.95, given.prior):
        mixed = staged.mixture(cluster, outlier, prior, 0.3)
        other_mixed = brutus.apply_isochrone_mixture_model(other_cluster, other_outlier, prior, 0.3)
        assert_close(mixed, other_mixed, "other_code")
        each = staged.marginalize(mixed, *weights)
        assert_close(each, brutus.marginalize_isochrone_grid(other_mixed, *weights), "other_code")


@pytest.mark.parametrize(
    ("model", "function", "options"),
    [
        ("chi-square", "chisquare_outlier_loglike", {"p_value_cut": 1e-3, "dof_reduction": 2}),
        ("uniform", "uniform_outlier_loglike", {"sigma_clip": 1.5}),
    ],
)
@pytest.mark.parametrize("with_grid", **SWITCH)
@pytest.mark.parametrize("dim_prior", **SWITCH)
def test_outlier_models_by_name_are_those_of_brutus(
    brutus, given, model, function, options, with_grid, dim_prior
):
    from brutus.utils import photometry

    grid = given.grid if with_grid else None
    common = {"dim_prior": dim_prior, "mask": given.mask, **given.parallax, **options}
    lnl = staged.outlier_loglike(given.obs, given.err, grid, model=model, **common)
    other = brutus.compute_isochrone_outlier_loglike(
        given.obs, given.err, grid, outlier_model_func=getattr(photometry, function), **common
    )
    assert lnl.shape == (90 if with_grid else 1, 23)
    assert_close(lnl, other, "other_code")


def test_uniform_outliers_of_one_star_and_of_equal_stars(brutus):
    """Where the range has no width every star has its own window; without errors there is none."""
    parallax = {"parallax": np.array([2.0, 2.0]), "parallax_err": np.array([0.1, 0.3])}
    equal, err = np.ones((2, 2)), np.array([[0.1, 0.2], [0.3, 0.2]])
    for rows in (slice(0, 1), slice(0, 2)):
        for clip in (3.0, 0.0):
            arguments = equal[rows], err[rows]
            options = {k: v[rows] for k, v in parallax.items()} | {"sigma_clip": clip}
            lnl = staged.outlier_loglike(*arguments, dim_prior=False, **options)
            other = brutus.compute_isochrone_outlier_loglike(*arguments, dim_prior=False, **options)
            assert_close(lnl, other, "other_code")
            assert np.isfinite(lnl).all() == (clip > 0.0)


def test_a_callable_sees_masses_and_mass_ratios(brutus, given):
    def by_mass(flux, err, stellar_params, parallax, parallax_err, mask, slope):
        assert mask is given.mask
        assert parallax is given.parallax["parallax"]
        assert parallax_err is given.parallax["parallax_err"]
        point = slope * stellar_params["masses"] - stellar_params["smf_values"]
        return point[:, None] - np.nansum(flux / err * mask, axis=1)

    common = {"mask": given.mask, "slope": 0.7, **given.parallax}
    given.err[4, 0] = 1.0
    photometry = given.obs, given.err, given.grid
    lnl = staged.outlier_loglike(*photometry, model=by_mass, **common)
    other = brutus.compute_isochrone_outlier_loglike(
        *photometry, outlier_model_func=by_mass, **common
    )
    assert_close(lnl, other, "other_code")
    assert np.ptp(lnl[:, 0]) > 0.1


@pytest.mark.parametrize("dim_prior", **SWITCH)
def test_inflated_scatter_is_a_member_with_larger_errors(given, dim_prior):
    """In flux as a member with errors wider by the square root of 1 + scale^2.

    The chi-square density is one of the chi-square with the errors as they are: it is wider too.
    """
    common = {"dim_prior": dim_prior, "mask": given.mask}
    lnl = staged.outlier_loglike(
        given.obs, given.err, given.grid, model="inflated scatter", scale=4.0, **common
    )
    wider = staged.cluster_loglike(given.obs, np.sqrt(17.0) * given.err, given.grid, **common)
    assert_close(lnl, wider - (np.log(17.0) if dim_prior else 0.0), "other_code")


def test_inflated_scatter_has_parallaxes_uniform_over_their_range(given):
    common = {"dim_prior": False, "model": "inflated"}
    without = staged.outlier_loglike(given.obs, given.err, given.grid, **common)
    lnl = staged.outlier_loglike(given.obs, given.err, given.grid, **given.parallax, **common)
    parallax, err = given.parallax.values()
    measured = np.isfinite(parallax) & (err > 0.0)
    expected = np.where(measured, np.log(np.ptp(parallax[measured])), 0.0)
    assert_close(without - lnl, np.where(np.isnan(lnl), np.nan, expected), "other_code")


@pytest.mark.parametrize("field_fraction", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("cluster_prob", [0.0, 0.95, 1.0])
def test_mixtures_of_one_part_only(brutus, rng, field_fraction, cluster_prob):
    cluster, outlier = rng.normal(size=(2, 6, 4))
    cluster[0], cluster[1, 1], outlier[2, 2] = np.nan, -np.inf, -np.inf
    cluster[3, 3] = outlier[3, 3] = -np.inf
    mixed = staged.mixture(cluster, outlier, cluster_prob, field_fraction)
    with np.errstate(divide="ignore"):
        other = brutus.apply_isochrone_mixture_model(cluster, outlier, cluster_prob, field_fraction)
    assert_close(mixed, other, "other_code")


def test_marginal_of_points_that_do_not_count(brutus, rng):
    """The measure is normalized over points with any finite value and a weight."""
    lnl = rng.normal(size=(8, 4))
    lnl[0], lnl[1], lnl[2, 1], lnl[3, 2], lnl[:, 3] = np.nan, -np.inf, -np.inf, np.inf, -np.inf
    mass, smf = rng.uniform(0.1, 1.0, (2, 8))
    mass[4], smf[5] = 0.0, np.nan
    with np.errstate(divide="ignore"):
        other = brutus.marginalize_isochrone_grid(lnl, mass, smf)
    each = staged.marginalize(lnl, mass, smf)
    assert_close(each, other, "other_code")
    assert each[3] == -np.inf
    nothing = staged.marginalize(np.full((8, 4), np.nan), mass, smf)
    assert (nothing == -np.inf).all()


def test_a_prior_of_the_mass_ratio_multiplies_the_measure(rng):
    lnl = rng.normal(size=(8, 4))
    mass, smf, prior = rng.uniform(0.1, 1.0, (3, 8))
    prior[2] = 0.0
    expected = staged.marginalize(
        np.delete(lnl, 2, 0), *(np.delete(mass * smf, 2), np.delete(prior, 2))
    )
    assert_close(staged.marginalize(lnl, mass, smf, prior), expected, "same_formula")


def test_perfect_agreement_counts_nothing_under_the_dimensionality_prior(brutus):
    """Chi-square 0 has density 0 (or infinity with one band), and both drop out."""
    grid = {"photometry": np.array([[1.0, 2.0], [1.5, 2.5]])}
    for n_band in (1, 2):
        narrow = {"photometry": grid["photometry"][:, :n_band]}
        arguments = narrow["photometry"][:1], np.full((1, n_band), 0.25), narrow
        lnl = staged.cluster_loglike(*arguments)
        assert_close(lnl, brutus.compute_isochrone_cluster_loglike(*arguments), "other_code")
    assert np.isfinite(lnl).all()
