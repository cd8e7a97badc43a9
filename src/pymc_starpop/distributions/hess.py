"""The stars in the bins of a Hess diagram as a PyMC distribution."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pymc as pm
from pymc.distributions.distribution import Distribution, _support_point
from pymc.logprob.abstract import _logprob
from pytensor import tensor as pt
from pytensor.graph.basic import Constant
from pytensor.tensor import TensorVariable
from pytensor.tensor.random.op import RandomVariable

from pymc_starpop.distributions.hess_background import add_background, refuse_variables
from pymc_starpop.hess import TemplateSet
from pymc_starpop.hess.axes import check_hess, check_mask
from pymc_starpop.likelihoods.hess import (
    as_background,
    check_templates,
    hess_inputs,
    warn_of_impossible,
    with_coefficients,
)
from pymc_starpop.ops.hess_bins import BinLogLikelihood
from pymc_starpop.sfh.metallicity import is_from_weights

__all__ = ["HessDiagram"]


@dataclass(frozen=True, eq=False)
class HessModel:
    """All of a diagram but its data and its symbolic parameters.

    Attributes
    ----------
    tmpl : TemplateSet
    counted : ndarray of bool (N_mag, N_color), which bins count
    windowed : bool, whether tiny coefficients of an age may be left out
    """

    tmpl: TemplateSet
    counted: np.ndarray = field(repr=False)  # long, and a part of warnings
    windowed: bool


class HessDiagramRV(RandomVariable):
    """Stars in each bin (N_mag, N_color); inputs are r (N_age, N_mh) and the background."""

    name = "hess_diagram"
    signature = "(a,m),(y,x)->(y,x)"
    dtype = "float64"
    __props__ = ("name", "signature", "dtype", "inplace", "model")
    _print_name = ("HessDiagram", r"\operatorname{HessDiagram}")

    def __init__(self, model: HessModel, **kwargs: Any):
        self.model = model
        super().__init__(**kwargs)

    def rng_fn(self, rng, r, background, size):
        """Draw from a Poisson distribution in every bin, NaN outside the support."""
        expected = np.tensordot(r, self.model.tmpl.counts, axes=2) + background
        valid = np.all(r >= 0.0) & np.isfinite(expected) & (expected >= 0.0)
        shape = None if size is None else (*size, *expected.shape[-2:])
        drawn = rng.poisson(np.where(valid, expected, 0.0), size=shape)
        return np.where(valid, drawn, np.nan)


@_logprob.register(HessDiagramRV)
def _hess_logprob(op, values, rng, size, r, background, **kwargs):
    (value,) = values
    model = op.model
    r, background = _without_batch(r), _without_batch(background)
    known = isinstance(background, Constant)
    flat = pt.as_tensor(background.data.ravel()) if known else background.ravel()
    if isinstance(value, Constant):
        data = hess_inputs(model.tmpl, np.asarray(value.data), model.counted)
        bins = BinLogLikelihood(model.windowed)(r, flat, *data)
        return bins.reshape(model.tmpl.axes.shape)
    return _symbolic_logprob(model, value, r, background)


def _symbolic_logprob(model, value, r, background):
    """Log-probability of counts that are not known when the graph is built, over all bins."""
    templates = model.tmpl.counts.reshape(-1, model.counted.size)
    expected = pt.dot(r.ravel(), pt.as_tensor(templates)).reshape(model.counted.shape) + background
    support = pt.all(r >= 0.0) & (background >= 0.0) & (value >= 0.0)
    positive = expected > 0.0
    logarithm = pt.log(pt.switch(positive, expected, 1.0))
    poisson = value * logarithm - expected - pt.gammaln(value + 1.0)
    inside = support & (positive | (pt.eq(expected, 0.0) & pt.eq(value, 0.0)))
    return pt.switch(model.counted, pt.switch(inside, poisson, -np.inf), 0.0)


def _without_batch(variable):
    """Drop leading axes of length 1."""
    while variable.type.ndim > 2:
        variable = variable[0]
    return variable


@_support_point.register(HessDiagramRV)
def _hess_support_point(op, rv, rng, size, r, background):
    return pt.zeros_like(rv)


class HessDiagram(Distribution):
    """Stars in the bins of a Hess diagram: a Poisson distribution in every bin.

    Expected are m = sum_jk r_jk T_jk + background stars, T the templates. The log-probability is
    that of Poisson, one number a bin, n ln m - m - ln Gamma(n + 1), also for weighted counts n;
    bins that are masked have 0. In the density of a model only the bins with stars are evaluated,
    as in `pymc_starpop.hess_logp`, from which it differs by a constant of the data. Draws are
    new diagrams, also in masked bins.

    Dimensions are ``mag`` and ``color``, whose coordinates are the centers of the bins; where the
    model has others of these names, as with a second diagram, ``{name}_mag`` and
    ``{name}_color``.

    Parameters
    ----------
    name : str
        Name of the variable.
    tmpl : TemplateSet
        Expected stars per bin and Msun formed.
    r : array-like or tensor, shape (N_age, N_mh) or (N_part, N_mh)
        Mass formed at each age and metallicity, Msun, for example from `metallicity_weights`; also
        in the parts of the age bins, see `TemplateSet.split`.
    background : float, array (N_mag, N_color), Background, mapping, or tensor, optional
        Stars of other origin: how many are expected in each bin, one number for all bins or a
        diagram, or a mapping from names to such. Each has an amplitude with the log-normal prior of
        `Background`, which is added to the model as ``{name}_{name of the background}``, the latter
        ``background`` where it has none; ``{name}_background_stars`` are their stars in the bins
        that count. ``Background(..., fixed=True)`` is known. A tensor (N_mag, N_color) or () is
        yours: it is taken for the expected counts as it stands, such as the ``background`` of
        `StarFormationHistory`, or an amplitude of your own times a template.
    mask : DataArray or array of bool, shape (N_mag, N_color), optional
        True where a bin counts; all by default.
    observed : DataArray or array, shape (N_mag, N_color), optional
        Stars in each bin, from `bin_cmd`; without it the variable is only good for draws.

    Raises
    ------
    ValueError
        As `pymc_starpop.hess_logp`, and for backgrounds that are no such thing or that belong to
        the fit from which `r` was made.

    Warns
    -----
    UserWarning
        Where the model can expect no star in a bin that holds some; the bins are named.

    Notes
    -----
    `arviz.loo` refuses bins with the same log-likelihood in all draws: masked ones, and those that
    no template and no background reaches. `pymc_starpop.drop_constant_bins` leaves them out.

    Examples
    --------
    >>> import numpy as np, pymc as pm, pymc_starpop as psp
    >>> axes = psp.HessAxes(("V", "I"), "I", color_edges=[0, 1, 2], mag_edges=[18, 20, 22])
    >>> tmpl = psp.TemplateSet.from_arrays(np.full((1, 1, 2, 2), 0.01), axes, [9.0], [-1.0])
    >>> with pm.Model(coords=tmpl.coords()) as model:
    ...     mass = pm.LogNormal("mass", 5.0, 1.0, dims="log_age")
    ...     r = psp.metallicity_weights(mass, [-1.0], 0.1, tmpl.mh)
    ...     stars = psp.HessDiagram("hess", tmpl, r, observed=np.array([[2, 0], [3, 2]]))
    >>> model.named_vars_to_dims["hess"]
    ('mag', 'color')
    """

    rv_type = HessDiagramRV
    rv_op = HessDiagramRV

    def __new__(cls, name: str, tmpl: TemplateSet, r: Any, *, observed: Any = None, **kwargs: Any):
        """Add the variable to the model on the context stack."""
        model = pm.modelcontext(None)
        check_templates(tmpl)
        background, mask = kwargs.get("background"), kwargs.get("mask")
        if observed is not None:
            counted = check_mask(mask, tmpl.axes)
            observed = check_hess(observed, tmpl.axes, counted)
        given = add_background(name, tmpl, r, background, mask, observed)
        kwargs["background"], example = given
        if observed is not None:
            chosen, r = with_coefficients(tmpl, r)
            known = as_background(chosen, example, mask)
            warn_of_impossible(chosen, r, observed, known, mask)
        kwargs.setdefault("dims", _dims_of(model, name, tmpl))
        return super().__new__(cls, name, tmpl, r, observed=observed, **kwargs)

    @classmethod
    def dist(
        cls, tmpl: TemplateSet, r: Any, background: Any = None, mask: Any = None, **kwargs: Any
    ) -> TensorVariable:
        """Return the random variable without adding it to a model.

        Parameters
        ----------
        tmpl, r, background, mask
            As for the class; the background is known here, numbers are expected counts.
        **kwargs
            Of `pymc.Distribution.dist`: ``rng``.
        """
        return_next_rng = kwargs.pop("return_next_rng", False)
        rng = kwargs.pop("rng", None) or pt.random.shared_rng(seed=None)
        kwargs.pop("shape", None)
        check_templates(tmpl)
        tmpl, r = with_coefficients(tmpl, r)
        expected = as_background(tmpl, refuse_variables(background, tmpl, mask), mask)
        if expected is None:
            expected = pt.as_tensor(np.zeros(tmpl.axes.shape))
        op = HessDiagramRV(HessModel(tmpl, check_mask(mask, tmpl.axes), is_from_weights(r)))
        next_rng, rv = op(r, expected, rng=rng, return_next_rng=True)
        return (next_rng, rv) if return_next_rng else rv


def _dims_of(model: pm.Model, name: str, tmpl: TemplateSet) -> tuple[str, str]:
    """Dimensions for the bins; adds their coordinates where the model has none of that name."""
    dims = []
    for dim, centers in tmpl.axes.coords().items():
        for candidate in (dim, f"{model.name_for(name)}_{dim}"):
            if candidate not in model.coords:
                model.add_coord(candidate, centers)
            elif not _same_labels(model.coords[candidate], centers):
                continue
            dims.append(candidate)
            break
        else:
            raise ValueError(
                f"{name}: the model has other coordinates named {candidate!r} already; rename "
                f"them, or build the model with coords=tmpl.coords()."
            )
    return dims[0], dims[1]


def _same_labels(labels: Any, centers: np.ndarray) -> bool:
    if labels is None or len(labels) != centers.size:
        return False
    try:
        return bool(np.allclose(np.asarray(labels, dtype=float), centers, rtol=0.0, atol=1e-9))
    except ValueError:  # labels that are no numbers
        return False
