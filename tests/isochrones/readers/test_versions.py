"""Files of every version of the libraries: their columns by name, and what their headers say."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pymc_starpop as psp
from isochrone_files import BASTI, write_mist
from pymc_starpop.isochrones.readers.theory_names import is_theory, refused_as_band

BANDS = ("Bessell_V", "Bessell_I")
FEH, AGE = 0.0, 9.5
# Values of columns that are no magnitudes: most could not be one.
OTHER = {
    "int_IMF": 2.1, "M_hec": 0.0, "C/O": 0.55, "C_O": 0.55, "McoreTP": 0.0, "period": 0.0,
    "period0": 300.0, "period1": 150.0, "pmode": -1, "logMdot": -33.0, "Mloss": 0.0, "tau1m": 0.0,
    "X": 0.7, "Y": 0.28, "Xc": 0.002, "Xn": 0.0007, "Xo": 0.006, "Cexcess": -1.0, "flum": -0.5,
    "Flum": -0.5, "logR": -0.2, "mbol": 4.7, "Mbol": 4.7, "mbolmag": 4.7, "Zini": 0.0152,
    "Z": 0.0152, "MH": FEH, "[M/H]": FEH,
}  # fmt: skip
CMD_3_7 = (
    "Zini MH logAge Mini int_IMF Mass logL logTe logg label McoreTP C_O period0 period1 pmode "
    "Mloss tau1m X Y Xc Xn Xo Cexcess Z mbolmag Vmag Imag"
)
CMD_3_0 = (
    "Zini Age Mini Mass logL logTe logg label McoreTP C_O period0 period1 pmode Mloss tau1m X Y Xc "
    "Xn Xo Cexcess Z mbolmag Vmag Imag"
)
CMD_2_8 = (
    "Z log(age/yr) M_ini M_act logL/Lo logTe logG mbol V I C/O M_hec period pmode logMdot int_IMF "
    "stage"
)
CMD_2_1 = "log(age/yr) M_ini M_act logL/Lo logTe logG mbol V I C/O M_hec period pmode logMdot"
PADOVA_2002 = "log(age/yr) M_ini M_act logL/Lo logTe logG Mbol V I Flum"
PLAIN = "m_ini age logR Teff logL V I"


@pytest.fixture(scope="module")
def star(iso):
    """One isochrone, without the rows between the flash and the horizontal branch."""
    one = iso.at(FEH, AGE, BANDS)
    keep = (one.initial_mass > 0.1) & ((one.eep <= 605) | (one.eep >= 631))
    keep[1:] &= np.diff(one.initial_mass) > 0.0
    label = np.select([one.eep < 454, one.eep < 490, one.eep <= 605, one.eep <= 707], [1, 2, 3, 4])
    mass = one.initial_mass
    columns = {
        **dict.fromkeys(("Mini", "M_ini", "m_ini", "Mass", "M_act"), mass),
        **dict.fromkeys(("logL", "logL/Lo"), one.log_l), "logTe": one.log_teff,
        **dict.fromkeys(("logg", "logG"), one.log_g), "Teff": 10.0**one.log_teff,
        **dict.fromkeys(("label", "stage"), np.where(label == 0, 7, label)),
        **dict.fromkeys(("V", "Vmag"), one.abs_mag[:, 0]),
        **dict.fromkeys(("I", "Imag"), one.abs_mag[:, 1]),
        **dict.fromkeys(("logAge", "log(age/yr)"), np.full(mass.size, AGE)),
        **dict.fromkeys(("Age", "age"), np.full(mass.size, 10.0**AGE)),
    }  # fmt: skip
    columns |= {name: np.full(mass.size, value) for name, value in OTHER.items()}
    return {name: values[keep] for name, values in columns.items()}


def write(path, star, names, comments=(), separator=" ", **changes):
    columns = star | {name: np.broadcast_to(v, star["Mini"].shape) for name, v in changes.items()}
    names = names.split()
    lines = [f"# {text}" for text in comments] + [separator.join(names)]
    for row in zip(*(columns[name] for name in names), strict=True):
        lines.append(separator.join(f"{value:.9g}" for value in row))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("names", "given", "bands"),
    [
        (CMD_3_7, {}, ("mbolmag", "Vmag", "Imag")),
        (CMD_3_0, {"feh": FEH}, ("mbolmag", "Vmag", "Imag")),
        (CMD_2_8, {"feh": FEH}, ("mbol", "V", "I")),
        (CMD_2_1, {"feh": FEH}, ("mbol", "V", "I")),
        (PADOVA_2002, {"feh": FEH}, ("Mbol", "V", "I")),
        (PLAIN, {"feh": FEH}, ("V", "I")),
    ],
)
def test_columns_of_every_version_of_cmd(star, tmp_path, names, given, bands):
    grid = psp.read_parsec(write(tmp_path / "cmd.dat", star, names), **given)
    assert grid.bands == bands
    assert_allclose(grid.log_age, [AGE], atol=1e-8)
    one = grid.at(FEH, AGE, bands)
    assert_allclose(one.initial_mass, star["Mini"], rtol=1e-8)
    assert_allclose(one.abs_mag[:, -2:], np.column_stack([star["V"], star["I"]]), atol=1e-7)
    assert grid.has_column("log_g") == ("logTe" in names)


def test_a_gravity_follows_from_mass_luminosity_and_temperature(star, tmp_path):
    names = CMD_2_8.replace(" logG", "")
    grid = psp.read_parsec(write(tmp_path / "cmd.dat", star, names), feh=FEH)
    # Its present masses are the initial ones, from which giants differ; L_sun of MIST is another.
    dwarfs = star["label"] < 3
    assert_allclose(grid.at(FEH, AGE, ["V"]).log_g[dwarfs], star["logG"][dwarfs], atol=2e-3)
    both = grid.with_bolometric().at(FEH, AGE, ["V", "Bessell_V"]).abs_mag[dwarfs]
    assert_allclose(both[:, 0], both[:, 1], atol=1e-3)


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


def test_only_chosen_bands_are_read_and_checked(star, tmp_path):
    path = write(tmp_path / "cmd.dat", star, CMD_2_8 + " X flux ratio", X=0.7, flux=1e9, ratio=0.55)
    with pytest.raises(psp.IsochroneFileError, match=r"flux is 1e\+09, .* bands=\[...\]"):
        psp.read_parsec(path, feh=FEH)
    grid = psp.read_parsec(path, feh=FEH, bands={"I": "Bessell_I", "ratio": "own"})
    assert grid.bands == ("Bessell_I", "own")
    assert_array_equal(np.unique(grid.at(FEH, AGE, ["own"]).abs_mag), [0.55])
    with pytest.raises(psp.IsochroneFileError, match=r"line 1: there is no column K; there are"):
        psp.read_parsec(path, feh=FEH, bands=["K"])


# Spellings of theory, what the reader takes them for, and the value in a table.
SPELLINGS = {
    "log_teff": ["logte", "log_Te", "log10Teff", "log10(Teff/K)", "LOGTEFF", "log-teff",
                 "log_Teff_K"],
    "log_l": ["logl", "log10L", "logL/Lsun", "log(L/Lo)", "log_L", "logLLo"],
    "log_g": ["LogG", "log_g(cgs)", "log10g", "log(g)"],
    "log_age": ["log_age_yr", "logAge(yr)", "log_Age", "logageyr", "log10(age)", "log(age/yr)"],
    "age": ["Age(yr)", "age_yr", "AGE"],
    "mass": ["Mact", "M_act(Msun)", "MASS"],
    "initial_mass": ["mini", "M_Ini", "Mini(Msun)", "MassInitial"],
    None: ["Teff_K", "Age_Gyr", "agegyr", "log_t", "log_age_gyr", "Period2", "c_core_mass",
           "logRad",
           "log_R", "MDOT", "[Fe/H]_init", "feh", "Xc"],
}  # fmt: skip
COLUMN_OF = {
    "log_teff": "logTe", "log_l": "logL", "log_g": "logG", "log_age": "logAge", "age": "Age",
    "mass": "Mass", "initial_mass": "Mini", None: "Mini",
}  # fmt: skip


@pytest.mark.parametrize(
    ("meaning", "name"), [(key, name) for key, names in SPELLINGS.items() for name in names]
)
def test_theory_in_other_spellings_is_no_band(star, tmp_path, meaning, name):
    columns = star | {name: star[COLUMN_OF[meaning]]}
    first = name if meaning == "initial_mass" else f"m_ini {name}"
    given = {"feh": FEH} if meaning in ("age", "log_age") else {"feh": FEH, "log_age": AGE}
    path = write(tmp_path / "plain", columns, first + " V I")
    grid = psp.read_parsec(path, **given)
    assert grid.bands == ("V", "I")
    assert_allclose(grid.log_age, [AGE], atol=1e-8)
    one = grid.at(FEH, AGE, ["V"])
    assert_allclose(one.initial_mass, star["Mini"], rtol=1e-8)
    for key in ("log_teff", "log_l", "log_g"):
        assert grid.has_column(key) == (meaning == key)
    if grid.has_column("log_teff"):
        assert_allclose(one.log_teff, star["logTe"], rtol=1e-8)
    with pytest.raises(psp.IsochroneFileError, match="is theory, no magnitude; leave it out of"):
        psp.read_parsec(path, **given, bands=["V", name])
    with pytest.raises(ValueError, match=r"bands: .* is theory, no magnitude"):
        psp.read_table(columns, initial_mass="m_ini", feh=0.0, log_age=9.5, bands=["V", name])


def test_theory_is_no_band_of_mist_and_basti(shared_data, iso, tmp_path):
    with pytest.raises(psp.IsochroneFileError, match=r"log_L is theory, .* There are Bessell_V"):
        psp.read_mist(mist_files(iso, tmp_path)[0], bands=["Bessell_V", "log_L"])
    with pytest.raises(psp.IsochroneFileError, match=r"M/Mo\(fin\), logTe is theory"):
        psp.read_basti(shared_data / BASTI, bands=["G", "M/Mo(fin)", "logTe"])


# Bands of the tables of the CMD web page in all versions, and of MIST.
CMD_BANDS = (
    "U B V R I J H K Mu Mb Mv Mr Mi Mj Mh Mk mbol Mbol mbolmag u g r i z y Y Ks Gmag G_BPmag "
    "G_RPmag umag F275W1mag TESSmag J H Z W1 W2 Kp M T1 C DDO51 Te1 CO1 L N Q F606W G BP RP GRVS "
    "c1 m1 by "
)
MIST_BANDS = (
    "Bessell_U 2MASS_J 2MASS_H 2MASS_Ks Gaia_G_EDR3 Gaia_BP_MAW Gaia_RP_MAW TESS Kepler_Kp "
    "Kepler_D51 Hipparcos_Hp Tycho_B Tycho_V DECam_u DECam_g DECam_Y WISE_W1 PS_open PS_w LSST_y "
    "SDSS_z IRAC_3.6 CFHT_i_new HSC_Y UVIT_F148W UKIDSS_K UKIDSS_Z VISTA_Ks SkyMapper_v "
    "Stromgren_u Washington_C ACS_WFC_F606W WFC3_UVIS_F336W WFPC2_F814W F090W F150W2 WFIRST_Z087 "
    "Euclid_VIS bolometric M_K M_H "
)


def test_no_band_is_taken_for_theory(iso):
    names = [*iso.bands, *CMD_BANDS.split(), *MIST_BANDS.split()]
    assert [name for name in names if is_theory(name) and name != "Z"] == []
    # Z was the metallicity in output of CMD 2: a band only for who says so.
    assert not any(refused_as_band(name, names) for name in names)


def test_a_comment_on_masses_names_no_columns(star, tmp_path):
    path = write(
        tmp_path / "plain", star, "mini V I", ["initial-mass: 0.1 to 1.5"], mini=star["Mini"]
    )
    grid = psp.read_parsec(path, feh=FEH, log_age=AGE)
    assert_allclose(grid.at(FEH, AGE, ["V"]).initial_mass, star["Mini"], rtol=1e-8)


@pytest.mark.parametrize("text", ["nan", "****", "inf", "-1.5_E"])
def test_only_chosen_bands_must_be_numbers(star, iso, shared_data, tmp_path, text):
    path = write(tmp_path / "cmd.dat", star, CMD_3_7)
    lines = path.read_text().split("\n")
    mist, _ = mist_files(iso, tmp_path)
    basti = basti_file(shared_data, tmp_path / "basti")
    for file, read, column, name, other in (
        (path, psp.read_parsec, -2, "Vmag", "Imag"),
        (mist, psp.read_mist, 7, "Bessell_V", "Bessell_I"),
        (basti, psp.read_basti, 4, "G", "G_BP"),
    ):
        lines = file.read_text().split("\n")
        truth = read(file, bands=[other])
        rows = [k for k, line in enumerate(lines) if line.strip()[:1].isdigit()]
        for k in rows[5::7]:
            fields = lines[k].split()
            fields[column] = text
            lines[k] = " ".join(fields)
        file.write_text("\n".join(lines))
        message = rf"line {rows[5] + 1}: {name} is '{re.escape(text)}', expected a finite number; "
        with pytest.raises(psp.IsochroneFileError, match=message + r".* bands=\[...\]"):
            read(file)
        grid = read(file, bands=[other])
        assert grid.bands == (other,)
        node = float(grid.feh[0]), float(grid.log_age[0]), grid.bands
        assert_array_equal(grid.at(*node).abs_mag, truth.at(*node).abs_mag)


def test_theory_that_is_not_used_need_not_be_numbers(star, tmp_path):
    path = write(tmp_path / "cmd.dat", star, CMD_2_8, **{"logMdot": np.nan, "C/O": np.inf})
    assert psp.read_parsec(path, feh=FEH).bands == ("mbol", "V", "I")
    path = write(tmp_path / "cmd.dat", star, CMD_2_8, logTe=np.nan)
    with pytest.raises(psp.IsochroneFileError, match="line 2: logTe is 'nan', expected a finite"):
        psp.read_parsec(path, feh=FEH)


def test_files_with_other_columns_join_in_chosen_bands(star, tmp_path):
    old = write(tmp_path / "old", star, CMD_2_8)
    plain = write(tmp_path / "two", star, "log(age/yr) M_ini V I stage", **{"log(age/yr)": 9.6})
    with pytest.raises(psp.IsochroneFileError, match="the bands are"):
        psp.read_parsec([old, plain], feh=FEH)
    grid = psp.read_parsec([old, plain], feh=FEH, bands=["V", "I"])
    assert_allclose(grid.log_age, [9.5, 9.6])
    # Theory that one file lacks is left out of the grid.
    assert not grid.has_column("log_teff")
    assert np.isnan(grid.theory[..., 1:]).all()
    assert np.isfinite(grid.at(FEH, 9.55, ["V", "I"]).abs_mag).all()


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


def mist_files(iso, folder, **changes):
    """Two files of MIST, the second with other words in its header."""
    paths = [
        write_mist(folder / f"{k}.iso.cmd", iso, FEH, [9.5 + 0.1 * k], BANDS) for k in range(2)
    ]
    text = paths[1].read_text()
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    paths[1].write_text(text)
    return paths


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


def test_mist_1_0_has_no_column_of_metallicity(iso, tmp_path):
    """Its magnitudes are those of the file, and the mass fraction of metals is no band."""
    (path, _) = mist_files(iso, tmp_path)
    path.write_text(path.read_text().replace("log_L [Fe/H]", "log_L Z_surf"))
    grid = psp.read_mist(path)
    assert grid.bands == BANDS
    lines = [line for line in path.read_text().splitlines() if line[:1].isdigit()]
    magnitudes = [[float(field) for field in line.split()[7:9]] for line in lines]
    assert_array_equal(grid.at(FEH, 9.5, BANDS).abs_mag, magnitudes)
    assert set(grid.system.values()) == {"Test (Vega)"}


@pytest.mark.parametrize("metals", ["Z_surf", "star_mass"])
def test_magnitudes_of_mist_without_a_word_of_them_in_the_header(iso, tmp_path, metals):
    (path, _) = mist_files(iso, tmp_path)
    path.write_text(path.read_text().replace("log_L [Fe/H]", f"log_L {metals}"))
    truth = psp.read_mist(path).at(FEH, 9.5, BANDS).abs_mag
    _without(path, "photometric system")
    grid = psp.read_mist(path)
    assert grid.bands == BANDS
    assert_array_equal(grid.at(FEH, 9.5, BANDS).abs_mag, truth)
    assert psp.read_mist(path, bands=["Bessell_I"]).bands == ("Bessell_I",)


# Columns as in full ``.iso`` files of MIST.
ISO_COLUMNS = """star_mass star_mdot he_core_mass c_core_mass o_core_mass log_L_div_Ledd
log_LH log_LHe log_LZ log_abs_Lgrav log_R log_surf_z surf_avg_omega surf_avg_v_rot
surf_num_c12_div_num_o16
v_wind_Km_per_s surf_avg_omega_crit surf_avg_omega_div_omega_crit surf_avg_v_div_v_crit
surf_avg_Lrad_div_Ledd v_div_csound_surf surf_r_polar_div_r total_angular_momentum surface_h1
surface_he3 surface_li7 surface_fe56 log_center_T log_center_Rho center_degeneracy center_omega
center_gamma mass_conv_core center_h1 center_si28 pp cno tri_alfa burn_c burn_o c12_c12 delta_nu
delta_Pg nu_max acoustic_cutoff max_conv_vel_div_csound max_gradT_div_grada gradT_excess_alpha
min_Pgas_div_P max_L_rad_div_Ledd e_thermal"""


def test_theory_of_mist_is_no_band(iso, tmp_path):
    path = write_mist(tmp_path / "m.iso", iso, FEH, [9.5], ["2MASS_J"], magnitudes=False)
    more = ISO_COLUMNS.split()
    lines = path.read_text().split("\n")
    for k, line in enumerate(lines):
        if line[:1].isdigit():
            lines[k] = line + " 1.0" * len(more)
        elif line.startswith("# EEP"):
            lines[k] = " ".join([line, *more])
        elif line.startswith("# number of EEPs"):
            lines[k] = line.replace(" 7", f" {7 + len(more)}")
    path.write_text("\n".join(lines))
    assert psp.read_mist(path).bands == iso.bands


def test_mist_checks_only_chosen_bands(iso, tmp_path):
    (path, _) = mist_files(iso, tmp_path)
    lines = path.read_text().splitlines()
    for k, line in enumerate(lines):
        if line[:1].isdigit():
            fields = line.split()
            lines[k] = " ".join([*fields[:7], "-999.0", *fields[8:]])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(psp.IsochroneFileError, match=r"Bessell_V is -999.* abs\(Bessell_V\) >= 99"):
        psp.read_mist(path)
    assert psp.read_mist(path, bands=["Bessell_I"]).bands == ("Bessell_I",)


@pytest.mark.parametrize("lacking", [0, 1])
@pytest.mark.parametrize("words", ["MIST version number", "MESA revision number"])
def test_a_header_of_mist_that_does_not_say(iso, tmp_path, words, lacking):
    paths = mist_files(iso, tmp_path)
    _without(paths[lacking], words)
    says, silent = paths[1 - lacking], paths[lacking]
    with pytest.raises(psp.IsochroneFileError) as caught:
        psp.read_mist(paths)
    text = str(caught.value)
    assert re.search(
        rf"{says}, line \d, says that .* is '[0-9.]+', but {silent} does not say", text
    )
    _without(says, words)
    assert psp.read_mist(paths).log_age.size == 2


def _without(path, words):
    kept = [line for line in path.read_text().split("\n") if words not in line]
    path.write_text("\n".join(kept))


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


def test_helium_is_compared_at_equal_metallicity_only(iso, tmp_path):
    poor = write_mist(tmp_path / "poor", iso, -0.25, [9.5], BANDS)
    poor.write_text(poor.read_text().replace("# 0.27", "# 0.25"))
    rich = write_mist(tmp_path / "rich", iso, 0.0, [9.5], BANDS)
    assert psp.read_mist([poor, rich]).feh.size == 2


def basti_file(shared_data, path, **changes):
    import gzip

    text = gzip.decompress((shared_data / BASTI).read_bytes()).decode("latin-1")
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


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
