"""The bundled isochrones: faithful to the source, its known defects repaired, small, rebuildable.

The bounds are measured ones with little room above; PROVENANCE.md beside the file names them. With
the two source files in a folder named by the environment variable STARPOP_SOURCES the build is
repeated and compared; without it those tests are skipped.
"""

import os
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pymc_starpop as psp
from pymc_starpop.data import build_isochrones as build
from pymc_starpop.data import fill_theory
from pymc_starpop.isochrones.bundle import (
    AV_NODES,
    BUNDLE_FILE,
    FEH,
    LAST_EEP,
    MAG_STEP,
    THEORY_STEPS,
    read_bundle,
)
from pymc_starpop.kernels.interpolation import hermite_weights
from pymc_starpop.population.track_weights import mass_weights

LOG_MASS, LOG_TEFF, LOG_G, LOG_L = range(4)
SIZE_LIMIT = 8_000_000  # bytes

# Half a step, and what float32 leaves of a number below 10 in the source.
THEORY_ROUNDING = 0.5 * np.array(THEORY_STEPS) + 1e-6
MASS_ROUNDING = 5e-8  # dex; half a step and the float32 of the source
# The cubic in A_V, with the rounding of its four values: worst of all bands, atmospheres and A_V.
AV_ERROR = 2.0e-4  # mag

THEORY_FILE = "mist_v2.5_vvcrit0.4.h5"
BOLOMETRIC_FILE = "bc_tables.h5"

# Rows of mist_v2.5_vvcrit0.4.h5 in lachesis-grids 0.0.9 as float32 prints them: [Fe/H], log age,
# EEP, then its columns initial_mass, log_Teff, log_g, log_L.
THEORY = [
    (-2.5, 6.5, 300, 10.373239, 4.5206366, 4.6142616, 3.875092),
    (-2.5, 10.3, 460, 0.68139297, 3.778852, 3.8551557, 0.4838195),
    (-2.0, 9.0, 370, 1.4933192, 4.0387907, 4.4932494, 1.2272966),
    (-2.0, 7.6, 808, 7.8296914, 3.630201, 0.20801392, 4.5949874),
    (-1.75, 9.8, 605, 0.96848494, 3.6367583, 0.66395694, 3.2494464),
    (-1.5, 10.1, 420, 0.76925117, 3.8049104, 4.1601357, 0.3366469),
    (-1.25, 8.5, 353, 2.3904517, 4.117977, 4.30341, 1.9383155),
    (-1.0, 9.5, 650, 1.2310536, 3.7174115, 2.4891543, 1.8542422),
    (-0.75, 9.4, 330, 0.8660116, 3.7852156, 4.5436163, -0.07390156),
    (-0.75, 8.0, 707, 5.0186243, 3.674193, 1.3573684, 3.4298818),
    (-0.5, 7.0, 202, 1.634012, 3.9674044, 4.4529424, 1.0212554),
    (-0.5, 9.9, 480, 0.97954875, 3.7548792, 3.8209214, 0.58066565),
    (-0.25, 8.8, 454, 2.303498, 3.9152825, 3.5356262, 1.8789731),
    (0.0, 8.0, 240, 1.1117554, 3.7830129, 4.472044, 0.09738351),
    (0.0, 9.65, 340, 0.90793335, 3.7390354, 4.5244, -0.2188804),
    (0.0, 9.4, 631, 1.5481815, 3.6823926, 2.5399272, 1.764138),
    (0.0, 6.6, 500, 56.49519, 4.1069617, 1.5348673, 5.9215536),
    (0.25, 9.3, 380, 1.6446627, 3.7938614, 3.8408747, 0.9417589),
    (0.25, 10.0, 808, 1.0940467, 3.540796, 0.502792, 3.0735025),
    (0.5, 9.6, 400, 1.3539816, 3.7776012, 4.025887, 0.6073205),
]

