"""Field densities that are made of the cluster model itself, as in brutus."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from scipy.stats import chi2

from pymc_starpop.field._columns import UniformColumns
from pymc_starpop.field._ranges import Range
from pymc_starpop.field.given import without_constant
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.selection import MagnitudeLimits

__all__ = ["ChiSquareField", "InflatedScatterField"]


@dataclass(frozen=True)
class InflatedScatterField(UniformColumns):
    """Outliers scatter about the cluster's own sequence, with inflated errors.

    Inside the integral over mass and mass ratio the field density is
    N(x | y(M, q), (1 + scale^2) S), S the covariance of the star's magnitudes (or fluxes) and the
    model: the mixture is taken at every mass. Its norm has the factor (1 + scale^2)^(-n/2) for n
    measured bands, and it is normalized over what the selection lets pass. Parallaxes,
    temperatures and [Fe/H] are uniform over a range, as for every field. It suits stars whose
    errors are underestimated or whose photometry is blended; a field star far from the sequence it
    does not describe.

    Parameters
    ----------
    scale : float or PyTensor variable
        How much more than S the outliers scatter, in units of its standard deviations; positive.
        For several clusters also a tensor with one value for each.
    parallax_range, teff_range, feh_range : (float, float), optional
        Mas, K and dex; by default from the least to the greatest in the catalog.

    Raises
    ------
    ValueError
        For a number that is not positive and finite, or an array.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> psp.InflatedScatterField(5.0).model_dependent
    True
    """

    scale: Any
    parallax_range: Range | None = None
    teff_range: Range | None = None
    feh_range: Range | None = None
    model_dependent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check a number; a symbolic scale is checked where it is used."""
        value = without_constant(self.scale)
        if hasattr(value, "owner"):  # a PyTensor variable
            return
        most = 1 if hasattr(self.scale, "owner") else 0
        value = np.asarray(value)
        is_number = value.dtype.kind in "iuf" and value.ndim <= most
        if not (is_number and np.all((value > 0.0) & (value < np.inf))):
            raise ValueError(
                "scale must be a positive finite number, a scalar tensor, or for several clusters "
                f"a tensor with one value for each, got {self.scale!r}; 5 is a start, or give it a "
                "prior such as pm.HalfNormal."
            )

    def log_density(
        self, catalog: StarCatalog, selection: MagnitudeLimits | None = None
    ) -> np.ndarray:
        """Return the part (N,) of the log density that no parameter changes: of the columns.

        Examples
        --------
        >>> cat = StarCatalog([[12.0]], [[0.1]], bands=["TESS"])
        >>> InflatedScatterField(5.0).log_density(cat).tolist()
        [0.0]
        """
        return self._log_column_density(catalog)

    def frozen(self, catalog: StarCatalog, selection: MagnitudeLimits | None = None) -> Self:
        """Return a field that stores the ranges of a catalog, for use with another one."""
        return replace(self, **self._column_ranges(catalog))


@dataclass(frozen=True)
class ChiSquareField:
    """Outliers are as probable as a member at the tail of the chi-square distribution.

    With n measured values of a star, chi2_p the chi-square that p_value_cut of all members exceed
    (n - dof_reduction degrees of freedom) and D the diagonal matrix of their variances, intrinsic
    scatter included, the log density is that of a Gaussian there,

        ln F = -(chi2_p + n ln 2 pi + ln det D) / 2.

    It does not integrate to 1 and nothing can be drawn from it, so field fractions that it gives
    are nominal. The outlier model of brutus (Speagle et al. 2025) takes the same quantile, and the
    density in chi-square where this has that in magnitudes.

    Parameters
    ----------
    p_value_cut : float
        Probability, between 0 and 1, that a member lies farther out.
    dof_reduction : int
        Degrees of freedom to subtract from the number of measured values.

    Raises
    ------
    ValueError
        For a probability that is not between 0 and 1 and a negative or fractional reduction.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> psp.ChiSquareField().log_constant([2, 6]).round(3).tolist()
    [-13.351, -22.067]
    """

    p_value_cut: float = 1e-5
    dof_reduction: int = 0
    model_dependent: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0.0 < self.p_value_cut < 1.0:
            raise ValueError(
                f"p_value_cut must lie between 0 and 1, got {self.p_value_cut!r}; 1e-5 is usual."
            )
        if not (float(self.dof_reduction).is_integer() and self.dof_reduction >= 0):
            raise ValueError(
                f"dof_reduction must be a whole number of at least 0, got {self.dof_reduction!r}; "
                f"0 leaves the number of measured values."
            )

    def log_constant(self, n_measured: Any) -> np.ndarray:
        """Return -(chi2_p + n ln 2 pi)/2; the log density is this minus (ln det D)/2.

        Parameters
        ----------
        n_measured : array-like of int, shape (N,)
            Measured values of each star: bands, and one more for a parallax, a temperature or
            [Fe/H] that the likelihood compares.

        Returns
        -------
        ndarray
            Shape (N,); -inf without a degree of freedom, as in brutus.
        """
        n = np.asarray(n_measured, dtype=float)
        dof = n - self.dof_reduction
        # isf keeps the digits that 1 - p_value_cut would lose.
        quantile = chi2.isf(self.p_value_cut, np.maximum(dof, 1.0))
        return np.where(dof > 0, -0.5 * (quantile + n * math.log(2.0 * math.pi)), -np.inf)

    def draw(self, *_: Any, **__: Any) -> np.ndarray:
        """Raise: this is a constant for a star as it was measured, from which nothing is drawn.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(
            "field stars cannot be drawn from ChiSquareField, which is no density; use "
            "psp.UniformField or psp.ControlField to simulate or to predict them."
        )
