"""The third step: the likelihood of every star as an outlier, by several models."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import stats

from pymc_starpop.staged._arguments import (
    Parallaxes,
    Stars,
    check_columns,
    check_parallaxes,
    check_stars,
)
from pymc_starpop.staged.likelihood import log_chi_square, scaled_loglike, squared_deviations

__all__ = ["outlier_loglike"]

_CHI_SQUARE = ("chisquare", "chisquaretail", "chi2", "chi2tail")
_UNIFORM = ("uniform",)
_INFLATED = ("inflated", "inflatedscatter")


def outlier_loglike(
    obs_flux: Any,
    obs_err: Any,
    grid: Mapping[str, Any] | None = None,
    parallax: Any = None,
    parallax_err: Any = None,
    dim_prior: bool = True,
    mask: Any = None,
    model: str | Callable[..., Any] | None = None,
    **options: Any,
) -> np.ndarray:
    """Log-likelihood of every star as an outlier, at every point of a population grid.

    ``"chi-square"``: the chi-square density at the chi-square whose tail has the probability
    ``p_value_cut`` (1e-5), with ``dof_reduction`` (0) degrees of freedom less than there are data;
    the same at every point; belongs to ``dim_prior=True``.
    ``"uniform"``: uniform in every band, and in parallax, over the range of all stars, widened by
    ``sigma_clip`` (3) errors at either end; the same at every point.
    ``"inflated scatter"``: as a member, with variances (1 + scale^2) times as large (``scale``
    5); depends on the point. Parallaxes are uniform over their range.

    Parameters
    ----------
    obs_flux, obs_err : array-like (N, B)
        As for `cluster_loglike`.
    grid : mapping, optional
        ``masses`` and ``smf_values`` (G,); ``photometry`` (G, B) for inflated scatter.
    parallax, parallax_err : array-like (N,), optional
        Mas; NaN where there is none.
    dim_prior : bool
        Whether members have the chi-square density.
    mask : array-like (N, B) or (B,), optional
        1 to use a band, 0 to leave it out; the same as for `cluster_loglike`.
    model : str or callable, optional
        One of the names above; by default ``"chi-square"`` with `dim_prior` and ``"uniform"``
        without. A callable is called as ``model(obs_flux, obs_err, stellar_params=...,
        parallax=..., parallax_err=..., mask=..., **options)``, where `stellar_params` has
        ``masses`` and ``smf_values``, and is None without a grid; it returns (N,) or (G, N).
    **options
        Those of the model.

    Returns
    -------
    ndarray (G, N)
        (1, N) without a grid.

    Raises
    ------
    ValueError
        For an unknown model or option, shapes that do not agree, and inflated scatter without a
        grid or, under `dim_prior`, with parallaxes.

    Examples
    --------
    >>> flux, err = [[1.0], [3.0]], [[0.1], [0.1]]
    >>> outlier_loglike(flux, err, model="uniform", sigma_clip=0.0).round(3).tolist()
    [[-0.693, -0.693]]
    """
    masses = None if grid is None else check_columns(grid, ("masses", "smf_values"))
    if model is None:
        model = _CHI_SQUARE[0] if dim_prior else _UNIFORM[0]
    if callable(model):
        given = None if masses is None else {"masses": masses[0], "smf_values": masses[1]}
        lnl = np.asarray(
            model(
                np.asarray(obs_flux), np.asarray(obs_err), stellar_params=given,
                parallax=parallax, parallax_err=parallax_err, mask=mask, **options,
            )
        )  # fmt: skip
        return _on_grid(lnl, len(np.asarray(obs_flux)), masses)
    stars = check_stars(obs_flux, obs_err, mask)
    parallaxes = check_parallaxes(parallax, parallax_err, len(stars.flux))
    name = _plain(model)
    if name in _CHI_SQUARE:
        lnl = _chi_square_tail(stars, parallaxes, **_options(model, options, *_CHI_SQUARE_OPTIONS))
    elif name in _UNIFORM:
        lnl = _uniform(stars, parallaxes, **_options(model, options, "sigma_clip"))
    elif name in _INFLATED:
        lnl = _inflated(stars, parallaxes, grid, dim_prior, **_options(model, options, "scale"))
    else:
        raise ValueError(
            f"model must be 'chi-square', 'uniform', 'inflated scatter' or a callable, got "
            f"{model!r}."
        )
    return _on_grid(lnl, len(stars.flux), masses)


_CHI_SQUARE_OPTIONS = ("p_value_cut", "dof_reduction")


def _plain(name: Any) -> str:
    if not isinstance(name, str):
        raise ValueError(f"model must be the name of a model or a callable, got {name!r}.")
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _options(model: Any, options: Mapping[str, Any], *known: str) -> dict[str, Any]:
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f"the outlier model {model!r} has no option {', '.join(unknown)}; it has "
            f"{', '.join(known)}."
        )
    return dict(options)


def _on_grid(lnl: np.ndarray, n_star: int, masses: Any) -> np.ndarray:
    """Give a log-likelihood (N,) or (G, N) its row for each point."""
    n_point = 1 if masses is None else len(masses[0])
    if lnl.shape not in ((n_star,), (n_point, n_star)):
        raise ValueError(
            f"the outlier model returned shape {lnl.shape}, expected ({n_star},), one for each "
            f"star, or ({n_point}, {n_star}), one for each point of the grid and star."
        )
    return np.broadcast_to(lnl, (n_point, n_star))


def _chi_square_tail(
    stars: Stars, parallaxes: Parallaxes | None, p_value_cut: float = 1e-5, dof_reduction: int = 0
) -> np.ndarray:
    if not 0.0 < p_value_cut < 1.0:
        raise ValueError(f"p_value_cut must lie between 0 and 1, got {p_value_cut}.")
    dof = stars.use.sum(axis=1) - dof_reduction
    if parallaxes is not None:
        dof = dof + parallaxes.measured
    threshold = stats.chi2.ppf(1.0 - p_value_cut, np.where(dof > 0, dof, 1.0))
    return log_chi_square(threshold, dof)


def _uniform(stars: Stars, parallaxes: Parallaxes | None, sigma_clip: float = 3.0) -> np.ndarray:
    if not sigma_clip >= 0.0:
        raise ValueError(f"sigma_clip must be 0 or more errors, got {sigma_clip}.")
    log_width = _log_range(stars.flux, stars.err, stars.use > 0.0, sigma_clip).sum(axis=1)
    if parallaxes is not None:
        value, err, measured = parallaxes.value, parallaxes.err, parallaxes.measured
        log_width += _log_range(value[:, None], err[:, None], measured[:, None], sigma_clip)[:, 0]
    # A width of 0 is no density: nothing is an outlier there.
    return np.where(np.isfinite(log_width), -log_width, -np.inf)


def _log_range(
    values: np.ndarray, err: np.ndarray, used: np.ndarray, sigma_clip: float
) -> np.ndarray:
    """Log of the width (N, B) of a uniform density over all values used; 0 where not used.

    Values that all agree have the window of each star, `sigma_clip` errors to either side.
    """
    above = np.where(used, values + sigma_clip * err, -np.inf).max(axis=0)
    below = np.where(used, values - sigma_clip * err, np.inf).min(axis=0)
    width = np.where(above > below, above - below, 2.0 * sigma_clip * err)
    with np.errstate(divide="ignore"):
        return np.where(used, np.log(width), 0.0)


def _inflated(
    stars: Stars, parallaxes: Parallaxes | None, grid: Mapping[str, Any] | None, dim_prior: bool,
    scale: float = 5.0,
) -> np.ndarray:  # fmt: skip
    if grid is None:
        raise ValueError(
            "grid is needed by the outlier model 'inflated scatter', which follows it."
        )
    if not (np.isfinite(scale) and scale >= 0.0):
        raise ValueError(f"scale must be a finite number, 0 or more, got {scale}.")
    if dim_prior and parallaxes is not None:
        raise ValueError(
            "the outlier model 'inflated scatter' knows no distance, so that under dim_prior its "
            "chi-square would lack the parallax that the members' has; use dim_prior=False."
        )
    (photometry,) = check_columns(grid, ("photometry",))
    chi2, exists = squared_deviations(stars, photometry)
    log_norm = (np.log(2.0 * math.pi * stars.err**2) * stars.use).sum(axis=1)
    wider = math.sqrt(1.0 + scale**2)
    lnl = scaled_loglike(chi2, stars.use.sum(axis=1), log_norm, dim_prior, wider)
    if parallaxes is not None and parallaxes.measured.any():
        measured = parallaxes.value[parallaxes.measured]
        width = np.ptp(measured)
        if width == 0.0:
            raise ValueError(
                f"parallax has no range ({measured.size} measured, all {measured[0]} mas) for the "
                "uniform density of outliers; leave parallaxes out, or give a callable as model."
            )
        lnl -= (math.log(width) * parallaxes.measured)[:, None]
    lnl[:, ~exists] = np.nan
    return lnl.T
