"""Points of the bundled isochrones that are spaced by mass, against those of their source."""

import dataclasses

import numpy as np
import pytest

import pymc_starpop as psp
from pymc_starpop.isochrones.bundle import read_bundle
from pymc_starpop.isochrones.mass_spacing import spaced_by_mass
from pymc_starpop.isochrones.source import LAST_BY_MASS, bundled_source


@pytest.fixture(scope="module")
def bundle():
    return read_bundle()


def test_points_lie_on_the_isochrones_of_the_source(bundle):
    """Where they are told to be: between the two points around their EEPs."""
    source = bundled_source()
    for f, a in [(0, 0), (3, 20), (7, 31), (10, 60), (11, 76)]:
        eep = source.numbers[f, a]
        assert (np.diff(eep) > 0.0).all()
        assert (np.diff(source.theory[f, a, : LAST_BY_MASS + 1, 0]) > 0.0).all()
        before = np.clip(np.floor(eep).astype(int) - 1, 0, 806)
        ends = np.stack([bundle.theory[f, a, before], bundle.theory[f, a, before + 1]])
        assert (source.theory[f, a] >= ends.min(axis=0) - 1e-9).all()
        assert (source.theory[f, a] <= ends.max(axis=0) + 1e-9).all()


def test_later_points_are_those_of_the_source(bundle):
    source, last = bundled_source(), LAST_BY_MASS - 1
    np.testing.assert_allclose(
        source.theory[:, :, last:], bundle.theory[:, :, last:], rtol=0.0, atol=1e-12
    )
    np.testing.assert_array_equal(source.filled[:, :, last + 1 :], bundle.filled[:, :, last + 1 :])
    later = np.broadcast_to(bundle.eep[last:], source.numbers[:, :, last:].shape)
    np.testing.assert_array_equal(source.numbers[:, :, last:], later)


def test_points_have_nearly_the_same_mass_at_neighboring_ages(bundle):
    """Low masses, where tracks have their kinks: to 0.6 % in the median, in the source 7 %."""
    source = bundled_source()
    old = bundle.feh == 0.0, bundle.log_age >= 7.5

    def steps(theory):
        log_mass = theory[old[0]][:, old[1]][0, :, :LAST_BY_MASS, 0]
        low = (log_mass[:-1] > np.log10(0.12)) & (log_mass[:-1] < np.log10(0.6))
        return np.abs(np.diff(log_mass, axis=0))[low] * np.log(10.0)

    assert steps(source.theory).max() < 0.4 * steps(bundle.theory).max()
    assert np.median(steps(source.theory)) < 0.2 * np.median(steps(bundle.theory))


@pytest.mark.parametrize(("low", "high", "limit"), [(7.5, 8.5, 1.3e-3), (8.5, 9.5, 1.9e-3)])
def test_isochrones_between_two_ages(bundle, low, high, limit):
    """Every second age left out: log L of low-mass stars at their masses, twice the spacing."""
    with_spacing = bundled_source()
    without = dataclasses.replace(
        with_spacing, theory=bundle.theory, filled=bundle.filled, numbers=None
    )
    feh = int(np.flatnonzero(bundle.feh == 0.0)[0])
    mass = np.log10(np.geomspace(0.12, 0.6, 60))

    def error(source):
        thin = psp.IsochroneGrid(
            dataclasses.replace(
                source,
                log_age=source.log_age[::2],
                theory=np.ascontiguousarray(source.theory[:, ::2]),
                filled=np.ascontiguousarray(source.filled[:, ::2]),
                numbers=None,
                bundled=False,
            )
        )
        found = []
        for a in np.flatnonzero((source.log_age > low) & (source.log_age < high)):
            if a % 2 == 0:
                continue
            one = thin.at(bundle.feh[feh], source.log_age[a], ["Gaia_G_EDR3"])
            true = bundle.theory[feh, a]
            found.append(
                np.interp(mass, np.log10(one.initial_mass[:400]), one.log_l[:400])
                - np.interp(mass, true[:400, 0], true[:400, 3])
            )
        return np.sqrt(np.mean(np.square(found)))

    assert error(with_spacing) < limit
    assert error(without) > 1.5 * error(with_spacing)


def test_eeps_of_an_isochrone(iso):
    eep = iso.eep_at(-0.1, 8.93)
    assert (np.diff(eep) > 0.0).all()
    assert eep[0] > 1.0
    np.testing.assert_array_equal(eep[LAST_BY_MASS:], iso.eep[LAST_BY_MASS:])
    few = iso.with_nodes(100)
    np.testing.assert_array_equal(few.eep_at(-0.1, 8.93), eep[np.isin(iso.eep, few.eep)])
    with pytest.raises(ValueError, match="log_age"):
        iso.eep_at(0.0, 11.0)


def test_eeps_of_other_isochrones_are_those_of_their_points():
    rows = {"m": np.linspace(0.1, 1.0, 5), "V": np.linspace(12.0, 5.0, 5), "eep": np.arange(5)}
    grid = psp.read_table(
        rows, initial_mass="m", feh=0.0, log_age=9.0, bands=["V"], columns={"eep": "eep"},
        eep_scale=(3, 4),
    )  # fmt: skip
    np.testing.assert_array_equal(grid.eep_at(0.0, 9.0), np.arange(5.0))


def test_equal_masses_and_points_that_are_not_the_sources():
    """Two points of one mass; the third, which is filled, fills those beside it."""
    theory = np.linspace(0.0, 1.0, 8)[:, None] * np.ones(2) + np.log10(0.1)
    theory[3] = theory[2]
    filled = np.arange(8) == 2
    new, marked, eep = spaced_by_mass(theory[None, None], filled[None, None], np.arange(1, 9), 6)
    np.testing.assert_array_equal(new[0, 0, 5:], theory[5:])
    assert (np.diff(new[0, 0, :, 0]) > 0.0).all()
    np.testing.assert_allclose(new[0, 0, :6, 1], new[0, 0, :6, 0], atol=1e-12)
    inside = (new[0, 0, :, 0] > theory[1, 0]) & (new[0, 0, :, 0] < theory[4, 0])
    assert marked[0, 0, :6][inside[:6]].all()
    assert not marked[0, 0, 6:].any()
    np.testing.assert_array_equal(eep[0, 0, 5:], np.arange(6, 9))
