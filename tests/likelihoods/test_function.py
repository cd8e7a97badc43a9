"""The likelihood as a plain function of a vector."""

import multiprocessing
import pickle

import numpy as np
import pytensor
import pytest
from scipy import optimize

import pymc_starpop as psp
from cluster_fixtures import EASY, EASY_LIMITS, FULL_POINT, LIMITS, OPTIONS
from pymc_starpop.likelihoods import function as module
from pymc_starpop.ops.bolometric import BolometricInterpolation
from pymc_starpop.ops.each_cluster import EachCluster
from pymc_starpop.ops.isochrone import IsochroneInterpolation
from tolerances import assert_close

# The Python virtual machine runs the same kernels as numba and is compiled in seconds.
VM = {"mode": "FAST_COMPILE"}
NAMES = ("distance_modulus", "field_fraction", "log_age")
POINT = np.array([8.0, 0.2, 9.0])
FIXED = {"feh": EASY["feh"], "selection": EASY_LIMITS}


@pytest.fixture(scope="module")
def f(coarse, easy_catalog):
    return psp.cluster_function(coarse, easy_catalog, NAMES, **FIXED, **VM)


def ops(function):
    """Types of the Ops in the graph of the cluster."""
    nodes = function._per_star.maker.fgraph.toposort()
    (op,) = {node.op for node in nodes if isinstance(node.op, EachCluster)}
    inner = op.graph.virtual_machine("value").maker.fgraph
    return [type(node.op) for node in inner.toposort()]


def test_equals_the_symbolic_likelihood_with_every_parameter(coarse, stars, full):
    f = psp.cluster_function(
        coarse, stars, list(FULL_POINT), imf=psp.Kroupa(), selection=LIMITS,
        corrections=psp.EmpiricalCorrections(), **OPTIONS, **VM,
    )  # fmt: skip
    theta = list(FULL_POINT.values())
    expected = full.value(FULL_POINT)
    value, gradient = f(theta)
    assert f.names == tuple(FULL_POINT)
    assert isinstance(value, float)
    assert gradient.dtype == np.float64
    assert_close(value, expected.sum(), "same_formula")
    assert_close(f.logp(theta), expected.sum(), "same_formula")
    assert_close(f.per_star(theta), expected, "same_formula")
    jacobian = full.jacobian(FULL_POINT)
    for name, derivative in zip(f.names, gradient, strict=True):
        assert_close(derivative, jacobian[name].sum(), "kernel")


def test_one_band_at_a_time(coarse, stars):
    common = {"feh": 0.07, "log_age": 9.32, "distance_modulus": 9.4, "intrinsic_scatter": 0.01}
    names = ["intrinsic_scatter.2MASS_Ks", "intrinsic_scatter.Gaia_G_EDR3"]
    f = psp.cluster_function(coarse, stars, names, **common, **VM)
    scatter = np.array([0.03, 0.01, 0.01, 0.02])
    expected = psp.reference.cluster_logp(
        coarse, stars, **(common | {"intrinsic_scatter": scatter})
    )
    assert_close(f.per_star([0.02, 0.03]), expected, "kernel")
    np.testing.assert_array_equal(f.bounds, [[0.0, np.inf]] * 2)


def test_outside_the_support_the_gradient_is_zero(f):
    for theta in ([8.0, -0.1, 9.0], [8.0, 0.2, 12.0], [np.inf, 0.2, 9.0], [8.0, 0.2, -np.inf]):
        value, gradient = f(theta)
        assert value == -np.inf
        np.testing.assert_array_equal(gradient, np.zeros(3))
        assert f.logp(theta) == -np.inf
        assert np.all(f.per_star(theta) == -np.inf)


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ([8.0, 0.2], r"3 number\(s\), got shape \(2,\); they are distance_modulus"),
        ([[8.0, 0.2, 9.0]], r"got shape \(1, 3\)"),
        ([8.0, np.nan, 9.0], "NaN in field_fraction"),
    ],
)
def test_refuses_what_is_no_point(f, theta, message):
    for call in (f, f.logp, f.per_star):
        with pytest.raises(ValueError, match=message):
            call(theta)


@pytest.mark.parametrize(
    ("names", "fixed", "message"),
    [
        ("log_age", {}, "sequence of names"),
        ([], {}, "empty"),
        (["log_age", "log_age"], {}, "log_age repeated"),
        (["log_age"], {"log_age": 9.0}, "log_age also given as a number"),
        (["log_age", "imf.slope"], {}, r"unknown imf\.slope; expected .*imf\.high_slope"),
        (["log_age", "corrections.dtdm"], {}, "with corrections=psp.EmpiricalCorrections"),
        (["log_age", "intrinsic_scatter.K"], {}, r"unknown intrinsic_scatter\.K; .*one band"),
        (["log_age"], {"av": pytensor.tensor.dscalar("x")}, "av is the expression x"),
        (["log_age"], {"av": 7.0}, "av=7.0 is out of range"),
    ],
)
def test_refuses_wrong_names_and_numbers(coarse, easy_catalog, names, fixed, message):
    given = {"feh": 0.0, "distance_modulus": 8.0} | fixed
    with pytest.raises(ValueError, match=message):
        psp.cluster_function(coarse, easy_catalog, names, **given)


