"""Grids of isochrones on fixed EEP nodes, and single isochrones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, SupportsFloat

import numpy as np

from pymc_starpop.isochrones._grid_checks import check_count, check_number
from pymc_starpop.isochrones._grid_tables import GridTables
from pymc_starpop.isochrones.bolometric import (
    TABLE_RV,
    BolometricPhotometry,
)
from pymc_starpop.isochrones.isochrone import Isochrone
from pymc_starpop.isochrones.magnitudes import model_magnitudes
from pymc_starpop.isochrones.nodes import choose_nodes
from pymc_starpop.isochrones.own_bolometric import bolometric_photometry
from pymc_starpop.isochrones.source import THEORY, bundled_source
from pymc_starpop.isochrones.tabulated import (
    CombinedPhotometry,
    Photometry,
)
from pymc_starpop.kernels.interpolation import hermite_weights, interpolate_theory

# Wide around the 2 to 6 of Galactic sight lines (Fitzpatrick & Massa 2007).
RV_RANGE = (1.0, 10.0)


class IsochroneGrid(GridTables):
    """Isochrones over [Fe/H] and age on a fixed set of EEP nodes.

    Made by `load_isochrones` and the readers of files. Interpolation is C1 cubic in [Fe/H] and log
    age at fixed EEP (bundled isochrones: at nearly the same masses up to EEP 353), and in T_eff,
    gravity and [Fe/H] of bolometric corrections.

    Parameters
    ----------
    source : IsochroneSource
        Theory at every EEP and photometry.
    eep : ndarray of int (E,), optional
        Nodes: ascending EEPs of the source. All of them by default.
    """

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
            The points. Up to the middle of the main sequence (EEP 353) those of the bundled
            isochrones have nearly the same masses for every [Fe/H] and age, and `eep` counts them;
            later the same EEPs.

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
        metallicity = check_number("feh", feh, self.feh_range, "dex")
        age = check_number("log_age", log_age, self.log_age_range, "log10(age / yr)")
        extinction = check_number("av", av, self.av_range, "mag")
        ratio = check_number("rv", rv, RV_RANGE, "A_V / E(B - V)")
        bands = self.check_bands(bands)
        value, _, _ = interpolate_theory(metallicity, age, *self.theory_arrays())
        log_mass, log_teff, log_g, log_l = value
        track = model_magnitudes(self, bands, (metallicity, age), (extinction, ratio))
        return Isochrone(
            feh=metallicity,
            log_age=age,
            bands=bands,
            eep=self._eep.copy(),
            initial_mass=10.0**log_mass,
            log_teff=log_teff,
            log_g=log_g,
            log_l=log_l,
            abs_mag=track.mag,
            filled=self._filled_at(metallicity, age),
        )

    def eep_at(self, feh: SupportsFloat, log_age: SupportsFloat) -> np.ndarray:
        """Return the EEPs (E,) at which the points of an isochrone are.

        Up to the middle of the main sequence (EEP 353) points of the bundled isochrones are spaced
        by mass, and lie between EEPs; elsewhere, and of other isochrones, these are `eep`.

        Parameters
        ----------
        feh, log_age : float
            As in `at`.

        Raises
        ------
        ValueError
            For numbers outside the grid.

        Examples
        --------
        >>> import pymc_starpop as psp
        >>> iso = psp.load_isochrones()
        >>> iso.eep[[0, 453]], iso.eep_at(0.0, 9.0)[[0, 453]].round(1)
        (array([  1, 454]), array([188.6, 454. ]))
        """
        metallicity = check_number("feh", feh, self.feh_range, "dex")
        age = check_number("log_age", log_age, self.log_age_range, "log10(age / yr)")
        if self._source.numbers is None:
            return self._eep.astype(np.float64)
        # As departures, of which those after the spaced points are exactly 0.
        departures = self._source.numbers[:, :, self._index, None] - self._eep[:, None]
        axes = self._source.feh, self._source.log_age
        return self._eep + interpolate_theory(metallicity, age, *axes, departures)[0][0]

    def _filled_at(self, feh: float, log_age: float) -> np.ndarray:
        axes = (self._source.feh, feh), (self._source.log_age, log_age)
        # Just outside, within the tolerance of the axes, is their edge.
        (f0, wf, _), (a0, wa, _) = (
            hermite_weights(axis, float(np.clip(x, axis[0], axis[-1]))) for axis, x in axes
        )
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
        count = check_count(nodes)
        source = self._source
        return IsochroneGrid(
            source, choose_nodes(source.eep, source.departures, count, source.scale.key)
        )

    def with_extinction(
        self,
        coefficients: Mapping[str, float] | None = None,
        wavelength: Mapping[str, float] | None = None,
    ) -> "IsochroneGrid":
        """Return the grid with the extinction of tabulated bands.

        A_b/A_V is that of Cardelli, Clayton & Mathis (1989) at an effective wavelength, or
        a number. Bands that bear the name of a bundled one have its wavelength already.

        Parameters
        ----------
        coefficients : mapping, optional
            Band to A_b/A_V at R_V = 3.1.
        wavelength : mapping, optional
            Band to effective wavelength (micron). With coefficients too it gives only how they
            change with R_V.

        Raises
        ------
        ValueError
            For unknown bands, bands with bolometric corrections (which have extinction), and
            values that are no positive numbers.
        """
        coefficients, wavelength = dict(coefficients or {}), dict(wavelength or {})
        groups = self.band_groups(tuple(dict.fromkeys([*coefficients, *wavelength])))
        for part, own in groups:
            if isinstance(part, BolometricPhotometry):
                raise ValueError(
                    f"{', '.join(own)}: the bolometric corrections hold the extinction; leave "
                    "these bands out"
                )
        for band, value in [*coefficients.items(), *wavelength.items()]:
            if not (isinstance(value, int | float | np.number) and 0.0 < value < np.inf):
                raise ValueError(f"{band}: expected a positive number, got {value!r}")

        def renewed(part: Any) -> Any:
            if isinstance(part, BolometricPhotometry):
                return part
            return part.with_extinction(coefficients, wavelength)

        return self._with_photometry([renewed(part) for part in self._source.photometry.parts])

    def with_bolometric(
        self, corrections: Any = None, wavelength: Mapping[str, float] | None = None
    ) -> "IsochroneGrid":
        """Return the grid with bands from bolometric corrections added or put in place of its own.

        Parameters
        ----------
        corrections : optional
            What `read_mist_bc` returns, or an `xarray.DataArray` (or a data set of one) of
            corrections in mag, for M_bol = 4.74 at 1 Lsun, with dimensions ``feh`` (dex),
            ``log_teff`` (K), ``log_g`` (cgs), ``band`` and, for extinction at R_V = 3.1, ``av``
            (mag, from 0; used up to 4). Those that come with the package by default.
        wavelength : mapping, optional
            Band to effective wavelength (micron), for other R_V.

        Returns
        -------
        IsochroneGrid
            Of two bands of one name the new one counts.

        Raises
        ------
        ValueError
            For isochrones without T_eff, gravity and luminosity, and corrections that are not
            complete.

        """
        lacking = [name for name in THEORY[1:] if not self.has_column(name)]
        if lacking:
            raise ValueError(
                f"bolometric corrections need {', '.join(lacking)}, which these isochrones lack"
            )
        new = bolometric_photometry(corrections, wavelength)
        # A part all of whose bands are replaced would count for nothing but its limits.
        kept = [part for part in self._source.photometry.parts if set(part.bands) - set(new.bands)]
        return self._with_photometry([*kept, new])

    def _with_photometry(self, parts: Sequence[Any]) -> "IsochroneGrid":
        photometry: Photometry = parts[0] if len(parts) == 1 else CombinedPhotometry(tuple(parts))
        source = replace(self._source, photometry=photometry, bundled=False)
        return IsochroneGrid(source, self._eep)

    def __repr__(self) -> str:
        feh, age = self._source.feh, self._source.log_age
        return (
            f"<IsochroneGrid {self._source.name}: [Fe/H] {feh[0]:g} to {feh[-1]:g} "
            f"({self._source.feh.size}), log_age {age[0]:g} to {age[-1]:g} "
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
    n_nodes = check_count(n_nodes)
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
