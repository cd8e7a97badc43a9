"""Mean wavelengths of passbands from the package astro-sedpy, which has 270 of them offline."""

import difflib
import re
from importlib.util import find_spec

import numpy as np

__all__ = ["passband_wavelength"]

# A band that still has this share of its largest transmission where its table ends is cut there.
# The throughput of HST's F160W ends at 17,000 Angstrom with 0.0098; its mean wavelength is right.
_CUT = 0.02

# Names of the Spanish Virtual Observatory's filter service, up to the dot, and those of sedpy.
_SVO = {
    "HST/ACS_WFC": "acs_wfc_{}",
    "HST/WFC3_IR": "wfc3_ir_{}",
    "HST/WFC3_UVIS": "wfc3_uvis_{}",
    "HST/WFC3_UVIS1": "wfc3_uvis_{}",  # sedpy has that of the first chip
    "JWST/NIRCam": "jwst_{}",
    "JWST/MIRI": "jwst_{}",
    "JWST/NIRISS": "jwst_niriss_{}",
    "Roman/WFI": "roman_wfi_{}",
    "GAIA/GAIA3": "gaia_{}",
    "GAIA/GAIA2r": "gaia_{}_dr2rev",
    "2MASS/2MASS": "twomass_{}",
    "SLOAN/SDSS": "sdss_{}0",
    "PAN-STARRS/PS1": "panstarrs_{}",
    "WISE/WISE": "wise_{}",
    "Spitzer/IRAC": "spitzer_irac_{}",
    "Generic/Bessell": "bessell_{}",
    "GALEX/GALEX": "galex_{}",
    "LSST/LSST": "lsst_baseline_{}",
    "CTIO/DECam": "decam_{}",
    "Subaru/HSC": "hsc_{}",
    "Paranal/VISTA": "vista_vircam_{}",
    "UKIRT/UKIDSS": "ukirt_wfcam_{}",
}
_SVO_BANDS = {"Gbp": "bp", "Grp": "rp", "I1": "ch1", "I2": "ch2", "I3": "ch3", "I4": "ch4"}


def passband_wavelength(name: str) -> float:
    r"""Return the mean wavelength of a passband (micron), weighted by its throughput for photons.

    .. math:: \lambda = \int \lambda\, T(\lambda)\, d\lambda \Big/ \int T(\lambda)\, d\lambda,

    the ``avgwv`` of STScI's synphot (Bushouse & Simon 1994, Synphot User's Guide), with a straight
    line between the points of the table. The SVO's service weights the bands of JWST by energy:
    the mean wavelengths that it lists are longer by up to 0.6 %.

    Parameters
    ----------
    name : str
        As the Spanish Virtual Observatory's filter service has it, such as ``"HST/ACS_WFC.F606W"``,
        ``"JWST/NIRCam.F150W"`` or ``"GAIA/GAIA3.Gbp"``, or as astro-sedpy has it, such as
        ``"acs_wfc_f606w"``.

    Returns
    -------
    float

    Raises
    ------
    ImportError
        If astro-sedpy is not installed.
    ValueError
        For a name that it does not have, or a table that ends where the passband still has more
        than 0.02 of its largest transmission: its mean wavelength is not known.

    Examples
    --------
    >>> from pymc_starpop.isochrones.passbands import passband_wavelength
    >>> round(passband_wavelength("JWST/NIRCam.F150W"), 3)  # doctest: +SKIP
    1.504
    """
    if find_spec("sedpy") is None:
        raise ImportError(
            "astro-sedpy is not installed: pip install 'pymc-starpop[passbands]', or give the "
            "effective wavelength yourself"
        )
    from sedpy.observate import Filter

    passband = Filter(_known_name(name))
    angstrom, throughput = np.asarray(passband.wavelength), np.asarray(passband.transmission)
    ends = max(throughput[0], throughput[-1]) / throughput.max()
    if ends > _CUT:
        raise ValueError(
            f"name: the table of passband {name!r} ends at {1e-4 * angstrom[0]:.4g} and "
            f"{1e-4 * angstrom[-1]:.4g} micron, where it still has {ends:.2g} of its largest "
            "transmission; give the effective wavelength yourself"
        )
    return 1e-4 * _mean(angstrom, throughput)


def _mean(x: np.ndarray, weight: np.ndarray) -> float:
    """Mean of x for a weight that is a straight line between its points, exactly."""
    step, (left, right) = np.diff(x), (weight[:-1], weight[1:])
    moment = step * (x[:-1] * (2.0 * left + right) + x[1:] * (left + 2.0 * right)) / 6.0
    return float(np.sum(moment) / np.sum(0.5 * step * (left + right)))


def _known_name(name: str) -> str:
    """Return the name that sedpy has for a passband."""
    from sedpy.observate import list_available_filters

    known = sorted(str(each) for each in list_available_filters())
    instrument, _, band = name.partition(".")
    own = _SVO[instrument].format(_SVO_BANDS.get(band, band)) if instrument in _SVO else name
    # Upper and lower case differ between the two; no two names of sedpy do only in that.
    found = [each for each in known if each.lower() == own.lower()]
    if found:
        return found[0]
    if instrument in _SVO:
        raise ValueError(
            f"name: unknown passband {name!r}: of the bands of {instrument} astro-sedpy has only "
            f"{', '.join(_bands_like(_SVO[instrument], known))}; give the effective wavelength "
            "yourself"
        )
    wanted = re.sub(r"[^a-z0-9]+", "_", own.lower())
    close = difflib.get_close_matches(wanted, [each.lower() for each in known], n=5, cutoff=0.4)
    raise ValueError(
        f"name: unknown passband {name!r}; close matches: {', '.join(close) or 'none'}; give the "
        "effective wavelength yourself where astro-sedpy does not have it"
    )


def _bands_like(template: str, known: list[str]) -> list[str]:
    """Return the part of the names in place of the braces, as the filter service writes them."""
    pattern = re.compile(template.format("([^_]+)"), re.IGNORECASE)
    bands = [match[1] for name in known if (match := pattern.fullmatch(name))]
    of_service = {own: band for band, own in _SVO_BANDS.items()}
    return [of_service.get(band, band.upper() if len(band) > 3 else band) for band in bands]
