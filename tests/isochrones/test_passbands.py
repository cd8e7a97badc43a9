import sys
import types

import numpy as np
import pytest

import pymc_starpop as psp
from pymc_starpop.isochrones import passbands

# Mean wavelengths in micron, weighted by the throughput for photons, from sources other than the
# package that is tested.
PUBLISHED = {
    # SVO Filter Profile Service, lambda_mean of GAIA/GAIA3: passbands of Riello et al. (2021, A&A
    # 649, A3), CDS J/A+A/649/A3.
    "GAIA/GAIA3.G": 0.639021,
    "GAIA/GAIA3.Gbp": 0.518258,
    "GAIA/GAIA3.Grp": 0.782508,
    # Pivot wavelength p and rms width w of STScI's synphot, which stand in the headers of WFC3
    # images as PHOTPLAM and PHOTBW: mean = p exp(w^2 / 2 p^2) for a log-normal band, which is
    # right to 1e-4 for these.
    "HST/WFC3_IR.F098M": 0.9864723 * np.exp(0.5 * (500.84 / 9864.723) ** 2),
    "HST/WFC3_IR.F105W": 1.0551047 * np.exp(0.5 * (845.62 / 10551.047) ** 2),
    "HST/WFC3_IR.F110W": 1.1534459 * np.exp(0.5 * (1428.48 / 11534.459) ** 2),
    "HST/WFC3_IR.F125W": 1.2486060 * np.exp(0.5 * (866.28 / 12486.060) ** 2),
    "HST/WFC3_IR.F140W": 1.3922907 * np.exp(0.5 * (1132.39 / 13922.907) ** 2),
    "HST/WFC3_IR.F160W": 1.5369176 * np.exp(0.5 * (826.25 / 15369.176) ** 2),
    # Throughput tables of the ACS team as pyphot 2.1.1 has them, integrated over wavelength.
    "HST/ACS_WFC.F435W": 0.43273,
    "HST/ACS_WFC.F475W": 0.47630,
    "HST/ACS_WFC.F555W": 0.53718,
    "HST/ACS_WFC.F606W": 0.59563,
    "HST/ACS_WFC.F625W": 0.63241,
    "HST/ACS_WFC.F775W": 0.77054,
    "HST/ACS_WFC.F814W": 0.80874,
    "HST/ACS_WFC.F850LP": 0.90716,
    # Total throughput of NIRCam, version 4.0 (2016), mean of both modules, as pyphot 2.1.1 has
    # it, integrated. astro-sedpy has the tables of May 2024. In F277W the two differ by 0.5 %.
    "JWST/NIRCam.F070W": 0.70618,
    "JWST/NIRCam.F090W": 0.90444,
    "JWST/NIRCam.F115W": 1.15706,
    "JWST/NIRCam.F150W": 1.50401,
    "JWST/NIRCam.F182M": 1.84659,
    "JWST/NIRCam.F200W": 1.99339,
    "JWST/NIRCam.F335M": 3.36401,
    "JWST/NIRCam.F356W": 3.57681,
    "JWST/NIRCam.F410M": 4.08438,
    "JWST/NIRCam.F444W": 4.41586,
}

# Pivot wavelengths in micron, sqrt(int l T dl / int T dl / l), in vacuum: WFC3 Instrument Handbook
# of STScI, table 6.2 (UVIS1, calibration of October 2020).
PIVOTS = {
    "HST/WFC3_UVIS.F225W": 0.23721,
    "HST/WFC3_UVIS.F275W": 0.27097,
    "HST/WFC3_UVIS1.F336W": 0.33545,
    "HST/WFC3_UVIS1.F390W": 0.39237,
    "HST/WFC3_UVIS1.F475W": 0.47731,
    "HST/WFC3_UVIS1.F555W": 0.53084,
    "HST/WFC3_UVIS1.F606W": 0.58892,
    "HST/WFC3_UVIS1.F814W": 0.80391,
}


@pytest.fixture
def sedpy_of(monkeypatch):
    """Put a package with the given tables in the place of astro-sedpy."""

    def install(tables):
        def band(name):
            wavelength, transmission = map(np.asarray, tables[name])
            return types.SimpleNamespace(wavelength=wavelength, transmission=transmission)

        observate = types.ModuleType("sedpy.observate")
        observate.Filter, observate.list_available_filters = band, lambda: list(tables)
        monkeypatch.setitem(sys.modules, "sedpy", types.ModuleType("sedpy"))
        monkeypatch.setitem(sys.modules, "sedpy.observate", observate)
        monkeypatch.setattr(passbands, "find_spec", lambda name: name)

    return install


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(passbands, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"astro-sedpy .*pymc-starpop\[passbands\]"):
        psp.passband_wavelength("2MASS/2MASS.J")


