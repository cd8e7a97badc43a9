"""Files of MATCH and DOLPHOT: real ones of NGC 1978, and written ones."""

import gzip
import warnings

import numpy as np
import pytest

import pymc_starpop as psp

BANDS = ("F555W", "F814W")
OBJECT = (
    "Extension (zero for base image)", "Chip (for three-dimensional FITS image)",
    "Object X position on reference image", "Object Y position on reference image",
    "Chi for fit", "Signal-to-noise", "Object sharpness", "Object roundness",
    "Direction of major axis (if not round)", "Crowding",
    "Object type (1=bright star, 2=faint, 3=elongated, 4=hot pixel, 5=extended)",
)  # fmt: skip
BLOCK = (
    "Normalized count rate", "Normalized count rate uncertainty",
    "Instrumental VEGAMAG magnitude", "Transformed UBVRI magnitude", "Magnitude uncertainty", "Chi",
    "Signal-to-noise", "Sharpness", "Roundness", "Crowding", "Photometry quality flag",
)  # fmt: skip
IMAGES = ("j8ex_1 (ACS_F555W, 300.0 sec)", "j8ex_2 (ACS_F555W, 300.0 sec)",
          "j8ex_3 (ACS_F814W, 200.0 sec)")  # fmt: skip


def describe(path, filters=("ACS_F555W", "ACS_F814W"), images=IMAGES):
    lines = list(OBJECT)
    for name in filters:
        lines += [f"{what}, {name}" for what in ("Total counts", "Total sky level", *BLOCK)]
    for name in images:
        lines += [f"{what}, {name}" for what in ("Measured counts", "Measured sky level", *BLOCK)]
    path.write_text("".join(f"{k}. {line}\n" for k, line in enumerate(lines, 1)))
    return lines


def dolphot_rows(lines, mag, rng, **of_filter):
    """Rows (N, columns) with magnitudes (N, 2) in the blocks of the filters."""
    rows = rng.uniform(0.0, 1.0, (len(mag), len(lines)))
    rows[:, lines.index(OBJECT[-1])] = of_filter.get("kind", 1)
    for k, name in enumerate(("ACS_F555W", "ACS_F814W")):
        values = {
            "Instrumental VEGAMAG magnitude": mag[:, k], "Magnitude uncertainty": 0.02,
            "Signal-to-noise": 40.0, "Sharpness": 0.0, "Crowding": 0.1,
            "Photometry quality flag": 0,
        }  # fmt: skip
        for what, value in values.items():
            given = of_filter.get(what)
            rows[:, lines.index(f"{what}, {name}")] = value if given is None else given[:, k]
    return rows


def test_match_photometry(shared_data):
    cat = psp.read_match_photometry(shared_data / "ngc1978_f555w_f814w.phot.dat.gz", BANDS)
    table = np.loadtxt(shared_data / "ngc1978_f555w_f814w.phot.dat.gz")
    table[table > 90.0] = np.nan
    table = table[np.isfinite(table).any(axis=1)]
    assert np.array_equal(cat.mag, table, equal_nan=True)
    axes = psp.HessAxes(BANDS, "F814W", np.linspace(-0.5, 2.0, 51), np.linspace(17.0, 25.0, 81))
    by_band = dict(zip(BANDS, table.T, strict=True))
    assert np.array_equal(psp.bin_cmd(cat, axes), psp.bin_cmd(by_band, axes))


def test_match_artificial_stars(shared_data):
    path = shared_data / "ngc1978_f555w_f814w.asts.dat.gz"
    with pytest.warns(UserWarning, match="shifts are in - out|not recovered") as caught:
        stars = psp.read_match_artificial_stars(path, BANDS)
    said = [str(w.message) for w in caught]
    assert f"{path}: the lost stars say that the shifts are in - out." in said
    assert len(said) == 2
    assert {w.filename for w in caught} == {__file__}
    table = np.loadtxt(path)
    lost = np.abs(table[:, 2:]) > 9.0
    assert np.array_equal(stars.recovered, ~lost)
    np.testing.assert_allclose(stars.shift[~lost], -table[:, 2:][~lost], atol=1e-9)


@pytest.mark.parametrize(
    ("lost", "sign"),
    [
        (lambda m: m - 99.999, "in - out"),
        (lambda m: 99.999 - m, "out - in"),
    ],
)
def test_sign_of_a_match_file(tmp_path, lost, sign):
    mag = np.random.default_rng(1).uniform(20.0, 27.0, (300, 2))
    factor = 1.0 if sign == "out - in" else -1.0
    shift = np.where(mag > 25.5, lost(mag), factor * 0.02)
    np.savetxt(tmp_path / "fake", np.hstack([mag, shift, mag]), fmt="%.3f")
    with pytest.warns(UserWarning, match=f"shifts are {sign}|not recovered"):
        stars = psp.read_match_artificial_stars(tmp_path / "fake", BANDS)
    np.testing.assert_allclose(stars.shift[stars.recovered], 0.02, atol=1e-9)
    assert stars.recovered.sum() == (mag <= 25.5).sum()


