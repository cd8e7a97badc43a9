"""Time of templates, printed next to that of the isochrones they are made of.

Run with ``pytest -m benchmark -s``. Only finite values are asserted: a clock must not fail a test.
"""

import time
from dataclasses import replace

import numpy as np
import pytest

import pymc_starpop as psp
from pymc_starpop.hess.errors import as_error_model
from pymc_starpop.hess.systems import Population
from pymc_starpop.hess.template_counts import template_counts
from template_fixtures import errors_of, paper_case

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


@pytest.mark.parametrize(("mh", "log_age"), [(-2.0, 9.2), (-0.5, 8.6), (0.0, 10.0)])
def test_binaries_next_to_single_stars(iso, mh, log_age):
    """100 x 100 bins; the error is that against cells of 0.4 times the length."""
    one = iso.at(mh, log_age, BANDS)
    mag = one.abs_mag + PHOTOMETRY["distance_modulus"]
    errors = as_error_model(BANDS, PHOTOMETRY["noise"], PHOTOMETRY["completeness"])
    models = psp.NoBinaries(), psp.RandomBinaryPairs(0.5), psp.MassRatioBinaries(0.5)
    print(f"\n[M/H] {mh}, log age {log_age}:")
    single = None
    for model in models:
        population = Population(AXES, errors, psp.Kroupa(), model)
        fine = replace(population, total_scatter=0.4)

        def build(population=population):
            return template_counts(population, one.initial_mass, mag)

        seconds = least_time(build)
        single = single or seconds
        total, worst = errors_of(build(), template_counts(fine, one.initial_mass, mag), mass=1e7)
        assert np.isfinite(total)
        print(
            f"{type(model).__name__}: {1e3 * seconds:.1f} ms, {seconds / single:.1f} x single; "
            f"total error {total:.1e}, worst bin {worst:.1e}"
        )
