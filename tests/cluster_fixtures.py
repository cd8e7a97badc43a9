"""A small cluster with awkward stars, and the likelihood compiled once with every parameter."""

from dataclasses import replace

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.traversal import graph_inputs

import pymc_starpop as psp
from tolerances import assert_close, assert_gradient_close

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "2MASS_J", "2MASS_Ks")
TRUTH = {"feh": 0.07, "log_age": 9.323, "distance_modulus": 9.4, "av": 0.35}
LIMITS = psp.MagnitudeLimits("Gaia_G_EDR3", 9.0, 19.0)
# Coarse: the comparisons are of two ways to compute one integral.
OPTIONS = {"mass_ratio_nodes": 6}


def make_stars(iso):
    """Twelve stars: members, one far from everything, one with one band, a field star."""
    errors = np.random.default_rng(5).uniform(0.01, 0.03, (12, len(BANDS)))
    cat = psp.simulate_cluster(
        iso, n_star=12, bands=BANDS, mag_err=errors, parallax_err=0.05, rng=6,
        binary_fraction=0.4, intrinsic_scatter=0.01, selection=LIMITS, **TRUTH,
    )  # fmt: skip
    mag, parallax = cat.mag.copy(), cat.parallax.copy()
    mag[0] = [12.0, 15.0, 12.0, 10.0]  # 50 sigma and more from everything
    mag[1, 1:] = np.nan
    mag[2, 2] = np.nan
    mag[3] += [0.0, 0.1, -0.1, 0.1]
    parallax[[1, 4]] = np.nan
    return psp.StarCatalog(
        mag, cat.mag_err, bands=BANDS, parallax=parallax, parallax_err=cat.parallax_err
    )


class CatalogGraph:
    """A log-likelihood, and which of its shared variables are the data of a catalog.

    Parameters
    ----------
    build : callable
        From a catalog to its log-likelihood (N,).
    first, second : StarCatalog
        Any two that differ: what differs between the two graphs is the data.
    """

    def __init__(self, build, first, second):
        self._build = build
        self.logp, shared = self._graph(first)
        _, others = self._graph(second)
        # Tables of the isochrones are the same variable in both.
        pairs = enumerate(zip(shared, others, strict=True))
        self._places = [i for i, (a, b) in pairs if a is not b]
        self.variables = [shared[i] for i in self._places]

    def _graph(self, catalog):
        """Log-likelihood and the shared variables that it is computed from, always in one order."""
        logp = self._build(catalog)
        return logp, [x for x in graph_inputs([logp]) if isinstance(x, SharedVariable)]

    def values(self, catalog):
        """What the variables hold for a catalog."""
        _, shared = self._graph(catalog)
        return [shared[i].get_value() for i in self._places]


class Compiled:
    """A likelihood with named scalar parameters: values, Jacobian, and the reference.

    `build` turns a dictionary of parameters, numbers or tensors, into keyword arguments. The Python
    virtual machine runs the same kernels as numba and is compiled in seconds.
    """

    def __init__(self, iso, catalog, names, build, mode="FAST_COMPILE"):
        self.iso, self.catalog, self.names, self.build = iso, catalog, names, build
        variables = {name: pt.dscalar(name) for name in names}
        cotangent = pt.dvector("cotangent")
        logp = psp.cluster_logp(iso, catalog, **build(variables))
        gradient = pt.grad((cotangent * logp).sum(), list(variables.values()))
        self._function = pytensor.function(
            [*variables.values(), cotangent], [logp, *gradient], mode=mode
        )

    def _arguments(self, point):
        return [point[name] for name in self.names]

    def value(self, point):
        return self._function(*self._arguments(point), np.ones(self.catalog.n_star))[0]

    def jacobian(self, point):
        """Derivative of each star's log-likelihood (N,) by name."""
        rows = [
            self._function(*self._arguments(point), unit)[1:]
            for unit in np.eye(self.catalog.n_star)
        ]
        return dict(zip(self.names, np.array(rows).T, strict=True))

    def reference(self, point):
        return psp.reference.cluster_logp(self.iso, self.catalog, **self.build(point))


