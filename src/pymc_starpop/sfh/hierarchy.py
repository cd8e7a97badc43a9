"""-ln PLR of a hierarchical model: masses formed, a metallicity model, a dispersion.

The parameters are one vector x = (R_1..R_N, metallicity parameters, sigma if it is fitted,
amplitudes of backgrounds), in their own units. Age bins may be divided into parts, which have the
rate of their bin and means mu of their own. With y = (R, mu, sigma) of the parts, which shapes the
shares of the metallicities, and Y = dy/dx, the Jacobian of the counts is (P, R Q, S) Y, and

    -ln PLR has gradient  T' - J'(n/m)  and Hessian  J' diag(n/m^2) J + sum_jk g_jk d2r_jk/dx2,

g_jk = T_jk - sum_i C_ijk n_i/m_i. The first term alone is what iterations use (Gauss-Newton): it is
never negative. The second needs only N_part x N_mh numbers, so that the exact Hessian is as cheap.
Counts are linear in the amplitudes, which add rows to J and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg.blas import dsyrk

from pymc_starpop._namespace import NUMPY
from pymc_starpop.kernels.plr_fisher import hierarchical_counts
from pymc_starpop.sfh.coordinates import Coordinates
from pymc_starpop.sfh.fit_data import FitData, root_curvature
from pymc_starpop.sfh.grid_bound import BoundTerm, GridBound
from pymc_starpop.sfh.metallicity_models import Epochs, MetallicityModel, Parameter
from pymc_starpop.sfh.shares import Shares, metallicity_shares_with_derivatives

__all__ = ["DISPERSION", "Hierarchy", "HierarchyState", "keeps_expecting"]

#: The dispersion of metallicities at fixed age, dex: log-normal with median 0.2, width 0.5 in ln.
DISPERSION = Parameter("sigma", 0.2, 0.5, positive=True)

# Relative step of the central differences of a Jacobian: the cube root of the precision.
_DIFFERENCE = 6e-6
# Part of the smaller of expected and observed stars that a step leaves in every bin.
_LEAST_KEPT = 0.01
# Templates with negligible shares are left out where that changes -ln PLR by less than this, nats:
# not for stars that only they can explain.
_LARGEST_ERROR = 1e-4
_TINY = 1e-300
# Dispersions that are tried, dex: beyond, powers of them cannot be computed.
_SIGMA_RANGE = (1e-50, 1e50)
# Below this part of the distance between metallicities the shares are those of one template, and
# the objective has no slope in the dispersion.
_LEAST_SIGMA = 0.25


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """A galaxy's data, with the model of its metallicity.

    Attributes
    ----------
    data : FitData
    model : MetallicityModel
    t_max_gyr : float
        When star formation began, Gyr.
    fixed_sigma : float or None
        Dispersion, dex; None where it is a parameter.
    bounded : bool
        Whether the means of ages with stars are kept near the templates. Priors do that too.
    """

    data: FitData
    model: MetallicityModel
    t_max_gyr: float
    fixed_sigma: float | None = None
    bounded: bool = True

    @property
    def n_age(self) -> int:
        """Number of age bins."""
        return self.data.log_age.size

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Parameters after the masses and before the amplitudes of backgrounds."""
        return (*self.model.parameters, *(() if self.fixed_sigma is not None else (DISPERSION,)))

    @property
    def positive(self) -> np.ndarray:
        """Which elements (P,) of the vector must be positive; masses count as such."""
        of_parameters = [p.positive for p in self.parameters for _ in range(p.n)]
        return np.array([True] * self.n_age + of_parameters + [True] * self.data.backgrounds.n)

    @property
    def coordinates(self) -> Coordinates:
        """Coordinates (P,) without bounds."""
        soft = [p.soft or 0.0 for p in self.parameters for _ in range(p.n)]
        last = [0.0] * self.data.backgrounds.n
        return Coordinates(self.positive, np.array([0.0] * self.n_age + soft + last))

    @property
    def names(self) -> list[str]:
        """Names (P,) of the elements of the vector."""
        names = [f"mass_formed[{i}]" for i in range(self.n_age)]
        for p in self.parameters:
            names += [p.name] if p.size is None else [f"{p.name}[{i}]" for i in range(p.size)]
        return names + [f"background_amplitude[{name}]" for name in self.data.backgrounds.names]

    @property
    def n_history(self) -> int:
        """Number of elements of the vector before the amplitudes of backgrounds."""
        return self.n_age + sum(p.n for p in self.parameters)

    @cached_property
    def bound(self) -> GridBound:
        """What keeps the mean metallicities near those of the templates."""
        data = self.data
        low, high = float(data.mh[0]), float(data.mh[-1])
        return GridBound(low, high, data.totals.mean(axis=1), float(data.observed.sum()))

    def is_possible(self, x: np.ndarray) -> bool:
        """Whether the formula of the metallicity has values, within the bound where stars are."""
        mass, _, sigma = self.split(x)
        with np.errstate(all="ignore"):
            mean = self._mean_of_parts(x)
        if not (np.isfinite(mean).all() and np.isfinite(x).all() and sigma > 0.0):
            return False
        if not (self.bounded and self.parameters and self.data.mh.size > 1):
            return True
        return self.bound.holds(self.data.split(mass), mean, sigma, self.fixed_sigma is None)

    def is_beyond(self, x: np.ndarray) -> np.ndarray:
        """Which age bins (N_age,) with stars have means beyond the templates."""
        mean, mh = self._mean_of_parts(x), self.data.mh
        outside = ((mean < mh[0]) | (mean > mh[-1])).astype(int)
        return (self.data.sum_over_bins(outside) > 0) & (self.split(x)[0] > 0.0)

    def is_held(self, x: np.ndarray, at_bound: bool = False) -> np.ndarray:
        """Which age bins (N_age,) with stars have means where the penalty acts.

        Or, `at_bound`, beyond the bound itself.
        """
        mass, _, sigma = self.split(x)
        mean = self._mean_of_parts(x)
        out = self.bound.is_outside(mean, sigma) if at_bound else self.bound.beyond(mean, sigma) > 0
        return (self.data.sum_over_bins(out.astype(int)) > 0) & (mass > 0.0)

    def _penalty(self, mass: np.ndarray, mean: np.ndarray, sigma: float) -> BoundTerm | None:
        # Nothing to keep where the metallicity is given.
        if not (self.bounded and self.parameters and self.data.mh.size > 1):
            return None
        return self.bound.evaluate(mass, mean, sigma, self.fixed_sigma is None)

    def lower(self) -> np.ndarray:
        """Lower bounds (P,): 0 for what must be positive, a part of the spacing for sigma."""
        lower = np.where(self.positive, 0.0, -np.inf)
        if self.fixed_sigma is None:
            mh = self.data.mh
            lower[self.n_history - 1] = _LEAST_SIGMA * np.diff(mh).min() if mh.size > 1 else 1e-3
        return lower

    def least_scale(self) -> np.ndarray:
        """Curvatures (P,) that go with steps of the width of a parameter's default prior.

        A mean far from all templates but one hardly changes the shares, so that Newton steps of the
        parameters are without measure there.
        """
        out = np.zeros(self.n_history + self.data.backgrounds.n)
        widths = [
            p.start * p.scale if p.positive and p.soft is None else p.scale
            for p in self.parameters
            for _ in range(p.n)
        ]
        out[self.n_age : self.n_history] = np.array(widths) ** -2.0
        return out

    def split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Return masses (N_age,), metallicity parameters, and the dispersion."""
        last = self.n_age + self.model.n_parameter
        sigma = self.fixed_sigma if self.fixed_sigma is not None else float(x[last])
        return x[: self.n_age], x[self.n_age : last], sigma

    def amplitudes(self, x: np.ndarray) -> np.ndarray:
        """Return the amplitudes of backgrounds (K,), of a vector or along the last axis."""
        return x[..., self.n_history :]

    def values(self, x: np.ndarray) -> dict[str, Any]:
        """Return the metallicity parameters and the dispersion by name."""
        _, theta, sigma = self.split(x)
        return {**self.model.split(theta), "sigma": sigma}

    def join(
        self, mass: np.ndarray, values: dict[str, Any], amplitudes: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the vector of masses, of values by name, and of amplitudes.

        By default amplitudes are the medians of their priors.
        """
        parts: Sequence[Any] = [np.ravel(values[p.name]) for p in self.parameters]
        last = self.data.backgrounds.median if amplitudes is None else amplitudes
        return np.concatenate([mass, *parts, last]).astype(float)

    def epochs(self, mass: Any) -> Epochs:
        """Ages and masses of the parts of age bins, for the formula of the metallicity.

        Parameters
        ----------
        mass : (N_age,)
            Mass formed in each bin: an array or a tensor.
        """
        return Epochs(self.data.age_gyr, self.t_max_gyr, self.data.split(mass))

    def mean_metallicity(self, x: np.ndarray) -> np.ndarray:
        """Return the mean [M/H] (N_age,) of the stars formed in each age bin, dex."""
        return self.data.mean_over_bins(self._mean_of_parts(x))

    def _mean_of_parts(self, x: np.ndarray) -> np.ndarray:
        """Return [M/H] (N_part,), dex."""
        mass, theta, _ = self.split(x)
        epochs = self.epochs(mass)
        mean = self.model.mean(self.model.split(theta), epochs, NUMPY)
        return np.broadcast_to(np.asarray(mean, dtype=float), epochs.age_gyr.shape)

    def coefficients(self, x: np.ndarray) -> np.ndarray:
        """Mass formed at each age and metallicity (N_age, N_mh), Msun."""
        return self.data.sum_over_bins(self.part_coefficients(x))

    def part_coefficients(self, x: np.ndarray) -> np.ndarray:
        """Mass formed in each part of an age bin at each metallicity (N_part, N_mh), Msun."""
        mass, _, sigma = self.split(x)
        shares = metallicity_shares_with_derivatives(self._mean_of_parts(x), sigma, self.data.mh)
        return self.data.split(mass)[:, None] * shares.w

    def stars_of_bins(self, x: np.ndarray) -> np.ndarray:
        """Return the stars (N_age,) that each age bin gives in the bins that count."""
        return self.data.sum_over_bins(np.sum(self.part_coefficients(x) * self.data.totals, axis=1))

    def _counts(
        self, shares: Shares, mass: np.ndarray, background: np.ndarray, window: np.ndarray
    ) -> Any:
        return hierarchical_counts(
            self.data.rows, self.data.observed, background,
            shares.stacked(), np.ascontiguousarray(window), mass,
        )  # fmt: skip

    def evaluate(self, x: np.ndarray) -> "HierarchyState | Outside":
        """Return the objective at x; its value is infinite where the model has none."""
        masses, theta, sigma = self.split(x)
        mean, per_parameter, per_mass = self.model.evaluate(theta, self.epochs(masses))
        mass = self.data.split(masses)
        smallest, largest = _SIGMA_RANGE
        if not (np.isfinite(mean).all() and np.isfinite(per_parameter).all()):
            return Outside()
        if not smallest < sigma < largest:
            return Outside()
        shares = metallicity_shares_with_derivatives(mean, sigma, self.data.mh)
        others, amplitudes = self.data.backgrounds, self.amplitudes(x)
        background = self.data.background + amplitudes @ others.rows
        expected, p, q, s, pull = self._counts(shares, mass, background, shares.window)
        left_out = float(mass @ np.sum(shares.outside() * self.data.totals, axis=1))
        if not np.max(self.data.observed / np.maximum(expected, _TINY)) * left_out < _LARGEST_ERROR:
            every = np.broadcast_to(np.array([0, self.data.mh.size]), shares.window.shape)
            expected, p, q, s, pull = self._counts(shares, mass, background, every)
        total = float(mass @ np.sum(shares.w * self.data.totals, axis=1))
        total += float(amplitudes @ others.totals)
        value = self.data.negative_log_ratio(expected, total)
        penalty = self._penalty(mass, mean, sigma)
        value += 0.0 if penalty is None else penalty.value
        slope = self.data.totals - pull
        chain = np.zeros((2 * mass.size + 1, x.size))
        rows = slice(mass.size, 2 * mass.size)
        chain[: mass.size, : self.n_age] = self.data.averaging.T
        chain[rows, self.n_age : self.n_age + theta.size] = per_parameter
        if per_mass is not None:
            chain[rows, : self.n_age] = per_mass @ self.data.averaging.T
        if self.fixed_sigma is None:
            chain[-1, self.n_history - 1] = 1.0
        per_y = (p, q, s)
        return HierarchyState(self, x, value, shares, expected, per_y, slope, chain, penalty)


