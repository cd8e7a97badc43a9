#!/usr/bin/env bash
# PyMC 6.4.0 and nutpie 0.16.11: pm.sample(initvals=point) does not begin at that point. nutpie, which pm.sample takes
# where it can, and PyMC's own NUTS add U(-1, 1) to every unconstrained variable, also where initvals names it. With a
# posterior of width 0.001 the first points are up to hundreds of thousands of nats below the one that was given; nothing
# warns. PyMC's init="adapt_diag" and nutpie's compile_kwargs={"jitter_rvs": set()} switch it off, each ignored by the
# other sampler, and nutpie takes no starts by chain.
# PyMC's max_treedepth=0, with which one might look at first points, ends in an UnboundLocalError.
# Consequence: name the sampler and switch off its jitter whenever a start matters.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q uv  # pip alone takes minutes to choose versions
"$folder/venv/bin/uv" pip install -q --python "$folder/venv/bin/python" pymc==6.4.0 nutpie==0.16.11
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import pymc as pm

with pm.Model() as model:
    x = pm.Normal("x", 0.0, 1.0)
    pm.Potential("narrow", -0.5 * ((x - 0.3) / 0.001) ** 2)
FIRST = {"pymc": {"step_scale": 1e-15}, "nutpie": {"max_treedepth": 0}}  # no step leads away


def first_points(sampler, **kwargs):
    idata = pm.sample(
        1, tune=0, chains=4, cores=1, model=model, initvals={"x": 0.3}, nuts_sampler=sampler,
        nuts=FIRST[sampler], random_seed=1, progressbar=False, quiet=True,
        compute_convergence_checks=False, **kwargs,
    )
    return idata["posterior"]["x"].values[:, 0]


for sampler, off in (("nutpie", {"compile_kwargs": {"jitter_rvs": set()}}), ("pymc", {"init": "adapt_diag"})):
    given, exact = first_points(sampler), first_points(sampler, **off)
    nats = 0.5 * ((given - 0.3) / 0.001) ** 2
    print(f"{sampler}: initvals 0.3 begins at {np.round(given, 3)}, {nats.min():.0f} to {nats.max():.0f} nats lower")
    print(f"{sampler}, {off}: {exact}")
    assert np.abs(given - 0.3).max() > 0.3 and nats.max() > 1e4
    assert np.allclose(exact, 0.3, rtol=0, atol=1e-9)
try:
    pm.sample(1, tune=0, chains=1, cores=1, model=model, nuts_sampler="pymc", nuts={"max_treedepth": 0}, progressbar=False, quiet=True)
except UnboundLocalError as error:
    print(f"max_treedepth=0: UnboundLocalError: {error}")
    assert "divergence_info" in str(error)
else:
    raise AssertionError("max_treedepth=0 no longer fails")
PYTHON
