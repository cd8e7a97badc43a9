"""What several clusters in one likelihood refuse, and how they say it."""

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr

import pymc_starpop as psp

BANDS = ("Gaia_G_EDR3", "2MASS_J", "2MASS_Ks")
LIMITS = psp.MagnitudeLimits("Gaia_G_EDR3", 5.0, 16.0, error=0.02)
VALID = {"feh": 0.0, "log_age": [9.0, 9.3, 8.5], "distance_modulus": [8.0, 9.0, 7.0]}


def catalog(n, bands=BANDS, **changes):
    mag = np.linspace(12.0, 15.0, n)[:, None] - 0.5 * np.arange(len(bands))
    return psp.StarCatalog(mag, np.full(mag.shape, 0.02), bands=bands, **changes)


@pytest.fixture
def cats():
    """Three clusters in three bands: lengths of clusters and bands are equal."""
    return psp.StarCatalog.stack({"a": catalog(4), "b": catalog(5), "c": catalog(2)})


def logp(iso, cats, **changes):
    return psp.cluster_logp(iso, cats, **VALID | changes)


CASES = {
    "a wrong length": (
        {"log_age": [9.0, 9.3]},
        r"log_age has the shape \(2,\) for 3 clusters, 11 stars, 3 bands; give one number, or one "
        r"for each cluster",
    ),
    "a matrix": ({"log_age": np.full((3, 3), 9.0)}, r"log_age has the shape \(3, 3\)"),
    "a wrong length of extinctions": (
        {"av": np.full(5, 0.1)},
        r"av has the shape \(5,\) .* one for each cluster or one for each star",
    ),
    "clusters or bands": (
        {"zero_points": [0.0, 0.01, 0.02]},
        r"zero_points has the shape \(3,\), which could mean one for each cluster or one for each "
        r"band, .* write x\[:, None\] for one value for each cluster and x\[None, :\]",
    ),
    "a number outside": (
        {"log_age": [9.0, 12.0, 8.5]},
        r"cluster 'b': log_age=12.0 is out of range",
    ),
    "not a number": ({"feh": [0.0, float("nan"), 0.1]}, r"cluster 'b': feh=nan is out of range"),
    "a share outside": (
        {"field_fraction": [0.1, 0.2, 1.2]},
        r"cluster 'c': field_fraction=1.2 is out of range",
    ),
    "a mapping that lacks one": (
        {"selection": {"a": LIMITS, "b": LIMITS}},
        r"selection lacks c; as a mapping it needs one value for each of the clusters a, b, c",
    ),
    "a mapping with an unknown one": (
        {"field": {name: psp.UniformField() for name in ("a", "b", "c", "m67")}},
        r"field has unknown m67",
    ),
    "a mapping of parameters": (
        {"av": {"a": 0.1}},
        r"^av must be a number, a PyTensor expression or a vector, got a mapping; give one value "
        r"for each cluster in the order of the stack, a, b, c",
    ),
    "mass functions by name": (
        {"imf": {"a": psp.Kroupa()}},
        r"^imf must be a mass function, .* what differs between them are its parameters",
    ),
    "corrections by name": ({"corrections": {"a": None}}, r"^corrections must be None, psp"),
    "populations by name": ({"second_population": {}}, r"^second_population must be None or"),
    "options by name": (
        {"eep_max": {"a": 600, "b": 600, "c": 600}},
        r"clusters 'a', 'b', 'c': eep_max=\{'a': 600, .* give another eep_max or leave it out",
    ),
    "the same in all": (
        {"age_nodes": 4}, r"clusters 'a', 'b', 'c': age_nodes=4 is not possible: expected an odd"
    ),
    "the same in two": (
        {"log_age": [9.0, 12.0, 12.0]}, r"clusters 'b', 'c': log_age=12.0 is out of range"
    ),
    "two faults": ({"log_age": [9.0, 12.0, 13.0]}, r"cluster 'b': log_age=12.0 is out of range"),
    "scales of a field of one cluster": (
        {"field": {"a": psp.InflatedScatterField(pt.as_tensor([3.0, 4.0, 5.0])),
                   "b": psp.InflatedScatterField(3.0), "c": psp.UniformField()}},
        r"cluster 'a': the scale of an InflatedScatterField of a mapping must be one number",
    ),
    "constant densities of one cluster's other stars": (
        {"field": {"a": np.full(4, -3.0), "b": psp.FieldDensity(pt.as_tensor(np.full(4, -3.0))),
                   "c": psp.UniformField()}, "field_fraction": 0.1},
        r"cluster 'b': field holds 4 log densities for 5 stars",
    ),
    "a density that is no number": (
        {"field": {"a": np.full(4, -3.0), "b": [np.nan] * 5, "c": psp.UniformField()}},
        r"cluster 'b': .* must be finite or -inf, got nan in row 0",
    ),
    "ragged rows": ({"feh": [[0.0], [0.0, 0.1], [0.0]]}, r"feh must be numbers in rows of one len"),
    "text in a vector": ({"av": ["x"] * 11}, r"av must be a number or a PyTensor expression"),
    "nothing in a vector": ({"feh": [0.0, None, 0.0]}, r"feh must be a number or a PyTensor expr"),
    "no scatter": ({"log_age_scatter": None}, r"log_age_scatter must be a number or a PyTensor"),
    "a share in words": (
        {"second_population": psp.SecondPopulation("x", feh=0.1)},
        r"second_population.fraction must be a number",
    ),
    "a series in another order": (
        {"feh": pd.Series({"c": 0.2, "a": 0.0, "b": 0.1})}, r"feh .* in another order, c, a, b"
    ),
    "a series with labels of others": (
        {"feh": pd.Series({"a": 0.2, "b": 0.0, "m67": 0.1})},
        r"feh has the dimension 'index' with the labels a, b, m67, expected those of the clusters, "
        r"a, b, c, or of the bands",
    ),
    "an array with labels of others": (
        {"feh": xr.DataArray([0.0, 0.1, 0.2], dims="run", coords={"run": ["x", "y", "z"]})},
        r"feh has the dimension 'run' with the labels x, y, z, expected those of the clusters",
    ),
    "extinctions with labels of others": (
        {"av": pd.Series(np.full(11, 0.1), index=list("abcdefghijk"))},
        r"av has the dimension 'index' with the labels a, b, c, d, ..., expected those of",
    ),
    "a matrix of one entry": (
        {"intrinsic_scatter": [[0.02]]}, r"intrinsic_scatter has the shape \(1, 1\) for"
    ),
    "a mapping that lacks one and has another": (
        {"selection": {"a": LIMITS, "b": LIMITS, "C": LIMITS}},
        r"selection lacks c and has unknown C; as a mapping",
    ),
    "fields in a list": (
        {"field": [psp.UniformField()] * 3},
        r"clusters 'a', 'b', 'c': field must be .* or to several clusters a mapping of models by",
    ),
    "scales of another length": (
        {"field": psp.InflatedScatterField(pt.as_tensor([3.0, 4.0]))},
        r"field.scale has the shape \(2,\) for 3 clusters",
    ),
    "a selection that a star does not pass": (
        {"selection": {"a": LIMITS, "b": psp.MagnitudeLimits("Gaia_G_EDR3", 5.0, 14.0), "c": None}},
        r"cluster 'b': selection says that every star",
    ),
    "densities of other stars": (
        {"field": np.full(5, -3.0)},
        r"field holds 5 log densities for 11 stars of 3 clusters",
    ),
    "densities of one cluster's other stars": (
        {
            "field": {"a": np.full(4, -3.0), "b": np.full(4, -3.0), "c": psp.UniformField()},
            "field_fraction": 0.1,
        },
        r"cluster 'b': field holds 4 log densities for 5 stars",
    ),
    "labels in another order": (
        {"feh": xr.DataArray([0.0, 0.1, 0.2], dims="cluster", coords={"cluster": ["b", "a", "c"]})},
        r"feh has the dimension 'cluster' with the labels of the clusters in another order",
    ),
    "labels of others": (
        {"feh": xr.DataArray([0.0, 0.1, 0.2], dims="cluster", coords={"cluster": [1, 2, 3]})},
        r"feh has the dimension 'cluster' with the labels 1, 2, 3, expected those of the clusters",
    ),
    "a vector of bands for [Fe/H]": (
        {"feh": xr.DataArray([0.0, 0.1, 0.2], dims="band", coords={"band": list(BANDS)})},
        r"feh has the shape \(3,\), by band, for 3 clusters",
    ),
    "two distances": (
        {"distance_pc": 400.0}, r"clusters 'a', 'b', 'c': give either distance_modulus"
    ),
    "an unknown name": ({"metallicity": 0.0}, r"unknown argument\(s\) metallicity"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_errors(coarse, cats, case):
    changes, message = CASES[case]
    with pytest.raises((ValueError, TypeError), match=message):
        logp(coarse, cats, **changes)


def test_bands_that_no_isochrone_has(coarse):
    cats = psp.StarCatalog.stack({"a": catalog(4), "b": catalog(5, ("Gaia_G_EDR3", "XYZ"))})
    with pytest.raises(ValueError, match=r"cluster 'b': .*XYZ"):
        psp.cluster_logp(coarse, cats, feh=0.0, log_age=9.0, distance_modulus=8.0)


def test_fluxes_and_magnitudes():
    flux = psp.StarCatalog.from_flux([[100.0]], [[1.5]], bands=["TESS"])
    with pytest.raises(ValueError, match=r"'a' holds magnitudes and 'b' fluxes"):
        psp.StarCatalog.stack({"a": catalog(4), "b": flux})


def test_no_cluster_and_two_of_a_name():
    with pytest.raises(ValueError, match=r"no cluster"):
        psp.StarCatalog.stack({})
    with pytest.raises(ValueError, match=r"two catalogs are named 'a'"):
        psp.StarCatalog.stack([("a", catalog(4)), ("a", catalog(5))])


def test_an_empty_cluster(cats):
    with pytest.raises(ValueError, match=r"no star"):
        psp.StarCatalog.stack({"a": catalog(4), "b": catalog(5).select([])})


def test_a_prior_of_one_cluster_outside(coarse, cats):
    with pm.Model(coords=cats.coords()):
        age = pm.Normal("log_age", [9.0, 9.3, 10.3], 0.05, dims="cluster")
        with pytest.warns(UserWarning, match=r"cluster 'c': log_age: .* of the prior of log_age"):
            logp(coarse, cats, log_age=age)


def test_a_prior_of_several_clusters_outside(coarse, cats):
    with pm.Model(coords=cats.coords()):
        age = pm.Normal("log_age", [12.0, 9.3, 13.0], 0.05, dims="cluster")
        with pytest.raises(ValueError, match=r"clusters 'a', 'c': log_age: .* lies outside"):
            logp(coarse, cats, log_age=age)


def test_values_without_labels(coarse, cats):
    """Labels that only count are none; they are taken by place, as those of the clusters are."""
    wanted = logp(coarse, cats, feh=[0.0, 0.1, 0.2]).eval(mode="FAST_COMPILE")
    for feh in (pd.Series([0.0, 0.1, 0.2]), pd.Series({"a": 0.0, "b": 0.1, "c": 0.2})):
        np.testing.assert_array_equal(logp(coarse, cats, feh=feh).eval(mode="FAST_COMPILE"), wanted)


def test_labels_of_one_cluster(coarse):
    """They are looked at for the catalog of one cluster, too."""
    given = {"feh": 0.0, "log_age": 9.0, "distance_modulus": 8.0}
    shift = pd.Series([0.0, 0.01, 0.02], index=BANDS)
    found = psp.cluster_logp(coarse, catalog(4), zero_points=shift, **given)
    wanted = psp.cluster_logp(coarse, catalog(4), zero_points=shift.to_numpy(), **given)
    np.testing.assert_array_equal(*(x.eval(mode="FAST_COMPILE") for x in (found, wanted)))
    with pytest.raises(
        ValueError, match=r"zero_points has .* labels of the bands in another order"
    ):
        psp.cluster_logp(coarse, catalog(4), zero_points=shift[::-1], **given)
    with pm.Model(coords={"band": BANDS[::-1]}):
        scatter = pm.HalfNormal("scatter", 0.02, dims="band")
        with pytest.raises(ValueError, match=r"intrinsic_scatter has .* in another order"):
            psp.cluster_logp(coarse, catalog(4), intrinsic_scatter=scatter, **given)


@pytest.mark.parametrize("dims", ["cluster", "band"])
def test_dimensions_of_the_model_say_which(coarse, cats, dims):
    with pm.Model(coords=cats.coords()):
        shift = pm.Normal("zero_points", 0.0, 0.01, dims=dims)
        found = logp(coarse, cats, zero_points=shift)
    column = shift[:, None] if dims == "cluster" else shift[None, :]
    written = logp(coarse, cats, zero_points=column)
    point = {shift: np.array([0.01, -0.02, 0.03])}
    assert np.array_equal(
        found.eval(point, mode="FAST_COMPILE"), written.eval(point, mode="FAST_COMPILE")
    )
    labeled = xr.DataArray(point[shift], dims=dims, coords={dims: cats.coords()[dims]})
    numbers = logp(coarse, cats, zero_points=labeled).eval(mode="FAST_COMPILE")
    np.testing.assert_allclose(numbers, found.eval(point, mode="FAST_COMPILE"), rtol=1e-12)


@pytest.mark.parametrize("value", [-3.0, 0.0, np.nan, [3.0, -1.0]])
def test_constant_scales_are_checked(value):
    with pytest.raises(ValueError, match="scale must be a positive finite number"):
        psp.InflatedScatterField(pt.as_tensor(np.array(value)))


def test_densities_that_are_no_numbers_are_refused_as_constants():
    with pytest.raises(ValueError, match="must be finite or -inf, got nan in row 1"):
        psp.FieldDensity(pt.as_tensor(np.array([-3.0, np.nan])))


@pytest.mark.parametrize("mode", ["FAST_COMPILE", "NUMBA"])
def test_lengths_that_are_known_late(coarse, mode):
    """No number comes where an expression turns out to be too short or too long."""
    rng = np.random.default_rng(2)

    def varied(n):
        mag = rng.uniform(12.0, 15.0, (n, 3))
        return psp.StarCatalog(mag, np.full(mag.shape, 0.02), bands=BANDS)

    cats = psp.StarCatalog.stack({"a": varied(4), "b": varied(5), "c": varied(2)})
    vector = pt.dvector("vector")
    options = {"mass_ratio_nodes": 5, "field_fraction": 0.1}
    of_one = {"a": psp.UniformField(), "b": vector, "c": psp.UniformField()}
    cases = {
        "feh": (logp(coarse, cats, feh=vector, **options), 3, "feh must have 3 values"),
        "all": (logp(coarse, cats, field=vector, **options), 11, "field must have 11 values"),
        "one": (logp(coarse, cats, field=of_one, **options), 5, "cluster 'b': field must have 5"),
        "single": (
            psp.cluster_logp(
                coarse, cats["b"], feh=0.0, log_age=9.0, distance_modulus=8.0, field=vector,
                **options,
            ),
            5, "field: its length is not the number of stars",
        ),
    }  # fmt: skip
    for found, length, message in cases.values():
        function = pytensor.function([vector], found, mode=mode)
        assert np.isfinite(function(np.full(length, -0.1))).all()
        for other in (length - 1, length + 1):
            with pytest.raises(ValueError, match=message):
                function(np.full(other, -0.1))


def test_extinctions_without_length(coarse, cats):
    message = r'av has the shape \(\?,\), .* dims="star"\), or a length'
    with pytest.raises(ValueError, match=message):
        logp(coarse, cats, av=pt.dvector("av"))


def test_clusters_of_the_model_in_another_order(coarse, cats):
    with (
        pm.Model(coords=cats.coords() | {"cluster": ["b", "a", "c"]}),
        pytest.raises(ValueError, match=r"the model's coordinate 'cluster' has 3 labels that are"),
    ):
        psp.ClusterPhotometry("stars", coarse, observed=cats, **VALID)


def test_stars_along_the_clusters(coarse, cats):
    with (
        pm.Model(coords=cats.coords()),
        pytest.raises(ValueError, match="'cluster' is the dimension of the clusters"),
    ):
        psp.ClusterPhotometry("stars", coarse, observed=cats, dims=("cluster", "band"), **VALID)


def test_an_expression_without_length(coarse, cats):
    scatter = pt.dvector("scatter")
    with pytest.raises(ValueError, match=r"intrinsic_scatter has the shape \(\?,\), which could"):
        logp(coarse, cats, intrinsic_scatter=scatter)


@pytest.mark.parametrize(
    "changes",
    [
        {"feh": [0.0, 0.1]},
        {"imf": psp.Kroupa(high_slope=pt.dvector())},
        {"corrections": psp.EmpiricalCorrections(dtdm=pt.dvector())},
        {"second_population": psp.SecondPopulation([0.2, 0.3], feh=0.1)},
        {"field": psp.InflatedScatterField(pt.dvector()), "field_fraction": 0.1},
    ],
)
def test_vectors_for_one_cluster_name_the_stack(coarse, changes):
    arguments = {"feh": 0.0, "log_age": 9.0, "distance_modulus": 8.0} | changes
    with pytest.raises(ValueError, match=r"must be a scalar.*StarCatalog\.stack"):
        psp.cluster_logp(coarse, catalog(4), **arguments)


@pytest.mark.parametrize("make", [psp.Kroupa, psp.EmpiricalCorrections])
def test_vectors_of_numbers_in_holders_are_tensors(make):
    name = "high_slope" if make is psp.Kroupa else "dtdm"
    with pytest.raises(ValueError, match=f"{name} must be a number, a scalar tensor, or for sev"):
        make(**{name: np.array([0.1, 0.2])})


def test_ages_of_two_kinds(coarse, cats):
    spread = psp.AgeDistribution([8.9, 9.0, 9.1], [0.3, 0.4, 0.3])
    ages = {"a": spread, "b": None, "c": spread}
    with pytest.raises(ValueError, match="age_distribution is None for b, expected a distribution"):
        logp(coarse, cats, log_age=None, age_distribution=ages)


def test_catalogs_that_were_not_stacked(coarse):
    with pytest.raises(ValueError, match=r"got dict; stack several catalogs with psp\.StarCatalog"):
        logp(coarse, {"a": catalog(4), "b": catalog(5)})
    with pytest.raises(ValueError, match=r"got list; stack several catalogs with psp\.StarCatalog"):
        logp(coarse, [catalog(4), catalog(5)])
    cats = psp.StarCatalog.stack({"a": catalog(4)})
    with pytest.raises(ValueError, match=r"must be a StarCatalog, got StackedCatalog; of a stack"):
        psp.reference.cluster_logp(coarse, cats, **VALID)
    with pytest.raises(ValueError, match="holds no cluster"):
        psp.StackedCatalog({})


@pytest.mark.parametrize("name", ["iso", "selection", "field", "age_distribution"])
def test_a_mapping_for_one_cluster(coarse, name):
    values = {"iso": coarse, "log_age": 9.0, "feh": 0.0, "distance_modulus": 8.0}
    values[name] = {"a": values.get(name)}
    with pytest.raises(ValueError, match=f"{name} is a mapping by cluster, but catalog is a StarC"):
        psp.cluster_logp(catalog=catalog(4), **values)
    with pm.Model(), pytest.raises(ValueError, match=f"^{name} is a mapping by cluster"):
        psp.ClusterPhotometry("stars", observed=catalog(4), **values)
