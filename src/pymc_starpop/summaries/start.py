"""A starting point for samplers, from several searches for the maximum."""

import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from pymc.initial_point import make_initial_point_fn
from pymc.progress_bar import create_simple_progress
from pymc.pytensorf import compile as compile_function
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

from pymc_starpop.summaries.climb import Evaluate, Summit, climb

__all__ = ["Start", "find_start"]

_HERE = str(Path(__file__).parents[1])  # warnings point at the code that calls this package

# Two searches have found the same optimum if their log densities and every parameter, in units of
# the spread of the prior draws, differ by less than this.
_SAME_LOGP = 0.5
_SAME_POSITION = 0.05
# Share of the posterior that makes a rival optimum a start of other chains.
_RIVAL = 0.01
# Draws from which the spread of the prior is known well enough for lengths of steps.
_N_SPREAD = 50
# Draws of the prior for each climb, of which one has to have a density. Of four ordered normals one
# draw in 24 is in order.
_DRAWS_A_CLIMB = 20


class Start(dict[str, Any]):
    """Starting values by variable, how they were found, and how samplers are made to keep them.

    ``pm.sample(**start.sample_kwargs())`` begins exactly there. ``pm.sample(initvals=start)`` does
    not: both nutpie and PyMC's NUTS then add a number between -1 and 1 to every unconstrained
    variable, which is far beside the width of a likelihood of many stars.

    Attributes
    ----------
    optima : xarray.Dataset
        One entry an optimum, best first: ``logp`` (the log density that samplers see),
        ``below_best`` (nats), ``weight`` (share of the posterior by Laplace's approximation, that
        is, of the Gaussian with the curvature of the optimum; where that is no maximum, with the
        largest volume of the others), ``n_start`` (searches that ended there), ``converged``
        (whether the gradient vanishes there and the curvature is that of a maximum) and the
        variables. Its attribute ``n_without_density`` is the number of starting points without a
        finite log density, in whose place others were drawn.
    rivals : tuple of dict
        Starting values of the other optima, best first, whose weight is at least 0.01.

    Examples
    --------
    >>> import pymc as pm, pymc_starpop as psp
    >>> with pm.Model():
    ...     x = pm.Normal("x", 3.0, 1.0)
    ...     start = psp.find_start(2, progressbar=False)
    >>> sorted(start.sample_kwargs("pymc"))
    ['chains', 'init', 'initvals', 'nuts_sampler']
    """

    optima: xr.Dataset
    rivals: tuple[dict[str, Any], ...]

    def __init__(
        self,
        values: dict[str, Any],
        optima: xr.Dataset,
        rivals: Sequence[dict[str, Any]] = (),
    ):
        super().__init__(values)
        self.optima = optima
        self.rivals = tuple(rivals)

    def sample_kwargs(
        self, sampler: str = "nutpie", *, chains: int = 4, rivals: bool = True
    ) -> dict[str, Any]:
        """Return the arguments with which ``pm.sample`` begins exactly here.

        Without rivals every chain begins at the best optimum. With them the optima take turns,
        best first, so that chains which stay in different ones show in r_hat; how many draws each
        optimum gets then says nothing of its probability. nutpie has no starts by chain: its chains
        take the next one when they begin, so that which chain gets which may differ between runs on
        several cores.

        Parameters
        ----------
        sampler : {"nutpie", "pymc"}
            Which NUTS samples: that of nutpie, or PyMC's own, which begins sooner since it reuses
            the function that `find_start` compiled.
        chains : int
            Number of chains.
        rivals : bool
            Whether optima of weight other than the best are starts, too.

        Returns
        -------
        dict
            ``chains``, ``nuts_sampler`` and ``initvals``; for PyMC's sampler ``init``, for nutpie
            ``compile_kwargs``, to which yours can be added. All that is left to say is said to
            ``pm.sample``: ``pm.sample(2000, **start.sample_kwargs(), random_seed=1)``.

        Raises
        ------
        ValueError
            For another sampler, or a number of chains that is not 1 or more.
        """
        if isinstance(chains, bool) or not isinstance(chains, int | np.integer) or chains < 1:
            raise ValueError(f"chains must be a whole number, 1 or more, got {chains!r}")
        starts = [dict(self), *(self.rivals if rivals else ())][:chains]
        common = {"chains": int(chains), "nuts_sampler": sampler}
        if sampler == "pymc":
            turns = [dict(starts[k % len(starts)]) for k in range(chains)]
            # One dictionary is compiled once, a list once a chain.
            initvals = turns if len(starts) > 1 else turns[0]
            return common | {"init": "adapt_diag", "initvals": initvals}
        if sampler == "nutpie":
            initvals = _take_turns(starts) if len(starts) > 1 else starts[0]
            return common | {"initvals": initvals, "compile_kwargs": {"jitter_rvs": set()}}
        raise ValueError(
            f"sampler must be 'nutpie' or 'pymc', got {sampler!r}; other samplers take initvals="
            "start, and their jitter has to be switched off by their own option"
        )

    def __str__(self) -> str:
        """Return a table of the optima, best first."""
        names = [str(n) for n in self.optima.data_vars if self.optima[n].ndim == 1]
        rows = [names]
        rows += [
            [_format(self.optima[n].values[i]) for n in names]
            for i in range(self.optima.sizes["optimum"])
        ]
        widths = [max(len(row[k]) for row in rows) for k in range(len(names))]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        ]
        lost = int(self.optima.attrs.get("n_without_density", 0))
        if lost:
            lines.append(f"starting points without a finite log density: {lost}")
        return "\n".join(lines)


