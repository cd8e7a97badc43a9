"""Predicted stars and luminosity functions, held to each other and to simulated clusters."""

import numpy as np
import pytensor
import pytest
from scipy import stats

import pymc_starpop as psp
from after_fit_fixtures import BANDS, FREE, build_model
from pymc_starpop.isochrones.magnitudes import model_magnitudes
from pymc_starpop.summaries.predict_cmd import tilted

pytestmark = pytest.mark.usefixtures("python_vm")

EDGES = {"Gaia_G_EDR3": np.arange(10.0, 24.1, 1.0), "2MASS_Ks": np.arange(8.0, 19.1, 1.0)}


@pytest.fixture(scope="module", params=["magnitudes", "fluxes"])
def case(request, cluster_iso, seen, living, seen_model):
    """A model of the stars that were seen, in magnitudes and in fluxes."""
    if request.param == "magnitudes":
        return seen_model, seen
    flux = 10.0 ** (0.4 * (22.5 - living.mag))
    catalog = psp.StarCatalog.from_flux(flux, 0.4 * np.log(10.0) * 0.03 * flux, bands=BANDS)
    limits = psp.MagnitudeLimits("Gaia_G_EDR3", 11.0, 18.0, error=0.03)
    catalog = catalog.select(limits.mask(catalog))
    return build_model(cluster_iso, catalog, selection=limits), catalog


@pytest.fixture(scope="module")
def predicted(case, at_truth):
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        return psp.predict_cmd(at_truth, 2000, case[0], random_seed=1, progressbar=False)


@pytest.fixture(scope="module")
def every(case, at_truth):
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        return psp.predict_cmd(
            at_truth, 2000, case[0], selected=False, random_seed=2, progressbar=False
        )


@pytest.fixture(scope="module")
def functions(case, at_truth):
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        return {
            band: psp.luminosity_function(at_truth, band, edges, case[0], progressbar=False)
            for band, edges in EDGES.items()
        }


def flat(variable):
    return variable.stack(all=("chain", "draw", "system")).values


@pytest.mark.parametrize("band", BANDS)
def test_predicted_stars_are_like_those_that_were_seen(predicted, case, band):
    _, catalog = case
    mag = catalog.mag[:, catalog.bands.index(band)]
    found = flat(predicted["observed_mag"].sel(band=band))
    assert stats.ks_2samp(mag, found).pvalue > 0.005
    assert stats.ks_2samp(mag + 0.3, found).pvalue < 1e-4


def test_predicted_masses_and_companions_are_those_of_all_systems(every, living):
    mass, ratio = flat(every["initial_mass"]), flat(every["mass_ratio"])
    assert stats.ks_2samp(living.extra["initial_mass"], mass).pvalue > 0.005
    true_mass = living.extra["initial_mass"]
    lit = np.where(living.extra["mass_ratio"] * true_mass >= 0.1, living.extra["mass_ratio"], 0.0)
    spread = np.sqrt(0.25 / living.n_star)
    assert abs((ratio > 0.0).mean() - (lit > 0.0).mean()) < 4.0 * spread
    assert abs(ratio[ratio > 0].mean() - lit[lit > 0].mean()) < 0.03


def test_only_what_can_be_seen_is_predicted(predicted):
    g = flat(predicted["observed_mag"].sel(band="Gaia_G_EDR3"))
    assert g.min() >= 11.0 - 1e-9
    assert g.max() <= 18.0 + 1e-9
    error = g - flat(predicted["mag"].sel(band="Gaia_G_EDR3"))
    assert 0.02 < error.std() < 0.04


@pytest.mark.parametrize("band", BANDS)
def test_luminosity_functions_are_expected_numbers_of_drawn_stars(
    functions, predicted, every, case, band
):
    function, edges = functions[band].isel(chain=0, draw=0), EDGES[band]
    n = case[1].n_star
    drawn = np.histogram(flat(predicted["observed_mag"].sel(band=band)), edges)[0]
    expected = function["predicted"].values / n
    total = predicted["initial_mass"].size
    spread = np.sqrt(total * expected) + 1.0
    # In the other band, detection that varies along a segment moves some across an edge.
    assert np.all(np.abs(drawn - total * expected) < 4.0 * spread + 0.01 * total * expected)
    share = function["corrected"].values
    drawn = np.histogram(flat(every["mag"].sel(band=band)), edges)[0]
    # Scatter of 0.01 mag is in the drawn ones only.
    wanted = share / share.sum() * drawn.sum()
    assert np.all(np.abs(drawn - wanted) < 4.0 * np.sqrt(wanted) + 1.0 + 0.01 * wanted)


@pytest.mark.parametrize("band", BANDS)
def test_luminosity_functions_of_the_data(functions, case, living, band):
    _, catalog = case
    function, edges = functions[band].isel(chain=1, draw=0), EDGES[band]
    mag = catalog.mag[:, catalog.bands.index(band)]
    np.testing.assert_allclose(function["observed"], np.histogram(mag, edges)[0])
    assert abs(float(function["predicted"].sum()) - catalog.n_star) < 0.01 * catalog.n_star
    true = np.histogram(living.mag[:, living.bands.index(band)], edges)[0]
    corrected = function["corrected"].values
    # The total carries the scatter of what was seen.
    chi2 = (((true - corrected) / np.sqrt(corrected + 1.0)) ** 2).sum()
    assert chi2 < stats.chi2.isf(1e-3, true.size)
    assert function.attrs["band"] == band
    np.testing.assert_allclose(function["mag"], 0.5 * (edges[1:] + edges[:-1]))