# Entries of bc_tables.h5 in astrolachesis 1.0.9 as float32 prints them: band, [Fe/H], T_eff, log g,
# and BC at A_V = 0, 0.4, 1, 2 and 4, R_V = 3.1.
SPOT_AV = np.array([0.0, 0.4, 1.0, 2.0, 4.0])
BOLOMETRIC = [
    ("Gaia_G_EDR3", 0.0, 5750.0, 4.5, (0.092301, -0.253543, -0.755761, -1.55234, -3.017881)),
    ("Gaia_BP_EDR3", -0.5, 3500.0, 5.0, (-1.652394, -2.042991, -2.623018, -3.575849, -5.439497)),
    ("Gaia_RP_DR2Rev", 0.25, 4500.0, 2.0, (0.559378, 0.30444, -0.073439, -0.691222, -1.88293)),
    ("2MASS_Ks", -2.0, 5000.0, 2.5, (1.846448, 1.799268, 1.728514, 1.610635, 1.375044)),
    ("Bessell_V", 0.0, 9000.0, 4.0, (-0.050511, -0.456057, -1.062894, -2.070281, -4.06967)),
    ("TESS", 0.5, 3200.0, 5.0, (0.123024, -0.091018, -0.408167, -0.927065, -1.933225)),
    ("SDSS_u", -1.0, 6500.0, 4.0, (-1.135476, -1.764944, -2.708348, -4.278613, -7.41169)),
    ("PS_y", 0.0, 4000.0, 1.0, (0.386491, 0.214758, -0.042691, -0.471372, -1.327207)),
    ("WISE_W1", -0.25, 2800.0, 5.0, (3.123506, 3.100494, 3.065994, 3.008537, 2.893787)),
    ("Bessell_B", -1.5, 20000.0, 4.0, (-1.808792, -2.346919, -3.150405, -4.47929, -7.096371)),
]

# The source at [Fe/H] = -0.75, whose rows were moved in EEP, at track masses, linear between its
# rows, which are up to 0.03 Msun apart: log age, initial_mass, log_Teff, log_g, log_L.
MOVED = [
    (9.0, 0.2, 3.572706, 5.122278, -2.141118),
    (9.5, 0.15, 3.548486, 5.189515, -2.432131),
    (8.0, 0.15, 3.557968, 5.017107, -2.217784),
]

# Below 0.85 Msun and EEP 353 the source is straight in mass between tracks and was curved: largest
# change in log T_eff, g, L between these masses (Msun).
CURVED = [
    (0.1, 0.15, (0.008, 0.017, 0.048)),
    (0.15, 0.2, (0.0035, 0.008, 0.0225)),
    (0.2, 0.3, (0.0012, 0.004, 0.0095)),
    (0.3, 0.85, (0.0025, 0.005, 0.012)),
]

BANDS = (
    *(f"Gaia_{band}_{release}" for band in ("G", "BP", "RP") for release in ("EDR3", "DR2Rev")),
    *(f"2MASS_{band}" for band in ("J", "H", "Ks")),
    *(f"PS_{band}" for band in "grizy"),
    *(f"SDSS_{band}" for band in "ugriz"),
    *(f"Bessell_{band}" for band in "UBVRI"),
    *(f"WISE_W{number}" for number in (1, 2, 3, 4)),
    "TESS",
)


@pytest.fixture(scope="module")
def bundle():
    return read_bundle()


@pytest.fixture(scope="module")
def every_eep():
    return psp.load_isochrones().with_nodes(None)


@pytest.fixture(scope="module")
def sources():
    """Paths of the two source files."""
    folder = os.environ.get("STARPOP_SOURCES")
    if not folder:
        pytest.skip("STARPOP_SOURCES is unset: folder with the source files of the isochrones")
    pytest.importorskip("h5py", reason="h5py reads the source files")
    found = [sorted(Path(folder).rglob(name)) for name in (THEORY_FILE, BOLOMETRIC_FILE)]
    if not all(found):
        pytest.skip(f"STARPOP_SOURCES={folder} lacks {THEORY_FILE} or {BOLOMETRIC_FILE}")
    return [paths[0] for paths in found]


def node(bundle, feh, log_age):
    return int(np.abs(bundle.feh - feh).argmin()), int(np.abs(bundle.log_age - log_age).argmin())


def eep_at(bundle, mass):
    """Fractional EEP (F, A) at which the lower main sequence has this mass."""
    tracks = bundle.theory[:, :, :400, LOG_MASS].reshape(-1, 400)
    eep = [np.interp(np.log10(mass), track, bundle.eep[:400]) for track in tracks]
    return np.reshape(eep, bundle.theory.shape[:2])


def test_axes(bundle):
    assert_array_equal(bundle.feh, FEH)
    assert_allclose(bundle.log_age, np.arange(6.5, 10.301, 0.05), atol=1e-9)
    assert_array_equal(bundle.eep, np.arange(1, LAST_EEP + 1))
    assert bundle.theory.shape == (12, 77, 808, 4)
    assert bundle.filled.shape == (12, 77, 808)


