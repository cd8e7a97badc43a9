"""Time of templates, printed next to that of the isochrones they are made of.

Run with ``pytest -m benchmark -s``. Only finite values are asserted: a clock must not fail a test.
"""

import time

import numpy as np
import pytest

import pymc_starpop as psp
from template_fixtures import paper_case

pytestmark = pytest.mark.benchmark

BANDS = ("Bessell_V", "Bessell_I")
AXES = psp.HessAxes(BANDS, "Bessell_I", np.linspace(-0.5, 2.5, 101), np.linspace(20, 29, 101))
PHOTOMETRY = {
    "noise": {band: psp.ExponentialError(1.03, 15, 35.5, 0.01, 0.4) for band in BANDS},
    "completeness": {band: psp.LogisticCompleteness(1, 28.0, 0.5) for band in BANDS},
    "distance_modulus": 25.0,
}
LOG_AGE, MH = np.linspace(8.0, 10.1, 20), np.linspace(-2.0, 0.0, 10)
N_REPEAT = 5


def least_time(function, n_repeat=N_REPEAT):
    """Least wall time in s; the first call compiles."""
    function()
    times = []
    for _ in range(n_repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def test_200_templates(iso):
    def build(n_jobs=1):
        tmpl = psp.build_templates(
            iso, AXES, log_age=LOG_AGE, mh=MH, progress=False, n_jobs=n_jobs, **PHOTOMETRY
        )
        assert tmpl.counts.sum() > 0.0

    def isochrones_only():
        for log_age in LOG_AGE:
            for mh in MH:
                iso.at(mh, log_age, BANDS)

    alone, together = least_time(build), least_time(lambda: build(2))
    isochrones = least_time(isochrones_only)
    print(
        f"\n200 templates, 100 x 100 bins: {alone:.3f} s in one process ({together:.3f} s in two); "
        f"of that the isochrones {isochrones:.3f} s"
    )


def test_one_template_of_the_paper(shared_data):
    far, near = paper_case(shared_data), paper_case(shared_data, near=True)
    models = {
        "single stars": (far, psp.NoBinaries()),
        "random pairs": (near, psp.RandomBinaryPairs(0.7)),
        "mass ratios": (near, psp.MassRatioBinaries(0.7)),
    }
    print("\nThe isochrone of Garling et al. (2025), 74 x 199 bins:")
    for name, (case, model) in models.items():
        seconds = least_time(lambda case=case, model=model: case.template(model))
        print(f"{name}: {1e3 * seconds:.1f} ms")
