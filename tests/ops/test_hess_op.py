"""The Ops of Hess diagrams: how often the kernel runs, first and second derivatives."""

from collections import Counter

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import pymc_starpop as psp
from plr_fixtures import central_differences, log_plr, make_galaxy
from pymc_starpop.kernels import plr as kernels
from pymc_starpop.likelihoods.hess import hess_inputs
from pymc_starpop.ops.hess import LikelihoodRatioCurvature, PoissonLikelihoodRatio
from pymc_starpop.ops.hess_bins import BinLogLikelihood
from tolerances import assert_close, assert_gradient_close

MODES = ("NUMBA", "FAST_COMPILE")
NAMES = (
    "PoissonLikelihoodRatio", "LikelihoodRatioValue", "LikelihoodRatioCurvature",
    "BinLogLikelihood", "BinPullback",
)  # fmt: skip


def kernel_nodes(function):
    """How often each Op stands in a compiled function."""
    names = (type(node.op).__name__ for node in function.maker.fgraph.apply_nodes)
    return Counter(name for name in names if name in NAMES)


@pytest.fixture(scope="module")
def galaxy():
    return make_galaxy()


@pytest.fixture(scope="module")
def likelihood(galaxy):
    """Coefficients as a matrix, an amplitude of a background, and ln PLR."""
    r, amplitude = pt.dmatrix("r"), pt.dscalar("amplitude")
    sky = np.linspace(0.1, 0.5, galaxy.tmpl.axes.shape[0])[:, None] * np.ones(20)
    return [r, amplitude], psp.hess_logp(galaxy.tmpl, r, galaxy.hess, background=amplitude * sky)


@pytest.mark.parametrize("mode", MODES)
def test_one_pass_for_value_and_gradient(likelihood, mode):
    inputs, value = likelihood
    function = pytensor.function(inputs, [value, *pt.grad(value, inputs)], mode=mode)
    assert kernel_nodes(function) == {"PoissonLikelihoodRatio": 1}


@pytest.mark.parametrize("mode", MODES)
def test_value_alone_takes_no_gradient(likelihood, mode):
    inputs, value = likelihood
    assert kernel_nodes(pytensor.function(inputs, value, mode=mode)) == {"LikelihoodRatioValue": 1}


def test_virtual_machine_calls_the_kernel_once(likelihood, galaxy, monkeypatch):
    calls, kernel = [], kernels.plr_full

    def counting(*arrays):
        calls.append(1)
        return kernel(*arrays)

    inputs, value = likelihood
    function = pytensor.function(inputs, [value, *pt.grad(value, inputs)], mode="FAST_COMPILE")
    monkeypatch.setattr("pymc_starpop.ops.hess.kernels.plr_full", counting)
    function(galaxy.r, 1.0)
    assert len(calls) == 1


def test_backends_agree(likelihood, galaxy):
    inputs, value = likelihood
    outputs = [value, *pt.grad(value, inputs)]
    results = [pytensor.function(inputs, outputs, mode=m)(galaxy.r, 0.7) for m in MODES]
    for one, other in zip(*results, strict=True):
        assert_close(one, other, "same_formula")


def test_gradient_against_differences(likelihood, galaxy):
    inputs, value = likelihood
    gradient = pytensor.function(inputs, pt.grad(value, inputs), mode="FAST_COMPILE")
    of_r, of_amplitude = gradient(galaxy.r, 0.7)
    sky = np.linspace(0.1, 0.5, galaxy.tmpl.axes.shape[0])[:, None] * np.ones(20)

    def slow(r, amplitude):
        return log_plr(galaxy.tmpl, r, galaxy.hess, background=amplitude * sky)

    # Relative to what a coefficient changes: coefficients are masses of up to 1e6 Msun.
    scale = np.maximum(galaxy.r, 1e3)
    differences = central_differences(lambda x: slow(x * scale, 0.7), galaxy.r / scale, step=1e-4)
    assert_gradient_close(of_r * scale, differences)
    assert_gradient_close(of_amplitude, central_differences(lambda a: slow(galaxy.r, a), 0.7))


