"""Tables of bolometric corrections of MIST, one file for each [Fe/H] and photometric system.

The format: comments, the last of which names the columns ``Teff logg [Fe/H] Av Rv`` and the bands,
then a row for each combination (Choi et al. 2016, section 4.3).
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pymc_starpop.isochrones.bolometric import TABLE_RV, BolometricPhotometry
from pymc_starpop.isochrones.own_bolometric import from_table
from pymc_starpop.isochrones.readers.text import PathLike, TextFile, as_paths, number_block

__all__ = ["read_mist_bc"]

_AXES = ("Teff", "logg", "[Fe/H]", "Av", "Rv")


def read_mist_bc(
    paths: PathLike | Iterable[PathLike],
    bands: Sequence[str] | None = None,
    wavelength: Mapping[str, float] | None = None,
) -> BolometricPhotometry:
    """Read bolometric corrections of MIST for `IsochroneGrid.with_bolometric`.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Files such as ``feh+0.00.HST_ACSWF``, plain or gzip: one for each [Fe/H], of one system.
    bands : sequence of str, optional
        Columns to take; all by default.
    wavelength : mapping, optional
        Band to effective wavelength (micron). Without it R_V must stay at 3.1.

    Returns
    -------
    BolometricPhotometry

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    IsochroneFileError
        For files that are damaged, incomplete or of another kind. It names file and line.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> acs = psp.read_mist_bc(["feh+0.00.HST_ACSWF", "feh-0.25.HST_ACSWF"])  # doctest: +SKIP
    >>> iso = psp.load_isochrones().with_bolometric(acs)  # doctest: +SKIP
    """
    blocks: dict[float, tuple[list[np.ndarray], np.ndarray]] = {}
    first: tuple[TextFile, list[str], list[np.ndarray]] | None = None
    for path in as_paths(paths):
        file, names, table, line = _read(path)
        own = [name for name in names if name not in _AXES]
        feh, axes, values = _box(file, names, table, line)
        if first is None:
            first = (file, own, axes)
        elif own != first[1]:
            raise file.error(line, f"the bands are {', '.join(own)}, not those of {first[0].path}")
        elif any(a.shape != b.shape or (a != b).any() for a, b in zip(axes, first[2], strict=True)):
            raise file.error(line, f"Teff, logg or Av differ from those of {first[0].path}")
        if feh in blocks:
            raise file.error(line, f"a second table of [Fe/H] = {feh:g}")
        blocks[feh] = (axes, values)
    assert first is not None
    file, own, (teff, log_g, av) = first
    chosen = list(own if bands is None else bands)
    lacking = [band for band in chosen if band not in own]
    if lacking:
        raise file.error(None, f"there is no band {', '.join(lacking)}; there are {', '.join(own)}")
    values = np.stack([blocks[feh][1] for feh in sorted(blocks)])
    index = [own.index(band) for band in chosen]
    axes = [np.array(sorted(blocks)), np.log10(teff), log_g, av]
    return from_table(
        axes, values[..., index], tuple(chosen), dict(wavelength or {}), ("",) * len(chosen)
    )


def _read(path: PathLike) -> tuple[TextFile, list[str], np.ndarray, int]:
    """Names of the columns, numbers, and the index of the line that names the columns."""
    file = TextFile.read(path)
    named = None
    for k, line in enumerate(file.lines):
        names = line.lstrip(" #").split()
        if line.lstrip().startswith("#") and set(_AXES) <= set(names):
            named = (k, names)
    if named is None:
        raise file.error(
            0, f"this is no table of bolometric corrections of MIST: no line names {_AXES}"
        )
    k, names = named
    if len(set(names)) < len(names) or len(names) == len(_AXES):
        raise file.error(k, "expected bands with different names after Rv")
    rows = [j for j, line in enumerate(file.lines) if line.strip() and line.lstrip()[0] != "#"]
    return file, names, number_block(file, rows, len(names), names), k


def _box(
    file: TextFile, names: list[str], table: np.ndarray, line: int
) -> tuple[float, list[np.ndarray], np.ndarray]:
    """[Fe/H], axes of T_eff, log g and A_V, and corrections (T, G, V, B) of one file."""
    table = table[table[:, names.index("Rv")] == TABLE_RV]
    if not len(table):
        raise file.error(line, f"there are no rows of Rv = {TABLE_RV:g}")
    feh = np.unique(table[:, names.index("[Fe/H]")])
    if feh.size > 1:
        raise file.error(line, f"[Fe/H] is {feh[0]:g} and {feh[1]:g}: expected one for a file")
    keys = [table[:, names.index(name)] for name in ("Teff", "logg", "Av")]
    axes, places = zip(*(np.unique(key, return_inverse=True) for key in keys), strict=True)
    if not (axes[0] > 0.0).all() or axes[2][0] != 0.0:
        raise file.error(line, "Teff must be positive and Av begin at 0")
    shape = tuple(axis.size for axis in axes)
    index = np.ravel_multi_index(places, shape)
    if len(table) != np.prod(shape) or np.unique(index).size != index.size:
        raise file.error(
            line,
            f"expected a row for each of {shape[0]} Teff, {shape[1]} logg and {shape[2]} Av, got "
            f"{len(table)}; the file is truncated or damaged",
        )
    bands = [k for k, name in enumerate(names) if name not in _AXES]
    values = np.empty((len(table), len(bands)))
    values[index] = table[:, bands]
    if not (np.abs(values) <= 200.0).all():
        raise file.error(line, "a correction exceeds 200 mag")
    return float(feh[0]), list(axes), values.reshape(*shape, len(bands))
