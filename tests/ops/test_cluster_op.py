"""The Op of the cluster: one evaluation for value and gradient, and when it must not be one."""

from collections import Counter
from graphlib import CycleError, TopologicalSorter

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.testing import assert_array_equal
from pytensor.graph.fg import FunctionGraph

import pymc_starpop as psp
from cluster_fixtures import FULL_POINT, TRUTH, full_arguments
from pymc_starpop.cluster.parameters import split_arguments
from pymc_starpop.likelihoods.cluster import as_float64, cluster_parts
from pymc_starpop.likelihoods.stars import star_terms
from pymc_starpop.ops._merge import MergeValueAndGradient
from pymc_starpop.ops.cluster import (
    _NAMES,
    _NDIMS,
    ClusterGradient,
    ClusterLikelihood,
    ClusterValueAndGradient,
    cluster_likelihood,
)
from pymc_starpop.ops.each_cluster import (
    EachClusterGradient,
    EachClusterValue,
    EachClusterValueAndGradient,
)
from tolerances import assert_close, assert_gradient_close

KERNELS = (EachClusterValue, EachClusterGradient, EachClusterValueAndGradient)
BOTH = {"EachClusterValueAndGradient": 1}
APART = {"EachClusterValue": 1, "EachClusterGradient": 1}
BARE = (ClusterLikelihood, ClusterGradient, ClusterValueAndGradient)
BARE_BOTH = {"ClusterValueAndGradient": 1}
BARE_APART = {"ClusterLikelihood": 1, "ClusterGradient": 1}


def kernel_nodes(function, kernels=KERNELS):
    """How often each likelihood stands in a compiled function or in a graph."""
    fgraph = function if isinstance(function, FunctionGraph) else function.maker.fgraph
    return Counter(type(n.op).__name__ for n in fgraph.apply_nodes if isinstance(n.op, kernels))


@pytest.fixture(scope="module")
def likelihood(coarse, stars):
    """Two scalars, and the log-likelihoods (N,) that depend on them."""
    feh, modulus = pt.dscalar("feh"), pt.dscalar("distance_modulus")
    parameters = TRUTH | {"feh": feh, "distance_modulus": modulus, "field_fraction": 0.1}
    return [feh, modulus], psp.cluster_logp(coarse, stars, **parameters)


POINT = (0.06, 9.41)


def compiled(inputs, total, mode="NUMBA"):
    """Value and gradient of a scalar; numba compiles only when it is called."""
    return pytensor.function(inputs, [total, *pt.grad(total, inputs)], mode=mode)


def merged(outputs):
    """The graph of outputs after the merge alone; a node that needs its own result fails here.

    A compilation would look for the end of such a graph for ever.
    """
    fgraph = FunctionGraph(outputs=outputs)
    MergeValueAndGradient().rewrite(fgraph)
    order = TopologicalSorter(
        {n: [i.owner for i in n.inputs if i.owner is not None] for n in fgraph.apply_nodes}
    )
    try:
        order.prepare()
    except CycleError as error:
        names = " <- ".join(str(node.op) for node in error.args[1])
        pytest.fail(f"the merge of value and gradient closed a cycle: {names}")
    return fgraph


def check_gradient(inputs, total):
    merged([total, *pt.grad(total, inputs)])
    function = compiled(inputs, total, "FAST_COMPILE")
    _, *gradient = function(*POINT)
    h = 1e-5
    for k, exact in enumerate(gradient):
        step = h * np.eye(len(POINT))[k]
        value = {j: function(*(np.array(POINT) + j * step))[0] for j in (-2, -1, 1, 2)}
        numeric = (8.0 * (value[1] - value[-1]) - (value[2] - value[-2])) / (12.0 * h)
        assert_gradient_close(exact, numeric)
    return function


def test_a_sum_is_one_evaluation(likelihood):
    inputs, logp = likelihood
    assert kernel_nodes(compiled(inputs, logp.sum())) == BOTH


