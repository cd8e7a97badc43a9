"""What photometry does to a system: scatter, bias and completeness by band.

All three are functions of the intrinsic apparent magnitude of the system, a binary as one source.
The noise is Gaussian and independent between bands; the bias (measured minus true) is added
afterwards; a system is recovered with the product of the completeness in the distinct bands.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "ErrorModel",
    "Errors",
    "ExponentialError",
    "LogisticCompleteness",
    "as_error_model",
]

Curve = Callable[..., Any] | float


@dataclass(frozen=True)
class ExponentialError:
    """Photometric error min(a^(b (m - c)) + d, cap) at magnitude m.

    Parameters
    ----------
    a : float
        Base, positive.
    b : float
        Growth with magnitude, 1/mag.
    c : float
        Magnitude at which the first term is 1 mag.
    d : float
        Floor, mag, not negative.
    cap : float
        Largest error, mag; none by default.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> sigma = psp.ExponentialError(1.03, 15, 36, 0.02, cap=0.4)
    >>> [round(float(s), 3) for s in sigma([20.0, 27.0, 40.0])]
    [0.021, 0.038, 0.4]
    """

    a: float
    b: float
    c: float
    d: float
    cap: float = math.inf

    def __post_init__(self) -> None:
        _check_finite(self, ("a", "b", "c", "d"))
        if self.a <= 0.0 or self.d < 0.0 or not self.cap > 0.0:
            raise ValueError(
                f"expected a > 0, d >= 0 and cap > 0 (mag), got a={self.a}, d={self.d}, "
                f"cap={self.cap}."
            )

    def __call__(self, mag: Any) -> np.ndarray:
        """Standard deviation at magnitudes of any shape, mag."""
        exponent = self.b * (np.asarray(mag, dtype=float) - self.c) * math.log(self.a)
        # e^700 is the largest power that fits; the cap comes long before.
        return np.minimum(np.exp(np.minimum(exponent, 700.0)) + self.d, self.cap)


@dataclass(frozen=True)
class LogisticCompleteness:
    """Completeness A / (1 + exp((m - m50) / rho)) at magnitude m.

    Parameters
    ----------
    A : float
        Completeness of bright stars, above 0 and at most 1.
    m50 : float
        Magnitude at which it has fallen to A/2.
    rho : float
        Width of the fall, mag, positive.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> float(psp.LogisticCompleteness(1.0, 28.5, 0.7)(28.5))
    0.5
    """

    A: float
    m50: float
    rho: float

    def __post_init__(self) -> None:
        _check_finite(self, ("A", "m50", "rho"))
        if not (0.0 < self.A <= 1.0 and self.rho > 0.0):
            raise ValueError(
                f"expected 0 < A <= 1 and rho > 0 (mag), got A={self.A}, rho={self.rho}."
            )

    def __call__(self, mag: Any) -> np.ndarray:
        """Probability of recovery at magnitudes of any shape."""
        x = (np.asarray(mag, dtype=float) - self.m50) / self.rho
        return self.A / (1.0 + np.exp(np.minimum(x, 700.0)))


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
        mag = np.asarray(mag, dtype=float)
        if mag.ndim != 2 or mag.shape[1] != len(self.bands):
            raise ValueError(
                f"mag must have shape (N, {len(self.bands)}), one column for each of "
                f"{', '.join(self.bands)}, got {mag.shape}."
            )
        columns = dict(zip(self.bands, mag.T, strict=True))
        sigma, bias, completeness = (
            self._evaluate(name, columns) for name in ("noise", "bias", "completeness")
        )
        # Interpolated values may leave the range by a rounding.
        return Errors(sigma, bias, np.clip(completeness, 0.0, 1.0).prod(axis=1))

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

    def _evaluate(self, name: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """One of the three for every system and band (N, B)."""
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


def _check_finite(instance: Any, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(instance, name)
        if not (isinstance(value, int | float | np.number) and math.isfinite(value)):
            raise ValueError(f"{name} must be a finite number, got {value!r}.")
