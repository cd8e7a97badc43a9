"""Field stars uniform in one magnitude and in colors, within the region of the catalog."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from pymc_starpop.field import _ranges as ranges
from pymc_starpop.field._columns import UniformColumns
from pymc_starpop.field._coordinates import (
    limits_of_stars,
    log_slope,
    magnitudes,
    stars_of_same_bands,
)
from pymc_starpop.field._ranges import Range
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.colors import color_name, pair_of
from pymc_starpop.stars.completeness import CompletenessIntegral
from pymc_starpop.stars.fluxes import flux_of_asinh_mag
from pymc_starpop.stars.selection import MagnitudeLimits

__all__ = ["UniformField"]

_OWNER = "UniformField"


@dataclass(frozen=True)
class UniformField(UniformColumns):
    """Field stars uniform in one magnitude and in the colors against it.

    Over the bands that a star has, with the reference band r and the others b, the density is
    1 / (range of m_r x product over b of the range of m_b - m_r): the change from magnitudes to
    one magnitude and colors has the Jacobian 1. The reference is the band of the selection where
    the star has it, else the first band it has. A column of the catalog that is a color has a
    factor 1 / its range. A parallax, a spectroscopic temperature and [Fe/H]
    each bring a factor 1 / their range. With a completeness function c, the density in the band
    of the selection is c(m_r) / (integral of c over the range) in place of 1 / (range of m_r),
    with c at the observed magnitude: photometric errors are taken as small beside the scale on
    which the completeness changes.

    In a catalog of fluxes the magnitudes are asinh magnitudes (Lupton, Gunn & Szalay 1999) whose
    softening b is the star's flux error. The density in flux has for each band the factor
    (2.5/ln 10) / sqrt(f^2 + 4 b^2), the size of dmu/df: it integrates to 1 over all fluxes of the
    region.

    Parameters
    ----------
    mag_range : (float, float) or mapping of str to (float, float), optional
        Range of the reference magnitude, mag, or ranges by band. By default the limits of the
        selection for its band, and from the least to the greatest in the catalog for others. Of a
        range in the band of the selection counts the part that the selection lets pass.
    color_ranges : mapping of (str, str) to (float, float), optional
        Ranges of colors, mag: ``{("Gaia_BP_EDR3", "Gaia_G_EDR3"): (0.0, 2.0)}`` is that of the
        first minus the second band; only colors against the reference band and those that are
        columns of the catalog are used. By default from the least to the greatest in the catalog.
    parallax_range, teff_range, feh_range : (float, float), optional
        Mas, K and dex; by default from the least to the greatest in the catalog.
    reference : str, optional
        Reference band when there is no selection.

    Raises
    ------
    ValueError
        For ranges that are not finite and ascending.

    Examples
    --------
    >>> from pymc_starpop.stars.catalog import StarCatalog
    >>> cat = StarCatalog([[12, 10], [16, 13]], [[0.1, 0.1], [0.1, 0.1]], bands=["SDSS_g", "TESS"])
    >>> (np.exp(UniformField().log_density(cat)) * 4 * 1).tolist()
    [1.0, 1.0]
    """

    mag_range: Range | Mapping[str, Range] | None = None
    color_ranges: Mapping[tuple[str, str], Range] | None = None
    parallax_range: Range | None = None
    reference: str | None = None
    teff_range: Range | None = None
    feh_range: Range | None = None
    model_dependent: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the ranges that were given."""
        ranges.check_reference(self.reference)
        checked: dict[str, Any] = {}
        if isinstance(self.mag_range, Mapping):
            checked["mag_range"] = {
                b: ranges.check_range(f"mag_range[{b!r}]", r) for b, r in self.mag_range.items()
            }
        elif self.mag_range is not None:
            checked["mag_range"] = ranges.check_range("mag_range", self.mag_range)
        if self.color_ranges is not None:
            checked["color_ranges"] = ranges.check_color_ranges(self.color_ranges)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        self._check_columns()

    def log_density(
        self, catalog: StarCatalog, selection: MagnitudeLimits | None = None
    ) -> np.ndarray:
        """Return the natural log of the field density of each star.

        A star outside the ranges gets the same constant as one inside.

        Parameters
        ----------
        catalog : StarCatalog
        selection : MagnitudeLimits, optional
            The cut that made the catalog.

        Returns
        -------
        ndarray
            Shape (N,), ln of 1/mag^(bands of the star) (of 1/flux^bands for a catalog of fluxes),
            and 1/mas, 1/K, 1/dex with a parallax, temperature, [Fe/H].

        Raises
        ------
        ValueError
            Where a range is needed that is not given and has no width in the catalog, for a
            magnitude range that the selection lets no star of pass, and for stars at magnitudes of
            completeness 0.

        Examples
        --------
        >>> from pymc_starpop.stars.catalog import StarCatalog
        >>> from pymc_starpop.stars.selection import MagnitudeLimits
        >>> cat = StarCatalog([[12.0], [16.0]], [[0.1], [0.1]], bands=["TESS"])
        >>> field = UniformField(mag_range=(10, 20))
        >>> np.exp(field.log_density(cat)).round(3).tolist()
        [0.1, 0.1]
        >>> np.exp(field.log_density(cat, MagnitudeLimits("TESS", 5, 18))).round(3).tolist()
        [0.125, 0.125]
        """
        log_density = log_slope(catalog)
        for rows, measured in stars_of_same_bands(catalog):
            bands = [catalog.bands[k] for k in measured]
            reference = self._reference(bands, selection)
            if reference is not None:
                log_density[rows] += self._log_mag_density(reference, catalog, selection, rows)
            for band in bands:
                if band != reference:
                    limits = self._color_range(_pair(band, reference), catalog)
                    assert limits is not None  # required
                    log_density[rows] -= math.log(limits[1] - limits[0])
        return log_density + self._log_column_density(catalog)

    def frozen(self, catalog: StarCatalog, selection: MagnitudeLimits | None = None) -> Self:
        """Return a field that stores the ranges of a catalog, for use with another one.

        Parameters
        ----------
        catalog : StarCatalog
        selection : MagnitudeLimits, optional
            The cut that made the catalog.

        Returns
        -------
        UniformField
            With every range given that the catalog defines, and the reference band; its range of
            magnitudes in the band of the selection is the part that passes. A completeness is
            part of the selection, not of the field: give the selection again.

        Raises
        ------
        ValueError
            For a magnitude range that the selection lets no star of pass.

        Examples
        --------
        >>> from pymc_starpop.stars.catalog import StarCatalog
        >>> cat = StarCatalog([[12.0], [16.0]], [[0.1], [0.1]], bands=["TESS"])
        >>> UniformField().frozen(cat).mag_range
        {'TESS': (12.0, 16.0)}
        """
        bands = catalog.bands
        mags = {}
        magnitudes_of = [band for band in bands if pair_of(band) is None]
        for band in magnitudes_of:
            rows = np.flatnonzero(catalog.measured[:, catalog.band_index(band)])
            limits = self._mag_range(band, catalog, selection, rows, required=False)
            if limits is not None:
                mags[band] = (float(np.min(limits[0])), float(np.max(limits[1])))
        pairs = [(b, r) for i, r in enumerate(magnitudes_of) for b in magnitudes_of[i + 1 :]]
        pairs += [pair for band in bands if (pair := pair_of(band)) is not None]
        colors = {pair: self._color_range(pair, catalog, required=False) for pair in pairs}
        return replace(
            self,
            mag_range=mags,
            color_ranges={key: value for key, value in colors.items() if value is not None},
            reference=self.reference if selection is None else selection.band,
            **self._column_ranges(catalog),
        )

    def draw(
        self,
        n: int,
        bands: Sequence[str],
        rng: np.random.Generator,
        selection: MagnitudeLimits | None = None,
    ) -> np.ndarray:
        """Draw the magnitudes of n field stars.

        Parameters
        ----------
        n : int
        bands : sequence of str
            B bands and colors, at least one band.
        rng : numpy.random.Generator
        selection : MagnitudeLimits, optional
            Its band is the reference; only stars within its limits are drawn, and with its
            completeness.

        Returns
        -------
        ndarray
            Shape (n, B), mag.

        Raises
        ------
        ValueError
            Where a range is not given, which `frozen` takes from a catalog, and for a magnitude
            range that the selection lets no star of pass.

        Examples
        --------
        >>> field = UniformField(mag_range=(10, 20), color_ranges={("SDSS_g", "TESS"): (0, 2)})
        >>> field.draw(3, ["TESS", "SDSS_g"], np.random.default_rng(1)).shape
        (3, 2)
        """
        return self._draw(n, bands, rng, selection, None)

    def draw_flux(
        self,
        flux_err: np.ndarray,
        bands: Sequence[str],
        rng: np.random.Generator,
        selection: MagnitudeLimits | None = None,
    ) -> np.ndarray:
        """Draw the fluxes (n, B) of field stars whose flux errors (n, B) are given.

        Both are in the unit in which 1 is magnitude 22.5; otherwise as `draw`.

        Examples
        --------
        >>> field = UniformField(mag_range=(20, 25))
        >>> flux = field.draw_flux(np.ones((4, 1)), ["TESS"], np.random.default_rng(1))
        >>> flux.shape, bool(flux.max() <= 10.0)
        ((4, 1), True)
        """
        flux_err = np.asarray(flux_err, dtype=float)
        mags = self._draw(len(flux_err), bands, rng, selection, flux_err)
        return flux_of_asinh_mag(mags, flux_err)

    def _draw(
        self,
        n: int,
        bands: Sequence[str],
        rng: np.random.Generator,
        selection: MagnitudeLimits | None,
        softening: np.ndarray | None,
    ) -> np.ndarray:
        """Magnitudes (n, B), asinh magnitudes with a softening (n, B)."""
        reference = self._reference(bands, selection)
        assert reference is not None  # a catalog has a magnitude
        column = list(bands).index(reference)
        limits: Any = self._given_mag_range(reference)
        if selection is not None and selection.band == reference:
            own = limits_of_stars(selection, None if softening is None else softening[:, column])
            limits = ranges.overlap(limits, selection, own)
            limits = limits if np.all(np.isfinite(limits)) else None
        low, high = ranges.given_range(f"mag_range[{reference!r}]", limits, _OWNER)
        if selection is None or selection.band != reference or selection.completeness is None:
            mags = rng.uniform(low, high, size=n)
        else:
            first, last = np.broadcast_to(low, n), np.broadcast_to(high, n)
            integral = CompletenessIntegral(selection.completeness_at, first.min(), last.max())
            mags = integral.draw(first, last, rng)
        drawn = np.empty((n, len(bands)))
        for index, band in enumerate(bands):
            drawn[:, index] = mags if pair_of(band) is None else 0.0
            if band != reference:
                pair = _pair(band, reference)
                name = f"color_ranges[{pair[0]!r}, {pair[1]!r}]"
                color = ranges.given_range(name, self._given_color_range(*pair), _OWNER)
                drawn[:, index] += rng.uniform(*color, size=n)
        return drawn

    def _reference(self, bands: Sequence[str], selection: MagnitudeLimits | None) -> str | None:
        """Reference among the bands of a star; None where colors alone were measured."""
        wanted = self.reference if selection is None else selection.band
        if wanted is not None and wanted in bands:
            return wanted
        return next((band for band in bands if pair_of(band) is None), None)

    def _given_mag_range(self, band: str) -> Range | None:
        return self.mag_range.get(band) if isinstance(self.mag_range, Mapping) else self.mag_range

    def _given_color_range(self, band: str, reference: str) -> Range | None:
        given = self.color_ranges or {}
        if (band, reference) in given:
            return given[band, reference]
        if (reference, band) in given:
            low, high = given[reference, band]
            return -high, -low
        return None

    def _log_mag_density(
        self,
        band: str,
        catalog: StarCatalog,
        selection: MagnitudeLimits | None,
        rows: np.ndarray,
    ) -> np.ndarray:
        """Log density in the reference magnitude of these stars, shape (n,)."""
        limits: Any = self._mag_range(band, catalog, selection, rows)
        low, high = (np.broadcast_to(limit, len(rows)) for limit in limits)
        if selection is None or selection.band != band or selection.completeness is None:
            return -np.log(high - low)
        integral = CompletenessIntegral(selection.completeness_at, low.min(), high.max())
        mags = np.clip(magnitudes(catalog)[rows, catalog.band_index(band)], low, high)
        found = selection.completeness_at(mags)
        if not found.all():
            row = rows[np.flatnonzero(found == 0.0)]
            raise ValueError(
                f"completeness is 0 at the magnitudes of {row.size} stars, rows "
                f"{', '.join(map(str, row[:5]))}, so that they cannot be in the catalog; give a "
                f"completeness above 0 there, or leave out these stars."
            )
        return np.log(found) - np.log(integral.between(low, high))

    def _mag_range(
        self,
        band: str,
        catalog: StarCatalog,
        selection: MagnitudeLimits | None,
        rows: np.ndarray,
        required: bool = True,
    ) -> tuple[Any, Any] | None:
        """Range of the magnitude, numbers or arrays (n,) where it differs between stars."""
        index, given = catalog.band_index(band), self._given_mag_range(band)
        mags = magnitudes(catalog)[:, index]
        name = f"mag_range[{band!r}]"
        if selection is None or selection.band != band:
            return given or ranges.data_range(name, mags, _OWNER, required)
        limits = limits_of_stars(
            selection, catalog.errors[rows, index] if catalog.is_flux else None
        )
        if given is None:
            # A limit at infinity does not bound the region; the catalog does.
            if not (math.isfinite(selection.bright) or math.isfinite(selection.faint)):
                return ranges.data_range(name, mags, _OWNER, required)
            given = (
                -math.inf if math.isfinite(selection.bright) else float(np.nanmin(mags)),
                math.inf if math.isfinite(selection.faint) else float(np.nanmax(mags)),
            )
        # No star can be observed outside the selection.
        return ranges.overlap(given, selection, limits)

    def _color_range(
        self, pair: tuple[str, str], catalog: StarCatalog, required: bool = True
    ) -> Range | None:
        given = self._given_color_range(*pair)
        if given is not None:
            return given
        mags = magnitudes(catalog)
        if color_name(*pair) in catalog.bands:
            color = mags[:, catalog.band_index(color_name(*pair))]
        else:
            color = mags[:, catalog.band_index(pair[0])] - mags[:, catalog.band_index(pair[1])]
        name = f"color_ranges[{pair[0]!r}, {pair[1]!r}]"
        return ranges.data_range(name, color, _OWNER, required)


def _pair(column: str, reference: str | None) -> tuple[str, str]:
    """Bands of the color that a column other than the reference stands for."""
    pair = pair_of(column)
    if pair is None:
        assert reference is not None  # a magnitude is the reference where there is one
        return column, reference
    return pair