def full_arguments(v):
    """Everything at once, the distance in pc."""
    arguments = {k: v[k] for k in v if "." not in k}
    return arguments | {
        "imf": psp.Kroupa(low_slope=v["imf.low_slope"], high_slope=v["imf.high_slope"]),
        "corrections": psp.EmpiricalCorrections(
            *(v[f"corrections.{k}"] for k in ("dtdm", "drdm", "msto_smooth", "feh_scale"))
        ),
        "selection": LIMITS,
        **OPTIONS,
    }


FULL_POINT = {
    "feh": 0.071,
    "log_age": 9.3211,
    "distance_pc": 757.0,
    "av": 0.36,
    "rv": 3.2,
    "field_fraction": 0.17,
    "binary_fraction": 0.42,
    "mass_ratio_slope": 0.3,
    "intrinsic_scatter": 0.012,
    "av_scatter": 0.04,
    "parallax_zero_point": -0.02,
    "imf.low_slope": 1.2,
    "imf.high_slope": 2.4,
    "corrections.dtdm": 0.08,
    "corrections.drdm": -0.1,
    "corrections.msto_smooth": 31.0,
    "corrections.feh_scale": 0.45,
}

SINGLE_POINT = {
    "feh": 0.071,
    "log_age": 9.3211,
    "distance_modulus": 9.41,
    "av": 0.36,
    "field_fraction": 0.17,
    "scatter_first": 0.012,
    "scatter_last": 0.03,
}


def single_arguments(v):
    """Single stars, one scatter for each band, no selection."""
    arguments = {k: v[k] for k in v if not k.startswith("scatter")}
    scatter = [v["scatter_first"], 0.01, 0.02, v["scatter_last"]]
    symbolic = isinstance(v["scatter_first"], pt.TensorVariable)
    return arguments | {"intrinsic_scatter": pt.stack(scatter) if symbolic else np.array(scatter)}


EASY = {"feh": 0.0, "log_age": 9.0, "distance_modulus": 8.0}
EASY_LIMITS = psp.MagnitudeLimits("Gaia_G_EDR3", 9.0, 18.0, error=0.03)


def make_easy_catalog(iso):
    """Forty members and eight field stars far off the cluster's sequence."""
    field = psp.UniformField(
        mag_range=(10.0, 16.0),
        color_ranges={("2MASS_J", "Gaia_G_EDR3"): (1.0, 4.0), ("2MASS_Ks", "Gaia_G_EDR3"): (2, 6)},
    )
    cat = psp.simulate_cluster(
        iso, n_star=48, bands=("Gaia_G_EDR3", "2MASS_J", "2MASS_Ks"), mag_err=0.03, rng=13,
        field_fraction=0.17, field=field, selection=EASY_LIMITS, **EASY,
    )  # fmt: skip
    mag = cat.mag.copy()
    mag[[3, 7], 1] = np.nan
    return psp.StarCatalog(mag, cat.mag_err, bands=cat.bands, extra=dict(cat.extra))


def make_easy_model(iso, catalog):
    """A distance, an age and a field fraction to be found."""
    with pm.Model(coords=catalog.coords()) as model:
        psp.ClusterPhotometry(
            "stars", iso, observed=catalog, feh=EASY["feh"], selection=EASY_LIMITS,
            log_age=pm.Uniform("log_age", 8.5, 9.5),
            distance_modulus=pm.Normal("distance_modulus", 8.0, 0.3),
            field_fraction=pm.Beta("field_fraction", 1.5, 5.0),
        )  # fmt: skip
    return model


# Finite-difference weights of fourth order; offsets in steps.
CENTRAL = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}


