"""What photometry does to a system: scatter, bias and completeness by band.

All three are functions of the intrinsic apparent magnitude of the system, a binary as one source.
The noise is Gaussian and independent between bands; the bias (measured minus true) is added
afterwards; a system is recovered with the product of the completeness in the distinct bands.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_starpop.hess.artificial_stars import as_artificial_stars
from pymc_starpop.hess.ast_curves import band_curves, pair_tables
from pymc_starpop.hess.binaries import is_number
from pymc_starpop.hess.error_curves import Curve, ExponentialError, LogisticCompleteness

__all__ = [
    "ErrorModel",
    "Errors",
    "ExponentialError",
    "LogisticCompleteness",
    "as_error_model",
]


@dataclass(frozen=True, eq=False)
class Errors:
    """What `ErrorModel.at` gives for N systems in B bands.

    Attributes
    ----------
    sigma : ndarray (N, B)
        Standard deviation of the measured magnitudes, mag.
    bias : ndarray (N, B)
        Mean of measured minus true magnitude, mag.
    completeness : ndarray (N,)
        Probability that the system is recovered, 0 to 1.
    """

    sigma: np.ndarray
    bias: np.ndarray
    completeness: np.ndarray


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Noise, completeness and bias of photometry, by band.

    Parameters
    ----------
    noise : mapping of str to callable or float
        For each band the standard deviation as a function of the intrinsic apparent magnitude,
        an array (N,) in and out, mag; or one number.
    completeness : mapping of str to callable or float, optional
        For each band the probability of recovery, 0 to 1; 1 by default. A system is recovered
        with their product.
    bias : mapping of str to callable or float, optional
        For each band measured minus true magnitude, mag; 0 by default.

    Raises
    ------
    ValueError
        For a band that one of them lacks, and numbers out of range. Functions are checked where
        they are evaluated.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> model = psp.ErrorModel({"V": psp.ExponentialError(1.03, 15, 36, 0.02), "I": 0.05},
    ...                        {"V": psp.LogisticCompleteness(1, 28.5, 0.7), "I": 0.9})
    >>> model.bands, model.at([[28.5, 27.0]]).completeness.tolist()
    (('V', 'I'), [0.45])
    """

    noise: Mapping[str, Curve]
    completeness: Mapping[str, Curve] | None = None
    bias: Mapping[str, Curve] | None = None

    def __post_init__(self) -> None:
        noise = _check_mapping("noise", self.noise, None)
        if not noise:
            raise ValueError("noise is empty; give a function or a number for every band.")
        defaults = {"completeness": 1.0, "bias": 0.0}
        object.__setattr__(self, "noise", noise)
        for name, default in defaults.items():
            given = getattr(self, name)
            given = dict.fromkeys(noise, default) if given is None else given
            curves = _check_mapping(name, given, tuple(noise))
            object.__setattr__(self, name, {band: curves[band] for band in noise})
        for name, (low, high, expected) in _LIMITS.items():
            for band, curve in getattr(self, name).items():
                if not callable(curve):
                    _check_values(name, band, np.array([curve]), None, low, high, expected)

    @classmethod
    def from_asts(
        cls,
        mag_in: Any,
        mag_out: Any = None,
        detected: Any = None,
        *,
        bands: Sequence[str] | None = None,
        shift: Any = None,
        shift_sign: str | None = None,
        joint: bool = False,
        mag_edges: Any = None,
        stars_per_bin: int | None = None,
        sigma_floor: float = 0.001,
    ) -> "ErrorModel":
        """Measure noise, completeness and bias from artificial stars.

        In bins of the input magnitude: the fraction recovered, the median of out - in, and
        sigma = 1.4826 x the median absolute deviation from the bias; linear between the bins.
        Stars brighter than all artificial stars have the values of the brightest bin, with a
        warning beyond 1 mag. Beyond the faintest artificial star the completeness falls to 0
        within 0.5 mag, with a warning now if more than 10 % of the faintest were recovered.

        Parameters
        ----------
        mag_in, mag_out : array-like (N, B), mapping, or table
            Input and measured magnitudes, mag; or `ArtificialStars` alone. See there for what
            is taken as not recovered.
        detected : array-like of bool, shape (N,) or (N, B), optional
            Whether a star was recovered, in each band or in all of them. One value a star is the
            recovery in all bands together, which is not the product over the bands: with two
            bands it becomes a function of both magnitudes.
        bands : sequence of str
            The B bands: the columns of arrays, or the names of columns.
        shift, shift_sign : array-like (N, B), mapping, or table; str
            In place of `mag_out`: differences, mag, and ``"out - in"`` or ``"in - out"``.
        joint : bool
            Make all three functions of the magnitudes in both of two bands, for stars recovered
            in both. Crowding loses stars in both bands at once, so that their completeness is
            higher than the product. Each node of a grid in color and magnitude takes its nearest
            stars, so that thinly covered corners have the values of their neighbors.
        mag_edges : array-like, or mapping of str to array-like, optional
            Edges of the bins in magnitude, for all bands or by band; not with ``joint``. By
            default 40 bins of equal numbers of stars, or fewer of at least 50.
        stars_per_bin : int, optional
            Stars in each of the bins of equal numbers, or nearest stars of each node with
            ``joint`` (by default N / 400, from 50 to 400).
        sigma_floor : float
            Smallest standard deviation, mag. Rounding to 0.01 mag, say, is recognized and its
            variance taken off, but errors below a third of the step cannot be told from 0.

        Returns
        -------
        ErrorModel

        Raises
        ------
        ValueError
            As in `ArtificialStars`, and for ``joint`` with other than two bands.

        Examples
        --------
        >>> import numpy as np, pymc_starpop as psp
        >>> rng = np.random.default_rng(1)
        >>> mag_in = rng.uniform(20, 28, (20_000, 1))
        >>> mag_out = mag_in + 0.05 * rng.normal(size=mag_in.shape)
        >>> detected = rng.random(20_000) < psp.LogisticCompleteness(1, 26, 0.3)(mag_in[:, 0])
        >>> model = psp.ErrorModel.from_asts(mag_in, mag_out, detected, bands=["I"])
        >>> errors = model.at([[22.0]])
        >>> round(float(errors.sigma[0, 0]), 2), round(float(errors.completeness[0]), 2)
        (0.05, 1.0)
        """
        stars = as_artificial_stars(mag_in, mag_out, detected, bands, shift, shift_sign)
        _check_ast_options(stars.bands, joint, mag_edges, stars_per_bin, sigma_floor)
        names = stars.bands
        if joint:
            tables = pair_tables(stars, stars_per_bin, sigma_floor)
            by_band = (dict(zip(names, tables[name], strict=True)) for name in ("noise", "bias"))
            return cls(next(by_band), _both(names, tables["completeness"]), next(by_band))
        noise: dict[str, Curve] = {}
        completeness: dict[str, Curve] = {}
        bias: dict[str, Curve] = {}
        for band in names:
            edges = mag_edges[band] if isinstance(mag_edges, Mapping) else mag_edges
            noise[band], completeness[band], bias[band] = band_curves(
                stars, band, edges, stars_per_bin, sigma_floor
            )
        if stars.together:
            tables = pair_tables(stars, stars_per_bin, sigma_floor)
            completeness = _both(names, tables["completeness"])
        return cls(noise, completeness, bias)

    @property
    def bands(self) -> tuple[str, ...]:
        """The B bands, in the order of the columns of `at`."""
        return tuple(self.noise)

    def at(self, mag: Any) -> Errors:
        """Evaluate at intrinsic apparent magnitudes.

        Parameters
        ----------
        mag : array-like, shape (N, B)
            One row a system, one column a band in the order of `bands`, mag.

        Returns
        -------
        Errors

        Raises
        ------
        ValueError
            For another number of columns, a sigma that is not positive and finite, a bias that is
            not finite, and a completeness outside 0 to 1.
        """
        sigma, bias = self._evaluate("noise", mag), self._evaluate("bias", mag)
        return Errors(sigma, bias, self.completeness_at(mag))

    def completeness_at(self, mag: Any) -> np.ndarray:
        """Return the completeness (N,) alone; arguments and errors as in `at`."""
        # Interpolated values may leave the range by a rounding.
        return np.clip(self._evaluate("completeness", mag), 0.0, 1.0).prod(axis=1)

    def select(self, bands: Sequence[str]) -> "ErrorModel":
        """Return the model of some of the bands, in that order.

        Parameters
        ----------
        bands : sequence of str
            Distinct names from `bands`.

        Raises
        ------
        ValueError
            For an unknown band, and for a model joint in two bands without one of them.
        """
        bands = tuple(bands)
        tables = (self.noise, self.completeness or {}, self.bias or {})
        _check_bands(bands, self.noise, "noise")
        for curve in (table[band] for table in tables for band in bands):
            missing = [b for b in getattr(curve, "bands", ()) if b not in bands]
            if missing:
                raise ValueError(
                    f"bands: the errors are joint in {' and '.join(curve.bands)}, but "  # type: ignore[union-attr]
                    f"{missing[0]} is left out; make the model with joint=False."
                )
        return ErrorModel(*({band: table[band] for band in bands} for table in tables))

    def _evaluate(self, name: str, mag: Any) -> np.ndarray:
        """One of the three for every system and band (N, B)."""
        mag = np.asarray(mag, dtype=float)
        if mag.ndim != 2 or mag.shape[1] != len(self.bands):
            raise ValueError(
                f"mag must have shape (N, {len(self.bands)}), one column for each of "
                f"{', '.join(self.bands)}, got {mag.shape}."
            )
        columns = dict(zip(self.bands, mag.T, strict=True))
        low, high, expected = _LIMITS[name]
        n_star = columns[self.bands[0]].size
        result = np.empty((n_star, len(self.bands)))
        for index, band in enumerate(self.bands):
            curve = getattr(self, name)[band]
            if not callable(curve):
                result[:, index] = curve
                continue
            # A curve of several magnitudes says by `bands` which it takes.
            arguments = [columns[b] for b in getattr(curve, "bands", (band,))]
            values = np.asarray(curve(*arguments), dtype=float)
            if values.shape not in ((), (n_star,)):
                raise ValueError(
                    f"{name}[{band!r}] must return one value for each of {n_star} magnitudes, got "
                    f"shape {values.shape}; write it for arrays."
                )
            _check_values(name, band, values, columns[band], low, high, expected)
            result[:, index] = values
        return result


