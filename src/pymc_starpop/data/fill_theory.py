"""Complete the box ([Fe/H], log age, EEP) of MIST theory where the source has no model.

Tracks are arrays (E, 4) of log10 mass, T_eff, g and L at consecutive EEPs. What is done here, why,
and how well it does is said in PROVENANCE.md and tested in tests/isochrones/test_bundle.py.
"""

import numpy as np

LOG_MASS, LOG_TEFF, LOG_G, LOG_L = range(4)
LOWEST_MASS = 0.1  # Msun; the least massive tracks of MIST
# An isochrone that starts above this mass (Msun) lacks its dwarfs: [Fe/H] = +0.5.
LACKS_DWARFS = 0.2

# Below 0.1 Msun T_eff levels off towards this, 2090 K, and the other columns with it. It lies below
# the coolest bolometric correction (2500 K) so that the first dozen EEPs below the edge, which
# interpolation between ages reads, stay nearly straight. What carries weight is above 0.1 Msun and
# above 2600 K.
COOLEST_LOG_TEFF = 3.32
WIDEST_REACH = 60.0  # EEPs over which a continuation below the edge stays nearly straight

# [Fe/H] = +0.5 below 0.5 Msun: half the step from 0.0 to +0.25 is added to +0.25, and the mismatch
# at the edge fades over 0.3 dex in mass. Both were chosen by predicting +0.25 from 0.0 and -0.25.
FEH_STEP_WEIGHT = 0.5
MISMATCH_DEX = 0.3
N_MASS = 400  # masses between 0.1 Msun and the edge at which tracks are compared
SMOOTHING = 25  # half width, in these masses, of the average over the step in [Fe/H]

# At [Fe/H] = -0.75 the EEPs of the source below about 0.2 Msun are up to eight too low compared
# with -1.0 and -0.5, with steps of up to 0.12 dex in mass from one EEP to the next.
MOVED_FEH = -0.75
MOVED_BELOW_MASS = 0.25

# Masses (Msun) of the tracks of MIST between which the source runs straight in mass. Above 0.85
# Msun slopes change less, and after EEP 353 the turn-off moves through the tracks.
TRACK_MASSES = np.arange(2, 18) * 0.05
LAST_CURVED_EEP = 353
TURN_OFF_MARGIN = 0.02  # Msun between the last curved row and the last track used

# EEPs around the turn-off between which rows of equal mass are replaced. Later ties come from
# float32 or from phases too short to matter.
HELD_EEPS = (340, 453)


