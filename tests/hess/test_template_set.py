"""Grids of templates, and the rows of them that a likelihood needs."""

import numpy as np
import pytest

import pymc_starpop as psp
from pymc_starpop.hess.rows import hess_rows
from tolerances import assert_close

AXES = psp.HessAxes(("V", "I"), "I", np.linspace(0.0, 2.0, 6), np.linspace(18.0, 24.0, 9))
LOG_AGE, MH = np.array([9.0, 9.5, 10.0]), np.array([-2.0, -1.0])


def make_templates(rng):
    return psp.TemplateSet.from_arrays(rng.uniform(0, 1e-4, (3, 2, 8, 5)), AXES, LOG_AGE, MH)


def test_composite_is_the_sum_of_templates(rng):
    tmpl = make_templates(rng)
    mass = rng.uniform(0, 1e6, (3, 2))
    expected = sum(mass[j, k] * tmpl.counts[j, k] for j in range(3) for k in range(2))
    assert_close(tmpl.composite(mass), expected, "same_formula")


def test_age_bins_end_at_the_maximum_age(rng):
    tmpl = make_templates(rng)
    assert_close(tmpl.age_edges(13.7), [1.0, 10**0.5, 10.0, 13.7], "same_formula")
    with pytest.raises(ValueError, match="t_max_gyr=9"):
        tmpl.age_edges(9.0)


def test_ages_are_the_middles_of_bins_of_means(rng):
    single = make_templates(rng)
    assert_close(single.age_gyr, [1.0, 10**0.5, 10.0], "same_formula")
    means = psp.TemplateSet.from_arrays(single.counts, AXES, LOG_AGE, MH, t_max_gyr=13.0)
    assert_close(means.age_edges(), [1.0, 10**0.5, 10.0, 13.0], "same_formula")
    assert_close(means.age_gyr, [(1 + 10**0.5) / 2, (10**0.5 + 10) / 2, 11.5], "same_formula")
    with pytest.raises(ValueError, match="t_max_gyr=10: the oldest age bin begins at 10"):
        psp.TemplateSet.from_arrays(single.counts, AXES, LOG_AGE, MH, t_max_gyr=10.0)


def test_rows_give_the_likelihood_ratio_of_all_bins(rng):
    tmpl = make_templates(rng)
    mass = rng.uniform(0, 1e4, (3, 2))
    hess = rng.poisson(tmpl.composite(mass))
    mask = rng.random(AXES.shape) < 0.8
    rows = hess_rows(tmpl, hess, mask)
    model = tmpl.composite(mass).values[mask]
    n = hess[mask].astype(float)
    safe = np.where(n > 0, n, 1.0)
    expected = -np.sum(model - n + n * np.log(safe / model))
    m = rows.counts.astype(float) @ mass.ravel()
    value = np.sum(rows.observed * np.log(m)) + rows.constant - rows.totals @ mass.ravel()
    assert_close(value, expected, "float32")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": np.ones((2, 3, 8, 5))}, "shape"),
        ({"counts": np.full((3, 2, 8, 5), np.nan)}, "finite"),
        ({"counts": -np.ones((3, 2, 8, 5))}, "negative"),
        ({"log_age": [9.0, 9.0, 10.0]}, "ascend"),
        ({"mh": [[-1.0, 0.0]]}, "one dimension"),
    ],
)
def test_bad_templates_are_refused(change, message):
    arguments = {"counts": np.ones((3, 2, 8, 5)), "axes": AXES, "log_age": LOG_AGE, "mh": MH}
    with pytest.raises(ValueError, match=message):
        psp.TemplateSet.from_arrays(**{**arguments, **change})
