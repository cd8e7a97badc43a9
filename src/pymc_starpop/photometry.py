"""Star catalogs: magnitudes by band, their errors, and parallaxes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from pymc_starpop import _photometry_checks as checks

__all__ = ["StarCatalog"]


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
        Band names, each once, as in ``iso.bands``.
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

    Raises
    ------
    ValueError
        For shapes that do not agree, a band or label given twice, errors that are not positive
        and finite, infinite magnitudes, a star without any band, a parallax without its error or
        the reverse, and priors outside 0 to 1.

    Examples
    --------
    >>> from pymc_starpop.photometry import StarCatalog
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

    def __post_init__(self) -> None:
        """Convert every column to a read-only array and check it."""
        mag = checks.as_floats("mag", self.mag)
        mag_err = checks.as_floats("mag_err", self.mag_err)
        bands = checks.check_bands(self.bands)
        checks.check_shapes(mag, mag_err, bands)
        checks.check_photometry(mag, mag_err, bands)
        n_star = len(mag)
        star = np.arange(n_star) if self.star is None else np.array(self.star)
        checks.check_labels(star, n_star)
        parallax, parallax_err = checks.check_parallax(self.parallax, self.parallax_err, n_star)
        prior = checks.check_prior(self.membership_prior, n_star)
        extra = {} if self.extra is None else dict(self.extra)
        columns = {
            name: checks.check_length(name, np.array(v), n_star) for name, v in extra.items()
        }
        values: dict[str, Any] = {
            "mag": mag,
            "mag_err": np.where(np.isnan(mag), np.nan, mag_err),
            "bands": bands,
            "parallax": parallax,
            "parallax_err": parallax_err,
            "membership_prior": prior,
            "star": star,
            "extra": columns,
        }
        for value in (*values.values(), *columns.values()):
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_table(
        cls,
        table: Any,
        *,
        mag: Mapping[str, str],
        mag_err: Mapping[str, str | float],
        parallax: str | None = None,
        parallax_err: str | float | None = None,
        membership_prior: str | float | None = None,
        star: str | None = None,
        extra: Sequence[str] = (),
        error_floor: float | Mapping[str, float] = 0.0,
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
        parallax, parallax_err : str, optional
            Column names, mas; the error may be one number.
        membership_prior : str or float, optional
            Column name, or one probability for all stars.
        star : str, optional
            Column with the labels of the stars.
        extra : sequence of str
            Further columns to keep.
        error_floor : float or mapping of str to float
            Added to the errors in quadrature, mag; one number, or one by band.

        Returns
        -------
        StarCatalog

        Raises
        ------
        ValueError
            For a column that the table lacks, for bands in ``mag_err`` other than those in
            ``mag``, and as `StarCatalog` does.

        Examples
        --------
        >>> from pymc_starpop.photometry import StarCatalog
        >>> table = {"g": [12.1, 15.0], "e_g": [0.003, 0.004]}
        >>> cat = StarCatalog.from_table(
        ...     table, mag={"Gaia_G_EDR3": "g"}, mag_err={"Gaia_G_EDR3": "e_g"}, error_floor=0.004
        ... )
        >>> cat.mag_err.ravel().round(4).tolist()
        [0.005, 0.0057]
        """
        if not mag:
            raise ValueError("mag is empty; map at least one band to a column of the table.")
        if set(mag) != set(mag_err):
            raise ValueError(
                f"mag_err must name the same bands as mag, got {sorted(mag_err)} for "
                f"{sorted(mag)}; give every band a column or a number."
            )
        mags = [checks.number_column(table, name, f"mag[{band!r}]") for band, name in mag.items()]
        errors = [
            np.full(len(values), float(mag_err[band]))
            if isinstance(mag_err[band], int | float)
            else checks.number_column(table, mag_err[band], f"mag_err[{band!r}]")
            for band, values in zip(mag, mags, strict=True)
        ]
        checks.check_column_lengths(mag, mags, errors)
        n_star = len(mags[0])
        optional: dict[str, Any] = {
            "parallax": parallax,
            "parallax_err": parallax_err,
            "membership_prior": membership_prior,
        }
        for name, given in optional.items():
            if isinstance(given, int | float):
                optional[name] = np.full(n_star, float(given))
            elif given is not None:
                optional[name] = checks.number_column(table, given, name)
        catalog = cls(
            np.stack(mags, axis=1),
            np.stack(errors, axis=1),
            tuple(mag),
            star=None if star is None else checks.column(table, star, "star"),
            extra={name: checks.column(table, name, "extra") for name in extra},
            **optional,
        )
        return catalog.with_error_floor(error_floor)

    def __len__(self) -> int:
        """Return the number of stars."""
        return len(self.mag)

    def __repr__(self) -> str:
        """Say how many stars were measured in which bands."""
        counts = ", ".join(
            f"{band}: {count}"
            for band, count in zip(self.bands, self.measured.sum(axis=0), strict=True)
        )
        parallax = (
            "" if self.parallax is None else f"; parallax: {np.isfinite(self.parallax).sum()}"
        )
        return f"StarCatalog({self.n_star} stars; {counts}{parallax})"

    @property
    def n_star(self) -> int:
        """Number of stars."""
        return self.mag.shape[0]

    @property
    def n_band(self) -> int:
        """Number of bands."""
        return self.mag.shape[1]

    @property
    def measured(self) -> np.ndarray:
        """Where a magnitude was measured, bool, shape (N, B)."""
        return np.isfinite(self.mag)

    def coords(self) -> dict[str, Any]:
        """Return the coordinates of a PyMC model: ``{"star": labels, "band": names}``.

        Examples
        --------
        >>> from pymc_starpop.photometry import StarCatalog
        >>> StarCatalog([[12.1]], [[0.01]], bands=["TESS"]).coords()["band"]
        ['TESS']
        """
        return {"star": self.star, "band": list(self.bands)}

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
        >>> from pymc_starpop.photometry import StarCatalog
        >>> cat = StarCatalog([[12.1], [15.0]], [[0.01], [0.01]], bands=["TESS"])
        >>> len(cat.select(cat.mag[:, 0] < 14))
        1
        """
        rows = self._rows(which)
        columns: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[rows]
            for name in ("mag", "mag_err", "parallax", "parallax_err", "membership_prior", "star")
        }
        extra = {name: values[rows] for name, values in self.extra.items()}
        return replace(self, extra=extra, **columns)

    def with_error_floor(self, floor: float | Mapping[str, float]) -> Self:
        """Return the catalog with a floor added to the magnitude errors in quadrature.

        Parameters
        ----------
        floor : float or mapping of str to float
            Mag; one number for all bands, or band name to number (bands left out keep theirs).

        Raises
        ------
        ValueError
            For a negative or infinite floor, or an unknown band.

        Examples
        --------
        >>> from pymc_starpop.photometry import StarCatalog
        >>> cat = StarCatalog([[12.1]], [[0.003]], bands=["TESS"])
        >>> float(cat.with_error_floor(0.004).mag_err[0, 0])
        0.005
        """
        if isinstance(floor, Mapping):
            self._check_known(floor, "floor")
            floors = np.array([floor.get(band, 0.0) for band in self.bands], dtype=float)
        else:
            floors = np.full(self.n_band, floor, dtype=float)
        if not np.all(np.isfinite(floors) & (floors >= 0)):
            raise ValueError(
                f"floor must be finite and not negative (mag), got {floor}; "
                f"give a small positive number such as 0.005."
            )
        return replace(self, mag_err=np.hypot(self.mag_err, floors))

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

    def _rows(self, which: Any) -> np.ndarray:
        which = np.atleast_1d(np.asarray(which))
        if which.dtype == bool:
            if which.shape != (self.n_star,):
                raise ValueError(
                    f"a mask must have shape ({self.n_star},), got {which.shape}; "
                    f"compute it from this catalog."
                )
            which = np.flatnonzero(which)
        if which.size == 0:
            raise ValueError("the selection holds no star; widen it.")
        if which.ndim != 1 or not np.issubdtype(which.dtype, np.integer):
            raise ValueError(
                f"which must be a bool mask or a list of row indices, got dtype {which.dtype} "
                f"and shape {which.shape}; use numpy.flatnonzero for a list of rows."
            )
        if which.min() < -self.n_star or which.max() >= self.n_star:
            raise ValueError(
                f"row indices must lie in 0 to {self.n_star - 1}, got up to {which.max()} "
                f"and down to {which.min()}; select by rows, not by labels."
            )
        return which