def test_second_derivatives(likelihood, galaxy):
    """Through logarithms of the masses and the amplitude, both blocks and the mixed one."""
    inputs, value = likelihood
    x = pt.dvector("x")
    masses = pt.exp(x[:5])[:, None] * galaxy.r
    total = pytensor.graph.clone_replace(value, {inputs[0]: masses, inputs[1]: pt.exp(x[5])})
    gradient = pytensor.function([x], pt.grad(total, x), mode="FAST_COMPILE")
    rows = [pt.grad(pt.grad(total, x)[i], x) for i in range(6)]
    hessian = pytensor.function([x], pt.stack(rows), mode="FAST_COMPILE")
    at = np.array([0.1, -0.2, 0.3, 0.0, 0.05, -0.3])
    step = 1e-5
    differences = [
        (gradient(at + step * unit) - gradient(at - step * unit)) / (2 * step) for unit in np.eye(6)
    ]
    assert_gradient_close(hessian(at), differences)
    assert kernel_nodes(hessian)["LikelihoodRatioCurvature"] >= 1


def test_second_derivatives_in_numba(likelihood, galaxy):
    inputs, value = likelihood
    v = pt.dmatrix("v")
    directional = pt.sum(pt.grad(value, inputs[0]) * v)
    outputs = pt.grad(directional, inputs)
    direction = galaxy.r * np.random.default_rng(0).standard_normal(galaxy.shape)
    results = [
        pytensor.function([*inputs, v], outputs, mode=mode)(galaxy.r, 0.7, direction)
        for mode in MODES
    ]
    for one, other in zip(*results, strict=True):
        assert_close(one, other, "same_formula")


def test_third_derivatives_are_refused(likelihood):
    inputs, value = likelihood
    second = pt.grad(pt.sum(pt.grad(value, inputs[0]) ** 2), inputs[0])
    with pytest.raises(NotImplementedError, match=LikelihoodRatioCurvature.__name__):
        pt.grad(pt.sum(second), inputs[0])


def test_windows_are_a_property_of_the_op(galaxy):
    assert PoissonLikelihoodRatio(True) == PoissonLikelihoodRatio(True)
    assert PoissonLikelihoodRatio(True) != PoissonLikelihoodRatio(False)
    mass = pt.dvector("mass")
    r = psp.metallicity_weights(mass, np.full(5, -1.0), 0.1, galaxy.tmpl.mh)
    both = [psp.hess_logp(galaxy.tmpl, x, galaxy.hess) for x in (r, r * 1.0)]
    function = pytensor.function([mass], both, mode="FAST_COMPILE")
    assert kernel_nodes(function) == {"LikelihoodRatioValue": 2}
    values = function(galaxy.r.sum(axis=1))
    np.testing.assert_allclose(values[0], values[1], rtol=0.0, atol=2e-5)


def test_other_data_are_another_node(galaxy):
    r = pt.dmatrix("r")
    more = galaxy.hess + 1.0
    values = [psp.hess_logp(galaxy.tmpl, r, hess) for hess in (galaxy.hess, more)]
    one, other = pytensor.function([r], values, mode="FAST_COMPILE")(galaxy.r)
    assert_close(one, log_plr(galaxy.tmpl, galaxy.r, galaxy.hess), "float32")
    assert_close(other, log_plr(galaxy.tmpl, galaxy.r, more), "float32")


@pytest.fixture(scope="module")
def bins(galaxy):
    """Coefficients, a background (N_bin,), and the log-likelihood (N_bin,)."""
    r, background = pt.dmatrix("r"), pt.dvector("background")
    data = hess_inputs(galaxy.tmpl, galaxy.hess, None)
    return [r, background], BinLogLikelihood()(r, background, *data)


@pytest.fixture(scope="module")
def sky(galaxy):
    return np.linspace(0.1, 0.5, galaxy.hess.size)


