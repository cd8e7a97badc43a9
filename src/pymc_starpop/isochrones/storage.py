"""Isochrone grids in files: NetCDF, or Zarr where the path ends in ``.zarr``.

A file holds the axes, the theory and, part by part, the photometry of all points, the nodes of the
grid, and as attributes what the EEPs mean, where the isochrones come from and the fingerprint of
the grid, by which damage is noticed.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.isochrones.bolometric import BolometricPhotometry, BolometricTable
from pymc_starpop.isochrones.grid import IsochroneGrid
from pymc_starpop.isochrones.source import EepScale, IsochroneSource, as_table
from pymc_starpop.isochrones.tabulated import CombinedPhotometry, TabulatedPhotometry
from pymc_starpop.storage.datasets import COMPRESSED, FileFormat, plain_metadata, write_dataset

__all__ = ["open_isochrones", "save_isochrones"]

_NODE = ("feh", "log_age", "eep")
_FORMAT = FileFormat(
    "isochrones",
    version=1,
    variables=("theory", "filled", "nodes", *_NODE),
    attributes=("name", "scale", "mass_min", "tolerance", "metadata", "parts", "fingerprint"),
)


def save_isochrones(grid: IsochroneGrid, path: str | os.PathLike[str]) -> Path:
    """Write a grid to a file, replacing one that is there only once all is written.

    Parameters
    ----------
    grid : IsochroneGrid
        Bundled, read from files, or with bolometric corrections of your own.
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

    Examples
    --------
    >>> import tempfile, pymc_starpop as psp
    >>> table = {"m": [0.1, 0.5, 1.0], "V": [12.0, 8.0, 4.0]}
    >>> iso = psp.read_table(table, initial_mass="m", feh=0.0, log_age=9.5, bands=["V"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = psp.save_isochrones(iso, f"{folder}/mine.nc")
    ...     psp.open_isochrones(path).fingerprint == iso.fingerprint
    True
    """
    dataset = _to_dataset(grid)
    encoding = {
        str(name): COMPRESSED for name, variable in dataset.data_vars.items() if variable.ndim > 1
    }
    return write_dataset(dataset, path, encoding)


def open_isochrones(path: str | os.PathLike[str]) -> IsochroneGrid:
    """Read a grid that `save_isochrones` wrote, the same to the last bit.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    IsochroneGrid

    Raises
    ------
    ValueError
        For a file that cannot be read, lacks something or is damaged; names the file.
    FileNotFoundError
        If there is no such file.
    ImportError
        For Zarr, if it is not installed.
    """
    source = Path(path)
    dataset = _FORMAT.read(source)
    try:
        grid = _to_grid(dataset)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{source}: the isochrones are damaged ({type(error).__name__}: {error}); save them "
            "again."
        ) from error
    if grid.fingerprint != dataset.attrs["fingerprint"]:
        raise ValueError(f"{source}: the isochrones are damaged; save them again.")
    return grid


def _to_dataset(grid: IsochroneGrid) -> xr.Dataset:
    source = grid._source
    variables: dict[str, Any] = {
        "theory": ((*_NODE, "quantity"), source.theory),
        "filled": (_NODE, source.filled.astype(np.int8)),
        "nodes": ("node", np.array(grid.eep)),
    }
    if source.numbers is not None:
        variables["numbers"] = (_NODE, source.numbers)
    parts = []
    for k, part in enumerate(source.photometry.parts):
        band = f"band_{k}"
        about: dict[str, Any] = {"bands": list(part.bands), "system": list(part.system)}
        if isinstance(part, TabulatedPhotometry):
            variables |= {
                f"magnitudes_{k}": ((*_NODE, band), part.magnitudes, {"units": "mag"}),
                f"extinction_{k}": (band, part.extinction),
                f"slope_{k}": (band, part.slope),
            }
        else:
            table, box = (
                part.everything,
                [f"bc_{name}_{k}" for name in ("feh", "log_teff", "log_g")],
            )
            about["av_range"] = list(part.av_range)
            variables |= {
                f"coefficients_{k}": ((*box, band, "power"), table.coefficients),
                f"wavelength_{k}": (band, part.wavelength, {"units": "micron"}),
                box[0]: (box[0], table.feh),
                box[1]: (box[1], table.log_teff),
                box[2]: (box[2], table.log_g),
            }
        parts.append(about)
    return xr.Dataset(
        variables,
        coords={
            "feh": ("feh", source.feh, {"units": "dex"}),
            "log_age": ("log_age", source.log_age, {"units": "log10(yr)"}),
            "eep": ("eep", source.eep),
        },
        attrs={
            **_FORMAT.header(),
            "name": source.name,
            "scale": json.dumps(asdict(source.scale)),
            "mass_min": json.dumps(source.mass_min),
            "tolerance": json.dumps(source.tolerance),
            "metadata": json.dumps(plain_metadata(source.metadata)),
            "parts": json.dumps(parts),
            "fingerprint": grid.fingerprint,
        },
    )


def _to_grid(dataset: xr.Dataset) -> IsochroneGrid:
    attrs = dataset.attrs
    parts = [_part(dataset, k, about) for k, about in enumerate(json.loads(attrs["parts"]))]
    scale = json.loads(attrs["scale"])
    flash = scale["flash"]
    source = IsochroneSource(
        name=str(attrs["name"]),
        feh=as_table(dataset["feh"].values),
        log_age=as_table(dataset["log_age"].values),
        eep=dataset["eep"].values.astype(np.int64),
        theory=as_table(dataset["theory"].transpose(*_NODE, "quantity").values),
        filled=dataset["filled"].transpose(*_NODE).values.astype(bool),
        photometry=parts[0] if len(parts) == 1 else CombinedPhotometry(tuple(parts)),
        scale=EepScale(
            **{
                **scale,
                "key": tuple(scale["key"]),
                "flash": None if flash is None else (flash[0], flash[1]),
            }
        ),
        mass_min=json.loads(attrs["mass_min"]),
        tolerance=json.loads(attrs["tolerance"]),
        metadata=json.loads(attrs["metadata"]),
        numbers=_numbers(dataset),
    )
    return IsochroneGrid(source, dataset["nodes"].values.astype(np.int64))


def _numbers(dataset: xr.Dataset) -> np.ndarray | None:
    """EEPs of the points, where they differ between isochrones."""
    if "numbers" not in dataset:
        return None
    return as_table(dataset["numbers"].transpose(*_NODE).values)


def _part(
    dataset: xr.Dataset, k: int, about: dict[str, Any]
) -> BolometricPhotometry | TabulatedPhotometry:
    bands, system = tuple(about["bands"]), tuple(about["system"])
    band = f"band_{k}"
    if f"magnitudes_{k}" in dataset:
        return TabulatedPhotometry(
            bands=bands,
            magnitudes=as_table(dataset[f"magnitudes_{k}"].transpose(*_NODE, band).values),
            extinction=as_table(dataset[f"extinction_{k}"].values),
            slope=as_table(dataset[f"slope_{k}"].values),
            system=system,
        )
    box = [f"bc_{name}_{k}" for name in ("feh", "log_teff", "log_g")]
    table = BolometricTable(
        feh=as_table(dataset[box[0]].values),
        log_teff=as_table(dataset[box[1]].values),
        log_g=as_table(dataset[box[2]].values),
        coefficients=as_table(dataset[f"coefficients_{k}"].transpose(*box, band, "power").values),
        bands=bands,
    )
    low, high = about["av_range"]
    return BolometricPhotometry(
        table, as_table(dataset[f"wavelength_{k}"].values), system, (low, high)
    )
