"""The photometry of a cluster in a PyMC model: density, draws, sampling, summaries."""

import os
import subprocess
import sys

import arviz as az
import cloudpickle
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import pymc_starpop as psp
from cluster_fixtures import (
    BANDS,
    EASY,
    EASY_LIMITS,
    FULL_POINT,
    LIMITS,
    TRUTH,
    full_arguments,
    make_easy_catalog,
    make_easy_model,
)
from pymc_starpop.likelihoods.logp import cluster_logp
from tolerances import assert_close

MODE = {"mode": "FAST_COMPILE"}
KNOWN = {"feh": EASY["feh"], "selection": EASY_LIMITS}
POINT = {"log_age": 9.02, "distance_modulus": 7.98, "field_fraction": 0.15}


def density(model, name="stars", **point):
    """Log-probability of each star at a point in the constrained space."""
    rv = model[name]
    values = {model.rvs_to_values[v]: v for v in model.free_RVs}
    inputs = list(values.values())
    logp = pm.logp(rv, model.rvs_to_values[rv])
    function = pm.compile(inputs, logp, mode="FAST_COMPILE", on_unused_input="ignore")
    return function(*[point[v.name] for v in inputs])


def test_density_is_that_of_cluster_logp(cluster_model, coarse, easy_catalog):
    got = density(cluster_model, **POINT)
    expected = psp.reference.cluster_logp(coarse, easy_catalog, **KNOWN, **POINT)
    assert_close(got, expected, "pruned")


def test_density_with_everything(coarse, stars, full):
    """Priors, selection, parallaxes, corrections, slopes of the mass function, all as variables."""
    with pm.Model(coords=stars.coords()) as model:
        variables = {name: pm.Flat(name) for name in FULL_POINT}
        psp.ClusterPhotometry("stars", coarse, observed=stars, **full_arguments(variables))
    assert_close(density(model, **FULL_POINT), full.value(FULL_POINT), "kernel")


def test_dimensions_are_set_with_and_without_coordinates(coarse, stars):
    for coords in (None, stars.coords()):
        with pm.Model(coords=coords) as model:
            rv = psp.ClusterPhotometry("stars", coarse, observed=stars, **TRUTH)
        assert model.named_vars_to_dims["stars"] == ("star", "band")
        assert list(model.coords["band"]) == list(BANDS)
        assert_array_equal(model.coords["star"], stars.star)
        assert rv.type.shape == (12, 4)


def test_missing_magnitudes_are_not_imputed(cluster_model, easy_catalog):
    assert not np.isfinite(easy_catalog.mag).all()
    assert [v.name for v in cluster_model.free_RVs] == [*POINT]
    assert len(cluster_model.observed_RVs) == 1


def test_one_model_with_two_clusters(coarse, stars):
    """Other stars and other numbers must not be taken for the same distribution."""
    with pm.Model() as model:
        psp.ClusterPhotometry("a", coarse, observed=stars, **TRUTH)
    with pm.Model() as other:
        psp.ClusterPhotometry("a", coarse, observed=stars, **(TRUTH | {"feh": -0.2}))
    a, b = density(model, "a"), density(other, "a")
    assert np.abs(a - b).max() > 0.01
    assert model["a"].owner.op != other["a"].owner.op
    with pm.Model() as again:
        psp.ClusterPhotometry("a", coarse, observed=stars, **TRUTH)
    assert model["a"].owner.op == again["a"].owner.op


def test_log_likelihood_of_each_star_and_leave_one_out(cluster_model, coarse, nutpie_fit):
    _, idata = nutpie_fit
    with cluster_model:
        result = pm.compute_log_likelihood(
            idata.isel(draw=slice(0, 200)), progressbar=False, compile_kwargs=MODE,
            extend_inferencedata=False,
        )  # fmt: skip
    values = result["stars"]
    assert values.dims == ("chain", "draw", "star")
    assert values.shape == (1, 200, 48)
    draw = {name: float(idata.posterior[name][0, 7]) for name in POINT}
    expected = psp.reference.cluster_logp(coarse, make_easy_catalog(coarse), **KNOWN, **draw)
    assert_close(values[0, 7], expected, "pruned")
    with cluster_model:
        pm.compute_log_likelihood(idata, progressbar=False, compile_kwargs=MODE)
    loo = az.loo(idata, var_name="stars", pointwise=True)
    assert np.isfinite(loo.elpd)
    assert loo.n_data_points == 48
    assert 0.5 < loo.p < 8.0


