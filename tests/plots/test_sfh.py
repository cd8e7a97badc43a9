"""Plots of star formation histories: lines and bands against the summary, and the errors."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import StepPatch

import pymc_starpop as psp
from tolerances import assert_close

LOG_AGE = np.log10([0.5e9, 1e9, 3e9, 7e9])
EDGES = np.array([0.5, 1.0, 3.0, 7.0, 13.0])
TRUTH = np.array([1e6, 2e6, 3e6, 4e6])


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def posterior(rng):
    dims = ("chain", "draw", "log_age")
    return xr.Dataset(
        {
            "mass_formed": (dims, rng.lognormal(14.0, 0.5, (2, 50, 4))),
            "mh_mean": (dims, rng.normal(-1.0, 0.2, (2, 50, 4))),
            "sigma": (dims[:2], rng.uniform(0.1, 0.2, (2, 50))),
        },
        coords={"log_age": LOG_AGE},
        attrs={"t_max_gyr": 13.0},
    )


@pytest.fixture
def summary(posterior):
    return psp.summarize_sfh(posterior, bins_gyr=[1.0, 3.0, 13.0])


def steps(ax):
    """Step lines and filled bands, as (values, edges, baseline)."""
    return [p.get_data() for p in ax.patches if isinstance(p, StepPatch)]


def test_rates_are_steps_with_bands_from_wide_to_narrow(summary):
    ax = psp.plot_sfh(summary)
    wide, narrow, middle = steps(ax)
    for (values, edges, baseline), (low, high) in (
        (wide, (0.025, 0.975)), (narrow, (0.16, 0.84)),
    ):  # fmt: skip
        assert_close(edges, EDGES, "same_formula")
        assert_close(values, summary["sfr"].sel(quantile=high), "same_formula")
        assert_close(baseline, summary["sfr"].sel(quantile=low), "same_formula")
    assert_close(middle.values, summary["sfr"].sel(quantile=0.5), "same_formula")
    assert middle.baseline is None
    assert ax.get_xlim() == (13.0, 0.0)
    assert ax.get_ylim()[0] == 0.0
    assert ax.get_legend() is None
    ax.figure.canvas.draw()


def test_merged_bins_have_their_own_edges(summary):
    ax = psp.plot_sfh(summary, merged=True, truth=TRUTH)
    *_, middle, truth = steps(ax)
    assert_close(middle.edges, [1.0, 3.0, 13.0], "same_formula")
    assert_close(middle.values, summary["bin_sfr"].sel(quantile=0.5), "same_formula")
    assert_close(truth.edges, EDGES, "same_formula")
    assert_close(truth.values, TRUTH / (1e9 * np.diff(EDGES)), "same_formula")


def test_a_history_is_drawn_from_posteriors_and_fits_too(posterior, summary):
    stacked = posterior.stack(sample=("chain", "draw"), create_index=False)

    class Fit:
        t_max_gyr = 13.0

        def draws(self, n, rng):
            return stacked

    results = (posterior, xr.DataTree.from_dict({"posterior": posterior}), Fit())
    for plot in (psp.plot_sfh, psp.plot_cumulative_sfh, psp.plot_amr):
        expected = plot(summary)
        for result in results:
            ax = plot(result)
            for drawn, line in zip(ax.lines, expected.lines, strict=True):
                assert_close(drawn.get_xydata(), line.get_xydata(), "same_formula")
            for one, other in zip(steps(ax), steps(expected), strict=True):
                assert_close(one.values, other.values, "same_formula")
    del posterior.attrs["t_max_gyr"]
    with pytest.raises(ValueError, match="t_max_gyr is needed"):
        psp.plot_sfh(posterior)
    assert psp.plot_sfh(posterior, t_max_gyr=14.0).get_xlim() == (14.0, 0.0)


def test_the_cumulative_history_ends_at_one(summary):
    ax = psp.plot_cumulative_sfh(summary, truth=TRUTH, label="fit")
    median, truth = (line.get_xydata() for line in ax.lines)
    expected = summary["cumulative"].sel(quantile=0.5)
    assert_close(median, np.column_stack([EDGES, expected]), "same_formula")
    assert_close(truth, np.column_stack([EDGES, [1.0, 0.9, 0.7, 0.4, 0.0]]), "same_formula")
    bands = [c for c in ax.collections if isinstance(c, PolyCollection)]
    for band, (low, high) in zip(bands, ((0.025, 0.975), (0.16, 0.84)), strict=True):
        vertices = band.get_paths()[0].vertices
        at_three = np.sort(np.unique(vertices[np.isclose(vertices[:, 0], 3.0), 1]))
        assert_close(
            at_three, summary["cumulative"].sel(quantile=[low, high])[:, 2], "same_formula"
        )
    assert ax.get_ylim() == (0.0, 1.0)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["fit", "truth"]
    ax.figure.canvas.draw()


def test_metallicities_stand_at_the_ages_of_the_templates(summary):
    ax = psp.plot_amr(summary, truth=lambda age: -0.1 * age)
    middle, low, high, truth = (line.get_xydata() for line in ax.lines)
    expected = summary["mh_mean"].sel(quantile=0.5)
    centers = 0.5 * (EDGES[1:] + EDGES[:-1])  # where templates have the metallicity of their bin
    assert_close(middle, np.column_stack([centers, expected]), "same_formula")
    sigma = float(summary["sigma"].sel(quantile=0.5))
    assert_close(low[:, 1], expected - sigma, "same_formula")
    assert_close(high[:, 1], expected + sigma, "same_formula")
    assert_close(truth, np.column_stack([centers, -0.1 * centers]), "same_formula")
    assert len(psp.plot_amr(summary, dispersion=False).lines) == 1
    assert len(psp.plot_amr(summary.drop_vars("sigma")).lines) == 1
    array = psp.plot_amr(summary, truth=-0.1 * centers).lines[-1]
    assert_close(array.get_xydata(), truth, "same_formula")


def test_time_may_be_logarithmic_with_the_past_on_the_left(summary):
    for plot in (psp.plot_sfh, psp.plot_cumulative_sfh, psp.plot_amr):
        ax = plot(summary, log_time=True)
        assert ax.get_xscale() == "log"
        assert_close(ax.get_xlim(), (13.0, 0.5), "same_formula")
        ax.figure.canvas.draw()


def test_two_histories_on_the_same_axes(summary):
    _, ax = plt.subplots()
    assert psp.plot_sfh(summary, ax=ax) is ax
    other = summary.assign(sfr=10.0 * summary["sfr"])
    assert psp.plot_sfh(other, ax=ax, color="#d1495b", label="other") is ax
    assert ax.get_ylim()[1] > float(other["sfr"].max())
    assert ax.patches[-1].get_edgecolor() == to_rgba("#d1495b")


def test_four_intervals(posterior):
    summary = psp.summarize_sfh(posterior, intervals=(0.5, 0.68, 0.95, 0.997))
    ax = psp.plot_sfh(summary)
    assert len(steps(ax)) == 5
    alphas = [p.get_alpha() for p in ax.patches[:4]]
    assert alphas == sorted(alphas)


def test_what_cannot_be_drawn(posterior, summary):
    with pytest.raises(ValueError, match=r"one value for each of the 4 age bins, got \(3,\)"):
        psp.plot_sfh(summary, truth=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="one value for each of the 4 age bins"):
        psp.plot_cumulative_sfh(summary, truth=1.0)
    with pytest.raises(ValueError, match="no merged bins; make it with bins_gyr="):
        psp.plot_sfh(posterior, merged=True)
    with pytest.raises(ValueError, match="has no mh_mean"):
        psp.plot_amr(posterior.drop_vars("mh_mean"))
    with pytest.raises(ValueError, match="got list"):
        psp.plot_sfh([1.0])
    assert not plt.get_fignums()
