# /// script
# requires-python = ">=3.12"
# dependencies = ["h5py", "numpy"]
# ///
"""Build the bundled isochrones: MIST v2.5 theory and bolometric corrections in one small file.

The sources are files inside two packages of the Python Package Index:

    python -m pip download --no-deps lachesis-grids==0.0.9 astrolachesis==1.0.9

Unpack both wheels (they are zip files) and run

    python -m pymc_starpop.data.build_isochrones \
        --theory lachesis_grids/grids/mist_v2.5_vvcrit0.4.h5 \
        --bolometric lachesis/Datafiles/BC_tables/bc_tables.h5

The result is the same to the last byte every time (another version of liblzma may pack the same
arrays into other bytes). What is repaired and how numbers are rounded is said in PROVENANCE.md and
tested in tests/isochrones/test_bundle.py.
"""

import argparse
import io
import zipfile
from pathlib import Path

import numpy as np

from pymc_starpop.data.fill_theory import complete
from pymc_starpop.isochrones.bundle import (
    AV_NODES,
    BUNDLE_FILE,
    FEH,
    LAST_EEP,
    LOG_AGE_MIN,
    MAG_STEP,
    THEORY_STEPS,
)

# Band, effective wavelength (micron), zero point. Wavelengths only scale the dependence of
# extinction on R_V; their sources are in PROVENANCE.md.
BANDS = {
    "UBVRIplus": (
        ("Bessell_U", 0.3663, "Vega"),
        ("Bessell_B", 0.4361, "Vega"),
        ("Bessell_V", 0.5448, "Vega"),
        ("Bessell_R", 0.6407, "Vega"),
        ("Bessell_I", 0.7980, "Vega"),
        ("2MASS_J", 1.235, "Vega"),
        ("2MASS_H", 1.662, "Vega"),
        ("2MASS_Ks", 2.159, "Vega"),
        ("Kepler_Kp", 0.6400, "Vega"),
        ("Tycho_B", 0.4220, "Vega"),
        ("Tycho_V", 0.5350, "Vega"),
        ("Gaia_G_DR2Rev", 0.5836, "Vega"),
        ("Gaia_BP_DR2Rev", 0.5021, "Vega"),
        ("Gaia_RP_DR2Rev", 0.7589, "Vega"),
        ("TESS", 0.7865, "Vega"),
        ("Gaia_G_EDR3", 0.5822, "Vega"),
        ("Gaia_BP_EDR3", 0.5036, "Vega"),
        ("Gaia_RP_EDR3", 0.7620, "Vega"),
    ),
    "SDSSugriz": (
        ("SDSS_u", 0.3551, "AB"),
        ("SDSS_g", 0.4686, "AB"),
        ("SDSS_r", 0.6166, "AB"),
        ("SDSS_i", 0.7480, "AB"),
        ("SDSS_z", 0.8932, "AB"),
    ),
    "PanSTARRS": (
        ("PS_g", 0.481, "AB"),
        ("PS_r", 0.617, "AB"),
        ("PS_i", 0.752, "AB"),
        ("PS_z", 0.866, "AB"),
        ("PS_y", 0.962, "AB"),
    ),
    "WISE": (
        ("WISE_W1", 3.3526, "Vega"),
        ("WISE_W2", 4.6028, "Vega"),
        ("WISE_W3", 11.5608, "Vega"),
        ("WISE_W4", 22.0883, "Vega"),
    ),
}

_COLUMNS = ("initial_mass", "log_Teff", "log_g", "log_L")


