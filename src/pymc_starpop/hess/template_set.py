"""Templates of a Hess diagram over a grid of age and metallicity."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from pymc_starpop.hess.axes import HessAxes
from pymc_starpop.hess.storage import read_templates, write_templates
from pymc_starpop.hess.template_checks import check_numbers

__all__ = ["TemplateSet", "check_t_max", "load_templates"]

# Edges of bins that are closer than this are the same, dex.
_SAME_AGE = 1e-9


@dataclass(frozen=True, eq=False)
class TemplateSet:
    """Expected stars per bin and per solar mass formed, for every age and metallicity.

    Made by `build_templates`, or from your own arrays by `TemplateSet.from_arrays`.

    Attributes
    ----------
    counts : ndarray (N_age, N_mh, N_mag, N_color)
        Stars per bin per Msun formed.
    axes : HessAxes
        The bins.
    log_age : ndarray (N_age,)
        log10(age / yr), ascending: the young edge of each age bin.
    mh : ndarray (N_mh,)
        [M/H], dex, ascending.
    metadata : mapping
        What made the templates: distance modulus, extinction, errors, mass function, ...
    t_max_gyr : float or None
        Old edge of the oldest bin, Gyr, of templates that are means over their bins. None for
        templates of single ages, whose oldest bin ends at an age that is given to a fit.
    divided : TemplateSet or None
        The same with wide age bins divided into parts, whose means `counts` are; see `parts`.
    """

    counts: np.ndarray
    axes: HessAxes
    log_age: np.ndarray
    mh: np.ndarray
    metadata: Mapping[str, Any] = field(default_factory=dict)
    t_max_gyr: float | None = None
    divided: "TemplateSet | None" = None

    def __post_init__(self) -> None:
        log_age, mh = _check_grid("log_age", self.log_age), _check_grid("mh", self.mh)
        counts = np.ascontiguousarray(self.counts, dtype=float)
        expected = (log_age.size, mh.size, *self.axes.shape)
        if counts.shape != expected:
            raise ValueError(
                f"counts must have shape (N_age, N_mh, N_mag, N_color) = {expected}, got "
                f"{counts.shape}."
            )
        if not np.isfinite(counts).all():
            bad = int((~np.isfinite(counts)).sum())
            raise ValueError(f"counts must be finite, got {bad} values that are NaN or infinite.")
        if (counts < 0).any():
            raise ValueError(f"counts must not be negative, got {counts.min():g}.")
        counts = counts.view()
        counts.flags.writeable = False
        if self.t_max_gyr is not None:
            object.__setattr__(self, "t_max_gyr", check_t_max(self.t_max_gyr, log_age))
        for name, value in (("counts", counts), ("log_age", log_age), ("mh", mh)):
            object.__setattr__(self, name, value)
        if self.divided is not None:
            _check_parts(self, self.divided)

    @classmethod
    def from_arrays(
        cls,
        counts: Any,
        axes: HessAxes,
        log_age: Any,
        mh: Any,
        metadata: Any = None,
        t_max_gyr: float | None = None,
    ) -> Self:
        """Build a set from your own templates.

        Parameters
        ----------
        counts : array-like, shape (N_age, N_mh, N_mag, N_color)
            Expected stars per bin per Msun formed, finite and not negative.
        axes : HessAxes
            The bins.
        log_age : array-like, shape (N_age,)
            log10(age / yr), ascending: the young edge of each age bin.
        mh : array-like, shape (N_mh,)
            [M/H], dex, ascending.
        metadata : mapping, optional
            Kept with the templates.
        t_max_gyr : float, optional
            Old edge of the oldest bin, Gyr, where each template is the mean over the ages of its
            bin. Without it the templates count as those of the single ages `log_age`.

        Raises
        ------
        ValueError
            For shapes that do not agree, and values that are not finite, negative or not
            ascending.

        Examples
        --------
        >>> import numpy as np, pymc_starpop as psp
        >>> axes = psp.HessAxes(("V", "I"), "I", color_edges=[0, 1, 2], mag_edges=[18, 20, 22, 24])
        >>> tmpl = psp.TemplateSet.from_arrays(np.ones((2, 1, 3, 2)), axes, [9.0, 10.0], [-1.0])
        >>> tmpl.n_age, tmpl.n_mh, tmpl.axes.shape
        (2, 1, (3, 2))
        """
        record = {} if metadata is None else dict(metadata)
        return cls(counts, axes, log_age, mh, record, t_max_gyr)

    @property
    def n_age(self) -> int:
        """Number of ages."""
        return self.log_age.size

    @property
    def n_mh(self) -> int:
        """Number of metallicities."""
        return self.mh.size

    @property
    def age_gyr(self) -> np.ndarray:
        """Mean ages (N_age,) of the stars of the templates, Gyr.

        The middle of each bin, or 10^log_age where templates are those of single ages.
        """
        if self.t_max_gyr is None:
            return _gyr(self.log_age)
        edges = self.age_edges()
        return 0.5 * (edges[1:] + edges[:-1])

    @property
    def parts(self) -> "TemplateSet":
        """Templates of the parts of the age bins; the set itself where no bin is divided.

        Stars form at the same rate in all parts of a bin, but each part has a mean [M/H] of its
        own, that of its mean age ``parts.age_gyr``. `split` divides masses among them.
        """
        return self if self.divided is None else self.divided

    @property
    def part_bins(self) -> np.ndarray:
        """Age bin (N_part,) in which each of the `parts` lies."""
        if self.divided is None:
            return np.arange(self.n_age)
        return np.searchsorted(self.log_age, self.divided.log_age + _SAME_AGE, "right") - 1

    @property
    def part_shares(self) -> np.ndarray:
        """Share (N_part,) that each of the `parts` has in the time of its bin."""
        if self.divided is None:
            return np.ones(self.n_age)
        return np.diff(self.divided.age_edges()) / np.diff(self.age_edges())[self.part_bins]

    def split(self, mass: Any) -> Any:
        """Divide masses formed in the age bins among their `parts`.

        For models of your own in which [M/H] changes with age:

            mass_of_parts, parts = tmpl.split(mass_formed), tmpl.parts
            mh = psp.linear_amr(parts.age_gyr, alpha, beta, t_max_gyr)
            r = psp.metallicity_weights(mass_of_parts, mh, sigma, tmpl.mh)
            psp.HessDiagram("hess", tmpl, r, observed=hess)

        Parameters
        ----------
        mass : array-like or tensor, shape (N_age,)
            Mass formed in each age bin, Msun.

        Returns
        -------
        ndarray or TensorVariable, shape (N_part,)
            Mass formed in each part, Msun, at a constant rate within each bin.
        """
        symbolic = hasattr(mass, "type")
        if not symbolic:
            mass = np.asarray(mass, dtype=float)
        shape = mass.type.shape if symbolic else mass.shape
        if len(shape) != 1 or shape[0] not in (None, self.n_age):
            raise ValueError(
                f"mass must have one value for each of {self.n_age} age bins, got shape {shape}."
            )
        if not symbolic and not np.isfinite(mass).all():
            raise ValueError(f"mass must be finite, got {mass}.")
        return mass if self.divided is None else mass[self.part_bins] * self.part_shares

    @classmethod
    def from_parts(cls, parts: "TemplateSet", log_age: np.ndarray, metadata: Any) -> Self:
        """Build a set of age bins from the templates of their parts.

        Parameters
        ----------
        parts : TemplateSet
            Means over the parts.
        log_age : array-like, shape (N_age,)
            Young edges of the age bins, log10(age / yr), all of them among those of the parts.
        metadata : mapping
            Kept with the templates.
        """
        if parts.n_age == np.size(log_age):
            return cls(parts.counts, parts.axes, log_age, parts.mh, metadata, parts.t_max_gyr)
        first = np.searchsorted(parts.log_age, np.asarray(log_age) - _SAME_AGE)
        years = np.diff(parts.age_edges())
        total = np.add.reduceat(years, first)
        counts = np.add.reduceat(years[:, None, None, None] * parts.counts, first)
        counts /= total[:, None, None, None]
        return cls(counts, parts.axes, log_age, parts.mh, metadata, parts.t_max_gyr, parts)

    def coords(self) -> dict[str, np.ndarray]:
        """Coordinates for `pymc.Model`: ``log_age``, ``mh``, ``mag``, ``color``."""
        return {"log_age": self.log_age, "mh": self.mh, **self.axes.coords()}

    def age_edges(self, t_max_gyr: float | None = None) -> np.ndarray:
        """Edges (N_age + 1,) of the age bins, Gyr.

        Parameters
        ----------
        t_max_gyr : float, optional
            Where the oldest bin ends, Gyr; that of the templates by default.
        """
        end = self.t_max_gyr if t_max_gyr is None else t_max_gyr
        if end is None:
            raise ValueError(
                "t_max_gyr is needed: these templates have single ages and do not say where the "
                "oldest bin ends; give it, such as t_max_gyr=13.7."
            )
        return np.append(_gyr(self.log_age), check_t_max(end, self.log_age))

    def composite(self, mass: Any) -> xr.DataArray:
        """Expected stars in each bin for masses formed (N_age, N_mh) or (N_part, N_mh), Msun."""
        if hasattr(mass, "type"):
            raise ValueError(
                "mass must be numbers, got a PyTensor variable; give its value, mass.eval(), or "
                "use HessDiagram or hess_logp."
            )
        weights = np.asarray(mass, dtype=float)
        chosen = self.for_weights(weights.shape)
        if weights.shape != (chosen.n_age, chosen.n_mh):
            raise ValueError(
                f"mass must have shape {self.shapes_of_weights()}, got {weights.shape}."
            )
        return self.axes.wrap(np.tensordot(weights, chosen.counts, axes=2), name="stars")

    def for_weights(self, shape: tuple[int | None, ...]) -> "TemplateSet":
        """Return the set that weights of a shape belong to: `parts`, or by default this one."""
        return self.parts if shape[:1] == (self.parts.n_age,) else self

    def shapes_of_weights(self) -> str:
        """Name the shapes that weights may have, for messages."""
        text = f"(N_age, N_mh) = {(self.n_age, self.n_mh)}"
        if self.divided is None:
            return text
        return f"{text}, or (N_part, N_mh) = {(self.parts.n_age, self.n_mh)} for its parts"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save the templates with what made them, for `load_templates`.

        A file that is there is replaced only once the new one is complete, so that an interrupted
        save leaves what was there before.

        Parameters
        ----------
        path : path-like
            Ends in ``.nc`` (NetCDF; also ``.nc4``, ``.h5``, ``.hdf5``) or ``.zarr`` (Zarr, a
            folder; needs ``pip install 'pymc-starpop[zarr]'``). Its folder must exist.

        Returns
        -------
        pathlib.Path
            The path.

        Raises
        ------
        ValueError
            For another ending, and where the path is a folder that is no Zarr store.

        Notes
        -----
        Metadata are kept as JSON: arrays and tuples come back as lists, dataclasses as mappings,
        functions as the text that describes them. All numbers come back as they were.

        Examples
        --------
        >>> import tempfile, numpy as np, pymc_starpop as psp
        >>> axes = psp.HessAxes(("V", "I"), "I", color_edges=[0, 1, 2], mag_edges=[18, 20, 22, 24])
        >>> tmpl = psp.TemplateSet.from_arrays(np.ones((2, 1, 3, 2)), axes, [9.0, 10.0], [-1.0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = tmpl.save(f"{folder}/templates.nc")
        ...     psp.load_templates(path)
        <TemplateSet: 2 ages (log_age 9 to 10) x 1 [M/H] (-1 to -1), 3 x 2 bins>
        """
        return write_templates(self, path)

    def __repr__(self) -> str:
        return (
            f"<TemplateSet: {self.n_age} ages (log_age {self.log_age[0]:g} to "
            f"{self.log_age[-1]:g}) x {self.n_mh} [M/H] ({self.mh[0]:g} to {self.mh[-1]:g}), "
            f"{self.axes.shape[0]} x {self.axes.shape[1]} bins{self._few_stars()}>"
        )

    def _few_stars(self) -> str:
        """Say how much of templates by artificial stars rests on few of them."""
        few = self.metadata.get("few_artificial_stars")
        if few is None:
            return ""
        return (
            f", {100.0 * few['bins']:.0f} % of those reached, with {100.0 * few['stars']:.0f} % of "
            f"the stars, on fewer than {few['least']} artificial stars"
        )


