"""Backgrounds of Hess diagrams in PyMC models: amplitudes, priors, sampling, summaries."""

import arviz as az
import cloudpickle
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import stats

import pymc_starpop as psp
from sfh_fixtures import galaxy, toy_templates
from tolerances import assert_close

LINEAR = (psp.LinearAMR(), [0.1, -1.8])
MODE = {"mode": "FAST_COMPILE"}
UNIFORM, RIDGE = 0.3, 800.0


@pytest.fixture(scope="module")
def tmpl():
    return toy_templates(5)


def ridge(tmpl):
    """A foreground (N_mag, N_color): a vertical sequence of 1,000 stars."""
    centers = tmpl.axes.coords()
    shape = np.exp(-0.5 * ((centers["color"] - 1.6) / 0.3) ** 2) * np.ones(tmpl.axes.shape)
    return tmpl.axes.wrap(1000.0 * shape / shape.sum())


def alone(tmpl, seed=1):
    return galaxy(tmpl, *LINEAR, total=1e6, seed=seed)[2]


@pytest.fixture(scope="module")
def hess(tmpl):
    expected = UNIFORM + RIDGE / 1000.0 * ridge(tmpl).values
    return alone(tmpl) + np.random.default_rng(3).poisson(expected)


@pytest.fixture(scope="module")
def fit(tmpl, hess):
    return psp.fit_sfh(tmpl, hess, background={"uniform": 1e-3, "ridge": ridge(tmpl)})


def make_model(tmpl, fit, hess):
    with pm.Model(coords=tmpl.coords()) as model:
        sfh = psp.StarFormationHistory("sfh", fit)
        psp.HessDiagram("hess", tmpl, sfh.weights, background=sfh.background, observed=hess)
    return model


@pytest.fixture(scope="module")
def model(tmpl, fit, hess):
    return make_model(tmpl, fit, hess)


@pytest.fixture(scope="module")
def idata(model):
    return pm.sample(
        400, tune=300, chains=2, cores=1, model=model, nuts_sampler="nutpie", random_seed=5,
        progressbar=False,
    )  # fmt: skip


def test_amplitudes_of_the_fit_are_part_of_the_history(model, fit, tmpl, hess):
    """One random vector; its last two elements are ln amplitudes with the priors of the fit."""
    assert [v.name for v in model.free_RVs] == ["sfh"]
    point = model.initial_point()
    names = ["background_stars", "background_amplitude", "sfh"]
    stars, amplitude, u = pm.compile(model.value_vars, model.replace_rvs_by_values(
        [model[n] for n in names]), **MODE)(**point)  # fmt: skip
    assert_close(np.exp(u[-2:]), amplitude, "same_formula")
    assert_close(stars, amplitude * [1e-3 * hess.size, 1000.0], "same_formula")
    for name, n in zip(("uniform", "ridge"), stars, strict=True):
        assert abs(n - fit.background_stars[name]) < fit.errors["background_stars"][name]
    mean, covariance = (i.eval() for i in model["sfh"].owner.inputs[2:])
    assert_close(mean[-2:], [0.0, 0.0], "same_formula")
    assert_close(np.sqrt(np.diag(covariance)[-2:]), [np.log(100.0), 1.0], "kernel")


def test_density_is_that_of_the_sum(model, tmpl, hess):
    point = model.initial_point()
    weights, background = pm.compile(
        model.value_vars, model.replace_rvs_by_values(model["hess"].owner.inputs[-2:]), **MODE
    )(**point)
    expected = tmpl.composite(weights).values + background
    total = model.compile_logp(vars=[model["hess"]], **MODE)(point)
    assert_close(total, stats.poisson.logpmf(hess.values, expected).sum(), "float32")


