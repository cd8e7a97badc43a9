"""Densities learned from a control field: normalization, missing bands, draws, messages."""

import cloudpickle
import numpy as np
import pytest
from scipy.stats import gaussian_kde, multivariate_normal

from pymc_starpop.field import ControlField, UniformField
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.selection import MagnitudeLimits
from tolerances import assert_close

BANDS = ("G", "J")
MEAN = np.array([16.0, -1.2])  # G and J - G
COVARIANCE = np.array([[1.5, -0.2], [-0.2, 0.3]])
LIMITS = MagnitudeLimits("G", 14.0, 17.0)


def control(n=200, seed=1):
    """Return stars that are Gaussian in G and J - G."""
    rng = np.random.default_rng(seed)
    features = rng.multivariate_normal(MEAN, COVARIANCE, size=n)
    return catalog(features @ [[1.0, 1.0], [0.0, 1.0]])


def catalog(mag, bands=BANDS, error=0.02):
    """Return a catalog of these magnitudes."""
    return StarCatalog(mag, np.full(np.shape(mag), error), bands)


def estimators():
    """Estimators by name, not fitted where they can be; scikit-learn's where it is installed."""
    found = {
        "default": None,
        "scipy": gaussian_kde(ControlField.features(control()).T, bw_method=0.5),
        "logpdf": multivariate_normal(MEAN, COVARIANCE),
    }
    mixture = pytest.importorskip("sklearn.mixture")
    neighbors = pytest.importorskip("sklearn.neighbors")
    for kind in ("full", "tied", "diag", "spherical"):
        found[kind] = mixture.GaussianMixture(3, covariance_type=kind, random_state=1)
    found["kernel"] = neighbors.KernelDensity(bandwidth=0.3)
    found["tophat"] = neighbors.KernelDensity(bandwidth=0.8, kernel="tophat")
    return found


KINDS = ("default", "scipy", "logpdf", "full", "tied", "diag", "spherical", "kernel", "tophat")
MIXTURES = tuple(kind for kind in KINDS if kind not in ("logpdf", "tophat"))


@pytest.fixture(scope="module")
def fields():
    """One field of each kind, learned from the same stars."""
    return {name: ControlField(control(), given) for name, given in estimators().items()}


def grid(low, high, n=151):
    """Magnitudes (n^2, 2) and the area of one, with G from low to high."""
    g, j = np.linspace(low, high, n), np.linspace(8.0, 22.0, 3 * n)
    mags = np.stack(np.meshgrid(g, j, indexing="ij"), axis=-1)
    weight = np.full((n, 3 * n), (g[1] - g[0]) * (j[1] - j[0]))
    weight[[0, -1]] *= 0.5
    return mags.reshape(-1, 2), weight.ravel()


@pytest.mark.parametrize("kind", MIXTURES)
def test_integrates_to_one_over_the_selected_region(fields, kind):
    mags, weight = grid(14.0, 17.0)
    density = np.exp(fields[kind].log_density(catalog(mags), LIMITS))
    assert_close(density @ weight, 1.0, "grid_sum")


@pytest.mark.parametrize("kind", ["logpdf", "tophat"])
def test_importance_sampling_normalizes_other_estimators(fields, kind):
    mags, weight = grid(14.0, 17.0)
    density = np.exp(fields[kind].log_density(catalog(mags), LIMITS))
    assert_close(density @ weight, 1.0, "importance_sample")


@pytest.mark.parametrize("kind", KINDS)
def test_density_is_that_of_the_estimator(fields, kind):
    """The change from a magnitude and colors to magnitudes has the Jacobian 1."""
    cat = control(50, seed=2)
    features = ControlField.features(cat)
    assert_close(features, np.column_stack([cat.mag[:, 0], cat.mag[:, 1] - cat.mag[:, 0]]),
                 "same_formula")  # fmt: skip
    estimator = fields[kind].estimator
    if hasattr(estimator, "dataset"):
        expected = estimator.logpdf(features.T)
    else:
        expected = getattr(estimator, "score_samples", getattr(estimator, "logpdf", None))(features)
    # KernelDensity stops its sum when it is good to 1e-8.
    assert_close(fields[kind].log_density(cat), expected, "quadrature")


