"""Vector arithmetic against NumPy, lane by lane."""

import numpy as np
import pytest
from numba import njit, types
from numba.extending import intrinsic

from pymc_starpop.kernels.simd import (
    LANES,
    Vector,
    address_of,
    load,
    lowest_bit,
    still_needed,
    store,
)
from tolerances import assert_close


def elementwise(method):
    """A compiled function that applies a method of `Vector` to all numbers of an array."""

    @intrinsic
    def apply(typingctx, source, target):
        def codegen(context, builder, signature, args):
            store(builder, getattr(load(builder, args[0]), method)(), args[1])
            return context.get_dummy_value()

        return types.void(types.intp, types.intp), codegen

    @njit
    def function(x):
        out = np.empty_like(x)
        for k in range(0, x.size, LANES):
            apply(address_of(x, k), address_of(out, k))
        still_needed(out)
        return out

    return function


@pytest.fixture(scope="module")
def exp():
    return elementwise("exp")


@pytest.fixture(scope="module")
def log():
    return elementwise("log")


def test_exp(exp, rng):
    awkward = [0.0, -0.0, 700.0, -700.0, np.log(2.0), 1e-300, 1.0, -1.0]
    x = np.r_[awkward, rng.uniform(-700.0, 700.0, 4000), rng.uniform(-1.0, 1.0, 4000)]
    assert_close(exp(x) / np.exp(x), 1.0, "same_formula")


def test_log(log, rng):
    awkward = [
        np.finfo(float).tiny, np.finfo(float).max, np.sqrt(0.5), np.sqrt(2.0), 2.0, 1.0,
        np.nextafter(1.0, 2.0), np.nextafter(1.0, 0.0),
    ]  # fmt: skip
    x = np.r_[awkward, np.exp(rng.uniform(-700.0, 700.0, 4000)), rng.uniform(0.5, 2.0, 4000)]
    assert_close(log(x), np.log(x), "same_formula")


def test_exp_undoes_log(exp, log, rng):
    x = rng.uniform(0.1, 1.0, 800)
    assert_close(exp(log(x)), x, "same_formula")


def test_lowest_bit():
    @njit
    def call(mask):
        return lowest_bit(mask)

    assert [call(mask) for mask in (1, 2, 12, 128, 160)] == [0, 1, 2, 7, 5]


def pairwise(method):
    """A compiled function with two results, from a method of `Vector`."""

    @intrinsic
    def apply(typingctx, first, second, to_first, to_second):
        def codegen(context, builder, signature, args):
            one, two = method(builder, load(builder, args[0]), load(builder, args[1]))
            store(builder, one, args[2])
            store(builder, two, args[3])
            return context.get_dummy_value()

        return types.void(*([types.intp] * 4)), codegen

    @njit
    def function(x, y):
        first, second = np.empty_like(x), np.empty_like(x)
        for k in range(0, x.size, LANES):
            apply(address_of(x, k), address_of(y, k), address_of(first, k), address_of(second, k))
        still_needed(x)
        still_needed(y)
        still_needed(first)
        still_needed(second)
        return first, second

    return function


def test_two_logarithms(rng):
    logs = pairwise(lambda builder, x, y: x.log_with(y))
    x, y = np.exp(rng.uniform(-100.0, 100.0, (2, 4000)))
    for found, right in zip(logs(x, y), (np.log(x), np.log(y)), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-15, atol=1e-15)


def test_split_in_a_whole_number_and_the_rest(rng):
    def split(builder, x, _):
        index, part = x.split()
        return Vector(builder, builder.uitofp(index, x.value.type)), part

    x = np.r_[0.0, 1.0, 0.5, 4095.0, 2.0**31 - 1.0, 1e-9, 7.0, 8.0, rng.uniform(0.0, 1e4, 4000)]
    whole, part = pairwise(split)(x, x)
    np.testing.assert_array_equal(whole + part, x)
    assert part.min() >= 0.0
    assert part.max() <= 1.0
