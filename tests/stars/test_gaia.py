"""Catalogs from tables of the Gaia archive."""

import gzip
import importlib.util
import pickle
import sys
from types import ModuleType

import numpy as np
import pytest

import pymc_starpop as psp
from pymc_starpop.kernels.gaia import corrected_excess, ecliptic_latitude, excess_scatter
from pymc_starpop.stars.gaia_zero_point import QUASARS, lindegren
from tolerances import assert_close

NAN = np.nan
# Beyond 2^53, and next to each other: as floats they would be one number.
IDS = [4089361234567890123 + i for i in range(6)]
BANDS = (
    "Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3", "2MASS_J", "2MASS_H", "2MASS_Ks",
)  # fmt: skip
TABLE = {
    "source_id": IDS,
    "ra": [130.0, 130.1, 130.2, 130.3, 130.4, 130.5],
    "dec": [20.0, 20.1, 20.2, 20.3, 20.4, 20.5],
    "phot_g_mean_mag": [10.0, 12.0, 14.0, 16.0, 18.0, 20.0],
    "phot_g_mean_flux_over_error": [8000.0, 5000.0, 4000.0, 2000.0, 900.0, 200.0],
    "phot_bp_mean_mag": [10.3, 12.4, NAN, 16.9, 19.2, 21.5],
    "phot_bp_mean_flux_over_error": [900.0, 800.0, NAN, 100.0, 30.0, 5.0],
    "phot_rp_mean_mag": [9.5, 11.4, 13.2, 15.0, 16.9, 18.8],
    "phot_rp_mean_flux_over_error": [900.0, 800.0, 500.0, 200.0, 80.0, 40.0],
    "parallax": [1.2, 1.1, 1.15, NAN, 1.0, 2.0],
    "parallax_error": [0.02, 0.02, 0.03, NAN, 0.1, 0.4],
    "pmra": [-1.0, -0.8, NAN, NAN, -0.9, 5.0],
    "pmra_error": [0.02, 0.02, NAN, NAN, 0.1, 0.4],
    "pmdec": [-2.5, -2.6, NAN, NAN, -2.7, -9.0],
    "pmdec_error": [0.03, 0.03, NAN, NAN, 0.2, 0.5],
    "pmra_pmdec_corr": [0.1, -0.2, NAN, NAN, 0.3, 0.0],
    "ruwe": [1.0, 3.0, 1.1, NAN, 1.2, 1.0],
    "phot_bp_rp_excess_factor": [1.1915, 1.25, NAN, 1.32, 2.5, 1.4],
    "nu_eff_used_in_astrometry": [1.6, 1.5, 1.45, NAN, NAN, 1.05],
    "pseudocolour": [NAN, NAN, NAN, NAN, 1.4, NAN],
    "astrometric_params_solved": [31, 31, 31, 3, 95, 31],
    "ecl_lat": [2.0, 2.1, 2.2, 2.3, 2.4, 2.5],
    "j_m": [9.0, 10.8, 12.5, 14.1, 15.9, NAN],
    "h_m": [8.8, 10.5, 12.1, 13.5, 15.3, NAN],
    "ks_m": [8.7, 10.4, 12.0, 13.3, 15.1, NAN],
    "j_msigcom": [0.02, 0.02, 0.03, 0.04, 0.08, NAN],
    "h_msigcom": [0.02, 0.02, 0.03, 0.04, 0.10, NAN],
    "ks_msigcom": [0.02, 0.02, 0.03, 0.04, NAN, NAN],
    "ph_qual": ["AAA", "AEA", "ABC", "BBB", "CUU", ""],
}
NO_TMASS = {name: v for name, v in TABLE.items() if not name.startswith(("j_", "h_", "ks_"))}
NAMES = ("mag", "mag_err", "parallax", "parallax_err", "pmra", "pmra_err", "pmdec", "pmdec_err",
         "pm_corr")  # fmt: skip


def assert_same(one, other):
    """Raise where two catalogs differ."""
    assert one.bands == other.bands
    for name in NAMES:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.star.tolist() == other.star.tolist()
    assert one.report.counts == other.report.counts


def astropy_table(**changes):
    """The table with masks where there is NaN or no text, and whole numbers as such."""
    table_module = pytest.importorskip("astropy.table")
    columns = {}
    for name, values in (TABLE | changes).items():
        array = np.array(values)
        empty = array == "" if array.dtype.kind == "U" else np.zeros(len(array), dtype=bool)
        mask = np.isnan(array) if array.dtype.kind == "f" else empty
        columns[name] = table_module.MaskedColumn(np.where(mask, array[0], array), mask=mask)
    return table_module.Table(columns)