def test_sampling_recovers_amplitudes_and_history(idata, tmpl):
    assert int(idata.sample_stats["diverging"].sum()) == 0
    rhat = az.rhat(idata, var_names=["background_stars", "mass_formed", "alpha"])
    assert max(float(v.max()) for v in rhat.dataset.data_vars.values()) < 1.03
    draws = psp.sfh_draws(idata, tmpl)
    assert list(draws["background"].values) == ["uniform", "ridge"]
    true = {"uniform": UNIFORM * 1200, "ridge": RIDGE}
    for name, n in true.items():
        found = draws["background_stars"].sel(background=name)
        assert abs(float(found.mean()) - n) < 3.0 * float(found.std())
        assert float(found.std()) > np.sqrt(n)
    ratio = draws["background_amplitude"].sel(background="ridge") * 1000.0
    assert_close(ratio, draws["background_stars"].sel(background="ridge"), "same_formula")
    total = draws["total_mass"]
    assert abs(float(total.mean()) - 1e6) < 3.0 * float(total.std())
    summary = psp.summarize_sfh(idata, tmpl)
    assert summary["background_stars"].dims == ("quantile", "background")


def test_summary_of_a_fit_names_them(fit, tmpl):
    summary = psp.summarize_sfh(fit, tmpl, rng=1)
    median = summary["background_stars"].sel(quantile=0.5, background="ridge")
    assert abs(float(median) - RIDGE) < 3.0 * fit.errors["background_stars"]["ridge"]


def test_predictive_draws_hold_the_background(model, idata, hess):
    with model:
        drawn = pm.sample_posterior_predictive(
            idata.isel(draw=slice(0, 20)), random_seed=1, progressbar=False, compile_kwargs=MODE
        )
        prior = pm.sample_prior_predictive(20, random_seed=1, compile_kwargs=MODE)
    total = drawn.posterior_predictive["hess"].sum(("mag", "color"))
    assert abs(float(total.mean()) - hess.sum()) < 5.0 * np.sqrt(hess.sum())
    stars = prior.prior["background_stars"]
    assert np.isfinite(stars).all()
    assert float(np.log(stars.sel(background="uniform")).std()) > 2.0


def test_the_model_can_be_pickled(model):
    again = cloudpickle.loads(cloudpickle.dumps(model))
    point = model.initial_point()
    assert again.compile_logp(**MODE)(point) == model.compile_logp(**MODE)(point)


def test_the_diagram_makes_amplitudes_of_its_own(tmpl, hess):
    """Log-normal, named after diagram and background, beginning near what the stars say."""
    known = psp.Background(np.full(tmpl.axes.shape, 0.05), fixed=True)
    weights = galaxy(tmpl, *LINEAR, total=1e6)[1]
    others = {"uniform": 10.0, "ridge": psp.Background(ridge(tmpl), 2.0, 0.5), "known": known}
    with pm.Model(coords=tmpl.coords()) as model:
        psp.HessDiagram("hess", tmpl, weights, background=others, observed=hess)
    assert [v.name for v in model.free_RVs] == ["hess_uniform", "hess_ridge"]
    assert list(model.coords["hess_background_name"]) == ["hess_uniform", "hess_ridge"]
    start = model.initial_point()
    uniform, foreground = np.exp(start["hess_uniform_log__"]), np.exp(start["hess_ridge_log__"])
    assert 0.3 < 10.0 * uniform / UNIFORM < 3.0
    assert 0.3 < 1000.0 * foreground / RIDGE < 3.0
    found = model.compile_logp(**MODE)(start)
    expected = 10.0 * uniform + foreground * ridge(tmpl).values + 0.05
    expected = tmpl.composite(weights).values + expected
    logp = stats.poisson.logpmf(hess.values, expected).sum()
    logp += stats.norm.logpdf(np.log(uniform), 0.0, np.log(100.0))
    logp += stats.norm.logpdf(np.log(foreground), np.log(2.0), 0.5)
    assert_close(found, logp, "float32")