def test_bands_of_all_surveys(bundle):
    assert set(BANDS) <= set(bundle.bands)
    assert len(set(bundle.bands)) == len(bundle.bands) == bundle.bc.shape[3]
    for band, system, wavelength in zip(
        bundle.bands, bundle.system, bundle.wavelength, strict=True
    ):
        assert system == ("AB" if band.startswith(("SDSS", "PS")) else "Vega")
        assert 0.3 < wavelength < 23.0


def test_nothing_is_missing(bundle):
    assert np.isfinite(bundle.theory).all()
    assert np.isfinite(bundle.bc).all()


def test_all_data_files_fit_the_wheel():
    folder = resources.files("pymc_starpop.data")
    size = {file.name: len(file.read_bytes()) for file in folder.iterdir() if file.is_file()}
    assert size[BUNDLE_FILE] < SIZE_LIMIT
    assert sum(size.values()) < SIZE_LIMIT


@pytest.mark.parametrize("row", THEORY, ids=lambda row: f"{row[0]}_{row[1]}_{row[2]}")
def test_theory_is_the_source(bundle, row):
    feh, log_age, eep, mass, *others = row
    i, j = node(bundle, feh, log_age)
    assert not bundle.filled[i, j, eep - 1]
    value = bundle.theory[i, j, eep - 1]
    assert abs(value[LOG_MASS] - np.log10(mass)) < MASS_ROUNDING
    assert np.all(np.abs(value[1:] - others) < THEORY_ROUNDING[1:])


@pytest.mark.parametrize("entry", BOLOMETRIC, ids=lambda entry: entry[0])
def test_bolometric_corrections_are_the_source(bundle, entry):
    band, feh, teff, log_g, expected = entry
    f = int(np.abs(bundle.bc_feh - feh).argmin())
    t = int(np.abs(bundle.bc_log_teff - np.log10(teff)).argmin())
    g = int(np.abs(bundle.bc_log_g - log_g).argmin())
    assert_allclose(bundle.bc_log_teff[t], np.log10(teff), atol=1e-9)
    coefficients = bundle.bc[f, t, g, bundle.bands.index(band)]
    value = np.polynomial.polynomial.polyval(SPOT_AV, coefficients)
    assert abs(value[0] - expected[0]) < 0.5 * MAG_STEP + 1e-6
    assert np.abs(value - expected).max() < AV_ERROR


def test_bolometric_luminosity_is_on_the_scale_of_the_source(every_eep):
    # Column Mbol of the source is 4.74 - 2.5 log L to its last digit, as iso.at has it.
    one = every_eep.at(0.0, 9.65, ["Bessell_V"])
    table = every_eep.bolometric(["Bessell_V"])
    correction = table.interpolate(one.log_teff, one.log_g, 0.0)[:, 0, 0]
    assert_allclose(one.abs_mag[:, 0] + correction + 2.5 * one.log_l, 4.74, atol=1e-9)


def test_every_isochrone_reaches_the_last_eep_with_a_model(bundle):
    assert not bundle.filled[:, :, LAST_EEP - 1].any()


def test_mass_never_falls_along_an_isochrone(bundle):
    step = np.diff(bundle.theory[..., LOG_MASS], axis=-1)
    assert step.min() == 0.0
    tied = np.argwhere(step == 0.0)
    # Float32 ties of the source. Nearly all lie from the tip of the red giant branch (605) to the
    # end of core helium burning (707); none is in what was filled in.
    assert len(tied) == 15_127
    assert np.sum(tied[:, 2] + 1 < 605) == 164
    assert not np.isin(tied[:, 2] + 2, np.arange(340, 454)).any()  # the turn-off
    assert not bundle.filled[tied[:, 0], tied[:, 1], tied[:, 2]].any()


def test_segments_between_equal_masses_carry_no_weight(bundle):
    i, j = node(bundle, 0.0, 9.3)
    mass = 10.0 ** bundle.theory[i, j, :, LOG_MASS]
    tied = np.diff(mass) == 0.0
    assert tied.sum() > 5
    cut = np.maximum(mass, 0.1)
    weight, density = mass_weights(cut, psp.Kroupa(), 0.1)
    assert_array_equal(weight[tied], 0.0)
    assert np.isfinite(density).all()
    assert_allclose(weight.sum(), 1.0, rtol=1e-12)


