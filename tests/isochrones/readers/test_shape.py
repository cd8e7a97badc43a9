"""Tables without phase labels: stages that agree between neighbors, or a refusal."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pymc_starpop as psp
from pymc_starpop.isochrones.readers import RawIsochrone
from pymc_starpop.isochrones.readers.shape import choose_diagram, find_shape

BANDS = ("Bessell_V", "Bessell_I")
FEHS = (-1.5, -0.5, 0.0)
CENTERS = (8.5, 8.8, 9.1, 9.4, 9.7, 10.0)
STEP = 0.1


def table(iso, nodes, bands, last=808, columns=()):
    """Rows of isochrones of a grid, as far as a likelihood uses them."""
    found = {name: [] for name in ("feh", "age", "m", *columns, *bands)}
    for feh, age in nodes:
        one = iso.at(feh, age, bands)
        keep = (one.initial_mass > 0.1) & (one.eep <= last)
        keep[1:] &= np.diff(one.initial_mass) > 0.0
        found["feh"].append(np.full(keep.sum(), feh))
        found["age"].append(np.full(keep.sum(), age))
        found["m"].append(one.initial_mass[keep])
        for name in columns:
            found[name].append(getattr(one, name)[keep])
        for b, band in enumerate(bands):
            found[band].append(one.abs_mag[keep, b])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def read(iso, nodes, bands, **how):
    rows = table(iso, nodes, bands, **how)
    names = {name: name for name in how.get("columns", ())}
    return psp.read_table(
        rows, initial_mass="m", feh="feh", log_age="age", bands=bands, columns=names
    )


def ages_around(center):
    return np.round([center - STEP, center, center + STEP], 2)


def turn_off_mass(one):
    """Mass at which T_eff first turns over on the main sequence, by 0.002 dex."""
    late = np.flatnonzero((one.initial_mass > 0.6 * one.initial_mass.max()) & (one.eep <= 480))
    log_teff = one.log_teff[late]
    over = np.flatnonzero(log_teff < np.maximum.accumulate(log_teff) - 0.002)
    stop = over[0] if over.size else log_teff.size
    return one.initial_mass[late][np.argmax(log_teff[:stop])]


def worst_below_turn_off(grid, iso, feh, age, bands, shares=(0.0, 0.98)):
    """Largest difference (mag) at equal mass from the isochrone at an age between the nodes.

    Of stars from one share of the mass of the turn-off to the other.
    """
    truth, model = iso.at(feh, age, bands), grid.at(feh, age, bands)
    # The source has a kink at 0.15 Msun that is no matter of stages.
    low, high = np.array(shares) * turn_off_mass(truth)
    used = (truth.initial_mass > max(0.2, low)) & (truth.initial_mass < high)
    if not used.any():
        return 0.0
    mass = np.maximum.accumulate(model.initial_mass)
    found = [np.interp(truth.initial_mass[used], mass, mag) for mag in model.abs_mag.T]
    return np.abs(np.column_stack(found) - truth.abs_mag[used]).max()


@pytest.mark.parametrize("bands", [BANDS, BANDS[::-1]])
def test_36_grids_of_three_ages(iso, bands):
    """18 grids in V, I and 18 in I, V: right at the ages left out between nodes, or refused."""
    worst, refused = [], []
    for feh in FEHS:
        for center in CENTERS:
            ages = ages_around(center)
            try:
                grid = read(iso, [(feh, age) for age in ages], bands)
            except psp.IsochroneFileError as error:
                refused.append((feh, center, str(error)))
                continue
            for age in np.round((ages[1:] + ages[:-1]) / 2, 3):
                worst.append(worst_below_turn_off(grid, iso, feh, age, bands))
    assert max(worst) < 0.03
    assert [(feh, center) for feh, center, _ in refused] == [(-1.5, 8.8)]
    assert "log_age = 8.7 no tip of the giant branch is seen, but one at" in refused[0][2]


def read_labelled(iso, nodes):
    """The same isochrones with the labels of PARSEC where the source's own points say so."""
    rows = table(iso, nodes, BANDS, columns=("eep",))
    eep = rows.pop("eep")
    rows["label"] = np.select([eep < 454, eep < 490, eep <= 605, eep <= 707], [1, 2, 3, 4], 7)
    kept = (eep <= 605) | (eep >= 631)
    return psp.read_table(
        {name: values[kept] for name, values in rows.items()},
        initial_mass="m", feh="feh", log_age="age", bands=BANDS, columns={"phase": "label"},
    )  # fmt: skip


@pytest.mark.parametrize("feh", [-1.0, -0.3, 0.25])
def test_what_is_left_is_the_interpolation_between_ages(iso, feh):
    """At other [Fe/H]: right to 0.03 mag up to 0.95 of the turn-off, then as with right labels.

    Below 0.4 solar masses, where stars become fully convective, 0.035 mag at log age 8.45.
    """
    for center in (*CENTERS, 9.85):
        ages = ages_around(center)
        nodes = [(feh, age) for age in ages]
        grid, labelled = read(iso, nodes, BANDS), read_labelled(iso, nodes)
        for age in np.round((ages[1:] + ages[:-1]) / 2, 3):
            at = (iso, feh, age, BANDS)
            assert worst_below_turn_off(grid, *at, (0.0, 0.95)) < 0.036
            assert worst_below_turn_off(grid, *at, (0.3, 0.95)) < 0.03
            near, best = (worst_below_turn_off(g, *at, (0.95, 0.98)) for g in (grid, labelled))
            assert near < best + 0.006
            assert near < 0.095


