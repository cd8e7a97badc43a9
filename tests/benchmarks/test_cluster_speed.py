"""Time and memory of the cluster likelihood with its gradient, printed next to astro-brutus.

Run with ``pytest -m benchmark -s``. Only finite values and the memory are asserted: a clock must
not fail a test.
"""

import functools
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import pymc_starpop as psp

pytestmark = pytest.mark.benchmark

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3", "2MASS_J", "2MASS_H", "2MASS_Ks")
TRUTH = {"feh": 0.0, "log_age": 9.4, "distance_modulus": 10.0, "av": 0.2}
FRACTIONS = {"field_fraction": 0.1, "binary_fraction": 0.3}
N_STAR = 1_000
N_STAR_MANY = 100_000

# The finer setting of the page on accuracy.
FINE = {"mass_ratio_nodes": 71, "node_pieces": 2}

N_REPEAT = 15
# A call of ours is short: this many for each one of brutus.
N_CALL = 5
MEMORY_LIMIT_MB = 1_000.0


def simulate(iso, n_star):
    """Stars with errors of 0.005 to 0.03 mag."""
    errors = np.random.default_rng(1).uniform(0.005, 0.03, (n_star, len(BANDS)))
    return psp.simulate_cluster(
        iso, n_star=n_star, bands=BANDS, mag_err=errors, rng=2,
        binary_fraction=FRACTIONS["binary_fraction"], **TRUTH,
    )  # fmt: skip


def compile_value_and_gradient(iso, catalog, **options):
    """Return a function of a small step away from the truth: the sum and its six derivatives."""
    parameters = {name: pt.dscalar(name) for name in TRUTH | FRACTIONS}
    total = psp.cluster_logp(iso, catalog, **parameters, **options).sum()
    inputs = list(parameters.values())
    function = pytensor.function(
        inputs, [total, *pt.grad(total, inputs)], mode="NUMBA", trust_input=True
    )
    values = list((TRUTH | FRACTIONS).values())

    def evaluate(step=0.0):
        return function(*(np.asarray(value + step) for value in values))

    return evaluate


def brutus_evaluation(populations, grid, catalog):
    """Return a function that takes brutus' steps from a ready-made grid to the total."""
    flux = 10.0 ** (-0.4 * catalog.mag)
    flux_err = flux * 0.4 * np.log(10.0) * catalog.mag_err
    mask = np.ones_like(flux)

    def evaluate(step=0.0):
        cluster = populations.compute_isochrone_cluster_loglike(flux, flux_err, grid, mask=mask)
        outlier = populations.compute_isochrone_outlier_loglike(flux, flux_err, grid, mask=mask)
        mixture = populations.apply_isochrone_mixture_model(
            cluster, outlier, 0.95, FRACTIONS["field_fraction"] + step
        )
        each = populations.marginalize_isochrone_grid(
            mixture, grid["mass_jacobians"], grid["smf_jacobians"]
        )
        return [each.sum()]

    return evaluate


def interleaved_times(calls, n_repeat=N_REPEAT):
    """Median and least wall time in ms of `calls`, name -> (function, calls in a repeat)."""
    # The first call compiles or touches the memory.
    for function, _ in calls.values():
        assert np.all(np.isfinite(function()))
    times = {name: [] for name in calls}
    for repeat in range(n_repeat):
        for name, (function, n_call) in calls.items():
            for call in range(n_call):
                # Another point every time, as a sampler asks for.
                step = 1e-4 * (repeat - 0.5 * n_repeat + call / n_call)
                start = time.perf_counter()
                result = function(step)
                times[name].append(1e3 * (time.perf_counter() - start))
                assert np.all(np.isfinite(result))
    medians = {name: float(np.median(values)) for name, values in times.items()}
    return medians, {name: min(values) for name, values in times.items()}


@functools.cache
def default_case(iso):
    """Return the default setting on `N_STAR` stars, compiled once for all tests here."""
    return compile_value_and_gradient(iso, simulate(iso, N_STAR))


def test_value_and_gradient_against_brutus(iso, brutus, brutus_grid):
    catalog = simulate(iso, N_STAR)
    fine = compile_value_and_gradient(iso, catalog, **FINE)
    grid = brutus_grid(BANDS, TRUTH["feh"], TRUTH["log_age"], TRUTH["av"], 10.0)
    assert grid["grid_info"]["eep_grid"].size == 1_000
    assert grid["grid_info"]["smf_grid"].size == 21

    ms, least = interleaved_times(
        {
            "brutus": (brutus_evaluation(brutus, grid, catalog), 1),
            "default": (default_case(iso), N_CALL),
            "fine": (fine, N_CALL),
        }
    )

    ratio, least_ratio = (
        [t["brutus"] / t[setting] for setting in ("default", "fine")] for t in (ms, least)
    )
    print(
        f"\n1,000 stars x 6 bands, one thread, median (least): astro-brutus 1.2.0 value "
        f"{ms['brutus']:.0f} ({least['brutus']:.0f}) ms; value and gradient {ms['default']:.2f} "
        f"({least['default']:.2f}) ms at the default setting, {ms['fine']:.2f} "
        f"({least['fine']:.2f}) ms at the finer one: "
        f"{ratio[0]:.0f} ({least_ratio[0]:.0f}) and {ratio[1]:.0f} "
        f"({least_ratio[1]:.0f}) times faster"
    )


def test_extinction_that_differs_from_star_to_star(iso):
    catalog = simulate(iso, N_STAR)
    differential = compile_value_and_gradient(iso, catalog, av_scatter=pt.constant(0.1))

    ms, least = interleaved_times(
        {"one": (default_case(iso), N_CALL), "differential": (differential, N_CALL)}
    )

    print(
        f"\n1,000 stars x 6 bands, value and gradient, median (least): {ms['one']:.2f} "
        f"({least['one']:.2f}) ms, with a scatter of A_V {ms['differential']:.2f} "
        f"({least['differential']:.2f}) ms"
    )


def test_time_grows_with_the_number_of_stars(iso):
    many = compile_value_and_gradient(iso, simulate(iso, N_STAR_MANY))

    ms, _ = interleaved_times({"few": (default_case(iso), N_CALL), "many": (many, 1)}, n_repeat=7)

    print(
        f"\n100,000 stars x 6 bands: {ms['many']:.0f} ms, 1,000 stars: {ms['few']:.2f} ms: "
        f"{ms['many'] / ms['few']:.0f} times as long"
    )


def test_memory_of_many_stars():
    few, many = peak_memory(N_STAR), peak_memory(N_STAR_MANY)

    print(
        f"\nPeak memory of a process that evaluates 100,000 stars: {many:.0f} MB, "
        f"{many - few:+.0f} MB against 1,000 stars"
    )
    assert many < MEMORY_LIMIT_MB


def peak_memory(n_star):
    """Peak resident memory in MB of another process that evaluates `n_star` stars."""
    source = str(Path(psp.__file__).parents[1])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, __file__, str(n_star)],
        env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout.split()[-1])


def peak_resident_mb():
    """Peak resident memory of this process in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not `getrusage`: on Linux its maximum begins with that of the process that started this.
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return float(line.split()[1]) / 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def main(n_star):
    """Evaluate once in this process and print the peak resident memory in MB."""
    isochrones = psp.load_isochrones()
    evaluate = compile_value_and_gradient(isochrones, simulate(isochrones, n_star))
    assert np.all(np.isfinite(evaluate()))
    print(peak_resident_mb())


if __name__ == "__main__":
    main(int(sys.argv[1]))