def test_a_tenth_of_a_solar_mass_everywhere(bundle):
    assert 10.0 ** bundle.theory[:, :, 0, LOG_MASS].max() < 0.09
    eep = eep_at(bundle, 0.1)
    assert eep.min() > 4.0
    assert eep.max() < 262.0
    # At [Fe/H] = 0 the first row of the source is 0.1 Msun at EEP 52 (10 Myr) and 129 (100 Myr).
    assert 52.0 <= eep[node(bundle, 0.0, 7.0)] < 53.0
    assert 129.0 <= eep[node(bundle, 0.0, 8.0)] < 130.0


def test_the_edge_at_a_tenth_of_a_solar_mass_is_smooth(bundle):
    # The source ends isochrones at whole EEPs (rms of second differences in age 0.8).
    bend = np.diff(eep_at(bundle, 0.1), 2, axis=1)
    assert np.sqrt((bend**2).mean(axis=1)).max() < 0.14
    assert np.abs(bend).max() < 0.7
    # An eighth of the second difference is what a kink adds between two ages: 0.3 % in mass.
    log_mass = bundle.theory[..., LOG_MASS]
    near = np.abs(log_mass[:, 1:-1] - np.log10(0.11)) < 0.06
    assert np.abs(np.diff(log_mass, 2, axis=1)[near]).max() / 8.0 < 0.0012


def test_low_masses_stay_within_physics(bundle):
    carries_weight = bundle.filled & (bundle.theory[..., LOG_MASS] >= -1.0)
    assert carries_weight.sum() == 13_838
    columns = bundle.theory[carries_weight]
    assert columns[:, LOG_TEFF].min() > np.log10(2600.0)
    # log g - log M - 4 log T_eff + log L is a constant.
    sign = np.array([-1.0, -4.0, 1.0, 1.0])
    constant = columns[columns[:, LOG_MASS] < np.log10(0.5)] @ sign
    assert constant.min() > -10.6150
    assert constant.max() < -10.6075


def test_metal_rich_dwarfs_are_filled_and_flagged(bundle, every_eep):
    mass = 10.0 ** bundle.theory[-1, :, :, LOG_MASS]
    assert bundle.filled[-1][mass < 0.49].all()
    # Above, only the inner gaps of the source and three turn-off rows of held mass.
    assert bundle.filled[-1][mass > 0.53].sum() == 83
    one = every_eep.at(0.5, 9.0, ["2MASS_Ks"])
    assert one.initial_mass[0] < 0.1
    assert one.filled[one.initial_mass < 0.49].all()
    # Cooler and fainter than [Fe/H] = +0.25 at the same mass, by less than +0.25 than 0.0.
    for log_mass in np.log10([0.12, 0.2, 0.3, 0.45]):
        for column in (LOG_TEFF, LOG_L):
            zero, rich, richest = (
                np.interp(log_mass, track[:450, LOG_MASS], track[:450, column])
                for track in bundle.theory[-3:, 50]
            )
            assert rich + (rich - zero) < richest < rich


def test_the_fill_predicts_dwarfs_that_the_source_has(bundle):
    f = int(np.flatnonzero(bundle.feh == 0.25)[0])
    log_mass = np.log10(np.linspace(0.11, 0.5, 60))
    error = []
    for a in range(bundle.log_age.size):
        truth = bundle.theory[f, a]
        lowest = int(np.argmax(truth[:, LOG_MASS] > np.log10(0.51)))
        track = truth.copy()
        track[:lowest] = np.nan
        start = fill_theory.low_masses_from_neighbors(
            track, lowest, bundle.theory[f - 1, a], bundle.theory[f - 2, a]
        )
        for column in (LOG_TEFF, LOG_L):
            filled = np.interp(log_mass, track[start:500, LOG_MASS], track[start:500, column])
            error.append(filled - np.interp(log_mass, truth[:500, LOG_MASS], truth[:500, column]))
    error = np.array(error)
    assert np.sqrt((error[::2] ** 2).mean()) < 0.0047  # dex in T_eff
    assert np.sqrt((error[1::2] ** 2).mean()) < 0.012  # dex in L


