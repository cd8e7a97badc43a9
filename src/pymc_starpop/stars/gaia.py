"""Catalogs from tables of Gaia DR3 as the archive gives them; see `StarCatalog.from_gaia`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pymc_starpop.kernels.gaia import corrected_excess, excess_scatter, magnitude_error
from pymc_starpop.stars.gaia_table import GaiaTable
from pymc_starpop.stars.gaia_zero_point import zero_point_of

__all__ = ["GaiaOptions", "GaiaReport", "read_gaia"]

# Band: its letters in the archive, and the error of its zero point, mag, which is that of
# the passbands of EDR3 and DR3 (Riello et al. 2021, A&A 649, A3), in the Vega system.
_GAIA = {
    "Gaia_G_EDR3": ("g", 0.0027553202),
    "Gaia_BP_EDR3": ("bp", 0.0027901700),
    "Gaia_RP_EDR3": ("rp", 0.0037793818),
}
_TMASS = {"2MASS_J": "j", "2MASS_H": "h", "2MASS_Ks": "ks"}  # in the order of ``ph_qual``
# Mag, added in quadrature; errors of 2MASS are total ones and larger than this.
_FLOOR = 0.005
_G, _BP, _RP = _GAIA
# A magnitude from another one and the archive's color: band, the other one, color, sign.
_FROM_COLORS = (
    (_BP, _G, "bp_g", 1.0), (_RP, _G, "g_rp", -1.0), (_BP, _RP, "bp_rp", 1.0),
    (_RP, _BP, "bp_rp", -1.0),
)  # fmt: skip
# Kept in ``extra`` where the table has them.
_KEPT = ("ra", "dec", "ruwe", "phot_bp_rp_excess_factor")
_MOTION = ("pmra", "pmra_error", "pmdec", "pmdec_error")
_MAX_NAMED = 5

Photometry = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class GaiaOptions:
    """What `StarCatalog.from_gaia` does with a table; see there."""

    bands: Sequence[str] | None = None
    floor: float | Mapping[str, float] | None = None
    parallax_zero_point: float | str | None = None
    max_ruwe: float | None = None
    bp_excess_sigma: float | None = None
    tmass_quality: str | None = "AB"
    extra: Sequence[str] = ()
    repeated: str = "refuse"

    def __post_init__(self) -> None:
        """Check the numbers and words."""
        for name in ("max_ruwe", "bp_excess_sigma"):
            value = getattr(self, name)
            if value is not None and not value > 0.0:
                raise ValueError(f"{name} must be positive, got {value!r}; None cuts nothing")
        if self.repeated not in ("refuse", "first"):
            raise ValueError(
                f"repeated must be 'refuse' or 'first', got {self.repeated!r}; 'first' keeps the "
                "first of the rows of one star"
            )
        if isinstance(self.bands, str) or (self.bands is not None and not self.bands):
            raise ValueError(
                f"bands must be a list of names, got {self.bands!r}; leave it out for all bands "
                "of the table"
            )
        unknown = [band for band in self.bands or () if band not in {**_GAIA, **_TMASS}]
        if unknown:
            raise ValueError(
                f"bands names {', '.join(map(repr, unknown))}; known are "
                f"{', '.join([*_GAIA, *_TMASS])}: take others with StarCatalog.from_table"
            )


@dataclass(frozen=True, eq=False)
class GaiaReport:
    """What became of the rows of a table that `StarCatalog.from_gaia` read.

    Attributes
    ----------
    n_row : int
        Rows of the table.
    n_star : int
        Stars of the catalog: the rows less those in `dropped`.
    dropped : mapping of str to ndarray
        Labels of the rows that are not in the catalog, by the reason.
    masked : mapping of str to ndarray
        Labels of the stars that lost a measurement, or never had it, by what it was.
    notes : tuple of str
        What the table had not, and what was taken in its place.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> table = {"source_id": [1, 2], "phot_g_mean_mag": [12.0, 15.0],
    ...          "phot_g_mean_flux_over_error": [3000.0, float("nan")]}
    >>> print(psp.StarCatalog.from_gaia(table).report)
    2 rows, 1 star
      dropped, no band measured: 1
      no Gaia_G_EDR3: 1
      note: no parallaxes, the table lacks parallax, parallax_error
      note: no proper motions, the table lacks pmra, pmra_error, pmdec, pmdec_error
    """

    n_row: int
    n_star: int
    dropped: Mapping[str, np.ndarray] = field(default_factory=dict)
    masked: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Number of stars by reason, of `dropped` and of `masked`."""
        return {why: len(rows) for why, rows in {**self.dropped, **self.masked}.items()}

    def __str__(self) -> str:
        """Say in lines what was dropped and what was masked."""
        lines = [f"{self.n_row} rows, {self.n_star} star{'' if self.n_star == 1 else 's'}"]
        lines += [f"  dropped, {why}: {len(rows)}" for why, rows in self.dropped.items()]
        lines += [f"  {why}: {len(rows)}" for why, rows in self.masked.items()]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


