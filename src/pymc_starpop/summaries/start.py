"""A starting point for samplers, from several searches for the maximum."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from pymc.initial_point import make_initial_point_fn
from pymc.progress_bar import create_simple_progress
from pymc.pytensorf import compile as compile_function

from pymc_starpop.summaries.climb import Summit, climb

__all__ = ["Start", "find_start"]

# Two searches have found the same optimum if their log densities and every parameter, in units of
# the spread of the prior draws, differ by less than this.
_SAME_LOGP = 0.5
_SAME_POSITION = 0.05
# Draws from which the spread of the prior is known well enough for lengths of steps.
_N_SPREAD = 50


class Start(dict[str, Any]):
    """Starting values by variable, for ``pm.sample(initvals=start)``, and how they were found.

    Attributes
    ----------
    optima : xarray.Dataset
        One entry an optimum, best first: ``logp`` (the log density that samplers see),
        ``below_best`` (nats), ``n_start`` (searches that ended there), ``converged`` (whether the
        gradient vanishes there and the curvature is that of a maximum) and the variables.
    """

    optima: xr.Dataset

    def __init__(self, values: dict[str, Any], optima: xr.Dataset):
        super().__init__(values)
        self.optima = optima

    def __str__(self) -> str:
        """Return a table of the optima, best first."""
        names = [str(n) for n in self.optima.data_vars if self.optima[n].ndim == 1]
        rows = [names]
        rows += [
            [_format(self.optima[n].values[i]) for n in names]
            for i in range(self.optima.sizes["optimum"])
        ]
        widths = [max(len(row[k]) for row in rows) for k in range(len(names))]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        )


def _format(value: Any) -> str:
    """Four digits, or yes and no."""
    if isinstance(value, np.bool_):
        return "yes" if value else "no"
    return f"{float(value):.4g}"


def find_start(
    n_starts: int = 12,
    *,
    model: pm.Model | None = None,
    random_seed: int | None = 0,
    progressbar: bool = True,
) -> Start:
    """Climb to the nearest maximum from several draws of the prior and return the best.

    Every climb is BFGS in the unconstrained variables with exact gradients; no step is longer than
    the spread of the prior, and one that leaves the support is halved. At its end the Hessian, from
    differences of the gradient, decides whether it is a maximum. Optima that differ are all
    reported: a rival a few nats below the best means that one chain may stay there.

    Parameters
    ----------
    n_starts : int
        Number of climbs: one from the model's initial point, the others from draws of the prior.
        With 1 nothing is drawn, so that the prior may be improper.
    model : pm.Model, optional
        By default the one of the surrounding ``with``.
    random_seed : int, optional
        Seed of the draws.
    progressbar : bool
        Whether to show progress.

    Returns
    -------
    Start
        A dictionary for the ``initvals`` of ``pm.sample``; ``print(start)`` shows the optima.

    Raises
    ------
    ValueError
        If no climb begins at a finite log density.

    Examples
    --------
    >>> import pymc as pm, pymc_starpop as psp
    >>> with pm.Model():
    ...     x = pm.Normal("x", 3.0, 1.0)
    ...     start = psp.find_start(2, progressbar=False)
    >>> round(float(start["x"]), 3)
    3.0
    """
    if n_starts < 1:
        raise ValueError(f"n_starts must be at least 1, got {n_starts}")
    model = pm.modelcontext(model)
    n_points = max(n_starts, _N_SPREAD) if n_starts > 1 else 1
    points = _starting_points(model, n_points, random_seed)
    density = _LogDensity(model, points[0])
    positions = np.array([density.flatten(point) for point in points])
    spread = _spread(positions[1:]) if n_starts > 1 else np.ones(positions.shape[1])
    climbs = []
    # The one that shows nothing does not return itself on entering.
    progress = create_simple_progress(progressbar)
    with progress:
        task = progress.add_task("Searching maxima", completed=0, total=n_starts)
        for position in positions[:n_starts]:
            climbs.append(climb(density.evaluate, position, spread))
            progress.advance(task)
    found = [summit for summit in climbs if summit is not None]
    if not found:
        raise ValueError(
            f"none of {n_starts} starting points has a finite log density; narrow the priors so "
            "that they lie within the isochrones, or raise n_starts"
        )
    optima = _distinct(sorted(found, key=lambda summit: -summit.logp), spread)
    table = _table(model, density, optima)
    best = {rv.name: table[rv.name][0].values for rv in model.free_RVs}
    return Start(best, table)


def _starting_points(
    model: pm.Model, n_starts: int, random_seed: int | None
) -> list[dict[str, np.ndarray]]:
    """The model's initial point and draws of its prior, by value variable."""
    draw = make_initial_point_fn(
        model=model,
        default_strategy="prior",
        overrides={rv.name: "prior" for rv in model.free_RVs},
        return_transformed=True,
    )
    seeds = np.random.SeedSequence(random_seed).generate_state(n_starts)
    points = [model.initial_point(int(seeds[0]))]
    return points + [draw(int(seed)) for seed in seeds[1:]]