def test_the_order_of_the_bands_does_not_matter(iso):
    nodes = [(feh, age) for feh in (-0.25, 0.0) for age in (9.4, 9.5, 9.6)]
    bands = ("Bessell_B", *BANDS, "2MASS_J")
    first = read(iso, nodes, bands)
    for order in ((3, 2, 1, 0), (1, 3, 0, 2)):
        names = [bands[k] for k in order]
        other = read(iso, nodes, names)
        assert other.option_defaults == first.option_defaults
        assert_array_equal(other.theory[..., 0], first.theory[..., 0])
        assert_array_equal(other.at(-0.1, 9.45, bands).abs_mag, first.at(-0.1, 9.45, bands).abs_mag)


def test_stages_are_where_they_are(iso):
    """Base and tip of the giant branch at each node, where tracks of the source have them."""
    ages = np.round(np.arange(8.9, 10.01, 0.1), 2)
    for columns, bands in (((), BANDS), (("log_teff", "log_l"), BANDS), ((), ("2MASS_J", "TESS"))):
        grid = read(iso, [(0.0, age) for age in ages], bands, columns=columns)
        base, tip = 400, grid.flash_eeps[0] - 1
        for age in ages:
            one, truth = grid.at(0.0, age, bands), iso.at(0.0, age, bands)
            assert one.initial_mass[tip] == pytest.approx(truth.initial_mass[604], rel=2e-4)
            eep = np.interp(one.initial_mass[base], truth.initial_mass[:605], truth.eep[:605])
            assert 500 < eep < 540


def test_tables_that_end_at_the_tip(iso):
    nodes = [(0.0, age) for age in (9.4, 9.5, 9.6)]
    grid = read(iso, nodes, BANDS, last=605)
    assert grid.flash_eeps is None
    assert grid.option_defaults["eep_max"] == 550
    assert worst_below_turn_off(grid, iso, 0.0, 9.55, BANDS) < 0.03


def test_tables_of_dwarfs(iso):
    """Isochrones that end on the main sequence have one stage."""
    nodes = [(0.0, age) for age in (9.4, 9.5, 9.6)]
    grid = read(iso, nodes, BANDS, last=330)
    truth, model = iso.at(0.0, 9.55, BANDS), grid.at(0.0, 9.55, BANDS)
    used = (truth.initial_mass > 0.2) & (truth.initial_mass < model.initial_mass.max())
    found = [np.interp(truth.initial_mass[used], model.initial_mass, m) for m in model.abs_mag.T]
    assert_allclose(np.column_stack(found), truth.abs_mag[used], atol=0.03)


def test_stages_that_are_not_seen_are_refused(iso):
    nodes = [(0.0, age) for age in (9.4, 9.5, 9.6)]
    message = r"log_age = 9.4 there is no color .*; give phase labels or EEPs"
    with pytest.raises(psp.IsochroneFileError, match=message):
        read(iso, nodes, ["Bessell_V"])
    with pytest.raises(psp.IsochroneFileError, match="no base of a red giant branch is seen"):
        read(iso, [(-2.0, age) for age in (8.3, 8.4)], BANDS)
    message = r"\[Fe/H\] = -2, log_age = 8.7 no tip of the giant branch is seen, but one at"
    with pytest.raises(psp.IsochroneFileError, match=message):
        read(iso, [(-2.0, age) for age in (8.6, 8.7, 8.8)], BANDS)


def sketch(bump, base_color=0.9):
    """An isochrone of straight pieces: main sequence, subgiants, giants with a bump, clump."""
    corners = np.array(
        [[2.0, 8.0], [0.5, 4.0], [base_color, 3.6], [1.1, 0.5], [1.1 - bump / 8, 0.5 + bump],
         [1.6, -3.5], [1.0, -0.2], [1.5, -2.5]]
    )  # fmt: skip
    mass = np.array([0.5, 1.0, 1.03, 1.04, 1.042, 1.05, 1.0501, 1.06])
    at = np.arange(len(corners))
    fine = np.unique(np.concatenate([at, np.linspace(0, at[-1], 500)]))
    color, bright = (np.interp(fine, at, corners[:, k]) for k in range(2))
    one = RawIsochrone(
        path=Path("sketch"), lines=np.arange(fine.size), feh=0.0, log_age=9.8, bands=("r", "b"),
        initial_mass=np.interp(fine, at, mass), mag=np.column_stack([bright, bright + color]),
    )  # fmt: skip
    return one, {name: int(np.searchsorted(fine, at[k])) for name, k in (("base", 2), ("tip", 5))}


@pytest.mark.parametrize("bump", [0.0, 0.3, 0.9])
def test_a_bump_is_no_tip(bump):
    one, rows = sketch(bump)
    diagram = choose_diagram([one])
    assert (diagram.blue, diagram.red) == (1, 0)
    shape = find_shape(one, diagram)
    assert (shape.base, shape.tip, shape.falls) == (rows["base"], rows["tip"], True)
    assert shape.rise == pytest.approx(7.1)
    assert shape.reddening == pytest.approx(0.4)


def test_a_base_of_another_color_than_its_neighbors_is_refused():
    def rows(one, age):
        return {"m": one.initial_mass, "age": np.full(len(one), age), "r": one.mag[:, 0],
                "b": one.mag[:, 1]}  # fmt: skip

    parts = [rows(sketch(0.0)[0], 9.7), rows(sketch(0.0, base_color=0.65)[0], 9.8)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    message = "log_age = 9.8 the base of the giant branch differs by 0.25 mag in color from that at"
    with pytest.raises(psp.IsochroneFileError, match=message):
        psp.read_table(joined, initial_mass="m", feh=0.0, log_age="age", bands=["r", "b"])
