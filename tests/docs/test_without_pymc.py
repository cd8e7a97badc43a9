"""The examples of the page on samplers outside of PyMC, with fewer steps."""

import re

import numpy as np
import pytensor
import pytest

from conftest import REPOSITORY

# What takes long, and what stands for it here.
_SHORTER = {
    "load_isochrones(450)": "load_isochrones(150)",
    "mass_ratio_nodes=21": "mass_ratio_nodes=6",
    "run_mcmc(start, 2000)": "run_mcmc(start, 20)",
    "discard=500": "discard=5",
    "nlive=200": "nlive=20",
    "dlogz=0.5": "maxiter=30",
}


def blocks():
    text = (REPOSITORY / "docs" / "without_pymc.md").read_text(encoding="utf-8")
    for long, short in _SHORTER.items():
        assert text.count(long) == 1, long
        text = text.replace(long, short)
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def page():
    """Names that the first two examples leave behind, and the code of the others."""
    first, second, *others = blocks()
    names = {}
    # The Python virtual machine runs the same kernels as numba and is compiled in seconds.
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        exec(first, names)
        exec(second, names)
    return names, others


def test_scipy(page):
    names, _ = page
    assert names["found"].success
    assert 9.2 < names["best"]["log_age"] < 9.45
    assert np.all(names["gradient"] != 0.0)


@pytest.mark.filterwarnings("ignore:The sampling was stopped short")
@pytest.mark.parametrize(("package", "index"), [("emcee", 0), ("dynesty", 1)])
def test_samplers(page, package, index):
    pytest.importorskip(package)
    names, others = page
    # dynesty's example uses the posterior that emcee's defines.
    code = others[0].split("rng =")[0].replace("import emcee", "") if index else ""
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        exec(code + ("import numpy as np\nrng = np.random.default_rng(1)\n") + others[index], names)
    if package == "emcee":
        assert names["draws"].shape == (32 * 15, 5)
        assert np.isfinite(names["sampler"].get_log_prob()).all()
    else:
        assert np.isfinite(names["log_evidence"])
