"""The catalogs of several clusters, stacked: a row a star, the stars of a cluster together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from pymc_starpop.stars import checks
from pymc_starpop.stars.colors import bands_of

__all__ = ["StackedCatalog", "stack"]

# Measured besides photometry.
_COLUMNS = (
    "parallax", "parallax_err", "teff", "teff_err", "feh", "feh_err", "pmra", "pmra_err", "pmdec",
    "pmdec_err", "pm_corr", "membership_prior",
)  # fmt: skip
_SEPARATOR = ": "


@dataclass(frozen=True, eq=False, repr=False)
class StackedCatalog:
    """The stars of several clusters, made by `StarCatalog.stack`.

    Rows are ragged: each cluster has its stars, its bands, and what else was measured of them.
    Arrays over all N stars, such as `mag`, have the bands of all clusters, with NaN where a
    cluster has none.

    Parameters
    ----------
    clusters : mapping of str to StarCatalog
        The catalogs by name, with labels of stars that occur once.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> cats = psp.StarCatalog.stack({
    ...     "near": psp.StarCatalog([[12.1, 11.4]], [[0.01, 0.01]], bands=["G", "J"]),
    ...     "far": psp.StarCatalog([[17.0], [18.0]], [[0.01], [0.02]], bands=["G"]),
    ... })
    >>> cats
    StackedCatalog(2 clusters, 3 stars; near: 1, far: 2)
    >>> cats.cluster_of_star.tolist(), cats.bands, cats["far"].mag.ravel().tolist()
    ([0, 1, 1], ('G', 'J'), [17.0, 18.0])
    """

    # Of `StarCatalog`, which imports this module for its method `stack`.
    clusters: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Check that there is a cluster."""
        if not self.clusters:
            raise ValueError("clusters holds no cluster; stack at least one catalog.")

    @property
    def cluster_names(self) -> tuple[str, ...]:
        """Names of the C clusters."""
        return tuple(self.clusters)

    @property
    def n_cluster(self) -> int:
        """Number of clusters C."""
        return len(self.clusters)

    @property
    def n_star(self) -> int:
        """Number of stars N of all clusters."""
        return sum(catalog.n_star for catalog in self.clusters.values())

    @property
    def n_band(self) -> int:
        """Number of columns of the photometry of all clusters."""
        return len(self.bands)

    @cached_property
    def bands(self) -> tuple[str, ...]:
        """Columns of the photometry that any cluster has, in the order in which they appear."""
        columns = [band for catalog in self.clusters.values() for band in catalog.bands]
        return tuple(dict.fromkeys(columns))

    @property
    def model_bands(self) -> tuple[str, ...]:
        """Bands that the isochrones must have: `bands`, with those of a color in its place."""
        return bands_of(self.bands)

    @property
    def is_flux(self) -> bool:
        """Whether the catalogs hold fluxes."""
        return next(iter(self.clusters.values())).is_flux

    @cached_property
    def cluster_of_star(self) -> np.ndarray:
        """Index of the cluster of each star, int (N,)."""
        sizes = [catalog.n_star for catalog in self.clusters.values()]
        return np.repeat(np.arange(self.n_cluster), sizes)

    @cached_property
    def star(self) -> np.ndarray:
        """Labels of the stars (N,), each once."""
        return np.concatenate([catalog.star for catalog in self.clusters.values()])

    @property
    def measured(self) -> np.ndarray:
        """Where a star was measured, bool, shape (N, B)."""
        return np.isfinite(self.values)

    @cached_property
    def mag(self) -> np.ndarray:
        """Magnitudes (N, B), NaN where not measured."""
        return self._photometry("mag")

    @cached_property
    def mag_err(self) -> np.ndarray:
        """Their standard deviations (N, B), mag."""
        return self._photometry("mag_err")

    @cached_property
    def values(self) -> np.ndarray:
        """What the likelihood compares, shape (N, B): fluxes, or else magnitudes."""
        return self._photometry("values")

    @cached_property
    def errors(self) -> np.ndarray:
        """Standard deviations of `values`, shape (N, B)."""
        return self._photometry("errors")

    def column(self, name: str) -> np.ndarray | None:
        """Return what was measured of the stars besides photometry, None where of no cluster.

        Parameters
        ----------
        name : str
            ``parallax``, ``parallax_err`` (mas), ``teff``, ``teff_err`` (K), ``feh``, ``feh_err``
            (dex), ``pmra``, ``pmra_err``, ``pmdec``, ``pmdec_err`` (mas/yr), ``pm_corr``, or
            ``membership_prior``.

        Returns
        -------
        ndarray (N,) or None
            NaN for the stars of a cluster without it; 1 for a ``membership_prior``.

        Examples
        --------
        >>> import pymc_starpop as psp
        >>> star = {"mag": [[12.1]], "mag_err": [[0.01]], "bands": ["TESS"]}
        >>> near = psp.StarCatalog(**star, parallax=[3.2], parallax_err=[0.02])
        >>> cats = psp.StarCatalog.stack({"near": near, "far": psp.StarCatalog(**star)})
        >>> cats.column("parallax").tolist(), cats.column("teff")
        ([3.2, nan], None)
        """
        if name not in _COLUMNS:
            raise ValueError(f"name must be one of {', '.join(_COLUMNS)}, got {name!r}.")
        found = [getattr(catalog, name) for catalog in self.clusters.values()]
        if all(values is None for values in found):
            return None
        missing = 1.0 if name == "membership_prior" else np.nan
        parts = [
            np.full(catalog.n_star, missing) if values is None else values
            for catalog, values in zip(self.clusters.values(), found, strict=True)
        ]
        return np.concatenate(parts)

    def __getattr__(self, name: str) -> Any:
        """Say where to find what only the catalog of one cluster has."""
        clusters = self.__dict__.get("clusters", {})
        if not name.startswith("_") and any(hasattr(c, name) for c in clusters.values()):
            raise AttributeError(
                f"a StackedCatalog has no {name!r}, the catalog of each cluster has: take one, "
                f"such as cats[{next(iter(clusters))!r}].{name}, or each of cats.clusters"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _photometry(self, name: str) -> np.ndarray:
        """A column of the photometry (N, B)."""
        whole = np.full((self.n_star, self.n_band), np.nan)
        for cluster, catalog in self.clusters.items():
            columns = [self.bands.index(band) for band in catalog.bands]
            whole[self.rows(cluster), columns] = getattr(catalog, name)
        return whole

    def __len__(self) -> int:
        """Return the number of stars of all clusters."""
        return self.n_star

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the clusters."""
        return iter(self.clusters)

    def __repr__(self) -> str:
        """Say how many stars each cluster has."""
        counts = ", ".join(f"{name}: {len(catalog)}" for name, catalog in self.clusters.items())
        return f"StackedCatalog({self.n_cluster} clusters, {self.n_star} stars; {counts})"

    def __getitem__(self, name: str) -> Any:
        """Return the `StarCatalog` of one cluster, with its labels in the stack."""
        if name not in self.clusters:
            raise KeyError(f"{name!r} is no cluster of the stack: {', '.join(self.cluster_names)}")
        return self.clusters[name]

    def rows(self, name: str) -> slice:
        """Return the rows of the stars of one cluster."""
        chosen = self[name]
        index = self.cluster_names.index(name)
        first = int(np.searchsorted(self.cluster_of_star, index))
        return slice(first, first + chosen.n_star)

    def coords(
        self, *, cluster: str = "cluster", star: str = "star", band: str = "band"
    ) -> dict[str, Any]:
        """Return the coordinates of a PyMC model: names of clusters, labels of stars, bands.

        Parameters
        ----------
        cluster, star, band : str
            Names of the dimensions. With colors among the columns there is ``"model_band"`` too,
            as in `StarCatalog.coords`.

        Examples
        --------
        >>> import pymc_starpop as psp
        >>> one = psp.StarCatalog([[12.1]], [[0.01]], bands=["TESS"])
        >>> psp.StarCatalog.stack({"a": one, "b": one}).coords()["star"].tolist()
        ['a: 0', 'b: 0']
        """
        checks.check_dimensions(cluster=cluster, star=star, band=band)
        coords = {cluster: list(self.cluster_names), star: self.star, band: list(self.bands)}
        if self.model_bands != self.bands:
            coords[f"model_{band}"] = list(self.model_bands)
        return coords

    def select(self, which: Any) -> Self:
        """Return the stack of some of the stars, with their labels.

        Parameters
        ----------
        which : array-like
            Bool of shape (N,), or row indices, which keep the order of the clusters.

        Raises
        ------
        ValueError
            As `StarCatalog.select`, and where no star of a cluster is chosen: leave the cluster
            out of the stack instead.

        Examples
        --------
        >>> import pymc_starpop as psp
        >>> one = psp.StarCatalog([[12.1], [15.0]], [[0.01], [0.01]], bands=["TESS"])
        >>> cats = psp.StarCatalog.stack({"a": one, "b": one})
        >>> cats.select(cats.star != "a: 1")
        StackedCatalog(2 clusters, 3 stars; a: 1, b: 2)
        """
        rows = checks.row_indices(which, self.n_star) % self.n_star
        chosen = {}
        for name, catalog in self.clusters.items():
            inside = self.rows(name)
            here = rows[(rows >= inside.start) & (rows < inside.stop)]
            if not here.size:
                raise ValueError(
                    f"no star of {name!r} is chosen, got a selection of {rows.size} stars of other "
                    "clusters; choose some, or stack the catalogs without this cluster."
                )
            chosen[name] = catalog.select(here - inside.start)
        return replace(self, clusters=chosen)


def stack(kind: type, catalogs: Any) -> StackedCatalog:
    """Stack catalogs of this class; see `StarCatalog.stack`."""
    named = _named(catalogs)
    for name, catalog in named.items():
        if not isinstance(catalog, kind):
            raise ValueError(
                f"catalogs[{name!r}] must be a StarCatalog, got {type(catalog).__name__}; make one "
                "with psp.StarCatalog(mag, mag_err, bands=...) or psp.StarCatalog.from_table(...)."
            )
    _check_one_kind(named)
    if not _told_apart(named):
        named = {
            name: replace(c, star=np.array([f"{name}{_SEPARATOR}{label}" for label in c.star]))
            for name, c in named.items()
        }
        if not _told_apart(named):
            names = ", ".join(map(repr, named))
            raise ValueError(
                f"two stars have one label with the names {names} before those of the catalogs; "
                "give the clusters other names, or the stars labels that occur once."
            )
    return StackedCatalog(named)


def _told_apart(named: Mapping[str, Any]) -> bool:
    """Whether each label of a star occurs once, in one array of all.

    NumPy makes text or floats of labels of different kinds: 1 and "1" become one, and so do long
    integers with and without a sign.
    """
    labels = [catalog.star for catalog in named.values()]
    kinds = {array.dtype.kind for array in labels}
    if len(kinds) > 1 and "O" not in kinds:
        return False
    whole = np.concatenate(labels).tolist()
    return len(set(whole)) == len(whole) == len(set(map(str, whole)))


def _named(catalogs: Any) -> dict[str, Any]:
    """Return the catalogs by name; each name must be text and occur once."""
    is_mapping = isinstance(catalogs, Mapping)
    try:
        pairs = [(name, c) for name, c in (catalogs.items() if is_mapping else catalogs)]
    except (TypeError, ValueError):
        raise ValueError(
            f"catalogs must map names of clusters to catalogs, got {type(catalogs).__name__}; "
            'write StarCatalog.stack({"rup147": catalog, ...}).'
        ) from None
    if not pairs:
        raise ValueError("catalogs holds no cluster; give at least one name with its catalog.")
    named: dict[str, Any] = {}
    for name, catalog in pairs:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"the name of a cluster must be text, got {name!r}; give it a name.")
        if name in named:
            raise ValueError(
                f"two catalogs are named {name!r}, expected each cluster once; join them to one "
                "catalog, or give them different names."
            )
        named[name] = catalog
    return named


def _check_one_kind(named: dict[str, Any]) -> None:
    """Refuse fluxes next to magnitudes."""
    kinds = {name: "fluxes" if c.is_flux else "magnitudes" for name, c in named.items()}
    if len(set(kinds.values())) > 1:
        first = next(iter(kinds))
        other = next(name for name, kind in kinds.items() if kind != kinds[first])
        raise ValueError(
            f"{first!r} holds {kinds[first]} and {other!r} {kinds[other]}, expected one of the two "
            "for all clusters; make all catalogs by StarCatalog.from_flux, or none."
        )
