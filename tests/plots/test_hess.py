"""plot_hess and plot_hess_residuals: what is drawn where, and the errors."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import QuadMesh

import pymc_starpop as psp
from tolerances import assert_close

AXES = psp.HessAxes(
    ("Bessell_V", "Bessell_I"), "Bessell_I", np.linspace(0.0, 2.0, 5), np.linspace(18.0, 24.0, 7)
)
UNEQUAL = psp.HessAxes(("V", "I"), "I", [0.0, 0.5, 2.0, 2.5, 3.0], np.linspace(18.0, 24.0, 7))


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def hess(rng):
    counts = rng.poisson(3.0, AXES.shape).astype(float)
    counts[0, 0], counts[2, 1], counts[5, 3] = 0.0, 1.0, 40.0
    return AXES.wrap(counts)


def mesh(ax):
    """What is drawn over the gray of masked bins."""
    return [c for c in ax.collections if isinstance(c, QuadMesh)][-1]


def drawn(ax):
    """Values by bin, NaN where nothing is drawn."""
    array = mesh(ax).get_array()
    return np.ma.filled(array.astype(float), np.nan).reshape(mesh(ax)._coordinates.shape[0] - 1, -1)


def test_counts_stand_in_their_bins_with_magnitudes_downwards(hess):
    ax = psp.plot_hess(hess)
    corners = mesh(ax)._coordinates
    assert_close(corners[0, :, 0], AXES.color_edges, "same_formula")
    assert_close(corners[:, 0, 1], AXES.mag_edges, "same_formula")
    expected = np.where(hess.values > 0, hess.values, np.nan)
    np.testing.assert_array_equal(drawn(ax), expected)
    assert ax.get_ylim() == (24.0, 18.0)
    assert ax.get_xlim() == (0.0, 2.0)
    assert ax.get_xlabel() == "$V$ $-$ $I$ (mag)"
    assert ax.get_ylabel() == "Bessell $I$ (mag)"
    ax.figure.canvas.draw()


def test_colors_begin_at_the_fewest_stars_or_at_a_part_of_the_most(hess):
    assert mesh(psp.plot_hess(hess)).get_clim() == (1.0, 40.0)
    model = hess + 0.5
    model[1, 1] = 1e-12
    assert_close(mesh(psp.plot_hess(model)).get_clim(), (40.5e-4, 40.5), "same_formula")
    ax = psp.plot_hess(model, limits=(0.1, 20.0))
    assert mesh(ax).get_clim() == (0.1, 20.0)
    # Below the scale a bin is as white as one without stars.
    assert mesh(ax).to_rgba([1e-12])[0].tolist() == [1.0, 1.0, 1.0, 1.0]
    assert mesh(psp.plot_hess(hess, log=False)).norm(20.5) == pytest.approx(0.5)


def test_masked_bins_are_gray(hess):
    mask = np.ones(AXES.shape, dtype=bool)
    mask[5, 3] = mask[4, 0] = False
    ax = psp.plot_hess(hess, mask=AXES.wrap(mask))
    assert np.isnan(drawn(ax)[~mask]).all()
    assert mesh(ax).get_clim()[1] == hess.values[mask].max()
    gray, _ = (c for c in ax.collections if isinstance(c, QuadMesh))
    shown = ~np.ma.getmaskarray(gray.get_array()).reshape(AXES.shape)
    np.testing.assert_array_equal(shown, ~mask)
    assert gray.to_rgba([1.0])[0].tolist() == [0.85, 0.85, 0.85, 1.0]


def test_values_that_do_not_count_may_be_missing(hess):
    mask = np.ones(AXES.shape, dtype=bool)
    mask[3, 2] = False
    hess[3, 2] = np.nan
    assert np.isnan(drawn(psp.plot_hess(hess, mask=mask))[3, 2])
    with pytest.raises(ValueError, match="hess must be finite, 1 bins are not"):
        psp.plot_hess(hess)


def test_residuals_are_significances(hess, rng):
    model = rng.uniform(0.5, 6.0, AXES.shape)
    model[0, 0] = model[2, 1] = 0.0
    mask = rng.random(AXES.shape) < 0.8
    mask[0, 0] = mask[2, 1] = mask[5, 3] = True
    ax = psp.plot_hess_residuals(hess, model, mask=mask, limit=4.0)
    counted = mask & (model > 0)
    expected = (hess.values - model)[counted] / np.sqrt(model[counted])
    assert_close(drawn(ax)[counted], expected, "same_formula")
    assert np.isnan(drawn(ax)[~mask]).all()
    # Neither stars nor any expected: blank. Stars where none are expected: beyond the scale.
    assert np.isnan(drawn(ax)[0, 0])
    assert drawn(ax)[2, 1] > 1e6
    assert mesh(ax).get_clim() == (-4.0, 4.0)
    (colorbar,) = [other for other in ax.figure.axes if other is not ax]
    assert "expected" in colorbar.get_ylabel()
    ax.figure.canvas.draw()


def test_a_fit_is_its_expected_stars(hess):
    fit = SimpleNamespace(model=hess + 1.0)
    expected = drawn(psp.plot_hess_residuals(hess, fit.model))
    np.testing.assert_array_equal(drawn(psp.plot_hess_residuals(hess, fit)), expected)


def test_templates_and_axes_give_bins_of_any_width(hess, rng):
    tmpl = psp.TemplateSet.from_arrays(np.ones((1, 1, *UNEQUAL.shape)), UNEQUAL, [9.0], [0.0])
    for bins in (UNEQUAL, tmpl):
        ax = psp.plot_hess(hess.values, bins)
        assert_close(mesh(ax)._coordinates[0, :, 0], UNEQUAL.color_edges, "same_formula")
        assert ax.get_xlabel() == "V $-$ I (mag)"
    labeled = UNEQUAL.wrap(hess.values)
    with pytest.raises(ValueError, match="bins of unequal width in color"):
        psp.plot_hess(labeled)
    ax = psp.plot_hess_residuals(hess.values, AXES.wrap(hess.values + 1.0))
    assert ax.get_xlabel() == "$V$ $-$ $I$ (mag)"


def test_transposed_diagrams_and_axes_of_the_user(hess):
    _, ax = plt.subplots()
    assert psp.plot_hess(hess.transpose("color", "mag"), ax=ax, colorbar=False) is ax
    np.testing.assert_array_equal(drawn(ax), drawn(psp.plot_hess(hess)))
    assert ax.figure.axes == [ax]


def test_a_diagram_without_stars(hess):
    empty = hess * 0.0
    with pytest.raises(ValueError, match="holds no stars"):
        psp.plot_hess(empty)
    np.testing.assert_array_equal(drawn(psp.plot_hess(empty, log=False)), empty.values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hess": np.ones((6, 4))}, "axes is needed for arrays without labels"),
        ({"hess": np.ones((4, 6)), "axes": AXES}, r"= \(6, 4\) of the bins, got \(4, 6\)"),
        ({"hess": -np.ones((6, 4)), "axes": AXES}, "must not be negative, got -1"),
        ({"hess": np.full((6, 4), np.inf), "axes": AXES}, "must be finite, 24 bins"),
        ({"hess": np.ones((6, 4)), "axes": AXES, "mask": np.ones((6, 4))}, "mask must be booleans"),
        (
            {"hess": np.ones((6, 4)), "axes": AXES, "mask": np.ones((4, 6), bool)},
            "mask must have the shape",
        ),
        ({"hess": AXES.wrap(np.ones((6, 4))).expand_dims("chain")}, "average over draws"),
        ({"hess": AXES.wrap(np.ones((6, 4))).isel(mag=[0])}, "centers in mag do not tell"),
    ],
)
def test_wrong_diagrams_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        psp.plot_hess(**arguments)
    assert not plt.get_fignums()


def test_matplotlib_axes_in_the_place_of_the_bins(hess):
    with pytest.raises(ValueError, match="a Matplotlib axes is given as ax="):
        psp.plot_hess(hess, plt.gca())


def test_wrong_models_are_named(hess):
    with pytest.raises(ValueError, match="limit must be positive"):
        psp.plot_hess_residuals(hess, hess, limit=0.0)
    with pytest.raises(ValueError, match="model must not be negative"):
        psp.plot_hess_residuals(hess, -hess)
    with pytest.raises(ValueError, match="model must have the shape"):
        psp.plot_hess_residuals(hess, np.ones((3, 3)))


def test_residuals_of_a_fit_name_its_backgrounds(hess):
    model = AXES.wrap(np.full(AXES.shape, 3.0))
    fit = SimpleNamespace(model=model, background_stars={"uniform": 12.34, "foreground": 5678.0})
    (text,) = psp.plot_hess_residuals(hess, fit).texts
    assert text.get_text() == "uniform: 12.3 stars\nforeground: 5678 stars"
    assert not psp.plot_hess_residuals(hess, model).texts