class _Notes:
    """Rows (N,) that were dropped or masked, by the reason, and notes, while a table is read."""

    def __init__(self, labels: np.ndarray):
        self.labels = labels
        self.masked: dict[str, np.ndarray] = {}
        self.dropped: dict[str, np.ndarray] = {}
        self.notes: list[str] = []

    def mask(self, why: str, rows: np.ndarray) -> None:
        """Write down rows that lost a measurement, if there are any."""
        if rows.any():
            self.masked[why] = rows

    def report(self, kept: np.ndarray) -> GaiaReport:
        """Return the report by labels."""
        dropped, masked = (
            {why: self.labels[rows] for why, rows in of.items()}
            for of in (self.dropped, self.masked)
        )
        return GaiaReport(kept.size, int(kept.sum()), dropped, masked, tuple(self.notes))


def read_gaia(
    kind: Any, table: Any, columns: Mapping[str, str] | None, options: GaiaOptions
) -> Any:
    """Build a catalog of this class; see `StarCatalog.from_gaia`."""
    source = GaiaTable(table, columns)
    labels = source.labels("source_id")
    notes = _Notes(np.arange(source.n_row) if labels is None else labels)
    if labels is None:
        notes.notes.append("stars are numbered by rows, the table lacks source_id")
    photometry = _photometry(source, options, notes)
    rows = {**_astrometry(source, options, notes)}
    mag, mag_err = (np.stack([both[k] for both in photometry.values()], axis=1) for k in (0, 1))
    kept = _kept_rows(np.column_stack([mag, mag_err, *rows.values()]), mag, notes, options.repeated)
    names = [*(name for name in _KEPT if source.has(name)), *options.extra]
    extra = {name: source.kept(name)[kept] for name in dict.fromkeys(names)}
    catalog = kind(
        mag[kept], mag_err[kept], tuple(photometry), star=notes.labels[kept], extra=extra,
        report=notes.report(kept),
        **{name: values[kept] for name, values in rows.items()},
    )  # fmt: skip
    return catalog.with_error_floor(_floors(options.floor, catalog.bands))


def _floors(floor: Any, bands: tuple[str, ...]) -> Any:
    """Floor by band, mag: by default of the bands of Gaia alone."""
    return {band: _FLOOR for band in bands if band in _GAIA} if floor is None else floor


def _photometry(source: GaiaTable, options: GaiaOptions, notes: _Notes) -> Photometry:
    """Magnitudes and errors (N,) by band, NaN where not measured or not good enough."""
    wanted = [*_GAIA, *_TMASS] if options.bands is None else list(options.bands)
    mags = _gaia_magnitudes(source, notes)
    found: Photometry = {}
    for band in wanted:
        names = _missing_columns(source, band, mags)
        if not names:
            found[band] = _band(source, band, mags)
            notes.mask(f"no {band}", np.isnan(found[band][0]))
        elif options.bands is not None:
            source.require(f"bands with {band!r}", *names)
    if not found:
        raise ValueError(
            "table has no magnitudes with errors, such as phot_g_mean_mag and "
            f"phot_g_mean_flux_over_error; its columns are {', '.join(source.names)}: say which "
            "they are with columns=, or read the table with StarCatalog.from_table"
        )
    if options.bp_excess_sigma is not None:
        _mask_excess(source, mags, found, options.bp_excess_sigma, notes)
    if options.tmass_quality is not None and any(band in found for band in _TMASS):
        _mask_tmass(source, found, options.tmass_quality, notes)
    return found


