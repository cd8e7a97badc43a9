"""Metallicity against age, and the mass formed at each age and metallicity: symbolic.

Every function takes PyTensor variables, arrays or numbers and returns a PyTensor variable, so that
a model of your own needs nothing but an expression of the ages. The formulas are those of
`pymc_starpop.hess.metallicity_models`; here numbers are checked. Symbolic parameters outside the
range of a formula give NaN, which the likelihood of a Hess diagram turns into -inf.
"""

from typing import Any

import numpy as np
from pytensor import tensor as pt
from pytensor.compile.ops import ViewOp
from pytensor.graph.basic import Variable
from pytensor.tensor import TensorVariable

from pymc_starpop.hess import metallicity_models as formulas
from pymc_starpop.ops._arguments import as_tensor, number_of, values_of
from pymc_starpop.ops.namespace import TENSOR

__all__ = [
    "linear_amr",
    "linear_amr_through",
    "log_amr",
    "log_amr_through",
    "metallicity_weights",
    "monotone_amr",
    "power_law_mzr",
]


def _same_length(**variables: TensorVariable) -> None:
    """Refuse vectors of known lengths that differ."""
    lengths = {
        name: v.type.shape[0]
        for name, v in variables.items()
        if v.type.ndim == 1 and v.type.shape[0] is not None
    }
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{name}: {n}" for name, n in lengths.items())
        raise ValueError(f"expected one value for each age, got {got}.")


def _age(age_gyr: Any, t_max_gyr: Any) -> tuple[TensorVariable, TensorVariable]:
    age = as_tensor("age_gyr", age_gyr, (0, 1), "not negative")
    t_max = as_tensor("t_max_gyr", t_max_gyr, (0,), "positive")
    ages, latest = number_of(values_of(age_gyr)), number_of(values_of(t_max_gyr))
    if ages is not None and latest is not None and (ages > latest).any():
        raise ValueError(
            f"t_max_gyr: {float(latest):g} Gyr is below an age, {ages.max():g} Gyr; it is the time "
            f"since the first stars formed, so that no age exceeds it."
        )
    return age, t_max


def linear_amr(age_gyr: Any, alpha: Any, beta: Any, t_max_gyr: Any) -> TensorVariable:
    """Mean metallicity that rises linearly with time.

    [M/H] = alpha (t_max - t) + beta; Garling et al. (2025, eq. 9).

    Parameters
    ----------
    age_gyr : array-like or tensor, shape (N_age,)
        Ages t, Gyr, as `TemplateSet.age_gyr`.
    alpha : float or tensor
        Rise, dex per Gyr.
    beta : float or tensor
        [M/H] at `t_max_gyr`, dex.
    t_max_gyr : float or tensor
        Age of the first stars, Gyr.

    Returns
    -------
    TensorVariable
        [M/H], dex, shape of `age_gyr`.

    Raises
    ------
    ValueError
        For numbers that are not finite, and a `t_max_gyr` below an age.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> psp.linear_amr([0.1, 13.7], alpha=0.1, beta=-1.87, t_max_gyr=13.7).eval()
    array([-0.51, -1.87])
    """
    age, t_max = _age(age_gyr, t_max_gyr)
    alpha, beta = as_tensor("alpha", alpha, (0,)), as_tensor("beta", beta, (0,))
    return formulas.linear_amr(age, alpha, beta, t_max)


