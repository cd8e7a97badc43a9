"""The Gaussian nearest to the posterior of many clusters, and NUTS in its units.

Given the shared variables eta, those of a cluster are normal around m + J (eta - mean) with the
covariance S = L L'. With the covariance K K' of the shared ones, the covariance of all variables is
A A', where A has the rows (L, J K) of each cluster and (0, K) of the shared: an arrow, so that no
matrix of all variables by all is made.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pymc.step_methods.hmc.quadpotential import QuadPotentialDiagAdapt

from pymc_starpop.summaries.blocks import BlockDensity
from pymc_starpop.summaries.gaussians import Gaussians

__all__ = ["ClustersGaussian", "ClustersPotential", "join_gaussians"]

# Differences in the shared variables, in their standard deviations.
_DIFFERENCE = 0.3
# How many draws the variances of the Gaussian count for.
_WEIGHT = 20


@dataclass(frozen=True)
class ClustersGaussian:
    """Gaussian of N variables: of C clusters with at most D each, and of P that are shared.

    Attributes
    ----------
    center : numpy.ndarray
        Mean (N,).
    members : numpy.ndarray
        Places of the clusters' variables, int (C, D); N where a cluster has fewer.
    factors : numpy.ndarray
        Lower Cholesky factors (C, D, D) of their covariances given the shared variables; the
        identity where there is no variable.
    slopes : numpy.ndarray
        Changes of their means with the shared variables (C, D, P); 0 where there is no variable.
    shared : numpy.ndarray
        Places of the shared variables, int (P,).
    factor : numpy.ndarray
        Lower Cholesky factor (P, P) of their covariance.
    """

    center: np.ndarray
    members: np.ndarray
    factors: np.ndarray
    slopes: np.ndarray
    shared: np.ndarray
    factor: np.ndarray

    @property
    def size(self) -> int:
        """Number N of all variables."""
        return self.center.size

    def spread(self, u: np.ndarray) -> np.ndarray:
        """Turn a vector (N,) in units of the Gaussian into one of the variables, A u."""
        common = self.factor @ u[self.shared]
        own = np.einsum("cde,ce->cd", self.factors, self._of_clusters(u))
        return self._joined(own + self.slopes @ common, common)

    def spread_transposed(self, p: np.ndarray) -> np.ndarray:
        """Turn a momentum or gradient (N,) into one in units of the Gaussian, A' p."""
        own = self._of_clusters(p)
        common = p[self.shared] + np.einsum("cdp,cd->p", self.slopes, own)
        return self._joined(np.einsum("ced,ce->cd", self.factors, own), self.factor.T @ common)

    def gathered(self, x: np.ndarray) -> np.ndarray:
        """Undo `spread`."""
        common = x[self.shared]
        own = self._of_clusters(x) - self.slopes @ common
        return self._joined(_solved(self.factors, own), np.linalg.solve(self.factor, common))

    def gathered_transposed(self, u: np.ndarray) -> np.ndarray:
        """Undo `spread_transposed`."""
        own = _solved(self.factors.transpose(0, 2, 1), self._of_clusters(u))
        common = np.linalg.solve(self.factor.T, u[self.shared])
        return self._joined(own, common - np.einsum("cdp,cd->p", self.slopes, own))

    def _of_clusters(self, x: np.ndarray) -> np.ndarray:
        """Take the variables of the clusters (C, D), 0 where there is none."""
        return np.append(x, 0.0)[self.members]

    def _joined(self, own: np.ndarray, common: np.ndarray) -> np.ndarray:
        """Put the parts of the clusters (C, D) and of the shared variables into their places."""
        out = np.empty(self.size + 1)
        out[self.members] = own
        out[self.shared] = common
        return out[:-1]


def join_gaussians(
    density: BlockDensity, x: np.ndarray, gaussians: Gaussians, covariance: np.ndarray
) -> ClustersGaussian:
    """Join the Gaussians of the clusters given the shared variables with that of these.

    Parameters
    ----------
    density : BlockDensity
    x : numpy.ndarray
        Position (N,), of which the shared variables are taken.
    gaussians : Gaussians
        Of the clusters there.
    covariance : numpy.ndarray
        Of the shared variables (P, P).
    """
    members, shared = density.blocks.members, density.blocks.shared
    x = x.copy()
    for own, mean in zip(members, gaussians.means, strict=True):
        x[own] = mean
    rows = []
    for place, width in zip(shared, _DIFFERENCE * np.sqrt(np.diag(covariance)), strict=True):
        above, below = x.copy(), x.copy()
        above[place] += width
        below[place] -= width
        change = density.evaluate(above)[2] - density.evaluate(below)[2]
        rows.append(change / (2.0 * width))
    # Beyond the support there is no gradient: there the means do not move.
    mixed = np.nan_to_num(np.reshape(rows, (shared.size, x.size)), posinf=0.0, neginf=0.0)
    most = max(own.size for own in members)
    places = np.full((len(members), most), x.size)
    factors = np.tile(np.eye(most), (len(members), 1, 1))
    slopes = np.zeros((len(members), most, shared.size))
    for k, (own, factor) in enumerate(zip(members, gaussians.factors, strict=True)):
        places[k, : own.size] = own
        factors[k, : own.size, : own.size] = factor
        # The mean is where the gradient is zero.
        slopes[k, : own.size] = factor @ (factor.T @ mixed[:, own].T)
    return ClustersGaussian(x, places, factors, slopes, shared, np.linalg.cholesky(covariance))


class ClustersPotential(QuadPotentialDiagAdapt):
    """Kinetic energy of PyMC's NUTS in units of the Gaussian, in which it adapts variances.

    The Gaussian knows what is correlated with what. Where it is too narrow or too wide along one of
    its own directions, the draws of the tuning say so.

    Parameters
    ----------
    gaussian : ClustersGaussian
    rng : optional
        Seed or generator of the momenta.
    """

    def __init__(self, gaussian: ClustersGaussian, rng: Any = None):
        n = gaussian.size
        super().__init__(n, np.zeros(n), np.ones(n), _WEIGHT, rng=rng)
        self._gaussian = gaussian

    def velocity(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Velocity at the momentum x (N,)."""
        own = super().velocity(self._gaussian.spread_transposed(x))
        velocity = self._gaussian.spread(own)
        if out is None:
            return velocity
        out[:] = velocity
        return out

    def energy(self, x: np.ndarray, velocity: np.ndarray | None = None) -> float:
        """Kinetic energy at the momentum x (N,)."""
        return 0.5 * float(x @ (self.velocity(x) if velocity is None else velocity))

    def random(self) -> np.ndarray:
        """Draw a momentum (N,)."""
        return self._gaussian.gathered_transposed(super().random())

    def update(self, sample: np.ndarray, grad: np.ndarray, tune: bool) -> None:
        """Take a draw of the tuning."""
        super().update(self._gaussian.gathered(sample - self._gaussian.center), grad, tune)


def _solved(matrices: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Solve matrices (C, D, D) for vectors (C, D)."""
    return np.linalg.solve(matrices, x[:, :, None])[:, :, 0]
