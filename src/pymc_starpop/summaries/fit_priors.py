"""Whether edges and priors decide the answer: grid edges, bounds of priors, and their widths."""

from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from pymc.distributions.continuous import Flat, HalfFlat
from pymc.distributions.transforms import Interval
from pymc.logprob.transforms import LogOddsTransform
from pytensor.graph.traversal import ancestors
from scipy.stats import norm

from pymc_starpop.cluster.checks import ranged_values
from pymc_starpop.summaries.fit_draws import FitDraws
from pymc_starpop.summaries.fit_rivals import own_posterior
from pymc_starpop.summaries.fit_rows import DOUBT, FINE, NOTE, CheckRow
from pymc_starpop.summaries.log_density import spread_of

__all__ = ["bound_rows", "edge_rows", "prior_rows"]

# How near (dex, dex, mag) to the end of the isochrones a draw is at the edge, and the share of
# draws there beyond which the posterior would go on where there are no isochrones.
EDGES = {"log_age": 0.02, "feh": 0.02, "av": 0.02}
_EDGE_SHARE = 0.05
# Share of draws within a quarter of a posterior standard deviation of a bound: 0.001 for a Gaussian
# far inside, 0.07 for a posterior that is as flat as the prior, 0.12 for the half of a Gaussian
# that is cut at its maximum, 0.22 where the density rises towards the bound.
_AT_BOUND, _BOUND_SHARE = 0.25, 0.1
# Parameters that cannot be negative: a posterior at 0 says "none", whatever bound the prior has.
_NATURAL = (
    "av", "field_fraction", "binary_fraction", "intrinsic_scatter", "av_scatter",
    "distance_modulus_scatter", "log_age_scatter", "second_population.fraction",
)  # fmt: skip
# Posterior as wide as this share of the prior: the data say nothing. Posterior mean further from
# the prior mean than so many standard deviations of the prior: they disagree.
_AS_WIDE, _CONFLICT = 0.9, 3.0
_N_PRIOR = 1000


def edge_rows(fit: FitDraws) -> list[CheckRow]:
    """Share of draws at the ends of the isochrones, of each parameter that varies."""
    values: dict[str, list[Any]] = {}
    ranges = {}
    for k in range(len(fit.inputs)):
        for name, value, (limits, _) in ranged_values(fit.cluster.iso, fit.parameters(k)[0]):
            if name.removeprefix("second_population.") in EDGES:
                values.setdefault(name, []).append(np.ravel(value))
                ranges[name] = limits
    rows = []
    for name, drawn in values.items():
        draws, (low, high) = np.array(drawn), ranges[name]
        if np.ptp(draws, axis=0).max() == 0.0:
            continue
        near = EDGES[name.removeprefix("second_population.")]
        # No extinction is no edge.
        at_low = np.mean(draws < low + near) if low != 0.0 else 0.0
        at_high = np.mean(draws > high - near)
        share, edge = max((float(at_low), low), (float(at_high), high))
        rows.append(_edge_row(name, share, edge, near))
    return rows


def _edge_row(name: str, share: float, edge: float, near: float) -> CheckRow:
    if not share > _EDGE_SHARE:
        return CheckRow("grid edge", name, share, _EDGE_SHARE, FINE)
    advice = (
        f"{share:.0%} of the draws are within {near} of {edge:g}, where the isochrones end: the "
        "answer is a limit and its error is too small; take isochrones that go further, or find "
        "out what drives the fit there"
    )
    return CheckRow("grid edge", name, share, _EDGE_SHARE, DOUBT, advice)


def bound_rows(fit: FitDraws) -> list[CheckRow]:
    """Share of draws at the bounds of priors, of each variable that has bounds."""
    posterior, rows = own_posterior(fit.posterior, fit.of), []
    for rv in fit.of.pymc_model.free_RVs:
        bounds = _bounds(fit.of.pymc_model, rv)
        if bounds is None:
            continue
        draws = _flat(posterior[rv.name])
        width = draws.std(axis=0)
        found = []
        for side, bound in zip((1.0, -1.0), bounds, strict=True):
            if bound is not None and np.isfinite(bound):
                share = np.where(
                    width > 0.0, (side * (draws - bound) < _AT_BOUND * width).mean(axis=0), 0.0
                )
                found.append((float(share.max()), float(bound)))
        if found:
            rows.append(_bound_row(rv, max(found), fit))
    return rows


def _bound_row(rv: Any, found: tuple[float, float], fit: FitDraws) -> CheckRow:
    share, bound = found
    if not share > _BOUND_SHARE:
        return CheckRow("prior bound", rv.name, share, _BOUND_SHARE, FINE)
    if bound == 0.0 and _is_natural(rv, fit):
        advice = "the posterior reaches 0: quote an upper limit"
        return CheckRow("prior bound", rv.name, share, _BOUND_SHARE, NOTE, advice)
    advice = (
        f"the draws pile up at {bound:g}, a bound of the prior ({share:.0%} within a quarter of "
        "the posterior's standard deviation): the bound decides the answer; widen the prior where "
        "you can, and otherwise find out what drives the fit there"
    )
    return CheckRow("prior bound", rv.name, share, _BOUND_SHARE, DOUBT, advice)


