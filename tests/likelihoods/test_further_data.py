"""Log densities of further data of the stars, beside the photometry."""

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr

import pymc_starpop as psp
from tolerances import assert_close

GIVEN = {
    "feh": 0.0, "log_age": 9.0, "distance_modulus": 8.0, "av": 0.1, "field_fraction": 0.3,
    "binary_fraction": 0.3, "intrinsic_scatter": 0.02, "mass_ratio_nodes": 9,
}  # fmt: skip
FIELDS = {
    "uniform": lambda: psp.UniformField(),
    "inflated": lambda: psp.InflatedScatterField(4.0),
    "tail": lambda: psp.ChiSquareField(),
}


@pytest.fixture(scope="module")
def cat(coarse):
    bands = ("Gaia_G_EDR3", "2MASS_Ks")
    return psp.simulate_cluster(
        coarse, n_star=12, bands=bands, mag_err=0.03, rng=1,
        **GIVEN | {"field_fraction": 0.0},
    )  # fmt: skip


@pytest.fixture
def further(cat, rng):
    return {
        "member_logp": rng.normal(0.0, 3.0, cat.n_star), "field_logp": rng.normal(-2, 2, cat.n_star)
    }  # fmt: skip


@pytest.mark.parametrize(
    "names", [("member_logp",), ("field_logp",), ("member_logp", "field_logp")]
)
@pytest.mark.parametrize("field", FIELDS)
def test_against_the_reference(coarse, cat, further, names, field):
    given = GIVEN | {"field": FIELDS[field]()} | {name: further[name] for name in names}
    found = psp.cluster_logp(coarse, cat, **given).eval()
    assert_close(found, psp.reference.cluster_logp(coarse, cat, **given), "pruned")
    without = psp.cluster_logp(coarse, cat, **GIVEN, field=FIELDS[field]()).eval()
    # Where the density of the field is lower, it says less.
    assert np.abs(found - without).max() > (1e-4 if field == "tail" else 0.1)


@pytest.mark.parametrize("fraction", [0.0, 0.3])
def test_gradients(coarse, cat, further, fraction):
    """They are the shares of the two sides, and the chain goes on into the user's parameters."""
    mean = pt.dscalar("mean")
    at = {name: pt.dvector(name) for name in further}
    given = GIVEN | {"field_fraction": fraction}
    member = at["member_logp"] - 0.5 * (mean - pt.arange(cat.n_star)) ** 2
    logp = psp.cluster_logp(
        coarse, cat, **given, member_logp=member, field_logp=at["field_logp"]
    ).sum()
    inputs = [mean, *at.values()]
    function = pytensor.function(inputs, [logp, *pt.grad(logp, inputs)], on_unused_input="ignore")
    point = [3.0, further["member_logp"], further["field_logp"]]
    _, by_mean, by_member, by_field = function(*point)
    assert_close(by_member + by_field, np.ones(cat.n_star), "same_formula")
    if not fraction:
        assert_close(by_field, np.zeros(cat.n_star), "same_formula")
    assert_close(by_mean, (by_member * (np.arange(cat.n_star) - 3.0)).sum(), "same_formula")
    step = 1e-5
    ends = [function(3.0 + sign * step, *point[1:])[0] for sign in (1, -1)]
    np.testing.assert_allclose(by_mean, (ends[0] - ends[1]) / (2.0 * step), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["numbers", "expression", "mapping"])
def test_of_several_clusters(coarse, cat, further, kind):
    cats = psp.StarCatalog.stack({"a": cat, "b": cat.select(np.arange(5)), "c": cat})
    rows = np.concatenate([np.arange(12), np.arange(5), np.arange(12)])
    whole = {name: values[rows] for name, values in further.items()}
    given = {
        "numbers": whole,
        "expression": {name: pt.as_tensor(v) + pt.zeros(cats.n_star) for name, v in whole.items()},
        "mapping": {
            name: {c: values[cats.rows(c)] if c != "c" else None for c in cats}
            for name, values in whole.items()
        },
    }[kind]
    found = psp.cluster_logp(coarse, cats, **GIVEN, **given).eval()
    for name in cats:
        own = {key: v[cats.rows(name)] for key, v in whole.items()}
        own = {} if kind == "mapping" and name == "c" else own
        alone = psp.cluster_logp(coarse, cats[name], **GIVEN, **own).eval()
        assert_close(found[cats.rows(name)], alone, "stacked")


