"""What the headers of files say of extinction and physics: one grid, one kind of models."""

import re

import numpy as np
import pytest

import pymc_starpop as psp
from isochrone_files import BASTI, write_mist
from version_files import BANDS, CMD_3_7, basti_file, mist_files, without, write

ATTENTION = (
    "Attention: photometry includes extinction of Av={}, with coefficients derived for the Sun, "
    "for Cardelli et al 89 + O'Donnell 94 Rv=3.1 extinction curve."
)


def test_extinction_of_cmd_is_refused(star, tmp_path):
    clear = write(tmp_path / "clear", star, CMD_3_7, ["CMD 3.9", ATTENTION.format("0")])
    assert psp.read_parsec(clear).log_age.size == 1
    red = write(tmp_path / "red", star, CMD_3_7, ["CMD 3.9", ATTENTION.format("0.5")], logAge=9.6)
    for files in (red, [clear, red]):
        with pytest.raises(psp.IsochroneFileError, match=r"red, line 2: .* Av = 0.5; download"):
            psp.read_parsec(files)
    damaged = write(tmp_path / "damaged", star, CMD_3_7, [ATTENTION.format("*****")])
    with pytest.raises(psp.IsochroneFileError, match=r"line 1: Av is '\*\*\*\*\*'"):
        psp.read_parsec(damaged)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("Attention: photometry includes extinction of <i>A<sub>V</sub></i>=0.5, with coefficients",
         "Av = 0.5"),
        ("photometry includes extinction of A(V)=0.45", "Av = 0.45"),
        ("Photometry includes extinction: Av=0.45", "Av = 0.45"),
        ("Interstellar extinction Av= 0.45", "Av = 0.45"),
        ("Photometry includes extinction of A_V = 0.45 mag", "Av = 0.45"),
        ("photometry includes extinction of A_{V} of 0.45", "Av = 0.45"),
        ("Photometry includes extinction of Av=-0.1", "Av = -0.1"),
        ("Av =  0.500", "Av = 0.5"),
        ("extinction Av =", "Av is ''"),
        ("EXTINCTION OF AV = half", "Av is 'half'"),
        ("photometry includes extinction of 0.45 mag", "does not say how much extinction"),
        ("reddened photometry", "does not say how much extinction"),
    ],
)  # fmt: skip
def test_extinction_in_any_words_is_refused(star, iso, shared_data, tmp_path, words, says):
    message = rf"red, line 2: .*{says}"
    red = write(tmp_path / "red", star, CMD_3_7, ["CMD 3.9", words])
    with pytest.raises(psp.IsochroneFileError, match=message):
        psp.read_parsec(red)
    head, *rest = mist_files(iso, tmp_path)[0].read_text().split("\n")
    red.write_text("\n".join([head, f"# {words}", *rest]))
    with pytest.raises(psp.IsochroneFileError, match=message):
        psp.read_mist(red)
    basti_file(shared_data, red)
    red.write_text(f"#\n# {words}\n" + red.read_text())
    with pytest.raises(psp.IsochroneFileError, match=message):
        psp.read_basti(red)


@pytest.mark.parametrize(
    "words",
    [
        "Photometry includes extinction of Av=0.0.", "CCM89 extinction: Av =  0.000",
        "extinction of <i>A<sub>V</sub></i>=0, with coefficients", "magnitudes without extinction",
        "no interstellar extinction", "Extinction is not included (A_V scale of the Sun)",
        "Av = 0.0 mag", "Rv = 3.1; averages of available bands",
    ],
)  # fmt: skip
def test_no_extinction_in_any_words_is_read(star, iso, tmp_path, words):
    clear = write(tmp_path / "clear", star, CMD_3_7, ["CMD 3.9", words])
    assert psp.read_parsec(clear).log_age.size == 1
    head, *rest = mist_files(iso, tmp_path)[0].read_text().split("\n")
    clear.write_text("\n".join([head, f"# {words}", *rest]))
    assert psp.read_mist(clear).bands == BANDS


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ("isochrones based on PARSEC release v1.2S", "isochrones based on PARSEC release v2.0",
         "release of the models"),
        ("On RGB, assumed Reimers mass loss with efficiency eta=0.2",
         "On RGB, assumed Reimers mass loss with efficiency eta=0.4", "mass loss"),
        ("Using YBC version of bolometric corrections as in Chen et al. (2019)",
         "Using OBC version of bolometric corrections", "bolometric corrections"),
        ("C-rich circumstellar dust ignored", "C-rich circumstellar dust: 85% AMC + 15% SiC",
         "dust of C-rich stars"),
    ],
)  # fmt: skip
def test_other_physics_of_parsec(star, tmp_path, one, other, names):
    files = [
        write(tmp_path / f"{k}", star, CMD_3_7, ["CMD", text], logAge=9.5 + 0.1 * k)
        for k, text in enumerate((one, other, one))
    ]
    with pytest.raises(psp.IsochroneFileError) as caught:
        psp.read_parsec(files)
    text = str(caught.value)
    assert text.startswith(f"{files[1]}, line 2: other physics: {names} is {other!r}")
    assert f"{one!r} in {files[0]}, line 2" in text
    assert psp.read_parsec(files[::2]).log_age.size == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.00 0.40", "0.40 0.40", r"line 5: other physics: \[a/Fe\] is '0.4', but '0' in "),
        ("0.00 0.40", "0.00 0.00", "line 5: other physics: v/vcrit is '0', but '0.4' in .* line 5"),
        ("= 2.5", "= 1.2", "line 1: other physics: version is '1.2', but '2.5' in .* line 1"),
        ("7503", "9793", "line 2: other physics: MESA revision is '9793', but '7503' in .* line 2"),
        ("# 0.27", "# 0.40", r"Yinit of \[Fe/H\] = 0 is '0.4', but '0.27'"),
        ("Test (Vega)", "Test (AB)", "line 3: the photometric system is"),
    ],
)
def test_other_physics_of_mist(iso, tmp_path, old, new, message):
    with pytest.raises(psp.IsochroneFileError, match=message):
        psp.read_mist(mist_files(iso, tmp_path, change=(old, new)))