def _bounds(model: pm.Model, rv: Any) -> tuple[Any, Any] | None:
    """Lower and upper bound of a variable; None where there is none, or others move them.

    Bounds of positive scales are no choice of anybody and are left out.
    """
    transform = model.rvs_to_transforms[rv]
    if isinstance(transform, LogOddsTransform):
        return 0.0, 1.0
    if not isinstance(transform, Interval):
        return None
    bounds = transform.args_fn(*rv.owner.inputs)
    symbolic = [bound for bound in bounds if hasattr(bound, "owner")]
    if set(ancestors(symbolic)) & set(model.free_RVs):
        return None
    numbers = [bound.eval() if hasattr(bound, "owner") else bound for bound in bounds]
    # Bounds by element are as rare as they are hard to tell of.
    if any(bound is not None and np.ptp(bound) > 0.0 for bound in numbers):
        return None
    low, high = (None if bound is None else np.ravel(bound)[0] for bound in numbers)
    return low, high


def _is_natural(rv: Any, fit: FitDraws) -> bool:
    """Whether all that a variable moves are parameters that cannot be negative."""
    model = fit.cluster
    p, _ = model.fill(model.split(fit.of.inputs)[2])
    moved = [name for name, value in _named(p) if rv in ancestors([value])]
    return bool(moved) and all(name in _NATURAL for name in moved)


def _named(p: Any) -> list[tuple[str, Any]]:
    """Symbolic parameters by name."""
    found: list[tuple[str, Any]] = []

    def take(name: str, value: Any) -> Any:
        if hasattr(value, "owner"):
            found.append((name, value))
        return value

    p.map_values(take)
    return found


def prior_rows(fit: FitDraws, random_seed: int) -> list[CheckRow]:
    """Posterior against prior, of each variable: its width, and whether the two disagree."""
    model = fit.of.pymc_model
    drawable = [rv for rv in model.free_RVs if not _is_improper(rv)]
    if not drawable:
        return []
    drawn = pm.draw(drawable, draws=_N_PRIOR, random_seed=random_seed, mode="FAST_COMPILE")
    posterior, rows = own_posterior(fit.posterior, fit.of), []
    for rv, draws in zip(drawable, drawn, strict=True):
        after = fit.posterior[rv.name]
        prior = xr.DataArray(
            draws, dims=("draw", *after.dims[2:]),
            coords={d: after[d].values for d in after.dims[2:] if d in after.coords},
        ).expand_dims("chain")  # fmt: skip
        before = own_posterior(prior.to_dataset(name=rv.name), fit.of)[rv.name]
        rows += _prior_rows(rv.name, _flat(before), _flat(posterior[rv.name]))
    return rows


def _is_improper(rv: Any) -> bool:
    return isinstance(rv.owner.op, Flat.rv_op.__class__ | HalfFlat.rv_op.__class__)


def _prior_rows(name: str, prior: np.ndarray, posterior: np.ndarray) -> list[CheckRow]:
    """Rows of one variable, from draws (S, E) of its elements."""
    width = spread_of(prior)
    ratio = float(np.median(posterior.std(axis=0) / width))
    advice = "as wide as the prior: the data say nothing of it" if ratio > _AS_WIDE else ""
    rows = [CheckRow("prior width", name, ratio, _AS_WIDE, NOTE if advice else FINE, advice)]
    away = np.abs(posterior.mean(axis=0) - np.median(prior, axis=0)) / width
    # The chance of one Gaussian number beyond 3, for the largest of as many as there are.
    limit = float(norm.isf(norm.sf(_CONFLICT) / away.size))
    value, element = float(away.max()), int(away.argmax())
    advice = ""
    if value > limit:
        which = f", element {element} of {away.size}," if away.size > 1 else ""
        advice = (
            f"{name}{which} is {posterior[:, element].mean():.4g} in the posterior, {value:.1f} "
            f"standard deviations from the middle of its prior "
            f"({np.median(prior[:, element]):.4g} +- {width[element]:.2g}): the stars contradict "
            "the prior; check both, for other parameters pay for the compromise"
        )
    rows.append(CheckRow("prior conflict", name, value, limit, DOUBT if advice else FINE, advice))
    return rows


def _flat(draws: xr.DataArray) -> np.ndarray:
    """Draws (S, E) of E elements."""
    array = draws.transpose("chain", "draw", ...).to_numpy()
    return np.asarray(array.reshape(array.shape[0] * array.shape[1], -1), dtype=float)
