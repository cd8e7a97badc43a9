"""Time of a call of `cluster_function`, and what a fixed isochrone saves. Nothing is asserted.

Run with ``pytest -m benchmark -s``.
"""

import time

import numpy as np
import pytest

import pymc_starpop as psp

pytestmark = pytest.mark.benchmark

LIMITS = psp.MagnitudeLimits("Gaia_G_EDR3", 6.0, 14.5)
N_CALL = 300


def milliseconds(calls):
    """Median time of each call, taken in turn, so that the machine is the same for all."""
    times = np.empty((N_CALL, len(calls)))
    for i in range(N_CALL):
        for k, call in enumerate(calls):
            start = time.perf_counter()
            call(1e-6 * i)
            times[i, k] = 1e3 * (time.perf_counter() - start)
    return np.median(times, axis=0)


@pytest.mark.parametrize("binaries", [False, True])
@pytest.mark.parametrize("n_nodes", [450, 808])
def test_time_of_a_call(n_nodes, binaries):
    iso = psp.load_isochrones(n_nodes)
    cat = psp.load_example("ruprecht147")
    cat = cat.select(LIMITS.mask(cat))
    point = {"distance_modulus": 7.4, "av": 0.3, "field_fraction": 0.2, "imf.high_slope": 2.3}
    if binaries:
        point |= {"binary_fraction": 0.4}
    age = {"feh": 0.1, "log_age": 9.35}
    fixed = {"intrinsic_scatter": 0.02, "selection": LIMITS}
    varied = psp.cluster_function(iso, cat, [*point, *age], **fixed).compile()
    once = psp.cluster_function(iso, cat, list(point), **age, **fixed).compile()
    all_values = np.array([*point.values(), *age.values()])
    some = np.array([*point.values()])
    kernel = once._value_and_gradient
    names = ("age varies", "age fixed", "PyTensor's part", "value alone")
    calls = (
        lambda step: varied(all_values + step),
        lambda step: once(some + step),
        lambda step: kernel(some + step),
        lambda step: once.logp(some + step),
    )
    calls[3](0.0)
    print(f"\n{cat.n_star} stars, {n_nodes} nodes, {'binaries' if binaries else 'single stars'}:")
    for name, ms in zip(names, milliseconds(calls), strict=True):
        print(f"  {name:16} {ms:.3f} ms")
