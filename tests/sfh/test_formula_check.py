"""Formulas that a fit would take for something else are refused."""

import numpy as np
import pytest

import pymc_starpop as psp
from pymc_starpop.sfh.formula_check import check_formula
from sfh_fixtures import T_MAX, toy_templates

PARAMETERS = (psp.Parameter("start", -2.0, 0.5), psp.Parameter("gain", 1.5, 0.5, positive=True))


def make_model(formula, declared=False):
    class Model(psp.MetallicityModel):
        parameters = PARAMETERS
        depends_on_mass = declared

        def mean(self, p, epochs, xp):
            return formula(p, epochs, xp)

    return Model()


def smooth(p, epochs, xp):
    return p["start"] + p["gain"] * xp.exp(-epochs.age_gyr / 4.0)


def from_mass(p, epochs, xp):
    return p["start"] + 0.1 * p["gain"] * xp.log(epochs.mass_formed.sum())


BAD = {
    "absolute value": (make_model(lambda p, e, xp: -abs(smooth(p, e, xp))), "must be analytic"),
    "maximum": (
        make_model(lambda p, e, xp: np.maximum(np.real(smooth(p, e, xp)), -1.0)), "must be analytic"
    ),
    "masses": (make_model(from_mass), "depends_on_mass = True"),
    "shape": (make_model(lambda p, e, xp: smooth(p, e, xp)[:-1]), "one .M/H. for each of 10 ages"),
    "no number": (make_model(lambda p, e, xp: xp.log(smooth(p, e, xp))), "mean is not finite"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize(("model", "message"), BAD.values(), ids=BAD)
def test_formulas_are_refused_with_the_reason(model, message):
    tmpl = toy_templates()
    stars = np.ones(tmpl.axes.shape)
    with pytest.raises(ValueError, match=message):
        psp.fit_sfh(tmpl, stars, model)


GOOD = [
    make_model(smooth), make_model(from_mass, declared=True), psp.LinearAMR(), psp.LogarithmicAMR(),
    psp.PowerLawMZR(), psp.MonotoneAMR(4), psp.FixedAMR(np.linspace(-1.0, -2.0, 10)),
]  # fmt: skip


@pytest.mark.parametrize("model", GOOD, ids=lambda m: type(m).__name__)
def test_good_formulas_pass(model, rng):
    tmpl = toy_templates()
    start = np.concatenate([np.full(p.n, p.start) for p in model.parameters] or [[]])
    epochs = psp.Epochs(tmpl.age_gyr, T_MAX, rng.uniform(1e3, 1e6, tmpl.n_age))
    check_formula(model, start, epochs)