def complete(theory: np.ndarray, feh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the complete theory (F, A, E, 4) and where it is not the source's (F, A, E).

    Parameters
    ----------
    theory : ndarray (F, A, E, 4)
        Log10 of mass (Msun), T_eff (K), g (cgs), L (Lsun) at EEP 1, 2, ..., NaN without a model.
    feh : ndarray (F,)
        Ascending [Fe/H].
    """
    theory, filled = theory.copy(), ~np.isfinite(theory[..., LOG_MASS])
    moved = int(np.flatnonzero(feh == MOVED_FEH)[0])
    lowest = np.argmax(~filled, axis=-1)
    for f, a in np.ndindex(lowest.shape):
        track, low = theory[f, a], int(lowest[f, a])
        fill_inner_gaps(track)
        filled[f, a, straighten_held_masses(track)] = True
        curve_between_tracks(track, low)
        if track[low, LOG_MASS] > np.log10(LACKS_DWARFS):
            start = low_masses_from_neighbors(track, low, theory[f - 1, a], theory[f - 2, a])
            step = track[start + 1] - track[start]
        else:
            # The row of 0.1 Msun goes to where the continued track has that mass.
            start, step = low + 1, edge_step(track, low)
            filled[f, a, low] = True
        if f != moved:
            continue_below(track, start, step)
    for a in range(theory.shape[1]):
        track = theory[moved, a]
        neighbors = theory[moved - 1, a], theory[moved + 1, a]
        start, last = move_low_masses(track, int(lowest[moved, a]), *neighbors)
        filled[moved, a, : last + 1] = True
        continue_below(track, start, track[start + 1] - track[start])
    return theory, filled


def fill_inner_gaps(track: np.ndarray) -> None:
    """Fill the missing rows between models linearly in EEP, in place."""
    known = np.flatnonzero(np.isfinite(track[:, LOG_MASS]))
    inner = np.arange(known[0], known[-1] + 1)
    for column in range(track.shape[1]):
        track[inner, column] = np.interp(inner, known, track[known, column])


def straighten_held_masses(track: np.ndarray) -> np.ndarray:
    """Replace turn-off rows with the mass of the row before linearly in EEP, in place.

    Where mass falls along a track the source holds it at the highest value so far, but T_eff, g and
    L run on and then jump back. Returns the rows.
    """
    first, last = HELD_EEPS
    rows = np.arange(first, last + 1) - 1
    held = rows[track[rows, LOG_MASS] == track[rows - 1, LOG_MASS]]
    own = np.setdiff1d(np.arange(len(track)), held)
    for column in range(track.shape[1]):
        track[held, column] = np.interp(held, own, track[own, column])
    return held


def curve_between_tracks(track: np.ndarray, lowest: int) -> None:
    """Give a main sequence that is straight between track masses a continuous slope, in place.

    To log T_eff, g and L is added the difference between the cubic Hermite polynomial in log mass
    through their values at `TRACK_MASSES`, with the slopes of parabolas through three of these, and
    the straight lines in mass through the same values.
    """
    mass = 10.0 ** track[lowest:LAST_CURVED_EEP, LOG_MASS]
    # The float32 of the source can lie just above 0.1.
    lightest, heaviest = mass[0] - 1e-6, mass[-1] - TURN_OFF_MARGIN
    knots = TRACK_MASSES[(lightest < TRACK_MASSES) & (heaviest > TRACK_MASSES)]
    if knots.size < 2:
        return
    rows = np.flatnonzero((mass >= knots[0]) & (mass <= knots[-1]))
    x = np.log10(knots)
    k = np.clip(np.searchsorted(knots, mass[rows], side="right") - 1, 0, knots.size - 2)
    h = x[k + 1] - x[k]
    u = ((np.log10(mass[rows]) - x[k]) / h)[:, None]
    v = 1.0 - u
    columns = track[lowest:LAST_CURVED_EEP, LOG_TEFF:]
    y = np.stack([np.interp(knots, mass, column) for column in columns.T], axis=-1)
    straight = np.stack([np.interp(mass[rows], knots, column) for column in y.T], axis=-1)
    slope = np.gradient(y, x, axis=0)
    curved = (1.0 + 2.0 * u) * v * v * y[k] + u * u * (3.0 - 2.0 * u) * y[k + 1]
    curved += u * v * h[:, None] * (v * slope[k] - u * slope[k + 1])
    columns[rows] += curved - straight


def edge_step(track: np.ndarray, lowest: int) -> np.ndarray:
    """Return the change per EEP (4,) with which a track continues below its lowest row.

    The source ends every isochrone with one row of exactly 0.1 Msun at the next integer EEP, so
    that its first step is a fraction (or a multiple) of a true one. The step in mass is therefore
    that of the rows above, the direction that towards the row of 0.1 Msun.
    """
    mass_step = np.diff(track[lowest : lowest + 8, LOG_MASS])
    # The steps lengthen downwards: continue that, by a tenth at most.
    longer = np.clip(mass_step[1] - mass_step[2], 0.0, 0.1 * mass_step[1])
    step = min(mass_step[1] + longer, 1.15 * np.median(mass_step[1:7]))
    # A very short first step has a noisy direction, so the second one is added.
    above = lowest + (2 if mass_step[0] < 0.5 * step else 1)
    rise = track[above] - track[lowest]
    return rise * (step / rise[LOG_MASS])


def continue_below(track: np.ndarray, start: int, step: np.ndarray) -> None:
    """Continue a track below row `start` with `step` (4,) per EEP, in place.

    Straight at first, then all columns level off, except that the mass keeps falling by at least a
    tenth of the step.
    """
    below = np.arange(1, start + 1)
    reach = WIDEST_REACH
    if step[LOG_TEFF] > 0.0:
        reach = min(reach, (track[start, LOG_TEFF] - COOLEST_LOG_TEFF) / step[LOG_TEFF])
    leveled = reach * np.tanh(below / reach)
    rows = track[start] - leveled[:, None] * step
    rows[:, LOG_MASS] = track[start, LOG_MASS] - step[LOG_MASS] * (0.1 * below + 0.9 * leveled)
    track[start - below] = rows


def low_masses_from_neighbors(
    track: np.ndarray, lowest: int, nearest: np.ndarray, second: np.ndarray
) -> int:
    """Continue a track to 0.1 Msun from those of the two next lower [Fe/H], in place.

    At fixed mass, EEP, log T_eff and log L are those of `nearest`, plus a share of the step from
    `second` to `nearest`, plus the mismatch at the lowest row, which fades with mass; log g follows
    from mass, L and T_eff. Returns the lowest row with at least 0.1 Msun.
    """
    log_mass = np.linspace(np.log10(LOWEST_MASS), track[lowest, LOG_MASS], N_MASS)
    near, far = _by_mass(nearest, log_mass), _by_mass(second, log_mass)
    difference = np.stack([_smooth(column) for column in (near - far).T], axis=-1)
    guess = near + FEH_STEP_WEIGHT * difference
    edge = np.array([lowest, track[lowest, LOG_TEFF], track[lowest, LOG_L]])
    guess += (edge - guess[-1]) * _fading(log_mass)[:, None]
    eep = np.arange(_first_whole(guess[:, 0]), lowest)
    mass, teff, lum = (np.interp(eep, guess[:, 0], c) for c in (log_mass, *guess[:, 1:].T))
    # log g - log M - 4 log T_eff + log L is a constant of nature while no mass is lost.
    constant = track[lowest] @ np.array([-1.0, -4.0, 1.0, 1.0])
    track[eep] = np.stack([mass, teff, constant + mass + 4.0 * teff - lum, lum], axis=-1)
    return int(eep[0])


def move_low_masses(
    track: np.ndarray, lowest: int, below: np.ndarray, above: np.ndarray
) -> tuple[int, int]:
    """Move the rows of low mass to the EEPs that the neighbors in [Fe/H] suggest, in place.

    T_eff, g and L at fixed mass stay those of the source. The EEP at fixed mass becomes the mean of
    the neighbors' plus the mismatch at `MOVED_BELOW_MASS`, which fades with mass. Returns the
    lowest row, which has at least 0.1 Msun, and the highest that moved.
    """
    log_mass = np.linspace(np.log10(LOWEST_MASS), np.log10(MOVED_BELOW_MASS), N_MASS)
    top = lowest + int(np.argmax(track[lowest:, LOG_MASS] > log_mass[-1] + 0.05))
    own = track[lowest:top].copy()
    own_eep = np.interp(log_mass[-1], own[:, LOG_MASS], np.arange(lowest, top))
    eep = 0.5 * (_by_mass(below, log_mass)[:, 0] + _by_mass(above, log_mass)[:, 0])
    eep += (own_eep - eep[-1]) * _fading(log_mass)
    rows = np.arange(_first_whole(eep), int(np.floor(eep[-1])) + 1)
    mass = np.interp(rows, eep, log_mass)
    columns = [np.interp(mass, own[:, LOG_MASS], own[:, c]) for c in (LOG_TEFF, LOG_G, LOG_L)]
    track[rows] = np.stack([mass, *columns], axis=-1)
    return int(rows[0]), int(rows[-1])


def _by_mass(track: np.ndarray, log_mass: np.ndarray) -> np.ndarray:
    """Row number, log T_eff and log L (n, 3) of a track at ascending log masses (n,)."""
    top = int(np.argmax(track[:, LOG_MASS] > log_mass[-1] + 0.05))
    mass = track[:top, LOG_MASS]
    columns = (np.arange(top), track[:top, LOG_TEFF], track[:top, LOG_L])
    return np.stack([np.interp(log_mass, mass, column) for column in columns], axis=-1)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Moving average over 2 SMOOTHING + 1 points; ends are continued by point reflection."""
    padded = np.pad(values, SMOOTHING, mode="reflect", reflect_type="odd")
    width = 2 * SMOOTHING + 1
    return np.convolve(padded, np.full(width, 1.0 / width), mode="valid")


def _fading(log_mass: np.ndarray) -> np.ndarray:
    """Weight of the mismatch at the highest of these masses: 1 there, fading downwards."""
    return np.exp((log_mass - log_mass[-1]) / MISMATCH_DEX)


def _first_whole(eep: np.ndarray) -> int:
    """Return the first whole row number at or above the lowest mass."""
    if not (np.diff(eep) > 0.0).all():
        raise ValueError("theory: EEPs must rise with mass where low masses are filled in or moved")
    return int(np.ceil(eep[0]))
