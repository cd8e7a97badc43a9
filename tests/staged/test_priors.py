"""Priors of the mass ratio: what they sum to, and evolved stars under them."""

import numpy as np
import pytest
from scipy import integrate

import pymc_starpop as psp
from tolerances import assert_close

staged = psp.staged
RATIOS = np.concatenate([[0.0], np.linspace(0.1, 1.0, 19)])


@pytest.fixture(scope="module")
def grid(iso):
    return staged.population_grid(
        iso, 0.0, 9.3, 0.1, 3.1, 300.0, smf_grid=RATIOS, eep_grid=np.linspace(202, 808, 80),
        bands=("Gaia_G_EDR3", "2MASS_J"),
    )  # fmt: skip


@pytest.mark.parametrize("slope", [-1.0, -0.4, 0.0, 1.7])
def test_probabilities_are_integrals_of_the_law(slope):
    p = staged.BinaryPrior(0.35, slope, 0.1).probabilities(RATIOS)
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    assert p[0] == 0.65
    norm = integrate.quad(lambda q: q**slope, 0.1, 1.0)[0]
    edges = np.concatenate([[0.1], 0.5 * (RATIOS[1:-1] + RATIOS[2:]), [1.0]])
    for low, high, probability in zip(edges[:-1], edges[1:], p[1:], strict=True):
        expected = 0.35 * integrate.quad(lambda q: q**slope, low, high)[0] / norm
        assert_close(probability, expected, "quadrature")


def test_ratios_below_the_lowest_of_a_binary_get_nothing():
    p = staged.BinaryPrior(0.5, 0.0, 0.4).probabilities(np.linspace(0.0, 1.0, 11))
    assert (p[1:4] == 0.0).all()
    assert p[4] == pytest.approx(0.5 * 0.05 / 0.6)


def test_every_primary_has_the_same_weight_under_any_prior(grid):
    """Whatever the prior of the mass ratio, the masses keep theirs: evolved stars as well."""
    for prior in (staged.BinaryPrior(0.3, 0.5), lambda q: (1.0 + q) ** 2, lambda q: 0.7):
        weight = grid["smf_jacobians"] * staged.mass_ratio_prior(grid, prior)
        total = [weight[grid["eep"] == eep].sum() for eep in np.unique(grid["eep"])]
        assert_close(total, np.full(len(total), total[0]), "same_formula")
        assert total[0] > 0.0


def test_a_prior_by_callable_and_by_array_reach_the_total(grid):
    rng = np.random.default_rng(5)
    flux = grid["photometry"][rng.choice(len(grid["eep"]), 9)] * rng.uniform(0.9, 1.1, (9, 2))
    arguments = (0.0, 9.3, 0.1, 3.1, 300.0, 0.1), grid, flux, 0.1 * flux
    by_array = staged.mass_ratio_prior(grid, lambda q: q**2)
    total = staged.population_loglike(*arguments, smf_prior=lambda q: q**2)
    assert total == staged.population_loglike(*arguments, smf_prior=by_array)
    assert total != staged.population_loglike(*arguments)
    flat = staged.population_loglike(*arguments, smf_prior=lambda q: 3.0)
    assert flat == pytest.approx(staged.population_loglike(*arguments), abs=1e-9)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (lambda q: q - 0.5, "prior must give finite values of 0 or more"),
        (lambda q: 0.0 * q, "not all 0"),
        (lambda q: np.log(q + 0.0 * q) if q.all() else q * np.nan, "prior must give finite"),
    ],
)
def test_bad_priors_are_refused(grid, prior, message):
    with pytest.raises(ValueError, match=message):
        staged.mass_ratio_prior(grid, prior)


def test_grids_that_a_prior_cannot_serve(grid):
    with pytest.raises(ValueError, match="grid lacks grid_info"):
        staged.mass_ratio_prior({k: v for k, v in grid.items() if k != "grid_info"}, np.ones_like)
    other = grid | {"grid_info": {"smf_grid": [0.0, 0.5]}}
    with pytest.raises(ValueError, match="has mass ratios that"):
        staged.mass_ratio_prior(other, np.ones_like)
    with pytest.raises(ValueError, match="smf_grid must hold 0 for single stars"):
        staged.BinaryPrior(0.3).probabilities([0.1, 0.2])


@pytest.mark.parametrize(
    "values",
    [
        {"binary_fraction": 1.2},
        {"binary_fraction": 0.1, "mass_ratio_slope": np.inf},
        {"binary_fraction": 0.1, "mass_ratio_min": 0.0},
    ],
)
def test_numbers_of_binaries_are_checked(values):
    with pytest.raises(ValueError, match=f"{list(values)[-1]} must be"):
        staged.BinaryPrior(**values)
