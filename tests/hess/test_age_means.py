"""Templates as means over their age bins."""

import warnings

import numpy as np
import pytest
from scipy import integrate

import pymc_starpop as psp
from pymc_starpop.hess import age_means as age_means_module
from pymc_starpop.hess import template_grid
from pymc_starpop.hess.age_means import LARGEST_ERROR, age_means, closed_weights, shape_error
from tolerances import assert_close

BANDS = ("Bessell_V", "Bessell_I")
AXES = psp.HessAxes(BANDS, "Bessell_I", np.linspace(-0.5, 2.5, 31), np.linspace(18, 26, 41))
PHOTOMETRY = {"distance_modulus": 20.0, "noise": dict.fromkeys(BANDS, 0.03)}


def identity(values):
    return values


def template(iso, mh, log_age):
    one = iso.at(mh, log_age, BANDS)
    return psp.build_template(one.initial_mass, one.abs_mag, BANDS, AXES, **PHOTOMETRY).values


def mean_of_many(iso, mh, young, old, n=120):
    """Mean of the templates of n ages, each the middle of one of n equal intervals of time."""
    edges = np.linspace(young, old, n + 1)
    ages = 0.5 * (edges[1:] + edges[:-1])
    return np.mean([template(iso, mh, np.log10(age) + 9.0) for age in ages], axis=0)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 9, 17, 33])
@pytest.mark.parametrize(("low", "high"), [(6.6, 6.65), (9.0, 9.1), (9.95, 10.137)])
def test_weights_make_the_mean_over_time(n, low, high):
    ages = np.linspace(low, high, n)
    weights = closed_weights(ages)
    assert_close(weights.sum(), 1.0, "same_formula")
    assert (weights > 0.0).all()
    young, old = 10.0**low, 10.0**high
    # The mean of a function that is smooth in log age, to the order of the rule.
    truth = integrate.quad(lambda t: np.exp(np.log10(t) - high), young, old)[0] / (old - young)
    error = abs(weights @ np.exp(ages - high) / truth - 1.0)
    h = (high - low) / (n - 1)
    assert error < (h**2 if n in (2, 4) else 30.0 * h**3)


def test_neighboring_bins_share_the_age_at_their_edge():
    asked = []

    def raw(log_age):
        asked.append(log_age)
        return np.array([log_age, 1.0])

    means = list(age_means(raw, identity, np.array([9.0, 9.1, 9.2]), n_age=5))
    assert len(asked) == len(set(asked)) == 9
    assert [m.n_age for m in means] == [5, 5]
    assert 9.0 < means[0].value[0] < 9.1 < means[1].value[0] < 9.2


def test_ages_are_added_until_the_mean_stands_still():
    x = np.linspace(0.0, 1.0, 200)

    def raw(log_age):
        return np.exp(-0.5 * ((x - 10.0 * (log_age - 9.0)) / 0.02) ** 2)

    (one,) = age_means(raw, identity, np.array([9.0, 9.1]))
    (truth,) = age_means(raw, identity, np.array([9.0, 9.1]), n_age=1025)
    assert one.n_age > 17
    assert shape_error(one.value, truth.value) <= one.error <= LARGEST_ERROR
    (rough,) = age_means(raw, identity, np.array([9.0, 9.1]), largest_error=0.1)
    assert rough.n_age < one.n_age


def test_a_bin_without_stars_is_no_reason_to_search():
    (one,) = age_means(lambda log_age: np.zeros(3), identity, np.array([9.0, 9.1]))
    assert one.n_age == 3
    assert not one.value.any()


@pytest.mark.parametrize(("young", "old", "mh"), [(9.0, 9.05, -0.5), (9.6, 9.7, -1.5)])
def test_a_template_is_the_mean_over_its_bin(iso, young, old, mh):
    t_max = 10.0 ** (old - 9.0)
    tmpl = psp.build_templates(
        iso, AXES, log_age=[young], mh=[mh], t_max_gyr=t_max, progress=False, **PHOTOMETRY
    )
    truth = mean_of_many(iso, mh, 10.0 ** (young - 9.0), t_max)
    assert shape_error(tmpl.counts[0, 0], truth) < LARGEST_ERROR
    assert tmpl.metadata["n_ages"][0] >= 3
    assert tmpl.metadata["age_error"] <= LARGEST_ERROR
    # One age, that of the young edge, is 50 times further off and more.
    assert shape_error(template(iso, mh, young), truth) > 50.0 * LARGEST_ERROR