@pytest.mark.parametrize("mode", ["NUMBA", "FAST_COMPILE"])
def test_a_weighted_sum_is_one_evaluation(likelihood, mode):
    inputs, logp = likelihood
    weights = pt.dvector("weights")
    total = (weights * logp).sum()
    function = pytensor.function([*inputs, weights], [total, *pt.grad(total, inputs)], mode=mode)
    assert kernel_nodes(function) == BOTH


def test_the_stars_log_likelihoods_come_with_the_gradient_of_their_sum(likelihood):
    inputs, logp = likelihood
    function = pytensor.function(inputs, [logp, *pt.grad(logp.sum(), inputs)], mode="NUMBA")
    assert kernel_nodes(function) == BOTH


def test_a_value_alone_does_not_pay_for_the_gradient(likelihood):
    inputs, logp = likelihood
    function = pytensor.function(inputs, logp, mode="NUMBA")
    assert kernel_nodes(function) == {"EachClusterValue": 1}


def test_a_gradient_alone_is_one_evaluation(likelihood):
    inputs, logp = likelihood
    function = pytensor.function(inputs, pt.grad(logp.sum(), inputs), mode="NUMBA")
    assert kernel_nodes(function) == {"EachClusterGradient": 1}


def test_gradients_of_sums_are_right(likelihood):
    inputs, logp = likelihood
    check_gradient(inputs, logp[1:].sum())
    check_gradient(inputs, (np.linspace(-1.0, 2.0, 12) * logp).sum())


def test_a_cotangent_that_depends_on_the_value_stays_two_evaluations(likelihood):
    """One pass would need its own result as an input."""
    inputs, logp = likelihood
    total = (0.01 * logp[1:] ** 2).sum()
    function = check_gradient(inputs, total)
    assert kernel_nodes(function) == APART


def test_the_merge_alone_leaves_a_cotangent_that_depends_on_the_value():
    """On the bare Ops, where nothing is compiled."""
    inputs = {
        name: pt.tensor(name, shape=(None,) * n) for name, n in zip(_NAMES, _NDIMS, strict=True)
    }
    logp = cluster_likelihood(**inputs)
    for cotangent, expected in [
        (inputs["member"], BARE_BOTH),
        (2.0 * logp, BARE_APART),
        (inputs["member"] / logp.sum(), BARE_APART),
    ]:
        gradient = pt.grad(None, inputs["log_field"], known_grads={logp: cotangent})
        assert kernel_nodes(merged([logp, gradient]), BARE) == expected


def test_log_of_a_sum_of_two_likelihoods(likelihood, coarse, stars):
    """A mixture of two clusters: the cotangent of each depends on both."""
    inputs, logp = likelihood
    older = TRUTH | {"feh": inputs[0], "distance_modulus": inputs[1], "log_age": 9.6}
    other = psp.cluster_logp(coarse, stars, **older, field_fraction=0.2)
    function = check_gradient(inputs, pt.logaddexp(logp[1:].sum(), other[1:].sum()))
    assert kernel_nodes(function) == {"EachClusterValue": 2, "EachClusterGradient": 2}
    # A sum of the two is a sum.
    assert kernel_nodes(compiled(inputs, logp.sum() + other.sum())) == {
        "EachClusterValueAndGradient": 2
    }


def test_two_cotangents_for_one_value(likelihood):
    inputs, logp = likelihood
    gradients = [pt.grad((w * logp).sum(), inputs[0]) for w in (np.ones(12), np.arange(12.0))]
    function = pytensor.function(inputs, [logp, *gradients], mode="FAST_COMPILE")
    separate = [
        pytensor.function(inputs, g, mode="FAST_COMPILE")(*POINT) for g in (logp, *gradients)
    ]
    for got, expected in zip(function(*POINT), separate, strict=True):
        assert_close(got, expected, "same_formula")


def test_the_density_that_pymc_compiles_is_one_evaluation(cluster_model):
    function = cluster_model.logp_dlogp_function(ravel_inputs=True)._pytensor_function
    assert kernel_nodes(function) == BOTH


def test_the_density_that_nutpie_compiles_is_one_evaluation(nutpie_fit):
    compiled_model, _ = nutpie_fit
    assert kernel_nodes(compiled_model.logp_func) == BOTH


