"""A starting point for samplers, from several searches for the maximum."""

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from pymc.progress_bar import create_simple_progress

from pymc_starpop.summaries.blocks import (
    BlockDensity,
    Blocks,
    find_blocks,
    is_independent,
    is_stacked,
)
from pymc_starpop.summaries.climb import Summit, follow
from pymc_starpop.summaries.hierarchy import Hierarchy, fit_hierarchy
from pymc_starpop.summaries.hierarchy_tables import (
    cluster_starts,
    cluster_table,
    shared_variables,
)
from pymc_starpop.summaries.log_density import (
    N_SPREAD,
    Coordinates,
    constrained_values,
    log_density,
    spread_of,
    starting_points,
)
from pymc_starpop.summaries.mass_matrix import ClustersGaussian, ClustersPotential
from pymc_starpop.summaries.optima import RIVAL, check_number, columns, distinct, search, weights
from pymc_starpop.summaries.turns import take_turns

__all__ = ["Start", "find_start"]

_HERE = str(Path(__file__).parents[1])  # warnings point at the code that calls this package


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
        finite log density, in whose place others were drawn. For many clusters the entries are the
        optima of each of them given the shared variables: ``cluster`` is its name, ``logp`` its
        part of the log density, ``weight`` the share of its own posterior, by which they are
        ordered, ``n_start`` may be 0 of one to which only the fit of the shared variables led, and
        the variables are those with the dimension of the clusters.
    rivals : tuple of dict
        Starting values of the other optima, best first, whose weight is at least 0.01. For many
        clusters: all at their second optimum of such a weight, those without at their best; then
        all at their third.
    shared : xarray.Dataset or None
        The Gaussian nearest to the marginal posterior of the variables that clusters share:
        ``mean`` (parameter) and ``covariance`` (parameter, parameter_bis) of the unconstrained
        variables; ``value`` (variable), the model's own variables at that mean, ``value_mean`` and
        ``value_sd``, their mean and standard deviation. None for one cluster, or if nothing is
        shared.

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
    shared: xr.Dataset | None

    def __init__(
        self,
        values: dict[str, Any],
        optima: xr.Dataset,
        rivals: Sequence[dict[str, Any]] = (),
        shared: xr.Dataset | None = None,
        joint: ClustersGaussian | None = None,
    ):
        super().__init__(values)
        self.optima = optima
        self.rivals = tuple(rivals)
        self.shared = shared
        self._joint = joint

    def sample_kwargs(
        self,
        sampler: str = "nutpie",
        *,
        chains: int = 4,
        rivals: bool = True,
        model: pm.Model | None = None,
        **nuts: Any,
    ) -> dict[str, Any]:
        """Return the arguments with which ``pm.sample`` begins exactly here.

        Without rivals every chain begins at the best optimum. With them the optima take turns,
        best first, so that chains which stay in different ones show in r_hat; how many draws each
        optimum gets then says nothing of its probability. nutpie has no starts by chain: its chains
        take the next one when they begin, so that which chain gets which may differ between runs on
        several cores.

        Of many clusters the variables of each are correlated, which a diagonal mass matrix does not
        know. PyMC's NUTS gets the Gaussian nearest to the posterior as its mass matrix, which is
        right from the first step; nutpie, which takes none, adapts one of low rank.

        Parameters
        ----------
        sampler : {"nutpie", "pymc"}
            Which NUTS samples: that of nutpie, or PyMC's own, which for one cluster reuses
            the function that `find_start` compiled.
        chains : int
            Number of chains.
        rivals : bool
            Whether optima of weight other than the best are starts, too.
        model : pm.Model, optional
            By default the one of the surrounding ``with``. It is needed for PyMC's sampler of many
            clusters alone.
        **nuts
            Options of the sampler, such as ``target_accept=0.9``.

        Returns
        -------
        dict
            ``chains``, ``nuts_sampler`` and ``initvals``; for PyMC's sampler ``init``, or ``step``
            of many clusters; for nutpie ``compile_kwargs``, to which yours can be added; and
            ``nuts`` with options of it. All that is left to say is said to ``pm.sample``:
            ``pm.sample(2000, **start.sample_kwargs(), random_seed=1)``.

        Raises
        ------
        ValueError
            For another sampler, or a number of chains that is not 1 or more.
        """
        if isinstance(chains, bool) or not isinstance(chains, int | np.integer) or chains < 1:
            raise ValueError(f"chains must be a whole number, 1 or more, got {chains!r}")
        starts = [dict(self), *(self.rivals if rivals else ())][:chains]
        common: dict[str, Any] = {"chains": int(chains), "nuts_sampler": sampler}
        if sampler == "pymc":
            turns = [dict(starts[k % len(starts)]) for k in range(chains)]
            # One dictionary is compiled once, a list once a chain.
            common["initvals"] = turns if len(starts) > 1 else turns[0]
            if self._joint is not None:
                # A step that is given is used as it is, without an initialization.
                step = pm.NUTS(potential=ClustersPotential(self._joint), model=model, **nuts)
                return common | {"step": step}
            return common | {"init": "adapt_diag"} | ({"nuts": nuts} if nuts else {})
        if sampler == "nutpie":
            common["initvals"] = take_turns(starts) if len(starts) > 1 else starts[0]
            if self._joint is not None:
                nuts = {"adaptation": "low_rank"} | nuts
            return (
                common
                | {"compile_kwargs": {"jitter_rvs": set()}}
                | ({"nuts": nuts} if nuts else {})
            )
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
        if self.shared is not None:
            lines += [
                f"{name} = {_format(mean)} +- {_format(sd)}"
                for name, mean, sd in zip(
                    self.shared["variable"].values,
                    self.shared["value_mean"].values,
                    self.shared["value_sd"].values,
                    strict=True,
                )
            ]
        return "\n".join(lines)


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
    differences of the gradient, decides whether it is a maximum. A climb that is about to arrive at
    an optimum known already ends there. Optima that differ are all reported. One with a share of
    the posterior (`Start.rivals`) is a start of other chains. A starting point without a finite log
    density, such as a draw that is not in the order that a transform asks for, is drawn again, and
    the table says how many were.

    In a model of many clusters the variables with their dimension (`StackedCatalog.coords`), or
    with that of their stars, belong to single clusters; the others are shared. Given the shared
    ones, all clusters climb at the same time, each with its own steps. The shared ones go to the
    mean of the Gaussian nearest to their marginal posterior, in which each cluster's variables are
    integrated over a Gaussian of their own: the joint density of a population with a fitted scatter
    has no maximum. `Start.shared` holds the Gaussian. Models in which a cluster's variables act on
    other clusters given the shared ones, as through a transform that orders clusters, climb in all
    variables together, as models of one cluster do.

    Parameters
    ----------
    n_starts : int
        Number of climbs, of each cluster: one from the model's initial point, the others from
        draws of the prior. With 1 nothing is drawn, so that the prior may be improper.
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
        If no climb begins at a finite log density, with the name of the cluster.

    Warns
    -----
    UserWarning
        If fewer climbs than ``n_starts`` do, though 20 points were tried for each; or if a stack of
        clusters is in the model that depend on each other.

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
    points = starting_points(model, n_starts, random_seed)
    first = next(points)
    coordinates = Coordinates(model, first)
    positions = map(coordinates.flatten, itertools.chain([first], points))
    early = list(itertools.islice(positions, max(n_starts, N_SPREAD)))
    spread = spread_of(np.array(early[1:])) if n_starts > 1 else np.ones(coordinates.size)
    every = itertools.chain(early, positions)
    blocks = find_blocks(model, coordinates)
    if blocks is not None:
        density = BlockDensity(model, first, coordinates, blocks)
        start = _finite_position(density, early[: n_starts + 1])
        if is_independent(density, start, spread):
            n_climb = 2 * n_starts * len(blocks.names)
            with _progress(progressbar, n_climb, 20 * blocks.shared.size) as advance:
                found = fit_hierarchy(density, start, list(every), spread, n_starts, advance)
            return _start_of_clusters(model, coordinates, blocks, found, n_starts)
        if is_stacked(model):
            warnings.warn(
                "a cluster's variables change the density of others, or of what has no dimension "
                "of clusters: all variables climb together; give them priors that are independent "
                "given the shared variables, and potentials the dimension of the clusters",
                skip_file_prefixes=(_HERE,),
            )
    with _progress(progressbar, n_starts) as advance:
        asking = search(every, spread, n_starts, lambda: advance("climb"))
        summits, n_without = follow(asking, log_density(model, first))
    check_number(len(summits), n_without, n_starts)
    optima = distinct(summits, spread)
    values = constrained_values(model, coordinates, [summit.position for summit, _ in optima])
    shares = weights([summit for summit, _ in optima])
    rivals = [value for value, share in zip(values[1:], shares[1:], strict=True) if share >= RIVAL]
    table = columns(_found(optima, shares), values).assign_attrs(n_without_density=n_without)
    return Start(values[0], table, rivals)


