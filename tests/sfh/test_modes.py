"""Searches for the mode under a prior: the best of several, rivals, chains that start in them."""

import numpy as np
import pymc as pm
import pytest

import pymc_starpop as psp
from pymc_starpop.sfh.history import _joint_prior
from pymc_starpop.sfh.laplace import climb

AGES = np.round(np.linspace(8.0, 10.0, 11), 2)


@pytest.fixture(scope="module")
def burst():
    """Eleven ages whose templates resemble their neighbors', and a burst of 3,770 stars."""
    axes = psp.HessAxes(("V", "I"), "V", np.array([0.0, 1.0]), np.linspace(20, 26, 41))
    mag = axes.coords()["mag"]
    counts = [np.exp(-0.5 * ((mag - 22.0 - 0.02 * j) / 0.5) ** 2) + 1e-4 for j in range(11)]
    tmpl = psp.TemplateSet.from_arrays(
        1e-4 * np.array(counts)[:, None, :, None], axes, AGES, [-1.0]
    )
    expected = tmpl.counts[1, 0]
    stars = np.random.default_rng(0).poisson(3770 * expected / expected.sum())
    return tmpl, stars, psp.fit_sfh(tmpl, stars, psp.FixedAMR([-1.0] * 11), sigma=0.1)


def log_posterior(model, sfh, mass):
    """Log density of the random vector at masses, without the volume of the transform."""
    u = model["sfh"]
    prior = pm.logp(u, np.log(mass)).eval()
    return prior + model.compile_logp(vars=[model["hess"]], jacobian=False)(
        {"sfh_whiten__": u_of(model, np.log(mass))}
    )


def u_of(model, u):
    return model.rvs_to_transforms[model["sfh"]].forward(u).eval()


# The search from the rates that the prior expects ended so many nats lower.
@pytest.mark.parametrize(("sigma", "gain"), [(0.5, 16.7), (1.0, 3.0)])
def test_the_best_mode_is_found_and_rivals_are_listed(burst, sigma, gain):
    tmpl, stars, fit = burst
    prior = psp.LogNormalPrior(sigma=sigma)
    with pm.Model(coords=tmpl.coords()) as model:
        with pytest.warns(UserWarning, match="other modes? within 10 nats") as caught:
            sfh = psp.StarFormationHistory("sfh", fit, prior)
        psp.HessDiagram("hess", tmpl, sfh.weights, observed=stars)
    assert caught[0].filename == __file__
    modes = sfh.modes
    assert modes.sizes["mode"] > 1
    below = modes["below_best"].values
    assert below[0] == 0.0
    assert (np.diff(below) >= 0).all()
    assert (below <= 10.0).all()
    # Differences of the table are those of the model's own density.
    each = [log_posterior(model, sfh, mass) for mass in modes["mass_formed"].values[:2]]
    assert each[0] - each[1] == pytest.approx(below[1], abs=0.01)
    # The burst comes out in the bins around its own.
    assert modes["mass_formed"].values[0, :5].sum() > 0.5 * float(modes["total_mass"][0])
    rate = fit.mass_formed.sum() / fit.bin_years.sum() * fit.bin_years
    reached = climb_from(fit, prior, rate)
    assert -reached - float(modes["log_posterior"][0]) == pytest.approx(-gain, abs=0.1)


def climb_from(fit, prior, mass):
    """-ln posterior where one search ends that starts from given masses."""
    gaussian, _ = _joint_prior(fit, prior, [])
    return climb(fit.problem, gaussian, np.log(mass)).state.value


