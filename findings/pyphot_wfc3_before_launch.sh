#!/usr/bin/env bash
# pyphot 2.1.1 (passbands with their sources in the wheel): HST WFC3 F105W and UVIS F814W have other passbands than the
# instrument in orbit. Their pivot wavelengths are 1.0804 and 0.8307 micron; images of the instrument say 1.0551
# (PHOTPLAM of WFC3/IR F105W) and 0.803 to 0.804 (UVIS F814W), as do the tables of astro-sedpy 0.4.1. The old Exposure
# Time Calculator of STScI listed 0.8305 for F814W, too: values from before the launch. ACS/WFC F814W agrees to 1e-5.
# Consequence: of HST passbands look at the pivot wavelength beside the header's PHOTPLAM before use.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-deps pyphot==2.1.1
"$folder/venv/bin/pip" install -q astro-sedpy==0.4.1 numpy==2.3.5
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sysconfig
from pathlib import Path

import numpy as np
import sedpy.observate

SOURCES = Path(sysconfig.get_paths()["purelib"]) / "pyphot" / "libs" / "ascii_sources"


def pivot(wavelength, throughput):
    top = np.trapezoid(wavelength * throughput, wavelength)
    return np.sqrt(top / np.trapezoid(throughput / wavelength, wavelength))


def of_pyphot(name):
    lines = (SOURCES / f"{name}.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines if line[:1].isdigit()]
    return pivot(*np.array(rows, dtype=float).T)


found = {}
for name, other in (
    ("hst_wfc3_f105w", "wfc3_ir_f105w"),
    ("hst_wfc3_f814w", "wfc3_uvis_f814w"),
    ("hst_acs_wfc_f814w", "acs_wfc_f814w"),
):
    band = sedpy.observate.Filter(other)
    found[name] = of_pyphot(name), pivot(band.wavelength, band.transmission)
    print(f"{name}: pivot {found[name][0]:.1f} Angstrom; sedpy {found[name][1]:.1f}")
assert abs(found["hst_wfc3_f105w"][0] - 10804) < 1 and abs(found["hst_wfc3_f105w"][1] - 10551) < 1
assert abs(found["hst_wfc3_f814w"][0] - 8307) < 1 and 8020 < found["hst_wfc3_f814w"][1] < 8045
assert abs(found["hst_acs_wfc_f814w"][0] / found["hst_acs_wfc_f814w"][1] - 1.0) < 1e-4
PYTHON
