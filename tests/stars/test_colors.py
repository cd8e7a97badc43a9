"""Catalogs with columns that are colors: tables, densities of the field, plots."""

import pickle

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import stats

import pymc_starpop as psp
from tolerances import assert_close

NAN = np.nan
TABLE = {
    "g": [12.0, 14.0, 16.0], "e_g": [0.003, 0.004, 0.005],
    "bp_rp": [0.8, 1.0, NAN], "e_bp_rp": [0.01, 0.02, 0.03],
    "f814w": [18.0, 19.0, 20.0], "e_f814w": [0.03, 0.03, 0.03],
    "color": [0.5, NAN, 0.7], "e_color": [0.05, NAN, 0.05],
}  # fmt: skip
GAIA = {
    "mag": {"G": "g"}, "mag_err": {"G": "e_g"},
    "color": {("BP", "RP"): "bp_rp"}, "color_err": {("BP", "RP"): "e_bp_rp"},
}  # fmt: skip
HST = {
    "mag": {"F814W": "f814w"}, "mag_err": {"F814W": "e_f814w"},
    "color": {("F606W", "F814W"): "color"}, "color_err": {("F606W", "F814W"): "e_color"},
}  # fmt: skip


def from_table(arguments, **changes):
    return psp.StarCatalog.from_table(TABLE | changes.pop("table", {}), **(arguments | changes))


@pytest.mark.parametrize("errors", ["difference", "independent"])
def test_a_color_of_other_bands_is_a_column(errors):
    cat = from_table(GAIA, color_errors=errors)
    assert cat.bands == ("G", "BP - RP")
    assert cat.model_bands == ("G", "BP", "RP")
    assert cat.coords()["band"] == ["G", "BP - RP"]
    assert cat.coords()["model_band"] == ["G", "BP", "RP"]
    assert_array_equal(cat.mag, [[12.0, 0.8], [14.0, 1.0], [16.0, NAN]])
    assert_array_equal(cat.mag_err, [[0.003, 0.01], [0.004, 0.02], [0.005, NAN]])
    again = pickle.loads(pickle.dumps(cat.select([0, 2])))
    assert again.bands == cat.bands
    assert_array_equal(again.mag, cat.mag[[0, 2]])


def test_an_error_of_a_difference_becomes_that_of_the_other_band():
    """0.05^2 = 0.03^2 + 0.04^2, on either side of the difference."""
    cat = from_table(HST)
    assert cat.bands == ("F814W", "F606W")
    assert_close(cat.mag, [[18.0, 18.5], [19.0, NAN], [20.0, 20.7]], "same_formula")
    assert_close(cat.mag_err, [[0.03, 0.04], [0.03, NAN], [0.03, 0.04]], "same_formula")
    blue = from_table(HST, mag={"F606W": "f814w"}, mag_err={"F606W": "e_f814w"})
    assert blue.bands == ("F606W", "F814W")
    assert_close(blue.mag, [[18.0, 17.5], [19.0, NAN], [20.0, 19.3]], "same_formula")
    assert_close(blue.mag_err, cat.mag_err, "same_formula")


def test_independent_errors_keep_the_color():
    cat = from_table(HST, color_errors="independent")
    assert cat.bands == ("F814W", "F606W - F814W")
    assert_array_equal(cat.mag_err, [[0.03, 0.05], [0.03, NAN], [0.03, 0.05]])


def test_a_chain_of_colors_becomes_magnitudes():
    """V, B - V and V - I: I and B follow, one after the other."""
    table = {"v": [15.0], "b_v": [0.6], "v_i": [0.7], "u_b": [0.1]}
    colors = {("U", "B"): "u_b", ("B", "V"): "b_v", ("V", "I"): "v_i"}
    errors = {("U", "B"): np.sqrt(0.04**2 + 0.02**2), ("B", "V"): np.hypot(0.02, 0.01),
              ("V", "I"): np.hypot(0.03, 0.01)}  # fmt: skip
    cat = psp.StarCatalog.from_table(
        table, mag={"V": "v"}, mag_err={"V": 0.01}, color=colors, color_err=errors
    )
    found = {b: (m, e) for b, m, e in zip(cat.bands, cat.mag[0], cat.mag_err[0], strict=True)}
    expected = {"V": (15.0, 0.01), "B": (15.6, 0.02), "I": (14.3, 0.03), "U": (15.7, 0.04)}
    assert found.keys() == expected.keys()
    for band, pair in expected.items():
        assert_close(found[band], pair, "same_formula")


