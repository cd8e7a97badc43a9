"""Priors on star formation histories: Gaussian in the logarithm of the masses formed, or flat.

A prior says what is expected of the rates in the age bins of a galaxy. All but the flat one are
Gaussian in ln R_j, R_j = SFR_j dt_j, with mean and covariance in closed form, so that the fast fit
can find their mode and a sampler can draw from them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "AgeBins",
    "ContinuityPrior",
    "FlatPrior",
    "GaussianProcessPrior",
    "LogNormalPrior",
    "SFRPrior",
]

# Standard deviation of the overall level, in ln SFR: a factor of 20 either way.
_LEVEL_SD = 3.0
_ROOT_3 = np.sqrt(3.0)


@dataclass(frozen=True, eq=False)
class AgeBins:
    """Age bins of a galaxy and the rate around which a prior is laid by default.

    Attributes
    ----------
    log_age : (N_age,)
        log10(age / yr) of the young edges.
    years : (N_age,)
        Widths, yr.
    mean_sfr : float
        Mass formed in all over the time since star formation began, Msun/yr.
    """

    log_age: np.ndarray
    years: np.ndarray
    mean_sfr: float


class SFRPrior:
    """A prior that is Gaussian in ln SFR; subclass it to write your own."""

    def moments(self, bins: AgeBins) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean (N_age,) and the covariance (N_age, N_age) of ln(SFR / (Msun/yr))."""
        raise NotImplementedError(f"{type(self).__name__} must define moments(bins).")


@dataclass(frozen=True)
class FlatPrior:
    """Flat in every mass formed, R_j >= 0: improper, and slow to sample.

    Draws from the prior are not possible. The posterior of bins that the data hardly constrain
    reaches down to R_j = 0, far from normal, so that ``pm.sample(target_accept=0.95)`` is needed.
    """


@dataclass(frozen=True)
class LogNormalPrior(SFRPrior):
    """Independent log-normal rates; with a wide sigma sample with ``target_accept=0.95``.

    Parameters
    ----------
    median : float or array-like (N_age,), optional
        Median rate, Msun/yr; by default the mean rate of the fast fit.
    sigma : float
        Standard deviation of ln SFR.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> psp.LogNormalPrior(median=1e-3, sigma=1.0)
    LogNormalPrior(median=0.001, sigma=1.0)
    """

    median: Any = None
    sigma: float = 1.0

    def __post_init__(self) -> None:
        _check_median(self.median)
        _check_positive("LogNormalPrior", sigma=self.sigma)

    def moments(self, bins: AgeBins) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and covariance of ln SFR."""
        return _log_median(self.median, bins), self.sigma**2 * np.eye(bins.years.size)


@dataclass(frozen=True)
class ContinuityPrior(SFRPrior):
    """Rates that change little from one age bin to the next; the default.

    ln SFR_(j+1) - ln SFR_j ~ N(0, scale), and the mean of ln SFR over the bins is normal around the
    logarithm of `median` with `level_sd`.

    Parameters
    ----------
    scale : float
        Standard deviation of the change of ln SFR between neighboring bins.
    median : float, optional
        Median of the overall level, Msun/yr; by default the mean rate of the fast fit.
    level_sd : float
        Standard deviation of the overall level in ln SFR; broad by default.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> psp.ContinuityPrior(0.3).scale
    0.3
    """

    scale: float = 0.3
    median: float | None = None
    level_sd: float = _LEVEL_SD

    def __post_init__(self) -> None:
        _check_median(self.median)
        _check_positive("ContinuityPrior", scale=self.scale, level_sd=self.level_sd)

    def moments(self, bins: AgeBins) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and covariance of ln SFR."""
        n = bins.years.size
        walk = self.scale * np.tri(n, n - 1, -1)
        walk -= walk.mean(axis=0)
        return _log_median(self.median, bins), walk @ walk.T + self.level_sd**2


@dataclass(frozen=True)
class GaussianProcessPrior(SFRPrior):
    """Rates that are smooth in log age: a Gaussian process with a Matern-3/2 covariance.

    Rates at ages d dex apart have Cov(ln SFR_i, ln SFR_j) = scale^2 (1 + s) exp(-s) + level_sd^2,
    s = sqrt(3) d / length (Rasmussen & Williams 2006, eq. 4.17); level_sd is that of the overall
    level.

    Parameters
    ----------
    scale : float
        Standard deviation of ln SFR around the overall level.
    length : float
        Correlation length, dex of age.
    median : float, optional
        Median of the overall level, Msun/yr; by default the mean rate of the fast fit.
    level_sd : float
        Standard deviation of the overall level in ln SFR; broad by default.
    """

    scale: float = 1.0
    length: float = 0.5
    median: float | None = None
    level_sd: float = _LEVEL_SD

    def __post_init__(self) -> None:
        _check_median(self.median)
        _check_positive(
            "GaussianProcessPrior", scale=self.scale, length=self.length, level_sd=self.level_sd
        )

    def moments(self, bins: AgeBins) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and covariance of ln SFR."""
        apart = np.abs(bins.log_age[:, None] - bins.log_age)
        s = _ROOT_3 * apart / self.length
        covariance = self.scale**2 * (1.0 + s) * np.exp(-s) + self.level_sd**2
        return _log_median(self.median, bins), covariance


def _log_median(median: Any, bins: AgeBins) -> np.ndarray:
    """Logarithm of the median rate in each bin (N_age,)."""
    value = np.asarray(bins.mean_sfr if median is None else median, dtype=float)
    if value.shape not in ((), bins.years.shape):
        raise ValueError(
            f"median must be one rate or one for each of {bins.years.size} age bins, got shape "
            f"{value.shape}."
        )
    return np.log(np.broadcast_to(value, bins.years.shape))


def _check_median(median: Any) -> None:
    if median is None:
        return
    values = np.asarray(median, dtype=float)
    if not np.isfinite(values).all() or (values <= 0).any():
        raise ValueError(f"median must be a positive rate in Msun/yr, got {median}.")


def _check_positive(where: str, **values: float) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{where}: {name} must be positive, got {value}.")