def test_the_log_density_alone_has_no_gradient_kernel(cluster_model):
    function = cluster_model.compile_logp().f
    assert kernel_nodes(function) == {"EachClusterValue": 1}


def test_second_derivatives_are_refused(likelihood):
    inputs, logp = likelihood
    first = pt.grad(logp.sum(), inputs[0])
    with pytest.raises(NotImplementedError, match="second derivatives are not available"):
        pt.grad(first, inputs[0])
    with pytest.raises(NotImplementedError, match="second derivatives are not available"):
        pt.grad((logp**2).sum() + first, inputs[1])


def test_stars_that_move_are_a_model_that_moves_the_other_way(coarse, stars):
    points = pt.dvector("zero_points", shape=(len(stars.bands),))
    parameters = TRUTH | {"zero_points": points, "field_fraction": 0.1}
    p, options = split_arguments(parameters, coarse)
    p = p.map_values(as_float64)
    logp = cluster_parts(coarse, p, options, star_terms(stars, p, options)).logp
    node = next(
        v.owner for v in pytensor.graph.traversal.ancestors([logp])
        if v.owner is not None and isinstance(v.owner.op, ClusterLikelihood)
    )  # fmt: skip
    by_data, by_points = pt.grad(logp.sum(), [node.inputs[0], points])
    function = pytensor.function([points], [by_data.sum(axis=0), by_points], mode="FAST_COMPILE")
    by_data, by_points = function(np.full(len(stars.bands), 0.01))
    assert np.abs(by_points).min() > 1.0
    assert_close(by_data, -by_points, "kernel")


def test_two_catalogs_do_not_merge(coarse, stars):
    """Equal shapes, other stars; and the same stars twice are one evaluation."""
    feh = pt.dscalar("feh")
    other = psp.StarCatalog(
        stars.mag + 0.01, stars.mag_err, bands=stars.bands, parallax=stars.parallax,
        parallax_err=stars.parallax_err,
    )  # fmt: skip
    logps = [
        psp.cluster_logp(coarse, cat, **(TRUTH | {"feh": feh})) for cat in (stars, other, stars)
    ]
    function = pytensor.function([feh], logps, mode="FAST_COMPILE")
    assert sum(kernel_nodes(function).values()) == 2
    a, b, c = function(0.05)
    assert_array_equal(a, c)
    point = TRUTH | {"feh": 0.05}
    assert_close(a, psp.reference.cluster_logp(coarse, stars, **point), "pruned")
    assert_close(b, psp.reference.cluster_logp(coarse, other, **point), "pruned")


def test_numba_and_the_python_virtual_machine_agree(coarse, stars, full):
    """The functions of a whole model, in the backend of the samplers and in that of the tests."""
    names = full.names
    variables = {name: pt.dscalar(name) for name in names}
    logp = psp.cluster_logp(coarse, stars, **full_arguments(variables))
    weights = np.linspace(0.5, 1.5, stars.n_star)
    gradient = pt.grad((weights * logp).sum(), list(variables.values()))
    function = pytensor.function(list(variables.values()), [logp, *gradient], mode="NUMBA")
    assert kernel_nodes(function) == BOTH
    value, *gradient = function(*FULL_POINT.values())
    assert_close(value, full.value(FULL_POINT), "same_formula")
    for name, by_star in full.jacobian(FULL_POINT).items():
        expected = weights @ by_star
        scale = max(1.0, abs(expected))
        assert_close(gradient[names.index(name)] / scale, expected / scale, "kernel")


def test_shapes_are_known_without_an_evaluation(likelihood):
    inputs, logp = likelihood
    function = pytensor.function(inputs, logp.shape, on_unused_input="ignore")
    assert not kernel_nodes(function)
    assert function(*POINT).tolist() == [12]


def test_wrong_dimensions_are_refused():
    inputs = dict.fromkeys(_NAMES, 0.0)
    with pytest.raises(ValueError, match=r"mag: expected 2 dimension\(s\), got 0"):
        cluster_likelihood(**inputs)
