"""Whether the posterior is the only answer: other optima, and chains that do not agree."""

import warnings
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.summaries.check_sampling import check_sampling
from pymc_starpop.summaries.chosen import ChosenCluster
from pymc_starpop.summaries.fit_rows import DOUBT, FINE, UNKNOWN, CheckRow
from pymc_starpop.summaries.posterior_tracks import of_cluster
from pymc_starpop.summaries.start import Start

__all__ = ["chain_row", "own_posterior", "rival_rows"]

# Isochrones that miss real stars by some hundredths of a magnitude move optima against each other
# by as much. Rivals of real open clusters were 1.5 to 7 nats below, at ages 0.05 to 0.2 dex apart.
_NATS = 10.0
# Optima within so many standard deviations of the posterior mean are part of it.
_INSIDE = 4.0
# As check_sampling: Vehtari et al. 2021, Bayesian Analysis 16, 667.
_RHAT = 1.01
_MOST_TOLD = 3


def own_posterior(posterior: xr.Dataset, of: ChosenCluster) -> xr.Dataset:
    """Return the posterior of one cluster: variables with one value for each have its own."""
    if of.place is None:
        return posterior
    own = of_cluster(posterior, of.place, of.rv.owner.op.model.cluster_names)
    assert own is not None
    return own


def rival_rows(start: Start | None, posterior: xr.Dataset, of: ChosenCluster) -> list[CheckRow]:
    """What the optima say that are not where the posterior is."""
    if start is None:
        advice = "give start=, what psp.find_start returned, to see whether other ages fit as well"
        return [CheckRow("rivals", "optima", np.nan, _NATS, UNKNOWN, advice)]
    if not isinstance(start, Start):
        raise ValueError(
            f"start must be what psp.find_start returned, got {type(start).__name__}; it holds "
            "the optima that were found"
        )
    optima = start.optima
    if "cluster" in optima:
        optima = optima.isel(optimum=np.flatnonzero(optima["cluster"].values == of.name))
    apart = [k for k in range(optima.sizes["optimum"]) if _apart(optima, k, posterior)]
    below = optima["below_best"].values - (
        0.0 if not optima.sizes["optimum"] else optima["below_best"].values.min()
    )
    near = [k for k in apart if below[k] < _NATS]
    if not near:
        least = float(min((below[k] for k in apart), default=np.nan))
        return [CheckRow("rivals", "optima", least, _NATS, FINE)]
    told = "; ".join(_told(optima, k, below[k], posterior) for k in near[:_MOST_TOLD])
    more = len(near) - _MOST_TOLD
    advice = (
        f"other optima fit nearly as well: {told}{f' and {more} more' if more > 0 else ''}. Quote "
        "them beside the answer, or find what tells them apart: a spectroscopic [Fe/H], another "
        "range of magnitudes, corrections of the isochrones"
    )
    value = float(min(below[k] for k in near))
    return [CheckRow("rivals", "optima", value, _NATS, DOUBT, advice)]


def _scalars(optima: xr.Dataset, posterior: xr.Dataset) -> list[str]:
    """Names of what both have one number of."""
    return [
        str(name)
        for name in optima.data_vars
        if optima[name].ndim == 1 and name in posterior and posterior[name].ndim == 2
    ]


def _apart(optima: xr.Dataset, k: int, posterior: xr.Dataset) -> bool:
    """Whether an optimum lies outside of the posterior."""
    for name in _scalars(optima, posterior):
        draws = posterior[name].values
        if abs(float(optima[name][k]) - draws.mean()) > _INSIDE * draws.std():
            return True
    return False


def _told(optima: xr.Dataset, k: int, below: float, posterior: xr.Dataset) -> str:
    """Say where an optimum is, by the variable that differs most."""
    names = _scalars(optima, posterior)
    # An age says most.
    names = [name for name in names if name == "log_age"] or names

    def distance(name: str) -> float:
        draws = posterior[name].values
        return abs(float(optima[name][k]) - draws.mean()) / max(draws.std(), 1e-300)

    name = max(names, key=distance)
    mean = float(posterior[name].mean())
    return f"{name} = {float(optima[name][k]):.4g} (posterior {mean:.4g}), {below:.1f} nats below"


def chain_row(idata: Any) -> CheckRow:
    """Whether the chains agree, with what `check_sampling` says of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = check_sampling(idata)
    rhat = report.parameters["r_hat"].values
    if np.isnan(rhat).all():
        advice = "a single chain: whether others would agree with it is not known; take chains=4"
        return CheckRow("chains", "r_hat", np.nan, _RHAT, UNKNOWN, advice)
    worst = int(np.nanargmax(rhat))
    name, value = str(report.parameters["parameter"].values[worst]), float(rhat[worst])
    if not value > _RHAT:
        return CheckRow("chains", f"r_hat of {name}", value, _RHAT, FINE)
    told = next((text for text in report.problems if text.startswith("chains do not")), "")
    return CheckRow("chains", f"r_hat of {name}", value, _RHAT, DOUBT, told)