@pytest.mark.parametrize("kind", MIXTURES)
@pytest.mark.parametrize("band", [0, 1])
def test_missing_bands_are_integrated_out(fields, kind, band):
    mags, _ = grid(10.0, 22.0)
    step = [np.diff(np.unique(mags[:, k]))[0] for k in (0, 1)]
    both = np.exp(fields[kind].log_density(catalog(mags))).reshape(151, 453)
    expected = both.sum(axis=1 - band) * step[1 - band]
    alone = np.full((expected.size, 2), np.nan)
    alone[:, band] = np.unique(mags[:, band])
    density = np.exp(fields[kind].log_density(catalog(alone)))
    inside = expected > 1e-3 * expected.max()
    assert_close(density[inside], expected[inside], "grid_sum")
    # A catalog without the other band is the same.
    fewer = catalog(alone[:, [band]], bands=[BANDS[band]])
    assert_close(fields[kind].log_density(fewer), np.log(density), "same_formula")


def test_reference_band_does_not_matter_to_a_kernel_density():
    cat = control(30, seed=3)
    one, two = ControlField(control(), reference="G"), ControlField(control(), reference="J")
    for selection in (None, MagnitudeLimits("G", -np.inf, 30.0)):
        assert_close(one.log_density(cat, selection), two.log_density(cat, selection), "other_code")


def test_order_of_the_bands_does_not_matter(fields):
    cat = control(30, seed=3)
    turned = catalog(cat.mag[:, ::-1], bands=BANDS[::-1])
    for kind in KINDS:
        expected = fields[kind].log_density(cat)
        assert_close(fields[kind].log_density(turned), expected, "same_formula")


@pytest.mark.parametrize("kind", KINDS)
def test_draws_follow_the_density(fields, kind):
    field = fields[kind]
    n = 4000
    drawn = field.draw(n, BANDS, np.random.default_rng(5), LIMITS)
    assert np.all((drawn[:, 0] >= 14.0) & (drawn[:, 0] <= 17.0))
    mags, weight = grid(14.0, 17.0)
    weight = weight * np.exp(field.log_density(catalog(mags), LIMITS))
    mean = weight @ mags / weight.sum()
    spread = np.sqrt(weight @ (mags - mean) ** 2 / weight.sum())
    # Five standard errors; a density known by its value alone is resampled from 10,000 draws.
    error = 5.0 * spread * np.sqrt(1.0 / n + (field._density.complete_only) / 3000)
    assert np.all(np.abs(drawn.mean(axis=0) - mean) < error)
    assert np.all(np.abs(drawn.std(axis=0) / spread - 1.0) < 5.0 * error / spread)
    one, two = (
        field.draw(5, bands, np.random.default_rng(5), LIMITS) for bands in (BANDS, BANDS[::-1])
    )
    np.testing.assert_array_equal(one, two[:, ::-1])


def test_fluxes_integrate_to_one_over_the_selected_region():
    """In flux, negative ones too, with limits and without."""
    error = np.array([3.0, 1.0])
    field = ControlField(StarCatalog.from_flux(
        np.random.default_rng(2).normal(8.0, 6.0, size=(100, 2)), np.full((100, 2), error),
        bands=BANDS))  # fmt: skip
    bright = float(22.5 - 2.5 * np.log10(40.0))
    for selection, low, high in (
        (None, -2e3, 2e3),
        (MagnitudeLimits("G", faint=20.0), 10.0, 2e3),
        (MagnitudeLimits("G", bright=bright), -2e3, 40.0),
    ):
        # Steps that grow with the flux cover the wings of the density.
        g, dg = stretched(low, high, error[0])
        j, dj = stretched(-2e3, 2e3, error[1])
        flux = np.stack(np.meshgrid(g, j, indexing="ij"), axis=-1).reshape(-1, 2)
        cat = StarCatalog.from_flux(flux, np.broadcast_to(error, flux.shape), bands=BANDS)
        density = np.exp(field.log_density(cat, selection)).reshape(g.size, j.size)
        assert_close(dg @ density @ dj, 1.0, "grid_sum")