def test_predictive_draws_have_the_shape_and_the_gaps_of_the_data(
    cluster_model, easy_catalog, nutpie_fit
):
    _, idata = nutpie_fit
    with cluster_model:
        prior = pm.sample_prior_predictive(20, random_seed=1, compile_kwargs=MODE)
        posterior = pm.sample_posterior_predictive(
            idata.isel(draw=slice(0, 20)), random_seed=1, progressbar=False, compile_kwargs=MODE
        )
    for drawn in (prior.prior_predictive["stars"], posterior.posterior_predictive["stars"]):
        assert drawn.dims == ("chain", "draw", "star", "band")
        assert drawn.shape == (1, 20, 48, 3)
        measured = np.broadcast_to(easy_catalog.measured, drawn.shape)
        assert_array_equal(np.isfinite(drawn), measured)
    # Field stars may lie anywhere, members of the posterior lie where the data do.
    medians = np.nanmedian(posterior.posterior_predictive["stars"], axis=(0, 1, 2))
    assert_allclose(medians, np.nanmedian(easy_catalog.mag, axis=0), atol=0.5)


def test_draws_follow_the_density(coarse):
    """One band: a Kolmogorov-Smirnov test of 4,000 draws against the integral of the density."""
    n = 4000
    limits = psp.MagnitudeLimits("Gaia_G_EDR3", 10.0, 17.0, error=0.05)
    field = psp.UniformField(mag_range=(10.0, 17.0))
    parameters = TRUTH | {
        "field_fraction": 0.3, "binary_fraction": 0.5, "intrinsic_scatter": 0.03,
        "av_scatter": 0.1, "selection": limits, "field": field, "mass_ratio_nodes": 31,
    }  # fmt: skip
    x = np.linspace(10.0, 17.0, n)[:, None]
    catalog = psp.StarCatalog(x, np.full_like(x, 0.05), bands=["Gaia_G_EDR3"])
    with pm.Model() as model:
        rv = psp.ClusterPhotometry("stars", coarse, observed=catalog, **parameters)
    drawn = pm.draw(rv, random_seed=2, mode="FAST_COMPILE")
    p = np.exp(density(model))
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (p[1:] + p[:-1]) * np.diff(x[:, 0]))])
    assert_allclose(cumulative[-1], 1.0, atol=2e-3)
    uniform = np.interp(drawn[:, 0], x[:, 0], cumulative / cumulative[-1])
    assert stats.kstest(uniform, "uniform").pvalue > 0.01


