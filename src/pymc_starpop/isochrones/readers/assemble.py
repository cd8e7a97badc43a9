"""From the isochrones of files to a grid: one rectangle of [Fe/H] and age, one set of points."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pymc_starpop.isochrones.grid import IsochroneGrid
from pymc_starpop.isochrones.readers.raw import ROUNDING, RawIsochrone, snap
from pymc_starpop.isochrones.readers.text import IsochroneFileError
from pymc_starpop.isochrones.source import EepScale, IsochroneSource, as_table, bundled_source
from pymc_starpop.isochrones.tabulated import Photometry, TabulatedPhotometry

__all__ = ["GridChoices", "build_grid", "check_same_models", "select_range", "with_choices"]

N_THEORY = 4
_NODE = ("feh", "log_age")
# Below the first point of an isochrone the trend of this many points goes on.
_TREND = 5
# Masses (Msun) are rounded up to this when they become a limit.
_MASS_STEP = 1e-4
# Ages in headers are rounded: 10.10001, or 3000 Myr for log age 9.4771.
_ROUNDING = 5e-4


@dataclass(frozen=True)
class GridChoices:
    """What users may choose about any library.

    Attributes
    ----------
    bands : sequence or mapping of str, optional
        Columns to take, or column to name of the band; all, by their own names, by default.
    feh_range, log_age_range : tuple of float, optional
        Leave out the isochrones outside of these limits (dex).
    extinction, wavelength : mapping, optional
        As in `IsochroneGrid.with_extinction`.
    """

    bands: Sequence[str] | Mapping[str, str] | None = None
    feh_range: tuple[float, float] | None = None
    log_age_range: tuple[float, float] | None = None
    extinction: Mapping[str, float] = field(default_factory=dict)
    wavelength: Mapping[str, float] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The chosen columns; None for all that a library has."""
        return None if self.bands is None else tuple(self.bands)


def select_range(raw: Sequence[RawIsochrone], choices: GridChoices) -> list[RawIsochrone]:
    """Return the isochrones within the chosen limits.

    Raises
    ------
    ValueError
        If there are none.
    """
    kept = snapped(raw)
    for name, limits in (("feh", choices.feh_range), ("log_age", choices.log_age_range)):
        if limits is None:
            continue
        low, high = limits
        values = sorted({getattr(one, name) for one in kept})
        kept = [one for one in kept if low - ROUNDING <= getattr(one, name) <= high + ROUNDING]
        if not kept:
            raise ValueError(
                f"{name}_range=({low:g}, {high:g}): the files have {name} {values[0]:g} to "
                f"{values[-1]:g}"
            )
    return kept


def snapped(raw: Sequence[RawIsochrone]) -> list[RawIsochrone]:
    """Return the isochrones with one number for ages, and metallicities, equal but for rounding.

    Theory that some of them lack is left out of all.
    """
    feh, log_age = (snap(np.array([getattr(one, name) for one in raw])) for name in _NODE)
    lacking = {
        name: None
        for name in ("log_teff", "log_g", "log_l")
        if any(getattr(one, name) is None for one in raw)
    }
    return [
        replace(one, feh=float(f), log_age=float(a), **lacking)  # type: ignore[arg-type]
        for one, f, a in zip(raw, feh, log_age, strict=True)
    ]


def check_same_models(raw: Sequence[RawIsochrone]) -> None:
    """Check that all isochrones have the same bands in the same system, and the same physics.

    Raises
    ------
    IsochroneFileError
        Naming the file, and the line where there is one.
    """
    first = raw[0]
    for one in raw[1:]:
        if one.system != first.system:
            raise IsochroneFileError(
                one.path,
                one.system_line or int(one.lines[0]),
                f"the photometric system is {_said(one.system)}, that of {first.path} is "
                f"{_said(first.system)}; read each system by itself",
            )
        if one.bands != first.bands:
            raise one.error(
                f"the bands are {', '.join(one.bands)}, those of {first.path} are "
                f"{', '.join(first.bands)}"
            )
    seen: dict[str, tuple[str, int, RawIsochrone]] = {}
    for one in raw:
        for name, (value, line) in one.physics.items():
            before, at, other = seen.setdefault(name, (value, line, one))
            if value != before:
                raise IsochroneFileError(
                    one.path,
                    line,
                    f"other physics: {name} is {value!r}, but {before!r} in {other.path}, line "
                    f"{at}; read files of the same models together",
                )
    _check_same_words(raw)


