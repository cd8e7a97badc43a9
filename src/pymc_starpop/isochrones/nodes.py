"""Choice of a fixed set of EEP nodes where isochrones bend.

A likelihood that integrates along the straight segments between nodes should not pay for every
integer EEP. The same nodes serve all ages and metallicities (a set that changed with them would
make the likelihood jump), so they are chosen on a sample of isochrones: the departure of each
chord from the points that it leaves out is tabulated, and the longest chords that stay within a
tolerance are laid one after another. The tolerance is the smallest that the number of nodes allows.
"""

from collections.abc import Sequence

import numpy as np

# Primary EEPs of MIST (Dotter 2016, table 2): ZAMS 202, IAMS 353, TAMS 454, tip of the red giant
# branch 605, start and end of core helium burning 631 and 707, first thermal pulse 808; and 480,
# the last EEP of primaries in binaries.
REQUIRED_EEPS = (202, 353, 454, 480, 605, 631, 707, 808)

MAX_CHORD = 16  # EEPs; longer chords gain little and the table grows with the square

# Relative mass per magnitude along a chord (d ln M / d mag) from which departures count in full.
# The red giant branch of old clusters has 3e-4 to 3e-3, the asymptotic giant branch 1e-4.
# Departures count by the square root of it, down to LEAST_RELEVANCE: the helium flash (1e-6 to
# 1e-5) holds almost no stars.
FULL_RELEVANCE_DENSITY = 1e-3
LEAST_RELEVANCE = 0.1

# Below this relative mass step float32 masses of a source tie (spacing 6e-8 to 1.2e-7), and the
# position along the chord is taken from the projection in magnitudes.
MASS_TIE = 1e-6

# Over the sample a high quantile and not the maximum: single isochrones have kinks of the source,
# at EEPs that differ from one age to the next, which no fixed set of nodes follows.
SAMPLE_QUANTILE = 0.9


def chord_departures(
    mass: np.ndarray,
    mag: np.ndarray,
    ignore: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    max_chord: int = MAX_CHORD,
) -> np.ndarray:
    """Largest departure of isochrones from each chord between two of their points.

    The departure at a left-out point k of the chord from a to b is the largest over the bands of
    ``|mag[k] - mag[a] - t (mag[b] - mag[a])|`` at the equal mass
    ``t = (mass[k] - mass[a]) / (mass[b] - mass[a])``, reduced where the chord holds few stars. A
    chord has the departure of its worst point, and of the isochrones the 0.9 quantile.

    Parameters
    ----------
    mass : ndarray (S, E)
        Initial masses (Msun) of S isochrones.
    mag : ndarray (S, E, B)
        Magnitudes in B bands.
    ignore : ndarray of bool (S, E), optional
        Points that need not be followed.
    weight : ndarray (S,), optional
        Factor on the departures of each isochrone, 1 by default.
    max_chord : int
        Longest chord, in points.

    Returns
    -------
    ndarray (E, max_chord + 1)
        Element [a, n] is the departure (mag) of the chord from a to a + n; 0 for n < 2 and
        infinite where a + n lies beyond the end.
    """
    n_point = mass.shape[1]
    weight = np.ones(len(mass)) if weight is None else np.asarray(weight)
    ignore = np.zeros(mass.shape, dtype=bool) if ignore is None else ignore
    table = np.full((n_point, max_chord + 1), np.inf)
    table[:, 0] = 0.0
    table[:-1, 1] = 0.0
    for n in range(2, min(max_chord, n_point - 1) + 1):
        d_mass, d_mag = mass[:, n:] - mass[:, :-n], mag[:, n:] - mag[:, :-n]
        worst = np.zeros(d_mass.shape)
        for k in range(1, n):
            inner = slice(k, n_point - n + k)
            step = mag[:, inner] - mag[:, :-n]
            t = _position(mass[:, inner] - mass[:, :-n], d_mass, step, d_mag, mass[:, :-n])
            off = np.abs(step - t[..., None] * d_mag).max(axis=-1)
            np.maximum(worst, np.where(ignore[:, inner], 0.0, off), out=worst)
        relevance = _relevance(d_mass / mass[:, :-n], np.abs(d_mag).max(axis=-1))
        scaled = worst * relevance * weight[:, None]
        table[:-n, n] = np.quantile(scaled, SAMPLE_QUANTILE, axis=0)
    return table


