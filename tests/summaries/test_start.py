"""Starting points: searches that the edge of the support used to end."""

import numpy as np
import pymc as pm
import pytest
from numpy.testing import assert_allclose

import pymc_starpop as psp
from start_fixtures import two_wells

# Fewer draws than chains look like swapped dimensions to ArviZ.
pytestmark = pytest.mark.filterwarnings("ignore:Found chain dimension to be longer")


@pytest.fixture(scope="module")
def narrow_start():
    """A narrow optimum in a support so small that a step of unit length leaves it."""
    with pm.Model():
        x = pm.Normal("x", 0.0, 0.1, shape=3)
        outside = pm.math.ge(pm.math.abs(x).max(), 0.45)
        peak = -0.5 * (((x - 0.3) / 0.003) ** 2).sum()
        pm.Potential("peak", pm.math.switch(outside, -np.inf, peak))
        return psp.find_start(5, progressbar=False)


def test_climbs_from_several_starts_agree(narrow_start):
    assert narrow_start.optima.sizes["optimum"] == 1
    assert int(narrow_start.optima["n_start"][0]) == 5
    # The mean of two Gaussians, weighted by their precisions.
    expected = 0.3 / (1.0 + (0.003 / 0.1) ** 2)
    assert_allclose(narrow_start["x"], expected, atol=1e-4)


def test_optima_say_whether_they_are_maxima(narrow_start):
    assert bool(narrow_start.optima["converged"][0])
    heading, row = str(narrow_start).splitlines()
    assert "converged" in heading
    assert "yes" in row


def test_an_optimum_at_the_edge_of_the_support_is_not_called_a_maximum():
    with pm.Model():
        x = pm.Normal("x", 0.0, 1.0)
        pm.Potential("rise", pm.math.switch(x < 1.0, 20.0 * x, -np.inf))
        start = psp.find_start(1, progressbar=False)
    assert not bool(start.optima["converged"][0])
    assert float(start["x"]) == pytest.approx(1.0, abs=1e-3)
    assert "no" in str(start).splitlines()[1]


def test_one_climb_draws_nothing():
    """So a prior that cannot be drawn from is no obstacle."""
    with pm.Model():
        x = pm.Flat("x")
        pm.Potential("peak", -0.5 * ((x - 50.0) / 0.01) ** 2)
        start = psp.find_start(1, progressbar=False)
    assert float(start["x"]) == pytest.approx(50.0, abs=1e-3)


def first_points(model, start, sampler, **kwargs):
    """Where the chains of `pm.sample` begin: no step leads away."""
    still = {"max_treedepth": 0} if sampler == "nutpie" else {"step_scale": 1e-15}
    return pm.sample(
        1, tune=0, cores=1, model=model, random_seed=5, nuts=still, progressbar=False, quiet=True,
        compute_convergence_checks=False, **start.sample_kwargs(sampler, **kwargs),
    )["posterior"].isel(draw=0)  # fmt: skip


@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
def test_chains_begin_where_the_search_ended(sampler):
    model = two_wells(12.0)
    start = psp.find_start(8, model=model, progressbar=False)
    assert start.optima.sizes["optimum"] == 2
    assert start.rivals == ()
    first = first_points(model, start, sampler, chains=3)
    assert first.sizes["chain"] == 3
    assert_allclose(first["x"], np.full(3, start["x"]), rtol=1e-9)
    assert_allclose(first["y"], np.tile(start["y"], (3, 1)), rtol=1e-9)


@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
def test_rivals_of_weight_are_starts_of_other_chains(sampler):
    model = two_wells(2.0)
    start = psp.find_start(8, model=model, progressbar=False)
    # Two Gaussians of the same widths, whose Jacobian is that of the uniform prior's transform.
    share = 1.0 / (1.0 + np.exp(2.0))
    assert_allclose(start.optima["weight"], [1.0 - share, share], rtol=5e-3)
    (rival,) = start.rivals
    assert float(rival["x"]) == pytest.approx(-4.0, abs=0.01)
    first = first_points(model, start, sampler, chains=4)
    expected = [[value["x"], *value["y"]] for value in 2 * [start, rival]]
    seen = np.column_stack([first["x"], first["y"]])
    assert_allclose(seen, expected, rtol=1e-9)
    # Not where they are not wanted, and none without a chain.
    for few in ({"chains": 2, "rivals": False}, {"chains": 1}):
        assert start.sample_kwargs(sampler, **few)["initvals"] == start


