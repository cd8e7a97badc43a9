"""Backgrounds in fast fits: amplitudes, their priors, derivatives, recovery."""

import warnings

import numpy as np
import pytest

import pymc_starpop as psp
from pymc_starpop.sfh.amplitudes import WithAmplitudes
from pymc_starpop.sfh.fit_data import fit_data
from pymc_starpop.sfh.free import FreeCoefficients
from pymc_starpop.sfh.hierarchy import Hierarchy
from sfh_fixtures import T_MAX, constant_rate, galaxy, toy_templates
from tolerances import NATS_AT_OPTIMUM, assert_close, assert_gradient_close

LINEAR = (psp.LinearAMR(), [0.1, -1.8])
KINDS = ["linear_amr", "free"]
# Most free coefficients are 0.
pytestmark = pytest.mark.filterwarnings("ignore:Hessian errors cannot be trusted")


@pytest.fixture(scope="module")
def tmpl():
    return toy_templates()


@pytest.fixture(scope="module")
def stars(tmpl):
    return galaxy(tmpl, *LINEAR, total=1e6)[2]


def ridge(tmpl):
    """A foreground (N_mag, N_color): a vertical sequence of 1,000 stars."""
    centers = tmpl.axes.coords()
    shape = np.exp(-0.5 * ((centers["color"] - 1.6) / 0.3) ** 2) * np.ones(tmpl.axes.shape)
    return tmpl.axes.wrap(1000.0 * shape / shape.sum())


def with_others(stars, expected, seed=4):
    return stars + np.random.default_rng(seed).poisson(expected)


def numeric(function, x, i, size):
    step = np.zeros_like(x)
    step[i] = size
    return (function(x + step) - function(x - step)) / (2.0 * size)


@pytest.mark.parametrize("sigma", [None, 0.3])
def test_derivatives_by_amplitudes_are_central_differences(tmpl, stars, sigma):
    others = {"uniform": 0.1, "ridge": ridge(tmpl), "known": psp.Background(0.01, fixed=True)}
    problem = Hierarchy(fit_data(tmpl, stars, others), LINEAR[0], T_MAX, sigma)
    mass = constant_rate(tmpl, 1e6) * np.linspace(0.5, 2.0, tmpl.n_age)
    x = problem.join(mass, {"alpha": 0.09, "beta": -1.7, "sigma": 0.3}, np.array([7.0, 0.4]))
    scale = np.where(np.arange(x.size) < tmpl.n_age, x, np.maximum(np.abs(x), 1e-3))
    assert problem.names[-2:] == ["background_amplitude[uniform]", "background_amplitude[ridge]"]
    check_derivatives(problem.evaluate, x, scale, exact=True)
    objective = WithAmplitudes(problem)
    check_derivatives(objective.evaluate, objective.logarithms(x), scale, exact=False)


def test_derivatives_of_free_coefficients(stars, tmpl):
    data = fit_data(tmpl, stars, {"uniform": 0.1, "ridge": ridge(tmpl)})
    problem = FreeCoefficients(data, T_MAX)
    x = np.append(np.full(data.totals.size, 1e4), [7.0, 0.4])
    check_derivatives(problem.evaluate, x, x, exact=True, some=[0, 70, -2, -1])


