"""Templates of this checkout next to those of another one, side by side in one run.

    python tests/benchmarks/compare_builds.py ../other-checkout [--repeats 3]

Each build runs in a process of its own, on one thread, and the two take turns, so that what else
the machine does meets both. Times are medians of the processor time of one template. Differences
and errors are sums of absolute differences over the sum of the templates: differences those from
the other build, errors those of this one from its own templates in cells several times smaller.

1. 100 x 100 bins with an error model: single stars and mass-ratio binaries, single ages.
2. 24 x 76 bins with the artificial stars of NGC 1978 (needs ../shared/data), mass-ratio binaries,
   single ages. A build with ``build_templates(artificial_stars=...)`` uses it; others use
   ``ErrorModel.from_asts``. These two differ in what they say of the photometry, so that their
   templates do too.
3. The same with means over age bins, where a build has them; others are taken with single ages.
   Bins longer than 0.6 Gyr are divided into parts, each of which is such a mean and counts as one
   template: 24 in 16 bins.

Cases 2 and 3 measure sixteen bins, and by themselves the matrix of the artificial stars, which
is made once for a set; from both follows what 420 templates would take.
"""

import argparse
import importlib
import inspect
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "ngc1978_f555w_f814w.asts.dat.gz"
BANDS = ("Bessell_V", "Bessell_I")
POINTS = [(-2.0, 9.2), (-0.5, 8.6), (0.0, 10.0)]  # [M/H], log10(age / yr)
# 420 templates are 28 ages x 15 metallicities; these stand for them.
LOG_AGE, STEP, MH, N_BIN = (8.8, 9.7), 0.05, (-1.0, -0.3), 4
N_ALL = 420


def error_model(psp, binaries):
    """One function for each single age: 100 x 100 bins with an error model.

    It returns templates and their number.
    """
    axes = psp.HessAxes(BANDS, BANDS[1], np.linspace(-0.5, 2.5, 101), np.linspace(20, 29, 101))
    iso = psp.load_isochrones()
    photometry = {
        "noise": {b: psp.ExponentialError(1.03, 15, 35.5, 0.01, 0.4) for b in BANDS},
        "completeness": {b: psp.LogisticCompleteness(1, 28.0, 0.5) for b in BANDS},
        "distance_modulus": 25.0,
    }

    def one(mh, log_age):
        track = iso.at(mh, log_age, BANDS)
        template = psp.build_template(
            track.initial_mass, track.abs_mag, BANDS, axes, binaries=binaries, **photometry
        )
        return template.values, 1

    return [lambda point=point: one(*point) for point in POINTS]


def artificial_stars(psp, means):
    """One function for each age: 24 x 76 bins with artificial stars; None if there are no means."""
    table = np.loadtxt(DATA)
    mag_in, mag_out = table[:, :2], table[:, :2] - table[:, 2:]  # shifts are in - out
    recovered = (np.abs(table[:, 2:]) < 9.0).all(axis=1)
    known = inspect.signature(psp.build_templates).parameters
    if means and "ages_per_bin" not in known:
        return None
    if "artificial_stars" in known:
        mag_out = np.where(recovered[:, None], mag_out, np.nan)
        photometry = {"artificial_stars": psp.ArtificialStars(mag_in, mag_out, bands=BANDS)}
    else:
        photometry = {"noise": psp.ErrorModel.from_asts(mag_in, mag_out, recovered, bands=BANDS)}
    axes = psp.HessAxes(BANDS, BANDS[1], np.linspace(-0.5, 2.0, 25), np.linspace(17.5, 24.0, 77))
    options = {"progress": False, "binaries": psp.MassRatioBinaries(0.5)}
    if "ages_per_bin" in known and not means:
        options["ages_per_bin"] = 1
    iso = psp.load_isochrones()

    def build(log_age):
        # Neighboring bins share ages. The end of the last one makes it as long as the first.
        ages = np.round(log_age + STEP * np.arange(N_BIN), 3)
        end = {"t_max_gyr": 10.0 ** (ages[-1] + STEP - 9.0)} if "ages_per_bin" in known else {}
        made = psp.build_templates(
            iso, axes, log_age=ages, mh=MH, distance_modulus=18.5, **options, **end, **photometry
        )
        return made.counts, getattr(made, "parts", made).counts[..., 0, 0].size

    return [lambda age=age: build(age) for age in LOG_AGE]


