"""Magnitude limits: errors at the limits, masks, checks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymc_starpop.hess import LogisticCompleteness
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.selection import MagnitudeLimits
from tolerances import assert_close


def catalog(mag, mag_err=0.01):
    """Return a catalog in G, with a J magnitude for every star."""
    g = np.asarray(mag, dtype=float)
    mags = np.column_stack([g, np.full(g.size, 10.0)])
    errors = np.column_stack([np.broadcast_to(mag_err, g.shape), np.full(g.size, 0.02)])
    return StarCatalog(mags, errors, ["G", "J"])


def test_errors_given():
    cat = catalog([12.0])
    assert MagnitudeLimits("G", 10, 15, error=0.02).errors(cat) == (0.02, 0.02)
    assert MagnitudeLimits("G", 10, 15, error=(0.01, 0.03)).errors(cat) == (0.01, 0.03)


def test_errors_are_the_median_of_the_20_nearest_stars():
    mag = np.linspace(10.0, 16.0, 101)
    error = 0.001 * np.arange(1, 102)
    cat = catalog(np.append(mag, np.nan), np.append(error, 9.0))
    low, high = MagnitudeLimits("G", 10.0, 16.0).errors(cat)
    assert low == pytest.approx(np.median(error[:20]))
    assert high == pytest.approx(np.median(error[-20:]))
    assert MagnitudeLimits("G", bright=10.0).errors(cat) == (low, high)
    assert MagnitudeLimits("G", faint=16.0).errors(cat) == (low, high)


def test_errors_with_few_stars():
    assert MagnitudeLimits("G", 10, 15).errors(catalog([12.0, 13.0], [0.01, 0.03])) == (0.02, 0.02)


@given(
    mags=st.lists(st.one_of(st.floats(5, 20), st.just(np.nan)), min_size=1, max_size=30),
    bright=st.floats(5, 12),
    width=st.floats(0.1, 8),
)
def test_mask_and_check_agree(mags, bright, width):
    cat = catalog(mags)
    limits = MagnitudeLimits("G", bright, bright + width)
    mask = limits.mask(cat)
    assert mask.tolist() == [bright <= m <= bright + width for m in mags]
    if mask.all():
        limits.check(cat)
    else:
        with pytest.raises(ValueError, match=r"catalog.select\(limits.mask\(catalog\)\)"):
            limits.check(cat)
    if mask.any():
        limits.check(cat.select(mask))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("G", 15, 10), "bright must be less than faint"),
        (("G", 10, np.nan), "bright must be less than faint"),
        (("G", 10, 15, 0.0), "error must be one positive number"),
        (("G", 10, 15, (0.1, 0.1, 0.1)), "error must be one positive number"),
        (("G", 10, 15, (0.1, np.inf)), "error must be one positive number"),
        ((3, 10, 15), "band must be the name of a band"),
    ],
)
def test_bad_limits(arguments, words):
    with pytest.raises(ValueError, match=words):
        MagnitudeLimits(*arguments)


def test_band_that_the_catalog_lacks():
    for call in ("errors", "mask", "check"):
        with pytest.raises(ValueError, match="'K', which the catalog lacks"):
            getattr(MagnitudeLimits("K", 10, 15), call)(catalog([12.0]))


def test_no_star_in_the_band():
    with pytest.raises(ValueError, match="give error="):
        MagnitudeLimits("G", 10, 15).errors(catalog([np.nan]))


@pytest.mark.parametrize("error", [np.float64(0.02), np.array(0.02), np.float32(0.02), 1])
def test_numpy_scalars_are_numbers(error):
    limits = MagnitudeLimits("G", np.float64(10), np.array(15.0), error=error)
    assert limits.error == (float(error), float(error))
    assert (type(limits.bright), type(limits.faint)) == (float, float)
    assert MagnitudeLimits("G", 10, 15, error=np.array([0.1, 0.2])).error == (0.1, 0.2)


def test_one_limit_or_completeness_is_enough():
    assert MagnitudeLimits("G", faint=15.0).bright == -np.inf
    assert MagnitudeLimits("G", bright=15.0).faint == np.inf
    curve = LogisticCompleteness(1.0, 20.0, 0.3)
    assert MagnitudeLimits("G", completeness=curve).mask(catalog([40.0])).all()
    with pytest.raises(ValueError, match="neither bright nor faint nor completeness"):
        MagnitudeLimits("G")


@pytest.mark.parametrize(
    ("completeness", "words"),
    [
        (0.5, "completeness must be a function of magnitude, got 0.5"),
        (lambda m: m / 8.0, r"lie in 0 to 1, got 1.25 at 10.000 mag"),
        (lambda m: 0.5 - m, r"lie in 0 to 1, got -9.5 at 10.000 mag"),
        (lambda m: np.where(m > 12.0, np.nan, 1.0), r"got nan at 12.050 mag"),
        (lambda m: 1.0, r"one value for each magnitude, got shape .. for .101,."),
    ],
)
def test_bad_completeness(completeness, words):
    with pytest.raises(ValueError, match=words):
        MagnitudeLimits("G", 10.0, 15.0, completeness=completeness)


def test_completeness_is_checked_where_it_is_used():
    """Without two limits there is no region to check it in before."""
    limits = MagnitudeLimits("G", faint=15.0, completeness=lambda m: m / 10.0)
    with pytest.raises(ValueError, match=r"lie in 0 to 1, got 2.0 at 20.000 mag"):
        limits.completeness_at([5.0, 20.0])
    with pytest.raises(ValueError, match="lie in 0 to 1"):
        limits.completeness_table(5.0, 20.0)
    assert MagnitudeLimits("G", 10, 15).completeness_at([[1.0, 2.0]]).tolist() == [[1.0, 1.0]]


def flux_catalog(flux, flux_err):
    """Return a catalog of fluxes in G."""
    flux = np.asarray(flux, dtype=float)[:, None]
    return StarCatalog.from_flux(flux, np.broadcast_to(flux_err, flux.T.shape).T, bands=["G"])


def test_limits_in_flux_are_those_in_magnitude():
    flux = np.array([-3.0, 0.0, 5.0, 10.0, 99.0, 1000.0])
    cat = flux_catalog(flux, 2.0)
    limits = MagnitudeLimits("G", 17.5, 20.5)  # fluxes 100 and 10^0.8 = 6.31
    found = limits.flux_limits(cat)
    assert_close([found.low, found.high], [10.0**0.8, 100.0], "same_formula")
    assert limits.mask(cat).tolist() == [bool(found.low <= f <= found.high) for f in flux]
    positive = cat.select(flux > 0)
    by_magnitude = StarCatalog(positive.mag, positive.mag_err, ["G"])
    assert limits.mask(positive).tolist() == limits.mask(by_magnitude).tolist()
    # Without a faint limit negative fluxes pass, without a bright one the brightest.
    assert MagnitudeLimits("G", bright=17.5).mask(cat).tolist() == [True] * 5 + [False]
    assert MagnitudeLimits("G", faint=20.5).mask(cat).tolist() == [False] * 3 + [True] * 3
    assert MagnitudeLimits("G", bright=17.5).flux_limits(cat)[0] == -np.inf
    assert MagnitudeLimits("G", faint=20.5).flux_limits(cat)[1] == np.inf
    with pytest.raises(ValueError, match=r"rows 0 .nan., 1 .nan., 2 .20.753."):
        limits.check(cat)


def test_errors_in_flux():
    flux = np.linspace(-5.0, 200.0, 300)
    err = np.linspace(1.0, 4.0, 300)
    cat = flux_catalog(flux, err)
    found = MagnitudeLimits("G", 17.5, 20.0).flux_limits(cat)
    low = np.median(err[np.argsort(np.abs(flux - 10.0))[:20]])
    high = np.median(err[np.argsort(np.abs(flux - 100.0))[:20]])
    assert_close([found.low_error, found.high_error], [low, high], "same_formula")
    # Errors that are given are magnitudes; beyond an infinite limit count the stars at that end.
    given = MagnitudeLimits("G", 17.5, error=(0.1, 0.2)).flux_limits(cat)
    expected = [np.median(err[:20]), 100.0 * 0.1 * np.log(10.0) / 2.5]
    assert_close([given.low_error, given.high_error], expected, "same_formula")
    with pytest.raises(ValueError, match="needs a catalog of fluxes"):
        MagnitudeLimits("G", 17.5, 20.0).flux_limits(catalog([18.0]))


def test_errors_of_fluxes_in_magnitude():
    """Stars without a magnitude are left out."""
    cat = flux_catalog([-3.0, 10.0, 12.0], 1.0)
    expected = np.median(cat.mag_err[1:, 0])
    assert_close(MagnitudeLimits("G", 15, 20).errors(cat), [expected] * 2, "same_formula")
