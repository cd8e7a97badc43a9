"""Hess diagrams in PyMC models: density, one pass of the kernel, draws, sampling."""

import os
import subprocess
import sys
import warnings

import arviz as az
import cloudpickle
import numpy as np
import nutpie
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.special import gammaln

import pymc_starpop as psp
from plr_fixtures import AXES, LOG_AGE, MH, T_MAX_GYR, log_plr, make_galaxy
from tolerances import assert_close

MODE = {"mode": "FAST_COMPILE"}
KERNELS = (
    "PoissonLikelihoodRatio", "LikelihoodRatioValue", "BinLogLikelihood", "BinPullback",
)  # fmt: skip
MASK = np.arange(600).reshape(AXES.shape) % 7 > 0
SKY = np.full(AXES.shape, 0.02)


@pytest.fixture(scope="module")
def galaxy():
    return make_galaxy()


def make_model(galaxy, **kwargs):
    """Five masses, a linear relation and the amplitude of a background."""
    tmpl = galaxy.tmpl
    with pm.Model(coords=tmpl.coords()) as model:
        mass = pm.LogNormal("mass", np.log(galaxy.r.sum(axis=1)), 0.5, dims="log_age")
        alpha = pm.Normal("alpha", 0.1, 0.02)
        sky = pm.HalfNormal("sky", 1.0)
        mh = psp.linear_amr(tmpl.age_gyr, alpha, -1.5, T_MAX_GYR)
        r = pm.Deterministic("r", psp.metallicity_weights(mass, mh, 0.15, tmpl.mh))
        arguments = {"background": sky * SKY, "observed": galaxy.hess} | kwargs
        psp.HessDiagram("hess", tmpl, r, **arguments)
    return model


@pytest.fixture(scope="module")
def model(galaxy):
    return make_model(galaxy)


@pytest.fixture(scope="module")
def nutpie_run(model):
    """What nutpie compiled for `pm.sample`, and the result."""
    kept = []
    original = nutpie.compile_pymc_model

    def compile_and_keep(*args, **kwargs):
        kept.append(original(*args, **kwargs))
        return kept[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nutpie, "compile_pymc_model", compile_and_keep)
        idata = pm.sample(
            200, tune=300, chains=2, cores=1, model=model, nuts_sampler="nutpie", random_seed=1,
            progressbar=False,
        )  # fmt: skip
    return kept[0], idata


@pytest.fixture(scope="module")
def idata(nutpie_run):
    return nutpie_run[1]


def density(model, r, sky=0.0, name="hess"):
    """Log-probability of each bin at given coefficients."""
    rv = model[name]
    logp = pm.logp(rv, model.rvs_to_values[rv])
    return pm.compile([], logp, **MODE)()


def nodes(fgraph):
    names = [type(node.op).__name__ for node in fgraph.apply_nodes]
    return [name for name in names if name in KERNELS]


def fixed_model(galaxy, r, **kwargs):
    with pm.Model() as model:
        psp.HessDiagram("hess", galaxy.tmpl, r, **({"observed": galaxy.hess} | kwargs))
    return model


def test_density_of_each_bin_is_that_of_poisson(galaxy):
    expected = galaxy.tmpl.composite(galaxy.r).values + SKY
    model = fixed_model(galaxy, galaxy.r, background=psp.Background(SKY, fixed=True))
    each = density(model, galaxy.r)
    assert each.shape == AXES.shape
    assert_close(each, stats.poisson.logpmf(galaxy.hess.values, expected), "kernel")
    total = model.compile_logp(**MODE)({})
    assert_close(total, each.sum(), "float32")
    assert_close(total, model.compile_logp()({}), "same_formula")


def test_weighted_counts(galaxy):
    hess = 0.37 * galaxy.hess.values
    expected = galaxy.tmpl.composite(galaxy.r).values
    model = fixed_model(galaxy, galaxy.r, observed=hess)
    poisson = hess * np.log(expected) - expected - gammaln(hess + 1.0)
    assert_close(density(model, galaxy.r), poisson, "kernel")
    assert_close(model.compile_logp(**MODE)({}), poisson.sum(), "float32")


