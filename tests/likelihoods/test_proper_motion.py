"""The log density of the proper motions of members, and what it does for membership."""

from dataclasses import replace

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr
from scipy.stats import multivariate_normal

import pymc_starpop as psp
from tolerances import assert_close

NAN = np.nan


@pytest.fixture
def cat(rng):
    n = 7
    measured = np.arange(n) != 3
    return psp.StarCatalog(
        np.full((n, 1), 15.0), np.full((n, 1), 0.01), ["TESS"],
        pmra=np.where(measured, rng.normal(-0.8, 0.3, n), NAN), pmra_err=rng.uniform(0.1, 0.3, n),
        pmdec=np.where(measured, rng.normal(-2.6, 0.3, n), NAN), pmdec_err=rng.uniform(0.1, 0.3, n),
        pm_corr=rng.uniform(-0.9, 0.9, n),
    )  # fmt: skip


def slow(cat, pmra, pmdec, dispersion):
    """One star after the other, with SciPy."""
    logp = np.zeros(cat.n_star)
    for i in range(cat.n_star):
        if np.isfinite(cat.pmra[i]):
            both = cat.pm_corr[i] * cat.pmra_err[i] * cat.pmdec_err[i]
            noise = np.array([[cat.pmra_err[i] ** 2, both], [both, cat.pmdec_err[i] ** 2]])
            members = multivariate_normal([pmra, pmdec], noise + dispersion**2 * np.eye(2))
            logp[i] = members.logpdf([cat.pmra[i], cat.pmdec[i]])
    return logp


@pytest.mark.parametrize("dispersion", [0.0, 0.25])
def test_against_scipy(cat, dispersion):
    found = psp.proper_motion_logp(cat, -0.8, -2.6, dispersion).eval()
    assert_close(found, slow(cat, -0.8, -2.6, dispersion), "kernel")
    assert found[3] == 0.0


def test_gradients(cat):
    at = {name: pt.dscalar(name) for name in ("pmra", "pmdec", "dispersion")}
    logp = psp.proper_motion_logp(cat, **at)
    function = pytensor.function([*at.values()], [*pt.jacobian(logp, [*at.values()])])
    point, step = np.array([-0.7, -2.4, 0.2]), 1e-5
    for k, exact in enumerate(function(*point)):
        ends = [slow(cat, *(point + sign * step * np.eye(3)[k])) for sign in (1, -1)]
        numeric = (ends[0] - ends[1]) / (2.0 * step)
        np.testing.assert_allclose(exact, numeric, rtol=1e-6, atol=1e-6)
        assert exact[3] == 0.0


def test_outside_the_support(cat):
    found = psp.proper_motion_logp(cat, -0.8, -2.6, pt.as_tensor(1.0) * pt.dscalar("s"))
    s = next(v for v in pytensor.graph.traversal.explicit_graph_inputs([found]))
    values = found.eval({s: -0.1})
    assert np.all(values[np.arange(7) != 3] == -np.inf)
    assert values[3] == 0.0


def test_vectors_of_stars(cat):
    ra, sigma = np.linspace(-1.0, -0.6, 7), np.linspace(0.1, 0.3, 7)
    found = psp.proper_motion_logp(cat, ra, -2.6, sigma).eval()
    expected = [slow(cat, ra[i], -2.6, sigma[i])[i] for i in range(7)]
    assert_close(found, expected, "kernel")
    assert psp.proper_motion_logp(cat, pt.dvector("ra"), -2.6).ndim == 1


def test_of_several_clusters(cat):
    bare = psp.StarCatalog([[12.0], [13.0]], [[0.1], [0.1]], ["TESS"])
    cats = psp.StarCatalog.stack({"a": cat, "bare": bare, "b": cat.select([0, 1, 2])})
    ra, sigma = np.array([-0.8, 0.0, 3.0]), np.array([0.1, 0.2, 0.3])
    for given in ((ra, sigma), (pt.as_tensor(ra), pt.as_tensor(sigma))):
        found = psp.proper_motion_logp(cats, given[0], -2.6, given[1]).eval()
        assert_close(found[:7], slow(cats["a"], -0.8, -2.6, 0.1), "kernel")
        assert found[7:9].tolist() == [0.0, 0.0]
        assert_close(found[9:], slow(cats["b"], 3.0, -2.6, 0.3), "kernel")
    one = psp.proper_motion_logp(cats, -0.8, -2.6).eval()
    assert_close(one[:7], slow(cat, -0.8, -2.6, 0.0), "kernel")
    with pytest.raises(ValueError, match="pmra has the shape"):
        psp.proper_motion_logp(cats, np.zeros(4), -2.6)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dispersion": -0.1}, "dispersion must be finite and not negative .mas/yr., got -0.1"),
        ({"pmra": NAN}, "pmra must be finite .mas/yr., got nan"),
        ({"pmdec": np.zeros(3)}, r"pmdec has the shape .3,. for 7 stars"),
        ({"pmra": "x"}, "pmra must be a number or a PyTensor expression"),
        ({"pmra": pt.dmatrix("x")}, "pmra has the shape .* for 7 stars"),
        ({"dispersion": pt.as_tensor(-0.2)}, "dispersion must be finite and not negative"),
    ],
)
def test_errors(cat, given, words):
    with pytest.raises(ValueError, match=words):
        psp.proper_motion_logp(cat, **{"pmra": -0.8, "pmdec": -2.6} | given)


