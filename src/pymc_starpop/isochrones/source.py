"""Everything that an isochrone grid is made from: theory at every EEP, and photometry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from pymc_starpop.isochrones.bolometric import (
    BolometricPhotometry,
    BolometricTable,
    content_hash,
    reddened,
)
from pymc_starpop.isochrones.bundle import read_bundle
from pymc_starpop.isochrones.mass_spacing import spaced_by_mass
from pymc_starpop.isochrones.nodes import REQUIRED_EEPS, chord_departures
from pymc_starpop.isochrones.tabulated import Photometry, split_bands

BUNDLED_NAME = "MIST v2.5"

# Up to this EEP, the middle of the main sequence (IAMS; Dotter 2016), points are spaced by mass.
LAST_BY_MASS = 353

# The columns of a table of theory.
THEORY = ("log10_mass", "log_teff", "log_g", "log_l")

# Where and how the curvature of isochrones is sampled to choose nodes: optical and infrared bands,
# ages at which clusters are fitted in full, younger ones (pre-main-sequence) with less weight.
SAMPLE_BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3", "2MASS_Ks")
SAMPLE_FEH = (-2.0, -1.0, -0.5, 0.0, 0.25)
SAMPLE_LOG_AGE = (8.0, 8.6, 9.0, 9.4, 9.7, 10.0, 10.25)
SAMPLE_YOUNG_LOG_AGE = (6.8, 7.4)
YOUNG_WEIGHT = 0.3
SAMPLE_MIN_MASS = 0.09  # Msun; less massive stars carry no weight in the likelihoods


@dataclass(frozen=True)
class EepScale:
    """What the numbers of the points along an isochrone mean.

    Attributes
    ----------
    name : str
        Whose numbers they are; "MIST" for those of Dotter (2016).
    main_sequence : int
        Last point whose stars have companions, near the end of the main sequence.
    last : int
        Last point that a likelihood uses.
    key : tuple of int
        Points between which the evolution changes: they stay when nodes are chosen.
    flash : tuple of int or None
        Tip of the red giant branch and start of quiescent helium burning.
    """

    name: str
    main_sequence: int
    last: int
    key: tuple[int, ...] = ()
    flash: tuple[int, int] | None = None


# Dotter (2016, table 2), and 480 as the last primary of a binary from astro-brutus.
MIST_SCALE = EepScale("MIST", 480, 808, REQUIRED_EEPS, (605, 631))


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
        log10 of initial mass (Msun), T_eff (K), gravity (cgs), luminosity (Lsun); NaN in columns
        that the library does not give.
    filled : ndarray of bool (F, A, E)
        True where the source has no model and the value was filled in.
    photometry : BolometricPhotometry, TabulatedPhotometry or CombinedPhotometry
        Turns theory into magnitudes, or holds them.
    bundled : bool
        Whether the data come with the package (pickles then hold only the nodes).
    scale : EepScale
        What the EEPs mean.
    mass_min : float
        Lowest mass (Msun) that every isochrone reaches with points of its own.
    tolerance : float
        How far outside its axes a coordinate may lie to count as on their edge (dex): the ages of
        files are rounded.
    metadata : mapping
        Where the isochrones come from.
    numbers : ndarray (F, A, E), optional
        EEPs of the points where they differ between isochrones: `eep` then only counts the points.
    """

    name: str
    feh: np.ndarray
    log_age: np.ndarray
    eep: np.ndarray
    theory: np.ndarray
    filled: np.ndarray
    photometry: Photometry
    bundled: bool = False
    scale: EepScale = MIST_SCALE
    mass_min: float = 0.1
    tolerance: float = 0.0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    numbers: np.ndarray | None = None

    @cached_property
    def departures(self) -> np.ndarray:
        """Table of chord departures over a sample of the grid, see `nodes.chord_departures`."""
        known = self.photometry.bands
        bands = tuple(band for band in SAMPLE_BANDS if band in known) or known[:4]
        ages = (*SAMPLE_LOG_AGE, *SAMPLE_YOUNG_LOG_AGE)
        feh_index = sorted({int(np.abs(self.feh - feh).argmin()) for feh in SAMPLE_FEH})
        age_index = sorted({int(np.abs(self.log_age - age).argmin()) for age in ages})
        sample = [(i, j) for i in feh_index for j in age_index]
        theory = np.stack([self.theory[i, j] for i, j in sample])
        mag = np.stack([self._magnitudes(bands, i, j) for i, j in sample])
        mass = 10.0 ** theory[..., 0]
        filled = np.stack([self.filled[i, j] for i, j in sample])
        old = np.array([self.log_age[j] >= min(SAMPLE_LOG_AGE) - 0.05 for _, j in sample])
        ignore = filled | (mass < SAMPLE_MIN_MASS)
        return chord_departures(mass, mag, ignore, np.where(old, 1.0, YOUNG_WEIGHT))

    def _magnitudes(self, bands: tuple[str, ...], i: int, j: int) -> np.ndarray:
        """Magnitudes (E, B) at a grid point, in any order of the bands."""
        _, log_teff, log_g, log_l = np.ascontiguousarray(self.theory[i, j].T)
        found = []
        for part, own in split_bands(self.photometry, bands):
            if isinstance(part, BolometricPhotometry):
                coefficients = part.table(own).interpolate(log_teff, log_g, self.feh[i])
                found.append(reddened(coefficients, log_l, 0.0, np.zeros(len(own)))[0])
            else:
                found.append(part.magnitudes[i, j][:, part.index(own)])
        return np.concatenate(found, axis=1)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of axes, theory, photometry and what the EEPs mean."""
        arrays = [self.feh, self.log_age, self.eep, self.theory, self.filled]
        arrays += [] if self.numbers is None else [self.numbers]
        return content_hash(*arrays, self.photometry.fingerprint, self.scale, self.mass_min)


@lru_cache(maxsize=1)
def bundled_source() -> IsochroneSource:
    """The source of the isochrones that come with the package, read once a process."""
    bundle = read_bundle()
    theory, filled, numbers = spaced_by_mass(bundle.theory, bundle.filled, bundle.eep, LAST_BY_MASS)
    table = BolometricTable(
        feh=as_table(bundle.bc_feh),
        log_teff=as_table(bundle.bc_log_teff),
        log_g=as_table(bundle.bc_log_g),
        coefficients=as_table(bundle.bc),
        bands=tuple(bundle.bands),
    )
    photometry = BolometricPhotometry(table, as_table(bundle.wavelength), tuple(bundle.system))
    return IsochroneSource(
        name=BUNDLED_NAME,
        feh=as_table(bundle.feh),
        log_age=as_table(bundle.log_age),
        eep=np.array(bundle.eep, dtype=np.int64),
        theory=as_table(theory),
        filled=np.ascontiguousarray(filled, dtype=bool),
        photometry=photometry,
        bundled=True,
        numbers=as_table(numbers),
    )


def as_table(values: np.ndarray) -> np.ndarray:
    """C-contiguous writable float64: numba compiles a kernel anew for read-only arrays."""
    return np.require(values, dtype=np.float64, requirements=["C", "W", "A"])
