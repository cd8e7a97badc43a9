"""What `import pymc_starpop` does not wait for."""

import subprocess
import sys

import pymc_starpop as psp

CODE = """
import sys
import pymc_starpop as psp
print(*[name for name in ("matplotlib", "arviz_stats", "nutpie") if name in sys.modules])
psp.plots
from pymc_starpop import plot_cmd
assert plot_cmd is psp.plot_cmd
assert plot_cmd is psp.plots.plot_cmd
assert plot_cmd.__module__ == "pymc_starpop.plots.cmd"
"""


def test_figures_and_diagnostics_are_imported_when_they_are_asked_for():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_public_name_is_there():
    assert set(psp.__all__) <= set(dir(psp))
    assert all(getattr(psp, name) is not None for name in psp.__all__)
    assert not hasattr(psp, "plot_nothing")
