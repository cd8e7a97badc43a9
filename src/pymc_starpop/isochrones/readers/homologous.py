"""Points of equal evolution for libraries that do not number them.

An isochrone is cut into stages: up to the base of the red giant branch, to its tip, through core
helium burning, and up the early asymptotic giant branch. Each stage gets the same number of points
on every isochrone, equally spaced along a path that counts mass, temperature and luminosity (or
magnitudes where there are none). Stages come from the labels of the library, or without them from
the shape of the isochrone, see `shape`.

Only the base of the giant branch, its tip and the later boundaries anchor the points. Labels at the
end of the main sequence, and the hottest point, move by several percent in mass from one age to the
next where the overall contraction sets in (1.1 to 1.4 Msun); points anchored there interpolate two
to four times worse at the turn-off of old clusters.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from pymc_starpop.isochrones.readers.raw import RawIsochrone
from pymc_starpop.isochrones.readers.shape import (
    Diagram,
    Shape,
    check_shapes,
    choose_diagram,
    find_shape,
    no_stages,
)
from pymc_starpop.isochrones.source import EepScale

__all__ = ["align", "number_rows"]

# Points on each stage: dwarfs and subgiants, red giants, core helium burning, early AGB.
STAGE_POINTS = (400, 150, 100, 60)
# Labels of PARSEC at which the stages begin: 3 red giants, 4 to 6 core helium burning, 7 early AGB;
# from 8 on thermal pulses, whose loops differ from one isochrone to the next.
STAGE_LABELS = (3, 4, 7, 8)
# Weights in the path of the steps in log10 of mass, T_eff and L, found by leaving out ages.
PATH_WEIGHTS = (1.0, 3.0, 1.0)
# Without T_eff and L: of log10 mass, of the brightest band, and of the color in mag.
MAG_PATH_WEIGHTS = (1.0, 0.4, 1.0)
# Rows with at most this share of the largest mass are dwarfs, whatever their color.
DWARF_SHARE = 0.6


def number_rows(one: RawIsochrone) -> tuple[RawIsochrone, EepScale]:
    """Number the rows of a single isochrone, from 1, and tell where its stages end."""
    diagram = choose_diagram([one])
    if one.phase is not None:
        cuts = _stages_by_label(one)
    else:
        cuts = _stages_by_shape(one, None if diagram is None else find_shape(one, diagram))
    n = len(one)
    main_sequence = _turn_off(one, cuts[1], diagram) + 1
    flash = (cuts[2], cuts[2] + 1) if len(cuts) > 3 else None
    key = tuple(sorted({main_sequence, *(cut + 1 for cut in cuts[1:-1] if cut < n)}))
    scale = EepScale("rows", main_sequence, _last_row(one) + 1, key, flash)
    return replace(one, eep=np.arange(1, n + 1)), scale


def align(raw: Sequence[RawIsochrone]) -> tuple[list[RawIsochrone], EepScale]:
    """Give several isochrones the same number of points, homologous ones with the same EEP.

    Returns
    -------
    list of RawIsochrone
        With points in place of rows, up to the last stage that all isochrones have.
    scale : EepScale

    Raises
    ------
    IsochroneFileError
        Where there are no labels and stages are not seen in all isochrones, or not at the same
        place in neighbors.
    """
    diagram = choose_diagram(raw)
    cuts = _all_stages(raw, diagram)
    n_stage = min(len(c) for c in cuts) - 1
    aligned = [_points(one, c[: n_stage + 1], diagram) for one, c in zip(raw, cuts, strict=True)]
    counts = list(STAGE_POINTS[:n_stage])
    if n_stage > 2:
        counts[1] += 1  # the node that ends the giant branch at the mass of the next stage
    ends = np.cumsum(counts).tolist()
    # Rather late than early: the last point of which it is certain that no subgiant comes before.
    turn_offs = [
        _nearest(one, points, _turn_off(one, c[1], diagram))
        for one, points, c in zip(raw, aligned, cuts, strict=True)
    ]
    main_sequence = int(np.median(turn_offs))
    flash = (ends[1], ends[1] + 1) if n_stage > 2 else None
    key = tuple(sorted({main_sequence, *ends, *(e + 1 for e in ends[:-1])}))
    return aligned, EepScale("stages", main_sequence, ends[-1], key, flash)


def _all_stages(raw: Sequence[RawIsochrone], diagram: Diagram | None) -> list[list[int]]:
    """Stages of all isochrones: by labels where all have them, else by shape."""
    if all(one.phase is not None for one in raw):
        return [_stages_by_label(one) for one in raw]
    if diagram is None:
        raise no_stages(raw[0], "there is no color in which dwarfs of higher mass are bluer")
    shapes = [find_shape(one, diagram) for one in raw]
    check_shapes(raw, shapes)
    return [_stages_by_shape(one, shape) for one, shape in zip(raw, shapes, strict=True)]


def _nearest(one: RawIsochrone, points: RawIsochrone, row: int) -> int:
    """Number of the point whose mass is nearest to that of a row."""
    return int(np.argmin(np.abs(points.initial_mass - one.initial_mass[row]))) + 1


def _points(one: RawIsochrone, cuts: Sequence[int], diagram: Diagram | None) -> RawIsochrone:
    """Points of one isochrone, stage by stage; stage k has the rows from cuts[k] to cuts[k + 1]."""
    columns, path = one.columns(), _path(one, diagram)
    pieces = []
    for stage, (first, last) in enumerate(pairwise(cuts)):
        # A stage ends where the next begins; only from the tip of the giants light jumps.
        last = last - 1 if stage == 1 or last == len(one) else last
        n = STAGE_POINTS[stage]
        p = path[first : last + 1] - path[first]
        inner = np.linspace(0.0, 1.0, n + 1)[:-1] if stage == 0 else np.linspace(0.0, 1.0, n)
        s = inner * p[-1]
        piece = np.column_stack([np.interp(s, p, c[first : last + 1]) for c in columns.T])
        pieces.append(piece)
        if stage == 1 and len(cuts) > 3:
            # Stars between the tip and the next stage stay at the tip: none lie on the jump.
            end = piece[-1:].copy()
            end[0, 0] = max(columns[cuts[2], 0], end[0, 0])
            pieces.append(end)
    table = np.concatenate(pieces)
    return replace(
        one,
        lines=np.full(len(table), one.lines[0]),
        initial_mass=10.0 ** table[:, 0],
        mag=np.ascontiguousarray(table[:, 4:]),
        eep=np.arange(1, len(table) + 1),
        phase=None,
        log_teff=None if one.log_teff is None else table[:, 1],
        log_g=None if one.log_g is None else table[:, 2],
        log_l=None if one.log_l is None else table[:, 3],
    )


def _path(one: RawIsochrone, diagram: Diagram | None) -> np.ndarray:
    """Length along the isochrone (n,)."""
    log_mass = np.log10(one.initial_mass)
    if one.log_teff is not None and one.log_l is not None:
        steps = [np.diff(c) for c in (log_mass, one.log_teff, one.log_l)]
        weights = PATH_WEIGHTS
    else:
        color, bright = _color_and_light(one, diagram)
        steps = [np.diff(c) for c in (log_mass, bright, color)]
        weights = MAG_PATH_WEIGHTS
    length = np.sqrt(sum((w * step) ** 2 for w, step in zip(weights, steps, strict=True)))
    # Rows that repeat still move on, so that points are in order.
    return np.concatenate([[0.0], np.cumsum(length + 1e-12)])


def _stages_by_label(one: RawIsochrone) -> list[int]:
    """Row at which each stage begins, and after the last the row after its end."""
    assert one.phase is not None
    # A stage begins with its first label, even where later rows fall back: labels flicker at
    # boundaries, and repeat in stars above 14 Msun.
    cuts = [0]
    for begin, end in pairwise(STAGE_LABELS):
        inside = np.flatnonzero((one.phase >= begin) & (one.phase < end))
        inside = inside[inside > cuts[-1]]
        if not inside.size:
            break
        cuts.append(int(inside[0]))
    later = np.flatnonzero(one.phase >= STAGE_LABELS[len(cuts) - 1])
    later = later[later > cuts[-1]]
    stop = int(later[0]) if later.size else len(one)
    if len(cuts) > 1:
        # The base of the giant branch follows the last subgiant.
        before = one.phase[: cuts[2] if len(cuts) > 2 else stop] < STAGE_LABELS[0]
        cuts[1] = min(int(np.flatnonzero(before)[-1]) + 1, cuts[1] + 3)
    return [*cuts, stop]


def _stages_by_shape(one: RawIsochrone, shape: Shape | None) -> list[int]:
    """Stages without labels: dwarfs and subgiants, red giants, and what follows."""
    n = len(one)
    if shape is None or (shape.base is None and not shape.falls):
        return [0, n]
    base = [] if shape.base is None else [shape.base]
    after = [shape.tip + 1] if shape.tip + 1 < n else []
    return [0, *base, *after, n]


def _color_and_light(one: RawIsochrone, diagram: Diagram | None) -> tuple[np.ndarray, np.ndarray]:
    """Color and magnitude (n,); without a color all have the same."""
    if diagram is not None:
        return diagram.of(one)
    bright = one.mag[:, 0] if one.bands else -np.log10(one.initial_mass)
    return np.zeros(len(one)), bright


def _turn_off(one: RawIsochrone, stop: int, diagram: Diagram | None) -> int:
    """Row of the hottest (or bluest) point of the later main sequence, before row `stop`."""
    color, _ = _color_and_light(one, diagram)
    mass = one.initial_mass[:stop]
    later = np.flatnonzero(mass > DWARF_SHARE * mass.max())
    return int(later[np.argmin(color[later])]) if later.size else max(stop - 1, 0)


def _last_row(one: RawIsochrone) -> int:
    """Last row before the thermal pulses."""
    if one.phase is None:
        return len(one) - 1
    late = np.flatnonzero(one.phase >= STAGE_LABELS[-1])
    return int(late[0]) - 1 if late.size and late[0] > 1 else len(one) - 1
