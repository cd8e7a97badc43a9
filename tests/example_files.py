"""The examples as modules."""

import importlib.util

from conftest import REPOSITORY


def load(name):
    """Import an example by the name of its file."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
