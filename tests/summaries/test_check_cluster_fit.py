"""What is said of cluster fits: one where everything is right, and others with one fault each."""

from types import SimpleNamespace

import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pymc_starpop as psp
from fit_check_fixtures import (
    BANDS,
    FIELD,
    LIMITS,
    N_CHAIN,
    TRUE,
    build,
    doubted,
    gaussian_posterior,
    moved,
    simulate,
)
from pymc_starpop.summaries import Start
from pymc_starpop.summaries.chosen import chosen_clusters
from pymc_starpop.summaries.fit_draws import evaluate_fit
from pymc_starpop.summaries.fit_priors import _prior_rows, bound_rows
from pymc_starpop.summaries.fit_rivals import rival_rows
from pymc_starpop.summaries.fit_sensitivity import LIMIT, power_scaled, sensitivity_rows
from pymc_starpop.summaries.fit_sequence import biweight_location

pytestmark = pytest.mark.usefixtures("python_vm")

G, BP, RP = BANDS
RUN = {"n_draws": 150, "progressbar": False}


@pytest.fixture(scope="module")
def cat(cluster_iso):
    return simulate(cluster_iso, seed=3)


@pytest.fixture(scope="module")
def right(cluster_iso, cat):
    """A right model of the stars and its posterior, with more draws than needed."""
    model = build(cluster_iso, cat)
    return model, gaussian_posterior(model, n_draw=2000)


def start_with(**optima):
    """Optima: log age and nats below the best, by name."""
    ages, below = zip(*optima.values(), strict=True)
    table = {"logp": -np.array(below), "below_best": np.array(below), "log_age": np.array(ages)}
    return Start({}, xr.Dataset({name: ("optimum", column) for name, column in table.items()}))


def rows_of(check, name):
    return check.table[check.table["check"] == name]


@pytest.fixture(scope="module")
def passed(right):
    """The check of the right model; other optima are far below or in the posterior."""
    model, posterior = right
    age = float(posterior["log_age"].mean())
    start = start_with(best=(age, 0.0), same=(age + 0.003, 0.8), far=(8.7, 60.0))
    return psp.check_cluster_fit(posterior, model, start=start, **RUN)


def test_a_right_model_is_left_in_peace(passed):
    assert passed.ok, str(passed)
    assert set(passed.table["verdict"]) == {"fine"}
    assert list(passed.table) == ["check", "of", "value", "limit", "verdict", "advice"]
    assert passed.problems.empty
    assert str(passed).splitlines()[-1] == "no reason to doubt found"
    assert rows_of(passed, "rivals")["value"].item() == 60.0
    assert rows_of(passed, "grid edge")["of"].tolist() == ["log_age", "av"]
    assert len(rows_of(passed, "magnitude range")) == 3
    assert (passed.color, passed.mag) == ((BP, RP), G)


def test_arrays_of_the_check(passed, cat):
    r = passed.residuals
    assert r["n_star"].sum() > 0.8 * cat.n_star
    assert (np.abs(r["color_residual"]) < 3.5 * r["color_error"]).all()
    assert (r["color_error"] < 0.02).all()
    # Redder at one magnitude is brighter at one color, where the main sequence falls.
    assert (np.sign(r["mag_residual"]) == -np.sign(r["color_residual"])).all()
    np.testing.assert_allclose(r["mag_high"][:-1], r["mag_low"][1:])
    assert np.abs(passed.sensitivity["shift"]).max() < LIMIT
    share = passed.field.isel(part=0)
    assert abs(float(share["found"] - share["expected"])) < 3.0 * float(share["error"])
    assert passed.stars["membership"].shape == (cat.n_star,)
    np.testing.assert_allclose(passed.stars["color"], cat.mag[:, 1] - cat.mag[:, 2])
    assert passed.isochrones.dims == ("sample", "point", "axis")


def test_a_rival_is_named(right):
    model, posterior = right
    start = start_with(best=(9.009, 0.0), other=(8.7, 3.0))
    check = psp.check_cluster_fit(posterior, model, start=start, **RUN)
    assert doubted(check) == ["rivals"]
    assert "log_age = 8.7 (posterior 8.99" in check.problems["advice"].item()
    assert "3.0 nats below" in str(check)


def test_chains_apart_are_named(right):
    model, posterior = right
    apart = posterior.copy(deep=True)
    apart["log_age"][2] += 0.2
    check = psp.check_cluster_fit(apart, model, **RUN)
    assert "chains" in doubted(check)
    assert "chain 2 near log_age" in rows_of(check, "chains")["advice"].item()


