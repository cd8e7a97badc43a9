"""Coordinates without bounds: inverse, derivatives, and the symbolic form."""

import numpy as np
import pytest

import pymc_starpop as psp
from pymc_starpop.ops.namespace import TENSOR
from pymc_starpop.sfh.coordinates import Coordinates
from tolerances import assert_close, assert_gradient_close

# A logarithm, softened ones far above, near and far below their turn, and an unbounded one.
POSITIVE = np.array([True, True, True, True, False])
SOFT = np.array([0.0, 0.1, 0.1, 0.1, 0.0])
COORDINATES = Coordinates(POSITIVE, SOFT)
U = np.array([-2.0, 3.0, 0.02, -1.5, -0.7])
STEP = 1e-6


def differences(function):
    rows = []
    for i in range(U.size):
        step = STEP * np.eye(U.size)[i]
        rows.append((function(U + step)[i] - function(U - step)[i]) / (2.0 * STEP))
    return np.array(rows)


def test_positive_ones_are_positive_and_come_back():
    x = COORDINATES.natural(U)
    assert (x[POSITIVE] > 0.0).all()
    assert x[4] == U[4]
    assert x[1] == pytest.approx(3.0)
    assert_close(COORDINATES.unbounded(x), U, "kernel")


def test_derivatives_are_central_differences():
    first, second = COORDINATES.derivatives(U)
    assert_gradient_close(first, differences(COORDINATES.natural))
    assert_gradient_close(second, differences(lambda u: COORDINATES.derivatives(u)[0]))
    value, slope, bend = COORDINATES.log_volume(U)
    assert_close(value, np.log(first), "kernel")
    assert_gradient_close(slope, differences(lambda u: COORDINATES.log_volume(u)[0]))
    assert_gradient_close(bend, differences(lambda u: COORDINATES.log_volume(u)[1]))


@pytest.mark.parametrize("i", range(U.size))
def test_parameters_take_the_same_map(i):
    parameter = psp.Parameter("x", 0.3, 1.0, bool(POSITIVE[i]), soft=SOFT[i] or None)
    expected = COORDINATES.natural(U)[i]
    assert_close(parameter.natural(U[i]), expected, "same_formula")
    assert_close(
        parameter.natural(np.float64(U[i]), TENSOR).eval()
        if POSITIVE[i]
        else parameter.natural(U[i], TENSOR),
        expected,
        "same_formula",
    )
    assert parameter.natural(parameter.unbounded_start) == pytest.approx(0.3)


def test_logarithms_that_overflow_are_outside():
    assert COORDINATES.inside(U)
    assert not COORDINATES.inside(np.array([400.0, 0.0, 0.0, 0.0, 0.0]))
    assert COORDINATES.inside(np.array([0.0, 400.0, 0.0, 0.0, 400.0]))
