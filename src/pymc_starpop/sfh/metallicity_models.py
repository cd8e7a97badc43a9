"""Models of the mean metallicity of the stars formed at each age, for fits and for priors.

A model is a frozen dataclass with a list of `Parameter` and one formula, `mean`, written over a
`Namespace`, so that NumPy (the fit) and PyTensor (the sampler) share it. A user's own model is a
subclass of `MetallicityModel` with those two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from pymc_starpop._namespace import NUMPY
from pymc_starpop.hess import metallicity_models as formulas

__all__ = [
    "Epochs",
    "FixedAMR",
    "LinearAMR",
    "LogarithmicAMR",
    "MetallicityModel",
    "MonotoneAMR",
    "Parameter",
    "PowerLawMZR",
]

# A complex step has no cancellation, so it may be as small as float64 allows.
_STEP = 1e-100
# A galaxy's metallicity from its oldest stars to today, dex: the middle of a broad prior.
_TOTAL_RISE = 1.2


@dataclass(frozen=True)
class Parameter:
    """A parameter of a metallicity model: its name, where a fit starts, and its default prior.

    Parameters
    ----------
    name : str
        Name of the variable in a PyMC model and in results.
    start : float
        Where a fit starts and the median of the default prior, in the unit of the parameter.
    scale : float
        Standard deviation of the prior: of the parameter itself, or of its natural logarithm where
        it is positive.
    positive : bool
        Whether it must be positive; its prior is then log-normal.
    size : int, optional
        Number of elements of a vector; None for a number.
    soft : float, optional
        For positive parameters of which the data fix sums: x = soft ln(1 + exp(u / soft)), with a
        normal prior on u, in place of x = exp(u). Then `scale` is in the unit of the parameter.
    """

    name: str
    start: float
    scale: float
    positive: bool = False
    size: int | None = None
    soft: float | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.start) or (self.positive and self.start <= 0):
            raise ValueError(
                f"Parameter {self.name!r}: start must be finite"
                f"{' and positive' if self.positive else ''}, got {self.start}."
            )
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"Parameter {self.name!r}: scale must be positive, got {self.scale}.")
        if self.size is not None and self.size < 1:
            raise ValueError(f"Parameter {self.name!r}: size must be 1 or more, got {self.size}.")

        if self.soft is not None and not (self.positive and self.soft > 0):
            raise ValueError(
                f"Parameter {self.name!r}: soft must be positive, and of a positive parameter, got "
                f"{self.soft}."
            )

    def natural(self, u: Any, xp: Any = NUMPY) -> Any:
        """Return the parameter from its coordinate without bounds."""
        if not self.positive:
            return u
        if self.soft is None:
            return xp.exp(u)
        v = u / self.soft
        return self.soft * (xp.maximum(v, 0.0) + xp.log1p(xp.exp(-xp.abs(v))))

    @property
    def unbounded_start(self) -> float:
        """The start in the coordinate without bounds."""
        if not self.positive:
            return self.start
        if self.soft is None:
            return float(np.log(self.start))
        return float(self.start + self.soft * np.log(-np.expm1(-self.start / self.soft)))

    @property
    def n(self) -> int:
        """Number of elements."""
        return 1 if self.size is None else self.size


@dataclass(frozen=True)
class Epochs:
    """What a formula for the metallicity may depend on.

    Attributes
    ----------
    age_gyr : (N_age,)
        Mean ages of the stars of the templates, Gyr, ascending: those of the parts of age bins,
        ``TemplateSet.parts.age_gyr``, but for models with a mean for each bin.
    t_max_gyr : float
        Lookback time at which star formation began, Gyr.
    mass_formed : (N_age,)
        Mass formed at each age, Msun: an array or a tensor.
    """

    age_gyr: np.ndarray
    t_max_gyr: float
    mass_formed: Any


@dataclass(frozen=True)
class MetallicityModel:
    """Mean metallicity [M/H] of the stars formed at each age; subclass it to write your own.

    A subclass gives `parameters` (an attribute or a property) and `mean`. The dispersion around the
    mean is no part of the model.

    Attributes
    ----------
    depends_on_mass : bool
        Whether `mean` uses the mass formed; a fit then needs more derivatives.
    per_bin : bool
        Whether `mean` has one value for each age bin of the templates, such as one parameter for
        each. By default it is a function of the age, and long bins are divided into parts with
        means of their own; see `TemplateSet.parts`.

    Examples
    --------
    A metallicity that approaches a limit, in seven lines:

    >>> from dataclasses import dataclass
    >>> import numpy as np, pymc_starpop as psp
    >>> @dataclass(frozen=True)
    ... class SaturatingAMR(psp.MetallicityModel):
    ...     parameters = (
    ...         psp.Parameter("mh_oldest", -2.0, 0.5),
    ...         psp.Parameter("rise", 1.5, 0.5, positive=True),
    ...         psp.Parameter("tau_gyr", 4.0, 0.5, positive=True),
    ...     )
    ...     def mean(self, p, epochs, xp):
    ...         time = epochs.t_max_gyr - epochs.age_gyr
    ...         return p["mh_oldest"] + p["rise"] * (1.0 - xp.exp(-time / p["tau_gyr"]))
    >>> epochs = psp.Epochs(np.array([1.0, 5.0, 13.0]), 13.7, np.ones(3))
    >>> model = SaturatingAMR()
    >>> mean, jacobian, _ = model.evaluate(np.array([-2.0, 1.5, 4.0]), epochs)
    >>> mean.round(2), jacobian.shape
    (array([-0.56, -0.67, -1.76]), (3, 3))
    """

    parameters: ClassVar[Any] = ()
    depends_on_mass: ClassVar[bool] = False
    per_bin: ClassVar[bool] = False

    def mean(self, p: Mapping[str, Any], epochs: Epochs, xp: Any = NUMPY) -> Any:
        """Return [M/H] (N_age,), dex; NaN where the formula has no value.

        Parameters
        ----------
        p : mapping
            Values by name of the parameter: numbers, or (size,) arrays; or tensors.
        epochs : Epochs
            Ages and mass formed.
        xp : Namespace
            Functions to use, such as ``xp.exp``. A fit differentiates the formula by calling it
            with complex numbers, so that absolute values must be written as sqrt(x^2).
        """
        raise NotImplementedError(f"{type(self).__name__} must define mean(p, epochs, xp).")

    @property
    def n_parameter(self) -> int:
        """Length of the vector of parameters."""
        return sum(p.n for p in self.parameters)

    def split(self, vector: Any) -> dict[str, Any]:
        """Return the values by name from the vector (n_parameter,) of all parameters."""
        values, first = {}, 0
        for p in self.parameters:
            values[p.name] = vector[first] if p.size is None else vector[first : first + p.size]
            first += p.n
        return values

    def evaluate(
        self, vector: np.ndarray, epochs: Epochs
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return the mean and its derivatives, from complex steps.

        Returns
        -------
        mean : (N_age,)
        per_parameter : (N_age, n_parameter)
        per_mass : (N_age, N_age)
            Derivatives with respect to the mass formed, or None where there are none.
        """
        n_age = epochs.age_gyr.size
        mean = np.broadcast_to(self.mean(self.split(vector), epochs, NUMPY), (n_age,))
        per_parameter = np.empty((n_age, vector.size))
        for i in range(vector.size):
            step = vector.astype(complex)
            step[i] += 1j * _STEP
            per_parameter[:, i] = np.imag(self.mean(self.split(step), epochs, NUMPY)) / _STEP
        if not self.depends_on_mass:
            return mean, per_parameter, None
        per_mass = np.empty((n_age, n_age))
        for i in range(n_age):
            mass = np.asarray(epochs.mass_formed, dtype=complex)
            mass[i] += 1j * _STEP
            moved = Epochs(epochs.age_gyr, epochs.t_max_gyr, mass)
            per_mass[:, i] = np.imag(self.mean(self.split(vector), moved, NUMPY)) / _STEP
        return mean, per_parameter, per_mass

    def check(self, age_gyr: np.ndarray) -> None:
        """Raise a ValueError where the model does not fit these ages (Gyr)."""


