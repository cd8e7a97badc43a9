"""Fits whose data say little: bounded metallicities, and summaries that agree with the optimum."""

import warnings

import numpy as np
import pymc as pm
import pytest

import pymc_starpop as psp
from pymc_starpop.sfh.hierarchy import Hierarchy
from sfh_fixtures import T_MAX, assert_derivatives_close, galaxy, toy_templates

MODELS = ["linear_amr", "log_amr", "power_law_mzr", "monotone_amr"]


@pytest.fixture(scope="module")
def tmpl():
    return toy_templates(6, 5)


@pytest.fixture(scope="module")
def metal_poor():
    """Templates up to [M/H] = -0.9 of galaxies that the full set makes."""
    full = toy_templates(6, 16)
    return psp.TemplateSet.from_arrays(full.counts[:, :9], full.axes, full.log_age, full.mh[:9])


def few_stars(tmpl, rng, n_star, concentration=0.3):
    """Stars drawn from a random mixture of the templates."""
    share = rng.dirichlet(np.full(tmpl.n_age * tmpl.n_mh, concentration))
    stars = tmpl.counts.sum(axis=(2, 3)).ravel()
    expected = (share / stars) @ tmpl.counts.reshape(share.size, -1)
    return rng.multinomial(n_star, expected / expected.sum()).reshape(tmpl.axes.shape)


