"""A variable with the stars of two clusters: draws, and what comes after the fit."""

import pickle

import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pymc_starpop as psp
from tolerances import assert_close

BANDS = {"near": ("Gaia_G_EDR3", "2MASS_J"), "far": ("2MASS_Ks", "Gaia_G_EDR3")}
LIMITS = {
    "near": psp.MagnitudeLimits("Gaia_G_EDR3", 9.0, 18.0, error=0.02),
    "far": psp.MagnitudeLimits("Gaia_G_EDR3", 8.0, 19.5, error=0.03),
}
TRUTH = {
    "near": {"log_age": 9.3, "distance_modulus": 8.0},
    "far": {"log_age": 8.9, "distance_modulus": 9.5},
}
SHARED = {"feh": 0.0, "intrinsic_scatter": 0.02, "field_fraction": 0.1}


@pytest.fixture(scope="module")
def cats(coarse):
    return psp.StarCatalog.stack({
        name: psp.simulate_cluster(
            coarse, n_star=n, bands=BANDS[name], mag_err=0.02, rng=n, feh=0.0,
            selection=LIMITS[name], **TRUTH[name],
        )
        for name, n in (("near", 12), ("far", 15))
    })  # fmt: skip


def priors(coords):
    with pm.Model(coords=coords) as model:
        log_age = pm.Normal("log_age", 9.1, 0.02, dims="cluster")
        modulus = pm.Normal("distance_modulus", [8.0, 9.5], 0.1, dims="cluster")
    return model, log_age, modulus


@pytest.fixture(scope="module")
def model(coarse, cats):
    model, log_age, modulus = priors(cats.coords())
    with model:
        psp.ClusterPhotometry(
            "stars", coarse, log_age=log_age, distance_modulus=modulus, selection=LIMITS,
            observed=cats, **SHARED,
        )  # fmt: skip
    return model


@pytest.fixture(scope="module")
def single(coarse, cats):
    """The same two clusters as two variables."""
    model, log_age, modulus = priors(cats.coords())
    with model:
        for place, name in enumerate(cats):
            psp.ClusterPhotometry(
                name, coarse, log_age=log_age[place], distance_modulus=modulus[place],
                selection=LIMITS[name], observed=cats[name], dims=(f"star_{name}", f"band_{name}"),
                **SHARED,
            )  # fmt: skip
    return model


@pytest.fixture(scope="module")
def posterior():
    rng = np.random.default_rng(3)
    center = {"log_age": [9.3, 8.9], "distance_modulus": [8.0, 9.5]}
    dims = ("chain", "draw", "cluster")
    return xr.Dataset(
        {name: (dims, at + 0.01 * rng.normal(size=(2, 3, 2))) for name, at in center.items()}
    )


def test_it_is_the_sum_of_two_variables(model, single):
    assert model.named_vars_to_dims["stars"] == ("star", "band")
    point = {"log_age": np.array([9.31, 8.92]), "distance_modulus": np.array([8.02, 9.47])}
    found = [
        m.compile_logp(mode="FAST_COMPILE")(point)
        - m.compile_logp(vars=m.free_RVs, mode="FAST_COMPILE")(point)
        for m in (model, single)
    ]
    assert_close(*found, "stacked")


def test_the_log_likelihood_is_one_number_a_star(model, posterior):
    found = pm.compute_log_likelihood(
        xr.DataTree.from_dict({"posterior": posterior}), model=model, extend_inferencedata=False,
        progressbar=False,
    )  # fmt: skip
    assert found["stars"].dims == ("chain", "draw", "star")
    assert found["stars"].shape == (2, 3, 27)
    assert np.isfinite(found["stars"]).all()


def test_draws_have_the_bands_of_their_cluster(model, cats):
    drawn = pm.draw(model["stars"], 3, random_seed=1)
    assert drawn.shape == (3, 27, 3)
    np.testing.assert_array_equal(np.isfinite(drawn), np.broadcast_to(cats.measured, drawn.shape))
    # Within the limits, and of the right cluster: the far one is fainter.
    g = drawn[:, :, 0]
    assert ((g > 8.0 - 0.2) & (g < 19.5 + 0.2)).all()


def test_it_is_sampled(model, cats):
    idata = pm.sample(
        20, tune=20, chains=1, model=model, nuts_sampler="pymc", init="adapt_diag", random_seed=1,
        progressbar=False, compute_convergence_checks=False,
        compile_kwargs={"mode": "FAST_COMPILE"},
    )  # fmt: skip
    drawn = idata["posterior"]["distance_modulus"]
    assert drawn["cluster"].to_numpy().tolist() == ["near", "far"]
    # Far below the widths of the priors: the stars say where the clusters are.
    assert np.abs(drawn.isel(draw=slice(10, None)).mean(("chain", "draw")) - [8.0, 9.5]).max() < 0.1
    members = psp.membership(idata, model, progressbar=False)
    assert members["star"].to_numpy().tolist() == cats.star.tolist()


