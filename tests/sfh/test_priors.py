"""Priors on star formation histories, and their place in a PyMC model."""

import cloudpickle
import numpy as np
import pymc as pm
import pytest
from scipy import stats

import pymc_starpop as psp
from pymc_starpop.sfh.history import Whiten
from sfh_fixtures import T_MAX, galaxy, toy_templates
from tolerances import assert_close

# Compiled in a second; the numba backend is tested by sampling.
QUICK = {"mode": "FAST_COMPILE"}
LOG_AGE = np.linspace(8.6, 10.1, 7)
BINS = psp.AgeBins(LOG_AGE, np.diff(np.append(10**LOG_AGE, T_MAX * 1e9)), 2e-3)
PRIORS = [
    psp.ContinuityPrior(),
    psp.LogNormalPrior(sigma=0.7),
    psp.GaussianProcessPrior(),
    psp.FlatPrior(),
]
IDS = [type(prior).__name__ for prior in PRIORS]


@pytest.fixture(scope="module")
def tmpl():
    return toy_templates(8, 10)


@pytest.fixture(scope="module")
def stars(tmpl):
    return galaxy(tmpl, psp.LinearAMR(), [0.1, -1.8], sigma=0.35)[2]


@pytest.fixture(scope="module")
def fit(tmpl, stars):
    return psp.fit_sfh(tmpl, stars)


def build(tmpl, stars, fit, prior=None, **arguments):
    with pm.Model(coords=tmpl.coords()) as model:
        sfh = psp.StarFormationHistory("sfh", fit, prior, **arguments)
        psp.HessDiagram("hess", tmpl, sfh.weights, observed=stars)
    return model, sfh


def test_continuity_has_independent_steps_and_a_broad_level():
    mean, covariance = psp.ContinuityPrior(0.3, median=1e-3, level_sd=2.0).moments(BINS)
    np.testing.assert_allclose(mean, np.log(1e-3))
    difference = np.diff(np.eye(7), axis=0)
    assert_close(difference @ covariance @ difference.T, 0.09 * np.eye(6), "same_formula")
    level = np.full(7, 1.0 / 7.0)
    assert level @ covariance @ level == pytest.approx(4.0)
    assert_close(difference @ covariance @ level, np.zeros(6), "same_formula")


def test_log_normal_rates_are_independent():
    median = np.geomspace(1e-4, 1e-2, 7)
    mean, covariance = psp.LogNormalPrior(median, 0.5).moments(BINS)
    assert_close(mean, np.log(median), "same_formula")
    assert_close(covariance, 0.25 * np.eye(7), "same_formula")
    assert_close(psp.LogNormalPrior().moments(BINS)[0], np.log(2e-3), "same_formula")


def test_gaussian_process_has_the_covariance_of_its_kernel():
    _, covariance = psp.GaussianProcessPrior(0.8, 0.5, level_sd=1.5).moments(BINS)
    np.testing.assert_allclose(np.diag(covariance), 0.8**2 + 1.5**2)
    s = np.sqrt(3.0) * 0.25 / 0.5
    assert covariance[2, 3] == pytest.approx(0.64 * (1 + s) * np.exp(-s) + 2.25)
    assert (np.linalg.eigvalsh(covariance) > 0).all()


def test_whitening_is_a_linear_map_with_its_jacobian(rng):
    center, square = rng.normal(size=4), rng.normal(size=(4, 4))
    scale = np.linalg.cholesky(square @ square.T + np.eye(4))
    whiten, z = Whiten(center, scale), rng.normal(size=(3, 4))
    u = whiten.backward(z).eval()
    assert_close(u, center + z @ scale.T, "same_formula")
    assert_close(whiten.forward(u).eval(), z, "kernel")
    expected = np.full(3, np.linalg.slogdet(scale)[1])
    assert_close(whiten.log_jac_det(z).eval(), expected, "same_formula")


