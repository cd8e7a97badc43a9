"""Observation of simulated stars: what is recovered, with noise and bias."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.hess.artificial_stars import ArtificialStars
from pymc_starpop.hess.errors import ErrorModel, as_error_model
from pymc_starpop.hess.fates import draw_fates

__all__ = ["observe"]


def observe(
    mags: Any,
    noise: Any,
    completeness: Mapping[str, Any] | None = None,
    bias: Mapping[str, Any] | None = None,
    rng: np.random.Generator | int | None = None,
) -> Any:
    """Drop the stars that are not recovered, and add bias and noise to the others.

    Completeness, bias and noise are taken at the intrinsic apparent magnitudes; a star is
    recovered with the product of its completeness in the bands.

    Parameters
    ----------
    mags : xarray.Dataset, mapping of str to array (N,), or pandas.DataFrame
        What `simulate_cmd` gives, or magnitudes by band. Further columns of N values stay with
        their stars.
    noise : ErrorModel, ArtificialStars, or mapping of str to callable or float
        All three at once, or the standard deviation by band as in `ErrorModel`. Its bands are
        those that are observed. With `ArtificialStars` each star takes the fate of one near it:
        in two bands moved and scaled by the smooth trends of bias and scatter, in others one of
        the ten nearest as it is. (Stars of a narrow sequence would clump with the fates of the
        nearest: a thousand artificial stars would then stand for all of them.)
    completeness, bias : mapping of str to callable or float, optional
        As in `ErrorModel`.
    rng : numpy.random.Generator or int, optional
        Source of randomness or a seed.

    Returns
    -------
    xarray.Dataset, dict, or pandas.DataFrame
        Of the kind that came, with fewer rows.

    Raises
    ------
    ValueError
        For a band that is missing in one of them, columns of different lengths, magnitudes that
        are NaN, and what `ErrorModel` refuses.

    Examples
    --------
    >>> import numpy as np, pymc_starpop as psp
    >>> mags = {"V": np.full(1000, 25.0), "I": np.full(1000, 24.0)}
    >>> seen = psp.observe(mags, {"V": 0.1, "I": 0.05}, {"V": 0.5, "I": 1.0}, rng=1)
    >>> seen["V"].size, round(float(seen["V"].std()), 2)
    (507, 0.1)
    """
    bands, intrinsic = _magnitudes(mags, noise)
    rng = np.random.default_rng(rng)
    if isinstance(noise, ArtificialStars):
        if completeness is not None or bias is not None:
            raise ValueError("completeness and bias are those of the ArtificialStars; leave them.")
        seen, observed = draw_fates(noise.select_bands(bands), intrinsic, rng)
    else:
        model = as_error_model(bands, noise, completeness, bias)
        complete = model.completeness_at(intrinsic)
        seen = np.flatnonzero(rng.random(complete.size) < complete)
        intrinsic = intrinsic[seen]
        errors = model.at(intrinsic)
        observed = intrinsic + errors.bias + errors.sigma * rng.normal(size=intrinsic.shape)
    return _replaced(mags, seen, dict(zip(bands, observed.T, strict=True)))


def _magnitudes(mags: Any, noise: Any) -> tuple[tuple[str, ...], np.ndarray]:
    """Bands that are observed, and their magnitudes (N, B)."""
    known = mags.data_vars if isinstance(mags, xr.Dataset) else mags
    if not isinstance(known, Mapping) and not hasattr(known, "columns"):
        raise ValueError(
            f"mags must be a Dataset, a mapping of bands to arrays or a DataFrame, got "
            f"{type(mags).__name__}; of a StarCatalog give dict(zip(cat.bands, cat.mag.T))."
        )
    if not isinstance(noise, ErrorModel | ArtificialStars | Mapping):
        raise ValueError(
            f"noise must be an ErrorModel, ArtificialStars, or map bands to errors, got {noise!r}."
        )
    simulated = list(mags.attrs.get("bands", ())) if isinstance(mags, xr.Dataset) else []
    bands = simulated or list(noise if isinstance(noise, Mapping) else noise.bands)
    missing = [band for band in bands if band not in known]
    if missing:
        raise ValueError(
            f"mags lacks the band {missing[0]!r} of the noise; it has {', '.join(map(str, known))}."
        )
    columns = [np.asarray(mags[band], dtype=float) for band in bands]
    if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
        raise ValueError(
            f"mags must have one value a star in every band, got shapes "
            f"{', '.join(str(column.shape) for column in columns)}."
        )
    values = np.stack(columns, axis=1)
    if not np.isfinite(values).all():
        raise ValueError("mags must be finite; leave out stars without light or not measured.")
    return tuple(bands), values


def _replaced(mags: Any, seen: np.ndarray, observed: dict[str, np.ndarray]) -> Any:
    """Rows of the recovered stars with their observed magnitudes, of the kind that came."""
    if isinstance(mags, xr.Dataset):
        (dim,) = mags[next(iter(observed))].dims
        return mags.isel({dim: seen}).assign({b: (dim, m) for b, m in observed.items()})
    if isinstance(mags, Mapping):
        return {band: np.asarray(column)[seen] for band, column in mags.items()} | observed
    return mags.iloc[seen].assign(**observed)