def arguments(values):
    """Put values with a prefix into what they belong to."""
    plain = {k: v for k, v in values.items() if "." not in k}
    second = {k.split(".")[1]: v for k, v in values.items() if k.startswith("second_population.")}
    if second:
        plain["second_population"] = psp.SecondPopulation(**second)
    if "field.scale" in values:
        plain["field"] = psp.InflatedScatterField(values["field.scale"])
    own = {k.removeprefix("corrections."): v for k, v in values.items() if k.startswith("corr")}
    own.pop("corrections", None)
    if own:
        plain["corrections"] = replace(plain["corrections"], **own)
    return plain


def check_with_slow(iso, catalog, case, also=("log_age",)):
    """Value against the slow likelihood; gradients by what a case adds against differences."""
    values = {**TRUTH, **OPTIONS, **case}
    # What is no parameter.
    fixed = ("age_nodes", "selection", "field", "corrections")
    names = [name for name in (*case, *also) if name not in fixed]
    symbols = {name: _symbol(name, values[name]) for name in names}
    logp = psp.cluster_logp(iso, catalog, **arguments({**values, **symbols}))
    cotangent = np.linspace(0.5, 1.5, catalog.n_star)
    gradient = pt.grad((cotangent * logp).sum(), list(symbols.values()))
    function = pytensor.function([*symbols.values()], [logp, *gradient], mode="FAST_COMPILE")
    got, *exact = function(*[values[name] for name in names])

    def slow(name, value):
        return psp.reference.cluster_logp(iso, catalog, **arguments({**values, name: value}))

    assert_close(got, slow("log_age", values["log_age"]), "pruned")
    assert np.isfinite(got).all()
    for name, slope in zip(names, exact, strict=True):
        for entry in list(np.ndindex(np.shape(values[name])))[-2:]:
            change = np.zeros(np.shape(values[name]))
            # Ages move the atmospheres across the kinks of their tables' second derivatives.
            step = 1e-6 if "log_age" in name else 1e-5
            change[entry] = step
            terms = [w * slow(name, values[name] + k * change) for k, w in CENTRAL.items()]
            numeric = cotangent * sum(terms) / step
            # Of a sum over stars: what counts is the size of its terms.
            scale = max(1.0, np.abs(numeric).sum())
            assert_gradient_close(slope[entry] / scale, numeric.sum() / scale)


def check_along(iso, catalog, case, names, points=({},)):
    """Value against the slow likelihood, gradient by all names along a random direction."""
    values = {**TRUTH, **OPTIONS, **case}
    symbols = {name: _symbol(name, values[name]) for name in names}
    logp = psp.cluster_logp(iso, catalog, **arguments({**values, **symbols}))
    cotangent = np.linspace(0.5, 1.5, catalog.n_star)
    gradient = pt.grad((cotangent * logp).sum(), list(symbols.values()))
    function = pytensor.function([*symbols.values()], [logp, *gradient], mode="FAST_COMPILE")
    rng = np.random.default_rng(4)
    for point in points:
        at = {name: {**values, **point}[name] for name in names}
        # Ages move the atmospheres across the kinks of their tables' second derivatives.
        along = {
            name: rng.normal(0.0, 0.1 if "log_age" in name else 1.0, np.shape(value))
            for name, value in at.items()
        }

        def slow(step, at=at, along=along):
            moved = {name: value + step * along[name] for name, value in at.items()}
            return psp.reference.cluster_logp(iso, catalog, **arguments({**values, **moved}))

        got, *exact = function(*at.values())
        assert_close(got, slow(0.0), "pruned")
        assert np.isfinite(got).all()
        numeric = cotangent * sum(w * slow(1e-5 * k) for k, w in CENTRAL.items()) / 1e-5
        scale = max(1.0, np.abs(numeric).sum())
        slope = sum((g * along[name]).sum() for name, g in zip(names, exact, strict=True))
        assert_gradient_close(slope / scale, numeric.sum() / scale)


def _symbol(name, value):
    return pt.tensor(name, dtype="float64", shape=np.shape(value))
