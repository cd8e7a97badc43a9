"""Densities of field stars, normalized over the region of the catalog."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from pymc_starpop.photometry import StarCatalog
from pymc_starpop.selection import MagnitudeLimits

__all__ = ["UniformField"]

Range = tuple[float, float]


@dataclass(frozen=True)
class UniformField:
    """Field stars uniform in one magnitude and in the colors against it.

    Over the bands that a star has, with the reference band r and the others b, the density is
    1 / (range of m_r x product over b of the range of m_b - m_r): the change from magnitudes to
    one magnitude and colors has the Jacobian 1. The reference is the band of the selection where
    the star has it, else the first band it has. With a parallax comes a factor 1 / its range.

    Parameters
    ----------
    mag_range : (float, float) or mapping of str to (float, float), optional
        Range of the reference magnitude, mag, or ranges by band. By default the limits of the
        selection for its band, and from the least to the greatest in the catalog for others. Of a
        range in the band of the selection counts the part that the selection lets pass.
    color_ranges : mapping of (str, str) to (float, float), optional
        Ranges of colors, mag: ``{("Gaia_BP_EDR3", "Gaia_G_EDR3"): (0.0, 2.0)}`` is that of the
        first minus the second band; only colors against the reference band are used. By default
        from the least to the greatest in the catalog.
    parallax_range : (float, float), optional
        Mas; by default from the least to the greatest in the catalog.
    reference : str, optional
        Reference band when there is no selection.

    Raises
    ------
    ValueError
        For ranges that are not finite and ascending.

    Examples
    --------
    >>> from pymc_starpop.photometry import StarCatalog
    >>> cat = StarCatalog([[12, 10], [16, 13]], [[0.1, 0.1], [0.1, 0.1]], bands=["SDSS_g", "TESS"])
    >>> (np.exp(UniformField().log_density(cat)) * 4 * 1).tolist()
    [1.0, 1.0]
    """

    mag_range: Range | Mapping[str, Range] | None = None
    color_ranges: Mapping[tuple[str, str], Range] | None = None
    parallax_range: Range | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        """Check the ranges that were given."""
        if isinstance(self.mag_range, Mapping):
            ranges = {b: _check_range(f"mag_range[{b!r}]", r) for b, r in self.mag_range.items()}
            object.__setattr__(self, "mag_range", ranges)
        elif self.mag_range is not None:
            object.__setattr__(self, "mag_range", _check_range("mag_range", self.mag_range))
        if self.color_ranges is not None:
            object.__setattr__(self, "color_ranges", _check_color_ranges(self.color_ranges))
        if self.parallax_range is not None:
            checked = _check_range("parallax_range", self.parallax_range)
            object.__setattr__(self, "parallax_range", checked)

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
            Shape (N,), ln of 1/mag^(bands of the star), and 1/mas with a parallax.

        Raises
        ------
        ValueError
            Where a range is needed that is not given and has no width in the catalog, and for a
            magnitude range that the selection lets no star of pass.

        Examples
        --------
        >>> from pymc_starpop.photometry import StarCatalog
        >>> from pymc_starpop.selection import MagnitudeLimits
        >>> cat = StarCatalog([[12.0], [16.0]], [[0.1], [0.1]], bands=["TESS"])
        >>> field = UniformField(mag_range=(10, 20))
        >>> np.exp(field.log_density(cat)).round(3).tolist()
        [0.1, 0.1]
        >>> np.exp(field.log_density(cat, MagnitudeLimits("TESS", 5, 18))).round(3).tolist()
        [0.125, 0.125]
        """
        log_density = np.empty(catalog.n_star)
        patterns, which = np.unique(catalog.measured, axis=0, return_inverse=True)
        for index, pattern in enumerate(patterns):
            bands = [b for b, used in zip(catalog.bands, pattern, strict=True) if used]
            widths = self._widths(bands, catalog, selection)
            log_density[which.ravel() == index] = -sum(math.log(width) for width in widths)
        if catalog.parallax is not None and np.isfinite(catalog.parallax).any():
            limits = self.parallax_range or _data_range("parallax_range", catalog.parallax)
            log_density[np.isfinite(catalog.parallax)] -= math.log(_width(limits))
        return log_density

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
            magnitudes in the band of the selection is the part that passes.

        Raises
        ------
        ValueError
            For a magnitude range that the selection lets no star of pass.

        Examples
        --------
        >>> from pymc_starpop.photometry import StarCatalog
        >>> cat = StarCatalog([[12.0], [16.0]], [[0.1], [0.1]], bands=["TESS"])
        >>> UniformField().frozen(cat).mag_range
        {'TESS': (12.0, 16.0)}
        """
        bands = catalog.bands
        mags = {b: self._mag_range(b, catalog, selection, required=False) for b in bands}
        colors = {
            (b, r): self._color_range(b, r, catalog, required=False)
            for i, r in enumerate(bands)
            for b in bands[i + 1 :]
        }
        parallax = self.parallax_range
        if parallax is None and catalog.parallax is not None:
            parallax = _data_range("parallax_range", catalog.parallax, required=False)
        return replace(
            self,
            mag_range={key: value for key, value in mags.items() if value is not None},
            color_ranges={key: value for key, value in colors.items() if value is not None},
            parallax_range=parallax,
            reference=self.reference if selection is None else selection.band,
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
            B bands.
        rng : numpy.random.Generator
        selection : MagnitudeLimits, optional
            Its band is the reference; only stars within its limits are drawn.

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
        wanted = self.reference if selection is None else selection.band
        reference = wanted if wanted is not None and wanted in bands else bands[0]
        mag_range = self._given_mag_range(reference)
        if selection is not None and selection.band == reference:
            mag_range = _overlap(mag_range, selection)
        mags = rng.uniform(*_given(f"mag_range[{reference!r}]", mag_range), size=n)
        drawn = np.empty((n, len(bands)))
        for index, band in enumerate(bands):
            drawn[:, index] = mags
            if band != reference:
                limits = self._given_color_range(band, reference)
                name = f"color_ranges[{band!r}, {reference!r}]"
                drawn[:, index] += rng.uniform(*_given(name, limits), size=n)
        return drawn

    def draw_parallax(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the parallaxes (n,) of n field stars, mas."""
        return rng.uniform(*_given("parallax_range", self.parallax_range), size=n)

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

    def _widths(
        self, bands: list[str], catalog: StarCatalog, selection: MagnitudeLimits | None
    ) -> list[float]:
        wanted = self.reference if selection is None else selection.band
        reference = wanted if wanted in bands else bands[0]
        ranges = [self._mag_range(reference, catalog, selection)]
        ranges += [self._color_range(b, reference, catalog) for b in bands if b != reference]
        return [_width(limits) for limits in ranges]

    def _mag_range(
        self,
        band: str,
        catalog: StarCatalog,
        selection: MagnitudeLimits | None,
        required: bool = True,
    ) -> Range | None:
        if selection is not None and selection.band != band:
            selection = None
        given = self._given_mag_range(band)
        if given is not None:
            # No star can be observed outside the selection.
            return given if selection is None else _overlap(given, selection)
        mags = catalog.mag[:, catalog.band_index(band)]
        if selection is None:
            return _data_range(f"mag_range[{band!r}]", mags, required)
        # A limit at infinity does not bound the region; the catalog does.
        bright = selection.bright if math.isfinite(selection.bright) else np.nanmin(mags)
        faint = selection.faint if math.isfinite(selection.faint) else np.nanmax(mags)
        return float(bright), float(faint)

    def _color_range(
        self, band: str, reference: str, catalog: StarCatalog, required: bool = True
    ) -> Range | None:
        given = self._given_color_range(band, reference)
        if given is not None:
            return given
        color = (
            catalog.mag[:, catalog.band_index(band)] - catalog.mag[:, catalog.band_index(reference)]
        )
        return _data_range(f"color_ranges[{band!r}, {reference!r}]", color, required)


