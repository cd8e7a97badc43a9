"""Several isochrones from files: rectangles of nodes, homologous points, missing magnitudes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pymc_starpop as psp
from isochrone_files import write_cmd, write_mist
from left_out_nodes import errors_at_left_out_nodes
from pymc_starpop.isochrones.readers import parse_parsec
from tolerances import assert_close

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3")
AGES = (9.3, 9.4, 9.5, 9.6, 9.7)


@pytest.fixture(scope="module")
def mist(iso, tmp_path_factory):
    """Two files of five ages; two isochrones lack their lowest points."""
    folder = tmp_path_factory.mktemp("mist")
    first = [150, 160, 170, 150, 165]
    paths = [
        write_mist(folder / f"{feh}.iso.cmd", iso, feh, AGES, BANDS, first_eep=first,
                   last_eep=[808, 790, 808, 808, 800])
        for feh in (-0.25, 0.0)
    ]  # fmt: skip
    return psp.read_mist(paths), paths


def test_grid_of_mist_files(mist, iso):
    grid, _ = mist
    assert_array_equal(grid.feh, [-0.25, 0.0])
    assert_array_equal(grid.log_age, AGES)
    assert (grid.eep[0], grid.eep[-1]) == (150, 790)
    assert grid.option_defaults["eep_max"] == 790
    assert grid.option_defaults["binary_eep_max"] == 480
    one, truth = grid.at(0.0, 9.4, BANDS), iso.at(0.0, 9.4, BANDS)
    own = one.eep >= 160
    assert_array_equal(one.filled, ~own)
    rows = np.searchsorted(truth.eep, one.eep[own])
    assert_allclose(one.abs_mag[own], truth.abs_mag[rows], rtol=1e-11)
    assert (np.diff(one.initial_mass[: own.argmax() + 1]) > 0).all()
    lowest = max(iso.at(f, a, BANDS).initial_mass[e - 1] for f in (-0.25, 0.0)
                 for a, e in zip(AGES, [150, 160, 170, 150, 165], strict=True))  # fmt: skip
    assert lowest <= grid.mass_min < lowest + 1e-4


def test_order_of_files_does_not_matter(mist):
    grid, paths = mist
    assert psp.read_mist(paths[::-1]).theory.tobytes() == grid.theory.tobytes()


def test_theory_without_magnitudes_gets_bundled_corrections(iso, tmp_path):
    path = write_mist(tmp_path / "m.iso", iso, 0.0, [9.5], ["2MASS_J"], magnitudes=False)
    grid = psp.read_mist(path)
    assert grid.bands == iso.bands
    expected = iso.at(0.0, 9.5, BANDS, av=0.5).abs_mag
    assert_allclose(grid.at(0.0, 9.5, BANDS, av=0.5).abs_mag, expected, atol=1e-9)
    with pytest.raises(psp.IsochroneFileError, match="no magnitudes; leave bands out"):
        psp.read_mist(path, bands=["2MASS_J"])


@pytest.fixture(scope="module")
def cmd_file(iso, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parsec")
    ages = np.round(np.arange(9.2, 9.81, 0.05), 2)
    return write_cmd(folder / "cmd.dat", iso, (-0.25, 0.0, 0.25), ages, ("Gaia_G_EDR3", "2MASS_J"))


def test_output_of_cmd(cmd_file, iso):
    names = {"Gaia_G_EDR3mag": "Gaia_G_EDR3", "2MASS_Jmag": "2MASS_J"}
    grid = psp.read_parsec(cmd_file, bands=names)
    assert grid.bands == tuple(names.values())
    assert_array_equal(grid.feh, [-0.25, 0.0, 0.25])
    assert grid.log_age.size == 13
    assert set(grid.system.values()) == {"Test (Vega)"}
    assert not grid.filled.any()
    one, truth = grid.at(0.0, 9.5, grid.bands), iso.at(0.0, 9.5, grid.bands)
    # On the straight pieces between rows, three points of the model apart.
    dwarf = (one.initial_mass > 0.1) & (one.eep < grid.main_sequence_eep)
    for b in range(2):
        mag = np.interp(one.initial_mass, truth.initial_mass, truth.abs_mag[:, b])
        assert_allclose(one.abs_mag[dwarf, b], mag[dwarf], atol=0.02)
    tip, helium = grid.flash_eeps
    assert one.initial_mass[tip - 1] == one.initial_mass[helium - 1]
    assert one.abs_mag[helium - 1, 0] - one.abs_mag[tip - 1, 0] > 2.0
    assert grid.at(0.0, 9.5, grid.bands, av=1.0).abs_mag[0, 1] - one.abs_mag[0, 1] > 0.25


def test_rows_of_cmd_are_kept_by_the_parser(cmd_file):
    raw = parse_parsec(cmd_file)
    assert len(raw) == 39
    row = cmd_file.read_text().splitlines()[3].split()
    assert (raw[0].feh, raw[0].log_age) == (float(row[1]), float(row[2]))
    assert raw[0].initial_mass[0] == float(row[3])
    assert raw[0].phase[0] == int(row[9])
    assert raw[0].lines[0] == 4


def test_homologous_points_interpolate(cmd_file):
    """At left-out ages, from nodes 0.1 dex apart."""
    grid = psp.read_parsec(cmd_file)
    found = errors_at_left_out_nodes(grid, grid.bands, "log_age", feh=(0.0, 0.0))
    assert np.median(found.dwarfs) < 0.003
    assert np.quantile(found.dwarfs, 0.95) < 0.04
    assert np.median(found.off_track) < 0.002
    assert np.quantile(found.off_track, 0.95) < 0.03


def test_labels_and_shape_agree_on_the_stages(cmd_file, iso):
    """Without labels, T_eff and L the points are nearly the same ones."""
    both = []
    for drop in ((), ("label", "logL", "logTe", "logg")):
        lines = cmd_file.read_text().splitlines()
        names = lines[2].lstrip("# ").split()
        keep = [k for k, name in enumerate(names) if name not in drop]
        lines[2:-1] = [" ".join(line.lstrip("# ").split()[k] for k in keep) for line in lines[2:-1]]
        path = cmd_file.with_name(f"fewer{len(drop)}.dat")
        path.write_text("\n".join(lines) + "\n")
        both.append(psp.read_parsec(path))
    full, shape = (grid.at(0.0, 9.5, grid.bands) for grid in both)
    tips = [grid.flash_eeps[0] - 1 for grid in both]
    assert_close(full.initial_mass[tips[0]], shape.initial_mass[tips[1]], "float32")
    base = [one.initial_mass[400] for one in (full, shape)]
    assert abs(base[0] - base[1]) < 0.02


def test_last_isochrone_cut_off(cmd_file, tmp_path):
    lines = cmd_file.read_text().splitlines()
    path = tmp_path / "cut.dat"
    path.write_text("\n".join(lines[:-160]) + "\n")
    with pytest.raises(psp.IsochroneFileError, match=r"line \d+: the last isochrone ends in phase"):
        psp.read_parsec(path)


def test_columns_that_change_within_a_file(cmd_file, tmp_path):
    lines = cmd_file.read_text().splitlines()
    path = tmp_path / "two.dat"
    path.write_text("\n".join([*lines, lines[2].replace("2MASS_J", "2MASS_H"), *lines[3:]]) + "\n")
    match = rf"line {len(lines) + 1}: other columns from here on"
    with pytest.raises(psp.IsochroneFileError, match=match):
        psp.read_parsec(path)
    path.write_text("\n".join([*lines, *lines[3:]]) + "\n")
    with pytest.raises(psp.IsochroneFileError, match="a second isochrone"):
        psp.read_parsec(path)
