"""Many templates, one after another or in several processes, with a progress bar."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

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

from pymc_starpop.hess.systems import Population
from pymc_starpop.hess.template_counts import template_counts
from pymc_starpop.isochrones import IsochroneGrid

__all__ = ["TemplateGrid", "compute_templates"]

# Templates that a process makes at a time: few, so that an interrupt waits for little.
_CHUNK = 4


@dataclass(frozen=True, eq=False)
class TemplateGrid:
    """Isochrones, and what makes templates of them."""

    iso: IsochroneGrid
    population: Population
    distance_modulus: float
    av: float
    rv: float

    def counts(self, mh: float, log_age: float) -> np.ndarray:
        """One template (N_mag, N_color), stars per bin per Msun formed."""
        bands = self.population.axes.bands
        one = self.iso.at(mh, log_age, bands, av=self.av, rv=self.rv)
        mag = one.abs_mag + self.distance_modulus
        return template_counts(self.population, one.initial_mass, mag)


def compute_templates(
    grid: TemplateGrid, points: Sequence[tuple[float, float]], progress: bool, n_jobs: int
) -> np.ndarray:
    """Templates (N, N_mag, N_color) at points ([M/H], log age).

    Parameters
    ----------
    grid : TemplateGrid
        Makes one template.
    points : sequence of (float, float)
        [M/H] (dex) and log10(age / yr) of each template.
    progress : bool
        Whether to show a progress bar.
    n_jobs : int
        Number of processes.
    """
    counts = np.empty((len(points), *grid.population.axes.shape))
    source = _serial(grid, points) if n_jobs == 1 else _parallel(grid, points, n_jobs)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # In this order: a progress bar has a thread, and a process should fork before it has threads.
    with source as done, Progress(*columns, disable=not progress) as bar:
        task = bar.add_task("Templates", total=len(points))
        for first, some in done:
            counts[first : first + len(some)] = some
            bar.advance(task, len(some))
    return counts


Done = Iterator[tuple[int, np.ndarray]]


@contextmanager
def _serial(grid: TemplateGrid, points: Sequence[tuple[float, float]]) -> Iterator[Done]:
    """Give an iterator over the templates, each with its index."""
    yield ((index, grid.counts(*point)[None]) for index, point in enumerate(points))


@contextmanager
def _parallel(
    grid: TemplateGrid, points: Sequence[tuple[float, float]], n_jobs: int
) -> Iterator[Done]:
    """Give an iterator over chunks of templates, in the order in which processes finish them.

    The processes end with the context.
    """
    # Functions of the user's, perhaps lambdas: pickle alone refuses them.
    payload = cloudpickle.dumps(grid)
    size = max(1, min(_CHUNK, len(points) // (4 * n_jobs)))
    with ProcessPoolExecutor(
        min(n_jobs, len(points)),
        mp_context=multiprocessing.get_context(),
        initializer=_start_worker,
        initargs=(payload,),
    ) as pool:
        try:
            waiting = {
                pool.submit(_work, points[first : first + size]): first
                for first in range(0, len(points), size)
            }
            yield _finished(waiting)
        finally:
            # After an interrupt or an error: nothing that has not begun is begun.
            pool.shutdown(wait=True, cancel_futures=True)


def _finished(waiting: dict[Future[np.ndarray], int]) -> Done:
    while waiting:
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            yield waiting.pop(future), future.result()


_worker_grid: TemplateGrid | None = None


def _start_worker(payload: bytes) -> None:
    global _worker_grid
    # An interrupt from the keyboard goes to all processes; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker_grid = cloudpickle.loads(payload)


def _work(points: Sequence[tuple[float, float]]) -> np.ndarray:
    if _worker_grid is None:
        raise RuntimeError("this process was not started by compute_templates")
    return np.stack([_worker_grid.counts(*point) for point in points])
