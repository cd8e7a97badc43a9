"""Settings and fixtures that all tests share."""

import os

# Read by OpenMP, BLAS and numba when they are first loaded, so before any other import.
for _name in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
):
    os.environ[_name] = "1"
os.environ["MPLBACKEND"] = "Agg"

from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"

# A first call compiles, which takes longer than any deadline. Fixed examples where a failure must
# be the change's own and not the draw's.
settings.register_profile("default_here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default_here")


# Each process compiles the models of its session once more.
_MOST_PROCESSES = 4


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process a core for the whole suite; none where tests are chosen or their output shown."""
    chosen = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    if chosen or config.option.capture == "no" or config.option.usepdb:
        return 0
    return min(os.cpu_count() or 1, _MOST_PROCESSES)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of published data that is kept beside the checkout, not in it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no ../shared/data beside the checkout: published test data absent")
    return SHARED_DATA


@pytest.fixture(scope="session")
def iso():
    """Bundled isochrones."""
    import pymc_starpop as psp

    return psp.load_isochrones()


@pytest.fixture(scope="session")
def coarse(iso):
    """Isochrones on so few nodes that the slow likelihood takes milliseconds."""
    return iso.with_nodes(90)


@pytest.fixture(scope="session")
def stars(coarse):
    """A small catalog with awkward stars."""
    from cluster_fixtures import make_stars

    return make_stars(coarse)


@pytest.fixture(scope="session")
def full(coarse, stars):
    """Likelihood with all parameters but the distance modulus, compiled with its gradient."""
    from cluster_fixtures import FULL_POINT, Compiled, full_arguments

    return Compiled(coarse, stars, tuple(FULL_POINT), full_arguments)


@pytest.fixture(scope="session")
def single(coarse, stars):
    """Likelihood of single stars with the distance modulus and a scatter for each band."""
    from cluster_fixtures import SINGLE_POINT, Compiled, single_arguments

    return Compiled(coarse, stars, tuple(SINGLE_POINT), single_arguments)


@pytest.fixture(scope="session")
def easy_catalog(coarse):
    """Members, and field stars far from them; two stars lack a band."""
    from cluster_fixtures import make_easy_catalog

    return make_easy_catalog(coarse)


@pytest.fixture(scope="session")
def cluster_model(coarse, easy_catalog):
    """A PyMC model with three free variables."""
    from cluster_fixtures import make_easy_model

    return make_easy_model(coarse, easy_catalog)


@pytest.fixture(scope="session")
def nutpie_fit(cluster_model):
    """What nutpie compiled for `pm.sample`, and the result of the sampling."""
    import nutpie
    import pymc as pm

    compiled = []
    original = nutpie.compile_pymc_model

    def compile_and_keep(*args, **kwargs):
        compiled.append(original(*args, **kwargs))
        return compiled[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nutpie, "compile_pymc_model", compile_and_keep)
        idata = pm.sample(
            200, tune=300, chains=1, model=cluster_model, nuts_sampler="nutpie", random_seed=3,
            progressbar=False, compute_convergence_checks=False,
        )  # fmt: skip
    return compiled[0], idata


@pytest.fixture
def rng() -> np.random.Generator:
    """Random generator with a fixed seed, new for every test."""
    return np.random.default_rng(20260101)
