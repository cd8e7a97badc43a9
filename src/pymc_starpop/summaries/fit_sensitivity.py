"""Which stars decide the answer: the likelihood of a range of magnitudes made to count more."""

import numpy as np
import xarray as xr

from pymc_starpop.summaries.fit_draws import FitDraws
from pymc_starpop.summaries.fit_rows import DOUBT, FINE, UNKNOWN, CheckRow

__all__ = ["power_scaled", "sensitivity_rows"]

PARTS = ("bright", "middle", "faint")
PARAMETERS = ("log_age", "distance_modulus", "av", "feh")
# How much less and more a part counts.
_POWERS = (0.8, 1.25)
# With a right model, a share f of the information in the part and 1 - f elsewhere, the mean moves
# by sqrt(f (1 - f)) <= 1/2 standard deviations a unit of ln alpha, one standard deviation over
# data sets (see `power_scaled`). Three of these from one power to the other are a reason to doubt.
LIMIT = 3.0 * 0.5 * float(np.log(_POWERS[1] / _POWERS[0]))
# Vehtari et al. 2024 (JMLR 25, 72): weights with a larger Pareto k are not to be trusted.
_MOST_K = 0.7


def power_scaled(fit: FitDraws, mag: str) -> xr.Dataset | None:
    """Shift of parameters where the likelihood of a third of the stars is raised to a power.

    Kallioinen et al. 2024 (Statistics and Computing 34, 57): the draws get the weights
    exp[(alpha - 1) ln L_k], L_k the likelihood of the stars of a third, smoothed (PSIS). For a
    Gaussian posterior with covariance Sigma, to which the third contributes the information I_k and
    has its own maximum at theta_k, d mean / d ln alpha = Sigma I_k (theta_k - mean). If the model
    is right its covariance is Sigma I_k Sigma - Sigma I_k Sigma I_k Sigma, whose diagonal is at
    most a quarter of that of Sigma.

    Returns
    -------
    xarray.Dataset or None
        ``shift`` (part, parameter): mean at alpha = 1.25 minus that at 0.8, in posterior standard
        deviations; ``pareto_k``, ``mag_low``, ``mag_high``, ``n_star`` (part). None where no
        parameter varies.
    """
    varying = {name: fit.scalars(name) for name in PARAMETERS}
    if fit.parameters(0)[0].distance_modulus is None:
        distance = fit.scalars("distance_pc")
        varying["distance_modulus"] = None if distance is None else 5.0 * np.log10(distance) - 5.0
    values = {n: v for n, v in varying.items() if v is not None and np.ptp(v) > 0.0}
    if not values:
        return None
    stars = fit.mag[:, fit.columns.index(mag)]
    edges = np.nanquantile(stars, np.linspace(0.0, 1.0, len(PARTS) + 1))
    part = np.where(np.isfinite(stars), np.searchsorted(edges[1:-1], stars, side="left"), -1)
    shift = np.empty((len(PARTS), len(values)))
    pareto = np.empty(len(PARTS))
    for k in range(len(PARTS)):
        logp = fit.logp[:, part == k].sum(axis=1)
        (low, k_low), (high, k_high) = (_weights((a - 1.0) * logp) for a in _POWERS)
        pareto[k] = max(k_low, k_high)
        shift[k] = [((high - low) * v).sum() / v.std() for v in values.values()]
    return xr.Dataset(
        {
            "shift": (("part", "parameter"), shift),
            "pareto_k": ("part", pareto),
            "mag_low": ("part", edges[:-1]),
            "mag_high": ("part", edges[1:]),
            "n_star": ("part", np.bincount(part[part >= 0], minlength=len(PARTS))),
        },
        coords={"part": list(PARTS), "parameter": list(values)},
    )


def _weights(log_weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Smoothed weights of sum 1, and their Pareto k."""
    from arviz_stats.base import array_stats  # seconds, which importing does not wait for

    if np.ptp(log_weight) == 0.0:  # no parameter moves these stars
        return np.full(log_weight.size, 1.0 / log_weight.size), -np.inf
    smooth, pareto_k = array_stats.psislw(-log_weight)
    weight = np.exp(smooth - np.max(smooth))
    return weight / weight.sum(), float(pareto_k)


def sensitivity_rows(moved: xr.Dataset | None, mag: str) -> list[CheckRow]:
    """What the shifts say, a row a third with the parameter that moves most."""
    if moved is None:
        return []
    rows = []
    for number, part in enumerate(PARTS):
        third = moved.isel(part=number)
        shift = third["shift"].values
        most = int(np.argmax(np.abs(shift)))
        name = str(moved["parameter"].values[most])
        low, high = float(third["mag_low"]), float(third["mag_high"])
        of = f"{name}, {part} third ({mag} {low:.1f} to {high:.1f})"
        verdict, advice = FINE, ""
        if float(third["pareto_k"]) > _MOST_K:
            verdict = UNKNOWN
            advice = (
                f"Pareto k is {float(third['pareto_k']):.2f}: too few draws tell what these stars "
                "do; take more draws (n_draws), or fit without these stars and compare"
            )
        elif abs(shift[most]) > LIMIT:
            verdict = DOUBT
            names = moved["parameter"].values
            far = [k for k in np.argsort(-np.abs(shift)) if abs(shift[k]) > LIMIT]
            told = ", ".join(f"{names[k]} by {shift[k]:+.2f}" for k in far)
            advice = (
                f"if these stars count {_POWERS[1]} in place of {_POWERS[0]} times, the posterior "
                f"mean moves ({told} standard deviations), where a right model gives "
                f"{LIMIT / 3.0:.2f} or less: they disagree with the others; fit with another "
                "magnitude limit and quote the difference, or fit corrections"
            )
        rows.append(CheckRow("magnitude range", of, float(shift[most]), LIMIT, verdict, advice))
    return rows
