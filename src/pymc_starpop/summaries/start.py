"""A starting point for samplers, from several searches for the maximum."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from pymc.initial_point import make_initial_point_fn
from pymc.progress_bar import create_simple_progress
from pymc.pytensorf import compile as compile_function
from scipy.optimize import minimize

__all__ = ["Start", "find_start"]

# Two searches have found the same optimum if their log densities and every parameter, in units of
# the spread of the prior draws, differ by less than this.
_SAME_LOGP = 0.5
_SAME_POSITION = 0.05
# A search goes on until a restart gains less than this many nats, or so many times.
_CONVERGED = 0.01
_MAX_RESTARTS = 10


class Start(dict[str, Any]):
    """Starting values by variable, for ``pm.sample(initvals=start)``, and how they were found.

    Attributes
    ----------
    optima : xarray.Dataset
        One entry an optimum, best first: ``logp`` (the log density that samplers see),
        ``below_best`` (nats), ``n_start`` (searches that ended there) and the variables.
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
            [f"{float(self.optima[n][i]):.4g}" for n in names]
            for i in range(self.optima.sizes["optimum"])
        ]
        widths = [max(len(row[k]) for row in rows) for k in range(len(names))]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        )


def find_start(
    n_starts: int = 12,
    *,
    model: pm.Model | None = None,
    random_seed: int | None = 0,
    progressbar: bool = True,
) -> Start:
    """Climb to the nearest maximum from several draws of the prior and return the best.

    Every climb is L-BFGS-B in the unconstrained variables with exact gradients. Optima that
    differ are all reported: a rival a few nats below the best means that one chain may stay there.

    Parameters
    ----------
    n_starts : int
        Number of climbs: one from the model's initial point, the others from draws of the prior.
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
    points = _starting_points(model, n_starts, random_seed)
    density = _LogDensity(model, points[0])
    climbs = []
    # The one that shows nothing does not return itself on entering.
    progress = create_simple_progress(progressbar)
    with progress:
        task = progress.add_task("Searching maxima", completed=0, total=n_starts)
        for point in points:
            climbs.append(density.climb(density.flatten(point)))
            progress.advance(task)
    found = [climb for climb in climbs if climb is not None]
    if not found:
        raise ValueError(
            f"none of {n_starts} starting points has a finite log density; narrow the priors so "
            "that they lie within the isochrones, or raise n_starts"
        )
    spread = np.std([density.flatten(p) for p in points], axis=0) if n_starts > 1 else None
    optima = _distinct(sorted(found, key=lambda f: -f[0]), spread)
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

    def climb(self, start: np.ndarray) -> tuple[float, np.ndarray] | None:
        """Return the log density and position of the maximum, None if the start has none."""
        value, _ = self._evaluate(start)
        if not np.isfinite(value):
            return None

        def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = self._evaluate(x)
            if not np.isfinite(value):
                # Outside the support: L-BFGS-B shortens its step.
                return np.inf, np.zeros_like(x)
            return -value, -gradient

        options = {"maxiter": 1000, "maxfun": 3000, "ftol": 1e-12, "gtol": 1e-3, "maxls": 50}
        best = start
        # A search that ends on a kink or after a bad line search goes on from where it is.
        for _ in range(_MAX_RESTARTS):
            result = minimize(objective, best, jac=True, method="L-BFGS-B", options=options)
            gain = value + float(result.fun)
            best, value = result.x, -float(result.fun)
            if gain > -_CONVERGED:
                break
        return value, best

    def _evaluate(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = self._function(x)
        return float(value), np.asarray(gradient)


def _distinct(
    found: Sequence[tuple[float, np.ndarray]], spread: np.ndarray | None
) -> list[tuple[float, np.ndarray, int]]:
    """Merge searches that ended in the same place, counting them."""
    optima: list[tuple[float, np.ndarray, int]] = []
    for logp, x in found:
        for k, (known_logp, known_x, count) in enumerate(optima):
            near = spread is None or np.all(
                np.abs(x - known_x) <= _SAME_POSITION * np.maximum(spread, 1e-12)
            )
            if known_logp - logp < _SAME_LOGP and near:
                optima[k] = (known_logp, known_x, count + 1)
                break
        else:
            optima.append((logp, x, 1))
    return optima


def _table(
    model: pm.Model, density: _LogDensity, optima: list[tuple[float, np.ndarray, int]]
) -> xr.Dataset:
    """Collect the optima in the model's own variables."""
    constrained = compile_function(
        inputs=model.value_vars, outputs=model.replace_rvs_by_values(list(model.free_RVs))
    )
    values = [constrained(**density.unflatten(x)) for _, x, _ in optima]
    logp = np.array([o[0] for o in optima])
    data: dict[str, Any] = {
        "logp": ("optimum", logp),
        "below_best": ("optimum", logp[0] - logp),
        "n_start": ("optimum", [o[2] for o in optima]),
    }
    for k, rv in enumerate(model.free_RVs):
        stacked = np.stack([np.asarray(v[k]) for v in values])
        dims = [f"{rv.name}_dim_{i}" for i in range(stacked.ndim - 1)]
        data[rv.name] = (["optimum", *dims], stacked)
    return xr.Dataset(data)
