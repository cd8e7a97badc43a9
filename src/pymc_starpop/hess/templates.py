"""Templates: the Hess diagram of a simple stellar population per mass formed.

The expected number of stars in a bin is the integral along the isochrone of the mass function, the
probability of recovery and that of the measured color and magnitude to fall in the bin (Garling et
al. 2025, section 2.2), divided by the mass formed. See `isochrone_points` and the kernels
`hess_cells`, `hess_measured` and `hess_deposit` for how it is done.
"""

import warnings
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np
import xarray as xr

from pymc_starpop.hess.age_bins import age_edges, isochrone_ages, part_edges
from pymc_starpop.hess.age_means import LARGEST_ERROR
from pymc_starpop.hess.artificial_stars import ArtificialStars
from pymc_starpop.hess.axes import HessAxes
from pymc_starpop.hess.binaries import BinaryModel, NoBinaries, check_binaries
from pymc_starpop.hess.errors import ErrorModel, as_error_model
from pymc_starpop.hess.systems import Population
from pymc_starpop.hess.template_checks import (
    check_axes,
    check_extinction,
    check_finite,
    check_grid,
    check_imf,
    check_isochrone,
    check_jobs,
    check_part,
    check_whole,
)
from pymc_starpop.hess.template_counts import template_counts
from pymc_starpop.hess.template_grid import TemplateGrid, Templates, compute_templates
from pymc_starpop.hess.template_set import TemplateSet, check_t_max
from pymc_starpop.hess.transfer import FEW_STARS, TOTAL_SCATTER, Transfer, build_transfer
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.population.imf import InitialMassFunction, Kroupa

__all__ = ["build_template", "build_templates"]

_PACKAGE = "pymc-starpop"
_HERE = str(Path(__file__).parents[1])  # warnings point at the code that calls this package


def build_template(
    initial_mass: Any,
    abs_mag: Any,
    bands: Sequence[str],
    axes: HessAxes,
    *,
    distance_modulus: SupportsFloat,
    av: SupportsFloat = 0.0,
    extinction: Mapping[str, float] | None = None,
    noise: Any = None,
    completeness: Any = None,
    bias: Any = None,
    artificial_stars: ArtificialStars | None = None,
    imf: InitialMassFunction | None = None,
    binaries: BinaryModel | None = None,
) -> xr.DataArray:
    """Build the template of one isochrone that is given as arrays.

    Mass and magnitudes are linear between neighboring points, and stretches on which the mass does
    not increase hold no stars. Noise, completeness and bias are taken at the intrinsic apparent
    magnitude of the star or of the binary as a whole.

    Parameters
    ----------
    initial_mass : array-like, shape (E,)
        Initial masses along the isochrone, by evolutionary phase, Msun.
    abs_mag : array-like, shape (E, B)
        Absolute magnitudes, one column a band.
    bands : sequence of str
        Names of the B columns; those of the axes must be among them.
    axes : HessAxes
        The bins.
    distance_modulus : float
        True distance modulus, mag.
    av : float
        Extinction A_V, mag. Other than 0 it needs `extinction`.
    extinction : mapping of str to float, optional
        A_b / A_V for each band of the axes, from the extinction law of your choice.
    noise : ErrorModel, or mapping of str to callable or float
        Standard deviation of the measured magnitudes by band, as in `ErrorModel`.
    completeness, bias : mapping of str to callable or float, optional
        As in `ErrorModel`; not beside an ErrorModel.
    artificial_stars : ArtificialStars, optional
        In place of noise, completeness and bias: what artificial stars near the place of each
        star in the diagram became of, with their losses, bias, wings and correlation.
    imf : InitialMassFunction
        Mass function, `Kroupa()` by default. ``mass_min`` to ``mass_max`` is the range of all
        stars formed, those that have died too.
    binaries : NoBinaries, RandomBinaryPairs or MassRatioBinaries
        `NoBinaries()` by default.

    Returns
    -------
    xarray.DataArray
        Stars in each bin per Msun formed, dims ``mag`` and ``color``; zeros where nothing falls in
        the axes.

    Raises
    ------
    ValueError
        For masses and magnitudes that are not finite or do not fit each other, masses that never
        increase, missing bands, `av` without `extinction`, and errors out of range.

    Examples
    --------
    >>> import numpy as np, pymc_starpop as psp
    >>> axes = psp.HessAxes(("V", "I"), "I", np.linspace(0, 2, 41), np.linspace(20, 26, 61))
    >>> one = psp.build_template([0.2, 0.5, 0.9], [[12.0, 10.0], [9.0, 7.5], [5.0, 4.4]],
    ...                          ["V", "I"], axes, distance_modulus=18.0,
    ...                          noise={"V": 0.05, "I": 0.04})
    >>> round(float(one.sum()), 3)  # stars from 20th to 26th magnitude per Msun formed
    0.294
    """
    errors = (noise, completeness, bias)
    population, transfer = _population(axes, errors, artificial_stars, imf, binaries)
    mass, mag = check_isochrone(initial_mass, abs_mag, bands, axes.bands)
    shift = check_finite("distance_modulus", distance_modulus)
    extinct = check_finite("av", av) * check_extinction(av, extinction, axes.bands)
    counts = template_counts(population, mass, mag + shift + extinct)
    if transfer is not None:
        counts = transfer.apply(counts)
        transfer.warn_if_bright(counts)
    return axes.wrap(counts, name="template")


