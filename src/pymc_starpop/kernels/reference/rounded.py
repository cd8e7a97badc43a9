"""Slow, obvious forms of the kernels of rounded numbers: one root a row, by halving."""

import numpy as np
from scipy import optimize, stats

__all__ = ["normal_center", "normal_scatter"]


def _mean_share(values, at, sigma, step, first, last):
    """Mean part of the intervals that lies from `first` to `last`, in standard deviations."""
    low, high = (values - at - 0.5 * step) / sigma, (values - at + 0.5 * step) / sigma
    inside = stats.truncnorm(low, high)
    return (inside.cdf(last) - inside.cdf(first)).mean()


def normal_center(values, start, sigma, step):
    """Median of rows of rounded numbers; arguments as of `rounded.normal_center`."""
    return np.array([
        optimize.bisect(
            lambda at, row=row, s=s: _mean_share(row, at, s, step, -np.inf, 0.0) - 0.5,
            first - step, first + step,
        )
        for row, first, s in zip(values, start, sigma, strict=True)
    ])  # fmt: skip


def normal_scatter(residuals, top, step):
    """Standard deviation of rows about 0; arguments as of `rounded.normal_scatter`."""
    inner = stats.norm.ppf(0.75)
    return np.array([
        optimize.bisect(
            lambda s, row=row: _mean_share(row, 0.0, s, step, -inner, inner) - 0.5,
            0.1 * step, last,
        )
        for row, last in zip(residuals, top, strict=True)
    ])  # fmt: skip
