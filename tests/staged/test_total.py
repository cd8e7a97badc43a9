"""All steps together against brutus, the identity of mixtures, and arguments that are refused."""

from types import SimpleNamespace

import numpy as np
import pytest

import pymc_starpop as psp
from tolerances import NATS_STAGED_WORST, assert_close

staged = psp.staged
BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "2MASS_J", "2MASS_Ks")
THETA = (0.07, 9.32, 0.35, 3.2, 820.0, 0.2)
SMALL = {"smf_grid": np.linspace(0.0, 1.0, 5), "eep_grid": np.linspace(202.0, 808.0, 150)}


@pytest.fixture(scope="module")
def sky(iso):
    """Fluxes of a few stars, with bands and parallaxes missing."""
    cat = psp.simulate_cluster(
        iso, n_star=18, bands=BANDS, mag_err=0.08, parallax_err=0.1, rng=4, feh=0.07,
        log_age=9.32, distance_pc=820.0, av=0.35, rv=3.2, binary_fraction=0.5,
    )  # fmt: skip
    flux = 10.0 ** (-0.4 * cat.mag)
    err = 0.4 * np.log(10.0) * cat.mag_err * flux
    rng = np.random.default_rng(8)
    flux[rng.random(flux.shape) < 0.1] = np.nan
    flux[0] *= 30.0
    parallax = cat.parallax.copy()
    parallax[[2, 5]] = np.nan
    mask = (rng.random(flux.shape) < 0.9).astype(float)
    return SimpleNamespace(
        flux=flux, err=err, mask=mask, prior=rng.uniform(0.1, 1.0, len(flux)),
        parallax={"parallax": parallax, "parallax_err": cat.parallax_err},
    )  # fmt: skip


