"""Whether the chains of a sampler can be trusted: said aloud for every sampler, with a table."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["SamplingReport", "check_sampling"]

_HERE = str(Path(__file__).parents[1])  # warnings point at the code that calls this package

# Vehtari et al. 2021 (Bayesian Analysis 16, 667): r_hat below 1.01 and 100 effective draws a chain.
_RHAT = 1.01
_ESS = 100.0
# Fewer draws a chain than PyMC takes for enough to judge by.
_DRAWS = 100
# One chain cut in two: the halves hold fewer draws, and r_hat of them is larger by chance.
_RHAT_OF_ONE = 1.05
# Ranks of draws that vary within chains give an r_hat of a few; larger ones divide by rounding.
_NO_VARIANCE = 1e6
# Share of trajectories at the greatest depth, as in PyMC's check.
_DEEP = 0.05
# Chains whose means are further apart than so many of their own standard deviations differ.
_APART = 2.0
_MAX_NAMED = 4
# What the samplers call the same: PyMC, nutpie.
_DEPTH = ("reached_max_treedepth", "maxdepth_reached")
_LOGP = ("lp", "logp")


@dataclass(frozen=True)
class SamplingReport:
    """What `check_sampling` found; printed, a small table.

    Attributes
    ----------
    parameters : xarray.Dataset
        One entry a variable (dim ``parameter``), the worst of its elements: ``r_hat``,
        ``ess_bulk``, ``ess_tail``.
    chains : xarray.Dataset
        One entry a chain (dim ``chain``): ``r_hat`` of its own two halves, the worst over the
        variables, ``logp`` (mean log density), ``divergences`` and ``deepest`` (share of
        trajectories at the greatest depth), as far as the sampler kept them.
    problems : tuple of str
        What was warned of.
    """

    parameters: xr.Dataset
    chains: xr.Dataset
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problems

    def __str__(self) -> str:
        """Return the tables of variables, worst first, and of chains."""
        worst = np.argsort(-np.nan_to_num(self.parameters["r_hat"].values), kind="stable")
        tables = [_table(self.parameters.isel(parameter=worst), "parameter")]
        tables.append(_table(self.chains, "chain"))
        tables.append("no problem found" if self.ok else f"problems: {len(self.problems)}")
        return "\n\n".join(tables)


def check_sampling(idata: Any, *, var_names: Sequence[str] | None = None) -> SamplingReport:
    """Check the chains of a posterior, and warn of everything that forbids to trust them.

    PyMC's NUTS says when chains do not agree, nutpie does not, and ``arviz.diagnose`` finds nothing
    wrong with a single chain. Here each of these is one warning: a rank-normalized r_hat above 1.01
    (Vehtari et al. 2021, Bayesian Analysis 16, 667), with the chains that differ; fewer than 100
    effective draws a chain, bulk or tail; divergences; a single chain, and whether its halves
    agree; chains that never moved; more than 5 % of the trajectories at the greatest depth; values
    that are not finite; fewer than 100 draws a chain.

    Parameters
    ----------
    idata : xarray.DataTree or xarray.Dataset
        Result of ``pm.sample``, with any sampler, or its posterior, with the dimensions ``chain``
        and ``draw``.
    var_names : sequence of str, optional
        Variables to check; by default all.

    Returns
    -------
    SamplingReport
        ``print`` it for the table; ``report.ok`` says whether nothing was found.

    Raises
    ------
    ValueError
        If there is no posterior with chains and draws, none of them, or no such variable.

    Warns
    -----
    UserWarning
        One for each problem.

    Examples
    --------
    >>> import numpy as np, xarray as xr, pymc_starpop as psp
    >>> draws = np.random.default_rng(1).normal(9.3, 0.01, (4, 1000))
    >>> psp.check_sampling(xr.Dataset({"log_age": (("chain", "draw"), draws)})).ok
    True
    """
    posterior, stats = _groups(idata, var_names)
    parameters, worst = _parameters(posterior)
    chains = _chains(posterior, worst, stats)
    problems = (
        *_about_draws(posterior, chains),
        *_about_agreement(parameters, worst, chains),
        *_about_trajectories(chains, posterior.sizes["draw"]),
    )
    for problem in problems:
        warnings.warn(problem, skip_file_prefixes=(_HERE,))
    return SamplingReport(parameters, chains, problems)


def _groups(
    idata: Any, var_names: Sequence[str] | None
) -> tuple[xr.Dataset, dict[str, xr.DataArray]]:
    """Return the variables to check and the statistics of the sampler."""
    tree = isinstance(idata, xr.DataTree)
    inner = tree and "posterior" in idata.children
    posterior = (idata["posterior"] if inner else idata).dataset if tree else idata
    if not isinstance(posterior, xr.Dataset) or not {"chain", "draw"} <= set(posterior.dims):
        raise ValueError(
            "idata must hold a posterior with the dimensions chain and draw, got "
            f"{type(idata).__name__}; give what pm.sample returned"
        )
    n_chain, n_draw = posterior.sizes["chain"], posterior.sizes["draw"]
    if not n_chain or not n_draw:
        raise ValueError(
            f"idata: the posterior holds no draws (chains: {n_chain}, draws: {n_draw}); sample "
            "anew with draws=1000, and look whether the sampler was interrupted"
        )
    names = [str(n) for n in posterior.data_vars] if var_names is None else list(var_names)
    lacking = [name for name in names if name not in posterior]
    if lacking:
        raise ValueError(f"var_names: the posterior has no {', '.join(lacking)}")
    of_samples = [n for n in names if {"chain", "draw"} <= set(posterior[n].dims)]
    numbers = [n for n in of_samples if posterior[n].dtype.kind in "fiub"]
    if not numbers:
        raise ValueError("idata: the posterior has no variable of numbers by chain and draw")
    stats = idata["sample_stats"].dataset if tree and "sample_stats" in idata.children else {}
    return posterior[numbers].astype(float), {str(name): stats[name] for name in stats}


def _parameters(posterior: xr.Dataset) -> tuple[xr.Dataset, xr.DataArray]:
    """Return the worst r_hat and sizes of each variable, and the draws of its worst element.

    Draws have the dimensions parameter, chain and draw. An element that is the same in all draws
    has no r_hat and is left out; where it is the same within each chain alone, r_hat is infinite.
    """
    import arviz_stats as azs  # seconds, which `import pymc_starpop` does not wait for

    one = posterior.sizes["chain"] == 1
    # What is constant divides zero by zero there.
    with np.errstate(divide="ignore", invalid="ignore"):
        rhat = azs.rhat(_halves(posterior) if one else posterior)
        bulk, tail = (azs.ess(posterior, method=kind) for kind in ("bulk", "tail"))
    rows, series = [], []
    for name in map(str, posterior.data_vars):
        values = posterior[name].transpose(..., "chain", "draw").values
        flat = values.reshape(-1, *values.shape[-2:])
        fixed = np.ptp(flat, axis=(1, 2)) == 0.0
        of = [np.where(fixed, np.nan, np.ravel(found[name].values)) for found in (rhat, bulk, tail)]
        of[0] = _infinite(of[0])
        rows.append([_extreme(of[0], np.max), _extreme(of[1], np.min), _extreme(of[2], np.min)])
        series.append(flat[int(np.argmax(np.nan_to_num(of[0], nan=-1.0)))])
    table = xr.Dataset(
        {
            name: ("parameter", column)
            for name, column in zip(
                ("r_hat", "ess_bulk", "ess_tail"), np.array(rows).T, strict=True
            )
        },
        coords={"parameter": [str(name) for name in posterior.data_vars]},
    )
    draws = xr.DataArray(
        np.array(series), dims=("parameter", "chain", "draw"), coords={"chain": posterior["chain"]}
    )
    if one:  # Nothing to compare it with.
        table["r_hat"] = xr.full_like(table["r_hat"], np.nan)
    return table, draws


def _extreme(values: np.ndarray, take: Any) -> float:
    """Largest or smallest of the numbers, NaN where there is none."""
    known = values[~np.isnan(values)]
    return float(take(known)) if known.size else np.nan


def _infinite(rhat: np.ndarray) -> np.ndarray:
    """Infinity for what was divided by a variance that is zero but for rounding."""
    return np.where(rhat > _NO_VARIANCE, np.inf, rhat)


def _halves(draws: Any) -> Any:
    """Two halves of a single chain as two chains."""
    half = draws.sizes["draw"] // 2
    parts = [draws.isel(draw=slice(k * half, (k + 1) * half)) for k in (0, 1)]
    parts = [part.assign_coords(chain=[k], draw=np.arange(half)) for k, part in enumerate(parts)]
    return xr.concat(parts, "chain")


def _rhat_of_one(draws: xr.DataArray) -> np.ndarray:
    """r_hat between the halves of a single chain, of every parameter."""
    import arviz_stats as azs

    with np.errstate(divide="ignore", invalid="ignore"):
        return _infinite(azs.rhat(_halves(draws).to_dataset(name="x"))["x"].values)


def _chains(
    posterior: xr.Dataset, worst: xr.DataArray, stats: dict[str, xr.DataArray]
) -> xr.Dataset:
    """Return what each chain alone says."""
    single = [
        _extreme(_rhat_of_one(worst.isel(chain=[k])), np.max) for k in range(worst.sizes["chain"])
    ]
    table = xr.Dataset({"r_hat": ("chain", single)}, coords={"chain": posterior["chain"]})
    for name in filter(stats.__contains__, _LOGP):
        table["logp"] = stats[name].mean("draw")
    if "diverging" in stats:
        table["divergences"] = stats["diverging"].astype(int).sum("draw")
    for name in filter(stats.__contains__, _DEPTH):
        table["deepest"] = stats[name].astype(float).mean("draw")
    varies = [not np.all(np.ptp(worst.values[:, k], axis=-1) == 0.0) for k in range(len(single))]
    return table.assign(moved=("chain", varies))


def _about_draws(posterior: xr.Dataset, chains: xr.Dataset) -> list[str]:
    """Problems of numbers of chains and draws, and of what they hold."""
    found = []
    n_chain, n_draw = posterior.sizes["chain"], posterior.sizes["draw"]
    bad = [str(name) for name in posterior.data_vars if not np.isfinite(posterior[name]).all()]
    if bad:
        found.append(f"{_listed(bad)}: draws that are not finite, so that nothing is known of them")
    if n_draw < _DRAWS:
        found.append(f"{n_draw} draws a chain are too few to judge by; take {_DRAWS} or more")
    stuck = [str(k) for k in chains["chain"].values[~chains["moved"].values]]
    if stuck:
        whose = "chains" if len(stuck) > 1 else "chain"
        found.append(
            f"{whose} {_listed(stuck)} did not move: all draws are the same; begin elsewhere "
            "(find_start), or at a smaller step: target_accept=0.95"
        )
    if n_chain == 1:
        drift = float(chains["r_hat"][0])
        halves = (
            f" Even its own halves disagree (r_hat {drift:.2f})." if drift > _RHAT_OF_ONE else ""
        )
        found.append(
            "a single chain: whether others would agree with it is not known, and r_hat is not "
            f"defined.{halves} Take chains=4"
        )
    return found


def _about_agreement(parameters: xr.Dataset, worst: xr.DataArray, chains: xr.Dataset) -> list[str]:
    """Problems of chains that differ, and of too few effective draws."""
    found = []
    rhat = parameters["r_hat"].values
    still = np.flatnonzero(np.isposinf(rhat))
    if still.size:
        names = parameters["parameter"].values[still]
        first = int(still[0])
        found.append(
            f"chains do not move in {_listed(names)}: within each all draws are the same, so that "
            f"r_hat is infinite. {_groups_of_chains(str(names[0]), worst[first], chains)}"
        )
    high = np.flatnonzero((rhat > _RHAT) & np.isfinite(rhat))
    if high.size:
        high = high[np.argsort(-rhat[high])]
        names = parameters["parameter"].values[high]
        first = int(high[0])
        found.append(
            f"chains do not agree: r_hat is {rhat[first]:.2f} for {names[0]}, above {_RHAT} for "
            f"{_listed(names)}. {_groups_of_chains(str(names[0]), worst[first], chains)}"
        )
    wanted = _ESS * worst.sizes["chain"]
    least = np.fmin(parameters["ess_bulk"].values, parameters["ess_tail"].values)
    # Of those that disagree too few is the same said twice.
    low = np.flatnonzero((least < wanted) & ~(rhat > _RHAT))
    if low.size:
        low = low[np.argsort(least[low])]
        names = parameters["parameter"].values[low]
        found.append(
            f"{least[low[0]]:.0f} effective draws for {names[0]}, fewer than {wanted:.0f} (100 a "
            f"chain) for {_listed(names)}; take more draws"
        )
    return found


def _groups_of_chains(name: str, draws: xr.DataArray, chains: xr.Dataset) -> str:
    """Say which chains stay together, and which of them lie lower."""
    means, widths = draws.mean("draw").values, draws.std("draw").values
    order = np.argsort(means)
    gaps = np.flatnonzero(np.diff(means[order]) > _APART * np.median(widths))
    groups = np.split(order, gaps + 1)
    if len(groups) == 1:
        return "They mix slowly: take more draws, or target_accept=0.95"
    parts = []
    logp = chains["logp"].values if "logp" in chains else None
    best = max(logp[group].mean() for group in groups) if logp is not None else np.nan
    for group in sorted(groups, key=len, reverse=True):
        labels = ", ".join(str(k) for k in sorted(chains["chain"].values[group]))
        below = best - logp[group].mean() if logp is not None else 0.0
        lower = f", {below:.1f} nats lower" if below > 1.0 else ""
        plural = "chains" if group.size > 1 else "chain"
        parts.append(f"{plural} {labels} near {name} = {means[group].mean():.5g}{lower}")
    return (
        f"They stay apart: {'; '.join(parts)}. Drop those that lie far lower (idata.sel(chain="
        "...)); where none does, draws say nothing of the weights of the places"
    )


def _about_trajectories(chains: xr.Dataset, n_draw: int) -> list[str]:
    """Divergences, and trajectories that were cut."""
    found = []
    n = int(chains["divergences"].sum()) if "divergences" in chains else 0
    if n:
        where = chains["chain"].values[chains["divergences"].values > 0]
        found.append(
            f"{n} of {n_draw * chains.sizes['chain']} trajectories diverged, in chain "
            f"{_listed(where)}; sample with target_accept=0.95 or more, or narrow the priors"
        )
    if "deepest" in chains:
        deep = chains["chain"].values[chains["deepest"].values > _DEEP]
        if deep.size:
            found.append(
                f"chain {_listed(deep)} cut more than {100 * _DEEP:.0f} % of the trajectories at "
                "the greatest depth: sampling is slow; tune longer"
            )
    return found


def _listed(names: Sequence[Any] | np.ndarray) -> str:
    """The first few, and how many more."""
    more = len(names) - _MAX_NAMED
    return ", ".join(str(n) for n in names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


_FORMATS = {"r_hat": ".3f", "ess_bulk": ".0f", "ess_tail": ".0f", "logp": ".1f", "deepest": ".1%"}


def _table(data: xr.Dataset, dim: str) -> str:
    """Rows along the dimension, one column a variable."""
    names = [str(n) for n in data.data_vars if n != "moved"]
    cells = [[dim, *names]]
    cells += [
        [str(data[dim].values[k])]
        + [format(data[n].values[k].item(), _FORMATS.get(n, "")) for n in names]
        for k in range(data.sizes[dim])
    ]
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    rows = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in cells]
    return "\n".join("  ".join(row) for row in rows)
