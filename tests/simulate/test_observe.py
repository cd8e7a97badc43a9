"""Observation: what is recovered, noise and bias at the intrinsic magnitude."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_array_equal
from scipy import stats

import pymc_starpop as psp

NOISE = {"V": lambda m: 0.02 * (m - 20.0), "I": 0.05}
COMPLETENESS = {"V": psp.LogisticCompleteness(1.0, 26.0, 0.5), "I": 0.8}
BIAS = {"V": -0.03, "I": lambda m: 0.01 * (m - 20.0)}
LEAST_P = 1e-3
N = 200_000


@pytest.fixture
def mags(rng):
    v = rng.choice([24.0, 26.0], size=N)
    return {"V": v, "I": v - 1.0, "label": np.arange(N)}


def test_noise_bias_and_completeness(mags):
    seen = psp.observe(mags, NOISE, COMPLETENESS, BIAS, rng=2)
    true_v = mags["V"][seen["label"]]
    for v in (24.0, 26.0):
        n = int((mags["V"] == v).sum())
        here = true_v == v
        expected = 0.8 * COMPLETENESS["V"](v)
        assert stats.binomtest(int(here.sum()), n, float(expected)).pvalue > LEAST_P
        for band, truth in (("V", v), ("I", v - 1.0)):
            sigma = NOISE["V"](v) if band == "V" else 0.05
            bias = -0.03 if band == "V" else 0.01 * (truth - 20.0)
            pull = (seen[band][here] - truth - bias) / sigma
            assert stats.kstest(pull, "norm").pvalue > LEAST_P
    deviation = [seen[b] - mags[b][seen["label"]] for b in "VI"]
    assert abs(np.corrcoef(deviation)[0, 1]) < 0.05


def test_kinds_come_back(mags):
    table = xr.Dataset({name: ("star", values) for name, values in mags.items()})
    frame = pd.DataFrame(mags)
    a, b, c = (psp.observe(m, NOISE, COMPLETENESS, rng=2) for m in (mags, table, frame))
    assert isinstance(b, xr.Dataset)
    assert isinstance(c, pd.DataFrame)
    for name in mags:
        assert_array_equal(a[name], b[name].values)
        assert_array_equal(a[name], c[name].to_numpy())
    model = psp.ErrorModel(NOISE, COMPLETENESS)
    assert_array_equal(psp.observe(mags, model, rng=2)["V"], a["V"])
    assert_array_equal(mags["label"], np.arange(N))


def test_input_is_left_alone(mags):
    before = mags["V"].copy()
    psp.observe(mags, NOISE, rng=1)
    assert_array_equal(mags["V"], before)


def test_simulated_stars(coarse):
    bands = ("Bessell_V", "Bessell_I")
    stars = psp.simulate_cmd(
        coarse, {"log_age": 10.0, "mh": -1.0, "mass_formed": 2e4}, bands=bands,
        distance_modulus=20.0, rng=1,
    )  # fmt: skip
    seen = psp.observe(stars, dict.fromkeys(bands, 0.1), dict.fromkeys(bands, 0.5), rng=1)
    assert stats.binomtest(seen.star.size, stars.star.size, 0.25).pvalue > LEAST_P
    assert seen.attrs == stars.attrs
    with pytest.raises(ValueError, match="noise lacks the band 'Bessell_I'"):
        psp.observe(stars, {"Bessell_V": 0.1})


def test_nothing_recovered(mags):
    seen = psp.observe(mags, NOISE, {"V": 0.0, "I": 1.0}, rng=1)
    assert seen["V"].size == 0


@pytest.mark.parametrize(
    ("change", "noise", "words"),
    [
        ({"V": np.zeros(3)}, NOISE, "one value a star"),
        ({"V": np.full(N, np.nan)}, NOISE, "mags must be finite"),
        ({}, {"K": 0.1}, "mags lacks the band 'K'.*V, I, label"),
        ({}, 0.1, "noise must be an ErrorModel"),
        ({}, {"V": -0.1, "I": 0.1}, "positive"),
    ],
)
def test_refused(mags, change, noise, words):
    with pytest.raises(ValueError, match=words):
        psp.observe(mags | change, noise)


def test_arrays_without_names_refused():
    with pytest.raises(ValueError, match="mags must be a Dataset"):
        psp.observe(np.zeros((5, 2)), NOISE)