@pytest.mark.parametrize("shaped", [False, True])
@pytest.mark.parametrize("factor", [1.0, -2.5])
def test_sum_of_bins_is_the_likelihood_ratio(bins, galaxy, sky, shaped, factor):
    """One pass for sums, also of the bins in the shape of the diagram and with a factor."""
    inputs, each = bins
    total = factor * (each.reshape(galaxy.tmpl.axes.shape) if shaped else each).sum()
    function = pytensor.function(inputs, [total, *pt.grad(total, inputs)], mode="FAST_COMPILE")
    assert kernel_nodes(function) == {"PoissonLikelihoodRatio": 1}
    slow = pytensor.function(inputs, each, mode="FAST_COMPILE")(galaxy.r, sky)
    value, of_r, of_sky = function(galaxy.r, sky)
    assert_close(value, factor * slow.sum(), "float32")
    # A factor that differs from bin to bin by nothing, but not by the graph.
    weighted = (each * np.ones(each.type.shape)).sum()
    exact = pytensor.function(inputs, pt.grad(weighted, inputs), mode="FAST_COMPILE")
    for fast, general in zip((of_r, of_sky), exact(galaxy.r, sky), strict=True):
        scale = np.abs(general).max()
        assert_close(fast / scale, factor * general / scale, "float32")


@pytest.mark.parametrize("mode", MODES)
def test_weighted_bins_take_the_general_path(bins, galaxy, sky, mode):
    inputs, each = bins
    weights = np.random.default_rng(0).random(galaxy.hess.size)
    total = pt.sum(each * weights)
    function = pytensor.function(inputs, [total, *pt.grad(total, inputs)], mode=mode)
    assert kernel_nodes(function) == {"BinLogLikelihood": 1, "BinPullback": 1}
    value, of_r, of_sky = function(galaxy.r, sky)

    def slow(r, background):
        m = np.einsum("jk,jkyx->yx", r, galaxy.tmpl.counts).ravel() + background
        n = galaxy.hess.values.ravel()
        return np.sum(weights * (n * np.log(m) - m))

    scale = np.maximum(galaxy.r, 1e3)
    differences = central_differences(lambda x: slow(x * scale, sky), galaxy.r / scale, step=1e-4)
    assert_gradient_close(of_r * scale, differences)
    few = slice(None, 30)

    def by_sky(x):
        moved = sky.copy()
        moved[few] = x
        return slow(galaxy.r, moved)

    assert_gradient_close(of_sky[few], central_differences(by_sky, sky[few]))
    assert np.isfinite(value)


def test_second_derivatives_of_weighted_bins(bins, galaxy, sky):
    inputs, each = bins
    x = pt.dvector("x")
    weights = np.random.default_rng(0).random(galaxy.hess.size)
    total = pytensor.graph.clone_replace(
        pt.sum(each * weights * pt.exp(x[2])),
        {inputs[0]: pt.exp(x[0]) * galaxy.r, inputs[1]: pt.exp(x[1]) * sky},
    )
    gradient = pytensor.function([x], pt.grad(total, x), mode="FAST_COMPILE")
    rows = [pt.grad(pt.grad(total, x)[i], x) for i in range(3)]
    hessian = pytensor.function([x], pt.stack(rows), mode="FAST_COMPILE")
    at, step = np.array([0.2, -0.1, 0.3]), 1e-5
    differences = [
        (gradient(at + step * unit) - gradient(at - step * unit)) / (2 * step) for unit in np.eye(3)
    ]
    assert_gradient_close(hessian(at), differences)


@pytest.mark.parametrize("mode", MODES)
def test_bins_outside_the_support(bins, galaxy, sky, mode):
    inputs, each = bins
    function = pytensor.function(inputs, each, mode=mode)
    negative = galaxy.r.copy()
    negative[0, 0] = -1.0
    assert (function(negative, sky) == -np.inf).all()
    dark = sky.copy()
    dark[3] = -1e-9
    assert (function(galaxy.r, dark) == -np.inf).sum() == 1
    empty = function(np.zeros(galaxy.shape), np.zeros_like(sky))
    stars = galaxy.hess.values.ravel() > 0
    assert (empty[stars] == -np.inf).all()
    assert (empty[~stars] == 0.0).all()


def test_wrong_dimensions_are_refused(galaxy):
    data = hess_inputs(galaxy.tmpl, galaxy.hess, None)
    with pytest.raises(ValueError, match="2 dimension"):
        PoissonLikelihoodRatio()(
            pt.dvector(), pt.dvector(), data.packed, data.observed, data.totals
        )
    with pytest.raises(ValueError, match="N_bin"):
        BinLogLikelihood()(pt.dvector(), pt.dvector(), *data)
