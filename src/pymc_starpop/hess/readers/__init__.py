"""Photometry and artificial stars from the files of MATCH and DOLPHOT."""

from pymc_starpop.hess.readers.dolphot import read_dolphot, read_dolphot_artificial_stars
from pymc_starpop.hess.readers.match import read_match_artificial_stars, read_match_photometry

__all__ = [
    "read_dolphot",
    "read_dolphot_artificial_stars",
    "read_match_artificial_stars",
    "read_match_photometry",
]
