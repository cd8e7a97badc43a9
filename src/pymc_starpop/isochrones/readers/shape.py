"""Stages of evolution from the shape of an isochrone, where a library gives no phase labels.

The diagram is T_eff against luminosity, or that of the two bands whose color spans most on the main
sequence: the same for all isochrones of a grid, whatever the order of the bands. In it

- the tip of the red giant branch is the brightest red row before the light falls while the color
  turns back: on the subgiant branch light falls too, but stars redden;
- the base is the corner between the turn-off and the lower giant branch: the row farthest, on the
  faint and red side, from the chord between the bluest row and a giant two magnitudes brighter. The
  chord must not end at the tip, since in blue bands the upper giant branch bends down: the row
  farthest from such a chord jumps from the base to the tip from one age to the next.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymc_starpop.isochrones.readers.raw import RawIsochrone
from pymc_starpop.isochrones.readers.text import IsochroneFileError

__all__ = ["Diagram", "Shape", "check_shapes", "choose_diagram", "find_shape", "no_stages"]

# Magnitudes of color for a decade of T_eff, about that of B - V of yellow stars.
TEFF_TO_COLOR = 8.0
# Shares of the largest mass between which an isochrone of any age holds unevolved dwarfs, and from
# which on its turn-off and giants follow.
DWARFS = (0.5, 0.85)
# A fall in brightness (mag) that ends the giant branch, where the color turns back as well.
LEAST_FALL = 0.7
# The bump on the giant branch falls by up to 0.8 mag: a fall counts as the tip where it is half as
# deep as the deepest, or as this.
LARGE_FALL = 2.0
# The base is not fainter than the turn-off by more, and the tip is brighter than the base by more
# (mag): what is else is the dust of the asymptotic giant branch.
FAINTEST_BASE, LEAST_RISE = 3.5, 0.5
# Magnitudes from the bluest row up to the giant to which the chord is drawn.
CHORD_MAG = 2.0
# A corner: its distance from the chord in units of the box around the chord.
LEAST_CORNER = 0.02
# The base is redder than the turn-off by this share of the reddening up to the tip: less is a
# wiggle of stars that burn helium before they turn red.
LEAST_REDDENING = 0.03
# Between neighbors of a grid the color of the base changes by less than this share of how much
# redder it is than the turn-off: it is nearly the same at all ages.
LARGEST_STEP = 0.5
# The tip rises above the base with age, but for this (mag): where it sinks more it is the bump or
# the asymptotic giant branch at one of the two ages.
LARGEST_SINK = 0.5
# Giants are redder than this share of the way from the bluest row to the reddest.
RED_SHARE = 0.6


@dataclass(frozen=True)
class Diagram:
    """A color-magnitude diagram in which dwarfs of higher mass are bluer and brighter.

    Attributes
    ----------
    blue, red : int or None
        Columns of the bands; None for T_eff and luminosity.
    span : float
        How much the color of the dwarfs changes, mag.
    """

    blue: int | None
    red: int | None
    span: float

    def of(self, one: RawIsochrone) -> tuple[np.ndarray, np.ndarray]:
        """Color and magnitude (n,)."""
        if self.blue is None or self.red is None:
            return _theory(one)
        return one.mag[:, self.blue] - one.mag[:, self.red], one.mag[:, self.red]


@dataclass(frozen=True)
class Shape:
    """Rows at which the evolution changes.

    Attributes
    ----------
    turn_off : int
        The bluest row.
    base : int or None
        First row of the red giant branch; None where there is no corner.
    tip : int
        Last row of the red giant branch, or of the isochrone.
    base_color, reddening : float
        Color of the base, and how much redder it is than the turn-off (mag); NaN without base.
    rise : float
        How much brighter the tip is than the base (mag); NaN without base.
    falls : bool
        Whether the light falls after the tip.
    """

    turn_off: int
    base: int | None
    tip: int
    base_color: float
    reddening: float
    rise: float
    falls: bool

    @property
    def is_main_sequence(self) -> bool:
        """Whether the isochrone stops before its stars turn redder."""
        return self.base is None and self.turn_off == self.tip


def choose_diagram(raw: Sequence[RawIsochrone]) -> Diagram | None:
    """Choose the diagram in which stages are looked for; None where there is none."""
    if all(one.log_teff is not None and one.log_l is not None for one in raw):
        return Diagram(None, None, float(np.median([_span(_theory(one)[0], one) for one in raw])))
    bands = sorted(range(len(raw[0].bands)), key=lambda k: raw[0].bands[k])
    best = None
    for a, b in itertools.combinations(bands, 2):
        spans = [_span(one.mag[:, a] - one.mag[:, b], one) for one in raw]
        if min(spans) <= 0.0 <= max(spans):
            continue  # in some isochrones dwarfs redden with mass, in others not
        span = float(np.median(spans))
        blue, red = (a, b) if span > 0.0 else (b, a)
        if best is None or abs(span) > best.span:
            best = Diagram(blue, red, abs(span))
    return best


def find_shape(one: RawIsochrone, diagram: Diagram) -> Shape:
    """Find turn-off, base and tip of the red giant branch."""
    color, bright = diagram.of(one)
    tip, falls = _tip(one, color, bright)
    mass = one.initial_mass[: tip + 1]
    later = np.flatnonzero(mass >= DWARFS[1] * mass.max())
    turn_off = int(later[np.argmin(color[later])])
    end = tip
    while end > turn_off + 3 and bright[end - 1] < bright[turn_off] - CHORD_MAG:
        end -= 1
    d_color, d_bright = (
        values[turn_off : end + 1] - values[turn_off] for values in (color, bright)
    )
    # Signed: positive on the faint and red side of the chord.
    off = d_bright * d_color[-1] - d_color * d_bright[-1]
    corner = int(np.argmax(off))
    box = abs(d_color[-1] * d_bright[-1])
    least = LEAST_REDDENING * (color[tip] - color[turn_off])
    found = 0 < corner < end - turn_off and off[corner] >= LEAST_CORNER * box
    found &= d_bright[corner] <= FAINTEST_BASE
    found &= bright[turn_off + corner] - bright[tip] >= LEAST_RISE
    if not found or d_color[-1] <= 0.0 or d_color[corner] < least:
        return Shape(turn_off, None, tip, np.nan, np.nan, np.nan, falls)
    base = turn_off + corner
    rise = float(bright[base] - bright[tip])
    return Shape(turn_off, base, tip, float(color[base]), float(d_color[corner]), rise, falls)


def check_shapes(raw: Sequence[RawIsochrone], shapes: Sequence[Shape]) -> None:
    """Refuse isochrones whose stages are not found, or not where those of their neighbors are.

    Raises
    ------
    IsochroneFileError
        Naming the isochrone, and what to give instead.
    """
    if all(shape.is_main_sequence for shape in shapes):
        return
    for one, shape in zip(raw, shapes, strict=True):
        if shape.base is None:
            raise no_stages(one, "no base of a red giant branch is seen")
    for a, b in _neighbors(raw):
        before, here = shapes[a], shapes[b]
        if before.falls != here.falls:
            with_tip, without = (raw[a], raw[b]) if before.falls else (raw[b], raw[a])
            raise no_stages(
                without, f"no tip of the giant branch is seen, but one at {_node(with_tip)}"
            )
        step = abs(here.base_color - before.base_color)
        if step > LARGEST_STEP * min(here.reddening, before.reddening):
            raise no_stages(
                raw[b],
                f"the base of the giant branch differs by {step:.2f} mag in color from that at "
                f"{_node(raw[a])}",
            )
        if raw[a].feh == raw[b].feh and here.rise < before.rise - LARGEST_SINK:
            raise no_stages(
                raw[b],
                f"the tip of the giant branch is {here.rise:.2f} mag above its base, but "
                f"{before.rise:.2f} at {_node(raw[a])}, where it should be less",
            )


def no_stages(one: RawIsochrone, why: str) -> IsochroneFileError:
    """Make the error for an isochrone without stages."""
    return one.error(
        f"points of equal evolution cannot be found from the shape of the isochrones: at "
        f"{_node(one)} {why}; give phase labels or EEPs (columns of read_table), T_eff and "
        "luminosity, or bands of a wider color, or leave these out with log_age_range and feh_range"
    )


def _node(one: RawIsochrone) -> str:
    return f"[Fe/H] = {one.feh:g}, log_age = {one.log_age:g}"


def _neighbors(raw: Sequence[RawIsochrone]) -> list[tuple[int, int]]:
    """Pairs of isochrones next to each other in age or in metallicity."""
    by_age = sorted(range(len(raw)), key=lambda k: (raw[k].feh, raw[k].log_age))
    by_feh = sorted(range(len(raw)), key=lambda k: (raw[k].log_age, raw[k].feh))
    pairs = [(a, b) for a, b in itertools.pairwise(by_age) if raw[a].feh == raw[b].feh]
    return pairs + [
        (a, b) for a, b in itertools.pairwise(by_feh) if raw[a].log_age == raw[b].log_age
    ]


def _theory(one: RawIsochrone) -> tuple[np.ndarray, np.ndarray]:
    assert one.log_teff is not None
    assert one.log_l is not None
    return -TEFF_TO_COLOR * one.log_teff, -2.5 * one.log_l


def _span(color: np.ndarray, one: RawIsochrone) -> float:
    """How much bluer dwarfs get with mass (mag)."""
    ends = np.array(DWARFS) * one.initial_mass.max()
    low, high = np.interp(ends, np.maximum.accumulate(one.initial_mass), color)
    return float(low - high)


def _tip(one: RawIsochrone, color: np.ndarray, bright: np.ndarray) -> tuple[int, bool]:
    """Tip of the red giant branch and True, or the last row and False where no light falls."""
    mass = one.initial_mass
    start = int(np.argmax(mass >= DWARFS[1] * mass.max()))
    # From each row that is redder than all before: how far the light falls until one is redder.
    redder = np.maximum.accumulate(color[start:])
    reddest = start + np.flatnonzero(color[start:] >= redder)
    ends = np.append(reddest[1:], len(color))
    falls = np.array(
        [bright[k:end].max() - bright[k] for k, end in zip(reddest, ends, strict=True)]
    )
    deep = falls >= max(LEAST_FALL, 0.5 * min(falls.max(), LARGE_FALL))
    if not deep.any():
        return len(color) - 1, False
    return _brightest(color, bright, start, int(reddest[np.argmax(deep)])), True


def _brightest(color: np.ndarray, bright: np.ndarray, start: int, reddest: int) -> int:
    """Brightest of the red rows up to the reddest."""
    bluest = float(color[start : reddest + 1].min())
    limit = bluest + RED_SHARE * (color[reddest] - bluest)
    not_red = np.flatnonzero(color[start:reddest] < limit)
    first = start + int(not_red[-1]) + 1 if not_red.size else start
    return first + int(np.argmin(bright[first : reddest + 1]))
