"""Tabulated magnitudes, corrections of the user, and both in one grid."""

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

import pymc_starpop as psp
from pymc_starpop.isochrones.extinction import ccm89_a, ccm89_rv_slope
from tolerances import assert_close

THEORY = ("eep", "log_teff", "log_g", "log_l")


def table_of(iso, fehs, ages, bands):
    """A table with a row for each point, as pandas would hold it."""
    columns = {name: [] for name in ("feh", "log_age", "m", *THEORY, *bands)}
    for feh in fehs:
        for age in ages:
            one = iso.at(feh, age, bands)
            columns["feh"].append(np.full(len(one), feh))
            columns["log_age"].append(np.full(len(one), age))
            columns["m"].append(one.initial_mass)
            for key in THEORY:
                columns[key].append(getattr(one, key))
            for b, band in enumerate(bands):
                columns[band].append(one.abs_mag[:, b])
    return {name: np.concatenate(parts) for name, parts in columns.items()}


@pytest.fixture(scope="module")
def table(iso):
    return table_of(iso, (-0.25, 0.0, 0.25), (9.4, 9.5, 9.6, 9.7), ("2MASS_J", "TESS"))


@pytest.fixture(scope="module")
def grid(table):
    return psp.read_table(
        table, initial_mass="m", feh="feh", log_age="log_age",
        bands={"2MASS_J": "J", "TESS": "TESS"}, columns=dict(zip(THEORY, THEORY, strict=True)),
        eep_scale="MIST",
    )  # fmt: skip


def test_table_at_a_node_and_between(grid, iso):
    node, truth = grid.at(0.0, 9.5, ["J"]), iso.at(0.0, 9.5, ["2MASS_J"])
    assert_array_equal(node.abs_mag, truth.abs_mag)
    assert_array_equal(node.log_g, truth.log_g)


def test_table_between_nodes(grid, table):
    """Between nodes magnitudes are interpolated, where corrections follow interpolated theory."""
    theory = psp.read_table(
        table, initial_mass="m", feh="feh", log_age="log_age",
        columns=dict(zip(THEORY, THEORY, strict=True)), eep_scale="MIST",
    )  # fmt: skip
    mags, computed = grid.at(0.1, 9.55, ["J"]), theory.at(0.1, 9.55, ["2MASS_J"])
    assert_array_equal(mags.initial_mass, computed.initial_mass)
    used = mags.initial_mass > 0.12
    off = np.abs(mags.abs_mag - computed.abs_mag)[used]
    assert np.quantile(off, 0.95) < 0.01
    assert 0.0 < off.max() < 0.05


@pytest.mark.parametrize("kind", ["pandas", "xarray", "shuffled"])
def test_kinds_of_tables(table, grid, kind):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(table)
    given = frame.to_xarray() if kind == "xarray" else frame
    if kind == "shuffled":
        # Isochrones may be mixed as long as each is in order.
        order = np.argsort(np.tile(np.arange(808), 12), kind="stable")
        given = frame.iloc[order]
    twin = psp.read_table(
        given, initial_mass="m", feh="feh", log_age="log_age",
        bands={"2MASS_J": "J", "TESS": "TESS"}, columns=dict(zip(THEORY, THEORY, strict=True)),
        eep_scale="MIST",
    )  # fmt: skip
    assert twin.fingerprint == grid.fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial_mass": "mass"}, "no column 'mass'"),
        ({"bands": ["K"]}, "no column 'K'"),
        ({"columns": {"eeps": "eep"}}, "columns: expected some of eep, log_g"),
        ({"eep_scale": None}, "eep_scale=None: expected 'MIST', 'BaSTI', or two EEPs"),
        ({"eep_scale": (500, 400)}, "must be the smaller one"),
        ({"log_age": 9.5}, "a second isochrone|EEP 1 follows 808"),
        ({"columns": {"eep": "log_g"}}, "eep must hold whole numbers"),
        ({"log_age_range": (1.0, 2.0)}, "the files have log_age 9.4 to 9.7"),
    ],
)
def test_errors_of_tables(table, changes, message):
    arguments = {
        "initial_mass": "m", "feh": "feh", "log_age": "log_age", "bands": ["TESS"],
        "columns": {"eep": "eep"}, "eep_scale": "MIST",
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        psp.read_table(table, **(arguments | changes))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "expected a mapping of columns, .* got NoneType"),
        ("table.csv", "got str; read a file first"),
        ({"m": [], "V": []}, "column 'm' is empty"),
        ({"m": [0.5, 0.6], "V": [5.0, 4.0 + 1.0j]}, "column 'V' does not hold numbers"),
        ({"m": [0.5, 0.6], "V": [True, False]}, "column 'V' does not hold numbers"),
    ],
)
def test_errors_of_what_is_no_table(given, message):
    with pytest.raises(ValueError, match=message):
        psp.read_table(given, initial_mass="m", feh=0.0, log_age=9.5, bands=["V"])


