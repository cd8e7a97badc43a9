"""Isochrone grids: bundled data, files of libraries, choice of nodes, interpolation."""

from pymc_starpop.isochrones.grid import IsochroneGrid, load_isochrones
from pymc_starpop.isochrones.isochrone import Isochrone
from pymc_starpop.isochrones.passbands import passband_wavelength
from pymc_starpop.isochrones.readers import (
    IsochroneFileError,
    read_basti,
    read_mist,
    read_mist_bc,
    read_parsec,
    read_table,
)
from pymc_starpop.isochrones.storage import open_isochrones, save_isochrones

__all__ = [
    "Isochrone",
    "IsochroneFileError",
    "IsochroneGrid",
    "load_isochrones",
    "open_isochrones",
    "passband_wavelength",
    "read_basti",
    "read_mist",
    "read_mist_bc",
    "read_parsec",
    "read_table",
    "save_isochrones",
]
