"""A magnitude and a color as data: exactly the linear combination of the magnitudes."""

import numpy as np
import pymc as pm
import pytensor
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate, stats
from scipy.special import logsumexp

import pymc_starpop as psp
from cluster_fixtures import TRUTH, check_with_slow
from tolerances import NATS_SINGLE_MEDIAN, NATS_SINGLE_WORST, assert_close

G, BP, RP = "Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3"
COLOR, NEAR_IR = f"{BP} - {RP}", "2MASS_J - 2MASS_Ks"
FIELD = psp.UniformField(
    mag_range=(9.0, 19.0), color_ranges={(BP, RP): (-0.5, 3.5), ("2MASS_J", "2MASS_Ks"): (0, 1)}
)
BINARIES = {"binary_fraction": 0.4}


def make_catalog(iso, columns, **changes):
    """Six members: one far from the others, one without the last column, one without the first."""
    errors = np.random.default_rng(3).uniform(0.01, 0.04, (6, len(columns)))
    cat = psp.simulate_cluster(
        iso, n_star=6, bands=columns, mag_err=errors, rng=4, **BINARIES, **TRUTH,
        selection=psp.MagnitudeLimits(columns[0], 9.0, 19.0), **changes,
    )  # fmt: skip
    mag = cat.mag.copy()
    mag[0, -1] += 1.5
    mag[1, -1] = np.nan
    if not changes:
        mag[2, 0] = np.nan
    others = ("parallax", "parallax_err", "teff", "teff_err")
    return psp.StarCatalog(
        mag, cat.mag_err, bands=columns, **{name: getattr(cat, name) for name in others}
    )


def of_magnitude(catalog):
    """Stars that have the first column."""
    return catalog.select(catalog.measured[:, 0])


def evaluate(iso, catalog, **arguments):
    logp = psp.cluster_logp(iso, catalog, **arguments)
    return pytensor.function([], logp, mode="FAST_COMPILE")()


@pytest.fixture
def python_vm():
    """Compile in seconds: the Python virtual machine runs the same kernels as numba."""
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        yield


@pytest.fixture(scope="module")
def gaia(coarse):
    return make_catalog(coarse, (G, COLOR))


@pytest.fixture(scope="module")
def measured(coarse):
    """Two colors, parallaxes and temperatures."""
    return make_catalog(coarse, (G, COLOR, NEAR_IR), parallax_err=0.05, teff_err=100.0)


@pytest.fixture(scope="module")
def sharing(coarse):
    """A magnitude whose band is also in the color, with independent errors."""
    return make_catalog(coarse, (RP, COLOR))


def integral_over_mass(one, catalog, scatter):
    """log int pi(M) N2(x | A y(M), S) dM with y linear in mass between the points, by points.

    The covariance is written out: magnitude G, color BP - RP.
    """
    keep = one.eep <= 808
    mass, mag = one.initial_mass[keep], one.abs_mag[keep] + TRUTH["distance_modulus"]
    rows = np.stack([mag[:, 0], mag[:, 1] - mag[:, 2]], axis=1)
    weights, points = [], []
    for m0, m1, y0, y1 in zip(mass[:-1], mass[1:], rows[:-1], rows[1:], strict=True):
        low = max(m0, 0.1)
        if m1 <= low:
            continue
        m = low + (m1 - low) * (np.arange(400) + 0.5) / 400
        weights.append(psp.Kroupa().density(m) * (m1 - low) / 400)
        points.append(y0 + ((m - m0) / (m1 - m0))[:, None] * (y1 - y0))
    weight, point = np.concatenate(weights), np.concatenate(points)
    result = []
    for x, e in zip(catalog.mag, catalog.mag_err, strict=True):
        s = np.diag([e[0] ** 2 + scatter[0] ** 2, e[1] ** 2 + scatter[1] ** 2 + scatter[2] ** 2])
        r = x - point
        chi2 = np.einsum("pi,ij,pj->p", r, np.linalg.inv(s), r)
        log_norm = -np.log(2.0 * np.pi) - 0.5 * np.log(np.linalg.det(s))
        result.append(logsumexp(-0.5 * chi2 + log_norm, b=weight))
    return np.array(result) - np.log(psp.Kroupa().integral(0.1, mass[-1]))


