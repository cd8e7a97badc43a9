"""ln PLR of Hess diagrams and of arrays: values, limits, and what is refused."""

import warnings

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pymc_starpop as psp
from plr_fixtures import AXES, LOG_AGE, MH, central_differences, log_plr, make_galaxy
from pymc_starpop.ops.hess import LikelihoodRatioValue
from tolerances import assert_close, assert_gradient_close

SKY = np.linspace(0.0, 0.5, 600).reshape(AXES.shape)


@pytest.fixture(scope="module")
def galaxy():
    return make_galaxy()


def evaluate(variable):
    return variable.eval(mode="FAST_COMPILE")


def test_value_is_the_formula(galaxy):
    value = evaluate(psp.hess_logp(galaxy.tmpl, galaxy.r, galaxy.hess))
    assert value.shape == ()
    assert_close(value, log_plr(galaxy.tmpl, galaxy.r, galaxy.hess), "float32")


@pytest.mark.parametrize("kind", ["numbers", "list", "DataArray", "tensor", "unknown shape"])
def test_coefficients_in_any_form(galaxy, kind):
    r = galaxy.r
    dims = ("log_age", "mh")
    forms = {
        "numbers": r,
        "list": r.tolist(),
        "DataArray": xr.DataArray(r, dims=dims),
        "tensor": pt.as_tensor(r),
        "unknown shape": pytensor.shared(r),
    }
    value = evaluate(psp.hess_logp(galaxy.tmpl, forms[kind], galaxy.hess))
    assert_close(value, log_plr(galaxy.tmpl, r, galaxy.hess), "float32")


def test_never_above_zero_and_zero_for_perfect_counts(galaxy):
    expected = galaxy.tmpl.composite(galaxy.r)
    best = evaluate(psp.hess_logp(galaxy.tmpl, galaxy.r, expected))
    assert_close(best, 0.0, "float32")
    other = evaluate(psp.hess_logp(galaxy.tmpl, galaxy.r * 1.1, expected))
    assert other < -1.0


@pytest.mark.parametrize("weight", [0.25, 1.7])
def test_weighted_counts(galaxy, weight):
    hess = galaxy.hess * weight
    value = evaluate(psp.hess_logp(galaxy.tmpl, galaxy.r, hess))
    assert_close(value, log_plr(galaxy.tmpl, galaxy.r, hess), "float32")


@pytest.mark.parametrize("kind", ["numbers", "DataArray", "tensor", "amplitude", "one number"])
def test_background(galaxy, kind):
    forms = {
        "numbers": SKY,
        "DataArray": galaxy.tmpl.axes.wrap(SKY),
        "tensor": pt.as_tensor(SKY),
        "amplitude": pytensor.shared(0.5) * (2.0 * SKY),
        "one number": 0.3,
    }
    value = evaluate(psp.hess_logp(galaxy.tmpl, galaxy.r, galaxy.hess, background=forms[kind]))
    sky = 0.3 if kind == "one number" else SKY
    assert_close(value, log_plr(galaxy.tmpl, galaxy.r, galaxy.hess, sky), "float32")


def test_masked_bins_do_not_count(galaxy):
    """Whatever they hold: numbers that are no counts, and stars where none are expected."""
    mask = psp.polygon_mask(galaxy.tmpl.axes, [(-1, 18), (3, 18), (3, 24.0), (-1, 24.0)])
    assert 0 < mask.sum() < mask.size
    hess = galaxy.hess.where(mask)
    assert np.isnan(hess).any()
    arguments = {"background": SKY, "mask": mask}
    value = evaluate(psp.hess_logp(galaxy.tmpl, galaxy.r, hess, **arguments))
    assert_close(value, log_plr(galaxy.tmpl, galaxy.r, galaxy.hess, SKY, mask), "float32")
    with_nan = np.where(mask, SKY, np.nan)
    assert evaluate(
        psp.hess_logp(galaxy.tmpl, galaxy.r, hess, background=with_nan, mask=mask)
    ) == pytest.approx(value)


def test_slope_of_a_masked_background(galaxy):
    """Bins without stars pull the background down by one each, masked ones not at all."""
    mask = np.arange(600).reshape(AXES.shape) % 3 > 0
    sky = pt.dmatrix("sky")
    value = psp.hess_logp(galaxy.tmpl, galaxy.r, galaxy.hess, background=sky, mask=mask)
    gradient = pytensor.function([sky], pt.grad(value, sky), mode="FAST_COMPILE")(SKY + 0.1)
    expected = galaxy.hess.values / (galaxy.tmpl.composite(galaxy.r).values + SKY + 0.1) - 1.0
    assert_close(gradient, np.where(mask, expected, 0.0), "float32")