@dataclass(frozen=True)
class LinearAMR(MetallicityModel):
    """Metallicity linear in time, [M/H] = beta + alpha (t_max - t); Garling et al. (2025, eq. 9).

    Parameters ``alpha``, dex/Gyr, prior N(0.1, 0.1), and ``beta``, dex, prior N(-1.5, 1).

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> [p.name for p in psp.LinearAMR().parameters]
    ['alpha', 'beta']
    """

    parameters = (Parameter("alpha", 0.1, 0.1), Parameter("beta", -1.5, 1.0))

    def mean(self, p: Mapping[str, Any], epochs: Epochs, xp: Any = NUMPY) -> Any:
        """Return [M/H] (N_age,), dex."""
        return formulas.linear_amr(epochs.age_gyr, p["alpha"], p["beta"], epochs.t_max_gyr)


@dataclass(frozen=True)
class LogarithmicAMR(MetallicityModel):
    """Metal content linear in time, Z = beta + alpha (t_max - t), so [M/H] is logarithmic.

    [M/H] = log10(Z / X) - log10((Z / X)sun) with X = 1 - Y - Z and Y = y_p + gamma Z. Parameters
    ``alpha``, 1/Gyr, and ``beta``, both positive, with log-normal priors of medians 3e-4 and 3e-4
    and widths of 1 in the natural logarithm.

    Parameters
    ----------
    y_p, gamma : float
        Primordial helium, and helium gained per gain in metals.
    z_over_x_sun : float
        Solar ratio of metals to hydrogen; the defaults are those of PARSEC (Bressan et al. 2012).
    """

    y_p: float = formulas.Y_PRIMORDIAL
    gamma: float = formulas.HELIUM_GAIN
    z_over_x_sun: float = formulas.Z_OVER_X_SUN
    parameters = (
        Parameter("alpha", 3e-4, 1.0, positive=True),
        Parameter("beta", 3e-4, 1.0, positive=True),
    )

    def mean(self, p: Mapping[str, Any], epochs: Epochs, xp: Any = NUMPY) -> Any:
        """Return [M/H] (N_age,), dex."""
        return formulas.log_amr(
            epochs.age_gyr, p["alpha"], p["beta"], epochs.t_max_gyr,
            y_p=self.y_p, gamma=self.gamma, z_over_x_sun=self.z_over_x_sun, xp=xp,
        )  # fmt: skip