def test_a_star_is_a_gaussian_in_magnitude_and_color_along_the_track(iso, gaia):
    """From nothing but the isochrone, the mass function and the covariance written out."""
    stars = gaia.select(gaia.measured.all(axis=1))
    scatter = np.array([0.01, 0.02, 0.03])
    one = iso.at(TRUTH["feh"], TRUTH["log_age"], [G, BP, RP], av=TRUTH["av"])
    expected = integral_over_mass(one, stars, scatter)
    found = evaluate(iso, stars, **TRUTH, intrinsic_scatter=scatter)
    assert np.abs(found - expected).max() < NATS_SINGLE_WORST
    assert np.median(np.abs(found - expected)) < NATS_SINGLE_MEDIAN
    slow = psp.reference.cluster_logp(iso, stars, **TRUTH, intrinsic_scatter=scatter)
    assert_close(found, slow, "pruned")


def test_it_is_the_density_of_the_magnitudes_over_their_unmeasured_sum(coarse):
    """The density in (G, BP - RP) is that in (G, BP, RP), integrated over RP at a fixed color."""
    arguments = TRUTH | BINARIES | {
        "mass_ratio_nodes": 6, "av_scatter": 0.05, "intrinsic_scatter": 0.01,
        "zero_points": np.array([0.01, 0.03, -0.02]),
    }  # fmt: skip
    stars = psp.simulate_cluster(
        coarse, n_star=2, bands=(G, BP, RP), mag_err=[0.02, 0.05, 0.04], rng=2,
        selection=psp.MagnitudeLimits(G, 9.0, 17.0, error=0.02), **arguments,
    )  # fmt: skip
    for g, bp, rp in stars.mag:
        x = rp + np.linspace(-1.0, 1.0, 401)
        every = np.stack([np.full(401, g), bp - rp + x, x], axis=1)
        three = psp.StarCatalog(every, np.tile([0.02, 0.05, 0.04], (401, 1)), bands=(G, BP, RP))
        density = np.exp(psp.reference.cluster_logp(coarse, three, **arguments))
        two = psp.StarCatalog([[g, bp - rp]], [[0.02, np.hypot(0.05, 0.04)]], bands=(G, COLOR))
        found = evaluate(coarse, two, **arguments)
        assert_allclose(np.log(integrate.trapezoid(density, x)), found[0], atol=1e-6)


