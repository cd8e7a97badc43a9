"""Cluster likelihoods of this checkout next to those of another one, side by side in one run.

    python tests/benchmarks/compare_clusters.py ../other-checkout [--turns 7] [--posterior]

Each build runs in a process of its own, on one thread, and the two take turns, so that what else
the machine does meets both. Times are medians over the turns of the processor time of one value
with its gradient.

1. One cluster of 300 stars to G = 16 with binaries.
2. Fifty clusters of 500 stars. A build that stacks catalogs evaluates them in one function. For one
   that does not, the sum of fifty functions is fifty times the mean of those of some of them.
3. Ruprecht 147 with several options: largest difference of a star's log-likelihood, at some points.
4. With ``--posterior``: the posterior of examples/ruprecht147.py with fewer draws; differences of
   means, and of standard deviations, in units of the standard deviation.
"""

import argparse
import importlib
import os
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3", "2MASS_J", "2MASS_H", "2MASS_Ks")
TRUTH = {
    "feh": 0.0, "log_age": 9.2, "distance_modulus": 8.0, "av": 0.3, "field_fraction": 0.1,
    "binary_fraction": 0.3, "intrinsic_scatter": 0.02,
}  # fmt: skip
# Of the fifty, so many are compiled one by one.
N_SINGLE = 4
# Options of Ruprecht 147, apart from the parameters in POINTS.
OPTIONS = {
    "binaries": {"binary_fraction": 0.4, "mass_ratio_slope": 0.5},
    "scatter in A_V": {"binary_fraction": 0.4, "av_scatter": 0.05},
    "ages": {"binary_fraction": 0.4, "log_age_scatter": 0.03},
    "single stars": {},
}
NAMES = ("feh", "log_age", "distance_modulus", "av", "field_fraction", "intrinsic_scatter")
POINTS = [
    (0.1, 9.4, 7.4, 0.3, 0.2, 0.02), (0.02, 9.45, 7.3, 0.2, 0.05, 0.05),
    (-0.3, 9.2, 7.6, 0.5, 0.4, 0.01), (0.15, 9.5, 7.35, 0.31, 0.1, 0.1),
]  # fmt: skip


def compiled(psp, iso, catalog, symbols, **options):
    """A function of the parameters: the sum of the log-likelihoods and its gradient."""
    import pytensor
    import pytensor.tensor as pt

    total = psp.cluster_logp(iso, catalog, **symbols, **options).sum()
    inputs = list(symbols.values())
    return pytensor.function(
        inputs, [total, *pt.grad(total, inputs)], mode="NUMBA", trust_input=True
    )


def make_cases(psp):
    """Functions without arguments by case, and by how much to multiply their summed time."""
    import pytensor.tensor as pt

    iso = psp.load_isochrones()
    limits = psp.MagnitudeLimits("Gaia_G_EDR3", faint=16.0)
    catalog = psp.simulate_cluster(
        iso, n_star=300, bands=BANDS, mag_err=0.02, selection=limits, rng=1,
        **TRUTH | {"field_fraction": 0.0},
    )  # fmt: skip
    scalars = {name: pt.dscalar(name) for name in TRUTH}
    single = compiled(psp, iso, catalog, scalars, selection=limits)
    point = [np.asarray(value) for value in TRUTH.values()]
    cases = {"one cluster": ([lambda: single(*point)], 1.0)}
    sys.path.insert(0, str(ROOT / "tests"))
    fifty = importlib.import_module("fifty_clusters")
    catalogs, truth = fifty.fifty_clusters(iso)
    if hasattr(psp.StarCatalog, "stack"):
        shapes = {n: () if n in fifty.SHARED else (fifty.N_CLUSTER,) for n in TRUTH}
        symbols = {n: pt.tensor(n, dtype="float64", shape=shape) for n, shape in shapes.items()}
        together = compiled(psp, iso, psp.StarCatalog.stack(catalogs), symbols)
        values = [np.asarray(truth[name]) for name in TRUTH]
        cases["fifty clusters"] = ([lambda: together(*values)], 1.0)
        return cases
    functions = []
    for c in range(N_SINGLE):
        own = compiled(psp, iso, catalogs[f"cluster {c}"], scalars)
        values = [np.asarray(np.broadcast_to(truth[n], fifty.N_CLUSTER)[c]) for n in TRUTH]
        functions.append(lambda own=own, values=values: own(*values))
    cases["fifty clusters"] = (functions, fifty.N_CLUSTER / N_SINGLE)
    return cases


