"""Absolute magnitudes along an isochrone, whatever its photometry is made of.

The steps are the same for NumPy arrays and PyTensor tensors; who calls brings the interpolation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pymc_starpop._namespace import NUMPY, Namespace
from pymc_starpop.isochrones._grid_tables import GridTables
from pymc_starpop.isochrones.bolometric import (
    TABLE_RV,
    BolometricPhotometry,
    absolute_magnitudes,
    extinguished,
)
from pymc_starpop.isochrones.corrections import ModelNodes, number_of, parts_of
from pymc_starpop.isochrones.source import THEORY
from pymc_starpop.isochrones.tabulated import check_extinction
from pymc_starpop.kernels import interpolation

__all__ = [
    "NUMPY_INTERPOLATION",
    "TEFF_STEP",
    "AbsoluteTrack",
    "Interpolation",
    "check_teff_slope",
    "model_magnitudes",
]

#: Half of the interval of log10 T_eff, dex, over which magnitudes are differenced. The corrections
#: are tabulated every 0.011 to 0.04 dex and interpolated with continuous first derivatives: a
#: slope over a smaller interval would have kinks, and the likelihood a gradient with jumps.
TEFF_STEP = 0.01


@dataclass(frozen=True)
class AbsoluteTrack:
    """A single-star track at the distance of 10 pc.

    Attributes
    ----------
    log10_mass : array (E,)
        log10 of the initial mass (Msun).
    log_teff : array (E,) or None
        log10(T_eff / K), with corrections; None where the isochrones have none.
    mag : array (E, B)
        Absolute magnitudes with extinction.
    reddening : array (E, B) or None
        dM/dA_V; 0 where the extinction is not known. None where it was not wanted.
    teff_slope : array (E, B) or None
        dM/dlog10 T_eff at fixed luminosity, gravity, [Fe/H] and extinction, mag/dex: a central
        difference over `TEFF_STEP` on both sides. None where it was not wanted.
    """

    log10_mass: Any
    log_teff: Any
    mag: Any
    reddening: Any
    teff_slope: Any = None


@dataclass(frozen=True)
class Interpolation:
    """How tables are interpolated.

    Attributes
    ----------
    columns : callable
        ``(tables, names, feh, log_age)`` to values (Q, E) of the named columns at the nodes.
    bolometric : callable
        ``(part, bands, log_teff, log_g, feh, av, n_order)`` to the first ``n_order`` of the
        corrections (E, B) and their derivatives in A_V.
    keep : callable
        ``(name, values)`` to what stands for columns at the nodes from there on.
    """

    columns: Callable[..., Any]
    bolometric: Callable[..., Any]
    keep: Callable[[str, Any], Any] = lambda name, values: values


def _columns(tables: GridTables, names: tuple[str, ...], feh: Any, log_age: Any) -> Any:
    arrays = tables.column_arrays(names)
    return interpolation.interpolate_theory(float(feh), float(log_age), *arrays)[0]


def _bolometric(
    part: BolometricPhotometry, bands: tuple[str, ...], log_teff: Any, log_g: Any, feh: Any,
    av: Any, n_order: int,
) -> tuple[Any, ...]:  # fmt: skip
    coefficients = part.table(bands).interpolate(
        np.ascontiguousarray(log_teff), np.ascontiguousarray(log_g), float(feh)
    )
    return extinguished(coefficients, av)[:n_order]


NUMPY_INTERPOLATION = Interpolation(_columns, _bolometric)


def model_magnitudes(
    tables: GridTables,
    bands: Sequence[str],
    node: tuple[Any, Any],
    extinction: tuple[Any, Any] = (0.0, TABLE_RV),
    corrections: Any = None,
    n_node: int | None = None,
    with_reddening: bool = True,
    with_teff_slope: bool = False,
    how: Interpolation = NUMPY_INTERPOLATION,
    xp: Namespace = NUMPY,
) -> AbsoluteTrack:
    """Absolute magnitudes of single stars, from bolometric corrections or the grid's own table.

    Parameters
    ----------
    tables : GridTables
        Those of an `IsochroneGrid`.
    bands : sequence of str
        B bands, each once.
    node : tuple
        [Fe/H] (dex) and log10(age / yr), or a tuple of M ages, whose points then follow one
        another (M E in place of E).
    extinction : tuple
        A_V (mag) and R_V.
    corrections : Corrections, tuple of them, or None
        Those that change the theory only for bands that come from bolometric corrections.
    n_node : int, optional
        Leave out the nodes from this one on.
    with_reddening, with_teff_slope : bool
        Whether ``reddening`` and ``teff_slope`` are wanted.
    how : Interpolation
    xp : Namespace

    Returns
    -------
    AbsoluteTrack

    Raises
    ------
    ValueError
        For unknown bands, for extinction in bands where it is not known, and for corrections or a
        ``teff_slope`` where magnitudes are tabulated.
    """
    (feh, log_age), (av, rv) = node, extinction
    groups = tables.band_groups(bands)
    for part, own in groups:
        check_extinction(part, own, av, rv)
    if with_teff_slope:
        check_teff_slope(tables, bands)
    changes = parts_of(corrections)
    if any(change.changes_theory for change in changes):
        _check_corrections(tables, groups)
    computed = any(isinstance(part, BolometricPhotometry) for part, _ in groups)
    wanted = THEORY if changes else THEORY[:2]
    theory = THEORY if computed else tuple(name for name in wanted if tables.has_column(name))
    tabulated = tuple(
        band for part, own in groups if not isinstance(part, BolometricPhotometry) for band in own
    )
    log_ages = log_age if isinstance(log_age, tuple) else (log_age,)
    parts = [how.columns(tables, theory + tabulated, feh, age)[:, :n_node] for age in log_ages]
    # One age after the other: every step below works on nodes, arrays where nothing is symbolic.
    at_nodes = NUMPY if isinstance(parts[0], np.ndarray) else xp
    rows = parts[0] if len(parts) == 1 else at_nodes.concatenate(parts, axis=1)
    column = {name: rows[k] for k, name in enumerate(theory + tabulated)}
    nodes = ModelNodes(
        initial_mass=10.0 ** column["log10_mass"],
        eep=np.tile(tables.eep[:n_node].astype(np.float64), len(log_ages)),
        feh=feh,
        **{key: column.get(key) for key in THEORY[1:]},
        main_sequence_eep=tables.main_sequence_eep,
    )
    for change in changes:
        nodes = change.theory(nodes, at_nodes)
    column |= {key: getattr(nodes, key) for key in THEORY[1:] if key in column}
    mags, reds, slopes, first = [], [], [], len(theory)
    for part, own in groups:
        if isinstance(part, BolometricPhotometry):
            mag, red = _computed(part, own, column, (feh, av, rv), with_reddening, how)
            if with_teff_slope:
                slopes.append(_teff_slope(part, own, column, (feh, av), how, at_nodes))
        else:
            mag = how.keep("mag", rows[first : first + len(own)].T)
            first += len(own)
            # Who lets A_V vary about 0 checks that it is known: `IsochroneGrid.check_extinction`.
            known = np.nan_to_num(part.extinction[part.index(own)])
            factor = known + part.rv_slope(own) * (1.0 / rv - 1.0 / TABLE_RV)
            red = factor + 0.0 * mag if with_reddening else None
            if number_of(av) != 0.0:
                mag = mag + av * factor
        mags.append(mag)
        reds.append(red)
    given = [band for _, own in groups for band in own]
    order = [given.index(band) for band in bands]

    def in_order(parts: list[Any]) -> Any:
        return parts[0] if len(groups) == 1 else xp.concatenate(parts, axis=1)[:, order]

    mag, red = in_order(mags), in_order(reds) if with_reddening else None
    slope = in_order(slopes) if with_teff_slope else None
    if any(change.changes_magnitudes for change in changes):
        kept_nodes = {key: how.keep(key, column[key]) for key in THEORY[1:] if key in column}
        nodes = replace(nodes, **kept_nodes)
        for change in changes:
            mag = change.magnitudes(nodes, mag, tuple(bands), xp)
    kept = {name: how.keep(name, column[name]) for name in THEORY[:2] if name in column}
    return AbsoluteTrack(kept["log10_mass"], kept.get("log_teff"), mag, red, slope)


def _computed(
    part: BolometricPhotometry, bands: tuple[str, ...], column: dict[str, Any],
    at: tuple[Any, Any, Any], with_reddening: bool, how: Interpolation,
) -> tuple[Any, Any]:  # fmt: skip
    """Return magnitudes and dM/dA_V or None (E, B) at given [Fe/H], A_V and R_V."""
    feh, av, rv = at
    rv_term = part.rv_slope(bands) * (1.0 / rv - 1.0 / TABLE_RV)
    correction, *by_av = how.bolometric(
        part, bands, column["log_teff"], column["log_g"], feh, av, 1 + with_reddening
    )
    log_l = how.keep("log_l", column["log_l"])
    mag = absolute_magnitudes(correction, log_l, av, rv_term)
    return mag, rv_term - by_av[0] if with_reddening else None


def _teff_slope(
    part: BolometricPhotometry, bands: tuple[str, ...], column: dict[str, Any],
    at: tuple[Any, Any], how: Interpolation, xp: Namespace,
) -> Any:  # fmt: skip
    """Return dM/dlog10 T_eff (E, B) at given [Fe/H] and A_V: minus that of the corrections."""
    log_teff, log_g = column["log_teff"], column["log_g"]
    around = xp.concatenate([log_teff - TEFF_STEP, log_teff + TEFF_STEP])
    both = xp.concatenate([log_g, log_g])
    (correction,) = how.bolometric(part, bands, around, both, *at, 1)
    n = log_teff.shape[0]
    return (correction[:n] - correction[n:]) / (2.0 * TEFF_STEP)


def check_teff_slope(tables: GridTables, bands: Sequence[str]) -> None:
    """Check that magnitudes follow from T_eff, so that stars can scatter in it.

    Raises
    ------
    ValueError
        For bands whose magnitudes are tabulated.
    """
    fixed = [
        band
        for part, own in tables.band_groups(bands)
        if not isinstance(part, BolometricPhotometry)
        for band in own
    ]
    if fixed:
        raise ValueError(
            f"log_teff_scatter: the magnitudes in {', '.join(fixed)} are tabulated and do not "
            "follow from T_eff; take bolometric corrections with iso.with_bolometric(...), or give "
            "grey_scatter and intrinsic_scatter in its place"
        )


def _check_corrections(tables: GridTables, groups: Any) -> None:
    """Check that what the theory changes follows from it."""
    fixed = [
        band for part, own in groups if not isinstance(part, BolometricPhotometry) for band in own
    ]
    if fixed:
        raise ValueError(
            f"corrections: the magnitudes in {', '.join(fixed)} are tabulated and do not follow "
            "from T_eff, gravity and luminosity; leave corrections out, or take bolometric "
            "corrections with iso.with_bolometric(...)"
        )
    if not tables.has_mist_eeps:
        raise ValueError(
            "corrections: they fade at EEP 454 of MIST, and these isochrones number their points "
            "in another way; leave corrections out"
        )
