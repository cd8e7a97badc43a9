"""Templates made of artificial stars."""

import warnings

import numpy as np
import pytest

import pymc_starpop as psp

BANDS = ("Bessell_V", "Bessell_I")
DISTANCE_MODULUS = 18.5
AXES = psp.HessAxes(BANDS, BANDS[1], np.linspace(-0.4, 2.0, 49), np.linspace(17.5, 25.1, 77))


def gaussian_stars(n=60_000, seed=1, bands=BANDS):
    """Artificial stars of an error model that is known, and the model."""
    rng = np.random.default_rng(seed)
    v = rng.uniform(17.0, 27.5, n)
    mag = np.stack([v, v - rng.uniform(-0.5, 2.3, n)], axis=1)
    noise = {b: psp.ExponentialError(1.03, 25, 27.0, 0.01) for b in bands}
    complete = {bands[0]: psp.LogisticCompleteness(0.95, 25.8, 0.3), bands[1]: 1.0}
    model = psp.ErrorModel(noise, complete, dict.fromkeys(bands, -0.01))
    errors = model.at(mag)
    out = mag + errors.bias + errors.sigma * rng.normal(size=mag.shape)
    out[rng.random(n) > errors.completeness] = np.nan
    return psp.ArtificialStars(mag, out, bands=bands), model


def read_ngc1978(shared_data):
    table = np.loadtxt(shared_data / "ngc1978_f555w_f814w.asts.dat.gz")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lost stars, told of elsewhere
        return psp.ArtificialStars(
            table[:, :2], shift=table[:, 2:], shift_sign="in - out", bands=BANDS
        )


def halves(stars, seed):
    order = np.random.default_rng(seed).permutation(len(stars))
    return stars.select(order[::2]), stars.select(order[1::2])


