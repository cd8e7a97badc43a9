"""Columns of files of every version: theory by its names, magnitudes by choice."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pymc_starpop as psp
from isochrone_files import BASTI, write_mist
from pymc_starpop.isochrones.readers.theory_names import is_theory, refused_as_band
from version_files import (
    AGE,
    BANDS,
    CMD_2_1,
    CMD_2_8,
    CMD_3_0,
    CMD_3_7,
    FEH,
    PADOVA_2002,
    PLAIN,
    basti_file,
    mist_files,
    without,
    write,
)


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
    without(path, "photometric system")
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