def test_table_with_a_missing_value(table):
    broken = table | {"TESS": np.where(np.arange(table["TESS"].size) == 7, np.nan, table["TESS"])}
    with pytest.raises(ValueError, match="column 'TESS': row 8 is not a finite number"):
        psp.read_table(broken, initial_mass="m", feh="feh", log_age="log_age", bands=["TESS"])


def test_table_of_theory_alone(table, iso):
    grid = psp.read_table(
        table, initial_mass="m", feh="feh", log_age="log_age",
        columns=dict(zip(THEORY, THEORY, strict=True)), eep_scale="MIST",
    )  # fmt: skip
    expected = iso.at(0.0, 9.5, ["TESS"], av=1.0).abs_mag
    assert_array_equal(grid.at(0.0, 9.5, ["TESS"], av=1.0).abs_mag, expected)
    with pytest.raises(ValueError, match="no T_eff, gravity and luminosity"):
        psp.read_table(table, initial_mass="m", feh="feh", log_age="log_age")


def test_extinction_of_tabulated_bands(grid, iso):
    # The bundle has a band TESS and no band J.
    with pytest.raises(ValueError, match=r"av: the extinction in J is .*=\{'J'"):
        grid.at(0.0, 9.5, ["J"], av=0.1)
    clear = grid.at(0.0, 9.5, ["J", "TESS"]).abs_mag
    bundled = iso._source.photometry
    micron = bundled.wavelength[bundled.bands.index("TESS")]
    red = grid.at(0.0, 9.5, ["TESS"], av=0.7, rv=2.5).abs_mag
    law = ccm89_a(micron) + ccm89_rv_slope(micron) / 2.5
    assert_close(red[:, 0] - clear[:, 1], np.full(len(red), 0.7 * law), "same_formula")
    given = grid.with_extinction({"J": 0.28})
    red = given.at(0.0, 9.5, ["J"], av=2.0).abs_mag
    assert_close(red[:, 0] - clear[:, 0], np.full(len(red), 0.56), "same_formula")
    with pytest.raises(ValueError, match="rv: how the extinction in J depends on R_V is not known"):
        given.at(0.0, 9.5, ["J"], av=2.0, rv=3.0)
    both = grid.with_extinction({"J": 0.28}, {"J": 1.24}).at(0.0, 9.5, ["J"], av=2.0, rv=2.5)
    law = 0.28 + ccm89_rv_slope(1.24) * (1 / 2.5 - 1 / 3.1)
    assert_close(both.abs_mag[:, 0] - clear[:, 0], np.full(len(red), 2.0 * law), "same_formula")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"K": 0.1},), "unknown band 'K'"),
        (({"J": -0.1},), "J: expected a positive number, got -0.1"),
        ((None, {"J": "red"}), "J: expected a positive number, got 'red'"),
    ],
)
def test_errors_of_extinction(grid, arguments, message):
    with pytest.raises(ValueError, match=message):
        grid.with_extinction(*arguments)


def test_extinction_of_corrections_is_their_own(iso):
    with pytest.raises(ValueError, match="2MASS_J: the bolometric corrections hold the extinction"):
        iso.with_extinction({"2MASS_J": 0.28})


def as_array(iso, bands, av=(0.0, 0.5, 1.0, 2.0, 4.0)):
    """The bundled corrections in some bands as a table of a user."""
    table = iso.bolometric(bands)
    powers = np.array(av)[:, None] ** np.arange(4)
    values = np.einsum("ftgbp,vp->ftgvb", table.coefficients, powers)
    return xr.DataArray(
        values,
        coords={
            "feh": table.feh, "log_teff": table.log_teff, "log_g": table.log_g, "av": list(av),
            "band": [f"my {band}" for band in bands],
        },
        dims=("feh", "log_teff", "log_g", "av", "band"),
    )  # fmt: skip


def test_corrections_of_the_user_extend_a_grid(iso):
    bands = ["2MASS_J", "TESS"]
    data = as_array(iso, bands)
    grid = iso.with_bolometric(data.transpose("band", ...), wavelength={"my TESS": 0.75})
    assert grid.bands == (*iso.bands, "my 2MASS_J", "my TESS")
    expected = iso.at(0.1, 9.5, bands, av=1.3).abs_mag
    found = grid.at(0.1, 9.5, ["my TESS", "2MASS_J", "my 2MASS_J"], av=1.3).abs_mag
    assert_allclose(found, expected[:, [1, 0, 0]], atol=1e-9)
    with pytest.raises(ValueError, match=r"rv: .* in my 2MASS_J "):
        grid.at(0.1, 9.5, ["my 2MASS_J"], av=1.3, rv=2.8)
    moved = grid.at(0.1, 9.5, ["my TESS"], av=1.3, rv=2.8).abs_mag[:, 0] - found[:, 0]
    assert_allclose(moved, 1.3 * ccm89_rv_slope(0.75) * (1 / 2.8 - 1 / 3.1), atol=1e-9)
    clear = iso.with_bolometric(data.sel(av=0.0, drop=True).to_dataset(name="bc"))
    assert_allclose(clear.at(0.1, 9.5, ["my TESS"]).abs_mag[:, 0],
                    iso.at(0.1, 9.5, ["TESS"]).abs_mag[:, 0], atol=1e-12)  # fmt: skip
    cat = psp.StarCatalog([[10.0]], [[0.1]], bands=["my TESS"])
    with pytest.raises(ValueError, match="av: the extinction in my TESS is not known"):
        psp.cluster_logp(clear, cat, feh=0.0, log_age=9.5, distance_modulus=1.0, av_scatter=0.1)


