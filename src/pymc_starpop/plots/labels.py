"""Names of bands as they stand on axes."""

__all__ = ["color_label", "mag_label"]

# Prefixes of band names, with what stands for them on an axis.
_SYSTEMS = dict.fromkeys(("Gaia", "2MASS", "SDSS", "Bessell", "WISE")) | {"PS": "Pan-STARRS1"}
_SYMBOLS = {"BP": r"G_\mathrm{BP}", "RP": r"G_\mathrm{RP}", "Ks": r"K_\mathrm{s}"}


def _split_band(band: str) -> tuple[str, str]:
    """Photometric system (may be empty) and symbol of a band, for axis labels."""
    prefix, _, rest = band.partition("_")
    if prefix not in _SYSTEMS or not rest:
        return "", band.replace("_", " ")
    name, _, release = rest.partition("_")
    # EDR3 passbands are those of DR3; older ones are named.
    system = (_SYSTEMS[prefix] or prefix) + (" DR2" if release.startswith("DR2") else "")
    symbol = _SYMBOLS.get(name, name if len(name) == 1 else rf"\mathrm{{{name}}}")
    return system, f"${symbol}$"


def mag_label(band: str) -> str:
    """Return the name of a magnitude."""
    return f"{_band_label(band)} (mag)"


def _band_label(band: str) -> str:
    """Return photometric system and symbol of a band."""
    return " ".join(filter(None, _split_band(band)))


def color_label(blue: str, red: str) -> str:
    """Return the name of a color: symbols alone where both bands are of one system."""
    (system_blue, symbol_blue), (system_red, symbol_red) = _split_band(blue), _split_band(red)
    if system_blue and system_blue == system_red:
        return f"{symbol_blue} $-$ {symbol_red} (mag)"
    return f"{_band_label(blue)} $-$ {_band_label(red)} (mag)"
