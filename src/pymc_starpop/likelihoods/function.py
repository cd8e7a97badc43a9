"""The log-likelihood of a cluster and its gradient as a plain function of a vector."""

import pickle
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

import cloudpickle
import numpy as np
import pytensor
from pytensor import tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor import TensorVariable

from pymc_starpop.cluster.checks import parameter_ranges
from pymc_starpop.cluster.parameters import (
    BY_BAND,
    ClusterOptions,
    ClusterParameters,
    split_arguments,
)
from pymc_starpop.field import FieldDensity, InflatedScatterField
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.likelihoods.logp import logp_of_stars
from pymc_starpop.likelihoods.stars import FURTHER
from pymc_starpop.stars.catalog import StarCatalog

__all__ = ["ClusterFunction", "cluster_function"]

# Parameters that are no numbers themselves but hold some: ``imf.high_slope``.
_HOLDERS = ("imf", "corrections", "second_population")
# Functions that a process of a pool has rebuilt; each holds a catalog and compiled code.
_N_RESTORED = 8


class ClusterFunction:
    """Log-likelihood of a cluster at a vector of parameters; made by `cluster_function`.

    Attributes
    ----------
    names : tuple of str
        The n parameters in the order of the vector.
    n_star : int
        Number of stars N.
    """

    def __init__(
        self, iso: IsochroneGrid, catalog: StarCatalog, names: tuple[str, ...],
        fixed: dict[str, Any], mode: Any,
    ):  # fmt: skip
        self.names = names
        self._given = (iso, catalog, names, fixed, mode)
        self._key = uuid.uuid4().hex
        vector = pt.dvector("theta")
        entries = {name: vector[i] for i, name in enumerate(names)}
        arguments = _arguments(iso, catalog, entries, fixed)
        logp = logp_of_stars(iso, catalog, arguments)
        self.n_star = catalog.n_star
        self._mode = mode
        self._graph = (vector, list(entries.values()), logp)
        ranges = {name: limits for name, (limits, _) in parameter_ranges(iso).items()}
        self._bounds = np.array([_range(ranges, name) for name in names])
        _ALIVE[self._key] = self

    @property
    def bounds(self) -> np.ndarray:
        """Range of each parameter outside which the likelihood is 0, shape (n, 2)."""
        return self._bounds.copy()

    def __call__(self, theta: Any) -> tuple[float, np.ndarray]:
        """Return the log-likelihood of all stars and its gradient (n,).

        Outside the support they are -inf and zeros.

        Raises
        ------
        ValueError
            If theta has not n numbers, or holds NaN.
        """
        point = self._check(theta)
        value, gradient = self._value_and_gradient(point)
        if not np.isfinite(value):
            return _without_nan(value), np.zeros(len(self.names))
        return float(value), gradient

    def logp(self, theta: Any) -> float:
        """Return the log-likelihood of all stars, -inf outside the support."""
        return _without_nan(self._per_star(self._check(theta)).sum())

    def per_star(self, theta: Any) -> np.ndarray:
        """Return the log-likelihood of each star (N,), -inf outside the support."""
        value = self._per_star(self._check(theta))
        return np.where(np.isnan(value), -np.inf, value)

    def compile(self, gradient: bool = True) -> "ClusterFunction":
        """Compile now what the first call would compile, and return this function.

        Parameters
        ----------
        gradient : bool
            Whether calls with the gradient will come, or `logp` and `per_star` alone.
        """
        # Machine code is made when the function first runs: anywhere will do.
        finite = np.isfinite(self._bounds).all(axis=1, keepdims=True)
        middle = np.where(finite, self._bounds, 1.0).mean(axis=1)
        _ = self(middle) if gradient else self.logp(middle)
        return self

    @cached_property
    def _value_and_gradient(self) -> Callable[[np.ndarray], list[np.ndarray]]:
        vector, entries, logp = self._graph
        total = logp.sum()
        gradient = pt.stack(pt.grad(total, entries, disconnected_inputs="ignore"))
        return self._compile(vector, [total, gradient])

    @cached_property
    def _per_star(self) -> Callable[[np.ndarray], np.ndarray]:
        vector, _, logp = self._graph
        return self._compile(vector, logp)

    def _compile(self, vector: TensorVariable, outputs: Any) -> Any:
        function = pytensor.function([vector], outputs, mode=self._mode, on_unused_input="ignore")
        # What goes in has been made a float64 vector.
        function.trust_input = True
        return function

    def _check(self, theta: Any) -> np.ndarray:
        point = np.array(theta, dtype=np.float64)
        if point.shape != (len(self.names),):
            raise ValueError(
                f"theta must hold {len(self.names)} number(s), got shape {point.shape}; they are "
                f"{', '.join(self.names)}"
            )
        if np.isnan(point).any():
            wrong = ", ".join(np.array(self.names)[np.isnan(point)])
            raise ValueError(f"theta is NaN in {wrong}; give numbers")
        return point

    def __repr__(self) -> str:
        return f"<ClusterFunction of {self.n_star} stars: {', '.join(self.names)}>"

    @cached_property
    def _payload(self) -> bytes:
        iso, catalog, *rest = self._given
        return bytes(cloudpickle.dumps((iso, replace(catalog, extra={}), *rest)))

    def __reduce__(self) -> tuple[Callable[..., "ClusterFunction"], tuple[Any, ...]]:
        return _restore, (self._key, self._payload)


