"""Catalogs of several clusters, stacked."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import pymc_starpop as psp

NAN = float("nan")


@pytest.fixture
def near():
    return psp.StarCatalog(
        [[12.1, 11.4], [15.0, NAN]], [[0.01, 0.02], [0.03, NAN]], ["G", "J"],
        parallax=[3.2, NAN], parallax_err=[0.02, NAN], membership_prior=[0.9, 0.5],
        extra={"pm": np.array([1.0, 2.0])},
    )  # fmt: skip


@pytest.fixture
def far():
    return psp.StarCatalog(
        [[17.0, 1.0], [18.0, 1.2], [19.0, 1.4]], np.full((3, 2), 0.05), ["G", "BP - RP"],
        teff=[5000.0, NAN, 4000.0], teff_err=[100.0, NAN, 80.0],
    )  # fmt: skip


@pytest.fixture
def cats(near, far):
    return psp.StarCatalog.stack({"near": near, "far": far})


def test_rows_and_bands(cats, near, far):
    assert (cats.cluster_names, len(cats), cats.n_cluster) == (("near", "far"), 5, 2)
    assert cats.bands == ("G", "J", "BP - RP")
    assert cats.model_bands == ("G", "J", "BP", "RP")
    assert cats.cluster_of_star.tolist() == [0, 0, 1, 1, 1]
    assert (cats.rows("near"), cats.rows("far")) == (slice(0, 2), slice(2, 5))
    np.testing.assert_array_equal(cats.mag[cats.rows("near")][:, :2], near.mag)
    np.testing.assert_array_equal(cats.mag_err[cats.rows("far")][:, [0, 2]], far.mag_err)
    assert np.isnan(cats.mag[:2, 2]).all()
    assert np.isnan(cats.mag[2:, 1]).all()
    assert cats.measured.tolist() == [
        [True, True, False], [True, False, False], [True, False, True], [True, False, True],
        [True, False, True],
    ]  # fmt: skip


def test_other_measurements_are_each_clusters_own(cats):
    np.testing.assert_array_equal(cats.column("parallax"), [3.2, NAN, NAN, NAN, NAN])
    np.testing.assert_array_equal(cats.column("teff_err"), [NAN, NAN, 100.0, NAN, 80.0])
    np.testing.assert_array_equal(cats.column("membership_prior"), [0.9, 0.5, 1.0, 1.0, 1.0])
    assert cats.column("feh") is None
    assert cats.column("pmra") is None
    with pytest.raises(ValueError, match=r"one of parallax, .*, got 'mass'"):
        cats.column("mass")


def test_proper_motions_are_each_clusters_own(near, far):
    moving = replace(
        near, pmra=[1.0, NAN], pmra_err=[0.1, NAN], pmdec=[2.0, NAN], pmdec_err=[0.2, NAN],
        pm_corr=[0.3, NAN],
    )  # fmt: skip
    cats = psp.StarCatalog.stack({"near": moving, "far": far})
    for name in ("pmra", "pmra_err", "pmdec", "pmdec_err", "pm_corr"):
        expected = [*getattr(moving, name), NAN, NAN, NAN]
        np.testing.assert_array_equal(cats.column(name), expected)


def test_one_cluster_of_the_stack(cats, near):
    one = cats["near"]
    assert one.bands == near.bands
    np.testing.assert_array_equal(one.mag, near.mag)
    np.testing.assert_array_equal(one.extra["pm"], [1.0, 2.0])
    with pytest.raises(KeyError, match="'m67' is no cluster of the stack: near, far"):
        cats["m67"]


def test_labels_are_unique(cats, near, far):
    assert cats.star.tolist() == ["near: 0", "near: 1", "far: 0", "far: 1", "far: 2"]
    assert cats["far"].star.tolist() == ["far: 0", "far: 1", "far: 2"]
    # Labels that are unique stay as they are.
    source = psp.StarCatalog(near.mag, near.mag_err, near.bands, star=[411, 517])
    kept = psp.StarCatalog.stack({"near": source, "far": far})
    assert kept.star.tolist() == [411, 517, 0, 1, 2]


def test_coordinates(cats):
    coords = cats.coords()
    assert list(coords) == ["cluster", "star", "band", "model_band"]
    assert coords["cluster"] == ["near", "far"]
    assert coords["model_band"] == ["G", "J", "BP", "RP"]
    assert list(cats.coords(star="s", band="b", cluster="c")) == ["c", "s", "b", "model_b"]


def test_selection(cats):
    some = cats.select(cats.mag[:, 0] < 18.5)
    assert some.star.tolist() == ["near: 0", "near: 1", "far: 0", "far: 1"]
    assert cats.select([4, 0, -2]).star.tolist() == ["near: 0", "far: 2", "far: 1"]
    with pytest.raises(ValueError, match="no star of 'far' is chosen"):
        cats.select(cats.mag[:, 0] < 16.0)
    with pytest.raises(ValueError, match=r"a mask must have shape \(5,\), got \(4,\)"):
        cats.select(np.ones(4, dtype=bool))


def test_fluxes():
    one = psp.StarCatalog.from_flux([[100.0], [-2.0]], [[1.5], [1.5]], bands=["TESS"])
    cats = psp.StarCatalog.stack({"a": one, "b": one})
    assert cats.is_flux
    np.testing.assert_array_equal(cats.values.ravel(), [100.0, -2.0, 100.0, -2.0])
    assert cats.measured.all()
    assert np.isnan(cats.mag[1, 0])


def test_pickled(cats):
    again = pickle.loads(pickle.dumps(cats))
    np.testing.assert_array_equal(again.mag, cats.mag)
    assert repr(again) == "StackedCatalog(2 clusters, 5 stars; near: 2, far: 3)"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "catalogs holds no cluster"),
        ([("a", "near"), ("a", "far")], "two catalogs are named 'a'"),
        ({"a": "near", " ": "far"}, "the name of a cluster must be text, got ' '"),
        ({1: "near"}, "the name of a cluster must be text, got 1"),
        ({"a": "near", "b": None}, r"catalogs\['b'\] must be a StarCatalog, got NoneType"),
        ({"a": "near", "b": "flux"}, "'a' holds magnitudes and 'b' fluxes"),
        (7, "catalogs must map names of clusters to catalogs, got int"),
        (["near", "far"], "catalogs must map names of clusters to catalogs, got list"),
    ],
)
def test_clear_errors(near, far, given, message):
    flux = psp.StarCatalog.from_flux([[100.0]], [[1.5]], bands=["TESS"])
    known = {"near": near, "far": far, "flux": flux}

    def catalog(name):
        return known.get(name) if name is None or isinstance(name, str) else name

    if isinstance(given, dict):
        given = {name: catalog(value) for name, value in given.items()}
    elif given and isinstance(given, list) and isinstance(given[0], tuple):
        given = [(name, catalog(value)) for name, value in given]
    elif isinstance(given, list):
        given = [catalog(value) for value in given]
    with pytest.raises(ValueError, match=message):
        psp.StarCatalog.stack(given)


def of_labels(labels):
    n = len(labels)
    return psp.StarCatalog(
        np.full((n, 1), 12.0), np.full((n, 1), 0.01), bands=["TESS"], star=labels
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.array([2**62 + 1, 2**62 + 2], dtype=np.uint64), np.array([0, 1])),
        (np.array([1, 2]), np.array(["1", "2"])),
        (np.array([1, 2]), np.array([0.5, 1.5])),
        (np.array([1, "x"], dtype=object), np.array(["1", "y"], dtype=object)),
    ],
    ids=["long numbers", "text of numbers", "fractions", "objects"],
)
def test_labels_of_different_kinds_stay_apart(first, second):
    """One array of both would round them, or make one text of two."""
    cats = psp.StarCatalog.stack({"a": of_labels(first), "b": of_labels(second)})
    assert cats.star.tolist() == [
        f"{name}: {label}" for name, labels in (("a", first), ("b", second)) for label in labels
    ]


def test_labels_that_become_one():
    catalogs = {
        "a": of_labels(["x", "b: y"]), "a: b": of_labels(["y", "z"]), "c": of_labels(["x", "w"]),
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"two stars have one label .* other names, or the stars"):
        psp.StarCatalog.stack(catalogs)


def test_limits_of_all_clusters(cats):
    limits = psp.MagnitudeLimits(cats["near"].bands[0], 0.0, 12.5)
    assert limits.mask(cats).tolist() == [bool(x) for name in cats for x in limits.mask(cats[name])]


def test_what_only_one_cluster_has(cats):
    with pytest.raises(AttributeError, match=r"has no 'flux', .* such as cats\['near'\]\.flux"):
        _ = cats.flux
    assert not hasattr(cats, "something_else")
    with pytest.raises(AttributeError, match=r"no 'flux', the catalog of each cluster has"):
        psp.UniformField().log_density(cats)
    with pytest.raises(ValueError, match="star='x', band='x'; give different names"):
        cats.coords(star="x", band="x")
    with pytest.raises(ValueError, match="star='x', band='x'; give different names"):
        cats["near"].coords(star="x", band="x")