def check_derivatives(evaluate, x, scale, exact, some=None):
    state = evaluate(x)
    for i in np.arange(x.size) if some is None else np.array(some) % x.size:
        size = 1e-5 * scale[i]
        assert_gradient_close(
            state.gradient()[i] * scale[i],
            numeric(lambda y: evaluate(y).value, x, i, size) * scale[i],
        )
        if exact:
            row = numeric(lambda y: evaluate(y).gradient(), x, i, size) * scale[i] * scale
            found = state.exact_hessian()[i] * scale[i] * scale
            np.testing.assert_allclose(
                found / np.abs(row).max(), row / np.abs(row).max(), atol=1e-5
            )


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_that_is_given_does_not_decide(tmpl, stars, kind):
    """1e-6 and 10 stars a bin are 16 in ln, 3.5 widths of the prior: worth 0.76 stars."""
    n = with_others(stars, np.full(tmpl.axes.shape, 0.3))
    low, high = (psp.fit_sfh(tmpl, n, kind, background=number) for number in (1e-6, 10.0))
    assert low.converged
    assert high.converged
    assert low.nll == pytest.approx(high.nll, abs=0.05)
    found = low.background_stars["background"]
    assert 0.2 < high.background_stars["background"] - found < 1.5
    assert abs(found - 360.0) < 3.0 * low.errors["background_stars"]["background"]
    np.testing.assert_allclose(low.mass_formed, high.mass_formed, atol=3e-3 * low.mass_formed.sum())


@pytest.mark.parametrize("kind", KINDS)
def test_a_background_that_is_absent_is_found_to_be_so(tmpl, stars, kind):
    """What is left is where one more star costs as much as the prior gives, below 1 star."""
    without = psp.fit_sfh(tmpl, stars, kind)
    for number in (1e-6, 10.0):
        fit = psp.fit_sfh(tmpl, stars, kind, background=number)
        assert fit.background_stars["background"] < 1.0
        assert fit.mass_formed.sum() == pytest.approx(without.mass_formed.sum(), rel=1e-3)
        assert fit.nll == pytest.approx(without.nll, abs=1.0)


def test_several_by_name_with_a_known_one(tmpl, stars):
    """Amplitudes within their errors, the history as without other stars."""
    sky, known = ridge(tmpl), np.full(tmpl.axes.shape, 0.1)
    n = with_others(stars, 0.25 + 1.5 * sky.values + known)
    fit = psp.fit_sfh(tmpl, n, background={
        "uniform": 0.001, "foreground": sky, "known": psp.Background(known, fixed=True),
    })  # fmt: skip
    assert fit.converged
    errors = fit.errors["background_stars"]
    assert set(errors) == {"uniform", "foreground"}
    true = {"uniform": 300.0, "foreground": 1500.0}
    for name, value in true.items():
        assert abs(fit.background_stars[name] - value) < 3.0 * errors[name]
        assert errors[name] > np.sqrt(value)
    assert fit.background_amplitudes["known"] == 1.0
    assert fit.background_amplitudes["uniform"] == pytest.approx(
        fit.background_stars["uniform"] / (0.001 * n.size)
    )
    assert_close(fit.background.sum().item(), sum(fit.background_stars.values()), "same_formula")
    galaxys = tmpl.composite(fit.weights)
    np.testing.assert_allclose(fit.model, galaxys + fit.background, rtol=1e-12)
    assert fit.nll == pytest.approx(psp.plr(fit.model, n), rel=1e-12)
    alone = psp.fit_sfh(tmpl, stars)
    for name in ("alpha", "beta"):
        assert abs(fit.parameters[name] - alone.parameters[name]) < 2.0 * fit.errors[name]


@pytest.mark.parametrize("kind", KINDS)
def test_a_narrow_prior_holds_and_the_maximum_counts_it(tmpl, stars, kind):
    """At the maximum the pull of the stars on ln a is that of the prior."""
    n = with_others(stars, np.full(tmpl.axes.shape, 0.3))
    prior = psp.Background(np.full(tmpl.axes.shape, 0.3), amplitude=2.0, sigma=0.02)
    fit = psp.fit_sfh(tmpl, n, kind, background=prior)
    amplitude = fit.background_amplitudes["background"]
    assert 1.8 < amplitude < 2.0
    slope = amplitude * fit.problem.evaluate(fit.point).gradient()[-1]
    assert slope == pytest.approx(-np.log(amplitude / 2.0) / 0.02**2, rel=1e-3, abs=0.05)
    assert fit.errors["background_amplitudes"]["background"] == pytest.approx(
        0.02 * amplitude, rel=0.1
    )
    known = psp.Background(np.full(tmpl.axes.shape, 0.3), amplitude=amplitude, fixed=True)
    assert psp.fit_sfh(tmpl, n, kind, background=known).nll == pytest.approx(
        fit.nll, abs=NATS_AT_OPTIMUM
    )