class _Turn(Op):
    """Number of the start whose turn it is: the next one at every evaluation."""

    def __init__(self, n_start: int):
        self._turns = itertools.cycle(range(n_start))

    def make_node(self) -> Apply:
        return Apply(self, [], [pt.lscalar()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        output_storage[0][0] = np.asarray(next(self._turns), dtype=np.int64)

    def do_constant_folding(self, fgraph: Any, node: Apply) -> bool:
        return False


def _take_turns(starts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Initial values, which PyMC takes as variables, that are those of the next start each time."""
    turn = _Turn(len(starts))()
    return {
        name: pt.constant(np.stack([np.asarray(start[name]) for start in starts]))[turn]
        for name in starts[0]
    }


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
    reported. One with a share of the posterior (`Start.rivals`) is a start of other chains.
    A starting point without a finite log density, such as a draw that is not in the order that a
    transform asks for, is drawn again, and the table says how many were.

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
        ``pm.sample(**start.sample_kwargs())`` begins there; ``print(start)`` shows the optima.

    Raises
    ------
    ValueError
        If no climb begins at a finite log density.

    Warns
    -----
    UserWarning
        If fewer climbs than ``n_starts`` do, though 20 points were tried for each.

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
    first = next(points)
    density = _LogDensity(model, first)
    positions = map(density.flatten, itertools.chain([first], points))
    early = list(itertools.islice(positions, max(n_starts, _N_SPREAD)))
    spread = _spread(np.array(early[1:])) if n_starts > 1 else np.ones(early[0].size)
    found, n_without = _climb_all(
        density.evaluate, itertools.chain(early, positions), spread, n_starts, progressbar
    )
    _check_number(len(found), n_without, n_starts)
    optima = _distinct(sorted(found, key=lambda summit: -summit.logp), spread)
    values = _values(model, density, [summit for summit, _ in optima])
    weights = _weights([summit for summit, _ in optima])
    of_weight = [value for value, weight in zip(values, weights, strict=True) if weight >= _RIVAL]
    rivals = [value for value in of_weight if value is not values[0]]
    table = _table(optima, values, weights).assign_attrs(n_without_density=n_without)
    return Start(values[0], table, rivals)


def _starting_points(
    model: pm.Model, n_starts: int, random_seed: int | None
) -> Iterator[dict[str, np.ndarray]]:
    """The model's initial point and, for more than one start, draws of its prior.

    By value variable, and NaN where a draw is not in the range of the variable's transform.
    """
    n_draws = max(_N_SPREAD, _DRAWS_A_CLIMB * n_starts)
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


def _climb_all(
    evaluate: Evaluate,
    positions: Iterable[np.ndarray],
    spread: np.ndarray,
    n_starts: int,
    progressbar: bool,
) -> tuple[list[Summit], int]:
    """Climb from the first positions with a finite log density; how many came without."""
    found: list[Summit] = []
    n_without = 0
    # The one that shows nothing does not return itself on entering.
    progress = create_simple_progress(progressbar)
    with progress:
        task = progress.add_task("Searching maxima", completed=0, total=n_starts)
        for position in positions:
            summit = climb(evaluate, position, spread) if np.isfinite(position).all() else None
            if summit is None:
                n_without += 1
                continue
            found.append(summit)
            progress.advance(task)
            if len(found) == n_starts:
                break
    return found, n_without


def _check_number(n_found: int, n_without: int, n_starts: int) -> None:
    """Some climb must have begun; that fewer did than were wanted is a warning."""
    remedy = "narrow the priors so that they lie within the isochrones"
    if not n_found:
        raise ValueError(
            f"none of {n_without} starting points has a finite log density; {remedy}, or raise "
            "n_starts"
        )
    if n_found < n_starts:
        warnings.warn(
            f"{n_found} climbs began, not n_starts = {n_starts}: {n_without} other starting points "
            f"have no finite log density; {remedy} and in the order that a transform asks for",
            skip_file_prefixes=(_HERE,),
        )


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
    spread = np.ones(positions.shape[1])
    for k, draws in enumerate(positions.T):
        known = draws[np.isfinite(draws)]
        low, high = np.percentile(known, [16.0, 84.0]) if known.size else (0.0, 0.0)
        if high > low:
            spread[k] = 0.5 * (high - low)
    return spread


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


def _values(
    model: pm.Model, density: _LogDensity, summits: Sequence[Summit]
) -> list[dict[str, np.ndarray]]:
    """Return the model's own variables at every optimum."""
    constrained = compile_function(
        inputs=model.value_vars, outputs=model.replace_rvs_by_values(list(model.free_RVs))
    )
    names = [rv.name for rv in model.free_RVs]
    return [
        dict(
            zip(
                names,
                map(np.asarray, constrained(**density.unflatten(summit.position))),
                strict=True,
            )
        )
        for summit in summits
    ]


def _weights(summits: Sequence[Summit]) -> np.ndarray:
    """Shares of the posterior by Laplace's approximation (Tierney & Kadane 1986, JASA 81, 82)."""
    volumes = np.array([summit.log_volume for summit in summits])
    known = volumes[np.isfinite(volumes)]
    # Rather too much than too little: chains in a place of no weight show in r_hat.
    volumes[~np.isfinite(volumes)] = known.max() if known.size else 0.0
    log_mass = np.array([summit.logp for summit in summits]) + volumes
    shares = np.exp(log_mass - log_mass.max())
    return shares / shares.sum()


def _table(
    optima: list[tuple[Summit, int]], values: list[dict[str, np.ndarray]], weights: np.ndarray
) -> xr.Dataset:
    """Collect the optima in the model's own variables."""
    logp = np.array([summit.logp for summit, _ in optima])
    data: dict[str, Any] = {
        "logp": ("optimum", logp),
        "below_best": ("optimum", logp[0] - logp),
        "weight": ("optimum", weights),
        "n_start": ("optimum", [count for _, count in optima]),
        "converged": ("optimum", [summit.converged for summit, _ in optima]),
    }
    for name in values[0]:
        stacked = np.stack([value[name] for value in values])
        dims = [f"{name}_dim_{i}" for i in range(stacked.ndim - 1)]
        # A mixture may well have a variable of the name of a column.
        column = f"{name} (variable)" if name in data else name
        data[column] = (["optimum", *dims], stacked)
    return xr.Dataset(data)
