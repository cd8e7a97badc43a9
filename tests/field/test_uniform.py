"""The uniform field density."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pymc_starpop.field import UniformField
from pymc_starpop.photometry import StarCatalog
from pymc_starpop.selection import MagnitudeLimits
from tolerances import assert_close

NAN = np.nan
BANDS = ("G", "BP", "J")
MAG = np.array(
    [
        [10.0, 10.5, 9.0],  # BP - G 0.5, J - G -1
        [14.0, 15.5, 11.0],  # BP - G 1.5, J - G -3
        [12.0, NAN, 10.0],  # J - G -2
        [NAN, 13.0, 11.5],  # no G: BP is the first, J - BP -1.5
        [13.0, NAN, NAN],
    ]
)
PARALLAX = np.array([3.0, 5.0, NAN, 4.0, 4.0])


def catalog(mag=MAG, parallax=None, bands=BANDS):
    """Return a catalog with errors of 0.01 mag and 0.1 mas."""
    error = None if parallax is None else np.full(len(mag), 0.1)
    return StarCatalog(mag, np.full(np.shape(mag), 0.01), bands, parallax, error)


def test_ranges_from_the_catalog():
    # ranges: G 4, BP - G 1, J - G 2, BP 5, J - BP 3 (from -4.5 to -1.5)
    expected = -np.log([4 * 1 * 2, 4 * 1 * 2, 4 * 2, 5 * 3, 4])
    assert_close(UniformField().log_density(catalog()), expected, "same_formula")


def test_parallax_adds_its_range_where_measured():
    plain = UniformField().log_density(catalog())
    with_parallax = UniformField().log_density(catalog(parallax=PARALLAX))
    assert_close(plain - with_parallax, np.log([2, 2, 1, 2, 2]), "same_formula")
    given_range = UniformField(parallax_range=(0, 10)).log_density(catalog(parallax=PARALLAX))
    assert_close(plain - given_range, np.log([10, 10, 1, 10, 10]), "same_formula")


def test_selection_sets_the_range_and_the_reference_band():
    limits = MagnitudeLimits("J", 8.0, 18.0)
    # J 10; G - J 2, BP - J 3; the last star has no J: G 4
    expected = -np.log([10 * 2 * 3, 10 * 2 * 3, 10 * 2, 10 * 3, 4])
    assert_close(UniformField().log_density(catalog(), limits), expected, "same_formula")
    open_end = MagnitudeLimits("G", 6.0, np.inf)
    assert_close(UniformField().log_density(catalog(), open_end)[4], -np.log(8.0), "same_formula")


def test_given_ranges_win():
    field = UniformField(mag_range={"G": (0, 20)}, color_ranges={("G", "BP"): (-3, 4)})
    assert_close(field.log_density(catalog())[[0, 4]], -np.log([20 * 7 * 2, 20]), "same_formula")
    one = UniformField(mag_range=(0, 20)).log_density(catalog())
    assert_close(one[[3, 4]], -np.log([20 * 3, 20]), "same_formula")


def test_a_given_range_counts_where_the_selection_lets_stars_pass():
    limits = MagnitudeLimits("G", 5.0, 15.0)
    for mag_range, width in [((0, 20), 10), ((8, 20), 7), ((0, 12), 7), ((9, 14), 5)]:
        for field in (UniformField(mag_range=mag_range), UniformField(mag_range={"G": mag_range})):
            frozen = field.frozen(catalog(), limits)
            for density in (
                field.log_density(catalog(), limits),
                frozen.log_density(catalog(), limits),
                frozen.log_density(catalog()),
            ):
                # BP - G 1, J - G 2 mag wide; the last star has G alone.
                assert_close(density[[0, 4]], -np.log([width * 1 * 2, width]), "same_formula")
    open_end = UniformField(mag_range=(0, 20)).log_density(
        catalog(), MagnitudeLimits("G", -np.inf, 15.0)
    )
    assert_close(open_end[4], -np.log(15.0), "same_formula")
    # In another band than that of the selection a range is what it is.
    other = UniformField(mag_range={"BP": (0, 30)}).log_density(catalog(), limits)
    assert_close(other[3], -np.log(30.0 * 3.0), "same_formula")


RANGES = st.tuples(st.floats(0, 14), st.floats(1, 12)).map(lambda r: (r[0], r[0] + r[1]))


@given(mag_range=RANGES, limits=RANGES, seed=st.integers(0, 99))
def test_density_is_that_of_the_draws_and_both_stay_in_the_selection(mag_range, limits, seed):
    """The density integrates to one over the magnitudes of the range that pass the selection."""
    low, high = max(mag_range[0], limits[0]), min(mag_range[1], limits[1])
    assume(abs(high - low) > 1e-3)
    field = UniformField(mag_range=mag_range, color_ranges={("J", "G"): (-3, -1)})
    selection = MagnitudeLimits("G", *limits)
    some = catalog(np.array([[10.0, 9.0], [12.0, 10.0]]), bands=("G", "J"))
    if low >= high:
        for call in (
            lambda: field.log_density(some, selection),
            lambda: field.frozen(some, selection),
            lambda: field.draw(3, ("G", "J"), np.random.default_rng(seed), selection),
        ):
            with pytest.raises(ValueError, match=r"mag_range .* expected .* overlap.*; widen"):
                call()
        return
    n = 2000
    drawn = field.draw(n, ("G", "J"), np.random.default_rng(seed), selection)
    assert np.all((drawn[:, 0] >= limits[0]) & (drawn[:, 0] <= limits[1]))
    assert np.all((drawn[:, 0] >= mag_range[0]) & (drawn[:, 0] <= mag_range[1]))
    # No draw in an edge of this width: a chance of 1e-13.
    edge = 0.015 * (high - low)
    assert drawn[:, 0].min() < low + edge
    assert drawn[:, 0].max() > high - edge
    inside = catalog(drawn, bands=("G", "J"))
    volume = (high - low) * 2.0
    assert_close(np.exp(field.log_density(inside, selection)) * volume, np.ones(n), "kernel")


@given(
    shift=st.floats(-5, 5),
    mags=st.lists(st.floats(8, 18), min_size=4, max_size=12, unique=True),
)
def test_density_integrates_to_one_over_its_box(shift, mags):
    """The box has as volume the inverse of the density, wherever it lies."""
    g = np.round(np.array(mags), 3) + shift
    j = g - np.linspace(0.5, 1.5, g.size)
    cat = catalog(np.column_stack([g, j]), bands=("G", "J"))
    if np.ptp(g) == 0:
        return
    volume = np.ptp(g) * np.ptp(j - g)
    assert_close(np.exp(UniformField().log_density(cat)) * volume, np.ones(g.size), "kernel")


@pytest.mark.parametrize("selection", [None, MagnitudeLimits("J", 8.0, 18.0)])
def test_frozen_gives_the_same_density_for_other_catalogs(selection):
    cat = catalog(parallax=PARALLAX)
    frozen = UniformField().frozen(cat, selection)
    expected = UniformField().log_density(cat, selection)
    assert_close(frozen.log_density(cat, selection), expected, "same_formula")
    assert_close(frozen.log_density(cat), expected, "same_formula")
    moved = catalog(MAG * 1.5 + 3.0, PARALLAX + 20.0)
    assert_close(frozen.log_density(moved), expected, "same_formula")
    for row in range(len(MAG)):  # one star alone has no range of its own
        alone = cat.select([row])
        assert_close(frozen.log_density(alone), expected[[row]], "same_formula")


def test_a_range_without_width_asks_for_it():
    with pytest.raises(ValueError, match=r"mag_range\['G'\].*give mag_range\['G'\] as"):
        UniformField().log_density(catalog(MAG[:1]))
    with pytest.raises(ValueError, match=r"color_ranges\['J', 'G'\]"):
        UniformField().log_density(catalog([[10.0, 9.0], [12.0, 11.0]], bands=("G", "J")))
    with pytest.raises(ValueError, match="parallax_range"):
        UniformField().log_density(catalog(parallax=[3.0, 3.0, NAN, 3.0, 3.0]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mag_range": (12, 10)}, "mag_range must ascend"),
        ({"mag_range": (10, 10)}, "mag_range must ascend"),
        ({"mag_range": (10, NAN)}, "mag_range must be two finite numbers"),
        ({"mag_range": 10}, "mag_range must be two finite numbers"),
        ({"mag_range": {"G": (3,)}}, r"mag_range\['G'\] must be two finite"),
        ({"color_ranges": {"G": (0, 1)}}, "pairs of different bands"),
        ({"color_ranges": {("G", "G"): (0, 1)}}, "pairs of different bands"),
        ({"color_ranges": {("G", "J"): (1, 0)}}, "must ascend"),
        ({"parallax_range": (1, np.inf)}, "parallax_range must be two finite"),
    ],
)
def test_bad_ranges(arguments, words):
    with pytest.raises(ValueError, match=words):
        UniformField(**arguments)