def stretched(low, high, unit, n=201):
    """Fluxes from low to high, at equal steps of asinh, and the trapezoid's weights."""
    ends = np.arcsinh(np.array([low, high]) / unit)
    x = np.linspace(*ends, n)
    weight = np.full(n, x[1] - x[0]) * unit * np.cosh(x)
    weight[[0, -1]] *= 0.5
    return unit * np.sinh(x), weight


def test_drawn_fluxes_pass_the_selection():
    field = ControlField(control())
    err = np.random.default_rng(1).uniform(1.0, 40.0, size=(500, 2))
    flux = field.draw_flux(err, BANDS, np.random.default_rng(3), LIMITS)
    low, high = (10.0 ** (0.4 * (22.5 - m)) for m in (17.0, 14.0))
    assert np.all((flux[:, 0] >= low * (1 - 1e-9)) & (flux[:, 0] <= high * (1 + 1e-9)))
    again = field.log_density(StarCatalog.from_flux(flux, err, bands=BANDS), LIMITS)
    assert np.isfinite(again).all()


def test_parallax_and_spectroscopy_as_in_the_uniform_field():
    cat = StarCatalog(
        control(3).mag, np.full((3, 2), 0.02), BANDS, parallax=[1.0, 3.0, np.nan],
        parallax_err=[0.1, 0.1, np.nan], teff=[5000.0, 6000.0, np.nan], teff_err=[80.0] * 3,
    )  # fmt: skip
    field = ControlField(control(), teff_range=(4000.0, 8000.0))
    difference = field.log_density(cat) - field.log_density(catalog(cat.mag))
    assert_close(difference, -np.log([2 * 4000.0, 2 * 4000.0, 1.0]), "same_formula")
    frozen = field.frozen(cat)
    assert (frozen.parallax_range, frozen.teff_range) == ((1.0, 3.0), (4000.0, 8000.0))
    assert_close(frozen.log_density(cat.select([0])), field.log_density(cat)[:1], "same_formula")
    drawn = frozen.draw_parallax(50, np.random.default_rng(1))
    assert drawn.min() >= 1.0
    assert drawn.max() <= 3.0


def test_copies_are_equal_and_others_are_not(fields):
    for field in fields.values():
        again = cloudpickle.loads(cloudpickle.dumps(field))  # as PyMC's processes do
        assert repr(again) == repr(field)
        cat = control(5, seed=9)
        np.testing.assert_array_equal(again.log_density(cat), field.log_density(cat))
    reprs = {repr(field) for field in fields.values()} | {repr(ControlField(control(seed=2)))}
    assert len(reprs) == len(fields) + 1


def test_the_estimator_that_was_given_stays_unfitted():
    mixture = pytest.importorskip("sklearn.mixture").GaussianMixture(2, random_state=1)
    field = ControlField(control(), mixture)
    assert not hasattr(mixture, "means_")
    assert ControlField(control(), field.estimator).estimator is field.estimator


