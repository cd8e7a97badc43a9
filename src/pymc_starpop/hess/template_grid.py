"""Many templates, one after another or in several processes, with a progress bar."""

import multiprocessing
import signal
import warnings
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import cloudpickle
import numpy as np
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pymc_starpop.hess.age_means import BinMean, age_means
from pymc_starpop.hess.axes import HessAxes
from pymc_starpop.hess.systems import Population
from pymc_starpop.hess.template_counts import template_counts
from pymc_starpop.hess.transfer import Transfer
from pymc_starpop.isochrones import IsochroneGrid

__all__ = ["TemplateGrid", "Templates", "compute_templates"]

# Age bins that a process fills at a time: few, so that an interrupt waits for little.
_CHUNK = 4
# Before a transfer, isochrones of which a mean is taken have cells longer than a single one by
# this: chi-square of a star from the truth grows by less than 1e-6, a hundredth of what the ages
# leave, and by 5e-6 where the photometric errors are a small part of a bin.
_LONGER_CELLS = 1.5


@dataclass(frozen=True, eq=False)
class TemplateGrid:
    """Isochrones, and what makes templates of them.

    Attributes
    ----------
    iso : IsochroneGrid
    population : Population
    distance_modulus, av, rv : float
    edges : ndarray (N_age + 1,)
        Edges of the age bins, log10(age / yr).
    mh : ndarray (N_mh,)
        [M/H], dex.
    ages_per_bin : int or None
        Ages of each mean, edges included; 1 for the young edge alone, None for as many as needed.
    transfer : Transfer, optional
        From the fine grid of the population to the bins, by artificial stars.
    """

    iso: IsochroneGrid
    population: Population
    distance_modulus: float
    av: float
    rv: float
    edges: np.ndarray
    mh: np.ndarray
    ages_per_bin: int | None = None
    transfer: Transfer | None = None

    @property
    def axes(self) -> HessAxes:
        """The bins of the templates; those of the population are finer beside a transfer."""
        return self.population.axes if self.transfer is None else self.transfer.axes

    @cached_property
    def longer_cells(self) -> Population:
        """The population for isochrones of which a mean is taken."""
        if self.transfer is None or self.ages_per_bin == 1:
            return self.population
        scatter = _LONGER_CELLS * self.population.total_scatter
        return replace(self.population, total_scatter=scatter)

    def raw(self, mh: float, log_age: float) -> np.ndarray:
        """What `finish` makes a template of: linear in the stars, for one isochrone."""
        bands = self.population.axes.bands
        one = self.iso.at(mh, log_age, bands, av=self.av, rv=self.rv)
        mag = one.abs_mag + self.distance_modulus
        return template_counts(self.longer_cells, one.initial_mass, mag)

    def finish(self, raw: np.ndarray) -> np.ndarray:
        """Templates (K, N_mag, N_color), stars per bin per Msun formed."""
        return raw if self.transfer is None else self.transfer.apply(raw)

    def means(self, column: int, first: int, last: int) -> Iterator[BinMean]:
        """Yield the templates of one metallicity and of bins from first up to last."""

        def raw(log_age: float) -> np.ndarray:
            return self.raw(float(self.mh[column]), log_age)

        if self.ages_per_bin == 1:
            for log_age in self.edges[first:last]:
                yield BinMean(self.finish(raw(float(log_age))[None])[0], 1, np.nan)
            return
        yield from age_means(raw, self.finish, self.edges[first : last + 1], self.ages_per_bin)


@dataclass(frozen=True, eq=False)
class Templates:
    """All templates of a grid.

    Attributes
    ----------
    counts : ndarray (N_age, N_mh, N_mag, N_color)
        Stars per bin per Msun formed.
    n_age : ndarray of int (N_age, N_mh)
        Ages of which each is the mean.
    error : ndarray (N_age, N_mh)
        Estimates of the errors of these means, see `age_means`.
    """

    counts: np.ndarray
    n_age: np.ndarray
    error: np.ndarray


# Metallicity, first bin, and the bin after the last.
Task = tuple[int, int, int]
Done = Iterator[tuple[int, int, BinMean]]
# Texts of warnings, and of which kind they are.
Warned = list[tuple[str, type[Warning]]]


def compute_templates(grid: TemplateGrid, progress: bool, n_jobs: int) -> Templates:
    """Compute all templates of a grid.

    Parameters
    ----------
    grid : TemplateGrid
        Makes the templates.
    progress : bool
        Whether to show a progress bar.
    n_jobs : int
        Number of processes.
    """
    shape = grid.edges.size - 1, grid.mh.size
    counts = np.empty((*shape, *grid.axes.shape))
    n_age, error = np.empty(shape, dtype=np.int64), np.empty(shape)
    source = _serial(grid) if n_jobs == 1 else _parallel(grid, n_jobs)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # In this order: a progress bar has a thread, and a process should fork before it has threads.
    with source as done, Progress(*columns, disable=not progress) as bar:
        task = bar.add_task("Templates", total=shape[0] * shape[1])
        for j, k, one in done:
            counts[j, k], n_age[j, k], error[j, k] = one.value, one.n_age, one.error
            bar.advance(task)
    return Templates(counts, n_age, error)


@contextmanager
def _serial(grid: TemplateGrid) -> Iterator[Done]:
    """Give an iterator over the templates, each with its age and metallicity."""
    n_bin = grid.edges.size - 1
    yield (
        (j, k, one) for k in range(grid.mh.size) for j, one in enumerate(grid.means(k, 0, n_bin))
    )


@contextmanager
def _parallel(grid: TemplateGrid, n_jobs: int) -> Iterator[Done]:
    """Give an iterator over the templates, in the order in which processes finish them.

    The processes end with the context.
    """
    # Functions of the user's, perhaps lambdas: pickle alone refuses them.
    payload = cloudpickle.dumps(grid)
    tasks = _tasks(grid, n_jobs)
    with ProcessPoolExecutor(
        min(n_jobs, len(tasks)),
        mp_context=multiprocessing.get_context(),
        initializer=_start_worker,
        initargs=(payload,),
    ) as pool:
        try:
            yield _finished({pool.submit(_work, task): task for task in tasks})
        finally:
            # After an interrupt or an error: nothing that has not begun is begun.
            pool.shutdown(wait=True, cancel_futures=True)


def _tasks(grid: TemplateGrid, n_jobs: int) -> list[Task]:
    """Neighboring bins of one metallicity, which share the templates at their edges."""
    n_bin, n_mh = grid.edges.size - 1, grid.mh.size
    size = max(1, min(_CHUNK, n_bin * n_mh // (4 * n_jobs)))
    return [
        (k, first, min(first + size, n_bin)) for k in range(n_mh) for first in range(0, n_bin, size)
    ]


def _finished(waiting: dict[Future[tuple[list[BinMean], Warned]], Task]) -> Done:
    while waiting:
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            k, first, _ = waiting.pop(future)
            done, said = future.result()
            for text, kind in said:
                warnings.warn(text, kind, stacklevel=2)
            for j, one in enumerate(done, start=first):
                yield j, k, one


_worker_grid: TemplateGrid | None = None


def _start_worker(payload: bytes) -> None:
    global _worker_grid
    # An interrupt from the keyboard goes to all processes; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker_grid = cloudpickle.loads(payload)


def _work(task: Task) -> tuple[list[BinMean], Warned]:
    """Templates of a task, and what was warned of: the first process says it, once."""
    if _worker_grid is None:
        raise RuntimeError("this process was not started by compute_templates")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        done = list(_worker_grid.means(*task))
    return done, [(str(w.message), w.category) for w in caught]