def test_membership_draws_and_loo(coarse, cat):
    """A star that the further data know as a member is drawn as one."""
    n = cat.n_star
    sure = np.where(np.arange(n) < 6, 50.0, -50.0)
    with pm.Model(coords=cat.coords()) as model:
        shift = pm.Normal("shift", 0.0, 0.1)
        stars = psp.ClusterPhotometry(
            "stars", coarse, observed=cat, **GIVEN | {"field_fraction": 0.5},
            member_logp=sure + shift,
        )  # fmt: skip
    posterior = xr.Dataset({"shift": (("chain", "draw"), np.zeros((1, 4)))})
    p = psp.membership(posterior, model, progressbar=False)
    assert (p.isel(star=slice(6)) > 0.999).all()
    assert (p.isel(star=slice(6, None)) < 0.001).all()
    alone = psp.membership(posterior, model, catalog=cat, progressbar=False)
    assert_close(alone, p, "stacked")
    with pytest.raises(ValueError, match=r"other stars than the model, whose member_logp hold one"):
        psp.membership(posterior, model, catalog=cat.select([1, 2]), progressbar=False)
    drawn = pm.draw(stars, 200, random_seed=1, mode="FAST_COMPILE")
    # Members are narrow in color, field stars fill the box.
    spread = (drawn[..., 0] - drawn[..., 1]).std(axis=0)
    members = pm.draw(
        psp.ClusterPhotometry.dist(coarse, cat, **GIVEN | {"field_fraction": 0.0}), 200,
        random_seed=1, mode="FAST_COMPILE",
    )  # fmt: skip
    expected = (members[..., 0] - members[..., 1]).std(axis=0)
    assert np.all(np.abs(spread[:6] / expected[:6] - 1.0) < 0.35)
    logp = psp.cluster_logp(coarse, cat, **GIVEN | {"field_fraction": 0.5}, member_logp=sure).eval()
    per_star = model.compile_fn(model.logp(vars=stars, sum=False), mode="FAST_COMPILE")
    assert_close(per_star(model.initial_point())[0], logp, "stacked")


def test_labeled_values(coarse, cat, further):
    values = pd.Series(further["member_logp"], index=cat.star)
    found = psp.cluster_logp(coarse, cat, **GIVEN, member_logp=values)
    wanted = psp.cluster_logp(coarse, cat, **GIVEN, member_logp=further["member_logp"])
    assert_close(found.eval(), wanted.eval(), "same_formula")
    with pytest.raises(ValueError, match=r"member_logp has .* of the stars in another order"):
        psp.cluster_logp(coarse, cat, **GIVEN, member_logp=values[::-1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"member_logp": np.zeros(5)}, r"member_logp has the shape \(5,\) for 12 stars"),
        ({"field_logp": 0.5}, r"field_logp has the shape \(\) for 12 stars"),
        ({"member_logp": np.full(12, np.nan)}, r"must be finite, got nan for the star in row 0"),
        ({"member_logp": ["x"] * 12}, r"member_logp must be a number or a PyTensor expression"),
        ({"member_logp": pt.zeros(5)}, r"member_logp holds 5 log densities for 12 stars"),
        ({"member_logp": pt.dscalar("x")}, r"must be a vector, one log density a star, got 0 dim"),
        ({"member_logp": pt.as_tensor(np.full(12, np.inf))}, r"must be finite, got inf"),
        ({"member_logp": {"a": np.zeros(12)}}, r"member_logp is a mapping by cluster, but catalog"),
    ],
)  # fmt: skip
def test_errors(coarse, cat, given, message):
    with pytest.raises(ValueError, match=message):
        psp.cluster_logp(coarse, cat, **GIVEN, **given)


def test_errors_of_stacks(coarse, cat):
    cats = psp.StarCatalog.stack({"a": cat, "b": cat})
    with pytest.raises(ValueError, match=r"cluster 'b': member_logp has the shape \(3,\) for 12"):
        psp.cluster_logp(coarse, cats, **GIVEN, member_logp={"a": np.zeros(12), "b": np.zeros(3)})
    with pytest.raises(ValueError, match=r"member_logp has the shape \(5,\) for 24 stars"):
        psp.cluster_logp(coarse, cats, **GIVEN, member_logp=np.zeros(5))
    late = pt.dvector("late")
    logp = psp.cluster_logp(coarse, cats, **GIVEN, member_logp=late)
    with pytest.raises(ValueError, match="member_logp must have 24 values, one for each star"):
        logp.eval({late: np.zeros(23)})


def test_simulations_have_none(coarse):
    with pytest.raises(ValueError, match="of stars that were observed"):
        psp.simulate_cluster(
            coarse, n_star=2, bands=["TESS"], feh=0.0, log_age=9.0, distance_modulus=8.0,
            member_logp=np.zeros(2),
        )  # fmt: skip