@pytest.mark.parametrize("name", PUBLISHED)
def test_mean_wavelengths_are_those_that_others_published(name):
    pytest.importorskip("sedpy", reason="astro-sedpy is not installed")
    np.testing.assert_allclose(psp.passband_wavelength(name), PUBLISHED[name], rtol=3e-3)


@pytest.mark.parametrize("name", PIVOTS)
def test_bands_of_uvis_lie_at_their_published_pivots(name):
    """The mean is the pivot times a ratio that is 1 but for the width of the band."""
    observate = pytest.importorskip("sedpy.observate", reason="astro-sedpy is not installed")
    band = observate.Filter(f"wfc3_uvis_{name.split('.')[1].lower()}")
    photons, moment, inverse = (
        np.trapezoid(band.transmission * band.wavelength**power, band.wavelength)
        for power in (0, 1, -1)
    )
    ratio = moment / photons / np.sqrt(moment / inverse)
    assert 1.0 < ratio < 1.007
    np.testing.assert_allclose(psp.passband_wavelength(name), PIVOTS[name] * ratio, rtol=3e-3)


def test_bands_that_the_source_lacks_are_said():
    pytest.importorskip("sedpy", reason="astro-sedpy is not installed")
    for lacking, has in (
        ("HST/WFC3_UVIS.F343N", "F225W, F275W, F336W, F390W, F475W, F555W, F606W, F814W"),
        ("HST/WFC3_UVIS1.F438W", "F225W, F275W, F336W, F390W, F475W, F555W, F606W, F814W"),
        ("HST/WFC3_IR.F127M", "F098M, F105W, F110W, F125W, F140W, F160W"),
        ("HST/WFC3_IR.F139M", "F098M, F105W, F110W, F125W, F140W, F160W"),
        ("HST/WFC3_IR.F153M", "F098M, F105W, F110W, F125W, F140W, F160W"),
        ("GAIA/GAIA3.Grvs", "Gbp, g, Grp"),
    ):
        words = f"unknown passband '{lacking}': .* astro-sedpy has only {has}; give the effective"
        with pytest.raises(ValueError, match=words):
            psp.passband_wavelength(lacking)


def test_names_are_those_of_the_svo_or_of_the_package():
    pytest.importorskip("sedpy", reason="astro-sedpy is not installed")
    for name, own in (
        ("2MASS/2MASS.Ks", "twomass_Ks"),
        ("SLOAN/SDSS.g", "sdss_g0"),
        ("GAIA/GAIA2r.Gbp", "gaia_bp_dr2rev"),
        ("HST/WFC3_UVIS1.F814W", "wfc3_uvis_f814w"),
        ("JWST/NIRISS.F150W", "jwst_niriss_f150w"),
        ("Spitzer/IRAC.I2", "spitzer_irac_ch2"),
        ("Generic/Bessell.V", "bessell_V"),
    ):
        assert psp.passband_wavelength(name) == psp.passband_wavelength(own)
    for unknown in ("2MASS/J", "TESS/TESS.Red", "HST/WFC3_UVIS2.F814W"):
        with pytest.raises(ValueError, match=f"unknown passband '{unknown}'; close matches: "):
            psp.passband_wavelength(unknown)


def test_bands_that_are_cut_in_their_table_are_refused():
    pytest.importorskip("sedpy", reason="astro-sedpy is not installed")
    with pytest.raises(
        ValueError, match=r"'JWST/MIRI.F2550W' ends at 21.4 and 29.99 micron.* 0.031 "
    ):
        psp.passband_wavelength("JWST/MIRI.F2550W")


def test_mean_of_a_known_table(sedpy_of):
    """A triangle from 1 to 2.5 micron; sampled unevenly, and cut on either side."""
    wavelength = np.array([1.0, 1.2, 2.0, 2.1, 2.5]) * 1e4
    height = np.array([0.0, 0.2, 1.0, 0.8, 0.0])
    sedpy_of(
        {
            "acs_wfc_f606w": (wavelength, height),
            "blue": (wavelength[1:], height[1:]),
            "red": (wavelength[:-1], height[:-1]),
        }
    )
    # The mean of a triangle is that of its corners.
    assert psp.passband_wavelength("HST/ACS_WFC.F606W") == pytest.approx(5.5 / 3.0, rel=1e-12)
    for cut in ("blue", "red"):
        with pytest.raises(ValueError, match=f"the table of passband '{cut}' ends at"):
            psp.passband_wavelength(cut)
