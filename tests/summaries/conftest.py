"""The model of a simulated cluster that the tests of what comes after the fit share."""

import pytensor
import pytest

from after_fit_fixtures import LIMITS, build_model, posterior_at_truth, simulate_living


@pytest.fixture(scope="session")
def cluster_iso(iso):
    return iso.with_nodes(150)


@pytest.fixture(scope="session")
def living(cluster_iso):
    return simulate_living(cluster_iso, 3)


@pytest.fixture(scope="session")
def seen(living):
    return living.select(LIMITS.mask(living))


@pytest.fixture(scope="session")
def seen_model(cluster_iso, seen):
    return build_model(cluster_iso, seen)


@pytest.fixture(scope="session")
def at_truth():
    return posterior_at_truth()


@pytest.fixture
def python_vm():
    """Compile in seconds: the Python virtual machine runs the same kernels as numba."""
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        yield
