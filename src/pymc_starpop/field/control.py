"""The density of field stars learned from a control field."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from pymc_starpop.field._ranges import Range
from pymc_starpop.photometry import StarCatalog
from pymc_starpop.selection import MagnitudeLimits

__all__ = ["ControlField"]


@dataclass(frozen=True, eq=False, repr=False)
class ControlField:
    """Field stars as in a control field (signatures only, so far)."""

    catalog: StarCatalog
    estimator: Any = None
    reference: str | None = None
    parallax_range: Range | None = None
    teff_range: Range | None = None
    feh_range: Range | None = None
    model_dependent: ClassVar[bool] = False

    def log_density(
        self, catalog: StarCatalog, selection: MagnitudeLimits | None = None
    ) -> np.ndarray:
        """Return the natural log of the field density of each star, shape (N,)."""
        raise NotImplementedError

    def frozen(self, catalog: StarCatalog, selection: MagnitudeLimits | None = None) -> Self:
        """Return a field that stores what it takes from a catalog."""
        raise NotImplementedError

    def draw(
        self,
        n: int,
        bands: Sequence[str],
        rng: np.random.Generator,
        selection: MagnitudeLimits | None = None,
    ) -> np.ndarray:
        """Draw the magnitudes (n, B) of n field stars."""
        raise NotImplementedError

    def draw_parallax(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the parallaxes (n,) of n field stars, mas."""
        raise NotImplementedError
