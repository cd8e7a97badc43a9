"""Distributions of the mass ratio in place of brutus' uniform one."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_starpop._namespace import expm1_ratio
from pymc_starpop.staged._arguments import check_columns
from pymc_starpop.staged.grid import smf_spacing

__all__ = ["BinaryPrior", "mass_ratio_prior"]


@dataclass(frozen=True)
class BinaryPrior:
    """Single stars and binaries as `pymc_starpop.cluster_logp` mixes them.

        pi(q) = (1 - f) delta(q) + f (1 + slope) q^slope / (1 - q_min^(1 + slope)), q_min <= q <= 1

    Parameters
    ----------
    binary_fraction : float
        f, the fraction of the born systems that are binaries, 0 to 1.
    mass_ratio_slope : float
        Exponent of the mass-ratio distribution.
    mass_ratio_min : float
        q_min, lowest mass ratio of a binary, above 0 and below 1.

    Raises
    ------
    ValueError
        For numbers outside their range.

    Examples
    --------
    >>> import numpy as np
    >>> BinaryPrior(0.4).probabilities(np.array([0.0, 0.1, 0.55, 1.0])).round(3).tolist()
    [0.6, 0.1, 0.2, 0.1]
    """

    binary_fraction: float
    mass_ratio_slope: float = 0.0
    mass_ratio_min: float = 0.1

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0.0 <= self.binary_fraction <= 1.0:
            raise ValueError(f"binary_fraction must be 0 to 1, got {self.binary_fraction}.")
        if not math.isfinite(self.mass_ratio_slope):
            raise ValueError(f"mass_ratio_slope must be finite, got {self.mass_ratio_slope}.")
        if not 0.0 < self.mass_ratio_min < 1.0:
            raise ValueError(
                f"mass_ratio_min must be above 0 and below 1, got {self.mass_ratio_min}."
            )

    def probabilities(self, smf_grid: np.ndarray) -> np.ndarray:
        """Probability (S,) of each mass ratio of a grid, summing to 1.

        The ratio 0 stands for single stars; a binary goes to the nearest other ratio.

        Raises
        ------
        ValueError
            For a grid that does not start at 0, or has no other ratio.
        """
        smf = np.asarray(smf_grid, dtype=float)
        if smf.ndim != 1 or smf.size < 2 or smf[0] != 0.0:
            raise ValueError(
                f"smf_grid must hold 0 for single stars, then ratios of binaries, got {smf}."
            )
        edges = np.concatenate([[0.0], 0.5 * (smf[1:-1] + smf[2:]), [1.0]])
        log_edges = np.log(np.maximum(edges, self.mass_ratio_min) / self.mass_ratio_min)
        exponent = 1.0 + self.mass_ratio_slope
        below = log_edges * expm1_ratio(exponent * log_edges)
        binaries = self.binary_fraction * np.diff(below) / below[-1]
        return np.concatenate([[1.0 - self.binary_fraction], binaries])


def mass_ratio_prior(
    grid: Mapping[str, Any], prior: Callable[[np.ndarray], Any] | BinaryPrior
) -> np.ndarray:
    """Weight of each point of a grid by a prior of the mass ratio, for `marginalize`.

    Points beyond the last EEP of binaries stand for all mass ratios and get the mean weight, so
    that they keep the full measure under any prior.

    Parameters
    ----------
    grid : mapping
        From `population_grid`; of it ``smf_values``, ``smf_jacobians`` and
        ``grid_info["smf_grid"]``.
    prior : callable or BinaryPrior
        Density of the mass ratio, an array of ratios in and out; it need not be normalized.

    Returns
    -------
    ndarray (G,)

    Raises
    ------
    ValueError
        For values of the prior that are negative or not finite, or all 0.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> grid = psp.staged.population_grid(
    ...     psp.load_isochrones(), 0.0, 9.4, 0.1, 3.1, 300.0, bands=["TESS"]
    ... )
    >>> twins = mass_ratio_prior(grid, lambda q: q)
    >>> float(twins[grid["smf_values"] == 1.0].max())
    1.0
    """
    values, measure = check_columns(grid, ("smf_values", "smf_jacobians"))
    if "grid_info" not in grid:
        raise ValueError("grid lacks grid_info, whose smf_grid says which mass ratios there are.")
    smf = np.asarray(grid["grid_info"]["smf_grid"], dtype=float)
    spacing = smf_spacing(smf)
    if isinstance(prior, BinaryPrior):
        weight = prior.probabilities(smf) / spacing
    else:
        weight = np.broadcast_to(np.asarray(prior(smf), dtype=float), smf.shape)
    if not (np.isfinite(weight) & (weight >= 0.0)).all() or not weight.any():
        raise ValueError(
            f"prior must give finite values of 0 or more, not all 0, at the mass ratios {smf}, "
            f"got {weight}."
        )
    mean = (weight * spacing).sum() / spacing.sum()
    slices = np.searchsorted(smf, values).clip(max=smf.size - 1)
    if (smf[slices] != values).any():
        raise ValueError("grid['smf_values'] has mass ratios that grid_info['smf_grid'] lacks.")
    stands_for_all = measure > spacing[slices] * (1.0 + 1e-12)
    return np.where(stands_for_all, mean, weight[slices])
