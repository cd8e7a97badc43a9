"""Mass functions: integrals against quadrature, gradients against differences, draws, checks."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from pymc_starpop._namespace import NUMPY, Namespace, expm1_ratio
from pymc_starpop.population.imf import (
    BrokenPowerLaw,
    Chabrier,
    Kroupa,
    LogNormal,
    PowerLaw,
    Salpeter,
)
from tolerances import assert_close, assert_gradient_close

TENSOR = Namespace(
    exp=pt.exp,
    log=pt.log,
    expm1=pt.expm1,
    log1p=pt.log1p,
    sqrt=pt.sqrt,
    erf=pt.erf,
    where=pt.switch,
    minimum=pt.minimum,
    maximum=pt.maximum,
    abs=pt.abs,
    clip=pt.clip,
    stack=pt.stack,
    concatenate=pt.concatenate,
    sum=pt.sum,
    cumsum=pt.cumsum,
    softmax=pt.special.softmax,
)

IMFS = {
    "salpeter": Salpeter(),
    "flat": PowerLaw(0.0),
    "one": PowerLaw(1.0),
    "two": PowerLaw(2.0),
    "rising": PowerLaw(-1.5),
    "kroupa": Kroupa(),
    "broken": BrokenPowerLaw((0.08, 0.5, 1.0), (0.3, 1.0, 2.0, 2.7)),
    "lognormal": LogNormal(peak_mass=0.2, sigma=0.5),
    "chabrier": Chabrier(),
    "chabrier-system": Chabrier("2003-system"),
    "chabrier-2001": Chabrier("2001"),
}
every_imf = pytest.mark.parametrize("imf", IMFS.values(), ids=IMFS.keys())
masses = st.floats(0.05, 120.0)


@every_imf
@pytest.mark.parametrize(
    ("lower", "upper"), [(0.09, 4.0), (0.49, 0.51), (0.5, 1.0), (2.0, 60.0), (0.3, 0.3001)]
)
def test_integrals_agree_with_quadrature(imf, lower, upper):
    ends = [lower, *(b for b in imf.break_masses if lower < b < upper), upper]
    for power, closed in ((0, imf.integral), (1, imf.mass_integral)):
        pieces = [
            quad(lambda m, p=power: m**p * float(imf.density(m)), a, b, epsabs=0, epsrel=1e-11)[0]
            for a, b in pairwise(ends)
        ]
        assert_close(closed(lower, upper), sum(pieces), "quadrature")


@every_imf
def test_integral_of_a_tiny_interval_keeps_its_digits(imf):
    lower = np.geomspace(0.09, 90.0, 500)
    upper = lower * (1.0 + 1e-7)
    midpoint = (upper - lower) * imf.density(0.5 * (lower + upper))
    assert_close(imf.integral(lower, upper), midpoint, "same_formula")


@every_imf
@given(first=masses, second=masses, third=masses)
def test_integrals_add_up(imf, first, second, third):
    low, middle, high = sorted((first, second, third))
    parts = imf.integral(low, middle) + imf.integral(middle, high)
    assert_close(parts, imf.integral(low, high), "same_formula")


@every_imf
@given(mass=masses)
def test_density_is_positive_and_continuous(imf, mass):
    assert imf.density(mass) > 0
    for edge in imf.break_masses:
        below, above = imf.density([edge * (1 - 1e-13), edge * (1 + 1e-13)])
        assert_close(below, above, "same_formula")


@every_imf
def test_integral_is_zero_where_upper_does_not_exceed_lower(imf):
    assert imf.integral([2.0, 2.0, 0.6], [1.0, 2.0, 0.4]).tolist() == [0.0, 0.0, 0.0]


@every_imf
def test_sample_follows_the_integral(imf, rng):
    lower, upper, n = 0.1, 8.0, 40_000
    sample = imf.sample(n, lower, upper, rng)
    assert sample.shape == (n,)
    assert sample.min() >= lower
    assert sample.max() <= upper
    edges = np.geomspace(lower, upper, 21)
    expected = n * imf.integral(edges[:-1], edges[1:]) / imf.integral(lower, upper)
    observed, _ = np.histogram(sample, edges)
    chi_square = np.sum((observed - expected) ** 2 / expected)
    assert chi_square < 19 + 5 * np.sqrt(2 * 19)


@every_imf
@given(lower=st.floats(0.08, 20.0), ratio=st.floats(1.0 + 1e-9, 100.0), seed=st.integers(0, 2**31))
def test_sample_stays_inside(imf, lower, ratio, seed):
    upper = lower * ratio
    sample = imf.sample(20, lower, upper, np.random.default_rng(seed))
    assert np.all((sample >= lower) & (sample <= upper))


def test_sample_of_a_steep_power_law_over_a_wide_range_is_finite(rng):
    for slope in (-30.0, 30.0):
        assert np.isfinite(PowerLaw(slope).sample(100, 1e-3, 1e3, rng)).all()


def test_published_values():
    # Kroupa (2001), two-part form: 76 % of the stars of 0.08 to 100 Msun below 0.5 Msun
    kroupa = Kroupa()
    assert (kroupa.mass_min, kroupa.mass_max) == (0.08, 100.0)
    below = (0.08**-0.3 - 0.5**-0.3) / 0.3
    above = 0.5 * (0.5**-1.3 - 100**-1.3) / 1.3
    fraction = kroupa.integral(0.08, 0.5) / kroupa.integral(0.08, 100.0)
    assert_close(fraction, below / (below + above), "same_formula")
    # Chabrier (2003), eq. 17: 0.158 and Table 1: 0.0443 are the two amplitudes of dN/dlog M
    chabrier = Chabrier()
    at_one, at_peak = chabrier.density(1.0) * 1.0, chabrier.density(0.079) * 0.079
    assert at_one / at_peak * 0.158 == pytest.approx(0.0443, rel=0.01)
    # the power law above 1 Msun has x = 1.3 in dN/dlog M
    assert_close(chabrier.density(10.0) / chabrier.density(1.0), 10.0**-2.3, "same_formula")
    # the lognormal form of Chabrier (2001) holds at all masses
    other = LogNormal(0.1, 0.627)
    assert_close(Chabrier("2001").density([0.2, 5.0]), other.density([0.2, 5.0]), "same_formula")
    assert Chabrier("2001").break_masses == ()


def test_a_broken_power_law_without_a_break_is_a_power_law():
    broken = BrokenPowerLaw((0.3, 2.0), (2.35, 2.35, 2.35))
    ratio = broken.integral(0.1, 1.0) / broken.integral(1.0, 9.0)
    expected = Salpeter().integral(0.1, 1.0) / Salpeter().integral(1.0, 9.0)
    assert_close(ratio, expected, "same_formula")


def _build(name, theta):
    """Return a mass function whose parameters come from ``theta``, numbers or tensors."""
    if name == "power":
        return PowerLaw(theta[0])
    if name == "broken":
        return BrokenPowerLaw((theta[3], theta[4]), (theta[0], theta[1], theta[2]))
    if name == "kroupa":
        return replace(Kroupa(), low_slope=theta[0], high_slope=theta[1], break_mass=theta[2])
    if name == "lognormal":
        return LogNormal(theta[0], theta[1])
    return replace(
        Chabrier(), peak_mass=theta[0], sigma=theta[1], high_slope=theta[2], break_mass=theta[3]
    )


CASES = {
    "slope one": ("power", [1.0], 0.3, 0.9),
    "slope two": ("power", [2.0], 0.3, 0.9),
    "slope one, tiny": ("power", [1.0], 0.3, 0.3 * (1 + 1e-6)),
    "near one": ("power", [1.0 + 1e-9], 0.3, 9.0),
    "across the break": ("kroupa", [1.3, 2.3, 0.5], 0.45, 0.6),
    "below the break": ("kroupa", [1.3, 2.3, 0.5], 0.1, 0.2),
    "logarithms on both sides": ("kroupa", [1.0, 2.0, 0.5], 0.1, 3.0),
    "three pieces": ("broken", [0.3, 1.3, 2.3, 0.2, 0.8], 0.1, 2.0),
    "lognormal, narrow": ("lognormal", [0.2, 0.5], 0.3, 0.31),
    "lognormal, wide": ("lognormal", [0.2, 0.5], 0.01, 50.0),
    "lognormal, tiny": ("lognormal", [0.2, 0.5], 0.3, 0.3 * (1 + 1e-6)),
    "chabrier": ("chabrier", [0.079, 0.69, 2.3, 1.0], 0.5, 3.0),
}


@pytest.mark.parametrize("method", ["integral", "mass_integral"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_automatic_gradients_agree_with_central_differences(case, method):
    name, theta, lower, upper = case
    point = np.array([*theta, lower, upper])
    # Steps that a tiny interval survives: relative to its length for the ends.
    steps = np.full(point.size, 1e-5)
    steps[-2:] = min(1e-5, 1e-2 * (upper - lower))

    def numeric(x):
        imf = _build(name, x[:-2])
        return float(getattr(imf, method)(x[-2], x[-1]) / (upper - lower))

    x = pt.dvector("x")
    value = getattr(_build(name, x), method)(x[-2], x[-1], xp=TENSOR) / (upper - lower)
    function = pytensor.function([x], [value, pytensor.grad(value, x)], mode="FAST_COMPILE")
    tensor_value, gradient = function(point)
    assert_close(tensor_value, numeric(point), "same_formula")
    for index, step in enumerate(steps):
        shift = np.zeros(point.size)
        shift[index] = step
        difference = (numeric(point + shift) - numeric(point - shift)) / (2 * step)
        assert_gradient_close(gradient[index], difference)


@pytest.mark.parametrize("imf", [Kroupa(), Chabrier()], ids=["kroupa", "chabrier"])
def test_an_end_on_a_break_has_the_density_as_gradient(imf):
    """An end exactly on a break must not count in both pieces, or in none."""
    (edge,) = imf.break_masses
    lower, upper = pt.dscalars("lower", "upper")
    value = imf.integral(lower, upper, xp=TENSOR)
    gradient = pytensor.function(
        [lower, upper], pytensor.grad(value, [lower, upper]), mode="FAST_COMPILE"
    )
    density = imf.density(edge)
    assert_close(gradient(edge, 2 * edge)[0], -density, "same_formula")
    assert_close(gradient(edge / 2, edge)[1], density, "same_formula")
    assert_close(gradient(edge, edge), [-density, density], "same_formula")
    assert np.isfinite(gradient(2 * edge, edge)).all()


def test_density_of_tensors_equals_that_of_numbers():
    mass = np.geomspace(0.05, 50.0, 30)
    for imf in IMFS.values():
        value = imf.density(pt.constant(mass), xp=TENSOR).eval()
        assert_close(value, imf.density(mass), "same_formula")


def test_expm1_ratio_and_its_gradient():
    x = np.array([0.0, 1e-300, 1e-9, -1e-3, 0.0499999, 0.05, 0.0500001, -0.05, 3.0, -40.0])
    direct = np.where(x == 0, 1.0, np.expm1(x) / np.where(x == 0, 1.0, x))
    assert_close(expm1_ratio(x), direct, "same_formula")
    t = pt.dvector("t")
    gradient = pytensor.function(
        [t], pytensor.grad(expm1_ratio(t, TENSOR).sum(), t), mode="FAST_COMPILE"
    )(np.array([0.0, 1e-9, 0.0499999, 0.0500001, 2.0]))
    # d/dx (e^x - 1)/x = 1/2 + x/3 + x^2/8 + x^3/30 + ...
    series = [
        sum(y**k * (k + 1) / math.factorial(k + 2) for k in range(30))
        for y in (0.0, 1e-9, 0.0499999, 0.0500001, 2.0)
    ]
    assert_close(gradient, series, "same_formula")
    assert NUMPY.exp is np.exp


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BrokenPowerLaw((0.5, 0.1), (1, 2, 3)), "breaks must ascend"),
        (lambda: BrokenPowerLaw((0.0,), (1, 2)), "breaks\\[0\\] must be positive"),
        (lambda: BrokenPowerLaw((0.5,), (1, 2, 3)), "one value more than breaks"),
        (lambda: BrokenPowerLaw((), (1,)), "use PowerLaw"),
        (lambda: BrokenPowerLaw(0.5, (1, 2)), "breaks must be a sequence"),
        (lambda: BrokenPowerLaw((0.5,), pt.dvector()), "slopes must be a sequence"),
        (lambda: PowerLaw(np.nan), "slope must be finite"),
        (lambda: PowerLaw("2.3"), "slope must be a number"),
        (lambda: PowerLaw(np.array([1.0, 2.0])), "slope must be a number"),
        (lambda: Kroupa(break_mass=-1), "break_mass must be positive"),
        (lambda: Kroupa(mass_min=10, mass_max=1), "mass_min and mass_max"),
        (lambda: LogNormal(0.1, 0.0), "sigma must be positive"),
        (lambda: Chabrier("2005"), "2003-single, 2003-system, 2001"),
        (lambda: Kroupa().sample(3, 2.0, 1.0, np.random.default_rng(1)), "0 < lower < upper"),
        (
            lambda: PowerLaw(pt.dscalar()).sample(3, 1, 2, np.random.default_rng(1)),
            "slope of PowerLaw must be a number",
        ),
    ],
)
def test_bad_input_is_a_value_error_that_says_what_to_do(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_numbers_are_not_taken_in_single_precision():
    """PyTensor evaluates functions of Python floats that float32 can hold in float32."""
    for imf in (Kroupa(break_mass=0.5), Chabrier(peak_mass=0.25, break_mass=0.75)):
        value = imf.integral(0.375, pt.constant(3.0, dtype="float64"), xp=TENSOR).eval()
        assert_close(value, imf.integral(0.375, 3.0), "same_formula")
