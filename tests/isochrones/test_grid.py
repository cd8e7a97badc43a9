"""IsochroneGrid: interpolation, photometry, choice of nodes, pickling, errors."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pymc_starpop.isochrones import IsochroneGrid, load_isochrones
from pymc_starpop.isochrones.nodes import REQUIRED_EEPS, choose_nodes, chord_departures
from pymc_starpop.isochrones.source import bundled_source

BANDS = ["Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3", "2MASS_J", "2MASS_Ks"]


@pytest.fixture(scope="module")
def iso():
    return load_isochrones()


def test_an_isochrone_on_a_grid_point_is_the_table(iso):
    i, j = 5, 40
    one = iso.at(iso.feh[i], iso.log_age[j], BANDS)
    expected = iso.theory[i, j]
    assert_array_equal(one.initial_mass, 10.0 ** expected[:, 0])
    assert_array_equal(one.log_teff, expected[:, 1])
    assert_array_equal(one.log_g, expected[:, 2])
    assert_array_equal(one.log_l, expected[:, 3])
    assert_array_equal(one.filled, iso.filled[i, j])
    assert_array_equal(one.eep, iso.eep)
    assert one.abs_mag.shape == (one.eep.size, len(BANDS))


def test_magnitudes_on_a_node_of_every_axis(iso):
    table = iso.bolometric(BANDS)
    at_node = table.interpolate(table.log_teff[[8, 20]], table.log_g[[12, 14]], table.feh[3])
    expected = table.coefficients[3, [8, 20], [12, 14]]
    assert_allclose(at_node, expected, rtol=1e-13, atol=1e-13)


def test_the_sun_has_its_absolute_magnitude(iso):
    one = iso.at(0.0, 9.66, ["Bessell_V", "2MASS_Ks"])
    main_sequence = one.eep < 454
    sun = [np.interp(1.0, one.initial_mass[main_sequence], m) for m in one.abs_mag[main_sequence].T]
    # Willmer 2018, table 3 (Vega): 4.81 in V, 3.27 in 2MASS Ks. These models at 1 Msun and
    # [Fe/H] = 0 are 7 % brighter and 60 K hotter than the Sun (0.12 mag in V).
    assert_allclose(sun, [4.81, 3.27], atol=0.15)


def test_extinction_follows_the_polynomial_and_rv(iso):
    table = iso.bolometric(BANDS)
    clear = iso.at(-0.3, 9.3, BANDS)
    red = iso.at(-0.3, 9.3, BANDS, av=1.5, rv=2.7)
    c = table.interpolate(clear.log_teff, clear.log_g, -0.3)
    expected = -(c[..., 1] * 1.5 + c[..., 2] * 1.5**2 + c[..., 3] * 1.5**3)
    expected += 1.5 * iso.rv_slope(BANDS) * (1 / 2.7 - 1 / 3.1)
    assert_allclose(red.abs_mag - clear.abs_mag, expected, atol=1e-12)
    assert np.all(red.abs_mag > clear.abs_mag)


def test_isochrones_are_smooth_across_a_grid_line(iso):
    for axis, x in (("feh", iso.feh[6]), ("log_age", iso.log_age[40])):
        point = {"feh": -0.1, "log_age": 9.52, "bands": BANDS}
        h = 1e-6
        below, at, above = (iso.at(**{**point, axis: x + d}).abs_mag for d in (-h, 0.0, h))
        assert_allclose((above - at) / h, (at - below) / h, rtol=1e-2, atol=0.02)


def test_cubic_bolometric_corrections_do_not_overshoot(iso):
    """Between nodes in T_eff no value leaves the range of the two nodes by more than 2 mmag."""
    table = iso.bolometric(BANDS)
    dwarf = int(np.argmin(np.abs(table.log_g - 4.5)))
    rows = np.flatnonzero((table.log_teff > np.log10(2900)) & (table.log_teff < np.log10(12000)))
    for k in rows:
        low, high = table.log_teff[k : k + 2]
        x = np.linspace(low, high, 9)
        bc = table.interpolate(x, np.full(9, table.log_g[dwarf]), 0.0)[..., 0]
        assert np.all(bc <= np.maximum(bc[0], bc[-1]) + 0.002)
        assert np.all(bc >= np.minimum(bc[0], bc[-1]) - 0.002)


def test_chosen_nodes_hold_the_required_eeps(iso):
    assert iso.eep.size == 808
    iso = iso.with_nodes(450)
    assert np.isin(REQUIRED_EEPS, iso.eep).all()
    assert iso.eep[0] == bundled_source().eep[0]
    assert_array_equal(iso.eep, load_isochrones(450).eep)


@pytest.mark.parametrize(
    ("first", "last", "tolerance"), [(202, 454, 0.0018), (454, 490, 0.004), (490, 606, 0.004)]
)
def test_chosen_nodes_follow_the_full_track(iso, first, last, tolerance):
    """At equal mass, median over isochrones of the worst point (main sequence: 95 % quantile)."""
    full, iso = iso, iso.with_nodes(450)
    quantile = 0.95 if first == 202 else 1.0
    worst = []
    for feh, log_age in [(-1.6, 9.9), (-0.6, 9.97), (0.03, 9.4), (0.1, 9.82), (0.22, 8.93)]:
        track, nodes = full.at(feh, log_age, BANDS), iso.at(feh, log_age, BANDS)
        keep = (track.eep >= first) & (track.eep < last)
        keep &= ~track.filled & (track.initial_mass > 0.1)
        off = [
            np.interp(track.initial_mass[keep], nodes.initial_mass, nodes.abs_mag[:, b])
            - track.abs_mag[keep, b]
            for b in range(len(BANDS))
        ]
        worst.append(np.quantile(np.abs(off).max(axis=0), quantile))
    assert np.median(worst) < tolerance


def test_chords_of_a_straight_track_depart_by_nothing():
    mass = np.linspace(0.5, 1.0, 40)[None, :]
    mag = np.stack([5.0 - 3.0 * mass, 4.0 - 2.0 * mass], axis=-1)
    departures = chord_departures(mass, mag, max_chord=8)
    assert_allclose(departures[:-8], 0.0, atol=1e-12)
    nodes = choose_nodes(np.arange(100, 140), departures, 12, required=(117,))
    assert nodes.size == 12
    assert {100, 117, 139} <= set(nodes.tolist())


def test_nodes_crowd_where_the_track_bends():
    mass = np.linspace(0.5, 1.0, 200)[None, :]
    mag = np.tanh((mass - 0.7) / 0.01)[..., None]
    nodes = choose_nodes(np.arange(200), chord_departures(mass, mag), 40, required=())
    bend = np.abs(mass[0, nodes] - 0.7) < 0.04
    assert np.diff(nodes[bend]).mean() < 0.5 * np.diff(nodes[~bend]).mean()


def test_with_nodes(iso):
    assert_array_equal(iso.with_nodes(None).eep, bundled_source().eep)
    assert iso.with_nodes(300).eep.size == 300
    chosen = iso.with_nodes([250, 300, 454])
    assert_array_equal(chosen.eep, [250, 300, 454])
    full = iso.with_nodes(None)
    rows = np.searchsorted(full.eep, chosen.eep)
    expected = full.at(0.07, 9.53, BANDS)
    assert_allclose(chosen.at(0.07, 9.53, BANDS).abs_mag, expected.abs_mag[rows], atol=1e-13)


@pytest.mark.parametrize("rebuild", [lambda g: pickle.loads(pickle.dumps(g)), copy.deepcopy])
def test_copies_equal_the_original(iso, rebuild):
    twin = rebuild(iso.with_nodes(200))
    assert twin.fingerprint == iso.with_nodes(200).fingerprint
    expected = iso.with_nodes(200).at(0.1, 9.2, BANDS)
    assert_array_equal(twin.at(0.1, 9.2, BANDS).abs_mag, expected.abs_mag)


def test_pickle_of_the_bundled_grid_is_small_and_others_carry_their_data(iso):
    assert len(pickle.dumps(iso)) < 10_000
    own = dataclasses.replace(bundled_source(), name="my models", bundled=False)
    grid = IsochroneGrid(own, iso.eep)
    assert pickle.loads(pickle.dumps(grid)).fingerprint == iso.fingerprint


def test_fingerprint_tells_content_apart(iso):
    assert iso.fingerprint != iso.with_nodes(300).fingerprint
    other = dataclasses.replace(bundled_source(), theory=bundled_source().theory + 1e-9)
    assert IsochroneGrid(other, iso.eep).fingerprint != iso.fingerprint


def test_arrays_are_read_only(iso):
    for array in (iso.feh, iso.log_age, iso.eep, iso.theory, iso.filled):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_repr_is_short_and_says_what_there_is(iso):
    assert "MIST" in repr(iso)
    assert "808 nodes" in repr(iso)
    assert len(repr(iso)) < 200
    assert "Msun" in repr(iso.at(0.0, 9.0, BANDS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"feh": 0.9}, r"feh=0\.9 is outside the grid: expected -.* to 0\.5 dex"),
        ({"feh": np.nan}, "feh=nan is outside"),
        ({"log_age": 4.0}, "log_age=4 is outside"),
        ({"log_age": [9.0, 9.1]}, "log_age: expected one number"),
        ({"av": -0.1}, "av=-0.1 is outside .* 0 to 4 mag"),
        ({"av": 4.5}, "av=4.5 is outside"),
        ({"rv": 0.0}, "rv=0 is outside"),
        ({"bands": ["Gaia_G"]}, "unknown band 'Gaia_G'; close matches: .*Gaia_G_EDR3.*iso.bands"),
        ({"bands": ["2MASS_J", "2MASS_J"]}, "2MASS_J repeatedly"),
        ({"bands": "2MASS_J"}, r"\['2MASS_J'\]"),
        ({"bands": []}, "bands is empty"),
    ],
)
def test_errors_of_at(iso, arguments, message):
    with pytest.raises(ValueError, match=message):
        iso.at(**{"feh": 0.0, "log_age": 9.0, "bands": BANDS, **arguments})


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (10, "n_nodes=10: expected an integer from"),
        (100_000, "n_nodes=100000: expected an integer from"),
        (300.0, "whole number"),
        ([454], "at least two EEPs"),
        ([300.0, 400.0], "integer array"),
        ([300, 300], "ascend"),
        ([300, 5000], r"no EEP \[5000\]"),
    ],
)
def test_errors_of_with_nodes(iso, nodes, message):
    with pytest.raises(ValueError, match=message):
        iso.with_nodes(nodes)
