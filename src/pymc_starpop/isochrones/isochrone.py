"""One isochrone of a grid."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Isochrone"]


@dataclass(frozen=True, eq=False)
class Isochrone:
    """One isochrone: E points of one [Fe/H] and age, by increasing EEP.

    Attributes
    ----------
    feh, log_age : float
        [Fe/H] (dex) and log10(age / yr).
    bands : tuple of str
        The B bands of `abs_mag`.
    eep : ndarray of int (E,)
        Equivalent evolutionary points. Of bundled isochrones the numbers before 353 only count
        points, which are spaced by mass: `IsochroneGrid.eep_at` has their EEPs.
    initial_mass : ndarray (E,)
        Initial mass (Msun).
    log_teff, log_g, log_l : ndarray (E,)
        log10 of T_eff (K), surface gravity (cgs) and luminosity (Lsun).
    abs_mag : ndarray (E, B)
        Absolute magnitudes, reddened by the A_V that was asked for.
    filled : ndarray of bool (E,)
        True where a grid point without a model of its own enters the interpolation.
    """

    feh: float
    log_age: float
    bands: tuple[str, ...]
    eep: np.ndarray
    initial_mass: np.ndarray
    log_teff: np.ndarray
    log_g: np.ndarray
    log_l: np.ndarray
    abs_mag: np.ndarray
    filled: np.ndarray

    def __len__(self) -> int:
        return self.eep.size

    def __repr__(self) -> str:
        return (
            f"<Isochrone [Fe/H]={self.feh:g}, log_age={self.log_age:g}: {len(self)} points, "
            f"{self.initial_mass.min():.3g} to {self.initial_mass.max():.3g} Msun, "
            f"bands {', '.join(self.bands)}>"
        )
