"""Grids of isochrones on fixed EEP nodes, and single isochrones."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, SupportsFloat

import numpy as np

from pymc_starpop.isochrones.bolometric import TABLE_RV, BolometricTable, content_hash
from pymc_starpop.isochrones.nodes import choose_nodes
from pymc_starpop.isochrones.source import IsochroneSource, bundled_source
from pymc_starpop.kernels.interpolation import hermite_weights, interpolate_theory

# Wide around the 2 to 6 of Galactic sight lines (Fitzpatrick & Massa 2007).
RV_RANGE = (1.0, 10.0)


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
        Equivalent evolutionary points.
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


class IsochroneGrid:
    """Isochrones over [Fe/H] and age on a fixed set of EEP nodes.

    Made by `load_isochrones`. Interpolation is C1 cubic in [Fe/H] and log age at fixed EEP, and in
    T_eff, gravity and [Fe/H] of the bolometric corrections.

    Parameters
    ----------
    source : IsochroneSource
        Theory at every EEP and photometry.
    eep : ndarray of int (E,), optional
        Nodes: ascending EEPs of the source. All of them by default.
    """

    def __init__(self, source: IsochroneSource, eep: Sequence[int] | np.ndarray | None = None):
        nodes = source.eep if eep is None else _check_nodes(eep, source.eep)
        index = np.searchsorted(source.eep, nodes)
        self._source = source
        self._eep = nodes
        self._theory = np.take(source.theory, index, axis=2)
        self._filled = np.take(source.filled, index, axis=2)
        self._tables: dict[tuple[str, ...], BolometricTable] = {}

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of all bands."""
        return self._source.photometry.bands

    @property
    def feh(self) -> np.ndarray:
        """[Fe/H] of the grid (F,), dex."""
        return _read_only(self._source.feh)

    @property
    def log_age(self) -> np.ndarray:
        """log10(age / yr) of the grid (A,)."""
        return _read_only(self._source.log_age)

    @property
    def eep(self) -> np.ndarray:
        """EEPs of the nodes (E,)."""
        return _read_only(self._eep)

    @property
    def theory(self) -> np.ndarray:
        """log10 of mass (Msun), T_eff (K), gravity (cgs), luminosity (Lsun): (F, A, E, 4)."""
        return _read_only(self._theory)

    @property
    def filled(self) -> np.ndarray:
        """Whether a model is missing in the source and was filled in (F, A, E)."""
        return _read_only(self._filled)

    @property
    def feh_range(self) -> tuple[float, float]:
        """Smallest and largest [Fe/H] (dex)."""
        return float(self._source.feh[0]), float(self._source.feh[-1])

    @property
    def log_age_range(self) -> tuple[float, float]:
        """Smallest and largest log10(age / yr)."""
        return float(self._source.log_age[0]), float(self._source.log_age[-1])

    @property
    def av_range(self) -> tuple[float, float]:
        """Smallest and largest A_V (mag)."""
        return self._source.photometry.av_range

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the grid's content: equal for grids that give equal isochrones."""
        return content_hash(self._source.fingerprint, self._eep)

    @property
    def bolometric_fingerprint(self) -> str:
        """Hash of the photometry alone, the same on any nodes."""
        return self._source.photometry.fingerprint

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
        key = self._source.photometry.check_bands(bands)
        if key not in self._tables:
            self._tables[key] = self._source.photometry.table(key)
        return self._tables[key]

    def rv_slope(self, bands: Sequence[str]) -> np.ndarray:
        """CCM89 slope b (B,) of A_b/A_V in 1/R_V at each band's effective wavelength."""
        return self._source.photometry.rv_slope(bands)

    def at(
        self,
        feh: SupportsFloat,
        log_age: SupportsFloat,
        bands: Sequence[str],
        av: SupportsFloat = 0.0,
        rv: SupportsFloat = TABLE_RV,
    ) -> Isochrone:
        """Interpolate one isochrone: raw models, without empirical corrections.

            M_b = 4.74 - 2.5 log10(L/Lsun) - BC_b(T_eff, log g, [Fe/H], A_V)
                  + A_V b_b (1/R_V - 1/3.1)

        BC_b is the correction at R_V = 3.1 and b_b the slope of Cardelli, Clayton & Mathis (1989).

        Parameters
        ----------
        feh : float
            [Fe/H] (dex), within `feh_range`.
        log_age : float
            log10(age / yr), within `log_age_range`.
        bands : sequence of str
            Names from `bands`, each once.
        av : float
            Extinction A_V (mag), within `av_range`.
        rv : float
            A_V / E(B - V), positive.

        Returns
        -------
        Isochrone
            The points, at the same EEPs for every [Fe/H] and age.

        Raises
        ------
        ValueError
            For numbers outside the grid and for unknown or repeated bands.

        Examples
        --------
        >>> import pymc_starpop as psp
        >>> iso = psp.load_isochrones()
        >>> one = iso.at(feh=0.0, log_age=9.6, bands=["Gaia_G_EDR3", "2MASS_Ks"])
        >>> one.abs_mag.shape == (one.eep.size, 2)
        True
        """
        metallicity = _check_number("feh", feh, self.feh_range, "dex")
        age = _check_number("log_age", log_age, self.log_age_range, "log10(age / yr)")
        extinction = _check_number("av", av, self.av_range, "mag")
        ratio = _check_number("rv", rv, RV_RANGE, "A_V / E(B - V)")
        table = self.bolometric(bands)
        value, _, _ = interpolate_theory(metallicity, age, *self.theory_arrays())
        log_mass, log_teff, log_g, log_l = value
        return Isochrone(
            feh=metallicity,
            log_age=age,
            bands=table.bands,
            eep=self._eep.copy(),
            initial_mass=10.0**log_mass,
            log_teff=log_teff,
            log_g=log_g,
            log_l=log_l,
            abs_mag=self._source.photometry.magnitudes(
                table, log_teff, log_g, log_l, metallicity, extinction, ratio
            ),
            filled=self._filled_at(metallicity, age),
        )

    def _filled_at(self, feh: float, log_age: float) -> np.ndarray:
        f0, wf, _ = hermite_weights(self._source.feh, feh)
        a0, wa, _ = hermite_weights(self._source.log_age, log_age)
        used_feh, used_age = f0 + np.flatnonzero(wf), a0 + np.flatnonzero(wa)
        return self._filled[np.ix_(used_feh, used_age)].any(axis=(0, 1))

    def with_nodes(self, nodes: int | Sequence[int] | np.ndarray | None = None) -> "IsochroneGrid":
        """Return the same grid on other nodes.

        Parameters
        ----------
        nodes : int or sequence of int, optional
            How many nodes to place where isochrones bend, or their ascending EEPs. Every EEP of
            the source by default.

        Returns
        -------
        IsochroneGrid

        Raises
        ------
        ValueError
            If the number or the EEPs cannot be had.

        Examples
        --------
        >>> import pymc_starpop as psp
        >>> psp.load_isochrones().with_nodes(300).eep.size
        300
        """
        if nodes is None:
            return IsochroneGrid(self._source)
        if isinstance(nodes, Sequence | np.ndarray):
            return IsochroneGrid(self._source, nodes)
        count = _check_count(nodes)
        chosen = choose_nodes(self._source.eep, self._source.departures, count)
        return IsochroneGrid(self._source, chosen)

    def __repr__(self) -> str:
        feh, age = self.feh_range, self.log_age_range
        return (
            f"<IsochroneGrid {self._source.name}: [Fe/H] {feh[0]:g} to {feh[1]:g} "
            f"({self._source.feh.size}), log_age {age[0]:g} to {age[1]:g} "
            f"({self._source.log_age.size}), {self._eep.size} nodes (EEP {self._eep[0]} to "
            f"{self._eep[-1]}), {len(self.bands)} bands>"
        )

    def __reduce__(self) -> tuple[Callable[..., "IsochroneGrid"], tuple[Any, ...]]:
        if self._source.bundled:
            return _from_bundle, (self._eep, self.fingerprint)
        return IsochroneGrid, (self._source, self._eep)


