"""Tracks and weights of single stars and binaries against their slow twins; the pullback."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from pymc_starpop.kernels import binaries, binaries_pullback
from pymc_starpop.kernels.binaries import BinaryLaw
from pymc_starpop.population import track_weights
from pymc_starpop.reference.tracks import binary_tracks
from tolerances import assert_close, assert_gradient_close

N_NODE, N_BAND = 30, 3
MASS_MIN = 0.1
LAST = 22
START = 4  # the node that lies exactly at the lowest mass
STEP = 1e-6


def make_track(rng, monotone=True, n_node=N_NODE, n_band=N_BAND):
    """A track that begins below the lowest mass and goes on past the last primary.

    Returns masses (E,), magnitudes (R, E) and two directions (K, R, E).
    """
    mass = np.exp(np.linspace(np.log(0.06), np.log(2.0), n_node))
    mass[:START] = np.minimum(mass[:START], MASS_MIN)
    mass[START] = MASS_MIN
    if not monotone:
        mass[12:15] = mass[[13, 12, 12]]  # falls, then stays
        mass[20] = mass[18]
    mag = 14.0 - 6.0 * np.log10(mass) + 0.3 * rng.normal(size=(n_band, n_node))
    return mass, mag, rng.uniform(0.2, 1.1, (2, *mag.shape))


def make_law(rng, mass, n_ratio=5, slope=0.4, fraction=0.3):
    """A mass function, and the law of mass ratios that goes with these masses."""
    lowest, dark = track_weights.lit_ratios(mass, slope, 0.1, MASS_MIN)
    weight = np.where(np.arange(mass.size - 1) < START, 0.0, rng.uniform(size=mass.size - 1))
    return BinaryLaw(
        weight, rng.uniform(0.5, 2.0, mass.size), lowest, dark,
        track_weights.ratio_spacing(mass), track_weights.quadrature_weights(n_ratio),
        fraction, slope,
    )  # fmt: skip


def slow_twin(mass, mag, directions, law, n_light):
    """Tracks (T, E, R), directions (K, T, E, R), and weights, tilts and scale (T, E - 1)."""
    n_ratio = law.rule.shape[0]
    ratio, probability, dark = track_weights.mass_ratios(mass, law.slope, n_ratio, 0.1, MASS_MIN)
    parts = track_weights.mix_tracks(law.weight, law.density, law.fraction, probability, dark, LAST)
    changes = {k: along.T for k, along in enumerate(directions)}
    tracks, moved = binary_tracks(mass, mag.T, changes, ratio, (MASS_MIN, LAST, n_light))
    directed = np.array([moved[k] for k in changes]).reshape((-1, *tracks.shape))
    return tracks, directed, *parts


@pytest.mark.parametrize("slope", [-1.0, 0.0, 0.4])
@pytest.mark.parametrize("n_ratio", [2, 4, 5, 9])
@pytest.mark.parametrize(("monotone", "n_light"), [(True, N_BAND), (False, N_BAND), (False, 2)])
def test_everything_is_as_the_slow_twin_has_it(rng, monotone, n_light, n_ratio, slope):
    mass, mag, directions = make_track(rng, monotone)
    law = make_law(rng, mass, n_ratio, slope)
    tracks, directed, weights, tilts, scale, starts, _ = binaries.population_tracks(
        mass, mag, directions, n_light, law, MASS_MIN, LAST
    )
    expected = slow_twin(mass, mag, directions, law, n_light)
    n_main = LAST + 1 - START
    assert_array_equal(starts, [0, *(N_NODE + n_main * np.arange(n_ratio + 1))])
    assert tracks.shape == (N_BAND, starts[-1])
    assert directed.shape == (2, N_BAND, starts[-1])
    pairs = zip((tracks, *directed), (expected[0], *expected[1]), strict=True)
    for got, wanted in pairs:
        assert_close(got[:, :N_NODE], wanted[0].T, "same_formula")
        rest = got[:, N_NODE:].reshape(N_BAND, n_ratio, n_main)
        assert_close(rest, np.moveaxis(wanted[1:, START : LAST + 1], 2, 0), "same_formula")
    for got, wanted in zip((weights, tilts, scale), expected[2:], strict=True):
        assert_close(got[: N_NODE - 1], wanted[0], "same_formula")
        rest = np.append(got[N_NODE:], 0.0).reshape(n_ratio, n_main)
        assert_close(rest[:, :-1], wanted[1:, START:LAST], "same_formula")
        # What joins two tracks has no weight.
        assert_array_equal(rest[:, -1], 0.0)
        assert got[N_NODE - 1] == 0.0


def test_all_stars_are_on_some_track(rng):
    mass, mag, directions = make_track(rng)
    law = make_law(rng, mass)
    weights = binaries.population_tracks(mass, mag, directions, N_BAND, law, MASS_MIN, LAST)[2]
    assert_close(weights.sum(), law.weight.sum(), "same_formula")


def test_equal_stars_are_twice_as_bright(rng):
    mass, mag, directions = make_track(rng)
    tracks, directed, *_, saved = binaries.population_tracks(
        mass, mag, directions, N_BAND, make_law(rng, mass), MASS_MIN, LAST
    )
    main = slice(START, LAST + 1)
    equal = slice(-(LAST + 1 - START), None)
    assert_close(tracks[:, equal], mag[:, main] - 2.5 * np.log10(2.0), "same_formula")
    assert_close(directed[..., equal], directions[..., main], "same_formula")
    assert_close(saved.share[:, -1], 0.5, "same_formula")


def test_a_faint_secondary_hardly_adds_light(rng):
    mass, mag, directions = make_track(rng)
    mag[:, : START + 1] += 40.0
    tracks, _, *_, saved = binaries.population_tracks(
        mass, mag, directions, N_BAND, make_law(rng, mass), MASS_MIN, LAST
    )
    # The primaries whose faintest secondary is of the lowest mass.
    first = tracks[:, N_NODE + 2 : N_NODE + 8]
    assert_close(first, mag[:, START + 2 : START + 8], "same_formula")
    assert_close(saved.share[:, 0, 2:8], 0.0, "same_formula")


def test_without_directions_there_are_none(rng):
    mass, mag, directions = make_track(rng)
    law = make_law(rng, mass)
    tracks, directed, *_ = binaries.population_tracks(
        mass, mag, np.zeros((0, 0, 0)), N_BAND, law, MASS_MIN, LAST
    )
    assert directed.shape == (0, *tracks.shape)
    full = binaries.population_tracks(mass, mag, directions, N_BAND, law, MASS_MIN, LAST)[0]
    assert_array_equal(tracks, full)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n_direction", [0, 1, 2])
@pytest.mark.parametrize(("monotone", "n_light"), [(True, N_BAND), (False, 2)])
def test_pullback_against_differences(rng, monotone, n_light, n_direction, fraction):
    mass, mag, directions = make_track(rng, monotone)
    directions = directions[:n_direction]
    law = make_law(rng, mass, slope=-0.6, fraction=fraction)
    # Off the nodes: where a secondary comes to lie on a node the tracks have a kink.
    law = law._replace(lowest=law.lowest * rng.uniform(0.95, 0.999, N_NODE))
    inputs = {
        "mass": mass, "mag": mag, "directions": directions,
        **{name: value for name, value in law._asdict().items() if name != "rule"},
    }  # fmt: skip

    def evaluate(values):
        law_values = {name: values[name] for name in law._fields if name != "rule"}
        moved = BinaryLaw(rule=law.rule, **law_values)
        return binaries.population_tracks(
            values["mass"], values["mag"], values["directions"], n_light, moved, MASS_MIN, LAST
        )

    outputs = evaluate(inputs)
    cotangents = [rng.normal(size=output.shape) for output in outputs[:4]]
    # The tilt of a segment without weight means nothing.
    cotangents[3] *= outputs[4] > 0.0
    exact = binaries_pullback.population_tracks_pullback(
        mass, mag, directions, law, MASS_MIN, LAST, outputs[6], *cotangents
    )

    def total(name, entry, by):
        value = np.array(inputs[name], dtype=float)
        value[entry] += by
        moved = evaluate(inputs | {name: value if value.ndim else float(value)})
        pairs = zip(cotangents, moved[:4], strict=True)
        return sum((cotangent * output).sum() for cotangent, output in pairs)

    for name, value in inputs.items():
        gradient = getattr(exact, name)
        assert gradient.shape == (np.shape(value) or (1,))
        for entry in np.ndindex(np.shape(value)):
            if name == "mass" and _starts_or_ties(mass, entry[0]):
                continue
            numeric = (total(name, entry, STEP) - total(name, entry, -STEP)) / (2.0 * STEP)
            assert_gradient_close(
                np.ravel(gradient)[0] if entry == () else gradient[entry], numeric
            )


def _starts_or_ties(mass, e):
    """Whether moving this mass changes where the track starts or the order of the masses."""
    return e <= START or np.min(np.abs(np.delete(mass, e) - mass[e])) < 10.0 * STEP
