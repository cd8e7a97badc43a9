"""The density of the proper motions of field stars: Gaussians, deconvolved from the errors."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from scipy.spatial import cKDTree

from pymc_starpop.field.motions import motions_of
from pymc_starpop.kernels.deconvolution import Data, Gaussians, em_step, log_density
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.stacked import StackedCatalog

__all__ = ["ClusterMotion", "ProperMotionField"]

_COMPONENTS = (1, 2, 3, 4)  # that are tried
_N_START = 6  # mixtures from which a fit begins, of which the best is followed to its end
_SHORT, _LONG = 30, 3000  # steps
_ENOUGH = 1e-4  # nats for all stars, that a step must gain
_TO_SIGMA = 1.4826  # median absolute deviation of a Gaussian to its standard deviation
# Width of the clump that is looked for, and least width of a component of the field beside it, in
# terms of the spread of all stars.
_RADII = (0.05, 0.1, 0.2)
_LEAST_WIDTH = 0.2


@dataclass(frozen=True)
class ClusterMotion:
    """The clump of proper motions that `ProperMotionField.fit_with_cluster` found.

    Attributes
    ----------
    pmra, pmdec : float
        Mean, mas/yr.
    dispersion : float
        Standard deviation of each component without the errors, mas/yr.
    share : float
        Share of all stars.
    """

    pmra: float
    pmdec: float
    dispersion: float
    share: float


@dataclass(frozen=True, eq=False)
class ProperMotionField:
    """Density of the proper motions of field stars, a mixture of K bivariate Gaussians.

    It is the density of the motions themselves, without errors; that of a measured motion is

        sum_k w_k N(mu_i | m_k, V_k + C_i)

    with the covariance C_i of the star's own errors, so that a field learned from bright stars
    serves for faint ones. Make it with `fit` or `fit_with_cluster`: extreme deconvolution (Bovy,
    Hogg & Roweis 2011, Ann. Appl. Stat. 5, 1657).

    Parameters
    ----------
    weights : array-like (K,)
        Positive; divided by their sum.
    means : array-like (K, 2)
        Of ``pmra``, with the cosine of the declination, and ``pmdec``, mas/yr.
    covariances : array-like (K, 2, 2)
        (mas/yr)^2.

    Attributes
    ----------
    cluster : ClusterMotion or None
        What `fit_with_cluster` found for the cluster; it is no part of the density.
    bic : mapping of int to float
        Bayesian information criterion by number of components, of those that were tried.

    Raises
    ------
    ValueError
        For shapes that do not agree, and covariances that are not positive.

    Examples
    --------
    >>> import numpy as np, pymc_starpop as psp
    >>> rng = np.random.default_rng(1)
    >>> motion = rng.normal([-2.0, 1.0], [4.0, 3.0], size=(400, 2))
    >>> control = psp.StarCatalog(
    ...     np.full((400, 1), 15.0), np.full((400, 1), 0.01), ["TESS"], pmra=motion[:, 0],
    ...     pmra_err=np.full(400, 0.1), pmdec=motion[:, 1], pmdec_err=np.full(400, 0.1),
    ... )
    >>> field = psp.ProperMotionField.fit(control)
    >>> field.weights.tolist(), field.logp(control).shape
    ([1.0], (400,))
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    cluster: ClusterMotion | None = None
    bic: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check shapes and covariances."""
        weights, means, covariances = (
            np.array(getattr(self, name), dtype=float)
            for name in ("weights", "means", "covariances")
        )
        n = weights.size
        if weights.shape != (n,) or means.shape != (n, 2) or covariances.shape != (n, 2, 2):
            raise ValueError(
                f"weights, means and covariances must have the shapes (K,), (K, 2) and (K, 2, 2), "
                f"got {weights.shape}, {means.shape} and {covariances.shape}; give one of each for "
                "a component"
            )
        if not (np.all(weights > 0.0) and np.isfinite(weights).all()):
            raise ValueError(f"weights must be positive, got {weights}; leave out the others")
        symmetric = np.allclose(covariances, covariances.transpose(0, 2, 1))
        if not (symmetric and np.all(np.linalg.eigvalsh(covariances) >= 0.0)):
            raise ValueError(
                "covariances must be symmetric, without negative eigenvalues ((mas/yr)^2), got "
                f"{covariances.tolist()}; give variances on the diagonals"
            )
        for name, value in (
            ("weights", weights / weights.sum()),
            ("means", means),
            ("covariances", covariances),
        ):
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    @classmethod
    def fit(cls, control: StarCatalog, *, n_component: int | None = None, seed: int = 0) -> Self:
        """Learn the density from a control field, stars beside the cluster.

        Take it where there is one: no star of the cluster can then pass for the field. It must
        be so near that the field is the same, and be cut in magnitude and parallax in the same
        way as the stars of the cluster.

        Parameters
        ----------
        control : StarCatalog
            Stars without the cluster; those without a proper motion count for nothing.
        n_component : int, optional
            Number K of Gaussians; by default that of 1 to 4 with the least Bayesian information
            criterion.
        seed : int
            Of the mixtures from which the fits begin.

        Raises
        ------
        ValueError
            For fewer than six stars a component.
        """
        return cls._fitted(_data_of(control), n_component, seed, None)

    @classmethod
    def fit_with_cluster(
        cls,
        catalog: StarCatalog,
        *,
        near: tuple[float, float] | None = None,
        n_component: int | None = None,
        seed: int = 0,
    ) -> Self:
        """Learn the density from the catalog itself, with the cluster as one more Gaussian.

        Take it where there is no control field. The cluster is a round Gaussian whose mean and
        width are found with those of the field, and is left out of the density; see ``cluster``
        of the result. The field's Gaussians are kept wider than 0.2 of the spread of all stars
        (their median absolute deviation), so that none of them can settle on the cluster. The
        stars are used twice, here and in the likelihood: with many stars to a parameter that is
        harmless, with fewer than a hundred field stars it makes them look too certain.

        Parameters
        ----------
        catalog : StarCatalog
            Stars of cluster and field.
        near : (float, float), optional
            Roughly the mean motion (pmra, pmdec) of the cluster, mas/yr, where the densest clump
            is another; it is where the fit begins, no more.
        n_component : int, optional
            Number K of Gaussians of the field; by default that of 1 to 4 with the least Bayesian
            information criterion.
        seed : int
            Of the mixtures from which the fits begin.

        Raises
        ------
        ValueError
            For fewer than six stars a component, and where the clump that is found is as wide as
            the field.

        Examples
        --------
        >>> import numpy as np, pymc_starpop as psp
        >>> rng = np.random.default_rng(1)
        >>> motion = rng.normal([-2.0, 1.0], [4.0, 3.0], size=(500, 2))
        >>> motion[:200] = rng.normal([-0.8, -3.0], 0.1, size=(200, 2))
        >>> cat = psp.StarCatalog(
        ...     np.full((500, 1), 15.0), np.full((500, 1), 0.01), ["TESS"], pmra=motion[:, 0],
        ...     pmra_err=np.full(500, 0.1), pmdec=motion[:, 1], pmdec_err=np.full(500, 0.1),
        ... )
        >>> found = psp.ProperMotionField.fit_with_cluster(cat).cluster
        >>> round(found.pmra, 1), round(found.pmdec, 1), round(found.share, 1)
        (-0.8, -3.0, 0.4)
        """
        data = _data_of(catalog)
        found = cls._fitted(data, n_component, seed, _clumps(data, near))
        narrowest = min(np.linalg.det(v) ** 0.25 for v in found.covariances)
        if found.cluster is not None and found.cluster.dispersion >= narrowest:
            raise ValueError(
                f"catalog: the densest clump of proper motions has a width of "
                f"{found.cluster.dispersion:.3g} mas/yr, the field one of {narrowest:.3g}, so that "
                "no cluster stands out; give near=(pmra, pmdec), cut the stars to a smaller "
                "region, or learn the field from a control field with ProperMotionField.fit"
            )
        return found

    @classmethod
    def _fitted(
        cls, data: Data, n_component: int | None, seed: int, clumps: list[np.ndarray] | None
    ) -> Self:
        """The best mixture of those with the numbers of components that are tried."""
        asked = _COMPONENTS if n_component is None else (_checked_number(n_component),)
        n_star, n_extra = len(data.values), 0 if clumps is None else 4
        tried = tuple(n for n in asked if n_star >= 6 * n + n_extra)
        if not tried:
            raise ValueError(
                f"the catalog has {n_star} stars with proper motions, fewer than six for each "
                "component; take more stars, or fewer components"
            )
        fits = {n: _best(data, n, np.random.default_rng(seed), clumps) for n in tried}
        bic = {
            n: (6 * n - 1 + n_extra) * float(np.log(n_star)) - 2.0 * value
            for n, (_, value) in fits.items()
        }
        mixture, _ = fits[min(bic, key=bic.__getitem__)]
        cluster = None
        if clumps is not None:
            x, y = (float(m) for m in mixture.means[-1])
            cluster = ClusterMotion(
                x,
                y,
                dispersion=float(np.sqrt(mixture.covariances[-1, 0])),
                share=float(mixture.weights[-1]),
            )
            mixture = _without_last(mixture)
        matrices = mixture.covariances[:, [0, 1, 1, 2]].reshape(-1, 2, 2)
        return cls(mixture.weights, mixture.means, matrices, cluster, bic)

    def logp(self, catalog: StarCatalog | StackedCatalog) -> np.ndarray:
        """Log density (N,) of the proper motion of each star, per (mas/yr)^2, for ``field_logp``.

        Parameters
        ----------
        catalog : StarCatalog or StackedCatalog
            N stars, of which those without a proper motion get 0.

        Raises
        ------
        ValueError
            For a catalog without any proper motion.
        """
        motions = motions_of(catalog)
        data = Data(motions.values, motions.errors, motions.corr)
        mixture = Gaussians(self.weights, self.means, self.covariances.reshape(-1, 4)[:, [0, 1, 3]])
        return np.where(motions.measured, log_density(data, mixture), 0.0)

    def draw(self, n: int, rng: np.random.Generator | int | None = None) -> np.ndarray:
        """Draw the proper motions (n, 2) of n field stars, without errors, mas/yr.

        Examples
        --------
        >>> field = ProperMotionField([1.0], [[-2.0, 1.0]], [[[16.0, 0.0], [0.0, 9.0]]])
        >>> field.draw(3, rng=1).shape
        (3, 2)
        """
        rng = np.random.default_rng(rng)
        of = rng.choice(len(self.weights), size=n, p=self.weights)
        values, vectors = np.linalg.eigh(self.covariances)
        roots = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        return self.means[of] + (roots[of] @ rng.normal(size=(n, 2, 1)))[:, :, 0]


def _data_of(catalog: Any) -> Data:
    """Proper motions of the stars that have one."""
    motions = motions_of(catalog)
    here = motions.measured
    return Data(motions.values[here], motions.errors[here], motions.corr[here])


def _checked_number(n_component: Any) -> int:
    whole = isinstance(n_component, int | np.integer) and not isinstance(n_component, bool)
    if not (whole and n_component >= 1):
        raise ValueError(
            f"n_component must be a whole number of at least 1, got {n_component!r}; leave it out "
            "for the best of 1 to 4"
        )
    return int(n_component)


def _spread(data: Data) -> float:
    """Spread of the proper motions in one direction, mas/yr, hardly touched by outliers."""
    off = np.abs(data.values - np.median(data.values, axis=0))
    return _TO_SIGMA * float(np.median(off, axis=0).mean())


def _clumps(data: Data, near: tuple[float, float] | None) -> list[np.ndarray]:
    """Where a clump may be: mean and width (3,), for several widths."""
    spread = _spread(data)
    if near is not None:
        given = np.array(near, dtype=float)
        if given.shape != (2,) or not np.isfinite(given).all():
            raise ValueError(
                f"near must be two numbers (pmra, pmdec) in mas/yr, got {near!r}; leave it out for "
                "the densest clump"
            )
        return [np.append(given, radius * spread) for radius in _RADII]
    tree = cKDTree(data.values)
    found = []
    for radius in _RADII:
        counts = tree.query_ball_point(data.values, radius * spread, return_length=True)
        inside = tree.query_ball_point(data.values[np.argmax(counts)], radius * spread)
        found.append(np.append(data.values[inside].mean(axis=0), radius * spread))
    return found


def _starts(
    data: Data, n: int, rng: np.random.Generator, clumps: list[np.ndarray] | None
) -> Iterator[Gaussians]:
    """Mixtures from which a fit begins, the cluster as the last component."""
    covariance = np.cov(data.values.T)[[0, 0, 1], [0, 1, 1]]
    for i in range(1 if n == 1 and clumps is None else _N_START):
        # The first component is as wide as the data, for what is far from all others.
        means = np.vstack(
            [np.median(data.values, axis=0), rng.choice(data.values, size=n - 1, replace=False)]
        )
        widths = np.concatenate([[1.0], np.full(n - 1, 0.3)])
        weights, covariances = np.full(n, 1.0 / n), widths[:, None] * covariance
        if clumps is not None:
            x, y, width = clumps[i % len(clumps)]
            means = np.vstack([means, [x, y]])
            covariances = np.vstack([covariances, [width**2, 0.0, width**2]])
            weights = np.append(0.7 * weights, 0.3)
        yield Gaussians(weights, means, covariances)


def _best(
    data: Data, n: int, rng: np.random.Generator, clumps: list[np.ndarray] | None
) -> tuple[Gaussians, float]:
    """The mixture with the largest likelihood, and its log."""
    is_round = np.zeros(n + (clumps is not None), dtype=bool)
    least_width = np.zeros(is_round.size)
    if clumps is not None:
        is_round[-1] = True
        least_width[:-1] = _LEAST_WIDTH * _spread(data)
    short = [
        _climbed(data, start, is_round, least_width, _SHORT)
        for start in _starts(data, n, rng, clumps)
    ]
    best, _ = max(short, key=lambda found: found[1])
    return _climbed(data, best, is_round, least_width, _LONG)


def _climbed(
    data: Data, mixture: Gaussians, is_round: np.ndarray, least_width: np.ndarray, n_step: int
) -> tuple[Gaussians, float]:
    """The mixture after as many steps, or fewer where they gain nothing any more, and its log."""
    before = -np.inf
    for _ in range(n_step):
        after, value = em_step(data, mixture, is_round, least_width)
        if value - before < _ENOUGH:
            return mixture, value
        before, mixture = value, after
    return mixture, float(log_density(data, mixture).sum())


def _without_last(mixture: Gaussians) -> Gaussians:
    """The mixture without its last component."""
    weights = mixture.weights[:-1] / mixture.weights[:-1].sum()
    return Gaussians(weights, mixture.means[:-1], mixture.covariances[:-1])