def as_error_model(
    bands: Sequence[str],
    noise: Any,
    completeness: Mapping[str, Curve] | None = None,
    bias: Mapping[str, Curve] | None = None,
) -> ErrorModel:
    """Return the error model of these bands.

    Parameters
    ----------
    bands : sequence of str
        B distinct bands.
    noise : ErrorModel, or mapping of str to callable or float
        A model as it is, or its noise as in `ErrorModel`. Further bands are left out.
    completeness, bias : mapping of str to callable or float, optional
        As in `ErrorModel`; not with an ErrorModel, which has its own.

    Raises
    ------
    ValueError
        For a missing band, a completeness or bias beside an ErrorModel, and as `ErrorModel` does.

    Examples
    --------
    >>> from pymc_starpop.hess.errors import as_error_model
    >>> as_error_model(["I"], {"V": 0.02, "I": 0.03}).at([[24.0]]).sigma.tolist()
    [[0.03]]
    """
    bands = tuple(bands)
    if isinstance(noise, ErrorModel):
        for name, given in (("completeness", completeness), ("bias", bias)):
            if given is not None:
                raise ValueError(
                    f"{name} is given beside an ErrorModel, which has its own; build one "
                    f"ErrorModel that holds all three."
                )
        return noise.select(bands)
    tables = {"noise": noise, "completeness": completeness, "bias": bias}
    chosen = {}
    for name, table in tables.items():
        if table is None and name != "noise":
            continue
        known = _check_mapping(name, table, bands)
        chosen[name] = {band: known[band] for band in bands}
    return ErrorModel(**chosen)


