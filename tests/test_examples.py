"""The examples, as far as their results are promised."""

import importlib.util

import arviz_stats as azs
import numpy as np
import pytest
import xarray as xr

import pymc_starpop as psp
from conftest import REPOSITORY


def load(name):
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def galaxy(iso):
    """The example with its stars, templates, fast fit and posterior."""
    example = load("synthetic_galaxy")
    hess = example.simulate(iso, seed=1)
    tmpl = psp.build_templates(
        iso, example.AXES, log_age=example.LOG_AGE, mh=example.MH,
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
