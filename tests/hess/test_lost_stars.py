"""Every way to write "not recovered", shifts of either sign, and rounded files."""

import warnings

import numpy as np
import pytest

import pymc_starpop as psp
from pymc_starpop.hess.ast_trends import measure_trends

BANDS = ("V", "I")
SIGMA = {
    "V": psp.ExponentialError(1.03, 15, 34, 0.004),
    "I": psp.ExponentialError(1.03, 15, 33, 0.008),
}
BIAS = -0.006
M50 = 25.0
N = 40_000

WRITINGS = {
    "NaN": lambda mag: np.full(mag.shape, np.nan),
    "inf": lambda mag: np.full(mag.shape, np.inf),
    "99.999": lambda mag: np.full(mag.shape, 99.999),
    "99.99": lambda mag: np.full(mag.shape, 99.99),
    "99": lambda mag: np.full(mag.shape, 99.0),
    "-99": lambda mag: np.full(mag.shape, -99.0),
    "-99.999": lambda mag: np.full(mag.shape, -99.999),
    "in + 99.999": lambda mag: mag + 99.999,
    "in - 99.999": lambda mag: mag - 99.999,
    "0": np.zeros_like,
    "-9.999": lambda mag: np.full(mag.shape, -9.999),
    "50": lambda mag: np.full(mag.shape, 50.0),
    "30": lambda mag: np.full(mag.shape, 30.0),
    "27.3": lambda mag: np.full(mag.shape, 27.3),
}  # fmt: skip


@pytest.fixture(scope="module")
def truth():
    """Input and output magnitudes; lost in both bands at once, and some in one of them."""
    rng = np.random.default_rng(11)
    v = rng.uniform(19.0, 27.0, N)
    mag = np.stack([v, v - rng.uniform(0.0, 1.5, N)], axis=1)
    sigma = np.stack([SIGMA[b](m) for b, m in zip(BANDS, mag.T, strict=True)], axis=1)
    out = mag + BIAS + sigma * rng.normal(size=mag.shape)
    seen = rng.random(N) < psp.LogisticCompleteness(1.0, M50, 0.3)(v)
    return mag, out, np.stack([seen, seen & (rng.random(N) < 0.9)], axis=1)


def check(model, digits, joint):
    """Completeness, bias and sigma of the model are those that were put in."""
    v = np.arange(20.0, 26.0, 0.25)
    points = np.stack([v, v - 0.75], axis=1)
    errors = model.at(points)
    seen = psp.LogisticCompleteness(1.0, M50, 0.3)(v)
    expected = 0.9 * seen if joint else 0.9 * seen * seen
    far = np.abs(v - M50) > 0.5  # between, the bins average over the fall
    off = np.abs(errors.completeness - expected)
    # Of 100 nearest stars, or 1,000 in a bin.
    assert off.max() < (0.15 if joint else 0.06)
    assert off[far].mean() < (0.03 if joint else 0.015)
    bright = v < 24.5
    for index, band in enumerate(BANDS):
        sigma = SIGMA[band](points[bright, index])
        ratio = errors.sigma[bright, index] / sigma
        least = (0.004 if digits == 2 else 0.0) / sigma
        assert np.all(np.abs(ratio - 1.0)[least < 1.1] < (0.45 if joint else 0.15))
        assert abs(ratio.mean() - 1.0) < 0.03
        assert abs(((errors.bias[bright, index] - BIAS) / sigma).mean()) < 0.05


@pytest.mark.parametrize("writing", WRITINGS)
def test_ways_of_writing(truth, writing):
    mag, out, seen = truth
    lost = WRITINGS[writing](mag)
    for digits in (3, 2):
        mag_in = np.round(mag, digits)
        # The file rounds what is written, after the star was put in where it says.
        exact = mag_in + out - mag
        written = np.round(np.where(seen, exact, lost), digits)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            stars = psp.ArtificialStars(mag_in, written, bands=BANDS)
        said = [str(w.message) for w in caught]
        if writing in ("NaN", "inf"):
            assert not said
        else:
            assert len(said) == 1
            counts = f"{(~seen[:, 0]).sum()} of {N} in V, {(~seen[:, 1]).sum()} of {N} in I"
            assert counts in said[0]
            assert caught[0].filename == __file__
        assert np.array_equal(stars.step, [10.0**-digits] * 2)
        assert np.array_equal(stars.recovered, seen)
        shift = np.where(seen, np.round(exact, digits) - mag_in, np.nan)
        assert np.array_equal(stars.shift, shift, equal_nan=True)
        if writing in ("NaN", "in - 99.999"):  # the others have the same stars
            check(psp.ErrorModel.from_asts(stars), digits, joint=False)
            check(psp.ErrorModel.from_asts(stars, joint=True), digits, joint=True)


