"""Gradients of every parameter against differences of the slow likelihood, star by star."""

from dataclasses import replace

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.testing import assert_allclose

import pymc_starpop as psp
from cluster_fixtures import FULL_POINT, SINGLE_POINT, TRUTH
from tolerances import TOLERANCE

# Where differences overflow, the derivative ends at exp(600) times the share.
BEYOND = 1e250
# Steps: small against the photometric errors, large against the rounding of the log-likelihood.
STEPS = {
    "feh": 1e-5,
    "log_age": 1e-5,
    "distance_modulus": 1e-4,
    "distance_pc": 1e-2,
    "av": 1e-4,
    "rv": 1e-3,
    "field_fraction": 1e-4,
    "binary_fraction": 1e-6,
    "mass_ratio_slope": 1e-2,
    "intrinsic_scatter": 1e-5,
    "scatter_first": 1e-5,
    "scatter_last": 1e-5,
    "av_scatter": 1e-5,
    "parallax_zero_point": 1e-4,
    "imf.low_slope": 1e-3,
    "imf.high_slope": 1e-3,
    "corrections.dtdm": 1e-5,
    "corrections.drdm": 1e-5,
    "corrections.msto_smooth": 1e-3,
    "corrections.feh_scale": 1e-4,
}

# Finite-difference weights of fourth order; offsets in steps.
CENTRAL = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}
FORWARD = {0: -25 / 12, 1: 4.0, 2: -3.0, 3: 4 / 3, 4: -1 / 4}
BACKWARD = {-k: -w for k, w in FORWARD.items()}


def difference(compiled, point, name, stencil):
    """Derivative (N,) of the slow likelihood by one parameter."""
    if name == "field_fraction":
        return _of_linear_likelihood(compiled, point, name, stencil)
    if name == "binary_fraction" and stencil is not CENTRAL:
        return _at_bound(compiled, point, name, stencil)
    return _by_step(compiled, point, name, stencil, STEPS[name])


def _by_step(compiled, point, name, stencil, h):
    values = {k: compiled.reference({**point, name: point[name] + k * h}) for k in stencil}
    return sum(weight * values[k] for k, weight in stencil.items()) / h


def _of_linear_likelihood(compiled, point, name, stencil, h=1e-4):
    """The likelihood is linear in the field fraction, its log may bend over 1e-20."""
    k = 1 if max(stencil) > 0 else -1
    there = compiled.reference({**point, name: point[name] + k * h})
    with np.errstate(over="ignore"):
        return np.expm1(there - compiled.reference(point)) / (k * h)


def _at_bound(compiled, point, name, stencil):
    """For each star the largest step over which its log-likelihood hardly bends."""
    result = np.full(compiled.catalog.n_star, np.nan)
    for h in (1e-14, 1e-13, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4):
        numeric = _by_step(compiled, point, name, stencil, h)
        slope = _of_linear_likelihood(compiled, point, name, stencil, h)
        result = np.where(np.abs(slope) * h < 1e-3, numeric, result)
    return result


def check(compiled, point, stencils=None):
    """Compare every parameter; where a bound or a kink of the second derivative is, one side."""
    jacobian = compiled.jacobian(point)
    for name in compiled.names:
        for stencil in (stencils or {}).get(name, [CENTRAL]):
            numeric = difference(compiled, point, name, stencil)
            # A star beyond hope as a member has an enormous derivative by a fraction at its bound.
            finite = np.isfinite(numeric)
            beyond = jacobian[name][~finite]
            assert np.isfinite(beyond).all(), name
            assert (np.sign(numeric[~finite]) * beyond > BEYOND).all(), name
            exact, numeric = jacobian[name][finite], numeric[finite]
            allowed = TOLERANCE["gradient"].atol * np.maximum(1.0, np.abs(numeric))
            assert_allclose(exact / allowed, numeric / allowed, rtol=0.0, atol=1.0, err_msg=name)


def near(point, seed):
    """A random point around `point`."""
    rng = np.random.default_rng(seed)
    return {name: value * rng.uniform(0.9, 1.1) for name, value in point.items()} | {
        "feh": rng.uniform(-0.4, 0.3),
        "log_age": rng.uniform(8.6, 9.7),
    }


# What is changed in the full point, and the parameters whose differences go to one side.
AWKWARD = {
    "on a node in [Fe/H] and age": (
        {"feh": 0.0, "log_age": 9.3},
        {"feh": [FORWARD, BACKWARD], "log_age": [FORWARD, BACKWARD]},
    ),
    "fractions 0": (
        {"field_fraction": 0.0, "binary_fraction": 0.0},
        {"field_fraction": [FORWARD], "binary_fraction": [FORWARD]},
    ),
    "fractions 1": (
        {"field_fraction": 1.0, "binary_fraction": 1.0},
        {"field_fraction": [BACKWARD], "binary_fraction": [BACKWARD]},
    ),
    "no scatter and no extinction": (
        {"intrinsic_scatter": 0.0, "av_scatter": 0.0, "av": 0.0},
        {"intrinsic_scatter": [FORWARD], "av_scatter": [FORWARD], "av": [FORWARD]},
    ),
    "certain members": ({"field_fraction": 0.0}, {"field_fraction": [FORWARD]}),
}


@pytest.mark.parametrize("seed", [1, 2])
def test_at_random_points(full, seed):
    check(full, near(FULL_POINT, seed))


@pytest.mark.parametrize(("change", "stencils"), AWKWARD.values(), ids=AWKWARD.keys())
def test_at_awkward_points(full, coarse, change, stencils):
    if "feh" in change:
        assert change["feh"] in coarse.feh
        assert np.abs(coarse.log_age - change["log_age"]).min() < 1e-12
        change["log_age"] = float(coarse.log_age[np.abs(coarse.log_age - 9.3).argmin()])
    check(full, FULL_POINT | change, stencils)


def test_of_single_stars(single):
    check(single, SINGLE_POINT)


def test_of_single_stars_that_are_certain_members(single):
    """A star 50 sigma from everything has nothing but its Gaussian tail."""
    point = SINGLE_POINT | {"field_fraction": 0.0, "scatter_first": 0.0}
    check(single, point, {"field_fraction": [FORWARD], "scatter_first": [FORWARD]})
    assert single.value(point)[0] < -1000.0
    assert np.abs(single.jacobian(point)["av"][0]) > 1000.0


def test_fractions_of_zero_where_stars_are_inconceivable_without_them(coarse, stars):
    """Companions and the field explain stars exp(700) times better: steep, but no NaN."""
    catalog = replace(stars, mag_err=np.full(stars.mag.shape, 1e-3))
    names = ("log_age", "av", "binary_fraction", "field_fraction")
    v = {name: pt.dscalar(name) for name in names}
    logp = psp.cluster_logp(coarse, catalog, **(TRUTH | {"intrinsic_scatter": 0.0} | v))
    outputs = [logp, *pt.grad(logp.sum(), list(v.values()))]
    function = pytensor.function(list(v.values()), outputs, mode="FAST_COMPILE")
    values, *gradient = function(TRUTH["log_age"], TRUTH["av"], 0.0, 0.0)
    assert np.isfinite(values).all()
    assert values.min() < -1000.0
    assert np.isfinite(gradient).all()
    assert gradient[2] > 1e200
    assert gradient[3] > 1e200