def _said(system: str | None) -> str:
    return "not given" if system is None else repr(system)


def _check_same_words(raw: Sequence[RawIsochrone]) -> None:
    """Refuse a header that is silent about physics of which another one speaks."""
    speaks: dict[str, tuple[str, RawIsochrone]] = {}
    for one in raw:
        for name in one.physics:
            speaks.setdefault(_topic(name), (name, one))
    for one in raw:
        topics = {_topic(name) for name in one.physics}
        lacking = next((topic for topic in speaks if topic not in topics), None)
        if lacking is None:
            continue
        name, other = speaks[lacking]
        value, line = other.physics[name]
        raise one.error(
            f"other physics: {other.path}, line {line}, says that {name} is {value!r}, but "
            f"{one.path} does not say; read files of the same models together, with such a line "
            "in all or none of them"
        )


def _topic(name: str) -> str:
    """What an entry of `RawIsochrone.physics` is about, at whatever metallicity."""
    return name.split(" of [")[0]


def build_grid(
    name: str, raw: Sequence[RawIsochrone], scale: EepScale, choices: GridChoices
) -> IsochroneGrid:
    """Put isochrones with EEPs on one rectangle and one set of points.

    The points run from the lowest EEP that any isochrone has to the highest that all have. Where
    an isochrone begins later, its trend goes on to lower masses (which no likelihood uses: its
    lowest mass is one that all reach by themselves); gaps are bridged along the EEP. Both are
    marked as filled.

    Raises
    ------
    IsochroneFileError
        For a second isochrone of one age and metallicity, and for holes in the rectangle.
    """
    check_same_models(raw)
    feh, log_age, order = _rectangle(raw)
    eep = _common_eeps(raw)
    table = np.empty((feh.size, log_age.size, eep.size, N_THEORY + len(raw[0].bands)))
    filled = np.empty(table.shape[:3], dtype=bool)
    for (i, j), one in order.items():
        table[i, j], filled[i, j] = _on_points(one, eep)
    photometry: Photometry
    if raw[0].bands:
        photometry = _photometry(raw[0], table[..., N_THEORY:], choices)
    else:
        photometry = _bundled_corrections(raw[0])
    lowest = max(float(one.initial_mass[0]) for one in raw)
    scale = replace(scale, last=min(scale.last, int(eep[-1])))
    source = IsochroneSource(
        name=name,
        feh=as_table(feh),
        log_age=as_table(log_age),
        eep=eep,
        theory=as_table(table[..., :N_THEORY]),
        filled=filled,
        photometry=photometry,
        scale=scale,
        mass_min=round(float(np.ceil(lowest / _MASS_STEP - 1e-9)) * _MASS_STEP, 9),
        tolerance=_ROUNDING,
        metadata={"files": sorted({str(one.path) for one in raw}), "system": raw[0].system},
    )
    return IsochroneGrid(source)


def _photometry(
    one: RawIsochrone, magnitudes: np.ndarray, choices: GridChoices
) -> TabulatedPhotometry:
    """Magnitudes of the chosen bands; a bundled band's name brings its wavelength with it."""
    chosen = choices.bands
    if chosen is None:
        chosen = one.bands
    names = dict(chosen) if isinstance(chosen, Mapping) else {band: band for band in chosen}
    if len(set(names.values())) < len(names) or not names:
        raise ValueError(f"bands: expected columns with different names, got {chosen!r}")
    index = [one.bands.index(column) for column in names]
    unknown = np.full(len(names), np.nan)
    photometry = TabulatedPhotometry(
        bands=tuple(str(name) for name in names.values()),
        magnitudes=as_table(magnitudes[..., index]),
        extinction=unknown,
        slope=unknown,
        system=(one.system or "",) * len(names),
    )
    known = bundled_source().photometry.parts[0]
    wavelength = {
        band: float(micron)
        for band, micron in zip(known.bands, known.wavelength, strict=True)  # type: ignore[union-attr]
    }
    return photometry.with_extinction({}, wavelength)