# name -> (lowest, highest, what is expected); see `_check_values`
_LIMITS = {
    "noise": (np.nextafter(0.0, 1.0), np.finfo(float).max, "positive and finite (mag)"),
    "completeness": (-1e-9, 1.0 + 1e-9, "between 0 and 1"),
    "bias": (-np.finfo(float).max, np.finfo(float).max, "finite (mag)"),
}


def _both(bands: tuple[str, ...], completeness: Curve) -> dict[str, Curve]:
    """Completeness in two bands at once as a factor of the first, so that the product is right."""
    return {bands[0]: completeness, bands[1]: 1.0}


def _check_ast_options(
    bands: tuple[str, ...], joint: bool, mag_edges: Any, stars_per_bin: Any, sigma_floor: Any
) -> None:
    if not isinstance(joint, bool | np.bool_):
        raise ValueError(f"joint must be True or False, got {joint!r}.")
    if joint and len(bands) != 2:
        raise ValueError(f"joint=True needs exactly two bands, got {', '.join(bands)}.")
    if joint and mag_edges is not None:
        raise ValueError("mag_edges: not used with joint=True; set stars_per_bin there.")
    if isinstance(mag_edges, Mapping):
        _check_bands(bands, mag_edges, "mag_edges")
    whole = isinstance(stars_per_bin, int | np.integer)
    if stars_per_bin is not None and not (whole and stars_per_bin >= 10):
        raise ValueError(f"stars_per_bin must be a whole number >= 10, got {stars_per_bin!r}.")
    if not (is_number(sigma_floor) and 0.0 < sigma_floor < math.inf):
        raise ValueError(f"sigma_floor must be positive (mag), got {sigma_floor!r}.")


