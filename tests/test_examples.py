"""The examples, as far as their results are promised."""

import arviz_stats as azs
import numpy as np
import pytest
import xarray as xr

import pymc_starpop as psp
from example_files import load


@pytest.fixture(scope="module")
def galaxy(iso):
    """The example with its stars, templates, fast fit and posterior."""
    example = load("synthetic_galaxy")
    hess = example.simulate(iso, seed=1)
    tmpl = psp.build_templates(
        iso, example.AXES, log_age=example.LOG_AGE, mh=example.MH, t_max_gyr=example.T_MAX,
        distance_modulus=example.DISTANCE_MODULUS, noise=example.NOISE,
        completeness=example.COMPLETENESS, progress=False,
    )  # fmt: skip
    fit, idata = example.sample(tmpl, hess, seed=2)
    return example, fit, idata


@pytest.mark.slow
def test_synthetic_galaxy_is_recovered(galaxy):
    example, fit, idata = galaxy
    posterior = idata["posterior"].dataset
    for name, truth in example.PARAMETERS.items():
        assert abs(fit.parameters[name] - truth) < 3.0 * fit.errors[name], name
        draws = posterior[name]
        assert abs(float(draws.mean()) - truth) < 3.0 * float(draws.std()), name
    cumulative = psp.summarize_sfh(idata, intervals=(0.95, 0.997))["cumulative"]
    older = np.cumsum(example.true_masses()[::-1])[::-1]
    truth = xr.DataArray(older[1:] / older[0], dims="age_edge")
    for width, wanted in ((0.95, 0.9), (0.997, 1.0)):
        tail = round(0.5 * (1.0 - width), 12)
        low, high = cumulative.sel(quantile=[tail, 1.0 - tail], method="nearest").values[:, 1:-1]
        inside = (truth[: low.size] >= low) & (truth[: low.size] <= high)
        assert float(inside.mean()) >= wanted, width


@pytest.mark.slow
def test_synthetic_galaxy_is_easy_to_sample(galaxy):
    _, _, idata = galaxy
    stats = idata["sample_stats"].dataset
    assert int(stats["diverging"].sum()) == 0
    assert float(stats["n_steps"].mean()) <= 10.0
    variables = idata["posterior"].dataset[["mass_formed", "alpha", "beta", "sigma"]]
    assert float(azs.rhat(variables).to_dataarray().max()) <= 1.01


def test_m67_without_its_data_says_so(capsys, tmp_path):
    assert load("m67").main(["--data", str(tmp_path / "none.csv")]) == 2
    assert "give the table of M67 with --data" in capsys.readouterr().err


def test_m67_keeps_stars_with_a_floor_of_their_errors(shared_data):
    example = load("m67")
    catalog = example.read_catalog(shared_data / "m67_ngc2682.csv")
    assert catalog.n_star == 1585
    assert np.nanmin(catalog.mag_err) == example.ERROR_FLOOR
    assert example.LIMITS.mask(catalog).sum() == 1042


@pytest.mark.slow
def test_m67_is_where_others_found_it(iso, shared_data):
    example = load("m67")
    catalog = example.read_catalog(shared_data / "m67_ngc2682.csv")
    stars = catalog.select(example.LIMITS.mask(catalog))
    _, idata = example.fit(
        iso.with_nodes(450), stars, psp.EmpiricalCorrections(), draws=500, tune=500
    )
    posterior = idata["posterior"].dataset
    # Dias et al. (2021): log age 9.575, 865 pc, A_V 0.127, [Fe/H] +0.07.
    ranges = {
        "log_age": (9.50, 9.65), "distance_pc": (820.0, 890.0), "av": (0.02, 0.25),
        "feh": (-0.1, 0.2),
    }  # fmt: skip
    for name, (low, high) in ranges.items():
        found = posterior[name].quantile([0.005, 0.995]).values
        assert low < found[0] < found[1] < high, name
    assert float(azs.rhat(posterior[example.NAMES]).to_dataarray().max()) <= 1.01
    assert int(idata["sample_stats"]["diverging"].sum()) == 0
    raw = example.fit(iso.with_nodes(450), stars, draws=200, tune=400, chains=2)[1]
    table = azs.compare({"corrected": idata, "raw": raw}, var_name="stars")
    assert list(table.index) == ["corrected", "raw"]
    k = azs.loo(idata, var_name="stars", pointwise=True).pareto_k
    assert float((k > 0.7).mean()) < 0.01


def ngc1978(log_age, mh):
    """The example, and its fit with these templates."""
    example = load("ngc1978")
    hess = psp.bin_cmd(example.read_stars(), example.AXES)
    mask = psp.polygon_mask(example.AXES, example.USED)
    tmpl = example.build(np.array(log_age), np.array(mh))
    return example, hess.values[mask.values].sum(), example.fit_history(tmpl, hess, mask)


def age_of_largest_rate(fit):
    """Both edges of the bin, Gyr."""
    peak = int(np.argmax(fit.sfr))
    return fit.age_edges_gyr[peak], fit.age_edges_gyr[peak + 1]


@pytest.mark.usefixtures("shared_data")
@pytest.mark.filterwarnings("ignore:artificial stars", "ignore:the metallicities of the templates")
def test_ngc1978_is_two_gyr_old():
    """With the ages and metallicities near those of the cluster."""
    _, n_star, fit = ngc1978([9.0, 9.2, 9.3, 9.4, 9.6], [-0.8, -0.4, 0.0])
    young, old = age_of_largest_rate(fit)
    assert young > 1.5
    assert old < 2.6
    # What no template explains is a few percent, fitted with the history.
    assert 0.0 < sum(fit.background_stars.values()) < 0.1 * n_star


@pytest.mark.slow
@pytest.mark.usefixtures("shared_data")
@pytest.mark.filterwarnings("ignore:artificial stars")
def test_ngc1978_with_all_templates():
    example = load("ngc1978")
    _, n_star, fit = ngc1978(example.LOG_AGE, example.MH)
    young, old = age_of_largest_rate(fit)
    assert young > 1.6
    assert old < 2.6
    peak = int(np.argmax(fit.sfr))
    assert -0.6 < fit.mh_mean[peak] < -0.25  # spectroscopy: -0.38 (Ferraro et al. 2006)
    assert 0.005 * n_star < fit.background_stars["background"] < 0.05 * n_star
    # Below what Gaussian errors from the same artificial stars leave, 6,811.
    assert fit.nll < 5_100.0
