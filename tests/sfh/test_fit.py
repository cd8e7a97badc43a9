"""Fast fits: derivatives, optimum, recovery, errors, and what is refused."""

import warnings

import numpy as np
import pytest
from scipy import optimize

import pymc_starpop as psp
from pymc_starpop.sfh.fit_data import fit_data
from pymc_starpop.sfh.free import FreeCoefficients
from pymc_starpop.sfh.hierarchy import Hierarchy
from sfh_fixtures import T_MAX, assert_derivatives_close, constant_rate, galaxy, toy_templates
from tolerances import NATS_AT_OPTIMUM, assert_close

LINEAR = (psp.LinearAMR(), [0.1, -1.8])
MODELS = [
    LINEAR,
    (psp.LogarithmicAMR(), [4e-4, 3e-4]),
    (psp.PowerLawMZR(), [0.6, -1.3]),
    (psp.MonotoneAMR(3), [-1.7, 0.5, 0.4, 0.5]),
]
IDS = [type(model).__name__ for model, _ in MODELS]
SIGMA = 0.25


@pytest.fixture(scope="module")
def tmpl():
    return toy_templates()


@pytest.fixture(scope="module")
def stars(tmpl):
    return galaxy(tmpl, *LINEAR)[2]


@pytest.fixture(scope="module")
def fit(tmpl, stars):
    return psp.fit_sfh(tmpl, stars)


def dense(tmpl):
    return tmpl.counts.reshape(tmpl.n_age * tmpl.n_mh, -1)


@pytest.mark.parametrize(("model", "values"), MODELS, ids=IDS)
@pytest.mark.parametrize("sigma", [None, 0.3])
def test_gradient_and_hessian_are_central_differences(tmpl, stars, model, values, sigma):
    background = np.full(tmpl.axes.shape, 0.01)
    problem = Hierarchy(fit_data(tmpl, stars, background), model, T_MAX, sigma)
    x = problem.join(constant_rate(tmpl) * np.linspace(0.5, 2.0, tmpl.n_age),
                     {**model.split(np.array(values) * 0.9), "sigma": 0.3})  # fmt: skip
    scale = np.where(np.arange(x.size) < tmpl.n_age, x, np.maximum(np.abs(x), 1e-3))
    assert_derivatives_close(problem, x, scale)


def test_gauss_newton_is_the_hessian_where_the_model_fits_exactly(tmpl):
    mass, weights, _ = galaxy(tmpl, *LINEAR)
    exact = tmpl.composite(weights)
    problem = Hierarchy(fit_data(tmpl, exact), LINEAR[0], T_MAX)
    state = problem.evaluate(problem.join(mass, {"alpha": 0.1, "beta": -1.8, "sigma": SIGMA}))
    assert state.value == pytest.approx(0.0, abs=1e-3)
    scale = np.sqrt(np.diag(state.hessian()))
    difference = (state.exact_hessian() - state.hessian()) / np.outer(scale, scale)
    np.testing.assert_allclose(difference, 0.0, atol=1e-4)


def objective(tmpl, model, stars):
    """-ln PLR over all bins with its gradient in (R, parameters, sigma), by dense products."""
    matrix, n = dense(tmpl), np.asarray(stars).ravel()
    filled = n > 0

    def evaluate(x):
        mass, theta, sigma = x[: tmpl.n_age], x[tmpl.n_age : -1], x[-1]
        epochs = psp.Epochs(tmpl.age_gyr, T_MAX, mass)
        mean, per_parameter, per_mass = model.evaluate(theta, epochs)
        z = (tmpl.mh - mean[:, None]) / sigma
        w = np.exp(-0.5 * z**2)
        w /= w.sum(axis=1, keepdims=True)
        m = (mass[:, None] * w).ravel() @ matrix
        value = m.sum() - n.sum() + np.sum(n[filled] * np.log(n[filled] / m[filled]))
        slope = matrix @ (1.0 - np.divide(n, m, out=np.zeros_like(m), where=filled))
        slope = slope.reshape(w.shape)
        pull = mass * np.sum(slope * w * (z - np.sum(w * z, axis=1, keepdims=True)), axis=1) / sigma
        second = z**2 - np.sum(w * z**2, axis=1, keepdims=True)
        of_mass = np.sum(slope * w, axis=1)
        if per_mass is not None:
            of_mass = of_mass + pull @ per_mass
        of_sigma = np.sum(mass[:, None] * slope * w * second) / sigma
        return value, np.concatenate([of_mass, pull @ per_parameter, [of_sigma]])

    return evaluate


