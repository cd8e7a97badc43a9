"""plot_cluster_check: what is on the axes, and the errors."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import LineCollection, PathCollection

from pymc_starpop.plots.cluster_check import plot_cluster_check
from pymc_starpop.summaries import ClusterCheck
from pymc_starpop.summaries.fit_rows import CheckRow, verdict_table

BANDS = ("Gaia_BP_EDR3", "Gaia_RP_EDR3", "Gaia_G_EDR3")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def check(rng):
    rows = [
        CheckRow("rivals", "optima", 3.0, 10.0, "doubt", "quote them"),
        CheckRow("grid edge", "log_age", 0.2, 0.05, "doubt", "a limit"),
        CheckRow("prior width", "feh", 0.95, 0.9, "note", "the data say nothing of it"),
        CheckRow("prior bound", "av", 0.01, 0.1, "fine"),
        CheckRow("field at faint end", "Gaia_G_EDR3", np.nan, np.nan, "not known", "no field"),
    ]
    residuals = {
        "color_residual": [0.002, 0.05, np.nan], "color_error": [0.004, 0.01, np.nan],
        "mag_residual": [0.0, 0.1, np.nan], "mag_low": [10.0, 12.0, 14.0],
        "mag_high": [12.0, 14.0, 15.0], "n_star": [20, 30, 3],
    }  # fmt: skip
    moved = {
        "shift": (("part", "parameter"), np.array([[0.1, 0.2], [0.3, -0.1], [1.5, 0.2]])),
        "pareto_k": ("part", [0.1, 0.2, 0.3]), "mag_low": ("part", [9.0, 11.0, 13.0]),
        "mag_high": ("part", [11.0, 13.0, 15.0]), "n_star": ("part", [10, 10, 10]),
    }  # fmt: skip
    stars = {name: ("star", rng.uniform(0.0, 1.0, 30)) for name in ("color", "membership")}
    track = np.stack([np.linspace(0.5, 2.0, 20), np.linspace(9.0, 16.0, 20)], axis=-1)
    return ClusterCheck(
        verdict_table(rows),
        xr.Dataset(stars | {"mag": ("star", rng.uniform(9.0, 15.0, 30))}),
        xr.DataArray(
            [track, track + 0.01], dims=("sample", "point", "axis"),
            coords={"axis": ["color", "mag"]},
        ),
        xr.Dataset({name: ("bin", column) for name, column in residuals.items()}),
        None,
        xr.Dataset(moved, coords={"part": ["a", "b", "c"], "parameter": ["log_age", "av"]}),
        BANDS[:2],
        BANDS[2],
    )  # fmt: skip


def test_what_the_panels_show(check):
    diagram, residual, sensitivity, priors = plot_cluster_check(check)
    points = next(c for c in diagram.collections if isinstance(c, PathCollection))
    assert len(points.get_offsets()) == 30
    tracks = next(c for c in diagram.collections if isinstance(c, LineCollection))
    assert len(tracks.get_paths()) == 2
    assert diagram.yaxis_inverted()
    assert residual.yaxis_inverted()
    assert residual.get_ylim() == diagram.get_ylim()
    assert diagram.get_ylabel() == "Gaia $G$ (mag)"
    colors = [c.lines[0].get_color() for c in residual.containers]
    assert colors[1] != colors[0]
    assert residual.get_xlim()[1] > 0.05
    assert [t.get_text() for t in sensitivity.get_xticklabels()] == ["log age", "$A_V$"]
    assert len(sensitivity.get_legend().get_texts()) == 3
    # The largest on top; other checks have no bar.
    assert [t.get_text() for t in priors.texts] == [
        "prior bound: av", "prior width: feh", "grid edge: log_age",
    ]  # fmt: skip
    widths = [bar.get_width() for bar in priors.patches]
    np.testing.assert_allclose(widths, [0.1, 0.95 / 0.9, 2.0])


def test_axes_of_ones_own_and_missing_parts(check):
    _, axes = plt.subplots(1, 4)
    less = ClusterCheck(
        check.table[:1], check.stars, check.isochrones, None, None, None, check.color, check.mag
    )
    found = plot_cluster_check(less, axes=axes)
    assert list(found) == list(axes)
    said = [ax.texts[0].get_text() for ax in found[1:]]
    assert said == ["not known", "no parameter varies", "nothing to show"]


def test_refusals(check):
    with pytest.raises(ValueError, match=r"check must be what psp.check_cluster_fit returned"):
        plot_cluster_check(check.table)
    with pytest.raises(ValueError, match="axes must be 4, got 1; or leave them out"):
        plot_cluster_check(check, axes=[plt.subplots()[1]])


def test_the_table_as_text_has_doubts_first(check):
    lines = str(check).splitlines()
    assert lines[0].split() == ["verdict", "check", "of", "value", "limit"]
    assert [line.split("  ")[0] for line in lines[1:6]] == [
        "doubt", "doubt", "not known", "note", "fine",
    ]  # fmt: skip
    assert "doubt: grid edge, log_age: a limit" in lines
    assert lines[-1] == "reasons to doubt: 2"
    assert not check.ok
    assert check.problems["check"].tolist() == ["rivals", "grid edge"]
