"""Everything that an isochrone grid is made from: theory at every EEP, and photometry."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from pymc_starpop.isochrones.bolometric import (
    TABLE_RV,
    BolometricPhotometry,
    BolometricTable,
    content_hash,
)
from pymc_starpop.isochrones.bundle import read_bundle
from pymc_starpop.isochrones.nodes import chord_departures

BUNDLED_NAME = "MIST v2.5"

# Where and how the curvature of isochrones is sampled to choose nodes: optical and infrared bands,
# ages at which clusters are fitted in full, younger ones (pre-main-sequence) with less weight.
SAMPLE_BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3", "2MASS_Ks")
SAMPLE_FEH = (-2.0, -1.0, -0.5, 0.0, 0.25)
SAMPLE_LOG_AGE = (8.0, 8.6, 9.0, 9.4, 9.7, 10.0, 10.25)
SAMPLE_YOUNG_LOG_AGE = (6.8, 7.4)
YOUNG_WEIGHT = 0.3
SAMPLE_MIN_MASS = 0.09  # Msun; less massive stars carry no weight in the likelihoods


@dataclass(frozen=True, eq=False)
class IsochroneSource:
    """Theory at every EEP of a grid, with its photometry.

    Attributes
    ----------
    name : str
        What the grid is called in messages.
    feh, log_age : ndarray (F,), (A,)
        Ascending axes: [Fe/H] (dex) and log10(age / yr).
    eep : ndarray of int (E,)
        Equivalent evolutionary points.
    theory : ndarray (F, A, E, 4)
        log10 of initial mass (Msun), T_eff (K), gravity (cgs), luminosity (Lsun).
    filled : ndarray of bool (F, A, E)
        True where the source has no model and the value was filled in.
    photometry : BolometricPhotometry
        Turns theory into magnitudes.
    bundled : bool
        Whether the data come with the package (pickles then hold only the nodes).
    """

    name: str
    feh: np.ndarray
    log_age: np.ndarray
    eep: np.ndarray
    theory: np.ndarray
    filled: np.ndarray
    photometry: BolometricPhotometry
    bundled: bool = False

    @cached_property
    def departures(self) -> np.ndarray:
        """Table of chord departures over a sample of the grid, see `nodes.chord_departures`."""
        bands = [band for band in SAMPLE_BANDS if band in self.photometry.bands]
        table = self.photometry.table(bands or self.photometry.bands[:4])
        ages = (*SAMPLE_LOG_AGE, *SAMPLE_YOUNG_LOG_AGE)
        feh_index = sorted({int(np.abs(self.feh - feh).argmin()) for feh in SAMPLE_FEH})
        age_index = sorted({int(np.abs(self.log_age - age).argmin()) for age in ages})
        sample = [(i, j) for i in feh_index for j in age_index]
        theory = np.stack([self.theory[i, j] for i, j in sample])
        mag = np.stack([self._magnitudes(table, i, j) for i, j in sample])
        mass = 10.0 ** theory[..., 0]
        filled = np.stack([self.filled[i, j] for i, j in sample])
        old = np.array([self.log_age[j] >= min(SAMPLE_LOG_AGE) - 0.05 for _, j in sample])
        ignore = filled | (mass < SAMPLE_MIN_MASS)
        return chord_departures(mass, mag, ignore, np.where(old, 1.0, YOUNG_WEIGHT))

    def _magnitudes(self, table: BolometricTable, i: int, j: int) -> np.ndarray:
        _, log_teff, log_g, log_l = np.ascontiguousarray(self.theory[i, j].T)
        return self.photometry.magnitudes(
            table, log_teff, log_g, log_l, self.feh[i], av=0.0, rv=TABLE_RV
        )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of axes, theory and photometry."""
        arrays = (self.feh, self.log_age, self.eep, self.theory, self.filled)
        return content_hash(*arrays, self.photometry.fingerprint)


@lru_cache(maxsize=1)
def bundled_source() -> IsochroneSource:
    """The source of the isochrones that come with the package, read once a process."""
    bundle = read_bundle()
    table = BolometricTable(
        feh=_array(bundle.bc_feh),
        log_teff=_array(bundle.bc_log_teff),
        log_g=_array(bundle.bc_log_g),
        coefficients=_array(bundle.bc),
        bands=tuple(bundle.bands),
    )
    photometry = BolometricPhotometry(table, _array(bundle.wavelength), tuple(bundle.system))
    return IsochroneSource(
        name=BUNDLED_NAME,
        feh=_array(bundle.feh),
        log_age=_array(bundle.log_age),
        eep=np.array(bundle.eep, dtype=np.int64),
        theory=_array(bundle.theory),
        filled=np.ascontiguousarray(bundle.filled, dtype=bool),
        photometry=photometry,
        bundled=True,
    )


def _array(values: np.ndarray) -> np.ndarray:
    """C-contiguous writable float64: numba compiles a kernel anew for read-only arrays."""
    return np.require(values, dtype=np.float64, requirements=["C", "W", "A"])