def test_masked_bins_add_nothing(galaxy):
    hess = np.where(MASK, galaxy.hess.values, np.nan)
    model = fixed_model(galaxy, galaxy.r, observed=hess, mask=MASK)
    each = density(model, galaxy.r)
    assert (each[~MASK] == 0.0).all()
    poisson = stats.poisson.logpmf(galaxy.hess.values, galaxy.tmpl.composite(galaxy.r).values)
    assert_close(each[MASK], poisson[MASK], "kernel")
    assert_close(model.compile_logp(**MODE)({}), poisson[MASK].sum(), "float32")
    assert [v.name for v in model.observed_RVs] == ["hess"]
    assert not model.free_RVs


def test_differs_from_ln_plr_by_a_constant_of_the_data(galaxy):
    differences = []
    for factor in (0.7, 1.3):
        r = factor * galaxy.r
        total = fixed_model(galaxy, r).compile_logp(**MODE)({})
        differences.append(total - psp.hess_logp(galaxy.tmpl, r, galaxy.hess).eval(**MODE))
    assert_close(differences[0], differences[1], "kernel")
    n = galaxy.hess.values
    assert_close(differences[0], stats.poisson.logpmf(n, n).sum(), "float32")


def test_one_pass_for_density_and_gradient(model):
    function = model.logp_dlogp_function(ravel_inputs=True, **MODE)
    assert nodes(function._pytensor_function.maker.fgraph) == ["PoissonLikelihoodRatio"]
    value = model.compile_logp(**MODE)
    assert nodes(value.f.maker.fgraph) == ["LikelihoodRatioValue"]
    # Without the rewrites that PyMC makes before it takes gradients.
    total = model.logp()
    gradient = pytensor.function(
        model.value_vars, [total, *pt.grad(total, model.value_vars)], **MODE
    )
    assert nodes(gradient.maker.fgraph) == ["PoissonLikelihoodRatio"]


def test_no_background_costs_nothing(galaxy):
    """Bins without stars do not even appear in the compiled density."""
    model = fixed_model(galaxy, pytensor.shared(galaxy.r))
    graph = model.compile_logp(**MODE).f.maker.fgraph
    sizes = [v.type.shape for v in graph.variables if getattr(v.type, "ndim", 0)]
    assert nodes(graph) == ["LikelihoodRatioValue"]
    assert not any(galaxy.hess.size in shape for shape in sizes)


def test_windows_reach_the_op_of_the_model(model):
    function = model.logp_dlogp_function(ravel_inputs=True, **MODE)
    graph = function._pytensor_function.maker.fgraph
    (op,) = [n.op for n in graph.apply_nodes if type(n.op).__name__ == "PoissonLikelihoodRatio"]
    assert op.windowed


def test_one_pass_in_nutpie(nutpie_run, galaxy):
    """In the density that nutpie compiled, and none of the templates of all bins with it."""
    compiled, _ = nutpie_run
    assert nodes(compiled.logp_func.maker.fgraph) == ["PoissonLikelihoodRatio"]
    shapes = {array.shape for array in compiled.shared_data.values()}
    assert galaxy.shape in shapes
    assert (galaxy.r.size, galaxy.hess.size) not in shapes


def test_gradient_is_that_of_the_bins(model):
    """The fast path against the sum of bins weighted by numbers that the graph does not know."""
    point = model.initial_point()
    ones = pytensor.shared(np.ones(AXES.shape))
    (each,) = model.logp(vars=[model["hess"]], sum=False)
    totals = [pt.sum(each), pt.sum(each * ones)]
    gradients = [pt.concatenate([g.ravel() for g in pt.grad(t, model.value_vars)]) for t in totals]
    function = pytensor.function(
        model.value_vars, [*totals, *gradients], on_unused_input="ignore", **MODE
    )
    assert sorted(nodes(function.maker.fgraph)) == [
        "BinLogLikelihood", "BinPullback", "PoissonLikelihoodRatio",
    ]  # fmt: skip
    fast, slow, fast_gradient, slow_gradient = function(*[point[v.name] for v in model.value_vars])
    assert_close(fast, slow, "float32")
    scale = np.abs(slow_gradient).max()
    assert_close(fast_gradient / scale, slow_gradient / scale, "float32")