def log_amr(
    age_gyr: Any,
    alpha: Any,
    beta: Any,
    t_max_gyr: Any,
    *,
    y_p: float = formulas.Y_PRIMORDIAL,
    gamma: float = formulas.HELIUM_GAIN,
    z_over_x_sun: float = formulas.Z_OVER_X_SUN,
) -> TensorVariable:
    """Mean metallicity of a metal content that rises linearly with time.

    Z = alpha (t_max - t) + beta and [M/H] = log10(Z/X) - log10((Z/X)sun), with Y = y_p + gamma Z
    and X = 1 - Y - Z. The defaults are those of PARSEC as StarFormationHistories.jl takes them
    (Z_sun = 0.01524); other libraries of isochrones differ.

    Parameters
    ----------
    age_gyr : array-like or tensor, shape (N_age,)
        Ages t, Gyr.
    alpha : float or tensor
        Rise of Z per Gyr, not negative.
    beta : float or tensor
        Z at `t_max_gyr`, not negative. Where Z = 0, or X = 0, [M/H] is NaN.
    t_max_gyr : float or tensor
        Age of the first stars, Gyr.
    y_p : float
        Primordial helium content.
    gamma : float
        Gain of helium with metals, dY/dZ.
    z_over_x_sun : float
        Z/X of the Sun.

    Returns
    -------
    TensorVariable
        [M/H], dex, shape of `age_gyr`.

    Raises
    ------
    ValueError
        For numbers that are not finite, a negative `alpha` or `beta`, and a `t_max_gyr` below an
        age.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> psp.log_amr([0.0, 13.7], alpha=0.001, beta=0.0002, t_max_gyr=13.7).eval()
    array([-0.042..., -1.906...])
    """
    age, t_max = _age(age_gyr, t_max_gyr)
    alpha = as_tensor("alpha", alpha, (0,), "not negative")
    beta = as_tensor("beta", beta, (0,), "not negative")
    solar = _solar(y_p, gamma, z_over_x_sun)
    return formulas.log_amr(age, alpha, beta, t_max, xp=TENSOR, **solar)


def _solar(y_p: float, gamma: float, z_over_x_sun: float) -> dict[str, float]:
    given = {"y_p": y_p, "gamma": gamma, "z_over_x_sun": z_over_x_sun}
    for name, (low, high) in {"y_p": (0, 1), "gamma": (0, 10), "z_over_x_sun": (0, 1)}.items():
        if not low <= given[name] < high or (name == "z_over_x_sun" and given[name] == 0):
            raise ValueError(f"{name}: expected a number from {low} to {high}, got {given[name]}.")
    return given


def linear_amr_through(first: Any, second: Any, t_max_gyr: Any) -> tuple[Any, Any]:
    """Slope and intercept of `linear_amr` through two points.

    Parameters
    ----------
    first, second : (float or tensor, float or tensor)
        [M/H] in dex and age in Gyr.
    t_max_gyr : float or tensor
        Age of the first stars, Gyr.

    Returns
    -------
    alpha, beta
        Floats where all was given in numbers, else tensors.

    Raises
    ------
    ValueError
        For points at the same age, ages outside 0 to t_max_gyr, and what is not two numbers.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> psp.linear_amr_through((-0.5, 0.0), (-1.87, 13.7), t_max_gyr=13.7)
    (0.1, -1.87)
    """
    points, t_max = _points(first, second, t_max_gyr)
    return formulas.linear_amr_through(*points, t_max)


def log_amr_through(
    first: Any,
    second: Any,
    t_max_gyr: Any,
    *,
    y_p: float = formulas.Y_PRIMORDIAL,
    gamma: float = formulas.HELIUM_GAIN,
    z_over_x_sun: float = formulas.Z_OVER_X_SUN,
) -> tuple[Any, Any]:
    """Slope and intercept of `log_amr` through two points.

    Parameters
    ----------
    first, second : (float or tensor, float or tensor)
        [M/H] in dex and age in Gyr.
    t_max_gyr : float or tensor
        Age of the first stars, Gyr.
    y_p, gamma, z_over_x_sun : float
        As for `log_amr`.

    Returns
    -------
    alpha, beta
        Floats where all was given in numbers, else tensors.

    Raises
    ------
    ValueError
        For points at the same age, ages outside 0 to t_max_gyr, and numbers that make alpha or
        beta negative.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> alpha, beta = psp.log_amr_through((-0.1, 0.0), (-2.0, 13.7), t_max_gyr=13.7)
    >>> psp.log_amr([0.0, 13.7], alpha, beta, 13.7).eval()
    array([-0.1, -2. ])
    """
    solar = _solar(y_p, gamma, z_over_x_sun)
    points, t_max = _points(first, second, t_max_gyr)
    if isinstance(t_max, Variable):
        return formulas.log_amr_through(*points, t_max, xp=TENSOR, **solar)
    alpha, beta = map(float, formulas.log_amr_through(*points, t_max, **solar))
    if alpha < 0 or beta < 0:
        raise ValueError(
            f"first, second: {points} give alpha = {alpha:g} and beta = {beta:g}, which must not "
            f"be negative; the younger point must have the higher [M/H], and the metal content "
            f"must not reach 0 before t_max_gyr = {t_max:g} Gyr."
        )
    return alpha, beta


