"""The examples of the page on options of the cluster likelihood."""

import re

import numpy as np
import pytensor
import pytest

from conftest import REPOSITORY

# Coarser isochrones, and one star in eight: what runs is the code of the page.
_SHORTER = {
    "load_isochrones()": "load_isochrones(150)",
    "cat.select(limits.mask(cat))": "cat.select(np.flatnonzero(limits.mask(cat))[::8])",
    "n_star=200": "n_star=20",
}


def blocks():
    """Examples by the first line that only they have."""
    text = (REPOSITORY / "docs" / "cluster_options.md").read_text(encoding="utf-8")
    for long, short in _SHORTER.items():
        assert text.count(long) == 1, long
        text = text.replace(long, short)
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def start():
    names = {}
    exec(blocks()[0], names)
    names["plain"] = names["logp"].eval(mode="FAST_COMPILE")
    return names


@pytest.mark.parametrize("code", blocks()[1:], ids=lambda code: code.strip().splitlines()[0])
def test_example(start, code):
    names = {name: value for name, value in start.items() if name != "logp"}
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        exec(code, names)
        if "logp" in names:
            values = names["logp"].eval()
            assert values.shape == (names["cat"].n_star,)
            assert np.isfinite(values).all()
            # No option of the page is without effect.
            assert np.abs(values - start["plain"]).max() > 1e-3
        for name in ("two_populations", "reddened"):
            if name in names:
                model = names[name]
                assert np.isfinite(model.compile_logp()(model.initial_point()))
        if "simulated" in names:
            truth = names["simulated"].extra
            assert set(truth["population"]) == {0, 1}
            assert np.std(truth["distance_modulus"]) > 0.0
