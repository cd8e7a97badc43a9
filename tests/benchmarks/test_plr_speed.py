"""Time of ln PLR with its gradient next to two dense products, 15,000 bins x 2,059 templates.

Run with ``pytest -m benchmark -s``. Only accuracy is asserted: a clock must not fail a test.
"""

import time

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import pymc_starpop as psp

pytestmark = pytest.mark.benchmark

# The grid of Garling et al. (2025, section 3): 71 ages x 29 metallicities.
LOG_AGE = np.linspace(6.6, 10.1, 71)
MH = np.linspace(-2.4, 0.4, 29)
T_MAX_GYR = 13.7
SIGMA = 0.12
# Ratios to reach; at 1e7 Msun with coefficients from `metallicity_weights` and with any other.
WANTED = {1e5: (40, 40), 1e7: (15, 12), 1e9: (7, 7)}
N_REPEAT = 15
N_CALL = 5
MAX_ERROR = 1e-4


def mass_formed(tmpl, mass):
    """Constant star formation."""
    duration = np.diff(tmpl.age_edges(T_MAX_GYR))
    return mass * duration / duration.sum()


@pytest.fixture(scope="module")
def tmpl(iso):
    """The templates of a galaxy at 800 kpc to 1 Mpc, as a survey from the ground sees it."""
    axes = psp.HessAxes(
        color=("Bessell_V", "Bessell_I"),
        mag="Bessell_I",
        color_edges=np.linspace(-0.6, 2.6, 101),
        mag_edges=np.linspace(20.0, 28.6, 151),
    )
    noise = {
        "Bessell_V": psp.ExponentialError(1.03, 15.0, 36.0, 0.02, 0.4),
        "Bessell_I": psp.ExponentialError(1.03, 15.0, 35.0, 0.02, 0.4),
    }
    completeness = {
        "Bessell_V": psp.LogisticCompleteness(1.0, 28.5, 0.7),
        "Bessell_I": psp.LogisticCompleteness(1.0, 27.5, 0.7),
    }
    return psp.build_templates(
        iso, axes, log_age=LOG_AGE, mh=MH, distance_modulus=25.0, av=0.0, noise=noise,
        completeness=completeness, progress=False,
    )  # fmt: skip


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def best_times(dense, *ours):
    """Shortest times, over rounds in which each function takes its turn."""
    times = [[] for _ in range(1 + len(ours))]
    for _ in range(N_REPEAT):
        for k, function in enumerate(ours):
            times[0].append(seconds(dense))
            function()  # the products have just emptied the cache of its templates
            times[k + 1] += [seconds(function) for _ in range(N_CALL)]
    return [min(one) for one in times]


def compiled(inputs, value):
    """Function of inputs in the order given, value and gradient."""
    return pytensor.function(
        inputs, [value, *pt.grad(value, inputs)], mode="NUMBA", trust_input=True
    )


@pytest.mark.parametrize("mass", WANTED, ids=lambda mass: f"{mass:.0e} Msun")
def test_time_of_value_and_gradient(tmpl, mass):
    rng = np.random.default_rng(1)
    masses = mass_formed(tmpl, mass)
    mean = psp.linear_amr(tmpl.age_gyr, 0.1, -1.87, T_MAX_GYR)
    r = psp.metallicity_weights(masses, mean, SIGMA, tmpl.mh).eval()
    expected = tmpl.composite(r).values
    hess = tmpl.axes.wrap(rng.poisson(expected).astype(float))

    matrix = np.ascontiguousarray(tmpl.counts.reshape(r.size, -1).T)
    weights = rng.random(len(matrix))
    free = pt.dmatrix("r")
    masses_in, alpha, beta, sigma = pt.dvector("m"), pt.dscalar(), pt.dscalar(), pt.dscalar()
    weighted = psp.metallicity_weights(
        masses_in, psp.linear_amr(tmpl.age_gyr, alpha, beta, T_MAX_GYR), sigma, tmpl.mh
    )
    any_r = compiled([free], psp.hess_logp(tmpl, free, hess))
    by_weights = compiled([masses_in, alpha, beta, sigma], psp.hess_logp(tmpl, weighted, hess))
    point = [masses, *map(np.asarray, (0.1, -1.87, SIGMA))]

    def dense():
        matrix @ r.ravel()
        matrix.T @ weights

    exact = -psp.plr(expected, hess)
    calls = {
        "metallicity_weights": lambda: by_weights(*point),
        "any coefficients": lambda: any_r(r),
    }
    errors = [abs(float(call()[0]) - exact) for call in calls.values()]
    reference, *times = best_times(dense, *calls.values())
    print(
        f"\n{mass:.0e} Msun, {int((hess > 0).sum())} of {hess.size} bins with stars; two dense "
        f"products {1e3 * reference:.1f} ms"
    )
    for name, error, ours, wanted in zip(calls, errors, times, WANTED[mass], strict=True):
        print(
            f"    {name}: {1e3 * ours:.3f} ms, {reference / ours:.1f} times faster "
            f"(wanted {wanted}), error {error:.1e} nat"
        )
    assert max(errors) < MAX_ERROR