def rounded(values):
    return np.round(values, 9).tolist()


def test_what_is_read():
    cat = psp.StarCatalog.from_gaia(TABLE)
    assert cat.bands == BANDS
    assert cat.star.tolist() == IDS
    assert cat.star.dtype == np.int64
    np.testing.assert_array_equal(cat.mag[:, 0], TABLE["phot_g_mean_mag"])
    np.testing.assert_array_equal(cat.parallax, TABLE["parallax"])
    np.testing.assert_array_equal(cat.pmdec_err, TABLE["pmdec_error"])
    np.testing.assert_array_equal(cat.pm_corr, TABLE["pmra_pmdec_corr"])
    np.testing.assert_array_equal(cat.extra["ruwe"], TABLE["ruwe"])
    assert list(cat.extra) == ["ra", "dec", "ruwe", "phot_bp_rp_excess_factor"]


def test_errors_of_magnitudes():
    """Noise, zero point and floor in quadrature; 2MASS has its own errors."""
    cat = psp.StarCatalog.from_gaia(TABLE)
    for k, (letters, zero) in enumerate(
        (("g", 0.0027553202), ("bp", 0.00279017), ("rp", 0.0037793818))
    ):
        noise = 2.5 / np.log(10.0) / np.array(TABLE[f"phot_{letters}_mean_flux_over_error"])
        expected = np.sqrt(noise**2 + zero**2 + 0.005**2)
        assert_close(cat.mag_err[:, k], expected, "same_formula")
    assert cat.mag_err[0, 3] == 0.02
    bare = psp.StarCatalog.from_gaia(TABLE, floor=0.0)
    assert_close(bare.mag_err[0, 0], np.hypot(1.0857362047581296 / 8000.0, 0.0027553202), "kernel")
    own = psp.StarCatalog.from_gaia(TABLE, floor={"2MASS_J": 0.015})
    assert_close(own.mag_err[0, 3], 0.025, "same_formula")
    assert_close(own.mag_err[:, 0], bare.mag_err[:, 0], "same_formula")
    assert_close(psp.StarCatalog.from_gaia(TABLE, floor=0.02).mag_err[0, 3], np.hypot(0.02, 0.02),
                 "same_formula")  # fmt: skip


def test_the_report_counts_every_loss():
    cat = psp.StarCatalog.from_gaia(TABLE, max_ruwe=1.4, bp_excess_sigma=5.0)
    report = cat.report
    assert (report.n_row, report.n_star, report.dropped) == (6, 6, {})
    assert report.counts == {
        "no Gaia_BP_EDR3": 1,
        "no 2MASS_J": 1,
        "no 2MASS_H": 1,
        "no 2MASS_Ks": 2,
        "BP and RP masked, flux excess beyond 5 sigma": 1,
        "2MASS_J masked, quality none of AB": 1,
        "2MASS_H masked, quality none of AB": 2,
        "2MASS_Ks masked, quality none of AB": 1,
        "no parallax": 1,
        "no proper motion": 2,
        "parallax and proper motion masked, ruwe above 1.4": 1,
    }
    assert report.masked["no proper motion"].tolist() == IDS[2:4]
    assert cat.measured.sum(axis=0).tolist() == [6, 4, 5, 4, 3, 3]
    # The photometry of a star with a large RUWE stays, and the G of one with a large excess.
    assert np.isnan(cat.parallax[1])
    assert np.isnan(cat.pmra[1])
    assert cat.measured[1, :3].all()
    assert cat.measured[4, :3].tolist() == [True, False, False]
    text = str(report)
    assert "6 rows, 6 stars" in text
    assert "ruwe above 1.4: 1" in text
    # It stays with the stars, and is that of the table.
    assert cat.select([0, 1]).with_error_floor(0.01).report is report
    assert pickle.loads(pickle.dumps(cat)).report.counts == report.counts
    assert psp.StarCatalog([[12.0]], [[0.1]], ["TESS"]).report is None


def test_letters_of_quality():
    every = psp.StarCatalog.from_gaia(TABLE, tmass_quality=None)
    assert every.measured[:, 3:].sum(axis=0).tolist() == [5, 5, 4]
    best = psp.StarCatalog.from_gaia(TABLE, tmass_quality="A")
    assert best.measured[:, 3:].sum(axis=0).tolist() == [3, 1, 2]
    without = {name: v for name, v in TABLE.items() if name != "ph_qual"}
    with pytest.raises(ValueError, match="tmass_quality needs the column ph_qual"):
        psp.StarCatalog.from_gaia(without)
    assert psp.StarCatalog.from_gaia(without, bands=BANDS[:3]).bands == BANDS[:3]