def make_matrix_once(psp):
    """Time in s of the matrix of the artificial stars; from now on it is not made again."""
    templates = importlib.import_module("pymc_starpop.hess.templates")
    if not hasattr(templates, "build_transfer"):
        return 0.0
    made = []
    build = templates.build_transfer

    def build_once(*arguments):
        if not made:
            matrix = build(*arguments)  # compiles
            made.extend([matrix, median_time([lambda: build(*arguments)])])
        return made[0]

    templates.build_transfer = build_once
    artificial_stars(psp, means=False)[0]()
    return made[1]


def median_time(functions):
    """Median of the processor time (s) of some passes through all, seven where they are short."""
    times = []
    while (
        not times or (sum(times) < 1.0 and len(times) < 7) or (sum(times) < 10.0 and len(times) < 3)
    ):
        start = time.process_time()
        for function in functions:
            function()
        times.append(time.process_time() - start)
    return float(np.median(times))


def measure(output):
    """Time every case in this process and save times (a template) and templates."""
    import pymc_starpop as psp

    warnings.simplefilter("ignore")
    cases = {
        "single": error_model(psp, psp.NoBinaries()),
        "binaries": error_model(psp, psp.MassRatioBinaries(0.5)),
    }
    if DATA.exists():
        cases["stars, single ages"] = artificial_stars(psp, means=False)
        cases["stars, means"] = artificial_stars(psp, means=True)
    found = {"once": make_matrix_once(psp) if DATA.exists() else 0.0}
    for name, functions in cases.items():
        if functions is None:
            for kind in ("time", "number", "templates"):
                found[f"{name}/{kind}"] = found[f"stars, single ages/{kind}"]
            continue
        templates, numbers = zip(*(function() for function in functions), strict=True)
        found[f"{name}/time"] = median_time(functions) / sum(numbers)
        found[f"{name}/number"] = sum(numbers)
        found[f"{name}/templates"] = np.stack(templates)
    if Path(psp.__file__).is_relative_to(ROOT):
        found |= measure_errors(cases, found)
    np.savez(output, **found)


def measure_errors(cases, found):
    """Total errors of the templates of this checkout: binaries from finer cells."""
    sys.path.insert(0, str(ROOT / "tests"))
    finer_cells = importlib.import_module("finer_cells").finer_cells
    errors = {}
    with finer_cells():
        for name, functions in cases.items():
            truth = np.stack([function()[0] for function in functions])
            difference = np.abs(found[f"{name}/templates"] - truth).sum()
            errors[f"{name}/error"] = difference / truth.sum()
    return errors


def run(checkout, output):
    """Measure one checkout in a process of its own."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    environment = os.environ | threads | {"PYTHONPATH": str(Path(checkout).resolve() / "src")}
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", str(output)]
    subprocess.run(command, env=environment, check=True)
    with np.load(output) as file:
        return dict(file)


def main():
    """Print times, ratios and differences."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("other", nargs="?", help="path of another checkout")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each build")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    if arguments.other is None:
        parser.error("the path of another checkout is needed")
    results = {"other": [], "this": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(arguments.repeats):
            for name, checkout in (("other", arguments.other), ("this", ROOT)):
                results[name].append(run(checkout, Path(folder) / f"{name}{turn}.npz"))
    names = [key.removesuffix("/time") for key in results["this"][0] if key.endswith("/time")]
    times = {
        name: [float(np.median([r[f"{name}/time"] for r in results[b]])) for b in results]
        for name in names
    }
    columns = f"{'other':>10s}{'this':>10s}{'other/this':>12s}{'difference':>12s}{'error':>10s}"
    print(f"{'ms a template':22s}{columns}")
    for name, (other, this) in times.items():
        first, second = (results[b][0][f"{name}/templates"] for b in results)
        difference = np.abs(second - first).sum() / first.sum()
        error = float(results["this"][0][f"{name}/error"])
        print(
            f"{name:22s}{1e3 * other:10.2f}{1e3 * this:10.2f}{other / this:12.1f}"
            f"{difference:12.1e}{error:10.1e}"
        )
        if name.startswith("stars"):
            total = [
                float(np.median([r["once"] for r in results[build]])) + N_ALL * time_of_one
                for build, time_of_one in (("other", other), ("this", this))
            ]
            print(
                f"  {N_ALL} templates, from {results['this'][0][f'{name}/number']} of them: "
                f"{total[0]:.1f} s and {total[1]:.1f} s, ratio {total[0] / total[1]:.1f}"
            )
    ratios = [b / s for b, s in zip(times["binaries"], times["single"], strict=True)]
    print(f"binaries / single: other {ratios[0]:.1f}, this {ratios[1]:.1f}")


if __name__ == "__main__":
    main()