def _start_of_clusters(
    model: pm.Model, coordinates: Coordinates, blocks: Blocks, found: Hierarchy, n_starts: int
) -> Start:
    """What was found of many clusters, as a start."""
    few = [
        f"{name!r} ({sum(optima.counts)})"
        for name, optima in zip(blocks.names, found.clusters, strict=True)
        if sum(optima.counts) < n_starts
    ]
    if few:
        warnings.warn(
            f"fewer climbs began than n_starts = {n_starts} for the clusters {', '.join(few)}: "
            "other starting points have no finite log density; narrow the priors so that they lie "
            "within the isochrones",
            skip_file_prefixes=(_HERE,),
        )
    where = (model, coordinates, blocks, found)
    best, *rivals = cluster_starts(*where)
    shared = shared_variables(*where) if blocks.shared.size else None
    return Start(best, cluster_table(*where), rivals, shared, found.joint)


def _finite_position(density: BlockDensity, positions: Sequence[np.ndarray]) -> np.ndarray:
    """Return the first position at which all clusters have a density, or else most of them."""
    best, most = positions[0], -1
    for position in positions:
        if not np.isfinite(position).all():
            continue
        rest, own, _ = density.evaluate(position)
        n_finite = int(np.isfinite(own).sum()) if np.isfinite(rest) else -1
        if n_finite > most:
            best, most = position, n_finite
        if most == own.size:
            break
    return best