def test_the_oldest_bin_ends_at_t_max(iso):
    options = {"log_age": [9.8, 9.9], "mh": [-1.0], "progress": False, **PHOTOMETRY}
    tmpl = psp.build_templates(iso, AXES, t_max_gyr=9.0, **options)
    assert tmpl.t_max_gyr == 9.0
    assert_close(tmpl.age_edges(), [10**0.8, 10**0.9, 9.0], "same_formula")
    middle = [0.5 * (10**0.8 + 10**0.9), 0.5 * (10**0.9 + 9.0)]
    assert_close(tmpl.age_gyr, middle, "same_formula")
    truth = mean_of_many(iso, -1.0, 10**0.9, 9.0)
    assert shape_error(tmpl.counts[1, 0], truth) < LARGEST_ERROR
    by_default = psp.build_templates(iso, AXES, **options)
    assert by_default.t_max_gyr == 13.7
    np.testing.assert_array_equal(by_default.counts[0], tmpl.counts[0])
    assert shape_error(by_default.counts[1, 0], truth) > LARGEST_ERROR


def test_a_single_age_on_demand(iso):
    tmpl = psp.build_templates(
        iso, AXES, log_age=[9.0, 10.2], mh=[-1.0], ages_per_bin=1, progress=False, **PHOTOMETRY
    )
    assert tmpl.t_max_gyr is None
    assert_close(tmpl.age_gyr, [1.0, 10**1.2], "same_formula")
    for j, log_age in enumerate([9.0, 10.2]):
        assert_close(tmpl.counts[j, 0], template(iso, -1.0, log_age), "same_formula")
    with pytest.raises(ValueError, match="t_max_gyr is needed: these templates have single ages"):
        tmpl.age_edges()


def test_isochrones_that_end_before_t_max(iso):
    options = {"log_age": [10.2], "mh": [-1.0], "progress": False, **PHOTOMETRY}
    with pytest.warns(UserWarning, match=r"isochrones end at 19\.95 Gyr.*lacks 45 % of its bin"):
        tmpl = psp.build_templates(iso, AXES, t_max_gyr=23.3, **options)
    assert tmpl.t_max_gyr == 23.3
    truth = mean_of_many(iso, -1.0, 10**1.2, 10**1.3 * (1.0 - 1e-9))
    assert shape_error(tmpl.counts[0, 0], truth) < LARGEST_ERROR
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        psp.build_templates(iso, AXES, t_max_gyr=20.0, **options)


def test_means_that_have_not_settled_are_named(iso, monkeypatch):
    monkeypatch.setattr(age_means_module, "_MOST_AGES", 5)
    with pytest.warns(UserWarning, match=r"1 templates are not accurate with 5 .*log_age 9\)"):
        psp.build_templates(
            iso, AXES, log_age=[9.0, 10.1], mh=[-0.5], part_gyr=None, progress=False, **PHOTOMETRY
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t_max_gyr": 5.0}, "t_max_gyr=5: the oldest age bin begins at 10 Gyr"),
        ({"t_max_gyr": np.nan}, "t_max_gyr=nan"),
        ({"t_max_gyr": "old"}, "t_max_gyr must be a number of Gyr, got 'old'"),
        ({"part_gyr": 0.0}, r"part_gyr must be a positive number of Gyr, or None .* got 0\.0"),
        ({"part_gyr": np.nan}, "part_gyr must be a positive number"),
        ({"part_gyr": "short"}, "part_gyr must be a positive number.* got 'short'"),
        ({"ages_per_bin": 0}, "ages_per_bin must be a whole number from 1 up, got 0"),
        ({"ages_per_bin": 2.5}, r"ages_per_bin must be a whole number from 1 up, got 2\.5"),
    ],
)
def test_clear_errors(iso, change, message):
    options = {"log_age": [9.0, 10.0], "mh": [-1.0], "progress": False, **PHOTOMETRY}
    with pytest.raises(ValueError, match=message):
        psp.build_templates(iso, AXES, **(options | change))


