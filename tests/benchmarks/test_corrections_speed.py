"""Value and gradient of one cluster with corrections of 3 bands x 12 knots, next to none.

Run with ``pytest -m benchmark -s``. Only values are asserted: a clock must not fail a test.
"""

import time

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import pymc_starpop as psp

pytestmark = pytest.mark.benchmark

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3")
LIMITS = psp.MagnitudeLimits("Gaia_G_EDR3", 3.0, 17.0, error=0.005)
POINT = {
    "feh": 0.05, "log_age": 8.9, "distance_modulus": 8.0, "av": 0.2, "field_fraction": 0.05,
    "binary_fraction": 0.3, "intrinsic_scatter": 0.01,
}  # fmt: skip
N_REPEAT, N_TURN = 25, 7


def compiled(iso, catalog, knots):
    """Value and gradient by the parameters, and by the offsets where there are knots."""
    symbols = {name: pt.dscalar(name) for name in POINT}
    inputs, options = list(symbols.values()), {}
    if knots is not None:
        inputs.append(pt.dmatrix("offsets"))
        options["corrections"] = psp.MagnitudeCorrections(inputs[-1], BANDS, knots)
    total = psp.cluster_logp(iso, catalog, selection=LIMITS, **symbols, **options).sum()
    return pytensor.function(
        inputs, [total, *pt.grad(total, inputs)], mode="NUMBA", trust_input=True
    )


def milliseconds(function, point):
    times = []
    for _ in range(N_REPEAT):
        start = time.perf_counter()
        function(*point)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


@pytest.mark.parametrize("n_star", [300, 2000])
def test_corrections_of_three_bands(iso, n_star):
    cat = psp.simulate_cluster(
        iso, n_star=n_star, bands=BANDS, mag_err=0.005, rng=1, selection=LIMITS, **POINT
    )
    point = [np.asarray(value) for value in POINT.values()]
    knots = psp.SequenceKnots()
    offsets = 0.02 * np.random.default_rng(1).normal(size=(len(BANDS), len(knots)))
    runs = {
        "without": (compiled(iso, cat, None), point),
        "with": (compiled(iso, cat, knots), [*point, offsets]),
    }
    for name, (function, values) in runs.items():
        found = function(*values)
        assert all(np.isfinite(part).all() for part in found), name
    assert np.abs(found[-1]).max() > 1.0
    nothing = runs["with"][0](*point, np.zeros_like(offsets))[0]
    np.testing.assert_allclose(nothing, runs["without"][0](*point)[0], rtol=1e-12)
    times = [{name: milliseconds(*run) for name, run in runs.items()} for _ in range(N_TURN)]
    ratio = np.median([t["with"] / t["without"] for t in times])
    print(
        f"\n{n_star} stars: {np.median([t['without'] for t in times]):.2f} ms without corrections, "
        f"{np.median([t['with'] for t in times]):.2f} ms with 3 bands x 12 knots: {ratio:.3f} of it"
    )
