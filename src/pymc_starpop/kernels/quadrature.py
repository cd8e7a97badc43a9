"""Nodes and weights of Gauss-Legendre quadrature on [0, 1]."""

import numpy as np


def _unit_gauss_legendre(n: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 * (nodes + 1.0), 0.5 * weights


GL6_NODES, GL6_WEIGHTS = _unit_gauss_legendre(6)
GL24_NODES, GL24_WEIGHTS = _unit_gauss_legendre(24)
