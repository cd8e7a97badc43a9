"""The density of the proper motions of field stars."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import pymc_starpop as psp
from tolerances import assert_close

NAN = np.nan
WEIGHTS = np.array([0.7, 0.3])
MEANS = np.array([[-2.0, 1.0], [4.0, -6.0]])
COVARIANCES = np.array([[[16.0, 5.0], [5.0, 9.0]], [[3.0, -1.0], [-1.0, 4.0]]])
CLUSTER = np.array([-0.8, -2.6])


def catalog(motion, errors, corr, rng):
    """A catalog of true motions, as they are measured."""
    noise = rng.normal(size=motion.shape) * errors
    noise[:, 1] = errors[:, 1] * (
        corr * noise[:, 0] / errors[:, 0] + np.sqrt(1.0 - corr**2) * rng.normal(size=len(motion))
    )
    n = len(motion)
    return psp.StarCatalog(
        np.full((n, 1), 15.0), np.full((n, 1), 0.01), ["TESS"],
        pmra=motion[:, 0] + noise[:, 0], pmra_err=errors[:, 0],
        pmdec=motion[:, 1] + noise[:, 1], pmdec_err=errors[:, 1], pm_corr=corr,
    )  # fmt: skip


def observed(n_field, n_member, rng, dispersion=0.1):
    truth = psp.ProperMotionField(WEIGHTS, MEANS, COVARIANCES)
    motion = np.vstack(
        [truth.draw(n_field, rng), rng.normal(CLUSTER, dispersion, size=(n_member, 2))]
    )
    errors = rng.uniform(0.02, 0.5, motion.shape)
    return catalog(motion, errors, rng.uniform(-0.5, 0.5, len(motion)), rng)


@pytest.fixture
def control(rng):
    return observed(3000, 0, rng)


def by_mean(field):
    """Weights, means and covariances in the order of the mean in right ascension."""
    order = np.argsort(field.means[:, 0])
    return field.weights[order], field.means[order], field.covariances[order]


def test_a_known_mixture_is_found(control):
    field = psp.ProperMotionField.fit(control)
    assert min(field.bic, key=field.bic.get) == 2
    assert sorted(field.bic) == [1, 2, 3, 4]
    weights, means, covariances = by_mean(field)
    # Three standard errors of 3,000 stars or more.
    np.testing.assert_allclose(weights, WEIGHTS, atol=0.05)
    np.testing.assert_allclose(means, MEANS, atol=0.4)
    np.testing.assert_allclose(covariances, COVARIANCES, atol=1.6)
    assert field.cluster is None


def test_errors_are_taken_out(rng):
    """With errors as large as the spread, what is found is the spread alone."""
    truth = psp.ProperMotionField([1.0], [[1.0, 2.0]], [[[1.0, 0.5], [0.5, 2.0]]])
    n = 4000
    errors = np.full((n, 2), 1.5)
    cat = catalog(truth.draw(n, rng), errors, np.full(n, -0.6), rng)
    field = psp.ProperMotionField.fit(cat, n_component=1)
    np.testing.assert_allclose(field.covariances, truth.covariances, atol=0.35)
    np.testing.assert_allclose(field.means, truth.means, atol=0.12)


def test_with_cluster_finds_both(rng):
    cat = observed(600, 400, rng)
    field = psp.ProperMotionField.fit_with_cluster(cat)
    found = field.cluster
    np.testing.assert_allclose([found.pmra, found.pmdec], CLUSTER, atol=0.05)
    assert abs(found.dispersion - 0.1) < 0.03
    assert abs(found.share - 0.4) < 0.05
    # The density where the cluster is, is that of the field, not of the cluster.
    truth = psp.ProperMotionField(WEIGHTS, MEANS, COVARIANCES)
    here = np.abs(cat.pmra - CLUSTER[0]) + np.abs(cat.pmdec - CLUSTER[1]) < 0.5
    assert np.abs(field.logp(cat)[here] - truth.logp(cat)[here]).max() < 0.5


def test_a_small_cluster_where_it_is_told(rng):
    """A second clump, narrower and richer, is taken for the cluster unless it is said where."""
    cat = observed(1500, 60, rng)
    other = rng.normal([5.0, 5.0], 0.05, size=(150, 2))
    both = np.vstack([np.column_stack([cat.pmra, cat.pmdec]), other])
    errors = np.full(both.shape, 0.1)
    n = len(both)
    cat = psp.StarCatalog(
        np.full((n, 1), 15.0), np.full((n, 1), 0.01), ["TESS"], pmra=both[:, 0],
        pmra_err=errors[:, 0], pmdec=both[:, 1], pmdec_err=errors[:, 1],
    )  # fmt: skip
    densest = psp.ProperMotionField.fit_with_cluster(cat, n_component=2).cluster
    np.testing.assert_allclose([densest.pmra, densest.pmdec], [5.0, 5.0], atol=0.1)
    told = psp.ProperMotionField.fit_with_cluster(cat, near=(-0.7, -2.5), n_component=2).cluster
    np.testing.assert_allclose([told.pmra, told.pmdec], CLUSTER, atol=0.3)


def test_the_same_seed_gives_the_same_field(control):
    first, second = (psp.ProperMotionField.fit(control, n_component=3, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.covariances, second.covariances)


def test_logp_against_scipy(rng):
    cat = observed(8, 0, rng)
    gone = np.arange(8) < 2
    cat = psp.StarCatalog(
        cat.mag, cat.mag_err, cat.bands, pmra=np.where(gone, NAN, cat.pmra),
        pmra_err=cat.pmra_err, pmdec=np.where(gone, NAN, cat.pmdec), pmdec_err=cat.pmdec_err,
        pm_corr=cat.pm_corr,
    )  # fmt: skip
    field = psp.ProperMotionField(2.0 * WEIGHTS, MEANS, COVARIANCES)  # weights of any sum
    found = field.logp(cat)
    assert found[:2].tolist() == [0.0, 0.0]
    for i in range(2, 8):
        both = cat.pm_corr[i] * cat.pmra_err[i] * cat.pmdec_err[i]
        noise = np.array([[cat.pmra_err[i] ** 2, both], [both, cat.pmdec_err[i] ** 2]])
        density = sum(
            w * multivariate_normal(m, v + noise).pdf([cat.pmra[i], cat.pmdec[i]])
            for w, m, v in zip(WEIGHTS, MEANS, COVARIANCES, strict=True)
        )
        assert_close(found[i], np.log(density), "kernel")
    cats = psp.StarCatalog.stack({"a": cat, "b": cat.select([3, 4])})
    assert_close(field.logp(cats), np.concatenate([found, found[[3, 4]]]), "same_formula")


def test_draws_are_those_of_the_mixture(rng):
    field = psp.ProperMotionField(WEIGHTS, MEANS, COVARIANCES)
    drawn = field.draw(40_000, rng)
    mean = WEIGHTS @ MEANS
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.1)
    off = MEANS - mean
    expected = np.einsum("k,kij->ij", WEIGHTS, COVARIANCES + off[:, :, None] * off[:, None, :])
    np.testing.assert_allclose(np.cov(drawn.T), expected, rtol=0.05)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": [0.5, 0.0]}, "weights must be positive"),
        ({"means": [[0.0, 1.0]]}, r"shapes .K,., .K, 2. and .K, 2, 2., got .2,., .1, 2."),
        ({"covariances": -COVARIANCES}, "without negative eigenvalues"),
        ({"covariances": COVARIANCES + np.eye(2)[[0]].T * [0.0, 1.0]}, "must be symmetric"),
    ],
)
def test_bad_mixtures(changes, words):
    given = {"weights": WEIGHTS, "means": MEANS, "covariances": COVARIANCES} | changes
    with pytest.raises(ValueError, match=words):
        psp.ProperMotionField(**given)


def test_bad_fits(rng):
    bare = psp.StarCatalog([[12.0]], [[0.1]], ["TESS"])
    with pytest.raises(ValueError, match="catalog has no star with a proper motion; give pmra"):
        psp.ProperMotionField.fit(bare)
    with pytest.raises(ValueError, match="catalog must be a StarCatalog or a StackedCatalog, got"):
        psp.ProperMotionField.fit([1.0, 2.0])
    few = observed(5, 0, rng)
    with pytest.raises(ValueError, match="has 5 stars with proper motions, fewer than six"):
        psp.ProperMotionField.fit(few)
    with pytest.raises(ValueError, match=r"n_component must be a whole number .* got 0"):
        psp.ProperMotionField.fit(few, n_component=0)
    alone = observed(300, 0, rng)
    with pytest.raises(ValueError, match="near must be two numbers"):
        psp.ProperMotionField.fit_with_cluster(alone, near=(1.0, NAN))
