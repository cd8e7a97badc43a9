"""The search for the maximum of the likelihood ends at the best of several optima."""

import warnings

import numpy as np
import pytest

import pymc_starpop as psp
from pymc_starpop.sfh.metallicity_starts import other_starts
from pymc_starpop.sfh.search import maximize_from
from sfh_fixtures import galaxy, toy_templates

from .test_robust_fits import random_problem

MODELS = [psp.LinearAMR(), psp.LogarithmicAMR(), psp.PowerLawMZR(), psp.MonotoneAMR(3)]


@pytest.mark.parametrize("seed", [88, 147, 352, 388])
def test_other_metallicities_are_tried(seed):
    """Toy problems where a search from the default start ends 20 to 460 nats above the best."""
    tmpl, stars, model, sigma, background = random_problem(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = psp.fit_sfh(tmpl, stars, model, sigma=sigma, background=background)
        problem = fit.problem
        mass = np.full(tmpl.n_age, fit.mass_formed.mean())
        values = {p.name: np.full(p.n, p.start) for p in problem.parameters}
        start = problem.join(mass, values | {"sigma": 0.6})
        alone = maximize_from(problem, start)
    assert fit.converged
    assert fit.nll < alone.state.value - 10.0


def test_a_search_that_stalls_is_not_called_converged():
    """Far from the templates of one metallicity nothing tells a step in it from another.

    Such steps, damped as one, made all others too short to gain anything.
    """
    tmpl, stars, model, sigma, background = random_problem(187)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = psp.fit_sfh(tmpl, stars, model, sigma=sigma, background=background)
    assert fit.converged
    text = repr(fit)
    assert text.startswith("<SFHFit: 6 ages (log_age 8.6 to 10.1), -ln PLR 6.4")
    assert len(text) < 200
    # At any optimum the scale of the masses fits the number of stars.
    assert float(fit.model.sum()) == pytest.approx(stars.sum(), rel=1e-3)
    assert fit.nll < 6.5  # 10.5 where it had stalled


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_starts_have_the_metallicities_that_are_asked_for(model):
    tmpl = toy_templates(8, 10)
    values = [p.start for p in model.parameters for _ in range(p.n)]
    _, _, stars = galaxy(tmpl, psp.LinearAMR(), [0.1, -1.8])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem = psp.fit_sfh(tmpl, stars, model).problem
    start = np.concatenate([np.full(8, 1e5), values, [0.3]])
    points = other_starts(problem, start)
    assert len(points) == 4
    low, span = tmpl.mh[0], np.ptp(tmpl.mh)
    for point, level in zip(points, (0.2, 0.5, 0.8), strict=False):
        mean = problem.mean_metallicity(point)
        np.testing.assert_allclose(mean, low + level * span, atol=0.15)
        np.testing.assert_array_equal(point[:8], start[:8])
    rising = problem.mean_metallicity(points[3])
    assert rising[0] > rising[-1] + 0.3 * span