def _found(optima: Sequence[tuple[Summit, int]], shares: np.ndarray) -> dict[str, Any]:
    """What is told of each optimum."""
    logp = np.array([summit.logp for summit, _ in optima])
    return {
        "logp": logp,
        "below_best": logp[0] - logp,
        "weight": shares,
        "n_start": [count for _, count in optima],
        "converged": [summit.converged for summit, _ in optima],
    }


@contextmanager
def _progress(shown: bool, n_climb: int, n_place: int = 0) -> Iterator[Callable[[str], None]]:
    """Show climbs that are done and, of many clusters, places of the shared variables.

    How many places there will be is a guess; one takes about as long as two climbs of a cluster.
    """
    worth = {"climb": 1, "shared": 2}
    total = n_climb + worth["shared"] * n_place
    progress = create_simple_progress(shown)
    # The one that shows nothing does not return itself on entering.
    with progress:
        task = progress.add_task("Searching maxima", completed=0, total=total)
        yield lambda done: progress.advance(task, worth[done])
        progress.update(task, refresh=True, completed=total)


def _format(value: Any) -> str:
    """Four digits, or yes and no, or a name."""
    if isinstance(value, np.bool_):
        return "yes" if value else "no"
    return str(value) if isinstance(value, str) else f"{float(value):.4g}"