def test_a_catalog_without_proper_motions():
    bare = psp.StarCatalog([[12.0]], [[0.1]], ["TESS"])
    with pytest.raises(ValueError, match="catalog has no star with a proper motion; give pmra"):
        psp.proper_motion_logp(bare, 0.0, 0.0)


# A cluster with 60 % field stars: an older population at all distances, whose colors overlap.
LIMITS = psp.MagnitudeLimits("Gaia_G_EDR3", 11.0, 18.0, error=0.02)
TRUTH = {"feh": 0.0, "log_age": 9.0, "distance_modulus": 9.0, "av": 0.1}
GIVEN = {"intrinsic_scatter": 0.02, "mass_ratio_nodes": 9}
BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3")
MOTION = {"pmra": -0.8, "pmdec": -2.6, "dispersion": 0.15}
MOTIONS_OF_FIELD = psp.ProperMotionField(
    [0.6, 0.4], [[-2.0, -3.0], [1.0, -5.0]],
    [[[9.0, 2.0], [2.0, 9.0]], [[36.0, 0.0], [0.0, 25.0]]],
)  # fmt: skip


@pytest.fixture(scope="module")
def beside(coarse):
    """Field stars in magnitude and color."""
    stars = psp.simulate_cluster(
        coarse, n_star=500, bands=BANDS, mag_err=0.03, rng=11, feh=-0.2, log_age=9.6,
        distance_modulus=9.0, distance_modulus_scatter=1.0, av=0.2, av_scatter=0.1,
        binary_fraction=0.3, mass_ratio_nodes=9, selection=LIMITS,
    )  # fmt: skip
    return psp.ControlField(stars, uniform_share=0.01)


def simulate(iso, beside, n_star, seed):
    """Stars with proper motions whose errors grow with the magnitude, as Gaia's do."""
    rng = np.random.default_rng(seed)
    cat = psp.simulate_cluster(
        iso, n_star=n_star, bands=BANDS, mag_err=0.02, rng=rng, field_fraction=0.6,
        binary_fraction=0.3, selection=LIMITS, field=beside.frozen(beside.catalog, LIMITS),
        **TRUTH, **GIVEN,
    )  # fmt: skip
    member = rng.normal([MOTION["pmra"], MOTION["pmdec"]], MOTION["dispersion"], (n_star, 2))
    is_field = cat.extra["is_field"][:, None]
    motion = np.where(is_field, MOTIONS_OF_FIELD.draw(n_star, rng), member)
    errors = 0.02 + 0.1 * 10.0 ** (0.3 * (cat.mag[:, 0] - 18.0))
    motion = motion + rng.normal(size=(n_star, 2)) * errors[:, None]
    motion[rng.random(n_star) < 0.05] = NAN
    return replace(cat, pmra=motion[:, 0], pmra_err=errors, pmdec=motion[:, 1], pmdec_err=errors)


def roc_area(score, is_member):
    """Probability that a member has a higher score than a field star."""
    lower = np.sort(score[~is_member])
    below = np.searchsorted(lower, score[is_member], side="left")
    ties = np.searchsorted(lower, score[is_member], side="right") - below
    return float((below + 0.5 * ties).mean() / lower.size)


def areas_of(iso, beside, cat):
    """Areas under the curve of true against false members, by photometry, by motions, by both."""
    field = psp.ProperMotionField.fit_with_cluster(cat)
    further = {
        "member_logp": psp.proper_motion_logp(cat, **MOTION), "field_logp": field.logp(cat)
    }  # fmt: skip
    is_member = ~cat.extra["is_field"]
    motions = further["member_logp"].eval() - further["field_logp"]
    areas = {"motions": roc_area(motions, is_member)}
    for name, more in (("photometry", {}), ("both", further)):
        with pm.Model(coords=cat.coords()) as model:
            shift = pm.Normal("shift", 0.0, 0.1)
            psp.ClusterPhotometry(
                "stars", iso, observed=cat, selection=LIMITS, field=beside, field_fraction=0.6,
                binary_fraction=0.3, **more, **GIVEN,
                **TRUTH | {"distance_modulus": TRUTH["distance_modulus"] + shift},
            )  # fmt: skip
        truth = xr.Dataset({"shift": (("chain", "draw"), np.zeros((1, 1)))})
        p = psp.membership(truth, model, progressbar=False)
        areas[name] = roc_area(p.to_numpy()[0, 0], is_member)
    # Stars without a proper motion are judged by their photometry.
    assert np.all(motions[np.isnan(cat.pmra)] == 0.0)
    return areas


