"""The population grid against brutus' own grid and binaries on the same isochrones."""

import numpy as np
import pytest

import pymc_starpop as psp
from tolerances import assert_close

COLUMNS = ("photometry", "masses", "smf_values", "mass_jacobians", "smf_jacobians")
BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "2MASS_J", "2MASS_Ks")
MIDDLE = (0.07, 9.32, 0.35, 3.2, 820.0)
OLD = (-1.1, 10.03, 0.0, 3.1, 12000.0)
YOUNG = (0.2, 7.6, 1.4, 2.7, 150.0)
CASES = {
    "default": (MIDDLE, {}),
    "old": (OLD, {"smf_grid": [0.0, 0.3, 0.9]}),
    "young": (YOUNG, {"smf_grid": [0.2, 0.5, 1.0]}),
    "corrections": (MIDDLE, {"corr_params": (0.12, -0.2, 25.0, 0.3), "smf_grid": [0.0, 0.7]}),
    "limits": (MIDDLE, {"mini_bound": 0.4, "eep_binary_max": 350.5}),
    "every node": (OLD, {"eep_grid": np.arange(1.0, 809.0), "smf_grid": [0.0, 0.55, 1.0]}),
    "beyond the nodes": (MIDDLE, {"eep_grid": np.arange(-3.0, 820.0, 1.7)}),
    "one ratio": (MIDDLE, {"smf_grid": [0.6]}),
    "uneven": (YOUNG, {"smf_grid": [0.0, 0.1, 0.35, 1.0], "eep_grid": [150.0, 210.2, 300, 470]}),
    "no companions": (OLD, {"eep_binary_max": 100.0}),
    "companions everywhere": (MIDDLE, {"eep_binary_max": 808.0, "smf_grid": [0.0, 0.99]}),
    "one point": (MIDDLE, {"eep_grid": [300.0]}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of brutus about its own NaN
def test_grid_is_that_of_brutus(brutus, stellar_pop, iso, case):
    theta, options = case
    grid = psp.staged.population_grid(iso, *theta, **options, bands=BANDS)
    other = brutus.generate_isochrone_population_grid(stellar_pop(iso), *theta, **options)
    for name in COLUMNS:
        assert_close(grid[name], other[name], "other_code")
    assert np.isfinite(grid["photometry"]).all(axis=1).mean() > 0.3
    info, other_info = grid["grid_info"], other["grid_info"]
    assert info["n_total_points"] == other_info["n_total_points"] == len(grid["masses"])
    for name in ("smf_grid", "eep_grid"):
        assert_close(info[name], other_info[name], "same_formula")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_grid_on_few_nodes_is_that_of_brutus(brutus, stellar_pop, coarse):
    grid = psp.staged.population_grid(coarse, *MIDDLE, bands=BANDS)
    other = brutus.generate_isochrone_population_grid(stellar_pop(coarse), *MIDDLE)
    for name in COLUMNS:
        assert_close(grid[name], other[name], "other_code")


def test_single_stars_are_the_points_of_the_isochrone(iso):
    one = iso.at(*MIDDLE[:2], BANDS, av=MIDDLE[2], rv=MIDDLE[3])
    eep = iso.eep_at(*MIDDLE[:2])
    grid = psp.staged.population_grid(
        iso, *MIDDLE, smf_grid=[0.0], eep_grid=eep, mini_bound=0.0, bands=BANDS
    )
    kept = np.isin(eep, grid["eep"])
    assert kept.mean() > 0.9
    assert_close(grid["masses"], one.initial_mass[kept], "same_formula")
    modulus = 5.0 * np.log10(MIDDLE[4] / 10.0)
    mag = psp.staged.in_magnitudes(grid)["photometry"]
    assert_close(mag, one.abs_mag[kept] + modulus, "same_formula")


def test_evolved_stars_carry_the_full_measure_of_mass_ratios(iso):
    grid = psp.staged.population_grid(iso, *MIDDLE, bands=BANDS)
    evolved = grid["eep"] > 480.0
    assert_close(np.unique(grid["smf_jacobians"][evolved]), [21 * 0.05], "same_formula")
    assert_close(np.unique(grid["smf_jacobians"][~evolved])[[0, -1]], [0.05, 0.05], "same_formula")
    # A point below the limit comes with all mass ratios, one above only once.
    assert len(np.unique(grid["eep"][evolved])) == evolved.sum()


def test_own_names_of_arguments(iso):
    values = dict(zip(("feh", "log_age", "av", "rv", "distance_pc"), MIDDLE, strict=True))
    corrections = psp.EmpiricalCorrections(0.1, -0.1, 30.0, 0.5)
    options = {"mass_min": 0.2, "binary_eep_max": 400.0, "corrections": corrections}
    own = psp.staged.population_grid(iso, **values, **options, bands=BANDS)
    modulus = 5.0 * np.log10(values.pop("distance_pc")) - 5.0
    by_modulus = psp.staged.population_grid(
        iso, **values, distance_modulus=modulus, **options, bands=BANDS
    )
    theirs = psp.staged.population_grid(
        iso, *MIDDLE, mini_bound=0.2, eep_binary_max=400.0, corr_params=(0.1, -0.1, 30.0, 0.5),
        bands=BANDS,
    )  # fmt: skip
    for name in COLUMNS:
        assert_close(own[name], theirs[name], "same_formula")
        assert_close(by_modulus[name], theirs[name], "kernel")
    with pytest.raises(ValueError, match="mass_min and mini_bound are two names"):
        psp.staged.population_grid(iso, *MIDDLE, mass_min=0.1, mini_bound=0.1)
    with pytest.raises(ValueError, match="distance_modulus and dist are two names"):
        psp.staged.population_grid(iso, *MIDDLE, distance_modulus=8.0)


@pytest.mark.parametrize("theta", [MIDDLE, OLD])
def test_weights_of_a_mass_function_are_its_shares(iso, theta):
    """They sum to 1, and to the share of the mass function within any range of masses."""
    imf = psp.Kroupa()
    eep = np.linspace(1.0, 808.0, 3000)
    grid = psp.staged.population_grid(
        iso, *theta, eep_grid=eep, smf_grid=[0.0], mini_bound=0.1, imf=imf, bands=BANDS[:1]
    )
    mass, weight = grid["masses"], grid["mass_jacobians"]
    assert mass[0] >= 0.1
    # Where masses fall and rise again along the isochrone some are there twice.
    assert weight.sum() == pytest.approx(1.0, abs=1e-3)
    total = imf.integral(0.1, mass[-1])
    for edge in (0.2, 0.5, 0.6):
        nearest = np.ptp(mass[np.abs(mass - edge) < 0.02]) / (np.abs(mass - edge) < 0.02).sum()
        tolerance = float(imf.density(edge) / total * nearest)
        expected = float(imf.integral(0.1, edge) / total)
        assert weight[mass < edge].sum() == pytest.approx(expected, abs=tolerance)


def test_weights_of_a_mass_function_below_the_first_point(iso):
    """A grid that begins above the lowest mass begins the mass function there."""
    grid = psp.staged.population_grid(
        iso, *YOUNG, smf_grid=[0.0], mini_bound=0.1, imf=psp.Salpeter(), bands=BANDS[:1]
    )
    assert grid["masses"][0] > 0.5
    assert grid["mass_jacobians"].sum() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smf_grid": [0.5, 0.2]}, "smf_grid must be .* ascending numbers from 0 to 1"),
        ({"smf_grid": [0.0, 1.2]}, "smf_grid must be"),
        ({"smf_grid": []}, "smf_grid must be"),
        ({"eep_grid": [300.0, np.nan]}, "eep_grid must be"),
        ({"eep_grid": [[300.0]]}, "eep_grid must be"),
        ({"eep_grid": [900.0, 901.0]}, "eep_grid .900 to 901. has no point whose mass increases"),
        ({"corr_params": (0.1, 0.1)}, "corr_params must be EmpiricalCorrections or its four"),
        ({"imf": "kroupa"}, "imf must be a mass function"),
        ({"bands": ["Gaia_G"]}, "unknown band 'Gaia_G'"),
        ({"dist": -3.0}, "dist must be a positive distance"),
        ({"feh": 2.0}, "feh=2 is outside the grid"),
    ],
)
def test_bad_arguments_are_refused(iso, options, message):
    names = ("feh", "loga", "av", "rv", "dist")
    arguments = dict(zip(names, MIDDLE, strict=True)) | {"bands": BANDS[:1]} | options
    with pytest.raises(ValueError, match=message):
        psp.staged.population_grid(iso, **arguments)


def test_magnitudes_of_a_grid_of_magnitudes_are_refused():
    with pytest.raises(ValueError, match="fluxes of 0 or less"):
        psp.staged.in_magnitudes({"photometry": [[-1.0]]})
