"""Templates in files: NetCDF, or Zarr where the path ends in ``.zarr``.

A file holds the counts with their coordinates, the edges of the bins, those of the parts of divided
age bins where there are any, and as attributes the bands, the version of the package that wrote it,
and the metadata as JSON.
"""

import json
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr

from pymc_starpop.hess.axes import HessAxes
from pymc_starpop.storage.datasets import COMPRESSED, FileFormat, plain_metadata, write_dataset

__all__ = ["read_templates", "write_templates"]

_DIMS = ("log_age", "mh", "mag", "color")
_PART_DIMS = ("part_log_age", *_DIMS[1:])
_FORMAT = FileFormat(
    "templates",
    version=1,
    variables=("counts", "log_age", "mh", "color_edges", "mag_edges"),
    attributes=("color_bands", "mag_band", "counts_crc32", "metadata"),
)


class _Templates(Protocol):
    """What is written of a `TemplateSet`."""

    @property
    def counts(self) -> np.ndarray: ...
    @property
    def axes(self) -> HessAxes: ...
    @property
    def log_age(self) -> np.ndarray: ...
    @property
    def mh(self) -> np.ndarray: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...
    @property
    def t_max_gyr(self) -> float | None: ...
    @property
    def divided(self) -> "_Templates | None": ...


def write_templates(templates: _Templates, path: str | os.PathLike[str]) -> Path:
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
    dataset = _to_dataset(templates)
    return write_dataset(dataset, path, _encoding(dataset))


def read_templates[T](path: str | os.PathLike[str], build: Callable[..., T]) -> T:
    """Read templates from a file that `write_templates` wrote.

    Parameters
    ----------
    path : path-like
    build : callable
        Makes them from the arguments of a `TemplateSet`.

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
    dataset = _FORMAT.read(source)
    attrs = dataset.attrs
    try:
        axes = HessAxes(
            color=tuple(json.loads(attrs["color_bands"])),
            mag=attrs["mag_band"],
            color_edges=dataset["color_edges"].values,
            mag_edges=dataset["mag_edges"].values,
        )
        metadata = json.loads(attrs["metadata"])
        common = {
            "axes": axes,
            "mh": dataset["mh"].values,
            "t_max_gyr": float(attrs["t_max_gyr"]) if "t_max_gyr" in attrs else None,
        }
        divided = None
        if "part_counts" in dataset.variables:
            parts = _read_counts(dataset, "part_counts", _PART_DIMS)
            divided = build(counts=parts, log_age=dataset["part_log_age"].values, **common)
        counts = _read_counts(dataset, "counts", _DIMS)
        log_age = dataset["log_age"].values
        return build(counts=counts, log_age=log_age, metadata=metadata, divided=divided, **common)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{source}: {error}") from error


def _read_counts(dataset: xr.Dataset, name: str, dims: tuple[str, ...]) -> np.ndarray:
    """Return counts after a check that they are what was written."""
    if set(dataset[name].dims) != set(dims):
        raise ValueError(f"{name} has the dimensions {dataset[name].dims}, expected {dims}.")
    counts = dataset[name].transpose(*dims).values
    if _checksum(counts) != int(dataset.attrs.get(f"{name}_crc32", -1)):
        raise ValueError(f"the {name} are damaged; save the templates again.")
    return counts


def _to_dataset(templates: _Templates) -> xr.Dataset:
    axes, t_max = templates.axes, templates.t_max_gyr
    return _with_parts(
        templates,
        xr.Dataset(
            {
                "counts": (_DIMS, templates.counts, {"units": "stars per bin per Msun formed"}),
                "color_edges": ("color_edge", axes.color_edges, {"units": "mag"}),
                "mag_edges": ("mag_edge", axes.mag_edges, {"units": "mag"}),
            },
            coords={
                "log_age": ("log_age", templates.log_age, {"units": "log10(yr)"}),
                "mh": ("mh", templates.mh, {"units": "dex"}),
                **{
                    name: (name, values, {"units": "mag"}) for name, values in axes.coords().items()
                },
            },
            attrs={
                **_FORMAT.header(),
                "color_bands": json.dumps(list(axes.color)),
                "mag_band": axes.mag,
                "counts_crc32": _checksum(templates.counts),
                "metadata": json.dumps(plain_metadata(templates.metadata)),
                **({} if t_max is None else {"t_max_gyr": t_max}),
            },
        ),
    )


def _with_parts(templates: _Templates, dataset: xr.Dataset) -> xr.Dataset:
    """Add the templates of the parts of age bins, where bins are divided."""
    parts = templates.divided
    if parts is None:
        return dataset
    dataset["part_log_age"] = ("part_log_age", parts.log_age, {"units": "log10(yr)"})
    dataset["part_counts"] = (_PART_DIMS, parts.counts, {"units": dataset["counts"].units})
    return dataset.assign_attrs(part_counts_crc32=_checksum(parts.counts))


def _encoding(dataset: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Compression, one template a chunk."""
    settings = {**COMPRESSED, "chunksizes": (1, 1, *dataset["counts"].shape[2:])}
    return {name: settings for name in ("counts", "part_counts") if name in dataset}


def _checksum(counts: np.ndarray) -> int:
    """Tell damaged counts from good ones: Zarr reads a chunk that is missing as zeros."""
    return zlib.crc32(np.ascontiguousarray(counts, dtype="<f8"))