@pytest.mark.parametrize("row", MOVED)
def test_moved_rows_keep_their_physics_at_fixed_mass(bundle, row):
    log_age, mass, *expected = row
    track = bundle.theory[*node(bundle, -0.75, log_age)][:400]
    value = [np.interp(np.log10(mass), track[:, LOG_MASS], track[:, k]) for k in (1, 2, 3)]
    assert_allclose(value, expected, atol=7e-3)
    assert_allclose(value[0], expected[0], atol=1.1e-3)


def test_moved_rows_have_the_eep_of_their_neighbors(bundle):
    # In the source 0.15 Msun lies 8 EEPs (up to 12) below the mean of the neighbors.
    i = int(np.flatnonzero(bundle.feh == -0.75)[0])
    eep = eep_at(bundle, 0.15)
    off = eep[i] - 0.5 * (eep[i - 1] + eep[i + 1])
    assert np.abs(off).max() < 1.2


def test_inner_gaps_are_straight(bundle):
    # A gap of two rows in each of two places of a track; the others stay.
    track = np.stack([np.linspace(0.0, 1.0, 30) ** (k + 1) for k in range(4)], axis=-1)
    full = track.copy()
    track[[5, 6, 20]] = np.nan
    track[:3] = np.nan
    fill_theory.fill_inner_gaps(track)
    assert np.isnan(track[:3]).all()
    assert_allclose(track[5:7], full[4] + np.outer([1, 2], full[7] - full[4]) / 3.0)
    assert_allclose(track[20], 0.5 * (full[19] + full[21]))
    # And in the file, where above 0.2 Msun all that is filled lies between models, but for the
    # dwarfs of [Fe/H] = +0.5 and the moved rows of -0.75.
    theory = np.delete(bundle.theory, [6, 11], axis=0)
    filled = np.delete(bundle.filled, [6, 11], axis=0)
    second = np.diff(theory, 2, axis=2)
    inside = filled[:, :, 1:-1] & filled[:, :, 2:] & filled[:, :, :-2]
    inside &= theory[:, :, 1:-1, LOG_MASS] > np.log10(0.2)
    assert inside.sum() > 2800
    # Rounding alone: half a step at either end and twice half a step in the middle.
    assert np.all(np.abs(second[inside, LOG_MASS]) <= 2.0 * THEORY_STEPS[LOG_MASS] + 1e-12)
    inside &= theory[:, :, 1:-1, LOG_MASS] > np.log10(0.87)  # the others are curved in mass
    assert np.all(np.abs(second[inside]) <= 2.0 * np.array(THEORY_STEPS) + 1e-12)


def test_tracks_are_curved_between_track_masses():
    # Columns that are smooth in log mass, taken at track masses and made straight in mass between.
    mass = np.linspace(0.1, 1.0, 400)
    knots = np.r_[fill_theory.TRACK_MASSES, 0.9, 0.95, 1.0]
    smooth = [lambda x: 0.4 * x, lambda x: 1.0 - 0.3 * x**2, lambda x: 2.0 * x + 0.5 * x**2]
    truth = np.stack([np.log10(mass), *(f(np.log10(mass)) for f in smooth)], axis=-1)
    track = truth.copy()
    for k, f in enumerate(smooth, start=1):
        track[:, k] = np.interp(mass, knots, f(np.log10(knots)))
    before = track.copy()
    fill_theory.curve_between_tracks(track, 0)
    # Exact for parabolas in log mass but in the first and last interval; rows do not lie on knots,
    # where the straight lines bend, so that the values there are a little off.
    inner = (mass > 0.2) & (mass < 0.75)
    assert np.abs(before - truth)[inner].max() > 2e-3
    assert np.abs(track - truth)[inner].max() < 2e-5
    assert_array_equal(track[mass > 0.851], before[mass > 0.851])
    assert_array_equal(track[:, 0], before[:, 0])


def test_curved_tracks_keep_mass_temperature_gravity_and_luminosity_together(bundle):
    # The constant of nature; in the source, straight between tracks, it runs from -10.6176 to
    # -10.6086 below 0.15 Msun and to -10.6131 from there to 0.3 Msun.
    mass = 10.0 ** bundle.theory[..., LOG_MASS]
    use = (mass >= 0.1) & (mass < 0.5) & (bundle.eep <= 353) & ~bundle.filled
    constant = bundle.theory[use] @ np.array([-1.0, -4.0, 1.0, 1.0])
    assert constant.min() > -10.6099
    assert constant.max() < -10.6082