def test_gradient_of_a_hierarchical_model(galaxy):
    """Masses, relation and dispersion, through the windows, against differences of all bins."""
    tmpl, hess = galaxy.tmpl, galaxy.hess

    def coefficients(x):
        mh = psp.linear_amr(tmpl.age_gyr, x[5], x[6], 12.0)
        r = psp.metallicity_weights(pt.exp(x[:5]), mh, pt.exp(x[7]), tmpl.mh)
        return r

    x = pt.dvector("x")
    r = coefficients(x)
    gradient = pytensor.function([x], pt.grad(psp.hess_logp(tmpl, r, hess), x), mode="FAST_COMPILE")
    masses = pytensor.function([x], r, mode="FAST_COMPILE")
    at = np.concatenate([np.log(galaxy.r.sum(axis=1)), [0.11, -1.4, np.log(0.12)]])
    differences = central_differences(lambda y: log_plr(tmpl, masses(y), hess), at, step=1e-6)
    assert_gradient_close(gradient(at), differences)


def windowed(value):
    """Whether the Op in a graph leaves out tiny coefficients."""
    function = pytensor.function([], value, mode="FAST_COMPILE", on_unused_input="ignore")
    nodes = [n for n in function.maker.fgraph.apply_nodes if isinstance(n.op, LikelihoodRatioValue)]
    assert len(nodes) == 1
    return nodes[0].op.windowed


def test_only_metallicity_weights_are_windowed(galaxy):
    mass = pytensor.shared(galaxy.r.sum(axis=1))
    with pm.Model(coords={"log_age": LOG_AGE, "mh": MH}):
        r = psp.metallicity_weights(mass, np.full(5, -1.0), 0.1, galaxy.tmpl.mh)
        named = pm.Deterministic("r", r, dims=("log_age", "mh"))
    for variable, expected in ((r, True), (named, True), (r * 1.5, False), (r + 1e-9, False)):
        assert windowed(psp.hess_logp(galaxy.tmpl, variable, galaxy.hess)) == expected


def test_empty_diagram(galaxy):
    """No star: minus the number expected, and its gradient."""
    r = pt.dmatrix("r")
    value = psp.hess_logp(galaxy.tmpl, r, np.zeros(AXES.shape))
    function = pytensor.function([r], [value, pt.grad(value, r)], mode="FAST_COMPILE")
    total, gradient = function(galaxy.r)
    expected = galaxy.tmpl.counts.sum(axis=(2, 3))
    assert_close(total, -np.sum(galaxy.r * expected), "float32")
    assert_close(gradient, -expected, "float32")


def zero_templates(hole):
    """Templates that are 0 in some bins."""
    counts = np.array(make_galaxy().tmpl.counts)
    counts[..., hole] = 0.0
    return psp.TemplateSet.from_arrays(counts, AXES, LOG_AGE, MH)


HOLE = np.zeros(AXES.shape, dtype=bool)
HOLE[3, 4] = HOLE[20, 7] = True


def test_stars_where_none_are_expected_are_named(galaxy):
    tmpl = zero_templates(HOLE)
    hess = galaxy.hess.values.copy()
    hess[HOLE] = 2.0
    r = pt.dmatrix("r")
    centers = AXES.coords()
    with pytest.warns(UserWarning, match=r"2 bins hold stars.*background=.*mask=") as record:
        value = psp.hess_logp(tmpl, r, hess)
    (warning,) = record
    assert warning.filename == __file__
    for i, j in zip(*np.nonzero(HOLE), strict=True):
        expected = f"(mag {centers['mag'][i]:.4g}, color {centers['color'][j]:.4g})"
        assert expected in str(warning.message)
    function = pytensor.function([r], [value, pt.grad(value, r)], mode="FAST_COMPILE")
    total, gradient = function(galaxy.r)
    assert total == -np.inf
    assert np.isfinite(gradient).all()


def test_remedies_for_stars_where_none_are_expected(galaxy):
    tmpl = zero_templates(HOLE)
    hess = galaxy.hess.values.copy()
    hess[HOLE] = 2.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for remedy in ({"background": 0.01}, {"mask": ~HOLE}, {"background": pt.dscalar()}):
            value = psp.hess_logp(tmpl, galaxy.r, hess, **remedy)
            if "background" not in remedy or remedy["background"] == 0.01:
                assert np.isfinite(evaluate(value))
        # A bin that no template reaches and that holds no star is of no consequence.
        hess[HOLE] = 0.0
        assert np.isfinite(evaluate(psp.hess_logp(tmpl, galaxy.r, hess)))


