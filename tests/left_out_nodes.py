"""Interpolation error of isochrone grids at nodes that were left out."""

from dataclasses import dataclass, replace

import numpy as np

from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.tabulated import CombinedPhotometry, TabulatedPhotometry


@dataclass(frozen=True)
class Errors:
    """Differences in mag, the largest of the bands at each point."""

    dwarfs: np.ndarray
    giants: np.ndarray
    off_track: np.ndarray

    def row(self):
        """Median, 95 % and worst of each, as text."""
        cells = [
            f"{np.median(x):.3f} / {np.quantile(x, 0.95):.3f} / {x.max():.3f}"
            for x in (self.dwarfs, self.giants, self.off_track)
        ]
        return " | ".join(cells)


def thinned(grid, axis):
    """Every other age, or every other [Fe/H], of a grid."""
    source = grid._source
    take = (slice(None), slice(None, None, 2)) if axis == "log_age" else (slice(None, None, 2),)
    photometry = source.photometry
    parts = [
        replace(part, magnitudes=np.ascontiguousarray(part.magnitudes[take]))
        if isinstance(part, TabulatedPhotometry)
        else part
        for part in photometry.parts
    ]
    return IsochroneGrid(
        replace(
            source,
            **{axis: np.ascontiguousarray(getattr(source, axis)[::2])},
            theory=np.ascontiguousarray(source.theory[take]),
            filled=np.ascontiguousarray(source.filled[take]),
            photometry=parts[0] if len(parts) == 1 else CombinedPhotometry(tuple(parts)),
            bundled=False,
        ),
        grid.eep,
    )


def errors_at_left_out_nodes(grid, bands, axis, feh=(-9.0, 9.0), log_age=(0.0, 11.0)):
    """Compare isochrones at left-out nodes with those interpolated from the others.

    Dwarfs (lowest mass of the likelihood to the last EEP of binaries) at equal mass; later stars,
    whose magnitudes change by whole magnitudes over a thousandth of their mass, at an equal share
    of the mass that they span, and by the distance from the interpolated track in a diagram of
    all bands.
    """
    few = thinned(grid, axis)
    left = getattr(grid, axis)[1::2]
    left = left[left < getattr(few, axis)[-1]]
    fehs = left if axis == "feh" else grid.feh
    ages = left if axis == "log_age" else grid.log_age
    found = [
        _compare(grid.at(f, a, bands), few.at(f, a, bands), grid)
        for f in fehs[(fehs >= feh[0]) & (fehs <= feh[1])]
        for a in ages[(ages >= log_age[0]) & (ages <= log_age[1])]
    ]
    return Errors(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _compare(truth, model, grid):
    end = int(np.searchsorted(truth.eep, grid.main_sequence_eep))
    last = int(np.searchsorted(truth.eep, grid.eep_max_default))
    mass, mag = truth.initial_mass, truth.abs_mag
    dwarf = (mass >= max(0.1, grid.mass_min)) & ~truth.filled
    dwarf &= (np.arange(mass.size) <= end) & (mass <= model.initial_mass[end])
    dwarfs = _difference(mass[dwarf], mag[dwarf], model.initial_mass[: end + 1], model.abs_mag)
    giants = slice(end, last + 1)
    share, at = (_share(x.initial_mass[giants]) for x in (truth, model))
    moving = np.r_[True, np.diff(share) > 0]
    return (
        dwarfs,
        _difference(share[moving], mag[giants][moving], at, model.abs_mag[giants]),
        _off_track(mag[giants][moving], model.abs_mag[giants]),
    )


def _share(mass):
    highest = np.maximum.accumulate(mass)
    return (highest - highest[0]) / (highest[-1] - highest[0])


def _difference(x, mag, at, model):
    at = np.maximum.accumulate(at)
    columns = [np.interp(x, at, model[: at.size, b]) for b in range(mag.shape[1])]
    return np.abs(np.column_stack(columns) - mag).max(axis=1)


def _off_track(points, track):
    """Distance of points (n, B) from a polyline (m, B)."""
    start, step = track[:-1], np.diff(track, axis=0)
    away = points[:, None] - start
    t = (away * step).sum(-1) / np.maximum((step * step).sum(-1), 1e-30)
    away -= np.clip(t, 0.0, 1.0)[..., None] * step
    return np.sqrt((away**2).sum(-1)).min(axis=1)