def build_templates(
    iso: IsochroneGrid,
    axes: HessAxes,
    *,
    log_age: Any,
    mh: Any,
    t_max_gyr: SupportsFloat = 13.7,
    ages_per_bin: int | None = None,
    part_gyr: float | None = 0.6,
    distance_modulus: SupportsFloat,
    av: SupportsFloat = 0.0,
    rv: SupportsFloat = 3.1,
    noise: Any = None,
    completeness: Any = None,
    bias: Any = None,
    artificial_stars: ArtificialStars | None = None,
    imf: InitialMassFunction | None = None,
    binaries: BinaryModel | None = None,
    progress: bool = True,
    n_jobs: int = 1,
) -> TemplateSet:
    """Build the templates of a grid of age bins and metallicities.

    Each template is the mean over the ages of its bin, at a constant rate of star formation in
    time. How many isochrones that takes is found for each bin: their number is doubled until
    one doubling more would change the chi-square of 10,000 stars by less than 1. Neighboring bins
    share the isochrone at their common edge.

    Parameters
    ----------
    iso : IsochroneGrid
        Isochrones with the bands of the axes.
    axes : HessAxes
        The bins.
    log_age : array-like, shape (N_age,)
        log10(age / yr), ascending: the young edge of each age bin.
    mh : array-like, shape (N_mh,)
        [M/H], dex, ascending; what the grid calls [Fe/H].
    t_max_gyr : float
        Old edge of the oldest bin, Gyr. Where the isochrones end before, the oldest template is
        the mean up to their end, with a warning if more than 5 % of the bin lie beyond.
    ages_per_bin : int, optional
        Isochrones in the mean of each bin, or of each part of one, both edges included, at even
        steps of log age; as many as needed by default. With 1 there is no mean: the template has
        the age of the young edge, and `t_max_gyr` and `part_gyr` are not used.
    part_gyr : float or None
        Age bins that last longer are divided into equal parts that do not, Gyr; None leaves all
        whole. Within a part [M/H] is that of its middle: see `TemplateSet.parts`. The templates of
        the bins themselves are the means of these.
    distance_modulus : float
        True distance modulus, mag.
    av, rv : float
        Extinction A_V (mag) and R_V, as in `IsochroneGrid.at`.
    noise, completeness, bias, artificial_stars, imf, binaries
        As in `build_template`.
    progress : bool
        Show a progress bar.
    n_jobs : int
        Number of processes; with one, the templates are built in this process. They start in the
        way that is Python's default on your system: where that is not a fork, call this from
        under ``if __name__ == "__main__":`` in a script.

    Returns
    -------
    TemplateSet
        Stars per bin per Msun formed, with what made them in `metadata`: there ``n_ages`` is the
        number of isochrones in the means (least, greatest), ``age_error`` the largest estimate of
        the chi-square for each star that more of them would change.

    Raises
    ------
    ValueError
        For ages and metallicities outside the grid, a `t_max_gyr` within the oldest bin, missing
        bands, and errors out of range.

    Warns
    -----
    UserWarning
        Where a mean over a bin is not accurate with 129 isochrones.

    Examples
    --------
    >>> import numpy as np, pymc_starpop as psp
    >>> axes = psp.HessAxes(("Bessell_V", "Bessell_I"), "Bessell_I",
    ...                     np.linspace(-0.5, 2.5, 61), np.linspace(20, 27, 71))
    >>> tmpl = psp.build_templates(
    ...     psp.load_isochrones(), axes, log_age=[9.0, 9.5, 10.0], mh=[-1.5, -0.5],
    ...     distance_modulus=24.5, noise={"Bessell_V": 0.05, "Bessell_I": 0.05}, progress=False)
    >>> tmpl
    <TemplateSet: 3 ages (log_age 9 to 10) x 2 [M/H] (-1.5 to -0.5), 70 x 60 bins>
    """
    errors = (noise, completeness, bias)
    population, transfer = _population(axes, errors, artificial_stars, imf, binaries)
    if not isinstance(iso, IsochroneGrid):
        raise ValueError(
            f"iso must be an IsochroneGrid, got {type(iso).__name__}; use psp.load_isochrones(), "
            f"or build_template for isochrones of your own."
        )
    ages = check_grid("log_age", log_age, iso.log_age_range, "log10(age / yr)")
    metallicities = check_grid("mh", mh, iso.feh_range, "dex")
    n_age, jobs = check_whole("ages_per_bin", ages_per_bin), check_jobs(n_jobs)
    t_max = None if n_age == 1 else check_t_max(t_max_gyr, ages)
    part = check_part(part_gyr)
    edges = part_edges(age_edges(ages, t_max), None if t_max is None else part)
    grid = TemplateGrid(
        iso=iso,
        population=population,
        distance_modulus=check_finite("distance_modulus", distance_modulus),
        av=float(av),
        rv=float(rv),
        edges=isochrone_ages(edges, ages[-1], iso.log_age_range[1]),
        mh=metallicities,
        ages_per_bin=n_age,
        transfer=transfer,
    )
    # Bands and extinction are checked by the first isochrone, before any process starts.
    iso.at(metallicities[0], ages[0], axes.bands, av=av, rv=rv)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = compute_templates(grid, progress=progress, n_jobs=jobs)
        if transfer is not None:
            transfer.warn_if_bright(made.counts)
    _warn_once(caught)
    _warn_of_age_error(made, ages, edges[:-1])
    parts = TemplateSet(made.counts, axes, edges[:-1], metallicities, t_max_gyr=t_max)
    return TemplateSet.from_parts(parts, ages, _describe(grid, made))