def processor_time(functions, n_repeat=9):
    """Median of the processor time (s) of all functions, one after the other."""
    times = []
    for _ in range(n_repeat):
        start = time.process_time()
        results = [function() for function in functions]
        times.append(time.process_time() - start)
        assert all(np.isfinite(part).all() for result in results for part in result)
    return float(np.median(times))


def per_star(psp):
    """Log-likelihoods (option, point, star) of Ruprecht 147."""
    iso, catalog = psp.load_isochrones(150), psp.load_example("ruprecht147")
    found = {}
    for name, options in OPTIONS.items():
        function = psp.cluster_function(iso, catalog, NAMES, **options)
        found[name] = np.array([function.per_star(point) for point in POINTS])
    return found


def posterior(psp):
    """Means and standard deviations of the parameters of examples/ruprecht147.py."""
    import pymc as pm

    sys.path.insert(0, str(Path(psp.__file__).parents[2] / "examples"))
    import ruprecht147

    catalog = psp.load_example("ruprecht147", parallax_error_floor=ruprecht147.PARALLAX_FLOOR)
    stars = catalog.select(ruprecht147.LIMITS.mask(catalog) & ~catalog.extra["duplicate"])
    with ruprecht147.build_model(stars) as model:
        start = psp.find_start(progressbar=False)
        idata = pm.sample(
            1000, tune=1000, **start.sample_kwargs("pymc"), cores=1, random_seed=1,
            progressbar=False,
        )  # fmt: skip
    names = [rv.name for rv in model.free_RVs]
    draws = idata.posterior
    return {n: (float(draws[n].mean()), float(draws[n].std())) for n in names if draws[n].ndim == 2}


def serve():
    """Answer requests of the parent process, one a line."""
    import pymc_starpop as psp

    warnings.simplefilter("ignore")
    cases = {}
    for line in sys.stdin:
        request, _, target = line.strip().partition("\t")
        if request == "time":
            cases = cases or make_cases(psp)
            found = {n: k * processor_time(functions) for n, (functions, k) in cases.items()}
        else:
            found = {"stars": per_star, "posterior": posterior}[request](psp)
        Path(target).write_bytes(pickle.dumps(found))
        print("done", flush=True)


class Build:
    """A checkout whose code runs in a process of its own."""

    def __init__(self, checkout, folder):
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
        environment = os.environ | threads | {"PYTHONPATH": str(Path(checkout).resolve() / "src")}
        self._answer = Path(folder) / f"{id(self)}.pickle"
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--serve"],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, request):
        """Wait for an answer."""
        self._process.stdin.write(f"{request}\t{self._answer}\n")
        self._process.stdin.flush()
        while (line := self._process.stdout.readline()) != "done\n":
            if not line:
                raise RuntimeError(f"the process ended with {self._process.wait()}")
        return pickle.loads(self._answer.read_bytes())

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


def main():
    """Print times, ratios and differences."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("other", nargs="?", help="path of another checkout")
    parser.add_argument("--turns", type=int, default=7, help="turns of each build")
    parser.add_argument("--posterior", action="store_true", help="compare posteriors, too")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return
    if arguments.other is None:
        parser.error("the path of another checkout is needed")
    with tempfile.TemporaryDirectory() as folder:
        builds = [Build(checkout, folder) for checkout in (arguments.other, ROOT)]
        turns = [[build.ask("time") for build in builds] for _ in range(arguments.turns)]
        for name in turns[0][0]:
            other, this = (np.median([turn[k][name] for turn in turns]) for k in range(2))
            ratios = [turn[1][name] / turn[0][name] for turn in turns]
            print(
                f"{name:16s} {1e3 * other:8.2f} ms {1e3 * this:8.2f} ms   ratio "
                f"{np.median(ratios):.3f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )
        other, this = (build.ask("stars") for build in builds)
        for name, values in other.items():
            largest = np.abs(values - this[name]).max()
            print(f"{name:16s} largest difference of a star's log-likelihood {largest:.1e}")
        if arguments.posterior:
            other, this = (build.ask("posterior") for build in builds)
            for name, (mean, sd) in other.items():
                print(
                    f"{name:20s} {mean:10.4f} +- {sd:.4f}   mean {(this[name][0] - mean) / sd:+.3f}"
                    f" sd, width {this[name][1] / sd:.3f}"
                )
        for build in builds:
            build.close()


if __name__ == "__main__":
    main()
