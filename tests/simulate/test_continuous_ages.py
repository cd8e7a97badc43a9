"""Ages of simulated stars are continuous: a constant rate in time inside each range of ages."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import stats

import pymc_starpop as psp
from tolerances import assert_close

LEAST_P = 1e-3  # chance of a false alarm of each statistical test; the seeds are fixed
BANDS = ("Bessell_V", "Bessell_I")
EDGES = np.array([0.5, 1.0, 3.0, 10.0])  # Gyr
OPTIONS = {"bands": BANDS, "distance_modulus": 20.0, "rng": 5, "progress": False}


def mean_mh(age_gyr):
    return -0.2 - 0.1 * age_gyr


def draw(iso, population, **options):
    return psp.simulate_cmd(iso, population, **(OPTIONS | options))


@pytest.fixture(scope="module")
def stars(coarse):
    """Stars of three bins, low in mass so that nearly all of them are alive at every age."""
    population = psp.CompositePopulation.from_bins(
        EDGES, [2e4, 3e4, 4e4], mean_mh, 0.1, age_step=0.02
    )
    return draw(coarse, population, imf=psp.Salpeter(mass_min=0.2, mass_max=0.9))


def test_ages_are_uniform_in_time_inside_each_bin(stars):
    age = 10.0 ** (stars["log_age"].values - 9.0)
    for k in range(3):
        inside = age[stars["population"].values == k]
        law = stats.uniform(EDGES[k], EDGES[k + 1] - EDGES[k])
        assert inside.min() >= EDGES[k] - 1e-12
        assert inside.max() <= EDGES[k + 1] + 1e-12
        assert stats.kstest(inside, law.cdf).pvalue > LEAST_P
        assert np.unique(inside).size == inside.size


def test_metallicity_follows_the_age_of_each_star(stars):
    age = 10.0 ** (stars["log_age"].values - 9.0)
    offset = stars["mh"].values - mean_mh(age)
    # Isochrones of steps of 0.02 dex: up to 0.23 Gyr, 0.023 dex, of the age of a star.
    assert abs(offset.mean()) < 4.0 * 0.1 / np.sqrt(offset.size)
    assert abs(offset.std() / 0.1 - 1.0) < 0.01 + 4.0 / np.sqrt(2.0 * offset.size)
    slope = np.polyfit(age, stars["mh"].values, 1)[0]
    assert abs(slope + 0.1) < 4.0 * 0.1 / np.sqrt(offset.size) / age.std()
    old = age > 8.0
    assert abs(offset[old].mean()) < 4.0 * 0.1 / np.sqrt(old.sum())


AXES = psp.HessAxes(BANDS, BANDS[1], np.linspace(-0.5, 2.5, 41), np.linspace(16.0, 26.0, 61))
NOISE = dict.fromkeys(BANDS, 0.04)


def template(iso, mh, log_age, binaries):
    one = iso.at(mh, log_age, BANDS)
    return psp.build_template(
        one.initial_mass, one.abs_mag, BANDS, AXES, distance_modulus=20.0, noise=NOISE,
        binaries=binaries,
    ).values  # fmt: skip


def mean_over_bin(iso, young, old, mh, sigma, binaries, n=16):
    """Template of a constant rate between two log ages: many ages, each with its metallicities."""
    edges = np.linspace(10.0**young, 10.0**old, n + 1)
    offset = 0.5 * np.arange(-8, 9) if sigma else np.zeros(1)
    weight = np.exp(-0.5 * offset**2) / np.exp(-0.5 * offset**2).sum() / n
    total = np.zeros(AXES.shape)
    for k, age in enumerate(0.5 * (edges[1:] + edges[:-1])):
        # Shifted from age to age, as otherwise giants of so few metallicities would lie apart.
        shift = 0.5 * ((k * 0.3819) % 1.0 - 0.5) * bool(sigma)
        for x, w in zip(offset + shift, weight, strict=True):
            mean = mh(age / 1e9) + sigma * x
            total += (
                w
                * np.exp(-shift * (x - 0.5 * shift))
                * template(iso, mean, np.log10(age), binaries)
            )
    return total


def residuals(stars, expected):
    """Significance of the stars in bins that hold one or more, and what is expected there."""
    used = expected > 1.0
    counts = psp.bin_cmd(stars, AXES).values
    return (counts[used] - expected[used]) / np.sqrt(expected[used]), expected[used]


@pytest.mark.parametrize(
    ("young", "old", "sigma", "binaries"),
    [
        (9.3, 9.4, 0.0, psp.NoBinaries()),
        (9.9, 10.1, 0.1, psp.NoBinaries()),
        (8.0, 8.1, 0.0, psp.NoBinaries()),
        (9.5, 9.6, 0.0, psp.RandomBinaryPairs(0.5)),
    ],
)
def test_stars_of_a_bin_follow_the_mean_of_templates(coarse, young, old, sigma, binaries):
    edges = 10.0 ** (np.array([young, old]) - 9.0)
    per_mass = mean_over_bin(coarse, young, old, mean_mh, sigma, binaries)
    for mass, options in (
        (1e6, {"faint_limit": {"Bessell_I": 26.3}}),
        (1e5, {"counts": "reach"}),
    ):
        population = psp.CompositePopulation.from_bins(edges, [mass], mean_mh, sigma)
        stars = draw(coarse, population, binaries=binaries, **options)
        z, expected = residuals(psp.observe(stars, NOISE, rng=6), mass * per_mass)
        assert z.size > 150
        assert abs(z.mean()) < 4.0 / np.sqrt(z.size)
        # The fourth moment of a Poisson number adds 1/T to the variance of z^2.
        spread = np.sqrt((2.0 + np.mean(1.0 / expected)) / z.size)
        assert abs(np.mean(z**2) - 1.0) < 4.0 * spread


def test_a_template_at_the_young_edge_is_seen_to_be_wrong(coarse):
    """The test above can fail: this is what the templates of old were compared with."""
    population = psp.CompositePopulation.from_bins(10 ** (np.array([9.3, 9.4]) - 9), [1e6], -0.5)
    seen = psp.observe(draw(coarse, population, faint_limit={"Bessell_I": 26.3}), NOISE, rng=6)
    z, _ = residuals(seen, 1e6 * template(coarse, -0.5, 9.3, psp.NoBinaries()))
    assert np.mean(z**2) > 5.0


def test_ranges_without_width_are_single_ages(coarse):
    columns = ([9.0, 10.0], [-0.6, -1.4], [2e3, 3e3], [0.1, 0.0])
    single = psp.CompositePopulation(*columns)
    for counts in ("poisson", "reach"):
        wanted = draw(coarse, single, counts=counts)
        for other in (
            psp.CompositePopulation(*columns, log_age_old=[9.0, 10.0]),
            dict(zip(("log_age", "mh", "mass_formed", "mh_sigma"), columns, strict=True)),
        ):
            assert wanted.identical(draw(coarse, other, counts=counts))
    assert set(wanted["log_age"].values) == {9.0, 10.0}


def test_absolute_magnitude_and_total_mass(coarse):
    population = psp.CompositePopulation.from_bins(EDGES, [1.0, 2.0, 3.0], -0.5, age_step=0.1)
    magnitudes = []
    for seed in range(6):
        stars = draw(coarse, population, abs_mag={"Bessell_V": -9.0}, rng=seed)
        flux = np.sum(10.0 ** (-0.4 * (stars["Bessell_V"].values - 20.0)))
        magnitudes.append(flux)
        noise = np.sqrt(np.sum(10.0 ** (-0.8 * (stars["Bessell_V"].values - 20.0))))
    assert abs(np.mean(magnitudes) - 10.0**3.6) < 4.0 * noise / np.sqrt(6)
    stars = draw(coarse, population, abs_mag={"Bessell_V": -9.0}, counts="reach", fractions="light")
    flux = 10.0 ** (-0.4 * (stars["Bessell_V"].values - 20.0))
    by_population = np.bincount(stars["population"].values, weights=flux)
    assert np.all(by_population >= 10.0**3.6 * np.array([1, 2, 3]) / 6)
    assert draw(coarse, population, total_mass=5e3).attrs["mass_formed"] == 5e3


def test_reach_gives_each_star_an_age_of_its_isochrone(coarse):
    population = psp.CompositePopulation.from_bins(EDGES[:2], [3e3], mean_mh, age_step=0.05)
    stars = draw(coarse, population, counts="reach", imf=psp.Salpeter(mass_min=0.2, mass_max=0.9))
    age = 10.0 ** (stars["log_age"].values - 9.0)
    assert stats.kstest(age, stats.uniform(0.5, 0.5).cdf).pvalue > LEAST_P
    # Without a dispersion [M/H] says which isochrone it was: its age is within half a step.
    isochrone = np.log10((-0.2 - stars["mh"].values) / 0.1) + 9.0
    assert np.all(np.abs(isochrone - stars["log_age"].values) < 0.03)


def test_a_grid_of_masses_and_a_grid_of_metallicities(coarse):
    mass = np.array([[0.0, 2e4], [1e4, 0.0]])
    population = psp.CompositePopulation.from_grid(
        [9.0, 9.9], [-1.0, 0.0], mass, log_age_old=[9.1, 10.0]
    )
    assert_array_equal(population.log_age_old, [9.1, 10.0])
    mapping = {"log_age": [9.0, 9.9], "mh": [-1.0, 0.0], "mass_formed": mass,
               "log_age_old": [9.1, 10.0]}  # fmt: skip
    drawn = draw(coarse, population)
    assert drawn.identical(draw(coarse, mapping))
    young = drawn["population"].values == 0
    assert set(drawn["mh"].values[young]) == {0.0}
    assert stats.ks_1samp(
        10.0 ** drawn["log_age"].values[young], stats.uniform(1e9, 10.0**9.1 - 1e9).cdf
    ).pvalue > LEAST_P  # fmt: skip
    grid = np.arange(-1.5, 0.01, 0.25)
    on_grid = psp.CompositePopulation.from_bins([5.0, 10.0], [2e4], mean_mh, 0.2, mh_grid=grid)
    stars = draw(coarse, on_grid, imf=psp.Salpeter(mass_min=0.2, mass_max=0.8))
    assert set(stars["mh"].values) <= set(grid)
    age = 10.0 ** (stars["log_age"].values - 9.0)
    slope = np.polyfit(age, stars["mh"].values, 1)[0]
    assert abs(slope + 0.1) < 4.0 * 0.21 / np.sqrt(age.size) / age.std()


def test_bins_and_their_metallicities():
    population = psp.CompositePopulation.from_bins(EDGES, [1.0, 2.0, 3.0], mean_mh, 0.1)
    assert_close(10.0 ** (population.log_age - 9.0), EDGES[:-1], "same_formula")
    assert_close(10.0 ** (population.log_age_old - 9.0), EDGES[1:], "same_formula")
    assert_close(population.mh, mean_mh(0.5 * (EDGES[1:] + EDGES[:-1])), "same_formula")
    heavier = population.with_masses(np.array([2.0, 2.0, 2.0]))
    assert heavier.mh_of_age is mean_mh
    assert (heavier.total_mass, population.total_mass) == (6.0, 6.0)
    assert_array_equal(heavier.mass_formed, 2.0)
    assert_array_equal(psp.CompositePopulation.from_bins(EDGES, [1, 2, 3], -1.0).mh, -1.0)
    assert_array_equal(
        psp.CompositePopulation.from_bins(EDGES, [1, 2, 3], [-1.0, -0.5, 0.0]).mh, [-1.0, -0.5, 0.0]
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda c: c([9.0], [0.0], [1.0], log_age_old=[8.9]), "log_age_old must not be below"),
        (lambda c: c([9.0], [0.0], [1.0], log_age_old=[9.1, 9.2]), "log_age_old must have one"),
        (lambda c: c([9.0], [0.0], [1.0], log_age_old=np.nan), "log_age_old must be finite"),
        (lambda c: c([9.0], [0.0], [1.0], age_step=0.0), "age_step must be positive"),
        (lambda c: c([9.0], lambda t: np.ones(3), [1.0]), "mh must return one finite number"),
        (lambda c: c([9.0], lambda t: np.log(0.5 - t), [1.0]), "mh must return one finite number"),
        (lambda c: c.from_bins([0.0, 1.0], [1.0], 0.0), "begin the youngest bin"),
        (lambda c: c.from_bins([2.0, 1.0], [1.0], 0.0), "must ascend"),
        (lambda c: c.from_bins([1.0, 2.0], [1.0, 2.0], 0.0), "must be 3 positive numbers"),
        (lambda c: c.from_grid([9, 10], [0], [[1], [1]], [9.1]), "log_age_old must have shape"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_ranges_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make(psp.CompositePopulation)


def test_ranges_beyond_the_isochrones_refused(coarse):
    lowest, highest = coarse.log_age_range
    for ages in ([lowest - 0.01, 9.0], [9.0, highest + 0.01]):
        population = psp.CompositePopulation(ages[0], -0.5, 1e3, log_age_old=ages[1])
        with pytest.raises(ValueError, match=r"log_age to log_age_old reach .* cut the ranges"):
            draw(coarse, population)
    to_the_edge = psp.CompositePopulation(highest - 0.05, -0.5, 100.0, log_age_old=highest)
    assert draw(coarse, to_the_edge)["log_age"].max() <= highest


def test_ranges_need_a_grid_of_isochrones(coarse):
    one = coarse.at(-0.5, 9.0, BANDS)
    population = psp.CompositePopulation(9.0, -0.5, 1e3, log_age_old=9.1)
    with pytest.raises(ValueError, match="log_age_old needs an IsochroneGrid"):
        draw(one, population)
