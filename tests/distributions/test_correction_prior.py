"""The prior on corrections of magnitudes: its widths, its variables, and what it refuses."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

import pymc_starpop as psp
from tolerances import assert_close

BANDS = ("Gaia_BP_EDR3", "2MASS_Ks")
KNOTS = psp.SequenceKnots((3.5, 3.66), (3.8,), (3.62,))


@pytest.fixture(scope="module")
def cats(coarse):
    cat = psp.simulate_cluster(
        coarse, n_star=3, bands=BANDS, rng=1, feh=0.0, log_age=9.0, distance_modulus=8.0
    )
    return psp.StarCatalog.stack({"a": cat, "b": cat})


def prior(cats, iso=None, **changes):
    """A model of two clusters with a prior of the name "offset", and what it is."""
    with pm.Model(coords=cats.coords()) as model:
        given = {"name": "offset", "iso": iso, "bands": BANDS, "knots": KNOTS, "sigma": 0.05}
        corrections = psp.correction_prior(**given | changes)
    return model, corrections


@pytest.fixture
def at_wavelengths(iso, monkeypatch):
    """Widths (B, K) at given wavelengths (micron)."""

    def sigma(wavelength, knots=None):
        monkeypatch.setattr(type(iso), "effective_wavelength", lambda *_: np.array(wavelength))
        return psp.correction_sigma(iso, iso.bands[: len(wavelength)], knots)

    return sigma


def test_known_widths(at_wavelengths):
    """At the wavelengths and temperatures of the table they are its values."""
    knots = psp.SequenceKnots((3.5, 3.6, 3.74), (3.88,), (3.58, 3.72))
    found = at_wavelengths([0.44, 0.55, 2.16], knots)
    expected = [
        (0.85, 0.26, 0.04, 0.04, 0.27, 0.05),
        (0.76, 0.22, 0.03, 0.04, 0.32, 0.05),
        (0.15, 0.06, 0.03, 0.05, 0.06, 0.03),
    ]
    assert_close(found, expected, "same_formula")


def test_widths_are_larger_for_cool_dwarfs_and_blue_bands(iso):
    sigma = psp.correction_sigma(iso, iso.bands)
    knots = psp.SequenceKnots()
    assert sigma.shape == (len(iso.bands), len(knots))
    assert np.all((sigma >= 0.03) & (sigma < 1.0))
    cool = sigma[:, : len(knots.dwarfs)][:, knots.dwarfs <= np.float64(3.66)]
    assert np.all(np.diff(cool, axis=1) <= 0.0)
    # From B to J they fall; in the infrared all are small.
    wavelength = iso.effective_wavelength(iso.bands)
    by_color = sigma[np.argsort(wavelength)][np.sort(wavelength) < 1.24]
    assert np.all(np.diff(by_color[:, :3], axis=0) <= 1e-12)
    # Beyond the table it goes on as it ends.
    hot = psp.correction_sigma(iso, BANDS, psp.SequenceKnots((3.1, 3.5, 4.1, 5.0), (), ()))
    assert_close(hot[:, 0], hot[:, 1], "same_formula")
    assert_close(hot[:, 2], hot[:, 3], "same_formula")


def test_equal_wavelengths_have_equal_widths(at_wavelengths):
    first, second, other = at_wavelengths([0.7, 0.7, 0.8])
    np.testing.assert_array_equal(first, second)
    assert np.all(first[:4] > other[:4])
    # Beyond the table it goes on as it ends.
    blue, bluer, red, redder = at_wavelengths([0.44, 0.2, 2.16, 4.5])
    np.testing.assert_array_equal([blue, red], [bluer, redder])


def test_one_band_by_its_name(iso):
    alone = psp.correction_sigma(iso, "2MASS_Ks")
    np.testing.assert_array_equal(alone, psp.correction_sigma(iso, ["2MASS_Ks"]))


def test_an_unknown_wavelength(iso, at_wavelengths):
    words = rf"wavelength of {iso.bands[1]} is not known, .* give sigma, or iso.with_extinction"
    with pytest.raises(ValueError, match=words):
        at_wavelengths([0.5, np.nan])


def test_variables_of_one_cluster(iso, cats):
    model, corrections = prior(cats, iso, sigma=None)
    assert model.named_vars_to_dims == {"offset": ("offset_band", "offset_knot")}
    assert tuple(model.coords["offset_band"]) == BANDS == corrections.bands
    assert tuple(model.coords["offset_knot"]) == KNOTS.labels
    assert corrections.knots == KNOTS
    assert corrections.coefficients is model["offset"]
    drawn = pm.draw(model["offset"], 4000, random_seed=1)
    widths = psp.correction_sigma(iso, BANDS, KNOTS)
    # The scatter of a standard deviation of n draws is 1 / sqrt(2 n).
    assert np.abs(drawn.std(axis=0) / widths - 1.0).max() < 5.0 / np.sqrt(8000.0)
    assert np.abs(drawn.mean(axis=0) / widths).max() < 5.0 / np.sqrt(4000.0)


def test_clusters_deviate_from_what_they_share(cats):
    with pm.Model(coords=cats.coords()) as model:
        width = pm.HalfNormal("width", 0.1)
        corrections = psp.correction_prior("offset", None, BANDS, KNOTS, sigma=0.2, deviation=width)
    dims = ("offset_band", "offset_knot")
    for name in ("offset_deviation", "offset_cluster"):
        assert model.named_vars_to_dims[name] == ("cluster", *dims)
    assert model.named_vars_to_dims["offset"] == dims
    assert corrections.coefficients is model["offset_cluster"]
    names = ("offset", "width", "offset_deviation", "offset_cluster")
    shared, scale, own, whole = pm.draw([model[name] for name in names], 2000, random_seed=2)
    assert whole.shape == (2000, 2, 2, 4)
    together = shared[:, None] + scale[:, None, None, None] * own
    assert_close(whole, together, "same_formula")
    assert abs(own.std() - 1.0) < 0.02
    assert abs(shared.std() - 0.2) < 0.01
    # Clusters differ, and have in common what is shared.
    first, second = whole[:, 0].ravel(), whole[:, 1].ravel()
    assert abs(np.cov(first, second)[0, 1] - 0.2**2) < 0.005


def test_one_prior_gives_the_widths_as_they_are_given(cats):
    sigma = np.linspace(0.01, 0.08, 8).reshape(2, 4)
    for given in (sigma, pt.as_tensor(sigma), sigma.tolist()):
        model, _ = prior(cats, sigma=given)
        drawn = pm.draw(model["offset"], 4000, random_seed=1)
        assert np.abs(drawn.std(axis=0) / sigma - 1.0).max() < 5.0 / np.sqrt(8000.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sigma": np.ones(2)}, r"sigma has the shape \(2,\), expected one number, or numbers of "
         r"the shape \(2, 4\) \(band, knot\)"),
        ({"sigma": np.ones(4)}, r"sigma has the shape \(4,\), expected one number"),
        ({"sigma": pt.dmatrix(shape=(4, 2))}, r"sigma has the shape \(4, 2\), expected"),
        ({"sigma": -0.1}, r"sigma must be positive and finite \(mag\), got -0.1"),
        ({"sigma": np.nan}, "sigma must be positive and finite"),
        ({"sigma": "wide"}, "sigma must be a number or a PyTensor expression, got 'wide'"),
        ({"deviation": [0.1, 0.2]}, r"deviation has the shape \(2,\), expected one number; give"),
        ({"deviation": pt.dvector()}, "deviation has the shape .*, expected one number"),
        ({"deviation": 0.0}, "deviation must be positive and finite"),
        ({"bands": ("TESS", "TESS")}, "bands must be names of bands, each once"),
        ({"knots": (3.5, 3.6)}, "knots must be a SequenceKnots, got"),
        ({"sigma": None}, "iso must be an IsochroneGrid, whose bands have wavelengths, got NoneTy"),
        ({"sigma": None, "iso": {"a": None}}, "iso must be an IsochroneGrid, .* got dict; give"),
    ],
)  # fmt: skip
def test_errors(cats, changes, words):
    with pytest.raises(ValueError, match=words):
        prior(cats, **changes)


def test_deviations_need_clusters(cats):
    with pm.Model(coords=cats["a"].coords()) as model:
        with pytest.raises(ValueError, match="the model has no coordinate 'cluster'; build it wit"):
            psp.correction_prior("offset", None, BANDS, KNOTS, sigma=0.1, deviation=0.1)
        # Nothing of it is left behind.
        assert not model.named_vars
        psp.correction_prior("offset", None, BANDS, KNOTS, sigma=0.1)


def test_unknown_bands(iso, cats):
    with pytest.raises(ValueError, match="unknown band 'R2'"):
        prior(cats, iso, bands=("R2",), sigma=None)
