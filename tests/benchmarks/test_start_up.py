"""Time from the start of Python to the first draw of the bundled example, printed.

Run with ``pytest -m benchmark -s``. The wanted figures are 120 s with nothing compiled and 30 s in
every later process. What is asserted is that draws come, and that the second process finds in
the caches all that can be kept there: a clock must not fail a test.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pymc_starpop as psp

pytestmark = pytest.mark.benchmark

EXAMPLES = Path(__file__).parents[2] / "examples"
# Of nutpie's own functions, which it does not cache.
NOT_CACHED = {"nutpie": {"nutpie.compile_pymc"}, "pymc": set()}


@pytest.mark.parametrize("sampler", ["pymc", "nutpie"])
def test_time_to_the_first_draw(sampler, tmp_path):
    first = run_example(sampler, tmp_path)
    cached = files(tmp_path)
    second = run_example(sampler, tmp_path)

    for which, result in (("first", first), ("second", second)):
        steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in result["steps"].items())
        print(
            f"\n{sampler}, {which} process, s since the start of Python: {steps}; "
            f"of the processor {result['cpu']:.1f}",
            end="",
        )
    print()
    assert cached
    assert files(tmp_path) == cached
    assert set(second["compiled"]) <= NOT_CACHED[sampler]
    for result in (first, second):
        # Jitter and no tuning: one draw is anywhere in the prior.
        assert 8.8 < result["log_age"] < 10.0


def files(folder):
    """Name and time of change of every file below a folder."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def run_example(sampler, caches):
    """Draw once in another process whose caches are in a folder, and return what it prints."""
    source = str(Path(psp.__file__).parents[1])
    flags = f"{os.environ.get('PYTENSOR_FLAGS', '')},base_compiledir={caches / 'pytensor'}"
    environment = {
        "PYTHONPATH": os.pathsep.join(
            filter(None, [source, str(EXAMPLES), os.environ.get("PYTHONPATH")])
        ),
        # Without this variable numba keeps compiled kernels beside their source.
        "NUMBA_CACHE_DIR": str(caches / "numba"),
        "PYTENSOR_FLAGS": flags.lstrip(","),
        "START": repr(time.time()),
    }
    done = subprocess.run(
        [sys.executable, __file__, sampler],
        env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


class Clock:
    """Seconds since the parent started this process, by name of the step that ended."""

    def __init__(self):
        self.steps = {}

    def __call__(self, name):
        self.steps[name] = time.time() - float(os.environ["START"])


def main(sampler):
    """Do what the example does, up to its first draw."""
    clock = Clock()
    import pymc as pm
    import ruprecht147 as example
    from numba.core import event

    clock("import")
    compiling = event.RecordingListener()
    catalog = psp.load_example("ruprecht147", parallax_error_floor=example.PARALLAX_FLOOR)
    stars = catalog.select(example.LIMITS.mask(catalog) & ~catalog.extra["duplicate"])
    with event.install_listener("numba:compile", compiling), example.build_model(stars):
        clock("model")
        start = psp.find_start(6, random_seed=1, progressbar=False)
        clock("find_start")
        idata = pm.sample(
            draws=1, tune=0, cores=1, random_seed=147, progressbar=False, quiet=True,
            compute_convergence_checks=False, **start.sample_kwargs(sampler, chains=1),
        )  # fmt: skip
        clock("first draw")
    modules = {str(e.data["dispatcher"].py_func.__module__) for _, e in compiling.buffer}
    result = {
        "steps": clock.steps,
        "cpu": time.process_time(),
        # What is numba's own is compiled into the functions that ask for it.
        "compiled": sorted(m for m in modules if not m.startswith("numba.")),
        "log_age": float(idata["posterior"]["log_age"].item()),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
