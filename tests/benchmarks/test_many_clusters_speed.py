"""Time and memory of fifty clusters in one likelihood, next to the sum of fifty of one each.

Run with ``pytest -m benchmark -s``. That there is one node for all, finite values and the memory
are asserted: a clock must not fail a test.
"""

import resource
import time

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import pymc_starpop as psp
from fifty_clusters import N_CLUSTER, SHARED, fifty_clusters
from pymc_starpop.ops.each_cluster import EachCluster

pytestmark = pytest.mark.benchmark

N_REPEAT = 15
# Of the fifty, so many are also compiled one by one.
N_SINGLE = 3
MEMORY_LIMIT_MB = 1_500.0


def median_time(function, point):
    times = []
    for _ in range(N_REPEAT):
        start = time.process_time()
        result = function(*point)
        times.append(time.process_time() - start)
    assert all(np.isfinite(part).all() for part in result)
    return float(np.median(times))


def compiled(iso, catalog, symbols):
    start = time.process_time()
    logp = psp.cluster_logp(iso, catalog, **symbols)
    inputs = list(symbols.values())
    function = pytensor.function(
        inputs, [logp.sum(), *pt.grad(logp.sum(), inputs)], mode="NUMBA", trust_input=True
    )
    return function, start


def test_fifty_clusters_in_one(iso):
    catalogs, truth = fifty_clusters(iso)
    cats = psp.StarCatalog.stack(catalogs)
    shapes = {n: () if n in SHARED else (N_CLUSTER,) for n in truth}
    symbols = {n: pt.tensor(n, dtype="float64", shape=shape) for n, shape in shapes.items()}
    function, start = compiled(iso, cats, symbols)
    point = [np.asarray(value, dtype=float) for value in truth.values()]
    function(*point)
    print(f"\n{N_CLUSTER} clusters: compiled and first run in {time.process_time() - start:.1f} s")
    nodes = [n for n in function.maker.fgraph.apply_nodes if isinstance(n.op, EachCluster)]
    assert len(nodes) == 1
    together = median_time(function, point)
    singles = []
    for place in range(N_SINGLE):
        own = {name: pt.dscalar(name) for name in truth}
        single, start = compiled(iso, cats[cats.cluster_names[place]], own)
        at = [np.asarray(v[place] if np.ndim(v) else v, dtype=float) for v in truth.values()]
        single(*at)
        print(f"one cluster: compiled and first run in {time.process_time() - start:.1f} s")
        singles.append(median_time(single, at))
    apart = N_CLUSTER * float(np.mean(singles))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    print(
        f"value and gradient: {1e3 * together:.0f} ms, of singles {1e3 * apart:.0f} ms "
        f"({together / apart:.2f} of their sum); memory of the process {memory:.0f} MB"
    )
    assert memory < MEMORY_LIMIT_MB
