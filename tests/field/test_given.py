"""Log densities that the user gives."""

import numpy as np
import pytest
from pytensor import tensor as pt

from pymc_starpop.field import FieldDensity
from pymc_starpop.stars.catalog import StarCatalog

CAT = StarCatalog([[12.0], [16.0]], [[0.1], [0.1]], bands=["TESS"])


def test_numbers_are_kept_and_read_only():
    given = np.array([-2.0, -np.inf])
    field = FieldDensity(given)
    given[0] = 5.0
    assert field.log_density(CAT).tolist() == [-2.0, -np.inf]
    with pytest.raises(ValueError, match="read-only"):
        field.log_density(CAT)[0] = 1.0
    assert field.frozen(CAT) is field
    assert not field.is_symbolic


def test_a_tensor_is_returned_as_it_is():
    vector = pt.vector("log_field")
    field = FieldDensity(vector)
    assert field.is_symbolic
    assert field.log_density(CAT) is vector


def test_repr_tells_densities_apart():
    def sampler(n, bands, rng, selection):
        return np.zeros((n, len(bands)))

    values = np.linspace(-5.0, -1.0, 5000)
    other = values.copy()
    other[2500] += 1e-9
    fields = [FieldDensity(values), FieldDensity(other), FieldDensity(values, sampler)]
    fields += [FieldDensity(pt.vector()), FieldDensity(pt.vector())]
    assert len({repr(field) for field in fields}) == 5
    assert repr(FieldDensity(values)) == repr(FieldDensity(values.copy()))


def test_draws_come_from_the_sampler():
    rng = np.random.default_rng(1)
    seen = []

    def sampler(n, bands, given, selection):
        seen.append((n, bands, given, selection))
        return np.full((n, len(bands)), 15.0)

    drawn = FieldDensity([-1.0], sampler).draw(3, ["G", "J"], rng, "limits")
    assert drawn.tolist() == [[15.0, 15.0]] * 3
    assert seen == [(3, ["G", "J"], rng, "limits")]
    with pytest.raises(ValueError, match=r"cannot be drawn .* give FieldDensity.values, sampler="):
        FieldDensity([-1.0]).draw(3, ["G"], rng)
    with pytest.raises(ValueError, match=r"shape .3, 1., got .3,."):
        FieldDensity([-1.0], lambda n, *_: np.zeros(n)).draw(3, ["G"], rng)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1.0,), r"values must have shape .N,."),
        (([[-1.0, -2.0]],), r"got .1, 2."),
        (([-1.0, np.nan],), "got nan in row 1"),
        (([np.inf, -1.0],), "got inf in row 0"),
        ((["a", "b"],), "values must be numbers or a PyTensor vector"),
        ((pt.matrix(),), "must be a vector.* 2 dimensions"),
        (([-1.0], 3), "sampler must be a function"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        FieldDensity(*arguments)


def test_wrong_number_of_stars():
    with pytest.raises(ValueError, match="3 log densities for 2 stars; select"):
        FieldDensity([-1.0, -1.0, -1.0]).log_density(CAT)
