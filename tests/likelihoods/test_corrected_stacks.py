"""Corrections of several clusters: shared, of each, several, and the user's own."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr

import pymc_starpop as psp
from tolerances import assert_close

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "2MASS_Ks")
FEW = ("2MASS_Ks", "Gaia_G_EDR3")
KNOTS = psp.SequenceKnots((3.6, 3.75), (), (3.66,))
GIVEN = {
    "feh": 0.0, "log_age": 9.1, "distance_modulus": 8.0, "field_fraction": 0.1,
    "binary_fraction": 0.3, "mass_ratio_nodes": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def cats(coarse):
    """Three clusters, of which the second has two bands in another order."""
    return psp.StarCatalog.stack({
        name: psp.simulate_cluster(
            coarse, n_star=n, bands=bands, mag_err=0.03, rng=n, feh=0.0, log_age=9.1,
            distance_modulus=8.0,
        )
        for name, n, bands in (("a", 4, BANDS), ("b", 5, FEW), ("c", 3, BANDS))
    })  # fmt: skip


@dataclass(frozen=True)
class Tilt(psp.Corrections):
    """A slope for all bands."""

    slope: Any = 0.0

    def magnitudes(self, at, mag, bands, xp):
        return mag + (self.slope * (3.76 - at.log_teff))[:, None]


@dataclass(frozen=True)
class Bent(psp.Corrections):
    """An offset of each band, and three numbers of its own: as many as clusters and bands."""

    offset: Any = 0.0
    bend: Any = (0.0, 0.0, 0.0)
    axes: ClassVar = {"offset": ("band",), "bend": (3,)}

    def magnitudes(self, at, mag, bands, xp):
        x = at.log_teff - 3.76
        return mag + (self.bend[0] * x + self.bend[1] * x**2 + self.bend[2])[:, None] + self.offset


RNG = np.random.default_rng(5)
ALL = RNG.normal(0.0, 0.05, (3, 3))
EACH = RNG.normal(0.0, 0.05, (3, 3, 3))
MAGNITUDES = psp.MagnitudeCorrections(0.0, BANDS, KNOTS)

# What is applied, and its free parameters by place and name, each with whether clusters have their
# own. The bands of a parameter by band are those of the stack.
CASES = {
    "shared": (
        (MAGNITUDES, Bent()),
        {(0, "coefficients"): (ALL, False), (1, "offset"): (ALL[:1], False),
         (1, "bend"): (np.array([0.1, 0.3, 0.02]), False)},
    ),
    "of each": ((MAGNITUDES,), {(0, "coefficients"): (EACH, True)}),
    "several of each": (
        (psp.EmpiricalCorrections(), MAGNITUDES, Tilt(), Bent()),
        {(0, "dtdm"): (np.array([0.08, 0.1, 0.05]), True), (1, "coefficients"): (EACH, True),
         (2, "slope"): (np.array([0.1, 0.0, -0.1]), True), (3, "offset"): (ALL, True),
         (3, "bend"): (EACH[0], True)},
    ),
}  # fmt: skip


def put(parts, values):
    """Corrections with values in their places; one alone is no tuple."""
    whole = list(parts)
    for (place, name), value in values.items():
        whole[place] = replace(whole[place], **{name: value})
    return tuple(whole) if len(whole) > 1 else whole[0]


def of_one(cats, place, name, value, is_own):
    """What one cluster has of a parameter."""
    own = value[place] if is_own else value
    if name != "offset":
        return own
    bands = [cats.model_bands.index(band) for band in cats[cats.cluster_names[place]].bands]
    return own[bands] if is_own else own[0, bands]


def singles(iso, cats, parts, values, owned):
    """The likelihood of one cluster after the other."""
    found = []
    for place, cluster in enumerate(cats):
        own = {key: of_one(cats, place, key[1], value, owned[key]) for key, value in values.items()}
        found.append(psp.cluster_logp(iso, cats[cluster], **GIVEN, corrections=put(parts, own)))
    return pt.concatenate(found)


@pytest.mark.parametrize("name", CASES)
def test_a_stack_is_the_sum_of_its_clusters(coarse, cats, name):
    parts, free = CASES[name]
    owned = {key: is_own for key, (_, is_own) in free.items()}
    symbols = {
        key: pt.tensor(f"x{i}", dtype="float64", shape=np.shape(value))
        for i, (key, (value, _)) in enumerate(free.items())
    }
    stack = psp.cluster_logp(coarse, cats, **GIVEN, corrections=put(parts, symbols))
    alone = singles(coarse, cats, parts, symbols, owned)
    inputs, weights = list(symbols.values()), np.linspace(0.5, 1.5, cats.n_star)
    both = [
        pytensor.function(
            inputs, [terms, *pt.grad((weights * terms).sum(), inputs)], mode="FAST_COMPILE"
        )(*(value for value, _ in free.values()))
        for terms in (stack, alone)
    ]
    for place, (got, expected) in enumerate(zip(*both, strict=True)):
        scale = max(1.0, np.abs(expected).max())
        assert np.any(expected != 0.0)
        assert_close(got / scale, expected / scale, "stacked_gradient" if place else "stacked")


@pytest.mark.parametrize("value", [ALL, EACH], ids=["shared", "of each"])
def test_numbers_and_labels(coarse, cats, value):
    """Numbers are what expressions are; the labels of their bands are the corrections' own."""
    key, is_own = (0, "coefficients"), value is EACH
    alone = singles(coarse, cats, (MAGNITUDES,), {key: value}, {key: is_own})
    expected = alone.eval(mode="FAST_COMPILE")
    order = [1, 2, 0]
    labels = {"offset_band": [BANDS[b] for b in order]}
    dims = ("cluster", "offset_band", "knot")[-value.ndim :]
    labeled = xr.DataArray(
        value[..., order, :], dims=dims, coords=labels | ({"cluster": list(cats)} if is_own else {})
    )
    turned = psp.MagnitudeCorrections(labeled, labels["offset_band"], KNOTS)
    for corrections in (put((MAGNITUDES,), {key: value}), turned):
        found = psp.cluster_logp(coarse, cats, **GIVEN, corrections=corrections)
        assert_close(found.eval(mode="FAST_COMPILE"), expected, "stacked")