def _warn_once(caught: list[warnings.WarningMessage]) -> None:
    """Give each text of the warnings of all templates once."""
    for text, kind in dict.fromkeys((str(w.message), w.category) for w in caught):
        warnings.warn(text, kind, skip_file_prefixes=(_HERE,))


def _warn_of_age_error(made: Templates, log_age: np.ndarray, parts: np.ndarray) -> None:
    """Name the bins whose means have not settled; NaN stands for errors that were not estimated."""
    rough = made.error > LARGEST_ERROR
    if not rough.any():
        return
    named = np.searchsorted(log_age, parts[rough.any(axis=1)], "right") - 1
    bins = ", ".join(f"{age:g}" for age in log_age[np.unique(named)])
    warnings.warn(
        f"{int(rough.sum())} templates are not accurate with {int(made.n_age.max())} isochrones "
        f"in their age bins (log_age {bins}): chi-square is off by up to "
        f"{1e4 * np.nanmax(made.error):.2g} for 10,000 stars. Narrower age bins or larger bins of "
        f"color and magnitude would do.",
        skip_file_prefixes=(_HERE,),
    )


def _describe(grid: TemplateGrid, made: Templates) -> dict[str, Any]:
    """What made the templates, as strings and numbers."""
    population = grid.population
    try:
        version = metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:  # run from its source
        version = "unknown"
    return {
        "distance_modulus": grid.distance_modulus,
        "av": grid.av,
        "rv": grid.rv,
        "n_ages": [int(made.n_age.min()), int(made.n_age.max())],
        "age_error": None if np.isnan(made.error).all() else float(np.nanmax(made.error)),
        "bands": list(grid.axes.bands),
        "imf": repr(population.imf),
        "binaries": repr(population.binaries),
        **_describe_errors(grid, made),
        "isochrones": repr(grid.iso),
        "isochrones_fingerprint": grid.iso.fingerprint,
        "package": _PACKAGE,
        "version": version,
    }


def _describe_errors(grid: TemplateGrid, made: Templates) -> dict[str, Any]:
    """What was taken for the photometry, and how much of it rests on few artificial stars."""
    if grid.transfer is None:
        return {"errors": repr(grid.population.errors)}
    bins, stars = grid.transfer.few_stars(made.counts.mean(axis=(0, 1)))
    return {
        "errors": grid.transfer.description,
        "few_artificial_stars": {"least": FEW_STARS, "bins": bins, "stars": stars},
    }


def _photometry(
    axes: HessAxes, errors: tuple[Any, Any, Any], artificial_stars: ArtificialStars | None
) -> tuple[HessAxes, ErrorModel, Transfer | None]:
    """Bins and errors of a population, and what makes of it that on the axes."""
    noise, *others = errors
    if artificial_stars is None:
        if noise is None:
            raise ValueError(
                "noise is missing: give an ErrorModel, errors by band, or artificial_stars."
            )
        return axes, as_error_model(axes.bands, noise, *others), None
    if any(given is not None for given in errors):
        raise ValueError(
            "artificial_stars hold noise, completeness and bias; give them or noise, not both."
        )
    if not isinstance(artificial_stars, ArtificialStars):
        raise ValueError(
            f"artificial_stars must be ArtificialStars(mag_in, mag_out, bands=...), got "
            f"{type(artificial_stars).__name__}."
        )
    transfer = build_transfer(artificial_stars, axes)
    return transfer.grid, transfer.errors, transfer


def _population(
    axes: HessAxes,
    errors: tuple[Any, Any, Any],
    artificial_stars: ArtificialStars | None,
    imf: InitialMassFunction | None,
    binaries: BinaryModel | None,
) -> tuple[Population, Transfer | None]:
    check_axes(axes)
    imf = check_imf(Kroupa() if imf is None else imf)
    try:
        float(imf.integral(imf.mass_min, imf.mass_max))
    except (TypeError, ValueError):
        raise ValueError(
            f"imf: templates need a mass function of numbers, got {imf!r}; build templates for "
            f"several values of the parameter."
        ) from None
    binaries = NoBinaries() if binaries is None else check_binaries(binaries)
    grid, model, transfer = _photometry(axes, errors, artificial_stars)
    # What the transfer does makes up for cells that are long against the small errors.
    scatter = 1.0 if transfer is None else TOTAL_SCATTER
    return Population(grid, model, imf, binaries, scatter), transfer