def _gaia_magnitudes(source: GaiaTable, notes: _Notes) -> dict[str, np.ndarray]:
    """Magnitudes (N,) of the Gaia bands of the table, from its colors where it has no others."""
    mags = {
        band: source.floats(f"phot_{letters}_mean_mag")
        for band, (letters, _) in _GAIA.items()
        if source.has(f"phot_{letters}_mean_mag")
    }
    for band, other, color, sign in _FROM_COLORS:
        if band not in mags and other in mags and source.has(color):
            mags[band] = mags[other] + sign * source.floats(color)
            notes.notes.append(f"{band} is from {other} and {color}")
    return mags


def _missing_columns(source: GaiaTable, band: str, mags: Mapping[str, Any]) -> list[str]:
    """Names of the columns of a band that a table lacks."""
    if band in _TMASS:
        pair = [f"{_TMASS[band]}_m", f"{_TMASS[band]}_msigcom"]
        return [name for name in pair if not source.has(name)]
    mean = f"phot_{_GAIA[band][0]}_mean"
    missing = [] if band in mags else [f"{mean}_mag"]
    if source.has(f"{mean}_flux_over_error") or source.has(f"{mean}_flux", f"{mean}_flux_error"):
        return missing
    return [*missing, f"{mean}_flux_over_error"]