# Shifts of 99.999 itself are written with both signs of the others.
@pytest.mark.parametrize("lost", [0.0, 99.999, 99.99, -99.999])
def test_sign_that_nothing_tells(tmp_path, lost):
    mag = np.random.default_rng(1).uniform(20.0, 27.0, (300, 2))
    np.savetxt(tmp_path / "fake", np.hstack([mag, np.where(mag > 25.5, lost, 0.0)]), fmt="%.3f")
    with pytest.raises(ValueError, match=r"fake: no lost stars tell the sign.*shift_sign="):
        psp.read_match_artificial_stars(tmp_path / "fake", BANDS)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("21.0 20.0 0.1", "line 7: expected 4 columns, got 3"),
        ("21.0 20.0 0.1 x.5", "line 7: column 4 is 'x.5', expected a number"),
        ("21.0 **** 0.1 0.5", r"line 7: column 2 is '\*\*\*\*', expected a number"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_lines(tmp_path, line, words, packed):
    lines = ["# in and shifts", "", *["21.0 20.0 0.1 0.1"] * 4, line, *["21.0 20.0 0.1 0.1"] * 200]
    path = tmp_path / "fake.dat"
    data = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(ValueError, match=f"fake.dat, {words}"):
        psp.read_match_artificial_stars(path, BANDS, shift_sign="out - in")


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        ({"crowding": None}, "crowding must be a number, got None"),
        ({"crowding": "x"}, "crowding must be a number, got 'x'"),
        ({"sharpness": -0.1}, r"sharpness must be a number from 0 up, got -0\.1"),
        ({"sharpness": np.nan}, "sharpness must be a number from 0 up, got nan"),
        ({"object_type": "star"}, "object_type must be whole numbers"),
        ({"bands": 5}, "bands must be distinct names, at least one, got 5"),
    ],
)
def test_cuts_that_are_none(tmp_path, cut, words):
    describe(tmp_path / "field.columns")
    (tmp_path / "field").write_text("1.0 2.0\n")
    with pytest.raises(ValueError, match=words):
        psp.read_dolphot(tmp_path / "field", BANDS, **cut)


def test_arguments_of_match_photometry(tmp_path):
    (tmp_path / "stars").write_text("23.7 22.9\n")
    for bands in (None, 5, []):
        with pytest.raises(ValueError, match="bands must be distinct names"):
            psp.read_match_photometry(tmp_path / "stars", bands)
    with pytest.raises(ValueError, match="mag_err must be a number, got 'x'"):
        psp.read_match_photometry(tmp_path / "stars", BANDS, mag_err="x")


def test_other_faults(tmp_path):
    path = tmp_path / "stars.gz"
    path.write_bytes(gzip.compress(b"21.0 20.0\n" * 5000)[:-30])
    with pytest.raises(ValueError, match=r"stars.gz: the gzip compression is damaged"):
        psp.read_match_photometry(path, BANDS)
    path.write_text("\n# nothing\n")
    with pytest.raises(ValueError, match="holds no stars"):
        psp.read_match_photometry(path, BANDS)
    path.write_text("21.0\n")
    with pytest.raises(ValueError, match="has 1 columns, but 2 are needed"):
        psp.read_match_photometry(path, BANDS)
    path.write_text("99.999 99.999\n")
    with pytest.raises(ValueError, match="no star has a magnitude below 90"):
        psp.read_match_photometry(path, BANDS)
    with pytest.raises(FileNotFoundError):
        psp.read_match_photometry(tmp_path / "other", BANDS)


