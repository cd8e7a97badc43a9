"""The density of field stars learned from a control field."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
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
from pymc_starpop.field._estimators import fitted_estimator, log_density_of, mixture_of
from pymc_starpop.field._mixture import Mixture, SampledDensity
from pymc_starpop.field._ranges import Range
from pymc_starpop.field.uniform import UniformField
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.colors import pair_of
from pymc_starpop.stars.fluxes import flux_of_asinh_mag
from pymc_starpop.stars.selection import MagnitudeLimits

__all__ = ["ControlField"]

_LEAST_SHARE = 1e-6  # of the control field's stars that must pass a selection
_MAX_ROUNDS = 10_000
_LEAST_BATCH = 1000  # draws of which those that pass the limits are kept


@dataclass(frozen=True, eq=False, repr=False)
class ControlField(UniformColumns):
    """Field stars are distributed as in a control field beside the cluster.

    The density is learned in the coordinates of `features`: one magnitude and the colors against
    it, whose Jacobian is 1. Gaussian mixtures and Gaussian kernel densities are integrated over the
    bands that a star lacks. With a selection the density is divided by the share of it that the
    limits let pass, and is then normalized over the region of the catalog. A completeness function
    is not applied: a control field observed in the same way has it already.

    In a catalog of fluxes, the cluster's or the control field's, magnitudes are asinh magnitudes
    as in `UniformField`.

    A star far from every star of the control field has a very small density, in which one bad
    measurement can rule a fit; ``uniform_share`` allows for such stars.

    Parameters
    ----------
    catalog : StarCatalog
        The control field, at least as deep as the cluster's catalog, in its bands or more. Only
        stars measured in all bands are used.
    estimator : object, optional
        ``scipy.stats.gaussian_kde`` of the stars by default. Or a ``GaussianMixture`` or
        ``KernelDensity`` of scikit-learn, fitted to `features` or yet to be fitted; a fitted
        ``gaussian_kde``; or an object whose ``score_samples`` or ``logpdf`` gives the log density
        (n,) of features (n, B), normalized. The last kind needs stars measured in all bands, and
        its share in a selection is an importance sample of 10,000 draws (to about 1 %).
    reference : str, optional
        Band of the reference magnitude of `features`; the first one by default.
    parallax_range, teff_range, feh_range : (float, float), optional
        Mas, K and dex, uniform as in `UniformField`; by default the range of the cluster's
        catalog.
    uniform_share : float
        Share of the field stars, 0 to below 1, that are not as in the control field but uniform;
        0.01 is enough against outliers.
    uniform : UniformField, optional
        Its ranges for them; by default those of the cluster's catalog.

    Raises
    ------
    ValueError
        For too few complete stars, an estimator of another kind or of another number of features,
        and ranges that are not finite and ascending.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> rng = np.random.default_rng(1)
    >>> g = rng.uniform(12.0, 20.0, size=(500, 1))
    >>> mag = np.hstack([g, g - rng.normal(1.0, 0.3, size=(500, 1))])
    >>> control = psp.StarCatalog(mag, np.full(mag.shape, 0.02), bands=["SDSS_g", "TESS"])
    >>> field = psp.ControlField(control)
    >>> field.log_density(control, psp.MagnitudeLimits("SDSS_g", faint=18.0)).shape
    (500,)
    """

    catalog: StarCatalog
    estimator: Any = None
    reference: str | None = None
    parallax_range: Range | None = None
    teff_range: Range | None = None
    feh_range: Range | None = None
    uniform_share: float = 0.0
    uniform: UniformField | None = None
    model_dependent: ClassVar[bool] = False
    _density: Mixture | SampledDensity = field(init=False)

    def __post_init__(self) -> None:
        """Check the arguments and learn the density."""
        if not isinstance(self.catalog, StarCatalog):
            raise ValueError(
                f"catalog must be a StarCatalog of the control field, got "
                f"{type(self.catalog).__name__}; make one as for the cluster."
            )
        self._check_columns()
        if not 0.0 <= self.uniform_share < 1.0:
            raise ValueError(
                f"uniform_share must lie in 0 to below 1, got {self.uniform_share!r}; 0.01 is "
                f"enough against outliers."
            )
        ranges.check_reference(self.reference)
        reference = self.reference or _first_magnitude(self.catalog)
        features = self.features(self.catalog, reference)
        features = features[self.catalog.measured.all(axis=1)]
        if len(features) < features.shape[1] + 2:
            raise ValueError(
                f"catalog has {len(features)} stars measured in all of its "
                f"{features.shape[1]} bands, too few to learn a density from; give fewer bands or "
                f"a larger control field."
            )
        estimator = fitted_estimator(self.estimator, features)
        for name, value in {
            "reference": reference,
            "estimator": estimator,
            "_density": self._learned(estimator, features, reference),
        }.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        """Tell fields apart by a hash of what was learned."""
        digest = hashlib.sha256()
        for array in self._density.arrays():
            digest.update(np.ascontiguousarray(array).tobytes())
        columns = ", ".join(f"{n}_range={getattr(self, f'{n}_range')}" for n in ranges.MEASURED)
        return (
            f"ControlField({self.catalog!r}, {type(self.estimator).__name__}, "
            f"reference={self.reference!r}, {columns}, uniform_share={self.uniform_share}, "
            f"uniform={self.uniform!r}, {digest.hexdigest()[:12]})"
        )

    @staticmethod
    def features(catalog: StarCatalog, reference: str | None = None) -> np.ndarray:
        """Return the coordinates in which a density is learned, shape (N, B).

        The first column is the magnitude in the reference band (the first by default), the others
        are the magnitudes in the other bands, in their order, minus that. Columns that are colors
        stay as they are. NaN where not measured.

        Examples
        --------
        >>> from pymc_starpop.stars.catalog import StarCatalog
        >>> cat = StarCatalog([[12.0, 10.5]], [[0.1, 0.1]], bands=["SDSS_g", "TESS"])
        >>> ControlField.features(cat).tolist()
        [[12.0, -1.5]]
        """
        index = catalog.band_index(reference or _first_magnitude(catalog))
        mags = magnitudes(catalog)
        others = np.delete(mags, index, axis=1)
        is_mag = _to_features(catalog.bands, index)[1:, index] != 0.0
        return np.hstack([mags[:, [index]], others - np.where(is_mag, mags[:, [index]], 0.0)])

    def log_density(
        self, catalog: StarCatalog, selection: MagnitudeLimits | None = None
    ) -> np.ndarray:
        """Return the natural log of the field density of each star.

        Parameters
        ----------
        catalog : StarCatalog
            Stars in bands of the control field.
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
            For bands that the control field lacks, stars without all bands where the estimator is
            no mixture, and limits that hardly any star of the control field passes.
        """
        learned = self._log_learned(catalog, selection)
        if self.uniform_share == 0.0:
            return learned
        uniform = self._uniform().log_density(catalog, selection)
        share = self.uniform_share
        return np.logaddexp(np.log1p(-share) + learned, np.log(share) + uniform)

    def _uniform(self) -> UniformField:
        """The uniform part, with the ranges of parallax and spectroscopy of both."""
        own = {f"{name}_range": getattr(self, f"{name}_range") for name in ranges.MEASURED}
        return replace(self.uniform or UniformField(), **own)

    def _log_learned(self, catalog: StarCatalog, selection: MagnitudeLimits | None) -> np.ndarray:
        """Log density (N,) of the stars that are as in the control field."""
        columns = self._columns(catalog.bands)
        mags = magnitudes(catalog)
        log_density = log_slope(catalog) + self._log_column_density(catalog)
        if self._density.complete_only:
            self._check_complete(catalog)
        for rows, used in stars_of_same_bands(catalog):
            if self._density.complete_only:
                used = np.argsort(columns)
            log_density[rows] += self._density.log_density(mags[rows][:, used], columns[used])
        if selection is None:
            return log_density
        column = catalog.band_index(selection.band)
        lacking = np.flatnonzero(~catalog.measured[:, column])
        if lacking.size:
            raise ValueError(
                f"selection is in {selection.band}, in which {lacking.size} stars were not "
                f"measured, rows {', '.join(map(str, lacking[:5]))}; use "
                f"catalog.select(limits.mask(catalog))."
            )
        softening = catalog.errors[:, column] if catalog.is_flux else None
        return log_density - np.log(self._share(selection, softening))

    def frozen(self, catalog: StarCatalog, selection: MagnitudeLimits | None = None) -> Self:
        """Return a field that stores the ranges of a catalog's parallaxes and spectroscopy."""
        columns = self._column_ranges(catalog)
        uniform = self.uniform
        if self.uniform_share > 0.0:
            uniform = (uniform or UniformField()).frozen(catalog, selection)
        return replace(self, uniform=uniform, **columns)

    def draw(
        self,
        n: int,
        bands: Sequence[str],
        rng: np.random.Generator,
        selection: MagnitudeLimits | None = None,
    ) -> np.ndarray:
        """Draw the magnitudes (n, B) of n field stars that pass the selection.

        Raises
        ------
        ValueError
            For bands that the control field lacks and limits that hardly any of its stars passes.
        """
        is_uniform = rng.random(n) < self.uniform_share
        drawn = np.empty((n, len(bands)))
        drawn[~is_uniform] = self._draw(int((~is_uniform).sum()), bands, rng, selection, None)
        if is_uniform.any():
            drawn[is_uniform] = self._uniform().draw(int(is_uniform.sum()), bands, rng, selection)
        return drawn

    def draw_flux(
        self,
        flux_err: np.ndarray,
        bands: Sequence[str],
        rng: np.random.Generator,
        selection: MagnitudeLimits | None = None,
    ) -> np.ndarray:
        """Draw the fluxes (n, B) of field stars whose flux errors (n, B) are given."""
        flux_err = np.asarray(flux_err, dtype=float)
        is_uniform = rng.random(len(flux_err)) < self.uniform_share
        errors = flux_err[~is_uniform]
        drawn = np.empty(flux_err.shape)
        mags = self._draw(len(errors), bands, rng, selection, errors)
        drawn[~is_uniform] = flux_of_asinh_mag(mags, errors)
        if is_uniform.any():
            uniform = self._uniform()
            drawn[is_uniform] = uniform.draw_flux(flux_err[is_uniform], bands, rng, selection)
        return drawn

    def _draw(
        self,
        n: int,
        bands: Sequence[str],
        rng: np.random.Generator,
        selection: MagnitudeLimits | None,
        softening: np.ndarray | None,
    ) -> np.ndarray:
        columns = self._columns(bands)
        if selection is None:
            return self._density.draw(n, rng)[:, columns]
        if softening is not None and selection.band in bands:
            softening = softening[:, list(bands).index(selection.band)]
        elif softening is not None:
            raise ValueError(
                f"bands must include {selection.band!r}, the band of the selection, got {bands}."
            )
        self._share(selection, softening)
        low, high = (np.broadcast_to(x, n) for x in limits_of_stars(selection, softening))
        selected = self.catalog.band_index(selection.band)
        drawn, todo = np.empty((n, self.catalog.n_band)), np.arange(n)
        for _ in range(_MAX_ROUNDS):
            if not todo.size:
                return drawn[:, columns]
            tried = np.resize(todo, max(todo.size, _LEAST_BATCH))
            mags = self._density.draw(tried.size, rng)
            passed = (mags[:, selected] >= low[tried]) & (mags[:, selected] <= high[tried])
            drawn[tried[passed]] = mags[passed]
            todo = np.setdiff1d(todo, tried[passed])
        raise ValueError(
            f"selection: {todo.size} of {n} field stars found no place between "
            f"{selection.bright} and {selection.faint} mag; give a deeper control field."
        )

    def _share(self, selection: MagnitudeLimits, softening: np.ndarray | None) -> np.ndarray:
        """Share of the density between the limits, shape (1,), or (n,) for fluxes."""
        column = self.catalog.band_index(selection.band)
        low, high = (np.atleast_1d(x) for x in limits_of_stars(selection, softening))
        share = self._density.share(column, low, high)
        if not np.all(share > _LEAST_SHARE):
            raise ValueError(
                f"selection: {share.min():.2g} of the stars of the control field lie between "
                f"{selection.bright} and {selection.faint} mag in {selection.band}; give a control "
                f"field that covers the limits."
            )
        return share

    def _columns(self, bands: Sequence[str]) -> np.ndarray:
        lacking = [band for band in bands if band not in self.catalog.bands]
        if lacking:
            raise ValueError(
                f"ControlField: its catalog lacks {', '.join(map(repr, lacking))} (it has "
                f"{', '.join(self.catalog.bands)}); give a control field in the cluster's bands."
            )
        return np.array([self.catalog.band_index(band) for band in bands])

    def _check_complete(self, catalog: StarCatalog) -> None:
        if set(catalog.bands) != set(self.catalog.bands):
            raise ValueError(
                f"ControlField: {type(self.estimator).__name__} cannot leave out bands, got a "
                f"catalog in {', '.join(catalog.bands)} for {', '.join(self.catalog.bands)}; use "
                f"the same bands, or a Gaussian mixture or kernel density."
            )
        rows = np.flatnonzero(~catalog.measured.all(axis=1))
        if rows.size:
            named = ", ".join(map(str, rows[:5]))
            more = f" and {rows.size - 5} more" if rows.size > 5 else ""
            raise ValueError(
                f"ControlField: {type(self.estimator).__name__} needs stars measured in all bands, "
                f"rows {named}{more} are not; leave them out, or use a Gaussian mixture or kernel "
                f"density, which are integrated over missing bands."
            )

    def _learned(
        self, estimator: Any, features: np.ndarray, reference: str
    ) -> Mixture | SampledDensity:
        """Turn a density of features into one of magnitudes."""
        forward = _to_features(self.catalog.bands, self.catalog.band_index(reference))
        back = np.linalg.inv(forward)
        mixture = mixture_of(estimator)
        if mixture is not None:
            if mixture.means.shape[1] != features.shape[1]:
                raise ValueError(
                    f"estimator was fitted to {mixture.means.shape[1]} features, expected "
                    f"{features.shape[1]}, those of ControlField.features(catalog)."
                )
            return mixture.transformed(back)
        log_density = partial(_log_density_of_magnitudes, log_density_of(estimator), forward)
        proposal = mixture_of(fitted_estimator(None, features))
        assert proposal is not None  # a kernel density is a mixture
        return SampledDensity(log_density, proposal.transformed(back))


def _log_density_of_magnitudes(
    log_density: Callable[[np.ndarray], Any], forward: np.ndarray, mags: np.ndarray
) -> Any:
    return log_density(mags @ forward.T)


def _first_magnitude(catalog: StarCatalog) -> str:
    return next(band for band in catalog.bands if pair_of(band) is None)


def _to_features(columns: Sequence[str], reference: int) -> np.ndarray:
    """Matrix (B, B) from the columns to the reference magnitude and the colors against it."""
    others = [k for k in range(len(columns)) if k != reference]
    matrix = np.eye(len(columns))[[reference, *others]]
    matrix[1:, reference] = [-1.0 if pair_of(columns[k]) is None else 0.0 for k in others]
    return matrix
