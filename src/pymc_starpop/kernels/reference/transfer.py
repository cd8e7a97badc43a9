"""Slow, obvious form of the transfer: points of a cell, moved one by one, and a histogram."""

import numpy as np

from pymc_starpop.kernels.hess_transfer import wing_width

__all__ = ["transfer_matrix"]


def transfer_matrix(
    cells, pool_of, pools, stride, residual, to_shift, color_edges, mag_edges, n_point=40
):
    """Dense matrix (N, N_mag, N_color); arguments as of `hess_transfer.transfer_rows`.

    Each cell is n_point x n_point points.
    """
    grid = (np.arange(n_point) + 0.5) / n_point * 2.0 - 1.0
    u, v = (x.ravel() for x in np.meshgrid(grid, grid))
    matrix = np.zeros((len(cells), len(mag_edges) - 1, len(color_edges) - 1))
    for k, cell in enumerate(cells):
        color, mag, half_color, half_mag, complete = cell[:5]
        bias, scale = cell[5:7], cell[7:9]
        stars = pools[pool_of[k]][k % stride :: stride]
        for star in stars:
            shift = to_shift @ (bias + scale * residual[star])
            far = wing_width(*residual[star])
            wide_color, wide_mag = np.array([half_color, half_mag]) + far * np.abs(shift)
            found = np.histogram2d(
                mag + wide_mag * v + shift[1], color + wide_color * u + shift[0],
                bins=(mag_edges, color_edges),
            )[0]  # fmt: skip
            matrix[k] += complete * found / (u.size * len(stars))
    return matrix
