"""Metallicity models: formulas, derivatives, symbolic twins, and models of one's own."""

from dataclasses import dataclass, replace

import numpy as np
import pytensor
import pytest
from pytensor import tensor as pt

import pymc_starpop as psp
from pymc_starpop.ops.namespace import TENSOR
from pymc_starpop.sfh.metallicity_models import as_metallicity_model
from sfh_fixtures import T_MAX
from tolerances import assert_close, assert_gradient_close

AGE = np.array([0.1, 0.5, 2.0, 6.0, 12.0])
MASS = np.array([1e5, 3e5, 0.0, 1e6, 4e6])
EPOCHS = psp.Epochs(AGE, T_MAX, MASS)


@dataclass(frozen=True)
class SaturatingAMR(psp.MetallicityModel):
    parameters = (
        psp.Parameter("mh_oldest", -2.0, 0.5),
        psp.Parameter("rise", 1.5, 0.5, positive=True),
        psp.Parameter("tau_gyr", 4.0, 0.5, positive=True),
    )

    def mean(self, p, epochs, xp):
        time = epochs.t_max_gyr - epochs.age_gyr
        return p["mh_oldest"] + p["rise"] * (1.0 - xp.exp(-time / p["tau_gyr"]))


@dataclass(frozen=True)
class SlowMZR(psp.PowerLawMZR):
    """The same formula with the derivatives that any model gets."""

    def evaluate(self, vector, epochs):
        return psp.MetallicityModel.evaluate(self, vector, epochs)


POINTS = [
    (psp.LinearAMR(), [0.1, -1.8]),
    (psp.LogarithmicAMR(), [3e-4, 2e-4]),
    (psp.PowerLawMZR(), [0.4, -1.2]),
    (psp.MonotoneAMR(4), [-2.0, 0.1, 0.5, 0.01, 0.3]),
    (psp.FixedAMR([-0.5, -0.6, -0.8, -1.2, -2.0]), []),
    (SaturatingAMR(), [-2.1, 1.4, 3.0]),
]
IDS = [type(model).__name__ for model, _ in POINTS]


@pytest.mark.parametrize(("model", "values"), POINTS, ids=IDS)
def test_derivatives_are_central_differences(model, values):
    vector = np.array(values)
    _, per_parameter, per_mass = model.evaluate(vector, EPOCHS)
    assert per_parameter.shape == (AGE.size, vector.size)
    for i, value in enumerate(vector):
        step = np.zeros_like(vector)
        step[i] = 1e-5 * abs(value)
        ahead, behind = (model.evaluate(vector + s * step, EPOCHS)[0] for s in (1, -1))
        differences = (ahead - behind) / (2.0 * step[i])
        assert_gradient_close(per_parameter[:, i] * value, differences * value)
    assert (per_mass is not None) == model.depends_on_mass
    for i in range(AGE.size if model.depends_on_mass else 0):
        step = np.zeros_like(MASS)
        step[i] = 10.0
        ahead, behind = (
            model.evaluate(vector, replace(EPOCHS, mass_formed=MASS + s * step))[0] for s in (1, -1)
        )
        assert_gradient_close(per_mass[:, i] * 1e6, (ahead - behind) / 20.0 * 1e6)


@pytest.mark.parametrize(("model", "values"), POINTS, ids=IDS)
def test_symbolic_formula_is_the_numeric_one(model, values):
    vector, mass = pt.dvector("vector"), pt.dvector("mass")
    mean = pt.as_tensor(model.mean(model.split(vector), replace(EPOCHS, mass_formed=mass), TENSOR))
    function = pytensor.function([vector, mass], mean, on_unused_input="ignore")
    got = np.broadcast_to(function(np.array(values), MASS), AGE.shape)
    assert_close(got, model.evaluate(np.array(values), EPOCHS)[0], "same_formula")


def test_mass_relation_has_the_derivatives_of_its_formula():
    vector = np.array([0.4, -1.2])
    for fast, slow in zip(
        psp.PowerLawMZR().evaluate(vector, EPOCHS), SlowMZR().evaluate(vector, EPOCHS), strict=True
    ):
        assert_close(fast, slow, "same_formula")


def test_values_follow_from_the_definitions():
    linear = psp.LinearAMR().evaluate(np.array([0.1, -1.87]), EPOCHS)[0]
    assert_close(linear, 0.1 * (T_MAX - AGE) - 1.87, "same_formula")
    mass = psp.PowerLawMZR(m0=1e5).evaluate(np.array([0.5, -1.0]), EPOCHS)[0]
    assert mass[0] == pytest.approx(-1.0 + 0.5 * np.log10(5.4e6 / 1e5))
    assert mass[-1] == pytest.approx(-1.0 + 0.5 * np.log10(4e6 / 1e5))


@pytest.mark.parametrize("n_step", [1, 3, 8])
def test_monotone_metallicity_rises_by_all_steps_and_never_falls(rng, n_step):
    model, ages = psp.MonotoneAMR(n_step), np.linspace(0.0, T_MAX, 200)
    rises = rng.random(n_step)
    epochs = psp.Epochs(ages, T_MAX, np.ones(200))
    mean = model.evaluate(np.concatenate([[-2.0], rises]), epochs)[0]
    assert mean[-1] == pytest.approx(-2.0)
    assert mean[0] == pytest.approx(-2.0 + rises.sum())
    assert (np.diff(mean) < 0).all()


def test_metal_content_beyond_a_formula_is_no_number():
    mean = psp.LogarithmicAMR().evaluate(np.array([0.0, 0.0]), EPOCHS)[0]
    assert np.isnan(mean).all()


def test_names_lead_to_models():
    assert as_metallicity_model("log_amr") == psp.LogarithmicAMR()
    model = SaturatingAMR()
    assert as_metallicity_model(model) is model


@pytest.mark.parametrize("wrong", ["linear", None, 3, psp.LinearAMR])
def test_what_is_no_model_is_refused(wrong):
    with pytest.raises(ValueError, match=r"metallicity must be one of .*'linear_amr'.*'free'"):
        as_metallicity_model(wrong)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("alpha", np.nan, 1.0), "start must be finite"),
        (("alpha", 0.0, 1.0, True), "start must be finite and positive"),
        (("alpha", 1.0, 0.0), "scale must be positive"),
        (("alpha", 1.0, 1.0, False, 0), "size must be 1 or more"),
        (("alpha", 1.0, 1.0, False, None, 0.1), "soft must be positive, and of a positive"),
        (("alpha", 1.0, 1.0, True, None, -0.1), "soft must be positive"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        psp.Parameter(*arguments)


def test_fixed_metallicities_must_be_one_for_each_age():
    with pytest.raises(ValueError, match="must be finite numbers"):
        psp.FixedAMR([np.nan, 0.0])
    with pytest.raises(ValueError, match="2 metallicities for 5 ages"):
        psp.FixedAMR([0.0, 0.0]).check(AGE)


def test_a_model_without_a_formula_says_what_is_missing():
    with pytest.raises(NotImplementedError, match="must define mean"):
        psp.MetallicityModel().evaluate(np.zeros(0), EPOCHS)
    with pytest.raises(ValueError, match="n_step must be 1 or more"):
        psp.MonotoneAMR(0)