def test_summary_names_the_diagrams_amplitudes(tmpl):
    with pm.Model(coords=tmpl.coords()) as model:
        mass = pm.LogNormal("mass_formed", 12.0, 1.0, dims="log_age")
        r = psp.metallicity_weights(mass, np.full(5, -1.0), 0.3, tmpl.mh)
        psp.HessDiagram("hess", tmpl, r, background={"uniform": 0.1, "ridge": ridge(tmpl)})
    prior = pm.sample_prior_predictive(9, model=model, random_seed=1, compile_kwargs=MODE).prior
    mine = {"my_background_stars": prior["hess_ridge"] * 3.0}
    draws = psp.sfh_draws(prior.dataset.assign(mine), t_max_gyr=13.7)
    assert list(draws["background"].values) == ["hess_uniform", "hess_ridge"]
    assert_close(
        draws["background_amplitude"] * [120.0, 1000.0], draws["background_stars"], "same_formula"
    )
    assert_close(
        draws["background_amplitude"].sel(background="hess_ridge"), prior["hess_ridge"][0],
        "same_formula",
    )  # fmt: skip


@pytest.mark.slow
def test_the_diagrams_amplitudes_are_sampled(tmpl, hess):
    """A number that is 33 times too large, and a foreground."""
    mass, weights, _ = galaxy(tmpl, *LINEAR, total=1e6)
    with pm.Model(coords=tmpl.coords()):
        total = pm.LogNormal("total", 0.0, 1.0)
        pm.Deterministic("mass_formed", total * mass, dims="log_age")
        psp.HessDiagram(
            "hess", tmpl, total * weights, background={"uniform": 10.0, "ridge": ridge(tmpl)},
            observed=hess,
        )  # fmt: skip
        idata = pm.sample(
            300, tune=300, chains=2, cores=1, nuts_sampler="nutpie", random_seed=5,
            progressbar=False,
        )  # fmt: skip
    draws = psp.sfh_draws(idata, t_max_gyr=13.7)
    assert list(draws["background"].values) == ["hess_uniform", "hess_ridge"]
    for name, n in (("hess_uniform", UNIFORM * 1200), ("hess_ridge", RIDGE)):
        found = draws["background_stars"].sel(background=name)
        assert abs(float(found.mean()) - n) < 3.0 * float(found.std())
    rhat = az.rhat(idata, var_names=["hess_background_stars", "total"])
    assert max(float(v.max()) for v in rhat.dataset.data_vars.values()) < 1.03


def test_the_sampler_sees_the_stars_of_a_faint_background_not_their_logarithm(tmpl, hess, fit):
    """Below about one star ln a falls far, above it the likelihood is a wall."""
    absent = psp.fit_sfh(tmpl, alone(tmpl), background={"uniform": 10.0})
    for one, soft in ((absent, 1.0 / 12000.0), (fit, 0.0)):
        with pm.Model(coords=tmpl.coords()) as model:
            psp.StarFormationHistory("sfh", one)
        whiten = model.rvs_to_transforms[model["sfh"]]
        n_soft = dict(zip(whiten.softened, whiten.soft, strict=True))
        first = one.problem.n_history
        assert n_soft.get(first, 0.0) == pytest.approx(soft)
    assert absent.background_stars["uniform"] < 1.0


def test_one_without_a_name_and_without_stars(tmpl):
    with pm.Model() as model:
        psp.HessDiagram("hess", tmpl, np.ones((5, 16)), background=0.1)
    assert [v.name for v in model.free_RVs] == ["hess_background", "hess"]
    drawn = pm.draw(model["hess_background_stars"], random_seed=1, **MODE)
    assert drawn.shape == (1,)


def test_several_diagrams_take_their_own_from_the_history(tmpl, hess):
    other = toy_templates(5, color_shift=0.2)
    second = alone(other, seed=2) + np.random.default_rng(6).poisson(ridge(other).values)
    fit = psp.fit_sfh([tmpl, other], [hess, second], background=[
        {"uniform": 0.1, "ridge": ridge(tmpl)}, {"ridge": ridge(other)},
    ])  # fmt: skip
    with pm.Model(coords=tmpl.coords()) as model:
        sfh = psp.StarFormationHistory("sfh", fit)
        for name, t, n, b in zip("ab", [tmpl, other], [hess, second], sfh.background, strict=True):
            psp.HessDiagram(name, t, sfh.weights, background=b, observed=n)
    assert list(model.coords["background"]) == ["uniform", "ridge_0", "ridge_1"]
    point = model.initial_point()
    found = model.compile_logp(vars=model.observed_RVs, **MODE)(point)
    filled = [n.values[n.values > 0] for n in (hess, second)]
    constant = sum(stats.poisson.logpmf(n, n).sum() for n in filled)
    assert found == pytest.approx(constant - sfh.laplace.value, abs=0.1)


