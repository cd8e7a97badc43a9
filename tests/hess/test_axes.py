"""Bins, counting and masks of Hess diagrams."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.path import Path

import pymc_starpop as psp
from pymc_starpop.hess.axes import check_hess, check_mask

AXES = psp.HessAxes(("V", "I"), "I", np.linspace(0.0, 2.0, 21), np.linspace(18.0, 24.0, 31))


def make_mags(rng, n=500):
    color, mag = rng.uniform(-0.2, 2.2, n), rng.uniform(17.5, 24.5, n)
    return {"V": mag + color, "I": mag}


def test_a_star_lands_in_its_bin():
    hess = psp.bin_cmd({"V": [19.95], "I": [19.1]}, AXES)
    assert hess.dims == ("mag", "color")
    (row,), (column,) = np.nonzero(hess.values)
    assert AXES.mag_edges[row] <= 19.1 < AXES.mag_edges[row + 1]
    assert AXES.color_edges[column] <= 0.85 < AXES.color_edges[column + 1]


def test_catalog_table_and_mapping_count_alike(rng):
    mags = make_mags(rng)
    mags["V"][::7] = np.nan
    table = pd.DataFrame(mags)
    stacked = np.stack([mags["V"], mags["I"]], axis=1)
    catalog = psp.StarCatalog(stacked, np.full(stacked.shape, 0.1), bands=["V", "I"])
    expected = psp.bin_cmd(mags, AXES)
    inside = (mags["I"] >= 18) & (mags["I"] <= 24)
    inside &= (mags["V"] - mags["I"] >= 0) & (mags["V"] - mags["I"] <= 2)
    assert expected.sum() == inside.sum() > 100
    xr.testing.assert_identical(psp.bin_cmd(table, AXES), expected)
    xr.testing.assert_identical(psp.bin_cmd(catalog, AXES), expected)


def test_weights_count(rng):
    mags = make_mags(rng)
    twice = psp.bin_cmd(mags, AXES, weights=np.full(500, 2.0))
    np.testing.assert_array_equal(twice, 2 * psp.bin_cmd(mags, AXES))


def test_a_third_band_may_be_the_magnitude():
    axes = psp.HessAxes(("B", "V"), "I", [0.0, 1.0], [18.0, 19.0, 20.0])
    assert axes.bands == ("B", "V", "I")
    assert psp.bin_cmd({"B": [21.0], "V": [20.5], "I": [19.5]}, axes).values.tolist() == [[0], [1]]
    np.testing.assert_array_equal(axes.matrix() @ [21.0, 20.5, 19.5], [0.5, 19.5])


def test_polygon_agrees_with_matplotlib(rng):
    corners = rng.uniform((0.0, 18.0), (2.0, 24.0), (6, 2))
    color, mag = np.meshgrid(AXES.coords()["color"], AXES.coords()["mag"])
    # Sides that cross are counted even-odd by both after cutting into a simple star shape.
    angle = np.arctan2(*(corners - corners.mean(axis=0)).T)
    star = corners[np.argsort(angle)]
    mask = psp.polygon_mask(AXES, star)
    expected = Path(star).contains_points(np.stack([color.ravel(), mag.ravel()], axis=1))
    assert 0 < mask.sum() < mask.size
    np.testing.assert_array_equal(mask.values.ravel(), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"color": ("V", "V")}, "two different bands"),
        ({"color": "VI"}, "two different bands"),
        ({"color_edges": [1.0, 0.0]}, "ascend"),
        ({"mag_edges": [18.0, np.nan]}, "finite"),
        ({"mag": None}, "name of a band"),
    ],
)
def test_bad_axes_are_refused(change, message):
    arguments = {"color": ("V", "I"), "mag": "I", "color_edges": [0, 1], "mag_edges": [18, 19]}
    with pytest.raises(ValueError, match=message):
        psp.HessAxes(**{**arguments, **change})


@pytest.mark.parametrize(
    ("mags", "weights", "message"),
    [
        ({"V": [20.0]}, None, "no band 'I'"),
        ({"V": [20.0, 21.0], "I": [20.0]}, None, "one value a star"),
        ({"V": [20.0], "I": [np.inf]}, None, "NaN where not measured"),
        ({"V": [20.0], "I": [19.0]}, [1.0, 2.0], "one value for each"),
        ({"V": [20.0], "I": [19.0]}, [-1.0], "not negative"),
    ],
)
def test_bad_stars_are_refused(mags, weights, message):
    with pytest.raises(ValueError, match=message):
        psp.bin_cmd(mags, AXES, weights=weights)


def test_bad_polygons_are_refused():
    with pytest.raises(ValueError, match="at least 3"):
        psp.polygon_mask(AXES, [(0, 18), (1, 19)])
    with pytest.raises(ValueError, match="finite"):
        psp.polygon_mask(AXES, [(0, 18), (1, 19), (np.nan, 20)])


def test_bad_counts_and_masks_are_refused():
    good = np.zeros(AXES.shape)
    np.testing.assert_array_equal(check_hess(good, AXES), 0)
    with pytest.raises(ValueError, match="same HessAxes"):
        check_hess(good.T, AXES)
    with pytest.raises(ValueError, match="mask="):
        check_hess(np.full(AXES.shape, np.nan), AXES)
    with pytest.raises(ValueError, match="not negative"):
        check_hess(np.full(AXES.shape, -1.0), AXES)
    shifted = AXES.wrap(good).assign_coords(mag=AXES.coords()["mag"] + 0.1)
    with pytest.raises(ValueError, match=r"0\.1 mag away"):
        check_hess(shifted, AXES)
    with pytest.raises(ValueError, match="booleans"):
        check_mask(good, AXES)
    with pytest.raises(ValueError, match="no bin is left"):
        check_mask(good > 1, AXES)


def test_transposed_counts_are_put_in_order(rng):
    hess = psp.bin_cmd(make_mags(rng), AXES)
    np.testing.assert_array_equal(check_hess(hess.transpose("color", "mag"), AXES), hess.values)


def test_axes_compare_by_content():
    same = psp.HessAxes(("V", "I"), "I", np.linspace(0.0, 2.0, 21), np.linspace(18.0, 24.0, 31))
    other = psp.HessAxes(("V", "I"), "V", AXES.color_edges, AXES.mag_edges)
    assert same == AXES
    assert other != AXES
    assert "'I' and 'V'" in AXES.difference(other)


def test_an_array_without_names_is_refused():
    with pytest.raises(ValueError, match="mapping of bands"):
        psp.bin_cmd(np.zeros((3, 2)), AXES)


def test_words_are_no_numbers():
    for name in ("color_edges", "mag_edges"):
        edges = {"color_edges": [0.0, 1.0], "mag_edges": [18.0, 19.0], name: "x"}
        with pytest.raises(ValueError, match=f"{name} must hold numbers, got 'x'"):
            psp.HessAxes(("V", "I"), "I", **edges)
    axes = psp.HessAxes(("V", "I"), "I", [0.0, 1.0], [18.0, 19.0])
    with pytest.raises(ValueError, match="vertices must hold numbers"):
        psp.polygon_mask(axes, "x")
    mags = {"V": [18.5], "I": [18.2]}
    with pytest.raises(ValueError, match="weights must hold numbers"):
        psp.bin_cmd(mags, axes, weights="x")
    with pytest.raises(ValueError, match=r"mags\['I'\] must hold numbers"):
        psp.bin_cmd(mags | {"I": ["faint"]}, axes)
