"""Readers of the isochrone files of MIST, PARSEC and BaSTI."""

from pymc_starpop.isochrones.readers.basti import parse_basti
from pymc_starpop.isochrones.readers.mist import parse_mist
from pymc_starpop.isochrones.readers.mist_bc import read_mist_bc
from pymc_starpop.isochrones.readers.parsec import parse_parsec
from pymc_starpop.isochrones.readers.public import read_basti, read_mist, read_parsec
from pymc_starpop.isochrones.readers.raw import RawIsochrone
from pymc_starpop.isochrones.readers.table import read_table
from pymc_starpop.isochrones.readers.text import IsochroneFileError

__all__ = [
    "IsochroneFileError",
    "RawIsochrone",
    "parse_basti",
    "parse_mist",
    "parse_parsec",
    "read_basti",
    "read_mist",
    "read_mist_bc",
    "read_parsec",
    "read_table",
]