def test_dimensions(galaxy, model):
    assert model.named_vars_to_dims["hess"] == ("mag", "color")
    bare = fixed_model(galaxy, galaxy.r)
    assert bare.named_vars_to_dims["hess"] == ("mag", "color")
    assert_array_equal(bare.coords["mag"], AXES.coords()["mag"])
    with pm.Model(coords={"mag": ["g", "r"], "hess_color": range(20)}) as other:
        psp.HessDiagram("hess", galaxy.tmpl, galaxy.r, observed=galaxy.hess)
    assert other.named_vars_to_dims["hess"] == ("hess_mag", "color")
    with pm.Model(coords={"mag": ["g"], "hess_mag": ["r"]}), pytest.raises(ValueError, match="mag"):
        psp.HessDiagram("hess", galaxy.tmpl, galaxy.r, observed=galaxy.hess)


def test_two_diagrams_of_one_galaxy(galaxy):
    """Other bins; both add to the density and neither is taken for the other."""
    axes = psp.HessAxes(("V", "I"), "I", AXES.color_edges[:11], AXES.mag_edges)
    other = make_galaxy(axes=axes, seed=5)
    with pm.Model() as model:
        factor = pm.LogNormal("factor", 0.0, 1.0)
        r = factor * galaxy.r
        psp.HessDiagram("first", galaxy.tmpl, r, observed=galaxy.hess)
        psp.HessDiagram("second", other.tmpl, r, observed=other.hess)
    assert model.named_vars_to_dims["second"] == ("mag", "second_color")
    function = model.logp_dlogp_function(ravel_inputs=True, **MODE)
    assert nodes(function._pytensor_function.maker.fgraph) == ["PoissonLikelihoodRatio"] * 2
    got = model.compile_logp(vars=[model["first"], model["second"]], **MODE)(
        {"factor_log__": np.log(1.2)}
    )
    poisson = [
        stats.poisson.logpmf(g.hess.values, g.tmpl.composite(1.2 * galaxy.r).values).sum()
        for g in (galaxy, other)
    ]
    assert_close(got, sum(poisson), "float32")


def test_other_data_of_the_same_templates(galaxy):
    """A joint model of two fields with one set of templates."""
    with pm.Model() as model:
        psp.HessDiagram("a", galaxy.tmpl, galaxy.r, observed=galaxy.hess)
        psp.HessDiagram("b", galaxy.tmpl, galaxy.r, observed=galaxy.hess + 1.0)
    got = model.compile_logp(**MODE)({})
    m = galaxy.tmpl.composite(galaxy.r).values
    n = galaxy.hess.values
    expected = stats.poisson.logpmf(n, m).sum() + stats.poisson.logpmf(n + 1, m).sum()
    assert_close(got, expected, "float32")


def test_counts_that_become_known_later(galaxy):
    """Observing a draw, and counts that are themselves a variable."""
    with pm.Model() as model:
        psp.HessDiagram("hess", galaxy.tmpl, galaxy.r, background=pt.as_tensor(SKY), mask=MASK)
    (drawn,) = pm.draw([model["hess"]], random_seed=2, **MODE)
    expected = stats.poisson.logpmf(drawn, galaxy.tmpl.composite(galaxy.r).values + SKY)
    observed = pm.observe(model, {"hess": drawn})
    assert_close(observed.compile_logp(**MODE)({}), expected[MASK].sum(), "float32")
    counts = pt.dmatrix("counts")
    symbolic = pytensor.function([counts], pm.logp(model["hess"], counts), **MODE)
    assert_close(symbolic(drawn), np.where(MASK, expected, 0.0), "kernel")
    assert (symbolic(-drawn - 1.0)[MASK] == -np.inf).all()


