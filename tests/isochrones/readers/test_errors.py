"""What is wrong with a file is said with its name and line."""

import gzip
import pickle

import numpy as np
import pytest

import pymc_starpop as psp
from isochrone_files import BASTI, MIST, PARSEC
from pymc_starpop.isochrones.readers import parse_mist

READERS = {MIST: psp.read_mist, BASTI: psp.read_basti, PARSEC: psp.read_parsec}
OTHER = {MIST: BASTI, BASTI: PARSEC, PARSEC: MIST}
GIVEN = {MIST: {}, BASTI: {}, PARSEC: {"feh": -2.8, "log_age": 10.1}}
FIRST_ROW = {MIST: 14, BASTI: 9, PARSEC: 2}


@pytest.fixture
def lines(shared_data):
    """Lines of each real file, without their ends."""

    def read(name):
        data = (shared_data / name).read_bytes()
        data = gzip.decompress(data) if name.endswith("gz") else data
        return data.decode().split("\n")

    return read


def fails(tmp_path, name, lines, line, *texts, **given):
    """Write lines, read them, and check what the error says."""
    path = tmp_path / "changed.txt"
    path.write_text("\n".join(lines))
    with pytest.raises(psp.IsochroneFileError) as caught:
        READERS[name](path, **(GIVEN[name] | given))
    message = str(caught.value)
    assert message.startswith(f"{path}, line {line}: ")
    for text in texts:
        assert text in message
    assert caught.value.line == line
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", list(READERS))
def test_empty(tmp_path, name):
    fails(tmp_path, name, ["", "  "], 1, "empty")


@pytest.mark.parametrize("name", list(READERS))
def test_missing_file(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.iso"):
        READERS[name](tmp_path / "nowhere.iso", **GIVEN[name])


@pytest.mark.parametrize("name", list(READERS))
def test_no_files_and_no_names(tmp_path, name):
    with pytest.raises(ValueError, match="paths is empty"):
        READERS[name]([])
    for given, shown in (([3], "3"), (None, "None"), (b"a.iso", "b'a.iso'")):
        with pytest.raises(ValueError, match=f"expected file names, got {shown}"):
            READERS[name](given)
    with pytest.raises(ValueError, match="is a folder; give its files"):
        READERS[name](tmp_path)


@pytest.mark.parametrize("name", list(READERS))
def test_what_editors_put_before_the_first_line(tmp_path, lines, name):
    path = tmp_path / "marked"
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join([*lines(name), ""]).encode("latin-1"))
    assert READERS[name](path, **GIVEN[name]).fingerprint


@pytest.mark.parametrize("name", list(READERS))
def test_one_band_is_a_list_of_one(tmp_path, name):
    with pytest.raises(ValueError, match=r"bands='V': expected several; write \['V'\]"):
        READERS[name](tmp_path, **(GIVEN[name] | {"bands": "V"}))


@pytest.mark.parametrize("name", list(READERS))
def test_a_file_of_another_library(shared_data, name):
    with pytest.raises(psp.IsochroneFileError, match=r", line \d+: this is no "):
        READERS[name](shared_data / OTHER[name], **GIVEN[name])


@pytest.mark.parametrize("name", list(READERS))
def test_a_field_that_is_no_number(tmp_path, lines, name):
    content, row = lines(name), FIRST_ROW[name] + 30
    fields = content[row - 1].split()
    content[row - 1] = " ".join([*fields[:-1], "n.a."])
    fails(tmp_path, name, content, row, "'n.a.'", "expected a finite number")
    content[row - 1] = " ".join([*fields[:-1], "1_0.5"])
    fails(tmp_path, name, content, row, "'1_0.5'", "expected a finite number")
    content[row - 1] = " ".join([*fields[:-1], "NaN"])
    fails(tmp_path, name, content, row, "'NaN'")


@pytest.mark.parametrize("name", list(READERS))
def test_a_row_that_lacks_a_column(tmp_path, lines, name):
    content, row = lines(name), FIRST_ROW[name] + 12
    content[row - 1] = " ".join(content[row - 1].split()[:-1])
    fails(tmp_path, name, content, row, "columns, got")


@pytest.mark.parametrize("name", [MIST, BASTI])
def test_a_missing_row(tmp_path, lines, name):
    content = lines(name)
    del content[FIRST_ROW[name] + 12]
    fails(tmp_path, name, content, len(content) - 1, "promises", "truncated")