def test_places_along_a_segment_follow_its_tilt(rng):
    for tilt in (-2.0, -0.7, 0.0, 1e-9, 1.5, 2.0):
        t = tilted(np.full(20_000, tilt), rng)
        assert stats.kstest(t, lambda x, k=tilt: x + 0.5 * k * (x**2 - x)).pvalue > 1e-3


def test_depth_and_extinction_of_single_stars_scatter_predictions(cluster_iso, seen, at_truth, rng):
    few = seen.select(np.arange(60))
    av = rng.uniform(0.0, 1.0, 60)
    model = build_model(
        cluster_iso, few, distance_modulus_scatter=0.5, av=av, binary_fraction=0.0,
        mass_ratio_nodes=4,
    )  # fmt: skip
    at = at_truth.isel(chain=[0], draw=[0])
    drawn = psp.predict_cmd(at, 4000, model, random_seed=3, selected=False, progressbar=False)
    still = psp.predict_cmd(
        at, 4000, build_model(cluster_iso, few, av=av.mean(), binary_fraction=0.0), random_seed=3,
        selected=False, progressbar=False,
    )  # fmt: skip
    k = drawn["mag"].sel(band="2MASS_Ks").values.ravel()
    k0 = still["mag"].sel(band="2MASS_Ks").values.ravel()
    # The same systems, as the seed is the same: what is left is the scatter.
    np.testing.assert_array_equal(drawn["initial_mass"], still["initial_mass"])
    difference = k - k0
    assert abs(difference.mean()) < 0.05
    assert abs(difference.std() - np.hypot(0.5, 0.12 * av.std())) < 0.03


@pytest.mark.parametrize("is_flux", [False, True], ids=["magnitudes", "fluxes"])
def test_scatter_that_bands_share_is_predicted(cluster_iso, seen, at_truth, is_flux):
    """Beside the same systems without it: the covariance of a grey part and one along T_eff."""
    few, grey, warmth = seen.select(np.arange(60)), 0.05, 0.006
    if is_flux:
        flux = 10.0 ** (0.4 * (22.5 - few.mag))
        few = psp.StarCatalog.from_flux(flux, 0.03 * flux, bands=BANDS)
    at, drawn = at_truth.isel(chain=[0], draw=[0]), []
    for scatter in ({"grey_scatter": grey, "log_teff_scatter": warmth}, {}):
        model = build_model(
            cluster_iso, few, binary_fraction=0.0, intrinsic_scatter=0.0, selection=None, **scatter
        )
        drawn.append(
            psp.predict_cmd(at, 4000, model, random_seed=3, selected=False, progressbar=False)
        )
    np.testing.assert_array_equal(*(one["initial_mass"] for one in drawn))
    mass = drawn[0]["initial_mass"].values.ravel()
    track = model_magnitudes(cluster_iso, BANDS, (0.0, FREE["log_age"]), with_teff_slope=True)
    rising, inner = cluster_iso.eep < 450, (mass > 0.15) & (mass < 1.8)
    known = 10.0 ** track.log10_mass[rising]
    u = np.array([np.interp(mass[inner], known, s) for s in track.teff_slope[rising].T])
    moved = (drawn[0]["mag"] - drawn[1]["mag"]).values[0, 0][inner].T
    found = moved @ moved.T / inner.sum()
    expected = grey**2 + warmth**2 * u @ u.T / inner.sum()
    np.testing.assert_allclose(found, expected, atol=0.06 * np.diag(expected).max())
    assert found[0, 0] > 1.2 * grey**2


def test_refusals(seen_model, at_truth):
    with pytest.raises(ValueError, match="band='K' is none of the catalog's: Gaia_G_EDR3"):
        psp.luminosity_function(at_truth, "K", [1.0, 2.0], seen_model)
    for edges in ([1.0], [2.0, 1.0], [1.0, np.nan]):
        with pytest.raises(ValueError, match="edges must be at least two ascending"):
            psp.luminosity_function(at_truth, "2MASS_Ks", edges, seen_model)
    with pytest.raises(ValueError, match="n_system must be a whole number of at least 1, got 0"):
        psp.predict_cmd(at_truth, 0, seen_model)


def test_free_parameters_are_those_of_the_posterior(seen_model, at_truth):
    moved = at_truth.copy(deep=True)
    moved["distance_modulus"][1] = FREE["distance_modulus"] + 0.1
    drawn = psp.predict_cmd(
        moved, 3000, seen_model, selected=False, thin=12, random_seed=1, progressbar=False
    )
    shift = drawn["mag"].mean("system").diff("chain").values.ravel()
    np.testing.assert_allclose(shift, 0.1, atol=0.2)
