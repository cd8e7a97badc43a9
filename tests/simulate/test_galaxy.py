"""Simulated galaxies follow the laws that they are drawn from, bright limits or not."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import stats

import pymc_starpop as psp
from tolerances import assert_close

# Chance of a false alarm of each statistical test; the seeds are fixed.
LEAST_P = 1e-3
BANDS = ("Bessell_V", "Bessell_I")
# A toy isochrone with a turn back in color, a jump at equal mass, and a dip that holds no stars.
MASS = np.array([0.1, 0.5, 0.9, 1.0, 1.0, 1.05, 1.04, 1.08])
MAG = np.array(
    [[12.0, 11.0], [8.0, 7.2], [5.0, 4.4], [2.0, 1.0], [0.5, 0.4], [0.6, 0.2], [-1.0, -2.0],
     [-2.0, -3.5]]
)  # fmt: skip
TOY = (MASS, MAG)
PLAIN = (MASS[:-2], MAG[:-2])
BINARIES = [psp.NoBinaries(), psp.RandomBinaryPairs(0.6), psp.MassRatioBinaries(0.6, 0.2, 0.5)]


def toy(mass=1e5, iso=TOY, **options):
    options = {"bands": ("V", "I"), "distance_modulus": 24.0, "rng": 3, "progress": False} | options
    return psp.simulate_cmd(iso, mass, **options)


def place(mass):
    """Magnitudes of stars on the plain isochrone by a search piece by piece."""
    mag = np.full((mass.size, 2), np.inf)
    for a, b in ((0, 1), (1, 2), (2, 3), (4, 5)):
        here = (mass >= MASS[a]) & (mass <= MASS[b])
        t = (mass[here] - MASS[a]) / (MASS[b] - MASS[a])
        mag[here] = MAG[a] + t[:, None] * (MAG[b] - MAG[a])
    return mag


def brute_force(binaries, n, rng, imf):
    """Systems of n draws, dark ones too: masses and magnitudes, in the obvious way."""
    first = imf.sample(n, imf.mass_min, imf.mass_max, rng)
    second = np.zeros(n)
    pair = rng.random(n) < binaries.fraction
    if isinstance(binaries, psp.RandomBinaryPairs):
        second[pair] = imf.sample(int(pair.sum()), imf.mass_min, imf.mass_max, rng)
    if isinstance(binaries, psp.MassRatioBinaries):
        low, power = binaries.mass_ratio_min, 1.0 + binaries.slope
        q = (low**power + rng.random(n) * (1.0 - low**power)) ** (1.0 / power)
        second = np.where(pair, first * q / (1.0 + q), 0.0)
        first = first - second
    flux = 10.0 ** (-0.4 * place(first)) + np.where(
        pair[:, None], 10.0 ** (-0.4 * place(second)), 0.0
    )
    with np.errstate(divide="ignore"):
        return first + second, -2.5 * np.log10(flux) + 24.0


@pytest.mark.parametrize("binaries", BINARIES)
@pytest.mark.parametrize("limit", [None, {"I": 29.0}, {"V": 27.5, "I": 26.8}])
@pytest.mark.parametrize("mass_min", [0.08, 0.3])  # below and above the end of the isochrone
def test_counts_in_magnitude_match_brute_force(binaries, limit, mass_min):
    imf = psp.Kroupa(mass_min=mass_min)
    n = 1_000_000
    total, mag = brute_force(binaries, n, np.random.default_rng(1), imf)
    drawn = toy(2e6, iso=PLAIN, imf=imf, binaries=binaries, faint_limit=limit)
    expected_systems = 2e6 * binaries.systems_per_mass(imf)
    assert abs(total.mean() * binaries.systems_per_mass(imf) - 1.0) < 5 * total.std() / n**0.5 * 2
    edges = np.array([20.0, 22.0, 24.0, 25.0, 26.0, 26.8, 27.5, 28.0, 29.0, 30.0, 32.0, 36.5])
    keep = np.all([mag[:, "VI".index(b)] <= m for b, m in (limit or {"V": 99.0}).items()], axis=0)
    for column, band in enumerate("VI"):
        truth, _ = np.histogram(mag[keep, column], edges)
        mine, _ = np.histogram(drawn[band], edges)
        ratio = expected_systems / n
        used = truth > 5
        z = (mine - ratio * truth) / np.sqrt(ratio * truth * (1.0 + ratio) + 1.0)
        assert stats.chi2.sf(np.sum(z[used] ** 2), used.sum()) > LEAST_P
        assert used.sum() >= 3


@pytest.mark.parametrize("binaries", BINARIES)
def test_a_limit_only_leaves_out_what_is_fainter(binaries):
    everything = toy(3e5, binaries=binaries)
    limited = toy(3e5, binaries=binaries, faint_limit={"I": 28.0}, rng=4)
    assert limited["I"].max() <= 28.0
    bright = everything.isel(star=np.flatnonzero(everything["I"] <= 28.0))
    assert abs(limited.star.size - bright.star.size) < 5 * np.sqrt(2 * bright.star.size)
    for name in ("initial_mass", "companion_mass", "V"):
        assert stats.ks_2samp(limited[name], bright[name]).pvalue > LEAST_P


def test_columns():
    stars = toy(1e4, iso=PLAIN, binaries=psp.RandomBinaryPairs(0.5))
    assert list(stars.data_vars) == [
        "V", "I", "initial_mass", "companion_mass", "log_age", "mh", "population"
    ]  # fmt: skip
    assert np.isfinite(stars["V"]).all()
    assert (stars["companion_mass"] <= stars["initial_mass"]).all()
    first, second = (stars[n].values for n in ("initial_mass", "companion_mass"))
    flux = 10.0 ** (-0.4 * place(first)) + 10.0 ** (-0.4 * place(second))
    assert_close(stars["V"], -2.5 * np.log10(flux[:, 0]) + 24.0, "kernel")
    assert 0.4 < (second > 0).mean() < 0.65
    counted = psp.bin_cmd(
        stars, psp.HessAxes(("V", "I"), "I", color_edges=[-1, 1.5], mag_edges=[18, 37])
    )
    assert counted.sum() == stars.star.size


def test_number_of_systems_is_poisson():
    numbers = np.array([toy(300.0, rng=seed).star.size for seed in range(300)])
    imf = psp.Kroupa()
    lit = imf.integral(0.1, 1.08) + imf.integral(1.04, 1.05)
    mean = 300.0 * lit / imf.mass_integral(imf.mass_min, imf.mass_max)
    assert abs(numbers.mean() - mean) < 4 * np.sqrt(mean / 300)
    assert stats.chi2.sf(300 * numbers.var() / mean, 299) > LEAST_P
    assert stats.chi2.cdf(300 * numbers.var() / mean, 299) > LEAST_P


@pytest.mark.parametrize("binaries", BINARIES)
def test_reach_stops_at_the_mass(binaries):
    imf = psp.Salpeter(mass_min=0.1, mass_max=1.08)  # nearly all stars give light
    whole = (MASS[[0, 1, 2, 3, 5, 7]], MAG[[0, 1, 2, 3, 5, 7]])
    stars = toy(500.0, iso=whole, imf=imf, counts="reach", binaries=binaries)
    mass = (stars["initial_mass"] + stars["companion_mass"]).values
    assert 500.0 <= mass.sum() < 500.0 + 2.2 or binaries.fraction > 0
    if isinstance(binaries, psp.RandomBinaryPairs):  # no star can be dark
        assert 500.0 <= mass.sum() < 500.0 + 2.2


def test_reach_stops_at_the_light():
    stars = toy(1.0, abs_mag={"V": -7.0}, counts="reach", rng=8)
    flux = 10.0 ** (-0.4 * (stars["V"].values - 24.0))
    assert flux.sum() >= 10.0**2.8 > flux.sum() - flux[-1]


@pytest.mark.parametrize("binaries", BINARIES)
def test_absolute_magnitude(binaries):
    many = [toy(1.0, abs_mag={"I": -9.0}, binaries=binaries, rng=seed) for seed in range(8)]
    flux = np.array([(10.0 ** (-0.4 * (s["I"].values - 24.0))).sum() for s in many])
    spread = np.sqrt(
        np.mean([(10.0 ** (-0.8 * (s["I"].values - 24.0))).sum() for s in many]) / len(many)
    )
    assert abs(flux.mean() - 10.0**3.6) < 4 * spread


def test_fractions_by_mass_and_by_light():
    other = (MASS, MAG + 1.0)
    for fractions, shares in (("mass", (0.25, 0.75 * 10**-0.4)), ("light", (0.25, 0.75))):
        stars = toy([1.0, 3.0], iso=[TOY, other], abs_mag={"V": -11.0}, fractions=fractions, rng=2)
        flux = 10.0 ** (-0.4 * (stars["V"].values - 24.0))
        by_population = np.bincount(stars["population"].values, weights=flux)
        spread = np.sqrt(np.bincount(stars["population"].values, weights=flux**2))
        expected = 10.0**4.4 * np.array(shares) / sum(shares)
        assert np.all(np.abs(by_population - expected) < 4 * spread)


def test_total_mass_scales_relative_masses():
    stars = toy([1.0, 3.0], iso=[TOY, TOY], total_mass=4e5)
    first = int((stars["population"] == 0).sum())
    assert stats.binomtest(first, stars.star.size, 0.25).pvalue > LEAST_P
    assert stars.attrs["mass_formed"] == 4e5


def test_seeds_are_reproducible():
    a, b, c = (toy(1e3, rng=r) for r in (7, np.random.default_rng(7), 8))
    assert a.equals(b)
    assert a.star.size != c.star.size or not np.array_equal(a["V"], c["V"])


SFH = psp.CompositePopulation([9.0, 10.0], [-0.6, -1.4], [2e4, 3e4], mh_sigma=[0.15, 0.0])


def test_isochrone_grid(coarse):
    stars = psp.simulate_cmd(
        coarse, SFH, bands=BANDS, distance_modulus=20.0, av=0.3, rng=1, progress=False
    )
    old = stars.isel(star=np.flatnonzero(stars["population"] == 1))
    assert set(old["mh"].values) == {-1.4}
    assert set(old["log_age"].values) == {10.0}
    one = coarse.at(-1.4, 10.0, BANDS, av=0.3)
    alone = psp.simulate_cmd(one, 3e4, distance_modulus=20.0, rng=2, progress=False)
    assert set(alone["log_age"].values) == {10.0}
    assert stats.ks_2samp(alone["Bessell_I"], old["Bessell_I"]).pvalue > LEAST_P
    young = stars["mh"].values[stars["population"] == 0]
    assert abs(young.mean() + 0.6) < 4 * 0.15 / np.sqrt(young.size)
    assert abs(young.std() / np.hypot(0.15, 0.02 / np.sqrt(12)) - 1) < 4 / np.sqrt(2 * young.size)


def test_metallicities_on_a_grid(coarse):
    grid = np.arange(-1.2, 0.21, 0.2)
    sfh = {"log_age": 9.0, "mh": -0.65, "mass_formed": 4e4, "mh_sigma": 0.25, "mh_grid": grid}
    stars = psp.simulate_cmd(coarse, sfh, bands=BANDS, distance_modulus=20.0, rng=1)
    weights = np.exp(-0.5 * ((grid + 0.65) / 0.25) ** 2)
    counts = [(stars["mh"] == mh).sum() for mh in grid]
    # Stars of each metallicity that give light per mass differ by less than the weights do.
    assert stats.pearsonr(np.log(weights), np.log(counts)).statistic > 0.999


def test_masses_on_a_grid(coarse):
    mass = np.array([[0.0, 2e4], [1e4, 0.0]])
    sfh = {"log_age": [9.0, 10.0], "mh": [-1.0, 0.0], "mass_formed": mass}
    stars = psp.simulate_cmd(coarse, sfh, bands=BANDS, distance_modulus=20.0, rng=1)
    pairs = set(zip(stars["log_age"].values, stars["mh"].values, strict=True))
    assert pairs == {(9.0, 0.0), (10.0, -1.0)}


def test_light_is_counted_without_extinction(coarse):
    options = {
        "bands": ["Bessell_I"], "distance_modulus": 20.0, "abs_mag": {"Bessell_V": -9.0}, "rng": 1,
    }  # fmt: skip
    clear, dusty = (psp.simulate_cmd(coarse, SFH, av=av, **options) for av in (0.0, 1.0))
    assert clear.attrs["mass_formed"] == pytest.approx(dusty.attrs["mass_formed"])


def test_warns_where_metallicities_leave_the_grid(coarse):
    sfh = psp.CompositePopulation(10.0, -2.45, 1e4, mh_sigma=0.1)
    with pytest.warns(UserWarning, match=r"% of the mass lies outside.*-2.5 to 0.5") as caught:
        stars = psp.simulate_cmd(coarse, sfh, bands=BANDS, distance_modulus=20.0, rng=1)
    assert caught[0].filename == __file__
    assert stars["mh"].min() >= -2.5


def test_progress_bar_for_many_stars(capsys):
    options = {"faint_limit": {"I": 25.0}, "progress": True}
    toy(1e7, **options)
    assert "100%" in capsys.readouterr().out
    toy(1e4, **options)
    assert capsys.readouterr().out == ""


def test_a_limit_that_no_star_reaches():
    stars = toy(1e4, faint_limit={"V": 10.0})
    assert stars.star.size == 0
    assert_array_equal(stars["population"], [])


NO_RISE = (PLAIN[0][::-1], PLAIN[1][::-1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bands": None}, "bands must name"),
        ({"bands": ("V", "V")}, "distinct"),
        ({"bands": ("V",)}, r"abs_mag must have shape \(E, B\) = \(8, 1\)"),
        ({"distance_modulus": np.nan}, "distance_modulus must be finite"),
        ({"binaries": 0.5}, "NoBinaries"),
        ({"imf": "kroupa"}, "imf must be a mass function"),
        ({"faint_limit": {"K": 20.0}}, "faint_limit.*V, I.*'K'"),
        ({"faint_limit": {"I": np.nan}}, "faint_limit"),
        ({"av": 0.1}, "av and mh_sigma need an IsochroneGrid"),
        ({"counts": "exact"}, "'poisson' or 'reach'"),
        ({"fractions": "number"}, "'mass' or 'light'"),
        ({"fractions": "light"}, "needs abs_mag"),
        ({"total_mass": 1e4, "abs_mag": {"V": -8}}, "not both"),
        ({"total_mass": -1.0}, "total_mass must be positive"),
        ({"abs_mag": -8.0}, "abs_mag must map one band"),
        ({"abs_mag": {"K": -8.0}}, "no band 'K'"),
        ({"abs_mag": {"V": np.nan}}, "abs_mag must be finite"),
        ({"mass": [1.0, 2.0]}, "each of 2 populations"),
        ({"mass": -1.0}, "mass_formed must not be negative"),
        ({"mass": {"log_age": 9.0, "mh": 0.0}}, "sfh must have log_age, mh and mass_formed"),
        ({"mass": {"log_age": 9, "mh": 0, "mass_formed": 1, "x": 0}}, "got log_age, mh, mass_f.*x"),
        ({"mass": None}, "mass_formed must be finite"),
        ({"iso": NO_RISE}, "no two neighboring points ascend"),
        ({"iso": (MASS, MAG * np.nan)}, "abs_mag finite at every point"),
        ({"iso": 5}, "iso must be an IsochroneGrid"),
        ({"iso": [TOY, TOY], "mass": SFH}, "mh_sigma need an IsochroneGrid"),
    ],
)
def test_refused(options, words):
    with pytest.raises(ValueError, match=words):
        toy(**{"mass": 1e3, **options})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([9.0, 10.0], [0.0], [1.0, 1.0]), "mh must have one value for each of 2"),
        ((9.0, np.nan, 1.0), "mh must be finite"),
        ((9.0, 0.0, 0.0), "mass_formed is 0 everywhere"),
        ((9.0, 0.0, 1.0, -0.1), "mh_sigma must not be negative"),
        ((9.0, 0.0, 1.0, 0.1, [np.nan]), "mh_grid must be finite"),
        ((9.0, 0.0, 1.0, 0.1, None, 0.0), "mh_step must be positive"),
    ],
)
def test_populations_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        psp.CompositePopulation(*arguments)


def test_grid_of_masses_refused():
    with pytest.raises(ValueError, match=r"\(N_age, N_mh\) = \(2, 1\), got \(1, 2\)"):
        psp.CompositePopulation.from_grid([9.0, 10.0], [0.0], [[1.0, 2.0]])


def test_metallicity_outside_the_isochrones(coarse):
    sfh = psp.CompositePopulation(10.0, -4.0, 1e4, mh_sigma=0.1)
    with pytest.raises(ValueError, match="outside the isochrones"):
        psp.simulate_cmd(coarse, sfh, bands=BANDS, distance_modulus=20.0)