def test_cases_and_names():
    upper = {name.upper(): v for name, v in TABLE.items()}
    assert_same(psp.StarCatalog.from_gaia(upper), psp.StarCatalog.from_gaia(TABLE))
    renamed = {name: v for name, v in TABLE.items() if name != "source_id"}
    renamed |= {"dr3_source_id": IDS}
    found = psp.StarCatalog.from_gaia(renamed, columns={"source_id": "dr3_source_id"})
    assert found.star.tolist() == IDS
    bare = psp.StarCatalog.from_gaia({n: v for n, v in TABLE.items() if n != "source_id"})
    assert bare.star.tolist() == list(range(6))
    assert any("numbered by rows" in note for note in bare.report.notes)
    both = TABLE | {"RA": TABLE["ra"]}
    assert psp.StarCatalog.from_gaia(both).extra["ra"].tolist() == TABLE["ra"]
    alike = {name: v for name, v in TABLE.items() if name != "parallax"}
    alike |= {"Parallax": TABLE["parallax"], "PARALLAX": TABLE["parallax"]}
    with pytest.raises(ValueError, match="columns Parallax, PARALLAX, all of which could be"):
        psp.StarCatalog.from_gaia(alike)


def test_magnitudes_from_colors():
    table = {name: v for name, v in NO_TMASS.items() if name not in
             ("phot_bp_mean_mag", "phot_rp_mean_mag")}  # fmt: skip
    g = np.array(TABLE["phot_g_mean_mag"])
    bp_g, g_rp = np.array(TABLE["phot_bp_mean_mag"]) - g, g - np.array(TABLE["phot_rp_mean_mag"])
    expected = psp.StarCatalog.from_gaia(NO_TMASS)
    for colors in ({"bp_g": bp_g, "g_rp": g_rp}, {"bp_rp": bp_g + g_rp, "g_rp": g_rp}):
        cat = psp.StarCatalog.from_gaia(table | colors)
        use = np.isfinite(expected.mag)
        np.testing.assert_allclose(cat.mag[use], expected.mag[use], atol=1e-12)
        assert sum("is from" in note for note in cat.report.notes) == 2
    only = psp.StarCatalog.from_gaia(table)
    assert only.bands == ("Gaia_G_EDR3",)


def test_fluxes_in_place_of_their_ratio():
    table = {name: v for name, v in NO_TMASS.items() if name != "phot_g_mean_flux_over_error"}
    table |= {"phot_g_mean_flux": np.array(TABLE["phot_g_mean_flux_over_error"]) * 3.0,
              "phot_g_mean_flux_error": np.full(6, 3.0)}  # fmt: skip
    expected = psp.StarCatalog.from_gaia(NO_TMASS)
    assert_close(psp.StarCatalog.from_gaia(table).mag_err, expected.mag_err, "same_formula")


@pytest.mark.parametrize("kind", ["votable", "ecsv", "fits", "masked table", "csv", "csv.gz"])
def test_files_and_tables_equal_arrays(kind, tmp_path):
    expected = psp.StarCatalog.from_gaia(TABLE, max_ruwe=1.4)
    table = astropy_table()
    if kind == "masked table":
        assert_same(psp.StarCatalog.from_gaia(table, max_ruwe=1.4), expected)
        return
    suffix = {"votable": "vot"}.get(kind, kind)
    path = tmp_path / f"stars.{suffix}"
    if kind == "csv.gz":
        plain = tmp_path / "stars.csv"
        table.write(plain, format="ascii.csv")
        path.write_bytes(gzip.compress(b"# a comment\n" + plain.read_bytes()))
    else:
        formats = {"csv": "ascii.csv", "ecsv": "ascii.ecsv"}
        table.write(path, format=formats.get(kind, kind))
    for given in (path, str(path)):
        cat = psp.StarCatalog.from_gaia(given, max_ruwe=1.4)
        assert_same(cat, expected)
        assert cat.star.dtype == np.int64
    # What was masked is not measured.
    assert np.isnan(cat.mag[2, 1])
    assert np.isnan(cat.pmra[2])


