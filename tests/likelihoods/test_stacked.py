"""Several clusters in one likelihood: the same numbers as one by one, for every parameter."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import pymc_starpop as psp
from pymc_starpop.ops.each_cluster import EachCluster
from tolerances import assert_close

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "2MASS_J", "2MASS_Ks")
# Of two kinds of bands: one cluster has not all, and another order.
FEW = ("2MASS_Ks", "Gaia_G_EDR3", "2MASS_J")
LIMITS = {
    "near": psp.MagnitudeLimits("Gaia_G_EDR3", 9.0, 18.0, error=0.02),
    "far": psp.MagnitudeLimits("Gaia_G_EDR3", 8.0, 19.5, error=0.03),
}
COMPLETE = {
    "near": psp.MagnitudeLimits(
        "Gaia_G_EDR3", 9.0, 18.0, completeness=psp.LogisticCompleteness(0.95, 17.0, 0.4)
    ),
    "far": psp.MagnitudeLimits(
        "Gaia_G_EDR3", 8.0, 19.5, completeness=psp.LogisticCompleteness(0.98, 18.5, 0.3)
    ),
}
# One value for each cluster, and what the two share.
EACH = {
    "feh": [0.05, -0.1],
    "log_age": [9.3, 8.9],
    "distance_modulus": [8.0, 9.5],
    "av": [0.2, 0.6],
    "field_fraction": [0.1, 0.25],
    "binary_fraction": [0.4, 0.3],
    "intrinsic_scatter": [0.012, 0.03],
}
SHARED = {"feh": 0.02, "mass_ratio_slope": 0.4, "rv": 3.2, "binary_fraction": 0.35}
OPTIONS = {"mass_ratio_nodes": 5}


def simulated(iso, seed, n, bands, **truth):
    cat = psp.simulate_cluster(
        iso, n_star=n, bands=bands, mag_err=0.02, parallax_err=0.05, rng=seed,
        selection=psp.MagnitudeLimits("Gaia_G_EDR3", 10.0, 17.5, error=0.02),
        binary_fraction=0.3, **truth,
    )  # fmt: skip
    mag = cat.mag.copy()
    mag[0, [band != "Gaia_G_EDR3" for band in bands]] = np.nan
    mag[1, 0] += 0.0 if mag[1, 0] > 17.0 else 0.4
    return psp.StarCatalog(
        mag, cat.mag_err, bands=bands, parallax=cat.parallax, parallax_err=cat.parallax_err
    )


@pytest.fixture(scope="module")
def measured(coarse):
    """Two clusters, each with all that can be measured."""
    near = simulated(coarse, 3, 7, BANDS, feh=0.05, log_age=9.3, distance_modulus=8.0, av=0.2)
    far = simulated(coarse, 4, 9, FEW, feh=-0.1, log_age=8.9, distance_modulus=9.5, av=0.6)
    return {"near": near, "far": far}


def without(catalog, **changes):
    """The photometry alone, and what is named."""
    columns = {"mag": catalog.mag, "mag_err": catalog.mag_err, "bands": catalog.bands}
    return psp.StarCatalog(**columns | changes)


def spectra(catalog, seed):
    rng = np.random.default_rng(seed)
    n = catalog.n_star
    teff = np.where(np.arange(n) < 3, rng.uniform(4500.0, 6500.0, n), np.nan)
    return without(
        catalog, teff=teff, teff_err=np.full(n, 150.0), feh=rng.normal(0.0, 0.1, n),
        feh_err=np.full(n, 0.1),
    )  # fmt: skip


def fluxes(catalog):
    flux = 10.0 ** (0.4 * (22.5 - catalog.mag))
    return psp.StarCatalog.from_flux(flux, 0.02 * flux, bands=catalog.bands)


def colors(catalog):
    index = [catalog.bands.index(band) for band in ("Gaia_G_EDR3", "2MASS_J", "2MASS_Ks")]
    g, j, k = catalog.mag[:, index].T
    mag = np.column_stack([g, j - k])
    return psp.StarCatalog(
        mag, np.full_like(mag, 0.02), bands=("Gaia_G_EDR3", "2MASS_J - 2MASS_Ks")
    )


CATALOGS = {
    "photometry": lambda name, cat: without(cat),
    "parallaxes": lambda name, cat: cat,
    "parallaxes of one": lambda name, cat: cat if name == "near" else without(cat),
    "membership priors": lambda name, cat: without(
        cat, membership_prior=np.linspace(0.3, 0.9, cat.n_star)
    ),
    "spectra of one": lambda name, cat: spectra(cat, 8) if name == "far" else without(cat),
    "fluxes": lambda name, cat: fluxes(cat),
    "colors": lambda name, cat: colors(cat),
    "colors of one": lambda name, cat: colors(cat) if name == "far" else without(cat),
}


def placed(values):
    """Keyword arguments from values with a prefix."""
    plain = {name: value for name, value in values.items() if "." not in name}

    def of(prefix):
        found = {n.split(".", 1)[1]: v for n, v in values.items() if n.startswith(f"{prefix}.")}
        return found or None

    if of("imf"):
        plain["imf"] = psp.Kroupa(**of("imf"))
    if of("corrections"):
        plain["corrections"] = psp.EmpiricalCorrections(**of("corrections"))
    if of("second_population"):
        plain["second_population"] = psp.SecondPopulation(**of("second_population"))
    if of("field"):
        plain["field"] = psp.InflatedScatterField(**of("field"))
    return plain


def of_cluster(name, value, place, cats):
    """What a parameter of all clusters is for one of them."""
    cluster = cats.cluster_names[place]
    catalog = cats[cluster]
    bands = [cats.model_bands.index(band) for band in catalog.model_bands]
    size = np.shape(value) if not hasattr(value, "type") else value.type.shape
    if not size:
        return value
    if size == (cats.n_star,):
        return value[cats.rows(cluster)]
    if size == (2,):
        return value[place]
    return value[bands] if len(size) == 1 else value[place][bands]


def check(iso, cats, numbers, options=None, mode="FAST_COMPILE"):
    """Compare value and every gradient with the sum of two single clusters."""
    options = OPTIONS | (options or {})
    symbols = {
        name: pt.tensor(name, dtype="float64", shape=np.shape(value))
        for name, value in numbers.items()
    }

    def pick(value, cluster):
        if isinstance(value, np.ndarray):
            return value[cats.rows(cluster)]
        return value[cluster] if isinstance(value, dict) else value

    logp = psp.cluster_logp(iso, cats, **placed(symbols), **options)
    singles = [
        psp.cluster_logp(
            pick(iso, cluster), cats[cluster],
            **placed({n: of_cluster(n, v, place, cats) for n, v in symbols.items()}),
            **{name: pick(value, cluster) for name, value in options.items()},
        )
        for place, cluster in enumerate(cats.cluster_names)
    ]  # fmt: skip
    weights = np.linspace(0.5, 1.5, cats.n_star)
    inputs = list(symbols.values())
    point = [np.asarray(value, dtype=float) for value in numbers.values()]
    found = {}
    for which, terms in (("stack", logp), ("sum", pt.concatenate(singles))):
        gradient = pt.grad((weights * terms).sum(), inputs)
        # The sum of singles is the reference: the Python virtual machine in any case.
        how = mode if which == "stack" else "FAST_COMPILE"
        found[which] = pytensor.function(inputs, [terms, *gradient], mode=how)(*point)
    assert np.isfinite(found["sum"][0]).all()
    for name, got, expected in zip(["logp", *numbers], *found.values(), strict=True):
        purpose = "stacked" if name == "logp" else "stacked_gradient"
        scale = max(1.0, np.abs(expected).max())
        assert got.shape == expected.shape
        assert_close(got / scale, expected / scale, purpose)
        assert name == "logp" or np.any(expected != 0.0), f"nothing depends on {name}"


ZERO_POINTS = [[0.01, -0.02, 0.03, 0.0], [0.02, 0.01, 0.0, -0.01]]
SCATTER = [[0.01, 0.02, 0.03, 0.04], [0.05, 0.04, 0.03, 0.02]]
BY_BAND = {"zero_points": ZERO_POINTS[0], "intrinsic_scatter": SCATTER[0]}
BY_CLUSTER_AND_BAND = {"zero_points": ZERO_POINTS, "intrinsic_scatter": SCATTER}
AV_OF_STARS = {"av": list(np.linspace(0.1, 0.7, 16))}
SECOND = {"second_population.fraction": [0.2, 0.3], "second_population.feh": 0.15}
THREE_SCATTERS = {
    "av_scatter": [0.05, 0.1], "distance_modulus_scatter": 0.05, "log_age_scatter": [0.02, 0.04]
}  # fmt: skip
COMPLETE_NEAR = {"selection": {"near": COMPLETE["near"], "far": None}}
FIELD_OF_EACH = {"field": {"near": psp.InflatedScatterField(4.0), "far": psp.UniformField()}}


def without_parameter(name, **instead):
    return {k: v for k, v in EACH.items() if k != name} | instead


# Catalogs, parameters, options; some are the small version of all.
SOME = {
    "shared, and parallaxes of one": ("parallaxes of one", EACH | SHARED, {}),
    "by cluster and band": ("photometry", EACH | BY_CLUSTER_AND_BAND, {"selection": COMPLETE}),
    "inflated field": ("colors", EACH | {"field.scale": [4.0, 6.0]}, {"selection": LIMITS}),
}
ALL = {
    "everything by cluster": ("photometry", EACH, {}),
    "one selection": ("parallaxes of one", EACH | SHARED, {"selection": LIMITS["far"]}),
    "extinction of each star": ("spectra of one", EACH | AV_OF_STARS, {}),
    "selection of each": ("parallaxes", EACH, {"selection": LIMITS}),
    "completeness of one": ("photometry", EACH, COMPLETE_NEAR),
    "parallax zero points": ("parallaxes", EACH | {"parallax_zero_point": [-0.02, 0.01]}, {}),
    "membership priors": ("membership priors", EACH, {}),
    "fluxes": ("fluxes", EACH, {"selection": LIMITS}),
    "by band": ("photometry", EACH | BY_BAND, {}),
    "extinction of each star in flux": ("fluxes", EACH | AV_OF_STARS, {}),
    "scatter in extinction": ("photometry", EACH | {"av_scatter": [0.05, 0.1]}, {}),
    "depth": ("parallaxes", EACH | {"distance_modulus_scatter": [0.05, 0.1]}, {}),
    "spread of ages": ("photometry", EACH | {"log_age_scatter": [0.02, 0.04]}, {"age_nodes": 3}),
    "distances in pc": (
        "photometry", without_parameter("distance_modulus", distance_pc=[400.0, 800.0]), {}
    ),
    "second population": ("photometry", EACH | SECOND, {}),
    "mass function": (
        "photometry", EACH | {"imf.low_slope": [1.2, 1.4], "imf.high_slope": 2.5}, {}
    ),
    "corrections": (
        "photometry", EACH | {"corrections.dtdm": [0.08, 0.1], "corrections.msto_smooth": 31.0}, {}
    ),
    "colors of one": ("colors of one", EACH | {"intrinsic_scatter": [0.02, 0.03]}, {}),
    "scatter with a shape": (
        "spectra of one", EACH | {"grey_scatter": [0.02, 0.05], "log_teff_scatter": 0.004}, {}
    ),
    "three ways to differ": ("photometry", EACH | THREE_SCATTERS, {"age_nodes": 3}),
    "chi-square field": ("photometry", EACH, {"field": psp.ChiSquareField()}),
    "field of each": ("photometry", EACH, FIELD_OF_EACH),
    "densities of the field": ("photometry", EACH, {"field": np.linspace(-9.0, -6.0, 16)}),
    "no binaries": ("photometry", without_parameter("binary_fraction"), {}),
    "no field": ("photometry", without_parameter("field_fraction"), {}),
}  # fmt: skip
CASES = SOME | ALL


@pytest.mark.parametrize("case", [*SOME, *(pytest.param(n, marks=pytest.mark.slow) for n in ALL)])
def test_a_stack_is_the_sum_of_its_clusters(coarse, measured, case):
    catalogs, numbers, options = CASES[case]
    cats = psp.StarCatalog.stack({n: CATALOGS[catalogs](n, c) for n, c in measured.items()})
    check(coarse, cats, numbers, options)


def test_a_cluster_whose_number_is_zero_does_without(coarse, measured):
    cats = psp.StarCatalog.stack({name: without(c) for name, c in measured.items()})
    shared = {"feh": 0.0, "log_age": 9.1, "binary_fraction": 0.3} | OPTIONS
    moduli, scatter = [8.0, 9.5], [0.0, 0.1]
    found = psp.cluster_logp(coarse, cats, distance_modulus=moduli, av_scatter=scatter, **shared)
    singles = [
        psp.cluster_logp(coarse, cats[name], distance_modulus=mu, av_scatter=width, **shared)
        for name, mu, width in zip(cats, moduli, scatter, strict=True)
    ]
    got, expected = (x.eval(mode="FAST_COMPILE") for x in (found, pt.concatenate(singles)))
    assert_close(got, expected, "stacked")


def kernel_nodes(function):
    return [type(n.op).__name__ for n in function.maker.fgraph.apply_nodes
            if isinstance(n.op, EachCluster)]  # fmt: skip


def test_one_node_evaluates_all_clusters_of_a_kind(coarse, measured):
    """In numba, with other numbers of stars and other cuts; the kernel is compiled once."""
    near = without(measured["near"])
    cats = psp.StarCatalog.stack({
        "a": near, "b": near.select(np.arange(4)), "c": near.select(np.arange(2, 7))
    })  # fmt: skip
    limits = {
        name: psp.MagnitudeLimits("Gaia_G_EDR3", faint=18.0 + k, error=0.02)
        for k, name in enumerate(cats)
    }
    feh, ages = pt.dscalar("feh"), pt.dvector("log_age")
    logp = psp.cluster_logp(
        coarse, cats, feh=feh, log_age=ages, distance_modulus=[8.0, 8.1, 8.2], selection=limits,
        field_fraction=0.1, binary_fraction=0.3, **OPTIONS,
    )  # fmt: skip
    total = logp.sum()
    outputs = [logp, *pt.grad(total, [feh, ages])]
    point = (0.02, np.array([9.3, 9.2, 9.25]))
    found = {}
    for mode in ("NUMBA", "FAST_COMPILE"):
        function = pytensor.function([feh, ages], outputs, mode=mode)
        if mode == "NUMBA":
            assert kernel_nodes(function) == ["EachClusterValueAndGradient"]
        found[mode] = function(*point)
    for got, expected in zip(*found.values(), strict=True):
        assert_close(got, expected, "stacked")


def test_outside_the_support_only_its_own_stars_have_none(coarse, measured):
    cats = psp.StarCatalog.stack({name: without(c) for name, c in measured.items()})
    ages = pt.dvector("log_age", shape=(2,))
    logp = psp.cluster_logp(
        coarse, cats, feh=0.0, log_age=ages, distance_modulus=[8.0, 9.5], field_fraction=0.1
    )
    function = pytensor.function([ages], [logp, pt.grad(logp.sum(), ages)], mode="FAST_COMPILE")
    value, gradient = function([9.3, 12.0])
    assert np.isfinite(value[:7]).all()
    assert (value[7:] == -np.inf).all()
    assert gradient[0] != 0.0
    assert gradient[1] == 0.0


def test_second_derivatives_are_refused(coarse, measured):
    cats = psp.StarCatalog.stack({name: without(c) for name, c in measured.items()})
    feh = pt.dscalar("feh")
    logp = psp.cluster_logp(
        coarse, cats, feh=feh, log_age=9.0, distance_modulus=[8.0, 9.5], field_fraction=0.1
    )
    with pytest.raises(NotImplementedError, match="second derivatives are not available"):
        pt.grad(pt.grad(logp.sum(), feh), feh)
