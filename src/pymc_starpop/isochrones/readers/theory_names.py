"""Names of columns that are theory and no magnitudes, however they are spelled.

`plain_name` takes from a name what authors vary: case, underscores, hyphens, units in brackets,
behind a slash or at the end, and log10 for log. `log_Te`, `logTe` and `log10(Te/K)` are one.

Names of one or two characters are compared as they are written: `Z` is a metallicity and `z` a
band, `MH` a metallicity and `Mh` the magnitude in H of old tables.
"""

import re
from collections.abc import Sequence

__all__ = ["find_meanings", "is_theory", "plain_name", "refused_as_band", "theory_of"]

# What readers use, the best first: names as `plain_name` leaves them, or as they are written.
_USED = {
    "initial_mass": ("mini", "initialmass", "minitial", "massini", "massinitial", "inimass"),
    "log_age": ("logage",),
    "age": ("age",),
    "feh": ("MH", "[M/H]"),
    "metals": ("zini", "zinit", "zinitial", "Z"),
    "log_teff": ("logte", "logteff", "logT"),
    "log_g": ("logg", "loggrav", "loggravity"),
    "log_l": ("logl", "loglum", "logluminosity"),
    "mass": ("mass", "mact", "massact", "mactual", "actualmass"),
    "phase": ("label", "stage"),
}
# Further columns, of every version of the CMD web page, of MIST and of plain tables. `log_t` is an
# age to some and a temperature to others.
_OTHER = {
    "intimf", "flum", "mcoretp", "mcore", "mhec", "C_O", "C/O", "CO", "period", "pmode",
    "mloss", "mdot", "logmdot", "tau1m", "X", "Xc", "Xn", "Xo", "cexcess", "logr", "lograd",
    "logradius", "rstar", "radius", "teff", "Te", "temperature", "gravity", "grav",
    "luminosity", "lum", "phase", "eep", "starmass", "currentmass", "presentmass", "mcurrent",
    "feh", "fehinit", "fehini", "fehinitial", "mhini", "mhinit", "mhinitial", "zsurf", "xini",
    "yini", "yinit", "alphafe", "afe", "afeinit", "vvcrit", "time", "logt", "logtime",
}  # fmt: skip
# Theory of MIST files, whose names have these beginnings and ends.
_MIST = re.compile(
    r"(log|log10|star|surf|surface|center|burn|max|min|mass_conv)_.*|.*_core_mass"
    r"|total_angular_momentum|v_wind_Km_per_s|v_div_csound_surf|pp|cno|tri_alfa|c12_c12"
    r"|delta_nu|delta_Pg|nu_max|acoustic_cutoff|gradT_excess_alpha|e_thermal"
)
_MEANING = {name: key for key, names in _USED.items() for name in names}
_KNOWN = {*_MEANING, *_OTHER}
_SHORTEST = 3
_YEARS = ("yrs", "yr", "years", "year")
_SOLAR = ("lsun", "msun", "rsun", "lo", "mo", "ro", "l0", "m0", "r0")
_UNITS = ("gyrs", "gyr", "myrs", "myr", *_YEARS, *_SOLAR, "cgs", "dex", "k")
# Units in which a column does not mean what it means without any.
_WRONG = {"log_age": {"gyrs", "gyr", "myrs", "myr"}, "age": {"gyrs", "gyr", "myrs", "myr"}}
_LOG_OF = re.compile(r"log(?:10)?[ _]?[(\[{](.+)[)\]}]", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"(.+?)[ _]?[(\[{]([^()]*)[)\]}]")


def theory_of(name: str) -> str | None:
    """What a column is for a reader, such as ``log_teff``; None for all that it does not use."""
    plain, unit = _plain_and_unit(name)
    key = _MEANING.get(plain)
    return None if key is None or unit in _WRONG.get(key, ()) else key


def is_theory(name: str, names: Sequence[str] = ()) -> bool:
    """Whether a column is known to be no magnitude.

    Parameters
    ----------
    name : str
    names : sequence of str
        All columns: `Y` is helium only beside `X`, alone it is a band.
    """
    if name == "Y":
        return "X" in names
    return _plain_and_unit(name)[0] in _KNOWN or _MIST.fullmatch(name) is not None


def refused_as_band(name: str, names: Sequence[str]) -> bool:
    """Whether nobody can mean a magnitude by this column; of a single letter somebody may."""
    return len(name) > 1 and is_theory(name, names)


def find_meanings(names: Sequence[str]) -> dict[str, int]:
    """Index of the column of each meaning that is there; of several the best."""
    found: dict[str, tuple[int, int]] = {}
    for k, name in enumerate(names):
        key = theory_of(name)
        if key is not None:
            rank = _USED[key].index(plain_name(name))
            found[key] = min(found.get(key, (rank, k)), (rank, k))
    return {key: k for key, (_, k) in found.items()}


def plain_name(name: str) -> str:
    """Return the name without what authors vary."""
    return _plain_and_unit(name)[0]


def _plain_and_unit(name: str) -> tuple[str, str]:
    if name in _KNOWN:
        return name, ""
    text, unit = _without_unit(name.strip())
    plain = re.sub(r"[^a-z0-9]", "", text.lower()).replace("log10", "log")
    plain = re.sub(r"^period\d$", "period", plain)
    if not unit and plain not in _KNOWN:
        # The unit may follow without anything between: `agegyr`.
        unit = next((u for u in _UNITS if plain.endswith(u) and plain[: -len(u)] in _KNOWN), "")
        plain = plain.removesuffix(unit)
    return (plain, unit) if len(plain) >= _SHORTEST else ("", "")


def _without_unit(name: str) -> tuple[str, str]:
    """Name and its unit, which stands in brackets, behind a slash, or at the end."""
    if match := _LOG_OF.fullmatch(name):
        name = "log_" + match.group(1)
    if match := _IN_BRACKETS.fullmatch(name):
        text, unit = match.group(1), match.group(2).strip("/ ").lower()
        if unit in _UNITS:
            return _without_unit(text)[0], unit
    text, _, unit = name.rpartition("/")
    if not text:
        text, _, unit = re.sub(r"[-\s]", "_", name).rpartition("_")
    return (text, unit.lower()) if text and unit.lower() in _UNITS else (name, "")
