"""Output of DOLPHOT (Dolphin 2016, ascl:1608.013).

The columns are described in a file of their own, that of the photometry with the ending
``.columns``: eleven or more of the object, a block for each filter, and one for each image. With
artificial stars four columns of their place and a pair of counts and magnitude for each image come
before them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pymc_starpop.hess.artificial_stars import ArtificialStars
from pymc_starpop.hess.lost_rows import is_no_input
from pymc_starpop.hess.readers.columns import PathLike, check_number, column_count, read_columns
from pymc_starpop.hess.tables import check_bands
from pymc_starpop.stars.catalog import StarCatalog

__all__ = ["read_dolphot", "read_dolphot_artificial_stars"]

# How the columns of a filter are described.
_DESCRIBED = {
    "mag": "Instrumental .*magnitude",
    "mag_err": "Magnitude uncertainty",
    "signal_to_noise": "Signal-to-noise",
    "sharpness": "Sharpness",
    "crowding": "Crowding",
    "quality_flag": "Photometry quality flag",
}
_OF_IMAGE = re.compile(r"Measured counts, .*\((?P<filter>[^,()]+),")
_BEFORE_IMAGES = 4  # columns of an artificial star before its counts and magnitudes
_LEAST_ERROR = 1e-4  # mag; errors are written with three digits, and bright stars have 0


@dataclass(frozen=True)
class _Cuts:
    """What a measurement must satisfy."""

    signal_to_noise: float
    sharpness: float
    crowding: float
    quality_flag: float
    object_type: Any

    def __post_init__(self) -> None:
        for name in ("signal_to_noise", "sharpness", "crowding", "quality_flag"):
            check_number(name, getattr(self, name), -np.inf if name == "signal_to_noise" else 0.0)
        kinds = np.atleast_1d(np.asarray(self.object_type))
        if kinds.ndim != 1 or kinds.dtype.kind not in "iu" or not kinds.size:
            raise ValueError(
                f"object_type must be whole numbers, the types that are kept, such as (1, 2), got "
                f"{self.object_type!r}."
            )

    def passed(self, table: Mapping[str, np.ndarray], object_type: np.ndarray) -> np.ndarray:
        """Whether measurements (N, B) are good."""
        good = np.isin(object_type, np.atleast_1d(self.object_type))[:, None]
        good = good & (table["signal_to_noise"] >= self.signal_to_noise)
        good &= np.abs(table["sharpness"]) <= self.sharpness
        good &= table["crowding"] <= self.crowding
        return good & (table["quality_flag"] <= self.quality_flag)


@dataclass(frozen=True)
class _Layout:
    """Which columns, from 0, of the described ones hold what, by filter."""

    of_filter: list[dict[str, int]]
    object_type: int
    images: list[str]
    n_column: int


def read_dolphot(
    path: PathLike,
    filters: Sequence[str],
    *,
    bands: Sequence[str] | None = None,
    columns: PathLike | None = None,
    signal_to_noise: float = 4.0,
    sharpness: float = np.inf,
    crowding: float = np.inf,
    quality_flag: float = np.inf,
    object_type: Sequence[int] = (1, 2),
    progress: bool | None = None,
) -> StarCatalog:
    """Read the photometry of DOLPHOT, instrumental magnitudes by filter.

    A measurement that fails a cut is none, as is one of 90 mag and more; stars without any are
    left out.

    Parameters
    ----------
    path : path-like
        The output of DOLPHOT, plain or gzip.
    filters : sequence of str
        Filters as in the description of the columns, with or without the camera: ``"F814W"`` or
        ``"ACS_F814W"``.
    bands : sequence of str, optional
        Names for them in the catalog; `filters` by default.
    columns : path-like, optional
        The description of the columns; by default `path` with the ending ``.columns`` (after
        ``.gz`` is taken off).
    signal_to_noise : float
        Least signal-to-noise ratio.
    sharpness, crowding, quality_flag : float, optional
        Largest absolute sharpness, largest crowding (mag) and largest quality flag.
    object_type : sequence of int
        Types that are kept: 1 bright star, 2 faint, 3 elongated, 4 hot pixel, 5 extended.
    progress : bool, optional
        Whether to show a progress bar; by default for files of 20 MB and more.

    Returns
    -------
    StarCatalog
        Magnitudes with their errors, at least 0.0001 mag.

    Raises
    ------
    ValueError
        For a filter that is not described, once, and lines that cannot be read; the message names
        the file, and the line where there is one.
    FileNotFoundError
        If a file does not exist.
    """
    names = check_bands(filters if bands is None else bands)
    cuts = _Cuts(signal_to_noise, sharpness, crowding, quality_flag, object_type)
    layout = _read_layout(_columns_path(path, columns), filters, names)
    mag, mag_err, _ = _read(path, layout, cuts, 0, [], progress)
    seen = np.isfinite(mag).any(axis=1)
    if not seen.any():
        raise ValueError(f"{path}: none of {len(mag)} stars passes the cuts, {cuts}.")
    error = np.where(np.isfinite(mag), np.maximum(mag_err, _LEAST_ERROR), np.nan)
    return StarCatalog(mag[seen], error[seen], bands=names)


def read_dolphot_artificial_stars(
    path: PathLike,
    filters: Sequence[str],
    *,
    bands: Sequence[str] | None = None,
    columns: PathLike | None = None,
    signal_to_noise: float = 4.0,
    sharpness: float = np.inf,
    crowding: float = np.inf,
    quality_flag: float = np.inf,
    object_type: Sequence[int] = (1, 2),
    progress: bool | None = None,
) -> ArtificialStars:
    """Read the artificial stars of DOLPHOT.

    A star that fails a cut in a band is not recovered there: give the cuts that were made in the
    photometry. Its input magnitude is that in the first image of a filter.

    Parameters
    ----------
    path : path-like
        The output of the run with artificial stars, plain or gzip.
    columns : path-like, optional
        The description of the columns of the photometry, without those of the artificial stars;
        by default `path` with the ending ``.columns`` in place of ``.fake``.
    filters, bands, signal_to_noise, sharpness, crowding, quality_flag, object_type, progress
        As in `read_dolphot`.

    Returns
    -------
    ArtificialStars

    Raises
    ------
    ValueError
        As `read_dolphot` and `ArtificialStars` do, and where the number of columns is not that of
        artificial stars.
    FileNotFoundError
        If a file does not exist.
    """
    names = check_bands(filters if bands is None else bands)
    cuts = _Cuts(signal_to_noise, sharpness, crowding, quality_flag, object_type)
    layout = _read_layout(_columns_path(path, columns), filters, names)
    put_in = [_BEFORE_IMAGES + 2 * _first_image(path, layout.images, name) + 1 for name in filters]
    before = _BEFORE_IMAGES + 2 * len(layout.images)
    mag, _, mag_in = _read(path, layout, cuts, before, put_in, progress)
    return ArtificialStars(mag_in, mag, bands=names)


def _columns_path(path: PathLike, columns: PathLike | None) -> Path:
    if columns is not None:
        return Path(columns)
    name = str(path).removesuffix(".gz").removesuffix(".fake")
    return Path(f"{name}.columns")


def _read_layout(path: Path, filters: Sequence[str], names: tuple[str, ...]) -> _Layout:
    """Find the columns of the filters in their description."""
    if isinstance(filters, str) or len(filters) != len(names):
        raise ValueError(f"filters must be as many names as bands, got {filters!r} and {names}.")
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: there is no such file. It describes the columns of the output of DOLPHOT, "
            f"which writes it beside the photometry; give its path as columns=."
        )
    described = {}
    for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"\s*(\d+)\.\s*(.*\S)\s*", line)
        if match is None:
            raise ValueError(
                f"{path}, line {number}: expected a number and a description such as "
                f"'5. Chi for fit', got {line[:60]!r}."
            )
        described[int(match[1]) - 1] = match[2]
    kinds = [k for k, text in described.items() if text.startswith("Object type")]
    if len(kinds) != 1 or sorted(described) != list(range(len(described))):
        raise ValueError(f"{path}: this does not describe all columns of an output of DOLPHOT.")
    images = [m["filter"] for text in described.values() if (m := _OF_IMAGE.match(text))]
    of_filter = [_filter_columns(path, described, name) for name in filters]
    return _Layout(of_filter, kinds[0], images, len(described))


def _filter_columns(path: Path, described: Mapping[int, str], name: str) -> dict[str, int]:
    """Columns of one filter; those of its only image where images are not combined."""
    last = rf"(?:\w+_)?{re.escape(name)}"
    found = {}
    for key, what in _DESCRIBED.items():
        pattern = re.compile(rf"{what}, {last}")
        columns = [k for k, text in described.items() if pattern.fullmatch(text)]
        if not columns:
            pattern = re.compile(rf"{what}, .*\({last}, .*\)")
            columns = [k for k, text in described.items() if pattern.fullmatch(text)]
        if len(columns) != 1:
            known = sorted({
                text.rsplit(", ", 1)[1] for text in described.values()
                if text.startswith("Magnitude uncertainty") and "(" not in text
            })  # fmt: skip
            raise ValueError(
                f"{path}: {len(columns)} columns are '{what}' of {name!r}, expected one; the "
                f"filters are {', '.join(known) or 'not named'}."
            )
        found[key] = columns[0]
    return found


def _first_image(path: PathLike, images: Sequence[str], name: str) -> int:
    for index, image in enumerate(images):
        if image == name or image.endswith(f"_{name}"):
            return index
    raise ValueError(f"{path}: no image is in the filter {name!r}, there are {', '.join(images)}.")


def _read(
    path: PathLike,
    layout: _Layout,
    cuts: _Cuts,
    before: int,
    others: list[int],
    progress: bool | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Magnitudes and errors (N, B), NaN where there is no good measurement, and other columns.

    So many columns come before those that are described.
    """
    of_artificial = f" (with {before} of the artificial stars)" if before else ""
    n_column = before + layout.n_column
    what = f"described{of_artificial}; give the right columns="
    column_count(path, n_column, what, exactly=True)
    wanted = [layout.object_type]
    for of_filter in layout.of_filter:
        wanted += [of_filter[key] for key in _DESCRIBED]
    values = read_columns(path, [before + k for k in wanted] + others, n_column, progress)
    mag, mag_err = _measurements(values[:, : len(wanted)], layout, cuts)
    return mag, mag_err, values[:, len(wanted) :]


def _measurements(
    values: np.ndarray, layout: _Layout, cuts: _Cuts
) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes and errors (N, B), NaN where there is no good measurement."""
    by_filter = values[:, 1:].reshape(len(values), len(layout.of_filter), len(_DESCRIBED))
    table = {key: by_filter[:, :, k] for k, key in enumerate(_DESCRIBED)}
    good = cuts.passed(table, values[:, 0]) & ~is_no_input(table["mag"])
    return np.where(good, table["mag"], np.nan), np.where(good, table["mag_err"], np.nan)
