"""The second step: how well each point of a population grid explains each star."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from pymc_starpop.staged._arguments import Stars, check_columns, check_parallaxes, check_stars

__all__ = ["cluster_loglike", "log_chi_square", "scaled_loglike", "squared_deviations"]


def cluster_loglike(
    obs_flux: Any,
    obs_err: Any,
    grid: Mapping[str, Any],
    parallax: Any = None,
    parallax_err: Any = None,
    distance: float | None = None,
    dim_prior: bool = True,
    mask: Any = None,
) -> np.ndarray:
    """Log-likelihood of every star at every point of a population grid, as a member.

    With chi2 the sum over the n bands used of ((flux - model)/err)^2, and over the parallax,

        dim_prior=False:  -[chi2 + sum ln(2 pi err^2)]/2, a density in flux (and parallax),
        dim_prior=True:   ln of the chi-square density of chi2 with n degrees of freedom.

    Parameters
    ----------
    obs_flux, obs_err : array-like (N, B)
        Fluxes and errors in the units of the grid, 10^(-0.4 mag); a band whose flux or error is
        NaN, or its error not positive, is left out for that star. Magnitudes go with the grid of
        `in_magnitudes`.
    grid : mapping
        ``photometry`` (G, B); points with values that are not finite have no model.
    parallax, parallax_err : array-like (N,), optional
        Mas; NaN where there is none.
    distance : float, optional
        Distance of the population, pc; needed with parallaxes.
    dim_prior : bool
        Which of the two densities.
    mask : array-like (N, B) or (B,), optional
        1 to use a band, 0 to leave it out.

    Returns
    -------
    ndarray (G, N)
        NaN at points without a model. With ``dim_prior`` -inf for a star without data; a chi2 of
        exactly 0 gives -inf, and +inf with one degree of freedom.

    Raises
    ------
    ValueError
        For shapes that do not agree, a parallax without its error or without a distance, and
        masks of other values than 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> grid = {"photometry": np.array([[1.0], [2.0]])}
    >>> cluster_loglike([[1.1]], [[0.1]], grid, dim_prior=False).ravel().round(3).tolist()
    [0.884, -39.116]
    """
    stars = check_stars(obs_flux, obs_err, mask)
    (model,) = check_columns(grid, ("photometry",))
    chi2, exists = squared_deviations(stars, model)
    n_data = stars.use.sum(axis=1)
    log_norm = (np.log(2.0 * math.pi * stars.err**2) * stars.use).sum(axis=1)
    parallaxes = check_parallaxes(parallax, parallax_err, len(stars.flux))
    if parallaxes is not None:
        deviation = (parallaxes.value - 1000.0 / _checked_distance(distance)) / parallaxes.err
        chi2 += (deviation**2 * parallaxes.measured)[:, None]
        n_data = n_data + parallaxes.measured
        log_norm += np.log(2.0 * math.pi * parallaxes.err**2) * parallaxes.measured
    lnl = scaled_loglike(chi2, n_data, log_norm, dim_prior)
    lnl[:, ~exists] = np.nan
    return lnl.T


def squared_deviations(stars: Stars, model: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chi-square (N, G) over the bands used, and which points (G,) have a model.

    Expanded into matrix products as in brutus, which is fast and loses eps (flux/err)^2.
    """
    if model.shape[1] != stars.flux.shape[1]:
        raise ValueError(
            f"grid['photometry'] has {model.shape[1]} bands and obs_flux {stars.flux.shape[1]}; "
            f"give both the same bands in the same order."
        )
    exists = np.isfinite(model).all(axis=1)
    columns = np.where(exists[:, None], model, 0.0).T
    weight = stars.use / stars.err**2
    constant = (stars.flux**2 * weight).sum(axis=1)[:, None]
    chi2 = constant - 2.0 * (stars.flux * weight) @ columns + weight @ columns**2
    return np.maximum(chi2, 0.0), exists


def scaled_loglike(
    chi2: np.ndarray, n_data: np.ndarray, log_norm: np.ndarray, dim_prior: bool, scale: float = 1.0
) -> np.ndarray:
    """Log-likelihood (N, G) where all errors are `scale` times as large.

    Parameters
    ----------
    chi2 : ndarray (N, G)
        With the errors as they are.
    n_data, log_norm : ndarray (N,)
        Number of data of each star, and the sum of ln(2 pi err^2) over them.
    """
    reduced = chi2 / scale**2
    if dim_prior:
        return log_chi_square(reduced, n_data[:, None]) - 2.0 * math.log(scale)
    return -0.5 * (reduced + (log_norm + 2.0 * n_data * math.log(scale))[:, None])


def log_chi_square(chi2: np.ndarray, dof: np.ndarray) -> np.ndarray:
    """Log of the chi-square density, broadcast; -inf without degrees of freedom."""
    half = 0.5 * np.where(dof > 0, dof, 1.0)
    value = special.xlogy(half - 1.0, chi2) - 0.5 * chi2
    value -= special.gammaln(half) + half * math.log(2.0)
    return np.where(dof > 0, value, -np.inf)


def _checked_distance(distance: Any) -> float:
    if distance is None:
        raise ValueError("distance was not given; parallaxes need the distance, in pc.")
    if np.ndim(distance) > 0 or not (np.isfinite(distance) and distance > 0.0):
        raise ValueError(f"distance must be one positive number, in pc, got {distance!r}.")
    return float(distance)