def load_templates(path: str | os.PathLike[str]) -> TemplateSet:
    """Load templates that `TemplateSet.save` wrote.

    Parameters
    ----------
    path : path-like
        A NetCDF file or, ending in ``.zarr``, a Zarr store.

    Returns
    -------
    TemplateSet

    Raises
    ------
    ValueError
        For a file that cannot be read, holds something else, or is damaged; the message names the
        file and what is wrong.
    FileNotFoundError
        If there is no such file.
    """
    return read_templates(path, TemplateSet)


def check_t_max(t_max_gyr: Any, log_age: np.ndarray) -> float:
    """Return the old edge of the oldest bin (Gyr), or raise where it is no such thing.

    Parameters
    ----------
    t_max_gyr : float
    log_age : ndarray (N_age,)
        Young edges of the bins, log10(age / yr).
    """
    if not isinstance(t_max_gyr, Real) or isinstance(t_max_gyr, bool):
        raise ValueError(f"t_max_gyr must be a number of Gyr, got {t_max_gyr!r}.")
    oldest = float(_gyr(log_age)[-1])
    if not oldest < float(t_max_gyr) < np.inf:
        raise ValueError(
            f"t_max_gyr={t_max_gyr:g}: the oldest age bin begins at {oldest:g} Gyr, so it must end "
            f"later; leave out older templates or give a larger t_max_gyr."
        )
    return float(t_max_gyr)