def test_error_floors_of_colors():
    cat = from_table(GAIA, error_floor={"G": 0.004, ("BP", "RP"): 0.01})
    assert_close(cat.mag_err[0], [0.005, np.hypot(0.01, 0.01)], "same_formula")
    assert_close(from_table(HST, error_floor={"F606W": 0.03}).mag_err[0], [0.03, 0.05], "kernel")


@pytest.mark.parametrize(
    ("arguments", "changes", "words"),
    [
        (HST, {"table": {"e_color": [0.03, NAN, 0.05]}}, "not above mag_err of F814W in row 0"),
        (HST, {"table": {"e_color": [-0.05, NAN, 0.05]}}, "color_err must be positive"),
        (HST, {"table": {"e_color": [NAN, NAN, 0.05]}}, "color_err must be positive"),
        (HST, {"table": {"f814w": [NAN, 19.0, 20.0]}}, "without a magnitude in F814W in row 0"),
        (HST, {"table": {"color": [99.0, NAN, 0.7]}}, "numpy.where"),
        (
            GAIA,
            {"table": {"bp_rp": [0.8, 99.99 - 16.2, NAN]}},
            "color must lie within -20 and 20 mag, got 83.79 in row 1 of BP - RP; .*numpy.where",
        ),
        (HST, {"table": {"color": [0.5, NAN, 16.2 - 99.99]}}, "got -83.79 in row 2 of F606W - F8"),
        (HST, {"color_errors": "correlated"}, "color_errors must be 'difference' or 'independent'"),
        (GAIA, {"color_err": {}}, "color_err must name the same bands"),
        (GAIA, {"color": {}}, "map at least one band"),
        (GAIA, {"color": {"BP - RP": "bp_rp"}, "color_err": {"BP - RP": 0.1}}, "pairs of bands"),
        (GAIA, {"color": {("BP", "BP"): "bp_rp"}, "color_err": {("BP", "BP"): 0.1}}, "different"),
        (GAIA, {"color": {("BP", "RP"): "nothing"}}, "which the table lacks"),
        (GAIA, {"table": {"bp_rp": [0.8, 1.0]}}, "same stars|length"),
        (GAIA, {"error_floor": {("BP", "G"): 0.1}}, "'BP - G', which the catalog lacks"),
        (
            HST,
            {"error_floor": {("F606W", "F814W"): 0.01}},
            "color becomes the magnitude of the other band. Name 'F606W', whose error",
        ),
        (
            GAIA,
            {
                "mag": {"G": "g", "BP": "g", "RP": "g"},
                "mag_err": {"G": 0.1, "BP": 0.1, "RP": 0.1},
            },
            "follow from each other.*leave out BP - RP",
        ),
        (
            GAIA,
            {
                "color": {("BP", "RP"): "bp_rp", ("BP", "J"): "bp_rp"},
                "color_err": {("BP", "RP"): 0.1, ("BP", "J"): 0.1},
            },
            "share a band of which no magnitude",
        ),
    ],
)
def test_bad_tables(arguments, changes, words):
    with pytest.raises(ValueError, match=words):
        from_table(arguments, **changes)


def test_no_star_has_a_color_of_20_mag():
    """However the catalog is made; 19.9 may be, and magnitudes are faint."""
    errors = [[0.1, 0.1]]
    assert len(psp.StarCatalog([[29.0, 19.9]], errors, bands=["G", "BP - RP"])) == 1
    with pytest.raises(ValueError, match="got 20 in row 0 of BP - RP"):
        psp.StarCatalog([[29.0, 20.0]], errors, bands=["G", "BP - RP"])
    with pytest.raises(ValueError, match="Name 'F606W' or 'F814W'"):
        from_table(HST).with_error_floor({("F606W", "F814W"): 0.01})