@dataclass(frozen=True)
class PowerLawMZR(MetallicityModel):
    """Metallicity from the mass formed so far, [M/H] = mh0 + alpha log10(M*(t) / m0).

    M*(t) is the mass formed up to and including time t. Parameters ``alpha``, positive, with a
    log-normal prior of median 0.4 and width 0.5 in ln, and ``mh0``, dex, prior N(-1.5, 1).

    Parameters
    ----------
    m0 : float
        Mass at which the mean metallicity is mh0, Msun.
    """

    m0: float = formulas.MZR_MASS
    parameters = (Parameter("alpha", 0.4, 0.5, positive=True), Parameter("mh0", -1.5, 1.0))
    depends_on_mass = True

    def mean(self, p: Mapping[str, Any], epochs: Epochs, xp: Any = NUMPY) -> Any:
        """Return [M/H] (N_age,), dex."""
        return formulas.power_law_mzr(epochs.mass_formed, p["alpha"], p["mh0"], m0=self.m0, xp=xp)

    def evaluate(
        self, vector: np.ndarray, epochs: Epochs
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return the mean (N_age,) and its derivatives with respect to parameters and mass."""
        mass = np.asarray(epochs.mass_formed, dtype=float)
        formed = np.cumsum(mass[::-1])[::-1]
        mean = np.asarray(self.mean(self.split(vector), epochs, NUMPY))
        alone = np.asarray(self.mean({"alpha": 1.0, "mh0": 0.0}, epochs, NUMPY))
        slope = np.zeros_like(formed)
        np.divide(vector[0] / np.log(10.0), formed, out=slope, where=formed > 0.0)
        per_mass = np.triu(np.broadcast_to(slope[:, None], (mass.size, mass.size)))
        return mean, np.stack([alone, np.ones_like(mean)], axis=1), per_mass


@dataclass(frozen=True)
class FixedAMR(MetallicityModel):
    """A given mean metallicity at every age.

    Parameters
    ----------
    mh : array-like, shape (N_age,)
        [M/H] at the ages of the templates, dex.
    """

    mh: Any = field(default=())
    per_bin: ClassVar[bool] = True

    def __post_init__(self) -> None:
        values = np.array(self.mh, dtype=float)
        if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
            raise ValueError(
                f"FixedAMR: mh must be finite numbers, one for each age, got shape {values.shape}."
            )
        object.__setattr__(self, "mh", tuple(values.tolist()))

    def mean(self, p: Mapping[str, Any], epochs: Epochs, xp: Any = NUMPY) -> Any:
        """Return [M/H] (N_age,), dex."""
        return np.asarray(self.mh)

    def check(self, age_gyr: np.ndarray) -> None:
        """Raise a ValueError unless there is one metallicity for each age (Gyr)."""
        if len(self.mh) != age_gyr.size:
            raise ValueError(
                f"FixedAMR: {len(self.mh)} metallicities for {age_gyr.size} ages; give one for "
                f"each log_age of the templates."
            )


@dataclass(frozen=True)
class MonotoneAMR(MetallicityModel):
    """Metallicity that never falls with time, of free form.

    It starts at ``mh_oldest`` at t_max and rises by ``rise`` (n_step,), all positive, over n_step
    equal intervals of time, linearly within each. Priors: N(-1.5, 1) dex for ``mh_oldest``, and
    for each rise normal around 1.2 dex / n_step with the same standard deviation, folded softly to
    positive values.

    Parameters
    ----------
    n_step : int
        Number of intervals between t_max and today.
    """

    n_step: int = 6

    def __post_init__(self) -> None:
        if self.n_step < 1:
            raise ValueError(f"MonotoneAMR: n_step must be 1 or more, got {self.n_step}.")

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The oldest metallicity and the rises."""
        typical = _TOTAL_RISE / self.n_step
        rise = Parameter("rise", typical, typical, True, self.n_step, soft=0.1 * typical)
        return (Parameter("mh_oldest", -1.5, 1.0), rise)

    def mean(self, p: Mapping[str, Any], epochs: Epochs, xp: Any = NUMPY) -> Any:
        """Return [M/H] (N_age,), dex; rise[0] is the oldest interval."""
        edges = np.linspace(epochs.t_max_gyr, 0.0, self.n_step + 1)
        passed = (edges[:-1] - np.asarray(epochs.age_gyr)[:, None]) / (edges[0] - edges[1])
        share = np.clip(passed, 0.0, 1.0)
        return p["mh_oldest"] + xp.sum(share * p["rise"][None, :], axis=1)


#: Models that `fit_sfh` knows by name.
NAMED_MODELS: dict[str, Any] = {
    "linear_amr": LinearAMR,
    "log_amr": LogarithmicAMR,
    "power_law_mzr": PowerLawMZR,
    "monotone_amr": MonotoneAMR,
}


def as_metallicity_model(metallicity: Any) -> MetallicityModel:
    """Return a model from its name or itself.

    Raises
    ------
    ValueError
        For an unknown name, and for what is no model.
    """
    if isinstance(metallicity, MetallicityModel):
        return metallicity
    if isinstance(metallicity, str) and metallicity in NAMED_MODELS:
        return NAMED_MODELS[metallicity]()
    raise ValueError(
        f"metallicity must be one of {', '.join(map(repr, NAMED_MODELS))}, 'free', or a "
        f"MetallicityModel, got {metallicity!r}."
    )
