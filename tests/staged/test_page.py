"""The examples of the page "Coming from brutus"."""

import re
from pathlib import Path

import numpy as np
import pytest

from tolerances import NATS_STAGED_WORST

PAGE = Path(__file__).parents[2] / "docs" / "coming_from_brutus.md"
BRIDGE = "fused = psp.cluster_logp("


def blocks():
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.S)


def run(sources):
    names = {}
    for source in sources:
        exec(source, names)
    return names


def test_looking_inside():
    names = run(source for source in blocks() if BRIDGE not in source)
    assert np.isfinite(names["total"])
    assert ((names["membership"] >= 0.0) & (names["membership"] <= 1.0)).all()
    assert 0.3 < np.mean(names["membership"]) < 1.0
    assert 0.1 < names["mean_mass"] < 2.0


@pytest.mark.slow
def test_the_staged_form_becomes_the_likelihood():
    """Compiles in PyTensor's default mode, for a minute."""
    names = run(source for source in blocks() if "import numpy" in source or BRIDGE in source)
    assert np.abs(names["fused"].eval() - names["each"]).max() < NATS_STAGED_WORST