def test_numbers_that_expect_nothing_are_named(galaxy):
    with pytest.warns(UserWarning, match=r"bins hold stars.* and \d+ more"):
        value = psp.hess_logp(galaxy.tmpl, np.zeros(galaxy.shape), galaxy.hess)
    assert evaluate(value) == -np.inf


def test_templates_of_zeros(galaxy):
    tmpl = zero_templates(np.ones(AXES.shape, dtype=bool))
    assert evaluate(psp.hess_logp(tmpl, galaxy.r, np.zeros(AXES.shape))) == 0.0
    one = np.zeros(AXES.shape)
    one[0, 0] = 1.0
    with pytest.warns(UserWarning, match="1 bin holds stars"):
        value = psp.hess_logp(tmpl, galaxy.r, one)
    assert evaluate(value) == -np.inf


@pytest.mark.parametrize("bad", [-1e-6, np.nan, np.inf])
def test_symbolic_values_outside_the_support(galaxy, bad):
    r, sky = pt.dmatrix("r"), pt.dmatrix("sky")
    value = psp.hess_logp(galaxy.tmpl, r, galaxy.hess, background=sky)
    gradient = pt.grad(value, [r, sky])
    function = pytensor.function([r, sky], [value, *gradient], mode="FAST_COMPILE")
    for which in (0, 1):
        point = [galaxy.r.copy(), SKY.copy()]
        # A bin without stars, whose background the kernel never sees.
        empty = tuple(np.argwhere(galaxy.hess.values == 0)[0])
        point[which][(0, 0) if which == 0 else empty] = bad
        total, *slopes = function(*point)
        assert total == -np.inf
        assert which == 1 or all(np.isfinite(slope).all() for slope in slopes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tmpl": np.ones(3)}, "TemplateSet, got ndarray"),
        ({"r": np.ones((5, 8))}, r"\(N_age, N_mh\) = \(5, 9\).*\(5, 8\).*metallicity_weights"),
        ({"r": np.ones(45)}, r"\(N_age, N_mh\) = \(5, 9\)"),
        ({"r": pt.dvector("r")}, r"\(N_age, N_mh\) = \(5, 9\)"),
        ({"r": np.full((5, 9), -1.0)}, "r: must be finite and not negative, got -1"),
        ({"r": np.full((5, 9), np.nan)}, "r: must be finite"),
        ({"r": pt.as_tensor(np.full((5, 9), np.nan))}, "r: must be finite"),
        ({"hess": np.ones((20, 30))}, r"hess: expected shape.*\(30, 20\).*\(20, 30\)"),
        ({"hess": np.full(AXES.shape, np.nan)}, "hess: 600 bins are NaN.*mask="),
        ({"hess": -np.ones(AXES.shape)}, "hess: counts must be finite and not negative"),
        ({"background": np.ones((3, 3))}, r"background: expected shape.*\(30, 20\)"),
        ({"background": pt.dvector("b")}, r"background: expected shape.*\(30, 20\)"),
        ({"background": -SKY}, "background: must be finite and not negative"),
        ({"background": np.nan}, "background: must be finite"),
        ({"mask": np.ones(AXES.shape)}, "mask: expected booleans"),
        ({"mask": np.zeros(AXES.shape, dtype=bool)}, "mask: no bin is left"),
    ],
)
def test_refusals(galaxy, change, message):
    given = {"tmpl": galaxy.tmpl, "r": galaxy.r, "hess": galaxy.hess} | change
    with pytest.raises(ValueError, match=message):
        psp.hess_logp(**given)


def test_diagram_on_other_bins_is_refused(galaxy):
    axes = psp.HessAxes(AXES.color, AXES.mag, AXES.color_edges + 0.1, AXES.mag_edges)
    with pytest.raises(ValueError, match="same HessAxes"):
        psp.hess_logp(galaxy.tmpl, galaxy.r, axes.wrap(galaxy.hess.values))


def test_shape_that_is_known_only_later(galaxy):
    r = pt.dmatrix("r")
    function = pytensor.function(
        [r], psp.hess_logp(galaxy.tmpl, r, galaxy.hess), mode="FAST_COMPILE"
    )
    with pytest.raises(AssertionError, match="SpecifyShape"):
        function(galaxy.r[:, :5])