def expected_stars(fit, tmpl, summary):
    """Median of the stars that the draws of a summary expect, from their masses."""
    by_number = tmpl.counts.sum(axis=(2, 3))
    draws = fit.draws(300, rng=2)
    if "mh" in draws.dims:
        return float(np.median(np.sum(draws["mass_formed"].values[0] * by_number, axis=(1, 2))))
    mean, mass = draws["mh_mean"].values[0], draws["mass_formed"].values[0]
    sigma = draws["sigma"].values[0] if "sigma" in draws else fit.parameters["sigma"]
    sigma = np.broadcast_to(sigma, len(mass))[:, None, None]
    share = -0.5 * ((tmpl.mh - mean[..., None]) / sigma) ** 2
    share = np.exp(share - share.max(axis=-1, keepdims=True))
    share /= share.sum(axis=-1, keepdims=True)
    return float(np.median(np.sum(mass[..., None] * share * by_number, axis=(1, 2))))


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (psp.LinearAMR(), [0.1, -1.2]),
        (psp.LinearAMR(), [0.0, 0.0]),
        (psp.LogarithmicAMR(), [4e-4, 3e-3]),
        (psp.PowerLawMZR(), [0.6, -0.3]),
        (psp.MonotoneAMR(3), [-1.2, 0.5, 0.4, 0.5]),
    ],
)
@pytest.mark.parametrize("total", [3e4, 1e7])
def test_metallicities_beyond_the_templates_are_held_and_named(metal_poor, model, values, total):
    _, _, stars = galaxy(toy_templates(6, 16), model, values, total=total)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = psp.fit_sfh(metal_poor, stars, model)
    sigma, formed = fit.parameters["sigma"], fit.mass_formed > 0
    assert fit.converged
    assert (fit.mh_mean[formed] <= metal_poor.mh[-1] + 2.0 * sigma).all()
    assert (fit.mh_mean[formed] >= metal_poor.mh[0] - 2.0 * sigma).all()
    held = formed & (fit.mh_mean > metal_poor.mh[-1] + 1.8 * sigma)
    named = [
        str(w.message) for w in caught if "is held about 2 dispersions outside" in str(w.message)
    ]
    assert len(named) == held.any()
    for age in metal_poor.log_age[held]:
        assert f"{age:g}" in named[0]
    assert all(np.abs(value).max() < 10.0 for value in fit.parameters.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draws = fit.draws(100, rng=1)
    many = draws["mass_formed"].values * metal_poor.counts.sum(axis=(2, 3)).mean(axis=1) > 1.0
    width = draws["sigma"].values[..., None]
    assert (draws["mh_mean"].values <= metal_poor.mh[-1] + 2.01 * width)[many].all()


def test_the_bound_moves_no_optimum_inside(tmpl):
    tmpl = toy_templates(6, 16)
    model = psp.LinearAMR()
    _, _, stars = galaxy(tmpl, model, [0.1, -1.8], total=1e6)
    fit = psp.fit_sfh(tmpl, stars)
    problem = fit.problem
    assert problem.bounded
    bare = Hierarchy(problem.data, model, T_MAX, bounded=False)
    assert problem.evaluate(fit.point).value == bare.evaluate(fit.point).value
    np.testing.assert_array_equal(
        problem.evaluate(fit.point).gradient(), bare.evaluate(fit.point).gradient()
    )


@pytest.mark.parametrize("name", MODELS)
def test_derivatives_beyond_the_bound_are_central_differences(metal_poor, name):
    _, _, stars = galaxy(toy_templates(6, 16), psp.LinearAMR(), [0.1, -1.2], total=3e4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = psp.fit_sfh(metal_poor, stars, name)
    values = {
        "linear_amr": {"alpha": 0.1, "beta": -1.0},
        "log_amr": {"alpha": 4e-4, "beta": 4e-3},
        "power_law_mzr": {"alpha": 0.3, "mh0": 0.3},
        "monotone_amr": {"mh_oldest": -0.6, "rise": np.full(6, 0.1)},
    }[name]
    problem = fit.problem
    mass = np.linspace(0.2, 1.0, 6) * fit.mass_formed.sum()
    x = problem.join(mass, {**values, "sigma": 0.3})
    state = problem.evaluate(x)
    assert state.penalty.value > 1.0
    assert_derivatives_close(problem, x, np.maximum(np.abs(x), 1e-4))


def check_summary(tmpl, stars, model, sigma=None, background=None):
    """Fit and summarize; all is finite and the expected stars are those of the data."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        fit = psp.fit_sfh(tmpl, stars, model, sigma=sigma, background=background)
        summary = psp.summarize_sfh(fit, tmpl, rng=1)
        errors = fit.errors
    for name in summary.data_vars:
        if not (model == "free" and name == "mh_mean"):  # no number where nothing formed
            assert np.isfinite(summary[name].values).all(), name
    for value in (fit.map.mass_formed, fit.map.nll, *[errors[k] for k in ("mass_formed",)]):
        assert np.isfinite(value).all()
    if background is None:
        n_star = float(stars.sum())
        assert abs(expected_stars(fit, tmpl, summary) - n_star) < 1.0 * np.sqrt(n_star)
    return fit, summary


@pytest.mark.parametrize("model", [*MODELS, "free"])
@pytest.mark.parametrize("n_star", [1, 5, 20])
def test_few_stars_have_finite_summaries(tmpl, model, n_star):
    check_summary(tmpl, few_stars(tmpl, np.random.default_rng(n_star), n_star), model)


@pytest.mark.slow
@pytest.mark.parametrize("model", [*MODELS, "free"])
@pytest.mark.parametrize("n_star", [2, 10, 100, 3000])
def test_more_stars_have_finite_summaries(tmpl, model, n_star):
    check_summary(tmpl, few_stars(tmpl, np.random.default_rng(n_star), n_star), model)


def random_problem(seed):
    """Templates, stars, model, dispersion and background of a random toy problem."""
    rng = np.random.default_rng(seed)
    n_age, n_mh = int(rng.integers(2, 9)), int(rng.integers(3, 9))
    tmpl = toy_templates(n_age, n_mh, shape=(20, 15))
    n_star = int(10.0 ** rng.uniform(0.0, 4.0))
    stars = few_stars(tmpl, rng, n_star, rng.choice([0.05, 0.3, 1.0]))
    model = [*MODELS, "free"][int(rng.integers(5))]
    sigma = rng.choice([0.1, 0.3, 0.6]) if rng.random() < 0.4 and model != "free" else None
    background = None
    if rng.random() < 0.3:
        expected = 10.0 ** rng.uniform(-4.0, -1.0)
        background = psp.Background(np.full(tmpl.axes.shape, expected), fixed=True)
    return tmpl, stars, model, sigma, background


def solve(seeds):
    """Number of random problems refused with a ValueError that says what to do."""
    refused = 0
    for seed in seeds:
        try:
            check_summary(*random_problem(seed))
        except ValueError as error:
            if "give values in start=" not in str(error):
                raise
            refused += 1
    return refused


def test_random_problems():
    assert solve(range(200, 206)) <= 2


@pytest.mark.slow
def test_two_hundred_random_problems():
    assert solve(range(200)) < 20


@pytest.mark.parametrize("model", MODELS[:3])
@pytest.mark.parametrize("n_star", [2, 3000])
def test_histories_in_models_of_few_stars(tmpl, model, n_star):
    stars = few_stars(tmpl, np.random.default_rng(n_star + 1), n_star)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = psp.fit_sfh(tmpl, stars, model)
        with pm.Model(coords=tmpl.coords()):
            sfh = psp.StarFormationHistory("sfh", fit)
    assert np.isfinite(sfh.laplace.mode).all()
    assert np.isfinite(sfh.laplace.cholesky).all()


def test_summary_of_free_coefficients_is_that_of_the_optimum(tmpl):
    """Sixty coefficients and forty stars: a flat prior would more than double the mass."""
    tmpl = toy_templates(10, 6)
    rng = np.random.default_rng(5)
    weights = np.zeros((10, 6))
    weights[7:, 2] = 1.0
    expected = tmpl.composite(weights).values
    stars = rng.multinomial(40, (expected / expected.sum()).ravel()).reshape(expected.shape)
    fit, summary = check_summary(tmpl, stars, "free")
    assert not fit.is_gaussian
    total = summary["total_mass"].sel(quantile=[0.025, 0.5, 0.975]).values
    assert total[0] < fit.mass_formed.sum() < total[2]
    assert total[1] == pytest.approx(fit.mass_formed.sum(), rel=0.3)
    formed = np.cumsum(fit.mass_formed[::-1])[::-1] / fit.mass_formed.sum()
    cumulative = summary["cumulative"].sel(quantile=[0.025, 0.975]).values[:, :-1]
    assert (formed >= cumulative[0] - 0.02).all()
    assert (formed <= cumulative[1] + 0.02).all()


def test_intervals_of_few_stars_hold_the_truth():
    """Two ages that hardly overlap: the share of each is known from the counts of its stars."""
    axes = psp.HessAxes(("V", "I"), "V", [0.0, 1.0, 2.0], [20.0, 21.0])
    counts = np.array([[[[1e-3, 0.0]]], [[[0.0, 1e-3]]]])
    two = psp.TemplateSet.from_arrays(counts, axes, [9.0, 10.0], [-1.0])
    covered = []
    for seed in range(40):
        stars = np.random.default_rng(seed).poisson([[6.0, 6.0]])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = psp.fit_sfh(two, stars, psp.FixedAMR([-1.0, -1.0]), sigma=0.1)
            mass = psp.summarize_sfh(fit, two, rng=seed)["mass_formed"]
        low, high = mass.sel(quantile=[0.16, 0.84]).values
        covered.append((low < 6e3) & (high > 6e3))
    assert 0.46 < np.mean(covered) < 0.86