def _position(
    mass_step: np.ndarray,
    d_mass: np.ndarray,
    mag_step: np.ndarray,
    d_mag: np.ndarray,
    mass: np.ndarray,
) -> np.ndarray:
    """Fraction of the chord by mass, or by projection in magnitude where masses tie."""
    tied = d_mass <= MASS_TIE * mass
    t = mass_step / np.where(tied, 1.0, d_mass)
    step, chord = mag_step[tied], d_mag[tied]
    t[tied] = (step * chord).sum(axis=-1) / np.maximum((chord * chord).sum(axis=-1), 1e-20)
    return np.clip(t, 0.0, 1.0)


def _relevance(relative_mass: np.ndarray, length: np.ndarray) -> np.ndarray:
    density = np.maximum(relative_mass, 0.0) / np.maximum(length, 1e-6)
    return np.clip(np.sqrt(density / FULL_RELEVANCE_DENSITY), LEAST_RELEVANCE, 1.0)


def choose_nodes(
    eep: np.ndarray,
    departures: np.ndarray,
    n_nodes: int,
    required: Sequence[int] = REQUIRED_EEPS,
) -> np.ndarray:
    """Choose the nodes whose worst chord departs least from the isochrones.

    Parameters
    ----------
    eep : ndarray of int (E,)
        Ascending EEPs to choose from.
    departures : ndarray (E, n + 1)
        Table from `chord_departures`.
    n_nodes : int
        Number of nodes.
    required : sequence of int
        EEPs that must be nodes where `eep` has them; the first and last always are.

    Returns
    -------
    ndarray of int (n_nodes,)
        Ascending EEPs of the nodes.

    Raises
    ------
    ValueError
        If n_nodes is larger than the number of EEPs or too small for the longest chord.
    """
    fixed = np.unique(np.r_[0, np.flatnonzero(np.isin(eep, required)), eep.size - 1])
    fewest = _lay_chords(departures, np.inf, fixed)
    if not fewest.size <= n_nodes <= eep.size:
        raise ValueError(
            f"n_nodes={n_nodes}: expected an integer from {fewest.size} to {eep.size}; "
            "pass an array of EEPs to choose the nodes yourself"
        )
    # Bisection over the tolerances that occur in the table: exact, and the same on every machine.
    levels = np.unique(departures[np.isfinite(departures)])
    low, high = -1, levels.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if _lay_chords(departures, levels[middle], fixed).size > n_nodes:
            low = middle
        else:
            high = middle
    return eep[_fill_up(_lay_chords(departures, levels[high], fixed), departures, n_nodes)]


def _lay_chords(departures: np.ndarray, tolerance: float, fixed: np.ndarray) -> np.ndarray:
    """Nodes of the longest chords within the tolerance, one after another, stopping at `fixed`."""
    within = departures <= tolerance
    longest = within.shape[1] - 1 - np.argmax(within[:, ::-1], axis=1)
    nodes = [0]
    for stop in fixed[1:]:
        while nodes[-1] < stop:
            a = nodes[-1]
            room = min(longest[a], stop - a)
            # A shorter chord can be worse than a longer one: step down to one that is within.
            nodes.append(a + int(np.flatnonzero(within[a, : room + 1])[-1]))
    return np.array(nodes)


def _fill_up(chosen: np.ndarray, departures: np.ndarray, n_nodes: int) -> np.ndarray:
    """Halve the worst chords until there are n_nodes."""
    nodes: list[int] = chosen.tolist()
    while len(nodes) < n_nodes:
        lengths = np.diff(nodes)
        worst = np.where(lengths > 1, departures[nodes[:-1], lengths], -1.0)
        k = int(np.argmax(worst))
        nodes.insert(k + 1, nodes[k] + int(lengths[k]) // 2)
    return np.array(nodes)
