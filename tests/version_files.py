"""Files of MIST, PARSEC and BaSTI with columns and headers of every version."""

import gzip

import numpy as np

from isochrone_files import BASTI, write_mist

BANDS = ("Bessell_V", "Bessell_I")
FEH, AGE = 0.0, 9.5
# Values of columns that are no magnitudes: most could not be one.
OTHER = {
    "int_IMF": 2.1, "M_hec": 0.0, "C/O": 0.55, "C_O": 0.55, "McoreTP": 0.0, "period": 0.0,
    "period0": 300.0, "period1": 150.0, "pmode": -1, "logMdot": -33.0, "Mloss": 0.0, "tau1m": 0.0,
    "X": 0.7, "Y": 0.28, "Xc": 0.002, "Xn": 0.0007, "Xo": 0.006, "Cexcess": -1.0, "flum": -0.5,
    "Flum": -0.5, "logR": -0.2, "mbol": 4.7, "Mbol": 4.7, "mbolmag": 4.7, "Zini": 0.0152,
    "Z": 0.0152, "MH": FEH, "[M/H]": FEH,
}  # fmt: skip
CMD_3_7 = (
    "Zini MH logAge Mini int_IMF Mass logL logTe logg label McoreTP C_O period0 period1 pmode "
    "Mloss tau1m X Y Xc Xn Xo Cexcess Z mbolmag Vmag Imag"
)
CMD_3_0 = (
    "Zini Age Mini Mass logL logTe logg label McoreTP C_O period0 period1 pmode Mloss tau1m X Y Xc "
    "Xn Xo Cexcess Z mbolmag Vmag Imag"
)
CMD_2_8 = (
    "Z log(age/yr) M_ini M_act logL/Lo logTe logG mbol V I C/O M_hec period pmode logMdot int_IMF "
    "stage"
)
CMD_2_1 = "log(age/yr) M_ini M_act logL/Lo logTe logG mbol V I C/O M_hec period pmode logMdot"
PADOVA_2002 = "log(age/yr) M_ini M_act logL/Lo logTe logG Mbol V I Flum"
PLAIN = "m_ini age logR Teff logL V I"


def star_columns(iso):
    """One isochrone, without the rows between the flash and the horizontal branch."""
    one = iso.at(FEH, AGE, BANDS)
    keep = (one.initial_mass > 0.1) & ((one.eep <= 605) | (one.eep >= 631))
    keep[1:] &= np.diff(one.initial_mass) > 0.0
    label = np.select([one.eep < 454, one.eep < 490, one.eep <= 605, one.eep <= 707], [1, 2, 3, 4])
    mass = one.initial_mass
    columns = {
        **dict.fromkeys(("Mini", "M_ini", "m_ini", "Mass", "M_act"), mass),
        **dict.fromkeys(("logL", "logL/Lo"), one.log_l), "logTe": one.log_teff,
        **dict.fromkeys(("logg", "logG"), one.log_g), "Teff": 10.0**one.log_teff,
        **dict.fromkeys(("label", "stage"), np.where(label == 0, 7, label)),
        **dict.fromkeys(("V", "Vmag"), one.abs_mag[:, 0]),
        **dict.fromkeys(("I", "Imag"), one.abs_mag[:, 1]),
        **dict.fromkeys(("logAge", "log(age/yr)"), np.full(mass.size, AGE)),
        **dict.fromkeys(("Age", "age"), np.full(mass.size, 10.0**AGE)),
    }  # fmt: skip
    columns |= {name: np.full(mass.size, value) for name, value in OTHER.items()}
    return {name: values[keep] for name, values in columns.items()}


def write(path, star, names, comments=(), separator=" ", **changes):
    columns = star | {name: np.broadcast_to(v, star["Mini"].shape) for name, v in changes.items()}
    names = names.split()
    lines = [f"# {text}" for text in comments] + [separator.join(names)]
    for row in zip(*(columns[name] for name in names), strict=True):
        lines.append(separator.join(f"{value:.9g}" for value in row))
    path.write_text("\n".join(lines) + "\n")
    return path


def mist_files(iso, folder, **changes):
    """Two files of MIST, the second with other words in its header."""
    paths = [
        write_mist(folder / f"{k}.iso.cmd", iso, FEH, [9.5 + 0.1 * k], BANDS) for k in range(2)
    ]
    text = paths[1].read_text()
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    paths[1].write_text(text)
    return paths


def without(path, words):
    kept = [line for line in path.read_text().split("\n") if words not in line]
    path.write_text("\n".join(kept))


def basti_file(shared_data, path, **changes):
    text = gzip.decompress((shared_data / BASTI).read_bytes()).decode("latin-1")
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path
