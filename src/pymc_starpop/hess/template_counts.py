"""Counts of one template from the points of an isochrone."""

import numpy as np

from pymc_starpop.hess.pairs import binary_cells
from pymc_starpop.hess.systems import Cells, Population, single_cells
from pymc_starpop.kernels.hess_deposit import LARGEST_SHIFT, deposit_gaussians
from pymc_starpop.kernels.hess_measured import cell_places, measured_gaussians

__all__ = ["deposit_cells", "template_counts"]

# Slices of binaries are wider by this: the total error of a template grows by up to 2e-6.
_WIDER_FOR_PAIRS = 1.25


def template_counts(population: Population, mass: np.ndarray, mag: np.ndarray) -> np.ndarray:
    """Stars per bin per Msun formed (N_mag, N_color).

    Parameters
    ----------
    population : Population
        What is formed and how it is measured.
    mass : ndarray (E,)
        Initial masses along the isochrone, Msun.
    mag : ndarray (E, B)
        Apparent magnitudes in the bands of the axes.
    """
    counts = np.zeros(population.axes.shape)
    track = population.track(mass, mag)
    if not track.joined.size:
        return counts
    cells_of = binary_cells if population.binaries.fraction > 0.0 else single_cells
    deposit_cells(population, cells_of(population, track), counts)
    counts *= population.systems_per_mass
    return counts


def deposit_cells(population: Population, cells: Cells, counts: np.ndarray) -> None:
    """Add the systems of cells, as they are measured, to the bins (N_mag, N_color)."""
    axes = population.axes
    places = cell_places(cells.mean, cells.covariance)
    errors = population.errors.at(places.reshape(-1, places.shape[2]))
    gaussians = measured_gaussians(
        cells.weight,
        cells.covariance,
        places,
        errors.sigma.reshape(places.shape),
        errors.bias.reshape(places.shape),
        errors.completeness.reshape(places.shape[:2]),
        population.matrix,
    )
    # Copies: the kernel is compiled for arrays that can be written to.
    edges = axes.color_edges.copy(), axes.mag_edges.copy()
    # What is scattered once more, or added to its neighbors over a plane, forgets the fourth
    # cumulant of a slice.
    wider = _WIDER_FOR_PAIRS if population.binaries.fraction > 0.0 else 1.0
    shift = LARGEST_SHIFT * max(population.total_scatter, wider)
    deposit_gaussians(*gaussians, *edges, counts, shift)
