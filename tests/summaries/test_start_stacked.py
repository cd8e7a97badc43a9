"""Starting values of three simulated clusters in one model."""

import numpy as np
import pymc as pm
import pytest
from numpy.testing import assert_allclose

import pymc_starpop as psp
from pymc_starpop.summaries.blocks import find_blocks
from pymc_starpop.summaries.log_density import Coordinates

pytestmark = pytest.mark.filterwarnings("ignore:Found chain dimension to be longer")

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3")
LIMITS = psp.MagnitudeLimits("Gaia_G_EDR3", 8.0, 18.0, error=0.02)
TRUTH = {
    "feh": np.array([0.08, 0.15, -0.05]),
    "log_age": np.array([9.50, 9.05, 9.15]),
    "distance_modulus": np.array([9.6, 8.8, 9.1]),
}
SCATTER = 0.02


@pytest.fixture(scope="module")
def cats(coarse):
    return psp.StarCatalog.stack({
        f"c{k}": psp.simulate_cluster(
            coarse, n_star=40, bands=BANDS, mag_err=0.02, rng=k, selection=LIMITS,
            intrinsic_scatter=SCATTER, **{name: float(v[k]) for name, v in TRUTH.items()},
        )
        for k in range(3)
    })  # fmt: skip


def build(iso, cats, *, centred):
    with pm.Model(coords=cats.coords()) as model:
        mean, scatter = pm.Normal("feh_mean", 0.0, 0.2), pm.HalfNormal("feh_scatter", 0.2)
        if centred:
            feh = pm.TruncatedNormal("feh", mean, scatter, lower=-0.6, upper=0.5, dims="cluster")
        else:
            raw = pm.Normal("raw", 0.0, 1.0, dims="cluster")
            feh = pm.Deterministic("feh", pm.math.clip(mean + scatter * raw, -0.6, 0.5))
        psp.ClusterPhotometry(
            "stars", iso, feh=feh, log_age=pm.Uniform("log_age", 8.7, 9.9, dims="cluster"),
            distance_modulus=pm.Normal(
                "distance_modulus", TRUTH["distance_modulus"], 0.03, dims="cluster"
            ),
            intrinsic_scatter=pm.HalfNormal("intrinsic_scatter", 0.05), field_fraction=0.01,
            selection=LIMITS, observed=cats,
        )  # fmt: skip
    return model


@pytest.fixture(scope="module", params=[True, False], ids=["centred", "not centred"])
def fitted(request, coarse, cats):
    model = build(coarse, cats, centred=request.param)
    return model, psp.find_start(3, model=model, progressbar=False)


def test_starts_are_near_the_truth(fitted):
    model, start = fitted
    assert set(start) == {rv.name for rv in model.free_RVs}
    feh = start.get("feh", start["feh_mean"] + start["feh_scatter"] * start.get("raw", 0.0))
    assert_allclose(feh, TRUTH["feh"], atol=0.15)
    assert_allclose(start["log_age"], TRUTH["log_age"], atol=0.15)
    assert_allclose(start["distance_modulus"], TRUTH["distance_modulus"], atol=0.06)
    assert float(start["intrinsic_scatter"]) == pytest.approx(SCATTER, abs=0.01)
    # The scatter of three clusters is known to a factor; the joint density would make it 0.
    assert 0.01 < float(start["feh_scatter"]) < 0.4


def test_what_clusters_share_has_a_gaussian(fitted):
    _, start = fitted
    shared = start.shared
    names = ["feh_mean", "feh_scatter_log__", "intrinsic_scatter_log__"]
    assert shared["parameter"].values.tolist() == names
    sd = np.sqrt(np.diag(shared["covariance"]))
    truth = [TRUTH["feh"].mean(), np.log(TRUTH["feh"].std()), np.log(SCATTER)]
    assert (np.abs((shared["mean"] - truth) / sd) < 3.0).all()
    assert 0.02 < sd[0] < 0.2
    assert 0.03 < sd[2] < 0.3  # of 120 stars in three bands


def test_the_table_has_the_optima_of_each_cluster(fitted, cats):
    _, start = fitted
    table = start.optima.to_dataframe()
    assert list(dict.fromkeys(table["cluster"])) == list(cats)
    assert_allclose(table.groupby("cluster")["weight"].sum(), 1.0)
    best = table.groupby("cluster").first()
    assert_allclose(best["log_age"], start["log_age"])
    assert "c2" in str(start)


@pytest.mark.parametrize("fitted", [pytest.param(True, id="centred")], indirect=True)
def test_chains_begin_at_the_start(fitted):
    model, start = fitted
    first = pm.sample(
        1, tune=0, cores=1, model=model, random_seed=5,
        progressbar=False, quiet=True, compute_convergence_checks=False,
        **start.sample_kwargs("pymc", chains=2, rivals=False, model=model, step_scale=1e-15),
    )["posterior"].isel(draw=0)  # fmt: skip
    for name, value in start.items():
        assert_allclose(first[name], np.broadcast_to(value, (2, *np.shape(value))), rtol=1e-9)


@pytest.mark.parametrize("fitted", [pytest.param(True, id="centred")], indirect=True)
def test_pymc_samples_in_units_of_the_posterior(fitted):
    """Second derivatives of the log density, in units of the mass matrix, are near minus one."""
    model, start = fitted
    options = start.sample_kwargs("pymc", model=model, target_accept=0.9)
    assert set(options) == {"chains", "nuts_sampler", "initvals", "step"}
    step = options["step"]
    assert step.target_accept == 0.9
    density = model.logp_dlogp_function(ravel_inputs=True)
    density.set_extra_values({})
    point = pm.initial_point.make_initial_point_fn(
        model=model, overrides=dict(start), jitter_rvs=set(), return_transformed=True
    )(0)
    center = np.concatenate([np.ravel(point[value.name]) for value in model.value_vars])
    covariance = np.transpose([step.potential.velocity(column) for column in np.eye(center.size)])
    factor = np.linalg.cholesky(covariance)
    rows = [
        factor.T @ (density(center - move)[1] - density(center + move)[1]) / 2.0
        for move in factor.T
    ]
    curvatures = np.linalg.eigvalsh(0.5 * (np.array(rows) + np.transpose(rows)))
    assert center.size == 12
    assert 0.7 < np.median(curvatures) < 1.4
    assert curvatures.max() < 5.0


def test_nutpie_adapts_a_mass_matrix_of_low_rank(fitted):
    _, start = fitted
    assert start.sample_kwargs(target_accept=0.9)["nuts"] == {
        "adaptation": "low_rank", "target_accept": 0.9,
    }  # fmt: skip
    assert start.sample_kwargs(adaptation="draw")["nuts"] == {"adaptation": "draw"}


def test_variables_of_stars_belong_to_their_clusters(cats):
    with pm.Model(coords=cats.coords()) as model:
        pm.Normal("shared", 0.0, 1.0)
        pm.Normal("own", 0.0, 1.0, dims=("band", "cluster"))
        av = pm.HalfNormal("av", 0.3, dims="star")
        psp.ClusterPhotometry(
            "stars", psp.load_isochrones(), av=av, feh=0.0, log_age=9.0, distance_modulus=9.0,
            observed=cats,
        )  # fmt: skip
    point = model.initial_point()
    blocks = find_blocks(model, Coordinates(model, point))
    assert blocks.names == ("c0", "c1", "c2")
    assert blocks.shared.tolist() == [0]
    n = [3 + cats[name].n_star for name in cats]
    assert [own.size for own in blocks.members] == n
    assert blocks.members[1][:4].tolist() == [2, 5, 8, 10 + n[0] - 3]