COUNTS = arrays(float, 12, elements=st.floats(0.0, 1e6))


@given(COUNTS, COUNTS)
def test_plr_is_not_negative(model, observed):
    model = model + 1e-3
    assert psp.plr(model, observed) >= -1e-6 * np.sum(model + observed)
    assert psp.plr(observed, observed) == 0.0


def test_plr_is_the_formula(galaxy):
    expected = galaxy.tmpl.composite(galaxy.r)
    value = psp.plr(expected, galaxy.hess)
    assert isinstance(value, float)
    assert_close(value, -log_plr(galaxy.tmpl, galaxy.r, galaxy.hess), "same_formula")
    for arguments in (
        (pt.as_tensor(expected.values), galaxy.hess),
        (expected, pt.as_tensor(galaxy.hess.values)),
    ):
        assert_close(evaluate(psp.plr(*arguments)), value, "same_formula")


def test_plr_of_few_bins():
    """By hand: n = m adds 0, n = 0 adds m, and m = n = 0 adds nothing."""
    assert psp.plr([4.0, 3.0, 0.0], [4, 0, 0]) == 3.0
    assert psp.plr([1.0], [np.e]) == pytest.approx(1.0)
    assert psp.plr([], []) == 0.0


def test_gradient_of_symbolic_plr(galaxy):
    m, n = pt.dvector("m"), pt.dvector("n")
    function = pytensor.function([m, n], pt.grad(psp.plr(m, n), m), mode="FAST_COMPILE")
    assert_close(function([2.0, 2.0, 0.0], [3.0, 0.0, 0.0]), [-0.5, 1.0, 1.0], "same_formula")


def test_plr_names_bins_where_no_star_is_expected(galaxy):
    model = galaxy.tmpl.composite(galaxy.r)
    model[2, 3] = 0.0
    hess = galaxy.hess.copy()
    hess[2, 3] = 1.0
    with pytest.warns(UserWarning, match=r"1 bin holds stars.*\(mag 19.58, color 0.025\)") as got:
        assert psp.plr(model, hess) == np.inf
    assert got[0].filename == __file__
    with pytest.warns(UserWarning, match=r"\(2, 3\)"):
        assert psp.plr(model.values, hess.values) == np.inf
    m = pt.dmatrix("m")
    function = pytensor.function([m], psp.plr(m, hess.values), mode="FAST_COMPILE")
    assert function(model.values) == np.inf
    for bad in (-1.0, np.nan):
        model[2, 3] = bad
        assert function(model.values) == np.inf


@pytest.mark.parametrize(
    ("model", "observed", "message"),
    [
        ([1.0, np.nan], [1, 1], "model_counts: must be finite"),
        ([1.0, 1.0], [1, -1], "observed_counts: must be finite and not negative"),
        ([1.0, 1.0], [1], r"same shape, got \(2,\) and \(1,\)"),
        (pt.dmatrix("m"), [1.0], "same shape"),
        (pt.as_tensor(np.ones(3)), [1.0], "same shape"),
    ],
)
def test_plr_refusals(model, observed, message):
    with pytest.raises(ValueError, match=message):
        psp.plr(model, observed)


def test_plr_pairs_labeled_counts_by_their_labels(rng):
    axes = psp.HessAxes(("V", "I"), "I", np.linspace(0, 1, 4), np.linspace(20, 23, 4))
    model, stars = axes.wrap(rng.uniform(1, 5, (3, 3))), axes.wrap(rng.poisson(3.0, (3, 3)))
    expected = psp.plr(model.values, stars.values)
    assert psp.plr(model, stars.transpose("color", "mag")) == pytest.approx(expected)
    with pytest.raises(ValueError, match="bins in mag differ"):
        psp.plr(model, stars.assign_coords(mag=stars["mag"] + 0.5))
    with pytest.raises(ValueError, match="same dimensions"):
        psp.plr(model, stars.rename(color="x"))


def test_a_background_that_is_no_number_is_refused():
    axes = psp.HessAxes(("V", "I"), "I", [0.0, 1.0], [20.0, 21.0])
    tmpl = psp.TemplateSet.from_arrays(np.ones((1, 1, 1, 1)), axes, [9.0], [0.0])
    with pytest.raises(ValueError, match="background: expected numbers"):
        psp.hess_logp(tmpl, [[1.0]], [[1.0]], background="x")