def _bundled_corrections(one: RawIsochrone) -> Photometry:
    """Photometry of isochrones without magnitudes."""
    if any(column is None for column in (one.log_teff, one.log_g, one.log_l)):
        raise one.error(
            "there are no magnitudes, and no T_eff, gravity and luminosity to compute them from"
        )
    return bundled_source().photometry


def _rectangle(
    raw: Iterable[RawIsochrone],
) -> tuple[np.ndarray, np.ndarray, dict[tuple[int, int], RawIsochrone]]:
    """Axes of [Fe/H] and log age, and the isochrone at each of their nodes."""
    found: dict[tuple[float, float], RawIsochrone] = {}
    for one in raw:
        node = (one.feh, one.log_age)
        if node in found:
            other = found[node]
            raise one.error(
                f"a second isochrone of [Fe/H] = {one.feh:g} and log_age = {one.log_age:g}; the "
                f"first is in {other.path}, line {other.lines[0]}"
            )
        found[node] = one
    feh = np.array(sorted({node[0] for node in found}))
    log_age = np.array(sorted({node[1] for node in found}))
    for k, (axis, name) in enumerate(((feh, "[Fe/H]"), (log_age, "log_age"))):
        close = np.flatnonzero(np.diff(axis) < 1e-4)
        if close.size:
            low, high = axis[close[0]], axis[close[0] + 1]
            one = next(one for node, one in found.items() if node[k] == high)
            raise one.error(
                f"{name} of the isochrones: {low:.9g} and {high:.9g} are too close for a grid and "
                "too far apart to be the same, rounded; give files of one download"
            )
    holes = [(f, a) for f in feh.tolist() for a in log_age.tolist() if (f, a) not in found]
    if holes:
        last = next(reversed(found.values()))
        some = "; ".join(f"[Fe/H] = {f:g}, log_age = {a:g}" for f, a in holes[:4])
        raise last.error(
            f"the isochrones do not fill a rectangle of {feh.size} [Fe/H] by {log_age.size} ages: "
            f"{len(holes)} are missing, such as {some}; add their files, or choose feh_range and "
            "log_age_range"
        )
    order = {
        (i, j): found[f, a]
        for i, f in enumerate(feh.tolist())
        for j, a in enumerate(log_age.tolist())
    }
    return feh, log_age, order


def _common_eeps(raw: Sequence[RawIsochrone]) -> np.ndarray:
    """EEPs that some isochrone has, up to the last one that all reach."""
    eeps = [one.eep for one in raw if one.eep is not None]
    last = min(int(eep[-1]) for eep in eeps)
    late = next((one for one in raw if one.eep is not None and one.eep[0] >= last), None)
    if late is not None:
        raise late.error(f"the isochrone begins after EEP {last}, where another one ends")
    union = np.unique(np.concatenate(eeps))
    return union[union <= last].astype(np.int64)


def _on_points(one: RawIsochrone, eep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns (E, 4 + B) at the points, and which are not the isochrone's own (E,)."""
    own, columns = one.eep, one.columns()
    assert own is not None
    missing = ~np.isin(eep, own)
    if not missing.any():
        return columns[np.searchsorted(own, eep)], missing
    result = np.column_stack([np.interp(eep, own, column) for column in columns.T])
    before = np.flatnonzero(eep < own[0])
    if before.size:
        n = min(_TREND, len(own) - 1)
        trend = (columns[n] - columns[0]) / (own[n] - own[0])
        # Masses must go on falling, whatever the first rows do.
        trend[0] = max(trend[0], 1e-6)
        result[before] = columns[0] + (eep[before] - own[0])[:, None] * trend
    return result, missing


def with_choices(grid: IsochroneGrid, choices: GridChoices) -> IsochroneGrid:
    """Add the extinction that the user gave."""
    if not (choices.extinction or choices.wavelength):
        return grid
    return grid.with_extinction(choices.extinction, choices.wavelength)