# All other bins are empty, of which a warning tells.
# Of the bin 9.30 to 9.35, 1.995 to 2.239 Gyr, somewhat inside its edges: a burst at an edge is half
# in either bin.
@pytest.mark.filterwarnings("ignore:Hessian errors cannot be trusted")
@pytest.mark.parametrize("log_age", [9.305, 9.31, 9.325, 9.34, 9.345])
def test_a_burst_comes_out_in_its_bin(iso, log_age):
    axes = psp.HessAxes(BANDS, BANDS[1], np.linspace(-0.5, 2.5, 61), np.linspace(18, 26, 81))
    ages = np.round(np.arange(9.0, 9.61, 0.05), 2)
    tmpl = psp.build_templates(
        iso, axes, log_age=ages, mh=[-0.5], t_max_gyr=5.0, progress=False, **PHOTOMETRY
    )
    one = iso.at(-0.5, log_age, BANDS)
    burst = psp.build_template(one.initial_mass, one.abs_mag, BANDS, axes, **PHOTOMETRY)
    stars = np.random.default_rng(1).poisson(burst.values * 3e5)
    fit = psp.fit_sfh(
        tmpl, stars, psp.FixedAMR([-0.5] * ages.size), 5.0, sigma=0.1,
        background=axes.wrap(np.full(axes.shape, 1e-3)),
    )  # fmt: skip
    low, middle, high = psp.summarize_sfh(fit, tmpl).tau_50.sel(quantile=[0.16, 0.5, 0.84]).values
    young, old = 10**0.3, 10**0.35
    assert young < low < high < old
    assert abs(middle / 10.0 ** (log_age - 9.0) - 1.0) < 0.03


def test_a_fit_takes_the_end_of_the_templates(iso):
    options = {"log_age": [9.0, 9.5], "mh": [-1.0], "progress": False, **PHOTOMETRY}
    tmpl = psp.build_templates(iso, AXES, t_max_gyr=5.0, **options)
    stars = np.random.default_rng(1).poisson(tmpl.composite([[2e4], [2e4]]).values)
    model = psp.FixedAMR([-1.0, -1.0])
    fit = psp.fit_sfh(tmpl, stars, model, sigma=0.1)
    assert fit.t_max_gyr == 5.0
    assert_close(fit.problem.epochs(fit.mass_formed).age_gyr, tmpl.age_gyr, "same_formula")
    with pytest.warns(UserWarning, match=r"means over ages from 3\.162 to 5 Gyr.*t_max_gyr=6"):
        assert psp.fit_sfh(tmpl, stars, model, 6.0, sigma=0.1).t_max_gyr == 6.0
    single = psp.build_templates(iso, AXES, ages_per_bin=1, **options)
    of_single = np.random.default_rng(1).poisson(single.composite([[2e4], [2e4]]).values)
    with pytest.warns(UserWarning, match="single ages of the young edges of their bins"):
        assert psp.fit_sfh(single, of_single, model, sigma=0.1).t_max_gyr == 13.7
    with pytest.raises(ValueError, match=r"set 1 ends at t_max_gyr=None, that of set 0 at 5\.0"):
        psp.fit_sfh([tmpl, single], [stars, stars], model, sigma=0.1)


@pytest.mark.parametrize("binaries", [psp.NoBinaries(), psp.MassRatioBinaries(0.5)])
def test_longer_cells_before_a_transfer_change_no_mean(iso, monkeypatch, rng, binaries):
    bands = ("Bessell_V", "Bessell_I")
    axes = psp.HessAxes(bands, bands[1], np.linspace(0.0, 1.5, 16), np.linspace(18, 22, 41))
    mag_in = rng.uniform(17.0, 24.0, (40_000, 2))
    mag_in[:, 0] = mag_in[:, 1] + rng.uniform(-0.3, 1.8, len(mag_in))
    noise = 0.01 + 0.03 * np.exp(mag_in - 22.0)
    stars = psp.ArtificialStars(mag_in, rng.normal(mag_in, noise), bands=bands)
    options = {
        "log_age": [9.3], "t_max_gyr": 10.0**0.35, "mh": [-0.7], "distance_modulus": 18.0,
        "artificial_stars": stars, "binaries": binaries, "ages_per_bin": 3, "progress": False,
    }  # fmt: skip
    long = psp.build_templates(iso, axes, **options).counts[0, 0]
    monkeypatch.setattr(template_grid, "_LONGER_CELLS", 0.15)
    short = psp.build_templates(iso, axes, **options).counts[0, 0]
    assert 0.0 < shape_error(long, short) < 5e-6
    assert np.abs(long - short).sum() < 1e-3 * short.sum()
