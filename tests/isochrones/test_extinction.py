"""CCM89 against another code and against the paper."""

import numpy as np
import pytest

from pymc_starpop.isochrones.extinction import ccm89_a, ccm89_rv_slope
from tolerances import assert_close


@pytest.mark.parametrize("rv", [2.0, 3.1, 5.5])
def test_agrees_with_another_code(rv):
    extinction = pytest.importorskip("extinction")
    x = np.concatenate([np.linspace(0.301, 7.99, 500), [1.0999, 1.1001, 3.2999, 3.3001, 5.9]])
    ours = ccm89_a(1.0 / x) + ccm89_rv_slope(1.0 / x) / rv
    assert_close(ours, extinction.ccm89(1e4 / x, 1.0, rv), "other_code")


def test_published_table():
    # CCM89, Table 3: coefficients at wavenumbers that are printed with two digits
    x = np.array([2.78, 1.82, 1.43, 1.11, 0.80, 0.63, 0.46])  # U V R I J H K
    a = [0.9530, 1.0000, 0.8686, 0.6800, 0.4008, 0.2693, 0.1615]
    b = [1.9090, 0.0000, -0.3660, -0.6239, -0.3679, -0.2473, -0.1483]
    np.testing.assert_allclose(ccm89_a(1 / x), a, atol=0.005)
    np.testing.assert_allclose(ccm89_rv_slope(1 / x), b, atol=0.005)


def test_v_band_is_the_unit():
    assert_close(ccm89_a(1 / 1.82), 1.0, "same_formula")
    assert_close(ccm89_rv_slope(1 / 1.82), 0.0, "same_formula")


def test_longer_wavelengths_continue_the_infrared_power_law():
    wavelength = np.array([2.2, 3.35, 4.6, 22.0])  # Ks, WISE W1, W2, W4
    assert_close(ccm89_a(wavelength) * wavelength**1.61, np.full(4, 0.574), "same_formula")
    slope = ccm89_rv_slope(wavelength) * wavelength**1.61
    assert_close(slope, np.full(4, -0.527), "same_formula")


def test_shape_is_kept():
    assert ccm89_a(np.full((2, 3), 0.5)).shape == (2, 3)
    assert ccm89_rv_slope(0.5).shape == ()


@pytest.mark.parametrize("wavelength", [0.1, 0.0, -1.0, np.nan, np.inf, [0.5, 0.01]])
def test_wavelength_outside_the_law(wavelength):
    with pytest.raises(ValueError, match="wavelength_micron must be finite and at least"):
        ccm89_a(wavelength)