@pytest.mark.parametrize(("model", "values"), MODELS, ids=IDS)
def test_optimum_is_not_above_that_of_scipy(tmpl, model, values):
    _, _, n = galaxy(tmpl, model, values, total=3e5)
    fit = psp.fit_sfh(tmpl, n, metallicity=model)
    assert fit.converged
    function = objective(tmpl, model, n)
    scale = np.concatenate([constant_rate(tmpl, 3e5), np.abs(values), [SIGMA]])
    bounds = [(0.0, None)] * tmpl.n_age
    bounds += [(1e-9 if p.positive else None, None) for p in model.parameters for _ in range(p.n)]
    bounds += [(0.05 / SIGMA, None)]

    def scaled(u):
        value, gradient = function(u * scale)
        return value, gradient * scale

    start = np.concatenate([np.ones(tmpl.n_age), np.sign(values), [1.0]])
    peer = optimize.minimize(
        scaled, start, jac=True, bounds=bounds, method="L-BFGS-B",
        options={"maxiter": 5000, "maxfun": 20000, "ftol": 1e-13, "gtol": 1e-6, "maxcor": 30},
    )  # fmt: skip
    assert fit.nll <= peer.fun + NATS_AT_OPTIMUM
    assert fit.nll == pytest.approx(function(fit.point)[0], abs=1e-6)


@pytest.mark.parametrize(("model", "values"), MODELS, ids=IDS)
def test_truth_is_recovered(tmpl, model, values):
    mass, _, n = galaxy(tmpl, model, values, seed=5)
    fit = psp.fit_sfh(tmpl, n, metallicity=model)
    truth = {**model.split(np.array(values)), "sigma": SIGMA}
    for name, value in truth.items():
        away = (fit.map.parameters[name] - value) / fit.errors[name]
        assert (np.abs(away) < 3.5).all(), name
    assert (np.abs(fit.map.mass_formed - mass) < 4.0 * fit.errors["mass_formed"]).all()
    chi2 = np.sum(((fit.map.mass_formed - mass) / fit.errors["mass_formed"]) ** 2)
    assert chi2 < 3.0 * mass.size


@pytest.mark.parametrize(("model", "values"), MODELS[:3], ids=IDS[:3])
def test_names_are_the_models(tmpl, model, values):
    name = {"LinearAMR": "linear_amr", "LogarithmicAMR": "log_amr", "PowerLawMZR": "power_law_mzr"}
    _, _, n = galaxy(tmpl, model, values)
    by_name = psp.fit_sfh(tmpl, n, metallicity=name[type(model).__name__])
    assert by_name.nll == psp.fit_sfh(tmpl, n, metallicity=model).nll


def test_what_a_fit_holds_is_consistent(tmpl, stars, fit):
    assert fit.nll == pytest.approx(psp.plr(fit.model, stars), rel=1e-12)
    assert_close(fit.weights.sum(axis=1), fit.mass_formed, "same_formula")
    assert_close(fit.model, tmpl.composite(fit.weights), "same_formula")
    assert_close(fit.sfr * np.diff(fit.age_edges_gyr) * 1e9, fit.mass_formed, "same_formula")
    line = fit.parameters["beta"] + fit.parameters["alpha"] * (T_MAX - tmpl.age_gyr)
    assert_close(fit.mh_mean, line, "same_formula")
    assert float(fit.model.sum()) == pytest.approx(float(stars.sum()), rel=1e-4)
    assert fit.names[-3:] == ["alpha", "beta", "ln sigma"]
    assert fit.covariance.shape == (len(fit.names),) * 2


