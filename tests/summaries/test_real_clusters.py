"""Ruprecht 147 and M67 in one model, with both samplers, and what comes after the fit."""

import arviz_stats as azs
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pytest

import pymc_starpop as psp
import real_clusters
from example_files import load


@pytest.fixture(scope="module")
def cats(shared_data):
    m67 = load("m67").read_catalog(shared_data / "m67_ngc2682.csv")
    return real_clusters.stack(psp.load_example("ruprecht147", parallax_error_floor=0.08), m67)


@pytest.fixture(scope="module")
def model(cats):
    return real_clusters.build_model(cats)


@pytest.fixture(scope="module")
def start(model):
    return psp.find_start(4, model=model, random_seed=1, progressbar=False)


def test_each_cluster_has_its_own_bands_and_cut(cats):
    assert cats.cluster_names == real_clusters.NAMES
    assert not set(cats["rup147"].bands) & set(cats["m67"].bands)
    for name, catalog in real_clusters.LIMITS.items():
        assert catalog.mask(cats[name]).all()
    # Enough to fit, few enough for minutes.
    assert all(150 < cats[name].n_star < 800 for name in cats)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["pymc", "nutpie"])
def test_two_real_clusters_in_one_model(cats, model, start, sampler, tmp_path):
    idata = pm.sample(
        1000, tune=800, cores=2, random_seed=1, progressbar=False, model=model,
        **start.sample_kwargs(sampler, chains=4, model=model),
    )  # fmt: skip
    posterior = idata["posterior"].dataset
    assert float(azs.rhat(posterior).to_dataarray().max()) <= 1.01
    assert int(idata["sample_stats"]["diverging"].sum()) == 0
    # The literature: see examples/ruprecht147.py and examples/m67.py.
    ranges = {
        "rup147": {"log_age": (9.25, 9.50), "distance_pc": (290.0, 320.0), "feh": (-0.05, 0.35)},
        "m67": {"log_age": (9.45, 9.70), "distance_pc": (810.0, 900.0), "feh": (-0.25, 0.25)},
    }
    for name, wanted in ranges.items():
        for parameter, (low, high) in wanted.items():
            found = posterior[parameter].sel(cluster=name).quantile([0.01, 0.99]).values
            assert low < found[0] < found[1] < high, (name, parameter)
    members = psp.membership(idata, model, progressbar=False).mean(("chain", "draw"))
    share = members.groupby("cluster").mean()
    assert 0.7 < float(share.sel(cluster="rup147")) < 1.0
    assert 0.7 < float(share.sel(cluster="m67")) < 1.0
    known = np.array([str(m).startswith("No") for m in cats["rup147"].extra["member"]])
    of_rup147 = members.sel(star=cats["rup147"].star).values
    assert of_rup147[known].mean() < of_rup147[~known].mean() - 0.2
    check_predictions(cats, model, idata)
    figure = real_clusters.plot(cats, idata, members)
    assert [ax.get_title(loc="left") for ax in figure.axes[:2]] == list(cats.cluster_names)
    figure.savefig(tmp_path / f"{sampler}.png", dpi=90)
    plt.close(figure)


def check_predictions(cats, model, idata):
    """Predicted stars have the colors of those of the catalogs, by quartiles.

    Not the magnitudes: both clusters have lost faint stars, so that with the mass function of
    Kroupa the predicted ones are fainter, by 0.2 mag in M67 and 0.7 mag in Ruprecht 147.
    """
    few = idata["posterior"].dataset.isel(draw=slice(None, None, 100))
    systems = psp.predict_cmd(few, model=model, random_seed=1, progressbar=False)
    for name, kind in (("rup147", "EDR3"), ("m67", "DR2Rev")):
        blue, red = f"Gaia_BP_{kind}", f"Gaia_RP_{kind}"
        drawn, stars = systems["mag"].sel(cluster=name), cats[name]
        found = drawn.sel(band=blue).values - drawn.sel(band=red).values
        seen = stars.mag[:, stars.band_index(blue)] - stars.mag[:, stars.band_index(red)]
        quartiles = [25, 50, 75]
        off = np.nanpercentile(found, quartiles) - np.nanpercentile(seen, quartiles)
        assert np.abs(off).max() < 0.1, (name, off)