@pytest.mark.parametrize("lacking", [0, 1])
@pytest.mark.parametrize("words", ["MIST version number", "MESA revision number"])
def test_a_header_of_mist_that_does_not_say(iso, tmp_path, words, lacking):
    paths = mist_files(iso, tmp_path)
    without(paths[lacking], words)
    says, silent = paths[1 - lacking], paths[lacking]
    with pytest.raises(psp.IsochroneFileError) as caught:
        psp.read_mist(paths)
    text = str(caught.value)
    assert re.search(
        rf"{says}, line \d, says that .* is '[0-9.]+', but {silent} does not say", text
    )
    without(says, words)
    assert psp.read_mist(paths).log_age.size == 2


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_header_of_parsec_that_does_not_say(star, tmp_path, lacking):
    words = [["CMD", "isochrones based on PARSEC release v2.0"]] * 2
    words[lacking] = ["CMD"]
    files = [
        write(tmp_path / f"{k}", star, CMD_3_7, words[k], logAge=9.5 + 0.1 * k) for k in range(2)
    ]
    silent, says = files[lacking], files[1 - lacking]
    with pytest.raises(
        psp.IsochroneFileError,
        match=rf"{silent}, line \d: .* {says}, line 2, says that release of the models is "
        rf"'isochrones based on PARSEC release v2.0', but {silent} does not say",
    ):
        psp.read_parsec(files)


def test_a_header_that_does_not_say_its_system(iso, tmp_path):
    paths = mist_files(iso, tmp_path)
    without(paths[1], "photometric system")
    message = rf"{paths[1]}, line \d+: .* system is not given, that of {paths[0]} is 'Te"
    with pytest.raises(psp.IsochroneFileError, match=message):
        psp.read_mist(paths)


def test_helium_is_compared_at_equal_metallicity_only(iso, tmp_path):
    poor = write_mist(tmp_path / "poor", iso, -0.25, [9.5], BANDS)
    poor.write_text(poor.read_text().replace("# 0.27", "# 0.25"))
    rich = write_mist(tmp_path / "rich", iso, 0.0, [9.5], BANDS)
    assert psp.read_mist([poor, rich]).feh.size == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Scaled solar", "Alpha enhanced",
         "line 2: other physics: mixture is 'Alpha enhanced models', but 'Scaled solar models'"),
        ("Y = 0.26350000", "Y = 0.30000000", r"line 5: .* Y of \[M/H\] = -0.08 is '0.3', but"),
    ],
)  # fmt: skip
def test_other_physics_of_basti(shared_data, tmp_path, old, new, message):
    other = basti_file(shared_data, tmp_path / "b", change=(old, new), age=("3000.000", "4000.000"))
    with pytest.raises(psp.IsochroneFileError, match=message):
        psp.read_basti([shared_data / BASTI, other])


def test_basti_serves_bolometric_corrections(shared_data):
    grid = psp.read_basti(shared_data / BASTI, bands=["G"]).with_bolometric()
    one = grid.at(-0.08, 9.4771, ["G", "Gaia_G_EDR3"], av=0.0)
    dwarfs = (one.initial_mass > 0.6) & (one.eep < 420)
    assert np.abs(one.abs_mag[dwarfs, 0] - one.abs_mag[dwarfs, 1]).max() < 0.1
