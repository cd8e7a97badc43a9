"""What comes after a fit with corrections of magnitudes: the tracks are moved by each draw."""

from dataclasses import dataclass
from typing import Any, ClassVar

import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from matplotlib.collections import LineCollection

import pymc_starpop as psp
from pymc_starpop.isochrones.corrections import ModelNodes
from tolerances import assert_close

# The order in which diagrams show them is another one.
BANDS = ("2MASS_Ks", "Gaia_G_EDR3", "Gaia_BP_EDR3")
FEW = ("Gaia_BP_EDR3", "Gaia_G_EDR3")
COLOR, MAG = ("Gaia_BP_EDR3", "Gaia_G_EDR3"), "Gaia_G_EDR3"
KNOTS = psp.SequenceKnots((3.6, 3.75), (), (3.66,))
TRUTH = {"feh": 0.0, "distance_modulus": 8.0}
GIVEN = {**TRUTH, "intrinsic_scatter": 0.02}
# Mag, by band: what corrections add to all stars.
OFFSETS = np.array([0.02, -0.05, 0.1])
OWN = np.array([-0.03, 0.02, 0.04])
N_DRAW = 25


@dataclass(frozen=True)
class Shift(psp.Corrections):
    """An offset of each band."""

    offset: Any = 0.0
    axes: ClassVar = {"offset": ("band",)}

    def magnitudes(self, at, mag, bands, xp):
        return mag + self.offset


def simulated(iso, n, bands, seed):
    return psp.simulate_cluster(
        iso, n_star=n, bands=bands, mag_err=0.03, rng=seed, log_age=9.0, **TRUTH
    )


@pytest.fixture(scope="module")
def cat(cluster_iso):
    return simulated(cluster_iso, 30, BANDS, 1)


@pytest.fixture(scope="module")
def cats(cluster_iso, cat):
    return psp.StarCatalog.stack({"near": cat, "far": simulated(cluster_iso, 20, FEW, 2)})


def build(iso, catalog, corrections, log_age=9.0):
    """A model with an age and corrections, made within it."""
    with pm.Model(coords=catalog.coords()) as model:
        age = pm.Normal("log_age", log_age, 0.02)
        psp.ClusterPhotometry(
            "stars", iso, observed=catalog, log_age=age, corrections=corrections(), **GIVEN
        )
    return model


def prior_and_shift(catalog, deviation=None):
    """The prior with all bands in the order of the catalog, and an offset of each band."""
    prior = psp.correction_prior("offset", None, BANDS, KNOTS, sigma=0.1, deviation=deviation)
    return prior, Shift(pm.Normal("shift", 0.0, 0.1, dims="band", shape=len(BANDS)))


OF_BAND = ("offset_band", "offset_knot")
DIMS = {
    "log_age": (), "shift": ("band",), "offset": OF_BAND,
    "offset_deviation": ("cluster", *OF_BAND), "offset_cluster": ("cluster", *OF_BAND),
}  # fmt: skip
LABELS = {"offset_band": list(BANDS), "offset_knot": list(KNOTS.labels), "band": list(BANDS)}


def draws(**values):
    """A posterior of equal draws, but for the age."""
    ages = np.random.default_rng(3).normal(9.0, 0.01, (4, N_DRAW))
    found = {"log_age": (("chain", "draw"), ages)}
    for name, value in values.items():
        array = np.broadcast_to(value, (4, N_DRAW, *np.shape(value)))
        found[name] = (("chain", "draw", *DIMS[name]), array)
    return xr.Dataset(found, coords=LABELS | {"chain": np.arange(4), "draw": np.arange(N_DRAW)})


SHARED = np.repeat(OFFSETS[:, None], len(KNOTS), axis=1)
DEVIATION = np.stack([np.zeros_like(SHARED), np.full_like(SHARED, 2.0)])


@pytest.fixture(scope="module")
def posterior():
    """The coefficients of a band are equal at all knots: each star moves alike."""
    return draws(offset=SHARED, shift=OWN)


@pytest.fixture(scope="module")
def posterior_of_two():
    """The second cluster deviates by 2 times 0.02 mag in all bands."""
    whole = SHARED + 0.02 * DEVIATION
    return draws(
        offset=SHARED, offset_deviation=DEVIATION, offset_cluster=whole, shift=OWN
    ).assign_coords(cluster=["near", "far"])


@pytest.fixture(scope="module")
def model(cluster_iso, cat):
    return build(cluster_iso, cat, lambda: prior_and_shift(cat))


@pytest.fixture(scope="module")
def model_of_two(cluster_iso, cats):
    return build(cluster_iso, cats, lambda: prior_and_shift(cats, 0.02))


