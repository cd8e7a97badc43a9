"""Bolometric corrections that the user brings, as photometry of a grid with theory."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.isochrones.bolometric import (
    TABLE_AV_RANGE,
    BolometricPhotometry,
    BolometricTable,
)
from pymc_starpop.isochrones.source import as_table, bundled_source

__all__ = ["bolometric_photometry", "from_table"]

_DIMS = ("feh", "log_teff", "log_g", "av", "band")
# Corrections in mag that any star can have; what is outside is no table of corrections.
_MOST_MAG = 200.0


def bolometric_photometry(
    data: Any, wavelength: Mapping[str, float] | None = None
) -> BolometricPhotometry:
    """Return photometry from whatever holds bolometric corrections.

    Parameters
    ----------
    data : BolometricPhotometry, xarray.DataArray, xarray.Dataset or None
        None stands for the corrections that come with the package. An array, or a data set of one
        variable, has the dimensions ``feh`` (dex), ``log_teff`` (K), ``log_g`` (cgs), ``band``,
        and ``av`` (mag) unless there is no extinction; mag, for M_bol = 4.74 at 1 Lsun.
        Coordinates ``wavelength`` (micron) and ``system`` along ``band`` may be there.
    wavelength : mapping, optional
        Band to effective wavelength (micron), for the dependence on R_V.

    Raises
    ------
    ValueError
        For other dimensions, axes that do not ascend, and values that are not finite.
    """
    if data is None:
        photometry = bundled_source().photometry.parts[0]
        assert isinstance(photometry, BolometricPhotometry)
        return photometry
    if isinstance(data, BolometricPhotometry):
        return data
    if isinstance(data, xr.Dataset):
        names = list(data.data_vars)
        if len(names) != 1:
            raise ValueError(
                f"bolometric corrections: expected a data set of one variable, got {names}"
            )
        data = data[names[0]]
    if not isinstance(data, xr.DataArray):
        raise ValueError(
            "bolometric corrections: expected an xarray.DataArray with dimensions "
            f"{', '.join(_DIMS)}, or what read_mist_bc returns, got {type(data).__name__}"
        )
    return _from_array(data, dict(wavelength or {}))


def _from_array(data: xr.DataArray, wavelength: dict[str, float]) -> BolometricPhotometry:
    if "av" not in data.dims:
        data = data.expand_dims(av=[0.0])
    if set(data.dims) != set(_DIMS):
        raise ValueError(f"bolometric corrections: expected dimensions {_DIMS}, got {data.dims}")
    lacking = [name for name in _DIMS if name not in data.coords]
    if lacking:
        raise ValueError(f"bolometric corrections: no coordinate {', '.join(lacking)}")
    bands = tuple(str(band) for band in data["band"].values)
    known = {band: float(value) for band, value in wavelength.items()}
    if "wavelength" in data.coords:
        own = dict(zip(bands, data["wavelength"].values.astype(float).tolist(), strict=True))
        known = own | known
    system = [""] * len(bands)
    if "system" in data.coords:
        system = [str(value) for value in data["system"].values]
    axes = [np.asarray(data[name].values, dtype=np.float64) for name in _DIMS[:4]]
    values = data.transpose(*_DIMS).values
    return from_table(axes, values, bands, known, tuple(system))


def from_table(
    axes: Sequence[np.ndarray],
    values: np.ndarray,
    bands: tuple[str, ...],
    wavelength: Mapping[str, float],
    system: tuple[str, ...],
) -> BolometricPhotometry:
    """Return photometry from a complete table.

    Parameters
    ----------
    axes : sequence of ndarray
        [Fe/H], log T_eff, log g and A_V (mag), ascending.
    values : ndarray (Fb, T, G, V, B)
        Bolometric corrections, mag.
    bands : tuple of str
    wavelength : mapping
        Band to effective wavelength (micron); those of bands of the bundle are known.
    system : tuple of str
        Photometric system of each band.
    """
    values = np.asarray(values, dtype=np.float64)
    for name, axis in zip(_DIMS[:4], axes, strict=True):
        if axis.ndim != 1 or not np.isfinite(axis).all() or np.any(np.diff(axis) <= 0.0):
            raise ValueError(f"bolometric corrections: {name} must ascend without repeats")
    if not (np.abs(values) <= _MOST_MAG).all():
        raise ValueError(
            f"bolometric corrections: expected finite values of at most {_MOST_MAG:g} mag at every "
            "point; leave incomplete temperatures or gravities out"
        )
    if len(set(bands)) < len(bands) or not bands:
        raise ValueError(f"bolometric corrections: expected different bands, got {bands}")
    feh, log_teff, log_g, av = axes
    if av[0] != 0.0:
        raise ValueError(f"bolometric corrections: av must begin at 0, got {av[0]:g}")
    coefficients, largest = _polynomials(av, values)
    bundled = bolometric_photometry(None)
    known = dict(zip(bundled.bands, bundled.wavelength.tolist(), strict=True)) | dict(wavelength)
    table = BolometricTable(
        as_table(feh),
        as_table(log_teff),
        as_table(log_g),
        as_table(coefficients),
        tuple(map(str, bands)),
    )
    microns = np.array([known.get(band, np.nan) for band in bands], dtype=np.float64)
    return BolometricPhotometry(table, microns, system, (0.0, largest))


def _polynomials(av: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients (..., B, 4) in A_V and the largest A_V that they cover.

    The polynomial goes through the value at A_V = 0 and is least squares elsewhere, of the third
    degree where there are enough values.
    """
    used = av <= TABLE_AV_RANGE[1] + 1e-9
    av, values = av[used], values[:, :, :, used]
    coefficients = np.zeros((*values.shape[:3], values.shape[4], 4))
    clear = values[:, :, :, 0]
    coefficients[..., 0] = clear
    degree = min(3, av.size - 1)
    if degree == 0:
        return coefficients, 0.0
    powers = av[1:, None] ** np.arange(1, degree + 1)
    solve = np.linalg.pinv(powers)
    step = values[:, :, :, 1:] - clear[:, :, :, None]
    coefficients[..., 1 : degree + 1] = np.einsum("pv,ftgvb->ftgbp", solve, step)
    return coefficients, float(av[-1])