def test_single_precision_templates_cost_nothing_in_the_objective(fit):
    stored = fit.problem.evaluate(fit.point).value
    assert stored == pytest.approx(fit.nll, abs=1e-4)


def test_fixed_dispersion_and_fixed_metallicity_are_left_alone(tmpl, stars):
    fit = psp.fit_sfh(tmpl, stars, sigma=0.3)
    assert fit.parameters["sigma"] == 0.3
    assert "sigma" not in fit.errors
    means = 0.1 * (T_MAX - tmpl.age_gyr) - 1.8
    fixed = psp.fit_sfh(tmpl, stars, psp.FixedAMR(means), sigma=SIGMA)
    assert_close(fixed.mh_mean, means, "same_formula")
    assert fixed.problem.names == [f"mass_formed[{i}]" for i in range(tmpl.n_age)]


def test_mode_in_logarithms_has_no_slope(fit):
    """At the mode of a flat prior R_j times the gradient is 1, the Jacobian's share."""
    problem = fit.problem
    positive, x = problem.positive, problem.coordinates.natural(fit.laplace.mode)
    gradient = problem.evaluate(x).gradient()
    assert fit.map.converged
    np.testing.assert_allclose((x * gradient)[positive], 1.0, atol=2e-3)
    error = np.sqrt(np.diag(fit.covariance))
    np.testing.assert_allclose((gradient * error)[~positive], 0.0, atol=2e-3)
    assert (fit.map.mass_formed > 0).all()
    assert fit.map.nll >= fit.nll


def test_draws_have_the_moments_of_the_posterior(tmpl, stars, fit):
    """Sums of masses that the data fix come out right, and errors are those at the mode."""
    draws = fit.draws(4000, rng=3)
    assert fit.is_gaussian
    assert dict(draws.sizes) == {"chain": 1, "draw": 4000, "log_age": 10}
    x = np.array([fit.problem.join(mass, {"alpha": a, "beta": b, "sigma": s}) for mass, a, b, s in
                  zip(*(draws[v].values[0] for v in ("mass_formed", "alpha", "beta", "sigma")),
                      strict=True)])  # fmt: skip
    expected = np.array([np.sum(fit.problem.coefficients(row) * fit.problem.data.totals)
                         for row in x])  # fmt: skip
    poisson = np.sqrt(float(stars.sum()))
    assert abs(expected.mean() - float(stars.sum())) < 0.15 * poisson
    assert expected.std() == pytest.approx(poisson, rel=0.15)
    for name in ("alpha", "beta", "sigma"):
        values = draws[name].values[0]
        assert values.std() == pytest.approx(fit.errors[name], rel=0.15)
        assert abs(values.mean() - fit.parameters[name]) < 0.5 * fit.errors[name]
    # The mean of -ln PLR is that of chi square, a half for each parameter, above the optimum.
    nll = np.array([fit.problem.evaluate(row).value for row in x[:400]])
    assert np.mean(nll - fit.nll) == pytest.approx(0.5 * x.shape[1], rel=0.35)
    line = draws["beta"] + draws["alpha"] * (T_MAX - 10 ** (draws["log_age"] - 9))
    assert_close(draws["mh_mean"].transpose(*line.dims), line, "same_formula")
    assert draws.attrs["t_max_gyr"] == T_MAX
    assert draws.identical(fit.draws(4000, rng=3))


