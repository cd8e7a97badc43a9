"""Ages and nodes of files of every version, and what is said of other tables."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pymc_starpop as psp
from version_files import AGE, CMD_2_8, CMD_3_0, CMD_3_7, FEH, write


def test_ages_that_are_none_in_years(star, tmp_path):
    path = write(tmp_path / "old.dat", star, CMD_3_0, Age=9.5)
    with pytest.raises(psp.IsochroneFileError, match=r"line 2: Age is 9.5, .* give log_age"):
        psp.read_parsec(path, feh=FEH)
    assert_array_equal(psp.read_parsec(path, feh=FEH, log_age=9.4).log_age, [9.4])
    path = write(tmp_path / "years.dat", star, CMD_3_0)
    with pytest.raises(psp.IsochroneFileError, match=r"log_age was given, but .* a column Age"):
        psp.read_parsec(path, feh=FEH, log_age=9.4)


def test_several_metallicities_without_their_column(star, tmp_path):
    first = write(tmp_path / "a", star, CMD_2_8).read_text()
    second = write(tmp_path / "b", star, CMD_2_8, Z=0.008).read_text().split("\n", 1)[1]
    (tmp_path / "both").write_text(first + second)
    with pytest.raises(psp.IsochroneFileError, match=r"Z is 0.008 here and 0.0152 in the rows"):
        psp.read_parsec(tmp_path / "both", feh=FEH)


@pytest.mark.parametrize("step", [1e-15, 1e-5])
def test_nodes_equal_but_for_rounding_are_one(iso, tmp_path, step):
    names = "feh age m eep V"
    columns = {name: [] for name in names.split()}
    for feh in (-0.25, 0.0):
        for age in (9.5, 9.6):
            one = iso.at(feh, age, ["Bessell_V"])
            columns["m"].append(one.initial_mass)
            columns["V"].append(one.abs_mag[:, 0])
            columns["eep"].append(one.eep)
            # Rounded otherwise in every isochrone, and in every other row.
            wobble = step * (0.4 + 0.4 * (np.arange(len(one)) % 2))
            columns["feh"].append(feh + wobble * (age == 9.6))
            columns["age"].append(age + wobble * (feh == 0.0))
    table = {name: np.concatenate(parts) for name, parts in columns.items()}
    grid = psp.read_table(
        table, initial_mass="m", feh="feh", log_age="age", bands=["V"], columns={"eep": "eep"},
        eep_scale="MIST", log_age_range=(9.5, 9.6),
    )  # fmt: skip
    assert_array_equal(grid.feh, [-0.25, 0.0])
    assert_array_equal(grid.log_age, [9.5, 9.6])
    expected = iso.at(0.0, 9.6, ["Bessell_V"]).abs_mag
    assert_array_equal(grid.at(0.0, 9.6, ["V"]).abs_mag, expected)


def test_rounded_nodes_of_files(star, iso, tmp_path):
    files = [
        write(tmp_path / f"{k}", star, CMD_3_7, logAge=age, MH=mh)
        for k, (age, mh) in enumerate([(9.5, 0.0), (9.600003, 4e-6), (9.5, 0.25), (9.6, 0.25)])
    ]
    grid = psp.read_parsec(files)
    assert_array_equal(grid.log_age, [9.5, 9.6])
    assert_array_equal(grid.feh, [0.0, 0.25])
    twice = write(tmp_path / "twice", star, CMD_3_7, logAge=9.500004, MH=1e-15)
    with pytest.raises(psp.IsochroneFileError, match="a second isochrone"):
        psp.read_parsec([files[0], twice])
    close = write(tmp_path / "close", star, CMD_3_7, logAge=9.50005)
    with pytest.raises(psp.IsochroneFileError, match=r"close, line 2: .* 9.5 and 9.50005 are too"):
        psp.read_parsec([files[0], close])


def test_a_table_saved_by_another_program(star, tmp_path):
    pd = pytest.importorskip("pandas")
    path = write(tmp_path / "saved.csv", star, CMD_3_7, separator=",")
    with pytest.raises(
        psp.IsochroneFileError, match=r"line 1: .*another program saved.*read_table"
    ):
        psp.read_parsec(path)
    frame = pd.read_csv(path)
    frame.to_csv(tmp_path / "index", sep=" ")
    (tmp_path / "string").write_text(frame.to_string())
    for name in ("index", "string"):
        with pytest.raises(
            psp.IsochroneFileError, match=r"line \d: .*their number.*psp.read_table"
        ):
            psp.read_parsec(tmp_path / name)
    grid = psp.read_table(
        frame, initial_mass="Mini", feh="MH", log_age="logAge", bands=["Vmag"],
        columns={"phase": "label"},
    )  # fmt: skip
    assert_allclose(grid.at(FEH, AGE, ["Vmag"]).abs_mag[:, 0], star["V"], atol=1e-7)


def test_present_masses_are_not_initial_ones(star, tmp_path):
    lost = np.where(star["label"] >= 4, 0.9, 1.0) * star["Mini"]
    path = write(tmp_path / "t", star, "Mass V I", Mass=lost)
    with pytest.raises(psp.IsochroneFileError, match=r"line 1: .* present masses \(Mass\) and no"):
        psp.read_parsec(path, feh=FEH, log_age=AGE)
    comment = write(tmp_path / "c", star, "Zini MH logAge Mass Vmag Imag", Mass=lost)
    comment.write_text("# " + comment.read_text())
    with pytest.raises(psp.IsochroneFileError, match=r"line 1: .* present masses \(Mass\) and no"):
        psp.read_parsec(comment)
    # Row by row the loss is small; what tells is the largest mass before.
    slowly = np.minimum(star["Mini"], star["Mini"][-1] * np.linspace(2.0, 0.9, lost.size))
    for masses in (lost, slowly):
        with pytest.raises(
            psp.IsochroneFileError, match=r"these are present masses, .*\(Mini, M_ini\)"
        ):
            psp.read_table(
                {"m": masses, "V": star["V"]}, initial_mass="m", feh=0.0, log_age=9.5, bands=["V"]
            )


@pytest.mark.parametrize(
    "band",
    [
        "F606W",
        "ACS_F814W",
        "JWST_F150W2",
        "HST/WFC3_IR.F110W",
        "F115Wmag",
        "F115W",
        "JWST_F090W",
        "F150W2mag",
    ],
)
def test_unknown_bands_of_space_telescopes(iso, band):
    with pytest.raises(ValueError, match=r"unknown band .*\.with_bolometric\(psp.read_mist_bc"):
        iso.at(FEH, AGE, [band])
    with pytest.raises(ValueError, match="unknown band") as caught:
        iso.at(FEH, AGE, ["2MASS_F"])
    assert "read_mist_bc" not in str(caught.value)


def test_the_remedy_for_missing_magnitudes_catches_all_of_them():
    mag = np.array([[12.0, -999.0], [11.0, 99.99]])
    with pytest.raises(ValueError, match=r"numpy\.where\(.*\)") as caught:
        psp.StarCatalog(mag, np.full(mag.shape, 0.01), bands=["A", "B"])
    remedy = str(caught.value).split("should be NaN: ")[1].rstrip(".")
    mended = eval(remedy, {"numpy": np, "mag": mag})
    cat = psp.StarCatalog(mended, np.full(mag.shape, 0.01), bands=["A", "B"])
    assert_array_equal(np.isnan(cat.mag), [[False, True], [False, True]])
