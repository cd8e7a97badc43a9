"""The log density of a model in one vector of unconstrained variables, and draws of its prior."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pymc as pm
from pymc.initial_point import make_initial_point_fn
from pymc.pytensorf import compile as compile_function

__all__ = ["Coordinates", "constrained_values", "log_density", "spread_of", "starting_points"]

# Draws from which the spread of the prior is known well enough for lengths of steps.
N_SPREAD = 50
# Draws of the prior for each climb, of which one has to have a density. Of four ordered normals one
# draw in 24 is in order.
DRAWS_A_CLIMB = 20


class Coordinates:
    """The unconstrained variables of a model, one after the other.

    Parameters
    ----------
    model : pm.Model
    point : dict
        A value of each.
    """

    def __init__(self, model: pm.Model, point: dict[str, np.ndarray]):
        self.names = [v.name for v in model.value_vars]
        self.shapes = [np.shape(point[name]) for name in self.names]
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        self.size = sum(sizes)
        self._ends = np.cumsum(sizes)[:-1]

    def flatten(self, point: dict[str, np.ndarray]) -> np.ndarray:
        """Join the variables."""
        return np.concatenate([np.ravel(point[name]).astype(float) for name in self.names])

    def unflatten(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """Take the variables apart."""
        parts = np.split(vector, self._ends)
        return {
            name: part.reshape(shape)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }


def log_density(
    model: pm.Model, point: dict[str, np.ndarray]
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Compile the log density and its gradient, the function that PyMC's sampler uses."""
    function = model.logp_dlogp_function(ravel_inputs=True, initial_point=point)
    function.set_extra_values({})

    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = function(x)
        return float(value), np.asarray(gradient)

    return evaluate


def starting_points(
    model: pm.Model, n_starts: int, random_seed: int | None
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the model's initial point and, for more than one start, draws of its prior.

    By value variable, and NaN where a draw is not in the range of the variable's transform.
    """
    n_draws = max(N_SPREAD, DRAWS_A_CLIMB * n_starts)
    seeds = np.random.SeedSequence(random_seed).generate_state(n_draws)
    yield model.initial_point(int(seeds[0]))
    if n_starts == 1:
        return
    draw = make_initial_point_fn(
        model=model,
        default_strategy="prior",
        overrides={rv.name: "prior" for rv in model.free_RVs},
        return_transformed=True,
    )
    for seed in seeds[1:]:
        with np.errstate(invalid="ignore"):
            point = draw(int(seed))
        yield point


def spread_of(positions: np.ndarray) -> np.ndarray:
    """Half the central 68 % of draws in each variable, which far tails do not stretch."""
    spread = np.ones(positions.shape[1])
    for k, draws in enumerate(positions.T):
        known = draws[np.isfinite(draws)]
        low, high = np.percentile(known, [16.0, 84.0]) if known.size else (0.0, 0.0)
        if high > low:
            spread[k] = 0.5 * (high - low)
    return spread


def constrained_values(
    model: pm.Model, coordinates: Coordinates, positions: Sequence[np.ndarray]
) -> list[dict[str, np.ndarray]]:
    """Return the model's own variables at every position."""
    names = [rv.name for rv in model.free_RVs]
    own = compile_function(
        inputs=model.value_vars, outputs=model.replace_rvs_by_values(list(model.free_RVs))
    )
    return [
        dict(zip(names, map(np.asarray, own(**coordinates.unflatten(x))), strict=True))
        for x in positions
    ]
