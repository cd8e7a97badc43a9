"""Real catalogs that come with the package."""

import csv
from collections.abc import Callable
from importlib import resources

import numpy as np

from pymc_starpop.stars.catalog import StarCatalog

__all__ = ["load_example"]

_TEXT = ("member", "spectroscopic_binary", "photometric_binary", "wide_binary", "notes", "two_mass")
_NUMBERS = (
    *("ra", "dec", "pmra", "pmdec", "ruwe", "bp_rp_excess"),
    *("rv", "rv_err", "rv_offset", "gaia_rv", "gaia_rv_err"),
)
_INTEGERS = ("gaia_dr3", "gaia_dr2", "non_single_star", "cl")


def load_example(
    name: str, error_floor: float = 0.005, parallax_error_floor: float = 0.0
) -> StarCatalog:
    """Return a catalog of real stars that comes with the package.

    "ruprecht147": 440 rows on the old open cluster Ruprecht 147 (Curtis et al. 2020, ApJ 904, 140,
    table 1) with Gaia DR3 and 2MASS magnitudes, from the main-sequence turn-off to M dwarfs, with
    giants, blue stragglers, white dwarfs, and stars that are known not to be members.

    Its ``star`` labels are Gaia DR3 source identifiers. Three rows repeat the DR3 source of an
    earlier row (``extra["duplicate"]``); they are labeled by their row number, and a fit should
    leave them out. Parallaxes are as published in DR3, without a zero-point correction. The
    table gives the error of J - Ks only: each band gets it divided by the root of 2, and stars
    without it have NaN in J and Ks, because there 2MASS has upper limits or blends. Other columns
    in ``extra``: "member" ("Yes", or why not), "ruwe", "pmra", "pmdec", "ra", "dec", "rv",
    "spectroscopic_binary", "photometric_binary", "wide_binary", "notes", and more.

    Parameters
    ----------
    name : {"ruprecht147"}
        Which catalog.
    error_floor : float
        Added in quadrature to the formal magnitude errors, mag. Gaia's are below 0.001 for bright
        stars, less than the photometry is calibrated to and models predict.
    parallax_error_floor : float
        Added in quadrature to the formal parallax errors, mas, for the depth of a cluster: the
        members of Ruprecht 147 scatter by about 0.08.

    Returns
    -------
    StarCatalog

    Raises
    ------
    ValueError
        For an unknown name, or a negative floor.

    Examples
    --------
    >>> from pymc_starpop.stars.examples import load_example
    >>> cat = load_example("ruprecht147")
    >>> len(cat), cat.n_band, int((cat.extra["member"] == "Yes").sum())
    (440, 5, 395)
    """
    if name not in _LOADERS:
        raise ValueError(
            f"name must be one of the bundled examples, {', '.join(map(repr, _LOADERS))}, "
            f"got {name!r}; read your own table with StarCatalog.from_table."
        )
    if not (np.isfinite(parallax_error_floor) and parallax_error_floor >= 0):
        raise ValueError(
            f"parallax_error_floor must be finite and not negative (mas), got "
            f"{parallax_error_floor}; give a small positive number such as 0.08."
        )
    return _LOADERS[name](parallax_error_floor).with_error_floor(error_floor)


def _load_ruprecht147(parallax_error_floor: float) -> StarCatalog:
    table = _read("ruprecht147.csv")
    columns = {key: _floats(table[key]) for key in ("G", "BP", "RP", "J", "Ks", "JKs_err")}
    columns |= {f"{band}_err": _floats(table[f"{band}_err"]) for band in ("G", "BP", "RP")}
    each_err = columns["JKs_err"] / np.sqrt(2.0)
    infrared = np.stack([columns["J"], columns["Ks"]], axis=1)
    infrared[~np.isfinite(each_err)] = np.nan
    mag = np.column_stack([columns["G"], columns["BP"], columns["RP"], infrared])
    mag_err = np.column_stack([columns[key] for key in ("G_err", "BP_err", "RP_err")])
    mag_err = np.column_stack([mag_err, each_err, each_err])
    duplicate = table["duplicate"].astype(int).astype(bool)
    integers = {key: table[key].astype(np.int64) for key in _INTEGERS}
    return StarCatalog(
        mag,
        mag_err,
        bands=("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3", "2MASS_J", "2MASS_Ks"),
        parallax=_floats(table["parallax"]),
        parallax_err=np.hypot(_floats(table["parallax_err"]), parallax_error_floor),
        star=np.where(duplicate, np.arange(len(mag)), integers["gaia_dr3"]),
        extra={
            "duplicate": duplicate,
            **integers,
            **{key: _floats(table[key]) for key in _NUMBERS},
            **{key: table[key] for key in _TEXT},
        },
    )


_LOADERS: dict[str, Callable[[float], StarCatalog]] = {"ruprecht147": _load_ruprecht147}


def _read(file_name: str) -> dict[str, np.ndarray]:
    """Read a bundled CSV file as columns of text."""
    source = resources.files("pymc_starpop").joinpath("data", file_name)
    with source.open("r", encoding="utf-8") as handle:
        header, *rows = csv.reader(handle)
    return {
        key: np.array(column) for key, column in zip(header, zip(*rows, strict=True), strict=True)
    }


def _floats(column: np.ndarray) -> np.ndarray:
    return np.array([float(text) if text else np.nan for text in column])
