"""The API page and the docstring of the cluster likelihood list what users can type."""

import re
from dataclasses import fields
from types import ModuleType

import pymc_starpop as psp
from conftest import REPOSITORY
from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters


def test_every_public_name_is_on_the_page():
    text = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\.\. auto\w+:: (?:pymc_starpop\.)?(\S+)$", text, re.MULTILINE))
    expected = set()
    for name in psp.__all__:
        value = getattr(psp, name)
        if isinstance(value, ModuleType):
            expected |= {f"{name}.{own}" for own in value.__all__}
        else:
            expected.add(name)
    assert not expected - listed


def test_the_docstring_lists_every_parameter_and_option():
    named = set(re.findall(r"``(\w+)``", psp.cluster_logp.__doc__))
    for kind in (ClusterParameters, ClusterOptions):
        assert not {f.name for f in fields(kind)} - named
