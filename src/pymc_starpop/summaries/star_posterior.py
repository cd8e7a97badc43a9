"""Masses, mass ratios and memberships of single stars, drawn from the posterior."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr

from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.summaries.chosen import ChosenCluster, chosen_clusters, joined
from pymc_starpop.summaries.cluster_draws import ClusterDraw, ClusterDraws
from pymc_starpop.summaries.tracks import draw_on_tracks

__all__ = ["star_posterior", "summarize_stars"]

_ATTRIBUTES = {
    "initial_mass": {"units": "Msun", "long_name": "initial mass of the primary, if a member"},
    "mass_ratio": {"long_name": "mass ratio, 0 for a single star or a dark companion, if a member"},
    "membership": {"long_name": "probability of membership"},
}


def star_posterior(
    idata: Any,
    model: pm.Model | None = None,
    catalog: StarCatalog | None = None,
    *,
    name: str | None = None,
    cluster: str | None = None,
    thin: int = 1,
    random_seed: np.random.Generator | int | None = None,
    progressbar: bool = True,
) -> xr.Dataset:
    """Draw the mass and the companion of each star, for every posterior draw.

    For each draw of the parameters one point of the tracks is drawn for every star, with the
    density of the member part of the integrand,

        p(M, q | x_i) ~ pi(M) pi(q) N(x_i | y(M, q), S_i),

    exactly: a segment by its integral, then a place along it. Mass and mass ratio are those of the
    star if it is a member; ``membership`` is the probability that it is, as from
    `pymc_starpop.membership`.

    Parameters
    ----------
    idata : xarray.DataTree or xarray.Dataset
        Result of `pm.sample`, or its posterior.
    model : pm.Model, optional
        The model that was sampled; by default the one of the surrounding ``with``.
    catalog : StarCatalog, optional
        Other stars in the same bands, by default those that were fitted.
    name : str, optional
        Name of the `ClusterPhotometry` variable, where the model has several.
    cluster : str, optional
        Name of a cluster, where the variable has several; by default all of them.
    thin : int
        Every how many draws of each chain to use.
    random_seed : numpy.random.Generator or int, optional
        Source of randomness or a seed.
    progressbar : bool
        Whether to show progress.

    Returns
    -------
    xarray.Dataset
        Dimensions (chain, draw, star): ``initial_mass`` (Msun), ``mass_ratio`` (0 for a single
        star, and where the companion is too light to shine) and ``membership``.

    Raises
    ------
    ValueError
        As `pymc_starpop.membership`, and for a `thin` that is no whole number above 0.

    See Also
    --------
    summarize_stars : mean, standard deviation and quantiles of each star.
    """
    chosen = chosen_clusters(model, name, cluster, catalog)
    rng = np.random.default_rng(random_seed)

    def measure(draw: ClusterDraw) -> dict[str, np.ndarray]:
        mass, ratio = draw_on_tracks(draw, draw.mass, draw.ratio, rng)
        return {"initial_mass": mass, "mass_ratio": ratio, "membership": draw.membership}

    variables = {v: (("star",), attributes) for v, attributes in _ATTRIBUTES.items()}

    def stars_of(of: ChosenCluster) -> xr.Dataset:
        draws = ClusterDraws(idata, of, catalog, thin=thin)
        coords, sizes = {"star": draws.star}, {"star": draws.star.size}
        return draws.collect(measure, variables, coords, sizes, "Drawing stars", progressbar)

    return joined([stars_of(of) for of in chosen], chosen, "star")


def summarize_stars(
    stars: xr.Dataset, quantiles: Sequence[float] = (0.025, 0.16, 0.5, 0.84, 0.975)
) -> xr.Dataset:
    """Mean, standard deviation and quantiles of each star's mass and mass ratio.

    Given that the star is a member: draws count with its membership in them.

    Parameters
    ----------
    stars : xarray.Dataset
        From `star_posterior`.
    quantiles : sequence of float
        Between 0 and 1.

    Returns
    -------
    xarray.Dataset
        By star: ``initial_mass`` and ``mass_ratio`` with a dimension ``statistic`` ("mean", "sd"
        and the quantiles, such as "q0.5"); ``companion``, the probability of a companion that
        shines, given membership; ``membership``, its mean. NaN where a star can be no member.

    Raises
    ------
    ValueError
        For quantiles outside 0 to 1, and a Dataset that lacks a variable.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> values = {"initial_mass": [1.0, 1.1], "mass_ratio": [0.0, 0.5], "membership": [1.0, 1.0]}
    >>> stars = xr.Dataset({k: (("chain", "draw", "star"), np.array(v).reshape(1, 2, 1))
    ...                     for k, v in values.items()})
    >>> float(summarize_stars(stars)["initial_mass"].sel(statistic="mean")[0])
    1.05
    """
    levels = np.asarray(quantiles, dtype=float)
    if levels.ndim != 1 or not np.all((levels >= 0.0) & (levels <= 1.0)):
        raise ValueError(f"quantiles must be numbers between 0 and 1, got {quantiles!r}")
    if missing := [v for v in _ATTRIBUTES if v not in stars]:
        raise ValueError(f"stars lacks {', '.join(missing)}; give what psp.star_posterior returned")
    flat = stars.stack(sample=("chain", "draw")).transpose("star", "sample")
    weight = flat["membership"].values
    total = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, total, out=np.full(weight.shape, np.nan), where=total > 0.0)
    names = ["mean", "sd", *(f"q{level:g}" for level in levels)]
    result: dict[str, Any] = {}
    for variable in ("initial_mass", "mass_ratio"):
        values = flat[variable].values
        mean = (weight * values).sum(axis=1)
        sd = np.sqrt((weight * (values - mean[:, None]) ** 2).sum(axis=1))
        columns = np.column_stack([mean, sd, _weighted_quantiles(values, weight, levels)])
        result[variable] = (("star", "statistic"), columns, _ATTRIBUTES[variable])
    result["companion"] = ("star", (weight * (flat["mass_ratio"].values > 0.0)).sum(axis=1))
    result["membership"] = ("star", flat["membership"].values.mean(axis=1))
    # The labels of the stars and the names of their clusters.
    coords = {n: ("star", stars[n].values) for n in ("star", "cluster") if n in stars.coords}
    return xr.Dataset(result, coords=coords | {"statistic": names})


def _weighted_quantiles(values: np.ndarray, weight: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles (N, L) of rows (N, S) whose entries count with weights (N, S) of sum 1."""
    order = np.argsort(values, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    weight = np.take_along_axis(weight, order, axis=1)
    # Each entry stands in the middle of its weight.
    middle = np.cumsum(weight, axis=1) - 0.5 * weight
    return np.array(
        [
            np.interp(levels, m, v) if np.isfinite(m[0]) else np.full(levels.size, np.nan)
            for m, v in zip(middle, values, strict=True)
        ]
    ).reshape(len(values), levels.size)
