"""Long age bins are divided into parts, whose mean metallicities differ."""

from dataclasses import replace

import numpy as np
import pymc as pm
import pytest
from pytensor import tensor as pt
from scipy.special import gammaln, xlogy

import pymc_starpop as psp
from pymc_starpop.hess.age_bins import isochrone_ages, part_edges
from sfh_fixtures import assert_derivatives_close
from tolerances import assert_close

BANDS = ("Bessell_V", "Bessell_I")
AXES = psp.HessAxes(BANDS, BANDS[1], np.linspace(-0.5, 2.5, 31), np.linspace(20, 26, 41))
EDGES = np.array([1.0, 1.5, 4.0, 10.0, 13.7])  # Gyr
OPTIONS = {
    "log_age": np.log10(EDGES[:-1]) + 9.0,
    "mh": [-1.6, -1.4, -1.2, -1.0, -0.8, -0.6],
    "distance_modulus": 22.0,
    "noise": dict.fromkeys(BANDS, 0.05),
    "progress": False,
}


@pytest.fixture(scope="module")
def tmpl():
    return psp.build_templates(psp.load_isochrones(), AXES, part_gyr=2.0, **OPTIONS)


@pytest.fixture(scope="module")
def expected(tmpl):
    """Counts of a galaxy whose metallicity rises by 0.08 dex/Gyr within bins of up to 6 Gyr."""
    share = np.diff(tmpl.parts.age_edges())
    mean = -0.5 - 0.08 * tmpl.parts.age_gyr
    r = psp.metallicity_weights(3e4 * share, mean, 0.15, tmpl.mh).eval()
    return tmpl.parts.composite(r).values


@pytest.fixture(scope="module")
def hess(expected):
    return np.random.default_rng(4).poisson(expected)


def test_bins_are_divided_evenly_in_time():
    edges = part_edges(np.log10(EDGES) + 9.0, 2.0)
    np.testing.assert_allclose(
        10.0 ** (edges - 9.0), [1.0, 1.5, 2.75, 4.0, 6.0, 8.0, 10.0, 11.85, 13.7], rtol=1e-13
    )
    assert np.isin(np.log10(EDGES) + 9.0, edges).all()
    np.testing.assert_array_equal(part_edges(EDGES, None), EDGES)
    # A bin that is exactly as long as its part is not divided for a rounding error.
    assert part_edges(np.log10([1.0, 1.6, 2.2]), 0.6e-9 * 1e9).size == 3


def test_isochrones_that_end_early_stand_for_the_whole_oldest_bin():
    edges = np.log10([1.0, 3.0, 5.0, 7.0]) + 9.0
    np.testing.assert_array_equal(isochrone_ages(edges, edges[1], 10.2), edges)
    with pytest.warns(UserWarning, match="lacks 50 % of its bin, 3 to 7 Gyr"):
        ages = isochrone_ages(edges, edges[1], np.log10(5.0) + 9.0)
    np.testing.assert_allclose(10.0 ** (ages - 9.0), [1.0, 3.0, 4.0, 5.0], rtol=1e-13)


def test_templates_are_means_of_their_parts(tmpl):
    assert (tmpl.n_age, tmpl.parts.n_age) == (4, 8)
    np.testing.assert_array_equal(tmpl.part_bins, [0, 1, 1, 2, 2, 2, 3, 3])
    np.testing.assert_allclose(tmpl.part_shares, 1.0 / np.array([1, 2, 2, 3, 3, 3, 2, 2]))
    assert tmpl.parts.parts is tmpl.parts
    for j in range(tmpl.n_age):
        mean = tmpl.parts.counts[tmpl.part_bins == j].mean(axis=0)
        np.testing.assert_allclose(tmpl.counts[j], mean, rtol=1e-12, atol=1e-300)
    whole = psp.build_templates(psp.load_isochrones(), AXES, part_gyr=None, **OPTIONS)
    assert whole.parts is whole
    difference = np.square(whole.counts - tmpl.counts).sum() / np.square(whole.counts).sum()
    assert difference < 1e-5
    np.testing.assert_allclose(whole.age_gyr, tmpl.age_gyr)