@pytest.mark.parametrize("side", [1.0, -1.0], ids=["redder", "bluer"])
def test_stars_beside_the_isochrone_are_seen(cluster_iso, cat, side):
    rows = np.flatnonzero((cat.mag[:, 0] > 14.0) & (cat.mag[:, 0] < 15.5))
    model = build(cluster_iso, moved(cat, side * np.array([0.0, 0.025, -0.025]), rows))
    check = psp.check_cluster_fit(gaussian_posterior(model), model, **RUN)
    # Stars that do not lie on it move the answer, too.
    assert {"residual color"} <= set(doubted(check)) <= {"residual color", "magnitude range"}
    r = check.residuals
    inside = (r["mag_low"] > 14.0) & (r["mag_high"] < 15.5)
    assert inside.any()
    assert (r["color_residual"][inside] * side > 0.02).all()
    assert ("redder" if side > 0.0 else "bluer") in str(check)


def test_a_field_that_eats_faint_stars_is_seen(cluster_iso, cat, rng):
    faint = np.flatnonzero((cat.mag[:, 0] > 16.0) & (rng.random(cat.n_star) < 0.6))
    mag = cat.mag.copy()
    low, high = np.array(list(FIELD.color_ranges.values())).T
    mag[faint, 1:] = mag[faint, :1] + rng.uniform(low, high, (faint.size, 2))
    model = build(cluster_iso, psp.StarCatalog(mag, cat.mag_err, bands=BANDS))
    check = psp.check_cluster_fit(gaussian_posterior(model), model, **RUN)
    assert doubted(check) == ["field at faint end"]
    row = check.problems.squeeze()
    assert row["value"] > row["limit"] > 0.2
    assert "fitted field fraction 0." in row["advice"]


def test_an_age_at_the_end_of_the_isochrones_is_seen(cluster_iso):
    end = cluster_iso.log_age_range[1]
    true = {"log_age": end - 0.015, "distance_modulus": 8.0, "av": 0.3}
    old = simulate(cluster_iso, seed=6, **true)
    model = build(cluster_iso, old, log_age=lambda: pm.Normal("log_age", 10.2, 0.2))
    posterior = gaussian_posterior(model, true, n_draw=2000)
    check = psp.check_cluster_fit(kept(posterior, posterior["log_age"] < end), model, **RUN)
    assert doubted(check) == ["grid edge"]
    assert f"within 0.02 of {end:g}" in check.problems["advice"].item()


def kept(posterior, where, n_draw=500):
    """Draws that pass a cut: those of the prior that is cut there."""
    flat = posterior.stack(sample=("chain", "draw")).isel(sample=np.flatnonzero(where))
    assert flat.sizes["sample"] >= N_CHAIN * n_draw
    return xr.Dataset({
        name: (("chain", "draw"), v.values[: N_CHAIN * n_draw].reshape(N_CHAIN, n_draw))
        for name, v in flat.data_vars.items()
    })  # fmt: skip


def test_draws_at_a_bound_of_the_prior_are_seen(cluster_iso, cat, right):
    bound = float(right[1]["av"].quantile(0.7))
    model = build(cluster_iso, cat, av=lambda: pm.Uniform("av", bound, 2.0))
    check = psp.check_cluster_fit(kept(right[1], right[1]["av"] > bound), model, **RUN)
    assert doubted(check) == ["prior bound"]
    assert check.problems["of"].item() == "av"
    assert f"pile up at {bound:g}" in check.problems["advice"].item()


def test_a_fraction_at_zero_is_a_note_and_another_bound_is_not(cluster_iso, cat, right, rng):
    posterior = right[1].isel(draw=slice(0, 50)).copy(deep=True)
    posterior["field_fraction"][:] = np.abs(rng.normal(0.0, 0.01, (N_CHAIN, 50)))
    posterior["binary_fraction"][:] = 1.0 - np.abs(rng.normal(0.0, 0.01, (N_CHAIN, 50)))
    [of] = chosen_clusters(right[0])
    rows = {row.of: row for row in bound_rows(evaluate_fit(posterior, of, 200, False))}
    assert rows["field_fraction"].verdict == "note"
    assert "quote an upper limit" in rows["field_fraction"].advice
    assert rows["binary_fraction"].verdict == "doubt"
    assert "pile up at 1" in rows["binary_fraction"].advice
    assert rows["av"].verdict == "fine"