def test_it_can_be_pickled(model):
    import cloudpickle

    again = pickle.loads(cloudpickle.dumps(model))
    point = model.initial_point()
    assert again.compile_logp(mode="FAST_COMPILE")(point) == model.compile_logp(
        mode="FAST_COMPILE"
    )(point)


def test_membership_is_that_of_the_clusters(model, single, cats, posterior):
    found = psp.membership(posterior, model, progressbar=False)
    assert found.dims == ("chain", "draw", "star")
    assert found["star"].to_numpy().tolist() == cats.star.tolist()
    assert found["cluster"].to_numpy().tolist() == ["near"] * 12 + ["far"] * 15
    for name in cats:
        own = psp.membership(posterior, single, name=name, progressbar=False)
        chosen = psp.membership(posterior, model, cluster=name, progressbar=False)
        assert own["star"].to_numpy().tolist() == cats[name].star.tolist()
        assert_close(chosen, own, "stacked")
        assert_close(found.sel(star=cats[name].star), own, "stacked")


def test_stars_masses_counts_and_predictions(model, cats, posterior):
    stars = psp.star_posterior(posterior, model, random_seed=1, progressbar=False)
    assert dict(stars.sizes) == {"chain": 2, "draw": 3, "star": 27}
    table = psp.summarize_stars(stars)
    assert table["cluster"].to_numpy().tolist() == ["near"] * 12 + ["far"] * 15
    mass = psp.cluster_mass(posterior, model, random_seed=1, progressbar=False)
    assert mass["mass"].dims == ("chain", "draw", "cluster")
    assert mass["cluster"].to_numpy().tolist() == ["near", "far"]
    # The members of the catalogs are those of the clusters' own memberships.
    assert (mass["n_member"].max(("chain", "draw")) <= [12, 15]).all()
    counts = psp.luminosity_function(
        posterior, "Gaia_G_EDR3", np.arange(8.0, 20.0), model, progressbar=False
    )
    assert counts["observed"].sizes["cluster"] == 2
    assert (counts["observed"].sum("bin") <= [12.0, 15.0]).all()
    systems = psp.predict_cmd(posterior, model=model, random_seed=1, progressbar=False)
    assert systems["band"].to_numpy().tolist() == ["Gaia_G_EDR3", "2MASS_J", "2MASS_Ks"]
    near, far = systems["mag"].sel(cluster="near"), systems["mag"].sel(cluster="far")
    assert np.isnan(near.sel(band="2MASS_Ks")).all()
    assert np.isnan(far.sel(band="2MASS_J")).all()
    assert np.isfinite(near.isel(system=slice(12)).sel(band="2MASS_J")).all()
    assert np.isnan(near.isel(system=slice(12, None))).all()


def test_one_cluster_can_be_chosen(model, posterior):
    mass = psp.cluster_mass(posterior, model, cluster="far", random_seed=1, progressbar=False)
    assert mass["mass"].sel(cluster="far").shape == (2, 3)
    with pytest.raises(
        ValueError, match=r"cluster='m67' is none of the clusters of 'stars': near, far"
    ):
        psp.cluster_mass(posterior, model, cluster="m67", progressbar=False)


def test_a_variable_of_one_cluster_has_no_name(single, posterior):
    with pytest.raises(ValueError, match=r"'near' has the stars of one cluster, without a name"):
        psp.membership(posterior, single, name="near", cluster="near", progressbar=False)


def test_other_stars_are_those_of_one_cluster(model, cats, posterior):
    few = cats["near"].select([2, 5])
    found = psp.membership(posterior, model, few, cluster="near", progressbar=False)
    whole = psp.membership(posterior, model, cluster="near", progressbar=False)
    assert_close(found, whole.isel(star=[2, 5]), "stacked")
    with pytest.raises(ValueError, match=r"but no cluster= says of which; give cluster= one"):
        psp.membership(posterior, model, few, progressbar=False)


def test_other_stars_of_a_stack(model, cats, posterior):
    with pytest.raises(
        ValueError, match=r"but no cluster= says of which; give cluster= one of near"
    ):
        psp.membership(posterior, model, catalog=cats["near"], progressbar=False)
    with pytest.raises(
        ValueError, match=r"must be a StarCatalog with stars of one cluster, got Sta"
    ):
        psp.membership(posterior, model, cluster="near", catalog=cats, progressbar=False)
    with pytest.raises(ValueError, match=r"none of those of the cluster 'near': .* with cluster="):
        psp.luminosity_function(posterior, "2MASS_Ks", [8.0, 9.0], model, progressbar=False)


def test_the_variable_has_a_short_name(model):
    """PyTensor's warnings show that of the Op."""
    assert str(model["stars"].owner.op) == "ClusterPhotometryRV"