def _data_range(name: str, values: np.ndarray, required: bool = True) -> Range | None:
    """Return the least and greatest value; no width is an error where it is required."""
    finite = values[np.isfinite(values)]
    if finite.size and finite.max() > finite.min():
        return float(finite.min()), float(finite.max())
    if not required:
        return None
    raise ValueError(
        f"{name} of UniformField cannot be taken from the catalog, whose {finite.size} values "
        f"there have no width; give {name} as (low, high)."
    )


def _overlap(mag_range: Range | None, selection: MagnitudeLimits) -> Range | None:
    """Return the part of a range that passes the selection; None for a part without an end."""
    low, high = mag_range or (-math.inf, math.inf)
    low, high = max(low, selection.bright), min(high, selection.faint)
    if low >= high:
        raise ValueError(
            f"mag_range of UniformField is {mag_range} mag in {selection.band}, expected a range "
            f"that overlaps the selection, {selection.bright} to {selection.faint} mag; widen "
            f"mag_range, or leave it out for the limits of the selection."
        )
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _given(name: str, limits: Range | None) -> Range:
    if limits is None:
        raise ValueError(
            f"{name} of UniformField is needed to draw field stars and was not given; give it as "
            "(low, high), or take all ranges from a catalog with field.frozen(catalog)."
        )
    return limits


def _width(limits: Range | None) -> float:
    assert limits is not None  # only ranges that were not required may be None
    return limits[1] - limits[0]


def _check_color_ranges(
    color_ranges: Mapping[tuple[str, str], Range],
) -> dict[tuple[str, str], Range]:
    checked = {}
    for key, limits in dict(color_ranges).items():
        if not isinstance(key, tuple) or len(key) != 2 or key[0] == key[1]:
            raise ValueError(
                f"color_ranges must have pairs of different bands as keys, got {key!r}; "
                f"write (band, reference band)."
            )
        checked[key] = _check_range(f"color_ranges[{key!r}]", limits)
    return checked


def _check_range(name: str, limits: Any) -> Range:
    pair = tuple(limits) if isinstance(limits, Iterable) else (limits,)
    if len(pair) != 2 or not (math.isfinite(pair[0]) and math.isfinite(pair[1])):
        raise ValueError(f"{name} must be two finite numbers (low, high), got {limits!r}.")
    if not pair[0] < pair[1]:
        raise ValueError(
            f"{name} must ascend, got {limits!r}; put the smaller number first, "
            f"and give a range of some width."
        )
    return float(pair[0]), float(pair[1])