CASES = {
    "binaries, selection and field": BINARIES | {
        "intrinsic_scatter": np.array([0.01, 0.02, 0.03]), "av_scatter": 0.05, "field": FIELD,
        "zero_points": np.array([0.01, -0.02, 0.03]), "field_fraction": 0.2,
        "selection": psp.MagnitudeLimits(G, 9.0, 19.0),
    },
    "outliers": {
        "intrinsic_scatter": 0.01, "field_fraction": 0.2, "field.scale": 5.0,
        "selection": psp.MagnitudeLimits(G, 9.0, 19.0),
    },
    "chi-square": {
        "intrinsic_scatter": 0.01, "field_fraction": 0.2, "field": psp.ChiSquareField(),
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_value_and_gradient_are_those_of_the_slow_likelihood(coarse, gaia, case):
    check_with_slow(coarse, of_magnitude(gaia), case)


def test_a_color_alone_is_a_measurement(coarse, gaia):
    """A star without the magnitude, in the likelihood and in the density of the field."""
    case = {"intrinsic_scatter": 0.01, "field_fraction": 0.2, "field": FIELD}
    check_with_slow(coarse, gaia, case)
    assert_close(FIELD.log_density(gaia)[2], -np.log(4.0), "same_formula")


def test_with_parallaxes_temperatures_and_depth(coarse, measured):
    case = {
        "distance_modulus_scatter": 0.03, "intrinsic_scatter": 0.01, "field_fraction": 0.2,
    }  # fmt: skip
    check_with_slow(coarse, measured, case)


SHARING = {
    "selection and field": {
        "intrinsic_scatter": np.array([0.02, 0.03]), "av_scatter": 0.05, "field_fraction": 0.2,
        "field": FIELD, "selection": psp.MagnitudeLimits(RP, 9.0, 19.0),
    },
    "extinction of each star": {"av": np.linspace(0.2, 0.6, 5), "intrinsic_scatter": 0.02},
}  # fmt: skip


@pytest.mark.parametrize("case", SHARING.values(), ids=SHARING.keys())
def test_the_scatter_of_a_band_moves_all_columns_that_hold_it(coarse, sharing, case):
    check_with_slow(coarse, of_magnitude(sharing), case)


def test_the_scatter_of_a_shared_band_widens_along_a_direction(coarse, sharing):
    """Against the covariance in magnitudes: errors of 0 but for the scatter would be those."""
    stars = sharing.select(sharing.measured.all(axis=1))
    scatter = np.array([0.04, 0.05])
    tiny = psp.StarCatalog(stars.mag, np.full(stars.mag.shape, 1e-5), bands=stars.bands)
    mags = np.stack([stars.mag[:, 0], stars.mag.sum(axis=1)], axis=1)
    expected = psp.StarCatalog(mags, np.tile(scatter, (len(mags), 1)), bands=(RP, BP))
    found = evaluate(coarse, tiny, **TRUTH, intrinsic_scatter=scatter)
    assert_allclose(found, evaluate(coarse, expected, **TRUTH), atol=1e-3)


def test_the_error_of_a_difference_is_that_of_two_magnitudes(coarse):
    """F814W and F606W - F814W: the same likelihood as the magnitudes of both bands."""
    stars = psp.simulate_cluster(coarse, n_star=8, bands=(RP, BP), mag_err=[0.02, 0.03], rng=1,
                                 **TRUTH)  # fmt: skip
    rp, bp = stars.mag.T
    table = {"rp": rp, "bp_rp": bp - rp, "e_bp_rp": np.full(8, np.hypot(0.02, 0.03))}
    cat = psp.StarCatalog.from_table(
        table, mag={RP: "rp"}, mag_err={RP: 0.02}, color={(BP, RP): "bp_rp"},
        color_err={(BP, RP): "e_bp_rp"},
    )  # fmt: skip
    arguments = TRUTH | {"intrinsic_scatter": 0.01, "field_fraction": 0.1}
    found = psp.reference.cluster_logp(coarse, cat, **arguments)
    assert_close(found, psp.reference.cluster_logp(coarse, stars, **arguments), "kernel")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"intrinsic_scatter": 0.01, "av_scatter": 0.1, "distance_modulus_scatter": 0.1,
          "log_age_scatter": 0.02, "age_nodes": 3}, "scatter of Gaia_RP_EDR3.*leave one"),
        ({"intrinsic_scatter": 0.01, "field_fraction": 0.1, "field": psp.ChiSquareField()},
         "ChiSquareField takes columns that scatter independently"),
        ({"intrinsic_scatter": [0.01, 0.01, 0.01]}, "3 values for 2 bands"),
        ({"selection": psp.MagnitudeLimits(BP, 9.0, 19.0)}, "catalog lacks"),
    ],
)  # fmt: skip
def test_what_is_not_exact_is_refused(coarse, sharing, changes, words):
    with pytest.raises(ValueError, match=words):
        psp.cluster_logp(coarse, sharing, **TRUTH, **changes)


def test_parameters_of_a_plain_function_go_by_band(coarse, gaia):
    names = ["log_age", f"zero_points.{BP}", f"intrinsic_scatter.{RP}"]
    fixed = {name: value for name, value in TRUTH.items() if name != "log_age"}
    f = psp.cluster_function(coarse, gaia, names, mode="FAST_COMPILE", **fixed)
    point = np.array([TRUTH["log_age"], 0.02, 0.03])
    expected = psp.reference.cluster_logp(
        coarse, gaia, **TRUTH, zero_points=np.array([0.0, 0.02, 0.0]),
        intrinsic_scatter=np.array([0.0, 0.0, 0.03]),
    )  # fmt: skip
    assert_close(f.per_star(point), expected, "pruned")
    # At a scatter of 0 there is a derivative, and it is 0.
    assert_close(f([TRUTH["log_age"], 0.0, 0.0])[1][2], 0.0, "same_formula")