def test_two_histories_with_backgrounds_in_one_model(tmpl, hess, fit):
    uniform = psp.fit_sfh(tmpl, hess, background={"sky": 0.1})
    with pm.Model(coords=tmpl.coords()) as model:
        for name, one in (("a", fit), ("b", uniform)):
            with pm.Model(name=name):
                psp.StarFormationHistory("sfh", one)
    assert list(model.coords["background"]) == ["uniform", "ridge"]
    assert list(model.coords["b::sfh_background_name"]) == ["sky"]
    prior = pm.sample_prior_predictive(5, model=model, random_seed=1, compile_kwargs=MODE).prior
    draws = psp.sfh_draws(
        prior.dataset, t_max_gyr=13.7,
        variables={"mass_formed": "b::mass_formed", "mh_mean": "b::mh_mean", "sigma": "b::sigma"},
    )  # fmt: skip
    assert list(draws["background"].values) == ["sky"]


def test_known_backgrounds_are_in_the_history_too(tmpl, hess):
    fit = psp.fit_sfh(tmpl, hess, background=psp.Background(UNIFORM, fixed=True))
    with pm.Model(coords=tmpl.coords()) as model:
        sfh = psp.StarFormationHistory("sfh", fit)
    assert_close(sfh.background.eval(), np.full(tmpl.axes.shape, UNIFORM), "same_formula")
    assert "background_stars" not in model.named_vars
    with pm.Model():
        assert psp.StarFormationHistory("sfh", psp.fit_sfh(tmpl, hess)).background is None


def test_all_reasons_to_refuse(tmpl, hess, fit):
    cases = {
        "give background=sfh.background": [None, 0.1, {"ridge": ridge(tmpl)}],
        "expected counts of a fit": [fit.background],
        "background: names must be text": [{1: 0.1}],
        "background: sky: expected counts": [{"sky": -0.1}],
        "background: no stars are expected": [0.0],
    }
    for message, backgrounds in cases.items():
        for background in backgrounds:
            with pm.Model(coords=tmpl.coords()):
                r = np.ones((5, 16))
                if "sfh" in message:
                    r = psp.StarFormationHistory("sfh", fit).weights
                with pytest.raises(ValueError, match=message):
                    psp.HessDiagram("hess", tmpl, r, background=background, observed=hess)
    with pytest.raises(ValueError, match=r"dist adds no amplitudes.*fixed=True"):
        psp.HessDiagram.dist(tmpl, np.ones((5, 16)), background={"sky": 0.1})
    held = psp.Background(0.1, amplitude=2.0, fixed=True)
    rv = psp.HessDiagram.dist(tmpl, np.zeros((5, 16)), background={"sky": held})
    assert_close(rv.owner.inputs[-1].eval(), np.full(tmpl.axes.shape, 0.2), "same_formula")
    with pytest.raises(ValueError, match="give amplitude times template"):
        psp.hess_logp(tmpl, np.ones((5, 16)), hess, background=held)


def test_bins_that_nothing_reaches_are_named(tmpl, hess):
    counts = tmpl.counts.copy()
    counts[..., 3, 4] = 0.0
    dark = psp.TemplateSet.from_arrays(counts, tmpl.axes, tmpl.log_age, tmpl.mh)
    n = hess.copy()
    n[3, 4] = 2.0
    sky = np.ones(tmpl.axes.shape)
    sky[3, 4] = 0.0
    with pm.Model(), pytest.warns(UserWarning, match="1 bin holds stars where the model expects"):
        psp.HessDiagram("hess", dark, pt.ones((5, 16)), background=sky, observed=n)
