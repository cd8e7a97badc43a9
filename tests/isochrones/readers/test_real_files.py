"""The real files: header values and 20 spot values, against the raw text read anew."""

import gzip
import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import pymc_starpop as psp
from isochrone_files import BASTI, MIST, PARSEC
from pymc_starpop.isochrones.readers import parse_basti, parse_mist, parse_parsec
from tolerances import assert_close

LOG_AGE_PARSEC = math.log10(12.6e9)


def raw_rows(path, n_column):
    """Fields of the rows that hold as many numbers, by the plainest means."""
    data = path.read_bytes()
    text = gzip.decompress(data).decode() if path.suffix == ".gz" else data.decode()
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return text, [row for row in rows if len(row) == n_column and row[0][0].isdigit()]


def spots(n, rng):
    """First, last, and 18 rows drawn with a seed."""
    return np.unique(np.r_[0, n - 1, rng.choice(np.arange(1, n - 1), 18, replace=False)])


@pytest.fixture(scope="module")
def mist_file(shared_data):
    return shared_data / MIST


def test_mist(mist_file, rng):
    text, rows = raw_rows(mist_file, 16)
    assert "[Fe/H]" in text.splitlines()[4]
    feh = float(text.splitlines()[5].split()[3])
    iso = psp.read_mist([mist_file])
    assert iso.bands == ("DECam_u", "DECam_g", "DECam_r", "DECam_i", "DECam_z", "DECam_Y")
    assert_array_equal(iso.feh, [feh])
    assert_array_equal(iso.log_age, [float(rows[0][1])])
    assert set(iso.system.values()) == {"DECam (AB)"}
    one = iso.at(feh=feh, log_age=iso.log_age[0], bands=iso.bands)
    assert len(one) == len(rows) == 1459
    assert not one.filled.any()
    for k in spots(len(rows), rng):
        value = [float(field) for field in rows[k]]
        assert one.eep[k] == value[0]
        assert_close(one.initial_mass[k], value[2], "same_formula")
        assert_array_equal([one.log_teff[k], one.log_g[k], one.log_l[k]], value[4:7])
        assert_array_equal(one.abs_mag[k], value[9:15])
    (raw,) = parse_mist(mist_file)
    assert raw.header["[a/Fe]"] == 0.0
    assert raw.header["v/vcrit"] == 0.4
    assert raw.header["version"] == "1.1"
    assert_array_equal(raw.phase, [float(row[-1]) for row in rows])


def test_basti(shared_data, rng):
    text, rows = raw_rows(shared_data / BASTI, 8)
    header = next(line for line in text.splitlines() if "Np" in line)
    mh = float(header.split("[M/H] =")[1].split()[0])
    age = float(header.split("Age (Myr) =")[1].split()[0])
    iso = psp.read_basti(shared_data / BASTI)
    assert iso.bands == ("G", "G_BP", "G_RP", "G_RVS")
    assert_array_equal(iso.feh, [mh])
    assert_close(iso.log_age, [math.log10(age * 1e6)], "same_formula")
    assert set(iso.system.values()) == {"GAIA-DR3-NEW"}
    one = iso.at(feh=-0.08, log_age=9.4771, bands=iso.bands)
    assert len(one) == len(rows) == int(header.split("Np =")[1].split()[0])
    assert_array_equal(one.eep, np.arange(1, 2101))
    for k in spots(len(rows), rng):
        value = [float(field) for field in rows[k]]
        assert_close(one.initial_mass[k], value[0], "same_formula")
        assert_array_equal([one.log_l[k], one.log_teff[k]], value[2:4])
        assert_array_equal(one.abs_mag[k], value[4:])
    # Newton and Stefan-Boltzmann with the present mass, in units of the Sun (IAU 2015 B3).
    present = np.array([float(row[1]) for row in rows])
    radius_squared = 10.0**one.log_l / 10.0 ** (4.0 * (one.log_teff - np.log10(5772.0)))
    gravity = 27420.0 * present / radius_squared
    np.testing.assert_allclose(one.log_g, np.log10(gravity), atol=1e-5)
    (raw,) = parse_basti(shared_data / BASTI)
    assert (raw.header["Z"], raw.header["Y"]) == (0.01258, 0.2635)


def test_key_points_of_basti_are_where_the_spacing_of_the_masses_changes(shared_data):
    iso = psp.read_basti(shared_data / BASTI)
    mass = iso.at(-0.08, 9.4771, ["G"]).initial_mass
    changes = np.flatnonzero(np.abs(np.diff(mass, n=2)) > 1e-8) + 2
    assert_array_equal([*changes, 2100], iso._source.scale.key)


def test_parsec(shared_data, rng):
    text, rows = raw_rows(shared_data / PARSEC, 4)
    names = text.splitlines()[0].split()
    iso = psp.read_parsec(shared_data / PARSEC, feh=-2.8, log_age=LOG_AGE_PARSEC)
    assert iso.bands == tuple(names[1:]) == ("F090W", "F150W", "F277W")
    assert_array_equal(iso.feh, [-2.8])
    assert_array_equal(iso.log_age, [LOG_AGE_PARSEC])
    one = iso.at(feh=-2.8, log_age=LOG_AGE_PARSEC, bands=iso.bands)
    assert len(one) == len(rows) == 209
    for k in spots(len(rows), rng):
        value = [float(field) for field in rows[k]]
        assert_close(one.initial_mass[k], value[0], "same_formula")
        assert_array_equal(one.abs_mag[k], value[1:])
    assert np.isnan(one.log_teff).all()
    assert psp.read_parsec(shared_data / PARSEC, mh=-2.8, log_age=10.1).feh[0] == -2.8
    (raw,) = parse_parsec(shared_data / PARSEC, -2.8, LOG_AGE_PARSEC)
    assert len(raw) == 209


def test_stages_of_a_table_without_labels(shared_data):
    """Turn-off, tip of the giants and the horizontal branch of an old, metal-poor isochrone."""
    iso = psp.read_parsec(shared_data / PARSEC, feh=-2.8, log_age=LOG_AGE_PARSEC)
    one = iso.at(-2.8, LOG_AGE_PARSEC, iso.bands)
    tip, helium = iso.flash_eeps
    f150w = one.abs_mag[:, 1]
    assert f150w[helium - 1] - f150w[tip - 1] > 3.0
    assert f150w[tip - 1] == f150w[: helium - 1].min()
    color = one.abs_mag[:, 0] - one.abs_mag[:, 2]
    at = iso.main_sequence_eep - 1
    assert 0.7 < one.initial_mass[at] < 0.78
    assert color[at] == color[:tip][one.initial_mass[:tip] > 0.5].min()


def test_plain_and_gzip_files_are_the_same(mist_file, tmp_path):
    plain = tmp_path / "plain.iso.cmd"
    plain.write_bytes(gzip.decompress(mist_file.read_bytes()))
    assert psp.read_mist(str(plain)).fingerprint == psp.read_mist([mist_file]).fingerprint


@pytest.mark.parametrize("ends", ["\r\n", "\n\n"])
def test_line_ends_do_not_matter(shared_data, tmp_path, ends):
    text = (shared_data / PARSEC).read_text()
    other = tmp_path / "other.txt"
    other.write_bytes(text.replace("\n", ends).encode())
    given = {"feh": -2.8, "log_age": 10.1}
    expected = psp.read_parsec(shared_data / PARSEC, **given)
    assert psp.read_parsec(other, **given).fingerprint == expected.fingerprint