def test_dolphot(tmp_path):
    rng = np.random.default_rng(2)
    lines = describe(tmp_path / "field.phot.columns")
    mag = rng.uniform(20.0, 26.0, (60, 2))
    mag[5, 0] = 99.999
    others = {
        "Signal-to-noise": rng.uniform(1.0, 30.0, (60, 2)),
        "Sharpness": rng.normal(0.0, 0.2, (60, 2)),
        "Crowding": rng.uniform(0.0, 2.0, (60, 2)),
        "Photometry quality flag": rng.integers(0, 4, (60, 2)),
    }
    kind = rng.integers(1, 6, 60)
    rows = dolphot_rows(lines, mag, rng, kind=kind, **others)
    np.savetxt(tmp_path / "field.phot.gz", rows, fmt="%.6f")
    cuts = {"signal_to_noise": 5.0, "sharpness": 0.3, "crowding": 1.5, "quality_flag": 2}
    cat = psp.read_dolphot(
        tmp_path / "field.phot.gz", BANDS, bands=("V", "I"), object_type=[1, 2], **cuts
    )
    good = (
        (kind <= 2)[:, None] & (mag < 90.0) & (others["Signal-to-noise"] >= 5.0)
        & (np.abs(others["Sharpness"]) <= 0.3) & (others["Crowding"] <= 1.5)
        & (others["Photometry quality flag"] <= 2)
    )  # fmt: skip
    expected = np.where(good, mag, np.nan)[good.any(axis=1)]
    np.testing.assert_allclose(cat.mag, expected, atol=1e-6)
    assert cat.bands == ("V", "I")
    axes = psp.HessAxes(("V", "I"), "I", np.linspace(-8, 8, 5), np.linspace(18, 28, 5))
    assert psp.bin_cmd(cat, axes).sum() == good.all(axis=1).sum()
    with pytest.raises(ValueError, match=r"0 columns are .* of 'F606W'.*ACS_F555W, ACS_F814W"):
        psp.read_dolphot(tmp_path / "field.phot.gz", ["F606W"])
    with pytest.raises(
        ValueError, match=r"none of 60 stars passes the cuts.*signal_to_noise=1000\.0"
    ):
        psp.read_dolphot(tmp_path / "field.phot.gz", BANDS, signal_to_noise=1e3)


def test_dolphot_with_one_image_a_filter(tmp_path):
    rng = np.random.default_rng(3)
    lines = describe(tmp_path / "a.columns", filters=(), images=(IMAGES[0], IMAGES[2]))
    rows = rng.uniform(0.0, 1.0, (30, len(lines)))
    rows[:, 10] = 1
    for image in (IMAGES[0], IMAGES[2]):
        rows[:, lines.index(f"Signal-to-noise, {image}")] = 20.0
    np.savetxt(tmp_path / "a", rows)
    cat = psp.read_dolphot(tmp_path / "a", BANDS)
    column = lines.index(f"Instrumental VEGAMAG magnitude, {IMAGES[2]}")
    np.testing.assert_allclose(cat.mag[:, 1], rows[:, column])


def test_dolphot_artificial_stars(tmp_path):
    rng = np.random.default_rng(4)
    lines = describe(tmp_path / "field.columns")
    mag_in = rng.uniform(20.0, 26.0, (200, 2))
    out = mag_in + 0.05
    out[::5] = 99.999
    quality = {"Crowding": np.where(np.arange(400).reshape(200, 2) % 7 == 0, 3.0, 0.1)}
    rows = dolphot_rows(lines, out, rng, **quality)
    before = rng.uniform(0.0, 1.0, (200, 4 + 2 * len(IMAGES)))
    before[:, 5], before[:, 7], before[:, 9] = mag_in[:, 0], mag_in[:, 0] + 0.3, mag_in[:, 1]
    np.savetxt(tmp_path / "field.fake", np.hstack([before, rows]), fmt="%.4f")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NaN for what fails a cut: nothing to tell
        stars = psp.read_dolphot_artificial_stars(tmp_path / "field.fake", BANDS, crowding=1.0)
    assert np.array_equal(stars.recovered, (out < 90.0) & (quality["Crowding"] < 1.0))
    np.testing.assert_allclose(stars.mag, mag_in, atol=1e-4)
    np.testing.assert_allclose(stars.shift[stars.recovered], 0.05, atol=2e-4)
    np.savetxt(tmp_path / "field.fake", rows)
    with pytest.raises(ValueError, match=r"described \(with 10 of the artificial stars\)"):
        psp.read_dolphot_artificial_stars(tmp_path / "field.fake", BANDS)


def test_description_that_is_none(tmp_path):
    (tmp_path / "a").write_text("1 2 3\n")
    (tmp_path / "a.columns").write_text("1. Extension\nChip\n")
    with pytest.raises(ValueError, match=r"a.columns, line 2: expected a number and a descr"):
        psp.read_dolphot(tmp_path / "a", BANDS)
    (tmp_path / "a.columns").write_text("1. Extension\n2. Chip\n")
    with pytest.raises(ValueError, match="does not describe all columns"):
        psp.read_dolphot(tmp_path / "a", BANDS)


@pytest.mark.parametrize("read", [psp.read_dolphot, psp.read_dolphot_artificial_stars])
def test_description_that_is_missing(tmp_path, read):
    (tmp_path / "field.fake").write_text("1 2 3\n")
    with pytest.raises(FileNotFoundError, match=r"field.columns.*beside the photometry.*columns="):
        read(tmp_path / "field.fake", ["F814W"])


def test_progress_bar(tmp_path, capsys):
    (tmp_path / "stars").write_text("21.0 20.0\n" * 50)
    psp.read_match_photometry(tmp_path / "stars", BANDS)
    assert capsys.readouterr().out == ""
    psp.read_match_photometry(tmp_path / "stars", BANDS, progress=True)
    assert "stars" in capsys.readouterr().out