def _check_values(
    name: str,
    band: str,
    values: np.ndarray,
    mag: np.ndarray | None,
    low: float,
    high: float,
    expected: str,
) -> None:
    good = (values >= low) & (values <= high)  # False for NaN
    if good.all():
        return
    where = ""
    if mag is not None:
        first = int(np.argmin(good)) if good.ndim else 0
        where = f" at magnitude {mag[first]:g}"
        values = values if good.ndim == 0 else values[first]
    raise ValueError(f"{name}[{band!r}] must be {expected}, got {np.ravel(values)[0]:g}{where}.")


def _check_mapping(name: str, table: Any, bands: tuple[str, ...] | None) -> dict[str, Curve]:
    if not isinstance(table, Mapping):
        raise ValueError(
            f"{name} must map each band to a function of its magnitude or a number, got {table!r}."
        )
    if bands is not None:
        _check_bands(bands, table, name)
    for band in table if bands is None else bands:
        value = table[band]
        if not (callable(value) or isinstance(value, int | float | np.number)):
            raise ValueError(
                f"{name}[{band!r}] must be a function of the magnitude or a number, got {value!r}."
            )
    return dict(table)


def _check_bands(bands: tuple[str, ...], table: Mapping[str, Any], name: str) -> None:
    if not bands or len(set(bands)) != len(bands):
        raise ValueError(f"bands must be distinct names, at least one, got {bands}.")
    missing = [band for band in bands if band not in table]
    if missing:
        raise ValueError(
            f"{name} lacks the band {missing[0]!r}, it has {', '.join(map(str, table))}; give a "
            f"function or a number for every band."
        )