def test_priors_that_say_all_and_priors_that_disagree(rng):
    prior = rng.normal(0.3, 0.1, (2000, 1))
    width, conflict = _prior_rows("av", prior, rng.normal(0.3, 0.1, (2000, 1)))
    assert (width.verdict, conflict.verdict) == ("note", "fine")
    assert width.value == pytest.approx(1.0, abs=0.1)
    width, conflict = _prior_rows("av", prior, rng.normal(0.8, 0.01, (2000, 1)))
    assert (width.verdict, conflict.verdict) == ("fine", "doubt")
    assert conflict.value == pytest.approx(5.0, abs=0.3)
    many = rng.normal(0.0, 0.1, (2000, 48))
    after = rng.normal(0.0, 0.01, (2000, 48))
    after[:, 7] += 0.33
    # What one number in 48 may do.
    assert _prior_rows("coefficients", many, after)[1].verdict == "fine"
    after[:, 7] += 0.3
    assert "coefficients, element 7 of 48," in _prior_rows("coefficients", many, after)[1].advice


def test_the_location_of_a_sequence_is_that_of_its_single_stars(rng):
    single = rng.normal(0.02, 0.01, 4000)
    values = np.concatenate([single, rng.uniform(0.06, 0.3, 1500)])
    assert abs(biweight_location(values, 0.04) - 0.02) < 0.002
    assert values.mean() > 0.05
    assert biweight_location(np.array([1.0, 2.0]), 1e-3) == 1.5


def test_the_shift_is_that_of_a_fit_with_other_weights(rng):
    """Gaussian data of one mean: what weights do to it is known."""
    n = 30
    mag = np.arange(3.0 * n)
    data = rng.normal(0.0, 1.0, mag.size) + np.where(mag >= 2 * n, 1.2, 0.0)
    mean, sd = data.mean(), 1.0 / np.sqrt(data.size)
    theta = rng.normal(mean, sd, 4000)
    fit = SimpleNamespace(
        mag=mag[:, None], columns=("G",), logp=-0.5 * (data - theta[:, None]) ** 2,
        scalars=lambda name: theta if name == "av" else None,
        parameters=lambda k: (SimpleNamespace(distance_modulus=1.0), None),
    )  # fmt: skip
    found = power_scaled(fit, "G")
    for k in range(3):
        part = np.repeat(np.arange(3), n) == k
        ends = [(w * data).sum() / w.sum() for w in (np.where(part, a, 1.0) for a in (1.25, 0.8))]
        expected = (ends[0] - ends[1]) / sd
        assert abs(float(found["shift"][k, 0]) - expected) < 0.06
    rows = sensitivity_rows(found, "G")
    assert rows[2].verdict == "doubt"
    assert "mean moves (av by +" in rows[2].advice
    assert [
        row.verdict for row in sensitivity_rows(found.assign(pareto_k=("part", [0.9] * 3)), "G")
    ] == ["not known"] * 3


def test_fluxes_are_checked_like_magnitudes(cluster_iso, cat):
    flux = 10.0 ** (0.4 * (22.5 - cat.mag))
    as_flux = psp.StarCatalog.from_flux(flux, 0.4 * np.log(10.0) * 0.01 * flux, bands=BANDS)
    model = build(cluster_iso, as_flux)
    check = psp.check_cluster_fit(gaussian_posterior(model), model, **RUN)
    assert check.ok, str(check)
    np.testing.assert_allclose(check.stars["mag"], cat.mag[:, 0])
    assert (check.residuals["color_error"] < 0.02).all()


def test_colors_in_the_catalog_are_those_of_the_sequence(cluster_iso, cat, right):
    color = cat.mag[:, 1] - cat.mag[:, 2]
    columns = np.column_stack([cat.mag[:, 0], color])
    as_color = psp.StarCatalog(columns, np.full(columns.shape, 0.014), bands=(G, f"{BP} - {RP}"))
    field = psp.InflatedScatterField(10.0)
    with pm.Model(coords=as_color.coords()) as model:
        psp.ClusterPhotometry(
            "stars", cluster_iso, log_age=pm.Normal("log_age", 9.0, 0.1), feh=0.0,
            field_fraction=0.1, binary_fraction=0.3, intrinsic_scatter=0.01, field=field,
            zero_points=np.array([0.0, 0.1, 0.0]), distance_modulus=8.0, av=0.3,
            observed=as_color, selection=LIMITS,
        )  # fmt: skip
    check = psp.check_cluster_fit(right[1], model, **RUN | {"n_draws": 100})
    assert (check.color, check.mag) == ((BP, RP), G)
    np.testing.assert_allclose(check.stars["color"], color)
    # All stars are bluer than a model that is redder by its zero point.
    well = check.residuals["color_error"] < 0.02
    assert well.sum() > 3
    np.testing.assert_allclose(check.residuals["color_residual"][well], -0.1, atol=0.03)


