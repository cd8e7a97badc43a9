"""Whether the formula of a metallicity model is what the fast fit takes it for."""

from dataclasses import replace
from typing import Any

import numpy as np

from pymc_starpop._namespace import NUMPY
from pymc_starpop.sfh.metallicity_models import Epochs, MetallicityModel

__all__ = ["check_formula"]

# Relative steps of the differences, and how far derivatives may be from them, in parts of the
# largest: the error of a central difference with such steps is below 1e-7 for smooth formulas.
_STEP = 1e-5
_MASS_STEP = 1e-4
_TOLERANCE = 1e-4


def check_formula(model: MetallicityModel, vector: np.ndarray, epochs: Epochs) -> None:
    """Refuse a formula without values, or whose derivatives are not those of its values.

    Derivatives come from complex steps, which are exact for analytic formulas and wrong, without
    any sign of it, for others such as those with an absolute value.

    Parameters
    ----------
    model : MetallicityModel
    vector : (n_parameter,)
        Where to check: all parameters, at the start of a fit.
    epochs : Epochs
        Ages and masses.

    Raises
    ------
    ValueError
        For means of another shape than the ages, means that are not finite, derivatives that
        differ from differences, and an undeclared dependence on the masses formed.
    """
    name, n_age = type(model).__name__, epochs.age_gyr.size

    def mean(values: np.ndarray, at: Epochs) -> np.ndarray:
        return np.asarray(model.mean(model.split(values), at, NUMPY))

    at_start = mean(vector, epochs)
    if at_start.shape not in ((), (n_age,)):
        raise ValueError(
            f"{name}: mean must return one [M/H] for each of {n_age} ages, got shape "
            f"{at_start.shape}. Ages are those of the parts of long bins; set per_bin = True in "
            f"the class of a model with one value for each bin."
        )
    if not np.isfinite(at_start).all():
        raise ValueError(
            f"{name}: mean is not finite at the starting values {model.split(vector)}; give others "
            f"in start=, or another start to its Parameter."
        )
    _, per_parameter, per_mass = model.evaluate(vector, epochs)
    for i in range(vector.size):
        step = np.zeros(vector.size)
        step[i] = _STEP * max(abs(vector[i]), 1e-3)
        change = (mean(vector + step, epochs) - mean(vector - step, epochs)) / (2.0 * step[i])
        if _differ(per_parameter[:, i], change):
            raise ValueError(
                f"{name}: the derivative of mean with respect to parameter {_name(model, i)} is "
                f"{_first(per_parameter[:, i])} by a complex step and {_first(change)} by "
                f"differences. The formula must be analytic: write xp.sqrt(x**2) for abs(x), avoid "
                f"comparisons, or override evaluate."
            )
    mass = np.asarray(epochs.mass_formed, dtype=float)
    step = _MASS_STEP * mass * np.linspace(0.5, 1.0, n_age)
    up, down = (mean(vector, replace(epochs, mass_formed=mass + s)) for s in (step, -step))
    expected = np.zeros(n_age) if per_mass is None else per_mass @ step
    if per_mass is None and not np.array_equal(up, down):
        raise ValueError(
            f"{name}: mean changes with epochs.mass_formed; set depends_on_mass = True in the "
            f"class."
        )
    if _differ(expected, 0.5 * (up - down)):
        raise ValueError(
            f"{name}: the derivative of mean with respect to the masses formed differs from "
            f"differences; the formula must be analytic, or override evaluate."
        )


def _differ(derivative: np.ndarray, change: Any) -> bool:
    """Whether a derivative is off by more than the tolerance, relative to the largest."""
    scale = max(np.abs(derivative).max(), np.abs(change).max(), 1e-300)
    # Differences of numbers of order one are good to 1e-11 or so.
    return bool(np.abs(derivative - change).max() > _TOLERANCE * scale + 1e-9)


def _name(model: MetallicityModel, index: int) -> str:
    names = [p.name if p.size is None else f"{p.name}[{i}]" for p in model.parameters
             for i in range(p.n)]  # fmt: skip
    return names[index]


def _first(values: Any) -> str:
    """Name the value of largest size."""
    array = np.atleast_1d(values)
    return f"{array[np.abs(array).argmax()]:.4g}"
