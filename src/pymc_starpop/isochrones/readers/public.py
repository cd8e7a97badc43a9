"""The functions that read files of isochrones into grids."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pymc_starpop.isochrones.grid import IsochroneGrid
from pymc_starpop.isochrones.readers.assemble import (
    GridChoices,
    build_grid,
    check_same_models,
    select_range,
    with_choices,
)
from pymc_starpop.isochrones.readers.basti import BASTI_SCALE, parse_basti
from pymc_starpop.isochrones.readers.homologous import align, number_rows
from pymc_starpop.isochrones.readers.mist import parse_mist
from pymc_starpop.isochrones.readers.parsec import parse_parsec
from pymc_starpop.isochrones.readers.raw import RawIsochrone
from pymc_starpop.isochrones.readers.text import PathLike, as_paths
from pymc_starpop.isochrones.source import MIST_SCALE

__all__ = ["read_basti", "read_mist", "read_parsec"]

Paths = PathLike | Iterable[PathLike]


def read_mist(paths: Paths, **choices: Any) -> IsochroneGrid:
    """Read isochrones of MIST (Choi et al. 2016; Dotter 2016) with their magnitudes.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        ``.iso.cmd`` files, plain or gzip: one for each [Fe/H], with the same ages. Of ``.iso``
        files, which have no magnitudes, the bands are those of the bundled bolometric corrections.
    **choices
        ``bands`` (columns to take, or a mapping from column to the name of the band; other
        columns are then not checked),
        ``feh_range`` and ``log_age_range`` (what to leave out, dex), ``extinction`` and
        ``wavelength`` (as in `IsochroneGrid.with_extinction`).

    Returns
    -------
    IsochroneGrid
        Points up to the last EEP that every isochrone has. At a node the points are the rows of
        the file.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    IsochroneFileError
        For files that are damaged or do not belong together. It names file and line.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> iso = psp.read_mist(["feh_m0.25.iso.cmd", "feh_p0.00.iso.cmd"])  # doctest: +SKIP
    """
    wanted = make_choices(choices)
    raw = select_range(
        [one for path in as_paths(paths) for one in parse_mist(path, wanted.columns)], wanted
    )
    return with_choices(build_grid("MIST", raw, MIST_SCALE, wanted), wanted)


def read_parsec(
    paths: Paths,
    *,
    feh: float | Sequence[float] | None = None,
    log_age: float | Sequence[float] | None = None,
    **choices: Any,
) -> IsochroneGrid:
    """Read isochrones of PARSEC (Bressan et al. 2012) with their magnitudes.

    A single isochrone keeps the rows of its file. Several get points of equal evolution from the
    phase labels, or from their shape where there are none: straight pieces of the file's own
    isochrones, up to the first thermal pulse.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Output of the CMD web page, which may hold many ages and metallicities, or plain tables
        with a line of column names (``m_ini`` and bands), each of one isochrone. Plain or gzip.
    feh, log_age : float or sequence of float, optional
        [M/H] (dex) and log10(age / yr) of files that do not have them, one for each file or one
        for all. ``mh`` is another name of ``feh``.
    **choices
        As for `read_mist`.

    Returns
    -------
    IsochroneGrid
        Its ``feh`` is the [M/H] of the files. Bands bear the names of their columns.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    IsochroneFileError
        For files that are damaged or do not belong together. It names file and line.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> iso = psp.read_parsec("isochrone.txt", feh=-2.8, log_age=10.1)  # doctest: +SKIP
    """
    if "mh" in choices:
        if feh is not None:
            raise ValueError("feh and mh are names of the same: give one of them")
        feh = choices.pop("mh")
    wanted, files = make_choices(choices), as_paths(paths)
    each = zip(
        files,
        _for_each("feh", feh, len(files)),
        _for_each("log_age", log_age, len(files)),
        strict=True,
    )
    raw = select_range(
        [one for path, f, a in each for one in parse_parsec(path, f, a, wanted.columns)], wanted
    )
    return grid_without_eeps("PARSEC", raw, wanted)


def read_basti(paths: Paths, **choices: Any) -> IsochroneGrid:
    """Read isochrones of BaSTI-IAC (Hidalgo et al. 2018) with their magnitudes.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        ``.isc`` files, plain or gzip, each of one isochrone.
    **choices
        As for `read_mist`.

    Returns
    -------
    IsochroneGrid
        Its EEPs are the numbers of the rows, which are homologous from one file to the next: at a
        node the points are the rows of the file. Its ``feh`` is the [Fe/H] of the header, or the
        [M/H] of headers without it.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    IsochroneFileError
        For files that are damaged or do not belong together. It names file and line.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> iso = psp.read_basti(["3000.isc", "4000.isc"])  # doctest: +SKIP
    """
    wanted = make_choices(choices)
    raw = select_range(
        [one for path in as_paths(paths) for one in parse_basti(path, wanted.columns)], wanted
    )
    for one in raw[1:]:
        if len(one) != len(raw[0]):
            raise one.error(
                f"the isochrone has {len(one)} points, that of {raw[0].path} has {len(raw[0])}: "
                "points of equal number are not of equal evolution"
            )
    scale, rows = BASTI_SCALE, len(raw[0])
    if rows != scale.last:
        raw, scale = _numbered(raw)
    return with_choices(build_grid("BaSTI", raw, scale, wanted), wanted)


def grid_without_eeps(
    name: str, raw: Sequence[RawIsochrone], choices: GridChoices
) -> IsochroneGrid:
    """Make a grid of isochrones whose points are not numbered by their library."""
    numbered, scale = _numbered(raw)
    return with_choices(build_grid(name, numbered, scale, choices), choices)


def _numbered(raw: Sequence[RawIsochrone]) -> tuple[list[RawIsochrone], Any]:
    check_same_models(raw)
    if len(raw) == 1:
        one, scale = number_rows(raw[0])
        return [one], scale
    return align(raw)


def make_choices(given: Mapping[str, Any]) -> GridChoices:
    """Return the choices that hold for any library, given as keyword arguments."""
    names = GridChoices.__dataclass_fields__
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise TypeError(f"unknown argument(s) {', '.join(unknown)}; choices are {', '.join(names)}")
    if isinstance(given.get("bands"), str):
        raise ValueError(f"bands={given['bands']!r}: expected several; write [{given['bands']!r}]")
    return GridChoices(**given)


def _for_each(name: str, value: Any, n_file: int) -> list[float | None]:
    """One value for each file."""
    if value is None:
        return [None] * n_file
    values = np.atleast_1d(np.asarray(value))
    if (
        values.dtype.kind not in "iuf"
        or values.ndim != 1
        or values.size not in (1, n_file)
        or not np.isfinite(values).all()
    ):
        raise ValueError(
            f"{name}: expected one finite number, or one for each of {n_file} files, got {value!r}"
        )
    return [float(v) for v in np.broadcast_to(values, (n_file,))]
