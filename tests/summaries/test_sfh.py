"""Summaries of star formation histories: from posteriors and fits, and the errors."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import pymc_starpop as psp
from tolerances import assert_close

LOG_AGE = np.log10([0.5e9, 1e9, 3e9, 7e9])
EDGES = np.array([0.5, 1.0, 3.0, 7.0, 13.0])
MH = np.linspace(-2.0, 0.0, 9)
AXES = psp.HessAxes(("V", "I"), "I", [0.0, 1.0, 2.0], [18.0, 20.0, 22.0, 24.0])


@pytest.fixture
def tmpl(rng):
    return psp.TemplateSet.from_arrays(rng.uniform(0, 1e-4, (4, 9, 3, 2)), AXES, LOG_AGE, MH)


@pytest.fixture
def posterior(rng):
    """Two chains of 50 draws; often nothing formed in the third bin."""
    mass = rng.lognormal(13.0, 0.5, (2, 50, 4))
    mass[..., 2] *= rng.random((2, 50)) < 0.5
    return xr.Dataset(
        {
            "mass_formed": (("chain", "draw", "log_age"), mass),
            "mh_mean": (("chain", "draw", "log_age"), rng.normal(-1.0, 0.2, (2, 50, 4))),
            "sigma": (("chain", "draw"), rng.uniform(0.1, 0.2, (2, 50))),
            "alpha": (("chain", "draw"), rng.normal(size=(2, 50))),
        },
        coords={"log_age": LOG_AGE},
    )


def flat(variable):
    return variable.stack(sample=("chain", "draw")).transpose("sample", ...).values


def test_draws_are_computed_one_by_one(posterior, tmpl):
    draws = psp.sfh_draws(posterior, tmpl, t_max_gyr=13.0, fractions=(0.9, 0.2), bins_gyr=[0, 2, 7])
    mass = flat(posterior["mass_formed"])
    assert draws.sizes["sample"] == 100
    assert_close(draws["sfr"] * 1e9 * np.diff(EDGES), mass, "same_formula")
    assert_close(draws["total_mass"], mass.sum(axis=1), "same_formula")
    assert_close(draws["age_edge"], EDGES, "same_formula")
    assert_close(draws["age_old_gyr"], EDGES[1:], "same_formula")
    for name, fraction in (("tau_20", 0.2), ("tau_90", 0.9)):
        expected = [
            np.interp(-fraction, -c[np.argsort(-c, kind="stable")], EDGES)
            for c in draws["cumulative"].values
        ]
        # np.interp takes any time of a gap; these fractions fall into none.
        assert_close(draws[name], expected, "kernel")
    difference = draws["tau_20"] - draws["tau_90"]
    assert_close(draws["tau_20_minus_tau_90"], difference, "same_formula")
    first = mass[:, 0] + mass[:, 1] / 2
    second = mass[:, 1] / 2 + mass[:, 2]
    assert_close(draws["bin_mass"], np.column_stack([first, second]), "same_formula")
    assert_close(draws["bin_sfr"], np.column_stack([first / 1.5e9, second / 5e9]), "same_formula")
    assert_close(draws["bin_young_gyr"], [0.5, 2.0], "same_formula")


def test_metallicities_by_mass_and_by_number(posterior, tmpl):
    draws = psp.sfh_draws(posterior, tmpl, t_max_gyr=13.0)
    stars = tmpl.counts.sum(axis=(2, 3))
    for i in (0, 57):
        point = posterior.stack(sample=("chain", "draw")).isel(sample=i)
        kernel = np.exp(
            -0.5 * ((MH - point["mh_mean"].values[:, None]) / float(point["sigma"])) ** 2
        )
        r = point["mass_formed"].values[:, None] * kernel / kernel.sum(axis=1, keepdims=True)
        assert_close(draws["mdf_mass"][i], r.sum(axis=0) / r.sum(), "same_formula")
        number = (r * stars).sum(axis=0) / (r * stars).sum()
        assert_close(draws["mdf_number"][i], number, "same_formula")
        assert_close(draws["mh_by_mass"][i], np.sum(r * MH) / r.sum(), "same_formula")
        assert_close(draws["mh_by_number"][i], number @ MH, "same_formula")


def test_a_summary_holds_medians_and_intervals(posterior, tmpl):
    draws = psp.sfh_draws(posterior, tmpl, t_max_gyr=13.0, bins_gyr=[0.5, 3.0, 13.0])
    summary = psp.summarize_sfh(
        posterior, tmpl, t_max_gyr=13.0, bins_gyr=[0.5, 3.0, 13.0], intervals=(0.68, 0.95, 0.997)
    )
    assert_close(
        summary["quantile"], [0.0015, 0.025, 0.16, 0.5, 0.84, 0.975, 0.9985], "same_formula"
    )
    for name in ("sfr", "tau_50", "cumulative", "mdf_number", "tau_50_minus_tau_90", "bin_sfr"):
        for level in (0.025, 0.5, 0.84):
            expected = np.quantile(draws[name].values, level, axis=0)
            assert_close(summary[name].sel(quantile=level), expected, "same_formula")
    assert_close(
        summary["bin_sfr_correlation"], np.corrcoef(draws["bin_sfr"].values.T), "same_formula"
    )
    assert summary.attrs == {"t_max_gyr": 13.0, "n_draws": 100}
    assert summary["sfr"].attrs["units"] == "Msun/yr"


def test_a_bin_that_is_the_same_in_all_draws_correlates_with_none(posterior):
    posterior["mass_formed"][..., 3] = 1e6
    summary = psp.summarize_sfh(posterior, t_max_gyr=13.0, bins_gyr=[0.5, 7.0, 13.0])
    correlation = summary["bin_sfr_correlation"].values
    assert_close(correlation[0, 0], 1.0, "same_formula")
    assert np.isnan([correlation[0, 1], correlation[1, 0], correlation[1, 1]]).all()


def test_trees_fits_and_stacked_draws_say_the_same(posterior, tmpl):
    expected = psp.summarize_sfh(posterior, tmpl, t_max_gyr=13.0)
    tree = xr.DataTree.from_dict(
        {"posterior": posterior, "constant_data": xr.Dataset({"t_max_gyr": 13.0})}
    )
    stacked = posterior.stack(sample=("chain", "draw"), create_index=False)

    def draws(n, rng):
        assert isinstance(rng, np.random.Generator)
        return stacked.isel(sample=slice(None, n))

    fit = SimpleNamespace(draws=draws, t_max_gyr=13.0)
    marked = posterior.assign(mass_formed=posterior["mass_formed"].assign_attrs(t_max_gyr=13.0))
    reordered = posterior.transpose("log_age", "draw", "chain")
    for result in (tree, fit, marked, stacked.assign_attrs(t_max_gyr=13.0)):
        xr.testing.assert_allclose(psp.summarize_sfh(result, tmpl), expected, rtol=1e-12)
    again = psp.summarize_sfh(reordered, tmpl, t_max_gyr=13.0)
    xr.testing.assert_allclose(again, expected, rtol=1e-12)


def test_the_argument_wins_over_what_the_result_says(posterior):
    posterior.attrs["t_max_gyr"] = 13.0
    assert psp.summarize_sfh(posterior, t_max_gyr=14.0).attrs["t_max_gyr"] == 14.0


def test_other_names_and_a_fixed_dispersion(posterior, tmpl):
    expected = psp.sfh_draws(posterior.assign(sigma=posterior["sigma"] * 0 + 0.15), tmpl,
                             t_max_gyr=13.0)  # fmt: skip
    renamed = posterior.drop_vars("sigma").rename(mass_formed="m", mh_mean="z")
    names = {"mass_formed": "m", "mh_mean": "z", "sigma": 0.15}
    draws = psp.sfh_draws(renamed, tmpl, t_max_gyr=13.0, variables=names)
    xr.testing.assert_allclose(draws, expected, rtol=1e-12)


def test_a_dispersion_for_each_age(posterior, tmpl):
    one = psp.sfh_draws(posterior, tmpl, t_max_gyr=13.0)
    same = posterior["sigma"] * xr.ones_like(posterior["mh_mean"])
    many = psp.sfh_draws(posterior.assign(sigma=same), tmpl, t_max_gyr=13.0)
    assert_close(many["mdf_number"], one["mdf_number"], "same_formula")
    assert many["sigma"].dims == ("sample", "log_age")


def test_free_coefficients_have_metallicities_of_their_own(rng, tmpl):
    mass = rng.uniform(0.0, 1e6, (1, 20, 4, 9))
    mass[0, 3, 2] = 0.0
    posterior = xr.Dataset(
        {"mass_formed": (("chain", "draw", "log_age", "mh"), mass)},
        coords={"log_age": LOG_AGE, "mh": MH},
    )
    draws = psp.sfh_draws(posterior, tmpl, t_max_gyr=13.0)
    assert_close(draws["mass_formed"], mass[0].sum(axis=-1), "same_formula")
    assert_close(draws["mdf_mass"], mass[0].sum(axis=1) / mass[0].sum(axis=(1, 2))[:, None],
                 "same_formula")  # fmt: skip
    assert np.isnan(draws["mh_mean"].values[3, 2])
    assert_close(draws["mh_mean"][0, 1], mass[0, 0, 1] @ MH / mass[0, 0, 1].sum(), "same_formula")
    summary = psp.summarize_sfh(posterior, tmpl, t_max_gyr=13.0)
    left = np.delete(draws["mh_mean"].values[:, 2], 3)
    assert_close(summary["mh_mean"].sel(quantile=0.5)[2], np.median(left), "same_formula")
    assert "mdf_mass" not in psp.sfh_draws(posterior, t_max_gyr=13.0)


def test_a_bin_in_which_nothing_formed_needs_no_metallicity(posterior, tmpl):
    expected = psp.summarize_sfh(posterior, tmpl, t_max_gyr=13.0)
    blank = posterior.assign(mh_mean=posterior["mh_mean"].where(posterior["mass_formed"] > 0))
    summary = psp.summarize_sfh(blank, tmpl, t_max_gyr=13.0)
    for name in ("mdf_mass", "mdf_number", "mh_by_number", "tau_50"):
        assert_close(summary[name], expected[name], "same_formula")
    assert np.isfinite(summary["mh_mean"]).all()


def test_without_metallicities_there_are_rates_and_times(posterior, tmpl):
    summary = psp.summarize_sfh(posterior[["mass_formed"]], tmpl, t_max_gyr=13.0)
    assert "tau_50" in summary
    assert "mh_mean" not in summary
    assert "mdf_mass" not in summary


def test_ages_are_those_of_the_templates_where_the_posterior_has_none(posterior, tmpl):
    bare = posterior.drop_vars("log_age")
    draws = psp.sfh_draws(bare, tmpl, t_max_gyr=13.0)
    assert_close(draws["log_age"], LOG_AGE, "same_formula")
    with pytest.raises(ValueError, match=r"no coordinate log_age.*tmpl\.coords"):
        psp.sfh_draws(bare, t_max_gyr=13.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "t_max_gyr is needed"),
        ({"t_max_gyr": 7.0}, "t_max_gyr=7: the oldest age bin begins at 7"),
        ({"t_max_gyr": np.nan}, "t_max_gyr=nan"),
        ({"t_max_gyr": 13.0, "fractions": (0.0, 0.5)}, "fractions must be above 0"),
        ({"t_max_gyr": 13.0, "fractions": (50, 90)}, "fractions must be above 0 and at most 1"),
        ({"t_max_gyr": 13.0, "intervals": (68,)}, "intervals must be probabilities"),
        ({"t_max_gyr": 13.0, "bins_gyr": [1.0]}, "bins_gyr must be two or more"),
        ({"t_max_gyr": 13.0, "bins_gyr": [3.0, 1.0]}, "bins_gyr must ascend"),
        ({"t_max_gyr": 13.0, "bins_gyr": [0.0, 0.1, 5.0]}, "at most one edge below 0.5"),
        ({"t_max_gyr": 13.0, "bins_gyr": [1.0, 14.0]}, "between 0 and t_max_gyr = 13"),
        ({"t_max_gyr": 13.0, "variables": {"mass": "m"}}, "variables has 'mass'; expected some of"),
        ({"t_max_gyr": 13.0, "variables": {"mass_formed": "m"}}, "no variable 'm', only"),
        ({"t_max_gyr": 13.0, "variables": {"sigma": 0.0}}, "sigma must be positive"),
    ],
)
def test_wrong_arguments_are_named(posterior, arguments, message):
    with pytest.raises(ValueError, match=message):
        psp.summarize_sfh(posterior, **arguments)


def several(d):
    return d.assign(mass_formed=d["mass_formed"].expand_dims(galaxy=2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["mass_formed"], "result must be a posterior.*got DataArray"),
        (lambda d: {"mass_formed": d}, "got dict"),
        (lambda d: d.isel(chain=0, draw=0), r"draws must be along \(chain, draw\)"),
        (several, r"take one history with \.isel"),
        (lambda d: d.assign(mass_formed=-d["mass_formed"]), "must not be negative"),
        (
            lambda d: d.assign(mass_formed=d["mass_formed"] * np.nan),
            "must be finite, got 400 values",
        ),
        (lambda d: d.assign(mass_formed=0.0 * d["mass_formed"]), "zero in all .* 100 of 100 draws"),
        (lambda d: d.assign(mh_mean=d["sigma"]), "mh_mean must have the dimension log_age"),
        (lambda d: d.assign(mh_mean=d["mh_mean"] * np.nan), "must be finite wherever stars formed"),
        (lambda d: d.assign(sigma=-d["sigma"]), "sigma must be positive"),
        (lambda d: d.assign(sigma=d["sigma"].expand_dims(k=2)), "sigma must be one number a draw"),
        (lambda d: d.isel(log_age=slice(None, None, -1)), "log_age of the result must ascend"),
    ],
)
def test_wrong_results_are_named(posterior, change, message):
    with pytest.raises(ValueError, match=message):
        psp.summarize_sfh(change(posterior), t_max_gyr=13.0)


def test_templates_of_another_fit_are_refused(posterior, tmpl):
    other = psp.TemplateSet.from_arrays(tmpl.counts[:3], AXES, LOG_AGE[:3], MH)
    with pytest.raises(ValueError, match=r"tmpl has 3 ages .* the result 4"):
        psp.summarize_sfh(posterior, other, t_max_gyr=13.0)


def test_a_summary_is_not_summarized_again(posterior):
    summary = psp.summarize_sfh(posterior, t_max_gyr=13.0)
    with pytest.raises(ValueError, match="cannot be summarized again"):
        psp.summarize_sfh(summary)