def cluster_function(
    iso: IsochroneGrid,
    catalog: StarCatalog,
    parameters: Sequence[str],
    *,
    mode: Any = None,
    **fixed: Any,
) -> ClusterFunction:
    """Log-likelihood of a cluster and its gradient as a plain function, for any sampler.

    ``f(theta)`` is the sum over the stars of `pymc_starpop.cluster_logp`, without any prior, and
    its gradient; ``f.logp(theta)`` the value alone, ``f.per_star(theta)`` the value of each star,
    ``f.names`` the parameters and ``f.bounds`` their ranges. Outside the support the value is -inf
    and the gradient zero; so it is at infinite parameters, and where the model overflows. No point
    raises anything but one of the wrong length or with NaN.

    Code is compiled at the first call, or by ``f.compile()``, and kept on disk for the next one.
    The function can be pickled, so that it serves pools of processes: each process rebuilds it
    once. With [Fe/H] and age as numbers the isochrone is computed once, when the function is made.

    Parameters
    ----------
    iso : IsochroneGrid
        Isochrones.
    catalog : StarCatalog
        N stars.
    parameters : sequence of str
        Names of the n parameters that theta holds: numbers among the arguments of
        `pymc_starpop.cluster_logp`, those of the mass function and of the corrections with a
        prefix (``"imf.high_slope"``, ``"imf.slopes.0"``, ``"corrections.dtdm"``), and one for a
        band with the band after a dot (``"intrinsic_scatter.2MASS_J"``).
    mode : optional
        PyTensor mode, by default the configured one.
    **fixed
        All other arguments of `pymc_starpop.cluster_logp` as numbers, and its options.

    Returns
    -------
    ClusterFunction

    Raises
    ------
    ValueError
        For names that are unknown, repeated, or given as numbers too, for expressions among the
        numbers, and as `pymc_starpop.cluster_logp`.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> iso, cat = psp.load_isochrones(150), psp.load_example("ruprecht147")
    >>> f = psp.cluster_function(iso, cat, ["distance_modulus", "av"], feh=0.1, log_age=9.4,
    ...                          field_fraction=0.1, intrinsic_scatter=0.02)
    >>> value, gradient = f([7.4, 0.3])
    >>> gradient.shape
    (2,)
    >>> f.logp([7.4, -0.1])
    -inf
    """
    names = _check_names(parameters, fixed)
    return ClusterFunction(iso, catalog, names, dict(fixed), mode)


def _check_names(parameters: Sequence[str], fixed: dict[str, Any]) -> tuple[str, ...]:
    """Return the names as a tuple after checking what can be known without the model."""
    if isinstance(parameters, str) or not all(isinstance(name, str) for name in parameters):
        raise ValueError(
            f"parameters must be a sequence of names, got {parameters!r}; give such as "
            "['feh', 'log_age', 'distance_modulus']"
        )
    names = tuple(parameters)
    if not names:
        raise ValueError("parameters is empty; name at least one, such as 'log_age'")
    repeated = sorted({name for name in names if names.count(name) > 1})
    both = sorted(set(names) & set(fixed))
    if repeated or both:
        raise ValueError(
            f"parameters: {', '.join(repeated or both)} {'repeated' if repeated else 'also given'}"
            f"{'' if repeated else ' as a number'}; name each parameter once, or give its number"
        )
    return names