LIMITS = psp.MagnitudeLimits(G, 10.0, 17.0, error=0.03)
POSTERIOR = xr.Dataset({
    "log_age": (("chain", "draw"), np.full((1, 2), TRUTH["log_age"])),
    "field_fraction": (("chain", "draw"), np.full((1, 2), 0.3)),
})  # fmt: skip


@pytest.fixture(scope="module")
def fitted(coarse):
    """A model of members and field stars, with the catalog."""
    known = {name: value for name, value in TRUTH.items() if name != "log_age"}
    known |= {"selection": LIMITS, "field": FIELD, "intrinsic_scatter": 0.01}
    cat = psp.simulate_cluster(
        coarse, n_star=100, bands=(G, COLOR), mag_err=0.03, rng=8, field_fraction=0.3,
        log_age=TRUTH["log_age"], **known,
    )  # fmt: skip
    mag = cat.mag.copy()
    mag[:5, 1] = np.nan
    cat = psp.StarCatalog(mag, cat.mag_err, bands=cat.bands, extra=dict(cat.extra))
    with pm.Model(coords=cat.coords()) as model:
        psp.ClusterPhotometry(
            "stars", coarse, observed=cat, log_age=pm.Uniform("log_age", 9.0, 9.6),
            field_fraction=pm.Beta("field_fraction", 2.0, 2.0), **known,
        )  # fmt: skip
    return model, cat


@pytest.mark.usefixtures("python_vm")
def test_members_are_told_from_the_field(fitted):
    model, cat = fitted
    found = psp.membership(POSTERIOR, model, progressbar=False).mean(("chain", "draw")).values
    is_field = cat.extra["is_field"]
    assert found[~is_field].mean() > 0.9
    assert found[is_field].mean() < 0.3
    assert_allclose(found.mean(), 0.7, atol=0.1)
    again = psp.membership(POSTERIOR, model, cat, progressbar=False).mean(("chain", "draw"))
    assert_array_equal(again, found)


@pytest.mark.usefixtures("python_vm")
def test_predictive_draws_are_like_the_data(fitted):
    model, cat = fitted
    assert model.named_vars_to_dims["stars"] == ("star", "band")
    assert list(model.coords["band"]) == [G, COLOR]
    with model:
        drawn = pm.sample_posterior_predictive(
            POSTERIOR, random_seed=1, progressbar=False, compile_kwargs={"mode": "FAST_COMPILE"}
        ).posterior_predictive["stars"]
    assert_array_equal(np.isfinite(drawn), np.broadcast_to(cat.measured, drawn.shape))
    for column, name in zip(cat.mag.T, cat.bands, strict=True):
        new = drawn.sel(band=name).values.ravel()
        found = stats.ks_2samp(new[np.isfinite(new)], column[np.isfinite(column)])
        assert found.pvalue > 0.01
    mags = drawn.sel(band=G).values
    assert mags.min() > 10.0
    assert mags.max() < 17.0


@pytest.mark.usefixtures("python_vm")
def test_what_comes_after_the_fit(fitted):
    model, cat = fitted
    stars = psp.star_posterior(POSTERIOR, model, random_seed=1, progressbar=False)
    member = ~cat.extra["is_field"]
    mass = stars["initial_mass"].mean(("chain", "draw")).values[member]
    assert np.median(np.abs(mass / cat.extra["initial_mass"][member] - 1.0)) < 0.05
    predicted = psp.predict_cmd(POSTERIOR, 300, model, random_seed=1, progressbar=False)
    assert list(predicted.band) == [G, COLOR]
    color = predicted["observed_mag"].sel(band=COLOR).values
    assert_allclose(np.median(color), np.nanmedian(cat.mag[member, 1]), atol=0.15)
    with pytest.raises(ValueError, match="is a color"):
        psp.luminosity_function(POSTERIOR, COLOR, [0, 1, 2], model)