@pytest.mark.parametrize("kind", KINDS)
def test_draws_hold_the_amplitudes(tmpl, stars, kind):
    coarse = psp.TemplateSet.from_arrays(
        tmpl.counts[::3, ::4], tmpl.axes, tmpl.log_age[::3], tmpl.mh[::4]
    )
    n = with_others(stars, np.full(tmpl.axes.shape, 0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of masses near 0, and of a coarse grid
        fit = psp.fit_sfh(coarse, n, kind, background={"uniform": 0.01})
        draws = fit.draws(2000, rng=1)
    assert list(draws["background"].values) == ["uniform"]
    assert draws["background_stars"].dims == ("chain", "draw", "background")
    assert_close(draws["background_stars"], draws["background_amplitude"] * 12.0, "same_formula")
    spread = draws["background_stars"].std().item()
    assert spread == pytest.approx(fit.errors["background_stars"]["uniform"], rel=0.1)
    assert fit.names[-1] == "ln background_amplitude[uniform]"


def test_several_diagrams_have_amplitudes_of_their_own(stars, tmpl):
    other = toy_templates(color_shift=0.2)
    n = [
        with_others(stars, np.full(tmpl.axes.shape, 0.3)),
        with_others(galaxy(other, *LINEAR, total=1e6, seed=2)[2], ridge(other).values, seed=5),
    ]
    fit = psp.fit_sfh([tmpl, other], n, background=[
        {"uniform": 0.01}, {"uniform": 0.01, "ridge": ridge(other)},
    ])  # fmt: skip
    assert list(fit.background_stars) == ["uniform_0", "uniform_1", "ridge"]
    errors = fit.errors["background_stars"]
    for name, value in (("uniform_0", 360.0), ("uniform_1", 0.0), ("ridge", 1000.0)):
        assert abs(fit.background_stars[name] - value) < 3.0 * errors[name]
    assert len(fit.background) == len(fit.model) == 2
    alone = psp.fit_sfh([tmpl, other], n, background=[0.01, None])
    assert list(alone.background_stars) == ["background"]


def test_amplitudes_and_histories_of_many_galaxies_are_unbiased():
    """40 galaxies with 360 uniform and 800 foreground stars: means and scatter in errors."""
    tmpl = toy_templates(5)
    pulls, masses = [], []
    for seed in range(40):
        n = galaxy(tmpl, *LINEAR, total=1e6, seed=seed)[2]
        n = with_others(n, 0.3 + 0.8 * ridge(tmpl).values, seed=5000 + seed)
        fit = psp.fit_sfh(tmpl, n, background={"uniform": 0.001, "foreground": ridge(tmpl)})
        errors = fit.errors["background_stars"]
        true = {"uniform": 360.0, "foreground": 800.0}
        pulls.append([(fit.background_stars[k] - v) / errors[k] for k, v in true.items()])
        masses.append(fit.mass_formed.sum() / 1e6)
    assert (np.abs(np.mean(pulls, axis=0)) < 0.5).all()
    assert (np.abs(np.std(pulls, axis=0) - 1.0) < 0.3).all()
    assert np.mean(masses) == pytest.approx(1.0, abs=0.012)


def test_masked_bins_hold_no_background(tmpl, stars):
    mask = np.ones(tmpl.axes.shape, dtype=bool)
    mask[:10] = False
    sky = np.where(mask, 0.3, np.nan)
    n = with_others(stars, np.full(tmpl.axes.shape, 0.3)).where(mask)
    fit = psp.fit_sfh(tmpl, n.fillna(0.0), background=sky, mask=mask)
    assert fit.background_stars["background"] == pytest.approx(
        fit.background_amplitudes["background"] * 0.3 * mask.sum()
    )
    assert abs(fit.background_amplitudes["background"] - 1.0) < 0.3


def test_the_first_fit_of_the_issue():
    """A burst at 2.04 Gyr in templates at single ages, and a uniform background."""
    iso, bands = psp.load_isochrones(), ("Bessell_V", "Bessell_I")
    axes = psp.HessAxes(bands, bands[1], np.linspace(-0.5, 2.5, 31), np.linspace(18, 26, 41))
    noise = dict.fromkeys(bands, 0.03)
    log_age = np.round(np.arange(9.0, 9.61, 0.15), 2)
    tmpl = psp.build_templates(
        iso, axes, log_age=log_age, mh=[-0.5], distance_modulus=20.0, noise=noise,
        t_max_gyr=5.0, ages_per_bin=1, progress=False,
    )  # fmt: skip
    n = np.random.default_rng(1).poisson(tmpl.counts[2, 0] * 3e5)
    n[0, 0] = 2  # no isochrone reaches this bin
    with pytest.raises(ValueError, match=r"every template is zero.*background=0\.001, will do"):
        psp.fit_sfh(tmpl, n, psp.FixedAMR([-0.5] * log_age.size), 5.0, sigma=0.1)
    background = axes.wrap(np.full(axes.shape, 1e-3))
    fit = psp.fit_sfh(
        tmpl, n, psp.FixedAMR([-0.5] * log_age.size), 5.0, sigma=0.1, background=background
    )
    assert fit.converged
    assert 1.0 < fit.background_stars["background"] < 4.0
    assert fit.mass_formed[2] == pytest.approx(3e5, rel=0.02)


def test_all_reasons_to_refuse(tmpl, stars):
    axes, n_bin = tmpl.axes, stars.size
    holed = np.ones(axes.shape)
    holed[0, :2], holed[1, 0], holed[2, :3] = np.nan, np.inf, -1.0
    bad = {
        r"background: expected shape \(N_mag, N_color\) .*got \(3, 3\)": np.ones((3, 3)),
        r"background: expected shape.*got shape \(3,\)": np.ones(3),
        "background: expected shape.*got str": "x",
        "background: expected stars in each bin, got True": True,
        "background: expected stars in each bin, got False": np.False_,
        "background: expected stars in each bin, got truth values": np.ones(axes.shape, dtype=bool),
        f"background: .*not negative, got negative in {n_bin} of {n_bin} bins": -1.0,
        f"background: dust: .*, got nan in {n_bin} of {n_bin} bins": {
            "dust": np.full(axes.shape, np.nan)
        },
        f"background: .*, got nan in 2, infinite in 1, negative in 3 of {n_bin} bins": holed,
        "background: no stars are expected": 0.0,
        "background: names must be text, got 3": {3: 1.0},
        "background: 1 for 2 template": None,
        "centered up to": stars.assign_coords(mag=stars["mag"] + 0.1),
    }
    for match, background in bad.items():
        arguments = {"tmpl": tmpl, "hess": stars, "background": background}
        if background is None:
            arguments |= {"tmpl": [tmpl, tmpl], "hess": [stars, stars], "background": 0.1}
        with pytest.raises(ValueError, match=match):
            psp.fit_sfh(**arguments)
    fit = psp.fit_sfh(tmpl, stars, background=0.1)
    with pytest.raises(ValueError, match="expected counts of a fit"):
        psp.fit_sfh(tmpl, stars, background=fit.background)
    held = psp.Background(fit.background, fixed=True)
    assert psp.fit_sfh(tmpl, stars, background=held).nll == pytest.approx(fit.nll, abs=1e-3)
    for arguments in ({"amplitude": 0.0}, {"amplitude": np.nan}, {"sigma": 0.0}, {"sigma": -1.0},
                      {"sigma": 0.1, "fixed": True}, {"fixed": "no"}, {"fixed": 1},
                      {"fixed": None}):  # fmt: skip
        with pytest.raises(ValueError, match="background:"):
            psp.Background(1.0, **arguments)
