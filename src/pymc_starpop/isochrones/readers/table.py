"""Isochrones from a table of any origin."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.isochrones.grid import IsochroneGrid
from pymc_starpop.isochrones.readers.assemble import (
    build_grid,
    select_range,
    with_choices,
)
from pymc_starpop.isochrones.readers.basti import BASTI_SCALE
from pymc_starpop.isochrones.readers.public import grid_without_eeps, make_choices
from pymc_starpop.isochrones.readers.raw import RawIsochrone, check_values, snap
from pymc_starpop.isochrones.readers.theory_names import refused_as_band
from pymc_starpop.isochrones.source import MIST_SCALE, EepScale

__all__ = ["read_table"]

_THEORY = ("log_teff", "log_g", "log_l")
_SCALES = {"MIST": MIST_SCALE, "BaSTI": BASTI_SCALE}


def read_table(
    table: Any,
    *,
    initial_mass: str,
    feh: str | float,
    log_age: str | float,
    bands: Sequence[str] | Mapping[str, str] = (),
    columns: Mapping[str, str] | None = None,
    eep_scale: str | tuple[int, int] | None = None,
    **choices: Any,
) -> IsochroneGrid:
    """Make a grid from a table with a row for each point of each isochrone.

    Parameters
    ----------
    table : pandas.DataFrame, xarray.Dataset, astropy Table or mapping of arrays
        Rows of one isochrone stand together or not, but in order along it.
    initial_mass : str
        Column of initial masses, Msun.
    feh, log_age : str or float
        Columns of [Fe/H] (dex) and log10(age / yr), or the number that holds for all rows.
    bands : sequence or mapping of str
        Columns of absolute magnitudes, or column to name of the band. Without any, magnitudes come
        from the bundled bolometric corrections and all of ``columns`` is needed.
    columns : mapping, optional
        Which columns are ``eep``, ``phase``, ``log_teff`` (K), ``log_g`` (cgs) and ``log_l``
        (Lsun). Without ``eep`` several isochrones get homologous points; ``phase`` then has the
        labels of PARSEC.
    eep_scale : "MIST", "BaSTI" or (int, int), optional
        What the EEPs mean: those of MIST, rows of BaSTI from 1, or the last EEPs of binaries and of
        likelihoods.
    **choices
        ``feh_range``, ``log_age_range``, ``extinction`` and ``wavelength`` as in `read_mist`.

    Returns
    -------
    IsochroneGrid

    Raises
    ------
    ValueError
        For columns that are not there, values that are not finite or cannot be those of stars,
        and isochrones that do not make a grid. The line is the number of the row, from 1.

    Examples
    --------
    >>> import numpy as np, pymc_starpop as psp
    >>> table = {"m": np.linspace(0.1, 1.0, 5), "V": np.linspace(12.0, 4.0, 5),
    ...          "I": np.linspace(9.0, 3.5, 5)}
    >>> iso = psp.read_table(table, initial_mass="m", feh=0.0, log_age=9.5, bands=["V", "I"])
    >>> float(iso.at(0.0, 9.5, ["V"]).abs_mag[0, 0])
    12.0
    """
    wanted = make_choices({**choices, "bands": bands or None})
    own = dict(columns or {})
    known = {"eep", "phase", *_THEORY}
    if set(own) - known:
        raise ValueError(f"columns: expected some of {', '.join(sorted(known))}, got {list(own)}")
    if not bands and not set(_THEORY) <= set(own):
        raise ValueError(
            "bands: there are no magnitudes, and no T_eff, gravity and luminosity to compute them "
            f"from; name bands, or all of {', '.join(_THEORY)} in columns"
        )
    data = _Columns(table)
    theory = [name for name in bands if refused_as_band(str(name), ())]
    if theory:
        raise ValueError(
            f"bands: {', '.join(theory)} is theory, no magnitude; name columns of magnitudes, and "
            f"{', '.join(_THEORY)} in columns"
        )
    mass = data[initial_mass]
    metallicity, age = (
        snap(data[value]) if isinstance(value, str) else np.full(mass.size, float(value))
        for value in (feh, log_age)
    )
    found = {key: data[name] for key, name in own.items()}
    names = tuple(bands)
    mag = np.column_stack([data[name] for name in names]) if names else np.empty((mass.size, 0))
    nodes = np.column_stack([metallicity, age])
    unique, first = np.unique(nodes, axis=0, return_index=True)
    raw = []
    for k in np.argsort(first):
        rows = np.flatnonzero((nodes == unique[k]).all(axis=1))
        parts = {key: values[rows] for key, values in found.items()}
        for key in ("eep", "phase"):
            if key in parts:
                parts[key] = _whole(key, parts[key])
        raw.append(
            check_values(
                RawIsochrone(
                    path=Path("table"),
                    lines=rows + 1,
                    feh=float(unique[k, 0]),
                    log_age=float(unique[k, 1]),
                    bands=names,
                    initial_mass=mass[rows],
                    mag=mag[rows],
                    **parts,  # type: ignore[arg-type]
                ),
                largest_rise=np.inf,
            )
        )
    raw = select_range(raw, wanted)
    if "eep" not in own:
        return grid_without_eeps("table", raw, wanted)
    return with_choices(build_grid("table", raw, _scale(eep_scale, raw), wanted), wanted)


class _Columns:
    """Columns of a table by name, as finite float64."""

    def __init__(self, table: Any) -> None:
        if isinstance(table, xr.Dataset):
            table = table.to_dataframe().reset_index()
        if not hasattr(table, "__getitem__") or isinstance(table, str | bytes):
            raise ValueError(
                f"table: expected a mapping of columns, a pandas.DataFrame or an xarray.Dataset, "
                f"got {type(table).__name__}; read a file first, e.g. with pandas.read_csv"
            )
        self.table = table

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            given = np.asarray(self.table[name])
            if given.dtype.kind in "bcmM":
                raise TypeError(f"it holds {given.dtype}")
            values = np.array(given, dtype=np.float64)
        except KeyError:
            raise ValueError(f"the table has no column {name!r}") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"column {name!r} does not hold numbers: {error}") from None
        if values.ndim != 1 or not np.isfinite(values).all():
            bad = np.flatnonzero(~np.isfinite(values.ravel()))
            where = f"row {bad[0] + 1} is not" if bad.size else f"shape {values.shape} is not 1-D,"
            raise ValueError(f"column {name!r}: {where} a finite number; leave such rows out")
        if not values.size:
            raise ValueError(f"column {name!r} is empty: the table has no rows")
        return values


def _whole(name: str, values: np.ndarray) -> np.ndarray:
    if np.any(values != np.rint(values)) or np.abs(values).max() > 1e6:
        raise ValueError(f"columns: {name} must hold whole numbers")
    return values.astype(np.int64)


def _scale(given: str | tuple[int, int] | None, raw: Sequence[RawIsochrone]) -> EepScale:
    if isinstance(given, str) and given in _SCALES:
        return _SCALES[given]
    if given is None or isinstance(given, str):
        raise ValueError(
            f"eep_scale={given!r}: expected 'MIST', 'BaSTI', or two EEPs: the last with binaries "
            "and the last for likelihoods"
        )
    main_sequence, last = (int(value) for value in given)
    if not main_sequence < last:
        raise ValueError(f"eep_scale={given!r}: the last EEP of binaries must be the smaller one")
    return EepScale("own", main_sequence, last, (main_sequence,))
