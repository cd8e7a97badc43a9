"""Magnitude limits: errors at the limits, masks, checks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymc_starpop.photometry import StarCatalog
from pymc_starpop.selection import MagnitudeLimits


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