def test_free_coefficients_reach_the_optimum_of_scipy(tmpl):
    _, _, n = galaxy(tmpl, *LINEAR, total=3e5)
    fit = psp.fit_sfh(tmpl, n, metallicity="free")
    matrix, counts = dense(tmpl), n.values.ravel()
    unit = counts.sum() / matrix.sum(axis=1)

    def evaluate(u):
        m = (u * unit) @ matrix
        ratio = np.divide(counts, m, out=np.zeros_like(m), where=counts > 0)
        value = m.sum() - counts.sum() + np.sum(counts[counts > 0] * np.log(ratio[counts > 0]))
        return value, (matrix @ (1.0 - ratio)) * unit

    peer = optimize.minimize(
        evaluate, np.full(unit.size, 1.0 / unit.size), jac=True, bounds=[(0.0, None)] * unit.size,
        method="L-BFGS-B", options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-13, "maxcor": 30},
    )  # fmt: skip
    assert fit.converged
    assert fit.nll <= peer.fun + NATS_AT_OPTIMUM
    # The optimum of a convex problem: no slope where there is mass, none downwards elsewhere.
    slope = FreeCoefficients(fit.problem.data, T_MAX).evaluate(fit.point).gradient() * unit
    used = fit.point > 0
    np.testing.assert_allclose(slope[used] * (fit.point / unit)[used], 0.0, atol=2e-2)
    assert (slope > -0.5).all()
    assert fit.nll < psp.fit_sfh(tmpl, n).nll


def test_free_coefficients_have_errors_and_draws(rng):
    tmpl = toy_templates(4, 4)
    weights = np.full((4, 4), 1e6)
    n = rng.poisson(tmpl.composite(weights))
    fit = psp.fit_sfh(tmpl, n, metallicity="free")
    assert_close(fit.mass_formed, fit.weights.sum(axis=1), "same_formula")
    assert (np.abs(fit.map.weights - weights) < 4.5 * fit.errors["weights"]).all()
    draws = fit.draws(4000, rng=1)
    assert draws["mass_formed"].dims == ("chain", "draw", "log_age", "mh")
    spread = draws["mass_formed"].sum("mh").std("draw").values[0]
    np.testing.assert_allclose(spread, fit.errors["mass_formed"], rtol=0.15)
    mean = (fit.weights @ tmpl.mh) / fit.mass_formed
    assert_close(fit.mh_mean, mean, "same_formula")


def test_start_with_coefficients_leads_to_the_same_optimum(tmpl, stars):
    fit = psp.fit_sfh(tmpl, stars, metallicity="free")
    again = psp.fit_sfh(tmpl, stars, metallicity="free", start={"weights": fit.weights})
    assert again.nll == pytest.approx(fit.nll, abs=NATS_AT_OPTIMUM)


def test_several_diagrams_share_one_history(tmpl, stars):
    other = toy_templates(color_shift=0.3, shape=(30, 25))
    _, weights, _ = galaxy(tmpl, *LINEAR)
    second = np.random.default_rng(2).poisson(other.composite(weights))
    joint = psp.fit_sfh([tmpl, other], [stars, second])
    assert joint.converged
    assert [m.shape for m in joint.model] == [(40, 30), (30, 25)]
    total = psp.plr(joint.model[0], stars.values) + psp.plr(joint.model[1], second)
    assert joint.nll == pytest.approx(total, rel=1e-12)
    alone = psp.fit_sfh(tmpl, stars)
    assert joint.errors["beta"] < alone.errors["beta"]
    assert abs(joint.map.parameters["beta"] + 1.8) < 4 * joint.errors["beta"]


def test_masked_bins_do_not_count(tmpl, stars):
    spoiled = stars.copy()
    spoiled[5:8, :] = 3000.0
    mask = np.ones(tmpl.axes.shape, dtype=bool)
    mask[5:8, :] = False
    assert psp.fit_sfh(tmpl, spoiled, mask=mask).nll == psp.fit_sfh(tmpl, stars, mask=mask).nll


