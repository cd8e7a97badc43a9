"""Star catalogs from arrays and tables, and what they refuse."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymc_starpop.stars.catalog import StarCatalog
from tolerances import assert_close

NAN = np.nan
COLUMNS = {
    "id": ["a", "b", "c"],
    "g": [10.0, 11.0, NAN],
    "e_g": [0.01, 0.02, NAN],
    "j": [9.0, NAN, 12.0],
    "e_j": [0.02, 0.02, 0.02],
    "plx": [3.0, 2.0, NAN],
    "e_plx": [0.1, 0.2, NAN],
    "ruwe": [1.0, 1.1, NAN],
    "teff": [5800.0, NAN, 4200.0],
    "e_teff": [80.0, NAN, 120.0],
    "feh": [0.1, -0.05, NAN],
    "pmra": [1.5, NAN, -3.0],
    "e_pmra": [0.02, NAN, 0.3],
    "pmdec": [-2.5, NAN, 4.0],
    "e_pmdec": [0.03, NAN, 0.2],
    "corr": [0.1, NAN, -0.4],
}
NAMES = {
    "mag": {"Gaia_G_EDR3": "g", "2MASS_J": "j"},
    "mag_err": {"Gaia_G_EDR3": "e_g", "2MASS_J": "e_j"},
    "parallax": "plx",
    "parallax_err": "e_plx",
    "star": "id",
    "extra": ["ruwe"],
    "teff": "teff",
    "teff_err": "e_teff",
    "feh": "feh",
    "feh_err": 0.1,
    "pmra": "pmra",
    "pmra_err": "e_pmra",
    "pmdec": "pmdec",
    "pmdec_err": "e_pmdec",
    "pm_corr": "corr",
}


ARRAYS = (
    "mag", "mag_err", "parallax", "parallax_err", "membership_prior", "teff", "teff_err", "feh",
    "feh_err", "flux", "flux_err", "pmra", "pmra_err", "pmdec", "pmdec_err", "pm_corr",
)  # fmt: skip


def make(**changes):
    """Return a valid catalog of two stars and two bands with some arguments changed."""
    arguments = {
        "mag": [[10.0, 9.0], [11.0, 10.5]],
        "mag_err": [[0.01, 0.02], [0.03, 0.04]],
        "bands": ["G", "J"],
    }
    return StarCatalog(**(arguments | changes))


def assert_same(one, other):
    """Raise where two catalogs differ."""
    assert one.bands == other.bands
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)
    assert list(one.star) == list(other.star)
    assert one.extra.keys() == other.extra.keys()
    for name, values in one.extra.items():
        np.testing.assert_array_equal(values, other.extra[name])


def test_attributes():
    cat = make(mag=[[10.0, NAN], [11.0, 10.5]], membership_prior=0.7, extra={"ruwe": [1.0, 1.2]})
    assert (len(cat), cat.n_star, cat.n_band, cat.bands) == (2, 2, 2, ("G", "J"))
    assert cat.mag.dtype == cat.mag_err.dtype == np.float64
    assert cat.measured.tolist() == [[True, False], [True, True]]
    assert np.isnan(cat.mag_err[0, 1])  # no error without a magnitude
    assert cat.membership_prior.tolist() == [0.7, 0.7]
    assert cat.parallax is None
    assert cat.parallax_err is None
    assert cat.star.tolist() == [0, 1]
    assert cat.extra["ruwe"].tolist() == [1.0, 1.2]
    coords = cat.coords()
    assert list(coords) == ["star", "band"]
    assert coords["band"] == ["G", "J"]
    assert "2 stars" in repr(cat)


def test_is_immutable_and_copies():
    mag = np.array([[10.0], [11.0]])
    cat = StarCatalog(mag, mag * 0 + 0.1, ["G"], extra={"x": np.array([1.0, 2.0])})
    mag[0, 0] = 99.0
    assert cat.mag[0, 0] == 10.0
    for array in (cat.mag, cat.mag_err, cat.measured.base, cat.star, cat.extra["x"]):
        if array is not None:
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
    with pytest.raises(AttributeError):
        cat.bands = ("J",)


def test_survives_pickling():
    cat = StarCatalog.from_table(COLUMNS, **NAMES, membership_prior=0.5)
    assert_same(pickle.loads(pickle.dumps(cat)), cat)


def test_tables_equal_arrays():
    expected = StarCatalog(
        np.column_stack([COLUMNS["g"], COLUMNS["j"]]),
        np.column_stack([COLUMNS["e_g"], COLUMNS["e_j"]]),
        ["Gaia_G_EDR3", "2MASS_J"],
        parallax=COLUMNS["plx"],
        parallax_err=COLUMNS["e_plx"],
        membership_prior=0.5,
        star=COLUMNS["id"],
        extra={"ruwe": COLUMNS["ruwe"]},
        teff=COLUMNS["teff"],
        teff_err=COLUMNS["e_teff"],
        feh=COLUMNS["feh"],
        feh_err=[0.1, 0.1, 0.1],
        pmra=COLUMNS["pmra"],
        pmra_err=COLUMNS["e_pmra"],
        pmdec=COLUMNS["pmdec"],
        pmdec_err=COLUMNS["e_pmdec"],
        pm_corr=COLUMNS["corr"],
    )
    assert_same(StarCatalog.from_table(COLUMNS, **NAMES, membership_prior=0.5), expected)


def test_pandas_equals_arrays():
    pandas = pytest.importorskip("pandas")
    expected = StarCatalog.from_table(COLUMNS, **NAMES, membership_prior=0.5)
    frame = pandas.DataFrame(COLUMNS)
    shuffled = frame.set_index(np.array([5, 7, 3]))  # an index that is not 0, 1, 2
    for table in (frame, frame.convert_dtypes(), shuffled):
        assert_same(StarCatalog.from_table(table, **NAMES, membership_prior=0.5), expected)


@pytest.mark.parametrize("kind", ["plain", "masked", "quantity", "masked quantity"])
def test_astropy_equals_arrays(kind):
    table_module = pytest.importorskip("astropy.table")
    units = pytest.importorskip("astropy.units")
    expected = StarCatalog.from_table(COLUMNS, **NAMES, membership_prior=0.5)
    columns = {name: np.array(values) for name, values in COLUMNS.items()}
    if "masked" in kind:
        columns = {
            name: values if name == "id" else np.ma.masked_invalid(values)
            for name, values in columns.items()
        }
    table = table_module.Table(columns)
    if "quantity" in kind:
        for name in ("g", "e_g", "j", "e_j"):
            table[name].unit = units.mag
        table["plx"].unit = table["e_plx"].unit = units.mas
        table = table_module.QTable(table)
    assert_same(StarCatalog.from_table(table, **NAMES, membership_prior=0.5), expected)


def test_numbers_for_columns_and_a_floor():
    cat = StarCatalog.from_table(
        COLUMNS,
        mag=NAMES["mag"],
        mag_err={"Gaia_G_EDR3": 0.03, "2MASS_J": "e_j"},
        parallax="plx",
        parallax_err=0.5,
        error_floor={"Gaia_G_EDR3": 0.04},
    )
    assert_close(cat.mag_err[:2, 0], [0.05, 0.05], "same_formula")
    assert_close(cat.mag_err[0, 1], 0.02, "same_formula")
    assert cat.parallax_err[0] == 0.5


@given(
    errors=st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=20),
    floor=st.floats(0.0, 0.5),
)
def test_error_floor_adds_in_quadrature(errors, floor):
    cat = StarCatalog(np.full((len(errors), 1), 12.0), np.array(errors)[:, None], ["G"])
    expected = np.sqrt(np.array(errors) ** 2 + floor**2)
    assert_close(cat.with_error_floor(floor).mag_err[:, 0], expected, "same_formula")
    assert cat.mag_err[0, 0] == errors[0]


@given(mask=st.lists(st.booleans(), min_size=3, max_size=3).filter(any))
def test_select_keeps_rows_together(mask):
    cat = StarCatalog.from_table(COLUMNS, **NAMES, membership_prior=0.5)
    by_mask, by_index = cat.select(np.array(mask)), cat.select(np.flatnonzero(mask))
    assert_same(by_mask, by_index)
    for row, original in enumerate(np.flatnonzero(mask)):
        assert by_mask.star[row] == cat.star[original]
        np.testing.assert_array_equal(by_mask.mag[row], cat.mag[original])
        np.testing.assert_array_equal(by_mask.parallax[row], cat.parallax[original])
        np.testing.assert_array_equal(by_mask.extra["ruwe"][row], cat.extra["ruwe"][original])


def test_proper_motions():
    cat = make(**PM | {"pmra": [1.0, NAN], "pmdec": [2.0, NAN]})
    assert cat.pm_corr[0] == 0.0
    # Without a proper motion there are neither errors nor a correlation.
    for name in ("pmra_err", "pmdec_err", "pm_corr"):
        assert np.isnan(getattr(cat, name)[1])
    assert "proper motion: 1" in repr(cat)
    assert "pmdec" not in repr(cat)
    assert make(**PM, pm_corr=-0.3).pm_corr.tolist() == [-0.3, -0.3]
    assert make().pm_corr is None
    assert cat.select([1]).pmra_err.shape == (1,)
    assert_same(cat.with_error_floor(0.1).with_error_floor(0.0), cat.with_error_floor(0.1))


PM = {"pmra": [1.0, 2.0], "pmra_err": [0.1, 0.2], "pmdec": [3.0, 4.0], "pmdec_err": [0.3, 0.4]}
MANY = {"mag": np.full((9, 1), 12.0), "bands": ["G"]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mag": [10.0, 11.0]}, r"mag must have shape \(stars, 2\)"),
        ({"mag": [[10.0, 9.0], [11.0]]}, "mag must hold numbers"),
        ({"mag": [["x", 9.0], [11.0, 1.0]]}, "mag must hold numbers"),
        ({"mag": np.empty((0, 2))}, "mag must have shape"),
        ({"mag_err": [[0.01, 0.02]]}, r"mag_err must have the shape of mag, \(2, 2\)"),
        ({"bands": ["G", "G"]}, "each band once, got G"),
        ({"bands": "GJ"}, "bands must be a sequence"),
        ({"bands": ["G"]}, r"mag must have shape \(stars, 1\)"),
        ({"mag_err": [[0.01, 0.0], [0.03, 0.04]]}, "got 0.0 in row 0 of J"),
        ({"mag_err": [[0.01, 0.02], [-1, 0.04]]}, "got -1.0 in row 1 of G"),
        ({"mag_err": [[0.01, 0.02], [NAN, 0.04]]}, "got nan in row 1 of G"),
        ({"mag_err": [[0.01, 0.02], [np.inf, 0.04]]}, "got inf in row 1 of G"),
        ({"mag": [[np.inf, 9.0], [11.0, 1.0]]}, "mag is infinite in row 0"),
        ({"mag": [[10.0, 9.0], [NAN, NAN]]}, "no measured band in row 1"),
        (MANY | {"mag_err": np.zeros((9, 1))}, "rows 0, 1, 2, 3, 4 and 4 more"),
        ({"parallax": [1.0, 2.0]}, "parallax was given without parallax_err"),
        ({"parallax_err": [1.0, 2.0]}, "parallax_err was given without parallax"),
        ({"parallax": [1.0], "parallax_err": [1.0]}, "parallax must have one value"),
        ({"parallax": [1.0, 2.0], "parallax_err": [0.1, 0.0]}, "got 0.0 in row 1"),
        ({"parallax": [1.0, np.inf], "parallax_err": [0.1, 0.1]}, "parallax is infinite in row 1"),
        ({"membership_prior": 1.2}, "membership_prior must lie in 0 to 1, got 1.2"),
        ({"membership_prior": [0.5, NAN]}, "got nan in row 1"),
        ({"membership_prior": [0.5]}, "membership_prior must be one number or have shape"),
        ({"teff": [5000.0, 6000.0]}, "teff was given without teff_err; give both .K."),
        ({"feh_err": [0.1, 0.1]}, "feh_err was given without feh; give both .dex."),
        ({"teff": [5000.0, 0.0], "teff_err": [80.0, 80.0]}, r"teff must be positive .K., got 0.0"),
        ({"teff": [5000.0, 4e3], "teff_err": [80.0, NAN]}, "teff_err must be positive .* row 1"),
        ({"feh": [0.0, np.inf], "feh_err": [0.1, 0.1]}, "feh is infinite in row 1"),
        ({"feh": [[0.0, 0.1]] * 2, "feh_err": [0.1, 0.1]}, "one number a star"),
        ({"mag": [[10.0, 99.0], [11.0, 1.0]]}, "got 99.0 in row 0 of J; 99 and -999 stand for"),
        ({"mag": [[10.0, 9.0], [-99.9, 1.0]]}, "got -99.9 in row 1 of G; .* should be NaN"),
        ({"mag": [[90.0, 9.0], [11.0, 1.0]]}, "got 90.0 in row 0 of G"),
        ({"flux": np.ones((2, 2))}, "flux_err must have the shape of flux"),
        ({"flux": np.ones((2, 2)), "flux_err": np.ones((2, 2))}, "make the catalog with"),
        ({"pmra": [1.0, 2.0]}, "pmra was given without pmra_err; give both .mas/yr."),
        (PM | {"pmdec": None, "pmdec_err": None}, "pmra came without pmdec, but a proper motion"),
        (PM | {"pmra": None, "pmra_err": None}, "pmdec came without pmra, but a proper motion"),
        ({"pm_corr": 0.1}, "pm_corr came without pmdec"),
        (PM | {"pmdec": [1.0, NAN]}, "one of pmra and pmdec is NaN in row 1, .* set both to NaN"),
        (PM | {"pmra_err": [0.1, 0.0]}, "pmra_err must be positive .* got 0.0 in row 1"),
        (PM | {"pm_corr": 1.0}, "pm_corr must lie between -1 and 1, got 1.0 in rows 0, 1"),
        (PM | {"pm_corr": [0.0, NAN]}, "got nan in row 1; it is the correlation"),
        (PM | {"pm_corr": [0.0]}, r"pm_corr must be one number or have shape .2,., got .1,."),
        ({"star": ["a", "a"]}, "star must hold each label once"),
        ({"star": ["a"]}, "star must have one value for each"),
        ({"extra": {"x": [1.0]}}, "x must have one value for each"),
    ],
)
def test_bad_arrays(changes, words):
    with pytest.raises(ValueError, match=words):
        make(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mag": {"Gaia_G_EDR3": "G", "2MASS_J": "j"}}, "column 'G', which the table lacks"),
        ({"mag": {}}, "mag is empty"),
        ({"mag_err": {"Gaia_G_EDR3": "e_g"}}, "mag_err must name the same bands"),
        ({"parallax": 3.0, "parallax_err": None}, "without parallax_err"),
        ({"parallax": "id"}, "parallax .column 'id'. must hold numbers"),
        ({"mag": {"Gaia_G_EDR3": ["g"], "2MASS_J": "j"}}, "must be the name of a column"),
        ({"error_floor": -0.1}, "floor must be finite and not negative"),
        ({"error_floor": {"TESS": 0.1}}, "floor names 'TESS', which the catalog lacks"),
    ],
)
def test_bad_tables(changes, words):
    with pytest.raises(ValueError, match=words):
        StarCatalog.from_table(COLUMNS, **(NAMES | changes))


def test_columns_of_unequal_length():
    table = COLUMNS | {"j": [1.0, 2.0], "e_j": [0.1, 0.1]}
    with pytest.raises(ValueError, match="must be a column of length 3"):
        StarCatalog.from_table(table, **NAMES)


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ([True], "a mask must have shape"),
        ([False, False], "no star"),
        ([], "no star"),
        ([0.5], "bool mask or a list of row indices"),
        ([[0, 1]], "bool mask or a list of row indices"),
        ([2], "row indices must lie in 0 to 1"),
    ],
)
def test_bad_selections(which, words):
    with pytest.raises(ValueError, match=words):
        make().select(which)


def test_unknown_band():
    with pytest.raises(ValueError, match="its bands are G, J"):
        make().band_index("K")


FLUX = np.array([[100.0, NAN], [-2.0, 4.0], [NAN, 0.0]])
FLUX_ERR = np.array([[1.5, NAN], [1.5, 0.5], [NAN, 0.5]])


def test_fluxes():
    cat = StarCatalog.from_flux(FLUX, FLUX_ERR, bands=["G", "J"], star=["a", "b", "c"])
    assert cat.is_flux
    assert cat.values is cat.flux
    assert cat.errors is cat.flux_err
    np.testing.assert_array_equal(cat.measured, np.isfinite(FLUX))
    expected = np.array([[17.5, NAN], [NAN, 22.5 - 2.5 * np.log10(4.0)], [NAN, NAN]])
    assert_close(cat.mag, expected, "same_formula")
    expected = np.array([[0.015, NAN], [NAN, 0.125], [NAN, NAN]]) * 2.5 / np.log(10.0)
    assert_close(cat.mag_err, expected, "same_formula")
    assert "3 stars in flux; G: 2, J: 2" in repr(cat)
    for array in (cat.flux, cat.flux_err, cat.mag, cat.mag_err):
        assert not array.flags.writeable
    magnitudes = make()
    assert not magnitudes.is_flux
    assert magnitudes.values is magnitudes.mag
    assert magnitudes.errors is magnitudes.mag_err


def test_flux_catalogs_are_selected_and_pickled():
    cat = StarCatalog.from_flux(FLUX, FLUX_ERR, bands=["G", "J"], teff=[5e3, NAN, 4e3],
                                teff_err=[80.0, NAN, 90.0], extra={"x": [1, 2, 3]})  # fmt: skip
    assert_same(pickle.loads(pickle.dumps(cat)), cat)
    last = cat.select([2, 1])
    np.testing.assert_array_equal(last.flux, FLUX[[2, 1]])
    assert last.teff.tolist()[0] == 4e3
    assert_same(last.select([1, 0]), cat.select([1, 2]))
    assert cat.coords()["band"] == ["G", "J"]


@given(
    mag=st.lists(st.floats(-5.0, 30.0), min_size=1, max_size=9),
    zero_point=st.floats(-50.0, 50.0),
)
def test_zero_point_is_the_magnitude_of_unit_flux(mag, zero_point):
    flux = 10.0 ** (-0.4 * (np.array(mag)[:, None] - zero_point))
    cat = StarCatalog.from_flux(flux, 0.02 * flux, bands=["G"], zero_point=zero_point)
    assert_close(cat.mag[:, 0], mag, "same_formula")
    assert_close(cat.mag_err, np.full(flux.shape, 0.02 * 2.5 / np.log(10.0)), "same_formula")
    assert_close(cat.flux[:, 0], 10.0 ** (-0.4 * (np.array(mag) - 22.5)), "kernel")


def test_zero_points_by_band():
    cat = StarCatalog.from_flux([[1.0, 1.0]], [[0.1, 0.1]], bands=["G", "J"], zero_point=[20, 25.5])
    assert_close(cat.mag, [[20.0, 25.5]], "same_formula")


@given(mag=st.floats(10.0, 28.0), err=st.floats(1e-3, 0.5), floor=st.floats(0.0, 0.3))
def test_error_floor_is_the_same_in_flux(mag, err, floor):
    flux = 10.0 ** (-0.4 * (mag - 22.5))
    fluxes = StarCatalog.from_flux([[flux]], [[err * flux * np.log(10.0) / 2.5]], bands=["G"])
    expected = StarCatalog([[mag]], [[err]], ["G"]).with_error_floor(floor).mag_err
    assert_close(fluxes.with_error_floor({"G": floor}).mag_err, expected, "same_formula")


def test_error_floor_of_a_negative_flux():
    cat = StarCatalog.from_flux([[-3.0], [3.0]], [[1.0], [1.0]], bands=["G"]).with_error_floor(1.0)
    assert cat.flux_err[0, 0] == 1.0
    assert_close(cat.flux_err[1, 0], np.hypot(1.0, 3.0 * np.log(10.0) / 2.5), "same_formula")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"flux": [1.0, 2.0]}, r"flux must have shape .stars, 1."),
        ({"flux": [[np.inf], [1.0]]}, "flux is infinite in row 0"),
        ({"flux": [[NAN], [1.0]]}, "flux has no measured band in row 0"),
        ({"flux_err": [[0.1], [0.0]]}, "flux_err must be positive .* got 0.0 in row 1 of G"),
        ({"flux_err": [[0.1]]}, "flux_err must have the shape of flux"),
        ({"flux_err": [[NAN], [0.1]]}, "got nan in row 0 of G; give an error there or set flux"),
        ({"zero_point": [22.5, 22.5]}, "zero_point must be one finite number or 1"),
        ({"zero_point": NAN}, "zero_point must be one finite number"),
    ],
)
def test_bad_fluxes(changes, words):
    arguments = {"flux": [[1.0], [2.0]], "flux_err": [[0.1], [0.1]], "bands": ["G"]}
    with pytest.raises(ValueError, match=words):
        StarCatalog.from_flux(**(arguments | changes))


def test_faint_fluxes_are_no_sentinels():
    assert StarCatalog.from_flux([[1e-40]], [[1.0]], bands=["G"]).mag[0, 0] > 99.0


def test_unknown_column():
    with pytest.raises(TypeError, match=r"unknown argument.s. logg; known are teff"):
        StarCatalog.from_table(COLUMNS, **NAMES, logg="feh")


def test_logarithms_of_temperatures_are_refused():
    with pytest.raises(ValueError, match="give K, not log10"):
        StarCatalog([[12.0]], [[0.1]], bands=["TESS"], teff=[3.76], teff_err=[0.01])
