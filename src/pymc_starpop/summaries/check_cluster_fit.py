"""Whether the answer of a fitted cluster can be believed: one table of checks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from pymc_starpop.summaries.chosen import chosen_clusters
from pymc_starpop.summaries.fit_draws import evaluate_fit
from pymc_starpop.summaries.fit_field import field_rows, field_shares
from pymc_starpop.summaries.fit_priors import bound_rows, edge_rows, prior_rows
from pymc_starpop.summaries.fit_rivals import chain_row, own_posterior, rival_rows
from pymc_starpop.summaries.fit_rows import DOUBT, as_text, verdict_table
from pymc_starpop.summaries.fit_sensitivity import power_scaled, sensitivity_rows
from pymc_starpop.summaries.fit_sequence import (
    choose_diagram,
    mean_isochrones,
    residual_colors,
    sequence_rows,
    star_table,
)
from pymc_starpop.summaries.start import Start

__all__ = ["ClusterCheck", "check_cluster_fit"]


@dataclass(frozen=True, eq=False)
class ClusterCheck:
    """What `check_cluster_fit` found; printed, the table with what to do.

    Attributes
    ----------
    table : pandas.DataFrame
        A row for each thing that was looked at: ``check``, ``of`` (parameter or range), ``value``,
        ``limit``, ``verdict`` ("fine", "note": good to know, "doubt", "not known") and ``advice``.
    stars : xarray.Dataset
        By star: ``color``, ``mag`` and ``membership``.
    isochrones : xarray.DataArray
        Isochrones of some draws (sample, point, axis), ``axis`` "color" and "mag"; NaN where a line
        is broken.
    residuals : xarray.Dataset or None
        By ``bin`` of magnitude: ``color_residual`` and ``color_error`` of the sequence of single
        stars against the model, ``mag_residual`` (the same at one color), ``mag_low``,
        ``mag_high``, ``n_star``.
    field : xarray.Dataset or None
        By ``part``, faintest quarter and rest: share of field stars ``found`` and ``expected``,
        and the ``error`` of the difference.
    sensitivity : xarray.Dataset or None
        ``shift`` (part, parameter) in posterior standard deviations where a third of the stars
        counts 1.25 in place of 0.8 times; ``pareto_k`` of each part.
    color : (str, str)
        Bands of the color.
    mag : str
        Band of the magnitude.
    """

    table: pd.DataFrame
    stars: xr.Dataset
    isochrones: xr.DataArray
    residuals: xr.Dataset | None
    field: xr.Dataset | None
    sensitivity: xr.Dataset | None
    color: tuple[str, str]
    mag: str

    @property
    def problems(self) -> pd.DataFrame:
        """The rows that are a reason to doubt the answer."""
        return self.table[self.table["verdict"] == DOUBT]

    @property
    def ok(self) -> bool:
        """Whether no check gives a reason to doubt."""
        return self.problems.empty

    def __str__(self) -> str:
        """Return the table, doubts first, and what to do about them."""
        last = "no reason to doubt found" if self.ok else f"reasons to doubt: {len(self.problems)}"
        return f"{as_text(self.table)}\n\n{last}"


def check_cluster_fit(
    idata: Any,
    model: pm.Model | None = None,
    *,
    start: Start | None = None,
    color: tuple[str, str] | None = None,
    mag: str | None = None,
    name: str | None = None,
    cluster: str | None = None,
    n_draws: int = 400,
    random_seed: int = 0,
    progressbar: bool = True,
) -> ClusterCheck:
    """Check whether the answer of a cluster fit can be believed.

    Chains that agree say that the posterior of the model was found, not that the model is right.
    Each of these is a row of the table, with a verdict and what to do:

    - *rivals*: other optima less than 10 nats below the best; *chains*: r_hat above 1.01;
    - *grid edge*: more than 5 % of the draws within 0.02 (dex, mag) of the ends of the isochrones
      in log age, [Fe/H], A_V;
    - *prior bound*: more than 10 % of the draws within a quarter of a standard deviation of a bound
      of a prior; *prior width*: as wide as the prior (a note); *prior conflict*: posterior mean
      more than three standard deviations from the middle of the prior;
    - *residual color*: stars of the main sequence beside the model by more than 0.01 mag and three
      standard errors in a bin of magnitude, against stars simulated from the same draws, so that
      binaries, field stars and errors count in both;
    - *field at faint end*: more field stars among the faintest quarter than simulated ones, by more
      than 0.1 and three standard errors;
    - *magnitude range*: a parameter moves by more than 0.67 standard deviations where the bright,
      middle or faint third of the stars counts 1.25 in place of 0.8 times (power-scaling,
      Kallioinen et al. 2024, Statistics and Computing 34, 57); a right model gives 0.22 or less,
      one standard deviation.

    Parameters
    ----------
    idata : xarray.DataTree or xarray.Dataset
        Result of `pm.sample`, or its posterior.
    model : pm.Model, optional
        The model that was sampled; by default the one of the surrounding ``with``.
    start : Start, optional
        What `pymc_starpop.find_start` returned, with the optima that it found.
    color : (str, str), optional
        Bands of the color of the sequence; by default those in which it is longest in units of the
        errors.
    mag : str, optional
        Band by whose magnitude stars are sorted; by default that of the selection, or the first.
    name : str, optional
        Name of the `ClusterPhotometry` variable, where the model has several.
    cluster : str, optional
        Name of the cluster; needed where the variable has several.
    n_draws : int
        About how many draws, spread over the chains, are compared with stars. Edges and priors take
        the same.
    random_seed : int
        Seed of the simulated stars and of draws of the prior.
    progressbar : bool
        Whether to show progress.

    Returns
    -------
    ClusterCheck
        ``print`` it for the table; ``check.ok`` says whether there is no reason to doubt;
        `pymc_starpop.plot_cluster_check` shows it.

    Raises
    ------
    ValueError
        As `pymc_starpop.membership`; for a stack without ``cluster``, bands that the catalog lacks,
        a ``start`` that is none, and fewer than 100 draws in all or in ``n_draws``.

    Examples
    --------
    >>> import numpy as np, pymc as pm, pymc_starpop as psp, xarray as xr
    >>> iso = psp.load_isochrones(150)
    >>> bands, true = ("Gaia_G_EDR3", "2MASS_Ks"), {"feh": 0.0, "distance_modulus": 8.0}
    >>> cat = psp.simulate_cluster(iso, n_star=100, bands=bands, mag_err=0.02, rng=1, log_age=9.0,
    ...                            **true)
    >>> with pm.Model(coords=cat.coords()) as model:
    ...     age = pm.Uniform("log_age", 8.5, 9.5)
    ...     stars = psp.ClusterPhotometry("stars", iso, log_age=age, observed=cat, **true)
    >>> draws = np.random.default_rng(1).normal(9.0, 0.01, (4, 250))
    >>> idata = xr.Dataset({"log_age": (("chain", "draw"), draws)})
    >>> check = psp.check_cluster_fit(idata, model, n_draws=100, progressbar=False)
    >>> sorted(set(check.table["check"]))[:3]
    ['chains', 'grid edge', 'magnitude range']
    """
    chosen = chosen_clusters(model, name, cluster)
    if len(chosen) > 1:
        raise ValueError(
            "cluster=None: the variable has several clusters, and each is checked alone; give "
            f"cluster= one of {', '.join(str(of.name) for of in chosen)}"
        )
    of = chosen[0]
    fit = evaluate_fit(idata, of, n_draws, progressbar)
    shown = choose_diagram(fit, color, mag)
    rng = np.random.default_rng(random_seed)
    residuals, shares = None, None
    if fit.can_simulate:
        catalogs = fit.simulate(rng)
        residuals = residual_colors(fit, shown, catalogs, rng)
        shares = field_shares(fit, shown.mag, catalogs)
    moved = power_scaled(fit, shown.mag)
    rows = [
        *rival_rows(start, own_posterior(fit.posterior, of), of),
        chain_row(idata),
        *edge_rows(fit),
        *bound_rows(fit),
        *prior_rows(fit, random_seed),
        *sequence_rows(residuals, shown),
        *field_rows(shares, fit, shown.mag),
        *sensitivity_rows(moved, shown.mag),
    ]
    return ClusterCheck(
        verdict_table(rows), star_table(fit, shown), mean_isochrones(fit, shown), residuals, shares,
        moved, shown.color, shown.mag,
    )  # fmt: skip