def test_the_word_null_in_a_csv(tmp_path):
    path = tmp_path / "stars.csv"
    lines = ["source_id,phot_g_mean_mag,phot_g_mean_flux_over_error,parallax,parallax_error,flag"]
    lines += [f"{IDS[0]},12.0,3000,null,null,False", f'"{IDS[1]}",13.0,2000,1.0,0.1,True']
    path.write_text("\n".join(lines) + "\n\n")
    cat = psp.StarCatalog.from_gaia(path, extra=["flag"])
    assert cat.star.tolist() == IDS[:2]
    assert rounded(cat.parallax[1:]) == [1.0]
    assert np.isnan(cat.parallax[0])
    assert cat.extra["flag"].tolist() == ["False", "True"]


def test_pandas():
    pandas = pytest.importorskip("pandas")
    expected = psp.StarCatalog.from_gaia(TABLE)
    frame = pandas.DataFrame(TABLE)
    for table in (frame, frame.convert_dtypes(), frame.set_index(np.arange(6)[::-1])):
        assert_same(psp.StarCatalog.from_gaia(table), expected)
    assert_same(psp.StarCatalog.from_gaia(frame.to_records(index=False)), expected)


def test_identifiers_that_lost_digits_are_refused():
    floats = TABLE | {"source_id": np.array(IDS, dtype=float)}
    with pytest.raises(ValueError, match="source_id came as floats, in which identifiers beyond"):
        psp.StarCatalog.from_gaia(floats)
    small = psp.StarCatalog.from_gaia(TABLE | {"source_id": np.arange(6.0)})
    assert small.star.tolist() == list(range(6))
    with pytest.raises(ValueError, match="source_id is missing in row 2; leave these rows out"):
        psp.StarCatalog.from_gaia(TABLE | {"source_id": [1, 2, None, 4, 5, 6]})
    words = psp.StarCatalog.from_gaia(TABLE | {"source_id": [f"Gaia DR3 {i}" for i in IDS]})
    assert words.star[0] == f"Gaia DR3 {IDS[0]}"
    digits = psp.StarCatalog.from_gaia(TABLE | {"source_id": [str(i) for i in IDS]})
    assert digits.star.tolist() == IDS


def test_masked_identifiers_are_refused():
    table = astropy_table()
    table["source_id"].mask = np.arange(6) == 4
    with pytest.raises(ValueError, match="source_id is missing in row 4"):
        psp.StarCatalog.from_gaia(table)


def repeated(**changes):
    """The table with its second row once more, some values of which differ."""
    return {name: [*v, changes.get(name, v[1])] for name, v in TABLE.items()}


def test_repeated_rows():
    same = psp.StarCatalog.from_gaia(repeated())
    assert same.star.tolist() == IDS
    assert same.report.dropped["repeated"].tolist() == [IDS[1]]
    assert (same.report.n_row, same.report.n_star) == (7, 6)
    other = repeated(j_m=10.9)
    with pytest.raises(ValueError, match=f"other values for 1 star.s.: {IDS[1]}; keep one row"):
        psp.StarCatalog.from_gaia(other)
    first = psp.StarCatalog.from_gaia(other, repeated="first")
    assert first.mag[1, 3] == 10.8
    # What is not read may differ.
    assert psp.StarCatalog.from_gaia(other, bands=BANDS[:3]).n_star == 6


def test_stars_without_a_band_are_dropped_and_counted():
    ratio = [*TABLE["phot_g_mean_flux_over_error"]]
    ratio[5] = 0.0
    cat = psp.StarCatalog.from_gaia(TABLE | {"phot_g_mean_flux_over_error": ratio}, bands=BANDS[:1])
    assert cat.star.tolist() == IDS[:5]
    assert cat.report.dropped["no band measured"].tolist() == [IDS[5]]
    assert (cat.report.n_row, cat.report.n_star) == (6, 5)
    with pytest.raises(ValueError, match=r"no star that is measured in 1 band.s. with an error"):
        psp.StarCatalog.from_gaia(
            TABLE | {"phot_g_mean_flux_over_error": np.zeros(6)}, bands=BANDS[:1]
        )


def test_what_a_table_may_lack():
    bare = {name: TABLE[name] for name in ("source_id", "phot_g_mean_mag",
                                           "phot_g_mean_flux_over_error")}  # fmt: skip
    cat = psp.StarCatalog.from_gaia(bare)
    assert cat.parallax is None
    assert cat.pmra is None
    assert len(cat.report.notes) == 2
    half = TABLE | {"pmra": np.full(6, NAN)}
    assert psp.StarCatalog.from_gaia(half).pmra is None
    uncorrelated = {name: v for name, v in TABLE.items() if name != "pmra_pmdec_corr"}
    cat = psp.StarCatalog.from_gaia(uncorrelated)
    assert cat.pm_corr[0] == 0.0
    assert any("uncorrelated" in note for note in cat.report.notes)


