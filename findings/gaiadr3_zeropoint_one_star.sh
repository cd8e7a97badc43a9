#!/usr/bin/env bash
# gaiadr3-zeropoint 0.1.0 (parallax zero points of Gaia EDR3, Lindegren et al. 2021): one and the same bright star, G =
# 5.5, with a five-parameter solution, has three answers. Arrays: -0.037 mas with a warning that 6 < G < 21 was
# expected. The wrapper for pandas tables, which turns warnings off: NaN, although the range is the same. Python
# floats, which its docstring offers: a TypeError of NumPy 2, where can_cast takes no Python numbers any more.
# Consequence: give arrays, and decide on bright stars yourself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q gaiadr3-zeropoint==0.1.0 numpy==2.3.5 pandas==2.3.3
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import numpy as np
import pandas as pd
from zero_point import zpt

zpt.load_tables()
star = {
    "phot_g_mean_mag": 5.5,
    "nu_eff_used_in_astrometry": 1.6,
    "pseudocolour": -99.0,
    "ecl_lat": 30.0,
    "astrometric_params_solved": 31,
}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    of_arrays = zpt.get_zpt(*(np.array([value]) for value in star.values()))[0]
warned = [str(w.message) for w in caught if "expected range (6-21 mag)" in str(w.message)]
of_pandas = pd.DataFrame([star]).apply(zpt.zpt_wrapper, axis=1)[0]
try:
    of_floats = zpt.get_zpt(*star.values())
except TypeError as error:
    of_floats = f"TypeError: {str(error).splitlines()[0]}"
print(f"arrays: {of_arrays} mas, warnings: {len(warned)}")
print(f"pandas wrapper: {of_pandas}")
print(f"floats: {of_floats}")
assert np.isfinite(of_arrays) and -0.1 < of_arrays < 0.0 and len(warned) == 1
assert np.isnan(of_pandas)
assert str(of_floats).startswith("TypeError: can_cast() does not support Python ints")
PYTHON
