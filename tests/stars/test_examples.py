"""The bundled catalog of Ruprecht 147."""

import numpy as np
import pytest

from pymc_starpop.stars.examples import load_example
from tolerances import assert_close


@pytest.fixture(scope="module")
def ruprecht147():
    """Bundled catalog with formal errors."""
    return load_example("ruprecht147", error_floor=0.0)


def test_size_bands_and_labels(ruprecht147):
    cat = ruprecht147
    assert len(cat) == 440
    assert cat.bands == ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3", "2MASS_J", "2MASS_Ks")
    assert cat.measured.sum(axis=0).tolist() == [440, 434, 434, 378, 378]
    assert np.isfinite(cat.parallax).sum() == 437
    assert np.unique(cat.star).size == 440


def test_repeated_rows_are_marked(ruprecht147):
    cat = ruprecht147
    duplicate = cat.extra["duplicate"]
    assert duplicate.sum() == 3
    assert np.unique(cat.extra["gaia_dr3"][~duplicate]).size == 437
    assert np.isin(cat.extra["gaia_dr3"][duplicate], cat.extra["gaia_dr3"][~duplicate]).all()
    np.testing.assert_array_equal(cat.star[~duplicate], cat.extra["gaia_dr3"][~duplicate])


def test_members(ruprecht147):
    member = ruprecht147.extra["member"]
    assert (member == "Yes").sum() == 395
    assert np.char.startswith(member, "No").sum() == 43
    assert np.char.startswith(member, "Possible").sum() == 2


def test_one_star_against_the_archive(ruprecht147):
    # EPIC 219394517, the eclipsing binary of Torres et al. (2018, ApJ 866, 67)
    (row,) = np.flatnonzero(ruprecht147.extra["notes"] == "EB (Torres et al. 2018)")
    g, bp, rp, j, ks = ruprecht147.mag[row]
    assert g == pytest.approx(11.318, abs=1e-3)
    assert bp - rp == pytest.approx(0.8871, abs=1e-3)
    assert 9.0 < ks < j < rp < g < bp


def test_the_cluster_is_where_the_literature_puts_it(ruprecht147):
    cat = ruprecht147
    good = (cat.extra["member"] == "Yes") & (cat.extra["ruwe"] < 1.2) & (cat.mag[:, 0] < 15)
    assert 1000 / np.median(cat.parallax[good]) == pytest.approx(306, abs=5)
    # Gaia Collaboration, Babusiaux et al. (2018, A&A 616, A10, table A.3): -0.94, -26.56 mas/yr
    assert np.median(cat.extra["pmra"][good]) == pytest.approx(-0.94, abs=0.2)
    assert np.median(cat.extra["pmdec"][good]) == pytest.approx(-26.56, abs=0.2)


def test_floors_add_in_quadrature(ruprecht147):
    floored = load_example("ruprecht147", error_floor=0.01, parallax_error_floor=0.08)
    assert_close(floored.mag_err, np.hypot(ruprecht147.mag_err, 0.01), "same_formula")
    assert_close(floored.parallax_err, np.hypot(ruprecht147.parallax_err, 0.08), "same_formula")
    default = load_example("ruprecht147")
    assert_close(default.mag_err, np.hypot(ruprecht147.mag_err, 0.005), "same_formula")
    np.testing.assert_array_equal(default.parallax_err, ruprecht147.parallax_err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("m67",), "bundled examples, 'ruprecht147', got 'm67'"),
        (("ruprecht147", -1.0), "floor must be finite"),
        (("ruprecht147", 0.0, -1.0), "parallax_error_floor must be finite"),
    ],
)
def test_bad_input(arguments, words):
    with pytest.raises(ValueError, match=words):
        load_example(*arguments)