@pytest.mark.parametrize("prior", PRIORS, ids=IDS)
def test_log_density_is_prior_plus_likelihood(tmpl, stars, fit, rng, prior):
    """Against SciPy's densities at a random point, in the sampler's coordinates."""
    model, sfh = build(tmpl, stars, fit, prior)
    z = 0.3 * rng.normal(size=sfh.laplace.mode.size)
    u = sfh.laplace.mode + sfh.laplace.cholesky @ z
    n = tmpl.n_age
    years = np.diff(tmpl.age_edges(T_MAX)) * 1e9
    if isinstance(prior, psp.FlatPrior):
        expected = u[:n].sum()
    else:
        bins = psp.AgeBins(tmpl.log_age, years, fit.mass_formed.sum() / years.sum())
        mean, covariance = prior.moments(bins)
        expected = stats.multivariate_normal(mean + np.log(years), covariance).logpdf(u[:n])
    expected += stats.norm(0.1, 0.1).logpdf(u[n]) + stats.norm(-1.5, 1.0).logpdf(u[n + 1])
    expected += stats.norm(np.log(0.2), 0.5).logpdf(u[n + 2])
    x = np.concatenate([np.exp(u[:n]), u[n : n + 2], np.exp(u[n + 2 :])])
    expected += stats.poisson(tmpl.composite(fit.problem.coefficients(x))).logpmf(stars).sum()
    expected += np.linalg.slogdet(sfh.laplace.cholesky)[1]
    assert model.compile_logp(**QUICK)({"sfh_whiten__": z}) == pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize("prior", PRIORS, ids=IDS)
def test_model_starts_from_its_mode_in_unit_coordinates(tmpl, stars, fit, prior):
    model, sfh = build(tmpl, stars, fit, prior)
    point = model.initial_point()
    assert sfh.laplace.converged
    np.testing.assert_allclose(point["sfh_whiten__"], 0.0, atol=1e-8)
    gradient = model.compile_dlogp(**QUICK)
    np.testing.assert_allclose(gradient(point), 0.0, atol=2e-3)
    hessian = differences(gradient, point)
    np.testing.assert_allclose(-hessian, np.eye(len(hessian)), atol=2e-3)


def differences(gradient, point, step=1e-4):
    """Hessian from central differences of the gradient."""
    (name, z), rows = next(iter(point.items())), []
    for shift in step * np.eye(z.size):
        rows.append((gradient({name: z + shift}) - gradient({name: z - shift})) / (2.0 * step))
    return np.array(rows)


@pytest.mark.slow
def test_second_derivatives_of_a_model_are_exact(tmpl, stars, fit):
    model, _ = build(tmpl, stars, fit)
    point = model.initial_point()
    exact = model.compile_d2logp(negate_output=False, **QUICK)(point)
    expected = differences(model.compile_dlogp(**QUICK), point)
    np.testing.assert_allclose(exact, expected, atol=1e-4)


MODELS = ["linear_amr", "log_amr", "power_law_mzr", psp.MonotoneAMR(3)]


@pytest.mark.parametrize("metallicity", MODELS, ids=["linear", "log", "mzr", "monotone"])
def test_variables_are_those_of_the_fit(tmpl, stars, metallicity):
    fit = psp.fit_sfh(tmpl, stars, metallicity)
    model, sfh = build(tmpl, stars, fit)
    assert sfh.laplace.converged
    names = ["mass_formed", "sfr", "mh_mean", *sfh.parameters, "hess"]
    outputs = [model[name] for name in names[:-1]]
    point = {"sfh_whiten__": np.zeros(sfh.laplace.mode.size)}
    outputs = model.replace_rvs_by_values(outputs)
    values = model.compile_fn(outputs, on_unused_input="ignore", **QUICK)(point)
    got = dict(zip(names, values, strict=False))
    x = fit.problem.coordinates.natural(sfh.laplace.mode)
    assert_close(got["mass_formed"], x[: tmpl.n_age], "same_formula")
    assert_close(got["sfr"] * fit.bin_years, got["mass_formed"], "same_formula")
    assert_close(got["mh_mean"], fit.problem.mean_metallicity(x), "same_formula")
    for name, value in fit.problem.values(x).items():
        assert_close(got[name], value, "same_formula")
    assert model.named_vars_to_dims["mass_formed"] == ("log_age",)
    assert float(model["t_max_gyr"].get_value()) == T_MAX


def test_fixed_metallicity_leaves_only_masses(tmpl, stars):
    fixed = psp.FixedAMR(0.1 * (T_MAX - tmpl.age_gyr) - 1.8)
    fit = psp.fit_sfh(tmpl, stars, fixed, sigma=0.35)
    model, sfh = build(tmpl, stars, fit)
    assert sfh.parameters == {}
    assert sfh.laplace.mode.size == tmpl.n_age
    assert np.isfinite(model.compile_logp(**QUICK)(model.initial_point()))


def test_prior_draws_follow_the_prior(tmpl, stars, fit):
    model, _ = build(
        tmpl, stars, fit, psp.ContinuityPrior(0.3, median=1e-3, level_sd=0.5),
        parameter_priors={"alpha": (0.2, 0.01), "sigma": (0.3, 0.1)},
    )  # fmt: skip
    with model:
        prior = pm.sample_prior_predictive(4000, random_seed=1)["prior"]
    log_sfr = np.log(prior["sfr"].values[0])
    assert np.diff(log_sfr, axis=1).std() == pytest.approx(0.3, rel=0.02)
    assert log_sfr.mean(axis=1).std() == pytest.approx(0.5, rel=0.05)
    assert log_sfr.mean() == pytest.approx(np.log(1e-3), abs=0.05)
    assert float(prior["alpha"].mean()) == pytest.approx(0.2, abs=1e-3)
    assert float(prior["alpha"].std()) == pytest.approx(0.01, rel=0.05)
    assert float(prior["sigma"].median()) == pytest.approx(0.3, rel=0.01)