def keeps_expecting(state: "HierarchyState", trial: "HierarchyState") -> bool:
    """Whether no bin that holds stars loses too much of what is expected there in one step.

    -ln m rises so slowly towards m = 0 that a step may lead to 1e-40 in the bins of a few stars and
    still gain elsewhere. From there each Newton step no more than doubles m.
    """
    floor = _LEAST_KEPT * np.minimum(state.expected, state.hierarchy.data.observed)
    return bool((trial.expected >= floor).all())


@dataclass(frozen=True)
class Outside:
    """A point where the model has no value."""

    value: float = np.inf


@dataclass(frozen=True, eq=False)
class HierarchyState:
    """-ln PLR at one point, with the cost of means outside the templates, and its derivatives.

    Attributes
    ----------
    hierarchy, x, value : the model, the point (P,), and the objective
    shares : shares of the metallicities
    expected : (N_row,) counts
    per_y : P, Q (N_part, N_row) and S (N_row,)
    slope : (N_part, N_mh) derivative of -ln PLR with respect to each coefficient
    chain : (2 N_part + 1, P) Y = dy/dx
    penalty : cost of means outside the templates, None where there is none
    """

    hierarchy: Hierarchy
    x: np.ndarray
    value: float
    shares: Shares
    expected: np.ndarray
    per_y: tuple[np.ndarray, np.ndarray, np.ndarray]
    slope: np.ndarray
    chain: np.ndarray
    penalty: BoundTerm | None = None

    @property
    def _mass(self) -> np.ndarray:
        """Masses (N_part,) of the parts of age bins."""
        return self.hierarchy.data.split(self.hierarchy.split(self.x)[0])

    def _y_gradient(self) -> np.ndarray:
        """Gradient (2 N_part + 1,) with respect to masses, means and dispersion."""
        mass = self._mass
        sums = [
            np.sum(self.slope * d, axis=1)
            for d in (self.shares.w, self.shares.mean, self.shares.sigma)
        ]
        gradient = np.concatenate([sums[0], mass * sums[1], [mass @ sums[2]]])
        return gradient if self.penalty is None else gradient + self.penalty.gradient

    def gradient(self) -> np.ndarray:
        """Gradient (P,) of -ln PLR."""
        h, others = self.hierarchy, self.hierarchy.data.backgrounds
        gradient = self._y_gradient() @ self.chain
        gradient[h.n_history :] = others.totals - others.rows @ (h.data.observed / self.expected)
        return gradient

    def hessian(self) -> np.ndarray:
        """Gauss-Newton Hessian (P, P), less curved where the model is far below the data."""
        squared = self._squared(root_curvature(self.hierarchy.data.observed, self.expected))
        if self.penalty is None:
            return squared
        return squared + self.chain.T @ self.penalty.rising @ self.chain

    def _squared(self, weight: np.ndarray) -> np.ndarray:
        """J' diag(weight^2) J (P, P), positive semidefinite."""
        n_age, mass = self.hierarchy.n_age, self._mass
        p, q, s = self.per_y
        through_mean = mass[:, None] * self.chain[mass.size : -1]
        jacobian = np.empty((self.x.size, weight.size))
        moved = np.flatnonzero(through_mean.any(axis=0))
        jacobian[:n_age] = self.hierarchy.data.mean_over_bins(p)
        jacobian[n_age:] = 0.0
        if moved.size:
            jacobian[moved] += through_mean[:, moved].T @ q
        first = self.hierarchy.n_history
        if self.hierarchy.fixed_sigma is None:
            jacobian[first - 1] = s
        jacobian[first:] = self.hierarchy.data.backgrounds.rows
        jacobian *= weight
        # BLAS reads the transpose of a C-ordered array without a copy and fills one triangle.
        upper = dsyrk(1.0, jacobian.T, trans=1)
        return np.triu(upper) + np.triu(upper, 1).T

    def exact_hessian(self) -> np.ndarray:
        """Hessian (P, P) of -ln PLR."""
        mass, shares = self._mass, self.shares
        n, index = mass.size, np.arange(mass.size)
        inner = np.zeros((2 * n + 1, 2 * n + 1))

        def contract(second: np.ndarray) -> np.ndarray:
            return np.sum(self.slope * second, axis=1)

        inner[index, n + index] = contract(shares.mean)
        inner[index, -1] = contract(shares.sigma)
        inner[n + index, -1] = mass * contract(shares.mean_sigma)
        inner += inner.T
        inner[n + index, n + index] = mass * contract(shares.mean_mean)
        inner[-1, -1] = mass @ contract(shares.sigma_sigma)
        if self.penalty is not None:
            inner += self.penalty.exact()
        bent = self._mean_curvature(self._y_gradient()[n:-1])
        linear = self._squared(np.sqrt(self.hierarchy.data.observed) / self.expected)
        return linear + self.chain.T @ inner @ self.chain + bent

    def _mean_curvature(self, pull: np.ndarray) -> np.ndarray:
        """Return sum_j pull_j d2mu_j/dx2 (P, P), from differences of the exact Jacobian."""
        h, x = self.hierarchy, self.x
        first = 0 if h.model.depends_on_mass else h.n_age
        last = h.n_age + h.model.n_parameter
        out = np.zeros((x.size, x.size))

        def pulled(point: np.ndarray) -> np.ndarray:
            mass, theta, _ = h.split(point)
            _, per_parameter, per_mass = h.model.evaluate(theta, h.epochs(mass))
            of_mass = (
                np.zeros(h.n_age) if per_mass is None else pull @ per_mass @ h.data.averaging.T
            )
            return np.concatenate([of_mass, pull @ per_parameter])

        for i in range(first, last):
            size = abs(x[i]) if h.positive[i] else max(1.0, abs(x[i]))
            if size == 0.0:
                continue
            step = np.zeros_like(x)
            step[i] = _DIFFERENCE * size
            out[i, :last] = (pulled(x + step) - pulled(x - step)) / (2.0 * step[i])
        return 0.5 * (out + out.T)
