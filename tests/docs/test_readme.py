"""The code blocks of the README, run word for word, and what every page says of starts."""

import re

import matplotlib
import numpy as np
import pymc as pm
import pytest

import pymc_starpop as psp
from conftest import REPOSITORY

BANDS = ("Bessell_V", "Bessell_I")
NOISE = {band: psp.ExponentialError(1.03, 15, 35, 0.02, 0.4) for band in BANDS}
COMPLETENESS = {
    "Bessell_V": psp.LogisticCompleteness(1, 28.5, 0.7),
    "Bessell_I": psp.LogisticCompleteness(1, 27.5, 0.7),
}


def blocks(page="README.md"):
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def r_hat(idata):
    """The largest of all variables; divergences and few effective draws are failures, too."""
    report = psp.check_sampling(idata)
    assert report.ok, report
    return float(report.parameters["r_hat"].max())


def galaxy(iso, rng):
    """Stars of a galaxy, and artificial stars that were put in."""
    population = psp.CompositePopulation.from_bins(
        [0.01, 13.7], [3e6], lambda age: -1.87 + 0.1 * (13.7 - age), 0.1
    )
    faint = {"Bessell_V": 34.0, "Bessell_I": 32.5}
    stars = psp.simulate_cmd(
        iso, population, bands=BANDS, distance_modulus=25.0, faint_limit=faint, rng=rng
    )
    seen = psp.observe(stars, NOISE, COMPLETENESS, rng=rng)
    mag_in = np.column_stack([i := rng.uniform(17.0, 31.0, 400_000), i])
    mag_in[:, 0] += rng.uniform(-0.6, 2.6, i.size)
    mag_out, detected = np.empty_like(mag_in), np.empty(mag_in.shape, dtype=bool)
    for k, band in enumerate(BANDS):
        mag_out[:, k] = rng.normal(mag_in[:, k], NOISE[band](mag_in[:, k]))
        detected[:, k] = rng.uniform(size=i.size) < COMPLETENESS[band](mag_in[:, k])
    return {
        "v": np.asarray(seen["Bessell_V"]),
        "i": np.asarray(seen["Bessell_I"]),
        "mag_in": mag_in,
        "mag_out": np.where(detected, mag_out, np.nan),
        "detected": detected,
    }


@pytest.mark.slow
def test_the_cluster_of_the_readme_converges():
    names = {}
    exec(blocks()[0], names)
    assert names["idata"].posterior.sizes["chain"] == 4
    assert r_hat(names["idata"]) <= 1.01


@pytest.mark.slow
def test_the_galaxy_of_the_readme_converges(iso, rng):
    names = {"pm": pm, "psp": psp, "iso": iso, **galaxy(iso, rng)}
    with matplotlib.rc_context({"backend": "Agg"}):
        exec(blocks()[1], names)
    assert r_hat(names["idata"]) <= 1.01


def test_no_page_loses_a_start():
    pages = ["README.md", *(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))]
    code = "\n".join("\n".join(blocks(page)) for page in pages)
    code += "\n".join(path.read_text() for path in (REPOSITORY / "examples").glob("*.py"))
    assert code.count("find_start(") >= 5
    assert code.count(".sample_kwargs(") >= code.count("find_start(")
    assert "initvals=start" not in code
    assert "initvals=psp.find_start" not in code