def test_the_slope_of_the_lower_main_sequence_has_no_steps(bundle):
    # d log T_eff / d log M falls from 0.34 to 0.13 at 0.15 Msun in the source at [Fe/H] = 0.
    track = bundle.theory[node(bundle, 0.0, 9.5)]
    use = (track[:, LOG_MASS] > np.log10(0.105)) & (track[:, LOG_MASS] < np.log10(0.3))
    slope = np.diff(track[use, LOG_TEFF]) / np.diff(track[use, LOG_MASS])
    assert np.abs(np.diff(slope)).max() < 0.1


def test_held_masses_become_straight():
    track = np.stack([np.linspace(0.0, 1.0, 500) ** (k + 1) for k in range(4)], axis=-1)
    full = track.copy()
    track[390:393, 0] = track[389, 0]
    track[390:393, 3] += 0.1
    track[480:482, 0] = track[479, 0]  # beyond the turn-off: stays
    rows = fill_theory.straighten_held_masses(track)
    assert_array_equal(rows, [390, 391, 392])
    assert_allclose(track[rows], full[389] + np.outer([1, 2, 3], full[393] - full[389]) / 4.0)
    assert track[480, 0] == track[479, 0]


# The first and last EEP of the rows in which the source holds the mass while log T_eff and log L
# run on and jump back, and the jump in log T_eff that stood there in the source.
@pytest.mark.parametrize(
    ("feh", "log_age", "eep", "jump"),
    [(-0.25, 9.6, (383, 390), 0.0162), (0.0, 9.7, (392, 401), 0.0038)],
)
def test_turn_off_rows_of_held_mass_are_straight(bundle, feh, log_age, eep, jump):
    i, j = node(bundle, feh, log_age)
    rows = np.arange(eep[0], eep[1] + 1) - 1
    assert bundle.filled[i, j, rows].all()
    assert not bundle.filled[i, j, [rows[0] - 1, rows[-1] + 1]].any()
    part = bundle.theory[i, j, rows[0] - 1 : rows[-1] + 2]
    step = np.diff(part, axis=0)
    assert (step[:, [LOG_MASS, LOG_L]] > 0.0).all()
    assert np.all(np.abs(np.diff(part, 2, axis=0)) <= 2.0 * np.array(THEORY_STEPS) + 1e-12)
    assert np.abs(step[:, LOG_TEFF]).max() < 0.4 * jump


def test_very_metal_poor_isochrones_are_refused(every_eep):
    # The source at [Fe/H] <= -3 and log age 6.6 to 6.8 jumps from 6 to 40 Msun.
    assert every_eep.feh_range == (-2.5, 0.5)
    for feh in (-3.0, -2.51, 0.51):
        with pytest.raises(ValueError, match=r"feh=.*-2\.5 to 0\.5"):
            every_eep.at(feh, 6.7, ["2MASS_J"])
    with pytest.raises(ValueError, match=r"log_age=.*6\.5 to 10\.3"):
        every_eep.at(0.0, 6.4, ["2MASS_J"])


# Nodes of one axis are left out in turn and interpolated from their neighbors, twice as far apart
# as in use; the error between nodes is about an eighth of this (third order). Ages from 100 Myr,
# main sequence (EEP 202 to 454) above 0.11 Msun: rms of log mass, T_eff, g, L at fixed EEP.
@pytest.mark.parametrize(
    ("dimension", "rms"),
    [("log_age", (0.0025, 0.0011, 0.005, 0.0085)), ("feh", (0.0055, 0.003, 0.008, 0.0135))],
)
def test_interpolation_at_nodes_left_out(bundle, dimension, rms):
    axis = getattr(bundle, dimension)
    along = 1 if dimension == "log_age" else 0
    square = []
    for k in range(1, axis.size - 1):
        keep = np.delete(np.arange(axis.size), k)
        first, weight, _ = hermite_weights(axis[keep], axis[k])
        used = np.take(bundle.theory, keep[first : first + 4], axis=along)
        guess = np.tensordot(weight, used, axes=(0, along))
        truth = np.take(bundle.theory, k, axis=along)
        if dimension == "feh":
            guess, truth = guess[30:], truth[30:]
        elif axis[k] < 7.99:
            continue
        guess, truth = guess[:, 201:453], truth[:, 201:453]
        main_sequence = truth[..., LOG_MASS] > np.log10(0.11)
        square.append(((guess - truth)[main_sequence] ** 2).mean(axis=0))
    assert np.all(np.sqrt(np.mean(square, axis=0)) < rms)


