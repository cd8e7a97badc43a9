"""Processor time from the start of Python to the first draw of the bundled example, printed.

Run with ``pytest -m benchmark -s``; with ``PYMC_STARPOP_BASE`` set to the ``src`` of another
checkout, its times are printed beside those of this one. Each case is a process of its own, in
whose caches is what the cases before it left: nothing for the first. A clock must not fail a test:
what is asserted is that draws come.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import pymc_starpop as psp

pytestmark = pytest.mark.benchmark

EXAMPLES = Path(__file__).parents[2] / "examples"
START = {
    "log_age": 9.35, "distance_pc": 300.0, "feh": 0.1, "av": 0.3, "field_fraction": 0.2,
    "binary_fraction": 0.4, "intrinsic_scatter": 0.03,
}  # fmt: skip
CASES = {
    "empty caches": "example",
    "again": "example",
    "another prior": "prior",
    "a parameter free that was fixed": "free",
    "no selection": "no selection",
    "fewer stars": "fewer",
    "other stars, as many": "others",
    "another limit": "limit",
}
N_CLUSTER = 50


@pytest.mark.parametrize("sampler", ["pymc", "nutpie"])
def test_catalogs_and_options(sampler, tmp_path):
    builds = {"this": str(Path(psp.__file__).parents[1])}
    if "PYMC_STARPOP_BASE" in os.environ:
        builds["base"] = os.environ["PYMC_STARPOP_BASE"]
    times = {
        build: {name: run(source, sampler, case, tmp_path / build) for name, case in CASES.items()}
        for build, source in builds.items()
    }
    report(sampler, list(CASES), times)


@pytest.mark.parametrize("sampler", ["pymc", "nutpie"])
def test_fifty_clusters(sampler, tmp_path):
    source = str(Path(psp.__file__).parents[1])
    times = {
        f"stack of {n}": {"empty caches": run(source, sampler, f"stack {n}", tmp_path / str(n))}
        for n in (1, N_CLUSTER)
    }
    report(sampler, ["empty caches"], times)


def report(sampler, names, times):
    """Print the times of each build, whole and without the imports, and their ratio to the last."""
    *_, base = times
    for name in names:
        cells = [
            f"{build} {t[name][0]:.1f} s ({t[name][1]:.1f} s after the imports)"
            for build, t in times.items()
        ]
        first = next(iter(times.values()))
        ratios = [first[name][k] / times[base][name][k] for k in range(2)]
        print(f"\n{sampler}, {name}: {', '.join(cells)}; {ratios[0]:.2f} ({ratios[1]:.2f})", end="")
    print()


def run(source, sampler, case, caches):
    """Draw once in another process; return its processor time, whole and after the imports."""
    flags = f"{os.environ.get('PYTENSOR_FLAGS', '')},base_compiledir={caches / 'pytensor'}"
    environment = {
        "PYTHONPATH": os.pathsep.join([source, str(EXAMPLES)]),
        "NUMBA_CACHE_DIR": str(caches / "numba"),
        "PYTENSOR_FLAGS": flags.lstrip(","),
    }
    before = processor_time(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, __file__, sampler, case],
        env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    result = json.loads(done.stdout.splitlines()[-1])
    assert 8.8 < result["log_age"] < 10.0
    whole = processor_time(resource.RUSAGE_CHILDREN) - before
    return whole, whole - result["imports"]


def processor_time(who):
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def main(sampler, case):
    """Build the model of the example, or a variant of it, and draw once."""
    import numpy as np
    import pymc as pm
    import ruprecht147 as example

    imports = processor_time(resource.RUSAGE_SELF)
    catalog = psp.load_example("ruprecht147", parallax_error_floor=example.PARALLAX_FLOOR)
    stars = catalog.select(example.LIMITS.mask(catalog) & ~catalog.extra["duplicate"])
    if case in ("fewer", "others"):
        rows = np.random.default_rng(1).permutation(stars.n_star)
        stars = stars.select(rows[20:] if case == "fewer" else rows)
    limits = {
        "no selection": None, "limit": psp.MagnitudeLimits("Gaia_G_EDR3", 5.9, 14.6),
    }.get(case, example.LIMITS)  # fmt: skip
    n = int(case.split()[1]) if case.startswith("stack") else 1
    if case.startswith("stack"):
        stars = psp.StarCatalog.stack({f"cluster {i}": stars for i in range(n)})
    of_each = {"dims": "cluster"} if case.startswith("stack") else {}
    start = {name: np.full(n, value) if of_each else value for name, value in START.items()}
    with pm.Model(coords=stars.coords()):
        log_age = pm.Uniform("log_age", 8.8, 10.0, **of_each)
        pm.Deterministic("age_gyr", 10.0 ** (log_age - 9.0), **of_each)
        if case == "prior":
            feh = pm.StudentT("feh", 5.0, mu=0.10, sigma=0.05)
        else:
            feh = pm.Normal("feh", 0.10, 0.05, **of_each)
        further = {}
        if case == "free":
            further["mass_ratio_slope"] = pm.Normal("mass_ratio_slope", 0.0, 0.5)
        psp.ClusterPhotometry(
            "stars",
            psp.load_isochrones(450),
            feh=feh,
            log_age=log_age,
            distance_pc=pm.Normal("distance_pc", 305.0, 20.0, **of_each),
            av=pm.TruncatedNormal("av", 0.30, 0.10, lower=0.0, upper=1.5, **of_each),
            field_fraction=pm.Beta("field_fraction", 1.5, 6.0, **of_each),
            binary_fraction=pm.Beta("binary_fraction", 2.0, 2.0, **of_each),
            intrinsic_scatter=pm.HalfNormal("intrinsic_scatter", 0.03, **of_each),
            parallax_zero_point=-0.04,
            selection=limits,
            mass_ratio_nodes=21,
            observed=stars,
            **further,
        )
        # Without jitter: with fifty clusters it nearly always leaves the support of one.
        begin: dict = {"init": "adapt_diag"}
        if sampler == "nutpie":
            begin = {"compile_kwargs": {"jitter_rvs": set()}}
        idata = pm.sample(
            draws=1, tune=0, chains=1, cores=1, random_seed=147, progressbar=False, quiet=True,
            compute_convergence_checks=False, nuts_sampler=sampler, initvals=start, **begin,
        )  # fmt: skip
    log_age = float(idata["posterior"]["log_age"].values.flat[0])
    print(json.dumps({"imports": imports, "log_age": log_age}))


if __name__ == "__main__":
    main(*sys.argv[1:])
