"""Compiled code that is called by address, and that is kept between processes."""

import numba
import numpy as np
import pymc as pm
import pytensor
import pytest
from numba.core import event
from numba.core.types import Array, float64
from numpy.testing import assert_array_equal

import pymc_starpop as psp
from cluster_fixtures import TRUTH
from pymc_starpop.ops import _kept
from pymc_starpop.ops._linked import linked, linked_from, machine_code

TYPES = (Array(float64, 1, "C"), Array(float64, 0, "C"))


@numba.njit
def scaled(x, factor):
    if x.shape[0] == 3:
        raise ValueError("three numbers")
    return x * factor.item(), np.asarray(x.sum())


@pytest.fixture(scope="module")
def by_address():
    return linked(scaled, TYPES, "tests.ops.test_kept.scaled")


def test_a_function_is_called_by_address_for_any_memory_layout(by_address):
    _, call = by_address

    @numba.njit
    def twice(x, factor):
        first, _ = call(x[::2], factor)
        return call(first, factor)

    numbers = np.arange(10.0)
    fixed = np.arange(10.0)
    fixed.flags.writeable = False
    for given in (numbers, fixed, np.repeat(numbers, 2)[::2]):
        got, total = twice(given, np.array(3.0))
        assert_array_equal(got, 9.0 * numbers[::2])
        assert total == 60.0


def test_what_is_raised_there_is_raised_here(by_address):
    _, call = by_address

    @numba.njit
    def once(x):
        return call(x, np.asarray(1.0))

    with pytest.raises(ValueError, match="three numbers"):
        once(np.arange(3.0))
    assert_array_equal(once(np.arange(4.0))[0], np.arange(4.0))


def test_machine_code_works_after_it_was_kept(by_address, tmp_path, monkeypatch):
    monkeypatch.setattr(_kept, "NUMBA_CACHE_PATH", tmp_path)
    symbol, _ = by_address
    _kept.save_kept("name", machine_code(symbol))
    call = linked_from("starpop_tests_kept", _kept.load_kept("name"))

    @numba.njit
    def once(x):
        return call(x, np.asarray(2.0))

    assert_array_equal(once(np.arange(4.0))[0], 2.0 * np.arange(4.0))
    assert [path.suffix for path in tmp_path.iterdir()] == [".bin"]


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:10], lambda b: b[:-1] + b"\0x"])
def test_a_damaged_file_is_said_and_not_used(damage, tmp_path, monkeypatch):
    monkeypatch.setattr(_kept, "NUMBA_CACHE_PATH", tmp_path)
    _kept.save_kept("name", ["some", "content"])
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=r"name\.bin is damaged"):
        assert _kept.load_kept("name") is None
    _kept.save_kept("name", ["other"])
    assert _kept.load_kept("name") == ["other"]


def test_nothing_is_kept_where_pytensor_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(_kept, "NUMBA_CACHE_PATH", tmp_path)
    with pytensor.config.change_flags(numba__cache=False):
        _kept.save_kept("name", [1])
        assert not list(tmp_path.iterdir())
    assert _kept.load_kept("name") is None


def in_a_model(iso, catalog, **fixed):
    with pm.Model() as model:
        psp.ClusterPhotometry("stars", iso, observed=catalog, feh=pm.Flat("feh"), **fixed)
    function = model.logp_dlogp_function(mode="NUMBA", ravel_inputs=True)
    function.set_extra_values({})
    return function


def as_a_function(iso, catalog, **fixed):
    return psp.cluster_function(iso, catalog, ["feh"], mode="NUMBA", **fixed)


@pytest.mark.parametrize("function", [in_a_model, as_a_function])
def test_another_catalog_compiles_nothing(function, coarse, stars):
    """Other stars, another number of them and other limits are inputs of the code."""
    point = TRUTH | {"field_fraction": 0.1}
    del point["feh"]
    bright, faint = (psp.MagnitudeLimits(stars.bands[0], 0.0, limit) for limit in (29.0, 30.0))
    measured = stars.select(np.isfinite(stars.mag[:, 0]))
    function(coarse, measured, selection=faint, **point)(np.array([0.05]))
    others = measured.select(np.arange(measured.n_star - 2))
    compiling = event.RecordingListener()
    with event.install_listener("numba:compile", compiling):
        value, _ = function(coarse, others, selection=bright, **point)(np.array([0.05]))
    assert not compiling.buffer
    expected = psp.reference.cluster_logp(coarse, others, feh=0.05, selection=bright, **point)
    assert value == pytest.approx(expected.sum(), abs=1e-4)