def test_chains_start_in_all_modes(burst):
    tmpl, stars, fit = burst
    with pm.Model(coords=tmpl.coords()) as model:
        with pytest.warns(UserWarning, match="other mode"):
            sfh = psp.StarFormationHistory("sfh", fit, psp.LogNormalPrior(sigma=0.5))
        psp.HessDiagram("hess", tmpl, sfh.weights, observed=stars)
    starts = sfh.initvals(3)
    assert [set(start) for start in starts] == [{"sfh"}] * 3
    masses = np.array([np.exp(start["sfh"]) for start in starts])
    np.testing.assert_allclose(masses[:2], sfh.modes["mass_formed"].values[:2], rtol=1e-10)
    idata = pm.sample(
        draws=1, tune=0, chains=2, cores=1, model=model, initvals=sfh.initvals(2), random_seed=1,
        nuts_sampler="pymc", init="adapt_diag", progressbar=False, discard_tuned_samples=False,
        compute_convergence_checks=False, step=pm.Metropolis([model["sfh"]], scaling=1e-6,
                                                             model=model),
    )  # fmt: skip
    drawn = idata.posterior["mass_formed"].values[:, 0]
    np.testing.assert_allclose(drawn, masses[:2], rtol=1e-3)
    for wrong in (0, 2.5, "x", None):
        with pytest.raises(ValueError, match="chains must be a whole number, 1 or more"):
            sfh.initvals(wrong)


def test_one_mode_gives_no_warning(burst):
    tmpl, _, fit = burst
    with pm.Model(coords=tmpl.coords()):
        sfh = psp.StarFormationHistory("sfh", fit, psp.ContinuityPrior(0.3))
    assert sfh.modes.sizes["mode"] == 1
    assert int(sfh.modes["n_start"][0]) > 3


def burst_with_binaries(seed):
    """A burst of 3,770 stars at 6.8 Gyr, 11 ages, two fifths of the systems binaries."""
    bands, iso = ("Bessell_V", "Bessell_I"), psp.load_isochrones()
    axes = psp.HessAxes(bands, bands[1], np.linspace(-0.5, 2.5, 61), np.linspace(20, 27, 71))
    photometry = {
        "noise": dict.fromkeys(bands, 0.05), "distance_modulus": 24.5,
        "completeness": {band: psp.LogisticCompleteness(1, 26.5, 0.4) for band in bands},
        "binaries": psp.MassRatioBinaries(0.4),
    }  # fmt: skip
    tmpl = psp.build_templates(
        iso, axes, log_age=np.round(np.linspace(9.0, 10.0, 11), 2), mh=[-1.2], progress=False,
        **photometry,
    )  # fmt: skip
    one = iso.at(-1.2, 9.83, bands)
    burst = psp.build_template(one.initial_mass, one.abs_mag, bands, axes, **photometry).values
    stars = np.random.default_rng(seed).multinomial(3770, (burst / burst.sum()).ravel())
    return tmpl, stars.reshape(axes.shape), psp.Background(np.full(axes.shape, 1e-3), fixed=True)


def test_with_binaries_and_wide_priors_no_start_does_better():
    """A check of the mode from random starts; no rival was found here, one search would do."""
    tmpl, stars, background = burst_with_binaries(seed=1)
    fit = psp.fit_sfh(tmpl, stars, psp.FixedAMR([-1.2] * 11), sigma=0.1, background=background)
    rng = np.random.default_rng(2)
    for prior in (psp.ContinuityPrior(3), psp.ContinuityPrior(2), psp.LogNormalPrior(sigma=2)):
        with pm.Model(coords=tmpl.coords()):
            sfh = psp.StarFormationHistory("sfh", fit, prior)
        best = float(sfh.modes["log_posterior"][0])
        shares = rng.dirichlet(np.full(11, 0.2), size=10) + 1e-6
        others = [-climb_from(fit, prior, fit.mass_formed.sum() * share) for share in shares]
        assert best > max(others) - 1e-4, prior
        # The burst is 13 to 38 % of its bin away from the young edge.
        mass = sfh.modes["mass_formed"].values[0]
        assert mass[8] > 0.5 * mass.sum()
        assert 6.3 < float(sfh.modes["tau_50"][0]) < 7.95
