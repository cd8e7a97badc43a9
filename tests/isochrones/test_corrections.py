"""Empirical corrections against astro-brutus, and their behavior at the edges."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from pytensor import tensor as pt

import pymc_starpop as psp
from pymc_starpop.isochrones.corrections import ModelNodes
from tolerances import assert_close

EEP = np.array([202.0, 300.0, 353.0, 420.0, 453.0, 454.0, 470.0, 605.0, 808.0])
MASS = np.array([0.1, 0.35, 0.6, 0.8, 0.95, 0.999, 1.0, 1.2, 3.0])
VALUES = [(0.09, -0.09, 30.0, 0.5), (0.2, 0.15, 5.0, -1.0), (-0.3, 0.0, 80.0, 0.0)]


def applied(values, feh):
    zeros = np.zeros(EEP.size)
    at = psp.EmpiricalCorrections(*values).theory(ModelNodes(MASS, EEP, feh, zeros, zeros, zeros))
    return at.log_teff, at.log_g, at.log_l


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("feh", [-1.5, 0.0, 0.4])
def test_corrections_are_those_of_brutus(values, feh):
    populations = pytest.importorskip("brutus.core.populations")
    dlog_t, dlog_r = populations.Isochrone._apply_corrections(None, MASS, feh, EEP, values).T
    log_teff, log_g, log_l = applied(values, feh)
    assert_close(log_teff, dlog_t, "other_code")
    assert_close(log_l, 2.0 * dlog_r, "other_code")
    assert_close(log_g, -2.0 * dlog_r, "other_code")


def test_corrections_by_the_formula():
    """One star worked out by hand: 0.5 Msun, EEP 300, [Fe/H] = 0.2, default parameters."""
    fade = (1.0 - 1.0 / (1.0 + np.exp((454.0 - 300.0) / 30.0))) * np.exp(0.5 * 0.2)
    values = [np.array([x]) for x in (0.5, 300.0, 3.6, 4.7, -1.4)]
    at = psp.EmpiricalCorrections().theory(ModelNodes(values[0], values[1], 0.2, *values[2:]))
    found = (at.log_teff, at.log_g, at.log_l)
    dlog_t, dlog_r = np.log10(1.0 - 0.045) * fade, np.log10(1.0 + 0.045) * fade
    assert_close(np.ravel(found), [3.6 + dlog_t, 4.7 - 2.0 * dlog_r, -1.4 + 2 * dlog_r], "kernel")


def test_stars_of_one_solar_mass_and_more_stay_as_they_are():
    for part in applied(VALUES[0], 0.3):
        assert_array_equal(part[MASS >= 1.0], 0.0)
        assert (part[MASS < 1.0] != 0.0).all()


def test_a_narrow_turn_off_does_not_overflow():
    with np.errstate(over="raise", invalid="raise"):
        parts = applied((0.09, -0.09, 0.6, 0.5), 0.0)
    for part in parts:
        assert np.isfinite(part).all()


@pytest.mark.parametrize("name", ["dtdm", "drdm", "msto_smooth", "feh_scale"])
def test_numbers_that_are_not_finite_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be a finite number, got nan"):
        psp.EmpiricalCorrections(**{name: float("nan")})


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_the_width_of_the_turn_off_is_positive(value):
    with pytest.raises(ValueError, match=r"msto_smooth must be positive \(EEP\), got"):
        psp.EmpiricalCorrections(msto_smooth=value)


@pytest.mark.parametrize("name", ["dtdm", "drdm"])
def test_a_slope_that_makes_small_stars_negative_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be below 1.11 per Msun, got 5"):
        psp.EmpiricalCorrections(**{name: 5.0})


def test_constants_are_checked_like_numbers():
    with pytest.raises(ValueError, match="dtdm must be a finite number"):
        psp.EmpiricalCorrections(dtdm=pt.constant(np.nan))
    with pytest.raises(ValueError, match="feh_scale must be a finite number"):
        psp.EmpiricalCorrections(feh_scale=np.float32("inf"))
    with pytest.raises(ValueError, match="msto_smooth must be positive"):
        psp.EmpiricalCorrections(msto_smooth=pt.constant(-3.0))
