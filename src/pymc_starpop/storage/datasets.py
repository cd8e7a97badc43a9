"""Data sets in files: NetCDF, or Zarr where the path ends in ``.zarr``."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from importlib import metadata as distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

__all__ = [
    "COMPRESSED",
    "FileFormat",
    "package_version",
    "plain_metadata",
    "read_dataset",
    "write_dataset",
]

# How a table is encoded in NetCDF.
COMPRESSED = {"zlib": True, "complevel": 4, "shuffle": True, "_FillValue": None}

NETCDF_SUFFIXES = (".nc", ".nc4", ".h5", ".hdf5")


def write_dataset(
    dataset: xr.Dataset, path: str | os.PathLike[str], encoding: Mapping[str, Any]
) -> Path:
    """Write a data set to a file, replacing one that is there only once all is written.

    Parameters
    ----------
    dataset : xarray.Dataset
    path : path-like
        Ends in ``.nc`` (also ``.nc4``, ``.h5``, ``.hdf5``) for NetCDF, in ``.zarr`` for Zarr.
    encoding : mapping
        For NetCDF.

    Returns
    -------
    pathlib.Path
        The path.

    Raises
    ------
    ValueError
        For another ending, and where the path is something that this function did not write.
    FileNotFoundError
        If the folder does not exist.
    ImportError
        For Zarr, if it is not installed.
    """
    target = Path(path)
    is_zarr = _is_zarr(target)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path: the folder {target.parent} does not exist; make it first.")
    _check_replaceable(target, is_zarr)
    # In the same folder, so that the last step is a rename within one file system.
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        written = beside / target.name
        if is_zarr:
            dataset.to_zarr(written, mode="w", consolidated=False)
        else:
            dataset.to_netcdf(written, engine="h5netcdf", encoding=encoding)
        if is_zarr and target.exists():
            _exchange_folder(written, target, beside / "previous")
        else:
            os.replace(written, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def read_dataset(path: str | os.PathLike[str], what: str) -> xr.Dataset:
    """Read all of a file into memory.

    Parameters
    ----------
    path : path-like
    what : str
        What the file should hold, for messages: "templates".

    Raises
    ------
    ValueError
        For a file that cannot be read; names the file.
    FileNotFoundError
        If there is no such file.
    ImportError
        For Zarr, if it is not installed.
    """
    source = Path(path)
    is_zarr = _is_zarr(source)
    if not source.exists():
        raise FileNotFoundError(f"path: {source} does not exist.")
    return _open(source, is_zarr, what)


@dataclass(frozen=True)
class FileFormat:
    """What files of one kind hold, by which they are known again.

    Attributes
    ----------
    what : str
        What the files hold, in the plural: "templates".
    version : int
    variables, attributes : tuple of str
        What no file lacks, besides the attributes of `header`.
    """

    what: str
    version: int
    variables: tuple[str, ...]
    attributes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the format, in every file."""
        return f"pymc-starpop {self.what}"

    def header(self) -> dict[str, Any]:
        """Return the attributes by which `read` knows a file."""
        return {
            "format": self.name,
            "format_version": self.version,
            "package_version": package_version(),
        }

    def read(self, path: str | os.PathLike[str]) -> xr.Dataset:
        """Read a file, as `read_dataset`; refuse another format, version, and what is not whole."""
        dataset = read_dataset(path, self.what)
        if dataset.attrs.get("format") != self.name:
            raise ValueError(
                f"{path}: holds no {self.what}, its attribute format is "
                f"{dataset.attrs.get('format')!r} and not {self.name!r}."
            )
        version = dataset.attrs.get("format_version")
        if version != self.version:
            raise ValueError(
                f"{path}: format_version {version} was written by pymc-starpop "
                f"{dataset.attrs.get('package_version')}, this one reads {self.version}; update it."
            )
        lacking = [f"the variable {name}" for name in self.variables if name not in dataset]
        lacking += [
            f"the attribute {name}" for name in self.attributes if name not in dataset.attrs
        ]
        if lacking:
            raise ValueError(f"{path}: lacks {', '.join(lacking)}; save the {self.what} again.")
        return dataset


def _exchange_folder(written: Path, target: Path, previous: Path) -> None:
    """Put one folder where another is: there is no rename that replaces a folder with files."""
    os.replace(target, previous)
    try:
        os.replace(written, target)
    except BaseException:
        os.replace(previous, target)
        raise


def plain_metadata(value: Any) -> Any:
    """Return metadata as JSON has them: arrays and tuples as lists, dataclasses as mappings.

    What has no such form, as a function, becomes the text that describes it.
    """
    if isinstance(value, Mapping):
        return {str(key): plain_metadata(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_metadata(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain_metadata(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return {"class": type(value).__name__, **plain_metadata(asdict(value))}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return repr(value)


def _open(source: Path, is_zarr: bool, what: str) -> xr.Dataset:
    """Read all of a file into memory."""
    reader: Callable[..., xr.Dataset] = xr.open_zarr if is_zarr else xr.open_dataset
    options = {"consolidated": False, "chunks": None} if is_zarr else {"engine": "h5netcdf"}
    try:
        with reader(source, **options) as dataset:
            return dataset.load()
    # What h5py, h5netcdf, zarr and xarray raise for files that are not theirs or are damaged.
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        kind = "Zarr store" if is_zarr else "NetCDF file"
        raise ValueError(
            f"{source}: cannot be read as a {kind} ({type(error).__name__}: {error}); save the "
            f"{what} again."
        ) from error


def _is_zarr(path: Path) -> bool:
    """Tell the kind of file by its ending."""
    if path.suffix == ".zarr":
        if find_spec("zarr") is None:
            raise ImportError(
                "Zarr is not installed: pip install 'pymc-starpop[zarr]', or use a path that "
                "ends in .nc."
            )
        return True
    if path.suffix not in NETCDF_SUFFIXES:
        raise ValueError(
            f"path: {path} must end in {', '.join(NETCDF_SUFFIXES)} for NetCDF or in .zarr for "
            f"Zarr, got {path.suffix!r}."
        )
    return False


def _check_replaceable(target: Path, is_zarr: bool) -> None:
    """Refuse to replace a folder that is no Zarr store, and a file where a store shall be."""
    if not target.exists():
        return
    if is_zarr and not (target / "zarr.json").is_file() and not (target / ".zgroup").is_file():
        raise ValueError(f"path: {target} exists and is no Zarr store; choose another path.")
    if not is_zarr and target.is_dir():
        raise ValueError(f"path: {target} is a folder; choose another path.")


def package_version() -> str:
    """Return the version of this package."""
    try:
        return distribution.version("pymc-starpop")
    except distribution.PackageNotFoundError:
        return "unknown"