def _check_parts(whole: TemplateSet, parts: TemplateSet) -> None:
    """Refuse parts that do not divide the age bins."""
    if whole.t_max_gyr is None or parts.t_max_gyr != whole.t_max_gyr or parts.divided is not None:
        raise ValueError(
            f"divided: the parts of age bins end with them, at t_max_gyr={whole.t_max_gyr}, and "
            f"are not divided again; got {parts.t_max_gyr}."
        )
    if not np.array_equal(parts.mh, whole.mh) or parts.counts.shape[2:] != whole.counts.shape[2:]:
        raise ValueError(
            f"divided: parts of age bins have the same [M/H] and bins, got {parts!r} for {whole!r}."
        )
    apart = np.abs(whole.log_age[:, None] - parts.log_age).min(axis=1)
    if parts.log_age[0] < whole.log_age[0] - _SAME_AGE or (apart > _SAME_AGE).any():
        raise ValueError(
            f"divided: every log_age of the age bins must be one of its parts, got "
            f"{parts.log_age} for {whole.log_age}."
        )


def _gyr(log_age: np.ndarray) -> np.ndarray:
    return 10.0 ** (log_age - 9.0)


def _check_grid(name: str, values: Any) -> np.ndarray:
    grid = check_numbers(name, values)
    if np.any(np.diff(grid) <= 0):
        raise ValueError(f"{name} must ascend without repeats; try numpy.unique({name}).")
    grid.flags.writeable = False
    return grid
