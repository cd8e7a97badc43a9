"""The isochrones that come with the package, as arrays."""

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

__all__ = ["Bundle", "read_bundle"]

BUNDLE_FILE = "mist_v2.5_vvcrit0.4.npz"

# What the build script keeps of the source. Below [Fe/H] = -2.5 the source has holes.
FEH = (-2.5, -2.0, -1.75, -1.5, -1.25, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5)
LOG_AGE_MIN = 6.5
LAST_EEP = 808
# Numbers are stored as whole steps: of log10 mass, log10 T_eff, log10 g, log10 L (dex) ...
THEORY_STEPS = (2e-8, 2e-6, 1e-5, 4e-6)
# ... and of bolometric corrections (mag), at these values of A_V.
MAG_STEP = 1e-4
AV_NODES = (0.0, 1.0, 2.5, 4.0)


@dataclass(frozen=True, eq=False)
class Bundle:
    """Theory and bolometric corrections on their grids, float64.

    Attributes
    ----------
    feh, log_age, eep : (F,), (A,), (E,)
        [Fe/H] (dex), log10(age / yr), equivalent evolutionary points 1 to 808.
    theory : (F, A, E, 4)
        log10 of initial mass (Msun), T_eff (K), surface gravity (cgs) and luminosity (Lsun).
    filled : (F, A, E)
        True where the theory is not the source's: no model there, or one that was moved in EEP.
    bc_feh, bc_log_teff, bc_log_g : (Fb,), (T,), (G,)
        Axes of the bolometric corrections.
    bc : (Fb, T, G, B, 4)
        Coefficients of BC(A_V) = sum_p bc[..., p] A_V^p, for A_V of 0 to 4 mag at R_V = 3.1.
    bands, system, wavelength : (B,)
        Names, zero points ("Vega" or "AB") and effective wavelengths (micron).
    """

    feh: np.ndarray
    log_age: np.ndarray
    eep: np.ndarray
    theory: np.ndarray
    filled: np.ndarray
    bc_feh: np.ndarray
    bc_log_teff: np.ndarray
    bc_log_g: np.ndarray
    bc: np.ndarray
    bands: tuple[str, ...]
    system: tuple[str, ...]
    wavelength: np.ndarray


@cache
def read_bundle() -> Bundle:
    """Read the bundled MIST v2.5 isochrones, once in a process.

    Examples
    --------
    >>> read_bundle().theory.shape
    (12, 77, 808, 4)
    """
    path = resources.files("pymc_starpop.data") / BUNDLE_FILE
    with path.open("rb") as file, np.load(file) as data:
        arrays = {name: data[name] for name in data.files}
    shape = (arrays["feh"].size, arrays["log_age"].size, LAST_EEP)
    theory = np.empty((*shape, len(THEORY_STEPS)))
    for k, step in enumerate(THEORY_STEPS):
        whole = np.cumsum(_join_bytes(arrays[f"theory_{k}"]).reshape(shape), axis=2, dtype=np.int64)
        theory[..., k] = step * whole
    bands = tuple(str(band) for band in arrays["bands"])
    box = [arrays[name].size for name in ("bc_feh", "bc_log_teff", "bc_log_g")]
    whole = _join_bytes(arrays["bc"]).reshape(len(bands), len(AV_NODES), *box)
    whole = np.cumsum(np.cumsum(whole, axis=3, dtype=np.int32), axis=1, dtype=np.int32)
    # From values at four A_V to the coefficients of the cubic through them.
    to_coefficients = MAG_STEP * np.linalg.inv(np.vander(AV_NODES, increasing=True))
    bc = np.einsum("pa,baftg->ftgbp", to_coefficients, whole.astype(np.float64), optimize=True)
    return Bundle(
        feh=arrays["feh"],
        log_age=arrays["log_age"],
        eep=np.arange(1, LAST_EEP + 1),
        theory=theory,
        filled=np.unpackbits(arrays["filled"], count=int(np.prod(shape))).reshape(shape) == 1,
        bc_feh=arrays["bc_feh"],
        bc_log_teff=arrays["bc_log_teff"],
        bc_log_g=arrays["bc_log_g"],
        bc=np.ascontiguousarray(bc),
        bands=bands,
        system=tuple(str(system) for system in arrays["system"]),
        wavelength=arrays["wavelength"],
    )


def _join_bytes(planes: np.ndarray) -> np.ndarray:
    """Undo `split_bytes` of the build script."""
    size = planes.shape[0]
    return np.ascontiguousarray(planes.T).view(np.dtype(f"<i{size}")).ravel()