def test_scipy_finds_the_maximum(f):
    def target(theta):
        value, gradient = f(theta)
        return -value, -gradient

    found = optimize.minimize(
        target, [8.1, 0.4, 9.05], jac=True, method="L-BFGS-B",
        bounds=[(7.0, 9.0), (0.01, 0.9), (8.5, 9.5)],
    )  # fmt: skip
    assert found.success
    assert abs(found.x[0] - EASY["distance_modulus"]) < 0.05
    assert abs(found.x[2] - EASY["log_age"]) < 0.05
    step = 1e-5 * np.eye(3)
    slopes = [(f.logp(found.x + s) - f.logp(found.x - s)) / 2e-5 for s in step]
    np.testing.assert_allclose(slopes, 0.0, atol=1.0)
    np.testing.assert_allclose(f(found.x)[1], slopes, atol=1e-3)


def test_a_parameter_without_effect_has_a_zero_gradient(coarse, easy_catalog):
    names = ["log_age", "parallax_zero_point"]  # there are no parallaxes
    f = psp.cluster_function(
        coarse, easy_catalog, names, feh=0.0, distance_modulus=8.0, field_fraction=0.2, **VM
    )
    gradient = f([9.0, 0.01])[1]
    assert gradient[0] != 0.0
    assert gradient[1] == 0.0


def test_a_pickle_is_the_same_function_in_its_own_process(f):
    assert pickle.loads(pickle.dumps(f)) is f


def test_a_pickle_is_rebuilt_once_elsewhere(f, monkeypatch):
    stored = pickle.dumps(f)
    monkeypatch.setattr(module, "_ALIVE", {})
    other = pickle.loads(stored)
    assert other is not f
    assert pickle.loads(stored) is other
    assert pickle.loads(pickle.dumps(other)) is other
    assert_close(other.logp(POINT), f.logp(POINT), "same_formula")


def test_other_processes_agree(f):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        values = pool.map(f.logp, [POINT, POINT + 0.01])
    assert_close(values, [f.logp(POINT), f.logp(POINT + 0.01)], "same_formula")


@pytest.mark.parametrize("corrections", [None, psp.EmpiricalCorrections()])
def test_a_fixed_isochrone_is_computed_once(coarse, easy_catalog, corrections):
    fixed = FIXED | {"av": 0.1, "corrections": corrections}
    names = ["distance_modulus", "field_fraction"]
    varied = psp.cluster_function(coarse, easy_catalog, NAMES, **fixed, **VM)
    once = psp.cluster_function(coarse, easy_catalog, names, log_age=9.0, **fixed, **VM)
    assert_close(once.per_star(POINT[:2]), varied.per_star(POINT), "same_formula")
    assert {IsochroneInterpolation, BolometricInterpolation} <= set(ops(varied))
    assert not {IsochroneInterpolation, BolometricInterpolation} & set(ops(once))


def test_corrections_may_vary_on_a_fixed_isochrone(coarse, easy_catalog):
    names = ["distance_modulus", "corrections.dtdm"]
    # No selection: that of the reference is a sum of midpoints.
    fixed = {"feh": 0.1, "log_age": 9.0, "field_fraction": 0.2}
    f = psp.cluster_function(
        coarse, easy_catalog, names, corrections=psp.EmpiricalCorrections(), **fixed, **VM
    )
    f.logp([8.0, 0.05])
    assert IsochroneInterpolation not in ops(f)
    assert BolometricInterpolation in ops(f)
    expected = psp.reference.cluster_logp(
        coarse, easy_catalog, distance_modulus=8.0,
        corrections=psp.EmpiricalCorrections(dtdm=0.05), **fixed,
    )  # fmt: skip
    assert_close(f.per_star([8.0, 0.05]), expected, "kernel")


def test_emcee_moves_towards_the_truth(f):
    emcee = pytest.importorskip("emcee")

    rng = np.random.default_rng(1)
    start = [8.05, 0.2, 9.02] + rng.normal(size=(8, 3)) * [0.01, 0.03, 0.005]
    sampler = emcee.EnsembleSampler(8, 3, f.logp)
    sampler.random_state = np.random.RandomState(2).get_state()
    sampler.run_mcmc(start, 150)
    draws = sampler.get_chain(discard=75, flat=True)
    assert abs(draws[:, 0].mean() - EASY["distance_modulus"]) < 0.06
    assert abs(draws[:, 2].mean() - EASY["log_age"]) < 0.06


def test_options_default_to_those_of_the_grid(shared_data):
    """An isochrone that numbers its points in another way than MIST."""
    grid = psp.read_basti(shared_data / "basti_3000myr_gaia_dr3.isc.gz")
    assert grid.option_defaults["eep_max"] != 808
    node = {"feh": grid.feh[0], "log_age": grid.log_age[0]}
    one = grid.at(**node, bands=["G"])
    catalog = psp.StarCatalog([[one.abs_mag[500, 0] + 10.0]], [[0.02]], bands=["G"])
    f = psp.cluster_function(grid, catalog, ["distance_modulus"], **node, **VM)
    expected = psp.cluster_logp(grid, catalog, distance_modulus=10.0, **node)
    assert_close(f.per_star([10.0]), expected.eval(mode="FAST_COMPILE"), "same_formula")
