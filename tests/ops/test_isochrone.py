"""Interpolation Ops: values, gradients, backends, refusal of second derivatives."""

import importlib.util
import pickle

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pymc_starpop.isochrones import load_isochrones
from pymc_starpop.isochrones.bolometric import extinguished
from pymc_starpop.ops._numba import source_version
from pymc_starpop.ops.bolometric import BolometricInterpolation, bolometric_corrections
from pymc_starpop.ops.isochrone import IsochroneInterpolation, isochrone_theory
from tolerances import assert_close

BANDS = ["Gaia_G_EDR3", "2MASS_Ks"]
MODES = ["NUMBA", "FAST_COMPILE"]
AV = 0.4

# A point between grid lines, one on a grid line of both axes, one near a corner.
POINTS = [(0.03, 9.512), (-0.25, 9.5), (-1.99, 10.29)]


@pytest.fixture(scope="module")
def iso():
    return load_isochrones(80)


def functions(iso, mode):
    """Compiled value (theory, corrections) and gradient of a random weighted sum of both."""
    rng = np.random.default_rng(8)
    feh, log_age = pt.dscalar("feh"), pt.dscalar("log_age")
    theory = isochrone_theory(iso, feh, log_age)
    # The argument of the corrections differs from the nodes so that all three derivatives count.
    corrections = bolometric_corrections(iso, BANDS, theory[1], theory[2], feh, AV, 2)
    total = sum((rng.normal(size=80) * part).sum() for part in theory)
    total += (rng.normal(size=(2, 80, 2)) * corrections).sum()
    inputs = [feh, log_age]
    value = pytensor.function(inputs, [*theory, corrections], mode=mode)
    return value, pytensor.function(inputs, [total, *pt.grad(total, inputs)], mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_value_is_what_the_grid_gives(iso, mode):
    value, _ = functions(iso, mode)
    for feh, log_age in POINTS:
        one = iso.at(feh, log_age, BANDS)
        log_mass, log_teff, log_g, log_l, corrections = value(feh, log_age)
        assert_close(10.0**log_mass, one.initial_mass, "same_formula")
        assert_close(log_teff, one.log_teff, "same_formula")
        assert_close(log_g, one.log_g, "same_formula")
        assert_close(log_l, one.log_l, "same_formula")
        coefficients = iso.bolometric(BANDS).interpolate(log_teff, log_g, feh)
        assert_close(corrections, extinguished(coefficients, AV), "same_formula")


@pytest.mark.parametrize("mode", MODES)
def test_gradient_matches_central_differences(iso, mode):
    _, total = functions(iso, mode)
    h = 1e-6
    for feh, log_age in POINTS:
        _, d_feh, d_age = total(feh, log_age)
        numeric_feh = (total(feh + h, log_age)[0] - total(feh - h, log_age)[0]) / (2 * h)
        numeric_age = (total(feh, log_age + h)[0] - total(feh, log_age - h)[0]) / (2 * h)
        assert_allclose([d_feh, d_age], [numeric_feh, numeric_age], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("n_order", [1, 2])
@pytest.mark.parametrize("mode", MODES)
def test_gradient_of_corrections_in_each_input(iso, mode, n_order):
    table = iso.bolometric(BANDS)
    rng = np.random.default_rng(9)
    log_teff = np.r_[rng.uniform(3.5, 4.2, 12), table.log_teff[7]]
    log_g = np.r_[rng.uniform(0.2, 4.9, 12), table.log_g[9]]
    inputs = [pt.dvector("t"), pt.dvector("g"), pt.dscalar("f"), pt.dscalar("av")]
    weights = rng.normal(size=(n_order, 13, 2))
    total = (weights * bolometric_corrections(iso, BANDS, *inputs, n_order)).sum()
    function = pytensor.function(inputs, [total, *pt.grad(total, inputs)], mode=mode)
    point = [log_teff, log_g, np.array(0.12), np.array(0.7)]
    _, *gradient = function(*point)
    h = 1e-6
    for place, exact in enumerate(gradient):
        for entry in np.ndindex(exact.shape):
            ends = []
            for by in (h, -h):
                moved = [value.copy() for value in point]
                moved[place][entry] += by
                ends.append(function(*moved)[0])
            numeric = (ends[0] - ends[1]) / (2 * h)
            assert_allclose(exact[entry], numeric, rtol=2e-5, atol=2e-5)


def test_both_backends_agree(iso):
    numba, python = (functions(iso, mode)[0] for mode in MODES)
    for a, b in zip(numba(0.03, 9.512), python(0.03, 9.512), strict=True):
        assert_close(a, b, "same_formula")


@pytest.mark.parametrize("mode", MODES)
def test_outside_the_grid_numbers_stay_finite(iso, mode):
    _, total = functions(iso, mode)
    for point in [(9.0, 9.0), (0.0, 3.0), (np.nan, 9.0), (-np.inf, np.inf)]:
        assert np.isfinite(total(*point)).all()


def test_value_and_gradient_are_one_evaluation(iso):
    _, total = functions(iso, "NUMBA")
    ops = [node.op for node in total.maker.fgraph.apply_nodes]
    assert sum(isinstance(op, IsochroneInterpolation) for op in ops) == 1
    assert sum(isinstance(op, BolometricInterpolation) for op in ops) == 1


def test_second_derivatives_are_refused(iso):
    feh, log_age = pt.dscalar("feh"), pt.dscalar("log_age")
    log_mass = isochrone_theory(iso, feh, log_age)[0]
    with pytest.raises(NotImplementedError, match="second derivatives are not available"):
        pt.grad(pt.grad((log_mass**2).sum(), feh), feh)
    t, g = pt.dvector("t"), pt.dvector("g")
    total = (bolometric_corrections(iso, BANDS, t, g, feh) ** 2).sum()
    with pytest.raises(NotImplementedError, match="second derivatives are not available"):
        pt.grad(pt.grad(total, feh), feh)
    with pytest.raises(NotImplementedError, match="second derivatives are not available"):
        pt.grad(pt.grad(total, t).sum(), g)


def test_tables_have_no_gradient(iso):
    value = isochrone_theory(iso, pt.dscalar("feh"), 9.5)[0]
    table = value.owner.inputs[0].owner.inputs[4]
    with pytest.raises(pytensor.gradient.DisconnectedInputError):
        pt.grad(value.sum(), table)


def test_static_shapes_and_shape_graphs(iso):
    feh = pt.dscalar("feh")
    theory = isochrone_theory(iso, feh, 9.5)
    corrections = bolometric_corrections(iso, BANDS, theory[1], theory[2], feh, n_order=2)
    assert theory[0].type.shape == (80,)
    assert corrections.type.shape == (2, 80, 2)
    t, g = pt.dvector("t"), pt.dvector("g")
    shape = bolometric_corrections(iso, BANDS, t, g, feh).shape
    function = pytensor.function([t, g, feh], shape, on_unused_input="ignore")
    ops = [node.op for node in function.maker.fgraph.apply_nodes]
    assert not any(isinstance(op, BolometricInterpolation) for op in ops)
    assert_array_equal(function(np.ones(5), np.ones(5), 0.0), [1, 5, 2])


def test_tables_are_shared_and_named_by_content(iso):
    def table(grid):
        return isochrone_theory(grid, 0.0, 9.5)[0].owner.inputs[0].owner.inputs[4]

    first, again = table(iso), table(load_isochrones(80))
    other = table(iso.with_nodes(90))
    assert first is again
    assert first is not other
    assert first.name != other.name
    assert np.shares_memory(first.get_value(borrow=True), iso.theory)


def test_two_grids_in_one_function_do_not_mix(iso):
    """Ops without attributes and data as inputs: merging and caching cannot confuse grids."""
    other = iso.with_nodes(iso.eep[::2])
    feh = pt.dscalar("feh")
    outputs = [isochrone_theory(grid, feh, 9.5)[0] for grid in (iso, other, iso)]
    a, b, c = pytensor.function([feh], outputs, mode="NUMBA")(0.1)
    assert_array_equal(a, c)
    assert_close(a[::2], b, "same_formula")
    again = pytensor.function([feh], isochrone_theory(other, feh, 9.5)[0], mode="NUMBA")(0.1)
    assert_close(again, b, "same_formula")


def test_graphs_survive_pickling(iso):
    feh = pt.dscalar("feh")
    value = isochrone_theory(iso, feh, 9.5)[1]
    feh2, value2 = pickle.loads(pickle.dumps((feh, value)))
    got = pytensor.function([feh2], value2, mode="NUMBA")(0.1)
    assert_close(got, iso.at(0.1, 9.5, BANDS).log_teff, "same_formula")


def test_integers_and_single_precision_are_taken(iso):
    value = isochrone_theory(iso, 0, np.float32(9.5))[0].eval()
    assert_close(10.0**value, iso.at(0.0, 9.5, BANDS).initial_mass, "same_formula")


def test_vectors_are_refused(iso):
    with pytest.raises(ValueError, match=r"feh: expected 0 dimension\(s\), got 1"):
        isochrone_theory(iso, [0.0, 0.1], 9.5)
    with pytest.raises(ValueError, match=r"log_teff: expected 1 dimension\(s\), got 0"):
        bolometric_corrections(iso, BANDS, 3.7, np.ones(2), 0.0)


def test_unknown_band_is_refused(iso):
    with pytest.raises(ValueError, match="unknown band 'J'"):
        bolometric_corrections(iso, ["J"], np.ones(2), np.ones(2), 0.0)


def test_an_edited_kernel_has_another_version(tmp_path):
    """The compiled function is found again by version: it must follow the source of the kernel."""
    versions = []
    for text in ("x = 1\n", "x = 1\n", "x = 2\n"):
        path = tmp_path / f"kernel_{len(versions)}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        versions.append(source_version(module))
    assert versions[0] == versions[1]
    assert versions[0] != versions[2]
