"""The kernels that Ops dispatch to are kept on disk: a second process must not compile them."""

import importlib
import pkgutil

import pymc_starpop.kernels


def entry_points():
    """Kernels (module, dispatcher) that PyTensor's numba backend calls, whose names end in _0d."""
    for found in pkgutil.iter_modules(pymc_starpop.kernels.__path__):
        module = importlib.import_module(f"pymc_starpop.kernels.{found.name}")
        for name, value in vars(module).items():
            if name.endswith("_0d") and value.py_func.__module__ == module.__name__:
                yield f"{found.name}.{name}", value


def test_kernels_of_ops_are_cached():
    # A dispatcher without `cache=True` has no folder.
    cached = {name: kernel.stats.cache_path is not None for name, kernel in entry_points()}
    assert "cluster.cluster_value_and_gradient_0d" in cached
    assert [name for name, on_disk in cached.items() if not on_disk] == []
