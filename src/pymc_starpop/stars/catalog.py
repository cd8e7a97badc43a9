"""Star catalogs: magnitudes or fluxes by band, their errors, and what else was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from pymc_starpop.stars import checks, tables
from pymc_starpop.stars.colors import bands_of, column_name, pair_of
from pymc_starpop.stars.fluxes import FLUX_ZERO_POINT, MAG_PER_LN, flux_of_mag, mag_of_flux
from pymc_starpop.stars.gaia import GaiaOptions, GaiaReport, read_gaia
from pymc_starpop.stars.stacked import StackedCatalog, stack

__all__ = ["StarCatalog"]

# What one star has one number of, with its error: unit, and whether it must be positive.
_MEASURED_COLUMNS = {
    "parallax": ("mas", False), "teff": ("K", True), "feh": ("dex", False),
    "pmra": ("mas/yr", False), "pmdec": ("mas/yr", False),
}  # fmt: skip
_ROW_FIELDS = (
    "mag", "mag_err", "flux", "flux_err", "parallax", "parallax_err", "teff", "teff_err", "feh",
    "feh_err", "pmra", "pmra_err", "pmdec", "pmdec_err", "pm_corr", "membership_prior", "star",
)  # fmt: skip
# Columns that `from_table` takes by keyword, beside those of its signature.
_FURTHER_COLUMNS = (
    "teff", "teff_err", "feh", "feh_err", "pmra", "pmra_err", "pmdec", "pmdec_err", "pm_corr",
)  # fmt: skip
# Names of `_MEASURED_COLUMNS` as the catalog shows them.
_SHOWN = {"parallax": "parallax", "teff": "teff", "feh": "feh", "pmra": "proper motion"}


@dataclass(frozen=True, eq=False)
class StarCatalog:
    """Magnitudes of stars, one row a star and one column a band, with NaN where not measured.

    Parameters
    ----------
    mag : array-like, shape (N, B)
        Apparent magnitudes, mag; NaN where a star was not measured in a band.
    mag_err : array-like, shape (N, B)
        Standard deviations, mag; positive and finite where the magnitude is finite.
    bands : sequence of str, length B
        Band names, each once, as in ``iso.bands``. A column may be a color: the name
        "Gaia_BP_EDR3 - Gaia_RP_EDR3" is that of the first band minus the second. The errors of
        all columns are then independent; see `from_table` for tables of magnitudes and colors.
    parallax : array-like, shape (N,), optional
        Parallaxes, mas; NaN where not measured.
    parallax_err : array-like, shape (N,), optional
        Standard deviations, mas; needed with ``parallax``.
    membership_prior : float or array-like, shape (N,), optional
        Probability from elsewhere that a star is a member, 0 to 1; one number serves all stars.
    star : array-like, shape (N,), optional
        Labels, each once; 0 to N - 1 unless given.
    extra : mapping of str to array-like, shape (N,), optional
        Further columns, kept with the stars and used by no likelihood.
    teff, teff_err : array-like, shape (N,), optional
        Effective temperatures from spectra and their standard deviations, K; NaN where not
        measured. One needs the other.
    feh, feh_err : array-like, shape (N,), optional
        [Fe/H] from spectra and its standard deviation, dex, in the same way.
    flux, flux_err : array-like, shape (N, B), optional
        Set by `from_flux`, which see.
    pmra, pmra_err, pmdec, pmdec_err : array-like, shape (N,), optional
        Proper motions and their standard deviations, mas/yr, ``pmra`` with the cosine of the
        declination as in Gaia's tables; NaN where not measured, both components of a star or
        none. No likelihood uses them by itself: see `proper_motion_logp`.
    pm_corr : float or array-like, shape (N,), optional
        Correlation of the errors of both components, between -1 and 1; 0 unless given.
    report : GaiaReport, optional
        Set by `from_gaia`, which see; it is of the table, and stays as it is in selections.

    Raises
    ------
    ValueError
        For shapes that do not agree, a band or label given twice, errors that are not positive
        and finite, infinite magnitudes and such of 90 or more, colors of 20 or more, a star without
        any band, a parallax, temperature, [Fe/H] or proper motion without its error or the
        reverse, one component of a proper motion without the other, correlations that are not
        between -1 and 1, temperatures that are not positive, priors outside 0 to 1, colors without
        any magnitude, of fluxes, or that follow from other columns.

    Examples
    --------
    >>> from pymc_starpop.stars.catalog import StarCatalog
    >>> cat = StarCatalog([[12.1, 11.4], [15.0, float("nan")]], [[0.01, 0.01], [0.02, 0.02]],
    ...                   bands=["Gaia_G_EDR3", "2MASS_J"], parallax=[3.2, 3.3],
    ...                   parallax_err=[0.02, 0.1])
    >>> len(cat), cat.measured.sum(axis=1).tolist()
    (2, [2, 1])
    """

    mag: np.ndarray
    mag_err: np.ndarray
    bands: tuple[str, ...]
    parallax: np.ndarray | None = None
    parallax_err: np.ndarray | None = None
    membership_prior: np.ndarray | None = None
    star: np.ndarray | None = None
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)
    teff: np.ndarray | None = None
    teff_err: np.ndarray | None = None
    feh: np.ndarray | None = None
    feh_err: np.ndarray | None = None
    flux: np.ndarray | None = None
    flux_err: np.ndarray | None = None
    pmra: np.ndarray | None = None
    pmra_err: np.ndarray | None = None
    pmdec: np.ndarray | None = None
    pmdec_err: np.ndarray | None = None
    pm_corr: np.ndarray | None = None
    report: GaiaReport | None = None

    def __post_init__(self) -> None:
        """Convert every column to a read-only array and check it."""
        bands = checks.check_bands(self.bands)
        checks.check_colors(bands)
        values: dict[str, Any] = {"bands": bands, **self._checked_photometry(bands)}
        n_star = len(values["mag"])
        star = np.arange(n_star) if self.star is None else np.array(self.star)
        checks.check_labels(star, n_star)
        values["star"] = star
        for name, (unit, positive) in _MEASURED_COLUMNS.items():
            given, error = getattr(self, name), getattr(self, f"{name}_err")
            values[name], values[f"{name}_err"] = checks.check_measured_column(
                name, given, error, n_star, unit, positive
            )
        values["pm_corr"] = checks.check_proper_motion(
            values["pmra"], values["pmdec"], self.pm_corr, n_star
        )
        values["membership_prior"] = checks.check_prior(self.membership_prior, n_star)
        extra = {} if self.extra is None else dict(self.extra)
        columns = {
            name: checks.check_length(name, np.array(v), n_star) for name, v in extra.items()
        }
        values["extra"] = columns
        for value in (*values.values(), *columns.values()):
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _checked_photometry(self, bands: tuple[str, ...]) -> dict[str, Any]:
        """Magnitudes and fluxes with their errors, NaN where not measured."""
        mag = checks.as_floats("mag", self.mag)
        mag_err = checks.as_floats("mag_err", self.mag_err)
        if self.flux is None and self.flux_err is None:
            checks.check_shapes(mag, mag_err, bands)
            checks.check_photometry(mag, mag_err, bands)
            checks.check_sentinels(mag, bands)
            return {"mag": mag, "mag_err": np.where(np.isnan(mag), np.nan, mag_err)}
        if any(map(pair_of, bands)):
            raise ValueError(
                f"a catalog of fluxes has no colors, got {', '.join(bands)}; give the flux of "
                "every band, or magnitudes."
            )
        flux = checks.as_floats("flux", self.flux)
        flux_err = checks.as_floats("flux_err", self.flux_err)
        checks.check_shapes(flux, flux_err, bands, "flux")
        checks.check_photometry(flux, flux_err, bands, "flux")
        flux_err = np.where(np.isnan(flux), np.nan, flux_err)
        derived, derived_err = mag_of_flux(flux, flux_err)
        checks.check_agreement("mag", mag, derived)
        checks.check_agreement("mag_err", mag_err, derived_err)
        return {"mag": derived, "mag_err": derived_err, "flux": flux, "flux_err": flux_err}

    @classmethod
    def from_flux(
        cls,
        flux: Any,
        flux_err: Any,
        *,
        bands: Sequence[str],
        zero_point: float | Sequence[float] = FLUX_ZERO_POINT,
        **columns: Any,
    ) -> Self:
        """Build a catalog of fluxes, whose likelihood is Gaussian in flux.

        For faint stars the error of the flux is Gaussian and that of the magnitude is not, and a
        measured flux may be negative. The catalog keeps fluxes in the unit in which 1 is the
        magnitude 22.5 in the band's own system (the system of the isochrones' magnitudes), and
        fills ``mag`` and ``mag_err`` = 2.5/ln(10) flux_err/flux where the flux is positive.

        Parameters
        ----------
        flux, flux_err : array-like, shape (N, B)
            Fluxes, NaN where not measured, and their standard deviations.
        bands : sequence of str, length B
            Band names.
        zero_point : float or sequence of float, length B
            Magnitude of a flux of 1, one number or one by band; a flux f then has the magnitude
            ``zero_point - 2.5 log10(f)``.
        **columns
            ``parallax``, ``teff``, ``star`` and so on, as for `StarCatalog`.

        Returns
        -------
        StarCatalog
            With ``is_flux`` true.

        Raises
        ------
        ValueError
            As `StarCatalog` does, and for zero points that are not finite.

        Examples
        --------
        >>> from pymc_starpop.stars.catalog import StarCatalog
        >>> cat = StarCatalog.from_flux([[100.0], [-2.0]], [[1.5], [1.5]], bands=["TESS"])
        >>> cat.mag.ravel().tolist(), cat.measured.ravel().tolist()
        ([17.5, nan], [True, True])
        """
        bands = checks.check_bands(bands)
        flux, flux_err = checks.as_floats("flux", flux), checks.as_floats("flux_err", flux_err)
        checks.check_shapes(flux, flux_err, bands, "flux")
        unit = flux_of_mag(checks.check_zero_point(zero_point, len(bands)))
        flux, flux_err = unit * flux, unit * flux_err
        mag, mag_err = mag_of_flux(flux, np.where(np.isnan(flux), np.nan, flux_err))
        return cls(mag, mag_err, bands, flux=flux, flux_err=flux_err, **columns)

    @classmethod
    def from_table(
        cls,
        table: Any,
        *,
        mag: Mapping[str, str],
        mag_err: Mapping[str, str | float],
        color: Mapping[tuple[str, str], str] | None = None,
        color_err: Mapping[tuple[str, str], str | float] | None = None,
        color_errors: str = "difference",
        parallax: str | None = None,
        parallax_err: str | float | None = None,
        membership_prior: str | float | None = None,
        star: str | None = None,
        extra: Sequence[str] = (),
        error_floor: float | Mapping[Any, float] = 0.0,
        **columns: str | float | None,
    ) -> Self:
        """Build a catalog from the columns of a table.

        Parameters
        ----------
        table : mapping, pandas.DataFrame or astropy.table.Table
            Anything that gives a column as ``table[name]``. Masked values count as NaN; of
            columns with a unit the value is taken as it stands, in the units given below.
        mag : mapping of str to str
            Band name to column name, mag; its order is the order of the bands.
        mag_err : mapping of str to str or float
            Band name to column name, or to one error for all stars, mag.
        color : mapping of (str, str) to str, optional
            Pair of bands to column name, mag: the first band minus the second, such as
            ``{("Gaia_BP_EDR3", "Gaia_RP_EDR3"): "bp_rp"}``. A band needs no magnitude of its own.
        color_err : mapping of (str, str) to str or float, optional
            Pair of bands to column name, or to one error for all stars, mag.
        color_errors : {"difference", "independent"}
            What the error of a color means where the table also has a magnitude in one of its
            bands. "difference": that of the difference of two magnitudes whose errors are
            independent, e_color^2 = e_1^2 + e_2^2. Color and magnitude then are correlated. They
            say the same as the magnitudes of both bands, and the catalog holds these, with the
            error sqrt(e_color^2 - e_mag^2) in the other band. "independent": color and magnitude
            have independent errors, and the catalog holds the color. Without such a band, as for
            G and BP - RP, both are the same.
        parallax, parallax_err : str, optional
            Column names, mas; the error may be one number.
        membership_prior : str or float, optional
            Column name, or one probability for all stars.
        star : str, optional
            Column with the labels of the stars.
        extra : sequence of str
            Further columns to keep.
        error_floor : float or mapping of str to float
            Added to the errors in quadrature, mag; one number, or one by band or pair of bands.
            Colors that became magnitudes have the floor of the band.
        **columns : str
            Columns of ``teff``, ``teff_err`` (K), ``feh`` and ``feh_err`` (dex) from spectra, and
            of ``pmra``, ``pmra_err``, ``pmdec``, ``pmdec_err`` (mas/yr) and ``pm_corr``; an error
            and the correlation may be one number.

        Returns
        -------
        StarCatalog

        Raises
        ------
        TypeError
            For another keyword.
        ValueError
            For a column that the table lacks, for bands in ``mag_err`` other than those in
            ``mag`` (also of colors), for errors of colors that are not above those of the magnitude
            that they hold, and as `StarCatalog` does.

        Examples
        --------
        >>> from pymc_starpop.stars.catalog import StarCatalog
        >>> table = {"g": [12.1, 15.0], "e_g": [0.003, 0.004]}
        >>> cat = StarCatalog.from_table(
        ...     table, mag={"Gaia_G_EDR3": "g"}, mag_err={"Gaia_G_EDR3": "e_g"}, error_floor=0.004
        ... )
        >>> cat.mag_err.ravel().round(4).tolist()
        [0.005, 0.0057]
        >>> table |= {"bp_rp": [0.9, 1.4], "e_bp_rp": [0.01, 0.02]}
        >>> StarCatalog.from_table(
        ...     table, mag={"G": "g"}, mag_err={"G": "e_g"},
        ...     color={("BP", "RP"): "bp_rp"}, color_err={("BP", "RP"): "e_bp_rp"},
        ... )
        StarCatalog(2 stars; G: 2, BP - RP: 2)
        """
        names = {
            "parallax": parallax,
            "parallax_err": parallax_err,
            "membership_prior": membership_prior,
            **checks.check_keywords(columns, _FURTHER_COLUMNS),
        }
        mags = (tuple(mag), *tables.bands_and_errors(table, mag, mag_err, "mag"))
        bands, values, errors = tables.with_colors(
            table, mags, color or {}, color_err or {}, color_errors
        )
        catalog = cls(
            values,
            errors,
            bands,
            star=None if star is None else tables.column(table, star, "star"),
            extra={name: tables.column(table, name, "extra") for name in extra},
            **tables.optional_columns(table, names, len(values)),
        )
        if isinstance(error_floor, Mapping):
            floors = [column_name(key) for key in error_floor]
            checks.check_floor_names(floors, catalog.bands, tuple(mag))
        return catalog.with_error_floor(error_floor)

    @classmethod
    def from_gaia(
        cls,
        table: Any,
        *,
        columns: Mapping[str, str] | None = None,
        bands: Sequence[str] | None = None,
        floor: float | Mapping[str, float] | None = None,
        parallax_zero_point: float | str | None = None,
        max_ruwe: float | None = None,
        bp_excess_sigma: float | None = None,
        tmass_quality: str | None = "AB",
        extra: Sequence[str] = (),
        repeated: str = "refuse",
    ) -> Self:
        """Build a catalog from a table of Gaia DR3, with 2MASS or without, as the archive has it.

        Columns have their names in ``gaiadr3.gaia_source`` and, for 2MASS, in
        ``gaiadr1.tmass_original_valid``, in upper or lower case. Masked values, NaN and empty
        ones are not measured, and so is a magnitude without an error. Cuts mask measurements and
        leave the stars in: what was lost, and by what, is in ``catalog.report``.

        Errors of magnitudes are 2.5/ln(10) over ``phot_g_mean_flux_over_error``, with the error of
        the zero point (Riello et al. 2021, A&A 649, A3: 0.0028, 0.0028 and 0.0038 mag in G, BP
        and RP) and the floor added in quadrature.

        Parameters
        ----------
        table : path, astropy.table.Table, pandas.DataFrame or mapping of arrays
            A file is a .csv, .vot, .xml, .ecsv or .fits, also with .gz; all but the first need
            astropy, in the extra ``gaia``.
        columns : mapping of str to str, optional
            Archive name to name in the table, of columns that are called otherwise, such as
            ``{"source_id": "dr3_source_id"}``.
        bands : sequence of str, optional
            Of Gaia_G_EDR3, Gaia_BP_EDR3, Gaia_RP_EDR3, 2MASS_J, 2MASS_H and 2MASS_Ks; by default
            all those of which the table has magnitudes and errors. Where it lacks a magnitude
            of BP or RP, it is computed from ``bp_g``, ``g_rp`` or ``bp_rp``.
        floor : float or mapping of str to float, optional
            Added to the errors in quadrature, mag: one number, or one by band (others have none).
            By default 0.005 in Gaia's bands, as in `load_example`: formal errors of bright stars
            are below 0.001 mag, which isochrones and the calibration are not good to.
        parallax_zero_point : float or "lindegren", optional
            Mas, subtracted from the parallaxes; about -0.03. "lindegren" is that of Lindegren et
            al. 2021, A&A 649, A4, for the star's magnitude, color and ecliptic latitude, from
            gaiadr3-zeropoint in the extra ``gaia``. Stars beyond its range in magnitude (6 to 21)
            or color get its value at the end of the range, those that lack a column -0.017, the
            median of quasars; the report counts both. With it, leave out the
            ``parallax_zero_point`` of `ClusterPhotometry`, or center its prior on 0.
        max_ruwe : float, optional
            Parallax and proper motion of stars with a larger RUWE, 1.4 as a rule, or none, are
            masked. Their photometry stays: many are binaries, and a catalog without them would
            have too few.
        bp_excess_sigma : float, optional
            BP and RP are masked where the corrected flux excess factor is so many of its
            standard deviations from 0 (Riello et al. 2021, equations 6 and 18), as for stars
            with neighbors or on a bright sky; G stays. 3 to 5 are usual.
        tmass_quality : str or None
            Letters of ``ph_qual`` with which a magnitude of 2MASS is taken; None takes all.
        extra : sequence of str
            Further columns to keep, besides ra, dec, ruwe and phot_bp_rp_excess_factor.
        repeated : {"refuse", "first"}
            What to do with rows that repeat a ``source_id`` with other values. Rows that repeat
            all values are dropped and counted.

        Returns
        -------
        StarCatalog
            Its ``star`` labels are source identifiers with all their digits, its ``report`` says
            what became of each row: see `GaiaReport`.

        Raises
        ------
        ImportError
            Where astropy or gaiadr3-zeropoint is needed and not installed.
        ValueError
            For a table without magnitudes, columns that an option needs and the table lacks,
            identifiers that are missing or came as floats and lost digits, and rows that repeat
            a star with other values.

        Examples
        --------
        >>> from pymc_starpop.stars.catalog import StarCatalog
        >>> table = {
        ...     "source_id": [4089361234567890123, 4089361234567890124],
        ...     "phot_g_mean_mag": [12.0, 15.0], "phot_g_mean_flux_over_error": [3000.0, 1500.0],
        ...     "parallax": [3.2, 3.3], "parallax_error": [0.02, 0.05], "ruwe": [1.0, 2.6],
        ... }
        >>> cat = StarCatalog.from_gaia(table, max_ruwe=1.4, parallax_zero_point=-0.03)
        >>> cat
        StarCatalog(2 stars; Gaia_G_EDR3: 2; parallax: 1)
        >>> cat.report.counts
        {'parallax and proper motion masked, ruwe above 1.4': 1}
        """
        options = GaiaOptions(
            bands, floor, parallax_zero_point, max_ruwe, bp_excess_sigma, tmass_quality, extra,
            repeated,
        )  # fmt: skip
        return read_gaia(cls, table, columns, options)

    @classmethod
    def stack(cls, catalogs: Mapping[str, "StarCatalog"]) -> StackedCatalog:
        """Stack the catalogs of several clusters.

        Parameters
        ----------
        catalogs : mapping of str to StarCatalog
            Name of each cluster to its catalog; pairs of both do as well. Bands, parallaxes,
            membership priors and spectra are each cluster's own. Labels of stars that are not
            unique over all clusters, such as the numbers that a catalog has by default, get the
            name of the cluster before them: "m67: 12".

        Returns
        -------
        StackedCatalog

        Raises
        ------
        ValueError
            For no cluster, names that are no text or occur twice, anything but catalogs, and
            catalogs of fluxes next to catalogs of magnitudes.

        Examples
        --------
        >>> from pymc_starpop.stars.catalog import StarCatalog
        >>> one = StarCatalog([[12.1]], [[0.01]], bands=["TESS"])
        >>> StarCatalog.stack({"a": one, "b": one}).cluster_names
        ('a', 'b')
        """
        return stack(cls, catalogs)

    def __len__(self) -> int:
        """Return the number of stars."""
        return len(self.mag)

    def __repr__(self) -> str:
        """Say how many stars were measured in which bands."""
        counts = ", ".join(
            f"{band}: {count}"
            for band, count in zip(self.bands, self.measured.sum(axis=0), strict=True)
        )
        others = "".join(
            f"; {shown}: {np.isfinite(getattr(self, name)).sum()}"
            for name, shown in _SHOWN.items()
            if getattr(self, name) is not None
        )
        kind = "stars" if self.flux is None else "stars in flux"
        return f"StarCatalog({self.n_star} {kind}; {counts}{others})"

    @property
    def n_star(self) -> int:
        """Number of stars."""
        return self.mag.shape[0]

    @property
    def n_band(self) -> int:
        """Number of bands."""
        return self.mag.shape[1]

    @property
    def model_bands(self) -> tuple[str, ...]:
        """Bands that the isochrones must have: `bands`, with those of a color in its place.

        Parameters with one value for each band, such as ``zero_points``, are in this order.

        Examples
        --------
        >>> from pymc_starpop.stars.catalog import StarCatalog
        >>> StarCatalog([[12.1, 0.8]], [[0.01, 0.02]], bands=["G", "BP - RP"]).model_bands
        ('G', 'BP', 'RP')
        """
        return bands_of(self.bands)

    @property
    def is_flux(self) -> bool:
        """Whether the catalog holds fluxes, and its likelihood is Gaussian in flux."""
        return self.flux is not None

    @property
    def values(self) -> np.ndarray:
        """What the likelihood compares, shape (N, B): fluxes, or else magnitudes."""
        return self.mag if self.flux is None else self.flux

    @property
    def errors(self) -> np.ndarray:
        """Standard deviations of `values`, shape (N, B)."""
        return self.mag_err if self.flux_err is None else self.flux_err

    @property
    def measured(self) -> np.ndarray:
        """Where a star was measured, bool, shape (N, B); a negative flux is a measurement."""
        return np.isfinite(self.values)

    def coords(self, *, star: str = "star", band: str = "band") -> dict[str, Any]:
        """Return the coordinates of a PyMC model: ``{"star": labels, "band": names}``.

        With colors among the columns, ``"model_band"`` holds `model_bands` too, the dimension of
        parameters with one value for each band.

        Parameters
        ----------
        star, band : str
            Names of the dimensions: others where a model has several catalogs, whose
            distributions then take ``dims=(star, band)``.

        Examples
        --------
        >>> from pymc_starpop.stars.catalog import StarCatalog
        >>> StarCatalog([[12.1]], [[0.01]], bands=["TESS"]).coords()["band"]
        ['TESS']
        """
        checks.check_dimensions(star=star, band=band)
        coords = {star: self.star, band: list(self.bands)}
        if self.model_bands == self.bands:
            return coords
        return coords | {f"model_{band}": list(self.model_bands)}

    def select(self, which: Any) -> Self:
        """Return the catalog of some of the stars, with their labels and extra columns.

        Parameters
        ----------
        which : array-like
            Bool of shape (N,), or row indices.

        Raises
        ------
        ValueError
            For a mask of another length, values that are neither bool nor integer, an index
            beyond the catalog, or an empty selection.

        Examples
        --------
        >>> from pymc_starpop.stars.catalog import StarCatalog
        >>> cat = StarCatalog([[12.1], [15.0]], [[0.01], [0.01]], bands=["TESS"])
        >>> len(cat.select(cat.mag[:, 0] < 14))
        1
        """
        rows = checks.row_indices(which, self.n_star)
        columns: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[rows]
            for name in _ROW_FIELDS
        }
        extra = {name: values[rows] for name, values in self.extra.items()}
        return replace(self, extra=extra, **columns)

    def with_error_floor(self, floor: float | Mapping[Any, float]) -> Self:
        """Return the catalog with a floor added to the magnitude errors in quadrature.

        To the error of a flux the same share of the flux is added, where the flux is positive.

        Parameters
        ----------
        floor : float or mapping of str to float
            Mag; one number for all columns, or band name, or pair of bands of a color, to number
            (those left out keep theirs).

        Raises
        ------
        ValueError
            For a negative or infinite floor, or an unknown band.

        Examples
        --------
        >>> from pymc_starpop.stars.catalog import StarCatalog
        >>> cat = StarCatalog([[12.1]], [[0.003]], bands=["TESS"])
        >>> float(cat.with_error_floor(0.004).mag_err[0, 0])
        0.005
        """
        if isinstance(floor, Mapping):
            floor = {column_name(key): value for key, value in floor.items()}
            checks.check_floor_names(floor, self.bands)
            self._check_known(floor, "floor")
            floors = np.array([floor.get(band, 0.0) for band in self.bands], dtype=float)
        else:
            floors = np.full(self.n_band, floor, dtype=float)
        if not np.all(np.isfinite(floors) & (floors >= 0)):
            raise ValueError(
                f"floor must be finite and not negative (mag), got {floor}; "
                f"give a small positive number such as 0.005."
            )
        if self.flux is None or self.flux_err is None:
            return replace(self, mag_err=np.hypot(self.mag_err, floors))
        share = np.maximum(self.flux, 0.0) * floors / MAG_PER_LN
        flux_err = np.hypot(self.flux_err, share)
        _, mag_err = mag_of_flux(self.flux, flux_err)
        return replace(self, mag_err=mag_err, flux_err=flux_err)

    def band_index(self, band: str) -> int:
        """Return the column of a band; an unknown one is a ValueError that lists the bands."""
        self._check_known([band], "band")
        return self.bands.index(band)

    def _check_known(self, names: Any, argument: str) -> None:
        unknown = [name for name in names if name not in self.bands]
        if unknown:
            raise ValueError(
                f"{argument} names {', '.join(map(repr, unknown))}, which the catalog lacks; "
                f"its bands are {', '.join(self.bands)}."
            )