def test_corrected_excess():
    """Continuous to the accuracy of its coefficients, and values by hand."""
    color = np.array([0.2, 1.0, 4.5])
    f = [1.154360 + 0.033772 * 0.2 + 0.032277 * 0.04, 1.162004 + 0.011464 + 0.049255 - 0.005879,
         1.057572 + 0.140537 * 4.5]  # fmt: skip
    assert_close(corrected_excess(color, np.array([1.3, 1.2, 2.0])), np.array([1.3, 1.2, 2.0]) - f,
                 "same_formula")  # fmt: skip
    for end in (0.5, 4.0):
        sides = corrected_excess(np.array([end - 1e-9, end + 1e-9]), np.ones(2))
        assert abs(sides[1] - sides[0]) < 0.01
    assert_close(excess_scatter(np.array([0.0])), [0.0059898], "same_formula")
    assert 0.03 < excess_scatter(18.0) < 0.05


def test_ecliptic_latitude():
    """The poles and the equinoxes."""
    eps = 84381.406 / 3600.0
    ra, dec = np.array([270.0, 90.0, 0.0, 90.0]), np.array([90.0 - eps, eps, 0.0, 0.0])
    np.testing.assert_allclose(ecliptic_latitude(ra, dec), [90.0, 0.0, 0.0, -eps], atol=1e-6)


def test_a_number_for_the_zero_point():
    cat = psp.StarCatalog.from_gaia(TABLE, parallax_zero_point=-0.04)
    assert_close(cat.parallax[[0, 1]], [1.24, 1.14], "same_formula")


@pytest.fixture
def stand_in(monkeypatch):
    """A package of zero points that takes none out of its range, and shows what it was given."""
    zero_point, zpt, calls = ModuleType("zero_point"), ModuleType("zero_point.zpt"), []

    def get_zpt(g, nu_eff, pseudocolour, ecl_lat, solved):
        assert np.all((g > 6.0) & (g < 21.0))
        assert np.isin(solved, (31, 95)).all()
        assert np.all((nu_eff > 1.1)[solved == 31] & (nu_eff < 1.9)[solved == 31])
        assert np.all((pseudocolour > 1.24)[solved == 95] & (pseudocolour < 1.72)[solved == 95])
        calls.append(len(g))
        return -0.001 * g

    zpt.load_tables = lambda: None
    zpt.get_zpt = get_zpt
    zero_point.zpt = zpt
    zero_point.__spec__ = importlib.util.spec_from_loader("zero_point", None)
    monkeypatch.setitem(sys.modules, "zero_point", zero_point)
    monkeypatch.setitem(sys.modules, "zero_point.zpt", zpt)
    return calls


def test_stars_out_of_the_range_of_the_zero_point(stand_in):
    g = [5.0, 12.0, 14.0, 16.0, NAN, 21.5]
    table = TABLE | {"phot_g_mean_mag": g}
    cat = psp.StarCatalog.from_gaia(table, parallax_zero_point="lindegren")
    shift = np.array(TABLE["parallax"]) - cat.parallax
    expected = [-0.006, -0.012, -0.014, NAN, QUASARS, -0.021]
    np.testing.assert_allclose(shift, expected, atol=1e-8)
    masked = cat.report.masked
    assert masked["parallax zero point at the end of its range"].tolist() == [IDS[0], IDS[5]]
    assert masked["parallax zero point of quasars"].tolist() == [IDS[4]]
    # The solution with two parameters has no parallax, and is not counted.
    assert stand_in == [4]


def test_zero_points_without_ecliptic_latitudes(stand_in):
    table = {name: v for name, v in TABLE.items() if name != "ecl_lat"}
    cat = psp.StarCatalog.from_gaia(table, parallax_zero_point="lindegren")
    assert_close(TABLE["parallax"][0] - cat.parallax[0], -0.01, "same_formula")
    del table["ra"]
    with pytest.raises(ValueError, match="without ecl_lat needs the column ra"):
        psp.StarCatalog.from_gaia(table, parallax_zero_point="lindegren")
    del table["pseudocolour"]
    with pytest.raises(ValueError, match="needs the column pseudocolour, which the table lacks"):
        psp.StarCatalog.from_gaia(table, parallax_zero_point="lindegren")