@pytest.fixture(scope="module")
def moved(cluster_iso, cat):
    """The same as zero points, without corrections."""
    with pm.Model(coords=cat.coords()) as model:
        age = pm.Normal("log_age", 9.0, 0.02)
        psp.ClusterPhotometry(
            "stars", cluster_iso, observed=cat, log_age=age, zero_points=OFFSETS + OWN, **GIVEN
        )
    return model


@pytest.fixture(autouse=True)
def _quiet(python_vm):
    yield
    plt.close("all")


def test_stars_of_one_cluster(model, moved, posterior):
    few = posterior.isel(chain=[0], draw=slice(3))
    options = {"random_seed": 1, "progressbar": False}
    found, wanted = (psp.star_posterior(few, m, **options) for m in (model, moved))
    for name in ("membership", "initial_mass", "mass_ratio"):
        assert_close(found[name], wanted[name], "kernel")
    found, wanted = (
        psp.luminosity_function(few, MAG, np.arange(8.0, 20.0), m, progressbar=False)
        for m in (model, moved)
    )
    assert_close(found["predicted"], wanted["predicted"], "kernel")
    found, wanted = (psp.predict_cmd(few, 20, m, **options) for m in (model, moved))
    assert_close(found["mag"], wanted["mag"], "kernel")


def test_draws_are_moved(model, moved, posterior):
    """Members of `pm.sample_posterior_predictive`, with the same seed."""
    found = []
    for own in (model, moved):
        with own:
            found.append(
                pm.sample_posterior_predictive(
                    xr.DataTree.from_dict({"posterior": posterior.isel(chain=[0], draw=slice(3))}),
                    random_seed=1, progressbar=False,
                )["posterior_predictive"]["stars"]
            )  # fmt: skip
    assert_close(*found, "kernel")


def test_the_check_of_a_fit(model, moved, posterior):
    found, wanted = (
        psp.check_cluster_fit(posterior, own, color=COLOR, mag=MAG, progressbar=False)
        for own in (model, moved)
    )
    assert_close(found.isochrones, wanted.isochrones, "kernel")
    assert_close(found.stars["membership"], wanted.stars["membership"], "kernel")
    assert set(found.table["check"]) == set(wanted.table["check"])


def lines(ax):
    """Vertices of the isochrones of a diagram."""
    collection = next(c for c in ax.collections if isinstance(c, LineCollection))
    return [path.vertices for path in collection.get_paths()]


def diagram(iso, catalog, samples, corrections=None, **options):
    return psp.plot_cmd(
        catalog, COLOR, MAG, iso=iso, samples=samples, parameters=TRUTH, rng=1, n_samples=3,
        corrections=corrections, **options,
    )  # fmt: skip


def check_moved(ax, plain, offsets):
    """Each line is moved by the offsets of its bands."""
    of = dict(zip(BANDS, offsets, strict=True))
    expected = [of[COLOR[0]] - of[COLOR[1]], of[MAG]]
    assert len(lines(ax)) == 3
    for line, other in zip(lines(ax), lines(plain), strict=True):
        away = (line - other)[np.isfinite(other).all(axis=1)]
        assert_close(away, np.broadcast_to(expected, away.shape), "kernel")


def corrections_of(model, whole):
    """What the model was given, out of its variables."""
    return (psp.MagnitudeCorrections(model[whole], BANDS, KNOTS), Shift(model["shift"]))


def test_isochrones_of_draws(cluster_iso, cat, model, posterior):
    ax = diagram(cluster_iso, cat, posterior, corrections_of(model, "offset"))
    plain = diagram(cluster_iso, cat, posterior)
    check_moved(ax, plain, OFFSETS + OWN)
    # Numbers in place of variables, in a list.
    numbers = [psp.MagnitudeCorrections(SHARED, BANDS, KNOTS), Shift(list(OWN))]
    check_moved(diagram(cluster_iso, cat, posterior, numbers), plain, OFFSETS + OWN)


def test_offsets_along_the_sequence(cluster_iso, cat):
    """Where coefficients differ, each node of the line is moved by what the knots say of it."""
    coefficients = np.random.default_rng(2).normal(0.0, 0.1, (3, 3))
    own = psp.MagnitudeCorrections(coefficients, BANDS, KNOTS)
    at_age = {**TRUTH, "log_age": 9.5}
    line, plain = (
        lines(psp.plot_cmd(cat, COLOR, MAG, iso=cluster_iso, parameters=at_age, corrections=part))[
            0
        ]
        for part in (own, None)
    )
    one = cluster_iso.at(0.0, 9.5, BANDS)
    nodes = ModelNodes(
        one.initial_mass, one.eep.astype(float), 0.0, one.log_teff, one.log_g, one.log_l,
        cluster_iso.main_sequence_eep,
    )  # fmt: skip
    added = own.magnitudes(nodes, np.zeros((len(one.eep), 3)), BANDS)[:, [2, 1]]
    added[:, 0] -= added[:, 1]
    # Up to the helium flash, where the line is broken.
    (gap,) = np.flatnonzero(np.isnan(line).any(axis=1))
    known = (one.initial_mass > 0.101) & (one.eep <= cluster_iso.flash_eeps[0])
    assert_close((line - plain)[gap - known.sum() : gap], added[known], "kernel")