def deviance(observed, expected):
    """-2 ln PLR of each bin."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(observed > 0, observed * np.log(observed / expected), 0.0)
    return 2.0 * (expected - observed + logs)


@pytest.fixture(scope="module")
def isochrone(iso):
    return iso.at(-0.4, 9.3, BANDS, av=0.2)


def template(isochrone, axes=AXES, **options):
    return psp.build_template(
        isochrone.initial_mass, isochrone.abs_mag, BANDS, axes,
        distance_modulus=DISTANCE_MODULUS, **options,
    ).values  # fmt: skip


def test_gaussian_artificial_stars_give_the_template_of_their_errors(isochrone):
    stars, model = gaussian_stars()
    made = template(isochrone, artificial_stars=stars)
    truth = template(isochrone, noise=model)
    assert abs(made.sum() / truth.sum() - 1.0) < 0.01
    # Of 10,000 stars: what the artificial stars leave open.
    made, truth = (1e4 * t / truth.sum() for t in (made, truth))
    assert (np.square(made - truth) / np.maximum(truth, 0.1)).sum() < 40.0
    assert np.abs(made - truth).sum() / truth.sum() < 0.05


def test_third_band(iso):
    """Color of two bands against the magnitude of a third: totals and places."""
    bands = (*BANDS, "Bessell_B")
    axes = psp.HessAxes(BANDS, bands[2], np.linspace(-0.4, 2.0, 49), np.linspace(17.5, 25.0, 76))
    rng = np.random.default_rng(3)
    v = rng.uniform(17.0, 27.0, 60_000)
    color = rng.uniform(-0.5, 2.3, v.size)
    mag = np.stack([v, v - color, v + color], axis=1)
    out = mag + 0.04 * rng.normal(size=mag.shape)
    out[rng.random(v.size) < 0.2] = np.nan
    stars = psp.ArtificialStars(mag, out, bands=bands)
    one = iso.at(-0.4, 9.3, bands)
    options = {"distance_modulus": DISTANCE_MODULUS}
    made = psp.build_template(
        one.initial_mass, one.abs_mag, bands, axes, artificial_stars=stars, **options
    ).values
    truth = psp.build_template(
        one.initial_mass, one.abs_mag, bands, axes, noise=dict.fromkeys(bands, 0.04),
        completeness={bands[0]: 0.8, bands[1]: 1.0, bands[2]: 1.0}, **options,
    ).values  # fmt: skip
    assert np.abs(made - truth).sum() / truth.sum() < 0.1
    assert abs(made.sum() / truth.sum() - 1.0) < 0.01


def test_observed_stars_fit_the_template(isochrone, iso):
    stars, _ = gaussian_stars(20_000)
    drawn = psp.simulate_cmd(
        iso, {"log_age": 9.3, "mh": -0.4, "mass_formed": 3e4}, bands=BANDS,
        distance_modulus=DISTANCE_MODULUS, av=0.2, rng=1, progress=False,
    )  # fmt: skip
    seen = psp.observe(drawn, stars, rng=2)
    counts = psp.bin_cmd({b: seen[b].values for b in BANDS}, AXES).values
    expected = 3e4 * template(isochrone, artificial_stars=stars)
    assert abs(counts.sum() / expected.sum() - 1.0) < 5.0 / np.sqrt(expected.sum()) + 0.01


def test_observe_other_numbers_of_bands():
    rng = np.random.default_rng(4)
    mag = rng.uniform(18.0, 26.0, (5000, 1))
    lost = rng.random(5000) < 0.3
    out = np.where(lost[:, None], np.nan, mag + 0.1)
    stars = psp.ArtificialStars(mag, out, bands=["K"])
    seen = psp.observe({"K": np.linspace(19.0, 25.0, 4000), "label": np.arange(4000)}, stars, rng=1)
    assert abs(seen["K"].size / 4000 - 0.7) < 0.05
    np.testing.assert_allclose(seen["K"] - np.linspace(19.0, 25.0, 4000)[seen["label"]], 0.1)
    with pytest.raises(ValueError, match="completeness and bias are those of the Artificial"):
        psp.observe({"K": np.full(3, 20.0)}, stars, {"K": 0.5})


def test_record_of_what_was_used(iso, tmp_path):
    stars, _ = gaussian_stars(20_000)
    tmpl = psp.build_templates(
        iso, AXES, log_age=[9.2, 9.3], mh=[-0.4], t_max_gyr=2.5, ages_per_bin=2,
        distance_modulus=DISTANCE_MODULUS, artificial_stars=stars, progress=False,
    )  # fmt: skip
    few = tmpl.metadata["few_artificial_stars"]
    assert 0.0 < few["bins"] < 1.0
    assert f"on fewer than {few['least']} artificial stars" in repr(tmpl)
    assert "20000 stars in Bessell_V, Bessell_I" in tmpl.metadata["errors"]
    again = psp.load_templates(tmpl.save(tmp_path / "made.nc"))
    assert again.metadata == tmpl.metadata
    assert repr(again) == repr(tmpl)


def test_refused(isochrone):
    stars, model = gaussian_stars(2000)
    with pytest.raises(ValueError, match="give them or noise, not both"):
        template(isochrone, artificial_stars=stars, noise=model)
    with pytest.raises(ValueError, match="noise is missing"):
        template(isochrone)
    with pytest.raises(ValueError, match="artificial_stars must be ArtificialStars"):
        template(isochrone, artificial_stars=model)
    with pytest.raises(ValueError, match="no band 'Bessell_V'"):
        template(isochrone, artificial_stars=gaussian_stars(2000, bands=("V", "Bessell_I"))[0])


def deviances(iso, isochrone, stars, seed, binaries=None):
    """-2 ln PLR per bin of 10,000 stars seen through one half, and of two controls.

    The template is made of the other half. One control is a Poisson draw from that template: wings
    fill many bins with a tenth of a star, where -2 ln PLR is far below 1, and which Gaussian errors
    leave empty; so all bins are compared with it. The other is the same population and number of
    stars seen through Gaussian errors and compared with their exact template, over the bins that
    expect more than a tenth of a star.
    """
    first, second = halves(stars, seed)
    made = template(isochrone, artificial_stars=second, binaries=binaries)
    drawn = psp.simulate_cmd(
        iso, {"log_age": 9.3, "mh": -0.4, "mass_formed": 1e4 / made.sum()}, bands=BANDS,
        binaries=binaries, distance_modulus=DISTANCE_MODULUS, av=0.2, rng=10 + seed,
        progress=False,
    )  # fmt: skip
    model = psp.ErrorModel.from_asts(second, joint=True)
    gaussian = template(isochrone, noise=model, binaries=binaries)
    counts, other = (
        psp.bin_cmd(psp.observe(drawn, noise, rng=20 + seed), AXES).values
        for noise in (first, model)
    )
    made, gaussian = (
        np.maximum(t * n.sum() / t.sum(), 1e-4) for t, n in ((made, counts), (gaussian, other))
    )
    draw = np.random.default_rng(30 + seed).poisson(made)
    return counts, second, {
        "found": deviance(counts, made).mean(),
        "poisson": deviance(draw, made).mean(),
        "found where filled": deviance(counts, made)[made > 0.1].mean(),
        "gaussian where filled": deviance(other, gaussian)[gaussian > 0.1].mean(),
    }  # fmt: skip


def test_halves_of_ngc1978(shared_data, iso, isochrone):
    counts, second, per_bin = deviances(iso, isochrone, read_ngc1978(shared_data), 0)
    assert per_bin["found"] < 1.25 * per_bin["poisson"]
    assert per_bin["found where filled"] < 1.25 * per_bin["gaussian where filled"]
    gaussian = template(isochrone, noise=psp.ErrorModel.from_asts(second, joint=True))
    gaussian = np.maximum(gaussian * counts.sum() / gaussian.sum(), 1e-4)
    assert deviance(counts, gaussian).mean() > 1.8 * per_bin["found"]


@pytest.mark.slow
@pytest.mark.parametrize("binaries", [None, psp.MassRatioBinaries(0.35)])
def test_many_halves_of_ngc1978(shared_data, iso, isochrone, binaries):
    stars = read_ngc1978(shared_data)
    per_bin = [deviances(iso, isochrone, stars, seed, binaries)[2] for seed in range(1, 7)]
    for one in per_bin:
        assert one["found"] < 1.25 * one["poisson"]
        assert one["found where filled"] < 1.25 * one["gaussian where filled"]
    mean = {name: np.mean([one[name] for one in per_bin]) for name in per_bin[0]}
    assert mean["found"] < 1.12 * mean["poisson"]
    assert mean["found where filled"] < 1.12 * mean["gaussian where filled"]


def templates_and_stars(iso, stars, seed, ages, binaries, n_star):
    """Templates through one half, and stars seen through the other, of those 10,000 expected."""
    axes = psp.HessAxes(BANDS, BANDS[1], np.linspace(-0.4, 2.0, 25), AXES.mag_edges)
    first, second = halves(stars, seed)
    tmpl = psp.build_templates(
        iso, axes, log_age=ages, mh=[-0.4], distance_modulus=DISTANCE_MODULUS, av=0.2,
        artificial_stars=second, binaries=binaries, ages_per_bin=1, progress=False,
    )  # fmt: skip
    true = ages.index(9.3)
    drawn = psp.simulate_cmd(
        iso, {"log_age": 9.3, "mh": -0.4, "mass_formed": n_star / tmpl.counts[true].sum()},
        bands=BANDS, binaries=binaries, distance_modulus=DISTANCE_MODULUS, av=0.2,
        rng=40 + seed, progress=False,
    )  # fmt: skip
    counts = psp.bin_cmd(psp.observe(drawn, first, rng=50 + seed), axes)
    return tmpl, counts * (1e4 / n_star)


def invented(tmpl, hess, ages):
    """Background stars and mass of false ages in a fit."""
    amr = psp.FixedAMR([-0.4] * len(ages))
    fit = psp.fit_sfh(tmpl, hess, amr, 13.7, sigma=0.1, background=0.001)
    share = fit.mass_formed / fit.mass_formed.sum()
    return sum(fit.background_stars.values()), 1.0 - share[ages.index(9.3)]


def test_nothing_is_invented(shared_data, iso):
    ages = [9.1, 9.2, 9.3, 9.4, 9.5]
    stars = read_ngc1978(shared_data)
    tmpl, hess = templates_and_stars(iso, stars, 0, ages, None, 10_000)
    background, false = invented(tmpl, hess, ages)
    assert background < 15.0
    assert false < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("binaries", [None, psp.MassRatioBinaries(0.35)])
def test_nothing_is_invented_in_many_halves(shared_data, iso, binaries):
    """In every split but for the noise of 10,000 stars, and on average with it.

    Masses cannot be negative, so that noise alone gives false ages: in fits of Poisson draws from
    the true template itself 0.6 % of the mass on average, and more than 1 % in every fifth.
    """
    stars = read_ngc1978(shared_data)
    ages = [8.9, 9.0, 9.1, 9.2, 9.3, 9.4, 9.5, 9.6, 9.7]
    found = []
    for seed in range(1, 7):
        tmpl, hess = templates_and_stars(iso, stars, seed, ages, binaries, 10_000)
        found.append(invented(tmpl, hess, ages))
        # As many stars as leave no noise, counting as 10,000.
        background, false = invented(
            *templates_and_stars(iso, stars, seed, ages, binaries, 1_000_000), ages
        )
        assert background < 15.0
        assert false < 0.01
    background, false = np.mean(found, axis=0)
    assert background < 15.0
    assert false < 0.01