def test_corrections_of_the_user_replace_bands(iso):
    data = as_array(iso, ["2MASS_J"]) + 0.5
    data["band"] = ["2MASS_J"]
    grid = iso.with_bolometric(data)
    assert grid.bands == iso.bands
    difference = iso.at(0.1, 9.5, ["2MASS_J"]).abs_mag - grid.at(0.1, 9.5, ["2MASS_J"]).abs_mag
    assert_allclose(difference, 0.5, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.values, "expected an xarray.DataArray .* got ndarray"),
        (lambda d: d.rename(log_g="gravity"), "expected dimensions"),
        (lambda d: d.isel(log_g=slice(None, None, -1)), "log_g must ascend"),
        (lambda d: d.isel(av=slice(1, None)), "av must begin at 0, got 0.5"),
        (lambda d: d.where(d.feh > 0.0), "expected finite values"),
        (lambda d: xr.Dataset({"a": d, "b": d}), "one variable"),
        (lambda d: d.drop_vars("band"), "no coordinate band"),
    ],
)
def test_errors_of_corrections(iso, change, message):
    with pytest.raises(ValueError, match=message):
        iso.with_bolometric(change(as_array(iso, ["TESS"])))


def test_corrections_need_theory():
    table = {"m": [0.1, 0.5, 1.0], "V": [12.0, 8.0, 4.0]}
    grid = psp.read_table(table, initial_mass="m", feh=0.0, log_age=9.5, bands=["V"])
    with pytest.raises(ValueError, match="need log_teff, log_g, log_l, which these"):
        grid.with_bolometric()


def write_bc(path, data, feh):
    """A file of bolometric corrections as MIST has them."""
    part = data.sel(feh=feh)
    bands = [str(band).replace("my ", "") for band in data["band"].values]
    lines = ["# test", "#  1  2", "# Teff logg [Fe/H] Av Rv " + " ".join(bands)]
    for t in part["log_teff"].values:
        for g in part["log_g"].values:
            for v in part["av"].values:
                values = part.sel(log_teff=t, log_g=g, av=v).values
                numbers = [10.0**t, g, feh, v, 3.1, *values]
                lines.append(" ".join(f"{x:.10f}" for x in numbers))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def bc_files(iso, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bc")
    data = as_array(iso, ["2MASS_J", "TESS"], av=(0.0, 1.0, 2.0, 4.0))
    data = data.sel(log_teff=slice(3.4, 3.9), log_g=slice(-1.0, 5.6)).isel(feh=slice(-3, None))
    return [write_bc(folder / f"{feh}", data, float(feh)) for feh in data.feh.values]


def test_files_of_mist_corrections(bc_files, iso):
    table = psp.read_mist_bc(bc_files)
    grid = iso.with_bolometric(table)
    old, new = (g.at(0.25, 9.6, ["TESS"], av=0.8) for g in (iso, grid))
    inside = (new.log_teff > 3.48) & (new.log_teff < 3.85) & (new.log_g < 5.4)
    assert_allclose(new.abs_mag[inside], old.abs_mag[inside], atol=2e-3)
    assert psp.read_mist_bc(bc_files[0], bands=["TESS"]).bands == ("TESS",)


def test_errors_of_mist_corrections(bc_files, tmp_path):
    text = bc_files[0].read_text()
    path = tmp_path / "bc"
    for old, new, line, message in (
        ("# Teff", "# T", 1, "no table of bolometric corrections"),
        ("TESS", "2MASS_J", 3, "different names"),
        (" 3.1000000000 ", " 2.1000000000 ", 3, "no rows of Rv = 3.1"),
    ):
        path.write_text(text.replace(old, new))
        with pytest.raises(psp.IsochroneFileError, match=rf"bc, line {line}: .*{message}"):
            psp.read_mist_bc(path)
    path.write_text("\n".join(text.splitlines()[:-1]) + "\n")
    with pytest.raises(psp.IsochroneFileError, match="line 3: expected a row for each of"):
        psp.read_mist_bc(path)
    with pytest.raises(psp.IsochroneFileError, match=r"a second table of \[Fe/H\]"):
        psp.read_mist_bc([bc_files[0]] * 2)
    with pytest.raises(psp.IsochroneFileError, match="there is no band K"):
        psp.read_mist_bc(bc_files, bands=["K"])
