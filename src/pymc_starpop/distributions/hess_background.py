"""Backgrounds of a Hess diagram as variables of a PyMC model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
from pytensor import tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor import TensorVariable

from pymc_starpop.hess import TemplateSet
from pymc_starpop.hess.axes import check_mask
from pymc_starpop.hess.background import (
    Background,
    Component,
    background_components,
    first_amplitudes,
)

__all__ = ["add_background", "refuse_variables"]


def add_background(
    name: str, tmpl: TemplateSet, r: Any, background: Any, mask: Any, observed: Any
) -> tuple[Any, Any]:
    """Add the amplitudes of a diagram's backgrounds to the model, and return what is expected.

    Symbolic backgrounds are the user's own and stay as they are.

    Returns
    -------
    background : None, array (N_mag, N_color), or tensor
    example : the same with medians for the amplitudes

    Parameters
    ----------
    name : str
        Name of the diagram.
    tmpl : TemplateSet
    r : array-like or tensor (N_age, N_mh)
        Refused where it belongs to a history with backgrounds of its own that are not used.
    background, mask
        As for `HessDiagram`.
    observed : ndarray (N_mag, N_color) or None
        Stars, from which the amplitudes start.
    """
    if isinstance(background, Variable):
        return background, background
    if any(tmpl is t for t in getattr(getattr(r, "tag", None), "sfh_backgrounds", ())):
        raise ValueError(
            f"{name}: the fit of this history has backgrounds of this diagram, whose amplitudes "
            f"are part of the history; give background=sfh.background, with sfh what "
            f"StarFormationHistory returns (or its entry for this diagram)."
        )
    if background is None:
        return None, None
    counted = check_mask(mask, tmpl.axes)
    components = background_components(background, tmpl.axes, counted)
    known = [c for c in components if c.fixed]
    expected, example = (_sum(tmpl, c) for c in (known, components))
    fitted = [c for c in components if not c.fixed]
    if not fitted:
        return expected, example
    initial = _initial(tmpl, fitted, counted, observed)
    amplitudes = [
        pm.LogNormal(f"{name}_{c.name}", mu=np.log(c.amplitude), sigma=c.sigma, initval=a)
        for c, a in zip(fitted, initial, strict=True)
    ]
    _add_stars(name, fitted, amplitudes, counted)
    variable = sum(a * c.template for a, c in zip(amplitudes, fitted, strict=True))
    return variable + expected if known else variable, example


def refuse_variables(background: Any, tmpl: TemplateSet, mask: Any) -> Any:
    """Return what is expected where no variables can be added: everything has to be known."""
    if not isinstance(background, Background | Mapping):
        return background
    components = background_components(background, tmpl.axes, check_mask(mask, tmpl.axes))
    if not all(c.fixed for c in components):
        raise ValueError(
            "background: HessDiagram.dist adds no amplitudes to a model; give an amplitude of your "
            "own times the template, or Background(..., fixed=True)."
        )
    return _sum(tmpl, components)


def _sum(tmpl: TemplateSet, components: Sequence[Component]) -> np.ndarray:
    """Return the expected stars at the medians of the amplitudes."""
    return sum((c.amplitude * c.template for c in components), np.zeros(tmpl.axes.shape))


def _add_stars(
    name: str, fitted: list[Component], amplitudes: list[TensorVariable], counted: np.ndarray
) -> None:
    """Add the number of stars of each background in the bins that count."""
    model, dim = pm.modelcontext(None), f"{name}_background_name"
    model.add_coord(model.name_for(dim), [a.name for a in amplitudes])
    totals = np.array([c.template[counted].sum() for c in fitted])
    pm.Deterministic(
        f"{name}_background_stars", pt.stack(amplitudes) * totals, dims=model.name_for(dim)
    )


def _initial(
    tmpl: TemplateSet, fitted: list[Component], counted: np.ndarray, observed: np.ndarray | None
) -> list[float | None]:
    """Return where each amplitude starts; None leaves that to PyMC."""
    if observed is None or not observed[counted].any():
        return [None] * len(fitted)
    matrix = tmpl.counts.reshape(tmpl.n_age * tmpl.n_mh, -1)
    sums = matrix @ counted.ravel().astype(matrix.dtype)
    lit = sums > 0.0
    per_star = np.divide(1.0 / max(lit.sum(), 1), sums, out=np.zeros(sums.size), where=lit)
    shape = tmpl.composite(per_star.reshape(tmpl.n_age, tmpl.n_mh)).values
    rows = counted & (observed > 0)
    first = first_amplitudes(
        shape[rows],
        np.array([c.template[rows] for c in fitted]),
        observed[rows],
        np.array([c.template[counted].sum() for c in fitted]),
        np.array([c.amplitude for c in fitted]),
        np.array([c.sigma for c in fitted], dtype=float),
    )
    return [float(a) for a in first]
