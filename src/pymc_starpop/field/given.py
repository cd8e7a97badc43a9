"""Field densities that the user computes."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.selection import MagnitudeLimits

__all__ = ["FieldDensity", "without_constant"]


def without_constant(value: Any) -> Any:
    """Return the numbers of a constant of PyTensor, anything else as it is."""
    data = getattr(value, "data", None)
    is_constant = hasattr(value, "owner") and isinstance(data, np.ndarray)
    return np.array(data) if is_constant else value


@dataclass(frozen=True, eq=False, repr=False)
class FieldDensity:
    """The user's own log density of field stars, one number a star.

    Parameters
    ----------
    values : array-like or PyTensor vector, shape (N,)
        Natural log of the density of each star as a field star, in the units of the likelihood:
        1/mag for each band that the star has (1/flux in a catalog of fluxes), 1/mas with a
        parallax, 1/K and 1/dex with a spectroscopic temperature and [Fe/H]. It should integrate
        to 1 over the region that the selection lets pass. A PyTensor vector may hold parameters.
    sampler : callable, optional
        ``sampler(n, bands, rng, selection)`` returns magnitudes (n, B) of n field stars; predictive
        draws and simulations need it.

    Raises
    ------
    ValueError
        For values that are not a vector, are NaN or +inf, or an object that is not callable.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> cat = psp.StarCatalog([[12.0], [16.0]], [[0.1], [0.1]], bands=["TESS"])
    >>> psp.FieldDensity([-2.0, -2.5]).log_density(cat).tolist()
    [-2.0, -2.5]
    """

    values: Any
    sampler: Callable[..., Any] | None = None
    model_dependent: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the shape and the numbers."""
        object.__setattr__(self, "values", without_constant(self.values))
        if self.sampler is not None and not callable(self.sampler):
            raise ValueError(
                f"sampler must be a function of (n, bands, rng, selection), got {self.sampler!r}; "
                f"leave it out if nothing is drawn."
            )
        if self.is_symbolic:
            if self.values.ndim != 1:
                raise ValueError(
                    f"values must be a vector, one log density a star, got {self.values.ndim} "
                    f"dimensions; add up bands first."
                )
            return
        try:
            values = np.array(self.values, dtype=float)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"values must be numbers or a PyTensor vector, got {type(self.values).__name__} "
                f"that does not convert ({error}); give one log density a star."
            ) from error
        if values.ndim != 1:
            raise ValueError(
                f"values must have shape (N,), one log density a star, got {values.shape}; "
                f"add up bands first."
            )
        bad = np.isnan(values) | (values == np.inf)
        if bad.any():
            raise ValueError(
                f"values must be finite or -inf, got {values[bad][0]} in row "
                f"{np.flatnonzero(bad)[0]}; a star without a field density gets -inf."
            )
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    @property
    def is_symbolic(self) -> bool:
        """Whether the values are a PyTensor variable."""
        return hasattr(self.values, "owner")

    def __repr__(self) -> str:
        """Tell densities apart: the numbers by their hash, the rest by identity."""
        if self.is_symbolic:
            values = f"PyTensor vector {id(self.values):#x}"
        else:
            digest = hashlib.sha256(self.values.tobytes()).hexdigest()[:12]
            values = f"{self.values.size} values, {digest}"
        return f"FieldDensity({values}, sampler={self.sampler!r})"

    def log_density(self, catalog: StarCatalog, selection: MagnitudeLimits | None = None) -> Any:
        """Return the values, an array or a PyTensor vector, for a catalog of as many stars.

        Raises
        ------
        ValueError
            For an array of another length.
        """
        if not self.is_symbolic and self.values.size != catalog.n_star:
            raise ValueError(
                f"field holds {self.values.size} log densities for {catalog.n_star} stars; "
                f"select the same stars as for the catalog."
            )
        return self.values

    def frozen(self, catalog: StarCatalog, selection: MagnitudeLimits | None = None) -> Self:
        """Return the field itself: nothing in it depends on a catalog."""
        return self

    def draw(
        self,
        n: int,
        bands: Sequence[str],
        rng: np.random.Generator,
        selection: MagnitudeLimits | None = None,
    ) -> np.ndarray:
        """Draw the magnitudes (n, B) of n field stars with the sampler.

        Raises
        ------
        ValueError
            Without a sampler, or for one that returns another shape.

        Examples
        --------
        >>> field = FieldDensity([0.0], sampler=lambda n, bands, rng, selection:
        ...                      rng.uniform(10, 20, size=(n, len(bands))))
        >>> field.draw(2, ["TESS"], np.random.default_rng(1)).shape
        (2, 1)
        """
        if self.sampler is None:
            raise ValueError(
                "field stars cannot be drawn from log densities alone; give "
                "FieldDensity(values, sampler=...), a function of (n, bands, rng, selection) that "
                "returns magnitudes (n, bands)."
            )
        drawn = np.asarray(self.sampler(n, bands, rng, selection), dtype=float)
        if drawn.shape != (n, len(bands)):
            raise ValueError(
                f"sampler must return magnitudes of shape ({n}, {len(bands)}), got {drawn.shape}; "
                f"one row is one star, one column one band."
            )
        return drawn