OPTIONS = {
    "default": {},
    "density": {"dim_prior": False},
    "outliers": {"p_value_cut": 1e-3, "dof_reduction": 1, "cluster_prob": 0.6},
    "uniform": {"dim_prior": False, "sigma_clip": 1.0},
    "physics": {"mini_bound": 0.2, "eep_binary_max": 400.0, "corr_params": (0.1, -0.1, 20.0, 0.4)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("data", ["photometry", "all"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_total_is_that_of_brutus(brutus, stellar_pop, iso, sky, options, data):
    given = SMALL | options
    if data == "all":
        given |= {"mask": sky.mask, **sky.parallax, "cluster_prob": sky.prior}
    given["return_components"] = True
    total, parts = staged.population_loglike(THETA, iso, sky.flux, sky.err, **given, bands=BANDS)
    other_total, other = brutus.isochrone_population_loglike(
        THETA, stellar_pop(iso), sky.flux, sky.err, **given
    )
    assert np.isfinite(total)
    assert_close(total, other_total, "other_code")
    assert set(parts) == set(other)
    for name in ("lnl_total", "lnl_per_object", "lnl_cluster", "lnl_outlier", "lnl_mixture"):
        assert_close(parts[name], other[name], "other_code")
    for name in ("photometry", "masses", "smf_values", "mass_jacobians", "smf_jacobians"):
        assert_close(parts["isochrone_grid"][name], other["isochrone_grid"][name], "other_code")


def test_total_from_a_ready_grid(iso, sky):
    grid = staged.population_grid(iso, *THETA[:5], **SMALL, bands=BANDS)
    ready = staged.population_loglike(THETA, grid, sky.flux, sky.err, **sky.parallax)
    made = staged.population_loglike(
        THETA, iso, sky.flux, sky.err, **sky.parallax, **SMALL, bands=BANDS
    )
    assert ready == made


def test_outlier_models_reach_the_total_by_either_name(iso, sky):
    grid = staged.population_grid(iso, *THETA[:5], **SMALL, bands=BANDS)
    arguments = THETA, grid, sky.flux, sky.err
    options = {"dim_prior": False, "scale": 5.0}
    own = staged.population_loglike(*arguments, model="inflated", **options)
    theirs = staged.population_loglike(*arguments, outlier_model_func="inflated", **options)
    assert own == theirs
    assert own != staged.population_loglike(*arguments, dim_prior=False)


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize("value", [np.nan, np.inf, -50.0])
def test_outside_the_isochrones_there_is_no_likelihood(iso, sky, position, value):
    theta = list(THETA)
    theta[position] = value
    arguments = theta, iso, sky.flux, sky.err
    total, parts = staged.population_loglike(*arguments, bands=BANDS, return_components=True)
    assert total == -np.inf
    assert (parts["lnl_per_object"] == -np.inf).all()
    assert parts["isochrone_grid"] is None
    assert staged.population_loglike(*arguments, bands=BANDS) == -np.inf


def test_a_star_that_nothing_explains_makes_the_total_infinite(iso, sky):
    flux = sky.flux.copy()
    flux[3] = np.nan
    grid = staged.population_grid(iso, *THETA[:5], **SMALL, bands=BANDS)
    total, parts = staged.population_loglike(THETA, grid, flux, sky.err, return_components=True)
    assert total == -np.inf
    assert np.isfinite(np.delete(parts["lnl_per_object"], 3)).all()


def mixed_before_and_after(grid, sky, field):
    """Log-likelihood (N,) with the mixture inside the integral, and outside.

    Outside the integral a star has one density of the field, `field` (N,); inside it may have one
    at each point (G, N).
    """
    weights = grid["mass_jacobians"], grid["smf_jacobians"]
    cluster = staged.cluster_loglike(sky.flux, sky.err, grid, dim_prior=False)
    inside = staged.marginalize(
        staged.mixture(cluster, np.broadcast_to(field, cluster.shape), sky.prior, 0.3), *weights
    )
    member = 0.7 * sky.prior
    average = np.log(np.mean(np.exp(np.atleast_2d(field)), axis=0))
    outside = np.logaddexp(
        np.log(member) + staged.marginalize(cluster, *weights), np.log1p(-member) + average
    )
    return inside, outside


@pytest.fixture(scope="module")
def ready(iso):
    """A grid that also has points without a model, of stars below the lowest mass."""
    grid = staged.population_grid(iso, *THETA[:5], **SMALL, mini_bound=0.12, bands=BANDS)
    assert not np.isfinite(grid["photometry"]).all()
    return grid


def test_mixing_before_and_after_the_integral_is_the_same_without_masses(ready, sky):
    for field in ("uniform", "chi-square"):
        lnl = staged.outlier_loglike(sky.flux, sky.err, model=field, mask=sky.mask)
        inside, outside = mixed_before_and_after(ready, sky, lnl[0])
        assert_close(inside, outside, "other_code")


def test_mixing_after_the_integral_is_wrong_where_the_field_depends_on_mass(ready, sky):
    """No density per star alone stands for a field that differs between the points."""
    uniform = staged.outlier_loglike(sky.flux, sky.err, ready, dim_prior=False)
    by_mass = uniform + np.log(ready["masses"])[:, None]
    inside, outside = mixed_before_and_after(ready, sky, by_mass)
    assert np.abs(inside - outside).max() > NATS_STAGED_WORST
    # The field averages with the same weights as members do: the grid's, over points with a model.
    valid = np.isfinite(ready["photometry"]).all(axis=1)
    weight = (ready["mass_jacobians"] * ready["smf_jacobians"])[valid]
    average = uniform[0] + np.log(np.average(ready["masses"][valid], weights=weight))
    assert_close(inside, mixed_before_and_after(ready, sky, average)[1], "other_code")


def test_bad_arguments_are_refused(ready, sky, iso):
    good = THETA, ready, sky.flux, sky.err
    with pytest.raises(ValueError, match="theta must be the 6 numbers feh, loga, av, rv, dist"):
        staged.population_loglike(THETA[:5], *good[1:])
    with pytest.raises(ValueError, match=r"obs_flux and obs_err must both have shape"):
        staged.population_loglike(THETA, ready, sky.flux, sky.err[:, :2])
    with pytest.raises(ValueError, match=r"has 4 bands and obs_flux 3"):
        staged.population_loglike(THETA, ready, sky.flux[:, :3], sky.err[:, :3])
    with pytest.raises(ValueError, match=r"has 32 bands and obs_flux 4"):
        staged.population_loglike(THETA, iso, sky.flux, sky.err, **SMALL)
    with pytest.raises(ValueError, match="parallax_err was not given"):
        staged.population_loglike(*good, parallax=sky.parallax["parallax"])
    with pytest.raises(ValueError, match=r"cluster_prob must lie between 0 and 1, got 1\.2"):
        staged.population_loglike(*good, cluster_prob=1.2)
    with pytest.raises(ValueError, match="has no option sigma; it has p_value_cut, dof_reduction"):
        staged.population_loglike(*good, sigma=3.0)
    with pytest.raises(ValueError, match="grid lacks mass_jacobians; it has photometry"):
        staged.population_loglike(THETA, {"photometry": [[1.0]], "smf_jacobians": [1]}, *good[2:])