def test_two_galaxies_live_in_one_model(tmpl, stars, fit):
    with pm.Model(coords=tmpl.coords()) as model:
        for name in ("first", "second"):
            with pm.Model(name=name):
                psp.StarFormationHistory("sfh", fit)
    assert {"first::mass_formed", "second::mass_formed"} <= set(model.named_vars)


def test_model_can_be_pickled(tmpl, stars, fit):
    model, _ = build(tmpl, stars, fit)
    again = cloudpickle.loads(cloudpickle.dumps(model))
    point = model.initial_point()
    assert again.compile_logp(**QUICK)(point) == model.compile_logp(**QUICK)(point)


@pytest.mark.parametrize("sampler", ["pymc", "nutpie"])
def test_sampling_needs_few_steps_and_finds_the_truth(tmpl, stars, fit, sampler):
    model, _ = build(tmpl, stars, fit)
    with model:
        idata = pm.sample(
            400, tune=400, chains=2, cores=1, nuts_sampler=sampler, random_seed=5,
            progressbar=False, compute_convergence_checks=False,
        )  # fmt: skip
    assert int(idata["sample_stats"]["diverging"].sum()) == 0
    assert float(idata["sample_stats"]["n_steps"].mean()) <= 10.0
    posterior = idata["posterior"].dataset
    for name, truth in {"alpha": 0.1, "beta": -1.8, "sigma": 0.35}.items():
        draws = posterior[name]
        assert abs(float(draws.mean()) - truth) < 4.0 * float(draws.std()), name
        assert float(draws.std()) == pytest.approx(fit.errors[name], rel=0.3)


def test_all_reasons_to_refuse(tmpl, stars, fit):
    free = psp.fit_sfh(tmpl, stars, metallicity="free")
    bad = [
        ("no metallicity model", {"fit": free}),
        ("prior must be FlatPrior", {"prior": 0.3}),
        (
            "no parameter gamma; there are alpha, beta, sigma",
            {"parameter_priors": {"gamma": (0, 1)}},
        ),
        ("scale must be positive", {"parameter_priors": {"alpha": (0.1, 0.0)}}),
        ("one for each of 8 age bins", {"prior": psp.LogNormalPrior(np.ones(3))}),
    ]
    for match, arguments in bad:
        with pm.Model(), pytest.raises(ValueError, match=match):
            psp.StarFormationHistory(**({"name": "sfh", "fit": fit} | arguments))
    for match, make in [
        ("scale must be positive", lambda: psp.ContinuityPrior(0.0)),
        ("median must be a positive rate", lambda: psp.LogNormalPrior(-1.0)),
        ("length must be positive", lambda: psp.GaussianProcessPrior(length=np.nan)),
    ]:
        with pytest.raises(ValueError, match=match):
            make()


def test_softened_masses_have_the_jacobian_of_their_map(rng):
    """Where the data say little, masses go by a map that is linear away from 0."""
    soft = np.array([0.0, 2.0, 1e5])
    whiten = Whiten(np.array([1.0, 3.0, -2e5]), np.diag([0.5, 4.0, 3e5]), soft)
    for z in (rng.normal(size=3), np.array([0.0, -40.0, -80.0]), np.array([1.0, 30.0, 9.0])):
        u = whiten.backward(z).eval()
        v = whiten.center + np.diag(whiten.scale) * z
        # Far below 0, ln(soft ln(1 + exp w)) is ln(soft) + w.
        expected = np.array([v[0], *(np.log(s) + _log_softplus(w / s) for s, w in
                                     zip(soft[1:], v[1:], strict=True))])  # fmt: skip
        assert_close(u, expected, "kernel")
        assert_close(whiten.forward(u).eval(), z, "kernel")
        step = 1e-5 * np.eye(3)
        moved = [(whiten.backward(z + d).eval() - whiten.backward(z - d).eval()) for d in step]
        slopes = np.diag(np.array(moved)) / 2e-5
        assert whiten.log_jac_det(z).eval() == pytest.approx(np.log(slopes).sum(), abs=1e-6)


def _log_softplus(w):
    return w if w < -30 else np.log(np.logaddexp(0.0, w))