def test_a_stack_after_the_fit(cluster_iso, cats, cat, model_of_two, model, posterior_of_two):
    few = posterior_of_two.isel(chain=[0], draw=slice(3))
    members = psp.membership(few, model_of_two, progressbar=False)
    assert members.sizes["star"] == cats.n_star
    # The first cluster does not deviate: it is the one fitted alone.
    alone = psp.membership(few[["log_age", "offset", "shift"]], model, progressbar=False)
    assert_close(members.isel(star=cats.rows("near")), alone, "stacked")
    options = {"progressbar": False, "random_seed": 1, "selected": False}
    whole = psp.predict_cmd(few, 10, model_of_two, **options)
    own = psp.predict_cmd(few, 10, model_of_two, cluster="near", **options)
    single = psp.predict_cmd(few[["log_age", "offset", "shift"]], 10, model, **options)
    assert_close(own["mag"].squeeze("cluster"), single["mag"], "stacked")
    assert whole.sizes["cluster"] == 2
    assert np.isnan(whole["mag"].sel(cluster="far", band="2MASS_Ks")).all()
    assert np.isfinite(whole["mag"].sel(cluster="far", band=list(FEW))).all()
    check = psp.check_cluster_fit(
        posterior_of_two, model_of_two, cluster="far", color=COLOR, mag=MAG, n_draws=100,
        progressbar=False,
    )  # fmt: skip
    line = check.isochrones.isel(sample=0).to_numpy()
    corrections = corrections_of(model_of_two, "offset_cluster")
    axes = diagram(cluster_iso, cats, posterior_of_two, corrections)
    plain = diagram(cluster_iso, cats, posterior_of_two)
    check_moved(axes[0], plain[0], OFFSETS + OWN)
    check_moved(axes[1], plain[1], OFFSETS + OWN + 0.04)
    # The check draws the same line, of the same draw.
    first = posterior_of_two.isel(chain=[0], draw=[0])
    (shown,) = lines(diagram(cluster_iso, cats, first, corrections, cluster="far"))
    kept, seen = (x[np.isfinite(x).all(axis=1)] for x in (shown, line))
    assert_close(seen, kept, "kernel")


def test_numbers_by_cluster(cluster_iso, cats, posterior):
    each = SHARED + np.array([0.0, 0.04])[:, None, None]
    numbers = (psp.MagnitudeCorrections(each, BANDS, KNOTS), Shift(np.stack([OWN, OWN + 0.1])))
    axes = diagram(cluster_iso, cats, posterior, numbers)
    plain = diagram(cluster_iso, cats, posterior)
    check_moved(axes[0], plain[0], OFFSETS + OWN)
    check_moved(axes[1], plain[1], OFFSETS + OWN + 0.14)


@pytest.mark.parametrize(
    ("corrections", "words"),
    [
        (Shift, r"corrections must be .* give an instance, Shift\(...\)"),
        ("shift", "corrections must be .* got 'shift'; give such"),
        (psp.MagnitudeCorrections(np.ones((2, 3, 3)), BANDS, KNOTS),
         r"corrections.coefficients must be a scalar or have the shape \(3, 3\), got 3 dim"),
        (Shift(np.ones(2)), "corrections.offset has 2 values for 3 bands"),
    ],
)  # fmt: skip
def test_errors(cluster_iso, cat, posterior, corrections, words):
    with pytest.raises(ValueError, match=words):
        diagram(cluster_iso, cat, posterior, corrections)


def test_coefficients_of_all_clusters_for_one(cluster_iso, cat, model_of_two, posterior_of_two):
    corrections = corrections_of(model_of_two, "offset_cluster")
    with pytest.raises(ValueError, match=r"coefficients must be a scalar or have the shape \(3, 3"):
        diagram(cluster_iso, cat, posterior_of_two, corrections)


def test_the_posterior_lacks_the_coefficients(cluster_iso, cat, model, posterior):
    without = posterior.drop_vars("offset")
    with pytest.raises(ValueError, match=r"lack offset \(of the corrections\)"):
        diagram(cluster_iso, cat, without, corrections_of(model, "offset"))
    with pytest.raises(ValueError, match="the posterior has no offset, which the model has"):
        psp.membership(without, model, progressbar=False)
