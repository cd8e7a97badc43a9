"""Many clusters that teach each other: the example, and simulated discs with pooled parameters."""

import arviz_stats as azs
import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pymc_starpop as psp
from hierarchy_fixtures import EXAMPLE, draw_disc

N_SET = 20


def around_the_truth(disc, width, seed):
    """Draws around the truth: parameters of the clusters with a width of theirs."""
    rng = np.random.default_rng(seed)
    draws = {}
    for name in EXAMPLE.HYPER:
        draws[name] = (("chain", "draw"), disc.truth[name] * (1.0 + 0.1 * rng.normal(size=(2, 60))))
    for name in EXAMPLE.NAMES:
        off = rng.normal(size=disc.cats.n_cluster) + rng.normal(size=(2, 60, disc.cats.n_cluster))
        draws[name] = (("chain", "draw", "cluster"), disc.truth[name] + width * off)
    stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros((2, 60), dtype=bool))})
    posterior = xr.Dataset(draws, coords={"cluster": list(disc.cats)})
    return xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})


@pytest.fixture(scope="module")
def small():
    return EXAMPLE.simulate(3, seed=3, n_star=(8, 12), n_nodes=60)


def test_shrinkage_is_that_of_the_clusters(small):
    wide, narrow = (around_the_truth(small, width, 1)["posterior"].dataset for width in (0.1, 0.05))
    rows = EXAMPLE.shrinkage(wide, narrow, small)
    assert [row["quantity"] for row in rows[::2]] == list(EXAMPLE.NAMES)
    for row in rows:
        assert row["rms_together"] == pytest.approx(0.5 * row["rms_separate"])
        assert row["width_together"] == pytest.approx(0.5 * row["width_separate"])
    assert 0.08 < rows[0]["width_separate"] < 0.12


def test_what_is_printed_and_drawn(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(EXAMPLE, "OUTPUT", tmp_path)
    separate, together = around_the_truth(small, 0.1, 1), around_the_truth(small, 0.05, 2)
    EXAMPLE.report(small, separate, together)
    printed = capsys.readouterr().out
    assert "feh_gradient" in printed
    assert "[Fe/H], all : error" in printed
    assert (tmp_path / "hierarchy_shrinkage.csv").read_text().count("\n") == 7
    posteriors = separate["posterior"].dataset, together["posterior"].dataset
    for draw, panels in ((EXAMPLE.draw_relations, 2), (EXAMPLE.draw_shrinkage, 3)):
        figure = draw(small, *posteriors)
        assert len(figure.axes) == panels
        figure.savefig(tmp_path / "figure.png")


@pytest.mark.slow
def test_the_small_disc_runs_from_stars_to_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(EXAMPLE, "OUTPUT", tmp_path)
    assert EXAMPLE.main(["--small"]) == 0
    assert "3 clusters" in capsys.readouterr().out
    for name in ("hierarchy_relations.png", "hierarchy_shrinkage.png", "hierarchy_shrinkage.csv"):
        assert (tmp_path / name).stat().st_size > 100, name


def test_both_forms_of_the_hierarchy_are_one_model(small):
    """Their densities differ by the change of variables alone."""
    disc, truth = small, small.truth
    found = []
    for centred in (True, False):
        model = EXAMPLE.build_hierarchy(disc, centred)
        point = {name: truth[name] for name in ("log_age", "distance_modulus", "av")}
        point |= {name: truth[name] for name in (*EXAMPLE.HYPER, "field_fraction")}
        mean = EXAMPLE.mean_feh(truth, disc.radius_kpc, truth["log_age"])
        logit = np.log(truth["binary_fraction"] / (1.0 - truth["binary_fraction"]))
        middle = np.log(truth["binary_mean"] / (1.0 - truth["binary_mean"]))
        offsets = {
            "feh": (truth["feh"] - mean) / truth["feh_scatter"],
            "binary_logit": (logit - middle) / truth["binary_scatter"],
        }
        if centred:
            point |= {"feh": truth["feh"], "binary_logit": logit}
        else:
            point |= {f"{name}_offset": value for name, value in offsets.items()}
        for variable in model.free_RVs:
            model.set_initval(variable, point[variable.name])
        # Of the priors: the likelihood is the same.
        logp = model.compile_logp(vars=model.free_RVs, mode="FAST_COMPILE")
        found.append(float(logp(model.initial_point())))
    jacobian = 3.0 * np.log(truth["feh_scatter"] * truth["binary_scatter"])
    assert found[1] - found[0] == pytest.approx(jacobian, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
def test_thirty_clusters_are_sampled(sampler):
    disc = EXAMPLE.simulate(30, seed=1)
    idata, minutes = EXAMPLE.sample(EXAMPLE.build_hierarchy(disc), sampler, 2000, 800)
    posterior = idata["posterior"].dataset
    pulls = EXAMPLE.pulls(posterior, disc.truth)
    r_hats = {name: float(values.max()) for name, values in azs.rhat(posterior).items()}
    print(f"{sampler}: {minutes:.1f} minutes, pulls", {k: round(v, 2) for k, v in pulls.items()})
    print("r_hat", {name: round(value, 4) for name, value in r_hats.items()}, flush=True)
    assert max(r_hats.values()) <= 1.01
    assert int(idata["sample_stats"]["diverging"].sum()) == 0
    assert max(map(abs, pulls.values())) < 2.5, pulls


def one_chain(start, draws, tune, seed):
    """Draws of one chain, and the effective number of the worst hyperparameter."""
    idata = pm.sample(
        draws, tune=tune, cores=1, random_seed=seed, progressbar=False, quiet=True,
        **start.sample_kwargs("pymc", chains=1),
    )  # fmt: skip
    posterior = idata["posterior"].dataset
    return posterior, float(azs.ess(posterior[list(EXAMPLE.HYPER)]).to_dataarray().min())


@pytest.mark.slow
def test_hyperparameters_of_many_discs_are_recovered():
    """Pulls of what the clusters share, by a short chain for each disc."""
    found = {name: [] for name in EXAMPLE.HYPER}
    for seed in range(N_SET):
        disc = draw_disc(seed)
        with EXAMPLE.build_hierarchy(disc):
            start = psp.find_start(6, random_seed=seed, progressbar=False)
            posterior, effective = one_chain(start, 400, 300, seed)
            if effective < 40.0:
                # A small scatter of [Fe/H] takes longer to tune to.
                posterior, effective = one_chain(start, 1600, 600, seed)
        assert effective > 40.0, seed
        pulls = EXAMPLE.pulls(posterior, disc.truth)
        print(seed, {name: round(pull, 2) for name, pull in pulls.items()}, flush=True)
        for name, pull in pulls.items():
            found[name].append(pull)
    for name, pulls in found.items():
        print(f"{name}: {np.mean(pulls):+.2f} ({np.std(pulls, ddof=1):.2f})")
    for name, pulls in found.items():
        assert abs(np.mean(pulls)) < 0.6, name
        assert 0.65 < np.std(pulls, ddof=1) < 1.4, name
