"""Corrections of magnitudes: splines along the sequence, and what is refused."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from pytensor import tensor as pt
from scipy.interpolate import CubicSpline

import pymc_starpop as psp
from pymc_starpop.isochrones.corrections import ModelNodes
from pymc_starpop.isochrones.magnitudes import model_magnitudes
from pymc_starpop.ops.namespace import TENSOR
from tolerances import assert_close

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "2MASS_Ks")
KNOTS = psp.SequenceKnots()


@pytest.fixture
def coefficients():
    return np.random.default_rng(3).normal(0.0, 0.05, (len(BANDS), len(KNOTS)))


def nodes(log_teff, eep, log_g=4.5):
    log_teff = np.atleast_1d(log_teff).astype(float)
    shape = log_teff.shape
    return ModelNodes(
        np.ones(shape), np.broadcast_to(eep, shape).astype(float), 0.0, log_teff,
        np.broadcast_to(log_g, shape).astype(float), np.zeros(shape),
    )  # fmt: skip


def by_hand(at, knots, values):
    """The offsets (E, B): a spline of each part, put together by the shares of the parts."""
    evolved = 1.0 / (1.0 + np.exp(-np.clip((at.eep / at.main_sequence_eep - 0.95) / 0.03, -30, 30)))
    giant = 1.0 / (1.0 + np.exp(-np.clip((3.7 - at.log_g) / 0.15, -30, 30)))
    total, first = 0.0, 0
    shares = (1.0 - evolved, evolved * (1.0 - giant), evolved * giant)
    for places, share in zip((knots.dwarfs, knots.turn_off, knots.giants), shares, strict=True):
        own = values[:, first : first + len(places)].T
        first += len(places)
        spline = CubicSpline(places, own, bc_type="clamped")
        total = total + share[:, None] * spline(np.clip(at.log_teff, places[0], places[-1]))
    return total


def test_the_basis_is_a_spline_of_each_part(coefficients):
    rng = np.random.default_rng(1)
    at = nodes(rng.uniform(3.3, 4.4, 300), rng.uniform(1, 808, 300), rng.uniform(0.0, 5.0, 300))
    found = KNOTS.basis(at) @ coefficients.T
    assert_close(found, by_hand(at, KNOTS, coefficients), "kernel")
    symbolic = KNOTS.basis(at, TENSOR)
    value = symbolic.eval() if hasattr(symbolic, "eval") else symbolic
    assert_close(value, KNOTS.basis(at), "kernel")


def test_values_at_knots():
    """A dwarf at a knot has its value alone, a giant that of the giants."""
    for k, place in enumerate(KNOTS.dwarfs):
        expected = np.zeros(len(KNOTS))
        expected[k] = 1.0
        np.testing.assert_allclose(KNOTS.basis(nodes(place, 250))[0], expected, atol=1e-6)
    giant = KNOTS.basis(nodes(KNOTS.giants[0], 600, 1.0))[0]
    np.testing.assert_allclose(giant, np.eye(len(KNOTS))[-2], atol=1e-4)
    # All values 1: the parts add up to one, everywhere.
    everywhere = nodes(np.linspace(3.2, 4.5, 200), np.linspace(1, 808, 200), np.linspace(5, 0, 200))
    np.testing.assert_allclose(KNOTS.basis(everywhere).sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize(
    "parts", [((3.5, 3.7), (), ()), ((3.5,), (), (3.6,)), ((3.5,), (3.8,), ())]
)
def test_parts_without_knots_are_reached_over(parts):
    knots = psp.SequenceKnots(*parts)
    at = nodes([3.6, 3.6, 3.6], [250, 470, 600], [4.5, 4.0, 2.0])
    np.testing.assert_allclose(knots.basis(at).sum(axis=1), 1.0, atol=1e-12)
    assert len(knots) == len(knots.labels) == knots.log_teff.size == sum(map(len, parts))


@pytest.mark.parametrize(
    "parts", [((3.7, 3.5), (), ()), ((), (), ()), ((3.5, np.nan), (), ()), ((3.5,), (9.0,), ())]
)
def test_bad_knots(parts):
    with pytest.raises(ValueError, match="must be ascending values of log10"):
        psp.SequenceKnots(*parts)


def test_magnitudes_move_by_the_offsets(coarse, coefficients):
    bands = (BANDS[2], BANDS[0])  # fewer, in another order
    place = (coarse, bands, (0.1, 9.0), (0.3, 3.1))
    plain = model_magnitudes(*place)
    moved = model_magnitudes(*place, psp.MagnitudeCorrections(coefficients, BANDS))
    one = coarse.at(0.1, 9.0, BANDS)
    at = ModelNodes(
        one.initial_mass, one.eep.astype(float), 0.1, one.log_teff, one.log_g, one.log_l
    )
    expected = by_hand(at, KNOTS, coefficients)[:, [2, 0]]
    assert_close(moved.mag - plain.mag, expected, "kernel")
    np.testing.assert_array_equal(moved.log10_mass, plain.log10_mass)


def test_corrections_follow_each_other(coarse, coefficients):
    """The second ones see the temperatures that the first ones made."""
    place = (coarse, BANDS, (0.1, 9.0), (0.3, 3.1))
    both = model_magnitudes(
        *place, (psp.EmpiricalCorrections(), psp.MagnitudeCorrections(coefficients, BANDS))
    )
    first = model_magnitudes(*place, psp.EmpiricalCorrections())
    one = coarse.at(0.1, 9.0, BANDS)
    at = psp.EmpiricalCorrections().theory(
        ModelNodes(one.initial_mass, one.eep.astype(float), 0.1, one.log_teff, one.log_g, one.log_l)
    )
    assert_close(both.mag - first.mag, by_hand(at, KNOTS, coefficients), "kernel")


@dataclass(frozen=True)
class Tilt(psp.Corrections):
    slope: Any = 0.0

    def magnitudes(self, at, mag, bands, xp):
        return mag + (self.slope * (3.76 - at.log_teff))[:, None]


def test_corrections_of_the_user(coarse):
    place = (coarse, BANDS, (0.1, 9.0), (0.3, 3.1))
    moved = model_magnitudes(*place, Tilt(0.5)).mag - model_magnitudes(*place).mag
    expected = 0.5 * (3.76 - coarse.at(0.1, 9.0, BANDS).log_teff)
    assert_close(moved, np.broadcast_to(expected[:, None], moved.shape), "kernel")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"coefficients": np.zeros((2, 12))}, r"shape \(2, 12\), expected \(3, 12\)"),
        ({"coefficients": np.zeros((3, 5))}, r"shape \(3, 5\), expected \(3, 12\)"),
        ({"coefficients": np.zeros(12)}, r"shape \(12,\), expected \(3, 12\)"),
        ({"coefficients": 0.1}, r"shape \(\), expected \(3, 12\)"),
        ({"coefficients": pt.dvector()}, r"expected \(3, 12\)"),
        ({"coefficients": np.full((3, 12), np.nan)}, "must be finite numbers"),
        ({"bands": ("TESS", "TESS", "2MASS_J")}, "names of bands, each once"),
        ({"bands": ()}, "names of bands, each once"),
        ({"knots": (3.5, 3.6)}, "knots must be a SequenceKnots"),
    ],
)
def test_bad_corrections(coefficients, arguments, words):
    with pytest.raises(ValueError, match=words):
        psp.MagnitudeCorrections(
            **{"coefficients": coefficients, "bands": BANDS, "knots": KNOTS} | arguments
        )


def test_a_band_without_coefficients(coarse, coefficients):
    with pytest.raises(ValueError, match="no MagnitudeCorrections for 2MASS_J, only for Gaia_G"):
        model_magnitudes(
            coarse, ("2MASS_J",), (0.0, 9.0),
            corrections=psp.MagnitudeCorrections(coefficients, BANDS),
        )  # fmt: skip