def _band(source: GaiaTable, band: str, mags: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes and errors (N,), NaN where either is missing."""
    if band in _TMASS:
        mag = source.floats(f"{_TMASS[band]}_m")
        error = source.floats(f"{_TMASS[band]}_msigcom")
    else:
        letters, zero_point_error = _GAIA[band]
        mean, mag = f"phot_{letters}_mean", mags[band]
        ratio = source.floats(f"{mean}_flux_over_error")
        if not source.has(f"{mean}_flux_over_error"):
            ratio = source.floats(f"{mean}_flux") / source.floats(f"{mean}_flux_error")
        ratio = np.where(ratio > 0.0, ratio, np.nan)
        error = magnitude_error(ratio, zero_point_error)
    good = np.isfinite(mag) & (error > 0.0)
    return np.where(good, mag, np.nan), np.where(good, error, np.nan)


def _mask_excess(
    source: GaiaTable, mags: Mapping[str, np.ndarray], found: Photometry, n_sigma: float,
    notes: _Notes,
) -> None:  # fmt: skip
    """Take BP and RP from the stars whose fluxes do not agree with that in G."""
    source.require("bp_excess_sigma", "phot_bp_rp_excess_factor")
    if not all(band in mags for band in _GAIA):
        source.require("bp_excess_sigma", *(f"phot_{x}_mean_mag" for x, _ in _GAIA.values()))
    excess = corrected_excess(mags[_BP] - mags[_RP], source.floats("phot_bp_rp_excess_factor"))
    bad = np.abs(excess) > n_sigma * excess_scatter(mags[_G])
    bad &= np.any([np.isfinite(found[band][0]) for band in (_BP, _RP) if band in found], axis=0)
    for band in (_BP, _RP):
        if band in found:
            found[band] = _without(found[band], bad)
    notes.mask(f"BP and RP masked, flux excess beyond {n_sigma:g} sigma", bad)


def _mask_tmass(source: GaiaTable, found: Photometry, quality: str, notes: _Notes) -> None:
    """Take the magnitudes of 2MASS whose letter of quality is none of those that are wanted."""
    source.require("tmass_quality", "ph_qual")
    flags = [flag.ljust(len(_TMASS)) for flag in source.texts("ph_qual")]
    for place, band in enumerate(_TMASS):
        if band in found:
            bad = np.array([flag[place] not in quality for flag in flags])
            bad &= np.isfinite(found[band][0])
            found[band] = _without(found[band], bad)
            notes.mask(f"{band} masked, quality none of {quality}", bad)


def _without(
    measured: tuple[np.ndarray, np.ndarray], rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values and errors (N,) with NaN in some rows."""
    value, error = measured
    return np.where(rows, np.nan, value), np.where(rows, np.nan, error)


def _astrometry(source: GaiaTable, options: GaiaOptions, notes: _Notes) -> dict[str, np.ndarray]:
    """Parallaxes and proper motions (N,) by the names of a catalog."""
    poor = np.zeros(source.n_row, dtype=bool)
    if options.max_ruwe is not None:
        source.require("max_ruwe", "ruwe")
        poor = ~(source.floats("ruwe") <= options.max_ruwe)
    columns: dict[str, np.ndarray] = {}
    taken = np.zeros(source.n_row, dtype=bool)
    for words, names in (("parallax", ("parallax", "parallax_error")), ("proper motion", _MOTION)):
        lacking = [name for name in names if not source.has(name)]
        if lacking:
            plural = "parallaxes" if words == "parallax" else "proper motions"
            notes.notes.append(f"no {plural}, the table lacks {', '.join(lacking)}")
            continue
        values = [source.floats(name) for name in names]
        good = np.all([np.isfinite(v) for v in values], axis=0)
        good &= np.all([v > 0.0 for v in values[1::2]], axis=0)
        notes.mask(f"no {words}", ~good)
        taken |= good & poor
        for name, value in zip(names, values, strict=True):
            columns[name.replace("_error", "_err")] = np.where(good & ~poor, value, np.nan)
    notes.mask(f"parallax and proper motion masked, ruwe above {options.max_ruwe}", taken)
    columns |= _corrected_parallax(source, columns, options.parallax_zero_point, notes)
    columns |= _correlation(source, columns, notes)
    groups = (("parallax",), ("pmra", "pmdec", "pm_corr"))
    for group in groups:
        if group[0] in columns and np.isnan(columns[group[0]]).all():
            columns = {n: v for n, v in columns.items() if n.removesuffix("_err") not in group}
    return columns


def _corrected_parallax(
    source: GaiaTable, columns: Mapping[str, np.ndarray], zero_point: Any, notes: _Notes
) -> dict[str, np.ndarray]:
    """The parallaxes less their zero points."""
    if "parallax" not in columns:
        return {}
    parallax = columns["parallax"]
    zero, stand_ins = zero_point_of(source, zero_point)
    for which, rows in stand_ins.items():
        notes.mask(f"parallax zero point {which}", rows & np.isfinite(parallax))
    return {"parallax": parallax - zero}


def _correlation(
    source: GaiaTable, columns: Mapping[str, np.ndarray], notes: _Notes
) -> dict[str, np.ndarray]:
    """Correlations of the errors of proper motions, 0 where the table has none."""
    if "pmra" not in columns:
        return {}
    if not source.has("pmra_pmdec_corr"):
        notes.notes.append("errors of proper motions are uncorrelated, no pmra_pmdec_corr")
    corr = source.floats("pmra_pmdec_corr")
    corr = np.where(np.isfinite(corr), corr, 0.0)
    return {"pm_corr": np.where(np.isfinite(columns["pmra"]), corr, np.nan)}


def _kept_rows(values: np.ndarray, mag: np.ndarray, notes: _Notes, repeated: str) -> np.ndarray:
    """Rows (N,) that become stars: measured in some band, and the first of their label."""
    _, first, group = np.unique(notes.labels, return_index=True, return_inverse=True)
    again = first[group] != np.arange(len(values))
    own, other = values[again], values[first[group]][again]
    differ = ~((own == other) | (np.isnan(own) & np.isnan(other))).all(axis=1)
    if differ.any() and repeated == "refuse":
        labels = list(dict.fromkeys(notes.labels[again][differ].tolist()))
        named = ", ".join(map(str, labels[:_MAX_NAMED]))
        raise ValueError(
            f"source_id occurs again with other values for {len(labels)} star(s): {named}; keep "
            "one row of each, such as the nearest neighbor of a cross-match, or take the first "
            "with repeated='first'"
        )
    dark = np.isnan(mag).all(axis=1) & ~again
    for why, rows in (("repeated", again), ("no band measured", dark)):
        if rows.any():
            notes.dropped[why] = rows
    kept = ~(again | dark)
    if not kept.any():
        raise ValueError(
            f"table has no star that is measured in {mag.shape[1]} band(s) with an error; loosen "
            "the cuts, or look at the columns of fluxes over errors"
        )
    return kept