def test_a_uniform_share_is_mixed_in():
    cat = catalog([[15.0, 14.0], [16.5, 14.9], [15.5, 21.9]])  # the last one far from the others
    uniform = UniformField(mag_range=(13.0, 16.9), color_ranges={("J", "G"): (-6.0, 7.0)})
    field = ControlField(control(), uniform_share=0.2, uniform=uniform)
    learned = ControlField(control()).log_density(cat, LIMITS)
    expected = 0.8 * np.exp(learned) + 0.2 / (2.9 * 13.0)
    assert_close(np.exp(field.log_density(cat, LIMITS)), expected, "same_formula")
    drawn = field.draw(5000, BANDS, np.random.default_rng(1), LIMITS)
    far = np.abs(drawn[:, 1] - drawn[:, 0] - MEAN[1]) > 4.0  # of the uniform color 5/13
    assert abs(far.mean() - 0.2 * 5.0 / 13.0) < 5.0 * np.sqrt(0.08 / 5000)
    assert np.all((drawn[:, 0] >= 14.0) & (drawn[:, 0] <= 17.0))
    flux = field.draw_flux(np.ones((50, 2)), BANDS, np.random.default_rng(1), LIMITS)
    assert np.isfinite(flux).all()
    # Ranges of the catalog by default, stored by frozen.
    ranged = ControlField(control(), uniform_share=0.2)
    frozen = ranged.frozen(cat, LIMITS)
    expected = ranged.log_density(cat, LIMITS)
    assert_close(frozen.log_density(cat, LIMITS), expected, "same_formula")
    assert_close(frozen.log_density(cat.select([1]), LIMITS), expected[[1]], "same_formula")
    assert frozen.draw(50, BANDS, np.random.default_rng(1), LIMITS).shape == (50, 2)


class Unnormalized:
    """A density that integrates to 3."""

    def logpdf(self, features):
        return multivariate_normal(MEAN, COVARIANCE).logpdf(features) + np.log(3.0)


class OneNumber:
    """Gives the total, not one number a star."""

    def score_samples(self, features):
        return -3.0 * len(features)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"catalog": np.ones((3, 2))}, "catalog must be a StarCatalog"),
        ({"catalog": control(3)}, "3 stars measured in all of its 2 bands, too few"),
        ({"estimator": object()}, "score_samples or logpdf"),
        ({"estimator": Unnormalized()}, "does not integrate to 1 .* 3"),
        ({"estimator": OneNumber()}, "one log density for each"),
        ({"estimator": gaussian_kde(np.random.default_rng(1).normal(size=(3, 9)))}, "3 features"),
        ({"reference": "K"}, "'K', which the catalog lacks"),
        ({"teff_range": (1, 0)}, "teff_range must ascend"),
        ({"uniform_share": 1.0}, "uniform_share must lie in 0 to below 1, got 1.0"),
        ({"uniform_share": np.nan}, "uniform_share must lie in 0 to below 1"),
        ({"catalog": catalog(np.linspace(10, 20, 9)[:, None] + [0.0, 1.0])}, "line or plane"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        ControlField(**({"catalog": control()} | arguments))


def test_bad_calls(fields):
    partial = catalog([[15.0, np.nan], [15.0, 14.0]])
    rng = np.random.default_rng(1)
    far = MagnitudeLimits("G", 40.0, 41.0)
    with pytest.raises(ValueError, match=r"needs stars measured in all bands, rows 0 are not"):
        fields["logpdf"].log_density(partial)
    with pytest.raises(ValueError, match="cannot leave out bands"):
        fields["logpdf"].log_density(catalog([[15.0]], bands=["G"]))
    with pytest.raises(ValueError, match=r"lacks 'K' .it has G, J."):
        fields["default"].log_density(catalog([[15.0]], bands=["K"]))
    with pytest.raises(ValueError, match="covers the limits"):
        fields["default"].log_density(control(5), far)
    with pytest.raises(ValueError, match="covers the limits"):
        fields["default"].draw(5, BANDS, rng, far)
    with pytest.raises(ValueError, match="in which 1 stars were not measured, rows 1"):
        fields["default"].log_density(catalog([[15.0, 14.0], [np.nan, 14.0]]), LIMITS)
    with pytest.raises(ValueError, match="parallax_range of ControlField is needed"):
        fields["default"].draw_parallax(3, rng)


def test_learns_more_than_the_uniform_field():
    """Stars like those of the control field are more probable by its density."""
    cat = control(300, seed=7)
    cat = cat.select(LIMITS.mask(cat))
    learned = ControlField(control(1000)).log_density(cat, LIMITS)
    assert learned.mean() > UniformField().log_density(cat, LIMITS).mean() + 0.2