def test_masses_are_split_at_a_constant_rate(tmpl):
    mass = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(tmpl.split(mass), [1, 1, 1, 1, 1, 1, 2, 2])
    np.testing.assert_allclose(tmpl.split(pm.math.constant(mass)).eval(), tmpl.split(mass))
    with pytest.raises(ValueError, match=r"one value for each of 4 age bins, got shape \(3,\)"):
        tmpl.split(mass[:3])
    for wrong in (pt.as_tensor(np.ones(3)), pt.dmatrix()):
        with pytest.raises(ValueError, match="one value for each of 4 age bins, got shape"):
            tmpl.split(wrong)
    with pytest.raises(ValueError, match="mass must be finite"):
        tmpl.split(mass * np.nan)
    single = psp.TemplateSet.from_arrays(tmpl.counts, AXES, tmpl.log_age, tmpl.mh)
    np.testing.assert_array_equal(single.split(mass), mass)


def test_weights_of_parts_and_of_bins(tmpl, hess):
    """Where [M/H] does not change within a bin, both give the same."""
    mass = np.array([1e4, 2e4, 5e4, 3e4])
    mean = np.array([-0.7, -0.9, -1.1, -1.3])
    by_bin = psp.metallicity_weights(mass, mean, 0.2, tmpl.mh)
    by_part = psp.metallicity_weights(tmpl.split(mass), mean[tmpl.part_bins], 0.2, tmpl.mh)
    assert by_part.eval().shape == (8, 6)
    np.testing.assert_allclose(
        tmpl.composite(by_part.eval()), tmpl.composite(by_bin.eval()), rtol=1e-10
    )
    background = AXES.wrap(np.full(AXES.shape, 1e-6))
    values = [psp.hess_logp(tmpl, r, hess, background).eval() for r in (by_bin, by_part)]
    assert values[1] == pytest.approx(values[0], abs=1e-3)  # templates in single precision
    with pytest.raises(ValueError, match=r"mass must be numbers, got a PyTensor variable"):
        tmpl.composite(by_bin)
    with pytest.raises(ValueError, match=r"\(4, 6\), or \(N_part, N_mh\) = \(8, 6\) for its parts"):
        psp.hess_logp(tmpl, np.ones((5, 6)), hess)
    for wrong in (np.ones((7, 6)), np.ones((4, 5))):
        with pytest.raises(ValueError, match=r"\(4, 6\)"):
            tmpl.composite(wrong)


def test_parts_come_back_from_files(tmpl, tmp_path):
    for name in ("t.nc", "t.zarr"):
        again = psp.load_templates(tmpl.save(tmp_path / name))
        for attribute in ("counts", "log_age", "mh", "age_gyr"):
            for mine, its in ((tmpl, again), (tmpl.parts, again.parts)):
                np.testing.assert_array_equal(getattr(its, attribute), getattr(mine, attribute))


def test_parts_must_divide_the_bins(tmpl):
    def changed(parts, **others):
        given = {"counts": tmpl.counts, "log_age": tmpl.log_age, "t_max_gyr": 13.7} | others
        return psp.TemplateSet(axes=AXES, mh=tmpl.mh, divided=parts, **given)

    parts = tmpl.parts
    assert changed(parts).parts is parts
    with pytest.raises(ValueError, match="end with them, at t_max_gyr=13"):
        changed(parts, t_max_gyr=13.0)
    with pytest.raises(ValueError, match="every log_age of the age bins must be one of its parts"):
        changed(parts, log_age=tmpl.log_age + np.array([0.0, 0.0, 0.01, 0.0]))
    axes = psp.HessAxes(BANDS, BANDS[1], AXES.color_edges[1:], AXES.mag_edges)
    narrow = parts.counts[..., 1:]
    other = psp.TemplateSet(narrow, axes, parts.log_age, parts.mh, t_max_gyr=13.7)
    with pytest.raises(ValueError, match=r"the same \[M/H\] and bins"):
        changed(other)


MODELS = [psp.LinearAMR(), psp.LogarithmicAMR(), psp.PowerLawMZR(), psp.MonotoneAMR(3)]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_fits_follow_the_metallicity_within_bins(tmpl, hess, model):
    background = psp.Background(np.full(AXES.shape, 1e-4), fixed=True)
    fit = psp.fit_sfh(tmpl, hess, model, background=background)
    problem, x = fit.problem, fit.point
    # The counts are those of the parts, written out.
    mass = tmpl.split(x[:4])
    epochs = psp.Epochs(tmpl.parts.age_gyr, 13.7, mass)
    mean = model.mean(model.split(problem.split(x)[1]), epochs)
    r = psp.metallicity_weights(mass, mean, fit.parameters["sigma"], tmpl.mh).eval()
    expected = tmpl.parts.composite(r).values + 1e-4
    np.testing.assert_allclose(fit.model, expected, rtol=1e-9)
    assert_close(fit.nll, psp.plr(expected, hess), "same_formula")
    np.testing.assert_allclose(fit.weights, np.add.reduceat(r, [0, 1, 3, 6]), rtol=1e-9)
    of_bins = [mean[tmpl.part_bins == j].mean() for j in range(4)]
    np.testing.assert_allclose(fit.mh_mean, of_bins, rtol=1e-12)
    # Derivatives, away from the optimum.
    problem, x = replace(problem, bounded=False), x.copy()
    x[:4] = np.maximum(x[:4], 1e3) * np.array([0.9, 1.2, 1.1, 0.8])
    x[4:] = np.where(problem.positive[4:], np.maximum(x[4:], 1e-3), x[4:])
    assert_derivatives_close(problem, x, np.maximum(np.abs(x), 1e-4))