@pytest.mark.parametrize("name", list(READERS))
def test_a_last_number_that_lost_digits(tmp_path, lines, name):
    content = lines(name)
    shortened = [*content[:-2], content[-2].rstrip()[:-1]]
    fails(tmp_path, name, shortened, len(shortened), "ends within this line")


@pytest.mark.parametrize(
    ("name", "column", "value", "text"),
    [
        (MIST, 2, "-1.0", "initial_mass is -1"),
        (MIST, 4, "35.5", "log_teff is 35.5"),
        (MIST, 11, "1360.6", "DECam_r is 1360.6"),
        (BASTI, 2, "99.0", "log_l is 99"),
        (PARSEC, 0, "0.0", "initial_mass is 0"),
    ],
)
def test_values_that_no_star_has(tmp_path, lines, name, column, value, text):
    content, row = lines(name), FIRST_ROW[name] + 5
    fields = content[row - 1].split()
    fields[column] = value
    content[row - 1] = " ".join(fields)
    fails(tmp_path, name, content, row, text, "expected")


def test_mist_mixed_ages(tmp_path, lines):
    content, row = lines(MIST), FIRST_ROW[MIST] + 700
    content[row - 1] = content[row - 1].replace(
        "1.0100000000000000E+001", "1.0050000000000000E+001"
    )
    fails(tmp_path, MIST, content, row, "10.05", "10.1", "one age")


def test_mist_eeps_must_ascend(tmp_path, lines):
    content, row = lines(MIST), FIRST_ROW[MIST] + 3
    content[row - 1] = content[row - 2]
    fails(tmp_path, MIST, content, row, "EEP 254 follows 254")


def test_mist_headers(tmp_path, lines):
    content = lines(MIST)
    changed = [line.replace("isochrones =     1", "isochrones =     2") for line in content]
    fails(tmp_path, MIST, changed, len(content) - 1, "1 of the 2 isochrones", "line 8")
    changed = [line.replace("Av =  0.000", "Av =  0.500") for line in content]
    fails(tmp_path, MIST, changed, 9, "Av = 0")
    changed = [line.replace("-2.00", "minus two") for line in content]
    fails(tmp_path, MIST, changed, 6, "[Fe/H]")
    changed = [line.replace("initial_mass", "mass") for line in content]
    fails(tmp_path, MIST, changed, 11, "initial_mass")
    changed = [line.replace("DECam_z", "DECam_i") for line in content]
    fails(tmp_path, MIST, changed, 11, "DECam_i", "twice")


def test_basti_headers(tmp_path, lines):
    content = lines(BASTI)
    changed = [line.replace("3000.000", "three") for line in content]
    fails(tmp_path, BASTI, changed, 5, "Age (Myr)", "three")
    changed = [line.replace("[M/H] =", "") for line in content]
    fails(tmp_path, BASTI, changed, 5, "does not give [M/H]")
    twice = [*content[:-1], *content]
    fails(tmp_path, BASTI, twice, len(content) + 4, "second isochrone", "file of its own")


def test_parsec_without_age_or_metallicity(shared_data):
    for given, lacks in (({}, "feh"), ({"feh": -2.8}, "log_age"), ({"log_age": 10.1}, "feh")):
        with pytest.raises(
            psp.IsochroneFileError, match=f"line 1: .*{lacks}.*as an argument|log_age"
        ):
            psp.read_parsec(shared_data / PARSEC, **given)
    with pytest.raises(ValueError, match="names of the same"):
        psp.read_parsec(shared_data / PARSEC, feh=-2.8, mh=-2.8, log_age=10.1)
    with pytest.raises(ValueError, match="log_age: expected one finite number"):
        psp.read_parsec(shared_data / PARSEC, feh=-2.8, log_age=[10.1, 9.9])


def test_unknown_arguments(shared_data):
    with pytest.raises(TypeError, match=r"unknown argument.*colour"):
        psp.read_mist(shared_data / MIST, colour=1)


