"""The last three steps: mixture at every point, integral over the points, sum over the stars."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.isochrones.grid import RV_RANGE
from pymc_starpop.population.imf_base import InitialMassFunction
from pymc_starpop.staged._arguments import (
    accept_own_names,
    check_columns,
    check_fraction,
    check_stars,
    check_table,
)
from pymc_starpop.staged.grid import population_grid
from pymc_starpop.staged.likelihood import cluster_loglike
from pymc_starpop.staged.outliers import outlier_loglike
from pymc_starpop.staged.priors import BinaryPrior, mass_ratio_prior

__all__ = ["marginalize", "mixture", "population_loglike"]

_THETA = ("feh", "loga", "av", "rv", "dist", "field_fraction")


def mixture(
    lnl_cluster: Any, lnl_outlier: Any, cluster_prob: Any, field_fraction: Any
) -> np.ndarray:
    """Mix members and outliers at every point of the grid, before the integral over it.

        ln[w L_cluster + (1 - w) L_outlier],  w = cluster_prob (1 - field_fraction)

    Parameters
    ----------
    lnl_cluster, lnl_outlier : array-like (G, N)
        From `cluster_loglike` and `outlier_loglike`.
    cluster_prob : float or array-like (N,)
        Probability from elsewhere that a star is a member.
    field_fraction : float or array-like (N,)
        Fraction of the stars that are field stars.

    Returns
    -------
    ndarray (G, N)
        NaN where a point has no model.

    Raises
    ------
    ValueError
        For shapes that do not agree, and probabilities outside 0 to 1.

    Examples
    --------
    >>> mixture([[0.0]], [[-1.0]], 0.5, 0.0).round(3).tolist()
    [[-0.38]]
    """
    cluster = check_table("lnl_cluster", lnl_cluster)
    outlier = check_table("lnl_outlier", lnl_outlier)
    if cluster.shape != outlier.shape:
        raise ValueError(
            f"lnl_cluster and lnl_outlier must have the same shape, got {cluster.shape} and "
            f"{outlier.shape}; give the grid to outlier_loglike."
        )
    n_star = cluster.shape[1]
    prior = check_fraction("cluster_prob", cluster_prob, n_star)
    member = prior * (1.0 - check_fraction("field_fraction", field_fraction, n_star))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.logaddexp(cluster + np.log(member), outlier + np.log(1.0 - member))


def marginalize(
    lnl_mixture: Any, mass_jacobians: Any, smf_jacobians: Any, smf_prior: Any = None
) -> np.ndarray:
    """Average the likelihood of each star over the points of the grid.

        ln(sum_g u_g L_g / sum_g u_g),  u_g = mass_jacobians smf_jacobians smf_prior

    Points where no star has a finite value drop out of both sums; other values that are not finite
    count as 0.

    Parameters
    ----------
    lnl_mixture : array-like (G, N)
        From `mixture`.
    mass_jacobians, smf_jacobians : array-like (G,)
        From `population_grid`. Points with 0 or NaN drop out.
    smf_prior : array-like (G,), optional
        Prior of the mass ratio at each point, such as `mass_ratio_prior` gives; flat by default.

    Returns
    -------
    ndarray (N,)
        -inf for a star that no point explains.

    Raises
    ------
    ValueError
        For shapes that do not agree and negative weights.

    Examples
    --------
    >>> import numpy as np
    >>> np.exp(marginalize(np.log([[1.0], [3.0]]), [1.0, 3.0], [1.0, 1.0])).round(12).tolist()
    [2.5]
    """
    lnl = check_table("lnl_mixture", lnl_mixture)
    weight = np.ones(len(lnl))
    factors = {"mass_jacobians": mass_jacobians, "smf_jacobians": smf_jacobians}
    if smf_prior is not None:
        factors["smf_prior"] = smf_prior
    for name, values in factors.items():
        factor = np.asarray(values, dtype=float)
        if factor.shape != (len(lnl),):
            raise ValueError(
                f"{name} must have shape ({len(lnl)},), one for each row of lnl_mixture, got "
                f"{factor.shape}."
            )
        if (factor < 0.0).any():
            raise ValueError(
                f"{name} must not be negative, got {factor.min()}; the masses and mass ratios of "
                f"a grid ascend."
            )
        weight = weight * factor
    with np.errstate(divide="ignore"):
        log_weight = np.log(weight)
    valid = np.isfinite(lnl).any(axis=1) & np.isfinite(log_weight)
    if not valid.any():
        return np.full(lnl.shape[1], -np.inf)
    inside = np.where(np.isfinite(lnl[valid]), lnl[valid], -np.inf)
    share = log_weight[valid] - special.logsumexp(log_weight[valid])
    return special.logsumexp(inside + share[:, None], axis=0)


@accept_own_names
def population_loglike(
    theta: Any,
    iso: IsochroneGrid | Mapping[str, Any],
    obs_phot: Any,
    obs_err: Any,
    parallax: Any = None,
    parallax_err: Any = None,
    cluster_prob: Any = 0.95,
    dim_prior: bool = True,
    outlier_model_func: str | Callable[..., Any] | None = None,
    smf_grid: Any = None,
    eep_grid: Any = None,
    mini_bound: float = 0.08,
    eep_binary_max: float = 480.0,
    corr_params: Any = None,
    return_components: bool = False,
    mask: Any = None,
    bands: Sequence[str] | None = None,
    imf: InitialMassFunction | None = None,
    smf_prior: Any = None,
    **outlier_kwargs: Any,
) -> Any:
    """Log-likelihood of a population: all steps, summed over the stars.

    Parameters
    ----------
    theta : array-like (6,)
        [Fe/H] (dex), log10(age / yr), A_V (mag), R_V, distance (pc), field fraction.
    iso : IsochroneGrid or mapping
        Isochrones, or a grid that `population_grid` made; of `theta` then only the distance and
        the field fraction are used, and the arguments of `population_grid` not at all.
    obs_phot, obs_err, parallax, parallax_err, dim_prior, mask
        As for `cluster_loglike`.
    cluster_prob : float or array-like (N,)
        Probability from elsewhere that a star is a member.
    outlier_model_func : str or callable, optional
        As ``model`` of `outlier_loglike`; also under that name.
    smf_grid, eep_grid, mini_bound, eep_binary_max, corr_params, bands, imf
        As for `population_grid`. Without `bands` the columns of `obs_phot` are all of iso.bands.
    return_components : bool
        Return the results of all steps as well.
    smf_prior : callable, BinaryPrior or array-like (G,), optional
        Prior of the mass ratio, as for `mass_ratio_prior` or `marginalize`.
    **outlier_kwargs
        Options of the outlier model.

    Returns
    -------
    float, or (float, dict)
        The sum, -inf where it is not finite and where `theta` lies outside the isochrones or is
        no distance or fraction. The dict has ``lnl_total``, ``lnl_per_object`` (N,),
        ``isochrone_grid``, ``lnl_cluster``, ``lnl_outlier``, ``lnl_mixture`` (G, N); outside, the
        last four are None.

    Raises
    ------
    ValueError
        For arguments other than the values of `theta`, as the steps do.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> iso, cat = psp.load_isochrones(), psp.load_example("ruprecht147").select([0, 1, 2])
    >>> flux = 10.0 ** (-0.4 * cat.mag)
    >>> err = 0.4 * np.log(10.0) * flux * cat.mag_err
    >>> theta = [0.1, 9.4, 0.3, 3.1, 305.0, 0.1]
    >>> bool(psp.staged.population_loglike(theta, iso, flux, err, bands=cat.bands) < 0.0)
    True
    """
    values = np.asarray(theta, dtype=float)
    if values.shape != (len(_THETA),):
        raise ValueError(
            f"theta must be the {len(_THETA)} numbers {', '.join(_THETA)}, got shape "
            f"{values.shape}."
        )
    stars = check_stars(obs_phot, obs_err, mask)
    feh, loga, av, rv, dist, field_fraction = values.tolist()
    if not _inside(iso, values):
        return _result(-np.inf, np.full(len(stars.flux), -np.inf), return_components)
    grid = iso if isinstance(iso, Mapping) else population_grid(
        iso, feh, loga, av, rv, dist, smf_grid=smf_grid, eep_grid=eep_grid,
        mini_bound=mini_bound, eep_binary_max=eep_binary_max, corr_params=corr_params,
        bands=bands, imf=imf,
    )  # fmt: skip
    mass_jacobians, smf_jacobians = check_columns(grid, ("mass_jacobians", "smf_jacobians"))
    cluster = cluster_loglike(
        obs_phot, obs_err, grid, parallax, parallax_err, dist, dim_prior, stars.use
    )
    outlier = outlier_loglike(
        obs_phot, obs_err, grid, parallax, parallax_err, dim_prior, stars.use,
        model=outlier_model_func, **outlier_kwargs,
    )  # fmt: skip
    mixed = mixture(cluster, outlier, cluster_prob, field_fraction)
    if callable(smf_prior) or isinstance(smf_prior, BinaryPrior):
        smf_prior = mass_ratio_prior(grid, smf_prior)
    each = marginalize(mixed, mass_jacobians, smf_jacobians, smf_prior)
    return _result(each.sum(), each, return_components, grid, cluster, outlier, mixed)


def _inside(iso: Any, theta: np.ndarray) -> bool:
    """Whether a point has a likelihood at all; False for NaN as well."""
    feh, loga, av, rv, dist, field_fraction = theta
    if not (0.0 < dist < np.inf and 0.0 <= field_fraction <= 1.0):
        return False
    if isinstance(iso, Mapping):
        return True
    ranges = (iso.feh_range, iso.log_age_range, iso.av_range, RV_RANGE)
    numbers = (feh, loga, av, rv)
    return all(low <= x <= high for x, (low, high) in zip(numbers, ranges, strict=True))


def _result(
    total: float, each: np.ndarray, return_components: bool, grid: Any = None,
    cluster: Any = None, outlier: Any = None, mixed: Any = None,
) -> Any:  # fmt: skip
    total = float(total) if np.isfinite(total) else -np.inf
    if not return_components:
        return total
    return total, {
        "lnl_total": total,
        "lnl_per_object": each,
        "isochrone_grid": grid,
        "lnl_cluster": cluster,
        "lnl_outlier": outlier,
        "lnl_mixture": mixed,
    }