@pytest.mark.parametrize("sign", ["out - in", "in - out"])
@pytest.mark.parametrize("digits", [2, 3])
def test_shifts(truth, sign, digits):
    mag, out, seen = truth
    factor = 1.0 if sign == "out - in" else -1.0
    lost = 99.999 - mag
    shift = np.round(factor * np.where(seen, out - mag, lost), digits)
    with pytest.warns(UserWarning, match="not recovered") as caught:
        model = psp.ErrorModel.from_asts(mag, shift=shift, shift_sign=sign, bands=BANDS)
    assert len(caught) == 1
    check(model, digits, joint=False)


def test_entrances_agree(truth):
    mag, out, seen = truth
    shift = np.where(seen, out - mag, np.nan)
    clean = psp.ErrorModel.from_asts(mag, np.where(seen, out, np.nan), bands=BANDS, joint=True)
    points = mag[:200]
    columns = ({band: table[:, i] for i, band in enumerate(BANDS)} for table in (mag, shift))
    mag_in, by_band = columns
    for model in (
        psp.ErrorModel.from_asts(mag, out, seen, bands=BANDS, joint=True),
        psp.ErrorModel.from_asts(mag, shift=shift, shift_sign="out - in", bands=BANDS, joint=True),
        psp.ErrorModel.from_asts(
            mag_in, shift={b: -s for b, s in by_band.items()}, shift_sign="in - out", bands=BANDS,
            joint=True,
        ),
    ):  # fmt: skip
        one, other = model.at(points), clean.at(points)
        for name in ("sigma", "bias", "completeness"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-9)


def test_detected_does_not_outvote_a_sentinel(truth):
    mag, out, seen = truth
    written = np.where(seen, out, 99.999)
    with pytest.warns(UserWarning, match=r"lost stars: 0 of 40000 in V, \d+ of 40000 in I"):
        stars = psp.ArtificialStars(mag, written, seen[:, 0], bands=BANDS)
    assert np.array_equal(stars.recovered, seen)
    assert stars.together
    errors = psp.ErrorModel.from_asts(stars).at(mag[:100])
    expected = psp.ErrorModel.from_asts(mag, out, seen.all(axis=1), bands=BANDS).at(mag[:100])
    np.testing.assert_allclose(errors.completeness, expected.completeness, atol=1e-9)


@pytest.mark.parametrize("number", [99.999, 99.0, -99.0, np.nan])
def test_no_input_magnitude(truth, number):
    mag, out, seen = (table.copy() for table in truth)
    mag[:500, 1] = number
    with pytest.warns(UserWarning, match="500 stars without an input magnitude are left out"):
        stars = psp.ArtificialStars(mag, out, seen, bands=BANDS)
    assert len(stars) == N - 500
    assert np.array_equal(stars.recovered, seen[500:])


def test_blends_with_much_brighter_stars_are_kept(truth):
    mag, out = (table.copy() for table in truth[:2])
    out[:8] -= np.linspace(5.0, 12.0, 8)[:, None]
    assert psp.ArtificialStars(mag, out, bands=BANDS).recovered.all()