def test_histories_in_models_follow_the_metallicity_within_bins(tmpl, hess):
    model = psp.PowerLawMZR()
    background = psp.Background(np.full(AXES.shape, 1e-4), fixed=True)
    fit = psp.fit_sfh(tmpl, hess, model, background=background)
    with pm.Model(coords=tmpl.coords()) as pymc_model:
        sfh = psp.StarFormationHistory("sfh", fit)
        psp.HessDiagram("hess", tmpl, sfh.weights, background=sfh.background, observed=hess)
        point = pymc_model.initial_point()
        logp = pymc_model.compile_logp(vars=[pymc_model["hess"]])(point)
        names = [p.name for p in model.parameters]
        outputs = [sfh.mass_formed, sfh.mh_mean, sfh.weights, *map(sfh.parameters.get, names)]
        values = pymc_model.compile_fn(pymc_model.replace_rvs_by_values(outputs))(point)
    of_mass, of_mean, weights, *of_parameters = values
    expected = tmpl.composite(weights).values + 1e-4
    mean = model.mean(
        dict(zip(names, of_parameters, strict=True)),
        psp.Epochs(tmpl.parts.age_gyr, 13.7, tmpl.split(of_mass)),
    )
    np.testing.assert_allclose(of_mean, [mean[tmpl.part_bins == j].mean() for j in range(4)])
    by_bin = np.add.reduceat(weights, [0, 1, 3, 6])
    np.testing.assert_allclose(by_bin.sum(axis=1), of_mass, rtol=1e-9)
    perfect = xlogy(hess, hess) - hess - gammaln(hess + 1.0)
    assert logp == pytest.approx(perfect.sum() - psp.plr(expected, hess), abs=1e-3)


def test_a_slope_within_long_bins_does_not_move_ages(tmpl, expected):
    """Templates of whole bins, with one [M/H] each, do not fit these stars; those of parts do."""
    whole = psp.TemplateSet(tmpl.counts, AXES, tmpl.log_age, tmpl.mh, t_max_gyr=tmpl.t_max_gyr)
    stars = np.rint(1e3 * expected)
    fits = [psp.fit_sfh(t, stars, background=1e-3) for t in (whole, tmpl)]
    truth = 3e4 * np.diff(EDGES)
    share = [f.mass_formed / f.mass_formed.sum() - truth / truth.sum() for f in fits]
    assert np.abs(share[0]).max() > 0.01
    assert np.abs(share[1]).max() < 0.001
    assert fits[0].nll > fits[1].nll + 10.0
    assert abs(fits[1].parameters["sigma"] - 0.15) < 0.001
    assert abs(fits[1].parameters["alpha"] - 0.08) < 0.001


def test_models_with_a_value_for_each_bin_have_whole_bins(tmpl, hess):
    fixed = psp.FixedAMR([-0.6, -0.8, -1.1, -1.4])
    for model in (fixed, "free"):
        fit = psp.fit_sfh(
            tmpl, hess, model, sigma=0.15 if model is fixed else None, background=1e-4
        )
        assert fit.problem.data.shape == (4, 6)
        np.testing.assert_allclose(
            fit.model, tmpl.composite(fit.weights).values + fit.background, rtol=1e-9
        )


def test_diagrams_that_are_fitted_jointly_need_the_same_parts(tmpl, hess):
    whole = psp.TemplateSet(tmpl.counts, AXES, tmpl.log_age, tmpl.mh, t_max_gyr=tmpl.t_max_gyr)
    with pytest.raises(ValueError, match=r"set 1 have 4 parts, those of set 0 8; .* part_gyr"):
        psp.fit_sfh([tmpl, whole], [hess, hess], background=[1e-4, 1e-4])
