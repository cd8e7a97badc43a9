"""What an isochrone grid holds: axes, nodes, tables for kernels and Ops, defaults."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from pymc_starpop.isochrones._grid_checks import check_nodes, read_only
from pymc_starpop.isochrones.bolometric import (
    TABLE_RV,
    BolometricPhotometry,
    BolometricTable,
    content_hash,
)
from pymc_starpop.isochrones.source import THEORY, IsochroneSource, as_table
from pymc_starpop.isochrones.tabulated import TabulatedPhotometry, check_extinction, split_bands


class GridTables:
    """The tables of `IsochroneGrid`, which adds what users do with them."""

    def __init__(self, source: IsochroneSource, eep: Sequence[int] | np.ndarray | None = None):
        nodes = source.eep if eep is None else check_nodes(eep, source.eep)
        index = np.searchsorted(source.eep, nodes)
        self._source = source
        self._eep = nodes
        self._theory = np.take(source.theory, index, axis=2)
        self._filled = np.take(source.filled, index, axis=2)
        self._index = index
        self._tables: dict[tuple[str, ...], BolometricTable] = {}
        self._columns: dict[tuple[str, ...], np.ndarray] = {}

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of all bands."""
        return self._source.photometry.bands

    @property
    def feh(self) -> np.ndarray:
        """[Fe/H] of the grid (F,), dex."""
        return read_only(self._source.feh)

    @property
    def log_age(self) -> np.ndarray:
        """log10(age / yr) of the grid (A,)."""
        return read_only(self._source.log_age)

    @property
    def eep(self) -> np.ndarray:
        """Numbers of the nodes (E,): their EEPs, after the middle of the main sequence (353).

        Before it nodes of the bundled isochrones are spaced by mass, and only counted:
        `IsochroneGrid.at` has their EEPs.
        """
        return read_only(self._eep)

    @property
    def theory(self) -> np.ndarray:
        """log10 of mass (Msun), T_eff (K), gravity (cgs), luminosity (Lsun): (F, A, E, 4)."""
        return read_only(self._theory)

    @property
    def filled(self) -> np.ndarray:
        """Whether a model is missing in the source and was filled in (F, A, E)."""
        return read_only(self._filled)

    @property
    def feh_range(self) -> tuple[float, float]:
        """Smallest and largest [Fe/H] (dex)."""
        return self._range(self._source.feh)

    @property
    def log_age_range(self) -> tuple[float, float]:
        """Smallest and largest log10(age / yr)."""
        return self._range(self._source.log_age)

    def _range(self, axis: np.ndarray) -> tuple[float, float]:
        return float(axis[0] - self._source.tolerance), float(axis[-1] + self._source.tolerance)

    @property
    def mass_min(self) -> float:
        """Lowest initial mass (Msun) that every isochrone reaches with points of its own."""
        return self._source.mass_min

    @property
    def eep_max_default(self) -> int:
        """Last EEP that a likelihood uses unless told otherwise."""
        return self._node_up_to(self._source.scale.last)

    @property
    def main_sequence_eep(self) -> int:
        """Last EEP whose stars have companions in a likelihood unless told otherwise."""
        return self._node_up_to(self._source.scale.main_sequence)

    @property
    def flash_eeps(self) -> tuple[int, int] | None:
        """Tip of the red giant branch and start of quiescent helium burning; None if not known."""
        return self._source.scale.flash

    @property
    def has_mist_eeps(self) -> bool:
        """Whether EEPs are numbered as those of MIST (Dotter 2016)."""
        return self._source.scale.name == "MIST"

    @property
    def option_defaults(self) -> dict[str, Any]:
        """Options of the likelihoods whose defaults depend on the isochrones."""
        return {
            "mass_min": max(0.1, self.mass_min),
            "eep_max": self.eep_max_default,
            "binary_eep_max": self.main_sequence_eep,
        }

    def _node_up_to(self, eep: int) -> int:
        """Last node up to an EEP, or that EEP where it would be the first."""
        below = self._eep[self._eep <= eep]
        return int(below[-1]) if below.size else int(self._eep[0])

    @property
    def system(self) -> dict[str, str]:
        """Photometric system of each band."""
        return dict(zip(self.bands, self._source.photometry.system, strict=True))

    @property
    def metadata(self) -> dict[str, Any]:
        """Where the isochrones come from."""
        return dict(self._source.metadata)

    @property
    def av_range(self) -> tuple[float, float]:
        """Smallest and largest A_V (mag)."""
        return self._source.photometry.av_range

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the grid's content: equal for grids that give equal isochrones."""
        return content_hash(self._source.fingerprint, self._eep)

    def theory_arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """[Fe/H] axis, log age axis and theory table as kernels take them: do not write into."""
        return self._source.feh, self._source.log_age, self._theory

    def bolometric(self, bands: Sequence[str]) -> BolometricTable:
        """Return the table of bolometric corrections in `bands`.

        Parameters
        ----------
        bands : sequence of str
            Names from `bands`, each once.

        Raises
        ------
        ValueError
            For an unknown or repeated band.

        Examples
        --------
        >>> import pymc_starpop as psp
        >>> psp.load_isochrones().bolometric(["2MASS_J"]).coefficients.shape[3:]
        (1, 4)
        """
        part, key = self._bolometric_part(bands)
        if key not in self._tables:
            self._tables[key] = part.table(key)
        return self._tables[key]

    def bolometric_fingerprint(self, bands: Sequence[str]) -> str:
        """Hash of the photometry alone that `bands` have, the same on any nodes."""
        return self._bolometric_part(bands)[0].fingerprint

    def _bolometric_part(
        self, bands: Sequence[str]
    ) -> tuple[BolometricPhotometry, tuple[str, ...]]:
        groups = self.band_groups(bands)
        part, own = groups[0]
        if len(groups) > 1 or not isinstance(part, BolometricPhotometry):
            raise ValueError(
                f"bands: {', '.join(bands)} are not all from one table of bolometric corrections; "
                "iso.at gives magnitudes in any bands"
            )
        return part, own

    def check_bands(self, bands: Sequence[str]) -> tuple[str, ...]:
        """Return the bands as a tuple after checking that they exist and differ."""
        return self._source.photometry.check_bands(bands)

    def check_extinction(self, bands: Sequence[str], av: Any, rv: Any = TABLE_RV) -> None:
        """Refuse an A_V or an R_V in bands where the isochrones know no extinction.

        Raises
        ------
        ValueError
            Naming the bands, and what to give.
        """
        for part, own in self.band_groups(bands):
            check_extinction(part, own, av, rv)

    def band_groups(
        self, bands: Sequence[str]
    ) -> list[tuple[BolometricPhotometry | TabulatedPhotometry, tuple[str, ...]]]:
        """Return each part of the photometry that gives some of the bands, with these bands."""
        return split_bands(self._source.photometry, bands)

    def rv_slope(self, bands: Sequence[str]) -> np.ndarray:
        """CCM89 slope b (B,) of A_b/A_V in 1/R_V at each band's effective wavelength."""
        slopes = {
            band: slope
            for part, own in self.band_groups(bands)
            for band, slope in zip(own, part.rv_slope(own), strict=True)
        }
        return np.array([slopes[band] for band in bands])

    def effective_wavelength(self, bands: Sequence[str]) -> np.ndarray:
        """Effective wavelength (B,) of each band, micron; NaN where it is not known."""
        known = {
            band: part.wavelength[part.bands.index(band)]
            for part, own in self.band_groups(bands)
            if isinstance(part, BolometricPhotometry)
            for band in own
        }
        return np.array([known.get(band, np.nan) for band in bands])

    def has_column(self, name: str) -> bool:
        """Whether the library gives a column of `theory`: log10_mass, log_teff, log_g or log_l."""
        return bool(np.isfinite(self._theory[0, 0, 0, THEORY.index(name)]))

    def column_arrays(self, columns: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """[Fe/H] axis, log age axis and the named columns (F, A, E, Q) as kernels take them.

        Parameters
        ----------
        columns : tuple of str
            Of log10_mass, log_teff, log_g and log_l, then tabulated bands. Do not write into them.
        """
        if columns == THEORY:
            return self.theory_arrays()
        if columns not in self._columns:
            self._columns[columns] = self._make_columns(columns)
        return self._source.feh, self._source.log_age, self._columns[columns]

    def _make_columns(self, columns: tuple[str, ...]) -> np.ndarray:
        theory = [THEORY.index(name) for name in columns if name in THEORY]
        bands = columns[len(theory) :]
        tables = [self._theory[..., theory]]
        for part, own in self.band_groups(bands) if bands else []:
            assert isinstance(part, TabulatedPhotometry)
            at_nodes = np.take(part.magnitudes, self._index, axis=2)
            tables.append(at_nodes[..., part.index(own)])
        return as_table(np.concatenate(tables, axis=3))
