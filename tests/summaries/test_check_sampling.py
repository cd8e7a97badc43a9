"""What is said of chains: posteriors that are made to have one fault each, and real samplers."""

import warnings

import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pymc_starpop as psp
from start_fixtures import two_wells

N_CHAIN, N_DRAW = 4, 600


def posterior(rng, n_chain=N_CHAIN, n_draw=N_DRAW, **more):
    """Independent draws of a scalar and a vector, and constants, as simplices have them."""
    dims = ("chain", "draw")
    data = {
        "log_age": (dims, rng.normal(9.3, 0.01, (n_chain, n_draw))),
        "rate": ((*dims, "bin"), rng.normal(0.0, 1.0, (n_chain, n_draw, 3))),
        "edge": (dims, np.ones((n_chain, n_draw))),
    }
    coords = {"chain": np.arange(n_chain), "draw": np.arange(n_draw)}
    return xr.Dataset(data | more, coords=coords)


def fit(draws, **stats):
    """What a sampler returns."""
    dims = ("chain", "draw")
    stats = {name: (dims, np.asarray(values)) for name, values in stats.items()}
    return xr.DataTree.from_dict({"posterior": draws, "sample_stats": xr.Dataset(stats)})


def check(idata, *patterns, **kwargs):
    """The report; its problems are the warnings, one for each pattern."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = psp.check_sampling(idata, **kwargs)
    said = [str(w.message) for w in caught]
    assert tuple(said) == report.problems
    assert len(said) == len(patterns), said
    for text, pattern, warning in zip(said, patterns, caught, strict=True):
        assert pattern in text
        assert warning.filename == __file__
    assert report.ok == (not patterns)
    return report


def test_chains_that_agree_are_left_in_peace(rng):
    still = np.zeros((N_CHAIN, N_DRAW), dtype=bool)
    report = check(fit(posterior(rng), diverging=still, logp=np.full(still.shape, -3.0)))
    assert report.parameters["parameter"].values.tolist() == ["log_age", "rate", "edge"]
    assert (report.parameters["r_hat"][:2] < 1.01).all()
    assert np.isnan(report.parameters["r_hat"][2])
    assert (report.parameters["ess_bulk"][:2] > 1500).all()
    assert report.chains["divergences"].values.tolist() == [0, 0, 0, 0]
    lines = str(report).splitlines()
    assert lines[0].split() == ["parameter", "r_hat", "ess_bulk", "ess_tail"]
    assert lines[-1] == "no problem found"


def test_a_chain_apart_is_named_with_its_place_and_its_density(rng):
    draws = posterior(rng)
    draws["rate"][2, :, 1] += 30.0
    logp = rng.normal(-500.0, 1.0, (N_CHAIN, N_DRAW))
    logp[2] -= 63.0
    apart = "chains 0, 1, 3 near rate = "
    report = check(fit(draws, lp=logp), apart)
    assert "chains do not agree: r_hat is 1." in report.problems[0]
    assert "above 1.01 for rate. " in report.problems[0]
    assert "chain 2 near rate = 30" in report.problems[0]
    lower = float(report.problems[0].split("chain 2 near rate = ")[1].split(", ")[1].split()[0])
    assert lower == pytest.approx(63.0, abs=0.3)
    assert str(report).splitlines()[1].split()[0] == "rate"
    check(fit(draws, lp=logp), var_names=["log_age"])


def test_chains_that_mix_slowly_are_not_called_apart(rng):
    walk = rng.normal(0.0, 1.0, (N_CHAIN, N_DRAW)).cumsum(axis=1)
    draws = posterior(rng, walk=(("chain", "draw"), walk))
    report = check(draws, "r_hat is")
    assert "above 1.01 for walk. They mix slowly" in report.problems[0]


def test_a_single_chain_is_named(rng):
    report = check(posterior(rng, n_chain=1), "a single chain")
    assert "halves" not in report.problems[0]
    assert np.isnan(report.parameters["r_hat"]).all()
    drifting = np.linspace(0.0, 5.0, N_DRAW) + rng.normal(0.0, 1.0, (1, N_DRAW))
    draws = posterior(rng, n_chain=1, drift=(("chain", "draw"), drifting))
    report = check(draws, "Even its own halves disagree", "effective draws for drift")
    assert float(report.chains["r_hat"][0]) > 1.3


def test_faults_of_single_chains_are_named(rng):
    nothing = np.zeros((N_CHAIN, N_DRAW), dtype=bool)
    diverging = nothing.copy()
    diverging[1, :3] = True
    said = "3 of 2400 trajectories diverged, in chain 1"
    assert check(fit(posterior(rng), diverging=diverging), said).chains["divergences"][1] == 3
    for name in ("reached_max_treedepth", "maxdepth_reached"):  # PyMC's and nutpie's
        deep = nothing.copy()
        deep[3, ::10] = True
        report = check(fit(posterior(rng), **{name: deep}), "chain 3 cut more than 5 %")
        assert report.chains["deepest"].values.tolist() == [0.0, 0.0, 0.0, 0.1]
    stuck = posterior(rng)
    for name in ("log_age", "rate"):
        stuck[name][0] = stuck[name][0, 0]
    report = check(stuck, "chain 0 did not move", "chains do not agree")
    assert not report.chains["moved"][0]


def test_chains_that_stay_at_different_places_do_not_move(rng):
    """No r_hat is made of rounding, where all variables stay and where one does."""
    apart = np.arange(N_CHAIN)[:, None] * np.ones((N_CHAIN, N_DRAW))
    stuck = xr.Dataset({"x": (("chain", "draw"), apart)})
    moved = "chains 0, 1, 2, 3 did not move: all draws are the same"
    report = check(stuck, moved, "chains do not move in x: within each all draws are the same")
    assert np.isposinf(report.parameters["r_hat"]).all()
    assert "chain 2 near x = 2" in report.problems[1]
    draws = posterior(rng, n_type=(("chain", "draw"), apart // 2))
    report = check(draws, "chains do not move in n_type")
    assert "chains 0, 1 near n_type = 0; chains 2, 3 near n_type = 1" in report.problems[0]
    assert report.chains["moved"].all()


def test_draws_that_say_nothing_are_named(rng):
    holed = posterior(rng)
    holed["log_age"][1, 7] = np.nan
    check(holed, "log_age: draws that are not finite")
    few = posterior(rng, n_draw=40)[["log_age"]]
    check(few, "40 draws a chain are too few", "r_hat is 1.03 for log_age")


def test_a_posterior_without_draws_is_refused(rng):
    for chains, n_draw in ((4, 0), (0, 4), (0, 0)):
        said = rf"no draws \(chains: {chains}, draws: {n_draw}\); sample anew"
        with pytest.raises(ValueError, match=said):
            psp.check_sampling(posterior(rng, n_chain=chains, n_draw=n_draw))


def test_what_is_no_posterior_is_refused(rng):
    with pytest.raises(ValueError, match="dimensions chain and draw, got list"):
        psp.check_sampling([1.0])
    with pytest.raises(ValueError, match="dimensions chain and draw, got Dataset"):
        psp.check_sampling(posterior(rng).isel(chain=0))
    with pytest.raises(ValueError, match="var_names: the posterior has no feh"):
        psp.check_sampling(posterior(rng), var_names=["feh"])


@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
def test_both_samplers_are_heard(sampler):
    """Chains in two wells, which no sampler leaves."""
    model = two_wells(2.0)
    start = psp.find_start(8, model=model, progressbar=False)
    idata = pm.sample(
        200, tune=200, cores=1, model=model, random_seed=5, progressbar=False, quiet=True,
        **start.sample_kwargs(sampler, chains=4),
    )  # fmt: skip
    with pytest.warns(UserWarning, match="chains do not agree: r_hat is"):
        report = psp.check_sampling(idata)
    places = {}
    for label in ("chains 0, 2", "chains 1, 3"):
        name, place = report.problems[0].split(f"{label} near ")[1].split(" = ")[:2]
        places[label] = float(place.split(",")[0].split(";")[0].split(". ")[0])
    assert name in ("x", "y")
    assert places["chains 0, 2"] == pytest.approx(4.0, abs=0.2)
    assert places["chains 1, 3"] == pytest.approx(-4.0, abs=0.2)
    lower = float(report.problems[0].split(" nats lower")[0].rsplit(" ", 1)[1])
    assert lower == pytest.approx(2.0, abs=0.7)
    assert {"r_hat", "logp", "divergences", "deepest"} <= set(report.chains.data_vars)
    assert float(report.parameters["r_hat"].max()) > 1.5
