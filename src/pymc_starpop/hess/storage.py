"""Templates in files: NetCDF, or Zarr where the path ends in ``.zarr``.

A file holds the counts with their coordinates, the edges of the bins, and as attributes the bands,
the version of the package that wrote it, and the metadata as JSON.
"""

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from importlib import metadata as distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from pymc_starpop.hess.axes import HessAxes

if TYPE_CHECKING:
    from pymc_starpop.hess.template_set import TemplateSet

__all__ = ["read_templates", "write_templates"]

FORMAT = "pymc-starpop templates"
FORMAT_VERSION = 1
NETCDF_SUFFIXES = (".nc", ".nc4", ".h5", ".hdf5")

_DIMS = ("log_age", "mh", "mag", "color")
_VARIABLES = ("counts", "log_age", "mh", "color_edges", "mag_edges")
_ATTRIBUTES = ("color_bands", "mag_band", "counts_crc32", "metadata")


def write_templates(templates: "TemplateSet", path: str | os.PathLike[str]) -> Path:
    """Write templates to a file, replacing one that is there only once all is written.

    Parameters
    ----------
    templates : TemplateSet
        What to write.
    path : path-like
        Ends in ``.nc`` (also ``.nc4``, ``.h5``, ``.hdf5``) for NetCDF, in ``.zarr`` for Zarr.

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
    dataset = _to_dataset(templates)
    # In the same folder, so that the last step is a rename within one file system.
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        written = beside / target.name
        if is_zarr:
            dataset.to_zarr(written, mode="w", consolidated=False)
        else:
            dataset.to_netcdf(written, engine="h5netcdf", encoding=_encoding(dataset))
        if is_zarr and target.exists():
            _exchange_folder(written, target, beside / "previous")
        else:
            os.replace(written, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def read_templates(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the arguments of a `TemplateSet` from a file that `write_templates` wrote.

    Raises
    ------
    ValueError
        For a file that cannot be read or lacks something; names the file and what is wrong.
    FileNotFoundError
        If there is no such file.
    ImportError
        For Zarr, if it is not installed.
    """
    source = Path(path)
    is_zarr = _is_zarr(source)
    if not source.exists():
        raise FileNotFoundError(f"path: {source} does not exist.")
    dataset = _open(source, is_zarr)
    _check_contents(source, dataset)
    attrs = dataset.attrs
    try:
        axes = HessAxes(
            color=tuple(json.loads(attrs["color_bands"])),
            mag=attrs["mag_band"],
            color_edges=dataset["color_edges"].values,
            mag_edges=dataset["mag_edges"].values,
        )
        metadata = json.loads(attrs["metadata"])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{source}: {error}") from error
    counts = dataset["counts"].transpose(*_DIMS).values
    if _checksum(counts) != int(attrs["counts_crc32"]):
        raise ValueError(f"{source}: the counts are damaged; save the templates again.")
    return {
        "counts": counts,
        "axes": axes,
        "log_age": dataset["log_age"].values,
        "mh": dataset["mh"].values,
        "metadata": metadata,
    }


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


def _to_dataset(templates: "TemplateSet") -> xr.Dataset:
    axes = templates.axes
    return xr.Dataset(
        {
            "counts": (_DIMS, templates.counts, {"units": "stars per bin per Msun formed"}),
            "color_edges": ("color_edge", axes.color_edges, {"units": "mag"}),
            "mag_edges": ("mag_edge", axes.mag_edges, {"units": "mag"}),
        },
        coords={
            "log_age": ("log_age", templates.log_age, {"units": "log10(yr)"}),
            "mh": ("mh", templates.mh, {"units": "dex"}),
            **{name: (name, values, {"units": "mag"}) for name, values in axes.coords().items()},
        },
        attrs={
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "package_version": _package_version(),
            "color_bands": json.dumps(list(axes.color)),
            "mag_band": axes.mag,
            "counts_crc32": _checksum(templates.counts),
            "metadata": json.dumps(plain_metadata(templates.metadata)),
        },
    )


def _encoding(dataset: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Compression, one template a chunk."""
    settings = {"zlib": True, "complevel": 4, "shuffle": True, "_FillValue": None}
    return {"counts": {**settings, "chunksizes": (1, 1, *dataset["counts"].shape[2:])}}


def _checksum(counts: np.ndarray) -> int:
    """Tell damaged counts from good ones: Zarr reads a chunk that is missing as zeros."""
    return zlib.crc32(np.ascontiguousarray(counts, dtype="<f8"))


def _open(source: Path, is_zarr: bool) -> xr.Dataset:
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
            f"templates again."
        ) from error


def _check_contents(source: Path, dataset: xr.Dataset) -> None:
    """Refuse what `write_templates` did not write, or a later version did."""
    if dataset.attrs.get("format") != FORMAT:
        raise ValueError(
            f"{source}: holds no templates, its attribute format is "
            f"{dataset.attrs.get('format')!r} and not {FORMAT!r}."
        )
    version = dataset.attrs.get("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{source}: format_version {version} was written by pymc-starpop "
            f"{dataset.attrs.get('package_version')}, this one reads {FORMAT_VERSION}; update it."
        )
    lacking = [f"the variable {name}" for name in _VARIABLES if name not in dataset.variables]
    lacking += [f"the attribute {name}" for name in _ATTRIBUTES if name not in dataset.attrs]
    if lacking:
        raise ValueError(f"{source}: lacks {', '.join(lacking)}; save the templates again.")
    if set(dataset["counts"].dims) != set(_DIMS):
        raise ValueError(
            f"{source}: counts has the dimensions {dataset['counts'].dims}, expected {_DIMS}."
        )


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


def _package_version() -> str:
    try:
        return distribution.version("pymc-starpop")
    except distribution.PackageNotFoundError:
        return "unknown"
