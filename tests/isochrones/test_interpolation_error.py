"""Isochrones at left-out nodes; the whole table is printed by the benchmark of the same name."""

import numpy as np
import pytest

from left_out_nodes import errors_at_left_out_nodes, thinned

GAIA = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3")


def test_bundled_isochrones(iso):
    limits = {"feh": (-0.6, 0.3), "log_age": (9.2, 9.9)}
    ages = errors_at_left_out_nodes(iso, GAIA, "log_age", **limits)
    assert np.median(ages.dwarfs) < 0.005
    assert np.quantile(ages.dwarfs, 0.95) < 0.15
    assert np.median(ages.giants) < 0.05
    assert np.quantile(ages.off_track, 0.95) < 0.005
    fehs = errors_at_left_out_nodes(iso, GAIA, "feh", feh=(-0.6, 0.3), log_age=(9.45, 9.55))
    assert np.median(fehs.dwarfs) < 0.05
    assert np.quantile(fehs.off_track, 0.95) < 0.01


@pytest.mark.parametrize("axis", ["log_age", "feh"])
def test_thinned_grid_keeps_every_other_node(iso, axis):
    few = thinned(iso.with_nodes(100), axis)
    assert few.theory.shape[0 if axis == "feh" else 1] == (6 if axis == "feh" else 39)
    feh, age = few.feh[1], few.log_age[2]
    expected = iso.with_nodes(100).at(feh, age, GAIA)
    np.testing.assert_array_equal(few.at(feh, age, GAIA).abs_mag, expected.abs_mag)


def test_a_grid_that_is_linear_has_no_error(iso):
    """The measure itself: nothing is left where interpolation is exact."""
    import pymc_starpop as psp

    rows = {"m": [], "age": [], "V": [], "eep": []}
    for k in range(7):
        mass = np.linspace(0.1, 1.5 - 0.05 * k, 40)
        rows["m"].append(mass)
        rows["V"].append(10.0 - 8.0 * np.linspace(0.0, 1.0, 40) + 0.2 * k)
        rows["age"].append(np.full(40, 9.0 + 0.1 * k))
        rows["eep"].append(np.arange(40))
    table = {name: np.concatenate(parts) for name, parts in rows.items()}
    grid = psp.read_table(
        table, initial_mass="m", feh=0.0, log_age="age", bands=["V"], columns={"eep": "eep"},
        eep_scale=(30, 39),
    )  # fmt: skip
    found = errors_at_left_out_nodes(grid, ["V"], "log_age")
    # The mass is linear in age and the interpolation cubic in its logarithm.
    assert found.dwarfs.max() < 2e-3
    assert found.off_track.max() < 1e-9