def test_shared_data_can_be_set(galaxy):
    with pm.Model() as model:
        data = pm.Data("data", galaxy.hess.values)
        rv = psp.HessDiagram.dist(galaxy.tmpl, galaxy.r)
        pm.Potential("density", pm.logp(rv, data).sum())
    m = galaxy.tmpl.composite(galaxy.r).values
    for hess in (galaxy.hess.values, galaxy.hess.values + 2.0):
        with model:
            pm.set_data({"data": hess})
        got = model.compile_logp(**MODE)({})
        assert_close(got, stats.poisson.logpmf(hess, m).sum(), "kernel")


def test_draws_are_poisson(galaxy):
    rv = psp.HessDiagram.dist(galaxy.tmpl, galaxy.r, background=SKY)
    drawn = pm.draw(rv, draws=400, random_seed=3, **MODE)
    assert drawn.shape == (400, *AXES.shape)
    expected = galaxy.tmpl.composite(galaxy.r).values + SKY
    assert_array_equal(drawn, np.round(drawn))
    pull = (drawn.mean(axis=0) - expected) / np.sqrt(expected / 400)
    assert_allclose(pull.std(), 1.0, atol=0.15)
    many = expected > 5
    assert_allclose((drawn.var(axis=0) / expected)[many].mean(), 1.0, atol=0.05)


def test_draws_outside_the_support_are_not_numbers(galaxy):
    r = pytensor.shared(-galaxy.r)
    rv = psp.HessDiagram.dist(galaxy.tmpl, r)
    assert np.isnan(pm.draw(rv, random_seed=1, **MODE)).all()


def test_sampling_with_nutpie(idata, galaxy):
    assert idata.posterior.sizes["draw"] == 200
    assert int(idata.sample_stats["diverging"].sum()) == 0
    total = idata.posterior["mass"].sum("log_age")
    z = (float(total.mean()) - galaxy.r.sum()) / float(total.std())
    assert abs(z) < 4.0


def test_sampling_with_pymc(model):
    idata = pm.sample(
        10, tune=10, chains=1, cores=1, model=model, nuts_sampler="pymc", random_seed=1,
        progressbar=False, compute_convergence_checks=False, compile_kwargs=MODE,
    )  # fmt: skip
    assert np.isfinite(idata.sample_stats["lp"]).all()
    assert float(idata.posterior["alpha"].std()) > 0.0


def test_log_likelihood_of_each_bin_and_leave_one_out(model, idata, galaxy):
    with model:
        pm.compute_log_likelihood(idata, progressbar=False, compile_kwargs=MODE)
    each = idata.log_likelihood["hess"]
    assert each.dims == ("chain", "draw", "mag", "color")
    at = {"chain": 0, "draw": 7}
    draw = idata.posterior.isel(at)
    expected = galaxy.tmpl.composite(draw["r"].values) + float(draw["sky"]) * SKY
    poisson = stats.poisson.logpmf(galaxy.hess.values, expected.values)
    assert_close(each.isel(at), poisson, "kernel")
    loo = az.loo(idata, var_name="hess")
    assert np.isfinite(loo.elpd)
    assert 1.0 < loo.p < 20.0


