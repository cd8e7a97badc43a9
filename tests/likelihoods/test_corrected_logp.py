"""Corrections of magnitudes in the likelihood of one cluster, against the slow one."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytensor.tensor as pt
import pytest

import pymc_starpop as psp
from cluster_fixtures import BANDS, LIMITS, OPTIONS, TRUTH, check_along
from tolerances import assert_close

NAME = "corrections.coefficients"
KNOTS = psp.SequenceKnots((3.6, 3.75), (), (3.66,))
# Nothing of the isochrones is as cool as the first or as hot as the second.
OUTSIDE = psp.SequenceKnots((3.1, 5.2), (), ())
RANDOM = np.random.default_rng(8).normal(0.0, 0.05, (len(BANDS), len(KNOTS)))
BINARIES = {"binary_fraction": 0.4, "field_fraction": 0.2}
EVERYTHING = BINARIES | {
    "rv": 3.2, "mass_ratio_slope": 0.3, "intrinsic_scatter": 0.012, "av_scatter": 0.04,
    "grey_scatter": 0.02, "second_population.fraction": 0.3, "second_population.feh": -0.05,
    "selection": LIMITS,
}  # fmt: skip


def corrected(coefficients, bands=BANDS, knots=KNOTS):
    """Coefficients as a free parameter, and what they belong to."""
    return {
        NAME: coefficients,
        "corrections": psp.MagnitudeCorrections(0.0, bands, knots),
    }


POINTS = {
    "random": RANDOM,
    "none": np.zeros_like(RANDOM),
    "large": np.where(RANDOM > 0.0, 0.3, -0.3),
}


def test_value_and_gradient_are_those_of_the_slow_likelihood(coarse, stars):
    points = [{NAME: coefficients} for coefficients in POINTS.values()]
    check_along(coarse, stars, corrected(RANDOM) | BINARIES, (NAME, "av"), points)


def test_knots_outside_of_all_temperatures(coarse, stars):
    check_along(coarse, stars, corrected(RANDOM[:, :2], knots=OUTSIDE), (NAME,))


def test_gradients_of_everything_else(coarse, stars):
    case = corrected(RANDOM) | EVERYTHING
    free = [name for name in case if name not in ("selection", "corrections")]
    check_along(coarse, stars, case, [*TRUTH, *free])


def test_one_band(coarse, stars):
    one = psp.StarCatalog(stars.mag[:, :1], stars.mag_err[:, :1], bands=BANDS[:1])
    check_along(coarse, one, corrected(RANDOM[:1], BANDS[:1]), (NAME,))


def in_flux(stars):
    flux = 10.0 ** (-0.4 * (stars.mag - 22.5))
    error = stars.mag_err * flux * 0.4 * np.log(10.0)
    return psp.StarCatalog.from_flux(flux[:, :2], error[:, :2], bands=BANDS[:2])


def test_fluxes(coarse, stars):
    case = corrected(RANDOM[:2], BANDS[:2]) | BINARIES | {"intrinsic_scatter": 0.02}
    check_along(coarse, in_flux(stars), case, (NAME, "intrinsic_scatter"))


def test_colors(coarse):
    """The bands of the corrections are those of the models, not the columns."""
    columns = ("Gaia_RP_EDR3", "Gaia_BP_EDR3 - Gaia_RP_EDR3")
    cat = psp.simulate_cluster(coarse, n_star=8, bands=columns, mag_err=0.01, rng=3, **TRUTH)
    case = corrected(RANDOM[:2], cat.model_bands) | {"intrinsic_scatter": 0.01}
    check_along(coarse, cat, case, (NAME, "intrinsic_scatter"))


@dataclass(frozen=True)
class Tilt(psp.Corrections):
    """A slope for all bands and an offset of each."""

    slope: Any = 0.0
    offset: Any = 0.0
    axes: ClassVar = {"offset": ("band",)}

    def magnitudes(self, at, mag, bands, xp):
        return mag + (self.slope * (3.76 - at.log_teff))[:, None] + self.offset


def test_corrections_of_the_user(coarse, stars):
    own = {"corrections.slope": 0.2, "corrections.offset": np.array([0.01, -0.02, 0.03, 0.0])}
    check_along(coarse, stars, own | {"corrections": Tilt()}, tuple(own))


def logp(iso, catalog, corrections):
    """The likelihood (N,) and the slow one, of corrections that are numbers."""
    given = TRUTH | OPTIONS | BINARIES | {"corrections": corrections}
    fast = psp.cluster_logp(iso, catalog, **given).eval(mode="FAST_COMPILE")
    return fast, psp.reference.cluster_logp(iso, catalog, **given)


def test_several_follow_each_other(coarse, stars):
    magnitudes = psp.MagnitudeCorrections(RANDOM, BANDS, KNOTS)
    parts = (psp.EmpiricalCorrections(), magnitudes, Tilt(0.2))
    fast, slow = logp(coarse, stars, list(parts))
    assert_close(fast, slow, "pruned")


def test_bands_in_another_order_and_more_of_them(coarse, stars):
    order = [2, 0, 3, 1]
    bands = (*(BANDS[b] for b in order), "TESS")
    more = np.concatenate([RANDOM[order], np.full((1, len(KNOTS)), 9.0)])
    found = logp(coarse, stars, psp.MagnitudeCorrections(more, bands, KNOTS))[0]
    wanted = logp(coarse, stars, psp.MagnitudeCorrections(RANDOM, BANDS, KNOTS))[0]
    np.testing.assert_array_equal(found, wanted)


def test_a_value_for_all_is_a_distance_and_one_of_a_band_a_zero_point(coarse, stars):
    alone = replace(stars, parallax=None, parallax_err=None)
    given = TRUTH | OPTIONS | BINARIES
    shifts = np.array([0.03, -0.02, 0.01, 0.05])

    def evaluate(**changes):
        return psp.cluster_logp(coarse, alone, **given | changes).eval(mode="FAST_COMPILE")

    def offsets(values):
        coefficients = np.repeat(np.broadcast_to(values, 4)[:, None], len(KNOTS), axis=1)
        return {"corrections": psp.MagnitudeCorrections(coefficients, BANDS, KNOTS)}

    nearer = {"distance_modulus": TRUTH["distance_modulus"] + 0.1}
    assert_close(evaluate(**offsets(0.1)), evaluate(**nearer), "pruned")
    assert_close(evaluate(**offsets(shifts)), evaluate(zero_points=shifts), "pruned")


NO_MORE = psp.MagnitudeCorrections(0.0, BANDS, KNOTS)


@pytest.mark.parametrize(
    ("corrections", "words"),
    [
        (psp.MagnitudeCorrections, r"got <class .*; give an instance, MagnitudeCorrections\(...\)"),
        ((NO_MORE, Tilt), r"corrections must be .* give an instance, Tilt\(...\)"),
        ("published", r"corrections must be .* got 'published'; give such"),
        (psp.MagnitudeCorrections(np.ones((2, 4, 3)), BANDS, KNOTS),
         r"coefficients must be a scalar or have the shape \(4, 3\), got 3 dim.*StarCatalog.stack"),
        (psp.MagnitudeCorrections(pt.tensor3(shape=(2, 4, 3)), BANDS, KNOTS),
         r"coefficients must be a scalar or have the shape \(4, 3\), got 3 dim"),
        (psp.MagnitudeCorrections(pt.constant(np.full((4, 3), np.nan)), BANDS, KNOTS),
         r"corrections.coefficients must be finite"),
        (psp.MagnitudeCorrections(RANDOM[:1], BANDS[:1], KNOTS),
         r"no MagnitudeCorrections for Gaia_BP_EDR3, .* give coefficients for all bands"),
        (Tilt("steep"), r"corrections.slope must be a number or a PyTensor expression, got 'ste"),
        (Tilt(np.nan), r"corrections.slope must be finite, got nan"),
        (Tilt([0.1, 0.2]), r"corrections.slope must be a scalar, got 1 dim.*StarCatalog.stack"),
        (Tilt(0.0, [0.1, 0.2]), r"corrections.offset has 2 values for 4 bands; give one number or"),
        ((NO_MORE, Tilt(0.0, [0.1])), r"corrections.1.offset has 1 values for 4 bands"),
    ],
)  # fmt: skip
def test_errors(coarse, stars, corrections, words):
    with pytest.raises(ValueError, match=words):
        psp.cluster_logp(coarse, stars, **TRUTH, corrections=corrections)


FIXED = {name: value for name, value in TRUTH.items() if name != "av"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"member_logp": pt.dvector("x")}, r"member_logp is the expression x, expected numbers"),
        ({"field_logp": pt.dvector("x")}, r"field_logp is the expression x, expected numbers"),
        ({"field": pt.dvector("x")}, r"field is the expression x, expected numbers"),
        ({"field": psp.InflatedScatterField(pt.dscalar("x"))}, r"field.scale is the expression x"),
        ({"zero_points": pt.dvector("x")}, r"zero_points is the expression x, expected numbers"),
        ({"corrections": Tilt(pt.dscalar("x"))}, r"corrections.slope is the expression x"),
    ],
)
def test_functions_take_numbers(coarse, stars, given, words):
    with pytest.raises(ValueError, match=words):
        psp.cluster_function(coarse, stars, ["av"], **FIXED | given)


def test_functions_vary_scalars_of_corrections(coarse, stars):
    f = psp.cluster_function(
        coarse, stars, ["av", "corrections.1.slope"], mode="FAST_COMPILE", **FIXED, **OPTIONS,
        corrections=(psp.MagnitudeCorrections(RANDOM, BANDS, KNOTS), Tilt(0.0)),
    )  # fmt: skip
    parts = (psp.MagnitudeCorrections(RANDOM, BANDS, KNOTS), Tilt(0.2))
    wanted = psp.reference.cluster_logp(coarse, stars, **TRUTH, **OPTIONS, corrections=parts)
    assert_close(f.per_star([TRUTH["av"], 0.2]), wanted, "pruned")
    with pytest.raises(ValueError, match=r"corrections.coefficients holds 2 dim.* varies scalars"):
        psp.cluster_function(
            coarse, stars, ["av", "corrections.coefficients"], **FIXED, corrections=parts[0]
        )
