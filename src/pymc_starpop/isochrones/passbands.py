"""Effective wavelengths of passbands from the package tynt, which has 1,150 of them offline."""

import difflib
from importlib.util import find_spec

import numpy as np

__all__ = ["passband_wavelength"]


def passband_wavelength(name: str) -> float:
    """Return the mean wavelength of a passband (micron), weighted by its transmission.

    Parameters
    ----------
    name : str
        As the Spanish Virtual Observatory's filter service has it, such as ``"HST/ACS_WFC.F606W"``
        or ``"JWST/NIRCam.F150W"``.

    Returns
    -------
    float

    Raises
    ------
    ImportError
        If tynt (Morris 2021) is not installed.
    ValueError
        For a name that it does not have.

    Examples
    --------
    >>> from pymc_starpop.isochrones.passbands import passband_wavelength
    >>> round(passband_wavelength("JWST/NIRCam.F150W"), 2)  # doctest: +SKIP
    1.5
    """
    if find_spec("tynt") is None:
        raise ImportError(
            "tynt is not installed: pip install 'pymc-starpop[passbands]', or give the effective "
            "wavelength yourself"
        )
    from tynt import FilterGenerator

    generator = FilterGenerator()
    known = [str(filter_name) for filter_name in generator.available_filters()]
    if name not in known:
        close = difflib.get_close_matches(name, known, n=5)
        raise ValueError(f"name: unknown passband {name!r}; close matches: {', '.join(close)}")
    passband = generator.reconstruct(name)
    micron = passband.wavelength.to_value("micron")
    return float(np.average(micron, weights=np.asarray(passband.transmittance)))