def read_theory(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Log ages (A,) and columns (F, A, E, 4) at the wanted nodes, NaN where there is no model."""
    import h5py

    with h5py.File(path) as file:
        names = [n.decode() if isinstance(n, bytes) else str(n) for n in file.attrs["columns"]]
        feh, age = file["feh_values"][:], file["age_values"][:]
        length, first = file["lengths"][:], file["offsets"][:]
        values = file["values"][:].astype(np.float64)
    start = np.concatenate([[0], np.cumsum(length)[:-1]])
    column = [names.index(name) for name in _COLUMNS]
    keep_age = np.flatnonzero(age > LOG_AGE_MIN - 1e-6)
    theory = np.full((len(FEH), keep_age.size, LAST_EEP, 4), np.nan)
    for i, wanted in enumerate(FEH):
        f = int(np.flatnonzero(feh == wanted)[0])
        for j, a in enumerate(keep_age):
            row = f * age.size + a
            block = values[start[row] : start[row] + length[row]][:, column]
            eep = first[row] + np.arange(length[row])
            inside = eep <= LAST_EEP
            theory[i, j, eep[inside] - 1] = block[inside]
    theory[..., 0] = np.log10(theory[..., 0])
    return age[keep_age], theory


def read_bolometric(path: Path, theory: np.ndarray) -> dict[str, np.ndarray]:
    """Axes and BC at the nodes in A_V (Fb, T, G, B, 4) for the atmospheres the theory visits."""
    import h5py

    with h5py.File(path) as file:
        sample = file["UBVRIplus/data"][0].astype(np.float64)
        feh_axis = file["UBVRIplus/feh_values"][:]
        teff, log_g, av = (np.unique(sample[:, k]) for k in (0, 1, 3))
        tables = []
        for system, bands in BANDS.items():
            names = [n.decode() for n in file[f"{system}/band_names"][:]]
            data = file[f"{system}/data"][:].astype(np.float64)
            box = np.empty((len(feh_axis), teff.size, log_g.size, av.size, len(names)))
            for f, rows in enumerate(data):
                at = [
                    np.searchsorted(axis, rows[:, k])
                    for axis, k in ((teff, 0), (log_g, 1), (av, 3))
                ]
                box[f, at[0], at[1], at[2]] = rows[:, 5:]
            tables.append(box[..., [names.index(band) for band, _, _ in bands]])
    table = np.concatenate(tables, axis=-1)
    keep_feh = slice(np.searchsorted(feh_axis, FEH[0]) - 1, np.searchsorted(feh_axis, FEH[-1]) + 2)
    keep_t = _around(np.log10(teff), theory[..., 1])
    keep_g = _around(log_g, theory[..., 2])
    table = table[keep_feh, keep_t, keep_g]
    return {
        "bc_feh": feh_axis[keep_feh],
        "bc_log_teff": np.log10(teff[keep_t]),
        "bc_log_g": log_g[keep_g],
        "bc": fit_av(table, av),
    }


def _around(axis: np.ndarray, values: np.ndarray) -> slice:
    """Range of the axis that holds all values, with one more node at either end."""
    first = np.searchsorted(axis, values.min(), side="right") - 1
    last = np.searchsorted(axis, values.max())
    return slice(max(int(first) - 1, 0), min(int(last) + 2, axis.size))


def fit_av(table: np.ndarray, av: np.ndarray) -> np.ndarray:
    """Values at AV_NODES of cubics through BC(A_V), exact at A_V = 0; table (F, T, G, A, B).

    Weights that grow with A_V make the error about the same everywhere up to A_V = 4.
    """
    use = (av > 0.0) & (av <= 4.0)
    design = np.vander(av[use], 4, increasing=True)[:, 1:]
    weight = np.sqrt(np.gradient(av[use]))[:, None]
    inverse = np.linalg.pinv(weight * design) * weight.T
    zero = table[..., 0, :]
    rest = np.moveaxis(table[..., use, :], -2, 0) - zero
    coefficients = np.tensordot(inverse, rest, axes=1)
    powers = np.vander(np.asarray(AV_NODES), 4, increasing=True)[:, 1:]
    at_nodes = zero + np.tensordot(powers, coefficients, axes=1)
    return np.moveaxis(at_nodes, 0, -1)


def to_steps(values: np.ndarray, step: float, axis: int) -> np.ndarray:
    """Whole numbers of `step`, as differences along an axis, which compress well."""
    whole = np.rint(values / step).astype(np.int64)
    difference = np.diff(whole, axis=axis, prepend=0)
    for kind in (np.int16, np.int32):
        if np.abs(difference).max() <= np.iinfo(kind).max:
            return difference.astype(kind)
    raise ValueError(f"differences up to {np.abs(difference).max()} do not fit 32 bits")


def split_bytes(values: np.ndarray) -> np.ndarray:
    """First all low bytes, then the higher ones: equal bytes lie together."""
    return values.view(np.uint8).reshape(-1, values.itemsize).T.copy()


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a compressed npz file whose bytes depend on the arrays alone."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array))
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_LZMA
            archive.writestr(entry, buffer.getvalue())


def build(theory_path: Path, bolometric_path: Path, output: Path) -> None:
    """Read both sources, repair, round and write."""
    log_age, theory = read_theory(theory_path)
    theory, filled = complete(theory, np.asarray(FEH))
    if not np.isfinite(theory).all() or (np.diff(theory[..., 0], axis=2) < 0.0).any():
        raise ValueError(f"{theory_path}: not complete or mass falls along EEP; another version?")
    bolometric = read_bolometric(bolometric_path, theory)
    arrays = {
        "log_age": np.round(log_age, 6),
        "feh": np.asarray(FEH),
        "filled": np.packbits(filled),
        "bc_feh": bolometric["bc_feh"],
        "bc_log_teff": bolometric["bc_log_teff"],
        "bc_log_g": bolometric["bc_log_g"],
        "bands": np.array([band for group in BANDS.values() for band, _, _ in group]),
        "wavelength": np.array([w for group in BANDS.values() for _, w, _ in group]),
        "system": np.array([s for group in BANDS.values() for _, _, s in group]),
    }
    for k, step in enumerate(THEORY_STEPS):
        steps = to_steps(theory[..., k], step, axis=2)
        arrays[f"theory_{k}"] = split_bytes(steps)
    bc = bolometric["bc"]
    # Differences between the nodes in A_V first: they are small and smooth.
    steps = np.diff(np.rint(bc / MAG_STEP).astype(np.int64), axis=-1, prepend=0)
    steps = np.diff(np.moveaxis(steps, [3, 4], [0, 1]), axis=3, prepend=0).astype(np.int32)
    arrays["bc"] = split_bytes(steps)
    write(output, arrays)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--theory", type=Path, required=True)
    parser.add_argument("--bolometric", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name(BUNDLE_FILE))
    options = parser.parse_args()
    build(options.theory, options.bolometric, options.output)
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.2f} MB")