def test_wrong_sign_is_told(truth):
    mag = truth[0]
    rng = np.random.default_rng(12)
    # Near the limit stars are found where they came out brighter.
    out = mag + 0.3 * rng.normal(size=mag.shape)
    found = rng.random(N) < psp.LogisticCompleteness(1.0, M50, 0.2)(out[:, 0])
    shift = np.where(found[:, None], out - mag, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        psp.ArtificialStars(mag, shift=shift, shift_sign="out - in", bands=BANDS)
    with pytest.warns(UserWarning, match=r"stars in V: .* fainter.*wrong sign") as caught:
        psp.ArtificialStars(mag, shift=shift, shift_sign="in - out", bands=BANDS)
    assert caught[0].filename == __file__


def test_sign_against_the_lost_rows(truth):
    mag, out, seen = truth
    shift = np.where(seen, mag - out, mag - 99.999)
    with pytest.warns(UserWarning, match="artificial|lost stars hold") as caught:
        psp.ArtificialStars(mag, shift=shift, shift_sign="out - in", bands=BANDS)
    assert "lost stars hold in - 99.999: the shifts are in - out" in str(caught[0].message)


def test_ngc1978_with_the_wrong_sign(shared_data):
    table = np.loadtxt(shared_data / "ngc1978_f555w_f814w.asts.dat.gz")
    with pytest.warns(UserWarning, match="the shifts are in - out") as caught:
        psp.ArtificialStars(
            table[:, :2], shift=table[:, 2:], shift_sign="out - in", bands=("F555W", "F814W")
        )
    said = " ".join(str(w.message) for w in caught)
    assert "in F555W: the 2742" in said


@pytest.mark.parametrize("sigma", [0.004, 0.008, 0.012, 0.03])
@pytest.mark.parametrize("kind", ["out", "in and out", "shift"])
def test_rounded_to_a_hundredth(sigma, kind):
    """Scatter from 0.4 steps up, and the bias, to 3 %: 500 stars a bin, 16 bins a trial."""
    rng = np.random.default_rng(13)
    mag = rng.uniform(18.0, 26.0, (8000, 1))
    if kind == "in and out":
        mag = np.round(mag, 2)
    noise = 0.003 + sigma * rng.normal(size=mag.shape)
    options = {"bands": ["V"], "stars_per_bin": 500}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing is lost here
        if kind == "shift":
            model = psp.ErrorModel.from_asts(
                mag, shift=np.round(noise, 2), shift_sign="out - in", **options
            )
        else:
            model = psp.ErrorModel.from_asts(mag, np.round(mag + noise, 2), **options)
    errors = model.at(np.linspace(18.5, 25.5, 50)[:, None])
    assert abs(errors.sigma.mean() / sigma - 1.0) < 0.03
    assert abs(errors.bias.mean() - 0.003) < 0.05 * sigma


def test_floor_of_a_scatter_far_below_the_step():
    rng = np.random.default_rng(14)
    mag = rng.uniform(18.0, 26.0, (4000, 1))
    shift = np.round(1e-4 * rng.normal(size=mag.shape), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = psp.ErrorModel.from_asts(
            mag, shift=shift, shift_sign="out - in", bands=["V"], sigma_floor=0.002
        )
    assert np.array_equal(model.at([[22.0]]).sigma, [[0.002]])


def test_bands_and_stars_can_be_selected(truth):
    stars = psp.ArtificialStars(*truth, bands=BANDS)
    swapped = stars.select_bands(["I", "V"])
    assert np.array_equal(swapped.mag, stars.mag[:, ::-1])
    half = stars.select(np.arange(N) % 2 == 0)
    assert np.array_equal(half.shift, stars.shift[::2], equal_nan=True)
    with pytest.raises(ValueError, match="no band 'B', there are V, I"):
        stars.select_bands(["B"])
    with pytest.raises(ValueError, match="leaves 50 artificial stars"):
        stars.select(np.arange(50))
    with pytest.raises(ValueError, match="mag_out is given beside ArtificialStars"):
        psp.ErrorModel.from_asts(stars, truth[1])
    with pytest.raises(ValueError, match="bands is missing"):
        psp.ErrorModel.from_asts(*truth)


def test_tables_of_all_kinds_and_what_is_none(truth):
    mag, out, _ = (array[:500] for array in truth)
    record = np.rec.fromarrays(out.T, names=list(BANDS))
    assert psp.ArtificialStars(mag, record, bands=BANDS).recovered.all()
    units = pytest.importorskip("astropy.units")
    columns = {band: m * units.mag for band, m in zip(BANDS, out.T, strict=True)}
    table = pytest.importorskip("astropy.table").QTable(columns)
    stars = psp.ArtificialStars(mag, table, bands=BANDS)
    np.testing.assert_allclose(stars.mag + stars.shift, out)
    text = np.where(out > 22.0, "INDEF", out.astype(str))
    for wrong in (text, "field.dat", psp.StarCatalog(out, 0.1 + 0.0 * out, bands=BANDS)):
        with pytest.raises(ValueError, match="mag_out must hold numbers"):
            psp.ArtificialStars(mag, wrong, bands=BANDS)
    with pytest.raises(ValueError, match="detected lacks the band 'I', it has V"):
        psp.ArtificialStars(mag, out, {"V": np.ones(500, dtype=bool)}, bands=BANDS)


@pytest.mark.parametrize("digits", [2, 3, 6])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("number", [9.999, 12.5])
def test_lost_stars_at_a_rounded_distance(truth, digits, sign, number):
    """Output = input + 9.999, with input magnitudes that have more digits than the output."""
    mag, out, seen = truth
    written = np.round(np.where(seen, out, mag + sign * number), digits)
    with pytest.warns(UserWarning, match="not recovered"):
        stars = psp.ArtificialStars(mag, written, bands=BANDS)
    np.testing.assert_array_equal(stars.recovered, seen)


def test_few_stars_that_came_out_much_brighter_stay(truth):
    mag, out, seen = truth
    out = np.where(seen, out, np.nan)
    bright = np.flatnonzero(seen[:, 0])[:30]
    out[bright, 0] = mag[bright, 0] - np.linspace(9.1, 12.0, 30)
    assert psp.ArtificialStars(mag, out, bands=BANDS).recovered[bright, 0].all()


@pytest.mark.parametrize("edges", ["x", ["a", "b"], {"V": "x", "I": [20.0, 25.0]}, [20.0], [3, 2]])
def test_edges_that_are_none(truth, edges):
    mag, out, _ = truth
    with pytest.raises(ValueError, match="mag_edges of V must"):
        psp.ErrorModel.from_asts(mag, out, bands=BANDS, mag_edges=edges)


@pytest.mark.parametrize("which", [np.ones(3, dtype=bool), [600], [-1], "x", [], [0.5]])
def test_choices_that_are_none(truth, which):
    mag, out, _ = (array[:500] for array in truth)
    stars = psp.ArtificialStars(mag, out, bands=BANDS)
    assert len(stars.select(np.arange(500) < 200)) == len(stars.select(np.arange(200))) == 200
    with pytest.raises(ValueError, match="which must be booleans"):
        stars.select(which)


def test_numbers_in_the_warning_are_those_of_the_file(truth):
    mag, out, seen = (array[:500] for array in truth)
    shift = np.where(seen, out - mag, 99.999)
    with pytest.warns(UserWarning, match=r"such as 99\.999, are taken as lost"):
        psp.ArtificialStars(mag, shift=shift, shift_sign="out - in", bands=BANDS)


def test_scatter_and_completeness_near_the_limit():
    """There most of the nearest recovered stars are brighter: the trends must not be theirs."""
    rng = np.random.default_rng(5)
    i = rng.uniform(20.0, 28.0, N)
    mag = np.stack([i + rng.uniform(-0.5, 1.5, N), i], axis=1)
    sigma, limit = (lambda m: 0.01 + 0.08 * np.exp((m - 26.0) / 1.1)), 26.3
    complete = psp.LogisticCompleteness(0.98, limit, 0.35)
    out = mag + sigma(mag) * rng.normal(size=mag.shape)
    out[rng.random(mag.shape) > complete(mag)] = np.nan
    axes = psp.HessAxes(BANDS, "I", np.linspace(-1.0, 3.0, 41), np.linspace(20.0, 28.0, 81))
    trends = measure_trends(psp.ArtificialStars(mag, out, bands=BANDS), axes)
    color = np.linspace(0.0, 1.0, 11)
    for at in (24.0, 25.0, 26.0, 26.4):
        truth = sigma(at + color), np.full(color.size, sigma(at))
        for table, expected in zip(trends.scatter, truth, strict=True):
            ratio = table(color, np.full(color.size, at)) / expected
            assert abs(ratio.mean() - 1.0) < (0.03 if at < 25.5 else 0.08)
        expected = complete(at + color) * complete(np.full(color.size, at))
        value = trends.completeness_at(color, np.full(color.size, at))
        assert abs(value - expected).mean() < 0.015
        assert abs(value.mean() / expected.mean() - 1.0) < (0.02 if at < 25.5 else 0.12)


@pytest.mark.parametrize("digits", [2, 3])
def test_magnitudes_that_many_stars_share_are_measured(digits):
    """Stars put in at a few magnitudes, with next to no noise, in a file that is rounded."""
    rng = np.random.default_rng(5)
    mag = np.repeat(rng.choice([18.0, 19.5, 21.0], 3000)[:, None], 2, axis=1)
    out = np.round(mag + rng.normal(0.0, 0.0004, mag.shape), digits)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not recovered")
        warnings.filterwarnings("ignore", message=".*of the faintest artificial stars")
        errors = psp.ErrorModel.from_asts(mag, out, bands=BANDS).at([[19.5, 19.5]])
    assert errors.completeness[0] == pytest.approx(1.0)