def _points(first: Any, second: Any, t_max_gyr: Any) -> tuple[tuple[Any, Any], Any]:
    """Two points and t_max after checks: floats where all are numbers, else variables."""
    for name, point in (("first", first), ("second", second)):
        if not isinstance(point, tuple | list | np.ndarray) or len(point) != 2:
            raise ValueError(f"{name}: expected ([M/H], age in Gyr), got {point!r}.")
    given = {
        "first": first[0], "age of first": first[1], "second": second[0],
        "age of second": second[1], "t_max_gyr": t_max_gyr,
    }  # fmt: skip
    variables = [as_tensor(name, value, (0,)) for name, value in given.items()]
    numbers = [number_of(values_of(value)) for value in given.values()]
    ages = [number for number in (numbers[1], numbers[3]) if number is not None]
    if len(ages) == 2 and ages[0] == ages[1]:
        raise ValueError(f"first, second: both are at the age {float(ages[0]):g} Gyr.")
    limit = None if numbers[4] is None else float(numbers[4])
    for which, age in (("first", numbers[1]), ("second", numbers[3])):
        if age is not None and not 0.0 <= age <= (np.inf if limit is None else limit):
            raise ValueError(
                f"{which}: expected ([M/H], age) with an age from 0 to t_max_gyr"
                f"{'' if limit is None else f' = {limit:g}'} Gyr, got an age of {float(age):g}."
            )
    known = [float(number) for number in numbers if number is not None]
    mh_1, age_1, mh_2, age_2, t_max = known if len(known) == len(numbers) else variables
    return ((mh_1, age_1), (mh_2, age_2)), t_max


def power_law_mzr(
    mass_formed: Any, alpha: Any, mh0: Any, *, m0: float = formulas.MZR_MASS
) -> TensorVariable:
    """Mean metallicity that follows the mass formed so far.

    [M/H] = mh0 + alpha log10(M*(t) / m0), M*(t) the mass formed up to and including the age bin t:
    a mass-metallicity relation that holds at all times (Garling et al. 2025, section 2.4).

    Parameters
    ----------
    mass_formed : array-like or tensor, shape (N_age,)
        Mass formed in each age bin, youngest first, Msun.
    alpha : float or tensor
        Slope, dex per dex.
    mh0 : float or tensor
        [M/H] at the mass `m0`, dex.
    m0 : float
        Msun.

    Returns
    -------
    TensorVariable, shape (N_age,)
        [M/H], dex. Before any star has formed M* counts as 1e-30 of m0.

    Raises
    ------
    ValueError
        For numbers that are not finite, negative masses, and an `m0` that is not positive.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> psp.power_law_mzr([9e6, 1e6], alpha=0.5, mh0=-1.0).eval()
    array([-0.5, -1. ])
    """
    mass = as_tensor("mass_formed", mass_formed, (1,), "not negative")
    as_tensor("m0", m0, (0,), "positive")
    alpha, mh0 = as_tensor("alpha", alpha, (0,)), as_tensor("mh0", mh0, (0,))
    return formulas.power_law_mzr(mass, alpha, mh0, m0=m0, xp=TENSOR)