def test_zero_points_of_the_package():
    """Its own numbers within the range, without a warning."""
    zpt = pytest.importorskip("zero_point.zpt")
    zpt.load_tables()
    n = 50
    rng = np.random.default_rng(1)
    solved = rng.choice([31, 95], n)
    given = {
        "g": rng.uniform(6.5, 20.5, n), "nu_eff": rng.uniform(1.2, 1.8, n),
        "pseudocolour": rng.uniform(1.3, 1.7, n), "solved": solved,
        "latitude": rng.uniform(-90.0, 90.0, n),
    }  # fmt: skip
    found, stand_ins = lindegren(**given)
    expected = zpt.get_zpt(
        given["g"], given["nu_eff"], given["pseudocolour"], given["latitude"], solved
    )
    np.testing.assert_array_equal(found, expected)
    assert not any(rows.any() for rows in stand_ins.values())
    assert -0.1 < found.min() < found.max() < 0.05
    # One and the same bright star, of which the package says NaN, a number or a TypeError.
    bright, stand_ins = lindegren(*(np.array([v]) for v in (5.5, 1.6, NAN, 31, 30.0)))
    assert -0.06 < bright[0] < -0.01
    assert stand_ins["at the end of its range"].all()


def test_without_the_package(monkeypatch):
    monkeypatch.setattr("pymc_starpop.stars.gaia_zero_point.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'pymc-starpop\[gaia\]', or give"):
        psp.StarCatalog.from_gaia(TABLE, parallax_zero_point="lindegren")


def test_without_astropy(monkeypatch, tmp_path):
    monkeypatch.setattr("pymc_starpop.stars.gaia_table.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"astropy, which reads .vot files, is not installed"):
        psp.StarCatalog.from_gaia(tmp_path / "stars.vot")


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        ({"x": [1.0]}, {}, "no magnitudes with errors, .* its columns are x: say which"),
        ({}, {}, "table has no row"),
        (3.0, {}, "table must be a file or a table with named columns, got float"),
        ("stars.txt", {}, "name does not end in .csv, .vot"),
        (TABLE, {"columns": {"ruwe": "r"}}, "columns says that ruwe is 'r', which the table lacks"),
        (TABLE, {"bands": "Gaia_G_EDR3"}, "bands must be a list of names"),
        (TABLE, {"bands": ["TESS"]}, "bands names 'TESS'; known are Gaia_G_EDR3"),
        (NO_TMASS, {"bands": ["2MASS_J"]}, "bands with '2MASS_J' needs the columns j_m, j_msigcom"),
        (TABLE, {"floor": {"TESS": 0.1}}, "floor names 'TESS'"),
        (TABLE, {"max_ruwe": 0.0}, "max_ruwe must be positive, got 0.0"),
        (TABLE, {"bp_excess_sigma": -1.0}, "bp_excess_sigma must be positive, got -1.0"),
        (TABLE, {"repeated": "last"}, "repeated must be 'refuse' or 'first', got 'last'"),
        (TABLE, {"parallax_zero_point": "quasars"}, "must be None, a number .mas. or 'lindegren'"),
        (TABLE, {"parallax_zero_point": NAN}, "must be a finite number .mas., got nan"),
        (TABLE, {"parallax_zero_point": [0.1]}, "must be a finite number .mas., got .0.1."),
        (TABLE, {"extra": ["cluster"]}, "extra needs the column cluster, which the table lacks"),
        (TABLE | {"ph_qual": [""] * 6, "phot_g_mean_mag": ["x"] * 6}, {}, "must hold numbers"),
        ({n: v for n, v in TABLE.items() if n != "ruwe"}, {"max_ruwe": 1.4},
         "max_ruwe needs the column ruwe"),
        ({n: v for n, v in TABLE.items() if n != "phot_bp_rp_excess_factor"},
         {"bp_excess_sigma": 3.0}, "bp_excess_sigma needs the column phot_bp_rp_excess_factor"),
    ],
)  # fmt: skip
def test_what_is_refused(table, options, words):
    with pytest.raises(ValueError, match=words):
        psp.StarCatalog.from_gaia(table, **options)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "which is empty"),
        ("a,b\n1,2,3\n", "whose row 0 has 3 values for 2 columns"),
        ("a,a\n1,2\n", "in which a names several columns"),
    ],
)
def test_bad_files(tmp_path, text, words):
    path = tmp_path / "stars.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        psp.StarCatalog.from_gaia(path)
