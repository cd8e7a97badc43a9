"""Fluxes, magnitudes, asinh magnitudes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pymc_starpop.stars import fluxes
from tolerances import assert_close

FLUX = st.floats(-1e4, 1e6)
SOFTENING = st.floats(1e-3, 1e3)


def test_magnitudes_of_the_definition():
    mag, err = fluxes.mag_of_flux(np.array([1.0, 100.0, 0.0, -3.0]), np.array([0.1, 1.0, 1.0, 1.0]))
    assert_close(mag[:2], [22.5, 17.5], "same_formula")
    assert_close(err[:2], [0.1 * 1.0857362, 0.01 * 1.0857362], "float32")
    assert np.isnan(mag[2:]).all()
    assert np.isnan(err[2:]).all()
    assert fluxes.flux_of_mag(np.array([np.inf, -np.inf])).tolist() == [0.0, np.inf]


@given(mag=st.floats(-5.0, 35.0))
def test_magnitude_and_back(mag):
    flux = fluxes.flux_of_mag(np.array([mag]))
    assert_close(fluxes.mag_of_flux(flux, flux)[0], [mag], "same_formula")


@given(flux=FLUX, softening=SOFTENING)
def test_asinh_magnitude_and_back(flux, softening):
    mu = fluxes.asinh_mag(np.array(flux), np.array(softening))
    back = fluxes.flux_of_asinh_mag(mu, np.array(softening))
    assert_close(back / np.hypot(flux, softening), flux / np.hypot(flux, softening), "kernel")


@given(flux=FLUX, softening=SOFTENING)
def test_slope_is_the_derivative(flux, softening):
    h = 1e-4 * np.hypot(flux, softening)
    ends = fluxes.asinh_mag(np.array([flux - h, flux + h]), np.array(softening))
    slope = np.exp(fluxes.log_asinh_slope(np.array(flux), np.array(softening)))
    assert_close((ends[0] - ends[1]) / (2 * h) / slope, 1.0, "gradient")


def test_bright_stars_have_the_same_magnitude():
    mag = np.array([12.0, 20.0])
    flux = fluxes.flux_of_mag(mag)
    assert_close(fluxes.asinh_mag(flux, 1e-5 * flux), mag, "kernel")
    # Zero flux has a finite one, that of the softening.
    assert_close(fluxes.asinh_mag(np.array(0.0), np.array(1.0)), 22.5, "same_formula")
