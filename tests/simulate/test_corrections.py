"""Simulated clusters with corrections: magnitudes move by exactly the offsets."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytensor.tensor as pt
import pytest
import xarray as xr

import pymc_starpop as psp
from pymc_starpop.isochrones.corrections import ModelNodes

BANDS = ("Gaia_G_EDR3", "2MASS_Ks")
TRUTH = {"feh": 0.0, "log_age": 9.0, "distance_modulus": 8.0}
KNOTS = psp.SequenceKnots((3.6, 3.75), (), (3.66,))
COEFFICIENTS = np.random.default_rng(1).normal(0.0, 0.1, (2, 3))
# Mag: what is left of noise.
QUIET = 1e-9


@dataclass(frozen=True)
class Tilt(psp.Corrections):
    """A slope for all bands and an offset of each."""

    slope: Any = 0.0
    offset: Any = 0.0
    axes: ClassVar = {"offset": ("band",)}

    def magnitudes(self, at, mag, bands, xp):
        return mag + (self.slope * (3.76 - at.log_teff))[:, None] + self.offset


def simulate(iso, corrections=None, **changes):
    given = {"n_star": 300, "bands": BANDS, "mag_err": QUIET, "rng": 4} | TRUTH
    return psp.simulate_cluster(iso, corrections=corrections, **given | changes)


def nodes(iso):
    """The isochrone, and its theory at the nodes."""
    one = iso.at(TRUTH["feh"], TRUTH["log_age"], BANDS)
    at = ModelNodes(
        one.initial_mass, one.eep.astype(float), 0.0, one.log_teff, one.log_g, one.log_l,
        iso.main_sequence_eep,
    )  # fmt: skip
    return one, at


@pytest.mark.parametrize("several", [False, True])
def test_stars_move_by_the_offsets_at_their_mass(coarse, several):
    own = psp.MagnitudeCorrections(COEFFICIENTS, BANDS, KNOTS)
    corrections = (own, Tilt(0.5, [0.01, -0.02])) if several else own
    plain, moved = simulate(coarse), simulate(coarse, corrections)
    mass = plain.extra["initial_mass"]
    np.testing.assert_array_equal(mass, moved.extra["initial_mass"])
    one, at = nodes(coarse)
    added = own.magnitudes(at, np.zeros((len(one.eep), 2)), BANDS)
    if several:
        added = added + (0.5 * (3.76 - one.log_teff))[:, None] + [0.01, -0.02]
    # Below the turn-off masses rise from node to node far enough to be told apart.
    dwarfs = (one.eep > 200) & (one.eep < 440)
    inside = (mass > one.initial_mass[dwarfs][0]) & (mass < one.initial_mass[dwarfs][-1])
    assert inside.sum() > 50
    expected = [np.interp(mass[inside], one.initial_mass[dwarfs], a[dwarfs]) for a in added.T]
    np.testing.assert_allclose(moved.mag[inside] - plain.mag[inside], np.transpose(expected),
                               atol=1e-7)  # fmt: skip


@pytest.mark.parametrize("options", [{"binary_fraction": 0.5}, {"av_scatter": 0.1}])
def test_one_value_for_a_band_moves_all_stars_alike(coarse, options):
    """Also binaries: both stars are moved."""
    shifts = np.array([0.1, -0.3])
    coefficients = np.repeat(shifts[::-1, None], 3, axis=1)
    corrections = psp.MagnitudeCorrections(coefficients, BANDS[::-1], KNOTS)
    plain, moved = (simulate(coarse, c, **options) for c in (None, corrections))
    np.testing.assert_allclose(moved.mag - plain.mag, np.broadcast_to(shifts, (300, 2)), atol=1e-7)


def test_fluxes_and_colors(coarse):
    corrections = psp.MagnitudeCorrections(np.repeat([[0.1], [-0.3]], 3, axis=1), BANDS, KNOTS)
    plain, moved = (
        simulate(coarse, c, bands=("Gaia_G_EDR3", "Gaia_G_EDR3 - 2MASS_Ks"))
        for c in (None, corrections)
    )
    np.testing.assert_allclose(moved.mag - plain.mag, [[0.1, 0.4]] * 300, atol=1e-7)
    plain, moved = (simulate(coarse, c, flux_err=1e-12) for c in (None, corrections))
    ratio = 10.0 ** (-0.4 * np.array([0.1, -0.3]))
    np.testing.assert_allclose(moved.values / plain.values, [ratio] * 300, rtol=1e-6)


def test_labeled_numbers(coarse):
    labeled = xr.DataArray(COEFFICIENTS, dims=("band", "knot"), coords={"band": list(BANDS)})
    found, wanted = (
        simulate(coarse, psp.MagnitudeCorrections(values, BANDS, KNOTS), n_star=5).mag
        for values in (labeled, COEFFICIENTS)
    )
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"corrections": psp.MagnitudeCorrections(pt.dmatrix("c"), BANDS, KNOTS)},
         "corrections.coefficients must be a number, .* got the expression c; give one, such as"),
        ({"corrections": (Tilt(), Tilt(pt.dscalar("s")))},
         "corrections.1.slope must be a number, .* got the expression s"),
        ({"corrections": psp.EmpiricalCorrections(pt.dscalar("d"))},
         "corrections.dtdm must be a number, .* got the expression d"),
        ({"imf": psp.Kroupa(high_slope=pt.dscalar("a"))},
         "imf.high_slope must be a number, .* got the expression a"),
        ({"feh": pt.dscalar("f")}, "feh must be a number, .* got the expression f"),
        ({"corrections": psp.MagnitudeCorrections(np.ones((4, 2, 3)), BANDS, KNOTS)},
         r"coefficients must be a scalar or have the shape \(2, 3\), got 3 dim"),
        ({"corrections": Tilt([0.1, 0.2])}, "corrections.slope must be a scalar, got 1 dim"),
        ({"corrections": Tilt(0.0, [0.1] * 3)}, "corrections.offset has 3 values for 2 bands"),
        ({"corrections": Tilt(np.nan)}, "corrections.slope=nan is out of range: expected a finite"),
        ({"corrections": Tilt("x")}, "corrections.slope must be a number .* got 'x'"),
        ({"corrections": Tilt}, r"got <class .*; give an instance, Tilt\(...\)"),
        ({"corrections": psp.MagnitudeCorrections(COEFFICIENTS[:1], BANDS[:1], KNOTS)},
         "no MagnitudeCorrections for 2MASS_Ks, only for Gaia_G_EDR3"),
        ({"member_logp": pt.dvector("x")}, "of stars that were observed, .* leave them out"),
    ],
)  # fmt: skip
def test_errors(coarse, changes, words):
    with pytest.raises(ValueError, match=words):
        simulate(coarse, **{"n_star": 2} | changes)