class _LogDensity:
    """Log density and gradient in one flat vector of unconstrained variables."""

    def __init__(self, model: pm.Model, point: dict[str, np.ndarray]):
        self._names = [v.name for v in model.value_vars]
        self._shapes = [np.shape(point[name]) for name in self._names]
        self._function = model.logp_dlogp_function(ravel_inputs=True, initial_point=point)
        self._function.set_extra_values({})

    def flatten(self, point: dict[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([np.ravel(point[name]).astype(float) for name in self._names])

    def unflatten(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        sizes = [int(np.prod(shape)) for shape in self._shapes]
        parts = np.split(vector, np.cumsum(sizes)[:-1])
        return {
            name: part.reshape(shape)
            for name, part, shape in zip(self._names, parts, self._shapes, strict=True)
        }

    def evaluate(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the log density and its gradient."""
        value, gradient = self._function(x)
        return float(value), np.asarray(gradient)


def _spread(positions: np.ndarray) -> np.ndarray:
    """Half the central 68 % of draws in each variable, which far tails do not stretch."""
    low, high = np.percentile(positions, [16.0, 84.0], axis=0)
    return np.where(high > low, 0.5 * (high - low), 1.0)


def _distinct(found: Sequence[Summit], spread: np.ndarray) -> list[tuple[Summit, int]]:
    """Merge searches that ended in the same place, counting them."""
    optima: list[tuple[Summit, int]] = []
    for summit in found:
        for k, (known, count) in enumerate(optima):
            near = np.all(np.abs(summit.position - known.position) <= _SAME_POSITION * spread)
            if known.logp - summit.logp < _SAME_LOGP and near:
                optima[k] = (known, count + 1)
                break
        else:
            optima.append((summit, 1))
    return optima


def _table(model: pm.Model, density: _LogDensity, optima: list[tuple[Summit, int]]) -> xr.Dataset:
    """Collect the optima in the model's own variables."""
    constrained = compile_function(
        inputs=model.value_vars, outputs=model.replace_rvs_by_values(list(model.free_RVs))
    )
    values = [constrained(**density.unflatten(summit.position)) for summit, _ in optima]
    logp = np.array([summit.logp for summit, _ in optima])
    data: dict[str, Any] = {
        "logp": ("optimum", logp),
        "below_best": ("optimum", logp[0] - logp),
        "n_start": ("optimum", [count for _, count in optima]),
        "converged": ("optimum", [summit.converged for summit, _ in optima]),
    }
    for k, rv in enumerate(model.free_RVs):
        stacked = np.stack([np.asarray(v[k]) for v in values])
        dims = [f"{rv.name}_dim_{i}" for i in range(stacked.ndim - 1)]
        data[rv.name] = (["optimum", *dims], stacked)
    return xr.Dataset(data)