@pytest.mark.parametrize("damage", ["header", "middle", "end"])
def test_damaged_gzip(shared_data, tmp_path, damage):
    data = bytearray((shared_data / MIST).read_bytes())
    if damage == "end":
        data = data[: len(data) // 2]
    else:
        data[{"header": 2, "middle": len(data) // 2}[damage]] ^= 0xFF
    path = tmp_path / "damaged.gz"
    path.write_bytes(data)
    with pytest.raises(psp.IsochroneFileError, match=r"damaged\.gz.*gzip"):
        psp.read_mist(path)


def changed_mist(shared_data, path, **changes):
    """A copy of the MIST file with other header values."""
    text = gzip.decompress((shared_data / MIST).read_bytes()).decode()
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def test_files_of_two_systems(shared_data, tmp_path):
    other = changed_mist(
        shared_data, tmp_path / "other.iso.cmd",
        system=("DECam (AB)", "DECam (Vega)"), age=("1.0100000000000000E+001", "9.9"),
    )  # fmt: skip
    with pytest.raises(psp.IsochroneFileError, match=r"other.iso.cmd, line 3: .*DECam \(Vega\)"):
        psp.read_mist([shared_data / MIST, other])


def test_files_of_other_bands(shared_data, tmp_path):
    other = changed_mist(
        shared_data, tmp_path / "other.iso.cmd",
        band=("DECam_z", "DECam_Z"), age=("1.0100000000000000E+001", "9.9"),
    )  # fmt: skip
    with pytest.raises(psp.IsochroneFileError, match=r"other.iso.cmd, line 14: .*DECam_Z"):
        psp.read_mist([shared_data / MIST, other])


def test_the_same_isochrone_twice(shared_data):
    with pytest.raises(psp.IsochroneFileError, match=r"line 14: a second isochrone .* -2 "):
        psp.read_mist([shared_data / MIST] * 2)


def test_holes_in_the_grid(shared_data, tmp_path):
    young = changed_mist(shared_data, tmp_path / "young", age=("1.0100000000000000E+001", "9.9"))
    rich = changed_mist(
        shared_data, tmp_path / "rich", feh=("1.48972E-04    -2.00", "1.48972E-04    -1.75")
    )
    with pytest.raises(psp.IsochroneFileError, match=r"rich, line 14: .* rectangle of 2 .* by 2"):
        psp.read_mist([shared_data / MIST, young, rich])
    iso = psp.read_mist([shared_data / MIST, young, rich], log_age_range=(10.0, 10.2))
    np.testing.assert_array_equal(iso.feh, [-2.0, -1.75])
    with pytest.raises(ValueError, match=r"log_age_range=\(7, 8\): the files have log_age 9\.9"):
        psp.read_mist([shared_data / MIST, young], log_age_range=(7.0, 8.0))


def test_bands_that_a_file_lacks(shared_data):
    iso = psp.read_mist(shared_data / MIST, bands={"DECam_g": "g", "DECam_r": "r"})
    assert iso.bands == ("g", "r")
    with pytest.raises(psp.IsochroneFileError, match="no column DECam_q; there are DECam_u"):
        psp.read_mist(shared_data / MIST, bands=["DECam_q"])
    with pytest.raises(ValueError, match="bands: expected columns with different names"):
        psp.read_mist(shared_data / MIST, bands={"DECam_g": "g", "DECam_r": "g"})


def test_the_error_can_be_pickled(tmp_path):
    path = tmp_path / "no.iso"
    path.write_text("hello\n")
    with pytest.raises(psp.IsochroneFileError) as caught:
        parse_mist(path)
    twin = pickle.loads(pickle.dumps(caught.value))
    assert (str(twin), twin.line, twin.path) == (str(caught.value), 1, str(path))


@pytest.mark.parametrize("mass", ["9.9", "0.05"])
@pytest.mark.parametrize("name", list(READERS))
def test_masses_that_jump(tmp_path, lines, name, mass):
    rows = lines(name)
    row = FIRST_ROW[name] + 60
    fields = rows[row - 1].split()
    fields[{MIST: 2, BASTI: 0, PARSEC: 0}[name]] = mass
    rows[row - 1] = "  ".join(fields)
    path = tmp_path / "changed.txt"
    path.write_text("\n".join(rows))
    with pytest.raises(psp.IsochroneFileError, match=rf"line {row}: .* follows "):
        READERS[name](path, **GIVEN[name])


def test_a_magnitude_that_stands_for_none(tmp_path, lines):
    rows = lines(PARSEC)
    fields = rows[50].split()
    rows[50] = " ".join([*fields[:2], "99.999", fields[3]])
    fails(tmp_path, PARSEC, rows, 51, "stands for no magnitude")


@pytest.mark.parametrize("name", [MIST, BASTI])
def test_a_truncated_gzip_file_names_the_line_where_it_stops(tmp_path, shared_data, name):
    data = (shared_data / name).read_bytes()
    path = tmp_path / "short.gz"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(psp.IsochroneFileError, match="compression is damaged") as caught:
        READERS[name](path)
    n_line = gzip.decompress(data).count(b"\n")
    assert 0.2 * n_line < caught.value.line < 0.8 * n_line