@pytest.mark.parametrize("sampler", [pytest.param("nutpie", marks=pytest.mark.slow), "pymc"])
def test_chains_of_a_cluster_begin_where_the_search_ended(sampler, cluster_model):
    start = psp.find_start(2, model=cluster_model, progressbar=False)
    assert start.optima["n_start"].sum() == 2
    first = first_points(cluster_model, start, sampler, chains=2, rivals=False)
    for name, value in start.items():
        assert_allclose(first[name], np.full(2, value), rtol=1e-9)


def test_the_widths_of_optima_count_in_their_weights():
    with pm.Model():
        x = pm.Normal("x", 0.0, 5.0)
        narrow, wide = -0.5 * ((x - 4.0) / 0.1) ** 2, -0.5 * ((x + 4.0) / 0.3) ** 2 - 0.6
        pm.Potential("wells", pm.math.logaddexp(narrow, wide))
        start = psp.find_start(8, progressbar=False)
    shares = np.array([0.1, 0.3 * np.exp(-0.6)])
    assert_allclose(start.optima["weight"], shares / shares.sum(), rtol=5e-3)
    assert float(start["x"]) == pytest.approx(4.0, abs=0.01)


def ordered_pair():
    """Two ordered normals, the first of which has two wells."""
    with pm.Model() as model:
        place = pm.Normal(
            "place", 0.0, 3.0, shape=2, initval=[-1.0, 1.0],
            transform=pm.distributions.transforms.ordered,
        )  # fmt: skip
        wells = [-0.5 * ((place[0] - x) / 0.05) ** 2 for x in (-2.0, 0.5)]
        pm.Potential("wells", pm.math.logaddexp(*wells) - 0.5 * ((place[1] - 2.0) / 0.1) ** 2)
    return model


def test_draws_that_are_not_in_order_are_drawn_again():
    """Half of the draws of a pair are; every climb begins, and both wells are found."""
    start = psp.find_start(8, model=ordered_pair(), progressbar=False)
    assert start.optima.sizes["optimum"] == 2
    assert int(start.optima["n_start"].sum()) == 8
    lost = start.optima.attrs["n_without_density"]
    assert 2 <= lost <= 20
    assert f"starting points without a finite log density: {lost}" in str(start)
    assert_allclose(np.sort(start.optima["place"][:, 0]), [-2.0, 0.5], atol=0.01)
    assert psp.find_start(1, model=ordered_pair()).optima.attrs["n_without_density"] == 0


def test_starts_that_cannot_be_had_are_said():
    """One draw in thousands lies where the density is not zero."""
    with pm.Model():
        x = pm.Normal("x", 0.0, 1.0, initval=4.0)
        pm.Potential("far", pm.math.switch(x > 3.5, -((x - 4.0) ** 2), -np.inf))
        said = "1 climbs began, not n_starts = 3: 59 other starting points have no finite"
        with pytest.warns(UserWarning, match=said):
            start = psp.find_start(3, progressbar=False)
    assert start.optima["n_start"].values.tolist() == [1]


def test_variables_may_have_the_names_of_columns():
    with pm.Model():
        pm.Normal("weight", 3.0, 1.0)
        start = psp.find_start(1, progressbar=False)
    assert float(start["weight"]) == pytest.approx(3.0, abs=1e-3)
    assert float(start.optima["weight"][0]) == 1.0
    assert float(start.optima["weight (variable)"][0]) == pytest.approx(3.0, abs=1e-3)


def test_samplers_and_chains_that_are_not_possible_are_refused(narrow_start):
    with pytest.raises(ValueError, match="sampler must be 'nutpie' or 'pymc', got 'numpyro'"):
        narrow_start.sample_kwargs("numpyro")
    for chains in (0, 2.5, True):
        with pytest.raises(ValueError, match="chains must be a whole number, 1 or more"):
            narrow_start.sample_kwargs(chains=chains)