def test_a_model_opens_in_a_new_process(tmp_path, cluster_model):
    path = tmp_path / "model.pkl"
    path.write_bytes(cloudpickle.dumps(cluster_model))
    program = (
        "import sys, cloudpickle, numpy as np\n"
        f"model = cloudpickle.loads(open({str(path)!r}, 'rb').read())\n"
        "value = model.compile_logp(mode='FAST_COMPILE', sum=True)(model.initial_point())\n"
        "print(repr(float(value)))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    here = cluster_model.compile_logp(mode="FAST_COMPILE", sum=True)(cluster_model.initial_point())
    assert float(out.stdout.split()[-1]) == pytest.approx(float(here), rel=1e-12)


def test_sampling_with_nutpie(nutpie_fit):
    _, idata = nutpie_fit
    posterior = idata.posterior
    assert posterior.sizes == {"chain": 1, "draw": 200}
    assert abs(float(posterior["distance_modulus"].mean()) - EASY["distance_modulus"]) < 0.1
    assert int(idata.sample_stats["diverging"].sum()) == 0


def test_sampling_with_pymc(cluster_model):
    start = {"log_age": 9.0, "distance_modulus": 8.0, "field_fraction": 0.17}
    idata = pm.sample(
        10, tune=10, chains=1, cores=1, model=cluster_model, nuts_sampler="pymc", initvals=start,
        random_seed=1, progressbar=False, compute_convergence_checks=False, compile_kwargs=MODE,
    )  # fmt: skip
    assert idata.posterior.sizes == {"chain": 1, "draw": 10}
    assert np.isfinite(idata.sample_stats["lp"]).all()
    assert float(idata.posterior["distance_modulus"].std()) > 0.0


def test_membership_of_the_stars_of_the_fit_and_of_others(
    cluster_model, coarse, easy_catalog, nutpie_fit
):
    _, idata = nutpie_fit
    few = idata.isel(draw=slice(0, 20))
    with cluster_model:
        p = psp.membership(few, progressbar=False)
    assert p.dims == ("chain", "draw", "star")
    assert ((p >= 0.0) & (p <= 1.0)).all()
    mean = p.mean(("chain", "draw"))
    is_field = easy_catalog.extra["is_field"]
    assert 3 <= is_field.sum() <= 20
    assert float(mean[~is_field].min()) > 0.9
    assert float(mean[is_field].max()) < 0.1
    # By hand, for one draw.
    draw = {name: float(few.posterior[name][0, 5]) for name in POINT}
    f = draw.pop("field_fraction")
    member = psp.reference.cluster_logp(coarse, easy_catalog, **KNOWN, **draw)
    log_field = psp.UniformField().log_density(easy_catalog, EASY_LIMITS)
    expected = (1 - f) * np.exp(member) / ((1 - f) * np.exp(member) + f * np.exp(log_field))
    assert_allclose(p[0, 5], expected, atol=1e-6)
    # Other stars: two that were fitted, under other names, and one far away.
    mag = np.vstack([easy_catalog.mag[[0, 10]], [[5.0, 25.0, 5.0]]])
    others = psp.StarCatalog(
        mag, np.full_like(mag, 0.03), bands=easy_catalog.bands, star=["a", "b", "far"]
    )
    q = psp.membership(few, model=cluster_model, catalog=others, progressbar=False)
    assert list(q.star.values) == ["a", "b", "far"]
    assert_allclose(q[..., :2], p[..., [0, 10]], atol=1e-9)
    assert float(q[..., 2].max()) < 1e-6


def test_membership_says_what_is_wrong(cluster_model, easy_catalog, nutpie_fit):
    _, idata = nutpie_fit
    with pytest.raises(ValueError, match=r"catalog has the bands .* give the same"):
        psp.membership(
            idata, cluster_model,
            psp.StarCatalog([[12.0]], [[0.1]], bands=["TESS"]),
        )  # fmt: skip
    with pytest.raises(ValueError, match="ClusterPhotometry variables are: stars"):
        psp.membership(idata, cluster_model, name="other")
    with pytest.raises(ValueError, match="idata must be an xarray"):
        psp.membership({"feh": [0.0]}, cluster_model)
    with pytest.raises(ValueError, match="the posterior has no field_fraction, which the model"):
        psp.membership(idata["posterior"].to_dataset().drop_vars("field_fraction"), cluster_model)
    with pytest.raises(ValueError, match="there is no surrounding model"):
        psp.membership(idata)
    with pm.Model() as empty:
        pm.Data("x", 1.0)
    with pytest.raises(ValueError, match="none"):
        psp.membership(idata, empty)


@pytest.mark.parametrize("name", ["av", "field"])
def test_what_belongs_to_each_star_is_not_taken_for_others(coarse, easy_catalog, name):
    values = np.linspace(0.2, 0.4, easy_catalog.n_star) - 8.0 * (name == "field")
    with pm.Model(coords=easy_catalog.coords()) as model:
        modulus = pm.Normal("distance_modulus", 9.4, 0.1)
        parameters = {"feh": 0.0, "log_age": 9.3, "av": 0.3, "field_fraction": 0.1, name: values}
        psp.ClusterPhotometry(
            "stars", coarse, distance_modulus=modulus, **parameters, observed=easy_catalog
        )
    posterior = xr.Dataset({"distance_modulus": (("chain", "draw"), [[9.4]])})
    turned = easy_catalog.select(np.arange(easy_catalog.n_star)[::-1])
    for judge in (psp.membership, psp.star_posterior):
        with pytest.raises(ValueError, match=f"whose {name} hold one value for each star"):
            judge(posterior, model, catalog=turned)


def test_find_start_climbs_to_the_optimum_and_lists_rivals():
    """Two wells whose depths are known."""
    with pm.Model() as model:
        x = pm.Uniform("x", -10.0, 10.0)
        y = pm.Normal("y", 0.0, 1.0, shape=2)
        well = pm.math.logaddexp(-0.5 * (x - 4.0) ** 2 / 0.04, -0.5 * (x + 4.0) ** 2 / 0.04 - 6.0)
        pm.Potential("wells", well - 0.5 * ((y - x) ** 2).sum())
        start = psp.find_start(8, progressbar=False)
    assert start.optima.sizes["optimum"] == 2
    assert float(start["x"]) == pytest.approx(4.0, abs=0.2)
    assert_allclose(start["y"], 0.5 * float(start["x"]), atol=1e-3)
    assert start.optima["n_start"].sum() == 8
    assert float(start.optima["below_best"][0]) == 0.0
    assert 3.0 < float(start.optima["below_best"][1]) < 9.0
    assert "below_best" in str(start)
    # The density at the start is that of the model.
    point = {"x_interval__": np.log((start["x"] + 10.0) / (10.0 - start["x"])), "y": start["y"]}
    assert float(start.optima["logp"][0]) == pytest.approx(float(model.compile_logp()(point)))


def test_find_start_finds_a_cluster(coarse, easy_catalog):
    """A second climb from elsewhere ends in the same place."""
    model = make_easy_model(coarse, easy_catalog)
    start = psp.find_start(3, model=model, progressbar=False)
    assert abs(float(start["distance_modulus"]) - EASY["distance_modulus"]) < 0.1
    assert abs(float(start["field_fraction"]) - 0.17) < 0.15
    assert set(start) == set(POINT)
    assert {*POINT, "logp", "below_best", "n_start"} <= set(start.optima.data_vars)


def test_find_start_says_what_is_wrong():
    with pm.Model():
        x = pm.Normal("x")
        pm.Potential("nowhere", pm.math.switch(x > 1e9, 0.0, -np.inf))
        with pytest.raises(ValueError, match="n_starts must be at least 1, got 0"):
            psp.find_start(0)
        with pytest.raises(ValueError, match="none of 50 starting points has a finite log density"):
            psp.find_start(2, progressbar=False)


def test_selection_and_errors_at_the_limits_stay_those_of_the_catalog(coarse, stars):
    """They are taken when the model is built, and kept."""
    with pm.Model() as model:
        psp.ClusterPhotometry("stars", coarse, observed=stars, selection=LIMITS, **TRUTH)
    logp = cluster_logp(coarse, stars, selection=LIMITS, **TRUTH)
    assert_close(density(model), logp.eval(mode="FAST_COMPILE"), "same_formula")


def test_two_catalogs_in_one_model(coarse, easy_catalog):
    """Each has dimensions of its own, and the model's density is the sum of both."""
    first, second = easy_catalog.select(np.arange(20)), easy_catalog.select(np.arange(20, 48))
    coords = first.coords(star="star_a", band="band_a") | second.coords(star="star_b")
    with pm.Model(coords=coords) as model:
        age = pm.Uniform("log_age", 8.7, 9.4)
        known = KNOWN | {"distance_modulus": 8.0, "log_age": age}
        psp.ClusterPhotometry("a", coarse, observed=first, dims=("star_a", "band_a"), **known)
        psp.ClusterPhotometry("b", coarse, observed=second, dims=("star_b", "band"), **known)
    assert model.named_vars_to_dims["a"] == ("star_a", "band_a")
    assert model.named_vars_to_dims["b"] == ("star_b", "band")
    known = KNOWN | {"distance_modulus": 8.0, "log_age": 9.03}
    expected = psp.cluster_logp(coarse, easy_catalog.select(np.arange(48)), **known).eval(**MODE)
    found = [density(model, name, log_age=9.03) for name in "ab"]
    assert_close(np.concatenate(found), expected, "kernel")


@pytest.mark.parametrize("dims", [("star",), "ab", ("star", "star"), ("star", 1), None])
def test_dimensions_that_are_not_two_names(coarse, easy_catalog, dims):
    with pm.Model(), pytest.raises(ValueError, match="dims must be the names of two dimensions"):
        psp.ClusterPhotometry(
            "stars", coarse, observed=easy_catalog, dims=dims, log_age=9.0, distance_modulus=8.0,
            **KNOWN,
        )  # fmt: skip