def load_isochrones(n_nodes: int | None = None) -> IsochroneGrid:
    """Load the isochrones that come with the package (MIST v2.5; Choi et al. 2016, Dotter 2016).

    Parameters
    ----------
    n_nodes : int, optional
        Number of EEP nodes, placed where isochrones bend; every EEP by default.

    Returns
    -------
    IsochroneGrid

    Raises
    ------
    ValueError
        If n_nodes is too small or larger than the number of EEPs.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> "Gaia_G_EDR3" in psp.load_isochrones().bands
    True
    """
    source = bundled_source()
    if n_nodes is None:
        return IsochroneGrid(source)
    n_nodes = _check_count(n_nodes)
    return IsochroneGrid(source, choose_nodes(source.eep, source.departures, n_nodes))


def _from_bundle(eep: np.ndarray, fingerprint: str) -> IsochroneGrid:
    """Rebuild a pickled grid from the installed data."""
    grid = IsochroneGrid(bundled_source(), eep)
    if grid.fingerprint != fingerprint:
        raise ValueError(
            "this grid was pickled with other bundled isochrones than those installed: "
            "build it anew with load_isochrones(), or install the version that wrote it"
        )
    return grid


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _check_count(n_nodes: Any) -> int:
    try:
        return operator.index(n_nodes)
    except TypeError:
        raise ValueError(f"n_nodes={n_nodes!r}: expected a whole number of nodes") from None


def _check_nodes(eep: Sequence[int] | np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the nodes as int64 after checking that they ascend and exist."""
    nodes = np.asarray(eep)
    if nodes.ndim != 1 or nodes.size < 2 or not np.issubdtype(nodes.dtype, np.integer):
        raise ValueError(
            f"nodes: expected at least two EEPs in a 1-D integer array, got shape {nodes.shape} "
            f"of {nodes.dtype}"
        )
    if np.any(np.diff(nodes) <= 0):
        raise ValueError("nodes: EEPs must ascend without repeats; try numpy.unique(nodes)")
    missing = nodes[~np.isin(nodes, known)]
    if missing.size:
        raise ValueError(
            f"nodes: no EEP {missing[:5].tolist()} in the grid, which has {known[0]} to {known[-1]}"
        )
    return nodes.astype(np.int64)


def _check_number(name: str, value: SupportsFloat, limits: tuple[float, float], unit: str) -> float:
    if np.shape(value) != ():  # type: ignore[call-overload]
        raise ValueError(f"{name}: expected one number, got {value!r}; call once for each")
    number = float(value)
    # Written so that NaN fails too.
    if not limits[0] <= number <= limits[1]:
        raise ValueError(
            f"{name}={number:g} is outside the grid: expected {limits[0]:g} to {limits[1]:g} {unit}"
        )
    return number
