"""Isochrone grids: bundled data, files of libraries, choice of nodes, interpolation."""

from pymc_starpop.isochrones.grid import IsochroneGrid, load_isochrones
from pymc_starpop.isochrones.isochrone import Isochrone
from pymc_starpop.isochrones.readers import (
    IsochroneFileError,
    read_basti,
    read_mist,
    read_mist_bc,
    read_parsec,
    read_table,
)

__all__ = [
    "Isochrone",
    "IsochroneFileError",
    "IsochroneGrid",
    "load_isochrones",
    "read_basti",
    "read_mist",
    "read_mist_bc",
    "read_parsec",
    "read_table",
]