def test_membership_with_proper_motions(coarse, beside):
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        areas = areas_of(coarse, beside, simulate(coarse, beside, 500, 3))
    print({name: round(area, 4) for name, area in areas.items()})
    assert areas["photometry"] < 0.93
    assert areas["motions"] > 0.95
    assert areas["both"] > areas["motions"]
    assert areas["both"] > 0.995


def test_in_the_likelihood_of_several_clusters(coarse, beside):
    """A stack with a motion for each cluster is the clusters one by one."""
    cat = simulate(coarse, beside, 40, 3)
    cats = psp.StarCatalog.stack({"a": cat, "b": cat.select(np.arange(25))})
    ra, sigma = np.array([-0.8, -0.5]), np.array([0.15, 0.3])
    given = {**TRUTH, **GIVEN, "field_fraction": 0.6, "selection": LIMITS, "field": beside}
    field_logp = {name: MOTIONS_OF_FIELD.logp(cats[name]) for name in cats}
    logp = psp.cluster_logp(
        coarse, cats, **given, member_logp=psp.proper_motion_logp(cats, ra, -2.6, sigma),
        field_logp=MOTIONS_OF_FIELD.logp(cats),
    ).eval(mode="FAST_COMPILE")  # fmt: skip
    for k, name in enumerate(cats):
        alone = psp.cluster_logp(
            coarse, cats[name], **given, field_logp=field_logp[name],
            member_logp=psp.proper_motion_logp(cats[name], ra[k], -2.6, sigma[k]),
        ).eval(mode="FAST_COMPILE")  # fmt: skip
        assert_close(logp[cats.rows(name)], alone, "stacked")


# Free in the fits below, with their priors.
FREE = {
    "log_age": lambda: pm.Uniform("log_age", 8.6, 9.4),
    "distance_modulus": lambda: pm.Normal("distance_modulus", 9.0, 0.3),
    "field_fraction": lambda: pm.Beta("field_fraction", 2.0, 2.0),
    "pmra": lambda: pm.Normal("pmra", 0.0, 5.0),
    "pmdec": lambda: pm.Normal("pmdec", 0.0, 5.0),
    "dispersion": lambda: pm.HalfNormal("dispersion", 0.5),
}
AT = {**TRUTH, **MOTION, "field_fraction": 0.6}


def motion_model(iso, beside, cat):
    """Age, distance and field fraction with the mean motion and the dispersion of the members."""
    field = psp.ProperMotionField.fit_with_cluster(cat)
    with pm.Model(coords=cat.coords()) as model:
        free = {name: prior() for name, prior in FREE.items()}
        motion = {name: free.pop(name) for name in MOTION}
        psp.ClusterPhotometry(
            "stars", iso, observed=cat, selection=LIMITS, field=beside, binary_fraction=0.3,
            member_logp=psp.proper_motion_logp(cat, **motion), field_logp=field.logp(cat),
            **TRUTH | free, **GIVEN,
        )  # fmt: skip
    return model


def test_the_optimum_is_near_the_truth(coarse, beside):
    """Mean motion and dispersion are found with the rest; bounds are about three errors."""
    cat = simulate(coarse, beside, 400, 5)
    with motion_model(coarse, beside, cat):
        found = psp.find_start(n_starts=2, random_seed=1, progressbar=False)
    bounds = {"pmra": 0.05, "pmdec": 0.05, "dispersion": 0.04, "field_fraction": 0.08,
              "distance_modulus": 0.1, "log_age": 0.06}  # fmt: skip
    off = {name: abs(float(found[name]) - AT[name]) for name in bounds}
    assert all(off[name] < bound for name, bound in bounds.items()), off


@pytest.mark.slow
def test_fits_are_unbiased(iso, beside):
    """Pulls of six parameters over five simulated clusters."""
    pulls = []
    for seed in range(5):
        cat = simulate(iso, beside, 400, 100 + seed)
        with motion_model(iso, beside, cat):
            start = psp.find_start(n_starts=4, random_seed=seed, progressbar=False)
            idata = pm.sample(
                500, tune=500, cores=1, random_seed=seed, progressbar=False,
                **start.sample_kwargs(chains=2),
            )  # fmt: skip
        draws = idata.posterior.to_dataset()[list(FREE)]
        pull = (draws.mean() - xr.Dataset({n: AT[n] for n in FREE})) / draws.std()
        pulls.append([float(pull[name]) for name in FREE])
        print(seed, dict(zip(FREE, np.round(pulls[-1], 2).tolist(), strict=True)))
    pulls = np.array(pulls)
    # The log age of seed 1 is 3.1 off; its members alone, without field or motions, are 2.7 off.
    assert np.abs(pulls).max() < 3.5
    # Three standard errors of a mean of five.
    assert np.abs(pulls.mean(axis=0)).max() < 3.0 / np.sqrt(5.0)