def monotone_amr(age_gyr: Any, mh_oldest: Any, steps: Any) -> TensorVariable:
    """Mean metallicity that never falls with time and has no other form.

    [M/H]_j = mh_oldest + sum over i >= j of steps_i, so that each step is the rise from one age to
    the next younger one. Any prior on positive numbers will do for the steps, for example a total
    rise times a Dirichlet variable.

    Parameters
    ----------
    age_gyr : array-like or tensor, shape (N_age,)
        Ages, ascending, Gyr.
    mh_oldest : float or tensor
        [M/H] at the oldest age, dex.
    steps : array-like or tensor, shape (N_age - 1,)
        Rise from age j + 1 to age j, not negative, dex.

    Returns
    -------
    TensorVariable, shape (N_age,)
        [M/H], dex; NaN from a negative step on.

    Raises
    ------
    ValueError
        For numbers that are not finite, negative steps, ages that do not ascend, and shapes that
        do not agree.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> psp.monotone_amr([1.0, 5.0, 10.0], mh_oldest=-2.0, steps=[0.5, 0.3]).eval()
    array([-1.2, -1.7, -2. ])
    """
    age = as_tensor("age_gyr", age_gyr, (1,), "not negative")
    numbers = number_of(values_of(age_gyr))
    if numbers is not None and (np.diff(numbers) <= 0).any():
        raise ValueError("age_gyr: must ascend, the youngest first, as TemplateSet.age_gyr does.")
    start = as_tensor("mh_oldest", mh_oldest, (0,))
    rises = as_tensor("steps", steps, (1,), "not negative")
    n_age, n_step = age.type.shape[0], rises.type.shape[0]
    if n_age is not None and n_step is not None and n_step != n_age - 1:
        raise ValueError(f"steps: expected {n_age - 1} for {n_age} ages, got {n_step}.")
    return formulas.monotone_amr(start, rises, xp=TENSOR)


def metallicity_weights(mass_formed: Any, mh: Any, sigma: Any, grid: Any) -> TensorVariable:
    """Mass formed at each age and metallicity, Gaussian in [M/H] at each age.

    r_jk = R_j A_jk / sum_k A_jk with A_jk = exp(-((grid_k - mh_j) / sigma)^2 / 2); Garling et al.
    (2025, eq. 7 and 8, with the 1/2 that their code has).

    Parameters
    ----------
    mass_formed : array-like or tensor, shape (N_age,)
        Mass formed in each age bin R, Msun.
    mh : array-like or tensor, shape (N_age,) or ()
        Mean [M/H] at each age, dex.
    sigma : float, array-like or tensor, shape () or (N_age,)
        Standard deviation, dex, positive.
    grid : array-like, shape (N_mh,)
        [M/H] of the templates, dex, as `TemplateSet.mh`.

    Returns
    -------
    TensorVariable, shape (N_age, N_mh)
        Msun. The likelihood of a Hess diagram knows this very variable (also as a
        `pymc.Deterministic`) and passes over templates with less than 1e-10 of the mass of an age;
        what you compute from it counts as any other tensor.

    Raises
    ------
    ValueError
        For numbers that are not finite, negative masses, a `sigma` that is not positive, a grid
        that does not ascend, and lengths that differ.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> psp.metallicity_weights([1e6], [-1.0], 0.1, [-1.1, -1.0, -0.9]).eval().round()
    array([[274069., 451863., 274069.]])
    """
    mass = as_tensor("mass_formed", mass_formed, (1,), "not negative")
    mean = as_tensor("mh", mh, (0, 1))
    width = as_tensor("sigma", sigma, (0, 1), "positive")
    levels = as_tensor("grid", grid, (1,))
    numbers = number_of(values_of(grid))
    if numbers is not None and (np.diff(numbers) <= 0).any():
        raise ValueError("grid: must ascend, as TemplateSet.mh does.")
    _same_length(mass_formed=mass, mh=mean, sigma=width)
    if mean.type.ndim == 0:
        mean = mean * pt.ones_like(mass)
    r = mass[:, None] * formulas.metallicity_shares(mean, width, levels, xp=TENSOR)
    r.tag.from_metallicity_weights = True
    return r


def is_from_weights(r: Variable) -> bool:
    """Whether a variable is one that `metallicity_weights` returned, or a view of it."""
    while not getattr(r.tag, "from_metallicity_weights", False):
        if r.owner is None or not isinstance(r.owner.op, ViewOp):
            return False
        r = r.owner.inputs[0]
    return True