def test_background_explains_what_the_templates_cannot(tmpl, stars):
    background = np.full(tmpl.axes.shape, 3.0)
    n = stars + np.random.default_rng(4).poisson(background)
    fit = psp.fit_sfh(tmpl, n, background=psp.Background(background, fixed=True))
    assert fit.nll == pytest.approx(psp.plr(fit.model, n), rel=1e-12)
    assert fit.nll < psp.fit_sfh(tmpl, n).nll - 100.0
    assert abs(fit.map.parameters["beta"] + 1.8) < 4 * fit.errors["beta"]


def test_start_does_not_matter(tmpl, stars, fit):
    start = {"mass_formed": np.linspace(1e4, 1e6, tmpl.n_age), "alpha": 0.02, "sigma": 0.5}
    again = psp.fit_sfh(tmpl, stars, start=start)
    assert again.nll == pytest.approx(fit.nll, abs=NATS_AT_OPTIMUM)
    assert again.parameters["alpha"] == pytest.approx(fit.parameters["alpha"], abs=1e-4)


def test_coarse_metallicities_are_warned_of(tmpl):
    _, _, n = galaxy(tmpl, *LINEAR, sigma=0.1)
    with pytest.warns(UserWarning, match=r"up to 0.2 dex apart.*finer grid"):
        psp.fit_sfh(tmpl, n, sigma=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        psp.fit_sfh(tmpl, n, sigma=0.12)


def test_errors_of_masses_near_zero_are_warned_of(tmpl):
    mass = constant_rate(tmpl)
    mass[2:7] = 0.0
    share = np.exp(-0.5 * ((tmpl.mh + 1.0) / SIGMA) ** 2)
    n = np.random.default_rng(8).poisson(tmpl.composite(mass[:, None] * share / share.sum()))
    fit = psp.fit_sfh(tmpl, n, psp.FixedAMR(np.full(tmpl.n_age, -1.0)), sigma=SIGMA)
    with pytest.warns(UserWarning, match="Hessian errors cannot be trusted") as caught:
        _ = fit.errors
    assert caught[0].filename == __file__


def test_all_reasons_to_refuse(tmpl, stars):
    """Each names the argument and the remedy."""
    axes = tmpl.axes
    bad = {
        "nothing to fit": {"hess": np.zeros(axes.shape)},
        "bins are NaN": {"hess": np.where(stars > 5, np.nan, stars)},
        "expected shape": {"hess": stars.values[:-1]},
        "centered up to": {"hess": stars.assign_coords(mag=stars["mag"] + 0.1)},
        "for 1 template set": {"hess": [stars, stars]},
        "must be a TemplateSet": {"tmpl": stars},
        "differs from that of set 0": {
            "tmpl": [tmpl, toy_templates(8)], "hess": [stars, stars],
        },
        "t_max_gyr=12": {"t_max_gyr": 12.0},
        "sigma must be a positive": {"sigma": -0.1},
        "no dispersion": {"metallicity": "free", "sigma": 0.1},
        "metallicity must be one of": {"metallicity": "quadratic"},
        "background: expected shape": {"background": np.ones(3)},
        "background: expected counts": {"background": np.full(axes.shape, -1.0)},
        "start: no parameter gamma": {"start": {"gamma": 1.0}},
        "mass_formed must not be negative": {"start": {"mass_formed": -constant_rate(tmpl)}},
        "weights must not be negative": {
            "metallicity": "free", "start": {"weights": np.full((10, 16), -1.0)},
        },
        "alpha must be finite": {"start": {"alpha": np.nan}},
        "sigma must be positive": {"start": {"sigma": 0.0}},
    }  # fmt: skip
    for match, arguments in bad.items():
        with pytest.raises(ValueError, match=match):
            psp.fit_sfh(**({"tmpl": tmpl, "hess": stars} | arguments))


def test_stars_where_no_template_has_any_are_named(tmpl, stars):
    counts = tmpl.counts.copy()
    counts[..., 10, 3] = 0.0
    dark = psp.TemplateSet.from_arrays(counts, tmpl.axes, tmpl.log_age, tmpl.mh)
    n = stars.copy()
    n[10, 3] = 2.0
    with pytest.raises(ValueError, match=r"1 bins hold stars.*\(21\.36\d*, -0\.15\).*background="):
        psp.fit_sfh(dark, n)
    mask = np.ones(tmpl.axes.shape, dtype=bool)
    mask[10, 3] = False
    assert psp.fit_sfh(dark, n, mask=mask).converged
    assert psp.fit_sfh(dark, n, background=np.where(mask, 0.0, 1.5)).converged


def test_templates_without_stars_are_refused(tmpl, stars):
    zeros = psp.TemplateSet.from_arrays(tmpl.counts * 0, tmpl.axes, tmpl.log_age, tmpl.mh)
    with pytest.raises(ValueError, match="every template is zero in the bins that count"):
        psp.fit_sfh(zeros, stars, background=np.ones(tmpl.axes.shape))
    counts = tmpl.counts.copy()
    counts[4] = 0.0
    partly = psp.TemplateSet.from_arrays(counts, tmpl.axes, tmpl.log_age, tmpl.mh)
    with pytest.raises(ValueError, match=r"templates of log_age 9\.26667 are zero"):
        psp.fit_sfh(partly, stars)


def test_one_metallicity_needs_a_model_without_parameters(rng):
    tmpl = toy_templates(5, 1)
    n = rng.poisson(tmpl.composite(constant_rate(tmpl)[:, None]))
    with pytest.raises(ValueError, match="with one metallicity"):
        psp.fit_sfh(tmpl, n)
    fixed = psp.fit_sfh(tmpl, n, psp.FixedAMR(np.full(5, -1.0)), sigma=0.1)
    free = psp.fit_sfh(tmpl, n, metallicity="free")
    assert fixed.nll == pytest.approx(free.nll, abs=NATS_AT_OPTIMUM)
    np.testing.assert_allclose(fixed.mass_formed, free.mass_formed, rtol=1e-3, atol=1e-2)


def one_bin_each(n_mh=26):
    """Two ages whose templates fill one of three bins, by metallicity."""
    axes = psp.HessAxes(("V", "I"), "V", [0.0, 1.0, 2.0, 3.0], [20.0, 21.0])
    counts = np.zeros((2, n_mh, 1, 3))
    for k in range(n_mh):
        counts[:, k, 0, 3 * k // n_mh] = 1e-3
    counts[1] *= 0.5
    return psp.TemplateSet.from_arrays(counts, axes, [9.0, 10.0], np.linspace(-2.5, 0.0, n_mh))


def test_stars_that_only_negligible_shares_explain_count_at_the_start():
    tmpl = one_bin_each()
    fit = psp.fit_sfh(tmpl, np.array([[3.0, 100.0, 40.0]]), start={"beta": 0.0, "alpha": 0.0})
    assert fit.converged
    assert fit.nll < 1e-3  # three bins, more than three parameters


def test_negligible_shares_are_left_out_only_where_no_star_needs_them():
    tmpl = one_bin_each()
    stars = np.array([[1.0, 100.0, 400.0]])
    problem = psp.fit_sfh(tmpl, stars).problem
    x = problem.join(np.array([1e5, 4e5]), {"alpha": 0.0, "beta": -0.3, "sigma": 0.15})
    expected = psp.plr(tmpl.composite(problem.coefficients(x)), stars)
    assert expected > 20.0
    assert_close(problem.evaluate(x).value, expected, "float32")


def test_a_start_without_stars_where_there_are_some_is_refused():
    with pytest.raises(ValueError, match="some bins that hold stars expect none"):
        psp.fit_sfh(
            one_bin_each(), np.array([[3.0, 100.0, 40.0]]), psp.FixedAMR([0.0, 0.0]), sigma=0.02
        )
