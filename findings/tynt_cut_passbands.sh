#!/usr/bin/env bash
# tynt 0.1.2 (passbands of the SVO service, kept as Fourier coefficients, offline): the passband of HST WFC3/IR F110W comes
# back cut at both ends, where it still has 0.4 of its largest transmission. It spans 8,690 to 13,041 Angstrom in place
# of the filter's 8,523 to 14,492 (astro-sedpy 0.4.1), and its mean wavelength is 4.5 % too short. ACS/WFC F814W,
# which ends at 0.025 of its peak, is right to 0.1 %. Nothing warns.
# Consequence: look at the transmission at both ends before using a passband of tynt for extinction.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q tynt==0.1.2 astro-sedpy==0.4.1 numpy==2.3.5
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import sedpy.observate
import tynt

def mean(wavelength, transmission):
    return np.trapezoid(wavelength * transmission, wavelength) / np.trapezoid(transmission, wavelength)

ratios, ends = {}, {}
for name, other in (("WFC3_IR.F110W", "wfc3_ir_f110w"), ("ACS_WFC.F814W", "acs_wfc_f814w")):
    rebuilt = tynt.FilterGenerator().reconstruct(f"HST/{name}")
    wavelength, transmission = rebuilt.wavelength.to_value("AA"), rebuilt.transmittance
    full = sedpy.observate.Filter(other)
    ratios[name] = mean(wavelength, transmission) / mean(full.wavelength, full.transmission)
    ends[name] = min(transmission[0], transmission[-1]) / transmission.max()
    print(
        f"{name}: tynt {wavelength[0]:.0f} to {wavelength[-1]:.0f} A, at least {ends[name]:.3f} of the "
        f"peak at both ends; sedpy {full.wavelength[0]:.0f} to {full.wavelength[-1]:.0f} A; ratio of "
        f"mean wavelengths {ratios[name]:.4f}"
    )
assert 0.950 < ratios["WFC3_IR.F110W"] < 0.960 and ends["WFC3_IR.F110W"] > 0.4
assert abs(ratios["ACS_WFC.F814W"] - 1.0) < 2e-3 and ends["ACS_WFC.F814W"] < 0.03
PYTHON
