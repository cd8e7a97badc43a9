import numpy as np
import pytest

import pymc_starpop as psp
from pymc_starpop.isochrones import passbands


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(passbands, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pymc-starpop\[passbands\]"):
        psp.passband_wavelength("2MASS/2MASS.J")


def test_wavelengths_are_those_of_the_bundle():
    """Within the difference between kinds of effective wavelength."""
    pytest.importorskip("tynt", reason="tynt is not installed")
    bundled = psp.load_isochrones()._source.photometry
    for name, band in (("2MASS/2MASS.J", "2MASS_J"), ("TESS/TESS.Red", "TESS")):
        micron = bundled.wavelength[bundled.bands.index(band)]
        np.testing.assert_allclose(psp.passband_wavelength(name), micron, rtol=0.05)
    with pytest.raises(ValueError, match="unknown passband '2MASS/J'"):
        psp.passband_wavelength("2MASS/J")
