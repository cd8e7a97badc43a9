"""Parallaxes, temperatures and [Fe/H] of field stars, uniform over a range."""

from typing import Any

import numpy as np

from pymc_starpop.field._ranges import (
    MEASURED,
    check_range,
    data_range,
    given_range,
    log_column_density,
)
from pymc_starpop.stars.catalog import StarCatalog

__all__ = ["UniformColumns"]


class UniformColumns:
    """Part of a field model: ``parallax_range``, ``teff_range`` and ``feh_range``."""

    def _check_columns(self) -> None:
        """Check the ranges that were given."""
        for name in (f"{column}_range" for column in MEASURED):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_range(name, getattr(self, name)))

    def draw_parallax(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the parallaxes (n,) of n field stars, mas."""
        return self._draw_column("parallax_range", n, rng)

    def draw_teff(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the effective temperatures (n,) of n field stars, K."""
        return self._draw_column("teff_range", n, rng)

    def draw_feh(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the [Fe/H] (n,) of n field stars, dex."""
        return self._draw_column("feh_range", n, rng)

    def _draw_column(self, name: str, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(*given_range(name, getattr(self, name), type(self).__name__), size=n)

    def _log_column_density(self, catalog: StarCatalog) -> np.ndarray:
        """Log density (N,) of what was measured, 0 for a star of which nothing was."""
        given = {name: getattr(self, f"{name}_range") for name in MEASURED}
        return log_column_density(catalog, given, type(self).__name__)

    def _column_ranges(self, catalog: StarCatalog) -> dict[str, Any]:
        """Ranges that are given or that the catalog defines, by the name of the field."""
        return {
            f"{name}_range": getattr(self, f"{name}_range")
            or data_range(name, getattr(catalog, name), type(self).__name__, required=False)
            for name in MEASURED
        }