def test_rounding_survives_packing(rng):
    values = np.cumsum(rng.normal(0.0, 0.01, (3, 5, 40)), axis=-1)
    steps = build.to_steps(values, 1e-4, axis=-1)
    planes = build.split_bytes(steps)
    assert planes.shape == (steps.itemsize, steps.size)
    back = planes.T.copy().view(steps.dtype).reshape(values.shape)
    assert_array_equal(back, steps)
    assert np.abs(1e-4 * np.cumsum(back, axis=-1, dtype=np.int64) - values).max() <= 0.5001e-4
    with pytest.raises(ValueError, match="do not fit 32 bits"):
        build.to_steps(np.array([0.0, 1.0]), 1e-10, axis=0)


def test_cubic_in_extinction_is_exact_for_cubics():
    av = np.array([0.0, 0.05, 0.1, 0.3, 0.6, 1.0, 2.0, 4.0, 6.0])
    cubic = 0.3 - 1.1 * av + 0.02 * av**2 - 0.001 * av**3
    at_nodes = build.fit_av(cubic.reshape(1, 1, 1, -1, 1), av)[0, 0, 0, 0]
    nodes = np.array(AV_NODES)
    assert_allclose(at_nodes, 0.3 - 1.1 * nodes + 0.02 * nodes**2 - 0.001 * nodes**3, atol=1e-12)


def test_rebuilding_gives_the_same_file(sources, tmp_path):
    again = tmp_path / BUNDLE_FILE
    build.build(*sources, again)
    bundled = resources.files("pymc_starpop.data") / BUNDLE_FILE
    with bundled.open("rb") as file, np.load(file) as old, np.load(again) as new:
        assert old.files == new.files
        for name in old.files:
            assert_array_equal(new[name], old[name], err_msg=name)
    assert again.read_bytes() == bundled.read_bytes()


def test_rounding_over_the_whole_source(sources, bundle):
    _, theory = build.read_theory(sources[0])
    missing = np.isnan(theory[..., LOG_MASS])
    assert not (missing & ~bundle.filled).any()
    kept = ~bundle.filled
    mass = 10.0 ** bundle.theory[..., LOG_MASS]
    curved = (bundle.eep <= 353) & (mass < 0.85)
    error = np.abs(bundle.theory - theory)
    assert np.all(error[kept & ~curved].max(axis=0) <= 0.5001 * np.array(THEORY_STEPS))
    assert np.all(error[kept, LOG_MASS] <= 0.5001 * THEORY_STEPS[LOG_MASS])
    for low, high, bounds in CURVED:
        between = kept & curved & (mass >= low) & (mass < high)
        assert np.all(error[between].max(axis=0)[1:] < bounds)
    # What is flagged without being missing: the rows of 0.1 Msun, those that were moved, and those
    # of the turn-off with the mass of the row before.
    turn_off = slice(339, 453)
    held = np.diff(theory[..., LOG_MASS], axis=-1)[..., 338:452] == 0.0
    assert held.sum() == 25
    assert_array_equal((bundle.filled & ~missing)[..., turn_off], held)
    flagged = (bundle.filled & ~missing).sum(axis=(1, 2)) - held.sum(axis=(1, 2))
    assert_array_equal(np.delete(flagged, [6, 11]), 77)
    assert flagged[11] == 0
    # Gaps between models, filled linearly.
    first = np.argmax(~missing, axis=-1)[..., None]
    gap = missing & (np.arange(LAST_EEP) > first)
    assert gap.sum() == 6245
    for i, j in zip(*np.nonzero(gap.any(axis=-1)), strict=True):
        if bundle.feh[i] == -0.75:  # moved afterwards
            continue
        known = np.flatnonzero(~missing[i, j])
        rows = np.flatnonzero(gap[i, j])
        for k in range(4):
            # The row of 0.1 Msun is not where the source has it.
            use = rows[rows > known[1]]
            straight = np.interp(use, known[1:], theory[i, j, known[1:], k])
            if k != LOG_MASS:
                use, straight = use[mass[i, j, use] > 0.85], straight[mass[i, j, use] > 0.85]
            assert np.abs(bundle.theory[i, j, use, k] - straight).max(initial=0.0) <= (
                0.5001 * THEORY_STEPS[k]
            )
