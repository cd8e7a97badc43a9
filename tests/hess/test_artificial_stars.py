"""Errors measured from artificial stars whose truth is known, and from a real table."""

import pickle
import warnings

import numpy as np
import pytest

import pymc_starpop as psp
from tolerances import assert_close

NOISE = {"V": psp.ExponentialError(1.03, 15, 33, 0.02, 0.4), "I": lambda m: 0.03 + 0 * m}
COMPLETENESS = {"V": psp.LogisticCompleteness(0.97, 26.5, 0.4), "I": lambda m: 0.9 + 0 * m}
BIAS = {"V": lambda m: 0.02 - 0.01 * (m - 20.0), "I": lambda m: 0.005 + 0 * m}
BANDS = ("V", "I")


def quiet(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return psp.ErrorModel.from_asts(*args, **kwargs)


@pytest.fixture(scope="module")
def table():
    """Input and output magnitudes and recovery of 60,000 stars, 5 % of them blended."""
    rng = np.random.default_rng(5)
    n = 60_000
    v = rng.uniform(20.0, 29.0, n)
    mag = np.stack([v, v - rng.uniform(0.0, 2.0, n)], axis=1)
    sigma = np.stack([NOISE[b](m) for b, m in zip(BANDS, mag.T, strict=True)], axis=1)
    bias = np.stack([BIAS[b](m) for b, m in zip(BANDS, mag.T, strict=True)], axis=1)
    out = mag + bias + sigma * rng.normal(size=mag.shape)
    complete = np.stack([COMPLETENESS[b](m) for b, m in zip(BANDS, mag.T, strict=True)], axis=1)
    return mag, out, rng.random(mag.shape) < complete


@pytest.fixture(scope="module")
def points():
    """Magnitudes within the range of the artificial stars."""
    v = np.linspace(20.5, 27.0, 40)
    return np.stack([v, v - 1.0], axis=1)


@pytest.mark.parametrize("joint", [False, True])
def test_truth_is_found(table, points, joint):
    mag, out, detected = table
    model = quiet(mag, out, detected, bands=BANDS, joint=joint)
    errors = model.at(points)
    for index, band in enumerate(BANDS):
        sigma = NOISE[band](points[:, index])
        # Of 150 nearest stars (joint) or 1,500 in a bin, at worst a third are recovered; 1.17 /
        # sqrt(n) is the relative error of the deviation, 1.25 / sqrt(n) that of the median. The
        # points span about 25 patches, or bins.
        spread = 1.25 / np.sqrt(150 if joint else 500)
        ratio = errors.sigma[:, index] / sigma - 1.0
        off = (errors.bias[:, index] - BIAS[band](points[:, index])) / sigma
        for values in (ratio, off):
            assert np.abs(values).max() < 4.0 * spread
            assert abs(values.mean()) < 4.0 * spread / np.sqrt(25)
    truth = np.prod([COMPLETENESS[b](points[:, i]) for i, b in enumerate(BANDS)], axis=0)
    spread = 0.5 / np.sqrt(150 if joint else 1500)
    assert np.abs(errors.completeness - truth).max() < 4.0 * spread
    assert abs((errors.completeness - truth).mean()) < 4.0 * spread / np.sqrt(25)


def test_outliers_hardly_move_the_errors(table, points):
    mag, out, detected = table
    blended = out.copy()
    blended[::20] -= 1.0
    clean, dirty = (quiet(mag, o, detected, bands=BANDS).at(points) for o in (out, blended))
    # 5 % on one side: the median absolute deviation of the rest at its 0.5 / 0.95 quantile
    assert np.abs(dirty.sigma / clean.sigma - 1).max() < 0.12
    assert np.abs(dirty.bias - clean.bias).max() < 0.12 * clean.sigma.max()


def test_slope_of_the_bias_does_not_add_to_the_scatter():
    rng = np.random.default_rng(6)
    mag = rng.uniform(20.0, 28.0, (4000, 1))
    out = mag + 0.5 * (mag - 24.0) + 0.01 * rng.normal(size=mag.shape)
    model = quiet(mag, out, np.abs(mag - 24) < 4, bands=["V"], stars_per_bin=100)
    sigma = model.at(np.linspace(21, 27, 13)[:, None]).sigma
    assert abs(np.median(sigma) / 0.01 - 1) < 0.1  # the bins are 0.2 mag wide: 0.03 if it did


def test_recovery_of_both_bands_together_is_not_squared(table, points):
    mag, out, _ = table
    rng = np.random.default_rng(7)
    both = rng.random(len(mag)) < COMPLETENESS["V"](mag[:, 0])  # lost in both at once
    errors = quiet(mag, out, both, bands=BANDS).at(points)
    off = errors.completeness - COMPLETENESS["V"](points[:, 0])
    assert np.abs(off).max() < 0.12
    assert abs(off.mean()) < 0.01


def test_joint_completeness_sees_losses_that_coincide(table, points):
    mag, out, _ = table
    rng = np.random.default_rng(8)
    lost = rng.random(len(mag)) > COMPLETENESS["V"](mag[:, 0])
    detected = np.stack([~lost, ~lost], axis=1)
    joint, product = (
        quiet(mag, out, detected, bands=BANDS, joint=j).at(points) for j in (True, False)
    )
    middle = np.abs(points[:, 0] - 26.5) < 0.4
    assert np.all(joint.completeness[middle] - product.completeness[middle] > 0.1)


def test_beyond_the_artificial_stars(table):
    mag, out, detected = table
    model = quiet(mag, out, detected, bands=BANDS)
    at_edge, beyond = model.at(mag.max(axis=0)[None]), model.at(mag.max(axis=0)[None] + 0.5)
    assert_close(beyond.sigma, at_edge.sigma, "same_formula")
    assert_close(beyond.bias, at_edge.bias, "same_formula")
    assert beyond.completeness[0] == 0.0
    with pytest.warns(UserWarning, match="brightest artificial stars, 20.00 mag in V") as caught:
        bright = model.at([[18.5, 20.0]])
    assert caught[0].filename == __file__
    assert_close(bright.completeness, model.at([[20.0, 20.0]]).completeness, "same_formula")


@pytest.mark.parametrize("joint", [False, True])
def test_warns_where_faint_artificial_stars_are_lacking(table, joint):
    mag, out, detected = table
    some = mag[:, 0] < 26.0
    with pytest.warns(UserWarning, match="faintest artificial stars in [VI]") as caught:
        psp.ErrorModel.from_asts(mag[some], out[some], detected[some], bands=BANDS, joint=joint)
    assert [w.filename for w in caught] == [__file__] * 2
    assert "V (26.00 mag)" in str(caught[0].message)


def test_tables_by_band_and_order_of_bands(table, points):
    mag, out, detected = table
    out = np.where(detected, out, np.nan)
    mag_in, mag_out = ({b: m[:, i] for i, b in enumerate(BANDS)} for m in (mag, out))
    a = quiet(mag, out, detected, bands=BANDS)
    b = quiet(mag_in, mag_out, bands=("I", "V"))
    assert b.bands == ("I", "V")
    one, other = a.at(points), b.at(points[:, ::-1])
    assert_close(one.sigma, other.sigma[:, ::-1], "same_formula")
    assert_close(one.completeness, other.completeness, "same_formula")
    assert_close(a.select(["I"]).at(points[:, 1:]).sigma, one.sigma[:, 1:], "same_formula")


def test_values_of_lost_stars_do_not_matter(table, points):
    mag, out, detected = table
    for lost in (np.nan, 99.999, -60.0):
        other = quiet(mag, np.where(detected, out, lost), detected, bands=BANDS, joint=True)
        same = quiet(mag, out, detected, bands=BANDS, joint=True)
        assert_close(other.at(points).sigma, same.at(points).sigma, "same_formula")


def test_given_edges(table):
    mag, out, detected = table
    edges = np.arange(19.0, 31.0)
    model = quiet(mag, out, detected, bands=BANDS, mag_edges={"V": edges, "I": edges})
    inside = (mag[:, 0] >= 23.0) & (mag[:, 0] < 24.0)
    center = mag[inside, 0].mean()
    complete = model.completeness["V"](center)
    assert_close(complete, detected[inside, 0].mean(), "same_formula")


def test_rounded_magnitudes_keep_a_positive_error():
    mag = np.linspace(18.0, 20.0, 500)[:, None]
    model = quiet(mag, mag, bands=["V"], sigma_floor=0.002)
    assert_close(model.at([[19.0]]).sigma, [[0.002]], "same_formula")


def test_joint_model_can_be_pickled_and_needs_both_bands(table, points):
    model = quiet(*table, bands=BANDS, joint=True)
    copy = pickle.loads(pickle.dumps(model))
    assert_close(copy.at(points).completeness, model.at(points).completeness, "same_formula")
    swapped = model.select(["I", "V"]).at(points[:, ::-1])
    assert_close(swapped.completeness, model.at(points).completeness, "same_formula")
    with pytest.raises(ValueError, match="joint in V and I, but V is left out"):
        model.select(["I"])


def test_ngc1978(shared_data):
    table = np.loadtxt(shared_data / "ngc1978_f555w_f814w.asts.dat.gz")
    mag, shift = table[:, :2], -table[:, 2:]
    with pytest.warns(UserWarning, match="22939 of 95029 in F555W, 23251 of 95029 in F814W"):
        stars = psp.ArtificialStars(
            mag, shift=-shift, shift_sign="in - out", bands=("F555W", "F814W")
        )
    detected = stars.recovered
    assert np.array_equal(detected, np.abs(shift) < 9)
    models = {joint: psp.ErrorModel.from_asts(stars, joint=joint) for joint in (False, True)}
    color = mag[:, 0] - mag[:, 1]
    for bright in (20.0, 22.0, 24.0, 25.0):
        for blue in (-0.5, 0.5, 1.5):
            here = (np.abs(mag[:, 0] - bright - 0.5) < 0.5) & (np.abs(color - blue - 0.5) < 0.5)
            both = here & detected.all(axis=1)
            errors = models[True].at(mag[both])
            pull = (shift[both] - errors.bias) / errors.sigma
            robust = 1.4826 * np.median(np.abs(pull), axis=0)
            assert np.all(np.abs(robust - 1.0) < 0.05)
            assert np.all(np.abs(np.median(pull, axis=0)) < 0.05)
            complete = models[True].at(mag[here]).completeness.mean()
            assert abs(complete - detected[here].all(axis=1).mean()) < 0.02
            if bright >= 22.0:  # faint stars are lost in both bands at once
                assert models[False].at(mag[here]).completeness.mean() < complete
    assert models[True].at([[30.0, 29.0]]).completeness[0] == 0.0


GOOD = np.linspace(18.0, 28.0, 200)[:, None]


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((GOOD[:50], GOOD[:50]), {}, "50 artificial stars; at least 100"),
        ((GOOD, GOOD[:150]), {}, r"same stars.*\(200, 1\).*\(150, 1\)"),
        ((GOOD, np.c_[GOOD, GOOD]), {}, r"mag_out must have shape \(N, 1\)"),
        ((np.where(GOOD < 24, np.nan, GOOD), GOOD), {}, "80 artificial stars.*without an input"),
        ((GOOD, GOOD * np.nan, np.ones(200, bool)), {}, "no artificial star was recovered in V"),
        ((GOOD,), {}, "either mag_out or shift, with shift_sign.*got neither"),
        ((GOOD, GOOD), {"shift": GOOD, "shift_sign": "out - in"}, "got both"),
        ((GOOD, GOOD), {"shift_sign": "out - in"}, "belongs to shift"),
        ((GOOD,), {"shift": 0 * GOOD}, "'out - in' or 'in - out', got None"),
        ((GOOD,), {"shift": 0 * GOOD, "shift_sign": "out"}, "got 'out'"),
        ((GOOD,), {"shift": np.c_[GOOD, GOOD], "shift_sign": "out - in"}, "shift must have shape"),
        ((GOOD, GOOD, np.zeros(200, bool)), {}, "no artificial star was recovered in V"),
        ((GOOD, GOOD, np.ones(200)), {}, "detected must be booleans, got float64"),
        ((GOOD, GOOD, np.ones(20, bool)), {}, "detected must have shape"),
        (({"I": GOOD[:, 0]}, GOOD), {}, "mag_in lacks the band 'V', it has I"),
        ((GOOD, GOOD), {"joint": True}, "exactly two bands, got V"),
        ((GOOD, GOOD), {"bands": ("V", "V")}, "distinct"),
        ((GOOD, GOOD), {"bands": ()}, "distinct"),
        ((GOOD, GOOD), {"stars_per_bin": 3}, "stars_per_bin must be a whole number >= 10"),
        ((GOOD, GOOD), {"sigma_floor": 0.0}, "sigma_floor must be positive"),
        ((GOOD, GOOD), {"sigma_floor": True}, "sigma_floor must be positive"),
        ((GOOD, GOOD), {"joint": "no"}, "joint must be True or False, got 'no'"),
        ((GOOD, GOOD), {"mag_edges": [20, 19]}, "mag_edges of V must"),
        ((GOOD, GOOD), {"mag_edges": {"I": [19, 20]}}, "mag_edges lacks the band 'V'"),
        ((GOOD, GOOD), {"mag_edges": [40, 41]}, "widen mag_edges"),
        ((np.c_[GOOD, GOOD],) * 2, {"bands": BANDS, "joint": True, "mag_edges": [1, 2]}, "joint"),
    ],
)
def test_refused(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        quiet(*arguments, **{"bands": ["V"], **options})


def test_refused_where_no_star_is_recovered_in_both():
    first = np.arange(200) % 2 == 0
    mag = np.c_[GOOD, GOOD]
    with pytest.raises(ValueError, match="0 artificial stars were recovered in both"):
        quiet(mag, mag, np.c_[first, ~first], bands=BANDS, joint=True)