def test_a_field_that_cannot_be_drawn_leaves_two_checks_open(cluster_iso, cat, right):
    few = psp.StarCatalog(cat.mag[:40], cat.mag_err[:40], bands=BANDS)
    with pm.Model(coords=few.coords()) as model:
        age = pm.Normal("log_age", 9.0, 0.1)
        psp.ClusterPhotometry(
            "stars", cluster_iso, observed=few, log_age=age, feh=0.0, distance_modulus=8.0, av=0.3,
            field_fraction=0.1, field=psp.ChiSquareField(), intrinsic_scatter=0.01,
        )  # fmt: skip
    check = psp.check_cluster_fit(right[1], model, n_draws=100, progressbar=False)
    unknown = set(check.table.loc[check.table["verdict"] == "not known", "check"])
    assert {"residual color", "field at faint end"} <= unknown
    assert check.residuals is None
    assert "ChiSquareField" in str(check)


def test_one_cluster_of_a_stack(cluster_iso):
    cats = psp.StarCatalog.stack({
        "near": simulate(cluster_iso, 2, 15), "far": simulate(cluster_iso, 3, 120),
    })  # fmt: skip
    with pm.Model(coords=cats.coords()) as model:
        psp.ClusterPhotometry(
            "stars", cluster_iso, log_age=pm.Normal("log_age", 9.0, 0.1, dims="cluster"),
            av=pm.Uniform("av", 0.0, 1.0), feh=0.0, distance_modulus=8.0, field=FIELD,
            field_fraction=0.1, binary_fraction=0.3, intrinsic_scatter=0.01, mass_ratio_nodes=6,
            observed=cats, selection=LIMITS,
        )  # fmt: skip
    rng = np.random.default_rng(1)
    idata = xr.Dataset({
        "log_age": (("chain", "draw", "cluster"), rng.normal([9.0, 9.01], 0.01, (4, 100, 2))),
        "av": (("chain", "draw"), rng.normal(0.3, 0.01, (4, 100))),
    })  # fmt: skip
    optima = start_with(best=(9.01, 0.0), other=(8.6, 2.0), alone=(9.0, 0.0)).optima
    start = Start({}, optima.assign(cluster=("optimum", ["far", "far", "near"])))
    with pytest.raises(ValueError, match="several clusters, and each is checked alone; give clus"):
        psp.check_cluster_fit(idata, model)
    run = RUN | {"start": start, "n_draws": 100}
    near, far = (psp.check_cluster_fit(idata, model, cluster=name, **run) for name in cats)
    assert rows_of(near, "residual color")["verdict"].item() == "not known"
    assert rows_of(near, "rivals")["verdict"].item() == "fine"
    assert rows_of(far, "rivals")["value"].item() == 2.0
    assert far.residuals["n_star"].sum() > 90
    assert far.stars.sizes["star"] == 120


def test_refusals(right):
    model, posterior = right
    few = posterior.isel(draw=slice(0, 200))

    def check(idata=few, **kwargs):
        return psp.check_cluster_fit(idata, model, progressbar=False, **kwargs)

    with pytest.raises(ValueError, match="mag='V' is no magnitude of the catalog, whose columns"):
        check(mag="V", n_draws=100)
    for color in ((G, "V"), (G, G)):
        with pytest.raises(ValueError, match="must be two different bands of the catalog"):
            check(color=color, n_draws=100)
    with pytest.raises(ValueError, match=r"start must be what psp.find_start returned, got dict"):
        check(start={}, n_draws=100)
    for number in (99, 10.5):
        with pytest.raises(ValueError, match="n_draws must be a whole number of at least 100"):
            check(n_draws=number)
    with pytest.raises(ValueError, match="the posterior has 40 draws in all, fewer than 100"):
        check(posterior.isel(draw=slice(0, 10)))
    with pytest.raises(ValueError, match="idata: the posterior has no av"):
        check(posterior.drop_vars("av"))
    [of] = chosen_clusters(model)
    with pytest.raises(ValueError, match="it holds the optima that were found"):
        rival_rows([], posterior, of)


def test_a_catalog_of_one_band_has_no_sequence(cluster_iso, cat):
    one = psp.StarCatalog(cat.mag[:, :1], cat.mag_err[:, :1], bands=BANDS[:1])
    with pm.Model(coords=one.coords()) as model:
        age = pm.Normal("log_age", 9.0, 0.1)
        psp.ClusterPhotometry(
            "stars", cluster_iso, observed=one, log_age=age, feh=0.0, **{"distance_modulus": 8.0}
        )
    draws = np.random.default_rng(1).normal(TRUE["log_age"], 0.01, (2, 100))
    with pytest.raises(ValueError, match="which makes no color; check_cluster_fit needs two bands"):
        psp.check_cluster_fit(
            xr.Dataset({"log_age": (("chain", "draw"), draws)}), model, progressbar=False
        )
