"""Files of MATCH (Dolphin 2002, MNRAS 332, 91): magnitudes, and artificial stars as shifts."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pymc_starpop.hess.artificial_stars import ArtificialStars
from pymc_starpop.hess.lost_rows import is_no_input, sign_of_lost_rows
from pymc_starpop.hess.readers.columns import PathLike, check_number, column_count, read_columns
from pymc_starpop.hess.tables import check_bands
from pymc_starpop.stars.catalog import StarCatalog

__all__ = ["read_match_artificial_stars", "read_match_photometry"]

_NEEDED = "needed for the "

_PACKAGE = str(Path(__file__).parents[2])


def read_match_photometry(
    path: PathLike,
    bands: Sequence[str],
    *,
    mag_err: float = 0.01,
    progress: bool | None = None,
) -> StarCatalog:
    r"""Read the photometry of MATCH: one line a star, one magnitude a band.

    Magnitudes of 90 and more stand for "not measured". Stars without any magnitude are left out.
    Columns after those of the bands are not read.

    Parameters
    ----------
    path : path-like
        A text file, plain or gzip.
    bands : sequence of str
        Names for the magnitudes, in the order of the columns.
    mag_err : float
        The files hold no errors: this one, mag, stands in the catalog for all stars. A Hess
        diagram does not use it.
    progress : bool, optional
        Whether to show a progress bar; by default for files of 20 MB and more.

    Returns
    -------
    StarCatalog

    Raises
    ------
    ValueError
        For lines with another number of columns or with what is no number (the message names file
        and line), and files with fewer columns than bands.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import tempfile, pymc_starpop as psp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open(f"{folder}/stars.phot", "w") as file:
    ...         _ = file.write("23.732 99.999\n21.510 20.912\n")
    ...     cat = psp.read_match_photometry(f"{folder}/stars.phot", ["F555W", "F814W"])
    >>> cat.measured.sum(axis=0).tolist()
    [2, 1]
    """
    names = check_bands(bands)
    check_number("mag_err", mag_err, 0.0)
    mag = read_columns(
        path, range(len(names)), column_count(path, len(names), _NEEDED + "bands"), progress
    )
    mag[is_no_input(mag)] = np.nan
    mag = mag[np.isfinite(mag).any(axis=1)]
    if not len(mag):
        raise ValueError(f"{path}: no star has a magnitude below 90.")
    return StarCatalog(mag, np.where(np.isfinite(mag), mag_err, np.nan), bands=names)


def read_match_artificial_stars(
    path: PathLike,
    bands: Sequence[str],
    *,
    shift_sign: str | None = None,
    progress: bool | None = None,
) -> ArtificialStars:
    """Read artificial stars of MATCH: the input magnitudes, then the shifts in the same bands.

    Parameters
    ----------
    path : path-like
        A text file, plain or gzip.
    bands : sequence of str
        The B bands, in the order of the columns. Columns after the first 2 B are not read.
    shift_sign : str, optional
        ``"out - in"`` or ``"in - out"``: files are written both ways. By default it is
        recognized by the stars that were lost, whose output is 99.999, and a warning says which
        it is.
    progress : bool, optional
        Whether to show a progress bar; by default for files of 20 MB and more.

    Returns
    -------
    ArtificialStars

    Raises
    ------
    ValueError
        For lines that cannot be read (the message names file and line), a sign that cannot be
        recognized, and as `ArtificialStars` does.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import numpy as np, tempfile, pymc_starpop as psp
    >>> mag = np.random.default_rng(1).uniform(20, 27, (500, 2))
    >>> shift = 0.02 * np.random.default_rng(2).normal(size=(500, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savetxt(f"{folder}/fake.gz", np.hstack([mag, shift]), fmt="%.3f")
    ...     psp.read_match_artificial_stars(
    ...         f"{folder}/fake.gz", ["F555W", "F814W"], shift_sign="in - out")
    <ArtificialStars: 500 stars in F555W, F814W, 100 % recovered in all bands>
    """
    names = check_bands(bands)
    n_band = len(names)
    n_column = column_count(path, 2 * n_band, _NEEDED + "input magnitudes and shifts")
    table = read_columns(path, range(2 * n_band), n_column, progress)
    mag, shift = table[:, :n_band], table[:, n_band:]
    if shift_sign is None:
        shift_sign = _recognized_sign(path, mag, shift)
        warnings.warn(
            f"{path}: the lost stars say that the shifts are {shift_sign}.",
            skip_file_prefixes=(_PACKAGE,),
        )
    return ArtificialStars(mag, shift=shift, shift_sign=shift_sign, bands=names)


def _recognized_sign(path: PathLike, mag: np.ndarray, shift: np.ndarray) -> str:
    sign = sign_of_lost_rows(mag, shift)
    if sign is None:
        # A shift of 99.999 itself is written with both signs.
        raise ValueError(
            f"{path}: no lost stars tell the sign of the shifts; give shift_sign='out - in' or "
            f"'in - out'. Near the limit recovered stars are brighter than they were put in."
        )
    return sign