@pytest.mark.parametrize(
    ("bands", "words"),
    [
        (["BP - RP", "G - J"], "colors alone"),
        (["G", "BP - RP - J"], "two different bands"),
        (["G", "BP - "], "two different bands"),
    ],
)
def test_bad_columns(bands, words):
    with pytest.raises(ValueError, match=words):
        psp.StarCatalog([[12.0, 0.5]], [[0.1, 0.1]], bands=bands)


def test_colors_and_what_needs_a_magnitude():
    with pytest.raises(ValueError, match="fluxes has no colors"):
        psp.StarCatalog.from_flux([[1.0, 2.0]], [[0.1, 0.1]], bands=["G", "BP - RP"])
    with pytest.raises(ValueError, match="limits are those of a magnitude"):
        psp.MagnitudeLimits("BP - RP", 0.0, 1.0)
    for field in (psp.UniformField, lambda **given: psp.ControlField(from_table(GAIA), **given)):
        with pytest.raises(ValueError, match="reference is the color"):
            field(reference="BP - RP")


def test_selection_by_the_magnitude():
    cat = from_table(GAIA)
    limits = psp.MagnitudeLimits("G", 10.0, 15.0)
    assert limits.mask(cat).tolist() == [True, True, False]
    assert limits.errors(cat) == (0.004, 0.004)


MAG = [[10.0, 0.5], [14.0, 1.5], [12.0, NAN], [NAN, 1.0]]


def test_the_uniform_field_has_the_range_of_the_color():
    cat = psp.StarCatalog(MAG, np.full((4, 2), 0.1), bands=["G", "BP - RP"])
    expected = -np.log([4.0, 4.0, 4.0, 1.0])
    assert_close(psp.UniformField().log_density(cat), expected, "same_formula")
    limits = psp.MagnitudeLimits("G", 8.0, 18.0)
    given = psp.UniformField(color_ranges={("RP", "BP"): (-3.0, 1.0)})
    expected = -np.log([40.0, 40.0, 10.0, 4.0])
    assert_close(given.log_density(cat, limits), expected, "same_formula")
    frozen = psp.UniformField().frozen(cat)
    assert frozen.mag_range == {"G": (10.0, 14.0)}
    assert frozen.color_ranges == {("BP", "RP"): (0.5, 1.5)}
    mags = frozen.draw(2000, cat.bands, np.random.default_rng(1))
    for column, low, high in zip(mags.T, (10.0, 0.5), (14.0, 1.5), strict=True):
        assert stats.kstest((column - low) / (high - low), "uniform").pvalue > 0.01
    with pytest.raises(ValueError, match="color_ranges"):
        psp.UniformField(mag_range=(10.0, 14.0)).draw(2, cat.bands, np.random.default_rng(1))


def test_a_control_field_learns_magnitude_and_color():
    """Its kernel density is that of the columns themselves, over the share that is selected."""
    rng = np.random.default_rng(5)
    mag = np.column_stack([rng.uniform(12.0, 18.0, 300), rng.normal(1.0, 0.3, 300)])
    control = psp.StarCatalog(mag, np.full(mag.shape, 0.02), bands=["G", "BP - RP"])
    assert_array_equal(psp.ControlField.features(control), mag)
    field = psp.ControlField(control)
    some = control.select(np.arange(20))
    expected = np.log(stats.gaussian_kde(mag.T)(some.mag.T))
    assert_close(field.log_density(some), expected, "kernel")
    drawn = field.draw(500, ("BP - RP", "G"), rng, psp.MagnitudeLimits("G", 13.0, 15.0))
    assert drawn[:, 1].min() >= 13.0
    assert drawn[:, 1].max() <= 15.0
    assert abs(drawn[:, 0].mean() - 1.0) < 0.1


def test_a_color_is_plotted_as_it_was_measured():
    cat = from_table(GAIA)
    ax = psp.plot_cmd(cat, ("BP", "RP"), "G", error_bars=True)
    assert_array_equal(ax.collections[-1].get_offsets(), [[0.8, 12.0], [1.0, 14.0]])
    plt.close(ax.figure)
    with pytest.raises(ValueError, match="'BP', which the catalog lacks"):
        psp.plot_cmd(cat, ("BP", "G"), "G")