def test_no_corrections_of_one_cluster_and_of_all(coarse, cats):
    """Coefficients 0 are numbers as others are, also where one cluster alone has some."""
    none = psp.cluster_logp(coarse, cats, **GIVEN).eval(mode="FAST_COMPILE")
    zero = put((MAGNITUDES,), {(0, "coefficients"): np.zeros((3, 3, 3))})
    found = psp.cluster_logp(coarse, cats, **GIVEN, corrections=zero).eval(mode="FAST_COMPILE")
    assert_close(found, none, "stacked")
    last = np.concatenate([np.zeros((2, 3, 3)), EACH[2:]])
    moved = put((MAGNITUDES,), {(0, "coefficients"): last})
    found = psp.cluster_logp(coarse, cats, **GIVEN, corrections=moved).eval(mode="FAST_COMPILE")
    assert_close(found[:9], none[:9], "stacked")
    assert np.abs(found[9:] - none[9:]).min() > 1e-3


@pytest.mark.parametrize(
    ("bands", "deviation"), [(BANDS[::-1], None), (("TESS", *BANDS[::-1]), 0.05)]
)
def test_a_prior_may_have_more_bands_in_another_order(coarse, cats, bands, deviation):
    with pm.Model(coords=cats.coords()) as model:
        prior = psp.correction_prior("offset", coarse, bands, KNOTS, deviation=deviation)
        psp.ClusterPhotometry("stars", coarse, observed=cats, **GIVEN, corrections=prior)
    values = dict(zip(BANDS, ALL, strict=True)) | {"TESS": ALL[0] + 9.0}
    given = {"offset": np.array([values[band] for band in bands])}
    each = np.broadcast_to(given["offset"], (3, len(bands), 3))
    if deviation is not None:
        given["offset_deviation"] = RNG.normal(size=each.shape)
        each = each + deviation * given["offset_deviation"]
    per_star = model.compile_fn(model.logp(vars=model["stars"], sum=False), mode="FAST_COMPILE")
    found = per_star(given)[0]
    for name, own in zip(cats, each, strict=True):
        corrections = psp.MagnitudeCorrections(own, bands, KNOTS)
        alone = psp.cluster_logp(coarse, cats[name], **GIVEN, corrections=corrections)
        assert_close(found[cats.rows(name)], alone.eval(mode="FAST_COMPILE"), "stacked")


TURNED = xr.DataArray(
    EACH, dims=("cluster", "band", "knot"), coords={"cluster": ["c", "b", "a"]}
)  # fmt: skip


@pytest.mark.parametrize(
    ("corrections", "words"),
    [
        (psp.MagnitudeCorrections(np.ones((2, 3, 3)), BANDS, KNOTS),
         r"coefficients has the shape \(2, 3, 3\) for 3 clusters, 12 stars, 3 bands; give one "
         r"number, or one for each of 3 x 3 entries or one for each cluster and of 3 x 3 entries"),
        (psp.MagnitudeCorrections(pt.tensor3(shape=(4, 3, 3)), BANDS, KNOTS),
         r"coefficients has the shape \(4, 3, 3\) for 3 clusters"),
        (psp.MagnitudeCorrections(ALL[:1], BANDS[:1], KNOTS),
         r"no MagnitudeCorrections for Gaia_BP_EDR3.*give coefficients for all bands"),
        (psp.MagnitudeCorrections(TURNED, BANDS, KNOTS),
         r"coefficients has the dimension 'cluster' .* in another order, c, b, a"),
        (Tilt, r"got <class .*Tilt'>; give an instance, Tilt\(...\)"),
        (Tilt([0.1, 0.2]), r"corrections.slope has the shape \(2,\) for 3 clusters"),
        (Tilt([0.1, np.nan, 0.2]), r"cluster 'b': corrections.slope must be finite, got .*nan"),
        (Bent(0.0, [0.1, 0.2]),
         r"bend has the shape \(2,\) .* one for each of 3 entries or one for each cluster and of"),
        (Bent([0.1, 0.2, 0.3]), r"corrections.offset has the shape \(3,\), which could mean"),
        ({"a": None}, r"corrections must be None, psp.Corrections .* one for all clusters"),
    ],
)  # fmt: skip
def test_errors(coarse, cats, corrections, words):
    with pytest.raises(ValueError, match=words):
        psp.cluster_logp(coarse, cats, **GIVEN, corrections=corrections)


def test_clusters_of_an_expression_that_are_known_late(coarse, cats):
    late = pt.tensor3("late", shape=(None, 3, 3))
    own = psp.MagnitudeCorrections(late, BANDS, KNOTS)
    logp = psp.cluster_logp(coarse, cats, **GIVEN, corrections=own)
    with pytest.raises(ValueError, match="coefficients must have 3 values, one for each cluster"):
        logp.eval({late: np.zeros((2, 3, 3))}, mode="FAST_COMPILE")