def _arguments(
    iso: IsochroneGrid, catalog: StarCatalog, entries: dict[str, Variable], fixed: dict[str, Any]
) -> dict[str, Any]:
    """Keyword arguments of `cluster_logp` with entries of the vector in their places."""
    left = dict(entries)
    _check_numbers(fixed)
    numbers = [f.name for f in fields(ClusterParameters) if f.name not in _HOLDERS]
    arguments = fixed | {name: left.pop(name) for name in numbers if name in left}
    for name in BY_BAND:
        # A prefix cut off, as names of bands may hold dots themselves.
        bands = catalog.model_bands
        chosen = {b: left.pop(f"{name}.{b}") for b in bands if f"{name}.{b}" in left}
        if chosen:
            base = np.broadcast_to(arguments.get(name, 0.0), len(bands))
            values = zip(bands, base, strict=True)
            arguments[name] = pt.stack([chosen.get(band, value) for band, value in values])
    p, options = split_arguments(arguments, iso)
    known = list(numbers)

    def put(name: str, value: Any) -> Any:
        if name in left and "." in name and _ndim(value):
            raise ValueError(
                f"parameters: {name} holds {_ndim(value)} dimension(s) of numbers, expected one "
                "number: a function varies scalars; leave it out, or compile psp.cluster_logp with "
                "an expression in its place"
            )
        known.append(name)
        _check_fixed(name, value, entries)
        return left.pop(name, value)

    p = p.map_values(put)
    if left:
        raise ValueError(
            f"parameters: unknown {', '.join(left)}; expected some of "
            f"{', '.join(dict.fromkeys(known))}, with corrections=psp.EmpiricalCorrections() also "
            f"theirs, or one band of {', '.join(BY_BAND)}, such as "
            f"'intrinsic_scatter.{catalog.bands[0]}'"
        )
    given = {f.name: getattr(p, f.name) for f in fields(p)}
    return given | {f.name: getattr(options, f.name) for f in fields(ClusterOptions)}


def _check_numbers(fixed: dict[str, Any]) -> None:
    """Refuse expressions where the function has no parameters for what is in them."""
    field = fixed.get("field")
    values = {name: fixed.get(name) for name in (*BY_BAND, *FURTHER)}
    values["field"] = field.values if isinstance(field, FieldDensity) else field
    values["field.scale"] = field.scale if isinstance(field, InflatedScatterField) else None
    for name, value in values.items():
        if isinstance(value, Variable) and not isinstance(value, Constant | SharedVariable):
            raise ValueError(
                f"{name} is the expression {value}, expected numbers: a function has no parameters "
                "but those that it names; give numbers, or compile psp.cluster_logp yourself"
            )


def _check_fixed(name: str, value: Any, entries: dict[str, Variable]) -> None:
    is_ours = value is entries.get(name) or name in BY_BAND
    if isinstance(value, Variable) and not is_ours:
        raise ValueError(
            f"{name} is the expression {value}; name it in parameters to vary it, or give a number"
        )


def _ndim(value: Any) -> int:
    return value.ndim if hasattr(value, "ndim") else np.ndim(value)


def _range(ranges: dict[str, tuple[float, float]], name: str) -> tuple[float, float]:
    """Range of a parameter; what belongs to a band has that of all bands."""
    if name == "corrections.msto_smooth":
        return (0.0, np.inf)
    holder, _, own = name.partition(".")
    if holder == "second_population":
        return (0.0, 1.0) if own == "fraction" else ranges[own]
    return ranges.get(holder, (-np.inf, np.inf))


def _without_nan(value: Any) -> float:
    """Return a number; NaN, from parameters at which the model overflows, counts as no support."""
    return -np.inf if np.isnan(value) else float(value)


# Functions of this process by key: a forked process finds those of its parent here, others keep
# the last few that they rebuilt, as a pool sends the function along with every task.
_ALIVE: WeakValueDictionary[str, ClusterFunction] = WeakValueDictionary()
_RESTORED: OrderedDict[str, ClusterFunction] = OrderedDict()


def _restore(key: str, payload: bytes) -> ClusterFunction:
    """Return the function of a key, built again if this process does not have it."""
    found = _ALIVE.get(key)
    if found is not None:
        return found
    function = ClusterFunction(*pickle.loads(payload))
    function._key = key
    _ALIVE[key] = _RESTORED[key] = function
    while len(_RESTORED) > _N_RESTORED:
        _RESTORED.popitem(last=False)
    return function
