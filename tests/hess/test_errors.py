"""Photometric errors by band: formulas, combination, refused input."""

import pickle

import numpy as np
import pytest

import pymc_starpop as psp
from pymc_starpop.hess.errors import as_error_model
from tolerances import assert_close

NOISE = {"V": psp.ExponentialError(1.03, 15, 36, 0.02, 0.4), "I": 0.05, "K": lambda m: 0.001 * m}
COMPLETENESS = {"V": psp.LogisticCompleteness(0.98, 28.5, 0.7), "I": 0.5, "K": lambda m: 1.0}
BIAS = {"V": lambda m: 0.01 * (m - 25.0), "I": -0.02, "K": 0.0}
MAG = np.array([[20.0, 19.0, 18.0], [28.5, 27.0, 25.0], [45.0, 44.0, 43.0]])


def test_exponential_error():
    mag = np.array([10.0, 25.0, 30.0, 60.0])
    sigma = psp.ExponentialError(1.03, 15, 36, 0.02, 0.4)
    expected = [min(1.03 ** (15 * (m - 36)) + 0.02, 0.4) for m in mag]
    assert_close(sigma(mag), expected, "same_formula")
    assert np.isfinite(psp.ExponentialError(10.0, 5.0, 20.0, 0.0)(300.0))


def test_logistic_completeness():
    curve = psp.LogisticCompleteness(0.9, 27.0, 0.5)
    assert_close(curve(27.0), 0.45, "same_formula")
    assert_close(curve([0.0, 27.5]), [0.9, 0.9 / (1 + np.e)], "same_formula")
    assert curve(1e6) < 1e-300


def test_at_takes_each_band_at_its_own_magnitude():
    errors = psp.ErrorModel(NOISE, COMPLETENESS, BIAS).at(MAG)
    assert_close(errors.sigma[:, 0], NOISE["V"](MAG[:, 0]), "same_formula")
    assert_close(errors.sigma[:, 1:], np.c_[[0.05] * 3, 0.001 * MAG[:, 2]], "same_formula")
    assert_close(errors.bias[:, 0], 0.01 * (MAG[:, 0] - 25.0), "same_formula")
    assert_close(errors.bias[:, 1:], [[-0.02, 0.0]] * 3, "same_formula")
    assert_close(errors.completeness, 0.5 * COMPLETENESS["V"](MAG[:, 0]), "same_formula")


def test_defaults_are_complete_and_without_bias():
    errors = psp.ErrorModel({"V": 0.1}).at(MAG[:, :1])
    assert_close(errors.completeness, np.ones(3), "same_formula")
    assert_close(errors.bias, np.zeros((3, 1)), "same_formula")


def test_select_orders_bands_and_leaves_out():
    model = psp.ErrorModel(NOISE, COMPLETENESS, BIAS)
    chosen = model.select(["K", "V"])
    assert chosen.bands == ("K", "V")
    errors, whole = chosen.at(MAG[:, [2, 0]]), model.at(MAG)
    assert_close(errors.sigma, whole.sigma[:, [2, 0]], "same_formula")
    assert_close(errors.bias, whole.bias[:, [2, 0]], "same_formula")
    assert_close(errors.completeness, whole.completeness / 0.5, "same_formula")


def test_as_error_model_from_mappings_or_a_model():
    bands = ("I", "V")
    direct = as_error_model(bands, NOISE, COMPLETENESS, BIAS).at(MAG[:, [1, 0]])
    model = as_error_model(bands, psp.ErrorModel(NOISE, COMPLETENESS, BIAS)).at(MAG[:, [1, 0]])
    for name in ("sigma", "bias", "completeness"):
        assert_close(getattr(direct, name), getattr(model, name), "same_formula")


def test_model_without_lambdas_can_be_pickled():
    model = psp.ErrorModel({"V": NOISE["V"]}, {"V": COMPLETENESS["V"]})
    copy = pickle.loads(pickle.dumps(model))
    assert_close(copy.at(MAG[:, :1]).sigma, model.at(MAG[:, :1]).sigma, "same_formula")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: psp.ErrorModel({}), "noise is empty"),
        (lambda: psp.ErrorModel(0.02), "noise must map each band"),
        (lambda: psp.ErrorModel({"V": "x"}), r"noise\['V'\] must be a function"),
        (lambda: psp.ErrorModel({"V": 0.0}), r"noise\['V'\] must be positive and finite.*got 0"),
        (lambda: psp.ErrorModel({"V": 0.1}, {"V": 1.2}), r"completeness\['V'\].*0 and 1.*1.2"),
        (lambda: psp.ErrorModel({"V": 0.1}, None, {"V": np.nan}), r"bias\['V'\] must be finite"),
        (lambda: psp.ErrorModel({"V": 0.1}, {"I": 1.0}), "completeness lacks the band 'V'"),
        (lambda: as_error_model(["V", "J"], NOISE), "noise lacks the band 'J'.*has V, I, K"),
        (lambda: as_error_model(["V", "V"], NOISE), "distinct"),
        (lambda: as_error_model(["V"], NOISE, {"I": 1.0}), "completeness lacks the band 'V'"),
        (lambda: as_error_model(["V"], psp.ErrorModel(NOISE), COMPLETENESS), "beside"),
        (lambda: psp.ErrorModel(NOISE).select(["J"]), "lacks the band 'J'"),
        (lambda: psp.ErrorModel(NOISE).at(MAG[:, :2]), r"shape \(N, 3\).*V, I, K"),
        (lambda: psp.ErrorModel({"V": lambda m: 20.0 - m}).at([[19.0], [25.0]]), "magnitude 25"),
        (lambda: psp.ErrorModel({"V": lambda m: m * np.nan}).at([[19.0]]), "got nan"),
        (lambda: psp.ErrorModel({"V": 0.1}, {"V": lambda m: m / 10}).at([[19.0]]), "0 and 1.*1.9"),
        (lambda: psp.ErrorModel({"V": lambda m: m[:1]}).at([[1.0], [2.0]]), "each of 2 magnitudes"),
        (lambda: psp.ExponentialError(-1.0, 1, 1, 0), "a > 0"),
        (lambda: psp.ExponentialError(1.0, 1, 1, 0, cap=0.0), "cap > 0"),
        (lambda: psp.ExponentialError(1.0, np.inf, 1, 0), "b must be a finite number"),
        (lambda: psp.LogisticCompleteness(1.1, 28, 0.7), "A <= 1"),
        (lambda: psp.LogisticCompleteness(1.0, 28, 0.0), "rho > 0"),
        (lambda: psp.LogisticCompleteness(1.0, None, 1.0), "m50 must be a finite number"),
    ],
)
def test_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