def test_leave_one_out_with_masked_bins(galaxy):
    """Bins without information are dropped by name; the others keep their values."""
    masked = make_model(galaxy, mask=MASK)
    with masked:
        prior = pm.sample_prior_predictive(50, random_seed=1, compile_kwargs=MODE)
        idata = xr.DataTree.from_dict({"posterior": prior.prior.to_dataset()})
        pm.compute_log_likelihood(idata, progressbar=False, compile_kwargs=MODE)
    with pytest.raises(ValueError, match="All tail values are the same"):
        az.loo(idata, var_name="hess")
    kept = psp.drop_constant_bins(idata)
    each = kept["log_likelihood"]["hess"]
    assert each.dims == ("chain", "draw", "hess_bin")
    assert_array_equal(each[0], idata["log_likelihood"]["hess"].values[0][:, MASK])
    assert idata["log_likelihood"]["hess"].dims == ("chain", "draw", "mag", "color")
    assert kept["posterior"].equals(idata["posterior"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # draws from the prior predict poorly
        assert np.isfinite(az.loo(kept, var_name="hess").elpd)
    with pytest.raises(ValueError, match="no log-likelihood of 'other', there are"):
        psp.drop_constant_bins(idata, "other")


def test_predictive_draws(model, idata, galaxy):
    with model:
        prior = pm.sample_prior_predictive(5, random_seed=1, compile_kwargs=MODE)
        posterior = pm.sample_posterior_predictive(
            idata.isel(draw=slice(0, 20)), random_seed=1, progressbar=False, compile_kwargs=MODE
        )
    drawn = posterior.posterior_predictive["hess"]
    assert prior.prior_predictive["hess"].dims == drawn.dims == ("chain", "draw", "mag", "color")
    stars = float(galaxy.hess.sum())
    assert abs(float(drawn.sum(("mag", "color")).mean()) - stars) < 4 * np.sqrt(stars)


def test_a_model_opens_in_a_new_process(tmp_path, model):
    path = tmp_path / "model.pkl"
    path.write_bytes(cloudpickle.dumps(model))
    program = (
        "import cloudpickle\n"
        f"model = cloudpickle.loads(open({str(path)!r}, 'rb').read())\n"
        "value = model.compile_logp(mode='FAST_COMPILE')(model.initial_point())\n"
        "print(repr(float(value)))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    here = model.compile_logp(**MODE)(model.initial_point())
    assert float(out.stdout.split()[-1]) == pytest.approx(float(here), rel=1e-12)


def test_hessian_of_the_density(galaxy):
    """The matrix of second derivatives that Laplace fits use, against that of ln PLR by hand."""
    with pm.Model() as model:
        x = pm.Flat("x", shape=2)
        psp.HessDiagram("hess", galaxy.tmpl, pt.exp(x[0]) * galaxy.r, observed=galaxy.hess,
                        background=pt.exp(x[1]) * SKY)  # fmt: skip
    hessian = model.compile_d2logp(negate_output=False, **MODE)({"x": np.array([0.1, -0.2])})

    def slow(a, b):
        return log_plr(galaxy.tmpl, np.exp(a) * galaxy.r, galaxy.hess, np.exp(b) * SKY)

    h = 1e-3
    ends = {(i, j): slow(0.1 + i * h, -0.2 + j * h) for i in (-1, 0, 1) for j in (-1, 0, 1)}
    of_mass = (ends[1, 0] - 2 * ends[0, 0] + ends[-1, 0]) / h**2
    of_sky = (ends[0, 1] - 2 * ends[0, 0] + ends[0, -1]) / h**2
    mixed = (ends[1, 1] - ends[1, -1] - ends[-1, 1] + ends[-1, -1]) / (4 * h**2)
    assert_allclose(hessian, [[of_mass, mixed], [mixed, of_sky]], rtol=1e-4)


def test_stars_where_none_are_expected_are_named(galaxy):
    counts = galaxy.tmpl.counts.copy()
    counts[..., 0, 0] = 0.0
    tmpl = psp.TemplateSet.from_arrays(counts, AXES, LOG_AGE, MH)
    hess = galaxy.hess.values.copy()
    hess[0, 0] = 1.0
    with pm.Model(), pytest.warns(UserWarning, match="1 bin holds stars") as record:
        psp.HessDiagram("hess", tmpl, pm.Flat("r", shape=galaxy.shape), observed=hess)
    assert record[0].filename == __file__


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tmpl": 3}, "TemplateSet"),
        ({"r": np.ones((2, 2))}, r"r: expected shape \(N_age, N_mh\)"),
        ({"observed": np.ones((2, 2))}, "hess: expected shape"),
        ({"mask": np.ones(AXES.shape)}, "mask: expected booleans"),
        ({"background": -1.0}, "background: expected counts must be finite"),
    ],
)
def test_refusals(galaxy, change, message):
    given = {"tmpl": galaxy.tmpl, "r": galaxy.r, "observed": galaxy.hess} | change
    with pm.Model(), pytest.raises(ValueError, match=message):
        psp.HessDiagram("hess", **given)
