#!/usr/bin/env bash
# arviz-stats 1.3.3, diagnose (checks of MCMC): a single chain that drifts all the way gets "R-hat values satisfactory
# for all parameters", since its r_hat is NaN and NaN > 1.01 is false. Two such chains are found. The depth of trees is
# read from "reached_max_treedepth" only; nutpie 0.16.11 calls it "maxdepth_reached", so that a run which cut every
# trajectory passes.
# Consequence: count the chains yourself, and rename nutpie's statistic before the check.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q arviz-stats[xarray]==1.3.3 arviz-base==1.3.1 numpy==2.3.5 xarray==2025.12.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import contextlib
import io

import arviz_stats as azs
import numpy as np
import xarray as xr

rng = np.random.default_rng(1)


def run(x, **stats):
    tree = {"posterior": xr.Dataset({"x": (("chain", "draw"), x)})}
    tree["posterior"] = tree["posterior"].assign_coords(chain=range(len(x)), draw=range(x.shape[1]))
    if stats:
        tree["sample_stats"] = xr.Dataset({k: (("chain", "draw"), v) for k, v in stats.items()})
    said = io.StringIO()
    with contextlib.redirect_stdout(said), np.errstate(all="ignore"):
        bad = azs.diagnose(xr.DataTree.from_dict(tree), ess_threshold=1)
    return bad, said.getvalue()


drift = np.linspace(0.0, 3.0, 1000) + rng.normal(0.0, 1.0, (2, 1000))
one, text = run(drift[:1])
two, _ = run(drift)
print(f"one drifting chain: problems {one}; 'R-hat values satisfactory': {'R-hat values satisf' in text}")
print(f"two drifting chains: problems {two}")
fine, cut = rng.normal(0.0, 1.0, (4, 1000)), np.ones((4, 1000), dtype=bool)
by_name = {name: run(fine, **{name: cut})[0] for name in ("reached_max_treedepth", "maxdepth_reached")}
print(f"every trajectory at the greatest depth: problems {by_name}")
assert not one and "R-hat values satisfactory" in text and two
assert by_name == {"reached_max_treedepth": True, "maxdepth_reached": False}
PYTHON
