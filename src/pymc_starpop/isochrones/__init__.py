"""Isochrone grids: bundled data, choice of nodes, interpolation."""

from pymc_starpop.isochrones.grid import Isochrone, IsochroneGrid, load_isochrones

__all__ = ["Isochrone", "IsochroneGrid", "load_isochrones"]
